//! The configuration file: read, changed as a whole or not at all, and put back.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _, fchown};
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use crate::cli::{ExitCode, Failure};
use crate::config::{
    self, Config, KeyReader, KeySource, SystemKeys,
    check::{CheckOptions, check_text},
};

/// A configuration file as it was found.
pub(super) struct ConfigFile {
    path: PathBuf,
    mode: u32,
    pub(super) text: Zeroizing<String>,
}

impl ConfigFile {
    /// Reads the file, which has to be sound.
    pub(super) fn read(path: &Path) -> Result<(Self, Config), Failure> {
        let refused = |error: &config::ConfigError| {
            Failure::new(ExitCode::Configuration, error.render(false))
                .hint("Nothing was changed. `macsecctl check` shows each mistake in its line.")
        };
        let found = config::read(path).map_err(|error| refused(&error))?;
        let reader = Reader(SystemKeys::from_env());
        let parsed = config::parse(&found.text, path, found.mode, &reader);
        let (config, _) = parsed.map_err(|error| refused(&error))?;
        Ok((Self { path: path.to_owned(), mode: found.mode, text: found.text }, config))
    }

    /// Refuses a text that the daemon would refuse, in the words of `macsecctl check`.
    pub(super) fn check(&self, text: &str) -> Result<(), Failure> {
        let options = CheckOptions { read_keys: true, explain: false, color: false };
        let reader = Reader(SystemKeys::from_env());
        let report = check_text(text, &self.path, self.mode, Some(&reader), options);
        if report.exit_code == ExitCode::Good as u8 {
            return Ok(());
        }
        let message = format!("the file would not be sound:\n{}", report.text.trim_end());
        Err(Failure::new(ExitCode::Configuration, message).hint("Nothing was changed."))
    }

    /// Puts a text in the place of the one that was read.
    pub(super) fn replace(&self, text: &str) -> Result<(), Failure> {
        replace(&self.path, &self.text, text).map_err(|error| self.failed(&error))
    }

    /// Puts the text back that was read, in the place of `text`.
    pub(super) fn restore(&self, text: &str) -> Result<(), Failure> {
        replace(&self.path, text, &self.text).map_err(|error| self.failed(&error))
    }

    fn failed(&self, error: &io::Error) -> Failure {
        let code = if error.kind() == io::ErrorKind::PermissionDenied {
            ExitCode::NotPermitted
        } else {
            ExitCode::Failure
        };
        let message = format!("{} cannot be changed: {error}", self.path.display());
        Failure::new(code, message).hint("It is as it was, and so is the daemon.")
    }
}

/// Replaces a file that holds `before`: another is written beside it, with its mode and owner, and
/// takes its place when it is on the disk. Whatever fails, one of the two is there, whole.
fn replace(path: &Path, before: &str, after: &str) -> io::Result<()> {
    // The file may be a link, which stays.
    let path = fs::canonicalize(path)?;
    let found = fs::metadata(&path)?;
    let (Some(folder), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "this names no file"));
    };
    let mut beside = name.to_owned();
    beside.push(format!(".{}.new", std::process::id()));
    let beside = folder.join(beside);
    let written = write(&beside, &found, after).and_then(|()| {
        if *Zeroizing::new(fs::read_to_string(&path)?) != *before {
            return Err(io::Error::other("somebody else has changed it just now"));
        }
        fs::rename(&beside, &path)
    });
    if written.is_err() {
        // Where it is not there, there is nothing to remove.
        let _ = fs::remove_file(&beside);
    }
    written?;
    File::open(folder)?.sync_all()
}

fn write(path: &Path, like: &fs::Metadata, text: &str) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    let made = file.metadata()?;
    if (made.uid(), made.gid()) != (like.uid(), like.gid()) {
        fchown(&file, Some(like.uid()), Some(like.gid()))?;
    }
    file.write_all(text.as_bytes())?;
    // After the owner: a change of that may take bits away.
    file.set_permissions(fs::Permissions::from_mode(like.mode() & 0o7777))?;
    file.sync_all()
}

/// Reads keys as the daemon does, but for credentials, which only the service has: whether those are
/// good the daemon says when it reads the file, and the old one is put back where they are not.
struct Reader(SystemKeys);

impl KeyReader for Reader {
    fn read(&self, source: &KeySource) -> Result<Zeroizing<Vec<u8>>, config::KeyFileError> {
        match source {
            KeySource::Credential(name) => Ok(stand_in(name)),
            KeySource::File(_) | KeySource::Inline => self.0.read(source),
        }
    }
}

/// Digits in the place of a key that cannot be read here: of a length that every link takes, and
/// another for each name. They are checked and thrown away.
fn stand_in(name: &str) -> Zeroizing<Vec<u8>> {
    let seed = name.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, octet| {
        (hash ^ u64::from(octet)).wrapping_mul(0x0100_0000_01b3)
    });
    let words = (1..=4_u64).map(|word| format!("{:016x}", seed.rotate_left(8).wrapping_mul(word)));
    Zeroizing::new(words.collect::<String>().into_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_keeps_its_mode_and_its_link_and_leaves_nothing_beside() {
        let folder = tempfile::tempdir().unwrap();
        let (file, link) = (folder.path().join("a.toml"), folder.path().join("link.toml"));
        fs::write(&file, "old").unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o640)).unwrap();
        std::os::unix::fs::symlink(&file, &link).unwrap();
        replace(&link, "old", "new").unwrap();
        assert_eq!(fs::read_to_string(&file).unwrap(), "new");
        assert_eq!(fs::metadata(&file).unwrap().mode() & 0o7777, 0o640);
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2);
    }

    #[test]
    fn a_file_that_somebody_else_has_changed_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("a.toml");
        fs::write(&file, "theirs").unwrap();
        assert!(replace(&file, "old", "new").is_err());
        assert_eq!(fs::read_to_string(&file).unwrap(), "theirs");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}
