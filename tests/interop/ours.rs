//! Our end: a `macsecd`, asked over its control socket.

use std::fmt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use macsecd::control::{Client, ClientError, PortState, PortStatus};

use crate::member::{Member, Process, Terms, write_private};
use crate::place::{CABLE, Machine, SECURE};

/// Who protects the frames at our end.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Plane {
    Kernel,
    Userspace,
}

impl fmt::Display for Plane {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Kernel => "kernel",
            Self::Userspace => "userspace",
        })
    }
}

/// A running daemon.
pub(crate) struct Ours {
    process: Process,
    socket: PathBuf,
}

/// Between one question and the next.
const NAP: Duration = Duration::from_millis(10);

impl Ours {
    /// Starts it, and returns at once. `folder` is for its files; `name` tells them from others'.
    pub(crate) fn start(
        machine: &Machine,
        folder: &Path,
        name: &str,
        terms: &Terms,
        plane: Plane,
    ) -> Result<Self> {
        let file = |suffix: &str| folder.join(format!("{name}.{suffix}"));
        write_private(&file("toml"), &text(terms, plane))?;
        let mut command = Command::new(env!("CARGO_BIN_EXE_macsecd"));
        command.arg("--config").arg(file("toml")).arg("--socket").arg(file("sock"));
        command.args(["--log-level", "debug"]).env_remove("JOURNAL_STREAM");
        let process = Process::start(machine, &mut command, &file("log"))?;
        Ok(Self { process, socket: file("sock") })
    }

    /// Where the port stands; `None` before the daemon listens.
    pub(crate) fn port(&self) -> Result<Option<PortStatus>> {
        let mut client = match Client::connect(&self.socket) {
            Err(ClientError::NotRunning(_)) => return Ok(None),
            other => other?,
        };
        Ok(client.status(None)?.status.ports.into_iter().next())
    }

    /// The port, which is there by now.
    pub(crate) fn settled_port(&self) -> Result<PortStatus> {
        self.port()?.context("macsecd does not listen")
    }

    /// The number of the SAK in use.
    pub(crate) fn key_number(&self) -> Result<Option<u32>> {
        Ok(self.settled_port()?.sak.map(|sak| sak.key_number))
    }

    /// Has a new SAK made.
    pub(crate) fn rekey(&self) -> Result<()> {
        Ok(Client::connect(&self.socket)?.rekey(CABLE)?)
    }

    /// Ends it, as a crash does or as an operator would.
    pub(crate) fn end(&mut self, crash: bool) -> Result<()> {
        if crash { self.process.crash() } else { self.process.stop() }
    }

    /// Ends it for the next one to go on, as a restart of its service does.
    pub(crate) fn leave(&mut self) -> Result<()> {
        self.process.leave()
    }
}

impl Drop for Ours {
    /// One that is told to end takes its encryptor along; else that would be in the way of the next.
    fn drop(&mut self) {
        let _ = self.process.stop();
    }
}

impl Member for Ours {
    fn is_secured(&self) -> Result<bool> {
        Ok(self.port()?.is_some_and(|port| port.state == PortState::Secured))
    }

    /// Asks, for a watch is told at most a few times a second.
    fn until_secured(&self, deadline: Instant) -> Result<()> {
        let mut client = loop {
            match Client::connect(&self.socket) {
                Err(ClientError::NotRunning(_)) if Instant::now() < deadline => thread::sleep(NAP),
                other => break other?,
            }
        };
        loop {
            let ports = client.status(None)?.status.ports;
            if ports.iter().any(|port| port.state == PortState::Secured) {
                return Ok(());
            }
            ensure!(Instant::now() < deadline, "macsecd is not secured");
            thread::sleep(NAP);
        }
    }

    fn tell(&self) -> String {
        let told = Client::connect(&self.socket).and_then(|mut client| client.status(None));
        told.map_or_else(|error| error.to_string(), |document| document.json)
    }
}

fn text(terms: &Terms, plane: Plane) -> String {
    let Terms { priority, ckn, cak, port, confidential, suite } = terms;
    format!(
        r#"[[port]]
interface = "{CABLE}"
secure-interface = "{SECURE}"
cipher-suites = ["{suite}"]
dataplane = "{plane}"
key-server-priority = {priority}
confidentiality = {confidential}
port-id = {port}

[[port.key]]
ckn = "{ckn}"
cak = "{cak}"
"#
    )
}
