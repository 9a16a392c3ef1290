//! One client, from its first request to its last.

use std::{io, sync::Arc};

use serde::Serialize;
use serde_json::{Value, json};
use tokio::{
    io::AsyncWriteExt,
    net::{
        UnixStream,
        unix::{OwnedReadHalf, OwnedWriteHalf},
    },
    time::{sleep, timeout},
};
use tracing::{debug, info};

use super::{
    access::{Action, permits},
    frame::{FrameError, Framer},
    message::{self, Call, Reply, Request},
    refusal::Refusal,
    server::{Limits, Service},
    status::Status,
};

/// Whom the kernel says we are talking to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Caller {
    pub(crate) uid: u32,
    pub(crate) pid: Option<i32>,
    /// The user that this process runs as.
    pub(crate) daemon: u32,
}

/// A client that was taken in.
pub(crate) struct Session<S> {
    requests: Framer<OwnedReadHalf>,
    replies: OwnedWriteHalf,
    service: Arc<S>,
    caller: Caller,
    limits: Limits,
}

/// Why a client was let go.
#[derive(Debug, thiserror::Error)]
enum End {
    #[error("it left")]
    Left,
    #[error("it was silent too long")]
    Idle,
    #[error("it does not read its replies")]
    NotReading,
    #[error("its request: {0}")]
    NotVarlink(serde_json::Error),
    #[error("its request: {0}")]
    Request(FrameError),
    #[error("a reply: {0}")]
    Encode(serde_json::Error),
    #[error("its socket: {0}")]
    Io(io::Error),
    #[error("the daemon stops")]
    Stopping,
}

impl<S: Service> Session<S> {
    pub(crate) fn new(stream: UnixStream, service: Arc<S>, caller: Caller, limits: Limits) -> Self {
        let (read, replies) = stream.into_split();
        let requests = Framer::new(read, limits.request_octets);
        Self { requests, replies, service, caller, limits }
    }

    /// Serves the client until either side has had enough.
    pub(crate) async fn run(mut self) {
        let end = loop {
            if let Err(end) = self.serve_one().await {
                break end;
            }
        };
        debug!(uid = self.caller.uid, pid = self.caller.pid, %end, "control client let go");
    }

    /// Reads a request and answers it.
    async fn serve_one(&mut self) -> Result<(), End> {
        let request = timeout(self.limits.idle, self.requests.next())
            .await
            .map_err(|_| End::Idle)?
            .map_err(End::Request)?
            .ok_or(End::Left)?;
        let call: Call = serde_json::from_slice(&request).map_err(End::NotVarlink)?;
        match Request::from_call(&call) {
            Ok(Request::Watch { .. }) if call.oneway => Ok(()),
            Ok(Request::Watch { interface }) => self.watch(interface.as_deref()).await,
            Ok(request) => match self.perform(&request).await {
                _ if call.oneway => Ok(()),
                Ok(answer) => self.reply(answer, false).await,
                Err(refusal) => self.refuse(refusal.name(), refusal.parameters()).await,
            },
            Err(_) if call.oneway => Ok(()),
            Err(fault) => self.refuse(fault.name(), fault.parameters()).await,
        }
    }

    /// Does what has one answer.
    async fn perform(&self, request: &Request) -> Result<Answer, Refusal> {
        match request {
            Request::GetInfo => Ok(Answer::Value(message::info())),
            Request::GetInterfaceDescription { description } => {
                Ok(Answer::Value(json!({ "description": description })))
            }
            Request::Status { interface } | Request::Watch { interface } => {
                self.status(interface.as_deref()).await.map(Answer::Status)
            }
            Request::Rekey { interface } => {
                self.permit_change()?;
                info!(uid = self.caller.uid, pid = self.caller.pid, %interface, "rekey asked for");
                self.in_time(self.service.rekey(interface)).await?;
                Ok(Answer::Value(json!({})))
            }
            Request::Reload => {
                self.permit_change()?;
                info!(uid = self.caller.uid, pid = self.caller.pid, "reload asked for");
                let changes = self.in_time(self.service.reload()).await?;
                Ok(Answer::Value(json!({ "changes": changes })))
            }
        }
    }

    /// Sends the status now and after each change.
    ///
    /// What the client sends meanwhile waits; that it left shows when it is next sent something.
    async fn watch(&mut self, interface: Option<&str>) -> Result<(), End> {
        let mut changes = self.service.changes();
        loop {
            // Seen before the status is made, so that no change falls between the two.
            changes.borrow_and_update();
            match self.status(interface).await {
                Ok(status) => self.reply(status, true).await?,
                Err(refusal) => return self.refuse(refusal.name(), refusal.parameters()).await,
            }
            sleep(self.limits.watch_gap).await;
            let rest = self.limits.watch_heartbeat.saturating_sub(self.limits.watch_gap);
            if let Ok(Err(_)) = timeout(rest, changes.changed()).await {
                return Err(End::Stopping);
            }
        }
    }

    async fn status(&self, interface: Option<&str>) -> Result<Status, Refusal> {
        self.in_time(self.service.status(interface)).await
    }

    /// Gives up on an answer that does not come.
    async fn in_time<T>(
        &self,
        answer: impl Future<Output = Result<T, Refusal>>,
    ) -> Result<T, Refusal> {
        timeout(self.limits.answer, answer).await.unwrap_or(Err(Refusal::Busy))
    }

    fn permit_change(&self) -> Result<(), Refusal> {
        if permits(Action::Change, self.caller.uid, self.caller.daemon) {
            return Ok(());
        }
        debug!(uid = self.caller.uid, pid = self.caller.pid, "change refused");
        Err(Refusal::NotPermitted)
    }

    async fn reply(&mut self, parameters: impl Serialize, continues: bool) -> Result<(), End> {
        self.send(&Reply { error: None, parameters: Some(parameters), continues }).await
    }

    async fn refuse(&mut self, name: &'static str, parameters: Option<Value>) -> Result<(), End> {
        self.send(&Reply { error: Some(name), parameters, continues: false }).await
    }

    async fn send(&mut self, reply: &Reply<impl Serialize>) -> Result<(), End> {
        let octets = message::encode(reply).map_err(End::Encode)?;
        timeout(self.limits.write, self.replies.write_all(&octets))
            .await
            .map_err(|_| End::NotReading)?
            .map_err(End::Io)
    }
}

/// The parameters of a reply.
#[derive(Serialize)]
#[serde(untagged)]
enum Answer {
    Status(Status),
    Value(Value),
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use tokio::{io::AsyncReadExt, sync::watch};

    use super::*;

    /// Counts what it is asked to change.
    #[derive(Default)]
    struct Counting(AtomicUsize);

    impl Service for Counting {
        async fn status(&self, _interface: Option<&str>) -> Result<Status, Refusal> {
            Ok(Status::new(Vec::new()))
        }

        fn changes(&self) -> watch::Receiver<u64> {
            watch::Sender::new(0).subscribe()
        }

        async fn rekey(&self, _interface: &str) -> Result<(), Refusal> {
            self.0.fetch_add(1, Ordering::SeqCst);
            Ok(())
        }

        async fn reload(&self) -> Result<Vec<String>, Refusal> {
            self.0.fetch_add(1, Ordering::SeqCst);
            Ok(Vec::new())
        }
    }

    const REKEY: &[u8] =
        b"{\"method\":\"io.macsecd.Rekey\",\"parameters\":{\"interface\":\"eth1\"}}\0";
    const RELOAD: &[u8] = b"{\"method\":\"io.macsecd.Reload\"}\0";
    const STATUS: &[u8] = b"{\"method\":\"io.macsecd.Status\"}\0";

    /// What `uid` gets for these calls from a daemon of user 990, and how many changes were made.
    fn ask(uid: u32, calls: &[u8]) -> (String, usize) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let (near, far) = UnixStream::pair().unwrap();
            let service = Arc::new(Counting::default());
            let caller = Caller { uid, pid: None, daemon: 990 };
            let session = Session::new(far, Arc::clone(&service), caller, Limits::default());
            let (mut read, mut write) = near.into_split();
            write.write_all(calls).await.unwrap();
            drop(write);
            session.run().await;
            let mut replies = String::new();
            read.read_to_string(&mut replies).await.unwrap();
            (replies, service.0.load(Ordering::SeqCst))
        })
    }

    #[test]
    fn another_user_may_look_and_change_nothing() {
        let calls = [REKEY, RELOAD, STATUS].concat();
        let refused = "{\"error\":\"io.macsecd.NotPermitted\"}\0";
        let status = "{\"parameters\":{\"schema\":1,\"ports\":[]}}\0";
        assert_eq!(ask(1000, &calls), (format!("{refused}{refused}{status}"), 0));
    }

    #[test]
    fn root_and_the_daemon_s_user_may_change_things() {
        let calls = [REKEY, RELOAD].concat();
        let done = "{\"parameters\":{}}\0{\"parameters\":{\"changes\":[]}}\0".to_owned();
        assert_eq!(ask(0, &calls), (done.clone(), 2));
        assert_eq!(ask(990, &calls), (done, 2));
    }

    #[test]
    fn a_oneway_call_of_another_user_changes_nothing_either() {
        let call = b"{\"method\":\"io.macsecd.Reload\",\"oneway\":true}\0";
        assert_eq!(ask(1000, call), (String::new(), 0));
    }
}
