//! What we do as key server: decide, make SAKs, and see that all receive them (802.1X-2020 9.5.1, 9.8).
//!
//! Whether a fresh SAK is due follows from what holds. One that the rules hold back is therefore
//! never forgotten: it is made when they allow it.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use zeroize::Zeroizing;

use super::cp::Cipher;
use super::kay::{Decided, Kay, RETRY};
use super::manners::Manners;
use super::participant::Participant;
use super::policy::Access;
use super::sak::{Distribution, KnownSak, Wrapped, pick_an};
use super::ssci::Sscis;
use super::timers::LIFE;
use crate::crypto::Salt;
use crate::ident::{AssociationNumber, CipherSuite, ConfidentialityOffset, KeyId, MemberId};
use crate::secy::SecyKey;
use crate::time::Time;
use crate::wire::MacsecCapability;

/// How much longer than MKA Hello Time the first SAK waits for members that have not proved
/// themselves. Who is to join does so with its next hello at the latest, which may come late.
const JOINING: Duration = Duration::from_millis(500);

impl Kay {
    /// Notes when all members of a distribution receive, and gives up one that we may no longer
    /// make: a SAK belongs to the CA and to the MI that it was made in.
    pub(super) fn check_distribution(&mut self) {
        let principal = self.principal.and_then(|index| self.participants.get(index));
        let is_server = self.is_server();
        if is_server && self.has_forgotten_an_sak() {
            self.distribution = None;
        }
        let Some(distribution) = &mut self.distribution else { return };
        let ours = principal.filter(|principal| {
            let own = distribution.ki.server == principal.actor.mi();
            is_server && own && principal.ckn() == &distribution.ckn
        });
        let Some(principal) = ours else {
            self.distribution = None;
            return;
        };
        let receives = |mi: &MemberId| {
            principal.peers.get(*mi).is_some_and(|peer| peer.receives(distribution.ki))
        };
        distribution.complete |= distribution.members.iter().all(receives);
    }

    /// Tells whether a member uses an SAK of ours that we know nothing of: a restart went by a record
    /// from before it. It has a number that was passed over then; any other is a lie.
    fn has_forgotten_an_sak(&self) -> bool {
        let Some(principal) = self.principal() else { return false };
        let forgotten = |ki: KeyId| {
            let was_made = ki.number.0 <= principal.last_kn;
            ki.server == principal.actor.mi() && was_made && self.saks.is_fresh(ki)
        };
        principal.peers.live().any(|(_, peer)| peer.uses().any(|(key, _)| forgotten(key.ki)))
    }

    /// Tells whether we are to make a fresh SAK (802.1X-2020 9.8), spacing rules aside.
    fn wants_fresh_sak(&self, now: Time) -> bool {
        let serves = self.is_server();
        let Some(principal) = self.principal().filter(|_| serves) else { return false };
        // Whoever is away takes no SAK; but nobody can send when packet numbers have run out.
        let away = self.is_suspended(now);
        let Some(distribution) = &self.distribution else { return !away };
        // What was handed out is lost to ourselves, whatever the others have of it.
        if self.cp.is_stranded() && self.retry_at.is_none() {
            return true;
        }
        if distribution.members != live_members(principal) && !away {
            return true;
        }
        let aged = self.rekey_due().is_some_and(|at| at <= now);
        // One that has arrived is about to take over, so the one before it no longer counts.
        let before = self.cp.transmits_with().filter(|_| !self.has_arrived(distribution));
        let in_use = before.map_or(distribution.ki, |slot| slot.ki);
        let wanted = !away && (self.rekey_wanted || aged);
        self.may_follow(distribution) <= now && (wanted || self.is_worn(now, in_use))
    }

    /// Whether all members have it, or, where one of them cannot receive, we transmit with it.
    fn has_arrived(&self, distribution: &Distribution) -> bool {
        let transmits = self.cp.transmits_with();
        distribution.complete || transmits.is_some_and(|slot| slot.ki == distribution.ki)
    }

    /// When another SAK may follow one: once it has arrived, and some time after transmitDelay in
    /// any case, for a member that takes no key must not keep the others on an old one.
    fn may_follow(&self, distribution: &Distribution) -> Time {
        let since = distribution.since;
        if self.has_arrived(distribution) { since } else { since.after(2 * LIFE) }
    }

    fn rekey_due(&self) -> Option<Time> {
        let distribution = self.distribution.as_ref()?;
        let aged = distribution.since.after(self.policy.rekey_after?);
        Some(aged.max(self.may_follow(distribution)))
    }

    /// When a fresh SAK may be made: at once, unless strangers are about to join.
    ///
    /// Before the first one only those are waited for who were heard themselves, and not for long.
    /// Made for the first of several to prove itself, it would be in use before the others know
    /// each other, and some take a new MI where they are told of a key by one they do not know.
    fn fresh_sak_allowed(&self) -> Option<Time> {
        let peers = self.principal().map(|principal| &principal.peers);
        let Manners { hello, life, .. } = self.policy.manners;
        // All who were there before we took a new MI are to have the next SAK, or none of them.
        let meeting = self.held.filter(|_| !self.has_met_all());
        let spaced = match self.last_fresh {
            Some(last) => peers.filter(|peers| peers.has_strangers()).map(|_| last.after(life)),
            None => peers
                .filter(|peers| peers.hears_strangers())
                .and_then(|peers| peers.live().map(|(_, peer)| peer.first_heard).min())
                .map(|since| since.after(hello + JOINING)),
        };
        spaced.max(self.retry_at).max(meeting)
    }

    /// When a fresh SAK is next due, for the timeout.
    pub(super) fn fresh_sak_due(&self) -> Option<Time> {
        if self.wants_fresh_sak(self.now) {
            return self.fresh_sak_allowed();
        }
        let waiting = self.distribution.as_ref().map(|distribution| self.may_follow(distribution));
        let later = [self.rekey_due(), waiting].into_iter().flatten();
        later.filter(|&at| at > self.now).min()
    }

    pub(super) fn make_sak(&mut self, now: Time) {
        if !self.wants_fresh_sak(now) || self.fresh_sak_allowed().is_some_and(|at| at > now) {
            return;
        }
        let Some(index) = self.principal else { return };
        let Some(capability) = self.common_capability(index) else {
            self.decide_plain_text();
            return;
        };
        let (suite, offset) = self.common_cipher(index, capability);
        let mut nonce = Zeroizing::new(vec![0; suite.sak_len()]);
        if self.entropy.fill(&mut nonce).is_err() {
            self.evidence.no_entropy = Some(now);
            self.retry_at = Some(now.after(RETRY));
            return;
        }
        let Some(participant) = self.participants.get_mut(index) else { return };
        let own = participant.actor.mi();
        let ki = KeyId { server: own, number: participant.next_kn() };
        let members = live_members(participant);
        let named: Vec<_> = [own].into_iter().chain(members.iter().copied()).collect();
        let sak = participant.key.cak.derive_sak(&nonce, &named, ki.number, suite);
        let octets = participant.kek.wrap(&sak).into_octets();
        let ckn = participant.ckn().clone();
        participant.pace.news();
        let salt = suite.is_xpn().then(|| Salt::new(ki));
        let sscis = self.sscis_by_sci(index, own);
        let an = self.free_an(index);
        let key = Arc::new(SecyKey { ki, suite, offset, sak, salt });
        self.distribution =
            Some(Distribution { ki, ckn: ckn.clone(), members, since: now, complete: false });
        self.decided = Some(Decided { by: self.policy.sci, secure: true });
        self.last_fresh = Some(now);
        self.rekey_wanted = false;
        self.adopt(now, index, key, Wrapped { ckn, octets }, an, sscis);
    }

    /// Makes an SAK, ours or the server's, the newest one and has the CP machine take it up.
    pub(super) fn adopt(
        &mut self,
        now: Time,
        index: usize,
        key: Arc<SecyKey>,
        wrapped: Wrapped,
        an: AssociationNumber,
        sscis: Sscis,
    ) {
        let Some(participant) = self.participants.get(index) else { return };
        let own = participant.actor.mi();
        let sak = KnownSak::new(now, key, wrapped, an, own, sscis, &participant.peers);
        self.cp.new_sak(sak.slot());
        self.saks.take_up(sak);
    }

    /// How the SAK would protect frames that we made for this participant now.
    pub(super) fn cipher_for(&self, index: usize) -> Option<Cipher> {
        Some(self.common_cipher(index, self.common_capability(index)?))
    }

    fn common_cipher(&self, index: usize, capability: MacsecCapability) -> Cipher {
        let suite = self.common_suite(index);
        (suite, self.common_offset(suite, capability))
    }

    /// The lowest capability among the live peers that have any.
    fn common_capability(&self, index: usize) -> Option<MacsecCapability> {
        let live = self.participants.get(index)?.peers.live();
        live.map(|(_, peer)| peer.capability)
            .filter(|&capability| capability != MacsecCapability::NotImplemented)
            .min()
    }

    /// No peer can do MACsec. Policy may let frames pass in clear then (802.1X-2020 9.5.1).
    fn decide_plain_text(&mut self) {
        if self.policy.access == Access::ShouldSecure {
            self.decided = Some(Decided { by: self.policy.sci, secure: false });
        }
    }

    /// Our first suite that no peer's announcement leaves out.
    fn common_suite(&self, index: usize) -> CipherSuite {
        let peers = || self.participants.get(index).into_iter().flat_map(|of| of.peers.live());
        let known = |suite: &CipherSuite| {
            peers().filter_map(|(_, peer)| peer.announced.as_ref()).all(|announced| {
                announced.iter().any(|&id| CipherSuite::from_id(id) == Some(*suite))
            })
        };
        let mut suites = self.policy.cipher_suites.iter().copied();
        let first = suites.clone().next().unwrap_or(CipherSuite::GcmAes128);
        suites.find(known).unwrap_or(first)
    }

    fn common_offset(
        &self,
        suite: CipherSuite,
        capability: MacsecCapability,
    ) -> ConfidentialityOffset {
        let wanted = self.policy.offset;
        let limit = match capability {
            MacsecCapability::NotImplemented | MacsecCapability::IntegrityOnly => {
                ConfidentialityOffset::IntegrityOnly
            }
            MacsecCapability::AllOffsets if !suite.is_xpn() => ConfidentialityOffset::Offset50,
            MacsecCapability::Offset0 | MacsecCapability::AllOffsets => {
                ConfidentialityOffset::Offset0
            }
        };
        wanted.min(limit)
    }

    fn free_an(&self, index: usize) -> AssociationNumber {
        let own: Vec<_> = self.cp.slots().map(|slot| slot.an).collect();
        let peers = self.participants.get(index).into_iter().flat_map(|of| of.peers.live());
        let others: Vec<_> = peers
            .flat_map(|(_, peer)| peer.uses().map(|(key, _)| key.an).collect::<Vec<_>>())
            .collect();
        pick_an(self.saks.last_an(), &own, &others)
    }
}

/// The MIs of the live peers.
pub(super) fn live_members(participant: &Participant) -> BTreeSet<MemberId> {
    participant.peers.live().map(|(mi, _)| mi).collect()
}
