//! `macsecctl check`: whether the daemon would take a configuration.

use std::path::PathBuf;

use super::{ExitCode, Failure, Screen};
use crate::config::{
    DEFAULT_PATH,
    check::{CheckOptions, check},
};

/// What to check, and how.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The configuration.
    #[arg(value_name = "FILE", default_value = DEFAULT_PATH)]
    file: PathBuf,
    /// Leave the keys alone: the file is for another machine.
    #[arg(long)]
    no_keys: bool,
    /// Show every setting, and where its value comes from.
    #[arg(long)]
    explain: bool,
}

/// Checks a file.
pub(crate) fn run(args: &Args, screen: &mut Screen<'_>) -> Result<ExitCode, Failure> {
    let options =
        CheckOptions { read_keys: !args.no_keys, explain: args.explain, color: screen.colour };
    let report = check(&args.file, options);
    screen.print(&report.text)?;
    let good = report.exit_code == ExitCode::Good as u8;
    Ok(if good { ExitCode::Good } else { ExitCode::Configuration })
}
