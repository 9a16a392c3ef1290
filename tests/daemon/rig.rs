//! Two routers on a cable, each with a daemon of its own.

use std::fs;
use std::net::Shutdown;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, mpsc};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use macsecd::sys::PacketSocket;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use tempfile::TempDir;

use crate::config::Config;
use crate::netns::Namespace;

/// What the daemon promises: within this time a reason is right, and a link that can be is secured.
pub(crate) const PROMISE: Duration = Duration::from_secs(10);
/// The interface of the cable, at both ends.
pub(crate) const CABLE: &str = "eth1";
/// The interface that carries the protected traffic, at both ends.
pub(crate) const SECURE: &str = "macsec0";

/// A machine with a directory of its own and, mostly, a running daemon.
pub(crate) struct Router {
    pub(crate) namespace: Arc<Namespace>,
    pub(crate) directory: TempDir,
    daemon: Option<Child>,
    notices: Notices,
}

impl Router {
    /// Makes a machine without a daemon.
    pub(crate) fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let notices = Notices::new(&directory.path().join("notify"));
        Self { namespace: Arc::new(Namespace::new()), directory, daemon: None, notices }
    }

    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.file("control.sock")
    }

    /// Writes a file that only its owner can read.
    pub(crate) fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.file(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        path
    }

    /// The daemon's command line, on the configuration `macsecd.toml`.
    pub(crate) fn macsecd(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_macsecd"));
        command.arg("--config").arg(self.file("macsecd.toml"));
        command.arg("--socket").arg(self.socket()).args(["--log-level", "debug"]);
        command.env("NOTIFY_SOCKET", self.file("notify")).env_remove("JOURNAL_STREAM");
        command
    }

    /// Starts the daemon and waits until it says that it is ready.
    pub(crate) fn start(&mut self, config: &Config) {
        self.start_with(config, |_| {});
    }

    /// The same, with more on its command line.
    pub(crate) fn start_with(&mut self, config: &Config, more: impl FnOnce(&mut Command) + Send) {
        assert!(self.daemon.is_none(), "a daemon runs already");
        self.write("macsecd.toml", &config.text());
        let mut command = self.macsecd();
        more(&mut command);
        let log = fs::File::options().create(true).append(true).open(self.file("log")).unwrap();
        command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
        self.daemon = Some(self.namespace.run(|| command.spawn()).unwrap());
        self.wait_for_notice("READY=1");
    }

    /// Waits until the daemon has told the service manager something that begins so, after all
    /// that was waited for before.
    pub(crate) fn wait_for_notice(&self, what: &str) -> String {
        let notice = self.notices.next(|line| line.starts_with(what), PROMISE);
        notice.unwrap_or_else(|| panic!("no {what}; the log:\n{}", self.log()))
    }

    /// The daemon's process.
    pub(crate) fn id(&self) -> u32 {
        self.daemon.as_ref().expect("a daemon runs").id()
    }

    /// Sends the daemon a signal.
    pub(crate) fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(i32::try_from(self.id()).unwrap()), signal).unwrap();
    }

    /// Waits until the daemon has ended.
    pub(crate) fn wait_for_end(&mut self) -> ExitStatus {
        let mut daemon = self.daemon.take().expect("a daemon runs");
        let deadline = Instant::now() + PROMISE;
        loop {
            if let Some(status) = daemon.try_wait().unwrap() {
                return status;
            }
            if Instant::now() > deadline {
                self.daemon = Some(daemon);
                panic!("the daemon does not end");
            }
            thread::sleep(Duration::from_millis(5));
        }
    }

    /// Ends the daemon as a crash does.
    pub(crate) fn crash(&mut self) {
        self.signal(Signal::SIGKILL);
        self.wait_for_end();
    }

    /// Everything that the daemon has logged.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.file("log")).unwrap_or_default()
    }

    /// Runs `macsecctl`: its exit code, what it prints and what it complains of.
    pub(crate) fn macsecctl(&self, arguments: &[&str]) -> (i32, String, String) {
        let mut command = Command::new(env!("CARGO_BIN_EXE_macsecctl"));
        let output = command.arg("--socket").arg(self.socket()).args(arguments).output().unwrap();
        (
            output.status.code().unwrap(),
            String::from_utf8(output.stdout).unwrap(),
            String::from_utf8(output.stderr).unwrap(),
        )
    }

    /// The status document.
    pub(crate) fn status(&self) -> Value {
        let (_, out, complaint) = self.macsecctl(&["status", "--json"]);
        serde_json::from_str(&out).unwrap_or_else(|error| panic!("{error}: {out}{complaint}"))
    }

    /// The port on the cable, or another one.
    pub(crate) fn port_on(&self, interface: &str) -> Option<Value> {
        let ports = self.status()["ports"].as_array().unwrap().clone();
        ports.into_iter().find(|port| port["interface"] == interface)
    }

    /// The port on the cable.
    pub(crate) fn port(&self) -> Value {
        self.port_on(CABLE).expect("there is a port on the cable")
    }

    /// Waits until the port is as wanted. The promise counts from now.
    pub(crate) fn wait_until(&self, what: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        let begin = Instant::now();
        loop {
            let port = self.port();
            if wanted(&port) {
                return port;
            }
            if begin.elapsed() > PROMISE {
                let log = self.log();
                panic!("not within {PROMISE:?}: {what}\n{port:#}\nthe log:\n{log}");
            }
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// Waits until the port is secured.
    pub(crate) fn wait_until_secured(&self) -> Value {
        self.wait_until("secured", |port| port["state"] == "secured")
    }

    /// Waits until the port names this reason, and gives its title and advice.
    pub(crate) fn wait_for_reason(&self, code: &str) -> String {
        let port = self.wait_until(code, |port| port["reason"]["code"] == code);
        assert_ne!(port["state"], "secured");
        assert_eq!(port["secured_for_seconds"], Value::Null);
        let text = |key: &str| port["reason"][key].as_str().unwrap().to_owned();
        assert!(!text("advice").is_empty());
        format!("{} {}", text("title"), text("advice"))
    }
}

impl Drop for Router {
    fn drop(&mut self) {
        let Some(mut daemon) = self.daemon.take() else { return };
        // Its encryptor ends with it where it is told to end, and some seconds later where it dies.
        if let Ok(id) = i32::try_from(daemon.id())
            && let Ok(None) = daemon.try_wait()
        {
            let _ = kill(Pid::from_raw(id), Signal::SIGTERM);
        }
        let deadline = Instant::now() + PROMISE;
        while matches!(daemon.try_wait(), Ok(None)) && Instant::now() < deadline {
            thread::sleep(Duration::from_millis(5));
        }
        // Where it has ended, both fail and nothing is left to do.
        let _ = daemon.kill();
        let _ = daemon.wait();
        if thread::panicking() {
            eprintln!("--- log of {}\n{}", self.directory.path().display(), self.log());
        }
    }
}

/// A service manager that takes in everything at once, as a real one does.
struct Notices {
    socket: Arc<UnixDatagram>,
    lines: mpsc::Receiver<String>,
    reader: Option<JoinHandle<()>>,
}

impl Notices {
    fn new(path: &Path) -> Self {
        let socket = Arc::new(UnixDatagram::bind(path).unwrap());
        let (sender, lines) = mpsc::channel();
        let source = Arc::clone(&socket);
        let reader = thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(length @ 1..) = source.recv(&mut buffer) {
                for line in String::from_utf8_lossy(&buffer[..length]).lines() {
                    let _ = sender.send(line.to_owned());
                }
            }
        });
        Self { socket, lines, reader: Some(reader) }
    }

    fn next(&self, wanted: impl Fn(&str) -> bool, patience: Duration) -> Option<String> {
        let deadline = Instant::now() + patience;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let line = self.lines.recv_timeout(left).ok()?;
            if wanted(&line) {
                return Some(line);
            }
        }
    }
}

impl Drop for Notices {
    fn drop(&mut self) {
        // Ends the reader's wait.
        let _ = self.socket.shutdown(Shutdown::Both);
        if let Some(reader) = self.reader.take() {
            let _ = reader.join();
        }
    }
}

/// Two routers on a cable.
pub(crate) struct Pair {
    pub(crate) a: Router,
    pub(crate) b: Router,
}

impl Pair {
    /// Lays the cable. No daemon runs yet.
    pub(crate) fn new() -> Self {
        let (a, b) = (Router::new(), Router::new());
        a.namespace.cable(CABLE, &b.namespace, CABLE);
        Self { a, b }
    }

    /// Lays the cable and starts both daemons.
    pub(crate) fn start(a: &Config, b: &Config) -> Self {
        let mut pair = Self::new();
        pair.a.start(a);
        pair.b.start(b);
        pair
    }

    /// The same, and waits until both ends are secured.
    pub(crate) fn secured(config: &Config) -> Self {
        let pair = Self::start(config, config);
        pair.wait_until_secured();
        pair
    }

    pub(crate) fn wait_until_secured(&self) {
        self.a.wait_until_secured();
        self.b.wait_until_secured();
    }
}

/// Listens to everything on the cable.
pub(crate) fn observe(router: &Router) -> PacketSocket {
    let index = router.namespace.index(CABLE);
    router.namespace.run(|| PacketSocket::observer(index)).unwrap()
}
