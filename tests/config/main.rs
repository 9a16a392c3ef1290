//! What the configuration file may say, and what is said where it may not.

#![cfg(feature = "daemon")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::{
    collections::BTreeSet,
    env, fs,
    path::{Path, PathBuf},
    time::Duration,
};

use macsecd::config::{
    self, Code, Config, ConfigError, Diagnostic, KeyFileError, KeyReader, KeySource,
};
use macsecd::ident::{CipherSuite, ConfidentialityOffset};
use proptest::prelude::*;
use zeroize::Zeroizing;

mod files;
#[allow(unreachable_pub)]
#[path = "../../fuzz/bodies/config.rs"]
mod fuzz;
mod shipped;

/// Keys that are not in any file.
struct Keys;

impl KeyReader for Keys {
    fn read(&self, source: &KeySource) -> Result<Zeroizing<Vec<u8>>, KeyFileError> {
        let text: &[u8] = match source.to_string().as_str() {
            "file:/keys/a" => b"a0a1a2a3a4a5a6a7a8a9aaabacadaeafb0b1b2b3b4b5b6b7b8b9babbbcbdbebf\n",
            "file:/keys/b" => b"c0c1c2c3c4c5c6c7c8c9cacbcccdcecf\r\n",
            "file:/keys/short" => b"c0c1c2c3\n",
            "file:/keys/24" => b"c0c1c2c3c4c5c6c7c8c9cacbcccdcecfd0d1d2d3d4d5d6d7\n",
            "file:/keys/40" => &[b'7'; 80],
            "file:/keys/two-lines" => b"c0c1c2c3c4c5c6c7\nc8c9cacbcccdcecf\n",
            "file:/keys/odd" => b"c0c1c2c3c4c5c6c7c8c9cacbcccdcec\n",
            "file:/keys/empty" => b"\n",
            "file:/keys/0x" => b"0xc0c1c2c3c4c5c6c7c8c9cacbcccdcecf",
            "file:/keys/ones" => &[b'1'; 64],
            "file:/keys/open" => {
                return Err(KeyFileError::Open { path: "/keys/open".into(), mode: 0o644 });
            }
            "credential:link1" => return Err(KeyFileError::NoCredentials),
            _ => return Err(KeyFileError::Missing("/keys/none".into())),
        };
        Ok(Zeroizing::new(text.to_vec()))
    }
}

fn parse(text: &str) -> Result<(Config, Vec<Diagnostic>), ConfigError> {
    // A file is private unless its first line says otherwise.
    let mode = if text.starts_with("# mode 0644\n") { 0o644 } else { 0o600 };
    config::parse(text, Path::new("macsecd.toml"), mode, &Keys)
}

fn cases() -> Vec<PathBuf> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/config");
    let files = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    let mut cases: Vec<_> =
        files.filter(|path| path.extension().is_some_and(|end| end == "toml")).collect();
    cases.sort();
    cases
}

/// Set `BLESS=1` to write the expected text anew, and read the difference before committing it.
#[test]
fn each_bad_file_is_refused_in_these_words() {
    let mut wrong = Vec::new();
    for case in cases() {
        let text = fs::read_to_string(&case).unwrap();
        let said = match parse(&text) {
            Ok((_, warnings)) => config::render(&warnings, false),
            Err(error) => error.render(false),
        };
        let expected = case.with_extension("expected");
        if env::var_os("BLESS").is_some() {
            fs::write(&expected, &said).unwrap();
        }
        if fs::read_to_string(&expected).unwrap_or_default() != said {
            wrong.push(format!("{}:\n{said}", case.display()));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// A rule without an example is a rule that nobody has seen at work.
#[test]
fn each_rule_about_a_text_has_an_example() {
    let of_files = [Code::Unreadable, Code::Unprotected, Code::NotText];
    let mut seen: BTreeSet<_> = of_files.into_iter().collect();
    for case in cases() {
        match parse(&fs::read_to_string(&case).unwrap()) {
            Ok((_, warnings)) => seen.extend(warnings.iter().map(Diagnostic::code)),
            Err(error) => seen.extend(error.diagnostics().iter().map(Diagnostic::code)),
        }
    }
    let unseen: Vec<_> = Code::ALL.iter().filter(|code| !seen.contains(code)).collect();
    assert!(unseen.is_empty(), "{unseen:?}");
}

#[test]
fn each_finding_has_a_place_and_advice() {
    let about_all = [Code::MissingKey];
    for case in cases() {
        let Err(error) = parse(&fs::read_to_string(&case).unwrap()) else { continue };
        for found in error.diagnostics() {
            assert!(!found.advice().is_empty(), "{found:?}");
            let placed = found.position().is_some() || about_all.contains(&found.code());
            assert!(placed, "{found:?}");
        }
    }
}

#[test]
fn findings_come_in_the_order_of_the_file() {
    let case = "tests/golden/config/several.toml";
    let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(case)).unwrap();
    let error = parse(&text).unwrap_err();
    let lines: Vec<_> =
        error.diagnostics().iter().map(|found| found.position().unwrap().0).collect();
    assert_eq!(lines, [1, 3, 4, 5, 8, 11, 11, 12]);
    assert!(error.to_string().starts_with("macsecd.toml:1:1: `secure-interface` is missing"));
}

#[test]
fn a_hundred_errors_are_shown_and_the_rest_are_counted() {
    let text = (0..300).map(|n| format!("x{n} = 1\n")).collect::<String>();
    let error = parse(&text).unwrap_err();
    assert_eq!(error.diagnostics().len(), 100);
    // 300 unknown keys and a missing port.
    assert!(error.render(false).ends_with("\nand 201 more errors\n"));
}

const PORT: &str = "[[port]]\ninterface = \"eth1\"\n";
const KEY: &str = "[[port.key]]\nckn = \"00112233\"\ncak = \"file:/keys/a\"\n";

fn good(text: &str) -> Config {
    let (config, warnings) = parse(text).unwrap_or_else(|error| panic!("{}", error.render(false)));
    assert_eq!(config::render(&warnings, false), "");
    config
}

#[test]
fn three_lines_are_enough() {
    let config = good(&format!("{PORT}{KEY}"));
    let port = config.port("eth1").unwrap();
    assert_eq!(port.secure_interface, "macsec0");
    assert_eq!(port.keys[0].key.ckn.to_string(), "00112233");
    assert_eq!(port.keys[0].key.cak.len(), 32);
    assert_eq!(port.link.cipher_suites[0], CipherSuite::GcmAesXpn256);
    assert_eq!(port.link.policy, config::SecurePolicy::MustSecure);
    assert_eq!(config.control.socket, Path::new("/run/macsecd/control.sock"));
    assert_eq!(config.control.group, "macsecd");
    assert_eq!(config.log_level, config::LogLevel::Info);
}

/// Neither module may name the other.
#[test]
fn macsecctl_looks_for_the_socket_where_the_daemon_puts_it() {
    assert_eq!(config::DEFAULT_SOCKET, macsecd::control::DEFAULT_SOCKET);
    assert_eq!(config::DEFAULT_GROUP, macsecd::control::DEFAULT_GROUP);
}

#[test]
fn every_key_is_taken() {
    let parsed = parse(
        r#"
        control-socket = "/run/m.sock"
        control-group = "netops"
        log-level = "debug"
        [[port]]
        interface = "eth1"
        secure-interface = "secure1"
        cipher-suites = ["GcmAes256", "gcm-aes-128"]
        dataplane = "auto"
        offload = "mac"
        delete-on-stop = true
        include-sci = false
        key-server-priority = 0
        policy = "should-secure"
        replay-protect = false
        replay-window = 0xffff_ffff
        confidentiality = true
        confidentiality-offset = 30
        port-id = 65534
        rekey-seconds = 3_600
        cak-padding = "refuse"
        [[port.key]]
        ckn = "Ab"
        cak = "file:/keys/b"
        [[port.key]]
        ckn = "cd"
        cak = 'd0d1d2d3d4d5d6d7d8d9dadbdcdddedf'
        "#,
    );
    let (config, warnings) = parsed.unwrap_or_else(|error| panic!("{}", error.render(false)));
    assert_eq!(
        warnings.iter().map(Diagnostic::code).collect::<Vec<_>>(),
        [Code::Offloaded, Code::PortUnsaid, Code::ClearAllowed]
    );
    let port = config.port("eth1").unwrap();
    let link = &port.link;
    assert_eq!(config.control.group, "netops");
    assert_eq!(config.log_level, config::LogLevel::Debug);
    assert_eq!(port.secure_interface, "secure1");
    assert_eq!(link.cipher_suites, [CipherSuite::GcmAes256, CipherSuite::GcmAes128]);
    assert_eq!(link.dataplane, config::DataplaneChoice::Auto);
    assert_eq!((link.offload, link.delete_on_stop), (config::OffloadChoice::Mac, true));
    assert_eq!((link.include_sci, link.replay_protect), (false, false));
    assert_eq!((link.key_server_priority.0, link.port_id), (0, 65534));
    assert_eq!(link.replay_window, u32::MAX);
    assert_eq!(link.offset(), ConfidentialityOffset::Offset30);
    assert_eq!(link.rekey, Some(Duration::from_secs(3600)));
    assert_eq!(port.keys.len(), 2);
    assert_eq!(port.keys[1].source, KeySource::Inline);
}

#[test]
fn what_the_file_says_counts_before_the_profile_and_that_before_the_default() {
    let config = good(&format!("{PORT}profile = \"gcp-interconnect\"\nreplay-window = 0\n{KEY}"));
    let port = config.port("eth1").unwrap();
    assert_eq!(port.link.key_server_priority.0, 15);
    assert_eq!(port.link.replay_window, 0);
    let explained = port.explain();
    let origin = |key: &str| explained.iter().find(|one| one.key == key).unwrap().origin;
    assert_eq!(origin("replay-window"), config::Origin::File { line: 4 });
    assert_eq!(origin("key-server-priority"), config::Origin::Profile("gcp-interconnect"));
    assert_eq!(origin("port-id"), config::Origin::Default);
}

#[test]
fn integrity_only_is_an_offset_of_its_own() {
    let config = good(&format!("{PORT}confidentiality = false\n{KEY}"));
    assert_eq!(config.ports[0].link.offset(), ConfidentialityOffset::IntegrityOnly);
}

/// What Azure's page says of a short CAK: `1234` stands for `12340000...`.
#[test]
fn zeros_go_after_a_short_cak_up_to_the_suites_key_length() {
    let cak = |suite: &str, key: &str| {
        let text = format!(
            "{PORT}cak-padding = \"zeros-right\"\ncipher-suites = [\"{suite}\"]\n\
             [[port.key]]\nckn = \"01\"\ncak = \"{key}\"\n"
        );
        let (mut config, _) = parse(&text).unwrap();
        config.ports.remove(0).keys.remove(0).key
    };
    let written_out = |digits: usize| cak("gcm-aes-128", &format!("{:0<digits$}", "1234"));
    assert!(cak("gcm-aes-128", "1234").cak.same_as(&written_out(32).cak));
    assert!(cak("gcm-aes-xpn-256", "1234").cak.same_as(&written_out(64).cak));
    assert!(!cak("gcm-aes-xpn-256", "1234").cak.same_as(&written_out(32).cak));
}

#[test]
fn a_reload_sees_what_changed_and_nothing_else() {
    let a = good(&format!("{PORT}{KEY}"));
    let same = good(&format!("# a comment\n{PORT}replay-window = 64\n{KEY}"));
    assert!(a.ports[0].same_settings(&same.ports[0]) && a.ports[0].same_keys(&same.ports[0]));

    let other_window = good(&format!("{PORT}replay-window = 65\n{KEY}"));
    assert!(!a.ports[0].same_settings(&other_window.ports[0]));
    assert!(a.ports[0].same_keys(&other_window.ports[0]));

    let other_key = good(&format!("{PORT}{}", KEY.replace("/keys/a", "/keys/b")));
    assert!(a.ports[0].same_settings(&other_key.ports[0]));
    assert!(!a.ports[0].same_keys(&other_key.ports[0]));

    let one_more =
        good(&format!("{PORT}{KEY}[[port.key]]\nckn = \"44\"\ncak = \"file:/keys/b\"\n"));
    assert!(!a.ports[0].same_keys(&one_more.ports[0]) && !one_more.ports[0].same_keys(&a.ports[0]));
}

#[test]
fn one_key_may_serve_two_ports_under_the_same_name() {
    let port = |n: u8| {
        format!("[[port]]\ninterface = \"eth{n}\"\nsecure-interface = \"macsec{n}\"\n{KEY}")
    };
    assert_eq!(good(&(port(0) + &port(1))).ports.len(), 2);
}

#[test]
fn no_configuration_shows_its_keys_when_it_is_printed() {
    let inline = "[[port.key]]\nckn = \"01\"\ncak = \"d0d1d2d3d4d5d6d7d8d9dadbdcdddedf\"\n";
    let printed = format!("{:?}", good(&format!("{PORT}{inline}")));
    assert!(printed.contains("Cak(..)") && !printed.contains("d0d1") && !printed.contains("208"));
}

/// Each golden file, cut short and with octets changed: nothing may panic.
#[test]
fn damaged_files_are_read_to_an_end() {
    for case in cases() {
        let text = fs::read(&case).unwrap();
        for at in 0..text.len() {
            fuzz::config(&text[..at]);
            let mut damaged = text.clone();
            damaged[at] = b"\"[]\n='#.\\\0\xff"[at % 10];
            fuzz::config(&damaged);
        }
    }
}

/// The digits of a key in a configuration, of which no four in a row may ever be shown.
const SECRET: &str = "c9e1d2b3a4f5968778695a4b3c2d1e0fc8e2d1b4a3f6958677685b4a3d2c1f0e";

proptest! {
    #![proptest_config(ProptestConfig { cases: 2048, ..ProptestConfig::default() })]

    #[test]
    fn any_text_is_read_to_an_end(text in "(?s).{0,200}") {
        fuzz::config(text.as_bytes());
    }

    /// Whatever is put into a file around a key, and whatever is wrong with it then, no message
    /// shows the key.
    #[test]
    fn no_damage_makes_a_message_show_a_key(
        at in 0..400_usize,
        put in "[\"'\\[\\]{}=#, \n.a-z0-9\\\\-]{0,3}",
        cut in 0..3_usize,
        len in prop_oneof![Just(64_usize), Just(32), Just(30), Just(9), Just(8)],
        open in any::<bool>(),
    ) {
        let secret = &SECRET[..len];
        let text = format!(
            "log-level = \"info\"\n{PORT}policy = \"must-secure\"\n[[port.key]]\nckn = \"01\"\n\
             cak = \"{secret}\"\n\n[[port.key]]\nckn = \"02\"\ncak = '{secret}' # cak\n\
             [[port.key]]\nckn = \"03\"\ncak = \"\"\"{secret}\"\"\"\n"
        );
        let at = at % text.len();
        let mut damaged = text.clone();
        damaged.replace_range(at..(at + cut).min(text.len()), &put);
        let mode = if open { 0o644 } else { 0o600 };
        let said = match config::parse(&damaged, Path::new("m.toml"), mode, &Keys) {
            Ok((config, warnings)) => format!("{config:?}{}", config::render(&warnings, false)),
            Err(error) => format!("{error:?}{error}{}", error.render(false)),
        };
        for digits in secret.as_bytes().windows(6) {
            let digits = std::str::from_utf8(digits).unwrap();
            prop_assert!(!said.contains(digits), "{said}");
        }
    }

    /// The same for a key that was put where it does not belong, in any way that is refused.
    #[test]
    fn no_message_shows_a_key_that_stands_in_a_wrong_place(
        place in 0..WRONG_PLACES.len(),
        before in "(\\[\\[port\\]\\]\n|[x\"'=\n ]{0,2})",
        len in prop_oneof![Just(64_usize), Just(32), Just(30), Just(16)],
        digits in prop_oneof![Just("c9e1d2b3a4f59687"), Just("9135790246813579")],
        colons in any::<bool>(),
    ) {
        let secret = &digits.repeat(4)[..len];
        let pairs: Vec<_> = secret.as_bytes().chunks(2).map(|two| str::from_utf8(two).unwrap()).collect();
        let written = if colons { pairs.join(":") } else { secret.to_owned() };
        let text = before + &WRONG_PLACES[place].replace("KEY", &written);
        let options =
            config::check::CheckOptions { read_keys: false, explain: true, color: false };
        let path = Path::new("m.toml");
        let checked = config::check::check_text(&text, path, 0o600, None, options).text;
        let said = match parse(&text) {
            Ok((_, warnings)) => config::render(&warnings, false),
            Err(error) => format!("{error:?}{error}{}", error.render(false)),
        };
        let said = said + &checked;
        for shown in [&secret[..8], &pairs[..4].join(":")] {
            prop_assert!(!said.contains(shown), "{said}");
        }
    }
}

/// Lines into which a key may have been pasted by mistake, and which do not take it.
const WRONG_PLACES: &[&str] = &[
    "[[port]]\ninterface = \"KEY\"\n",
    "[[port]]\ninterface = KEY\n",
    "[[port]]\ninterface = \"\"\"\nKEY\"\"\"\n",
    "[[port]]\ninterface = \"eth1\"\nsecure-interface = \"KEY\"\n",
    "[[port]]\ninterface = \"eth1\"\nprofile = \"KEY\"\n",
    "[[port]]\ninterface = \"eth1\"\nprofile = 'linux-peer KEY'\n",
    "[[port]]\ninterface = \"eth1\"\npolicy = \"KEY\"\n",
    "[[port]]\ninterface = \"eth1\"\ndataplane = \"KEY\"\n",
    "[[port]]\ninterface = \"eth1\"\ncipher-suites = [\"KEY\"]\n",
    "[[port]]\ninterface = \"eth1\"\ncipher-suites = \"KEY\"\n",
    "[[port]]\ninterface = \"eth1\"\ninclude-sci = \"KEY\"\n",
    "[[port]]\ninterface = \"eth1\"\nreplay-window = \"KEY\"\n",
    "[[port]]\ninterface = \"eth1\"\nreplay-window = KEY\n",
    "[[port]]\ninterface = \"eth1\"\n\"KEY\" = 1\n",
    "[[port]]\ninterface = \"eth1\"\nKEY = 1\n",
    "[[port]]\ninterface = \"eth1\"\nKEY = \"KEY\"\n",
    "[[port]]\ninterface = \"eth1\"\nKEY\n",
    "[[port]]\ninterface = \"eth1\"\n[[port.key]]\nckn = \"01\"\ncak = \"file:KEY\"\n",
    "[[port]]\ninterface = \"eth1\"\n[[port.key]]\nckn = \"01\"\ncak = \"file:/KEY\"\n",
    "[[port]]\ninterface = \"eth1\"\n[[port.key]]\nckn = \"01\"\ncak = \"credential:KEY\"\n",
    "[[port]]\ninterface = \"eth1\"\n[[port.key]]\nckn = \"01\"\n\"KEY\" = \"file:/keys/a\"\n",
    "[[port]]\ninterface = \"eth1\"\n[[port.key]]\nckn = \"01\"\nKEY = \"\"\n",
    "control-socket = \"KEY\"\n",
    "control-group = \"/KEY\"\n",
    "log-level = \"KEY\"\n",
    "log-level = KEY\n",
    "\"KEY\" = \"info\"\n",
    "KEY = \"info\"\n",
    "[KEY]\n",
    "[\"KEY\"]\nx = 1\n",
    "[[KEY]]\n",
    "KEY",
];
