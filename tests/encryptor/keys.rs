//! Which keys the next daemon keeps.

use macsecd::ident::{AssociationNumber, CipherSuite, ConfidentialityOffset, KeyNumber, Ssci};
use macsecd::secy::{InstalledSak, SecyCommand, SecyError, SecyKey, SecySettings, TransmitState};
use std::sync::Arc;

use crate::netns::eventually;
use crate::pair::{Key, STRICT};
use crate::rig::{KEY, Rig, install};

const NEXT: Key = Key { number: 2, ..KEY };

#[test]
fn of_two_keys_the_one_that_is_expected_stays() {
    let mut rig = Rig::new();
    let mut encryptor = rig.secured();
    rig.install(&mut encryptor, &NEXT);
    rig.enable(&mut encryptor, &NEXT);
    drop(encryptor);
    let traffic = rig.traffic();
    let next = rig.begin(&[rig.record(&NEXT)]);
    let kept: Vec<_> = next.kept().iter().map(|sak| (sak.key.ki, sak.transmit)).collect();
    assert_eq!(kept, [(NEXT.ki(), TransmitState::Transmitting)]);
    assert!(next.snapshot().rx.iter().all(|rx| rx.ki == NEXT.ki()));
    traffic.flows();
    drop(next);
    // What the last daemon took away is not there for the one after it.
    assert_eq!(rig.begin(&[rig.record(&KEY), rig.record(&NEXT)]).kept().len(), 1);
}

#[test]
fn where_both_are_expected_both_stay_as_they_were() {
    let mut rig = Rig::new();
    let mut encryptor = rig.secured();
    rig.install(&mut encryptor, &NEXT);
    drop(encryptor);
    let mut next = rig.begin(&[rig.record(&NEXT), rig.record(&KEY)]);
    let kept: Vec<_> = next.kept().iter().map(|sak| (sak.key.ki, sak.transmit)).collect();
    let before = [(KEY.ki(), TransmitState::Transmitting), (NEXT.ki(), TransmitState::Waiting)];
    assert_eq!(kept, before);
    // The rekey goes on where it was.
    rig.enable(&mut next, &NEXT);
    rig.traffic().flows();
    let refused = next.apply(&SecyCommand::EnableTx(KEY.ki())).unwrap_err();
    assert!(matches!(refused, SecyError::Refused(_)), "{refused}");
}

#[test]
fn where_none_is_expected_the_port_is_closed_and_its_interface_stays() {
    let mut rig = Rig::new();
    let encryptor = rig.secured();
    let (id, index) = (encryptor.id(), rig.secure_index());
    drop(encryptor);
    let mut next = rig.begin(&[]);
    assert_eq!((next.id(), rig.secure_index()), (id, index));
    assert!(next.kept().is_empty());
    let shown = next.snapshot();
    assert!(shown.tx.is_none() && shown.rx.is_empty());
    eventually("the carrier is off", || !rig.passes());
    // The key that was used is used up, for whoever asks.
    let refused = next.apply(&install(&KEY, rig.far.sci, rig.far.ssci)).unwrap_err();
    assert_eq!(refused, SecyError::KeyUsedBefore(KEY.ki()));
    rig.install(&mut next, &NEXT);
    rig.enable(&mut next, &NEXT);
    rig.open(&mut next);
    rig.traffic().flows();
}

/// Each of these would give a frame another nonce or another meaning.
#[test]
fn a_key_that_is_not_the_same_in_everything_is_removed() {
    let differs: [fn(&mut InstalledSak); 5] = [
        |sak| sak.an = AssociationNumber::from_low_bits(3),
        |sak| sak.ssci = Some(Ssci(77)),
        |sak| with_key(sak, |key| key.ki.number = KeyNumber(9)),
        |sak| with_key(sak, |key| key.suite = CipherSuite::GcmAesXpn128),
        |sak| with_key(sak, |key| key.offset = ConfidentialityOffset::IntegrityOnly),
    ];
    for differ in differs {
        let mut rig = Rig::new();
        drop(rig.secured());
        let mut record = rig.record(&KEY);
        differ(&mut record);
        let next = rig.begin(&[record]);
        assert!(next.kept().is_empty());
        assert!(next.snapshot().tx.is_none() && next.snapshot().rx.is_empty());
        eventually("the carrier is off", || !rig.passes());
    }
}

fn with_key(sak: &mut InstalledSak, change: impl FnOnce(&mut SecyKey)) {
    let key = KEY.secy_key();
    let mut key = Arc::into_inner(key).unwrap();
    change(&mut key);
    sak.key = Arc::new(key);
}

#[test]
fn settings_that_have_changed_meanwhile_hold_for_the_keys_that_stay() {
    let mut rig = Rig::new();
    drop(rig.secured());
    rig.near.set_mtu(crate::pair::PARENT, 1400);
    let mut settings = rig.settings(vec![rig.record(&KEY)]);
    settings.plane.settings = SecySettings { include_sci: false, ..STRICT };
    let observer = rig.observer();
    let next = rig.begin_with(settings).unwrap();
    assert_eq!(next.kept().len(), 1);
    assert_eq!(rig.near.mtu(crate::pair::SECURE), 1368);
    let traffic = rig.traffic();
    traffic.flows_up_to(1000);
    let frames = observer.frames();
    let sent = frames.iter().filter(|frame| frame[6..12] == [2, 0, 0, 0, 0, 1]);
    assert!(sent.clone().count() > 0 && sent.clone().all(|frame| frame[14] & 0x20 == 0));
}
