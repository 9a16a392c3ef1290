//! The header that goes with each frame through a tap: `struct virtio_net_hdr`.

/// Its octets.
pub const VNET_HEADER_LEN: usize = 10;

/// What comes with a frame: which of its checksums are missing, and whether it is many in one.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct VnetHeader(pub [u8; VNET_HEADER_LEN]);

/// Of which kind the frames are that are joined in one.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Segmentation {
    /// It is one frame.
    None,
    /// TCP over IPv4; `ecn` where the first of them has the flag CWR.
    Tcp4 {
        /// Whether it has.
        ecn: bool,
    },
    /// TCP over IPv6.
    Tcp6 {
        /// As above.
        ecn: bool,
    },
    /// UDP over either: each segment is a datagram of its own.
    Udp,
    /// A kind that is never asked for.
    Other,
}

/// What a header says.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Offload {
    /// Of which kind the frames are that are joined in this one.
    pub segmentation: Segmentation,
    /// The octets of payload in each of them but the last.
    pub segment_len: u16,
    /// The octets of headers in front of the payload. Of a frame that the system sends, a hint.
    pub headers_len: u16,
    /// The checksum that is missing.
    pub checksum: Option<MissingChecksum>,
}

/// A checksum that stands in the frame only in part: that of the pseudo-header.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct MissingChecksum {
    /// The first octet that it covers, which goes on to the end of the frame.
    pub start: u16,
    /// Where it stands, from there.
    pub offset: u16,
}

/// From linux/virtio_net.h.
const NEEDS_CHECKSUM: u8 = 1;
const GSO_NONE: u8 = 0;
const GSO_TCP4: u8 = 1;
const GSO_TCP6: u8 = 4;
const GSO_UDP: u8 = 5;
const GSO_ECN: u8 = 0x80;

impl VnetHeader {
    /// Of a frame that is whole: complete in its checksums and no longer than the MTU allows.
    pub const WHOLE: Self = Self([0; VNET_HEADER_LEN]);

    /// Tells whether the frame is one frame and complete.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        let Self([flags, segmentation, ..]) = self;
        flags & NEEDS_CHECKSUM == 0 && *segmentation == GSO_NONE
    }

    /// What the header says.
    #[must_use]
    pub fn offload(&self) -> Offload {
        let Self([flags, segmentation, a, b, c, d, e, f, g, h]) = *self;
        let ecn = segmentation & GSO_ECN != 0;
        let segmentation = match segmentation & !GSO_ECN {
            GSO_NONE => Segmentation::None,
            GSO_TCP4 => Segmentation::Tcp4 { ecn },
            GSO_TCP6 => Segmentation::Tcp6 { ecn },
            GSO_UDP => Segmentation::Udp,
            _ => Segmentation::Other,
        };
        let checksum = MissingChecksum {
            start: u16::from_ne_bytes([e, f]),
            offset: u16::from_ne_bytes([g, h]),
        };
        Offload {
            segmentation,
            segment_len: u16::from_ne_bytes([c, d]),
            headers_len: u16::from_ne_bytes([a, b]),
            checksum: (flags & NEEDS_CHECKSUM != 0).then_some(checksum),
        }
    }

    /// The header that says this; [`Segmentation::Other`] cannot be said, and comes out as one frame.
    #[must_use]
    pub fn of(offload: &Offload) -> Self {
        let Offload { segmentation, segment_len, headers_len, checksum } = *offload;
        let mark = |ecn| if ecn { GSO_ECN } else { 0 };
        let kind = match segmentation {
            Segmentation::None | Segmentation::Other => GSO_NONE,
            Segmentation::Tcp4 { ecn } => GSO_TCP4 | mark(ecn),
            Segmentation::Tcp6 { ecn } => GSO_TCP6 | mark(ecn),
            Segmentation::Udp => GSO_UDP,
        };
        let flags = if checksum.is_some() { NEEDS_CHECKSUM } else { 0 };
        let MissingChecksum { start, offset } =
            checksum.unwrap_or(MissingChecksum { start: 0, offset: 0 });
        let [a, b] = headers_len.to_ne_bytes();
        let [c, d] = segment_len.to_ne_bytes();
        let [e, f] = start.to_ne_bytes();
        let [g, h] = offset.to_ne_bytes();
        Self([flags, kind, a, b, c, d, e, f, g, h])
    }

    /// Follows the insertion of a VLAN tag in front of everything that the header points to.
    #[must_use]
    pub fn behind_vlan_tag(self) -> Self {
        const TAG_LEN: u16 = 4;
        let Self([flags, segmentation, a, b, c, d, e, f, g, h]) = self;
        if self.is_whole() {
            return self;
        }
        let later = |offset| u16::from_ne_bytes(offset).wrapping_add(TAG_LEN).to_ne_bytes();
        let ([a, b], [e, f]) = (later([a, b]), later([e, f]));
        Self([flags, segmentation, a, b, c, d, e, f, g, h])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_says_what_it_was_made_from() {
        for segmentation in [
            Segmentation::None,
            Segmentation::Tcp4 { ecn: false },
            Segmentation::Tcp4 { ecn: true },
            Segmentation::Tcp6 { ecn: false },
            Segmentation::Tcp6 { ecn: true },
            Segmentation::Udp,
        ] {
            for checksum in [None, Some(MissingChecksum { start: 34, offset: 16 })] {
                let offload =
                    Offload { segmentation, segment_len: 1416, headers_len: 66, checksum };
                let read = VnetHeader::of(&offload).offload();
                let start = checksum.is_some();
                assert_eq!((read, start), (offload, read.checksum.is_some()));
            }
        }
        // As linux/virtio_net.h has it, on a machine of either order of octets.
        let checksum = Some(MissingChecksum { start: 0x2222, offset: 0x1010 });
        let (segmentation, segment_len) = (Segmentation::Tcp6 { ecn: true }, 0x0505);
        let offload = Offload { segmentation, segment_len, headers_len: 0x4242, checksum };
        let octets = [1, 0x84, 0x42, 0x42, 5, 5, 0x22, 0x22, 0x10, 0x10];
        assert_eq!(VnetHeader::of(&offload), VnetHeader(octets));
        assert_eq!(
            VnetHeader([0, 3, 0, 0, 0, 0, 0, 0, 0, 0]).offload().segmentation,
            Segmentation::Other
        );
    }
}
