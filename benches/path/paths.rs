//! The ways from one namespace to another.

use std::io::Write;
use std::net::Ipv4Addr;
use std::process::{Child, Command, Stdio};

use macsecd::ident::{CipherSuite, ConfidentialityOffset};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::netns::{Namespace, eventually};
use super::pair::{End, Key, PARENT, Pair, STRICT};

/// One of them.
pub(crate) struct Path {
    pub(crate) name: &'static str,
    /// The addresses of both ends.
    pub(crate) from: Ipv4Addr,
    pub(crate) to: Ipv4Addr,
    ends: Ends,
    /// The processes that do its work, but for this one.
    pub(crate) workers: Vec<Worker>,
}

enum Ends {
    Bare(Namespace, Namespace),
    Planes(Box<Pair>),
}

/// A process that ends with this value.
pub(crate) struct Worker(Child);

impl Worker {
    pub(crate) fn id(&self) -> u32 {
        self.0.id()
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        // So that it removes its socket.
        if let Ok(id) = i32::try_from(self.id()) {
            let _ = kill(Pid::from_raw(id), Signal::SIGTERM);
        }
        let _ = self.0.wait();
    }
}

impl Path {
    pub(crate) fn source(&self) -> &Namespace {
        match &self.ends {
            Ends::Bare(from, _) => from,
            Ends::Planes(pair) => &pair.a.namespace,
        }
    }

    pub(crate) fn target(&self) -> &Namespace {
        match &self.ends {
            Ends::Bare(_, to) => to,
            Ends::Planes(pair) => &pair.b.namespace,
        }
    }

    /// What the data planes say after a run, where that is no good.
    pub(crate) fn complaint(&self) -> Option<String> {
        let Ends::Planes(pair) = &self.ends else { return None };
        let of = |end: &End| {
            let snapshot = end.plane.snapshot();
            let (counters, drops) = (snapshot.counters, snapshot.drops);
            let bad = [
                ("not valid", counters.in_pkts_not_valid),
                ("late", counters.in_pkts_late),
                ("overrun", counters.in_pkts_overrun),
                ("congested", drops.out_congested),
                ("malformed", drops.out_malformed),
                ("undelivered", drops.in_undelivered),
            ];
            let bad = bad.into_iter().filter(|(_, count)| *count > 0);
            bad.map(|(name, count)| format!("{name} {count}")).collect::<Vec<_>>()
        };
        let all = [of(&pair.a), of(&pair.b)].concat();
        (!all.is_empty()).then(|| all.join(", "))
    }
}

/// All that this machine has, or those named in `BENCH_PATHS`.
pub(crate) fn all() -> Vec<Path> {
    type Make = fn() -> Option<Path>;
    let known: [(&str, Make); 5] = [
        ("macsecd", macsecd),
        ("veth-no-offload", || Some(veth(false))),
        ("veth", || Some(veth(true))),
        ("wireguard-go", || wireguard("wireguard-go", "wireguard-go", "wg")),
        ("boringtun", || wireguard("boringtun", "boringtun-cli", "bt")),
    ];
    let wanted = std::env::var("BENCH_PATHS").unwrap_or_default();
    let is_wanted = |name: &str| {
        wanted.trim().is_empty() || wanted.split_whitespace().any(|wanted| wanted == name)
    };
    known.into_iter().filter(|(name, _)| is_wanted(name)).filter_map(|(_, make)| make()).collect()
}

fn macsecd() -> Option<Path> {
    let key = Key::new(1, CipherSuite::GcmAesXpn256, ConfidentialityOffset::Offset0);
    let pair = Box::new(Pair::with_key(STRICT, &key));
    let (from, to) = (pair.a.ip, pair.b.ip);
    Some(Path { name: "macsecd", from, to, ends: Ends::Planes(pair), workers: Vec::new() })
}

fn cable() -> (Namespace, Namespace) {
    let (a, b) = (Namespace::new(), Namespace::new());
    a.cable(PARENT, &b, PARENT);
    a.set_ip(PARENT, Ipv4Addr::new(10, 1, 0, 1));
    b.set_ip(PARENT, Ipv4Addr::new(10, 1, 0, 2));
    (a, b)
}

fn veth(offloads: bool) -> Path {
    let (a, b) = cable();
    if !offloads {
        for end in [&a, &b] {
            let mut ethtool = Command::new("ethtool");
            ethtool.args(["-K", PARENT, "tso", "off", "gso", "off", "gro", "off"]);
            ethtool.args(["tx", "off", "rx", "off", "sg", "off"]);
            let status = end.run(|| ethtool.stdout(Stdio::null()).status());
            assert!(status.expect("ethtool is installed").success(), "ethtool -K");
        }
    }
    let name = if offloads { "veth" } else { "veth-no-offload" };
    let (from, to) = (Ipv4Addr::new(10, 1, 0, 1), Ipv4Addr::new(10, 1, 0, 2));
    Path { name, from, to, ends: Ends::Bare(a, b), workers: Vec::new() }
}

/// A tunnel of one of the WireGuard programs; `None` where it is not installed.
fn wireguard(name: &'static str, program: &str, prefix: &str) -> Option<Path> {
    if Command::new(program).arg("--version").stdout(Stdio::null()).status().is_err() {
        println!("{program} is not installed: left out");
        return None;
    }
    let (a, b) = cable();
    let keys = [private_key(), private_key()];
    let mut workers = Vec::new();
    let own = |number: usize| Ipv4Addr::new(10, 2, 0, if number == 0 { 1 } else { 2 });
    for (number, end) in [&a, &b].into_iter().enumerate() {
        // The socket for its settings goes by this name, outside of the namespace.
        let interface = format!("{prefix}{number}x{}", std::process::id());
        let arguments: &[&str] = if program == "boringtun-cli" {
            &["--foreground", "--disable-drop-privileges", &interface]
        } else {
            &["-f", &interface]
        };
        let mut command = Command::new(program);
        command.args(arguments).stdout(Stdio::null()).stderr(Stdio::null());
        workers.push(Worker(end.run(|| command.spawn()).expect("the tunnel starts")));
        eventually("the tunnel is there", || end.has(&interface));
        let public = wg(&["pubkey"], &keys[1 - number]);
        let far = format!("10.1.0.{}:51820", 2 - number);
        let arguments = [
            "set",
            &interface,
            "listen-port",
            "51820",
            "private-key",
            "/dev/stdin",
            "peer",
            public.trim(),
            "endpoint",
            &far,
            "allowed-ips",
            "10.2.0.0/24",
        ];
        eventually("the tunnel takes its settings", || {
            end.run(|| try_wg(&arguments, &keys[number])).is_some()
        });
        end.set_ip(&interface, own(number));
        end.up(&interface);
    }
    let (from, to) = (own(0), own(1));
    Some(Path { name, from, to, ends: Ends::Bare(a, b), workers })
}

fn private_key() -> String {
    wg(&["genkey"], "")
}

fn wg(arguments: &[&str], input: &str) -> String {
    try_wg(arguments, input).expect("wg is installed (wireguard-tools)")
}

fn try_wg(arguments: &[&str], input: &str) -> Option<String> {
    let mut child = Command::new("wg")
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .ok()?;
    child.stdin.take()?.write_all(input.as_bytes()).ok()?;
    let output = child.wait_with_output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
}
