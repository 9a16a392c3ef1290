//! When we are without an SAK that we should have: the data plane has refused it or has it no longer,
//! we have lost track of it, or the key server owes it.
//!
//! What was lost is never put back: its packet numbers would begin again. Another SAK is the only
//! way on. As key server we make one; as another member we take a new MI, which has the server make
//! one (802.1X-2020 9.4.2, 9.8).

use super::kay::{KEYLESS_MAX, Kay, RETRY};
use super::peers::Peer;
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

    /// A key server hands an SAK out until we have said that we receive with it. Where we have lost
    /// that SAK since, because we lost the server and it did not lose us, or have gone on from it to
    /// one of another CA that came too late, it could not be taken a second time. A new MI has the
    /// server make another. Tells whether one was taken.
    pub(super) fn replace_lost_sak(&mut self, now: Time) -> bool {
        let Some(server) = self.elected().and_then(|elected| elected.mi) else { return false };
        let uses = self.principal().and_then(|principal| principal.peers.get(server)).into_iter();
        let theirs = uses.flat_map(Peer::uses).map(|(key, _)| key.ki);
        let Some(last) = theirs.filter(|ki| ki.server == server).max() else { return false };
        let newest = self.cp.newest().map(|slot| slot.ki);
        let follows = newest.is_some_and(|ki| ki.server == server && ki >= last);
        if follows || self.retry_at.is_some() {
            return false;
        }
        if self.saks.is_fresh(last) || self.lost_sak == Some(last) {
            return false;
        }
        let Some(index) = self.principal else { return false };
        let Some(principal) = self.participants.get_mut(index) else { return false };
        let renewed = principal.renew(now, self.entropy.as_mut());
        if renewed {
            // The server may speak of it until it has made the next.
            self.lost_sak = Some(last);
        }
        renewed
    }

    /// Where a peer is key server and offers no SAK, because it has forgotten that one is due, a new
    /// MI makes us a new member to it, which is a reason that it cannot forget. An SAK that it
    /// offers and we refuse is no reason for this: the next would be no better. Tells whether a new
    /// MI was taken.
    pub(super) fn remind_server(&mut self, now: Time) -> bool {
        let server = self.elected().is_some_and(|elected| !elected.is_own());
        let refused = self.refuses(now);
        if !server || refused || !self.is_keyless() {
            self.keyless_since = None;
            return false;
        }
        let since = *self.keyless_since.get_or_insert(now);
        if now.since(since) < KEYLESS_MAX {
            return false;
        }
        self.keyless_since = Some(now);
        let principal = self.principal.and_then(|index| self.participants.get_mut(index));
        principal.is_some_and(|principal| principal.renew(now, self.entropy.as_mut()))
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
        self.held = self.cp.is_stranded().then(|| now.after(self.policy.manners.life));
        true
    }

    /// Takes new MIs where the numbers of those before are used up (802.1X-2020 9.4.2).
    pub(super) fn renew_spent(&mut self, now: Time) {
        for index in 0..self.participants.len() {
            let Some(participant) = self.participants.get_mut(index) else { continue };
            if participant.is_spent()
                && participant.renew(now, self.entropy.as_mut())
                && self.principal == Some(index)
            {
                self.hold(now);
            }
        }
    }

    /// Takes a new MI in the CA that drives the SecY; tells whether there was randomness for one.
    pub(super) fn renew_principal(&mut self, now: Time) -> bool {
        let principal = self.principal.and_then(|index| self.participants.get_mut(index));
        let renewed = principal.is_some_and(|of| of.renew(now, self.entropy.as_mut()));
        if renewed {
            self.hold(now);
        }
        renewed
    }

    /// Has the SAs and the decision stand while the others meet us under our new MI, make before
    /// break: nobody has gone, and what is sent and received goes on with the SAK that there is.
    pub(super) fn hold(&mut self, now: Time) {
        self.held = self.cp.transmits_with().map(|_| now.after(self.policy.manners.life));
    }

    /// Tells whether all are live again that we receive with the key in use.
    pub(super) fn has_met_all(&self) -> bool {
        let sak = self.cp.transmits_with().and_then(|slot| self.saks.get(slot.ki));
        let receivers = sak.and_then(|sak| sak.receivers.as_ref()).into_iter().flatten();
        let mut received = receivers.filter(|&(_, &present)| present);
        received.all(|(&sci, _)| {
            let mut live = self.principal().into_iter().flat_map(|of| of.peers.live());
            live.any(|(_, peer)| peer.sci == sci)
        })
    }

    /// Tells whether the key server sends with the key that we send with, and so still receives
    /// with it, too.
    fn server_stays(&self) -> bool {
        let server = self.elected().and_then(|elected| elected.mi);
        let peer = server.zip(self.principal()).and_then(|(mi, of)| of.peers.get(mi));
        peer.zip(self.cp.transmits_with()).is_some_and(|(peer, slot)| peer.transmits(slot.ki))
    }

    /// Tells whether we wait to be met again, being a new member to the others.
    pub(super) fn is_held(&self, now: Time) -> bool {
        self.held.is_some_and(|until| now < until)
    }

    /// When the port closes unless it can send again: so long, what others send is let in.
    pub(super) fn mute_until(&self) -> Option<Time> {
        Some(self.mute_since?.after(self.policy.manners.life))
    }

    /// Takes note of the first loss since the port was secured for which nothing can be sent, and of
    /// when it began that nothing could be sent, for whatever reason.
    pub(super) fn note_loss(&mut self, now: Time) {
        self.mute_since = self.cp.is_mute().then(|| self.mute_since.unwrap_or(now));
        if let Some(ki) = self.cp.missed() {
            self.evidence.sak_lost.get_or_insert((ki, now));
        }
    }

    /// Tells whether an SAK is due to us and nothing is heard of it.
    fn is_keyless(&self) -> bool {
        self.cp.is_stranded() || (self.decided.is_none() && self.cp.slots().next().is_none())
    }
}
