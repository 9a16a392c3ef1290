//! The daemon's end.

use std::io;
use std::path::PathBuf;
use std::process::Child;
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use tracing::{debug, info, warn};

use super::line::Line;
use super::namespace;
use super::protocol::{Answer, Command, Greeting, Held, HeldSak, Request, VERSION};
use super::spawn::EncryptorHome;
use crate::dataplane::{End, Snapshot, UserspaceSettings};
use crate::ident::KeyId;
use crate::secy::{InstalledSak, SecyCommand, SecyError};

/// What an encryptor is made from.
#[derive(Clone, Debug)]
pub struct EncryptorSettings {
    /// What it does.
    pub plane: UserspaceSettings,
    /// Where it lives.
    pub home: EncryptorHome,
    /// How long it goes on without a daemon: MKA Life Time.
    pub life: Duration,
    /// The keys that it may have from a daemon before this one.
    pub expected: Vec<InstalledSak>,
}

/// Why there is no encryptor.
#[derive(Debug, thiserror::Error)]
pub enum EncryptorStartError {
    /// Its folder cannot be had.
    #[error("the folder {} of encryptors: {source}", .path.display())]
    Home {
        /// The folder.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// It cannot be started, or not be spoken with.
    #[error("the encryptor at {}: {source}", .path.display())]
    Line {
        /// Its socket.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// Another daemon has it.
    #[error("another macsecd has the encryptor at {}", .0.display())]
    Engaged(PathBuf),
    /// It has no data plane, and says why.
    #[error("{0}")]
    Refused(String),
}

/// A data plane in a process of its own. Dropping this value leaves the process to the next one.
#[derive(Debug)]
pub struct Encryptor {
    line: Line,
    process: Process,
    shown: Snapshot,
    kept: Vec<InstalledSak>,
    /// What it had besides.
    unexpected: Vec<KeyId>,
}

/// How long an answer may take: its threads may be waited for, and the kernel's lock of interfaces.
const PATIENCE: Duration = Duration::from_secs(5);
/// How often it is asked whether a process has ended.
const LOOK: Duration = Duration::from_millis(1);

impl Encryptor {
    /// Finds the encryptor of this interface, or starts one. Of the keys that one has, those that
    /// are expected go on without a frame lost; where none is, the Controlled Port is closed.
    ///
    /// It is in the network namespace of this thread, or is replaced by one that is.
    ///
    /// # Errors
    ///
    /// [`EncryptorStartError`]; nothing new is left behind then.
    pub fn start(settings: EncryptorSettings) -> Result<Self, EncryptorStartError> {
        let path = socket(&settings.home, &settings.plane.parent)?;
        let line = |source| EncryptorStartError::Line { path: path.clone(), source };
        if let Some(found) = Line::call(&path).map_err(line)? {
            match Self::found(found, &settings) {
                Ok(encryptor) => return Ok(encryptor),
                Err(Unfit::Engaged) => return Err(EncryptorStartError::Engaged(path)),
                Err(Unfit::Gone) => {}
                Err(Unfit::For { reason, line }) => {
                    info!(iface = %settings.plane.parent, %reason, "the encryptor is replaced");
                    end(line, Process(None));
                }
            }
        }
        let (mut new, child) = settings.home.spawn(&path).map_err(line)?;
        let process = Process(Some(child));
        match begin(&mut new, &settings) {
            Ok(Ok(shown)) => {
                let encryptor =
                    Self { line: new, process, shown, kept: Vec::new(), unexpected: Vec::new() };
                debug!(iface = %settings.plane.parent, id = encryptor.id(), "a new encryptor");
                Ok(encryptor)
            }
            Ok(Err(reason)) => {
                end(new, process);
                Err(EncryptorStartError::Refused(reason))
            }
            Err(error) => {
                end(new, process);
                Err(line(error))
            }
        }
    }

    /// Takes over an encryptor that is there.
    fn found(mut line: Line, settings: &EncryptorSettings) -> Result<Self, Unfit> {
        match greeted(&mut line) {
            Ok(Greeting { engaged: true, .. }) => return Err(Unfit::Engaged),
            Ok(Greeting { version: VERSION, .. }) => {}
            Ok(Greeting { version, .. }) => {
                let reason = format!("it speaks version {version}, not {VERSION}");
                return Err(Unfit::For { reason, line });
            }
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Err(Unfit::Gone),
            Err(error) => return Err(Unfit::For { reason: error.to_string(), line }),
        }
        let answer = ask(&mut line, &Request::Attach { life: settings.life });
        let (held, shown) = match answer {
            Ok(Answer::Held(held, shown)) => (held, Snapshot::from(shown)),
            Ok(Answer::None(reason)) => return Err(Unfit::For { reason, line }),
            Ok(Answer::Done(..)) => return Err(Unfit::For { reason: "no sense".into(), line }),
            Err(error) => return Err(Unfit::For { reason: error.to_string(), line }),
        };
        if !shown.alive || !stands_where(&held, &settings.plane) {
            let reason = "it was made for something else, or has broken".to_owned();
            return Err(Unfit::For { reason, line });
        }
        let mut encryptor =
            Self { line, process: Process(None), shown, kept: Vec::new(), unexpected: Vec::new() };
        match encryptor.settle(&held, settings) {
            Ok(()) => Ok(encryptor),
            Err(error) => Err(Unfit::For { reason: error.to_string(), line: encryptor.line }),
        }
    }

    /// Keeps what is expected and takes away the rest.
    fn settle(&mut self, held: &Held, settings: &EncryptorSettings) -> Result<(), SecyError> {
        let EncryptorSettings { plane, expected, .. } = settings;
        let keeps = |sak: &HeldSak| expected.iter().find_map(|known| sak.with_key_of(known));
        self.kept = held.saks.iter().filter_map(keeps).collect();
        let gone = held.saks.iter().map(|sak| sak.ki);
        self.unexpected = gone.filter(|ki| !expected.iter().any(|of| of.key.ki == *ki)).collect();
        if self.kept.is_empty() && held.open {
            self.apply(&SecyCommand::SetControlledPort(false))?;
        }
        for sak in &held.saks {
            if !self.kept.iter().any(|kept| kept.key.ki == sak.ki) {
                self.apply(&SecyCommand::RemoveSak(sak.ki))?;
            }
        }
        if held.plane.settings != plane.settings {
            self.apply(&SecyCommand::Configure(plane.settings))?;
        }
        if held.plane.parent_mtu != plane.parent_mtu {
            self.set_parent_mtu(plane.parent_mtu)?;
        }
        let (kept, removed) = (self.kept.len(), held.saks.len() - self.kept.len());
        info!(iface = %plane.parent, kept, removed, "the encryptor was there");
        Ok(())
    }

    /// Carries out a command; both threads of the encryptor work by it when this returns.
    ///
    /// # Errors
    ///
    /// [`SecyError::Refused`] where the encryptor has died, or its threads do not answer; else the
    /// rule that the command breaks, and nothing changes. [`SecyError::Invalid`] comes as
    /// [`SecyError::Refused`], its words the same.
    pub fn apply(&mut self, command: &SecyCommand) -> Result<(), SecyError> {
        self.request(&Request::Command(Command::of(command)))
    }

    /// Follows a change of the parent interface's MTU.
    ///
    /// # Errors
    ///
    /// [`SecyError::Refused`] where it leaves no room for traffic, or the secure interface cannot
    /// have the MTU that follows.
    pub fn set_parent_mtu(&mut self, mtu: u32) -> Result<(), SecyError> {
        self.request(&Request::ParentMtu(mtu))
    }

    /// Has it go on for this long without a daemon, in place of [`EncryptorSettings::life`]. The
    /// next daemon says anew how long.
    ///
    /// # Errors
    ///
    /// [`SecyError::Refused`] where the encryptor has died or does not answer.
    pub fn go_on_for(&mut self, span: Duration) -> Result<(), SecyError> {
        // As the next one will say it, and with nothing new between a daemon and an encryptor of
        // different releases.
        self.request(&Request::Attach { life: span })
    }

    /// Asks how it is; [`Encryptor::snapshot`] tells.
    pub fn refresh(&mut self) {
        // What went wrong shows in the snapshot.
        let _ = self.request(&Request::Look);
    }

    /// What it had counted, and how far packet numbers had come, when it was last spoken with.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        self.shown.clone()
    }

    /// Gives the keys that it has lost: none, as it loses them all, with itself.
    #[must_use]
    pub const fn take_lost(&mut self) -> Vec<KeyId> {
        Vec::new()
    }

    /// The keys that it had when it was found and that nobody expected. They have gone.
    #[must_use]
    pub fn unexpected(&self) -> &[KeyId] {
        &self.unexpected
    }

    /// Lets go of what [`Encryptor::kept`] gives: its keys are to go with those who use them.
    pub fn forget_kept(&mut self) {
        self.kept.clear();
    }

    /// The keys that it had already when it was found, and that it goes on with: what became of
    /// each, and whom it receives, as the encryptor said then.
    #[must_use]
    pub fn kept(&self) -> &[InstalledSak] {
        &self.kept
    }

    /// The number of its process, where that can be seen from here.
    #[must_use]
    pub fn id(&self) -> Option<u32> {
        self.line.peer().and_then(|id| u32::try_from(id.as_raw()).ok())
    }

    /// Lets it go. Where it is to end, its keys and its secure interface have gone when this
    /// returns; its process too, where this value has started it.
    pub fn close(self, how: End) {
        match how {
            End::Leave => {}
            End::Clear | End::Delete => end(self.line, self.process),
        }
    }

    fn request(&mut self, request: &Request) -> Result<(), SecyError> {
        if !self.shown.alive {
            return Err(SecyError::Refused("the encryptor has died".to_owned()));
        }
        match ask(&mut self.line, request) {
            Ok(Answer::Done(result, shown)) => {
                self.shown = shown.into();
                result.map_err(SecyError::from)
            }
            Ok(Answer::Held(_, shown)) if matches!(request, Request::Attach { .. }) => {
                self.shown = shown.into();
                Ok(())
            }
            Ok(Answer::None(_) | Answer::Held(..)) => self.fail("it makes no sense"),
            Err(error) => self.fail(error),
        }
    }

    /// After this, nothing that it says can be told from what it should have said before.
    fn fail(&mut self, error: impl std::fmt::Display) -> Result<(), SecyError> {
        warn!(%error, "the encryptor does not answer");
        self.shown.alive = false;
        Err(SecyError::Refused(format!("the encryptor does not answer: {error}")))
    }
}

/// The process of an encryptor, where this process has started it.
#[derive(Debug)]
struct Process(Option<Child>);

impl Process {
    /// Waits until it has ended, which it is about to.
    fn wait(mut self) {
        let Some(mut child) = self.0.take() else { return };
        let deadline = Instant::now() + PATIENCE;
        while matches!(child.try_wait(), Ok(None)) {
            if Instant::now() > deadline {
                let _ = child.kill();
                let _ = child.wait();
                return;
            }
            thread::sleep(LOOK);
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It goes on without us. Should it end before us, somebody has to take note.
        if let Some(mut child) = self.0.take()
            && matches!(child.try_wait(), Ok(None))
        {
            thread::spawn(move || child.wait());
        }
    }
}

/// Ends the encryptor of an interface that is not to have one any more, if there is one.
///
/// # Errors
///
/// [`EncryptorStartError`] where another daemon has it, or it cannot be reached.
pub(in crate::dataplane) fn dismiss(
    home: &EncryptorHome,
    interface: &str,
) -> Result<(), EncryptorStartError> {
    if !home.directory.exists() {
        return Ok(());
    }
    let path = socket(home, interface)?;
    let line = |source| EncryptorStartError::Line { path: path.clone(), source };
    let Some(mut found) = Line::call(&path).map_err(line)? else { return Ok(()) };
    if let Ok(Greeting { engaged: true, .. }) = greeted(&mut found) {
        return Err(EncryptorStartError::Engaged(path));
    }
    end(found, Process(None));
    Ok(())
}

/// Has a new encryptor start its data plane; inside, why it did not.
fn begin(line: &mut Line, settings: &EncryptorSettings) -> io::Result<Result<Snapshot, String>> {
    greeted(line)?;
    let EncryptorSettings { plane, life, .. } = settings;
    match ask(line, &Request::Start { settings: plane.clone(), life: *life })? {
        Answer::Done(Ok(()), shown) => Ok(Ok(shown.into())),
        Answer::None(reason) => Ok(Err(reason)),
        Answer::Done(Err(_), _) | Answer::Held(..) => Err(io::ErrorKind::InvalidData.into()),
    }
}

/// Why an encryptor that was found is not gone on with.
enum Unfit {
    /// Somebody else has it.
    Engaged,
    /// It was about to end, and has.
    Gone,
    /// It is to end.
    For { reason: String, line: Line },
}

fn socket(home: &EncryptorHome, interface: &str) -> Result<PathBuf, EncryptorStartError> {
    let path = || home.directory.clone();
    home.socket(interface).map_err(|source| EncryptorStartError::Home { path: path(), source })
}

/// Tells whether a data plane is where another is to be.
fn stands_where(held: &Held, wanted: &UserspaceSettings) -> bool {
    let there = &held.plane;
    held.namespace == namespace()
        && (&there.parent, there.parent_index) == (&wanted.parent, wanted.parent_index)
        && (&there.name, there.sci) == (&wanted.name, wanted.sci)
}

/// Hears what an encryptor says first.
fn greeted(line: &mut Line) -> io::Result<Greeting> {
    line.set_patience(PATIENCE)?;
    // More room than it needs, so that what is too long is seen to be.
    let mut buffer = [0; 2 * Greeting::LEN];
    match line.receive_octets(&mut buffer) {
        Ok([]) => Err(io::ErrorKind::UnexpectedEof.into()),
        Ok(octets) => Greeting::decode(octets).ok_or_else(|| io::ErrorKind::InvalidData.into()),
        // It ended with our call in its queue.
        Err(error) if error.kind() == io::ErrorKind::ConnectionReset => {
            Err(io::ErrorKind::UnexpectedEof.into())
        }
        Err(error) => Err(error),
    }
}

fn ask(line: &mut Line, request: &Request) -> io::Result<Answer> {
    line.send(request)?;
    line.receive()?.ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
}

/// Ends an encryptor, and waits until it has: a process that is not our child may be about to.
fn end(mut line: Line, process: Process) {
    let told = line.send(&Request::End);
    if !line.ends_within(PATIENCE) {
        debug!(?told, "an encryptor does not end and is killed");
        // As long as its end of the line is open, its number is nobody else's.
        if let Some(id) = line.peer() {
            let _ = kill(id, Signal::SIGKILL);
        }
        line.ends_within(PATIENCE);
    }
    process.wait();
}
