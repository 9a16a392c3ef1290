//! The SAK and the salt that goes with it.

use std::fmt;

use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use crate::ident::KeyId;

/// A secure association key: 16 or 32 octets (802.1AE-2018 14.5 to 14.8).
pub struct Sak(Zeroizing<Vec<u8>>);

/// Octets that cannot be an SAK.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("an SAK has 16 or 32 octets, this one has {0}")]
pub struct SakLengthError(pub usize);

impl Sak {
    /// Takes the octets of a key.
    ///
    /// # Errors
    ///
    /// [`SakLengthError`] where there are not 16 or 32.
    pub fn new(octets: Zeroizing<Vec<u8>>) -> Result<Self, SakLengthError> {
        match octets.len() {
            16 | 32 => Ok(Self(octets)),
            other => Err(SakLengthError(other)),
        }
    }

    /// Takes what the KDF or the key wrap gave, whose length they have made sure of.
    pub(super) fn from_sized(octets: Zeroizing<Vec<u8>>) -> Self {
        debug_assert!(matches!(octets.len(), 16 | 32));
        Self(octets)
    }

    /// The octets, for the cipher, the key wrap and the kernel only.
    #[must_use]
    pub fn expose(&self) -> &[u8] {
        &self.0
    }

    /// Compares in constant time.
    #[must_use]
    pub fn same_as(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl fmt::Debug for Sak {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Sak(..)")
    }
}

/// The salt of an XPN suite's nonces. It follows from the key identifier and is no secret.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Salt([u8; 12]);

impl Salt {
    /// Mixes the key number into the key server's MI, its 16-bit halves swapped (802.1X-2020 9.8.1).
    #[must_use]
    pub fn new(ki: KeyId) -> Self {
        let [a, b, c, d, rest @ ..] = ki.server.octets();
        let [kn1, kn2, kn3, kn4] = ki.number.0.to_be_bytes();
        let [e, f, g, h, i, j, k, l] = rest;
        Self([a ^ kn3, b ^ kn4, c ^ kn1, d ^ kn2, e, f, g, h, i, j, k, l])
    }

    /// Takes the twelve octets as a vector or another system gives them.
    #[must_use]
    pub const fn from_octets(octets: [u8; 12]) -> Self {
        Self(octets)
    }

    /// Gives the twelve octets.
    #[must_use]
    pub const fn octets(self) -> [u8; 12] {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_sak_has_16_or_32_octets_and_never_shows_them() {
        let refused = Sak::new(Zeroizing::new(vec![0; 24])).unwrap_err();
        assert_eq!(refused, SakLengthError(24));
        let sak = Sak::new(Zeroizing::new(vec![0x5a; 32])).unwrap();
        assert_eq!(format!("{sak:?}"), "Sak(..)");
    }
}
