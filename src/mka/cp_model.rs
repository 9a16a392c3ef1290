//! What a model of the machine has to see and do inside of it.

use super::*;

/// A defect of another implementation, planted to see that the model would find it in ours.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Hash)]
pub(in crate::mka) enum Defect {
    /// RECEIVING and READY go on through ABANDON within one step, into a state that needs the key
    /// which ABANDON has just given up.
    FallsThrough,
    /// TRANSMIT has no exit but that the TX SA is enabled, and RECEIVE none but that the SAs are
    /// there, as in the figure: a refusal is not heard.
    NoExit,
    /// The old SA goes after SAK Retire Time, whatever the others say.
    RetiresByTimer,
}

impl Cp {
    /// The same machine as one cannot tell it from: what no transition reads any more is cleared,
    /// times count from `base` on instead of `now`, and keys, associations and ciphers go by the
    /// names that these functions give them.
    pub(in crate::mka) fn canonical(
        &self,
        (now, base): (Time, Time),
        slot: impl Fn(Slot) -> Slot,
        cipher: impl Fn(Cipher) -> Cipher,
    ) -> Self {
        let moved = |at: Time| base.after(at.since(now));
        let age = now.since(self.transmitting_since).min(RETIRE_AT_LATEST);
        let transmitting = self.state == CpState::Transmitting;
        let waiting = matches!(self.state, CpState::Receiving | CpState::Ready);
        Self {
            latest: self.latest.map(&slot),
            old: self.old.map(&slot),
            new_sak: self.new_sak.map(&slot),
            current: self.current.map(cipher),
            sas_created: self.sas_created.filter(|_| self.state == CpState::Receive),
            tx_enabled: self.tx_enabled.filter(|_| self.state == CpState::Transmit),
            transmit_when: if waiting { moved(self.transmit_when) } else { base },
            transmitting_since: if transmitting { before(base, age) } else { base },
            ..*self
        }
    }

    /// Whether the data plane has still to answer for the latest key.
    pub(in crate::mka) fn awaits_answer(&self) -> bool {
        let creates = self.state == CpState::Receive && self.sas_created.is_none();
        creates || (self.state == CpState::Transmit && self.tx_enabled.is_none())
    }

    /// Whether what it is in was agreed under other terms.
    pub(in crate::mka) fn is_changed(&self, holds: &Conditions) -> bool {
        self.changed(holds)
    }

    /// The cipher that was agreed.
    pub(in crate::mka) fn cipher(&self) -> Option<Cipher> {
        self.current
    }

    /// The key that waits.
    pub(in crate::mka) fn waiting(&self) -> Option<Slot> {
        self.new_sak
    }

    /// Moves as an implementation with this defect would.
    pub(in crate::mka) fn step_with(
        &mut self,
        defect: Defect,
        now: Time,
        holds: &Conditions,
        out: &mut Vec<Action>,
    ) {
        match defect {
            Defect::RetiresByTimer => {
                let holds = Conditions { all_transmitting: true, ..*holds };
                self.step(now, &holds, out);
            }
            Defect::NoExit => {
                let (state, told) = (self.state, (self.sas_created, self.tx_enabled));
                self.sas_created = self.sas_created.filter(|&done| done);
                self.tx_enabled = self.tx_enabled.filter(|&done| done);
                self.step(now, holds, out);
                if self.state == state {
                    (self.sas_created, self.tx_enabled) = told;
                }
            }
            Defect::FallsThrough => {
                let from = self.state;
                if self.next(now, holds) == Some(CpState::Abandon) {
                    self.enter(CpState::Abandon, now, holds, out);
                    let transmit = (from == CpState::Receiving && holds.all_receiving)
                        || (from == CpState::Ready && holds.server_transmitting);
                    if from == CpState::Receiving && !holds.elected_self {
                        self.enter(CpState::Ready, now, holds, out);
                    } else if transmit {
                        self.enter(CpState::Transmit, now, holds, out);
                    }
                }
                self.step(now, holds, out);
            }
        }
    }
}

fn before(base: Time, age: Duration) -> Time {
    Time::from_nanos(base.as_nanos() - u64::try_from(age.as_nanos()).unwrap())
}
