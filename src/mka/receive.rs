//! The way in: from octets to a verified MKPDU to what it changes (802.1X-2020 11.11.2, 9.4.1).
//!
//! Nothing but the CKN is believed before the ICV is good. Sets are acted upon in the order in
//! which they depend on each other, whatever their order on the wire: lists, then what
//! the peer says of itself, then the SAK.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::discard::Discard;
use super::kay::{Decided, Kay};
use super::manners::SsciOrder;
use super::policy::Access;
use super::sak::Wrapped;
use super::ssci::{self, Sscis};
use super::status::Sighting;
use super::way::Way;
use crate::crypto::{Salt, Verified};
use crate::ident::{
    AssociationNumber, CipherSuite, ConfidentialityOffset, KeyId, KeyNumber, MemberId,
    PacketNumber, Sci,
};
use crate::secy::{SecyCommand, SecyKey};
use crate::time::Time;
use crate::wire::{Basic, DistributedSak, Eapol, MacsecCapability, Mkpdu, RawMkpdu, SakUseSet};

/// Who an MKPDU that was not believed says it is from.
fn sighting(now: Time, raw: &RawMkpdu<'_>) -> Sighting {
    Sighting { ckn: raw.ckn(), sci: raw.basic().sci, at: now }
}

/// An SAK as it was distributed, still wrapped.
struct Offered<'a> {
    an: AssociationNumber,
    offset: ConfidentialityOffset,
    kn: KeyNumber,
    suite: Result<CipherSuite, [u8; 8]>,
    wrapped: &'a [u8],
}

impl Kay {
    /// Takes a frame with the EAPOL EtherType.
    pub(super) fn receive(&mut self, now: Time, frame: &[u8]) -> Result<(), Discard> {
        let eapol = Eapol::decode(frame)?;
        if !self.policy.hears(eapol.ethertype) {
            return Err(Discard::EtherType);
        }
        let raw = RawMkpdu::decode(&eapol)?;
        self.evidence.mkpdu = Some(now);
        let mut keys = self.participants.iter();
        let Some(index) = keys.position(|of| of.ckn().octets() == raw.ckn_octets()) else {
            self.evidence.unknown_ckn = Some(sighting(now, &raw));
            return Err(Discard::UnknownCkn);
        };
        raw.check_algorithm_agility()?;
        let Some(participant) = self.participants.get(index) else {
            return Err(Discard::UnknownCkn);
        };
        let mut way = Way::of(&eapol);
        let verify = |octets: &[u8]| participant.ick.verify(octets, raw.icv(), &raw);
        let verified = verify(raw.covered()).or_else(|| {
            way.usual_icv = true;
            verify(&way.usual(raw.covered())?)
        });
        let Some(verified) = verified else {
            self.evidence.bad_icv = Some(sighting(now, &raw));
            return Err(Discard::Icv);
        };
        let mkpdu = verified.try_map(RawMkpdu::parse)?;
        self.accept(now, index, &mkpdu, way)
    }

    fn accept(
        &mut self,
        now: Time,
        index: usize,
        mkpdu: &Verified<Mkpdu>,
        way: Way,
    ) -> Result<(), Discard> {
        let mkpdu = mkpdu.get();
        let own = self.policy.sci.address();
        let Some(participant) = self.participants.get_mut(index) else { return Ok(()) };
        if let Err(discard) = participant.hear(now, mkpdu, way, own, self.entropy.as_mut()) {
            if discard == Discard::OwnAddress {
                self.evidence.own_address = Some(now);
            }
            if discard == Discard::OwnMemberId && self.principal == Some(index) {
                self.hold(now);
            }
            return Err(discard);
        }
        self.accepted += 1;
        participant.elect(now, &self.policy);
        participant.note_keys(now, mkpdu);
        self.note_uses(index, mkpdu);
        if let Some(distributed) = &mkpdu.distributed_sak {
            self.take_distributed(now, index, mkpdu, distributed)?;
        }
        Ok(())
    }

    /// Takes note of what a live peer says of itself: the keys that it uses, the suites that it
    /// announces. Of others, nothing is believed.
    fn note_uses(&mut self, index: usize, mkpdu: &Mkpdu) {
        let Some(participant) = self.participants.get_mut(index) else { return };
        let Some(peer) = participant.peers.get_mut(mkpdu.basic.mi) else { return };
        if !peer.is_live() {
            return;
        }
        peer.icv_indicator = mkpdu.icv_indicator;
        if let Some(announcement) = &mkpdu.announcement {
            peer.announced = Some(announcement.suites.iter().map(|&(_, id)| id).collect());
        }
        peer.lpn_high =
            mkpdu.xpn.as_ref().map_or((0, 0), |xpn| (xpn.latest_lpn_high, xpn.old_lpn_high));
        peer.suspension = mkpdu.xpn.as_ref().map(|xpn| xpn.suspension_time);
        match &mkpdu.sak_use {
            Some(SakUseSet::Keys(sak_use)) => {
                peer.sak_use = Some(*sak_use);
                if self.principal == Some(index) && sak_use.delay_protect {
                    self.raise_lowest_pns(index, mkpdu.basic.mi);
                }
            }
            // Whoever has keys of this CA names them in each MKPDU; others depend on that, too.
            Some(SakUseSet::Unsupported) | None => peer.sak_use = None,
        }
    }

    /// Delay protection (802.1X-2020 9.10): frames below what the peer says are late.
    fn raise_lowest_pns(&mut self, index: usize, mi: MemberId) {
        let peer = self.participants.get(index).and_then(|of| of.peers.get(mi));
        let Some(peer) = peer else { return };
        let sci = peer.sci;
        let bound = |ki: KeyId| {
            let sak = self.saks.get(ki)?;
            let is_received = |has: &BTreeMap<Sci, bool>| has.get(&sci) == Some(&true);
            if !sak.receivers.as_ref().is_some_and(is_received) {
                return None;
            }
            let lowest_pn = self.progress.llpn_of(peer, ki, sak.key.suite.is_xpn())?;
            // Nothing is below 1.
            (lowest_pn > 1).then_some((ki, PacketNumber(lowest_pn)))
        };
        let raises: Vec<_> = peer.uses().filter_map(|(key, _)| bound(key.ki)).collect();
        for (ki, lowest_pn) in raises {
            self.command(SecyCommand::RaiseLowestPn { ki, sci, lowest_pn });
        }
    }

    /// Takes what the key server distributes (802.1X-2020 9.8, 11.11.3): an SAK, or the decision
    /// that there is to be none.
    fn take_distributed(
        &mut self,
        now: Time,
        index: usize,
        mkpdu: &Mkpdu,
        distributed: &DistributedSak,
    ) -> Result<(), Discard> {
        let basic = &mkpdu.basic;
        if !self.is_from_server(index, mkpdu) {
            return Err(Discard::SakNotFromServer);
        }
        match distributed {
            DistributedSak::PlainText => {
                if self.policy.access == Access::MustSecure {
                    self.evidence.plain_text_refused = Some(now);
                    return Err(Discard::PlainText);
                }
                self.decided = Some(Decided { by: basic.sci, secure: false });
                Ok(())
            }
            DistributedSak::Key { an, offset, kn, suite, wrapped } => {
                let offered = Offered { an: *an, offset: *offset, kn: *kn, suite: *suite, wrapped };
                self.take_sak(now, index, mkpdu, &offered)
            }
        }
    }

    /// Only the live key server that we elected distributes, and only to those it lists as live, by
    /// something they have said since they restarted: what it said before may be replayed to a
    /// member whose record is a little older than that. A worse server than that of another
    /// participant cannot be followed: the SecY has one.
    fn is_from_server(&self, index: usize, mkpdu: &Mkpdu) -> bool {
        let Some(participant) = self.participants.get(index) else { return false };
        let elected = participant.elected.and_then(|elected| elected.mi);
        let own = &participant.actor;
        let mut listed = mkpdu.live_peers.iter().flat_map(|list| &list.peers);
        let lists_us = listed.any(|entry| entry.mi == own.mi() && own.is_since_restart(entry.mn));
        let rank = participant.elected.map(|elected| elected.rank());
        elected == Some(mkpdu.basic.mi) && lists_us && rank == self.best_server()
    }

    fn take_sak(
        &mut self,
        now: Time,
        index: usize,
        mkpdu: &Mkpdu,
        offered: &Offered<'_>,
    ) -> Result<(), Discard> {
        let basic = &mkpdu.basic;
        let ki = KeyId { server: basic.mi, number: offered.kn };
        if self.saks.newest().is_some_and(|sak| sak.key.ki == ki && sak.an == offered.an) {
            if self.cp.slots().any(|slot| slot.ki == ki) {
                // Where we had lost the server meanwhile, its decision stands again.
                self.decided = Some(Decided { by: basic.sci, secure: true });
            }
            return Ok(());
        }
        if !self.saks.is_fresh(ki) {
            return Err(Discard::SakReused);
        }
        let suite = self.allowed_suite(now, offered)?;
        self.check_offset(now, suite, offered.offset)?;
        let Some(participant) = self.participants.get_mut(index) else { return Ok(()) };
        let Ok(sak) = participant.kek.unwrap(offered.wrapped, suite) else {
            self.evidence.unwrap_failed = Some(now);
            return Err(Discard::SakUnwrap);
        };
        let wrapped = Wrapped { ckn: participant.ckn().clone(), octets: offered.wrapped.to_vec() };
        let sscis = if suite.is_xpn() { self.sscis(index, mkpdu)? } else { Sscis::new() };
        let salt = suite.is_xpn().then(|| Salt::new(ki));
        let key = Arc::new(SecyKey { ki, suite, offset: offered.offset, sak, salt });
        self.decided = Some(Decided { by: basic.sci, secure: true });
        (self.evidence.suite_refused, self.evidence.offset_refused) = (None, None);
        (self.evidence.unwrap_failed, self.evidence.plain_text_refused) = (None, None);
        self.adopt(now, index, key, wrapped, offered.an, sscis);
        Ok(())
    }

    fn allowed_suite(&mut self, now: Time, offered: &Offered<'_>) -> Result<CipherSuite, Discard> {
        let id = offered.suite.map_or_else(|id| id, CipherSuite::id);
        match offered.suite {
            Ok(suite) if self.policy.cipher_suites.contains(&suite) => Ok(suite),
            Ok(_) | Err(_) => {
                self.evidence.suite_refused = Some((id, now));
                Err(Discard::SakSuite)
            }
        }
    }

    /// XPN suites know no offset, and we take none that we did not claim to be capable of.
    fn check_offset(
        &mut self,
        now: Time,
        suite: CipherSuite,
        offset: ConfidentialityOffset,
    ) -> Result<(), Discard> {
        let capable = match self.policy.capability() {
            MacsecCapability::NotImplemented | MacsecCapability::IntegrityOnly => 0,
            MacsecCapability::Offset0 => ConfidentialityOffset::Offset0.code(),
            MacsecCapability::AllOffsets => ConfidentialityOffset::Offset50.code(),
        };
        let limit = if suite.is_xpn() { ConfidentialityOffset::Offset0.code() } else { capable };
        if offset.code() > limit {
            self.evidence.offset_refused = Some((offset, now));
            return Err(Discard::SakOffset);
        }
        Ok(())
    }

    /// The SSCIs of a distributed SAK: as the server lists them, or else by the SCIs of those it
    /// lists. Who is listed and was never heard has an SCI that we do not know; to number the
    /// others without it could give two members one SSCI, and with it one nonce.
    fn sscis(&self, index: usize, mkpdu: &Mkpdu) -> Result<Sscis, Discard> {
        let (Some(participant), Some(list)) = (self.participants.get(index), &mkpdu.live_peers)
        else {
            return Err(Discard::SakMembersUnknown);
        };
        let own = participant.actor.mi();
        let Basic { version, mi: server, .. } = mkpdu.basic;
        let heeded = version >= 3 && self.policy.manners.ssci == SsciOrder::Stated;
        if let Some(stated) = heeded.then(|| ssci::by_list(server, list)).flatten() {
            return Ok(stated);
        }
        let sci = |mi| {
            let peer = participant.peers.get(mi).map(|peer| peer.sci);
            peer.or((mi == own).then_some(self.policy.sci)).ok_or(Discard::SakMembersUnknown)
        };
        let members = [server].into_iter().chain(list.peers.iter().map(|entry| entry.mi));
        let members: Result<Vec<_>, Discard> = members.map(|mi| Ok((mi, sci(mi)?))).collect();
        Ok(ssci::by_sci(members?))
    }

    /// The SSCIs that follow from our own SCI and those of the live peers.
    pub(super) fn sscis_by_sci(&self, index: usize, own: MemberId) -> Sscis {
        let participant = self.participants.get(index).into_iter();
        let live = participant.flat_map(|participant| participant.peers.live());
        ssci::by_sci(live.map(|(mi, peer)| (mi, peer.sci)).chain([(own, self.policy.sci)]))
    }
}
