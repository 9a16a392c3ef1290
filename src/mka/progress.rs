//! How fast packet numbers and octets are spent, by us and by those whom we receive.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use super::peers::Peer;
use crate::ident::{KeyId, Sci};
use crate::secy::{Octets, RxProgress, TxProgress};
use crate::time::Time;

/// How far the packet numbers of the SAs have come, now and a while ago, and how many octets went
/// through them.
#[derive(Debug, Default)]
#[cfg_attr(test, derive(Clone))]
pub(super) struct Progress {
    own: Track,
    /// What the SecY has accepted of each member.
    peers: BTreeMap<Sci, Track>,
    volume: Option<Volume>,
}

/// The octets of the key in use.
#[derive(Debug)]
#[cfg_attr(test, derive(Clone))]
struct Volume {
    ki: KeyId,
    /// What the SecY had counted when this key came.
    before: Octets,
    now: Octets,
}

impl Progress {
    /// Takes note of what the data plane has said of our own SA.
    pub(super) fn note(&mut self, now: Time, progress: TxProgress) {
        self.own.note(now, progress.ki, progress.next_pn.0);
    }

    /// Takes note of what it has said of a member's.
    pub(super) fn note_received(&mut self, now: Time, progress: RxProgress) {
        let track = self.peers.entry(progress.sci).or_default();
        track.note(now, progress.ki, progress.next_pn.0);
    }

    /// Takes note of how many octets the SecY has counted since it began, whatever the key.
    pub(super) fn note_octets(&mut self, octets: Octets) {
        let Some(ki) = self.own.newest() else { return };
        match &mut self.volume {
            Some(volume) if volume.ki == ki => volume.now = octets,
            // What went by since the last look may have gone with either key: it counts as of this.
            Some(volume) => *volume = Volume { ki, before: volume.now, now: octets },
            None => self.volume = Some(Volume { ki, before: octets, now: octets }),
        }
    }

    /// Forgets all members but these.
    pub(super) fn retain(&mut self, is_known: impl Fn(Sci) -> bool) {
        self.peers.retain(|&sci, _| is_known(sci));
    }

    /// The next packet number of a key's transmit SA as last heard.
    pub(super) fn next_pn(&self, ki: KeyId) -> Option<u64> {
        self.own.next_pn(ki)
    }

    /// The lowest packet number that a member says it may still send with a key. Where the suite is
    /// XPN and it does not say the high half, that is told from what we have received of it; `None`
    /// where nothing was.
    pub(super) fn llpn_of(&self, peer: &Peer, ki: KeyId, xpn: bool) -> Option<u64> {
        let said = peer.llpn(ki, xpn)?;
        if !xpn || peer.suspension.is_some() {
            return Some(said);
        }
        let near = self.peers.get(&peer.sci)?.next_pn(ki)?;
        (said > 0).then(|| nearest(near, said))
    }

    /// The octets that went with a key, in the direction in which there were more.
    pub(super) fn octets(&self, ki: KeyId) -> u64 {
        self.volume.as_ref().filter(|of| of.ki == ki).map_or(0, |Volume { before, now, .. }| {
            let sent = now.sent.saturating_sub(before.sent);
            sent.max(now.received.saturating_sub(before.received))
        })
    }

    /// How long the packet numbers of a key last whose last one is given: ours and those of every
    /// member that we receive, whoever is fastest. `None` where nothing tells how fast they go.
    pub(super) fn left(&self, ki: KeyId, last: u64) -> Option<Duration> {
        let tracks = self.peers.values().chain([&self.own]);
        tracks.filter_map(|track| track.left(ki, last)).min()
    }

    /// The highest packet number that anybody is known to have come to with a key.
    pub(super) fn highest(&self, ki: KeyId) -> Option<u64> {
        self.peers.values().chain([&self.own]).filter_map(|track| track.next_pn(ki)).max()
    }

    /// The lowest packet number that may still be on its way (802.1X-2020 9.10, LLPN): what was
    /// last sent so long ago, 1 at least.
    pub(super) fn llpn(&self, now: Time, ki: KeyId, ago: Duration) -> u64 {
        let mut known = self.own.of(ki);
        let old = known.find(|sample| now.since(sample.at) >= ago);
        old.map_or(1, |sample| sample.next_pn.saturating_sub(1).max(1))
    }
}

/// The number with this low half that is nearest to another.
fn nearest(near: u64, low: u64) -> u64 {
    const HALF: u64 = 1 << 31;
    let same = near >> 32 << 32 | low;
    let (above, below) = (same.checked_add(HALF << 1), same.checked_sub(HALF << 1));
    if near.saturating_sub(same) > HALF {
        above.unwrap_or(same)
    } else if same.saturating_sub(near) > HALF {
        below.unwrap_or(same)
    } else {
        same
    }
}

/// The way of one sender's packet numbers.
#[derive(Debug, Default)]
#[cfg_attr(test, derive(Clone))]
struct Track(VecDeque<Sample>);

#[derive(Clone, Copy, Debug)]
struct Sample {
    at: Time,
    ki: KeyId,
    next_pn: u64,
}

impl Track {
    /// More samples than this within one Hello Time are not needed.
    const SAMPLES_MAX: usize = 16;

    /// Samples that come faster take each other's place, so that together they reach back more than
    /// one Hello Time however often the data plane is asked.
    const APART: Duration = Duration::from_millis(200);

    fn note(&mut self, at: Time, ki: KeyId, next_pn: u64) {
        let before = self.of(ki).nth(1).map(|sample| sample.at);
        if before.is_some_and(|before| at.since(before) < Self::APART)
            && let Some(newest) = self.0.iter_mut().rev().find(|sample| sample.ki == ki)
        {
            *newest = Sample { at, ki, next_pn };
            return;
        }
        while self.0.len() >= Self::SAMPLES_MAX {
            self.0.pop_front();
        }
        self.0.push_back(Sample { at, ki, next_pn });
    }

    fn newest(&self) -> Option<KeyId> {
        self.0.back().map(|sample| sample.ki)
    }

    /// The samples of a key, newest first.
    fn of(&self, ki: KeyId) -> impl Iterator<Item = &Sample> {
        self.0.iter().rev().filter(move |sample| sample.ki == ki)
    }

    fn next_pn(&self, ki: KeyId) -> Option<u64> {
        self.of(ki).next().map(|sample| sample.next_pn)
    }

    /// How long the numbers last at the rate of the last span or of all that is known, whichever is
    /// faster.
    fn left(&self, ki: KeyId, last: u64) -> Option<Duration> {
        let newest = *self.of(ki).next()?;
        let earlier = self.of(ki).skip(1);
        let spans =
            earlier.filter(|before| before.at < newest.at && before.next_pn < newest.next_pn);
        let left = spans.map(|before| {
            let spent = u128::from(newest.next_pn - before.next_pn);
            let left = u128::from(last.saturating_sub(newest.next_pn));
            let nanos = left.saturating_mul(newest.at.since(before.at).as_nanos()) / spent;
            Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
        });
        left.min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ident::{KeyNumber, MacAddress, MemberId, PacketNumber};

    const LAST: u64 = 0xffff_ffff;

    fn ki(number: u32) -> KeyId {
        KeyId { server: MemberId::from_octets([1; 12]), number: KeyNumber(number) }
    }

    fn at(seconds: u64) -> Time {
        Time::ZERO.after(Duration::from_secs(seconds))
    }

    fn tx(number: u32, next_pn: u64) -> TxProgress {
        TxProgress { ki: ki(number), next_pn: PacketNumber(next_pn) }
    }

    fn rx(station: u8, number: u32, next_pn: u64) -> RxProgress {
        let sci = Sci::new(MacAddress([2, 0, 0, 0, 0, station]), 1);
        RxProgress {
            ki: ki(number),
            sci,
            next_pn: PacketNumber(next_pn),
            lowest_pn: PacketNumber(1),
        }
    }

    #[test]
    fn numbers_last_as_long_as_the_fastest_sender_and_the_fastest_span_let_them() {
        let mut progress = Progress::default();
        progress.note(at(0), tx(1, 1));
        assert_eq!(progress.left(ki(1), LAST), None, "one sample is no rate");
        progress.note(at(10), tx(1, LAST / 2));
        let ten = progress.left(ki(1), LAST).unwrap();
        assert!((9..=10).contains(&ten.as_secs()), "{ten:?}");
        assert_eq!(progress.left(ki(2), LAST), None);

        // It has become twice as fast.
        progress.note(at(11), tx(1, LAST / 2 + LAST / 10));
        assert_eq!(progress.left(ki(1), LAST).unwrap().as_secs(), 4);

        progress.note_received(at(10), rx(2, 1, LAST / 4));
        progress.note_received(at(11), rx(2, 1, LAST / 4 * 3));
        let half = progress.left(ki(1), LAST).unwrap();
        assert!((400..=500).contains(&half.as_millis()), "{half:?}");
        assert_eq!(progress.highest(ki(1)), Some(LAST / 4 * 3));
        progress.retain(|_| false);
        assert_eq!(progress.left(ki(1), LAST).unwrap().as_secs(), 4);
    }

    #[test]
    fn a_low_half_is_completed_by_what_is_near() {
        assert_eq!(nearest(0x7_0000_0010, 0x8), 0x7_0000_0008);
        assert_eq!(nearest(0x7_0000_0010, 0xffff_fff0), 0x6_ffff_fff0);
        assert_eq!(nearest(0x7_ffff_fff0, 0x8), 0x8_0000_0008);
        assert_eq!(nearest(5, 0xffff_fff0), 0xffff_fff0, "there is nothing below");
        assert_eq!(nearest(u64::MAX, 3), 0xffff_ffff_0000_0003, "nor above");
        assert_eq!(nearest(0x8000_0000, 0), 0, "as near as the one above");
        assert_eq!(nearest(0x1_0000_0000, 0x8000_0000), 0x1_8000_0000, "as the one below");
    }

    #[test]
    fn octets_are_those_of_the_key_in_use_in_the_busier_direction() {
        let mut progress = Progress::default();
        let octets = |sent, received| Octets { sent, received };
        progress.note_octets(octets(5, 5));
        assert_eq!(progress.octets(ki(1)), 0, "no key is known yet");
        progress.note(at(0), tx(1, 1));
        progress.note_octets(octets(100, 1000));
        progress.note_octets(octets(150, 1030));
        assert_eq!(progress.octets(ki(1)), 50);
        progress.note(at(1), tx(2, 1));
        progress.note_octets(octets(160, 1090));
        assert_eq!((progress.octets(ki(1)), progress.octets(ki(2))), (0, 60));
    }

    /// However often the data plane is asked.
    #[test]
    fn what_is_known_reaches_back_more_than_a_hello_time() {
        let mut progress = Progress::default();
        let millis = |of| Time::ZERO.after(Duration::from_millis(of));
        for tick in 0..100 {
            progress.note(millis(tick * 50), tx(1, 1 + tick * 50));
        }
        let told = progress.llpn(millis(4950), ki(1), Duration::from_secs(2));
        assert!((2500..=2950).contains(&told), "{told}");
    }

    #[test]
    fn samples_a_fifth_of_a_second_apart_are_kept() {
        let mut track = Track::default();
        for millis in [0, 100, 200, 299] {
            track.note(Time::ZERO.after(Duration::from_millis(millis)), ki(1), 1 + millis);
        }
        let kept: Vec<_> = track.of(ki(1)).map(|sample| sample.next_pn).collect();
        assert_eq!(kept, [300, 101, 1]);
    }

    #[test]
    fn two_samples_of_one_moment_are_no_rate() {
        let mut progress = Progress::default();
        progress.note(at(1), tx(1, 1));
        progress.note(at(1), tx(1, 1000));
        assert_eq!(progress.left(ki(1), LAST), None);
    }
}
