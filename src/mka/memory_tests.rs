//! A KaY that goes on where an earlier one was.

use std::time::Duration;

use super::testing::{Pair, Seeded, Station, policy, read, ring};
use super::timers::LIFE;
use super::{CpState, Discard, Forgotten, Input, Kay, Memory, Output, Policy, PortState};
use crate::ident::{CipherSuite, KeyId, MemberId};
use crate::keyring::KeyRing;
use crate::secy::{InstalledSak, SecyCommand, SecyModel, TransmitState};
use crate::time::Time;

const SECOND: Duration = Duration::from_secs(1);

/// A pair whose first station keeps a record, let run until both are secured.
pub(super) fn secured(priority: u8) -> Pair {
    let mut pair = Pair::new(policy(1, priority), policy(2, 16));
    pair.a.kay.keep_record();
    pair.start(10 * SECOND);
    assert_eq!((pair.a.state(), pair.b.state()), (PortState::Secured, PortState::Secured));
    pair
}

/// What the data plane of a station has, after all that it was told.
pub(super) fn installed(station: &Station) -> Vec<InstalledSak> {
    let mut model = SecyModel::new(station.kay.policy().sci);
    for command in &station.commands {
        model.apply(command).unwrap();
    }
    model.saks().cloned().collect()
}

pub(super) fn open(pair: &Pair, policy: &Policy, keys: &KeyRing) -> Result<Memory, Forgotten> {
    Memory::open(pair.a.memory.as_ref().unwrap(), pair.now, policy, keys)
}

/// Ends the first station and has another go on with its record, and with `kept`.
pub(super) fn resume(pair: &Pair, kept: &[InstalledSak]) -> Result<Kay, Forgotten> {
    let (policy, keys) = (pair.a.kay.policy().clone(), ring(&[(1, 7)]));
    let memory = open(pair, &policy, &keys)?;
    Kay::resume(pair.now, policy, &keys, Box::new(Seeded::new(99)), memory, kept)
}

pub(super) fn restart(pair: &mut Pair) {
    let kept = installed(&pair.a);
    let mut kay = resume(pair, &kept).unwrap();
    kay.keep_record();
    pair.a.kay = kay;
    pair.a.handle(pair.now, Input::Timeout);
}

pub(super) fn own_mi(pair: &Pair) -> MemberId {
    pair.a.kay.status(pair.now).participants.first().unwrap().mi
}

pub(super) fn ki(pair: &Pair) -> KeyId {
    let [a, b] = [&pair.a, &pair.b].map(|of| of.kay.status(pair.now).sak.unwrap().ki);
    assert_eq!(a, b);
    a
}

#[test]
fn a_restart_changes_nothing_for_the_peer() {
    for priority in [1, 200] {
        let mut pair = secured(priority);
        let before = (own_mi(&pair), ki(&pair));
        let (told_a, told_b) = (pair.a.commands.len(), pair.b.commands.len());
        pair.now = pair.now.after(3 * SECOND);
        restart(&mut pair);
        assert_eq!(pair.a.state(), PortState::Secured);
        pair.run(60 * SECOND);
        assert_eq!((own_mi(&pair), ki(&pair)), before);
        assert_eq!((pair.a.state(), pair.b.state()), (PortState::Secured, PortState::Secured));
        assert_eq!(pair.b.commands.len(), told_b, "the peer has noticed");
        let told: Vec<_> = pair.a.commands.iter().skip(told_a).collect();
        assert!(matches!(told.as_slice(), [SecyCommand::SetControlledPort(true)]), "{told:?}");
    }
}

#[test]
fn no_message_number_is_used_twice() {
    let mut pair = secured(1);
    for _ in 0..5 {
        restart(&mut pair);
        pair.run(SECOND);
    }
    let sci = pair.a.kay.policy().sci;
    let said = pair.wire.iter().map(|frame| read(frame).basic);
    let mns: Vec<_> = said.filter(|basic| basic.sci == sci).map(|basic| basic.mn).collect();
    assert!(mns.windows(2).all(|pair| pair[0] < pair[1]), "{mns:?}");
}

/// The server's next SAK has a key number that is new for sure, and the association that follows.
#[test]
fn a_rekey_after_a_restart_goes_on_with_the_numbers() {
    let mut pair = secured(1);
    for round in 1..7 {
        let before = ki(&pair);
        restart(&mut pair);
        pair.a.kay.rekey(pair.now).unwrap();
        pair.run(10 * SECOND);
        assert_eq!(ki(&pair).server, before.server);
        assert!(ki(&pair).number > before.number);
        let an = pair.a.kay.status(pair.now).sak.unwrap().an.value();
        assert_eq!(u32::from(an), round % 4);
    }
}

/// Where the last records could not be kept, one from a little before is found.
#[test]
fn a_record_from_before_the_last_sak_names_no_other_sak_like_it() {
    let mut pair = secured(1);
    let (record, kept) = (pair.a.memory.clone(), installed(&pair.a));
    pair.a.kay.rekey(pair.now).unwrap();
    // It goes out, and is not yet in the data plane.
    pair.a.handle(pair.now, Input::Timeout);
    pair.a.memory = record;
    let mut kay = resume(&pair, &kept).unwrap();
    kay.rekey(pair.now).unwrap();
    let outputs = std::iter::from_fn(|| kay.poll_output());
    let said: Vec<_> = outputs
        .filter_map(|output| match output {
            Output::Transmit(frame) => Some(read(&frame)),
            Output::Remember(_) | Output::Secy { .. } => None,
        })
        .collect();
    let before = pair.wire.iter().map(|frame| read(frame));
    let before: Vec<_> = before.filter(|of| of.basic.mi == said[0].basic.mi).collect();
    let last = before.iter().map(|of| of.basic.mn).max().unwrap();
    assert!(said.iter().all(|of| of.basic.mn > last));
    let next = kay.saks.newest().unwrap().key.ki.number.0;
    assert!(next > 2, "{next}");
}

/// Its members have it, and the data plane never had it.
#[test]
fn an_sak_that_the_record_does_not_know_of_is_replaced_once_a_member_names_it() {
    let mut pair = secured(1);
    let (record, first, kept) = (pair.a.memory.clone(), ki(&pair), installed(&pair.a));
    pair.a.kay.rekey(pair.now).unwrap();
    pair.a.refuse = true;
    pair.a.handle(pair.now, Input::Timeout);
    pair.run(SECOND);
    (pair.a.refuse, pair.a.memory) = (false, record);
    let mut kay = resume(&pair, &kept).unwrap();
    kay.keep_record();
    pair.a.kay = kay;
    pair.a.handle(pair.now, Input::Timeout);
    pair.run(20 * SECOND);
    assert!(ki(&pair).number.0 > first.number.0 + 1);
    assert_eq!((pair.a.state(), pair.b.state()), (PortState::Secured, PortState::Secured));
}

/// The members have it, and would go over to it without us.
#[test]
fn an_sak_that_was_refused_before_a_restart_is_replaced_after_it() {
    let mut pair = secured(1);
    let first = ki(&pair);
    let kept = installed(&pair.a);
    pair.a.kay.rekey(pair.now).unwrap();
    pair.a.refuse = true;
    pair.a.handle(pair.now, Input::Timeout);
    pair.run(SECOND);
    pair.a.refuse = false;
    let mut kay = resume(&pair, &kept).unwrap();
    kay.keep_record();
    pair.a.kay = kay;
    pair.a.handle(pair.now, Input::Timeout);
    pair.run(20 * SECOND);
    assert_ne!(ki(&pair), first);
    assert_eq!((pair.a.state(), pair.b.state()), (PortState::Secured, PortState::Secured));
}

/// The data plane has an SAK that the record does not know of.
#[test]
fn a_record_from_before_an_sak_is_told_by_it() {
    let mut pair = secured(1);
    let (policy, keys) = (pair.a.kay.policy().clone(), ring(&[(1, 7)]));
    let (record, first) = (pair.a.memory.clone(), ki(&pair));
    pair.a.kay.rekey(pair.now).unwrap();
    pair.run(3 * SECOND);
    let second = ki(&pair);
    let last = open(&pair, &policy, &keys).unwrap();
    assert!(!last.is_older_than(first) && !last.is_older_than(second));
    pair.a.memory = record;
    let earlier = open(&pair, &policy, &keys).unwrap();
    assert!(!earlier.is_older_than(first) && earlier.is_older_than(second));
}

/// Two lives in a row that go by one record use nothing twice between them either.
#[test]
fn a_record_that_is_gone_by_twice_leads_to_no_number_twice() {
    let mut pair = secured(1);
    let kept = installed(&pair.a);
    let mut used = Vec::new();
    for _ in 0..5 {
        pair.now = pair.now.after(Duration::from_millis(1));
        let mut kay = resume(&pair, &kept).unwrap();
        for _ in 0..3 {
            kay.rekey(pair.now).unwrap();
            while let Some(output) = kay.poll_output() {
                if let Output::Transmit(frame) = output {
                    used.push(read(&frame).basic.mn);
                }
            }
            kay.handle(pair.now, Input::Timeout);
        }
    }
    assert!(used.len() >= 5);
    assert!(used.windows(2).all(|pair| pair[0] < pair[1]), "{used:?}");
}

/// What the key server said before the restart is not to be had again by replaying it.
#[test]
fn an_sak_from_before_the_restart_is_not_taken_after_it() {
    let mut pair = secured(200);
    let (record, kept) = (pair.a.memory.clone(), installed(&pair.a));
    let (before, older) = (pair.wire.len(), ki(&pair));
    pair.b.kay.rekey(pair.now).unwrap();
    pair.run(3 * SECOND);
    let newer = ki(&pair);
    assert_ne!(newer, older);
    pair.a.memory = record;
    let mut kay = resume(&pair, &kept).unwrap();
    for frame in pair.wire.iter().skip(before) {
        kay.handle(pair.now, Input::Frame(frame));
    }
    assert_eq!(kay.saks.newest().map(|sak| sak.key.ki), Some(older));
    assert!(kay.status(pair.now).discards.of(Discard::SakNotFromServer) > 0);
}

/// A restart between any two of the data plane's answers in a rekey, on either side.
#[test]
fn a_restart_in_the_middle_of_a_rekey_ends_it_well() {
    for (priority, at) in [1, 200].into_iter().flat_map(|of| (0..40).map(move |at| (of, at))) {
        let mut pair = secured(priority);
        let before = ki(&pair);
        let server = if priority == 1 { &mut pair.a } else { &mut pair.b };
        server.kay.rekey(pair.now).unwrap();
        pair.a.effects_left = Some(at);
        pair.a.handle(pair.now, Input::Timeout);
        pair.run(Duration::from_millis(300));
        pair.a.effects_left = None;
        restart(&mut pair);
        pair.run(30 * SECOND);
        // Where nothing was done yet, the server has forgotten that it was asked.
        let asked = at > 0 || priority != 1;
        assert_eq!(ki(&pair) != before, asked, "priority {priority}, halted after {at}");
        assert_eq!((pair.a.state(), pair.b.state()), (PortState::Secured, PortState::Secured));
        installed(&pair.a);
    }
}

#[test]
fn a_record_is_refused_where_its_peers_have_given_up() {
    let mut pair = secured(1);
    let (policy, keys) = (pair.a.kay.policy().clone(), ring(&[(1, 7)]));
    assert!(open(&pair, &policy, &keys).is_ok());
    pair.now = pair.now.after(LIFE);
    assert_eq!(open(&pair, &policy, &keys).unwrap_err(), Forgotten::Late);
    pair.now = Time::ZERO;
    assert_eq!(open(&pair, &policy, &keys).unwrap_err(), Forgotten::Clock);
}

#[test]
fn a_record_is_refused_under_another_configuration() {
    let pair = secured(1);
    let keys = ring(&[(1, 7)]);
    let own = pair.a.kay.policy().clone();
    assert_eq!(open(&pair, &own, &ring(&[(1, 8)])).unwrap_err(), Forgotten::Seal);
    assert_eq!(open(&pair, &own, &ring(&[(2, 7)])).unwrap_err(), Forgotten::Seal);
    assert!(open(&pair, &own, &ring(&[(2, 9), (1, 7)])).is_ok());
    let other = policy(3, 1);
    assert_eq!(open(&pair, &other, &keys).unwrap_err(), Forgotten::Sci(own.sci));
    let other = Policy { cipher_suites: vec![CipherSuite::GcmAes128], ..own };
    assert_eq!(open(&pair, &other, &keys).unwrap_err(), Forgotten::Unwanted);
}

#[test]
fn a_record_with_any_octet_changed_or_cut_off_is_refused() {
    let mut pair = secured(1);
    let (own, keys) = (pair.a.kay.policy().clone(), ring(&[(1, 7)]));
    let good = pair.a.memory.clone().unwrap();
    for at in 0..good.len() {
        let mut bad = good.clone();
        bad[at] ^= 1;
        pair.a.memory = Some(bad);
        assert!(open(&pair, &own, &keys).is_err(), "octet {at}");
        pair.a.memory = Some(good[..at].to_vec());
        assert!(open(&pair, &own, &keys).is_err(), "cut to {at}");
    }
}

/// Where the data plane does not send with the key in use any more, there is nothing to save.
#[test]
fn without_the_key_in_use_nothing_is_resumed() {
    let pair = secured(1);
    assert_eq!(resume(&pair, &[]).err(), Some(Forgotten::Keys));
    let mut kept = installed(&pair.a);
    kept[0].transmit = TransmitState::Superseded;
    assert_eq!(resume(&pair, &kept).err(), Some(Forgotten::Keys));
}

/// What the data plane has and the record does not know of goes.
#[test]
fn what_nobody_knows_of_is_removed() {
    let mut pair = secured(1);
    pair.a.kay.rekey(pair.now).unwrap();
    let before = installed(&pair.a);
    pair.run(20 * SECOND);
    let mut kept = installed(&pair.a);
    let mut stray = before.into_iter().next().unwrap();
    stray.transmit = TransmitState::Superseded;
    let gone = stray.key.ki;
    kept.push(stray);
    let mut kay = resume(&pair, &kept).unwrap();
    let outputs: Vec<_> = std::iter::from_fn(|| kay.poll_output()).collect();
    assert!(format!("{outputs:?}").contains(&format!("RemoveSak({gone:?})")), "{outputs:?}");
}

/// It holds nothing that was not on the wire. ICK and KEK are types that cannot be written.
#[test]
fn a_record_holds_no_secret() {
    let pair = secured(1);
    let record = pair.a.memory.clone().unwrap();
    let saks = installed(&pair.a);
    let sak = saks[0].key.sak.expose().to_vec();
    for secret in [vec![7; 16], sak] {
        assert!(!record.windows(secret.len()).any(|part| part == secret));
    }
}

#[test]
fn nothing_is_kept_where_there_is_nothing_to_save() {
    let mut pair = secured(1);
    assert!(pair.a.memory.is_some());
    pair.cut = true;
    pair.run(20 * SECOND);
    assert_ne!(pair.a.state(), PortState::Secured);
    assert_eq!(pair.a.memory, None);
}

#[test]
fn a_key_that_is_new_after_the_restart_is_armed_beside_the_old_one() {
    let mut pair = secured(1);
    let keys = ring(&[(2, 9), (1, 7)]);
    let own = pair.a.kay.policy().clone();
    let memory = open(&pair, &own, &keys).unwrap();
    let kept = installed(&pair.a);
    let seed = Box::new(Seeded::new(5));
    pair.a.kay = Kay::resume(pair.now, own, &keys, seed, memory, &kept).unwrap();
    pair.b.kay.set_keys(pair.now, &keys).unwrap();
    pair.run(20 * SECOND);
    let status = pair.a.kay.status(pair.now);
    assert_eq!(status.state, PortState::Secured);
    assert!(status.participants[0].principal);
    assert_eq!(status.cp, CpState::Retire);
}

/// The record of a pair in the middle of a rekey, with all that a record can hold.
fn sample() -> Vec<u8> {
    let mut pair = secured(1);
    pair.a.kay.rekey(pair.now).unwrap();
    pair.a.handle(pair.now, Input::Timeout);
    pair.a.memory.unwrap()
}

/// A record of this layout, written by an earlier version. Where this fails, a type in the record
/// has changed: raise `LAYOUT`, and have the next test write a new file under the new number.
#[test]
fn the_layout_is_the_one_of_its_number() {
    let record = include_bytes!("../../tests/vectors/record/1.bin");
    assert_eq!(super::memory::laid_out_alike(record), Ok(()));
}

#[test]
#[ignore = "writes the file that the test before it reads"]
fn write_a_record_of_this_layout() {
    let root = env!("CARGO_MANIFEST_DIR");
    std::fs::create_dir_all(format!("{root}/tests/vectors/record")).unwrap();
    let record = sample();
    std::fs::write(format!("{root}/tests/vectors/record/{}.bin", record[0]), &record).unwrap();
}
