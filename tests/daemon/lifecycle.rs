//! From the first start to the last stop.

use std::os::unix::fs::PermissionsExt as _;
use std::process::Output;
use std::time::Duration;

use nix::sys::signal::Signal;

use crate::config::{Config, cak};
use crate::rig::{CABLE, Pair, Router, SECURE};

const SUITE: &str = "gcm-aes-128";

/// Runs a daemon that is not to start.
fn refused(router: &Router) -> (Option<i32>, String) {
    let mut command = router.macsecd();
    let Output { status, stdout, stderr } = router.namespace.run(|| command.output()).unwrap();
    let said = [stdout, stderr].map(|octets| String::from_utf8(octets).unwrap()).concat();
    assert!(!router.socket().exists());
    assert!(!router.namespace.has(SECURE));
    (status.code(), said)
}

#[test]
fn a_daemon_that_is_told_to_end_leaves_nothing_behind() {
    let mut pair = Pair::secured(&Config::new(SUITE));
    for signal in [Signal::SIGTERM, Signal::SIGINT] {
        let router = if signal == Signal::SIGTERM { &mut pair.a } else { &mut pair.b };
        assert!(router.socket().exists() && router.namespace.has(SECURE));
        router.signal(signal);
        router.wait_for_notice("STOPPING=1");
        assert_eq!(router.wait_for_end().code(), Some(0), "{}", router.log());
        assert!(!router.socket().exists());
        assert!(!router.namespace.has(SECURE));
        assert!(router.namespace.has(CABLE));
        assert_eq!(router.macsecctl(&["status"]).0, 3);
    }
}

#[test]
fn a_daemon_that_crashed_is_replaced_by_the_next_one() {
    let config = Config::new(SUITE);
    let mut pair = Pair::secured(&config);
    pair.a.crash();
    assert!(pair.a.socket().exists());
    pair.a.start(&config);
    pair.wait_until_secured();
}

#[test]
fn a_second_daemon_on_the_same_socket_is_refused() {
    let mut pair = Pair::secured(&Config::new(SUITE));
    let mut second = pair.a.macsecd();
    let output = pair.a.namespace.run(|| second.output()).unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(said.contains("another macsecd answers"), "{said}");
    assert_eq!(pair.a.port()["state"], "secured");
    pair.a.signal(Signal::SIGTERM);
    assert_eq!(pair.a.wait_for_end().code(), Some(0));
}

#[test]
fn a_bad_configuration_ends_the_daemon_with_78_and_shows_the_line() {
    let router = Router::new();
    router.write("macsecd.toml", &Config::new(SUITE).with("cipher-suite = 1").text());
    let (code, said) = refused(&router);
    assert_eq!(code, Some(78));
    for part in ["macsecd.toml:5", "cipher-suite = 1", "cipher-suites"] {
        assert!(said.contains(part), "{part}: {said}");
    }
    std::fs::remove_file(router.file("macsecd.toml")).unwrap();
    assert_eq!(refused(&router).0, Some(78));
}

#[test]
fn a_key_that_others_can_read_is_refused() {
    let router = Router::new();
    let config = router.write("macsecd.toml", &Config::new(SUITE).text());
    std::fs::set_permissions(&config, std::fs::Permissions::from_mode(0o644)).unwrap();
    let (code, said) = refused(&router);
    assert_eq!(code, Some(78));
    assert!(said.contains("chmod") && !said.contains(&cak(1, 16)), "{said}");

    let key = router.write("link.cak", &cak(1, 16));
    let reference = format!("file:{}", key.display());
    router.write("macsecd.toml", &Config::new(SUITE).with_keys(&[("01", &reference)]).text());
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o640)).unwrap();
    let (code, said) = refused(&router);
    assert_eq!(code, Some(78));
    assert!(said.contains("link.cak") && !said.contains(&cak(1, 16)), "{said}");
}

#[test]
fn what_the_kernel_cannot_do_is_refused_with_a_reason() {
    let router = Router::new();
    let config = Config::new("gcm-aes-128");
    let config = config.with("dataplane = \"kernel\"").with("confidentiality-offset = 30");
    router.write("macsecd.toml", &config.text());
    let (code, said) = refused(&router);
    assert_eq!(code, Some(78));
    for part in ["macsecd.toml:6:26", "confidentiality-offset = 30", "\"userspace\""] {
        assert!(said.contains(part), "{part}: {said}");
    }
}

#[test]
fn a_configuration_can_be_checked_without_starting_anything() {
    let router = Router::new();
    router.write("macsecd.toml", &Config::new(SUITE).text());
    let mut command = router.macsecd();
    let output = command.arg("--check").output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    assert!(!router.socket().exists());
}

#[test]
fn the_service_manager_hears_how_things_are_and_that_the_daemon_lives() {
    let mut pair = Pair::new();
    let patience = Duration::from_secs(1).as_micros().to_string();
    pair.a.start_with(&Config::new(SUITE), |command| {
        command.env("WATCHDOG_USEC", patience);
    });
    for _ in 0..3 {
        pair.a.wait_for_notice("WATCHDOG=1");
    }
    pair.b.start(&Config::new(SUITE));
    pair.wait_until_secured();
    let line = pair.a.wait_for_notice("STATUS=1 of 1 ports secured");
    assert!(line.contains("eth1 secured"), "{line}");
}

#[test]
fn the_memory_of_the_daemon_is_closed_to_others() {
    let mut router = Router::new();
    router.start(&Config::new(SUITE));
    let id = router.id();
    let limits = std::fs::read_to_string(format!("/proc/{id}/limits")).unwrap();
    let core = limits.lines().find(|line| line.starts_with("Max core file size")).unwrap();
    assert_eq!(core.split_whitespace().nth(4), Some("0"), "{core}");
    assert!(!router.log().contains(&cak(1, 16)));
}
