//! More small promises: what is said, taken and waited for at the edges.

use std::time::Duration;

use super::progress::Progress;
use super::status::Evidence;
use super::testing::{Pair, policy, read};
use super::timers::LIFE;
use super::{Access, CpState, Input, Policy, PortState, Sighting};
use crate::ident::{CipherSuite, Ckn, KeyServerPriority, PacketNumber};
use crate::secy::{RxProgress, SecyCommand, Validate};
use crate::time::Time;
use crate::wire::{DistributedSak, MacsecCapability, Mkpdu, SakUse, SakUseSet};

const SECOND: Duration = Duration::from_secs(1);
const MILLIS: Duration = Duration::from_millis(1);

fn secured(mut pair: Pair) -> Pair {
    pair.start(SECOND);
    assert_eq!((pair.a.state(), pair.b.state()), (PortState::Secured, PortState::Secured));
    pair
}

fn plain(of: Policy) -> Policy {
    Policy { cipher_suites: vec![CipherSuite::GcmAes128], ..of }
}

fn raises(pair: &Pair) -> bool {
    pair.a.commands.iter().any(|of| matches!(of, SecyCommand::RaiseLowestPn { .. }))
}

#[test]
fn in_clear_nothing_is_protected_and_what_is_protected_still_passes() {
    let settings = policy(1, 16).in_clear();
    assert_eq!(
        (settings.protect, settings.validate, settings.replay_protect),
        (false, Validate::Check, false)
    );
    assert!(settings.include_sci);
}

#[test]
fn a_decision_on_frames_in_clear_is_handed_out() {
    let mut pair =
        Pair::new(Policy { access: Access::ShouldSecure, ..policy(1, 16) }, policy(2, 200));
    pair.tamper = Some(|mkpdu| mkpdu.basic.macsec_capability = MacsecCapability::NotImplemented);
    pair.start(3 * SECOND);
    let own = policy(1, 16).sci;
    let mut said = pair.wire.iter().map(|frame| read(frame)).filter(|of| of.basic.sci == own);
    assert_eq!(said.next_back().unwrap().distributed_sak, Some(DistributedSak::PlainText));
}

#[test]
fn whoever_says_that_it_sends_in_clear_beside_is_shown_so() {
    let mut pair = secured(Pair::new(policy(1, 16), policy(2, 200)));
    let shown = |pair: &Pair| pair.a.kay.status(pair.now).participants[0].peers[0].also_in_clear;
    pair.run(3 * SECOND);
    assert!(!shown(&pair));
    pair.tamper = Some(|mkpdu| {
        if let Some(SakUseSet::Keys(keys)) = &mut mkpdu.sak_use {
            keys.plain_tx = true;
        }
    });
    pair.run(3 * SECOND);
    assert!(shown(&pair));
}

fn is_far(mkpdu: &mut Mkpdu) {
    if let Some(SakUseSet::Keys(SakUse { latest: Some(latest), .. })) = &mut mkpdu.sak_use {
        latest.llpn = 100;
    }
}

#[test]
fn a_lowest_packet_number_is_raised_for_those_alone_who_ask_for_delay_protection() {
    for delay_protect in [false, true] {
        let far = Policy { delay_protect, ..plain(policy(2, 200)) };
        let mut pair = secured(Pair::new(plain(policy(1, 16)), far));
        assert!(!raises(&pair), "nothing is below 1");
        pair.tamper = Some(is_far);
        pair.run(5 * SECOND);
        assert_eq!(raises(&pair), delay_protect);
    }
}

/// A number of 0 says nothing: no frame was received whose number tells the high half.
#[test]
fn a_lowest_packet_number_of_0_is_none() {
    let mut pair = secured(Pair::new(policy(1, 16), policy(2, 200)));
    pair.run(3 * SECOND);
    let ki = pair.a.kay.status(pair.now).sak.unwrap().ki;
    let mut peer = pair.a.kay.participants[0].peers.live().next().unwrap().1.clone();
    peer.suspension = None;
    let mut progress = Progress::default();
    let next_pn = PacketNumber(0x1_0000_0005);
    let lowest_pn = PacketNumber(1);
    progress.note_received(pair.now, RxProgress { ki, sci: peer.sci, next_pn, lowest_pn });
    for (llpn, expected) in [(3, Some(0x1_0000_0003)), (0, None)] {
        let keys = peer.sak_use.as_mut().unwrap();
        keys.latest.iter_mut().chain(&mut keys.old).for_each(|key| key.llpn = llpn);
        assert_eq!(progress.llpn_of(&peer, ki, true), expected);
    }
}

/// Somebody has our MI, and we take another: what we have stands until all have met us again.
#[test]
fn what_holds_stands_where_our_mi_is_heard_from_another() {
    let mut pair = secured(Pair::new(policy(1, 16), policy(2, 200)));
    let own = pair.a.kay.status(pair.now).participants[0].mi;
    let frame = pair.forged(|mkpdu| mkpdu.basic.mi = own);
    assert_eq!(pair.refusals(&frame), ["own_member_id"]);
    assert_ne!(pair.a.kay.status(pair.now).participants[0].mi, own);
    assert!(pair.a.kay.is_held(pair.now));
}

#[test]
fn a_lost_carrier_is_borne_for_as_long_as_a_silent_peer() {
    let mut pair = secured(Pair::new(policy(1, 16), policy(2, 200)));
    pair.a.kay.ask_suspension(pair.now, 100 * SECOND).unwrap();
    pair.a.handle(pair.now, Input::Timeout);
    pair.run(SECOND);
    pair.a.handle(pair.now, Input::Carrier(false));
    let lost = pair.now;
    let end = lost.after(LIFE + 250 * MILLIS);
    pair.a.handle(lost.after(LIFE), Input::Timeout);
    assert_eq!(pair.a.kay.poll_timeout(), Some(end));
    assert_ne!(pair.a.kay.status(end).cp, CpState::Init);
    pair.a.handle(end, Input::Timeout);
    assert_eq!(pair.a.kay.status(end).cp, CpState::Init);
}

fn yields(mkpdu: &mut Mkpdu) {
    mkpdu.basic.key_server_priority = KeyServerPriority(200);
    (mkpdu.basic.key_server, mkpdu.distributed_sak) = (false, None);
}

/// Ours is the word now, and there is no randomness for a key.
#[test]
fn the_key_of_the_server_before_goes_on_for_a_life_time_and_no_longer() {
    let mut pair = secured(Pair::new(policy(1, 32), policy(2, 16)));
    pair.run(5 * SECOND);
    pair.a.dry.store(true, std::sync::atomic::Ordering::Relaxed);
    pair.tamper = Some(yields);
    pair.run(5 * SECOND);
    assert!(pair.a.kay.is_server() && pair.a.kay.handed_over.is_some());
    assert_eq!(pair.a.state(), PortState::Secured);
    pair.run(4 * SECOND);
    assert!(pair.a.kay.handed_over.is_none() && pair.a.kay.decided.is_none());
    assert_ne!(pair.a.state(), PortState::Secured);
}

/// The server before has waited for us to say that we receive with its key.
#[test]
fn a_key_that_nobody_has_sent_with_yet_is_not_kept_for_another_server() {
    let mut pair = Pair::new(policy(1, 32), policy(2, 16));
    pair.passes = |frame| {
        let mkpdu = read(frame);
        mkpdu.basic.sci == policy(2, 16).sci || mkpdu.sak_use.is_none()
    };
    pair.start(SECOND);
    assert!(pair.a.kay.cp.slots().next().is_some() && pair.a.kay.cp.transmits_with().is_none());
    pair.a.dry.store(true, std::sync::atomic::Ordering::Relaxed);
    pair.tamper = Some(yields);
    pair.run(2 * SECOND);
    assert!(pair.a.kay.is_server());
    assert!(pair.a.kay.handed_over.is_none());
}

#[test]
fn whoever_used_a_key_name_a_moment_ago_has_called() {
    let [ckn, other] = [1, 2].map(|name| Ckn::new(&[name; 4]).unwrap());
    let at = Time::ZERO.after(10 * SECOND);
    let unknown_ckn = Some(Sighting { ckn: ckn.clone(), sci: policy(2, 16).sci, at });
    let evidence = Evidence { unknown_ckn, ..Evidence::default() };
    assert!(evidence.was_called(at.after(LIFE - MILLIS), &ckn, LIFE));
    assert!(!evidence.was_called(at.after(LIFE), &ckn, LIFE));
    assert!(!evidence.was_called(at, &other, LIFE));
    assert!(!Evidence::default().was_called(at, &ckn, LIFE));
}

#[test]
fn a_refusal_counts_for_a_life_time() {
    let mut pair = secured(Pair::new(policy(1, 16), policy(2, 200)));
    pair.a.kay.evidence.unwrap_failed = Some(pair.now);
    assert!(pair.a.kay.refuses(pair.now.after(LIFE - MILLIS)));
    assert!(!pair.a.kay.refuses(pair.now.after(LIFE)));
}

#[test]
fn a_suspension_is_over_at_its_end() {
    let mut pair = secured(Pair::new(policy(1, 16), policy(2, 200)));
    pair.a.kay.ask_suspension(pair.now, 60 * SECOND).unwrap();
    let end = pair.now.after(60 * SECOND);
    assert!(pair.a.kay.is_suspended(pair.now.after(59 * SECOND)) && !pair.a.kay.is_suspended(end));
    pair.a.handle(end, Input::Timeout);
    assert!(pair.a.kay.own_request.is_none());
}
