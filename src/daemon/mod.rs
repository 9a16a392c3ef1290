//! The daemon: starts the ports of the configuration, and keeps them in step with it.
//!
//! Everything that has to keep time runs on one thread. Each port is a task, the control
//! socket has a task for each client, and the main task sees to signals, reloads and ports that
//! broke. None of them waits for another without a limit.

#![forbid(unsafe_code)]

mod args;
mod encryptor;
mod entry;
mod harden;
mod links;
mod loader;
mod log;
mod machine;
mod notify;
mod plan;
mod report;
mod rotation;
mod service;
mod supervisor;

use std::convert::Infallible;
use std::io::{self, IsTerminal};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use clap::Parser as _;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::{JoinError, JoinHandle};
use tokio::time::{Instant, sleep_until};
use tracing::{error, info};

use self::args::{Args, Part};
use self::links::Links;
use self::log::Verbosity;
use self::notify::Manager;
use self::plan::Plan;
use self::service::{Answers, Reloaded};
use self::supervisor::Supervisor;
use crate::control::{ControlSocket, Limits, Server};
use crate::dataplane::End;

/// `EX_CONFIG` of sysexits(3): starting again would not help.
const EXIT_CONFIG: u8 = 78;

/// How long threads that do not end are waited for at the end.
const PATIENCE: Duration = Duration::from_secs(1);

/// Runs the daemon with the arguments of this process.
#[must_use]
pub fn main() -> ExitCode {
    let mut args = Args::parse();
    if let Some(Part::Encryptor { log_level, socket }) = args.part.take() {
        return encryptor::main(log_level, socket);
    }
    let colour = std::io::stderr().is_terminal();
    let plan = match Plan::load(&args.config, colour) {
        Ok(plan) => plan,
        Err(refused) => {
            eprintln!("{refused}");
            eprintln!("macsecd: refused, see above; nothing has been started");
            return ExitCode::from(EXIT_CONFIG);
        }
    };
    if args.check {
        plan.warnings.iter().for_each(|warning| eprintln!("{}", warning.render(colour)));
        println!("{}: good", args.config.display());
        return ExitCode::SUCCESS;
    }
    match start(args, plan) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            error!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

fn start(args: Args, plan: Plan) -> anyhow::Result<()> {
    let verbosity = log::start(args.log_level, plan.log_level)?;
    log::warnings(&plan.warnings);
    harden::harden();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("starting the runtime")?;
    let result = runtime.block_on(run(args, plan, verbosity));
    runtime.shutdown_timeout(PATIENCE);
    result
}

async fn run(args: Args, plan: Plan, verbosity: Verbosity) -> anyhow::Result<()> {
    // Before anything is started: a second daemon must not touch the first one's interfaces.
    let control = args.control(plan.control.clone());
    let socket = ControlSocket::bind(&control.socket, &control.group)?;
    let signals = Signals::new().context("handling signals")?;
    let (links, monitor) = Links::open().await.context("asking for the interfaces")?;
    let (ended, broken) = mpsc::channel(1);
    let (reloads, asked) = mpsc::channel(1);
    let mut supervisor = Supervisor::new(args, control, verbosity, links, ended);
    let (table, changes) = (supervisor.table(), supervisor.changes());
    let monitor = tokio::spawn(monitor.run());
    let answers = Answers { table: table.clone(), changes: changes.clone(), reloads };
    let server = Server::new(socket, Arc::new(answers), Limits::default());
    let server = tokio::spawn(server.run());
    let watchdog = tokio::spawn(notify::watchdog(table.clone()));

    supervisor.begin(plan).await;
    info!(version = env!("CARGO_PKG_VERSION"), ports = table.borrow().len(), "macsecd is ready");
    let manager = Manager::from_env();
    manager.ready().await;
    let (next_line, clock) = (Instant::now(), Instant::now());
    let mut events = Events { signals, monitor, server, broken, asked, changes, next_line, clock };
    let (end, result) = attend(&mut supervisor, &mut events, &manager).await;

    manager.stopping().await;
    info!("macsecd is stopping");
    watchdog.abort();
    // The socket goes first: whoever connects from now on gets a clear answer.
    events.server.abort();
    if !events.server.is_finished() {
        let _aborted = events.server.await;
    }
    supervisor.end(end).await;
    result
}

/// Does what is called for, until the daemon is to end.
async fn attend(
    supervisor: &mut Supervisor,
    events: &mut Events,
    manager: &Manager,
) -> (End, anyhow::Result<()>) {
    loop {
        match events.next().await {
            Event::End(end) => return (end, Ok(())),
            // Whoever starts next goes on with what is there.
            Event::Broken(error) => return (End::Leave, Err(error)),
            Event::Ended(interface) => supervisor.restart(&interface).await,
            Event::Reload(answer) => {
                manager.reloading().await;
                let loaded = tokio::select! {
                    biased;
                    end = events.signals.endings.next() => return (end, Ok(())),
                    loaded = supervisor.load() => loaded,
                };
                let reloaded = match loaded {
                    Ok(plan) => Ok(supervisor.adopt(plan).await),
                    Err(refused) => Err(refused),
                };
                manager.ready().await;
                // Whoever asked may have gone.
                let _ = answer.map(|answer| answer.send(reloaded));
            }
            Event::Clock => supervisor.turn_keys().await,
            Event::Changed => manager.status(&supervisor.summary()).await,
        }
    }
}

/// What calls for something to be done.
enum Event {
    /// The configuration is to be read again; somebody may wait for what comes of it.
    Reload(Option<oneshot::Sender<Reloaded>>),
    /// The task of this port has ended by itself.
    Ended(String),
    /// Some port stands differently.
    Changed,
    /// Time has passed, and the start of a key perhaps with it.
    Clock,
    /// The daemon is to end.
    End(End),
    /// The daemon cannot go on.
    Broken(anyhow::Error),
}

/// Where events come from.
struct Events {
    signals: Signals,
    monitor: JoinHandle<io::Result<()>>,
    server: JoinHandle<io::Result<Infallible>>,
    broken: mpsc::Receiver<String>,
    asked: mpsc::Receiver<oneshot::Sender<Reloaded>>,
    changes: watch::Receiver<u64>,
    /// When the service manager may be told something again.
    next_line: Instant,
    /// When the clock is next looked at.
    clock: Instant,
}

/// What systemd sends where another daemon is to follow at once (`RestartKillSignal=`): keys and
/// interfaces stay as they are, for that one to go on with. Any other end takes the keys away.
const RESTART: SignalKind = SignalKind::user_defined2();

struct Signals {
    hangup: Signal,
    endings: Endings,
}

/// The signals at which the daemon is to end.
struct Endings {
    terminate: Signal,
    interrupt: Signal,
    restart: Signal,
}

impl Signals {
    fn new() -> io::Result<Self> {
        let endings = Endings {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            restart: signal(RESTART)?,
        };
        Ok(Self { hangup: signal(SignalKind::hangup())?, endings })
    }
}

impl Endings {
    /// Waits for one, and says what is to be left.
    async fn next(&mut self) -> End {
        tokio::select! {
            biased;
            _ = self.terminate.recv() => End::Clear,
            _ = self.interrupt.recv() => End::Clear,
            _ = self.restart.recv() => End::Leave,
        }
    }
}

impl Events {
    async fn next(&mut self) -> Event {
        let changed = async {
            sleep_until(self.next_line).await;
            self.changes.changed().await
        };
        tokio::select! {
            biased;
            end = self.signals.endings.next() => Event::End(end),
            ended = &mut self.monitor => Event::Broken(why(ended, "watching the interfaces")),
            ended = &mut self.server => Event::Broken(why(ended, "the control socket")),
            Some(interface) = self.broken.recv() => Event::Ended(interface),
            _ = self.signals.hangup.recv() => Event::Reload(None),
            Some(answer) = self.asked.recv() => Event::Reload(Some(answer)),
            Ok(()) = changed => {
                self.next_line = Instant::now() + LINE_GAP;
                Event::Changed
            }
            () = sleep_until(self.clock) => {
                self.clock = Instant::now() + CLOCK_GAP;
                Event::Clock
            }
        }
    }
}

/// The least between two lines for the service manager.
const LINE_GAP: Duration = Duration::from_millis(200);

/// How often the clock is looked at. It may be set at any time, so it is not waited for.
const CLOCK_GAP: Duration = Duration::from_secs(1);

/// Words the end of something that was to go on for ever.
fn why<T>(ended: Result<io::Result<T>, JoinError>, what: &'static str) -> anyhow::Error {
    match ended {
        Ok(Ok(_)) => anyhow::anyhow!("{what} has ended"),
        Ok(Err(error)) => anyhow::Error::new(error).context(what),
        Err(error) => anyhow::Error::new(error).context(what),
    }
}
