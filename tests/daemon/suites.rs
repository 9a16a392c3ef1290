//! Every cipher suite, with and without the SCI in the tag, end to end.

use crate::config::Config;
use crate::rig::{Pair, observe};
use crate::traffic::{Traffic, count};

/// Secures a link both ways, passes traffic, and looks at what the cable carried.
fn secures(suite: &str, include_sci: bool) {
    let config = Config::new(suite).with(&format!("include-sci = {include_sci}"));
    let mut pair = Pair::new();
    let listener = observe(&pair.a);
    pair.a.start(&config);
    pair.b.start(&config);
    pair.wait_until_secured();
    let mut traffic = Traffic::new(&pair);
    traffic.flows();

    let name = suite.to_uppercase();
    for (router, peer) in [(&pair.a, &pair.b), (&pair.b, &pair.a)] {
        let (port, other) = (router.port(), peer.port());
        assert_eq!(port["cipher_suite"], *name);
        assert_eq!(port["dataplane"], "userspace");
        assert_eq!(port["reason"], serde_json::Value::Null);
        assert_eq!(port["peers"][0]["sci"], other["mka"]["sci"]);
        assert_eq!(
            (&port["peers"][0]["live"], &port["participants"][0]["role"]),
            (&true.into(), &"principal".into())
        );
        assert_eq!(port["sak"]["key_number"], other["sak"]["key_number"]);
        assert_eq!(port["sak"]["an"], other["sak"]["an"]);
        assert!(port["secured_for_seconds"].as_f64().unwrap() > 0.0);
        assert!(port["counters"]["in_pkts_ok"].as_u64().unwrap() >= traffic.sent / 2);
        assert!(port["counters"]["out_pkts_encrypted"].as_u64().unwrap() >= traffic.sent / 2);
        assert_eq!(port["counters"]["in_pkts_not_valid"], 0);
    }
    let servers = [&pair.a, &pair.b].map(|router| router.port()["key_server"].clone());
    assert!(servers.contains(&"self".into()) && servers.contains(&"peer".into()), "{servers:?}");
    let seen = count(&listener);
    assert!(seen.eapol >= 4, "{seen:?}");
    let (wanted, unwanted) = if include_sci {
        (seen.with_sci, seen.without_sci)
    } else {
        (seen.without_sci, seen.with_sci)
    };
    assert!(wanted >= traffic.sent, "{seen:?}");
    assert_eq!((unwanted, seen.clear), (0, 0), "{seen:?}");
}

#[test]
fn gcm_aes_128_secures_a_link() {
    secures("gcm-aes-128", true);
    secures("gcm-aes-128", false);
}

#[test]
fn gcm_aes_256_secures_a_link() {
    secures("gcm-aes-256", true);
    secures("gcm-aes-256", false);
}

#[test]
fn gcm_aes_xpn_128_secures_a_link() {
    secures("gcm-aes-xpn-128", true);
    secures("gcm-aes-xpn-128", false);
}

#[test]
fn gcm_aes_xpn_256_secures_a_link() {
    secures("gcm-aes-xpn-256", true);
    secures("gcm-aes-xpn-256", false);
}

/// The lower number wins (802.1X-2020 9.5).
#[test]
fn the_key_server_is_the_end_with_the_lower_priority_number() {
    let with =
        |priority| Config::new("gcm-aes-128").with(&format!("key-server-priority = {priority}"));
    for (a, b, server_is_a) in [(10, 20, true), (20, 10, false), (255, 254, false)] {
        let pair = Pair::start(&with(a), &with(b));
        pair.wait_until_secured();
        let (expected_a, expected_b) =
            if server_is_a { ("self", "peer") } else { ("peer", "self") };
        let port = pair.a.port();
        assert_eq!(
            (&port["key_server"], &port["peers"][0]["key_server_priority"]),
            (&expected_a.into(), &b.into())
        );
        assert_eq!(pair.b.port()["key_server"], expected_b);
    }
}

#[test]
fn integrity_alone_secures_a_link_too() {
    let pair = Pair::secured(&Config::new("gcm-aes-xpn-128").with("confidentiality = false"));
    Traffic::new(&pair).flows();
    let counters = pair.a.port()["counters"].clone();
    assert_eq!(counters["out_pkts_encrypted"], 0);
    assert!(counters["out_pkts_protected"].as_u64().unwrap() > 0);
}

/// Offsets are for the suites without XPN (802.1AE-2018 14.7), and the key server's to choose.
#[test]
fn a_confidentiality_offset_secures_a_link_too() {
    for offset in [30, 50] {
        let line = format!("confidentiality-offset = {offset}");
        let pair = Pair::secured(&Config::new("gcm-aes-256").with(&line));
        Traffic::new(&pair).flows();
        assert_eq!(pair.a.port()["counters"]["in_pkts_not_valid"], 0);
    }
}

/// Through a carrier that keeps EAPOL and the usual group for itself.
#[test]
fn another_group_and_another_ethertype_secure_a_link_too() {
    let config = Config::new("gcm-aes-xpn-256")
        .with("eapol-destination = \"nearest-bridge\"")
        .with("eapol-ethertype = \"0x876f\"");
    let mut pair = Pair::new();
    let listener = observe(&pair.a);
    pair.a.start(&config);
    pair.b.start(&config);
    pair.wait_until_secured();
    Traffic::new(&pair).flows();
    let (mut carried, mut buffer) = (0, [0; 2048]);
    while listener.recv(&mut buffer).is_ok() {
        match (buffer[5], buffer[12], buffer[13]) {
            (0x0e, 0x87, 0x6f) => carried += 1,
            (_, 0x88, 0xe5) => {}
            other => panic!("{other:x?}"),
        }
    }
    assert!(carried >= 4);
}
