//! How one thread ends another's wait.

use std::os::fd::{AsFd, BorrowedFd};

use nix::errno::Errno;
use nix::sys::eventfd::{EfdFlags, EventFd};

use super::SysError;
use super::error::NET_ADMIN;

/// A flag that can be waited for with `poll`, beside sockets.
#[derive(Debug)]
pub struct Wakeup(EventFd);

impl Wakeup {
    /// Makes one that is not raised.
    ///
    /// # Errors
    ///
    /// [`SysError::Os`] where the process may open no more files.
    pub fn new() -> Result<Self, SysError> {
        EventFd::from_flags(EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK)
            .map(Self)
            .map_err(|errno| SysError::new("opening an eventfd", NET_ADMIN, errno))
    }

    /// Raises the flag; raising it twice is raising it once.
    pub fn notify(&self) {
        // The only failure is EAGAIN, where 2^64 - 2 earlier calls are still unread: it is raised.
        let _ = self.0.write(1);
    }

    /// Lowers the flag, and tells whether it was raised.
    #[must_use]
    pub fn take(&self) -> bool {
        loop {
            match self.0.read() {
                Ok(_) => return true,
                Err(Errno::EINTR) => {}
                Err(_) => return false,
            }
        }
    }
}

impl AsFd for Wakeup {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

    use super::*;

    #[test]
    fn a_raised_flag_is_seen_by_poll_until_it_is_taken() {
        let wakeup = Wakeup::new().unwrap();
        let ready = || {
            let mut fds = [PollFd::new(wakeup.as_fd(), PollFlags::POLLIN)];
            poll(&mut fds, PollTimeout::ZERO).unwrap()
        };
        assert_eq!((ready(), wakeup.take()), (0, false));
        wakeup.notify();
        wakeup.notify();
        assert_eq!(ready(), 1);
        assert!(wakeup.take());
        assert_eq!((ready(), wakeup.take()), (0, false));
    }
}
