//! Rows 7 to 9 and 20 to 25: who is there, who restarted, who serves, and when.

use std::time::Duration;

use super::{
    MILLIS, Pair, SECOND, closes, following, installs, is_secured, led, mannered, number, said,
    started,
};
use crate::ident::{KeyId, KeyNumber, MemberId, MessageNumber, Sci};
use crate::mka::testing::{Seeded, Station, address, policy, read, ring};
use crate::mka::{Discard, Input, Kay, KeyServer, Manners, ParticipantStatus, PortState};
use crate::secy::SecyCommand;
use crate::wire::{Mkpdu, PeerEntry, SakUse, SakUseKey, SakUseSet};

/// How `a` stands in its only CA.
fn participant(pair: &Pair) -> ParticipantStatus {
    pair.a.kay.status(pair.now).participants[0].clone()
}

/// Turns what `b` says into what a stranger says that lists only `listed`, as potential.
fn stranger(mkpdu: &mut Mkpdu, octet: u8, listed: Option<PeerEntry>) {
    mkpdu.basic.mi = MemberId::from_octets([octet; 12]);
    mkpdu.basic.sci = Sci::new(address(octet), 1);
    (mkpdu.basic.key_server, mkpdu.basic.mn) = (false, MessageNumber(1));
    (mkpdu.live_peers, mkpdu.sak_use, mkpdu.xpn) = (None, None, None);
    mkpdu.potential_peers = listed.map(|entry| vec![entry]);
}

fn is_live(pair: &Pair, octet: u8) -> bool {
    let mi = MemberId::from_octets([octet; 12]);
    participant(pair).peers.iter().any(|peer| peer.mi == mi && peer.live)
}

#[test]
fn row_07_a_peer_is_live_by_our_recent_mn_in_either_list() {
    let mut pair = started(led());
    pair.run(Duration::from_secs(20));
    let ParticipantStatus { mi, mn, .. } = participant(&pair);
    let said = |behind| Some(PeerEntry { mi, mn: MessageNumber(mn.0 - behind) });
    for (octet, behind, live) in
        [(0x30, 0, true), (0x31, 1, true), (0x32, 2, true), (0x33, 4, false)]
    {
        let frame = pair.forged(|mkpdu| stranger(mkpdu, octet, said(behind)));
        assert_eq!(pair.refusals(&frame), [""; 0]);
        assert_eq!(is_live(&pair, octet), live, "{behind} behind");
    }
}

/// The first MKPDU in which the server lists us can bring the SAK as well.
#[test]
fn row_07_what_proves_a_peer_live_can_bring_its_sak() {
    let mut pair = following();
    pair.b.handle(pair.now, Input::Carrier(true));
    pair.a.handle(pair.now, Input::Carrier(true));
    for frame in pair.b.sent.drain(..) {
        pair.a.handle(pair.now, Input::Frame(&frame));
    }
    for frame in pair.a.sent.drain(..) {
        pair.b.handle(pair.now, Input::Frame(&frame));
    }
    let with_sak = pair.b.sent.iter().find(|frame| read(frame).distributed_sak.is_some());
    pair.a.handle(pair.now, Input::Frame(with_sak.expect("at once")));
    assert_eq!(installs(&pair).len(), 1);
}

#[test]
fn row_08_sak_use_before_liveness_or_of_an_unknown_key_costs_nothing() {
    let mut pair = started(led());
    let before = participant(&pair).mi;
    let ki = KeyId { server: MemberId::from_octets([0x77; 12]), number: KeyNumber(5) };
    let an = crate::ident::AssociationNumber::from_low_bits(3);
    let key = SakUseKey { ki, an, tx: true, rx: true, llpn: 0 };
    let unknown = SakUseSet::Keys(SakUse {
        latest: Some(key),
        old: Some(key),
        delay_protect: true,
        ..SakUse::default()
    });
    let early = pair.forged(|mkpdu| {
        stranger(mkpdu, 0x30, None);
        mkpdu.sak_use = Some(unknown);
    });
    assert_eq!(pair.refusals(&early), [""; 0]);
    pair.tamper = Some(|mkpdu| {
        if let Some(SakUseSet::Keys(sak_use)) = &mut mkpdu.sak_use {
            sak_use.latest = sak_use.old.map(|key| {
                let ki = KeyId { number: KeyNumber(99), ..key.ki };
                SakUseKey { ki, ..key }
            });
        }
    });
    pair.run(Duration::from_secs(30));
    assert!(is_secured(&pair));
    assert_eq!((participant(&pair).mi, number(&pair), closes(&pair)), (before, 1, 0));
}

#[test]
fn row_09_a_peer_that_omits_sak_use_stays_and_ours_is_never_missing() {
    for pair in [led(), following()] {
        let mut pair = started(pair);
        let before = pair.wire.len();
        pair.tamper = Some(|mkpdu| (mkpdu.sak_use, mkpdu.xpn) = (None, None));
        pair.run(Duration::from_secs(60));
        assert!(is_secured(&pair));
        assert_eq!((number(&pair), closes(&pair)), (1, 0));
        let ours = pair.wire[before..].iter().map(|frame| read(frame));
        let ours: Vec<_> = ours.filter(|mkpdu| mkpdu.basic.sci == policy(1, 0).sci).collect();
        assert!(ours.len() >= 29 && ours.iter().all(|mkpdu| mkpdu.sak_use.is_some()));
    }
}

#[test]
fn row_20_priority_255_never_serves_here_and_serves_there_if_nobody_else_does() {
    let pair = started(Pair::new(policy(1, 254), policy(2, 255)));
    assert_eq!(pair.a.kay.status(pair.now).key_server, Some(KeyServer::Own));

    // A peer that serves in spite of its 255, as some do by default.
    let mut pair = Pair::new(policy(1, 255), policy(2, 16));
    pair.tamper =
        Some(|mkpdu| mkpdu.basic.key_server_priority = crate::ident::KeyServerPriority::NEVER);
    let pair = started(pair);
    assert_eq!(pair.a.kay.status(pair.now).key_server, Some(KeyServer::Peer(policy(2, 0).sci)));
}

#[test]
fn row_20_equal_priorities_go_by_sci_and_equal_addresses_are_told() {
    let pair = started(Pair::new(policy(1, 16), policy(2, 16)));
    assert_eq!(pair.a.kay.status(pair.now).key_server, Some(KeyServer::Own));

    let mut twins = Pair::new(policy(1, 16), policy(1, 200));
    twins.start(SECOND);
    let status = twins.a.kay.status(twins.now);
    assert_eq!(status.state, PortState::Listening);
    assert!(status.evidence.own_address.is_some(), "which diagnosis names");
}

/// Two seconds after the last SAK, less than the spacing of SAKs that others keep.
#[test]
fn row_21_a_restarted_peer_gets_the_next_sak_at_once_and_is_received_with_the_old_until_then() {
    for (pair, priority) in [(led(), 200), (following(), 16)] {
        let mut pair = started(pair);
        pair.run(2 * SECOND);
        let before = pair.a.commands.len();
        pair.b = Station::new(policy(2, priority), &ring(&[(1, 7)]));
        let seed = Box::new(Seeded::new(4711));
        pair.b.kay = Kay::new(pair.now, policy(2, priority), &ring(&[(1, 7)]), seed).unwrap();
        pair.b.handle(pair.now, Input::Carrier(true));
        pair.run(10 * MILLIS);

        assert!(is_secured(&pair));
        let since = &pair.a.commands[before..];
        let at = |wanted: fn(&SecyCommand) -> bool| since.iter().position(wanted);
        let enabled = at(|command| matches!(command, SecyCommand::EnableTx(_)));
        let removed = at(|command| {
            matches!(command, SecyCommand::RemoveSak(_) | SecyCommand::RemoveReceiver(_))
        });
        assert!(enabled.is_some() && removed.is_none_or(|at| Some(at) > enabled), "{since:?}");
        assert_eq!(closes(&pair), 0);
    }
}

#[test]
fn row_22_our_mi_from_another_makes_us_change_it_and_from_our_own_address_does_not() {
    let mut pair = started(led());
    let mi = participant(&pair).mi;
    for frame in pair.wire.clone() {
        pair.a.handle(pair.now, Input::Frame(&frame));
    }
    let looped = pair.forged(|mkpdu| {
        (mkpdu.basic.mi, mkpdu.basic.sci) = (mi, policy(1, 0).sci);
        mkpdu.basic.mn = MessageNumber(1_000_000);
    });
    assert_eq!(pair.refusals(&looped), ["own_address"]);
    assert_eq!(participant(&pair).mi, mi, "a loop must not make us churn");

    let colliding = pair.forged(|mkpdu| {
        (mkpdu.basic.mi, mkpdu.basic.sci) = (mi, Sci::new(address(9), 1));
    });
    assert_eq!(pair.refusals(&colliding), ["own_member_id"]);
    assert_ne!(participant(&pair).mi, mi);
    pair.run(SECOND);
    assert!(is_secured(&pair));
}

#[test]
fn row_23_an_mn_that_does_not_grow_is_counted_and_tears_nothing_down() {
    let mut pair = started(led());
    let last = participant(&pair).peers[0].clone();
    let told = pair.a.kay.poll_timeout();
    for back in [1, 2] {
        let frame = pair.forged(|mkpdu| {
            mkpdu.basic.mn.0 -= back;
            mkpdu.sak_use = None;
        });
        assert_eq!(pair.refusals(&frame), ["replayed"]);
    }
    let after = participant(&pair).peers[0].clone();
    assert_eq!((last.live, last.last_heard), (after.live, after.last_heard));
    assert_eq!((pair.a.kay.poll_timeout(), closes(&pair)), (told, 0));
}

#[test]
fn row_23_before_our_mns_run_out_we_take_a_new_mi() {
    let mut pair = started(led());
    let before = participant(&pair).mi;
    pair.a.kay.participants[0].actor.skip_to(u32::MAX - 1025);
    pair.run(Duration::from_secs(10));
    let after = participant(&pair);
    assert!(after.mi != before && after.mn.0 < 100 && is_secured(&pair));
    let highest = pair.wire.iter().map(|frame| read(frame).basic.mn.0).max();
    assert_eq!(highest, Some(u32::MAX - 1024));
}

/// 802.1X-2020 Table 9-3.
#[test]
fn row_24_a_hello_each_two_seconds_and_a_peer_stays_for_six() {
    let mut pair = started(led());
    pair.run(Duration::from_millis(3500));
    let before = pair.wire.len();
    pair.cut = true;
    pair.run(2 * SECOND);
    assert_eq!(pair.wire.len() - before, 2, "one of each is lost");
    pair.cut = false;
    pair.run(Duration::from_secs(4));
    assert_eq!((is_secured(&pair), number(&pair), closes(&pair)), (true, 1, 0));
    pair.cut = true;
    pair.run(Duration::from_secs(7));
    assert_eq!(pair.a.state(), PortState::Listening);
}

/// A peer that is heard every 6 s, and once in a while not even then.
/// The third hello comes an MKA Life Time after the last one that was heard, and the wire takes its
/// time.
#[test]
fn row_24_a_peer_of_whom_two_hellos_are_lost_is_not() {
    let mut pair = started(led());
    pair.run(Duration::from_secs(5));
    // What `b` says is lost twice in a row, and the third is 100 ms on its way.
    let mut late = Vec::new();
    let mut heard = 0;
    for _ in 0..400 {
        pair.now = pair.now.after(50 * MILLIS);
        pair.a.handle(pair.now, Input::Timeout);
        pair.b.handle(pair.now, Input::Timeout);
        for frame in std::mem::take(&mut pair.a.sent) {
            pair.b.handle(pair.now, Input::Frame(&frame));
        }
        late.extend(pair.b.sent.drain(..).map(|frame| (pair.now.after(100 * MILLIS), frame)));
        while late.first().is_some_and(|(at, _)| *at <= pair.now) {
            let (_, frame) = late.remove(0);
            heard += 1;
            if heard % 3 == 0 {
                pair.a.handle(pair.now, Input::Frame(&frame));
            }
        }
    }
    assert!(heard >= 9 && is_secured(&pair) && closes(&pair) == 0, "{heard} hellos");
}

#[test]
fn row_24_a_longer_life_time_keeps_a_peer_with_slow_hellos() {
    let slow = Manners { hello: Duration::from_secs(6), ..Manners::default() };
    let slow = Manners { life: Duration::from_secs(20), ..slow };
    let patient = Manners { life: Duration::from_secs(20), ..Manners::default() };
    let mut pair = started(Pair::new(mannered(1, 16, patient), mannered(2, 200, slow)));
    for _ in 0..10 {
        pair.cut = true;
        pair.run(Duration::from_secs(12));
        pair.cut = false;
        pair.run(Duration::from_secs(12));
    }
    assert_eq!((is_secured(&pair), number(&pair), closes(&pair)), (true, 1, 0));
    let before = pair.wire.len();
    pair.run(Duration::from_secs(60));
    let theirs = pair.wire.len() - before - said(&pair, before).len();
    assert!((10..=11).contains(&theirs), "{theirs}");
    pair.cut = true;
    pair.run(Duration::from_secs(21));
    assert_eq!(pair.a.state(), PortState::Listening);
}

/// A stranger about to join holds the next SAK up, for a while; the request outlives that.
#[test]
fn row_25_an_sak_that_the_spacing_holds_back_is_made_without_another_request() {
    let mut pair = started(led());
    pair.a.kay.rekey(pair.now).unwrap();
    pair.a.handle(pair.now, Input::Timeout);
    pair.run(SECOND);
    assert_eq!(number(&pair), 2, "nobody waits: no spacing");

    let frame = pair.forged(|mkpdu| stranger(mkpdu, 0x30, None));
    assert_eq!(pair.refusals(&frame), [""; 0]);
    pair.a.kay.rekey(pair.now).unwrap();
    pair.a.handle(pair.now, Input::Timeout);
    pair.run(2 * SECOND);
    assert_eq!(number(&pair), 2);
    pair.run(4 * SECOND);
    assert_eq!(number(&pair), 3);
    assert_eq!(pair.a.kay.status(pair.now).discards.of(Discard::Replayed), 0);
}
