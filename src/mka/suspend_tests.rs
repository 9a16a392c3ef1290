//! Who may be away for a while, and who not.

use std::time::Duration;

use super::testing::{Group, Pair, Station, policy, read, ring};
use super::{Input, Policy, PortState};
use crate::ident::CipherSuite;

const SECOND: Duration = Duration::from_secs(1);

/// Whoever joins does not know what a suspension is before it has an SAK, and is not to wait for one
/// until the other comes back.
#[test]
fn a_member_that_joins_during_a_suspension_ends_it_and_is_given_an_sak() {
    let mut group = Group::started(&[16, 200], 5 * SECOND);
    group.stations[1].kay.ask_suspension(group.now, 100 * SECOND).unwrap();
    group.stations[1].handle(group.now, Input::Timeout);
    group.run(SECOND);
    assert!(group.stations[0].kay.is_suspended(group.now));

    let mut joining = Station::new(policy(3, 200), &ring(&[(1, 7)]));
    joining.handle(group.now, Input::Carrier(true));
    group.stations.push(joining);
    group.run(5 * SECOND);
    assert_eq!(group.stations[2].state(), PortState::Secured);
}

/// It has the SAK in use, and yet would lose us when we are silent.
#[test]
fn a_member_that_no_longer_knows_a_suspension_ends_ours() {
    let plain = |station, priority| Policy {
        cipher_suites: vec![CipherSuite::GcmAes128],
        ..policy(station, priority)
    };
    let mut pair = Pair::new(plain(1, 16), plain(2, 200));
    pair.tamper = Some(|mkpdu| mkpdu.xpn = Some(mkpdu.xpn.unwrap_or_default()));
    pair.start(5 * SECOND);
    pair.a.kay.ask_suspension(pair.now, 100 * SECOND).unwrap();
    pair.a.handle(pair.now, Input::Timeout);
    pair.run(SECOND);
    assert!(pair.a.kay.is_suspended(pair.now));

    pair.tamper = None;
    pair.run(4 * SECOND);
    assert!(!pair.a.kay.is_suspended(pair.now));
    assert_eq!((pair.a.state(), pair.b.state()), (PortState::Secured, PortState::Secured));
}

/// The MKPDU before it, which the member has heard, did not ask yet.
#[test]
fn a_suspension_is_agreed_on_once_the_request_itself_was_heard() {
    let mut pair = Pair::new(policy(1, 16), policy(2, 200));
    pair.start(5 * SECOND);
    for sak in pair.a.kay.saks.iter_mut() {
        // As if it had joined just now, and were to be received from here on.
        sak.receivers.as_mut().unwrap().clear();
    }
    pair.a.kay.ask_suspension(pair.now, 100 * SECOND).unwrap();
    pair.a.handle(pair.now, Input::Timeout);
    let sent = std::mem::take(&mut pair.a.sent);
    let asks: Vec<_> =
        sent.iter().map(|frame| read(frame).xpn.unwrap().suspension_time > 0).collect();
    assert_eq!(asks, [false, true]);
    for (frame, agreed) in sent.iter().zip([false, true]) {
        pair.b.handle(pair.now, Input::Frame(frame));
        pair.b.kay.participants[0].pace.news();
        pair.b.handle(pair.now, Input::Timeout);
        for frame in std::mem::take(&mut pair.b.sent) {
            pair.a.handle(pair.now, Input::Frame(&frame));
        }
        assert_eq!(pair.a.kay.suspension_is_agreed(pair.now), agreed);
    }
}
