//! The EAPOL frame around an MKPDU (802.1X-2020 11.1, 11.3).

use serde::{Deserialize, Serialize};

use super::ethernet::{ETHERTYPE_CARRIED, ETHERTYPE_EAPOL, HEADER_LEN};
use crate::ident::MacAddress;

/// An EAPOL frame that can hold an MKPDU, Ethernet header included, cut to its body.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Eapol<'a> {
    /// The group that the frame was sent to.
    pub destination: MacAddress,
    /// The station that sent it.
    pub source: MacAddress,
    /// What it says it is.
    pub ethertype: EapolEthertype,
    /// The protocol version: 3 or above.
    pub version: u8,
    /// The packet type: always 5, EAPOL-MKA.
    pub packet_type: u8,
    /// The packet body, without what Ethernet may have added to reach its minimum.
    pub body: &'a [u8],
    frame: &'a [u8],
}

/// An EtherType under which EAPOL goes.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub enum EapolEthertype {
    /// EAPOL's own, 0x888E (802.1X-2020 11.1).
    #[default]
    Eapol,
    /// 0x876F, for carriers that keep EAPOL for themselves. Not the standard's.
    Carried,
}

impl EapolEthertype {
    /// The number on the wire.
    #[must_use]
    pub const fn value(self) -> u16 {
        match self {
            Self::Eapol => ETHERTYPE_EAPOL,
            Self::Carried => ETHERTYPE_CARRIED,
        }
    }
}

/// What is wrong with a frame before its body is looked at.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum EapolError {
    /// It ends inside a header.
    #[error("the frame is too short for an EAPOL header")]
    Truncated,
    /// It is not EAPOL.
    #[error("the EtherType is not EAPOL's")]
    EtherType,
    /// Its version is 1 or 2, which know no MKA (or 0, which never was).
    #[error("the EAPOL version is below 3")]
    Version,
    /// It is EAPOL for another protocol than MKA.
    #[error("the EAPOL packet type is not MKA")]
    PacketType,
    /// The body is said to be longer than the frame.
    #[error("the EAPOL body is longer than the frame")]
    Length,
    /// It was sent to one station, not to a group.
    #[error("the destination is not a group address")]
    Destination,
}

/// The version sent, and the lowest accepted (802.1X-2020 11.3.1).
const VERSION: u8 = 3;
/// The packet type EAPOL-MKA (802.1X-2020 Table 11-3).
const PACKET_TYPE_MKA: u8 = 5;
/// Version, packet type and body length.
const EAPOL_HEADER_LEN: usize = 4;

impl<'a> Eapol<'a> {
    /// Reads the headers and cuts the frame to its body.
    ///
    /// A later version passes, to be read as ours (802.1X-2020 11.5).
    ///
    /// # Errors
    ///
    /// The first rule of 802.1X-2020 11.4 that the frame breaks.
    pub fn decode(frame: &'a [u8]) -> Result<Self, EapolError> {
        let (destination, rest) = frame.split_first_chunk().ok_or(EapolError::Truncated)?;
        let (source, rest) = rest.split_first_chunk().ok_or(EapolError::Truncated)?;
        let (&[type_high, type_low, version, packet_type, length_high, length_low], rest) =
            rest.split_first_chunk::<6>().ok_or(EapolError::Truncated)?;
        let ethertype = match u16::from_be_bytes([type_high, type_low]) {
            ETHERTYPE_EAPOL => EapolEthertype::Eapol,
            ETHERTYPE_CARRIED => EapolEthertype::Carried,
            _ => return Err(EapolError::EtherType),
        };
        if version < VERSION {
            return Err(EapolError::Version);
        }
        if packet_type != PACKET_TYPE_MKA {
            return Err(EapolError::PacketType);
        }
        let length = usize::from(u16::from_be_bytes([length_high, length_low]));
        let body = rest.get(..length).ok_or(EapolError::Length)?;
        let frame =
            frame.get(..HEADER_LEN + EAPOL_HEADER_LEN + length).ok_or(EapolError::Length)?;
        let (destination, source) = (MacAddress(*destination), MacAddress(*source));
        if !destination.is_group() {
            return Err(EapolError::Destination);
        }
        Ok(Self { destination, source, ethertype, version, packet_type, body, frame })
    }

    /// The frame from its destination address to the end of the body.
    #[must_use]
    pub fn frame(&self) -> &'a [u8] {
        self.frame
    }

    /// Writes both headers for a body of `length` octets.
    pub(super) fn encode_headers(
        destination: MacAddress,
        source: MacAddress,
        length: u16,
        out: &mut Vec<u8>,
    ) {
        out.extend_from_slice(&destination.0);
        out.extend_from_slice(&source.0);
        out.extend_from_slice(&ETHERTYPE_EAPOL.to_be_bytes());
        out.extend_from_slice(&[VERSION, PACKET_TYPE_MKA]);
        out.extend_from_slice(&length.to_be_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FRAME: [u8; 22] = [
        0x01, 0x80, 0xc2, 0x00, 0x00, 0x03, 0x02, 0x00, 0x00, 0x00, 0x00, 0x01, 0x88, 0x8e, 0x03,
        0x05, 0x00, 0x02, 0xaa, 0xbb, 0x00, 0x00,
    ];

    /// The good frame with one octet replaced.
    fn with(at: usize, octet: u8) -> [u8; 22] {
        let mut frame = FRAME;
        frame[at] = octet;
        frame
    }

    #[test]
    fn the_body_ends_where_the_header_says_and_ethernet_padding_is_dropped() {
        let eapol = Eapol::decode(&FRAME).unwrap();
        assert_eq!(eapol.destination, MacAddress::PAE_GROUP);
        assert_eq!(eapol.source, MacAddress([2, 0, 0, 0, 0, 1]));
        assert_eq!(eapol.ethertype, EapolEthertype::Eapol);
        assert_eq!((eapol.version, eapol.packet_type), (3, 5));
        assert_eq!(eapol.body, [0xaa, 0xbb]);
        assert_eq!(eapol.frame(), &FRAME[..20]);
    }

    #[test]
    fn a_later_version_is_accepted_and_an_earlier_one_is_not() {
        assert_eq!(Eapol::decode(&with(14, 9)).map(|eapol| eapol.version), Ok(9));
        assert_eq!(Eapol::decode(&with(14, 2)), Err(EapolError::Version));
    }

    #[test]
    fn two_ethertypes_are_known() {
        let mut frame = with(12, 0x87);
        frame[13] = 0x6f;
        assert_eq!(Eapol::decode(&frame).map(|of| of.ethertype), Ok(EapolEthertype::Carried));
    }

    #[test]
    fn each_rule_has_its_refusal() {
        for end in 0..18 {
            assert_eq!(Eapol::decode(&FRAME[..end]), Err(EapolError::Truncated), "{end} octets");
        }
        assert_eq!(Eapol::decode(&with(13, 0x8f)), Err(EapolError::EtherType));
        assert_eq!(Eapol::decode(&with(15, 3)), Err(EapolError::PacketType));
        assert_eq!(Eapol::decode(&with(17, 5)), Err(EapolError::Length));
        assert_eq!(Eapol::decode(&with(0, 0x02)), Err(EapolError::Destination));
    }

    #[test]
    fn the_headers_written_are_the_headers_read() {
        let mut out = Vec::new();
        Eapol::encode_headers(MacAddress::PAE_GROUP, MacAddress([2, 0, 0, 0, 0, 1]), 2, &mut out);
        assert_eq!(out, FRAME[..18]);
    }
}
