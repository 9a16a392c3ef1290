//! Several keys: which of them leads, what a change costs, and what is left of the old one.

use std::sync::{Arc, Weak};
use std::time::Duration;

use super::testing::{Pair, Seeded, Station, policy, read, ring};
use super::{Input, Kay, PortState};
use crate::ident::{Ckn, KeyId, KeyNumber, MemberId};
use crate::keyring::{Key, KeyRing, Preference};
use crate::secy::{SecyCommand, SecyKey};
use crate::time::Time;

const SECOND: Duration = Duration::from_secs(1);
const MILLIS: Duration = Duration::from_millis(1);

const OLD: (u8, u8) = (1, 7);
const NEW: (u8, u8) = (2, 9);

fn following(keys: &[(u8, u8)]) -> KeyRing {
    ring(keys).preferring(Preference::LastSpoken)
}

/// The name of the key that leads.
fn principal(station: &Station, now: Time) -> Option<u8> {
    let status = station.kay.status(now);
    status.participants.iter().find(|of| of.principal).map(|of| of.ckn.octets()[0])
}

/// The name of the key in whose CA the SAK is that frames are sent with.
fn in_use(station: &Station, now: Time) -> Option<u8> {
    let status = station.kay.status(now);
    status.participants.iter().find(|of| of.in_use).map(|of| of.ckn.octets()[0])
}

fn closed(station: &Station) -> bool {
    let closes = |command: &SecyCommand| matches!(command, SecyCommand::SetControlledPort(false));
    station.commands.iter().any(closes)
}

/// Gives a station other keys.
fn give(station: &mut Station, now: Time, keys: &KeyRing) {
    station.kay.set_keys(now, keys).unwrap();
    station.handle(now, Input::Timeout);
}

/// The far end holds one key and swaps it, as a provider without a key chain does; so its KaY begins
/// anew. The old key's record of it lives for six more seconds, and must not be waited for.
fn swap(pair: &mut Pair, priority: u8, to: (u8, u8)) {
    let (keys, entropy) = (ring(&[to]), Box::new(Seeded::new(99)));
    pair.b.kay = Kay::new(pair.now, policy(2, priority), &keys, entropy).unwrap();
    pair.b.handle(pair.now, Input::Carrier(true));
}

#[test]
fn a_key_that_the_peer_begins_to_speak_leads_at_once_wherever_it_stands() {
    for priority in [0, 200] {
        for keys in [[OLD, NEW], [NEW, OLD]] {
            let (a, b) = (policy(1, 16), policy(2, priority));
            let mut pair = Pair::with_keys(a, &following(&keys), b, &ring(&[OLD]));
            pair.start(3 * SECOND);
            assert_eq!(
                (principal(&pair.a, pair.now), in_use(&pair.a, pair.now)),
                (Some(1), Some(1))
            );
            assert_eq!(pair.a.kay.status(pair.now).last_switch, None);

            swap(&mut pair, priority, NEW);
            pair.run(10 * MILLIS);
            assert_eq!(
                (principal(&pair.a, pair.now), in_use(&pair.a, pair.now)),
                (Some(2), Some(2))
            );
            assert_eq!(pair.b.state(), PortState::Secured);
            let took = pair.a.kay.status(pair.now).last_switch.unwrap();
            assert!(took < 10 * MILLIS, "{took:?}");
            assert!(!closed(&pair.a), "{priority}: the port that stayed never closes");
        }
    }
}

#[test]
fn in_order_a_later_key_leads_only_when_the_first_one_is_gone() {
    let a = policy(1, 16);
    let mut pair = Pair::with_keys(a, &ring(&[OLD, NEW]), policy(2, 200), &ring(&[OLD]));
    pair.start(3 * SECOND);
    swap(&mut pair, 200, NEW);
    pair.run(SECOND);
    assert_eq!(principal(&pair.a, pair.now), Some(1));
    pair.run(6 * SECOND);
    assert_eq!(principal(&pair.a, pair.now), Some(2));
    assert!(!closed(&pair.a));
}

/// Both ends hold both keys. Which of them the peer began to speak last does not change with an MI.
#[test]
fn a_peer_with_a_new_mi_does_not_bring_an_old_key_back() {
    let both = following(&[OLD, NEW]);
    let mut pair = Pair::with_keys(policy(1, 16), &both, policy(2, 200), &ring(&[OLD]));
    pair.start(3 * SECOND);
    give(&mut pair.b, pair.now, &ring(&[OLD, NEW]));
    pair.run(SECOND);
    assert_eq!((in_use(&pair.a, pair.now), in_use(&pair.b, pair.now)), (Some(2), Some(2)));

    // The old key's participant at the far end begins anew, and the new key's stays.
    give(&mut pair.b, pair.now, &ring(&[NEW]));
    give(&mut pair.b, pair.now, &ring(&[OLD, NEW]));
    pair.run(4 * SECOND);
    assert_eq!((principal(&pair.a, pair.now), in_use(&pair.a, pair.now)), (Some(2), Some(2)));
}

/// Two ends come to the first key of the ring again as soon as the far end has it, also when they
/// have been on another: `primary-fallback`.
#[test]
fn in_order_the_first_key_is_taken_up_again_when_the_peer_has_it_again() {
    let both = ring(&[OLD, NEW]);
    let mut pair = Pair::with_keys(policy(1, 16), &both, policy(2, 200), &ring(&[NEW]));
    pair.start(3 * SECOND);
    assert_eq!(in_use(&pair.a, pair.now), Some(2));
    give(&mut pair.b, pair.now, &both);
    pair.run(SECOND);
    assert_eq!((in_use(&pair.a, pair.now), in_use(&pair.b, pair.now)), (Some(1), Some(1)));
    assert!(!closed(&pair.a) && !closed(&pair.b));
}

#[test]
fn a_change_is_counted_from_the_ring_where_the_peer_spoke_the_key_before() {
    let mut pair =
        Pair::with_keys(policy(1, 16), &ring(&[OLD]), policy(2, 200), &ring(&[OLD, NEW]));
    pair.start(10 * SECOND);
    assert!(pair.a.kay.status(pair.now).evidence.unknown_ckn.is_some());
    give(&mut pair.a, pair.now, &following(&[OLD, NEW]));
    pair.run(10 * SECOND);
    assert_eq!(in_use(&pair.a, pair.now), Some(2));
    // It was spoken for ten seconds before; the far end answers our first hello at once.
    let took = pair.a.kay.status(pair.now).last_switch.unwrap();
    assert!(took < 10 * MILLIS, "{took:?}");
}

#[test]
fn a_key_that_stood_by_for_long_counts_from_when_it_is_made_to_lead() {
    let both = ring(&[OLD, NEW]);
    let mut pair = Pair::with_keys(policy(1, 16), &both, policy(2, 200), &both);
    pair.start(60 * SECOND);
    assert_eq!(in_use(&pair.a, pair.now), Some(1));
    give(&mut pair.a, pair.now, &ring(&[NEW, OLD]));
    pair.run(SECOND);
    for station in [&pair.a, &pair.b] {
        assert_eq!(in_use(station, pair.now), Some(2));
        let took = station.kay.status(pair.now).last_switch.unwrap();
        assert!(took < 10 * MILLIS, "{took:?}");
    }
}

/// Who holds a key weakly knows when it is wiped: the types wipe themselves when they are dropped.
#[test]
fn a_key_out_of_the_ring_is_wiped_at_once_and_its_last_sak_when_that_retires() {
    let keys = following(&[NEW, OLD]);
    let cak: Weak<Key> = Arc::downgrade(keys.iter().nth(1).unwrap());
    let mut pair = Pair::with_keys(policy(1, 16), &keys, policy(2, 200), &ring(&[OLD]));
    drop(keys);
    pair.start(3 * SECOND);
    let installed = |commands: &mut Vec<SecyCommand>| {
        let mut installs = commands.drain(..).filter_map(|command| {
            let SecyCommand::InstallSak(install) = command else { return None };
            Some(Arc::downgrade(&install.key))
        });
        installs.next()
    };
    let sak: Weak<SecyKey> = installed(&mut pair.a.commands).unwrap();
    let ki: KeyId = sak.upgrade().unwrap().ki;

    give(&mut pair.b, pair.now, &ring(&[NEW, OLD]));
    pair.run(SECOND);
    assert_eq!((in_use(&pair.a, pair.now), in_use(&pair.b, pair.now)), (Some(2), Some(2)));
    assert!(cak.upgrade().is_some(), "it is still in the ring");

    give(&mut pair.a, pair.now, &following(&[NEW]));
    assert!(cak.upgrade().is_none(), "the participant that went held it last");
    give(&mut pair.b, pair.now, &ring(&[NEW]));
    pair.run(10 * SECOND);
    let removed =
        |command: &SecyCommand| matches!(command, SecyCommand::RemoveSak(of) if *of == ki);
    assert!(pair.a.commands.iter().any(removed));
    pair.a.commands.clear();
    assert!(sak.upgrade().is_none(), "nothing holds an SAK that is out of use");
    assert_eq!((pair.a.state(), pair.b.state()), (PortState::Secured, PortState::Secured));
}

/// Until its answers arrive: the change is not over when the key leads.
#[test]
fn a_change_lasts_until_frames_are_sent_with_the_new_key() {
    let both = ring(&[OLD, NEW]);
    let mut pair = Pair::with_keys(policy(1, 200), &both, policy(2, 16), &both);
    pair.start(60 * SECOND);
    pair.passes = |frame| read(frame).basic.sci == policy(2, 16).sci;
    give(&mut pair.b, pair.now, &ring(&[NEW, OLD]));
    pair.run(SECOND);
    assert_eq!((principal(&pair.a, pair.now), in_use(&pair.a, pair.now)), (Some(2), Some(1)));
    pair.passes = |_| true;
    pair.run(3 * SECOND);
    assert_eq!(in_use(&pair.a, pair.now), Some(2));
    let took = pair.a.kay.status(pair.now).last_switch.unwrap();
    assert!((SECOND..=4 * SECOND).contains(&took), "{took:?}");
}

#[test]
fn a_key_that_the_peer_has_spoken_for_a_moment_counts_from_when_the_ring_changed() {
    let both = ring(&[OLD, NEW]);
    let mut pair = Pair::with_keys(policy(1, 16), &both, policy(2, 200), &both);
    pair.start(3 * SECOND);
    give(&mut pair.a, pair.now, &ring(&[NEW, OLD]));
    pair.run(SECOND);
    assert_eq!(in_use(&pair.a, pair.now), Some(2));
    let took = pair.a.kay.status(pair.now).last_switch.unwrap();
    assert!(took < 10 * MILLIS, "{took:?}");
}

/// Neither end has met the other under the new key when the old one goes.
#[test]
fn what_holds_stands_between_two_rings_for_a_life_time_and_no_longer() {
    let mut pair = Pair::with_keys(policy(1, 16), &ring(&[OLD]), policy(2, 200), &ring(&[OLD]));
    pair.start(3 * SECOND);
    give(&mut pair.a, pair.now, &ring(&[NEW]));
    pair.run(5 * SECOND);
    assert!(!closed(&pair.a));
    assert_eq!(pair.a.kay.cp.transmits_with().map(|slot| slot.ki.number), Some(KeyNumber(1)));
    pair.run(2 * SECOND);
    assert!(closed(&pair.a));
}

#[test]
fn an_sak_is_of_the_key_under_which_its_server_was_met() {
    let (ours, theirs) = (ring(&[OLD, NEW]), ring(&[NEW]));
    let mut pair = Pair::with_keys(policy(1, 16), &ours, policy(2, 200), &theirs);
    pair.start(3 * SECOND);
    let name = |mi| {
        let ckn = pair.a.kay.ckn_of(KeyId { server: mi, number: KeyNumber(99) });
        ckn.map(|ckn: Ckn| ckn.octets()[0])
    };
    let own = pair.a.kay.status(pair.now).participants;
    let peer = pair.b.kay.status(pair.now).participants[0].mi;
    assert_eq!([own[0].mi, own[1].mi, peer].map(name), [Some(1), Some(2), Some(2)]);
    assert_eq!(name(MemberId::from_octets([9; 12])), None);
}

/// It came back into the ring; those who are silent under it have their time all the same.
#[test]
fn a_new_mi_is_waited_for_as_long_as_its_key_stays() {
    let mut pair = Pair::with_keys(policy(1, 16), &ring(&[OLD]), policy(2, 200), &ring(&[OLD]));
    pair.start(3 * SECOND);
    assert!(pair.a.kay.renew_principal(pair.now) && pair.a.kay.held.is_some());
    pair.a.kay.set_keys(pair.now, &ring(&[OLD, NEW])).unwrap();
    assert!(pair.a.kay.held.is_some());
    pair.a.kay.set_keys(pair.now, &ring(&[NEW])).unwrap();
    assert!(pair.a.kay.held.is_none());
}
