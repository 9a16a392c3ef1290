//! What has become of each SAK in the kernel.
//!
//! The kernel keeps no rule about nonces: it would set a packet number back, start a used-up SA
//! again, or take a deleted key once more. So the life of each transmit SA is kept here, and only
//! goes forward; what the kernel shows that does not fit ends it. A receive SA may be put back, at
//! no lower packet number than it was seen with.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::seen::{Secy, SeenSa};
use super::uapi::OFFLOAD_OFF;
use crate::ident::{AssociationNumber, KeyId, KeyNumber, Sci};
use crate::secy::{InstalledSak, SecyModel, TransmitState};

/// The life of a transmit SA.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Life {
    /// Never asked for.
    Fresh,
    /// Asked for; the answer is not known.
    Adding,
    /// There, not in use, and at packet number 1.
    Added,
    /// Told to be in use; the answer is not known.
    Activating,
    /// It has been in use.
    Active,
    /// It may have been in use and is not any more: nothing brings it back.
    Over,
}

/// An SAK's SAs, as last known.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    an: AssociationNumber,
    pub(super) life: Life,
    /// That its transmit SA is over has been reported.
    told: bool,
    /// The highest packet number that its transmit SA was seen with.
    sent: u64,
    /// The same of its receive SAs, and of those that were removed.
    received: BTreeMap<Sci, u64>,
    /// Members that a process before us may have received with it, and nobody knows how far.
    unknown: BTreeSet<Sci>,
}

/// All SAKs that the model has.
#[derive(Clone, Debug, Default)]
pub(super) struct Ledger {
    entries: BTreeMap<KeyId, Entry>,
    lost: Vec<KeyId>,
    /// Keys that the kernel had of somebody else, a process before us among them. The last come
    /// last.
    foreign: VecDeque<KeyId>,
}

/// The most members that are remembered of one SAK, those that left included.
pub(super) const MEMBERS_MAX: usize = 512;
/// Other people's keys that are remembered. A key server that is alive offers only its last.
const FOREIGN_MAX: usize = 256;

impl Ledger {
    /// Begins the life of a key. One that it has keeps its own.
    pub(super) fn begin(&mut self, ki: KeyId, an: AssociationNumber) {
        let entry = Entry {
            an,
            life: Life::Fresh,
            told: false,
            sent: 0,
            received: BTreeMap::new(),
            unknown: BTreeSet::new(),
        };
        self.entries.entry(ki).or_insert(entry);
    }

    /// Goes on with the life of a key that a process before us began. `unknown` are the members that
    /// it may have received with it and of which nothing is there any more.
    pub(super) fn go_on(
        &mut self,
        ki: KeyId,
        an: AssociationNumber,
        life: Life,
        unknown: BTreeSet<Sci>,
    ) {
        self.begin(ki, an);
        if let Some(entry) = self.entries.get_mut(&ki) {
            (entry.life, entry.unknown) = (life, unknown);
        }
    }

    /// Forgets all keys that the model does not have. It takes none twice, so none comes back.
    pub(super) fn prune(&mut self, model: &SecyModel) {
        self.entries.retain(|ki, _| model.sak(*ki).is_some());
        self.lost.retain(|ki| model.sak(*ki).is_some());
    }

    /// Whether the kernel had a key of somebody else. It may have sent with it.
    pub(super) fn is_foreign(&self, ki: KeyId) -> bool {
        self.foreign.iter().any(|other| names(*other, ki))
    }

    pub(super) fn life(&self, ki: KeyId) -> Life {
        self.entries.get(&ki).map_or(Life::Over, |entry| entry.life)
    }

    /// Notes that something is asked of a transmit SA, or what the kernel has refused of it.
    pub(super) fn set_life(&mut self, ki: KeyId, life: Life) {
        if let Some(entry) = self.entries.get_mut(&ki) {
            entry.life = life;
        }
    }

    /// The packet number that a receive SA must not be below; 0 where it was never seen.
    pub(super) fn received(&self, ki: KeyId, sci: Sci) -> u64 {
        let entry = self.entries.get(&ki);
        entry.and_then(|entry| entry.received.get(&sci)).copied().unwrap_or(0)
    }

    /// Why a member must not be received with a key, if so.
    pub(super) fn refuses(&self, ki: KeyId, sci: Sci) -> Option<&'static str> {
        let entry = self.entries.get(&ki)?;
        if entry.unknown.contains(&sci) {
            // From 1 on, all that it had sent before could be sent again.
            return Some(
                "how far the member had come with this key before the restart is not known",
            );
        }
        let has_room = entry.received.len() < MEMBERS_MAX || entry.received.contains_key(&sci);
        if has_room { None } else { Some("too many members have left this key") }
    }

    /// Compares with what the kernel shows, the interface being gone with `None`.
    pub(super) fn note(&mut self, model: &SecyModel, seen: Option<&Secy>) {
        let received = seen.into_iter().flat_map(|seen| &seen.receive).flat_map(|of| &of.sas);
        for sa in seen.into_iter().flat_map(|seen| &seen.transmit).chain(received) {
            self.meet(sa.ki);
        }
        for (&ki, entry) in &mut self.entries {
            let Some(sak) = model.sak(ki) else { continue };
            entry.note(ki, sak, seen);
            // An SA that another has taken over from is missed by nobody, unless that one is refused
            // in the end.
            let matters = sak.transmit != TransmitState::Superseded;
            if entry.life == Life::Over && matters && !entry.told {
                entry.told = true;
                self.lost.push(ki);
            }
        }
    }

    fn meet(&mut self, ki: KeyId) {
        if self.entries.contains_key(&ki) || self.foreign.contains(&ki) {
            return;
        }
        self.foreign.push_back(ki);
        if self.foreign.len() > FOREIGN_MAX {
            self.foreign.pop_front();
        }
    }

    /// Gives the keys whose transmit SA was lost since the last time.
    pub(super) fn take_lost(&mut self) -> Vec<KeyId> {
        std::mem::take(&mut self.lost)
    }
}

impl Entry {
    fn note(&mut self, ki: KeyId, sak: &InstalledSak, seen: Option<&Secy>) {
        let sa = seen.and_then(|seen| seen.sent_with(self.an)).filter(|sa| sa.ki == ki);
        // A network card counts for itself, and not in this order.
        let counts = seen.is_some_and(|seen| seen.offload == OFFLOAD_OFF);
        // Under another association number, or another's name for it, it is somebody else's doing.
        let mut all = seen.into_iter().flat_map(|seen| &seen.transmit);
        let copied = all.any(|of| names(of.ki, ki) && (of.ki, of.an) != (ki, self.an));
        self.life = match sa {
            _ if copied => Life::Over,
            Some(sa) if counts && set_back(sa) => Life::Over,
            sa => self.next_life(sak, sa),
        };
        self.sent = self.sent.max(sa.map_or(0, |sa| sa.pn));
        for channel in seen.iter().flat_map(|seen| &seen.receive) {
            if let Some(sa) = channel.sa(self.an).filter(|sa| sa.ki == ki) {
                let highest = self.received.entry(channel.sci).or_default();
                *highest = (*highest).max(expected(sa, sak));
            }
        }
    }

    fn next_life(&self, sak: &InstalledSak, sa: Option<&SeenSa>) -> Life {
        // Nothing has gone out with it: it may be used for the first time.
        let unused = sa.is_some_and(|sa| !sa.active && sa.pn == 1);
        let active = sa.is_some_and(|sa| sa.active);
        let superseded = sak.transmit == TransmitState::Superseded;
        // After the last packet number comes 0.
        let forward = sa.is_some_and(|sa| sa.pn >= self.sent && sa.pn != 0);
        match self.life {
            // One that we never asked for is somebody else's doing.
            Life::Fresh if sa.is_none() => Life::Fresh,
            Life::Adding | Life::Added if unused => Life::Added,
            Life::Activating if unused => Life::Added,
            Life::Activating if active => Life::Active,
            Life::Active if forward && (active || superseded) => Life::Active,
            Life::Fresh
            | Life::Adding
            | Life::Added
            | Life::Activating
            | Life::Active
            | Life::Over => Life::Over,
        }
    }
}

/// Whether the kernel's name for an SA means this key. Others write the key number in host order.
pub(super) fn names(shown: KeyId, ki: KeyId) -> bool {
    let swapped = KeyNumber(shown.number.0.swap_bytes());
    shown.server == ki.server && (shown.number == ki.number || swapped == ki.number)
}

/// Whether more frames went out than packet numbers were spent: somebody has set the number back
/// since. The kernel counts a frame after it has spent the number, and shows the count first.
pub(super) fn set_back(sa: &SeenSa) -> bool {
    u32::try_from(sa.pn).is_ok_and(|pn| pn.saturating_sub(1) < sa.sent)
}

/// The packet number that a receive SA expects next. Behind the last one of 32 bits comes 0.
pub(super) fn expected(sa: &SeenSa, sak: &InstalledSak) -> u64 {
    match (sa.pn, sak.key.suite.is_xpn()) {
        (0, false) => 1 << 32,
        (0, true) => u64::MAX,
        (pn, _) => pn,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dataplane::kernel::fixture::{OWN, PEER, an, install, ki, sa, seen};
    use crate::secy::SecyCommand;

    /// A ledger of one key in this state, and its model.
    fn at(life: Life) -> (Ledger, SecyModel) {
        let (mut ledger, mut model) = (Ledger::default(), SecyModel::new(OWN));
        model.apply(&install(1, 0)).unwrap();
        if life == Life::Active {
            model.apply(&SecyCommand::EnableTx(ki(1))).unwrap();
        }
        ledger.begin(ki(1), an(0));
        ledger.set_life(ki(1), life);
        (ledger, model)
    }

    fn after(life: Life, shown: Option<SeenSa>) -> (Life, Vec<KeyId>) {
        let (mut ledger, model) = at(life);
        ledger.note(&model, Some(&seen(shown.into_iter().collect())));
        (ledger.life(ki(1)), ledger.take_lost())
    }

    #[test]
    fn an_sa_whose_answer_was_lost_is_as_the_kernel_shows_it() {
        for (life, shown, then) in [
            (Life::Adding, Some(sa(1, 0, 1, false)), Life::Added),
            (Life::Activating, Some(sa(1, 0, 9, true)), Life::Active),
            (Life::Activating, Some(sa(1, 0, 1, false)), Life::Added),
        ] {
            assert_eq!(after(life, shown), (then, vec![]), "{life:?}");
        }
    }

    /// It may have been used, and what was used once is not used again.
    #[test]
    fn an_sa_that_does_not_fit_its_life_is_over_and_reported_once() {
        for (life, shown) in [
            // Somebody else has installed a key of ours.
            (Life::Fresh, Some(sa(1, 0, 1, false))),
            (Life::Adding, None),
            (Life::Adding, Some(sa(1, 0, 2, false))),
            (Life::Added, None),
            // Somebody else has taken it into use.
            (Life::Added, Some(sa(1, 0, 1, true))),
            (Life::Activating, None),
            (Life::Activating, Some(sa(1, 0, 5, false))),
            (Life::Active, None),
            (Life::Active, Some(sa(1, 0, 100, false))),
            // Used up.
            (Life::Active, Some(sa(1, 0, 0, true))),
            // Another key under the same association number.
            (Life::Active, Some(sa(2, 0, 100, true))),
        ] {
            assert_eq!(after(life, shown), (Life::Over, vec![ki(1)]), "{life:?} {shown:?}");
        }
    }

    #[test]
    fn a_packet_number_that_was_set_back_ends_the_sa() {
        let (mut ledger, model) = at(Life::Active);
        ledger.note(&model, Some(&seen(vec![sa(1, 0, 100, true)])));
        assert_eq!(ledger.life(ki(1)), Life::Active);
        ledger.note(&model, Some(&seen(vec![sa(1, 0, 99, true)])));
        assert_eq!((ledger.life(ki(1)), ledger.take_lost()), (Life::Over, vec![ki(1)]));
        // And it stays so, whatever the kernel shows.
        ledger.note(&model, Some(&seen(vec![sa(1, 0, 101, true)])));
        assert_eq!((ledger.life(ki(1)), ledger.take_lost()), (Life::Over, vec![]));
    }

    /// Between two looks a number may have gone forward, back, and past where it was seen last.
    #[test]
    fn more_frames_than_packet_numbers_mean_that_it_was_set_back() {
        for (sent, then) in [(99, Life::Active), (98, Life::Active), (100, Life::Over)] {
            let shown = SeenSa { sent, ..sa(1, 0, 100, true) };
            assert_eq!(after(Life::Active, Some(shown)).0, then, "{sent}");
        }
        // The count has 32 bits.
        let shown = SeenSa { sent: u32::MAX, ..sa(1, 0, 1 << 32, true) };
        assert_eq!(after(Life::Active, Some(shown)).0, Life::Active);
    }

    /// Two daemons with one CAK install one SAK; the other may have sent with it.
    #[test]
    fn a_key_that_somebody_else_has_under_any_name_or_number_is_over() {
        let swapped = KeyId { number: KeyNumber(1_u32.swap_bytes()), ..ki(1) };
        for (life, copy) in [
            (Life::Fresh, SeenSa { ki: swapped, ..sa(1, 0, 9, true) }),
            (Life::Fresh, sa(1, 2, 9, false)),
            (Life::Added, sa(1, 2, 9, false)),
        ] {
            assert_eq!(after(life, Some(copy)), (Life::Over, vec![ki(1)]), "{copy:?}");
        }
        let (mut ledger, model) = at(Life::Active);
        ledger.note(&model, Some(&seen(vec![sa(1, 0, 9, true), sa(1, 3, 1, false)])));
        assert_eq!(ledger.life(ki(1)), Life::Over);
    }

    #[test]
    fn what_was_there_before_is_remembered_under_both_names() {
        let (mut ledger, model) = (Ledger::default(), SecyModel::new(OWN));
        ledger.note(&model, Some(&seen(vec![sa(5, 0, 9, true)])));
        ledger.note(&model, Some(&seen(vec![])));
        let swapped = KeyId { number: KeyNumber(5_u32.swap_bytes()), ..ki(5) };
        assert!(ledger.is_foreign(ki(5)) && ledger.is_foreign(swapped));
        assert!(!ledger.is_foreign(ki(6)));
        for number in 10..10 + 256 {
            ledger.note(&model, Some(&seen(vec![sa(number, 0, 9, true)])));
        }
        assert!(!ledger.is_foreign(ki(5)) && ledger.is_foreign(ki(10)));
    }

    #[test]
    fn an_sa_that_another_has_taken_over_from_is_missed_by_nobody() {
        let (mut ledger, mut model) = at(Life::Active);
        model.apply(&install(2, 1)).unwrap();
        model.apply(&SecyCommand::EnableTx(ki(2))).unwrap();
        ledger.note(&model, Some(&seen(vec![sa(1, 0, 100, false)])));
        assert_eq!(ledger.life(ki(1)), Life::Active);
        ledger.note(&model, Some(&seen(vec![])));
        assert_eq!((ledger.life(ki(1)), ledger.take_lost()), (Life::Over, vec![]));
    }

    /// The model goes back to it then, and would wait for it for ever.
    #[test]
    fn an_sa_that_was_lost_while_another_took_over_in_vain_is_reported() {
        let (mut ledger, before) = at(Life::Active);
        let mut model = before.clone();
        model.apply(&install(2, 1)).unwrap();
        model.apply(&SecyCommand::EnableTx(ki(2))).unwrap();
        ledger.note(&model, Some(&seen(vec![])));
        assert_eq!(ledger.take_lost(), []);
        ledger.note(&before, Some(&seen(vec![])));
        assert_eq!(ledger.take_lost(), [ki(1)]);
    }

    #[test]
    fn the_highest_packet_number_received_is_kept_when_the_channel_goes() {
        let (mut ledger, model) = at(Life::Added);
        let mut shown = seen(vec![sa(1, 0, 1, false)]);
        for pn in [500, 400] {
            shown.receive[0].sas = vec![sa(1, 0, pn, true)];
            ledger.note(&model, Some(&shown));
        }
        ledger.note(&model, Some(&seen(vec![sa(1, 0, 1, false)])));
        assert_eq!(ledger.received(ki(1), PEER), 500);
        // Of 32 bits, the number after the last is 0.
        shown.receive[0].sas = vec![sa(1, 0, 0, true)];
        ledger.note(&model, Some(&shown));
        assert_eq!(ledger.received(ki(1), PEER), 1 << 32);
    }
}
