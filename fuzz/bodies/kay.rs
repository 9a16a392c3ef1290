//! Octets to inputs: whatever a KaY is given, in whatever order, it neither panics nor runs hot.

use std::sync::Arc;
use std::time::Duration;

use macsecd::crypto::{Cak, Entropy, Ick, NoEntropy};
use macsecd::ident::{
    CipherSuite, Ckn, ConfidentialityOffset, KeyId, KeyNumber, KeyServerPriority, MacAddress,
    MemberId, PacketNumber, Sci,
};
use macsecd::keyring::{Key, KeyRing};
use macsecd::mka::{Access, Input, Kay, Manners, MkaVersion, Output, Policy, SsciOrder};
use macsecd::secy::{CommandId, SecyCommand, SecyError, TxProgress};
use macsecd::time::Time;
use macsecd::wire::EapolEthertype;

/// More outputs than this to one input would be a storm.
const OUTPUTS_MAX: usize = 400;

struct Counter(u8);

impl Entropy for Counter {
    fn fill(&mut self, out: &mut [u8]) -> Result<(), NoEntropy> {
        self.0 = self.0.wrapping_add(1);
        out.fill(self.0);
        Ok(())
    }
}

fn policy(shape: u8) -> Policy {
    Policy {
        sci: Sci::new(MacAddress([2, 0, 0, 0, 0, 1]), 1),
        priority: KeyServerPriority(if shape & 1 == 0 { 16 } else { 200 }),
        cipher_suites: CipherSuite::ALL.to_vec(),
        offset: ConfidentialityOffset::from_low_bits(shape >> 1),
        access: if shape & 8 == 0 { Access::MustSecure } else { Access::ShouldSecure },
        replay_protect: true,
        replay_window: 0,
        delay_protect: shape & 4 != 0,
        include_sci: true,
        rekey_after: (shape & 16 != 0).then_some(Duration::from_secs(30)),
        rekey_octets: None,
        destination: MacAddress::PAE_GROUP,
        ethertype: EapolEthertype::default(),
        manners: Manners {
            version: if shape & 32 == 0 { MkaVersion::V3 } else { MkaVersion::V1 },
            lone_key_in_latest: shape & 64 != 0,
            ssci: if shape & 128 == 0 { SsciOrder::Stated } else { SsciOrder::BySci },
            ..Manners::default()
        },
    }
}

/// A KaY under test, with the key that a frame must be signed with to get anywhere.
struct Session {
    kay: Kay,
    ick: Ick,
    now: Time,
    asked: Vec<CommandId>,
    installed: Vec<KeyId>,
    said: Vec<Vec<u8>>,
}

impl Session {
    fn start(shape: u8) -> Option<Self> {
        // The key of `tests/vectors/mkpdu_negative.json`, so that its frames are authentic here.
        let octets = [
            0x13, 0x5b, 0xd7, 0x58, 0xb0, 0xee, 0x5c, 0x11, 0xc5, 0x5f, 0xf6, 0xab, 0x19, 0xfd,
            0xb1, 0x99,
        ];
        let (cak, ckn) = (Cak::new(octets.to_vec().into()).ok()?, Ckn::new(b"MKA").ok()?);
        let ick = cak.ick(&ckn);
        let ring = KeyRing::new(vec![Arc::new(Key { ckn, cak })]).ok()?;
        let kay = Kay::new(Time::ZERO, policy(shape), &ring, Box::new(Counter(0))).ok()?;
        Some(Self {
            kay,
            ick,
            now: Time::ZERO,
            asked: Vec::new(),
            installed: Vec::new(),
            said: Vec::new(),
        })
    }

    fn handle(&mut self, input: Input<'_>) {
        self.kay.handle(self.now, input);
        for count in 0.. {
            assert!(count < OUTPUTS_MAX, "a storm of outputs");
            match self.kay.poll_output() {
                Some(Output::Transmit(frame)) => self.said.push(frame),
                Some(Output::Remember(_)) => {}
                Some(Output::Secy { id, command }) => {
                    self.asked.push(id);
                    if let SecyCommand::InstallSak(install) = command {
                        self.installed.push(install.key.ki);
                    }
                }
                None => break,
            }
        }
        let next = self.kay.poll_timeout();
        assert!(next.is_none_or(|next| next > self.now), "asks to be woken at once");
    }

    /// One step, driven by up to `data`; gives what is left of it.
    fn step<'a>(&mut self, op: u8, data: &'a [u8]) -> &'a [u8] {
        let (&argument, rest) = data.split_first().unwrap_or((&0, &[]));
        match op % 8 {
            0 => self.handle(Input::Carrier(argument & 1 == 1)),
            1 => {
                self.now = self.now.after(Duration::from_millis(u64::from(argument) * 50));
                self.handle(Input::Timeout);
            }
            2 => {
                let id = self.asked.pop().unwrap_or(CommandId(u64::from(argument)));
                let refused = Err(SecyError::Invalid("refused"));
                let result = if argument & 3 == 0 { refused } else { Ok(()) };
                self.handle(Input::Secy { id, result });
            }
            3 => {
                let ki = KeyId {
                    server: MemberId::from_octets([1; 12]),
                    number: KeyNumber(u32::from(argument & 3)),
                };
                let next_pn = PacketNumber(u64::from(argument) << 56 | u64::from(argument) << 24);
                self.handle(Input::TxProgress(TxProgress { ki, next_pn }));
            }
            4 if argument & 1 == 1 => {
                // Also one that is gone.
                let which = usize::from(argument >> 1);
                if let Some(&ki) = self.installed.iter().rev().nth(which & 3) {
                    self.handle(Input::SakLost(ki));
                }
            }
            4 => {
                let _ = self.kay.rekey(self.now);
                self.handle(Input::Timeout);
            }
            5 => {
                // One's own words, come back.
                if let Some(frame) = self.said.pop() {
                    self.handle(Input::Frame(&frame));
                }
            }
            6 => return self.frame(argument, rest, false),
            _ => return self.frame(argument, rest, true),
        }
        rest
    }

    /// A frame from the data, whose ICV is made good if `signed`.
    fn frame<'a>(&mut self, argument: u8, rest: &'a [u8], signed: bool) -> &'a [u8] {
        let length = (usize::from(argument) * 2).min(rest.len());
        let (octets, rest) = rest.split_at(length);
        let mut frame = octets.to_vec();
        if signed && frame.len() > 16 {
            frame.truncate(frame.len() - 16);
            let icv = self.ick.icv(&frame);
            frame.extend_from_slice(&icv);
        }
        self.handle(Input::Frame(&frame));
        rest
    }
}

pub fn kay(data: &[u8]) {
    let Some((&shape, mut rest)) = data.split_first() else { return };
    let Some(mut session) = Session::start(shape) else { return };
    session.handle(Input::Carrier(true));
    while let Some((&op, data)) = rest.split_first() {
        rest = session.step(op, data);
    }
    // And it still shows itself.
    let _ = session.kay.status(session.now);
}
