//! Rows 28 to 32: tags, announcements, several keys on a link, peers that also speak in clear, and
//! peers whose key agreement is away for a while.

use std::time::Duration;

use super::{
    MILLIS, Pair, SECOND, closes, following, installs, is_secured, led, mannered, number, rekey,
    said, sets, started, with_suite,
};
use crate::ident::CipherSuite;
use crate::mka::testing::{Seeded, Station, policy, read, ring};
use crate::mka::{Discard, Input, Kay, Manners, Policy, PortState, SuspensionRefused};
use crate::secy::SecyCommand;
use crate::wire::{Announcement, MacsecCapability, Mkpdu, SakUseSet};

#[test]
fn row_28_the_tag_carries_the_sci_or_not_as_the_operator_says() {
    for include_sci in [true, false] {
        let pair = started(Pair::new(Policy { include_sci, ..policy(1, 16) }, policy(2, 200)));
        let told = pair.a.commands.iter().filter_map(|command| {
            let SecyCommand::Configure(settings) = command else { return None };
            Some(settings.include_sci)
        });
        assert_eq!(told.collect::<Vec<_>>(), [include_sci]);
    }
}

#[test]
fn row_29_without_an_announcement_our_first_suite_is_taken_and_with_one_the_first_common() {
    let both = vec![CipherSuite::GcmAesXpn256, CipherSuite::GcmAes128];
    let a = Policy { cipher_suites: both.clone(), ..policy(1, 16) };
    let b = Policy { cipher_suites: both, ..policy(2, 200) };
    let mut pair = Pair::new(a, b);
    pair.tamper = Some(|mkpdu| mkpdu.announcement = None);
    let pair = started(pair);
    assert_eq!(installs(&pair)[0].key.suite, CipherSuite::GcmAesXpn256);

    let both = vec![CipherSuite::GcmAesXpn256, CipherSuite::GcmAes128];
    let a = Policy { cipher_suites: both.clone(), ..policy(1, 16) };
    let mut pair = Pair::new(a, Policy { cipher_suites: both, ..policy(2, 200) });
    pair.tamper = Some(|mkpdu| {
        let suites = vec![(MacsecCapability::Offset0, CipherSuite::GcmAes128.id())];
        mkpdu.announcement = Some(Announcement { suites, other_tlvs: 1 });
    });
    let pair = started(pair);
    assert_eq!(installs(&pair)[0].key.suite, CipherSuite::GcmAes128);
}

/// A key server whose first choice a member lacks takes what the member announces.
#[test]
fn row_29_two_ends_with_different_suites_meet_where_the_member_announces_its_own() {
    for (announce, secured) in [(true, true), (false, false)] {
        let manners = Manners { announce, ..Manners::default() };
        let suites =
            vec![CipherSuite::GcmAesXpn256, CipherSuite::GcmAes256, CipherSuite::GcmAes128];
        let server = Policy { cipher_suites: suites, ..policy(1, 16) };
        let suites = vec![CipherSuite::GcmAes128, CipherSuite::GcmAesXpn128];
        let member = Policy { cipher_suites: suites, ..mannered(2, 200, manners) };
        let mut pair = Pair::new(server, member);
        pair.start(SECOND);
        assert_eq!(is_secured(&pair), secured);
        if secured {
            assert_eq!(installs(&pair)[0].key.suite, CipherSuite::GcmAes128);
        }
    }
}

#[test]
fn row_30_a_second_key_of_the_peer_is_counted_and_disturbs_nothing() {
    for (a, b) in [(16, 200), (200, 16)] {
        let (one, two) = (ring(&[(1, 7)]), ring(&[(1, 7), (2, 9)]));
        let mut pair = started(Pair::with_keys(policy(1, a), &one, policy(2, b), &two));
        pair.run(Duration::from_secs(60));
        assert_eq!((is_secured(&pair), number(&pair), closes(&pair)), (true, 1, 0));
        let status = pair.a.kay.status(pair.now);
        assert!(status.discards.of(Discard::UnknownCkn) >= 29);
        assert_eq!(status.evidence.unknown_ckn.unwrap().ckn.octets(), [2; 4]);
    }
}

#[test]
fn row_30_only_the_principal_speaks_of_keys() {
    let two = ring(&[(1, 7), (2, 9)]);
    let pair = started(Pair::with_keys(policy(1, 16), &two, policy(2, 200), &two));
    let status = pair.a.kay.status(pair.now);
    let principal = status.participants.iter().find(|of| of.principal).unwrap().ckn.clone();
    let standby = pair.wire.iter().filter(|frame| read(frame).basic.ckn != principal);
    let about_keys = |kind: &u8| matches!(kind, 3 | 4 | 8);
    let said: Vec<_> = standby.flat_map(|frame| sets(frame)).map(|(kind, ..)| kind).collect();
    assert!(!said.is_empty() && !said.iter().any(about_keys), "{said:?}");
}

#[test]
fn row_31_a_peer_that_also_takes_frames_in_clear_is_secured_with() {
    for pair in [led(), following()] {
        let mut pair = pair;
        pair.tamper = Some(|mkpdu| {
            if let Some(SakUseSet::Keys(keys)) = &mut mkpdu.sak_use {
                (keys.plain_tx, keys.plain_rx) = (true, true);
            }
        });
        let mut pair = started(pair);
        pair.run(10 * SECOND);
        assert_eq!((is_secured(&pair), closes(&pair)), (true, 0));
        let shown =
            |station: &Station| station.kay.status(pair.now).participants[0].peers[0].also_in_clear;
        assert_eq!((shown(&pair.a), shown(&pair.b)), (true, false));
    }
}

/// Has `b` ask for `seconds` and then be silent.
fn ask(pair: &mut Pair, tamper: fn(&mut Mkpdu)) {
    pair.tamper = Some(tamper);
    pair.run(Duration::from_secs(4));
    pair.cut = true;
}

fn for_100_s(mkpdu: &mut Mkpdu) {
    mkpdu.xpn.get_or_insert_default().suspension_time = 100;
}

/// As key server that is asked, and as a member that is told, with XPN or without.
#[test]
fn row_32_a_peer_that_asks_for_suspension_is_kept_with_its_sas_while_it_is_silent() {
    for (suite, a, b) in [
        (CipherSuite::GcmAesXpn256, 16, 200),
        (CipherSuite::GcmAesXpn256, 200, 16),
        (CipherSuite::GcmAes256, 16, 200),
    ] {
        let mut pair = Pair::new(with_suite(1, a, suite), with_suite(2, b, suite));
        pair.tamper = Some(|mkpdu| mkpdu.xpn = Some(mkpdu.xpn.unwrap_or_default()));
        let mut pair = started(pair);
        ask(&mut pair, for_100_s);
        let (before, commands) = (pair.wire.len(), pair.a.commands.len());
        pair.run(Duration::from_secs(95));
        assert_eq!((pair.a.state(), pair.a.commands.len()), (PortState::Secured, commands));
        let left: Vec<_> = said(&pair, before)
            .iter()
            .map(|mkpdu| mkpdu.xpn.map_or(0, |xpn| xpn.suspension_time))
            .collect();
        if a < b {
            assert!(left.is_sorted_by(|earlier, later| earlier > later) && left.contains(&50));
        } else {
            assert!(left.iter().all(|&left| left == 0), "the server says it");
        }
        pair.run(Duration::from_secs(6));
        assert_eq!(pair.a.state(), PortState::Listening, "and no longer than it asked for");
    }
}

#[test]
fn row_32_a_suspension_is_over_when_the_peer_says_so_and_after_120_s() {
    let mut pair = started(led());
    ask(&mut pair, |mkpdu| mkpdu.xpn.get_or_insert_default().suspension_time = 255);
    pair.run(Duration::from_secs(110));
    assert_eq!(pair.a.state(), PortState::Secured);
    pair.run(Duration::from_secs(11));
    assert_eq!(pair.a.state(), PortState::Listening);

    let mut pair = started(led());
    ask(&mut pair, for_100_s);
    pair.run(Duration::from_secs(5));
    (pair.cut, pair.tamper) = (false, None);
    pair.run(Duration::from_secs(3));
    assert_eq!((is_secured(&pair), number(&pair), closes(&pair)), (true, 1, 0));
    pair.cut = true;
    pair.run(Duration::from_secs(7));
    assert_eq!(pair.a.state(), PortState::Listening);
}

/// A request for a fresh SAK waits meanwhile, and is not forgotten.
#[test]
fn row_32_no_sak_is_made_during_a_suspension() {
    let mut pair = started(led());
    pair.tamper = Some(for_100_s);
    pair.run(Duration::from_secs(4));
    rekey(&mut pair);
    pair.run(Duration::from_secs(20));
    assert_eq!(number(&pair), 1);
    pair.tamper = None;
    pair.run(Duration::from_secs(3));
    assert_eq!((number(&pair), is_secured(&pair)), (2, true));
}

/// It comes back as somebody new, and is its own successor at once.
#[test]
fn row_32_a_peer_that_comes_back_from_a_suspension_gets_a_fresh_sak() {
    let mut pair = started(led());
    ask(&mut pair, for_100_s);
    pair.run(Duration::from_secs(60));
    pair.b = Station::new(policy(2, 200), &ring(&[(1, 7)]));
    let seed = Box::new(Seeded::new(4711));
    pair.b.kay = Kay::new(pair.now, policy(2, 200), &ring(&[(1, 7)]), seed).unwrap();
    (pair.cut, pair.tamper) = (false, None);
    pair.b.handle(pair.now, Input::Carrier(true));
    pair.run(SECOND);
    assert_eq!((number(&pair), is_secured(&pair), closes(&pair)), (2, true, 0));
}

/// As a member and as key server; the far end, which is ours, keeps us as it is asked to.
#[test]
fn row_32_a_suspension_of_our_own_is_asked_for_and_agreed_to() {
    for (a, b) in [(16, 200), (200, 16)] {
        let mut pair = started(Pair::new(policy(1, a), policy(2, b)));
        pair.run(Duration::from_secs(4));
        let span = Duration::from_secs(60);
        assert!(!pair.a.kay.suspension_is_agreed(pair.now));
        pair.a.kay.ask_suspension(pair.now, span).unwrap();
        assert!(!pair.a.kay.suspension_is_agreed(pair.now), "nobody has heard of it yet");
        pair.a.handle(pair.now, Input::Timeout);
        pair.run(MILLIS);
        assert!(pair.a.kay.suspension_is_agreed(pair.now));
        // We are silent, and the far end's data plane goes on with ours.
        pair.cut = true;
        let commands = pair.b.commands.len();
        pair.run(Duration::from_secs(55));
        assert_eq!((pair.b.state(), pair.b.commands.len()), (PortState::Secured, commands));
        pair.run(Duration::from_secs(6));
        assert_eq!(pair.b.state(), PortState::Listening, "and no longer than we asked for");
    }
}

#[test]
fn row_32_a_suspension_of_our_own_can_be_taken_back() {
    for pair in [led(), following()] {
        let mut pair = started(pair);
        pair.a.kay.ask_suspension(pair.now, Duration::from_secs(100)).unwrap();
        pair.a.handle(pair.now, Input::Timeout);
        pair.run(SECOND);
        pair.a.kay.ask_suspension(pair.now, Duration::ZERO).unwrap();
        pair.a.handle(pair.now, Input::Timeout);
        pair.run(SECOND);
        assert!(!pair.a.kay.suspension_is_agreed(pair.now));
        pair.cut = true;
        pair.run(Duration::from_secs(7));
        assert_eq!(pair.b.state(), PortState::Listening);
    }
}

#[test]
fn row_32_whoever_does_not_know_a_suspension_is_not_asked_for_one() {
    let mut pair = Pair { tamper: Some(|mkpdu| mkpdu.xpn = None), ..led() };
    let span = Duration::from_secs(60);
    let refused = pair.a.kay.ask_suspension(pair.now, span);
    assert_eq!(refused, Err(SuspensionRefused::NotSecured));
    pair = started(pair);
    let refused = pair.a.kay.ask_suspension(pair.now, span);
    assert_eq!(refused, Err(SuspensionRefused::Unknown(policy(2, 200).sci)));
}
