//! What must hold of the Controlled Port machine. Each law is about what others can see of it, its
//! actions and its claims, and not about how it is written.

use std::time::Duration;

use stateright::Property;

use super::cp::{NOW, Picks, Port, State, recovers};
use crate::mka::cp::{Action, Conditions, Connect, CpState};

pub(super) const RECOVERS: &str = "I10: always eventually secured";

#[derive(Clone, Copy, Debug, Eq, PartialEq, Hash)]
pub(super) enum Law {
    HasItsKey,
    TransmitsWhatIsThere,
    OneSakAnAssociation,
    OpenOnlyProtected,
    ClearOnlyWhereDecided,
    OpenHasItsKey,
    TrafficIsNotCut,
    OldStaysWhileSentWith,
    ClaimsAreTrue,
    DisabledIsEmpty,
    Settles,
    WaitsForSomething,
}

impl Law {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::HasItsKey => "a state that is about a key has one",
            Self::TransmitsWhatIsThere => "transmission is enabled only with SAs that are there",
            Self::OneSakAnAssociation => "I2: one association is never given to two SAKs",
            Self::OpenOnlyProtected => "I4: the port is open only where frames are protected",
            Self::ClearOnlyWhereDecided => "I4: frames pass in clear only where that was decided",
            Self::OpenHasItsKey => "the port is open only with a key to send with, or a lost one",
            Self::TrafficIsNotCut => "an SA that carries traffic is not taken away",
            Self::OldStaysWhileSentWith => "the old SA stays while a member sends with it",
            Self::ClaimsAreTrue => "I5: what SAK Use says is true of the data plane",
            Self::DisabledIsEmpty => "a port that is not enabled is closed and has no SAs",
            Self::Settles => "one step leaves nothing to do",
            Self::WaitsForSomething => "each state that waits waits for what will come",
        }
    }
}

pub(super) fn properties() -> Vec<Property<Port>> {
    macro_rules! law {
        ($law:ident) => {
            Property::always(Law::$law.name(), |_: &Port, state: &State| {
                state.broken != Some(Law::$law)
            })
        };
    }
    vec![
        law!(HasItsKey),
        law!(TransmitsWhatIsThere),
        law!(OneSakAnAssociation),
        law!(OpenOnlyProtected),
        law!(ClearOnlyWhereDecided),
        law!(OpenHasItsKey),
        law!(TrafficIsNotCut),
        law!(OldStaysWhileSentWith),
        law!(ClaimsAreTrue),
        law!(DisabledIsEmpty),
        law!(Settles),
        law!(WaitsForSomething),
        Property::always(RECOVERS, |port: &Port, state: &State| {
            state.broken.is_some() || (recovers(port, state, true) && recovers(port, state, false))
        }),
        Property::sometimes("it is secured", |_: &Port, state: &State| {
            state.plane.open && state.cp.transmits_with().is_some()
        }),
        Property::sometimes("it is secured while a key is lost", |_: &Port, state: &State| {
            state.cp.state() == CpState::Transmitting && state.plane.sas.iter().any(|sa| sa.lost)
        }),
    ]
}

fn ensure(holds: bool, law: Law) -> Result<(), Law> {
    if holds { Ok(()) } else { Err(law) }
}

/// Judges one action before it is carried out. `before` is how things stood before the step.
pub(super) fn permits(
    picks: Picks,
    before: &State,
    state: &State,
    holds: &Conditions,
    action: &Action,
) -> Result<(), Law> {
    let plane = &state.plane;
    match *action {
        Action::CreateSas(slot) => {
            let busy = plane.sas.iter().any(|sa| sa.slot.an == slot.an || sa.slot.ki == slot.ki);
            ensure(!busy, Law::OneSakAnAssociation)
        }
        Action::EnableTx(ki) => {
            let there = plane.get(ki).is_some_and(|sa| sa.there == Some(true) && !sa.lost);
            ensure(there, Law::TransmitsWhatIsThere)
        }
        Action::Open => match plane.protects {
            Some(true) => ensure(plane.transmits.is_some(), Law::OpenOnlyProtected),
            Some(false) => {
                ensure(holds.connect == Connect::Authenticated, Law::ClearOnlyWhereDecided)
            }
            None => Err(Law::OpenOnlyProtected),
        },
        Action::PassInClear => ensure(
            !plane.open && plane.sas.is_empty() && holds.connect == Connect::Authenticated,
            Law::ClearOnlyWhereDecided,
        ),
        Action::DeleteSas(ki) => {
            let over = !holds.port_enabled || before.cp.is_changed(holds);
            let lost = plane.sas.iter().any(|sa| sa.lost);
            let collides = before.cp.waiting().is_some_and(|new| {
                picks == Picks::Any && plane.get(ki).is_some_and(|sa| sa.slot.an == new.an)
            });
            let excused = over || lost || collides;
            ensure(excused || plane.transmits != Some(ki), Law::TrafficIsNotCut)?;
            // Where the next SAK waits, the old one is not waited for longer than SAK Retire Time.
            let old = before.cp.old().is_some_and(|(slot, ..)| slot.ki == ki);
            let next = before.cp.waiting().is_some();
            let idle = holds.all_transmitting || next || is_at_last(before);
            ensure(excused || !old || idle, Law::OldStaysWhileSentWith)
        }
        Action::Protect | Action::Close | Action::NewInfo => Ok(()),
    }
}

/// The old SA has been received for as long as it ever is: nothing is left to wait for.
fn is_at_last(state: &State) -> bool {
    state.cp.state() == CpState::Transmitting && state.cp.poll_timeout(NOW).is_none()
}

/// Judges how things stand after a step.
pub(super) fn settled(picks: Picks, state: &State, holds: &Conditions) -> Result<(), Law> {
    let (cp, plane) = (&state.cp, &state.plane);
    let (latest, old) = (cp.latest(), cp.old());
    ensure(!needs_key(cp.state()) || latest.is_some(), Law::HasItsKey)?;
    let mut again = (cp.clone(), Vec::new());
    again.0.step(NOW, holds, &mut again.1);
    ensure(again.0 == *cp && again.1.is_empty(), Law::Settles)?;
    if !holds.port_enabled {
        let empty = !plane.open && plane.sas.is_empty() && cp.state() == CpState::Init;
        return ensure(empty, Law::DisabledIsEmpty);
    }
    for (slot, transmits, receives) in latest.into_iter().chain(old) {
        let there = plane.get(slot.ki).is_some_and(|sa| sa.there == Some(true) && !sa.lost);
        let sent = !transmits || plane.transmits == Some(slot.ki);
        ensure(sent && (there || !(transmits || receives)), Law::ClaimsAreTrue)?;
    }
    let agreed = cp.state() == CpState::Authenticated && plane.protects == Some(false);
    let protected = plane.protects == Some(true);
    ensure(!plane.open || agreed || protected, Law::OpenOnlyProtected)?;
    // A peer may take the association of the SA that we send with.
    let cut = picks != Picks::Ours || plane.sas.iter().any(|sa| sa.lost);
    let sends = agreed || cut || cp.transmits_with().is_some();
    ensure(!plane.open || sends, Law::OpenHasItsKey)?;
    ensure(cp.is_open() == plane.open, Law::ClaimsAreTrue)?;
    ensure(comes(state, holds), Law::WaitsForSomething)
}

fn needs_key(state: CpState) -> bool {
    match state {
        CpState::Receive
        | CpState::Receiving
        | CpState::Ready
        | CpState::Transmit
        | CpState::Transmitting => true,
        CpState::Init
        | CpState::Change
        | CpState::Allowed
        | CpState::Authenticated
        | CpState::Secured
        | CpState::Abandon
        | CpState::Retire => false,
    }
}

/// Whether that comes which the machine waits for: an answer that the data plane owes, a time, or a
/// word that only others can say.
fn comes(state: &State, holds: &Conditions) -> bool {
    let cp = &state.cp;
    let wakes = cp.poll_timeout(NOW).is_some_and(|at| at.since(NOW) > Duration::ZERO);
    match cp.state() {
        CpState::Receive | CpState::Transmit => cp.awaits_answer(),
        CpState::Receiving | CpState::Ready => wakes || !holds.any_receiving,
        CpState::Transmitting => wakes,
        CpState::Init | CpState::Allowed => false,
        CpState::Change => holds.connect == Connect::Pending,
        CpState::Authenticated => holds.connect == Connect::Authenticated,
        CpState::Secured | CpState::Abandon | CpState::Retire => {
            holds.connect == Connect::Secure && cp.waiting().is_none()
        }
    }
}
