//! Two userspace data planes on a cable, with traffic of real sockets. Needs root, or `unshare -Ur`.

#![cfg(feature = "daemon")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
#![allow(clippy::cast_possible_truncation)]

#[path = "dataplane/bulk.rs"]
mod bulk;
#[path = "support/netns.rs"]
mod netns;
#[path = "support/pair.rs"]
mod pair;

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::thread;
use std::time::Duration;

use macsecd::cli::lab;
use macsecd::dataplane::{UserspaceDataplane, UserspaceSettings};
use macsecd::ident::{CipherSuite, ConfidentialityOffset, PacketNumber};
use macsecd::secy::{SecyCommand, SecyError, SecySettings, Validate};
use macsecd::sys::{LinkState, PacketSocket};

use netns::{Namespace, eventually};
use pair::{End, Key, Observer, PARENT, Pair, SECURE, STRICT, ethertype};

use CipherSuite::{GcmAes128, GcmAes256, GcmAesXpn128, GcmAesXpn256};
use ConfidentialityOffset::{IntegrityOnly, Offset0, Offset30, Offset50};

const MACSEC: u16 = 0x88e5;
const KEY: Key = Key::new(1, GcmAesXpn256, Offset0);

/// The IPv4 and UDP headers of a datagram.
const HEADERS: usize = 28;

/// Sends a datagram and back, and says what came back.
fn echo(from: &UdpSocket, to: &UdpSocket, payload: &[u8]) -> Vec<u8> {
    let mut buffer = vec![0; 65536];
    from.send_to(payload, to.local_addr().unwrap()).unwrap();
    let (len, sender) = to.recv_from(&mut buffer).expect("the datagram arrives");
    to.send_to(&buffer[..len], sender).unwrap();
    let len = from.recv(&mut buffer).expect("its echo arrives");
    buffer.truncate(len);
    buffer
}

/// Runs traffic of every size under each kind of protection that a suite has, with and without SCI
/// in the tag, and looks at it on the wire.
fn carries_every_size(suite: CipherSuite, offsets: &[ConfidentialityOffset]) {
    let mut pair = Pair::new(STRICT);
    let mut previous = None;
    pair.open();
    let observer = Observer::new(&pair.a);
    let (client, server) = (pair.a.socket(1000), pair.b.socket(2000));
    let mut number = 0;
    for include_sci in [true, false] {
        pair.configure(SecySettings { include_sci, ..STRICT });
        for offset in offsets {
            number += 1;
            let key = Key::new(number, suite, *offset);
            pair.install(&key);
            pair.enable(&key);
            if let Some(previous) = previous.replace(key) {
                pair.remove(&previous);
            }
            for size in 1..=1468 - HEADERS {
                let payload: Vec<u8> = (0..size).map(|at| (at * 7 + size) as u8).collect();
                assert_eq!(echo(&client, &server, &payload), payload, "{size} octets");
            }
            let text = [b'm'; 200];
            assert_eq!(echo(&client, &server, &text), text);
            let frames = observer.frames();
            assert!(frames.len() > 2 * (1468 - HEADERS), "{} frames", frames.len());
            for frame in &frames {
                assert_eq!(ethertype(frame), MACSEC, "{frame:02x?}");
                assert_eq!(frame[14] & 0x20 != 0, include_sci, "{frame:02x?}");
                assert_eq!(frame[14] & 0x0c == 0x0c, *offset != IntegrityOnly, "{frame:02x?}");
            }
            let last = frames.last().unwrap();
            // An offset of 50 leaves 20 octets of it in clear.
            let legible = last.windows(21).any(|octets| octets == &text[..21]);
            assert_eq!(legible, *offset == IntegrityOnly);
        }
    }
    let [a, b] = [pair.a.plane.snapshot(), pair.b.plane.snapshot()];
    for snapshot in [a, b] {
        assert_eq!(snapshot.counters.in_pkts_not_valid, 0);
        assert_eq!(snapshot.counters.in_pkts_late, 0);
        assert_eq!(snapshot.drops, macsecd::dataplane::Drops::default());
    }
}

#[test]
fn gcm_aes_128_carries_every_size() {
    carries_every_size(GcmAes128, &[Offset0, IntegrityOnly, Offset30, Offset50]);
}

#[test]
fn gcm_aes_256_carries_every_size() {
    carries_every_size(GcmAes256, &[Offset0, IntegrityOnly]);
}

#[test]
fn gcm_aes_xpn_128_carries_every_size() {
    carries_every_size(GcmAesXpn128, &[Offset0, IntegrityOnly]);
}

#[test]
fn gcm_aes_xpn_256_carries_every_size() {
    carries_every_size(GcmAesXpn256, &[Offset0, IntegrityOnly]);
}

#[test]
fn the_secure_interface_has_the_mtu_and_the_address_that_follow() {
    let pair = Pair::new(STRICT);
    assert_eq!(pair.a.namespace.mtu(PARENT), 1500);
    assert_eq!(pair.a.namespace.mtu(SECURE), 1468);
    let interfaces = pair.a.namespace.run(|| macsecd::sys::Interfaces::open().unwrap());
    assert_eq!(interfaces.address(SECURE).unwrap(), [2, 0, 0, 0, 0, 1]);
    assert_eq!(pair.a.plane.snapshot().parent, LinkState::Running);
}

#[test]
fn the_carrier_follows_the_controlled_port_and_nothing_passes_a_closed_one() {
    let mut pair = Pair::new(STRICT);
    pair.install(&KEY);
    pair.enable(&KEY);
    eventually("the carrier is off at first", || !pair.a.namespace.is_running(SECURE));
    assert_eq!(pair.a.plane.snapshot().secure_interface, LinkState::NoCarrier);
    pair.open();
    let (client, server) = (pair.a.socket(1000), pair.b.socket(2000));
    assert_eq!(echo(&client, &server, b"open"), b"open");

    // Closed at one end: what the other sends is not delivered.
    pair.b.apply(SecyCommand::SetControlledPort(false));
    let accepted = pair.b.plane.snapshot().counters.in_pkts_ok;
    eventually("the carrier is off again", || !pair.b.namespace.is_running(SECURE));
    client.send_to(b"to a closed port", server.local_addr().unwrap()).unwrap();
    eventually("the frame is dropped", || pair.b.plane.snapshot().drops.in_port_closed > 0);
    assert_eq!(pair.b.plane.snapshot().counters.in_pkts_ok, accepted);

    // Nor is anything sent.
    let observer = Observer::new(&pair.b);
    let sender = pair.b.sender(SECURE);
    sender.send(&[0x02; 60]).unwrap();

    pair.open();
    assert_eq!(echo(&client, &server, b"open again"), b"open again");
    assert_eq!(observer.frames().iter().filter(|frame| frame[6..12] == [2; 6]).count(), 0);
}

/// Numbered datagrams to an echo and back, so few at a time that no buffer on the way overflows.
#[derive(Default)]
struct Flow {
    sent: AtomicU64,
    returned: AtomicU64,
    done: AtomicBool,
}

impl Flow {
    const IN_FLIGHT: u64 = 64;

    fn send(&self, client: &UdpSocket, server: SocketAddr) {
        while !self.done.load(SeqCst) {
            eventually("the echoes return", || {
                self.sent.load(SeqCst) - self.returned.load(SeqCst) < Self::IN_FLIGHT
            });
            let mut payload = [0; 500];
            payload[..8].copy_from_slice(&self.sent.load(SeqCst).to_be_bytes());
            client.send_to(&payload, server).unwrap();
            self.sent.fetch_add(1, SeqCst);
        }
        client.send_to(&[0], server).unwrap();
    }

    fn return_all(server: &UdpSocket) {
        let mut buffer = [0; 2048];
        let mut len = 0;
        while len != 1 {
            let from;
            (len, from) = server.recv_from(&mut buffer).expect("no datagram is lost");
            server.send_to(&buffer[..len], from).unwrap();
        }
    }

    fn count(&self, client: &UdpSocket) {
        let mut buffer = [0; 2048];
        while client.recv(&mut buffer).expect("no echo is lost") != 1 {
            let number = u64::from_be_bytes(buffer[..8].try_into().unwrap());
            assert_eq!(number, self.returned.fetch_add(1, SeqCst), "in order, none missing");
        }
    }

    /// Returns when all that was sent before has come back, and `count` more.
    fn pass(&self, count: u64) {
        let goal = self.sent.load(SeqCst) + count;
        eventually("traffic goes on", || self.returned.load(SeqCst) >= goal);
    }
}

/// Several times over, on all four associations, in both directions.
#[test]
fn a_rekey_under_traffic_loses_no_frame() {
    const REKEYS: u32 = 8;
    let key = |number| Key::new(number, GcmAesXpn256, Offset0);
    let mut pair = Pair::with_key(STRICT, &key(1));
    let (client, server) = (pair.a.socket(1000), pair.b.socket(2000));
    // While the system asks for the other's MAC address, it does not keep datagrams in order.
    assert_eq!(echo(&client, &server, b"first"), b"first");
    let flow = Flow::default();
    thread::scope(|scope| {
        scope.spawn(|| Flow::return_all(&server));
        scope.spawn(|| flow.count(&client));
        scope.spawn(|| flow.send(&client, server.local_addr().unwrap()));
        for number in 2..=1 + REKEYS {
            flow.pass(200);
            pair.install(&key(number));
            flow.pass(200);
            pair.b.apply(SecyCommand::EnableTx(key(number).ki()));
            pair.a.apply(SecyCommand::EnableTx(key(number).ki()));
            flow.pass(200);
            pair.remove(&key(number - 1));
        }
        flow.done.store(true, SeqCst);
    });
    assert!(flow.returned.load(SeqCst) >= 600 * u64::from(REKEYS));
    assert_eq!(flow.sent.load(SeqCst), flow.returned.load(SeqCst));
    for end in [&pair.a, &pair.b] {
        let snapshot = end.plane.snapshot();
        assert_eq!(snapshot.counters.in_pkts_not_using_sa, 0);
        assert_eq!(snapshot.counters.in_pkts_late, 0);
        assert_eq!(snapshot.tx.unwrap().ki, key(1 + REKEYS).ki());
        assert_eq!(snapshot.rx.len(), 1);
        assert_eq!(snapshot.rx[0].lowest_pn, snapshot.rx[0].next_pn);
        assert!(snapshot.rx[0].next_pn > PacketNumber(200));
    }
}

#[test]
fn after_a_switch_the_old_association_sends_nothing_and_a_removed_key_is_gone() {
    let mut pair = Pair::with_key(STRICT, &KEY);
    let (client, server) = (pair.a.socket(1000), pair.b.socket(2000));
    assert_eq!(echo(&client, &server, b"old"), b"old");
    let new = Key::new(2, GcmAes128, Offset0);
    pair.install(&new);
    let observer = Observer::new(&pair.a);
    pair.enable(&new);
    assert_eq!(echo(&client, &server, b"new"), b"new");
    for frame in observer.frames() {
        assert_eq!(frame[14] & 3, new.an().value());
    }
    let error = pair.a.plane.apply(&SecyCommand::EnableTx(KEY.ki())).unwrap_err();
    assert!(matches!(error, SecyError::Invalid(_)), "{error}");
    pair.remove(&KEY);
    let error = pair.a.plane.apply(&SecyCommand::RemoveSak(KEY.ki())).unwrap_err();
    assert_eq!(error, SecyError::NoSuchKey(KEY.ki()));
    assert_eq!(pair.a.plane.snapshot().rx.len(), 1);
    assert_eq!(echo(&client, &server, b"still"), b"still");
}

/// The last reference to a key goes, and with it the key, before the command is answered.
#[test]
fn a_removed_key_is_wiped_when_the_command_is_answered() {
    let mut pair = Pair::new(STRICT);
    let key = KEY.secy_key();
    let watch = Arc::downgrade(&key);
    let install = macsecd::secy::InstallSak {
        key,
        an: KEY.an(),
        ssci: Some(macsecd::ident::Ssci(1)),
        receive: Vec::new(),
    };
    pair.a.apply(SecyCommand::InstallSak(install));
    pair.a.apply(SecyCommand::EnableTx(KEY.ki()));
    assert!(watch.upgrade().is_some());
    pair.a.apply(SecyCommand::RemoveSak(KEY.ki()));
    assert!(watch.upgrade().is_none());
    assert_eq!(pair.a.plane.snapshot().tx, None);
}

#[test]
fn eapol_never_leaves_through_the_secure_interface() {
    let pair = Pair::with_key(STRICT, &KEY);
    let observer = Observer::new(&pair.b);
    let sender = pair.a.sender(SECURE);
    let mut eapol = vec![0x01, 0x80, 0xc2, 0, 0, 3, 2, 0, 0, 0, 0, 1, 0x88, 0x8e, 3, 5, 0, 0];
    eapol.resize(60, 0);
    sender.send(&eapol).unwrap();
    eventually("it is refused", || pair.a.plane.snapshot().counters.out_pkts_eapol == 1);
    let (client, server) = (pair.a.socket(1000), pair.b.socket(2000));
    assert_eq!(echo(&client, &server, b"data"), b"data");
    assert!(observer.frames().iter().all(|frame| ethertype(frame) == MACSEC));
    assert_eq!(pair.b.plane.snapshot().counters.in_pkts_eapol, 0);
}

/// An operator can raise the secure interface's MTU; the parent's is what counts.
#[test]
fn a_frame_that_protection_makes_too_long_is_counted_and_dropped() {
    let pair = Pair::with_key(STRICT, &KEY);
    pair.a.namespace.set_mtu(SECURE, 9000);
    let (client, server) = (pair.a.socket(1000), pair.b.socket(2000));
    let fits = vec![1; 1468 - HEADERS];
    assert_eq!(echo(&client, &server, &fits), fits);
    assert_eq!(pair.a.plane.snapshot().counters.out_pkts_too_long, 0);
    for (count, payload) in (1..).zip([1469 - HEADERS, 1500 - HEADERS, 9000 - HEADERS]) {
        client.send_to(&vec![2; payload], server.local_addr().unwrap()).unwrap();
        eventually("the frame is refused", || {
            pair.a.plane.snapshot().counters.out_pkts_too_long == count
        });
    }
    assert_eq!(echo(&client, &server, &fits), fits);
}

#[test]
fn the_mtu_follows_the_parents() {
    let mut pair = Pair::with_key(STRICT, &KEY);
    for end in [&mut pair.a, &mut pair.b] {
        end.namespace.set_mtu(PARENT, 9000);
        let plane = &mut end.plane;
        end.namespace.run(|| plane.set_parent_mtu(9000)).unwrap();
        assert_eq!(end.namespace.mtu(SECURE), 8968);
    }
    let (client, server) = (pair.a.socket(1000), pair.b.socket(2000));
    let jumbo = vec![5; 8968 - HEADERS];
    assert_eq!(echo(&client, &server, &jumbo), jumbo);
    let error = pair.a.plane.set_parent_mtu(99).unwrap_err();
    assert!(matches!(error, SecyError::Invalid(_)), "{error}");
}

#[test]
fn a_frame_that_is_sent_again_is_late_and_one_under_another_key_not_valid() {
    let mut pair = Pair::with_key(STRICT, &KEY);
    let (client, server) = (pair.a.socket(1000), pair.b.socket(2000));
    let observer = Observer::new(&pair.a);
    assert_eq!(echo(&client, &server, b"once"), b"once");
    let frames = observer.frames();
    let own = pair.a.sci.address().0;
    let mut frame = frames.into_iter().rfind(|frame| frame[6..12] == own).unwrap();
    let attacker = pair.a.sender(PARENT);
    attacker.send(&frame).unwrap();
    eventually("the copy is late", || pair.b.plane.snapshot().counters.in_pkts_late == 1);

    // A higher number needs another ICV.
    frame[16..20].copy_from_slice(&[0, 0, 1, 0]);
    attacker.send(&frame).unwrap();
    eventually("it is not valid", || pair.b.plane.snapshot().counters.in_pkts_not_valid == 1);
    server.set_nonblocking(true).unwrap();
    let delivered = server.recv(&mut [0; 64]);
    assert_eq!(delivered.unwrap_err().kind(), ErrorKind::WouldBlock);

    // Delay protection refuses what is below the bound, and lets the next ones through.
    let raise =
        SecyCommand::RaiseLowestPn { ki: KEY.ki(), sci: pair.a.sci, lowest_pn: PacketNumber(1000) };
    pair.b.apply(raise);
    client.send_to(b"delayed", server.local_addr().unwrap()).unwrap();
    eventually("it is late", || pair.b.plane.snapshot().counters.in_pkts_late == 2);
    assert_eq!(pair.b.plane.snapshot().rx[0].lowest_pn, PacketNumber(1000));
}

#[test]
fn the_end_of_a_data_plane_is_the_end_of_its_interface_and_its_keys() {
    let Pair { a, b } = Pair::with_key(STRICT, &KEY);
    drop(b.plane);
    assert!(!b.namespace.has(SECURE));
    assert!(b.namespace.has(PARENT));
    assert!(a.plane.snapshot().alive);
}

#[test]
fn a_parent_that_is_down_or_gone_is_reported_and_survived() {
    let mut pair = Pair::with_key(STRICT, &KEY);
    let (client, server) = (pair.a.socket(1000), pair.b.socket(2000));
    assert_eq!(echo(&client, &server, b"up"), b"up");
    pair.a.namespace.down(PARENT);
    assert_eq!(pair.a.plane.snapshot().parent, LinkState::Down);
    client.send_to(b"to a dead cable", server.local_addr().unwrap()).unwrap();
    eventually("the frame is refused", || pair.a.plane.snapshot().drops.out_refused > 0);

    pair.a.namespace.up(PARENT);
    eventually("the cable works again", || {
        pair.a.namespace.is_running(PARENT) && pair.b.namespace.is_running(PARENT)
    });
    assert_eq!(echo(&client, &server, b"up again"), b"up again");

    pair.a.namespace.delete(PARENT);
    assert_eq!(pair.a.plane.snapshot().parent, LinkState::Gone);
    pair.a.apply(SecyCommand::SetControlledPort(false));
    assert!(pair.a.plane.snapshot().alive);
}

#[test]
fn a_secure_interface_that_was_deleted_is_reported() {
    let mut pair = Pair::with_key(STRICT, &KEY);
    pair.a.namespace.delete(SECURE);
    assert_eq!(pair.a.plane.snapshot().secure_interface, LinkState::Gone);
    let error = pair.a.plane.apply(&SecyCommand::SetControlledPort(false)).unwrap_err();
    assert!(matches!(error, SecyError::Refused(_)), "{error}");
    pair.a.apply(SecyCommand::RemoveSak(KEY.ki()));
}

#[test]
fn a_start_that_cannot_be_leaves_nothing_behind_and_says_why() {
    let namespace = Namespace::new();
    namespace.cable(PARENT, &namespace, "eth1");
    let settings = UserspaceSettings {
        parent: PARENT.to_owned(),
        parent_index: namespace.index(PARENT),
        parent_mtu: 1500,
        name: SECURE.to_owned(),
        sci: macsecd::ident::Sci::from_octets([2, 0, 0, 0, 0, 1, 0, 1]),
        settings: STRICT,
    };
    let start = |settings| namespace.run(|| UserspaceDataplane::start(settings));
    let taken = UserspaceSettings { name: "eth1".to_owned(), ..settings.clone() };
    let error = start(taken).unwrap_err();
    assert_eq!(error.to_string(), "an interface called `eth1` exists already");
    let unknown = UserspaceSettings { parent: "eth7".to_owned(), ..settings.clone() };
    assert_eq!(start(unknown).unwrap_err().to_string(), "there is no interface `eth7`");
    let narrow = UserspaceSettings { parent_mtu: 99, ..settings.clone() };
    assert!(start(narrow).is_err());
    assert!(!namespace.has(SECURE));
    drop(start(settings).unwrap());
}

/// 802.1AE-2018 10.5 and 10.6 with protectFrames off: a peer without MACsec is reached.
#[test]
fn in_clear_frames_pass_as_they_are_and_the_other_way_back() {
    let Pair { mut a, b: End { namespace: b, plane, .. } } = Pair::new(STRICT);
    drop(plane);
    let clear = SecySettings { protect: false, validate: Validate::Check, ..STRICT };
    a.apply(SecyCommand::Configure(clear));
    a.apply(SecyCommand::SetControlledPort(true));
    eventually("the carrier is on", || a.namespace.is_running(SECURE));
    // The other end has its address on the cable itself, and the system's offloads with it.
    let peer = Ipv4Addr::new(10, 0, 0, 3);
    b.set_ip(PARENT, peer);
    let observer = Observer::new(&a);
    let client = a.socket(1000);
    let server = b.run(|| UdpSocket::bind((peer, 2000)).unwrap());
    server.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    let payload = vec![9; 1468 - HEADERS];
    assert_eq!(echo(&client, &server, &payload), payload);
    assert!(observer.frames().iter().any(|frame| ethertype(frame) == 0x0800));
    assert!(a.plane.snapshot().counters.out_pkts_untagged > 0);
    assert!(a.plane.snapshot().counters.in_pkts_untagged > 0);

    // A stream, which the system's offloads make frames of up to 64 KiB of.
    let listener = a.namespace.run(|| TcpListener::bind((a.ip, 3000)).unwrap());
    let stream = b.run(|| TcpStream::connect((a.ip, 3000)).unwrap());
    let (octets, mut received) = (vec![0xa5; 1 << 20], Vec::new());
    thread::scope(|scope| {
        scope.spawn(|| {
            { &stream }.write_all(&octets).and_then(|()| stream.shutdown(Shutdown::Write))
        });
        listener.accept().unwrap().0.read_to_end(&mut received).unwrap();
    });
    assert!(received == octets);

    // With protection, nothing of that any more.
    a.apply(SecyCommand::Configure(STRICT));
    observer.frames();
    server.send_to(b"in clear", client.local_addr().unwrap()).unwrap();
    client.send_to(b"in clear", server.local_addr().unwrap()).unwrap();
    eventually("nothing is sent", || a.plane.snapshot().counters.out_pkts_no_sa > 0);
    let own = a.sci.address().0;
    assert!(observer.frames().iter().all(|frame| frame[6..12] != own));
}

#[test]
fn in_clear_a_vlan_tag_stays_and_eapol_does_not_pass() {
    let clear = SecySettings { protect: false, validate: Validate::Check, ..STRICT };
    let mut pair = Pair::new(clear);
    pair.a.apply(SecyCommand::SetControlledPort(true));
    eventually("the carrier is on", || pair.a.namespace.is_running(SECURE));
    let index = pair.a.namespace.index(SECURE);
    let above = pair.a.namespace.run(|| PacketSocket::observer(index).unwrap());
    let sender = pair.b.sender(PARENT);
    let frame = |after_addresses: &[u8]| {
        let mut frame = vec![2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 9];
        frame.extend_from_slice(after_addresses);
        frame.resize(60, 0);
        frame
    };
    let tagged = frame(&[0x81, 0x00, 0x60, 0x05, 0x08, 0x00, 0x45]);
    sender.send(&frame(&[0x88, 0x8e, 3, 5])).unwrap();
    sender.send(&tagged).unwrap();
    let mut buffer = [0; 2048];
    let mut arrived = None;
    eventually("the tagged frame arrives", || {
        let Ok(len) = above.recv(&mut buffer) else { return false };
        arrived = (buffer[6..12] == [2, 0, 0, 0, 0, 9]).then(|| buffer[..len].to_vec());
        arrived.is_some()
    });
    // The system takes the tag off again before the observer sees the frame.
    let mut untagged = tagged.clone();
    untagged.drain(12..16);
    assert_eq!(arrived, Some(untagged));
    assert_eq!(pair.a.plane.snapshot().counters.in_pkts_untagged, 1);
}
