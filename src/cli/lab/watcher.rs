//! What crosses a cable, by EtherType.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::{Context, Result, anyhow};

use super::namespace::Namespace;
use crate::sys::PacketSocket;

/// Frames by EtherType.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(super) struct Tally {
    frames: BTreeMap<u16, u64>,
    /// Frames that the watcher was too slow for.
    pub(super) missed: u64,
}

impl Tally {
    /// Frames that are neither EAPOL nor protected.
    pub(super) fn clear_frames(&self) -> u64 {
        let allowed =
            [crate::wire::ethernet::ETHERTYPE_EAPOL, crate::wire::ethernet::ETHERTYPE_MACSEC];
        self.frames.iter().filter(|(kind, _)| !allowed.contains(kind)).map(|(_, count)| count).sum()
    }

    /// Adds another tally.
    pub(super) fn add(&mut self, other: &Self) {
        for (&kind, &count) in &other.frames {
            *self.frames.entry(kind).or_default() += count;
        }
        self.missed += other.missed;
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (kind, count)) in self.frames.iter().enumerate() {
            let separator = if index > 0 { ", " } else { "" };
            write!(f, "{separator}0x{kind:04X} {count}")?;
        }
        Ok(())
    }
}

/// Watches one end of a cable, both directions, until it is asked.
pub(super) struct Watcher {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Result<Tally>>,
}

impl Watcher {
    /// Starts before the cable is up, so that nothing is missed.
    pub(super) fn start(namespace: &Namespace, interface: &str) -> Result<Self> {
        let index = namespace.index(interface)?;
        let socket = namespace
            .run(|| PacketSocket::observer(index).context("opening a socket to watch the cable"))?;
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = thread::spawn(move || watch(&socket, &stopped));
        Ok(Self { stop, thread })
    }

    /// Stops and tells what was seen.
    pub(super) fn finish(self) -> Result<Tally> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().map_err(|_| anyhow!("the watcher panicked"))?
    }
}

fn watch(socket: &PacketSocket, stop: &AtomicBool) -> Result<Tally> {
    let mut tally = Tally::default();
    let mut frame = vec![0; 1 << 16];
    loop {
        match socket.recv(&mut frame) {
            Ok(length) => {
                if let Some(&[high, low]) = frame.get(..length).and_then(|frame| frame.get(12..14))
                {
                    *tally.frames.entry(u16::from_be_bytes([high, low])).or_default() += 1;
                }
            }
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
                if stop.load(Ordering::Relaxed) {
                    tally.missed = socket.statistics()?.dropped;
                    return Ok(tally);
                }
                thread::sleep(Duration::from_millis(2));
            }
            // The interface goes down and up again; the socket stays.
            Err(error) if error.raw_os_error() == Some(nix::libc::ENETDOWN) => {}
            Err(error) => return Err(error).context("watching the cable"),
        }
    }
}
