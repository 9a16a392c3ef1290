//! The file that is shipped, its examples, its schema, and what profiles show.

use std::{collections::BTreeSet, fs, path::Path};

use macsecd::{config, profile};

use super::{KEY, Keys, PORT, parse};

fn read(path: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap()
}

/// A commented line of TOML starts with `#` and no space; prose has a space.
fn uncommented(text: &str) -> String {
    let bare = |line: &str| match line.strip_prefix('#') {
        Some(rest) if rest.starts_with(|c: char| c.is_ascii_lowercase() || c == '[') => {
            rest.to_owned() + "\n"
        }
        Some(_) | None => line.to_owned() + "\n",
    };
    text.lines().map(bare).collect()
}

#[test]
fn the_shipped_file_is_valid_with_each_line_uncommented_and_names_every_key() {
    let text = uncommented(&read("config/macsecd.toml")).replace("/etc/macsecd/keys/", "/keys/");
    let text = text.replace("/keys/link1-new.cak", "/keys/a").replace("/keys/link1.cak", "/keys/b");
    // The other port of the pair is not in the file.
    let text = text
        + "[[port]]\ninterface = \"eth2\"\nsecure-interface = \"macsec1\"\n[[port.key]]\n\
           ckn = \"01\"\ncak = \"file:/keys/a\"\n";
    match config::parse(&text, Path::new("config/macsecd.toml"), 0o644, &Keys) {
        Ok((config, _)) => assert_eq!(config.ports.len(), 2),
        Err(error) => panic!("{}", error.render(false)),
    }
    for key in config::Place::ALL.iter().flat_map(|place| place.keys()) {
        let named = text.lines().any(|line| {
            line.starts_with(&format!("{key} = "))
                || line == format!("[[{key}]]")
                || line == format!("[[port.{key}]]")
        });
        assert!(named, "{key}");
    }
}

#[test]
fn the_shipped_file_shows_each_default() {
    let text = read("config/macsecd.toml");
    for value in profile::DEFAULTS {
        let line = format!("#{} = {}\n", value.setting.key(), value.setting);
        assert!(text.contains(&line), "{line}");
    }
}

#[test]
fn the_examples_are_valid() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("config/examples");
    let mut seen = 0;
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        let options =
            config::check::CheckOptions { read_keys: false, explain: false, color: false };
        // Whose checkout this is does not matter.
        let text = fs::read_to_string(&path).unwrap();
        let report = config::check::check_text(&text, &path, 0o644, None, options);
        assert_eq!(report.exit_code, 0, "{}", report.text);
        assert!(!report.text.contains("warning"), "{}", report.text);
        seen += 1;
    }
    assert!(seen >= 2);
}

fn names(schema: &serde_json::Value) -> BTreeSet<String> {
    schema["properties"].as_object().unwrap().keys().cloned().collect()
}

#[test]
fn the_schema_names_the_keys_that_the_parser_takes() {
    let schema: serde_json::Value =
        serde_json::from_str(&read("config/macsecd.schema.json")).unwrap();
    let port = &schema["properties"]["port"]["items"];
    let key = &port["properties"]["key"]["items"];
    for (table, place) in
        [(&schema, config::Place::Top), (port, config::Place::Port), (key, config::Place::PortKey)]
    {
        let known: BTreeSet<_> = place.keys().iter().map(ToString::to_string).collect();
        assert_eq!(names(table), known);
        assert_eq!(table["additionalProperties"], false);
        for (name, value) in table["properties"].as_object().unwrap() {
            assert!(value["description"].is_string(), "{name}");
        }
    }
    let profiles: Vec<_> = profile::PROFILES.iter().map(|profile| profile.name).collect();
    assert_eq!(port["properties"]["profile"]["enum"], serde_json::json!(profiles));
}

#[test]
fn the_schema_has_the_parsers_defaults() {
    let schema: serde_json::Value =
        serde_json::from_str(&read("config/macsecd.schema.json")).unwrap();
    let port = &schema["properties"]["port"]["items"]["properties"];
    for value in profile::DEFAULTS {
        let default = &port[value.setting.key()]["default"];
        let ours: serde_json::Value = serde_json::from_str(&value.setting.to_string()).unwrap();
        assert_eq!(*default, ours, "{}", value.setting.key());
    }
}

#[test]
fn what_a_profile_shows_can_be_pasted_below_a_port() {
    for profile in profile::PROFILES.iter().map(Some).chain([None]) {
        let text = format!("{PORT}{}{KEY}", profile::show(profile));
        let (config, _) = parse(&text).unwrap_or_else(|error| panic!("{}", error.render(false)));
        let settings = config::LinkSettings::with_profile(profile);
        assert_eq!(config.ports[0].link, settings);
    }
}
