//! What the frames on a cable say of themselves: that no number is used twice, and who speaks.

use std::collections::{BTreeMap, HashSet};
use std::time::{Duration, Instant};

use crate::wire::ethernet::{ETHERTYPE_EAPOL, ETHERTYPE_MACSEC};

/// How many faults are told in words; all are counted.
const TOLD_MAX: usize = 10;

/// Every number that was used on a cable. It reads the octets by itself, and holds no key.
///
/// An SA's frames are told from those of an earlier key under the same AN by their order: a channel
/// sends with one key at a time. A frame under another AN than the one before is the first of
/// another key, and must have the PN 1, so that going on with an earlier key is a fault. One that
/// begins again from 1 shows in the number of keys, which is for the reader to compare.
#[derive(Debug, Default)]
pub struct Ledger {
    channels: BTreeMap<[u8; 8], Channel>,
    speakers: BTreeMap<[u8; 6], Speaker>,
    faults: Vec<String>,
    fault_count: usize,
}

/// A transmit channel.
#[derive(Debug)]
struct Channel {
    an: u8,
    keys: u32,
    frames: u64,
    /// The packet numbers of the key in use; of an extended one the low 32 bits.
    used: HashSet<u32>,
}

/// Who sends MKPDUs.
#[derive(Debug)]
struct Speaker {
    last: Instant,
    silence: Duration,
    words: u64,
    /// The last message number of each of its identifiers.
    members: BTreeMap<[u8; 12], u32>,
}

impl Ledger {
    /// Enters a frame that crossed the cable, or at least its first 46 octets. The frames come in
    /// the order in which they crossed.
    pub fn enter(&mut self, frame: &[u8], at: Instant) {
        let Some((source, kind)) = part::<6>(frame, 6).zip(part::<2>(frame, 12)) else { return };
        match u16::from_be_bytes(kind) {
            ETHERTYPE_MACSEC => self.enter_protected(frame, source),
            ETHERTYPE_EAPOL => self.enter_mkpdu(frame, source, at),
            _ => {}
        }
    }

    fn enter_protected(&mut self, frame: &[u8], source: [u8; 6]) {
        const SCI_IS_THERE: u8 = 0x20;
        let Some(([tci_an], number)) = part::<1>(frame, 14).zip(part::<4>(frame, 16)) else {
            return self.fault("a SecTAG is cut short".to_owned());
        };
        // Without an SCI it is the only channel of this address.
        let [a, b, c, d, e, f] = source;
        let implicit = Some([a, b, c, d, e, f, 0, 1]);
        let sci = if tci_an & SCI_IS_THERE == 0 { implicit } else { part::<8>(frame, 20) };
        let Some(sci) = sci else { return self.fault("an SCI is cut short".to_owned()) };
        let (an, number) = (tci_an & 3, u32::from_be_bytes(number));
        let channel = self.channels.entry(sci).or_insert_with(|| Channel {
            an,
            keys: 1,
            frames: 0,
            used: HashSet::new(),
        });
        channel.frames += 1;
        let before = channel.an;
        if an != before {
            (channel.an, channel.keys) = (an, channel.keys + 1);
            channel.used.clear();
        }
        let twice = !channel.used.insert(number);
        if an != before && number != 1 {
            let sci = hex(&sci);
            self.fault(format!("{sci}: PN {number} of AN {an} is the first after AN {before}"));
        }
        if twice {
            self.fault(format!("{}: PN {number} of AN {an} was used twice", hex(&sci)));
        }
    }

    fn enter_mkpdu(&mut self, frame: &[u8], source: [u8; 6], at: Instant) {
        const MKPDU: u8 = 5;
        if part::<2>(frame, 14).is_none_or(|[_, kind]| kind != MKPDU) {
            return;
        }
        // Behind the EAPOL header: version, priority, flags, length and SCI (802.1X-2020 11.11.1).
        let Some((mi, mn)) = part::<12>(frame, 30).zip(part::<4>(frame, 42)) else {
            return self.fault("an MKPDU is cut short".to_owned());
        };
        let speaker = self.speakers.entry(source).or_insert_with(|| Speaker {
            last: at,
            silence: Duration::ZERO,
            words: 0,
            members: BTreeMap::new(),
        });
        speaker.words += 1;
        speaker.silence = speaker.silence.max(at.saturating_duration_since(speaker.last));
        speaker.last = at;
        let mn = u32::from_be_bytes(mn);
        let before = speaker.members.insert(mi, mn);
        if let Some(before) = before.filter(|&before| before >= mn) {
            self.fault(format!("{}: MN {mn} follows MN {before}", hex(&mi)));
        }
    }

    fn fault(&mut self, what: String) {
        self.fault_count += 1;
        if self.faults.len() < TOLD_MAX {
            self.faults.push(what);
        }
    }

    /// What was wrong, the first of it in words, and how much in all.
    #[must_use]
    pub fn faults(&self) -> (&[String], usize) {
        (&self.faults, self.fault_count)
    }

    /// Protected frames, of all channels.
    #[must_use]
    pub fn frames(&self) -> u64 {
        self.channels.values().map(|channel| channel.frames).sum()
    }

    /// How many keys each channel has sent with.
    pub fn keys(&self) -> impl Iterator<Item = u32> {
        self.channels.values().map(|channel| channel.keys)
    }

    /// How many identifiers each station had.
    pub fn members(&self) -> impl Iterator<Item = usize> {
        self.speakers.values().map(|speaker| speaker.members.len())
    }

    /// How many MKPDUs each station sent, and the longest time between two of them.
    pub fn words(&self) -> impl Iterator<Item = (u64, Duration)> {
        self.speakers.values().map(|speaker| (speaker.words, speaker.silence))
    }
}

fn part<const N: usize>(frame: &[u8], at: usize) -> Option<[u8; N]> {
    frame.get(at..)?.first_chunk().copied()
}

fn hex(octets: &[u8]) -> String {
    octets.iter().map(|octet| format!("{octet:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn protected(an: u8, number: u32) -> Vec<u8> {
        let head = [[1; 6], [2; 6]].concat();
        let sci = [2, 2, 2, 2, 2, 2, 0, 1];
        [head.as_slice(), &[0x88, 0xe5, 0x2c | an, 0], &number.to_be_bytes(), &sci].concat()
    }

    fn mkpdu(mi: u8, mn: u32) -> Vec<u8> {
        let head = [[1; 6], [2; 6]].concat();
        let basic = [3, 16, 0xe0, 28, 2, 2, 2, 2, 2, 2, 0, 1];
        let eapol = [0x88, 0x8e, 3, 5, 0, 80];
        [head.as_slice(), &eapol, &basic, &[mi; 12], &mn.to_be_bytes()].concat()
    }

    fn ledger(frames: &[Vec<u8>]) -> Ledger {
        let (mut ledger, at) = (Ledger::default(), Instant::now());
        frames.iter().for_each(|frame| ledger.enter(frame, at));
        ledger
    }

    #[test]
    fn a_number_is_used_once_under_each_key() {
        let numbers = (0..9).flat_map(|key| [protected(key & 3, 1), protected(key & 3, 2)]);
        let once = ledger(&numbers.collect::<Vec<_>>());
        assert_eq!(once.faults().1, 0);
        assert_eq!((once.frames(), once.keys().sum::<u32>()), (18, 9));

        let twice = ledger(&[protected(0, 1), protected(0, 2), protected(0, 1)]);
        assert_eq!(twice.faults().0, ["0202020202020001: PN 1 of AN 0 was used twice"]);
    }

    #[test]
    fn going_back_to_an_earlier_key_is_a_fault() {
        let back = ledger(&[protected(0, 1), protected(1, 1), protected(0, 2)]);
        assert_eq!(back.faults().0, ["0202020202020001: PN 2 of AN 0 is the first after AN 1"]);
        let anew = ledger(&[protected(0, 1), protected(1, 1), protected(0, 1)]);
        assert_eq!(anew.keys().collect::<Vec<_>>(), [3]);
    }

    #[test]
    fn a_message_number_only_grows_and_a_new_member_is_counted() {
        let good = ledger(&[mkpdu(7, 1), mkpdu(7, 2), mkpdu(8, 1)]);
        assert_eq!((good.faults().1, good.members().collect::<Vec<_>>()), (0, vec![2]));
        let bad = ledger(&[mkpdu(7, 2), mkpdu(7, 2)]);
        assert_eq!(bad.faults().0, ["070707070707070707070707: MN 2 follows MN 2"]);
    }

    #[test]
    fn what_is_cut_short_is_a_fault_and_no_panic() {
        for whole in [protected(0, 1), mkpdu(7, 1)] {
            for length in 16..whole.len() {
                assert_eq!(ledger(&[whole[..length].to_vec()]).faults().1, 1, "{length}");
            }
        }
    }
}
