//! A daemon that dies before each single effect of a scenario, and goes on by its record.

use super::*;
use crate::number;
use crate::restart::{Found, Halt};
use crate::rng::Rng;

/// What is going on.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Script {
    /// All start at once.
    Agreement,
    /// A fresh SAK.
    Rekey,
    /// Another CAK, at all stations one after the other.
    Rollover,
    /// The last station starts.
    Joins,
    /// The last station loses its carrier for good.
    Leaves,
    /// The last station starts, and is the better key server.
    Takes,
}

use Script::{Agreement, Joins, Leaves, Rekey, Rollover, Takes};

/// How long a script goes on, and how long afterwards all must stand well.
const SPAN: Duration = secs(8);

impl Script {
    /// The stations, as they are before it begins.
    fn set_up(self, stations: usize, suite: CipherSuite) -> Sim {
        let priority = |station| if self == Takes && station + 1 == stations { 1 } else { 16 };
        let setups = (0..stations).map(|station| {
            let mut setup = setup(station, priority(station));
            setup.keeps = true;
            setup.policy.cipher_suites = vec![suite];
            setup
        });
        let mut sim = Sim::new(setups.collect());
        sim.0.traffic_every = millis(20);
        let before = match self {
            Agreement => 0,
            Rekey | Rollover | Leaves => stations,
            Joins | Takes => stations - 1,
        };
        (0..before).for_each(|station| sim.act(Action::Boot(station)));
        sim.run(secs(10));
        sim
    }

    fn begin(self, sim: &mut Sim) {
        let stations = sim.0.members.len();
        match self {
            Agreement => sim.boot_all(),
            Rekey => sim.act(Action::Rekey),
            Rollover => {
                (0..stations).for_each(|of| sim.act(Action::Ring(of, vec![1, 0])));
            }
            Joins | Takes => sim.act(Action::Boot(stations - 1)),
            Leaves => sim.act(Action::Carrier(stations - 1, false)),
        }
    }

    /// Whether no frame may be lost meanwhile, by a daemon that dies or otherwise.
    fn is_seamless(self) -> bool {
        matches!(self, Rekey | Rollover)
    }

    /// Lives through it with these daemons dying, and sees that all comes out well.
    fn live(self, stations: usize, suite: CipherSuite, halts: &[(usize, Halt)]) -> Sim {
        let mut sim = self.set_up(stations, suite);
        sim.0.lossless = self.is_seamless();
        for &(station, halt) in halts {
            // One that is to start only now has nothing to die of yet.
            sim.0.members[station].keeping.halt = Some(halt);
        }
        self.begin(&mut sim);
        sim.run(SPAN);
        if self == Leaves {
            sim.act(Action::Carrier(stations - 1, true));
        }
        sim.0.lossless = false;
        sim.heal();
        sim.calm(secs(3));
        sim
    }
}

/// How many effects each station has in a script, and how many SAKs are made.
fn measure(script: Script, stations: usize, suite: CipherSuite) -> (Vec<usize>, usize) {
    let mut sim = script.set_up(stations, suite);
    let effects = |sim: &Sim| -> Vec<_> {
        sim.0.members.iter().map(|member| member.keeping.effects).collect()
    };
    let before = effects(&sim);
    script.begin(&mut sim);
    sim.run(SPAN);
    let counts = effects(&sim).iter().zip(before).map(|(after, before)| after - before).collect();
    let whole = script.live(stations, suite, &[]);
    (counts, whole.0.oracles.keys.count())
}

fn every_effect(script: Script, stations: usize, suite: CipherSuite) {
    let (effects, saks) = measure(script, stations, suite);
    let mut runs = 0;
    for (station, &count) in effects.iter().enumerate() {
        assert!(count > 0, "{script:?} has nothing to do with station {station}");
        for after in 0..count {
            for carried_out in [0, usize::MAX] {
                for downtime in [millis(5), secs(3)] {
                    let halt = Halt { after, carried_out, downtime, found: Found::Last };
                    let sim = script.live(stations, suite, &[(station, halt)]);
                    check(script, &sim, station, saks, halt);
                    runs += 1;
                }
            }
        }
    }
    println!("crashes: {script:?} of {stations} with {suite}: {runs} runs, {saks} SAKs");
}

/// A restart in a session that was secured goes on, and nobody makes an SAK for it. But one that may
/// have been installed and was not is never installed. Another takes its place, or two, where a
/// member of three has to become a new one for it.
fn check(script: Script, sim: &Sim, station: usize, saks: usize, halt: Halt) {
    let member = &sim.0.members[station];
    let (warm, cold) = (member.keeping.warm, member.keeping.cold);
    let of =
        || format!("{script:?} station {station} {halt:?}: {warm} warm, {cold} cold\n{}", sim.0);
    assert_eq!(warm + cold, 1, "{}", of());
    if script.is_seamless() {
        assert_eq!(cold, 0, "{}", of());
    }
    let spoiled = if sim.0.members.len() == 2 { 1 } else { 2 };
    if warm == 1 {
        assert!(sim.0.oracles.keys.count() <= saks + spoiled, "{}", of());
    }
}

macro_rules! at_every_effect {
    ($($name:ident: $script:ident of $stations:literal,)*) => {
        $(#[test]
        fn $name() {
            every_effect($script, $stations, CipherSuite::GcmAesXpn256);
            if $stations == 2 {
                every_effect($script, $stations, CipherSuite::GcmAes128);
            }
        })*
    };
}

at_every_effect! {
    at_every_effect_of_a_first_agreement: Agreement of 2,
    at_every_effect_of_a_first_agreement_of_three: Agreement of 3,
    at_every_effect_of_a_rekey: Rekey of 2,
    at_every_effect_of_a_rekey_of_three: Rekey of 3,
    at_every_effect_of_a_rollover: Rollover of 2,
    at_every_effect_of_a_rollover_of_three: Rollover of 3,
    at_every_effect_of_a_member_that_joins: Joins of 3,
    at_every_effect_of_a_member_that_leaves: Leaves of 3,
    at_every_effect_of_a_change_of_key_server: Takes of 3,
}

/// It alone no longer hears another member, and the SAK stays. Whom it was to forget when it died
/// may still be received, and comes back.
#[test]
fn at_every_effect_of_a_member_that_loses_another() {
    for after in 0..40 {
        for carried_out in [0, usize::MAX] {
            let mut sim = Rekey.set_up(3, CipherSuite::GcmAes128);
            let before = sim.common_sak();
            sim.cut(1, 2);
            sim.run(millis(3_900));
            let downtime = millis(100);
            let halt = Halt { after, carried_out, downtime, found: Found::Last };
            sim.0.members[2].keeping.halt = Some(halt);
            sim.run(millis(2_800));
            sim.join(1, 2);
            sim.run(secs(3));
            sim.heal();
            sim.calm(secs(3));
            assert_eq!(sim.common_sak(), before);
        }
    }
}

/// Two daemons die, or one dies twice, anywhere. `SIM_PAIRS` asks for more of them.
#[test]
fn pairs_of_crashes_anywhere_are_survived() {
    let mut rng = Rng::new(7);
    for _ in 0..number("SIM_PAIRS", 300) {
        let stations = rng.pick(&[2, 2, 3]);
        let script = match stations {
            2 => rng.pick(&[Agreement, Rekey, Rollover]),
            _ => rng.pick(&[Agreement, Rekey, Rollover, Joins, Leaves, Takes]),
        };
        let mut a_halt = || Halt {
            after: rng.below(40),
            carried_out: rng.pick(&[0, 1, 2, usize::MAX]),
            downtime: rng.span(millis(1), secs(5)),
            found: Found::Last,
        };
        let (first, second) = (a_halt(), a_halt());
        let (one, other) = (rng.below(stations), rng.below(stations));
        let suite = rng.pick(&[CipherSuite::GcmAesXpn256, CipherSuite::GcmAes256]);
        let mut sim = script.set_up(stations, suite);
        sim.0.members[one].keeping.halt = Some(first);
        script.begin(&mut sim);
        let between = rng.span(Duration::ZERO, secs(4));
        sim.run(between);
        if sim.0.members[other].driver.is_some() {
            sim.0.members[other].keeping.halt = Some(second);
        }
        sim.run(secs(10));
        if script == Leaves {
            sim.act(Action::Carrier(stations - 1, true));
        }
        sim.heal();
        sim.calm(secs(3));
    }
}

/// A record that is damaged, of another station, or not there begins afresh, and all are secured.
#[test]
fn a_record_that_is_not_good_is_not_gone_by() {
    let founds = [Found::Damaged(77), Found::Damaged(900), Found::Foreign(1), Found::Nothing];
    for found in founds {
        let mut sim = Rekey.set_up(2, CipherSuite::GcmAes128);
        let halt = Halt { after: 0, carried_out: 0, downtime: secs(1), found };
        sim.act(Action::Halt(0, halt));
        sim.run(secs(2));
        assert_eq!((sim.0.tally.warm_restarts, sim.0.tally.cold_restarts), (0, 1), "{found:?}");
        sim.heal();
        sim.calm(secs(5));
    }
}

/// One from before the last steps is either not gone by or does no harm, whatever it was about.
#[test]
fn a_record_that_is_a_little_old_repeats_nothing() {
    for station in 0..2 {
        for (after, back) in (0..30).flat_map(|after| (0..12).map(move |back| (after, back))) {
            let mut sim = Rekey.set_up(2, CipherSuite::GcmAes128);
            let (carried_out, downtime) = (usize::MAX, millis(200));
            let halt = Halt { after, carried_out, downtime, found: Found::Earlier(back) };
            sim.0.members[station].keeping.halt = Some(halt);
            sim.act(Action::Rekey);
            sim.run(secs(5));
            sim.act(Action::Rekey);
            sim.heal();
            sim.calm(secs(5));
        }
    }
}
