//! Daemons that end and begin again under a constant stream: killed at random moments, and planned.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};

use super::RestartArgs;
use super::ledger::Ledger;
use super::pair::{End, LabKey, Log, PARENT, Pair, RIGHT, Side};
use super::ping::{Pinger, Stream};
use super::watcher::{Tally, Watcher};
use crate::cli::{ExitCode, Screen};
use crate::control::{Document, PortState, PortStatus};

/// One ping each: one numbered frame there, and one back.
const EVERY: Duration = Duration::from_millis(1);
/// What the service manager waits before it starts a daemon again (`RestartSec=` of the unit).
const RESTART_SEC: Duration = Duration::from_millis(100);
/// How long a daemon lives before it is ended, at most: about as long as the time between two hellos
/// is in parts, so that all moments have their turn.
const LIFE_MAX_MS: u64 = 500;
/// One restart of these is in the middle of a rekey.
const REKEY_EVERY: u32 = 5;
/// A rekey takes some ten milliseconds from its asking; the end comes at any moment of it.
const REKEY_MAX_MS: u64 = 25;
/// How long traffic goes on at the end: the old key is received for 3 s more.
const AFTER: Duration = Duration::from_millis(3500);
/// Nothing takes longer.
const LIMIT: Duration = Duration::from_secs(20);
/// What a daemon logs that found everything as it was left.
const GOES_ON: &str = "goes on where the daemon before has left it";
/// How many of the daemons' complaints are shown.
const SHOWN_MAX: usize = 10;

/// How a daemon is ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Way {
    Killed,
    Planned,
}

/// What came of the restarts.
#[derive(Debug, Default)]
struct Seen {
    kills: u32,
    planned: u32,
    warm: u32,
    rekeys: u32,
    /// Key numbers beyond those of the rekeys asked for.
    skipped: u32,
    /// New member identifiers of a member that was ended in a rekey.
    renewed: u32,
    /// The member identifier of the other end, as each of them knew it last.
    members: Vec<String>,
    /// When each was begun, and which it was.
    begun: Vec<(Instant, String)>,
    /// From the end of a daemon until the next said that it was secured.
    dark_ms: Vec<f64>,
    /// What the daemons have logged as warnings or worse, and why a start was a cold one.
    complaints: Vec<String>,
    /// How much the first daemons had logged when both were secured, left first: that there was no
    /// carrier before the cable was plugged in, for one.
    early: [usize; 2],
}

/// Runs the restarts and prints what was seen; the last line is for scripts.
pub(super) fn run(args: &RestartArgs, screen: &mut Screen<'_>) -> Result<ExitCode> {
    let RestartArgs { kills, planned, suite, ref dataplane, .. } = *args;
    screen.print(&format!(
        "Two routers, each a network namespace with a macsecd of its own, and a cable: {}, {dataplane}\n\
         Their daemons are killed {kills} times and restarted {planned} times, in turn, at random moments.\n",
        suite.name().to_ascii_lowercase(),
    ))?;
    let key = LabKey::draw(suite, 0)?;
    let left = End { suite, priority: 16, rotation: "newest-with-fallback", key: &key, dataplane };
    let mut pair = Pair::start_with([left, End { priority: 200, ..left }], Log::Kept)?;
    let watcher = Watcher::new(pair.left(), PARENT)?.with_ledger();
    let mut pinger = Pinger::new(pair.left(), RIGHT, watcher)?;
    pair.plug_in()?;
    pinger.until_answered(LIMIT)?;
    pair.wait("both ends are secured", |document| secured(document).is_some())?;

    let done = AtomicBool::new(false);
    let (stream, seen) = thread::scope(|scope| {
        let stream = scope.spawn(|| pinger.stream(EVERY, || done.load(Ordering::Relaxed)));
        let seen = end_and_begin(&mut pair, args, screen);
        if seen.is_ok() {
            thread::sleep(AFTER);
        }
        done.store(true, Ordering::Relaxed);
        let stream = stream.join().map_err(|_| anyhow!("the stream panicked"))??;
        anyhow::Ok((stream, seen?))
    })?;
    let counted = counted(&pair)?;
    let same = members(&pair)? == seen.members;
    pair.stop()?;
    let (wire, ledger) = pinger.finish_with_ledger()?;
    if !stream.lost.is_empty() {
        tell_losses(&seen, &stream.lost, &counted, screen)?;
    }
    conclude(args, &seen, same, &stream, &wire, &ledger, screen)
}

/// Ends one daemon after the other, in turn, and starts it again.
fn end_and_begin(pair: &mut Pair, args: &RestartArgs, screen: &mut Screen<'_>) -> Result<Seen> {
    let total = args.kills + args.planned;
    let early = [pair.log(Side::Left)?.len(), pair.log(Side::Right)?.len()];
    let mut seen = Seen { early, members: members(pair)?, ..Seen::default() };
    for number in 1..=total {
        // Planned ones are spread evenly among the others.
        let due = u64::from(number) * u64::from(args.planned) / u64::from(total.max(1));
        let planned = u64::from(seen.planned) < due;
        let (way, count) = if planned {
            (Way::Planned, &mut seen.planned)
        } else {
            (Way::Killed, &mut seen.kills)
        };
        let side = if *count % 2 == 0 { Side::Left } else { Side::Right };
        *count += 1;
        thread::sleep(at_random(LIFE_MAX_MS)?);
        let rekey = number % REKEY_EVERY == 0;
        let which = format!("restart {number}, {way:?}, {side:?}, in a rekey: {rekey}");
        seen.begun.push((Instant::now(), which.clone()));
        restart(pair, way, side, rekey, &mut seen).context(which)?;
        if number % 20 == 0 {
            screen.print(&format!("{number} of {total}\n"))?;
        }
    }
    Ok(seen)
}

fn restart(pair: &mut Pair, way: Way, side: Side, rekey: bool, seen: &mut Seen) -> Result<()> {
    let before = settled(pair, 0)?;
    if rekey {
        pair.rekey()?;
        thread::sleep(at_random(REKEY_MAX_MS)?);
    }
    let ended = Instant::now();
    match way {
        Way::Killed => pair.kill(side)?,
        Way::Planned => pair.leave(side)?,
    }
    complaints(pair, side, seen)?;
    thread::sleep(RESTART_SEC);
    pair.go_on(side)?;
    seen.dark_ms.push(ended.elapsed().as_secs_f64() * 1000.0);
    let log = pair.log(side)?;
    if log.contains(GOES_ON) {
        seen.warm += 1;
    } else {
        seen.complaints.push(format!("{way:?}, {side:?}, began afresh: {log}"));
    }
    // Who was away when the next key was handed out is given it with the next hello.
    let after = settled(pair, before + u32::from(rekey))?;
    // One whose server was killed before it came into use is followed by another, with a new number.
    seen.skipped += after.saturating_sub(before + u32::from(rekey));
    let members = members(pair)?;
    if members != seen.members {
        if rekey && is_renewed(side, &seen.members, &members) {
            seen.renewed += 1;
        } else {
            seen.complaints.push(format!(
                "{way:?}, {side:?}: the ends met {:?} before, {members:?} after: {}",
                seen.members,
                pair.log(side)?
            ));
        }
        seen.members = members;
    }
    if !rekey && after != before {
        bail!("key number {after} is in use, and it was {before}; asked for one more: {rekey}");
    }
    seen.rekeys += u32::from(rekey);
    Ok(())
}

/// Waits until both ends use the same key of at least this number, and tells which.
fn settled(pair: &Pair, at_least: u32) -> Result<u32> {
    let deadline = Instant::now() + LIMIT;
    loop {
        let [left, right] = pair.status()?;
        let number = |document| secured(document)?.sak.as_ref().map(|sak| sak.key_number);
        match (number(&left), number(&right)) {
            (Some(left), Some(right)) if left == right && left >= at_least => return Ok(left),
            (left, right) if Instant::now() >= deadline => {
                let [left_status, right_status] = pair.status()?.map(|document| document.json);
                bail!(
                    "no key from number {at_least} on at both ends: {left:?} and {right:?}; \
                     {left_status} {right_status}"
                );
            }
            _ => thread::sleep(Duration::from_millis(2)),
        }
    }
}

fn secured(document: &Document) -> Option<&PortStatus> {
    document.status.ports.iter().find(|port| port.state == PortState::Secured)
}

/// The member identifier of the other end, as each of them knows it.
fn members(pair: &Pair) -> Result<Vec<String>> {
    let status = pair.status()?;
    let ports = status.iter().flat_map(|document| &document.status.ports);
    Ok(ports.flat_map(|port| &port.peers).map(|peer| peer.mi.clone()).collect())
}

/// Tells whether the right end, which was restarted, has a new member identifier, and the left its
/// old one. A member that ends between writing an SAK down and having it must not ask for it a second
/// time (`docs/adr/0011`). As a new member it is given another one.
fn is_renewed(restarted: Side, before: &[String], after: &[String]) -> bool {
    restarted == Side::Right && before.get(1..) == after.get(1..)
}

/// Adds what a daemon has logged that is a warning or worse.
fn complaints(pair: &Pair, side: Side, seen: &mut Seen) -> Result<()> {
    let [left, right] = &mut seen.early;
    let early = match side {
        Side::Left => left,
        Side::Right => right,
    };
    let log = pair.log(side)?;
    // Each daemon has a log of its own; the next one's counts from its beginning.
    let said = log.get(std::mem::take(early)..).unwrap_or(&log);
    let amiss = said.lines().filter(|line| !line.contains(" INFO "));
    seen.complaints.extend(amiss.map(|line| format!("{side:?}: {line}")));
    Ok(())
}

/// Tells after which restarts frames were lost, and what the ends have counted.
fn tell_losses(
    seen: &Seen,
    lost: &[Instant],
    counted: &[String],
    screen: &mut Screen<'_>,
) -> Result<()> {
    let mut after: BTreeMap<usize, Vec<u128>> = BTreeMap::new();
    for at in lost {
        let number = seen.begun.partition_point(|(begun, _)| begun <= at);
        let begun = number.checked_sub(1).and_then(|index| seen.begun.get(index));
        let since = begun.map_or(0, |(begun, _)| at.duration_since(*begun).as_millis());
        after.entry(number).or_default().push(since);
    }
    for (number, times) in after.iter().take(SHOWN_MAX) {
        let which = number.checked_sub(1).and_then(|index| seen.begun.get(index));
        let which = which.map_or("before the first restart", |(_, which)| which);
        screen.print(&format!("lost after {which}: {} frames, at {times:?} ms\n", times.len()))?;
    }
    for of in counted {
        screen.print(&format!("counted by {of}\n"))?;
    }
    Ok(())
}

/// What each end has counted that is not zero.
fn counted(pair: &Pair) -> Result<Vec<String>> {
    let status = pair.status()?;
    let ports = status.iter().flat_map(|document| &document.status.ports);
    let counts = |port: &PortStatus| {
        let counts = port.counters.iter().filter(|(_, count)| **count > 0);
        counts.map(|(name, count)| format!(" {name}={count}")).collect::<String>()
    };
    Ok(ports.map(|port| format!("{}:{}", port.interface, counts(port))).collect())
}

/// Any time up to so many milliseconds.
fn at_random(up_to_ms: u64) -> Result<Duration> {
    let mut octets = [0; 8];
    aws_lc_rs::rand::fill(&mut octets).ok().context("drawing a number")?;
    Ok(Duration::from_micros(u64::from_be_bytes(octets) % (up_to_ms * 1000)))
}

fn conclude(
    args: &RestartArgs,
    seen: &Seen,
    same: bool,
    stream: &Stream,
    wire: &Tally,
    ledger: &Ledger,
    screen: &mut Screen<'_>,
) -> Result<ExitCode> {
    for complaint in seen.complaints.iter().take(SHOWN_MAX) {
        screen.print(&format!("{complaint}\n"))?;
    }
    let (faults, fault_count) = ledger.faults();
    for fault in faults {
        screen.print(&format!("on the cable: {fault}\n"))?;
    }
    let words: u64 = ledger.words().map(|(words, _)| words).sum();
    let silence = ledger.words().map(|(_, silence)| silence).max().unwrap_or_default();
    screen.print(&format!(
        "cable: {wire}; {words} MKPDUs, the longest silence of an end {:.0} ms\n",
        silence.as_secs_f64() * 1000.0
    ))?;
    if wire.missed > 0 {
        bail!("{} frames crossed the cable too fast to be counted", wire.missed);
    }
    let cold = seen.kills + seen.planned - seen.warm;
    let (lost, clear) = (stream.lost.len(), wire.clear_frames());
    // A key more than those asked for, and those that a restart has spoiled, would show here, and a
    // member more there.
    let expected = seen.rekeys + 1..=2 * seen.rekeys + 1;
    let keys_fit = ledger.keys().all(|k| expected.contains(&k)) && ledger.keys().count() == 2;
    let members_fit = same && ledger.members().sum::<usize>() == 2 + seen.renewed as usize;
    let all = (seen.kills, seen.planned) == (args.kills, args.planned) && stream.sent > 0;
    let good = all
        && keys_fit
        && members_fit
        && (lost, cold, fault_count, clear) == (0, 0, 0, 0)
        && seen.complaints.is_empty();
    let longest = seen.dark_ms.iter().copied().fold(0.0, f64::max);
    screen.print(&format!(
        "restart: {} kills={} planned={} lost={lost} sent={} warm={} cold={cold} rekeys={} \
         skipped={} members_kept={} members_renewed={} keys_kept={} numbers_twice={fault_count} frames={} complaints={} \
         longest_restart_ms={longest:.0} longest_silence_ms={:.0} \
         longest_held_ms={:.0} clear_frames={clear} \
         dataplane={} suite={}\n",
        if good { "ok" } else { "failed" },
        seen.kills,
        seen.planned,
        stream.sent,
        seen.warm,
        seen.rekeys,
        seen.skipped,
        members_fit,
        seen.renewed,
        keys_fit,
        ledger.frames(),
        seen.complaints.len(),
        silence.as_secs_f64() * 1000.0,
        stream.held.as_secs_f64() * 1000.0,
        args.dataplane,
        args.suite.name().to_ascii_lowercase(),
    ))?;
    Ok(if good { ExitCode::Good } else { ExitCode::Failure })
}
