//! A data plane in two threads of this process, which is an encryptor's.
//!
//! The traffic to protect enters and leaves through a tap, joined to frames of up to 64 KiB, and
//! protected frames through packet sockets on the parent interface (docs/adr/0013). One thread takes
//! each direction, in batches of what is there, and works by a table that the control side replaces as commands come. Once a command is answered, both
//! threads work by its table and hold no older one; a key that was removed is then wiped.

mod counts;
mod inbound;
mod offload;
mod outbound;
mod plain;
mod publish;
mod table;

use std::io;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use super::{RxProgress, Snapshot};
use crate::ident::Sci;
use crate::secy::{FrameBuf, OVERHEAD_MAX, SecyCommand, SecyError, SecyModel, SecySettings};
use crate::sys::{
    BATCH_MAX, Interfaces, JoinedDatagrams, LinkState, PacketRing, PacketSocket, SysError, Tap,
};
use crate::wire::ethernet::HEADER_LEN;

use counts::{Counts, Tally};
use inbound::Inbound;
use outbound::Outbound;
use publish::Publisher;
use table::Associations;

/// What a userspace data plane is made from.
#[derive(Clone, Debug, serde::Deserialize, serde::Serialize)]
pub struct UserspaceSettings {
    /// The interface that carries protected frames.
    pub parent: String,
    /// Its index.
    pub parent_index: u32,
    /// Its MTU.
    pub parent_mtu: u32,
    /// The secure interface, to be made.
    pub name: String,
    /// Our secure channel; the secure interface gets its MAC address.
    pub sci: Sci,
    /// What holds for all frames.
    pub settings: SecySettings,
}

/// Why a userspace data plane did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The system refused.
    #[error(transparent)]
    System(#[from] SysError),
    /// The SecY refuses its settings, or the parent's MTU leaves no room for traffic.
    #[error(transparent)]
    Settings(#[from] SecyError),
    /// There are too many threads.
    #[error("starting a thread: {0}")]
    Thread(io::Error),
}

/// The least MTU of an Ethernet interface, and so of the secure one (Linux's ETH_MIN_MTU).
const MTU_MIN: u32 = 68;

/// Room for the longest frame that the system gives: it joins those of a flow until they come near
/// 64 KiB, with an Ethernet header and VLAN tags. One that fills it may have been cut.
const JOINED_MAX: usize = (1 << 16) + 64;
/// Room for two VLAN tags inside. Some peers let them come on top of the link's MTU.
const INNER_TAGS: usize = 8;

/// How long a thread keeps still after an interface was found down or gone.
const BACKOFF: Duration = Duration::from_millis(100);

/// An interface does not work for now: trying again at once would only take time from others.
#[derive(Clone, Copy, Debug)]
struct Stalled;

/// Tells whether reading may work the next time.
fn is_for_now(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted)
}

/// Makes buffers for a batch of frames, unless they are there and of the right size.
fn fit(frames: &mut Vec<FrameBuf>, longest: usize) {
    if frames.first().map(FrameBuf::frame_max) != Some(longest) {
        frames.clear();
        frames.resize_with(BATCH_MAX, || FrameBuf::new(longest));
    }
}

/// The longest frame on a link of this MTU, without room for a VLAN tag: none belongs in front of
/// the SecTAG.
const fn frame_max(mtu: u32) -> usize {
    HEADER_LEN + mtu as usize
}

/// The MTU of the secure interface that goes with the parent's.
fn secure_mtu(parent_mtu: u32) -> Result<u32, SecyError> {
    u32::try_from(OVERHEAD_MAX)
        .ok()
        .and_then(|overhead| parent_mtu.checked_sub(overhead))
        .filter(|mtu| *mtu >= MTU_MIN)
        .ok_or(SecyError::Invalid("the parent's MTU must be 100 octets at least"))
}

/// The data plane of one port. Its threads and its secure interface end with this value.
#[derive(Debug)]
pub struct UserspaceDataplane {
    associations: Associations,
    publisher: Publisher,
    tap: Arc<Tap>,
    interfaces: Interfaces,
    parent_index: u32,
    /// The SCI's address, where it is not the parent's.
    further_address: Option<[u8; 6]>,
    /// What was lost for want of room in rings that have been replaced.
    overrun_before: u64,
    secure_index: u32,
    counts: [Counts; 2],
    threads: Vec<JoinHandle<()>>,
}

impl UserspaceDataplane {
    /// Makes the secure interface, up but without a carrier, and starts the threads. The
    /// Controlled Port is closed.
    ///
    /// # Errors
    ///
    /// [`StartError`]; nothing is left behind then.
    pub fn start(settings: UserspaceSettings) -> Result<Self, StartError> {
        let UserspaceSettings { parent, parent_index, parent_mtu, name, sci, settings } = settings;
        let mtu = secure_mtu(parent_mtu)?;
        let mut associations = Associations::new(sci, settings, parent_mtu)?;
        let interfaces = Interfaces::open()?;
        let address = sci.address().0;
        let further_address = (interfaces.address(&parent)? != address).then_some(address);
        let sender = PacketSocket::sender(parent_index)?;
        let tap = Arc::new(Tap::create(&name)?);
        tap.set_address(address)?;
        tap.set_mtu(mtu)?;
        let datagrams = tap.take_joined_frames()?;
        let secure_index = interfaces.index(&name)?;

        associations.set_wire(wire_for(parent_mtu, parent_index, further_address)?);
        supply_plain(&mut associations, parent_index)?;
        let publisher = Publisher::new(associations.table().clone());
        let counts = [Counts::default(), Counts::default()];
        let mut plane = Self {
            associations,
            publisher,
            tap,
            interfaces,
            parent_index,
            further_address,
            overrun_before: 0,
            secure_index,
            counts,
            threads: Vec::new(),
        };
        plane.start_threads(&name, sender, datagrams)?;
        plane.tap.set_up()?;
        Ok(plane)
    }

    fn start_threads(
        &mut self,
        name: &str,
        sender: PacketSocket,
        datagrams: JoinedDatagrams,
    ) -> Result<(), StartError> {
        let [outbound, inbound] = &self.counts;
        let outbound = Outbound {
            tap: Arc::clone(&self.tap),
            wire: sender,
            reader: self.publisher.reader()?,
            counts: outbound.clone(),
        };
        let inbound = Inbound {
            tap: Arc::clone(&self.tap),
            datagrams,
            reader: self.publisher.reader()?,
            counts: inbound.clone(),
        };
        self.threads.push(spawn(format!("{name}-out"), || outbound.run())?);
        self.threads.push(spawn(format!("{name}-in"), || inbound.run())?);
        Ok(())
    }

    /// Carries out a command. Takes microseconds, and where the parent interface is congested some
    /// ten milliseconds. To be called in the network namespace that it was started in.
    ///
    /// # Errors
    ///
    /// [`SecyError::Refused`] where a thread does not answer or the secure interface is gone. Any
    /// other [`SecyError`] names the rule that the command breaks, and nothing changes.
    pub fn apply(&mut self, command: &SecyCommand) -> Result<(), SecyError> {
        let mut associations = self.associations.clone();
        associations.apply(command)?;
        supply_plain(&mut associations, self.parent_index).map_err(refused)?;
        self.publish(associations)?;
        if let SecyCommand::SetControlledPort(open) = command {
            self.tap.set_carrier(*open).map_err(refused)?;
        }
        Ok(())
    }

    /// Follows a change of the parent interface's MTU. To be called in the network namespace that it
    /// was started in: longer frames need another socket.
    ///
    /// # Errors
    ///
    /// [`SecyError::Invalid`] where it leaves no room for traffic, [`SecyError::Refused`] where the
    /// secure interface cannot have the MTU that follows.
    pub fn set_parent_mtu(&mut self, mtu: u32) -> Result<(), SecyError> {
        let secure = secure_mtu(mtu)?;
        let mut associations = self.associations.clone();
        associations.set_parent_mtu(mtu);
        let old = associations.table().wire.clone();
        if old.as_ref().is_none_or(|old| old.frame_max() < frame_max(mtu) + INNER_TAGS) {
            let wire = wire_for(mtu, self.parent_index, self.further_address).map_err(refused)?;
            associations.set_wire(wire);
            self.overrun_before += old.map_or(0, |old| overrun(&old));
        }
        self.publish(associations)?;
        self.tap.set_mtu(secure).map_err(refused)
    }

    /// Returns when both threads work by the table.
    fn publish(&mut self, associations: Associations) -> Result<(), SecyError> {
        self.associations = associations;
        self.publisher.publish(self.associations.table().clone()).map_err(refused)
    }

    /// Tells what has been counted and how far packet numbers have come.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        let mut tally = Tally::default();
        for counts in &self.counts {
            tally.add(&counts.read());
        }
        let Tally { mut counters, drops } = tally;
        let table = self.associations.table();
        counters.in_pkts_overrun += self.overrun_before + table.wire.as_deref().map_or(0, overrun);
        let rx = table.receive.sas().map(|sa| RxProgress {
            ki: sa.ki(),
            sci: sa.sci(),
            next_pn: sa.replay().next_pn(),
            lowest_pn: sa.replay().lowest_pn(),
        });
        let secure_interface = self.secure_interface();
        Snapshot {
            counters,
            drops,
            tx: table.transmit.as_ref().map(|sa| sa.progress()),
            rx: rx.collect(),
            parent: self.interfaces.state(self.parent_index),
            secure_interface,
            alive: self.publisher.all_alive() && secure_interface != LinkState::Gone,
            kernel: None,
        }
    }

    /// What it is meant to be: every command so far, and the rules that they obey.
    #[must_use]
    pub const fn model(&self) -> &SecyModel {
        self.associations.model()
    }

    /// The state of the tap: by itself, as an index can come to name another interface.
    fn secure_interface(&self) -> LinkState {
        if self.tap.name().is_err() {
            return LinkState::Gone;
        }
        self.interfaces.state(self.secure_index)
    }
}

impl Drop for UserspaceDataplane {
    fn drop(&mut self) {
        self.publisher.stop();
        for thread in self.threads.drain(..) {
            // A thread that died has said why, and there is nobody left to tell.
            let _ = thread.join();
        }
    }
}

fn spawn(name: String, work: impl FnOnce() + Send + 'static) -> Result<JoinHandle<()>, StartError> {
    thread::Builder::new().name(name).spawn(work).map_err(StartError::Thread)
}

/// Opens the socket for protected frames on a link of this MTU.
fn wire_for(
    mtu: u32,
    parent_index: u32,
    further_address: Option<[u8; 6]>,
) -> Result<Arc<PacketRing>, SysError> {
    PacketRing::macsec(parent_index, further_address, frame_max(mtu) + INNER_TAGS).map(Arc::new)
}

/// What was lost because the ring was full.
fn overrun(wire: &PacketRing) -> u64 {
    wire.statistics().unwrap_or_default().dropped
}

/// Opens or closes the way around protection, as the settings say.
fn supply_plain(associations: &mut Associations, parent_index: u32) -> Result<(), SysError> {
    let socket = match (associations.wants_plain(), &associations.table().plain) {
        (true, None) => Some(Arc::new(PacketSocket::plain(parent_index)?)),
        (true, Some(socket)) => Some(Arc::clone(socket)),
        (false, _) => None,
    };
    associations.set_plain(socket);
    Ok(())
}

fn refused(error: impl std::fmt::Display) -> SecyError {
    SecyError::Refused(error.to_string())
}
