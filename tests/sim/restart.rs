//! A daemon that dies, at any point, and starts again, while its SecY goes on.

use std::sync::Arc;
use std::time::Duration;

use macsecd::ident::KeyId;
use macsecd::keyring::Key;
use macsecd::mka::{Forgotten, Memory};
use macsecd::port::{Driver, Link as PortLink, PortInput};
use macsecd::secy::{InstalledSak, RxMember, SecyCommand, SecyModel, TransmitState};
use macsecd::time::Time;

use crate::member::Member;
use crate::oracles::{Violation, ensure};
use crate::rng::Source;
use crate::scenario::Action;
use crate::secy::{Association, Secy};
use crate::trace::Note;
use crate::world::{Event, World};

/// How a daemon dies and what is there when it starts again.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Halt {
    /// So many outputs are carried out before.
    pub(crate) after: usize,
    /// So many commands that were given are carried out afterwards, in order.
    pub(crate) carried_out: usize,
    /// How long it is down.
    pub(crate) downtime: Duration,
    pub(crate) found: Found,
}

/// The record that a starting daemon finds.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Found {
    /// The one that was kept last.
    Last,
    /// The one that was kept so many before.
    Earlier(usize),
    /// The one that was kept last, with one bit wrong.
    Damaged(usize),
    /// The one of another station.
    Foreign(usize),
    Nothing,
}

/// What a station keeps of itself over the end of its daemon.
#[derive(Debug, Default)]
pub(crate) struct Keeping {
    /// Whether it does, and its SecY goes on alone.
    pub(crate) wanted: bool,
    pub(crate) record: Option<Vec<u8>>,
    /// Earlier ones, the latest last.
    pub(crate) earlier: Vec<Vec<u8>>,
    /// When the daemon is to die.
    pub(crate) halt: Option<Halt>,
    /// How many commands of the life before are still carried out.
    pub(crate) carried_out: usize,
    /// The daemon has died and was not started since.
    pub(crate) has_died: bool,
    /// How many outputs were carried out in all lives.
    pub(crate) effects: usize,
    /// It went by a record that was not the last one, which excuses an SAK that is installed again
    /// as long as nothing was sent with it.
    pub(crate) is_stale: bool,
    pub(crate) warm: u64,
    pub(crate) cold: u64,
}

/// How many records are kept for those who are to find an earlier one.
const EARLIER_MAX: usize = 16;

impl Keeping {
    pub(crate) fn keep(&mut self, record: Option<Vec<u8>>) {
        let before = std::mem::replace(&mut self.record, record);
        if self.earlier.len() >= EARLIER_MAX {
            self.earlier.remove(0);
        }
        self.earlier.extend(before);
    }

    /// Tells whether the next output is not carried out any more.
    fn ends(&mut self) -> bool {
        let Some(halt) = &mut self.halt else { return false };
        if halt.after == 0 {
            return true;
        }
        halt.after -= 1;
        false
    }
}

impl World {
    /// Has the daemon of a station die: at once, or in the middle of what it does next. One that
    /// keeps nothing loses its SecY with itself.
    pub(crate) fn halt(&mut self, station: usize, halt: Halt) {
        if !self.members[station].keeping.wanted || self.members[station].driver.is_none() {
            return;
        }
        self.members[station].keeping.halt = Some(halt);
        if halt.after == 0 {
            self.end_daemon(station);
        }
    }

    /// Counts an output that is about to be carried out; tells whether the daemon has died instead.
    pub(crate) fn dies_here(&mut self, station: usize) -> bool {
        let ends = self.members[station].keeping.ends();
        if ends {
            self.end_daemon(station);
        } else {
            self.members[station].keeping.effects += 1;
        }
        ends
    }

    fn end_daemon(&mut self, station: usize) {
        let member = &mut self.members[station];
        let Some(halt) = member.keeping.halt.take() else { return };
        self.tally.halts += 1;
        member.end_daemon();
        member.keeping.carried_out = halt.carried_out;
        member.keeping.has_died = true;
        self.trace.note(self.now, || Note::Event(format!("station {station} dies: {halt:?}")));
        self.schedule(halt.downtime, Event::Act(Box::new(Action::Start(station, halt.found))));
    }

    /// Starts a daemon where one has died.
    pub(crate) fn start(&mut self, station: usize, found: Found) -> Result<(), Violation> {
        let member = &mut self.members[station];
        if member.driver.is_some() || !std::mem::take(&mut member.keeping.has_died) {
            return Ok(());
        }
        let record = self.find(station, found);
        let member = &mut self.members[station];
        member.keeping.is_stale |= matches!(found, Found::Earlier(_));
        let now = member.clock.at(self.now);
        let outcome = member.start(now, &self.keys, record.as_deref());
        for ki in outcome.removed {
            self.oracles.installs.lose(station, Some(ki));
        }
        self.trace.note(self.now, || Note::Event(format!("station {station}: {}", outcome.how)));
        let trusted = matches!(found, Found::Last | Found::Earlier(_));
        ensure(trusted || !outcome.is_warm, "record", || {
            format!("station {station} goes by a record that is {found:?}")
        })?;
        let member = &mut self.members[station];
        if outcome.is_warm {
            member.keeping.warm += 1;
            self.tally.warm_restarts += 1;
        } else {
            member.keeping.cold += 1;
            self.tally.cold_restarts += 1;
        }
        let link = if member.carrier { PortLink::Up } else { PortLink::Down };
        self.input(station, PortInput::Link(link))
    }

    fn find(&mut self, station: usize, found: Found) -> Option<Vec<u8>> {
        let keeping = &mut self.members[station].keeping;
        match found {
            Found::Last => keeping.record.clone(),
            // Those after it were never kept.
            Found::Earlier(before) => {
                keeping.earlier.truncate(keeping.earlier.len().checked_sub(before)?);
                keeping.record = keeping.earlier.pop();
                keeping.record.clone()
            }
            Found::Damaged(bit) => {
                let mut record = keeping.record.clone()?;
                let bit = bit % (record.len() * 8);
                record[bit / 8] ^= 1 << (bit % 8);
                Some(record)
            }
            Found::Foreign(other) => self.members[other].keeping.record.clone(),
            Found::Nothing => None,
        }
    }
}

/// What a start came to.
struct Outcome {
    is_warm: bool,
    how: String,
    /// What the SecY had and lost by it.
    removed: Vec<KeyId>,
}

impl Member {
    /// Takes the daemon away and leaves the SecY.
    fn end_daemon(&mut self) {
        self.life += 1;
        self.driver = None;
        self.wake = None;
        self.frozen_until = Time::ZERO;
        self.unanswered = 0;
        self.heard.clone_from(&self.heard_in_record);
    }

    fn start(&mut self, now: Time, keys: &[Arc<Key>], record: Option<&[u8]>) -> Outcome {
        self.keeping.carried_out = 0;
        self.was_refused = false;
        self.set_dry(false);
        self.busy_until = (Time::ZERO, Time::ZERO);
        self.policy = self.next_policy.take().unwrap_or_else(|| self.policy.clone());
        // As the task does, which has the data plane before it has the driver.
        self.secy.settings = Some(self.policy.secured());
        let ring = self.key_ring(keys);
        let newer = |memory: &Memory| self.secy.sas.keys().any(|&ki| memory.is_older_than(ki));
        let memory = record.map(|record| match Memory::open(record, now, &self.policy, &ring) {
            Ok(memory) if newer(&memory) => Err(Forgotten::Keys),
            outcome => outcome,
        });
        let expected = memory.iter().flatten().flat_map(Memory::saks).collect::<Vec<_>>();
        let kept: Vec<_> = expected.iter().filter_map(|sak| kept(&self.secy, sak)).collect();
        let mut removed = self.remove_all_but(&kept);
        let resumed = memory.map(|memory| {
            let policy = self.policy.clone();
            Driver::resume(now, policy, &ring, self.source(), memory?, &kept)
        });
        let (driver, how) = match resumed {
            Some(Ok(driver)) => {
                let settings = self.policy.secured();
                let model = SecyModel::resumed(self.sci(), settings, self.secy.open, kept);
                self.model = model.unwrap();
                expected.iter().for_each(|sak| self.model.spend(sak.key.ki));
                (Some(driver), "goes on".to_owned())
            }
            Some(Err(why)) => (None, format!("begins afresh: {why}")),
            None => (None, "begins afresh".to_owned()),
        };
        let is_warm = driver.is_some();
        let mut driver = driver.unwrap_or_else(|| {
            removed.extend(self.remove_all_but(&[]));
            self.secy.execute(&SecyCommand::SetControlledPort(false), None).unwrap();
            self.model = SecyModel::new(self.sci());
            self.beginnings += 1;
            self.heard.clear();
            Driver::new(now, self.policy.clone(), &ring, self.source()).unwrap()
        });
        driver.keep_record();
        self.driver = Some(driver);
        Outcome { is_warm, how, removed }
    }

    fn source(&mut self) -> Box<Source> {
        let (rng, dry) = (self.fork_rng(), self.dryness());
        Box::new(Source { rng, forced: Vec::new(), dry })
    }

    /// Removes what nobody has asked for.
    fn remove_all_but(&mut self, kept: &[InstalledSak]) -> Vec<KeyId> {
        let is_kept = |ki: &KeyId| kept.iter().any(|sak| sak.key.ki == *ki);
        let gone: Vec<_> = self.secy.sas.keys().copied().filter(|ki| !is_kept(ki)).collect();
        for &ki in &gone {
            self.secy.execute(&SecyCommand::RemoveSak(ki), None).unwrap();
        }
        for sak in kept {
            let has = self.secy.sas.get_mut(&sak.key.ki).unwrap();
            has.receive.retain(|sci, _| sak.receivers.contains_key(sci));
        }
        self.secy.forget();
        gone
    }
}

/// What a SecY has of an SAK that may be there; nothing where it can no longer do with it what it
/// is for.
fn kept(secy: &Secy, sak: &InstalledSak) -> Option<InstalledSak> {
    let ki = sak.key.ki;
    let has: &Association = secy.sas.get(&ki)?;
    if has.an != sak.an || secy.lost.contains(&ki) {
        return None;
    }
    let transmit = match secy.transmits {
        Some(transmits) if transmits == ki => TransmitState::Transmitting,
        Some(_) | None if secy.is_superseded(ki) => TransmitState::Superseded,
        Some(_) | None => TransmitState::Waiting,
    };
    let received = |member: &RxMember| has.receive.contains_key(&member.sci);
    let receivers = sak.receivers.iter().filter(|(_, member)| received(member));
    let receivers = receivers.map(|(&sci, &member)| (sci, member)).collect();
    Some(InstalledSak { receivers, transmit, ..sak.clone() })
}
