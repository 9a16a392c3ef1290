//! What the daemon does for those who ask over the control socket.

use tokio::sync::{mpsc, oneshot, watch};

use super::entry::{Entry, Table};
use crate::control::{Refusal, Service, Status};
use crate::mka::RekeyRefused;
use crate::port::task::RekeyError;

/// What came of a reload: what has changed, a line each, or what is wrong with the configuration.
pub(crate) type Reloaded = Result<Vec<String>, String>;

/// Answers for the ports that run.
#[derive(Debug)]
pub(crate) struct Answers {
    pub(crate) table: watch::Receiver<Table>,
    pub(crate) changes: watch::Receiver<u64>,
    pub(crate) reloads: mpsc::Sender<oneshot::Sender<Reloaded>>,
}

impl Answers {
    fn entries(&self) -> Table {
        self.table.borrow().clone()
    }
}

fn find<'a>(table: &'a Table, interface: &str) -> Result<&'a Entry, Refusal> {
    let entry = table.iter().find(|entry| entry.interface() == interface);
    entry
        .map(|entry| &**entry)
        .ok_or_else(|| Refusal::PortNotFound { interface: interface.to_owned() })
}

impl Service for Answers {
    async fn status(&self, interface: Option<&str>) -> Result<Status, Refusal> {
        let table = self.entries();
        if let Some(interface) = interface {
            let entry = find(&table, interface)?;
            return Ok(Status::new(vec![entry.status().await]));
        }
        let mut ports = Vec::with_capacity(table.len());
        for entry in table.iter() {
            ports.push(entry.status().await);
        }
        Ok(Status::new(ports))
    }

    fn changes(&self) -> watch::Receiver<u64> {
        self.changes.clone()
    }

    async fn rekey(&self, interface: &str) -> Result<(), Refusal> {
        let table = self.entries();
        find(&table, interface)?.handle.rekey().await.map_err(|error| match error {
            RekeyError::Refused(RekeyRefused::NotSecured) => Refusal::NotSecured,
            RekeyError::Refused(RekeyRefused::PeerIsKeyServer(sci)) => {
                Refusal::NotKeyServer { peer: sci.to_string() }
            }
            RekeyError::Gone(_) => Refusal::Busy,
        })
    }

    async fn reload(&self) -> Result<Vec<String>, Refusal> {
        let (answer, answered) = oneshot::channel();
        // Another reload is on its way: this one would read the same file.
        self.reloads.try_send(answer).map_err(|_| Refusal::Busy)?;
        let reloaded = answered.await.map_err(|_| Refusal::Busy)?;
        reloaded.map_err(|message| Refusal::ReloadRefused { message })
    }
}
