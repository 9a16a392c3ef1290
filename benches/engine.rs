//! The frame engine against libraries: a whole protected frame, with its tag, packet number, replay
//! check and counters, against the bare AES-GCM of aws-lc-rs and ring.
//!
//! All contenders take turns within a round, on batches of 32 frames that are in the cache, and the
//! medians of many rounds count: a machine that others use as well slows down all of them alike.
//! Frames have their FCS counted, as everywhere: one of 64 octets has 48 of user data.
//!
//! `make bench-engine` runs it. `BENCH_ROUNDS`, `BENCH_FRAMES`, `BENCH_SUITES` and `BENCH_ENGINES`
//! (words of their names, with commas between) make it shorter.

#![allow(missing_docs, clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

#[path = "engine/libraries.rs"]
mod libraries;
#[path = "engine/ours.rs"]
mod ours;

use std::hint::black_box;
use std::time::{Duration, Instant};
use std::{env, fs};

use libraries::{AwsLc, Library, Ring};
use macsecd::engine::{Engine, EngineKind};
use macsecd::ident::CipherSuite;
use serde_json::json;

/// Frames of a batch, as the data plane takes them.
const BATCH: usize = 32;
/// Octets that a contender goes over in one turn, about.
const TURN: usize = 300_000;

/// Octets of each frame of a batch, FCS included.
const FRAMES: &[(&str, &[usize])] = &[
    ("64", &[64]),
    ("128", &[128]),
    ("256", &[256]),
    ("512", &[512]),
    ("imix", &[64, 594, 64, 594, 64, 64, 1518, 64, 594, 64, 594, 64]),
    ("1518", &[1518]),
    ("9018", &[9018]),
];

const SUITES: &[(&str, CipherSuite)] = &[
    ("gcm-aes-xpn-256", CipherSuite::GcmAesXpn256),
    ("gcm-aes-xpn-128", CipherSuite::GcmAesXpn128),
    ("gcm-aes-256", CipherSuite::GcmAes256),
    ("gcm-aes-128", CipherSuite::GcmAes128),
];

#[derive(Clone, Copy, Eq, PartialEq)]
enum Direction {
    Protect,
    Validate,
}

/// Somebody who takes turns.
trait Contender {
    /// Makes a batch ready; not timed.
    fn ready(&mut self);
    /// Does the work on it.
    fn work(&mut self);
}

fn main() {
    let rounds = env::var("BENCH_ROUNDS").map_or(31, |rounds| rounds.parse().unwrap());
    let clock = clock();
    let mut rows = Vec::new();
    println!("{}, {BATCH} frames a batch, medians of {rounds} rounds, ns a frame", machine());
    for kind in EngineKind::ALL.into_iter().filter(|kind| wanted("BENCH_ENGINES", kind.name())) {
        let Some(engine) = Engine::of(kind) else {
            println!("engine {kind}: not on this machine");
            continue;
        };
        for (name, suite) in SUITES.iter().filter(|(name, _)| wanted("BENCH_SUITES", name)) {
            println!("\nengine {kind}, {name}");
            println!("   frame  direction      ours  aws-lc-rs     ring   ratio to the better");
            for (frame, sizes) in FRAMES.iter().filter(|(frame, _)| wanted("BENCH_FRAMES", frame)) {
                let sizes: Vec<usize> = (0..BATCH).map(|n| sizes[n % sizes.len()] - 4).collect();
                for direction in [Direction::Protect, Direction::Validate] {
                    let medians = measure(engine, *suite, &sizes, direction, rounds, clock);
                    let [ours, aws, ring] = medians;
                    let direction = match direction {
                        Direction::Protect => "protect",
                        Direction::Validate => "validate",
                    };
                    println!(
                        "{frame:>8}  {direction:<9} {ours:>9.1} {aws:>10.1} {ring:>8.1} {:>7.2}",
                        aws.min(ring) / ours
                    );
                    for (library, library_ns) in [("aws-lc-rs", aws), ("ring", ring)] {
                        let octets = frame.parse::<u64>().map_or(json!(frame), |n| json!(n));
                        rows.push(json!({
                            "frame": octets, "suite": name, "direction": direction,
                            "engine": kind.name(), "ours_ns": ours, "library": library,
                            "library_ns": library_ns, "ratio": library_ns / ours,
                        }));
                    }
                }
            }
        }
    }
    fs::create_dir_all("target/bench").unwrap();
    let report = json!({ "machine": machine(), "engine": rows });
    fs::write("target/bench/engine.json", format!("{report:#}\n")).unwrap();
}

/// Medians of ours, aws-lc-rs and ring, in ns a frame.
fn measure(
    engine: Engine,
    suite: CipherSuite,
    sizes: &[usize],
    direction: Direction,
    rounds: usize,
    clock: Duration,
) -> [f64; 3] {
    let mut contenders: [Box<dyn Contender>; 3] = [
        ours::contender(engine, suite, sizes, direction),
        Box::new(Library::<AwsLc>::new(suite, sizes, direction)),
        Box::new(Library::<Ring>::new(suite, sizes, direction)),
    ];
    let batches = TURN / (sizes.iter().sum::<usize>() + 100 * BATCH) + 1;
    let mut times = [const { Vec::new() }; 3];
    for _ in 0..rounds {
        for (contender, times) in contenders.iter_mut().zip(&mut times) {
            let mut spent = Duration::ZERO;
            for _ in 0..batches {
                contender.ready();
                let start = Instant::now();
                black_box(&mut *contender).work();
                spent += start.elapsed().saturating_sub(clock);
            }
            times.push(spent.as_nanos() as f64 / (batches * BATCH) as f64);
        }
    }
    times.map(|mut times| {
        times.sort_by(f64::total_cmp);
        times[times.len() / 2]
    })
}

/// What it takes to look at the clock twice.
fn clock() -> Duration {
    let mut all: Vec<_> = (0..1001).map(|_| Instant::now().elapsed()).collect();
    all.sort();
    all[all.len() / 2]
}

fn wanted(variable: &str, name: &str) -> bool {
    env::var(variable).map_or(true, |words| words.split(',').any(|word| word == name))
}

fn machine() -> String {
    let text = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let of = |key: &str| {
        let line = text.lines().find(|line| line.starts_with(key)).unwrap_or_default();
        line.split(": ").nth(1).unwrap_or("unknown").to_owned()
    };
    let (model, family, number) = (of("model name"), of("cpu family"), of("model\t"));
    format!("{model} (family {family}, model {number})")
}
