//! A data plane on the model of the kernel, and whoever orders it about as the KaY does.

use std::collections::BTreeMap;
use std::sync::Arc;

use macsecd::crypto::{Sak, Salt};
use macsecd::dataplane::Offload;
use macsecd::dataplane::kernel::{KernelDataplane, KernelSettings, KernelStartError};
use macsecd::ident::{
    AssociationNumber, CipherSuite, ConfidentialityOffset, KeyId, KeyNumber, MacAddress, MemberId,
    PacketNumber, Sci, Ssci,
};
use macsecd::secy::{
    InstallSak, RxMember, SecyCommand, SecyError, SecyKey, SecyModel, SecySettings, TransmitState,
    Validate,
};
use zeroize::Zeroizing;

use crate::fake_kernel::numbers::{LINK_MODE_DORMANT, oper};
use crate::fake_kernel::{FakeKernel, Secy};

pub(crate) const PARENT: &str = "eth1";
pub(crate) const PARENT_INDEX: u32 = 3;
pub(crate) const SECURE: &str = "macsec0";
pub(crate) const MAC: MacAddress = MacAddress([2, 0, 0, 0, 0, 0x0a]);
pub(crate) const OWN: Sci = Sci::new(MAC, 1);
pub(crate) const PEER: Sci = Sci::new(MacAddress([2, 0, 0, 0, 0, 0x0b]), 1);
pub(crate) const THIRD: Sci = Sci::new(MacAddress([2, 0, 0, 0, 0, 0x0c]), 1);

pub(crate) const STRICT: SecySettings = SecySettings {
    protect: true,
    validate: Validate::Strict,
    replay_protect: true,
    replay_window: 64,
    include_sci: true,
};

/// After so many looks, with the refused commands given again, all is to be as wanted.
pub(crate) const LOOKS: usize = 4;

pub(crate) fn ki(number: u32) -> KeyId {
    KeyId { server: MemberId::from_octets([7; 12]), number: KeyNumber(number) }
}

fn an(number: u32) -> AssociationNumber {
    AssociationNumber::from_low_bits(u8::try_from(number & 3).unwrap())
}

fn ssci_of(sci: Sci) -> u32 {
    u32::from(sci.octets()[5])
}

/// The key of this number: its octets follow from it, so that no two are alike.
pub(crate) fn key(number: u32, suite: CipherSuite) -> Arc<SecyKey> {
    let octets = number.to_be_bytes().repeat(suite.sak_len() / 4);
    let sak = Sak::new(Zeroizing::new(octets)).unwrap();
    let salt = suite.is_xpn().then(|| Salt::new(ki(number)));
    let offset = ConfidentialityOffset::Offset0;
    Arc::new(SecyKey { ki: ki(number), suite, offset, sak, salt })
}

pub(crate) fn settings(suite: CipherSuite) -> KernelSettings {
    KernelSettings {
        parent: PARENT.to_owned(),
        parent_index: PARENT_INDEX,
        name: SECURE.to_owned(),
        sci: OWN,
        suites: vec![suite],
        settings: STRICT,
        offload: Offload::Off,
        expected: Vec::new(),
    }
}

/// A kernel with the parent interface, that holds the data plane to the rules.
pub(crate) fn machine() -> FakeKernel {
    let kernel = FakeKernel::new();
    kernel.add_parent(PARENT_INDEX, PARENT, MAC.0);
    kernel.guard();
    kernel
}

pub(crate) fn start(
    kernel: &FakeKernel,
    settings: KernelSettings,
) -> Result<KernelDataplane, KernelStartError> {
    KernelDataplane::start_with(kernel.route(), kernel.generic(), settings)
}

/// A port: the kernel, the data plane, and what is wanted of it.
pub(crate) struct Port {
    pub(crate) kernel: FakeKernel,
    pub(crate) plane: KernelDataplane,
    pub(crate) suite: CipherSuite,
    /// What has been asked for and was done.
    pub(crate) wanted: SecyModel,
    /// What was refused and is to be asked for again.
    undone: Vec<SecyCommand>,
    /// The members to receive, each from this packet number on.
    members: BTreeMap<Sci, u64>,
    /// The SAK to send with, and the one before it.
    pub(crate) latest: Option<u32>,
    old: Option<u32>,
    /// The last SAK that there was.
    number: u32,
    pub(crate) lost: Vec<KeyId>,
}

impl Port {
    /// Starts, and once more where it is refused, as a daemon does.
    pub(crate) fn new(kernel: FakeKernel, suite: CipherSuite) -> Self {
        let started = (0..LOOKS).find_map(|_| start(&kernel, settings(suite)).ok());
        let plane = started.unwrap_or_else(|| {
            kernel.heal();
            start(&kernel, settings(suite)).expect("starts when nothing is in the way any more")
        });
        Self::on(kernel, plane, suite)
    }

    /// With a data plane that was started.
    pub(crate) fn on(kernel: FakeKernel, plane: KernelDataplane, suite: CipherSuite) -> Self {
        let mut wanted = SecyModel::new(OWN);
        wanted.apply(&SecyCommand::Configure(STRICT)).unwrap();
        Self {
            kernel,
            plane,
            suite,
            wanted,
            undone: Vec::new(),
            members: BTreeMap::from([(PEER, 1), (THIRD, 1)]),
            latest: None,
            old: None,
            number: 0,
            lost: Vec::new(),
        }
    }

    /// With a data plane that has taken up keys up to this number, and keeps what sends.
    pub(crate) fn taken_up(
        kernel: FakeKernel,
        plane: KernelDataplane,
        suite: CipherSuite,
        number: u32,
    ) -> Self {
        let (open, kept) = (plane.is_open(), plane.kept());
        let wanted = SecyModel::resumed(OWN, STRICT, open, kept).unwrap();
        let latest = wanted.transmitting_ki().map(|ki| ki.number.0);
        Self { wanted, latest, number, ..Self::on(kernel, plane, suite) }
    }

    /// A port that is open, with one key in use.
    pub(crate) fn secured(kernel: FakeKernel, suite: CipherSuite) -> Self {
        let mut port = Self::new(kernel, suite);
        port.rekey();
        port.open(true).unwrap();
        port.check("at the start");
        port
    }

    /// Has a command done, and keeps what of it is to be repeated.
    fn command(&mut self, command: SecyCommand) -> Result<(), SecyError> {
        // Only the last word counts.
        self.undone.retain(|of| {
            use SecyCommand::{Configure, SetControlledPort};
            !matches!(
                (of, &command),
                (Configure(_), Configure(_)) | (SetControlledPort(_), SetControlledPort(_))
            )
        });
        let result = self.plane.apply(&command);
        let refused = match &result {
            // What is not there is as good as removed.
            Ok(()) | Err(SecyError::NoSuchKey(_)) => false,
            Err(_) => true,
        };
        // What was to go is not wanted any more, even where it could not be removed at once.
        let goes = match &command {
            SecyCommand::RemoveReceiver(_)
            | SecyCommand::RemoveSak(_)
            | SecyCommand::SetControlledPort(false) => true,
            SecyCommand::Configure(_)
            | SecyCommand::SetControlledPort(true)
            | SecyCommand::InstallSak(_)
            | SecyCommand::AddReceiver { .. }
            | SecyCommand::EnableTx(_)
            | SecyCommand::RaiseLowestPn { .. } => false,
        };
        if goes || !refused {
            let mirrored = self.wanted.apply(&command);
            assert!(goes || mirrored.is_ok() || result.is_err(), "{mirrored:?}: {command:?}");
        }
        let repeats = match &command {
            SecyCommand::Configure(_)
            | SecyCommand::SetControlledPort(_)
            | SecyCommand::RemoveReceiver(_)
            | SecyCommand::AddReceiver { .. }
            | SecyCommand::RemoveSak(_) => true,
            SecyCommand::InstallSak(_)
            | SecyCommand::EnableTx(_)
            | SecyCommand::RaiseLowestPn { .. } => false,
        };
        if refused && repeats {
            self.undone.push(command);
        }
        result
    }

    fn member(&self, sci: Sci) -> RxMember {
        RxMember {
            sci,
            ssci: self.suite.is_xpn().then(|| Ssci(ssci_of(sci))),
            lowest_pn: PacketNumber(self.members.get(&sci).copied().unwrap_or(1)),
        }
    }

    /// Installs the next SAK and sends with it; where that is refused it is given up.
    pub(crate) fn rekey(&mut self) {
        if self.install() {
            self.enable();
        }
        self.drop_old();
    }

    /// Installs the next SAK.
    pub(crate) fn install(&mut self) -> bool {
        // There are never more than two.
        self.drop_old();
        self.number += 1;
        let number = self.number;
        // Whoever has been received is received from 1 with a new key.
        self.members.values_mut().for_each(|lowest| *lowest = 1);
        let receive = self.members.keys().map(|sci| self.member(*sci)).collect();
        let install = InstallSak {
            key: key(number, self.suite),
            an: an(number),
            ssci: self.suite.is_xpn().then(|| Ssci(ssci_of(OWN))),
            receive,
        };
        self.old = self.latest.take();
        self.latest = Some(number);
        let done = self.command(SecyCommand::InstallSak(install)).is_ok();
        if !done {
            self.give_up();
        }
        done
    }

    /// Sends with the latest SAK.
    pub(crate) fn enable(&mut self) {
        let Some(number) = self.latest else { return };
        // Nobody asks for it twice.
        if self.wanted.transmitting_ki() == Some(ki(number)) {
            return;
        }
        if self.command(SecyCommand::EnableTx(ki(number))).is_err() {
            self.give_up();
        }
    }

    /// Abandons the latest SAK; the one before it goes on.
    fn give_up(&mut self) {
        if let Some(number) = self.latest.take() {
            let _ = self.command(SecyCommand::RemoveSak(ki(number)));
        }
        self.latest = self.old.take();
    }

    /// Removes the SAK before the latest.
    pub(crate) fn drop_old(&mut self) {
        if let Some(number) = self.old.take() {
            let _ = self.command(SecyCommand::RemoveSak(ki(number)));
        }
    }

    pub(crate) fn open(&mut self, open: bool) -> Result<(), SecyError> {
        self.command(SecyCommand::SetControlledPort(open))
    }

    pub(crate) fn configure(&mut self, settings: SecySettings) {
        let _ = self.command(SecyCommand::Configure(settings));
    }

    pub(crate) fn remove(&mut self, sci: Sci) {
        self.members.remove(&sci);
        self.undone.retain(|command| !matches!(command, SecyCommand::AddReceiver { .. }));
        let _ = self.command(SecyCommand::RemoveReceiver(sci));
    }

    /// Receives a member with the latest SAK, from this packet number on.
    pub(crate) fn add(&mut self, sci: Sci, lowest: u64) {
        self.members.insert(sci, lowest);
        let Some(number) = self.latest else { return };
        let known = self.wanted.sak(ki(number)).is_some_and(|sak| sak.receivers.contains_key(&sci));
        if known {
            return;
        }
        // One to be removed and still there would be in the way.
        self.undone.retain(|command| !matches!(command, SecyCommand::RemoveReceiver(_)));
        let member = self.member(sci);
        let _ = self.command(SecyCommand::AddReceiver { ki: ki(number), member });
    }

    pub(crate) fn raise(&mut self, sci: Sci, lowest: u64) {
        let Some(number) = self.latest else { return };
        let lowest_pn = PacketNumber(lowest);
        let _ = self.command(SecyCommand::RaiseLowestPn { ki: ki(number), sci, lowest_pn });
    }

    /// What goes on twice a second: the data plane looks, and what it lost is made good; what it
    /// refused is asked for again.
    pub(crate) fn tend(&mut self) {
        self.plane.refresh();
        self.lost.extend(self.plane.take_lost());
        let is_lost = |number: u32| self.lost.contains(&ki(number));
        let (stranded, late) = (self.latest.is_some_and(is_lost), self.old.is_some_and(is_lost));
        if late {
            self.drop_old();
        }
        for command in std::mem::take(&mut self.undone) {
            let _ = self.command(command);
        }
        if stranded || self.latest.is_none() {
            self.rekey();
        }
    }

    /// Whatever went wrong is over: soon all is as wanted.
    pub(crate) fn recover(&mut self) {
        self.kernel.heal();
        for _ in 0..LOOKS {
            self.tend();
        }
    }

    /// Frames go out and come in.
    pub(crate) fn pass_traffic(&self) -> u64 {
        let sent = self.kernel.transmit(SECURE, 10);
        let Some(secy) = self.kernel.secy(SECURE) else { return sent };
        for channel in &secy.rx {
            for (an, sa) in (0..).zip(&channel.sas) {
                if let Some(sa) = sa.as_ref().filter(|sa| sa.active) {
                    self.kernel.receive(SECURE, channel.sci, an, sa.next_pn + 4);
                }
            }
        }
        sent
    }

    /// The kernel is as wanted, in everything.
    pub(crate) fn check(&self, when: &str) {
        let link = self.kernel.link(SECURE);
        let link = link.unwrap_or_else(|| panic!("{when}: the secure interface is gone"));
        let open = self.wanted.controlled_port();
        let state = if open { oper::UP } else { oper::DORMANT };
        let found = (link.up, link.operstate, link.link_mode);
        assert_eq!(found, (true, state, LINK_MODE_DORMANT), "{when}: the interface");
        let secy = link.secy().unwrap();
        assert_eq!(secy.sci, OWN.octets(), "{when}");
        check_settings(&self.wanted, secy, when);
        check_transmit(&self.wanted, secy, when);
        check_receive(&self.wanted, secy, when);
        assert!(self.plane.snapshot().alive, "{when}: the data plane gave up");
    }
}

/// What a panic said.
pub(crate) fn words(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().cloned();
    text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned())).unwrap_or_default()
}

fn check_settings(wanted: &SecyModel, secy: &Secy, when: &str) {
    let settings = wanted.settings();
    let open = wanted.controlled_port();
    assert_eq!(secy.protect, settings.protect || !open, "{when}: protect");
    let validate = match settings.validate {
        _ if !open => 2,
        Validate::Disabled => 0,
        Validate::Check => 1,
        Validate::Strict => 2,
    };
    assert_eq!(secy.validate, validate, "{when}: validate");
    assert_eq!(secy.replay_protect, settings.replay_protect, "{when}: replay protection");
    if settings.replay_protect {
        assert_eq!(secy.window, settings.replay_window, "{when}: window");
    }
    assert_eq!(secy.include_sci, settings.include_sci, "{when}: SCI");
    assert!(!secy.end_station && !secy.scb, "{when}");
}

fn check_transmit(wanted: &SecyModel, secy: &Secy, when: &str) {
    let there = secy.tx.iter().flatten().count();
    assert_eq!(there, wanted.saks().count(), "{when}: transmit SAs, {:?}", secy.tx);
    for sak in wanted.saks() {
        let sa = secy.tx_sa(sak.an.value());
        let sa = sa.unwrap_or_else(|| panic!("{when}: no transmit SA of {}", sak.key.ki));
        assert_eq!(sa.key_id, sak.key.ki.octets(), "{when}");
        assert_eq!(sa.key, sak.key.sak.expose(), "{when}");
        let active = sak.transmit == TransmitState::Transmitting;
        assert_eq!(sa.active, active, "{when}: the transmit SA of {}", sak.key.ki);
        if let (Some(ssci), Some(salt)) = (sak.ssci, sak.key.salt) {
            assert_eq!((sa.ssci, sa.salt), (ssci.0.to_be_bytes(), salt.octets()), "{when}");
        }
    }
    let sends = secy.tx_sa(secy.encoding_sa).filter(|sa| sa.active).map(|sa| sa.key_id);
    let open = wanted.controlled_port();
    let to_send = wanted.transmitting().filter(|_| open).map(|sak| sak.key.ki.octets());
    assert_eq!(sends, to_send, "{when}: what frames go out with");
    if sends.is_some() {
        assert!(secy.operational && secy.encrypt, "{when}: {secy:?}");
    }
}

fn check_receive(wanted: &SecyModel, secy: &Secy, when: &str) {
    let channels: Vec<_> = secy.rx.iter().map(|channel| Sci::from_octets(channel.sci)).collect();
    assert_eq!(channels.len(), wanted.channels().len(), "{when}: receive channels {channels:?}");
    for sci in wanted.channels() {
        let channel = secy.channel(sci.octets());
        let channel = channel.unwrap_or_else(|| panic!("{when}: no receive channel {sci}"));
        let members = wanted.saks().filter_map(|sak| Some((sak, sak.receivers.get(sci)?)));
        let members: Vec<_> = members.collect();
        let there = channel.sas.iter().flatten().count();
        assert_eq!(there, members.len(), "{when}: receive SAs of {sci}");
        for (sak, member) in members {
            let sa = channel.sas[sak.an.index()].as_ref();
            let sa = sa.unwrap_or_else(|| panic!("{when}: no receive SA of {sci}"));
            assert_eq!(sa.key_id, sak.key.ki.octets(), "{when}");
            assert_eq!(sa.key, sak.key.sak.expose(), "{when}");
            assert!(sa.active, "{when}: the receive SA of {sci} is off");
            let lowest = sa.next_pn.saturating_sub(u64::from(secy.window)).max(1);
            assert!(lowest >= member.lowest_pn.0 || sa.next_pn >= member.lowest_pn.0, "{when}");
            if let (Some(ssci), Some(salt)) = (member.ssci, sak.key.salt) {
                assert_eq!((sa.ssci, sa.salt), (ssci.0.to_be_bytes(), salt.octets()), "{when}");
            }
        }
    }
}
