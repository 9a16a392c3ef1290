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

/// The longest message: what 256 members with four keys each come to, and half as much again.
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
    /// The network namespace that it is in.
    pub namespace: Option<(u64, u64)>,
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ident::{KeyNumber, MacAddress, MemberId};
    use crate::secy::Validate;

    const KI: KeyId = KeyId { server: MemberId::from_octets([7; 12]), number: KeyNumber(300) };
    const SCI: Sci = Sci::new(MacAddress([2, 0, 0, 0, 0, 1]), 1);
    const MEMBER: RxMember = RxMember { sci: SCI, ssci: None, lowest_pn: PacketNumber(1) };
    const SETTINGS: SecySettings = SecySettings {
        protect: true,
        validate: Validate::Strict,
        replay_protect: true,
        replay_window: 0,
        include_sci: true,
    };

    fn octets(message: &impl Serialize) -> Vec<u8> {
        let mut buffer = vec![0; MESSAGE_MAX];
        postcard::to_slice(message, &mut buffer).unwrap().to_vec()
    }

    fn install(suite: CipherSuite, ssci: Option<Ssci>) -> SecyCommand {
        let sak = Sak::new(Zeroizing::new(vec![0x5a; suite.sak_len()])).unwrap();
        let (offset, salt) =
            (ConfidentialityOffset::Offset0, suite.is_xpn().then(|| Salt::new(KI)));
        let key = Arc::new(SecyKey { ki: KI, suite, offset, sak, salt });
        let receive = vec![RxMember { ssci: ssci.map(|_| Ssci(2)), ..MEMBER }];
        let an = AssociationNumber::from_low_bits(3);
        SecyCommand::InstallSak(InstallSak { key, an, ssci, receive })
    }

    /// An encryptor of another version must be told apart, and told to end, whatever else changes.
    #[test]
    fn the_greeting_and_the_end_have_their_octets_for_all_time() {
        let greeting = Greeting { version: 0x0102, engaged: true };
        assert_eq!(&greeting.encode(), b"macsecd encryptor\x01\x02\x01");
        assert_eq!(Greeting::decode(&greeting.encode()), Some(greeting));
        assert_eq!(Greeting::decode(b"macsecd encryptor\x01\x02"), None);
        assert_eq!(Greeting::decode(b"something quite else"), None);
        assert_eq!(octets(&Request::End), [0]);
    }

    /// Where this fails, [`VERSION`] goes up by one, and what is written here with it.
    #[test]
    fn the_messages_of_this_version_have_these_octets() {
        assert_eq!(VERSION, 1);
        let ki = [&[7; 12][..], &[0xac, 2]].concat();
        let member = [2, 0, 0, 0, 0, 1, 0, 1, 0, 1];
        let message = |command| octets(&Request::Command(Command::of(&command)));
        let installed = message(install(CipherSuite::GcmAes128, None));
        let parts: [&[u8]; 9] =
            [&[3, 2], &ki, &[0], &[1], &[16], &[0x5a; 16], &[3], &[0, 1], &member];
        assert_eq!(installed, parts.concat());
        assert_eq!(message(SecyCommand::SetControlledPort(true)), [3, 1, 1]);
        assert_eq!(message(SecyCommand::EnableTx(KI)), [&[3, 5], &ki[..]].concat());
        assert_eq!(message(SecyCommand::RemoveSak(KI)), [&[3, 6], &ki[..]].concat());
        assert_eq!(message(SecyCommand::Configure(SETTINGS)), [3, 0, 1, 2, 1, 0, 1]);
        assert_eq!(octets(&Request::ParentMtu(1500)), [4, 0xdc, 0x0b]);
        assert_eq!(octets(&Request::Look), [5]);
        let life = Duration::from_secs(6);
        assert_eq!(octets(&Request::Attach { life }), [2, 6, 0]);
        // A counter more or less is a change, too.
        assert_eq!(octets(&Counters::default()).len(), 29);
        assert_eq!(octets(&Drops::default()).len(), 7);
    }

    #[test]
    fn every_command_comes_back_as_it_was() {
        let (ki, sci) = (KI, SCI);
        for command in [
            SecyCommand::Configure(SETTINGS),
            SecyCommand::SetControlledPort(false),
            install(CipherSuite::GcmAes256, None),
            install(CipherSuite::GcmAesXpn128, Some(Ssci(1))),
            SecyCommand::AddReceiver { ki, member: MEMBER },
            SecyCommand::RemoveReceiver(sci),
            SecyCommand::EnableTx(ki),
            SecyCommand::RemoveSak(ki),
            SecyCommand::RaiseLowestPn { ki, sci, lowest_pn: PacketNumber(u64::MAX) },
        ] {
            let sent = octets(&Request::Command(Command::of(&command)));
            let Request::Command(received) = postcard::from_bytes(&sent).unwrap() else {
                panic!("it is a command");
            };
            let received = received.into_command().unwrap();
            assert_eq!(format!("{received:?}"), format!("{command:?}"));
            if let (SecyCommand::InstallSak(a), SecyCommand::InstallSak(b)) = (&received, &command)
            {
                assert!(a.key.sak.same_as(&b.key.sak));
            }
        }
    }

    #[test]
    fn what_cannot_be_an_sak_is_none() {
        let mut sent = octets(&Command::of(&install(CipherSuite::GcmAes128, None)));
        let at = sent.iter().position(|&octet| octet == 16).unwrap();
        sent[at] = 15;
        sent.remove(at + 1);
        let command: Command = postcard::from_bytes(&sent).unwrap();
        assert!(matches!(command.into_command(), Err(SecyError::Invalid(_))));
        sent[at] = 33;
        sent.extend([0; 64]);
        assert!(postcard::from_bytes::<Command>(&sent).is_err());
    }

    #[test]
    fn nothing_of_a_key_is_printed() {
        let command = Command::of(&install(CipherSuite::GcmAes128, None));
        let printed = format!("{command:?}");
        assert!(printed.contains("Octets(..)") && !printed.contains("90"), "{printed}");
    }

    #[test]
    fn an_error_comes_back_with_its_words() {
        let an = AssociationNumber::from_low_bits(2);
        for error in [
            SecyError::KeyUsedBefore(KI),
            SecyError::AssociationBusy { an, by: KI },
            SecyError::NoSuchKey(KI),
            SecyError::Refused("no".to_owned()),
        ] {
            assert_eq!(SecyError::from(Refusal::from(error.clone())), error);
        }
        let invalid = SecyError::Invalid("nonsense");
        assert_eq!(SecyError::from(Refusal::from(invalid.clone())).to_string(), "nonsense");
    }

    /// 256 members, each received with four keys, whatever their numbers.
    #[test]
    fn the_longest_answer_has_room() {
        let receivers = vec![
            RxMember {
                sci: SCI,
                ssci: Some(Ssci(u32::MAX)),
                lowest_pn: PacketNumber(u64::MAX)
            };
            crate::secy::CHANNELS_MAX
        ];
        let ki = KeyId { number: KeyNumber(u32::MAX), ..KI };
        let sak = || HeldSak {
            ki,
            suite: CipherSuite::GcmAesXpn256,
            offset: ConfidentialityOffset::Offset0,
            an: 3,
            ssci: Some(Ssci(u32::MAX)),
            receivers: receivers.clone(),
            transmit: TransmitState::Superseded,
        };
        let text = "x".repeat(16);
        let plane = UserspaceSettings {
            parent: text.clone(),
            parent_index: u32::MAX,
            parent_mtu: u32::MAX,
            name: text,
            sci: SCI,
            settings: SETTINGS,
        };
        let namespace = Some((u64::MAX, u64::MAX));
        let held = Held { plane, namespace, open: true, saks: vec![sak(), sak(), sak(), sak()] };
        let number = PacketNumber(u64::MAX);
        let shown = Shown {
            counters: Counters::default(),
            drops: Drops::default(),
            tx: Some((ki, number)),
            rx: vec![(ki, SCI, number, number); 4 * crate::secy::CHANNELS_MAX],
            parent: LinkState::Running,
            secure_interface: LinkState::Running,
            alive: true,
        };
        let length = octets(&Answer::Held(Box::new(held), shown)).len();
        assert!(length > 50_000 && length / 2 * 3 < MESSAGE_MAX, "{length} octets");
    }
}
