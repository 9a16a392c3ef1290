//! The Controlled Port state machine (802.1X-2020 12.4, Figure 12-2).
//!
//! Pure: it is shown what holds, and answers with [`Action`]s in order. Where it departs from the
//! figure, the reason stands beside the transition; `docs/conformance.md` lists all of them.
//!
//! What others report (all receive, the server transmits) is shown as a level that holds for the
//! latest key, not as a latch that entering a state clears: a report that comes early is not lost.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::timers::{LIFE, RETIRE};
use crate::ident::{AssociationNumber, CipherSuite, ConfidentialityOffset, KeyId};
use crate::time::Time;

/// The states of Figure 12-2.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Ord, PartialOrd, Hash, Serialize)]
pub enum CpState {
    /// The port is not enabled.
    Init,
    /// No access: deciding anew.
    Change,
    /// Access in clear, without authentication.
    Allowed,
    /// Access in clear.
    Authenticated,
    /// MACsec is to be used; waiting for an SAK.
    Secured,
    /// The SAs of a new SAK are being created.
    Receive,
    /// Receiving with the new SAK.
    Receiving,
    /// Waiting for the key server to transmit.
    Ready,
    /// Transmission with the new SAK is being enabled.
    Transmit,
    /// Transmitting with the new SAK; the old one is still received.
    Transmitting,
    /// The new SAK was given up.
    Abandon,
    /// The old SAK is gone.
    Retire,
}

/// What the port may do, as MKA and policy have decided (802.1X-2020 12.3, connect).
#[derive(Clone, Copy, Debug, Eq, PartialEq, Hash)]
pub(super) enum Connect {
    Pending,
    Authenticated,
    Secure,
}

/// An SAK and the association it takes.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Hash, Serialize)]
pub(super) struct Slot {
    pub(super) ki: KeyId,
    pub(super) an: AssociationNumber,
}

/// How the frames of an SAK are protected.
pub(super) type Cipher = (CipherSuite, ConfidentialityOffset);

/// What holds outside of the machine, for the latest key where it is about a key.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Conditions {
    pub(super) port_enabled: bool,
    pub(super) connect: Connect,
    pub(super) elected_self: bool,
    /// The cipher of the SAK distributed last.
    pub(super) cipher: Option<Cipher>,
    /// Every live peer receives with the latest key.
    pub(super) all_receiving: bool,
    /// At least one live peer receives with it.
    pub(super) any_receiving: bool,
    /// The key server transmits with it.
    pub(super) server_transmitting: bool,
    /// Every live peer transmits with it.
    pub(super) all_transmitting: bool,
    /// No live peer says that it transmits with the old key.
    pub(super) old_is_idle: bool,
}

/// What the machine wants done, in order.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Action {
    /// Frames pass protected.
    Protect,
    /// Frames pass in clear.
    PassInClear,
    Open,
    Close,
    CreateSas(Slot),
    EnableTx(KeyId),
    DeleteSas(KeyId),
    /// Our SAK Use has changed: tell the others.
    NewInfo,
}

/// The machine of one port.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[cfg_attr(test, derive(Eq, PartialEq, Hash))]
pub(super) struct Cp {
    state: CpState,
    latest: Option<Slot>,
    latest_tx: bool,
    latest_rx: bool,
    /// The data plane can no longer do with it what it is for.
    latest_lost: bool,
    old: Option<Slot>,
    old_tx: bool,
    old_rx: bool,
    old_lost: bool,
    open: bool,
    current: Option<Cipher>,
    new_sak: Option<Slot>,
    server_changed: bool,
    /// The answer to `CreateSas` and to `EnableTx` of the latest key.
    sas_created: Option<bool>,
    tx_enabled: Option<bool>,
    transmit_when: Time,
    /// Since when TRANSMITTING holds.
    transmitting_since: Time,
}

/// How long the old SA stays at the latest where some member never says that it has moved.
const RETIRE_AT_LATEST: Duration = Duration::from_secs(20);

/// How long frames of the old SA may still be on their way behind the MKPDU which says that their
/// sender has moved.
const IN_FLIGHT: Duration = Duration::from_millis(200);

/// No chain of transitions is longer; a longer one would be a loop.
const STEPS_MAX: usize = 32;

impl Cp {
    pub(super) fn new() -> Self {
        Self {
            state: CpState::Init,
            latest: None,
            latest_tx: false,
            latest_rx: false,
            latest_lost: false,
            old: None,
            old_tx: false,
            old_rx: false,
            old_lost: false,
            open: false,
            current: None,
            new_sak: None,
            server_changed: false,
            sas_created: None,
            tx_enabled: None,
            transmit_when: Time::ZERO,
            transmitting_since: Time::ZERO,
        }
    }

    pub(super) fn state(&self) -> CpState {
        self.state
    }

    /// The latest key with its transmit and receive flags. One that is lost may still be received
    /// with, but nobody is to count on it.
    pub(super) fn latest(&self) -> Option<(Slot, bool, bool)> {
        self.latest.map(|slot| (slot, self.latest_tx, self.latest_rx && !self.latest_lost))
    }

    /// The old key with its transmit and receive flags.
    pub(super) fn old(&self) -> Option<(Slot, bool, bool)> {
        self.old.map(|slot| (slot, self.old_tx, self.old_rx && !self.old_lost))
    }

    /// The latest and the old key, as the others are to be told of them.
    ///
    /// With no key before it there is nothing to retire, and the figure moves a key to the old ones
    /// in the moment in which it transmits. A member that changes over from a key of which we know
    /// nothing, because one of us restarted, may wait to hear of our transmission as that of the
    /// latest key and of no other; hostap does. So the latest it is for SAK Retire Time.
    pub(super) fn told(&self, now: Time) -> [Option<(Slot, bool, bool)>; 2] {
        let moved = self.state == CpState::Retire && self.latest.is_none();
        if moved && now.since(self.transmitting_since) < RETIRE {
            return [self.old(), None];
        }
        [self.latest(), self.old()]
    }

    /// Whether the Controlled Port is open.
    pub(super) fn is_open(&self) -> bool {
        self.open
    }

    /// The key that frames are sent with.
    pub(super) fn transmits_with(&self) -> Option<Slot> {
        let latest = self.latest.filter(|_| self.latest_tx);
        latest.or(self.old.filter(|_| self.old_tx))
    }

    /// Notes that another key server was elected, one of another SCI.
    pub(super) fn server_changed(&mut self) {
        self.server_changed = true;
    }

    /// Notes a new SAK; one that still waits is superseded.
    pub(super) fn new_sak(&mut self, slot: Slot) {
        self.new_sak = Some(slot);
    }

    /// Notes the answer to `CreateSas`.
    pub(super) fn sas_created(&mut self, ki: KeyId, done: bool) {
        if self.latest.is_some_and(|slot| slot.ki == ki) {
            self.sas_created = Some(done);
        }
    }

    /// Notes the answer to `EnableTx`.
    pub(super) fn tx_enabled(&mut self, ki: KeyId, done: bool) {
        if self.latest.is_some_and(|slot| slot.ki == ki) {
            self.tx_enabled = Some(done);
        }
    }

    /// Notes that the data plane has lost a key; tells whether it was one that it had.
    pub(super) fn sak_lost(&mut self, ki: KeyId) -> bool {
        if self.latest.is_some_and(|slot| slot.ki == ki) && !self.latest_lost {
            (self.latest_tx, self.latest_lost) = (false, true);
            return true;
        }
        if self.old.is_some_and(|slot| slot.ki == ki) && !self.old_lost {
            (self.old_tx, self.old_lost) = (false, true);
            // The latest has taken over. Until it does, what others still send is received.
            self.old_rx &= !self.latest_tx;
            return true;
        }
        false
    }

    /// Whether a key is there that takes over or has taken over, or one waits.
    pub(super) fn has_next(&self) -> bool {
        self.new_sak.is_some() || (self.latest.is_some() && !self.latest_lost)
    }

    /// The key without which nothing can be sent, because it was lost.
    pub(super) fn missed(&self) -> Option<KeyId> {
        let lost = self.old.filter(|_| self.old_lost).or(self.latest.filter(|_| self.latest_lost));
        lost.filter(|_| self.transmits_with().is_none()).map(|slot| slot.ki)
    }

    /// Whether the port is open to protected frames and none can be sent: the key was lost, or has
    /// made room for one that took its association.
    pub(super) fn is_mute(&self) -> bool {
        let in_clear = matches!(self.state, CpState::Authenticated | CpState::Allowed);
        self.open && !in_clear && self.transmits_with().is_none()
    }

    /// Whether nothing can be sent because a key was lost, and nothing is there to take over.
    pub(super) fn is_stranded(&self) -> bool {
        self.missed().is_some() && !self.has_next()
    }

    /// Whether another key has taken over from this one.
    pub(super) fn is_superseded(&self, ki: KeyId) -> bool {
        self.latest_tx && self.old.is_some_and(|slot| slot.ki == ki)
    }

    /// Whether the data plane was told to have this key.
    pub(super) fn is_installed(&self, ki: KeyId) -> bool {
        [self.latest, self.old].into_iter().flatten().any(|slot| slot.ki == ki)
    }

    /// The SAK that came last of those that it has or will have.
    pub(super) fn newest(&self) -> Option<Slot> {
        self.new_sak.or(self.latest).or(self.old)
    }

    /// Every SAK that it has or will have: the latest, the old one, and one that waits.
    pub(super) fn slots(&self) -> impl Iterator<Item = Slot> {
        [self.latest, self.old, self.new_sak].into_iter().flatten()
    }

    /// When, after `now`, the machine may move by itself; `None` means never.
    pub(super) fn poll_timeout(&self, now: Time) -> Option<Time> {
        let after = |since: Time, spans: &[Duration]| {
            spans.iter().map(|&span| since.after(span)).filter(|&at| at > now).min()
        };
        match self.state {
            CpState::Receiving | CpState::Ready => after(self.transmit_when, &[Duration::ZERO]),
            CpState::Transmitting => {
                after(self.transmitting_since, &[IN_FLIGHT, RETIRE, RETIRE_AT_LATEST])
            }
            CpState::Init
            | CpState::Change
            | CpState::Allowed
            | CpState::Authenticated
            | CpState::Secured
            | CpState::Receive
            | CpState::Transmit
            | CpState::Abandon
            | CpState::Retire => None,
        }
    }

    /// Goes on after a restart, with the SAs that the data plane has kept: it transmits with
    /// `transmitting`. What was commanded last may have been carried out or not. `None` where the
    /// machine cannot have come to this.
    pub(super) fn resume(
        &mut self,
        transmitting: KeyId,
        is_kept: impl Fn(KeyId) -> bool,
    ) -> Option<Vec<Action>> {
        let is = |slot: Option<Slot>| slot.is_some_and(|slot| slot.ki == transmitting);
        let latest = self.latest.filter(|slot| is_kept(slot.ki));
        let mut again = Vec::new();
        let fits = match self.state {
            CpState::Receive => {
                // Where it is not there, it may have been; it is not asked for a second time.
                self.sas_created = Some(latest.is_some());
                is(self.old)
            }
            CpState::Receiving | CpState::Ready | CpState::Abandon | CpState::Retire => {
                is(self.old)
            }
            CpState::Transmit if is(self.latest) => {
                self.tx_enabled = Some(true);
                true
            }
            CpState::Transmit => {
                self.tx_enabled = latest.is_none().then_some(false);
                again.extend(latest.map(|slot| Action::EnableTx(slot.ki)));
                is(self.old)
            }
            CpState::Transmitting => is(self.latest),
            CpState::Init
            | CpState::Change
            | CpState::Allowed
            | CpState::Authenticated
            | CpState::Secured => false,
        };
        fits.then_some(again)
    }

    /// Moves until nothing more moves.
    pub(super) fn step(&mut self, now: Time, holds: &Conditions, out: &mut Vec<Action>) {
        for _ in 0..STEPS_MAX {
            let Some(next) = self.next(now, holds) else { return };
            self.enter(next, now, holds, out);
        }
        debug_assert!(false, "the machine runs in circles through {:?}", self.state);
    }

    fn changed(&self, holds: &Conditions) -> bool {
        holds.connect != Connect::Secure || self.server_changed || self.current != holds.cipher
    }

    fn next(&self, now: Time, holds: &Conditions) -> Option<CpState> {
        use CpState as S;
        if !holds.port_enabled {
            return (self.state != S::Init).then_some(S::Init);
        }
        let (changed, new_sak) = (self.changed(holds), self.new_sak.is_some());
        let give_up = changed || new_sak || self.latest_lost;
        let when = |condition: bool, state: S| condition.then_some(state);
        match self.state {
            S::Init => Some(S::Change),
            S::Change => match holds.connect {
                Connect::Pending => None,
                Connect::Authenticated => Some(S::Authenticated),
                Connect::Secure => Some(S::Secured),
            },
            // MKA never asks for unauthenticated access; the state exists for the figure's sake.
            S::Allowed => Some(S::Change),
            S::Authenticated => when(holds.connect != Connect::Authenticated, S::Change),
            S::Secured => when(changed, S::Change).or(when(new_sak, S::Receive)),
            // Beyond the figure: a refused, lost or superseded key is given up here too, so that
            // nothing that the data plane says can leave the machine without an exit.
            S::Receive => when(give_up || self.sas_created == Some(false), S::Abandon)
                .or(when(self.sas_created == Some(true), S::Receiving)),
            S::Receiving => when(give_up, S::Abandon)
                .or(when(!holds.elected_self, S::Ready))
                .or(when(self.server_may_transmit(now, holds), S::Transmit)),
            // Beyond the figure: as after transmitWhen in RECEIVING, so that a server that receives
            // with the new key and never says that it transmits does not hold us on the old one.
            S::Ready => when(give_up, S::Abandon).or(when(
                holds.server_transmitting || (now >= self.transmit_when && holds.any_receiving),
                S::Transmit,
            )),
            // A key that is lost meanwhile is not given up before the answer: it tells whether the
            // one before still transmits.
            S::Transmit => when(self.tx_enabled == Some(true), S::Transmitting)
                .or(when(self.tx_enabled == Some(false), S::Abandon)),
            S::Transmitting => when(changed || self.may_retire(now, holds), S::Retire),
            S::Abandon => when(changed, S::Retire).or(when(new_sak, S::Receive)),
            S::Retire => when(changed, S::Change).or(when(new_sak, S::Receive)),
        }
    }

    /// The figure lets the first SAK be transmitted before anyone receives it, and any SAK after
    /// transmitDelay. We wait for all, and after the delay for one at least: a key that nobody
    /// receives is no better than none.
    fn server_may_transmit(&self, now: Time, holds: &Conditions) -> bool {
        holds.all_receiving || (now >= self.transmit_when && holds.any_receiving)
    }

    /// The figure retires the old SA when SAK Retire Time is over. We also want to hear from every
    /// member that it has moved, within reason; and where the next SAK waits and nobody sends with the
    /// old one, or we cannot send at all before we have the next, the old one need not live on.
    fn may_retire(&self, now: Time, holds: &Conditions) -> bool {
        let age = now.since(self.transmitting_since);
        let (moved, next_waits) = (holds.all_transmitting, self.new_sak.is_some());
        !self.old_rx
            || (self.latest_lost && next_waits)
            || (age >= RETIRE && (moved || next_waits))
            || (age >= IN_FLIGHT && next_waits && (moved || holds.old_is_idle))
            || age >= RETIRE_AT_LATEST
    }

    fn enter(&mut self, next: CpState, now: Time, holds: &Conditions, out: &mut Vec<Action>) {
        self.state = next;
        match next {
            CpState::Init => {
                self.delete_all(out);
                self.server_changed = false;
                self.new_sak = None;
            }
            CpState::Change => self.delete_all(out),
            CpState::Allowed | CpState::Authenticated => {
                out.push(Action::PassInClear);
                self.set_open(true, out);
            }
            CpState::Secured => {
                self.server_changed = false;
                self.current = holds.cipher;
                out.push(Action::Protect);
            }
            CpState::Receive => self.receive(out),
            CpState::Receiving => {
                self.latest_rx = true;
                self.transmit_when = now.after(LIFE);
                out.push(Action::NewInfo);
            }
            CpState::Ready => out.push(Action::NewInfo),
            CpState::Transmit => {
                self.tx_enabled = None;
                out.extend(self.latest.map(|slot| Action::EnableTx(slot.ki)));
            }
            CpState::Transmitting => {
                // The figure reports transmission on entering TRANSMIT; we do when it is true.
                self.latest_tx = !self.latest_lost;
                if self.latest_tx {
                    self.set_open(true, out);
                }
                self.transmitting_since = now;
                self.old_tx = false;
                out.push(Action::NewInfo);
            }
            CpState::Abandon => {
                out.extend(self.latest.map(|slot| Action::DeleteSas(slot.ki)));
                self.set_latest(None);
            }
            CpState::Retire => {
                out.extend(self.old.map(|slot| Action::DeleteSas(slot.ki)));
                self.old = self.latest;
                (self.old_tx, self.old_rx) = (self.latest_tx, self.latest_rx);
                self.old_lost = self.latest_lost;
                self.set_latest(None);
            }
        }
    }

    fn receive(&mut self, out: &mut Vec<Action>) {
        let Some(slot) = self.new_sak.take() else { return };
        // A server may give an association that is still in use. Its word counts.
        if let Some(old) = self.old.take_if(|old| old.an == slot.an) {
            (self.old_tx, self.old_rx, self.old_lost) = (false, false, false);
            out.push(Action::DeleteSas(old.ki));
        }
        self.set_latest(Some(slot));
        (self.sas_created, self.tx_enabled) = (None, None);
        out.push(Action::CreateSas(slot));
    }

    fn delete_all(&mut self, out: &mut Vec<Action>) {
        self.set_open(false, out);
        let slots = [self.latest, self.old.take()];
        out.extend(slots.into_iter().flatten().map(|slot| Action::DeleteSas(slot.ki)));
        self.set_latest(None);
        (self.old_tx, self.old_rx, self.old_lost) = (false, false, false);
    }

    fn set_latest(&mut self, slot: Option<Slot>) {
        self.latest = slot;
        (self.latest_tx, self.latest_rx, self.latest_lost) = (false, false, false);
    }

    fn set_open(&mut self, open: bool, out: &mut Vec<Action>) {
        if self.open != open {
            self.open = open;
            out.push(if open { Action::Open } else { Action::Close });
        }
    }
}

#[cfg(test)]
#[path = "cp_model.rs"]
pub(super) mod model;
#[cfg(test)]
#[path = "cp_tests.rs"]
mod tests;
