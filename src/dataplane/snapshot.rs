//! What a data plane tells of itself.

pub use crate::secy::RxProgress;

use crate::secy::{Counters, TxProgress};
use crate::sys::LinkState;

use super::Offload;

/// A data plane at one moment.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Snapshot {
    /// What the standard counts.
    pub counters: Counters,
    /// The frames that were lost before or after the SecY.
    pub drops: Drops,
    /// How far the transmitting SA has come; `None` where none transmits.
    pub tx: Option<TxProgress>,
    /// How far each receive SA has come, ordered by SCI and then by association number.
    pub rx: Vec<RxProgress>,
    /// The interface that carries protected frames.
    pub parent: LinkState,
    /// The interface that carries the traffic to protect.
    pub secure_interface: LinkState,
    /// Whether the data plane works. Once it does not, only a new one helps.
    pub alive: bool,
    /// What only the kernel's data plane has to tell; `None` in userspace.
    pub kernel: Option<KernelState>,
}

/// What the kernel's data plane has to tell.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct KernelState {
    /// Who does the work, as the kernel says; never [`Offload::Auto`].
    pub offload: Offload,
    /// Why it is not done where the configuration asks for it.
    pub offload_refused: Option<String>,
    /// How often something was found that somebody else had changed, and put right.
    pub interference: u64,
    /// What was found last.
    pub last_interference: Option<String>,
    /// The other MACsec interfaces on the same parent, by name.
    pub neighbours: Vec<String>,
}

/// Frames that were lost before or after the SecY, where no standard counts them.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, serde::Deserialize, serde::Serialize)]
pub struct Drops {
    /// Frames to send while the Controlled Port was closed.
    pub out_port_closed: u64,
    /// Frames to send of which the system says what does not fit them, so that they cannot be cut up.
    pub out_malformed: u64,
    /// Frames that the parent interface was too busy to take.
    pub out_congested: u64,
    /// Frames that the parent interface refused, being down, gone or set to a lower MTU.
    pub out_refused: u64,
    /// Frames received while the Controlled Port was closed.
    pub in_port_closed: u64,
    /// Received frames longer than the parent's MTU allows.
    pub in_too_long: u64,
    /// Good frames that the secure interface did not take, being down, gone or short of memory.
    pub in_undelivered: u64,
}

impl Drops {
    /// Adds another thread's counts to these.
    pub(super) const fn add(&mut self, other: &Self) {
        let Self {
            out_port_closed,
            out_malformed,
            out_congested,
            out_refused,
            in_port_closed,
            in_too_long,
            in_undelivered,
        } = *other;
        self.out_port_closed += out_port_closed;
        self.out_malformed += out_malformed;
        self.out_congested += out_congested;
        self.out_refused += out_refused;
        self.in_port_closed += in_port_closed;
        self.in_too_long += in_too_long;
        self.in_undelivered += in_undelivered;
    }
}
