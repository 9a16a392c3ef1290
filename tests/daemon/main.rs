//! The daemon as operators meet it: real processes on real interfaces, asked through `macsecctl`.
//!
//! Every test lays its own cable between network namespaces of its own, so that all of them run at
//! the same time. It takes root, or a user namespace with its own network.

#![cfg(feature = "daemon")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

#[path = "../support/netns.rs"]
mod netns;

mod config;
mod encryptor;
mod interfaces;
mod keys;
mod lifecycle;
mod reasons;
mod rekeys;
mod reload;
mod restart;
mod rig;
mod rotate;
mod suites;
mod traffic;

use macsecd::cli::lab;
