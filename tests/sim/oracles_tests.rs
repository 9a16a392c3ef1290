//! Each oracle can fail: it is shown what must never be.

use macsecd::crypto::Sak;
use macsecd::ident::{CipherSuite, ConfidentialityOffset, MacAddress};
use zeroize::Zeroizing;

use super::*;

const SAK: SakId = SakId(0);

const NONE: Excuse = Excuse { is_stale: false, is_lied_to: false, beginnings: 0 };
const STALE: Excuse = Excuse { is_stale: true, ..NONE };

fn sci(last: u8) -> Sci {
    Sci::new(MacAddress([2, 0, 0, 0, 0, last]), 1)
}

fn ki(server: u8, number: u32) -> KeyId {
    KeyId { server: MemberId::from_octets([server; 12]), number: KeyNumber(number) }
}

fn key(ki: KeyId, octet: u8) -> Arc<SecyKey> {
    let sak = Sak::new(Zeroizing::new(vec![octet; 16])).unwrap();
    let (suite, offset) = (CipherSuite::GcmAes128, ConfidentialityOffset::Offset0);
    Arc::new(SecyKey { ki, suite, offset, sak, salt: None })
}

fn at(seconds: u64) -> Time {
    Time::ZERO.after(Duration::from_secs(seconds))
}

fn broken(result: Result<impl fmt::Debug, Violation>) -> &'static str {
    result.unwrap_err().oracle
}

#[test]
fn i1_sees_a_nonce_used_twice() {
    let mut nonces = Nonces::default();
    let channel = Channel::Full(sci(1));
    for pn in [1, 2, 3, 10, 11, 5] {
        nonces.spend(SAK, channel, pn).unwrap();
    }
    nonces.spend(SAK, Channel::Full(sci(2)), 2).unwrap();
    nonces.spend(SakId(1), channel, 2).unwrap();
    for pn in [1, 2, 3, 5, 10, 11] {
        assert_eq!(broken(nonces.spend(SAK, channel, pn)), "I1 nonces", "{pn}");
    }
    nonces.spend(SAK, channel, 4).unwrap();
}

#[test]
fn i1_sees_two_members_that_share_an_ssci() {
    let mut nonces = Nonces::default();
    nonces.spend(SAK, Channel::Short(Ssci(2)), 1).unwrap();
    assert_eq!(broken(nonces.spend(SAK, Channel::Short(Ssci(2)), 1)), "I1 nonces");
}

#[test]
fn i2_sees_a_key_installed_twice_even_over_a_restart() {
    let mut installs = Installs::default();
    installs.install(0, ki(1, 1), NONE).unwrap();
    installs.install(1, ki(1, 1), NONE).unwrap();
    installs.lose(0, None);
    assert_eq!(broken(installs.install(0, ki(1, 1), NONE)), "I2 installs");
}

#[test]
fn i2_sees_a_key_that_comes_back_and_one_that_never_was() {
    let mut installs = Installs::default();
    assert_eq!(broken(installs.enable(0, ki(1, 1))), "I2 installs");
    installs.install(0, ki(1, 1), NONE).unwrap();
    installs.install(0, ki(1, 2), NONE).unwrap();
    installs.enable(0, ki(1, 1)).unwrap();
    installs.enable(0, ki(1, 2)).unwrap();
    assert_eq!(broken(installs.enable(0, ki(1, 1))), "I2 installs");
    installs.lose(0, Some(ki(1, 2)));
    assert_eq!(broken(installs.enable(0, ki(1, 2))), "I2 installs");
}

#[test]
fn i2_lets_an_old_record_install_again_what_nothing_was_sent_with() {
    let mut installs = Installs::default();
    installs.install(0, ki(1, 1), NONE).unwrap();
    installs.install(0, ki(1, 2), NONE).unwrap();
    installs.enable(0, ki(1, 1)).unwrap();
    installs.install(0, ki(1, 2), STALE).unwrap();
    assert_eq!(broken(installs.install(0, ki(1, 1), STALE)), "I2 installs");
}

#[test]
fn i2_lets_a_liar_use_a_name_again_only_where_a_station_has_begun_afresh() {
    let mut installs = Installs::default();
    let lied_to = Excuse { is_lied_to: true, ..NONE };
    installs.install(0, ki(1, 1), lied_to).unwrap();
    assert_eq!(broken(installs.install(0, ki(1, 1), lied_to)), "I2 installs");
    let afresh = Excuse { beginnings: 1, ..NONE };
    assert_eq!(broken(installs.install(0, ki(1, 1), afresh)), "I2 installs");
    installs.install(0, ki(1, 1), Excuse { beginnings: 2, ..lied_to }).unwrap();
}

#[test]
fn a_message_number_said_twice_is_seen() {
    let (mut numbers, mi) = (Numbers::default(), MemberId::from_octets([1; 12]));
    numbers.say(0, mi, 1).unwrap();
    numbers.say(0, mi, 5).unwrap();
    numbers.say(1, mi, 5).unwrap();
    assert_eq!(broken(numbers.say(0, mi, 5)), "MN");
}

#[test]
fn i3_sees_one_name_for_two_keys_and_two_names_for_one() {
    let mut keys = Keys::default();
    let first = keys.learn(&key(ki(1, 1), 7)).unwrap();
    assert_eq!(keys.learn(&key(ki(1, 1), 7)), Ok(first));
    assert_eq!(broken(keys.learn(&key(ki(1, 1), 8))), "I3 keys");
    assert_eq!(broken(keys.learn(&key(ki(1, 2), 7))), "I3 keys");
}

#[test]
fn i3_sees_key_numbers_that_do_not_rise() {
    let mut keys = Keys::default();
    keys.rise(0, ki(1, 2), NONE).unwrap();
    keys.rise(0, ki(2, 1), NONE).unwrap();
    keys.rise(1, ki(1, 1), NONE).unwrap();
    assert_eq!(broken(keys.rise(0, ki(1, 2), NONE)), "I3 keys");
}

/// A key server, with its own SAK and nobody there.
fn server() -> Start<'static> {
    Start { station: 0, sci: sci(0), ki: ki(1, 1), is_server: true, servers: &[], peers: &[] }
}

#[test]
fn i5_sees_a_key_server_that_does_not_wait_for_a_peer() {
    let start = Start { peers: &[1, 2], ..server() };
    let mut changeover = Changeover::default();
    changeover.installed(at(1), ki(1, 1), 0);
    changeover.receives(ki(1, 1), 1, sci(0));
    changeover.receives(ki(1, 1), 2, sci(1));
    assert_eq!(broken(changeover.start(at(6), &start)), "I5 changeover");
    changeover.start(at(7), &start).unwrap();
    changeover.receives(ki(1, 1), 2, sci(0));
    changeover.start(at(6), &start).unwrap();
}

#[test]
fn i5_sees_a_member_that_does_not_wait_for_the_key_server() {
    let servers = [sci(0)];
    let member = Start { station: 1, sci: sci(1), is_server: false, servers: &servers, ..server() };
    let mut changeover = Changeover::default();
    changeover.installed(at(1), ki(1, 1), 1);
    assert_eq!(broken(changeover.start(at(2), &member)), "I5 changeover");
    changeover.start(at(2), &server()).unwrap();
    changeover.start(at(2), &member).unwrap();
    // The next key server has it from the first one, and says as little of others.
    let next = Start { is_server: true, servers: &[], peers: &[2], ..member };
    assert_eq!(broken(changeover.start(at(2), &next)), "I5 changeover");
    changeover.receives(ki(1, 1), 2, sci(1));
    changeover.start(at(2), &next).unwrap();
}

#[test]
fn i6_sees_a_peer_that_is_live_without_proof() {
    let (mut proofs, own) = (Proofs::default(), MemberId::from_octets([1; 12]));
    assert_eq!(broken(proofs.live(at(1), own, 1, Duration::ZERO)), "I6 proofs");
    proofs.hear(at(5), own, 1);
    proofs.hear(at(4), own, 1);
    proofs.live(at(17), own, 1, Duration::ZERO).unwrap();
    assert_eq!(broken(proofs.live(at(18), own, 1, Duration::ZERO)), "I6 proofs");
    assert_eq!(broken(proofs.live(at(6), own, 2, Duration::ZERO)), "I6 proofs");
}

#[test]
fn storms_are_seen_and_a_second_later_forgotten() {
    let mut storms = Storms::default();
    let speaker = |life| Talker::Participant { station: 0, life, ckn: vec![1] };
    let commander = Talker::Commander { station: 0, life: 1 };
    for _ in 0..Storms::MKPDUS_MAX {
        storms.talk(at(1), speaker(1)).unwrap();
    }
    storms.talk(at(1), speaker(2)).unwrap();
    assert_eq!(broken(storms.talk(at(1), speaker(1))), "storm");
    storms.talk(at(2), speaker(1)).unwrap();
    for _ in 0..Storms::COMMANDS_MAX {
        storms.talk(at(2), commander.clone()).unwrap();
    }
    assert_eq!(broken(storms.talk(at(2), commander)), "storm");
}

#[test]
fn a_busy_loop_and_a_hello_forgotten_are_seen() {
    for wake in [Some(at(5)), Some(at(4)), Some(at(8)), None] {
        assert_eq!(broken(progress(at(5), at(5), 0, true, wake)), "progress", "{wake:?}");
    }
    progress(at(5), at(8), 0, true, Some(at(10))).unwrap();
    for (carrier, wake) in [(true, Some(at(7))), (false, Some(at(9))), (false, None)] {
        progress(at(5), at(5), 0, carrier, wake).unwrap();
    }
}

#[test]
fn i10_sees_a_ca_that_does_not_recover_in_time() {
    let mut recovery = Recovery::default();
    recovery.look(at(100), Some("not begun".to_owned())).unwrap();
    recovery.begin(at(100));
    recovery.look(at(111), Some("pending".to_owned())).unwrap();
    assert_eq!(broken(recovery.look(at(112), Some("pending".to_owned()))), "I10 liveness");
    recovery.look(at(111), None).unwrap();
    assert_eq!(recovery.took, Some(Duration::from_secs(11)));
}

#[test]
fn a_lost_frame_is_seen() {
    Losses { due: 7, delivered: 7 }.check().unwrap();
    assert_eq!(broken(Losses { due: 7, delivered: 6 }.check()), "make before break");
}

#[test]
fn i4_sees_an_open_port_that_does_not_protect() {
    assert_eq!(broken(not_in_clear(0, true, true, false)), "I4 clear text");
    not_in_clear(0, true, true, true).unwrap();
    not_in_clear(0, true, false, false).unwrap();
    not_in_clear(0, false, true, false).unwrap();
}

#[test]
fn a_model_that_disagrees_is_seen() {
    let refused = Err(SecyError::NoSuchKey(ki(1, 1)));
    assert_eq!(broken(agree(0, &Ok(()), &refused, true)), "models");
    assert_eq!(broken(agree(0, &refused, &Ok(()), true)), "models");
    assert_eq!(broken(agree(0, &Ok(()), &Ok(()), false)), "models");
    agree(0, &refused, &refused, true).unwrap();
    agree(0, &Ok(()), &Ok(()), true).unwrap();
}
