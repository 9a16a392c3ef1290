//! Names: of stations, channels, members and keys.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::KeyNumber;

/// A 48-bit MAC address.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Ord, PartialOrd, Hash, Serialize)]
pub struct MacAddress(pub [u8; 6]);

impl MacAddress {
    /// The group address of the PAE, where MKPDUs are sent (802.1X-2020 11.1.1).
    pub const PAE_GROUP: Self = Self([0x01, 0x80, 0xc2, 0x00, 0x00, 0x03]);

    /// Tells whether the address names a group (I/G bit set).
    #[must_use]
    pub const fn is_group(self) -> bool {
        let Self([first, ..]) = self;
        first & 1 != 0
    }
}

impl fmt::Display for MacAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self([a, b, c, d, e, g]) = self;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

/// A secure channel identifier: MAC address and port identifier (802.1AE-2018 7.1.2).
#[derive(Clone, Copy, Deserialize, Eq, PartialEq, Ord, PartialOrd, Hash, Serialize)]
pub struct Sci([u8; 8]);

impl Sci {
    /// Joins an address and a port identifier.
    #[must_use]
    pub const fn new(address: MacAddress, port: u16) -> Self {
        let [a, b, c, d, e, f] = address.0;
        let [high, low] = port.to_be_bytes();
        Self([a, b, c, d, e, f, high, low])
    }

    /// Takes the eight octets as they stand on the wire.
    #[must_use]
    pub const fn from_octets(octets: [u8; 8]) -> Self {
        Self(octets)
    }

    /// Gives the eight octets as they stand on the wire.
    #[must_use]
    pub const fn octets(self) -> [u8; 8] {
        self.0
    }

    /// The MAC address part.
    #[must_use]
    pub const fn address(self) -> MacAddress {
        let [a, b, c, d, e, f, _, _] = self.0;
        MacAddress([a, b, c, d, e, f])
    }

    /// The port identifier part.
    #[must_use]
    pub const fn port(self) -> u16 {
        let [.., high, low] = self.0;
        u16::from_be_bytes([high, low])
    }
}

impl fmt::Display for Sci {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{:04x}", self.address(), self.port())
    }
}

impl fmt::Debug for Sci {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Sci({self})")
    }
}

/// A member identifier, MI: 96 random bits that name one run of one participant (802.1X-2020 9.4.2).
#[derive(Clone, Copy, Deserialize, Eq, PartialEq, Ord, PartialOrd, Hash, Serialize)]
pub struct MemberId([u8; 12]);

impl MemberId {
    /// Takes the twelve octets as they stand on the wire.
    #[must_use]
    pub const fn from_octets(octets: [u8; 12]) -> Self {
        Self(octets)
    }

    /// Gives the twelve octets as they stand on the wire.
    #[must_use]
    pub const fn octets(self) -> [u8; 12] {
        self.0
    }
}

impl fmt::Display for MemberId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_hex(f, &self.0)
    }
}

impl fmt::Debug for MemberId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MemberId({self})")
    }
}

/// A key identifier, KI: which key server made an SAK, and as which of its keys (802.1X-2020 9.8).
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Ord, PartialOrd, Hash, Serialize)]
pub struct KeyId {
    /// The MI of the key server that made the SAK.
    pub server: MemberId,
    /// Its number among that server's keys.
    pub number: KeyNumber,
}

impl KeyId {
    /// Gives the 128-bit form: MI, then KN, big endian.
    #[must_use]
    pub fn octets(self) -> [u8; 16] {
        let mut octets = [0; 16];
        let (server, number) = octets.split_at_mut(12);
        server.copy_from_slice(&self.server.octets());
        number.copy_from_slice(&self.number.0.to_be_bytes());
        octets
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.server, self.number.0)
    }
}

/// A CAK name, CKN: 1 to 32 octets, in clear on the wire and no secret (802.1X-2020 9.3.1).
///
/// Two names are equal only if their lengths are too.
#[derive(Clone, Deserialize, Eq, PartialEq, Ord, PartialOrd, Hash, Serialize)]
#[serde(try_from = "Vec<u8>", into = "Vec<u8>")]
pub struct Ckn(Vec<u8>);

/// Why octets cannot be a CKN.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("a CKN has 1 to 32 octets, this one has {0}")]
pub struct CknError(pub usize);

impl Ckn {
    /// The longest name, in octets.
    pub const MAX_LEN: usize = 32;

    /// Takes a name.
    ///
    /// # Errors
    ///
    /// [`CknError`] where it is empty or longer than 32 octets.
    pub fn new(octets: &[u8]) -> Result<Self, CknError> {
        if octets.is_empty() || octets.len() > Self::MAX_LEN {
            return Err(CknError(octets.len()));
        }
        Ok(Self(octets.to_vec()))
    }

    /// The octets of the name.
    #[must_use]
    pub fn octets(&self) -> &[u8] {
        &self.0
    }
}

impl TryFrom<Vec<u8>> for Ckn {
    type Error = CknError;

    fn try_from(octets: Vec<u8>) -> Result<Self, CknError> {
        Self::new(&octets)
    }
}

impl From<Ckn> for Vec<u8> {
    fn from(Ckn(octets): Ckn) -> Self {
        octets
    }
}

impl fmt::Display for Ckn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_hex(f, &self.0)
    }
}

impl fmt::Debug for Ckn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Ckn({self})")
    }
}

fn write_hex(f: &mut fmt::Formatter<'_>, octets: &[u8]) -> fmt::Result {
    octets.iter().try_for_each(|octet| write!(f, "{octet:02x}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_sci_reads_as_address_and_port_and_orders_as_one_number() {
        let sci = Sci::new(MacAddress([2, 0, 0, 0, 0, 2]), 1);
        assert_eq!(sci.to_string(), "02:00:00:00:00:02/0001");
        assert_eq!(sci.octets(), [2, 0, 0, 0, 0, 2, 0, 1]);
        assert_eq!((sci.address(), sci.port()), (MacAddress([2, 0, 0, 0, 0, 2]), 1));
        assert!(sci < Sci::new(MacAddress([2, 0, 0, 0, 0, 2]), 2));
        assert!(sci < Sci::new(MacAddress([2, 0, 0, 0, 0, 3]), 0));
    }

    #[test]
    fn a_ckn_has_1_to_32_octets_and_a_zero_more_is_another_name() {
        assert_eq!(Ckn::new(&[]), Err(CknError(0)));
        assert_eq!(Ckn::new(&[7; 33]), Err(CknError(33)));
        assert_eq!(Ckn::new(&[7; 32]).unwrap().octets(), [7; 32]);
        assert_ne!(Ckn::new(&[7]).unwrap(), Ckn::new(&[7, 0]).unwrap());
    }

    #[test]
    fn a_key_id_is_the_member_id_then_the_key_number() {
        let id =
            KeyId { server: MemberId::from_octets([0xab; 12]), number: KeyNumber(0x0102_0304) };
        assert_eq!(id.octets()[..12], [0xab; 12]);
        assert_eq!(id.octets()[12..], [1, 2, 3, 4]);
    }
}
