//! Runs `bodies/config.rs` under libFuzzer.

#![no_main]

#[path = "../bodies/config.rs"]
mod body;

libfuzzer_sys::fuzz_target!(|data: &[u8]| body::config(data));
