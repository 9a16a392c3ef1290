//! What goes into a KaY and what comes out.

use crate::ident::KeyId;
use crate::secy::{CommandId, Octets, RxProgress, SecyCommand, SecyError, TxProgress};

/// Something that happened outside of the KaY.
#[derive(Debug)]
pub enum Input<'a> {
    /// The time that `poll_timeout` named has come.
    Timeout,
    /// The link below came up (`true`) or went down.
    Carrier(bool),
    /// A frame with the EAPOL EtherType arrived, Ethernet header first.
    Frame(&'a [u8]),
    /// The data plane has answered a command.
    Secy {
        /// Which command.
        id: CommandId,
        /// How it went.
        result: Result<(), SecyError>,
    },
    /// The data plane no longer has the SAK of this name, which it had said to have: its SAs or the
    /// whole device are gone, or its packet numbers are used up. It can no longer send with it, and
    /// must not begin to again; it may receive with it until it is told to remove it.
    SakLost(KeyId),
    /// The data plane told how many packet numbers are spent.
    TxProgress(TxProgress),
    /// The data plane told how far those have come whom it receives.
    RxProgress(&'a [RxProgress]),
    /// The data plane told how many octets it has counted. It goes with the key of the last
    /// [`Input::TxProgress`].
    Octets(Octets),
}

/// Something that the KaY wants done. Outputs come in the order in which they must be done: the
/// protocol says that it receives only after the data plane has said so.
#[must_use]
#[derive(Debug)]
pub enum Output {
    /// Send this frame, complete from Ethernet header to ICV, on the Uncontrolled Port.
    Transmit(Vec<u8>),
    /// Keep this instead of what was to be kept before; `None`: keep nothing. Comes before whatever
    /// it lets a later KaY know that it was done, see [`Memory`](super::Memory).
    Remember(Option<Vec<u8>>),
    /// Have the data plane do this and answer under this id.
    Secy {
        /// The id that the answer must bear.
        id: CommandId,
        /// What to do.
        command: SecyCommand,
    },
}
