//! The encryptor as a process: what it keeps when the daemon goes, and what the next one finds.
//!
//! One end of a cable has an encryptor, started and spoken with as the daemon does; the other a data
//! plane in this process. A daemon that is killed is one whose end of the line the system closes,
//! and so is one that is dropped here. `tests/daemon/` kills real ones. Needs root, or `unshare -Ur`.

#![cfg(feature = "daemon")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

#[path = "../support/netns.rs"]
mod netns;
#[path = "../support/pair.rs"]
mod pair;

mod daemons;
mod keys;
mod process;
mod rig;

use macsecd::cli::lab;
