//! Two data planes on one cable, keyed by hand.

#![allow(dead_code, unreachable_pub)]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
#![allow(clippy::cast_possible_truncation)]

use std::net::{Ipv4Addr, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

use macsecd::crypto::{Sak, Salt};
use macsecd::dataplane::{UserspaceDataplane, UserspaceSettings};
use macsecd::ident::{
    AssociationNumber, CipherSuite, ConfidentialityOffset, KeyId, KeyNumber, MacAddress, MemberId,
    PacketNumber, Sci, Ssci,
};
use macsecd::secy::{InstallSak, RxMember, SecyCommand, SecyKey, SecySettings, Validate};
use macsecd::sys::PacketSocket;
use zeroize::Zeroizing;

use crate::netns::{Namespace, eventually};

/// Where the data planes send and receive protected frames.
pub const PARENT: &str = "eth0";
/// Where the traffic to protect goes.
pub const SECURE: &str = "macsec0";

/// What the tests start from.
pub const STRICT: SecySettings = SecySettings {
    protect: true,
    validate: Validate::Strict,
    replay_protect: true,
    replay_window: 0,
    include_sci: true,
};

/// One end of the cable.
pub struct End {
    pub namespace: Namespace,
    pub plane: UserspaceDataplane,
    pub sci: Sci,
    pub ip: Ipv4Addr,
    pub ssci: Ssci,
}

/// An SAK to install.
#[derive(Clone, Copy, Debug)]
pub struct Key {
    pub number: u32,
    pub suite: CipherSuite,
    pub offset: ConfidentialityOffset,
}

impl Key {
    pub const fn new(number: u32, suite: CipherSuite, offset: ConfidentialityOffset) -> Self {
        Self { number, suite, offset }
    }

    pub const fn ki(&self) -> KeyId {
        KeyId { server: MemberId::from_octets([7; 12]), number: KeyNumber(self.number) }
    }

    /// Successive keys take successive associations.
    pub fn an(&self) -> AssociationNumber {
        AssociationNumber::from_low_bits((self.number % 4) as u8)
    }

    pub fn secy_key(&self) -> Arc<SecyKey> {
        let octets = vec![self.number as u8; self.suite.sak_len()];
        let sak = Sak::new(Zeroizing::new(octets)).unwrap();
        let salt = self.suite.is_xpn().then(|| Salt::new(self.ki()));
        let Self { suite, offset, .. } = *self;
        Arc::new(SecyKey { ki: self.ki(), suite, offset, sak, salt })
    }
}

impl End {
    /// Installs a key to send with, and to receive `from`.
    pub fn install(&mut self, key: &Key, from: &[(Sci, Ssci)]) {
        let xpn = key.suite.is_xpn();
        let receive = from.iter().map(|(sci, ssci)| RxMember {
            sci: *sci,
            ssci: xpn.then_some(*ssci),
            lowest_pn: PacketNumber::FIRST,
        });
        let install = InstallSak {
            key: key.secy_key(),
            an: key.an(),
            ssci: xpn.then_some(self.ssci),
            receive: receive.collect(),
        };
        self.apply(SecyCommand::InstallSak(install));
    }

    pub fn apply(&mut self, command: SecyCommand) {
        let plane = &mut self.plane;
        self.namespace.run(|| plane.apply(&command)).unwrap();
    }

    /// A UDP socket on the secure interface. What does not come within half a minute is lost.
    pub fn socket(&self, port: u16) -> UdpSocket {
        let socket = self.namespace.run(|| UdpSocket::bind((self.ip, port)).unwrap());
        socket.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        socket
    }

    /// A socket that sends whole frames on an interface.
    pub fn sender(&self, interface: &str) -> PacketSocket {
        let index = self.namespace.index(interface);
        self.namespace.run(|| PacketSocket::sender(index).unwrap())
    }
}

/// Two ends with the Controlled Port closed and no key.
pub struct Pair {
    pub a: End,
    pub b: End,
}

impl Pair {
    pub fn new(settings: SecySettings) -> Self {
        let (a, b) = (Namespace::new(), Namespace::new());
        a.cable(PARENT, &b, PARENT);
        Self { a: end(a, 1, settings), b: end(b, 2, settings) }
    }

    /// Two ends that pass frames, with one key.
    pub fn with_key(settings: SecySettings, key: &Key) -> Self {
        let mut pair = Self::new(settings);
        pair.install(key);
        pair.enable(key);
        pair.open();
        pair
    }

    pub fn install(&mut self, key: &Key) {
        let (a, b) = ((self.a.sci, self.a.ssci), (self.b.sci, self.b.ssci));
        self.a.install(key, &[b]);
        self.b.install(key, &[a]);
    }

    pub fn enable(&mut self, key: &Key) {
        self.both(|| SecyCommand::EnableTx(key.ki()));
    }

    pub fn remove(&mut self, key: &Key) {
        self.both(|| SecyCommand::RemoveSak(key.ki()));
    }

    pub fn configure(&mut self, settings: SecySettings) {
        self.both(|| SecyCommand::Configure(settings));
    }

    /// Opens the Controlled Ports, and returns when the system sends frames to them.
    pub fn open(&mut self) {
        self.both(|| SecyCommand::SetControlledPort(true));
        for end in [&self.a, &self.b] {
            eventually("the secure interface carries frames", || end.namespace.is_running(SECURE));
        }
    }

    fn both(&mut self, command: impl Fn() -> SecyCommand) {
        self.a.apply(command());
        self.b.apply(command());
    }
}

/// Starts the end of this number, in the namespace of its end of the cable.
pub fn end(namespace: Namespace, number: u8, settings: SecySettings) -> End {
    let sci = Sci::new(MacAddress([2, 0, 0, 0, 0, number]), 1);
    let ip = Ipv4Addr::new(10, 0, 0, number);
    let settings = UserspaceSettings {
        parent: PARENT.to_owned(),
        parent_index: namespace.index(PARENT),
        parent_mtu: namespace.mtu(PARENT),
        name: SECURE.to_owned(),
        sci,
        settings,
    };
    let plane = namespace.run(|| UserspaceDataplane::start(settings)).unwrap();
    namespace.set_ip(SECURE, ip);
    End { namespace, plane, sci, ip, ssci: Ssci(u32::from(3 - number)) }
}

/// What passes a cable, seen at one end of it.
pub struct Observer(PacketSocket);

impl Observer {
    pub fn new(end: &End) -> Self {
        let index = end.namespace.index(PARENT);
        Self(end.namespace.run(|| PacketSocket::observer(index).unwrap()))
    }

    /// All frames since the last time, none missed.
    pub fn frames(&self) -> Vec<Vec<u8>> {
        let mut frames = Vec::new();
        let mut buffer = vec![0; 65536];
        while let Ok(len) = self.0.recv(&mut buffer) {
            frames.push(buffer[..len].to_vec());
        }
        assert_eq!(self.0.statistics().unwrap().dropped, 0, "the observer missed frames");
        frames
    }
}

/// The EtherType of a frame.
pub fn ethertype(frame: &[u8]) -> u16 {
    u16::from_be_bytes([frame[12], frame[13]])
}
