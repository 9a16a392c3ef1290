//! Where keys are read from: files, and credentials of the service manager.

use std::{
    env,
    fs::{File, Metadata, OpenOptions},
    io::{self, Read},
    os::unix::fs::{MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use nix::unistd::User;
use zeroize::Zeroizing;

use super::key::KeySource;

/// The most octets in the file of a key: far more than 64 digits and a line break.
const KEY_FILE_MAX: usize = 4096;

/// Gives the text of a key that is not in the configuration itself.
pub trait KeyReader {
    /// Reads the text of a key, hexadecimal and perhaps a line break.
    ///
    /// # Errors
    ///
    /// [`KeyFileError`] where it cannot be had, or should not be trusted.
    fn read(&self, source: &KeySource) -> Result<Zeroizing<Vec<u8>>, KeyFileError>;
}

/// Why a key could not be read, or was not to be.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum KeyFileError {
    /// The service manager gave no credentials.
    #[error("there are no credentials: CREDENTIALS_DIRECTORY is not set")]
    NoCredentials,
    /// There is no such file.
    #[error("{0} does not exist")]
    Missing(PathBuf),
    /// The file may not be read.
    #[error("{0} may not be read by this user")]
    NotPermitted(PathBuf),
    /// The path ends in a symbolic link.
    #[error("{0} is a symbolic link")]
    Symlink(PathBuf),
    /// It is a directory, a pipe, a device or a socket.
    #[error("{0} is not a regular file")]
    NotAFile(PathBuf),
    /// Others can read or write it.
    #[error("{path} is open to others: its mode is {mode:04o}")]
    Open {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// It is neither root's nor ours.
    #[error("{path} belongs to user {uid}, who could change it")]
    Stranger {
        /// The file.
        path: PathBuf,
        /// Whose it is.
        uid: u32,
    },
    /// It is far too long for a key.
    #[error("{0} is too long for a key")]
    TooLong(PathBuf),
    /// Reading failed.
    #[error("{path} cannot be read: {reason}")]
    Failed {
        /// The file.
        path: PathBuf,
        /// What the system says.
        reason: String,
    },
}

impl KeyFileError {
    /// What to do about it.
    #[must_use]
    pub fn advice(&self) -> String {
        match self {
            Self::NoCredentials => "start the daemon by systemd with `LoadCredential=` or \
                                    `LoadCredentialEncrypted=` in its unit"
                .to_owned(),
            Self::Missing(path) => {
                format!("make one with `macsecctl keygen {}`", path.display())
            }
            Self::NotPermitted(path) => format!(
                "the daemon runs as {DAEMON_USER}: `chown {DAEMON_USER} {}`; to check the file, be \
                 root",
                path.display()
            ),
            Self::Symlink(_) => "name the file that the link points to".to_owned(),
            Self::NotAFile(_) => "name a file that holds the key in hexadecimal".to_owned(),
            Self::Open { path, .. } => format!("`chmod 600 {}`", path.display()),
            Self::Stranger { path, .. } => format!("`chown root {}`", path.display()),
            Self::TooLong(_) => {
                "the file is to hold the key in hexadecimal, and nothing else".into()
            }
            Self::Failed { .. } => "see that the file can be read".to_owned(),
        }
    }
}

/// Reads keys from the file system.
#[derive(Clone, Debug)]
pub struct SystemKeys {
    credentials: Option<PathBuf>,
    /// Whose files are trusted beside root's.
    users: Vec<u32>,
}

/// The user that the service runs as.
pub const DAEMON_USER: &str = "macsecd";

/// The number of [`DAEMON_USER`], where there is that user.
pub(crate) fn daemon_user() -> Option<u32> {
    User::from_name(DAEMON_USER).ok().flatten().map(|daemon| daemon.uid.as_raw())
}

impl SystemKeys {
    /// Takes the credentials of this process, and trusts the files of its user; where that is root,
    /// who may be checking what the daemon is to read, those of [`DAEMON_USER`] too.
    #[must_use]
    pub fn from_env() -> Self {
        let credentials = env::var_os("CREDENTIALS_DIRECTORY").map(PathBuf::from);
        let user = nix::unistd::geteuid();
        let daemon = daemon_user().filter(|_| user.is_root());
        Self::new(credentials, [user.as_raw()].into_iter().chain(daemon).collect())
    }

    /// Takes a directory with credentials, and the users whose files are trusted beside root's.
    #[must_use]
    pub const fn new(credentials: Option<PathBuf>, users: Vec<u32>) -> Self {
        Self { credentials, users }
    }
}

impl KeyReader for SystemKeys {
    fn read(&self, source: &KeySource) -> Result<Zeroizing<Vec<u8>>, KeyFileError> {
        match source {
            KeySource::File(path) => {
                let (file, found) = open(path)?;
                check(path, &Facts::of(&found), &self.users, 0o077)?;
                read_key(path, file)
            }
            KeySource::Credential(name) => {
                let directory = self.credentials.as_ref().ok_or(KeyFileError::NoCredentials)?;
                let path = directory.join(name);
                let (file, found) = open(&path)?;
                // The directory is private to the service. An access list that lets its user in
                // shows up in the group's bits.
                check(&path, &Facts::of(&found), &self.users, 0o007)?;
                read_key(&path, file)
            }
            KeySource::Inline => Ok(Zeroizing::new(Vec::new())),
        }
    }
}

/// What matters about a file.
struct Facts {
    is_file: bool,
    mode: u32,
    uid: u32,
}

impl Facts {
    fn of(found: &Metadata) -> Self {
        Self { is_file: found.is_file(), mode: found.mode() & 0o7777, uid: found.uid() }
    }
}

/// Opens a file without following a link at its end and without waiting for a pipe's other side.
fn open(path: &Path) -> Result<(File, Metadata), KeyFileError> {
    let flags = libc::O_NOFOLLOW | libc::O_NONBLOCK | libc::O_NOCTTY;
    let file = OpenOptions::new().read(true).custom_flags(flags).open(path);
    // Asked of what was opened, not of the path, which may name another file by now.
    file.and_then(|file| file.metadata().map(|found| (file, found)))
        .map_err(|error| from_io(path, &error))
}

fn from_io(path: &Path, error: &io::Error) -> KeyFileError {
    let path = path.to_owned();
    match error.raw_os_error() {
        Some(libc::ENOENT | libc::ENOTDIR) => KeyFileError::Missing(path),
        Some(libc::EACCES | libc::EPERM) => KeyFileError::NotPermitted(path),
        Some(libc::ELOOP) => KeyFileError::Symlink(path),
        // What opening a socket gives.
        Some(libc::ENXIO) => KeyFileError::NotAFile(path),
        _ => KeyFileError::Failed { path, reason: error.to_string() },
    }
}

fn check(path: &Path, found: &Facts, users: &[u32], forbidden: u32) -> Result<(), KeyFileError> {
    let path = || path.to_owned();
    if !found.is_file {
        return Err(KeyFileError::NotAFile(path()));
    }
    if found.uid != 0 && !users.contains(&found.uid) {
        return Err(KeyFileError::Stranger { path: path(), uid: found.uid });
    }
    if found.mode & forbidden != 0 {
        return Err(KeyFileError::Open { path: path(), mode: found.mode });
    }
    Ok(())
}

/// Reads into one buffer of fixed size, so that no copy of the key is left behind.
fn read_key(path: &Path, mut file: File) -> Result<Zeroizing<Vec<u8>>, KeyFileError> {
    let mut text = Zeroizing::new(vec![0; KEY_FILE_MAX + 1]);
    let mut filled = 0;
    while let Some(rest) = text.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        match file.read(rest) {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(from_io(path, &error)),
        }
    }
    if filled > KEY_FILE_MAX {
        return Err(KeyFileError::TooLong(path.to_owned()));
    }
    text.truncate(filled);
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judge(mode: u32, uid: u32) -> Result<(), KeyFileError> {
        check(Path::new("/k"), &Facts { is_file: true, mode, uid }, &[990], 0o077)
    }

    #[test]
    fn a_key_file_is_roots_or_ours_and_closed_to_all_others() {
        assert_eq!(judge(0o600, 0), Ok(()));
        assert_eq!(judge(0o400, 990), Ok(()));
        assert_eq!(
            judge(0o600, 1000),
            Err(KeyFileError::Stranger { path: "/k".into(), uid: 1000 })
        );
        for mode in [0o640, 0o604, 0o620, 0o602, 0o610, 0o644, 0o666] {
            assert_eq!(judge(mode, 0), Err(KeyFileError::Open { path: "/k".into(), mode }));
        }
    }

    #[test]
    fn what_is_not_a_file_is_refused_whoever_owns_it() {
        let facts = Facts { is_file: false, mode: 0o600, uid: 0 };
        let refused = check(Path::new("/k"), &facts, &[0], 0o077);
        assert_eq!(refused, Err(KeyFileError::NotAFile("/k".into())));
    }
}
