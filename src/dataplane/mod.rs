//! Carries out what the KaY tells its SecY.
//!
//! A data plane is given [`SecyCommand`]s one after the other and answers each when it holds: what
//! it says is done, no thread of it goes against any more. What it has counted and how far packet
//! numbers have come is asked for with [`Dataplane::snapshot`].

#![forbid(unsafe_code)]

mod choice;
pub mod kernel;
mod snapshot;
mod userspace;

use crate::secy::{SecyCommand, SecyError};

pub use choice::{Choice, Kind, Offload};
pub use snapshot::{Drops, KernelState, RxProgress, Snapshot};
pub use userspace::{StartError, UserspaceDataplane, UserspaceSettings};

/// One port's data plane.
#[derive(Debug)]
pub enum Dataplane {
    /// Threads of this process encrypt.
    Userspace(UserspaceDataplane),
}

impl Dataplane {
    /// Which of the two it is.
    #[must_use]
    pub const fn kind(&self) -> Kind {
        match self {
            Self::Userspace(_) => Kind::Userspace,
        }
    }

    /// Carries out a command. It may have to wait, for its threads or for the kernel.
    ///
    /// # Errors
    ///
    /// [`SecyError`] where the command breaks a rule of the SecY, and nothing changes; or where the
    /// system refused.
    pub fn apply(&mut self, command: &SecyCommand) -> Result<(), SecyError> {
        match self {
            Self::Userspace(plane) => plane.apply(command),
        }
    }

    /// Tells what has been counted and how far packet numbers have come.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        match self {
            Self::Userspace(plane) => plane.snapshot(),
        }
    }

    /// Follows a change of the parent interface's MTU.
    ///
    /// # Errors
    ///
    /// [`SecyError::Refused`] where the secure interface cannot have the MTU that follows.
    pub fn set_parent_mtu(&mut self, mtu: u32) -> Result<(), SecyError> {
        match self {
            Self::Userspace(plane) => plane.set_parent_mtu(mtu),
        }
    }
}
