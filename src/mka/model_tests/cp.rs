//! The Controlled Port machine in an environment that does anything: whoever shows it what holds,
//! gives it SAKs, answers it and lets time pass does so in any order and combination.
//!
//! This is more than a KaY ever does, so whatever holds here holds there. The exploration is
//! complete: keys, associations, ciphers and times are named by what the machine can tell apart,
//! which leaves finitely many states, and all are visited. A state is also kept between an event
//! and the next step of the machine, so any events can come together in one step.

use std::collections::BTreeMap;
use std::fmt;

use stateright::{Model, Property};

use super::cp_laws::{self, Law};
use super::{breaks, explore};
use crate::ident::{
    AssociationNumber, CipherSuite, ConfidentialityOffset, KeyId, KeyNumber, MemberId,
};
use crate::mka::cp::model::Defect;
use crate::mka::cp::{Action, Cipher, Conditions, Connect, Cp, CpState, Slot};
use crate::mka::sak::pick_an;
use crate::time::Time;

/// Every state is told as if it were now. Long enough after the beginning that ages fit before it.
pub(super) const NOW: Time = Time::from_nanos(100_000_000_000);

const CIPHERS: [Cipher; 2] = [
    (CipherSuite::GcmAesXpn256, ConfidentialityOffset::Offset0),
    (CipherSuite::GcmAes128, ConfidentialityOffset::Offset0),
];

/// What the data plane has of an SAK.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Hash)]
pub(super) struct Sa {
    pub(super) slot: Slot,
    /// Whether its SAs are there; `None` until it says so.
    pub(super) there: Option<bool>,
    /// It had the SAs and can no longer send.
    pub(super) lost: bool,
}

/// A data plane as far as keys go.
#[derive(Clone, Debug, Default, Eq, PartialEq, Hash)]
pub(super) struct Plane {
    pub(super) sas: Vec<Sa>,
    pub(super) transmits: Option<KeyId>,
    pub(super) protects: Option<bool>,
    pub(super) open: bool,
}

impl Plane {
    pub(super) fn get(&self, ki: KeyId) -> Option<&Sa> {
        self.sas.iter().find(|sa| sa.slot.ki == ki)
    }

    fn get_mut(&mut self, ki: KeyId) -> Option<&mut Sa> {
        self.sas.iter_mut().find(|sa| sa.slot.ki == ki)
    }
}

#[derive(Clone, Eq, PartialEq, Hash)]
pub(super) struct State {
    pub(super) cp: Cp,
    pub(super) plane: Plane,
    /// The association given last, where it is we who give them.
    last: Option<AssociationNumber>,
    /// Whether the machine has seen all that happened.
    pub(super) settled: bool,
    pub(super) broken: Option<Law>,
}

impl fmt::Debug for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let slot = |of: Option<(Slot, bool, bool)>| {
            of.map(|(slot, tx, rx)| (slot.ki.number.0, slot.an.value(), tx, rx))
        };
        let (latest, old) = (slot(self.cp.latest()), slot(self.cp.old()));
        let waiting = self.cp.waiting().map(|slot| (slot.ki.number.0, slot.an.value()));
        write!(f, "{:?} latest {latest:?} old {old:?} waiting {waiting:?}", self.cp.state())?;
        let sas = self.plane.sas.iter().map(|sa| (sa.slot.ki.number.0, sa.there, sa.lost));
        let transmits = self.plane.transmits.map(|ki| ki.number.0);
        let (protects, open) = (self.plane.protects, self.plane.open);
        write!(f, " plane {:?} tx {transmits:?}", sas.collect::<Vec<_>>())?;
        write!(f, " protects {protects:?} open {open} broken {:?}", self.broken)
    }
}

/// What happens next.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Move {
    ServerChanged,
    NewSak(AssociationNumber),
    Answer(bool),
    Lost(KeyId),
    /// The time comes that the machine waits for.
    Pass,
    Step(Conditions),
}

/// Who picks the associations of SAKs.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Picks {
    /// A peer, as it likes.
    Any,
    /// We do.
    Ours,
    /// A counter that runs on, whatever carries traffic.
    RunsFree,
}

/// The machine and who picks associations, and what is wrong with it.
#[derive(Clone, Debug)]
pub(super) struct Port {
    pub(super) picks: Picks,
    pub(super) defect: Option<Defect>,
    /// A refusal by the data plane is taken for consent.
    pub(super) ignores_refusals: bool,
}

impl Port {
    fn sound(picks: Picks) -> Self {
        Self { picks, defect: None, ignores_refusals: false }
    }

    /// Moves the machine, carries out what it wants, and tells what is wrong with that.
    pub(super) fn step(&self, state: &mut State, holds: &Conditions) {
        let before = state.clone();
        let mut actions = Vec::new();
        match self.defect {
            None => state.cp.step(NOW, holds, &mut actions),
            Some(defect) => state.cp.step_with(defect, NOW, holds, &mut actions),
        }
        for action in &actions {
            let broken = cp_laws::permits(self.picks, &before, state, holds, action).err();
            state.broken = state.broken.or(broken);
            carry_out(&mut state.plane, action);
        }
        state.settled = true;
        state.broken = state.broken.or(cp_laws::settled(self.picks, state, holds).err());
    }

    /// Answers what the machine waits for.
    pub(super) fn answer(&self, state: &mut State, done: bool) {
        let Some((slot, ..)) = state.cp.latest() else { return };
        let told = done || self.ignores_refusals;
        if state.cp.state() == CpState::Receive {
            if let Some(sa) = state.plane.get_mut(slot.ki) {
                sa.there = Some(done);
            }
            state.cp.sas_created(slot.ki, told);
        } else {
            if done {
                state.plane.transmits = Some(slot.ki);
            }
            state.cp.tx_enabled(slot.ki, told);
        }
        state.settled = false;
    }

    /// Gives the machine a SAK that there never was before.
    pub(super) fn new_sak(state: &mut State, an: AssociationNumber) {
        state.cp.new_sak(Slot { ki: key(0), an });
        state.settled = false;
    }

    fn associations(&self, state: &State) -> Vec<AssociationNumber> {
        let own: Vec<_> = state.cp.slots().map(|slot| slot.an).collect();
        match self.picks {
            Picks::Any => AssociationNumber::ALL.to_vec(),
            Picks::Ours => vec![pick_an(state.last, &own, &[])],
            Picks::RunsFree => vec![pick_an(state.last, &[], &[])],
        }
    }
}

impl Model for Port {
    type State = State;
    type Action = Move;

    fn init_states(&self) -> Vec<State> {
        let (cp, plane) = (Cp::new(), Plane::default());
        let state = State { cp, plane, last: None, settled: true, broken: None };
        vec![canonical(&state)]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Move>) {
        if state.broken.is_some() {
            return;
        }
        actions.extend(self.associations(state).into_iter().map(Move::NewSak));
        actions.push(Move::ServerChanged);
        if state.cp.awaits_answer() {
            actions.extend([Move::Answer(true), Move::Answer(false)]);
        }
        let there = state.plane.sas.iter().filter(|sa| sa.there == Some(true) && !sa.lost);
        actions.extend(there.map(|sa| Move::Lost(sa.slot.ki)));
        if state.cp.poll_timeout(NOW).is_some() {
            actions.push(Move::Pass);
        }
        actions.extend(all_conditions().map(Move::Step));
    }

    fn next_state(&self, state: &State, action: Move) -> Option<State> {
        let mut next = state.clone();
        let mut now = NOW;
        match action {
            Move::ServerChanged => next.cp.server_changed(),
            Move::NewSak(an) => {
                Self::new_sak(&mut next, an);
                next.last = (self.picks != Picks::Any).then_some(an);
            }
            Move::Answer(done) => self.answer(&mut next, done),
            Move::Lost(ki) => {
                next.plane.get_mut(ki)?.lost = true;
                next.cp.sak_lost(ki);
            }
            Move::Pass => now = next.cp.poll_timeout(NOW)?,
            Move::Step(holds) => self.step(&mut next, &holds),
        }
        next.settled &= matches!(action, Move::Step(_));
        let next = canonical_at(&next, now);
        (next != *state).then_some(next)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        cp_laws::properties()
    }
}

fn carry_out(plane: &mut Plane, action: &Action) {
    match *action {
        Action::Protect => plane.protects = Some(true),
        Action::PassInClear => plane.protects = Some(false),
        Action::Open => plane.open = true,
        Action::Close => plane.open = false,
        Action::CreateSas(slot) => plane.sas.push(Sa { slot, there: None, lost: false }),
        Action::EnableTx(_) | Action::NewInfo => {}
        Action::DeleteSas(ki) => {
            plane.sas.retain(|sa| sa.slot.ki != ki);
            plane.transmits = plane.transmits.filter(|&of| of != ki);
        }
    }
}

/// Everything that can be shown to the machine. Who is received by all is received by one.
fn all_conditions() -> impl Iterator<Item = Conditions> {
    let bit = |bits: u16, at: u16| bits >> at & 1 == 1;
    let connects = [Connect::Pending, Connect::Authenticated, Connect::Secure];
    let ciphers = [None, Some(CIPHERS[0]), Some(CIPHERS[1])];
    let bits = (0..128).filter(move |&bits| !bit(bits, 2) || bit(bits, 3));
    bits.flat_map(move |bits| connects.map(|connect| (bits, connect)))
        .flat_map(move |(bits, connect)| ciphers.map(|cipher| (bits, connect, cipher)))
        .map(move |(bits, connect, cipher)| Conditions {
            port_enabled: bit(bits, 0),
            connect,
            elected_self: bit(bits, 1),
            cipher,
            all_receiving: bit(bits, 2),
            any_receiving: bit(bits, 3),
            server_transmitting: bit(bits, 4),
            all_transmitting: bit(bits, 5),
            old_is_idle: bit(bits, 6),
        })
}

/// The name of a key; 0 is a new one, until it gets a name of its own.
pub(super) fn key(number: u32) -> KeyId {
    KeyId { server: MemberId::from_octets([1; 12]), number: KeyNumber(number) }
}

pub(super) fn canonical(state: &State) -> State {
    canonical_at(state, NOW)
}

/// Names everything in the order in which the machine holds it, so that what it cannot tell apart is
/// one state.
fn canonical_at(state: &State, now: Time) -> State {
    let held = [state.cp.old().map(|of| of.0), state.cp.latest().map(|of| of.0)];
    let held: Vec<Slot> = held.into_iter().flatten().chain(state.cp.waiting()).collect();
    let keys: BTreeMap<KeyId, u32> = (1..).zip(&held).map(|(n, slot)| (slot.ki, n)).collect();
    let rename = |ki: KeyId| key(keys.get(&ki).copied().unwrap_or(u32::MAX));
    let ans = associations(&held, state.last);
    let slot = |of: Slot| Slot { ki: rename(of.ki), an: ans[usize::from(of.an.value())] };
    let cp = state.cp.canonical((now, NOW), slot, |_| CIPHERS[0]);
    let sa = |of: &Sa| Sa { slot: slot(of.slot), ..*of };
    let mut plane = Plane { sas: state.plane.sas.iter().map(sa).collect(), ..state.plane };
    plane.sas.sort_unstable_by_key(|sa| sa.slot.ki);
    plane.transmits = plane.transmits.map(rename);
    State { cp, plane, last: state.last.map(|an| ans[usize::from(an.value())]), ..*state }
}

/// Which association gets which name. The machine only asks whether two are the same; who picks them
/// goes by their order.
fn associations(held: &[Slot], last: Option<AssociationNumber>) -> [AssociationNumber; 4] {
    let all = AssociationNumber::ALL;
    if let Some(last) = last {
        return all.map(|an| AssociationNumber::from_low_bits(an.value() + 4 - last.value()));
    }
    let mut order: Vec<_> = held.iter().map(|slot| slot.an).chain(all).collect();
    let mut seen = Vec::new();
    order.retain(|an| {
        !seen.contains(an) && {
            seen.push(*an);
            true
        }
    });
    all.map(|an| {
        let at = order.iter().position(|&of| of == an).unwrap();
        AssociationNumber::from_low_bits(u8::try_from(at).unwrap())
    })
}

/// How long the machine may take from anything to being secured, in moves of its environment.
const HEALS_IN: usize = 24;

/// Whether the port comes to be secured from here, whoever is key server, once all goes well: no
/// further change, no refusal, everybody follows at once. Where there is a SAK that can be used, it
/// is to be taken into use; only where there is none, another comes.
pub(super) fn recovers(port: &Port, state: &State, elected_self: bool) -> bool {
    let mut state = state.clone();
    for _ in 0..HEALS_IN {
        let (usable, sent) = (state.cp.has_next(), state.cp.transmits_with());
        if sent.is_some() && sent == state.cp.newest() && state.plane.open && state.settled {
            return true;
        }
        if state.cp.awaits_answer() {
            port.answer(&mut state, true);
        } else if state.settled && !usable && sent.is_none() {
            let an = port.associations(&state)[0];
            Port::new_sak(&mut state, an);
        }
        let here = state.cp.latest().is_some_and(|(_, _, receives)| receives);
        let moved = state.cp.latest().is_some_and(|(_, transmits, _)| transmits);
        let holds = Conditions {
            port_enabled: true,
            connect: Connect::Secure,
            elected_self,
            cipher: state.cp.cipher().or(Some(CIPHERS[0])),
            all_receiving: here,
            any_receiving: here,
            server_transmitting: here,
            all_transmitting: moved,
            old_is_idle: moved,
        };
        let before = state.cp.clone();
        port.step(&mut state, &holds);
        let now = if state.cp == before { state.cp.poll_timeout(NOW) } else { None };
        state = canonical_at(&state, now.unwrap_or(NOW));
    }
    false
}

#[test]
fn the_port_keeps_its_laws_and_recovers_whatever_a_peer_does() {
    explore("cp, a peer picks associations", Port::sound(Picks::Any));
}

#[test]
fn the_port_keeps_its_laws_and_recovers_where_we_pick_associations() {
    explore("cp, we pick associations", Port::sound(Picks::Ours));
}

#[test]
fn a_machine_that_falls_through_abandon_is_found_without_a_key() {
    let port = Port { defect: Some(Defect::FallsThrough), ..Port::sound(Picks::Any) };
    breaks(Law::HasItsKey.name(), port);
}

#[test]
fn a_state_that_cannot_be_left_after_a_refusal_is_found() {
    let port = Port { defect: Some(Defect::NoExit), ..Port::sound(Picks::Any) };
    breaks(cp_laws::RECOVERS, port);
}

#[test]
fn an_old_sa_that_is_retired_by_timer_alone_is_found() {
    let port = Port { defect: Some(Defect::RetiresByTimer), ..Port::sound(Picks::Any) };
    breaks(Law::OldStaysWhileSentWith.name(), port);
}

#[test]
fn a_free_running_association_that_still_carries_traffic_is_found() {
    breaks(Law::TrafficIsNotCut.name(), Port::sound(Picks::RunsFree));
}

#[test]
fn a_refusal_that_is_taken_for_consent_is_found() {
    let port = Port { ignores_refusals: true, ..Port::sound(Picks::Any) };
    breaks(Law::ClaimsAreTrue.name(), port);
}
