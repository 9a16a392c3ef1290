//! Why a port is not secured: the right code within ten seconds, with what an operator needs.

use crate::config::{Config, cak};
use crate::rig::{CABLE, Pair};

const SUITE: &str = "gcm-aes-xpn-128";

#[test]
fn a_peer_with_another_key_name_is_e101_and_both_names_are_shown() {
    let key = cak(1, 16);
    let ours = Config::new(SUITE).with_keys(&[("0badc0de", &key)]);
    let theirs = Config::new(SUITE).with_keys(&[("feedface", &key)]);
    let pair = Pair::start(&ours, &theirs);
    for router in [&pair.a, &pair.b] {
        let words = router.wait_for_reason("E101");
        assert!(words.contains("0badc0de") && words.contains("feedface"), "{words}");
    }
    let (code, _, complaint) = pair.a.macsecctl(&["wait", "--secured", "--timeout", "100ms"]);
    assert_eq!(code, 10, "{complaint}");
}

#[test]
fn a_peer_with_another_key_of_the_same_name_is_e102() {
    let [ours, theirs] =
        [cak(1, 16), cak(2, 16)].map(|key| Config::new(SUITE).with_keys(&[("0badc0de", &key)]));
    let pair = Pair::start(&ours, &theirs);
    for router in [&pair.a, &pair.b] {
        let words = router.wait_for_reason("E102");
        assert!(words.contains("0badc0de"), "{words}");
        assert!(router.port()["mka"]["discards"]["icv"].as_u64().unwrap() > 0);
    }
}

#[test]
fn a_suite_that_only_one_end_allows_is_e203_there_and_e204_at_the_key_server() {
    let key = cak(1, 16);
    let server =
        Config::new("gcm-aes-xpn-128").with("key-server-priority = 1").with_keys(&[("01", &key)]);
    let other =
        Config::new("gcm-aes-128").with("key-server-priority = 9").with_keys(&[("01", &key)]);
    let pair = Pair::start(&server, &other);
    let words = pair.b.wait_for_reason("E203");
    assert!(words.contains("GCM-AES-XPN-128") && words.contains("GCM-AES-128 only"), "{words}");
    let words = pair.a.wait_for_reason("E204");
    assert!(words.contains("GCM-AES-XPN-128"), "{words}");
}

#[test]
fn two_ends_that_never_serve_are_e201() {
    let config = Config::new(SUITE).with("key-server-priority = 255");
    let pair = Pair::start(&config, &config);
    for router in [&pair.a, &pair.b] {
        assert!(router.wait_for_reason("E201").contains("255"));
    }
}

#[test]
fn an_unplugged_cable_is_e001_and_security_comes_back_with_it() {
    let pair = Pair::secured(&Config::new(SUITE));
    pair.b.namespace.down(CABLE);
    for router in [&pair.a, &pair.b] {
        let words = router.wait_for_reason("E001");
        assert!(words.contains(CABLE), "{words}");
        assert_eq!(
            (&router.port()["state"], &router.port()["carrier"]),
            (&"down".into(), &false.into())
        );
    }
    pair.b.namespace.up(CABLE);
    pair.wait_until_secured();
}

#[test]
fn a_peer_that_crashed_is_e002_and_security_comes_back_with_it() {
    let config = Config::new(SUITE);
    let mut pair = Pair::secured(&config);
    pair.b.crash();
    pair.a.wait_for_reason("E002");
    pair.b.start(&config);
    pair.wait_until_secured();
}

#[test]
fn a_peer_that_never_spoke_is_e002() {
    let mut pair = Pair::new();
    pair.a.start(&Config::new(SUITE));
    let words = pair.a.wait_for_reason("E002");
    assert!(words.contains("ever"), "{words}");
}
