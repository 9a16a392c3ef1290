//! Those who agree on keys: what a case asks of any of them, and what each is told.

use std::fs;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::place::Machine;

/// What a station is told of the link; whichever program it is writes it in its own words.
#[derive(Clone, Debug)]
pub(crate) struct Terms {
    /// Lower serves.
    pub(crate) priority: u8,
    /// In hex.
    pub(crate) ckn: String,
    /// In hex.
    pub(crate) cak: String,
    /// Of the SCI.
    pub(crate) port: u16,
    /// Whether frames are encrypted, or only protected against change.
    pub(crate) confidential: bool,
    /// The one suite allowed; `wpa_supplicant` can be told no other than GCM-AES-128.
    pub(crate) suite: &'static str,
}

/// The suite that every station knows.
pub(crate) const DEFAULT_SUITE: &str = "gcm-aes-128";

impl Default for Terms {
    fn default() -> Self {
        Self {
            priority: 100,
            ckn: "6c696e6b2d31".to_owned(),
            cak: cak(1, 16),
            port: 1,
            confidential: true,
            suite: DEFAULT_SUITE,
        }
    }
}

/// A key of that many octets, another for each seed, in hex.
pub(crate) fn cak(seed: u8, octets: u8) -> String {
    (0..octets).map(|index| format!("{:02x}", index ^ seed.wrapping_mul(0x11))).collect()
}

/// A station at work.
pub(crate) trait Member {
    /// Whether it says that its frames are protected.
    ///
    /// # Errors
    ///
    /// Where it does not answer.
    fn is_secured(&self) -> Result<bool>;

    /// Waits until it says so.
    ///
    /// # Errors
    ///
    /// Where it does not by `deadline`.
    fn until_secured(&self, deadline: Instant) -> Result<()>;

    /// What it says of itself, for a failure's report.
    fn tell(&self) -> String;
}

/// A process that ends with this value.
pub(crate) struct Process(Child);

impl Process {
    /// Starts it on a machine, with all that it says going to the end of a file.
    pub(crate) fn start(machine: &Machine, command: &mut Command, log: &Path) -> Result<Self> {
        let name = command.get_program().to_owned();
        let log = fs::File::options().create(true).append(true).open(log)?;
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        let child = machine.namespace.run(|| Ok(command.spawn()?));
        Ok(Self(child.with_context(|| format!("starting {}", name.display()))?))
    }

    /// Ends it as a crash does.
    pub(crate) fn crash(&mut self) -> Result<()> {
        self.0.kill()?;
        self.0.wait()?;
        Ok(())
    }

    /// Asks it to end for the next one to go on, and waits.
    pub(crate) fn leave(&mut self) -> Result<()> {
        kill(Pid::from_raw(i32::try_from(self.0.id())?), Signal::SIGUSR2)?;
        let status = self.0.wait()?;
        ensure!(status.success(), "it ended with {status}");
        Ok(())
    }

    /// Asks it to end, unless it has, and waits.
    pub(crate) fn stop(&mut self) -> Result<()> {
        if self.0.try_wait()?.is_none() {
            kill(Pid::from_raw(i32::try_from(self.0.id())?), Signal::SIGTERM)?;
            self.0.wait()?;
        }
        Ok(())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Where it has ended by itself, both fail and nothing is left to do.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Writes a file that only its owner can read.
pub(crate) fn write_private(path: &Path, text: &str) -> Result<()> {
    let mut options = fs::File::options();
    let mut file = options.write(true).create(true).truncate(true).mode(0o600).open(path)?;
    std::io::Write::write_all(&mut file, text.as_bytes())
        .with_context(|| format!("writing {}", path.display()))
}
