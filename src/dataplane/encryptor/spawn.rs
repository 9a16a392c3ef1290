//! Where encryptors live, and how one is started.

use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use super::line::{Line, bind};
use crate::sys::make_private_folder;

/// Where a daemon's encryptors live, and what they are.
#[derive(Clone, Debug)]
pub struct EncryptorHome {
    /// The folder of their sockets, each called as the interface that faces the peer. It is made
    /// where it is missing, and is for our user alone.
    pub directory: PathBuf,
    /// The program.
    pub program: PathBuf,
    /// What comes first on its command line; the path of its socket follows.
    pub arguments: Vec<String>,
    /// Whether standard error is something that it may hold on to after the daemon has ended. Of a
    /// pipe, somebody may be waiting for the end.
    pub inherits_stderr: bool,
}

/// How long it may take until it listens. It takes milliseconds.
const BEGIN: Duration = Duration::from_secs(5);
/// How often it is called meanwhile.
const LOOK: Duration = Duration::from_millis(1);

/// What of our environment an encryptor gets to see: where the log goes, and how a panic looks.
const ENVIRONMENT: [&str; 2] = ["JOURNAL_STREAM", "RUST_BACKTRACE"];

impl EncryptorHome {
    /// Makes the folder where it is missing, and tells where the socket of this interface's
    /// encryptor is to be.
    pub(super) fn socket(&self, interface: &str) -> io::Result<PathBuf> {
        make_private_folder(&self.directory)?;
        Ok(self.directory.join(format!("{interface}.sock")))
    }

    /// Starts an encryptor and calls it. Nobody answers at `path`.
    pub(super) fn spawn(&self, path: &Path) -> io::Result<(Line, Child)> {
        match fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            // One that was killed has left it.
            Ok(()) | Err(_) => {}
        }
        let socket = bind(path)?;
        fs::set_permissions(path, fs::Permissions::from_mode(0o600))?;
        // Nobody but the encryptor holds it from here on, so that it ends with the encryptor.
        let mut child = self.command(path, socket.into()).spawn()?;
        let called = call(path, &mut child);
        if called.is_err() {
            let _ = child.kill();
            let _ = child.wait();
            let _ = fs::remove_file(path);
        }
        called.map(|line| (line, child))
    }

    fn command(&self, path: &Path, listener: OwnedFd) -> Command {
        let mut command = Command::new(&self.program);
        command.arg0("macsecd").args(&self.arguments).arg(path).current_dir("/").env_clear();
        for name in ENVIRONMENT {
            if let Some(value) = std::env::var_os(name) {
                command.env(name, value);
            }
        }
        let stderr = if self.inherits_stderr { Stdio::inherit() } else { Stdio::null() };
        command.stdin(Stdio::from(listener)).stdout(Stdio::null()).stderr(stderr);
        command
    }
}

/// Calls an encryptor that is starting.
fn call(path: &Path, child: &mut Child) -> io::Result<Line> {
    let deadline = Instant::now() + BEGIN;
    loop {
        if let Some(line) = Line::call(path)? {
            return Ok(line);
        }
        if let Some(status) = child.try_wait()? {
            return Err(io::Error::other(format!("it has ended with {status}")));
        }
        if Instant::now() > deadline {
            return Err(io::ErrorKind::TimedOut.into());
        }
        thread::sleep(LOOK);
    }
}
