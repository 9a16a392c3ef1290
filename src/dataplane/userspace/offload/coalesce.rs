//! In: frames of one flow are handed to the tap as one.
//!
//! What is joined is what would be cut into the very same frames again, by the rules that the
//! system itself has for it (GRO). Each checksum is looked at before: a frame with a wrong one goes
//! on alone, because joining would replace it with a right one. The ICV says that nobody between
//! the two SecYs changed the frame, not that it was sound when it came to the first.

use std::io::IoSlice;

use super::checksum::Sum;
use super::headers::{
    IPV4_LEN, IPV6_LEN, Ip, Transport, UDP_LEN, ip, ipv4, ipv6, long, octet, put, tcp, tcp_len,
    udp, word,
};
use crate::secy::FrameBuf;
use crate::sys::{BATCH_MAX, JoinedDatagrams, MissingChecksum, Offload, Segmentation, VnetHeader};

/// The flows that are being joined at a time. With more in one batch, the oldest goes first.
const CHAINS_MAX: usize = 8;
/// The octets of a joined frame: the length fields of IP have 16 bits.
const JOINED_MAX: usize = 0xffff;
/// The datagrams in a joined frame, as the system takes them (UDP_MAX_SEGMENTS, at its lowest).
const DATAGRAMS_MAX: usize = 64;

/// Joins the frames of a batch. Nothing is kept from one batch to the next: a lone frame goes on at
/// once.
#[derive(Debug)]
pub(in super::super) struct Coalescer {
    datagrams: JoinedDatagrams,
    /// Those that may still grow, in the order of their first frames.
    open: Vec<Chain>,
    /// Those that go on, in this order.
    ready: Vec<Chain>,
    /// For each frame of the batch the next one of its chain.
    next: [usize; BATCH_MAX],
}

/// Frames that go on as one.
#[derive(Clone, Copy, Debug)]
struct Chain {
    /// The first of them, the last, and how many there are.
    head: usize,
    tail: usize,
    count: usize,
    shape: Shape,
    /// The octets of payload in all of them.
    payload: usize,
    /// Whether the checksums of the first have been looked at.
    checked: bool,
}

/// A frame as far as joining is concerned.
#[derive(Clone, Copy, Debug)]
struct Shape {
    ip: Ip,
    transport: Transport,
    l3: usize,
    l4: usize,
    /// Where the payload begins.
    payload: usize,
    payload_len: usize,
    /// Whether it may be joined with others at all, and whether it may be before the last.
    joinable: bool,
    ends: bool,
}

impl Coalescer {
    pub(in super::super) fn new(datagrams: JoinedDatagrams) -> Self {
        Self {
            datagrams,
            open: Vec::with_capacity(CHAINS_MAX),
            ready: Vec::with_capacity(BATCH_MAX),
            next: [0; BATCH_MAX],
        }
    }

    /// Hands the frames of a batch on, joined where they can be, in the order of each flow. Empty
    /// buffers are passed over, and so is what is past [`BATCH_MAX`].
    ///
    /// `deliver` gets the pieces of each: the header for the tap first, and how many frames it is.
    pub(in super::super) fn deliver(
        &mut self,
        frames: &mut [FrameBuf],
        mut deliver: impl FnMut(&[IoSlice<'_>], u64),
    ) {
        for at in 0..frames.len().min(BATCH_MAX) {
            self.sort(frames, at);
        }
        self.ready.append(&mut self.open);
        for chain in self.ready.drain(..) {
            let header = if chain.count > 1 {
                let last = frames.get(chain.tail).map(FrameBuf::octets).unwrap_or_default();
                let flags = octet(last, chain.shape.l4 + tcp::FLAGS).unwrap_or_default();
                let head = frames.get_mut(chain.head).map(FrameBuf::octets_mut).unwrap_or_default();
                // All fields lie in headers that were found whole.
                chain.join(head, flags).unwrap_or(VnetHeader::WHOLE)
            } else {
                VnetHeader::WHOLE
            };
            let mut pieces = [IoSlice::new(&[]); 1 + BATCH_MAX];
            let mut at = chain.head;
            let mut skip = 0;
            let count = 1 + chain.count;
            for (number, piece) in pieces.iter_mut().take(count).enumerate() {
                if number == 0 {
                    *piece = IoSlice::new(&header.0);
                    continue;
                }
                let octets = frames.get(at).map(FrameBuf::octets).unwrap_or_default();
                *piece = IoSlice::new(octets.get(skip..).unwrap_or_default());
                skip = chain.shape.payload;
                at = self.next.get(at).copied().unwrap_or_default();
            }
            deliver(pieces.get(..count).unwrap_or_default(), chain.count as u64);
        }
    }

    /// Puts a frame where it belongs: behind others of its flow, or on its own.
    fn sort(&mut self, frames: &[FrameBuf], at: usize) {
        let frame = octets_of(frames, at);
        if frame.is_empty() {
            return;
        }
        let Some(shape) = Shape::of(frame, self.datagrams) else {
            // It may be of any flow: a fragment, for one. So all that came before goes before.
            self.ready.append(&mut self.open);
            self.ready.push(Chain::of(at, Shape::OTHER));
            return;
        };
        let same_flow =
            |chain: &Chain| shape.is_of_flow(frame, &chain.shape, octets_of(frames, chain.head));
        let chain = Chain::of(at, shape);
        if let Some(place) = self.open.iter().position(same_flow) {
            let mut before = self.open.remove(place);
            match before.follow(frames, &chain) {
                Follows::Yes => {
                    if let Some(next) = self.next.get_mut(before.tail) {
                        *next = at;
                    }
                    before.tail = at;
                    before.count += 1;
                    before.payload += shape.payload_len;
                    if shape.ends
                        || before.is_full()
                        || shape.payload_len < before.shape.payload_len
                    {
                        self.ready.push(before);
                    } else {
                        // Back to its place, as the order is that of the first frames.
                        self.open.insert(place, before);
                    }
                    return;
                }
                Follows::No => self.ready.push(before),
                Follows::Wrong => {
                    self.ready.push(before);
                    self.ready.push(chain);
                    return;
                }
            }
        }
        if !shape.joinable || shape.ends {
            self.ready.push(chain);
            return;
        }
        if self.open.len() >= CHAINS_MAX {
            let oldest = self.open.remove(0);
            self.ready.push(oldest);
        }
        self.open.push(chain);
    }
}

fn octets_of(frames: &[FrameBuf], at: usize) -> &[u8] {
    frames.get(at).map(FrameBuf::octets).unwrap_or_default()
}

/// Whether a frame can be the next one of a chain.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Follows {
    Yes,
    No,
    /// A checksum of it is wrong.
    Wrong,
}

impl Chain {
    const fn of(at: usize, shape: Shape) -> Self {
        Self { head: at, tail: at, count: 1, shape, payload: shape.payload_len, checked: false }
    }

    fn is_full(&self) -> bool {
        self.shape.transport == Transport::Udp && self.count >= DATAGRAMS_MAX
    }

    fn follow(&mut self, frames: &[FrameBuf], next: &Self) -> Follows {
        let (head, frame) = (octets_of(frames, self.head), octets_of(frames, next.head));
        if self.continues(head, frame, &next.shape) != Some(true) {
            return Follows::No;
        }
        // Of a frame that stays alone the system looks at the checksums, and nobody here does.
        if !self.checked && !self.shape.is_sound(head) {
            return Follows::No;
        }
        self.checked = true;
        if next.shape.is_sound(frame) { Follows::Yes } else { Follows::Wrong }
    }

    /// Tells whether a frame of the flow is what cutting up would make after those before it.
    fn continues(&self, head: &[u8], frame: &[u8], shape: &Shape) -> Option<bool> {
        let Shape { l3, l4, .. } = self.shape;
        let same = |range: std::ops::Range<usize>| head.get(range.clone()) == frame.get(range);
        let lengths = shape.joinable
            && (l3, l4, self.shape.payload) == (shape.l3, shape.l4, shape.payload)
            && shape.payload_len <= self.shape.payload_len
            && shape.payload + self.payload + shape.payload_len <= JOINED_MAX;
        if !lengths {
            return Some(false);
        }
        let ip = match shape.ip {
            Ip::V4 => {
                let passed = u16::try_from(self.count).ok()?;
                let id = word(head, l3 + ipv4::ID)?.wrapping_add(passed);
                word(frame, l3 + ipv4::ID)? == id
                    && same(l3..l3 + ipv4::LENGTH)
                    && same(l3 + ipv4::FRAGMENT..l3 + ipv4::CHECKSUM)
            }
            Ip::V6 => same(l3..l3 + ipv6::LENGTH) && same(l3 + ipv6::NEXT..l3 + ipv6::ADDRESSES),
        };
        let transport = match shape.transport {
            Transport::Tcp => {
                let passed = u32::try_from(self.payload).ok()?;
                let sequence = long(head, l4 + tcp::SEQUENCE)?.wrapping_add(passed);
                let flags = octet(frame, l4 + tcp::FLAGS)?;
                // The first may have CWR, and none after it; the last may have PSH and FIN.
                let differ = octet(head, l4 + tcp::FLAGS)? ^ flags;
                long(frame, l4 + tcp::SEQUENCE)? == sequence
                    && flags & tcp::CWR == 0
                    && differ & !(tcp::CWR | tcp::PSH | tcp::FIN) == 0
                    && same(l4 + tcp::ACKNOWLEDGED..l4 + tcp::FLAGS)
                    && same(l4 + tcp::WINDOW..l4 + tcp::CHECKSUM)
                    && same(l4 + tcp::URGENT..shape.payload)
            }
            Transport::Udp => true,
        };
        Some(ip && transport)
    }

    /// Turns the headers of the first frame into those of all, and says what the tap is to be told.
    /// `flags` are those of the last segment.
    fn join(&self, head: &mut [u8], flags: u8) -> Option<VnetHeader> {
        let Shape { l3, l4, payload, .. } = self.shape;
        let len = payload + self.payload;
        let mut ecn = false;
        match self.shape.ip {
            Ip::V4 => {
                put(head, l3 + ipv4::LENGTH, u16::try_from(len - l3).ok()?.to_be_bytes())?;
                put(head, l3 + ipv4::CHECKSUM, [0; 2])?;
                let sum = Sum::default().octets(head.get(l3..l4)?);
                put(head, l3 + ipv4::CHECKSUM, sum.checksum())?;
            }
            Ip::V6 => {
                let length = u16::try_from(len - l3 - IPV6_LEN).ok()?;
                put(head, l3 + ipv6::LENGTH, length.to_be_bytes())?;
            }
        }
        let length = u16::try_from(len - l4).ok()?;
        match self.shape.transport {
            Transport::Tcp => {
                let own = octet(head, l4 + tcp::FLAGS)?;
                ecn = own & tcp::CWR != 0;
                put(head, l4 + tcp::FLAGS, [own | flags & (tcp::PSH | tcp::FIN)])?;
            }
            Transport::Udp => put(head, l4 + udp::LENGTH, length.to_be_bytes())?,
        }
        let offset = self.shape.transport.checksum();
        let sum = self.shape.pseudo_header(head)?.word(length);
        put(head, l4 + offset, sum.folded())?;
        let segmentation = match (self.shape.transport, self.shape.ip) {
            (Transport::Tcp, Ip::V4) => Segmentation::Tcp4 { ecn },
            (Transport::Tcp, Ip::V6) => Segmentation::Tcp6 { ecn },
            (Transport::Udp, Ip::V4 | Ip::V6) => Segmentation::Udp,
        };
        let checksum =
            MissingChecksum { start: u16::try_from(l4).ok()?, offset: u16::try_from(offset).ok()? };
        Some(VnetHeader::of(&Offload {
            segmentation,
            segment_len: u16::try_from(self.shape.payload_len).ok()?,
            headers_len: u16::try_from(payload).ok()?,
            checksum: Some(checksum),
        }))
    }
}

impl Shape {
    /// Of a frame that is never looked into.
    const OTHER: Self = Self {
        ip: Ip::V4,
        transport: Transport::Udp,
        l3: 0,
        l4: 0,
        payload: 0,
        payload_len: 0,
        joinable: false,
        ends: true,
    };

    /// Looks at a frame; `None` where its flow cannot be told.
    fn of(frame: &[u8], datagrams: JoinedDatagrams) -> Option<Self> {
        /// The bits of the fragment field that say that there are others, and the reserved one.
        const FRAGMENTED: u16 = 0xbfff;
        let (ip, l3) = ip(frame)?;
        let (l4, protocol, len) = match ip {
            // No options, which are left alone as the system leaves them alone.
            Ip::V4
                if octet(frame, l3)? == 0x45
                    && word(frame, l3 + ipv4::FRAGMENT)? & FRAGMENTED == 0 =>
            {
                let len = l3 + usize::from(word(frame, l3 + ipv4::LENGTH)?);
                (l3 + IPV4_LEN, octet(frame, l3 + ipv4::PROTOCOL)?, len)
            }
            Ip::V6 if octet(frame, l3)? >> 4 == 6 => {
                let len = l3 + IPV6_LEN + usize::from(word(frame, l3 + ipv6::LENGTH)?);
                (l3 + IPV6_LEN, octet(frame, l3 + ipv6::NEXT)?, len)
            }
            Ip::V4 | Ip::V6 => return None,
        };
        let transport = Transport::of(protocol)?;
        let (payload, may, ends) = match transport {
            Transport::Tcp => {
                let flags = octet(frame, l4 + tcp::FLAGS)?;
                let allowed = tcp::ACK | tcp::PSH | tcp::FIN | tcp::ECE | tcp::CWR;
                let data = flags & tcp::ACK != 0 && flags & !allowed == 0;
                (l4 + tcp_len(frame, l4)?, data, flags & (tcp::PSH | tcp::FIN) != 0)
            }
            Transport::Udp => {
                let whole = l4 + usize::from(word(frame, l4 + udp::LENGTH)?) == len;
                let summed = word(frame, l4 + udp::CHECKSUM)? != 0;
                (l4 + UDP_LEN, whole && summed && datagrams == JoinedDatagrams::Known, false)
            }
        };
        // With padding behind, or cut short, it is nothing that cutting up makes.
        let joinable = may && len == frame.len() && payload < len;
        let payload_len = len.saturating_sub(payload);
        Some(Self { ip, transport, l3, l4, payload, payload_len, joinable, ends })
    }

    /// Tells whether two frames are of one flow: of the same stations, VLANs, addresses and ports.
    fn is_of_flow(&self, frame: &[u8], other: &Self, of_other: &[u8]) -> bool {
        const PORTS_LEN: usize = 4;
        let Self { ip, transport, l3, l4, .. } = *self;
        let addresses = l3
            + match ip {
                Ip::V4 => ipv4::ADDRESSES,
                Ip::V6 => ipv6::ADDRESSES,
            };
        (ip, transport, l3, l4) == (other.ip, other.transport, other.l3, other.l4)
            && frame.get(addresses..l4 + PORTS_LEN) == of_other.get(addresses..l4 + PORTS_LEN)
            && frame.get(..l3) == of_other.get(..l3)
    }

    /// Tells whether the checksums of a frame are right.
    fn is_sound(&self, frame: &[u8]) -> bool {
        let Self { l3, l4, .. } = *self;
        let header = match self.ip {
            Ip::V4 => Sum::default().octets(frame.get(l3..l4).unwrap_or_default()).is_right(),
            Ip::V6 => true,
        };
        let rest = frame.get(l4..).unwrap_or_default();
        let (Some(sum), Ok(length)) = (self.pseudo_header(frame), u16::try_from(rest.len())) else {
            return false;
        };
        header && sum.word(length).octets(rest).is_right()
    }

    /// The sum of the pseudo-header but for the length.
    fn pseudo_header(&self, frame: &[u8]) -> Option<Sum> {
        let addresses = match self.ip {
            Ip::V4 => self.l3 + ipv4::ADDRESSES,
            Ip::V6 => self.l3 + ipv6::ADDRESSES,
        };
        let sum = Sum::default().octets(frame.get(addresses..self.l4)?);
        Some(sum.word(self.transport.protocol().into()))
    }
}
