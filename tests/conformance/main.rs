//! One behaviour, three SecYs: the model, the userspace data plane, the kernel's.
//!
//! A script is a list of commands and frames. It runs on the pure code of `secy` first, and then on
//! each data plane that this machine has, in network namespaces on a veth cable. After each step
//! all must have answered the same, sent the same octets, delivered the same frames, counted the
//! same and come to the same packet numbers. Where a data plane is known to differ, `differences`
//! says where, how and why, and it must differ in just that way.
//!
//! With `MACSECD_KERNEL_TEST=1` a kernel without MACsec fails the tests; without it they do what
//! they can. Needs root.

#![cfg(feature = "daemon")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use macsecd::cli::lab;

#[path = "../fake_kernel/mod.rs"]
#[allow(unused_imports, reason = "only its requests are used here")]
mod fake_kernel;
#[path = "../kernel/machine.rs"]
#[allow(dead_code, reason = "only its way to speak to the kernel is used here")]
mod machine;
#[path = "../support/netns.rs"]
mod netns;

mod compare;
mod crossing;
mod differences;
mod foreign;
mod frame;
mod model;
mod plane;
mod script;
mod scripts;
mod secy;
mod traffic;
