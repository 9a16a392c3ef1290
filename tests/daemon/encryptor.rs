//! The process that protects the frames, while its daemon lives, dies and comes back.

use std::fs::{self, File};
use std::io::{Read as _, Seek as _, SeekFrom};
use std::os::unix::process::ExitStatusExt as _;
use std::process::Stdio;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

use crate::config::{Config, cak};
use crate::netns::eventually;
use crate::rig::{CABLE, Pair, Router, SECURE};
use crate::traffic::Traffic;

const SUITE: &str = "gcm-aes-xpn-256";
/// An end that hears nothing goes on for longer than any of these tests takes.
const PATIENT: &str = "mka-life-seconds = 60";

/// The encryptors of a router that run.
fn encryptors(router: &Router) -> Vec<u32> {
    let socket = router.file("control.encryptors").join(format!("{CABLE}.sock"));
    let is_one = |id: &u32| {
        let line = fs::read_to_string(format!("/proc/{id}/cmdline")).unwrap_or_default();
        let words: Vec<_> = line.split('\0').collect();
        words.contains(&"encryptor") && words.contains(&socket.to_str().unwrap())
    };
    let processes = fs::read_dir("/proc").unwrap();
    let ids = processes.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    ids.filter(is_one).collect()
}

/// The one encryptor of a router.
fn encryptor(router: &Router) -> u32 {
    let ids = encryptors(router);
    let [id] = ids[..] else { panic!("one encryptor, not {ids:?}") };
    id
}

fn key(router: &Router) -> Value {
    router.port()["sak"].clone()
}

#[test]
fn frames_go_on_while_the_daemon_is_dead_and_the_next_one_takes_the_encryptor_over() {
    let config = Config::new(SUITE).with(PATIENT);
    let mut pair = Pair::secured(&config);
    let id = encryptor(&pair.a);
    let mut traffic = Traffic::new(&pair);
    traffic.flows();
    pair.a.crash();
    traffic.flows();
    assert_eq!(encryptor(&pair.a), id);
    pair.a.start(&config);
    assert_eq!(encryptor(&pair.a), id);
    pair.wait_until_secured();
    // The interface has stayed, and its address with it.
    traffic.flows();
}

#[test]
fn an_encryptor_without_a_daemon_ends() {
    let mut router = Router::new();
    let other = Router::new();
    router.namespace.cable(CABLE, &other.namespace, CABLE);
    router.start(&Config::new(SUITE));
    assert_eq!(encryptors(&router).len(), 1);
    router.crash();
    eventually("the encryptor has ended", || encryptors(&router).is_empty());
    assert!(!router.namespace.has(SECURE));
}

#[test]
fn a_daemon_that_ends_takes_its_encryptor_along() {
    let mut pair = Pair::secured(&Config::new(SUITE));
    pair.a.signal(Signal::SIGTERM);
    assert_eq!(pair.a.wait_for_end().code(), Some(0));
    assert!(encryptors(&pair.a).is_empty());
}

#[test]
fn a_dead_encryptor_is_replaced_and_a_fresh_key_agreed() {
    let pair = Pair::secured(&Config::new(SUITE));
    let (id, before) = (encryptor(&pair.a), key(&pair.a));
    kill(Pid::from_raw(i32::try_from(id).unwrap()), Signal::SIGKILL).unwrap();
    pair.a.wait_until("another key", |port| port["state"] == "secured" && port["sak"] != before);
    pair.wait_until_secured();
    assert_ne!(encryptor(&pair.a), id);
    Traffic::new(&pair).flows();
}

/// Whoever reads the daemon's output to its end does not wait for what outlives it.
#[test]
fn an_encryptor_does_not_hold_the_pipes_of_its_daemon() {
    let mut router = Router::new();
    let other = Router::new();
    router.namespace.cable(CABLE, &other.namespace, CABLE);
    router.write("macsecd.toml", &Config::new(SUITE).with(PATIENT).text());
    let mut command = router.macsecd();
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let daemon = router.namespace.run(|| command.spawn()).unwrap();
    router.wait_for_notice("READY=1");
    let id = encryptor(&router);
    kill(Pid::from_raw(i32::try_from(daemon.id()).unwrap()), Signal::SIGKILL).unwrap();
    let output = daemon.wait_with_output().unwrap();
    assert_eq!(output.status.signal(), Some(Signal::SIGKILL as i32));
    assert_eq!(encryptor(&router), id);
    // A daemon that starts again and ends takes it along.
    router.start(&Config::new(SUITE));
    router.signal(Signal::SIGTERM);
    router.wait_for_end();
    assert!(encryptors(&router).is_empty());
}

#[test]
fn the_encryptor_never_sees_a_cak() {
    let pair = Pair::secured(&Config::new(SUITE));
    let cak: Vec<u8> = (0..32).map(|index| index ^ 1).collect();
    assert_eq!(
        self::cak(1, 32),
        cak.iter().map(|octet| format!("{octet:02x}")).collect::<String>()
    );
    assert!(is_in_memory(pair.a.id(), &cak), "the daemon has it");
    assert!(!is_in_memory(encryptor(&pair.a), &cak));
}

fn is_in_memory(id: u32, wanted: &[u8]) -> bool {
    let maps = fs::read_to_string(format!("/proc/{id}/maps")).unwrap();
    let mut memory = File::open(format!("/proc/{id}/mem")).unwrap();
    maps.lines().filter(|line| line.contains(" rw")).any(|line| {
        let (from, to) = line.split(' ').next().unwrap().split_once('-').unwrap();
        let [from, to] = [from, to].map(|end| u64::from_str_radix(end, 16).unwrap());
        let mut octets = vec![0; usize::try_from(to - from).unwrap()];
        // What cannot be read, as the system's own pages, holds nothing of ours.
        memory.seek(SeekFrom::Start(from)).is_ok()
            && memory.read_exact(&mut octets).is_ok()
            && octets.windows(wanted.len()).any(|at| at == wanted)
    })
}
