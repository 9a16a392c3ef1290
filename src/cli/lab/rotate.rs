//! The change of a CAK under a constant stream: from either end, and at an end with one key only.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow, bail};

use super::RotateArgs;
use super::pair::{End, LabKey, PARENT, Pair, RIGHT, Side};
use super::ping::{Pinger, Stream};
use super::watcher::Watcher;
use crate::cli::{ExitCode, Screen};
use crate::control::{Document, PortState};

/// One ping each: a loss is told to the millisecond.
const EVERY: Duration = Duration::from_millis(1);

/// How long traffic goes on after a change: the old SAK is received for 3 s more, and a peer that is
/// silent is kept for 6 s.
const AFTER: Duration = Duration::from_secs(7);

/// How far a ping may be from the gap that it is lost in: it takes a while to the far end, which may
/// have to wait for a processor.
const SLACK: Duration = Duration::from_millis(100);

/// When the far end did not protect frames, by its own word, or had no address to answer from.
#[derive(Clone, Copy, Debug)]
struct Gap {
    /// When it last said before that it did.
    from: Instant,
    /// When it first said so again.
    to: Instant,
}

/// A change, and what it cost.
struct Round {
    stream: Stream,
    gap: Option<Gap>,
    /// How long the left end took, by its own status.
    switch_ms: f64,
}

impl Round {
    /// Pings that were lost while the far end, by its own word, protected frames.
    fn unexplained(&self) -> usize {
        let lost = self.stream.lost.iter();
        lost.filter(|&&sent| {
            let covers = |gap: &Gap| gap.from <= sent + SLACK && sent <= gap.to + SLACK;
            !self.gap.as_ref().is_some_and(covers)
        })
        .count()
    }

    fn gap_ms(&self) -> f64 {
        self.gap.map_or(0.0, |gap| gap.to.duration_since(gap.from).as_secs_f64() * 1000.0)
    }
}

/// Runs the changes and prints what was seen; the last line is for scripts.
pub(super) fn run(args: &RotateArgs, screen: &mut Screen<'_>) -> Result<ExitCode> {
    let suite = args.suite;
    screen.print(&format!(
        "Two routers, each a network namespace with a macsecd of its own, and a cable: {}\n\
         The left one is set up as for a provider that holds one key, rotation = \"follow-peer\".\n",
        suite.name().to_ascii_lowercase()
    ))?;
    let first = LabKey::draw(suite, 0)?;
    let left =
        End { suite, priority: 16, rotation: "follow-peer", key: &first, dataplane: "userspace" };
    let right = End { priority: 200, rotation: "newest-with-fallback", ..left };
    let pair = Pair::start_as([left, right])?;
    let watcher = Watcher::new(pair.left(), PARENT)?;
    let mut pinger = Pinger::new(pair.left(), RIGHT, watcher)?;
    pair.plug_in()?;
    pinger.until_answered(Duration::from_secs(20))?;
    pair.wait("both ends are secured", |status| in_use(status).is_some())?;

    let mut keys = Vec::new();
    for number in 1..=4 {
        keys.push(LabKey::draw(suite, number)?);
    }
    let [one, two, three, four] = keys.as_slice() else { bail!("there are four keys") };
    let mut shown = Vec::new();
    for (title, key, change) in [
        ("both hold both keys, the left end first", one, Change::Staged([Side::Left, Side::Right])),
        (
            "both hold both keys, the right end first",
            two,
            Change::Staged([Side::Right, Side::Left]),
        ),
        ("the right end swaps its only key", three, Change::Swapped { afresh: false }),
        (
            "the right end swaps its only key and begins anew",
            four,
            Change::Swapped { afresh: true },
        ),
    ] {
        screen.print(&format!("\n{title}:\n"))?;
        let (round, said) =
            under_stream(&pair, &mut pinger, || change.carry_out(&pair, right, key))?;
        screen.print(&said)?;
        screen.print(&format!(
            "  {} pings, {} lost; the right end's own gap: {:.1} ms; the left end changed in {:.1} ms\n",
            round.stream.sent,
            round.stream.lost.len(),
            round.gap_ms(),
            round.switch_ms,
        ))?;
        shown.push(round);
    }
    pair.stop()?;
    conclude(&shown, &pinger.finish()?, screen)
}

/// A way to change the key.
#[derive(Clone, Copy)]
enum Change {
    /// With `macsecctl rotate` at both ends, in this order.
    Staged([Side; 2]),
    /// Staged at the left end; the right one has but one key, and is given another. It may lose its
    /// session by that, as a provider's port does.
    Swapped { afresh: bool },
}

impl Change {
    /// Changes the key.
    fn carry_out(self, pair: &Pair, right: End<'_>, key: &LabKey) -> Result<Done> {
        let (mut said, mut addressed) = (String::new(), None);
        let file = format!("file:{}", key.file.display());
        let mut rotate = |side: Side, words: &[&str]| -> Result<()> {
            let line = pair.macsecctl(side, &[&["rotate"], words].concat())?;
            let name = if side == Side::Left { "left" } else { "right" };
            said += &format!("  {name}: {}\n", line.lines().next().unwrap_or_default());
            Ok(())
        };
        let stage = ["stage", PARENT, "--ckn", &key.ckn, "--cak", &file];
        let all_use =
            || pair.wait("both ends use the new key", |status| in_use(status) == Some(&key.ckn));
        match self {
            Self::Staged(sides) => {
                sides.into_iter().try_for_each(|side| rotate(side, &stage))?;
                all_use()?;
                sides.into_iter().try_for_each(|side| rotate(side, &["commit", PARENT]))?;
            }
            Self::Swapped { afresh } => {
                rotate(Side::Left, &stage)?;
                // Another priority, still worse than the left end's, has the port begin anew.
                let priority = if afresh { right.priority + 1 } else { right.priority };
                addressed = pair.reconfigure(Side::Right, End { priority, key, ..right })?;
                all_use()?;
                rotate(Side::Left, &["commit", PARENT])?;
            }
        }
        Ok(Done { said, addressed })
    }
}

/// What came of a change.
struct Done {
    /// What the tool said.
    said: String,
    /// When the right end had its address again, where it had lost its interface.
    addressed: Option<Instant>,
}

/// Has a stream of pings go while something is changed, and a while longer, and meanwhile asks the
/// far end how it stands.
fn under_stream(
    pair: &Pair,
    pinger: &mut Pinger,
    change: impl FnOnce() -> Result<Done>,
) -> Result<(Round, String)> {
    let done = AtomicBool::new(false);
    let (stream, gap, done) = thread::scope(|scope| {
        let stream = scope.spawn(|| pinger.stream(EVERY, || done.load(Ordering::Relaxed)));
        let gap = scope.spawn(|| watch_right(pair, &done));
        let changed = change();
        if changed.is_ok() {
            thread::sleep(AFTER);
        }
        done.store(true, Ordering::Relaxed);
        let panicked = || anyhow!("a thread panicked");
        let (stream, gap) =
            (stream.join().map_err(|_| panicked())??, gap.join().map_err(|_| panicked())??);
        anyhow::Ok((stream, gap, changed?))
    })?;
    let Done { said, addressed } = done;
    // Without its address it answers nothing, protected or not.
    let gap = gap.map(|gap| Gap { to: addressed.map_or(gap.to, |at| gap.to.max(at)), ..gap });
    let status = pair.status_of(Side::Left)?.status;
    let switch_ms = status.ports.first().and_then(|port| port.last_switch_ms);
    let Some(switch_ms) = switch_ms else { bail!("the left end has not changed its key") };
    Ok((Round { stream, gap, switch_ms }, said))
}

/// Asks the right end again and again whether it protects frames, and gives when it did not.
fn watch_right(pair: &Pair, done: &AtomicBool) -> Result<Option<Gap>> {
    let (mut good, mut dark, mut gap) = (Instant::now(), false, None::<Gap>);
    while !done.load(Ordering::Relaxed) {
        let asked = Instant::now();
        let ports = pair.status_of(Side::Right).map(|document| document.status.ports);
        let secured =
            ports.is_ok_and(|ports| ports.iter().any(|port| port.state == PortState::Secured));
        if secured && dark {
            let from = gap.map_or(good, |gap| gap.from);
            gap = Some(Gap { from, to: Instant::now() });
        }
        if secured {
            good = asked;
        }
        dark = !secured;
        thread::sleep(Duration::from_millis(1));
    }
    if dark {
        bail!("the right end is not secured any more");
    }
    Ok(gap)
}

/// The key in whose CA the SAK is that an end sends with, where it is secured.
fn in_use(document: &Document) -> Option<&String> {
    let port = document.status.ports.first().filter(|port| port.state == PortState::Secured)?;
    port.participants.iter().find(|of| of.in_use).map(|of| &of.ckn)
}

fn conclude(
    rounds: &[Round],
    wire: &super::watcher::Tally,
    screen: &mut Screen<'_>,
) -> Result<ExitCode> {
    screen.print(&format!("\ncable: {wire}\n"))?;
    if wire.missed > 0 {
        bail!("{} frames crossed the cable too fast to be counted", wire.missed);
    }
    let [left_first, right_first, swapped, afresh] = rounds else { bail!("there are four rounds") };
    let lost = left_first.stream.lost.len() + right_first.stream.lost.len();
    let (swap_lost, afresh_lost) = (swapped.stream.lost.len(), afresh.stream.lost.len());
    let unexplained: usize = rounds.iter().map(Round::unexplained).sum();
    let clear = wire.clear_frames();
    // The last round has to show a gap, or it shows nothing.
    let good = lost == 0 && unexplained == 0 && clear == 0 && afresh.gap.is_some();
    let slowest = rounds.iter().map(|round| round.switch_ms).fold(0.0, f64::max);
    screen.print(&format!(
        "rotate: {} lost={lost} swap_lost={swap_lost} afresh_lost={afresh_lost} \
         afresh_gap_ms={:.1} lost_outside_gaps={unexplained} switch_ms_max={slowest:.1} \
         clear_frames={clear}\n",
        if good { "ok" } else { "failed" },
        afresh.gap_ms(),
    ))?;
    Ok(if good { ExitCode::Good } else { ExitCode::Failure })
}
