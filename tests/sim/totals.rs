//! What many sessions come to.

use std::fmt;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::link::LinkFaults;
use crate::oracles::RECOVERY;
use crate::scenario;
use crate::tally::Tally;
use crate::world::World;

/// Sums over sessions.
#[derive(Debug, Default)]
pub(crate) struct Totals {
    pub(crate) sessions: u64,
    pub(crate) faults: u64,
    pub(crate) violations: u64,
    nanos: u128,
    link: LinkFaults,
    tally: Tally,
    mkpdus: u64,
    frames: u64,
    saks: u64,
    rekeys: u64,
    /// The slowest recovery, and the seed that had it.
    slowest: (Duration, u64),
}

impl Totals {
    fn add(&mut self, world: &World) {
        self.sessions += 1;
        self.faults += world.faults();
        self.nanos += u128::from(world.now.as_nanos());
        self.link.add(&world.link.faults);
        self.tally.add(&world.tally);
        self.mkpdus += world.records.len() as u64;
        self.frames += world.frames;
        self.saks += world.oracles.keys.count() as u64;
        self.rekeys += world.oracles.installs.changes;
        let took = world.oracles.recovery.took.unwrap_or_default();
        self.slowest = self.slowest.max((took, world.seed));
    }

    fn merge(&mut self, other: &Self) {
        self.sessions += other.sessions;
        self.faults += other.faults;
        self.violations += other.violations;
        self.nanos += other.nanos;
        self.link.add(&other.link);
        self.tally.add(&other.tally);
        self.mkpdus += other.mkpdus;
        self.frames += other.frames;
        self.saks += other.saks;
        self.rekeys += other.rekeys;
        self.slowest = self.slowest.max(other.slowest);
    }

    pub(crate) fn virtual_hours(&self) -> f64 {
        self.nanos as f64 / 3.6e12
    }
}

impl fmt::Display for Totals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { mkpdus, frames, saks, rekeys, link, tally, slowest: (took, seed), .. } = self;
        writeln!(f, "  {mkpdus} MKPDUs, {frames} data frames, {saks} SAKs, {rekeys} rekeys")?;
        let LinkFaults { lost, duplicated, reordered, flipped } = link;
        writeln!(
            f,
            "  link: {lost} lost, {duplicated} twice, {reordered} late, {flipped} flipped"
        )?;
        let Tally { flaps, partitions, .. } = tally;
        writeln!(f, "  link: {flaps} flaps, {partitions} partitions")?;
        let Tally { restarts, halts, warm_restarts: warm, cold_restarts: cold, .. } = tally;
        writeln!(f, "  crashes: {restarts} of all, {halts} of the daemon alone")?;
        writeln!(f, "  restarts after those: {warm} warm, {cold} cold")?;
        let Tally { refusals, delays, lost_saks, exhaustions, .. } = tally;
        write!(f, "  data plane: {refusals} refusals, {delays} delays, ")?;
        writeln!(f, "{lost_saks} SAKs lost, {exhaustions} nearly used up")?;
        let Tally { droughts, freezes, steps, suspends, .. } = tally;
        write!(f, "  machine: {droughts} without randomness, {freezes} stops, ")?;
        writeln!(f, "{suspends} suspends, {steps} changes of clocks")?;
        let Tally { replays, reflections, forgeries, lies, .. } = tally;
        write!(f, "  others: {replays} replays, {reflections} reflections, ")?;
        writeln!(f, "{forgeries} forgeries, {lies} lies of a member")?;
        write!(f, "  slowest recovery {took:.1?} (seed {seed}), allowed {RECOVERY:?}")
    }
}

/// How often a long run says how far it is.
const NEWS_EVERY: u64 = 20_000;

/// What the threads of a run share.
struct Run {
    next: AtomicU64,
    end: u64,
    stopped: AtomicBool,
    keep_going: bool,
    at_most: Duration,
    begun: Instant,
    /// The report of the first seed that has failed.
    failed: Mutex<Option<(u64, String)>>,
    totals: Mutex<Totals>,
}

/// Lives through sessions with these seeds, on as many threads. Answers with the totals, and with
/// the report of the first of the seeds that failed: the others are told in a line where it is to
/// keep going.
pub(crate) fn run(
    seeds: std::ops::Range<u64>,
    threads: usize,
    keep_going: bool,
    at_most: Duration,
) -> (Totals, Option<String>) {
    let run = Run {
        next: AtomicU64::new(seeds.start),
        end: seeds.end,
        stopped: AtomicBool::new(false),
        keep_going,
        at_most,
        begun: Instant::now(),
        failed: Mutex::new(None),
        totals: Mutex::new(Totals::default()),
    };
    std::thread::scope(|scope| {
        (0..threads).for_each(|_| {
            scope.spawn(|| run.work());
        });
    });
    let failed = run.failed.into_inner().unwrap();
    (run.totals.into_inner().unwrap(), failed.map(|(_, report)| report))
}

/// Tells the seed of a session that panics.
struct Told(u64);

impl Drop for Told {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("sim: PANIC seed={}", self.0);
        }
    }
}

impl Run {
    fn work(&self) {
        let mut totals = Totals::default();
        while !self.stopped.load(Ordering::Relaxed) && self.begun.elapsed() < self.at_most {
            let seed = self.next.fetch_add(1, Ordering::Relaxed);
            if seed >= self.end {
                break;
            }
            let told = Told(seed);
            let (world, result) = scenario::session(seed, false);
            if let Err(violation) = result {
                // Once more, with notes.
                let (world, again) = scenario::session(seed, true);
                assert_eq!(again.as_ref().err(), Some(&violation), "a seed decides all");
                totals.violations += 1;
                if self.keep_going {
                    println!("sim: seed={seed} at {} s {violation}", world.now);
                } else {
                    self.stopped.store(true, Ordering::Relaxed);
                }
                let report = scenario::report(&world, &violation);
                let mut failed = self.failed.lock().unwrap();
                if failed.as_ref().is_none_or(|(first, _)| seed < *first) {
                    *failed = Some((seed, report));
                }
            }
            totals.add(&world);
            drop(told);
            if seed.is_multiple_of(NEWS_EVERY) {
                println!("sim: at seed {seed} after {:.0?}", self.begun.elapsed());
            }
        }
        self.totals.lock().unwrap().merge(&totals);
    }
}
