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
use crate::ident::Sci;
use crate::time::Time;

/// The longest suspension, from its beginning: MKA Suspension Limit (802.1X-2020 Table 9-3).
const SUSPENSION_MAX: Duration = Duration::from_secs(120);

/// A suspension that goes on.
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
pub(super) struct Suspension {
    began: Time,
    pub(super) until: Time,
}

impl Kay {
    /// Works out whether we are suspended, and has live peers stay while we are.
    pub(super) fn suspend(&mut self, now: Time) {
        let before = self.suspension;
        let asked = self.asked_until().filter(|_| self.may_suspend());
        self.suspension = asked.map(|asked| {
            let began = before.map_or(now, |before| before.began);
            let until = asked.min(began.after(SUSPENSION_MAX));
            Suspension { began, until }
        });
        let until = self.suspension.map(|suspension| suspension.until);
        if let Some(principal) = self.principal.and_then(|index| self.participants.get_mut(index)) {
            principal.peers.hold(until);
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

    /// What our XPN set says: as key server, how many seconds are left.
    pub(super) fn suspended_for(&self, now: Time) -> u8 {
        let left = self.suspension.filter(|_| self.is_server()).map(|of| of.until.since(now));
        let seconds = left.map_or(0, |left| left.as_millis().div_ceil(1000));
        u8::try_from(seconds).unwrap_or(u8::MAX)
    }

    /// Until when those whose word counts want it: as key server anyone, else the key server.
    fn asked_until(&self) -> Option<Time> {
        let server = self.elected()?.mi;
        let peers = self.principal().into_iter().flat_map(|principal| principal.peers.live());
        let counts = peers.filter(|&(mi, _)| server.is_none_or(|server| server == mi));
        counts.filter_map(|(_, peer)| asked_until(peer)).max()
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
