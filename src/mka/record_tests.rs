//! What a record says of the data plane, and what a KaY makes good that goes by one.

use std::time::Duration;

use super::memory_tests::{installed, ki, open, own_mi, resume, secured};
use super::testing::{Pair, Seeded, policy, ring};
use super::{Forgotten, Input, Kay, Manners, Memory, Output, Policy, PortState};
use crate::ident::{CipherSuite, MemberId};
use crate::keyring::KeyRing;
use crate::secy::{InstalledSak, SecyCommand, TransmitState};

const SECOND: Duration = Duration::from_secs(1);
const MILLIS: Duration = Duration::from_millis(1);

/// Ends the first station and has another go on under this policy and these keys.
fn restart_as(pair: &mut Pair, policy: Policy, keys: &KeyRing) {
    let kept = installed(&pair.a);
    let memory = open(pair, &policy, keys).unwrap();
    let entropy = Box::new(Seeded::new(99));
    pair.a.kay = Kay::resume(pair.now, policy, keys, entropy, memory, &kept).unwrap();
    pair.a.handle(pair.now, Input::Timeout);
}

/// A pair whose first station has the next SAK in its data plane, while all still send with the one
/// before. What the second station says arrives, and nothing else.
fn half_rekeyed(priority: u8) -> Pair {
    let mut pair = secured(priority);
    pair.run(5 * SECOND);
    pair.passes = |frame| super::testing::read(frame).basic.sci == policy(2, 16).sci;
    let server = if priority == 1 { &mut pair.a } else { &mut pair.b };
    server.kay.rekey(pair.now).unwrap();
    server.handle(pair.now, Input::Timeout);
    pair.run(100 * MILLIS);
    let kept = installed(&pair.a);
    let states: Vec<_> = kept.iter().map(|sak| sak.transmit).collect();
    assert_eq!(states, [TransmitState::Transmitting, TransmitState::Waiting]);
    pair
}

fn removes(kay: &mut Kay, of: &InstalledSak) -> bool {
    let mut outputs = std::iter::from_fn(|| kay.poll_output());
    outputs.any(|output| {
        let Output::Secy { command: SecyCommand::RemoveSak(ki), .. } = output else { return false };
        ki == of.key.ki
    })
}

#[test]
fn a_record_names_what_the_data_plane_has() {
    let told = |saks: Vec<InstalledSak>| {
        let mut told: Vec<_> = saks
            .into_iter()
            .map(|sak| (sak.key.ki, sak.an, sak.ssci, sak.receivers, sak.transmit))
            .collect();
        told.sort_by_key(|of| of.0.number);
        told
    };
    let check = |pair: &Pair, states: &[TransmitState]| {
        let (policy, keys) = (pair.a.kay.policy().clone(), ring(&[(1, 7)]));
        let memory: Memory = open(pair, &policy, &keys).unwrap();
        let expected = told(installed(&pair.a));
        assert_eq!(told(memory.saks()), expected);
        assert_eq!(expected.iter().map(|of| of.4).collect::<Vec<_>>(), states);
    };
    let mut pair = half_rekeyed(1);
    check(&pair, &[TransmitState::Transmitting, TransmitState::Waiting]);
    pair.passes = |_| true;
    pair.run(2 * SECOND);
    check(&pair, &[TransmitState::Superseded, TransmitState::Transmitting]);
    pair.run(5 * SECOND);
    check(&pair, &[TransmitState::Transmitting]);
}

/// Nobody gives us up while we are to be silent.
#[test]
fn a_record_is_good_until_the_end_of_a_suspension() {
    let mut pair = secured(1);
    let (policy, keys) = (pair.a.kay.policy().clone(), ring(&[(1, 7)]));
    pair.a.kay.ask_suspension(pair.now, 60 * SECOND).unwrap();
    pair.a.handle(pair.now, Input::Timeout);
    pair.run(SECOND);
    let end = pair.now.after(59 * SECOND);
    pair.now = pair.now.after(59 * SECOND - MILLIS);
    assert!(open(&pair, &policy, &keys).is_ok());
    pair.now = end;
    assert_eq!(open(&pair, &policy, &keys).err(), Some(Forgotten::Late));
}

#[test]
fn nothing_is_kept_that_no_key_server_stands_for() {
    let mut pair = secured(1);
    pair.a.kay.decided = None;
    pair.a.kay.remember();
    let said = pair.a.kay.poll_output();
    assert!(matches!(said, Some(Output::Remember(None))), "{said:?}");
}

/// The key in use is not what it would be now.
#[test]
fn another_suite_after_the_restart_comes_with_a_fresh_sak() {
    let suites = [CipherSuite::GcmAesXpn256, CipherSuite::GcmAesXpn128];
    let with = |of: Policy, cipher_suites: &[CipherSuite]| Policy {
        cipher_suites: cipher_suites.to_vec(),
        ..of
    };
    let mut pair = Pair::new(with(policy(1, 1), &suites), with(policy(2, 16), &suites));
    pair.a.kay.keep_record();
    pair.start(10 * SECOND);
    let suite = |pair: &Pair| pair.a.kay.status(pair.now).sak.unwrap().suite;
    assert_eq!(suite(&pair), CipherSuite::GcmAesXpn256);
    restart_as(&mut pair, with(policy(1, 1), &[suites[1], suites[0]]), &ring(&[(1, 7)]));
    pair.run(5 * SECOND);
    assert_eq!(suite(&pair), CipherSuite::GcmAesXpn128);
    assert_eq!((pair.a.state(), pair.b.state()), (PortState::Secured, PortState::Secured));
}

/// The one before had asked for the member to be received, and that was not done.
#[test]
fn a_server_that_does_not_receive_a_member_with_the_key_in_use_makes_another() {
    let mut pair = secured(1);
    let (first, mut kept) = (ki(&pair), installed(&pair.a));
    kept[0].receivers.clear();
    assert!(!removes(&mut resume(&pair, &kept).unwrap(), &kept[0]), "frames go on with it");
    pair.a.kay = resume(&pair, &kept).unwrap();
    pair.a.kay.handle(pair.now, Input::Timeout);
    let newest = pair.a.kay.saks.newest().unwrap().key.ki;
    assert_ne!(newest, first);
}

#[test]
fn an_sak_that_was_installed_in_part_is_removed() {
    let pair = half_rekeyed(1);
    let mut kept = installed(&pair.a);
    assert!(!removes(&mut resume(&pair, &kept).unwrap(), &kept[1]));
    kept[1].receivers.clear();
    assert!(removes(&mut resume(&pair, &kept).unwrap(), &kept[1]));
}

/// A member takes a new MI, without which it would not be given another; a key server just makes one.
#[test]
fn a_member_whose_next_sak_is_not_there_asks_for_another() {
    for (priority, asks) in [(1, false), (200, true)] {
        let pair = half_rekeyed(priority);
        let kept = installed(&pair.a);
        let next = kept[1].key.ki;
        let kay = resume(&pair, &kept[..1]).unwrap();
        let mi = kay.status(pair.now).participants[0].mi;
        assert_eq!(mi != own_mi(&pair), asks);
        assert_eq!(kay.lost_sak, asks.then_some(next));
    }
}

/// It waits as it would have, were it not for the restart.
#[test]
fn a_server_whose_saks_were_refused_before_a_restart_makes_another_after_the_usual_time() {
    let mut pair = secured(1);
    let kept = installed(&pair.a);
    pair.a.kay.rekey(pair.now).unwrap();
    pair.a.refuse = true;
    pair.a.handle(pair.now, Input::Timeout);
    // Two seconds after the first refusal it has tried again.
    pair.run(2500 * MILLIS);
    let refused = pair.a.kay.saks.newest().unwrap().key.ki;
    assert_eq!(refused.number.0, 3);
    let mut kay = resume(&pair, &kept).unwrap();
    kay.handle(pair.now.after(1400 * MILLIS), Input::Timeout);
    assert_eq!(kay.saks.newest().map(|sak| sak.key.ki), Some(refused));
    kay.handle(pair.now.after(1500 * MILLIS), Input::Timeout);
    assert_ne!(kay.saks.newest().map(|sak| sak.key.ki), Some(refused));
}

/// It has the name of the one before, and is another.
#[test]
fn a_key_that_was_replaced_under_its_name_begins_with_a_new_mi() {
    let keys = ring(&[(1, 7), (2, 9)]);
    let mut pair = Pair::with_keys(policy(1, 1), &keys, policy(2, 16), &keys);
    pair.a.kay.keep_record();
    pair.start(10 * SECOND);
    let mis = |pair: &Pair| -> Vec<MemberId> {
        pair.a.kay.status(pair.now).participants.iter().map(|of| of.mi).collect()
    };
    let before = mis(&pair);
    restart_as(&mut pair, policy(1, 1), &ring(&[(1, 7), (2, 10)]));
    let after = mis(&pair);
    assert_eq!((after[0], after.len()), (before[0], 2));
    assert!(!before.contains(&after[1]));
}

#[test]
fn another_life_time_after_the_restart_holds_for_the_peers() {
    let mut pair = secured(1);
    let manners = Manners { life: 3 * SECOND, ..Manners::default() };
    restart_as(&mut pair, Policy { manners, ..policy(1, 1) }, &ring(&[(1, 7)]));
    pair.run(4 * SECOND);
    assert_eq!(pair.a.state(), PortState::Secured);
    pair.cut = true;
    pair.run(4 * SECOND);
    assert_ne!(pair.a.state(), PortState::Secured);
}
