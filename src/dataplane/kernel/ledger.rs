//! What has become of each SAK in the kernel.
//!
//! The kernel keeps no rule about nonces: it would set a packet number back, start a used-up SA
//! again, or take a deleted key once more. So the life of each transmit SA is kept here, and only
//! goes forward; what the kernel shows that does not fit ends it. A receive SA may be put back, at
//! no lower packet number than it was seen with.

use std::collections::BTreeMap;

use super::seen::{Secy, SeenSa};
use crate::ident::{AssociationNumber, KeyId, Sci};
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
    /// The highest packet number that its transmit SA was seen with.
    sent: u64,
    /// The same of its receive SAs, and of those that were removed.
    received: BTreeMap<Sci, u64>,
}

/// All SAKs that the model has.
#[derive(Clone, Debug, Default)]
pub(super) struct Ledger {
    entries: BTreeMap<KeyId, Entry>,
    lost: Vec<KeyId>,
}

/// The most members that are remembered of one SAK, those that left included.
pub(super) const MEMBERS_MAX: usize = 512;

impl Ledger {
    /// Begins the life of a key. One that it has keeps its own.
    pub(super) fn begin(&mut self, ki: KeyId, an: AssociationNumber) {
        let received = BTreeMap::new();
        let entry = Entry { an, life: Life::Fresh, sent: 0, received };
        self.entries.entry(ki).or_insert(entry);
    }

    /// Forgets all keys that the model does not have. It takes none twice, so none comes back.
    pub(super) fn prune(&mut self, model: &SecyModel) {
        self.entries.retain(|ki, _| model.sak(*ki).is_some());
        self.lost.retain(|ki| model.sak(*ki).is_some());
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

    /// Whether one more member can be remembered.
    pub(super) fn has_room(&self, ki: KeyId, sci: Sci) -> bool {
        self.entries.get(&ki).is_none_or(|entry| {
            entry.received.len() < MEMBERS_MAX || entry.received.contains_key(&sci)
        })
    }

    /// Compares with what the kernel shows, the interface being gone with `None`.
    pub(super) fn note(&mut self, model: &SecyModel, seen: Option<&Secy>) {
        for (&ki, entry) in &mut self.entries {
            let Some(sak) = model.sak(ki) else { continue };
            let before = entry.life;
            entry.note(ki, sak, seen);
            // An SA that another has taken over from is missed by nobody.
            let matters = sak.transmit != TransmitState::Superseded;
            if entry.life == Life::Over && before != Life::Over && matters {
                self.lost.push(ki);
            }
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
        self.life = self.next_life(sak, sa);
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

/// The packet number that a receive SA expects next. Behind the last one of 32 bits comes 0.
pub(super) fn expected(sa: &SeenSa, sak: &InstalledSak) -> u64 {
    match (sa.pn, sak.key.suite.is_xpn()) {
        (0, false) => 1 << 32,
        (0, true) => u64::MAX,
        (pn, _) => pn,
    }
}
