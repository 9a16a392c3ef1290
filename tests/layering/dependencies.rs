//! Compares the dependencies of the manifest with the record of why each is there.

use std::collections::BTreeMap;

/// Finds dependencies that are in the manifest or in the record, but not alike in both.
pub(crate) fn differences(manifest: &str, record: &str) -> Vec<String> {
    let (wanted, recorded) = (in_manifest(manifest), in_record(record));
    let mut out = Vec::new();
    for (name, version) in &wanted {
        match recorded.get(name) {
            None => out.push(format!("`{name}` is in Cargo.toml and not in the record")),
            Some(other) if other != version => {
                out.push(format!("`{name}` is {version} in Cargo.toml and {other} in the record"));
            }
            Some(_) => {}
        }
    }
    let gone = recorded.keys().filter(|name| !wanted.contains_key(*name));
    out.extend(gone.map(|name| format!("`{name}` is in the record and not in Cargo.toml")));
    out
}

/// Reads `name = "1"` and `name = { version = "1", … }` of every table of dependencies.
fn in_manifest(text: &str) -> BTreeMap<String, String> {
    let (mut out, mut inside) = (BTreeMap::new(), false);
    for line in text.lines().map(str::trim) {
        if line.starts_with('[') {
            inside = line.ends_with("dependencies]");
        } else if inside
            && !line.starts_with('#')
            && let Some((name, value)) = line.split_once(" = ")
        {
            let value = value.split_once("version = ").map_or(value, |(_, version)| version);
            let version = value.split('"').nth(1).unwrap_or_default();
            out.insert(name.to_owned(), version.to_owned());
        }
    }
    out
}

/// Reads the table rows that begin with a name in backticks: `| \`name\` | version | …`.
fn in_record(text: &str) -> BTreeMap<String, String> {
    let rows = text.lines().filter_map(|line| {
        let (name, rest) = line.strip_prefix("| `")?.split_once("` | ")?;
        let (version, _) = rest.split_once(" |")?;
        Some((name.to_owned(), version.to_owned()))
    });
    rows.collect()
}
