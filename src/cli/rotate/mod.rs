//! `macsecctl rotate`: changes the CAK of a port without losing a frame.
//!
//! The configuration file stays the one truth: each step changes it, has the daemon read it, and
//! says what is next. Where a step fails the file is as it was, and the link goes on.

mod file;
mod view;
mod words;

use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::{Duration, Instant};

use self::file::ConfigFile;
use self::view::{Stage, View, of};
use super::words::clean;
use super::{ExitCode, Failure, Screen, span};
use crate::config::edit::{EditError, NewKey, add_key, remove_keys};
use crate::config::{Config, DEFAULT_PATH};
use crate::control::{Client, ClientError, Refusal, Status};

/// Changes the key (CAK) of a port: the new one beside the old one, then without it.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    step: Step,
    /// The configuration.
    #[arg(long, global = true, value_name = "FILE", default_value = DEFAULT_PATH)]
    config: PathBuf,
    /// Print one JSON object.
    #[arg(long, global = true)]
    json: bool,
    /// The interface of the port that carries the same traffic, where the configuration has no
    /// `pair`.
    #[arg(long, global = true, value_name = "IFACE")]
    sister: Option<String>,
}

#[derive(Debug, clap::Subcommand)]
enum Step {
    /// Show how the keys stand, what comes next, and what would be lost.
    Plan {
        /// The interface of one port; all ports where it is left out.
        #[arg(value_name = "IFACE")]
        interface: Option<String>,
    },
    /// Add a new key, and listen to it beside the old one.
    Stage(StageArgs),
    /// Take the old keys out, once the new one is in use.
    Commit {
        /// The interface of the port.
        #[arg(value_name = "IFACE")]
        interface: String,
    },
    /// Take a staged key out again.
    Abort {
        /// The interface of the port.
        #[arg(value_name = "IFACE")]
        interface: String,
        /// The name of the key; the newest one where it is left out, unless that is in use.
        #[arg(long, value_name = "HEX")]
        ckn: Option<String>,
    },
}

#[derive(Debug, clap::Args)]
struct StageArgs {
    /// The interface of the port.
    #[arg(value_name = "IFACE")]
    interface: String,
    /// The name of the new key, in hexadecimal, as at the far end.
    #[arg(long, value_name = "HEX")]
    ckn: String,
    /// Where the CAK is: file:PATH or credential:NAME. Never the CAK itself.
    #[arg(long, value_name = "SOURCE")]
    cak: String,
    /// When it is to be taken up, with `rotation = "start-time"`: 2026-12-01T00:00:00Z.
    #[arg(long, value_name = "TIME")]
    start: Option<String>,
    /// How long the daemon may take to listen to it: 500ms, 30s, 2m.
    #[arg(long, value_name = "SPAN", default_value = "10s", value_parser = span::parse)]
    timeout: Duration,
}

/// Carries a step out.
pub(crate) fn run(
    args: &Args,
    socket: &Path,
    screen: &mut Screen<'_>,
) -> Result<ExitCode, Failure> {
    let rotation = Rotation { args, socket };
    match &args.step {
        Step::Plan { interface } => rotation.plan(interface.as_deref(), screen),
        Step::Stage(stage) => rotation.stage(stage, screen),
        Step::Commit { interface } => rotation.commit(interface, screen),
        Step::Abort { interface, ckn } => rotation.abort(interface, ckn.as_deref(), screen),
    }
}

struct Rotation<'a> {
    args: &'a Args,
    socket: &'a Path,
}

impl Rotation<'_> {
    fn plan(&self, interface: Option<&str>, screen: &mut Screen<'_>) -> Result<ExitCode, Failure> {
        let (_, config) = ConfigFile::read(&self.args.config)?;
        let status = self.status()?;
        let all = || config.ports.iter().map(|port| port.interface.as_str()).collect();
        for name in interface.map_or_else(all, |name| vec![name]) {
            let view = self.view(&config, &status, name)?;
            let steps = words::next(&view);
            if self.args.json {
                screen.print(&format!("{}\n", view.to_json("plan", &[], &steps)))?;
                continue;
            }
            let cost = words::cost(view.rotation);
            let steps = words::numbered(&steps);
            screen.print(&format!("{}Next:\n{steps}{cost}\n", words::standing(&view)))?;
        }
        Ok(ExitCode::Good)
    }

    fn stage(&self, stage: &StageArgs, screen: &mut Screen<'_>) -> Result<ExitCode, Failure> {
        if !stage.cak.starts_with("file:") && !stage.cak.starts_with("credential:") {
            // What it is instead may be the key, and is not repeated.
            return Err(Failure::new(ExitCode::Usage, "--cak wants file:PATH or credential:NAME")
                .hint("A key on a command line can be read by anybody on this machine."));
        }
        let interface = stage.interface.as_str();
        let (file, config) = ConfigFile::read(&self.args.config)?;
        let status = self.status()?;
        let view = self.view(&config, &status, interface)?;
        self.in_step(&view, &status)?;
        if view.keys.iter().any(|key| key.ckn.eq_ignore_ascii_case(&stage.ckn)) {
            return Err(refused(format!(
                "{interface} has the key {} already",
                words::tail(&stage.ckn)
            ))
            .hint("`macsecctl rotate plan` shows how it stands; a new key has a new name."));
        }
        let key = NewKey { ckn: &stage.ckn, cak: &stage.cak, start: stage.start.as_deref() };
        let text = add_key(&file.text, interface, &key).map_err(not_edited)?;
        file.check(&text)?;
        let changes = self.make_so(&file, &text)?;

        let deadline = Instant::now() + stage.timeout;
        let (view, armed) = loop {
            let (_, config) = ConfigFile::read(&self.args.config)?;
            let view = self.view(&config, &self.status()?, interface)?;
            let is_it = |key: &&view::KeyView| key.ckn.eq_ignore_ascii_case(&stage.ckn);
            let armed = view.keys.iter().find(is_it).is_some_and(|key| key.armed);
            if armed || Instant::now() >= deadline {
                break (view, armed);
            }
            sleep(LOOK);
        };
        if !armed {
            let message = format!("{interface} does not listen to the new key yet");
            return Err(refused(message).hint(
                "The file has it, and the old key goes on. `macsecctl status` says what is in the \
                 way; `macsecctl rotate abort` takes it out again.",
            ));
        }
        let done = format!("{interface} listens to {} beside the old key", words::tail(&stage.ckn));
        self.tell("stage", &done, &view, &changes, screen)
    }

    fn commit(&self, interface: &str, screen: &mut Screen<'_>) -> Result<ExitCode, Failure> {
        let (file, config) = ConfigFile::read(&self.args.config)?;
        let status = self.status()?;
        let view = self.view(&config, &status, interface)?;
        self.in_step(&view, &status)?;
        let old: Vec<String> = view.older().map(|key| key.ckn.clone()).collect();
        if old.is_empty() {
            return Err(refused(format!("{interface} has no older key to take out")));
        }
        if view.stage() != Stage::Switched || !view.newest().is_some_and(|key| key.principal) {
            let new = view.newest().map(|key| words::tail(&key.ckn)).unwrap_or_default();
            let message =
                format!("{interface} is not secured with {new} yet, so nothing is taken out");
            let failure = Failure::new(ExitCode::NotSecured, message);
            return Err(failure.hint(words::far_end(&view)));
        }
        if let Some((sister, false)) = &view.sister {
            let message = format!("{sister}, the other port of the pair, is not secured");
            return Err(Failure::new(ExitCode::NotSecured, message)
                .hint("One port at a time, and only while the other one carries the traffic."));
        }
        let goes = |ckn: &str| old.iter().any(|old| old.eq_ignore_ascii_case(ckn));
        let text = remove_keys(&file.text, interface, goes).map_err(not_edited)?;
        file.check(&text)?;
        let changes = self.make_so(&file, &text)?;
        let names: Vec<_> = old.iter().map(|ckn| words::tail(ckn)).collect();
        let done = format!("{interface} no longer has {}", names.join(", "));
        let (_, config) = ConfigFile::read(&self.args.config)?;
        let view = self.view(&config, &self.status()?, interface)?;
        self.tell("commit", &done, &view, &changes, screen)
    }

    fn abort(
        &self,
        interface: &str,
        ckn: Option<&str>,
        screen: &mut Screen<'_>,
    ) -> Result<ExitCode, Failure> {
        let (file, config) = ConfigFile::read(&self.args.config)?;
        let status = self.status()?;
        let view = self.view(&config, &status, interface)?;
        self.in_step(&view, &status)?;
        let named = |ckn| view.keys.iter().find(|key| key.ckn.eq_ignore_ascii_case(ckn));
        let Some(key) = ckn.map_or_else(|| view.newest(), named) else {
            return Err(refused(format!("{interface} has no such key")));
        };
        let tail = words::tail(&key.ckn);
        let carries = key.principal || key.in_use;
        if view.keys.len() < 2 || (carries && ckn.is_none()) {
            return Err(refused(format!("{interface} has no staged key: {tail} is in use"))
                .hint("To go back from a key that is in use already, name it with --ckn."));
        }
        let other_lives =
            view.keys.iter().any(|other| other.ckn != key.ckn && other.live_peers > 0);
        if carries && !other_lives {
            let message =
                format!("{tail} is in use on {interface}, and the far end speaks no other");
            return Err(refused(message).hint("Give the far end the old key again first."));
        }
        let going = key.ckn.clone();
        let text = remove_keys(&file.text, interface, |ckn| ckn.eq_ignore_ascii_case(&going));
        let text = text.map_err(not_edited)?;
        file.check(&text)?;
        let changes = self.make_so(&file, &text)?;
        let done = format!("{interface} no longer has {tail}");
        let (_, config) = ConfigFile::read(&self.args.config)?;
        let view = self.view(&config, &self.status()?, interface)?;
        self.tell("abort", &done, &view, &changes, screen)
    }

    /// Puts a text in the place of the file and has the daemon read it. Where that fails, the file
    /// is put back.
    fn make_so(&self, file: &ConfigFile, text: &str) -> Result<Vec<String>, Failure> {
        file.replace(text)?;
        let reloaded = Client::connect(self.socket).and_then(|mut client| client.reload());
        reloaded.map_err(|error| {
            // Then the daemon may read, or have read, what was there for a moment.
            let unknown =
                matches!(error, ClientError::TimedOut | ClientError::Refused(Refusal::Busy));
            let failure = Failure::from(error);
            match file.restore(text) {
                Ok(()) if unknown => failure.hint(
                    "The file is as it was, and the daemon may run by the other: \
                     `macsecctl reload` has it read the file once more.",
                ),
                Ok(()) => failure.hint("The file is as it was."),
                Err(restore) => failure.hint(format!("And {}", restore.message)),
            }
        })
    }

    /// Refuses where the daemon runs by other keys than the file has: to have it read the file would
    /// do more than was asked for.
    fn in_step(&self, view: &View, status: &Status) -> Result<(), Failure> {
        if view.is_in_step(status) {
            return Ok(());
        }
        let message =
            format!("the daemon does not run by the keys of {}", self.args.config.display());
        Err(refused(message).hint("`macsecctl reload` makes it so; then try again."))
    }

    fn status(&self) -> Result<Status, Failure> {
        Ok(Client::connect(self.socket)?.status(None)?.status)
    }

    fn view(&self, config: &Config, status: &Status, interface: &str) -> Result<View, Failure> {
        let sister = self.args.sister.as_deref();
        if let Some(sister) = sister.filter(|sister| of(status, sister).is_none()) {
            return Err(refused(format!("there is no port with the interface {}", clean(sister))));
        }
        View::new(config, status, interface, sister)
    }

    /// Says what was done and what is next.
    fn tell(
        &self,
        action: &str,
        done: &str,
        view: &View,
        changes: &[String],
        screen: &mut Screen<'_>,
    ) -> Result<ExitCode, Failure> {
        let next = words::next(view);
        if self.args.json {
            screen.print(&format!("{}\n", view.to_json(action, changes, &next)))?;
            return Ok(ExitCode::Good);
        }
        let changes: String = changes.iter().map(|line| format!("  {}\n", clean(line))).collect();
        let steps = if action == "stage" { words::numbered(&next) } else { String::new() };
        let steps = if steps.is_empty() { steps } else { format!("Next:\n{steps}") };
        screen.print(&format!("{done}\n{changes}{}{steps}", words::standing(view)))?;
        Ok(ExitCode::Good)
    }
}

fn refused(message: impl Into<String>) -> Failure {
    Failure::new(ExitCode::Failure, message)
}

fn not_edited(error: EditError) -> Failure {
    Failure::new(ExitCode::Configuration, error.to_string()).hint("Nothing was changed.")
}

/// How often the daemon is asked whether it listens.
const LOOK: Duration = Duration::from_millis(50);
