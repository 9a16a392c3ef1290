//! A daemon without ports or keys: the control server over a service that says what it is told to.

#![allow(clippy::unwrap_used, dead_code, reason = "shared by tests that each use a part")]

use std::{
    future::pending,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    thread::JoinHandle,
};

use macsecd::control::{
    ControlSocket, Dataplane, Kernel, KeyServer, Limits, Mka, Offload, Participant, Peer,
    PortState, PortStatus, Reason, Refusal, Role, Sak, Server, Service, Status,
};
use tokio::sync::{oneshot, watch};

/// What the daemon would be, if there were one.
pub(crate) struct Fake {
    status: Mutex<Status>,
    changes: watch::Sender<u64>,
    pub(crate) rekeys: AtomicUsize,
    pub(crate) reloads: AtomicUsize,
}

impl Fake {
    /// Changes the status, as an event on the wire would.
    pub(crate) fn publish(&self, ports: Vec<PortStatus>) {
        *self.status.lock().unwrap() = Status::new(ports);
        self.changes.send_modify(|generation| *generation += 1);
    }
}

impl Service for Fake {
    async fn status(&self, interface: Option<&str>) -> Result<Status, Refusal> {
        let mut status = self.status.lock().unwrap().clone();
        let Some(interface) = interface else { return Ok(status) };
        status.ports.retain(|port| port.interface == interface);
        if status.ports.is_empty() {
            return Err(Refusal::PortNotFound { interface: interface.to_owned() });
        }
        Ok(status)
    }

    fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    /// Every interface stands for one outcome.
    async fn rekey(&self, interface: &str) -> Result<(), Refusal> {
        match interface {
            "eth1" => {
                self.rekeys.fetch_add(1, Ordering::SeqCst);
                Ok(())
            }
            "follower" => Err(Refusal::NotKeyServer { peer: "02:00:00:00:00:02/0001".into() }),
            "busy" => Err(Refusal::Busy),
            "clear" => Err(Refusal::NotSecured),
            "closed" => Err(Refusal::NotPermitted),
            "hanging" => pending().await,
            other => Err(Refusal::PortNotFound { interface: other.to_owned() }),
        }
    }

    /// The first works, the second finds a mistake.
    async fn reload(&self) -> Result<Vec<String>, Refusal> {
        match self.reloads.fetch_add(1, Ordering::SeqCst) {
            0 => Ok(vec!["eth1: replay-window 0 -> 64".to_owned()]),
            _ => Err(Refusal::ReloadRefused { message: "line 3: unknown key `prot`".to_owned() }),
        }
    }
}

/// A server on a socket in a directory of its own, in a thread of its own.
pub(crate) struct Rig {
    pub(crate) fake: Arc<Fake>,
    path: PathBuf,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
    _directory: tempfile::TempDir,
}

impl Rig {
    pub(crate) fn start(ports: Vec<PortStatus>) -> Self {
        Self::with_limits(ports, Limits::default())
    }

    pub(crate) fn with_limits(ports: Vec<PortStatus>, limits: Limits) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("control.sock");
        let socket = ControlSocket::bind(&path, "no-such-group").unwrap();
        let fake = Arc::new(Fake {
            status: Mutex::new(Status::new(ports)),
            changes: watch::Sender::new(0),
            rekeys: AtomicUsize::new(0),
            reloads: AtomicUsize::new(0),
        });
        let (stop, stopped) = oneshot::channel();
        let server = Server::new(socket, Arc::clone(&fake), limits);
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.unwrap().block_on(async {
                tokio::select! {
                    ended = server.run() => match ended.unwrap() {},
                    _ = stopped => {}
                }
            });
        });
        Self { fake, path, stop: Some(stop), thread: Some(thread), _directory: directory }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Ends the server and waits until it has.
    pub(crate) fn stop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap();
        }
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        self.stop();
    }
}

/// A port with a link and nobody at the other end.
pub(crate) fn listening(interface: &str) -> PortStatus {
    PortStatus {
        interface: interface.to_owned(),
        secure_interface: "macsec0".to_owned(),
        state: PortState::Listening,
        state_seconds: 41.0,
        reason: Some(Reason {
            code: "E002".to_owned(),
            title: "the link is up and nothing at all is received".to_owned(),
            advice: "Check the patch panel.".to_owned(),
            evidence: vec!["0 frames in 41 s".to_owned()],
        }),
        carrier: true,
        ..PortStatus::default()
    }
}

/// A port with every field filled in.
pub(crate) fn secured(interface: &str) -> PortStatus {
    PortStatus {
        interface: interface.to_owned(),
        secure_interface: "macsec0".to_owned(),
        state: PortState::Secured,
        state_seconds: 12.4,
        reason: None,
        findings: Vec::new(),
        carrier: true,
        dataplane: Some(Dataplane::Userspace),
        dataplane_reason: Some("the kernel has no MACsec".to_owned()),
        dataplane_configured: "auto".to_owned(),
        kernel: None,
        cipher_suite: Some("GCM-AES-XPN-256".to_owned()),
        key_server: KeyServer::Own,
        secured_for_seconds: Some(12.4),
        peers: vec![Peer {
            sci: "02:00:00:00:00:02/0001".to_owned(),
            mi: "0102030405060708090a0b0c".to_owned(),
            live: true,
            key_server_priority: 200,
            mka_version: 3,
            also_in_clear: false,
            last_heard_seconds: 0.7,
        }],
        participants: vec![Participant {
            ckn: "0a0b0c0d".to_owned(),
            role: Role::Principal,
            state: PortState::Secured,
            live_peers: 1,
            in_use: true,
        }],
        sak: Some(Sak { key_number: 3, an: 2, age_seconds: 5.0, pn_used_ratio: 0.0 }),
        rekeys: 2,
        last_switch_ms: None,
        counters: [("in_pkts_ok".to_owned(), 81), ("out_pkts_encrypted".to_owned(), 84)].into(),
        mka: Mka {
            sci: "02:00:00:00:00:01/0001".to_owned(),
            mi: "1112131415161718191a1b1c".to_owned(),
            mn: 20,
            mkpdus_sent: 20,
            mkpdus_received: 19,
            discards: [("unknown_ckn".to_owned(), 1)].into(),
        },
    }
}

/// The same in the kernel, with something amiss.
pub(crate) fn degraded(interface: &str) -> PortStatus {
    PortStatus {
        last_switch_ms: Some(12.345),
        dataplane: Some(Dataplane::Kernel),
        dataplane_reason: Some("this kernel has MACsec".to_owned()),
        kernel: Some(Kernel {
            offload: Offload::Phy,
            offload_configured: Offload::Auto,
            offload_refused: Some("mac: not supported".to_owned()),
            interference: 2,
            last_interference: Some("the secure interface was deleted".to_owned()),
            neighbours: vec!["macsec7".to_owned()],
        }),
        findings: vec![Reason {
            code: "W602".to_owned(),
            title: "one core carries all decryption".to_owned(),
            advice: "Use more workers.".to_owned(),
            evidence: Vec::new(),
        }],
        ..secured(interface)
    }
}
