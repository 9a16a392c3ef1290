//! Asks the kernel, and hears what it says.

use std::fmt;
use std::io;

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
