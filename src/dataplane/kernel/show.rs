//! What the kernel's data plane tells of itself.

use super::ledger::expected;
use super::reconcile::lowest;
use super::{FAILING_MAX, KernelDataplane};
use crate::dataplane::{Drops, RxProgress, Snapshot};
use crate::ident::PacketNumber;
use crate::secy::TxProgress;
use crate::sys::LinkState;

impl KernelDataplane {
    /// Tells what the kernel had counted, and how far packet numbers had come, at the last look.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        let mut counters = self.counted;
        counters.out_pkts_no_sa += self.unsent();
        let settings = self.model.settings();
        let (mut tx, mut rx) = (None, Vec::new());
        if let Some(seen) = &self.seen {
            counters.add(&seen.all_counters());
            tx = self.model.transmitting().and_then(|sak| {
                let sa = seen.sent_with(sak.an).filter(|sa| sa.ki == sak.key.ki)?;
                let next_pn = PacketNumber(expected(sa, sak));
                Some(TxProgress { ki: sa.ki, next_pn })
            });
            let mut channels: Vec<_> = seen.receive.iter().collect();
            channels.sort_by_key(|channel| channel.sci);
            for (channel, sa) in
                channels.iter().flat_map(|of| of.sas.iter().map(move |sa| (of, sa)))
            {
                let Some(sak) = self.model.sak(sa.ki) else { continue };
                let next = expected(sa, sak);
                rx.push(RxProgress {
                    ki: sa.ki,
                    sci: channel.sci,
                    next_pn: PacketNumber(next),
                    lowest_pn: PacketNumber(lowest(next, settings)),
                });
            }
        }
        let gone = self.seen.is_none();
        Snapshot {
            counters,
            drops: Drops::default(),
            tx,
            rx,
            parent: self.parent,
            secure_interface: if gone { LinkState::Gone } else { self.link.state() },
            alive: self.failing.is_none_or(|since| since.elapsed() < FAILING_MAX),
            kernel: Some(self.state.clone()),
        }
    }

    /// Frames that were not sent for want of an SA. The interface counts those that are too long,
    /// too.
    pub(super) fn unsent(&self) -> u64 {
        let too_long = self.seen.as_ref().map_or(0, |seen| seen.counters.out_pkts_too_long);
        self.link.tx_dropped.saturating_sub(too_long)
    }
}
