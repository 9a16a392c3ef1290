//! How fast packet numbers are spent.

use std::collections::VecDeque;
use std::time::Duration;

use crate::ident::KeyId;
use crate::secy::TxProgress;
use crate::time::Time;

/// How far the packet numbers of the SAs have come, now and a while ago.
#[derive(Debug, Default)]
pub(super) struct Progress(VecDeque<(Time, TxProgress)>);

impl Progress {
    /// More samples than this within one Hello Time are not needed.
    const SAMPLES_MAX: usize = 16;

    /// Takes note of what the data plane has said.
    pub(super) fn note(&mut self, now: Time, progress: TxProgress) {
        while self.0.len() >= Self::SAMPLES_MAX {
            self.0.pop_front();
        }
        self.0.push_back((now, progress));
    }

    /// The next packet number of a key's transmit SA as last heard.
    pub(super) fn next_pn(&self, ki: KeyId) -> Option<u64> {
        self.0.iter().rev().find(|(_, of)| of.ki == ki).map(|(_, of)| of.next_pn.0)
    }

    /// The lowest packet number that may still be on its way (802.1X-2020 9.10, LLPN): what was
    /// last sent so long ago, 1 at least.
    pub(super) fn llpn(&self, now: Time, ki: KeyId, ago: Duration) -> u64 {
        let mut known = self.0.iter().rev().filter(|(_, of)| of.ki == ki);
        let old = known.find(|(at, _)| now.since(*at) >= ago);
        old.map_or(1, |(_, of)| of.next_pn.0.saturating_sub(1).max(1))
    }
}
