//! The configuration file: text to values that are valid by construction.
//!
//! A file is read as a whole: [`load`] and [`parse`] give a [`Config`] with its warnings, or a
//! [`ConfigError`] with everything that is wrong, each shown with its line underlined, its reason
//! and what to do. No message holds an octet of a key, also where a key stands on the line shown.

#![forbid(unsafe_code)]

mod diagnostic;
pub mod edit;
mod file;
mod key;
mod keys;
mod port;
mod port_key;
mod reader;
mod redact;
mod rotation;
mod top;
mod values;

pub mod check;

pub use diagnostic::{Code, ConfigError, Diagnostic, Severity, render};
pub use file::load;
pub(crate) use file::read;
pub use key::{KeyConfig, KeySource};
pub use keys::Place;
pub use port::{Effective, Origin, PortConfig};
pub use reader::{DAEMON_USER, KeyFileError, KeyReader, SystemKeys};
pub use rotation::StartTime;
pub use top::{Config, ControlConfig, LogLevel, parse};

pub use crate::keyring::KEYS_MAX;
pub use crate::profile::{
    CakPadding, DataplaneChoice, LinkSettings, OffloadChoice, RotationChoice, SecurePolicy,
};

/// Where the configuration is.
pub const DEFAULT_PATH: &str = "/etc/macsecd/macsecd.toml";

/// Where the daemon listens where the configuration does not say; `control` has the same for its
/// clients, and knows nothing of the configuration.
pub const DEFAULT_SOCKET: &str = "/run/macsecd/control.sock";

/// The group that may ask for the status where the configuration names none.
pub const DEFAULT_GROUP: &str = "macsecd";

/// The most ports: more than any router has. It bounds a mistake.
pub const PORTS_MAX: usize = 1024;

/// The largest file, in octets: a thousand ports with every key and a comment on each line.
pub const FILE_MAX: usize = 4 << 20;
