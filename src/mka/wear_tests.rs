//! Keys that wear out, and identities that do.

use std::time::Duration;

use super::testing::{Group, Pair, Station, policy, read};
use super::{Input, Policy, PortState};
use crate::ident::{CipherSuite, KeyId, MemberId, PacketNumber};
use crate::secy::{Octets, RxProgress, SecyCommand, TxProgress};
use crate::wire::Mkpdu;

const SECOND: Duration = Duration::from_secs(1);
const LAST_32: u64 = 0xffff_ffff;

fn plain(station: u8, priority: u8) -> Policy {
    Policy { cipher_suites: vec![CipherSuite::GcmAes256], ..policy(station, priority) }
}

fn secured(a: Policy, b: Policy) -> Pair {
    let mut pair = Pair::new(a, b);
    pair.start(4 * SECOND);
    assert_eq!((pair.a.state(), pair.b.state()), (PortState::Secured, PortState::Secured));
    pair
}

fn key(pair: &Pair) -> KeyId {
    pair.a.kay.status(pair.now).sak.unwrap().ki
}

fn number(pair: &Pair) -> u32 {
    key(pair).number.0
}

fn mi(station: &Station, pair: &Pair) -> MemberId {
    station.kay.status(pair.now).participants[0].mi
}

fn spend(pair: &mut Pair, pn: u64) {
    let progress = TxProgress { ki: key(pair), next_pn: PacketNumber(pn) };
    pair.a.handle(pair.now, Input::TxProgress(progress));
}

/// Whether the port was ever closed, or somebody no longer received.
fn broke(station: &Station) -> bool {
    station.commands.iter().any(|command| {
        matches!(command, SecyCommand::SetControlledPort(false) | SecyCommand::RemoveReceiver(_))
    })
}

#[test]
fn rekeys_come_by_volume_in_either_direction() {
    for sent in [true, false] {
        let mut pair =
            secured(Policy { rekey_octets: Some(1000), ..policy(1, 16) }, policy(2, 200));
        for (round, total) in [(1, 0), (1, 999), (2, 1000), (2, 1999), (3, 2000)] {
            spend(&mut pair, 1 + total);
            let octets = if sent {
                Octets { sent: 50 + total, received: 7 }
            } else {
                Octets { sent: 7, received: 50 + total }
            };
            pair.a.handle(pair.now, Input::Octets(octets));
            pair.run(4 * SECOND);
            assert_eq!(number(&pair), round, "{total} octets, sent {sent}");
        }
    }
}

/// 40 seconds for the whole space, as at 100 Gb/s: well before the mark there is no time left.
#[test]
fn a_rekey_comes_while_there_is_time_for_it_at_the_measured_rate() {
    for own in [true, false] {
        let mut pair = secured(plain(1, 16), plain(2, 200));
        let (ki, b) = (key(&pair), pair.b.kay.status(pair.now).sci);
        let mut spent = 0;
        while number(&pair) == 1 {
            spent += 1;
            let next_pn = PacketNumber(LAST_32 / 40 * spent);
            if own {
                spend(&mut pair, next_pn.0);
            } else {
                let lowest_pn = next_pn;
                let progress = RxProgress { ki, sci: b, next_pn, lowest_pn };
                pair.a.handle(pair.now, Input::RxProgress(&[progress]));
            }
            pair.run(SECOND);
        }
        // MKA Life Time twice and two hellos: 16 s.
        assert_eq!(spent, 25, "own {own}");
    }
}

/// However fast, a quarter of the space is used: rekeys do not follow each other without end.
#[test]
fn a_space_that_never_lasts_long_enough_is_left_at_a_quarter_of_it() {
    let mut pair = secured(plain(1, 16), plain(2, 200));
    spend(&mut pair, LAST_32 / 16);
    pair.run(SECOND);
    spend(&mut pair, LAST_32 / 5);
    pair.run(SECOND);
    assert_eq!(number(&pair), 1);
    assert!(pair.a.kay.numbers_last().unwrap() < 7 * SECOND);
    spend(&mut pair, LAST_32 / 4 + 1);
    pair.run(SECOND);
    assert_eq!(number(&pair), 2);
    assert_eq!(pair.a.kay.numbers_last(), None, "nothing is known of the next");
}

fn asks(mkpdu: &mut Mkpdu) {
    mkpdu.xpn.get_or_insert_default().suspension_time = 100;
}

/// Whoever is away for a while has no say where packet numbers would not last.
#[test]
fn a_suspension_does_not_hold_up_a_rekey_without_which_numbers_run_out() {
    let mut pair = secured(plain(1, 16), plain(2, 200));
    pair.tamper = Some(asks);
    pair.run(2 * SECOND);
    spend(&mut pair, LAST_32 / 4 * 3);
    pair.run(SECOND);
    spend(&mut pair, LAST_32 / 4 * 3 + 1000);
    pair.a.kay.rekey(pair.now).unwrap();
    pair.run(10 * SECOND);
    assert_eq!(number(&pair), 1, "the numbers last for months");

    spend(&mut pair, LAST_32 / 5 * 4);
    pair.run(SECOND);
    spend(&mut pair, LAST_32 / 10 * 9);
    pair.run(SECOND);
    assert_eq!(number(&pair), 2);
}

/// Its message numbers or its key numbers are used up, as member or as key server.
#[test]
fn a_new_mi_costs_no_frame() {
    type Spend = fn(&mut Station);
    let messages: Spend = |of| of.kay.participants[0].actor.skip_to(u32::MAX - 1025);
    let keys: Spend = |of| of.kay.participants[0].last_kn = u32::MAX - 1024;
    for (a, spend) in [(16, messages), (200, messages), (16, keys)] {
        let mut pair = secured(policy(1, a), policy(2, 100));
        let (before, first) = (mi(&pair.a, &pair), key(&pair));
        spend(&mut pair.a);
        pair.a.handle(pair.now, Input::Timeout);
        pair.run(5 * SECOND);
        assert_ne!(mi(&pair.a, &pair), before);
        assert!(!broke(&pair.a) && !broke(&pair.b));
        assert_ne!(key(&pair), first);
        assert_eq!(pair.b.kay.status(pair.now).sak.unwrap().ki, key(&pair));
    }
}

/// The next SAK waits for all who had the one before, so that none of them is left out.
#[test]
fn a_key_server_with_a_new_mi_makes_one_sak_for_all_who_were_there() {
    let mut group = Group::started(&[16, 100, 200], 10 * SECOND);
    let made = |group: &Group| {
        let commands = group.stations[0].commands.iter();
        commands.filter(|command| matches!(command, SecyCommand::InstallSak(_))).count()
    };
    let before = made(&group);
    group.stations[0].kay.participants[0].actor.skip_to(u32::MAX - 1024);
    group.stations[0].handle(group.now, Input::Timeout);
    group.run(5 * SECOND);
    assert_eq!(made(&group), before + 1);
    let sak = |station: &Station| station.kay.status(group.now).sak.unwrap().ki;
    let first = sak(&group.stations[0]);
    assert!(group.stations.iter().all(|station| sak(station) == first && !broke(station)));
}

/// It told the server of its packet numbers, and this one would not listen.
#[test]
fn a_member_whose_numbers_near_their_end_takes_a_new_mi_while_it_still_sends() {
    let mut pair = secured(plain(1, 200), plain(2, 16));
    let before = mi(&pair.a, &pair);
    spend(&mut pair, LAST_32 / 16 * 15);
    pair.run(Duration::from_millis(100));
    assert_eq!((mi(&pair.a, &pair), number(&pair)), (before, 1), "it is the server's to do");
    // The server hears with our next hello but one, and is quicker now.
    spend(&mut pair, LAST_32 / 32 * 31);
    pair.run(Duration::from_millis(100));
    assert_ne!(mi(&pair.a, &pair), before);
    assert_eq!((number(&pair), pair.a.state()), (2, PortState::Secured));
    assert!(!broke(&pair.a) && !broke(&pair.b));
}

/// It makes the next SAK itself.
#[test]
fn a_key_server_whose_numbers_near_their_end_stays_who_it_is() {
    let mut pair = secured(plain(1, 16), plain(2, 200));
    let before = mi(&pair.a, &pair);
    spend(&mut pair, LAST_32 / 32 * 31);
    pair.run(Duration::from_millis(100));
    assert_eq!((mi(&pair.a, &pair), number(&pair)), (before, 2));
}

/// The next is there already, and a new MI would only hold it up.
#[test]
fn a_member_that_has_the_next_sak_when_its_numbers_near_their_end_stays_who_it_is() {
    let mut pair = secured(plain(1, 200), plain(2, 16));
    let before = mi(&pair.a, &pair);
    pair.passes = |frame| read(frame).basic.sci == policy(2, 16).sci;
    pair.b.kay.rekey(pair.now).unwrap();
    pair.b.handle(pair.now, Input::Timeout);
    pair.run(Duration::from_millis(10));
    assert_eq!((number(&pair), pair.a.kay.cp.newest().unwrap().ki.number.0), (1, 2));
    spend(&mut pair, LAST_32 / 32 * 31);
    assert_eq!(mi(&pair.a, &pair), before);
}
