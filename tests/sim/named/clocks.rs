//! Clocks that are set, slow or fast, and machines that sleep.

use super::*;

#[test]
fn clocks_that_are_slow_and_fast_lose_nothing() {
    for (one, other) in [(300, -300), (-300, 300), (300, 300)] {
        let mut sim = Sim::started(&[16, 200]);
        sim.act(Action::Drift(0, one));
        sim.act(Action::Drift(1, other));
        sim.run(secs(10));
        let before = sim.common_sak();
        sim.calm(secs(600));
        assert_eq!(sim.common_sak(), before);
    }
}

/// Whoever wakes after an hour has been given up, knows it at once, and is secured again.
#[test]
fn a_machine_that_has_slept_is_secured_again() {
    for station in 0..2 {
        for span in [millis(500), secs(3), secs(7), secs(3600)] {
            let mut sim = Sim::started(&[16, 200]);
            sim.run(secs(10));
            let before = sim.common_sak();
            sim.act(Action::Suspend(station, span));
            sim.run(span);
            sim.run(secs(8));
            let after = sim.common_sak();
            assert!(span > secs(2) || after == before, "{span:?}");
            sim.calm(secs(5));
        }
    }
}

#[test]
fn a_clock_that_is_set_forward_by_a_year_is_got_over() {
    for station in 0..2 {
        let mut sim = Sim::started(&[16, 200]);
        sim.run(secs(10));
        sim.act(Action::StepForward(station, secs(31_557_600)));
        sim.run(secs(8));
        sim.common_sak();
        sim.calm(secs(5));
    }
}

/// No time is taken twice, so nothing is said until the clock is where it was.
#[test]
fn a_clock_that_is_set_back_stands_still_for_so_long() {
    for station in 0..2 {
        let mut sim = Sim::started(&[16, 200]);
        sim.run(secs(10));
        let before = sim.common_sak();
        sim.act(Action::StepBack(station, secs(2)));
        sim.calm(secs(20));
        assert_eq!(sim.common_sak(), before);
        sim.act(Action::StepBack(station, secs(9)));
        sim.run(secs(20));
        sim.common_sak();
        sim.calm(secs(5));
    }
}
