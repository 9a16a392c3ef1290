//! CAKs that follow each other: with an overlap, late at one end or at both, in the wrong order.
//!
//! Station 0 holds both keys for a while in each of them. As long as there is one key that both have,
//! nothing may be lost and no port may close.

use super::*;

/// How late the slower end is.
const LATE: [Duration; 3] = [Duration::ZERO, secs(1), secs(3600)];

/// Every way in which the two ends can stand to each other: who makes the SAKs, and how each chooses
/// among keys.
fn worlds() -> impl Iterator<Item = Sim> {
    let all = [Preference::InOrder, Preference::LastSpoken];
    let preferences = all.into_iter().flat_map(move |of| all.map(|other| [of, other]));
    preferences.flat_map(|preferences| {
        [[16, 200], [200, 16]].map(|priorities| {
            let mut setups: Vec<_> = (0..2).map(|at| setup(at, priorities[at])).collect();
            (0..2).for_each(|at| setups[at].preference = preferences[at]);
            let mut sim = Sim::new(setups);
            sim.boot_all();
            sim.run(secs(3));
            sim
        })
    })
}

impl Sim {
    /// Gives a station other keys, and lets time pass in which nothing may be lost.
    fn give(&mut self, station: usize, ring: &[usize], then: Duration) {
        self.act(Action::Ring(station, ring.to_vec()));
        // In an hour a frame in ten seconds will do.
        self.0.traffic_every = if then > secs(60) { secs(10) } else { millis(10) };
        if then > Duration::ZERO {
            self.calm(then);
        }
    }

    /// The key in whose CA the SAK is that a station sends with: its place among all keys.
    fn key_in_use(&self, station: usize) -> usize {
        let status = self.0.members[station].status(self.0.now).unwrap();
        let in_use = status.participants.iter().find(|of| of.in_use).unwrap();
        keys().iter().position(|key| key.ckn == in_use.ckn).unwrap()
    }

    /// Both send with the key at this place, and have been told apart from a mere SAK of another.
    fn ends_with(&mut self, key: usize, before: KeyId) {
        self.calm(secs(10));
        assert_ne!(self.common_sak(), before);
        assert_eq!([self.key_in_use(0), self.key_in_use(1)], [key, key]);
    }
}

#[test]
fn a_roll_with_one_end_late_loses_nothing() {
    for late in LATE {
        for mut sim in worlds() {
            let before = sim.common_sak();
            sim.give(0, &[1, 0], late);
            sim.give(1, &[1, 0], secs(5));
            sim.give(0, &[1], late);
            sim.give(1, &[1], secs(5));
            sim.ends_with(1, before);
        }
    }
}

#[test]
fn a_roll_with_both_ends_late_loses_nothing() {
    for mut sim in worlds() {
        let before = sim.common_sak();
        for ring in [&[1, 0][..], &[1]] {
            for station in [1, 0] {
                sim.give(station, ring, secs(3600));
            }
        }
        sim.ends_with(1, before);
    }
}

/// The new key stands last at one end or at both, and the ends take the old one out in either order.
#[test]
fn a_roll_with_the_keys_in_the_wrong_order_loses_nothing() {
    for rings in [[[0, 1], [0, 1]], [[0, 1], [1, 0]], [[1, 0], [0, 1]]] {
        for [first, second] in [[0, 1], [1, 0]] {
            for mut sim in worlds() {
                let before = sim.common_sak();
                sim.give(first, &rings[first], secs(1));
                sim.give(second, &rings[second], secs(1));
                sim.give(second, &[1], secs(1));
                sim.give(first, &[1], secs(1));
                sim.ends_with(1, before);
            }
        }
    }
}

/// An end goes back before the other has come along, which is what `rotate abort` does.
#[test]
fn a_roll_that_is_called_off_loses_nothing() {
    for mut sim in worlds() {
        let before = sim.common_sak();
        sim.give(0, &[1, 0], secs(30));
        assert_eq!(sim.common_sak(), before);
        sim.give(0, &[0], secs(30));
        assert_eq!(sim.common_sak(), before);
    }
}

/// The new key is agreed on while one MKPDU in five is lost: of frames, as many as are lost by the
/// link, so they are not counted here; the two must come together, and stay with the new key.
#[test]
fn a_roll_on_a_link_that_loses_comes_to_the_new_key() {
    for mut sim in worlds() {
        sim.act(Action::Noise(Noise { loss: 200, ..Noise::default() }));
        sim.act(Action::Ring(0, vec![1, 0]));
        sim.run(secs(20));
        sim.act(Action::Ring(1, vec![1, 0]));
        sim.run(secs(20));
        sim.act(Action::Ring(0, vec![1]));
        sim.run(secs(20));
        sim.heal();
        sim.give(1, &[1], secs(10));
        assert_eq!([sim.key_in_use(0), sim.key_in_use(1)], [1, 1]);
    }
}

/// The far end holds one key and swaps it, while the other end has armed the new one.
#[test]
fn an_only_key_that_is_swapped_is_followed_without_a_loss() {
    for mut sim in worlds() {
        let before = sim.common_sak();
        sim.give(0, &[1, 0], secs(30));
        sim.give(1, &[1], secs(10));
        sim.give(0, &[1], secs(10));
        sim.ends_with(1, before);
    }
}

/// The old key goes at the moment at which the other end gets the new one.
#[test]
fn an_old_key_that_goes_before_the_new_one_is_agreed_on_costs_nothing() {
    for mut sim in worlds() {
        let before = sim.common_sak();
        sim.give(0, &[1, 0], secs(5));
        sim.act(Action::Ring(1, vec![1, 0]));
        sim.give(0, &[1], secs(10));
        sim.give(1, &[1], secs(10));
        sim.ends_with(1, before);
    }
}
