//! The CAK and the three keys that come from it (802.1X-2020 6.2, 9.3, 9.8).

use std::fmt;

use aws_lc_rs::key_wrap::{AES_128, AES_256, AesKek, KeyWrap};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use super::{
    Sak, Seal, Verified,
    prf::{KeyLengthError, Prf, or_out_of_memory},
};
use crate::ident::{CipherSuite, Ckn, KeyNumber, MemberId};

/// A secure connectivity association key: 16 or 32 octets (802.1X-2020 6.2).
pub struct Cak {
    octets: Zeroizing<Vec<u8>>,
    prf: Prf,
}

impl Cak {
    /// Takes the octets of a key.
    ///
    /// # Errors
    ///
    /// [`KeyLengthError`] where there are not 16 or 32. Nothing is padded.
    pub fn new(octets: Zeroizing<Vec<u8>>) -> Result<Self, KeyLengthError> {
        let prf = Prf::new(&octets)?;
        Ok(Self { octets, prf })
    }

    /// The length: 16 or 32 octets.
    #[expect(clippy::len_without_is_empty, reason = "a CAK is never empty")]
    #[must_use]
    pub fn len(&self) -> usize {
        self.octets.len()
    }

    /// Derives the key that wraps SAKs, as long as the CAK (802.1X-2020 9.3.3).
    #[must_use]
    pub fn kek(&self, ckn: &Ckn) -> Kek {
        Kek(self.derive_alike(b"IEEE8021 KEK", ckn))
    }

    /// Derives the key of the ICVs of MKPDUs, as long as the CAK (802.1X-2020 9.3.3).
    #[must_use]
    pub fn ick(&self, ckn: &Ckn) -> Ick {
        let octets = self.derive_alike(b"IEEE8021 ICK", ckn);
        Ick(or_out_of_memory(Prf::new(&octets).ok()))
    }

    /// Derives the key that seals what is kept over a restart, as long as the CAK. The label is our
    /// own: nobody else has to read it.
    #[must_use]
    pub fn seal(&self, ckn: &Ckn) -> Seal {
        let octets = self.derive_alike(b"macsecd record", ckn);
        Seal::new(or_out_of_memory(Prf::new(&octets).ok()))
    }

    /// Derives an SAK, as a key server does (802.1X-2020 9.8.1).
    ///
    /// `nonce` is fresh random octets, as many as the SAK has; `members` names the key server and
    /// every live peer.
    #[must_use]
    pub fn derive_sak(
        &self,
        nonce: &[u8],
        members: &[MemberId],
        kn: KeyNumber,
        suite: CipherSuite,
    ) -> Sak {
        debug_assert_eq!(nonce.len(), suite.sak_len());
        let members: Vec<u8> = members.iter().flat_map(|member| member.octets()).collect();
        let context = Zeroizing::new([nonce, &members, &kn.0.to_be_bytes()].concat());
        let octets = match suite {
            CipherSuite::GcmAes128 | CipherSuite::GcmAesXpn128 => 16,
            CipherSuite::GcmAes256 | CipherSuite::GcmAesXpn256 => 32,
        };
        Sak::from_sized(self.prf.derive(b"IEEE8021 SAK", &context, octets))
    }

    /// Compares in constant time.
    #[must_use]
    pub fn same_as(&self, other: &Self) -> bool {
        self.octets.ct_eq(&other.octets).into()
    }

    /// Derives a key of the CAK's own length for the CAK's name.
    fn derive_alike(&self, label: &[u8], ckn: &Ckn) -> Zeroizing<Vec<u8>> {
        let octets = if self.len() == 32 { 32 } else { 16 };
        self.prf.derive(label, &key_id(ckn), octets)
    }
}

/// The first 16 octets of a name, filled up with zeros: all of it that enters the KDF.
fn key_id(ckn: &Ckn) -> [u8; 16] {
    let mut id = [0; 16];
    id.iter_mut().zip(ckn.octets()).for_each(|(to, from)| *to = *from);
    id
}

impl fmt::Debug for Cak {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Cak(..)")
    }
}

/// The key of the ICVs of MKPDUs (802.1X-2020 9.4.1).
pub struct Ick(Prf);

impl Ick {
    /// Takes the octets of a key that was derived elsewhere.
    ///
    /// # Errors
    ///
    /// [`KeyLengthError`] where there are not 16 or 32.
    pub fn new(octets: &[u8]) -> Result<Self, KeyLengthError> {
        Prf::new(octets).map(Self)
    }

    /// Computes the ICV of a frame, from its destination address to its last parameter set.
    #[must_use]
    pub fn icv(&self, message: &[u8]) -> [u8; 16] {
        self.0.tag(&[message])
    }

    /// Vouches for `value`, which was read from `message`, if `icv` is right for `message`.
    ///
    /// The only way to a [`Verified`]. Compares in constant time.
    #[must_use]
    pub fn verify<T>(&self, message: &[u8], icv: &[u8; 16], value: T) -> Option<Verified<T>> {
        self.0.verify(message, icv).then(|| Verified::new(value))
    }
}

impl fmt::Debug for Ick {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Ick(..)")
    }
}

/// The key that wraps SAKs (802.1X-2020 9.8.2), always of 16 or 32 octets.
pub struct Kek(Zeroizing<Vec<u8>>);

/// An SAK under a [`Kek`], fit for the wire: 24 or 40 octets.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct WrappedSak(Vec<u8>);

/// Why a wrapped SAK was refused.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum UnwrapError {
    /// It has not the length of a key of the cipher suite.
    #[error("the wrapped SAK has the wrong length for its cipher suite")]
    Length,
    /// It was altered, or wrapped under another key.
    #[error("the wrapped SAK fails its integrity check")]
    Integrity,
}

/// What AES Key Wrap adds to a key, in octets (RFC 3394 2.2.1).
const WRAP_OVERHEAD: usize = 8;

impl Kek {
    /// Takes the octets of a key that was derived elsewhere.
    ///
    /// # Errors
    ///
    /// [`KeyLengthError`] where there are not 16 or 32.
    pub fn new(octets: Zeroizing<Vec<u8>>) -> Result<Self, KeyLengthError> {
        match octets.len() {
            16 | 32 => Ok(Self(octets)),
            other => Err(KeyLengthError(other)),
        }
    }

    /// Wraps an SAK (RFC 3394, with its default initial value).
    #[must_use]
    pub fn wrap(&self, sak: &Sak) -> WrappedSak {
        let mut wrapped = vec![0; sak.expose().len() + WRAP_OVERHEAD];
        let done =
            self.cipher().and_then(|kek| kek.wrap(sak.expose(), &mut wrapped).ok()).is_some();
        or_out_of_memory(done.then_some(WrappedSak(wrapped)))
    }

    /// Unwraps an SAK of a cipher suite.
    ///
    /// # Errors
    ///
    /// [`UnwrapError::Length`] before the key is used at all, else [`UnwrapError::Integrity`].
    pub fn unwrap(&self, wrapped: &[u8], suite: CipherSuite) -> Result<Sak, UnwrapError> {
        if wrapped.len() != suite.sak_len() + WRAP_OVERHEAD {
            return Err(UnwrapError::Length);
        }
        let mut octets = Zeroizing::new(vec![0; suite.sak_len()]);
        let kek = self.cipher().ok_or(UnwrapError::Integrity)?;
        kek.unwrap(wrapped, &mut octets).map_err(|_| UnwrapError::Integrity)?;
        Ok(Sak::from_sized(octets))
    }

    /// Prepares the cipher, which the library uses up with each operation.
    fn cipher(&self) -> Option<AesKek> {
        let cipher = if self.0.len() == 32 { &AES_256 } else { &AES_128 };
        AesKek::new(cipher, &self.0).ok()
    }
}

impl fmt::Debug for Kek {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Kek(..)")
    }
}

impl WrappedSak {
    /// The octets, as they go on the wire.
    #[must_use]
    pub fn octets(&self) -> &[u8] {
        &self.0
    }

    /// Gives the octets up, as they go on the wire.
    #[must_use]
    pub fn into_octets(self) -> Vec<u8> {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cak(octets: &[u8]) -> Cak {
        Cak::new(Zeroizing::new(octets.to_vec())).unwrap()
    }

    #[test]
    fn no_key_shows_its_octets() {
        let (cak, ckn) = (cak(&[0x5a; 16]), Ckn::new(b"name").unwrap());
        let shown = format!("{cak:?} {:?} {:?}", cak.kek(&ckn), cak.ick(&ckn));
        assert_eq!(shown, "Cak(..) Kek(..) Ick(..)");
    }

    #[test]
    fn a_key_of_another_length_is_refused_and_never_padded() {
        for len in [0, 15, 17, 24, 31, 33] {
            let octets = Zeroizing::new(vec![0x5a; len]);
            assert_eq!(Ick::new(&octets).err(), Some(KeyLengthError(len)));
            assert_eq!(Kek::new(octets.clone()).err(), Some(KeyLengthError(len)));
            assert_eq!(Cak::new(octets).err(), Some(KeyLengthError(len)));
        }
    }

    #[test]
    fn only_equal_keys_are_the_same() {
        assert!(cak(&[1; 16]).same_as(&cak(&[1; 16])));
        assert!(!cak(&[1; 16]).same_as(&cak(&[2; 16])));
        assert!(!cak(&[1; 16]).same_as(&cak(&[1; 32])));
    }

    #[test]
    fn only_the_first_16_octets_of_a_name_enter_the_keys() {
        let cak = cak(&[0x5a; 16]);
        let icv = |name: &[u8]| cak.ick(&Ckn::new(name).unwrap()).icv(b"message");
        assert_eq!(icv(&[7; 16]), icv(&[7; 32]));
        assert_ne!(icv(&[7; 15]), icv(&[7; 16]));
    }

    #[test]
    fn a_value_is_verified_by_the_right_icv_alone() {
        let ick = Ick::new(&[0x5a; 32]).unwrap();
        let mut icv = ick.icv(b"message");
        assert_eq!(ick.verify(b"message", &icv, 7).unwrap().into_inner(), 7);
        assert!(ick.verify(b"massage", &icv, 7).is_none());
        icv[15] ^= 1;
        assert!(ick.verify(b"message", &icv, 7).is_none());
    }

    #[test]
    fn a_wrapped_sak_of_the_wrong_length_is_told_from_an_altered_one() {
        let kek = Kek::new(Zeroizing::new(vec![0x5a; 16])).unwrap();
        let sak = Sak::new(Zeroizing::new(vec![1; 32])).unwrap();
        let mut wrapped = kek.wrap(&sak).into_octets();

        assert!(kek.unwrap(&wrapped, CipherSuite::GcmAesXpn256).unwrap().same_as(&sak));
        let refused = kek.unwrap(&wrapped, CipherSuite::GcmAes128).unwrap_err();
        assert_eq!(refused, UnwrapError::Length);
        assert_eq!(kek.unwrap(&[], CipherSuite::GcmAes256).unwrap_err(), UnwrapError::Length);
        wrapped[39] ^= 1;
        let refused = kek.unwrap(&wrapped, CipherSuite::GcmAes256).unwrap_err();
        assert_eq!(refused, UnwrapError::Integrity);
    }
}
