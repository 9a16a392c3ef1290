//! What happens in a session: chosen by its seed, or by a test.

use std::sync::Arc;
use std::time::Duration;

use macsecd::crypto::Cak;
use macsecd::ident::{CipherSuite, Ckn, ConfidentialityOffset, KeyServerPriority, MacAddress, Sci};
use macsecd::keyring::{Key, Preference};
use macsecd::mka::{Access, Manners, Policy};
use macsecd::time::Time;
use macsecd::wire::EapolEthertype;
use zeroize::Zeroizing;

use crate::link::Noise;
use crate::loss::Loss;
use crate::member::{Mood, Setup};
use crate::oracles::{RECOVERY, Violation, ensure};
use crate::plan::plan;
use crate::restart::{Found, Halt};
use crate::trace::Note;
use crate::world::{Event, World};

/// Something that a scenario asks for.
#[derive(Clone, Debug)]
pub(crate) enum Action {
    Boot(usize),
    Crash(usize),
    Restart(usize),
    Carrier(usize, bool),
    /// Asks every station for a fresh SAK; the key server obeys.
    Rekey,
    Ring(usize, Vec<usize>),
    Noise(Noise),
    NoiseTo(usize, Noise),
    /// Cuts the direction from the first to the second, or joins it.
    Cut(usize, usize, bool),
    /// Cuts the stations in two halves, the bits of a number, or joins them.
    Split(usize, bool),
    Mood(usize, Mood),
    Dry(usize, bool),
    /// Stops a station's key agreement for so long, as a busy machine does; its SecY goes on.
    Freeze(usize, Duration),
    Exhaust(usize),
    /// Has a data plane lose SAKs.
    Lose(usize, Loss),
    Replay(usize, usize),
    Reflect(usize, usize),
    Forge(usize, usize),
    /// Tells a station so many lies.
    Lie(usize, usize),
    /// Has it hear so many members who are not there.
    Flood(usize, usize),
    /// The daemon dies, and its SecY goes on.
    Halt(usize, Halt),
    /// It starts where it has died.
    Start(usize, Found),
    /// Sets a station's clock forward.
    StepForward(usize, Duration),
    StepBack(usize, Duration),
    /// Makes it slow or fast, in parts per million.
    Drift(usize, i32),
    /// Suspends the whole machine.
    Suspend(usize, Duration),
    /// Whatever a new configuration may change.
    Reconfigure(usize, Policy),
}

impl World {
    /// Does what a scenario asks for.
    pub(crate) fn act(&mut self, action: &Action) -> Result<(), Violation> {
        if let Action::Carrier(station, _)
        | Action::Ring(station, _)
        | Action::Replay(station, _)
        | Action::Reflect(station, _)
        | Action::Forge(station, _)
        | Action::Lie(station, _)
        | Action::Flood(station, _) = *action
            && self.members[station].frozen_until > self.now
        {
            let thaw = self.members[station].frozen_until;
            self.schedule_at(thaw, Event::Act(Box::new(action.clone())));
            return Ok(());
        }
        self.trace.note(self.now, || Note::Event(format!("{action:?}")));
        match *action {
            Action::Boot(station) => self.boot(station)?,
            Action::Crash(station) => {
                self.tally.restarts += 1;
                self.crash(station);
            }
            Action::Restart(station) => {
                self.tally.restarts += 1;
                self.crash(station);
                self.boot(station)?;
            }
            Action::Carrier(station, up) => {
                self.tally.flaps += u64::from(!up);
                self.set_carrier(station, up)?;
            }
            Action::Rekey => {
                for station in 0..self.members.len() {
                    self.rekey(station)?;
                }
            }
            Action::Ring(station, ref ring) => self.set_ring(station, ring.clone())?,
            Action::Noise(noise) => self.link.set_noise_everywhere(noise),
            Action::NoiseTo(to, noise) => {
                (0..self.members.len()).for_each(|from| self.link.set_noise(from, to, noise));
            }
            Action::Cut(from, to, cut) => {
                self.tally.partitions += u64::from(cut);
                self.link.cut(from, to, cut);
            }
            Action::Split(halves, cut) => {
                self.tally.partitions += u64::from(cut);
                let side = |station: usize| halves >> station & 1;
                for from in 0..self.members.len() {
                    for to in (0..self.members.len()).filter(|&to| side(from) != side(to)) {
                        self.link.cut(from, to, cut);
                    }
                }
            }
            Action::Mood(station, mood) => self.members[station].mood = mood,
            Action::Dry(station, dry) => {
                self.tally.droughts += u64::from(dry);
                self.members[station].set_dry(dry);
            }
            Action::Freeze(station, span) => {
                self.tally.freezes += 1;
                self.members[station].frozen_until = self.now.after(span);
            }
            Action::Exhaust(station) => {
                self.tally.exhaustions += 1;
                self.members[station].secy.nearly_exhaust();
            }
            Action::Lose(station, loss) => self.lose(station, loss),
            Action::Replay(to, count) => self.replay(to, count)?,
            Action::Reflect(to, count) => self.reflect(to, count)?,
            Action::Forge(to, count) => self.forge(to, count)?,
            Action::Lie(to, count) => self.lie(to, count)?,
            Action::Flood(to, count) => self.flood(to, count)?,
            Action::Halt(station, halt) => self.halt(station, halt),
            Action::Start(station, found) => self.start(station, found)?,
            Action::StepForward(..) | Action::StepBack(..) | Action::Drift(..) => {
                self.set_clock(action);
            }
            Action::Suspend(station, span) => self.suspend(station, span),
            Action::Reconfigure(station, ref policy) => {
                self.members[station].next_policy = Some(policy.clone());
            }
        }
        Ok(())
    }
}

/// The keys of all sessions: of both lengths, and with names of different lengths.
pub(crate) fn keys() -> Vec<Arc<Key>> {
    let key = |ckn: &[u8], octets: Vec<u8>| {
        let cak = Cak::new(Zeroizing::new(octets)).unwrap();
        Arc::new(Key { ckn: Ckn::new(ckn).unwrap(), cak })
    };
    vec![
        key(b"A", vec![0x11; 16]),
        key(b"the second key of this link", vec![0x22; 32]),
        key(&[0xcc; 32], vec![0x33; 16]),
    ]
}

/// A policy as most ports have it.
pub(crate) fn policy(station: usize, priority: u8) -> Policy {
    let address = MacAddress([2, 0, 0, 0, 0, u8::try_from(station + 1).unwrap()]);
    Policy {
        sci: Sci::new(address, 1),
        priority: KeyServerPriority(priority),
        cipher_suites: vec![CipherSuite::GcmAesXpn256],
        offset: ConfidentialityOffset::Offset0,
        access: Access::MustSecure,
        replay_protect: true,
        replay_window: 0,
        delay_protect: false,
        include_sci: true,
        rekey_after: None,
        rekey_octets: None,
        destination: MacAddress::PAE_GROUP,
        ethertype: EapolEthertype::default(),
        manners: Manners::default(),
    }
}

/// A station with the first key.
pub(crate) fn setup(station: usize, priority: u8) -> Setup {
    Setup {
        policy: policy(station, priority),
        ring: vec![0],
        preference: Preference::InOrder,
        forced_mis: vec![],
        keeps: false,
    }
}

const fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

const fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

/// How long a session goes on without faults, after the time to recover.
const CALM: Duration = secs(10);

/// Lives through a whole session: faults, recovery, calm. Takes notes where it is to be told.
pub(crate) fn session(seed: u64, is_told: bool) -> (World, Result<(), Violation>) {
    let (mut world, heal) = plan(seed);
    if !is_told {
        world.trace.be_silent();
    }
    let result = live(&mut world, heal);
    (world, result)
}

fn live(world: &mut World, heal: Duration) -> Result<(), Violation> {
    world.run_until(Time::ZERO.after(heal))?;
    if world.oracles.is_lied_to {
        // What was made to be believed can keep members apart for as long as they live.
        for station in 0..world.members.len() {
            world.crash(station);
        }
    }
    world.heal()?;
    world.oracles.is_lied_to = false;
    // Whatever a key roll has left undone is done now: at least one key is everyone's.
    let newest = world.members.iter().map(|of| of.ring[0]).max().unwrap();
    for station in 0..world.members.len() {
        if !world.members[station].ring.contains(&newest) {
            world.set_ring(station, vec![newest])?;
        }
    }
    world.recover()?;
    let middle = world.now.after(world.rng.span(secs(1), secs(5)));
    world.schedule_at(middle, Event::Act(Box::new(Action::Rekey)));
    world.stay_calm(CALM)
}

impl World {
    /// Gives the members the time they have to come together, and sees that they have.
    pub(crate) fn recover(&mut self) -> Result<(), Violation> {
        let until = self.now.after(RECOVERY);
        self.run_until(until)?;
        let missing = self.missing();
        let in_time = self.oracles.recovery.took.is_some();
        ensure(in_time, "I10 liveness", || format!("{RECOVERY:?} after the faults: {missing:?}"))
    }

    /// Lets time pass without faults, and sees that no data frame is lost and no port closes.
    pub(crate) fn stay_calm(&mut self, span: Duration) -> Result<(), Violation> {
        let restless = |world: &Self| {
            let states = world.members.iter().map(|of| of.status(world.now).map(|of| of.state));
            states.collect::<Vec<_>>()
        };
        let before = restless(self);
        let due = self.oracles.losses.due;
        self.lossless = true;
        self.run_until(self.now.after(span))?;
        self.lossless = false;
        self.run_until(self.now.after(millis(1)))?;
        self.oracles.losses.check()?;
        let after = restless(self);
        ensure(before == after, "calm", || format!("before {before:?}, after {after:?}"))?;
        self.agree()?;
        let serves = self.members.iter().any(|member| member.policy.may_serve());
        ensure(!serves || self.oracles.losses.due > due, "calm", || "no traffic".to_owned())
    }
}

impl World {
    /// I12: the SecY is as the driver says, but for the moment that a command takes.
    fn agree(&mut self) -> Result<(), Violation> {
        let wrong = |world: &Self| -> Vec<_> {
            let claims = world.members.iter().map(|of| of.secured_with(world.now));
            let wrong = claims.filter_map(Result::err).filter(|why| why.starts_with("claims"));
            wrong.collect()
        };
        let first = wrong(self);
        self.run_until(self.now.after(millis(5)))?;
        let second = wrong(self);
        ensure(first.is_empty() || first != second, "I12 intent", || second.join(", "))
    }
}

/// Tells a violation with all that is needed to understand it and to see it again.
pub(crate) fn report(world: &World, violation: &Violation) -> String {
    let World { seed, now, .. } = world;
    format!(
        "\nsim: VIOLATION seed={seed} at {now} s\n  {violation}\n{world}\
         replay: SIM_SEED={seed} make sim SESSIONS=1\n"
    )
}
