//! `macsecctl wait`: for scripts that must not go on before the link is protected.

use std::{
    path::Path,
    thread::sleep,
    time::{Duration, Instant},
};

use super::{ExitCode, Failure, Screen, render, span};
use crate::control::{Client, ClientError, PortState, Refusal, Status};

/// What to wait for, and how long.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The interface of one port; all ports where it is left out.
    #[arg(value_name = "IFACE")]
    interface: Option<String>,
    /// Wait until frames are protected.
    #[arg(long, required = true)]
    secured: bool,
    /// How long to wait at most: 500ms, 30s, 2m, 1h.
    #[arg(long, value_name = "SPAN", default_value = "30s", value_parser = span::parse)]
    timeout: Duration,
}

/// Waits. A daemon that is not there yet, or starts anew, is waited for too.
pub(crate) fn run(
    args: &Args,
    socket: &Path,
    screen: &mut Screen<'_>,
) -> Result<ExitCode, Failure> {
    debug_assert!(args.secured, "there is nothing else to wait for");
    let deadline = Instant::now() + args.timeout;
    let mut last = None;
    loop {
        let error = match follow(args, socket, deadline, &mut last) {
            Ok(status) => {
                screen.print(&render::secured(&status))?;
                return Ok(ExitCode::Good);
            }
            Err(error) => error,
        };
        let left = deadline.saturating_duration_since(Instant::now());
        match (&error, &last) {
            (ClientError::TimedOut, Some(status)) => {
                screen.print(&render::not_secured(status, args.timeout))?;
                return Ok(ExitCode::NotSecured);
            }
            (
                ClientError::NotRunning(_)
                | ClientError::Closed
                | ClientError::Refused(Refusal::Busy),
                _,
            ) if !left.is_zero() => sleep(left.min(RETRY)),
            _ => return Err(error.into()),
        }
    }
}

/// Watches until the ports are secured, and leaves what was last seen in `last`.
fn follow(
    args: &Args,
    socket: &Path,
    deadline: Instant,
    last: &mut Option<Status>,
) -> Result<Status, ClientError> {
    let mut watch = Client::connect(socket)?.watch(args.interface.as_deref())?;
    // The first reply comes at once, and is waited for even where the time is up already: to wait
    // for no time is to ask how it stands now.
    let mut until = deadline.max(Instant::now() + GRACE);
    loop {
        let status = watch.next(until)?.status;
        if is_secured(&status) {
            return Ok(status);
        }
        *last = Some(status);
        until = deadline;
    }
}

fn is_secured(status: &Status) -> bool {
    !status.ports.is_empty() && status.ports.iter().all(|port| port.state == PortState::Secured)
}

/// How long the daemon may take to say how it stands.
const GRACE: Duration = Duration::from_secs(5);

/// How often a daemon that is not there is looked for.
const RETRY: Duration = Duration::from_millis(200);
