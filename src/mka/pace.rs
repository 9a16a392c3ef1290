//! When a participant may speak.
//!
//! A hello goes out every MKA Hello Time. News goes out at once, so that two ends agree keys in
//! milliseconds, but a bucket of tokens keeps a stranger on the wire from making us talk without
//! end: a short burst, then one unscheduled MKPDU per [`REFILL`].

use std::time::Duration;

use crate::time::Time;

/// A handshake takes four or five messages a side; two in a row fit.
const BURST: u32 = 10;

/// The lasting rate of unscheduled MKPDUs.
const REFILL: Duration = Duration::from_millis(100);

/// The schedule of one participant's MKPDUs.
#[derive(Debug)]
#[cfg_attr(test, derive(Clone))]
pub(super) struct Pace {
    hello_due: Time,
    news: bool,
    tokens: u32,
    refilled: Time,
}

impl Pace {
    /// Starts with a hello due at once.
    pub(super) fn new(now: Time) -> Self {
        Self { hello_due: now, news: false, tokens: BURST, refilled: now }
    }

    /// Notes that there is something to say.
    pub(super) fn news(&mut self) {
        self.news = true;
    }

    /// Has a hello go out now: the link is back.
    pub(super) fn hello(&mut self, now: Time) {
        self.hello_due = now;
    }

    /// When the next MKPDU is due.
    pub(super) fn due(&self) -> Time {
        if !self.news {
            return self.hello_due;
        }
        let earliest = if self.tokens > 0 { Time::ZERO } else { self.refilled.after(REFILL) };
        earliest.min(self.hello_due)
    }

    /// Tells whether an MKPDU is due, and if so counts it as sent; the next hello is due after
    /// `hello`.
    pub(super) fn take(&mut self, now: Time, hello: Duration) -> bool {
        self.refill(now);
        if self.due() > now {
            return false;
        }
        if self.hello_due > now {
            self.tokens = self.tokens.saturating_sub(1);
        }
        self.news = false;
        self.hello_due = now.after(hello);
        true
    }

    fn refill(&mut self, now: Time) {
        while self.tokens < BURST && now.since(self.refilled) >= REFILL {
            self.tokens += 1;
            self.refilled = self.refilled.after(REFILL);
        }
        if self.tokens >= BURST {
            self.refilled = now;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mka::timers::HELLO;

    #[test]
    fn a_hello_goes_out_every_two_seconds() {
        let mut pace = Pace::new(Time::ZERO);
        assert!(pace.take(Time::ZERO, HELLO));
        assert!(!pace.take(Time::ZERO.after(Duration::from_millis(1999)), HELLO));
        assert_eq!(pace.due(), Time::ZERO.after(Duration::from_secs(2)));
        assert!(pace.take(Time::ZERO.after(Duration::from_secs(2)), HELLO));
    }

    #[test]
    fn news_goes_out_at_once_and_many_news_as_one() {
        let mut pace = Pace::new(Time::ZERO);
        assert!(pace.take(Time::ZERO, HELLO));
        pace.news();
        pace.news();
        assert!(pace.take(Time::ZERO, HELLO));
        assert!(!pace.take(Time::ZERO, HELLO));
    }

    #[test]
    fn a_flood_of_news_is_held_to_ten_a_second_after_a_burst() {
        let mut pace = Pace::new(Time::ZERO);
        let mut sent = 0;
        for tick in 0..10_000 {
            pace.news();
            sent += u32::from(pace.take(Time::ZERO.after(Duration::from_millis(tick)), HELLO));
        }
        assert!((100..=115).contains(&sent), "{sent} in ten seconds");
    }

    #[test]
    fn a_hello_costs_nothing_of_what_news_have() {
        let mut pace = Pace::new(Time::ZERO);
        assert!(pace.take(Time::ZERO, HELLO));
        let burst = |pace: &mut Pace, now| {
            let said = (0..100).filter(|_| {
                pace.news();
                pace.take(now, HELLO)
            });
            said.count()
        };
        assert_eq!(burst(&mut pace, Time::ZERO), 10);
        let rested = Time::ZERO.after(Duration::from_millis(1999));
        assert_eq!(burst(&mut pace, rested), 10, "and no more after any rest");
    }
}
