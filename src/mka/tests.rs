//! The KaY as a whole: two of them on a link.

use std::time::Duration;

use super::testing::{Pair, Seeded, Station, policy, read, ring};
use super::*;
use crate::crypto::{Entropy, NoEntropy};
use crate::ident::{CipherSuite, KeyServerPriority, PacketNumber};
use crate::secy::{SecyCommand, TxProgress};
use crate::time::Time;
use crate::wire::SakUseSet;

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

/// hostap looks for the server's transmission with the latest key, and in no other place.
#[test]
fn a_first_key_is_told_as_the_latest_for_the_time_in_which_another_would_be_retired() {
    let told_by_a = |pair: &Pair| {
        let mut of_a = pair
            .wire
            .iter()
            .map(|frame| read(frame))
            .filter(|said| said.basic.sci == policy(1, 16).sci);
        match of_a.next_back().unwrap().sak_use {
            Some(SakUseSet::Keys(keys)) => [keys.latest, keys.old].map(|key| key.map(|key| key.tx)),
            other => panic!("{other:?}"),
        }
    };
    let mut pair = secured();
    assert_eq!(told_by_a(&pair), [Some(true), None]);
    pair.run(4 * SECOND);
    assert_eq!(told_by_a(&pair), [None, Some(true)]);
}

/// A station that was heard, and has not heard anybody yet.
#[test]
fn the_first_sak_waits_for_a_stranger_until_it_has_joined_and_not_for_long() {
    let meet_with_stranger = || {
        let (mut pair, mut stranger) = (pair(), Station::new(policy(3, 100), &ring(&[(1, 7)])));
        stranger.handle(Time::ZERO, Input::Carrier(true));
        pair.a.handle(Time::ZERO, Input::Frame(&stranger.sent[0]));
        pair.start(MILLIS);
        assert!(pair.a.kay.status(pair.now).sak.is_none());
        (pair, stranger)
    };
    let offered = |pair: &Pair| pair.wire.iter().any(|frame| read(frame).distributed_sak.is_some());

    let (mut alone, _) = meet_with_stranger();
    alone.run(Duration::from_millis(2400));
    assert!(!offered(&alone));
    alone.run(Duration::from_millis(200));
    assert_eq!((alone.a.state(), alone.b.state()), (PortState::Secured, PortState::Secured));

    let (mut joined, mut stranger) = meet_with_stranger();
    stranger.sent.clear();
    joined.wire.iter().for_each(|frame| stranger.handle(joined.now, Input::Frame(frame)));
    stranger.sent.iter().for_each(|frame| joined.a.handle(joined.now, Input::Frame(frame)));
    joined.run(MILLIS);
    assert!(offered(&joined));
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

/// 802.1X-2020 9.10, Table 9-3: hellos are bounded, and what was sent is past two seconds later.
#[test]
fn with_delay_protection_no_frame_that_is_two_seconds_late_gets_in() {
    for suite in [CipherSuite::GcmAes256, CipherSuite::GcmAesXpn256] {
        let with =
            |station, priority| Policy { cipher_suites: vec![suite], ..policy(station, priority) };
        let mut pair = Pair::new(with(1, 16), Policy { delay_protect: true, ..with(2, 200) });
        pair.start(SECOND);
        let ki = pair.a.kay.status(pair.now).sak.unwrap().ki;
        // A thousand frames a poll, and 64-bit numbers that are above the low half.
        let base = if suite.is_xpn() { 7 << 32 } else { 0 };
        let before = pair.wire.len();
        for poll in 1..=20 {
            let next_pn = PacketNumber(base + poll * 1000);
            pair.b.handle(pair.now, Input::TxProgress(TxProgress { ki, next_pn }));
            pair.run(500 * MILLIS);
            let raised = pair.a.commands.iter().rev().find_map(|command| {
                let SecyCommand::RaiseLowestPn { lowest_pn, .. } = command else { return None };
                Some(lowest_pn.0)
            });
            if poll > 4 {
                // Poll `n` was answered `(n - 1) / 2` s after the start, and now it is `poll / 2` s.
                let (two_seconds_ago, one_second_ago) = (poll - 3, poll - 1);
                let bounds = base + two_seconds_ago * 1000 - 1..=base + one_second_ago * 1000 - 1;
                assert!(bounds.contains(&raised.unwrap()), "{suite} {poll} {raised:?}");
            }
        }
        let theirs = pair.wire[before..].iter().map(|frame| read(frame));
        let theirs = theirs.filter(|mkpdu| mkpdu.basic.sci == policy(2, 200).sci).count();
        assert!((20..=21).contains(&theirs), "{theirs} in ten seconds");
        assert_eq!(pair.a.state(), PortState::Secured);
    }
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

/// Numbers of which one octet of one draw is another than usual.
struct Twisted {
    seeded: Seeded,
    /// Which draw, counted from 0, and which octet of it.
    at: (usize, usize),
    drawn: usize,
}

impl Entropy for Twisted {
    fn fill(&mut self, out: &mut [u8]) -> Result<(), NoEntropy> {
        self.seeded.fill(out)?;
        let (draw, octet) = self.at;
        if self.drawn == draw
            && let Some(octet) = out.get_mut(octet)
        {
            *octet ^= 1;
        }
        self.drawn += 1;
        Ok(())
    }
}

/// The first two SAKs of a server whose randomness is twisted there.
fn two_saks(at: (usize, usize)) -> [Vec<u8>; 2] {
    let mut pair = pair();
    let twisted = Twisted { seeded: Seeded::new(1), at, drawn: 0 };
    pair.a.kay = Kay::new(Time::ZERO, policy(1, 16), &ring(&[(1, 7)]), Box::new(twisted)).unwrap();
    pair.start(SECOND);
    pair.a.kay.rekey(pair.now).unwrap();
    pair.a.handle(pair.now, Input::Timeout);
    pair.run(SECOND);
    let saks = pair.a.commands.iter().filter_map(|command| {
        let SecyCommand::InstallSak(install) = command else { return None };
        Some(install.key.sak.expose().to_vec())
    });
    saks.collect::<Vec<_>>().try_into().expect("two SAKs")
}

/// 802.1X-2020 9.8.1: with all else the same, each octet of its own random number makes an SAK
/// another, and no other SAK.
#[test]
fn each_sak_is_made_of_randomness_of_its_own_as_long_as_itself() {
    let [first, second] = two_saks((usize::MAX, 0));
    assert_ne!(first, second);
    // The first draw is the member identifier.
    for octet in 0..first.len() {
        let with = two_saks((1, octet));
        assert!(with[0] != first && with[1] == second, "octet {octet} of the first");
        let with = two_saks((2, octet));
        assert!(with[0] == first && with[1] != second, "octet {octet} of the second");
    }
}

/// New keys that come at the moment of a deadline have handled that deadline, too.
#[test]
fn a_deadline_that_new_keys_have_handled_is_not_due_again() {
    let mut pair = pair();
    pair.start(SECOND);
    pair.a.kay.rekey(pair.now).unwrap();
    pair.a.handle(pair.now, Input::Timeout);
    pair.run(Duration::from_millis(100));
    let due = pair.a.kay.poll_timeout().unwrap();

    pair.a.kay.set_keys(due, &ring(&[(1, 7)])).unwrap();
    assert!(pair.a.kay.poll_timeout().unwrap() > due);
}
