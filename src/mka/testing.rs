//! What the tests of this module share.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use zeroize::Zeroizing;

use super::{Access, Input, Kay, Manners, Output, Policy, PortState};
use crate::crypto::{Cak, Entropy, NoEntropy};
use crate::ident::{
    CipherSuite, Ckn, ConfidentialityOffset, KeyServerPriority, MacAddress, MessageNumber, Sci,
};
use crate::keyring::{Key, KeyRing};
use crate::secy::{SecyCommand, SecyError};
use crate::time::Time;
use crate::wire::{Eapol, EapolEthertype, Mkpdu, RawMkpdu};

/// Numbers that look random and are the same on every run (SplitMix64).
pub(crate) struct Seeded {
    state: u64,
    /// There are none while this is set.
    pub(crate) dry: Arc<AtomicBool>,
}

impl Seeded {
    pub(crate) fn new(seed: u64) -> Self {
        Self { state: seed, dry: Arc::default() }
    }

    fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}

impl Entropy for Seeded {
    fn fill(&mut self, out: &mut [u8]) -> Result<(), NoEntropy> {
        if self.dry.load(Ordering::Relaxed) {
            return Err(NoEntropy);
        }
        for chunk in out.chunks_mut(8) {
            let octets = self.next().to_le_bytes();
            chunk.iter_mut().zip(octets).for_each(|(to, from)| *to = from);
        }
        Ok(())
    }
}

/// The address part of the station with this number.
pub(crate) fn address(station: u8) -> MacAddress {
    MacAddress([2, 0, 0, 0, 0, station])
}

/// A policy with everything usual.
pub(crate) fn policy(station: u8, priority: u8) -> Policy {
    Policy {
        sci: Sci::new(address(station), 1),
        priority: KeyServerPriority(priority),
        cipher_suites: vec![CipherSuite::GcmAesXpn256],
        offset: ConfidentialityOffset::Offset0,
        access: Access::MustSecure,
        replay_protect: true,
        replay_window: 0,
        delay_protect: false,
        include_sci: true,
        rekey_after: None,
        rekey_octets: None,
        destination: MacAddress::PAE_GROUP,
        ethertype: EapolEthertype::default(),
        manners: Manners::default(),
    }
}

/// A ring of keys, each named and filled by one octet.
pub(crate) fn ring(keys: &[(u8, u8)]) -> KeyRing {
    let key = |&(name, octet): &(u8, u8)| {
        let cak = Cak::new(Zeroizing::new(vec![octet; 16])).unwrap();
        Arc::new(Key { ckn: Ckn::new(&[name; 4]).unwrap(), cak })
    };
    KeyRing::new(keys.iter().map(key).collect()).unwrap()
}

/// A KaY with a data plane that does all it is told, and a record of what it was told.
pub(crate) struct Station {
    pub(crate) kay: Kay,
    pub(crate) commands: Vec<SecyCommand>,
    pub(crate) sent: Vec<Vec<u8>>,
    /// What it has last asked to be kept.
    pub(crate) memory: Option<Vec<u8>>,
    /// How much more it does before it stands still for good; `None` for ever.
    pub(crate) effects_left: Option<usize>,
    /// Answers every command with a refusal.
    pub(crate) refuse: bool,
    /// Answers these with a refusal.
    pub(crate) denies: fn(&SecyCommand) -> bool,
    /// Says of every SAK that is to be removed that there is none.
    pub(crate) gone: bool,
    /// Takes the randomness away.
    pub(crate) dry: Arc<AtomicBool>,
}

impl Station {
    pub(crate) fn new(policy: Policy, keys: &KeyRing) -> Self {
        let seed = Seeded::new(u64::from_be_bytes(policy.sci.octets()));
        let dry = Arc::clone(&seed.dry);
        let kay = Kay::new(Time::ZERO, policy, keys, Box::new(seed)).unwrap();
        Self {
            kay,
            commands: Vec::new(),
            sent: Vec::new(),
            memory: None,
            effects_left: None,
            refuse: false,
            denies: |_| false,
            gone: false,
            dry,
        }
    }

    /// Handles one input and carries out what follows; MKPDUs gather in `sent`.
    pub(crate) fn handle(&mut self, now: Time, input: Input<'_>) {
        if self.effects_left == Some(0) {
            return;
        }
        self.kay.handle(now, input);
        while let Some(output) = self.kay.poll_output() {
            match &mut self.effects_left {
                Some(0) => return,
                Some(left) => *left -= 1,
                None => {}
            }
            match output {
                Output::Transmit(frame) => self.sent.push(frame),
                Output::Remember(memory) => self.memory = memory,
                Output::Secy { id, command } => {
                    let refuse = self.refuse || (self.denies)(&command);
                    let refused = Err(SecyError::Invalid("refused by the test"));
                    let mut result = if refuse { refused } else { Ok(()) };
                    if let (SecyCommand::RemoveSak(ki), true) = (&command, self.gone) {
                        result = Err(SecyError::NoSuchKey(*ki));
                    }
                    self.commands.push(command);
                    self.kay.handle(now, Input::Secy { id, result });
                }
            }
        }
    }

    /// When it is to be woken.
    fn wake(&self) -> Option<Time> {
        self.kay.poll_timeout().filter(|_| self.effects_left != Some(0))
    }

    pub(crate) fn state(&self) -> PortState {
        self.kay.state()
    }
}

/// Two stations on a perfect link, and the time.
pub(crate) struct Pair {
    pub(crate) now: Time,
    pub(crate) a: Station,
    pub(crate) b: Station,
    /// Everything that crossed the link.
    pub(crate) wire: Vec<Vec<u8>>,
    /// Nothing crosses the link while this is set.
    pub(crate) cut: bool,
    /// What the link lets pass.
    pub(crate) passes: fn(&[u8]) -> bool,
    /// Changes what `b` says before it is signed; its key must be that of `ring(&[(1, 7)])`.
    pub(crate) tamper: Option<fn(&mut Mkpdu)>,
}

/// What a frame says.
pub(crate) fn read(frame: &[u8]) -> Mkpdu {
    RawMkpdu::decode(&Eapol::decode(frame).unwrap()).unwrap().parse().unwrap()
}

/// Says it, signed with the key of `ring(&[(1, 7)])`.
pub(crate) fn sign(mkpdu: &Mkpdu) -> Vec<u8> {
    let keys = ring(&[(1, 7)]);
    let key = keys.iter().next().unwrap();
    let mut frame = mkpdu.encode(MacAddress::PAE_GROUP, mkpdu.basic.sci.address()).unwrap();
    let icv = key.cak.ick(&key.ckn).icv(&frame);
    frame.extend_from_slice(&icv);
    frame
}

impl Pair {
    pub(crate) fn new(a: Policy, b: Policy) -> Self {
        Self::with_keys(a, &ring(&[(1, 7)]), b, &ring(&[(1, 7)]))
    }

    pub(crate) fn with_keys(a: Policy, a_keys: &KeyRing, b: Policy, b_keys: &KeyRing) -> Self {
        let (a, b) = (Station::new(a, a_keys), Station::new(b, b_keys));
        Self { now: Time::ZERO, a, b, wire: Vec::new(), cut: false, passes: |_| true, tamper: None }
    }

    /// An MKPDU as station `b` would send it next, changed by `change` and signed with the key of
    /// `ring(&[(1, 7)])`.
    pub(crate) fn forged(&self, change: impl FnOnce(&mut Mkpdu)) -> Vec<u8> {
        let sci = self.b.kay.status(self.now).sci;
        let mut last = self.wire.iter().rev().map(|frame| read(frame));
        let mut mkpdu = last.find(|mkpdu| mkpdu.basic.sci == sci).expect("b has spoken");
        mkpdu.basic.mn = MessageNumber(mkpdu.basic.mn.0 + 1);
        change(&mut mkpdu);
        sign(&mkpdu)
    }

    /// Gives `a` a frame and says which refusals were counted.
    pub(crate) fn refusals(&mut self, frame: &[u8]) -> Vec<&'static str> {
        let before = self.a.kay.status(self.now).discards;
        self.a.handle(self.now, Input::Frame(frame));
        let after = self.a.kay.status(self.now).discards;
        let grown = after.iter().filter(|&(discard, count)| count > before.of(discard));
        grown.map(|(discard, _)| discard.name()).collect()
    }

    /// Brings the link up and lets things run for `span`.
    pub(crate) fn start(&mut self, span: Duration) {
        self.a.handle(self.now, Input::Carrier(true));
        self.b.handle(self.now, Input::Carrier(true));
        self.run(span);
    }

    /// Lets time pass, waking each station when it asks to be.
    pub(crate) fn run(&mut self, span: Duration) {
        let end = self.now.after(span);
        loop {
            self.deliver();
            let wakes = [self.a.wake(), self.b.wake()];
            let Some(next) = wakes.into_iter().flatten().min().filter(|&next| next <= end) else {
                break;
            };
            self.now = self.now.max(next);
            self.a.handle(self.now, Input::Timeout);
            self.b.handle(self.now, Input::Timeout);
        }
        self.now = end;
    }

    fn deliver(&mut self) {
        for _ in 0..200 {
            let (from_a, mut from_b) =
                (std::mem::take(&mut self.a.sent), std::mem::take(&mut self.b.sent));
            if let Some(tamper) = self.tamper {
                for frame in &mut from_b {
                    let mut mkpdu = read(frame);
                    tamper(&mut mkpdu);
                    *frame = sign(&mkpdu);
                }
            }
            if from_a.is_empty() && from_b.is_empty() {
                return;
            }
            for (frames, to) in [(from_a, &mut self.b), (from_b, &mut self.a)] {
                for frame in frames {
                    if !self.cut && (self.passes)(&frame) {
                        to.handle(self.now, Input::Frame(&frame));
                    }
                    self.wire.push(frame);
                }
            }
        }
        panic!("the stations never stop talking");
    }
}

/// Any number of stations on a perfect segment.
pub(crate) struct Group {
    pub(crate) now: Time,
    pub(crate) stations: Vec<Station>,
    /// The octets of the longest frame that there was.
    pub(crate) longest: usize,
}

impl Group {
    /// Stations 1, 2 and so on of these priorities, with carrier.
    pub(crate) fn started(priorities: &[u8], span: Duration) -> Self {
        Self::of((1..).zip(priorities).map(|(of, &priority)| policy(of, priority)), span)
    }

    /// The same of these policies.
    pub(crate) fn of(policies: impl Iterator<Item = Policy>, span: Duration) -> Self {
        let stations = policies.map(|policy| Station::new(policy, &ring(&[(1, 7)]))).collect();
        let mut group = Self { now: Time::ZERO, stations, longest: 0 };
        for station in &mut group.stations {
            station.handle(Time::ZERO, Input::Carrier(true));
        }
        group.run(span);
        group
    }

    /// Lets time pass, waking each station when it asks to be.
    pub(crate) fn run(&mut self, span: Duration) {
        let end = self.now.after(span);
        loop {
            self.deliver();
            let wakes = self.stations.iter().filter_map(|station| station.kay.poll_timeout());
            let Some(next) = wakes.min().filter(|&next| next <= end) else { break };
            self.now = self.now.max(next);
            for station in &mut self.stations {
                station.handle(self.now, Input::Timeout);
            }
        }
        self.now = end;
    }

    fn deliver(&mut self) {
        for _ in 0..200 {
            let sent: Vec<_> =
                self.stations.iter_mut().map(|of| std::mem::take(&mut of.sent)).collect();
            if sent.iter().all(Vec::is_empty) {
                return;
            }
            for (from, frames) in sent.iter().enumerate() {
                self.longest = frames.iter().map(Vec::len).fold(self.longest, usize::max);
                let others = self.stations.iter_mut().enumerate().filter(|&(to, _)| to != from);
                for (_, to) in others {
                    frames.iter().for_each(|frame| to.handle(self.now, Input::Frame(frame)));
                }
            }
        }
        panic!("the stations never stop talking");
    }
}
