//! Two routers and the cable between them.

use std::net::Ipv4Addr;
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use std::{fs, io::Write, thread};

use anyhow::{Context, Result, bail};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::enter::FOLDER;
use super::namespace::Namespace;
use crate::control::{Client, Document, PortState};
use crate::ident::CipherSuite;

/// The interface at each end of the cable.
pub(super) const PARENT: &str = "eth1";
/// The interface that carries traffic.
const SECURE: &str = "macsec0";
/// Nothing in a lab takes longer.
const LIMIT: Duration = Duration::from_secs(20);

/// A router: a namespace with one daemon in it.
struct Router {
    namespace: Namespace,
    socket: PathBuf,
    file: PathBuf,
    /// Where the daemon logs to, if not to where this tool does.
    log: Option<PathBuf>,
    daemon: Child,
}

/// Where the daemons log to.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Log {
    /// To where this tool does, what is amiss alone.
    Shown,
    /// To a file for each daemon, more of it.
    Kept,
}

/// One of the two.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Side {
    Left,
    Right,
}

/// Two routers. Whatever is left of them goes when this does.
pub(super) struct Pair {
    left: Router,
    right: Router,
}

/// Where the two of them are.
pub(super) const LEFT: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);
pub(super) const RIGHT: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 2);

impl Pair {
    /// Starts both daemons on a cable whose left end is down, and returns when both are ready.
    pub(super) fn start(suite: CipherSuite) -> Result<Self> {
        let key = LabKey::draw(suite, 0)?;
        let rotation = "newest-with-fallback";
        let left = End { suite, priority: 16, rotation, key: &key, dataplane: "userspace" };
        Self::start_as([left, End { priority: 200, ..left }])
    }

    /// The same with ends that differ.
    pub(super) fn start_as(ends: [End<'_>; 2]) -> Result<Self> {
        Self::start_with(ends, Log::Shown)
    }

    /// The same with a choice of where the daemons log to.
    pub(super) fn start_with(ends: [End<'_>; 2], log: Log) -> Result<Self> {
        let (left, right) = (Namespace::new()?, Namespace::new()?);
        left.cable(PARENT, &right, PARENT)?;
        left.set_address(PARENT, [2, 0, 0, 0, 0, 1])?;
        right.set_address(PARENT, [2, 0, 0, 0, 0, 2])?;
        right.up(PARENT)?;
        let ends = ends.map(config);
        let [for_left, for_right] = &ends;
        let left = Router::start(left, "left", for_left, log)?;
        let right = Router::start(right, "right", for_right, log)?;
        let pair = Self { left, right };
        for (router, address) in [(&pair.left, LEFT), (&pair.right, RIGHT)] {
            router.wait("its control socket answers", |port| !port.status.ports.is_empty())?;
            router.ready()?;
            router.namespace.set_ip(SECURE, address)?;
            // The first ping asks for the other's address, and is lost while the link is dark.
            // The kernel would ask again after a second; here it asks at once.
            router.namespace.set(&format!("net/ipv4/neigh/{SECURE}/retrans_time_ms"), "10")?;
            router.namespace.set(&format!("net/ipv4/neigh/{SECURE}/mcast_solicit"), "100")?;
        }
        Ok(pair)
    }

    /// The namespace that pings start from, whose end of the cable is down at first.
    pub(super) fn left(&self) -> &Namespace {
        &self.left.namespace
    }

    /// Plugs the cable in, and tells when.
    pub(super) fn plug_in(&self) -> Result<Instant> {
        let at = Instant::now();
        self.left.namespace.up(PARENT)?;
        Ok(at)
    }

    /// The status of both ends, left first.
    pub(super) fn status(&self) -> Result<[Document; 2]> {
        Ok([self.left.status()?, self.right.status()?])
    }

    /// Waits until `holds` is true of both ends.
    pub(super) fn wait(&self, what: &str, holds: impl Fn(&Document) -> bool) -> Result<()> {
        self.left.wait(what, &holds)?;
        self.right.wait(what, &holds)
    }

    /// The status of one end.
    pub(super) fn status_of(&self, side: Side) -> Result<Document> {
        self.router(side).status()
    }

    fn router(&self, side: Side) -> &Router {
        match side {
            Side::Left => &self.left,
            Side::Right => &self.right,
        }
    }

    const fn router_mut(&mut self, side: Side) -> &mut Router {
        match side {
            Side::Left => &mut self.left,
            Side::Right => &mut self.right,
        }
    }

    /// Runs `macsecctl` on the daemon and the configuration of one end, and gives what it prints.
    pub(super) fn macsecctl(&self, side: Side, words: &[&str]) -> Result<String> {
        let Router { socket, file, .. } = self.router(side);
        let own = std::env::current_exe().context("finding this program")?;
        let output = Command::new(own)
            .arg("--socket")
            .arg(socket)
            .args(words)
            .arg("--config")
            .arg(file)
            .stdin(Stdio::null())
            .output()
            .context("starting macsecctl")?;
        let [said, complained] =
            [&output.stdout, &output.stderr].map(|of| String::from_utf8_lossy(of));
        if !output.status.success() {
            bail!("`macsecctl {}`: {said}{complained}", words.join(" "));
        }
        Ok(said.into_owned())
    }

    /// Gives one end another configuration, with this one key alone, and has it read it. Where its
    /// secure interface is another one afterwards, it gets its address anew; tells when that was.
    pub(super) fn reconfigure(&self, side: Side, end: End<'_>) -> Result<Option<Instant>> {
        let router = self.router(side);
        let before = router.namespace.index(SECURE)?;
        write_private(&router.file, &config(end))?;
        Client::connect(&router.socket)?.reload()?;
        router.ready()?;
        if router.namespace.index(SECURE)? == before {
            return Ok(None);
        }
        let address = if side == Side::Left { LEFT } else { RIGHT };
        router.namespace.set_ip(SECURE, address)?;
        Ok(Some(Instant::now()))
    }

    /// Has the key server, which is the left end, make a new key.
    pub(super) fn rekey(&self) -> Result<()> {
        Ok(Client::connect(&self.left.socket)?.rekey(PARENT)?)
    }

    /// Ends the daemon of one end as a crash does.
    pub(super) fn kill(&mut self, side: Side) -> Result<()> {
        let daemon = &mut self.router_mut(side).daemon;
        daemon.kill().context("killing a daemon")?;
        let status = daemon.wait().context("waiting for a daemon")?;
        if status.signal() != Some(Signal::SIGKILL as i32) {
            bail!("the daemon had ended by itself, with {status}");
        }
        Ok(())
    }

    /// Ends the daemon of one end for the next one to go on.
    pub(super) fn leave(&mut self, side: Side) -> Result<()> {
        self.router_mut(side).end(Signal::SIGUSR2)
    }

    /// Starts a daemon at an end where one has ended, and waits until it says that it is secured.
    pub(super) fn go_on(&mut self, side: Side) -> Result<()> {
        let router = self.router_mut(side);
        router.restart()?;
        router.wait("it is secured again", |document| {
            document.status.ports.iter().any(|port| port.state == PortState::Secured)
        })
    }

    /// What the daemon of one end has logged.
    pub(super) fn log(&self, side: Side) -> Result<String> {
        let log = self.router(side).log.as_ref().context("its log is not kept")?;
        fs::read_to_string(log).context("reading a daemon's log")
    }

    /// Stops both daemons.
    pub(super) fn stop(mut self) -> Result<()> {
        self.left.stop()?;
        self.right.stop()
    }
}

impl Router {
    fn start(namespace: Namespace, name: &str, config: &str, log: Log) -> Result<Self> {
        let file = |suffix: &str| Path::new(FOLDER).join(format!("{name}.{suffix}"));
        let (socket, log) = (file("sock"), (log == Log::Kept).then(|| file("log")));
        let file = file("toml");
        write_private(&file, config)?;
        let daemon = spawn(&namespace, &file, &socket, log.as_deref())?;
        Ok(Self { namespace, socket, file, log, daemon })
    }

    /// Starts a daemon where one has ended.
    fn restart(&mut self) -> Result<()> {
        let Self { namespace, socket, file, log, .. } = &*self;
        self.daemon = spawn(namespace, file, socket, log.as_deref())?;
        Ok(())
    }

    fn status(&self) -> Result<Document> {
        Ok(Client::connect(&self.socket)?.status(None)?)
    }

    fn wait(&self, what: &str, holds: impl Fn(&Document) -> bool) -> Result<()> {
        let deadline = Instant::now() + LIMIT;
        loop {
            let status = self.status();
            if status.as_ref().is_ok_and(&holds) {
                return Ok(());
            }
            if Instant::now() >= deadline {
                let last = status.map_or_else(|error| format!("{error:#}"), |status| status.json);
                bail!("waited {} s until {what}; last seen: {last}", LIMIT.as_secs());
            }
            thread::sleep(Duration::from_millis(2));
        }
    }

    /// Waits for the secure interface.
    fn ready(&self) -> Result<()> {
        let deadline = Instant::now() + LIMIT;
        while self.namespace.index(SECURE).is_err() {
            if Instant::now() >= deadline {
                bail!("{SECURE} did not appear within {} s", LIMIT.as_secs());
            }
            thread::sleep(Duration::from_millis(2));
        }
        Ok(())
    }

    fn stop(&mut self) -> Result<()> {
        self.end(Signal::SIGTERM)
    }

    /// Ends the daemon with a signal on which it ends well.
    fn end(&mut self, by: Signal) -> Result<()> {
        signal(&self.daemon, by);
        let status = self.daemon.wait().context("waiting for the daemon")?;
        if !status.success() {
            bail!("the daemon ended with {status}");
        }
        Ok(())
    }
}

impl Drop for Router {
    fn drop(&mut self) {
        // One that was stopped is gone already, and its number is not used again before it was
        // waited for.
        if let Ok(None) = self.daemon.try_wait() {
            signal(&self.daemon, Signal::SIGKILL);
            let _ = self.daemon.wait();
        }
    }
}

fn signal(child: &Child, signal: Signal) {
    if let Ok(id) = i32::try_from(child.id()) {
        let _ = kill(Pid::from_raw(id), signal);
    }
}

/// Starts a daemon.
fn spawn(namespace: &Namespace, file: &Path, socket: &Path, log: Option<&Path>) -> Result<Child> {
    let program = daemon()?;
    let mut command = Command::new(&program);
    command.arg("--config").arg(file).arg("--socket").arg(socket).stdin(Stdio::null());
    match log {
        None => command.args(["--log-level", "warn"]),
        Some(log) => {
            // An encryptor may still write to the one before.
            let _ = fs::remove_file(log);
            let log = fs::File::create_new(log).context("creating a daemon's log")?;
            command.args(["--log-level", "info"]).env_remove("JOURNAL_STREAM").stderr(log)
        }
    };
    namespace.run(|| command.spawn().with_context(|| format!("starting {}", program.display())))
}

/// The daemon that was built with this tool.
fn daemon() -> Result<PathBuf> {
    let own = std::env::current_exe().context("finding this program")?;
    let daemon = own.with_file_name("macsecd");
    if !daemon.is_file() {
        bail!("there is no {}: the lab needs the daemon beside the tool", daemon.display());
    }
    Ok(daemon)
}

/// What the two ends have in common, and what each has of its own.
#[derive(Clone, Copy)]
pub(super) struct End<'a> {
    pub(super) suite: CipherSuite,
    pub(super) priority: u8,
    pub(super) rotation: &'a str,
    pub(super) key: &'a LabKey,
    /// What encrypts.
    pub(super) dataplane: &'a str,
}

/// A key of a lab: its name, and where its CAK is.
#[derive(Clone)]
pub(super) struct LabKey {
    pub(super) ckn: String,
    pub(super) file: PathBuf,
}

impl LabKey {
    /// Draws a CAK for both ends, under a number.
    pub(super) fn draw(suite: CipherSuite, number: u8) -> Result<Self> {
        let mut cak = zeroize::Zeroizing::new(vec![0; suite.sak_len()]);
        aws_lc_rs::rand::fill(&mut cak).ok().context("drawing a key")?;
        let digits: String = cak.iter().map(|octet| format!("{octet:02x}")).collect();
        let file = Path::new(FOLDER).join(format!("lab{number}.cak"));
        write_private(&file, &zeroize::Zeroizing::new(digits))?;
        Ok(Self { ckn: format!("6c61622064656d6f{number:02x}"), file })
    }
}

fn config(end: End<'_>) -> String {
    let End { suite, priority, rotation, key: LabKey { ckn, file }, dataplane } = end;
    format!(
        r#"[[port]]
interface = "{PARENT}"
secure-interface = "{SECURE}"
cipher-suites = ["{suite}"]
dataplane = "{dataplane}"
key-server-priority = {priority}
rotation = "{rotation}"

[[port.key]]
ckn = "{ckn}"
cak = "file:{file}"
"#,
        suite = suite.name().to_ascii_lowercase(),
        file = file.display(),
    )
}

fn write_private(path: &Path, content: &str) -> Result<()> {
    let mut options = fs::OpenOptions::new();
    let mut file = options
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(path)
        .with_context(|| format!("creating {}", path.display()))?;
    file.write_all(content.as_bytes()).with_context(|| format!("writing {}", path.display()))
}
