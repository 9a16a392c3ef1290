//! A station's clock: it may be slow or fast, and somebody may set it.

use std::time::Duration;

use macsecd::time::Time;

/// Shows a time of its own, counted from when it was last changed.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Clock {
    changed: Time,
    showed: Time,
    /// Parts per million that it is fast, or slow where negative.
    fast: i32,
    /// The latest time that it has shown before a step back.
    latest: Time,
    /// For how long it has stood still in the eyes of whoever takes no time twice.
    pub(crate) stood: Duration,
}

const MILLION: i128 = 1_000_000;

impl Clock {
    /// What it shows.
    pub(crate) fn at(&self, now: Time) -> Time {
        let passed = i128::from(now.since(self.changed).as_nanos() as u64);
        let passed = passed * (MILLION + i128::from(self.fast)) / MILLION;
        Time::from_nanos(self.showed.as_nanos() + passed as u64)
    }

    /// The time as somebody knows it who takes none twice.
    pub(crate) fn known_at(&self, now: Time) -> Time {
        self.at(now).max(self.latest)
    }

    /// When it will show this.
    pub(crate) fn when(&self, shown: Time) -> Time {
        let left = i128::from(shown.since(self.showed).as_nanos() as u64);
        let rate = MILLION + i128::from(self.fast);
        let left = (left * MILLION + rate - 1) / rate;
        self.changed.after(Duration::from_nanos(left as u64))
    }

    fn set(&mut self, now: Time, shown: Time) {
        self.latest = self.known_at(now);
        self.stood += self.latest.since(shown);
        (self.changed, self.showed) = (now, shown);
    }

    pub(crate) fn step_forward(&mut self, now: Time, by: Duration) {
        self.set(now, self.at(now).after(by));
    }

    pub(crate) fn step_back(&mut self, now: Time, by: Duration) {
        let back = self.at(now).as_nanos().saturating_sub(by.as_nanos() as u64);
        self.set(now, Time::from_nanos(back));
    }

    /// Goes at another rate from now on.
    pub(crate) fn be_fast(&mut self, now: Time, parts_per_million: i32) {
        self.set(now, self.at(now));
        self.fast = parts_per_million;
    }

    /// Is set to the latest time that it has shown.
    pub(crate) fn catch_up(&mut self, now: Time) {
        self.set(now, self.known_at(now));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Time {
        Time::from_nanos(millis * 1_000_000)
    }

    #[test]
    fn a_fast_clock_is_fast_and_tells_when_it_shows_something() {
        let mut clock = Clock::default();
        clock.be_fast(at(1_000), 500);
        assert_eq!(clock.at(at(1_000)), at(1_000));
        assert_eq!(clock.at(at(11_000)).as_nanos(), 11_005_000_000);
        for rate in [-300, 0, 300] {
            clock.be_fast(at(2_000), rate);
            for nanos in 5_000_000_000..5_000_001_000 {
                let when = clock.when(Time::from_nanos(nanos));
                let before = Time::from_nanos(when.as_nanos() - 1);
                assert!(clock.at(when).as_nanos() >= nanos && clock.at(before).as_nanos() < nanos);
            }
        }
    }

    #[test]
    fn a_step_back_is_known_as_a_time_that_stands_still() {
        let mut clock = Clock::default();
        clock.step_back(at(5_000), Duration::from_secs(2));
        assert_eq!((clock.at(at(6_000)), clock.known_at(at(6_000))), (at(4_000), at(5_000)));
        assert_eq!(clock.stood, Duration::from_secs(2));
        clock.catch_up(at(6_000));
        assert_eq!(clock.at(at(6_500)), at(5_500));
        clock.step_forward(at(6_500), Duration::from_secs(1));
        assert_eq!(clock.known_at(at(6_500)), at(6_500));
    }
}
