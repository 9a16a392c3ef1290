//! The command line.

use std::path::PathBuf;

use clap::{Parser, Subcommand};

use crate::config::{ControlConfig, DEFAULT_PATH, LogLevel};
use crate::profile::Word as _;

/// Runs MACsec key agreement (MKA) on the ports of the configuration, and protects their frames.
#[derive(Debug, Parser)]
#[command(name = "macsecd", version)]
#[command(args_conflicts_with_subcommands = true, disable_help_subcommand = true)]
pub(crate) struct Args {
    /// The configuration file.
    #[arg(long, value_name = "PATH", default_value = DEFAULT_PATH)]
    pub(crate) config: PathBuf,

    /// The control socket, whatever the configuration says.
    #[arg(long, value_name = "PATH")]
    pub(crate) socket: Option<PathBuf>,

    /// Reads the configuration and its keys, says what is wrong, and starts nothing.
    #[arg(long)]
    pub(crate) check: bool,

    /// How much to log, whatever the configuration says: error, warn, info, debug or trace.
    #[arg(long, value_name = "LEVEL", value_parser = level)]
    pub(crate) log_level: Option<LogLevel>,

    /// What the daemon starts this program as, to do a part of its work.
    #[command(subcommand)]
    pub(crate) part: Option<Part>,
}

/// A part of the daemon that is a process of its own. Nobody else starts one.
#[derive(Debug, Subcommand)]
pub(crate) enum Part {
    /// Protects the frames of a port. Standard input is the socket that it listens on.
    #[command(hide = true)]
    Encryptor {
        /// How much to log.
        #[arg(value_parser = level)]
        log_level: LogLevel,
        /// Where its socket is.
        socket: PathBuf,
    },
}

/// The command line of an encryptor, all but the path of its socket.
pub(crate) fn for_encryptor(log_level: &str) -> Vec<String> {
    vec!["encryptor".to_owned(), log_level.to_owned()]
}

impl Args {
    /// Tells what holds of the control socket, these arguments considered.
    pub(crate) fn control(&self, configured: ControlConfig) -> ControlConfig {
        match &self.socket {
            Some(socket) => ControlConfig { socket: socket.clone(), ..configured },
            None => configured,
        }
    }
}

fn level(word: &str) -> Result<LogLevel, String> {
    LogLevel::from_name(word).ok_or_else(|| "one of error, warn, info, debug, trace".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_arguments_the_usual_file_is_read_and_nothing_is_overridden() {
        let args = Args::try_parse_from(["macsecd"]).unwrap();
        assert_eq!(args.config, PathBuf::from("/etc/macsecd/macsecd.toml"));
        assert_eq!((args.socket, args.check, args.log_level), (None, false, None));
    }

    #[test]
    fn a_socket_that_is_given_holds_whatever_the_configuration_says() {
        let args = Args::try_parse_from(["macsecd", "--socket", "/tmp/x.sock"]).unwrap();
        let control = args.control(ControlConfig::default());
        assert_eq!((control.socket, control.group), ("/tmp/x.sock".into(), "macsecd".to_owned()));
    }

    #[test]
    fn an_encryptor_is_started_with_a_level_and_a_socket_and_nothing_else() {
        let line = ["macsecd".to_owned()].into_iter().chain(for_encryptor("warn"));
        let line: Vec<_> = line.chain(["/run/x.sock".to_owned()]).collect();
        let Some(Part::Encryptor { log_level, socket }) = Args::try_parse_from(&line).unwrap().part
        else {
            panic!("it is an encryptor");
        };
        assert_eq!((log_level, socket), (LogLevel::Warn, "/run/x.sock".into()));
        assert!(Args::try_parse_from(line.iter().chain([&"--check".to_owned()])).is_err());
        let help = <Args as clap::CommandFactory>::command().render_help().to_string();
        assert!(!help.contains("ncryptor"), "{help}");
    }

    #[test]
    fn a_level_is_one_of_five_words() {
        let parse = |word| Args::try_parse_from(["macsecd", "--log-level", word]);
        assert_eq!(parse("debug").unwrap().log_level, Some(LogLevel::Debug));
        assert!(parse("loud").is_err());
    }
}
