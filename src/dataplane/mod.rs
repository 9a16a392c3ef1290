//! Carries out what the KaY tells its SecY.
//!
//! A data plane is given [`SecyCommand`]s one after the other and answers each when it holds: what
//! it says is done, no thread of it goes against any more. What it has counted and how far packet
//! numbers have come is asked for with [`Dataplane::snapshot`].

#![forbid(unsafe_code)]

mod choice;
mod encryptor;
pub mod kernel;
mod snapshot;
mod userspace;

use std::time::Duration;

use crate::ident::{CipherSuite, ConfidentialityOffset, KeyId, Sci};
use crate::secy::{InstalledSak, SecyCommand, SecyError, SecySettings};

use kernel::{KernelDataplane, KernelSettings, KernelStartError};

pub use choice::{Choice, End, Kind, Offload};
pub use encryptor::{Encryptor, EncryptorHome, EncryptorSettings, EncryptorStartError, serve};
pub use snapshot::{Drops, KernelState, RxProgress, Snapshot};
pub use userspace::{StartError, UserspaceDataplane, UserspaceSettings};

/// One port's data plane.
#[derive(Debug)]
pub enum Dataplane {
    /// The kernel encrypts.
    Kernel(Box<KernelDataplane>),
    /// A process of its own encrypts.
    Userspace(Box<Encryptor>),
}

/// What a data plane of either kind is made from.
#[derive(Clone, Debug)]
pub struct DataplaneSettings {
    /// Which of them it is to be.
    pub choice: Choice,
    /// The interface that carries protected frames.
    pub parent: String,
    /// Its index.
    pub parent_index: u32,
    /// Its MTU.
    pub parent_mtu: u32,
    /// The secure interface.
    pub name: String,
    /// Our secure channel.
    pub sci: Sci,
    /// The suites that may come, the likeliest first. Not empty.
    pub suites: Vec<CipherSuite>,
    /// How much is to be encrypted.
    pub offset: ConfidentialityOffset,
    /// What holds for all frames.
    pub settings: SecySettings,
    /// Who does the kernel's work.
    pub offload: Offload,
    /// Where encryptors live.
    pub home: EncryptorHome,
    /// How long an encryptor goes on without a daemon: MKA Life Time.
    pub life: Duration,
    /// The keys that may be in use already, since before this daemon was started.
    pub expected: Vec<InstalledSak>,
}

/// Why a data plane did not start.
#[derive(Debug, thiserror::Error)]
pub enum DataplaneStartError {
    /// The kernel's.
    #[error(transparent)]
    Kernel(#[from] KernelStartError),
    /// The encryptor's.
    #[error(transparent)]
    Userspace(#[from] EncryptorStartError),
}

impl Dataplane {
    /// Starts a data plane, or takes one over that was left: with those of its keys that are
    /// expected, or with the Controlled Port closed and no key. Also tells why it is of the kind
    /// that it is, in words.
    ///
    /// # Errors
    ///
    /// [`DataplaneStartError`]; nothing new is left behind then.
    pub fn start(settings: DataplaneSettings) -> Result<(Self, String), DataplaneStartError> {
        let named = "the configuration names it".to_owned();
        match settings.choice {
            Choice::Kernel => Ok((settings.kernel()?, named)),
            Choice::Userspace => Ok((settings.userspace()?, named)),
            Choice::Auto => match settings.kernel_if_it_can() {
                Ok(plane) => Ok((plane, "this kernel has MACsec".to_owned())),
                Err(Unfit::For(reason)) => Ok((settings.userspace()?, reason)),
                Err(Unfit::Now(error)) => Err(error.into()),
            },
        }
    }

    /// Which of the two it is.
    #[must_use]
    pub const fn kind(&self) -> Kind {
        match self {
            Self::Kernel(_) => Kind::Kernel,
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
            Self::Kernel(plane) => plane.apply(command),
            Self::Userspace(plane) => plane.apply(command),
        }
    }

    /// Looks whether all is as it should be. To be called every half second, and before
    /// [`Dataplane::snapshot`] where that is to be of now.
    pub fn refresh(&mut self) {
        match self {
            Self::Kernel(plane) => plane.refresh(),
            Self::Userspace(plane) => plane.refresh(),
        }
    }

    /// Gives the keys that the data plane has lost since the last time, though nobody removed them.
    pub fn take_lost(&mut self) -> Vec<KeyId> {
        match self {
            Self::Kernel(plane) => plane.take_lost(),
            Self::Userspace(plane) => plane.take_lost(),
        }
    }

    /// The keys that were in use already when the data plane was started, and that it goes on with:
    /// with what it says of them, and the keys that were expected.
    #[must_use]
    pub fn kept(&self) -> Vec<InstalledSak> {
        match self {
            Self::Kernel(plane) => plane.kept(),
            Self::Userspace(plane) => plane.kept().to_vec(),
        }
    }

    /// The keys that were there when the data plane was started and that nobody expected. They have
    /// gone.
    #[must_use]
    pub fn unexpected(&self) -> &[KeyId] {
        match self {
            Self::Kernel(plane) => plane.unexpected(),
            Self::Userspace(plane) => plane.unexpected(),
        }
    }

    /// Lets go of what [`Dataplane::kept`] gave, so that the keys go with those who use them.
    pub fn forget_kept(&mut self) {
        match self {
            Self::Kernel(_) => {}
            Self::Userspace(plane) => plane.forget_kept(),
        }
    }

    /// Tells what had been counted and how far packet numbers had come when it last did something
    /// or looked.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        match self {
            Self::Kernel(plane) => plane.snapshot(),
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
            Self::Kernel(plane) => plane.set_parent_mtu(mtu),
            Self::Userspace(plane) => plane.set_parent_mtu(mtu),
        }
    }

    /// Has it go on for this long without a daemon. The next daemon says anew how long. The
    /// kernel's goes on for as long as it is left alone.
    ///
    /// # Errors
    ///
    /// [`SecyError::Refused`] where an encryptor does not answer.
    pub fn go_on_for(&mut self, span: Duration) -> Result<(), SecyError> {
        match self {
            Self::Kernel(_) => Ok(()),
            Self::Userspace(plane) => plane.go_on_for(span),
        }
    }

    /// Lets it go. An encryptor's secure interface never stays without it.
    pub fn close(self, end: End) {
        match self {
            Self::Kernel(mut plane) => plane.close(end),
            Self::Userspace(plane) => plane.close(end),
        }
    }
}

/// Why it is not to be the kernel's.
enum Unfit {
    /// It cannot do what is asked for.
    For(String),
    /// It could, and something is in the way.
    Now(KernelStartError),
}

impl DataplaneSettings {
    fn kernel_if_it_can(&self) -> Result<Dataplane, Unfit> {
        match self.offset {
            ConfidentialityOffset::IntegrityOnly | ConfidentialityOffset::Offset0 => {}
            ConfidentialityOffset::Offset30 | ConfidentialityOffset::Offset50 => {
                let reason = "the kernel has no confidentiality offset other than 0";
                return Err(Unfit::For(reason.to_owned()));
            }
        }
        let error = match kernel::available().and_then(|()| self.kernel()) {
            Ok(plane) => return Ok(plane),
            Err(error) => error,
        };
        Err(match error {
            KernelStartError::NoMacsec
            | KernelStartError::NotPermitted
            | KernelStartError::NoSuite { .. } => Unfit::For(error.to_string()),
            KernelStartError::Ask(_)
            | KernelStartError::NameTaken { .. }
            | KernelStartError::ParentBusy { .. }
            | KernelStartError::SciTaken { .. }
            | KernelStartError::Refused { .. }
            | KernelStartError::Settings(_) => Unfit::Now(error),
        })
    }

    fn kernel(&self) -> Result<Dataplane, KernelStartError> {
        // One that was left would have the name of the secure interface.
        if let Err(error) = encryptor::dismiss(&self.home, &self.parent) {
            tracing::debug!(iface = %self.parent, %error, "an encryptor that was left");
        }
        let plane = KernelDataplane::start(KernelSettings {
            parent: self.parent.clone(),
            parent_index: self.parent_index,
            name: self.name.clone(),
            sci: self.sci,
            suites: self.suites.clone(),
            settings: self.settings,
            offload: self.offload,
            expected: self.expected.clone(),
        })?;
        Ok(Dataplane::Kernel(Box::new(plane)))
    }

    fn userspace(self) -> Result<Dataplane, EncryptorStartError> {
        let plane = UserspaceSettings {
            parent: self.parent,
            parent_index: self.parent_index,
            parent_mtu: self.parent_mtu,
            name: self.name,
            sci: self.sci,
            settings: self.settings,
        };
        let Self { home, life, expected, .. } = self;
        let plane = Encryptor::start(EncryptorSettings { plane, home, life, expected })?;
        Ok(Dataplane::Userspace(Box::new(plane)))
    }
}
