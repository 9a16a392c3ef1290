//! The engine for machines that have none of their own: aws-lc-rs, a frame at a time.
//!
//! It is also what the others are compared with, in tests.

use aws_lc_rs::aead::{AES_128_GCM, AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};

use super::Job;

/// A key of the library, which wipes it when it is dropped.
pub(super) struct Portable(LessSafeKey);

impl Portable {
    /// Expands a key of 16 or 32 octets.
    pub(super) fn new(octets: &[u8]) -> Self {
        let algorithm =
            if octets.len() == AES_128_GCM.key_len() { &AES_128_GCM } else { &AES_256_GCM };
        let Ok(key) = UnboundKey::new(algorithm, octets) else {
            unreachable!("an AES key of MACsec has 16 or 32 octets");
        };
        Self(LessSafeKey::new(key))
    }

    pub(super) fn seal(&self, jobs: &mut [Job<'_>]) {
        for job in jobs {
            let nonce = Nonce::assume_unique_for_key(job.nonce());
            let aad = Aad::from(job.aad);
            let Some((payload, icv)) = job.parts() else { continue };
            let Ok(tag) = self.0.seal_in_place_separate_tag(nonce, aad, payload) else {
                unreachable!("GCM seals everything shorter than 64 GiB");
            };
            icv.copy_from_slice(tag.as_ref());
        }
    }

    pub(super) fn open(&self, jobs: &mut [Job<'_>]) -> u64 {
        let mut right = 0;
        for (at, job) in jobs.iter_mut().enumerate() {
            let nonce = Nonce::assume_unique_for_key(job.nonce());
            let aad = Aad::from(job.aad);
            let opened = self.0.open_in_place(nonce, aad, job.payload_and_tag());
            right |= u64::from(opened.is_ok()) << at;
        }
        right
    }
}
