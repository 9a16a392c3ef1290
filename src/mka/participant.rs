//! One instance of MKA: one CAK on one port (802.1X-2020 9.4).
//!
//! It knows who else holds the CAK and whom they elect. It knows nothing of SAs: the KaY lends it
//! the SecY's state when it speaks.

use std::sync::Arc;
use std::time::Duration;

use super::actor::{Actor, Mention};
use super::discard::Discard;
use super::election::{Candidate, elect};
use super::manners::{Manners, MkaVersion};
use super::pace::Pace;
use super::peers::{LISTED_MAX, Peer, Peers};
use super::policy::Policy;
use super::rollover::Speakers;
use super::way::{Way, is_trial, set_ethertype};
use crate::crypto::{Entropy, Ick, Kek, NoEntropy, Seal};
use crate::ident::{Ckn, KeyNumber, MacAddress, MemberId};
use crate::keyring::Key;
use crate::time::Time;
use crate::wire::{
    Basic, DistributedSak, LivePeerList, Mkpdu, PeerEntry, SakUseKey, SakUseSet, Xpn,
};

/// Key numbers end here, so that a new MI is taken well before they wrap.
const LAST_KN: u32 = u32::MAX - 1024;

#[derive(Debug)]
pub(super) struct Participant {
    pub(super) key: Arc<Key>,
    pub(super) ick: Ick,
    pub(super) kek: Kek,
    /// For what is kept over a restart.
    pub(super) seal: Seal,
    /// The seal of our MI, which shows in a record that this key was ours.
    pub(super) token: [u8; 16],
    pub(super) actor: Actor,
    pub(super) peers: Peers,
    pub(super) pace: Pace,
    pub(super) elected: Option<Candidate>,
    /// Since when there is no live peer; `None` while there is one.
    pub(super) alone_since: Option<Time>,
    /// Since when the key server speaks of SAKs in this CA, counted from the one it distributed
    /// last; `None` where it does not, because it does so in another.
    pub(super) keys_since: Option<Time>,
    pub(super) last_kn: u32,
    /// Another way than the configured one, on which some MKPDUs go while nobody answers; and on
    /// which all go, once that is what was answered.
    pub(super) trial: Option<Way>,
    pub(super) answered: Option<Way>,
    /// When a peer was first heard under this key, or was about to be when the key came; `None`
    /// once all that were heard are gone.
    pub(super) spoken: Option<Time>,
    pub(super) speakers: Speakers,
    /// How long a silent peer stays: MKA Life Time.
    pub(super) life: Duration,
}

/// What a participant says beyond itself.
#[derive(Debug, Default)]
pub(super) struct Speech {
    pub(super) sak_use: Option<SakUseSet>,
    pub(super) distributed_sak: Option<DistributedSak>,
    pub(super) xpn: Option<Xpn>,
    /// The order and server number of the Live Peer List, where an XPN SAK is distributed.
    pub(super) ssci_order: Option<(u8, Vec<MemberId>)>,
}

impl Participant {
    pub(super) fn new(
        now: Time,
        key: Arc<Key>,
        life: Duration,
        entropy: &mut dyn Entropy,
    ) -> Result<Self, NoEntropy> {
        Ok(Self::of(now, key, life, Actor::new(life, entropy)?))
    }

    /// Goes by this identity, and knows nobody.
    pub(super) fn of(now: Time, key: Arc<Key>, life: Duration, actor: Actor) -> Self {
        let seal = key.cak.seal(&key.ckn);
        Self {
            ick: key.cak.ick(&key.ckn),
            kek: key.cak.kek(&key.ckn),
            token: seal.tag(&actor.mi().octets()),
            seal,
            key,
            actor,
            peers: Peers::new(life),
            pace: Pace::new(now),
            elected: None,
            alone_since: Some(now),
            keys_since: None,
            last_kn: 0,
            trial: None,
            answered: None,
            spoken: None,
            speakers: Speakers::default(),
            life,
        }
    }

    pub(super) fn ckn(&self) -> &Ckn {
        &self.key.ckn
    }

    /// Takes note of a member's MKPDU, whose ICV is good, and of whom it lists.
    ///
    /// # Errors
    ///
    /// Why it is discarded. Nothing but our own MI can have changed then, and that only where
    /// another member proved to use it too.
    pub(super) fn hear(
        &mut self,
        now: Time,
        mkpdu: &Mkpdu,
        way: Way,
        own: MacAddress,
        entropy: &mut dyn Entropy,
    ) -> Result<(), Discard> {
        // Whoever's time is up is not to be believed once more before it is dropped.
        self.handle_timeout(now);
        let basic = &mkpdu.basic;
        // A reflection of our own MKPDU has our address, and must not make us change anything.
        if basic.sci.address() == own {
            return Err(Discard::OwnAddress);
        }
        if basic.mi == self.actor.mi() {
            self.renew(now, entropy);
            return Err(Discard::OwnMemberId);
        }
        if self.peers.get(basic.mi).is_some_and(|peer| basic.mn <= peer.mn) {
            return Err(Discard::Replayed);
        }
        let mentions: Vec<_> = lists(mkpdu)
            .filter(|entry| entry.mi == self.actor.mi())
            .map(|entry| self.actor.judge(now, entry.mn))
            .collect();
        if mentions.contains(&Mention::NeverSent) {
            self.renew(now, entropy);
            return Err(Discard::OwnMemberId);
        }
        let proof = mentions.contains(&Mention::Recent);
        let alone = !self.peers.has_live();
        let mut news = self.peers.hear(now, basic, proof)?.news;
        if let Some(peer) = self.peers.get_mut(basic.mi) {
            peer.way = Some(way);
            let own = lists(mkpdu).filter(|entry| entry.mi == self.actor.mi());
            peer.echoed = peer.echoed.max(own.map(|entry| entry.mn).max());
        }
        if proof && alone {
            let of_trial = lists(mkpdu).any(|of| of.mi == self.actor.mi() && is_trial(of.mn.0));
            self.answered = self.trial.filter(|_| of_trial);
        }
        self.spoken = self.spoken.or(Some(now));
        if self.peers.get(basic.mi).is_some_and(Peer::is_live)
            && let Some(list) = &mkpdu.live_peers
        {
            news |= self.peers.told_of(now, &list.peers, self.actor.mi()).news;
        }
        if news {
            self.pace.news();
        }
        Ok(())
    }

    /// Takes note of whether the key server has its keys in this CA.
    pub(super) fn note_keys(&mut self, now: Time, mkpdu: &Mkpdu) {
        if self.elected.and_then(|elected| elected.mi) != Some(mkpdu.basic.mi) {
            return;
        }
        // Some repeat in one CA what they use in another: a key belongs where its server's MI does.
        let own_key = |key: SakUseKey| key.ki.server == mkpdu.basic.mi;
        let names = match &mkpdu.sak_use {
            Some(SakUseSet::Keys(keys)) => keys.latest.into_iter().chain(keys.old).any(own_key),
            Some(SakUseSet::Unsupported) | None => false,
        };
        self.keys_since = match (&mkpdu.distributed_sak, names) {
            (Some(_), _) => Some(now),
            (None, true) => self.keys_since.or(Some(now)),
            (None, false) => None,
        };
    }

    /// Drops peers whose time is up.
    pub(super) fn handle_timeout(&mut self, now: Time) {
        if self.peers.handle_timeout(now).news {
            self.pace.news();
            self.spoken = self.spoken.filter(|_| self.peers.iter().next().is_some());
        }
    }

    /// Elects anew (802.1X-2020 9.5). Without a live peer there is nobody to serve.
    pub(super) fn elect(&mut self, now: Time, policy: &Policy) {
        self.speakers.note(now, &self.peers, self.life);
        let live = self.peers.live().filter(|(_, peer)| peer.key_server);
        let peers = live.map(|(mi, peer)| Candidate {
            mi: Some(mi),
            priority: peer.priority,
            sci: peer.sci,
        });
        let own = policy.may_serve().then_some(Candidate {
            mi: None,
            priority: policy.priority,
            sci: policy.sci,
        });
        let elected = if self.peers.has_live() { elect(peers.chain(own)) } else { None };
        if elected != self.elected {
            self.elected = elected;
            self.keys_since = None;
            self.pace.news();
        }
        self.alone_since = match (self.peers.has_live(), self.alone_since) {
            (true, _) => None,
            (false, None) => Some(now),
            (false, since) => since,
        };
    }

    /// Takes a new MI: to everyone else we are a new member now (802.1X-2020 9.4.2). Without
    /// randomness the old one stays; tells whether there was any.
    pub(super) fn renew(&mut self, now: Time, entropy: &mut dyn Entropy) -> bool {
        let Ok(actor) = Actor::new(self.life, entropy) else { return false };
        self.peers.start_again(now, self.actor.mi());
        self.token = self.seal.tag(&actor.mi().octets());
        self.actor = actor;
        self.elected = None;
        self.keys_since = None;
        self.alone_since = Some(now);
        self.last_kn = 0;
        self.pace.news();
        true
    }

    /// Spends the next key number.
    pub(super) fn next_kn(&mut self) -> KeyNumber {
        self.last_kn += 1;
        KeyNumber(self.last_kn)
    }

    /// Tells whether this identity has used up its numbers.
    pub(super) fn is_spent(&self) -> bool {
        self.actor.is_spent() || self.last_kn >= LAST_KN
    }

    /// Tells whether it has had no live peer for an MKA Life Time.
    pub(super) fn has_failed(&self, now: Time) -> bool {
        self.alone_since.is_some_and(|since| now.since(since) >= self.life)
    }

    /// Builds the next MKPDU, ICV and all; `None` where it would not fit a frame.
    pub(super) fn speak(&mut self, now: Time, policy: &Policy, speech: Speech) -> Option<Vec<u8>> {
        let Manners { version, icv_indicator, .. } = policy.manners;
        let ssci_order = speech.ssci_order.filter(|_| version >= MkaVersion::V3);
        let (key_server_ssci, live) = self.live_list(ssci_order);
        let mn = self.actor.number(now);
        let way = self.way(policy, mn.0);
        let mut peers = self.peers.live().map(|(_, peer)| peer);
        let asked = peers.any(|peer| peer.icv_indicator);
        let icv_indicator = icv_indicator.stands(mn.0, self.peers.has_live(), asked);
        // Whoever does not fit waits; the live peers depend on being listed.
        let mut potential = self.peers.potential_entries();
        potential.truncate(LISTED_MAX.saturating_sub(live.len()));
        let mkpdu = Mkpdu {
            basic: Basic {
                version: version as u8,
                key_server_priority: policy.priority,
                key_server: policy.may_serve()
                    && self.elected.is_none_or(|elected| elected.is_own()),
                macsec_desired: true,
                macsec_capability: policy.capability(),
                sci: policy.sci,
                mi: self.actor.mi(),
                mn,
                ckn: self.key.ckn.clone(),
            },
            live_peers: (!live.is_empty()).then_some(LivePeerList { key_server_ssci, peers: live }),
            potential_peers: (!potential.is_empty()).then_some(potential),
            sak_use: speech.sak_use,
            distributed_sak: speech.distributed_sak,
            distributed_cak: None,
            kmd: None,
            announcement: policy.announcement(),
            xpn: speech.xpn,
            icv_indicator,
        };
        let mut frame = mkpdu.encode(way.destination, policy.sci.address()).ok()?;
        set_ethertype(&mut frame, way.ethertype);
        let usual = way.usual(&frame).filter(|_| way.usual_icv);
        let icv = self.ick.icv(usual.as_ref().unwrap_or(&frame));
        frame.extend_from_slice(&icv);
        Some(frame)
    }

    /// How the MKPDU of this number goes.
    fn way(&mut self, policy: &Policy, mn: u32) -> Way {
        let configured = policy.way();
        if self.peers.has_live() {
            return self.answered.unwrap_or(configured);
        }
        let latest = self.peers.iter().max_by_key(|(_, peer)| peer.heard);
        self.trial = latest.and_then(|(_, peer)| peer.way).filter(|&way| way != configured);
        self.trial.filter(|_| is_trial(mn)).unwrap_or(configured)
    }

    /// The Live Peer List: those an XPN SAK is for in the order of their SSCIs, then the others.
    fn live_list(&self, order: Option<(u8, Vec<MemberId>)>) -> (u8, Vec<PeerEntry>) {
        let mut live = self.peers.live_entries();
        let Some((key_server_ssci, order)) = order else { return (0, live) };
        let position = |mi| order.iter().position(|&member| member == mi).unwrap_or(order.len());
        live.sort_by_key(|entry| position(entry.mi));
        (key_server_ssci, live)
    }
}

/// The entries of both peer lists.
fn lists(mkpdu: &Mkpdu) -> impl Iterator<Item = &PeerEntry> {
    let live = mkpdu.live_peers.iter().flat_map(|list| &list.peers);
    live.chain(mkpdu.potential_peers.iter().flatten())
}
