//! Octets to values and back. No state, no keys.
//!
//! Every file reads alike: the value, its decode, its encode, its error, its tests. A decoder never
//! panics, never allocates before it knows a length to be in bounds, and returns either a value that
//! is right in all its parts or the first rule that the octets break. Sets and values of a later
//! version than ours are skipped by their length, not refused.

#![forbid(unsafe_code)]

mod basic;
mod eapol;
pub mod ethernet;
mod mkpdu;
mod sectag;
mod sets;

pub use basic::{Basic, MacsecCapability};
pub use eapol::{Eapol, EapolError, EapolEthertype};
pub use mkpdu::{Mkpdu, MkpduError, MkpduTooLong, RawMkpdu};
pub use sectag::{SciField, SecTag, SecTagError};
pub use sets::{
    Announcement, DistributedCak, DistributedSak, LivePeerList, PeerEntry, SakUse, SakUseKey,
    SakUseSet, SetFault, Xpn,
};

/// The octets of an ICV, in MKPDUs and in frames alike.
pub const ICV_LEN: usize = 16;
