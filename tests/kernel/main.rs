//! Tests that need a kernel with MACsec, and root on it: they are run inside a virtual machine.

#![cfg(feature = "daemon")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

#[path = "../fake_kernel/mod.rs"]
mod fake_kernel;
#[path = "../support/netns.rs"]
mod netns;

mod differential;
mod machine;
mod nonces;
mod ownership;
mod picture;
mod port;

use macsecd::cli::lab;
