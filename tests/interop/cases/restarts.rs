//! Our daemon ends and begins again, many times, under traffic: the kernel encrypts meanwhile.

use std::fs;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use macsecd::cli::lab::Ledger;

use super::{Case, own, with_supplicant};
use crate::member::{DEFAULT_SUITE, Member, Terms};
use crate::ours::{Ours, Plane};
use crate::place::Place;
use crate::rig::{PATIENCE, Role, until, until_secured};
use crate::row::Outcome;
use crate::supplicant::Supplicant;

/// Says how often, as `200+20`: killed, and restarted as planned.
pub(crate) const RESTARTS: &str = "INTEROP_RESTARTS";
/// Where nobody says.
const USUAL: (u32, u32) = (30, 5);
/// What the service manager waits before it starts a daemon again (`RestartSec=` of the unit).
const RESTART_SEC: Duration = Duration::from_millis(100);
/// How long a daemon lives before it is ended, at most.
const LIFE_MAX_MS: u64 = 400;
/// One restart of these is in the middle of a rekey, where the keys are ours to make.
const REKEY_EVERY: u32 = 5;
/// How long after a rekey is asked for the end comes, at most.
const REKEY_MAX_MS: u64 = 40;
/// How long the key before is received (802.1X-2020 Table 9-3, SAK Retire Time), and some.
const RETIRE: Duration = Duration::from_millis(3500);
/// What a daemon logs that found everything as it was left.
const GOES_ON: &str = "goes on where the daemon before has left it";
/// The case, in the table.
const WHAT: &str = "many restarts under traffic";

pub(super) fn cases() -> Vec<Case> {
    let (kills, planned) = counts();
    let seconds = 20 + 3 * u64::from(kills + planned);
    let mut cases: Vec<Case> = [Role::Server, Role::Client]
        .into_iter()
        .map(|role| {
            with_supplicant(Plane::Kernel, role, WHAT, seconds, move |folder| {
                with_a_supplicant(folder, role)
            })
        })
        .collect();
    let case = own::pair(WHAT, DEFAULT_SUITE, Plane::Kernel, Plane::Kernel, two_of_ours);
    cases.push(Case { seconds, ..case });
    cases
}

/// How often: killed, and restarted as planned.
fn counts() -> (u32, u32) {
    let read = |text: String| {
        let (kills, planned) = text.split_once('+')?;
        Some((kills.parse().ok()?, planned.parse().ok()?))
    };
    std::env::var(RESTARTS).ok().and_then(read).unwrap_or(USUAL)
}

fn with_a_supplicant(folder: &Path, role: Role) -> Result<Outcome> {
    let (ours, theirs) = role.terms();
    let place = Place::cable()?;
    let peer = Supplicant::start(&place.machines[1], folder, "peer", &theirs)?;
    until("wpa_supplicant takes part", PATIENCE, || Ok(peer.is_active()))?;
    let seat = Seat::take(&place, 0, folder, "ours", ours)?;
    Trial { place, seats: vec![seat], peer: Some(peer), may_rekey: role == Role::Server }.hold()
}

fn two_of_ours(folder: &Path) -> Result<Outcome> {
    let (near, far) = Role::Server.terms();
    let place = Place::cable()?;
    let near = Seat::take(&place, 0, folder, "near", near)?;
    let far = Seat::take(&place, 1, folder, "far", far)?;
    Trial { place, seats: vec![near, far], peer: None, may_rekey: true }.hold()
}

/// A daemon of ours, and what the next one is started with.
struct Seat {
    machine: usize,
    folder: PathBuf,
    name: &'static str,
    terms: Terms,
    ours: Ours,
    since: Instant,
}

impl Seat {
    fn take(
        place: &Place,
        machine: usize,
        folder: &Path,
        name: &'static str,
        terms: Terms,
    ) -> Result<Self> {
        let ours = Ours::start(&place.machines[machine], folder, name, &terms, Plane::Kernel)?;
        let (folder, since) = (folder.to_owned(), Instant::now());
        Ok(Self { machine, folder, name, terms, ours, since })
    }

    /// Ends the daemon and starts the next, which is secured when this returns.
    fn restart(&mut self, place: &Place, planned: bool) -> Result<()> {
        if planned {
            self.ours.leave()?;
        } else {
            self.ours.end(true)?;
        }
        thread::sleep(RESTART_SEC);
        let machine = &place.machines[self.machine];
        self.ours = Ours::start(machine, &self.folder, self.name, &self.terms, Plane::Kernel)?;
        self.since = Instant::now();
        self.ours.until_secured(self.since + PATIENCE)
    }

    /// Waits until this daemon has heard its peer itself. `wpa_supplicant` speaks every 2 s and
    /// answers nobody before; where three daemons in a row miss what it says, it is taken for gone.
    fn until_heard(&self) -> Result<()> {
        until("the peer was heard", PATIENCE, || {
            let age = self.since.elapsed().as_secs_f64();
            Ok(self.ours.settled_port()?.peers.iter().all(|peer| peer.last_heard_seconds < age))
        })?;
        Ok(())
    }

    /// What has been logged by all daemons of this seat.
    fn log(&self) -> Result<String> {
        Ok(fs::read_to_string(self.folder.join(format!("{}.log", self.name)))?)
    }
}

/// Who is met by each of ours.
fn met(seats: &[Seat]) -> Result<Vec<Vec<String>>> {
    let meet =
        |seat: &Seat| Ok(seat.ours.settled_port()?.peers.into_iter().map(|peer| peer.mi).collect());
    seats.iter().map(meet).collect()
}

/// Everyone who takes part.
struct Trial {
    place: Place,
    seats: Vec<Seat>,
    peer: Option<Supplicant>,
    /// Whether the first seat makes the keys.
    may_rekey: bool,
}

impl Trial {
    /// Goes through all restarts under traffic.
    fn hold(mut self) -> Result<Outcome> {
        let mut members: Vec<&dyn Member> = self.seats.iter().map(|s| &s.ours as _).collect();
        members.extend(self.peer.as_ref().map(|peer| peer as &dyn Member));
        let traffic = until_secured(&self.place.machines, &members)?.0.keep_going();
        let before = met(&self.seats)?;
        let (kills, planned) = counts();
        let rekeys = self.restart_all(kills, planned)?;
        thread::sleep(RETIRE);
        let count = traffic.stop()?;

        let after = met(&self.seats)?;
        let warm = self.warm_starts()?;
        ensure!(warm == usize::try_from(kills + planned)?, "{warm} warm starts");
        if let Some(peer) = &self.peer {
            ensure!(peer.is_secured()?, "wpa_supplicant is not secured");
        }
        // What follows the end of a daemon is another story.
        let ledger = self.place.ledger();
        let silence = judge(&ledger, rekeys)?;
        let renewed = renewed(&ledger, &before, &after)?;
        ensure!(renewed <= rekeys, "{renewed} new member identifiers in {rekeys} rekeys");
        let Self { place, seats, peer, .. } = self;
        drop((seats, peer));
        place.finish()?;
        let note = format!(
            "kills={kills} planned={planned} warm={warm} rekeys={rekeys} renewed={renewed} \
             numbers_twice=0 frames={} silence {} ms",
            ledger.frames(),
            silence.as_millis()
        );
        Ok(Outcome::default().with(count).noting(note))
    }

    /// Restarts one seat after the other, and tells how many rekeys there were.
    fn restart_all(&mut self, kills: u32, planned: u32) -> Result<u64> {
        let (total, mut done, mut rekeys) = (kills + planned, [0_usize; 2], 0);
        for number in 1..=total {
            let is_planned = u64::try_from(done[1])? < u64::from(number * planned / total);
            let turn = &mut done[usize::from(is_planned)];
            let at = *turn % self.seats.len();
            *turn += 1;
            if self.peer.is_some() {
                self.seats[at].until_heard()?;
            }
            thread::sleep(at_random(LIFE_MAX_MS)?);
            let before = self.seats[0].ours.key_number()?.context("there is a key")?;
            let rekey = self.may_rekey && number % REKEY_EVERY == 0;
            if rekey {
                self.seats[0].ours.rekey()?;
                thread::sleep(at_random(REKEY_MAX_MS)?);
            }
            self.seats[at]
                .restart(&self.place, is_planned)
                .with_context(|| format!("restart {number}, planned: {is_planned}, of {at}"))?;
            // A daemon that goes on passes over key numbers.
            let wanted = if rekey { before + 1..=u32::MAX } else { before..=before };
            let numbers = || -> Result<Vec<_>> {
                self.seats.iter().map(|seat| seat.ours.key_number()).collect()
            };
            let all_use = || {
                let numbers = numbers()?;
                let same = numbers.windows(2).all(|pair| pair[0] == pair[1]);
                Ok(same && numbers.iter().flatten().all(|number| wanted.contains(number)))
            };
            until("the expected key is in use", PATIENCE, all_use).with_context(|| {
                format!(
                    "restart {number} of {at}, planned: {is_planned}: {wanted:?}, {:?}",
                    numbers()
                )
            })?;
            rekeys += u64::from(rekey);
        }
        Ok(rekeys)
    }

    /// How many daemons found everything as it was left.
    ///
    /// # Errors
    ///
    /// Where one complained of anything.
    fn warm_starts(&self) -> Result<usize> {
        let mut warm = 0;
        for seat in &self.seats {
            let log = seat.log()?;
            warm += log.matches(GOES_ON).count();
            // What the guest's kernel lacks is not the daemon's fault.
            let amiss = |line: &&str| {
                [" WARN ", " ERROR "].iter().any(|of| line.contains(of)) && !line.contains("W604")
            };
            let complaint = log.lines().find(amiss);
            ensure!(complaint.is_none(), "{}: {complaint:?}", seat.name);
        }
        Ok(warm)
    }
}

/// Checks what crossed the cable, and tells the longest time that a station was silent.
fn judge(ledger: &Ledger, rekeys: u64) -> Result<Duration> {
    let (faults, count) = ledger.faults();
    ensure!(count == 0, "{count} faults on the cable: {faults:?}");
    let keys: Vec<u64> = ledger.keys().map(u64::from).collect();
    // One that was spoiled by a restart is followed by another.
    let expected = rekeys + 1..=2 * rekeys + 1;
    let fit = keys.len() == 2 && keys.iter().all(|count| expected.contains(count));
    ensure!(fit, "{keys:?} keys on the cable, and {rekeys} rekeys");
    Ok(ledger.words().map(|(_, silence)| silence).max().unwrap_or_default())
}

/// How many new member identifiers there were. Only a member of ours has one, where it ends in a rekey
/// between writing an SAK down and having it (`docs/adr/0011`): the second of ours, whom the first
/// meets. All others are who they were.
fn renewed(ledger: &Ledger, before: &[Vec<String>], after: &[Vec<String>]) -> Result<u64> {
    let members: Vec<usize> = ledger.members().collect();
    let renewed = members.iter().sum::<usize>() - 2;
    let kept =
        if renewed > 0 { before[1..] == after[1..] && after.len() == 2 } else { before == after };
    ensure!(kept, "met {after:?}, and {before:?} before; {members:?} member identifiers");
    Ok(renewed.try_into()?)
}

/// Any time up to so many milliseconds.
fn at_random(up_to_ms: u64) -> Result<Duration> {
    let mut octets = [0; 8];
    aws_lc_rs::rand::fill(&mut octets).ok().context("drawing a number")?;
    Ok(Duration::from_micros(u64::from_be_bytes(octets) % (up_to_ms * 1000)))
}
