//! The daemon's end: takes clients in, each into a task of its own.

use std::{convert::Infallible, io, sync::Arc, time::Duration};

use nix::unistd::Uid;
use tokio::{
    net::UnixStream,
    sync::{Semaphore, watch},
    task::JoinSet,
    time::sleep,
};
use tracing::{debug, warn};

use super::{
    access::{Action, permits},
    message::{self, Reply},
    refusal::Refusal,
    session::{Caller, Session},
    socket::ControlSocket,
    status::Status,
};

/// What the daemon does for those who ask over the socket.
///
/// Who may ask has been settled before a method is called. An answer that takes longer than
/// [`Limits::answer`] is given up, and the client told that the daemon is busy.
pub trait Service: Send + Sync + 'static {
    /// Reports all ports, or the one with this interface.
    fn status(
        &self,
        interface: Option<&str>,
    ) -> impl Future<Output = Result<Status, Refusal>> + Send;

    /// Gives a receiver that wakes when somebody who watches should be told: at a change of state,
    /// of a peer, of a key, of a finding. The value means nothing. Dropping the sender ends every
    /// watch.
    fn changes(&self) -> watch::Receiver<u64>;

    /// Has a new SAK made for the port with this interface.
    fn rekey(&self, interface: &str) -> impl Future<Output = Result<(), Refusal>> + Send;

    /// Reads the configuration again and tells what changed, a line each.
    fn reload(&self) -> impl Future<Output = Result<Vec<String>, Refusal>> + Send;
}

/// What clients may cost.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Clients at once of those who may change things, and as many again of those who may look:
    /// neither can lock the other out.
    pub clients: usize,
    /// Octets of a request. The longest that means anything is a few hundred.
    pub request_octets: usize,
    /// How long a client may be silent, or take over a request.
    pub idle: Duration,
    /// How long a client may take over reading a reply.
    pub write: Duration,
    /// How long the daemon may take over an answer.
    pub answer: Duration,
    /// The least between two replies to a watch.
    pub watch_gap: Duration,
    /// The most between two replies to a watch. It is also how long a watcher that went away
    /// unseen is kept.
    pub watch_heartbeat: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            clients: 128,
            request_octets: 64 * 1024,
            idle: Duration::from_secs(60),
            write: Duration::from_secs(5),
            answer: Duration::from_secs(10),
            watch_gap: Duration::from_millis(250),
            watch_heartbeat: Duration::from_secs(10),
        }
    }
}

/// Serves the control socket.
#[derive(Debug)]
pub struct Server<S> {
    socket: ControlSocket,
    service: Arc<S>,
    limits: Limits,
}

impl<S: Service> Server<S> {
    /// Makes a server; nobody is served before [`Server::run`].
    #[must_use]
    pub const fn new(socket: ControlSocket, service: Arc<S>, limits: Limits) -> Self {
        Self { socket, service, limits }
    }

    /// Serves until it is dropped. That lets all clients go and removes the socket.
    ///
    /// # Errors
    ///
    /// Where the socket cannot be used at all. What a client does is never an error.
    pub async fn run(self) -> io::Result<Infallible> {
        let listener = self.socket.listener()?;
        let door = Door::new(self.limits.clients);
        let mut clients = JoinSet::new();
        loop {
            tokio::select! {
                accepted = listener.accept() => match accepted {
                    Ok((stream, _)) => self.admit(stream, &door, &mut clients),
                    Err(error) => {
                        // Out of descriptors, most likely: those who are in must leave first.
                        warn!(%error, "control socket: no client taken in");
                        sleep(ACCEPT_PAUSE).await;
                    }
                },
                Some(_) = clients.join_next(), if !clients.is_empty() => {}
            }
        }
    }

    /// Starts a task for a client, where there is room for one.
    fn admit(&self, stream: UnixStream, door: &Door, clients: &mut JoinSet<()>) {
        let caller = match stream.peer_cred() {
            Ok(peer) => Caller { uid: peer.uid(), pid: peer.pid(), daemon: door.daemon },
            Err(error) => {
                debug!(%error, "control socket: a client without credentials is turned away");
                return;
            }
        };
        let room = if permits(Action::Change, caller.uid, caller.daemon) {
            &door.masters
        } else {
            &door.guests
        };
        let Ok(place) = Arc::clone(room).try_acquire_owned() else {
            debug!(uid = caller.uid, "control socket: full");
            turn_away(&stream);
            return;
        };
        let session = Session::new(stream, Arc::clone(&self.service), caller, self.limits);
        clients.spawn(async move {
            session.run().await;
            drop(place);
        });
    }
}

/// Room for clients.
struct Door {
    /// The user that this process runs as.
    daemon: u32,
    /// For those who may change things.
    masters: Arc<Semaphore>,
    /// For those who may look.
    guests: Arc<Semaphore>,
}

impl Door {
    fn new(clients: usize) -> Self {
        Self {
            daemon: Uid::effective().as_raw(),
            masters: Arc::new(Semaphore::new(clients)),
            guests: Arc::new(Semaphore::new(clients)),
        }
    }
}

/// Says "busy" to a client that there is no room for, if it goes at once.
fn turn_away(stream: &UnixStream) {
    let reply = Reply {
        error: Some(Refusal::Busy.name()),
        parameters: Refusal::Busy.parameters(),
        continues: false,
    };
    if let Ok(octets) = message::encode(&reply) {
        // The queue of a new socket is empty. Whether it went makes no difference.
        let _sent = stream.try_write(&octets);
    }
}

/// How long the door stays shut after the system refused a client.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
