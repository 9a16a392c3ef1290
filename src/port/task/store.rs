//! Where the record of a port is kept over a restart of the daemon.
//!
//! It is a file in memory that lives as long as the service (`RuntimeDirectoryPreserve=restart`) and
//! goes with the boot. Each record takes the place of the one before at once and wholly, so that a
//! daemon that is killed leaves the last one whole. Without a record the next start is a cold one.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use tracing::{info, warn};

use crate::sys::{check_private_folder, make_private_folder};

/// The largest record that is read: of 64 members, each with what it has announced.
const SIZE_MAX: u64 = 1 << 20;

/// Keeps the record of one port.
#[derive(Debug)]
pub(super) struct Store {
    folder: PathBuf,
    interface: String,
    /// Nothing could be kept the last time.
    failing: bool,
}

impl Store {
    /// A store in this folder, which is made when it is needed.
    pub(super) fn new(folder: &Path, interface: &str) -> Self {
        Self { folder: folder.to_owned(), interface: interface.to_owned(), failing: false }
    }

    /// What was kept last, if anything can be read. What stands in a folder that others can write to
    /// is nothing that we have kept.
    pub(super) fn read(&self) -> Option<Vec<u8>> {
        match check_private_folder(&self.folder) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => return None,
            Err(error) => {
                warn!(
                    iface = %self.interface, %error,
                    "{} is not gone by: the port begins afresh", self.folder.display()
                );
                return None;
            }
        }
        let path = self.path();
        let known = fs::symlink_metadata(&path).ok()?;
        (known.is_file() && known.len() <= SIZE_MAX).then(|| fs::read(&path).ok()).flatten()
    }

    fn path(&self) -> PathBuf {
        self.folder.join(&self.interface)
    }

    /// Keeps a record, or nothing. Where that fails the port goes on all the same, and says so; what
    /// was kept before must not be taken for the last record then, and goes.
    pub(super) fn keep(&mut self, record: Option<&[u8]>) {
        let kept = record.map_or_else(|| self.remove(), |record| self.write(record));
        let interface = &self.interface;
        match (kept, self.failing) {
            (Ok(()), false) => {}
            (Ok(()), true) => {
                info!(iface = %interface, "what a restart needs is kept again");
                self.failing = false;
            }
            (Err(error), failing) => {
                if !failing {
                    let folder = self.folder.display();
                    warn!(
                        iface = %interface, %error,
                        "nothing can be kept in {folder}: a restart of the daemon will interrupt \
                         traffic"
                    );
                }
                self.failing = true;
                // Where that fails as well, it is too old in a few seconds.
                let _ = self.remove();
            }
        }
    }

    fn write(&self, record: &[u8]) -> io::Result<()> {
        make_private_folder(&self.folder)?;
        let next = self.folder.join(format!(".{}", self.interface));
        fs::write(&next, record)?;
        fs::rename(&next, self.path())
    }

    /// In a folder that is not ours nothing is ours to remove.
    fn remove(&self) -> io::Result<()> {
        match check_private_folder(&self.folder).and_then(|()| fs::remove_file(self.path())) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            Ok(()) | Err(_) => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn the_last_record_is_read_by_the_next_store_until_nothing_is_to_be_kept() {
        let folder = tempfile::tempdir().unwrap();
        let records = folder.path().join("records");
        let mut store = Store::new(&records, "eth1.100");
        assert_eq!(store.read(), None);
        store.keep(Some(b"one"));
        store.keep(Some(b"two"));
        assert_eq!(Store::new(&records, "eth1.100").read(), Some(b"two".to_vec()));
        assert_eq!(Store::new(&records, "eth1").read(), None);
        store.keep(None);
        assert_eq!(store.read(), None);
        store.keep(None);
        assert!(!store.failing);
        assert_eq!(fs::read_dir(&records).unwrap().count(), 0, "something is left");
    }

    #[test]
    fn what_cannot_be_replaced_is_not_taken_for_the_last_record() {
        let inside = tempfile::tempdir().unwrap();
        let folder = inside.path().join("records");
        let mut store = Store::new(&folder, "eth1");
        store.keep(Some(b"one"));
        fs::create_dir(folder.join(".eth1")).unwrap();
        store.keep(Some(b"two"));
        assert!(store.failing);
        assert_eq!(store.read(), None);
        fs::remove_dir(folder.join(".eth1")).unwrap();
        store.keep(Some(b"three"));
        assert!(!store.failing);
        assert_eq!(store.read(), Some(b"three".to_vec()));
    }

    #[test]
    fn in_a_folder_that_others_can_open_nothing_is_read_written_or_removed() {
        let inside = tempfile::tempdir().unwrap();
        let folder = inside.path().join("records");
        let mut store = Store::new(&folder, "eth1");
        store.keep(Some(b"one"));
        let open_to = |mode| {
            fs::set_permissions(&folder, fs::Permissions::from_mode(mode)).unwrap();
        };
        open_to(0o755);
        assert_eq!(store.read(), None);
        store.keep(Some(b"two"));
        assert!(store.failing);
        store.keep(None);
        assert_eq!(fs::read(folder.join("eth1")).unwrap(), b"one");
        open_to(0o700);
        store.keep(Some(b"three"));
        assert!(!store.failing);
        assert_eq!(store.read(), Some(b"three".to_vec()));
    }

    #[test]
    fn what_is_no_file_is_not_read() {
        let inside = tempfile::tempdir().unwrap();
        let folder = inside.path().join("records");
        make_private_folder(&folder).unwrap();
        std::os::unix::fs::symlink("/proc/self/status", folder.join("eth1")).unwrap();
        assert_eq!(Store::new(&folder, "eth1").read(), None);
    }
}
