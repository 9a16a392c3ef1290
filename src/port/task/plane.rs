//! The data plane of a port, told to do one thing after the other while the port goes on.
//!
//! It may take its time: an encryptor that is busy, a kernel that somebody else keeps busy. What it is
//! told waits in order, each is done in a thread for such work, and nothing else waits for it: a
//! hello goes out in time whatever the data plane does.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use tokio::task::{JoinHandle, spawn_blocking};
use tokio::time::timeout;
use tracing::warn;

use crate::dataplane::{Dataplane, End, Kind, Snapshot};
use crate::ident::KeyId;
use crate::secy::{CommandId, SecyCommand, SecyError};

/// Something for the data plane to do.
#[derive(Debug)]
pub(super) enum Job {
    /// A command, to be answered under its id.
    Command { id: CommandId, command: SecyCommand },
    /// The parent interface has this MTU now.
    Mtu(u32),
    /// To look whether all is as it should be.
    Look,
}

/// What was done, and how it went.
#[derive(Debug)]
pub(super) enum Done {
    Command { id: CommandId, result: Result<(), SecyError> },
    Mtu { mtu: u32, result: Result<(), SecyError> },
    Look,
}

/// What the data plane says when it has done something.
#[derive(Debug)]
pub(super) struct Report {
    pub(super) done: Done,
    /// Keys that it has lost.
    pub(super) lost: Vec<KeyId>,
}

impl Report {
    pub(super) const fn is_look(&self) -> bool {
        matches!(self.done, Done::Look)
    }
}

/// A data plane, and what it is still to do.
pub(super) struct Plane {
    kind: Kind,
    /// Here while there is nothing to do, else in the thread that does it.
    idle: Option<Dataplane>,
    running: Option<JoinHandle<(Dataplane, Report)>>,
    waiting: VecDeque<Job>,
    shown: Snapshot,
    broken: bool,
    /// How long it is to go on without us, where not for MKA Life Time.
    alone: Option<Duration>,
}

/// More that waits means that the data plane has stopped. Key agreement asks for some ten things
/// for each of 64 peers at most.
const WAITING_MAX: usize = 1024;
/// What takes longer is said.
const LONG: Duration = Duration::from_secs(1);

impl Plane {
    pub(super) fn new(dataplane: Dataplane) -> Self {
        Self {
            kind: dataplane.kind(),
            shown: dataplane.snapshot(),
            idle: Some(dataplane),
            running: None,
            waiting: VecDeque::new(),
            broken: false,
            alone: None,
        }
    }

    pub(super) const fn kind(&self) -> Kind {
        self.kind
    }

    /// Whether it does, and will do, what it is told.
    pub(super) fn is_well(&self) -> bool {
        !self.broken && self.waiting.len() <= WAITING_MAX
    }

    /// What it shows: of now, or of before what it is doing.
    pub(super) fn snapshot(&self) -> Snapshot {
        self.idle.as_ref().map_or_else(|| self.shown.clone(), Dataplane::snapshot)
    }

    /// Has it do something when it has done what it was told before.
    pub(super) fn ask(&mut self, job: Job) {
        self.waiting.push_back(job);
        self.begin();
    }

    /// Has it look, unless it is about to.
    pub(super) fn ask_to_look(&mut self) {
        if !self.waiting.iter().any(|job| matches!(job, Job::Look)) {
            self.ask(Job::Look);
        }
    }

    fn begin(&mut self) {
        if self.running.is_some() || self.waiting.is_empty() {
            return;
        }
        let Some(mut dataplane) = self.idle.take() else { return };
        let Some(job) = self.waiting.pop_front() else { return };
        self.running = Some(spawn_blocking(move || {
            let began = Instant::now();
            let done = carry_out(&mut dataplane, job);
            let took = began.elapsed();
            if took > LONG {
                warn!(?took, ?done, "the data plane was slow");
            }
            let lost = dataplane.take_lost();
            (dataplane, Report { done, lost })
        }));
    }

    /// Waits until something is done; for ever where there is nothing to do. Dropping this future
    /// loses nothing.
    pub(super) async fn done(&mut self) -> Option<Report> {
        let Some(running) = &mut self.running else { return std::future::pending().await };
        let result = running.await;
        self.running = None;
        match result {
            Ok((dataplane, report)) => {
                self.shown = dataplane.snapshot();
                self.idle = Some(dataplane);
                self.begin();
                Some(report)
            }
            Err(error) => {
                warn!(%error, "the data plane has broken");
                self.broken = true;
                None
            }
        }
    }

    /// Waits until all that it was told is done.
    async fn finish(&mut self) {
        while self.running.is_some() {
            drop(self.done().await);
        }
    }

    /// Has it go on for this long without us, once it is let go and all is left.
    pub(super) const fn go_on_for(&mut self, span: Duration) {
        self.alone = Some(span);
    }

    /// Lets it go. Unless all is left, its encryptor has ended or the kernel has no key left when
    /// this returns.
    pub(super) async fn close(mut self, end: End) {
        if end == End::Leave {
            // The next daemon is told that all of this was asked for, and asks for none of it again.
            let _ = timeout(LONG, self.finish()).await;
        }
        self.waiting.clear();
        if self.running.is_some() {
            drop(self.done().await);
        }
        let Some(mut dataplane) = self.idle else { return };
        let alone = self.alone.filter(|_| end == End::Leave);
        // Waiting for an encryptor or for the kernel would hold up all ports.
        if let Err(error) = spawn_blocking(move || {
            if let Some(span) = alone
                && let Err(error) = dataplane.go_on_for(span)
            {
                warn!(%error, "the data plane does not go on for longer");
            }
            dataplane.close(end);
        })
        .await
        {
            warn!(%error, "a data plane did not end well");
        }
    }
}

fn carry_out(dataplane: &mut Dataplane, job: Job) -> Done {
    match job {
        Job::Command { id, command } => Done::Command { id, result: dataplane.apply(&command) },
        Job::Mtu(mtu) => Done::Mtu { mtu, result: dataplane.set_parent_mtu(mtu) },
        Job::Look => {
            dataplane.refresh();
            Done::Look
        }
    }
}
