//! Keys as types, and what is done with them (802.1X-2020 6.2, 9.3, 9.8; 802.1AE-2018 clause 14).
//!
//! A key cannot be cloned, printed or compared in variable time, and is wiped when dropped. The
//! primitives are aws-lc-rs's; the tests hold them against published vectors and against other
//! libraries.

#![forbid(unsafe_code)]

mod cak;
mod entropy;
mod gcm;
mod kdf;
mod prf;
mod sak;
mod seal;
mod verified;

pub use cak::{Cak, Ick, Kek, UnwrapError, WrappedSak};
pub use entropy::{Entropy, NoEntropy};
pub use gcm::{GcmKey, NotAuthentic, nonce, xpn_nonce};
pub use kdf::{eap_cak, eap_ckn, kdf};
pub use prf::KeyLengthError;
pub use sak::{Sak, SakLengthError, Salt};
pub use seal::Seal;
pub use verified::Verified;
