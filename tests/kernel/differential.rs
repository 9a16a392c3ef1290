//! The model of the kernel and the kernel itself are asked the same, at random: they answer the
//! same, and look the same afterwards.

use std::thread;
use std::time::{Duration, Instant};

use crate::fake_kernel::FakeKernel;
use crate::fake_kernel::attributes::Writer;
use crate::fake_kernel::numbers::{
    GCM_AES_128, GCM_AES_128_LEGACY, GCM_AES_256, GCM_AES_XPN_128, GCM_AES_XPN_256, OFFLOAD_TYPE,
    command, link, top,
};
use crate::fake_kernel::request::{Client, Refused, SaRequest};
use crate::machine;
use crate::netns::Namespace;
use crate::picture::picture;

/// The interfaces that a sequence knows: two that are there, and what it makes.
const PARENTS: [&str; 2] = ["eth0", "eth1"];
const SECURE: [&str; 3] = ["sec0", "sec1", "sec2"];
const NAMES: [&str; 5] = ["eth0", "eth1", "sec0", "sec1", "sec2"];
const ADDRESSES: [[u8; 6]; 2] = [[2, 0, 0, 0, 0, 0x0a], [2, 0, 0, 0, 0, 0x0b]];
/// The model's indices for the parents.
const INDICES: [u32; 2] = [11, 12];
/// An index that nothing has.
const NOTHING: u32 = 4711;

/// An attribute as it is sent, right or wrong.
type Raw = (u16, Vec<u8>);

#[derive(Clone, Debug)]
enum Op {
    Create { name: &'static str, parent: &'static str, data: Vec<Raw> },
    Delete(&'static str),
    Set { name: &'static str, data: Vec<Raw> },
    Link { name: &'static str, up: Option<bool>, attributes: Vec<Raw> },
    Channel { command: u8, name: &'static str, sci: [u8; 8], active: Option<u8> },
    Transmit { command: u8, name: &'static str, sa: SaRequest },
    Receive { command: u8, name: &'static str, sci: [u8; 8], sa: SaRequest },
    Offload { name: &'static str, place: u8 },
    Send { name: &'static str, frames: usize },
}

/// As long as the kernel may take to come back to a carrier, and a little more.
const SECOND: Duration = Duration::from_millis(1200);

impl Op {
    /// Whether it says what the operational state is, or who says so.
    fn sets_state(&self) -> bool {
        let Self::Link { attributes, .. } = self else { return false };
        attributes.iter().any(|(kind, _)| *kind != libc::IFLA_MTU)
    }
}

/// Numbers that look random and come again with the seed.
struct Dice {
    number: u64,
    /// The interfaces that have been made: they are spoken of most.
    made: Vec<&'static str>,
}

impl Dice {
    fn below(&mut self, limit: usize) -> usize {
        let next = self.number.wrapping_mul(6_364_136_223_846_793_005);
        self.number = next.wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.number >> 33).unwrap() % limit
    }

    fn one_of<T: Clone>(&mut self, all: &[T]) -> T {
        all[self.below(all.len())].clone()
    }

    fn percent(&mut self, chance: usize) -> bool {
        self.below(100) < chance
    }

    /// One of the usual, or now and then one of the odd.
    fn mostly<T: Clone>(&mut self, usual: &[T], odd: &[T]) -> T {
        if self.percent(12) { self.one_of(odd) } else { self.one_of(usual) }
    }

    fn name(&mut self) -> &'static str {
        if self.made.is_empty() || self.percent(10) {
            return self.one_of(&NAMES);
        }
        let at = self.below(self.made.len());
        self.made[at]
    }

    /// Notes what was done.
    fn note(&mut self, op: &Op, errno: i32) {
        if errno != 0 {
            return;
        }
        if let Op::Create { name, .. } = op {
            self.made.push(name);
        } else if let Op::Delete(name) = op {
            self.made.retain(|made| made != name);
        }
    }

    fn sci(&mut self) -> [u8; 8] {
        let last = u8::try_from(self.below(3)).unwrap();
        [2, 0, 0, 0, 0, 0x20, 0, last]
    }

    fn an(&mut self) -> Option<u8> {
        self.mostly(&[Some(0), Some(1), Some(2), Some(3)], &[None, Some(4), Some(255)])
    }

    fn pn(&mut self) -> Option<Vec<u8>> {
        let narrow = |pn: u32| Some(pn.to_ne_bytes().to_vec());
        let wide = |pn: u64| Some(pn.to_ne_bytes().to_vec());
        self.mostly(
            &[
                narrow(1),
                wide(1),
                narrow(7000),
                wide(7000),
                narrow(u32::MAX - 2),
                wide(u64::MAX - 2),
            ],
            &[None, narrow(0), wide(0), Some(vec![1, 0]), Some(vec![1; 12]), wide(1 << 32)],
        )
    }

    /// What an association is to be, whole or not.
    fn new_sa(&mut self) -> SaRequest {
        SaRequest {
            an: self.an(),
            active: self.mostly(&[None, Some(0), Some(1)], &[Some(2)]),
            pn: self.pn(),
            key: self.mostly(
                &[Some(vec![7; 16]), Some(vec![7; 32])],
                &[None, Some(vec![]), Some(vec![7; 24]), Some(vec![7; 129])],
            ),
            key_id: self.mostly(
                &[Some(vec![1; 16]), Some(vec![2; 16])],
                &[None, Some(vec![1; 15]), Some(vec![1; 17])],
            ),
            ssci: self.mostly(&[Some(1), Some(2), None], &[Some(0)]),
            salt: self.mostly(
                &[Some(vec![3; 12]), Some(vec![4; 12]), None],
                &[Some(vec![3; 11]), Some(vec![3; 13])],
            ),
        }
    }

    fn change_of_sa(&mut self) -> SaRequest {
        let change = SaRequest {
            an: self.an(),
            active: self.mostly(&[None, Some(0), Some(1), Some(1)], &[Some(2)]),
            pn: if self.percent(40) { self.pn() } else { None },
            ..SaRequest::default()
        };
        if self.percent(5) { SaRequest { pn: change.pn, ..self.new_sa() } } else { change }
    }

    fn settings(&mut self, creation: bool) -> Vec<Raw> {
        let mut data = Vec::new();
        let switches = [
            link::ENCRYPT,
            link::PROTECT,
            link::INC_SCI,
            link::ES,
            link::SCB,
            link::REPLAY_PROTECT,
        ];
        for kind in switches {
            if self.percent(15) {
                data.push((kind, vec![self.mostly(&[0, 1], &[2, 255])]));
            }
        }
        if self.percent(30) {
            let windows = [0_u32, 64, (1 << 30) - 1, 1 << 30];
            data.push((link::WINDOW, self.one_of(&windows).to_ne_bytes().to_vec()));
        }
        if self.percent(20) {
            data.push((link::ENCODING_SA, vec![self.mostly(&[0, 1, 2, 3], &[4, 200])]));
        }
        if self.percent(15) {
            data.push((link::VALIDATION, vec![self.mostly(&[0, 1, 2], &[3, 255])]));
        }
        // Only at creation, but the kernel is asked at other times, too.
        if self.percent(if creation { 70 } else { 4 }) {
            let suites = [GCM_AES_128, GCM_AES_256, GCM_AES_XPN_128, GCM_AES_XPN_256];
            let suite = self.mostly(&suites, &[GCM_AES_128_LEGACY, 5]);
            data.push((link::CIPHER_SUITE, suite.to_ne_bytes().to_vec()));
        }
        if self.percent(if creation { 40 } else { 4 }) {
            data.push((link::SCI, vec![2, 0, 0, 0, 0, 0x0c, 0, self.one_of(&[1, 2])]));
        }
        if self.percent(if creation { 40 } else { 4 }) {
            data.push((link::PORT, vec![0, self.one_of(&[1, 2, 3])]));
        }
        if self.percent(if creation { 10 } else { 2 }) {
            data.push((link::ICV_LEN, vec![self.mostly(&[16, 8, 12], &[7, 17, 32])]));
        }
        if self.percent(5) {
            data.push((link::OFFLOAD, vec![self.mostly(&[0], &[1, 2, 3])]));
        }
        if self.percent(3) {
            // Shorter than it may be.
            data.push((self.one_of(&[link::WINDOW, link::CIPHER_SUITE]), vec![1, 2]));
        }
        data
    }

    fn link(&mut self) -> Op {
        let name = if self.percent(30) { self.one_of(&PARENTS) } else { self.name() };
        let up = self.one_of(&[None, Some(true), Some(true), Some(false)]);
        let up = if PARENTS.contains(&name) && self.percent(70) { Some(true) } else { up };
        let mut attributes = Vec::new();
        if self.percent(25) {
            let mtu: u32 = self.mostly(&[1500, 1468, 1400, 1368, 1300], &[1469, 65535, 65536, 60]);
            attributes.push((libc::IFLA_MTU, mtu.to_ne_bytes().to_vec()));
        }
        if SECURE.contains(&name) && self.percent(2) {
            attributes.push((libc::IFLA_LINKMODE, vec![self.one_of(&[0, 1])]));
        }
        if SECURE.contains(&name) && self.percent(2) {
            attributes.push((libc::IFLA_OPERSTATE, vec![self.one_of(&[5, 6])]));
        }
        Op::Link { name, up, attributes }
    }

    fn op(&mut self) -> Op {
        let name = self.name();
        match self.below(100) {
            0..=11 => Op::Create {
                name: self.one_of(&SECURE),
                parent: self.mostly(&PARENTS, &["nothing"]),
                data: self.settings(true),
            },
            12..=13 => Op::Delete(name),
            14..=25 => Op::Set { name, data: self.settings(false) },
            26..=37 => self.link(),
            38..=47 => Op::Channel {
                command: self.one_of(&[
                    command::ADD_RXSC,
                    command::ADD_RXSC,
                    command::UPD_RXSC,
                    command::DEL_RXSC,
                ]),
                name,
                sci: self.sci(),
                active: self.mostly(&[None, Some(0), Some(1)], &[Some(2)]),
            },
            48..=57 => Op::Transmit { command: command::ADD_TXSA, name, sa: self.new_sa() },
            58..=67 => Op::Transmit {
                command: self.one_of(&[command::UPD_TXSA, command::UPD_TXSA, command::DEL_TXSA]),
                name,
                sa: self.change_of_sa(),
            },
            68..=77 => {
                let (command, sci) = (command::ADD_RXSA, self.sci());
                Op::Receive { command, name, sci, sa: self.new_sa() }
            }
            78..=87 => Op::Receive {
                command: self.one_of(&[command::UPD_RXSA, command::UPD_RXSA, command::DEL_RXSA]),
                name,
                sci: self.sci(),
                sa: self.change_of_sa(),
            },
            88..=89 => Op::Offload { name, place: self.mostly(&[0, 1, 2], &[3]) },
            _ => {
                let frames = 1 + self.below(6);
                Op::Send { name, frames }
            }
        }
    }
}

fn fill(attributes: &[Raw]) -> impl FnOnce(&mut Writer) {
    move |writer| {
        for (kind, octets) in attributes {
            writer.put(*kind, octets);
        }
    }
}

/// Asks for it, and gives the error number of the answer, 0 being none, and its words.
fn perform(client: &mut Client, op: &Op) -> (i32, Option<String>) {
    let find = |client: &mut Client, name: &str| client.index(name).unwrap_or(NOTHING);
    let done = match op {
        Op::Create { name, parent, data } => {
            let parent = find(client, parent);
            client.create(parent, name, fill(data)).map(drop)
        }
        Op::Delete(name) => {
            // What is there from the start stays.
            let index = if PARENTS.contains(name) { NOTHING } else { find(client, name) };
            client.delete(index)
        }
        Op::Set { name, data } => {
            let index = find(client, name);
            client.set(index, fill(data))
        }
        Op::Link { name, up, attributes } => {
            let index = find(client, name);
            client.set_link(index, *up, fill(attributes))
        }
        Op::Channel { command, name, sci, active } => {
            let index = find(client, name);
            client.channel(*command, index, *sci, *active)
        }
        Op::Transmit { command, name, sa } => {
            let index = find(client, name);
            client.tx(*command, index, sa)
        }
        Op::Receive { command, name, sci, sa } => {
            let index = find(client, name);
            client.rx(*command, index, *sci, sa)
        }
        Op::Offload { name, place } => {
            let index = find(client, name);
            let mut writer = Writer::default();
            writer.u32(top::IFINDEX, index).nest(top::OFFLOAD, |nest| {
                nest.u8(OFFLOAD_TYPE, *place);
            });
            client.command(command::UPD_OFFLOAD, &writer)
        }
        Op::Send { .. } => Ok(()),
    };
    done.map_or_else(|Refused { errno, text }| (errno, text), |()| (0, None))
}

/// Both kernels, with the same interfaces.
struct Both {
    namespace: Namespace,
    real: Client,
    kernel: FakeKernel,
    model: Client,
}

impl Both {
    fn new() -> Self {
        let namespace = Namespace::new();
        let kernel = FakeKernel::new();
        // Here numbers are set back on purpose.
        kernel.with(crate::fake_kernel::State::oblivious);
        for ((name, address), index) in PARENTS.iter().zip(ADDRESSES).zip(INDICES) {
            kernel.add_parent(index, name, address);
            namespace.cable(name, &namespace, &format!("far-{name}"));
            namespace.set_address(name, address);
        }
        let real = machine::client(&namespace);
        let model = Client::new(kernel.route(), kernel.generic());
        Self { namespace, real, kernel, model }
    }

    fn send(&self, name: &str, frames: usize) {
        if self.namespace.has(name) {
            machine::send(&self.namespace, name, frames);
        }
        if self.kernel.secy(name).is_some() {
            self.kernel.transmit(name, u64::try_from(frames).unwrap());
        }
    }

    /// The kernel takes a moment for what follows from a change of a carrier.
    fn compare(&mut self) -> Result<(), String> {
        let deadline = Instant::now() + Duration::from_secs(2);
        loop {
            let real = picture(&mut self.real, &NAMES);
            let model = picture(&mut self.model, &NAMES);
            if real == model {
                return Ok(());
            }
            if Instant::now() > deadline {
                return Err(difference(&real, &model));
            }
            thread::sleep(Duration::from_millis(5));
        }
    }
}

/// The lines that only one of the two has.
fn difference(real: &str, model: &str) -> String {
    let only = |of: &str, other: &str| {
        let lines = of.lines().filter(|line| !other.lines().any(|of| of == *line));
        lines.fold(String::new(), |all, line| all + line + "\n")
    };
    format!("the kernel:\n{}the model:\n{}", only(real, model), only(model, real))
}

/// Asks both the same, so many times or until they differ.
fn run(seed: u64, length: usize) -> Result<(), String> {
    let mut dice = Dice { number: seed, made: Vec::new() };
    let mut both = Both::new();
    let (mut done, mut dormant) = (Vec::new(), false);
    for _ in 0..length {
        let op = dice.op();
        if let Op::Send { name, frames } = &op {
            both.send(name, *frames);
        }
        // The kernel comes back to a carrier after up to a second, which can be seen where somebody
        // else says what the state is.
        let states = op.sets_state();
        if states {
            thread::sleep(SECOND);
        }
        let (real, model) = (perform(&mut both.real, &op), perform(&mut both.model, &op));
        dormant |= states;
        if dormant && matches!(op, Op::Link { up: Some(false), .. }) {
            thread::sleep(SECOND);
        }
        dice.note(&op, real.0);
        done.push(format!("{real:?}: {op:?}"));
        let alike = match real == model {
            true => both.compare(),
            false => Err(format!("the kernel says {real:?}, the model {model:?}\n")),
        };
        alike.map_err(|difference| {
            let last = done.split_off(done.len().saturating_sub(8));
            format!("seed {seed}, the last steps:\n{}\n{difference}", last.join("\n"))
        })?;
    }
    Ok(())
}

#[test]
fn the_model_answers_and_looks_as_the_kernel_does() {
    let sequences = std::env::var("KERNEL_SEQUENCES").map_or(20, |text| text.parse().unwrap());
    let wrong: Vec<_> = (0..sequences).filter_map(|seed| run(seed, 120).err()).collect();
    assert!(
        wrong.is_empty(),
        "{} sequences differ, the first:\n{}",
        wrong.len(),
        wrong[..wrong.len().min(5)].join("\n")
    );
}
