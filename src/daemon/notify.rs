//! What the service manager is told.

use std::time::Duration;

use sd_notify::NotifyState;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval, timeout};
use tracing::{debug, error};

use super::entry::Table;

/// Tells that the daemon is configured and does its work.
pub(crate) fn ready() {
    send(&[NotifyState::Ready]);
}

/// Tells that the configuration is being read again; [`ready`] must follow.
pub(crate) fn reloading() {
    match NotifyState::monotonic_usec_now() {
        Ok(now) => send(&[NotifyState::Reloading, now]),
        // Without the time it would count as a failure.
        Err(error) => debug!(%error, "the service manager is not told of the reload"),
    }
}

/// Tells that the daemon is about to end.
pub(crate) fn stopping() {
    send(&[NotifyState::Stopping]);
}

/// Tells in a line how things are.
pub(crate) fn status(line: &str) {
    send(&[NotifyState::Status(line)]);
}

/// Gives signs of life for as long as every port gives one: in half the time that the service
/// manager waits. Returns at once where it does not wait for any.
pub(crate) async fn watchdog(table: watch::Receiver<Table>) {
    let Some(patience) = sd_notify::watchdog_enabled().filter(|patience| !patience.is_zero())
    else {
        return;
    };
    let mut ticks = interval(patience / 2);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        if all_answer(&table, patience / 4).await {
            send(&[NotifyState::Watchdog]);
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

fn send(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        debug!(%error, "the service manager is not reached");
    }
}
