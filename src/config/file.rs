//! The configuration as a file.

use std::{
    fs::OpenOptions,
    io::{self, Read},
    os::unix::fs::{MetadataExt, OpenOptionsExt},
    path::Path,
};

use zeroize::Zeroizing;

use super::{
    Config, FILE_MAX, SystemKeys,
    diagnostic::{Code, ConfigError, Diagnostic, Source},
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
    let (octets, mode) = read_octets(path).map_err(|error| {
        let help = if error.kind() == io::ErrorKind::NotFound {
            "`macsecctl check FILE` reads another file".to_owned()
        } else {
            "see that this user can read it".to_owned()
        };
        refuse(Diagnostic::error(Code::Unreadable, format!("{error}")).help(help))
    })?;
    if mode & 0o002 != 0 {
        let title = format!("anybody may change this file: its mode is {mode:04o}");
        let help = format!("`chmod o-w {}`", path.display());
        return Err(refuse(Diagnostic::error(Code::Unprotected, title).help(help)));
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

fn read_octets(path: &Path) -> io::Result<(Zeroizing<Vec<u8>>, u32)> {
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
    Ok((octets, found.mode() & 0o7777))
}
