//! A data plane that loses SAKs, as one does whose SAs others can delete.

use std::time::Duration;

use macsecd::ident::KeyId;
use macsecd::port::PortInput;
use macsecd::secy::SecyCommand;

use crate::oracles::{Violation, ensure};
use crate::world::{Event, World};

/// How SAKs are lost.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Loss {
    pub(crate) what: Lost,
    /// With all SAs, or with the transmit SA alone.
    pub(crate) wholly: bool,
    /// How long it takes until the key agreement is told; the longest of it.
    pub(crate) told_after: Duration,
}

/// Which SAKs are lost.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Lost {
    /// The one that frames are sent with.
    InUse,
    /// One that frames are not sent with, the next or the one before.
    Spare,
    Any,
    All,
}

impl World {
    /// Has a data plane lose SAKs, and tell so later, in whatever order.
    pub(crate) fn lose(&mut self, station: usize, loss: Loss) {
        let member = &self.members[station];
        let mut has: Vec<_> = member.secy.sas.keys().copied().collect();
        has.retain(|ki| !member.secy.lost.contains(ki));
        let in_use = member.secy.sends_with();
        match loss.what {
            Lost::InUse => has.retain(|&ki| Some(ki) == in_use),
            Lost::Spare => has.retain(|&ki| Some(ki) != in_use),
            Lost::Any if has.is_empty() => {}
            Lost::Any => has = vec![self.rng.pick(&has)],
            Lost::All => {}
        }
        for ki in has {
            self.lose_one(station, ki, loss);
        }
    }

    fn lose_one(&mut self, station: usize, ki: KeyId, loss: Loss) {
        self.tally.lost_saks += 1;
        self.oracles.installs.lose(station, Some(ki));
        let member = &mut self.members[station];
        member.secy.lose(ki, loss.wholly);
        if loss.wholly {
            let _ = member.model.apply(&SecyCommand::RemoveSak(ki));
        }
        let life = member.life;
        let after = self.rng.span(Duration::ZERO, loss.told_after);
        self.schedule(after, Event::Lost { station, life, ki });
    }

    pub(crate) fn tell_lost(
        &mut self,
        station: usize,
        life: u32,
        ki: KeyId,
    ) -> Result<(), Violation> {
        if self.members[station].life != life {
            return Ok(());
        }
        self.input(station, PortInput::SakLost(ki))?;
        let claims = self.members[station].status(self.now).and_then(|of| of.sak);
        ensure(claims.is_none_or(|sak| sak.ki != ki), "claims", || {
            format!("station {station} shows {ki}, of whose loss it was told")
        })
    }
}
