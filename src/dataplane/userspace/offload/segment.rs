//! Out: a frame from the tap becomes frames for the wire.

use super::checksum::Sum;
use super::headers::{
    IPV6_LEN, Ip, Transport, UDP_LEN, ip, ipv4, ipv4_len, ipv6, long, octet, put, tcp, tcp_len,
    udp, word,
};
use crate::secy::{FrameBuf, FrameTooLong};
use crate::sys::{MissingChecksum, Segmentation, VnetHeader};

/// What the system says of a frame does not fit the frame.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(in super::super) struct Malformed;

/// The frames that one from the tap becomes, and how far it has become them.
///
/// The octets are not in here: whoever has them passes the same ones to each call.
#[derive(Clone, Copy, Debug)]
pub(in super::super) struct Pieces(Rest);

#[derive(Clone, Copy, Debug)]
enum Rest {
    /// All of it, as it is but for a checksum.
    Whole(Option<MissingChecksum>),
    /// Segments of a stream, or datagrams.
    Joined(Joined),
    Nothing,
}

/// A frame that is many in one.
#[derive(Clone, Copy, Debug)]
struct Joined {
    ip: Ip,
    transport: Transport,
    /// Where the headers begin, from the start of the frame, and where the payload does.
    l3: usize,
    l4: usize,
    payload: usize,
    segment_len: usize,
    /// The segments that have been cut off.
    done: usize,
    /// The sum of the pseudo-header but for the length, which differs from segment to segment.
    pseudo_header: Sum,
}

impl Pieces {
    /// Nothing to be cut.
    pub(in super::super) const NONE: Self = Self(Rest::Nothing);

    /// Tells whether all of it has been cut.
    pub(in super::super) const fn is_done(&self) -> bool {
        matches!(self.0, Rest::Nothing)
    }

    /// Looks at a frame and its header.
    ///
    /// # Errors
    ///
    /// [`Malformed`] where they do not go together, or it is of a kind that is never asked for.
    pub(in super::super) fn of(header: &VnetHeader, frame: &[u8]) -> Result<Self, Malformed> {
        let offload = header.offload();
        let transport = match offload.segmentation {
            Segmentation::None => {
                if let Some(MissingChecksum { start, offset }) = offload.checksum
                    && usize::from(start) + usize::from(offset) + 2 > frame.len()
                {
                    return Err(Malformed);
                }
                return Ok(Self(Rest::Whole(offload.checksum)));
            }
            Segmentation::Tcp4 { .. } | Segmentation::Tcp6 { .. } => Transport::Tcp,
            Segmentation::Udp => Transport::Udp,
            Segmentation::Other => return Err(Malformed),
        };
        // Without a checksum to complete there is nothing that says where the headers lie.
        let checksum = offload.checksum.ok_or(Malformed)?;
        let joined =
            Joined::of(frame, transport, checksum, offload.segment_len.into()).ok_or(Malformed)?;
        let of_version = match offload.segmentation {
            Segmentation::Tcp4 { .. } => joined.ip == Ip::V4,
            Segmentation::Tcp6 { .. } => joined.ip == Ip::V6,
            Segmentation::Udp | Segmentation::None | Segmentation::Other => true,
        };
        if of_version { Ok(Self(Rest::Joined(joined))) } else { Err(Malformed) }
    }

    /// Writes the next frame to a buffer, or leaves it alone and says that there is none.
    ///
    /// `frame` has to be what was looked at.
    ///
    /// # Errors
    ///
    /// [`FrameTooLong`] where the buffer is too small; it is then empty, and the frame left out.
    pub(in super::super) fn next(
        &mut self,
        frame: &[u8],
        into: &mut FrameBuf,
    ) -> Option<Result<(), FrameTooLong>> {
        match self.0 {
            Rest::Nothing => None,
            Rest::Whole(checksum) => {
                self.0 = Rest::Nothing;
                let outcome = into.fill(frame);
                if let (Ok(()), Some(MissingChecksum { start, offset })) = (outcome, checksum) {
                    complete(into.octets_mut(), start.into(), offset.into());
                }
                Some(outcome)
            }
            Rest::Joined(joined) => {
                let outcome = joined.cut(frame, into);
                let next = Joined { done: joined.done + 1, ..joined };
                self.0 = if next.range().start < frame.len() {
                    Rest::Joined(next)
                } else {
                    Rest::Nothing
                };
                Some(outcome)
            }
        }
    }
}

impl Joined {
    fn of(
        frame: &[u8],
        transport: Transport,
        checksum: MissingChecksum,
        segment_len: usize,
    ) -> Option<Self> {
        let (ip, l3) = ip(frame)?;
        let l4 = usize::from(checksum.start);
        let header_fits = match ip {
            Ip::V4 => {
                l3 + ipv4_len(frame, l3)? == l4
                    && octet(frame, l3 + ipv4::PROTOCOL)? == transport.protocol()
            }
            // Extension headers may lie in between; they are the same in each segment.
            Ip::V6 => {
                octet(frame, l3)? >> 4 == 6
                    && l4 >= l3 + IPV6_LEN
                    && (l4 > l3 + IPV6_LEN
                        || octet(frame, l3 + ipv6::NEXT)? == transport.protocol())
            }
        };
        let payload = l4
            + match transport {
                Transport::Tcp => tcp_len(frame, l4)?,
                Transport::Udp => UDP_LEN,
            };
        let checksum_at = transport.checksum();
        if !header_fits
            || usize::from(checksum.offset) != checksum_at
            || segment_len == 0
            || payload >= frame.len()
        {
            return None;
        }
        // What stands there is the sum of the pseudo-header of it all: the length is taken out again.
        let total = u16::try_from(frame.len() - l4).ok()?;
        let pseudo_header = Sum::default().word(word(frame, l4 + checksum_at)?).word(!total);
        Some(Self { ip, transport, l3, l4, payload, segment_len, done: 0, pseudo_header })
    }

    /// The payload of the next segment; it may end behind that of the frame.
    const fn range(&self) -> std::ops::Range<usize> {
        let start = self.payload + self.done * self.segment_len;
        start..start + self.segment_len
    }

    fn cut(&self, frame: &[u8], into: &mut FrameBuf) -> Result<(), FrameTooLong> {
        let range = self.range();
        let is_last = range.end >= frame.len();
        let payload = frame.get(range.start..range.end.min(frame.len())).unwrap_or_default();
        let headers = frame.get(..self.payload).unwrap_or_default();
        let (len, max) = (headers.len() + payload.len(), into.frame_max());
        let room = into.room().get_mut(..len).ok_or(FrameTooLong { len, max })?;
        let (to_headers, to_payload) = room.split_at_mut(headers.len());
        to_headers.copy_from_slice(headers);
        to_payload.copy_from_slice(payload);
        into.set_len(len)?;
        // All fields lie in headers that were found whole.
        let _ = self.finish(into.octets_mut(), is_last);
        Ok(())
    }

    /// Turns the headers into those of this segment.
    fn finish(&self, segment: &mut [u8], is_last: bool) -> Option<()> {
        let Self { l3, l4, done, .. } = *self;
        // Both are less than 2^16, as the octets of the frame are.
        let number = u16::try_from(done).ok()?;
        match self.ip {
            Ip::V4 => {
                let length = u16::try_from(segment.len() - l3).ok()?;
                put(segment, l3 + ipv4::LENGTH, length.to_be_bytes())?;
                let id = word(segment, l3 + ipv4::ID)?.wrapping_add(number);
                put(segment, l3 + ipv4::ID, id.to_be_bytes())?;
                put(segment, l3 + ipv4::CHECKSUM, [0; 2])?;
                let sum = Sum::default().octets(segment.get(l3..l4)?);
                put(segment, l3 + ipv4::CHECKSUM, sum.checksum())?;
            }
            Ip::V6 => {
                let length = u16::try_from(segment.len() - l3 - IPV6_LEN).ok()?;
                put(segment, l3 + ipv6::LENGTH, length.to_be_bytes())?;
            }
        }
        let length = u16::try_from(segment.len() - l4).ok()?;
        match self.transport {
            Transport::Tcp => {
                let passed = u32::try_from(done * self.segment_len).ok()?;
                let sequence = long(segment, l4 + tcp::SEQUENCE)?.wrapping_add(passed);
                put(segment, l4 + tcp::SEQUENCE, sequence.to_be_bytes())?;
                let mut flags = octet(segment, l4 + tcp::FLAGS)?;
                if !is_last {
                    flags &= !(tcp::FIN | tcp::PSH);
                }
                if done > 0 {
                    flags &= !tcp::CWR;
                }
                put(segment, l4 + tcp::FLAGS, [flags])?;
            }
            Transport::Udp => put(segment, l4 + udp::LENGTH, length.to_be_bytes())?,
        }
        let offset = self.transport.checksum();
        put(segment, l4 + offset, self.pseudo_header.word(length).folded())?;
        complete(segment, l4, offset);
        Some(())
    }
}

/// Completes a checksum in whose place the sum of the pseudo-header stands.
fn complete(frame: &mut [u8], start: usize, offset: usize) {
    let sum = Sum::default().octets(frame.get(start..).unwrap_or_default());
    let checksum = match sum.checksum() {
        // Of UDP it would mean that there is none; to the sum both are the same.
        [0, 0] if offset == Transport::Udp.checksum() => [0xff; 2],
        checksum => checksum,
    };
    let _ = put(frame, start + offset, checksum);
}
