//! When the data plane fails an SAK: it refuses it, or has it no longer.
//!
//! What was lost is never put back: its packet numbers would begin again. Another SAK is the only
//! way on. As key server we make one; as another member we take a new MI, which has the server make
//! one (802.1X-2020 9.4.2, 9.8).

use super::kay::{Kay, RETRY};
use super::timers::LIFE;
use crate::ident::KeyId;
use crate::time::Time;

impl Kay {
    /// The data plane has lost an SAK that it had: it can no longer send with it, and perhaps no
    /// longer receive.
    pub(super) fn sak_lost(&mut self, now: Time, ki: KeyId) {
        if !self.cp.sak_lost(ki) {
            return;
        }
        if let Some(principal) = self.principal.and_then(|index| self.participants.get_mut(index)) {
            // Others no longer count on us.
            principal.pace.news();
        }
        if !self.cp.has_next() {
            // At once, but not where the one before was lost as well only just now.
            let next = self.replaced.map_or(now, |before| now.max(before.after(RETRY)));
            self.retry_at = Some(next);
        }
    }

    /// After the data plane has refused or lost an SAK: as server another is made; as another we
    /// take a new MI, which has the server make one. Tells whether there is something to settle.
    pub(super) fn retry(&mut self, now: Time) -> bool {
        if self.retry_at.is_none_or(|at| at > now) {
            return false;
        }
        let needed = !self.cp.has_next() && self.decided.is_some();
        if needed && !self.is_server() && self.server_stays() {
            // The key before it still carries traffic, and a new MI would end that. It stays due.
            return false;
        }
        self.retry_at = None;
        if !needed {
            return false;
        }
        if self.is_server() {
            self.distribution = None;
        } else if !self.ask_anew(now) {
            return false;
        }
        self.replaced = Some(now);
        true
    }

    /// Takes a new MI; tells whether there was randomness for one.
    fn ask_anew(&mut self, now: Time) -> bool {
        let Some(index) = self.principal else { return false };
        let Some(principal) = self.participants.get_mut(index) else { return false };
        if !principal.renew(now, self.entropy.as_mut()) {
            self.evidence.no_entropy = Some(now);
            self.retry_at = Some(now.after(RETRY));
            return false;
        }
        // The server may speak of it until it has made the next.
        self.lost_sak = self.saks.newest().map(|sak| sak.key.ki);
        // The others have not gone. While we are new to them, what they send is received.
        self.held = self.cp.is_stranded().then(|| now.after(LIFE));
        true
    }

    /// Tells whether the key server sends with the key that we send with, and so still receives
    /// with it, too.
    fn server_stays(&self) -> bool {
        let server = self.elected().and_then(|elected| elected.mi);
        let peer = server.zip(self.principal()).and_then(|(mi, of)| of.peers.get(mi));
        peer.zip(self.cp.transmits_with()).is_some_and(|(peer, slot)| peer.transmits(slot.ki))
    }

    /// Tells whether we wait to meet our key server again, to whom we are a new member.
    pub(super) fn is_held(&self, now: Time) -> bool {
        self.held.is_some_and(|until| now < until)
    }

    /// When the port closes unless it can send again: so long, what others send is let in.
    pub(super) fn mute_until(&self) -> Option<Time> {
        let (_, since) = self.evidence.sak_lost.filter(|_| self.cp.missed().is_some())?;
        Some(since.after(LIFE))
    }

    /// Takes note of the first loss since the port was secured for which nothing can be sent.
    pub(super) fn note_loss(&mut self, now: Time) {
        if let Some(ki) = self.cp.missed() {
            self.evidence.sak_lost.get_or_insert((ki, now));
        }
    }

    /// Tells whether an SAK is due to us and nothing is heard of it.
    pub(super) fn is_keyless(&self) -> bool {
        self.cp.is_stranded() || (self.decided.is_none() && self.cp.slots().next().is_none())
    }
}
