//! Each cause, shown by what two KaYs really come to know of each other.

use super::*;
use crate::mka::testing::{Pair, policy, ring};
use crate::mka::{Access, Input, Policy};
use crate::wire::{DistributedSak, MacsecCapability};

const SECOND: Duration = Duration::from_secs(1);

fn diagnose(pair: &Pair, suites: &[CipherSuite]) -> (Option<&'static str>, String) {
    let status = pair.a.kay.status(pair.now);
    let observed = Observed { interface: "eth1", present: true, suites, status: &status };
    match reason(pair.now, &observed) {
        Some(found) => (Some(found.code), format!("{} | {}", found.title, found.advice)),
        None => (None, String::new()),
    }
}

fn code(pair: &Pair) -> Option<&'static str> {
    diagnose(pair, &[CipherSuite::GcmAesXpn256]).0
}

fn after(mut pair: Pair, seconds: u64) -> Pair {
    pair.start(Duration::from_secs(seconds));
    pair
}

#[test]
fn a_secured_port_has_no_reason() {
    assert_eq!(code(&after(Pair::new(policy(1, 16), policy(2, 200)), 1)), None);
}

#[test]
fn a_missing_interface_and_a_lost_carrier_hide_everything_else() {
    let mut pair = after(Pair::new(policy(1, 16), policy(2, 200)), 1);
    pair.a.handle(pair.now, Input::Carrier(false));
    assert_eq!(code(&pair), Some("E001"));
    let status = pair.a.kay.status(pair.now);
    let observed = Observed { interface: "eth9", present: false, suites: &[], status: &status };
    let found = reason(pair.now, &observed).unwrap();
    assert_eq!((found.code, found.title.as_str()), ("E009", "there is no interface eth9"));
}

#[test]
fn silence_is_waited_for_and_then_named() {
    let mut pair = Pair::new(policy(1, 16), policy(2, 200));
    pair.cut = true;
    let mut pair = after(pair, 3);
    assert_eq!(code(&pair), Some("N001"));
    pair.run(3 * SECOND);
    let (code, text) = diagnose(&pair, &[]);
    assert_eq!(code, Some("E002"));
    assert!(text.starts_with("no key-exchange frame has ever been received"), "{text}");
}

#[test]
fn a_peer_that_goes_silent_is_told_with_the_time_since() {
    let mut pair = after(Pair::new(policy(1, 16), policy(2, 200)), 1);
    pair.cut = true;
    pair.run(8 * SECOND);
    assert_eq!(code(&pair), Some("E002"));
    pair.run(5 * SECOND);
    let (code, text) = diagnose(&pair, &[]);
    assert_eq!(code, Some("E002"));
    assert!(text.starts_with("no key-exchange frame for 1"), "{text}");
}

#[test]
fn a_link_that_came_back_gives_its_peer_time_again() {
    let mut pair = after(Pair::new(policy(1, 16), policy(2, 200)), 1);
    pair.cut = true;
    pair.run(8 * SECOND);
    for carrier in [false, true] {
        pair.a.handle(pair.now, Input::Carrier(carrier));
    }
    pair.run(3 * SECOND);
    assert_eq!(code(&pair), Some("N001"));
    pair.run(3 * SECOND);
    assert_eq!(code(&pair), Some("E002"));
}

#[test]
fn another_key_name_shows_theirs_and_ours() {
    let keys = (ring(&[(1, 7)]), ring(&[(2, 7)]));
    let pair = after(Pair::with_keys(policy(1, 16), &keys.0, policy(2, 200), &keys.1), 3);
    let (code, text) = diagnose(&pair, &[]);
    assert_eq!(code, Some("E101"));
    assert!(text.contains("the key name 02020202; ours: 01010101"), "{text}");
}

#[test]
fn names_that_differ_by_padding_or_by_spelling_are_recognised() {
    let name = |octets: &[u8]| Ckn::new(octets).unwrap();
    let hint =
        |theirs: &[u8], ours: &[u8]| alike(&name(theirs), &name(ours)).map(|hint| &hint[..9]);
    assert_eq!(hint(&[1, 2, 0, 0], &[1, 2]), Some("The names"));
    assert_eq!(hint(b"AB12", &[0xab, 0x12]), Some("One end t"));
    assert_eq!(hint(&[0xab, 0x12], b"ab12"), Some("One end t"));
    assert_eq!(hint(&[1], &[2]), None);
}

#[test]
fn another_key_under_the_same_name_is_told_from_another_name() {
    let keys = (ring(&[(1, 7)]), ring(&[(1, 8)]));
    let pair = after(Pair::with_keys(policy(1, 16), &keys.0, policy(2, 200), &keys.1), 3);
    let (code, text) = diagnose(&pair, &[]);
    assert_eq!(code, Some("E102"));
    assert!(text.starts_with("02:00:00:00:00:02/0001 uses the key name 01010101"), "{text}");
}

#[test]
fn a_peer_that_does_not_hear_us_is_named_after_two_hellos() {
    let mut pair = Pair::new(policy(1, 16), policy(2, 200));
    pair.b.handle(pair.now, Input::Carrier(true));
    for _ in 0..6 {
        for frame in std::mem::take(&mut pair.b.sent) {
            pair.a.handle(pair.now, Input::Carrier(true));
            pair.a.handle(pair.now, Input::Frame(&frame));
        }
        pair.now = pair.now.after(SECOND);
        pair.a.handle(pair.now, Input::Timeout);
        pair.b.handle(pair.now, Input::Timeout);
    }
    assert_eq!(code(&pair), Some("E005"));
}

#[test]
fn both_ends_see_why_they_have_no_key_server() {
    let pair = after(Pair::new(policy(1, 255), policy(2, 255)), 3);
    let (code, text) = diagnose(&pair, &[]);
    assert_eq!(code, Some("E201"));
    assert!(text.contains("our priority is 255"), "{text}");
}

#[test]
fn a_refused_suite_shows_both_and_the_server_sees_that_its_key_is_not_taken() {
    let other = |station, priority| Policy {
        cipher_suites: vec![CipherSuite::GcmAes128],
        ..policy(station, priority)
    };
    let refusing = after(Pair::new(other(1, 200), policy(2, 16)), 5);
    let (code, text) = diagnose(&refusing, &[CipherSuite::GcmAes128]);
    assert_eq!(code, Some("E203"));
    assert!(text.contains("chose GCM-AES-XPN-256, and this end allows GCM-AES-128 only"), "{text}");

    let serving = after(Pair::new(policy(1, 16), other(2, 200)), 5);
    assert_eq!(diagnose(&serving, &[]).0, Some("E204"));
}

#[test]
fn a_data_plane_that_refuses_is_quoted() {
    let mut pair = Pair::new(policy(1, 200), policy(2, 16));
    pair.a.refuse = true;
    let (code, text) = diagnose(&after(pair, 1), &[]);
    assert_eq!(code, Some("E313"));
    assert!(text.contains("refused by the test"), "{text}");
}

#[test]
fn our_own_frames_coming_back_are_recognised() {
    let mut pair = Pair::new(policy(1, 16), policy(2, 200));
    pair.a.handle(pair.now, Input::Carrier(true));
    for frame in std::mem::take(&mut pair.a.sent) {
        pair.a.handle(pair.now, Input::Frame(&frame));
    }
    assert_eq!(code(&pair), Some("E006"));
}

#[test]
fn a_peer_without_macsec_is_named_and_lets_frames_pass_in_clear_only_where_policy_does() {
    for (access, found) in [(Access::MustSecure, "E210"), (Access::ShouldSecure, "N002")] {
        let mut pair = Pair::new(Policy { access, ..policy(1, 16) }, policy(2, 200));
        pair.tamper =
            Some(|mkpdu| mkpdu.basic.macsec_capability = MacsecCapability::NotImplemented);
        assert_eq!(code(&after(pair, 3)), Some(found));
    }
}

#[test]
fn a_server_that_wants_no_macsec_is_named_and_obeyed_only_where_policy_does() {
    for (access, found) in [(Access::MustSecure, "E209"), (Access::ShouldSecure, "N002")] {
        let mut pair = Pair::new(Policy { access, ..policy(1, 200) }, policy(2, 16));
        pair.tamper = Some(|mkpdu| mkpdu.distributed_sak = Some(DistributedSak::PlainText));
        assert_eq!(code(&after(pair, 3)), Some(found));
    }
}

fn at(seconds: u64) -> Time {
    Time::ZERO.after(Duration::from_secs(seconds))
}

fn codes(now: u64, trend: &Trend, pn_used_ratio: f64) -> Vec<&'static str> {
    findings(at(now), trend, pn_used_ratio).iter().map(|found| found.code).collect()
}

#[test]
fn frames_that_are_lost_are_named_for_a_minute_and_no_longer() {
    let lost = Counters { in_pkts_not_valid: 7, in_pkts_late: 1, ..Counters::default() };
    let mut trend = Trend::default();
    trend.note(at(1), true, &Counters::default());
    assert!(codes(1, &trend, 0.0).is_empty());
    trend.note(at(2), true, &lost);
    trend.note(at(30), true, &Counters { out_pkts_too_long: 3, ..lost });
    assert_eq!(codes(61, &trend, 0.0), ["W304", "W306", "W307"]);
    assert_eq!(codes(62, &trend, 0.0), ["W307"]);
    let advice = &findings(at(62), &trend, 0.0)[0].advice;
    assert!(advice.contains("VLAN tag needs an MTU 4 less"), "{advice}");
    assert!(codes(90, &trend, 0.0).is_empty());
}

/// Two ends that number themselves differently agree on keys, and no frame gets through.
#[test]
fn where_no_frame_validates_at_all_the_order_of_the_sscis_is_suspected() {
    let mut trend = Trend::default();
    trend.note(at(1), true, &Counters::default());
    let bad = Counters { in_pkts_not_valid: 7, ..Counters::default() };
    trend.note(at(2), true, &bad);
    let suspects = |trend: &Trend, now| {
        let found = findings(at(now), trend, 0.0);
        found[0].code == "W304" && found[0].advice.contains("`ssci-order`")
    };
    assert!(suspects(&trend, 2));
    trend.note(at(3), true, &Counters { in_pkts_ok: 1, ..bad });
    assert!(!suspects(&trend, 3));
}

#[test]
fn what_was_lost_before_the_port_was_secured_or_before_it_began_again_is_no_finding() {
    let mut trend = Trend::default();
    trend.note(at(1), false, &Counters { in_pkts_not_valid: 7, ..Counters::default() });
    trend.note(at(2), true, &Counters { in_pkts_not_valid: 7, ..Counters::default() });
    trend.note(at(3), true, &Counters::default());
    assert!(codes(3, &trend, 0.0).is_empty());
    trend.note(at(4), true, &Counters { in_pkts_not_valid: 1, ..Counters::default() });
    assert_eq!(codes(4, &trend, 0.0), ["W304"]);
}

/// The kernel's counters are older than a daemon that has just begun.
#[test]
fn what_was_counted_before_anybody_looked_is_no_finding() {
    let mut trend = Trend::default();
    trend.note(at(1), true, &Counters { in_pkts_not_valid: 7, ..Counters::default() });
    assert!(codes(1, &trend, 0.0).is_empty());
    trend.note(at(2), true, &Counters { in_pkts_not_valid: 8, ..Counters::default() });
    assert_eq!(codes(2, &trend, 0.0), ["W304"]);
}

#[test]
fn packet_numbers_that_run_out_are_named_after_a_fresh_key_was_due() {
    let trend = Trend::default();
    assert!(codes(1, &trend, 0.75).is_empty());
    assert_eq!(codes(1, &trend, 0.9), ["W308"]);
    assert_eq!(findings(at(1), &trend, 0.9)[0].title, "90 % of the key's packet numbers are used");
}

/// As key server, which still has its peer, and as a member, which is new to it.
#[test]
fn a_key_that_the_system_lost_is_named_until_there_is_another() {
    for (a, b) in [(16, 200), (200, 16)] {
        let mut pair = after(Pair::new(policy(1, a), policy(2, b)), 5);
        let ki = pair.a.kay.status(pair.now).sak.unwrap().ki;
        pair.a.handle(pair.now, Input::SakLost(ki));
        let (code, text) = diagnose(&pair, &[]);
        assert_eq!(code, Some("E316"));
        assert!(text.contains(&ki.to_string()), "{text}");
        pair.run(SECOND);
        assert_eq!(diagnose(&pair, &[]).0, None);
    }
}
