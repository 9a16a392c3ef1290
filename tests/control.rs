//! The control socket, from outside: what it answers, and what it puts up with.

#![cfg(feature = "daemon")]
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

mod fake_daemon;

use std::{
    io::{ErrorKind, Read, Write},
    net::Shutdown,
    os::unix::net::UnixStream,
    sync::atomic::Ordering,
    time::{Duration, Instant},
};

use fake_daemon::{Rig, listening, secured};
use macsecd::control::{Client, ClientError, Limits, PortState, Refusal};

/// Far longer than anything here takes.
const PATIENCE: Duration = Duration::from_secs(30);

fn deadline() -> Instant {
    Instant::now() + PATIENCE
}

fn raw(rig: &Rig) -> UnixStream {
    let stream = UnixStream::connect(rig.path()).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.set_write_timeout(Some(PATIENCE)).unwrap();
    stream
}

/// Reads up to a NUL, which is dropped.
fn message(stream: &mut UnixStream) -> String {
    let (mut octets, mut octet) = (Vec::new(), [0xff]);
    while octet != [0] {
        // One at a time, so that nothing of the next message is taken.
        stream.read_exact(&mut octet).unwrap();
        octets.extend(octet);
    }
    octets.pop();
    String::from_utf8(octets).unwrap()
}

/// Reads to the end, and takes a connection that was reset for one that was closed.
fn rest(stream: &mut UnixStream) -> Vec<u8> {
    let mut octets = Vec::new();
    match stream.read_to_end(&mut octets) {
        Ok(_) => {}
        Err(error) => assert_eq!(error.kind(), ErrorKind::ConnectionReset),
    }
    octets
}

fn exchange(stream: &mut UnixStream, call: &str) -> String {
    stream.write_all(call.as_bytes()).unwrap();
    stream.write_all(b"\0").unwrap();
    message(stream)
}

#[test]
fn a_status_arrives_as_it_was_given() {
    let rig = Rig::start(vec![secured("eth1"), listening("eth2")]);
    let mut client = Client::connect(rig.path()).unwrap();

    let all = client.status(None).unwrap();
    assert_eq!(all.status.ports, [secured("eth1"), listening("eth2")]);

    let one = client.status(Some("eth2")).unwrap();
    assert_eq!(one.status.ports, [listening("eth2")]);
    assert!(one.json.starts_with(r#"{"schema":1,"ports":[{"interface":"eth2","#), "{}", one.json);
}

#[test]
fn each_refusal_arrives_as_what_it_is() {
    let limits = Limits { answer: Duration::from_millis(100), ..Limits::default() };
    let rig = Rig::with_limits(vec![secured("eth1")], limits);
    let mut client = Client::connect(rig.path()).unwrap();
    let peer = "02:00:00:00:00:02/0001".to_owned();
    for (interface, refusal) in [
        ("eth7", Refusal::PortNotFound { interface: "eth7".to_owned() }),
        ("follower", Refusal::NotKeyServer { peer }),
        ("busy", Refusal::Busy),
        ("clear", Refusal::NotSecured),
        ("closed", Refusal::NotPermitted),
        // An answer that does not come is not waited for.
        ("hanging", Refusal::Busy),
    ] {
        match client.rekey(interface) {
            Err(ClientError::Refused(refused)) => assert_eq!(refused, refusal),
            other => panic!("{interface}: {other:?}"),
        }
    }

    client.rekey("eth1").unwrap();
    assert_eq!(rig.fake.rekeys.load(Ordering::SeqCst), 1);
    assert_eq!(client.reload().unwrap(), ["eth1: replay-window 0 -> 64"]);
    let refused = client.reload().unwrap_err();
    assert!(matches!(refused, ClientError::Refused(Refusal::ReloadRefused { .. })));
    assert_eq!(client.info().unwrap().interfaces, ["org.varlink.service", "io.macsecd"]);
}

#[test]
fn a_watch_tells_of_a_change_and_of_the_end() {
    let mut rig = Rig::start(vec![listening("eth1")]);
    let mut watch = Client::connect(rig.path()).unwrap().watch(Some("eth1")).unwrap();
    let first = watch.next(deadline()).unwrap();
    assert_eq!(first.status.ports[0].state, PortState::Listening);

    rig.fake.publish(vec![secured("eth1")]);
    let second = watch.next(deadline()).unwrap();
    assert_eq!(second.status.ports[0].state, PortState::Secured);

    rig.stop();
    assert!(matches!(watch.next(deadline()), Err(ClientError::Closed)));
    assert!(matches!(Client::connect(rig.path()), Err(ClientError::NotRunning(_))));
}

#[test]
fn a_watch_that_is_told_nothing_new_is_told_the_same_again() {
    let limits = Limits {
        watch_gap: Duration::from_millis(1),
        watch_heartbeat: Duration::from_millis(20),
        ..Limits::default()
    };
    let rig = Rig::with_limits(vec![secured("eth1")], limits);
    let mut watch = Client::connect(rig.path()).unwrap().watch(None).unwrap();
    for _ in 0..3 {
        assert_eq!(watch.next(deadline()).unwrap().status.ports, [secured("eth1")]);
    }
}

#[test]
fn a_watch_of_a_port_that_goes_away_ends_by_saying_so() {
    let rig = Rig::start(vec![secured("eth1")]);
    let mut watch = Client::connect(rig.path()).unwrap().watch(Some("eth1")).unwrap();
    watch.next(deadline()).unwrap();

    rig.fake.publish(vec![secured("eth2")]);
    let gone = Refusal::PortNotFound { interface: "eth1".to_owned() };
    assert!(
        matches!(watch.next(deadline()), Err(ClientError::Refused(refused)) if refused == gone)
    );
}

#[test]
fn a_client_that_waits_no_longer_is_told_so() {
    let rig = Rig::start(vec![secured("eth1")]);
    let mut watch = Client::connect(rig.path()).unwrap().watch(None).unwrap();
    watch.next(deadline()).unwrap();
    let soon = Instant::now() + Duration::from_millis(20);
    assert!(matches!(watch.next(soon), Err(ClientError::TimedOut)));
}

#[test]
fn changes_in_a_burst_are_told_once() {
    let rig = Rig::start(vec![listening("eth1")]);
    let mut watch = Client::connect(rig.path()).unwrap().watch(None).unwrap();
    watch.next(deadline()).unwrap();

    for _ in 0..100 {
        rig.fake.publish(vec![listening("eth1")]);
    }
    rig.fake.publish(vec![secured("eth1")]);
    // All of them fell into the gap after the first reply, or the last of them into the next.
    let next = watch.next(deadline()).unwrap();
    let next = if next.status.ports[0].state == PortState::Secured {
        next
    } else {
        watch.next(deadline()).unwrap()
    };
    assert_eq!(next.status.ports, [secured("eth1")]);
}

#[test]
fn what_is_said_is_varlink_to_the_octet() {
    let mut secured = secured("eth1");
    secured.peers.clear();
    secured.participants.clear();
    let rig = Rig::start(vec![secured]);
    let mut stream = raw(&rig);

    assert_eq!(
        exchange(&mut stream, r#"{"method":"org.varlink.service.GetInfo"}"#),
        format!(
            r#"{{"parameters":{{"interfaces":["org.varlink.service","io.macsecd"],"product":"macsecd","url":"{}","vendor":"macsecd","version":"{}"}}}}"#,
            env!("CARGO_PKG_REPOSITORY"),
            env!("CARGO_PKG_VERSION")
        )
    );
    assert_eq!(
        exchange(&mut stream, r#"{"method":"io.macsecd.Status","parameters":{}}"#),
        concat!(
            r#"{"parameters":{"schema":1,"ports":[{"interface":"eth1","secure_interface":"macsec0","#,
            r#""state":"secured","state_seconds":12.4,"reason":null,"findings":[],"carrier":true,"#,
            r#""dataplane":"userspace","dataplane_reason":"the kernel has no MACsec","#,
            r#""dataplane_configured":"auto","kernel":null,"#,
            r#""cipher_suite":"GCM-AES-XPN-256","key_server":"self","secured_for_seconds":12.4,"#,
            r#""peers":[],"participants":[],"#,
            r#""sak":{"key_number":3,"an":2,"age_seconds":5.0,"pn_used_ratio":0.0},"rekeys":2,"#,
            r#""last_switch_ms":null,"#,
            r#""counters":{"in_pkts_ok":81,"out_pkts_encrypted":84},"#,
            r#""mka":{"sci":"02:00:00:00:00:01/0001","mi":"1112131415161718191a1b1c","mn":20,"#,
            r#""mkpdus_sent":20,"mkpdus_received":19,"discards":{"unknown_ckn":1}}}]}}"#
        )
    );
    let description = exchange(
        &mut stream,
        r#"{"method":"org.varlink.service.GetInterfaceDescription","parameters":{"interface":"io.macsecd"}}"#,
    );
    assert!(description.starts_with(r##"{"parameters":{"description":"# The MACsec daemon"##));
    assert!(description.contains(r"\ninterface io.macsecd\n"));
}

#[test]
fn a_wrong_call_gets_the_error_that_varlink_has_for_it_and_the_next_is_served() {
    let rig = Rig::start(vec![secured("eth1")]);
    let mut stream = raw(&rig);
    for (call, error) in [
        (
            r#"{"method":"io.macsecd.Explode"}"#,
            r#"{"error":"org.varlink.service.MethodNotFound","parameters":{"method":"io.macsecd.Explode"}}"#,
        ),
        (
            r#"{"method":"io.other.Status"}"#,
            r#"{"error":"org.varlink.service.InterfaceNotFound","parameters":{"interface":"io.other"}}"#,
        ),
        (
            r#"{"method":"io.macsecd.Rekey"}"#,
            r#"{"error":"org.varlink.service.InvalidParameter","parameters":{"parameter":"interface"}}"#,
        ),
        (r#"{"method":"io.macsecd.Watch"}"#, r#"{"error":"org.varlink.service.ExpectedMore"}"#),
        (
            r#"{"method":"io.macsecd.Status","parameters":{"interface":"eth7"}}"#,
            r#"{"error":"io.macsecd.PortNotFound","parameters":{"interface":"eth7"}}"#,
        ),
        (
            r#"{"method":"org.varlink.service.GetInterfaceDescription","parameters":{"interface":"io.other"}}"#,
            r#"{"error":"org.varlink.service.InterfaceNotFound","parameters":{"interface":"io.other"}}"#,
        ),
        (
            r#"{"method":"io.macsecd.Rekey","parameters":{"interface":"eth1"}}"#,
            r#"{"parameters":{}}"#,
        ),
    ] {
        assert_eq!(exchange(&mut stream, call), error);
    }
}

#[test]
fn a_oneway_call_is_done_and_not_answered() {
    let rig = Rig::start(vec![secured("eth1")]);
    let mut stream = raw(&rig);
    stream
        .write_all(
            b"{\"method\":\"io.macsecd.Rekey\",\"parameters\":{\"interface\":\"eth1\"},\"oneway\":true}\0",
        )
        .unwrap();
    let next = exchange(&mut stream, r#"{"method":"io.macsecd.Explode"}"#);
    assert!(next.contains("MethodNotFound"), "{next}");
    assert_eq!(rig.fake.rekeys.load(Ordering::SeqCst), 1);
}

#[test]
fn a_watch_on_the_wire_says_that_it_continues() {
    let rig = Rig::start(vec![]);
    let mut stream = raw(&rig);
    assert_eq!(
        exchange(&mut stream, r#"{"method":"io.macsecd.Watch","more":true}"#),
        r#"{"parameters":{"schema":1,"ports":[]},"continues":true}"#
    );
}

#[test]
fn a_request_past_the_limit_ends_the_connection() {
    let rig = Rig::start(vec![secured("eth1")]);
    let mut stream = raw(&rig);
    let huge = vec![b' '; 70_000];
    // The daemon may hang up before all of it is written.
    let _written = stream.write_all(&huge).and_then(|()| stream.write_all(b"\0"));
    assert_eq!(rest(&mut stream), b"");
    Client::connect(rig.path()).unwrap().status(None).unwrap();
}

#[test]
fn what_is_not_a_call_ends_the_connection() {
    let rig = Rig::start(vec![secured("eth1")]);
    let deep = format!("{{\"method\":{}\0", "[".repeat(10_000));
    for nonsense in ["GET / HTTP/1.1\r\n\0", "{}\0", "[]\0", "\0", "{\"method\":7}\0", &deep] {
        let mut stream = raw(&rig);
        stream.write_all(nonsense.as_bytes()).unwrap();
        assert_eq!(rest(&mut stream), b"", "{nonsense}");
    }
    Client::connect(rig.path()).unwrap().status(None).unwrap();
}

#[test]
fn a_hundred_idle_clients_keep_nobody_out() {
    let rig = Rig::start(vec![secured("eth1")]);
    let idle: Vec<_> = (0..100).map(|_| raw(&rig)).collect();
    let mut client = Client::connect(rig.path()).unwrap();
    assert_eq!(client.status(None).unwrap().status.ports, [secured("eth1")]);
    drop(idle);
}

#[test]
fn a_client_too_many_is_told_that_the_daemon_is_busy_and_gets_in_when_one_leaves() {
    let rig = Rig::with_limits(vec![], Limits { clients: 2, ..Limits::default() });
    let mut clients: Vec<_> = (0..2)
        .map(|_| {
            let mut client = Client::connect(rig.path()).unwrap();
            client.info().unwrap();
            client
        })
        .collect();
    let refused = Client::connect(rig.path()).unwrap().status(None).unwrap_err();
    assert!(matches!(refused, ClientError::Refused(Refusal::Busy)), "{refused}");

    clients.pop();
    let end = deadline();
    while Client::connect(rig.path()).unwrap().status(None).is_err() {
        assert!(Instant::now() < end, "the place of the client that left is not given away");
    }
}

#[test]
fn a_silent_client_is_let_go() {
    let limits = Limits { idle: Duration::from_millis(50), ..Limits::default() };
    let rig = Rig::with_limits(vec![], limits);
    let mut silent = raw(&rig);
    let mut unfinished = raw(&rig);
    unfinished.write_all(b"{\"method\":").unwrap();
    assert_eq!(rest(&mut silent), b"");
    assert_eq!(rest(&mut unfinished), b"");
}

#[test]
fn a_half_closed_client_gets_what_it_asked_for() {
    let rig = Rig::start(vec![]);
    let mut stream = raw(&rig);
    stream.write_all(b"{\"method\":\"io.macsecd.Status\"}\0").unwrap();
    stream.write_all(b"{\"method\":\"io.macsecd.Reload\"}\0").unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    assert_eq!(
        String::from_utf8(rest(&mut stream)).unwrap(),
        concat!(
            "{\"parameters\":{\"schema\":1,\"ports\":[]}}\0",
            "{\"parameters\":{\"changes\":[\"eth1: replay-window 0 -> 64\"]}}\0"
        )
    );
}

#[test]
fn a_client_that_does_not_read_is_let_go_and_holds_nobody_up() {
    let limits = Limits { clients: 2, write: Duration::from_secs(2), ..Limits::default() };
    let ports: Vec<_> = (0..2000).map(|port| secured(&format!("eth{port}"))).collect();
    let rig = Rig::with_limits(ports, limits);
    let mut slow = raw(&rig);
    slow.write_all(b"{\"method\":\"io.macsecd.Status\"}\0").unwrap();

    // Another is served while the first is being waited for.
    let mut brisk = Client::connect(rig.path()).unwrap();
    assert_eq!(brisk.status(None).unwrap().status.ports.len(), 2000);

    // Its place is given away.
    let end = deadline();
    while Client::connect(rig.path()).unwrap().info().is_err() {
        assert!(Instant::now() < end, "the client that does not read is kept");
    }
    // What fitted into its socket is there, and the rest never comes.
    let received = rest(&mut slow);
    assert!(!received.is_empty());
    assert!(!received.contains(&0), "the whole reply came");
}
