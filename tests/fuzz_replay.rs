//! Replays the fuzz targets' bodies on stable Rust: every seed as it is, then a few thousand
//! mutants of the seeds, the same ones on every run.
//!
//! Seeds are the frames of `tests/vectors`, the configurations of `config/`, and what lies in
//! `tests/fuzz_seeds/<target>/`; a finding is kept by putting it there. `FUZZ_REPLAY_RUNS` sets
//! how many mutants; `FUZZ_CORPUS` names a folder to write the seeds to, for libFuzzer.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
// The bodies are crates of one function, made to be included.
#![allow(unreachable_pub)]

#[cfg(feature = "daemon")]
#[path = "../fuzz/bodies/config.rs"]
mod config;
#[path = "../fuzz/bodies/engine.rs"]
mod engine;
#[path = "../fuzz/bodies/frame.rs"]
mod frame;
#[path = "../fuzz/bodies/kay.rs"]
mod kay;
#[path = "../fuzz/bodies/mkpdu.rs"]
mod mkpdu;
#[path = "fuzz_replay/mutate.rs"]
mod mutate;

use std::panic::{self, AssertUnwindSafe};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use std::{env, fs};

use mutate::Mutator;
use serde_json::Value;

/// Mutants per target, where `FUZZ_REPLAY_RUNS` does not say.
const RUNS: usize = 4000;

/// The longest that one input may take. None needs a millisecond; more is a loop that an attacker
/// can drive, and a slow machine is not that slow.
const INPUT_TIME_MAX: Duration = Duration::from_secs(5);

#[test]
fn mkpdu_decoding_survives_what_is_left_of_real_mkpdus() {
    let files = ["mkpdu", "mkpdu_negative", "wpa_supplicant_exchange"];
    replay("mkpdu", vectors(&files), mkpdu::mkpdu);
}

#[test]
fn frame_validation_survives_what_is_left_of_real_frames() {
    let files = ["macsec_frames", "kernel_frames", "rx_cases", "wpa_supplicant_exchange"];
    replay("frame", vectors(&files), frame::frame);
}

#[test]
#[cfg(feature = "daemon")]
fn configuration_survives_what_is_left_of_real_files() {
    let mut seeds = Vec::new();
    files_below(&root().join("config"), &mut seeds);
    seeds.retain(|path| path.extension().is_some_and(|extension| extension == "toml"));
    replay("config", contents(seeds), config::config);
}

#[test]
fn all_engines_do_the_same_with_any_batch() {
    let mut mutator = Mutator::new("engine seeds");
    let seeds: Vec<_> = (0..64).map(|n| mutator.noise(40 + 16 * n)).collect();
    replay("engine", seeds, engine::engine);
}

#[test]
fn the_kay_survives_any_sequence_of_inputs() {
    let mut mutator = Mutator::new("kay seeds");
    let mut seeds: Vec<_> = (0..64).map(|n| mutator.noise(32 * n)).collect();
    for frame in vectors(&["mkpdu", "mkpdu_negative"]) {
        seeds.push(hear_and_wait(&frame));
    }
    replay("kay", seeds, kay::kay);
}

/// A program for the KaY's body: hear this frame as it is, wait, and hear it signed.
fn hear_and_wait(frame: &[u8]) -> Vec<u8> {
    const HEAR: u8 = 6;
    const HEAR_SIGNED: u8 = 7;
    const WAIT: u8 = 1;
    let length = u8::try_from(frame.len() / 2).unwrap();
    [&[0, HEAR, length], frame, &[WAIT, 40, HEAR_SIGNED, length], frame, &[WAIT, 40]].concat()
}

/// Runs `body` on the seeds and on mutants of them.
fn replay(target: &str, mut seeds: Vec<Vec<u8>>, body: fn(&[u8])) {
    let mut kept = Vec::new();
    files_below(&root().join("tests/fuzz_seeds").join(target), &mut kept);
    seeds.extend(contents(kept));
    assert!(!seeds.is_empty(), "{target} has no seeds");
    if let Some(corpus) = env::var_os("FUZZ_CORPUS") {
        write_corpus(&Path::new(&corpus).join(target), &seeds);
    }

    run(target, body, &[]);
    for seed in &seeds {
        run(target, body, seed);
    }
    let runs = env::var("FUZZ_REPLAY_RUNS").map_or(RUNS, |runs| runs.parse().unwrap());
    let mut mutator = Mutator::new(target);
    for _ in 0..runs {
        run(target, body, &mutator.mutant(&seeds));
    }
    println!("{target}: {} seeds and {runs} mutants", seeds.len());
}

/// Runs one input, and prints it where it fails.
fn run(target: &str, body: fn(&[u8]), input: &[u8]) {
    let start = Instant::now();
    let result = panic::catch_unwind(AssertUnwindSafe(|| body(input)));
    let took = start.elapsed();
    if let Err(payload) = result {
        eprintln!("{target} fails on this input; keep it in tests/fuzz_seeds/{target}/");
        eprintln!("{}", hex::encode(input));
        panic::resume_unwind(payload);
    }
    assert!(took < INPUT_TIME_MAX, "{target} took {took:?} on {}", hex::encode(input));
}

/// Collects every frame of these vector files, in order.
fn vectors(names: &[&str]) -> Vec<Vec<u8>> {
    let mut out = Vec::new();
    for name in names {
        let path = root().join("tests/vectors").join(name).with_extension("json");
        let value: Value = serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap();
        let before = out.len();
        frames(&value, &mut out);
        assert!(out.len() > before, "{name}.json has no frames");
    }
    out
}

/// Walks to every member that holds a whole frame.
fn frames(value: &Value, out: &mut Vec<Vec<u8>>) {
    match value {
        Value::Object(members) => {
            for (name, member) in members {
                match (name.as_str(), member.as_str()) {
                    ("frame" | "secure", Some(octets)) => out.push(hex::decode(octets).unwrap()),
                    _ => frames(member, out),
                }
            }
        }
        Value::Array(members) => members.iter().for_each(|member| frames(member, out)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

fn contents(paths: Vec<PathBuf>) -> Vec<Vec<u8>> {
    paths.iter().map(|path| fs::read(path).unwrap()).collect()
}

/// Lists the files below a folder that may be missing, in order of path.
fn files_below(folder: &Path, out: &mut Vec<PathBuf>) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    for path in paths {
        if path.is_dir() {
            files_below(&path, out);
        } else {
            out.push(path);
        }
    }
}

fn write_corpus(folder: &Path, seeds: &[Vec<u8>]) {
    fs::create_dir_all(folder).unwrap();
    for (n, seed) in seeds.iter().enumerate() {
        fs::write(folder.join(format!("seed-{n:04}")), seed).unwrap();
    }
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}
