//! What the KaY refuses, each by its name.

use std::time::Duration;

use super::testing::{Pair, Seeded, Station, policy, read, ring, sign};
use super::*;
use crate::ident::{CipherSuite, MessageNumber, Sci};
use crate::secy::SecyCommand;
use crate::wire::{DistributedSak, Mkpdu, PeerEntry};

const SECOND: Duration = Duration::from_secs(1);

fn secured() -> Pair {
    let mut pair = Pair::new(policy(1, 16), policy(2, 200));
    pair.start(SECOND);
    assert_eq!((pair.a.state(), pair.b.state()), (PortState::Secured, PortState::Secured));
    pair
}

#[test]
fn octets_that_are_no_mkpdu_are_counted_by_their_fault() {
    let mut pair = secured();
    let good = pair.forged(|_| {});
    let with = |at: usize, octet: u8| {
        let mut frame = good.clone();
        frame[at] = octet;
        frame
    };
    for (frame, name) in [
        (good[..17].to_vec(), "truncated"),
        (with(13, 0x8f), "ethertype"),
        (with(14, 2), "eapol_version"),
        (with(15, 3), "packet_type"),
        (with(0, 0), "destination"),
        (with(17, good[17] - 2), "not_multiple_of_4"),
        (with(20, 0xff), "basic_length"),
        (with(49, 3), "algorithm_agility"),
        (with(52, 0xee), "unknown_ckn"),
        (with(30, good[30] ^ 1), "icv"),
    ] {
        assert_eq!(pair.refusals(&frame), [name]);
    }
    let short = [&good[..16], &[0, 28], &good[18..46]].concat();
    assert_eq!(pair.refusals(&short), ["too_short"]);
    let no_ckn = [&with(21, 28)[..52], &[0; 28]].concat();
    let no_ckn = [&no_ckn[..16], &[0, 62 - 2], &no_ckn[18..]].concat();
    assert_eq!(pair.refusals(&no_ckn), ["ckn_length"]);
}

#[test]
fn authentic_mkpdus_that_break_a_rule_are_counted_by_the_rule() {
    let mut pair = secured();
    let version_0 = pair.forged(|mkpdu| mkpdu.basic.version = 0);
    assert_eq!(pair.refusals(&version_0), ["mka_version"]);
    let reflected = pair.forged(|mkpdu| mkpdu.basic.sci = policy(1, 16).sci);
    assert_eq!(pair.refusals(&reflected), ["own_address"]);
    let old = pair.forged(|mkpdu| mkpdu.basic.mn = MessageNumber(1));
    assert_eq!(pair.refusals(&old), ["replayed"]);
    let sak = |mkpdu: &mut Mkpdu| mkpdu.distributed_sak = Some(DistributedSak::PlainText);
    let not_server = pair.forged(sak);
    assert_eq!(pair.refusals(&not_server), ["sak_not_from_server"]);
    assert_eq!(pair.a.state(), PortState::Secured);
}

#[test]
fn replays_and_reflections_change_nothing() {
    let mut pair = secured();
    pair.run(Duration::from_secs(3));
    let shown = |pair: &Pair| {
        let status = pair.a.kay.status(pair.now);
        format!("{:?} {:?} {:?}", status.state, status.participants, pair.a.kay.poll_timeout())
    };
    let before = shown(&pair);
    for frame in pair.wire.clone() {
        pair.a.handle(pair.now, Input::Frame(&frame));
        assert_eq!(shown(&pair), before);
    }
    assert!(pair.a.sent.is_empty());
}

#[test]
fn a_second_user_of_our_mi_makes_us_change_it() {
    let mut pair = secured();
    let mine = pair.a.kay.status(pair.now).participants[0].mi;
    let other = Sci::new(crate::mka::testing::address(9), 1);
    let same_mi = pair.forged(|mkpdu| (mkpdu.basic.mi, mkpdu.basic.sci) = (mine, other));
    assert_eq!(pair.refusals(&same_mi), ["own_member_id"]);
    assert_ne!(pair.a.kay.status(pair.now).participants[0].mi, mine);
    pair.run(Duration::from_secs(3));
    assert_eq!((pair.a.state(), pair.b.state()), (PortState::Secured, PortState::Secured));

    let mine = pair.a.kay.status(pair.now).participants[0].mi;
    let entry = PeerEntry { mi: mine, mn: MessageNumber(1_000_000) };
    let never_sent = pair.forged(|mkpdu| mkpdu.potential_peers = Some(vec![entry]));
    assert_eq!(pair.refusals(&never_sent), ["own_member_id"]);
}

/// What the server distributes, changed: `b` is the server here, `a` must not follow.
fn distributed(change: impl FnOnce(&mut DistributedSak)) -> (Pair, Vec<&'static str>) {
    let mut pair = Pair::new(policy(1, 200), policy(2, 16));
    pair.start(SECOND);
    let mut sak = pair
        .wire
        .iter()
        .rev()
        .find_map(|frame| read(frame).distributed_sak)
        .expect("b has distributed a SAK");
    if let DistributedSak::Key { kn, .. } = &mut sak {
        kn.0 += 1;
    }
    change(&mut sak);
    let mine = pair.a.kay.status(pair.now).participants[0].clone();
    let frame = pair.forged(|mkpdu| {
        mkpdu.distributed_sak = Some(sak);
        let peers = vec![PeerEntry { mi: mine.mi, mn: mine.mn }];
        mkpdu.live_peers = Some(crate::wire::LivePeerList { key_server_ssci: 1, peers });
    });
    let refused = pair.refusals(&frame);
    (pair, refused)
}

#[test]
fn an_sak_that_cannot_be_used_is_refused_by_name_and_the_old_one_stays() {
    use crate::ident::{ConfidentialityOffset, KeyNumber};
    type Change = fn(&mut DistributedSak);
    let cases: [(Change, &str); 6] = [
        (|sak| *sak = DistributedSak::PlainText, "plain_text"),
        (
            |sak| {
                if let DistributedSak::Key { suite, .. } = sak {
                    *suite = Err([0, 0x80, 0xc2, 0, 1, 0, 0, 9]);
                }
            },
            "sak_suite",
        ),
        (
            |sak| {
                if let DistributedSak::Key { suite, .. } = sak {
                    *suite = Ok(CipherSuite::GcmAes256);
                }
            },
            "sak_suite",
        ),
        (
            |sak| {
                if let DistributedSak::Key { offset, .. } = sak {
                    *offset = ConfidentialityOffset::Offset30;
                }
            },
            "sak_offset",
        ),
        (
            |sak| {
                if let DistributedSak::Key { wrapped, .. } = sak {
                    wrapped[0] ^= 1;
                }
            },
            "sak_unwrap",
        ),
        (
            |sak| {
                if let DistributedSak::Key { kn, an, .. } = sak {
                    *kn = KeyNumber(1);
                    *an = an.next();
                }
            },
            "sak_reused",
        ),
    ];
    for (change, name) in cases {
        let (pair, refused) = distributed(change);
        assert_eq!(refused, [name]);
        let status = pair.a.kay.status(pair.now);
        assert_eq!((status.state, status.sak.unwrap().ki.number.0), (PortState::Secured, 1));
    }
}

/// A server that states no SSCIs leaves us to number the members by their SCIs, all of them.
#[test]
fn an_xpn_sak_without_ssci_is_taken_only_if_every_member_is_known() {
    use crate::ident::{MemberId, Ssci};
    let stranger = PeerEntry { mi: MemberId::from_octets([0xee; 12]), mn: MessageNumber(1) };
    let (taken, refused) = distributed_without_ssci(&[]);
    assert_eq!(refused, [""; 0]);
    let installed = taken.a.commands.iter().rev().find_map(|command| {
        let SecyCommand::InstallSak(install) = command else { return None };
        Some((install.ssci, install.receive[0].ssci))
    });
    assert_eq!(installed, Some((Some(Ssci(2)), Some(Ssci(1)))));

    let (pair, refused) = distributed_without_ssci(&[stranger]);
    assert_eq!(refused, ["sak_members_unknown"]);
    assert_eq!(pair.a.kay.status(pair.now).sak.unwrap().ki.number.0, 1);
}

/// Has `b` distribute a second SAK to `a` and `others`, as a version 1 implementation would.
fn distributed_without_ssci(others: &[PeerEntry]) -> (Pair, Vec<&'static str>) {
    let mut pair = Pair::new(policy(1, 200), policy(2, 16));
    pair.start(SECOND);
    pair.b.kay.rekey(pair.now).unwrap();
    pair.b.handle(pair.now, Input::Timeout);
    let mut mkpdu = read(&pair.b.sent.pop().expect("b distributes an SAK"));
    mkpdu.basic.version = 1;
    let list = mkpdu.live_peers.as_mut().unwrap();
    list.key_server_ssci = 0;
    list.peers.extend_from_slice(others);
    let refused = pair.refusals(&sign(&mkpdu));
    (pair, refused)
}

/// Two keys, and under each another key server: the better one is followed, and what the other
/// distributes does not disturb it.
#[test]
fn the_sak_of_a_worse_key_server_under_another_key_is_refused() {
    let mut pair =
        Pair::with_keys(policy(1, 200), &ring(&[(1, 7), (2, 9)]), policy(2, 16), &ring(&[(1, 7)]));
    pair.start(SECOND);
    let mut worse = Station::new(policy(3, 100), &ring(&[(2, 9)]));
    worse.handle(pair.now, Input::Carrier(true));
    for _ in 0..20 {
        for frame in std::mem::take(&mut worse.sent) {
            pair.a.handle(pair.now, Input::Frame(&frame));
        }
        for frame in std::mem::take(&mut pair.a.sent) {
            worse.handle(pair.now, Input::Frame(&frame));
        }
    }
    let status = pair.a.kay.status(pair.now);
    assert!(status.discards.of(Discard::SakNotFromServer) > 0, "station 3 has distributed an SAK");
    assert_eq!(status.state, PortState::Secured);
    assert_eq!(status.key_server, Some(KeyServer::Peer(policy(2, 16).sci)));
    let closed = |command: &SecyCommand| matches!(command, SecyCommand::SetControlledPort(false));
    assert!(!pair.a.commands.iter().any(closed));
}

#[test]
fn a_crowd_of_strangers_does_not_silence_us() {
    let mut pair = secured();
    for stranger in 0..60_u8 {
        let frame = pair.forged(|mkpdu| {
            mkpdu.basic.mi = crate::ident::MemberId::from_octets([stranger; 12]);
            mkpdu.basic.sci = Sci::new(crate::mka::testing::address(stranger + 10), 1);
            mkpdu.live_peers = None;
            mkpdu.sak_use = None;
        });
        pair.a.handle(pair.now, Input::Frame(&frame));
    }
    let told = (100..200_u8).map(|octet| PeerEntry {
        mi: crate::ident::MemberId::from_octets([octet; 12]),
        mn: MessageNumber(1),
    });
    let mine = pair.a.kay.status(pair.now).participants[0].clone();
    let frame = pair.forged(|mkpdu| {
        let peers =
            [PeerEntry { mi: mine.mi, mn: mine.mn }].into_iter().chain(told.take(60)).collect();
        mkpdu.live_peers = Some(crate::wire::LivePeerList { key_server_ssci: 0, peers });
        (mkpdu.potential_peers, mkpdu.sak_use, mkpdu.xpn) = (None, None, None);
    });
    pair.a.handle(pair.now, Input::Frame(&frame));
    pair.a.sent.clear();
    pair.now = pair.now.after(Duration::from_secs(2));
    pair.a.handle(pair.now, Input::Timeout);
    let said = read(pair.a.sent.last().expect("a hello"));
    assert_eq!(said.live_peers.unwrap().peers.len(), 1);
    assert!(said.potential_peers.unwrap().len() >= 60);
}

/// A server that came back with another suite no longer receives what we send, and the port must
/// not look secured.
#[test]
fn a_key_that_the_server_has_lost_is_given_up_where_the_next_one_is_refused() {
    let mut pair = Pair::new(policy(1, 200), policy(2, 16));
    pair.start(SECOND);
    let other = Policy { cipher_suites: vec![CipherSuite::GcmAes128], ..policy(2, 15) };
    pair.b = Station::new(other.clone(), &ring(&[(1, 7)]));
    let seed = Box::new(Seeded::new(4711));
    pair.b.kay = Kay::new(pair.now, other, &ring(&[(1, 7)]), seed).unwrap();
    pair.b.handle(pair.now, Input::Carrier(true));
    pair.run(Duration::from_secs(1));
    assert_eq!(pair.a.state(), PortState::Pending);
    let closed = pair.a.commands.iter().rev();
    let closed = closed.filter(|command| matches!(command, SecyCommand::SetControlledPort(false)));
    assert_eq!(closed.count(), 1);
    assert!(pair.a.kay.status(pair.now).evidence.suite_refused.is_some());
}
