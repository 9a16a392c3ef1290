//! The change of a CAK as an operator makes it.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use macsecd::config::StartTime;
use serde_json::Value;

use crate::config::{Config, cak};
use crate::rig::{CABLE, Pair, Router};

const OLD: &str = "0badc0de";
const NEW: &str = "0a0b0c0d0e0f";

/// Runs `macsecctl rotate`: its exit code, and what it prints and complains of together.
fn rotate(router: &Router, words: &[&str]) -> (i32, String) {
    let config = router.file("macsecd.toml");
    let arguments = [&["rotate", "--config", config.to_str().unwrap()], words].concat();
    let (code, out, complaint) = router.macsecctl(&arguments);
    (code, out + &complaint)
}

/// Writes the new key, and gives the words that stage it.
fn source(router: &Router) -> String {
    format!("file:{}", router.write("new.cak", &cak(2, 16)).display())
}

fn stage(router: &Router) -> (i32, String) {
    rotate(router, &["stage", CABLE, "--ckn", NEW, "--cak", &source(router)])
}

fn text(router: &Router) -> String {
    fs::read_to_string(router.file("macsecd.toml")).unwrap()
}

fn in_use(port: &Value) -> &Value {
    let all = port["participants"].as_array().unwrap();
    all.iter().find(|of| of["in_use"] == true).map_or(&Value::Null, |of| &of["ckn"])
}

fn plan(router: &Router) -> Value {
    let (code, out) = rotate(router, &["plan", CABLE, "--json"]);
    assert_eq!(code, 0, "{out}");
    serde_json::from_str(&out).unwrap()
}

#[test]
fn a_key_is_staged_at_both_ends_and_the_old_one_taken_out_when_it_is_not_needed() {
    let pair = Pair::secured(&Config::new("gcm-aes-128").with("# A comment that stays."));
    let (a, b) = (&pair.a, &pair.b);
    let (before, closed) = (text(a), a.port()["secured_for_seconds"].as_f64().unwrap());
    let (code, said) = rotate(a, &["commit", CABLE]);
    assert_eq!(code, 1, "{said}");
    assert_eq!(plan(a)["stage"], "idle");

    assert_eq!(stage(a).0, 0);
    let found = fs::metadata(a.file("macsecd.toml")).unwrap();
    assert_eq!(found.permissions().mode() & 0o7777, 0o600);
    let shown = plan(a);
    assert_eq!((&shown["stage"], &shown["keys"][0]["armed"]), (&"staged".into(), &true.into()));
    assert_eq!(shown["keys"][0]["ckn"], NEW);
    let (code, said) = rotate(a, &["commit", CABLE]);
    assert_eq!(code, 10, "{said}");
    assert!(said.contains("Far end:"), "{said}");

    assert_eq!(stage(b).0, 0);
    for router in [a, b] {
        router.wait_until("the new key", |port| in_use(port) == NEW);
    }
    assert!(a.port()["last_switch_ms"].is_f64());
    let (code, said) = rotate(a, &["abort", CABLE]);
    assert_eq!(code, 1, "it is in use: {said}");
    for router in [a, b] {
        let (code, said) = rotate(router, &["commit", CABLE]);
        assert_eq!(code, 0, "{said}");
        assert!(said.contains("no longer has"), "{said}");
        assert!(!text(router).contains(OLD) && text(router).contains("# A comment that stays."));
    }
    assert_ne!(text(a), before);
    let port = a.wait_until_secured();
    assert!(port["secured_for_seconds"].as_f64().unwrap() > closed, "it was never dark");
    assert_eq!(port["participants"].as_array().unwrap().len(), 1);
}

#[test]
fn what_is_staged_can_be_taken_back_and_the_file_is_as_before() {
    let pair = Pair::secured(&Config::new("gcm-aes-128"));
    let (a, b) = (&pair.a, &pair.b);
    let before = text(a);
    assert_eq!(stage(a).0, 0);
    let (code, said) = rotate(a, &["abort", CABLE]);
    assert_eq!((code, text(a)), (0, before.clone()), "{said}");

    // In use, and the far end still has the old one: only by name.
    assert_eq!((stage(a).0, stage(b).0), (0, 0));
    a.wait_until("the new key", |port| in_use(port) == NEW);
    let (code, said) = rotate(a, &["abort", CABLE, "--ckn", NEW]);
    assert_eq!((code, text(a)), (0, before), "{said}");
    a.wait_until("the old key", |port| in_use(port) == OLD);
    b.wait_until("the old key", |port| in_use(port) == OLD);
    let (code, said) = rotate(a, &["abort", CABLE]);
    assert_eq!(code, 1, "{said}");
}

#[test]
fn what_cannot_be_staged_changes_nothing_and_shows_no_key() {
    let pair = Pair::secured(&Config::new("gcm-aes-128"));
    let a = &pair.a;
    let before = text(a);
    let good = source(a);
    let secret = cak(2, 16);
    let open = a.write("open.cak", &secret);
    fs::set_permissions(&open, fs::Permissions::from_mode(0o644)).unwrap();
    let open = format!("file:{}", open.display());
    for (ckn, cak, expected) in [
        (NEW, secret.as_str(), 2),
        (NEW, "file:/none/such", 78),
        (NEW, open.as_str(), 78),
        ("no-hex", good.as_str(), 78),
        (OLD, good.as_str(), 1),
        // Only the daemon knows its credentials, and says so when it is to read the file.
        (NEW, "credential:none", 78),
    ] {
        let (code, said) = rotate(a, &["stage", CABLE, "--ckn", ckn, "--cak", cak]);
        assert_eq!(code, expected, "{cak}: {said}");
        assert!(!said.contains(&secret) && !said.contains(&secret[..16]), "{said}");
        assert_eq!(text(a), before, "{cak}");
    }
    let names = fs::read_dir(a.directory.path()).unwrap().map(|entry| entry.unwrap().file_name());
    let left: Vec<_> = names.filter(|name| name.to_string_lossy().ends_with(".new")).collect();
    assert!(left.is_empty(), "{left:?}");
    assert_eq!(rotate(a, &["stage", "eth7", "--ckn", NEW, "--cak", &good]).0, 1);

    // The file says more than the daemon knows: to have it read would do more than was asked for.
    a.write("macsecd.toml", &before.replace(OLD, "0badc0df"));
    let (code, said) = stage(a);
    assert_eq!(code, 1, "{said}");
    assert!(said.contains("macsecctl reload"), "{said}");
    assert_eq!(a.wait_until_secured()["participants"][0]["ckn"], OLD);
}

#[test]
fn the_old_key_stays_while_the_other_port_of_the_pair_is_dark() {
    let other = format!(
        "[[port]]\ninterface = \"none-such\"\nsecure-interface = \"macsec1\"\n\
         cipher-suites = [\"gcm-aes-128\"]\n[[port.key]]\nckn = \"01\"\ncak = \"{}\"\n",
        cak(3, 16)
    );
    let mut pair = Pair::new();
    let config = Config::new("gcm-aes-128");
    pair.a.start(&config.clone().with("pair = \"none-such\"").followed_by(&other));
    pair.b.start(&config);
    let (a, b) = (&pair.a, &pair.b);
    a.wait_until_secured();
    assert_eq!((stage(a).0, stage(b).0), (0, 0));
    a.wait_until("the new key", |port| in_use(port) == NEW);
    let before = text(a);
    let (code, said) = rotate(a, &["commit", CABLE]);
    assert_eq!((code, text(a)), (10, before), "{said}");
    assert!(said.contains("none-such, the other port of the pair, is not secured"), "{said}");
    // From the other side, the pair is one as well.
    let (_, said) = rotate(a, &["plan", "none-such"]);
    assert!(said.contains(&format!("the other port of the pair, {CABLE}, is secured")), "{said}");
    let (code, said) = rotate(b, &["commit", CABLE, "--sister", "eth9"]);
    assert_eq!(code, 1, "{said}");
}

#[test]
fn a_key_is_taken_up_when_it_starts_and_was_listened_to_before() {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let start = StartTime((now + Duration::from_secs(5)).as_secs()).to_string();
    let (old, new) = (cak(1, 16), cak(2, 16));
    let config = Config::new("gcm-aes-128").with("rotation = \"start-time\"");
    // It stands last, and is spoken by both from the beginning.
    let config = config.with_keys(&[(OLD, &old), (NEW, &new)]);
    let config = config.followed_by(&format!("start = \"{start}\"\n"));
    let pair = Pair::secured(&config);
    let port = pair.a.port();
    assert_eq!(port["participants"].as_array().unwrap().len(), 2);
    for router in [&pair.a, &pair.b] {
        router.wait_until("the key that starts", |port| in_use(port) == NEW);
    }
    assert_eq!(pair.a.port()["state"], "secured");
}
