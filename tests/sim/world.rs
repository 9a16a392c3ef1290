//! One segment with its stations in virtual time: a queue of events, and what each event does.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BinaryHeap};
use std::fmt;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use macsecd::ident::{KeyId, MemberId};
use macsecd::keyring::Key;
use macsecd::mka::KeyServer;
use macsecd::port::{PortInput, PortOutput};
use macsecd::secy::{CommandId, SecyCommand, SecyError};
use macsecd::time::Time;

use crate::link::Link;
use crate::member::{Member, Mood, Setup};
use crate::oracles::{
    self, Changeover, Channel, Excuse, Installs, Keys, Losses, Nonces, Numbers, Proofs, Recovery,
    Start, Storms, Talker, Violation, ensure,
};
use crate::rng::Rng;
use crate::scenario::Action;
use crate::secy::{DataFrame, Verdict};
use crate::tally::Tally;
use crate::trace::{Note, Record, Trace, describe};

/// Something that will happen.
#[derive(Debug)]
pub(crate) enum Event {
    /// An MKPDU reaches a station, one bit of it flipped where `flip` says which.
    Mkpdu { to: usize, record: Rc<Record>, flip: Option<usize> },
    /// A data frame reaches a station.
    Data { to: usize, frame: DataFrame },
    /// A data plane carries out a command.
    Execute { station: usize, life: u32, id: CommandId, command: Box<SecyCommand> },
    /// A data plane answers a command.
    Answer { station: usize, life: u32, id: CommandId, result: Result<(), SecyError> },
    /// A data plane tells that it has lost an SAK.
    Lost { station: usize, life: u32, ki: KeyId },
    /// A data plane tells its packet numbers.
    Polled { station: usize, life: u32 },
    /// A station sends a data frame, if it may.
    Traffic { station: usize },
    /// Something that the scenario asks for.
    Act(Box<Action>),
}

/// An event and its moment; of two at one moment the one scheduled first comes first.
struct Scheduled {
    at: Time,
    sequence: u64,
    event: Event,
}

impl Ord for Scheduled {
    fn cmp(&self, other: &Self) -> Ordering {
        (other.at, other.sequence).cmp(&(self.at, self.sequence))
    }
}

impl PartialOrd for Scheduled {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Scheduled {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Scheduled {}

/// All oracles.
#[derive(Debug, Default)]
pub(crate) struct Oracles {
    pub(crate) nonces: Nonces,
    pub(crate) installs: Installs,
    pub(crate) keys: Keys,
    pub(crate) changeover: Changeover,
    pub(crate) proofs: Proofs,
    pub(crate) storms: Storms,
    pub(crate) recovery: Recovery,
    pub(crate) losses: Losses,
    pub(crate) numbers: Numbers,
    /// Somebody with the key has told lies: what honest members owe each other is not asked for.
    pub(crate) is_lied_to: bool,
}

pub(crate) struct World {
    pub(crate) seed: u64,
    pub(crate) now: Time,
    pub(crate) members: Vec<Member>,
    pub(crate) link: Link,
    pub(crate) oracles: Oracles,
    pub(crate) tally: Tally,
    pub(crate) trace: Trace,
    /// Every MKPDU sent, for replays.
    pub(crate) records: Vec<Rc<Record>>,
    /// While set there are no faults, so that every data frame has to arrive.
    pub(crate) lossless: bool,
    /// How many data frames were sent.
    pub(crate) frames: u64,
    /// How often a station sends a data frame.
    pub(crate) traffic_every: Duration,
    pub(crate) rng: Rng,
    pub(crate) keys: Vec<Arc<Key>>,
    queue: BinaryHeap<Scheduled>,
    sequence: u64,
    /// Whose each MI is.
    owners: BTreeMap<MemberId, usize>,
}

/// How long a data plane takes to carry out a command, and then to answer.
const SECY_MIN: Duration = Duration::from_micros(20);
const SECY_MAX: Duration = Duration::from_micros(200);

/// How often a station's live peers are looked at.
const PROOFS_EVERY: Duration = Duration::from_secs(1);

/// No input makes a driver say more than this.
const OUTPUTS_MAX: usize = 100;

impl World {
    pub(crate) fn new(seed: u64, keys: Vec<Arc<Key>>, setups: Vec<Setup>) -> Self {
        let mut rng = Rng::new(seed);
        let link = Link::new(setups.len(), &mut rng);
        let members: Vec<_> =
            setups.into_iter().map(|setup| Member::new(setup, rng.fork())).collect();
        let mut world = Self {
            seed,
            now: Time::ZERO,
            members,
            link,
            oracles: Oracles::default(),
            tally: Tally::default(),
            trace: Trace::new(),
            records: Vec::new(),
            lossless: false,
            frames: 0,
            traffic_every: Duration::from_millis(100),
            rng,
            keys,
            queue: BinaryHeap::new(),
            sequence: 0,
            owners: BTreeMap::new(),
        };
        for station in 0..world.members.len() {
            let first = world.rng.span(Duration::ZERO, world.traffic_every);
            world.schedule(first, Event::Traffic { station });
        }
        world
    }

    pub(crate) fn schedule(&mut self, after: Duration, event: Event) {
        self.schedule_at(self.now.after(after), event);
    }

    pub(crate) fn schedule_at(&mut self, at: Time, event: Event) {
        self.sequence += 1;
        self.queue.push(Scheduled { at, sequence: self.sequence, event });
    }

    /// Has all that is on its way arrive by `soon`, and forgets what the scenario still asks for.
    pub(crate) fn hurry(&mut self, soon: Time) {
        let queue = std::mem::take(&mut self.queue).into_iter();
        self.queue = queue
            .filter_map(|scheduled| match scheduled.event {
                Event::Act(_) => None,
                Event::Traffic { .. } => Some(scheduled),
                Event::Mkpdu { .. }
                | Event::Data { .. }
                | Event::Execute { .. }
                | Event::Answer { .. }
                | Event::Lost { .. }
                | Event::Polled { .. } => {
                    Some(Scheduled { at: scheduled.at.min(soon), ..scheduled })
                }
            })
            .collect();
    }

    /// Lets time pass up to `until`.
    pub(crate) fn run_until(&mut self, until: Time) -> Result<(), Violation> {
        loop {
            let event = self.queue.peek().map(|scheduled| scheduled.at);
            let wakes = self.members.iter().enumerate();
            let wake = wakes.filter_map(|(station, of)| Some((of.wakes_at()?, station))).min();
            match (event, wake) {
                (Some(at), wake) if at <= until && wake.is_none_or(|(wake, _)| at <= wake) => {
                    let Some(next) = self.queue.pop() else { continue };
                    self.now = at;
                    self.happen(next.event)?;
                }
                (_, Some((at, station))) if at <= until => {
                    self.now = at.max(self.now);
                    self.input(station, PortInput::Timeout)?;
                }
                (_, _) => break,
            }
        }
        self.now = until;
        Ok(())
    }

    fn happen(&mut self, event: Event) -> Result<(), Violation> {
        if let Event::Mkpdu { to: station, .. } | Event::Data { to: station, .. } = event
            && self.members[station].is_asleep(self.now)
        {
            return Ok(());
        }
        if let Event::Mkpdu { to: station, .. }
        | Event::Answer { station, .. }
        | Event::Lost { station, .. }
        | Event::Polled { station, .. } = event
            && self.members[station].frozen_until > self.now
        {
            self.schedule_at(self.members[station].frozen_until, event);
            return Ok(());
        }
        match event {
            Event::Mkpdu { to, record, flip } => self.deliver(to, &record, flip),
            Event::Data { to, frame } => self.receive_data(to, &frame),
            Event::Execute { station, life, id, command } => {
                self.execute(station, life, id, &command)
            }
            Event::Answer { station, life, id, result } => self.answer(station, life, id, result),
            Event::Lost { station, life, ki } => self.tell_lost(station, life, ki),
            Event::Polled { station, life } => {
                let member = &self.members[station];
                let alive = member.life == life;
                let Some(progress) = member.secy.progress().filter(|_| alive) else {
                    return Ok(());
                };
                let received = member.secy.received();
                self.input(station, PortInput::TxProgress(progress))?;
                self.input(station, PortInput::RxProgress(&received))
            }
            Event::Traffic { station } => self.send_data(station),
            Event::Act(action) => self.act(&action),
        }
    }

    /// Gives a driver an input and carries out what it wants.
    pub(crate) fn input(&mut self, station: usize, input: PortInput<'_>) -> Result<(), Violation> {
        let member = &mut self.members[station];
        let Some(driver) = &mut member.driver else { return Ok(()) };
        driver.handle(member.clock.at(self.now), input);
        self.drain(station)
    }

    /// Carries out what a driver wants.
    pub(crate) fn drain(&mut self, station: usize) -> Result<(), Violation> {
        for count in 0.. {
            let Some(driver) = &mut self.members[station].driver else { return Ok(()) };
            let Some(output) = driver.poll_output() else { break };
            ensure(count < OUTPUTS_MAX, "storm", || format!("{station} never stops: {output:?}"))?;
            if self.dies_here(station) {
                return Ok(());
            }
            match output {
                PortOutput::Transmit(octets) => self.transmit(station, octets)?,
                PortOutput::Remember(record) => self.members[station].remember(record),
                PortOutput::Secy { id, command } => self.command(station, id, command)?,
                PortOutput::PollSecy => {
                    let after = self.rng.span(SECY_MIN, SECY_MAX);
                    let life = self.members[station].life;
                    self.schedule(after, Event::Polled { station, life });
                }
            }
        }
        let member = &mut self.members[station];
        member.set_wake();
        let (now, carrier) = (member.clock.at(self.now), member.is_up());
        let known = member.clock.known_at(self.now);
        let wake = member.driver.as_ref().and_then(macsecd::port::Driver::poll_timeout);
        oracles::progress(now, known, station, carrier, wake)
    }

    pub(crate) fn transmit(&mut self, station: usize, octets: Vec<u8>) -> Result<(), Violation> {
        let member = &mut self.members[station];
        let life = member.life;
        let record = Rc::new(Record { octets, from: station, sent: self.now });
        let talker = Talker::Participant { station, life, ckn: record.ckn().to_vec() };
        self.oracles.storms.talk(self.now, talker)?;
        let mi = record.mi();
        self.oracles.numbers.say(station, mi, record.mn())?;
        if !member.own.contains(&mi) {
            member.own.push(mi);
            member.heard.clear();
        }
        self.owners.insert(mi, station);
        self.records.push(Rc::clone(&record));
        self.trace.note(self.now, || Note::Sent(Rc::clone(&record)));
        if !self.members[station].carrier || self.members[station].is_asleep(self.now) {
            return Ok(());
        }
        for to in (0..self.members.len()).filter(|&to| to != station) {
            let arrivals = self.link.carry(&mut self.rng, station, to);
            if arrivals == [None, None] {
                self.trace.note(self.now, || Note::Lost { to, record: Rc::clone(&record) });
            }
            for arrival in arrivals.into_iter().flatten() {
                let bits = record.octets.len() * 8;
                let flip = arrival.flipped.then(|| self.rng.below(bits));
                let record = Rc::clone(&record);
                self.schedule(arrival.after, Event::Mkpdu { to, record, flip });
            }
        }
        Ok(())
    }

    fn deliver(
        &mut self,
        to: usize,
        record: &Rc<Record>,
        flip: Option<usize>,
    ) -> Result<(), Violation> {
        if !self.members[to].is_up() {
            return Ok(());
        }
        if let Some(bit) = flip {
            let mut octets = record.octets.clone();
            octets[bit / 8] ^= 1 << (bit % 8);
            self.heard(to, "hears a flipped", record);
            return self.attack(to, &octets, crate::attack::Expect::Nothing);
        }
        self.heard(to, "hears", record);
        self.members[to].note_heard(record);
        self.oracles.proofs.hear(record.sent, record.mi(), to);
        self.input(to, PortInput::Frame(&record.octets))
    }

    pub(crate) fn heard(&mut self, to: usize, how: &'static str, record: &Rc<Record>) {
        self.trace.note(self.now, || Note::Heard { to, how, record: Rc::clone(record) });
    }

    fn command(
        &mut self,
        station: usize,
        id: CommandId,
        command: SecyCommand,
    ) -> Result<(), Violation> {
        self.trace.note(self.now, || Note::Command { station, what: describe(&command) });
        let life = self.members[station].life;
        // Lies about who is there and what they use may make a station do and undo a lot.
        if !self.oracles.is_lied_to {
            self.oracles.storms.talk(self.now, Talker::Commander { station, life })?;
        }
        if let SecyCommand::InstallSak(install) = &command {
            self.oracles.keys.learn(&install.key)?;
        }
        if let SecyCommand::EnableTx(ki) = &command {
            self.check_start(station, *ki)?;
        }
        let mut after = self.rng.span(SECY_MIN, SECY_MAX);
        let member = &mut self.members[station];
        if !member.mood.delay.is_zero() {
            self.tally.delays += 1;
            after += self.rng.span(Duration::ZERO, member.mood.delay);
        }
        member.unanswered += 1;
        let at = self.now.after(after).max(member.busy_until.0);
        member.busy_until.0 = at;
        self.schedule_at(at, Event::Execute { station, life, id, command: Box::new(command) });
        Ok(())
    }

    /// I5, asked when a station decides to transmit with an SAK.
    fn check_start(&mut self, station: usize, ki: KeyId) -> Result<(), Violation> {
        if self.oracles.is_lied_to {
            return Ok(());
        }
        let member = &self.members[station];
        let Some(status) = member.status(self.now) else { return Ok(()) };
        let principal = status.participants.iter().filter(|of| of.principal);
        let live = principal.flat_map(|of| of.peers.iter().filter(|peer| peer.live));
        let peers: Vec<_> = live.filter_map(|peer| self.owners.get(&peer.mi).copied()).collect();
        let maker = self.owners.get(&ki.server).filter(|&&maker| maker != station);
        let maker = maker.map(|&maker| self.members[maker].sci());
        let (is_elected, elected) = match status.key_server {
            Some(KeyServer::Own) => (true, None),
            Some(KeyServer::Peer(sci)) => (false, Some(sci)),
            None => (false, None),
        };
        let is_server = is_elected || member.own.contains(&ki.server);
        let servers: Vec<_> = maker.into_iter().chain(elected).collect();
        let start =
            Start { station, sci: member.sci(), ki, is_server, servers: &servers, peers: &peers };
        self.oracles.changeover.start(member.clock.at(self.now), &start)
    }

    fn execute(
        &mut self,
        station: usize,
        life: u32,
        id: CommandId,
        command: &SecyCommand,
    ) -> Result<(), Violation> {
        let member = &mut self.members[station];
        if member.life != life {
            // The last ones of a daemon that died are carried out all the same, up to the next.
            let ours = member.driver.is_none() && member.life == life + 1;
            if !ours || member.keeping.carried_out == 0 {
                return Ok(());
            }
            member.keeping.carried_out -= 1;
            return self.carry_out(station, command).map(drop);
        }
        let Mood { refusal, refusals, delay } = self.members[station].mood;
        let result = if refusals.include(command) && self.rng.chance(refusal) {
            self.tally.refusals += 1;
            self.members[station].was_refused = true;
            Err(SecyError::Refused("it is in the mood".to_owned()))
        } else {
            self.carry_out(station, command)?
        };
        let answer = || format!("{} {result:?}", describe(command));
        self.trace.note(self.now, || Note::Answer { station, what: answer() });
        let after = self.rng.span(SECY_MIN, SECY_MAX) + self.rng.span(Duration::ZERO, delay);
        let member = &mut self.members[station];
        let at = self.now.after(after).max(member.busy_until.1);
        member.busy_until.1 = at;
        self.schedule_at(at, Event::Answer { station, life, id, result });
        Ok(())
    }

    /// Has the SecY model carry out a command, and the oracles look on.
    fn carry_out(
        &mut self,
        station: usize,
        command: &SecyCommand,
    ) -> Result<Result<(), SecyError>, Violation> {
        let is_lied_to = self.oracles.is_lied_to;
        let Oracles { installs, keys, changeover, .. } = &mut self.oracles;
        let member = &mut self.members[station];
        let sak = match command {
            SecyCommand::InstallSak(install) => Some(keys.learn(&install.key)?),
            _ => None,
        };
        let result = member.secy.execute(command, sak);
        oracles::agree(station, &result, &member.model.apply(command), member.models_agree())?;
        if let Err(error) = &result {
            let reused = matches!(error, SecyError::KeyUsedBefore(_));
            let lost = matches!(error, SecyError::NoSuchKey(ki) if member.secy.lost.contains(ki));
            ensure((member.was_refused || lost) && !reused, "commands", || {
                format!("station {station}: {} fails: {error}", describe(command))
            })?;
            return Ok(result);
        }
        match command {
            SecyCommand::InstallSak(install) => {
                let ki = install.key.ki;
                let (is_stale, beginnings) = (member.keeping.is_stale, member.beginnings);
                let excuse = Excuse { is_stale, is_lied_to, beginnings };
                installs.install(station, ki, excuse)?;
                keys.rise(station, ki, excuse)?;
                changeover.installed(member.clock.at(self.now), ki, station);
                install.receive.iter().for_each(|of| changeover.receives(ki, station, of.sci));
            }
            SecyCommand::AddReceiver { ki, member } => {
                changeover.receives(*ki, station, member.sci);
            }
            SecyCommand::EnableTx(ki) => installs.enable(station, *ki)?,
            SecyCommand::RemoveSak(ki) => installs.lose(station, Some(*ki)),
            SecyCommand::Configure(_)
            | SecyCommand::SetControlledPort(_)
            | SecyCommand::RemoveReceiver(_)
            | SecyCommand::RaiseLowestPn { .. } => {}
        }
        Ok(result)
    }

    fn answer(
        &mut self,
        station: usize,
        life: u32,
        id: CommandId,
        result: Result<(), SecyError>,
    ) -> Result<(), Violation> {
        let member = &mut self.members[station];
        if member.life != life {
            return Ok(());
        }
        member.unanswered -= 1;
        self.input(station, PortInput::Secy { id, result })
    }

    fn send_data(&mut self, station: usize) -> Result<(), Violation> {
        self.schedule(self.traffic_every, Event::Traffic { station });
        let lossless = self.lossless;
        let member = &mut self.members[station];
        let protects = member.secy.settings.is_some_and(|settings| settings.protect);
        oracles::not_in_clear(station, member.must_secure(), member.secy.open, protects)?;
        let sci = member.sci();
        if member.carrier
            && !member.is_asleep(self.now)
            && let Some(frame) = member.secy.protect(sci, lossless)
        {
            let by = frame.ssci.map_or(Channel::Full(sci), Channel::Short);
            self.frames += 1;
            self.oracles.nonces.spend(frame.sak, by, frame.pn)?;
            for to in (0..self.members.len()).filter(|&to| to != station) {
                self.oracles.losses.due += u64::from(lossless);
                for arrival in self.link.carry(&mut self.rng, station, to).into_iter().flatten() {
                    if !arrival.flipped {
                        self.schedule(arrival.after, Event::Data { to, frame });
                    }
                }
            }
        }
        self.check_proofs(station)?;
        self.look()
    }

    /// I6, asked now and then: whoever is live has heard us. Of three, one may have it from another.
    fn check_proofs(&mut self, station: usize) -> Result<(), Violation> {
        let (now, pair) = (self.now, self.members.len() == 2);
        let member = &mut self.members[station];
        let early = now.since(member.proofs_checked) < PROOFS_EVERY;
        let stood = member.clock.stood;
        if !pair || early || member.frozen_until > now || self.oracles.is_lied_to {
            return Ok(());
        }
        member.proofs_checked = now;
        self.input(station, PortInput::Timeout)?;
        let Some(status) = self.members[station].status(now) else { return Ok(()) };
        for of in &status.participants {
            for peer in of.peers.iter().filter(|peer| peer.live) {
                let owner = self.owners.get(&peer.mi).copied().unwrap_or(station);
                self.oracles.proofs.live(now, of.mi, owner, stood)?;
            }
        }
        Ok(())
    }

    fn receive_data(&mut self, to: usize, frame: &DataFrame) -> Result<(), Violation> {
        if !self.members[to].carrier {
            return Ok(());
        }
        let verdict = self.members[to].secy.validate(frame);
        if frame.must_arrive {
            if verdict != Verdict::Delivered {
                return Err(Losses::refused(&verdict, &(to, frame)));
            }
            self.oracles.losses.delivered += 1;
        }
        Ok(())
    }
}

impl fmt::Display for World {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (station, member) in self.members.iter().enumerate() {
            let secured = member.secured_with(self.now).map(|ki| ki.to_string());
            writeln!(f, "  station {station} {secured:?} priority {:?}", member.policy.priority.0)?;
            let Some(status) = member.status(self.now) else { continue };
            writeln!(f, "    {:?} {:?} {:?}", status.state, status.cp, status.key_server)?;
            for of in &status.participants {
                let live = of.peers.iter().map(|peer| (crate::trace::short(peer.mi), peer.live));
                let (mi, live) = (crate::trace::short(of.mi), live.collect::<Vec<_>>());
                writeln!(f, "    {mi} ckn {} principal={} {live:?}", of.ckn, of.principal)?;
            }
        }
        write!(f, "{}", self.trace)
    }
}
