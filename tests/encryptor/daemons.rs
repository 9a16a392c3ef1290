//! Daemons that come and go.

use std::io::{Read as _, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::thread;
use std::time::Duration;
use std::{fs, io};

use macsecd::dataplane::{Encryptor, EncryptorSettings, EncryptorStartError, End};
use macsecd::secy::{SecyCommand, TransmitState};
use nix::sys::signal::Signal;
use socket2::{Domain, SockAddr, Socket, Type};

use crate::netns::{Namespace, eventually};
use crate::pair::{PARENT, SECURE};
use crate::rig::{KEY, Rig, assert_rising, numbers, runs, signal};

#[test]
fn frames_go_on_without_a_daemon_and_the_next_one_finds_the_same_keys() {
    let mut rig = Rig::new();
    let observer = rig.observer();
    let first = rig.secured();
    let (id, index, traffic) = (first.id(), rig.secure_index(), rig.traffic());
    traffic.flows();
    drop(first);
    traffic.flows();
    let sent = u64::from(*numbers(&observer.frames()).last().unwrap());
    let mut next = rig.begin(&[rig.record(&KEY)]);
    assert_eq!((next.id(), rig.secure_index()), (id, index));
    let [kept] = next.kept() else { panic!("one key is kept: {:?}", next.kept()) };
    assert_eq!((kept.key.ki, kept.transmit), (KEY.ki(), TransmitState::Transmitting));
    assert!(kept.receivers.contains_key(&rig.far.sci));
    assert!(next.snapshot().tx.unwrap().next_pn.0 > sent);
    traffic.flows();
    next.refresh();
    assert!(next.snapshot().alive && next.snapshot().counters.out_pkts_encrypted >= 90);
    // It obeys the new one, too.
    next.apply(&SecyCommand::SetControlledPort(false)).unwrap();
    eventually("the port is closed", || !rig.passes());
}

/// Packet numbers go on through any number of daemons, and never back.
#[test]
fn no_packet_number_comes_twice_however_many_daemons_there_are() {
    let mut rig = Rig::new();
    let observer = rig.observer();
    let mut encryptor = rig.secured();
    let traffic = rig.traffic();
    let mut seen = Vec::new();
    for _ in 0..20 {
        traffic.flows();
        drop(encryptor);
        encryptor = rig.begin(&[rig.record(&KEY)]);
        assert_eq!(encryptor.kept().len(), 1);
        seen.extend(numbers(&observer.frames()));
    }
    assert!(seen.len() >= 20 * 30);
    assert_rising(&seen);
}

#[test]
fn frames_stop_when_no_daemon_comes_for_the_life_time() {
    let mut rig = Rig::new();
    let life = Duration::from_millis(300);
    let encryptor = rig.secured();
    let id = encryptor.id().unwrap();
    drop(encryptor);
    let expected = vec![rig.record(&KEY)];
    // The life time is the last daemon's, and begins anew when it goes.
    let again = rig.begin_with(EncryptorSettings { life, ..rig.settings(expected) }).unwrap();
    thread::sleep(2 * life);
    assert!(rig.passes());
    drop(again);
    eventually("the encryptor has ended", || !runs(id));
    assert!(!rig.near.has(SECURE) && !rig.socket().exists());
}

#[test]
fn an_encryptor_that_is_let_go_has_ended_with_its_interface() {
    for end in [End::Clear, End::Delete] {
        let mut rig = Rig::new();
        let encryptor = rig.secured();
        let id = encryptor.id().unwrap();
        encryptor.close(end);
        assert!(!rig.near.has(SECURE) && !rig.socket().exists() && !runs(id));
    }
    let mut rig = Rig::new();
    let encryptor = rig.secured();
    let id = encryptor.id().unwrap();
    encryptor.close(End::Leave);
    rig.traffic().flows();
    // One that this `Encryptor` has not started ends as well; its process is not ours to wait for.
    rig.begin(&[]).close(End::Clear);
    assert!(!rig.near.has(SECURE) && !rig.socket().exists());
    eventually("its process has ended", || !runs(id));
}

#[test]
fn a_second_daemon_is_sent_away_and_does_no_harm() {
    let mut rig = Rig::new();
    let mut first = rig.secured();
    let refused = rig.begin_with(rig.settings(Vec::new())).unwrap_err();
    assert!(matches!(refused, EncryptorStartError::Engaged(_)), "{refused}");
    first.refresh();
    assert!(first.snapshot().alive);
    rig.traffic().flows();
    drop(first);
    assert_eq!(rig.begin(&[rig.record(&KEY)]).kept().len(), 1);
}

#[test]
fn a_killed_encryptor_is_noticed_and_the_next_one_has_none_of_its_keys() {
    let mut rig = Rig::new();
    let mut encryptor = rig.secured();
    let id = encryptor.id().unwrap();
    signal(id, Signal::SIGKILL);
    eventually("it has ended", || !runs(id));
    encryptor.refresh();
    assert!(!encryptor.snapshot().alive);
    encryptor.apply(&SecyCommand::SetControlledPort(true)).unwrap_err();
    assert!(!rig.near.has(SECURE));
    encryptor.close(End::Clear);
    let next = rig.begin(&[rig.record(&KEY)]);
    assert!(next.kept().is_empty() && next.id() != Some(id));
    assert!(!rig.passes());
}

#[test]
fn an_encryptor_that_hangs_is_killed_by_the_next_daemon() {
    let mut rig = Rig::new();
    let id = rig.secured().id().unwrap();
    signal(id, Signal::SIGSTOP);
    let next = rig.begin(&[rig.record(&KEY)]);
    assert!(next.kept().is_empty() && next.id() != Some(id));
    assert!(!runs(id));
}

#[test]
fn one_that_was_made_for_something_else_is_replaced() {
    let mut rig = Rig::new();
    let id = rig.secured().id().unwrap();
    let mut settings = rig.settings(vec![rig.record(&KEY)]);
    settings.plane.name = "macsec1".to_owned();
    let next = rig.begin_with(settings).unwrap();
    assert!(next.kept().is_empty() && !runs(id));
    assert!(!rig.near.has(SECURE) && rig.near.has("macsec1"));
}

/// All that a name, an index and an address tell is the same there.
#[test]
fn one_in_another_network_namespace_is_replaced() {
    let mut rig = Rig::new();
    let id = rig.secured().id().unwrap();
    let (other, end) = (Namespace::new(), Namespace::new());
    other.cable(PARENT, &end, PARENT);
    assert_eq!(other.index(PARENT), rig.near.index(PARENT));
    let settings = rig.settings(vec![rig.record(&KEY)]);
    let next = other.run(|| Encryptor::start(settings)).unwrap();
    assert!(next.kept().is_empty() && !runs(id));
    assert!(!rig.near.has(SECURE) && other.has(SECURE));
    next.close(End::Clear);
}

/// Calls the encryptor and hears its greeting.
fn call(rig: &Rig) -> Socket {
    let mut line = Socket::new(Domain::UNIX, Type::SEQPACKET, None).unwrap();
    line.connect(&SockAddr::unix(rig.socket()).unwrap()).unwrap();
    line.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    let mut greeting = [0; 64];
    let length = line.read(&mut greeting).unwrap();
    assert_eq!(&greeting[..length], b"macsecd encryptor\x00\x01\x00");
    line
}

#[test]
fn whoever_speaks_nonsense_is_hung_up_on_and_the_keys_stay() {
    let mut rig = Rig::new();
    drop(rig.secured());
    for nonsense in [&[0xff; 3][..], &[3], &[3, 2, 7], &[0x5a; 100_000]] {
        let mut line = call(&rig);
        line.write_all(nonsense).unwrap();
        assert_eq!(line.read(&mut [0; 64]).unwrap(), 0, "it hangs up");
    }
    rig.traffic().flows();
    assert_eq!(rig.begin(&[rig.record(&KEY)]).kept().len(), 1);
}

/// Whoever only calls keeps no key alive: not by staying, and not by coming again and again.
#[test]
fn a_caller_that_asks_for_nothing_does_not_put_the_end_off() {
    let life = Duration::from_millis(300);
    for stays in [true, false] {
        let mut rig = Rig::new();
        let id = rig.secured().id().unwrap();
        let expected = vec![rig.record(&KEY)];
        drop(rig.begin_with(EncryptorSettings { life, ..rig.settings(expected) }).unwrap());
        let mut silent = Some(call(&rig));
        eventually("the encryptor has ended", || {
            if !stays && runs(id) {
                // It may end while it is called.
                let line = Socket::new(Domain::UNIX, Type::SEQPACKET, None).unwrap();
                silent = line.connect(&SockAddr::unix(rig.socket()).unwrap()).ok().map(|()| line);
            }
            !runs(id)
        });
        assert!(!rig.near.has(SECURE) && !rig.socket().exists(), "{silent:?}");
    }
}

/// One that asks for something is a daemon, however long it says nothing after that.
#[test]
fn a_caller_that_asks_for_something_is_waited_for() {
    let mut rig = Rig::new();
    let life = Duration::from_millis(300);
    drop(rig.secured());
    let expected = vec![rig.record(&KEY)];
    drop(rig.begin_with(EncryptorSettings { life, ..rig.settings(expected) }).unwrap());
    let mut line = call(&rig);
    line.write_all(&[5]).unwrap();
    assert!(line.read(&mut [0; 4096]).unwrap() > 0, "it has looked");
    thread::sleep(3 * life);
    rig.traffic().flows();
}

#[test]
fn a_daemon_that_dies_before_it_has_heard_the_answer_leaves_what_it_asked_for() {
    let mut rig = Rig::new();
    drop(rig.secured());
    for _ in 0..20 {
        let mut line = call(&rig);
        // To look, and to open the port.
        line.write_all(&[5]).unwrap();
        line.write_all(&[3, 1, 1]).unwrap();
        drop(line);
    }
    let next = rig.begin(&[rig.record(&KEY)]);
    assert_eq!(next.kept().len(), 1);
    rig.traffic().flows();
}

/// What an encryptor of a later version hears, and nothing else: a single zero.
#[test]
fn one_of_another_version_is_told_to_end() {
    let mut rig = Rig::new();
    let directory = rig.home().directory;
    fs::create_dir(&directory).unwrap();
    fs::set_permissions(&directory, fs::Permissions::from_mode(0o700)).unwrap();
    let listener = Socket::new(Domain::UNIX, Type::SEQPACKET, None).unwrap();
    listener.bind(&SockAddr::unix(rig.socket()).unwrap()).unwrap();
    listener.listen(1).unwrap();
    let later = thread::spawn(move || -> io::Result<Vec<u8>> {
        let (mut line, _) = listener.accept()?;
        line.write_all(b"macsecd encryptor\xff\xff\x00")?;
        let mut heard = vec![0; 4096];
        let length = line.read(&mut heard)?;
        heard.truncate(length);
        Ok(heard)
    });
    let next = rig.begin(&[rig.record(&KEY)]);
    assert_eq!(later.join().unwrap().unwrap(), [0]);
    assert!(next.kept().is_empty() && next.snapshot().alive);
}

#[test]
fn what_is_in_the_way_is_said_and_leaves_nothing_behind() {
    let mut rig = Rig::new();
    let mut settings = rig.settings(Vec::new());
    settings.plane.name = "lo".to_owned();
    let refused = rig.begin_with(settings).unwrap_err();
    assert!(refused.to_string().contains("lo"), "{refused}");
    assert!(!rig.socket().exists());

    let mut settings = rig.settings(Vec::new());
    settings.home.program = "/nonexistent".into();
    assert!(rig.begin_with(settings).is_err());

    fs::set_permissions(rig.home().directory, fs::Permissions::from_mode(0o755)).unwrap();
    let refused = rig.begin_with(rig.settings(Vec::new())).unwrap_err();
    assert!(matches!(refused, EncryptorStartError::Home { .. }), "{refused}");
}
