//! The members of one CA as we see them: potential until they prove that they hear us, then live.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::discard::Discard;
use super::way::Way;
use crate::ident::{KeyId, KeyServerPriority, MemberId, MessageNumber, Sci};
use crate::time::Time;
use crate::wire::{Basic, MacsecCapability, PeerEntry, SakUse};

/// The most entries that both lists of an MKPDU have together: what fits beside all other sets.
pub(super) const LISTED_MAX: usize = 75;

/// The most live peers.
pub(super) const LIVE_MAX: usize = 64;

/// The most potential peers. Strangers past it are refused, never swapped in.
pub(super) const POTENTIAL_MAX: usize = 32;

/// How much later a live peer's hello may be than its MKA Life Time. The third hello after the last
/// one that was heard is due exactly then: with two lost on the way it is not to come too late by
/// what clocks and wires add.
pub(super) const JITTER: Duration = Duration::from_millis(250);

/// A member that we have heard.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(super) struct Peer {
    pub(super) sci: Sci,
    pub(super) mn: MessageNumber,
    pub(super) first_heard: Time,
    pub(super) heard: Time,
    /// Until when it is live; `None` for a potential peer.
    live_until: Option<Time>,
    pub(super) priority: KeyServerPriority,
    pub(super) key_server: bool,
    pub(super) capability: MacsecCapability,
    pub(super) mka_version: u8,
    /// The suites it announced, where it announced any.
    pub(super) announced: Option<Vec<[u8; 8]>>,
    /// The keys it last said it uses.
    pub(super) sak_use: Option<SakUse>,
    /// The high halves of its LPNs, latest and old; 0 where it sends none.
    pub(super) lpn_high: (u32, u32),
    /// The suspension time in its XPN set; `None` where it sends none.
    pub(super) suspension: Option<u8>,
    /// The latest of our message numbers that it has shown to have heard.
    pub(super) echoed: Option<MessageNumber>,
    /// How its last MKPDU came.
    pub(super) way: Option<Way>,
    /// Whether it puts an ICV Indicator in front of its ICV.
    pub(super) icv_indicator: bool,
}

impl Peer {
    pub(super) fn is_live(&self) -> bool {
        self.live_until.is_some()
    }

    /// Tells whether it says that it sends or takes frames in clear beside protected ones.
    pub(super) fn is_also_in_clear(&self) -> bool {
        self.sak_use.is_some_and(|sak_use| sak_use.plain_tx || sak_use.plain_rx)
    }

    /// When it is lost; nobody who is live is before `held`.
    fn expires(&self, life: Duration, held: Option<Time>) -> Time {
        let live_until = self.live_until.map(|until| held.map_or(until, |held| until.max(held)));
        live_until.unwrap_or(self.heard.after(life))
    }

    /// Tells whether it says it receives with this key, in whichever place it names the key.
    pub(super) fn receives(&self, ki: KeyId) -> bool {
        self.uses().any(|(key, _)| key.ki == ki && key.rx)
    }

    /// Tells whether it says it transmits with this key.
    pub(super) fn transmits(&self, ki: KeyId) -> bool {
        self.uses().any(|(key, _)| key.ki == ki && key.tx)
    }

    /// The lowest packet number it may still send with this key, whose suite is XPN or not.
    pub(super) fn llpn(&self, ki: KeyId, xpn: bool) -> Option<u64> {
        let (key, high) = self.uses().find(|(key, _)| key.ki == ki)?;
        let high = if xpn { u64::from(high) } else { 0 };
        Some(high << 32 | u64::from(key.llpn))
    }

    /// The keys it names, each with the high half of its LPN.
    pub(super) fn uses(&self) -> impl Iterator<Item = (&crate::wire::SakUseKey, u32)> {
        let (latest_high, old_high) = self.lpn_high;
        let keys = self.sak_use.iter();
        keys.flat_map(move |sak_use| {
            let latest = sak_use.latest.iter().map(move |key| (key, latest_high));
            latest.chain(sak_use.old.iter().map(move |key| (key, old_high)))
        })
    }
}

/// What an MKPDU has changed.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) struct Change {
    /// Somebody new is heard or has become live, or stands differently in the election.
    pub(super) news: bool,
}

/// All members of a CA besides us.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(super) struct Peers {
    /// How long a silent member stays: MKA Life Time.
    life: Duration,
    /// Until when no live member is lost.
    held: Option<Time>,
    /// Those heard. Ordered, so that a walk over it is the same on every run.
    heard: BTreeMap<MemberId, Peer>,
    /// Those that only a live peer has told of, with the MN it gave and when to forget them.
    told: BTreeMap<MemberId, (MessageNumber, Time)>,
    /// MIs whose owner has taken another, our own former one among them. Others may list them for
    /// a while yet, and they are nobody.
    former: BTreeMap<MemberId, Time>,
}

impl Peers {
    /// Knows nobody yet.
    pub(super) fn new(life: Duration) -> Self {
        let (heard, told, former) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        Self { life, held: None, heard, told, former }
    }

    /// The same, where silent members stay for so long.
    pub(super) fn with_life(self, life: Duration) -> Self {
        Self { life, ..self }
    }

    pub(super) fn get(&self, mi: MemberId) -> Option<&Peer> {
        self.heard.get(&mi)
    }

    pub(super) fn get_mut(&mut self, mi: MemberId) -> Option<&mut Peer> {
        self.heard.get_mut(&mi)
    }

    /// Everyone heard, live or potential.
    pub(super) fn iter(&self) -> impl Iterator<Item = (MemberId, &Peer)> {
        self.heard.iter().map(|(&mi, peer)| (mi, peer))
    }

    pub(super) fn live(&self) -> impl Iterator<Item = (MemberId, &Peer)> {
        self.iter().filter(|(_, peer)| peer.is_live())
    }

    pub(super) fn has_live(&self) -> bool {
        self.live().next().is_some()
    }

    /// The live peers as a list shows them.
    pub(super) fn live_entries(&self) -> Vec<PeerEntry> {
        self.live().map(|(mi, peer)| PeerEntry { mi, mn: peer.mn }).collect()
    }

    /// The potential peers as a list shows them: those heard, then those told of.
    pub(super) fn potential_entries(&self) -> Vec<PeerEntry> {
        let heard = self.iter().filter(|(_, peer)| !peer.is_live());
        let heard = heard.map(|(mi, peer)| PeerEntry { mi, mn: peer.mn });
        let told = self.told.iter().filter(|(mi, _)| !self.heard.contains_key(mi));
        heard.chain(told.map(|(&mi, &(mn, _))| PeerEntry { mi, mn })).collect()
    }

    /// Tells whether strangers are about who may join soon: potential peers, but not those who
    /// claim the SCI of a live one. A successor replaces it when it proves itself, and a replay of
    /// an earlier session never does; neither may hold up a fresh SAK.
    pub(super) fn has_strangers(&self) -> bool {
        !self.told.is_empty() || self.hears_strangers()
    }

    /// Tells the same of those alone who were heard themselves.
    pub(super) fn hears_strangers(&self) -> bool {
        let live_sci = |sci| self.live().any(|(_, live)| live.sci == sci);
        self.iter().any(|(_, peer)| !peer.is_live() && !live_sci(peer.sci))
    }

    /// Takes note of a member's MKPDU, whose ICV is good; `proof` tells whether it lists us as
    /// recently heard (802.1X-2020 9.4.3).
    ///
    /// # Errors
    ///
    /// The reason why the MKPDU is to be discarded. Nothing has changed then.
    pub(super) fn hear(
        &mut self,
        now: Time,
        basic: &Basic,
        proof: bool,
    ) -> Result<Change, Discard> {
        // What a station sent before it restarted may arrive after what it sent since, and must not
        // take the place of that. (A former MI of our own can be another's by collision.)
        let is_replaced = || self.live().any(|(_, peer)| peer.sci == basic.sci);
        if !self.heard.contains_key(&basic.mi) {
            if self.former.contains_key(&basic.mi) && is_replaced() {
                return Err(Discard::Replayed);
            }
            self.admit(now, basic, proof)?;
        } else if self.heard.get(&basic.mi).is_some_and(|peer| basic.mn <= peer.mn) {
            return Err(Discard::Replayed);
        } else if proof && self.live_is_full(basic.mi) {
            return Err(Discard::PeersFull);
        }
        let Some(peer) = self.heard.get_mut(&basic.mi) else { return Err(Discard::PeersFull) };
        let stood = (peer.is_live(), peer.priority, peer.key_server, peer.mn == basic.mn);
        peer.mn = basic.mn;
        peer.heard = now;
        peer.priority = basic.key_server_priority;
        peer.key_server = basic.key_server;
        // Some clear it once the SAK is out. What a member could do it still can.
        peer.capability = peer.capability.max(basic.macsec_capability);
        peer.mka_version = basic.version;
        if proof {
            peer.live_until = Some(now.after(self.life).after(JITTER));
            // Before, an outsider could have replayed what a stranger said long ago.
            self.told.remove(&basic.mi);
        }
        let stands = (peer.is_live(), peer.priority, peer.key_server, false);
        if proof && !stood.0 {
            let first_heard = peer.first_heard;
            self.replace_former(now, basic, first_heard);
        }
        Ok(Change { news: stood != stands })
    }

    /// A member that restarted comes back with its SCI and a new MI. Once it has proved itself, it
    /// takes the place of its former self at once, also of one that was heard but not proved.
    fn replace_former(&mut self, now: Time, basic: &Basic, first_heard: Time) {
        let former = |(&mi, peer): (&MemberId, &Peer)| {
            let older = peer.is_live() || peer.first_heard < first_heard;
            (mi != basic.mi && peer.sci == basic.sci && older).then_some(mi)
        };
        let former: Vec<_> = self.heard.iter().filter_map(former).collect();
        for mi in former {
            self.heard.remove(&mi);
            self.bury(now, mi);
        }
    }

    fn admit(&mut self, now: Time, basic: &Basic, proof: bool) -> Result<(), Discard> {
        let potential = self.heard.values().filter(|peer| !peer.is_live()).count();
        let full = if proof { self.live_is_full(basic.mi) } else { potential >= POTENTIAL_MAX };
        if full {
            return Err(Discard::PeersFull);
        }
        let peer = Peer {
            sci: basic.sci,
            mn: basic.mn,
            first_heard: now,
            heard: now,
            live_until: None,
            priority: basic.key_server_priority,
            key_server: basic.key_server,
            capability: basic.macsec_capability,
            mka_version: basic.version,
            announced: None,
            sak_use: None,
            lpn_high: (0, 0),
            suspension: None,
            echoed: None,
            way: None,
            icv_indicator: false,
        };
        self.heard.insert(basic.mi, peer);
        Ok(())
    }

    fn live_is_full(&self, joining: MemberId) -> bool {
        let already = self.heard.get(&joining).is_some_and(Peer::is_live);
        !already && self.live().count() >= LIVE_MAX
    }

    /// Takes note of whom a live peer lists as live: unknown ones become potential peers. What it
    /// says of the MNs of members that we know ourselves is not believed.
    pub(super) fn told_of(&mut self, now: Time, listed: &[PeerEntry], own: MemberId) -> Change {
        let mut news = false;
        for entry in listed {
            let known = self.heard.contains_key(&entry.mi) || self.former.contains_key(&entry.mi);
            if entry.mi == own || known {
                continue;
            }
            if self.told.contains_key(&entry.mi) || self.told.len() < POTENTIAL_MAX {
                let before = self.told.insert(entry.mi, (entry.mn, now.after(self.life)));
                news |= before.is_none();
            }
        }
        Change { news }
    }

    /// Has live members stay, though silent, until then.
    pub(super) fn hold(&mut self, until: Option<Time>) {
        self.held = until;
    }

    /// Leaves the live members of this SCI no more time than this.
    #[cfg(test)]
    pub(super) fn cut_short(&mut self, sci: Sci, until: Time) {
        for peer in self.heard.values_mut().filter(|peer| peer.sci == sci) {
            peer.live_until = peer.live_until.map(|at| at.min(until));
        }
    }

    /// Gives every live member another MKA Life Time.
    pub(super) fn extend(&mut self, now: Time) {
        for peer in self.heard.values_mut() {
            peer.live_until = peer.live_until.map(|_| now.after(self.life).after(JITTER));
        }
    }

    /// Drops whoever's time is up; a live peer that is still heard falls back to potential.
    pub(super) fn handle_timeout(&mut self, now: Time) -> Change {
        let before = (self.heard.len(), self.live().count(), self.told.len());
        let (life, held) = (self.life, self.held);
        for peer in self.heard.values_mut() {
            if peer.is_live() && peer.expires(life, held) <= now {
                peer.live_until = None;
                peer.sak_use = None;
            }
        }
        self.heard.retain(|_, peer| peer.expires(life, held) > now);
        self.told.retain(|_, &mut (_, until)| until > now);
        self.former.retain(|_, &mut until| until > now);
        Change { news: before != (self.heard.len(), self.live().count(), self.told.len()) }
    }

    /// When `handle_timeout` next has work; `None` means never.
    pub(super) fn poll_timeout(&self) -> Option<Time> {
        let heard = self.heard.values().map(|peer| peer.expires(self.life, self.held));
        heard.chain(self.told.values().map(|&(_, until)| until)).min()
    }

    /// Forgets everyone, as a new MI of our own demands, and takes note of the former one.
    pub(super) fn start_again(&mut self, now: Time, former: MemberId) {
        *self = Self::new(self.life);
        self.bury(now, former);
    }

    fn bury(&mut self, now: Time, mi: MemberId) {
        self.told.remove(&mi);
        if self.former.len() < POTENTIAL_MAX {
            // The others notice within a life time, and what they say is then on its way.
            self.former.insert(mi, now.after(2 * self.life));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ident::{Ckn, MacAddress};
    use crate::mka::timers::LIFE;

    fn basic(mi: u8, address: u8, mn: u32) -> Basic {
        Basic {
            version: 3,
            key_server_priority: KeyServerPriority(16),
            key_server: true,
            macsec_desired: true,
            macsec_capability: MacsecCapability::Offset0,
            sci: Sci::new(MacAddress([2, 0, 0, 0, 0, address]), 1),
            mi: MemberId::from_octets([mi; 12]),
            mn: MessageNumber(mn),
            ckn: Ckn::new(b"ckn").unwrap(),
        }
    }

    fn at(millis: u64) -> Time {
        Time::ZERO.after(Duration::from_millis(millis))
    }

    fn live(peers: &Peers) -> Vec<u8> {
        peers.live().map(|(mi, _)| mi.octets()[0]).collect()
    }

    /// A peer is live until, and not at, the moment its life time ends, and what a hello may be late
    /// (802.1X-2020 9.4.3).
    #[test]
    fn a_silent_peer_is_lost_at_its_deadline_and_not_before() {
        let mut peers = Peers::new(LIFE);
        assert_eq!(peers.hear(at(0), &basic(1, 1, 1), true), Ok(Change { news: true }));
        assert_eq!(peers.poll_timeout(), Some(at(6250)));

        assert_eq!(peers.handle_timeout(at(6249)), Change { news: false });
        assert_eq!(live(&peers), [1]);
        assert_eq!(peers.handle_timeout(at(6250)), Change { news: true });
        assert_eq!((live(&peers), peers.poll_timeout()), (vec![], None));
    }

    #[test]
    fn a_peer_that_stops_proving_itself_falls_back_to_potential() {
        let mut peers = Peers::new(LIFE);
        peers.hear(at(0), &basic(1, 1, 1), true).unwrap();
        peers.hear(at(4000), &basic(1, 1, 2), false).unwrap();

        peers.handle_timeout(at(6250));
        assert_eq!(live(&peers), [0_u8; 0]);
        assert_eq!(peers.potential_entries().len(), 1);
        peers.handle_timeout(at(10_000));
        assert_eq!(peers.potential_entries().len(), 0);
    }

    #[test]
    fn an_old_message_changes_nothing() {
        let mut peers = Peers::new(LIFE);
        peers.hear(at(0), &basic(1, 1, 7), true).unwrap();

        assert_eq!(peers.hear(at(5000), &basic(1, 1, 7), true), Err(Discard::Replayed));
        assert_eq!(peers.hear(at(5000), &basic(1, 1, 6), true), Err(Discard::Replayed));
        assert_eq!(peers.poll_timeout(), Some(at(6250)));
    }

    #[test]
    fn a_restarted_peer_replaces_itself_once_it_has_proved_itself_and_not_before() {
        let mut peers = Peers::new(LIFE);
        peers.hear(at(0), &basic(1, 1, 7), true).unwrap();
        peers.hear(at(10), &basic(2, 1, 1), false).unwrap();
        assert_eq!(live(&peers), [1]);
        assert!(!peers.has_strangers(), "a successor holds nothing up");

        peers.hear(at(20), &basic(2, 1, 2), true).unwrap();
        assert_eq!(live(&peers), [2]);
        assert_eq!(peers.iter().count(), 1);
    }

    /// What another of its MIs was heard of before goes, proved or not.
    #[test]
    fn a_restarted_peer_replaces_whatever_was_heard_of_its_sci_before() {
        let mut peers = Peers::new(LIFE);
        peers.hear(at(0), &basic(1, 1, 1), false).unwrap();
        peers.hear(at(10), &basic(2, 1, 1), true).unwrap();
        assert_eq!((live(&peers), peers.iter().count()), (vec![2], 1));
    }

    #[test]
    fn a_late_message_of_the_former_self_does_not_bring_it_back() {
        let mut peers = Peers::new(LIFE);
        peers.hear(at(0), &basic(1, 1, 7), true).unwrap();
        peers.hear(at(10), &basic(2, 1, 1), true).unwrap();

        assert_eq!(peers.hear(at(20), &basic(1, 1, 8), true), Err(Discard::Replayed));
        assert_eq!(live(&peers), [2]);
    }

    #[test]
    fn strangers_past_the_limit_are_refused_and_live_peers_stay() {
        let mut peers = Peers::new(LIFE);
        peers.hear(at(0), &basic(200, 200, 1), true).unwrap();
        for mi in 0..u8::try_from(POTENTIAL_MAX).unwrap() {
            peers.hear(at(1), &basic(mi, mi, 1), false).unwrap();
        }
        assert_eq!(peers.hear(at(2), &basic(100, 100, 1), false), Err(Discard::PeersFull));
        assert_eq!(live(&peers), [200]);
        assert!(peers.hear(at(3), &basic(101, 101, 1), true).is_ok());
    }

    #[test]
    fn live_peers_past_the_limit_are_refused_and_those_that_are_stay() {
        let mut peers = Peers::new(LIFE);
        let last = u8::try_from(LIVE_MAX).unwrap();
        for mi in 0..last {
            peers.hear(at(0), &basic(mi, mi, 1), true).unwrap();
        }
        assert_eq!(peers.hear(at(1), &basic(last, last, 1), true), Err(Discard::PeersFull));
        peers.hear(at(1), &basic(last, last, 1), false).unwrap();
        assert_eq!(peers.hear(at(2), &basic(last, last, 2), true), Err(Discard::PeersFull));
        assert!(peers.hear(at(3), &basic(0, 0, 2), true).is_ok());
        assert_eq!(peers.live().count(), LIVE_MAX);
    }

    #[test]
    fn what_is_only_told_of_or_gone_is_bounded_as_well() {
        let mut peers = Peers::new(LIFE);
        let own = MemberId::from_octets([255; 12]);
        peers.hear(at(0), &basic(200, 200, 1), true).unwrap();
        let entry = |mi| PeerEntry { mi: MemberId::from_octets([mi; 12]), mn: MessageNumber(1) };
        let many: Vec<_> = (0..100).map(entry).collect();
        peers.told_of(at(0), &many, own);
        assert_eq!(peers.potential_entries().len(), POTENTIAL_MAX);
        for mi in 0..100 {
            peers.bury(at(0), MemberId::from_octets([mi; 12]));
        }
        assert_eq!(peers.former.len(), POTENTIAL_MAX);
        peers.handle_timeout(at(12_000));
        assert_eq!(peers.former.len(), 0);
    }

    #[test]
    fn whom_a_live_peer_lists_becomes_potential_but_mns_are_not_taken_over() {
        let (mut peers, own) = (Peers::new(LIFE), MemberId::from_octets([9; 12]));
        peers.hear(at(0), &basic(1, 1, 5), true).unwrap();
        let entry =
            |mi, mn| PeerEntry { mi: MemberId::from_octets([mi; 12]), mn: MessageNumber(mn) };

        let change = peers.told_of(at(0), &[entry(9, 1), entry(1, 99), entry(2, 4)], own);
        assert_eq!(change, Change { news: true });
        assert_eq!(peers.potential_entries(), [entry(2, 4)]);
        assert_eq!(peers.live_entries(), [entry(1, 5)]);
        peers.handle_timeout(at(6000));
        assert_eq!(peers.potential_entries(), []);
    }
}
