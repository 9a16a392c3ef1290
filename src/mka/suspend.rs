//! Suspension (802.1X-2020 9.18): the key agreement of a member is away for a while, as in an
//! upgrade in service, and its data plane is not.
//!
//! A member asks with the time in its XPN set; the key server agrees by saying how much is left, and
//! the others go by that. Meanwhile nobody is lost for being silent, no SAK is made and the SAs
//! stay. Whether we are suspended follows from what was said last and when, like all that holds.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::kay::Kay;
use super::peers::Peer;
use super::status::PortState;
use crate::ident::{MemberId, MessageNumber, Sci};
use crate::time::Time;

/// The longest suspension, from its beginning: MKA Suspension Limit (802.1X-2020 Table 9-3).
const SUSPENSION_MAX: Duration = Duration::from_secs(120);

/// A suspension that goes on.
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
pub(super) struct Suspension {
    began: Time,
    pub(super) until: Time,
}

/// A suspension that we have asked for ourselves.
#[derive(Clone, Copy, Debug)]
pub(super) struct OwnRequest {
    until: Time,
    /// The first MKPDU that said so.
    said: Option<(MemberId, MessageNumber)>,
}

/// Why a suspension was not asked for.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum SuspensionRefused {
    /// There is nothing to keep.
    #[error("the port is not secured, so there is nothing to suspend")]
    NotSecured,
    /// A peer sends no XPN set, and would lose us when we are silent.
    #[error("the peer {0} does not know what a suspension is")]
    Unknown(Sci),
}

impl Kay {
    /// Asks the others to bear with our silence for a while, 120 s at most, because we are about to
    /// restart while our SAs live on (802.1X-2020 9.18). Zero takes it back. Whether they will is
    /// told by [`Kay::suspension_is_agreed`].
    ///
    /// # Errors
    ///
    /// [`SuspensionRefused`] where it would be no use; nothing is asked then.
    pub fn ask_suspension(&mut self, now: Time, span: Duration) -> Result<(), SuspensionRefused> {
        let now = self.now.max(now);
        if self.port_state(now) != PortState::Secured {
            return Err(SuspensionRefused::NotSecured);
        }
        let live = || self.principal().into_iter().flat_map(|principal| principal.peers.live());
        if let Some((_, peer)) = live().find(|(_, peer)| peer.suspension.is_none()) {
            return Err(SuspensionRefused::Unknown(peer.sci));
        }
        let until = now.after(span.min(SUSPENSION_MAX));
        self.own_request = (!span.is_zero()).then_some(OwnRequest { until, said: None });
        if let Some(principal) = self.principal.and_then(|index| self.participants.get_mut(index)) {
            principal.pace.news();
        }
        self.settle(now);
        Ok(())
    }

    /// Tells whether we may be silent as we have asked: the key server has said so; or we are that
    /// ourselves, and all others have shown that they heard it.
    #[must_use]
    pub fn suspension_is_agreed(&self, now: Time) -> bool {
        let Some(OwnRequest { said: Some((mi, mn)), .. }) = self.own_request else { return false };
        let Some(principal) = self.principal() else { return false };
        let heard = |peer: &Peer| peer.echoed.is_some_and(|echoed| echoed >= mn);
        let all_heard =
            principal.actor.mi() == mi && principal.peers.live().all(|(_, peer)| heard(peer));
        self.is_suspended(now) && (all_heard || !self.is_server())
    }

    /// Takes note of the first MKPDU that said what we ask for.
    pub(super) fn note_request_said(&mut self, mi: MemberId, mn: MessageNumber) {
        if let Some(request) = &mut self.own_request {
            request.said.get_or_insert((mi, mn));
        }
    }

    /// Works out whether we are suspended, and has live peers stay while we are.
    pub(super) fn suspend(&mut self, now: Time) {
        let before = self.suspension;
        self.own_request = self.own_request.filter(|request| now < request.until);
        let asked = self.asked_until().filter(|_| self.may_suspend());
        self.suspension = asked.map(|asked| {
            let began = before.map_or(now, |before| before.began);
            let until = asked.min(began.after(SUSPENSION_MAX));
            Suspension { began, until }
        });
        let until = self.suspension.map(|suspension| suspension.until);
        if let Some(principal) = self.principal.and_then(|index| self.participants.get_mut(index)) {
            principal.peers.hold(until);
            if until.is_some() != before.is_some() {
                // Whoever asked need not wait for a hello to know that it was heard.
                principal.pace.news();
            }
            if until.is_none() && before.is_some_and(|before| now < before.until) {
                // It was called off. Who was silent has the usual time to be heard again.
                principal.peers.extend(now);
            }
        }
    }

    /// Tells whether we are suspended.
    pub(super) fn is_suspended(&self, now: Time) -> bool {
        self.suspension.is_some_and(|suspension| now < suspension.until)
    }

    /// What our XPN set says: as key server how many seconds are left, else how many we ask for.
    pub(super) fn suspended_for(&self, now: Time) -> u8 {
        let until = if self.is_server() {
            self.suspension.map(|suspension| suspension.until)
        } else {
            self.own_request.map(|request| request.until)
        };
        let left = until.map(|until| until.since(now));
        let seconds = left.map_or(0, |left| left.as_millis().div_ceil(1000));
        u8::try_from(seconds).unwrap_or(u8::MAX)
    }

    /// Until when those whose word counts want it: as key server anyone, else the key server.
    fn asked_until(&self) -> Option<Time> {
        let server = self.elected()?.mi;
        let peers = self.principal().into_iter().flat_map(|principal| principal.peers.live());
        let counts = peers.filter(|&(mi, _)| server.is_none_or(|server| server == mi));
        let own = self.own_request.filter(|_| server.is_none()).map(|request| request.until);
        counts.filter_map(|(_, peer)| asked_until(peer)).chain(own).max()
    }

    /// Only while all is well, and everyone knows what a suspension is: a member that is new to the
    /// SAK in use must not have to wait for the next.
    fn may_suspend(&self) -> bool {
        let Some(sak) = self.cp.transmits_with().and_then(|slot| self.saks.get(slot.ki)) else {
            return false;
        };
        let receives = |sci: Sci| sak.receivers.as_ref().is_some_and(|of| of.contains_key(&sci));
        let mut live = self.principal().into_iter().flat_map(|principal| principal.peers.live());
        live.all(|(_, peer)| peer.suspension.is_some() && receives(peer.sci))
    }
}

fn asked_until(peer: &Peer) -> Option<Time> {
    let seconds = peer.suspension.filter(|&seconds| seconds > 0)?;
    Some(peer.heard.after(SUSPENSION_MAX.min(Duration::from_secs(seconds.into()))))
}
