//! Everything that stands on one interface, from the moment it is there until it goes.

use std::io::{self, IoSliceMut};
use std::mem;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::sleep;
use tracing::{debug, info, warn};

use super::alarm::now;
use super::opening::Parts;
use super::plane::{Done, Job, Plane, Report};
use super::store::Store;
use super::{LinkInfo, PortSetup, Running};
use crate::crypto::NoEntropy;
use crate::dataplane::{End, Snapshot};
use crate::ident::{AssociationNumber, CipherSuite, Ckn, KeyId, MemberId, Sci};
use crate::keyring::KeyRing;
use crate::mka::{Discards, KeyServer, PortState, RekeyRefused, Status};
use crate::port::{Driver, Link, PortInput, PortOutput};
use crate::secy::SecyError;
use crate::sys::{LinkState, PacketSocket, Readiness};
use crate::time::Time;

/// Frames taken in with one call.
const BATCH: usize = 32;
/// Such calls before anything else gets its turn. The kernel's buffer must not fill up while others
/// have theirs: what it has no room for may be a peer's hello.
const BATCHES: usize = 8;
/// The room for one frame. An MKPDU has at most 1514 octets; of a longer frame the driver sees the
/// beginning, and refuses it.
const FRAME_MAX: usize = 2048;
/// What one input may lead to before the rest has to wait for the next turn. The longest answer of
/// the key agreement is some ten outputs for each of 64 peers.
const OUTPUTS_MAX: usize = 1024;
/// How often the data plane is looked at: what has changed in it by itself, or by somebody else's
/// hand, is to be known within a second.
const ROUND: Duration = Duration::from_millis(500);
/// For how long the others are asked to bear with us at a planned restart: five times MKA Life Time.
/// A start on a machine that is busy has room in it, and the service manager's next tries. A daemon
/// that is away for longer waits for a person; until then the silence has to tell the others that
/// nobody is there, for they make no key and let nobody join meanwhile.
const AWAY: Duration = Duration::from_secs(30);
/// How long we wait for them to agree before we leave. They answer news at once.
const LEAVING: Duration = Duration::from_millis(100);
/// How often what was refused is logged.
const LOG: Duration = Duration::from_secs(1);

/// Driver, socket and data plane of a port, on one interface.
pub(super) struct Session {
    interface: String,
    link: LinkInfo,
    sci: Sci,
    driver: Driver,
    socket: PacketSocket,
    readiness: Readiness,
    plane: Plane,
    store: Store,
    /// Why it is of the kind that it is.
    reason: String,
    buffers: Vec<[u8; FRAME_MAX]>,
    round_at: Time,
    log_at: Time,
    /// The parent's MTU that the data plane has still to follow.
    mtu_due: Option<u32>,
    /// There are outputs left for the next turn.
    backlog: bool,
    /// What has broken for good.
    fault: Option<&'static str>,
    /// What is already in the log.
    logged: Discards,
    /// How long there may be no daemon at a planned restart, where the others agree.
    away: Duration,
    /// Frames of ours that the interface did not take since the last round, and why the last one.
    unsent: (u64, Option<io::Error>),
}

/// What a session waits for, its own time aside.
#[derive(Debug)]
pub(super) enum Arrival {
    /// The data plane says how something went; `None` where it has broken.
    Report(Option<Report>),
    Frames,
}

/// What watchers are woken for.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(super) struct Highlights {
    carrier: bool,
    state: Option<PortState>,
    key_server: Option<KeyServer>,
    sak: Option<(KeyId, AssociationNumber, CipherSuite)>,
    participants: Vec<(Ckn, bool, PortState)>,
    peers: Vec<(MemberId, bool)>,
}

impl Session {
    /// Makes a session. The error is for an operator to read; nothing is left behind then.
    pub(super) fn new(setup: &PortSetup, link: LinkInfo, parts: Parts) -> Result<Self, String> {
        let Parts { socket, dataplane, reason, mut driver, keys, store } = parts;
        let readiness = Readiness::of(&socket).map_err(|error| error.to_string())?;
        if !Arc::ptr_eq(&keys, &setup.keys) {
            // They were changed meanwhile.
            driver.set_keys(now(), &setup.keys).map_err(|error| error.to_string())?;
        }
        let sci = driver.sci();
        Ok(Self {
            interface: setup.interface.clone(),
            // The first `follow` brings the carrier, or its loss.
            link: LinkInfo { carrier: false, ..link },
            sci,
            driver,
            socket,
            readiness,
            plane: Plane::new(dataplane),
            store,
            reason,
            buffers: vec![[0; FRAME_MAX]; BATCH],
            round_at: now().after(ROUND),
            log_at: now().after(LOG),
            mtu_due: None,
            // One that goes on has its hello ready, and nothing else may happen for a while.
            backlog: true,
            fault: None,
            logged: Discards::default(),
            away: AWAY.max(setup.policy.manners.life),
            unsent: (0, None),
        })
    }

    /// Our secure channel.
    pub(super) const fn sci(&self) -> Sci {
        self.sci
    }

    /// Tells whether this is the interface that everything stands on.
    pub(super) fn stands_on(&self, link: &LinkInfo) -> bool {
        self.link.index == link.index && self.link.address == link.address
    }

    /// What has broken for good, if anything.
    pub(super) const fn fault(&self) -> Option<&'static str> {
        self.fault
    }

    /// When there is something to do again, frames aside.
    pub(super) fn due(&self) -> Time {
        if self.backlog {
            return Time::ZERO;
        }
        let round = self.round_at.min(self.log_at);
        self.driver.poll_timeout().map_or(round, |at| at.min(round))
    }

    /// Does what is due.
    pub(super) fn tend(&mut self) {
        let time = now();
        if time < self.due() {
            return;
        }
        self.step(PortInput::Timeout);
        if self.round_at <= time {
            self.round_at = time.after(ROUND);
            if let Some(mtu) = self.mtu_due {
                self.plane.ask(Job::Mtu(mtu));
            }
            self.plane.ask_to_look();
        }
        if self.log_at <= time {
            self.log_at = time.after(LOG);
            self.log_refusals();
        }
    }

    /// Follows a change of the interface.
    pub(super) fn follow(&mut self, link: LinkInfo) {
        let before = mem::replace(&mut self.link, link);
        if link.mtu != before.mtu {
            self.mtu_due = Some(link.mtu);
            self.plane.ask(Job::Mtu(link.mtu));
        }
        if link.link() != self.driver.link() {
            self.step(PortInput::Link(link.link()));
        }
    }

    /// Gives the driver an input and carries out what follows.
    fn step(&mut self, input: PortInput<'_>) {
        self.driver.handle(now(), input);
        self.carry_out();
    }

    fn carry_out(&mut self) {
        for _ in 0..OUTPUTS_MAX {
            let Some(output) = self.driver.poll_output() else {
                self.backlog = false;
                return;
            };
            match output {
                PortOutput::Transmit(frame) => self.transmit(&frame),
                PortOutput::Remember(record) => self.store.keep(record.as_deref()),
                PortOutput::Secy { id, command } => self.plane.ask(Job::Command { id, command }),
                PortOutput::PollSecy => self.tell_progress(),
            }
        }
        self.backlog = true;
    }

    /// Tells the driver how far the data plane has come.
    fn tell_progress(&mut self) {
        let Snapshot { counters, tx, rx, .. } = self.plane.snapshot();
        let Some(tx) = tx else { return };
        self.driver.handle(now(), PortInput::TxProgress(tx));
        self.driver.handle(now(), PortInput::RxProgress(&rx));
        self.driver.handle(now(), PortInput::Octets(counters.octets()));
    }

    /// Takes in what the data plane says of something that it was told.
    pub(super) fn reported(&mut self, report: Option<Report>) {
        let Some(Report { done, lost }) = report else {
            self.fault = Some("the data plane has failed");
            return;
        };
        match done {
            Done::Command { id, result } => {
                if let Err(error) = &result {
                    warn!(iface = %self.interface, %error, "the data plane refuses a command");
                }
                self.step(PortInput::Secy { id, result });
            }
            Done::Mtu { mtu, result } => self.mtu_followed(mtu, result.err()),
            Done::Look => self.judge(),
        }
        for ki in lost {
            warn!(iface = %self.interface, key_number = ki.number.0, "the data plane has lost a key");
            self.step(PortInput::SakLost(ki));
        }
    }

    fn mtu_followed(&mut self, mtu: u32, error: Option<SecyError>) {
        match error {
            None => {
                info!(iface = %self.interface, mtu, "the MTU has changed");
                self.mtu_due = self.mtu_due.filter(|due| *due != mtu);
            }
            Some(error) => {
                debug!(iface = %self.interface, mtu, %error, "the MTU has not been followed yet");
            }
        }
    }

    /// Looks whether the data plane is well.
    fn judge(&mut self) {
        let snapshot = self.plane.snapshot();
        if snapshot.alive && self.plane.is_well() {
            return;
        }
        self.fault = Some(match snapshot.secure_interface {
            LinkState::Gone => "the secure interface was deleted",
            LinkState::Running | LinkState::NoCarrier | LinkState::Down => {
                "the data plane has failed"
            }
        });
    }

    /// Sends a frame, or counts it: the protocol repeats what it says.
    fn transmit(&mut self, frame: &[u8]) {
        if let Err(error) = self.socket.send(frame) {
            self.unsent.0 += 1;
            self.unsent.1 = Some(error);
        }
    }

    /// Waits until the data plane has done something or frames have arrived. Dropping this future
    /// loses nothing.
    pub(super) async fn arrival(&mut self) -> Arrival {
        let Self { plane, readiness, .. } = self;
        tokio::select! {
            biased;
            report = plane.done() => Arrival::Report(report),
            // What is wrong with the socket shows when it is read.
            _ = readiness.readable() => Arrival::Frames,
        }
    }

    /// Takes in the frames that are there, up to [`BATCHES`] times [`BATCH`].
    pub(super) async fn receive(&mut self) -> io::Result<()> {
        let mut buffers = mem::take(&mut self.buffers);
        let mut result = Ok(());
        for _ in 0..BATCHES {
            match self.receive_batch(&mut buffers).await {
                Ok(count) if count == buffers.len() => {}
                Ok(_) => break,
                Err(error) => {
                    result = Err(error);
                    break;
                }
            }
        }
        self.buffers = buffers;
        result
    }

    async fn receive_batch(&mut self, buffers: &mut [[u8; FRAME_MAX]]) -> io::Result<usize> {
        let lengths = read(&self.socket, &self.readiness, buffers).await?;
        for (buffer, &length) in buffers.iter().zip(&lengths) {
            let frame = buffer.get(..length).unwrap_or(buffer);
            self.step(PortInput::Frame(frame));
        }
        Ok(lengths.len())
    }

    /// Asks for a fresh SAK.
    pub(super) fn rekey(&mut self) -> Result<(), RekeyRefused> {
        let result = self.driver.rekey(now());
        self.carry_out();
        result
    }

    /// Replaces the keys.
    pub(super) fn set_keys(&mut self, keys: &Arc<KeyRing>) -> Result<(), NoEntropy> {
        let result = self.driver.set_keys(now(), keys);
        self.carry_out();
        result
    }

    /// Has the data plane look, as what it shows is of its last look.
    pub(super) fn look(&mut self) {
        self.plane.ask_to_look();
    }

    /// Shows everything.
    pub(super) fn view(&self) -> Running {
        Running {
            link: self.driver.link(),
            status: self.driver.status(now()),
            kind: self.plane.kind(),
            reason: self.reason.clone(),
            dataplane: self.plane.snapshot(),
        }
    }

    /// Shows what watchers are woken for.
    pub(super) fn highlights(&self) -> Highlights {
        let Status { state, key_server, participants, sak, .. } = self.driver.status(now());
        let peers = participants.iter().flat_map(|of| &of.peers);
        Highlights {
            carrier: self.driver.link() == Link::Up,
            state: Some(state),
            key_server,
            sak: sak.map(|sak| (sak.ki, sak.an, sak.suite)),
            peers: peers.map(|peer| (peer.mi, peer.live)).collect(),
            participants: participants
                .iter()
                .map(|of| (of.ckn.clone(), of.principal, of.state))
                .collect(),
        }
    }

    /// Asks the others to bear with us until the next daemon is there (802.1X-2020 9.18), and where
    /// they agree has the data plane go on for as long. Whatever comes of it, we leave: the next one
    /// says that it is back as soon as it speaks.
    async fn take_leave(&mut self) {
        let until = now().after(LEAVING);
        if let Err(why) = self.driver.ask_suspension(now(), self.away) {
            debug!(iface = %self.interface, %why, "the peers are not asked to wait");
            return;
        }
        self.carry_out();
        while !self.driver.suspension_is_agreed(now()) {
            if now() >= until {
                debug!(iface = %self.interface, "the peers have not agreed to wait yet");
                return;
            }
            let next = self.due().min(until).since(now());
            let arrival = tokio::select! {
                biased;
                () = sleep(next) => None,
                arrival = self.arrival() => Some(arrival),
            };
            match arrival {
                None => self.tend(),
                Some(Arrival::Report(report)) => self.reported(report),
                Some(Arrival::Frames) if self.receive().await.is_ok() => {}
                Some(Arrival::Frames) => return,
            }
        }
        info!(iface = %self.interface, away = ?self.away, "the peers wait for the next daemon");
        self.plane.go_on_for(self.away);
    }

    /// Takes everything down that is not to be left.
    pub(super) async fn close(mut self, end: End) {
        if end == End::Leave {
            self.take_leave().await;
        }
        self.plane.close(end).await;
        if end != End::Leave {
            self.store.keep(None);
        }
    }

    /// Logs what has been refused since the last time: at most one line each, however much a
    /// stranger sends.
    fn log_refusals(&mut self) {
        let (unsent, error) = mem::take(&mut self.unsent);
        if let Some(error) = error {
            debug!(iface = %self.interface, count = unsent, %error, "key-exchange frames not sent");
        }
        let discards = self.driver.status(now()).discards;
        for ((discard, count), (_, before)) in discards.iter().zip(self.logged.iter()) {
            if count > before {
                let count = count - before;
                debug!(iface = %self.interface, reason = discard.name(), count, "MKPDUs refused");
            }
        }
        self.logged = discards;
    }
}

impl Highlights {
    /// Logs a key that has come into use since.
    pub(super) fn log_since(&self, before: &Self, interface: &str) {
        if self.sak == before.sak {
            return;
        }
        if let Some((ki, an, suite)) = &self.sak {
            let (key_number, an) = (ki.number.0, an.value());
            info!(iface = %interface, key_number, an, %suite, "frames are sent with a new key");
        }
    }
}

/// Reads what is there, one frame into each buffer, and gives their lengths; waits for the first.
async fn read(
    socket: &PacketSocket,
    readiness: &Readiness,
    buffers: &mut [[u8; FRAME_MAX]],
) -> io::Result<Vec<usize>> {
    let mut ready = readiness.readable().await?;
    let mut slices: Vec<_> = buffers.iter_mut().map(|buffer| IoSliceMut::new(buffer)).collect();
    let mut lengths = vec![0; slices.len()];
    let count = match socket.recv_batch(&mut slices, &mut lengths) {
        Ok(count) => count,
        Err(error) => {
            let kind = error.kind();
            // Said once after the interface went down; frames may wait behind it.
            if kind == io::ErrorKind::NetworkDown || kind == io::ErrorKind::Interrupted {
                return Ok(Vec::new());
            }
            if kind != io::ErrorKind::WouldBlock {
                return Err(error);
            }
            0
        }
    };
    if count < slices.len() {
        ready.clear_ready();
    }
    lengths.truncate(count);
    Ok(lengths)
}
