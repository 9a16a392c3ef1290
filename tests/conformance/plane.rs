//! A data plane under a script: on a cable, in a network namespace.
//!
//! Frames go in and come out through packet sockets: on the far end of the cable, and on the secure
//! interface. No time is waited for: each step ends when all of its frames are accounted for.

use std::os::fd::AsRawFd;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use macsecd::dataplane::kernel::{self, KernelDataplane, KernelSettings};
use macsecd::dataplane::{Drops, Offload, Snapshot, UserspaceDataplane, UserspaceSettings};
use macsecd::ident::{CipherSuite, KeyId};
use macsecd::secy::{Counters, SecyCommand, SecyError, SecySettings, Validate};
use macsecd::sys::PacketSocket;
use nix::errno::Errno;
use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::sys::socket::{LinkAddr, recvfrom};
use nix::unistd::Pid;

use crate::frame::{ETHERTYPE_EAPOL, ETHERTYPE_MACSEC, ethertype, marker};
use crate::netns::{Namespace, eventually};
use crate::secy::{Counts, Frame, IN_PORT_CLOSED, OWN, Secy, State, Station, Traffic, Who};

/// The interface that carries protected frames; its peer has the same name.
pub(crate) const PARENT: &str = "eth0";
/// The interface that carries the traffic to protect.
pub(crate) const SECURE: &str = "macsec0";
/// So many frames fit every queue on the way: a tap's holds 500, a processor's 1000.
const BURST: usize = 200;
/// Set where the kernel's MACsec must be there.
const KERNEL_WANTED: &str = "MACSECD_KERNEL_TEST";

/// The data planes that this machine has.
pub(crate) fn subjects() -> Vec<Who> {
    let mut subjects = vec![Who::Userspace];
    if kernel_is_there() {
        subjects.push(Who::Kernel);
    }
    subjects
}

/// Tells whether the kernel has MACsec.
///
/// Panics where it has not and was to have it.
pub(crate) fn kernel_is_there() -> bool {
    let wanted = std::env::var(KERNEL_WANTED).is_ok_and(|value| value == "1");
    match kernel::available() {
        Ok(()) => true,
        Err(error) if wanted => panic!("{KERNEL_WANTED} is set: {error}"),
        Err(_) => false,
    }
}

/// One data plane and its cable.
pub(crate) struct Plane {
    plane: Dataplane,
    near: Namespace,
    /// Held, so that the other end of the cable stays.
    _far: Namespace,
    settings: SecySettings,
    open: bool,
    /// Sends to the near end of the cable from the far end, and back.
    injector: PacketSocket,
    returner: PacketSocket,
    cable: Watcher,
    parent: Watcher,
    /// What has come out of the cable.
    wire: Vec<Frame>,
    secure: Secure,
    /// Frames that userspace is to account for.
    sent: u64,
    injected: u64,
}

/// The sockets on the secure interface.
struct Secure {
    index: u32,
    sender: PacketSocket,
    watcher: Watcher,
}

impl Secure {
    fn open(namespace: &Namespace) -> Self {
        let index = namespace.index(SECURE);
        let sender = namespace.run(|| PacketSocket::sender(index).unwrap());
        Self { index, sender, watcher: Watcher::new(namespace, SECURE) }
    }
}

/// Sees the frames that come out of an interface.
pub(crate) struct Watcher(PacketSocket);

/// PACKET_OUTGOING of linux/if_packet.h: a frame that this system sends.
const OUTGOING: u8 = 4;

impl Watcher {
    pub(crate) fn new(namespace: &Namespace, interface: &str) -> Self {
        let index = namespace.index(interface);
        Self(namespace.run(|| PacketSocket::observer(index).unwrap()))
    }

    /// The frames received since the last time, none missed.
    pub(crate) fn frames(&self) -> Vec<Frame> {
        let (mut frames, mut buffer) = (Vec::new(), vec![0; 4096]);
        loop {
            match recvfrom::<LinkAddr>(self.0.as_raw_fd(), &mut buffer) {
                Ok((len, from)) if from.is_none_or(|from| from.pkttype() != OUTGOING) => {
                    frames.push(buffer[..len].to_vec());
                }
                Ok(_) => {}
                Err(Errno::EAGAIN) => break,
                // Told once when the interface goes down or away.
                Err(Errno::ENETDOWN) => {}
                Err(error) => panic!("watching an interface: {error}"),
            }
        }
        assert_eq!(self.0.statistics().unwrap().dropped, 0, "frames were missed");
        frames
    }
}

/// A data plane of either kind, in this process.
pub(crate) enum Dataplane {
    Kernel(Box<KernelDataplane>),
    Userspace(Box<UserspaceDataplane>),
}

impl Dataplane {
    pub(crate) fn apply(&mut self, command: &SecyCommand) -> Result<(), SecyError> {
        match self {
            Self::Kernel(plane) => plane.apply(command),
            Self::Userspace(plane) => plane.apply(command),
        }
    }

    pub(crate) fn refresh(&mut self) {
        if let Self::Kernel(plane) = self {
            plane.refresh();
        }
    }

    pub(crate) fn snapshot(&self) -> Snapshot {
        match self {
            Self::Kernel(plane) => plane.snapshot(),
            Self::Userspace(plane) => plane.snapshot(),
        }
    }

    /// Userspace loses no key without dying.
    fn take_lost(&mut self) -> Vec<KeyId> {
        match self {
            Self::Kernel(plane) => plane.take_lost(),
            Self::Userspace(_) => Vec::new(),
        }
    }
}

impl Plane {
    pub(crate) fn start(who: Who, settings: SecySettings) -> Self {
        let (near, far) = (Namespace::new(), Namespace::new());
        near.cable(PARENT, &far, PARENT);
        Self::start_in(who, settings, near, far)
    }

    /// Starts one on the near end of a cable.
    pub(crate) fn start_in(
        who: Who,
        settings: SecySettings,
        near: Namespace,
        far: Namespace,
    ) -> Self {
        stay_on_one_processor();
        near.set_address(PARENT, OWN.sci.address().0);
        let plane = start_dataplane(who, &near, OWN, settings);
        let sender = |of: &Namespace| {
            let index = of.index(PARENT);
            of.run(|| PacketSocket::sender(index).unwrap())
        };
        let (injector, returner) = (sender(&far), sender(&near));
        let cable = Watcher::new(&far, PARENT);
        let parent = Watcher::new(&near, PARENT);
        let secure = Secure::open(&near);
        let (sent, injected, open) = (0, 0, false);
        Self {
            plane,
            near,
            _far: far,
            settings,
            open,
            injector,
            returner,
            cable,
            parent,
            wire: Vec::new(),
            secure,
            sent,
            injected,
        }
    }

    fn is_kernel(&self) -> bool {
        matches!(self.plane, Dataplane::Kernel(_))
    }

    /// What the data plane says of itself now.
    pub(crate) fn snapshot(&mut self) -> Snapshot {
        self.plane.refresh();
        self.plane.snapshot()
    }

    /// Tells the data plane, from where it belongs.
    fn tell(&mut self, command: &SecyCommand) -> Result<(), SecyError> {
        let plane = &mut self.plane;
        self.near.run(|| plane.apply(command))
    }

    /// Returns when the secure interface is as the Controlled Port. The kernel makes up its mind on a
    /// new one some time later, and it takes another look to find that out.
    fn follow(&mut self) {
        eventually("the secure interface follows the port", || {
            self.plane.refresh();
            self.near.is_running(SECURE) == self.open
        });
    }

    /// Returns when all frames so far have been dealt with.
    fn settle(&mut self) {
        if self.is_kernel() {
            self.settle_kernel();
        } else {
            self.settle_userspace();
        }
        // Behind all that was sent.
        self.returner.send(&marker()).unwrap();
        eventually("a frame passes the cable", || {
            self.wire.extend(self.cable.frames());
            self.wire.pop_if(|last| *last == marker()).is_some()
        });
    }

    /// The kernel takes frames in order. It leaves those that are the KaY's on the parent and
    /// counts them nowhere: once one is seen there, all before it are through, and once another
    /// is, all that came of them.
    fn settle_kernel(&mut self) {
        for _ in 0..2 {
            self.injector.send(&marker()).unwrap();
            eventually("a frame passes the kernel", || self.parent.frames().contains(&marker()));
        }
    }

    /// Every frame is counted, but some batch may still be on its way out. A table that both
    /// threads have taken up shows that it is through.
    fn settle_userspace(&mut self) {
        let mut counted = (0, 0);
        eventually("userspace counts every frame once", || {
            let snapshot = self.plane.snapshot();
            counted = accounted(&snapshot.counters, &snapshot.drops);
            counted >= (self.sent, self.injected)
        });
        assert_eq!(counted, (self.sent, self.injected), "some frame was counted twice");
        for _ in 0..2 {
            self.tell(&SecyCommand::Configure(self.settings)).unwrap();
        }
    }

    fn traffic(&mut self) -> Traffic {
        Traffic { wire: std::mem::take(&mut self.wire), delivered: self.secure.watcher.frames() }
    }

    /// Tells whether userspace opens a socket that takes the frame.
    fn is_taken(&self, frame: &[u8]) -> bool {
        match ethertype(frame) {
            ETHERTYPE_MACSEC => true,
            ETHERTYPE_EAPOL => false,
            _ => self.settings.validate != Validate::Strict,
        }
    }
}

/// Keeps this thread, and those that it starts, on one processor. Each has a queue of its own for
/// frames on virtual cables, and only in the same queue does one frame stay behind another.
pub(crate) fn stay_on_one_processor() {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    let this = Pid::from_raw(0);
    let allowed = sched_getaffinity(this).unwrap();
    let allowed: Vec<usize> =
        (0..CpuSet::count()).filter(|at| allowed.is_set(*at).unwrap_or(false)).collect();
    let mut one = CpuSet::new();
    one.set(allowed[NEXT.fetch_add(1, Relaxed) % allowed.len()]).unwrap();
    sched_setaffinity(this, &one).unwrap();
}

/// Starts a data plane in a namespace, with the Controlled Port closed and no key.
pub(crate) fn start_dataplane(
    who: Who,
    namespace: &Namespace,
    own: Station,
    settings: SecySettings,
) -> Dataplane {
    let (parent, parent_index) = (PARENT.to_owned(), namespace.index(PARENT));
    let (name, sci) = (SECURE.to_owned(), own.sci);
    namespace.run(|| match who {
        Who::Userspace => {
            let parent_mtu = 1500;
            let settings =
                UserspaceSettings { parent, parent_index, parent_mtu, name, sci, settings };
            Dataplane::Userspace(Box::new(UserspaceDataplane::start(settings).unwrap()))
        }
        Who::Kernel => {
            let (suites, offload) = (vec![CipherSuite::GcmAes128], Offload::Off);
            let settings = KernelSettings {
                parent,
                parent_index,
                name,
                sci,
                suites,
                settings,
                offload,
                expected: Vec::new(),
            };
            Dataplane::Kernel(Box::new(KernelDataplane::start(settings).unwrap()))
        }
    })
}

/// How many frames to send and how many received are accounted for. Each is counted once.
fn accounted(counters: &Counters, drops: &Drops) -> (u64, u64) {
    let of = |direction: &str| {
        let packets = counters.iter().filter(|(name, _)| name.starts_with(direction));
        packets.map(|(_, count)| count).sum::<u64>()
    };
    let Drops {
        out_port_closed: _,
        out_malformed,
        out_congested: _,
        out_refused: _,
        in_port_closed,
        in_too_long,
        in_undelivered: _,
    } = *drops;
    let sent = of("out_pkts") + out_malformed;
    (sent, of("in_pkts") + in_port_closed + in_too_long)
}

impl Secy for Plane {
    fn apply(&mut self, command: &SecyCommand) -> Result<(), SecyError> {
        self.tell(command)?;
        match command {
            SecyCommand::Configure(settings) => self.settings = *settings,
            SecyCommand::SetControlledPort(open) => {
                self.open = *open;
                self.follow();
            }
            // A kernel that cannot change the suite makes another interface.
            SecyCommand::InstallSak(_) if self.near.index(SECURE) != self.secure.index => {
                self.follow();
                self.secure = Secure::open(&self.near);
            }
            SecyCommand::InstallSak(_)
            | SecyCommand::AddReceiver { .. }
            | SecyCommand::RemoveReceiver(_)
            | SecyCommand::EnableTx(_)
            | SecyCommand::RemoveSak(_)
            | SecyCommand::RaiseLowestPn { .. } => {}
        }
        Ok(())
    }

    fn send(&mut self, frames: &[Frame]) -> Traffic {
        for burst in frames.chunks(BURST) {
            for frame in burst {
                match self.secure.sender.send(frame) {
                    // A closed port's interface has no carrier, and the system drops the frame.
                    _ if !self.open => {}
                    Ok(()) => self.sent += 1,
                    Err(error) => panic!("sending {} octets: {error}", frame.len()),
                }
            }
            self.settle();
        }
        self.traffic()
    }

    fn inject(&mut self, frames: &[Frame]) -> Traffic {
        for burst in frames.chunks(BURST) {
            for frame in burst {
                self.injector.send(frame).unwrap();
                self.injected += u64::from(self.is_taken(frame));
            }
            self.settle();
        }
        self.traffic()
    }

    fn counts(&mut self) -> Counts {
        let snapshot = self.snapshot();
        let dropped = snapshot.drops.in_port_closed;
        snapshot.counters.iter().chain([(IN_PORT_CLOSED, dropped)]).collect()
    }

    fn state(&mut self) -> State {
        let snapshot = self.plane.snapshot();
        State { tx: snapshot.tx, rx: snapshot.rx }
    }

    fn lost(&mut self) -> Vec<KeyId> {
        self.plane.take_lost()
    }
}

impl Plane {
    /// Lets somebody else send to it so many frames, and returns when it has dealt with them.
    pub(crate) fn receive(&mut self, frames: u64, send: impl FnOnce()) -> Traffic {
        send();
        self.injected += frames;
        self.settle();
        self.traffic()
    }

    /// Looks for what no script may cause.
    pub(crate) fn finish(&mut self) {
        let snapshot = self.snapshot();
        assert!(snapshot.alive);
        let Drops { out_port_closed, in_port_closed, .. } = snapshot.drops;
        let expected = Drops { out_port_closed, in_port_closed, ..Drops::default() };
        assert_eq!(snapshot.drops, expected);
        if let Some(kernel) = snapshot.kernel {
            assert_eq!((kernel.interference, kernel.last_interference), (0, None));
        }
    }
}
