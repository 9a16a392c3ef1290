//! A userspace data plane in a process of its own, which outlives the daemon.
//!
//! The daemon has an [`Encryptor`], which starts the process or finds it, and speaks with it over a
//! socket; the process runs [`serve`]. It holds SAKs and never a CAK. Where the daemon ends without
//! taking leave, the frames go on for MKA Life Time, which is how long the peer goes on too: the
//! next daemon finds the keys in use and their packet numbers where they are. Where none comes, the
//! Controlled Port is closed, the keys are wiped, and the process ends.
//!
//! A key never moves from one encryptor to another, because its packet numbers would begin again.

use std::os::unix::fs::MetadataExt as _;

mod client;
mod line;
mod protocol;
mod server;
mod spawn;

pub(super) use client::dismiss;
pub use client::{Encryptor, EncryptorSettings, EncryptorStartError};
pub use server::serve;
pub use spawn::EncryptorHome;

/// Tells network namespaces apart: that of this thread, where the system shows it. A name, an index
/// and an address can be the same in another one.
fn namespace() -> Option<(u64, u64)> {
    let found = std::fs::metadata("/proc/thread-self/ns/net").ok()?;
    Some((found.dev(), found.ino()))
}
