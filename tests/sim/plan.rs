//! What goes wrong in a session, drawn from its seed.

use std::time::Duration;

use macsecd::ident::{CipherSuite, ConfidentialityOffset, KeyServerPriority};
use macsecd::keyring::Preference;
use macsecd::mka::{Access, IcvIndicator, Manners, MkaVersion, Policy, SsciOrder};

use crate::link::Noise;
use crate::loss::{Loss, Lost};
use crate::member::{Mood, Refusals, Setup};
use crate::restart::{Found, Halt};
use crate::rng::Rng;
use crate::scenario::{Action, keys, setup};
use crate::world::{Event, World};

const fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

const fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
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
        setup.keeps = rng.chance(500);
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

/// Draws up what will go wrong until `heal`.
struct Planner<'a> {
    world: &'a mut World,
    rng: Rng,
    heal: Duration,
}

impl Planner<'_> {
    fn at(&mut self, at: Duration, action: Action) {
        if at < self.heal {
            self.world.schedule(at, Event::Act(Box::new(action)));
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
        match self.rng.below(24) {
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
            16 | 17 => self.halt(at, station),
            18 => self.halt_in_mid_rekey(at, station),
            19 => self.halt_with_others(at, station),
            20 => self.clock(at, station),
            21 => self.suspend(at, station),
            22 => self.lie(at, station),
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

    /// Mostly the record is there as it was kept last.
    fn a_halt(&mut self, station: usize) -> Halt {
        let other = self.other(station);
        let rng = &mut self.rng;
        let longest = rng.pick(&[millis(5), millis(300), secs(2), secs(4), secs(8)]);
        let most = rng.pick(&[1, 1, 6, 40]);
        Halt {
            after: rng.below(most),
            carried_out: rng.pick(&[0, 1, 2, usize::MAX]),
            downtime: rng.span(millis(1), longest),
            found: match rng.below(12) {
                0 => Found::Earlier(rng.below(4)),
                1 => Found::Damaged(rng.below(1 << 16)),
                2 => Found::Foreign(other),
                3 => Found::Nothing,
                _ => Found::Last,
            },
        }
    }

    /// Once, or again and again.
    fn halt(&mut self, at: Duration, station: usize) {
        let mut at = at;
        for _ in 0..self.rng.pick(&[1, 1, 2, 6]) {
            let halt = self.a_halt(station);
            self.at(at, Action::Halt(station, halt));
            at += halt.downtime + self.rng.span(Duration::ZERO, secs(3));
        }
    }

    fn halt_in_mid_rekey(&mut self, at: Duration, station: usize) {
        let halt = self.a_halt(station);
        let after = self.rng.below(20);
        self.at(at, Action::Halt(station, Halt { after, ..halt }));
        self.at(at, Action::Rekey);
    }

    /// While it is down its configuration is changed, its data plane loses something, the link
    /// fails or another one dies.
    fn halt_with_others(&mut self, at: Duration, station: usize) {
        let halt = self.a_halt(station);
        self.at(at, Action::Halt(station, halt));
        let meanwhile = at + self.rng.span(Duration::ZERO, halt.downtime);
        let other = self.other(station);
        match self.rng.below(5) {
            0 => {
                let loss = self.loss();
                self.at(meanwhile, Action::Lose(station, loss));
            }
            1 => {
                let policy = self.other_policy(station);
                self.at(at, Action::Reconfigure(station, policy));
            }
            2 => self.flap(meanwhile, station),
            3 => self.at(meanwhile, Action::Rekey),
            _ => {
                let halt = self.a_halt(other);
                self.at(meanwhile, Action::Halt(other, halt));
            }
        }
    }

    fn other_policy(&mut self, station: usize) -> Policy {
        let mut policy = self.world.members[station].policy.clone();
        let rng = &mut self.rng;
        if policy.may_serve() {
            policy.priority = KeyServerPriority(rng.pick(&[0, 16, 32, 128, 200]));
        }
        policy.delay_protect = rng.chance(500);
        policy.replay_window = rng.pick(&[0, 64]);
        policy.cipher_suites.rotate_left(1);
        policy.rekey_after = rng.chance(500).then(|| rng.span(secs(4), secs(40)));
        policy
    }

    fn clock(&mut self, at: Duration, station: usize) {
        let step = self.rng.pick(&[secs(1), secs(5), secs(7), secs(3600), secs(31_557_600)]);
        let back = self.rng.pick(&[millis(10), secs(1), secs(5)]);
        let action = match self.rng.below(4) {
            0 => Action::StepForward(station, self.rng.span(millis(1), step)),
            1 => Action::StepBack(station, self.rng.span(millis(1), back)),
            _ => Action::Drift(station, self.rng.pick(&[-300, -100, 100, 300])),
        };
        self.at(at, action);
    }

    fn suspend(&mut self, at: Duration, station: usize) {
        let longest = self.rng.pick(&[millis(500), secs(3), secs(8), secs(20)]);
        let span = self.rng.span(millis(10), longest);
        self.at(at, Action::Suspend(station, span));
    }

    fn lie(&mut self, at: Duration, station: usize) {
        for _ in 0..1 + self.rng.below(10) {
            let at = at + self.rng.span(Duration::ZERO, secs(5));
            let lie = match self.rng.below(8) {
                0 => Action::Flood(station, 50),
                _ => Action::Lie(station, 1),
            };
            self.at(at, lie);
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
