//! What everybody in the daemon knows of a running port.

use std::mem;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::time::{sleep, timeout};
use tracing::{info, warn};

use super::machine::Machine;
use super::plan::PortPlan;
use super::report::{self, Answer};
use crate::control::{Offload, PortState, PortStatus, Reason, Severity};
use crate::diagnose::Trend;
use crate::port::task::{PortHandle, Stage};

/// The ports that run, in the order of the configuration.
pub(crate) type Table = Arc<[Arc<Entry>]>;

/// A port that runs.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) plan: PortPlan,
    pub(crate) handle: PortHandle,
    machine: Arc<Machine>,
    /// What the log and the service manager were last told.
    told: Mutex<Told>,
    /// What its counters have done, looked at with each status and so once a second at least.
    trend: Mutex<Trend>,
}

/// How a port stands, in a few words.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(crate) struct Told {
    pub(crate) state: PortState,
    pub(crate) code: Option<String>,
    /// The codes of what is wrong although it is secured.
    findings: Vec<String>,
}

/// How long a port may take to say how it stands. It does nothing that takes longer.
const PATIENCE: Duration = Duration::from_secs(1);
/// How often a reason that comes with time alone is looked for.
const LOOK: Duration = Duration::from_secs(1);
/// The least between two looks, so that a port that flaps cannot fill the log.
const GAP: Duration = Duration::from_millis(20);

impl Entry {
    pub(crate) fn new(plan: PortPlan, handle: PortHandle, machine: Arc<Machine>) -> Self {
        Self { plan, handle, machine, told: Mutex::default(), trend: Mutex::default() }
    }

    /// The same port, running by another plan.
    pub(crate) fn with_plan(&self, plan: PortPlan) -> Self {
        let trend = self.trend.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let (told, trend) = (Mutex::new(self.told()), Mutex::new(trend));
        let (handle, machine) = (self.handle.clone(), Arc::clone(&self.machine));
        Self { plan, handle, machine, told, trend }
    }

    /// The port's name.
    pub(crate) fn interface(&self) -> &str {
        self.plan.interface()
    }

    /// How the port stood when it was last looked at.
    pub(crate) fn told(&self) -> Told {
        self.told.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Asks the port how it stands; there is always something to say.
    pub(crate) async fn status(&self) -> PortStatus {
        let answer = match timeout(PATIENCE, self.handle.view()).await {
            Ok(Ok(view)) => Answer::View(Box::new(view)),
            Ok(Err(_)) | Err(_) => Answer::None,
        };
        let mut trend = self.trend.lock().unwrap_or_else(PoisonError::into_inner);
        report::port_status(&self.plan, &answer, &mut trend, self.machine.kernel())
    }

    /// Tells whether the port is still being set up for the first time.
    pub(crate) async fn is_starting(&self) -> bool {
        self.handle.view().await.is_ok_and(|view| matches!(view.stage, Stage::Starting))
    }

    /// Notes and logs how the port stands, and tells whether that is new.
    fn tell(&self, status: &PortStatus) -> bool {
        if let Some(kernel) = &status.kernel {
            let xpn = self.plan.suites().iter().any(|suite| suite.is_xpn());
            self.machine.tell(xpn, kernel.offload != Offload::Off);
        }
        let code = status.reason.as_ref().map(|reason| reason.code.clone());
        let findings = status.findings.iter().map(|finding| finding.code.clone()).collect();
        let now = Told { state: status.state, code, findings };
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        if *told == now {
            return false;
        }
        let before = mem::replace(&mut *told, now);
        drop(told);
        if (status.state, status.reason.as_ref().map(|reason| &reason.code))
            != (before.state, before.code.as_ref())
        {
            log(status);
        }
        for finding in &status.findings {
            // What is wrong with the kernel is no port's affair, and was told.
            let of_kernel = matches!(finding.code.as_str(), "N604" | "W604");
            if !of_kernel && !before.findings.contains(&finding.code) {
                let Reason { code, title, .. } = finding;
                match finding.severity() {
                    Severity::Note => info!(iface = %status.interface, %code, "{title}"),
                    Severity::Warning | Severity::Error => {
                        warn!(iface = %status.interface, %code, "{title}");
                    }
                }
            }
        }
        true
    }
}

/// Follows a port until its task ends: logs each change of its state or reason, and wakes those who
/// watch. In the end the port's name is sent to `ended`.
pub(crate) async fn follow(
    entry: Arc<Entry>,
    changes: watch::Sender<u64>,
    ended: mpsc::Sender<String>,
) {
    let mut woken = entry.handle.changes();
    loop {
        let seen = woken.has_changed().unwrap_or(false);
        woken.borrow_and_update();
        if entry.tell(&entry.status().await) || seen {
            changes.send_modify(|count| *count = count.wrapping_add(1));
        }
        sleep(GAP).await;
        match timeout(LOOK, woken.changed()).await {
            Ok(Ok(())) => woken.mark_changed(),
            Err(_) => {}
            Ok(Err(_)) => break,
        }
    }
    // Where nobody listens, the daemon is about to end.
    let _ = ended.send(entry.interface().to_owned()).await;
}

/// Writes the line for a change of state.
fn log(status: &PortStatus) {
    let PortStatus { interface: iface, .. } = status;
    let state = report::word(status.state);
    let principal = report::principal(status);
    let ckn = principal.map(|participant| report::tail(&participant.ckn)).unwrap_or_default();
    match &status.reason {
        // The machine is at fault, not the link: a human has to look.
        Some(reason) if reason.severity() == Severity::Error => {
            let Reason { code, title, .. } = reason;
            warn!(%iface, state, %code, ckn, "{title}");
        }
        Some(Reason { code, title, .. }) => info!(%iface, state, %code, ckn, "{title}"),
        None => {
            let suite = status.cipher_suite.as_deref().unwrap_or_default();
            let peer = status.peers.iter().find(|peer| peer.live);
            let peer_sci = peer.map(|peer| peer.sci.as_str()).unwrap_or_default();
            info!(%iface, state, suite, peer_sci, ckn, "frames are protected");
        }
    }
}
