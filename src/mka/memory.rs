//! What a KaY knows, kept for the one after it: a restart that its peers do not notice.
//!
//! A peer goes on with a member that says the next message number under its MI, lists it as live and
//! names the key in use. All of that was on the wire before, so none of it is secret; neither is an
//! SAK under the KEK. That is what a record holds. It never holds a CAK, an ICK, a KEK or an SAK.
//!
//! The record is written ahead: it comes out before the MKPDU or the command that it tells of, so
//! that no message number, key number or SAK is ever used by the one before and not known to the one
//! after. Should the last ones not have been kept all the same, the one after goes by one that is a
//! little older, and repeats nothing: it passes over more numbers than can have been used since, and
//! takes no SAK before it is heard again. Where the data plane has an SAK that the record does not
//! know of, it is too old ([`Memory::is_older_than`]).
//!
//! It is sealed with a key of the CAK that is in use: a record that somebody else has made, or that
//! was made under another configuration, is refused. Where anything does not fit, nothing of it is
//! used, and the KaY begins afresh with a new MI.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::actor::{Actor, passed_over};
use super::cp::Cp;
use super::election::Candidate;
use super::io::Output;
use super::kay::{Decided, Kay, RETRY};
use super::participant::Participant;
use super::peers::Peers;
use super::policy::Policy;
use super::rollover::{Rollover, Speakers};
use super::sak::{Distribution, KnownSak, Saks, Wrapped};
use super::ssci::Sscis;
use super::status::PortState;
use super::suspend::Suspension;
use super::way::Way;
use crate::crypto::{Entropy, NoEntropy, Salt};
use crate::ident::{AssociationNumber, CipherSuite, Ckn, ConfidentialityOffset, KeyId, Sci, Ssci};
use crate::keyring::{Key, KeyRing};
use crate::secy::{InstalledSak, SecyCommand, SecyKey, TransmitState};
use crate::time::Time;

/// The layout of a record, its first octet. To be raised whenever a type in [`Record`] changes: a
/// record of another layout is not read. A test holds it to a file.
const LAYOUT: u8 = 1;

/// How many key servers' used keys are kept.
const SERVERS_KEPT: usize = 64;

/// The octets of a seal.
const SEAL_LEN: usize = 16;

/// What was last given out to be kept.
#[derive(Debug, Default)]
pub(super) struct Remembered {
    /// Whether anything is.
    pub(super) wanted: bool,
    /// Without its seal.
    last: Option<Vec<u8>>,
}

/// The record, as it is laid out after its header.
#[derive(Debug, Deserialize, Serialize)]
struct Record {
    sci: Sci,
    participants: Vec<MemberRecord>,
    server: Option<Sci>,
    decided: Option<Decided>,
    cp: Cp,
    saks: Vec<SakRecord>,
    newest: Option<KeyId>,
    last_an: Option<AssociationNumber>,
    used: Vec<KeyId>,
    distribution: Option<Distribution>,
    last_fresh: Option<Time>,
    rekey_wanted: bool,
    lost_sak: Option<KeyId>,
    replaced: Option<Time>,
    held: Option<Time>,
    outlived: Option<KeyId>,
    handed_over: Option<Time>,
    suspension: Option<Suspension>,
    carrier_since: Option<Time>,
    state: (PortState, Time),
    rekeys: u64,
    rollover: Rollover,
}

/// A participant, without its keys.
#[derive(Debug, Deserialize, Serialize)]
struct MemberRecord {
    ckn: Ckn,
    /// Its MI, sealed: another key may have the name by now.
    token: [u8; SEAL_LEN],
    actor: Actor,
    peers: Peers,
    elected: Option<Candidate>,
    alone_since: Option<Time>,
    keys_since: Option<Time>,
    last_kn: u32,
    trial: Option<Way>,
    answered: Option<Way>,
    spoken: Option<Time>,
    speakers: Speakers,
}

/// An SAK as it went over the wire, and what it is for.
#[derive(Debug, Deserialize, Serialize)]
struct SakRecord {
    ki: KeyId,
    suite: CipherSuite,
    offset: ConfidentialityOffset,
    an: AssociationNumber,
    since: Time,
    own_ssci: Option<Ssci>,
    sscis: Sscis,
    by_sci: BTreeMap<Sci, Ssci>,
    receivers: Option<BTreeMap<Sci, bool>>,
    wrapped: Wrapped,
}

/// A record that was read: fresh, whole, and ours.
#[derive(Debug)]
pub struct Memory {
    principal: Ckn,
    record: Record,
    saks: Vec<KnownSak>,
}

/// Why a record is not gone by. The KaY begins afresh then.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Forgotten {
    /// Another version of the daemon has written it, or it is cut off.
    #[error("the record has another layout")]
    Layout,
    /// No key of the port has sealed it, or it was altered.
    #[error("no key of this port has sealed the record")]
    Seal,
    /// It is of another secure channel.
    #[error("the record is of another secure channel, {0}")]
    Sci(Sci),
    /// The clock began anew since.
    #[error("the record is of another time")]
    Clock,
    /// The peers have given us up by now.
    #[error("the record is too old: the peers have given us up")]
    Late,
    /// The configuration no longer has what is in use.
    #[error("the key in use is not to be used any more")]
    Unwanted,
    /// The data plane does not have what the record says.
    #[error("the data plane does not have the keys that the record names")]
    Keys,
    /// A key of the port is new, and there is no randomness for its member identifier.
    #[error(transparent)]
    NoEntropy(#[from] NoEntropy),
}

impl Memory {
    /// Reads a record for the port of this policy and these keys.
    ///
    /// # Errors
    ///
    /// Why it is not to be gone by.
    pub fn open(
        octets: &[u8],
        now: Time,
        policy: &Policy,
        keys: &KeyRing,
    ) -> Result<Self, Forgotten> {
        let (sealed, seal) = octets.split_last_chunk::<SEAL_LEN>().ok_or(Forgotten::Layout)?;
        let (&layout, rest) = sealed.split_first().ok_or(Forgotten::Layout)?;
        if layout != LAYOUT {
            return Err(Forgotten::Layout);
        }
        let (name, body): (Ckn, _) =
            postcard::take_from_bytes(rest).map_err(|_| Forgotten::Layout)?;
        let key = keys.iter().find(|key| key.ckn == name).ok_or(Forgotten::Seal)?;
        if !key.cak.seal(&key.ckn).verify(sealed, seal) {
            return Err(Forgotten::Seal);
        }
        let record: Record = postcard::from_bytes(body).map_err(|_| Forgotten::Layout)?;
        if record.sci != policy.sci {
            return Err(Forgotten::Sci(record.sci));
        }
        record.check_age(now, &name, policy)?;
        let saks: Vec<_> = record.saks.iter().filter_map(|sak| sak.recall(policy, keys)).collect();
        let in_use = record.cp.transmits_with().map(|slot| slot.ki);
        if !saks.iter().any(|sak| Some(sak.key.ki) == in_use || in_use.is_none()) {
            return Err(Forgotten::Unwanted);
        }
        Ok(Self { principal: name, record, saks })
    }

    /// Tells whether the record is from before this SAK was taken up, and so not the last one. Where
    /// the data plane has such an SAK, we have told the others that we receive with it, and know
    /// nothing of it any more: the record must not be gone by.
    #[must_use]
    pub fn is_older_than(&self, ki: KeyId) -> bool {
        let known = self
            .record
            .used
            .iter()
            .any(|&used| used.server == ki.server && used.number >= ki.number);
        !known
    }

    /// What a data plane may still have: each SAK that it was ever told to install and not to
    /// remove. It may have been told, and not have done it; then, and where it was told to remove one
    /// and has not done it, that is to be removed.
    #[must_use]
    pub fn saks(&self) -> Vec<InstalledSak> {
        let transmit = |ki: KeyId| match self.record.cp.transmits_with() {
            Some(in_use) if in_use.ki == ki => TransmitState::Transmitting,
            Some(_) if self.record.cp.is_superseded(ki) => TransmitState::Superseded,
            Some(_) | None => TransmitState::Waiting,
        };
        // Whoever has left is among the receivers: it may still be there, or come back.
        let installed = |sak: &KnownSak| {
            let receivers = sak.receivers.as_ref()?.keys();
            Some(InstalledSak {
                key: Arc::clone(&sak.key),
                an: sak.an,
                ssci: sak.own_ssci,
                receivers: receivers
                    .filter_map(|&sci| Some((sci, sak.former_member(sci)?)))
                    .collect(),
                transmit: transmit(sak.key.ki),
            })
        };
        self.saks.iter().filter_map(installed).collect()
    }
}

impl Record {
    /// When the principal has spoken last.
    fn spoke(&self, principal: &Ckn) -> Option<Time> {
        let member = self.participants.iter().find(|member| &member.ckn == principal)?;
        member.actor.last_sent()
    }

    /// Our peers give us up a life time after they have last heard us.
    fn check_age(&self, now: Time, principal: &Ckn, policy: &Policy) -> Result<(), Forgotten> {
        let spoke = self.spoke(principal).ok_or(Forgotten::Late)?;
        if spoke > now {
            return Err(Forgotten::Clock);
        }
        let awaited = self.suspension.is_some_and(|suspension| now < suspension.until);
        if now.since(spoke) >= policy.manners.life && !awaited {
            return Err(Forgotten::Late);
        }
        Ok(())
    }
}

impl SakRecord {
    fn of(sak: &KnownSak) -> Self {
        Self {
            ki: sak.key.ki,
            suite: sak.key.suite,
            offset: sak.key.offset,
            an: sak.an,
            since: sak.since,
            own_ssci: sak.own_ssci,
            sscis: sak.sscis.clone(),
            by_sci: sak.by_sci.clone(),
            receivers: sak.receivers.clone(),
            wrapped: sak.wrapped.clone(),
        }
    }

    /// The SAK, taken out of its wrapping once more; `None` where its CAK or its suite is no longer
    /// to be used.
    fn recall(&self, policy: &Policy, keys: &KeyRing) -> Option<KnownSak> {
        let Self { ki, suite, offset, .. } = *self;
        let key = keys.iter().find(|key| key.ckn == self.wrapped.ckn)?;
        if !policy.cipher_suites.contains(&suite) {
            return None;
        }
        let sak = key.cak.kek(&key.ckn).unwrap(&self.wrapped.octets, suite).ok()?;
        let salt = suite.is_xpn().then(|| Salt::new(ki));
        Some(KnownSak {
            key: Arc::new(SecyKey { ki, suite, offset, sak, salt }),
            an: self.an,
            since: self.since,
            own_ssci: self.own_ssci,
            sscis: self.sscis.clone(),
            by_sci: self.by_sci.clone(),
            receivers: self.receivers.clone(),
            wrapped: self.wrapped.clone(),
        })
    }
}

impl Kay {
    /// Has the KaY give out what it knows ([`Output::Remember`]), now and whenever it changes.
    pub fn keep_record(&mut self) {
        self.remembered.wanted = true;
        self.remember();
    }

    /// Gives out what has changed, ahead of all that is to be done.
    pub(super) fn remember(&mut self) {
        if !self.remembered.wanted {
            return;
        }
        let record = self.record();
        if record == self.remembered.last {
            return;
        }
        let sealed = record.as_ref().zip(self.principal()).map(|(record, principal)| {
            let seal = principal.seal.tag(record);
            [record.as_slice(), &seal].concat()
        });
        self.remembered.last = record;
        // One that is still to be kept is older than this one.
        self.outputs.retain(|output| !matches!(output, Output::Remember(_)));
        self.outputs.push_front(Output::Remember(sealed));
    }

    /// What is worth to be kept, without its seal: as long as a key is in use, or about to be.
    fn record(&self) -> Option<Vec<u8>> {
        let principal = self.principal()?;
        let secure = matches!(self.decided, Some(Decided { secure: true, .. }));
        if !secure || self.cp.slots().next().is_none() {
            return None;
        }
        let record = Record {
            sci: self.policy.sci,
            participants: self.participants.iter().map(MemberRecord::of).collect(),
            server: self.server,
            decided: self.decided,
            cp: self.cp.clone(),
            saks: self.saks.iter().map(SakRecord::of).collect(),
            newest: self.saks.newest().map(|sak| sak.key.ki),
            last_an: self.saks.last_an(),
            used: self.saks.used().latest(SERVERS_KEPT),
            distribution: self.distribution.clone(),
            last_fresh: self.last_fresh,
            rekey_wanted: self.rekey_wanted,
            lost_sak: self.lost_sak,
            replaced: self.replaced,
            held: self.held,
            outlived: self.outlived,
            handed_over: self.handed_over,
            suspension: self.suspension,
            carrier_since: self.carrier_since,
            state: self.state,
            rekeys: self.rekeys,
            rollover: self.rollover.clone(),
        };
        // It has no map or number that the format cannot hold.
        let size = self.remembered.last.as_ref().map_or(0, Vec::len) + SEAL_LEN;
        let mut octets = Vec::with_capacity(size);
        octets.push(LAYOUT);
        let octets = postcard::to_extend(principal.ckn(), octets).ok()?;
        postcard::to_extend(&record, octets).ok()
    }

    /// Goes on where an earlier KaY was, with carrier, and with what the data plane has `kept` of
    /// [`Memory::saks`], where it has none that is newer ([`Memory::is_older_than`]): it sends and
    /// receives with that now, and the Controlled Port is as it was.
    ///
    /// # Errors
    ///
    /// Why not. A KaY that begins afresh has to have removed what the data plane has kept.
    pub fn resume(
        now: Time,
        policy: Policy,
        keys: &KeyRing,
        entropy: Box<dyn Entropy + Send>,
        memory: Memory,
        kept: &[InstalledSak],
    ) -> Result<Self, Forgotten> {
        let Memory { principal, record, saks } = memory;
        let mut kay = Self::without_keys(now, policy, entropy);
        let age = now.since(record.spoke(&principal).ok_or(Forgotten::Late)?);
        kay.participants =
            kay.recall_participants(now, record.participants, keys, passed_over(age))?;
        kay.principal = kay.participants.iter().position(|of| of.ckn() == &principal);
        (kay.carrier, kay.carrier_since) = (true, record.carrier_since);
        (kay.server, kay.decided) = (record.server, record.decided);
        (kay.cp, kay.distribution) = (record.cp, record.distribution);
        (kay.last_fresh, kay.rekey_wanted) = (record.last_fresh, record.rekey_wanted);
        (kay.lost_sak, kay.replaced, kay.held) = (record.lost_sak, record.replaced, record.held);
        (kay.outlived, kay.handed_over) = (record.outlived, record.handed_over);
        kay.rollover = record.rollover;
        kay.rollover.preference = keys.preference();
        (kay.suspension, kay.state, kay.rekeys) = (record.suspension, record.state, record.rekeys);
        kay.saks = Saks::recall(saks, record.newest, record.last_an, &record.used);
        kay.take_over(now, kept)?;
        kay.recall_retry(now);
        kay.settle(now);
        Ok(kay)
    }

    /// The participants of these keys; those that there were go on under their MI, so many numbers
    /// further.
    fn recall_participants(
        &mut self,
        now: Time,
        mut records: Vec<MemberRecord>,
        keys: &KeyRing,
        numbers: u32,
    ) -> Result<Vec<Participant>, NoEntropy> {
        let life = self.policy.manners.life;
        let mut participants = Vec::new();
        for key in keys.iter() {
            let at = records.iter().position(|record| record.is_of(key));
            participants.push(match at.map(|at| records.swap_remove(at)) {
                Some(record) => record.recall(now, key, life, numbers),
                None => Participant::new(now, Arc::clone(key), life, self.entropy.as_mut())?,
            });
        }
        Ok(participants)
    }

    /// Goes on with what the data plane has.
    fn take_over(&mut self, now: Time, kept: &[InstalledSak]) -> Result<(), Forgotten> {
        // One that was being created when the KaY ended may be there in part.
        let is_whole = |there: &InstalledSak| {
            let receivers = self.saks.get(there.key.ki).and_then(|sak| sak.receivers.as_ref());
            let mut present = receivers.into_iter().flatten().filter(|&(_, &present)| present);
            there.transmit != TransmitState::Waiting
                || present.all(|(sci, _)| there.receivers.contains_key(sci))
        };
        let whole: Vec<_> = kept.iter().filter(|&sak| is_whole(sak)).collect();
        let is_kept = |ki: KeyId| whole.iter().any(|sak| sak.key.ki == ki);
        let transmitting = kept.iter().find(|sak| sak.transmit == TransmitState::Transmitting);
        let transmitting = transmitting.map(|sak| sak.key.ki).ok_or(Forgotten::Keys)?;
        let again = self.cp.resume(transmitting, is_kept).ok_or(Forgotten::Keys)?;
        let slots: Vec<_> = self.cp.slots().map(|slot| slot.ki).collect();
        let mut deaf = false;
        for sak in self.saks.iter_mut() {
            let there = whole.iter().find(|there| there.key.ki == sak.key.ki);
            match (there, &mut sak.receivers) {
                (Some(there), Some(receivers)) => {
                    for (sci, present) in receivers {
                        // Whoever was to be removed may still be there.
                        let is_there = there.receivers.contains_key(sci);
                        deaf |= *present && !is_there && there.key.ki == transmitting;
                        *present = is_there;
                    }
                }
                (_, receivers) => *receivers = None,
            }
        }
        self.open = self.cp.is_open();
        self.command(SecyCommand::SetControlledPort(self.open));
        for action in again {
            self.carry_out(action);
        }
        for ki in kept.iter().map(|sak| sak.key.ki) {
            if slots.contains(&ki) && is_kept(ki) {
                continue;
            }
            self.command(SecyCommand::RemoveSak(ki));
        }
        self.make_good(transmitting, deaf);
        let missing = |ki: &KeyId| !is_kept(*ki) && self.cp.is_installed(*ki);
        let missing: Vec<_> = slots.into_iter().filter(missing).collect();
        for ki in missing {
            self.sak_lost(now, ki);
            if !self.is_server() && self.saks.newest().is_some_and(|sak| sak.key.ki == ki) {
                // The others wait for us to receive with it, and not for ever.
                self.lost_sak = self.renew_principal(now).then_some(ki);
            }
        }
        Ok(())
    }
}

impl Kay {
    /// As key server, has another SAK made where the one in use is not what it would be now, or we
    /// are deaf to somebody under it; and hands out none that is not there.
    fn make_good(&mut self, in_use: KeyId, deaf: bool) {
        let lost = |of: &Distribution| !self.cp.slots().any(|slot| slot.ki == of.ki);
        if self.distribution.as_ref().is_some_and(lost) {
            self.distribution = None;
        }
        if !self.is_server() {
            return;
        }
        let wanted = self.principal.and_then(|index| self.cipher_for(index));
        let is = self.saks.get(in_use).map(|sak| (sak.key.suite, sak.key.offset));
        self.rekey_wanted |= deaf || (wanted.is_some() && is != wanted);
    }

    /// Where the newest SAK was refused or lost, another was due.
    fn recall_retry(&mut self, now: Time) {
        let newest = self.saks.newest().map(|sak| sak.key.ki);
        let is_gone = newest.is_some_and(|ki| !self.cp.slots().any(|slot| slot.ki == ki));
        if is_gone && self.retry_at.is_none() {
            let next = self.replaced.map_or(now, |before| now.max(before.after(RETRY)));
            self.retry_at = Some(next);
        }
    }
}

impl MemberRecord {
    fn of(participant: &Participant) -> Self {
        Self {
            ckn: participant.ckn().clone(),
            token: participant.token,
            actor: participant.actor.clone(),
            peers: participant.peers.clone(),
            elected: participant.elected,
            alone_since: participant.alone_since,
            keys_since: participant.keys_since,
            last_kn: participant.last_kn,
            trial: participant.trial,
            answered: participant.answered,
            spoken: participant.spoken,
            speakers: participant.speakers.clone(),
        }
    }

    fn is_of(&self, key: &Key) -> bool {
        let mi = self.actor.mi().octets();
        self.ckn == key.ckn && key.cak.seal(&key.ckn).verify(&mi, &self.token)
    }

    /// Goes on with numbers that are new for sure: so many are passed over.
    fn recall(self, now: Time, key: &Arc<Key>, life: Duration, passed_over: u32) -> Participant {
        let mut actor = self.actor.with_life(life);
        actor.pass_over(passed_over);
        let mut of = Participant::of(now, Arc::clone(key), life, actor);
        of.peers = self.peers.with_life(life);
        (of.elected, of.alone_since) = (self.elected, self.alone_since);
        of.keys_since = self.keys_since;
        of.last_kn = self.last_kn.saturating_add(passed_over);
        (of.trial, of.answered) = (self.trial, self.answered);
        (of.spoken, of.speakers) = (self.spoken, self.speakers);
        of
    }
}

/// Reads a record without regard to its seal, and says whether it would be written as it is.
#[cfg(test)]
pub(super) fn laid_out_alike(octets: &[u8]) -> Result<(), String> {
    let (sealed, _) = octets.split_last_chunk::<SEAL_LEN>().ok_or("no seal")?;
    let (&layout, rest) = sealed.split_first().ok_or("no layout")?;
    let (name, body): (Ckn, _) = postcard::take_from_bytes(rest).map_err(|e| e.to_string())?;
    let (record, left): (Record, _) = postcard::take_from_bytes(body).map_err(|e| e.to_string())?;
    let name = postcard::to_allocvec(&name).map_err(|e| e.to_string())?;
    let body = postcard::to_allocvec(&record).map_err(|e| e.to_string())?;
    let again = [&[layout], name.as_slice(), &body].concat();
    let same = layout == LAYOUT && left.is_empty() && again == sealed;
    if same { Ok(()) } else { Err("it would be written otherwise".to_owned()) }
}
