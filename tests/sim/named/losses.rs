//! Data planes that lose SAKs.

use super::*;
use crate::loss::{Loss, Lost};

/// Everything is gone, as when the device was deleted, and is told of at once.
const DELETED: Loss = Loss { what: Lost::All, wholly: true, told_after: Duration::ZERO };

/// Only the transmit SA of the key in use is gone.
const SILENCED: Loss = Loss { what: Lost::InUse, wholly: false, ..DELETED };

const LOSSES: [Loss; 5] = [
    DELETED,
    SILENCED,
    Loss { what: Lost::InUse, ..DELETED },
    Loss { what: Lost::Spare, ..DELETED },
    Loss { what: Lost::Spare, ..SILENCED },
];

impl Sim {
    fn lose(&mut self, station: usize, loss: Loss) {
        self.act(Action::Lose(station, loss));
    }

    /// How long it takes until all are secured with another SAK than this.
    fn until_replaced(&mut self, before: KeyId) -> Duration {
        let begin = self.0.now;
        while self.0.missing().is_some() || self.sak(0) == before {
            self.run(millis(1));
            assert!(self.0.now.since(begin) < RECOVERY, "{}", self.0);
        }
        self.0.now.since(begin)
    }
}

#[test]
fn a_device_that_is_deleted_under_either_end_is_secured_again_within_two_seconds() {
    for station in 0..2 {
        for settle in [millis(100), millis(1_900), secs(4), secs(60)] {
            let mut sim = Sim::started(&[16, 200]);
            sim.run(settle);
            let before = sim.common_sak();
            sim.lose(station, DELETED);
            assert!(sim.0.missing().is_some(), "nothing can be sent");
            let took = sim.until_replaced(before);
            assert!(took < secs(2), "{took:?}, {settle:?} after the start");
            sim.calm(secs(10));
        }
    }
}

/// Both ends ask and both are asked; one SAK comes of it.
#[test]
fn devices_that_are_deleted_under_both_ends_are_secured_again_within_two_seconds() {
    let mut sim = Sim::started(&[16, 200]);
    sim.run(secs(10));
    let before = sim.common_sak();
    (0..2).for_each(|station| sim.lose(station, DELETED));
    assert!(sim.until_replaced(before) < secs(2));
    sim.calm(secs(10));
}

#[test]
fn a_device_that_is_deleted_in_a_group_of_three_is_secured_again_within_two_seconds() {
    for station in 0..3 {
        let mut sim = Sim::started(&[16, 64, 200]);
        sim.run(secs(10));
        let before = sim.common_sak();
        sim.lose(station, DELETED);
        assert!(sim.until_replaced(before) < secs(2));
        sim.calm(secs(10));
    }
}

/// A port that cannot send still lets in what the others send, until the next SAK is there.
#[test]
fn a_lost_transmit_sa_costs_the_other_direction_nothing() {
    for station in 0..2 {
        let mut sim = Sim::started(&[16, 200]);
        sim.run(secs(10));
        let before = sim.common_sak();
        let other = sim.0.members[1 - station].sci();
        sim.lose(station, SILENCED);
        while sim.0.missing().is_some() {
            let secy = &sim.0.members[station].secy;
            assert!(secy.open && secy.receives(before, other));
            sim.run(Duration::from_micros(10));
        }
        assert_ne!(sim.common_sak(), before);
    }
}

#[test]
fn losses_at_every_step_of_a_rekey_are_survived() {
    for station in 0..2 {
        for loss in LOSSES {
            for micros in (0..2_000).step_by(50) {
                let mut sim = Sim::started(&[16, 200]);
                sim.run(secs(5));
                sim.act(Action::Rekey);
                sim.run(Duration::from_micros(micros));
                sim.lose(station, loss);
                sim.run(millis(300));
                sim.common_sak();
                sim.calm(secs(5));
            }
        }
    }
}

/// A data plane that drops each SAK as soon as it has it.
#[test]
fn an_sak_that_is_lost_again_and_again_is_replaced_every_two_seconds_at_most() {
    for station in 0..2 {
        let mut sim = Sim::started(&[16, 200]);
        sim.run(secs(10));
        let before = sim.0.oracles.keys.count();
        for _ in 0..600 {
            sim.lose(station, DELETED);
            sim.run(millis(50));
        }
        let made = sim.0.oracles.keys.count() - before;
        assert!((14..=16).contains(&made), "{made} SAKs in 30 s");
        sim.heal();
        sim.calm(secs(10));
    }
}

#[test]
fn an_sak_lost_while_the_carrier_is_away_is_replaced_when_it_is_back() {
    for station in 0..2 {
        let mut sim = Sim::started(&[16, 200]);
        sim.run(secs(10));
        let before = sim.common_sak();
        sim.act(Action::Carrier(station, false));
        sim.run(secs(1));
        sim.lose(station, DELETED);
        sim.run(secs(2));
        sim.act(Action::Carrier(station, true));
        assert!(sim.until_replaced(before) < secs(2));
        sim.calm(secs(10));
    }
}

/// A stranger holds a fresh SAK up for an MKA Life Time (802.1X-2020 9.8), and no longer.
#[test]
fn a_server_that_must_wait_with_the_next_sak_does_not_forget_it() {
    let mut sim = Sim::new(vec![setup(0, 16), setup(1, 200), setup(2, 201)]);
    sim.act(Action::Boot(0));
    sim.act(Action::Boot(1));
    sim.run(secs(1));
    // It is heard, and never hears.
    sim.cut(0, 2);
    sim.cut(1, 2);
    sim.act(Action::Boot(2));
    sim.run(secs(1));
    let before = sim.sak(0);
    sim.lose(0, DELETED);
    sim.run(secs(3));
    assert_ne!(sim.state(0), PortState::Secured);
    sim.run(secs(2));
    assert_ne!(sim.sak(0), before);
    assert_eq!(sim.sak(0), sim.sak(1));
}

/// The second one while the answer is on its way that says that frames are sent with it, and too
/// soon after the first to be replaced at once.
#[test]
fn two_losses_in_one_rekey_are_survived() {
    for station in 0..3 {
        for first in (100..700).step_by(100) {
            for second in (0..3_000).step_by(40) {
                let mut sim = Sim::started(&[16, 100, 200]);
                sim.run(secs(5));
                sim.act(Action::Rekey);
                sim.run(Duration::from_micros(first));
                sim.lose(station, Loss { what: Lost::Spare, ..DELETED });
                sim.run(Duration::from_micros(second));
                sim.lose(station, SILENCED);
                sim.run(secs(8));
                sim.heal();
            }
        }
    }
}
