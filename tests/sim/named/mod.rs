//! Scenarios that have a name: each of them once, step by step, under all oracles.

mod clocks;
mod crashes;
mod faults;
mod insiders;
mod joining;
mod keys;
mod losses;
mod outsiders;
mod rollover;

use std::time::Duration;

use macsecd::ident::{CipherSuite, KeyId};
use macsecd::keyring::Preference;
use macsecd::mka::{KeyServer, PortState};

use crate::link::Noise;
use crate::member::{Mood, Refusals, Setup};
use crate::oracles::{RECOVERY, Violation};
use crate::scenario::{Action, keys, report, setup};
use crate::world::World;

const fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

const fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

/// A world of which a test expects that no oracle ever objects.
struct Sim(World);

impl Sim {
    /// Stations with nothing wrong between them, none of them started.
    fn new(setups: Vec<Setup>) -> Self {
        Self(World::new(1, keys(), setups))
    }

    /// Stations of these priorities, all started at once.
    fn started(priorities: &[u8]) -> Self {
        let setups = priorities.iter().enumerate().map(|(station, &of)| setup(station, of));
        let mut sim = Self::new(setups.collect());
        sim.boot_all();
        sim
    }

    fn boot_all(&mut self) {
        (0..self.0.members.len()).for_each(|station| self.act(Action::Boot(station)));
    }

    fn check<T>(&self, result: Result<T, Violation>) -> T {
        result.unwrap_or_else(|violation| panic!("{}", report(&self.0, &violation)))
    }

    fn act(&mut self, action: Action) {
        let result = self.0.act(&action);
        self.check(result);
    }

    fn run(&mut self, span: Duration) {
        let result = self.0.run_until(self.0.now.after(span));
        self.check(result);
    }

    /// Ends all faults, and sees that the members come together.
    fn heal(&mut self) {
        let result = self.0.heal().and_then(|()| self.0.recover());
        self.check(result);
    }

    /// Lets time pass in which no data frame may be lost.
    fn calm(&mut self, span: Duration) {
        let result = self.0.stay_calm(span);
        self.check(result);
    }

    /// The SAK with which all are secured.
    fn common_sak(&self) -> KeyId {
        assert_eq!(self.0.missing(), None, "{}", self.0);
        self.sak(0)
    }

    fn sak(&self, station: usize) -> KeyId {
        self.0.members[station].secured_with(self.0.now).unwrap()
    }

    fn state(&self, station: usize) -> PortState {
        self.0.members[station].status(self.0.now).unwrap().state
    }

    fn key_server(&self, station: usize) -> Option<KeyServer> {
        self.0.members[station].status(self.0.now).unwrap().key_server
    }

    fn cut(&mut self, from: usize, to: usize) {
        self.act(Action::Cut(from, to, true));
    }

    fn join(&mut self, from: usize, to: usize) {
        self.act(Action::Cut(from, to, false));
    }
}
