//! Where the log goes: to the journal where there is one, else to standard error.

use std::io::{self, IsTerminal};

use anyhow::Context as _;
use nix::sys::stat::{FileStat, SFlag, fstat};
use tracing::level_filters::LevelFilter;
use tracing::warn;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{Layer as _, Registry, fmt, reload};

use crate::config::{Diagnostic, LogLevel};

/// How much is logged. Can be changed while the daemon runs.
#[derive(Debug)]
pub(crate) struct Verbosity {
    filter: reload::Handle<LevelFilter, Registry>,
    /// What the command line asked for, which the configuration does not change.
    fixed: bool,
}

/// Starts the log.
pub(crate) fn start(asked: Option<LogLevel>, configured: LogLevel) -> anyhow::Result<Verbosity> {
    let (filter, handle) = reload::Layer::new(filter(asked.unwrap_or(configured)));
    let journal = goes_to_journal().then(tracing_journald::layer).and_then(Result::ok);
    let output = match journal {
        // `MACSECD_IFACE=eth1` and so on, for `journalctl MACSECD_IFACE=eth1`.
        Some(layer) => layer.with_field_prefix(Some("MACSECD".to_owned())).boxed(),
        None => {
            let colour = io::stderr().is_terminal();
            fmt::layer().with_writer(io::stderr).with_ansi(colour).with_target(false).boxed()
        }
    };
    let registry = tracing_subscriber::registry().with(filter).with(output);
    registry.try_init().context("starting the log")?;
    Ok(Verbosity { filter: handle, fixed: asked.is_some() })
}

impl Verbosity {
    /// How much is logged now, in a word.
    pub(crate) fn word(&self) -> String {
        let level = self.filter.with_current(LevelFilter::to_string);
        level.unwrap_or_else(|_| LevelFilter::INFO.to_string())
    }

    /// Follows the configuration, unless the command line has said otherwise.
    pub(crate) fn follow(&self, level: LogLevel) {
        if !self.fixed {
            // It fails only where the log is no more, and then it matters to nobody.
            let _ = self.filter.reload(filter(level));
        }
    }
}

/// Logs what is odd in a configuration: without colour, which the log would show as garbage.
pub(crate) fn warnings(warnings: &[Diagnostic]) {
    for warning in warnings {
        warn!("{}", warning.render(false));
    }
}

const fn filter(level: LogLevel) -> LevelFilter {
    match level {
        LogLevel::Error => LevelFilter::ERROR,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Debug => LevelFilter::DEBUG,
        LogLevel::Trace => LevelFilter::TRACE,
    }
}

/// Tells whether standard error is the journal's: systemd names it, by device and inode, to what it
/// starts. One who redirects it elsewhere wants to have the log there.
fn goes_to_journal() -> bool {
    let Some(named) = std::env::var_os("JOURNAL_STREAM") else { return false };
    let found = fstat(io::stderr()).map(|found| format!("{}:{}", found.st_dev, found.st_ino));
    found.is_ok_and(|found| named.to_str() == Some(&found))
}

/// Tells whether a process that outlives this one may hold on to standard error: the journal, a
/// file, a terminal. Whoever reads a pipe may wait until all of us have let go of it.
pub(crate) fn outlives_us() -> bool {
    let lasts = |found: FileStat| {
        let kind = SFlag::from_bits_truncate(found.st_mode) & SFlag::S_IFMT;
        kind == SFlag::S_IFREG || kind == SFlag::S_IFCHR
    };
    goes_to_journal() || fstat(io::stderr()).is_ok_and(lasts)
}

/// A log that nobody reads.
#[cfg(test)]
pub(crate) fn silent(level: LogLevel) -> Verbosity {
    let (_, handle) = reload::Layer::new(filter(level));
    Verbosity { filter: handle, fixed: false }
}
