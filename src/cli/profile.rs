//! `macsecctl profile`: what is known about the far ends, and what each profile sets.

use super::{ExitCode, Failure, Screen};
use crate::profile::{Profile, list, show};

/// What to show.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// List the profiles.
    List,
    /// Show every setting of a profile, and where its value comes from.
    Show {
        /// The profile; the defaults where it is left out.
        #[arg(value_name = "PROFILE")]
        name: Option<String>,
    },
}

/// Shows profiles.
pub(crate) fn run(args: &Args, screen: &mut Screen<'_>) -> Result<ExitCode, Failure> {
    let text = match &args.command {
        Command::List => list(),
        Command::Show { name: None } => show(None),
        Command::Show { name: Some(name) } => {
            let profile = Profile::find(name).ok_or_else(|| {
                Failure::new(ExitCode::Usage, format!("there is no profile `{name}`"))
                    .hint("`macsecctl profile list` shows those there are.")
            })?;
            show(Some(profile))
        }
    };
    screen.print(&text)?;
    Ok(ExitCode::Good)
}
