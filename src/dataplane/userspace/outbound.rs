//! The outbound thread: from the secure interface to the wire.

use std::io::{self, IoSlice};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::counts::{Counts, Tally};
use super::offload::Pieces;
use super::publish::{Reader, Woken};
use super::table::Table;
use super::{BACKOFF, JOINED_MAX, Stalled, fit, frame_max, is_for_now};
use crate::secy::{FrameBuf, TagStyle, protect_batch, transmit};
use crate::sys::{BATCH_MAX, PacketSocket, Tap};

/// How often a busy interface is asked again, [`BUSY_WAIT`] apart, before frames are dropped.
const BUSY_TRIES: u32 = 10;
/// Some hundred full-size frames at 1 Gb/s.
const BUSY_WAIT: Duration = Duration::from_millis(1);

/// What the thread owns.
pub(super) struct Outbound {
    pub tap: Arc<Tap>,
    pub wire: PacketSocket,
    pub reader: Reader,
    pub counts: Counts,
}

/// Why the interface did not take a frame.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Refusal {
    /// Its queue is full.
    Busy,
    /// It is down or gone.
    Link,
    /// It is the frame's fault.
    Frame,
}

impl Refusal {
    fn of(error: &io::Error) -> Self {
        match error.raw_os_error().map(Errno::from_raw) {
            Some(Errno::EAGAIN | Errno::ENOBUFS | Errno::ENOMEM | Errno::EINTR) => Self::Busy,
            Some(Errno::ENETDOWN | Errno::ENXIO | Errno::ENODEV) => Self::Link,
            _ => Self::Frame,
        }
    }
}

/// A frame from the tap, and what is left of it to be sent.
struct Source {
    octets: Vec<u8>,
    len: usize,
    pieces: Pieces,
}

impl Outbound {
    /// Works until told to stop.
    pub(super) fn run(mut self) {
        let mut frames = Vec::new();
        let mut source = Source::default();
        loop {
            // What is left of a frame goes first. There is an end to it without looking up.
            if source.pieces.is_done()
                && let Woken::Stop = self.reader.wait([Some(self.tap.as_fd()), None], None)
            {
                return;
            }
            if let Err(Stalled) = self.batch(&mut source, &mut frames)
                && let Woken::Stop = self.reader.wait([None, None], Some(BACKOFF))
            {
                return;
            }
        }
    }

    fn batch(&mut self, source: &mut Source, frames: &mut Vec<FrameBuf>) -> Result<(), Stalled> {
        let mut tally = Tally::default();
        fit(frames, frame_max(self.reader.table().parent_mtu));
        let (taken, outcome) = source.fill(&self.tap, frames, &mut tally);
        let frames = frames.get_mut(..taken).unwrap_or_default();
        make_ready(self.reader.table(), frames, &mut tally);
        self.counts.settle(&mut tally);
        let sent = send(&self.wire, frames, &mut tally);
        self.counts.settle(&mut tally);
        sent.and(outcome)
    }
}

impl Default for Source {
    fn default() -> Self {
        Self { octets: vec![0; JOINED_MAX], len: 0, pieces: Pieces::NONE }
    }
}

impl Source {
    /// Takes what is there, cut into frames for the wire, one into each buffer, and tells how many
    /// buffers were used. A frame that is not to be sent leaves its buffer empty.
    ///
    /// It never waits for more, so a lone frame goes on at once.
    fn fill(
        &mut self,
        tap: &Tap,
        frames: &mut [FrameBuf],
        tally: &mut Tally,
    ) -> (usize, Result<(), Stalled>) {
        let mut taken = 0;
        // One look for a frame that is whole and one for what is in it; frames that fill no buffer
        // must not keep us from looking up.
        for _ in 0..2 * frames.len() {
            let Some(frame) = frames.get_mut(taken) else { break };
            let octets = self.octets.get(..self.len).unwrap_or_default();
            match self.pieces.next(octets, frame) {
                Some(Ok(())) => taken += 1,
                Some(Err(_)) => tally.counters.out_pkts_too_long += 1,
                None => match self.read(tap, tally) {
                    Ok(()) => {}
                    Err(error) if is_for_now(&error) => break,
                    Err(_) => return (taken, Err(Stalled)),
                },
            }
        }
        (taken, Ok(()))
    }

    /// Reads the next frame. One that is of no use is counted, and nothing is there then.
    fn read(&mut self, tap: &Tap, tally: &mut Tally) -> io::Result<()> {
        self.pieces = Pieces::NONE;
        let (header, len) = tap.read(&mut self.octets)?;
        self.len = len;
        let frame = self.octets.get(..len).unwrap_or_default();
        match Pieces::of(&header, frame) {
            // It may have been cut. Nothing that the system sends is so long.
            Ok(_) if len >= JOINED_MAX => tally.drops.out_malformed += 1,
            Ok(pieces) => self.pieces = pieces,
            Err(_) => tally.drops.out_malformed += 1,
        }
        Ok(())
    }
}

/// Protects each frame as the table says, or empties its buffer.
fn make_ready(table: &Table, frames: &mut [FrameBuf], tally: &mut Tally) {
    let count = frames.iter().filter(|frame| !frame.is_empty()).count() as u64;
    let mut frames = frames.iter_mut().filter(|frame| !frame.is_empty());
    if !table.open {
        frames.for_each(FrameBuf::clear);
        tally.drops.out_port_closed += count;
        return;
    }
    let (settings, channels) = (&table.settings, table.receive.channel_count());
    let style = TagStyle::choose(settings, channels);
    let sa = table.transmit.as_deref();
    if let Some(run) = sa.filter(|_| settings.protect).and_then(|sa| sa.reserve(count)) {
        protect_batch(run, style, &mut frames, &mut tally.counters);
    }
    for frame in frames {
        // Where that fails, it has been counted, and the buffer is empty.
        let _ = transmit(settings, sa, channels, frame, &mut tally.counters);
    }
}

/// Sends what is in the buffers, in order.
fn send(wire: &PacketSocket, frames: &[FrameBuf], tally: &mut Tally) -> Result<(), Stalled> {
    let mut slices = [IoSlice::new(&[]); BATCH_MAX];
    let mut count = 0;
    for (slice, frame) in slices.iter_mut().zip(frames.iter().filter(|frame| !frame.is_empty())) {
        *slice = IoSlice::new(frame.octets());
        count += 1;
    }
    let mut rest = slices.get(..count).unwrap_or_default();
    let mut tries = 0;
    while !rest.is_empty() {
        let error = match wire.send_batch(rest) {
            Ok(sent) => {
                rest = rest.get(sent..).unwrap_or_default();
                continue;
            }
            Err(error) => error,
        };
        match Refusal::of(&error) {
            Refusal::Busy if tries < BUSY_TRIES => {
                tries += 1;
                wait_until_free(wire, &error);
            }
            Refusal::Busy => {
                tally.drops.out_congested += rest.len() as u64;
                return Ok(());
            }
            Refusal::Link => {
                tally.drops.out_refused += rest.len() as u64;
                return Err(Stalled);
            }
            Refusal::Frame => {
                tally.drops.out_refused += 1;
                rest = rest.get(1..).unwrap_or_default();
            }
        }
    }
    Ok(())
}

/// Waits for room in the socket's buffer, or in a queue further down that cannot be waited for.
fn wait_until_free(wire: &PacketSocket, error: &io::Error) {
    if error.kind() != io::ErrorKind::WouldBlock {
        return thread::sleep(BUSY_WAIT);
    }
    let time = PollTimeout::try_from(BUSY_WAIT).unwrap_or(PollTimeout::ZERO);
    let _ = poll(&mut [PollFd::new(wire.as_fd(), PollFlags::POLLOUT)], time);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_busy_interface_is_told_from_a_dead_one_and_from_a_bad_frame() {
        let refusal = |errno: Errno| Refusal::of(&errno.into());
        assert_eq!(refusal(Errno::EAGAIN), Refusal::Busy);
        assert_eq!(refusal(Errno::ENOBUFS), Refusal::Busy);
        assert_eq!(refusal(Errno::ENETDOWN), Refusal::Link);
        assert_eq!(refusal(Errno::ENXIO), Refusal::Link);
        assert_eq!(refusal(Errno::EMSGSIZE), Refusal::Frame);
    }
}
