//! AES-GCM as MACsec uses it: the caller gives the nonce, and has spent its packet number.

use std::fmt;

use crate::crypto::{Sak, Salt};
use crate::engine::{Engine, EngineKind, Job, Key};
use crate::ident::{PacketNumber, Sci, Ssci};

/// An SAK, expanded and ready to seal and open frames.
///
/// Costs far more to make than to use: make one for each SAK and share it. The expanded key is wiped
/// when it is dropped.
pub struct GcmKey(Key);

/// The ICV does not belong to this key, nonce and data.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("the integrity check failed")]
pub struct NotAuthentic;

impl GcmKey {
    /// Expands an SAK of either length, for the fastest engine of this machine.
    #[must_use]
    pub fn new(sak: &Sak) -> Self {
        Self::for_engine(Engine::best(), sak)
    }

    /// Expands an SAK of either length for one engine.
    #[must_use]
    pub fn for_engine(engine: Engine, sak: &Sak) -> Self {
        let Ok(key) = Key::new(engine, sak.expose()) else {
            unreachable!("an SAK has 16 or 32 octets");
        };
        Self(key)
    }

    /// The engine that does the work.
    #[must_use]
    pub const fn engine(&self) -> EngineKind {
        self.0.kind()
    }

    /// Encrypts what is in front of the ICV's 16 octets where it lies, and puts the ICV there.
    ///
    /// A nonce must never be used twice with one key. For integrity only, all is `aad`.
    ///
    /// # Panics
    ///
    /// Where there is no room for an ICV.
    pub fn seal_in_place(&self, nonce: [u8; 12], aad: &[u8], data_and_icv: &mut [u8]) {
        assert!(data_and_icv.len() >= crate::engine::TAG_LEN, "no room for an ICV");
        self.seal(&mut [Job::new(nonce, aad, data_and_icv)]);
    }

    /// Does for many frames what [`GcmKey::seal_in_place`] does for one, and faster.
    ///
    /// Of a job without room for an ICV nothing is done.
    pub fn seal(&self, jobs: &mut [Job<'_>]) {
        self.0.seal(jobs);
    }

    /// Checks the ICV and decrypts `data_and_icv` where it lies; the plaintext is then in front.
    ///
    /// For integrity only, all is `aad`, and the ICV stands alone.
    ///
    /// # Errors
    ///
    /// [`NotAuthentic`] where the ICV is wrong or missing. What was in front of it is then lost.
    pub fn open_in_place(
        &self,
        nonce: [u8; 12],
        aad: &[u8],
        data_and_icv: &mut [u8],
    ) -> Result<(), NotAuthentic> {
        match self.open(&mut [Job::new(nonce, aad, data_and_icv)]) {
            0 => Err(NotAuthentic),
            _ => Ok(()),
        }
    }

    /// Does for many frames, at most [`BATCH_MAX`](crate::engine::BATCH_MAX), what
    /// [`GcmKey::open_in_place`] does for one, and faster.
    ///
    /// Gives a bit for each, from the lowest on: set where the ICV was right.
    #[must_use]
    pub fn open(&self, jobs: &mut [Job<'_>]) -> u64 {
        self.0.open(jobs)
    }
}

impl fmt::Debug for GcmKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("GcmKey(..)")
    }
}

/// The nonce of a suite with 32-bit packet numbers: SCI, then PN (802.1AE-2018 14.5, 14.6).
///
/// Only the low half of `pn` enters it.
#[must_use]
pub fn nonce(sci: Sci, pn: PacketNumber) -> [u8; 12] {
    let [a, b, c, d, e, f, g, h] = sci.octets();
    let [.., p, q, r, s] = pn.0.to_be_bytes();
    [a, b, c, d, e, f, g, h, p, q, r, s]
}

/// The nonce of an XPN suite: SSCI, then PN, mixed with the salt (802.1AE-2018 14.7, 14.8).
#[must_use]
pub fn xpn_nonce(ssci: Ssci, pn: PacketNumber, salt: &Salt) -> [u8; 12] {
    let [a, b, c, d] = ssci.0.to_be_bytes();
    let [e, f, g, h, i, j, k, l] = pn.0.to_be_bytes();
    let mut nonce = salt.octets();
    for (octet, mixed) in nonce.iter_mut().zip([a, b, c, d, e, f, g, h, i, j, k, l]) {
        *octet ^= mixed;
    }
    nonce
}

#[cfg(test)]
mod tests {
    use super::*;

    use aes_gcm::aead::{AeadInOut, KeyInit};
    use aes_gcm::{Aes128Gcm, Aes256Gcm};
    use proptest::prelude::*;
    use zeroize::Zeroizing;

    use crate::ident::MacAddress;

    fn gcm_key(octets: &[u8]) -> GcmKey {
        GcmKey::new(&Sak::new(Zeroizing::new(octets.to_vec())).unwrap())
    }

    fn hex(text: &str) -> Vec<u8> {
        hex::decode(text).unwrap()
    }

    /// Seals with the `aes-gcm` crate: ciphertext, then the tag.
    fn seal_by_aes_gcm(key: &[u8], nonce: [u8; 12], aad: &[u8], data: &[u8]) -> Vec<u8> {
        let mut sealed = data.to_vec();
        if key.len() == 16 {
            let key = Aes128Gcm::new_from_slice(key).unwrap();
            key.encrypt_in_place(&nonce.into(), aad, &mut sealed).unwrap();
        } else {
            let key = Aes256Gcm::new_from_slice(key).unwrap();
            key.encrypt_in_place(&nonce.into(), aad, &mut sealed).unwrap();
        }
        sealed
    }

    /// Seals with `ring`.
    fn seal_by_ring(key: &[u8], nonce: [u8; 12], aad: &[u8], data: &[u8]) -> Vec<u8> {
        use ring::aead;
        let algorithm = if key.len() == 16 { &aead::AES_128_GCM } else { &aead::AES_256_GCM };
        let key = aead::LessSafeKey::new(aead::UnboundKey::new(algorithm, key).unwrap());
        let nonce = aead::Nonce::assume_unique_for_key(nonce);
        let mut sealed = data.to_vec();
        key.seal_in_place_append_tag(nonce, aead::Aad::from(aad), &mut sealed).unwrap();
        sealed
    }

    /// Test case 4 of the GCM specification (McGrew and Viega), AES-128, and 16, AES-256.
    #[test]
    fn the_gcm_specifications_cases_come_out() {
        let nonce: [u8; 12] = hex("cafebabefacedbaddecaf888").try_into().unwrap();
        let aad = hex("feedfacedeadbeeffeedfacedeadbeefabaddad2");
        let plain = hex("d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a72\
             1c3c0c95956809532fcf0e2449a6b525b16aedf5aa0de657ba637b39");
        let key = hex("feffe9928665731c6d6a8f9467308308feffe9928665731c6d6a8f9467308308");
        let cases = [
            (&key[..16], "42831ec2217774244b7221b784d0d49c", "5bc94fbc3221a5db94fae95ae7121a47"),
            (&key[..], "522dc1f099567d07f47f37a32a84427d", "76fc6ece0f4e1768cddf8853bb2d551b"),
        ];
        for (key, first_block, icv) in cases {
            let mut data = plain.clone();
            data.resize(plain.len() + 16, 0);
            gcm_key(key).seal_in_place(nonce, &aad, &mut data);
            assert_eq!(data[..16], hex(first_block));
            assert_eq!(data[plain.len()..], hex(icv));
        }
    }

    #[test]
    fn an_icv_that_is_wrong_or_missing_is_not_authentic() {
        let key = gcm_key(&[1; 16]);
        let mut icv = [0; 16];
        key.seal_in_place([2; 12], b"all of it", &mut icv);
        let open = |nonce, aad: &[u8], icv: &[u8]| key.open_in_place(nonce, aad, &mut icv.to_vec());
        assert_eq!(open([2; 12], b"all of it", &icv), Ok(()));
        assert_eq!(open([3; 12], b"all of it", &icv), Err(NotAuthentic));
        assert_eq!(open([2; 12], b"all of at", &icv), Err(NotAuthentic));
        assert_eq!(open([2; 12], b"all of it", &icv[1..]), Err(NotAuthentic));
        assert_eq!(open([2; 12], b"all of it", &[]), Err(NotAuthentic));
    }

    #[test]
    fn a_key_does_not_show_itself() {
        assert_eq!(format!("{:?}", gcm_key(&[0x5a; 32])), "GcmKey(..)");
    }

    /// 802.1AE-2018 Annex C.1.1 has this SCI and PN.
    #[test]
    fn a_nonce_is_the_sci_and_then_the_packet_number() {
        let sci = Sci::new(MacAddress([0x12, 0x15, 0x35, 0x24, 0xc0, 0x89]), 0x5e81);
        let nonce = nonce(sci, PacketNumber(0xb2c2_8465));
        assert_eq!(nonce[..], hex("12153524c0895e81b2c28465"));
    }

    proptest! {
        #[test]
        fn frames_seal_as_in_two_other_libraries_and_open_again(
            key in prop_oneof![
                prop::collection::vec(any::<u8>(), 16),
                prop::collection::vec(any::<u8>(), 32),
            ],
            nonce: [u8; 12],
            aad in prop::collection::vec(any::<u8>(), 0..2000),
            plain in prop::collection::vec(any::<u8>(), 0..2000),
            flip in any::<prop::sample::Index>(),
        ) {
            let ours = gcm_key(&key);
            let mut sealed = plain.clone();
            sealed.resize(plain.len() + 16, 0);
            ours.seal_in_place(nonce, &aad, &mut sealed);
            prop_assert_eq!(&sealed, &seal_by_aes_gcm(&key, nonce, &aad, &plain));
            prop_assert_eq!(&sealed, &seal_by_ring(&key, nonce, &aad, &plain));

            let mut changed = sealed.clone();
            changed[flip.index(sealed.len())] ^= 1;
            prop_assert_eq!(ours.open_in_place(nonce, &aad, &mut changed), Err(NotAuthentic));

            prop_assert_eq!(ours.open_in_place(nonce, &aad, &mut sealed), Ok(()));
            prop_assert_eq!(&sealed[..plain.len()], &plain);
        }
    }
}
