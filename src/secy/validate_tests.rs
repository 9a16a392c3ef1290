//! What becomes of a frame that comes in.

use super::*;

use std::sync::Barrier;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use crate::ident::{CipherSuite, ConfidentialityOffset, PacketNumber, Ssci};
use crate::secy::fixture::{
    FRAME, OWN, PEER, STRICT, an, buffer, default_key, key, ki, member, protected,
};
use crate::secy::{TagStyle, TxSa};

const CHECK: SecySettings = SecySettings { validate: Validate::Check, ..STRICT };
const DISABLED: SecySettings = SecySettings { validate: Validate::Disabled, ..STRICT };

/// A sender and the table of somebody that receives it.
struct Link {
    sa: TxSa,
    table: RxTable,
}

fn link(suite: CipherSuite, offset: ConfidentialityOffset) -> Link {
    let ssci = suite.is_xpn().then_some(1);
    let key = key(suite, offset);
    let mut table = RxTable::default();
    table.add_receiver(&key, an(1), member(OWN, ssci)).unwrap();
    Link { sa: TxSa::new(&key, an(1), OWN, ssci.map(Ssci)).unwrap(), table }
}

fn encrypting() -> Link {
    link(CipherSuite::GcmAes128, ConfidentialityOffset::Offset0)
}

fn in_clear() -> Link {
    link(CipherSuite::GcmAes128, ConfidentialityOffset::IntegrityOnly)
}

impl Link {
    fn frame(&self) -> FrameBuf {
        protected(&self.sa, TagStyle::Sci, &FRAME)
    }

    fn receive(
        &self,
        settings: &SecySettings,
        frame: &mut FrameBuf,
    ) -> (Result<Verdict, FrameDiscard>, Vec<&'static str>) {
        received(&self.table, settings, frame)
    }
}

/// What becomes of a frame, and the counters of packets that went up.
fn received(
    table: &RxTable,
    settings: &SecySettings,
    frame: &mut FrameBuf,
) -> (Result<Verdict, FrameDiscard>, Vec<&'static str>) {
    let mut counters = Counters::default();
    let outcome = validate(table, settings, frame, &mut counters);
    assert_eq!(frame.is_empty(), outcome.is_err());
    let up = counters.iter().filter(|(name, count)| name.contains("pkts") && *count != 0);
    (outcome, up.map(|(name, _)| name).collect())
}

fn changed(mut frame: FrameBuf, at: usize) -> FrameBuf {
    frame.octets_mut()[at] ^= 1;
    frame
}

#[test]
fn a_runt_is_discarded() {
    let outcome = encrypting().receive(&CHECK, &mut buffer(&FRAME[..13]));
    assert_eq!(outcome, (Err(FrameDiscard::Runt), vec!["in_pkts_runt"]));
}

#[test]
fn eapol_is_handed_to_nobody_however_lenient_the_settings() {
    let mut frame = FRAME;
    frame[12..14].copy_from_slice(&[0x88, 0x8e]);
    for settings in [STRICT, CHECK, DISABLED] {
        let outcome = encrypting().receive(&settings, &mut buffer(&frame));
        assert_eq!(outcome, (Err(FrameDiscard::Eapol), vec!["in_pkts_eapol"]));
    }
}

#[test]
fn a_frame_without_tag_passes_unless_strict() {
    let mut frame = buffer(&FRAME);
    let outcome = encrypting().receive(&CHECK, &mut frame);
    assert_eq!(outcome, (Ok(Verdict::Untagged), vec!["in_pkts_untagged"]));
    assert_eq!(frame.octets(), FRAME);
    let outcome = encrypting().receive(&STRICT, &mut frame);
    assert_eq!(outcome, (Err(FrameDiscard::NoTag), vec!["in_pkts_no_tag"]));
}

#[test]
fn a_frame_marked_for_the_kay_is_nobody_elses() {
    let link = encrypting();
    let mut frame = link.frame();
    frame.octets_mut()[14] &= !0x04;
    let outcome = link.receive(&DISABLED, &mut frame);
    assert_eq!(outcome, (Err(FrameDiscard::ForKay), vec!["in_pkts_for_kay"]));
}

#[test]
fn a_bad_tag_is_discarded_before_its_sci_is_looked_at() {
    let link = encrypting();
    let bad = |rule| (Err(FrameDiscard::BadTag(rule)), vec!["in_pkts_bad_tag"]);
    let mut frame = link.frame();
    frame.octets_mut()[14] |= 0x80;
    let outcome = received(&RxTable::default(), &CHECK, &mut frame);
    assert_eq!(outcome, bad(SecTagError::Version));

    let mut short = buffer(&link.frame().octets()[..28 + 48 + 15]);
    assert_eq!(link.receive(&CHECK, &mut short), bad(SecTagError::NotShort));
}

#[test]
fn packet_number_0_is_bad_unless_the_suite_is_xpn() {
    let zero = |link: &Link| {
        let mut frame = link.frame();
        frame.octets_mut()[16..20].fill(0);
        frame
    };
    let bad = (Err(FrameDiscard::BadTag(SecTagError::PnZero)), vec!["in_pkts_bad_tag"]);
    let link_32 = encrypting();
    assert_eq!(link_32.receive(&STRICT, &mut zero(&link_32)), bad);
    assert_eq!(received(&RxTable::default(), &STRICT, &mut zero(&link_32)), bad);

    let xpn = link(CipherSuite::GcmAesXpn128, ConfidentialityOffset::Offset0);
    let late = (Err(FrameDiscard::Late), vec!["in_pkts_late"]);
    assert_eq!(xpn.receive(&STRICT, &mut zero(&xpn)), late);
    let mut other_an = changed(zero(&xpn), 14);
    let not_using = (Err(FrameDiscard::NotUsingSa), vec!["in_pkts_not_using_sa"]);
    assert_eq!(xpn.receive(&STRICT, &mut other_an), not_using);
}

#[test]
fn an_unknown_channel_passes_in_clear_unless_strict() {
    let outcome = |link: Link, settings| received(&RxTable::default(), settings, &mut link.frame());
    let discarded = (Err(FrameDiscard::NoSci), vec!["in_pkts_no_sci"]);
    assert_eq!(outcome(encrypting(), &CHECK), discarded);
    assert_eq!(outcome(in_clear(), &STRICT), discarded);
    let passed = (Ok(Verdict::UnknownSci), vec!["in_pkts_unknown_sci"]);
    assert_eq!(outcome(in_clear(), &CHECK), passed);
}

#[test]
fn an_association_without_sa_passes_in_clear_unless_strict() {
    let outcome = |link: Link, settings| {
        let mut frame = link.frame();
        // AN 1 becomes 0.
        frame.octets_mut()[14] ^= 1;
        let outcome = link.receive(settings, &mut frame);
        (outcome, frame)
    };
    let discarded = (Err(FrameDiscard::NotUsingSa), vec!["in_pkts_not_using_sa"]);
    assert_eq!(outcome(encrypting(), &CHECK).0, discarded);
    assert_eq!(outcome(in_clear(), &STRICT).0, discarded);
    let (passed, frame) = outcome(in_clear(), &DISABLED);
    assert_eq!(passed, (Ok(Verdict::UnusedSa), vec!["in_pkts_unused_sa"]));
    assert_eq!(frame.octets(), FRAME);
}

#[test]
fn a_frame_replayed_is_late_even_where_its_icv_would_be_wrong() {
    let link = encrypting();
    let first = link.frame();
    assert_eq!(link.receive(&STRICT, &mut buffer(first.octets())).0, Ok(Verdict::Ok));
    let late = (Err(FrameDiscard::Late), vec!["in_pkts_late"]);
    assert_eq!(link.receive(&STRICT, &mut buffer(first.octets())), late);
    assert_eq!(link.receive(&STRICT, &mut changed(buffer(first.octets()), 40)), late);
}

#[test]
fn without_replay_protection_a_frame_replayed_is_delayed() {
    let lenient = SecySettings { replay_protect: false, ..STRICT };
    let link = encrypting();
    let first = link.frame();
    assert_eq!(link.receive(&lenient, &mut buffer(first.octets())).0, Ok(Verdict::Ok));
    let mut again = buffer(first.octets());
    let outcome = link.receive(&lenient, &mut again);
    assert_eq!(outcome, (Ok(Verdict::Delayed), vec!["in_pkts_delayed"]));
    assert_eq!(again.octets(), FRAME);
}

#[test]
fn a_wrong_icv_passes_in_clear_only_where_frames_are_merely_checked() {
    let outcome = |link: Link, settings| {
        let mut frame = changed(link.frame(), 40);
        let outcome = link.receive(settings, &mut frame);
        let replay = link.table.sa(ki(1), OWN).unwrap().replay().next_pn();
        assert_eq!(replay, PacketNumber(1), "a frame that is not valid changed the state");
        (outcome, frame)
    };
    let discarded = (Err(FrameDiscard::NotValid), vec!["in_pkts_not_valid"]);
    assert_eq!(outcome(encrypting(), &CHECK).0, discarded);
    assert_eq!(outcome(encrypting(), &DISABLED).0, discarded);
    assert_eq!(outcome(in_clear(), &STRICT).0, discarded);
    let (passed, frame) = outcome(in_clear(), &CHECK);
    assert_eq!(passed, (Ok(Verdict::Invalid), vec!["in_pkts_invalid"]));
    // As it came, the changed octet included: 40 was in the user data.
    assert_eq!(frame.octets()[24], FRAME[24] ^ 1);
    assert_eq!((&frame.octets()[..24], &frame.octets()[25..]), (&FRAME[..24], &FRAME[25..]));
}

#[test]
fn in_disabled_mode_a_frame_in_clear_is_not_checked() {
    let link = in_clear();
    let outcome = link.receive(&DISABLED, &mut changed(link.frame(), 40));
    assert_eq!(outcome, (Ok(Verdict::Unchecked), vec!["in_pkts_unchecked"]));

    link.table.sa(ki(1), OWN).unwrap().replay().raise(PacketNumber(100));
    let lenient = SecySettings { replay_protect: false, ..DISABLED };
    let outcome = link.receive(&lenient, &mut link.frame());
    assert_eq!(outcome, (Ok(Verdict::Delayed), vec!["in_pkts_delayed"]));
    let outcome = link.receive(&DISABLED, &mut link.frame());
    assert_eq!(outcome, (Err(FrameDiscard::Late), vec!["in_pkts_late"]));
}

#[test]
fn padding_behind_the_icv_of_a_short_frame_is_dropped() {
    let link = encrypting();
    let mut octets = protected(&link.sa, TagStyle::PointToPoint, &FRAME[..22]).octets().to_vec();
    octets.resize(60, 0);
    let mut frame = buffer(&octets);
    assert_eq!(link.receive(&STRICT, &mut frame).0, Ok(Verdict::Ok));
    assert_eq!(frame.octets(), &FRAME[..22]);
}

#[test]
fn both_kinds_of_protection_may_come_on_one_sa() {
    let sender = in_clear();
    let mut table = RxTable::default();
    // Expects encryption, from octet 30 on.
    let key = key(CipherSuite::GcmAes128, ConfidentialityOffset::Offset30);
    table.add_receiver(&key, an(1), member(OWN, None)).unwrap();
    let mut frame = sender.frame();
    assert_eq!(received(&table, &STRICT, &mut frame).0, Ok(Verdict::Ok));
    assert_eq!(frame.octets(), FRAME);
}

#[test]
fn the_octets_of_valid_frames_are_counted_by_kind() {
    for (link, expected) in [(encrypting(), (64, 0)), (in_clear(), (0, 64))] {
        let mut counters = Counters::default();
        validate(&link.table, &STRICT, &mut link.frame(), &mut counters).unwrap();
        let octets = (counters.in_octets_decrypted, counters.in_octets_validated);
        assert_eq!(octets, expected);
    }
}

#[test]
fn a_channel_inferred_from_the_source_address_is_the_senders() {
    let link = encrypting();
    let mut frame = protected(&link.sa, TagStyle::EndStation, &FRAME);
    assert_eq!(link.receive(&STRICT, &mut frame).0, Ok(Verdict::Ok));
    let mut other = protected(&link.sa, TagStyle::EndStation, &FRAME);
    other.octets_mut()[11] ^= 1;
    assert_eq!(link.receive(&STRICT, &mut other).0, Err(FrameDiscard::NoSci));
}

#[test]
fn a_frame_of_another_key_is_not_valid() {
    let link = encrypting();
    let mut table = RxTable::default();
    let other = key(CipherSuite::GcmAes256, ConfidentialityOffset::Offset0);
    table.add_receiver(&other, an(1), member(OWN, None)).unwrap();
    table.add_receiver(&default_key(), an(1), member(PEER, None)).unwrap();
    assert_eq!(received(&table, &STRICT, &mut link.frame()).0, Err(FrameDiscard::NotValid));
}

/// 802.1AE-2018 10.6.4: the state may have moved while the ICV was checked.
#[test]
fn a_frame_that_another_thread_was_faster_with_is_late() {
    let link = encrypting();
    let mut counters = Counters::default();
    link.table.sa(ki(1), OWN).unwrap().replay().commit_half(PacketNumber(1));
    let outcome = validate(&link.table, &STRICT, &mut link.frame(), &mut counters);
    assert_eq!(outcome, Err(FrameDiscard::Late));
    // Its ICV was good, and counted as such.
    assert_eq!((counters.in_pkts_late, counters.in_octets_decrypted), (1, 64));
}

#[test]
fn of_threads_that_receive_the_same_frames_one_delivers_each() {
    const THREADS: usize = 4;
    let link = in_clear();
    let frames: Vec<FrameBuf> = (0..2000).map(|_| link.frame()).collect();
    let delivered: Vec<AtomicU64> = frames.iter().map(|_| AtomicU64::new(0)).collect();
    let start = Barrier::new(THREADS);
    std::thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                let (mut copy, mut counters) = (FrameBuf::new(1600), Counters::default());
                start.wait();
                for (frame, delivered) in frames.iter().zip(&delivered) {
                    copy.fill(frame.octets()).unwrap();
                    let outcome = validate(&link.table, &STRICT, &mut copy, &mut counters);
                    delivered.fetch_add(outcome.is_ok().into(), Relaxed);
                }
            });
        }
    });
    assert!(delivered.iter().all(|count| count.load(Relaxed) <= 1));
    assert_eq!(delivered.last().unwrap().load(Relaxed), 1);
}
