//! The socket in the file system: made with care, removed by whoever made it.

use std::{
    fs, io,
    os::unix::{
        fs::{FileTypeExt, MetadataExt, PermissionsExt, chown},
        net::UnixListener,
    },
    path::{Path, PathBuf},
};

use nix::unistd::Group;
use socket2::{Domain, SockAddr, Socket, Type};
use tracing::{debug, warn};

/// Read and write, which for a socket means connect, for the owner and the group.
const MODE: u32 = 0o660;

/// A listening socket, removed from the file system when it is dropped.
#[derive(Debug)]
pub struct ControlSocket {
    listener: UnixListener,
    path: PathBuf,
    /// Device and inode, so that only what was made here is removed.
    identity: (u64, u64),
}

/// Why there is no control socket.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// The directory is not there.
    #[error(
        "the directory {} for the control socket does not exist; systemd makes it from \
         RuntimeDirectory=, by hand it is: mkdir -m 0755 {}", .0.display(), .0.display()
    )]
    NoDirectory(PathBuf),
    /// Something else has its name.
    #[error("{} is in the way of the control socket and is not a socket; it is left alone", .0.display())]
    NotASocket(PathBuf),
    /// Somebody answers there.
    #[error("another macsecd answers on {}", .0.display())]
    InUse(PathBuf),
    /// The system said no.
    #[error("the control socket {}: {source}", path.display())]
    Io {
        /// The socket.
        path: PathBuf,
        /// The system's words.
        source: io::Error,
    },
}

impl ControlSocket {
    /// Listens at `path`, for this user, root, and `group` where there is such a group.
    ///
    /// A socket that a dead daemon left behind is replaced; one that anybody answers on is not.
    /// That check cannot tell two daemons apart that start in the same instant: the service
    /// manager does.
    ///
    /// # Errors
    ///
    /// A [`BindError`]; nothing was made, and nothing but a dead socket removed.
    pub fn bind(path: &Path, group: &str) -> Result<Self, BindError> {
        let io = |source| BindError::Io { path: path.to_owned(), source };
        let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty());
        if let Some(directory) = directory
            && !directory.is_dir()
        {
            return Err(BindError::NoDirectory(directory.to_owned()));
        }
        make_way(path)?;

        let listener = UnixListener::bind(path).map_err(io)?;
        let metadata = fs::symlink_metadata(path).map_err(io)?;
        // From here on, dropping it cleans up.
        let socket =
            Self { listener, path: path.to_owned(), identity: (metadata.dev(), metadata.ino()) };
        socket.listener.set_nonblocking(true).map_err(io)?;
        // The group first: the mode is what lets it in.
        give_to_group(path, group);
        fs::set_permissions(path, fs::Permissions::from_mode(MODE)).map_err(io)?;
        Ok(socket)
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Takes part in the current tokio runtime.
    pub(crate) fn listener(&self) -> io::Result<tokio::net::UnixListener> {
        tokio::net::UnixListener::from_std(self.listener.try_clone()?)
    }
}

impl Drop for ControlSocket {
    fn drop(&mut self) {
        let ours = fs::symlink_metadata(&self.path)
            .is_ok_and(|found| (found.dev(), found.ino()) == self.identity);
        if ours && let Err(error) = fs::remove_file(&self.path) {
            debug!(%error, path = %self.path.display(), "control socket not removed");
        }
    }
}

/// Removes a socket that nobody answers on.
fn make_way(path: &Path) -> Result<(), BindError> {
    let io = |source| BindError::Io { path: path.to_owned(), source };
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(io(error)),
        Ok(found) if !found.file_type().is_socket() => {
            return Err(BindError::NotASocket(path.to_owned()));
        }
        Ok(_) => {}
    }
    if is_answered(path).map_err(io)? {
        return Err(BindError::InUse(path.to_owned()));
    }
    debug!(path = %path.display(), "removing the control socket of a daemon that is gone");
    fs::remove_file(path).map_err(io)
}

/// Finds out, without waiting, whether anybody listens at `path`.
fn is_answered(path: &Path) -> io::Result<bool> {
    let probe = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    probe.set_nonblocking(true)?;
    match probe.connect(&SockAddr::unix(path)?) {
        Ok(()) => Ok(true),
        // There is a queue, and it is full.
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => Ok(false),
        Err(error) => Err(error),
    }
}

/// Lets the group in, where there is one. Without it fewer may look, and that is safe.
fn give_to_group(path: &Path, group: &str) {
    match Group::from_name(group) {
        Ok(Some(found)) => {
            let gid = found.gid.as_raw();
            // A service that runs in that group has made the socket in it, and may not be allowed
            // to change owners at all.
            if fs::symlink_metadata(path).is_ok_and(|socket| socket.gid() == gid) {
                return;
            }
            if let Err(error) = chown(path, None, Some(gid)) {
                warn!(%error, group, "the control socket stays closed to its group");
            }
        }
        Ok(None) => debug!(group, "no such group: the control socket is for root alone"),
        Err(error) => warn!(%error, group, "cannot look up the group of the control socket"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bind(path: &Path) -> Result<ControlSocket, BindError> {
        ControlSocket::bind(path, "no-such-group")
    }

    fn place() -> (tempfile::TempDir, PathBuf) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("control.sock");
        (directory, path)
    }

    #[test]
    fn the_socket_is_for_owner_and_group_and_goes_with_its_owner() {
        let (_directory, path) = place();
        let socket = bind(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o7777, 0o660);
        drop(socket);
        assert!(!path.exists());
    }

    #[test]
    fn a_socket_that_answers_is_left_to_its_daemon() {
        let (_directory, path) = place();
        let first = bind(&path).unwrap();
        assert!(matches!(bind(&path), Err(BindError::InUse(_))));
        assert!(path.exists());
        drop(first);
    }

    #[test]
    fn a_socket_that_a_dead_daemon_left_is_replaced() {
        let (_directory, path) = place();
        drop(UnixListener::bind(&path).unwrap());
        assert!(path.exists());
        bind(&path).unwrap();
    }

    #[test]
    fn a_file_in_the_way_is_not_removed() {
        let (_directory, path) = place();
        fs::write(&path, "precious").unwrap();
        assert!(matches!(bind(&path), Err(BindError::NotASocket(_))));
        assert_eq!(fs::read_to_string(&path).unwrap(), "precious");
    }

    #[test]
    fn a_link_to_a_live_socket_is_not_followed() {
        let (directory, path) = place();
        let target = directory.path().join("other.sock");
        let _other = UnixListener::bind(&target).unwrap();
        std::os::unix::fs::symlink(&target, &path).unwrap();
        assert!(matches!(bind(&path), Err(BindError::NotASocket(_))));
    }

    #[test]
    fn a_missing_directory_is_named() {
        let (directory, _) = place();
        let missing = directory.path().join("run");
        let error = bind(&missing.join("control.sock")).unwrap_err();
        assert!(matches!(&error, BindError::NoDirectory(named) if *named == missing));
        assert!(error.to_string().contains("RuntimeDirectory="));
    }

    #[test]
    fn what_another_daemon_put_in_its_place_is_not_removed() {
        let (_directory, path) = place();
        let first = bind(&path).unwrap();
        fs::remove_file(&path).unwrap();
        let _second = UnixListener::bind(&path).unwrap();
        drop(first);
        assert!(path.exists());
    }
}
