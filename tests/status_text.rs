//! What `macsecctl status` prints, against files that were written by hand: `NAME.json` is what the
//! daemon says, `NAME.txt` what a person is shown.

#![cfg(feature = "daemon")]
#![allow(clippy::unwrap_used, reason = "tests")]

use std::{fs, path::PathBuf, time::Duration};

use macsecd::{
    cli::{Failure, render},
    control::{ClientError, DEFAULT_SOCKET, Status},
};

fn golden(name: &str) -> String {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/status/");
    fs::read_to_string(format!("{folder}{name}")).unwrap()
}

fn document(name: &str) -> Status {
    serde_json::from_str(&golden(&format!("{name}.json"))).unwrap()
}

fn check(name: &str) {
    let (shown, wanted) = (render::status(&document(name), false), golden(&format!("{name}.txt")));
    assert_eq!(shown, wanted, "\n{name}:\n{shown}");
    for line in shown.lines() {
        assert!(line.chars().count() <= 80, "more than 80 columns: {line}");
    }
}

#[test]
fn a_secured_port_is_shown_with_its_peer_and_its_key() {
    check("secured");
}

#[test]
fn a_secured_port_with_findings_is_shown_with_them() {
    check("degraded");
}

#[test]
fn a_port_that_is_not_secured_says_why_in_its_first_line() {
    for name in ["no_carrier", "other_key_name", "other_suite", "failed", "no_reason"] {
        check(name);
    }
}

#[test]
fn ports_are_shown_one_below_the_other() {
    check("two_ports");
    check("no_ports");
}

#[test]
fn a_daemon_that_does_not_run_is_said_not_to_and_how_to_start_it() {
    let error = ClientError::NotRunning(PathBuf::from(DEFAULT_SOCKET));
    assert_eq!(Failure::from(error).to_string(), golden("no_daemon.txt"));
}

#[test]
fn colour_is_put_on_the_verdict_and_changes_nothing_else() {
    for (name, verdict) in [
        ("secured", "eth1  \x1b[1;32mSECURED\x1b[0m  GCM"),
        ("degraded", "enp129s0f0np0  \x1b[1;33mSECURED, DEGRADED\x1b[0m  GCM"),
        ("other_key_name", "eth0  \x1b[1;31mNOT SECURED\x1b[0m for 00:00:41"),
    ] {
        let coloured = render::status(&document(name), true);
        assert!(coloured.starts_with(verdict), "{coloured}");
        let mut plain = coloured;
        for code in ["\x1b[1;32m", "\x1b[1;33m", "\x1b[1;31m", "\x1b[0m"] {
            plain = plain.replace(code, "");
        }
        assert_eq!(plain, golden(&format!("{name}.txt")));
    }
}

#[test]
fn waiting_ends_in_a_line_for_each_port_that_is_not_there() {
    let waited = Duration::from_secs(30);
    assert_eq!(
        render::not_secured(&document("two_ports"), waited),
        "eth2 not secured after 30 s, listening: E002 the link is up and silent\n"
    );
    assert_eq!(render::secured(&document("secured")), "eth1 secured, GCM-AES-XPN-256\n");
    assert_eq!(render::not_secured(&document("no_ports"), waited), "no port is configured\n");
}
