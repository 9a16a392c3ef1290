//! Rows 1 to 6, 15 and 16: how others frame what they say.

use std::sync::Arc;
use std::time::Duration;

use zeroize::Zeroizing;

use super::{
    MILLIS, Pair, SECOND, closes, following, installs, is_secured, led, mannered, said, sets,
    started, with_suite,
};
use crate::crypto::Cak;
use crate::ident::{CipherSuite, Ckn, MacAddress};
use crate::keyring::{Key, KeyRing};
use crate::mka::testing::{Station, policy, ring};
use crate::mka::{IcvIndicator, Input, Manners, MkaVersion, Policy};
use crate::time::Time;
use crate::wire::{DistributedSak, EapolEthertype, Mkpdu};

/// Puts the right ICV behind all but the last 16 octets of a frame.
fn sealed(frame: &[u8]) -> Vec<u8> {
    let keys = ring(&[(1, 7)]);
    let key = keys.iter().next().unwrap();
    let mut frame = frame[..frame.len() - 16].to_vec();
    let icv = key.cak.ick(&key.ckn).icv(&frame);
    frame.extend_from_slice(&icv);
    frame
}

#[test]
fn row_01_any_mka_version_from_1_up_is_understood() {
    let versions: [fn(&mut Mkpdu); 4] = [
        |mkpdu| mkpdu.basic.version = 1,
        |mkpdu| mkpdu.basic.version = 2,
        |mkpdu| mkpdu.basic.version = 4,
        |mkpdu| mkpdu.basic.version = 255,
    ];
    for tamper in versions {
        for pair in [led(), following()] {
            started(Pair { tamper: Some(tamper), ..pair });
        }
    }
}

/// What a version 1 server has in octet 2 of its list means nothing, whatever its suite.
#[test]
fn row_01_what_a_version_does_not_know_is_not_read() {
    let mut pair = following();
    pair.tamper = Some(|mkpdu| {
        mkpdu.basic.version = 1;
        mkpdu.live_peers.iter_mut().for_each(|list| list.key_server_ssci = 2);
    });
    let pair = started(pair);
    let ours = installs(&pair)[0];
    assert_eq!((ours.ssci.unwrap().0, ours.receive[0].ssci.unwrap().0), (2, 1));
}

#[test]
fn row_01_the_version_that_we_send_is_the_operators() {
    for version in [MkaVersion::V1, MkaVersion::V2, MkaVersion::V3] {
        for (a, b) in [(16, 200), (200, 16)] {
            let manners = Manners { version, ..Manners::default() };
            let pair = started(Pair::new(mannered(1, a, manners), policy(2, b)));
            let said = said(&pair, 0);
            assert!(said.iter().all(|mkpdu| mkpdu.basic.version == version as u8));
            let states = |mkpdu: &Mkpdu| {
                mkpdu.live_peers.as_ref().is_some_and(|list| list.key_server_ssci > 0)
            };
            let states = said.iter().any(states);
            assert_eq!(states, a < b && version == MkaVersion::V3, "octet 2 came with version 3");
        }
    }
}

#[test]
fn row_02_a_later_eapol_version_and_octets_behind_the_body_change_nothing() {
    let mut pair = started(led());
    let mut later = pair.forged(|_| {});
    later[14] = 4;
    assert_eq!(pair.refusals(&sealed(&later)), [""; 0]);
    let padded = [pair.forged(|mkpdu| mkpdu.basic.mn.0 += 1), vec![0xff; 20]].concat();
    assert_eq!(pair.refusals(&padded), [""; 0]);
    assert!(pair.wire.iter().all(|frame| frame[14] == 3), "ours is 3");
}

#[test]
fn row_03_key_names_of_every_length_are_framed_and_compared_whole() {
    let named = |name: &[u8]| {
        let cak = Cak::new(Zeroizing::new(vec![7; 16])).unwrap();
        KeyRing::new(vec![Arc::new(Key { ckn: Ckn::new(name).unwrap(), cak })]).unwrap()
    };
    let pair = |a: &[u8], b: &[u8]| {
        let mut pair = Pair::with_keys(policy(1, 16), &named(a), policy(2, 200), &named(b));
        pair.start(MILLIS);
        pair
    };
    for length in 1..=32 {
        let same = pair(&vec![0xc1; length], &vec![0xc1; length]);
        assert!(is_secured(&same), "{length} octets");
        for frame in &same.wire {
            let body = usize::from(u16::from_be_bytes([frame[16], frame[17]]));
            assert_eq!((body % 4, frame.len()), (0, 18 + body));
            assert_eq!(usize::from(frame[21]), 28 + length, "without the padding");
        }
    }
    let unlike = pair(b"key", b"key\0");
    assert_eq!(unlike.a.kay.status(unlike.now).discards.of(crate::mka::Discard::UnknownCkn), 1);
}

#[test]
fn row_04_an_icv_indicator_is_read_and_changes_nothing() {
    for pair in [led(), following()] {
        started(Pair { tamper: Some(|mkpdu| mkpdu.icv_indicator = true), ..pair });
    }
}

/// Whether `a` sends one, by itself every other time, then to a peer that does or does not.
#[test]
fn row_04_an_icv_indicator_is_sent_to_whoever_sends_it_and_tried_on_whoever_does_not_answer() {
    let sends = |icv_indicator, tamper: Option<fn(&mut Mkpdu)>| {
        let manners = Manners { icv_indicator, ..Manners::default() };
        let mut pair = Pair::new(mannered(1, 16, manners), policy(2, 200));
        (pair.cut, pair.tamper) = (true, tamper);
        pair.start(Duration::from_secs(11));
        let alone: Vec<_> = said(&pair, 0).iter().map(|mkpdu| mkpdu.icv_indicator).collect();
        pair.cut = false;
        pair.run(Duration::from_secs(5));
        assert!(is_secured(&pair));
        let before = pair.wire.len();
        pair.run(Duration::from_secs(20));
        let live: Vec<_> = said(&pair, before).iter().map(|mkpdu| mkpdu.icv_indicator).collect();
        assert!(alone.len() >= 6 && live.len() >= 10);
        let both = |of: &[bool]| (of.contains(&true), of.contains(&false));
        (both(&alone), both(&live))
    };
    let (tried, always, never) = ((true, true), (true, false), (false, true));
    let without: fn(&mut Mkpdu) = |mkpdu| mkpdu.icv_indicator = false;
    let with: fn(&mut Mkpdu) = |mkpdu| mkpdu.icv_indicator = true;
    assert_eq!(sends(IcvIndicator::Auto, Some(without)), (tried, never));
    assert_eq!(sends(IcvIndicator::Auto, Some(with)), (tried, always));
    assert_eq!(sends(IcvIndicator::On, Some(without)), (always, always));
    assert_eq!(sends(IcvIndicator::Off, Some(with)), (never, never));
}

#[test]
fn row_05_every_group_address_is_heard_and_no_other() {
    let groups = [
        [0x01, 0x80, 0xc2, 0, 0, 0x03],
        [0x01, 0x80, 0xc2, 0, 0, 0x0e],
        [0x01, 0x80, 0xc2, 0, 0, 0x00],
        [0xff; 6],
    ];
    let mut pair = started(led());
    for (later, group) in (0..).zip(groups) {
        let mut frame = pair.forged(|mkpdu| mkpdu.basic.mn.0 += later);
        frame[..6].copy_from_slice(&group);
        assert_eq!(pair.refusals(&sealed(&frame)), [""; 0], "{group:x?}");
    }
    let mut single = pair.forged(|mkpdu| mkpdu.basic.mn.0 += 9);
    single[..6].copy_from_slice(&MacAddress([2, 0, 0, 0, 0, 1]).0);
    assert_eq!(pair.refusals(&sealed(&single)), ["destination"]);
}

/// Equipment between both lets only the nearest bridge's group pass, and `b` alone knows.
#[test]
fn row_05_a_peer_that_only_another_way_leads_to_is_answered_on_that() {
    let bridge = MacAddress([0x01, 0x80, 0xc2, 0, 0, 0x0e]);
    let knows = |policy| Policy { destination: bridge, ..policy };
    let mut pair = Pair::new(policy(1, 16), knows(policy(2, 200)));
    pair.passes = |frame| frame[5] == 0x0e;
    pair.start(7 * SECOND);
    assert!(is_secured(&pair));
    let before = pair.wire.len();
    pair.run(60 * SECOND);
    assert!(pair.wire[before..].iter().all(|frame| frame[..6] == bridge.0), "and no more trials");
    assert_eq!((is_secured(&pair), closes(&pair)), (true, 0));

    // Where both ways work, each goes on its own.
    let mut pair = Pair::new(policy(1, 16), knows(policy(2, 200)));
    pair.start(7 * SECOND);
    let before = pair.wire.len();
    pair.run(10 * SECOND);
    let own = |frame: &Vec<u8>| (frame[11] == 1) == (frame[5] == 0x03);
    assert!(is_secured(&pair) && pair.wire[before..].iter().all(own));
}

/// The EtherType is the operator's, and both ends know of it, or one is answered under its own.
#[test]
fn row_05_another_ethertype_is_sent_and_heard_where_told_to_and_nowhere_else() {
    let carried = |station, priority| Policy {
        ethertype: EapolEthertype::Carried,
        ..policy(station, priority)
    };
    let under = |pair: &Pair, station: u8, octets: [u8; 2]| {
        let mut of = pair.wire.iter().rev().filter(move |frame| frame[11] == station);
        of.next().unwrap()[12..14] == octets
    };
    let pair = started(Pair::new(carried(1, 16), carried(2, 200)));
    assert!(under(&pair, 1, [0x87, 0x6f]) && under(&pair, 2, [0x87, 0x6f]));

    let mut pair = Pair::new(carried(1, 16), policy(2, 200));
    pair.start(7 * SECOND);
    assert!(is_secured(&pair) && under(&pair, 1, [0x88, 0x8e]));

    let mut pair = started(led());
    let mut frame = pair.forged(|_| {});
    frame[12..14].copy_from_slice(&[0x87, 0x6f]);
    assert_eq!(pair.refusals(&sealed(&frame)), ["ethertype"]);
}

/// Some sign the header that a frame would have had, and not the one that it has.
#[test]
fn row_05_an_icv_over_the_usual_header_is_good_and_is_answered_alike() {
    let strip = |frame: &mut Vec<u8>| {
        // What `b` says, to the nearest bridge with the ICV over the usual header.
        frame[5] = 0x0e;
    };
    let mut pair = started(led());
    let mut frame = pair.forged(|_| {});
    strip(&mut frame);
    assert_eq!(pair.refusals(&frame), [""; 0]);
    let mut frame = pair.forged(|_| {});
    frame[5] = 0x0e;
    frame[11] = 9;
    assert_eq!(pair.refusals(&frame), ["icv"], "the source is covered all the same");

    // A stranger that is heard so, and hears nothing else.
    let mut pair = led();
    pair.start(Duration::ZERO);
    let mut frame = pair.wire.iter().find(|frame| frame[11] == 2).unwrap().clone();
    strip(&mut frame);
    let mut alone = Station::new(policy(1, 16), &ring(&[(1, 7)]));
    alone.handle(Time::ZERO, Input::Carrier(true));
    alone.handle(Time::ZERO, Input::Frame(&frame));
    let trial = alone.sent.iter().find(|frame| frame[5] == 0x0e).expect("MKPDU 2 is a trial");
    let mut usual = trial.clone();
    usual[5] = 0x03;
    assert_eq!(sealed(&usual), usual);
}

/// The second SAK of `b`, with all its sets in another order, unknown ones among them and empty
/// doubles behind.
#[test]
fn row_06_sets_count_in_any_order_and_the_first_of_its_kind_only() {
    let mut pair = started(following());
    pair.b.kay.rekey(pair.now).unwrap();
    pair.b.handle(pair.now, Input::Timeout);
    let frame = pair.b.sent.pop().expect("b distributes an SAK");
    let basic_end = 18 + 4 + usize::from(frame[21]).next_multiple_of(4);
    let mut shuffled = frame[..basic_end].to_vec();
    let mut put = |kind, [octet2, octet3]: [u8; 2], body: &[u8]| {
        shuffled.extend([kind, octet2, octet3 & 0xf0, u8::try_from(body.len()).unwrap()]);
        shuffled.extend(body);
        shuffled.extend(vec![0; body.len().next_multiple_of(4) - body.len()]);
    };
    let known = sets(&frame);
    for (kind, octets, body) in known.iter().rev() {
        put(99, [1, 0], &[1, 2, 3, 4, 5]);
        put(*kind, *octets, body);
    }
    for (kind, ..) in known {
        put(kind, [0, 0], &[]);
    }
    let length = u16::try_from(shuffled.len() + 16 - 18).unwrap();
    shuffled[16..18].copy_from_slice(&length.to_be_bytes());
    shuffled.extend([0; 16]);

    assert_eq!(pair.refusals(&sealed(&shuffled)), [""; 0]);
    assert_eq!(installs(&pair)[1].key.ki.number.0, 2);
}

/// Of 2006 and of today, and in the form that does not need to name it.
#[test]
fn row_15_the_default_suite_is_known_by_both_its_ids() {
    let forms: [fn(&mut Mkpdu); 2] = [
        |mkpdu| name_suite(mkpdu, [0, 0x80, 0xc2, 0, 1, 0, 0, 1]),
        |mkpdu| name_suite(mkpdu, [0, 0x80, 0x02, 0, 1, 0, 0, 1]),
    ];
    for tamper in forms {
        let suite = CipherSuite::GcmAes128;
        let pair = Pair::new(with_suite(1, 200, suite), with_suite(2, 16, suite));
        let pair = started(Pair { tamper: Some(tamper), ..pair });
        assert_eq!(installs(&pair)[0].key.suite, suite);
    }
}

fn name_suite(mkpdu: &mut Mkpdu, id: [u8; 8]) {
    if let Some(DistributedSak::Key { suite, .. }) = &mut mkpdu.distributed_sak {
        *suite = Err(id);
    }
}

#[test]
fn row_16_each_suite_has_its_form_and_an_sak_of_another_length_does_not_unwrap() {
    let lengths = [
        (CipherSuite::GcmAes128, 28),
        (CipherSuite::GcmAes256, 52),
        (CipherSuite::GcmAesXpn128, 36),
        (CipherSuite::GcmAesXpn256, 52),
    ];
    for (suite, length) in lengths {
        let pair = started(Pair::new(with_suite(1, 16, suite), with_suite(2, 200, suite)));
        let forms = pair.wire.iter().flat_map(|frame| sets(frame)).filter(|(kind, ..)| *kind == 4);
        let forms: Vec<_> = forms.map(|(.., body)| body.len()).collect();
        assert!(!forms.is_empty() && forms.iter().all(|&form| form == length), "{suite} {forms:?}");
    }
    let both = vec![CipherSuite::GcmAesXpn256, CipherSuite::GcmAesXpn128];
    let a = crate::mka::Policy { cipher_suites: both, ..policy(1, 200) };
    let mut pair = Pair::new(a, policy(2, 16));
    pair.tamper = Some(|mkpdu| name_suite(mkpdu, CipherSuite::GcmAesXpn128.id()));
    pair.start(SECOND);
    let status = pair.a.kay.status(pair.now);
    assert!(status.discards.of(crate::mka::Discard::SakUnwrap) > 0 && status.sak.is_none());
}
