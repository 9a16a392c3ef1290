//! What becomes of a CA in which a data plane loses an SAK.

use std::time::Duration;

use super::testing::{Group, Pair, Station, policy, read, ring};
use super::*;
use crate::ident::{AssociationNumber, KeyId, KeyNumber, MemberId};
use crate::secy::SecyCommand;
use crate::wire::{DistributedSak, SakUseSet};

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
    // Some servers pass over a new MI until the former one has expired.
    let own = mi(&pair.a, &pair);
    pair.cut = false;
    pair.run(3 * SECOND);
    assert_eq!((pair.a.state(), pair.b.state()), (PortState::Secured, PortState::Secured));
    assert_eq!(mi(&pair.a, &pair), own);
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
    // The server is the first whom the others hear, or the last.
    let orders = [[16, 64, 200], [64, 200, 16]];
    for (priorities, loser) in orders.iter().flat_map(|order| (0..3).map(move |of| (order, of))) {
        let mut group = Group::started(priorities, 5 * SECOND);
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

/// A pair in mid-rekey, `a` being server or not: both have the next SAK and send with the one before.
/// Gives the one before and the next.
fn rekeying(a_serves: bool) -> (Pair, KeyId, KeyId) {
    let mut pair = settled(a_serves);
    let before = sak(&pair.a, &pair);
    let next = KeyId { number: KeyNumber(before.number.0 + 1), ..before };
    let now = pair.now;
    let (server, member) =
        if a_serves { (&mut pair.a, &mut pair.b) } else { (&mut pair.b, &mut pair.a) };
    server.kay.rekey(now).unwrap();
    server.handle(now, Input::Timeout);
    for frame in std::mem::take(&mut server.sent) {
        member.handle(now, Input::Frame(&frame));
    }
    assert_eq!(said(&member.sent, next), Some((false, true)));
    (pair, before, next)
}

#[test]
fn a_server_that_loses_the_next_sak_makes_another_and_sends_with_the_one_before_meanwhile() {
    let (mut pair, before, next) = rekeying(true);
    lose(&mut pair.a, pair.now, next);
    assert_eq!((pair.a.state(), sak(&pair.a, &pair)), (PortState::Secured, before));
    assert!(removes(&pair.a, next));
    assert_eq!(pair.a.kay.status(pair.now).evidence.sak_lost, None, "all goes on");
    pair.run(SECOND);
    assert_eq!(sak(&pair.a, &pair).number.0, next.number.0 + 1);
    assert_eq!(sak(&pair.a, &pair), sak(&pair.b, &pair));
}

#[test]
fn a_member_that_loses_the_next_sak_stays_with_the_one_before_while_that_carries_traffic() {
    let (mut pair, before, next) = rekeying(false);
    let own = mi(&pair.a, &pair);
    // The server never hears that it could have been received with.
    pair.a.sent.clear();
    lose(&mut pair.a, pair.now, next);
    assert_eq!(said(&pair.a.sent, next), None);
    pair.run(4 * SECOND);
    assert_eq!((pair.a.state(), sak(&pair.a, &pair)), (PortState::Secured, before));
    assert_eq!(mi(&pair.a, &pair), own);
    // What would now be left of both is nothing.
    lose(&mut pair.a, pair.now, before);
    assert_ne!(mi(&pair.a, &pair), own);
    pair.run(MILLIS);
    assert_eq!(sak(&pair.a, &pair), sak(&pair.b, &pair));
}

/// It says that it receives, loses the SAK, and the server has believed it.
#[test]
fn a_member_whose_server_has_gone_on_to_an_sak_that_it_lost_asks_for_another_at_once() {
    let (mut pair, _, next) = rekeying(false);
    let own = mi(&pair.a, &pair);
    lose(&mut pair.a, pair.now, next);
    assert_eq!(mi(&pair.a, &pair), own);
    pair.run(SECOND);
    assert_ne!(mi(&pair.a, &pair), own);
    assert_eq!((pair.a.state(), pair.b.state()), (PortState::Secured, PortState::Secured));
    assert_ne!(sak(&pair.a, &pair), next);
    assert_eq!(sak(&pair.a, &pair), sak(&pair.b, &pair));
}

/// The next is on its way, and faster than any other.
#[test]
fn the_loss_of_the_sak_in_use_during_a_rekey_waits_for_the_next_and_asks_for_no_other() {
    for a_serves in [true, false] {
        let (mut pair, before, next) = rekeying(a_serves);
        let own = mi(&pair.a, &pair);
        lose(&mut pair.a, pair.now, before);
        assert_eq!(pair.a.state(), PortState::Pending);
        assert!(!removes(&pair.a, before), "the other sends with it still");
        pair.run(MILLIS);
        assert_eq!((pair.a.state(), pair.b.state()), (PortState::Secured, PortState::Secured));
        assert_eq!((sak(&pair.a, &pair), sak(&pair.b, &pair)), (next, next));
        assert_eq!((mi(&pair.a, &pair), installs(&pair.a)), (own, 0));
    }
}

#[test]
fn an_old_sak_that_is_lost_while_the_latest_transmits_is_removed_and_nothing_else() {
    for a_serves in [true, false] {
        let (mut pair, before, next) = rekeying(a_serves);
        pair.run(MILLIS);
        let own = mi(&pair.a, &pair);
        lose(&mut pair.a, pair.now, before);
        assert!(removes(&pair.a, before));
        assert_eq!(pair.a.commands.len(), 1);
        assert_eq!((pair.a.state(), sak(&pair.a, &pair)), (PortState::Secured, next));
        assert_eq!(mi(&pair.a, &pair), own);
        pair.run(10 * SECOND);
        assert_eq!(sak(&pair.a, &pair), next);
    }
}

/// The device is gone with all that it had, in whichever order that is told. The other end may have
/// gone on to the next SAK, and lets what is on its way with the one before arrive.
#[test]
fn the_loss_of_all_saks_during_a_rekey_is_made_good_within_a_quarter_second() {
    for a_serves in [true, false] {
        for in_turn in [true, false] {
            let (mut pair, before, next) = rekeying(a_serves);
            let order = if in_turn { [before, next] } else { [next, before] };
            for ki in order {
                pair.a.handle(pair.now, Input::SakLost(ki));
            }
            pair.run(250 * MILLIS);
            assert_eq!((pair.a.state(), pair.b.state()), (PortState::Secured, PortState::Secured));
            assert!(![before, next].contains(&sak(&pair.a, &pair)));
            assert_eq!(sak(&pair.a, &pair), sak(&pair.b, &pair));
        }
    }
}

/// A data plane that loses each SAK as soon as it sends with it.
#[test]
fn saks_that_are_lost_one_after_the_other_are_replaced_every_two_seconds_at_most() {
    for a_serves in [true, false] {
        let mut pair = settled(a_serves);
        let (mut lost, mut talk) = (Vec::new(), pair.wire.len());
        for _ in 0..20_000 {
            if let Some(sak) = pair.a.kay.status(pair.now).sak {
                lost.push(pair.now);
                pair.a.handle(pair.now, Input::SakLost(sak.ki));
            }
            pair.run(MILLIS);
        }
        talk = pair.wire.len() - talk;
        let first = lost[1].since(lost[0]);
        assert!(
            first <= 2 * MILLIS,
            "the first loss is made good at once, and not {first:?} later"
        );
        assert!(lost[1..].windows(2).all(|two| two[1].since(two[0]) >= 2 * SECOND - 2 * MILLIS));
        assert!((10..=12).contains(&lost.len()), "{} SAKs in 20 s", lost.len());
        assert!(talk <= 200, "{talk} MKPDUs in 20 s");
        pair.run(3 * SECOND);
        assert_eq!((pair.a.state(), pair.b.state()), (PortState::Secured, PortState::Secured));
    }
}

#[test]
fn an_sak_that_is_lost_while_the_carrier_is_away_is_replaced_when_it_is_back() {
    for a_serves in [true, false] {
        let mut pair = settled(a_serves);
        let lost = sak(&pair.a, &pair);
        pair.a.handle(pair.now, Input::Carrier(false));
        pair.cut = true;
        pair.run(SECOND);
        lose(&mut pair.a, pair.now, lost);
        assert_eq!(pair.a.state(), PortState::Down);
        assert!(pair.a.sent.is_empty());
        pair.run(SECOND);
        pair.cut = false;
        pair.a.handle(pair.now, Input::Carrier(true));
        assert_ne!(pair.a.state(), PortState::Secured);
        pair.run(MILLIS);
        assert_eq!((pair.a.state(), pair.b.state()), (PortState::Secured, PortState::Secured));
        assert_ne!(sak(&pair.a, &pair), lost);
    }
}

/// The keys are taken away, and with them whatever an own new MI was waiting for.
#[test]
fn a_port_whose_key_is_withdrawn_waits_for_nobody() {
    let mut pair = settled(false);
    let lost = sak(&pair.a, &pair);
    lose(&mut pair.a, pair.now, lost);
    assert!(!closes(&pair.a));
    pair.a.kay.set_keys(pair.now, &ring(&[(2, 9)])).unwrap();
    pair.a.handle(pair.now, Input::Timeout);
    assert!(removes(&pair.a, lost) && closes(&pair.a));
}

/// The answer to `EnableTx` is on its way when the loss is told: the one before is superseded.
#[test]
fn an_sak_that_is_lost_as_it_takes_over_leaves_the_port_mute_and_says_so() {
    let mut pair = settled(true);
    let before = sak(&pair.a, &pair);
    let next = KeyId { number: KeyNumber(before.number.0 + 1), ..before };
    pair.a.kay.rekey(pair.now).unwrap();
    pair.a.handle(pair.now, Input::Timeout);
    for frame in std::mem::take(&mut pair.a.sent) {
        pair.b.handle(pair.now, Input::Frame(&frame));
    }
    let frame = pair.b.sent.pop().expect("it receives with the next");
    pair.a.kay.handle(pair.now, Input::Frame(&frame));
    let enabling =
        std::iter::from_fn(|| pair.a.kay.poll_output()).find_map(|output| match output {
            Output::Secy { id, command: SecyCommand::EnableTx(ki) } => Some((id, ki)),
            Output::Secy { .. } | Output::Transmit(_) | Output::Remember(_) => None,
        });
    let (id, ki) = enabling.expect("an order to transmit");
    assert_eq!(ki, next);
    pair.a.handle(pair.now, Input::SakLost(next));
    assert_eq!(pair.a.state(), PortState::Secured);
    pair.a.handle(pair.now, Input::Secy { id, result: Ok(()) });
    assert_ne!(pair.a.state(), PortState::Secured);
    assert_eq!(pair.a.kay.status(pair.now).evidence.sak_lost, Some((next, pair.now)));
    pair.run(MILLIS);
    assert_eq!((pair.a.state(), pair.b.state()), (PortState::Secured, PortState::Secured));
}

/// Routes over it are to go elsewhere.
#[test]
fn a_port_that_cannot_send_for_a_life_time_is_closed_until_it_can() {
    let mut pair = settled(true);
    let lost = sak(&pair.a, &pair);
    pair.b.refuse = true;
    lose(&mut pair.a, pair.now, lost);
    pair.run(6 * SECOND - MILLIS);
    assert!(!closes(&pair.a));
    pair.run(MILLIS);
    assert!(closes(&pair.a));
    assert_eq!(pair.a.kay.status(pair.now).evidence.sak_lost.map(|(ki, _)| ki), Some(lost));
    pair.b.refuse = false;
    pair.run(3 * SECOND);
    assert_eq!((pair.a.state(), pair.b.state()), (PortState::Secured, PortState::Secured));
    assert!(matches!(
        pair.a.commands.iter().rev().find(|of| matches!(of, SecyCommand::SetControlledPort(_))),
        Some(SecyCommand::SetControlledPort(true))
    ));
}

/// Nothing was lost here: a server gives the association that is in use to an SAK, and then neither
/// receives nor sends with that.
#[test]
fn a_port_whose_key_has_made_room_for_one_that_nobody_uses_is_closed_until_it_can_send() {
    let mut pair = settled(false);
    pair.tamper = Some(|mkpdu| {
        if let Some(DistributedSak::Key { an, .. }) = &mut mkpdu.distributed_sak {
            *an = AssociationNumber::from_low_bits(0);
        }
        if let Some(SakUseSet::Keys(keys)) = &mut mkpdu.sak_use {
            keys.latest = None;
        }
    });
    pair.a.commands.clear();
    pair.b.kay.rekey(pair.now).unwrap();
    pair.b.handle(pair.now, Input::Timeout);
    pair.run(6 * SECOND - MILLIS);
    assert!(pair.a.state() != PortState::Secured && !closes(&pair.a));
    pair.run(MILLIS);
    assert!(closes(&pair.a));

    pair.tamper = None;
    pair.run(2 * SECOND);
    assert_eq!((pair.a.state(), pair.b.state()), (PortState::Secured, PortState::Secured));
}

/// What its data plane refused before is no reason to leave a server that has lost its SAK and may
/// not yet make the next.
#[test]
fn a_member_whose_server_loses_the_sak_waits_for_the_next_and_stays_who_it_is() {
    let mut pair = Pair::new(policy(1, 200), policy(2, 16));
    pair.a.refuse = true;
    pair.start(MILLIS);
    let own = mi(&pair.a, &pair);
    pair.a.refuse = false;
    // The server's own loss, too, brings the member an SAK that it can take.
    let refused = KeyId { server: mi(&pair.b, &pair), number: KeyNumber(1) };
    lose(&mut pair.b, pair.now, refused);
    pair.run(2 * SECOND - MILLIS / 2);
    assert_eq!((pair.a.state(), pair.b.state()), (PortState::Secured, PortState::Secured));

    let lost = sak(&pair.b, &pair);
    lose(&mut pair.b, pair.now, lost);
    assert_eq!(installs(&pair.b), 0, "it is too soon after the one before");
    pair.run(MILLIS);
    assert_eq!((pair.a.state(), pair.b.state()), (PortState::Secured, PortState::Secured));
    assert_ne!(sak(&pair.a, &pair), lost);
    assert_eq!(mi(&pair.a, &pair), own);
}

/// Its server speaks of the SAK that was refused until it has made another.
#[test]
fn a_member_that_refused_an_sak_takes_one_new_mi_and_not_two() {
    let mut pair = Pair::new(policy(1, 200), policy(2, 16));
    pair.a.refuse = true;
    pair.start(3 * SECOND);
    let said = pair.wire.iter().map(|frame| read(frame).basic);
    let own = said.filter(|basic| basic.sci == policy(1, 200).sci).map(|basic| basic.mi);
    assert_eq!(own.collect::<std::collections::BTreeSet<_>>().len(), 2);
}

/// Some servers drop a rekey that falls into the spacing of SAKs, and never make it.
#[test]
fn a_server_that_owes_the_next_sak_and_forgets_it_is_reminded() {
    let mut pair = settled(false);
    let lost = sak(&pair.a, &pair);
    pair.tamper = Some(|mkpdu| {
        mkpdu.distributed_sak = None;
        mkpdu.sak_use = None;
    });
    lose(&mut pair.a, pair.now, lost);
    let own = mi(&pair.a, &pair);
    pair.run(7 * SECOND);
    assert_eq!(mi(&pair.a, &pair), own, "it is given the time that it may take");
    pair.run(2 * SECOND);
    assert_ne!(mi(&pair.a, &pair), own);
    pair.tamper = None;
    pair.run(9 * SECOND);
    assert_eq!((pair.a.state(), pair.b.state()), (PortState::Secured, PortState::Secured));
}

#[test]
fn without_randomness_another_sak_is_asked_for_when_there_is_some() {
    for a_serves in [true, false] {
        let mut pair = settled(a_serves);
        let lost = sak(&pair.a, &pair);
        pair.a.dry.store(true, std::sync::atomic::Ordering::Relaxed);
        lose(&mut pair.a, pair.now, lost);
        pair.run(5 * SECOND);
        assert_ne!(pair.a.state(), PortState::Secured);
        assert!(pair.a.kay.status(pair.now).evidence.no_entropy.is_some());
        pair.a.dry.store(false, std::sync::atomic::Ordering::Relaxed);
        pair.run(2 * SECOND);
        assert_eq!((pair.a.state(), pair.b.state()), (PortState::Secured, PortState::Secured));
    }
}

/// Whoever joins meanwhile is reason enough for the one SAK that is made then.
#[test]
fn a_server_that_lost_two_saks_makes_one_for_all_and_not_two() {
    let mut group = Group::started(&[16, 200], 5 * SECOND);
    for span in [SECOND, Duration::ZERO] {
        let lost = group.stations[0].kay.status(group.now).sak.expect("an SAK").ki;
        lose(&mut group.stations[0], group.now, lost);
        group.run(span);
    }
    let mut joining = Station::new(policy(3, 200), &ring(&[(1, 7)]));
    joining.handle(group.now, Input::Carrier(true));
    group.stations[0].commands.clear();
    group.stations.push(joining);
    group.run(5 * SECOND);
    assert!(group.stations.iter().all(|station| station.state() == PortState::Secured));
    assert_eq!(installs(&group.stations[0]), 1);
}

/// The server goes on with an SAK that we had of it, and we have gone on to one of another CA.
#[test]
fn an_sak_of_the_server_that_we_have_left_for_another_is_asked_for_anew_wherever_that_came_from() {
    for other in [0, 0xff] {
        let mut pair = settled(false);
        let server = MemberId::from_octets([other; 12]);
        let ki = KeyId { server, number: KeyNumber(7) };
        let own = mi(&pair.a, &pair);
        assert!(!pair.a.kay.replace_lost_sak(pair.now), "it is the newest that we have");
        let an = AssociationNumber::from_low_bits(1);
        pair.a.kay.cp.new_sak(super::cp::Slot { ki, an });
        assert!(pair.a.kay.replace_lost_sak(pair.now));
        assert_ne!(mi(&pair.a, &pair), own);
    }
}

/// All that the server has to offer is refused, and to be somebody else would bring nothing better.
#[test]
fn a_server_whose_decision_we_refuse_is_not_reminded() {
    let mut pair = Pair::new(policy(1, 200), policy(2, 16));
    pair.tamper = Some(in_clear);
    pair.start(MILLIS);
    let own = mi(&pair.a, &pair);
    pair.run(20 * SECOND);
    assert!(pair.a.kay.status(pair.now).evidence.plain_text_refused.is_some());
    assert_eq!(mi(&pair.a, &pair), own);
}

/// There is no SAK, and none is owed.
#[test]
fn a_server_that_decided_on_frames_in_clear_is_not_reminded() {
    let lenient = Policy { access: Access::ShouldSecure, ..policy(1, 200) };
    let mut pair = Pair::new(lenient, policy(2, 16));
    pair.tamper = Some(in_clear);
    pair.start(MILLIS);
    let own = mi(&pair.a, &pair);
    pair.run(20 * SECOND);
    assert_eq!((pair.a.state(), mi(&pair.a, &pair)), (PortState::Authenticated, own));
}

fn in_clear(mkpdu: &mut crate::wire::Mkpdu) {
    (mkpdu.distributed_sak, mkpdu.sak_use) = (Some(DistributedSak::PlainText), None);
}
