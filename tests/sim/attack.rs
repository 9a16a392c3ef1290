//! Frames that nobody in the CA means to send: replayed, reflected, forged, flipped. I6: they
//! change nothing but counters.

use std::rc::Rc;
use std::time::Duration;

use macsecd::ident::{AssociationNumber, Ckn, KeyId, MemberId, MessageNumber, Sci};
use macsecd::mka::timers::LIFE;
use macsecd::mka::{CpState, Distributing, KeyServer, PortState, Status};
use macsecd::port::{Driver, PortInput, PortOutput};
use macsecd::time::Time;

use crate::oracles::{Violation, ensure};
use crate::trace::Record;
use crate::world::World;

/// What a frame may do to a station.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Expect {
    /// It is refused, and nothing changes.
    Nothing,
    /// It comes from a member of an earlier session, whom the station may list as a stranger and
    /// no more.
    AtMostStranger,
    /// It may be news that was late.
    Anything,
}

/// All that an outsider's frame may not change.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Snapshot {
    pub(crate) state: PortState,
    pub(crate) since: Time,
    pub(crate) cp: CpState,
    pub(crate) key_server: Option<KeyServer>,
    pub(crate) sak: Option<(KeyId, AssociationNumber)>,
    pub(crate) distributing: Option<Distributing>,
    pub(crate) rekeys: u64,
    pub(crate) participants: Vec<ParticipantSnapshot>,
    pub(crate) wake: Option<Time>,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct ParticipantSnapshot {
    pub(crate) ckn: Ckn,
    pub(crate) principal: bool,
    pub(crate) mi: MemberId,
    pub(crate) mn: MessageNumber,
    pub(crate) state: PortState,
    pub(crate) live: Vec<(MemberId, Sci, Time)>,
    pub(crate) potential: Vec<(MemberId, Sci, Time)>,
}

impl Snapshot {
    pub(crate) fn new(status: &Status, wake: Option<Time>) -> Self {
        let peers = |of: &macsecd::mka::ParticipantStatus, live| {
            let peers = of.peers.iter().filter(|peer| peer.live == live);
            peers.map(|peer| (peer.mi, peer.sci, peer.last_heard)).collect()
        };
        let participants = status.participants.iter().map(|of| ParticipantSnapshot {
            ckn: of.ckn.clone(),
            principal: of.principal,
            mi: of.mi,
            mn: of.mn,
            state: of.state,
            live: peers(of, true),
            potential: peers(of, false),
        });
        Self {
            state: status.state,
            since: status.since,
            cp: status.cp,
            key_server: status.key_server,
            sak: status.sak.map(|sak| (sak.ki, sak.an)),
            distributing: status.distributing,
            rekeys: status.rekeys,
            participants: participants.collect(),
            wake,
        }
    }

    /// Leaves out what a stranger may change: that it is there, and what that makes a station
    /// without peers say.
    fn without_strangers(mut self) -> Self {
        let calm = |state| match state {
            PortState::Listening | PortState::Failed | PortState::Pending => PortState::Pending,
            PortState::Down | PortState::Authenticated | PortState::Secured => state,
        };
        self.state = calm(self.state);
        if self.state == PortState::Pending {
            self.since = Time::ZERO;
        }
        self.wake = None;
        for participant in &mut self.participants {
            participant.mn = MessageNumber(0);
            participant.state = calm(participant.state);
            participant.potential.clear();
        }
        self
    }
}

/// I6: compares a station before and after a frame.
pub(crate) fn untouched(
    before: Snapshot,
    after: Snapshot,
    expect: Expect,
) -> Result<(), Violation> {
    let (before, after) = match expect {
        Expect::Nothing => (before, after),
        Expect::AtMostStranger => (before.without_strangers(), after.without_strangers()),
        Expect::Anything => return Ok(()),
    };
    ensure(before == after, "I6 outsiders", || format!("before {before:?}, after {after:?}"))
}

impl World {
    /// Shows a station a frame that it has to refuse.
    pub(crate) fn attack(
        &mut self,
        to: usize,
        octets: &[u8],
        expect: Expect,
    ) -> Result<(), Violation> {
        // Whatever is due is done first, so that it is not taken for an effect of the frame.
        self.input(to, PortInput::Timeout)?;
        let now = self.members[to].clock.at(self.now);
        let Some(driver) = &mut self.members[to].driver else { return Ok(()) };
        let before = Snapshot::new(&driver.status(now), driver.poll_timeout());
        driver.handle(now, PortInput::Frame(octets));
        let after = Snapshot::new(&driver.status(now), driver.poll_timeout());
        if expect == Expect::Nothing
            && let Some(output) = driver.poll_output()
        {
            let detail = format!("station {to} answers with {output:?}");
            return Err(Violation { oracle: "I6 outsiders", detail });
        }
        untouched(before, after, expect)?;
        if expect == Expect::AtMostStranger {
            return self.speak_only(to);
        }
        self.drain(to)
    }

    /// Carries out what a stranger may cause: an MKPDU that lists it.
    fn speak_only(&mut self, to: usize) -> Result<(), Violation> {
        while let Some(output) = self.members[to].driver.as_mut().and_then(Driver::poll_output) {
            match output {
                PortOutput::Transmit(octets) => self.transmit(to, octets)?,
                PortOutput::Remember(record) => self.members[to].remember(record),
                PortOutput::Secy { .. } | PortOutput::PollSecy => {
                    let detail = format!("station {to} answers with {output:?}");
                    return Err(Violation { oracle: "I6 outsiders", detail });
                }
            }
        }
        self.drain(to)
    }

    /// Shows a station MKPDUs from the record, of this session or an earlier one.
    pub(crate) fn replay(&mut self, to: usize, count: usize) -> Result<(), Violation> {
        for _ in 0..count {
            if self.records.is_empty() || !self.members[to].is_up() {
                return Ok(());
            }
            let index = self.rng.below(self.records.len());
            let record = Rc::clone(&self.records[index]);
            if record.from == to {
                continue;
            }
            self.tally.replays += 1;
            self.replay_one(to, &record)?;
        }
        Ok(())
    }

    pub(crate) fn replay_one(&mut self, to: usize, record: &Rc<Record>) -> Result<(), Violation> {
        // What is due may be that a peer is forgotten.
        self.input(to, PortInput::Timeout)?;
        let expect = self.expect_of_replay(to, record);
        self.heard(to, "hears a replayed", record);
        if expect != Expect::Nothing {
            self.members[to].heard.insert(record.mi(), record.mn());
            self.oracles.proofs.hear(record.sent, record.mi(), to);
        }
        self.attack(to, &record.octets, expect)
    }

    fn expect_of_replay(&self, to: usize, record: &Record) -> Expect {
        if self.oracles.is_lied_to {
            return Expect::Anything;
        }
        let member = &self.members[to];
        let Some(status) = member.status(self.now) else { return Expect::Anything };
        let mut participants = status.participants.iter();
        let Some(of) = participants.find(|of| of.ckn.octets() == record.ckn()) else {
            return Expect::Nothing;
        };
        let is_known = of.peers.iter().any(|peer| peer.mi == record.mi());
        let heard = member.heard.get(&record.mi()).is_some_and(|&mn| mn >= record.mn());
        match (is_known, heard) {
            (true, true) => Expect::Nothing,
            (true, false) => Expect::Anything,
            // Younger than an MKA Life Time it may prove, late, that its sender hears us.
            (false, _) if self.now.since(record.sent) > LIFE + secs_and(member.clock.stood) => {
                Expect::AtMostStranger
            }
            (false, _) => Expect::Anything,
        }
    }

    /// Shows a station MKPDUs of its own, of this life or an earlier one.
    pub(crate) fn reflect(&mut self, to: usize, count: usize) -> Result<(), Violation> {
        let own: Vec<_> =
            self.records.iter().filter(|record| record.from == to).map(Rc::clone).collect();
        for _ in 0..count {
            if own.is_empty() || !self.members[to].is_up() {
                return Ok(());
            }
            let record = Rc::clone(&own[self.rng.below(own.len())]);
            self.tally.reflections += 1;
            self.heard(to, "hears a reflected", &record);
            self.attack(to, &record.octets, Expect::Nothing)?;
        }
        Ok(())
    }

    /// Shows a station MKPDUs that look like a peer's next ones but for the ICV.
    pub(crate) fn forge(&mut self, to: usize, count: usize) -> Result<(), Violation> {
        for _ in 0..count {
            let Some(record) = self.records.last().map(Rc::clone) else { return Ok(()) };
            if !self.members[to].is_up() {
                return Ok(());
            }
            let mut octets = record.octets.clone();
            let mn = record.mn().wrapping_add(1);
            octets[42..46].copy_from_slice(&mn.to_be_bytes());
            self.tally.forgeries += 1;
            self.heard(to, "hears a forgery of", &record);
            self.attack(to, &octets, Expect::Nothing)?;
        }
        Ok(())
    }
}

/// A second, for clocks that are slow, and what else is to be added.
fn secs_and(more: Duration) -> Duration {
    Duration::from_secs(1) + more
}

#[cfg(test)]
mod tests {
    use macsecd::ident::MacAddress;

    use super::*;

    fn snapshot() -> Snapshot {
        let peer = |mi, at| {
            let sci = Sci::new(MacAddress([2, 0, 0, 0, 0, mi]), 1);
            (MemberId::from_octets([mi; 12]), sci, Time::from_nanos(at))
        };
        Snapshot {
            state: PortState::Secured,
            since: Time::ZERO,
            cp: CpState::Retire,
            key_server: Some(KeyServer::Own),
            sak: None,
            distributing: None,
            rekeys: 0,
            participants: vec![ParticipantSnapshot {
                ckn: Ckn::new(b"ckn").unwrap(),
                principal: true,
                mi: MemberId::from_octets([9; 12]),
                mn: MessageNumber(5),
                state: PortState::Secured,
                live: vec![peer(1, 1)],
                potential: vec![],
            }],
            wake: Some(Time::from_nanos(100)),
        }
    }

    fn changed(change: impl FnOnce(&mut Snapshot)) -> Snapshot {
        let mut snapshot = snapshot();
        change(&mut snapshot);
        snapshot
    }

    #[test]
    fn i6_sees_a_changed_timer_and_a_refreshed_peer() {
        let timer = changed(|of| of.wake = Some(Time::from_nanos(99)));
        let peer = changed(|of| of.participants[0].live[0].2 = Time::from_nanos(2));
        let stranger = changed(|of| {
            let live = of.participants[0].live[0];
            of.participants[0].potential.push(live);
        });
        for after in [timer, peer, stranger] {
            assert!(untouched(snapshot(), after, Expect::Nothing).is_err());
        }
        assert!(untouched(snapshot(), snapshot(), Expect::Nothing).is_ok());
    }

    #[test]
    fn i6_lets_an_earlier_session_be_a_stranger_and_no_more() {
        let stranger = changed(|of| {
            let live = of.participants[0].live[0];
            of.participants[0].potential.push(live);
            of.participants[0].mn = MessageNumber(6);
            of.wake = Some(Time::from_nanos(50));
        });
        assert!(untouched(snapshot(), stranger, Expect::AtMostStranger).is_ok());
        let lost = changed(|of| of.participants[0].live.clear());
        let elected = changed(|of| of.key_server = None);
        let moved = changed(|of| of.cp = CpState::Receive);
        let renewed = changed(|of| of.participants[0].mi = MemberId::from_octets([8; 12]));
        for after in [lost, elected, moved, renewed] {
            assert!(untouched(snapshot(), after, Expect::AtMostStranger).is_err());
        }
    }
}
