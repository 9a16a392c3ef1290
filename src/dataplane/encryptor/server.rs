//! The encryptor's end.

use std::fs;
use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::time::TimeSpec;
use nix::sys::timerfd::{ClockId, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags};
use socket2::Socket;
use tracing::{debug, info, warn};

use super::line::{Line, listen};
use super::namespace;
use super::protocol::{Answer, Greeting, Held, HeldSak, Refusal, Request, VERSION};
use crate::dataplane::{UserspaceDataplane, UserspaceSettings};
use crate::secy::{SecyCommand, SecyError};

/// How long a daemon may take to say what it wants after it has started us.
const BEGIN: Duration = Duration::from_secs(5);
/// How long a daemon may take to take an answer in, before it counts as gone.
const PATIENCE: Duration = Duration::from_secs(1);

/// What is meant for the daemon, and comes to all that were started from one terminal. SIGTERM comes
/// to us alone, and is waited for.
const UNHEARD: [Signal; 4] = [Signal::SIGINT, Signal::SIGHUP, Signal::SIGQUIT, Signal::SIGUSR2];

/// Runs an encryptor until a daemon ends it, or none has come for too long. `socket` is bound to
/// `path`, which is removed in the end. To be called before this process has a second thread.
///
/// # Errors
///
/// What the system refuses at the beginning, or at once while it is waited for something.
pub fn serve(socket: OwnedFd, path: PathBuf) -> io::Result<()> {
    let interface = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    let place = Place::new(path)?;
    let signals = signals()?;
    let flags = TimerFlags::TFD_NONBLOCK | TimerFlags::TFD_CLOEXEC;
    // It runs on while the machine is suspended: the peer's does.
    let timer = TimerFd::new(ClockId::CLOCK_BOOTTIME, flags)?;
    let mut server = Server {
        plane: None,
        client: None,
        served: false,
        _place: place,
        listener: listen(socket)?,
        signals,
        timer,
        life: BEGIN,
        interface,
    };
    server.arm()?;
    server.run()
}

/// In the order in which they are to go: whoever sees the line end finds neither the secure
/// interface nor the socket.
struct Server {
    plane: Option<Plane>,
    _place: Place,
    client: Option<Line>,
    /// Whether it has asked for something that was done. Before that it does not count as a daemon,
    /// and the time runs on.
    served: bool,
    listener: Socket,
    signals: SignalFd,
    /// Rings when there has been no daemon for too long. Set while there is none.
    timer: TimerFd,
    life: Duration,
    /// For the log.
    interface: String,
}

struct Plane {
    settings: UserspaceSettings,
    dataplane: UserspaceDataplane,
}

/// Our socket in the file system; it goes with this value unless it is another's by then.
struct Place {
    path: PathBuf,
    identity: (u64, u64),
}

/// What has happened.
enum Event {
    /// The daemon says something, or has hung up.
    Client,
    /// Somebody calls.
    Call,
    /// There has been no daemon for too long.
    Late,
    /// The system wants us to end.
    Terminate,
}

/// Whether to go on.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Next {
    On,
    End,
}

impl Server {
    fn run(&mut self) -> io::Result<()> {
        loop {
            let next = match self.wait()? {
                Event::Client => self.attend()?,
                Event::Call => self.answer_call()?,
                Event::Late => {
                    warn!(iface = %self.interface, "no daemon has come: frames stop");
                    Next::End
                }
                Event::Terminate => {
                    info!(iface = %self.interface, "the encryptor is told to end");
                    Next::End
                }
            };
            if next == Next::End {
                self.close_port();
                return Ok(());
            }
        }
    }

    /// Waits for what is next. What the daemon has said comes before a new call, so that one that
    /// has gone is seen to have gone before the next one is asked in.
    fn wait(&self) -> io::Result<Event> {
        let (signals, listener, timer) =
            (self.signals.as_fd(), self.listener.as_fd(), self.timer.as_fd());
        let engaged = self.client.is_some();
        let client = self.client.as_ref().map_or(signals, |client| client.as_fd());
        loop {
            let mut sources = [signals, client, listener, timer]
                .map(|source| PollFd::new(source, PollFlags::POLLIN));
            match poll(&mut sources, PollTimeout::NONE) {
                Ok(_) => {}
                Err(Errno::EINTR) => continue,
                Err(errno) => return Err(errno.into()),
            }
            // An error counts: reading will tell which.
            let [signals, client, call, late] = sources.map(|source| source.any() != Some(false));
            return Ok(match (signals, client, call, late) {
                (true, ..) => Event::Terminate,
                (_, true, ..) => Event::Client,
                // Even if the time is up: here comes the one that was waited for.
                (_, _, true, _) if !engaged => Event::Call,
                (.., true) => Event::Late,
                (_, _, true, _) => Event::Call,
                (false, false, false, false) => continue,
            });
        }
    }

    /// Asks a caller in, unless somebody is there.
    fn answer_call(&mut self) -> io::Result<Next> {
        let caller = match self.listener.accept() {
            Ok((socket, _)) => Line::new(socket),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(Next::On),
            // The caller has gone, or there are too many files for now.
            Err(error) => Err(error),
        };
        let engaged = self.client.is_some();
        let greeting = Greeting { version: VERSION, engaged }.encode();
        let greeted = caller.and_then(|line| {
            line.set_patience(PATIENCE)?;
            line.send_octets(&greeting)?;
            Ok(line)
        });
        match greeted {
            Ok(line) if !engaged => {
                (self.client, self.served) = (Some(line), false);
            }
            Ok(_) => debug!(iface = %self.interface, "a second daemon was sent away"),
            Err(error) => debug!(iface = %self.interface, %error, "a caller was sent away"),
        }
        Ok(Next::On)
    }

    /// Does what the daemon says.
    fn attend(&mut self) -> io::Result<Next> {
        let Some(client) = &mut self.client else { return Ok(Next::On) };
        let answer = match client.receive() {
            Ok(Some(Request::End)) => return Ok(Next::End),
            Ok(Some(request)) => self.carry_out(request),
            Ok(None) => return self.miss("it has hung up"),
            Err(error) => return self.miss(error),
        };
        let refused = matches!(answer, Answer::None(_));
        if !refused && !self.served {
            self.served = true;
            self.timer.unset()?;
        }
        let Some(client) = &mut self.client else { return Ok(Next::On) };
        match client.send(&answer) {
            // It was started for nothing.
            Ok(()) if refused => Ok(Next::End),
            Ok(()) => Ok(Next::On),
            Err(error) => self.miss(error),
        }
    }

    fn carry_out(&mut self, request: Request) -> Answer {
        match (request, &mut self.plane) {
            (Request::Start { settings, life }, None) => self.start(settings, life),
            (Request::Attach { life }, Some(plane)) => {
                self.life = life;
                Answer::Held(Box::new(plane.held()), plane.dataplane.snapshot().into())
            }
            (Request::Command(command), Some(plane)) => {
                let command = command.into_command();
                plane.done(|plane| command.and_then(|command| plane.apply(&command)))
            }
            (Request::ParentMtu(mtu), Some(plane)) => {
                let answer = plane.done(|plane| plane.set_parent_mtu(mtu));
                if let Answer::Done(Ok(()), _) = answer {
                    plane.settings.parent_mtu = mtu;
                }
                answer
            }
            (Request::Look, Some(plane)) => plane.done(|_| Ok(())),
            (Request::Start { .. }, Some(_)) => Answer::None("it has been started".to_owned()),
            (_, None) => Answer::None("it has not been started".to_owned()),
            // The end was seen to before.
            (Request::End, Some(_)) => Answer::None("it ends".to_owned()),
        }
    }

    fn start(&mut self, settings: UserspaceSettings, life: Duration) -> Answer {
        match UserspaceDataplane::start(settings.clone()) {
            Ok(dataplane) => {
                info!(iface = %settings.parent, "the encryptor is at work");
                let shown = dataplane.snapshot().into();
                self.plane = Some(Plane { settings, dataplane });
                self.life = life;
                Answer::Done(Ok(()), shown)
            }
            Err(error) => Answer::None(error.to_string()),
        }
    }

    /// Goes on without a daemon, for as long as the peer goes on without one.
    fn miss(&mut self, why: impl std::fmt::Display) -> io::Result<Next> {
        self.client = None;
        if self.plane.is_none() {
            return Ok(Next::End);
        }
        if !self.served {
            debug!(iface = %self.interface, %why, "a caller was no daemon");
            return Ok(Next::On);
        }
        self.served = false;
        let life = self.life;
        info!(iface = %self.interface, %why, ?life, "the daemon has gone; frames go on");
        self.arm()?;
        Ok(Next::On)
    }

    fn arm(&self) -> io::Result<()> {
        // Zero would turn it off.
        let life = self.life.max(Duration::from_millis(1));
        let once = Expiration::OneShot(TimeSpec::from_duration(life));
        Ok(self.timer.set(once, TimerSetTimeFlags::empty())?)
    }

    /// Stops frames before anything else is taken down.
    fn close_port(&mut self) {
        if let Some(plane) = &mut self.plane
            && let Err(error) = plane.dataplane.apply(&SecyCommand::SetControlledPort(false))
        {
            debug!(iface = %plane.settings.parent, %error, "the port could not be closed first");
        }
    }
}

impl Plane {
    /// Has something done, and tells how it went and how things are after it.
    fn done(
        &mut self,
        work: impl FnOnce(&mut UserspaceDataplane) -> Result<(), SecyError>,
    ) -> Answer {
        let result = work(&mut self.dataplane);
        Answer::Done(result.map_err(Refusal::from), self.dataplane.snapshot().into())
    }

    fn held(&self) -> Held {
        let model = self.dataplane.model();
        Held {
            plane: UserspaceSettings { settings: *model.settings(), ..self.settings.clone() },
            namespace: namespace(),
            open: model.controlled_port(),
            saks: model.saks().map(HeldSak::of).collect(),
        }
    }
}

impl Place {
    fn new(path: PathBuf) -> io::Result<Self> {
        let identity = identity(&path)?;
        Ok(Self { path, identity })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if identity(&self.path).is_ok_and(|found| found == self.identity) {
            // Where that fails, the next encryptor does it.
            let _ = fs::remove_file(&self.path);
        }
    }
}

fn identity(path: &Path) -> io::Result<(u64, u64)> {
    let found = fs::symlink_metadata(path)?;
    Ok((found.dev(), found.ino()))
}

fn signals() -> io::Result<SignalFd> {
    let terminate = SigSet::from(Signal::SIGTERM);
    let mut blocked = terminate;
    blocked.extend(UNHEARD);
    blocked.thread_block()?;
    Ok(SignalFd::with_flags(&terminate, SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC)?)
}
