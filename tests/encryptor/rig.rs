//! A cable with an encryptor at one end.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::net::{Ipv4Addr, UdpSocket};
use std::path::PathBuf;
use std::time::Duration;

use macsecd::dataplane::{
    Encryptor, EncryptorHome, EncryptorSettings, EncryptorStartError, UserspaceSettings,
};
use macsecd::ident::{CipherSuite, ConfidentialityOffset, MacAddress, PacketNumber, Sci, Ssci};
use macsecd::secy::{InstallSak, InstalledSak, RxMember, SecyCommand, TransmitState};
use macsecd::sys::Interfaces;
use macsecd::wire::SecTag;
use tempfile::TempDir;

use crate::netns::{Namespace, eventually};
use crate::pair::{self, End, Key, Observer, PARENT, SECURE, STRICT, ethertype};

/// Longer than any test takes: nothing ends by itself.
pub(crate) const LONG: Duration = Duration::from_secs(3600);
pub(crate) const KEY: Key = Key::new(1, CipherSuite::GcmAesXpn256, ConfidentialityOffset::Offset0);

const SCI: Sci = Sci::new(MacAddress([2, 0, 0, 0, 0, 1]), 1);
pub(crate) const IP: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);
/// Its SSCI at the near end, with an XPN suite.
const SSCI: Ssci = Ssci(2);

/// A cable, the far end of which passes frames.
pub(crate) struct Rig {
    pub(crate) near: Namespace,
    pub(crate) far: End,
    pub(crate) directory: TempDir,
    /// Encryptors that were started; all have ended when this has gone.
    started: Vec<u32>,
}

impl Rig {
    pub(crate) fn new() -> Self {
        let (near, far) = (Namespace::new(), Namespace::new());
        near.cable(PARENT, &far, PARENT);
        let mut far = pair::end(far, 2, STRICT);
        far.apply(SecyCommand::SetControlledPort(true));
        Self { near, far, directory: tempfile::tempdir().unwrap(), started: Vec::new() }
    }

    pub(crate) fn home(&self) -> EncryptorHome {
        EncryptorHome {
            directory: self.directory.path().join("encryptors"),
            program: env!("CARGO_BIN_EXE_macsecd").into(),
            arguments: vec!["encryptor".to_owned(), "trace".to_owned()],
            inherits_stderr: false,
        }
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.home().directory.join(format!("{PARENT}.sock"))
    }

    pub(crate) fn settings(&self, expected: Vec<InstalledSak>) -> EncryptorSettings {
        let plane = UserspaceSettings {
            parent: PARENT.to_owned(),
            parent_index: self.near.index(PARENT),
            parent_mtu: self.near.mtu(PARENT),
            name: SECURE.to_owned(),
            sci: SCI,
            settings: STRICT,
        };
        EncryptorSettings { plane, home: self.home(), life: LONG, expected }
    }

    /// What a daemon does when it begins.
    pub(crate) fn begin_with(
        &mut self,
        settings: EncryptorSettings,
    ) -> Result<Encryptor, EncryptorStartError> {
        let encryptor = self.near.run(|| Encryptor::start(settings))?;
        self.started.extend(encryptor.id());
        Ok(encryptor)
    }

    /// The same, with these keys in its record.
    pub(crate) fn begin(&mut self, expected: &[InstalledSak]) -> Encryptor {
        self.begin_with(self.settings(expected.to_vec())).unwrap()
    }

    /// An encryptor that passes frames with a key.
    pub(crate) fn secured(&mut self) -> Encryptor {
        let mut encryptor = self.begin(&[]);
        self.install(&mut encryptor, &KEY);
        self.enable(&mut encryptor, &KEY);
        self.open(&mut encryptor);
        self.near.set_ip(SECURE, IP);
        encryptor
    }

    /// Installs a key at both ends.
    pub(crate) fn install(&mut self, encryptor: &mut Encryptor, key: &Key) {
        encryptor.apply(&install(key, self.far.sci, self.far.ssci)).unwrap();
        self.far.install(key, &[(SCI, SSCI)]);
    }

    /// Has both ends send with a key.
    pub(crate) fn enable(&mut self, encryptor: &mut Encryptor, key: &Key) {
        encryptor.apply(&SecyCommand::EnableTx(key.ki())).unwrap();
        self.far.apply(SecyCommand::EnableTx(key.ki()));
    }

    /// Opens the port, and returns when frames can be sent to it.
    pub(crate) fn open(&self, encryptor: &mut Encryptor) {
        encryptor.apply(&SecyCommand::SetControlledPort(true)).unwrap();
        eventually("the secure interface carries frames", || self.near.is_running(SECURE));
    }

    /// Tells whether the system sends frames to the secure interface.
    pub(crate) fn passes(&self) -> bool {
        self.near.is_running(SECURE)
    }

    /// Sockets at both ends.
    pub(crate) fn traffic(&self) -> Traffic {
        let near = self.near.run(|| UdpSocket::bind((IP, 1000)).unwrap());
        near.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        Traffic { near, far: self.far.socket(2000) }
    }

    /// The key as a daemon has it in its record.
    pub(crate) fn record(&self, key: &Key) -> InstalledSak {
        let SecyCommand::InstallSak(InstallSak { key, an, ssci, receive }) =
            install(key, self.far.sci, self.far.ssci)
        else {
            unreachable!()
        };
        let receivers: BTreeMap<Sci, RxMember> =
            receive.into_iter().map(|member| (member.sci, member)).collect();
        // What it does is for the encryptor to say.
        InstalledSak { key, an, ssci, receivers, transmit: TransmitState::Waiting }
    }

    /// Hears all that crosses the cable.
    pub(crate) fn observer(&self) -> Observer {
        Observer::new(&self.far)
    }

    /// The index of the secure interface, which another one of the same name would not have.
    pub(crate) fn secure_index(&self) -> u32 {
        self.near.run(|| Interfaces::open().unwrap().index(SECURE).unwrap())
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        for id in &self.started {
            if runs(*id) {
                signal(*id, nix::sys::signal::Signal::SIGTERM);
            }
        }
    }
}

/// Two sockets that speak through both secure interfaces.
pub(crate) struct Traffic {
    near: UdpSocket,
    far: UdpSocket,
}

impl Traffic {
    /// Sends some datagrams there and back; each of them has to come.
    pub(crate) fn flows(&self) {
        self.flows_up_to(1400);
    }

    /// The same, none longer than this.
    pub(crate) fn flows_up_to(&self, longest: usize) {
        let mut buffer = [0; 2048];
        for size in [1, 100, longest] {
            for _ in 0..10 {
                self.near.send_to(&buffer[..size], self.far.local_addr().unwrap()).unwrap();
                let (len, from) = self.far.recv_from(&mut buffer).expect("the datagram arrives");
                self.far.send_to(&buffer[..len], from).unwrap();
                assert_eq!(self.near.recv(&mut buffer).expect("its echo arrives"), size);
            }
        }
    }
}

/// The packet numbers that the near end has sent with, in order.
pub(crate) fn numbers(frames: &[Vec<u8>]) -> Vec<u32> {
    let from_near = frames.iter().filter(|frame| frame[6..12] == SCI.address().0);
    from_near
        .map(|frame| {
            assert_eq!(ethertype(frame), 0x88e5, "{frame:02x?}");
            SecTag::decode(&frame[14..]).unwrap().0.pn
        })
        .collect()
}

/// Every number comes once, and none comes after a higher one.
pub(crate) fn assert_rising(numbers: &[u32]) {
    assert!(numbers.windows(2).all(|pair| pair[0] < pair[1]), "{numbers:?}");
    assert_eq!(numbers.iter().collect::<BTreeSet<_>>().len(), numbers.len());
}

/// The command that installs a key at the near end.
pub(crate) fn install(key: &Key, from: Sci, ssci: Ssci) -> SecyCommand {
    let xpn = key.suite.is_xpn();
    let member = RxMember { sci: from, ssci: xpn.then_some(ssci), lowest_pn: PacketNumber::FIRST };
    SecyCommand::InstallSak(InstallSak {
        key: key.secy_key(),
        an: key.an(),
        ssci: xpn.then_some(SSCI),
        receive: vec![member],
    })
}

/// Tells whether a process runs. One that has ended and that nobody has asked about does not.
pub(crate) fn runs(id: u32) -> bool {
    let status = fs::read_to_string(format!("/proc/{id}/stat")).unwrap_or_default();
    status.rsplit_once(')').is_some_and(|(_, rest)| !rest.trim_start().starts_with('Z'))
}

/// Sends a process a signal.
pub(crate) fn signal(id: u32, signal: nix::sys::signal::Signal) {
    let id = nix::unistd::Pid::from_raw(i32::try_from(id).unwrap());
    nix::sys::signal::kill(id, signal).unwrap();
}
