//! Several keys on one port: which of them leads, and how long it takes to change from one to
//! another (802.1X-2020 9.4.1, 12.2).
//!
//! The SecY knows nothing of it: the first SAK of a new CA is taken up as at any rekey, beside the
//! one before it.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::kay::Kay;
use super::participant::Participant;
use super::peers::Peers;
use crate::ident::{Ckn, KeyId, Sci};
use crate::keyring::Preference;
use crate::time::Time;

/// The changes of key on one port.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub(super) struct Rollover {
    /// Comes with the keys.
    #[serde(skip)]
    pub(super) preference: Preference,
    /// When the ring was last another one.
    pub(super) ring_set: Option<Time>,
    /// Until when what holds stands although nobody is met under any key of the ring.
    pub(super) bridge: Option<Time>,
    /// The key that leads, or did last, and since when.
    leads: Option<(Ckn, Time)>,
    /// The key in whose CA the SAK is that frames were last sent with.
    sends: Option<Ckn>,
    /// How long the last change took.
    pub(super) last_switch: Option<Duration>,
}

/// Since when each peer speaks a key, and when it was last live in its CA. A peer that takes a new
/// MI, or has to meet us under one, does not begin anew.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub(super) struct Speakers(BTreeMap<Sci, (Time, Time)>);

impl Speakers {
    /// Takes note of who is live now.
    pub(super) fn note(&mut self, now: Time, peers: &Peers, life: Duration) {
        for (_, peer) in peers.live() {
            self.0.entry(peer.sci).or_insert((now, now)).1 = now;
        }
        self.0.retain(|_, (_, live)| now.since(*live) < life);
    }

    fn began(&self, sci: Sci) -> Option<Time> {
        self.0.get(&sci).map(|&(began, _)| began)
    }
}

impl Kay {
    /// Chooses the principal (802.1X-2020 9.4.1, 12.2): the participant with the best key server.
    /// Where one server stands in several, it is we who choose if we are the server: the key that
    /// most peers speak, and of several such the one that began to be spoken last or stands first.
    /// Else we follow the server to where it has its keys.
    pub(super) fn choose_principal(&self) -> Option<usize> {
        let best = self.best_server()?;
        let served = self.participants.iter().enumerate().filter_map(|(index, participant)| {
            let elected = participant.elected.filter(|elected| elected.rank() == best)?;
            Some((index, participant, elected.is_own()))
        });
        served
            .max_by_key(|&(index, participant, own)| {
                let (peers, began) = if own { self.support(participant) } else { (0, None) };
                let keys = if own { None } else { participant.keys_since };
                (peers, began, keys, Reverse(index))
            })
            .map(|(index, ..)| index)
    }

    /// How many peers a participant has, and when the last of them began to speak its key, where that
    /// counts. A station that restarted is one peer, though it is there twice for a while.
    fn support(&self, participant: &Participant) -> (usize, Option<Time>) {
        let live: BTreeSet<_> = participant.peers.live().map(|(_, peer)| peer.sci).collect();
        let began = match self.rollover.preference {
            Preference::InOrder => None,
            Preference::LastSpoken => {
                live.iter().filter_map(|&sci| participant.speakers.began(sci)).max()
            }
        };
        (live.len(), began)
    }

    /// Tells whether the SAs and the decision of the key server that we had stand, although its key
    /// has left the ring and nobody has been met yet under another. It has not gone, and whoever
    /// holds one of our keys is met within a hello; so it is as with a peer that is silent. Where
    /// nothing can be sent there is nothing to keep.
    pub(super) fn bridges(&self, now: Time) -> bool {
        let nobody = self.participants.iter().all(|of| of.elected.is_none());
        let sends = self.cp.transmits_with().is_some();
        nobody && sends && self.rollover.bridge.is_some_and(|until| now < until)
    }

    /// Takes note of which key leads.
    pub(super) fn note_leader(&mut self, now: Time) {
        let Some(ckn) = self.principal().map(Participant::ckn) else { return };
        if self.rollover.leads.as_ref().is_none_or(|(leads, _)| leads != ckn) {
            self.rollover.leads = Some((ckn.clone(), now));
        }
    }

    /// Takes note that frames are sent with this SAK from now on.
    pub(super) fn note_sending(&mut self, now: Time, ki: KeyId) {
        let Some(ckn) = self.ckn_of(ki) else { return };
        let before = self.rollover.sends.replace(ckn.clone());
        if before.is_some_and(|before| before != ckn) {
            self.rollover.last_switch = Some(now.since(self.switch_began(now, &ckn)));
        }
    }

    /// From when on the change to this key is counted: from the first MKPDU of a peer under it, or
    /// from when the ring became what it is. Where it has stood by for longer than a life time, from
    /// when it was made to lead.
    fn switch_began(&self, now: Time, ckn: &Ckn) -> Time {
        let spoken = self.participants.iter().find(|of| of.ckn() == ckn).and_then(|of| of.spoken);
        let led = self.rollover.leads.as_ref().filter(|(leads, _)| leads == ckn);
        let led = led.map_or(now, |&(_, since)| since);
        let ready = spoken.max(self.rollover.ring_set.filter(|&at| at <= led)).unwrap_or(led);
        if led.since(ready) > self.policy.manners.life { led } else { ready }
    }

    /// The key in whose CA an SAK is.
    pub(super) fn ckn_of(&self, ki: KeyId) -> Option<Ckn> {
        let known = self.saks.get(ki).map(|sak| sak.wrapped.ckn.clone());
        let holds =
            |of: &&Participant| of.actor.mi() == ki.server || of.peers.get(ki.server).is_some();
        known.or_else(|| self.participants.iter().find(holds).map(|of| of.ckn().clone()))
    }
}
