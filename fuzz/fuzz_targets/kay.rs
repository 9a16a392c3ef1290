//! Runs `bodies/kay.rs` under libFuzzer.

#![no_main]

#[path = "../bodies/kay.rs"]
mod body;

libfuzzer_sys::fuzz_target!(|data: &[u8]| body::kay(data));
