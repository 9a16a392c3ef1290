//! The key agreement entity, KaY, of one port (IEEE 802.1X-2020 clauses 9 and 12).
//!
//! [`Kay::handle`] takes what happened and when, [`Kay::poll_output`] yields what is to be done, in
//! order, until it has nothing left, and [`Kay::poll_timeout`] says when to come back at the latest.
//! It opens no socket, reads no clock and makes no randomness of its own, so the same inputs always
//! give the same outputs.
//!
//! ```text
//!  frame ─► receive: wire ─► CKN ─► ICV ─► Verified<Mkpdu> ─► Participant ─► Peers, Actor
//!                                                                 │
//!          settle: election ─► principal ─► SAKs ─► Cp ─► commands to the SecY, news to the peers
//! ```
//!
//! A port has one SecY and as many participants as keys. One of them, the principal, drives the
//! SecY; the others only keep their peers alive, so that a key can be changed without a gap.

#![forbid(unsafe_code)]

mod actor;
mod commands;
mod cp;
mod discard;
mod election;
#[cfg(test)]
mod group_tests;
mod io;
mod kay;
mod loss;
#[cfg(test)]
mod loss_tests;
mod manners;
mod memory;
#[cfg(test)]
mod memory_tests;
#[cfg(test)]
mod model_tests;
mod pace;
mod participant;
mod peers;
mod policy;
mod progress;
#[cfg(test)]
mod promise_tests;
#[cfg(test)]
mod quirk_tests;
mod receive;
#[cfg(test)]
mod record_tests;
#[cfg(test)]
mod redo_tests;
#[cfg(test)]
mod refusal_tests;
mod rollover;
#[cfg(test)]
mod rollover_tests;
mod sak;
mod serve;
mod settle;
#[cfg(test)]
mod small_tests;
mod speak;
mod ssci;
mod status;
mod suspend;
#[cfg(test)]
mod suspend_tests;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
pub mod timers;
mod way;
mod wear;
#[cfg(test)]
mod wear_tests;

pub use cp::CpState;
pub use discard::{Discard, Discards};
pub use io::{Input, Output};
pub use kay::{Kay, RekeyRefused};
pub use manners::{IcvIndicator, Manners, MkaVersion, SsciOrder};
pub use memory::{Forgotten, Memory};
pub use policy::{Access, Policy};
pub use status::{
    Distributing, Evidence, KeyServer, ParticipantStatus, PeerStatus, PortState, SakStatus,
    Sighting, Status,
};
pub use suspend::SuspensionRefused;
