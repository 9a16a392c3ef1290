//! The Basic Parameter Set, with which every MKPDU begins (802.1X-2020 11.11.3).

use serde::{Deserialize, Serialize};

use super::sets::{RawSet, SetWriter};
use super::{MkpduError, MkpduTooLong};
use crate::ident::{Ckn, KeyServerPriority, MemberId, MessageNumber, Sci};

/// Who sent an MKPDU, and which of its MKPDUs it is: the Basic Parameter Set (802.1X-2020 11.11.3).
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Basic {
    /// The sender's MKA version. Later ones than ours are read as ours.
    pub version: u8,
    /// How much the sender is wanted as key server.
    pub key_server_priority: KeyServerPriority,
    /// The sender is key server, or has not yet found that another will be.
    pub key_server: bool,
    /// The sender would have MACsec used.
    pub macsec_desired: bool,
    /// What MACsec the sender has.
    pub macsec_capability: MacsecCapability,
    /// The sender's secure channel.
    pub sci: Sci,
    /// The sender's member identifier.
    pub mi: MemberId,
    /// The number of this message under that identifier.
    pub mn: MessageNumber,
    /// The name of the CAK whose holders this is for.
    pub ckn: Ckn,
}

/// How much of MACsec a system has (802.1X-2020 Table 11-6). Each has what those before it have.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Ord, PartialOrd, Serialize)]
pub enum MacsecCapability {
    /// None.
    NotImplemented,
    /// Integrity without confidentiality.
    IntegrityOnly,
    /// Also confidentiality, of all the user data.
    Offset0,
    /// Also confidentiality with the first 30 or 50 octets in clear.
    AllOffsets,
}

/// ICVs are AES-CMAC, and keys come from the KDF that the standard has (802.1X-2020 Table 9-1).
pub(super) const ALGORITHM_AGILITY: [u8; 4] = [0x00, 0x80, 0xc2, 0x01];

const KEY_SERVER: u8 = 0x80;
const MACSEC_DESIRED: u8 = 0x40;
/// From the lowest bit up to the MACsec Capability.
const CAPABILITY_SHIFT: u8 = 4;

impl Basic {
    /// Reads the set, and the algorithm agility parameter, for which a value has no use.
    pub(super) fn decode(set: &RawSet<'_>) -> Result<(Self, [u8; 4]), MkpduError> {
        let (sci, rest) = set.body.split_first_chunk().ok_or(MkpduError::BasicLength)?;
        let (mi, rest) = rest.split_first_chunk().ok_or(MkpduError::BasicLength)?;
        let (mn, rest) = rest.split_first_chunk().ok_or(MkpduError::BasicLength)?;
        let (algorithm_agility, ckn) = rest.split_first_chunk().ok_or(MkpduError::BasicLength)?;
        let basic = Self {
            version: set.kind,
            key_server_priority: KeyServerPriority(set.octet2),
            key_server: set.octet3 & KEY_SERVER != 0,
            macsec_desired: set.octet3 & MACSEC_DESIRED != 0,
            macsec_capability: MacsecCapability::from_low_bits(set.octet3 >> CAPABILITY_SHIFT),
            sci: Sci::from_octets(*sci),
            mi: MemberId::from_octets(*mi),
            mn: MessageNumber(u32::from_be_bytes(*mn)),
            ckn: Ckn::new(ckn).map_err(|_| MkpduError::CknLength)?,
        };
        Ok((basic, *algorithm_agility))
    }

    pub(super) fn encode(&self, out: &mut SetWriter) -> Result<(), MkpduTooLong> {
        let key_server = if self.key_server { KEY_SERVER } else { 0 };
        let desired = if self.macsec_desired { MACSEC_DESIRED } else { 0 };
        let capability = self.macsec_capability.code() << CAPABILITY_SHIFT;
        let bits = key_server | desired | capability;
        let body = [
            self.sci.octets().as_slice(),
            &self.mi.octets(),
            &self.mn.0.to_be_bytes(),
            &ALGORITHM_AGILITY,
            self.ckn.octets(),
        ]
        .concat();
        out.put([self.version, self.key_server_priority.0, bits], &body)
    }
}

impl MacsecCapability {
    /// Takes the two low bits of an octet.
    #[must_use]
    pub const fn from_low_bits(octet: u8) -> Self {
        match octet & 3 {
            0 => Self::NotImplemented,
            1 => Self::IntegrityOnly,
            2 => Self::Offset0,
            _ => Self::AllOffsets,
        }
    }

    /// The code of the wire, 0 to 3.
    #[must_use]
    pub const fn code(self) -> u8 {
        match self {
            Self::NotImplemented => 0,
            Self::IntegrityOnly => 1,
            Self::Offset0 => 2,
            Self::AllOffsets => 3,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn basic() -> Basic {
        Basic {
            version: 3,
            key_server_priority: KeyServerPriority(16),
            key_server: false,
            macsec_desired: false,
            macsec_capability: MacsecCapability::NotImplemented,
            sci: Sci::from_octets([2, 0, 0, 0, 0, 1, 0, 1]),
            mi: MemberId::from_octets([0xa1; 12]),
            mn: MessageNumber(0x0102_0304),
            ckn: Ckn::new(b"MKA").unwrap(),
        }
    }

    fn written(basic: &Basic) -> Vec<u8> {
        let mut out = SetWriter::default();
        basic.encode(&mut out).unwrap();
        out.into_octets()
    }

    #[test]
    fn the_header_says_version_priority_and_what_the_sender_would_be() {
        let quiet = basic();
        let cases = [
            (quiet.clone(), 0x00),
            (Basic { key_server: true, ..quiet.clone() }, 0x80),
            (Basic { macsec_desired: true, ..quiet.clone() }, 0x40),
            (Basic { macsec_capability: MacsecCapability::IntegrityOnly, ..quiet.clone() }, 0x10),
            (Basic { macsec_capability: MacsecCapability::Offset0, ..quiet.clone() }, 0x20),
            (Basic { macsec_capability: MacsecCapability::AllOffsets, ..quiet }, 0x30),
        ];
        for (basic, bits) in cases {
            let octets = written(&basic);
            assert_eq!(octets[..4], [3, 16, bits, 31], "{basic:?}");
            let (set, _) = RawSet::split_first(&octets).unwrap();
            assert_eq!(Basic::decode(&set), Ok((basic, [0x00, 0x80, 0xc2, 0x01])));
        }
    }

    #[test]
    fn the_body_is_sci_mi_mn_algorithm_agility_and_name() {
        let octets = written(&basic());
        assert_eq!(octets[4..12], [2, 0, 0, 0, 0, 1, 0, 1]);
        assert_eq!(octets[12..24], [0xa1; 12]);
        assert_eq!(octets[24..], [1, 2, 3, 4, 0x00, 0x80, 0xc2, 0x01, b'M', b'K', b'A', 0]);
    }
}
