//! What a scenario does to the stations, and how it sees how they stand.

use std::time::Duration;

use macsecd::port::{Link as PortLink, PortInput};

use crate::member::Mood;
use crate::oracles::{Storms, Violation};
use crate::restart::Found;
use crate::rng::Rng;
use crate::scenario::Action;
use crate::trace::Note;
use crate::world::World;

impl World {
    /// Sees whether the members have come together again.
    pub(crate) fn look(&mut self) -> Result<(), Violation> {
        if !self.oracles.recovery.is_open() {
            return Ok(());
        }
        let missing = self.missing();
        self.oracles.recovery.look(self.now, missing)
    }

    /// What keeps the members from being secured with one SAK; `None` where they are, or where
    /// nobody may serve and so nobody is.
    pub(crate) fn missing(&self) -> Option<String> {
        let nobody_serves = self.members.iter().all(|member| !member.policy.may_serve());
        let mut common = None;
        for (station, member) in self.members.iter().enumerate() {
            match member.secured_with(self.now) {
                Ok(_) if nobody_serves => return Some(format!("station {station} is secured")),
                Err(_) if nobody_serves => {}
                Err(why) => return Some(format!("station {station} {why}")),
                Ok(ki) if *common.get_or_insert(ki) != ki => {
                    return Some(format!("station {station} has {ki} and not {common:?}"));
                }
                Ok(ki) => {
                    let others = self.members.iter().filter(|other| other.sci() != member.sci());
                    let mut deaf = others.filter(|to| !to.secy.receives(ki, member.sci()));
                    if let Some(deaf) = deaf.next() {
                        return Some(format!("{} does not receive station {station}", deaf.sci()));
                    }
                }
            }
        }
        None
    }

    /// Has everything that is drawn from now on come from another seed.
    pub(crate) fn reseed(&mut self, seed: u64) {
        self.rng = Rng::new(seed);
        for member in &mut self.members {
            member.reseed(self.rng.fork());
        }
    }

    /// Starts a station that is down.
    pub(crate) fn boot(&mut self, station: usize) -> Result<(), Violation> {
        let member = &mut self.members[station];
        if member.driver.is_some() {
            return Ok(());
        }
        if member.keeping.has_died {
            return self.start(station, Found::Last);
        }
        member.boot(member.clock.at(self.now), &self.keys);
        let link = if member.carrier { PortLink::Up } else { PortLink::Down };
        self.input(station, PortInput::Link(link))
    }

    pub(crate) fn crash(&mut self, station: usize) {
        self.oracles.installs.lose(station, None);
        self.members[station].crash();
    }

    pub(crate) fn set_carrier(&mut self, station: usize, up: bool) -> Result<(), Violation> {
        self.members[station].carrier = up;
        let link = if up { PortLink::Up } else { PortLink::Down };
        self.input(station, PortInput::Link(link))
    }

    /// Gives a station another key ring. Without randomness the old one stays.
    pub(crate) fn set_ring(&mut self, station: usize, ring: Vec<usize>) -> Result<(), Violation> {
        self.input(station, PortInput::Timeout)?;
        let member = &mut self.members[station];
        let before = std::mem::replace(&mut member.ring, ring);
        let ring = member.key_ring(&self.keys);
        if let Some(driver) = &mut member.driver
            && driver.set_keys(member.clock.at(self.now), &ring).is_err()
        {
            member.ring = before;
        }
        self.drain(station)
    }

    /// Asks a station for a fresh SAK; tells whether it will make one.
    pub(crate) fn rekey(&mut self, station: usize) -> Result<bool, Violation> {
        let now = self.now;
        if self.members[station].frozen_until > now {
            return Ok(false);
        }
        self.input(station, PortInput::Timeout)?;
        let member = &mut self.members[station];
        let now = member.clock.at(now);
        let begun = member.driver.as_mut().is_some_and(|driver| driver.rekey(now).is_ok());
        self.drain(station)?;
        Ok(begun)
    }

    pub(crate) fn set_clock(&mut self, action: &Action) {
        self.tally.steps += 1;
        let now = self.now;
        let station = match *action {
            Action::StepForward(station, by) => {
                self.members[station].clock.step_forward(now, by);
                station
            }
            Action::StepBack(station, by) => {
                self.members[station].clock.step_back(now, by);
                station
            }
            Action::Drift(station, parts_per_million) => {
                self.members[station].clock.be_fast(now, parts_per_million);
                station
            }
            _ => return,
        };
        self.members[station].set_wake();
        // By its own clock it may talk anew.
        self.oracles.storms = Storms::default();
    }

    pub(crate) fn suspend(&mut self, station: usize, span: Duration) {
        self.tally.suspends += 1;
        let member = &mut self.members[station];
        member.asleep_until = self.now.after(span);
        member.frozen_until = member.frozen_until.max(member.asleep_until);
    }

    /// How many faults there were.
    pub(crate) fn faults(&self) -> u64 {
        let link = &self.link.faults;
        let of = &self.tally;
        let on_the_link = link.lost + link.duplicated + link.reordered + link.flipped;
        let by_outsiders = of.replays + of.reflections + of.forgeries;
        let inside = of.restarts + of.refusals + of.delays + of.droughts + of.freezes;
        let of_time = of.steps + of.suspends;
        on_the_link
            + by_outsiders
            + inside
            + of_time
            + of.halts
            + of.lies
            + of.exhaustions
            + of.lost_saks
            + of.flaps
            + of.partitions
    }

    /// Ends all faults: whatever is still on its way arrives at once, whoever is down starts.
    pub(crate) fn heal(&mut self) -> Result<(), Violation> {
        self.trace.note(self.now, || Note::Event("all faults end".to_owned()));
        self.link.heal();
        let soon = self.now.after(Duration::from_millis(1));
        self.hurry(soon);
        for station in 0..self.members.len() {
            let member = &mut self.members[station];
            member.mood = Mood::default();
            member.busy_until = (member.busy_until.0.min(soon), member.busy_until.1.min(soon));
            member.set_dry(false);
            member.frozen_until = self.now;
            member.asleep_until = self.now;
            member.keeping.halt = None;
            member.clock.catch_up(self.now);
            member.set_wake();
            if !member.carrier {
                self.set_carrier(station, true)?;
            }
            self.boot(station)?;
        }
        self.oracles.recovery.begin(self.now);
        Ok(())
    }
}
