//! What somebody with the CAK may try.

use super::*;

/// Nonces, installs and clear text are watched all the time; nothing else is owed.
#[test]
fn thousands_of_lies_repeat_no_nonce() {
    for suite in [CipherSuite::GcmAes128, CipherSuite::GcmAesXpn256] {
        let mut setups: Vec<_> = (0..3).map(|station| setup(station, 16)).collect();
        setups.iter_mut().for_each(|of| of.policy.cipher_suites = vec![suite]);
        setups[0].keeps = true;
        let mut sim = Sim::new(setups);
        sim.boot_all();
        sim.run(secs(5));
        sim.0.traffic_every = millis(10);
        for round in 0..3_000 {
            sim.act(Action::Lie(round % 3, 1));
            sim.run(millis(50));
        }
        assert!(sim.0.frames > 500, "{}", sim.0.frames);
    }
}

/// More strangers than a station remembers: whoever is live stays so.
#[test]
fn a_flood_of_members_who_are_not_there_keeps_nobody_out() {
    let mut sim = Sim::started(&[16, 200]);
    sim.run(secs(10));
    let before = sim.common_sak();
    for _ in 0..200 {
        (0..2).for_each(|station| sim.act(Action::Flood(station, 50)));
        let peers = sim.0.members[0].status(sim.0.now).unwrap().participants[0].peers.len();
        assert!(peers <= 33, "{peers} peers");
        sim.calm(millis(100));
    }
    assert_eq!(sim.common_sak(), before);
}
