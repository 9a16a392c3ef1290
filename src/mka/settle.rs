//! What follows from each input: timeouts, elections, the CP machine, commands and MKPDUs.
//!
//! Everything here is worked out anew from what holds, not remembered from what happened, so that
//! nothing wanted can be forgotten.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::cp::{Action, Conditions, Connect, CpState};
use super::election::Candidate;
use super::kay::{Decided, Kay};
use super::participant::Participant;
use super::peers::{JITTER, Peer};
use super::status::PortState;
use crate::ident::{KeyId, KeyServerPriority, MemberId, Sci};
use crate::secy::{InstallSak, SecyCommand};
use crate::time::Time;

/// One input never needs more rounds: each can at most make one SAK and move the machine once.
const ROUNDS_MAX: usize = 8;

impl Kay {
    /// Time never goes back, whoever says what it is.
    pub(super) fn settle(&mut self, now: Time) {
        self.now = self.now.max(now);
        let now = self.now;
        self.suspend(now);
        for participant in &mut self.participants {
            participant.handle_timeout(now);
        }
        self.renew_spent(now);
        self.settle_keys(now);
        if self.outlive(now)
            || self.retry(now)
            || self.replace_lost_sak(now)
            || self.remind_server(now)
        {
            self.settle_keys(now);
        }
        self.redo(now);
        self.tend_receivers(now);
        self.prune();
        self.note_loss(now);
        self.open_port(now);
        self.note_state(now);
        self.speak(now);
        self.remember();
    }

    fn settle_keys(&mut self, now: Time) {
        for participant in &mut self.participants {
            participant.elect(now, &self.policy);
        }
        for _ in 0..ROUNDS_MAX {
            self.follow_server(now);
            self.give_up_lost_key(now);
            self.check_distribution();
            self.make_sak(now);
            if !self.step_cp(now) {
                break;
            }
        }
    }

    /// The rank of the best key server of all participants.
    pub(super) fn best_server(&self) -> Option<(KeyServerPriority, Sci)> {
        let elected = self.participants.iter().filter_map(|participant| participant.elected);
        elected.map(|elected| elected.rank()).min()
    }

    /// Follows the principal's key server. Only a server of another SCI is a change: one that
    /// restarted, or is met again under another key, must not tear the port down. Nor must it be
    /// torn down before the others have met us under our new MI, or served by us before the server
    /// that we had has.
    fn follow_server(&mut self, now: Time) {
        self.principal = self.choose_principal();
        self.note_leader(now);
        let served = self.server == Some(self.policy.sci);
        let is_other = |elected: Candidate| elected.is_own() && !served;
        if self.is_held(now) && self.elected().is_none_or(is_other) {
            self.principal = None;
            return;
        }
        if self.bridges(now) {
            return;
        }
        let server = self.elected().map(|elected| elected.sci);
        if let (Some(before), Some(after)) = (self.server, server)
            && before != after
        {
            self.hand_over(now);
        }
        if self.decided.is_none_or(|decided| Some(decided.by) == server) {
            self.handed_over = None;
        } else if server.is_none() || self.handed_over.is_none_or(|until| until <= now) {
            if self.handed_over.take().is_some() && server.is_some() {
                self.cp.server_changed();
            }
            self.decided = None;
        }
        self.server = server;
    }

    /// Another key server was elected. Beyond the figure, the SAK of the one before goes on until
    /// that of the new one takes over, as in a rekey, for an MKA Life Time: those who have it are
    /// members all the same.
    fn hand_over(&mut self, now: Time) {
        let secure = self.decided.is_some_and(|decided| decided.secure);
        if secure && self.cp.transmits_with().is_some() {
            self.handed_over.get_or_insert(now.after(self.policy.manners.life));
        } else {
            self.cp.server_changed();
        }
    }

    /// Where we refuse the key that the server offers, the one before it is all there is. If the
    /// server does not use that either, because it came back without it, there is no security.
    fn give_up_lost_key(&mut self, now: Time) {
        let server = self.elected().and_then(|elected| elected.mi);
        let peer = server.zip(self.principal()).and_then(|(mi, of)| of.peers.get(mi));
        let lost = peer
            .zip(self.cp.transmits_with())
            .is_some_and(|(peer, slot)| !peer.receives(slot.ki) && !peer.transmits(slot.ki));
        if lost && self.refuses(now) {
            self.decided = None;
        }
    }

    /// Tells whether the key server has just offered what cannot be taken.
    pub(super) fn refuses(&self, now: Time) -> bool {
        let evidence = &self.evidence;
        let refusals = [
            evidence.suite_refused.map(|(_, at)| at),
            evidence.offset_refused.map(|(_, at)| at),
            evidence.unwrap_failed,
            evidence.plain_text_refused,
        ];
        refusals.into_iter().flatten().any(|at| now.since(at) < self.policy.manners.life)
    }

    pub(super) fn elected(&self) -> Option<Candidate> {
        self.principal().and_then(|principal| principal.elected)
    }

    pub(super) fn principal(&self) -> Option<&Participant> {
        self.participants.get(self.principal?)
    }

    pub(super) fn is_server(&self) -> bool {
        self.elected().is_some_and(|elected| elected.is_own())
    }

    fn conditions(&self, now: Time) -> Conditions {
        let life = self.policy.manners.life;
        let kept = self.carrier_lost.is_some_and(|lost| now.since(lost) < life + JITTER);
        let connect = match self.decided {
            Some(Decided { secure: true, .. }) => Connect::Secure,
            Some(Decided { secure: false, .. }) => Connect::Authenticated,
            None => Connect::Pending,
        };
        let latest = self.cp.latest().map(|(slot, ..)| slot.ki);
        let live = || self.principal().into_iter().flat_map(|principal| principal.peers.live());
        let by_all = |uses: fn(&Peer, KeyId) -> bool| {
            latest.is_some_and(|ki| live().count() > 0 && live().all(|(_, peer)| uses(peer, ki)))
        };
        let server = self.elected().and_then(|elected| elected.mi);
        Conditions {
            port_enabled: self.carrier || kept,
            connect,
            elected_self: self.is_server(),
            cipher: self.saks.newest().map(|sak| (sak.key.suite, sak.key.offset)),
            all_receiving: by_all(Peer::receives),
            any_receiving: latest.is_some_and(|ki| live().any(|(_, peer)| peer.receives(ki))),
            server_transmitting: latest.zip(server).is_some_and(|(ki, server)| {
                live().any(|(mi, peer)| mi == server && peer.transmits(ki))
            }),
            all_transmitting: by_all(Peer::transmits),
            old_is_idle: self.cp.old().is_none_or(|(slot, ..)| !self.is_sent_with(slot.ki)),
        }
    }

    /// Tells whether a live peer says that it transmits with this key, in whichever CA.
    fn is_sent_with(&self, ki: KeyId) -> bool {
        let mut live = self.participants.iter().flat_map(|of| of.peers.live());
        live.any(|(_, peer)| peer.transmits(ki))
    }

    /// Lets the CP machine move; tells whether it did anything.
    fn step_cp(&mut self, now: Time) -> bool {
        let mut actions = Vec::new();
        let before = self.cp.state();
        let conditions = self.conditions(now);
        self.cp.step(now, &conditions, &mut actions);
        for action in &actions {
            self.carry_out(*action);
        }
        if self.cp.state() == CpState::Init {
            // Whatever was handed out has no SAs any more.
            self.distribution = None;
        }
        !actions.is_empty() || before != self.cp.state()
    }

    pub(super) fn carry_out(&mut self, action: Action) {
        match action {
            Action::Protect => {
                self.command(SecyCommand::Configure(self.policy.secured()));
            }
            Action::PassInClear => {
                self.command(SecyCommand::Configure(self.policy.in_clear()));
            }
            // The port opens with the carrier, see `open_port`; closing does not wait.
            Action::Open => {}
            Action::Close => self.set_open(false),
            Action::CreateSas(slot) => self.install(slot.ki),
            Action::EnableTx(ki) => self.command(SecyCommand::EnableTx(ki)),
            Action::DeleteSas(ki) => {
                // An SAK can stay known, as the newest one, when its SAs are gone; nobody is to be
                // received with it any more.
                if self.saks.get_mut(ki).is_some_and(|sak| sak.receivers.take().is_some()) {
                    self.command(SecyCommand::RemoveSak(ki));
                }
            }
            Action::NewInfo => {
                if let Some(index) = self.principal
                    && let Some(principal) = self.participants.get_mut(index)
                {
                    principal.pace.news();
                }
            }
        }
    }

    fn install(&mut self, ki: KeyId) {
        let live: Vec<_> = self.live_scis();
        let Some(sak) = self.saks.get_mut(ki) else { return };
        let receive: Vec<_> =
            live.into_iter().filter_map(|(mi, sci)| sak.member(mi, sci, 1)).collect();
        sak.receivers = Some(receive.iter().map(|member| (member.sci, true)).collect());
        let install =
            InstallSak { key: Arc::clone(&sak.key), an: sak.an, ssci: sak.own_ssci, receive };
        self.command(SecyCommand::InstallSak(install));
    }

    fn live_scis(&self) -> Vec<(MemberId, Sci)> {
        let principal = self.principal().into_iter();
        principal.flat_map(|of| of.peers.live()).map(|(mi, peer)| (mi, peer.sci)).collect()
    }

    /// Has the SecY receive whoever joined after an SAK was installed, and forget whoever left.
    fn tend_receivers(&mut self, now: Time) {
        let held = self.is_held(now) || self.bridges(now);
        let live_anywhere: BTreeSet<Sci> = self
            .participants
            .iter()
            .flat_map(|participant| participant.peers.live().map(|(_, peer)| peer.sci))
            .collect();
        let mut gone = BTreeSet::new();
        let mut joined = Vec::new();
        let live: Vec<_> = self
            .principal()
            .into_iter()
            .flat_map(|of| of.peers.live())
            .map(|(mi, peer)| (mi, peer.clone()))
            .collect();
        for sak in self.saks.iter_mut() {
            let ki = sak.key.ki;
            let Some(mut receivers) = sak.receivers.take() else { continue };
            let xpn = sak.key.suite.is_xpn();
            for (sci, present) in &mut receivers {
                if *present && !held && !live_anywhere.contains(sci) {
                    *present = false;
                    gone.insert(*sci);
                }
            }
            for (mi, peer) in &live {
                // Whoever comes back under the same SAK is received from where it says it is, not
                // from 1: its old frames must not be good again.
                let lowest_pn = match receivers.get(&peer.sci) {
                    Some(true) => continue,
                    Some(false) => self.progress.llpn_of(peer, ki, xpn).filter(|&pn| pn > 0),
                    None => Some(1),
                };
                let member = lowest_pn.and_then(|pn| sak.member(*mi, peer.sci, pn));
                if let Some(member) = member {
                    receivers.insert(peer.sci, true);
                    joined.push((ki, member));
                }
            }
            sak.receivers = Some(receivers);
        }
        for sci in gone {
            self.command(SecyCommand::RemoveReceiver(sci));
        }
        for (ki, member) in joined {
            self.command(SecyCommand::AddReceiver { ki, member });
        }
    }

    /// Forgets SAKs that nothing refers to any more.
    fn prune(&mut self) {
        let distributed = self.distribution.as_ref().map(|distribution| distribution.ki);
        let used = self.cp.slots().map(|slot| slot.ki);
        self.saks.retain(&used.chain(distributed).collect::<Vec<_>>());
    }

    /// The Controlled Port is open while the CP machine has it open, there is a carrier, the SecY has
    /// said that it protects frames if it is to, and frames can be sent or soon will.
    fn open_port(&mut self, now: Time) {
        let heals = self.mute_until().is_none_or(|until| now < until);
        self.set_open(self.cp.is_open() && self.carrier && self.is_configured() && heals);
    }

    fn set_open(&mut self, open: bool) {
        if open != self.open {
            self.open = open;
            self.command(SecyCommand::SetControlledPort(open));
        }
    }

    fn note_state(&mut self, now: Time) {
        let state = self.port_state(now);
        if state != self.state.0 {
            self.state = (state, now);
            if state == PortState::Secured {
                (self.evidence.refused_by_secy, self.evidence.sak_lost) = (None, None);
            }
        }
    }
}
