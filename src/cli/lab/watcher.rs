//! What crosses a cable, by EtherType.

use std::collections::BTreeMap;
use std::{fmt, io};

use anyhow::{Context, Result};

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

/// Watches one end of a cable, both directions.
///
/// It has no thread, which on a busy machine could fall behind. Whoever sends over the cable has it
/// count between one frame and the next, and so never gets further ahead than its own window.
pub(super) struct Watcher {
    socket: PacketSocket,
    tally: Tally,
}

impl Watcher {
    /// Starts to watch. Before the cable is up, so that nothing is missed.
    pub(super) fn new(namespace: &Namespace, interface: &str) -> Result<Self> {
        let index = namespace.index(interface)?;
        let socket = namespace
            .run(|| PacketSocket::observer(index).context("opening a socket to watch the cable"))?;
        Ok(Self { socket, tally: Tally::default() })
    }

    /// Counts what has crossed the cable since the last time.
    pub(super) fn count(&mut self) -> Result<()> {
        let mut header = [0; 14];
        loop {
            match self.socket.recv(&mut header) {
                Ok(_) => {
                    let [.., high, low] = header;
                    let kind = u16::from_be_bytes([high, low]);
                    *self.tally.frames.entry(kind).or_default() += 1;
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                // The interface goes down and up again; the socket stays.
                Err(error) if error.kind() == io::ErrorKind::NetworkDown => {}
                Err(error) => return Err(error).context("watching the cable"),
            }
        }
    }

    /// Counts the last frames and tells what was seen.
    pub(super) fn finish(mut self) -> Result<Tally> {
        self.count()?;
        self.tally.missed = self.socket.statistics()?.dropped;
        Ok(self.tally)
    }
}
