//! A data plane in the kernel: its MACsec, told over netlink.
//!
//! The secure interface is made once, or taken up where it is there, and kept. For each command the
//! wanted state changes ([`SecyModel`]), and then the kernel is brought to it: look (`seen`),
//! compare (`reconcile`), carry out step by step (`step`, `link`), and look again, until there is
//! nothing left to do. The same runs every half second, because the kernel says nothing when an SA
//! runs out of packet numbers or somebody else changes something. What must not be put back, a
//! transmit SA, is kept in the `ledger`, and reported as lost.
//!
//! What the kernel cannot do: there is no confidentiality offset, and with the Controlled Port
//! closed it still delivers what arrives under a good SA.

#[cfg(test)]
mod fixture;
mod ledger;
mod link;
mod message;
mod netlink;
mod reconcile;
mod seen;
mod start;
mod step;
pub mod uapi;

use nix::errno::Errno;

use self::ledger::{Ledger, Life};
use self::link::{Link, Plan, Which};
use self::netlink::{Conversation, Failure};
use self::reconcile::{flags, lowest};
use self::seen::Secy;
use self::start::{Taken, secys, sockets};
use self::step::Step;
use super::{KernelState, Offload, RxProgress, Snapshot};
use crate::ident::{CipherSuite, KeyId, PacketNumber};
use crate::secy::{Counters, SecyCommand, SecyError, SecyModel, TxProgress};
use crate::sys::LinkState;

pub use netlink::Netlink;
pub use start::{KernelSettings, KernelStartError, available};

/// What the secure interface's MTU is less than its parent's: SecTAG with SCI, and ICV.
const OVERHEAD: u32 = 32;
/// How often the kernel is looked at again within one command. A member that leaves takes three
/// looks; each round more is for something that came between.
const ROUNDS_MAX: usize = 6;
/// After so many vain attempts, each half a second apart, only starting afresh can help.
const FAILURES_MAX: u32 = 4;

/// The data plane of one port. Its secure interface stays when this value goes, without a key.
#[derive(Debug)]
pub struct KernelDataplane {
    route: Conversation,
    generic: Conversation,
    family: u16,
    settings: KernelSettings,
    model: SecyModel,
    ledger: Ledger,
    /// The suite that the secure interface has.
    suite: CipherSuite,
    link: Link,
    /// How it looked last; `None` where it is gone.
    seen: Option<Secy>,
    parent: LinkState,
    /// The secure interface is new, or we are, and it is still to be enabled.
    raise: bool,
    /// What was counted in channels and interfaces that are gone.
    counted: Counters,
    state: KernelState,
    /// The MACsec interfaces that were seen last, and those of them on the same parent.
    indices: Vec<u32>,
    /// At the last look there was nothing left to do.
    settled: bool,
    failures: u32,
    closed: bool,
}

impl KernelDataplane {
    /// Makes or takes up the secure interface, with the Controlled Port closed and no key. What
    /// another process left on it is removed.
    ///
    /// # Errors
    ///
    /// [`KernelStartError`]; an interface that was made for it is gone again then.
    pub fn start(settings: KernelSettings) -> Result<Self, KernelStartError> {
        let (route, generic) = sockets()?;
        Self::start_with(route, generic, settings)
    }

    /// The same over these two sockets: of the routing family, and of generic netlink.
    ///
    /// # Errors
    ///
    /// As for [`KernelDataplane::start`].
    pub fn start_with(
        route: Box<dyn Netlink>,
        generic: Box<dyn Netlink>,
        settings: KernelSettings,
    ) -> Result<Self, KernelStartError> {
        let (mut route, mut generic) = (Conversation::new(route), Conversation::new(generic));
        let family = start::family(&mut generic)?;
        let mut model = SecyModel::new(settings.sci);
        model.apply(&SecyCommand::Configure(settings.settings))?;
        let suite = settings.suites.first().copied().unwrap_or(CipherSuite::GcmAes128);
        let plan = Plan {
            name: &settings.name,
            parent: settings.parent_index,
            sci: settings.sci,
            suite,
            flags: flags(&model),
        };
        let (parent, suites) = (&settings.parent, &settings.suites);
        let taken = start::take(&mut route, &mut generic, family, &plan, parent, suites)?;
        let made = taken.made;
        let mut plane = Self::with(route, generic, family, settings, model, taken);
        if let Err(failure) = plane.begin() {
            if made {
                let _ = link::delete(&mut plane.route, plane.link.index);
            }
            let why = failure.to_string();
            return Err(KernelStartError::Refused { name: plane.settings.name.clone(), why });
        }
        Ok(plane)
    }

    fn with(
        route: Conversation,
        generic: Conversation,
        family: u16,
        settings: KernelSettings,
        model: SecyModel,
        taken: Taken,
    ) -> Self {
        let Taken { secy, link, made: _ } = taken;
        let suite = secy.suite.unwrap_or(CipherSuite::GcmAes128);
        Self {
            route,
            generic,
            family,
            settings,
            model,
            ledger: Ledger::default(),
            suite,
            link,
            seen: Some(secy),
            parent: LinkState::Running,
            raise: true,
            counted: Counters::default(),
            state: KernelState::default(),
            indices: Vec::new(),
            settled: false,
            failures: 0,
            closed: false,
        }
    }

    /// Brings a secure interface that was just made or taken up to the wanted state.
    fn begin(&mut self) -> Result<(), Failure> {
        self.converge()?;
        self.place_work();
        self.tend_link()
    }

    fn place_work(&mut self) {
        let Some(secy) = self.seen.clone() else { return };
        let taken = Taken { secy, link: self.link.clone(), made: self.raise };
        let (route, generic) = (&mut self.route, &mut self.generic);
        let (now, refused) =
            start::offload(route, generic, self.family, &taken, self.settings.offload);
        (self.state.offload, self.state.offload_refused) = (now, refused);
    }

    /// Carries out a command: it is done when the kernel shows it.
    ///
    /// # Errors
    ///
    /// [`SecyError::Refused`] with the kernel's words where it does not come to what is wanted; an
    /// SAK that was to be installed is not there then. Any other [`SecyError`] names the rule that
    /// the command breaks, and nothing changes.
    pub fn apply(&mut self, command: &SecyCommand) -> Result<(), SecyError> {
        let before = self.model.clone();
        self.model.apply(command)?;
        // What differs now is our own doing.
        self.settled = false;
        let result = self.carry_out(command);
        if result.is_err() {
            self.take_back(before, command);
        }
        self.ledger.prune(&self.model);
        result
    }

    fn carry_out(&mut self, command: &SecyCommand) -> Result<(), SecyError> {
        match command {
            SecyCommand::InstallSak(install) => {
                let (ki, suite) = (install.key.ki, install.key.suite);
                self.ledger.begin(ki, install.an);
                if suite != self.suite {
                    self.make_anew(suite).map_err(refused)?;
                }
                self.converge().map_err(refused)?;
                self.check_usable(ki)
            }
            SecyCommand::AddReceiver { ki, member } if !self.ledger.has_room(*ki, member.sci) => {
                Err(SecyError::Refused("too many members have left this key".to_owned()))
            }
            SecyCommand::EnableTx(ki) => {
                self.converge().map_err(refused)?;
                self.check_usable(*ki)
            }
            SecyCommand::SetControlledPort(_) => {
                self.converge().map_err(refused)?;
                self.tend_link().map_err(refused)
            }
            SecyCommand::Configure(_)
            | SecyCommand::AddReceiver { .. }
            | SecyCommand::RemoveReceiver(_)
            | SecyCommand::RemoveSak(_)
            | SecyCommand::RaiseLowestPn { .. } => self.converge().map_err(refused),
        }
    }

    fn check_usable(&self, ki: KeyId) -> Result<(), SecyError> {
        match self.ledger.life(ki) {
            Life::Over => Err(SecyError::Refused(format!(
                "the transmit SA of key {ki} may have been used, and is not used again"
            ))),
            Life::Fresh | Life::Adding | Life::Added | Life::Activating | Life::Active => Ok(()),
        }
    }

    /// After a refusal. What was to go stays unwanted, and goes as soon as the kernel lets it; what
    /// was to come is not wanted any more.
    fn take_back(&mut self, before: SecyModel, command: &SecyCommand) {
        match command {
            SecyCommand::InstallSak(install) => {
                // The model must not forget that the key was used.
                let _ = self.model.apply(&SecyCommand::RemoveSak(install.key.ki));
            }
            SecyCommand::RemoveSak(_)
            | SecyCommand::RemoveReceiver(_)
            // What half closed must not be opened again by whoever looks next.
            | SecyCommand::SetControlledPort(false) => {}
            SecyCommand::Configure(_)
            | SecyCommand::SetControlledPort(true)
            | SecyCommand::AddReceiver { .. }
            | SecyCommand::EnableTx(_)
            | SecyCommand::RaiseLowestPn { .. } => self.model = before,
        }
        self.ledger.prune(&self.model);
        self.settled = false;
    }

    /// Looks at the kernel, puts right what is not as it should be, and notes what is lost. To be
    /// called every half second.
    pub fn refresh(&mut self) {
        match self.converge().and_then(|()| self.tend_link()) {
            Ok(()) => self.failures = 0,
            Err(failure) => {
                tracing::debug!(iface = %self.settings.name, %failure, "the kernel is not as wanted");
                self.failures += 1;
            }
        }
        self.look_at_parent();
    }

    /// Gives the keys whose transmit SA is lost, each once. They are not put back: that a nonce is
    /// not used twice could not be known.
    pub fn take_lost(&mut self) -> Vec<KeyId> {
        self.ledger.take_lost()
    }

    /// Brings the kernel to the wanted state, step by step.
    fn converge(&mut self) -> Result<(), Failure> {
        let mut failed = None;
        for round in 0..ROUNDS_MAX {
            if self.look()?.is_none() {
                let suite = self.suite;
                self.interfered("the secure interface was deleted".to_owned());
                self.make_anew(suite)?;
            }
            let Some(seen) = &self.seen else { continue };
            let steps = reconcile::steps(&self.model, &self.ledger, seen);
            let Some(first) = steps.first() else {
                self.settled = true;
                return Ok(());
            };
            if round == 0 && self.settled {
                let text = first.describe();
                self.interfered(text);
            }
            self.settled = false;
            failed = steps.iter().find_map(|step| self.execute(step).err());
        }
        Err(failed.unwrap_or_else(|| {
            Failure::Unanswered(std::io::Error::other("somebody else changes it all the time"))
        }))
    }

    /// Asks how the secure interface is, and notes what has become of the keys. `None` means that it
    /// is gone.
    fn look(&mut self) -> Result<Option<()>, Failure> {
        let all = secys(&mut self.generic, self.family)?;
        self.meet_neighbours(&all);
        let ours = |secy: &Secy| {
            secy.index == self.link.index
                && secy.sci == self.settings.sci
                && secy.suite == Some(self.suite)
        };
        let seen = all.into_iter().find(ours);
        self.ledger.note(&self.model, seen.as_ref());
        // What was counted in something that is gone would be missed.
        if let Some(before) = &self.seen {
            let kept = seen.as_ref().filter(|now| now.index == before.index);
            if kept.is_none() {
                self.counted.add(&before.counters);
            }
            let gone = |sci| kept.is_none_or(|now| now.channel(sci).is_none());
            for channel in before.receive.iter().filter(|channel| gone(channel.sci)) {
                self.counted.add(&channel.counters);
            }
        }
        self.seen = seen;
        Ok(self.seen.as_ref().map(|_| ()))
    }

    fn interfered(&mut self, what: String) {
        tracing::warn!(
            iface = %self.settings.name,
            "changed by somebody else, and put right: {what}"
        );
        self.state.interference += 1;
        self.state.last_interference = Some(what);
    }

    /// Makes the secure interface anew, of this suite. Every key in it is lost.
    fn make_anew(&mut self, suite: CipherSuite) -> Result<(), Failure> {
        if let Some(before) = self.seen.take() {
            self.counted.add(&before.all_counters());
        }
        self.counted.out_pkts_no_sa += self.link.tx_dropped;
        self.link.tx_dropped = 0;
        self.ledger.note(&self.model, None);
        let parent = self.settings.parent_index;
        let ours = |link: &Link| link.kind == uapi::FAMILY_NAME && link.parent == Some(parent);
        // An index may have gone to another interface.
        if link::find(&mut self.route, Which::Index(self.link.index))?.is_some_and(|of| ours(&of)) {
            link::delete(&mut self.route, self.link.index)?;
        }
        let plan = Plan {
            name: &self.settings.name,
            parent,
            sci: self.settings.sci,
            suite,
            flags: flags(&self.model),
        };
        link::create(&mut self.route, &plan)?;
        let made = link::find(&mut self.route, Which::Name(&self.settings.name))?;
        let Some(link) = made else {
            return Err(Failure::Unanswered(std::io::Error::other("it is gone again")));
        };
        (self.link, self.suite, self.raise) = (link, suite, true);
        self.look()?;
        self.place_work();
        Ok(())
    }

    fn execute(&mut self, step: &Step) -> Result<(), Failure> {
        let index = self.link.index;
        match step {
            Step::Set(flags) => link::set_flags(&mut self.route, index, flags),
            Step::SendWith { an, encrypt } => {
                link::send_with(&mut self.route, index, *an, *encrypt)
            }
            Step::AddSender { key, .. } => {
                self.spend(step, key.key.ki, [Life::Fresh, Life::Adding, Life::Added])
            }
            Step::SwitchSender { ki, active: true, .. } => {
                self.spend(step, *ki, [Life::Added, Life::Activating, Life::Active])
            }
            Step::AddChannel(_)
            | Step::RemoveChannel(_)
            | Step::AddReceiver { .. }
            | Step::SwitchReceiver { .. }
            | Step::RaiseReceiver { .. }
            | Step::RemoveReceiver { .. }
            | Step::SwitchSender { active: false, .. }
            | Step::RemoveSender { .. } => self.tell(step),
        }
    }

    fn tell(&mut self, step: &Step) -> Result<(), Failure> {
        match step.request(self.family, self.link.index) {
            Some(request) => self.generic.tell(request),
            None => Ok(()),
        }
    }

    /// Has a step done that a transmit SA goes forward by. It is written down before it is asked
    /// for, as the answer may never come.
    fn spend(&mut self, step: &Step, ki: KeyId, lives: [Life; 3]) -> Result<(), Failure> {
        let [before, during, after] = lives;
        self.ledger.set_life(ki, during);
        let result = self.tell(step);
        match &result {
            Ok(()) => self.ledger.set_life(ki, after),
            Err(Failure::Refused { .. } | Failure::Unsent(_)) => self.ledger.set_life(ki, before),
            Err(Failure::Unanswered(_)) => {}
        }
        result
    }

    /// Sees to the secure interface as an interface: enabled when it is new, and dormant while the
    /// Controlled Port is closed.
    fn tend_link(&mut self) -> Result<(), Failure> {
        let index = self.link.index;
        let Some(link) = link::find(&mut self.route, Which::Index(index))? else {
            return Ok(());
        };
        self.link = link;
        if self.raise {
            match link::set_up(&mut self.route, index, true) {
                Ok(()) => self.raise = false,
                // It cannot be enabled before its parent is.
                Err(failure) if failure.errno() == Some(Errno::ENETDOWN) => {}
                Err(failure) => return Err(failure),
            }
        }
        let open = self.model.controlled_port();
        let (state, mode) = (self.link.oper_state, self.link.link_mode);
        let amiss = if open { state == uapi::OPER_DORMANT } else { state == uapi::OPER_UP };
        if amiss || mode != uapi::LINK_MODE_DORMANT {
            link::set_open(&mut self.route, index, open)?;
        }
        if let Some(link) = link::find(&mut self.route, Which::Index(index))? {
            self.link = link;
        }
        Ok(())
    }

    fn look_at_parent(&mut self) {
        let index = self.settings.parent_index;
        if let Ok(parent) = link::find(&mut self.route, Which::Index(index)) {
            self.parent = parent.map_or(LinkState::Gone, |parent| parent.state());
        }
    }

    /// Finds the other MACsec interfaces on the same parent, when there are others than before.
    fn meet_neighbours(&mut self, all: &[Secy]) {
        let indices: Vec<u32> = all.iter().map(|secy| secy.index).collect();
        if indices == self.indices {
            return;
        }
        let others = indices.iter().filter(|index| **index != self.link.index);
        let links = others
            .filter_map(|index| link::find(&mut self.route, Which::Index(*index)).ok().flatten());
        let parent = Some(self.settings.parent_index);
        let on_parent = links.filter(|link| link.parent == parent).map(|link| link.name);
        self.state.neighbours = on_parent.collect();
        self.indices = indices;
    }

    /// Tells what the kernel had counted, and how far packet numbers had come, at the last look.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        let mut counters = self.counted;
        counters.out_pkts_no_sa += self.link.tx_dropped;
        let settings = self.model.settings();
        let (mut tx, mut rx) = (None, Vec::new());
        if let Some(seen) = &self.seen {
            counters.add(&seen.all_counters());
            tx = self.model.transmitting().and_then(|sak| {
                let sa = seen.sent_with(sak.an).filter(|sa| sa.ki == sak.key.ki)?;
                let next_pn = PacketNumber(ledger::expected(sa, sak));
                Some(TxProgress { ki: sa.ki, next_pn })
            });
            let mut channels: Vec<_> = seen.receive.iter().collect();
            channels.sort_by_key(|channel| channel.sci);
            for (channel, sa) in
                channels.iter().flat_map(|of| of.sas.iter().map(move |sa| (of, sa)))
            {
                let Some(sak) = self.model.sak(sa.ki) else { continue };
                let next = ledger::expected(sa, sak);
                rx.push(RxProgress {
                    ki: sa.ki,
                    sci: channel.sci,
                    next_pn: PacketNumber(next),
                    lowest_pn: PacketNumber(lowest(next, settings)),
                });
            }
        }
        let gone = self.seen.is_none();
        Snapshot {
            counters,
            drops: super::Drops::default(),
            tx,
            rx,
            parent: self.parent,
            secure_interface: if gone { LinkState::Gone } else { self.link.state() },
            alive: self.failures < FAILURES_MAX,
            kernel: Some(self.state.clone()),
        }
    }

    /// Who does the work.
    #[must_use]
    pub const fn offload(&self) -> Offload {
        self.state.offload
    }

    /// Follows a change of the parent interface's MTU.
    ///
    /// # Errors
    ///
    /// [`SecyError::Invalid`] where it leaves no room for traffic, [`SecyError::Refused`] where the
    /// secure interface cannot have the MTU that follows.
    pub fn set_parent_mtu(&mut self, mtu: u32) -> Result<(), SecyError> {
        let mtu = mtu
            .checked_sub(OVERHEAD)
            .ok_or(SecyError::Invalid("the parent's MTU must be 100 octets at least"))?;
        link::set_mtu(&mut self.route, self.link.index, mtu).map_err(refused)
    }

    /// Ends: no key is left in the kernel, and the secure interface is dormant, or with `delete`
    /// gone.
    pub fn close(&mut self, delete: bool) {
        self.closed = true;
        if delete {
            if let Err(failure) = link::delete(&mut self.route, self.link.index) {
                tracing::warn!(iface = %self.settings.name, %failure, "not deleted");
            }
            return;
        }
        let kis: Vec<_> = self.model.saks().map(|sak| sak.key.ki).collect();
        let commands = [SecyCommand::SetControlledPort(false)];
        let commands = commands.into_iter().chain(kis.into_iter().map(SecyCommand::RemoveSak));
        for command in commands {
            let _ = self.model.apply(&command);
        }
        self.ledger.prune(&self.model);
        self.settled = false;
        // A secure interface that is gone is not made for this.
        if matches!(self.look(), Ok(Some(()))) {
            let done = self.converge().and_then(|()| self.tend_link());
            if let Err(failure) = done {
                tracing::warn!(iface = %self.settings.name, %failure, "keys may be left in the kernel");
            }
        }
    }
}

impl Drop for KernelDataplane {
    fn drop(&mut self) {
        if !self.closed {
            self.close(false);
        }
    }
}

fn refused(failure: Failure) -> SecyError {
    SecyError::Refused(failure.to_string())
}
