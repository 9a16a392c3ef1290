//! Models that `stateright` explores to the end: each state that can be reached within stated bounds
//! is looked at, where the simulation only samples.
//!
//! [`cp`] is the Controlled Port machine alone, in an environment that does anything at all. [`kay`]
//! is whole KaYs on a segment, with data planes, where a bounded number of things go wrong; what
//! happens there is in [`world`], what must hold in [`plane`].
//!
//! The tests take seconds. `make model` explores more, and prints how much.

mod cp;
mod cp_laws;
mod defects;
mod fork;
mod kay;
mod plane;
mod world;

use std::fmt::Debug;
use std::hash::Hash;
use std::time::Instant;

use stateright::{Checker, HasDiscoveries, Model, Path};

/// What an exploration that found nothing has seen.
struct Explored {
    states: usize,
    transitions: usize,
    depth: usize,
}

/// Explores all of it.
///
/// # Panics
///
/// Where an invariant is broken, with a way there.
fn explore<M>(name: &str, model: M) -> Explored
where
    M: Model + Send + Sync + 'static,
    M::State: Clone + Debug + Hash + PartialEq + Send + Sync + 'static,
    M::Action: Clone + Debug + PartialEq + Send + Sync + 'static,
{
    let begun = Instant::now();
    let checker = model.checker().threads(1).spawn_dfs().join();
    for (property, path) in checker.discoveries() {
        if checker.discovery_classification(property).to_string() == "counterexample" {
            panic!("model: {name}: {property} does not hold:\n{}", told(&path));
        }
    }
    checker.assert_properties();
    let explored = Explored {
        states: checker.unique_state_count(),
        transitions: checker.state_count(),
        depth: checker.max_depth(),
    };
    println!(
        "model: {name}: states={} transitions={} depth={} counterexamples=0 seconds={:.1}",
        explored.states,
        explored.transitions,
        explored.depth,
        begun.elapsed().as_secs_f64()
    );
    explored
}

/// Explores until this invariant is broken.
///
/// # Panics
///
/// Where it never is.
fn breaks<M>(property: &'static str, model: M)
where
    M: Model + Send + Sync + 'static,
    M::State: Clone + Debug + Hash + PartialEq + Send + Sync + 'static,
    M::Action: Clone + Debug + PartialEq + Send + Sync + 'static,
{
    let wanted = HasDiscoveries::AllOf([property].into());
    let checker = model.checker().threads(1).finish_when(wanted).spawn_bfs().join();
    let Some(path) = checker.discovery(property) else {
        let others: Vec<_> = checker.discoveries().into_keys().collect();
        panic!("it was not found that this does not hold: {property}; but {others:?}");
    };
    println!("{property}: broken by\n{}", told(&path));
}

fn told<S: Clone + Debug, A: Clone + Debug>(path: &Path<S, A>) -> String {
    let lines = path.clone().into_vec().into_iter().map(|(state, action)| match action {
        Some(action) => format!("  {state:?}\n    {action:?}"),
        None => format!("  {state:?}"),
    });
    lines.collect::<Vec<_>>().join("\n")
}
