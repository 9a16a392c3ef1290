//! Rows 28 to 31: tags, announcements, several keys on a link, and peers that also speak in clear.

use std::time::Duration;

use super::{Pair, SECOND, closes, following, installs, is_secured, led, number, sets, started};
use crate::ident::CipherSuite;
use crate::mka::testing::{policy, read, ring};
use crate::mka::{Discard, Policy};
use crate::secy::SecyCommand;
use crate::wire::{Announcement, MacsecCapability, SakUseSet};

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
    }
}
