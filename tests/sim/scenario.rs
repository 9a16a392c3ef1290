//! What happens in a session: chosen by its seed, or by a test.

use std::sync::Arc;
use std::time::Duration;

use macsecd::crypto::Cak;
use macsecd::ident::{CipherSuite, Ckn, ConfidentialityOffset, KeyServerPriority, MacAddress, Sci};
use macsecd::keyring::{Key, Preference};
use macsecd::mka::{Access, IcvIndicator, Manners, MkaVersion, Policy, SsciOrder};
use macsecd::time::Time;
use macsecd::wire::EapolEthertype;
use zeroize::Zeroizing;

use crate::link::Noise;
use crate::loss::{Loss, Lost};
use crate::member::{Mood, Refusals, Setup};
use crate::oracles::{RECOVERY, Violation, ensure};
use crate::rng::Rng;
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
}

impl World {
    /// Does what a scenario asks for.
    pub(crate) fn act(&mut self, action: &Action) -> Result<(), Violation> {
        if let Action::Carrier(station, _)
        | Action::Ring(station, _)
        | Action::Replay(station, _)
        | Action::Reflect(station, _)
        | Action::Forge(station, _) = *action
            && self.members[station].frozen_until > self.now
        {
            let thaw = self.members[station].frozen_until;
            self.schedule_at(thaw, Event::Act(action.clone()));
            return Ok(());
        }
        self.trace.note(self.now, Note::Event(format!("{action:?}")));
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
    }
}

/// The stations of a session: two for the most part, for that is what a port has to do with.
fn setups(rng: &mut Rng) -> Vec<Setup> {
    let count = rng.pick(&[2, 2, 2, 2, 3, 3, 3, 4, 4, 5]);
    let mut suites = CipherSuite::ALL.to_vec();
    rng.shuffle(&mut suites);
    suites.truncate(rng.pick(&[1, 1, 1, 2, 4]));
    // Each has some of them, but all have this one, and all say what they have.
    let differ = rng.chance(200).then(|| suites[0]);
    let nobody_serves = rng.chance(20);
    let mut stations: Vec<_> = (0..count).collect();
    rng.shuffle(&mut stations);
    let one = |station| {
        let mut setup = setup(station, rng.pick(&[0, 16, 16, 32, 128, 200, 200, 254, 255]));
        if nobody_serves {
            setup.policy.priority = KeyServerPriority::NEVER;
        }
        rng.shuffle(&mut suites);
        setup.policy.cipher_suites.clone_from(&suites);
        setup.policy.offset = rng.pick(&[
            ConfidentialityOffset::Offset0,
            ConfidentialityOffset::Offset0,
            ConfidentialityOffset::IntegrityOnly,
            ConfidentialityOffset::Offset50,
        ]);
        setup.policy.access =
            if rng.chance(800) { Access::MustSecure } else { Access::ShouldSecure };
        if let Some(common) = differ {
            setup.policy.cipher_suites.retain(|&of| of == common || rng.chance(500));
        }
        setup.policy.delay_protect = rng.chance(200);
        setup.policy.manners = manners(rng);
        setup.policy.manners.announce |= differ.is_some();
        if rng.chance(400) {
            setup.preference = Preference::LastSpoken;
        }
        setup.policy.replay_window = rng.pick(&[0, 0, 64]);
        setup.policy.rekey_after =
            rng.chance(400).then(|| rng.span(Duration::from_secs(4), Duration::from_secs(40)));
        setup
    };
    stations.into_iter().map(one).collect()
}

/// The ways of a station, which nobody else may have to share.
fn manners(rng: &mut Rng) -> Manners {
    Manners {
        version: rng.pick(&[MkaVersion::V3, MkaVersion::V3, MkaVersion::V2, MkaVersion::V1]),
        icv_indicator: rng.pick(&[IcvIndicator::Auto, IcvIndicator::On, IcvIndicator::Off]),
        lone_key_in_latest: rng.chance(300),
        announce: rng.chance(300),
        ssci: if rng.chance(200) { SsciOrder::BySci } else { SsciOrder::Stated },
        ..Manners::default()
    }
}

const fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

const fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

/// Draws up what will go wrong until `heal`.
struct Planner<'a> {
    world: &'a mut World,
    rng: Rng,
    heal: Duration,
}

impl Planner<'_> {
    fn at(&mut self, at: Duration, action: Action) {
        if at < self.heal {
            self.world.schedule(at, Event::Act(action));
        }
    }

    fn moment(&mut self) -> Duration {
        self.rng.span(millis(500), self.heal)
    }

    fn station(&mut self) -> usize {
        self.rng.below(self.world.members.len())
    }

    fn other(&mut self, station: usize) -> usize {
        let count = self.world.members.len();
        (station + 1 + self.rng.below(count - 1)) % count
    }

    fn noise(&mut self) -> Noise {
        let rng = &mut self.rng;
        let worst = rng.pick(&[50, 300, 600]);
        Noise {
            loss: rng.below(worst) as u16,
            duplication: rng.pick(&[0, 50, 300]),
            reordering: rng.pick(&[0, 20, 100]),
            flip: rng.pick(&[0, 5, 50]),
            jitter: rng.pick(&[millis(0), millis(1), millis(20), millis(500), secs(2)]),
        }
    }

    /// Adds one trouble, or several that belong together.
    fn trouble(&mut self) {
        let (at, station) = (self.moment(), self.station());
        match self.rng.below(17) {
            0 | 1 => self.noisy_while(at, station),
            2 => self.at(at, Action::Restart(station)),
            3 => self.crash_while(at, station),
            4 => self.flap(at, station),
            5 => self.at(at, Action::Rekey),
            6 => self.key_roll(at),
            7 | 8 => self.cut_while(at, station),
            9 => self.exhaust(at, station),
            10 => self.unwilling_while(at, station),
            11 => self.dry_while(at, station),
            12 => self.restart_in_mid_rekey(at, station),
            13 => self.freeze(at, station),
            14 => self.lose(at, station),
            15 => self.lose_in_mid_rekey(at, station),
            _ => self.outsider(at, station),
        }
    }

    fn noisy_while(&mut self, at: Duration, station: usize) {
        let (noise, quiet) = (self.noise(), Noise::default());
        let end = at + self.rng.span(secs(1), secs(20));
        let (begin, end_of) = if self.rng.chance(500) {
            (Action::Noise(noise), Action::Noise(quiet))
        } else {
            (Action::NoiseTo(station, noise), Action::NoiseTo(station, quiet))
        };
        self.at(at, begin);
        self.at(end, end_of);
    }

    fn crash_while(&mut self, at: Duration, station: usize) {
        let end = at + self.rng.span(millis(10), secs(10));
        self.at(at, Action::Crash(station));
        self.at(end, Action::Boot(station));
    }

    fn flap(&mut self, at: Duration, station: usize) {
        let longest = self.rng.pick(&[millis(20), secs(2), secs(5), secs(9)]);
        let end = at + self.rng.span(millis(10), longest);
        self.at(at, Action::Carrier(station, false));
        self.at(end, Action::Carrier(station, true));
    }

    /// Everyone gets the new key first and loses the old one last, or one is late.
    fn key_roll(&mut self, at: Duration) {
        let late = self.rng.pick(&[secs(1), secs(5), secs(15)]);
        let (old, new) = self.rng.pick(&[(0, 1), (0, 2), (1, 0)]);
        for station in 0..self.world.members.len() {
            let added = at + self.rng.span(Duration::ZERO, late);
            self.at(added, Action::Ring(station, vec![new, old]));
            let removed = at + late + self.rng.span(secs(1), secs(15));
            self.at(removed, Action::Ring(station, vec![new]));
        }
    }

    fn cut_while(&mut self, at: Duration, station: usize) {
        let longest = self.rng.pick(&[secs(3), secs(7), secs(9), secs(20)]);
        let end = at + self.rng.span(millis(100), longest);
        let halves = 1 + self.rng.below((1 << self.world.members.len()) - 2);
        let other = self.other(station);
        let cut: fn(usize, usize, usize, bool) -> Action = match self.rng.below(3) {
            0 => |_, _, halves, cut| Action::Split(halves, cut),
            _ => |station, other, _, cut| Action::Cut(station, other, cut),
        };
        self.at(at, cut(station, other, halves, true));
        self.at(end, cut(station, other, halves, false));
    }

    fn freeze(&mut self, at: Duration, station: usize) {
        let longest = self.rng.pick(&[millis(50), secs(2), secs(5), secs(9)]);
        let span = self.rng.span(millis(1), longest);
        self.at(at, Action::Freeze(station, span));
        if self.rng.chance(500) {
            self.at(at, Action::Rekey);
        }
    }

    fn exhaust(&mut self, at: Duration, station: usize) {
        self.at(at, Action::Exhaust(station));
    }

    fn unwilling_while(&mut self, at: Duration, station: usize) {
        let mood = Mood {
            refusal: self.rng.pick(&[0, 300, 1000]),
            refusals: self.rng.pick(&[Refusals::Keys, Refusals::Settings, Refusals::All]),
            delay: self.rng.pick(&[millis(0), millis(50), secs(1), secs(3)]),
        };
        let end = at + self.rng.span(millis(100), secs(6));
        self.at(at, Action::Mood(station, mood));
        if self.rng.chance(500) {
            self.at(at + millis(1), Action::Rekey);
        }
        self.at(end, Action::Mood(station, Mood::default()));
    }

    fn dry_while(&mut self, at: Duration, station: usize) {
        let end = at + self.rng.span(millis(100), secs(5));
        self.at(at, Action::Dry(station, true));
        self.at(at + millis(1), Action::Rekey);
        self.at(end, Action::Dry(station, false));
    }

    fn restart_in_mid_rekey(&mut self, at: Duration, station: usize) {
        let later = self.rng.span(Duration::ZERO, millis(5));
        self.at(at, Action::Rekey);
        self.at(at + later, Action::Restart(station));
    }

    fn loss(&mut self) -> Loss {
        Loss {
            what: self.rng.pick(&[Lost::InUse, Lost::InUse, Lost::Spare, Lost::Any, Lost::All]),
            wholly: self.rng.chance(500),
            told_after: self.rng.pick(&[millis(0), millis(1), millis(100), secs(1)]),
        }
    }

    /// Once, or again and again.
    fn lose(&mut self, at: Duration, station: usize) {
        let mut at = at;
        for _ in 0..self.rng.pick(&[1, 1, 2, 10]) {
            let loss = self.loss();
            self.at(at, Action::Lose(station, loss));
            at += self.rng.span(Duration::ZERO, secs(4));
        }
    }

    fn lose_in_mid_rekey(&mut self, at: Duration, station: usize) {
        self.at(at, Action::Rekey);
        for _ in 0..self.rng.pick(&[1, 2]) {
            let longest = self.rng.pick(&[millis(5), millis(5), secs(4)]);
            let (later, loss) = (self.rng.span(Duration::ZERO, longest), self.loss());
            self.at(at + later, Action::Lose(station, loss));
        }
    }

    fn outsider(&mut self, at: Duration, station: usize) {
        for _ in 0..self.rng.below(20) {
            let at = at + self.rng.span(Duration::ZERO, secs(5));
            let count = self.rng.pick(&[1, 1, 3, 10]);
            let action = self.rng.pick(&[Action::Replay, Action::Reflect, Action::Forge]);
            self.at(at, action(station, count));
        }
    }

    fn boots(&mut self) {
        let slow = self.rng.pick(&[millis(10), secs(3), secs(30)]);
        for station in 0..self.world.members.len() {
            let at = self.rng.span(Duration::ZERO, slow.min(self.heal));
            self.at(at, Action::Boot(station));
        }
    }
}

/// Makes the world of a seed, with all that will go wrong in it up to the returned moment.
pub(crate) fn plan(seed: u64) -> (World, Duration) {
    let mut rng = Rng::new(seed ^ 0x5ce0_0000);
    let mut world = World::new(seed, keys(), setups(&mut rng));
    let heal = rng.span(secs(30), secs(80));
    world.traffic_every = rng.pick(&[millis(200), millis(500)]);
    let mut planner = Planner { world: &mut world, rng, heal };
    planner.boots();
    if planner.rng.chance(300) {
        let noise = planner.noise();
        planner.at(Duration::ZERO, Action::Noise(noise));
    }
    for _ in 0..planner.rng.pick(&[1, 2, 3, 5, 8]) {
        planner.trouble();
    }
    (world, heal)
}

/// How long a session goes on without faults, after the time to recover.
const CALM: Duration = secs(10);

/// Lives through a whole session: faults, recovery, calm.
pub(crate) fn session(seed: u64) -> (World, Result<(), Violation>) {
    let (mut world, heal) = plan(seed);
    let result = live(&mut world, heal);
    (world, result)
}

fn live(world: &mut World, heal: Duration) -> Result<(), Violation> {
    world.run_until(Time::ZERO.after(heal))?;
    world.heal()?;
    // Whatever a key roll has left undone is done now: at least one key is everyone's.
    let newest = world.members.iter().map(|of| of.ring[0]).max().unwrap();
    for station in 0..world.members.len() {
        if !world.members[station].ring.contains(&newest) {
            world.set_ring(station, vec![newest])?;
        }
    }
    world.recover()?;
    let middle = world.now.after(world.rng.span(secs(1), secs(5)));
    world.schedule_at(middle, Event::Act(Action::Rekey));
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
