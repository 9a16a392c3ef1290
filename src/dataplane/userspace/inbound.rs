//! The inbound thread: from the wire to the secure interface.

use std::os::fd::AsFd;
use std::sync::Arc;

use super::counts::{Counts, Tally};
use super::offload::Coalescer;
use super::plain::Plain;
use super::publish::{Reader, Woken};
use super::table::Table;
use super::{BACKOFF, INNER_TAGS, Stalled, fit, frame_max};
use crate::secy::{FrameBuf, validate_batch};
use crate::sys::{JoinedDatagrams, PacketRing, RingFrame, Tap};

/// What the thread owns.
pub(super) struct Inbound {
    pub tap: Arc<Tap>,
    pub datagrams: JoinedDatagrams,
    pub reader: Reader,
    pub counts: Counts,
}

impl Inbound {
    /// Works until told to stop.
    pub(super) fn run(mut self) {
        let (mut frames, mut unprotected) = (Vec::new(), Plain::default());
        let mut coalescer = Coalescer::new(self.datagrams);
        loop {
            let table = self.reader.table();
            let (wire, plain) = (table.wire.clone(), table.plain.clone());
            let sources = [wire.as_deref().map(AsFd::as_fd), plain.as_deref().map(AsFd::as_fd)];
            if let Woken::Stop = self.reader.wait(sources, None) {
                return;
            }
            let mut outcome = Ok(());
            if let Some(wire) = wire {
                outcome = self.batch(&wire, &mut frames, &mut coalescer);
            }
            if let Some(plain) = plain {
                let more = unprotected.batch(&plain, &mut self.reader, &self.tap, &self.counts);
                outcome = outcome.and(more);
            }
            if let Err(Stalled) = outcome
                && let Woken::Stop = self.reader.wait([None, None], Some(BACKOFF))
            {
                return;
            }
        }
    }

    fn batch(
        &mut self,
        wire: &PacketRing,
        frames: &mut Vec<FrameBuf>,
        coalescer: &mut Coalescer,
    ) -> Result<(), Stalled> {
        let mut tally = Tally::default();
        fit(frames, frame_max(self.reader.table().parent_mtu) + INNER_TAGS);
        let received = receive(wire, frames, &mut tally)?;
        let frames = frames.get_mut(..received).unwrap_or_default();
        let table = self.reader.table();
        check(table, frames.iter_mut().filter(|frame| !frame.is_empty()), &mut tally);
        self.counts.settle(&mut tally);
        coalescer.deliver(frames, |pieces, count| {
            if self.tap.write_pieces(pieces).is_err() {
                tally.drops.in_undelivered += count;
            }
        });
        self.counts.settle(&mut tally);
        Ok(())
    }
}

/// Receives what is there, into one buffer each, and tells how many. A frame that does not fit
/// leaves its buffer empty.
///
/// The copy lets the slot go at once, so that the ring is as long as it is however slow the tap.
fn receive(
    wire: &PacketRing,
    frames: &mut [FrameBuf],
    tally: &mut Tally,
) -> Result<usize, Stalled> {
    let max = frames.len();
    let mut free = frames.iter_mut();
    let look = |RingFrame { octets, len }: RingFrame<'_>| {
        let Some(frame) = free.next() else { return };
        frame.clear();
        if len > octets.len() || frame.fill(octets).is_err() {
            tally.drops.in_too_long += 1;
        }
    };
    wire.receive(max, look).map_err(|_| Stalled)
}

/// Leaves of each frame what the table lets through, or empties its buffer.
pub(super) fn check<'f>(
    table: &Table,
    frames: impl IntoIterator<Item = &'f mut FrameBuf>,
    tally: &mut Tally,
) {
    if table.open {
        // What is not delivered has been counted, and its buffer is empty.
        validate_batch(&table.receive, &table.settings, frames, &mut tally.counters, |_, _| {});
        return;
    }
    for frame in frames {
        frame.clear();
        tally.drops.in_port_closed += 1;
    }
}
