//! Rows 10 to 14, 17 to 19, 26 and 27: SAKs, who has which, and how they are numbered.

use std::sync::Arc;
use std::time::Duration;

use zeroize::Zeroizing;

use super::{
    Pair, SECOND, closes, following, installs, is_secured, led, mannered, number, rekey, said,
    sets, started, with_suite,
};
use crate::crypto::{Cak, Salt};
use crate::ident::{
    AssociationNumber, CipherSuite, Ckn, ConfidentialityOffset, KeyId, KeyNumber, MemberId,
    PacketNumber, Sci,
};
use crate::keyring::{Key, KeyRing};
use crate::mka::testing::{address, policy, read};
use crate::mka::{Input, KeyServer, Manners, Policy, SsciOrder, ssci};
use crate::secy::{RxProgress, SecyCommand, TxProgress};
use crate::wire::{DistributedSak, MacsecCapability, Mkpdu, SakUseKey, SakUseSet, Xpn};

fn keys_of(mkpdu: &mut Mkpdu) -> Option<&mut crate::wire::SakUse> {
    match &mut mkpdu.sak_use {
        Some(SakUseSet::Keys(keys)) => Some(keys),
        Some(SakUseSet::Unsupported) | None => None,
    }
}

fn raised(pair: &Pair) -> Vec<u64> {
    let raised = |command: &SecyCommand| {
        let SecyCommand::RaiseLowestPn { lowest_pn, .. } = command else { return None };
        Some(lowest_pn.0)
    };
    pair.a.commands.iter().filter_map(raised).collect()
}

#[test]
fn row_10_a_key_is_found_by_its_name_in_either_place() {
    for pair in [led(), following()] {
        let mut pair = Pair { tamper: Some(swap), ..pair };
        pair = started(pair);
        for number_of in 2..5 {
            pair.run(Duration::from_secs(4));
            rekey(&mut pair);
            assert_eq!((number(&pair), is_secured(&pair)), (number_of, true));
        }
        assert_eq!(closes(&pair), 0);
    }
}

/// For those that look for it there alone.
#[test]
fn row_10_a_lone_key_can_stay_in_the_place_of_the_latest() {
    for (lone_key_in_latest, a, b) in [(true, 16, 200), (true, 200, 16), (false, 16, 200)] {
        let manners = Manners { lone_key_in_latest, ..Manners::default() };
        let mut pair = started(Pair::new(mannered(1, a, manners), policy(2, b)));
        pair.run(Duration::from_secs(4));
        rekey(&mut pair);
        pair.run(Duration::from_secs(4));
        let before = pair.wire.len();
        pair.run(Duration::from_secs(10));
        for mut mkpdu in said(&pair, before) {
            let high = mkpdu.xpn.map(|xpn| (xpn.latest_lpn_high, xpn.old_lpn_high));
            let keys = keys_of(&mut mkpdu).unwrap();
            let lone = if lone_key_in_latest { keys.latest } else { keys.old };
            assert!(lone.is_some_and(|key| key.ki.number.0 == 2 && key.rx && key.tx));
            assert!(keys.latest.is_none() || keys.old.is_none());
            assert_eq!(high, Some((0, 0)));
        }
        assert_eq!((is_secured(&pair), closes(&pair)), (true, 0));
    }
}

fn swap(mkpdu: &mut Mkpdu) {
    if let Some(keys) = keys_of(mkpdu) {
        std::mem::swap(&mut keys.latest, &mut keys.old);
    }
}

#[test]
fn row_11_an_unused_place_has_lpn_1_and_a_peers_0_is_no_bound() {
    let pair = started(led());
    for (.., body) in pair.wire.iter().flat_map(|frame| sets(frame)).filter(|of| of.0 == 3) {
        for key in body.chunks(20) {
            assert!(key[16..] != [0; 4], "{key:x?}");
        }
    }
    let suite = CipherSuite::GcmAes256;
    let mut pair = Pair::new(with_suite(1, 16, suite), with_suite(2, 200, suite));
    pair.tamper = Some(|mkpdu| {
        if let Some(keys) = keys_of(mkpdu) {
            keys.delay_protect = true;
            keys.latest.iter_mut().chain(&mut keys.old).for_each(|key| key.llpn = 0);
        }
    });
    let pair = started(pair);
    assert_eq!(raised(&pair), [0; 0]);
}

#[test]
fn row_11_the_high_half_of_an_xpn_number_goes_into_the_xpn_set() {
    let mut pair = started(led());
    let ki = pair.a.kay.status(pair.now).sak.unwrap().ki;
    let next_pn = PacketNumber(0x5_0000_0011);
    pair.a.handle(pair.now, Input::TxProgress(TxProgress { ki, next_pn }));
    pair.run(Duration::from_secs(5));
    let mut ours = pair.wire.iter().rev().map(|frame| read(frame));
    let mut said = ours.find(|mkpdu| mkpdu.basic.sci == policy(1, 0).sci).unwrap();
    let old = keys_of(&mut said).unwrap().old.unwrap();
    assert_eq!((old.llpn, said.xpn.unwrap().old_lpn_high), (0x10, 5));
}

#[test]
fn row_12_the_xpn_set_may_be_missing_with_an_xpn_suite() {
    for pair in [led(), following()] {
        let mut pair = Pair { tamper: Some(delay_protect_without_xpn), ..pair };
        pair = started(pair);
        pair.run(Duration::from_secs(4));
        rekey(&mut pair);
        assert_eq!((number(&pair), is_secured(&pair)), (2, true));
        assert_eq!(raised(&pair), [0; 0], "half a number is no bound");
    }
}

/// The high half is that of what was received.
#[test]
fn row_12_the_high_half_of_a_bound_is_told_from_what_arrives() {
    let mut pair = started(Pair { tamper: Some(delay_protect_without_xpn), ..led() });
    let status = pair.b.kay.status(pair.now);
    let (ki, sci) = (status.sak.unwrap().ki, status.sci);
    let received =
        RxProgress { ki, sci, next_pn: PacketNumber(0x9_0000_0100), lowest_pn: PacketNumber(1) };
    pair.a.handle(pair.now, Input::RxProgress(&[received]));
    pair.run(Duration::from_secs(4));
    let raised = raised(&pair);
    assert!(!raised.is_empty() && raised.iter().all(|&pn| pn == 0x9_0000_004d), "{raised:?}");
    assert_eq!((number(&pair), is_secured(&pair)), (1, true));
}

fn delay_protect_without_xpn(mkpdu: &mut Mkpdu) {
    mkpdu.xpn = None;
    if let Some(keys) = keys_of(mkpdu) {
        keys.delay_protect = true;
        keys.latest.iter_mut().chain(&mut keys.old).for_each(|key| key.llpn = 77);
    }
}

#[test]
fn row_12_the_xpn_set_means_nothing_with_another_suite() {
    let suite = CipherSuite::GcmAes256;
    let mut pair = Pair::new(with_suite(1, 16, suite), with_suite(2, 200, suite));
    pair.tamper = Some(|mkpdu| {
        delay_protect_without_xpn(mkpdu);
        mkpdu.xpn = Some(Xpn { suspension_time: 0, latest_lpn_high: 9, old_lpn_high: 9 });
    });
    let mut pair = started(pair);
    pair.run(Duration::from_secs(10));
    let raised = raised(&pair);
    assert!(!raised.is_empty() && raised.iter().all(|&pn| pn == 77), "{raised:?}");
    assert_eq!(number(&pair), 1, "and is no sign of exhaustion");
}

/// 802.1AE-2018 10.7.8: the key number with its halves exchanged, over the first four octets.
#[test]
fn row_13_the_salt_takes_the_halves_of_the_key_number_exchanged() {
    let server = MemberId::from_octets([0; 12]);
    let ki = KeyId { server, number: KeyNumber(0x0102_0304) };
    assert_eq!(Salt::new(ki).octets(), [3, 4, 1, 2, 0, 0, 0, 0, 0, 0, 0, 0]);
    let server = MemberId::from_octets([0xff; 12]);
    let salt = Salt::new(KeyId { server, number: KeyNumber(1) }).octets();
    assert_eq!(salt[..4], [0xff, 0xfe, 0xff, 0xff]);
}

#[test]
fn row_14_ssci_by_list_where_the_server_states_its_own_and_else_by_sci() {
    let sscis = |tamper: fn(&mut Mkpdu)| {
        let pair = started(Pair { tamper: Some(tamper), ..following() });
        let install = installs(&pair)[0];
        (install.ssci.unwrap().0, install.receive[0].ssci.unwrap().0)
    };
    let stated =
        sscis(|mkpdu| mkpdu.live_peers.iter_mut().for_each(|list| list.key_server_ssci = 2));
    assert_eq!(stated, (1, 2), "against the order of the SCIs");
    let unstated =
        sscis(|mkpdu| mkpdu.live_peers.iter_mut().for_each(|list| list.key_server_ssci = 0));
    assert_eq!(unstated, (2, 1), "the greater SCI has 1");
}

#[test]
fn row_14_what_the_server_states_can_be_passed_over() {
    let manners = Manners { ssci: SsciOrder::BySci, ..Manners::default() };
    let mut pair = Pair::new(mannered(1, 200, manners), policy(2, 16));
    pair.tamper =
        Some(|mkpdu| mkpdu.live_peers.iter_mut().for_each(|list| list.key_server_ssci = 2));
    let pair = started(pair);
    let install = installs(&pair)[0];
    assert_eq!((install.ssci.unwrap().0, install.receive[0].ssci.unwrap().0), (2, 1));
}

#[test]
fn row_14_an_sci_is_compared_with_its_port() {
    let mi = |octet| MemberId::from_octets([octet; 12]);
    let (low, high) = (Sci::new(address(1), 1), Sci::new(address(1), 2));
    let sscis = ssci::by_sci([(mi(1), low), (mi(2), high)]);
    assert_eq!((sscis[&mi(2)].0, sscis[&mi(1)].0), (1, 2));
}

fn keys(ckn: &[u8], cak_length: usize) -> KeyRing {
    let cak = Cak::new(Zeroizing::new(vec![7; cak_length])).unwrap();
    KeyRing::new(vec![Arc::new(Key { ckn: Ckn::new(ckn).unwrap(), cak })]).unwrap()
}

#[test]
fn row_17_icks_come_from_the_first_16_octets_of_the_name() {
    let icv = |ckn: &[u8]| {
        let ring = keys(ckn, 16);
        let key = ring.iter().next().unwrap();
        key.cak.ick(&key.ckn).icv(b"octets")
    };
    let long = b"sixteen octets, then others";
    assert_eq!(icv(long), icv(&long[..16]));
    assert_eq!(icv(b"short"), icv(b"short\0\0\0\0\0\0\0\0\0\0\0"));
    assert_ne!(icv(long), icv(&long[..15]));
}

#[test]
fn row_17_a_cak_of_either_length_goes_with_every_suite() {
    for (cak, suite) in [16, 32].into_iter().flat_map(|cak| CipherSuite::ALL.map(|of| (cak, of))) {
        let keys = keys(b"key", cak);
        let (a, b) = (with_suite(1, 16, suite), with_suite(2, 200, suite));
        let pair = started(Pair::with_keys(a, &keys, b, &keys));
        assert_eq!(pair.b.kay.status(pair.now).sak.unwrap().suite, suite);
    }
}

#[test]
fn row_18_key_numbers_start_at_1_and_a_new_mi_comes_before_they_run_out() {
    let mut pair = started(led());
    let first = pair.a.kay.status(pair.now).sak.unwrap().ki;
    assert_eq!(first.number.0, 1);
    pair.run(Duration::from_secs(4));
    pair.a.kay.participants[0].last_kn = u32::MAX - 1025;
    rekey(&mut pair);
    let mut seen: Vec<_> = installs(&pair).iter().map(|install| install.key.ki).collect();
    assert_eq!((seen[1].server, seen[1].number.0), (first.server, u32::MAX - 1024));
    let last = pair.a.kay.status(pair.now).sak.unwrap().ki;
    assert!(last.server != first.server && last.number.0 == 1 && is_secured(&pair));
    seen.sort_unstable();
    seen.dedup();
    assert_eq!(seen.len(), installs(&pair).len(), "no name twice");
}

#[test]
fn row_18_a_known_key_name_with_another_association_is_refused() {
    let mut pair = started(following());
    rekey(&mut pair);
    let mut sak = pair.wire.iter().find_map(|frame| read(frame).distributed_sak).unwrap();
    let mine = pair.a.kay.status(pair.now).participants[0].clone();
    if let DistributedSak::Key { an, .. } = &mut sak {
        *an = an.next();
    }
    let frame = pair.forged(|mkpdu| {
        mkpdu.distributed_sak = Some(sak);
        let peers = vec![crate::wire::PeerEntry { mi: mine.mi, mn: mine.mn }];
        mkpdu.live_peers = Some(crate::wire::LivePeerList { key_server_ssci: 1, peers });
    });
    assert_eq!(pair.refusals(&frame), ["sak_reused"]);
    assert_eq!(number(&pair), 2);
}

/// A server that gives association 0 every time.
#[test]
fn row_19_the_servers_association_is_taken_even_if_it_is_in_use() {
    let mut pair = following();
    pair.tamper = Some(|mkpdu| {
        if let Some(DistributedSak::Key { an, .. }) = &mut mkpdu.distributed_sak {
            *an = AssociationNumber::from_low_bits(0);
        }
    });
    let mut pair = started(pair);
    let first = pair.a.kay.status(pair.now).sak.unwrap().ki;
    pair.run(Duration::from_secs(4));
    rekey(&mut pair);
    assert_eq!((number(&pair), is_secured(&pair)), (2, true));
    assert!(installs(&pair).iter().all(|install| install.an.value() == 0));
    let at = |wanted: &dyn Fn(&SecyCommand) -> bool| pair.a.commands.iter().position(wanted);
    let removed = at(&|command| matches!(command, SecyCommand::RemoveSak(ki) if *ki == first));
    let installed = at(
        &|command| matches!(command, SecyCommand::InstallSak(next) if next.key.ki.number.0 == 2),
    );
    assert!(removed.is_some() && removed < installed);
}

#[test]
fn row_19_as_server_we_pass_over_associations_that_peers_name() {
    let mut pair = led();
    pair.tamper = Some(|mkpdu| {
        if let Some(keys) = keys_of(mkpdu) {
            let an = AssociationNumber::from_low_bits(1);
            let ki = KeyId { server: MemberId::from_octets([9; 12]), number: KeyNumber(9) };
            keys.latest = keys.latest.or(Some(SakUseKey { ki, an, tx: false, rx: true, llpn: 1 }));
        }
    });
    let mut pair = started(pair);
    pair.run(Duration::from_secs(4));
    rekey(&mut pair);
    let ans: Vec<_> = installs(&pair).iter().map(|install| install.an.value()).collect();
    assert_eq!(ans, [0, 2]);
}

/// Who says what of the second SAK, in the order in which it is said.
#[test]
fn row_26_all_receive_then_the_server_sends_then_the_others_do() {
    for pair in [led(), following()] {
        let mut pair = started(pair);
        pair.run(Duration::from_secs(4));
        let before = pair.wire.len();
        let server = match pair.a.kay.status(pair.now).key_server {
            Some(KeyServer::Own) => policy(1, 0).sci,
            _ => policy(2, 0).sci,
        };
        rekey(&mut pair);
        let mut said = Vec::new();
        for mut mkpdu in pair.wire[before..].iter().map(|frame| read(frame)) {
            let from_server = mkpdu.basic.sci == server;
            let keys = keys_of(&mut mkpdu).unwrap();
            let second = keys.latest.into_iter().chain(keys.old).find(|key| key.ki.number.0 == 2);
            said.extend(second.map(|key| (from_server, key.rx, key.tx)));
        }
        let first = |of| said.iter().position(|&other| other == of).unwrap();
        let order = [(false, true, false), (true, true, true), (false, true, true)].map(first);
        assert!(order.is_sorted(), "{said:?}");
        assert!(!said.contains(&(true, false, true)) && !said.contains(&(false, false, true)));
    }
}

/// A peer that never says that it sends with the next SAK may still send with the old one.
#[test]
fn row_26_the_old_sak_is_received_until_all_have_moved_or_20_seconds_are_over() {
    let mut pair = started(led());
    pair.run(Duration::from_secs(4));
    let removed = |pair: &Pair| {
        let first = |command: &SecyCommand| matches!(command, SecyCommand::RemoveSak(ki) if ki.number.0 == 1);
        pair.a.commands.iter().any(first)
    };
    pair.tamper = Some(|mkpdu| {
        if let Some(keys) = keys_of(mkpdu) {
            keys.latest.iter_mut().chain(&mut keys.old).for_each(|key| key.tx = false);
        }
    });
    rekey(&mut pair);
    pair.run(Duration::from_secs(18));
    assert!(number(&pair) == 2 && !removed(&pair));
    pair.run(Duration::from_secs(2));
    assert!(removed(&pair));
}

#[test]
fn row_27_an_offset_that_we_did_not_offer_is_refused_and_never_installed() {
    for suite in CipherSuite::ALL {
        for tamper in [offset_30 as fn(&mut Mkpdu), offset_50] {
            let mut pair = Pair::new(with_suite(1, 200, suite), with_suite(2, 16, suite));
            pair.tamper = Some(tamper);
            pair.start(SECOND);
            let status = pair.a.kay.status(pair.now);
            assert!(status.evidence.offset_refused.is_some(), "which diagnosis names");
            assert!(status.sak.is_none() && installs(&pair).is_empty());
        }
    }
    let pair = started(led());
    let capability = |frame: &Vec<u8>| read(frame).basic.macsec_capability;
    assert!(pair.wire.iter().all(|frame| capability(frame) == MacsecCapability::Offset0));
}

/// XPN knows no offset, even where we could do one.
#[test]
fn row_27_xpn_and_an_offset_exclude_each_other() {
    let able = Policy { offset: ConfidentialityOffset::Offset50, ..policy(1, 200) };
    let mut pair = Pair::new(able, policy(2, 16));
    pair.tamper = Some(offset_50);
    pair.start(SECOND);
    assert!(installs(&pair).is_empty());
}

fn offset_30(mkpdu: &mut Mkpdu) {
    set_offset(mkpdu, ConfidentialityOffset::Offset30);
}

fn offset_50(mkpdu: &mut Mkpdu) {
    set_offset(mkpdu, ConfidentialityOffset::Offset50);
}

fn set_offset(mkpdu: &mut Mkpdu, to: ConfidentialityOffset) {
    if let Some(DistributedSak::Key { offset, .. }) = &mut mkpdu.distributed_sak {
        *offset = to;
    }
}
