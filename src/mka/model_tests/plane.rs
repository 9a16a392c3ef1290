//! A data plane that does as it is told, and what must hold of what it is told, over all lives of
//! all stations.

use std::collections::{BTreeMap, BTreeSet};

use super::fork::digest_of;
use crate::ident::{AssociationNumber, KeyId, MemberId, MessageNumber, Sci, Ssci};
use crate::mka::peers::Peer;
use crate::mka::timers::LIFE;
use crate::mka::{Kay, PortState};
use crate::secy::{InstallSak, SecyCommand, SecyError};
use crate::time::Time;
use crate::wire::{Eapol, RawMkpdu};

/// When the latest MKPDU of each MI was sent that somebody knows of.
pub(super) type Knowledge = BTreeMap<MemberId, Time>;

/// A law that was broken, and how.
pub(super) type Broken = (&'static str, String);

pub(super) const NONCES: &str = "I1: one SSCI is never two members under one SAK";
pub(super) const INSTALLS: &str =
    "I2: a key is installed once, on a free association, and never left and come back to";
pub(super) const KEYS: &str = "I3: one key identifier is one SAK";
pub(super) const CLEAR: &str = "I4: no port is open that does not protect";
pub(super) const CHANGEOVER: &str = "I5: nobody transmits what its peers do not receive yet";
pub(super) const PROOFS: &str = "I6: a peer is live only by fresh proof";
pub(super) const PROGRESS: &str = "whoever has handled all wants to be called later, and not now";
pub(super) const CLAIMS: &str =
    "a port that says that it is secured sends protected frames, all answers heard";
pub(super) const HELLOS: &str = "whoever is there is heard every MKA Hello Time";
pub(super) const STAYS: &str =
    "a peer that has proved itself is live for an MKA Life Time, or as its successor";
pub(super) const MUTE: &str = "a port that cannot send is closed after an MKA Life Time";

fn ensure(holds: bool, law: &'static str, how: impl FnOnce() -> String) -> Result<(), Broken> {
    if holds { Ok(()) } else { Err((law, how())) }
}

/// What an MKPDU says of its sender and of whom it has heard.
#[derive(Debug)]
pub(super) struct Said {
    pub(super) sci: Sci,
    pub(super) mi: MemberId,
    mn: MessageNumber,
    /// Of both peer lists.
    heard: Vec<(MemberId, MessageNumber)>,
}

impl Said {
    pub(super) fn of(octets: &[u8]) -> Self {
        let mkpdu = RawMkpdu::decode(&Eapol::decode(octets).unwrap()).unwrap().parse().unwrap();
        let live = mkpdu.live_peers.iter().flat_map(|list| &list.peers);
        let both = live.chain(mkpdu.potential_peers.iter().flatten());
        let heard = both.map(|entry| (entry.mi, entry.mn)).collect();
        Self { sci: mkpdu.basic.sci, mi: mkpdu.basic.mi, mn: mkpdu.basic.mn, heard }
    }
}

/// When MKPDUs were sent. Two worlds that differ in nothing but this go on alike: what counts is
/// as recent as a KaY remembers itself.
#[derive(Clone, Debug, Default)]
struct Sent(BTreeMap<(MemberId, MessageNumber), Time>);

impl std::hash::Hash for Sent {
    fn hash<H: std::hash::Hasher>(&self, _: &mut H) {}
}

/// A live peer, by our own MI and its MI: its SCI, the number it came with last, and when it last
/// proved itself.
type Proofs = BTreeMap<(MemberId, MemberId), (Sci, MessageNumber, Time)>;

/// The SAs of an SAK.
#[derive(Clone, Debug, Hash)]
pub(super) struct Association {
    an: AssociationNumber,
    pub(super) ssci: Option<Ssci>,
    /// Whom it receives, and as whom.
    pub(super) receive: BTreeMap<Sci, Option<Ssci>>,
    lost: bool,
}

#[derive(Clone, Debug, Default, Hash)]
pub(super) struct Plane {
    protects: bool,
    open: bool,
    pub(super) sas: BTreeMap<KeyId, Association>,
    transmits: Option<KeyId>,
    superseded: BTreeSet<KeyId>,
}

impl Plane {
    /// What it sends protected frames with.
    pub(super) fn sends_with(&self) -> Option<KeyId> {
        let able = |ki: &KeyId| self.sas.get(ki).is_some_and(|sa| !sa.lost);
        self.transmits.filter(able).filter(|_| self.open && self.protects)
    }

    /// The keys that it could lose.
    pub(super) fn keys(&self) -> Vec<KeyId> {
        self.sas.iter().filter(|(_, sa)| !sa.lost).map(|(&ki, _)| ki).collect()
    }

    pub(super) fn lose(&mut self, ki: KeyId) {
        if let Some(sa) = self.sas.get_mut(&ki) {
            sa.lost = true;
        }
    }
}

/// What there has been, in all lives.
#[derive(Clone, Debug, Default, Hash)]
pub(super) struct History {
    keys: BTreeMap<KeyId, u64>,
    installed: BTreeMap<(usize, KeyId), Time>,
    sscis: BTreeMap<(KeyId, Ssci), usize>,
    received: BTreeSet<(KeyId, usize, Sci)>,
    enabled: BTreeSet<(KeyId, Sci)>,
    /// When the latest MKPDU of an MI was sent of which a station knows: it has reached it, or
    /// somebody who knew of it has told it.
    knows: BTreeMap<usize, Knowledge>,
    /// Since when a station's port is open and nothing can be sent.
    mute: BTreeMap<usize, Time>,
    sent: Sent,
    proofs: BTreeMap<usize, Proofs>,
}

impl History {
    /// A station sends: it knows of itself.
    pub(super) fn send(&mut self, now: Time, station: usize, said: &Said) -> Knowledge {
        self.sent.0.insert((said.mi, said.mn), now);
        let knows = self.knows.entry(station).or_default();
        knows.insert(said.mi, now);
        knows.clone()
    }

    /// A station hears from somebody who knew this.
    pub(super) fn hear(&mut self, station: usize, told: &Knowledge) {
        let knows = self.knows.entry(station).or_default();
        for (&mi, &sent) in told {
            let latest = knows.entry(mi).or_insert(sent);
            *latest = sent.max(*latest);
        }
    }

    /// Carries out a command and judges it. `station_of` tells whose channel one is.
    pub(super) fn execute(
        &mut self,
        now: Time,
        (station, kay): (usize, &Kay),
        plane: &mut Plane,
        command: &SecyCommand,
    ) -> Result<Result<(), SecyError>, Broken> {
        let missing = |ki: KeyId| Ok(Err(SecyError::NoSuchKey(ki)));
        match command {
            SecyCommand::Configure(settings) => plane.protects = settings.protect,
            SecyCommand::SetControlledPort(open) => {
                plane.open = *open;
                ensure(!open || plane.protects, CLEAR, || format!("station {station}"))?;
            }
            SecyCommand::InstallSak(install) => self.install(now, station, plane, install)?,
            SecyCommand::AddReceiver { ki, member } => {
                let Some(sa) = plane.sas.get_mut(ki) else { return missing(*ki) };
                sa.receive.insert(member.sci, member.ssci);
                self.received.insert((*ki, station, member.sci));
            }
            SecyCommand::RemoveReceiver(sci) => {
                for sa in plane.sas.values_mut() {
                    sa.receive.remove(sci);
                }
            }
            SecyCommand::EnableTx(ki) => {
                self.judge_start(now, station, kay, *ki)?;
                let back = plane.superseded.contains(ki) || !plane.sas.contains_key(ki);
                ensure(!back, INSTALLS, || format!("station {station} enables {ki}"))?;
                plane.superseded.extend(plane.transmits.filter(|of| of != ki));
                plane.transmits = Some(*ki);
                self.enabled.insert((*ki, kay.policy.sci));
            }
            SecyCommand::RemoveSak(ki) => {
                if plane.sas.remove(ki).is_none() {
                    return missing(*ki);
                }
                plane.transmits = plane.transmits.filter(|of| of != ki);
            }
            SecyCommand::RaiseLowestPn { .. } => {}
        }
        Ok(Ok(()))
    }

    fn install(
        &mut self,
        now: Time,
        station: usize,
        plane: &mut Plane,
        install: &InstallSak,
    ) -> Result<(), Broken> {
        let (ki, an, ssci) = (install.key.ki, install.an, install.ssci);
        let sak = digest_of(&install.key.sak.expose());
        let same = *self.keys.entry(ki).or_insert(sak) == sak;
        ensure(same, KEYS, || format!("{ki} is two"))?;
        let again = self.installed.insert((station, ki), now).is_some();
        ensure(!again, INSTALLS, || format!("station {station} installs {ki} again"))?;
        let busy = plane.sas.values().any(|sa| sa.an == an);
        ensure(!busy, INSTALLS, || format!("station {station} installs {ki} on {an:?}, taken"))?;
        if let Some(ssci) = ssci {
            let user = *self.sscis.entry((ki, ssci)).or_insert(station);
            let how = || format!("{ki}: {ssci:?} is stations {user} and {station}");
            ensure(user == station, NONCES, how)?;
        }
        let receive: BTreeMap<_, _> = install.receive.iter().map(|of| (of.sci, of.ssci)).collect();
        self.received.extend(receive.keys().map(|&sci| (ki, station, sci)));
        plane.sas.insert(ki, Association { an, ssci, receive, lost: false });
        Ok(())
    }

    /// The key server transmits once all live peers receive, the others once the key server
    /// transmits, and either after an MKA Life Time.
    fn judge_start(&self, now: Time, station: usize, kay: &Kay, ki: KeyId) -> Result<(), Broken> {
        let waited = self.installed.get(&(station, ki)).is_some_and(|&at| now.since(at) >= LIFE);
        let elected = kay.elected();
        let own = elected.is_none_or(|elected| elected.is_own());
        let live = kay.principal().into_iter().flat_map(|principal| principal.peers.live());
        let may = if own {
            live.map(|(_, peer)| station_of(peer.sci))
                .all(|peer| self.received.contains(&(ki, peer, kay.policy.sci)))
        } else {
            elected.is_some_and(|server| self.enabled.contains(&(ki, server.sci)))
        };
        ensure(may || waited, CHANGEOVER, || format!("station {station} transmits with {ki}"))
    }

    /// Judges how a station stands after everything is handled.
    pub(super) fn judge(
        &mut self,
        now: Time,
        station: usize,
        kay: &Kay,
        (plane, answered, wakes): (&Plane, bool, Option<Time>),
    ) -> Result<(), Broken> {
        let later = wakes.map_or(!kay.carrier, |at| at > now);
        ensure(later, PROGRESS, || format!("station {station} wants {wakes:?} at {now}"))?;
        ensure(!plane.open || plane.protects, CLEAR, || format!("station {station}"))?;
        let secured = kay.state() == PortState::Secured;
        let sends = plane.sends_with().is_some() || !answered;
        ensure(!secured || sends, CLAIMS, || format!("station {station}"))?;
        self.judge_mute(now, station, plane.open && !sends)?;
        self.judge_losses(now, station, kay)?;
        for participant in &kay.participants {
            for (_, peer) in participant.peers.live() {
                let knows = self.knows.get(&station_of(peer.sci));
                let heard = knows.and_then(|knows| knows.get(&participant.actor.mi()));
                let fresh = heard.is_some_and(|&sent| now.since(sent) <= 2 * LIFE);
                ensure(fresh, PROOFS, || format!("station {station} of {}", peer.sci))?;
            }
        }
        Ok(())
    }

    /// A station forgets all of this when it crashes.
    pub(super) fn crash(&mut self, station: usize) {
        self.mute.remove(&station);
        self.proofs.remove(&station);
    }

    /// Takes note of the proof that an MKPDU was which a station has just taken in, if it was one.
    pub(super) fn note_proof(&mut self, now: Time, station: usize, kay: &Kay, said: &Said) {
        for participant in &kay.participants {
            let own = participant.actor.mi();
            let recent = |mn: &MessageNumber| {
                self.sent.0.get(&(own, *mn)).is_some_and(|&at| now.since(at) <= LIFE)
            };
            let proof = said.heard.iter().any(|(mi, mn)| *mi == own && recent(mn));
            let live = participant.peers.get(said.mi).is_some_and(Peer::is_live);
            let proofs = self.proofs.entry(station).or_default();
            let before = proofs.get(&(own, said.mi)).map(|&(_, mn, _)| mn);
            if live && proof && before.is_none_or(|mn| mn < said.mn) {
                proofs.insert((own, said.mi), (said.sci, said.mn, now));
            }
        }
    }

    /// Whoever was live still is, or has not proved itself for an MKA Life Time, or has a successor;
    /// to a new MI of our own all are new.
    fn judge_losses(&mut self, now: Time, station: usize, kay: &Kay) -> Result<(), Broken> {
        let Some(proofs) = self.proofs.get_mut(&station) else { return Ok(()) };
        let mut early = None;
        proofs.retain(|&(own, mi), &mut (sci, _, at)| {
            let Some(of) = kay.participants.iter().find(|of| of.actor.mi() == own) else {
                return false;
            };
            let live = of.peers.get(mi).is_some_and(Peer::is_live);
            let replaced = of.peers.live().any(|(_, peer)| peer.sci == sci);
            if !live && !replaced && now.since(at) < LIFE {
                early = Some(format!("station {station} loses {sci}, heard at {at}"));
            }
            live
        });
        early.map_or(Ok(()), |how| Err((STAYS, how)))
    }

    fn judge_mute(&mut self, now: Time, station: usize, mute: bool) -> Result<(), Broken> {
        if !mute {
            self.mute.remove(&station);
            return Ok(());
        }
        let since = *self.mute.entry(station).or_insert(now);
        ensure(now.since(since) < LIFE, MUTE, || format!("station {station} since {since}"))
    }
}

/// Stations are numbered from 0, and their addresses from 1.
pub(super) fn station_of(sci: Sci) -> usize {
    usize::from(sci.address().0[5]) - 1
}
