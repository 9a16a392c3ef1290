//! One port without its I/O: what the daemon and the simulation both drive.
//!
//! The contract is that of the KaY: [`Driver::handle`], then [`Driver::poll_output`] until `None`,
//! then [`Driver::poll_timeout`].

use std::time::Duration;

use crate::crypto::{Entropy, NoEntropy};
use crate::ident::{KeyId, Sci};
use crate::keyring::KeyRing;
use crate::mka::{
    Forgotten, Input, Kay, Memory, Output, Policy, PortState, RekeyRefused, Status,
    SuspensionRefused,
};
use crate::secy::{
    CommandId, InstalledSak, Octets, RxProgress, SecyCommand, SecyError, TxProgress,
};
use crate::time::Time;

/// How often the data plane is asked how many packet numbers are spent. Where they go so fast that
/// a quarter of what is left of them goes in less, it is asked that often, within reason.
const POLL: Duration = Duration::from_secs(1);

/// No rate makes it be asked more often.
const POLL_MIN: Duration = Duration::from_millis(50);

/// The same as [`POLL`] with delay protection, where what we say of packet numbers bounds the delay
/// of frames.
const POLL_BOUNDED: Duration = Duration::from_millis(500);

/// The state of the interface below.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Link {
    /// There is no such interface.
    Missing,
    /// It is there, without carrier or not enabled.
    Down,
    /// It can carry frames.
    Up,
}

/// Something that happened to the port.
#[derive(Debug)]
pub enum PortInput<'a> {
    /// The time that `poll_timeout` named has come.
    Timeout,
    /// The interface below changed.
    Link(Link),
    /// A frame with the EAPOL EtherType arrived, Ethernet header first.
    Frame(&'a [u8]),
    /// The data plane has answered a command.
    Secy {
        /// Which command.
        id: CommandId,
        /// How it went.
        result: Result<(), SecyError>,
    },
    /// The data plane no longer has the SAK of this name and cannot send with it, see
    /// [`Input::SakLost`].
    SakLost(KeyId),
    /// The data plane has answered [`PortOutput::PollSecy`].
    TxProgress(TxProgress),
    /// With this, too.
    RxProgress(&'a [RxProgress]),
    /// And with this, last.
    Octets(Octets),
}

/// Something to be done for the port, in the order given.
#[must_use]
#[derive(Debug)]
pub enum PortOutput {
    /// Send this frame on the Uncontrolled Port.
    Transmit(Vec<u8>),
    /// Keep this, see [`Output::Remember`].
    Remember(Option<Vec<u8>>),
    /// Have the data plane do this and answer under this id.
    Secy {
        /// The id that the answer must bear.
        id: CommandId,
        /// What to do.
        command: SecyCommand,
    },
    /// Ask the data plane how far its packet numbers have come.
    PollSecy,
}

/// The brain of one port.
pub struct Driver {
    kay: Kay,
    poll_every: Duration,
    link: Link,
    poll_at: Option<Time>,
    poll_due: bool,
}

impl Driver {
    /// Makes a port whose interface is not there yet.
    ///
    /// # Errors
    ///
    /// [`NoEntropy`] where no member identifier could be drawn.
    pub fn new(
        now: Time,
        policy: Policy,
        keys: &KeyRing,
        entropy: Box<dyn Entropy + Send>,
    ) -> Result<Self, NoEntropy> {
        Kay::new(now, policy, keys, entropy).map(Self::with)
    }

    /// Goes on where an earlier driver was, with the interface up, and with what the data plane has
    /// kept of [`Memory::saks`].
    ///
    /// # Errors
    ///
    /// Why it cannot. Whatever was kept has to go then.
    pub fn resume(
        now: Time,
        policy: Policy,
        keys: &KeyRing,
        entropy: Box<dyn Entropy + Send>,
        memory: Memory,
        kept: &[InstalledSak],
    ) -> Result<Self, Forgotten> {
        let kay = Kay::resume(now, policy, keys, entropy, memory, kept)?;
        Ok(Self { link: Link::Up, ..Self::with(kay) })
    }

    fn with(kay: Kay) -> Self {
        let poll_every = if kay.policy().delay_protect { POLL_BOUNDED } else { POLL };
        Self { kay, poll_every, link: Link::Missing, poll_at: None, poll_due: false }
    }

    /// Has what is to survive a restart given out ([`PortOutput::Remember`]), now and whenever it
    /// changes.
    pub fn keep_record(&mut self) {
        self.kay.keep_record();
    }

    /// Takes one input.
    pub fn handle(&mut self, now: Time, input: PortInput<'_>) {
        if self.poll_at.is_some_and(|at| at <= now) {
            self.poll_at = Some(now.after(self.poll_within()));
            self.poll_due = true;
        }
        let input = match input {
            PortInput::Timeout => Input::Timeout,
            PortInput::Link(link) => {
                self.link = link;
                Input::Carrier(link == Link::Up)
            }
            PortInput::Frame(frame) => Input::Frame(frame),
            PortInput::Secy { id, result } => Input::Secy { id, result },
            PortInput::SakLost(ki) => Input::SakLost(ki),
            PortInput::TxProgress(progress) => Input::TxProgress(progress),
            PortInput::RxProgress(all) => Input::RxProgress(all),
            PortInput::Octets(octets) => Input::Octets(octets),
        };
        self.kay.handle(now, input);
        self.schedule_poll(now);
    }

    /// Yields the next thing to do; `None` means that everything is said.
    pub fn poll_output(&mut self) -> Option<PortOutput> {
        let output = match self.kay.poll_output() {
            Some(Output::Transmit(frame)) => PortOutput::Transmit(frame),
            Some(Output::Remember(memory)) => PortOutput::Remember(memory),
            Some(Output::Secy { id, command }) => PortOutput::Secy { id, command },
            None if std::mem::take(&mut self.poll_due) => PortOutput::PollSecy,
            None => return None,
        };
        Some(output)
    }

    /// Says when to call `handle` again at the latest; `None` means that only an event can help.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Time> {
        [self.kay.poll_timeout(), self.poll_at].into_iter().flatten().min()
    }

    /// Replaces the keys; participants whose key stays go on untouched.
    ///
    /// # Errors
    ///
    /// [`NoEntropy`] where a new participant found no member identifier; nothing has changed then.
    pub fn set_keys(&mut self, now: Time, keys: &KeyRing) -> Result<(), NoEntropy> {
        self.kay.set_keys(now, keys)
    }

    /// Asks for a fresh SAK.
    ///
    /// # Errors
    ///
    /// [`RekeyRefused`] where there is nothing to replace or another is to do it.
    pub fn rekey(&mut self, now: Time) -> Result<(), RekeyRefused> {
        self.kay.rekey(now)
    }

    /// Our secure channel.
    #[must_use]
    pub fn sci(&self) -> Sci {
        self.kay.policy().sci
    }

    /// Asks the others to bear with our silence for a while, 120 s at most; zero takes it back.
    ///
    /// # Errors
    ///
    /// [`SuspensionRefused`] where it would be no use; nothing is asked then.
    pub fn ask_suspension(&mut self, now: Time, span: Duration) -> Result<(), SuspensionRefused> {
        self.kay.ask_suspension(now, span)
    }

    /// Tells whether we may be silent as we have asked.
    #[must_use]
    pub fn suspension_is_agreed(&self, now: Time) -> bool {
        self.kay.suspension_is_agreed(now)
    }

    /// The state of the interface below, as last heard.
    #[must_use]
    pub fn link(&self) -> Link {
        self.link
    }

    /// Shows how the key agreement stands.
    #[must_use]
    pub fn status(&self, now: Time) -> Status {
        self.kay.status(now)
    }

    /// Polls while, and only while, an SA transmits.
    fn schedule_poll(&mut self, now: Time) {
        let secured = self.kay.state() == PortState::Secured;
        match (secured, self.poll_at) {
            (true, at) => {
                let latest = now.after(self.poll_within());
                self.poll_at = Some(at.map_or(latest, |at| at.min(latest)));
            }
            (false, Some(_)) => self.poll_at = None,
            (false, None) => {}
        }
    }

    /// How long until the data plane is asked again.
    fn poll_within(&self) -> Duration {
        let quarter = self.kay.numbers_last().map(|left| left / 4);
        quarter.map_or(self.poll_every, |quarter| self.poll_every.min(quarter.max(POLL_MIN)))
    }
}
