//! Traffic through the secure interfaces.

use std::io::ErrorKind;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use macsecd::sys::PacketSocket;

use crate::rig::{Pair, Router, SECURE};

const A: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
const B: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 2);
/// What comes later has been lost: the path has no queue that holds it for so long.
const LATE: Duration = Duration::from_secs(2);
/// Datagrams on the way at once.
const WINDOW: usize = 16;

/// A conversation between both routers.
pub(crate) struct Traffic {
    a: UdpSocket,
    b: UdpSocket,
    to_b: SocketAddr,
    sequence: u64,
    pub(crate) sent: u64,
    pub(crate) lost: u64,
}

impl Traffic {
    /// Gives the secure interfaces addresses and opens sockets on them.
    pub(crate) fn new(pair: &Pair) -> Self {
        let open = |router: &Router, address| {
            router.namespace.set_ip(SECURE, address);
            let socket = router.namespace.run(|| UdpSocket::bind((address, 0))).unwrap();
            socket.set_read_timeout(Some(LATE)).unwrap();
            socket
        };
        let (a, b) = (open(&pair.a, A), open(&pair.b, B));
        let to_b = b.local_addr().unwrap();
        Self { a, b, to_b, sequence: 0, sent: 0, lost: 0 }
    }

    /// Sends a number of datagrams of all sizes and has each one sent back.
    pub(crate) fn round(&mut self) {
        let mut buffer = [0; 2048];
        let first = self.sequence;
        for _ in 0..WINDOW {
            let size = 8 + usize::try_from(self.sequence * 97 % 1400).unwrap();
            buffer[..8].copy_from_slice(&self.sequence.to_be_bytes());
            self.a.send_to(&buffer[..size], self.to_b).unwrap();
            self.sequence += 1;
        }
        let expected = first..self.sequence;
        self.sent += 2 * u64::try_from(WINDOW).unwrap();
        let forth = receive(&self.b, &expected, |octets, from| {
            self.b.send_to(octets, from).unwrap();
        });
        let back = receive(&self.a, &(0..self.sequence), |_, _| {});
        self.lost += 2 * u64::try_from(WINDOW).unwrap() - forth - back;
    }

    /// Exchanges traffic for as long as something goes on.
    pub(crate) fn during<T>(&mut self, goes_on: impl FnOnce() -> T) -> T {
        let over = AtomicBool::new(false);
        thread::scope(|scope| {
            scope.spawn(|| {
                while !over.load(Ordering::Relaxed) {
                    self.round();
                }
            });
            // Also where an assertion fails: the thread must end for the scope to.
            let _end = End(&over);
            goes_on()
        })
    }

    /// Exchanges some traffic, none of which may be lost.
    pub(crate) fn flows(&mut self) {
        for _ in 0..4 {
            self.round();
        }
        assert_eq!(self.lost, 0, "of {} datagrams", self.sent);
    }
}

/// Receives a round, and tells how many datagrams of it came.
fn receive(
    socket: &UdpSocket,
    expected: &std::ops::Range<u64>,
    mut each: impl FnMut(&[u8], SocketAddr),
) -> u64 {
    let mut buffer = [0; 2048];
    let mut count = 0;
    while count < u64::try_from(WINDOW).unwrap() {
        match socket.recv_from(&mut buffer) {
            Ok((length, from)) => {
                let octets = &buffer[..length];
                let sequence = u64::from_be_bytes(octets[..8].try_into().unwrap());
                if expected.contains(&sequence) {
                    count += 1;
                    each(octets, from);
                }
            }
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                break;
            }
            Err(error) => panic!("receiving: {error}"),
        }
    }
    count
}

/// Ends the traffic of a thread when it goes.
struct End<'a>(&'a AtomicBool);

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// What crossed the cable: key-exchange frames, protected frames with and without an SCI, others.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) struct Seen {
    pub(crate) eapol: u64,
    pub(crate) with_sci: u64,
    pub(crate) without_sci: u64,
    pub(crate) clear: u64,
}

/// Counts what a listener has heard.
pub(crate) fn count(listener: &PacketSocket) -> Seen {
    /// The bit of the tag that says that an SCI follows (802.1AE-2018 9.5).
    const SC: u8 = 0x20;
    let (mut seen, mut buffer) = (Seen::default(), [0; 2048]);
    while listener.recv(&mut buffer).is_ok() {
        match (buffer[12], buffer[13], buffer[14] & SC != 0) {
            (0x88, 0x8e, _) => seen.eapol += 1,
            (0x88, 0xe5, true) => seen.with_sci += 1,
            (0x88, 0xe5, false) => seen.without_sci += 1,
            _ => seen.clear += 1,
        }
    }
    seen
}
