//! ICMP echo, fast enough for a flood and exact enough to count every loss.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Read};
use std::net::{Ipv4Addr, SocketAddrV4};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use nix::sys::socket::{setsockopt, sockopt};
use socket2::{Domain, Protocol, Socket, Type};

use super::ledger::Ledger;
use super::namespace::Namespace;
use super::watcher::{Tally, Watcher};

/// How many echoes may be under way at once: enough to keep both encryptors busy, and few enough
/// that no socket's buffer overflows and looks like a loss. The watcher's, which holds requests and
/// answers at some 2.3 kB each, is 416 kB where the kernel gives it no more than it does by default.
const WINDOW: usize = 32;

/// What an echo carries: with its headers it is 1000 octets of Ethernet frame.
const PAYLOAD: usize = 958;

/// Nothing that is still on its way takes longer.
const PATIENCE: Duration = Duration::from_secs(2);

/// Sends echo requests from one namespace to an address, and counts what this puts on the cable.
pub(super) struct Pinger {
    socket: Socket,
    to: SocketAddrV4,
    next: u32,
    watcher: Watcher,
}

/// What came of a flood.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) struct Count {
    /// Requests sent.
    pub(super) sent: u32,
    /// Requests never answered.
    pub(super) lost: usize,
}

/// What came of a stream.
#[derive(Clone, Debug, Default)]
pub(super) struct Stream {
    /// Requests sent.
    pub(super) sent: u32,
    /// When each of those was sent that was never answered.
    pub(super) lost: Vec<Instant>,
    /// The longest time that none could be sent because all that may wait to be encrypted did: a
    /// machine that is too busy to encrypt in time. Such a request is sent later, and not lost.
    pub(super) held: Duration,
}

/// Room for answers that nobody has read yet, in octets: seconds of a stream.
const ROOM: usize = 16 << 20;

impl Pinger {
    pub(super) fn new(namespace: &Namespace, to: Ipv4Addr, watcher: Watcher) -> Result<Self> {
        let socket = namespace
            .run(|| Ok(Socket::new(Domain::IPV4, Type::RAW, Some(Protocol::ICMPV4))?))
            .context("opening a socket for pings")?;
        socket.set_read_timeout(Some(Duration::from_millis(1)))?;
        // A busy machine answers in bursts. Where the system grants less, that is what there is.
        if setsockopt(&socket, sockopt::RcvBufForce, &ROOM).is_err() {
            socket.set_recv_buffer_size(ROOM)?;
        }
        Ok(Self { socket, to: SocketAddrV4::new(to, 0), next: 0, watcher })
    }

    /// Ends, and tells what has crossed the cable.
    pub(super) fn finish(self) -> Result<Tally> {
        self.watcher.finish()
    }

    /// The same, with the ledger of its watcher.
    pub(super) fn finish_with_ledger(self) -> Result<(Tally, Ledger)> {
        self.watcher.finish_with_ledger()
    }

    /// Pings every millisecond until one comes back.
    ///
    /// # Errors
    ///
    /// Where none does within `limit`.
    pub(super) fn until_answered(&mut self, limit: Duration) -> Result<Instant> {
        let deadline = Instant::now() + limit;
        while Instant::now() < deadline {
            // There is no route while the secure interface has no carrier. That is what is waited for.
            let _ = self.send();
            if self.receive()?.is_some() {
                return Ok(Instant::now());
            }
        }
        bail!("no ping came through within {} s", limit.as_secs())
    }

    /// Sends as fast as answers come, until `enough` says so of the number sent.
    ///
    /// A request without an answer keeps its place in the window. Once the window holds nothing
    /// else, the flood ends early: what is in it is lost.
    pub(super) fn flood(&mut self, mut enough: impl FnMut(u32) -> bool) -> Result<Count> {
        self.drain()?;
        let (mut sent, mut last) = (0, Instant::now());
        let mut waiting = BTreeSet::new();
        loop {
            let done = enough(sent);
            let lost = waiting.len();
            if done && lost == 0 {
                return Ok(Count { sent, lost });
            }
            if !done && lost < WINDOW {
                waiting.insert(self.send().context("sending a ping")?);
                sent += 1;
                continue;
            }
            match self.receive()? {
                Some(number) if waiting.remove(&number) => last = Instant::now(),
                None if last.elapsed() >= PATIENCE => return Ok(Count { sent, lost }),
                // An answer that came twice or too late, or none yet.
                Some(_) | None => {}
            }
        }
    }

    /// Sends one request each `every`, answered or not, until `enough` says so. It does not wait in
    /// the socket: the kernel would wait for several milliseconds at least.
    pub(super) fn stream(
        &mut self,
        every: Duration,
        mut enough: impl FnMut() -> bool,
    ) -> Result<Stream> {
        self.drain()?;
        self.socket.set_nonblocking(true)?;
        let (mut stream, mut waiting) = (Stream::default(), BTreeMap::new());
        let mut due = Instant::now();
        while !enough() {
            let now = Instant::now();
            if now >= due {
                let sent = self.send();
                if sent.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock) {
                    stream.held = stream.held.max(now - due);
                } else {
                    due = now + every;
                    stream.sent += 1;
                    match sent {
                        Ok(number) => drop(waiting.insert(number, now)),
                        // There is no way at all while the secure interface is down.
                        Err(_) => stream.lost.push(now),
                    }
                }
            }
            match self.receive()? {
                Some(number) => drop(waiting.remove(&number)),
                None => thread::sleep(Duration::from_micros(100)),
            }
        }
        self.socket.set_nonblocking(false)?;
        let mut last = Instant::now();
        while !waiting.is_empty() && last.elapsed() < PATIENCE {
            if self.receive()?.is_some_and(|number| waiting.remove(&number).is_some()) {
                last = Instant::now();
            }
        }
        stream.lost.extend(waiting.into_values());
        Ok(stream)
    }

    fn drain(&mut self) -> Result<()> {
        while self.receive()?.is_some() {}
        Ok(())
    }

    /// Sends a request and returns its number.
    fn send(&mut self) -> io::Result<u32> {
        let number = self.next;
        self.socket.send_to(&echo_request(number), &self.to.into())?;
        self.next = number.wrapping_add(1);
        Ok(number)
    }

    /// The number of the next answer; `None` where none comes within a millisecond.
    fn receive(&mut self) -> Result<Option<u32>> {
        self.watcher.count()?;
        let mut packet = [0; 2048];
        loop {
            match (&self.socket).read(&mut packet) {
                Ok(length) => {
                    let number = packet.get(..length).and_then(echo_reply);
                    if number.is_some() {
                        return Ok(number);
                    }
                }
                Err(error) if is_timeout(&error) => return Ok(None),
                Err(error) => return Err(error).context("receiving a ping"),
            }
        }
    }
}

fn is_timeout(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut)
}

/// An ICMP echo request whose first four octets of payload are its number.
fn echo_request(number: u32) -> Vec<u8> {
    let mut packet = vec![8, 0, 0, 0];
    packet.extend_from_slice(&IDENTIFIER);
    packet.extend_from_slice(&[0, 0]);
    packet.extend_from_slice(&number.to_be_bytes());
    packet.resize(8 + PAYLOAD, 0x5a);
    let sum = checksum(&packet).to_be_bytes();
    if let Some(place) = packet.get_mut(2..4) {
        place.copy_from_slice(&sum);
    }
    packet
}

/// Whose echoes these are.
const IDENTIFIER: [u8; 2] = *b"MK";

/// The number of an echo reply, an IPv4 packet with its header.
fn echo_reply(packet: &[u8]) -> Option<u32> {
    let header = usize::from(packet.first()? & 0xf) * 4;
    let &[0, 0, _, _, a, b, _, _, n1, n2, n3, n4, ..] = packet.get(header..)? else { return None };
    ([a, b] == IDENTIFIER).then(|| u32::from_be_bytes([n1, n2, n3, n4]))
}

/// The Internet checksum (RFC 1071).
fn checksum(octets: &[u8]) -> u16 {
    let words = octets.chunks(2).map(|pair| match *pair {
        [high, low] => u32::from(u16::from_be_bytes([high, low])),
        [high] => u32::from(high) << 8,
        _ => 0,
    });
    let mut sum: u32 = words.sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    u16::try_from(sum).map_or(0, |sum| !sum)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_packet_with_its_checksum_sums_to_nothing() {
        assert_eq!(checksum(&echo_request(0x0102_0304)), 0);
        // RFC 1071 section 3.
        let example = [0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7];
        assert_eq!(checksum(&example), !0xddf2);
    }

    /// A machine that stops answering: every request in the window counts, and no more are sent.
    #[test]
    fn a_flood_into_the_void_ends_and_counts_its_window_as_lost() {
        let namespace = Namespace::new().unwrap();
        let watcher = Watcher::new(&namespace, "lo").unwrap();
        let mut pinger = Pinger::new(&namespace, Ipv4Addr::LOCALHOST, watcher).unwrap();
        let answered = pinger.flood(|sent| sent >= 100).unwrap();
        assert_eq!(answered, Count { sent: 100, lost: 0 });

        namespace.set("net/ipv4/icmp_echo_ignore_all", "1").unwrap();
        let unanswered = pinger.flood(|sent| sent >= 100).unwrap();
        assert_eq!(unanswered, Count { sent: 32, lost: 32 });

        // A loopback shows each packet as it goes out and as it comes in: 132 requests, 100 answers.
        let tally = pinger.finish().unwrap();
        assert_eq!((tally.to_string().as_str(), tally.missed), ("0x0800 464", 0));
    }

    #[test]
    fn only_our_own_replies_are_read() {
        let mut reply = [vec![0x45; 20], echo_request(7)].concat();
        assert_eq!(echo_reply(&reply), None, "a request is no reply");
        reply[20] = 0;
        assert_eq!(echo_reply(&reply), Some(7));
        reply[24] ^= 1;
        assert_eq!(echo_reply(&reply), None);
    }
}
