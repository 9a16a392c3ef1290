//! A daemon that writes down what it is about to do, can be killed at any request, and through whose
//! interface frames pass between any two requests.

#![allow(clippy::wildcard_enum_match_arm, reason = "of the commands each place knows a few")]

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use macsecd::dataplane::kernel::{KernelDataplane, KernelSettings, KernelStartError, Netlink};
use macsecd::ident::{AssociationNumber, CipherSuite, MacAddress, PacketNumber, Sci, Ssci};
use macsecd::secy::{InstallSak, InstalledSak, RxMember, SecyCommand, TransmitState};

use crate::fake_kernel::FakeKernel;
use crate::rig::{OWN, PEER, SECURE, THIRD, key, ki, machine, settings};

/// What is known of a process, and of the traffic while it lives.
#[derive(Debug, Default)]
struct Life {
    asked: u64,
    /// The request that it does not come to.
    killed_at: Option<u64>,
    dead: bool,
    quiet: bool,
    traffic: Traffic,
}

/// Frames that went out and such that did not, and how far each key and member has been received.
#[derive(Clone, Debug, Default)]
pub(crate) struct Traffic {
    pub(crate) sent: u64,
    pub(crate) dropped: u64,
    pub(crate) received: BTreeMap<(Vec<u8>, [u8; 8]), u64>,
}

/// A process that has the two sockets.
#[derive(Clone, Debug)]
pub(crate) struct Process {
    kernel: FakeKernel,
    life: Arc<Mutex<Life>>,
}

impl Process {
    pub(crate) fn new(kernel: &FakeKernel, killed_at: Option<u64>) -> Self {
        let life = Life { killed_at, ..Life::default() };
        Self { kernel: kernel.clone(), life: Arc::new(Mutex::new(life)) }
    }

    /// One during which no frame is to be sent.
    pub(crate) fn in_silence(self) -> Self {
        self.life().quiet = true;
        self
    }

    fn life(&self) -> MutexGuard<'_, Life> {
        self.life.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn asked(&self) -> u64 {
        self.life().asked
    }

    pub(crate) fn is_dead(&self) -> bool {
        self.life().dead
    }

    pub(crate) fn traffic(&self) -> Traffic {
        self.life().traffic.clone()
    }

    pub(crate) fn start(&self, with: KernelSettings) -> Result<KernelDataplane, KernelStartError> {
        let socket = |socket| Box::new(Mortal { process: self.clone(), socket });
        let (route, generic) = (socket(self.kernel.route()), socket(self.kernel.generic()));
        KernelDataplane::start_with(route, generic, with)
    }

    /// A frame goes out, and one comes in from everybody.
    fn pass_traffic(&self) {
        let Some(secy) = self.kernel.secy(SECURE) else { return };
        let mut life = self.life();
        if !life.quiet {
            let sent = self.kernel.transmit(SECURE, 1);
            life.traffic.sent += sent;
            life.traffic.dropped += 1 - sent;
        }
        for channel in &secy.rx {
            for (an, sa) in (0..).zip(&channel.sas) {
                let Some(sa) = sa.as_ref().filter(|sa| sa.active) else { continue };
                self.kernel.receive(SECURE, channel.sci, an, sa.next_pn);
                life.traffic.received.insert((sa.key.clone(), channel.sci), sa.next_pn + 1);
            }
        }
    }
}

/// A socket of it.
#[derive(Debug)]
struct Mortal {
    process: Process,
    socket: Box<dyn Netlink>,
}

impl Netlink for Mortal {
    fn send(&mut self, datagram: &[u8]) -> io::Result<()> {
        {
            let mut life = self.process.life();
            life.dead |= life.killed_at == Some(life.asked);
            if life.dead {
                return Err(io::ErrorKind::BrokenPipe.into());
            }
            life.asked += 1;
        }
        self.process.pass_traffic();
        self.socket.send(datagram)
    }

    fn receive(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.socket.receive(buffer)
    }
}

/// It was killed.
#[derive(Debug)]
pub(crate) struct Killed;

/// What is there when a daemon was killed.
pub(crate) struct Remains {
    pub(crate) kernel: FakeKernel,
    /// All that the record may say: it is written around the requests, not with them.
    pub(crate) records: Vec<Vec<InstalledSak>>,
    pub(crate) traffic: Traffic,
    pub(crate) asked: u64,
}

struct Daemon {
    process: Process,
    plane: KernelDataplane,
    suite: CipherSuite,
    record: Vec<InstalledSak>,
    /// What may be written down instead, as long as nothing more is asked for.
    late: Vec<Vec<InstalledSak>>,
}

fn member(sci: Sci, suite: CipherSuite) -> RxMember {
    let ssci = suite.is_xpn().then(|| Ssci(u32::from(sci.octets()[5])));
    RxMember { sci, ssci, lowest_pn: PacketNumber::FIRST }
}

impl Daemon {
    fn tell(&mut self, command: SecyCommand) -> Result<(), Killed> {
        let before = self.record.clone();
        self.write_ahead(&command);
        let first = self.process.asked();
        let result = self.plane.apply(&command);
        if self.process.is_dead() {
            if self.process.asked() == first {
                self.late.push(before);
            } else {
                self.late.clear();
            }
            return Err(Killed);
        }
        result.unwrap();
        self.late = vec![self.record.clone()];
        self.write_after(&command);
        Ok(())
    }

    fn write_ahead(&mut self, command: &SecyCommand) {
        match command {
            SecyCommand::InstallSak(install) => self.record.push(InstalledSak {
                key: Arc::clone(&install.key),
                an: install.an,
                ssci: install.ssci,
                receivers: install.receive.iter().map(|of| (of.sci, *of)).collect(),
                transmit: TransmitState::Waiting,
            }),
            SecyCommand::AddReceiver { ki, member } => {
                let sak = self.record.iter_mut().find(|sak| sak.key.ki == *ki).unwrap();
                sak.receivers.insert(member.sci, *member);
            }
            _ => {}
        }
    }

    fn write_after(&mut self, command: &SecyCommand) {
        match command {
            SecyCommand::EnableTx(ki) => {
                for sak in &mut self.record {
                    sak.transmit = match sak.transmit {
                        _ if sak.key.ki == *ki => TransmitState::Transmitting,
                        TransmitState::Transmitting => TransmitState::Superseded,
                        before => before,
                    };
                }
            }
            SecyCommand::RemoveSak(ki) => self.record.retain(|sak| sak.key.ki != *ki),
            _ => {}
        }
    }

    fn look(&mut self) -> Result<(), Killed> {
        self.plane.refresh();
        if self.process.is_dead() { Err(Killed) } else { Ok(()) }
    }

    fn install(&mut self, number: u32, members: &[Sci]) -> Result<(), Killed> {
        let suite = self.suite;
        self.tell(SecyCommand::InstallSak(InstallSak {
            key: key(number, suite),
            an: AssociationNumber::from_low_bits(u8::try_from(number & 3).unwrap()),
            ssci: member(OWN, suite).ssci,
            receive: members.iter().map(|sci| member(*sci, suite)).collect(),
        }))
    }

    /// Is secured, changes the key until association numbers come again, lets a member go and takes
    /// one in, closes and opens.
    fn live(&mut self) -> Result<(), Killed> {
        self.install(1, &[PEER])?;
        self.tell(SecyCommand::EnableTx(ki(1)))?;
        self.tell(SecyCommand::SetControlledPort(true))?;
        self.look()?;
        for number in 2..=5 {
            self.install(number, &[PEER, THIRD])?;
            self.look()?;
            self.tell(SecyCommand::EnableTx(ki(number)))?;
            self.tell(SecyCommand::RemoveSak(ki(number - 1)))?;
        }
        let late = Sci::new(MacAddress([2, 0, 0, 0, 0, 0x0e]), 1);
        let join = SecyCommand::AddReceiver { ki: ki(5), member: member(late, self.suite) };
        self.tell(join)?;
        self.tell(SecyCommand::RemoveReceiver(THIRD))?;
        let lowest_pn = PacketNumber(400);
        self.tell(SecyCommand::RaiseLowestPn { ki: ki(5), sci: PEER, lowest_pn })?;
        self.tell(SecyCommand::SetControlledPort(false))?;
        self.install(6, &[PEER])?;
        self.tell(SecyCommand::EnableTx(ki(6)))?;
        self.tell(SecyCommand::SetControlledPort(true))?;
        self.tell(SecyCommand::RemoveSak(ki(5)))?;
        self.look()
    }
}

/// Lives until the request of this number, and leaves what is there then.
pub(crate) fn killed_at(request: Option<u64>, suite: CipherSuite) -> Remains {
    let kernel = machine();
    let process = Process::new(&kernel, request);
    let (mut records, mut traffic) = (vec![Vec::new()], Traffic::default());
    if let Ok(plane) = process.start(settings(suite)) {
        let (record, late) = (Vec::new(), Vec::new());
        let mut daemon = Daemon { process: process.clone(), plane, suite, record, late };
        let ended = daemon.live();
        assert_eq!(ended.is_err(), process.is_dead());
        traffic = process.traffic();
        records = daemon.late;
        records.push(daemon.record);
        // One that does not know what its transmit SAs do.
        let mut plain = records.clone();
        plain.iter_mut().flatten().for_each(|sak| sak.transmit = TransmitState::Waiting);
        records.extend(plain);
        // Nothing of it is closed.
        std::mem::forget(daemon.plane);
    }
    Remains { kernel, records, traffic, asked: process.asked() }
}
