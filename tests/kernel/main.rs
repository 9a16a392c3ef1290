//! What only a kernel with MACsec can show. `make kernel-test` runs it in a guest that has one; it
//! takes root, and no other kernel will do.

#![cfg(feature = "daemon")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

#[path = "../fake_kernel/mod.rs"]
mod fake_kernel;
#[path = "../support/netns.rs"]
mod netns;

mod adopt;
mod differential;
mod machine;
mod nonces;
mod ownership;
mod picture;
mod port;

use macsecd::cli::lab;
