//! What the data plane refused is asked of it again, after a while and for as long as it takes.

use std::time::Duration;

use super::testing::{Group, Pair, Station, policy};
use super::{Input, PortState};
use crate::secy::SecyCommand;

const MILLIS: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);

fn count(station: &Station, of: fn(&SecyCommand) -> bool) -> usize {
    station.commands.iter().filter(|command| of(command)).count()
}

/// Has `a` refuse these, lets `happens` happen, and sees that they are asked for once, again after
/// 2 s and after 2 s more, and then, when they are done, no more.
fn asks_again(mut pair: Pair, denies: fn(&SecyCommand) -> bool, happens: fn(&mut Pair)) {
    pair.a.denies = denies;
    pair.a.commands.clear();
    happens(&mut pair);
    for asked in 1..=2 {
        assert_eq!(count(&pair.a, denies), asked);
        pair.run(2 * SECOND - MILLIS);
        assert_eq!(count(&pair.a, denies), asked);
        pair.run(MILLIS);
    }
    pair.a.denies = |_| false;
    pair.run(2 * SECOND);
    assert_eq!(count(&pair.a, denies), 4);
    pair.run(10 * SECOND);
    assert_eq!(count(&pair.a, denies), 4);
    assert_eq!((pair.a.state(), pair.b.state()), (PortState::Secured, PortState::Secured));
}

fn pair() -> Pair {
    Pair::new(policy(1, 16), policy(2, 200))
}

#[test]
fn settings_that_were_refused_are_given_again_and_the_port_waits_for_them() {
    let denies: fn(&SecyCommand) -> bool = |of| matches!(of, SecyCommand::Configure(_));
    asks_again(pair(), denies, |pair| {
        pair.start(Duration::ZERO);
        assert_eq!(count(&pair.a, |of| matches!(of, SecyCommand::SetControlledPort(true))), 0);
    });
}

#[test]
fn a_port_that_did_not_open_is_opened_again() {
    asks_again(
        pair(),
        |of| matches!(of, SecyCommand::SetControlledPort(_)),
        |pair| {
            pair.start(Duration::ZERO);
        },
    );
}

/// Three members; the data plane of the first refuses what it is told of the third.
fn group(denies: fn(&SecyCommand) -> bool) -> Group {
    let mut group = Group::started(&[16, 200, 200], 5 * SECOND);
    group.stations[0].denies = denies;
    group.stations[0].commands.clear();
    group
}

#[test]
fn a_member_that_left_and_was_not_removed_is_removed_again() {
    let denies: fn(&SecyCommand) -> bool = |of| matches!(of, SecyCommand::RemoveReceiver(_));
    let mut group = group(denies);
    group.stations.pop();
    for _ in 0..10_000 {
        if count(&group.stations[0], denies) > 0 {
            break;
        }
        group.run(MILLIS);
    }
    group.run(2 * SECOND - MILLIS);
    assert_eq!(count(&group.stations[0], denies), 1);
    group.stations[0].denies = |_| false;
    group.run(MILLIS);
    assert_eq!(count(&group.stations[0], denies), 2);
    group.run(10 * SECOND);
    assert_eq!(count(&group.stations[0], denies), 2);
}

#[test]
fn an_old_sak_that_was_not_removed_is_removed_again() {
    let denies: fn(&SecyCommand) -> bool = |of| matches!(of, SecyCommand::RemoveSak(_));
    let mut pair = pair();
    pair.start(4 * SECOND);
    asks_again(pair, denies, |pair| {
        pair.a.kay.rekey(pair.now).unwrap();
        pair.a.handle(pair.now, Input::Timeout);
        for _ in 0..10_000 {
            if count(&pair.a, |of| matches!(of, SecyCommand::RemoveSak(_))) > 0 {
                break;
            }
            pair.run(MILLIS);
        }
    });
}

/// Nothing is asked for again that is gone, and a refusal is told.
#[test]
fn a_key_that_is_gone_is_removed_already() {
    use crate::secy::{CommandId, SecyError};
    let mut pair = pair();
    pair.start(4 * SECOND);
    let ki = pair.a.kay.status(pair.now).sak.unwrap().ki;
    assert_eq!(pair.a.kay.status(pair.now).evidence.refused_by_secy, None);
    pair.a.kay.rekey(pair.now).unwrap();
    pair.a.handle(pair.now, Input::Timeout);
    let removes = |of: &SecyCommand| matches!(of, SecyCommand::RemoveSak(_));
    pair.a.gone = true;
    pair.run(10 * SECOND);
    assert_eq!(count(&pair.a, removes), 1);
    assert_eq!(pair.a.kay.status(pair.now).evidence.refused_by_secy, None);

    // An answer to what nobody asked is nothing.
    let before = format!("{:?}", pair.a.kay.status(pair.now));
    let result = Err(SecyError::NoSuchKey(ki));
    pair.a.kay.handle(pair.now, Input::Secy { id: CommandId(u64::MAX), result });
    assert_eq!(format!("{:?}", pair.a.kay.status(pair.now)), before);
}
