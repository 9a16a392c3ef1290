//! A namespace of the real kernel, and whoever speaks to it in raw requests.

use std::io;

use macsecd::dataplane::kernel::Netlink;
use macsecd::sys::PacketSocket;
use rtnetlink::sys::protocols::{NETLINK_GENERIC, NETLINK_ROUTE};
use rtnetlink::sys::{Socket, SocketAddr};

use crate::fake_kernel::request::Client;
use crate::netns::Namespace;

/// A socket of the real kernel, which has answered when a request has been sent.
#[derive(Debug)]
struct RealSocket(Socket);

impl RealSocket {
    fn open(protocol: isize) -> Box<dyn Netlink> {
        let socket = Socket::new(protocol).unwrap();
        socket.connect(&SocketAddr::new(0, 0)).unwrap();
        socket.set_ext_ack(true).unwrap();
        socket.set_cap_ack(true).unwrap();
        socket.set_non_blocking(true).unwrap();
        Box::new(Self(socket))
    }
}

impl Netlink for RealSocket {
    fn send(&mut self, datagram: &[u8]) -> io::Result<()> {
        self.0.send(datagram, 0).map(|_| ())
    }

    fn receive(&mut self, mut buffer: &mut [u8]) -> io::Result<usize> {
        self.0.recv(&mut buffer, 0)
    }
}

/// The two sockets, inside a namespace.
pub(crate) fn sockets(namespace: &Namespace) -> (Box<dyn Netlink>, Box<dyn Netlink>) {
    namespace.run(|| (RealSocket::open(NETLINK_ROUTE), RealSocket::open(NETLINK_GENERIC)))
}

/// Speaks to the kernel from inside a namespace.
pub(crate) fn client(namespace: &Namespace) -> Client {
    let (route, generic) = sockets(namespace);
    let client = Client::new(route, generic);
    assert_ne!(client.family, 0, "this kernel has no MACsec: `make kernel-test` brings one");
    client
}

/// Has frames go out through an interface, as many as it takes.
pub(crate) fn send(namespace: &Namespace, interface: &str, frames: usize) {
    let index = namespace.index(interface);
    let socket = namespace.run(|| PacketSocket::sender(index).unwrap());
    for _ in 0..frames {
        // One that is down refuses, and one without a key drops.
        let _ = socket.send(&FRAME);
    }
}

/// To everybody, of an EtherType for experiments.
pub(crate) const FRAME: [u8; 64] = {
    let mut frame = [0xff; 64];
    (frame[6], frame[12], frame[13]) = (0x02, 0x88, 0xb5);
    frame
};
