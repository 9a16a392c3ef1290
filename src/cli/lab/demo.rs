//! The demonstration: secured in milliseconds, nothing lost, nothing in clear.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};

use super::DemoArgs;
use super::pair::{PARENT, Pair, RIGHT};
use super::ping::{Count, Pinger};
use super::watcher::{Tally, Watcher};
use crate::cli::{ExitCode, Screen, render};
use crate::control::{Document, PortState};

/// How long traffic goes on after a rekey: the old key is received for 3 s more.
const AFTER_REKEY: Duration = Duration::from_millis(3500);

/// What was seen, all runs together.
#[derive(Default)]
struct Seen {
    secured_ms: Vec<f64>,
    flood: Count,
    rekey: Count,
    wire: Tally,
}

/// Runs the demonstration and prints what it saw; the last line is for scripts.
pub(super) fn run(args: &DemoArgs, screen: &mut Screen<'_>) -> Result<ExitCode> {
    let suite = args.suite.name().to_ascii_lowercase();
    let mut seen = Seen::default();
    screen.print(&format!(
        "Two routers, each a network namespace with a macsecd of its own, and a cable: {suite}\n"
    ))?;
    for run in 1..=args.runs {
        let pair = Pair::start(args.suite)?;
        let watcher = Watcher::new(pair.left(), PARENT)?;
        let mut pinger = Pinger::new(pair.left(), RIGHT, watcher)?;
        let plugged = pair.plug_in()?;
        let through = pinger.until_answered(Duration::from_secs(20))?;
        let millis = through.duration_since(plugged).as_secs_f64() * 1000.0;
        screen
            .print(&format!("run {run}: from plugging in to the first ping: {millis:.1} ms\n"))?;
        seen.secured_ms.push(millis);
        if run == args.runs {
            show(&pair, &mut pinger, args, &mut seen, screen)?;
        }
        pair.stop()?;
        seen.wire.add(&pinger.finish()?);
    }
    conclude(&suite, &seen, screen)
}

/// What is shown once: both statuses, a flood, and a rekey under a flood.
fn show(
    pair: &Pair,
    pinger: &mut Pinger,
    args: &DemoArgs,
    seen: &mut Seen,
    screen: &mut Screen<'_>,
) -> Result<()> {
    pair.wait("both ends are secured", is_secured)?;
    for (name, status) in ["left", "right"].iter().zip(pair.status()?) {
        let text = render::status(&status.status, screen.colour);
        screen.print(&format!("\n$ macsecctl status    # {name}\n{text}"))?;
    }
    let started = Instant::now();
    seen.flood = pinger.flood(|sent| sent >= args.pings)?;
    let took = started.elapsed().as_secs_f64();
    let Count { sent, lost } = seen.flood;
    screen.print(&format!("\nflood: {sent} pings in {took:.2} s, {lost} lost\n"))?;
    seen.rekey = rekey_under_traffic(pair, pinger)?;
    let Count { sent, lost } = seen.rekey;
    screen.print(&format!("rekey: {sent} pings across it, {lost} lost\n"))?;
    Ok(())
}

fn rekey_under_traffic(pair: &Pair, pinger: &mut Pinger) -> Result<Count> {
    let [before, _] = pair.status()?;
    let before = key_number(&before).context("the key in use before the rekey")?;
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        let flood = scope.spawn(|| pinger.flood(|_| done.load(Ordering::Relaxed)));
        let replaced = pair.rekey().and_then(|()| {
            pair.wait("both ends use a new key", |status| key_number(status) > Some(before))
        });
        if replaced.is_ok() {
            thread::sleep(AFTER_REKEY);
        }
        done.store(true, Ordering::Relaxed);
        let count = flood.join().map_err(|_| anyhow!("the flood panicked"))??;
        replaced?;
        Ok(count)
    })
}

fn is_secured(document: &Document) -> bool {
    let mut ports = document.status.ports.iter();
    ports.all(|port| port.interface != PARENT || port.state == PortState::Secured)
}

fn key_number(document: &Document) -> Option<u32> {
    document.status.ports.first()?.sak.as_ref().map(|sak| sak.key_number)
}

fn conclude(suite: &str, seen: &Seen, screen: &mut Screen<'_>) -> Result<ExitCode> {
    screen.print(&format!("cable: {}\n", seen.wire))?;
    if seen.wire.missed > 0 {
        bail!("{} frames crossed the cable too fast to be counted", seen.wire.missed);
    }
    let (lost, rekey_lost, clear) = (seen.flood.lost, seen.rekey.lost, seen.wire.clear_frames());
    let good = lost == 0 && rekey_lost == 0 && clear == 0;
    screen.print(&format!(
        "demo: {} suite={suite} secured_ms={:.1} lost={lost} rekey_lost={rekey_lost} clear_frames={clear}\n",
        if good { "ok" } else { "failed" },
        median(&seen.secured_ms),
    ))?;
    Ok(if good { ExitCode::Good } else { ExitCode::Failure })
}

fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied().unwrap_or(f64::NAN)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_the_middle_one() {
        assert!((median(&[9.0, 1.0, 5.0]) - 5.0).abs() < f64::EPSILON);
    }
}
