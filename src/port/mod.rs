//! One port of the router: its key agreement, its link and its data plane brought together.
//!
//! [`Driver`] decides and does no I/O; the simulation drives it in virtual time. `task` carries out
//! what it decides on a real link.

#![forbid(unsafe_code)]

pub mod driver;
#[cfg(feature = "daemon")]
pub mod task;

pub use driver::{Driver, Link, PortInput, PortOutput};
