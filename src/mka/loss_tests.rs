//! What becomes of a CA in which a data plane loses an SAK.

use std::time::Duration;

use super::testing::{Group, Pair, Station, policy, read};
use super::*;
use crate::ident::{KeyId, KeyNumber, MemberId};
use crate::secy::SecyCommand;
use crate::wire::SakUseSet;

const MILLIS: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);

/// Two stations that use their first SAK, of which `a` is key server, or is not.
fn settled(a_serves: bool) -> Pair {
    let (a, b) = if a_serves { (16, 200) } else { (200, 16) };
    let mut pair = Pair::new(policy(1, a), policy(2, b));
    pair.start(5 * SECOND);
    assert_eq!((pair.a.state(), pair.b.state()), (PortState::Secured, PortState::Secured));
    pair
}

fn sak(station: &Station, pair: &Pair) -> KeyId {
    station.kay.status(pair.now).sak.expect("an SAK").ki
}

fn lose(station: &mut Station, now: crate::time::Time, ki: KeyId) {
    station.commands.clear();
    station.handle(now, Input::SakLost(ki));
}

fn mi(station: &Station, pair: &Pair) -> MemberId {
    station.kay.status(pair.now).participants[0].mi
}

fn installs(station: &Station) -> usize {
    let commands = station.commands.iter();
    commands.filter(|command| matches!(command, SecyCommand::InstallSak(_))).count()
}

fn removes(station: &Station, ki: KeyId) -> bool {
    let mut commands = station.commands.iter();
    commands.any(|command| matches!(command, SecyCommand::RemoveSak(of) if *of == ki))
}

fn closes(station: &Station) -> bool {
    let mut commands = station.commands.iter();
    commands.any(|command| matches!(command, SecyCommand::SetControlledPort(false)))
}

/// What a station last said of the key: transmits, receives.
fn said(frames: &[Vec<u8>], ki: KeyId) -> Option<(bool, bool)> {
    let SakUseSet::Keys(keys) = read(frames.last()?).sak_use? else { return None };
    let key = keys.latest.into_iter().chain(keys.old).find(|key| key.ki == ki)?;
    Some((key.tx, key.rx))
}

#[test]
fn a_key_server_that_loses_its_sak_makes_another_at_once() {
    let mut pair = settled(true);
    let lost = sak(&pair.a, &pair);
    lose(&mut pair.a, pair.now, lost);
    assert_eq!(pair.a.state(), PortState::Pending, "nothing can be sent");
    assert_eq!(installs(&pair.a), 1, "the next is made in the same moment");
    assert!(!removes(&pair.a, lost), "the other goes on sending with it");
    assert_eq!(pair.a.kay.status(pair.now).evidence.sak_lost, Some((lost, pair.now)));

    pair.run(MILLIS);
    assert_eq!((pair.a.state(), pair.b.state()), (PortState::Secured, PortState::Secured));
    assert_ne!(sak(&pair.a, &pair), lost);
    assert_eq!(sak(&pair.a, &pair), sak(&pair.b, &pair));
    assert!(!closes(&pair.a), "what arrives meanwhile is let in");
    assert_eq!(pair.a.kay.status(pair.now).evidence.sak_lost, None);
    pair.run(4 * SECOND);
    assert!(removes(&pair.a, lost));
}

/// To its server it is a new member, for whom a fresh SAK is due (802.1X-2020 9.8).
#[test]
fn a_member_that_loses_its_only_sak_takes_a_new_mi_at_once() {
    let mut pair = settled(false);
    let (lost, before) = (sak(&pair.a, &pair), mi(&pair.a, &pair));
    lose(&mut pair.a, pair.now, lost);
    assert_ne!(mi(&pair.a, &pair), before);
    assert_ne!(pair.a.state(), PortState::Secured);

    pair.run(MILLIS);
    assert_eq!((pair.a.state(), pair.b.state()), (PortState::Secured, PortState::Secured));
    assert_ne!(sak(&pair.a, &pair), lost);
    assert_eq!(sak(&pair.a, &pair), sak(&pair.b, &pair));
    assert!(!closes(&pair.a) && !closes(&pair.b));
    pair.run(4 * SECOND);
    assert!(removes(&pair.a, lost));
}

#[test]
fn a_member_that_waits_for_the_next_sak_goes_on_receiving_with_the_lost_one() {
    let mut pair = settled(false);
    let lost = sak(&pair.a, &pair);
    pair.cut = true;
    lose(&mut pair.a, pair.now, lost);
    pair.run(5 * SECOND);
    assert!(!removes(&pair.a, lost) && !closes(&pair.a));
    let dropped = |of: &SecyCommand| matches!(of, SecyCommand::RemoveReceiver(_));
    assert!(!pair.a.commands.iter().any(dropped));
    // Whoever is not met again within an MKA Life Time is not there.
    pair.run(2 * SECOND);
    assert!(removes(&pair.a, lost) && closes(&pair.a));
}

#[test]
fn a_lost_sak_is_claimed_no_longer() {
    let mut pair = settled(true);
    let lost = sak(&pair.a, &pair);
    lose(&mut pair.a, pair.now, lost);
    assert_eq!(said(&pair.a.sent, lost), Some((false, false)));
    pair.run(MILLIS);
    lose(&mut pair.b, pair.now, lost);
    assert!(!pair.b.sent.is_empty());
    assert_eq!(said(&pair.b.sent, lost), None, "it had gone on, and removes it");
}

#[test]
fn the_loss_of_an_sak_that_is_unknown_or_gone_changes_nothing() {
    for a_serves in [true, false] {
        let mut pair = settled(a_serves);
        let current = sak(&pair.a, &pair);
        let (before, due) = (mi(&pair.a, &pair), pair.a.kay.poll_timeout());
        let later = KeyId { number: KeyNumber(current.number.0 + 1), ..current };
        let foreign = KeyId { server: MemberId::from_octets([9; 12]), ..current };
        for ki in [later, foreign] {
            lose(&mut pair.a, pair.now, ki);
            assert!(pair.a.commands.is_empty() && pair.a.sent.is_empty());
        }
        assert_eq!(pair.a.state(), PortState::Secured);
        assert_eq!((mi(&pair.a, &pair), pair.a.kay.poll_timeout()), (before, due));
        assert_eq!(pair.a.kay.status(pair.now).evidence.sak_lost, None);
    }
}

#[test]
fn in_a_group_of_three_everyone_moves_on_with_whoever_lost_its_sak() {
    for loser in 0..3 {
        let mut group = Group::started(&[16, 64, 200], 5 * SECOND);
        let keys = |group: &Group| -> Vec<_> {
            let of = |station: &Station| station.kay.status(group.now).sak.map(|sak| sak.ki);
            group.stations.iter().map(of).collect()
        };
        let before = keys(&group);
        let lost = before[0].expect("an SAK");
        assert_eq!(before, [Some(lost); 3]);
        lose(&mut group.stations[loser], group.now, lost);
        group.run(MILLIS);
        let after = keys(&group);
        assert!(after[0].is_some_and(|ki| ki != lost) && after == [after[0]; 3], "{after:?}");
        for station in &group.stations {
            assert_eq!(station.state(), PortState::Secured);
            assert!(!closes(station), "{loser} {}", station.kay.status(group.now).sci);
        }
    }
}
