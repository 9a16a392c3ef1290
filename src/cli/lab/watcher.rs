//! What crosses a cable, by EtherType.

use std::collections::BTreeMap;
use std::time::Instant;
use std::{fmt, io};

use anyhow::{Context, Result};

use super::ledger::Ledger;
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
    ledger: Option<Ledger>,
}

/// As much of a frame as the ledger reads.
const HEAD: usize = 64;

impl Watcher {
    /// Starts to watch. Before the cable is up, so that nothing is missed.
    pub(super) fn new(namespace: &Namespace, interface: &str) -> Result<Self> {
        let index = namespace.index(interface)?;
        let socket = namespace
            .run(|| PacketSocket::observer(index).context("opening a socket to watch the cable"))?;
        Ok(Self { socket, tally: Tally::default(), ledger: None })
    }

    /// The same, with every number entered in a ledger.
    pub(super) fn with_ledger(self) -> Self {
        Self { ledger: Some(Ledger::default()), ..self }
    }

    /// Counts what has crossed the cable since the last time.
    pub(super) fn count(&mut self) -> Result<()> {
        let mut head = [0; HEAD];
        loop {
            match self.socket.recv(&mut head) {
                Ok(length) => {
                    let [_, _, _, _, _, _, _, _, _, _, _, _, high, low, ..] = head;
                    let kind = u16::from_be_bytes([high, low]);
                    *self.tally.frames.entry(kind).or_default() += 1;
                    if let Some(ledger) = &mut self.ledger {
                        ledger.enter(head.get(..length).unwrap_or(&head), Instant::now());
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                // The interface goes down and up again; the socket stays.
                Err(error) if error.kind() == io::ErrorKind::NetworkDown => {}
                Err(error) => return Err(error).context("watching the cable"),
            }
        }
    }

    /// Counts the last frames and tells what was seen.
    pub(super) fn finish(self) -> Result<Tally> {
        Ok(self.finish_with_ledger()?.0)
    }

    /// The same, with the ledger, which is empty where none was kept.
    pub(super) fn finish_with_ledger(mut self) -> Result<(Tally, Ledger)> {
        self.count()?;
        self.tally.missed = self.socket.statistics()?.dropped;
        Ok((self.tally, self.ledger.unwrap_or_default()))
    }
}
