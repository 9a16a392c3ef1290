//! Stations on one segment: whole KaYs, their data planes and the frames between them.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::{Arc, Mutex};

use super::defects::Defect;
use super::fork::{Draws, digest, digest_of, fork};
use super::plane::{self, Broken, History, Knowledge, Plane, Said};
use crate::ident::KeyId;
use crate::mka::testing::{policy, ring};
use crate::mka::timers::HELLO;
use crate::mka::{Input, Kay, Output, PortState};
use crate::secy::{CommandId, SecyError};
use crate::time::Time;

/// An MKPDU on its way.
#[derive(Debug)]
pub(super) struct Frame {
    pub(super) octets: Vec<u8>,
    pub(super) said: Said,
    knows: Knowledge,
    digest: u64,
    /// Of its sender's and all others', which it is that was sent.
    order: u64,
}

/// One station; `kay` is absent while it is down.
#[derive(Clone)]
pub(super) struct Member {
    kay: Option<Arc<Mutex<Kay>>>,
    draws: Draws,
    /// Of the KaY.
    digest: u64,
    pub(super) wakes: Option<Time>,
    pub(super) secured: bool,
    pub(super) serves: bool,
    life: u32,
    pub(super) plane: Plane,
    /// The next key that it is given is refused.
    refuses: bool,
    /// Answers come late: they wait here.
    pub(super) late: Option<VecDeque<(CommandId, bool)>>,
    /// When it was last heard on the segment, or could have been for the first time.
    spoke: Time,
    /// By how much its clock was set, in nanoseconds; what it goes by is no clock that can be set,
    /// unless that is its defect.
    pub(super) clock: i64,
    /// It has fallen silent for good; a defect as well.
    pub(super) gave_up: bool,
}

impl Member {
    fn down(station: usize) -> Self {
        Self {
            kay: None,
            draws: Draws::new(station, 0),
            digest: 0,
            wakes: None,
            secured: false,
            serves: false,
            life: 0,
            plane: Plane::default(),
            refuses: false,
            late: None,
            spoke: Time::ZERO,
            clock: 0,
            gave_up: false,
        }
    }

    /// What a station's clock shows.
    fn shown(&self, now: Time) -> Time {
        set(now, self.clock)
    }

    pub(super) fn is_up(&self) -> bool {
        self.kay.is_some()
    }
}

/// What may still go wrong, and how often.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Hash)]
pub(super) struct Budget {
    /// Frames that are lost, repeated, overtaken or late.
    pub(super) frames: u8,
    /// Keys that a data plane refuses, loses or is slow with.
    pub(super) planes: u8,
    pub(super) crashes: u8,
    pub(super) rekeys: u8,
    /// How often the link goes down for all.
    pub(super) links: u8,
    /// How often somebody sets a clock.
    pub(super) clocks: u8,
}

impl Budget {
    pub(super) const NONE: Self =
        Self { frames: 0, planes: 0, crashes: 0, rekeys: 0, links: 0, clocks: 0 };
}

impl fmt::Display for Budget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { frames, planes, crashes, rekeys, links, clocks: _ } = self;
        write!(
            f,
            "frames {frames}, planes {planes}, crashes {crashes}, rekeys {rekeys}, links {links}"
        )
    }
}

/// How everything stands.
#[derive(Clone)]
pub(super) struct World {
    pub(super) now: Time,
    pub(super) members: Vec<Member>,
    /// By sender and receiver, in the order sent.
    pub(super) wire: BTreeMap<(usize, usize), VecDeque<Arc<Frame>>>,
    /// Frames arrive in the order sent, and any other order is a fault. Else this holds only of
    /// those from one station to another.
    pub(super) in_order: bool,
    /// How many frames there have been.
    pub(super) sent: u64,
    pub(super) budget: Budget,
    pub(super) history: History,
    pub(super) broken: Option<Broken>,
    /// Each frame also comes back to its sender.
    pub(super) loops: bool,
    /// Whether the stations have a carrier.
    pub(super) linked: bool,
    pub(super) defect: Option<Defect>,
}

/// What happens next.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Move {
    /// The first frame from one to another arrives.
    Deliver(usize, usize),
    /// A later one arrives before it; or the first before what others have sent earlier.
    Overtake(usize, usize, usize),
    Lose(usize, usize),
    /// It arrives, and once more behind all others.
    Repeat(usize, usize),
    /// The time that a station waits for comes.
    Tick(usize),
    Crash(usize),
    Boot(usize),
    Rekey(usize),
    Refuse(usize),
    LoseSak(usize, KeyId),
    Stall(usize),
    /// The answer that is due for longest comes.
    Answer(usize),
    /// The link goes down, and with it all frames, or comes up.
    Link(bool),
    /// Somebody sets a clock, forward or back.
    SetClock(usize, bool),
}

/// How far a clock is set.
const HOUR: i64 = 3_600_000_000_000;

impl World {
    /// So many stations, all of them down. The first is to be key server.
    pub(super) fn new(stations: usize) -> Self {
        Self {
            now: Time::ZERO,
            members: (0..stations).map(Member::down).collect(),
            wire: BTreeMap::new(),
            in_order: false,
            sent: 0,
            budget: Budget::NONE,
            history: History::default(),
            broken: None,
            loops: false,
            linked: true,
            defect: None,
        }
    }

    /// The time that somebody waits for first.
    pub(super) fn next_wake(&self) -> Option<Time> {
        self.members.iter().filter_map(|member| member.wakes).min()
    }

    pub(super) fn is_quiet(&self) -> bool {
        self.wire.is_empty() && self.members.iter().all(|member| member.late.is_none())
    }

    /// Lets something happen.
    pub(super) fn make(&mut self, happens: Move) {
        let done = match happens {
            Move::Deliver(from, to) => self.deliver(from, to, 0),
            Move::Overtake(from, to, at) => self.deliver(from, to, at),
            Move::Lose(from, to) => {
                self.take(from, to, 0);
                Ok(())
            }
            Move::Repeat(from, to) => {
                let again = self.wire[&(from, to)][0].clone();
                let done = self.deliver(from, to, 0);
                self.wire.entry((from, to)).or_default().push_back(again);
                done
            }
            Move::Tick(station) => {
                self.now = self.now.max(self.members[station].wakes.unwrap());
                self.handle(station, |kay, now| kay.handle(now, Input::Timeout))
            }
            Move::Crash(station) => {
                let life = self.members[station].life + 1;
                self.history.crash(station);
                self.members[station] =
                    Member { life, draws: Draws::new(station, life), ..Member::down(station) };
                Ok(())
            }
            Move::Boot(station) => self.boot(station),
            Move::Rekey(station) => self.handle(station, |kay, now| kay.rekey(now).unwrap()),
            Move::Refuse(station) => {
                self.members[station].refuses = true;
                Ok(())
            }
            Move::LoseSak(station, ki) => {
                self.members[station].plane.lose(ki);
                self.handle(station, |kay, now| kay.handle(now, Input::SakLost(ki)))
            }
            Move::Stall(station) => {
                self.members[station].late = Some(VecDeque::new());
                Ok(())
            }
            Move::Answer(station) => self.answer(station),
            Move::Link(up) => self.link(up),
            Move::SetClock(station, forward) => {
                self.members[station].clock += if forward { HOUR } else { -HOUR };
                self.handle(station, |kay, now| kay.handle(now, Input::Timeout))
            }
        };
        let silent = self.judge_silence().err();
        self.broken = self.broken.take().or(done.err()).or(silent);
    }

    fn link(&mut self, up: bool) -> Result<(), Broken> {
        self.linked = up;
        self.wire.clear();
        for station in 0..self.members.len() {
            if self.members[station].is_up() {
                self.members[station].spoke = self.now;
                self.handle(station, |kay, now| kay.handle(now, Input::Carrier(up)))?;
            }
        }
        Ok(())
    }

    /// Whoever is there is heard every MKA Hello Time.
    fn judge_silence(&self) -> Result<(), Broken> {
        let audible = self.members.iter().filter(|of| self.linked && of.is_up());
        if audible.clone().all(|of| self.now.since(of.spoke) <= HELLO) {
            return Ok(());
        }
        let since: Vec<_> = audible.map(|of| of.spoke.to_string()).collect();
        Err((plane::HELLOS, format!("heard last at {since:?}")))
    }

    fn take(&mut self, from: usize, to: usize, at: usize) -> Arc<Frame> {
        let queue = self.wire.get_mut(&(from, to)).unwrap();
        let frame = queue.remove(at).unwrap();
        if queue.is_empty() {
            self.wire.remove(&(from, to));
        }
        frame
    }

    fn deliver(&mut self, from: usize, to: usize, at: usize) -> Result<(), Broken> {
        let frame = self.take(from, to, at);
        self.history.hear(to, &frame.knows);
        let (defect, own) = (self.defect, from == to);
        self.handle(to, |kay, now| {
            if let Some(defect) = defect {
                defect.hears(kay, now, &frame, own);
            }
            kay.handle(now, Input::Frame(&frame.octets));
        })?;
        let kay = self.members[to].kay.as_ref().unwrap().lock().unwrap();
        self.history.note_proof(self.now, to, &kay, &frame.said);
        Ok(())
    }

    fn boot(&mut self, station: usize) -> Result<(), Broken> {
        let number = u8::try_from(station).unwrap() + 1;
        let (policy, keys) = (policy(number, 10 * number), ring(&[(1, 7)]));
        let draws = Box::new(self.members[station].draws.clone());
        let kay = Kay::new(self.now, policy, &keys, draws).unwrap();
        self.members[station].kay = Some(Arc::new(Mutex::new(kay)));
        self.members[station].spoke = self.now;
        let linked = self.linked;
        self.handle(station, |kay, now| kay.handle(now, Input::Carrier(linked)))
    }

    /// The first answer that waits; with the last of them answers are prompt again.
    fn answer(&mut self, station: usize) -> Result<(), Broken> {
        let first = self.members[station].late.as_mut().and_then(VecDeque::pop_front);
        let Some((id, done)) = first else {
            self.members[station].late = None;
            return Ok(());
        };
        self.handle(station, |kay, now| kay.handle(now, answer(id, done)))?;
        if self.members[station].late.as_ref().is_some_and(VecDeque::is_empty) {
            self.members[station].late = None;
        }
        Ok(())
    }

    /// Has a station handle something, carries out what follows, and judges it.
    fn handle(&mut self, station: usize, input: impl FnOnce(&mut Kay, Time)) -> Result<(), Broken> {
        let now = self.now;
        let draws = self.members[station].draws.fork();
        let mut kay = {
            let before = self.members[station].kay.as_ref().unwrap().lock().unwrap();
            fork(&before, draws.clone())
        };
        let (retry_at, shown) = (kay.retry_at, self.members[station].shown(now));
        if let Some(defect) = self.defect {
            defect.begins(&mut kay, shown);
        }
        input(&mut kay, shown);
        let done = self.carry_out(station, &mut kay);
        let member = &mut self.members[station];
        if let Some(defect) = self.defect {
            defect.ends(&mut kay, retry_at);
            member.gave_up |= defect.gives_up(&kay, shown);
        }
        member.wakes = kay.poll_timeout().map(|at| set(at, -member.clock));
        member.secured = kay.state() == PortState::Secured;
        member.serves = kay.is_server();
        member.digest = digest(&kay) ^ draws.drawn();
        member.draws = draws;
        let answered = member.late.as_ref().is_none_or(VecDeque::is_empty);
        let judged =
            self.history.judge(now, station, &kay, (&member.plane, answered, member.wakes));
        member.kay = Some(Arc::new(Mutex::new(kay)));
        done.and(judged)
    }

    fn carry_out(&mut self, station: usize, kay: &mut Kay) -> Result<(), Broken> {
        while let Some(output) = kay.poll_output() {
            match output {
                Output::Transmit(octets) => self.send(station, octets),
                Output::Remember(_) => {}
                Output::Secy { id, command } => {
                    let member = &mut self.members[station];
                    let about_key = super::kay::is_about_key(&command);
                    let refused = about_key && std::mem::take(&mut member.refuses);
                    let done = !refused
                        && self
                            .history
                            .execute(self.now, (station, kay), &mut member.plane, &command)?
                            .is_ok();
                    match &mut member.late {
                        Some(late) => late.push_back((id, done)),
                        None => kay.handle(self.members[station].shown(self.now), answer(id, done)),
                    }
                }
            }
        }
        Ok(())
    }

    fn send(&mut self, from: usize, octets: Vec<u8>) {
        if self.members[from].gave_up {
            return;
        }
        self.members[from].spoke = self.now;
        let said = Said::of(&octets);
        let digest = digest_of(&octets);
        let knows = self.history.send(self.now, from, &said);
        self.sent += 1;
        let frame = Arc::new(Frame { octets, said, knows, digest, order: self.sent });
        let loops = self.loops;
        for to in (0..self.members.len()).filter(|&to| loops || to != from) {
            self.wire.entry((from, to)).or_default().push_back(Arc::clone(&frame));
        }
    }

    /// Who sent to whom, in the order sent.
    pub(super) fn order(&self) -> Vec<(u64, (usize, usize))> {
        let queues = self.wire.iter();
        let frames = queues.flat_map(|(&of, frames)| frames.iter().map(move |f| (f.order, of)));
        let mut order: Vec<_> = frames.collect();
        order.sort_unstable();
        order
    }

    /// The SAK that all send with and receive each other with, if they do.
    pub(super) fn secured_with(&self) -> Option<KeyId> {
        let first = self.members.first()?.plane.sends_with()?;
        let sci = |station: usize| policy(u8::try_from(station).unwrap() + 1, 0).sci;
        let all = self.members.iter().enumerate().all(|(at, member)| {
            let receives = |from: usize| {
                let theirs = self.members[from].plane.sas.get(&first).map(|sa| sa.ssci);
                let heard = member.plane.sas.get(&first).and_then(|sa| sa.receive.get(&sci(from)));
                heard.is_some() && heard.copied() == theirs
            };
            let mut others = (0..self.members.len()).filter(|&from| from != at);
            member.secured && member.plane.sends_with() == Some(first) && others.all(receives)
        });
        all.then_some(first)
    }

    /// Goes on as a healthy network does: whoever is down starts, frames arrive in order, answers
    /// are prompt, and time passes when there is nothing else to do.
    pub(super) fn heal(&mut self) {
        self.budget = Budget::NONE;
        for member in &mut self.members {
            member.refuses = false;
        }
        if !self.linked {
            return self.make(Move::Link(true));
        }
        let down = self.members.iter().position(|member| !member.is_up());
        let late = self.members.iter().position(|member| member.late.is_some());
        let due = |member: &&Member| member.wakes.is_some() && member.wakes == self.next_wake();
        if let Some(station) = down {
            self.make(Move::Boot(station));
        } else if let Some(station) = late {
            self.make(Move::Answer(station));
        } else if let Some((&(from, to), _)) = self.wire.first_key_value() {
            self.make(Move::Deliver(from, to));
        } else if let Some(station) = self.members.iter().position(|member| due(&member)) {
            self.make(Move::Tick(station));
        }
    }

    /// A name for how the stations and the wire stand, whatever may still happen to them.
    pub(super) fn core(&self) -> u64 {
        let mut hasher = std::hash::DefaultHasher::new();
        self.now.hash(&mut hasher);
        for member in &self.members {
            (member.is_up(), member.digest, member.life, member.refuses).hash(&mut hasher);
            let late = member.late.iter().flatten().map(|&(id, done)| (id.0, done));
            (&member.plane, member.late.is_some(), late.collect::<Vec<_>>()).hash(&mut hasher);
            (member.spoke, member.clock, member.gave_up).hash(&mut hasher);
        }
        self.linked.hash(&mut hasher);
        for (between, frames) in &self.wire {
            between.hash(&mut hasher);
            frames.iter().for_each(|frame| frame.digest.hash(&mut hasher));
        }
        hasher.finish()
    }
}

/// What a clock shows that was set by so many nanoseconds.
fn set(at: Time, by: i64) -> Time {
    Time::from_nanos(at.as_nanos().saturating_add_signed(by))
}

fn answer(id: CommandId, done: bool) -> Input<'static> {
    let refused = Err(SecyError::Invalid("refused by the model"));
    Input::Secy { id, result: if done { Ok(()) } else { refused } }
}

impl Hash for World {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (self.core(), self.budget, &self.history, &self.broken).hash(state);
        if self.in_order {
            self.order().into_iter().for_each(|(_, of)| of.hash(state));
        }
        self.wire.values().flatten().for_each(|frame| frame.knows.hash(state));
    }
}

impl PartialEq for World {
    fn eq(&self, other: &Self) -> bool {
        self.core() == other.core() && self.budget == other.budget && self.broken == other.broken
    }
}

impl fmt::Debug for World {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} s", self.now)?;
        for member in &self.members {
            let tx = member.plane.sends_with().map(|ki| ki.to_string());
            write!(f, " [up {} secured {} tx {tx:?}]", member.is_up(), member.secured)?;
        }
        let frames = self.wire.iter().map(|(of, queue)| (of, queue.len()));
        write!(f, " wire {:?} {:?}", frames.collect::<Vec<_>>(), self.budget)?;
        write!(f, " broken {:?}", self.broken)
    }
}
