//! How the tool ends: codes that scripts rely on, and words for whoever reads them.

use std::{fmt, io};

use crate::control::{ClientError, Refusal};

/// The exit codes. They are an interface: none changes its meaning.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[repr(u8)]
pub enum ExitCode {
    /// All is well, or done.
    Good = 0,
    /// It did not work.
    Failure = 1,
    /// The command line makes no sense.
    Usage = 2,
    /// Nobody answers on the control socket.
    NotRunning = 3,
    /// This user may not.
    NotPermitted = 4,
    /// A port that was asked for is not secured.
    NotSecured = 10,
    /// All are secured, and something is amiss with one.
    Degraded = 11,
    /// The daemon refuses the configuration: `EX_CONFIG` of sysexits(3).
    Configuration = 78,
}

impl From<ExitCode> for std::process::ExitCode {
    fn from(code: ExitCode) -> Self {
        Self::from(code as u8)
    }
}

/// Why a command could not do its work.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Failure {
    /// What the process ends with.
    pub code: ExitCode,
    /// What went wrong; nothing is said where it is empty.
    pub message: String,
    /// What to do about it.
    pub hint: Option<String>,
}

impl Failure {
    /// Makes a failure that needs no advice.
    #[must_use]
    pub fn new(code: ExitCode, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), hint: None }
    }

    /// Adds what to do about it.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

/// The lines for standard error.
impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.message.is_empty() {
            return Ok(());
        }
        writeln!(f, "macsecctl: {}", self.message)?;
        self.hint.iter().try_for_each(|hint| writeln!(f, "  {hint}"))
    }
}

impl From<ClientError> for Failure {
    fn from(error: ClientError) -> Self {
        let (code, hint) = match &error {
            ClientError::NotRunning(_) => (ExitCode::NotRunning, Some(START_IT)),
            ClientError::Closed => (ExitCode::NotRunning, Some(WHY_IT_STOPPED)),
            ClientError::SocketClosed(_) => (ExitCode::NotPermitted, Some(JOIN_THE_GROUP)),
            ClientError::Refused(refusal) => of_refusal(refusal),
            ClientError::NotUnderstood(_)
            | ClientError::TimedOut
            | ClientError::Unreadable(_)
            | ClientError::Io(_) => (ExitCode::Failure, None),
        };
        Self { code, message: error.to_string(), hint: hint.map(str::to_owned) }
    }
}

const fn of_refusal(refusal: &Refusal) -> (ExitCode, Option<&'static str>) {
    match refusal {
        Refusal::NotPermitted => (ExitCode::NotPermitted, Some(BE_ROOT)),
        Refusal::NotSecured => (ExitCode::NotSecured, Some(SEE_STATUS)),
        Refusal::ReloadRefused { .. } => (ExitCode::Configuration, Some(CHECK_IT)),
        Refusal::PortNotFound { .. } => (ExitCode::Failure, Some(SEE_STATUS)),
        Refusal::NotKeyServer { .. } => (ExitCode::Failure, Some(LEAD)),
        Refusal::Busy => (ExitCode::Failure, None),
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::BrokenPipe {
            // Whoever read our output has seen enough: `macsecctl status | head -1`.
            return Self::new(ExitCode::Good, "");
        }
        Self::new(ExitCode::Failure, format!("cannot write: {error}"))
    }
}

const START_IT: &str =
    "`systemctl start macsecd` starts it; `journalctl -u macsecd` tells why it stopped.";
const WHY_IT_STOPPED: &str = "`journalctl -u macsecd` tells whether it stopped, and why.";
const JOIN_THE_GROUP: &str =
    "Run this as root, or have `usermod -aG macsecd NAME` let a user look at the status.";
const BE_ROOT: &str = "Run this with sudo.";
const SEE_STATUS: &str = "`macsecctl status` shows every port and where it stands.";
const CHECK_IT: &str = "`macsecctl check` shows each mistake in its line.";
const LEAD: &str =
    "Rekey from the other side, or give this port the lower `key-server-priority` of the two.";

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    #[test]
    fn each_trouble_has_the_code_that_the_manual_gives_it() {
        let refused = |refusal| ClientError::Refused(refusal);
        for (error, code) in [
            (ClientError::NotRunning(PathBuf::new()), 3),
            (ClientError::Closed, 3),
            (ClientError::SocketClosed(PathBuf::new()), 4),
            (refused(Refusal::NotPermitted), 4),
            (refused(Refusal::NotSecured), 10),
            (refused(Refusal::ReloadRefused { message: String::new() }), 78),
            (refused(Refusal::PortNotFound { interface: String::new() }), 1),
            (refused(Refusal::NotKeyServer { peer: String::new() }), 1),
            (refused(Refusal::Busy), 1),
            (ClientError::TimedOut, 1),
        ] {
            let text = error.to_string();
            assert_eq!(Failure::from(error).code as u8, code, "{text}");
        }
    }

    #[test]
    fn a_reader_that_has_seen_enough_is_no_failure() {
        let failure = Failure::from(io::Error::from(io::ErrorKind::BrokenPipe));
        assert_eq!((failure.code, failure.to_string()), (ExitCode::Good, String::new()));
    }

    #[test]
    fn advice_stands_below_what_went_wrong() {
        let failure = Failure::new(ExitCode::Failure, "no").hint("Try again.");
        assert_eq!(failure.to_string(), "macsecctl: no\n  Try again.\n");
    }
}
