//! Lives that nobody thought of: commands and frames drawn from a seed.
//!
//! Nothing is drawn that the kernel is known to do otherwise, so that all must agree throughout.

use macsecd::ident::{CipherSuite, PacketNumber};
use macsecd::secy::{SecyCommand, SecySettings};

use CipherSuite::{GcmAes128, GcmAesXpn256};

use crate::frame::{Key, Sender, data, ours};
use crate::script::{Observation, Script, script};
use crate::secy::{Frame, PEER, STRICT, Station, THIRD};

const STEPS: usize = 80;
const SEEDS: u64 = 6;
const MEMBERS: [Station; 2] = [PEER, THIRD];

/// Steele and Vigna's SplitMix64: the same numbers on every machine.
struct Numbers(u64);

impl Numbers {
    /// A number below `end`.
    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut number = self.0;
        number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((number ^ (number >> 31)) % end as u64).unwrap()
    }
}

/// A key, what its members send with it, and what they have sent.
struct Used {
    key: Key,
    installed: bool,
    senders: [Sender; 2],
    sent: Vec<Frame>,
}

struct Life {
    suite: CipherSuite,
    seed: u64,
    numbers: Numbers,
    keys: Vec<Used>,
}

impl Life {
    fn new(suite: CipherSuite, seed: u64) -> Self {
        Self { suite, seed, numbers: Numbers(seed), keys: Vec::new() }
    }

    fn write(mut self, script: &mut Script) {
        script.open();
        for step in 0..STEPS {
            let at = &format!("seed {}, step {step}", self.seed);
            match self.numbers.below(12) {
                0 | 1 => self.install(script, at),
                2 => self.remove(script, at),
                3 => self.member(script, at),
                4 => self.raise(script, at),
                5 => self.configure(script, at),
                6 | 7 => self.enable(script, at),
                8 => self.send(script, at),
                _ => self.receive(script, at),
            }
        }
    }

    /// The next key, on the next association if that is free; else it is refused.
    fn install(&mut self, script: &mut Script, at: &str) {
        let key = Key::new(u32::try_from(self.keys.len()).unwrap() + 1, self.suite);
        let from = &MEMBERS[..self.numbers.below(3)];
        script.apply(format!("{at}: install {}", key.ki().number.0), key.install(from));
        let free = self.keys.iter().all(|used| !used.installed || used.key.an() != key.an());
        if free {
            let senders = MEMBERS.map(|member| Sender::new(member, &key));
            self.keys.push(Used { key, installed: true, senders, sent: Vec::new() });
        }
    }

    /// A key that there has been, installed or not.
    fn any(&mut self) -> Option<&mut Used> {
        let count = self.keys.len().max(1);
        let at = self.numbers.below(count);
        self.keys.get_mut(at)
    }

    fn remove(&mut self, script: &mut Script, at: &str) {
        let Some(used) = self.any() else { return };
        used.installed = false;
        script.apply(format!("{at}: remove"), SecyCommand::RemoveSak(used.key.ki()));
    }

    fn enable(&mut self, script: &mut Script, at: &str) {
        let Some(used) = self.any() else { return };
        script.apply(format!("{at}: enable"), SecyCommand::EnableTx(used.key.ki()));
    }

    fn member(&mut self, script: &mut Script, at: &str) {
        let member = MEMBERS[self.numbers.below(2)];
        let leaves = self.numbers.below(2) == 0;
        let Some(used) = self.any() else { return };
        let (ki, joins) = (used.key.ki(), used.key.member(member, 1));
        let command = if leaves {
            SecyCommand::RemoveReceiver(member.sci)
        } else {
            SecyCommand::AddReceiver { ki, member: joins }
        };
        script.apply(format!("{at}: a member, leaving: {leaves}"), command);
    }

    fn raise(&mut self, script: &mut Script, at: &str) {
        let (sci, lowest) = (MEMBERS[self.numbers.below(2)].sci, self.numbers.below(20));
        let Some(used) = self.any() else { return };
        let (ki, lowest_pn) = (used.key.ki(), PacketNumber(lowest as u64));
        script.apply(
            format!("{at}: raise to {lowest}"),
            SecyCommand::RaiseLowestPn { ki, sci, lowest_pn },
        );
    }

    fn configure(&mut self, script: &mut Script, at: &str) {
        let include_sci = self.numbers.below(2) == 0;
        script.configure(
            format!("{at}: carry the SCI: {include_sci}"),
            SecySettings { include_sci, ..STRICT },
        );
    }

    fn send(&mut self, script: &mut Script, at: &str) {
        let count = 1 + self.numbers.below(4);
        let frames = (0..count).map(|_| ours(14 + self.numbers.below(1000))).collect();
        script.send(format!("{at}: send"), frames);
    }

    /// Fresh frames and old ones, under keys that are there or whose association is free: under
    /// another key on it they would fail, and the kernel counts their octets.
    fn receive(&mut self, script: &mut Script, at: &str) {
        let mut frames = Vec::new();
        for _ in 0..1 + self.numbers.below(6) {
            let (who, len) = (self.numbers.below(2), 14 + self.numbers.below(1000));
            let (again, which) = (self.numbers.below(3) == 0, self.numbers.below(1000));
            let taken: Vec<u8> = self.installed().map(|key| key.an().value()).collect();
            let Some(used) = self.any() else { return };
            if !used.installed && taken.contains(&used.key.an().value()) {
                continue;
            }
            if again && !used.sent.is_empty() {
                frames.push(used.sent[which % used.sent.len()].clone());
                continue;
            }
            let frame = used.senders[who].protect(&data(MEMBERS[who], len));
            used.sent.push(frame.clone());
            frames.push(frame);
        }
        script.inject(format!("{at}: receive"), frames);
    }

    fn installed(&self) -> impl Iterator<Item = &Key> {
        self.keys.iter().filter(|used| used.installed).map(|used| &used.key)
    }
}

fn lives(suite: CipherSuite) -> impl Iterator<Item = Script> {
    (0..SEEDS).map(move |seed| {
        let mut script = script!(STRICT);
        Life::new(suite, seed).write(&mut script);
        script
    })
}

#[test]
fn any_life_is_the_same_for_all() {
    lives(GcmAes128).for_each(|script| script.run());
}

#[test]
fn any_life_with_xpn_is_the_same_for_all() {
    lives(GcmAesXpn256).for_each(|script| script.run());
}

/// Should the numbers be drawn otherwise one day, this tells whether anything still happens.
#[test]
fn a_good_deal_happens_in_these_lives() {
    let all: Vec<Observation> = lives(GcmAes128).flat_map(|script| script.expected()).collect();
    let count = |name| all.iter().filter_map(|seen| seen.counted.get(name)).sum::<u64>();
    let refused = all.iter().filter(|seen| seen.answer.is_err()).count();
    let seen = [
        count("in_pkts_ok"),
        count("in_pkts_late"),
        count("in_pkts_not_using_sa"),
        count("in_pkts_no_sci"),
        count("out_pkts_encrypted"),
        count("out_pkts_no_sa"),
        refused as u64,
    ];
    assert!(seen.iter().all(|count| *count > 20), "{seen:?}");
}
