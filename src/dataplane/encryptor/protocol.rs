//! What a daemon and its encryptor say to each other.
//!
//! The encryptor speaks first and says which version it speaks. After that the daemon asks, and each
//! request has one answer. A message is one datagram. There is a message for an SAK and none for a
//! CAK, or for anything else that key agreement keeps to itself.
//!
//! Whoever changes a message raises [`VERSION`]; the tests below hold the octets of this one.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use serde::de::{Deserializer, Visitor};
use serde::ser::Serializer;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::crypto::{Sak, Salt};
use crate::dataplane::{Drops, RxProgress, Snapshot, UserspaceSettings};
use crate::ident::{
    AssociationNumber, CipherSuite, ConfidentialityOffset, KeyId, PacketNumber, Sci, Ssci,
};
use crate::secy::{
    Counters, InstallSak, InstalledSak, RxMember, SecyCommand, SecyError, SecyKey, SecySettings,
    TransmitState, TxProgress,
};
use crate::sys::LinkState;

/// The version of all that follows the greeting.
pub(super) const VERSION: u16 = 1;

/// The longest message: what 256 members with four keys each come to, and as much again.
pub(super) const MESSAGE_MAX: usize = 128 * 1024;

const MAGIC: &[u8; 17] = b"macsecd encryptor";

/// What an encryptor says first. Its octets are the same in all versions.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Greeting {
    /// What it speaks.
    pub version: u16,
    /// Whether it serves another daemon, and so hangs up now.
    pub engaged: bool,
}

impl Greeting {
    pub(super) const LEN: usize = MAGIC.len() + 3;

    pub(super) fn encode(self) -> [u8; Self::LEN] {
        let mut octets = [0; Self::LEN];
        let [high, low] = self.version.to_be_bytes();
        let fields = MAGIC.iter().copied().chain([high, low, u8::from(self.engaged)]);
        octets.iter_mut().zip(fields).for_each(|(to, from)| *to = from);
        octets
    }

    pub(super) fn decode(octets: &[u8]) -> Option<Self> {
        let [high, low, engaged] = *octets.strip_prefix(MAGIC)? else { return None };
        Some(Self { version: u16::from_be_bytes([high, low]), engaged: engaged != 0 })
    }
}

/// What a daemon asks for.
#[derive(Debug, Deserialize, Serialize)]
pub(super) enum Request {
    /// To end, with all keys and the secure interface. Its octets, one zero, are the same in all
    /// versions, so that every daemon can be rid of every encryptor. Has no answer but the end.
    End,
    /// To start a data plane; once.
    Start { settings: UserspaceSettings, life: Duration },
    /// To tell what there is.
    Attach { life: Duration },
    /// To carry out a command.
    Command(Command),
    /// To follow the parent interface's MTU.
    ParentMtu(u32),
    /// To tell what it has counted.
    Look,
}

/// What an encryptor answers.
#[derive(Debug, Deserialize, Serialize)]
pub(super) enum Answer {
    /// There is no data plane, and why.
    None(String),
    /// What it does, and with which keys.
    Held(Box<Held>, Shown),
    /// How it went.
    Done(Result<(), Refusal>, Shown),
}

/// A [`SecyCommand`].
#[derive(Debug, Deserialize, Serialize)]
pub(super) enum Command {
    Configure(SecySettings),
    SetControlledPort(bool),
    InstallSak(Install),
    AddReceiver { ki: KeyId, member: RxMember },
    RemoveReceiver(Sci),
    EnableTx(KeyId),
    RemoveSak(KeyId),
    RaiseLowestPn { ki: KeyId, sci: Sci, lowest_pn: PacketNumber },
}

/// An [`InstallSak`].
#[derive(Debug, Deserialize, Serialize)]
pub(super) struct Install {
    ki: KeyId,
    suite: CipherSuite,
    offset: ConfidentialityOffset,
    sak: Octets,
    an: u8,
    ssci: Option<Ssci>,
    receive: Vec<RxMember>,
}

/// The octets of an SAK, on their way. Wiped when dropped, and never printed.
pub(super) struct Octets(Zeroizing<Vec<u8>>);

/// What an encryptor has.
#[derive(Debug, Deserialize, Serialize)]
pub(super) struct Held {
    /// What it was started with; the MTU and what holds for all frames are those of now.
    pub plane: UserspaceSettings,
    /// Whether frames pass.
    pub open: bool,
    /// Its SAKs, without the keys.
    pub saks: Vec<HeldSak>,
}

/// An [`InstalledSak`] without its key.
#[derive(Debug, Deserialize, Serialize)]
pub(super) struct HeldSak {
    pub ki: KeyId,
    suite: CipherSuite,
    offset: ConfidentialityOffset,
    an: u8,
    ssci: Option<Ssci>,
    receivers: Vec<RxMember>,
    transmit: TransmitState,
}

/// A [`Snapshot`].
#[derive(Debug, Deserialize, Serialize)]
pub(super) struct Shown {
    counters: Counters,
    drops: Drops,
    tx: Option<(KeyId, PacketNumber)>,
    rx: Vec<(KeyId, Sci, PacketNumber, PacketNumber)>,
    parent: LinkState,
    secure_interface: LinkState,
    alive: bool,
}

/// A [`SecyError`].
#[derive(Debug, Deserialize, Serialize)]
pub(super) enum Refusal {
    KeyUsedBefore(KeyId),
    AssociationBusy { an: u8, by: KeyId },
    NoSuchKey(KeyId),
    Other(String),
}

impl Command {
    /// Words a command. The copy of a key that is in it goes with it.
    pub(super) fn of(command: &SecyCommand) -> Self {
        match command {
            SecyCommand::Configure(settings) => Self::Configure(*settings),
            SecyCommand::SetControlledPort(open) => Self::SetControlledPort(*open),
            SecyCommand::InstallSak(install) => Self::InstallSak(Install::of(install)),
            SecyCommand::AddReceiver { ki, member } => {
                Self::AddReceiver { ki: *ki, member: *member }
            }
            SecyCommand::RemoveReceiver(sci) => Self::RemoveReceiver(*sci),
            SecyCommand::EnableTx(ki) => Self::EnableTx(*ki),
            SecyCommand::RemoveSak(ki) => Self::RemoveSak(*ki),
            SecyCommand::RaiseLowestPn { ki, sci, lowest_pn } => {
                Self::RaiseLowestPn { ki: *ki, sci: *sci, lowest_pn: *lowest_pn }
            }
        }
    }

    /// Gives the command back.
    ///
    /// # Errors
    ///
    /// [`SecyError::Invalid`] where it has a key that cannot be one.
    pub(super) fn into_command(self) -> Result<SecyCommand, SecyError> {
        Ok(match self {
            Self::Configure(settings) => SecyCommand::Configure(settings),
            Self::SetControlledPort(open) => SecyCommand::SetControlledPort(open),
            Self::InstallSak(install) => SecyCommand::InstallSak(install.into_install()?),
            Self::AddReceiver { ki, member } => SecyCommand::AddReceiver { ki, member },
            Self::RemoveReceiver(sci) => SecyCommand::RemoveReceiver(sci),
            Self::EnableTx(ki) => SecyCommand::EnableTx(ki),
            Self::RemoveSak(ki) => SecyCommand::RemoveSak(ki),
            Self::RaiseLowestPn { ki, sci, lowest_pn } => {
                SecyCommand::RaiseLowestPn { ki, sci, lowest_pn }
            }
        })
    }
}

impl Install {
    fn of(install: &InstallSak) -> Self {
        let InstallSak { key, an, ssci, receive } = install;
        Self {
            ki: key.ki,
            suite: key.suite,
            offset: key.offset,
            sak: Octets(Zeroizing::new(key.sak.expose().to_vec())),
            an: an.value(),
            ssci: *ssci,
            receive: receive.clone(),
        }
    }

    fn into_install(self) -> Result<InstallSak, SecyError> {
        let Self { ki, suite, offset, sak: Octets(octets), an, ssci, receive } = self;
        let sak = Sak::new(octets).map_err(|_| SecyError::Invalid("this cannot be an SAK"))?;
        // It follows from the name, so it need not be told.
        let salt = suite.is_xpn().then(|| Salt::new(ki));
        let key = Arc::new(SecyKey { ki, suite, offset, sak, salt });
        Ok(InstallSak { key, an: AssociationNumber::from_low_bits(an), ssci, receive })
    }
}

impl HeldSak {
    pub(super) fn of(sak: &InstalledSak) -> Self {
        Self {
            ki: sak.key.ki,
            suite: sak.key.suite,
            offset: sak.key.offset,
            an: sak.an.value(),
            ssci: sak.ssci,
            receivers: sak.receivers.values().copied().collect(),
            transmit: sak.transmit,
        }
    }

    /// Puts the key back, where it is of this SAK. What becomes of it, and whom it receives, is as
    /// the encryptor says.
    pub(super) fn with_key_of(&self, expected: &InstalledSak) -> Option<InstalledSak> {
        let key = &expected.key;
        let same = (key.ki, key.suite, key.offset) == (self.ki, self.suite, self.offset)
            && (expected.an.value(), expected.ssci) == (self.an, self.ssci);
        same.then(|| InstalledSak {
            key: Arc::clone(key),
            an: expected.an,
            ssci: expected.ssci,
            receivers: self.receivers.iter().map(|member| (member.sci, *member)).collect(),
            transmit: self.transmit,
        })
    }
}

impl From<Snapshot> for Shown {
    fn from(snapshot: Snapshot) -> Self {
        let Snapshot { counters, drops, tx, rx, parent, secure_interface, alive, kernel: _ } =
            snapshot;
        let rx = rx
            .into_iter()
            .map(|RxProgress { ki, sci, next_pn, lowest_pn }| (ki, sci, next_pn, lowest_pn));
        let tx = tx.map(|TxProgress { ki, next_pn }| (ki, next_pn));
        Self { counters, drops, tx, rx: rx.collect(), parent, secure_interface, alive }
    }
}

impl From<Shown> for Snapshot {
    fn from(shown: Shown) -> Self {
        let Shown { counters, drops, tx, rx, parent, secure_interface, alive } = shown;
        let rx = rx.into_iter().map(|(ki, sci, next_pn, lowest_pn)| RxProgress {
            ki,
            sci,
            next_pn,
            lowest_pn,
        });
        let (tx, rx) = (tx.map(|(ki, next_pn)| TxProgress { ki, next_pn }), rx.collect());
        Self { counters, drops, tx, rx, parent, secure_interface, alive, kernel: None }
    }
}

impl From<SecyError> for Refusal {
    fn from(error: SecyError) -> Self {
        match error {
            SecyError::KeyUsedBefore(ki) => Self::KeyUsedBefore(ki),
            SecyError::AssociationBusy { an, by } => Self::AssociationBusy { an: an.value(), by },
            SecyError::NoSuchKey(ki) => Self::NoSuchKey(ki),
            SecyError::Invalid(_) | SecyError::Refused(_) => Self::Other(error.to_string()),
        }
    }
}

impl From<Refusal> for SecyError {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::KeyUsedBefore(ki) => Self::KeyUsedBefore(ki),
            Refusal::AssociationBusy { an, by } => {
                Self::AssociationBusy { an: AssociationNumber::from_low_bits(an), by }
            }
            Refusal::NoSuchKey(ki) => Self::NoSuchKey(ki),
            Refusal::Other(text) => Self::Refused(text),
        }
    }
}

impl fmt::Debug for Octets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Octets(..)")
    }
}

impl Serialize for Octets {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(&self.0)
    }
}

impl<'de> Deserialize<'de> for Octets {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Taker;

        impl Visitor<'_> for Taker {
            type Value = Octets;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("the octets of an SAK")
            }

            fn visit_bytes<E: serde::de::Error>(self, octets: &[u8]) -> Result<Octets, E> {
                // No message has longer ones, and none is made of what a stranger says.
                if octets.len() > 32 {
                    return Err(E::invalid_length(octets.len(), &self));
                }
                Ok(Octets(Zeroizing::new(octets.to_vec())))
            }
        }

        deserializer.deserialize_bytes(Taker)
    }
}
