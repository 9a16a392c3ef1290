//! What a process of this program is that protects the frames of a port.

use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::PathBuf;
use std::process::ExitCode;

use nix::sys::prctl::set_name;
use nix::unistd::{dup2_stdin, setsid};
use tracing::error;

use super::{harden, log};
use crate::config::LogLevel;
use crate::dataplane::serve;

/// Runs an encryptor that listens on standard input, which is a socket bound to `path`.
pub(crate) fn main(log_level: LogLevel, path: PathBuf) -> ExitCode {
    match run(log_level, path) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            error!("the encryptor: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(log_level: LogLevel, path: PathBuf) -> anyhow::Result<()> {
    // What a terminal sends to the daemon is not for us. It fails only where it holds already.
    let _ = setsid();
    // The name would be that of the link it was started by.
    let _ = set_name(c"macsecd-encrypt");
    log::start(Some(log_level), log_level)?;
    harden::harden();
    Ok(serve(socket()?, path)?)
}

/// Takes the socket from standard input, and leaves nothing to read there.
fn socket() -> io::Result<OwnedFd> {
    let socket = io::stdin().as_fd().try_clone_to_owned()?;
    dup2_stdin(std::fs::File::open("/dev/null")?)?;
    Ok(socket)
}
