//! The frame engine: AES-GCM for many frames of one key at a time.
//!
//! A general library takes one message and knows nothing of the next. On frames it spends most of
//! its time getting under way: it makes powers of H, waits for one block of AES after the other,
//! then for one multiplication after the other. Here all that depends on the key alone is made once
//! ([`Key`]), and frames come in batches, so that there is always other work while one waits.
//!
//! Two engines do the same, octet by octet, see [`EngineKind`]. That of our own follows SP 800-38D
//! with these words: `J0` is the nonce with a counter of 1, whose encryption masks the tag;
//! the payload's counters begin at 2; `H` is the encryption of zeros; GHASH runs over the additional
//! data (AAD), the ciphertext, and one block with the lengths of both.
//!
//! # What has to hold, and who sees to it
//!
//! This module and `sys` are the only ones with `unsafe`. Here it rests on four things:
//!
//! 1. *The instructions exist.* A function with `target_feature` is called through a [`Key`] alone,
//!    which is made for an [`Engine`] alone, which is made where the CPU and the system have said
//!    that they have all of them.
//! 2. *No octet outside of a slice is touched.* Loads and stores of vectors go through functions
//!    that take arrays, or slices with a mask made of their length; what a mask leaves out is
//!    neither read nor written, by the definition of the instruction. Nothing else uses a pointer.
//! 3. *Time and addresses do not depend on secrets.* Only the lengths of a frame are branched upon
//!    or reckoned with as addresses. There are no tables: AES and the multiplication are
//!    instructions whose time is fixed. A tag is compared as a whole, and the answers of a batch
//!    are given when all of it is done.
//! 4. *Nothing secret stays behind.* A key's octets live in one allocation that is wiped when it is
//!    dropped. When a batch is done, all vector registers are cleared, and so is the stack below the
//!    caller, where the compiler may have put what did not fit the registers (`scratch`). Rust
//!    does not promise where it keeps a value, so this is as far as it can be seen in the
//!    machine code, which has been read for it. Of a frame whose tag is wrong the payload is wiped.
//!
//! That a nonce is used once is the caller's, who has spent a packet number for it.

#![allow(unsafe_code)]
#![deny(clippy::undocumented_unsafe_blocks)]

#[cfg(target_arch = "x86_64")]
mod avx512;
mod job;
mod portable;
#[cfg(target_arch = "x86_64")]
mod schedule;
#[cfg(target_arch = "x86_64")]
mod scratch;
mod select;
#[cfg(test)]
mod tests;

pub use job::{BATCH_MAX, Job, TAG_LEN};
pub use select::{Engine, EngineKind, UnknownEngine};

use portable::Portable;

/// An AES key, expanded for one engine. It is wiped when it is dropped.
///
/// Costs far more to make than to use: make one for each SAK and share it.
pub struct Key(Inner);

enum Inner {
    #[cfg(target_arch = "x86_64")]
    Avx512(Box<schedule::Schedule>),
    Portable(Portable),
}

/// Octets that cannot be an AES key of MACsec.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("an AES key has 16 or 32 octets, this one has {0}")]
pub struct KeyLengthError(pub usize);

impl Key {
    /// Expands a key for `engine`.
    ///
    /// # Errors
    ///
    /// [`KeyLengthError`] where it has neither 16 nor 32 octets.
    pub fn new(engine: Engine, octets: &[u8]) -> Result<Self, KeyLengthError> {
        if !matches!(octets.len(), 16 | 32) {
            return Err(KeyLengthError(octets.len()));
        }
        let inner = match engine.kind() {
            #[cfg(target_arch = "x86_64")]
            EngineKind::Avx512 => {
                // SAFETY: there is such an `Engine` only where the CPU has AES and PCLMULQDQ.
                Inner::Avx512(unsafe { schedule::Schedule::new(octets) })
            }
            EngineKind::Portable => Inner::Portable(Portable::new(octets)),
        };
        Ok(Self(inner))
    }

    /// The engine that the key was expanded for.
    #[must_use]
    pub const fn kind(&self) -> EngineKind {
        match &self.0 {
            #[cfg(target_arch = "x86_64")]
            Inner::Avx512(_) => EngineKind::Avx512,
            Inner::Portable(_) => EngineKind::Portable,
        }
    }

    /// Encrypts the payload of each job where it lies, and writes its tag behind it.
    ///
    /// No nonce may ever come twice under one key.
    pub fn seal(&self, jobs: &mut [Job<'_>]) {
        match &self.0 {
            #[cfg(target_arch = "x86_64")]
            Inner::Avx512(schedule) => {
                // SAFETY: there is such a `Key` only where the CPU has what `avx512` asks for.
                scratch::clean(|| unsafe { avx512::seal(schedule, jobs) });
            }
            Inner::Portable(key) => key.seal(jobs),
        }
    }

    /// Checks the tag of each job, and decrypts its payload where it lies.
    ///
    /// Gives a bit for each job, from the lowest on: set where the tag was right. Else the payload
    /// is all zeros now. What is left where the tag stood is not defined. Jobs past
    /// [`BATCH_MAX`] are not looked at, and not right.
    #[must_use]
    pub fn open(&self, jobs: &mut [Job<'_>]) -> u64 {
        let (jobs, _) = jobs.split_at_mut(jobs.len().min(BATCH_MAX));
        let right = match &self.0 {
            #[cfg(target_arch = "x86_64")]
            Inner::Avx512(schedule) => {
                // SAFETY: there is such a `Key` only where the CPU has what `avx512` asks for.
                scratch::clean(|| unsafe { avx512::open(schedule, jobs) })
            }
            Inner::Portable(key) => key.open(jobs),
        };
        for (at, job) in jobs.iter_mut().enumerate() {
            if right >> at & 1 == 0 {
                job.wipe();
            }
        }
        right
    }
}

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Key(..)")
    }
}
