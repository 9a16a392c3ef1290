//! Brings the kernel to the wanted state: look, compare, change, and look again.

use std::time::{Duration, Instant};

use nix::errno::Errno;

use super::ledger::Life;
use super::link::{self, Link, Plan, Which};
use super::netlink::Failure;
use super::reconcile::{self, flags};
use super::seen::{Flags, Secy};
use super::start::{self, secys};
use super::step::Step;
use super::{KernelDataplane, uapi};
use crate::ident::{CipherSuite, KeyId};
use crate::sys::LinkState;

/// How often the kernel is looked at again within one command. A member that leaves takes three
/// looks; each round more is for something that came between.
const ROUNDS_MAX: usize = 6;
/// No round begins after this time: an answer that does not come takes half a second.
const PATIENCE: Duration = Duration::from_secs(1);

impl KernelDataplane {
    /// Brings the kernel to the wanted state, step by step.
    pub(super) fn converge(&mut self) -> Result<(), Failure> {
        let (began, mut failed) = (Instant::now(), None);
        for _ in 0..ROUNDS_MAX {
            if !self.look()? {
                self.replace_deleted()?;
            }
            let Some(seen) = &self.seen else { continue };
            let steps = reconcile::steps(&self.model, &self.ledger, seen);
            if steps.all().next().is_none() {
                self.settled = true;
                return Ok(());
            }
            if std::mem::take(&mut self.settled)
                && let Some(step) = steps.all().find(|step| !self.follows_exhaustion(step))
            {
                let what = step.describe(seen);
                self.interfered(what);
            }
            let stopped: Vec<_> = steps.stop.iter().map(|step| self.execute(step)).collect();
            failed = stopped.into_iter().find_map(Result::err);
            if failed.is_none() {
                failed = steps.go.iter().find_map(|step| self.execute(step).err());
            }
            if began.elapsed() > PATIENCE {
                break;
            }
        }
        Err(failed.unwrap_or_else(|| lost("somebody else changes it all the time")))
    }

    /// Sets the replay window where the kernel does not show it: what cannot be seen to differ is
    /// not found by comparing.
    pub(super) fn set_unseen(&mut self) -> Result<(), Failure> {
        match flags(&self.model) {
            Flags { replay_protect: true, .. } => Ok(()),
            flags => self.execute(&Step::Set(flags)),
        }
    }

    /// Whether a step only clears away an SA whose packet numbers are used up.
    fn follows_exhaustion(&self, step: &Step) -> bool {
        match step {
            Step::SwitchSender { an, active: false, .. } | Step::RemoveSender { an } => {
                let sa = self.seen.as_ref().and_then(|seen| seen.sent_with(*an));
                sa.is_some_and(|sa| sa.pn == 0 && self.model.sak(sa.ki).is_some())
            }
            Step::Set(_)
            | Step::SendWith { .. }
            | Step::AddChannel(_)
            | Step::RemoveChannel(_)
            | Step::AddReceiver { .. }
            | Step::SwitchReceiver { .. }
            | Step::RaiseReceiver { .. }
            | Step::RemoveReceiver { .. }
            | Step::AddSender { .. }
            | Step::SwitchSender { active: true, .. } => false,
        }
    }

    fn replace_deleted(&mut self) -> Result<(), Failure> {
        self.look_at_parent();
        if self.parent == LinkState::Gone {
            // It took the secure interface along.
            return Err(lost("the parent interface is gone"));
        }
        self.interfered("the secure interface was deleted".to_owned());
        self.settled = false;
        self.make_anew(self.suite)
    }

    /// Asks how the secure interface is, and notes what has become of the keys. Tells whether it is
    /// there.
    pub(super) fn look(&mut self) -> Result<bool, Failure> {
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
        Ok(self.seen.is_some())
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
    pub(super) fn make_anew(&mut self, suite: CipherSuite) -> Result<(), Failure> {
        self.counted.out_pkts_no_sa += self.unsent();
        self.link.tx_dropped = 0;
        if let Some(before) = self.seen.take() {
            self.counted.add(&before.all_counters());
        }
        self.ledger.note(&self.model, None);
        if let Some(link) = self.own_link()? {
            link::delete(&mut self.route, link.index)?;
        }
        let plan = Plan {
            name: &self.settings.name,
            parent: self.settings.parent_index,
            sci: self.settings.sci,
            suite,
            flags: flags(&self.model),
        };
        let (route, generic) = (&mut self.route, &mut self.generic);
        // One that was made before, and its answer lost, is taken up.
        let taken =
            start::take(route, generic, self.family, &plan, &self.settings.parent, &[suite])
                .map_err(|error| lost(&error.to_string()))?;
        (self.link, self.suite, self.raise) = (taken.link, suite, true);
        self.look()?;
        self.place_work();
        Ok(())
    }

    /// The secure interface, unless it is gone: its index may name another by now.
    pub(super) fn own_link(&mut self) -> Result<Option<Link>, Failure> {
        let parent = Some(self.settings.parent_index);
        let link = link::find(&mut self.route, Which::Index(self.link.index))?;
        Ok(link.filter(|link| link.kind == uapi::FAMILY_NAME && link.parent == parent))
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
        let links: Result<Vec<_>, _> =
            others.map(|index| link::find(&mut self.route, Which::Index(*index))).collect();
        let Ok(links) = links else { return };
        let parent = Some(self.settings.parent_index);
        let on_parent = links.into_iter().flatten().filter(|link| link.parent == parent);
        self.state.neighbours = on_parent.map(|link| link.name).collect();
        self.indices = indices;
    }
}

/// What is not known may have happened.
fn lost(why: &str) -> Failure {
    Failure::Unanswered(std::io::Error::other(why.to_owned()))
}
