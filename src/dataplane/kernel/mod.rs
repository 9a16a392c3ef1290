//! A data plane in the kernel: its MACsec, told over netlink.
//!
//! The secure interface is made once, or taken up where it is there, and kept. For each command the
//! wanted state changes ([`SecyModel`]), and then the kernel is brought to it: look (`seen`),
//! compare (`reconcile`), carry out step by step (`step`, `link`), and look again, until there is
//! nothing left to do. The same runs every half second, because the kernel says nothing when an SA
//! runs out of packet numbers or somebody else changes something. What must not be put back, a
//! transmit SA, is kept in the `ledger`, and reported as lost. What a process before us left goes on
//! where it is known and no nonce can repeat (`adopt`).
//!
//! What the kernel cannot do: there is no confidentiality offset, and with the Controlled Port
//! closed it still delivers what arrives under a good SA.

mod adopt;
mod converge;
#[cfg(test)]
mod fixture;
mod ledger;
mod link;
mod message;
mod netlink;
mod reconcile;
mod seen;
mod show;
mod start;
mod step;
pub mod uapi;

use std::time::{Duration, Instant};

use self::ledger::{Ledger, Life};
use self::link::{Link, Plan};
use self::netlink::{Conversation, Failure};
use self::reconcile::flags;
use self::seen::Secy;
use self::start::{Taken, sockets};
use super::{End, KernelState, Offload};
use crate::ident::{CipherSuite, KeyId};
use crate::secy::{Counters, InstalledSak, SecyCommand, SecyError, SecyModel, TransmitState};
use crate::sys::LinkState;

pub use netlink::Netlink;
pub use start::{KernelSettings, KernelStartError, available};

/// What the secure interface's MTU is less than its parent's: SecTAG with SCI, and ICV.
const OVERHEAD: u32 = 32;
/// After so long in vain, only starting afresh can help.
const FAILING_MAX: Duration = Duration::from_secs(2);

/// How often keys are removed at the end: nobody comes later to try again.
const ENDINGS_MAX: usize = 3;

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
    /// The keys that were found at the start and nobody expected.
    unexpected: Vec<KeyId>,
    /// At the last look there was nothing left to do.
    settled: bool,
    failing: Option<Instant>,
    closed: bool,
}

impl KernelDataplane {
    /// Makes or takes up the secure interface. What another process left on it is removed, but for
    /// the SAKs that are expected: [`KernelDataplane::kept`] tells which of them go on. With none
    /// of them the Controlled Port is closed.
    ///
    /// # Errors
    ///
    /// [`KernelStartError`]; an interface that was made for it is gone again then. What an expected
    /// SAK has there is left for another try.
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
        mut settings: KernelSettings,
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
        let (model, ledger) = adopt::adopt(&settings, &taken, model);
        let unexpected = adopt::unexpected(&settings.expected, &taken.secy);
        // The keys are the model's now, and go with it.
        settings.expected.clear();
        let mut plane = Self::with(route, generic, family, settings, model, taken);
        (plane.ledger, plane.unexpected) = (ledger, unexpected);
        if plane.model.saks().next().is_some() {
            plane.go_on();
        } else if let Err(failure) = plane.begin() {
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
            unexpected: Vec::new(),
            settled: false,
            failing: None,
            closed: false,
        }
    }

    /// Brings a secure interface that was just made or taken up to the wanted state.
    fn begin(&mut self) -> Result<(), Failure> {
        self.set_unseen()?;
        self.converge()?;
        self.place_work();
        self.tend_link()
    }

    /// Goes on with what a process before us left. What cannot be put right at once is tried again
    /// with every look: to stop would cost the keys that frames go out with.
    fn go_on(&mut self) {
        // The work cannot change its place while there are keys, and the interface must stay up.
        let (now, wanted) =
            (self.seen.as_ref().map_or(0, |seen| seen.offload), self.settings.offload);
        self.state.offload = start::placed(now);
        if wanted != Offload::Auto && wanted != self.state.offload {
            let why = format!("{wanted}: not while the keys of the process before are in use");
            self.state.offload_refused = Some(why);
        }
        tracing::info!(
            iface = %self.settings.name,
            kept = self.model.saks().count(),
            transmits = self.model.transmitting().is_some(),
            open = self.model.controlled_port(),
            "taken up with the keys that the process before has left"
        );
        self.refresh();
    }

    fn place_work(&mut self) {
        let Some(secy) = &self.seen else { return };
        let (route, generic) = (&mut self.route, &mut self.generic);
        let (link, now, wanted) = (&self.link, secy.offload, self.settings.offload);
        let (now, refused) = start::offload(route, generic, self.family, link, now, wanted);
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
        if let SecyCommand::InstallSak(install) = command
            && install.key.offset.octets() > 0
        {
            // It would encrypt all of each frame.
            let reason = "the kernel has no confidentiality offset other than 0";
            return Err(SecyError::Refused(reason.to_owned()));
        }
        let before = self.model.clone();
        self.model.apply(command)?;
        // What differs now is our own doing.
        self.settled = false;
        let result = self.carry_out(command);
        if result.is_err() {
            self.take_back(before, command);
        } else if self.raise {
            // It was made anew. Where that fails, the next look does it.
            let _ = self.tend_link();
        }
        self.ledger.prune(&self.model);
        result
    }

    fn carry_out(&mut self, command: &SecyCommand) -> Result<(), SecyError> {
        match command {
            SecyCommand::InstallSak(install) => {
                let (ki, suite) = (install.key.ki, install.key.suite);
                if self.ledger.is_foreign(ki) {
                    return Err(SecyError::KeyUsedBefore(ki));
                }
                self.ledger.begin(ki, install.an);
                if suite != self.suite {
                    tracing::warn!(
                        iface = %self.settings.name, from = %self.suite, to = %suite,
                        "made anew for another cipher suite: addresses and routes on it are lost"
                    );
                    self.make_anew(suite).map_err(refused)?;
                }
                self.converge().map_err(refused)?;
                self.check_usable(ki)
            }
            SecyCommand::AddReceiver { ki, member }
                if let Some(why) = self.ledger.refuses(*ki, member.sci) =>
            {
                Err(SecyError::Refused(why.to_owned()))
            }
            SecyCommand::EnableTx(ki) => {
                // Before the one that it was to take over from is switched off.
                self.check_usable(*ki)?;
                self.converge().map_err(refused)?;
                self.check_usable(*ki)
            }
            SecyCommand::SetControlledPort(_) => {
                self.converge().map_err(refused)?;
                self.tend_link().map_err(refused)
            }
            SecyCommand::Configure(_) => {
                self.set_unseen().and_then(|()| self.converge()).map_err(refused)
            }
            SecyCommand::AddReceiver { .. }
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
        self.settled = false;
    }

    /// Looks at the kernel, puts right what is not as it should be, and notes what is lost. To be
    /// called every half second.
    pub fn refresh(&mut self) {
        match self.converge().and_then(|()| self.tend_link()) {
            Ok(()) => self.failing = None,
            Err(failure) => {
                tracing::debug!(iface = %self.settings.name, %failure, "the kernel is not as wanted");
                self.failing.get_or_insert_with(Instant::now);
            }
        }
        self.look_at_parent();
    }

    /// Gives the SAKs that are there, with whom they receive and what their transmit SA does. One
    /// whose transmit SA is lost is superseded here: it only receives. After a start these are the
    /// expected SAKs that go on; every other has counted as used since then.
    #[must_use]
    pub fn kept(&self) -> Vec<InstalledSak> {
        let shown = |sak: &InstalledSak| {
            let transmit = match self.ledger.life(sak.key.ki) {
                Life::Over => TransmitState::Superseded,
                Life::Fresh | Life::Adding | Life::Added | Life::Activating | Life::Active => {
                    sak.transmit
                }
            };
            InstalledSak { transmit, ..sak.clone() }
        };
        self.model.saks().map(shown).collect()
    }

    /// Gives the keys that were found at the start and that nobody expected. They have gone.
    #[must_use]
    pub fn unexpected(&self) -> &[KeyId] {
        &self.unexpected
    }

    /// Whether the Controlled Port is open.
    #[must_use]
    pub const fn is_open(&self) -> bool {
        self.model.controlled_port()
    }

    /// Gives the keys whose transmit SA is lost, each once. They are not put back: that a nonce is
    /// not used twice could not be known.
    pub fn take_lost(&mut self) -> Vec<KeyId> {
        self.ledger.take_lost()
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
        match self.own_link().map_err(refused)? {
            Some(link) => link::set_mtu(&mut self.route, link.index, mtu).map_err(refused),
            None => Err(SecyError::Refused("the secure interface is gone".to_owned())),
        }
    }

    /// Ends. [`End::Leave`] asks nothing of the kernel: keys and all stay as they are. Otherwise no
    /// key is left in it, and the secure interface is dormant, or with [`End::Delete`] gone.
    pub fn close(&mut self, end: End) {
        self.closed = true;
        if end == End::Leave {
            return;
        }
        if end == End::Delete {
            let link = self.own_link().map(|link| link.map(|link| link.index));
            let deleted = link.and_then(|index| match index {
                Some(index) => link::delete(&mut self.route, index),
                None => Ok(()),
            });
            match deleted {
                Ok(()) => return,
                Err(failure) => {
                    tracing::warn!(iface = %self.settings.name, %failure, "not deleted");
                }
            }
        }
        self.remove_keys();
    }

    fn remove_keys(&mut self) {
        let kis: Vec<_> = self.model.saks().map(|sak| sak.key.ki).collect();
        let commands = [SecyCommand::SetControlledPort(false)];
        let commands = commands.into_iter().chain(kis.into_iter().map(SecyCommand::RemoveSak));
        for command in commands {
            let _ = self.model.apply(&command);
        }
        self.ledger.prune(&self.model);
        self.settled = false;
        let mut cleared = self.clear();
        for _ in 1..ENDINGS_MAX {
            if cleared.is_ok() {
                return;
            }
            cleared = self.clear();
        }
        if let Err(failure) = cleared {
            tracing::warn!(iface = %self.settings.name, %failure, "keys may be left in the kernel");
        }
    }

    /// Removes what is not wanted any more. A secure interface that is gone is not made for this.
    fn clear(&mut self) -> Result<(), Failure> {
        match self.look()? {
            true => self.converge().and_then(|()| self.tend_link()),
            false => Ok(()),
        }
    }
}

impl Drop for KernelDataplane {
    fn drop(&mut self) {
        if !self.closed {
            // After a panic, say: what runs on must have somebody who means to come back to it.
            self.close(End::Clear);
        }
    }
}

fn refused(failure: Failure) -> SecyError {
    SecyError::Refused(failure.to_string())
}
