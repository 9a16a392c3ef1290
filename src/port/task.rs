//! Carries out what the driver decides, on a real link.
//!
//! [`spawn`] starts one task for each port. It owns the driver, the EAPOL socket and the data plane;
//! everybody else has a [`PortHandle`] and asks. The order within a turn is fixed: what is due comes
//! before what has arrived, and of that a bounded number of frames, so that no flood from the link
//! can make a hello late.
//!
//! What stands on an interface falls with it: where the interface goes, is made anew or gets another
//! MAC address, driver, socket and data plane are taken down, and built again with a new SCI.

mod alarm;
mod entropy;
mod handle;
mod opening;
mod plane;
mod session;
mod store;

use std::mem;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::sleep;
use tracing::{debug, error, info};

pub use handle::{PortGone, PortHandle, RekeyError, Running, Stage, View};

use self::alarm::{Alarm, now};
use self::handle::{REQUESTS_MAX, Request};
use self::opening::{Opening, Parts};
use self::plane::Report;
use self::session::{Arrival, Highlights, Session};
use super::Link;
use crate::dataplane::{Choice, EncryptorHome, End, Offload};
use crate::ident::MacAddress;
use crate::keyring::KeyRing;
use crate::mka::{Policy, RekeyRefused};
use crate::time::Time;

/// What a port is to be.
#[derive(Clone, Debug)]
pub struct PortSetup {
    /// The interface that faces the peer.
    pub interface: String,
    /// The interface that carries the protected traffic.
    pub secure_interface: String,
    /// The port identifier of our SCI; its address is the interface's.
    pub port_id: u16,
    /// Which data plane it is to have.
    pub dataplane: Choice,
    /// Who does the work of the kernel's.
    pub offload: Offload,
    /// Whether the kernel's secure interface goes when the port stops. Otherwise it stays, without
    /// a key, and is taken up again at the next start.
    pub delete_on_stop: bool,
    /// How the port behaves. Its SCI is put in when the interface is known.
    pub policy: Policy,
    /// The keys to begin with.
    pub keys: Arc<KeyRing>,
    /// How long to wait before anything is done.
    pub delay: Duration,
}

/// Where a port has what is to outlive the daemon.
#[derive(Clone, Debug)]
pub struct Home {
    /// Its encryptor.
    pub encryptors: EncryptorHome,
    /// The folder of the records of what the key agreement knows, each called as the interface that
    /// faces the peer.
    pub records: PathBuf,
}

/// An interface, as the system shows it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct LinkInfo {
    /// Its index. An interface that is made anew gets another one.
    pub index: u32,
    /// Its MAC address.
    pub address: MacAddress,
    /// Its MTU.
    pub mtu: u32,
    /// Whether it is enabled and has a link.
    pub carrier: bool,
}

impl LinkInfo {
    const fn link(&self) -> Link {
        if self.carrier { Link::Up } else { Link::Down }
    }
}

/// How long to wait before socket and data plane are tried again.
const RETRY: Duration = Duration::from_secs(2);
/// How long whoever asks waits for the data plane's next look. After that they get the last one.
const VIEW_WAIT: Duration = Duration::from_millis(200);

/// Starts a port. It stops when it is told to, or when its last handle is gone.
///
/// `link` tells of the interface, `None` meaning that there is none. Whatever is in the way, even of
/// the port's clock, shows in its [`View`] and is tried again.
#[must_use]
pub fn spawn(
    setup: PortSetup,
    home: Home,
    link: watch::Receiver<Option<LinkInfo>>,
) -> (PortHandle, JoinHandle<()>) {
    let (requests, received) = mpsc::channel(REQUESTS_MAX);
    let (changes, changed) = watch::channel(0);
    let state = State::Waiting { retry_at: now().after(setup.delay) };
    let port = Port {
        setup,
        home,
        link,
        requests: received,
        changes,
        alarm: None,
        state,
        obstacle: None,
        shown: Highlights::default(),
        viewers: Vec::new(),
        viewers_until: None,
    };
    (PortHandle::new(requests, changed), tokio::spawn(port.run()))
}

/// The task.
struct Port {
    setup: PortSetup,
    home: Home,
    link: watch::Receiver<Option<LinkInfo>>,
    requests: mpsc::Receiver<Request>,
    changes: watch::Sender<u64>,
    /// Not there before there was a file left for it.
    alarm: Option<Alarm>,
    state: State,
    /// What is in the way, and since when; also while it is tried again.
    obstacle: Option<(Time, String)>,
    /// What the watchers were last woken for.
    shown: Highlights,
    /// Who waits to see the port as it is after the data plane's next look, and until when.
    viewers: Vec<oneshot::Sender<View>>,
    viewers_until: Option<Time>,
}

enum State {
    /// Nothing has been tried with the interface as it now is.
    Fresh,
    /// There is no interface.
    Missing { since: Time },
    /// There is one, and something else is in the way: until then.
    Waiting { retry_at: Time },
    /// Everything is being built up.
    Opening(Box<Opening>),
    /// Everything stands.
    Running(Box<Session>),
}

impl State {
    fn session(&mut self) -> Option<&mut Session> {
        match self {
            Self::Running(session) => Some(session),
            Self::Fresh | Self::Missing { .. } | Self::Waiting { .. } | Self::Opening(_) => None,
        }
    }
}

enum Event {
    /// The time has come; the next turn sees to it.
    Due,
    Link,
    Opened(Result<Box<Parts>, String>),
    Frames,
    Report(Option<Report>),
    Request(Request),
    Stop(End),
}

impl Port {
    async fn run(mut self) {
        debug!(iface = %self.setup.interface, "port begins");
        let end = loop {
            if self.has_clock() {
                self.follow_link().await;
                self.catch_up().await;
            }
            self.tell();
            match self.wait().await {
                Event::Due => {}
                Event::Link => self.retry_now(),
                Event::Opened(result) => self.opened(result),
                Event::Frames => self.receive().await,
                Event::Report(report) => self.reported(report),
                Event::Request(request) => self.serve(request),
                Event::Stop(End::Clear) if self.setup.delete_on_stop => break End::Delete,
                Event::Stop(end) => break end,
            }
        };
        self.close(end).await;
        debug!(iface = %self.setup.interface, "port has stopped");
    }

    /// Waits for what is next; of several things, for the one that a flood cannot cause.
    async fn wait(&mut self) -> Event {
        let due = match &self.state {
            State::Fresh | State::Missing { .. } | State::Opening(_) => None,
            State::Waiting { retry_at } => Some(*retry_at),
            State::Running(session) => Some(session.due()),
        };
        let due = due.into_iter().chain(self.viewers_until).min();
        if let Some(alarm) = &mut self.alarm
            && let Err(error) = alarm.set(due)
        {
            error!(iface = %self.setup.interface, %error, "the port's clock cannot be set");
            return Event::Stop(End::Clear);
        }
        let (state, alarm) = (&mut self.state, &mut self.alarm);
        let clock = async {
            match alarm {
                Some(alarm) => alarm.rings().await,
                None => {
                    sleep(RETRY).await;
                    Ok(())
                }
            }
        };
        let arrival = async {
            match state {
                State::Running(session) => match session.arrival().await {
                    Arrival::Frames => Event::Frames,
                    Arrival::Report(report) => Event::Report(report),
                },
                State::Opening(opening) => Event::Opened(opening.done().await),
                State::Fresh | State::Missing { .. } | State::Waiting { .. } => {
                    std::future::pending().await
                }
            }
        };
        tokio::select! {
            biased;
            rings = clock => match rings {
                Ok(()) => Event::Due,
                Err(error) => {
                    error!(iface = %self.setup.interface, %error, "the port's clock fails");
                    Event::Stop(End::Clear)
                }
            },
            // Where nobody watches the link any more, it stays what it was.
            Ok(()) = self.link.changed() => Event::Link,
            request = self.requests.recv() => match request {
                None => Event::Stop(End::Clear),
                Some(Request::Stop(end)) => Event::Stop(end),
                Some(request) => Event::Request(request),
            },
            event = arrival => event,
        }
    }

    /// Tells whether there is a clock, and tries to get one.
    fn has_clock(&mut self) -> bool {
        if self.alarm.is_some() {
            return true;
        }
        match Alarm::new() {
            Ok(alarm) => self.alarm = Some(alarm),
            Err(error) => self.block(format!("opening a timer: {error}")),
        }
        self.alarm.is_some()
    }

    /// Builds up, changes or takes down what stands on the interface, as it now is.
    async fn follow_link(&mut self) {
        let link = *self.link.borrow_and_update();
        if let Some(session) = self.state.session() {
            match link {
                Some(link) if session.stands_on(&link) => return session.follow(link),
                Some(link) => info!(
                    iface = %self.setup.interface, index = link.index, mac = %link.address,
                    "another interface has the name now: starting afresh"
                ),
                None => {}
            }
            self.close(End::Clear).await;
        }
        let Some(link) = link else {
            // What is being built up fails by itself, or is taken down when it stands.
            if !matches!(self.state, State::Opening(_)) {
                self.miss();
            }
            return;
        };
        match &self.state {
            State::Waiting { retry_at } if now() < *retry_at => return,
            State::Opening(_) => return,
            State::Fresh | State::Missing { .. } | State::Waiting { .. } | State::Running(_) => {}
        }
        match Opening::begin(&self.setup, &self.home, link) {
            Ok(opening) => self.state = State::Opening(Box::new(opening)),
            Err(reason) => self.block(reason),
        }
    }

    /// Goes on when everything has been built up, or something is in the way.
    fn opened(&mut self, result: Result<Box<Parts>, String>) {
        let State::Opening(opening) = mem::replace(&mut self.state, State::Fresh) else { return };
        match result.and_then(|parts| Session::new(&self.setup, opening.link, *parts)) {
            Ok(session) => {
                info!(
                    iface = %self.setup.interface,
                    secure_iface = %self.setup.secure_interface,
                    sci = %session.sci(),
                    "the port is set up"
                );
                self.obstacle = None;
                self.state = State::Running(Box::new(session));
            }
            Err(reason) => self.block(reason),
        }
    }

    /// Does what is due, before anything that has arrived.
    async fn catch_up(&mut self) {
        if self.viewers_until.is_some_and(|until| until <= now()) {
            self.show();
        }
        let Some(session) = self.state.session() else { return };
        session.tend();
        if let Some(fault) = session.fault() {
            self.close(End::Clear).await;
            self.block(fault.to_owned());
        }
    }

    /// Another link may not be in the way of what was in the way before.
    fn retry_now(&mut self) {
        if let State::Waiting { retry_at } = &mut self.state {
            *retry_at = now();
        }
    }

    /// Takes in some batches of frames.
    async fn receive(&mut self) {
        let Some(session) = self.state.session() else { return };
        if let Err(error) = session.receive().await {
            self.close(End::Clear).await;
            self.block(format!("the socket for key-exchange frames: {error}"));
        }
        // The other ports, and the clock, come before the next batch.
        tokio::task::yield_now().await;
    }

    /// Takes in what the data plane says.
    fn reported(&mut self, report: Option<Report>) {
        let looked = report.as_ref().is_none_or(Report::is_look);
        if let Some(session) = self.state.session() {
            session.reported(report);
        }
        if looked {
            self.show();
        }
    }

    /// Answers those who wait to see the port.
    fn show(&mut self) {
        self.viewers_until = None;
        for viewer in mem::take(&mut self.viewers) {
            let _ = viewer.send(self.view());
        }
    }

    fn serve(&mut self, request: Request) {
        // Whoever asked may have gone; then the answer is for nobody.
        match request {
            Request::View(answer) => {
                self.viewers.push(answer);
                if let Some(session) = self.state.session() {
                    session.look();
                    self.viewers_until.get_or_insert_with(|| now().after(VIEW_WAIT));
                } else {
                    self.show();
                }
            }
            Request::Ping(answer) => {
                let _ = answer.send(());
            }
            Request::Rekey(answer) => {
                let result = match self.state.session() {
                    Some(session) => session.rekey(),
                    None => Err(RekeyRefused::NotSecured),
                };
                let _ = answer.send(result);
            }
            Request::SetKeys(keys, answer) => {
                let result = match self.state.session() {
                    Some(session) => session.set_keys(&keys),
                    None => Ok(()),
                };
                if result.is_ok() {
                    self.setup.keys = keys;
                }
                let _ = answer.send(result);
            }
            Request::Stop(_) => {}
        }
    }

    fn view(&self) -> View {
        let stage = match (&self.state, &self.obstacle) {
            (State::Missing { since }, _) => Stage::Missing { since: *since },
            (State::Running(session), _) => Stage::Running(Box::new(session.view())),
            (State::Fresh | State::Waiting { .. } | State::Opening(_), Some((since, reason))) => {
                Stage::Blocked { since: *since, reason: reason.clone() }
            }
            (State::Fresh | State::Waiting { .. } | State::Opening(_), None) => Stage::Starting,
        };
        View { now: now(), carrier: self.link.borrow().is_some_and(|link| link.carrier), stage }
    }

    /// Wakes those who watch, where there is something to see.
    fn tell(&mut self) {
        let session = self.state.session();
        let highlights = session.map(|session| session.highlights()).unwrap_or_default();
        if highlights != self.shown {
            highlights.log_since(&self.shown, &self.setup.interface);
            self.shown = highlights;
            self.wake();
        }
    }

    fn wake(&self) {
        self.changes.send_modify(|count| *count = count.wrapping_add(1));
    }

    /// Takes down what stands and is not to be left.
    async fn close(&mut self, end: End) {
        match mem::replace(&mut self.state, State::Fresh) {
            State::Running(session) => session.close(end).await,
            State::Opening(opening) => opening.close(end).await,
            State::Fresh | State::Missing { .. } | State::Waiting { .. } => {}
        }
    }

    fn miss(&mut self) {
        if matches!(self.state, State::Missing { .. }) {
            return;
        }
        debug!(iface = %self.setup.interface, "no such interface: waiting for it");
        self.obstacle = None;
        self.state = State::Missing { since: now() };
        self.wake();
    }

    fn block(&mut self, reason: String) {
        self.state = State::Waiting { retry_at: now().after(RETRY) };
        if self.obstacle.as_ref().is_some_and(|(_, known)| *known == reason) {
            return;
        }
        debug!(iface = %self.setup.interface, %reason, "the port cannot be set up; trying again");
        self.obstacle = Some((now(), reason));
        self.wake();
    }
}
