//! Daemons that are killed with SIGKILL while frames pass, and others that go on with what they
//! left, in the real kernel. Not a frame is lost in either direction, and none counts twice.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::process::{Child, ChildStderr, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use macsecd::crypto::{Sak, Salt};
use macsecd::dataplane::Offload;
use macsecd::dataplane::kernel::{KernelDataplane, KernelSettings};
use macsecd::ident::CipherSuite::{self, GcmAes128, GcmAesXpn256};
use macsecd::ident::{AssociationNumber, ConfidentialityOffset, PacketNumber, Sci, Ssci};
use macsecd::secy::{
    InstallSak, InstalledSak, RxMember, SecyCommand, SecyKey, SecySettings, TransmitState, Validate,
};
use macsecd::sys::PacketSocket;
use zeroize::Zeroizing;

use crate::machine::{FRAME, sockets};
use crate::netns::{Namespace, eventually};
use crate::port::{MAC, OWN, PARENT, PEER, SECURE, an, ki, octets};

/// What a daemon is told by its parent: the suite, and the numbers of the keys it may find.
const TASK: &str = "MACSECD_TEST_ADOPT";
/// How many daemons are killed, for each suite.
const KILLS: u64 = 40;

fn settings(
    index: u32,
    own: Sci,
    suite: CipherSuite,
    expected: Vec<InstalledSak>,
) -> KernelSettings {
    KernelSettings {
        parent: PARENT.to_owned(),
        parent_index: index,
        name: SECURE.to_owned(),
        sci: own,
        suites: vec![suite],
        settings: SecySettings {
            protect: true,
            validate: Validate::Strict,
            replay_protect: true,
            replay_window: 0,
            include_sci: true,
        },
        offload: Offload::Off,
        expected,
    }
}

/// The SAK of a number, at one of the two ends.
fn install(number: u32, own: Sci, suite: CipherSuite) -> InstallSak {
    let xpn = suite.is_xpn();
    let key = SecyKey {
        ki: ki(number),
        suite,
        offset: ConfidentialityOffset::Offset0,
        sak: Sak::new(Zeroizing::new(octets(number, suite))).unwrap(),
        salt: xpn.then(|| Salt::new(ki(number))),
    };
    let ssci = |sci: Sci| xpn.then(|| Ssci(u32::from(sci.octets()[5])));
    let sci = if own == OWN { PEER } else { OWN };
    InstallSak {
        key: Arc::new(key),
        an: AssociationNumber::from_low_bits(an(number)),
        ssci: ssci(own),
        receive: vec![RxMember { sci, ssci: ssci(sci), lowest_pn: PacketNumber::FIRST }],
    }
}

/// The same as it is written down.
fn record(number: u32, suite: CipherSuite) -> InstalledSak {
    let InstallSak { key, an, ssci, receive } = install(number, OWN, suite);
    let receivers = receive.into_iter().map(|member| (member.sci, member)).collect();
    InstalledSak { key, an, ssci, receivers, transmit: TransmitState::Waiting }
}

/// The daemon: changes the key over and over, and says each step on its standard error before and
/// after it is done. A line from its parent lets it go on.
#[test]
#[ignore = "a part of the other tests here, that is killed by them"]
fn daemon() {
    let Ok(task) = std::env::var(TASK) else { return };
    let mut words = task.split(' ');
    let suite = CipherSuite::ALL[words.next().unwrap().parse::<usize>().unwrap()];
    let index = words.next().unwrap().parse().unwrap();
    let mut last: u32 = words.next().unwrap().parse().unwrap();
    let expected = words.map(|number| record(number.parse().unwrap(), suite)).collect();
    let mut plane = KernelDataplane::start(settings(index, OWN, suite, expected)).unwrap();
    let kept = plane.kept();
    let is_sent = |sak: &&InstalledSak| sak.transmit == TransmitState::Transmitting;
    let mut sends = kept.iter().find(is_sent).map(|sak| sak.key.ki.number.0);
    if let Some(number) = sends {
        assert!(plane.is_open());
        say(&format!("sends {number}"), true);
    }
    for sak in kept.iter().filter(|sak| !is_sent(sak)) {
        plane.apply(&SecyCommand::RemoveSak(sak.key.ki)).unwrap();
        say(&format!("gone {}", sak.key.ki.number.0), false);
    }
    loop {
        last += 1;
        if sends.is_some_and(|number| an(number) == an(last)) {
            continue;
        }
        let before = sends.unwrap_or(0);
        say(&format!("ahead {last} {before}"), true);
        plane.apply(&SecyCommand::InstallSak(install(last, OWN, suite))).unwrap();
        plane.apply(&SecyCommand::EnableTx(ki(last))).unwrap();
        plane.apply(&SecyCommand::SetControlledPort(true)).unwrap();
        say(&format!("sends {last}"), true);
        if let Some(number) = sends.replace(last) {
            plane.apply(&SecyCommand::RemoveSak(ki(number))).unwrap();
            say(&format!("gone {number}"), false);
        }
        plane.refresh();
        assert_eq!(plane.take_lost(), []);
    }
}

/// Writes down what is done, and with `wait` goes on only when that was read.
fn say(line: &str, wait: bool) {
    eprintln!("{line}");
    if wait && std::io::stdin().read(&mut [0]).unwrap() == 0 {
        // Without a parent there is nothing to do.
        std::process::exit(0);
    }
}

/// Both ends of a cable, the far one with a data plane of this process.
struct Cable {
    near: Namespace,
    far: Namespace,
    plane: KernelDataplane,
    suite: CipherSuite,
    /// The keys that a daemon may find: said to come, and not said to be gone.
    record: Vec<u32>,
    last: u32,
}

impl Cable {
    fn new(suite: CipherSuite) -> Self {
        let (near, far) = (Namespace::new(), Namespace::new());
        near.cable(PARENT, &far, PARENT);
        near.set_address(PARENT, MAC.0);
        far.set_address(PARENT, PEER.address().0);
        let (route, generic) = sockets(&far);
        let with = settings(far.index(PARENT), PEER, suite, Vec::new());
        let plane = KernelDataplane::start_with(route, generic, with).unwrap();
        Self { near, far, plane, suite, record: Vec::new(), last: 0 }
    }

    fn spawn(&self) -> Child {
        let suite = CipherSuite::ALL.iter().position(|suite| *suite == self.suite).unwrap();
        let numbers = self.record.iter().map(u32::to_string);
        let known = [suite.to_string(), self.near.index(PARENT).to_string(), self.last.to_string()];
        let task: Vec<_> = known.into_iter().chain(numbers).collect();
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["adopt::daemon", "--exact", "--ignored", "--nocapture"]);
        command.env(TASK, task.join(" ")).stdin(Stdio::piped());
        command.stdout(Stdio::null()).stderr(Stdio::piped());
        self.near.run(|| command.spawn().unwrap())
    }

    /// Does at the far end what a line says of the near one; tells whether it waits for that.
    fn follow(&mut self, line: &str) -> bool {
        let words: Vec<_> = line.split(' ').collect();
        let number = |at: usize| words[at].parse::<u32>().unwrap();
        match words[0] {
            "ahead" => {
                let (new, sends) = (number(1), number(2));
                self.last = new;
                self.record.push(new);
                let old: Vec<_> = self.plane.kept().iter().map(|sak| sak.key.ki).collect();
                for old in old.into_iter().filter(|old| *old != ki(sends)) {
                    self.plane.apply(&SecyCommand::RemoveSak(old)).unwrap();
                }
                let install = install(new, PEER, self.suite);
                self.plane.apply(&SecyCommand::InstallSak(install)).unwrap();
                true
            }
            "sends" => {
                self.plane.apply(&SecyCommand::EnableTx(ki(number(1)))).unwrap();
                self.plane.apply(&SecyCommand::SetControlledPort(true)).unwrap();
                true
            }
            "gone" => {
                self.record.retain(|of| *of != number(1));
                false
            }
            _ => panic!("the daemon says {line}"),
        }
    }

    /// Lets a daemon live for so many lines and this long after the last of them.
    fn kill_after(&mut self, lines: u64, then: Duration) {
        let mut daemon = self.spawn();
        let mut answers = daemon.stdin.take().unwrap();
        let mut said = BufReader::new(daemon.stderr.take().unwrap());
        for _ in 0..lines {
            let line = next(&mut said).expect("the daemon lives");
            if self.follow(&line) {
                answers.write_all(b"\n").unwrap();
            }
        }
        std::thread::sleep(then);
        daemon.kill().unwrap();
        daemon.wait().unwrap();
        // What it has written down is not lost with it.
        while let Some(line) = next(&mut said) {
            self.follow(&line);
        }
    }

    fn far_ok(&mut self) -> u64 {
        self.plane.refresh();
        self.plane.snapshot().counters.in_pkts_ok
    }
}

fn next(said: &mut BufReader<ChildStderr>) -> Option<String> {
    let mut line = String::new();
    let length = said.read_line(&mut line).unwrap();
    let known = ["ahead ", "sends ", "gone "].iter().any(|word| line.starts_with(word));
    if length > 0 && !known {
        said.read_to_string(&mut line).unwrap();
        panic!("the daemon says: {line}");
    }
    (length > 0).then(|| line.trim_end().to_owned())
}

/// Sends frames all the time until told to stop.
struct Sender {
    sent: AtomicU64,
    stop: AtomicBool,
}

impl Sender {
    const fn new() -> Self {
        Self { sent: AtomicU64::new(0), stop: AtomicBool::new(false) }
    }

    fn run(&self, socket: &PacketSocket) {
        while !self.stop.load(Relaxed) {
            socket.send(&FRAME).expect("the secure interface is up");
            self.sent.fetch_add(1, Relaxed);
            std::thread::sleep(Duration::from_micros(200));
        }
    }
}

/// Stops a sender when it goes.
struct Ending<'a>(&'a Sender);

impl Drop for Ending<'_> {
    fn drop(&mut self) {
        self.0.stop.store(true, Relaxed);
    }
}

fn killed_again_and_again(suite: CipherSuite) {
    let mut cable = Cable::new(suite);
    // Until it is open.
    cable.kill_after(3, Duration::ZERO);
    let sender = |namespace: &Namespace| {
        let index = namespace.index(SECURE);
        namespace.run(|| PacketSocket::sender(index).unwrap())
    };
    let (near, far) = (sender(&cable.near), sender(&cable.far));
    let (outward, inward) = (Sender::new(), Sender::new());
    let index = cable.near.index(SECURE);
    let mut plane = std::thread::scope(|scope| {
        scope.spawn(|| outward.run(&near));
        scope.spawn(|| inward.run(&far));
        // Whatever fails here, they end, and the test with them.
        let _end = [Ending(&outward), Ending(&inward)];
        let mut dice = 1_u64;
        for _ in 0..KILLS {
            dice = dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let (lines, then) = ((dice >> 33) % 9, (dice >> 40) % 3000);
            cable.kill_after(lines, Duration::from_micros(then));
        }
        let (route, generic) = sockets(&cable.near);
        let expected = cable.record.iter().map(|number| record(*number, suite)).collect();
        let with = settings(cable.near.index(PARENT), OWN, suite, expected);
        KernelDataplane::start_with(route, generic, with).unwrap()
    });
    assert_eq!(cable.near.index(SECURE), index, "the secure interface was made anew");
    assert!(plane.is_open());
    let (out, back) = (outward.sent.load(Relaxed), inward.sent.load(Relaxed));
    let mut near_ok = || {
        plane.refresh();
        plane.snapshot().counters.in_pkts_ok
    };
    eventually("all frames have come", || (cable.far_ok(), near_ok()) >= (out, back));
    assert_eq!((cable.far_ok(), near_ok()), (out, back), "frames are lost, or counted twice");
    println!("{suite}: {KILLS} killed, {} keys, {out} frames and {back}, none lost", cable.last);
}

#[test]
fn daemons_killed_again_and_again_lose_no_frame() {
    for suite in [GcmAes128, GcmAesXpn256] {
        killed_again_and_again(suite);
    }
}
