//! Members that meet: what most cases begin with.

use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use macsecd::control::KeyServer;

use crate::frames::{Count, Traffic};
use crate::member::{Member, Terms};
use crate::ours::{Ours, Plane};
use crate::place::{Machine, Place, SECURE};
use crate::row::Outcome;
use crate::supplicant::Supplicant;

/// What anybody may take to become secured: the life time of a peer that is gone, and an agreement.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);
/// Frames from each to each, where a case has nothing else in mind.
pub(crate) const ROUNDS: u32 = 50;

/// Who makes the keys.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Role {
    /// Our end.
    Server,
    /// The other.
    Client,
}

impl Role {
    /// What our end is called in the table.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Server => "server",
            Self::Client => "client",
        }
    }

    /// Terms for us and for the peer under which it comes so.
    pub(crate) fn terms(self) -> (Terms, Terms) {
        let (ours, theirs) = match self {
            Self::Server => (16, 200),
            Self::Client => (200, 16),
        };
        let with = |priority| Terms { priority, ..Terms::default() };
        (with(ours), with(theirs))
    }
}

/// How a meeting is to be.
#[derive(Clone, Debug)]
pub(crate) struct Invitation {
    pub(crate) plane: Plane,
    pub(crate) ours: Terms,
    pub(crate) theirs: Terms,
    /// Which of the two machines is ours; the first has the lower SCI.
    pub(crate) seat: usize,
}

/// A `macsecd` and a `wpa_supplicant` that reach each other.
pub(crate) struct Meeting {
    pub(crate) place: Place,
    pub(crate) ours: Ours,
    pub(crate) peer: Supplicant,
    invitation: Invitation,
    folder: PathBuf,
}

impl Invitation {
    /// The usual terms, by which it comes to this role.
    pub(crate) fn new(plane: Plane, role: Role) -> Self {
        let (ours, theirs) = role.terms();
        Self { plane, ours, theirs, seat: 0 }
    }

    /// Changes both ends' terms alike.
    pub(crate) fn both(mut self, change: &dyn Fn(&mut Terms)) -> Self {
        change(&mut self.ours);
        change(&mut self.theirs);
        self
    }
}

impl Meeting {
    /// Starts both on a cable, us last.
    pub(crate) fn start(folder: &Path, invitation: &Invitation) -> Result<Self> {
        Self::start_at(Place::cable()?, folder, invitation)
    }

    /// Starts both: the peer, and once it has begun to speak, us.
    pub(crate) fn start_at(place: Place, folder: &Path, invitation: &Invitation) -> Result<Self> {
        let Invitation { plane, ours, theirs, seat } = invitation;
        let peer = Supplicant::start(&place.machines[1 - seat], folder, "peer", theirs)?;
        until("wpa_supplicant takes part", PATIENCE, || Ok(peer.is_active()))?;
        let ours = Ours::start(&place.machines[*seat], folder, "ours", ours, *plane)?;
        let (invitation, folder) = (invitation.clone(), folder.to_owned());
        Ok(Self { place, ours, peer, invitation, folder })
    }

    /// Our machine.
    pub(crate) fn our_machine(&self) -> &Machine {
        &self.place.machines[self.invitation.seat]
    }

    /// The peer's.
    pub(crate) fn peer_machine(&self) -> &Machine {
        &self.place.machines[1 - self.invitation.seat]
    }

    /// When we first spoke.
    pub(crate) fn first_word(&self) -> Result<Instant> {
        self.place.seen().first_word(self.our_machine().mac).context("macsecd has not spoken")
    }

    /// When we first spoke in answer to the peer: before that, what we say proves nothing to it.
    pub(crate) fn first_answer(&self) -> Result<Instant> {
        let seen = self.place.seen();
        seen.first_answer(self.our_machine().mac).context("macsecd has not answered")
    }

    /// Waits until both say that they are secured and frames pass both ways; tells when they did.
    pub(crate) fn until_secured(&self) -> Result<(Traffic, Instant)> {
        until_secured(&self.place.machines, &[&self.ours, &self.peer])
    }

    /// Waits for the same, and does what remains.
    pub(crate) fn conclude(self, role: Role) -> Result<Outcome> {
        let (_, secured) = self.until_secured()?;
        let outcome = Outcome::secured(secured - self.first_word()?);
        Ok(outcome.with(self.exchange_and_finish(role)?))
    }

    /// Passes some traffic, checks who has made the key, and ends.
    pub(crate) fn exchange_and_finish(self, role: Role) -> Result<Count> {
        let count = Traffic::open(&self.place.machines)?.exchange(ROUNDS)?;
        self.check_role(role)?;
        self.place.finish()?;
        Ok(count)
    }

    /// Checks that both ends agree on who makes the key.
    pub(crate) fn check_role(&self, role: Role) -> Result<()> {
        let port = self.ours.settled_port()?;
        let (expected, peers) = match role {
            Role::Server => (KeyServer::Own, false),
            Role::Client => (KeyServer::Peer, true),
        };
        ensure!(port.key_server == expected, "our key server is {:?}", port.key_server);
        ensure!(self.peer.is_key_server()? == peers, "wpa_supplicant sees another key server");
        Ok(())
    }

    /// Ends the peer as a crash of its machine does, and starts it again.
    ///
    /// A `wpa_supplicant` that finds the interface of one that was killed cannot use it: of the
    /// receive channel it says "Object exists", and drops us as a peer.
    pub(crate) fn restart_peer(&mut self) -> Result<()> {
        let Invitation { theirs, seat, .. } = &self.invitation;
        self.peer.crash()?;
        let machine = &self.place.machines[1 - seat];
        let index = machine.namespace.index(SECURE)?;
        machine
            .namespace
            .netlink(|handle| async move { handle.link().del(index).execute().await })?;
        self.peer = Supplicant::start(machine, &self.folder, "peer", theirs)?;
        Ok(())
    }

    /// Ends our daemon, as a crash does or as an operator would, and starts it again.
    pub(crate) fn restart_ours(&mut self, crash: bool) -> Result<()> {
        let Invitation { plane, ours, seat, .. } = &self.invitation;
        self.ours.end(crash)?;
        let machine = &self.place.machines[*seat];
        self.ours = Ours::start(machine, &self.folder, "ours", ours, *plane)?;
        Ok(())
    }
}

/// Waits until all members say that they are secured, and frames pass from each to each.
pub(crate) fn until_secured(
    machines: &[Machine],
    members: &[&dyn Member],
) -> Result<(Traffic, Instant)> {
    let deadline = Instant::now() + PATIENCE;
    for member in members {
        member.until_secured(deadline).with_context(|| tell(members))?;
    }
    let mut traffic = Traffic::open(machines)?;
    let at = traffic.until_through(deadline).with_context(|| tell(members))?;
    Ok((traffic, at))
}

/// What the members say of themselves.
pub(crate) fn tell(members: &[&dyn Member]) -> String {
    members.iter().map(|member| member.tell()).collect::<Vec<_>>().join("\n")
}

/// Waits until something holds.
pub(crate) fn until(
    what: &str,
    limit: Duration,
    mut holds: impl FnMut() -> Result<bool>,
) -> Result<Instant> {
    let deadline = Instant::now() + limit;
    loop {
        let now = Instant::now();
        if holds()? {
            return Ok(now);
        }
        ensure!(now < deadline, "not within {limit:?}: {what}");
        thread::sleep(Duration::from_millis(10));
    }
}
