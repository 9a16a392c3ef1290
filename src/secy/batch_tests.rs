//! A batch comes to what its frames come to one after the other.

use proptest::prelude::*;

use crate::ident::{CipherSuite, ConfidentialityOffset, PacketNumber, Ssci};
use crate::secy::fixture::{FRAME, OWN, PEER, STRICT, an, buffer, key, member};
use crate::secy::{
    Counters, FrameBuf, FrameDiscard, RxTable, SecySettings, TagStyle, TxSa, Validate, Verdict,
    protect, protect_batch, validate, validate_batch,
};

type Outcome = Result<Verdict, FrameDiscard>;

/// What a receiver is left with: verdicts, what it delivers, counters, and replay state.
#[derive(Debug, Eq, PartialEq)]
struct After {
    outcomes: Vec<Outcome>,
    delivered: Vec<Vec<u8>>,
    counters: Counters,
    replay: Vec<(PacketNumber, PacketNumber)>,
}

/// Frames of three SAs under two keys, and a table that receives them all.
fn receiver(start: u64) -> (RxTable, Vec<Vec<u8>>) {
    let mut table = RxTable::default();
    let mut frames = Vec::new();
    let suites = [
        (CipherSuite::GcmAesXpn256, ConfidentialityOffset::Offset0, 1, &[OWN, PEER][..]),
        (CipherSuite::GcmAes128, ConfidentialityOffset::IntegrityOnly, 2, &[OWN][..]),
    ];
    for (suite, offset, number, members) in suites {
        for (n, sci) in (1..).zip(members) {
            // A key transmits once, so each has its own, of the same octets.
            let ssci = suite.is_xpn().then_some(n);
            let sender = TxSa::new(&key(suite, offset), an(number), *sci, ssci.map(Ssci)).unwrap();
            if suite.is_xpn() {
                drop(sender.reserve(start));
            }
            for len in [14, 40, 76, 76, 76, 76, 76, 76] {
                let mut frame = buffer(&FRAME[..len]);
                let pn = sender.reserve(1).unwrap().next().unwrap();
                protect(pn, TagStyle::Sci, &mut frame, &mut Counters::default()).unwrap();
                frames.push(frame.octets().to_vec());
            }
        }
        let key = key(suite, offset);
        for (n, sci) in (1..).zip(members) {
            let ssci = suite.is_xpn().then_some(n);
            table.add_receiver(&key, an(number), member(*sci, ssci)).unwrap();
        }
    }
    for sa in table.sas().filter(|sa| sa.is_xpn()) {
        sa.replay().raise(PacketNumber(start + 1));
    }
    frames.push(FRAME.to_vec());
    (table, frames)
}

fn after(
    table: &RxTable,
    buffers: &[FrameBuf],
    outcomes: Vec<Outcome>,
    counters: Counters,
) -> After {
    let replay = table.sas().map(|sa| (sa.replay().next_pn(), sa.replay().lowest_pn()));
    After {
        outcomes,
        delivered: buffers.iter().map(|buffer| buffer.octets().to_vec()).collect(),
        counters,
        replay: replay.collect(),
    }
}

/// Picks frames, repeats and alters some, and has them received in both ways.
fn both_ways(settings: &SecySettings, start: u64, picks: &[(usize, Option<usize>)]) -> [After; 2] {
    let [one, other] = [receiver(start), receiver(start)];
    let arrived = picks.iter().map(|(which, flip)| {
        let mut octets = one.1[which % one.1.len()].clone();
        if let Some(at) = flip {
            let at = at % octets.len();
            octets[at] ^= 1;
        }
        octets
    });
    let arrived: Vec<Vec<u8>> = arrived.collect();
    let buffers = || arrived.iter().map(|octets| buffer(octets)).collect::<Vec<_>>();

    let (mut counters, mut alone) = (Counters::default(), buffers());
    let outcomes = alone.iter_mut().map(|frame| validate(&one.0, settings, frame, &mut counters));
    let outcomes = outcomes.collect();
    let one_by_one = after(&one.0, &alone, outcomes, counters);

    let (mut counters, mut together) = (Counters::default(), buffers());
    let mut outcomes = vec![None; arrived.len()];
    validate_batch(&other.0, settings, &mut together, &mut counters, |at, outcome| {
        assert_eq!(outcomes[at].replace(outcome), None, "told twice");
    });
    let outcomes = outcomes.into_iter().map(Option::unwrap).collect();
    [one_by_one, after(&other.0, &together, outcomes, counters)]
}

#[test]
fn of_a_number_that_comes_twice_in_a_batch_the_second_is_late() {
    let [_, batch] = both_ways(&STRICT, 0, &[(2, None), (2, None), (3, None), (2, Some(60))]);
    let late = Err(FrameDiscard::Late);
    assert_eq!(batch.outcomes, [Ok(Verdict::Ok), late, Ok(Verdict::Ok), late]);
    assert_eq!((batch.counters.in_pkts_ok, batch.counters.in_octets_decrypted), (2, 128));
}

proptest! {
    #[test]
    fn a_batch_is_received_as_its_frames_are_one_by_one(
        picks in prop::collection::vec(
            (0_usize..25, prop::option::weighted(0.2, 0_usize..200)),
            0..150,
        ),
        rising: bool,
        replay_protect: bool,
        replay_window in prop_oneof![Just(0), Just(3), Just(1 << 29)],
        validate in prop_oneof![
            Just(Validate::Strict), Just(Validate::Check), Just(Validate::Disabled)
        ],
        // Also where the completed number changes its upper half, or its highest bit below that.
        start in prop_oneof![Just(0), Just((1 << 31) - 5), Just((1 << 32) - 5)],
    ) {
        let mut picks = picks;
        if rising {
            picks.sort_by_key(|(which, _)| *which);
        }
        let settings =
            SecySettings { replay_protect, replay_window, validate, ..STRICT };
        let [one_by_one, batch] = both_ways(&settings, start, &picks);
        prop_assert_eq!(one_by_one, batch);
    }

    #[test]
    fn a_batch_is_protected_as_its_frames_are_one_by_one(
        lengths in prop::collection::vec(0_usize..1590, 0..150),
        numbers in 0_u64..200,
        eapol in 0_usize..150,
        offset in prop_oneof![
            Just(ConfidentialityOffset::Offset0),
            Just(ConfidentialityOffset::Offset30),
            Just(ConfidentialityOffset::Offset50),
            Just(ConfidentialityOffset::IntegrityOnly),
        ],
        style in prop_oneof![Just(TagStyle::Sci), Just(TagStyle::PointToPoint)],
    ) {
        let sender = || TxSa::new(&key(CipherSuite::GcmAes256, offset), an(1), OWN, None).unwrap();
        let (one, other) = (sender(), sender());
        let frames: Vec<FrameBuf> = lengths.iter().enumerate().map(|(n, len)| {
            let mut frame = vec![0x45; *len];
            if n == eapol && *len > 14 {
                frame[12..14].copy_from_slice(&[0x88, 0x8e]);
            }
            buffer(&frame)
        }).collect();
        let copy = || frames.iter().map(|frame| buffer(frame.octets())).collect::<Vec<_>>();

        let (mut alone, mut expected) = (copy(), Counters::default());
        for (pn, frame) in one.reserve(numbers).into_iter().flatten().zip(&mut alone) {
            let _ = protect(pn, style, frame, &mut expected);
        }
        let (mut together, mut counters) = (copy(), Counters::default());
        if let Some(run) = other.reserve(numbers) {
            let mut rest = together.iter_mut();
            protect_batch(run, style, &mut rest, &mut counters);
            prop_assert_eq!(rest.len(), lengths.len().saturating_sub(usize::try_from(numbers).unwrap()));
        }
        prop_assert_eq!(counters, expected);
        for (one, other) in alone.iter().zip(&together) {
            prop_assert_eq!(one.octets(), other.octets());
        }
    }
}
