//! The kernel at one end of a cable and userspace at the other, with traffic both ways.
//!
//! A kernel without MACsec leaves userspace at both ends, and less of it.

use std::io::{IoSlice, IoSliceMut};
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::thread;

use macsecd::dataplane::{Drops, Snapshot};
use macsecd::ident::CipherSuite;
use macsecd::secy::{
    Counters, FrameBuf, PreparedKey, RxTable, SecyCommand, SecySettings, validate,
};
use macsecd::sys::{BATCH_MAX, PacketSocket};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use CipherSuite::{GcmAes128, GcmAes256, GcmAesXpn128, GcmAesXpn256};

use crate::frame::{ETHERTYPE_MACSEC, Key, between, ethertype};
use crate::netns::{Namespace, eventually};
use crate::plane::{
    Dataplane, PARENT, SECURE, Watcher, kernel_is_there, start_dataplane, stay_on_one_processor,
};
use crate::secy::{Frame, OWN, PEER, STRICT, Station, Who};

/// Frames for each suite, half of them in each direction.
const FRAMES: u64 = 100_000;
/// The same between two data planes of ours, which other tests have more of.
const FRAMES_IN_USERSPACE: u64 = 10_000;
const REKEYS: u32 = 8;
/// How long a frame may take before it is lost.
const PATIENCE_MS: u16 = 20_000;

/// One end of the cable.
struct End {
    namespace: Namespace,
    plane: Dataplane,
    own: Station,
    other: Station,
}

/// The two of them.
struct Pair {
    a: End,
    b: End,
}

/// The sockets on a secure interface.
struct Sockets {
    sender: PacketSocket,
    /// Sees what comes to the interface, and what goes.
    observer: PacketSocket,
}

impl End {
    fn new(who: Who, namespace: Namespace, own: Station, other: Station) -> Self {
        let plane = start_dataplane(who, &namespace, own, STRICT);
        Self { namespace, plane, own, other }
    }

    fn apply(&mut self, command: &SecyCommand) {
        let plane = &mut self.plane;
        self.namespace.run(|| plane.apply(command)).unwrap();
    }

    fn sockets(&self) -> Sockets {
        let index = self.namespace.index(SECURE);
        self.namespace.run(|| Sockets {
            sender: PacketSocket::sender(index).unwrap(),
            observer: PacketSocket::observer(index).unwrap(),
        })
    }

    /// Looks for whatever has gone wrong, in any counter.
    fn check(&mut self, sent: u64, received: u64) {
        self.plane.refresh();
        let Snapshot { counters, drops, alive, kernel, .. } = self.plane.snapshot();
        let expected = Counters {
            out_pkts_encrypted: sent,
            out_octets_encrypted: counters.out_octets_encrypted,
            in_pkts_ok: received,
            in_octets_decrypted: counters.in_octets_decrypted,
            ..Counters::default()
        };
        assert_eq!((counters, drops, alive), (expected, Drops::default(), true));
        assert_eq!(kernel.map_or(0, |kernel| kernel.interference), 0);
    }
}

impl Pair {
    /// Both ends with the Controlled Port open and this key in use.
    fn new(key: &Key) -> Self {
        stay_on_one_processor();
        let (near, far) = (Namespace::new(), Namespace::new());
        near.cable(PARENT, &far, PARENT);
        for (namespace, station) in [(&near, OWN), (&far, PEER)] {
            namespace.set_address(PARENT, station.sci.address().0);
        }
        let who = if kernel_is_there() { Who::Kernel } else { Who::Userspace };
        let (a, b) = (End::new(who, near, OWN, PEER), End::new(Who::Userspace, far, PEER, OWN));
        let mut pair = Self { a, b };
        pair.both(|_| SecyCommand::SetControlledPort(true));
        pair.both(|end| key.install_for(end.own, &[end.other]));
        pair.both(|_| SecyCommand::EnableTx(key.ki()));
        for end in [&mut pair.a, &mut pair.b] {
            eventually("it carries frames", || {
                end.plane.refresh();
                end.namespace.is_running(SECURE)
            });
        }
        pair
    }

    fn both(&mut self, command: impl Fn(&End) -> SecyCommand) {
        for end in [&mut self.a, &mut self.b] {
            end.apply(&command(end));
        }
    }
}

/// Frames one way, a batch after the other: each when all of the one before has arrived, so that no
/// buffer on the way overflows.
struct Flow<'a> {
    from: Station,
    to: Station,
    sender: &'a PacketSocket,
    observer: &'a PacketSocket,
    arrived: AtomicU64,
}

impl<'a> Flow<'a> {
    fn new((from, sockets): (Station, &'a Sockets), (to, others): (Station, &'a Sockets)) -> Self {
        let (sender, observer) = (&sockets.sender, &others.observer);
        Self { from, to, sender, observer, arrived: AtomicU64::new(0) }
    }

    fn run(&self, done: &AtomicBool) {
        while !done.load(SeqCst) {
            self.batch();
        }
    }

    /// Sends the next frames and returns them when they have arrived, in order.
    fn batch(&self) -> Vec<Frame> {
        let first = self.arrived.load(SeqCst);
        let numbers = first..first + BATCH_MAX as u64;
        let frames: Vec<Frame> =
            numbers.map(|number| numbered(self.from, self.to, number)).collect();
        let slices: Vec<_> = frames.iter().map(|frame| IoSlice::new(frame)).collect();
        assert_eq!(self.sender.send_batch(&slices).unwrap(), BATCH_MAX);
        let mut missing = frames.iter();
        while missing.len() > 0 {
            for frame in self.arrivals() {
                let number = self.arrived.fetch_add(1, SeqCst);
                assert!(missing.next() == Some(&frame), "not frame {number}, but {frame:02x?}");
            }
        }
        frames
    }

    /// Waits for frames that come, and passes over those that go.
    fn arrivals(&self) -> Vec<Frame> {
        let mut fds = [PollFd::new(self.observer.as_fd(), PollFlags::POLLIN)];
        let ready = poll(&mut fds, PollTimeout::from(PATIENCE_MS)).unwrap();
        assert_ne!(ready, 0, "frame {} is lost", self.arrived.load(SeqCst));
        let mut buffers = vec![[0; 1514]; BATCH_MAX];
        let mut slices: Vec<_> = buffers.iter_mut().map(|of| IoSliceMut::new(of)).collect();
        let mut lengths = [0; BATCH_MAX];
        let count = self.observer.recv_batch(&mut slices, &mut lengths).unwrap();
        let frames = buffers.iter().zip(lengths).take(count).map(|(of, len)| of[..len].to_vec());
        frames.filter(|frame| frame[6..12] == self.from.sci.address().0).collect()
    }

    /// Returns when so many frames have arrived on each of these.
    fn pass(flows: &[Self], count: u64) {
        let goals: Vec<u64> = flows.iter().map(|of| of.arrived.load(SeqCst) + count).collect();
        eventually("traffic goes on", || {
            flows.iter().zip(&goals).all(|(of, goal)| of.arrived.load(SeqCst) >= *goal)
        });
    }
}

/// Ends the traffic, also where something fails.
struct Done<'a>(&'a AtomicBool);

impl Drop for Done<'_> {
    fn drop(&mut self) {
        self.0.store(true, SeqCst);
    }
}

/// A frame that its number can be told from, by octets and by length.
fn numbered(from: Station, to: Station, number: u64) -> Frame {
    // Mostly short, as they cost a slow machine less; some as long as may be.
    let len = if number.is_multiple_of(64) { 1482 } else { 22 + number * 7 % 300 };
    let (source, destination) = (from.sci.address().0, to.sci.address().0);
    let mut frame = between(source, destination, usize::try_from(len).unwrap());
    frame[14..22].copy_from_slice(&number.to_be_bytes());
    frame
}

/// 0 lost, over eight rekeys. The SCI is in the tags before every other of them.
fn loses_no_frame(suite: CipherSuite) {
    let frames = if kernel_is_there() { FRAMES } else { FRAMES_IN_USERSPACE };
    // Three stretches from one rekey to the next, in either direction.
    let stretch = frames / 2 / (3 * u64::from(REKEYS));
    let key = |number| Key::new(number, suite);
    let mut pair = Pair::new(&key(1));
    let (a, b) = (pair.a.sockets(), pair.b.sockets());
    let flows = [Flow::new((OWN, &a), (PEER, &b)), Flow::new((PEER, &b), (OWN, &a))];
    let pass = || Flow::pass(&flows, stretch);
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        let _at_the_end = Done(&done);
        for flow in &flows {
            scope.spawn(|| flow.run(&done));
        }
        for number in 2..=1 + REKEYS {
            pass();
            let include_sci = number % 2 == 0;
            pair.both(|_| SecyCommand::Configure(SecySettings { include_sci, ..STRICT }));
            pair.both(|end| key(number).install_for(end.own, &[end.other]));
            pass();
            pair.b.apply(&SecyCommand::EnableTx(key(number).ki()));
            pair.a.apply(&SecyCommand::EnableTx(key(number).ki()));
            pass();
            pair.both(|_| SecyCommand::RemoveSak(key(number - 1).ki()));
        }
    });
    let [there, back] = flows.map(|flow| flow.arrived.load(SeqCst));
    println!("{there} frames there and {back} back, none lost");
    assert!(there + back >= frames);
    pair.a.check(there, back);
    pair.b.check(back, there);
}

#[test]
fn gcm_aes_128_loses_no_frame_between_kernel_and_userspace() {
    loses_no_frame(GcmAes128);
}

#[test]
fn gcm_aes_256_loses_no_frame_between_kernel_and_userspace() {
    loses_no_frame(GcmAes256);
}

#[test]
fn gcm_aes_xpn_128_loses_no_frame_between_kernel_and_userspace() {
    loses_no_frame(GcmAesXpn128);
}

#[test]
fn gcm_aes_xpn_256_loses_no_frame_between_kernel_and_userspace() {
    loses_no_frame(GcmAesXpn256);
}

/// Gives what the model makes of the frames that an end has received from the cable.
fn validated(end: &End, cable: &Watcher, key: &Key, include_sci: bool) -> Vec<Frame> {
    let prepared = PreparedKey::new(key.secy_key()).unwrap();
    let mut table = RxTable::default();
    table.add_receiver(&prepared, key.an(), key.member(end.other, 1)).unwrap();
    let mut buffer = FrameBuf::new(1514);
    let frames = cable.frames().into_iter().map(|frame| {
        assert_eq!(ethertype(&frame), ETHERTYPE_MACSEC);
        assert_eq!(frame[14] & TCI_SC != 0, include_sci);
        buffer.fill(&frame).unwrap();
        assert!(validate(&table, &STRICT, &mut buffer, &mut Counters::default()).is_ok());
        buffer.octets().to_vec()
    });
    frames.collect()
}

/// TCI.SC: the tag carries the SCI.
const TCI_SC: u8 = 0x20;

#[test]
fn what_crosses_the_cable_validates_at_the_other_end_and_by_the_model() {
    for (suite, include_sci) in
        CipherSuite::ALL.into_iter().flat_map(|suite| [(suite, true), (suite, false)])
    {
        let key = Key::new(1, suite);
        let mut pair = Pair::new(&key);
        pair.both(|_| SecyCommand::Configure(SecySettings { include_sci, ..STRICT }));
        let (a, b) = (pair.a.sockets(), pair.b.sockets());
        let flows = [Flow::new((OWN, &a), (PEER, &b)), Flow::new((PEER, &b), (OWN, &a))];
        for (flow, to) in flows.iter().zip([&pair.b, &pair.a]) {
            let cable = Watcher::new(&to.namespace, PARENT);
            let frames = [flow.batch(), flow.batch(), flow.batch()].concat();
            let validated = validated(to, &cable, &key, include_sci);
            assert!(validated == frames, "{suite}, SCI: {include_sci}");
        }
    }
}
