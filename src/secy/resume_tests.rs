//! What a SecY goes on with that another process has installed.

use std::collections::BTreeMap;

use crate::ident::{CipherSuite, ConfidentialityOffset, PacketNumber, Sci, Ssci};
use crate::secy::fixture::{OWN, PEER, STRICT, THIRD, an, ki, member, secy_key};
use crate::secy::{
    InstallSak, InstalledSak, RxMember, SecyCommand, SecyError, SecyModel, SecySettings,
    TransmitState,
};

use TransmitState::{Superseded, Transmitting, Waiting};

fn sak(number: u32, on: u8, transmit: TransmitState, receive: &[RxMember]) -> InstalledSak {
    let suite = match receive.first().and_then(|member| member.ssci) {
        Some(_) => CipherSuite::GcmAesXpn128,
        None => CipherSuite::GcmAes128,
    };
    InstalledSak {
        key: secy_key(ki(number), suite, ConfidentialityOffset::Offset0),
        an: an(on),
        ssci: suite.is_xpn().then_some(Ssci(1)),
        receivers: receive.iter().map(|member| (member.sci, *member)).collect(),
        transmit,
    }
}

fn resumed(saks: &[InstalledSak]) -> Result<SecyModel, SecyError> {
    SecyModel::resumed(OWN, STRICT, true, saks.iter().cloned())
}

fn install(number: u32, on: u8) -> SecyCommand {
    let key = secy_key(ki(number), CipherSuite::GcmAes128, ConfidentialityOffset::Offset0);
    SecyCommand::InstallSak(InstallSak { key, an: an(on), ssci: None, receive: Vec::new() })
}

#[test]
fn it_goes_on_as_it_was() {
    let model = resumed(&[
        sak(8, 0, Transmitting, &[member(PEER, None)]),
        // The older one is on the higher number.
        sak(7, 3, Superseded, &[member(PEER, None), member(THIRD, None)]),
    ]);
    let model = model.unwrap();
    assert!(model.controlled_port());
    assert_eq!(model.transmitting_ki(), Some(ki(8)));
    assert_eq!(model.channels().iter().copied().collect::<Vec<Sci>>(), [PEER, THIRD]);
    assert_eq!(model.sak(ki(7)).unwrap().transmit, Superseded);
    assert_eq!(model.settings(), &STRICT);
}

#[test]
fn a_key_that_is_there_counts_as_used_and_its_association_as_taken() {
    let mut model = resumed(&[sak(8, 0, Waiting, &[])]).unwrap();
    assert_eq!(model.apply(&install(8, 1)), Err(SecyError::KeyUsedBefore(ki(8))));
    let busy = SecyError::AssociationBusy { an: an(0), by: ki(8) };
    assert_eq!(model.apply(&install(9, 0)), Err(busy));
    model.apply(&SecyCommand::RemoveSak(ki(8))).unwrap();
    assert_eq!(model.apply(&install(8, 1)), Err(SecyError::KeyUsedBefore(ki(8))));
    assert_eq!(model.apply(&install(9, 0)), Ok(()));
}

#[test]
fn a_key_that_was_spent_without_being_there_is_never_installed() {
    let mut model = SecyModel::new(OWN);
    model.spend(ki(8));
    assert_eq!(model.apply(&install(8, 0)), Err(SecyError::KeyUsedBefore(ki(8))));
    assert_eq!(model.apply(&install(9, 0)), Ok(()));
}

#[test]
fn what_superseded_another_before_is_not_gone_back_from() {
    let saks = [sak(8, 0, Transmitting, &[]), sak(7, 3, Superseded, &[])];
    let mut model = resumed(&saks).unwrap();
    let refused = model.apply(&SecyCommand::EnableTx(ki(7)));
    assert!(matches!(refused, Err(SecyError::Invalid(_))));
}

#[test]
fn saks_that_cannot_be_there_together_are_refused() {
    let of = |saks: &[InstalledSak]| resumed(saks).unwrap_err();
    let busy = SecyError::AssociationBusy { an: an(2), by: ki(1) };
    assert_eq!(of(&[sak(1, 2, Waiting, &[]), sak(2, 2, Waiting, &[])]), busy);
    let twice = [sak(1, 0, Waiting, &[]), sak(1, 1, Waiting, &[])];
    assert_eq!(of(&twice), SecyError::KeyUsedBefore(ki(1)));
    let two = [sak(1, 0, Transmitting, &[]), sak(2, 1, Transmitting, &[])];
    assert!(matches!(of(&two), SecyError::Invalid(_)));
}

/// As when it is installed.
#[test]
fn a_sak_with_members_that_it_cannot_have_is_refused() {
    let shared = [member(PEER, Some(2)), member(THIRD, Some(2))];
    let ours = [member(PEER, Some(1))];
    let mixed = [member(PEER, Some(2)), member(THIRD, None)];
    let own = [member(OWN, None)];
    for members in [&shared[..], &ours, &mixed, &own] {
        let refused = resumed(&[sak(1, 0, Waiting, members)]);
        assert!(matches!(refused, Err(SecyError::Invalid(_))), "{members:?}");
    }
    let good = [member(PEER, Some(2)), member(THIRD, Some(3))];
    assert!(resumed(&[sak(1, 0, Waiting, &good)]).is_ok());
    let wide = SecySettings { replay_window: 1 << 30, ..STRICT };
    let refused = SecyModel::resumed(OWN, wide, true, [sak(1, 0, Waiting, &good)]);
    assert!(matches!(refused, Err(SecyError::Invalid(_))));
}

#[test]
fn the_lowest_packet_number_of_a_member_stays_where_it_was() {
    let raised = RxMember { lowest_pn: PacketNumber(50), ..member(PEER, None) };
    let model = resumed(&[sak(1, 0, Waiting, &[raised])]).unwrap();
    let expected = BTreeMap::from([(PEER, raised)]);
    assert_eq!(model.sak(ki(1)).unwrap().receivers, expected);
}
