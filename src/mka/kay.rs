//! The KaY: what it holds, what it takes in and what it shows.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::commands::Commands;
use super::cp::{Cp, CpState};
use super::discard::Discards;
use super::io::{Input, Output};
use super::memory::Remembered;
use super::participant::Participant;
use super::peers::JITTER;
use super::policy::Policy;
use super::progress::Progress;
use super::rollover::Rollover;
use super::sak::{Distribution, KnownSak, Saks};
use super::status::{
    Distributing, Evidence, KeyServer, ParticipantStatus, PeerStatus, PortState, SakStatus, Status,
};
use super::suspend::{OwnRequest, Suspension};
use crate::crypto::{Entropy, NoEntropy};
use crate::ident::{KeyId, Sci};
use crate::keyring::KeyRing;
use crate::time::Time;

/// Runs MKA on one port.
pub struct Kay {
    pub(super) policy: Policy,
    pub(super) entropy: Box<dyn Entropy + Send>,
    /// One for each key, the preferred one first.
    pub(super) participants: Vec<Participant>,
    /// Which of them drives the SecY.
    pub(super) principal: Option<usize>,
    pub(super) carrier: bool,
    pub(super) carrier_since: Option<Time>,
    pub(super) carrier_lost: Option<Time>,
    pub(super) cp: Cp,
    /// The key server that we last followed.
    pub(super) server: Option<Sci>,
    pub(super) decided: Option<Decided>,
    /// Until when the decision of the key server before stands, while the new one has yet to decide.
    pub(super) handed_over: Option<Time>,
    pub(super) saks: Saks,
    pub(super) distribution: Option<Distribution>,
    pub(super) last_fresh: Option<Time>,
    /// A fresh SAK is asked for, and will be made as soon as the rules let it be.
    pub(super) rekey_wanted: bool,
    /// The SAK that we had of the key server and lost, once a new MI has asked for another.
    pub(super) lost_sak: Option<KeyId>,
    /// Since when a peer is key server and nothing of it is heard of an SAK.
    pub(super) keyless_since: Option<Time>,
    /// Not before this time, after the data plane or the entropy has failed us.
    pub(super) retry_at: Option<Time>,
    /// When an SAK that the data plane failed us with was last replaced.
    pub(super) replaced: Option<Time>,
    /// Until when the SAs and the decision stand of those who are to meet us again under a new MI.
    pub(super) held: Option<Time>,
    /// The key whose packet numbers were about to run out when a new MI asked for another.
    pub(super) outlived: Option<KeyId>,
    pub(super) suspension: Option<Suspension>,
    pub(super) own_request: Option<OwnRequest>,
    /// Since when the CP machine has the port open and nothing can be sent.
    pub(super) mute_since: Option<Time>,
    pub(super) commands: Commands,
    pub(super) open: bool,
    pub(super) rollover: Rollover,
    pub(super) progress: Progress,
    pub(super) outputs: VecDeque<Output>,
    pub(super) now: Time,
    pub(super) state: (PortState, Time),
    pub(super) rekeys: u64,
    pub(super) sent: u64,
    pub(super) accepted: u64,
    pub(super) discards: Discards,
    pub(super) evidence: Evidence,
    pub(super) remembered: Remembered,
}

/// What a key server has decided for its CA (802.1X-2020 9.5.1).
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub(super) struct Decided {
    pub(super) by: Sci,
    pub(super) secure: bool,
}

/// Why a rekey was not begun.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum RekeyRefused {
    /// There is no SAK to replace.
    #[error("the port is not secured, so there is no key to replace")]
    NotSecured,
    /// Only the key server makes SAKs.
    #[error("the peer {0} is key server: only it can make a new key")]
    PeerIsKeyServer(Sci),
}

impl Kay {
    /// Makes a KaY without carrier.
    ///
    /// # Errors
    ///
    /// [`NoEntropy`] where no member identifier could be drawn.
    pub fn new(
        now: Time,
        policy: Policy,
        keys: &KeyRing,
        entropy: Box<dyn Entropy + Send>,
    ) -> Result<Self, NoEntropy> {
        let mut kay = Self::without_keys(now, policy, entropy);
        kay.set_keys(now, keys)?;
        Ok(kay)
    }

    pub(super) fn without_keys(
        now: Time,
        policy: Policy,
        entropy: Box<dyn Entropy + Send>,
    ) -> Self {
        Self {
            policy,
            entropy,
            participants: Vec::new(),
            principal: None,
            carrier: false,
            carrier_since: None,
            carrier_lost: None,
            cp: Cp::new(),
            server: None,
            decided: None,
            handed_over: None,
            saks: Saks::default(),
            distribution: None,
            last_fresh: None,
            rekey_wanted: false,
            lost_sak: None,
            keyless_since: None,
            retry_at: None,
            replaced: None,
            held: None,
            outlived: None,
            suspension: None,
            own_request: None,
            mute_since: None,
            commands: Commands::default(),
            open: false,
            rollover: Rollover::default(),
            progress: Progress::default(),
            outputs: VecDeque::new(),
            now,
            state: (PortState::Down, now),
            rekeys: 0,
            sent: 0,
            accepted: 0,
            discards: Discards::default(),
            evidence: Evidence::default(),
            remembered: Remembered::default(),
        }
    }

    /// Takes one input; afterwards the outputs are to be polled.
    pub fn handle(&mut self, now: Time, input: Input<'_>) {
        self.now = self.now.max(now);
        let now = self.now;
        match input {
            Input::Timeout => {}
            Input::Carrier(carrier) => self.carrier(now, carrier),
            Input::Frame(frame) => {
                if let Err(discard) = self.receive(now, frame) {
                    self.discards.count(discard);
                    // A stranger can cost us no more than the ICV.
                    let idle = self.poll_timeout().is_none_or(|at| at > now);
                    if idle && !discard.is_authentic() {
                        return;
                    }
                }
            }
            Input::Secy { id, result } => self.answered(now, id, result),
            Input::SakLost(ki) => self.sak_lost(now, ki),
            Input::TxProgress(progress) => self.progress.note(now, progress),
            Input::RxProgress(all) => self.note_received(now, all),
            Input::Octets(octets) => self.progress.note_octets(octets),
        }
        self.settle(now);
    }

    /// Yields the next thing to do; `None` means that everything is said.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// Says when to call `handle` again at the latest; `None` means that only an event can help.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Time> {
        let life = self.policy.manners.life;
        let participants = self.participants.iter().flat_map(|participant| {
            let due = self.carrier.then(|| participant.pace.due());
            let failing = participant.alone_since.map(|since| since.after(life));
            [due, participant.peers.poll_timeout(), failing.filter(|&at| at > self.now)]
        });
        let later = |at: Option<Time>| at.filter(|&at| at > self.now);
        participants
            .chain([
                later(self.cp.poll_timeout(self.now)),
                later(self.keyless_since.map(|at| at.after(KEYLESS_MAX))),
                later(self.retry_at),
                later(self.held),
                later(self.rollover.bridge),
                later(self.handed_over),
                later(self.suspension.map(|suspension| suspension.until)),
                later(self.mute_until()),
                later(self.commands.poll_timeout()),
                later(self.carrier_lost.map(|at| at.after(life + JITTER))),
                later(self.fresh_sak_due()),
            ])
            .flatten()
            .min()
    }

    /// Replaces the keys. Participants whose key stays go on untouched; the others go with their
    /// keys, and what an SAK of theirs still protects goes on until it is replaced.
    ///
    /// # Errors
    ///
    /// [`NoEntropy`] where a new participant found no member identifier; nothing has changed then.
    pub fn set_keys(&mut self, now: Time, keys: &KeyRing) -> Result<(), NoEntropy> {
        let kept = |participant: &Participant, key: &crate::keyring::Key| {
            participant.ckn() == &key.ckn && participant.key.cak.same_as(&key.cak)
        };
        let life = self.policy.manners.life;
        let mut fresh = Vec::new();
        for key in keys.iter() {
            if !self.participants.iter().any(|participant| kept(participant, key)) {
                let mut made = Participant::new(now, Arc::clone(key), life, self.entropy.as_mut())?;
                made.spoken = self.evidence.was_called(now, &key.ckn, life).then_some(now);
                fresh.push(made);
            }
        }
        let led = self.principal().map(|principal| Arc::clone(&principal.key));
        let mut pool = std::mem::take(&mut self.participants);
        pool.append(&mut fresh);
        for key in keys.iter() {
            if let Some(at) = pool.iter().position(|participant| kept(participant, key)) {
                self.participants.push(pool.swap_remove(at));
            }
        }
        self.rollover.preference = keys.preference();
        self.rollover.ring_set = Some(now);
        if led.is_some_and(|key| !self.participants.iter().any(|of| kept(of, &key))) {
            self.rollover.bridge = Some(now.after(life));
        }
        let newest = self.cp.newest().and_then(|slot| self.saks.get(slot.ki));
        let stays =
            |sak: &KnownSak| self.participants.iter().any(|of| of.ckn() == &sak.wrapped.ckn);
        if !newest.is_some_and(stays) {
            self.held = None;
        }
        self.principal = None;
        self.settle(now);
        Ok(())
    }

    /// Asks for a fresh SAK. It is made as soon as the rules let it be, and the request is kept
    /// until then.
    ///
    /// # Errors
    ///
    /// [`RekeyRefused`] where there is nothing to replace or another is to do it.
    pub fn rekey(&mut self, now: Time) -> Result<(), RekeyRefused> {
        if self.port_state(now) != PortState::Secured {
            return Err(RekeyRefused::NotSecured);
        }
        match self.key_server() {
            Some(KeyServer::Own) => {
                self.rekey_wanted = true;
                self.settle(now);
                Ok(())
            }
            Some(KeyServer::Peer(sci)) => Err(RekeyRefused::PeerIsKeyServer(sci)),
            None => Err(RekeyRefused::NotSecured),
        }
    }

    /// Shows how things stand.
    #[must_use]
    pub fn status(&self, now: Time) -> Status {
        let now = self.now.max(now);
        let distributing = self.distribution.as_ref().filter(|distribution| !distribution.complete);
        Status {
            state: self.state.0,
            since: self.state.1,
            carrier_since: self.carrier_since,
            sci: self.policy.sci,
            priority: self.policy.priority,
            cp: self.cp.state(),
            key_server: self.key_server(),
            participants: (0..self.participants.len())
                .filter_map(|index| self.participant_status(now, index))
                .collect(),
            sak: self.sak_status(),
            distributing: distributing.and_then(|distribution| {
                let suite = self.saks.get(distribution.ki)?.key.suite;
                Some(Distributing { since: distribution.since, suite })
            }),
            rekeys: self.rekeys,
            last_switch: self.rollover.last_switch,
            sent: self.sent,
            accepted: self.accepted,
            discards: self.discards.clone(),
            evidence: self.evidence.clone(),
        }
    }

    /// How the port is to behave.
    #[must_use]
    pub fn policy(&self) -> &Policy {
        &self.policy
    }

    /// How the port stands.
    #[must_use]
    pub fn state(&self) -> PortState {
        self.state.0
    }

    /// Works out how the port stands. It is secured only while frames really pass protected.
    pub(super) fn port_state(&self, now: Time) -> PortState {
        if !self.carrier {
            return PortState::Down;
        }
        match self.cp.state() {
            CpState::Authenticated | CpState::Allowed => return PortState::Authenticated,
            CpState::Init
            | CpState::Change
            | CpState::Secured
            | CpState::Receive
            | CpState::Receiving
            | CpState::Ready
            | CpState::Transmit
            | CpState::Transmitting
            | CpState::Abandon
            | CpState::Retire => {}
        }
        if self.open && self.cp.transmits_with().is_some() {
            return PortState::Secured;
        }
        // The best of the participants speaks for the port: one with peers before one without.
        let states = self.participants.iter().map(|participant| state_of(now, participant));
        states.min_by_key(|&state| state != PortState::Pending).unwrap_or(PortState::Listening)
    }

    fn key_server(&self) -> Option<KeyServer> {
        let principal = self.participants.get(self.principal?)?;
        let elected = principal.elected?;
        Some(if elected.is_own() { KeyServer::Own } else { KeyServer::Peer(elected.sci) })
    }

    fn participant_status(&self, now: Time, index: usize) -> Option<ParticipantStatus> {
        let participant = self.participants.get(index)?;
        let principal = self.principal == Some(index);
        let in_use = self.cp.transmits_with().and_then(|slot| self.ckn_of(slot.ki));
        let state = state_of(now, participant);
        Some(ParticipantStatus {
            ckn: participant.ckn().clone(),
            principal,
            state: if principal { self.port_state(now) } else { state },
            mi: participant.actor.mi(),
            mn: participant.actor.last(),
            has_key_server: participant.elected.is_some(),
            in_use: in_use.as_ref() == Some(participant.ckn()),
            peers: participant
                .peers
                .iter()
                .map(|(mi, peer)| PeerStatus {
                    sci: peer.sci,
                    mi,
                    live: peer.is_live(),
                    priority: peer.priority,
                    key_server: peer.key_server,
                    capability: peer.capability,
                    mka_version: peer.mka_version,
                    also_in_clear: peer.is_also_in_clear(),
                    first_heard: peer.first_heard,
                    last_heard: peer.heard,
                })
                .collect(),
        })
    }

    fn sak_status(&self) -> Option<SakStatus> {
        let slot = self.cp.transmits_with()?;
        let sak = self.saks.get(slot.ki)?;
        let spent = self.progress.next_pn(slot.ki).unwrap_or(1).saturating_sub(1);
        let space = if sak.key.suite.is_xpn() { u64::MAX } else { u64::from(u32::MAX) };
        #[expect(clippy::cast_precision_loss, reason = "a ratio for people")]
        let pn_used_ratio = spent as f64 / space as f64;
        Some(SakStatus {
            ki: slot.ki,
            an: slot.an,
            suite: sak.key.suite,
            offset: sak.key.offset,
            since: sak.since,
            pn_used_ratio,
        })
    }

    fn carrier(&mut self, now: Time, carrier: bool) {
        if carrier == self.carrier {
            return;
        }
        self.carrier = carrier;
        self.carrier_since = carrier.then_some(now);
        self.carrier_lost = (!carrier).then_some(now);
        if carrier {
            for participant in &mut self.participants {
                participant.pace.hello(now);
                participant.alone_since = participant.alone_since.map(|_| now);
            }
        }
    }
}

/// How long to wait before asking the data plane or the entropy again.
pub(super) const RETRY: Duration = Duration::from_secs(2);

/// How long a key server may leave us without an SAK, its own spacing of SAKs included.
pub(super) const KEYLESS_MAX: Duration = Duration::from_secs(8);

/// How a participant stands as far as peers go.
fn state_of(now: Time, participant: &Participant) -> PortState {
    if participant.peers.has_live() {
        PortState::Pending
    } else if participant.has_failed(now) {
        PortState::Failed
    } else if participant.peers.iter().next().is_some() {
        PortState::Pending
    } else {
        PortState::Listening
    }
}
