//! Runs `bodies/mkpdu.rs` under libFuzzer.

#![no_main]

#[path = "../bodies/mkpdu.rs"]
mod body;

libfuzzer_sys::fuzz_target!(|data: &[u8]| body::mkpdu(data));
