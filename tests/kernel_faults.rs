//! The kernel's data plane on a model of the kernel, with everything going wrong that can.

#![cfg(feature = "daemon")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

#[path = "kernel_faults/adopt.rs"]
mod adopt;
#[path = "kernel_faults/chaos.rs"]
mod chaos;
#[path = "fake_kernel/mod.rs"]
mod fake_kernel;
#[path = "kernel_faults/killed.rs"]
mod killed;
#[path = "kernel_faults/matrix.rs"]
mod matrix;
#[path = "kernel_faults/model.rs"]
mod model;
#[path = "kernel_faults/others.rs"]
mod others;
#[path = "kernel_faults/refusals.rs"]
mod refusals;
#[path = "kernel_faults/rig.rs"]
mod rig;
#[path = "kernel_faults/start.rs"]
mod start;
