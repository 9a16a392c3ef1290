//! Traffic in bulk: what the system joins to frames of 64 KiB arrives as it was sent, and the wire
//! sees no frame that is longer than its MTU allows.

use std::io::{IoSlice, Read, Write};
use std::net::{IpAddr, Ipv6Addr, Shutdown, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::thread;
use std::time::Duration;

use etherparse::PacketBuilder;
use macsecd::dataplane::Drops;
use macsecd::sys::{PacketSocket, PlainFrame};
use nix::sys::socket::{setsockopt, sockopt};

use super::netns::{Namespace, eventually};
use super::pair::{Observer, PARENT, Pair, SECURE, STRICT, ethertype};
use super::{HEADERS, KEY, MACSEC};

/// A few hundred joined frames.
const LENGTH: usize = 4 << 20;

fn pattern(length: usize) -> Vec<u8> {
    (0..length).map(|at| (at / 253) as u8 ^ (at % 251) as u8).collect()
}

/// Sends a stream of octets from one end to an address of the other, and some of them back.
fn stream(from: &Namespace, to: &Namespace, address: IpAddr) {
    let octets = pattern(LENGTH);
    let back = &octets[..LENGTH / 4];
    let listener = to.run(|| TcpListener::bind((address, 3000)).unwrap());
    thread::scope(|scope| {
        scope.spawn(|| {
            let mut stream = listener.accept().unwrap().0;
            stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
            let mut received = Vec::new();
            stream.read_to_end(&mut received).unwrap();
            assert!(received == octets, "the stream arrives as it was sent");
            stream.write_all(back).unwrap();
        });
        let connect = || TcpStream::connect(SocketAddr::new(address, 3000)).unwrap();
        let mut stream = from.run(connect);
        stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        stream.write_all(&octets).unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        let mut received = Vec::new();
        stream.read_to_end(&mut received).unwrap();
        assert!(received == back, "what comes back is right, too");
    });
}

/// Looks at a pair after a transfer, and at the frames that were on the cable meanwhile. Tells how
/// long the longest of them was.
fn nothing_was_lost(pair: &Pair, frames: &[Vec<u8>], mtu: usize) -> usize {
    for end in [&pair.a, &pair.b] {
        let snapshot = end.plane.snapshot();
        assert_eq!(snapshot.counters.in_pkts_not_valid, 0);
        assert_eq!(snapshot.counters.in_pkts_late, 0);
        assert_eq!(snapshot.counters.in_pkts_bad_tag, 0);
        assert_eq!(snapshot.counters.out_pkts_too_long, 0);
        assert_eq!(snapshot.drops, Drops::default());
    }
    assert!(frames.iter().all(|frame| ethertype(frame) == MACSEC));
    let longest = frames.iter().map(Vec::len).max().unwrap();
    assert!(longest <= 14 + mtu, "a frame of {longest} octets");
    longest
}

#[test]
fn a_stream_arrives_as_it_was_sent_in_frames_as_long_as_the_mtu() {
    let pair = Pair::with_key(STRICT, &KEY);
    let observer = Observer::new(&pair.a);
    stream(&pair.a.namespace, &pair.b.namespace, pair.b.ip.into());
    assert_eq!(nothing_was_lost(&pair, &observer.frames(), 1500), 1514);
    assert!(pair.b.plane.snapshot().counters.in_octets_decrypted > LENGTH as u64);
}

#[test]
fn a_stream_over_jumbo_frames_makes_use_of_them() {
    let mut pair = Pair::with_key(STRICT, &KEY);
    for end in [&mut pair.a, &mut pair.b] {
        end.namespace.set_mtu(PARENT, 9000);
        let plane = &mut end.plane;
        end.namespace.run(|| plane.set_parent_mtu(9000)).unwrap();
    }
    let observer = Observer::new(&pair.a);
    stream(&pair.a.namespace, &pair.b.namespace, pair.b.ip.into());
    assert_eq!(nothing_was_lost(&pair, &observer.frames(), 9000), 9014);
}

#[test]
fn a_stream_over_ipv6_arrives_as_it_was_sent() {
    let pair = Pair::with_key(STRICT, &KEY);
    let address = |number| Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, number);
    for (number, end) in [&pair.a, &pair.b].into_iter().enumerate() {
        end.namespace.set_ipv6(SECURE, address(1 + number as u16));
    }
    let observer = Observer::new(&pair.a);
    stream(&pair.a.namespace, &pair.b.namespace, address(2).into());
    assert_eq!(nothing_was_lost(&pair, &observer.frames(), 1500), 1514);
}

/// The tags are user data: what is joined lies behind them.
#[test]
fn a_stream_in_a_vlan_within_a_vlan_arrives_with_both_tags_and_in_order() {
    const COUNT: usize = 60;
    const SIZE: usize = 1000;
    let pair = Pair::with_key(STRICT, &KEY);
    let octets = pattern(COUNT * SIZE);
    let frames = octets.chunks(SIZE).enumerate().map(|(number, payload)| {
        let (outer, inner) = (7.try_into().unwrap(), 5.try_into().unwrap());
        let segment = PacketBuilder::ethernet2([2, 0, 0, 0, 0, 9], [2, 0, 0, 0, 0, 2])
            .double_vlan(outer, inner)
            .ipv6([0xfd; 16], [0xfe; 16], 64)
            .tcp(1000, 80, (number * SIZE) as u32, 500)
            .ack(1);
        let mut frame = Vec::new();
        segment.write(&mut frame, payload).unwrap();
        frame
    });
    let frames: Vec<Vec<u8>> = frames.collect();
    let index = pair.b.namespace.index(SECURE);
    let above = pair.b.namespace.run(|| PacketSocket::plain(index).unwrap());
    let sender = pair.a.sender(SECURE);
    for batch in frames.chunks(20) {
        let slices: Vec<_> = batch.iter().map(|frame| IoSlice::new(frame)).collect();
        assert_eq!(sender.send_batch(&slices).unwrap(), batch.len());
    }
    // Joined or not, whatever comes has its tags: the outer one is told apart from the rest.
    let (mut received, mut buffer) = (Vec::new(), vec![0; 1 << 16]);
    eventually("all of it arrives", || {
        while let Ok(PlainFrame { len, tag, .. }) = above.recv_plain(&mut buffer) {
            if buffer[6..12] == [2, 0, 0, 0, 0, 9] {
                let [.., high, low] = tag.expect("the outer tag is there");
                assert_eq!((high & 0x0f, low), (0, 7));
                assert_eq!(buffer[12..18], [0x81, 0x00, 0, 5, 0x86, 0xdd]);
                received.extend_from_slice(&buffer[18 + 40 + 20..len]);
            }
        }
        received.len() >= octets.len()
    });
    assert!(received == octets);
}

/// Many datagrams that a program hands over at once, as QUIC does.
#[test]
fn joined_datagrams_arrive_each_on_its_own_and_in_order() {
    const SIZE: usize = 1000;
    let pair = Pair::with_key(STRICT, &KEY);
    let (client, server) = (pair.a.socket(1000), pair.b.socket(2000));
    setsockopt(&client, sockopt::UdpGsoSegment, &(SIZE as i32)).unwrap();
    let observer = Observer::new(&pair.a);
    let mut buffer = [0; 4096];
    for round in 0..100_u8 {
        let mut octets = pattern(30 * SIZE + 1);
        octets[0] = round;
        client.send_to(&octets, server.local_addr().unwrap()).unwrap();
        for (number, datagram) in octets.chunks(SIZE).enumerate() {
            let len = server.recv(&mut buffer).expect("each datagram arrives");
            assert!(buffer[..len] == *datagram, "datagram {number} of round {round}");
        }
    }
    let longest = nothing_was_lost(&pair, &observer.frames(), 1500);
    assert_eq!(longest, 14 + HEADERS + SIZE + 32);
    assert!(pair.b.plane.snapshot().counters.in_pkts_ok >= 3100);
}

/// A program that takes datagrams joined gets them so: they were one frame at the secure interface.
#[test]
fn a_reader_of_joined_datagrams_gets_fewer_and_longer_ones() {
    const SIZE: usize = 1000;
    let pair = Pair::with_key(STRICT, &KEY);
    let (client, server) = (pair.a.socket(1000), pair.b.socket(2000));
    setsockopt(&client, sockopt::UdpGsoSegment, &(SIZE as i32)).unwrap();
    setsockopt(&server, sockopt::UdpGroSegment, &true).unwrap();
    let octets = pattern(30 * SIZE);
    let mut longest = 0;
    // How many come at once is the machine's affair; that none ever do would be ours.
    eventually("datagrams come joined", || {
        client.send_to(&octets, server.local_addr().unwrap()).unwrap();
        let mut received = Vec::new();
        while received.len() < octets.len() {
            let mut buffer = vec![0; 1 << 16];
            let len = server.recv(&mut buffer).expect("all of it arrives");
            longest = longest.max(len);
            received.extend_from_slice(&buffer[..len]);
        }
        assert!(received == octets);
        longest > SIZE
    });
}

/// More at once than the wire takes: what is lost is counted, and what comes is right.
#[test]
fn a_flood_is_accounted_for_frame_by_frame() {
    const COUNT: u64 = 20_000;
    let pair = Pair::with_key(STRICT, &KEY);
    let client = pair.a.socket(1000);
    let before = pair.a.plane.snapshot().counters.out_pkts_encrypted;
    let target = SocketAddr::new(pair.b.ip.into(), 2000);
    let drain: UdpSocket = pair.b.socket(2000);
    client.send_to(b"first", target).unwrap();
    drain.recv(&mut [0; 64]).expect("the way is known");
    for _ in 0..COUNT {
        client.send_to(&[7; 1200], target).unwrap();
    }
    client.send_to(b"last", target).unwrap();
    eventually("the flood is over", || {
        let (a, b) = (pair.a.plane.snapshot(), pair.b.plane.snapshot());
        let sent = a.counters.out_pkts_encrypted - a.drops.out_congested - a.drops.out_refused;
        let received = b.counters.in_pkts_ok + b.counters.in_pkts_overrun;
        // All that was sent is there or counted as lost; the tap's own queue is the system's.
        sent > before && sent == received
    });
    let snapshot = pair.b.plane.snapshot();
    assert_eq!(snapshot.counters.in_pkts_not_valid, 0);
    assert_eq!(snapshot.counters.in_pkts_late, 0);
    assert!(snapshot.alive && pair.a.plane.snapshot().alive);
}
