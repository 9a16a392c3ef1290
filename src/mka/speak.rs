//! The way out: MKPDUs, and what they say of keys (802.1X-2020 9.4, 11.11).

use std::time::Duration;

use super::cp::Slot;
use super::io::Output;
use super::kay::{Decided, Kay};
use super::participant::{Participant, Speech};
use super::serve::live_members;
use super::timers::{BOUNDED_HELLO, HELLO};
use crate::ident::MemberId;
use crate::time::Time;
use crate::wire::{DistributedSak, SakUse, SakUseKey, SakUseSet, Xpn};

/// How far back the lowest packet number lies that we still vouch for with delay protection. What we
/// know is up to half a second old, and what we say is heard half a second later: together, no
/// frame gets in that is more than 2 s late.
const DELAY_PROTECT_AGO: Duration = Duration::from_secs(1);

impl Kay {
    /// Sends what is due, last of all: whatever it says has been commanded before, and whatever it
    /// claims has been answered.
    pub(super) fn speak(&mut self, now: Time) {
        if !self.carrier {
            return;
        }
        for index in 0..self.participants.len() {
            let hello = self.hello(index);
            let due = |participant: &mut Participant| participant.pace.take(now, hello);
            if !self.participants.get_mut(index).is_some_and(due) {
                continue;
            }
            let speech = self.speech(now, index);
            let asks = speech.xpn.is_some_and(|xpn| xpn.suspension_time > 0);
            let Some(participant) = self.participants.get_mut(index) else { continue };
            if let Some(frame) = participant.speak(now, &self.policy, speech) {
                self.sent += 1;
                let (mi, mn) = (participant.actor.mi(), participant.actor.last());
                if asks {
                    self.note_request_said(mi, mn);
                }
                self.outputs.push_back(Output::Transmit(frame));
            }
        }
    }

    /// How often a participant says hello.
    fn hello(&self, index: usize) -> Duration {
        let hello = self.policy.manners.hello;
        let bounded = self.policy.delay_protect && self.principal == Some(index);
        if bounded { hello.min(BOUNDED_HELLO) } else { hello }
    }

    /// What a participant says of keys: the principal alone says anything.
    fn speech(&self, now: Time, index: usize) -> Speech {
        let Some(participant) = self.participants.get(index) else { return Speech::default() };
        if self.principal != Some(index) {
            return Speech::default();
        }
        let plain = self.decided == Some(Decided { by: self.policy.sci, secure: false });
        if plain {
            let distributed_sak = self.is_server().then_some(DistributedSak::PlainText);
            return Speech { distributed_sak, ..Speech::default() };
        }
        let ago = if self.policy.delay_protect { DELAY_PROTECT_AGO } else { HELLO };
        let use_of = |of: Option<(Slot, bool, bool)>| {
            of.map(|(slot, tx, rx)| {
                let llpn = self.progress.llpn(now, slot.ki, ago);
                #[expect(clippy::cast_possible_truncation, reason = "the low half")]
                let low = llpn as u32;
                let key = SakUseKey { ki: slot.ki, an: slot.an, tx, rx, llpn: low };
                let is_xpn = self.saks.get(slot.ki).is_some_and(|sak| sak.key.suite.is_xpn());
                let high = (llpn >> 32) as u32;
                (key, is_xpn, high)
            })
        };
        let [mut latest, mut old] = self.cp.told(now).map(use_of);
        if self.policy.manners.lone_key_in_latest && latest.is_none() {
            std::mem::swap(&mut latest, &mut old);
        }
        let is_xpn = [&latest, &old].into_iter().flatten().any(|&(_, is_xpn, _)| is_xpn);
        let high =
            |of: &Option<(SakUseKey, bool, u32)>| of.as_ref().map_or(0, |&(_, _, high)| high);
        let suspension_time = self.suspended_for(now);
        let xpn = (is_xpn || suspension_time > 0).then(|| Xpn {
            suspension_time,
            latest_lpn_high: high(&latest),
            old_lpn_high: high(&old),
        });
        let sak_use = (latest.is_some() || old.is_some()).then(|| {
            SakUseSet::Keys(SakUse {
                latest: latest.map(|(key, ..)| key),
                old: old.map(|(key, ..)| key),
                plain_tx: false,
                plain_rx: false,
                delay_protect: self.policy.delay_protect,
            })
        });
        let (distributed_sak, ssci_order) = self.offer(participant);
        Speech { sak_use, distributed_sak, xpn, ssci_order }
    }

    /// The SAK on offer, while not all of its members receive. It is for these members only: once
    /// one of them has left or another has joined, the next SAK is due, even if strangers hold it
    /// up. Whoever joined since could restart, be given the SAK again and begin again with packet
    /// number 1; and where the suite is XPN, it would read an SSCI off the list that others do not
    /// know, and that the next to join would take as well. Either would repeat nonces.
    ///
    /// While we still change over to the SAK before, this one waits: the others would give that one
    /// up when they hear of this one, and we are about to transmit with it.
    fn offer(
        &self,
        participant: &Participant,
    ) -> (Option<DistributedSak>, Option<(u8, Vec<MemberId>)>) {
        let taken_up = [self.cp.latest(), self.cp.old()];
        let on_offer = self.distribution.as_ref().filter(|distribution| {
            !distribution.complete
                && distribution.members == live_members(participant)
                && taken_up.iter().flatten().any(|(slot, ..)| slot.ki == distribution.ki)
        });
        let Some((distribution, sak)) =
            on_offer.and_then(|on_offer| Some((on_offer, self.saks.get(on_offer.ki)?)))
        else {
            return (None, None);
        };
        let distributed = DistributedSak::Key {
            an: sak.an,
            offset: sak.key.offset,
            kn: distribution.ki.number,
            suite: Ok(sak.key.suite),
            wrapped: sak.wrapped.octets.clone(),
        };
        (Some(distributed), sak.ssci_order(participant.actor.mi()))
    }
}
