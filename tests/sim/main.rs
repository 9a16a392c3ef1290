//! A deterministic simulation of two to five ports on one segment, in virtual time.
//!
//! The production [`macsecd::port::Driver`]s talk over a simulated link that loses, doubles,
//! reorders and garbles; stations crash, data planes refuse and lose SAKs, keys are changed, an
//! outsider replays. [`oracles`] watch what comes out. One seed decides all, so a failure is replayed by its number:
//! `SIM_SEED=123 make sim SESSIONS=1`, and `SIM_TRACE=1` tells it event by event.

#![allow(
    clippy::cast_possible_truncation,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    clippy::wildcard_enum_match_arm
)]

mod attack;
mod control;
mod link;
mod loss;
mod member;
mod named;
mod oracles;
mod rng;
mod scenario;
mod secy;
mod trace;
mod world;

use std::time::{Duration, Instant};

/// Sessions of the test profile, from a fixed seed; `SIM_SESSIONS` and `SIM_SEED` ask for others.
const SESSIONS: u64 = 300;

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| text.parse().unwrap())
}

/// Many sessions, each with faults of its own: none breaks an invariant. The first that does is
/// told in full; with `SIM_KEEP_GOING` set, all that do are listed.
#[test]
fn sweep() {
    let (sessions, first) = (number("SIM_SESSIONS", SESSIONS), number("SIM_SEED", 1));
    let keep_going = std::env::var_os("SIM_KEEP_GOING").is_some();
    let begun = Instant::now();
    let (mut faults, mut seconds, mut slowest, mut failed) = (0, 0.0, (Duration::ZERO, 0), 0);
    for seed in first..first + sessions {
        let (world, result) = scenario::session(seed);
        if let Err(violation) = result {
            assert!(keep_going, "{}", scenario::report(&world, &violation));
            println!("sim: seed={seed} at {} s {violation}", world.now);
            failed += 1;
        }
        faults += world.faults();
        seconds += world.now.as_nanos() as f64 / 1e9;
        slowest = slowest.max((world.oracles.recovery.took.unwrap_or_default(), seed));
    }
    let rate = sessions as f64 / begun.elapsed().as_secs_f64();
    let (took, seed) = slowest;
    println!("sim: {rate:.0} sessions/s, the slowest recovery took {took:.1?}, of seed {seed}");
    assert_eq!(failed, 0, "sessions with a violation");
    let hours = seconds / 3600.0;
    println!("sim: ok sessions={sessions} faults={faults} virtual_hours={hours:.1} violations=0");
}
