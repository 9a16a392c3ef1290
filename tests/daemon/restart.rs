//! A daemon that follows another one on the same port.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::thread;
use std::time::Duration;

use nix::sys::signal::Signal;
use serde_json::Value;

use crate::config::{Config, cak};
use crate::netns::eventually;
use crate::rig::{CABLE, Pair, Router, SECURE};
use crate::traffic::Traffic;

/// How often each way of restarting is gone through.
const RESTARTS: usize = 3;
/// A planned restart that takes its time: longer than MKA Life Time, and than an encryptor goes on
/// without a daemon that was killed. Much shorter than the peers are asked to wait.
const SLOW: Duration = Duration::from_secs(9);
/// The other end's key server priority.
const PRIORITY: &str = "key-server-priority = 100";
/// What a daemon says that leaves, when the others have agreed to wait for the next one.
const WAITED_FOR: &str = "the peers wait for the next daemon";
/// What a daemon says that found everything as it was left.
const GOES_ON: &str = "goes on where the daemon before has left it";

/// What the peer would notice of a restart: who we are, and how often the key was replaced.
fn noticed(peer: &Router) -> (Value, Value) {
    let port = peer.port();
    (port["peers"][0]["mi"].clone(), port["rekeys"].clone())
}

/// Ends a daemon in some way and starts the next, while traffic flows.
fn restart_under_traffic(config: &Config, end: impl Fn(&mut Router)) {
    let mut pair = Pair::secured(config);
    let mut traffic = Traffic::new(&pair);
    traffic.flows();
    let before = [noticed(&pair.a), noticed(&pair.b)];
    traffic.during(|| {
        for _ in 0..RESTARTS {
            for router in [&mut pair.a, &mut pair.b] {
                end(router);
                router.start(config);
                router.wait_until_secured();
            }
        }
    });
    assert_eq!(traffic.lost, 0, "of {} datagrams", traffic.sent);
    assert_eq!([noticed(&pair.a), noticed(&pair.b)], before);
    for router in [&pair.a, &pair.b] {
        assert_eq!(router.log().matches(GOES_ON).count(), RESTARTS, "{}", router.log());
    }
}

#[test]
fn a_daemon_that_is_killed_loses_no_frame() {
    for suite in ["gcm-aes-128", "gcm-aes-xpn-256"] {
        restart_under_traffic(&Config::new(suite), Router::crash);
    }
}

#[test]
fn a_daemon_that_is_restarted_loses_no_frame() {
    restart_under_traffic(&Config::new("gcm-aes-xpn-128"), |router| {
        router.signal(Signal::SIGUSR2);
        assert_eq!(router.wait_for_end().code(), Some(0));
        assert!(router.namespace.has(SECURE), "the secure interface has gone");
    });
}

/// A restart of one end that takes its time, under traffic; of the other end's, nothing is said.
fn slow_restart(priority: u8) {
    let config = Config::new("gcm-aes-xpn-128").with(&format!("key-server-priority = {priority}"));
    let mut pair = Pair::start(&config, &Config::new("gcm-aes-xpn-128").with(PRIORITY));
    pair.wait_until_secured();
    let mut traffic = Traffic::new(&pair);
    traffic.flows();
    let before = [noticed(&pair.a), noticed(&pair.b)];
    traffic.during(|| {
        pair.a.signal(Signal::SIGUSR2);
        assert_eq!(pair.a.wait_for_end().code(), Some(0));
        assert!(pair.a.log().contains(WAITED_FOR), "{}", pair.a.log());
        thread::sleep(SLOW);
        assert_eq!(pair.b.port()["state"], "secured", "{}", pair.b.log());
        pair.a.start(&config);
        pair.a.wait_until_secured();
    });
    assert!(pair.a.log().contains(GOES_ON), "{}", pair.a.log());
    assert_eq!(traffic.lost, 0, "of {} datagrams", traffic.sent);
    assert_eq!([noticed(&pair.a), noticed(&pair.b)], before);

    // It is waited for no more: not by the peer, and not by its encryptor.
    pair.a.crash();
    pair.b.wait_until("the peer is lost", |port| port["state"] != "secured");
    eventually("the encryptor has ended", || !pair.a.namespace.has(SECURE));
}

#[test]
fn a_planned_restart_of_the_key_server_may_take_longer_than_a_life_time() {
    slow_restart(16);
}

#[test]
fn a_planned_restart_of_a_member_may_take_longer_than_a_life_time() {
    slow_restart(200);
}

/// Without XPN nobody says that they would wait, and a restart in time loses nothing all the same.
#[test]
fn whoever_does_not_know_of_waiting_is_not_asked_to() {
    restart_under_traffic(&Config::new("gcm-aes-128"), |router| {
        router.signal(Signal::SIGUSR2);
        router.wait_for_end();
        assert!(!router.log().contains(WAITED_FOR), "{}", router.log());
        assert!(router.log().contains("does not know what a suspension is"), "{}", router.log());
    });
}

/// What can be changed without a new session is.
#[test]
fn a_reload_that_changes_a_setting_loses_no_frame() {
    let config = Config::new("gcm-aes-256");
    let mut pair = Pair::secured(&config);
    let mut traffic = Traffic::new(&pair);
    let before = noticed(&pair.b);
    let config = config.with("replay-window = 7");
    pair.a.write("macsecd.toml", &config.text());
    traffic.during(|| {
        let (code, _, complaint) = pair.a.macsecctl(&["reload"]);
        assert_eq!(code, 0, "{complaint}");
        pair.a.wait_until_secured();
    });
    assert_eq!(traffic.lost, 0, "of {} datagrams", traffic.sent);
    assert_eq!(noticed(&pair.b), before);
    pair.a.signal(Signal::SIGTERM);
    pair.a.wait_for_end();
}

/// Where anything does not fit, the port begins afresh, and is secured as at any start.
#[test]
fn a_restart_that_does_not_fit_is_a_cold_one() {
    let config = Config::new("gcm-aes-128");
    let mut pair = Pair::secured(&config);
    let mut traffic = Traffic::new(&pair);
    let record = pair.a.file("control.records").join(CABLE);
    let good = fs::read(&record).unwrap();
    let mut bad = good.clone();
    bad[good.len() / 2] ^= 1;

    let before = noticed(&pair.b).0;
    pair.a.crash();
    fs::write(&record, bad).unwrap();
    pair.a.start(&config);
    pair.b.wait_until("the peer is another member", |port| {
        port["state"] == "secured" && port["peers"][0]["mi"] != before
    });
    pair.wait_until_secured();
    assert!(!pair.a.log().contains(GOES_ON));
    assert!(pair.a.log().contains("begins afresh"), "{}", pair.a.log());
    traffic.flows();

    // The record of an earlier member, whose key the data plane does not have.
    pair.a.crash();
    fs::write(&record, good).unwrap();
    pair.a.start(&config);
    pair.wait_until_secured();
    assert!(!pair.a.log().contains(GOES_ON));
    let reasons = ["does not have the keys", "the peers have given us up"];
    assert!(reasons.iter().any(|why| pair.a.log().contains(why)), "{}", pair.a.log());
    traffic.flows();
}

/// Others could have put there what they like, so nothing of it is used, and the port lives on.
#[test]
fn a_folder_of_records_that_is_open_to_others_makes_a_restart_a_cold_one() {
    let config = Config::new("gcm-aes-xpn-128");
    let mut pair = Pair::secured(&config);
    pair.a.crash();
    let folder = pair.a.file("control.records");
    fs::set_permissions(&folder, fs::Permissions::from_mode(0o755)).unwrap();
    pair.a.start(&config);
    pair.wait_until_secured();
    let log = pair.a.log();
    assert!(log.contains("is not gone by: the port begins afresh"), "{log}");
    assert!(log.contains("a restart of the daemon will interrupt traffic"), "{log}");
    assert!(!log.contains(GOES_ON), "{log}");
    Traffic::new(&pair).flows();
}

#[test]
fn the_record_holds_no_key_and_goes_when_the_daemon_is_told_to_end() {
    let mut pair = Pair::secured(&Config::new("gcm-aes-128"));
    let folder = pair.a.file("control.records");
    let record = fs::read(folder.join(CABLE)).unwrap();
    let key = hex::decode(cak(1, 16)).unwrap();
    assert!(!record.windows(key.len()).any(|part| part == key));
    assert_eq!(fs::metadata(&folder).unwrap().permissions().mode() & 0o777, 0o700);
    pair.a.signal(Signal::SIGTERM);
    pair.a.wait_for_end();
    assert_eq!(fs::read_dir(&folder).unwrap().count(), 0);
}
