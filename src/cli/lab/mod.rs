//! `macsecctl lab`: the product on one machine, without hardware and without a trace.
//!
//! A lab is a set of namespaces of its own: network, so that no interface of the machine is
//! touched; processes, so that everything dies with it; mounts, so that its files do too; users,
//! where it is not run by root. The command starts itself again inside them and keeps the far end
//! of a pipe: when it goes, however it goes, the lab goes too.

mod demo;
mod enter;
mod ledger;
mod namespace;
mod pair;
mod ping;
mod restart;
mod rotate;
mod watcher;

// Public for the tests of the data plane, of whole daemons and of interoperation.
#[doc(hidden)]
pub use ledger::Ledger;
#[doc(hidden)]
pub use namespace::Namespace;

use super::{ExitCode, Failure, Screen};
use crate::ident::CipherSuite;

/// Tries the product on this machine, in namespaces of its own.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
    /// Already inside: not for use by hand.
    #[arg(long, hide = true, global = true)]
    inside: bool,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Secure a cable between two routers, and show that no frame is lost or goes in clear.
    Demo(DemoArgs),
    /// Change the CAK of a cable under traffic, from either end and at an end with one key only.
    Rotate(RotateArgs),
    /// Kill and restart both daemons again and again under traffic, and show that no frame is lost
    /// and no number used twice.
    Restart(RestartArgs),
}

/// How often the daemons are to be ended.
#[derive(Clone, Debug, clap::Args)]
#[command(
    after_help = "It needs root or user namespaces, and /dev/net/tun. It touches no interface \
                        of this machine and leaves nothing behind.\n\n\
                        Exit codes: 0 every daemon went on where the one before had left it, no \
                        ping was lost, no number was used twice and no frame went in clear; 1 else."
)]
struct RestartArgs {
    /// Kill a daemon (SIGKILL) this many times, one end after the other.
    #[arg(long, value_name = "N", default_value_t = 200)]
    kills: u32,
    /// Restart a daemon as a package's update does (SIGUSR2) this many times.
    #[arg(long, value_name = "N", default_value_t = 20)]
    planned: u32,
    /// The cipher suite: gcm-aes-128, gcm-aes-256, gcm-aes-xpn-128 or gcm-aes-xpn-256.
    #[arg(long, default_value = "gcm-aes-xpn-256")]
    suite: CipherSuite,
    /// What encrypts: userspace, or kernel where this one has MACsec.
    #[arg(long, default_value = "userspace", value_parser = ["userspace", "kernel"])]
    dataplane: String,
}

/// How keys are to be changed.
#[derive(Clone, Debug, clap::Args)]
#[command(
    after_help = "It needs root or user namespaces, and /dev/net/tun. It touches no interface \
                        of this machine and leaves nothing behind.\n\n\
                        Exit codes: 0 no ping was lost but those that the far end itself could not \
                        answer, and no frame went in clear; 1 else."
)]
struct RotateArgs {
    /// The cipher suite: gcm-aes-128, gcm-aes-256, gcm-aes-xpn-128 or gcm-aes-xpn-256.
    #[arg(long, default_value = "gcm-aes-xpn-256")]
    suite: CipherSuite,
}

/// What the demonstration is to show.
#[derive(Clone, Debug, clap::Args)]
#[command(
    after_help = "It needs root or user namespaces, and /dev/net/tun. It touches no interface \
                        of this machine and leaves nothing behind.\n\n\
                        Exit codes: 0 no ping was lost and no frame went in clear, 1 else."
)]
struct DemoArgs {
    /// The cipher suite: gcm-aes-128, gcm-aes-256, gcm-aes-xpn-128 or gcm-aes-xpn-256.
    #[arg(long, default_value = "gcm-aes-xpn-256")]
    suite: CipherSuite,
    /// Start both daemons this many times, and take the median time from plugging in the cable to
    /// the first ping; 1 to 99.
    #[arg(long, value_name = "N", default_value_t = 5,
          value_parser = clap::value_parser!(u8).range(1..=99))]
    runs: u8,
    /// Send this many pings as fast as they are answered, and others across a change of key.
    #[arg(long, value_name = "N", default_value_t = 20_000,
          value_parser = clap::value_parser!(u32).range(1..))]
    pings: u32,
}

/// Runs a lab.
pub(crate) fn run(args: &Args, screen: &mut Screen<'_>) -> Result<ExitCode, Failure> {
    let failed = |error: anyhow::Error| Failure::new(ExitCode::Failure, format!("{error:#}"));
    if !args.inside {
        return enter::enter().map_err(failed);
    }
    enter::end_with_the_outside();
    match &args.command {
        Command::Demo(args) => demo::run(args, screen),
        Command::Rotate(args) => rotate::run(args, screen),
        Command::Restart(args) => restart::run(args, screen),
    }
    .map_err(failed)
}
