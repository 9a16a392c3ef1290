//! Our own identity in one participant: MI, MN, and which MNs are recent.

use std::collections::VecDeque;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::crypto::{Entropy, NoEntropy};
use crate::ident::{MemberId, MessageNumber};
use crate::time::Time;

/// A member identifier and the message numbers spent under it (802.1X-2020 9.4.2).
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(super) struct Actor {
    mi: MemberId,
    last: u32,
    /// How long a message number is recent: MKA Life Time.
    life: Duration,
    /// Message numbers sent within that time. Pacing bounds them to some ten a second.
    sent: VecDeque<(u32, Time)>,
    /// The first message number of this life: those before it were said before a restart.
    #[serde(skip)]
    first: u32,
}

/// What a peer's mention of us proves.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Mention {
    /// It has heard us within the last MKA Life Time.
    Recent,
    /// It repeats what we said long ago.
    Stale,
    /// It claims to have heard what we never said: somebody else uses our MI.
    NeverSent,
}

/// Message numbers end here, so that a new MI is taken well before they wrap.
const LAST_MN: u32 = u32::MAX - 1024;

/// How many numbers a restart passes over, of messages and of keys, `age` after the last message
/// that its record tells of.
///
/// A record can be older than the end of the one before, where the last ones could not be kept, and
/// more than one life can go by the same. Nobody says or makes as much as one in ten microseconds,
/// bursts apart, so what is passed over grows faster than what can have been used since.
pub(super) fn passed_over(age: Duration) -> u32 {
    let ticks = u32::try_from(age.as_micros() / 10).unwrap_or(u32::MAX);
    ticks.saturating_add(BURSTS_MAX)
}

/// More than what a participant says at once.
const BURSTS_MAX: u32 = 64;

impl Actor {
    /// Takes a fresh, random identity.
    pub(super) fn new(life: Duration, entropy: &mut dyn Entropy) -> Result<Self, NoEntropy> {
        let mut octets = [0; 12];
        entropy.fill(&mut octets)?;
        Ok(Self {
            mi: MemberId::from_octets(octets),
            last: 0,
            life,
            sent: VecDeque::new(),
            first: 0,
        })
    }

    /// The same, where numbers are recent for so long.
    pub(super) fn with_life(self, life: Duration) -> Self {
        Self { life, ..self }
    }

    /// Goes on after a restart, with numbers that nobody can have heard yet.
    pub(super) fn pass_over(&mut self, numbers: u32) {
        self.last = self.last.saturating_add(numbers);
        self.first = self.last;
    }

    /// Tells whether a mention of us with `mn` is about something said since the last restart.
    pub(super) fn is_since_restart(&self, mn: MessageNumber) -> bool {
        mn.0 >= self.first
    }

    pub(super) fn mi(&self) -> MemberId {
        self.mi
    }

    /// The number of the message sent last; 0 before the first.
    pub(super) fn last(&self) -> MessageNumber {
        MessageNumber(self.last)
    }

    /// When the last message was sent, within the last MKA Life Time.
    pub(super) fn last_sent(&self) -> Option<Time> {
        self.sent.back().map(|&(_, at)| at)
    }

    /// Tells whether this identity is used up.
    pub(super) fn is_spent(&self) -> bool {
        self.last >= LAST_MN
    }

    /// Spends the next message number.
    pub(super) fn number(&mut self, now: Time) -> MessageNumber {
        self.last = self.last.saturating_add(1);
        self.sent.push_back((self.last, now));
        while self.sent.front().is_some_and(|&(_, at)| now.since(at) > self.life) {
            self.sent.pop_front();
        }
        MessageNumber(self.last)
    }

    /// Makes as if that many had been spent.
    #[cfg(test)]
    pub(super) fn skip_to(&mut self, last: u32) {
        self.last = last;
    }

    /// Judges a mention of our MI with `mn` in a peer list. "Acceptably recent" is left open by the
    /// standard; we take every number sent within the last MKA Life Time, for slow peers.
    pub(super) fn judge(&self, now: Time, mn: MessageNumber) -> Mention {
        if mn.0 > self.last {
            return Mention::NeverSent;
        }
        let recent = self.sent.iter().any(|&(sent, at)| sent == mn.0 && now.since(at) <= self.life);
        if recent { Mention::Recent } else { Mention::Stale }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mka::testing::Seeded;
    use crate::mka::timers::LIFE;

    /// 802.1X-2020 9.4.2, 9.4.3.
    #[test]
    fn only_numbers_of_the_last_life_time_are_recent() {
        let mut actor = Actor::new(LIFE, &mut Seeded::new(1)).unwrap();
        let start = Time::ZERO;
        assert_eq!(actor.number(start), MessageNumber(1));
        let later = start.after(Duration::from_secs(5));
        assert_eq!(actor.number(later), MessageNumber(2));

        assert_eq!(actor.judge(later, MessageNumber(1)), Mention::Recent);
        assert_eq!(actor.judge(later, MessageNumber(3)), Mention::NeverSent);
        assert_eq!(actor.judge(later, MessageNumber(0)), Mention::Stale);
        let much_later = start.after(LIFE + Duration::from_nanos(1));
        assert_eq!(actor.judge(much_later, MessageNumber(1)), Mention::Stale);
        assert_eq!(actor.judge(much_later, MessageNumber(2)), Mention::Recent);
    }

    /// However long the KaY runs.
    #[test]
    fn no_more_is_kept_than_is_recent() {
        let mut actor = Actor::new(LIFE, &mut Seeded::new(1)).unwrap();
        for second in 0..1000 {
            actor.number(Time::ZERO.after(Duration::from_secs(second)));
        }
        assert_eq!(actor.sent.len(), 7);
    }

    /// Another life time can have been configured since the record was written.
    #[test]
    fn what_is_recent_follows_the_life_time() {
        let mut actor = Actor::new(LIFE, &mut Seeded::new(1)).unwrap();
        let number = actor.number(Time::ZERO);
        let later = Time::ZERO.after(Duration::from_secs(2));
        assert_eq!(actor.judge(later, number), Mention::Recent);
        let actor = actor.with_life(Duration::from_secs(1));
        assert_eq!(actor.judge(later, number), Mention::Stale);
    }

    #[test]
    fn a_restart_passes_over_one_number_in_ten_microseconds_and_some() {
        assert_eq!(passed_over(Duration::ZERO), 64);
        assert_eq!(passed_over(Duration::from_secs(1)), 100_064);
    }
}
