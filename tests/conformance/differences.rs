//! Where a data plane does otherwise than the model, in which way, and why.
//!
//! This is a list of facts, not of excuses: a data plane must differ where it says, in just this
//! way, or the comparison fails.

use crate::frame::data;
use crate::script::{Action, Observation, Script, Step};
use crate::secy::{PEER, Who};

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
    /// One more frame is delivered, as this one in order.
    Delivers(usize, Form),
}

/// A frame that is delivered.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Form {
    /// What the peer protected: data of this length.
    Data(usize),
}

use Change::{Counts, Delivers};
use Form::Data;
use Who::{Kernel, Userspace};

pub(crate) const DIFFERENCES: &[Difference] = &[];

/// Makes of what the model did at a step what this data plane does.
pub(crate) fn adjust(who: Who, script: &str, step: &Step, observation: &mut Observation) {
    for difference in DIFFERENCES.iter().filter(|difference| difference.who == who) {
        for (_, _, changes) in difference
            .shows
            .iter()
            .filter(|(name, label, _)| (*name, *label) == (script, &step.label))
        {
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
    fn make(&self, step: &Step, observation: &mut Observation) {
        match *self {
            Counts(name, by) => observation.count(name, by),
            Delivers(at, form) => {
                observation.traffic.delivered.insert(at, form.frame(step));
            }
        }
    }
}

impl Form {
    fn frame(self, step: &Step) -> Vec<u8> {
        let Action::Inject(_) = &step.action else { panic!("nothing is injected here") };
        match self {
            Data(len) => data(PEER, len),
        }
    }
}
