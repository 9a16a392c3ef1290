//! Where a data plane does otherwise than the model, in which way, and why.
//!
//! The table is a list of facts, not of excuses: a data plane must differ where it says, in just
//! this way, or the comparison fails.

mod counting;
mod numbers;
mod port;
mod tags;
mod userspace;

use macsecd::ident::PacketNumber;
use macsecd::secy::SecyError;

use crate::script::{Observation, Script, Step};
use crate::secy::Who;

/// One way in which a data plane differs.
pub(crate) struct Difference {
    pub(crate) who: Who,
    /// In words. `docs/conformance.md` has the same.
    pub(crate) what: &'static str,
    /// The reason, there too.
    pub(crate) why: &'static str,
    /// Where it shows.
    pub(crate) shows: &'static [Place],
}

/// Steps of scripts, and what changes at each of them.
pub(crate) struct Place {
    pub(crate) scripts: &'static [&'static str],
    pub(crate) steps: &'static [&'static str],
    pub(crate) changes: &'static [Change],
}

/// What is otherwise at one step.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Change {
    /// The command is refused by the system, in these words.
    Refuses(&'static str),
    /// The key with this number is not there.
    HasNoKey(u32),
    /// So many more are counted under this name, or fewer.
    Counts(&'static str, i64),
    /// One more frame is delivered, as this one in order: one of the step's others.
    Delivers(usize, usize),
    /// This frame is not delivered.
    Keeps(usize),
    /// One more frame is sent, as this one in order: one of the step's others.
    Sends(usize, usize),
    /// This frame is not sent.
    Withholds(usize),
    /// This receive SA expects this packet number next.
    Next(usize, u64),
    /// The lowest number that this receive SA takes is this.
    Lowest(usize, u64),
    /// This receive SA is not there.
    Forgets(usize),
    /// The transmit SA sends this packet number next.
    Sent(u64),
    /// None transmits.
    Silent,
    /// The key with this number is reported as lost.
    Loses(u32),
}

/// All of them. What is the kernel's was seen on Linux 6.1.176.
fn all() -> impl Iterator<Item = &'static Difference> {
    let rooms = [
        userspace::DIFFERENCES,
        port::DIFFERENCES,
        counting::DIFFERENCES,
        numbers::DIFFERENCES,
        tags::DIFFERENCES,
    ];
    rooms.into_iter().flatten()
}

/// Makes of what the model did at a step what this data plane does.
pub(crate) fn adjust(who: Who, script: &str, step: &Step, observation: &mut Observation) {
    let of_it = all().filter(|difference| difference.who == who);
    let here = |place: &&Place| {
        place.scripts.contains(&script) && place.steps.contains(&step.label.as_str())
    };
    for place in of_it.flat_map(|difference| difference.shows).filter(here) {
        place.changes.iter().for_each(|change| change.make(step, observation));
    }
}

/// Finds out whether the table names steps that a script does not have.
pub(crate) fn check_labels(script: &Script) {
    let places = all().flat_map(|difference| difference.shows);
    let of_it = places.filter(|place| place.scripts.contains(&script.name));
    for label in of_it.flat_map(|place| place.steps) {
        let known = script.steps.iter().any(|step| step.label == *label);
        assert!(known, "{} has no step `{label}`", script.name);
    }
}

impl Change {
    fn make(self, step: &Step, observation: &mut Observation) {
        let Observation { answer, traffic, state, lost, .. } = &mut *observation;
        match self {
            Self::Refuses(why) => *answer = Err(SecyError::Refused(why.to_owned())),
            Self::HasNoKey(number) => *answer = Err(SecyError::NoSuchKey(crate::frame::ki(number))),
            Self::Counts(name, by) => observation.count(name, by),
            Self::Delivers(at, which) => traffic.delivered.insert(at, step.others[which].clone()),
            Self::Keeps(at) => drop(traffic.delivered.remove(at)),
            Self::Sends(at, which) => traffic.wire.insert(at, step.others[which].clone()),
            Self::Withholds(at) => drop(traffic.wire.remove(at)),
            Self::Next(sa, pn) => state.rx[sa].next_pn = PacketNumber(pn),
            Self::Lowest(sa, pn) => state.rx[sa].lowest_pn = PacketNumber(pn),
            Self::Forgets(sa) => drop(state.rx.remove(sa)),
            Self::Sent(pn) => state.tx.as_mut().unwrap().next_pn = PacketNumber(pn),
            Self::Silent => state.tx = None,
            Self::Loses(number) => lost.push(crate::frame::ki(number)),
        }
    }
}

/// The scripts' sources, where the table's names must be found.
const SCRIPTS: &[&str] = &[
    include_str!("../scripts/boundary.rs"),
    include_str!("../scripts/closed.rs"),
    include_str!("../scripts/keys.rs"),
    include_str!("../scripts/protect.rs"),
    include_str!("../scripts/receive.rs"),
    include_str!("../scripts/refused.rs"),
    include_str!("../scripts/replay.rs"),
    include_str!("../scripts/tags.rs"),
];

#[test]
fn the_table_names_scripts_that_there_are() {
    let places = all().flat_map(|difference| difference.shows);
    for name in places.flat_map(|place| place.scripts) {
        let head = format!("#[test]\nfn {name}() {{");
        assert!(SCRIPTS.iter().any(|source| source.contains(&head)), "no script `{name}`");
    }
}

/// An operator reads there what the table says, in the same words.
#[test]
fn each_difference_is_told_in_the_docs() {
    let docs = include_str!("../../../docs/conformance.md");
    let docs = docs.split_whitespace().collect::<Vec<_>>().join(" ");
    for text in all().flat_map(|difference| [difference.what, difference.why]) {
        assert!(docs.contains(text), "docs/conformance.md lacks: {text}");
    }
}
