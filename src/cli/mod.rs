//! `macsecctl`: arguments in, text and an exit code out.
//!
//! Every command is a module with its `Args` and a `run`. What a command shows is made by pure
//! functions over the status document ([`render`]), so that a test can read it.

#![forbid(unsafe_code)]

mod change;
mod check;
mod exit;
mod keygen;
pub mod lab;
mod profile;
pub mod render;
mod rotate;
mod screen;
mod span;
mod status;
mod wait;
mod words;

use std::{
    io::{self, Write as _},
    path::PathBuf,
};

use clap::{CommandFactory as _, Parser, Subcommand};

pub use exit::{ExitCode, Failure};
pub use screen::Screen;
pub use status::verdict;

use crate::control::DEFAULT_SOCKET;

/// Looks after MACsec links: says where they stand and why, checks a configuration, changes keys.
#[derive(Debug, Parser)]
#[command(
    name = "macsecctl",
    version,
    arg_required_else_help = true,
    after_help = "Exit codes: 0 good, 1 failure, 2 usage, 3 daemon not running, 4 not permitted,\n\
                  10 not secured, 11 degraded, 78 configuration."
)]
struct Cli {
    /// The daemon's control socket.
    #[arg(long, global = true, value_name = "PATH", default_value = DEFAULT_SOCKET)]
    socket: PathBuf,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Show where the ports stand; exits 0 where all is well, 10 or 11 where it is not.
    Status(status::Args),
    /// Wait until the ports are secured; exits 10 where that does not happen in time.
    Wait(wait::Args),
    /// Have a new key made for a port now.
    Rekey(change::RekeyArgs),
    /// Change the key (CAK) of a port without losing a frame.
    Rotate(rotate::Args),
    /// Have the daemon read its configuration again.
    Reload,
    /// Check a configuration file, without the daemon.
    Check(check::Args),
    /// Make a CAK and a CKN.
    Keygen(keygen::Args),
    /// Show the profiles, and what each sets.
    Profile(profile::Args),
    /// Build a pair of routers on this machine, to try things on.
    Lab(lab::Args),
}

/// Runs the tool with the arguments of this process.
#[must_use]
pub fn main() -> std::process::ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(help) => {
            let _printed = help.print();
            let code = if help.use_stderr() { ExitCode::Usage } else { ExitCode::Good };
            return code.into();
        }
    };
    let mut out = io::stdout().lock();
    let code = run(cli, &mut Screen::stdout(&mut out)).unwrap_or_else(|failure| {
        // There is nowhere left to complain to.
        let _written = write!(io::stderr(), "{failure}");
        failure.code
    });
    code.into()
}

/// The command line, for the manual pages and the shells' completions.
#[must_use]
pub fn command() -> clap::Command {
    Cli::command()
}

fn run(cli: Cli, screen: &mut Screen<'_>) -> Result<ExitCode, Failure> {
    let socket = cli.socket.as_path();
    match cli.command {
        Command::Status(args) => status::run(&args, socket, screen),
        Command::Wait(args) => wait::run(&args, socket, screen),
        Command::Rekey(args) => change::rekey(&args, socket, screen),
        Command::Rotate(args) => rotate::run(&args, socket, screen),
        Command::Reload => change::reload(socket, screen),
        Command::Check(args) => check::run(&args, screen),
        Command::Keygen(args) => keygen::run(&args, screen),
        Command::Profile(args) => profile::run(&args, screen),
        Command::Lab(args) => lab::run(&args, screen),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        command().debug_assert();
    }

    #[test]
    fn the_socket_may_be_named_after_the_command() {
        let cli = Cli::try_parse_from(["macsecctl", "reload", "--socket", "/tmp/x.sock"]).unwrap();
        assert_eq!(cli.socket, PathBuf::from("/tmp/x.sock"));
    }
}
