//! Names and numbers of the standards, as types that cannot hold a wrong value.
//!
//! Nothing here knows a key, a clock or a socket. Numbers are stored as numbers and names as
//! octets; `Ord` is always the numeric order of the standards (a name compares as one big-endian
//! integer), because elections and SSCI assignment depend on it.

#![forbid(unsafe_code)]

mod names;
mod numbers;
mod suite;

pub use names::{Ckn, CknError, KeyId, MacAddress, MemberId, Sci};
pub use numbers::{
    AssociationNumber, KeyNumber, KeyServerPriority, MessageNumber, PacketNumber, Ssci,
};
pub use suite::{CipherSuite, ConfidentialityOffset, UnknownCipherSuite};
