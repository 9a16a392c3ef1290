//! What is measured of a path.

use std::fs;
use std::net::UdpSocket;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::resource::{UsageWho, getrusage};
use serde_json::Value;

use super::paths::Path;

/// A bulk transfer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bulk {
    pub(crate) gbps: f64,
    /// Of all processes that took part, iperf3 among them, and the kernel's on their behalf.
    pub(crate) cpu_seconds_per_gb: f64,
}

/// Sends for some seconds over so many TCP connections.
pub(crate) fn bulk(path: &Path, streams: u32, seconds: u32) -> Option<Bulk> {
    let before = cpu_seconds(path);
    let report = (0..3).find_map(|_| transfer(path, streams, seconds));
    let Some(report) = report else {
        println!("{}: iperf3 came to nothing", path.name);
        return None;
    };
    let spent = cpu_seconds(path) - before;
    let received = &report["end"]["sum_received"];
    let (Some(rate), Some(octets)) =
        (received["bits_per_second"].as_f64(), received["bytes"].as_f64())
    else {
        return None;
    };
    if let Some(complaint) = path.complaint() {
        println!("{}: {complaint}", path.name);
    }
    Some(Bulk { gbps: rate / 1e9, cpu_seconds_per_gb: spent / (octets / 1e9) })
}

/// Runs both ends once, and gives what the sender reports; `None` where it did not get through, as
/// when the receiver was not there yet.
fn transfer(path: &Path, streams: u32, seconds: u32) -> Option<Value> {
    let mut server = Command::new("iperf3");
    server.args(["-s", "-1", "-B", &path.to.to_string()]).stdout(Stdio::null());
    let mut server = path.target().run(|| server.spawn()).expect("iperf3 is installed");
    thread::sleep(Duration::from_millis(200));
    let mut client = Command::new("iperf3");
    client.args(["-c", &path.to.to_string(), "-J", "-P", &streams.to_string()]);
    client.args(["-t", &seconds.to_string()]);
    let output = path.source().run(|| client.output()).expect("iperf3 runs");
    let _ = server.kill();
    let _ = server.wait();
    output.status.success().then(|| serde_json::from_slice(&output.stdout).ok())?
}

/// Sends a datagram and back, many times, and tells the median in microseconds. It is of the length
/// of a ping of 64 octets.
pub(crate) fn round_trips(path: &Path, count: usize) -> f64 {
    const PAYLOAD: [u8; 56] = [0x5a; 56];
    let bind = |port| move |ip| UdpSocket::bind((ip, port)).unwrap();
    let (from, to) = (path.from, path.to);
    let client = path.source().run(|| bind(0)(from));
    let server = path.target().run(|| bind(7)(to));
    for socket in [&client, &server] {
        socket.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    }
    client.connect((to, 7)).unwrap();
    let mut times = Vec::with_capacity(count);
    thread::scope(|scope| {
        scope.spawn(|| {
            let mut buffer = [0; 64];
            while let Ok((len, sender)) = server.recv_from(&mut buffer) {
                if len == 1 {
                    return;
                }
                server.send_to(&buffer[..len], sender).unwrap();
            }
        });
        for _ in 0..count {
            let start = Instant::now();
            client.send(&PAYLOAD).unwrap();
            if client.recv(&mut [0; 64]).is_ok() {
                times.push(start.elapsed().as_secs_f64() * 1e6);
            }
        }
        client.send(&[0]).unwrap();
    });
    super::median(times.into_iter())
}

/// What everybody who takes part has spent so far.
fn cpu_seconds(path: &Path) -> f64 {
    let usage = |who| {
        let usage = getrusage(who).unwrap();
        [usage.user_time(), usage.system_time()]
            .map(|time| time.tv_sec() as f64 + time.tv_usec() as f64 / 1e6)
            .iter()
            .sum::<f64>()
    };
    let workers: f64 = path.workers.iter().map(|worker| of_process(worker.id())).sum();
    let all: f64 = kernel_threads().into_iter().map(of_process).sum();
    usage(UsageWho::RUSAGE_SELF) + usage(UsageWho::RUSAGE_CHILDREN) + workers + all
}

/// The threads of the kernel that take packets up where a process has left off.
fn kernel_threads() -> Vec<u32> {
    let processes = fs::read_dir("/proc").unwrap().flatten();
    let ids = processes.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let is_one = |id: &u32| {
        let name = fs::read_to_string(format!("/proc/{id}/comm")).unwrap_or_default();
        name.starts_with("ksoftirqd")
    };
    ids.filter(is_one).collect()
}

fn of_process(id: u32) -> f64 {
    let stat = fs::read_to_string(format!("/proc/{id}/stat")).unwrap_or_default();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split(' ').collect();
    let ticks = |at: usize| fields.get(at).and_then(|text| text.parse::<f64>().ok());
    // utime and stime: the fields 14 and 15, the name being the second.
    (ticks(12).unwrap_or(0.0) + ticks(13).unwrap_or(0.0)) / 100.0
}
