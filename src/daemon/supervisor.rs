//! Starts and stops ports: at first, when the configuration changes, when one breaks, at the end.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{sleep, timeout};
use tracing::{error, info, warn};

use super::args::{self, Args};
use super::entry::{Entry, Table, follow};
use super::links::Links;
use super::loader::Loader;
use super::log::{self, Verbosity};
use super::machine::Machine;
use super::plan::{self, Change, Plan, PortPlan};
use super::report;
use super::rotation;
use crate::config::ControlConfig;
use crate::control::PortState;
use crate::dataplane::{EncryptorHome, End};
use crate::port::task::{self, Home};

/// How long a port may take to stop. Its threads are waited for, and each ends within a batch.
const STOP: Duration = Duration::from_secs(8);
/// How long reading the configuration again may take. A key may come from a slow place.
const LOAD: Duration = Duration::from_secs(5);
/// How long a port that broke keeps still: a fault that comes again must not fill the log.
const PAUSE: Duration = Duration::from_secs(5);
/// How long the ports may take to set themselves up before the daemon calls itself ready, or a
/// reload done.
const BEGIN: Duration = Duration::from_secs(5);
/// How often they are asked whether they have.
const LOOK: Duration = Duration::from_millis(5);

/// Holds the ports.
#[derive(Debug)]
pub(crate) struct Supervisor {
    args: Args,
    loader: Loader<Result<Plan, String>>,
    verbosity: Verbosity,
    links: Links,
    machine: Arc<Machine>,
    /// What holds until the next start.
    control: ControlConfig,
    /// In the order of the configuration.
    ports: Vec<Port>,
    table: watch::Sender<Table>,
    changes: watch::Sender<u64>,
    ended: mpsc::Sender<String>,
}

#[derive(Debug)]
struct Port {
    entry: Arc<Entry>,
    task: JoinHandle<()>,
    follower: JoinHandle<()>,
}

impl Supervisor {
    /// Makes one without ports. The names of ports that break are sent to `ended`.
    pub(crate) fn new(
        args: Args,
        control: ControlConfig,
        verbosity: Verbosity,
        links: Links,
        ended: mpsc::Sender<String>,
    ) -> Self {
        let (table, _) = watch::channel(Table::default());
        let (changes, _) = watch::channel(0);
        Self {
            args,
            loader: Loader::default(),
            verbosity,
            links,
            machine: Arc::new(Machine::new()),
            control,
            ports: Vec::new(),
            table,
            changes,
            ended,
        }
    }

    /// The ports that run.
    pub(crate) fn table(&self) -> watch::Receiver<Table> {
        self.table.subscribe()
    }

    /// Wakes at each change that an operator would want to see.
    pub(crate) fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    /// Starts the first ports, and waits until each has set itself up or said what is in the way.
    pub(crate) async fn begin(&mut self, plan: Plan) {
        for port in plan.ports {
            let port = self.start(port, Duration::ZERO);
            self.ports.push(port);
        }
        self.publish();
        let table = self.table.borrow().clone();
        settle(&table).await;
    }

    fn start(&self, plan: PortPlan, delay: Duration) -> Port {
        let link = self.links.watch(plan.interface());
        let (handle, task) = task::spawn(plan.setup(delay), self.home(), link);
        let entry = Arc::new(Entry::new(plan, handle, Arc::clone(&self.machine)));
        let following = follow(Arc::clone(&entry), self.changes.clone(), self.ended.clone());
        Port { entry, task, follower: tokio::spawn(following) }
    }

    /// Where the ports have what outlives us: beside the control socket, whose owner there is one
    /// of.
    fn home(&self) -> Home {
        let socket = &self.control.socket;
        let encryptors = EncryptorHome {
            directory: socket.with_extension("encryptors"),
            // This very program, also where another one has been put in its place.
            program: "/proc/self/exe".into(),
            arguments: args::for_encryptor(&self.verbosity.word()),
            inherits_stderr: log::outlives_us(),
        };
        Home { encryptors, records: socket.with_extension("records") }
    }

    /// Tells everybody which ports there are.
    fn publish(&self) {
        let table = self.ports.iter().map(|port| Arc::clone(&port.entry)).collect();
        self.table.send_replace(table);
        self.changes.send_modify(|count| *count = count.wrapping_add(1));
    }

    /// Reads the configuration again; the ports go on meanwhile. Dropping this future changes nothing.
    pub(crate) async fn load(&mut self) -> Result<Plan, String> {
        let path = self.args.config.clone();
        let refused = match self.loader.load(LOAD, move || Plan::load(&path, false)).await {
            Ok(Ok(plan)) => return Ok(plan),
            Ok(Err(refused)) => refused,
            Err(error) => format!("{}: {error}", self.args.config.display()),
        };
        error!("the new configuration is refused, the old one stays in force:\n{refused}");
        Err(refused)
    }

    /// Makes a configuration so, and gives what has changed, a line each.
    pub(crate) async fn adopt(&mut self, plan: Plan) -> Vec<String> {
        log::warnings(&plan.warnings);
        self.verbosity.follow(plan.log_level);
        let mut changes = self.make_so(plan.ports).await;
        changes.extend(plan::control_changes(&self.control, &self.args.control(plan.control)));
        match changes.as_slice() {
            [] => info!("the configuration was read again: nothing has changed"),
            changes => {
                for change in changes {
                    info!("the configuration was read again: {change}");
                }
            }
        }
        changes
    }

    /// Stops, changes and starts ports; gives what was done, a line each.
    async fn make_so(&mut self, plans: Vec<PortPlan>) -> Vec<String> {
        let running = || self.ports.iter().map(|port| &port.entry.plan);
        let plans: Vec<_> = plans
            .into_iter()
            .map(|plan| {
                let change = plan.change_from(running());
                (plan, change)
            })
            .collect();
        let (mut kept, mut gone, mut lines) = (Vec::new(), Vec::new(), Vec::new());
        for port in self.ports.drain(..) {
            let planned = plans.iter().find(|(plan, _)| plan.interface() == port.entry.interface());
            match planned {
                Some((_, Change::None | Change::Keys)) => kept.push(port),
                Some((plan, Change::Restart | Change::Add)) => {
                    // What was is gone on with, as far as it fits what is wanted now.
                    let kept = plan.keeps_secure_interface_of(&port.entry.plan);
                    gone.push((port, if kept { End::Leave } else { End::Delete }));
                }
                None => {
                    lines.push(format!("{}: removed", port.entry.interface()));
                    gone.push((port, End::Delete));
                }
            }
        }
        // First of all: a new port may take over the name of an old one's interface.
        stop_all(gone).await;
        let mut started = Vec::new();
        for (plan, change) in plans {
            let interface = plan.interface().to_owned();
            let at = kept.iter().position(|port| port.entry.interface() == interface);
            let (port, line) = match (change, at.map(|at| kept.remove(at))) {
                (Change::Keys, Some(port)) => self.change_keys(port, plan).await,
                (Change::None, Some(port)) => (port, None),
                (Change::Add, _) => (self.start(plan, Duration::ZERO), Some("added")),
                (Change::Restart | Change::None | Change::Keys, _) => {
                    (self.start(plan, Duration::ZERO), Some("changed"))
                }
            };
            if matches!(change, Change::Add | Change::Restart) {
                started.push(Arc::clone(&port.entry));
            }
            self.ports.push(port);
            lines.extend(line.map(|line| format!("{interface}: {line}")));
        }
        self.publish();
        settle(&started).await;
        for entry in started {
            let status = entry.status().await;
            if let (PortState::Failed, Some(reason)) = (status.state, status.reason) {
                lines.push(format!("{}: {} {}", entry.interface(), reason.code, reason.title));
            }
        }
        lines
    }

    /// Gives a port other keys while it runs.
    async fn change_keys(&self, port: Port, plan: PortPlan) -> (Port, Option<&'static str>) {
        match port.entry.handle.set_keys(Arc::clone(&plan.keys)).await {
            Ok(Ok(())) => {
                let Port { entry, task, follower } = port;
                follower.abort();
                let entry = Arc::new(entry.with_plan(plan));
                let following =
                    follow(Arc::clone(&entry), self.changes.clone(), self.ended.clone());
                let follower = tokio::spawn(following);
                (Port { entry, task, follower }, Some("keys changed"))
            }
            Ok(Err(error)) => {
                warn!(iface = %port.entry.interface(), %error, "the keys are not changed");
                (port, Some("the keys are not changed: there are no random numbers"))
            }
            Err(_) => {
                stop_all(vec![(port, End::Clear)]).await;
                (self.start(plan, Duration::ZERO), Some("started afresh"))
            }
        }
    }

    /// Prefers the keys that have started since, on ports that go by that. They were listened to
    /// before: nothing but the order changes.
    pub(crate) async fn turn_keys(&mut self) {
        let now = rotation::clock();
        for at in 0..self.ports.len() {
            let Some(plan) = self.ports.get(at).and_then(|port| port.entry.plan.turned(now)) else {
                continue;
            };
            let port = self.ports.remove(at);
            let (port, line) = self.change_keys(port, plan).await;
            if let Some(line) = line {
                info!(iface = %port.entry.interface(), "a key has started: {line}");
            }
            self.ports.insert(at, port);
            self.publish();
        }
    }

    /// Starts a port again whose task has ended by itself.
    pub(crate) async fn restart(&mut self, interface: &str) {
        let broken = |port: &Port| port.entry.interface() == interface && port.task.is_finished();
        // One that was stopped in the meantime is not among them any more.
        let Some(at) = self.ports.iter().position(broken) else { return };
        let Port { entry, task, follower } = self.ports.remove(at);
        follower.abort();
        match task.await {
            Ok(()) => error!(iface = %interface, "the port has ended by itself"),
            Err(error) => error!(iface = %interface, %error, "the port has broken"),
        }
        let port = self.start(entry.plan.clone(), PAUSE);
        self.ports.insert(at, port);
        self.publish();
    }

    /// Puts the state of all ports in a line for the service manager.
    pub(crate) fn summary(&self) -> String {
        /// Those who want to know more ask `macsecctl status`.
        const NAMED_MAX: usize = 4;
        let table = self.table.borrow();
        let told: Vec<_> = table.iter().map(|entry| (entry.interface(), entry.told())).collect();
        let secured = told.iter().filter(|(_, told)| told.state == PortState::Secured).count();
        let mut words: Vec<_> = told
            .iter()
            .take(NAMED_MAX)
            .map(|(interface, told)| match &told.code {
                Some(code) => format!("{interface} {} ({code})", report::word(told.state)),
                None => format!("{interface} {}", report::word(told.state)),
            })
            .collect();
        if let Some(more) = told.len().checked_sub(NAMED_MAX).filter(|&more| more > 0) {
            words.push(format!("{more} more"));
        }
        format!("{secured} of {} ports secured: {}", told.len(), words.join(", "))
    }

    /// Stops all ports.
    pub(crate) async fn end(self, end: End) {
        stop_all(self.ports.into_iter().map(|port| (port, end)).collect()).await;
    }
}

/// Waits until each port has set itself up or said what is in the way.
async fn settle(entries: &[Arc<Entry>]) {
    let settled = async {
        for entry in entries {
            while entry.is_starting().await {
                sleep(LOOK).await;
            }
        }
    };
    if timeout(BEGIN, settled).await.is_err() {
        warn!("some ports are still being set up");
    }
}

/// Stops ports, all at the same time; with each, what is to be left of it.
async fn stop_all(ports: Vec<(Port, End)>) {
    let mut stopping = JoinSet::new();
    for (Port { entry, task, follower }, end) in ports {
        follower.abort();
        stopping.spawn(async move {
            let stopped = timeout(STOP, async {
                entry.handle.stop(end).await;
                task.await
            });
            match stopped.await {
                Ok(Ok(())) => info!(iface = %entry.interface(), "the port has stopped"),
                Ok(Err(error)) => error!(iface = %entry.interface(), %error, "the port has broken"),
                Err(_) => error!(iface = %entry.interface(), "the port does not stop"),
            }
        });
    }
    stopping.join_all().await;
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::config::LogLevel;
    use crate::daemon::log;

    fn plan() -> Plan {
        let key = "ckn = \"01\"\ncak = \"000102030405060708090a0b0c0d0e0f\"";
        let ports = ["none-such-1", "none-such-2"].map(|interface| {
            format!(
                "[[port]]\ninterface = \"{interface}\"\nsecure-interface = \"{interface}s\"\n\
                 cipher-suites = [\"gcm-aes-128\"]\n[[port.key]]\n{key}\n"
            )
        });
        Plan::parse(&ports.concat(), Path::new("test.toml")).unwrap()
    }

    /// A task that breaks takes neither the daemon nor the other ports with it.
    #[test]
    fn a_port_that_breaks_begins_again() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let (links, _monitor) = Links::open().await.unwrap();
            let (ended, mut broken) = mpsc::channel(1);
            let verbosity = log::silent(LogLevel::Error);
            let plan = plan();
            let args = <Args as clap::Parser>::parse_from(["macsecd"]);
            let mut supervisor =
                Supervisor::new(args, plan.control.clone(), verbosity, links, ended);
            supervisor.begin(plan).await;
            let line = "0 of 2 ports secured: none-such-1 down (E009), none-such-2 down (E009)";
            while supervisor.summary() != line {
                sleep(LOOK).await;
            }

            supervisor.ports[0].task.abort();
            let name = timeout(STOP, broken.recv()).await.unwrap().unwrap();
            assert_eq!(name, "none-such-1");
            supervisor.restart(&name).await;
            let status = supervisor.ports[0].entry.status().await;
            assert_eq!(status.reason.unwrap().code, "E009");
            assert_eq!(supervisor.table.borrow().len(), 2);
            supervisor.end(End::Clear).await;
        });
    }
}
