//! SAKs that follow each other, and CAKs.

use std::collections::BTreeMap;

use macsecd::ident::AssociationNumber;

use super::*;
use crate::oracles::Losses;

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

/// Rekeys one after the other, with data frames every 0.2 ms in both directions over every step of
/// each; `SIM_REKEYS` asks for another number, a multiple of 4.
#[test]
fn ten_thousand_rekeys_in_a_row_lose_nothing_and_use_every_association_as_often() {
    let rekeys = crate::number("SIM_REKEYS", 10_000);
    let mut sim = Sim::started(&[16, 200]);
    sim.0.traffic_every = millis(10);
    sim.run(secs(2));
    let mut used = BTreeMap::new();
    for _ in 0..rekeys {
        let before = sim.common_sak();
        sim.0.traffic_every = Duration::from_micros(200);
        sim.calm(millis(11));
        sim.act(Action::Rekey);
        sim.calm(millis(5));
        sim.0.traffic_every = millis(10);
        sim.calm(millis(400));
        let after = sim.common_sak();
        assert_ne!(after, before);
        let an = sim.0.members[1].secy.sas[&after].an;
        *used.entry(an).or_insert(0) += 1;
    }
    let Losses { due, delivered } = sim.0.oracles.losses;
    let evenly = AssociationNumber::ALL.map(|an| (an, rekeys / 4));
    assert_eq!(used, evenly.into_iter().collect());
    println!("sim: rekeys={rekeys} frames={due} lost={}", due - delivered);
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

/// A member that is at the end of its numbers before the key server can have heard of it takes a
/// new MI, and nobody loses a frame by that.
#[test]
fn a_member_at_the_end_of_its_numbers_is_new_to_the_others_and_loses_nothing() {
    for stations in [2, 3] {
        let mut setups: Vec<_> = (0..stations).map(|station| setup(station, 16)).collect();
        setups.iter_mut().for_each(|of| of.policy.cipher_suites = vec![CipherSuite::GcmAes256]);
        let mut sim = Sim::new(setups);
        sim.boot_all();
        sim.run(secs(10));
        let (before, last) = (sim.common_sak(), stations - 1);
        let own = sim.0.members[last].own.len();
        sim.0.members[last].secy.sas.get_mut(&before).unwrap().next_pn = 0xf800_0000;
        sim.calm(secs(10));
        assert_eq!(sim.0.members[last].own.len(), own + 1, "a new MI");
        assert_ne!(sim.common_sak(), before);
    }
}

/// Spaces of 32 bits at 100 and 400 Gb/s of the shortest frames, which last for 40 and 10 s; ours or
/// the peer's, who only tells what it sent two seconds ago.
#[test]
fn packet_numbers_that_are_spent_in_seconds_never_run_out() {
    for (lasts, at_most) in [(40, 14), (10, 150)] {
        for station in 0..2 {
            let mut setups = vec![setup(0, 16), setup(1, 200)];
            setups.iter_mut().for_each(|of| of.policy.cipher_suites = vec![CipherSuite::GcmAes256]);
            let mut sim = Sim::new(setups);
            sim.boot_all();
            sim.0.traffic_every = millis(10);
            sim.run(secs(5));
            let before = sim.0.oracles.keys.count();
            sim.0.members[station].secy.unseen = (1 << 32) / (lasts * 100);
            sim.calm(secs(300));
            assert!(sim.0.members.iter().all(|of| !of.secy.ran_out), "{lasts} s, {station}");
            let made = sim.0.oracles.keys.count() - before;
            assert!((300 / lasts as usize..at_most).contains(&made), "{made} SAKs of {lasts} s");
        }
    }
}
