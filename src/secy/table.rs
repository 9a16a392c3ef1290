//! Whom a SecY receives, and with which keys.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::ident::{AssociationNumber, KeyId, MacAddress, Sci};
use crate::secy::{PreparedKey, RxMember, RxSa, SecyError};
use crate::wire::SciField;

/// The most members that may have left an SAK while it is installed. One more is not let back in,
/// as its packet numbers could not be remembered.
const DEPARTED_MAX: usize = 256;

/// The receive SCs of a SecY, each with at most one SA for each association number.
///
/// Threads that validate share one by `Arc`. To change it, clone it, change the clone and pass that
/// on: the SAs in both are the same, replay state included.
#[derive(Clone, Debug, Default)]
pub struct RxTable {
    channels: BTreeMap<Sci, [Option<Arc<RxSa>>; 4]>,
    /// The SAs of members that were removed, with keys that are still installed. Should one return
    /// under that key, its old frames must not be taken again: neither those taken before nor those
    /// that a thread was still taking by the table before.
    departed: BTreeMap<(KeyId, Sci), Arc<RxSa>>,
}

/// What a tag leads to.
#[derive(Debug)]
pub(super) enum Found<'a> {
    Sa(&'a RxSa),
    /// The channel is known, but no SA is in use under that association number.
    NoSa,
    NoChannel,
}

impl RxTable {
    /// Creates a channel, if there is none yet, with no SA in use.
    pub fn add_channel(&mut self, sci: Sci) {
        self.channels.entry(sci).or_default();
    }

    /// Receives a member with a key, and creates its channel where that is missing.
    ///
    /// # Errors
    ///
    /// [`SecyError::AssociationBusy`] where the channel uses the association number already,
    /// [`SecyError::Invalid`] where the SSCI does not suit the suite, [`SecyError::Refused`] where
    /// too many members have left this key. Nothing changes then.
    pub fn add_receiver(
        &mut self,
        key: &Arc<PreparedKey>,
        an: AssociationNumber,
        member: RxMember,
    ) -> Result<(), SecyError> {
        let ki = key.key().ki;
        let sa = RxSa::new(key, an, member)?;
        let taken = self.channels.get(&member.sci).and_then(|sas| slot(sas, an));
        if let Some(other) = taken {
            return Err(SecyError::AssociationBusy { an, by: other.ki() });
        }
        match self.departed.get(&(ki, member.sci)) {
            Some(before) => sa.replay().raise(before.replay().lowest_pn()),
            None if self.departed.len() >= DEPARTED_MAX => {
                return Err(SecyError::Refused("too many members have left this key".to_owned()));
            }
            None => {}
        }
        if let Some(slot) = self.channels.entry(member.sci).or_default().get_mut(an.index()) {
            *slot = Some(Arc::new(sa));
        }
        Ok(())
    }

    /// Forgets a channel with all its SAs; not how far they had come.
    pub fn remove_channel(&mut self, sci: Sci) {
        for sa in self.channels.remove(&sci).into_iter().flatten().flatten() {
            let place = (sa.ki(), sci);
            if self.departed.len() < DEPARTED_MAX || self.departed.contains_key(&place) {
                self.departed.insert(place, sa);
            }
        }
    }

    /// Deletes every SA of a key, and every channel that has none left.
    pub fn remove_key(&mut self, ki: KeyId) {
        for slot in self.channels.values_mut().flatten() {
            if slot.as_ref().is_some_and(|sa| sa.ki() == ki) {
                *slot = None;
            }
        }
        self.channels.retain(|_, slots| slots.iter().any(Option::is_some));
        self.departed.retain(|(key, _), _| *key != ki);
    }

    /// Finds the SA of a key and a member.
    #[must_use]
    pub fn sa(&self, ki: KeyId, sci: Sci) -> Option<&Arc<RxSa>> {
        self.channels.get(&sci)?.iter().flatten().find(|sa| sa.ki() == ki)
    }

    /// All SAs, ordered by SCI and then by association number.
    pub fn sas(&self) -> impl Iterator<Item = &Arc<RxSa>> {
        self.channels.values().flatten().flatten()
    }

    /// The receive channels, in order.
    #[must_use]
    pub fn channels(&self) -> BTreeSet<Sci> {
        self.channels.keys().copied().collect()
    }

    /// How many receive channels there are.
    #[must_use]
    pub fn channel_count(&self) -> usize {
        self.channels.len()
    }

    /// Follows a tag's SCI, or what stands for it (802.1AE-2018 9.5, 10.6.1), to an SA.
    pub(super) fn find(
        &self,
        source: MacAddress,
        field: SciField,
        an: AssociationNumber,
    ) -> Found<'_> {
        let channel = match field {
            SciField::Explicit(sci) => self.channels.get(&sci),
            SciField::Implicit { single_copy: true, .. } => self.channels.get(&Sci::new(source, 0)),
            SciField::Implicit { end_station: true, single_copy: false } => {
                self.channels.get(&Sci::new(source, 1))
            }
            // Point to point: the one channel there is, whatever the source address.
            SciField::Implicit { end_station: false, single_copy: false } => {
                let mut all = self.channels.values();
                all.next().filter(|_| all.next().is_none())
            }
        };
        match channel.map(|sas| slot(sas, an)) {
            None => Found::NoChannel,
            Some(None) => Found::NoSa,
            Some(Some(sa)) => Found::Sa(sa),
        }
    }
}

fn slot(sas: &[Option<Arc<RxSa>>; 4], an: AssociationNumber) -> Option<&RxSa> {
    sas.get(an.index())?.as_deref()
}

#[cfg(test)]
mod tests {
    use super::*;

    use crate::ident::{CipherSuite, ConfidentialityOffset, PacketNumber};
    use crate::secy::fixture::{PEER, THIRD, an, default_key, ki, member, secy_key};

    const POINT_TO_POINT: SciField = SciField::Implicit { end_station: false, single_copy: false };

    fn another_key(number: u32) -> Arc<PreparedKey> {
        let offset = ConfidentialityOffset::Offset0;
        PreparedKey::new(secy_key(ki(number), CipherSuite::GcmAes128, offset)).unwrap()
    }

    fn receiving(members: &[Sci]) -> RxTable {
        let (mut table, key) = (RxTable::default(), default_key());
        for sci in members {
            table.add_receiver(&key, an(1), member(*sci, None)).unwrap();
        }
        table
    }

    fn found(table: &RxTable, source: Sci, field: SciField) -> Option<Sci> {
        match table.find(source.address(), field, an(1)) {
            Found::Sa(sa) => Some(sa.sci()),
            Found::NoSa | Found::NoChannel => None,
        }
    }

    /// 802.1AE-2018 9.5.
    #[test]
    fn a_tag_without_sci_is_taken_as_its_bits_say() {
        let end_station = SciField::Implicit { end_station: true, single_copy: false };
        let single_copy = SciField::Implicit { end_station: false, single_copy: true };
        let both = SciField::Implicit { end_station: true, single_copy: true };
        let broadcast = Sci::new(PEER.address(), 0);
        let table = receiving(&[PEER, broadcast]);
        assert_eq!(found(&table, PEER, end_station), Some(PEER));
        assert_eq!(found(&table, PEER, single_copy), Some(broadcast));
        assert_eq!(found(&table, PEER, both), Some(broadcast));
        assert_eq!(found(&table, THIRD, end_station), None);
    }

    #[test]
    fn a_tag_that_says_nothing_means_the_only_channel_and_no_other() {
        // The source need not be the SCI's address: a switch may send from another.
        assert_eq!(found(&receiving(&[PEER]), THIRD, POINT_TO_POINT), Some(PEER));
        assert_eq!(found(&receiving(&[PEER, THIRD]), PEER, POINT_TO_POINT), None);
        assert_eq!(found(&receiving(&[]), PEER, POINT_TO_POINT), None);
    }

    #[test]
    fn an_association_number_is_not_given_to_a_second_key() {
        let mut table = receiving(&[PEER]);
        let refused = table.add_receiver(&another_key(2), an(1), member(PEER, None));
        assert_eq!(refused, Err(SecyError::AssociationBusy { an: an(1), by: ki(1) }));
        assert_eq!(table.add_receiver(&another_key(2), an(2), member(PEER, None)), Ok(()));
    }

    #[test]
    fn removing_a_key_leaves_the_other_keys_and_no_channel_without_one() {
        let mut table = receiving(&[PEER, THIRD]);
        table.add_receiver(&another_key(2), an(2), member(PEER, None)).unwrap();
        table.remove_key(ki(1));
        assert_eq!((table.channels(), table.channel_count()), (BTreeSet::from([PEER]), 1));
        assert_eq!(table.sas().map(|sa| (sa.sci(), sa.ki())).collect::<Vec<_>>(), [(PEER, ki(2))]);
    }

    #[test]
    fn a_member_that_comes_back_is_not_received_from_the_start_again() {
        let mut table = receiving(&[PEER]);
        table.sa(ki(1), PEER).unwrap().replay().commit(PacketNumber(1000), 64);
        table.remove_channel(PEER);
        assert_eq!(table.channel_count(), 0);

        table.add_receiver(&another_key(1), an(1), member(PEER, None)).unwrap();

        assert_eq!(table.sa(ki(1), PEER).unwrap().replay().lowest_pn(), PacketNumber(937));
        // Another key's numbers have nothing to do with it.
        table.add_receiver(&another_key(2), an(2), member(PEER, None)).unwrap();
        assert_eq!(table.sa(ki(2), PEER).unwrap().replay().lowest_pn(), PacketNumber(1));
    }

    /// By the table before it is received until all threads use the next one.
    #[test]
    fn what_is_still_taken_from_a_member_that_leaves_counts_when_it_comes_back() {
        let mut table = receiving(&[PEER]);
        let before = table.clone();
        table.remove_channel(PEER);
        before.sa(ki(1), PEER).unwrap().replay().commit(PacketNumber(1000), 0);
        table.add_receiver(&default_key(), an(1), member(PEER, None)).unwrap();
        assert_eq!(table.sa(ki(1), PEER).unwrap().replay().lowest_pn(), PacketNumber(1001));
    }

    #[test]
    fn of_a_member_that_leaves_twice_the_second_time_is_remembered_however_many_have_left() {
        let (mut table, key) = (RxTable::default(), default_key());
        for port in (0..256).chain([0]) {
            let sci = Sci::new(PEER.address(), port);
            table.add_receiver(&key, an(1), member(sci, None)).unwrap();
            let replay = table.sa(ki(1), sci).unwrap().replay();
            replay.commit(PacketNumber(replay.lowest_pn().0 + 100), 0);
            table.remove_channel(sci);
        }
        let again = Sci::new(PEER.address(), 0);
        table.add_receiver(&key, an(1), member(again, None)).unwrap();
        assert_eq!(table.sa(ki(1), again).unwrap().replay().lowest_pn(), PacketNumber(203));
    }

    #[test]
    fn where_a_leaver_could_not_be_remembered_nobody_is_let_in_until_the_key_is_gone() {
        let (mut table, key) = (receiving(&[THIRD]), default_key());
        for port in 0..256 {
            let sci = Sci::new(PEER.address(), port);
            table.add_receiver(&key, an(1), member(sci, None)).unwrap();
            table.remove_channel(sci);
        }
        table.remove_channel(THIRD);
        let refused = table.add_receiver(&key, an(1), member(THIRD, None));
        assert!(matches!(refused, Err(SecyError::Refused(_))));
        table.remove_key(ki(1));
        assert_eq!(table.add_receiver(&another_key(2), an(1), member(THIRD, None)), Ok(()));
    }

    #[test]
    fn a_channel_can_be_known_before_anything_is_received_on_it() {
        let mut table = RxTable::default();
        table.add_channel(PEER);
        assert!(matches!(table.find(PEER.address(), POINT_TO_POINT, an(1)), Found::NoSa));
    }

    #[test]
    fn a_clone_shares_the_replay_state_of_its_sas() {
        let table = receiving(&[PEER]);
        let clone = table.clone();
        table.sa(ki(1), PEER).unwrap().replay().commit(PacketNumber(5), 0);
        assert_eq!(clone.sa(ki(1), PEER).unwrap().replay().next_pn(), PacketNumber(6));
    }
}
