//! What crosses a machine's interface, in both directions.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::mem;
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Instant;

use anyhow::{Context, Result, anyhow, bail};
use macsecd::cli::lab::Ledger;
use macsecd::sys::PacketSocket;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::place::{CABLE, Mac, Machine};

/// Frames, and when and from whom each key-exchange frame came.
#[derive(Clone, Debug, Default)]
pub(crate) struct Seen {
    by_type: BTreeMap<u16, u64>,
    missed: u64,
    words: Vec<(Instant, Mac)>,
}

/// What was seen, and the numbers in it.
#[derive(Debug, Default)]
struct Notes {
    seen: Seen,
    ledger: Ledger,
}

/// Listens in a thread of its own until it is dropped.
pub(crate) struct Watcher {
    notes: Arc<Mutex<Notes>>,
    done: Arc<AtomicBool>,
    thread: Option<JoinHandle<Result<()>>>,
}

const EAPOL: u16 = 0x888e;
const MACSEC: u16 = 0x88e5;
/// As much of a frame as is looked at.
const HEAD: usize = 64;

/// How long the thread may sleep over the end.
const NAP_MS: u8 = 50;

impl Watcher {
    /// Starts to listen, best before the interface is up.
    pub(crate) fn new(machine: &Machine) -> Result<Self> {
        let index = machine.namespace.index(CABLE)?;
        let socket = machine.namespace.run(|| Ok(PacketSocket::observer(index)?))?;
        let (notes, done) = (Arc::<Mutex<Notes>>::default(), Arc::<AtomicBool>::default());
        let thread = thread::spawn({
            let (notes, done) = (Arc::clone(&notes), Arc::clone(&done));
            move || listen(&socket, &notes, &done)
        });
        Ok(Self { notes, done, thread: Some(thread) })
    }

    /// What was seen so far.
    pub(crate) fn seen(&self) -> Seen {
        self.notes.lock().unwrap_or_else(PoisonError::into_inner).seen.clone()
    }

    /// Hands out the numbers that were seen so far.
    pub(crate) fn ledger(&self) -> Ledger {
        mem::take(&mut self.notes.lock().unwrap_or_else(PoisonError::into_inner).ledger)
    }

    /// Ends.
    ///
    /// # Errors
    ///
    /// Where it could not listen.
    pub(crate) fn finish(mut self) -> Result<Seen> {
        self.done.store(true, Ordering::Relaxed);
        let thread = self.thread.take().context("it runs until now")?;
        thread.join().map_err(|_| anyhow!("the watcher panicked"))??;
        Ok(self.seen())
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        self.done.store(true, Ordering::Relaxed);
    }
}

impl Seen {
    /// When a machine first spoke.
    pub(crate) fn first_word(&self, of: Mac) -> Option<Instant> {
        self.words.iter().find(|(_, source)| *source == of).map(|(at, _)| *at)
    }

    /// When a machine first spoke after it had heard another, which had heard it.
    pub(crate) fn first_answer(&self, of: Mac) -> Option<Instant> {
        let mut rest = self.words.iter().skip_while(|(_, source)| *source != of);
        rest.by_ref().find(|(_, source)| *source != of)?;
        rest.find(|(_, source)| *source == of).map(|(at, _)| *at)
    }

    /// Checks that nothing went in clear.
    ///
    /// # Errors
    ///
    /// Where anything did, or may have, unseen.
    pub(crate) fn is_closed(&self) -> Result<()> {
        for (kind, count) in &self.by_type {
            if ![EAPOL, MACSEC].contains(kind) {
                bail!("{count} frames of the EtherType 0x{kind:04X} crossed the cable");
            }
        }
        if self.missed > 0 {
            bail!("{} frames crossed the cable unseen", self.missed);
        }
        Ok(())
    }
}

fn listen(socket: &PacketSocket, notes: &Mutex<Notes>, done: &AtomicBool) -> Result<()> {
    let mut head = [0; HEAD];
    // What has come is taken in before the end.
    loop {
        let ending = done.load(Ordering::Relaxed);
        match socket.recv(&mut head) {
            Ok(length) => {
                let [_, _, _, _, _, _, a, b, c, d, e, f, high, low, ..] = head;
                let (kind, at) = (u16::from_be_bytes([high, low]), Instant::now());
                let mut notes = notes.lock().unwrap_or_else(PoisonError::into_inner);
                notes.ledger.enter(&head[..length.min(HEAD)], at);
                *notes.seen.by_type.entry(kind).or_default() += 1;
                if kind == EAPOL {
                    notes.seen.words.push((at, [a, b, c, d, e, f]));
                }
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                if ending {
                    let mut notes = notes.lock().unwrap_or_else(PoisonError::into_inner);
                    notes.seen.missed = socket.statistics()?.dropped;
                    return Ok(());
                }
                let wanted = PollFd::new(socket.as_fd(), PollFlags::POLLIN);
                poll(&mut [wanted], PollTimeout::from(NAP_MS))?;
            }
            // The interface goes down and up again; the socket stays.
            Err(error) if error.kind() == ErrorKind::NetworkDown => {}
            Err(error) => return Err(error).context("watching a cable"),
        }
    }
}
