//! Where a data plane does otherwise than the model, in which way, and why.
//!
//! This is a list of facts, not of excuses: a data plane must differ where it says, in just this
//! way, or the comparison fails.

use macsecd::ident::PacketNumber;

use crate::script::{Observation, Script, Step};
use crate::secy::Who;

/// One way in which a data plane differs.
pub(crate) struct Difference {
    pub(crate) who: Who,
    /// In words, also for `docs/conformance.md`.
    pub(crate) what: &'static str,
    /// Where it shows: by script, step, and what changes there.
    pub(crate) shows: &'static [(&'static str, &'static str, &'static [Change])],
}

/// What is otherwise at one step.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Change {
    /// So many more are counted under this name, or fewer.
    Counts(&'static str, i64),
    /// One more frame is delivered, as this one in order: one of the step's others.
    Delivers(usize, usize),
    /// One more frame is sent, as this one in order: one of the step's others.
    Sends(usize, usize),
    /// This frame is not delivered.
    Keeps(usize),
    /// This receive SA expects this packet number next.
    Next(usize, u64),
    /// The lowest number that this receive SA takes is this.
    Lowest(usize, u64),
    /// The transmit SA sends this packet number next.
    Sent(u64),
}

use Change::{Counts, Delivers, Keeps, Lowest, Next, Sends, Sent};
use Who::{Kernel, Userspace};

pub(crate) const DIFFERENCES: &[Difference] = &[];

/// Makes of what the model did at a step what this data plane does.
pub(crate) fn adjust(who: Who, script: &str, step: &Step, observation: &mut Observation) {
    for difference in DIFFERENCES.iter().filter(|difference| difference.who == who) {
        let here = |(name, label, _): &&(&str, &str, _)| *name == script && *label == step.label;
        for (_, _, changes) in difference.shows.iter().filter(here) {
            changes.iter().for_each(|change| change.make(step, observation));
        }
    }
}

/// Finds out whether the list names steps that a script does not have.
pub(crate) fn check_labels(script: &Script) {
    let shows = DIFFERENCES.iter().flat_map(|difference| difference.shows);
    for (_, label, _) in shows.filter(|(name, ..)| *name == script.name) {
        let known = script.steps.iter().any(|step| step.label == *label);
        assert!(known, "{} has no step `{label}`", script.name);
    }
}

impl Change {
    fn make(self, step: &Step, observation: &mut Observation) {
        let Observation { traffic, state, .. } = &mut *observation;
        match self {
            Counts(name, by) => observation.count(name, by),
            Delivers(at, which) => traffic.delivered.insert(at, step.others[which].clone()),
            Sends(at, which) => traffic.wire.insert(at, step.others[which].clone()),
            Keeps(at) => drop(traffic.delivered.remove(at)),
            Next(sa, pn) => state.rx[sa].next_pn = PacketNumber(pn),
            Lowest(sa, pn) => state.rx[sa].lowest_pn = PacketNumber(pn),
            Sent(pn) => state.tx.as_mut().unwrap().next_pn = PacketNumber(pn),
        }
    }
}
