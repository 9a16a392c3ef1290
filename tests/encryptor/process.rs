//! The process itself: what it holds, what it hears, and what can be seen of it.

use std::fs::{self, File};
use std::io::{Read as _, Seek as _, SeekFrom};
use std::path::Path;

use macsecd::dataplane::EncryptorSettings;
use macsecd::secy::SecyCommand;
use nix::sys::signal::Signal;

use crate::netns::eventually;
use crate::pair::SECURE;
use crate::rig::{IP, KEY, Rig, runs, signal};

/// How often these octets are in a process's memory.
fn count_in_memory(id: u32, wanted: &[u8]) -> usize {
    let maps = fs::read_to_string(format!("/proc/{id}/maps")).unwrap();
    let mut memory = File::open(format!("/proc/{id}/mem")).unwrap();
    let mut count = 0;
    for line in maps.lines().filter(|line| line.split(' ').nth(1).unwrap().starts_with("rw")) {
        let (from, to) = line.split(' ').next().unwrap().split_once('-').unwrap();
        let [from, to] = [from, to].map(|end| u64::from_str_radix(end, 16).unwrap());
        let mut octets = vec![0; usize::try_from(to - from).unwrap()];
        // What cannot be read, as the system's own pages, holds nothing of ours.
        if memory.seek(SeekFrom::Start(from)).is_ok() && memory.read_exact(&mut octets).is_ok() {
            count += octets.windows(wanted.len()).filter(|at| *at == wanted).count();
        }
    }
    count
}

#[test]
fn a_key_that_was_removed_is_nowhere_in_memory() {
    let mut rig = Rig::new();
    let mut encryptor = rig.secured();
    let (id, sak) = (encryptor.id().unwrap(), vec![1; 32]);
    assert_ne!(count_in_memory(id, &sak), 0, "while it is in use it is there");
    rig.traffic().flows();
    encryptor.apply(&SecyCommand::SetControlledPort(false)).unwrap();
    encryptor.apply(&SecyCommand::RemoveSak(KEY.ki())).unwrap();
    assert_eq!(count_in_memory(id, &sak), 0);
    assert!(runs(id));
}

#[test]
fn nothing_secret_is_logged_or_on_the_command_line() {
    let mut rig = Rig::new();
    let log = rig.directory.path().join("log");
    let mut settings = rig.settings(Vec::new());
    let line =
        format!("exec {} encryptor trace $0 2>{}", env!("CARGO_BIN_EXE_macsecd"), log.display());
    settings.home.program = "/bin/sh".into();
    settings.home.arguments = vec!["-c".to_owned(), line];
    let mut encryptor = rig.begin_with(settings).unwrap();
    rig.install(&mut encryptor, &KEY);
    rig.enable(&mut encryptor, &KEY);
    rig.open(&mut encryptor);
    rig.near.set_ip(SECURE, IP);
    rig.traffic().flows();
    encryptor
        .apply(&SecyCommand::EnableTx(crate::pair::Key { number: 9, ..KEY }.ki()))
        .unwrap_err();
    let id = encryptor.id().unwrap();
    let arguments = fs::read_to_string(format!("/proc/{id}/cmdline")).unwrap();
    let arguments: Vec<_> = arguments.split_terminator('\0').skip(1).map(str::to_owned).collect();
    assert_eq!(arguments, ["encryptor", "trace", rig.socket().to_str().unwrap()]);
    let environment = fs::read_to_string(format!("/proc/{id}/environ")).unwrap();
    let names = environment.split_terminator('\0').filter_map(|entry| entry.split_once('='));
    let names: Vec<_> = names.map(|(name, _)| name).collect();
    assert!(
        names.iter().all(|name| ["PWD", "_", "SHLVL", "OLDPWD", "RUST_BACKTRACE"].contains(name)),
        "{names:?}"
    );
    drop(encryptor);
    let said = || fs::read_to_string(&log).unwrap();
    eventually("it has said that the daemon has gone", || said().contains("frames go on"));
    for secret in ["0101010101", "1, 1, 1, 1", "AQEBAQEB"] {
        assert!(!said().contains(secret), "{}", said());
    }
}

#[test]
fn it_is_in_a_session_of_its_own_and_holds_nothing_of_the_daemon() {
    let mut rig = Rig::new();
    let encryptor = rig.secured();
    let id = encryptor.id().unwrap();
    let status = fs::read_to_string(format!("/proc/{id}/stat")).unwrap();
    let (_, fields) = status.rsplit_once(')').unwrap();
    let [group, session] = [2, 3].map(|at| fields.split_whitespace().nth(at).unwrap());
    assert_eq!([group, session], [id.to_string(), id.to_string()]);
    for at in 0..3 {
        let file = fs::read_link(format!("/proc/{id}/fd/{at}")).unwrap();
        assert_eq!(file, Path::new("/dev/null"));
    }
    assert_eq!(fs::read_link(format!("/proc/{id}/cwd")).unwrap(), Path::new("/"));
    let limits = fs::read_to_string(format!("/proc/{id}/limits")).unwrap();
    let core = limits.lines().find(|line| line.starts_with("Max core file size")).unwrap();
    assert_eq!(core.split_whitespace().nth(4), Some("0"), "{core}");
}

#[test]
fn it_does_not_hear_what_is_meant_for_the_daemon_and_ends_when_it_is_told_to() {
    let mut rig = Rig::new();
    let mut encryptor = rig.secured();
    let id = encryptor.id().unwrap();
    for unheard in [Signal::SIGINT, Signal::SIGHUP, Signal::SIGQUIT] {
        signal(id, unheard);
    }
    rig.traffic().flows();
    encryptor.refresh();
    assert!(encryptor.snapshot().alive);
    signal(id, Signal::SIGTERM);
    eventually("it has ended", || !runs(id));
    assert!(!rig.near.has(SECURE) && !rig.socket().exists());
    encryptor.refresh();
    assert!(!encryptor.snapshot().alive);
}

/// The daemon may die before it has said what it wants.
#[test]
fn one_that_nobody_ever_calls_ends_by_itself() {
    let mut rig = Rig::new();
    let EncryptorSettings { home, .. } = rig.settings(Vec::new());
    let before = rig.begin(&[]);
    let id = before.id().unwrap();
    before.close(macsecd::dataplane::End::Clear);
    assert!(!runs(id) && home.directory.exists());
    let listener = std::os::unix::net::UnixListener::bind(rig.socket()).unwrap();
    let mut command = std::process::Command::new(home.program);
    command.args(&home.arguments).arg(rig.socket());
    let mut child = command.stdin(std::os::fd::OwnedFd::from(listener)).spawn().unwrap();
    assert!(child.wait().unwrap().success());
    assert!(!rig.socket().exists());
}
