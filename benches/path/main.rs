//! The userspace data plane end to end, beside other ways from one namespace to another: bulk
//! transfers by iperf3, their CPU time, and the way there and back of a small datagram.
//!
//! All paths are there at the same time and take turns, round by round, so that whatever else the
//! machine does falls on all of them. Only ratios within a run count. `make bench-path` runs it;
//! it writes `target/bench/end_to_end.json`.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
#![allow(clippy::cast_precision_loss)]

#[path = "../../tests/support/netns.rs"]
mod netns;
#[path = "../../tests/support/pair.rs"]
mod pair;

mod measure;
mod paths;

use std::collections::BTreeMap;
use std::fs;

use macsecd::cli::lab;
use serde_json::{Value, json};

use measure::{Bulk, bulk, round_trips};
use paths::Path;

/// The numbers of streams.
const STREAMS: [u32; 2] = [1, 4];

fn main() {
    // `cargo test --benches` and the like pass what a harness knows; there is nothing to list.
    if std::env::args().any(|argument| argument == "--list" || argument == "--test") {
        return;
    }
    let number = |name: &str, default| {
        std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
    };
    let (rounds, seconds) = (number("BENCH_ROUNDS", 3), number("BENCH_SECONDS", 3));
    let paths = paths::all();
    let (mut bulks, mut delays) = (BTreeMap::new(), BTreeMap::new());
    for round in 1..=rounds {
        for path in &paths {
            for streams in STREAMS {
                let Some(of) = bulk(path, streams, seconds) else { continue };
                println!(
                    "round {round}: {:<16} {streams} streams {:6.2} Gb/s {:6.2} CPU s/GB",
                    path.name, of.gbps, of.cpu_seconds_per_gb
                );
                bulks.entry((path.name, streams)).or_insert_with(Vec::new).push(of);
            }
            let micros = round_trips(path, 2000);
            println!("round {round}: {:<16} there and back {micros:6.1} us", path.name);
            delays.entry(path.name).or_insert_with(Vec::new).push(micros);
        }
    }
    report(&paths, &bulks, &delays);
}

fn report(
    paths: &[Path],
    bulks: &BTreeMap<(&'static str, u32), Vec<Bulk>>,
    delays: &BTreeMap<&'static str, Vec<f64>>,
) {
    let rounded = |value: f64| (value * 100.0).round() / 100.0;
    let (mut end_to_end, mut latency) = (Vec::<Value>::new(), Vec::<Value>::new());
    println!("\nmedians:");
    for path in paths {
        for streams in STREAMS {
            let Some(of) = bulks.get(&(path.name, streams)) else { continue };
            let gbps = rounded(median(of.iter().map(|of| of.gbps)));
            let cpu = rounded(median(of.iter().map(|of| of.cpu_seconds_per_gb)));
            println!("{:<16} {streams} streams {gbps:6.2} Gb/s {cpu:6.2} CPU s/GB", path.name);
            end_to_end.push(json!({
                "path": path.name, "streams": streams, "gbps": gbps, "cpu_seconds_per_gb": cpu,
            }));
        }
        let Some(of) = delays.get(path.name) else { continue };
        let micros = rounded(median(of.iter().copied()));
        println!("{:<16} there and back {micros:6.1} us", path.name);
        latency.push(json!({ "path": path.name, "round_trip_us": micros }));
    }
    let report = json!({
        "machine": machine(), "end_to_end": end_to_end, "latency": latency,
    });
    fs::create_dir_all("target/bench").unwrap();
    let text = serde_json::to_string_pretty(&report).unwrap();
    fs::write("target/bench/end_to_end.json", text).unwrap();
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

fn machine() -> String {
    let cpuinfo = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let models = cpuinfo.lines().filter_map(|line| line.strip_prefix("model name")).count();
    let model = cpuinfo.lines().find_map(|line| line.strip_prefix("model name"));
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let model = model.unwrap_or_default().trim_start_matches([' ', '\t', ':']);
    format!("{models} x {model}, Linux {}", kernel.trim())
}
