//! Traffic between secure interfaces, every frame of which is counted.

use std::collections::HashSet;
use std::io::ErrorKind;
use std::ops::AddAssign;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};
use macsecd::sys::PacketSocket;

use crate::place::{Mac, Machine, SECURE};

/// Frames sent, and those of them that did not arrive.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) struct Count {
    pub(crate) sent: u64,
    pub(crate) lost: u64,
}

impl AddAssign for Count {
    fn add_assign(&mut self, other: Self) {
        self.sent += other.sent;
        self.lost += other.lost;
    }
}

/// A frame on its way: from which machine, to which, and its number.
type Waybill = (u8, u8, u64);

/// The secure interfaces of all machines, for frames from each to each, or between some.
pub(crate) struct Traffic {
    ends: Vec<End>,
    /// From which to which.
    pairs: Vec<(u8, u8)>,
    next: u64,
    under_way: HashSet<Waybill>,
}

struct End {
    mac: Mac,
    sender: PacketSocket,
    receiver: PacketSocket,
}

/// Traffic that goes on in a thread of its own.
pub(crate) struct Running {
    done: Arc<AtomicBool>,
    thread: JoinHandle<Result<Count>>,
}

/// For experiments within an organisation (IEEE 802 clause 9.2).
const ETHERTYPE: [u8; 2] = [0x88, 0xb5];
/// Between one frame from each to each and the next.
const PACE: Duration = Duration::from_millis(5);
/// No frame is on its way for longer, however busy the machine.
const LATE: Duration = Duration::from_secs(2);
/// How long a station may take to make its secure interface.
const APPEARS: Duration = Duration::from_secs(10);

impl Traffic {
    /// Opens the secure interface of each machine, and waits for it where there is none yet.
    pub(crate) fn open(machines: &[Machine]) -> Result<Self> {
        Self::between(machines, |_, _| true)
    }

    /// The same, for frames between those of whom this holds, by their places.
    pub(crate) fn between(
        machines: &[Machine],
        counts: impl Fn(usize, usize) -> bool,
    ) -> Result<Self> {
        let ends: Vec<End> = machines.iter().map(End::open).collect::<Result<_>>()?;
        let all = (0..ends.len()).flat_map(|from| (0..ends.len()).map(move |to| (from, to)));
        let pairs = all
            .filter(|&(from, to)| from != to && counts(from, to))
            .map(|(from, to)| Ok((u8::try_from(from)?, u8::try_from(to)?)))
            .collect::<Result<_>>()?;
        Ok(Self { ends, pairs, next: 0, under_way: HashSet::new() })
    }

    /// Sends until a frame has come through from each to each, and tells when the last did.
    ///
    /// # Errors
    ///
    /// Where not all have by `deadline`.
    pub(crate) fn until_through(&mut self, deadline: Instant) -> Result<Instant> {
        let mut missing: HashSet<(u8, u8)> = self.pairs.iter().copied().collect();
        loop {
            for &(from, to) in &missing {
                // There may be no carrier yet. That is what is waited for.
                let _ = self.send(from, to);
            }
            for (from, to, _) in self.receive()? {
                missing.remove(&(from, to));
            }
            let now = Instant::now();
            if missing.is_empty() {
                self.under_way.clear();
                return Ok(now);
            }
            if now > deadline {
                bail!("no frame has come through from and to {missing:?}");
            }
            thread::sleep(Duration::from_millis(2));
        }
    }

    /// Sends for a while, and tells how many frames came through.
    pub(crate) fn trickle(&mut self, time: Duration) -> Result<usize> {
        let (end, mut arrived) = (Instant::now() + time, 0);
        while Instant::now() < end {
            for (from, to) in self.pairs.clone() {
                let _ = self.send(from, to);
            }
            thread::sleep(PACE);
            arrived += self.receive()?.len();
        }
        Ok(arrived)
    }

    /// Sends that many frames from each to each.
    pub(crate) fn exchange(&mut self, rounds: u32) -> Result<Count> {
        let mut left = rounds;
        self.exchange_while(|| {
            left = left.saturating_sub(1);
            left > 0
        })
    }

    /// Sends frames from each to each, until it is stopped.
    pub(crate) fn keep_going(mut self) -> Running {
        let done = Arc::<AtomicBool>::default();
        let thread = thread::spawn({
            let done = Arc::clone(&done);
            move || self.exchange_while(|| !done.load(Ordering::Relaxed))
        });
        Running { done, thread }
    }

    fn exchange_while(&mut self, mut more: impl FnMut() -> bool) -> Result<Count> {
        self.receive()?;
        self.under_way.clear();
        let (mut sent, first) = (0, self.next);
        loop {
            for (from, to) in self.pairs.clone() {
                // What the interface refuses is lost like any other.
                let _ = self.send(from, to);
                sent += 1;
            }
            self.receive()?;
            if !more() {
                break;
            }
            thread::sleep(PACE);
        }
        let mut news = Instant::now();
        while !self.under_way.is_empty() && news.elapsed() < LATE {
            if self.receive()?.is_empty() {
                thread::sleep(Duration::from_millis(1));
            } else {
                news = Instant::now();
            }
        }
        let lost: Vec<Waybill> = self.under_way.drain().collect();
        if !lost.is_empty() {
            eprintln!("lost, by sender, receiver and number: {lost:?}, of {first}..{}", self.next);
        }
        Ok(Count { sent, lost: u64::try_from(lost.len())? })
    }

    fn send(&mut self, from: u8, to: u8) -> Result<()> {
        /// From the least frame to one that fills the MTU of a secure interface.
        const LENGTHS: u64 = 1400;
        let (source, destination) = (&self.ends[usize::from(from)], &self.ends[usize::from(to)]);
        let number = self.next;
        let mut frame = [&destination.mac[..], &source.mac, &ETHERTYPE, &[from, to]].concat();
        frame.extend(number.to_be_bytes());
        frame.resize(60 + usize::try_from(number * 97 % LENGTHS)?, 0x5a);
        self.next += 1;
        self.under_way.insert((from, to, number));
        Ok(source.sender.send(&frame)?)
    }

    /// Takes in what has come.
    fn receive(&mut self) -> Result<Vec<Waybill>> {
        let mut arrived = Vec::new();
        for (own, end) in self.ends.iter().enumerate() {
            while let Some(waybill) = end.receive()? {
                // An interface also shows what leaves by it.
                if usize::from(waybill.1) == own && self.under_way.remove(&waybill) {
                    arrived.push(waybill);
                }
            }
        }
        Ok(arrived)
    }
}

impl End {
    fn open(machine: &Machine) -> Result<Self> {
        let deadline = Instant::now() + APPEARS;
        let index = loop {
            match machine.namespace.index(SECURE) {
                Ok(index) => break index,
                Err(error) if Instant::now() > deadline => return Err(error),
                Err(_) => thread::sleep(Duration::from_millis(5)),
            }
        };
        let open = || Ok((PacketSocket::sender(index)?, PacketSocket::observer(index)?));
        let (sender, receiver) = machine.namespace.run(open).context("opening macsec0")?;
        Ok(Self { mac: machine.mac, sender, receiver })
    }

    /// The next frame of ours, whichever way it goes.
    fn receive(&self) -> Result<Option<Waybill>> {
        let mut header = [0; 24];
        loop {
            match self.receiver.recv(&mut header) {
                Ok(24..) if header[12..14] == ETHERTYPE => {
                    let [_, _, _, _, _, _, _, _, _, _, _, _, _, _, from, to, number @ ..] = header;
                    return Ok(Some((from, to, u64::from_be_bytes(number))));
                }
                // Not of ours; or the interface has gone down, and may come up again.
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::NetworkDown => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(None),
                Err(error) => return Err(error).context("receiving on macsec0"),
            }
        }
    }
}

impl Running {
    /// Stops it, and waits for what is on its way.
    pub(crate) fn stop(self) -> Result<Count> {
        self.done.store(true, Ordering::Relaxed);
        self.thread.join().map_err(|_| anyhow!("the traffic panicked"))?
    }
}
