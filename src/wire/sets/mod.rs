//! The parameter sets of an MKPDU, all but the first (802.1X-2020 11.11.3).
//!
//! Each set is a header of four octets, a body, and zeros up to a multiple of four. Reserved bits
//! are ignored on receipt and so is what a body has beyond what we know; a body too short for its
//! set, or of a length that it cannot have, is a [`SetFault`].

mod announcement;
mod distributed;
mod peers;
mod sak_use;
mod xpn;

pub use announcement::Announcement;
pub use distributed::{DistributedCak, DistributedSak};
pub use peers::{LivePeerList, PeerEntry};
pub use sak_use::{SakUse, SakUseKey, SakUseSet};
pub use xpn::Xpn;

pub(super) use peers::{decode_potential, encode_potential};

use super::{ICV_LEN, MkpduTooLong};

/// The types of parameter sets (802.1X-2020 11.11).
pub(super) mod kind {
    pub(in crate::wire) const LIVE_PEER_LIST: u8 = 1;
    pub(in crate::wire) const POTENTIAL_PEER_LIST: u8 = 2;
    pub(in crate::wire) const SAK_USE: u8 = 3;
    pub(in crate::wire) const DISTRIBUTED_SAK: u8 = 4;
    pub(in crate::wire) const DISTRIBUTED_CAK: u8 = 5;
    pub(in crate::wire) const KMD: u8 = 6;
    pub(in crate::wire) const ANNOUNCEMENT: u8 = 7;
    pub(in crate::wire) const XPN: u8 = 8;
    pub(in crate::wire) const ICV_INDICATOR: u8 = 255;
}

/// What is wrong with a parameter set.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum SetFault {
    /// Its body runs into the ICV.
    #[error("the body does not fit in front of the ICV")]
    Overrun,
    /// Its body has a length that a set of its type cannot have.
    #[error("the body has an impossible length")]
    Length,
    /// A TLV in it runs past its end, or has a length that it cannot have.
    #[error("a TLV in it has an impossible length")]
    Tlv,
    /// The ICV Indicator does not stand right in front of the ICV.
    #[error("the ICV Indicator is not the last set")]
    NotLast,
}

/// The longest packet body that leaves room for the EAPOL header in 1500 octets.
const BODY_MAX: usize = 1496;
/// The four low bits of a header's third octet: the high bits of the length.
const LENGTH_HIGH: u8 = 0x0f;

/// One set: its header, and its body without the padding.
#[derive(Clone, Copy)]
pub(super) struct RawSet<'a> {
    /// The type; in the first set of an MKPDU, the MKA version.
    pub(super) kind: u8,
    pub(super) octet2: u8,
    /// The four low bits belong to the length.
    pub(super) octet3: u8,
    pub(super) body: &'a [u8],
}

impl<'a> RawSet<'a> {
    /// Takes the first set, and gives what follows its padding; `None` where it does not fit.
    pub(super) fn split_first(input: &'a [u8]) -> Option<(Self, &'a [u8])> {
        let (&[kind, octet2, octet3, octet4], rest) = input.split_first_chunk()?;
        let length = body_length(octet3, octet4);
        let (padded, rest) = rest.split_at_checked(length.next_multiple_of(4))?;
        let body = padded.get(..length)?;
        Some((Self { kind, octet2, octet3, body }, rest))
    }
}

/// Joins the 12 bits of a body length, which count neither header nor padding.
pub(super) fn body_length(octet3: u8, octet4: u8) -> usize {
    usize::from(u16::from_be_bytes([octet3 & LENGTH_HIGH, octet4]))
}

/// Collects sets while they fit one MKPDU with its ICV.
#[derive(Default)]
pub(super) struct SetWriter(Vec<u8>);

impl SetWriter {
    /// Appends a set with its padding.
    pub(super) fn put(
        &mut self,
        [kind, octet2, octet3]: [u8; 3],
        body: &[u8],
    ) -> Result<(), MkpduTooLong> {
        self.put_header([kind, octet2, octet3], body.len(), body.len().next_multiple_of(4))?;
        self.0.extend_from_slice(body);
        self.0.resize(self.0.len().next_multiple_of(4), 0);
        Ok(())
    }

    /// Appends the set whose body is the ICV, which the caller of all this appends.
    pub(super) fn put_icv_indicator(&mut self) -> Result<(), MkpduTooLong> {
        self.put_header([kind::ICV_INDICATOR, 0, 0], ICV_LEN, 0)
    }

    fn put_header(
        &mut self,
        [kind, octet2, octet3]: [u8; 3],
        length: usize,
        room: usize,
    ) -> Result<(), MkpduTooLong> {
        if self.0.len() + 4 + room + ICV_LEN > BODY_MAX {
            return Err(MkpduTooLong);
        }
        // What fits has a length of 12 bits at most.
        let [high, low] = u16::try_from(length).map_err(|_| MkpduTooLong)?.to_be_bytes();
        self.0.extend_from_slice(&[kind, octet2, octet3 & !LENGTH_HIGH | high, low]);
        Ok(())
    }

    /// Gives the sets up: a multiple of four octets.
    pub(super) fn into_octets(self) -> Vec<u8> {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Writes one set and reads it again, so that each set's tests can look at both.
    pub(super) fn written(put: impl FnOnce(&mut SetWriter) -> Result<(), MkpduTooLong>) -> Vec<u8> {
        let mut writer = SetWriter::default();
        put(&mut writer).unwrap();
        writer.into_octets()
    }

    /// Reads the only set of some octets.
    pub(super) fn raw(octets: &[u8]) -> RawSet<'_> {
        let (set, rest) = RawSet::split_first(octets).unwrap();
        assert!(rest.is_empty());
        set
    }

    #[test]
    fn a_length_has_12_bits_and_does_not_count_the_padding() {
        let mut octets = vec![99, 0xab, 0xf1, 0x01];
        octets.extend([7; 257]);
        octets.extend([0; 3]);
        octets.push(0xee);

        let (set, rest) = RawSet::split_first(&octets).unwrap();

        assert_eq!((set.kind, set.octet2, set.octet3), (99, 0xab, 0xf1));
        assert_eq!(set.body, [7; 257]);
        assert_eq!(rest, [0xee]);
    }

    #[test]
    fn a_set_whose_padding_is_cut_off_does_not_fit() {
        assert!(RawSet::split_first(&[99, 0, 0, 5, 1, 2, 3, 4, 5, 0, 0]).is_none());
        assert!(RawSet::split_first(&[99, 0, 0]).is_none());
    }

    #[test]
    fn a_body_is_padded_with_zeros_and_keeps_the_bits_beside_its_length() {
        let octets = written(|out| out.put([99, 0xab, 0xff], &[1, 2, 3, 4, 5]));
        assert_eq!(octets, [99, 0xab, 0xf0, 5, 1, 2, 3, 4, 5, 0, 0, 0]);
    }

    #[test]
    fn sets_stop_where_the_icv_would_not_fit_any_more() {
        let mut writer = SetWriter::default();
        writer.put([99, 0, 0], &[0; 1472]).unwrap();
        assert_eq!(writer.put([99, 0, 0], &[0]), Err(MkpduTooLong));
        writer.put_icv_indicator().unwrap();
        assert_eq!(writer.put_icv_indicator(), Err(MkpduTooLong));
        assert_eq!(writer.into_octets().len(), 1480);
    }
}
