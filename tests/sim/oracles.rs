//! What must hold in every session whatever happens. Each oracle is shown events and answers with a
//! [`Violation`]; none of them looks into the code under test.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use macsecd::ident::{KeyId, KeyNumber, MemberId, Sci, Ssci};
use macsecd::mka::timers::{HELLO, LIFE};
use macsecd::secy::{SecyError, SecyKey};
use macsecd::time::Time;

/// A rule that was broken.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Violation {
    pub(crate) oracle: &'static str,
    pub(crate) detail: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.oracle, self.detail)
    }
}

/// Answers with a violation where a rule does not hold.
pub(crate) fn ensure(
    holds: bool,
    oracle: &'static str,
    detail: impl FnOnce() -> String,
) -> Result<(), Violation> {
    if holds { Ok(()) } else { Err(Violation { oracle, detail: detail() }) }
}

/// An SAK by its octets, numbered in the order of appearance.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Ord, PartialOrd)]
pub(crate) struct SakId(pub(crate) u32);

/// Who a nonce says has sent a frame: the SCI, or the SSCI where the suite is XPN.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Ord, PartialOrd)]
pub(crate) enum Channel {
    Full(Sci),
    Short(Ssci),
}

/// I1: no SAK ever protects two frames with one nonce, whoever sends them, over all restarts.
#[derive(Debug, Default)]
pub(crate) struct Nonces {
    /// Of each channel the runs of packet numbers spent: first to last.
    spent: BTreeMap<(SakId, Channel), BTreeMap<u64, u64>>,
}

impl Nonces {
    pub(crate) fn spend(&mut self, sak: SakId, by: Channel, pn: u64) -> Result<(), Violation> {
        let runs = self.spent.entry((sak, by)).or_default();
        let before = runs.range_mut(..=pn).next_back();
        match before {
            Some((_, last)) if *last >= pn => {
                let detail = format!("{sak:?} of {by:?} protects a second frame with PN {pn}");
                return Err(Violation { oracle: "I1 nonces", detail });
            }
            Some((_, last)) if *last + 1 == pn => *last = pn,
            Some(_) | None => {
                runs.insert(pn, pn);
            }
        }
        Ok(())
    }
}

/// Why a station may install a key identifier that it had before, or take a lower one.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Excuse {
    /// It has gone by an old record: what nothing was ever sent with may come again.
    pub(crate) is_stale: bool,
    /// Somebody with the CAK gives another SAK a name that was used before. A station that has
    /// begun afresh cannot know.
    pub(crate) is_lied_to: bool,
    /// How often it has begun afresh.
    pub(crate) beginnings: u32,
}

/// I2: a station installs a key identifier once in its life, restarts included, and never comes
/// back to one that it has left.
#[derive(Debug, Default)]
pub(crate) struct Installs {
    installed: BTreeMap<(usize, KeyId), u32>,
    left: BTreeSet<(usize, KeyId)>,
    transmits: BTreeMap<usize, KeyId>,
    /// How often a station has gone over from one SAK to another.
    pub(crate) changes: u64,
}

impl Installs {
    const NAME: &'static str = "I2 installs";

    /// `excuse` tells what may make it do so again.
    pub(crate) fn install(
        &mut self,
        station: usize,
        ki: KeyId,
        excuse: Excuse,
    ) -> Result<(), Violation> {
        let before = self.installed.insert((station, ki), excuse.beginnings);
        let left = self.left.contains(&(station, ki));
        let unused = !left && self.transmits.get(&station) != Some(&ki);
        let forgotten = before.is_some_and(|before| before < excuse.beginnings);
        let excused = (excuse.is_stale && unused) || (excuse.is_lied_to && forgotten);
        if excuse.is_lied_to && forgotten {
            self.left.remove(&(station, ki));
        }
        ensure(before.is_none() || excused, Self::NAME, || {
            format!("station {station} installs {ki} again")
        })
    }

    pub(crate) fn enable(&mut self, station: usize, ki: KeyId) -> Result<(), Violation> {
        let known = self.installed.contains_key(&(station, ki));
        ensure(known, Self::NAME, || format!("station {station} enables {ki}, never installed"))?;
        let left = self.left.contains(&(station, ki));
        ensure(!left, Self::NAME, || format!("station {station} comes back to {ki}"))?;
        let before = self.transmits.insert(station, ki);
        if let Some(before) = before.filter(|&before| before != ki) {
            self.changes += 1;
            self.left.insert((station, before));
        }
        Ok(())
    }

    /// Whatever it transmits with is gone: deleted, or lost in a restart.
    pub(crate) fn lose(&mut self, station: usize, ki: Option<KeyId>) {
        if let Some(&transmits) = self.transmits.get(&station)
            && ki.is_none_or(|ki| ki == transmits)
        {
            self.left.insert((station, transmits));
            self.transmits.remove(&station);
        }
    }
}

/// I3: one key identifier is one SAK and one SAK is one key identifier; to each station the key
/// numbers of a key server only rise.
#[derive(Debug, Default)]
pub(crate) struct Keys {
    by_name: BTreeMap<KeyId, (Arc<SecyKey>, SakId)>,
    by_octets: BTreeMap<Vec<u8>, (KeyId, SakId)>,
    highest: BTreeMap<(usize, MemberId), KeyNumber>,
    highest_of: BTreeMap<MemberId, KeyNumber>,
    /// Those of which somebody who lies has made two.
    forged: BTreeSet<KeyId>,
}

impl Keys {
    const NAME: &'static str = "I3 keys";

    /// How many SAKs have been seen.
    pub(crate) fn count(&self) -> usize {
        self.by_name.len()
    }

    /// The highest key number of a key server.
    pub(crate) fn highest_of(&self, server: MemberId) -> Option<KeyNumber> {
        self.highest_of.get(&server).copied()
    }

    /// Takes note that somebody who lies hands out an SAK under this name.
    pub(crate) fn forge(&mut self, ki: KeyId) {
        self.forged.insert(ki);
    }

    pub(crate) fn learn(&mut self, key: &Arc<SecyKey>) -> Result<SakId, Violation> {
        let ki = key.ki;
        if let Some((known, sak)) = self.by_name.get(&ki)
            && known.sak.same_as(&key.sak)
            && known.suite == key.suite
        {
            return Ok(*sak);
        }
        let only = !self.by_name.contains_key(&ki) || self.forged.contains(&ki);
        ensure(only, Self::NAME, || format!("{ki} is two SAKs"))?;
        let number = SakId(u32::try_from(self.by_octets.len()).unwrap());
        let (first, sak) = *self.by_octets.entry(key.sak.expose().to_vec()).or_insert((ki, number));
        ensure(first == ki, Self::NAME, || format!("{ki} has the SAK of {first}"))?;
        self.by_name.insert(ki, (Arc::clone(key), sak));
        let highest = self.highest_of.entry(ki.server).or_insert(ki.number);
        *highest = ki.number.max(*highest);
        Ok(sak)
    }

    pub(crate) fn rise(
        &mut self,
        station: usize,
        ki: KeyId,
        excuse: Excuse,
    ) -> Result<(), Violation> {
        let before = self.highest.insert((station, ki.server), ki.number);
        let excused = excuse.is_stale || excuse.is_lied_to;
        let rises = before.is_none_or(|before| before < ki.number || excused);
        ensure(rises, Self::NAME, || format!("station {station} gets {ki} after {before:?}"))
    }
}

/// I5: nobody transmits with an SAK that others cannot receive yet. The key server waits until all
/// live peers have it in their SecY, the others until the key server transmits, and either an MKA
/// Life Time at most. A key server that goes leaves its SAK to the next one, which may be ourselves.
#[derive(Debug, Default)]
pub(crate) struct Changeover {
    /// Who has ever been able to receive whom with which SAK.
    received: BTreeSet<(KeyId, usize, Sci)>,
    enabled: BTreeSet<(KeyId, Sci)>,
    installed: BTreeMap<(KeyId, usize), Time>,
}

/// What a station knows of its CA when it starts to transmit.
#[derive(Clone, Debug)]
pub(crate) struct Start<'a> {
    pub(crate) station: usize,
    pub(crate) sci: Sci,
    pub(crate) ki: KeyId,
    /// Whether the station is key server, or was the one that made the SAK.
    pub(crate) is_server: bool,
    /// The channels of the other key servers: of the one that made the SAK, and of today's.
    pub(crate) servers: &'a [Sci],
    /// The stations of its live peers.
    pub(crate) peers: &'a [usize],
}

impl Changeover {
    pub(crate) fn installed(&mut self, now: Time, ki: KeyId, station: usize) {
        self.installed.insert((ki, station), now);
    }

    pub(crate) fn receives(&mut self, ki: KeyId, station: usize, from: Sci) {
        self.received.insert((ki, station, from));
    }

    pub(crate) fn start(&mut self, now: Time, start: &Start<'_>) -> Result<(), Violation> {
        let &Start { station, sci, ki, is_server, servers, peers } = start;
        self.enabled.insert((ki, sci));
        let waited = self.installed.get(&(ki, station)).is_some_and(|&at| now.since(at) >= LIFE);
        let deaf: Vec<_> =
            peers.iter().filter(|&&peer| !self.received.contains(&(ki, peer, sci))).collect();
        let all_receive = is_server && deaf.is_empty();
        let may = all_receive || servers.iter().any(|&of| self.enabled.contains(&(ki, of)));
        ensure(may || waited, "I5 changeover", || {
            format!(
                "station {station} transmits with {ki} too early: server {is_server}, \
                 others {servers:?}, deaf {deaf:?}"
            )
        })
    }
}

/// I6: a peer is live only by proof, that is while it has heard what we said not long ago.
#[derive(Debug, Default)]
pub(crate) struct Proofs {
    /// When the latest MKPDU of an MI that has reached a station was sent.
    heard: BTreeMap<(MemberId, usize), Time>,
}

impl Proofs {
    /// A proof holds for an MKA Life Time and what a hello may be late, and may itself be about an
    /// MKPDU of that age.
    const OLD: Duration = Duration::from_millis(12_250);

    pub(crate) fn hear(&mut self, sent: Time, of: MemberId, station: usize) {
        let latest = self.heard.entry((of, station)).or_default();
        *latest = sent.max(*latest);
    }

    /// `stood` is for how long the clock of whoever holds the proof stood still.
    pub(crate) fn live(
        &self,
        now: Time,
        own: MemberId,
        peer: usize,
        stood: Duration,
    ) -> Result<(), Violation> {
        let heard = self.heard.get(&(own, peer)).copied();
        let recently = heard.is_some_and(|sent| now.since(sent) <= Self::OLD + stood);
        ensure(recently, "I6 proofs", || {
            format!("station {peer} is live to {own}, of whom it heard nothing since {heard:?}")
        })
    }
}

/// No member says one message number twice, over all restarts.
#[derive(Debug, Default)]
pub(crate) struct Numbers {
    said: BTreeMap<(usize, MemberId), u32>,
}

impl Numbers {
    pub(crate) fn say(&mut self, station: usize, mi: MemberId, mn: u32) -> Result<(), Violation> {
        let before = self.said.insert((station, mi), mn);
        ensure(before.is_none_or(|before| before < mn), "MN", || {
            format!("station {station} says {mn} as {mi} after {before:?}")
        })
    }
}

/// Nobody talks without end, whatever makes it talk.
#[derive(Debug, Default)]
pub(crate) struct Storms {
    second: u64,
    counts: BTreeMap<Talker, usize>,
}

/// What has a limit of its own. A restart begins anew.
#[derive(Clone, Debug, Eq, PartialEq, Ord, PartialOrd)]
pub(crate) enum Talker {
    /// The participant of a key, by CKN.
    Participant { station: usize, life: u32, ckn: Vec<u8> },
    /// A station that commands its SecY.
    Commander { station: usize, life: u32 },
}

impl Storms {
    /// Ten at once, ten in the second after, the hello, and one when the link comes back.
    pub(crate) const MKPDUS_MAX: usize = 22;
    /// Five members that all come and go within one second.
    pub(crate) const COMMANDS_MAX: usize = 100;

    pub(crate) fn talk(&mut self, now: Time, talker: Talker) -> Result<(), Violation> {
        let second = now.as_nanos() / 1_000_000_000;
        if second != self.second {
            self.second = second;
            self.counts.clear();
        }
        let limit = match talker {
            Talker::Participant { .. } => Self::MKPDUS_MAX,
            Talker::Commander { .. } => Self::COMMANDS_MAX,
        };
        let count = self.counts.entry(talker.clone()).or_default();
        *count += 1;
        ensure(*count <= limit, "storm", || format!("{talker:?} talks too much in one second"))
    }
}

/// Time goes on: whoever has handled everything wants to be called later, not now, and with a
/// carrier in time for the next hello. By its clock it is `now`; where that was set back, it knows
/// a later time.
pub(crate) fn progress(
    now: Time,
    known: Time,
    station: usize,
    carrier: bool,
    wake: Option<Time>,
) -> Result<(), Violation> {
    let goes_on = match wake {
        Some(wake) => wake > now && (!carrier || wake.since(known) <= HELLO),
        None => !carrier,
    };
    ensure(goes_on, "progress", || format!("station {station} is to be called at {wake:?}"))
}

/// How long the members of a CA may take, from the end of all faults, until they are secured with
/// one SAK: the half that lost the other needs an MKA Life Time to notice, strangers may hold up
/// the fresh SAK for another.
pub(crate) const RECOVERY: Duration = Duration::from_secs(12);

/// I10: after the faults the members come together in time.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Recovery {
    healed: Option<Time>,
    pub(crate) took: Option<Duration>,
}

impl Recovery {
    pub(crate) fn begin(&mut self, now: Time) {
        *self = Self { healed: Some(now), took: None };
    }

    /// Tells whether it is worth looking.
    pub(crate) fn is_open(&self) -> bool {
        self.healed.is_some() && self.took.is_none()
    }

    /// Takes note of how things stand: `missing` says what is still wrong.
    pub(crate) fn look(&mut self, now: Time, missing: Option<String>) -> Result<(), Violation> {
        let Some(healed) = self.healed.filter(|_| self.took.is_none()) else { return Ok(()) };
        let took = now.since(healed);
        let Some(missing) = missing else {
            self.took = Some(took);
            return Ok(());
        };
        ensure(took < RECOVERY, "I10 liveness", || format!("{took:?} after the faults: {missing}"))
    }
}

/// Make before break: while there are no faults every data frame arrives, rekey or not.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) struct Losses {
    pub(crate) due: u64,
    pub(crate) delivered: u64,
}

impl Losses {
    pub(crate) fn refused(verdict: &impl fmt::Debug, of: &impl fmt::Debug) -> Violation {
        let detail = format!("{verdict:?} without any fault: {of:?}");
        Violation { oracle: "make before break", detail }
    }

    /// To be asked once nothing is on its way any more.
    pub(crate) fn check(self) -> Result<(), Violation> {
        ensure(self.due == self.delivered, "make before break", || {
            format!("{} of {} data frames arrived", self.delivered, self.due)
        })
    }
}

/// I4: where policy wants security, no frame passes in clear.
pub(crate) fn not_in_clear(
    station: usize,
    must_secure: bool,
    open: bool,
    protects: bool,
) -> Result<(), Violation> {
    ensure(!(must_secure && open && !protects), "I4 clear text", || {
        format!("station {station} has its port open and does not protect")
    })
}

/// The production model of a SecY accepts what ours accepts, and nothing else, and both then stand
/// alike.
pub(crate) fn agree(
    station: usize,
    ours: &Result<(), SecyError>,
    theirs: &Result<(), SecyError>,
    alike: bool,
) -> Result<(), Violation> {
    ensure(ours.is_ok() == theirs.is_ok() && alike, "models", || {
        format!("station {station}: we say {ours:?}, SecyModel says {theirs:?}, alike {alike}")
    })
}

#[cfg(test)]
#[path = "oracles_tests.rs"]
mod tests;
