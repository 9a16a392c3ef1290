//! Links, stations and data planes that fail.

use super::*;

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

/// The next SAK waits behind the changeover for what may still be on its way with the old one.
#[test]
fn restarts_at_every_step_of_a_rekey_are_survived() {
    for station in 0..2 {
        for micros in (0..2_000).step_by(50) {
            let mut sim = Sim::started(&[16, 200]);
            sim.run(secs(5));
            sim.act(Action::Rekey);
            sim.run(Duration::from_micros(micros));
            sim.act(Action::Restart(station));
            sim.run(millis(300));
            sim.common_sak();
        }
    }
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
