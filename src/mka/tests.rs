//! The KaY as a whole: two of them on a link, and every refusal by name.

use std::time::Duration;

use super::testing::{Pair, Seeded, Station, policy, read, ring, sign};
use super::*;
use crate::crypto::{Entropy, NoEntropy};
use crate::ident::{CipherSuite, KeyServerPriority, MessageNumber, PacketNumber, Sci};
use crate::secy::{SecyCommand, TxProgress};
use crate::time::Time;
use crate::wire::{DistributedSak, Mkpdu, PeerEntry, SakUseSet};

const MILLIS: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);

fn pair() -> Pair {
    Pair::new(policy(1, 16), policy(2, 200))
}

fn secured() -> Pair {
    let mut pair = pair();
    pair.start(SECOND);
    assert_eq!((pair.a.state(), pair.b.state()), (PortState::Secured, PortState::Secured));
    pair
}

/// An MKPDU as station `b` would send it, changed by `change` and signed with the right key.
fn forged(pair: &Pair, change: impl FnOnce(&mut Mkpdu)) -> Vec<u8> {
    let mut last = pair.wire.iter().rev().map(|frame| read(frame));
    let mut mkpdu = last.find(|mkpdu| mkpdu.basic.sci == policy(2, 200).sci).expect("b has spoken");
    mkpdu.basic.mn = MessageNumber(mkpdu.basic.mn.0 + 1);
    change(&mut mkpdu);
    sign(&mkpdu)
}

/// Gives `a` a frame and says which refusals were counted.
fn refusals(pair: &mut Pair, frame: &[u8]) -> Vec<&'static str> {
    let before = pair.a.kay.status(pair.now).discards;
    pair.a.handle(pair.now, Input::Frame(frame));
    let after = pair.a.kay.status(pair.now).discards;
    let grown = after.iter().filter(|&(discard, count)| count > before.of(discard));
    grown.map(|(discard, _)| discard.name()).collect()
}

fn enabled(station: &Station) -> usize {
    let commands = station.commands.iter();
    commands.filter(|command| matches!(command, SecyCommand::EnableTx(_))).count()
}

#[test]
fn two_stations_secure_at_once_with_one_sak_and_the_right_server() {
    let mut pair = pair();
    pair.start(MILLIS);
    let (a, b) = (pair.a.kay.status(pair.now), pair.b.kay.status(pair.now));

    assert_eq!((a.state, b.state), (PortState::Secured, PortState::Secured));
    assert_eq!(a.key_server, Some(KeyServer::Own));
    assert_eq!(b.key_server, Some(KeyServer::Peer(policy(1, 16).sci)));
    let (a_sak, b_sak) = (a.sak.unwrap(), b.sak.unwrap());
    assert_eq!((a_sak.ki, a_sak.an), (b_sak.ki, b_sak.an));
    assert_eq!((a_sak.ki.number.0, a_sak.an.value()), (1, 0));
    assert!(pair.wire.len() <= 14, "{} MKPDUs for one handshake", pair.wire.len());
}

#[test]
fn all_suites_are_agreed_on() {
    for suite in CipherSuite::ALL {
        let with =
            |station, priority| Policy { cipher_suites: vec![suite], ..policy(station, priority) };
        let mut pair = Pair::new(with(1, 16), with(2, 200));
        pair.start(SECOND);
        assert_eq!(pair.b.kay.status(pair.now).sak.unwrap().suite, suite);
    }
}

#[test]
fn hellos_keep_two_stations_secured_and_no_sak_is_made_without_cause() {
    let mut pair = secured();
    let before = pair.wire.len();
    pair.run(Duration::from_secs(3600));
    assert_eq!((pair.a.state(), pair.b.state()), (PortState::Secured, PortState::Secured));
    assert_eq!(pair.a.kay.status(pair.now).sak.unwrap().ki.number.0, 1);
    let each = (pair.wire.len() - before) / 2;
    assert!((1795..=1805).contains(&each), "{each} hellos in an hour");
}

#[test]
fn it_says_that_it_receives_only_after_the_data_plane_has_said_so() {
    let mut pair = pair();
    pair.a.kay.handle(pair.now, Input::Carrier(true));
    pair.b.handle(pair.now, Input::Carrier(true));
    // Station a's data plane does not answer.
    for _ in 0..20 {
        while let Some(output) = pair.a.kay.poll_output() {
            if let Output::Transmit(frame) = output {
                if let Some(SakUseSet::Keys(sak_use)) = read(&frame).sak_use {
                    assert!(sak_use.latest.is_some_and(|key| !key.rx && !key.tx));
                }
                pair.b.handle(pair.now, Input::Frame(&frame));
            }
        }
        for frame in std::mem::take(&mut pair.b.sent) {
            pair.a.kay.handle(pair.now, Input::Frame(&frame));
        }
        pair.now = pair.now.after(SECOND);
        pair.a.kay.handle(pair.now, Input::Timeout);
        pair.b.handle(pair.now, Input::Timeout);
    }
    assert_ne!(pair.b.state(), PortState::Secured, "the server never received");
}

#[test]
fn a_silent_peer_is_lost_after_a_life_time_and_the_port_closes() {
    let mut pair = secured();
    pair.cut = true;
    pair.run(Duration::from_secs(4));
    assert_eq!(pair.a.state(), PortState::Secured);
    pair.run(Duration::from_secs(3));
    assert_eq!(pair.a.state(), PortState::Listening);
    let closed = pair.a.commands.iter().rev();
    assert!(closed.take(3).any(|command| matches!(command, SecyCommand::SetControlledPort(false))));
    pair.run(Duration::from_secs(6));
    assert_eq!(pair.a.state(), PortState::Failed);

    pair.cut = false;
    pair.run(Duration::from_secs(3));
    assert_eq!((pair.a.state(), pair.b.state()), (PortState::Secured, PortState::Secured));
}

#[test]
fn a_short_loss_of_carrier_closes_the_port_and_keeps_the_sak() {
    let mut pair = secured();
    let before = pair.a.kay.status(pair.now).sak.unwrap().ki;
    pair.a.handle(pair.now, Input::Carrier(false));
    pair.b.handle(pair.now, Input::Carrier(false));
    assert!(matches!(pair.a.commands.last(), Some(SecyCommand::SetControlledPort(false))));
    assert_eq!(pair.a.state(), PortState::Down);
    pair.run(Duration::from_secs(3));

    pair.start(MILLIS);
    assert_eq!(pair.a.state(), PortState::Secured);
    assert_eq!(pair.a.kay.status(pair.now).sak.unwrap().ki, before);
}

#[test]
fn a_rekey_on_command_switches_both_without_closing() {
    let mut pair = secured();
    pair.run(Duration::from_secs(5));
    let closes = |station: &Station| {
        let commands = station.commands.iter();
        commands.filter(|command| matches!(command, SecyCommand::SetControlledPort(false))).count()
    };
    let before = (closes(&pair.a), closes(&pair.b));
    pair.a.kay.rekey(pair.now).unwrap();
    pair.a.handle(pair.now, Input::Timeout);
    pair.run(SECOND);

    let (a, b) = (pair.a.kay.status(pair.now), pair.b.kay.status(pair.now));
    assert_eq!((a.sak.unwrap().ki.number.0, b.sak.unwrap().ki.number.0), (2, 2));
    assert_eq!((a.rekeys, b.rekeys), (1, 1));
    assert_eq!((closes(&pair.a), closes(&pair.b)), before);
}

#[test]
fn ten_rekeys_use_the_associations_in_turn() {
    let mut pair = secured();
    for number in 2..=11 {
        pair.run(Duration::from_secs(4));
        pair.a.kay.rekey(pair.now).unwrap();
        pair.a.handle(pair.now, Input::Timeout);
        pair.run(SECOND);
        let sak = pair.b.kay.status(pair.now).sak.unwrap();
        assert_eq!(sak.ki.number.0, number);
        assert_eq!(u32::from(sak.an.value()), (number - 1) % 4);
    }
    assert_eq!(enabled(&pair.b), 11);
}

#[test]
fn a_rekey_is_refused_where_it_cannot_be_done_here() {
    let mut pair = pair();
    assert_eq!(pair.a.kay.rekey(pair.now), Err(RekeyRefused::NotSecured));
    pair.start(SECOND);
    assert_eq!(pair.b.kay.rekey(pair.now), Err(RekeyRefused::PeerIsKeyServer(policy(1, 16).sci)));
}

#[test]
fn rekeys_come_by_time() {
    let aged = Policy { rekey_after: Some(Duration::from_secs(60)), ..policy(1, 16) };
    let mut pair = Pair::new(aged, policy(2, 200));
    pair.start(Duration::from_secs(601));
    let number = pair.b.kay.status(pair.now).sak.unwrap().ki.number.0;
    assert_eq!(number, 11, "one and ten more in ten minutes");
}

/// 802.1X-2020 9.8: our own packet numbers, or those that a peer reports.
#[test]
fn rekeys_come_by_packet_number() {
    for (suite, mark) in
        [(CipherSuite::GcmAes256, 0xc000_0000), (CipherSuite::GcmAesXpn256, 0xc000_0000_0000_0000)]
    {
        let with =
            |station, priority| Policy { cipher_suites: vec![suite], ..policy(station, priority) };
        let mut pair = Pair::new(with(1, 16), with(2, 200));
        pair.start(SECOND);
        let ki = pair.a.kay.status(pair.now).sak.unwrap().ki;
        let progress = |pn| Input::TxProgress(TxProgress { ki, next_pn: PacketNumber(pn) });

        pair.a.handle(pair.now, progress(mark - 1));
        pair.run(SECOND);
        assert_eq!(pair.a.kay.status(pair.now).sak.unwrap().ki, ki);
        // The peer's next MKPDU but one says how far it had come one Hello Time ago.
        pair.b.handle(pair.now, progress(mark + 1));
        pair.run(Duration::from_secs(6));
        assert_eq!(pair.a.kay.status(pair.now).sak.unwrap().ki.number.0, 2, "{suite}");
    }
}

#[test]
fn two_ends_that_never_serve_stay_apart() {
    let never = KeyServerPriority::NEVER.0;
    let mut pair = Pair::new(policy(1, never), policy(2, never));
    pair.start(Duration::from_secs(20));
    let status = pair.a.kay.status(pair.now);
    assert_eq!((status.state, status.key_server), (PortState::Pending, None));
    assert!(status.participants[0].peers[0].live);
}

#[test]
fn a_refused_sak_is_not_advertised_and_another_is_made() {
    let mut pair = pair();
    pair.b.refuse = true;
    pair.start(SECOND);
    assert_eq!((pair.a.state(), pair.b.state()), (PortState::Pending, PortState::Pending));
    let said = pair.b.kay.status(pair.now).evidence.refused_by_secy.unwrap().0;
    assert_eq!(said, "refused by the test");

    pair.b.refuse = false;
    pair.run(Duration::from_secs(8));
    assert_eq!((pair.a.state(), pair.b.state()), (PortState::Secured, PortState::Secured));
}

#[test]
fn a_restarted_peer_is_taken_as_its_own_successor_at_once() {
    let mut pair = secured();
    pair.run(Duration::from_secs(10));
    pair.b = Station::new(policy(2, 199), &ring(&[(1, 7)]));
    pair.b.kay =
        Kay::new(pair.now, policy(2, 199), &ring(&[(1, 7)]), Box::new(Seeded::new(4711))).unwrap();
    pair.b.handle(pair.now, Input::Carrier(true));
    pair.run(10 * MILLIS);
    assert_eq!((pair.a.state(), pair.b.state()), (PortState::Secured, PortState::Secured));
    let closed = |command: &SecyCommand| matches!(command, SecyCommand::SetControlledPort(false));
    assert!(!pair.a.commands.iter().any(closed), "the port that stayed never closes");
}

/// 802.1X-2020 9.4.1: several CAKs, one SecY.
#[test]
fn the_newest_common_key_is_principal_and_another_keeps_the_port_up_when_it_goes() {
    let (both, old) = (ring(&[(2, 9), (1, 7)]), ring(&[(1, 7)]));
    let mut pair = Pair::with_keys(policy(1, 16), &both, policy(2, 200), &old);
    pair.start(SECOND);
    let principal = |station: &Station, now| {
        let status = station.kay.status(now);
        let principal = status.participants.iter().find(|of| of.principal);
        principal.map(|of| of.ckn.octets()[0])
    };
    assert_eq!(principal(&pair.a, pair.now), Some(1));

    pair.b.kay.set_keys(pair.now, &both).unwrap();
    pair.run(Duration::from_secs(4));
    assert_eq!(principal(&pair.a, pair.now), Some(2));
    assert_eq!(principal(&pair.b, pair.now), Some(2));
    for station in [&mut pair.a, &mut pair.b] {
        station.kay.set_keys(pair.now, &ring(&[(2, 9)])).unwrap();
    }
    pair.run(Duration::from_secs(10));
    assert_eq!((pair.a.state(), pair.b.state()), (PortState::Secured, PortState::Secured));
    let closed = |command: &SecyCommand| matches!(command, SecyCommand::SetControlledPort(false));
    assert!(!pair.a.commands.iter().chain(&pair.b.commands).any(closed));
}

#[test]
fn octets_that_are_no_mkpdu_are_counted_by_their_fault() {
    let mut pair = secured();
    let good = forged(&pair, |_| {});
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
        assert_eq!(refusals(&mut pair, &frame), [name]);
    }
    let short = [&good[..16], &[0, 28], &good[18..46]].concat();
    assert_eq!(refusals(&mut pair, &short), ["too_short"]);
    let no_ckn = [&with(21, 28)[..52], &[0; 28]].concat();
    let no_ckn = [&no_ckn[..16], &[0, 62 - 2], &no_ckn[18..]].concat();
    assert_eq!(refusals(&mut pair, &no_ckn), ["ckn_length"]);
}

#[test]
fn authentic_mkpdus_that_break_a_rule_are_counted_by_the_rule() {
    let mut pair = secured();
    let version_0 = forged(&pair, |mkpdu| mkpdu.basic.version = 0);
    assert_eq!(refusals(&mut pair, &version_0), ["mka_version"]);
    let reflected = forged(&pair, |mkpdu| mkpdu.basic.sci = policy(1, 16).sci);
    assert_eq!(refusals(&mut pair, &reflected), ["own_address"]);
    let old = forged(&pair, |mkpdu| mkpdu.basic.mn = MessageNumber(1));
    assert_eq!(refusals(&mut pair, &old), ["replayed"]);
    let sak = |mkpdu: &mut Mkpdu| mkpdu.distributed_sak = Some(DistributedSak::PlainText);
    let not_server = forged(&pair, sak);
    assert_eq!(refusals(&mut pair, &not_server), ["sak_not_from_server"]);
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
    let same_mi = forged(&pair, |mkpdu| (mkpdu.basic.mi, mkpdu.basic.sci) = (mine, other));
    assert_eq!(refusals(&mut pair, &same_mi), ["own_member_id"]);
    assert_ne!(pair.a.kay.status(pair.now).participants[0].mi, mine);
    pair.run(Duration::from_secs(3));
    assert_eq!((pair.a.state(), pair.b.state()), (PortState::Secured, PortState::Secured));

    let mine = pair.a.kay.status(pair.now).participants[0].mi;
    let entry = PeerEntry { mi: mine, mn: MessageNumber(1_000_000) };
    let never_sent = forged(&pair, |mkpdu| mkpdu.potential_peers = Some(vec![entry]));
    assert_eq!(refusals(&mut pair, &never_sent), ["own_member_id"]);
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
    let frame = forged(&pair, |mkpdu| {
        mkpdu.distributed_sak = Some(sak);
        let peers = vec![PeerEntry { mi: mine.mi, mn: mine.mn }];
        mkpdu.live_peers = Some(crate::wire::LivePeerList { key_server_ssci: 1, peers });
    });
    let refused = refusals(&mut pair, &frame);
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

#[test]
fn without_randomness_there_is_no_kay_and_no_sak() {
    struct Dry(u32);
    impl Entropy for Dry {
        fn fill(&mut self, out: &mut [u8]) -> Result<(), NoEntropy> {
            self.0 = self.0.checked_sub(1).ok_or(NoEntropy)?;
            Seeded::new(1).fill(out)
        }
    }
    let keys = ring(&[(1, 7)]);
    assert!(Kay::new(Time::ZERO, policy(1, 16), &keys, Box::new(Dry(0))).is_err());

    let mut pair = pair();
    pair.a.kay = Kay::new(Time::ZERO, policy(1, 16), &keys, Box::new(Dry(1))).unwrap();
    pair.start(SECOND);
    let status = pair.a.kay.status(pair.now);
    assert!(status.sak.is_none() && status.evidence.no_entropy.is_some());
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
    let refused = refusals(&mut pair, &sign(&mkpdu));
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

fn removed(station: &Station) -> usize {
    let commands = station.commands.iter();
    commands.filter(|command| matches!(command, SecyCommand::RemoveSak(_))).count()
}

#[test]
fn a_refused_rekey_leaves_the_key_before_it_in_use() {
    let mut pair = Pair::new(policy(1, 200), policy(2, 16));
    pair.start(SECOND);
    pair.a.refuse = true;
    pair.b.kay.rekey(pair.now).unwrap();
    pair.b.handle(pair.now, Input::Timeout);
    pair.run(Duration::from_secs(5));
    let status = pair.a.kay.status(pair.now);
    assert_eq!((status.state, status.sak.unwrap().ki.number.0), (PortState::Secured, 1));
    assert_eq!(pair.b.kay.status(pair.now).sak.unwrap().ki.number.0, 1);
    let said = status.evidence.refused_by_secy.unwrap().0;
    assert_eq!(said, "refused by the test");
}

#[test]
fn a_member_that_takes_no_key_does_not_end_rekeying() {
    let mut pair = secured();
    pair.b.refuse = true;
    for _ in 0..3 {
        pair.a.kay.rekey(pair.now).unwrap();
        pair.a.handle(pair.now, Input::Timeout);
        pair.run(Duration::from_secs(13));
    }
    pair.b.refuse = false;
    pair.a.kay.rekey(pair.now).unwrap();
    pair.a.handle(pair.now, Input::Timeout);
    pair.run(Duration::from_secs(13));
    assert!(pair.a.kay.status(pair.now).sak.unwrap().ki.number.0 >= 5);
    assert_eq!(pair.a.state(), PortState::Secured);
    assert!(removed(&pair.b) >= 3);
}

/// Some servers drop a rekey that falls into the spacing of SAKs, and never make it.
#[test]
fn a_server_that_forgets_to_make_a_key_is_reminded() {
    let mut pair = Pair::new(policy(1, 200), policy(2, 16));
    pair.tamper = Some(|mkpdu| {
        mkpdu.distributed_sak = None;
        mkpdu.sak_use = None;
    });
    pair.start(Duration::from_secs(3));
    let before = pair.a.kay.status(pair.now).participants[0].mi;
    pair.run(Duration::from_secs(6));
    assert_ne!(pair.a.kay.status(pair.now).participants[0].mi, before);
    pair.tamper = None;
    pair.run(Duration::from_secs(9));
    assert_eq!((pair.a.state(), pair.b.state()), (PortState::Secured, PortState::Secured));
}

/// 802.1X-2020 9.10: what the peer says is late is refused by the SecY, and only raised.
#[test]
fn delay_protection_raises_the_lowest_packet_number() {
    let with = |station, priority| Policy {
        cipher_suites: vec![CipherSuite::GcmAes256],
        ..policy(station, priority)
    };
    let mut pair = Pair::new(with(1, 16), with(2, 200));
    pair.tamper = Some(|mkpdu| {
        if let Some(SakUseSet::Keys(sak_use)) = &mut mkpdu.sak_use {
            sak_use.delay_protect = true;
            sak_use.old.iter_mut().for_each(|key| key.llpn = 77);
        }
    });
    pair.start(Duration::from_secs(5));
    let raised = pair.a.commands.iter().rev().find_map(|command| {
        let SecyCommand::RaiseLowestPn { sci, lowest_pn, .. } = command else { return None };
        Some((*sci, lowest_pn.0))
    });
    assert_eq!(raised, Some((policy(2, 200).sci, 77)));
}

/// 802.1X-2020 11.12: a suite that a peer's announcement leaves out is passed over.
#[test]
fn announced_suites_are_heeded() {
    let both = vec![CipherSuite::GcmAesXpn256, CipherSuite::GcmAes256];
    let with =
        |station, priority| Policy { cipher_suites: both.clone(), ..policy(station, priority) };
    let mut pair = Pair::new(with(1, 16), with(2, 200));
    pair.tamper = Some(|mkpdu| {
        let suites = vec![(crate::wire::MacsecCapability::Offset0, CipherSuite::GcmAes256.id())];
        mkpdu.announcement = Some(crate::wire::Announcement { suites, other_tlvs: 0 });
    });
    pair.start(SECOND);
    assert_eq!(pair.a.kay.status(pair.now).sak.unwrap().suite, CipherSuite::GcmAes256);
}

/// A peer that clears its capability once the SAK is out goes on being rekeyed.
#[test]
fn a_capability_that_is_withdrawn_changes_nothing() {
    let mut pair = secured();
    pair.tamper =
        Some(|mkpdu| mkpdu.basic.macsec_capability = crate::wire::MacsecCapability::NotImplemented);
    pair.run(Duration::from_secs(4));
    pair.a.kay.rekey(pair.now).unwrap();
    pair.a.handle(pair.now, Input::Timeout);
    pair.run(SECOND);
    assert_eq!(pair.a.kay.status(pair.now).sak.unwrap().ki.number.0, 2);
}

#[test]
fn a_crowd_of_strangers_does_not_silence_us() {
    let mut pair = secured();
    for stranger in 0..60_u8 {
        let frame = forged(&pair, |mkpdu| {
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
    let frame = forged(&pair, |mkpdu| {
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
