//! Who comes together with whom, and who serves.

use super::*;

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

#[test]
fn a_better_key_server_that_joins_takes_over() {
    let mut sim = Sim::new(vec![setup(0, 32), setup(1, 200), setup(2, 16)]);
    sim.act(Action::Boot(0));
    sim.act(Action::Boot(1));
    sim.run(secs(10));
    assert_eq!(sim.key_server(0), Some(KeyServer::Own));

    // What the two send each other goes on arriving; the third takes part in it from its first SAK.
    sim.0.traffic_every = Duration::from_micros(200);
    sim.run(millis(200));
    let (a, b) = (sim.0.members[0].sci(), sim.0.members[1].sci());
    let before = sim.sak(0);
    sim.act(Action::Boot(2));
    for _ in 0..7_000 {
        sim.run(millis(1));
        let [first, second] = [0, 1].map(|station| &sim.0.members[station].secy);
        assert!(first.open && second.open);
        let [first_ki, second_ki] = [first, second].map(|of| of.sends_with().unwrap());
        assert!(second.receives(first_ki, a) && first.receives(second_ki, b));
    }
    assert_ne!(sim.common_sak(), before);
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
    for _ in 0..8_000 {
        sim.run(millis(1));
        assert!((0..2).all(|station| sim.0.members[station].secy.open), "nobody else notices");
    }
    assert_eq!(sim.key_server(0), Some(KeyServer::Own));
    assert_eq!(sim.sak(0), sim.sak(1));
}

#[test]
fn where_nobody_may_serve_nobody_is_secured() {
    let mut sim = Sim::started(&[255, 255]);
    sim.run(secs(60));
    assert_eq!((sim.state(0), sim.state(1)), (PortState::Pending, PortState::Pending));
    assert_eq!((sim.key_server(0), sim.key_server(1)), (None, None));
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
