//! A data plane in the real kernel, keyed by hand, that cannot ask for what repeats a nonce without
//! the test seeing it.

use std::collections::BTreeSet;
use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

use macsecd::crypto::{Sak, Salt};
use macsecd::dataplane::kernel::{KernelDataplane, KernelSettings, KernelStartError, Netlink};
use macsecd::dataplane::{KernelState, Offload};
use macsecd::ident::{
    AssociationNumber, CipherSuite, ConfidentialityOffset, KeyId, KeyNumber, MacAddress, MemberId,
    PacketNumber, Sci, Ssci,
};
use macsecd::secy::{InstallSak, RxMember, SecyCommand, SecyKey, SecySettings, Validate};
use macsecd::sys::PacketSocket;
use macsecd::wire::SecTag;
use rtnetlink::LinkUnspec;
use zeroize::Zeroizing;

use crate::fake_kernel::attributes::{Attributes, Header};
use crate::fake_kernel::numbers::{command, sa, top};
use crate::fake_kernel::request::Client;
use crate::machine::{self, sockets};
use crate::netns::Namespace;

pub(crate) const PARENT: &str = "eth0";
pub(crate) const SECURE: &str = "macsec0";
pub(crate) const MAC: MacAddress = MacAddress([2, 0, 0, 0, 0, 0x0a]);
pub(crate) const OWN: Sci = Sci::new(MAC, 1);
pub(crate) const PEER: Sci = Sci::new(MacAddress([2, 0, 0, 0, 0, 0x0b]), 1);

const STRICT: SecySettings = SecySettings {
    protect: true,
    validate: Validate::Strict,
    replay_protect: true,
    replay_window: 0,
    include_sci: true,
};

pub(crate) fn ki(number: u32) -> KeyId {
    KeyId { server: MemberId::from_octets([7; 12]), number: KeyNumber(number) }
}

/// No frame.
pub(crate) const NONE: [u32; 0] = [];

/// The octets of a key, which follow from its number.
pub(crate) fn octets(number: u32, suite: CipherSuite) -> Vec<u8> {
    number.to_be_bytes().repeat(suite.sak_len() / 4)
}

/// The association that a key takes.
pub(crate) fn an(number: u32) -> u8 {
    u8::try_from(number & 3).unwrap()
}

/// After so long without a frame no more are expected.
const QUIET: Duration = Duration::from_millis(200);

/// A machine with one end of a cable, of which the other end is watched.
pub(crate) struct Wire {
    pub(crate) namespace: Namespace,
    /// Somebody else who is root.
    pub(crate) other: Client,
    observer: PacketSocket,
}

impl Wire {
    pub(crate) fn new() -> Self {
        let (namespace, far) = (Namespace::new(), Namespace::new());
        namespace.cable(PARENT, &far, "far");
        namespace.set_address(PARENT, MAC.0);
        let index = far.index("far");
        let observer = far.run(|| PacketSocket::observer(index).unwrap());
        let other = machine::client(&namespace);
        Self { namespace, other, observer }
    }

    pub(crate) fn index(&self, name: &str) -> u32 {
        self.namespace.index(name)
    }

    /// Has frames go out, and gives the packet numbers that are seen on the wire; what is in clear
    /// fails the test.
    pub(crate) fn send(&self, interface: &str, frames: usize) -> Vec<u32> {
        machine::send(&self.namespace, interface, frames);
        let (mut numbers, mut last) = (Vec::new(), Instant::now());
        while numbers.len() < frames && last.elapsed() < QUIET {
            let more = self.seen();
            if more.is_empty() {
                std::thread::sleep(Duration::from_millis(2));
            } else {
                last = Instant::now();
                numbers.extend(more);
            }
        }
        numbers
    }

    /// The packet numbers on the wire since the last time.
    fn seen(&self) -> Vec<u32> {
        let mut buffer = [0; 2048];
        let mut numbers = Vec::new();
        while let Ok(length) = self.observer.recv(&mut buffer) {
            let frame = &buffer[..length];
            assert_eq!(frame[12..14], [0x88, 0xe5], "a frame in clear: {frame:02x?}");
            numbers.push(SecTag::decode(&frame[14..]).unwrap().0.pn);
        }
        numbers
    }

    pub(crate) fn settings(&self, suite: CipherSuite) -> KernelSettings {
        KernelSettings {
            parent: PARENT.to_owned(),
            parent_index: self.index(PARENT),
            name: SECURE.to_owned(),
            sci: OWN,
            suites: vec![suite],
            settings: STRICT,
            offload: Offload::Off,
            expected: Vec::new(),
        }
    }

    pub(crate) fn start(&self, settings: KernelSettings) -> Result<Port, KernelStartError> {
        let (route, generic) = sockets(&self.namespace);
        let (route, generic) = (Watched::over(route), Watched::over(generic));
        let suite = settings.suites[0];
        let plane = KernelDataplane::start_with(route, generic, settings)?;
        Ok(Port { plane, suite })
    }

    /// A port that is open, with one key in use.
    pub(crate) fn secured(&self, suite: CipherSuite) -> Port {
        let mut port = self.start(self.settings(suite)).unwrap();
        port.rekey(1);
        port.apply(&SecyCommand::SetControlledPort(true));
        port
    }

    /// Takes an interface down, has something done to it, and takes it up again.
    pub(crate) fn rename(&self, from: &str, to: &str) {
        let index = self.index(from);
        let by_index = || LinkUnspec::new_with_index(index);
        self.namespace.change(by_index().down().build());
        self.namespace.change(by_index().name(to.to_owned()).build());
        self.namespace.change(by_index().up().build());
    }

    /// Moves an interface into another namespace.
    pub(crate) fn move_to(&self, name: &str, to: &Namespace) {
        let to = to.run(|| File::open("/proc/thread-self/ns/net").unwrap());
        let link = LinkUnspec::new_with_name(name).setns_by_fd(to.as_raw_fd());
        self.namespace.change(link.build());
    }
}

/// A data plane, and the suite of its keys.
pub(crate) struct Port {
    pub(crate) plane: KernelDataplane,
    suite: CipherSuite,
}

impl Port {
    pub(crate) fn apply(&mut self, command: &SecyCommand) {
        self.plane.apply(command).unwrap();
    }

    /// Sends and receives with this key from now on; the one before it goes.
    pub(crate) fn rekey(&mut self, number: u32) {
        let xpn = self.suite.is_xpn();
        let salt = xpn.then(|| Salt::new(ki(number)));
        let sak = Sak::new(Zeroizing::new(octets(number, self.suite))).unwrap();
        let offset = ConfidentialityOffset::Offset0;
        let (ki_of, suite) = (ki(number), self.suite);
        let lowest_pn = PacketNumber::FIRST;
        let install = InstallSak {
            key: Arc::new(SecyKey { ki: ki_of, suite, offset, sak, salt }),
            an: AssociationNumber::from_low_bits(an(number)),
            ssci: xpn.then_some(Ssci(1)),
            receive: vec![RxMember { sci: PEER, ssci: xpn.then_some(Ssci(2)), lowest_pn }],
        };
        self.apply(&SecyCommand::InstallSak(install));
        self.apply(&SecyCommand::EnableTx(ki(number)));
        if number > 1 {
            // It may have been given up already.
            let _ = self.plane.apply(&SecyCommand::RemoveSak(ki(number - 1)));
        }
    }

    pub(crate) fn told(&self) -> KernelState {
        self.plane.snapshot().kernel.unwrap()
    }

    /// What the daemon does twice a second, until something is lost.
    pub(crate) fn lost_within_a_second(&mut self) -> Vec<KeyId> {
        let since = Instant::now();
        loop {
            self.plane.refresh();
            let lost = self.plane.take_lost();
            assert!(since.elapsed() < Duration::from_secs(1), "nothing is lost in a second");
            if !lost.is_empty() {
                return lost;
            }
            std::thread::sleep(Duration::from_millis(500));
        }
    }
}

/// A socket that watches what is asked over it.
#[derive(Debug)]
struct Watched {
    socket: Box<dyn Netlink>,
    added: BTreeSet<Vec<u8>>,
}

impl Watched {
    fn over(socket: Box<dyn Netlink>) -> Box<dyn Netlink> {
        Box::new(Self { socket, added: BTreeSet::new() })
    }

    /// A key is added to transmit once, from 1 on, and its number is never set.
    fn check(&mut self, request: &[u8]) {
        let Some((header, body, _)) = Header::read(request) else { return };
        // Those below are of netlink itself and of rtnetlink: the family's number is higher, or
        // the command would be another.
        if header.kind == libc::RTM_NEWLINK || header.kind == libc::RTM_GETLINK {
            return;
        }
        let config = Attributes::parse(&body[4..]).nest(top::SA_CONFIG).unwrap_or_default();
        let pn = config.octets(sa::PN);
        match body[0] {
            command::ADD_TXSA => {
                let first = pn.unwrap().iter().rev().skip_while(|octet| **octet == 0);
                assert_eq!(first.copied().collect::<Vec<_>>(), [1], "a key starts elsewhere");
                let key = config.octets(sa::KEY).unwrap().to_vec();
                assert!(self.added.insert(key), "a key is added a second time");
            }
            command::UPD_TXSA => assert_eq!(pn, None, "a number is set"),
            _ => {}
        }
    }
}

impl Netlink for Watched {
    fn send(&mut self, datagram: &[u8]) -> io::Result<()> {
        self.check(datagram);
        self.socket.send(datagram)
    }

    fn receive(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.socket.receive(buffer)
    }
}
