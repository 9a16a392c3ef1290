//! What a SecY is, without a thread or a socket: commands, state, the frame transform, replay.

#![forbid(unsafe_code)]

#[cfg(test)]
mod batch_tests;
mod buffer;
mod command;
mod counters;
#[cfg(test)]
mod fixture;
mod installed;
mod model;
mod protect;
mod replay;
#[cfg(test)]
mod resume_tests;
mod sa;
mod table;
mod used;
mod validate;

pub use buffer::{FrameBuf, FrameTooLong, OVERHEAD_MAX};
pub use command::{
    CommandId, InstallSak, Octets, RxMember, RxProgress, SecyCommand, SecyError, SecyKey,
    SecySettings, TxProgress, Validate,
};
pub use counters::Counters;
pub use installed::{InstalledSak, TransmitState};
pub use model::{CHANNELS_MAX, SecyModel};
pub use protect::{TagStyle, TxDiscard, protect, protect_batch, transmit};
pub use replay::{Arrival, ReplayWindow, XPN_WINDOW_MAX};
pub use sa::{PnRun, PreparedKey, RxSa, TxPn, TxSa};
pub use table::RxTable;
pub use used::{KEY_SERVERS_MAX, UsedKeys};
pub use validate::{FrameDiscard, Verdict, validate, validate_batch};
