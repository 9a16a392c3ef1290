//! Cases in guests: several at once, because most of a case is waiting.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};
use std::thread::{self, ScopedJoinHandle};
use std::time::Instant;

use anyhow::{Context, Result, anyhow};

use crate::cases::{Case, RESTARTS};
use crate::row::{self, Label, Row};

/// What a guest's line with a row begins with; all others are for people.
pub(crate) const MARK: &str = "row ";
/// What the program is called with in a guest.
pub(crate) const INSIDE: &str = "--inside";

/// How many guests there are, if nobody says otherwise in this variable.
const GUESTS: (&str, usize) = ("INTEROP_GUESTS", 4);
/// The exit status of `.ci/vm/run` where a machine cannot have a guest and need not.
const CANNOT: i32 = 77;

/// Runs the cases, and prints the table and how many passed.
pub(crate) fn run(cases: &[Case]) -> Result<ExitCode> {
    let began = Instant::now();
    let count = std::env::var(GUESTS.0).ok().and_then(|count| count.parse().ok());
    let (quiet, others): (Vec<&Case>, Vec<&Case>) = cases.iter().partition(|case| case.quiet);
    let shares = spread(others, count.unwrap_or(GUESTS.1));
    println!(
        "{} cases, {} of them alone, in up to {} guests",
        cases.len(),
        quiet.len(),
        shares.len()
    );
    let mut results = boot_all(&[quiet])?;
    results.extend(boot_all(&shares)?);
    if results.iter().any(|guest| guest.status == Some(CANNOT)) {
        println!("interop: skipped");
        return Ok(ExitCode::SUCCESS);
    }
    let rows: Vec<Row> = results.into_iter().flat_map(|guest| guest.rows).collect();
    let labels: Vec<&Label> = cases.iter().map(|case| &case.label).collect();
    let passed = print_table(&labels, &rows);
    let failed = cases.len() - passed;
    println!("took {:.0} s", began.elapsed().as_secs_f64());
    println!("interop: {passed} passed, {failed} failed");
    Ok(if failed == 0 && passed > 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// What a guest has left.
struct Guest {
    rows: Vec<Row>,
    status: Option<i32>,
}

/// Runs each share in a guest of its own, all at once.
fn boot_all(shares: &[Vec<&Case>]) -> Result<Vec<Guest>> {
    thread::scope(|scope| {
        let shares = shares.iter().filter(|share| !share.is_empty());
        let guests: Vec<_> = shares.map(|share| scope.spawn(|| boot(share))).collect();
        let joined = guests.into_iter().map(ScopedJoinHandle::join);
        joined.map(|guest| guest.map_err(|_| anyhow!("a guest's keeper panicked"))?).collect()
    })
}

/// Deals out the cases, the longest first, each to whoever has the least to do.
fn spread(mut cases: Vec<&Case>, guests: usize) -> Vec<Vec<&Case>> {
    let mut shares: Vec<Vec<&Case>> = vec![Vec::new(); guests.max(1)];
    cases.sort_by_key(|case| std::cmp::Reverse(case.seconds));
    for case in cases {
        let load = |share: &&mut Vec<&Case>| share.iter().map(|case| case.seconds).sum::<u64>();
        if let Some(share) = shares.iter_mut().min_by_key(load) {
            share.push(case);
        }
    }
    shares
}

/// Runs cases in a guest, and prints each row when it comes.
fn boot(share: &[&Case]) -> Result<Guest> {
    let own = std::env::current_exe()?;
    // The programs are built in its folder's parent, wherever that is.
    let built = own.parent().and_then(Path::parent).context("this program is in a folder")?;
    let expected: u64 = share.iter().map(|case| case.seconds).sum();
    let mut command = Command::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.ci/vm/run"));
    command.arg("-t").arg((60 + 3 * expected).to_string()).arg("-s").arg(built);
    if let Ok(restarts) = std::env::var(RESTARTS) {
        command.arg("env").arg(format!("{RESTARTS}={restarts}"));
    }
    command.arg(&own).arg(INSIDE).args(share.iter().map(|case| case.label.name()));
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .context("starting .ci/vm/run")?;
    let mut rows = Vec::new();
    let output = child.stdout.take().context("its output is ours")?;
    for line in BufReader::new(output).lines() {
        let line = line?;
        match line.strip_prefix(MARK).map(serde_json::from_str::<Row>) {
            Some(row) => {
                let row = row.with_context(|| format!("reading {line}"))?;
                println!("{:>4.0} s  {row}", row.seconds);
                rows.push(row);
            }
            None => println!("{line}"),
        }
    }
    let status = child.wait()?.code();
    Ok(Guest { rows, status })
}

/// Prints the rows in the order of the cases, and counts those that passed.
fn print_table(labels: &[&Label], rows: &[Row]) -> usize {
    println!("\n{}", row::header());
    let mut passed = 0;
    for label in labels {
        let row = rows.iter().find(|row| row.label == **label).cloned();
        let row = row.unwrap_or_else(|| Row {
            label: (*label).clone(),
            result: Err("its guest gave no result".to_owned()),
            seconds: 0.0,
        });
        passed += usize::from(row.result.is_ok());
        println!("{row}");
    }
    passed
}
