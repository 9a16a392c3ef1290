//! Whole KaYs, the production code from frame to command, on a segment where a bounded number of
//! things go wrong: every kind at every moment, in every order.
//!
//! A state is a whole world: the stations are forked for each way on. Two worlds are one where
//! nothing that they do later can tell them apart. Time goes from one deadline to the next; where
//! frames are still on their way then, that they are late counts as a fault.

use std::collections::HashMap;
use std::sync::Mutex;
use std::time::Duration;

use stateright::{Model, Property};

use super::explore;
use super::plane;
use super::world::{Budget, Move, World};
use crate::secy::SecyCommand;
use crate::time::Time;

/// How long a CA may take to be secured again: what was lost has to be noticed, which takes an MKA
/// Life Time, and strangers may hold up the fresh SAK for another.
const RECOVERY: Duration = Duration::from_secs(12);

pub(super) const RECOVERS: &str = "I10: always eventually secured, within 12 s of the last fault";

/// Where an exploration starts, and how far it goes.
pub(super) struct Bounds {
    pub(super) start: World,
    /// Nothing happens after this time but recovery.
    until: Time,
    /// When a world that goes on without faults is secured, by its name.
    secured_at: Mutex<HashMap<u64, Time>>,
}

impl Bounds {
    /// From a start where no station runs but the first; the others start at any time.
    pub(super) fn cold(stations: usize, until: Duration, budget: Budget) -> Self {
        let mut start = World::new(stations);
        start.make(Move::Boot(0));
        Self::from(start, until, budget)
    }

    /// From a CA that has been secured for a while.
    pub(super) fn secured(stations: usize, until: Duration, budget: Budget) -> Self {
        let mut start = World::new(stations);
        while start.secured_with().is_none() || !start.is_quiet() || start.now < at(5) {
            start.heal();
            assert!(start.now < at(20), "{start:?}");
        }
        Self::from(start, until, budget)
    }

    /// The same on a segment where frames arrive in the order sent, unless that goes wrong.
    pub(super) fn in_order(mut self) -> Self {
        self.start.in_order = true;
        self
    }

    pub(super) fn from(start: World, span: Duration, budget: Budget) -> Self {
        let until = start.now.after(span);
        Self { start: World { budget, ..start }, until, secured_at: Mutex::default() }
    }

    /// Whether a world becomes secured in time if nothing goes wrong any more.
    fn recovers(&self, world: &World) -> bool {
        let begun = world.now;
        let mut known = self.secured_at.lock().unwrap();
        let (mut world, mut path) = (world.clone(), Vec::new());
        let secured_at = loop {
            let name = world.core();
            if let Some(&at) = known.get(&name) {
                break at;
            }
            path.push(name);
            if world.secured_with().is_some() {
                break world.now;
            }
            world.heal();
            if world.now.since(begun) > RECOVERY || world.broken.is_some() {
                return false;
            }
        };
        known.extend(path.into_iter().map(|name| (name, secured_at)));
        secured_at.since(begun) <= RECOVERY
    }
}

impl Bounds {
    /// What can become of the frames on the wire.
    fn frame_moves(world: &World, moves: &mut Vec<Move>) {
        let faulty = world.budget.frames > 0;
        let oldest = world.order().first().map(|&(_, of)| of);
        for (&(from, to), frames) in &world.wire {
            let is_next = !world.in_order || oldest == Some((from, to));
            if !world.members[to].is_up() {
                moves.extend(is_next.then_some(Move::Lose(from, to)));
                continue;
            }
            moves.extend(is_next.then_some(Move::Deliver(from, to)));
            if faulty {
                moves.extend([Move::Lose(from, to), Move::Repeat(from, to)]);
                let first = usize::from(is_next);
                moves.extend((first..frames.len()).map(|at| Move::Overtake(from, to, at)));
            }
        }
    }
}

impl Model for Bounds {
    type State = World;
    type Action = Move;

    fn init_states(&self) -> Vec<World> {
        vec![self.start.clone()]
    }

    fn actions(&self, world: &World, moves: &mut Vec<Move>) {
        if world.broken.is_some() {
            return;
        }
        let budget = world.budget;
        if !world.linked || budget.links > 0 {
            moves.push(Move::Link(!world.linked));
        }
        Self::frame_moves(world, moves);
        let next = world.next_wake().map(|at| at.max(world.now));
        let free = world.is_quiet() || budget.frames > 0 || next == Some(world.now);
        for (station, member) in world.members.iter().enumerate() {
            let due = member.wakes.is_some_and(|at| Some(at.max(world.now)) == next);
            if due && free && next.is_some_and(|at| at <= self.until) {
                moves.push(Move::Tick(station));
            }
            if !member.is_up() {
                moves.push(Move::Boot(station));
                continue;
            }
            if member.late.is_some() {
                moves.push(Move::Answer(station));
            }
            if budget.crashes > 0 {
                moves.push(Move::Crash(station));
            }
            if budget.clocks > 0 {
                moves.extend([true, false].map(|forward| Move::SetClock(station, forward)));
            }
            if budget.rekeys > 0 && member.serves && member.secured {
                moves.push(Move::Rekey(station));
            }
            if budget.planes > 0 {
                moves.extend(member.plane.keys().into_iter().map(|ki| Move::LoseSak(station, ki)));
                moves.push(Move::Refuse(station));
                if member.late.is_none() {
                    moves.push(Move::Stall(station));
                }
            }
        }
    }

    fn next_state(&self, world: &World, happens: Move) -> Option<World> {
        let mut next = world.clone();
        let Budget { frames, planes, crashes, rekeys, links, clocks } = &mut next.budget;
        match happens {
            Move::Overtake(..) | Move::Repeat(..) => *frames -= 1,
            Move::Lose(_, to) => *frames -= u8::from(world.members[to].is_up()),
            Move::Tick(station) => {
                let passes = world.members[station].wakes.is_some_and(|at| at > world.now);
                *frames -= u8::from(passes && !world.is_quiet());
            }
            Move::Crash(_) => *crashes -= 1,
            Move::Rekey(_) => *rekeys -= 1,
            Move::Refuse(_) | Move::LoseSak(..) | Move::Stall(_) => *planes -= 1,
            Move::Link(up) => *links -= u8::from(!up),
            Move::SetClock(..) => *clocks -= 1,
            Move::Deliver(..) | Move::Boot(_) | Move::Answer(_) => {}
        }
        next.make(happens);
        Some(next)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        macro_rules! law {
            ($law:expr) => {
                Property::always($law, |_: &Self, world: &World| {
                    world.broken.as_ref().is_none_or(|(law, _)| *law != $law)
                })
            };
        }
        vec![
            law!(plane::NONCES),
            law!(plane::INSTALLS),
            law!(plane::KEYS),
            law!(plane::CLEAR),
            law!(plane::CHANGEOVER),
            law!(plane::PROOFS),
            law!(plane::PROGRESS),
            law!(plane::CLAIMS),
            law!(plane::MUTE),
            law!(plane::HELLOS),
            law!(plane::STAYS),
            Property::always(RECOVERS, |of: &Self, world: &World| {
                world.broken.is_some() || of.recovers(world)
            }),
            Property::sometimes("all are secured", |_: &Self, world: &World| {
                world.secured_with().is_some()
            }),
        ]
    }
}

fn at(seconds: u64) -> Time {
    Time::ZERO.after(Duration::from_secs(seconds))
}

pub(super) fn is_about_key(command: &SecyCommand) -> bool {
    matches!(command, SecyCommand::InstallSak(_) | SecyCommand::EnableTx(_))
}

/// From one hello to the one after the next.
pub(super) const SPAN: Duration = Duration::from_secs(4);
pub(super) const SECOND: Duration = Duration::from_secs(1);

fn is_full() -> bool {
    std::env::var("MODEL").is_ok_and(|of| of == "full")
}

/// Explores with the budget of the test, or with that of `make model`.
fn explore_from(
    name: &str,
    from: fn(usize, Duration, Budget) -> Bounds,
    (stations, span): (usize, Duration),
    (short, long): (Budget, Budget),
) {
    let budget = if is_full() { long } else { short };
    explore(&format!("kay, {name}; {budget}; {} s", span.as_secs()), from(stations, span, budget));
}

/// Whatever happens to frames, and whenever the second starts.
#[test]
fn two_members_come_together() {
    let budget = |frames| Budget { frames, ..Budget::NONE };
    explore_from("two start", Bounds::cold, (2, SPAN), (budget(1), budget(3)));
}

#[test]
fn two_members_come_together_again_after_a_crash() {
    let budget = |frames| Budget { frames, crashes: 1, ..Budget::NONE };
    explore_from("two start", Bounds::cold, (2, SPAN), (budget(0), budget(1)));
}

#[test]
fn two_members_rekey() {
    let budget = |frames| Budget { frames, rekeys: 1, ..Budget::NONE };
    explore_from("two secured", Bounds::secured, (2, SPAN), (budget(1), budget(3)));
}

#[test]
fn two_members_survive_a_crash_and_a_rekey() {
    let budget = |frames| Budget { frames, crashes: 1, rekeys: 1, ..Budget::NONE };
    explore_from("two secured", Bounds::secured, (2, SPAN), (budget(0), budget(1)));
}

#[test]
fn two_members_rekey_whatever_their_data_planes_do() {
    let budget = |(frames, planes)| Budget { frames, planes, rekeys: 1, ..Budget::NONE };
    explore_from("two secured", Bounds::secured, (2, SPAN), (budget((0, 1)), budget((1, 1))));
}

#[test]
fn three_members_rekey() {
    let budget = |frames| Budget { frames, rekeys: 1, ..Budget::NONE };
    explore_from("three secured", Bounds::secured, (3, SECOND), (budget(0), budget(1)));
}

fn three_in_order(stations: usize, span: Duration, budget: Budget) -> Bounds {
    Bounds::secured(stations, span, budget).in_order()
}

/// Besides, one frame is lost, repeated, late or overtaken.
#[test]
fn three_members_survive_a_crash_and_a_fault_of_the_segment() {
    let budget = Budget { frames: 1, crashes: 1, ..Budget::NONE };
    let span = if is_full() { 2 * SECOND } else { SECOND };
    explore_from("three secured, in order", three_in_order, (3, span), (budget, budget));
}

/// The first is key server: its crash hands the port over to the second, and back again.
#[test]
fn three_members_survive_a_crash() {
    let budget = Budget { crashes: 1, ..Budget::NONE };
    let span = if is_full() { SPAN } else { SECOND };
    explore_from("three secured, in order", three_in_order, (3, span), (budget, budget));
}
