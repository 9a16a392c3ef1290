//! macsecd against another implementation of MKA and of MACsec: Debian's `wpa_supplicant` on the
//! kernel's MACsec; and against itself, where only a kernel with MACsec can show it.
//!
//! `make interop` runs all cases in guests and prints a table. `cargo test --test interop -- WORD`
//! runs those with the word in their name; with `--here` before it, on this machine, which takes
//! root, `wpa_supplicant`, iproute2 and a kernel with MACsec. `--list` lists them.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod cases;
mod frames;
mod guests;
mod member;
mod ours;
mod place;
mod rig;
mod row;
mod supplicant;
mod watcher;

use std::any::Any;
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Result, anyhow};

use crate::cases::Case;
use crate::row::{Outcome, Row};

fn main() -> Result<ExitCode> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (options, words): (Vec<_>, Vec<_>) =
        arguments.into_iter().partition(|argument| argument.starts_with("--"));
    let mut cases = cases::all();
    let option = options.first().map(String::as_str);
    let wanted = |name: &str| match option {
        Some(guests::INSIDE) => words.iter().any(|word| name == word),
        _ => words.is_empty() || words.iter().any(|word| name.contains(word)),
    };
    cases.retain(|case| wanted(&case.label.name()));

    match option {
        None => guests::run(&cases),
        Some("--list") => {
            cases.iter().for_each(|case| println!("{}", case.label.name()));
            Ok(ExitCode::SUCCESS)
        }
        Some(guests::INSIDE) => {
            for case in &cases {
                println!("{}{}", guests::MARK, serde_json::to_string(&run(case)?)?);
            }
            Ok(ExitCode::SUCCESS)
        }
        Some("--here") => {
            let rows = cases.iter().map(run);
            let failed = rows.filter(|row| {
                row.as_ref().inspect(|row| println!("{row}")).is_ok_and(|row| row.result.is_err())
            });
            Ok(if failed.count() == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
        }
        Some(other) => Err(anyhow!("there is no option {other}")),
    }
}

/// Runs a case. Where it fails, what all members have logged goes to standard error.
fn run(case: &Case) -> Result<Row> {
    let (folder, began) = (tempfile::tempdir()?, Instant::now());
    let result = catch_unwind(AssertUnwindSafe(|| (case.run)(folder.path())))
        .unwrap_or_else(|reason| Err(anyhow!("{}", panic_text(reason.as_ref()))))
        .and_then(no_loss)
        .map_err(|error| format!("{error:#}"));
    if let Err(why) = &result {
        eprintln!("--- {}: {why}", case.label.name());
        print_logs(folder.path())?;
    }
    Ok(Row { label: case.label.clone(), result, seconds: began.elapsed().as_secs_f64() })
}

/// No case allows a frame to be lost.
fn no_loss(outcome: Outcome) -> Result<Outcome> {
    if outcome.lost > 0 {
        return Err(anyhow!("{} of {} frames lost ({})", outcome.lost, outcome.sent, outcome.note));
    }
    Ok(outcome)
}

fn print_logs(folder: &Path) -> Result<()> {
    /// Enough to see what each one was at.
    const LINES: usize = 30000;
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "log") {
            let log = String::from_utf8_lossy(&fs::read(&path)?).into_owned();
            // Said each time that anybody is asked for their status.
            let is_noise = |line: &&str| {
                line.ends_with("EAP Session-Id not available") || line.contains("control client")
            };
            let lines: Vec<&str> = log.lines().filter(|line| !is_noise(line)).collect();
            eprintln!("--- the end of {}", path.display());
            lines.iter().rev().take(LINES).rev().for_each(|line| eprintln!("{line}"));
        }
    }
    Ok(())
}

fn panic_text(reason: &(dyn Any + Send)) -> &str {
    let text = reason.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| reason.downcast_ref::<&str>().copied()).unwrap_or("it panicked")
}
