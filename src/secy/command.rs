//! What a SecY can be told, and what it says back.
//!
//! The KaY speaks to the data plane in these commands only. Each goes out with a [`CommandId`] and
//! is answered once, done or failed, in the order given. SAs are named by their key identifier and
//! never by their association number alone, so that a late command can never hit a newer key.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::crypto::{Sak, Salt};
use crate::ident::{
    AssociationNumber, CipherSuite, ConfidentialityOffset, KeyId, PacketNumber, Sci, Ssci,
};

/// Names one command until its answer has come.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Ord, PartialOrd)]
pub struct CommandId(pub u64);

/// A change to the SecY. All of them can be given while traffic flows.
#[derive(Debug)]
pub enum SecyCommand {
    /// Sets what holds for all frames (802.1AE-2018 10.7.8, 10.7.17).
    Configure(SecySettings),
    /// Opens or closes the Controlled Port (802.1X-2020 12.4, controlledPortEnabled).
    SetControlledPort(bool),
    /// Creates the SAs of a new SAK: one to transmit, not yet enabled and starting at packet
    /// number 1, and one to receive from each member, enabled at once. A missing receive SC is
    /// created with its SA. A key identifier is installed once, ever.
    InstallSak(InstallSak),
    /// Lets a member that joined late be received with an installed SAK.
    AddReceiver {
        /// Which SAK.
        ki: KeyId,
        /// Whom to receive.
        member: RxMember,
    },
    /// Forgets a member: its receive SC with all its SAs.
    RemoveReceiver(Sci),
    /// Transmits with this SAK from now on; the previous transmit SA is never used again.
    EnableTx(KeyId),
    /// Deletes every SA of this SAK, and every receive SC that has no other.
    RemoveSak(KeyId),
    /// Refuses frames of a member below this packet number (delay protection); never lowers.
    RaiseLowestPn {
        /// Which SAK.
        ki: KeyId,
        /// Whose frames.
        sci: Sci,
        /// The lowest number still good.
        lowest_pn: PacketNumber,
    },
}

/// What holds for all frames of a SecY.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct SecySettings {
    /// Whether frames are protected at all (protectFrames).
    pub protect: bool,
    /// What becomes of frames that do not validate (validateFrames).
    pub validate: Validate,
    /// Whether frames below the window are refused (replayProtect).
    pub replay_protect: bool,
    /// How far behind the highest packet number a frame may be, in packet numbers (replayWindow).
    pub replay_window: u32,
    /// Whether the tag of a sent frame carries the SCI (alwaysIncludeSCI).
    pub include_sci: bool,
}

/// What becomes of frames that do not validate (802.1AE-2018 10.7.8).
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub enum Validate {
    /// Tag and ICV are taken off unchecked where the content is in clear.
    Disabled,
    /// Frames are checked, and delivered even where the check fails, if the content is in clear.
    Check,
    /// Only valid frames are delivered.
    Strict,
}

/// The SAs of one SAK.
#[derive(Debug)]
pub struct InstallSak {
    /// The key and all that goes with it.
    pub key: Arc<SecyKey>,
    /// Which association of each channel it takes.
    pub an: AssociationNumber,
    /// Our own SSCI; `None` where the suite is not XPN.
    pub ssci: Option<Ssci>,
    /// Whom to receive.
    pub receive: Vec<RxMember>,
}

/// An SAK with its name and its use. Shared, never copied.
#[derive(Debug)]
pub struct SecyKey {
    /// The name that SA operations go by.
    pub ki: KeyId,
    /// The suite that the SAK is for.
    pub suite: CipherSuite,
    /// How much is encrypted.
    pub offset: ConfidentialityOffset,
    /// The key itself.
    pub sak: Sak,
    /// The salt of the nonces; `None` where the suite is not XPN.
    pub salt: Option<Salt>,
}

/// A member to receive from.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct RxMember {
    /// Its secure channel.
    pub sci: Sci,
    /// Its SSCI; `None` where the suite is not XPN.
    pub ssci: Option<Ssci>,
    /// The lowest packet number to accept, 1 unless it has said more.
    pub lowest_pn: PacketNumber,
}

/// Why a command was not carried out.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum SecyError {
    /// This key identifier was installed before; installing it again could repeat a nonce.
    #[error("key {0} was installed before and is not used twice")]
    KeyUsedBefore(KeyId),
    /// The association is taken by another key.
    #[error("association {an} is in use by key {by}", an = .an.value())]
    AssociationBusy {
        /// The association asked for.
        an: AssociationNumber,
        /// Who has it.
        by: KeyId,
    },
    /// No SA goes by this key identifier.
    #[error("no security association has key {0}")]
    NoSuchKey(KeyId),
    /// The command contradicts itself or the suite.
    #[error("{0}")]
    Invalid(&'static str),
    /// The system below refused.
    #[error("{0}")]
    Refused(String),
}

/// How far a receive SA has come.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct RxProgress {
    /// Whose key.
    pub ki: KeyId,
    /// Whose frames.
    pub sci: Sci,
    /// The number after the highest received.
    pub next_pn: PacketNumber,
    /// The lowest number still good.
    pub lowest_pn: PacketNumber,
}

/// How many octets of user data a SecY has counted since it began, whatever the key.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Octets {
    /// Sent protected.
    pub sent: u64,
    /// Received protected, and good.
    pub received: u64,
}

/// How far the transmit SA of a key has come.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct TxProgress {
    /// Whose SA.
    pub ki: KeyId,
    /// The next packet number it will use; past the last one when it has run out.
    pub next_pn: PacketNumber,
}
