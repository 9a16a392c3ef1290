//! What the rest of the daemon can ask a port.

use std::sync::Arc;

use tokio::sync::{mpsc, oneshot, watch};

use crate::crypto::NoEntropy;
use crate::dataplane::{End, Kind, Snapshot};
use crate::keyring::KeyRing;
use crate::mka::{RekeyRefused, Status};
use crate::port::Link;
use crate::time::Time;

/// Requests that wait at once. Whoever comes later waits outside.
pub(super) const REQUESTS_MAX: usize = 16;

/// What a port is asked; the answer goes through the channel that comes with it.
pub(super) enum Request {
    View(oneshot::Sender<View>),
    Ping(oneshot::Sender<()>),
    Rekey(oneshot::Sender<Result<(), RekeyRefused>>),
    SetKeys(Arc<KeyRing>, oneshot::Sender<Result<(), NoEntropy>>),
    Stop(End),
}

/// Reaches the task of one port. Clones reach the same one.
#[derive(Clone, Debug)]
pub struct PortHandle {
    requests: mpsc::Sender<Request>,
    changes: watch::Receiver<u64>,
}

/// The port's task has ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("the port has stopped")]
pub struct PortGone;

/// Why there will be no fresh SAK.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum RekeyError {
    /// The key agreement says no.
    #[error(transparent)]
    Refused(#[from] RekeyRefused),
    /// There is nobody to do it.
    #[error(transparent)]
    Gone(#[from] PortGone),
}

/// How a port stands.
#[derive(Clone, Debug)]
pub struct View {
    /// When that was.
    pub now: Time,
    /// Whether the interface can carry frames.
    pub carrier: bool,
    /// How far the port has come.
    pub stage: Stage,
}

/// How far a port has come.
#[derive(Clone, Debug)]
pub enum Stage {
    /// It is about to be set up.
    Starting,
    /// There is no interface of that name.
    Missing {
        /// Since when.
        since: Time,
    },
    /// The interface is there, and something else is in the way.
    Blocked {
        /// Since when.
        since: Time,
        /// What, in words.
        reason: String,
    },
    /// Key agreement and data plane are at work.
    Running(Box<Running>),
}

/// What a port shows that is at work.
#[derive(Clone, Debug)]
pub struct Running {
    /// The interface.
    pub link: Link,
    /// The key agreement.
    pub status: Status,
    /// Which data plane it is.
    pub kind: Kind,
    /// Why that one, in words.
    pub reason: String,
    /// The data plane.
    pub dataplane: Snapshot,
}

impl PortHandle {
    pub(super) const fn new(
        requests: mpsc::Sender<Request>,
        changes: watch::Receiver<u64>,
    ) -> Self {
        Self { requests, changes }
    }

    /// Gives a receiver that wakes at every change that an operator would want to see: of state,
    /// peers, keys. The value means nothing.
    #[must_use]
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changes.clone()
    }

    /// Asks how the port stands.
    ///
    /// # Errors
    ///
    /// [`PortGone`].
    pub async fn view(&self) -> Result<View, PortGone> {
        self.ask(Request::View).await
    }

    /// Asks for a sign of life.
    ///
    /// # Errors
    ///
    /// [`PortGone`].
    pub async fn ping(&self) -> Result<(), PortGone> {
        self.ask(Request::Ping).await
    }

    /// Asks for a fresh SAK.
    ///
    /// # Errors
    ///
    /// [`RekeyError`].
    pub async fn rekey(&self) -> Result<(), RekeyError> {
        Ok(self.ask(Request::Rekey).await??)
    }

    /// Replaces the keys; a key that stays goes on untouched.
    ///
    /// # Errors
    ///
    /// [`PortGone`]; inside, [`NoEntropy`] where the port goes on with the old ones.
    pub async fn set_keys(&self, keys: Arc<KeyRing>) -> Result<Result<(), NoEntropy>, PortGone> {
        self.ask(|answer| Request::SetKeys(keys, answer)).await
    }

    /// Tells the port to stop. It has stopped when its task has ended.
    ///
    /// Where it is to be cleared and its setup says so, its secure interface goes too.
    pub async fn stop(&self, end: End) {
        // Where it is gone, it has stopped.
        let _gone = self.requests.send(Request::Stop(end)).await;
    }

    async fn ask<T>(
        &self,
        request: impl FnOnce(oneshot::Sender<T>) -> Request,
    ) -> Result<T, PortGone> {
        let (answer, answered) = oneshot::channel();
        self.requests.send(request(answer)).await.map_err(|_| PortGone)?;
        answered.await.map_err(|_| PortGone)
    }
}
