//! What the service manager is told, by the protocol of sd_notify(3).

use std::ffi::OsStr;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram as StdDatagram};
use std::time::Duration;
use std::{env, io};

use sd_notify::NotifyState;
use tokio::net::UnixDatagram;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval, timeout};
use tracing::{debug, error};

use super::entry::Table;

/// The service manager, where there is one.
#[derive(Debug)]
pub(crate) struct Manager(Option<UnixDatagram>);

/// How long the service manager may take to take something in. One that hangs must not keep the
/// daemon from its work.
const PATIENCE: Duration = Duration::from_millis(500);

impl Manager {
    /// Finds the service manager of this process.
    pub(crate) fn from_env() -> Self {
        let Some(name) = env::var_os("NOTIFY_SOCKET") else { return Self(None) };
        match connect(&name) {
            Ok(socket) => Self(Some(socket)),
            Err(error) => {
                debug!(%error, "the service manager is not reached");
                Self(None)
            }
        }
    }

    /// Tells that the daemon is configured and does its work.
    pub(crate) async fn ready(&self) {
        self.tell(&[NotifyState::Ready]).await;
    }

    /// Tells that the configuration is being read again; [`Manager::ready`] must follow.
    pub(crate) async fn reloading(&self) {
        match NotifyState::monotonic_usec_now() {
            Ok(now) => self.tell(&[NotifyState::Reloading, now]).await,
            // Without the time it would count as a failure.
            Err(error) => debug!(%error, "the service manager is not told of the reload"),
        }
    }

    /// Tells that the daemon is about to end.
    pub(crate) async fn stopping(&self) {
        self.tell(&[NotifyState::Stopping]).await;
    }

    /// Tells in a line how things are.
    pub(crate) async fn status(&self, line: &str) {
        self.tell(&[NotifyState::Status(line)]).await;
    }

    async fn tell(&self, states: &[NotifyState<'_>]) {
        let Some(socket) = &self.0 else { return };
        let text: String = states.iter().map(|state| format!("{state}\n")).collect();
        match timeout(PATIENCE, socket.send(text.as_bytes())).await {
            Ok(Ok(_)) => {}
            Ok(Err(error)) => debug!(%error, "the service manager is not reached"),
            Err(_) => debug!("the service manager does not listen"),
        }
    }
}

/// Connects to a socket in the file system, or one of the kernel's where the name begins with `@`.
fn connect(name: &OsStr) -> io::Result<UnixDatagram> {
    let address = match name.as_bytes() {
        [b'@', name @ ..] => SocketAddr::from_abstract_name(name)?,
        _ => SocketAddr::from_pathname(name)?,
    };
    let socket = StdDatagram::unbound()?;
    socket.connect_addr(&address)?;
    socket.set_nonblocking(true)?;
    UnixDatagram::from_std(socket)
}

/// Gives signs of life for as long as every port gives one: in half the time that the service
/// manager waits. Returns at once where it does not wait for any.
pub(crate) async fn watchdog(table: watch::Receiver<Table>) {
    let Some(patience) = sd_notify::watchdog_enabled().filter(|patience| !patience.is_zero())
    else {
        return;
    };
    let manager = Manager::from_env();
    let mut ticks = interval(patience / 2);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        if all_answer(&table, patience / 4).await {
            manager.tell(&[NotifyState::Watchdog]).await;
        }
    }
}

/// Waits until each port has answered; an answer after `patience` is none.
async fn all_answer(table: &watch::Receiver<Table>, patience: Duration) -> bool {
    let mut pings = JoinSet::new();
    let entries = table.borrow().clone();
    for entry in entries.iter() {
        let (interface, handle) = (entry.interface().to_owned(), entry.handle.clone());
        pings.spawn(async move {
            // A port that has gone is being started again.
            let answered = timeout(patience, handle.ping()).await.is_ok();
            if !answered {
                error!(iface = %interface, "the port does not answer");
            }
            answered
        });
    }
    pings.join_all().await.into_iter().all(|answered| answered)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(test: impl Future<Output = ()>) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(test);
    }

    #[test]
    fn a_message_reaches_a_socket_of_either_kind() {
        run(async {
            let name = format!("macsecd-test-{}", std::process::id());
            let abstract_address = SocketAddr::from_abstract_name(&name).unwrap();
            let directory = tempfile::tempdir().unwrap();
            let path = directory.path().join("notify");
            for (listener, name) in [
                (StdDatagram::bind_addr(&abstract_address).unwrap(), format!("@{name}").into()),
                (StdDatagram::bind(&path).unwrap(), path.into_os_string()),
            ] {
                let manager = Manager(Some(connect(&name).unwrap()));
                manager.status("all well").await;
                let mut buffer = [0; 64];
                let length = listener.recv(&mut buffer).unwrap();
                assert_eq!(&buffer[..length], b"STATUS=all well\n");
            }
        });
    }

    #[test]
    fn a_manager_that_does_not_listen_is_not_waited_for_long() {
        run(async {
            let directory = tempfile::tempdir().unwrap();
            let path = directory.path().join("notify");
            let _listener = StdDatagram::bind(&path).unwrap();
            let manager = Manager(Some(connect(path.as_os_str()).unwrap()));
            let full = async { while timeout(PATIENCE / 2, manager.ready()).await.is_ok() {} };
            timeout(Duration::from_secs(60), full).await.unwrap();
            timeout(10 * PATIENCE, manager.ready()).await.unwrap();
        });
    }
}
