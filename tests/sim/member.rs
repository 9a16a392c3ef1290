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
    /// When the driver wants to be called next.
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
    }

    /// Starts anew: nothing survives but the policy, the keys and the address.
    pub(crate) fn boot(&mut self, now: Time, keys: &[Arc<Key>]) {
        self.set_dry(false);
        let source = Source {
            rng: self.rng.fork(),
            forced: std::mem::take(&mut self.forced_mis),
            dry: Arc::clone(&self.dry),
        };
        self.busy_until = (now, now);
        let ring = self.key_ring(keys);
        let driver = Driver::new(now, self.policy.clone(), &ring, Box::new(source));
        self.driver = Some(driver.unwrap());
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

    /// When the driver is called next if nothing happens.
    pub(crate) fn wakes_at(&self) -> Option<Time> {
        self.wake.map(|wake| wake.max(self.frozen_until))
    }

    pub(crate) fn status(&self, now: Time) -> Option<Status> {
        self.driver.as_ref().map(|driver| driver.status(now))
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
        let Some(driver) = &self.driver else { return Err("is down".to_owned()) };
        if driver.status(now).state != PortState::Secured {
            return Err(format!("is {:?}", driver.status(now).state));
        }
        let status = driver.status(now);
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
    /// Takes note of an MKPDU that is about to be handed to the driver.
    pub(crate) fn note_heard(&mut self, record: &crate::trace::Record) {
        let highest = self.heard.entry(record.mi()).or_default();
        *highest = record.mn().max(*highest);
    }
}
