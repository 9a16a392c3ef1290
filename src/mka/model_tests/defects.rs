//! Defects that other implementations have, planted in ours one by one, to see that what must hold
//! finds each of them. `docs/testing.md` lists them; those of the CP machine are in [`super::cp`].
//!
//! They are planted around the production code, not in it: before and after a KaY handles something,
//! or between it and its clock, its frames or its data plane.

use std::time::Duration;

use super::kay::{Bounds, RECOVERS, SPAN};
use super::plane::{self, Broken};
use super::world::{Budget, Frame, Move, World};
use super::{breaks, explore};
use crate::ident::AssociationNumber;
use crate::mka::serve::live_members;
use crate::mka::testing::{Pair, policy};
use crate::mka::timers::LIFE;
use crate::mka::{Input, Kay};
use crate::secy::{SecyCommand, SecyModel};
use crate::time::Time;
use crate::wire::DistributedSak;

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Defect {
    /// A request for a fresh SAK that comes within an MKA Life Time of the one before is dropped,
    /// and nobody asks again.
    ForgetsRekeys,
    /// Time is that of a clock that somebody can set.
    WallClock,
    /// Our own MKPDU, reflected, counts as another's with our MI.
    ReflectionResets,
    /// An MKPDU of another MI under the SCI of a live peer leaves that peer 3 s, and proves nothing.
    ShortensExpiry,
    /// Who has been without a live peer for an MKA Life Time does not speak any more.
    GivesUp,
}

/// What is left to a live peer that seems to have restarted.
const SHORT: Duration = Duration::from_secs(3);

impl Defect {
    /// Before a frame is handled, perhaps one of our own.
    pub(super) fn hears(self, kay: &mut Kay, now: Time, frame: &Frame, own: bool) {
        if self == Self::ReflectionResets && own {
            for participant in &mut kay.participants {
                participant.renew(now, kay.entropy.as_mut());
            }
            kay.settle(now);
        }
        if self == Self::ShortensExpiry {
            for participant in &mut kay.participants {
                if participant.peers.get(frame.said.mi).is_none() {
                    participant.peers.cut_short(frame.said.sci, now.after(SHORT));
                }
            }
        }
    }

    /// Before anything is handled.
    pub(super) fn begins(self, kay: &mut Kay, now: Time) {
        if self == Self::ForgetsRekeys {
            let spaced = kay.last_fresh.map(|last| last.after(LIFE)).filter(|&at| at > now);
            kay.retry_at = kay.retry_at.max(spaced);
        }
    }

    /// After it is handled; `retry_at` is from before.
    pub(super) fn ends(self, kay: &mut Kay, retry_at: Option<Time>) {
        if self == Self::ForgetsRekeys {
            kay.retry_at = kay.retry_at.and(retry_at);
            kay.keyless_since = None;
            let live = kay.principal().map(live_members);
            if let (Some(distribution), Some(live)) = (&mut kay.distribution, live) {
                distribution.members = live;
            }
        }
    }

    /// Whether the KaY falls silent for good.
    pub(super) fn gives_up(self, kay: &Kay, now: Time) -> bool {
        self == Self::GivesUp && kay.participants.iter().any(|of| of.has_failed(now))
    }
}

fn with(defect: Defect, mut bounds: Bounds) -> Bounds {
    bounds.start.defect = Some(defect);
    bounds
}

#[test]
fn a_rekey_that_is_forgotten_inside_the_spacing_is_found() {
    let budget = Budget { crashes: 1, ..Budget::NONE };
    breaks(RECOVERS, with(Defect::ForgetsRekeys, Bounds::cold(2, SPAN, budget)));
}

#[test]
fn a_clock_that_is_set_forward_and_expires_peers_is_found() {
    let budget = Budget { clocks: 1, ..Budget::NONE };
    breaks(plane::STAYS, with(Defect::WallClock, Bounds::secured(2, SPAN, budget)));
}

#[test]
fn a_clock_that_is_set_back_and_silences_a_member_is_found() {
    let budget = Budget { clocks: 1, ..Budget::NONE };
    breaks(plane::HELLOS, with(Defect::WallClock, Bounds::secured(2, SPAN, budget)));
}

/// Two members that start on a segment on which each hears itself.
fn looped(defect: Option<Defect>) -> World {
    let mut start = World::new(2);
    (start.loops, start.defect) = (true, defect);
    start.make(Move::Boot(0));
    start
}

#[test]
fn on_a_segment_that_reflects_members_come_together() {
    let bounds = Bounds::from(looped(None), Duration::from_secs(1), Budget::NONE);
    explore("kay, two start, each hears itself; 1 s", bounds.in_order());
}

/// Whether they have one SAK, and have it still after two hellos.
fn stay_secured(defect: Option<Defect>) -> bool {
    let mut world = looped(defect);
    let [early, late] = [1, 5].map(|seconds| {
        while world.now < Time::ZERO.after(Duration::from_secs(seconds)) {
            world.heal();
        }
        world.secured_with()
    });
    early.is_some() && early == late
}

#[test]
fn a_reflection_that_resets_the_session_is_found() {
    assert!(stay_secured(None));
    assert!(!stay_secured(Some(Defect::ReflectionResets)));
}

/// Long enough that both ends have no peer any more, and have had none for an MKA Life Time.
fn unplugged() -> Bounds {
    let budget = Budget { links: 1, ..Budget::NONE };
    Bounds::secured(2, Duration::from_secs(14), budget)
}

#[test]
fn members_come_together_again_after_any_time_without_a_link() {
    explore("kay, two secured; the link goes down once", unplugged());
}

#[test]
fn two_ends_that_both_stop_sending_while_the_link_is_down_are_found() {
    breaks(RECOVERS, with(Defect::GivesUp, unplugged()));
}

/// A member restarts; then what it said before arrives once more, and nothing of it after that.
fn old_session(defect: Option<Defect>) -> Option<Broken> {
    let mut world = Bounds::secured(2, SPAN, Budget::NONE).start;
    world.defect = defect;
    while !world.wire.contains_key(&(0, 1)) {
        world.heal();
    }
    let old = world.wire[&(0, 1)][0].clone();
    world.make(Move::Crash(0));
    while world.secured_with().is_none() || !world.is_quiet() {
        world.heal();
    }
    world.wire.entry((0, 1)).or_default().push_back(old);
    world.make(Move::Deliver(0, 1));
    let end = world.now.after(LIFE);
    while world.now < end && world.broken.is_none() {
        if world.wire.contains_key(&(0, 1)) {
            world.make(Move::Lose(0, 1));
        } else {
            world.heal();
        }
    }
    world.broken
}

#[test]
fn a_frame_of_an_old_session_that_shortens_a_peers_life_is_found() {
    assert_eq!(old_session(None), None);
    let broken = old_session(Some(Defect::ShortensExpiry));
    assert_eq!(broken.map(|(law, _)| law), Some(plane::STAYS));
}

/// A server gives every SAK association 0, and a member's data plane has removed the first, but the
/// word of it was lost, so that it is told to once more. Says whether the second is there then,
/// where the data plane goes by the name of a key or by its association.
fn second_stays(by_association: bool) -> bool {
    let mut pair = Pair::new(policy(1, 200), policy(2, 16));
    pair.tamper = Some(|mkpdu| {
        if let Some(DistributedSak::Key { an, .. }) = &mut mkpdu.distributed_sak {
            *an = AssociationNumber::from_low_bits(0);
        }
    });
    pair.start(4 * Duration::from_secs(1));
    let first = pair.a.kay.status(pair.now).sak.unwrap().ki;
    pair.a.denies = |command| matches!(command, SecyCommand::RemoveSak(_));
    pair.b.kay.rekey(pair.now).unwrap();
    pair.b.handle(pair.now, Input::Timeout);
    pair.run(Duration::from_secs(1));
    pair.a.denies = |_| false;
    pair.run(Duration::from_secs(4));
    let second = pair.a.kay.status(pair.now).sak.unwrap().ki;
    assert_ne!(first, second);

    let mut plane = SecyModel::new(policy(1, 200).sci);
    let mut removals = 0;
    for command in &pair.a.commands {
        let there = plane.saks().next().map(|sak| SecyCommand::RemoveSak(sak.key.ki));
        let removes = matches!(command, SecyCommand::RemoveSak(_));
        removals += usize::from(removes);
        // The second removal finds nothing by its name.
        let _ =
            plane.apply(there.as_ref().filter(|_| removes && by_association).unwrap_or(command));
    }
    assert_eq!(removals, 2);
    plane.sak(second).is_some()
}

#[test]
fn an_sa_that_is_removed_by_its_association_is_found_missing() {
    assert!(second_stays(false));
    assert!(!second_stays(true));
}
