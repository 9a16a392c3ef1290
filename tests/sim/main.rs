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
mod clock;
mod control;
mod insider;
mod link;
mod loss;
mod member;
mod named;
mod oracles;
mod plan;
mod restart;
mod rng;
mod scenario;
mod secy;
mod tally;
mod totals;
mod trace;
mod world;

use std::time::{Duration, Instant};

/// Sessions of the test profile, from a fixed seed; `SIM_SESSIONS` and `SIM_SEED` ask for others.
const SESSIONS: u64 = 300;

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| text.parse().unwrap())
}

/// Many sessions, each with faults of its own: none breaks an invariant. The first that does is
/// told in full; with `SIM_KEEP_GOING` set, all that do are listed. All cores take part
/// (`SIM_THREADS`); what a session does follows from its seed alone. `SIM_SECONDS` ends a run that
/// takes longer; what was done until then counts.
#[test]
fn sweep() {
    let (sessions, first) = (number("SIM_SESSIONS", SESSIONS), number("SIM_SEED", 1));
    let keep_going = std::env::var_os("SIM_KEEP_GOING").is_some();
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get) as u64;
    let seconds = Duration::from_secs(number("SIM_SECONDS", u64::from(u32::MAX)));
    let begun = Instant::now();
    let threads = number("SIM_THREADS", cores).min(sessions) as usize;
    let (totals, failed) = totals::run(first..first + sessions, threads, keep_going, seconds);
    let rate = totals.sessions as f64 / begun.elapsed().as_secs_f64();
    println!("sim: {rate:.0} sessions/s on {threads} threads\n{totals}");
    if let Some(report) = failed {
        panic!("{} sessions with a violation; {report}", totals.violations);
    }
    let (sessions, faults, hours) = (totals.sessions, totals.faults, totals.virtual_hours());
    println!("sim: ok sessions={sessions} faults={faults} virtual_hours={hours:.1} violations=0");
}
