//! The configuration read again while the daemon runs.

use std::os::unix::fs::PermissionsExt as _;
use std::time::Duration;

use nix::sys::signal::Signal;

use crate::config::{Config, cak};
use crate::rig::{CABLE, Pair, Router};
use crate::traffic::Traffic;

const SUITE: &str = "gcm-aes-xpn-128";

/// What stays the same while a port goes on undisturbed.
fn identity(router: &Router) -> [serde_json::Value; 5] {
    let port = router.port();
    assert_eq!(port["state"], "secured");
    let sak = &port["sak"];
    [&sak["key_number"], &sak["an"], &port["mka"]["mi"], &port["mka"]["sci"], &port["rekeys"]]
        .map(Clone::clone)
}

fn hang_up(router: &Router) {
    router.signal(Signal::SIGHUP);
    router.wait_for_notice("RELOADING=1");
    router.wait_for_notice("READY=1");
}

#[test]
fn an_unchanged_configuration_changes_nothing() {
    let config = Config::new(SUITE);
    let pair = Pair::secured(&config);
    let before = identity(&pair.a);
    // Another order and other words for the same.
    pair.a.write("macsecd.toml", &format!("# the same\nlog-level = \"warn\"\n{}", config.text()));
    hang_up(&pair.a);
    let (code, out, complaint) = pair.a.macsecctl(&["reload"]);
    assert_eq!(code, 0, "{out}{complaint}");
    assert_eq!(identity(&pair.a), before);
    assert!(pair.a.log().contains("nothing has changed"));
    Traffic::new(&pair).flows();
}

#[test]
fn a_bad_configuration_is_reported_and_the_old_one_stays_in_force() {
    let pair = Pair::secured(&Config::new(SUITE));
    let before = identity(&pair.a);
    pair.a.write("macsecd.toml", &Config::new(SUITE).with("replay-windw = 7").text());
    hang_up(&pair.a);
    let (code, out, complaint) = pair.a.macsecctl(&["reload"]);
    assert_ne!(code, 0);
    for said in [format!("{out}{complaint}"), pair.a.log()] {
        assert!(said.contains("replay-windw") && said.contains("replay-window"), "{said}");
        assert!(said.contains("macsecd.toml:5"), "{said}");
    }
    assert_eq!(identity(&pair.a), before);

    std::fs::remove_file(pair.a.file("macsecd.toml")).unwrap();
    hang_up(&pair.a);
    assert_eq!(identity(&pair.a), before);
}

#[test]
fn a_key_that_is_added_or_removed_does_not_disturb() {
    let (old, new) = (cak(1, 16), cak(2, 16));
    let keys = |keys: &[(&str, &str)]| Config::new(SUITE).with_keys(keys);
    let pair = Pair::secured(&keys(&[("01", &old)]));
    let mut traffic = Traffic::new(&pair);
    let before = [identity(&pair.a), identity(&pair.b)];

    // The new key at one end only: the old one goes on.
    pair.a.write("macsecd.toml", &keys(&[("02", &new), ("01", &old)]).text());
    let (code, out, complaint) = pair.a.macsecctl(&["reload"]);
    assert_eq!(code, 0, "{complaint}");
    assert!(out.contains("eth1: keys changed"), "{out}");
    pair.a.wait_until("both keys", |port| port["participants"].as_array().unwrap().len() == 2);
    for _ in 0..20 {
        traffic.round();
        std::thread::sleep(Duration::from_millis(50));
    }
    assert_eq!([identity(&pair.a), identity(&pair.b)], before);

    // At both ends: both keys have live peers, and then the old one can go.
    pair.b.write("macsecd.toml", &keys(&[("02", &new), ("01", &old)]).text());
    assert_eq!(pair.b.macsecctl(&["reload"]).0, 0);
    let live = |port: &serde_json::Value| {
        port["peers"].as_array().unwrap().iter().filter(|peer| peer["live"] == true).count()
    };
    pair.a.wait_until("two live peers", |port| live(port) == 2);
    pair.b.wait_until("two live peers", |port| live(port) == 2);
    traffic.round();
    for router in [&pair.a, &pair.b] {
        router.write("macsecd.toml", &keys(&[("02", &new)]).text());
        assert_eq!(router.macsecctl(&["reload"]).0, 0);
        traffic.round();
    }
    for router in [&pair.a, &pair.b] {
        router.wait_until("the new key alone", |port| {
            port["state"] == "secured"
                && port["participants"].as_array().unwrap().len() == 1
                && port["participants"][0]["ckn"] == "02"
        });
    }
    traffic.round();
    assert_eq!(traffic.lost, 0, "of {} datagrams", traffic.sent);
}

#[test]
fn a_port_with_another_setting_begins_again_and_others_go_on() {
    let mut pair = Pair::new();
    pair.a.namespace.cable("eth2", &pair.b.namespace, "eth2");
    let second = |extra: &str| {
        format!(
            "\n[[port]]\ninterface = \"eth2\"\nsecure-interface = \"macsec1\"\n\
             cipher-suites = [\"{SUITE}\"]\n{extra}\n\
             [[port.key]]\nckn = \"0202\"\ncak = \"{}\"\n",
            cak(7, 16)
        )
    };
    let both = |extra: &str| Config::new(SUITE).followed_by(&second(extra));
    pair.a.start(&both(""));
    pair.b.start(&both(""));
    pair.wait_until_secured();
    let secured = |router: &Router, interface: &str| {
        crate::netns::eventually("secured", || {
            router.port_on(interface).is_some_and(|port| port["state"] == "secured")
        });
        router.port_on(interface).unwrap()["mka"]["mi"].clone()
    };
    let (first, other) = (identity(&pair.a), secured(&pair.a, "eth2"));

    pair.a.write("macsecd.toml", &both("replay-window = 9").text());
    let (code, out, _) = pair.a.macsecctl(&["reload"]);
    assert!(code == 0 && out.contains("eth2: changed") && !out.contains("eth1"), "{out}");
    assert_eq!(identity(&pair.a), first);
    // It goes on as the same member.
    assert_eq!(secured(&pair.a, "eth2"), other);

    pair.a.write("macsecd.toml", &Config::new(SUITE).text());
    let (code, out, _) = pair.a.macsecctl(&["reload"]);
    assert!(code == 0 && out.contains("eth2: removed"), "{out}");
    assert!(pair.a.port_on("eth2").is_none() && !pair.a.namespace.has("macsec1"));

    pair.a.write("macsecd.toml", &both("").text());
    let (code, out, _) = pair.a.macsecctl(&["reload"]);
    assert!(code == 0 && out.contains("eth2: added"), "{out}");
    secured(&pair.a, "eth2");
    assert_eq!(identity(&pair.a), first);
}

#[test]
fn a_key_file_that_others_can_read_is_refused_at_a_reload_too() {
    let pair = Pair::secured(&Config::new(SUITE));
    let before = identity(&pair.a);
    let key = pair.a.write("link.cak", &cak(1, 16));
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o644)).unwrap();
    let reference = format!("file:{}", key.display());
    pair.a.write("macsecd.toml", &Config::new(SUITE).with_keys(&[("01", &reference)]).text());
    let (code, out, complaint) = pair.a.macsecctl(&["reload"]);
    assert_ne!(code, 0);
    assert!(format!("{out}{complaint}").contains("link.cak"), "{out}{complaint}");
    assert_eq!(identity(&pair.a), before);
    assert_eq!(pair.a.port_on(CABLE).unwrap()["participants"][0]["ckn"], "0badc0de");
}

#[test]
fn another_control_group_is_told_and_waits_for_the_next_start() {
    let pair = Pair::secured(&Config::new(SUITE));
    let before = identity(&pair.a);
    // The socket is given on the command line, and what the file says of it never matters.
    let more = "control-group = \"root\"\ncontrol-socket = \"/run/macsecd/other.sock\"\n";
    pair.a.write("macsecd.toml", &format!("{more}{}", Config::new(SUITE).text()));
    let (code, out, complaint) = pair.a.macsecctl(&["reload"]);
    assert_eq!(code, 0, "{complaint}");
    for said in [&out, &pair.a.log()] {
        assert!(said.contains("control-group = root: takes effect at the next start"), "{said}");
        assert!(!said.contains("other.sock"), "{said}");
    }
    assert_eq!(identity(&pair.a), before);
}

#[test]
fn a_port_that_cannot_be_set_up_is_told_by_the_reload_and_stays() {
    let pair = Pair::secured(&Config::new(SUITE));
    let before = identity(&pair.a);
    pair.a.namespace.cable("eth2", &pair.b.namespace, "eth2");
    // Its secure interface would have the name of a cable.
    let second = format!(
        "\n[[port]]\ninterface = \"eth2\"\nsecure-interface = \"{CABLE}x\"\n\
         cipher-suites = [\"{SUITE}\"]\n[[port.key]]\nckn = \"02\"\ncak = \"{}\"\n",
        cak(7, 16)
    );
    pair.a.namespace.cable(&format!("{CABLE}x"), &pair.b.namespace, &format!("{CABLE}x"));
    pair.a.write("macsecd.toml", &Config::new(SUITE).followed_by(&second).text());
    let (code, out, complaint) = pair.a.macsecctl(&["reload"]);
    assert_eq!(code, 0, "{complaint}");
    assert!(out.contains("eth2: added") && out.contains("eth2: E311"), "{out}");
    let port = pair.a.port_on("eth2").unwrap();
    assert_eq!((&port["state"], &port["reason"]["code"]), (&"failed".into(), &"E311".into()));
    assert_eq!(identity(&pair.a), before);
}
