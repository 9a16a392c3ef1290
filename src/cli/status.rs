//! `macsecctl status`: where the ports stand, for people, for scripts, once or as it changes.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use super::{ExitCode, Failure, Screen, render};
use crate::control::{Client, Document, PortState, PortStatus, Severity, Status};

/// What to show, and how.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The interface of one port; all ports where it is left out.
    #[arg(value_name = "IFACE")]
    interface: Option<String>,
    /// Print the document itself, in one line; with --watch a line for each change.
    #[arg(long)]
    json: bool,
    /// Go on, and show it again whenever something changes.
    #[arg(long)]
    watch: bool,
    /// Print nothing; the exit code says it.
    #[arg(short, long, conflicts_with_all = ["json", "watch"])]
    quiet: bool,
}

/// Shows the status.
pub(crate) fn run(
    args: &Args,
    socket: &Path,
    screen: &mut Screen<'_>,
) -> Result<ExitCode, Failure> {
    let mut client = Client::connect(socket)?;
    let interface = args.interface.as_deref();
    if args.watch {
        let mut watch = client.watch(interface)?;
        loop {
            let document = watch.next(Instant::now() + SILENCE)?;
            if args.json {
                screen.print(&format!("{}\n", document.json))?;
            } else {
                screen.redraw(&render::status(&document.status, screen.colour))?;
            }
        }
    }
    let Document { json, status } = client.status(interface)?;
    if args.json {
        screen.print(&format!("{json}\n"))?;
    } else if !args.quiet {
        screen.print(&render::status(&status, screen.colour))?;
    }
    Ok(verdict(&status))
}

/// What a status amounts to: the worst of its ports. No port at all is not a secured one.
#[must_use]
pub fn verdict(status: &Status) -> ExitCode {
    let secured = |port: &PortStatus| port.state == PortState::Secured;
    if status.ports.is_empty() || !status.ports.iter().all(secured) {
        ExitCode::NotSecured
    } else if status.ports.iter().any(is_degraded) {
        ExitCode::Degraded
    } else {
        ExitCode::Good
    }
}

/// Whether a port has a finding that is more than a note.
pub(crate) fn is_degraded(port: &PortStatus) -> bool {
    port.findings.iter().any(|finding| finding.severity() > Severity::Note)
}

/// How long a daemon that is told to watch may say nothing; it speaks every few seconds.
const SILENCE: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::Reason;

    fn port(state: PortState, code: Option<&str>) -> PortStatus {
        let finding = |code: &str| Reason { code: code.to_owned(), ..Reason::default() };
        PortStatus {
            state,
            findings: code.map(finding).into_iter().collect(),
            ..PortStatus::default()
        }
    }

    #[test]
    fn the_verdict_is_that_of_the_worst_port() {
        let good = || port(PortState::Secured, None);
        let noted = || port(PortState::Secured, Some("N204"));
        let warned = || port(PortState::Secured, Some("W602"));
        let pending = || port(PortState::Pending, None);
        for (ports, code) in [
            (vec![good()], ExitCode::Good),
            (vec![good(), noted()], ExitCode::Good),
            (vec![good(), warned()], ExitCode::Degraded),
            (vec![warned(), pending()], ExitCode::NotSecured),
            (vec![], ExitCode::NotSecured),
        ] {
            assert_eq!(verdict(&Status::new(ports.clone())), code, "{ports:?}");
        }
    }
}
