//! Scenarios that have a name: each of them once, step by step, under all oracles.

use std::time::Duration;

use macsecd::ident::{CipherSuite, KeyId};
use macsecd::mka::{KeyServer, PortState};

use crate::link::Noise;
use crate::member::{Mood, Refusals, Setup};
use crate::oracles::{RECOVERY, Violation};
use crate::scenario::{Action, keys, report, setup};
use crate::world::World;

const fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

const fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

/// A world of which a test expects that no oracle ever objects.
struct Sim(World);

impl Sim {
    /// Stations with nothing wrong between them, none of them started.
    fn new(setups: Vec<Setup>) -> Self {
        Self(World::new(1, keys(), setups))
    }

    /// Stations of these priorities, all started at once.
    fn started(priorities: &[u8]) -> Self {
        let setups = priorities.iter().enumerate().map(|(station, &of)| setup(station, of));
        let mut sim = Self::new(setups.collect());
        sim.boot_all();
        sim
    }

    fn boot_all(&mut self) {
        (0..self.0.members.len()).for_each(|station| self.act(Action::Boot(station)));
    }

    fn check<T>(&self, result: Result<T, Violation>) -> T {
        result.unwrap_or_else(|violation| panic!("{}", report(&self.0, &violation)))
    }

    fn act(&mut self, action: Action) {
        let result = self.0.act(&action);
        self.check(result);
    }

    fn run(&mut self, span: Duration) {
        let result = self.0.run_until(self.0.now.after(span));
        self.check(result);
    }

    /// Ends all faults, and sees that the members come together.
    fn heal(&mut self) {
        let result = self.0.heal().and_then(|()| self.0.recover());
        self.check(result);
    }

    /// Lets time pass in which no data frame may be lost.
    fn calm(&mut self, span: Duration) {
        let result = self.0.stay_calm(span);
        self.check(result);
    }

    /// The SAK with which all are secured.
    fn common_sak(&self) -> KeyId {
        assert_eq!(self.0.missing(), None, "{}", self.0);
        self.sak(0)
    }

    fn sak(&self, station: usize) -> KeyId {
        self.0.members[station].secured_with(self.0.now).unwrap()
    }

    fn state(&self, station: usize) -> PortState {
        self.0.members[station].status(self.0.now).unwrap().state
    }

    fn key_server(&self, station: usize) -> Option<KeyServer> {
        self.0.members[station].status(self.0.now).unwrap().key_server
    }

    fn cut(&mut self, from: usize, to: usize) {
        self.act(Action::Cut(from, to, true));
    }

    fn join(&mut self, from: usize, to: usize) {
        self.act(Action::Cut(from, to, false));
    }
}

#[test]
fn two_members_are_secured_within_100_ms() {
    let mut sim = Sim::started(&[200, 16]);
    sim.run(millis(100));
    sim.common_sak();
    assert_eq!(sim.key_server(1), Some(KeyServer::Own));
    sim.calm(secs(10));
}

#[test]
fn three_and_five_members_are_secured_within_a_second() {
    for priorities in [&[16, 32, 48][..], &[48, 48, 32, 255, 48]] {
        let mut sim = Sim::started(priorities);
        sim.run(secs(1));
        sim.common_sak();
        sim.calm(secs(10));
    }
}

#[test]
fn members_that_start_one_after_the_other_are_secured_with_one_sak() {
    let mut sim = Sim::new((0..5).map(|station| setup(station, 16)).collect());
    for station in [3, 1, 4, 0, 2] {
        sim.act(Action::Boot(station));
        sim.run(secs(3));
    }
    sim.run(secs(5));
    sim.common_sak();
}

/// At 30 % loss a direction falls silent for an MKA Life Time now and then; it has to come back.
#[test]
fn a_link_that_loses_30_percent_is_secured_again_and_again() {
    let mut sim = Sim::started(&[16, 200]);
    sim.act(Action::Noise(Noise { loss: 300, ..Noise::default() }));
    let mut secured = 0;
    for _ in 0..300 {
        sim.run(secs(1));
        secured += u32::from((0..2).all(|station| sim.state(station) == PortState::Secured));
    }
    assert!(secured > 200, "{secured} of 300 seconds");
    sim.heal();
    sim.calm(secs(5));
}

/// The key server goes on hearing the member, which has lost the key server and the SAK with it.
/// With a stop between one hello and an MKA Life Time the server never notices.
#[test]
fn one_way_losses_of_any_length_heal() {
    for (from, to) in [(0, 1), (1, 0)] {
        for length in (1_000..14_000).step_by(250) {
            let mut sim = Sim::started(&[16, 200]);
            sim.run(secs(3));
            sim.cut(from, to);
            sim.run(millis(length));
            sim.join(from, to);
            sim.heal();
            sim.common_sak();
        }
    }
}

/// It is heard all the time, but does not hear.
#[test]
fn a_peer_that_no_longer_hears_us_is_not_live() {
    for (from, to) in [(0, 1), (1, 0)] {
        let mut sim = Sim::started(&[16, 200]);
        sim.run(secs(5));
        sim.cut(from, to);
        sim.run(secs(13));
        assert_ne!(sim.state(0), PortState::Secured);
        assert_ne!(sim.state(1), PortState::Secured);
    }
}

#[test]
fn one_way_losses_between_three_heal() {
    for (from, to) in [(0, 1), (1, 0), (1, 2), (2, 1)] {
        for length in (4_000..14_000).step_by(500) {
            let mut sim = Sim::started(&[16, 64, 200]);
            sim.run(secs(3));
            sim.cut(from, to);
            sim.run(millis(length));
            sim.join(from, to);
            sim.heal();
            sim.common_sak();
        }
    }
}

#[test]
fn a_restarted_key_server_is_secured_at_once() {
    let mut sim = Sim::started(&[16, 200]);
    sim.run(secs(10));
    let before = sim.common_sak();
    sim.act(Action::Restart(0));
    sim.run(millis(100));
    assert_ne!(sim.common_sak(), before);
    sim.calm(secs(10));
}

#[test]
fn a_peer_restarted_within_two_seconds_of_an_sak_is_secured_at_once() {
    let mut sim = Sim::started(&[16, 200]);
    sim.run(millis(1900));
    let before = sim.common_sak();
    sim.act(Action::Restart(1));
    sim.run(millis(100));
    assert_ne!(sim.common_sak(), before);
    sim.calm(secs(10));
}

/// Within SAK Retire Time of the changeover the next SAK waits for the old one to retire.
#[test]
fn restarts_at_every_step_of_a_rekey_are_survived() {
    for station in 0..2 {
        for micros in (0..2_000).step_by(50) {
            let mut sim = Sim::started(&[16, 200]);
            sim.run(secs(5));
            sim.act(Action::Rekey);
            sim.run(Duration::from_micros(micros));
            sim.act(Action::Restart(station));
            sim.run(millis(3_100));
            sim.common_sak();
        }
    }
}

#[test]
fn a_better_key_server_that_joins_takes_over() {
    let mut sim = Sim::new(vec![setup(0, 32), setup(1, 200), setup(2, 16)]);
    sim.act(Action::Boot(0));
    sim.act(Action::Boot(1));
    sim.run(secs(10));
    assert_eq!(sim.key_server(0), Some(KeyServer::Own));

    sim.act(Action::Boot(2));
    sim.run(secs(7));
    sim.common_sak();
    assert_eq!(sim.key_server(2), Some(KeyServer::Own));
    let better = KeyServer::Peer(sim.0.members[2].sci());
    assert_eq!((sim.key_server(0), sim.key_server(1)), (Some(better), Some(better)));
    sim.calm(secs(5));
}

#[test]
fn a_key_server_that_dies_is_replaced_by_the_next_best() {
    let mut sim = Sim::started(&[32, 200, 16]);
    sim.run(secs(10));
    sim.act(Action::Crash(2));
    sim.run(secs(8));
    assert_eq!(sim.key_server(0), Some(KeyServer::Own));
    assert_eq!(sim.sak(0), sim.sak(1));
}

/// Association numbers go round twice.
#[test]
fn eight_rekeys_under_traffic_lose_nothing() {
    for suite in CipherSuite::ALL {
        let mut setups: Vec<_> = (0..3).map(|station| setup(station, 16)).collect();
        setups.iter_mut().for_each(|of| of.policy.cipher_suites = vec![suite]);
        let mut sim = Sim::new(setups);
        sim.boot_all();
        sim.run(secs(2));
        for _ in 0..8 {
            let before = sim.common_sak();
            sim.0.traffic_every = millis(1);
            sim.act(Action::Rekey);
            sim.calm(millis(200));
            sim.0.traffic_every = millis(100);
            sim.calm(secs(4));
            assert_ne!(sim.common_sak(), before);
        }
    }
}

#[test]
fn a_rekey_before_the_last_one_is_over_loses_nothing() {
    let mut sim = Sim::started(&[16, 200]);
    sim.run(secs(2));
    sim.0.traffic_every = millis(1);
    for _ in 0..20 {
        sim.act(Action::Rekey);
        sim.calm(millis(300));
    }
    sim.calm(secs(5));
    sim.common_sak();
}

#[test]
fn an_old_sak_is_replaced_by_itself() {
    let mut first = setup(0, 16);
    first.policy.rekey_after = Some(secs(10));
    let mut sim = Sim::new(vec![first, setup(1, 200)]);
    sim.boot_all();
    sim.run(secs(5));
    let before = sim.common_sak();
    sim.calm(secs(8));
    assert_ne!(sim.common_sak(), before);
}

#[test]
fn a_key_roll_with_both_keys_at_both_ends_loses_nothing() {
    for stations in [2, 3] {
        for first in 0..stations {
            let mut sim = Sim::started(&[16, 100, 200][..stations]);
            sim.run(secs(3));
            let before = sim.common_sak();
            for step in 0..stations {
                sim.act(Action::Ring((first + step) % stations, vec![1, 0]));
                sim.calm(secs(10));
            }
            let with_both = sim.common_sak();
            assert_ne!(with_both, before);
            for step in 0..stations {
                sim.act(Action::Ring((first + step) % stations, vec![1]));
                sim.calm(secs(10));
            }
            sim.common_sak();
        }
    }
}

#[test]
fn where_nobody_may_serve_nobody_is_secured() {
    let mut sim = Sim::started(&[255, 255]);
    sim.run(secs(60));
    assert_eq!((sim.state(0), sim.state(1)), (PortState::Pending, PortState::Pending));
    assert_eq!((sim.key_server(0), sim.key_server(1)), (None, None));
}

#[test]
fn a_data_plane_that_refuses_for_a_while_is_not_given_up() {
    for refusals in [Refusals::Keys, Refusals::Settings, Refusals::All] {
        for station in 0..2 {
            let mut sim = Sim::new(vec![setup(0, 16), setup(1, 200)]);
            let mood = Mood { refusal: 1000, refusals, ..Mood::default() };
            sim.act(Action::Mood(station, mood));
            sim.boot_all();
            sim.run(secs(20));
            assert_ne!(sim.state(station), PortState::Secured);
            sim.heal();
            sim.calm(secs(5));
        }
    }
}

/// A SecY that has not said that it protects is not opened.
#[test]
fn a_port_stays_closed_while_the_settings_are_refused() {
    for station in 0..2 {
        let mut sim = Sim::new(vec![setup(0, 16), setup(1, 200)]);
        let mood = Mood { refusal: 1000, refusals: Refusals::Settings, ..Mood::default() };
        sim.act(Action::Mood(station, mood));
        sim.boot_all();
        for _ in 0..100 {
            sim.run(millis(100));
            assert!(!sim.0.members[station].secy.open);
        }
        assert_ne!(sim.state(station), PortState::Secured);
        sim.heal();
        sim.calm(secs(5));
    }
}

#[test]
fn a_rekey_that_the_data_plane_refuses_is_made_good() {
    for station in 0..2 {
        let mut sim = Sim::started(&[16, 200]);
        sim.run(secs(5));
        let mood = Mood { refusal: 1000, refusals: Refusals::All, ..Mood::default() };
        sim.act(Action::Mood(station, mood));
        sim.act(Action::Rekey);
        sim.run(secs(1));
        sim.heal();
        sim.calm(secs(5));
    }
}

#[test]
fn a_data_plane_that_takes_seconds_loses_nothing_in_a_rekey() {
    for station in 0..2 {
        let mut sim = Sim::started(&[16, 200]);
        sim.run(secs(5));
        let before = sim.common_sak();
        sim.act(Action::Mood(station, Mood { delay: secs(2), ..Mood::default() }));
        sim.act(Action::Rekey);
        sim.calm(secs(15));
        assert_ne!(sim.common_sak(), before);
    }
}

#[test]
fn an_earlier_session_replayed_loses_nothing() {
    let mut earlier = Sim::started(&[16, 200]);
    earlier.run(secs(20));
    earlier.act(Action::Rekey);
    earlier.run(secs(10));

    let mut sim = Sim::started(&[16, 200]);
    // Another seed, so that the members take other identifiers than in the earlier session.
    sim.0.reseed(2);
    (0..2).for_each(|station| sim.act(Action::Restart(station)));
    sim.run(secs(10));
    let before = sim.common_sak();
    for record in &earlier.0.records {
        for to in 0..2 {
            let expect = if record.from == to {
                crate::attack::Expect::Nothing
            } else {
                crate::attack::Expect::AtMostStranger
            };
            let result = sim.0.attack(to, &record.octets, expect);
            sim.check(result);
        }
        sim.calm(millis(200));
    }
    assert_eq!(sim.common_sak(), before);
}

#[test]
fn this_session_replayed_reflected_and_forged_loses_nothing() {
    let mut sim = Sim::started(&[16, 200, 100]);
    sim.run(secs(30));
    let before = sim.common_sak();
    for _ in 0..20 {
        for station in 0..3 {
            sim.act(Action::Replay(station, 10));
            sim.act(Action::Reflect(station, 10));
            sim.act(Action::Forge(station, 10));
        }
        sim.calm(millis(500));
    }
    assert_eq!(sim.common_sak(), before);
}

#[test]
fn members_that_draw_one_identifier_take_others() {
    for stations in [2, 3] {
        let mut setups: Vec<_> = (0..stations).map(|station| setup(station, 16)).collect();
        setups.iter_mut().for_each(|of| of.forced_mis = vec![[7; 12], [8; 12]]);
        let mut sim = Sim::new(setups);
        sim.boot_all();
        sim.run(RECOVERY);
        sim.common_sak();
    }
}

#[test]
fn a_carrier_flap_shorter_than_a_life_time_keeps_the_sak() {
    for both in [false, true] {
        let mut sim = Sim::started(&[16, 200]);
        sim.run(secs(5));
        let before = sim.common_sak();
        let stations = if both { 0..2 } else { 0..1 };
        for station in stations.clone() {
            sim.act(Action::Carrier(station, false));
        }
        assert_eq!(sim.state(0), PortState::Down);
        // A hello was up to two seconds ago when the link went.
        sim.run(millis(3_900));
        stations.for_each(|station| sim.act(Action::Carrier(station, true)));
        sim.run(millis(10));
        assert_eq!(sim.common_sak(), before);
        sim.calm(secs(5));
    }
}

#[test]
fn a_carrier_flap_longer_than_a_life_time_brings_another_sak() {
    let mut sim = Sim::started(&[16, 200]);
    sim.run(secs(5));
    let before = sim.common_sak();
    (0..2).for_each(|station| sim.act(Action::Carrier(station, false)));
    sim.run(millis(6_100));
    (0..2).for_each(|station| sim.act(Action::Carrier(station, true)));
    sim.run(secs(1));
    assert_ne!(sim.common_sak(), before);
    sim.calm(secs(5));
}

#[test]
fn an_sak_nearly_used_up_is_replaced_without_a_loss() {
    for suite in CipherSuite::ALL {
        for station in 0..2 {
            let mut setups = vec![setup(0, 16), setup(1, 200)];
            setups.iter_mut().for_each(|of| of.policy.cipher_suites = vec![suite]);
            let mut sim = Sim::new(setups);
            sim.boot_all();
            sim.run(secs(5));
            let before = sim.common_sak();
            sim.act(Action::Exhaust(station));
            sim.calm(secs(10));
            assert_ne!(sim.common_sak(), before, "{suite} {station}");
        }
    }
}

/// A member that lacks the suite can never receive. The others wait for it an MKA Life Time.
#[test]
fn a_member_that_cannot_join_holds_the_others_up_no_longer_than_a_life_time() {
    let mut setups: Vec<_> = (0..3).map(|station| setup(station, 16)).collect();
    setups[2].policy.cipher_suites = vec![CipherSuite::GcmAes128];
    let mut sim = Sim::new(setups);
    sim.boot_all();
    sim.run(secs(8));
    let first = sim.sak(0);
    assert_eq!(first, sim.sak(1));

    sim.act(Action::Rekey);
    sim.run(secs(14));
    let second = sim.sak(0);
    assert_ne!(second, first);
    assert_eq!(second, sim.sak(1));

    sim.act(Action::Exhaust(1));
    sim.run(secs(14));
    assert_ne!(sim.sak(0), second, "packet numbers run out");
    assert_eq!(sim.sak(0), sim.sak(1));
    assert_ne!(sim.state(2), PortState::Secured);
}

#[test]
fn a_member_whose_data_plane_refuses_takes_nobody_down() {
    let mut sim = Sim::started(&[16, 64, 200]);
    sim.run(secs(3));
    let mood = Mood { refusal: 1000, refusals: Refusals::Keys, ..Mood::default() };
    sim.act(Action::Mood(2, mood));
    sim.act(Action::Rekey);
    for _ in 0..300 {
        sim.run(millis(100));
        assert_eq!((sim.state(0), sim.state(1)), (PortState::Secured, PortState::Secured));
    }
    sim.heal();
    sim.calm(secs(5));
}

/// More sessions than a station remembers strangers, all at once and again and again.
#[test]
fn a_flood_of_earlier_sessions_keeps_nobody_out() {
    let mut sim = Sim::started(&[16, 200]);
    for _ in 0..60 {
        sim.act(Action::Restart(1));
        sim.run(millis(300));
    }
    let flood: Vec<_> =
        sim.0.records.iter().filter(|of| of.from == 1).map(std::rc::Rc::clone).collect();
    sim.run(secs(8));
    let before = sim.common_sak();
    for _ in 0..10 {
        for record in &flood {
            let result = sim.0.replay_one(0, record);
            sim.check(result);
        }
        let peers = sim.0.members[0].status(sim.0.now).unwrap().participants[0].peers.len();
        assert!(peers <= 33, "{peers} peers");
        sim.calm(secs(1));
    }
    assert_eq!(sim.common_sak(), before);
    sim.act(Action::Restart(1));
    sim.run(millis(200));
    assert_ne!(sim.common_sak(), before);
}

#[test]
fn without_randomness_the_sak_stays_and_with_it_another_comes() {
    let mut sim = Sim::started(&[16, 200]);
    sim.run(secs(5));
    let before = sim.common_sak();
    sim.act(Action::Dry(0, true));
    sim.act(Action::Rekey);
    sim.calm(secs(5));
    assert_eq!(sim.common_sak(), before);

    sim.act(Action::Dry(0, false));
    sim.calm(secs(5));
    assert_ne!(sim.common_sak(), before);
}

/// A station that has two keys, each with another partner, follows the better key server and is
/// not torn away by what the other one distributes.
#[test]
fn a_lesser_key_server_in_another_ca_changes_nothing() {
    let with = |station, priority, ring| Setup { ring, ..setup(station, priority) };
    let mut sim =
        Sim::new(vec![with(0, 16, vec![0]), with(1, 200, vec![1, 0]), with(2, 32, vec![1])]);
    sim.act(Action::Boot(0));
    sim.act(Action::Boot(1));
    sim.run(secs(3));
    let before = sim.sak(1);
    sim.act(Action::Boot(2));
    for _ in 0..200 {
        sim.run(millis(100));
        assert_eq!((sim.sak(0), sim.sak(1)), (before, before), "{}", sim.0);
    }
    assert_ne!(sim.state(2), PortState::Secured);

    sim.act(Action::Crash(0));
    sim.run(secs(10));
    assert_eq!(sim.sak(1), sim.sak(2));
}

/// While an XPN SAK is on offer and a stranger holds up the next one, two members join. Each would
/// have read the same SSCI off the key server's list.
#[test]
fn members_that_join_in_mid_distribution_get_no_nonces_of_others() {
    let mut setups: Vec<_> =
        [16, 200, 200, 200, 200].into_iter().enumerate().map(|(s, p)| setup(s, p)).collect();
    setups[2].forced_mis = vec![[0xf0; 12]];
    setups[3].forced_mis = vec![[0x01; 12]];
    let mut sim = Sim::new(setups);
    // Station 4 is known to the key server by hearsay only, and station 1 is slow.
    sim.cut(4, 0);
    sim.act(Action::Mood(1, Mood { delay: secs(3), ..Mood::default() }));
    [0, 1, 4].into_iter().for_each(|station| sim.act(Action::Boot(station)));
    sim.run(millis(20));
    sim.act(Action::Boot(2));
    sim.run(millis(20));
    sim.act(Action::Boot(3));
    sim.run(secs(10));
    sim.heal();
    sim.common_sak();
}
