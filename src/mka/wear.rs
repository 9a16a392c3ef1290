//! How keys wear out: by packet numbers, which end, and by octets, where policy counts them
//! (802.1X-2020 9.8).

use std::time::Duration;

use super::kay::Kay;
use super::timers::LIFE;
use crate::ident::{KeyId, Sci};
use crate::secy::RxProgress;
use crate::time::Time;

/// From here on a packet number space counts as nearly used up (802.1X-2020 9.8).
const PENDING_EXHAUSTION_32: u64 = 0xc000_0000;
const PENDING_EXHAUSTION_64: u64 = 0xc000_0000_0000_0000;

/// What is spent in so short a time that there is never enough left is replaced at this part of its
/// space, and not again as soon as it is there.
const WORN_AT_LEAST: u64 = 4;

/// This part of the space is left where we no longer wait for a key server that was told long ago.
const LAST_PART: u64 = 16;

impl Kay {
    /// Takes note of how far those have come whom we receive.
    pub(super) fn note_received(&mut self, now: Time, all: &[RxProgress]) {
        // Also of those who are away for the moment: they come back with the same key.
        let known = |sci: Sci| {
            let mut receivers = self.saks.iter().filter_map(|sak| sak.receivers.as_ref());
            receivers.any(|of| of.contains_key(&sci))
        };
        for &progress in all.iter().filter(|progress| known(progress.sci)) {
            self.progress.note_received(now, progress);
        }
        self.progress.retain(known);
    }

    /// Tells whether a fresh SAK is due because of how much this one was used, by us or by a peer.
    pub(super) fn is_worn(&self, now: Time, ki: KeyId) -> bool {
        if self.runs_out(ki) {
            return true;
        }
        if self.is_suspended(now) {
            // What lasts until the others are back can wait for them.
            return self.progress.left(ki, self.last_pn(ki)).is_none() && self.is_past_mark(ki);
        }
        let octets = self.policy.rekey_octets.is_some_and(|most| self.progress.octets(ki) >= most);
        octets || self.is_past_mark(ki)
    }

    /// How long the packet numbers of the key in use last at the rate of the last seconds, ours or a
    /// peer's; `None` where none were spent.
    #[must_use]
    pub fn numbers_last(&self) -> Option<Duration> {
        let ki = self.cp.transmits_with()?.ki;
        self.progress.left(ki, self.last_pn(ki))
    }

    fn is_past_mark(&self, ki: KeyId) -> bool {
        let Some(sak) = self.saks.get(ki) else { return false };
        let xpn = sak.key.suite.is_xpn();
        let mark = if xpn { PENDING_EXHAUSTION_64 } else { PENDING_EXHAUSTION_32 };
        let peers = self.principal().into_iter().flat_map(|principal| principal.peers.live());
        let told = peers.filter_map(|(_, peer)| self.progress.llpn_of(peer, ki, xpn));
        told.chain(self.progress.highest(ki)).any(|pn| pn >= mark)
    }

    /// At the measured rate the numbers would be gone before the next SAK is sure to have taken over:
    /// it may be held up for an MKA Life Time, reach a member with its second hello, and wait for
    /// members that never say that they have it.
    fn runs_out(&self, ki: KeyId) -> bool {
        let last = self.last_pn(ki);
        let spent = self.progress.highest(ki).is_some_and(|pn| pn >= last / WORN_AT_LEAST);
        let takes_over = self.policy.manners.life + 2 * self.policy.manners.hello + LIFE;
        spent && self.progress.left(ki, last).is_some_and(|left| left < takes_over)
    }

    /// As a member we have told the key server how far we have come. Where it does nothing and the
    /// end is near, a new MI makes us a new member to it, which is another reason for an SAK, while
    /// the one before still carries traffic. Tells whether a new MI was taken.
    pub(super) fn outlive(&mut self, now: Time) -> bool {
        let Some(slot) = self.cp.transmits_with() else { return false };
        let next = self.cp.newest().is_some_and(|newest| newest.ki != slot.ki);
        let server = self.elected().is_some_and(|elected| !elected.is_own());
        if !server || next || self.outlived == Some(slot.ki) {
            return false;
        }
        let last = self.last_pn(slot.ki);
        let near = self.progress.next_pn(slot.ki).is_some_and(|pn| pn >= last - last / LAST_PART);
        if !near || !self.renew_principal(now) {
            return false;
        }
        self.outlived = Some(slot.ki);
        true
    }

    fn last_pn(&self, ki: KeyId) -> u64 {
        self.saks.get(ki).map_or(u64::MAX, |sak| sak.key.last_pn().0)
    }
}
