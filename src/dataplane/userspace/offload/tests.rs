//! Cutting and joining against frames that another library makes, and against each other.

#![allow(clippy::cast_possible_truncation)]

use std::io::IoSlice;

use etherparse::{IpNumber, Ipv4Header, Ipv6Header, TcpHeader, UdpHeader};
use proptest::prelude::*;

use super::{Coalescer, Pieces};
use crate::secy::FrameBuf;
use crate::sys::{
    BATCH_MAX, JoinedDatagrams, MissingChecksum, Offload, Segmentation, VNET_HEADER_LEN, VnetHeader,
};

const FRAME_MAX: usize = 1522;

/// A stream or a series of datagrams.
#[derive(Clone, Debug)]
struct Flow {
    v6: bool,
    tcp: bool,
    tags: usize,
    port: u16,
    options: Vec<u8>,
    id: u16,
    sequence: u32,
    ece: bool,
}

/// What differs from segment to segment.
#[derive(Clone, Copy, Debug, Default)]
struct Flags {
    push: bool,
    fin: bool,
    cwr: bool,
}

const SOURCE: [u8; 4] = [10, 0, 0, 1];
const TARGET: [u8; 4] = [10, 0, 0, 2];
const SOURCE6: [u8; 16] = [0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];
const TARGET6: [u8; 16] = [0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2];

impl Flow {
    fn l3(&self) -> usize {
        14 + 4 * self.tags
    }

    fn l4(&self) -> usize {
        self.l3() + if self.v6 { 40 } else { 20 }
    }

    fn headers(&self) -> usize {
        self.l4() + if self.tcp { 20 + self.options.len() } else { 8 }
    }

    /// The segment of this number, which begins at this octet of the payload, as etherparse makes it.
    fn frame(&self, number: u16, begins: u32, flags: Flags, payload: &[u8]) -> Vec<u8> {
        let mut frame = vec![2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1];
        for tag in 0..self.tags {
            let ethertype = if tag + 1 < self.tags { [0x88, 0xa8] } else { [0x81, 0x00] };
            frame.extend([ethertype, [0, 5 + tag as u8]].concat());
        }
        frame.extend(if self.v6 { [0x86, 0xdd] } else { [0x08, 0x00] });
        let protocol = if self.tcp { IpNumber::TCP } else { IpNumber::UDP };
        let len = (self.headers() - self.l4() + payload.len()) as u16;
        let mut ipv4 = Ipv4Header::new(len, 64, protocol, SOURCE, TARGET).unwrap();
        ipv4.identification = self.id.wrapping_add(number);
        ipv4.dont_fragment = true;
        ipv4.header_checksum = ipv4.calc_header_checksum();
        let ipv6 = Ipv6Header {
            traffic_class: 0x20,
            flow_label: 0x12345.try_into().unwrap(),
            payload_length: len,
            next_header: protocol,
            hop_limit: 64,
            source: SOURCE6,
            destination: TARGET6,
        };
        if self.v6 {
            frame.extend(ipv6.to_bytes());
        } else {
            frame.extend(ipv4.to_bytes());
        }
        if self.tcp {
            let sequence = self.sequence.wrapping_add(begins);
            let mut tcp = TcpHeader::new(self.port, 80, sequence, 500);
            (tcp.ack, tcp.ece, tcp.acknowledgment_number) = (true, self.ece, 77);
            (tcp.psh, tcp.fin, tcp.cwr) = (flags.push, flags.fin, flags.cwr);
            tcp.set_options_raw(&self.options).unwrap();
            let checksum = if self.v6 {
                tcp.calc_checksum_ipv6(&ipv6, payload)
            } else {
                tcp.calc_checksum_ipv4(&ipv4, payload)
            };
            tcp.checksum = checksum.unwrap();
            frame.extend(tcp.to_bytes());
        } else {
            let udp = if self.v6 {
                UdpHeader::with_ipv6_checksum(self.port, 53, &ipv6, payload)
            } else {
                UdpHeader::with_ipv4_checksum(self.port, 53, &ipv4, payload)
            };
            frame.extend(udp.unwrap().to_bytes());
        }
        frame.extend(payload);
        frame
    }

    fn segmentation(&self, ecn: bool) -> Segmentation {
        match (self.tcp, self.v6) {
            (true, false) => Segmentation::Tcp4 { ecn },
            (true, true) => Segmentation::Tcp6 { ecn },
            (false, _) => Segmentation::Udp,
        }
    }

    fn checksum(&self) -> MissingChecksum {
        let offset = if self.tcp { 16 } else { 6 };
        MissingChecksum { start: self.l4() as u16, offset }
    }

    /// The same as it comes from the tap, its checksum being that of the pseudo-header alone.
    fn tapped(
        &self,
        mut frame: Vec<u8>,
        segment_len: Option<usize>,
        cwr: bool,
    ) -> (VnetHeader, Vec<u8>) {
        let l4 = self.l4();
        let mut sum = (frame.len() - l4) as u32 + if self.tcp { 6 } else { 17 };
        let addresses = if self.v6 { self.l3() + 8..l4 } else { self.l3() + 12..l4 };
        for pair in frame[addresses].chunks(2) {
            sum += u32::from(u16::from_be_bytes([pair[0], pair[1]]));
        }
        while sum > 0xffff {
            sum = (sum & 0xffff) + (sum >> 16);
        }
        let checksum = self.checksum();
        let at = l4 + usize::from(checksum.offset);
        frame[at..at + 2].copy_from_slice(&(sum as u16).to_be_bytes());
        let header = VnetHeader::of(&Offload {
            segmentation: segment_len.map_or(Segmentation::None, |_| self.segmentation(cwr)),
            segment_len: segment_len.unwrap_or(0) as u16,
            headers_len: self.headers() as u16,
            checksum: Some(checksum),
        });
        (header, frame)
    }

    /// The frames that a payload makes, as etherparse makes them.
    fn frames(&self, payload: &[u8], segment_len: usize, flags: Flags) -> Vec<Vec<u8>> {
        let count = payload.len().div_ceil(segment_len);
        let segments = payload.chunks(segment_len).enumerate();
        let frames = segments.map(|(number, segment)| {
            let is_last = number + 1 == count;
            let flags = Flags {
                push: flags.push && is_last,
                fin: flags.fin && is_last,
                cwr: flags.cwr && number == 0,
            };
            self.frame(number as u16, (number * segment_len) as u32, flags, segment)
        });
        frames.collect()
    }
}

/// All that a frame from the tap becomes.
fn cut(header: &VnetHeader, frame: &[u8]) -> Vec<Vec<u8>> {
    let mut pieces = Pieces::of(header, frame).unwrap();
    let mut into = FrameBuf::new(FRAME_MAX);
    let mut all = Vec::new();
    while let Some(outcome) = pieces.next(frame, &mut into) {
        outcome.unwrap();
        all.push(into.octets().to_vec());
    }
    assert!(pieces.is_done());
    all
}

/// What the tap gets for a batch: header, frame, and how many frames it says it is.
fn joined(frames: &[Vec<u8>], datagrams: JoinedDatagrams) -> Vec<(VnetHeader, Vec<u8>, u64)> {
    let mut buffers: Vec<FrameBuf> = frames
        .iter()
        .map(|frame| {
            let mut buffer = FrameBuf::new(FRAME_MAX);
            buffer.fill(frame).unwrap();
            buffer
        })
        .collect();
    let mut all = Vec::new();
    Coalescer::new(datagrams).deliver(&mut buffers, |pieces, count| {
        let octets = pieces.iter().flat_map(|piece| piece.iter().copied()).collect::<Vec<_>>();
        let (header, frame) = octets.split_at(VNET_HEADER_LEN);
        all.push((VnetHeader(header.try_into().unwrap()), frame.to_vec(), count));
    });
    all
}

fn flow() -> impl Strategy<Value = Flow> {
    let options = proptest::collection::vec(any::<[u8; 4]>(), 0..=10);
    (any::<[bool; 3]>(), 0..3_usize, 1000..1004_u16, options, any::<u16>(), any::<u32>()).prop_map(
        |([v6, tcp, ece], tags, port, options, id, sequence)| Flow {
            v6,
            tcp,
            tags,
            port,
            options: options.concat(),
            id,
            sequence,
            ece,
        },
    )
}

fn flags() -> impl Strategy<Value = Flags> {
    any::<[bool; 3]>().prop_map(|[push, fin, cwr]| Flags { push, fin, cwr })
}

fn payload(max: usize) -> impl Strategy<Value = Vec<u8>> {
    (1..max, any::<u8>()).prop_map(|(len, seed)| {
        (0..len).map(|at| (at / 251).wrapping_mul(7) as u8 ^ at as u8 ^ seed).collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn a_joined_frame_is_cut_into_the_frames_that_another_library_makes(
        flow in flow(), flags in flags(), payload in payload(20_000), segment_len in 1..1380_usize,
    ) {
        let segment_len = segment_len.max(payload.len() / 200);
        let expected = flow.frames(&payload, segment_len, flags);
        let cwr = flags.cwr && flow.tcp;
        let (header, frame) = flow.tapped(flow.frame(0, 0, flags, &payload), Some(segment_len), cwr);
        prop_assert_eq!(cut(&header, &frame), expected);
    }

    #[test]
    fn a_single_frame_gets_its_checksum_and_nothing_else(
        flow in flow(), flags in flags(), payload in payload(1380),
    ) {
        let whole = flow.frame(0, 0, flags, &payload);
        let (header, frame) = flow.tapped(whole.clone(), None, false);
        prop_assert_eq!(cut(&header, &frame), [whole.clone()]);
        prop_assert_eq!(cut(&VnetHeader::WHOLE, &whole), [whole]);
    }

    #[test]
    fn a_run_of_one_flow_is_one_frame_that_is_cut_into_the_same_frames(
        flow in flow(), flags in flags(), payload in payload(20_000), segment_len in 400..1380_usize,
    ) {
        let frames = flow.frames(&payload, segment_len, flags);
        let all = joined(&frames, JoinedDatagrams::Known);
        // A first segment that is also the last goes on as it is.
        prop_assert_eq!(all.len(), 1);
        let (header, frame, count) = &all[0];
        prop_assert_eq!(*count, frames.len() as u64);
        let offload = header.offload();
        if frames.len() > 1 {
            prop_assert_eq!(offload.segmentation, flow.segmentation(flags.cwr && flow.tcp));
            prop_assert_eq!(usize::from(offload.headers_len), flow.headers());
            let (expected_header, expected) =
                flow.tapped(flow.frame(0, 0, flags, &payload), Some(segment_len), flags.cwr && flow.tcp);
            prop_assert_eq!((header, frame), (&expected_header, &expected));
        }
        prop_assert_eq!(cut(header, frame), frames);
    }

    /// Flows that mingle, in frames of which some are damaged, missing, repeated or changed.
    #[test]
    fn whatever_is_joined_is_cut_into_the_same_frames_in_the_order_of_each_flow(
        flows in proptest::collection::vec((flow(), flags(), payload(9_000), 100..1380_usize), 1..12),
        order in proptest::collection::vec(any::<u32>(), BATCH_MAX),
        faults in proptest::collection::vec((any::<u8>(), any::<u16>(), any::<u8>()), BATCH_MAX),
        known in any::<bool>(),
    ) {
        let mut queues: Vec<_> = flows
            .iter()
            .map(|(flow, flags, payload, len)| flow.frames(payload, *len, *flags).into_iter())
            .collect();
        let mut batch: Vec<Vec<u8>> = Vec::new();
        for (pick, (fault, place, octet)) in order.into_iter().zip(faults) {
            let at = pick as usize % queues.len();
            let Some(mut frame) = queues[at].next() else { continue };
            let place = usize::from(place) % frame.len();
            match fault {
                0..16 => frame[place] ^= octet,
                16..24 => continue,
                24..32 => batch.push(frame.clone()),
                32..36 => frame.truncate(place + 1),
                36..40 => frame.resize(frame.len() + 5, 0),
                _ => {}
            }
            batch.push(frame);
        }
        batch.truncate(BATCH_MAX);
        let known = if known { JoinedDatagrams::Known } else { JoinedDatagrams::Unknown };
        let mut after = Vec::new();
        for (header, frame, count) in joined(&batch, known) {
            let frames = cut(&header, &frame);
            prop_assert_eq!(frames.len() as u64, count);
            if count > 1 {
                // All of them sound, by the other library's word.
                for frame in &frames {
                    prop_assert!(is_sound(frame), "{:02x?}", frame);
                }
            }
            after.extend(frames);
        }
        // Stable, so that the order within a flow counts.
        let key = |frame: &Vec<u8>| flow_key(frame);
        batch.sort_by_key(key);
        after.sort_by_key(key);
        prop_assert!(after == batch, "{} and {} frames", after.len(), batch.len());
    }

    /// The system is trusted, and yet no octet of what it says may stop the thread.
    #[test]
    fn nonsense_is_refused_or_passed_on_and_never_panics(
        flow in flow(), payload in payload(3000), cuts in any::<[u8; 10]>(), mask in any::<u16>(),
        place in any::<u16>(), octet in any::<u8>(), len in any::<u16>(),
    ) {
        let (VnetHeader(mut header), mut frame) =
            flow.tapped(flow.frame(0, 0, Flags::default(), &payload), Some(500), false);
        for (at, octet) in cuts.into_iter().enumerate() {
            if mask >> at & 1 == 1 {
                header[at] = octet;
            }
        }
        let place = usize::from(place) % 80.min(frame.len());
        frame[place] ^= octet;
        if mask >> 10 & 1 == 1 {
            frame.truncate(usize::from(len) % (frame.len() + 1));
        }
        let mut into = FrameBuf::new(FRAME_MAX);
        if let Ok(mut pieces) = Pieces::of(&VnetHeader(header), &frame) {
            while pieces.next(&frame, &mut into).is_some() {
                prop_assert!(into.len() <= FRAME_MAX);
            }
        }
        frame.truncate(FRAME_MAX);
        let passed = joined(&[frame.clone(), frame.clone()], JoinedDatagrams::Known);
        let octets: usize = passed.iter().map(|(_, frame, _)| frame.len()).sum();
        prop_assert!(passed.len() == 2 || octets < 2 * frame.len() || frame.is_empty());
    }
}

/// What tells the flow of a frame: stations, VLANs, addresses and ports. Empty where it has none.
fn flow_key(frame: &[u8]) -> Vec<u8> {
    use etherparse::{NetSlice, SlicedPacket, TransportSlice};
    let Ok(packet) = SlicedPacket::from_ethernet(frame) else { return Vec::new() };
    let addresses = match &packet.net {
        Some(NetSlice::Ipv4(ip)) => [ip.header().source(), ip.header().destination()].concat(),
        Some(NetSlice::Ipv6(ip)) => [ip.header().source(), ip.header().destination()].concat(),
        _ => return Vec::new(),
    };
    let ports = match &packet.transport {
        Some(TransportSlice::Tcp(tcp)) => [6, tcp.source_port(), tcp.destination_port()],
        Some(TransportSlice::Udp(udp)) => [17, udp.source_port(), udp.destination_port()],
        _ => return Vec::new(),
    };
    let stations = &frame[..14 + 4 * packet.link_exts.len()];
    [stations, &addresses, &ports.map(u16::to_be_bytes).concat()].concat()
}

fn is_sound(frame: &[u8]) -> bool {
    use etherparse::{NetSlice, SlicedPacket, TransportSlice};
    let packet = SlicedPacket::from_ethernet(frame).unwrap();
    match (packet.net.unwrap(), packet.transport.unwrap()) {
        (NetSlice::Ipv4(ip), TransportSlice::Tcp(tcp)) => {
            let header = ip.header().to_header();
            header.header_checksum == header.calc_header_checksum()
                && tcp.calc_checksum_ipv4(header.source, header.destination).unwrap()
                    == tcp.checksum()
        }
        (NetSlice::Ipv6(ip), TransportSlice::Tcp(tcp)) => {
            let (source, target) = (ip.header().source(), ip.header().destination());
            tcp.calc_checksum_ipv6(source, target).unwrap() == tcp.checksum()
        }
        (NetSlice::Ipv4(ip), TransportSlice::Udp(udp)) => {
            let header = ip.header().to_header();
            let of_udp = udp.to_header();
            header.header_checksum == header.calc_header_checksum()
                && of_udp.calc_checksum_ipv4(&header, udp.payload()).unwrap() == of_udp.checksum
        }
        (NetSlice::Ipv6(ip), TransportSlice::Udp(udp)) => {
            let of_udp = udp.to_header();
            of_udp.calc_checksum_ipv6(&ip.header().to_header(), udp.payload()).unwrap()
                == of_udp.checksum
        }
        _ => false,
    }
}

fn stream() -> Flow {
    let options = vec![1, 1, 8, 10, 0, 0, 0, 1, 0, 0, 0, 2];
    Flow { v6: false, tcp: true, tags: 0, port: 1000, options, id: 7, sequence: 9, ece: false }
}

/// Each change of the second frame that keeps it from being joined to the first.
#[test]
fn what_differs_in_a_field_that_cutting_copies_is_not_joined() {
    let frames = stream().frames(&[5; 300], 100, Flags::default());
    let delivered = |frames: &[Vec<u8>]| {
        let all = joined(frames, JoinedDatagrams::Known);
        all.into_iter().map(|(_, _, count)| count).collect::<Vec<_>>()
    };
    assert_eq!(delivered(&frames), [3]);
    let changed = |flow: Flow| {
        let mut frames = frames.clone();
        frames[1] = flow.frame(1, 100, Flags::default(), &[5; 100]);
        delivered(&frames)
    };
    assert_eq!(changed(stream()), [3]);
    assert_eq!(changed(Flow { ece: true, ..stream() }), [1, 1, 1]);
    assert_eq!(changed(Flow { sequence: 10, ..stream() }), [1, 1, 1]);
    assert_eq!(changed(Flow { id: 8, ..stream() }), [1, 1, 1]);
    let options = vec![1, 1, 8, 10, 0, 0, 0, 2, 0, 0, 0, 2];
    assert_eq!(changed(Flow { options, ..stream() }), [1, 1, 1]);
    // Of another port it is another flow, around which the first does not go on either.
    assert_eq!(changed(Flow { port: 1001, ..stream() }).iter().sum::<u64>(), 3);

    // PSH ends a frame, as the system's reader may wait for it; what comes after begins another.
    let mut pushed = frames.clone();
    pushed[1] = stream().frame(1, 100, Flags { push: true, ..Flags::default() }, &[5; 100]);
    assert_eq!(delivered(&pushed), [2, 1]);
    // CWR is on the first only.
    let mut reduced = frames.clone();
    reduced[1] = stream().frame(1, 100, Flags { cwr: true, ..Flags::default() }, &[5; 100]);
    assert_eq!(delivered(&reduced), [1, 2]);
}

/// It stands as it is in TCP; in UDP it would mean that there is none.
#[test]
fn a_checksum_that_comes_to_nothing_is_written_as_its_protocol_wants_it() {
    for (v6, tcp) in [(false, false), (false, true), (true, false), (true, true)] {
        let flow =
            Flow { v6, tcp, tags: 0, port: 1000, options: vec![], id: 0, sequence: 0, ece: false };
        let at = flow.l4() + if tcp { 16 } else { 6 };
        let sum = |payload: &[u8]| flow.frame(0, 0, Flags::default(), payload)[at..at + 2].to_vec();
        let first = sum(&[0; 600]);
        let second = [first.clone(), vec![0; 598]].concat();
        let expected = if tcp { [0, 0] } else { [0xff, 0xff] };
        assert_eq!(sum(&second), expected);

        let whole = flow.frame(0, 0, Flags::default(), &second);
        let (header, frame) = flow.tapped(whole.clone(), None, false);
        assert_eq!(cut(&header, &frame), [whole]);
        let frames = flow.frames(&second, 600, Flags::default());
        let joined = flow.tapped(flow.frame(0, 0, Flags::default(), &second), Some(600), false);
        assert_eq!(cut(&joined.0, &joined.1), frames);
    }
}

#[test]
fn a_damaged_frame_goes_on_alone_so_that_the_system_sees_its_checksum() {
    let frames = stream().frames(&[5; 400], 100, Flags::default());
    for damaged in 0..frames.len() {
        let mut batch = frames.clone();
        *batch[damaged].last_mut().unwrap() ^= 1;
        let all = joined(&batch, JoinedDatagrams::Known);
        let alone = all.iter().find(|(_, frame, _)| *frame == batch[damaged]).unwrap();
        assert_eq!((alone.0, alone.2), (VnetHeader::WHOLE, 1), "{damaged}");
    }
}

#[test]
fn datagrams_are_joined_only_where_the_system_takes_them() {
    let flow = Flow { tcp: false, options: Vec::new(), ..stream() };
    let frames = flow.frames(&[5; 250], 100, Flags::default());
    assert_eq!(joined(&frames, JoinedDatagrams::Known).len(), 1);
    assert_eq!(joined(&frames, JoinedDatagrams::Unknown).len(), 3);
    // Without a checksum there is nothing to tell a sound one by.
    let mut bare = frames;
    for frame in &mut bare {
        frame[40..42].fill(0);
    }
    assert_eq!(joined(&bare, JoinedDatagrams::Known).len(), 3);
}

#[test]
fn a_joined_frame_stays_within_the_length_that_ip_can_say() {
    let frames = stream().frames(&[5; 64 * 1400], 1400, Flags::default());
    let all = joined(&frames, JoinedDatagrams::Known);
    assert_eq!(all.iter().map(|(_, _, count)| *count).collect::<Vec<_>>(), [46, 18]);
    assert!(all[0].1.len() <= 0xffff);
}

#[test]
fn pieces_go_to_the_tap_as_they_lie() {
    let frames = stream().frames(&[5; 300], 100, Flags::default());
    let mut buffers: Vec<FrameBuf> = Vec::new();
    for frame in &frames {
        let mut buffer = FrameBuf::new(FRAME_MAX);
        buffer.fill(frame).unwrap();
        buffers.push(buffer);
        buffers.push(FrameBuf::new(FRAME_MAX));
    }
    let mut lengths = Vec::new();
    Coalescer::new(JoinedDatagrams::Known).deliver(&mut buffers, |pieces: &[IoSlice<'_>], _| {
        lengths.extend(pieces.iter().map(|piece| piece.len()));
    });
    assert_eq!(lengths, [VNET_HEADER_LEN, frames[0].len(), 100, 100]);
}
