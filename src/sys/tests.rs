//! The wrappers against the kernel, on cables of their own.

use std::io::{self, ErrorKind, IoSlice, IoSliceMut};
use std::net::{Ipv4Addr, UdpSocket};

use super::packet::ETHERTYPE_MACSEC;
use super::*;
use crate::cli::lab;

#[path = "../../tests/support/netns.rs"]
mod netns;
use netns::{Namespace, eventually};

const ALICE: [u8; 6] = [2, 0, 0, 0, 0, 0xa];
const BOB: [u8; 6] = [2, 0, 0, 0, 0, 0xb];
const PAE_GROUP: [u8; 6] = [0x01, 0x80, 0xc2, 0, 0, 3];

/// A cable with its ends called `a` and `b`, and a socket on `a` that sends anything.
fn cable() -> (Namespace, PacketSocket) {
    let namespace = Namespace::new();
    namespace.cable("a", &namespace, "b");
    namespace.run(|| Interfaces::open().unwrap().set_address("b", BOB).unwrap());
    let index = namespace.index("a");
    let sender = namespace.run(|| PacketSocket::sender(index).unwrap());
    (namespace, sender)
}

fn frame(destination: [u8; 6], after_addresses: &[u8]) -> Vec<u8> {
    let mut frame = [destination, ALICE].concat();
    frame.extend_from_slice(after_addresses);
    frame.resize(60, 0);
    frame
}

fn receive(socket: &PacketSocket) -> io::Result<Vec<u8>> {
    let mut buffer = vec![0; 2048];
    let length = socket.recv(&mut buffer)?;
    buffer.truncate(length);
    Ok(buffer)
}

/// All that arrives up to and with `last`, which was sent last.
fn receive_until(socket: &PacketSocket, last: &[u8]) -> Vec<Vec<u8>> {
    all_until(last, |all| {
        while let Ok(frame) = receive(socket) {
            all.push(frame);
        }
    })
}

/// All that `take` gets, up to and with `last`.
fn all_until(last: &[u8], mut take: impl FnMut(&mut Vec<Vec<u8>>)) -> Vec<Vec<u8>> {
    let mut all: Vec<Vec<u8>> = Vec::new();
    eventually("the last frame arrives", || {
        take(&mut all);
        all.last().is_some_and(|frame| frame == last)
    });
    all
}

#[test]
fn the_eapol_socket_takes_eapol_for_us_and_nothing_else() {
    let (namespace, sender) = cable();
    let index = namespace.index("b");
    let eapol = namespace.run(|| PacketSocket::eapol(index).unwrap());
    let refused = [
        frame(PAE_GROUP, &[0x08, 0x00, 0x45]),
        frame(PAE_GROUP, &[0x88, 0xe5, 0x2c]),
        frame(PAE_GROUP, &[0x81, 0x00, 0x00, 0x05, 0x88, 0x8e, 3]),
        frame(PAE_GROUP, &[0x88, 0xa8, 0x00, 0x05, 0x88, 0x8e, 3]),
        frame([2, 0, 0, 0, 0, 0xc], &[0x88, 0x8e, 3]),
    ];
    let accepted = [
        frame(PAE_GROUP, &[0x88, 0x8e, 3, 5, 0, 1, 1]),
        frame([0x01, 0x80, 0xc2, 0, 0, 0], &[0x88, 0x8e, 3, 5, 0, 1, 2]),
        frame([0x01, 0x80, 0xc2, 0, 0, 0x0e], &[0x88, 0x8e, 3, 5, 0, 1, 3]),
        frame(BOB, &[0x88, 0x8e, 3, 5, 0, 1, 4]),
    ];
    for frame in refused.iter().chain(&accepted) {
        sender.send(frame).unwrap();
    }
    assert_eq!(receive_until(&eapol, &accepted[3]), accepted);
    assert_eq!(receive(&eapol).unwrap_err().kind(), ErrorKind::WouldBlock);
    assert_eq!(eapol.statistics().unwrap(), PacketStatistics { received: 4, dropped: 0 });
    assert_eq!(eapol.statistics().unwrap(), PacketStatistics { received: 4, dropped: 0 });
}

#[test]
fn with_another_ethertype_the_eapol_socket_takes_both_and_none_of_our_own() {
    let (namespace, sender) = cable();
    let index = namespace.index("b");
    let (eapol, reply) = namespace.run(|| {
        let eapol = PacketSocket::key_exchange(index, 0x876f).unwrap();
        (eapol, PacketSocket::sender(index).unwrap())
    });
    reply.send(&frame(PAE_GROUP, &[0x87, 0x6f, 3, 5, 0, 1, 9])).unwrap();
    let refused = [
        frame(PAE_GROUP, &[0x08, 0x00, 0x45]),
        frame(PAE_GROUP, &[0x88, 0xe5, 0x2c]),
        frame(PAE_GROUP, &[0x81, 0x00, 0x00, 0x05, 0x87, 0x6f, 3]),
        frame([2, 0, 0, 0, 0, 0xc], &[0x87, 0x6f, 3]),
    ];
    let accepted = [
        frame(PAE_GROUP, &[0x88, 0x8e, 3, 5, 0, 1, 1]),
        frame([0x01, 0x80, 0xc2, 0, 0, 0x0e], &[0x87, 0x6f, 3, 5, 0, 1, 2]),
    ];
    for frame in refused.iter().chain(&accepted) {
        sender.send(frame).unwrap();
    }
    assert_eq!(receive_until(&eapol, &accepted[1]), accepted);
}

/// Its VLAN identifier being 0, such a tag carries a priority and names no VLAN.
#[test]
fn a_priority_tag_in_front_of_eapol_is_taken_off() {
    let (namespace, sender) = cable();
    let index = namespace.index("b");
    let eapol = namespace.run(|| PacketSocket::eapol(index).unwrap());
    sender.send(&frame(PAE_GROUP, &[0x81, 0x00, 0xe0, 0x00, 0x88, 0x8e, 3, 5, 0, 1, 1])).unwrap();
    let mut untagged = frame(PAE_GROUP, &[0x88, 0x8e, 3, 5, 0, 1, 1]);
    untagged.truncate(56);
    assert_eq!(receive_until(&eapol, &untagged), [untagged]);
}

#[test]
fn the_ring_takes_protected_frames_only_and_none_of_our_own() {
    let (namespace, sender) = cable();
    let index = namespace.index("b");
    let (ring, reply) = namespace.run(|| {
        let ring = PacketRing::macsec(index, Some([2, 0, 0, 0, 0, 0xc]), 1514).unwrap();
        (ring, PacketSocket::sender(index).unwrap())
    });
    reply.send(&frame(ALICE, &[0x88, 0xe5, 0x2c, 0, 0, 0, 0, 9])).unwrap();
    sender.send(&frame(BOB, &[0x88, 0x8e, 3])).unwrap();
    sender.send(&frame(BOB, &[0x08, 0x00, 0x45])).unwrap();
    let accepted = [
        frame(BOB, &[0x88, 0xe5, 0x2c, 0, 0, 0, 0, 1]),
        frame([2, 0, 0, 0, 0, 0xc], &[0x88, 0xe5, 0x2c, 0, 0, 0, 0, 2]),
        frame([0x33, 0x33, 0, 0, 0, 1], &[0x88, 0xe5, 0x2c, 0, 0, 0, 0, 3]),
    ];
    for frame in &accepted {
        sender.send(frame).unwrap();
    }
    let received = all_until(&accepted[2], |all| {
        ring.receive(8, |frame| all.push(frame.octets.to_vec())).unwrap();
    });
    assert_eq!(received, accepted);
    assert_eq!(receive(&reply).unwrap_err().kind(), ErrorKind::WouldBlock);
}

#[test]
fn the_observer_sees_every_frame_in_both_directions() {
    let (namespace, sender) = cable();
    let index = namespace.index("b");
    let (observer, reply) = namespace
        .run(|| (PacketSocket::observer(index).unwrap(), PacketSocket::sender(index).unwrap()));
    let frames = [
        frame(BOB, &[0x88, 0xe5, 1]),
        frame(ALICE, &[0x08, 0x00, 2]),
        frame(BOB, &[0x88, 0x8e, 3]),
    ];
    sender.send(&frames[0]).unwrap();
    reply.send(&frames[1]).unwrap();
    sender.send(&frames[2]).unwrap();
    let mut seen = receive_until(&observer, &frames[2]);
    seen.sort();
    let mut sent = frames.to_vec();
    sent.sort();
    assert_eq!(seen, sent);
}

#[test]
fn the_plain_socket_takes_what_is_neither_eapol_nor_protected_and_tells_of_its_vlan_tag() {
    let (namespace, sender) = cable();
    let index = namespace.index("b");
    let (plain, reply) = namespace
        .run(|| (PacketSocket::plain(index).unwrap(), PacketSocket::sender(index).unwrap()));
    reply.send(&frame(ALICE, &[0x08, 0x00, 9])).unwrap();
    sender.send(&frame(PAE_GROUP, &[0x88, 0x8e, 3])).unwrap();
    sender.send(&frame(BOB, &[0x88, 0xe5, 0x2c])).unwrap();
    sender.send(&frame(BOB, &[0x08, 0x00, 1])).unwrap();
    sender.send(&frame(BOB, &[0x81, 0x00, 0x60, 0x05, 0x08, 0x00, 2])).unwrap();
    sender.send(&frame(BOB, &[0x88, 0xa8, 0x00, 0x07, 0x81, 0x00, 0x00, 0x05, 3])).unwrap();
    let mut buffer = [0; 128];
    let mut next = || {
        let mut arrived = None;
        eventually("a frame arrives", || {
            arrived = plain.recv_plain(&mut buffer).ok();
            arrived.is_some()
        });
        let PlainFrame { header, len, tag } = arrived.unwrap();
        assert!(header.is_whole());
        (len, tag, [buffer[12], buffer[13], buffer[14]])
    };
    assert_eq!(next(), (60, None, [0x08, 0x00, 1]));
    assert_eq!(next(), (56, Some([0x81, 0x00, 0x60, 0x05]), [0x08, 0x00, 2]));
    assert_eq!(next(), (56, Some([0x88, 0xa8, 0x00, 0x07]), [0x81, 0x00, 0x00]));
    assert_eq!(plain.recv_plain(&mut buffer).unwrap_err().kind(), ErrorKind::WouldBlock);
}

/// What the system sends it leaves to the interface to finish: the socket says what is missing.
#[test]
fn the_plain_socket_tells_which_checksum_is_missing() {
    let (a, b) = (Namespace::new(), Namespace::new());
    a.cable("a", &b, "b");
    a.set_ip("a", Ipv4Addr::new(10, 0, 0, 1));
    let index = b.index("b");
    let plain = b.run(|| PacketSocket::plain(index).unwrap());
    let socket = a.run(|| UdpSocket::bind("10.0.0.1:7").unwrap());
    socket.set_broadcast(true).unwrap();
    socket.send_to(b"unfinished", "10.0.0.255:9").unwrap();
    let mut buffer = [0; 128];
    let mut arrived = None;
    eventually("the datagram arrives", || {
        arrived = plain.recv_plain(&mut buffer).ok();
        arrived.is_some() && buffer[12..14] == [0x08, 0x00]
    });
    let header = arrived.unwrap().header;
    // The checksum starts at the UDP header, behind 14 + 20 octets, and stands 6 octets further.
    let offsets = |header: VnetHeader| {
        let VnetHeader([.., a, b, c, d]) = header;
        (u16::from_ne_bytes([a, b]), u16::from_ne_bytes([c, d]))
    };
    assert!(!header.is_whole());
    assert_eq!(offsets(header), (34, 6));
    assert_eq!(offsets(header.behind_vlan_tag()), (38, 6));
    assert_eq!(VnetHeader::WHOLE.behind_vlan_tag(), VnetHeader::WHOLE);
}

#[test]
fn a_batch_is_sent_and_received_in_order_and_a_long_frame_shows_its_length() {
    let (namespace, sender) = cable();
    let index = namespace.index("b");
    let socket = namespace.run(|| PacketSocket::key_exchange(index, ETHERTYPE_MACSEC).unwrap());
    let frames: Vec<_> = (0..70_u8)
        .map(|number| {
            let mut frame = frame(BOB, &[0x88, 0xe5, number]);
            frame.resize(100 + usize::from(number), number);
            frame
        })
        .collect();
    let slices: Vec<_> = frames.iter().map(|frame| IoSlice::new(frame)).collect();
    assert_eq!(sender.send_batch(&slices).unwrap(), BATCH_MAX);
    assert_eq!(sender.send_batch(&slices[BATCH_MAX..]).unwrap(), 6);

    let mut received = Vec::new();
    eventually("all frames of the batches arrive", || {
        let mut space = vec![[0_u8; 120]; 16];
        let mut buffers: Vec<_> = space.iter_mut().map(|space| IoSliceMut::new(space)).collect();
        let mut lengths = [0; 16];
        let count = socket.recv_batch(&mut buffers, &mut lengths).unwrap_or(0);
        for (length, octets) in lengths.iter().zip(&space).take(count) {
            received.push((*length, octets.to_vec()));
        }
        received.len() >= 70
    });
    for (frame, (length, octets)) in frames.iter().zip(&received) {
        assert_eq!(*length, frame.len());
        let fits = frame.len().min(120);
        assert_eq!(octets[..fits], frame[..fits]);
    }
    assert_eq!(received.len(), 70);
}

#[test]
fn a_ring_shows_frames_in_order_time_after_time_and_says_when_the_cable_is_cut() {
    let (namespace, sender) = cable();
    let index = namespace.index("b");
    let ring = namespace.run(|| PacketRing::macsec(index, None, 1400).unwrap());
    assert!(ring.frame_max() >= 1400);
    assert_eq!(ring.receive(8, |_| panic!("there is none yet")).unwrap(), 0);
    sender.send(&frame(BOB, &[0x08, 0x00, 0x45])).unwrap();
    // More than there are slots, so that each is used again.
    const ROUNDS: u32 = 200;
    for round in 0..ROUNDS {
        let frames: Vec<_> = (0..50_u8)
            .map(|number| {
                let [a, b, c, d] = round.to_be_bytes();
                let mut frame = frame(BOB, &[0x88, 0xe5, a, b, c, d, number]);
                frame.resize(1400, number);
                frame
            })
            .collect();
        let slices: Vec<_> = frames.iter().map(|frame| IoSlice::new(frame)).collect();
        assert_eq!(sender.send_batch(&slices).unwrap(), 50);
        let mut received = Vec::new();
        eventually("all frames of the round arrive", || {
            let look = |RingFrame { octets, len }: RingFrame<'_>| {
                assert_eq!(len, octets.len());
                received.push(octets.to_vec());
            };
            assert!(ring.receive(8, look).unwrap() <= 8);
            received.len() >= 50
        });
        assert!(received == frames, "round {round}");
    }
    let statistics = PacketStatistics { received: (ROUNDS * 50).into(), dropped: 0 };
    assert_eq!(ring.statistics().unwrap(), statistics);

    // A frame that does not fit shows its length.
    let mut long = frame(BOB, &[0x88, 0xe5, 1]);
    long.resize(1514, 7);
    sender.send(&long).unwrap();
    let mut lengths = None;
    eventually("the long frame arrives", || {
        ring.receive(1, |frame| lengths = Some((frame.octets.len(), frame.len))).unwrap() == 1
    });
    let (held, len) = lengths.unwrap();
    assert!(held >= 1400 && held < len && len == 1514, "{held} of {len}");

    namespace.down("b");
    let down = || ring.receive(1, |_| ()).is_err_and(|e| e.kind() == ErrorKind::NetworkDown);
    eventually("the cut is reported", down);
    assert_eq!(ring.receive(1, |_| ()).unwrap(), 0);
}

#[test]
fn a_cable_that_is_cut_is_reported_and_not_silent() {
    let (namespace, sender) = cable();
    let index = namespace.index("b");
    let socket = namespace.run(|| PacketSocket::key_exchange(index, ETHERTYPE_MACSEC).unwrap());
    let interfaces = namespace.run(|| Interfaces::open().unwrap());
    assert_eq!(interfaces.state(index), LinkState::Running);
    namespace.down("a");
    eventually("the other end loses its carrier", || {
        interfaces.state(index) == LinkState::NoCarrier
    });
    assert_eq!(sender.send(&frame(BOB, &[0x88, 0xe5])).unwrap_err().kind(), ErrorKind::NetworkDown);
    namespace.down("b");
    assert_eq!(interfaces.state(index), LinkState::Down);
    assert_eq!(receive(&socket).unwrap_err().kind(), ErrorKind::NetworkDown);
    namespace.up("a");
    namespace.up("b");
    let frame = frame(BOB, &[0x88, 0xe5]);
    eventually("frames pass again", || sender.send(&frame).is_ok() && receive(&socket).is_ok());
    namespace.delete("a");
    assert_eq!(interfaces.state(index), LinkState::Gone);
    assert_eq!(sender.send(&frame).unwrap_err().raw_os_error(), Some(libc::ENXIO));
}

#[test]
fn sockets_need_an_interface() {
    let namespace = Namespace::new();
    namespace.run(|| {
        for index in [0, 4711] {
            assert!(matches!(PacketSocket::eapol(index), Err(SysError::NoInterface(_))));
            assert!(matches!(PacketRing::macsec(index, None, 1514), Err(SysError::NoInterface(_))));
            assert!(matches!(PacketSocket::observer(index), Err(SysError::NoInterface(_))));
        }
    });
}

#[test]
fn a_tap_has_what_it_was_given_and_vanishes_when_dropped() {
    let namespace = Namespace::new();
    let interfaces = namespace.run(|| Interfaces::open().unwrap());
    let tap = namespace.run(|| Tap::create("macsec7").unwrap());
    assert_eq!(tap.name().unwrap(), "macsec7");
    tap.set_address(ALICE).unwrap();
    tap.set_mtu(1468).unwrap();
    assert_eq!(interfaces.address("macsec7").unwrap(), ALICE);
    assert_eq!(interfaces.mtu("macsec7").unwrap(), 1468);

    let index = interfaces.index("macsec7").unwrap();
    assert_eq!(interfaces.state(index), LinkState::Down);
    tap.set_up().unwrap();
    eventually("there is no carrier", || interfaces.state(index) == LinkState::NoCarrier);
    tap.set_carrier(true).unwrap();
    eventually("the carrier is seen", || interfaces.state(index) == LinkState::Running);
    tap.set_carrier(false).unwrap();
    eventually("the loss is seen", || interfaces.state(index) == LinkState::NoCarrier);

    drop(tap);
    assert!(matches!(interfaces.index("macsec7"), Err(SysError::NoInterface(_))));
}

#[test]
fn a_tap_never_takes_over_an_interface() {
    let namespace = Namespace::new();
    namespace.run(|| {
        let _tap = Tap::create("macsec0").unwrap();
        for taken in ["macsec0", "lo"] {
            let error = Tap::create(taken).unwrap_err();
            assert_eq!(error.to_string(), format!("an interface called `{taken}` exists already"));
        }
    });
}

/// What a UDP socket sends through the tap comes as one frame with its checksums filled in, and
/// what is written to the tap reaches the socket.
#[test]
fn frames_pass_a_tap_whole_and_complete_in_both_directions() {
    const PAYLOAD_OFFSET: usize = 42;
    let namespace = Namespace::new();
    let tap = namespace.run(|| Tap::create("macsec0").unwrap());
    tap.set_up().unwrap();
    tap.set_carrier(true).unwrap();
    namespace.set_ip("macsec0", Ipv4Addr::new(10, 0, 0, 1));
    eventually("the carrier is seen", || namespace.is_running("macsec0"));
    let socket = namespace.run(|| UdpSocket::bind("10.0.0.1:7").unwrap());
    socket.set_broadcast(true).unwrap();
    socket.set_nonblocking(true).unwrap();
    socket.send_to(b"to the wire", "10.0.0.255:9").unwrap();

    let mut frame = [0; 2048];
    let mut length = 0;
    eventually("the datagram is read", || {
        let Ok((header, read)) = tap.read(&mut frame) else { return false };
        assert!(header.is_whole());
        length = read;
        frame[12..14] == [0x08, 0x00]
    });
    assert_eq!(frame[..6], [0xff; 6]);
    assert_eq!(&frame[PAYLOAD_OFFSET..length], b"to the wire");
    assert_eq!(internet_checksum(&frame[14..34], 0), 0);
    let pseudo_header = 17 + u32::try_from(length - 34).unwrap();
    assert_eq!(internet_checksum(&frame[26..length], pseudo_header), 0);

    // Back to its sender, ports and addresses swapped, which leaves the checksums right.
    let own: [u8; 6] = namespace.run(|| Interfaces::open().unwrap().address("macsec0").unwrap());
    frame[..6].copy_from_slice(&own);
    frame[6..12].copy_from_slice(&BOB);
    frame[26..34].copy_from_slice(&[10, 0, 0, 2, 10, 0, 0, 1]);
    frame[34..38].copy_from_slice(&[0, 9, 0, 7]);
    frame[24..26].fill(0);
    let checksum = internet_checksum(&frame[14..34], 0);
    frame[24..26].copy_from_slice(&checksum.to_be_bytes());
    frame[40..42].fill(0);
    tap.write(&VnetHeader::WHOLE, &frame[..length]).unwrap();
    let mut octets = [0; 64];
    eventually("the datagram is delivered", || socket.recv(&mut octets).is_ok());
    assert_eq!(&octets[..11], b"to the wire");
}

#[test]
fn a_frame_longer_than_the_buffer_fills_it() {
    let namespace = Namespace::new();
    let tap = namespace.run(|| Tap::create("macsec0").unwrap());
    tap.set_up().unwrap();
    tap.set_carrier(true).unwrap();
    let index = namespace.index("macsec0");
    let sender = namespace.run(|| PacketSocket::sender(index).unwrap());
    let mut long = frame(BOB, &[0x08, 0x00]);
    long.resize(1000, 7);
    let mut buffer = [0; 100];
    eventually("the frame is read", || {
        sender.send(&long).unwrap();
        tap.read(&mut buffer).is_ok_and(|(_, length)| length == 100)
    });
    assert_eq!(buffer, long[..100]);
}

#[test]
fn a_tap_that_is_deleted_says_so() {
    let namespace = Namespace::new();
    let tap = namespace.run(|| Tap::create("macsec0").unwrap());
    assert_eq!(tap.read(&mut [0; 64]).unwrap_err().kind(), ErrorKind::WouldBlock);
    namespace.delete("macsec0");
    assert_eq!(tap.read(&mut [0; 64]).unwrap_err().raw_os_error(), Some(libc::EBADFD));
    let written = tap.write(&VnetHeader::WHOLE, &[0; 64]).unwrap_err();
    assert_eq!(written.raw_os_error(), Some(libc::EBADFD));
    assert!(tap.set_carrier(true).is_err());
}

/// Without a capability, the error names it. A thread's own credentials are its own.
#[test]
fn a_missing_capability_is_named() {
    let namespace = Namespace::new();
    namespace.run(|| {
        drop_thread_capabilities();
        let error = PacketSocket::observer(1).unwrap_err();
        assert!(error.to_string().ends_with("not permitted; it needs CAP_NET_RAW"), "{error}");
        let error = Tap::create("macsec0").unwrap_err();
        assert!(error.to_string().ends_with("not permitted; it needs CAP_NET_ADMIN"), "{error}");
    });
}

/// Empties this thread's capability sets, and no other thread's.
fn drop_thread_capabilities() {
    /// `struct __user_cap_header_struct`: version 3, this thread.
    const HEADER: [u32; 2] = [0x2008_0522, 0];
    /// Two of `struct __user_cap_data_struct`.
    const NONE: [u32; 6] = [0; 6];
    // SAFETY: both arrays have the layout of the structures, and the kernel only reads them.
    let result = unsafe { libc::syscall(libc::SYS_capset, HEADER.as_ptr(), NONE.as_ptr()) };
    assert_eq!(result, 0, "dropping capabilities: {}", io::Error::last_os_error());
}

fn internet_checksum(octets: &[u8], start: u32) -> u16 {
    let words = octets.chunks(2).map(|pair| match pair {
        [high, low] => u32::from(u16::from_be_bytes([*high, *low])),
        [high] => u32::from(*high) << 8,
        _ => 0,
    });
    let mut sum = words.fold(start, |sum, word| sum + word);
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !u16::try_from(sum).unwrap()
}
