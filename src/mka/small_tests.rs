//! Small promises, each of which a mutant has broken without another test noticing.

use std::time::Duration;

use super::testing::{Pair, policy, ring};
use super::{Input, Policy, PortState};
use crate::ident::{CipherSuite, ConfidentialityOffset, PacketNumber};
use crate::secy::{SecyCommand, TxProgress};

const SECOND: Duration = Duration::from_secs(1);

fn secured(mut pair: Pair) -> Pair {
    pair.start(SECOND);
    assert_eq!((pair.a.state(), pair.b.state()), (PortState::Secured, PortState::Secured));
    pair
}

/// The server's newest key is not ours.
#[test]
fn a_server_is_followed_to_the_ca_where_it_has_its_keys() {
    let (ours, theirs) = (ring(&[(1, 7), (2, 9)]), ring(&[(2, 9), (1, 7)]));
    let mut pair = secured(Pair::with_keys(policy(1, 200), &ours, policy(2, 16), &theirs));
    pair.run(10 * SECOND);
    assert_eq!((pair.a.state(), pair.b.state()), (PortState::Secured, PortState::Secured));
    let principal = |station: &super::testing::Station| {
        let status = station.kay.status(pair.now);
        status.participants.into_iter().find(|of| of.principal).map(|of| of.ckn)
    };
    assert_eq!(principal(&pair.a).unwrap().octets(), [2; 4]);
    assert_eq!(principal(&pair.b).unwrap().octets(), [2; 4]);
}

#[test]
fn without_delay_protection_no_lowest_packet_number_is_raised() {
    let mut pair = secured(Pair::new(policy(1, 16), policy(2, 200)));
    pair.run(10 * SECOND);
    let raises = |of: &SecyCommand| matches!(of, SecyCommand::RaiseLowestPn { .. });
    assert!(!pair.a.commands.iter().chain(&pair.b.commands).any(raises));
}

#[test]
fn a_hello_goes_out_as_soon_as_the_link_is_back() {
    let mut pair = secured(Pair::new(policy(1, 16), policy(2, 200)));
    pair.a.handle(pair.now, Input::Carrier(false));
    pair.run(SECOND / 4);
    assert!(pair.a.sent.is_empty());
    pair.a.handle(pair.now, Input::Carrier(true));
    assert_eq!(pair.a.sent.len(), 1);
}

#[test]
fn an_offset_is_used_with_a_suite_that_knows_it() {
    let with = |station, priority| Policy {
        cipher_suites: vec![CipherSuite::GcmAes128],
        offset: ConfidentialityOffset::Offset30,
        ..policy(station, priority)
    };
    let pair = secured(Pair::new(with(1, 16), with(2, 200)));
    for station in [&pair.a, &pair.b] {
        let offset = station.kay.status(pair.now).sak.unwrap().offset;
        assert_eq!(offset, ConfidentialityOffset::Offset30);
    }
}

#[test]
fn numbers_of_32_bits_are_shown_as_a_part_of_all_and_have_no_xpn_set() {
    let suite = vec![CipherSuite::GcmAes128];
    let with = |of| Policy { cipher_suites: suite.clone(), ..of };
    let mut pair = secured(Pair::new(with(policy(1, 16)), with(policy(2, 200))));
    assert!(pair.wire.iter().all(|frame| super::testing::read(frame).xpn.is_none()));
    let ki = pair.a.kay.status(pair.now).sak.unwrap().ki;
    let next_pn = PacketNumber(0x4000_0001);
    pair.a.handle(pair.now, Input::TxProgress(TxProgress { ki, next_pn }));
    let spent = pair.a.kay.status(pair.now).sak.unwrap().pn_used_ratio;
    assert!((spent - 0.25).abs() < 1e-6, "{spent}");
}

#[test]
fn another_sak_waits_until_the_one_before_has_arrived() {
    let mut pair = secured(Pair::new(policy(1, 16), policy(2, 200)));
    pair.run(4 * SECOND);
    pair.cut = true;
    let installs = |pair: &Pair| {
        let commands = pair.a.commands.iter();
        commands.filter(|of| matches!(of, SecyCommand::InstallSak(_))).count()
    };
    for _ in 0..2 {
        pair.a.kay.rekey(pair.now).unwrap();
        pair.a.handle(pair.now, Input::Timeout);
        pair.run(SECOND);
        assert_eq!(installs(&pair), 2);
    }
    pair.cut = false;
    pair.run(5 * SECOND);
    assert_eq!(installs(&pair), 3);
}

#[test]
fn saks_that_nothing_refers_to_are_forgotten() {
    let mut pair = secured(Pair::new(policy(1, 16), policy(2, 200)));
    for _ in 0..10 {
        pair.a.kay.rekey(pair.now).unwrap();
        pair.a.handle(pair.now, Input::Timeout);
        pair.run(4 * SECOND);
        assert_eq!(pair.a.kay.saks.iter_mut().count(), 1);
        assert_eq!(pair.b.kay.saks.iter_mut().count(), 1);
    }
}

#[test]
fn a_distribution_is_over_when_all_receive() {
    let mut pair = Pair::new(policy(1, 16), policy(2, 200));
    pair.b.refuse = true;
    pair.start(SECOND);
    assert!(pair.a.kay.status(pair.now).distributing.is_some());
    pair.b.refuse = false;
    pair.run(5 * SECOND);
    assert_eq!(pair.a.state(), PortState::Secured);
    assert_eq!(pair.a.kay.status(pair.now).distributing, None);
}

#[test]
fn what_is_sent_and_accepted_is_counted() {
    let mut pair = secured(Pair::new(policy(1, 16), policy(2, 200)));
    pair.run(9 * SECOND);
    let own = policy(1, 16).sci;
    let (from_a, from_b): (Vec<_>, Vec<_>) =
        pair.wire.iter().partition(|frame| super::testing::read(frame).basic.sci == own);
    let (a, b) = (pair.a.kay.status(pair.now), pair.b.kay.status(pair.now));
    assert_eq!((a.sent, b.accepted), (from_a.len() as u64, from_a.len() as u64));
    assert_eq!((b.sent, a.accepted), (from_b.len() as u64, from_b.len() as u64));
}

/// A server that goes on offering an SAK that we have, on the association that we have it on.
#[test]
fn an_sak_that_is_offered_again_is_neither_taken_nor_refused() {
    let mut pair = Pair::new(policy(1, 200), policy(2, 16));
    pair.start(SECOND);
    let offers = |frame: &&Vec<u8>| super::testing::read(frame).distributed_sak.is_some();
    let mut offer = super::testing::read(pair.wire.iter().find(offers).expect("an offer"));
    offer.basic.mn.0 += 100;
    let (before, commands) = (pair.a.kay.status(pair.now).sak, pair.a.commands.len());
    assert_eq!(pair.refusals(&super::testing::sign(&offer)), [""; 0]);
    assert_eq!((pair.a.kay.status(pair.now).sak, pair.a.commands.len()), (before, commands));
}

/// The server made the SAK before we lost it, is silent for longer than we keep it, and never lost
/// us: it has no reason of its own to make another.
#[test]
fn a_server_that_we_lost_and_that_did_not_lose_us_makes_us_another_sak() {
    let mut pair = secured(Pair::new(policy(1, 200), policy(2, 16)));
    pair.run(4 * SECOND);
    let first = pair.a.kay.status(pair.now).sak.unwrap().ki;
    // What the server says does not arrive, and what we say does.
    let end = pair.now.after(6 * SECOND);
    while pair.now < end {
        pair.now = pair.now.after(SECOND / 2);
        pair.b.handle(pair.now, Input::Timeout);
        pair.b.sent.clear();
        pair.a.handle(pair.now, Input::Timeout);
        for frame in std::mem::take(&mut pair.a.sent) {
            pair.b.handle(pair.now, Input::Frame(&frame));
        }
    }
    assert_ne!(pair.a.state(), PortState::Secured);
    pair.run(3 * SECOND);
    assert_eq!((pair.a.state(), pair.b.state()), (PortState::Secured, PortState::Secured));
    assert_ne!(pair.a.kay.status(pair.now).sak.unwrap().ki, first);
}
