//! The inbound thread: from the wire to the secure interface.

use std::io::IoSliceMut;
use std::os::fd::AsFd;
use std::sync::Arc;

use super::counts::{Counts, Tally};
use super::plain::Plain;
use super::publish::{Reader, Woken};
use super::table::Table;
use super::{BACKOFF, Stalled, fit, frame_max, is_for_now};
use crate::secy::{FrameBuf, validate};
use crate::sys::{BATCH_MAX, PacketSocket, Tap, VnetHeader};

/// Room for two VLAN tags inside. Some peers let them come on top of the link's MTU.
const INNER_TAGS: usize = 8;

/// What the thread owns.
pub(super) struct Inbound {
    pub tap: Arc<Tap>,
    pub wire: Arc<PacketSocket>,
    pub reader: Reader,
    pub counts: Counts,
}

impl Inbound {
    /// Works until told to stop.
    pub(super) fn run(mut self) {
        let (mut frames, mut unprotected) = (Vec::new(), Plain::default());
        loop {
            let plain = self.reader.table().plain.clone();
            let sources = [Some(self.wire.as_fd()), plain.as_deref().map(AsFd::as_fd)];
            if let Woken::Stop = self.reader.wait(sources, None) {
                return;
            }
            let mut outcome = self.batch(&mut frames);
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

    fn batch(&mut self, frames: &mut Vec<FrameBuf>) -> Result<(), Stalled> {
        let mut tally = Tally::default();
        fit(frames, frame_max(self.reader.table().parent_mtu) + INNER_TAGS);
        let received = receive(&self.wire, frames, &mut tally)?;
        let frames = frames.get_mut(..received).unwrap_or_default();
        let table = self.reader.table();
        for frame in frames.iter_mut().filter(|frame| !frame.is_empty()) {
            check(table, frame, &mut tally);
        }
        self.counts.settle(&mut tally);
        for frame in frames.iter().filter(|frame| !frame.is_empty()) {
            if self.tap.write(&VnetHeader::WHOLE, frame.octets()).is_err() {
                tally.drops.in_undelivered += 1;
            }
        }
        self.counts.settle(&mut tally);
        Ok(())
    }
}

/// Receives what is there, into one buffer each, and tells how many. A frame that does not fit
/// leaves its buffer empty.
fn receive(
    wire: &PacketSocket,
    frames: &mut [FrameBuf],
    tally: &mut Tally,
) -> Result<usize, Stalled> {
    let mut lengths = [0; BATCH_MAX];
    let mut slices: [IoSliceMut<'_>; BATCH_MAX] = std::array::from_fn(|_| IoSliceMut::new(&mut []));
    for (slice, frame) in slices.iter_mut().zip(&mut *frames) {
        *slice = IoSliceMut::new(frame.room());
    }
    let received = match wire.recv_batch(&mut slices, &mut lengths) {
        Ok(received) => received,
        Err(error) if is_for_now(&error) => return Ok(0),
        Err(_) => return Err(Stalled),
    };
    for (frame, length) in frames.iter_mut().zip(lengths).take(received) {
        if frame.set_len(length).is_err() {
            tally.drops.in_too_long += 1;
        }
    }
    Ok(received)
}

/// Leaves of a frame what the table lets through, or empties the buffer.
pub(super) fn check(table: &Table, frame: &mut FrameBuf, tally: &mut Tally) {
    if table.open {
        // Where that fails, it has been counted, and the buffer is empty.
        let _ = validate(&table.receive, &table.settings, frame, &mut tally.counters);
    } else {
        frame.clear();
        tally.drops.in_port_closed += 1;
    }
}
