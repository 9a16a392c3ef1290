//! What a process before us left in the kernel, and what of it goes on.
//!
//! It wrote each SAK down before it asked for its SAs, so what may be there is known, and what is
//! there the kernel shows. Between the two, each SAK is judged so that no packet number can be used
//! twice: a transmit SA that is in use goes on, one that has sent nothing may be used for the first
//! time, and nothing else ever sends again. What was to be there and is not may have been, so it is
//! never installed.

use std::collections::{BTreeMap, BTreeSet};

use super::ledger::{Ledger, Life, names, set_back};
use super::seen::{Secy, SeenSa};
use super::start::{KernelSettings, Taken};
use super::uapi::OFFLOAD_OFF;
use crate::ident::{KeyId, Sci, Ssci};
use crate::secy::{InstalledSak, RxMember, SecyModel, TransmitState};

/// Finds out what goes on, with `fresh` as the wanted state where nothing does. Every key that is
/// expected counts as used from now on.
pub(super) fn adopt(
    settings: &KernelSettings,
    taken: &Taken,
    fresh: SecyModel,
) -> (SecyModel, Ledger) {
    let expected = &settings.expected;
    let found = Found::judge(expected, &taken.secy);
    let open = found.is_open;
    let (saks, unknown): (Vec<_>, Vec<_>) = found.saks.into_iter().unzip();
    let lives: Vec<_> = unknown
        .into_iter()
        .zip(&saks)
        .map(|((life, unknown), sak)| (sak.key.ki, sak.an, life, unknown))
        .collect();
    let mut ledger = Ledger::default();
    let resumed = SecyModel::resumed(settings.sci, settings.settings, open, saks);
    let mut model = match resumed {
        Ok(model) => {
            for (ki, an, life, unknown) in lives {
                ledger.go_on(ki, an, life, unknown);
            }
            model
        }
        Err(error) => {
            tracing::warn!(
                iface = %settings.name, %error,
                "what is written down of the keys contradicts itself: none goes on"
            );
            fresh
        }
    };
    ledger.note(&model, Some(&taken.secy));
    expected.iter().for_each(|sak| model.spend(sak.key.ki));
    (model, ledger)
}

/// The keys that the kernel has SAs of and that are not among those expected.
pub(super) fn unexpected(expected: &[InstalledSak], seen: &Secy) -> Vec<KeyId> {
    let received = seen.receive.iter().flat_map(|channel| &channel.sas);
    let found: BTreeSet<_> = seen.transmit.iter().chain(received).map(|sa| sa.ki).collect();
    let known = |ki: &KeyId| expected.iter().any(|sak| names(*ki, sak.key.ki));
    found.into_iter().filter(|ki| !known(ki)).collect()
}

/// The SAKs that go on, each with the life of its transmit SA, and whom it may have received.
struct Found {
    saks: Vec<(InstalledSak, (Life, BTreeSet<Sci>))>,
    /// Frames go out with one of them. While the Controlled Port is closed they go to an association
    /// that has no SA; that the interface is dormant says less, as the kernel makes it so by itself
    /// whenever the carrier has come.
    is_open: bool,
}

impl Found {
    fn judge(expected: &[InstalledSak], seen: &Secy) -> Self {
        let left: Vec<_> = expected.iter().filter_map(|sak| Left::of(sak, seen)).collect();
        // The kernel has one transmit SA of an association, and who is to have it must be clear.
        let others = |of: &Left<'_>| left.iter().filter(|other| other.sak.an == of.sak.an).count();
        let left: Vec<_> =
            left.iter().filter(|of| of.state != State::Gone || others(of) == 1).collect();
        let in_use = || left.iter().filter(|of| of.state == State::InUse).map(|of| of.sak);
        let encoding = in_use().find(|sak| sak.an == seen.encoding);
        // The newest while the port is closed, and frames go to an association that has none.
        let newest = in_use().find(|sak| !in_use().any(|other| follows(other, sak)));
        let sends = encoding.or(newest);
        let judged = left.iter().map(|of| of.go_on(sends));
        Self { saks: judged.collect(), is_open: encoding.is_some() }
    }
}

/// An SAK of which the kernel has something.
struct Left<'a> {
    sak: &'a InstalledSak,
    state: State,
    /// Those whose receive SA is there.
    receivers: BTreeMap<Sci, RxMember>,
    unknown: BTreeSet<Sci>,
}

/// How a transmit SA was found.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum State {
    /// Not there, or not as it must be.
    Gone,
    /// It has sent nothing and cannot have.
    Unused,
    InUse,
    /// It may have sent, and cannot now.
    SwitchedOff,
}

impl<'a> Left<'a> {
    fn of(sak: &'a InstalledSak, seen: &Secy) -> Option<Self> {
        let (ki, an) = (sak.key.ki, sak.an);
        if seen.suite != Some(sak.key.suite) || sak.key.offset.octets() > 0 {
            return None;
        }
        let is_ours = |sa: &SeenSa, ssci: Option<Ssci>| (sa.ki, sa.ssci) == (ki, ssci);
        let sa = seen.sent_with(an).filter(|sa| is_ours(sa, sak.ssci));
        let copied = seen.transmit.iter().any(|of| names(of.ki, ki) && (of.ki, of.an) != (ki, an));
        let counts = seen.offload == OFFLOAD_OFF;
        let state = match sa {
            Some(sa) if copied || sa.pn == 0 || (counts && set_back(sa)) => State::Gone,
            Some(sa) if sa.active => State::InUse,
            // A network card counts for itself, and the kernel shows the number it began with.
            Some(sa) if sa.pn == 1 && counts => State::Unused,
            Some(_) => State::SwitchedOff,
            None => State::Gone,
        };
        let received = |member: &RxMember| {
            let sa = seen.channel(member.sci).and_then(|channel| channel.sa(an));
            sa.is_some_and(|sa| is_ours(sa, member.ssci))
        };
        let (there, missing): (Vec<&RxMember>, Vec<&RxMember>) =
            sak.receivers.values().partition(|member| received(member));
        if sa.is_none() && there.is_empty() {
            return None;
        }
        let receivers = there.into_iter().map(|member| (member.sci, *member)).collect();
        let unknown = missing.into_iter().map(|member| member.sci).collect();
        Some(Self { sak, state, receivers, unknown })
    }

    /// Words the judgement, given the SAK that frames go out with.
    fn go_on(&self, sends: Option<&InstalledSak>) -> (InstalledSak, (Life, BTreeSet<Sci>)) {
        let is_it = sends.is_some_and(|sends| sends.key.ki == self.sak.key.ki);
        let superseded = self.sak.transmit == TransmitState::Superseded
            || sends.is_some_and(|sends| follows(sends, self.sak));
        let transmit = match (is_it, superseded) {
            (true, _) => TransmitState::Transmitting,
            (false, true) => TransmitState::Superseded,
            (false, false) => TransmitState::Waiting,
        };
        let life = match self.state {
            State::Unused => Life::Added,
            State::InUse => Life::Active,
            // As its successor has left it.
            State::SwitchedOff if superseded => Life::Active,
            State::SwitchedOff | State::Gone => Life::Over,
        };
        let sak = InstalledSak { receivers: self.receivers.clone(), transmit, ..self.sak.clone() };
        (sak, (life, self.unknown.clone()))
    }
}

/// Whether an SAK was made to take over from another. A key server numbers upwards; between two of
/// them, what was written down last has to do.
fn follows(sak: &InstalledSak, other: &InstalledSak) -> bool {
    let (this, that) = (sak.key.ki, other.key.ki);
    if this.server == that.server {
        return this.number > that.number;
    }
    match (other.transmit, sak.transmit) {
        (TransmitState::Superseded, TransmitState::Waiting | TransmitState::Transmitting)
        | (TransmitState::Transmitting, TransmitState::Waiting) => true,
        (TransmitState::Superseded, TransmitState::Superseded)
        | (TransmitState::Transmitting, TransmitState::Transmitting | TransmitState::Superseded)
        | (TransmitState::Waiting, _) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use crate::dataplane::Offload;
    use crate::dataplane::kernel::fixture::{OWN, PEER, an, install, ki, sa, seen};
    use crate::dataplane::kernel::link::Link;
    use crate::ident::{CipherSuite, KeyId, KeyNumber, MemberId};
    use crate::secy::{SecyCommand, SecyError};
    use TransmitState::{Superseded, Transmitting, Waiting};

    /// What is written down of a key.
    fn record(number: u32, on: u8, transmit: TransmitState) -> InstalledSak {
        let mut model = SecyModel::new(OWN);
        model.apply(&install(number, on)).unwrap();
        let sak = model.sak(ki(number)).unwrap().clone();
        InstalledSak { transmit, ..sak }
    }

    /// The same of another key server.
    fn of_another_server(sak: InstalledSak) -> InstalledSak {
        let key = crate::secy::SecyKey {
            ki: other(sak.key.ki),
            suite: sak.key.suite,
            offset: sak.key.offset,
            sak: crate::crypto::Sak::new(zeroize::Zeroizing::new(vec![2; 16])).unwrap(),
            salt: None,
        };
        InstalledSak { key: std::sync::Arc::new(key), ..sak }
    }

    fn other(ki: KeyId) -> KeyId {
        KeyId { server: MemberId::from_octets([8; 12]), ..ki }
    }

    fn taken(secy: Secy) -> Taken {
        let link = Link {
            index: 9,
            name: "macsec0".to_owned(),
            kind: "macsec".to_owned(),
            parent: Some(3),
            mtu: 1468,
            up: true,
            carrier: true,
            oper_state: super::super::uapi::OPER_UP,
            link_mode: 1,
            tx_dropped: 0,
        };
        Taken { secy, link, made: false }
    }

    fn settings(expected: &[InstalledSak]) -> KernelSettings {
        KernelSettings {
            parent: "eth1".to_owned(),
            parent_index: 3,
            name: "macsec0".to_owned(),
            sci: OWN,
            suites: vec![CipherSuite::GcmAes128],
            settings: *SecyModel::new(OWN).settings(),
            offload: Offload::Off,
            expected: expected.to_vec(),
        }
    }

    fn adopted(expected: &[InstalledSak], secy: Secy) -> (SecyModel, Ledger) {
        adopt(&settings(expected), &taken(secy), SecyModel::new(OWN))
    }

    /// What becomes of key 1, written down like this and shown like this, beside others.
    fn verdict(
        transmit: TransmitState,
        shown: SeenSa,
        beside: &[(InstalledSak, SeenSa)],
    ) -> (Life, TransmitState, Vec<KeyId>) {
        let mut expected = vec![record(1, 1, transmit)];
        expected.extend(beside.iter().map(|(sak, _)| sak.clone()));
        let sas = [shown].into_iter().chain(beside.iter().map(|(_, sa)| *sa));
        let (model, mut ledger) = adopted(&expected, seen(sas.collect()));
        (ledger.life(ki(1)), model.sak(ki(1)).unwrap().transmit, ledger.take_lost())
    }

    #[test]
    fn a_transmit_sa_that_is_in_use_goes_on_whatever_is_written_down() {
        for transmit in [Waiting, Transmitting, Superseded] {
            let found = verdict(transmit, sa(1, 1, 500, true), &[]);
            assert_eq!(found, (Life::Active, Transmitting, vec![]), "{transmit:?}");
        }
    }

    #[test]
    fn one_that_has_sent_nothing_may_still_be_used_for_the_first_time() {
        for transmit in [Waiting, Transmitting] {
            let found = verdict(transmit, sa(1, 1, 1, false), &[]);
            assert_eq!(found, (Life::Added, Waiting, vec![]), "{transmit:?}");
        }
        let found = verdict(Superseded, sa(1, 1, 1, false), &[]);
        assert_eq!(found, (Life::Added, Superseded, vec![]));
    }

    #[test]
    fn one_that_may_have_sent_and_does_not_now_never_does_again() {
        for shown in [
            sa(1, 1, 2, false),
            sa(1, 1, 0, false),
            // As after `set tx sa 1 on` when its numbers had run out.
            sa(1, 1, 0, true),
            // Set back.
            SeenSa { sent: 9, ..sa(1, 1, 5, true) },
            SeenSa { sent: 9, ..sa(1, 1, 1, false) },
            // Of another SSCI, which is another nonce.
            SeenSa { ssci: Some(Ssci(1)), ..sa(1, 1, 5, true) },
        ] {
            let mut secy = seen(vec![shown]);
            secy.receive[0].sas = vec![sa(1, 1, 7, true)];
            let (model, mut ledger) = adopted(&[record(1, 1, Transmitting)], secy);
            assert_eq!(ledger.life(ki(1)), Life::Over, "{shown:?}");
            assert_eq!((model.transmitting_ki(), ledger.take_lost()), (None, vec![ki(1)]));
            assert!(!model.controlled_port());
        }
    }

    /// Somebody else has the same key under another number or name, and may have sent with it.
    #[test]
    fn one_that_is_there_twice_never_sends_again() {
        let swapped = KeyId { number: KeyNumber(1_u32.swap_bytes()), ..ki(1) };
        for copy in [sa(1, 3, 9, false), SeenSa { ki: swapped, ..sa(1, 2, 9, true) }] {
            let (_, ledger) =
                adopted(&[record(1, 1, Transmitting)], seen(vec![sa(1, 1, 500, true), copy]));
            assert_eq!(ledger.life(ki(1)), Life::Over, "{copy:?}");
        }
    }

    /// The kernel shows the packet number that the card began with.
    #[test]
    fn on_a_network_card_only_what_is_in_use_goes_on() {
        for (shown, life) in [(sa(1, 1, 1, true), Life::Active), (sa(1, 1, 1, false), Life::Over)] {
            let secy = Secy { offload: 2, ..seen(vec![shown]) };
            let (_, ledger) = adopted(&[record(1, 1, Transmitting)], secy);
            assert_eq!(ledger.life(ki(1)), life);
        }
    }

    /// At each step of a rekey, with what was written down before it and after.
    #[test]
    fn a_rekey_that_was_cut_off_goes_on_from_where_it_was() {
        let old = |pn, active| sa(1, 1, pn, active);
        let new = |pn, active| sa(2, 2, pn, active);
        for (encoding, old, new, lives) in [
            (
                1,
                old(50, true),
                new(1, false),
                [(Life::Active, Transmitting), (Life::Added, Waiting)],
            ),
            (
                1,
                old(50, true),
                new(1, true),
                [(Life::Active, Transmitting), (Life::Active, Waiting)],
            ),
            (
                2,
                old(50, true),
                new(9, true),
                [(Life::Active, Superseded), (Life::Active, Transmitting)],
            ),
            (
                2,
                old(50, false),
                new(9, true),
                [(Life::Active, Superseded), (Life::Active, Transmitting)],
            ),
            // Nothing had been sent with it.
            (
                2,
                old(1, false),
                new(1, true),
                [(Life::Added, Superseded), (Life::Active, Transmitting)],
            ),
            // While the port is closed, frames go to an association without an SA.
            (
                3,
                old(50, true),
                new(1, true),
                [(Life::Active, Superseded), (Life::Active, Transmitting)],
            ),
        ] {
            for another in [false, true] {
                for [first, second] in [[Transmitting, Waiting], [Superseded, Transmitting]] {
                    let (mut newer, mut shown) = (record(2, 2, second), new);
                    if another {
                        (newer, shown.ki) = (of_another_server(newer), other(ki(2)));
                    }
                    let secy = Secy { encoding: an(encoding), ..seen(vec![old, shown]) };
                    let expected = [record(1, 1, first), newer];
                    let (model, mut ledger) = adopted(&expected, secy);
                    let of = |ki| (ledger.life(ki), model.sak(ki).unwrap().transmit);
                    let found = [of(ki(1)), of(shown.ki)];
                    assert_eq!(found, lives, "{old:?} {shown:?} {first:?} {second:?}");
                    assert_eq!(model.controlled_port(), encoding != 3);
                    assert_eq!(ledger.take_lost(), []);
                }
            }
        }
    }

    #[test]
    fn what_was_expected_and_is_not_there_is_never_installed() {
        let (mut model, ledger) = adopted(&[record(1, 1, Waiting)], seen(vec![]));
        assert_eq!((model.saks().count(), ledger.life(ki(1))), (0, Life::Over));
        assert_eq!(model.apply(&install(1, 1)), Err(SecyError::KeyUsedBefore(ki(1))));
        assert_eq!(model.apply(&install(2, 1)), Ok(()));
    }

    /// What others send with it is received, until there is another key.
    #[test]
    fn a_key_without_its_transmit_sa_only_receives() {
        let mut secy = seen(vec![]);
        secy.receive[0].sas = vec![sa(1, 1, 77, true)];
        let (mut model, mut ledger) = adopted(&[record(1, 1, Transmitting)], secy);
        assert_eq!(model.sak(ki(1)).unwrap().receivers.len(), 1);
        assert_eq!((ledger.life(ki(1)), ledger.take_lost()), (Life::Over, vec![ki(1)]));
        assert_eq!(ledger.received(ki(1), PEER), 77);
        assert_eq!(model.apply(&install(1, 2)), Err(SecyError::KeyUsedBefore(ki(1))));
    }

    #[test]
    fn a_member_of_which_nothing_is_there_is_not_received_with_the_key_again() {
        let third = Sci::new(crate::ident::MacAddress([2, 0, 0, 0, 0, 3]), 1);
        let (model, ledger) = adopted(&[record(1, 1, Transmitting)], seen(vec![sa(1, 1, 9, true)]));
        assert_eq!(model.sak(ki(1)).unwrap().receivers.len(), 0);
        assert!(ledger.refuses(ki(1), PEER).is_some());
        // It has never been received with it.
        assert_eq!(ledger.refuses(ki(1), third), None);
    }

    #[test]
    fn a_port_is_open_while_frames_go_out_and_closed_while_they_go_nowhere() {
        for (encoding, open) in [(1, true), (2, false)] {
            let secy = Secy { encoding: an(encoding), ..seen(vec![sa(1, 1, 9, true)]) };
            let (model, _) = adopted(&[record(1, 1, Transmitting)], secy);
            assert_eq!(model.controlled_port(), open);
            assert_eq!(model.transmitting_ki(), Some(ki(1)));
        }
    }

    #[test]
    fn of_two_keys_on_one_association_the_one_with_the_transmit_sa_goes_on() {
        let mut secy = seen(vec![sa(5, 1, 9, true)]);
        secy.receive[0].sas = vec![sa(1, 1, 77, true)];
        let expected = [record(1, 1, Superseded), record(5, 1, Waiting)];
        let (model, _) = adopted(&expected, secy);
        assert_eq!(model.saks().map(|sak| sak.key.ki).collect::<Vec<_>>(), [ki(5)]);
    }

    #[test]
    fn what_contradicts_itself_goes_on_in_no_part_and_counts_as_used() {
        let twice = [record(1, 1, Transmitting), record(1, 1, Transmitting)];
        let (mut model, ledger) = adopted(&twice, seen(vec![sa(1, 1, 9, true)]));
        assert_eq!((model.saks().count(), ledger.life(ki(1))), (0, Life::Over));
        assert!(matches!(model.apply(&install(1, 1)), Err(SecyError::KeyUsedBefore(_))));
    }

    #[test]
    fn a_key_of_another_suite_than_the_interface_does_not_go_on() {
        let secy = Secy { suite: Some(CipherSuite::GcmAes256), ..seen(vec![sa(1, 1, 9, true)]) };
        let (model, ledger) = adopted(&[record(1, 1, Transmitting)], secy);
        assert_eq!(model.saks().count(), 0);
        assert!(ledger.is_foreign(ki(1)));
    }

    #[test]
    fn what_nobody_expects_does_not_go_on_beside_what_is_expected() {
        let secy = seen(vec![sa(1, 1, 9, true), sa(6, 2, 9, true)]);
        let (mut model, ledger) = adopted(&[record(1, 1, Transmitting)], secy);
        assert_eq!(model.saks().count(), 1);
        assert!(ledger.is_foreign(ki(6)) && !ledger.is_foreign(ki(1)));
        assert_eq!(model.apply(&SecyCommand::RemoveSak(ki(1))), Ok(()));
    }
}
