//! Brings the kernel to the wanted state: look, compare, change, and look again.

use nix::errno::Errno;

use super::ledger::Life;
use super::link::{self, Link, Plan, Which};
use super::netlink::Failure;
use super::reconcile::{self, flags};
use super::seen::Secy;
use super::start::secys;
use super::step::Step;
use super::{KernelDataplane, uapi};
use crate::ident::{CipherSuite, KeyId};
use crate::sys::LinkState;

/// How often the kernel is looked at again within one command. A member that leaves takes three
/// looks; each round more is for something that came between.
const ROUNDS_MAX: usize = 6;

impl KernelDataplane {
    /// Brings the kernel to the wanted state, step by step.
    pub(super) fn converge(&mut self) -> Result<(), Failure> {
        let mut failed = None;
        for round in 0..ROUNDS_MAX {
            if self.look()?.is_none() {
                let suite = self.suite;
                self.interfered("the secure interface was deleted".to_owned());
                self.settled = false;
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
    pub(super) fn look(&mut self) -> Result<Option<()>, Failure> {
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

    pub(super) fn interfered(&mut self, what: String) {
        tracing::warn!(
            iface = %self.settings.name,
            "changed by somebody else, and put right: {what}"
        );
        self.state.interference += 1;
        self.state.last_interference = Some(what);
    }

    /// Makes the secure interface anew, of this suite. Every key in it is lost.
    pub(super) fn make_anew(&mut self, suite: CipherSuite) -> Result<(), Failure> {
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
    pub(super) fn tend_link(&mut self) -> Result<(), Failure> {
        let index = self.link.index;
        self.look_at_link()?;
        if self.raise && !self.link.up {
            match link::set_up(&mut self.route, index, true) {
                Ok(()) => self.look_at_link()?,
                // It cannot be enabled before its parent is.
                Err(failure) if failure.errno() == Some(Errno::ENETDOWN) => {}
                Err(failure) => return Err(failure),
            }
        }
        let open = self.model.controlled_port();
        let (state, mode) = (self.link.oper_state, self.link.link_mode);
        let wrong = if open { uapi::OPER_DORMANT } else { uapi::OPER_UP };
        if state == wrong || mode != uapi::LINK_MODE_DORMANT {
            link::set_open(&mut self.route, index, open)?;
            self.look_at_link()?;
        }
        self.raise &= !self.link.up;
        Ok(())
    }

    /// Where it is gone, the next look finds out.
    fn look_at_link(&mut self) -> Result<(), Failure> {
        let found = link::find(&mut self.route, Which::Index(self.link.index))?;
        self.link = found.unwrap_or_else(|| self.link.clone());
        Ok(())
    }

    pub(super) fn look_at_parent(&mut self) {
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
}
