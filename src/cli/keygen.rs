//! `macsecctl keygen`: a new CKN and CAK, the CAK into a file that nobody else can read.

#![forbid(unsafe_code)]

use std::{
    fmt::Write as _,
    fs::{self, File, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::{OpenOptionsExt, fchown},
    path::{Path, PathBuf},
};

use clap::ValueEnum;
use nix::unistd::{User, geteuid};
use zeroize::Zeroizing;

use super::{ExitCode, Failure, Screen};
use crate::config::DAEMON_USER;
use crate::crypto::NoEntropy;

/// What to make, and where it goes.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The file for the CAK; it must not be there yet.
    #[arg(value_name = "FILE", required_unless_present = "stdout")]
    file: Option<PathBuf>,
    /// How long the CAK is, in bits.
    #[arg(long, value_enum, default_value_t, value_name = "LENGTH")]
    bits: CakSize,
    /// Print the CAK and leave no file.
    #[arg(long, conflicts_with = "file")]
    stdout: bool,
}

/// Makes a key and prints the lines that name it.
pub(crate) fn run(args: &Args, screen: &mut Screen<'_>) -> Result<ExitCode, Failure> {
    let destination = match &args.file {
        Some(path) => Destination::File { path: path.clone(), owner: Owner::of_the_daemon() },
        None => Destination::Stdout,
    };
    let text = keygen(&mut random, args.bits, &destination).map_err(|error| {
        let failure = Failure::new(ExitCode::Failure, error.to_string());
        match error.hint() {
            Some(hint) => failure.hint(hint),
            None => failure,
        }
    })?;
    screen.print(&text)?;
    Ok(ExitCode::Good)
}

/// How long a new CAK is. A new CKN always has 32 octets.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, ValueEnum)]
pub(crate) enum CakSize {
    /// 16 octets.
    #[value(name = "128")]
    Bits128,
    /// 32 octets.
    #[default]
    #[value(name = "256")]
    Bits256,
}

/// Where a new CAK goes.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Destination {
    /// Into a new file, mode 0600.
    File {
        /// The file.
        path: PathBuf,
        /// Whose it becomes; `None` leaves it to whoever makes it.
        owner: Option<Owner>,
    },
    /// Into the text to print, for whoever asks for just that.
    Stdout,
}

/// A user and its group.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Owner {
    /// The user.
    pub(crate) user: u32,
    /// The group.
    pub(crate) group: u32,
}

impl Owner {
    /// The user of the service, where there is one and files may be given to it.
    pub(crate) fn of_the_daemon() -> Option<Self> {
        let user = User::from_name(DAEMON_USER).ok().flatten().filter(|_| geteuid().is_root())?;
        Some(Self { user: user.uid.as_raw(), group: user.gid.as_raw() })
    }
}

/// Why there is no new key.
#[derive(Debug, thiserror::Error)]
pub(crate) enum KeygenError {
    /// There are no random numbers.
    #[error(transparent)]
    NoEntropy(#[from] NoEntropy),
    /// A file of that name is there already.
    #[error("{0} is there already, and a key is never overwritten")]
    Exists(PathBuf),
    /// The configuration file could not name the file.
    #[error("the name of a key file is UTF-8 without control characters")]
    BadName,
    /// The file could not be written. It is not there then.
    #[error("{path} cannot be written: {error}")]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system says.
        error: io::Error,
    },
}

impl KeygenError {
    fn hint(&self) -> Option<String> {
        match self {
            Self::Exists(_) => Some("Name another file, or move this one away.".to_owned()),
            Self::Io { path, error } if error.kind() == io::ErrorKind::NotFound => {
                let directory = path.parent()?.display();
                let command = format!("install -d -o {DAEMON_USER} -m 700 {directory}");
                Some(format!("Make its directory first: `{command}`."))
            }
            Self::Io { .. } | Self::NoEntropy(_) | Self::BadName => None,
        }
    }
}

/// Makes a CKN and a CAK, and gives the lines for the configuration file.
///
/// The CAK is in the text only if it goes to [`Destination::Stdout`].
///
/// # Errors
///
/// [`KeygenError`]; no file is left behind.
pub(crate) fn keygen(
    fill: Fill<'_>,
    size: CakSize,
    destination: &Destination,
) -> Result<Zeroizing<String>, KeygenError> {
    let mut ckn = [0; 32];
    fill(&mut ckn)?;
    let mut cak = Zeroizing::new([0; 32]);
    let cak = match size {
        CakSize::Bits128 => cak.first_chunk_mut::<16>().map(<[u8; 16]>::as_mut_slice),
        CakSize::Bits256 => Some(cak.as_mut_slice()),
    };
    let cak = cak.unwrap_or_default();
    fill(cak)?;
    let (ckn, digits) = (hex(&ckn), hex(cak));
    // Sized once, so that no copy of the key is left behind.
    let mut text = Zeroizing::new(String::with_capacity(4096));
    match destination {
        Destination::File { path, owner } => {
            let path = std::path::absolute(path)
                .map_err(|error| KeygenError::Io { path: path.clone(), error })?;
            let name = quoted(&path)?;
            write_key(&path, *owner, &digits)?;
            let _ = write!(text, "[[port.key]]\nckn = \"{}\"\ncak = \"file:{name}\"\n", *ckn);
        }
        Destination::Stdout => {
            let _ = write!(
                text,
                "# A configuration with this key in it has to be closed to others: chmod 600.\n\
                 [[port.key]]\nckn = \"{}\"\ncak = \"{}\"\n",
                *ckn, *digits,
            );
        }
    }
    Ok(text)
}

fn hex(octets: &[u8]) -> Zeroizing<String> {
    let mut digits = Zeroizing::new(String::with_capacity(octets.len() * 2));
    for octet in octets {
        let _ = write!(digits, "{octet:02x}");
    }
    digits
}

/// The path as the inside of a TOML string.
fn quoted(path: &Path) -> Result<String, KeygenError> {
    let path = path.to_str().filter(|path| !path.contains(char::is_control));
    Ok(path.ok_or(KeygenError::BadName)?.replace('\\', "\\\\").replace('"', "\\\""))
}

/// Writes a new file and makes sure that it is on the disk.
fn write_key(path: &Path, owner: Option<Owner>, digits: &str) -> Result<(), KeygenError> {
    let create = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
    let mut file = create.map_err(|error| match error.kind() == io::ErrorKind::AlreadyExists {
        true => KeygenError::Exists(path.to_owned()),
        false => KeygenError::Io { path: path.to_owned(), error },
    })?;
    let directory = path.parent().unwrap_or(Path::new("/"));
    // Given away while it is empty.
    let given = owner.map_or(Ok(()), |owner| fchown(&file, Some(owner.user), Some(owner.group)));
    given
        .and_then(|()| file.write_all(digits.as_bytes()))
        .and_then(|()| file.write_all(b"\n"))
        .and_then(|()| file.sync_all())
        .and_then(|()| File::open(directory)?.sync_all())
        .map_err(|error| {
            // Half a key is worse than none, and the file is ours.
            let _ = fs::remove_file(path);
            KeygenError::Io { path: path.to_owned(), error }
        })
}

/// Fills what it is given with random octets.
type Fill<'a> = &'a mut dyn FnMut(&mut [u8]) -> Result<(), NoEntropy>;

/// The randomness of the operating system, by way of the crypto library's generator.
fn random(out: &mut [u8]) -> Result<(), NoEntropy> {
    aws_lc_rs::rand::fill(out).map_err(|_| NoEntropy)
}

#[cfg(test)]
mod tests {
    use std::{env, os::unix::fs::PermissionsExt, process};

    use super::*;

    /// Counts up, so that a test can write down what comes out.
    fn counting() -> impl FnMut(&mut [u8]) -> Result<(), NoEntropy> {
        let mut next = 0_u8;
        move |out| {
            for octet in out {
                *octet = next;
                next = next.wrapping_add(1);
            }
            Ok(())
        }
    }

    fn dry(_: &mut [u8]) -> Result<(), NoEntropy> {
        Err(NoEntropy)
    }

    const CKN: &str = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";
    const CAK: &str = "202122232425262728292a2b2c2d2e2f";

    fn scratch(name: &str) -> PathBuf {
        let path = env::temp_dir().join(format!("macsecd-keygen-{}-{name}", process::id()));
        fs::remove_dir_all(&path).ok();
        fs::create_dir(&path).unwrap();
        path
    }

    #[test]
    fn a_key_goes_into_a_private_file_and_not_into_the_text() {
        let path = scratch("new").join("link1.cak");
        let to = Destination::File { path: path.clone(), owner: None };
        let text = keygen(&mut counting(), CakSize::Bits128, &to).unwrap();
        assert_eq!(
            *text,
            format!("[[port.key]]\nckn = \"{CKN}\"\ncak = \"file:{}\"\n", path.display())
        );
        assert_eq!(fs::read_to_string(&path).unwrap(), format!("{CAK}\n"));
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o7777, 0o600);
        fs::remove_dir_all(path.parent().unwrap()).unwrap();
    }

    #[test]
    fn a_file_that_exists_is_left_as_it_is() {
        let path = scratch("exists").join("link1.cak");
        fs::write(&path, "old").unwrap();
        let to = Destination::File { path: path.clone(), owner: None };
        let refused = keygen(&mut counting(), CakSize::Bits256, &to);
        assert!(matches!(refused, Err(KeygenError::Exists(_))));
        assert_eq!(fs::read_to_string(&path).unwrap(), "old");
        fs::remove_dir_all(path.parent().unwrap()).unwrap();
    }

    #[test]
    fn without_randomness_there_is_no_key_and_no_file() {
        let path = scratch("dry").join("link1.cak");
        let to = Destination::File { path: path.clone(), owner: None };
        let refused = keygen(&mut dry, CakSize::Bits256, &to);
        assert!(matches!(refused, Err(KeygenError::NoEntropy(_))));
        assert!(!path.exists());
        fs::remove_dir_all(path.parent().unwrap()).unwrap();
    }

    #[test]
    fn a_directory_that_is_not_there_is_named() {
        let to = Destination::File { path: "/nonexistent/macsecd/link1.cak".into(), owner: None };
        let refused = keygen(&mut counting(), CakSize::Bits256, &to).unwrap_err();
        let said = refused.to_string();
        assert!(said.starts_with("/nonexistent/macsecd/link1.cak cannot be written: "), "{said}");
        let hint = refused.hint().unwrap();
        assert!(hint.ends_with("`install -d -o macsecd -m 700 /nonexistent/macsecd`."), "{hint}");
    }

    #[test]
    fn a_key_is_in_the_text_where_it_was_asked_for() {
        let text = keygen(&mut counting(), CakSize::Bits128, &Destination::Stdout).unwrap();
        assert!(text.ends_with(&format!("ckn = \"{CKN}\"\ncak = \"{CAK}\"\n")));
    }

    #[test]
    fn a_key_file_is_given_to_the_user_of_the_daemon() {
        use std::os::unix::fs::MetadataExt;
        if !geteuid().is_root() {
            return;
        }
        let path = scratch("owner").join("link1.cak");
        let owner = Some(Owner { user: 12345, group: 12346 });
        let to = Destination::File { path: path.clone(), owner };
        keygen(&mut counting(), CakSize::Bits256, &to).unwrap();
        let found = fs::metadata(&path).unwrap();
        assert_eq!((found.uid(), found.gid(), found.mode() & 0o7777), (12345, 12346, 0o600));
        fs::remove_dir_all(path.parent().unwrap()).unwrap();
    }

    #[test]
    fn two_keys_differ() {
        let make = || keygen(&mut random, CakSize::Bits256, &Destination::Stdout).unwrap();
        assert_ne!(*make(), *make());
    }
}
