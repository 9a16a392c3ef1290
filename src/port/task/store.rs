//! Where the record of a port is kept over a restart of the daemon.
//!
//! It is a file in memory that lives as long as the service (`RuntimeDirectoryPreserve=restart`) and
//! goes with the boot. Each record takes the place of the one before at once and wholly, so that a
//! daemon that is killed leaves the last one whole. Without a record the next start is a cold one.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use tracing::{info, warn};

/// The largest record that is read: of 64 members, each with what it has announced.
const SIZE_MAX: u64 = 1 << 20;

/// Keeps the record of one port.
#[derive(Debug)]
pub(super) struct Store {
    path: PathBuf,
    interface: String,
    /// Nothing could be kept the last time.
    failing: bool,
}

impl Store {
    /// A store in this folder, which is made when it is needed.
    pub(super) fn new(folder: &Path, interface: &str) -> Self {
        Self { path: folder.join(interface), interface: interface.to_owned(), failing: false }
    }

    /// What was kept last, if anything can be read.
    pub(super) fn read(&self) -> Option<Vec<u8>> {
        let known = fs::symlink_metadata(&self.path).ok()?;
        (known.is_file() && known.len() <= SIZE_MAX).then(|| fs::read(&self.path).ok()).flatten()
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
                    let path = self.path.display();
                    warn!(
                        iface = %interface, %error,
                        "{path} cannot be written: a restart of the daemon will interrupt traffic"
                    );
                }
                self.failing = true;
                // Where that fails as well, it is too old in a few seconds.
                let _ = self.remove();
            }
        }
    }

    fn write(&self, record: &[u8]) -> io::Result<()> {
        let next = self.path.with_file_name(format!(".{}", self.interface));
        match fs::write(&next, record) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let folder = self.path.parent().ok_or(error)?;
                DirBuilder::new().mode(0o700).recursive(true).create(folder)?;
                fs::write(&next, record)?;
            }
            written => written?,
        }
        fs::rename(&next, &self.path)
    }

    fn remove(&self) -> io::Result<()> {
        match fs::remove_file(&self.path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            Ok(()) | Err(_) => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
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
        let folder = tempfile::tempdir().unwrap();
        let mut store = Store::new(folder.path(), "eth1");
        store.keep(Some(b"one"));
        fs::create_dir(folder.path().join(".eth1")).unwrap();
        store.keep(Some(b"two"));
        assert!(store.failing);
        assert_eq!(store.read(), None);
        fs::remove_dir(folder.path().join(".eth1")).unwrap();
        store.keep(Some(b"three"));
        assert!(!store.failing);
        assert_eq!(store.read(), Some(b"three".to_vec()));
    }

    #[test]
    fn what_is_no_file_is_not_read() {
        let folder = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink("/proc/self/status", folder.path().join("eth1")).unwrap();
        assert_eq!(Store::new(folder.path(), "eth1").read(), None);
    }
}
