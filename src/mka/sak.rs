//! SAKs: which we know and which we make (802.1X-2020 9.8).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::cp::Slot;
use super::peers::Peers;
use super::ssci::Sscis;
use crate::ident::{AssociationNumber, Ckn, KeyId, MemberId, PacketNumber, Sci, Ssci};
use crate::secy::{RxMember, SecyKey, UsedKeys};
use crate::time::Time;

/// An SAK that we know and may still use.
#[derive(Debug)]
#[cfg_attr(test, derive(Clone))]
pub(super) struct KnownSak {
    pub(super) key: Arc<SecyKey>,
    pub(super) an: AssociationNumber,
    pub(super) since: Time,
    pub(super) own_ssci: Option<Ssci>,
    pub(super) sscis: Sscis,
    /// The same by SCI, as a member has another MI in another CA.
    pub(super) by_sci: BTreeMap<Sci, Ssci>,
    /// Whose SAs the SecY has had, and whether it has them now; `None` before it has any.
    pub(super) receivers: Option<BTreeMap<Sci, bool>>,
    /// As it goes over the wire.
    pub(super) wrapped: Wrapped,
}

/// An SAK under the KEK of a CA: no secret to whoever has heard the CA's MKPDUs.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(super) struct Wrapped {
    pub(super) ckn: Ckn,
    pub(super) octets: Vec<u8>,
}

impl KnownSak {
    pub(super) fn new(
        now: Time,
        key: Arc<SecyKey>,
        wrapped: Wrapped,
        an: AssociationNumber,
        own: MemberId,
        sscis: Sscis,
        peers: &Peers,
    ) -> Self {
        let own_ssci = key.suite.is_xpn().then(|| sscis.get(&own).copied()).flatten();
        let sci = |mi| peers.get(mi).map(|peer| peer.sci);
        let by_sci = sscis.iter().filter_map(|(&mi, &ssci)| Some((sci(mi)?, ssci))).collect();
        Self { key, an, since: now, own_ssci, sscis, by_sci, receivers: None, wrapped }
    }

    pub(super) fn slot(&self) -> Slot {
        Slot { ki: self.key.ki, an: self.an }
    }

    /// How to receive a member with this SAK; `None` where the suite is XPN and the SAK is not for
    /// that member.
    pub(super) fn member(&self, mi: MemberId, sci: Sci, lowest_pn: u64) -> Option<RxMember> {
        let ssci = self.sscis.get(&mi).or_else(|| self.by_sci.get(&sci));
        self.receive(sci, ssci.copied(), PacketNumber(lowest_pn.max(1)))
    }

    /// The same of one who was received before a restart, under whichever MI.
    pub(super) fn former_member(&self, sci: Sci) -> Option<RxMember> {
        self.receive(sci, self.by_sci.get(&sci).copied(), PacketNumber::FIRST)
    }

    fn receive(&self, sci: Sci, ssci: Option<Ssci>, lowest_pn: PacketNumber) -> Option<RxMember> {
        let xpn = self.key.suite.is_xpn();
        let ssci = ssci.filter(|_| xpn);
        (ssci.is_some() == xpn).then_some(RxMember { sci, ssci, lowest_pn })
    }

    /// The members but `own` in the order of their SSCIs, and our own SSCI, as a key server's
    /// Live Peer List shows them; `None` where the suite is not XPN.
    pub(super) fn ssci_order(&self, own: MemberId) -> Option<(u8, Vec<MemberId>)> {
        let own_ssci = u8::try_from(self.own_ssci?.0).ok()?;
        let mut order: Vec<_> = self.sscis.iter().map(|(&mi, &ssci)| (ssci, mi)).collect();
        order.sort_unstable();
        Some((own_ssci, order.into_iter().map(|(_, mi)| mi).filter(|&mi| mi != own).collect()))
    }
}

/// The SAKs that we know, and which there have been.
#[derive(Debug, Default)]
#[cfg_attr(test, derive(Clone))]
pub(super) struct Saks {
    known: BTreeMap<KeyId, KnownSak>,
    newest: Option<KeyId>,
    last_an: Option<AssociationNumber>,
    /// An SAK is taken once.
    used: UsedKeys,
}

impl Saks {
    /// Makes this the newest one.
    pub(super) fn take_up(&mut self, sak: KnownSak) {
        let ki = sak.key.ki;
        self.newest = Some(ki);
        self.last_an = Some(sak.an);
        self.used.spend(ki);
        self.known.insert(ki, sak);
    }

    /// Tells whether the SAK was never taken up.
    pub(super) fn is_fresh(&self, ki: KeyId) -> bool {
        self.used.is_fresh(ki)
    }

    pub(super) fn get(&self, ki: KeyId) -> Option<&KnownSak> {
        self.known.get(&ki)
    }

    pub(super) fn get_mut(&mut self, ki: KeyId) -> Option<&mut KnownSak> {
        self.known.get_mut(&ki)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &KnownSak> {
        self.known.values()
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut KnownSak> {
        self.known.values_mut()
    }

    /// The SAK taken up last.
    pub(super) fn newest(&self) -> Option<&KnownSak> {
        self.get(self.newest?)
    }

    /// The association of the SAK taken up last.
    pub(super) fn last_an(&self) -> Option<AssociationNumber> {
        self.last_an
    }

    /// Which there have been.
    pub(super) fn used(&self) -> &UsedKeys {
        &self.used
    }

    /// Knows what was known before a restart.
    pub(super) fn recall(
        known: Vec<KnownSak>,
        newest: Option<KeyId>,
        last_an: Option<AssociationNumber>,
        used: &[KeyId],
    ) -> Self {
        let mut of = Self { newest, last_an, ..Self::default() };
        of.known = known.into_iter().map(|sak| (sak.key.ki, sak)).collect();
        let recalled: Vec<_> = of.known.keys().copied().collect();
        used.iter().copied().chain(recalled).for_each(|ki| of.used.spend(ki));
        of
    }

    /// Forgets all but these and the newest.
    pub(super) fn retain(&mut self, used: &[KeyId]) {
        let newest = self.newest;
        self.known.retain(|ki, _| used.contains(ki) || newest == Some(*ki));
    }
}

/// What we, as key server, hand out.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(super) struct Distribution {
    pub(super) ki: KeyId,
    /// In which CA.
    pub(super) ckn: Ckn,
    /// To whom.
    pub(super) members: BTreeSet<MemberId>,
    pub(super) since: Time,
    /// Whether all of them receive with it.
    pub(super) complete: bool,
}

/// Picks the association of a fresh SAK: the next in turn that nobody uses, or failing that one
/// that our own SecY does not use (802.1X-2020 9.8).
pub(super) fn pick_an(
    last: Option<AssociationNumber>,
    own: &[AssociationNumber],
    others: &[AssociationNumber],
) -> AssociationNumber {
    let [first, ..] = AssociationNumber::ALL;
    let next = last.map_or(first, AssociationNumber::next);
    let turn = || std::iter::successors(Some(next), |an| Some(an.next())).take(4);
    turn()
        .find(|an| !own.contains(an) && !others.contains(an))
        .or_else(|| turn().find(|an| !own.contains(an)))
        .unwrap_or(next)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_association_in_use_is_passed_over() {
        let an = AssociationNumber::from_low_bits;
        assert_eq!(pick_an(None, &[], &[]), an(0));
        assert_eq!(pick_an(Some(an(3)), &[an(3)], &[]), an(0));
        assert_eq!(pick_an(Some(an(3)), &[an(0), an(3)], &[an(1)]), an(2));
        assert_eq!(pick_an(Some(an(3)), &[an(0), an(3)], &[an(1), an(2)]), an(1));
    }
}
