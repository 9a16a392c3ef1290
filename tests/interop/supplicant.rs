//! The far end: Debian's `wpa_supplicant` on the kernel's MACsec, asked over its control socket.

use std::cell::Cell;
use std::fs;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use crate::member::{DEFAULT_SUITE, Member, Process, Terms, write_private};
use crate::place::{CABLE, Machine};

/// A running `wpa_supplicant`.
pub(crate) struct Supplicant {
    process: Process,
    /// Its control socket, and the folder for our end of the conversation.
    socket: PathBuf,
    /// Every question comes from a socket of its own, with a name of its own.
    questions: Cell<u32>,
}

/// Nothing that it is asked takes longer.
const PATIENCE: Duration = Duration::from_secs(5);

impl Supplicant {
    /// Starts it, and returns at once.
    pub(crate) fn start(
        machine: &Machine,
        folder: &Path,
        name: &str,
        terms: &Terms,
    ) -> Result<Self> {
        let file = |suffix: &str| folder.join(format!("{name}.{suffix}"));
        write_private(&file("conf"), &text(terms, &file("ctrl"))?)?;
        let mut command = Command::new("wpa_supplicant");
        command.args(["-i", CABLE, "-D", "macsec_linux", "-d", "-t", "-c"]).arg(file("conf"));
        let process = Process::start(machine, &mut command, &file("log"))?;
        Ok(Self { process, socket: file("ctrl").join(CABLE), questions: Cell::new(0) })
    }

    /// Whether it takes part in the key agreement.
    pub(crate) fn is_active(&self) -> bool {
        self.ask("STATUS").is_ok_and(|status| status.contains("PAE KaY status=Active"))
    }

    /// Whether it has elected itself key server.
    pub(crate) fn is_key_server(&self) -> Result<bool> {
        Ok(self.ask("STATUS")?.lines().any(|line| line == "is_key_server=Yes"))
    }

    /// Ends it as a crash does, and removes the socket that it leaves, as its service would.
    pub(crate) fn crash(&mut self) -> Result<()> {
        self.process.crash()?;
        Ok(fs::remove_file(&self.socket)?)
    }

    fn ask(&self, question: &str) -> Result<String> {
        self.questions.set(self.questions.get() + 1);
        let own = self.socket.with_extension(format!("asker{}", self.questions.get()));
        let socket = UnixDatagram::bind(&own)?;
        let answer = || -> Result<String> {
            socket.set_read_timeout(Some(PATIENCE))?;
            socket.connect(&self.socket)?;
            socket.send(question.as_bytes())?;
            let mut buffer = [0; 4096];
            let length = socket.recv(&mut buffer)?;
            Ok(String::from_utf8_lossy(&buffer[..length]).into_owned())
        };
        let answer = answer().context("asking wpa_supplicant");
        fs::remove_file(own)?;
        answer
    }
}

impl Member for Supplicant {
    fn is_secured(&self) -> Result<bool> {
        Ok(self.ask("STATUS")?.lines().any(|line| line == "Secured=Yes"))
    }

    fn until_secured(&self, deadline: Instant) -> Result<()> {
        while !matches!(self.is_secured(), Ok(true)) {
            ensure!(Instant::now() < deadline, "wpa_supplicant is not secured");
            thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }

    fn tell(&self) -> String {
        self.ask("STATUS").unwrap_or_else(|error| format!("{error:#}"))
    }
}

fn text(terms: &Terms, control: &Path) -> Result<String> {
    let Terms { priority, ckn, cak, port, confidential, suite } = terms;
    ensure!(*suite == DEFAULT_SUITE, "wpa_supplicant cannot be told to use {suite}");
    Ok(format!(
        "ctrl_interface={control}
ap_scan=0
eapol_version=3
network={{
    key_mgmt=NONE
    eapol_flags=0
    macsec_policy=1
    macsec_integ_only={integrity_only}
    macsec_replay_protect=1
    macsec_replay_window=0
    macsec_port={port}
    mka_priority={priority}
    mka_ckn={ckn}
    mka_cak={cak}
}}
",
        control = control.display(),
        integrity_only = u8::from(!confidential),
    ))
}
