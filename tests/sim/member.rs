//! One station: the production driver, a SecY that obeys it, and what the simulation knows of both.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use macsecd::ident::{KeyId, MemberId, Sci};
use macsecd::keyring::{Key, KeyRing, Preference};
use macsecd::mka::{Access, Policy, PortState, Status};
use macsecd::port::Driver;
use macsecd::secy::{SecyCommand, SecyModel};
use macsecd::time::Time;

use crate::clock::Clock;
use crate::restart::Keeping;
use crate::rng::{Rng, Source};
use crate::secy::Secy;

/// What a station starts with.
#[derive(Clone, Debug)]
pub(crate) struct Setup {
    pub(crate) policy: Policy,
    /// Which keys it has, newest first.
    pub(crate) ring: Vec<usize>,
    pub(crate) preference: Preference,
    /// The first member identifiers that it draws.
    pub(crate) forced_mis: Vec<[u8; 12]>,
    /// Whether a record is kept and the SecY goes on when the daemon dies.
    pub(crate) keeps: bool,
}

/// What the data plane does to commands beyond carrying them out.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Mood {
    /// Which commands it refuses, per mille; those of [`Refusals`] only.
    pub(crate) refusal: u16,
    pub(crate) refusals: Refusals,
    /// Up to so much later.
    pub(crate) delay: Duration,
}

/// The kinds of commands that are refused.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) enum Refusals {
    /// Those after which the key agreement does without the SAK.
    #[default]
    Keys,
    /// `Configure` alone.
    Settings,
    /// Any.
    All,
}

impl Refusals {
    pub(crate) fn include(self, command: &SecyCommand) -> bool {
        match (self, command) {
            (Self::All, _)
            | (Self::Keys, SecyCommand::InstallSak(_) | SecyCommand::EnableTx(_))
            | (Self::Settings, SecyCommand::Configure(_)) => true,
            (Self::Keys | Self::Settings, _) => false,
        }
    }
}

pub(crate) struct Member {
    pub(crate) policy: Policy,
    pub(crate) ring: Vec<usize>,
    pub(crate) preference: Preference,
    /// `None` while the station is down.
    pub(crate) driver: Option<Driver>,
    /// Counts restarts: commands and answers of an earlier life are void.
    pub(crate) life: u32,
    pub(crate) secy: Secy,
    /// What stands in front of every data plane of the daemon: it has to accept what `secy` does.
    pub(crate) model: SecyModel,
    pub(crate) carrier: bool,
    pub(crate) mood: Mood,
    /// Until then nothing reaches the driver.
    pub(crate) frozen_until: Time,
    /// When the driver wants to be called next, by the clock of the world.
    pub(crate) wake: Option<Time>,
    /// When the command given last is carried out and when it is answered, so that all are in order.
    pub(crate) busy_until: (Time, Time),
    pub(crate) unanswered: usize,
    /// A command was refused in this life, which excuses others that fail in its wake.
    pub(crate) was_refused: bool,
    /// The highest MN delivered of each MI since our own MI last changed.
    pub(crate) heard: BTreeMap<MemberId, u32>,
    /// Our own MIs, of all lives and keys.
    pub(crate) own: Vec<MemberId>,
    pub(crate) proofs_checked: Time,
    /// What was heard by the time of the record that was kept last.
    pub(crate) heard_in_record: BTreeMap<MemberId, u32>,
    pub(crate) keeping: Keeping,
    pub(crate) clock: Clock,
    /// Until then the whole machine is suspended, its SecY included; only its clock goes on.
    pub(crate) asleep_until: Time,
    /// How often it has begun afresh, with no memory of what was before.
    pub(crate) beginnings: u32,
    /// What the next daemon starts with.
    pub(crate) next_policy: Option<Policy>,
    dry: Arc<AtomicBool>,
    forced_mis: Vec<[u8; 12]>,
    rng: Rng,
}

impl Member {
    pub(crate) fn new(setup: Setup, rng: Rng) -> Self {
        let sci = setup.policy.sci;
        Self {
            policy: setup.policy,
            ring: setup.ring,
            preference: setup.preference,
            driver: None,
            life: 0,
            secy: Secy::default(),
            model: SecyModel::new(sci),
            carrier: true,
            mood: Mood::default(),
            frozen_until: Time::ZERO,
            wake: None,
            busy_until: (Time::ZERO, Time::ZERO),
            unanswered: 0,
            was_refused: false,
            heard: BTreeMap::new(),
            own: Vec::new(),
            proofs_checked: Time::ZERO,
            heard_in_record: BTreeMap::new(),
            keeping: Keeping { wanted: setup.keeps, ..Keeping::default() },
            clock: Clock::default(),
            asleep_until: Time::ZERO,
            beginnings: 0,
            next_policy: None,
            dry: Arc::new(AtomicBool::new(false)),
            forced_mis: setup.forced_mis,
            rng,
        }
    }

    pub(crate) fn sci(&self) -> Sci {
        self.policy.sci
    }

    /// Takes the driver and the SecY away, as a crash does.
    pub(crate) fn crash(&mut self) {
        self.life += 1;
        self.driver = None;
        self.secy = Secy::default();
        self.model = SecyModel::new(self.sci());
        self.wake = None;
        self.frozen_until = Time::ZERO;
        self.unanswered = 0;
        self.was_refused = false;
        self.heard.clear();
        self.beginnings += 1;
        self.keeping.keep(None);
        (self.keeping.halt, self.keeping.carried_out) = (None, 0);
        self.keeping.has_died = false;
    }

    /// Starts anew: nothing survives but the policy, the keys and the address.
    ///
    /// `now` is by its own clock.
    pub(crate) fn boot(&mut self, now: Time, keys: &[Arc<Key>]) {
        self.set_dry(false);
        self.policy = self.next_policy.take().unwrap_or_else(|| self.policy.clone());
        let source = Source {
            rng: self.rng.fork(),
            forced: std::mem::take(&mut self.forced_mis),
            dry: Arc::clone(&self.dry),
        };
        self.busy_until = (Time::ZERO, Time::ZERO);
        let ring = self.key_ring(keys);
        let driver = Driver::new(now, self.policy.clone(), &ring, Box::new(source));
        let mut driver = driver.unwrap();
        if self.keeping.wanted {
            driver.keep_record();
        }
        self.driver = Some(driver);
    }

    /// A generator for another life.
    pub(crate) fn fork_rng(&mut self) -> Rng {
        self.rng.fork()
    }

    /// Where it can be seen whether there is randomness.
    pub(crate) fn dryness(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.dry)
    }

    pub(crate) fn reseed(&mut self, rng: Rng) {
        self.rng = rng;
    }

    /// Puts the keys of the ring together.
    pub(crate) fn key_ring(&self, keys: &[Arc<Key>]) -> KeyRing {
        let ring = self.ring.iter().map(|&index| Arc::clone(&keys[index]));
        KeyRing::new(ring.collect()).unwrap().preferring(self.preference)
    }

    /// Takes the randomness away, or gives it back.
    pub(crate) fn set_dry(&self, dry: bool) {
        self.dry.store(dry, Ordering::Relaxed);
    }

    pub(crate) fn is_up(&self) -> bool {
        self.driver.is_some() && self.carrier
    }

    pub(crate) fn is_asleep(&self, now: Time) -> bool {
        self.asleep_until > now
    }

    /// Takes note of when the driver wants to be called next.
    pub(crate) fn set_wake(&mut self) {
        let wake = self.driver.as_ref().and_then(Driver::poll_timeout);
        self.wake = wake.map(|wake| self.clock.when(wake));
    }

    /// When the driver is called next if nothing happens.
    pub(crate) fn wakes_at(&self) -> Option<Time> {
        self.wake.map(|wake| wake.max(self.frozen_until))
    }

    pub(crate) fn status(&self, now: Time) -> Option<Status> {
        self.driver.as_ref().map(|driver| driver.status(self.clock.at(now)))
    }

    pub(crate) fn must_secure(&self) -> bool {
        self.policy.access == Access::MustSecure
    }

    /// Tells whether the two models of the SecY stand alike.
    pub(crate) fn models_agree(&self) -> bool {
        let (ours, theirs) = (&self.secy, &self.model);
        let received = ours.sas.iter().map(|(&ki, of)| (ki, of.receive.keys().copied().collect()));
        let received: BTreeMap<KeyId, Vec<Sci>> = received.collect();
        let also = theirs.saks().map(|of| (of.key.ki, of.receivers.keys().copied().collect()));
        ours.transmits == theirs.transmitting_ki()
            && ours.open == theirs.controlled_port()
            && received == also.collect()
    }

    /// The SAK that it says and its SecY shows that it is secured with, or why it is not.
    pub(crate) fn secured_with(&self, now: Time) -> Result<KeyId, String> {
        let Some(status) = self.status(now) else { return Err("is down".to_owned()) };
        if status.state != PortState::Secured {
            return Err(format!("is {:?}", status.state));
        }
        let Some(sak) = status.sak else { return Err("is secured without an SAK".to_owned()) };
        let secy = &self.secy;
        let protects = secy.settings.is_some_and(|settings| settings.protect);
        if secy.sends_with() != Some(sak.ki) || !secy.open || !protects {
            let (tx, open) = (secy.sends_with(), secy.open);
            return Err(format!("claims {} but has {tx:?}, {open}, {protects}", sak.ki));
        }
        Ok(sak.ki)
    }
}

impl Member {
    /// Keeps what is to survive the daemon.
    pub(crate) fn remember(&mut self, record: Option<Vec<u8>>) {
        self.keeping.keep(record);
        self.heard_in_record.clone_from(&self.heard);
    }

    /// Takes note of an MKPDU that is about to be handed to the driver.
    pub(crate) fn note_heard(&mut self, record: &crate::trace::Record) {
        let highest = self.heard.entry(record.mi()).or_default();
        *highest = record.mn().max(*highest);
    }
}
