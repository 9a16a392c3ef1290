//! What makes it harder to get at the keys from beside the daemon.

use nix::sys::mman::{MlockAllFlags, mlockall};
use nix::sys::prctl;
use nix::sys::resource::{RLIM_INFINITY, Resource, setrlimit};
use tracing::{debug, info};

/// Keeps keys out of core files, of other processes' sight and of the swap, as far as the system
/// lets this process. What it does not let is logged, and no reason not to start.
pub(crate) fn harden() {
    if let Err(errno) = setrlimit(Resource::RLIMIT_CORE, 0, 0) {
        debug!(%errno, "core files are not turned off by a limit");
    }
    if let Err(errno) = prctl::set_dumpable(false) {
        info!(%errno, "the memory of this process can be read by others of its user");
    }
    lock_memory();
}

/// Locks all memory, now and later. Under a limit that would make an allocation fail one day, and
/// end the daemon, so then it is not done.
fn lock_memory() {
    // Root may lift the limit; for others, the service manager has done it or nobody has.
    let unlimited = setrlimit(Resource::RLIMIT_MEMLOCK, RLIM_INFINITY, RLIM_INFINITY).is_ok();
    if !unlimited {
        info!("keys may be swapped out: LimitMEMLOCK=infinity would let memory be locked");
        return;
    }
    // Only what is touched takes memory: most of a thread's stack never is.
    let on_fault = MlockAllFlags::from_bits_retain(libc::MCL_ONFAULT);
    if let Err(errno) = mlockall(MlockAllFlags::MCL_CURRENT | MlockAllFlags::MCL_FUTURE | on_fault)
    {
        info!(%errno, "keys may be swapped out: memory cannot be locked");
    }
}
