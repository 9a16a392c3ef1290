//! What a SecY is to the suite: something to tell, to give frames to, and to look at.

use std::collections::BTreeMap;
use std::fmt;

use macsecd::dataplane::RxProgress;
use macsecd::ident::{KeyId, MacAddress, Sci, Ssci};
use macsecd::secy::{SecyCommand, SecyError, SecySettings, TxProgress, Validate};

/// A frame without its FCS.
pub(crate) type Frame = Vec<u8>;

/// A member of the connectivity association.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Station {
    pub(crate) sci: Sci,
    pub(crate) ssci: Ssci,
}

const fn station(number: u8) -> Station {
    let sci = Sci::new(MacAddress([2, 0, 0, 0, 0, number]), 1);
    Station { sci, ssci: Ssci(number as u32) }
}

/// The SecY under test.
pub(crate) const OWN: Station = station(1);
/// Whom it talks to.
pub(crate) const PEER: Station = station(2);
/// Another member.
pub(crate) const THIRD: Station = station(3);

/// What every script starts from, unless it says something else.
pub(crate) const STRICT: SecySettings = SecySettings {
    protect: true,
    validate: Validate::Strict,
    replay_protect: true,
    replay_window: 0,
    include_sci: true,
};

/// Which data plane it is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Who {
    Userspace,
    Kernel,
}

impl fmt::Display for Who {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Userspace => "the userspace data plane",
            Self::Kernel => "the kernel data plane",
        })
    }
}

/// The frames that came out of a SecY on either side.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(crate) struct Traffic {
    /// On the wire.
    pub(crate) wire: Vec<Frame>,
    /// At the Controlled Port.
    pub(crate) delivered: Vec<Frame>,
}

/// How far packet numbers have come.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(crate) struct State {
    pub(crate) tx: Option<TxProgress>,
    pub(crate) rx: Vec<RxProgress>,
}

/// What was counted, by name: that of a counter, or of a drop beside the standard's.
pub(crate) type Counts = BTreeMap<&'static str, u64>;

/// Frames received while the Controlled Port was closed. No standard counts them.
pub(crate) const IN_PORT_CLOSED: &str = "in_port_closed";

/// A SecY under a script.
pub(crate) trait Secy {
    /// Carries out a command.
    fn apply(&mut self, command: &SecyCommand) -> Result<(), SecyError>;

    /// Gives it frames to send, and returns when it has dealt with them.
    fn send(&mut self, frames: &[Frame]) -> Traffic;

    /// Lets frames come in from the wire, and returns when it has dealt with them.
    fn inject(&mut self, frames: &[Frame]) -> Traffic;

    /// Everything counted so far.
    fn counts(&mut self) -> Counts;

    fn state(&mut self) -> State;

    /// The keys that it has lost since the last time, though nobody removed them.
    fn lost(&mut self) -> Vec<KeyId> {
        Vec::new()
    }
}
