//! Which data plane a port has, and who does its work.

use std::fmt;

/// Which data plane a port is to have.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Choice {
    /// The kernel where it has MACsec, otherwise an encryptor.
    #[default]
    Auto,
    /// The kernel, or nobody.
    Kernel,
    /// An encryptor: a process of ours.
    Userspace,
}

/// Which data plane a port has.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Kind {
    /// The kernel's MACsec.
    Kernel,
    /// An encryptor's: a process of ours.
    Userspace,
}

/// What is left when a port's data plane is let go.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum End {
    /// Everything, keys and all: whoever starts next is to go on with it, and no frame is lost.
    Leave,
    /// The secure interface where it can stay, without a key.
    Clear,
    /// Nothing.
    Delete,
}

/// Who of the machine does the work of the kernel's MACsec.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Offload {
    /// The processor.
    #[default]
    Off,
    /// The PHY.
    Phy,
    /// The network card.
    Mac,
    /// The network card, else the PHY, else the processor.
    Auto,
}

impl Offload {
    /// The word for it in the configuration.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Phy => "phy",
            Self::Mac => "mac",
            Self::Auto => "auto",
        }
    }
}

impl fmt::Display for Offload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
