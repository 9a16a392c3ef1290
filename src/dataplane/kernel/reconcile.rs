//! What is to be done so that the kernel is as the model wants it: a pure comparison.
//!
//! The order keeps two rules at every point, so that it may stop anywhere: nothing goes out with an
//! SA before it is wanted, and nothing that is wanted is removed before its successor is there.

use super::ledger::{Ledger, Life, expected};
use super::seen::{Flags, Secy, SeenChannel, SeenSa};
use super::step::{Keyed, Step};
use super::uapi::{VALIDATE_CHECK, VALIDATE_DISABLED, VALIDATE_STRICT};
use crate::ident::{AssociationNumber, ConfidentialityOffset, PacketNumber};
use crate::secy::{InstalledSak, RxMember, SecyModel, SecySettings, TransmitState, Validate};

/// What the kernel's settings are to be.
///
/// While the Controlled Port is closed it protects in any case: the kernel sends frames in clear
/// without asking for a key otherwise.
pub(super) fn flags(model: &SecyModel) -> Flags {
    let SecySettings { protect, validate, replay_protect, replay_window, include_sci } =
        *model.settings();
    let open = model.controlled_port();
    Flags {
        protect: protect || !open,
        validate: match validate {
            _ if !open => VALIDATE_STRICT,
            Validate::Disabled => VALIDATE_DISABLED,
            Validate::Check => VALIDATE_CHECK,
            Validate::Strict => VALIDATE_STRICT,
        },
        window: replay_protect.then_some(replay_window),
        include_sci,
        end_station: false,
        single_copy: false,
    }
}

/// Lists what is to be done. Where it is nothing, the kernel is as wanted.
pub(super) fn steps(model: &SecyModel, ledger: &Ledger, seen: &Secy) -> Vec<Step> {
    let mut steps = Vec::new();
    let flags = flags(model);
    if seen.flags != flags {
        steps.push(Step::Set(flags));
    }
    let of = Comparison { model, ledger, seen };
    for sa in &seen.transmit {
        of.clear_sender(sa, &mut steps);
    }
    for channel in &seen.receive {
        of.clear_channel(channel, &mut steps);
    }
    for sak in model.saks() {
        for member in sak.receivers.values() {
            of.receive(sak, member, &mut steps);
        }
    }
    for sak in model.saks() {
        if ledger.life(sak.key.ki) == Life::Fresh {
            let key = Keyed { key: sak.key.clone(), ssci: sak.ssci };
            steps.push(Step::AddSender { an: sak.an, key });
        }
    }
    of.send(&mut steps);
    steps
}

struct Comparison<'a> {
    model: &'a SecyModel,
    ledger: &'a Ledger,
    seen: &'a Secy,
}

impl<'a> Comparison<'a> {
    fn sak_on(&self, sa: &SeenSa) -> Option<&'a InstalledSak> {
        self.model.sak(sa.ki).filter(|sak| sak.an == sa.an)
    }

    /// Removes a transmit SA that nobody wants, or that is of no more use.
    fn clear_sender(&self, sa: &SeenSa, steps: &mut Vec<Step>) {
        let (an, ki) = (sa.an, sa.ki);
        if self.sak_on(sa).is_some_and(|_| self.ledger.life(ki) != Life::Over) {
            return;
        }
        if sa.active {
            steps.push(Step::SwitchSender { an, ki, active: false });
        }
        steps.push(Step::RemoveSender { an });
    }

    fn clear_channel(&self, channel: &SeenChannel, steps: &mut Vec<Step>) {
        let sci = channel.sci;
        let switch_off = |sa: &SeenSa| Step::SwitchReceiver { sci, an: sa.an, active: false };
        if !self.model.channels().contains(&sci) {
            // First it stops, then it is looked at once more for how far it had come.
            let active: Vec<_> =
                channel.sas.iter().filter(|sa| sa.active).map(switch_off).collect();
            if active.is_empty() {
                steps.push(Step::RemoveChannel(sci));
            }
            steps.extend(active);
            return;
        }
        for sa in &channel.sas {
            if self.sak_on(sa).is_some_and(|sak| sak.receivers.contains_key(&sci)) {
                continue;
            }
            if sa.active {
                steps.push(switch_off(sa));
            }
            steps.push(Step::RemoveReceiver { sci, an: sa.an });
        }
    }

    fn receive(&self, sak: &InstalledSak, member: &RxMember, steps: &mut Vec<Step>) {
        let (sci, an, ki) = (member.sci, sak.an, sak.key.ki);
        let added = |step: &Step| matches!(step, Step::AddChannel(of) if *of == sci);
        let channel = self.seen.channel(sci);
        if channel.is_none() && !steps.iter().any(added) {
            steps.push(Step::AddChannel(sci));
        }
        let known = self.ledger.received(ki, sci);
        match channel.and_then(|channel| channel.sa(an)).filter(|sa| sa.ki == ki) {
            None => {
                let key = Keyed { key: sak.key.clone(), ssci: member.ssci };
                let pn = PacketNumber(self.first(member).max(known));
                steps.push(Step::AddReceiver { sci, an, key, pn });
            }
            Some(sa) => {
                let now = expected(sa, sak);
                // Only where nothing above has come yet: a number written while frames arrive could
                // be lower than theirs, and let them in again.
                let raise = if now < member.lowest_pn.0 { self.first(member) } else { 0 };
                let least = known.max(raise);
                if now < least {
                    let xpn = sak.key.suite.is_xpn();
                    steps.push(Step::RaiseReceiver { sci, an, xpn, pn: PacketNumber(least) });
                }
                if !sa.active {
                    steps.push(Step::SwitchReceiver { sci, an, active: true });
                }
            }
        }
    }

    /// The packet number to expect so that a member's lowest one is the lowest to pass. The kernel
    /// knows only the next one, and reckons the lowest from it and the window.
    fn first(&self, member: &RxMember) -> u64 {
        let settings = self.model.settings();
        let window = if settings.replay_protect { settings.replay_window } else { 0 };
        match member.lowest_pn.0 {
            0 | 1 => 1,
            lowest => lowest.saturating_add(u64::from(window)),
        }
    }

    /// Sees to it that frames go out with the one SA that is wanted, or with none.
    fn send(&self, steps: &mut Vec<Step>) {
        let wanted = self.model.transmitting().filter(|sak| self.is_usable(sak));
        let open = self.model.controlled_port();
        let encoding = self.seen.encoding;
        if let Some(sak) = wanted.filter(|sak| !open && sak.an == encoding) {
            // Closed: frames go to an association without an SA, that is, nowhere.
            let an = self.unused_association(sak.an);
            steps.push(Step::SendWith { an, encrypt: self.seen.encrypt });
        }
        if let Some(sak) = wanted {
            let (an, ki) = (sak.an, sak.key.ki);
            if !self.seen.sent_with(an).is_some_and(|sa| sa.active) {
                steps.push(Step::SwitchSender { an, ki, active: true });
            }
            let encrypt = sak.key.offset != ConfidentialityOffset::IntegrityOnly;
            if open && (encoding, self.seen.encrypt) != (an, encrypt) {
                steps.push(Step::SendWith { an, encrypt });
            }
        }
        for sak in self.model.saks().filter(|sak| sak.transmit == TransmitState::Superseded) {
            let (an, ki) = (sak.an, sak.key.ki);
            let sa = self.seen.sent_with(an).filter(|sa| sa.ki == ki && sa.active);
            if sa.is_some() && self.ledger.life(ki) != Life::Over {
                steps.push(Step::SwitchSender { an, ki, active: false });
            }
        }
    }

    /// Whether a transmit SA is in use, or may be taken into use for the first time.
    fn is_usable(&self, sak: &InstalledSak) -> bool {
        match self.ledger.life(sak.key.ki) {
            Life::Fresh | Life::Adding | Life::Added | Life::Activating | Life::Active => true,
            Life::Over => false,
        }
    }

    fn unused_association(&self, but: AssociationNumber) -> AssociationNumber {
        let mut an = but.next();
        // At most one SA is active, so that the third at the latest is good.
        for _ in 0..3 {
            if !self.seen.sent_with(an).is_some_and(|sa| sa.active) && an != but {
                break;
            }
            an = an.next();
        }
        an
    }
}

/// The lowest packet number that still passes, as the kernel reckons it.
pub(super) fn lowest(next: u64, settings: &SecySettings) -> u64 {
    match settings.replay_protect {
        true => next.saturating_sub(u64::from(settings.replay_window)).max(1),
        false => 1,
    }
}
