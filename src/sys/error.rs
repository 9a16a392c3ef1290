//! What the machine refuses, in words an operator can act on.

use std::io;

/// Why the machine did not do what it was asked at start. What fails later, a frame at a time,
/// comes as [`io::Error`].
#[derive(Debug, thiserror::Error)]
pub enum SysError {
    /// The process lacks a capability.
    #[error("{doing}: not permitted; it needs {capability}")]
    NotPermitted {
        /// What was tried.
        doing: &'static str,
        /// What would have let it.
        capability: &'static str,
    },
    /// The kernel has no tap driver, or the container was not given its device.
    #[error("/dev/net/tun is missing: load the `tun` module, or pass the device to the container")]
    NoTun,
    /// Another interface has the name.
    #[error("an interface called `{0}` exists already")]
    NameTaken(String),
    /// No interface can have the name.
    #[error("`{0}` cannot name an interface: 1 to 15 octets without space, `/`, `:` and `%`")]
    BadName(String),
    /// No interface goes by this name or index.
    #[error("there is no interface `{0}`")]
    NoInterface(String),
    /// Anything else, as the system words it.
    #[error("{doing}: {error}")]
    Os {
        /// What was tried.
        doing: &'static str,
        /// What the system said.
        error: io::Error,
    },
}

/// What packet sockets need.
pub(super) const NET_RAW: &str = "CAP_NET_RAW";
/// What taps and the settings of interfaces need.
pub(super) const NET_ADMIN: &str = "CAP_NET_ADMIN";

impl SysError {
    /// Words a refusal of `doing`, which takes `capability`.
    pub(super) fn new(
        doing: &'static str,
        capability: &'static str,
        error: impl Into<io::Error>,
    ) -> Self {
        let error = error.into();
        if error.kind() == io::ErrorKind::PermissionDenied {
            return Self::NotPermitted { doing, capability };
        }
        Self::Os { doing, error }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_permission_names_the_capability() {
        let error = SysError::new("opening a socket", NET_RAW, nix::errno::Errno::EPERM);
        assert_eq!(error.to_string(), "opening a socket: not permitted; it needs CAP_NET_RAW");
        let error = SysError::new("opening a socket", NET_RAW, nix::errno::Errno::EMFILE);
        assert!(error.to_string().starts_with("opening a socket: Too many open files"));
    }
}
