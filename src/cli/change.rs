//! `macsecctl rekey` and `reload`: the two things that change something.

use std::path::Path;

use super::{ExitCode, Failure, Screen, words::clean};
use crate::control::Client;

/// Which port.
#[derive(Debug, clap::Args)]
pub(crate) struct RekeyArgs {
    /// The interface of the port.
    #[arg(value_name = "IFACE")]
    interface: String,
}

/// Has a new SAK made.
pub(crate) fn rekey(
    args: &RekeyArgs,
    socket: &Path,
    screen: &mut Screen<'_>,
) -> Result<ExitCode, Failure> {
    Client::connect(socket)?.rekey(&args.interface)?;
    screen.print(&format!("{}: a new key is on its way\n", clean(&args.interface)))?;
    Ok(ExitCode::Good)
}

/// Has the configuration read again.
pub(crate) fn reload(socket: &Path, screen: &mut Screen<'_>) -> Result<ExitCode, Failure> {
    let changes = Client::connect(socket)?.reload()?;
    if changes.is_empty() {
        screen.print("the configuration is read again; nothing changed\n")?;
    }
    for change in &changes {
        screen.print(&format!("{}\n", clean(change)))?;
    }
    Ok(ExitCode::Good)
}
