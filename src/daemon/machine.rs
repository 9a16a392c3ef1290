//! The kernel that the daemon runs on, and what is known to be wrong with its MACsec.

use std::sync::{Mutex, PoisonError};

use nix::sys::utsname::uname;
use tracing::{info, warn};

use crate::control::{Reason, Severity};
use crate::diagnose::Kernel;

/// The kernel, looked at once.
#[derive(Debug)]
pub(crate) struct Machine {
    kernel: Option<Kernel>,
    /// What has been logged of it.
    told: Mutex<Vec<String>>,
}

impl Machine {
    /// Asks which kernel it is. One that does not say so is not judged.
    pub(crate) fn new() -> Self {
        Self::with(uname().ok().and_then(|name| {
            Kernel::read(&name.release().to_string_lossy(), &name.version().to_string_lossy())
        }))
    }

    const fn with(kernel: Option<Kernel>) -> Self {
        Self { kernel, told: Mutex::new(Vec::new()) }
    }

    /// The kernel, where it could be recognised.
    pub(crate) const fn kernel(&self) -> Option<&Kernel> {
        self.kernel.as_ref()
    }

    /// Logs what is wrong with a kernel that has a port's MACsec at work, with these that may be in
    /// use; the same thing once, however many ports there are. Tells whether there was anything new.
    pub(crate) fn tell(&self, xpn: bool, offload: bool) -> bool {
        let Some(found) = self.kernel().and_then(|kernel| kernel.finding(xpn, offload)) else {
            return false;
        };
        let reason = Reason::from(found);
        let Reason { code, title, advice, .. } = &reason;
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        if told.contains(title) {
            return false;
        }
        told.push(title.clone());
        match reason.severity() {
            Severity::Note => info!(%code, "{title}. {advice}"),
            Severity::Warning | Severity::Error => warn!(%code, "{title}. {advice}"),
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whatever runs this test calls itself by a number.
    #[test]
    fn the_running_kernel_is_recognised() {
        assert!(Machine::new().kernel().is_some());
    }

    #[test]
    fn what_is_wrong_with_the_kernel_is_told_once_for_all_ports() {
        let machine = Machine::with(Kernel::read("6.1.177", ""));
        assert!(machine.tell(false, false));
        assert!(!machine.tell(false, false) && !machine.tell(true, true));
        let older = Machine::with(Kernel::read("6.1.170", ""));
        assert!(older.tell(false, false) && older.tell(true, false) && !older.tell(true, false));
        assert!(!Machine::with(Kernel::read("7.2.0", "")).tell(true, true));
        assert!(!Machine::with(None).tell(true, true));
    }
}
