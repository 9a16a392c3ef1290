//! How a task of the runtime waits for a descriptor.

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use tokio::io::Interest;
use tokio::io::unix::{AsyncFd, AsyncFdReadyGuard};

/// Tells when a descriptor has something to read. It holds a duplicate, so that the original can
/// be used, and dropped, freely; what is open stays open until both are gone.
#[derive(Debug)]
pub struct Readiness(AsyncFd<OwnedFd>);

impl Readiness {
    /// Watches `source`, which must be non-blocking, on the current runtime.
    ///
    /// # Errors
    ///
    /// Where the process may open no more files, or the descriptor is of a kind that is always
    /// ready.
    pub fn of(source: &impl AsFd) -> io::Result<Self> {
        let duplicate = source.as_fd().try_clone_to_owned()?;
        // SAFETY: the descriptor must stay open and be the same one while it is registered. An
        // `OwnedFd` is both until it is dropped, and it is moved in: nobody else can drop it.
        let watched = unsafe { AsyncFd::register_with_interest(duplicate, Interest::READABLE) }?;
        Ok(Self(watched))
    }

    /// Waits until there is something to read. Where reading shows that it was the last,
    /// [`AsyncFdReadyGuard::clear_ready`] makes the next call wait. Dropping this future loses
    /// nothing.
    ///
    /// # Errors
    ///
    /// Where the runtime is shutting down.
    pub async fn readable(&self) -> io::Result<AsyncFdReadyGuard<'_, OwnedFd>> {
        self.0.readable().await
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::os::unix::net::UnixStream;
    use std::time::Duration;

    use tokio::time::timeout;

    use super::*;

    #[test]
    fn it_is_ready_while_there_is_something_to_read() {
        const A_WHILE: Duration = Duration::from_millis(20);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let (mut near, mut far) = UnixStream::pair().unwrap();
            near.set_nonblocking(true).unwrap();
            let readiness = Readiness::of(&near).unwrap();
            assert!(timeout(A_WHILE, readiness.readable()).await.is_err());

            far.write_all(b"a").unwrap();
            let mut ready = readiness.readable().await.unwrap();
            assert_eq!(near.read(&mut [0; 8]).unwrap(), 1);
            ready.clear_ready();
            assert!(timeout(A_WHILE, readiness.readable()).await.is_err());
        });
    }
}
