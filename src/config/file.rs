//! The configuration as a file.

use std::{
    fs::{Metadata, OpenOptions},
    io::{self, Read},
    os::unix::fs::{MetadataExt, OpenOptionsExt},
    path::Path,
};

use nix::unistd::geteuid;
use zeroize::Zeroizing;

use super::{
    Config, FILE_MAX, SystemKeys,
    diagnostic::{Code, ConfigError, Diagnostic, Source},
    reader::daemon_user,
    redact::redact,
    top::parse,
};

/// Reads a configuration and the keys it names, as the user and with the credentials of this
/// process.
///
/// # Errors
///
/// Everything that is wrong with the file, or why it could not be read.
pub fn load(path: &Path) -> Result<(Config, Vec<Diagnostic>), ConfigError> {
    let file = read(path)?;
    parse(&file.text, path, file.mode, &SystemKeys::from_env())
}

/// A configuration's text, which may hold keys, and its permission bits.
pub(crate) struct ConfigText {
    pub(crate) text: Zeroizing<String>,
    pub(crate) mode: u32,
}

/// Reads the text of a configuration.
pub(crate) fn read(path: &Path) -> Result<ConfigText, ConfigError> {
    let refuse = |diagnostic: Diagnostic| {
        let path = path.display().to_string().into();
        ConfigError::single(diagnostic, Source { path, text: "".into() })
    };
    let (octets, found) = read_octets(path).map_err(|error| {
        let help = if error.kind() == io::ErrorKind::NotFound {
            "`macsecctl check FILE` reads another file".to_owned()
        } else {
            "see that this user can read it".to_owned()
        };
        refuse(Diagnostic::error(Code::Unreadable, format!("{error}")).help(help))
    })?;
    let mode = found.mode() & 0o7777;
    let users = [Some(geteuid().as_raw()), daemon_user()];
    if let Some(unprotected) = unprotected(path, mode, found.uid(), &users) {
        return Err(refuse(unprotected));
    }
    match str::from_utf8(&octets) {
        // Copied into a string of the right size, which is wiped like the octets.
        Ok(text) => Ok(ConfigText { text: Zeroizing::new(text.to_owned()), mode }),
        Err(error) => {
            let text = Zeroizing::new(String::from_utf8_lossy(&octets).into_owned());
            // Up to the fault the lossy text is the same as the file.
            let at = error.valid_up_to();
            let source = Source {
                path: path.display().to_string().into(),
                text: redact(&text, &toml::de::DeTable::new()).into(),
            };
            let diagnostic = Diagnostic::error(Code::NotText, "the file is not UTF-8")
                .at(at..at + 1, "no character starts like this")
                .help("save it as UTF-8");
            Err(ConfigError::single(diagnostic, source))
        }
    }
}

/// Says who may change a file beside root and `users`. Whoever can change it can turn protection off
/// or put in a key of his own.
fn unprotected(path: &Path, mode: u32, owner: u32, users: &[Option<u32>]) -> Option<Diagnostic> {
    let (title, command) = if owner != 0 && !users.contains(&Some(owner)) {
        (format!("this file belongs to user {owner}, who could change it"), "chown root")
    } else {
        let (who, command) = match mode & 0o022 {
            0 => return None,
            0o020 => ("its group", "chmod g-w"),
            0o002 => ("anybody", "chmod o-w"),
            _ => ("anybody", "chmod go-w"),
        };
        (format!("{who} may change this file: its mode is {mode:04o}"), command)
    };
    let help = format!("`{command} {}`", path.display());
    Some(Diagnostic::error(Code::Unprotected, title).help(help))
}

fn read_octets(path: &Path) -> io::Result<(Zeroizing<Vec<u8>>, Metadata)> {
    // A pipe must not make the daemon wait. Links are followed: the file is often one.
    let flags = libc::O_NONBLOCK | libc::O_NOCTTY;
    let mut file = OpenOptions::new().read(true).custom_flags(flags).open(path)?;
    let found = file.metadata()?;
    if !found.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "this is not a regular file"));
    }
    let expected = usize::try_from(found.len()).unwrap_or(usize::MAX);
    if expected > FILE_MAX {
        let reason = format!("the file is larger than {FILE_MAX} octets");
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, reason));
    }
    // One buffer of fixed size, since a growing one would leave copies of keys behind. A file that
    // grows meanwhile is cut, and the last line is then mostly at fault.
    let mut octets = Zeroizing::new(vec![0; expected]);
    let mut filled = 0;
    while let Some(rest) = octets.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        match file.read(rest) {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    octets.truncate(filled);
    Ok((octets, found))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn title(mode: u32, owner: u32) -> Option<String> {
        let found = unprotected(Path::new("/c"), mode, owner, &[Some(990), None]);
        found.map(|found| format!("{}; {}", found.title(), found.advice()))
    }

    #[test]
    fn a_configuration_is_roots_or_ours_and_nobody_elses_to_change() {
        for (mode, owner) in [(0o644, 0), (0o640, 990), (0o600, 0), (0o444, 0), (0o755, 0)] {
            assert_eq!(title(mode, owner), None);
        }
        let said = |mode, owner| title(mode, owner).unwrap();
        assert_eq!(
            said(0o600, 1000),
            "this file belongs to user 1000, who could change it; `chown root /c`"
        );
        assert_eq!(
            said(0o664, 0),
            "its group may change this file: its mode is 0664; `chmod g-w /c`"
        );
        assert_eq!(
            said(0o646, 990),
            "anybody may change this file: its mode is 0646; `chmod o-w /c`"
        );
        assert_eq!(
            said(0o666, 0),
            "anybody may change this file: its mode is 0666; `chmod go-w /c`"
        );
    }
}
