//! What a thread counts, for others to read.

use std::mem;
use std::sync::{Arc, Mutex, PoisonError};

use crate::dataplane::Drops;
use crate::secy::Counters;

/// The counts of one thread.
///
/// It settles what it has counted before a batch goes on its way and again after, so that whoever
/// has seen a frame finds it counted.
#[derive(Clone, Debug, Default)]
pub(super) struct Counts(Arc<Mutex<Tally>>);

/// The counts of a part of a batch, or of all.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Tally {
    pub counters: Counters,
    pub drops: Drops,
}

impl Tally {
    pub(super) const fn add(&mut self, other: &Self) {
        self.counters.add(&other.counters);
        self.drops.add(&other.drops);
    }
}

impl Counts {
    /// Adds a tally, which starts again from zero.
    pub(super) fn settle(&self, tally: &mut Tally) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).add(&mem::take(tally));
    }

    pub(super) fn read(&self) -> Tally {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
