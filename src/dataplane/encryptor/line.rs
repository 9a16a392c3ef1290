//! The line between a daemon and an encryptor: whole messages, in buffers that are wiped.

use std::io::{self, Read as _, Write as _};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::time::{Duration, Instant};

use nix::sys::socket::{getsockopt, sockopt};
use nix::unistd::{Pid, geteuid};
use serde::Serialize;
use serde::de::DeserializeOwned;
use socket2::{Domain, SockAddr, Socket, Type};
use zeroize::{Zeroize as _, Zeroizing};

use super::protocol::MESSAGE_MAX;

/// One end of the line.
///
/// A wait with a limit ends for any signal, even one that is handled, so each is begun again then.
#[derive(Debug)]
pub(super) struct Line {
    socket: Socket,
    /// Who is at the other end; `None` where that cannot be seen from here.
    peer: Option<Pid>,
    buffer: Buffer,
}

/// Where keys pass through. Never grows, as that would leave a copy behind.
struct Buffer(Zeroizing<Vec<u8>>);

impl std::fmt::Debug for Buffer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Buffer(..)")
    }
}

impl Line {
    /// Makes a line of a connected socket, where the other end is of our own user, or of root.
    ///
    /// # Errors
    ///
    /// [`io::ErrorKind::PermissionDenied`] where it is anybody else.
    pub(super) fn new(socket: Socket) -> io::Result<Self> {
        let peer = getsockopt(&socket, sockopt::PeerCredentials)?;
        if peer.uid() != 0 && peer.uid() != geteuid().as_raw() {
            return Err(io::ErrorKind::PermissionDenied.into());
        }
        let peer = Some(peer.pid()).filter(|&id| id > 0).map(Pid::from_raw);
        Ok(Self { socket, peer, buffer: Buffer(Zeroizing::new(vec![0; MESSAGE_MAX])) })
    }

    /// Calls whoever listens at `path`; `None` where nobody does.
    pub(super) fn call(path: &Path) -> io::Result<Option<Self>> {
        let socket = Socket::new(Domain::UNIX, Type::SEQPACKET, None)?;
        // A queue of callers that nobody looks at is not waited for.
        socket.set_nonblocking(true)?;
        if let Err(error) = socket.connect(&SockAddr::unix(path)?) {
            let nobody = [io::ErrorKind::NotFound, io::ErrorKind::ConnectionRefused];
            return if nobody.contains(&error.kind()) { Ok(None) } else { Err(error) };
        }
        socket.set_nonblocking(false)?;
        Self::new(socket).map(Some)
    }

    /// Waits no longer than this for anything.
    pub(super) fn set_patience(&self, patience: Duration) -> io::Result<()> {
        self.socket.set_read_timeout(Some(patience))?;
        self.socket.set_write_timeout(Some(patience))
    }

    /// Who is at the other end.
    pub(super) const fn peer(&self) -> Option<Pid> {
        self.peer
    }

    /// Sends octets as they are.
    pub(super) fn send_octets(&self, octets: &[u8]) -> io::Result<()> {
        // A datagram goes whole or not at all.
        again(|| (&self.socket).write(octets)).map(|_| ())
    }

    /// Sends a message.
    pub(super) fn send(&mut self, message: &impl Serialize) -> io::Result<()> {
        let Buffer(buffer) = &mut self.buffer;
        let octets = match postcard::to_slice(message, buffer) {
            Ok(octets) => octets,
            Err(error) => {
                buffer.zeroize();
                buffer.resize(MESSAGE_MAX, 0);
                return Err(io::Error::other(error));
            }
        };
        let sent = again(|| (&self.socket).write(octets)).map(|_| ());
        octets.zeroize();
        sent
    }

    /// Receives octets as they are; none where the other end has hung up.
    pub(super) fn receive_octets<'a>(&self, buffer: &'a mut [u8]) -> io::Result<&'a [u8]> {
        let length = again(|| (&self.socket).read(buffer))?;
        Ok(buffer.get(..length).unwrap_or_default())
    }

    /// Receives a message; `None` where the other end has hung up.
    ///
    /// # Errors
    ///
    /// [`io::ErrorKind::InvalidData`] where it is none; whatever the system says.
    pub(super) fn receive<T: DeserializeOwned>(&mut self) -> io::Result<Option<T>> {
        let Buffer(buffer) = &mut self.buffer;
        let length = again(|| (&self.socket).read(buffer))?;
        let octets = buffer.get_mut(..length).unwrap_or_default();
        if octets.is_empty() {
            return Ok(None);
        }
        let message = postcard::from_bytes(octets);
        octets.zeroize();
        message.map(Some).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
    }

    /// Waits until the other end has hung up; tells whether it has.
    pub(super) fn ends_within(&mut self, patience: Duration) -> bool {
        let deadline = Instant::now() + patience;
        let Buffer(buffer) = &mut self.buffer;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() || self.socket.set_read_timeout(Some(left)).is_err() {
                return false;
            }
            match (&self.socket).read(buffer) {
                // Answers that nobody waits for any more.
                Ok(1..) => {}
                Ok(0) => return true,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return error.kind() == io::ErrorKind::ConnectionReset,
            }
        }
    }
}

fn again(mut work: impl FnMut() -> io::Result<usize>) -> io::Result<usize> {
    loop {
        match work() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            done => return done,
        }
    }
}

impl AsFd for Line {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// Makes a socket at `path`, where nothing is, for another process to listen on.
pub(super) fn bind(path: &Path) -> io::Result<Socket> {
    let socket = Socket::new(Domain::UNIX, Type::SEQPACKET, None)?;
    socket.bind(&SockAddr::unix(path)?)?;
    Ok(socket)
}

/// Listens on a socket that another process has made. Whoever calls is told by the system that this
/// one answers.
pub(super) fn listen(socket: OwnedFd) -> io::Result<Socket> {
    let socket = Socket::from(socket);
    socket.listen(BACKLOG)?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

/// Callers that wait. There is one daemon, and whoever else calls is sent away.
const BACKLOG: i32 = 4;
