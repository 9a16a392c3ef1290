//! The product's side: a SecY's whole work on a frame.

use std::sync::Arc;

use macsecd::crypto::{Sak, Salt};
use macsecd::engine::Engine;
use macsecd::ident::{
    AssociationNumber, CipherSuite, ConfidentialityOffset, KeyId, KeyNumber, MacAddress, MemberId,
    PacketNumber, Sci, Ssci,
};
use macsecd::secy::{
    Counters, FrameBuf, PreparedKey, RxMember, RxTable, SecyKey, SecySettings, TagStyle, TxSa,
    Validate, protect_batch, validate_batch,
};
use zeroize::Zeroizing;

use super::{Contender, Direction};

const SCI: Sci = Sci::new(MacAddress([2, 0, 0, 0, 0, 1]), 1);
const SETTINGS: SecySettings = SecySettings {
    protect: true,
    validate: Validate::Strict,
    replay_protect: true,
    replay_window: 0,
    include_sci: true,
};

struct Secy {
    sa: TxSa,
    table: RxTable,
    plain: Vec<Vec<u8>>,
    frames: Vec<FrameBuf>,
    counters: Counters,
}

struct Protect(Secy);
struct Check(Secy);

pub(super) fn contender(
    engine: Engine,
    suite: CipherSuite,
    sizes: &[usize],
    direction: Direction,
) -> Box<dyn Contender> {
    let ki = KeyId { server: MemberId::from_octets([7; 12]), number: KeyNumber(1) };
    let sak = Sak::new(Zeroizing::new(vec![5; suite.sak_len()])).unwrap();
    let salt = suite.is_xpn().then(|| Salt::new(ki));
    let ssci = suite.is_xpn().then_some(Ssci(1));
    let key = SecyKey { ki, suite, offset: ConfidentialityOffset::Offset0, sak, salt };
    let key = PreparedKey::for_engine(engine, Arc::new(key)).unwrap();
    let an = AssociationNumber::from_low_bits(1);
    let mut table = RxTable::default();
    let member = RxMember { sci: SCI, ssci, lowest_pn: PacketNumber::FIRST };
    table.add_receiver(&key, an, member).unwrap();
    let plain: Vec<Vec<u8>> = sizes.iter().map(|size| frame(*size)).collect();
    let secy = Secy {
        sa: TxSa::new(&key, an, SCI, ssci).unwrap(),
        table,
        frames: sizes.iter().map(|size| FrameBuf::new(size + 32)).collect(),
        plain,
        counters: Counters::default(),
    };
    match direction {
        Direction::Protect => Box::new(Protect(secy)),
        Direction::Validate => Box::new(Check(secy)),
    }
}

fn frame(size: usize) -> Vec<u8> {
    let mut frame = vec![0x45; size];
    frame[..6].fill(2);
    frame[6..12].copy_from_slice(&SCI.address().0);
    frame[12..14].copy_from_slice(&[8, 0]);
    frame
}

impl Secy {
    fn fill(&mut self) {
        for (frame, plain) in self.frames.iter_mut().zip(&self.plain) {
            frame.fill(plain).unwrap();
        }
    }

    fn protect(&mut self) {
        let run = self.sa.reserve(self.frames.len() as u64).unwrap();
        protect_batch(run, TagStyle::Sci, &mut self.frames.iter_mut(), &mut self.counters);
    }

    fn validate(&mut self) {
        let (frames, counters) = (self.frames.iter_mut(), &mut self.counters);
        validate_batch(&self.table, &SETTINGS, frames, counters, |_, _| {});
    }
}

impl Contender for Protect {
    fn ready(&mut self) {
        self.0.fill();
    }

    fn work(&mut self) {
        self.0.protect();
    }
}

impl Drop for Protect {
    fn drop(&mut self) {
        assert_eq!(self.0.counters.out_pkts_encrypted, self.0.sa.progress().next_pn.0 - 1);
    }
}

impl Contender for Check {
    fn ready(&mut self) {
        self.0.fill();
        self.0.protect();
    }

    fn work(&mut self) {
        self.0.validate();
    }
}

impl Drop for Check {
    fn drop(&mut self) {
        assert_eq!(self.0.counters.in_pkts_ok, self.0.counters.out_pkts_encrypted);
    }
}
