//! SAKs that follow each other, and CAKs.

use super::*;

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
