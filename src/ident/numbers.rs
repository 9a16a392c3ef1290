//! Numbers: of messages, keys, associations, packets and ranks.

use serde::{Deserialize, Serialize};

/// An association number, AN: which of a channel's four associations (802.1AE-2018 7.1.3).
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Ord, PartialOrd, Hash, Serialize)]
#[serde(from = "u8", into = "u8")]
pub struct AssociationNumber(u8);

impl AssociationNumber {
    /// All four, in order.
    pub const ALL: [Self; 4] = [Self(0), Self(1), Self(2), Self(3)];

    /// Takes the two low bits of an octet.
    #[must_use]
    pub const fn from_low_bits(octet: u8) -> Self {
        Self(octet & 3)
    }

    /// The number, 0 to 3.
    #[must_use]
    pub const fn value(self) -> u8 {
        self.0
    }

    /// The number, 0 to 3, as an index.
    #[must_use]
    pub const fn index(self) -> usize {
        self.0 as usize
    }

    /// The one that follows, 3 being followed by 0.
    #[must_use]
    pub const fn next(self) -> Self {
        Self((self.0 + 1) & 3)
    }
}

impl From<u8> for AssociationNumber {
    fn from(octet: u8) -> Self {
        Self::from_low_bits(octet)
    }
}

impl From<AssociationNumber> for u8 {
    fn from(an: AssociationNumber) -> Self {
        an.value()
    }
}

/// A member's message number, MN (802.1X-2020 9.4.2): 1 in its first MKPDU, never used twice.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Ord, PartialOrd, Hash, Serialize)]
pub struct MessageNumber(pub u32);

/// A key number, KN: 1 for a key server's first SAK under one MI (802.1X-2020 9.8).
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Ord, PartialOrd, Hash, Serialize)]
pub struct KeyNumber(pub u32);

/// A packet number, PN, in full: 32 bits used, or 64 where the cipher suite is XPN.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Ord, PartialOrd, Hash, Serialize)]
pub struct PacketNumber(pub u64);

impl PacketNumber {
    /// The first number an association sends.
    pub const FIRST: Self = Self(1);

    /// The last number of a suite without XPN.
    pub const LAST_32: Self = Self(u32::MAX as u64);
}

/// A short secure channel identifier, SSCI: 1 is the numerically greatest SCI (802.1AE-2018 10.7.13).
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Ord, PartialOrd, Hash, Serialize)]
pub struct Ssci(pub u32);

/// A key server priority: the lowest wins, 255 is for a system that is not to serve.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Ord, PartialOrd, Hash, Serialize)]
pub struct KeyServerPriority(pub u8);

impl KeyServerPriority {
    /// Not to be key server (802.1X-2020 Table 9-2).
    pub const NEVER: Self = Self(255);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn association_numbers_go_round_in_fours() {
        let [first, .., last] = AssociationNumber::ALL;
        assert_eq!(last.next(), first);
        assert_eq!(first.next().value(), 1);
        assert_eq!(AssociationNumber::from_low_bits(0xfe).index(), 2);
    }
}
