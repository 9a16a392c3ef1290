//! Small promises, each of which a mutant has broken without another test noticing.

use std::time::Duration;

use super::testing::{Group, Pair, policy, read, ring, sign};
use super::{Input, KeyServer, Policy, PortState};
use crate::ident::{
    CipherSuite, ConfidentialityOffset, KeyServerPriority, MemberId, MessageNumber, PacketNumber,
};
use crate::secy::{SecyCommand, TxProgress};
use crate::wire::{DistributedSak, Mkpdu, PeerEntry, SakUse, SakUseSet};

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
    assert!(pair.wire.iter().all(|frame| read(frame).xpn.is_none()));
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
        pair.wire.iter().partition(|frame| read(frame).basic.sci == own);
    let (a, b) = (pair.a.kay.status(pair.now), pair.b.kay.status(pair.now));
    assert_eq!((a.sent, b.accepted), (from_a.len() as u64, from_a.len() as u64));
    assert_eq!((b.sent, a.accepted), (from_b.len() as u64, from_b.len() as u64));
}

/// A server that goes on offering an SAK that we have, on the association that we have it on.
#[test]
fn an_sak_that_is_offered_again_is_neither_taken_nor_refused() {
    let mut pair = Pair::new(policy(1, 200), policy(2, 16));
    pair.start(SECOND);
    let offers = |frame: &&Vec<u8>| read(frame).distributed_sak.is_some();
    let mut offer = read(pair.wire.iter().find(offers).expect("an offer"));
    offer.basic.mn.0 += 100;
    let (before, commands) = (pair.a.kay.status(pair.now).sak, pair.a.commands.len());
    assert_eq!(pair.refusals(&sign(&offer)), [""; 0]);
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

/// What is sent and received in one way only is in use.
#[test]
fn a_key_that_the_server_still_uses_in_one_way_is_not_given_up() {
    let one_way: [fn(&mut Mkpdu); 2] = [|of| says(of, true, false), |of| says(of, false, true)];
    for tamper in one_way {
        let mut pair = secured(Pair::new(policy(1, 200), policy(2, 16)));
        pair.run(4 * SECOND);
        pair.tamper = Some(tamper);
        pair.run(5 * SECOND);
        assert!(pair.a.kay.status(pair.now).evidence.plain_text_refused.is_some());
        assert_eq!(pair.a.state(), PortState::Secured);
    }
}

/// Offers what is refused, and says this of the key in use.
fn says(mkpdu: &mut Mkpdu, tx: bool, rx: bool) {
    mkpdu.distributed_sak = Some(DistributedSak::PlainText);
    if let Some(SakUseSet::Keys(keys)) = &mut mkpdu.sak_use {
        for key in keys.latest.iter_mut().chain(&mut keys.old) {
            (key.tx, key.rx) = (tx, rx);
        }
    }
}

/// Who is asked to make way for the next SAK at once is only one that nobody sends with.
#[test]
fn an_old_sak_that_a_member_still_sends_with_is_kept_for_its_time_though_the_next_waits() {
    let mut pair = secured(Pair::new(policy(1, 16), policy(2, 200)));
    pair.run(4 * SECOND);
    pair.tamper = Some(sends_with_old);
    let before = pair.a.kay.status(pair.now).sak.unwrap().ki;
    pair.a.commands.clear();
    for _ in 0..2 {
        pair.a.kay.rekey(pair.now).unwrap();
        pair.a.handle(pair.now, Input::Timeout);
        pair.run(SECOND);
    }
    let removed = |pair: &Pair| {
        let mut commands = pair.a.commands.iter();
        commands.any(|of| matches!(of, SecyCommand::RemoveSak(ki) if *ki == before))
    };
    assert_eq!(pair.a.kay.cp.slots().count(), 3, "the next waits");
    assert!(!removed(&pair));
    pair.run(2 * SECOND);
    assert!(removed(&pair));
}

fn sends_with_old(mkpdu: &mut Mkpdu) {
    if let Some(SakUseSet::Keys(SakUse { latest: Some(latest), old: Some(old), .. })) =
        &mut mkpdu.sak_use
    {
        (latest.tx, old.tx) = (false, true);
    }
}

/// To whoever says that its packet numbers may begin anew, no frame is old.
#[test]
fn a_member_that_comes_back_without_saying_from_where_it_sends_is_not_received_under_the_same_sak()
{
    for says_where in [false, true] {
        let suite = |of: Policy| Policy { cipher_suites: vec![CipherSuite::GcmAes128], ..of };
        let members = [policy(1, 200), policy(2, 16), policy(3, 200)];
        let mut group = Group::of(members.into_iter().map(suite), 5 * SECOND);
        let (now, sci) = (group.now, policy(3, 200).sci);
        let own = &mut group.stations[0];
        own.commands.clear();
        own.kay.participants[0].peers.cut_short(sci, now);
        own.handle(now, Input::Timeout);
        assert!(matches!(own.commands[..], [SecyCommand::RemoveReceiver(of)] if of == sci));

        let mut hello = None;
        while hello.is_none() {
            group.now = group.now.after(SECOND / 4);
            group.stations[2].handle(group.now, Input::Timeout);
            hello = group.stations[2].sent.pop();
        }
        let mut hello = read(&hello.unwrap());
        if let (Some(SakUseSet::Keys(SakUse { latest, old, .. })), false) =
            (&mut hello.sak_use, says_where)
        {
            latest.iter_mut().chain(old).for_each(|key| key.llpn = 0);
        }
        let own = &mut group.stations[0];
        own.handle(group.now, Input::Frame(&sign(&hello)));
        let adds = |of: &&SecyCommand| matches!(of, SecyCommand::AddReceiver { .. });
        assert_eq!(own.commands.iter().filter(adds).count(), usize::from(says_where));
    }
}

/// It was lost meanwhile, and goes on offering the SAK that we have.
#[test]
fn an_sak_that_is_offered_again_says_again_what_the_server_has_decided() {
    let mut pair = Pair::new(policy(1, 200), policy(2, 16));
    pair.start(SECOND);
    let offers = |frame: &&Vec<u8>| read(frame).distributed_sak.is_some();
    let mut offer = read(pair.wire.iter().find(offers).expect("an offer"));
    offer.basic.mn.0 += 100;
    pair.a.commands.clear();
    pair.a.kay.decided = None;
    assert_eq!(pair.refusals(&sign(&offer)), [""; 0]);
    assert_eq!((pair.a.state(), pair.a.commands.len()), (PortState::Secured, 0));
}

#[test]
fn whoever_is_told_of_a_member_says_at_once_that_it_knows() {
    let mut pair = secured(Pair::new(policy(1, 16), policy(2, 200)));
    pair.run(5 * SECOND);
    let unknown = PeerEntry { mi: MemberId::from_octets([9; 12]), mn: MessageNumber(1) };
    let telling = pair.forged(|mkpdu| mkpdu.live_peers.as_mut().unwrap().peers.push(unknown));
    assert_eq!(pair.refusals(&telling), [""; 0]);
    let said = read(pair.a.sent.first().expect("an MKPDU")).potential_peers;
    assert_eq!(said, Some(vec![unknown]));
}

#[test]
fn a_key_is_another_where_its_name_or_its_octets_are_another() {
    for keys in [[(1, 9)], [(2, 7)]] {
        let mut pair = secured(Pair::new(policy(1, 16), policy(2, 200)));
        let own = pair.a.kay.status(pair.now).participants[0].mi;
        pair.a.kay.set_keys(pair.now, &ring(&[(1, 7)])).unwrap();
        assert_eq!(pair.a.kay.status(pair.now).participants[0].mi, own);
        pair.a.kay.set_keys(pair.now, &ring(&keys)).unwrap();
        assert_ne!(pair.a.kay.status(pair.now).participants[0].mi, own);
    }
}

/// One key is spoken by nobody, and under the other a peer is there.
#[test]
fn a_port_is_pending_while_a_peer_is_met_under_any_of_its_keys() {
    for keys in [[(1, 7), (2, 9)], [(2, 9), (1, 7)]] {
        let mut pair =
            Pair::with_keys(policy(1, 16), &ring(&keys), policy(2, 200), &ring(&[(2, 9)]));
        pair.b.refuse = true;
        pair.start(10 * SECOND);
        assert_eq!(pair.a.state(), PortState::Pending);
    }
}

/// An SAK belongs to whoever was elected when it was made.
#[test]
fn a_key_server_that_lost_an_election_and_won_the_next_makes_a_fresh_sak() {
    let mut pair = secured(Pair::new(policy(1, 16), policy(2, 200)));
    pair.run(4 * SECOND);
    let before = pair.a.kay.status(pair.now).sak.unwrap().ki;
    pair.tamper = Some(|mkpdu| {
        (mkpdu.basic.key_server, mkpdu.basic.key_server_priority) = (true, KeyServerPriority(0));
    });
    pair.run(3 * SECOND);
    let peer = KeyServer::Peer(policy(2, 200).sci);
    assert_eq!(pair.a.kay.status(pair.now).key_server, Some(peer));
    pair.tamper = None;
    pair.run(10 * SECOND);
    assert_eq!((pair.a.state(), pair.b.state()), (PortState::Secured, PortState::Secured));
    assert!(pair.a.kay.status(pair.now).sak.unwrap().ki > before);
}

/// Strangers hold up the SAK of the next CA, and the one of the CA before is handed out no longer.
#[test]
fn an_sak_of_a_ca_that_does_not_lead_any_more_is_handed_out_to_nobody() {
    let both = ring(&[(2, 9), (1, 7)]);
    let mut pair = Pair::with_keys(policy(1, 16), &both, policy(2, 200), &both);
    pair.b.refuse = true;
    pair.start(SECOND);
    assert!(pair.a.kay.status(pair.now).distributing.is_some());
    let led = |pair: &Pair| {
        let participants = pair.a.kay.status(pair.now).participants;
        participants.into_iter().find(|of| of.principal).map(|of| of.ckn.octets().to_vec())
    };
    assert_eq!(led(&pair), Some(vec![2; 4]));
    let mut heard = pair.wire.iter().rev().map(|frame| read(frame));
    let mut stranger = heard.find(|of| of.basic.ckn.octets() == [1; 4]).unwrap();
    stranger.basic.sci = policy(3, 200).sci;
    stranger.basic.mi = MemberId::from_octets([9; 12]);
    (stranger.live_peers, stranger.potential_peers) = (None, None);
    pair.a.handle(pair.now, Input::Frame(&sign(&stranger)));
    pair.a.kay.set_keys(pair.now, &ring(&[(1, 7)])).unwrap();
    assert_eq!(led(&pair), Some(vec![1; 4]));
    assert_eq!(pair.a.kay.status(pair.now).distributing, None);
}

/// A member that never receives does not have the others wait, once they are all sent to with it.
#[test]
fn another_sak_may_follow_one_that_is_in_use_though_not_all_have_it() {
    let mut pair = secured(Pair::new(policy(1, 16), policy(2, 200)));
    pair.run(4 * SECOND);
    for mn in 1..=8 {
        let silent = pair.forged(|mkpdu| {
            mkpdu.basic.sci = policy(3, 200).sci;
            mkpdu.basic.mi = MemberId::from_octets([9; 12]);
            mkpdu.basic.mn = MessageNumber(mn);
            mkpdu.sak_use = None;
        });
        assert_eq!(pair.refusals(&silent), [""; 0]);
        pair.run(SECOND);
    }
    let newest = |pair: &Pair| pair.a.kay.saks.newest().map(|sak| sak.key.ki.number.0);
    assert_eq!(pair.a.kay.status(pair.now).sak.unwrap().ki.number.0, 2);
    assert!(pair.a.kay.status(pair.now).distributing.is_some());
    pair.a.kay.rekey(pair.now).unwrap();
    assert_eq!(newest(&pair), Some(3));
}
