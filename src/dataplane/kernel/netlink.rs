//! Asks the kernel, and hears what it says.
//!
//! The kernel deals with a request while it is sent, so one that was sent and whose answer is lost
//! has been carried out or refused all the same: [`Failure::Unanswered`] means "look". Everything is
//! asked with a sequence number of its own, and answers to anything older are passed over.

use std::fmt;
use std::io;
use std::os::fd::AsRawFd as _;

use nix::errno::Errno;
use nix::sys::socket::{MsgFlags, recv, setsockopt, sockopt};
use nix::sys::time::{TimeVal, TimeValLike as _};
use rtnetlink::sys::{Socket, SocketAddr};
use zeroize::Zeroizing;

use super::message::{Attributes, HEADER_LEN, Message, Request, messages};
use super::uapi::{
    NLM_F_ACK_TLVS, NLM_F_CAPPED, NLM_F_DUMP, NLM_F_DUMP_INTR, NLMSG_DONE, NLMSG_ERROR,
    NLMSGERR_ATTR_MSG,
};

/// One netlink socket: the kernel's, or in a test a model of the kernel.
pub trait Netlink: fmt::Debug + Send {
    /// Sends one datagram, with one request in it. The kernel has dealt with it when this returns.
    ///
    /// # Errors
    ///
    /// What the system says; the request has not been looked at then.
    fn send(&mut self, datagram: &[u8]) -> io::Result<()>;

    /// Receives one datagram, with one or more messages in it, and tells its length.
    ///
    /// # Errors
    ///
    /// [`io::ErrorKind::WouldBlock`] where none has come in the time that the socket waits; ENOBUFS
    /// where some were lost; EINTR; whatever else the system says.
    fn receive(&mut self, buffer: &mut [u8]) -> io::Result<usize>;
}

/// The kernel's.
#[derive(Debug)]
pub(super) struct KernelSocket(Socket);

/// How long to wait for an answer. It is there when the request has been sent.
const PATIENCE_MS: i64 = 500;
/// What the socket may hold of answers that are still to be read: a dump comes in pieces of 32 KiB
/// at most, and the next is made when one has been read.
const RECEIVE_BUFFER: i32 = 1 << 20;
/// The room for what one call receives. The kernel makes the pieces of a dump to fit, up to this
/// size.
const BUFFER: usize = 32 * 1024;

impl KernelSocket {
    /// Opens a socket in the network namespace of this thread.
    pub(super) fn open(protocol: isize) -> io::Result<Self> {
        let socket = Socket::new(protocol)?;
        socket.connect(&SocketAddr::new(0, 0))?;
        // Or the kernel would send a refused request back, and a key with it.
        socket.set_cap_ack(true)?;
        // These only make errors clearer and losses rarer.
        let _ = socket.set_ext_ack(true);
        let _ = socket.set_rx_buf_sz(RECEIVE_BUFFER);
        // Two settings that the library has no function for.
        let patience = TimeVal::milliseconds(PATIENCE_MS);
        setsockopt(&socket, sockopt::ReceiveTimeout, &patience)?;
        setsockopt(&socket, sockopt::SendTimeout, &patience)?;
        Ok(Self(socket))
    }
}

impl Netlink for KernelSocket {
    fn send(&mut self, datagram: &[u8]) -> io::Result<()> {
        self.0.send(datagram, 0).map(|_| ())
    }

    fn receive(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        // Not the library's own: that fills a buffer of its own making.
        let length = recv(self.0.as_raw_fd(), buffer, MsgFlags::MSG_TRUNC)?;
        // A message that was cut is as good as lost.
        if length > buffer.len() { Err(Errno::ENOBUFS.into()) } else { Ok(length) }
    }
}

/// Why a request has no good answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    /// The kernel refused, and nothing has changed.
    #[error("{}", words(*.errno, .text))]
    Refused { errno: Errno, text: String },
    /// It could not be sent: nothing has changed.
    #[error("asking the kernel: {0}")]
    Unsent(io::Error),
    /// The answer is lost. What was asked for may have been done.
    #[error("the kernel's answer is lost: {0}")]
    Unanswered(io::Error),
}

fn words(errno: Errno, text: &str) -> String {
    match text {
        "" => errno.desc().to_owned(),
        text => format!("{} ({text})", errno.desc()),
    }
}

impl Failure {
    /// What the kernel said, where it refused.
    pub(super) const fn errno(&self) -> Option<Errno> {
        match self {
            Self::Refused { errno, .. } => Some(*errno),
            Self::Unsent(_) | Self::Unanswered(_) => None,
        }
    }
}

/// A socket, and what is needed to tell its answers apart.
#[derive(Debug)]
pub(super) struct Conversation {
    socket: Box<dyn Netlink>,
    sequence: u32,
    buffer: Zeroizing<Vec<u8>>,
}

/// How often a call is made again after a signal.
const INTERRUPTIONS_MAX: usize = 16;
/// How often a list is asked for again that changed while it was made.
const DUMPS_MAX: usize = 8;
/// Datagrams in one answer: a dump of ten thousand interfaces has fewer.
const DATAGRAMS_MAX: usize = 4096;

/// How an answer ended.
enum End {
    Good,
    /// Parts of it do not fit together, or are lost.
    Torn,
}

impl Conversation {
    pub(super) fn new(socket: Box<dyn Netlink>) -> Self {
        Self { socket, sequence: 0, buffer: Zeroizing::new(vec![0; BUFFER]) }
    }

    /// Has something done.
    pub(super) fn tell(&mut self, request: Request) -> Result<(), Failure> {
        self.send(request)?;
        match self.hear(|_| {})? {
            End::Good => Ok(()),
            End::Torn => Err(Failure::Unanswered(Errno::ENOBUFS.into())),
        }
    }

    /// Asks for one thing, and shows every message of the answer.
    pub(super) fn ask(
        &mut self,
        request: impl Fn() -> Request,
        mut show: impl FnMut(&Message<'_>),
    ) -> Result<(), Failure> {
        for _ in 0..DUMPS_MAX {
            self.send(request())?;
            if matches!(self.hear(&mut show)?, End::Good) {
                return Ok(());
            }
        }
        Err(Failure::Unanswered(Errno::ENOBUFS.into()))
    }

    /// Asks for a list, and gives what `read` makes of its messages. One that changed while it was
    /// made is asked for again.
    pub(super) fn list<T>(
        &mut self,
        request: impl Fn(u16) -> Request,
        mut read: impl FnMut(&Message<'_>) -> Option<T>,
    ) -> Result<Vec<T>, Failure> {
        for _ in 0..DUMPS_MAX {
            let mut found = Vec::new();
            self.send(request(NLM_F_DUMP))?;
            if matches!(self.hear(|message| found.extend(read(message)))?, End::Good) {
                return Ok(found);
            }
        }
        Err(Failure::Unanswered(io::Error::other("the list changes all the time")))
    }

    fn send(&mut self, request: Request) -> Result<(), Failure> {
        self.sequence = self.sequence.wrapping_add(1).max(1);
        let datagram = request.finish(self.sequence);
        let mut result = Ok(());
        for _ in 0..INTERRUPTIONS_MAX {
            result = self.socket.send(&datagram);
            if !result.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::Interrupted) {
                break;
            }
        }
        result.map_err(Failure::Unsent)
    }

    /// Hears the answer to what was sent last, to its end.
    fn hear(&mut self, mut show: impl FnMut(&Message<'_>)) -> Result<End, Failure> {
        let (mut torn, mut interruptions) = (false, 0);
        for _ in 0..DATAGRAMS_MAX {
            let length = match self.socket.receive(&mut self.buffer) {
                Ok(length) => length,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {
                    interruptions += 1;
                    if interruptions > INTERRUPTIONS_MAX {
                        return Err(Failure::Unanswered(error));
                    }
                    continue;
                }
                // Some of the answer is lost; its end may still come.
                Err(error) if error.raw_os_error() == Some(libc::ENOBUFS) => {
                    torn = true;
                    continue;
                }
                Err(_) if torn => return Ok(End::Torn),
                Err(error) => return Err(Failure::Unanswered(error)),
            };
            let datagram = self.buffer.get(..length).unwrap_or_default();
            for message in messages(datagram).filter(|of| of.sequence == self.sequence) {
                torn |= message.flags & NLM_F_DUMP_INTR != 0;
                match message.kind {
                    NLMSG_ERROR | NLMSG_DONE => {
                        verdict(&message)?;
                        return Ok(if torn { End::Torn } else { End::Good });
                    }
                    _ => show(&message),
                }
            }
        }
        Err(Failure::Unanswered(io::Error::other("the answer has no end")))
    }
}

/// Reads what an answer ends with: an errno, negative, and perhaps words.
fn verdict(message: &Message<'_>) -> Result<(), Failure> {
    let number = message.payload.first_chunk().map_or(0, |octets| i32::from_ne_bytes(*octets));
    if number == 0 {
        return Ok(());
    }
    let mut skip = 4;
    if message.kind == NLMSG_ERROR {
        // The request follows, or only its header where the answer was to be short.
        let request = message.payload.get(4..).unwrap_or_default();
        let length = request.first_chunk().map_or(0, |octets| u32::from_ne_bytes(*octets));
        let capped = message.flags & NLM_F_CAPPED != 0;
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        skip += if capped { HEADER_LEN } else { length.next_multiple_of(4) };
    }
    let text = (message.flags & NLM_F_ACK_TLVS != 0)
        .then(|| Attributes::after(message.payload, skip).text(NLMSGERR_ATTR_MSG))
        .flatten();
    let errno = Errno::from_raw(number.checked_neg().unwrap_or(0));
    Err(Failure::Refused { errno, text: text.unwrap_or_default() })
}
