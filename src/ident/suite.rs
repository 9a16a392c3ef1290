//! Cipher suites and confidentiality offsets.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// A MACsec cipher suite (802.1AE-2018 Table 14-1).
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Ord, PartialOrd, Hash, Serialize)]
pub enum CipherSuite {
    /// GCM-AES-128, the Default Cipher Suite.
    GcmAes128,
    /// GCM-AES-256.
    GcmAes256,
    /// GCM-AES-XPN-128: 64-bit packet numbers.
    GcmAesXpn128,
    /// GCM-AES-XPN-256: 64-bit packet numbers.
    GcmAesXpn256,
}

impl CipherSuite {
    /// All four, weakest first.
    pub const ALL: [Self; 4] =
        [Self::GcmAes128, Self::GcmAes256, Self::GcmAesXpn128, Self::GcmAesXpn256];

    /// What the 2006 edition printed for GCM-AES-128; some senders and the Linux kernel use it.
    const GCM_AES_128_LEGACY: [u8; 8] = [0x00, 0x80, 0x02, 0x00, 0x01, 0x00, 0x00, 0x01];

    /// The identifier as it stands on the wire.
    #[must_use]
    pub const fn id(self) -> [u8; 8] {
        let last = match self {
            Self::GcmAes128 => 1,
            Self::GcmAes256 => 2,
            Self::GcmAesXpn128 => 3,
            Self::GcmAesXpn256 => 4,
        };
        [0x00, 0x80, 0xc2, 0x00, 0x01, 0x00, 0x00, last]
    }

    /// Finds the suite of an identifier, the legacy one of GCM-AES-128 included.
    #[must_use]
    pub fn from_id(id: [u8; 8]) -> Option<Self> {
        if id == Self::GCM_AES_128_LEGACY {
            return Some(Self::GcmAes128);
        }
        Self::ALL.into_iter().find(|suite| suite.id() == id)
    }

    /// Tells whether packet numbers have 64 bits.
    #[must_use]
    pub const fn is_xpn(self) -> bool {
        matches!(self, Self::GcmAesXpn128 | Self::GcmAesXpn256)
    }

    /// The length of an SAK, in octets.
    #[must_use]
    pub const fn sak_len(self) -> usize {
        match self {
            Self::GcmAes128 | Self::GcmAesXpn128 => 16,
            Self::GcmAes256 | Self::GcmAesXpn256 => 32,
        }
    }

    /// The standard's name, such as `GCM-AES-XPN-256`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::GcmAes128 => "GCM-AES-128",
            Self::GcmAes256 => "GCM-AES-256",
            Self::GcmAesXpn128 => "GCM-AES-XPN-128",
            Self::GcmAesXpn256 => "GCM-AES-XPN-256",
        }
    }
}

impl fmt::Display for CipherSuite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A name that is no cipher suite's.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("no cipher suite is called `{0}`")]
pub struct UnknownCipherSuite(pub String);

impl FromStr for CipherSuite {
    type Err = UnknownCipherSuite;

    /// Reads `gcm-aes-xpn-256` in any case, and Azure's spelling `GcmAesXpn256`.
    fn from_str(name: &str) -> Result<Self, Self::Err> {
        let squeezed = |text: &str| text.replace('-', "").to_ascii_lowercase();
        Self::ALL
            .into_iter()
            .find(|suite| squeezed(suite.name()) == squeezed(name))
            .ok_or_else(|| UnknownCipherSuite(name.to_owned()))
    }
}

/// How much of the user data is encrypted (802.1AE-2018 10.7.24; MKA's codes 0 to 3).
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Ord, PartialOrd, Hash, Serialize)]
pub enum ConfidentialityOffset {
    /// Nothing: integrity only.
    IntegrityOnly,
    /// All of it.
    Offset0,
    /// All but the first 30 octets.
    Offset30,
    /// All but the first 50 octets.
    Offset50,
}

impl ConfidentialityOffset {
    /// Takes the two low bits of an octet.
    #[must_use]
    pub const fn from_low_bits(octet: u8) -> Self {
        match octet & 3 {
            0 => Self::IntegrityOnly,
            1 => Self::Offset0,
            2 => Self::Offset30,
            _ => Self::Offset50,
        }
    }

    /// The code MKA uses, 0 to 3.
    #[must_use]
    pub const fn code(self) -> u8 {
        match self {
            Self::IntegrityOnly => 0,
            Self::Offset0 => 1,
            Self::Offset30 => 2,
            Self::Offset50 => 3,
        }
    }

    /// How many octets of user data stay in clear where there is confidentiality at all.
    #[must_use]
    pub const fn octets(self) -> usize {
        match self {
            Self::IntegrityOnly | Self::Offset0 => 0,
            Self::Offset30 => 30,
            Self::Offset50 => 50,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn suites_are_known_by_the_standards_id_and_the_legacy_one() {
        assert_eq!(
            CipherSuite::from_id([0, 0x80, 0xc2, 0, 1, 0, 0, 4]),
            Some(CipherSuite::GcmAesXpn256)
        );
        assert_eq!(
            CipherSuite::from_id([0, 0x80, 0x02, 0, 1, 0, 0, 1]),
            Some(CipherSuite::GcmAes128)
        );
        assert_eq!(CipherSuite::from_id([0, 0x80, 0xc2, 0, 1, 0, 0, 9]), None);
    }

    #[test]
    fn a_suite_is_read_in_its_own_and_in_azures_spelling() {
        assert_eq!("gcm-aes-xpn-256".parse(), Ok(CipherSuite::GcmAesXpn256));
        assert_eq!("GcmAesXpn128".parse(), Ok(CipherSuite::GcmAesXpn128));
        assert_eq!("GCM-AES-128".parse(), Ok(CipherSuite::GcmAes128));
        assert_eq!("aes-gcm".parse::<CipherSuite>(), Err(UnknownCipherSuite("aes-gcm".to_owned())));
    }

    #[test]
    fn offset_codes_are_those_of_the_wire() {
        for code in 0..4 {
            assert_eq!(ConfidentialityOffset::from_low_bits(code).code(), code);
        }
        assert_eq!(ConfidentialityOffset::Offset50.octets(), 50);
    }
}
