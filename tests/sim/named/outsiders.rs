//! What somebody without the CAK may try.

use super::*;

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
