//! What is to be done so that the kernel is as the model wants it: a pure comparison.
//!
//! What stops traffic that is not wanted comes first, and each of it by itself. The rest has an
//! order, and may stop anywhere: nothing goes out with an SA before it is wanted, nor in clear, and
//! nothing that is wanted is removed before its successor is there.

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
        replay_protect,
        window: replay_window,
        include_sci,
        end_station: false,
        single_copy: false,
    }
}

/// What is to be done. Where it is nothing, the kernel is as wanted.
#[derive(Debug, Default)]
pub(super) struct Steps {
    /// What stops something. Each is tried, whatever becomes of the others.
    pub(super) stop: Vec<Step>,
    /// What follows where all of that is done, up to the first that fails.
    pub(super) go: Vec<Step>,
}

impl Steps {
    pub(super) fn all(&self) -> impl Iterator<Item = &Step> {
        self.stop.iter().chain(&self.go)
    }
}

/// Lists what is to be done.
pub(super) fn steps(model: &SecyModel, ledger: &Ledger, seen: &Secy) -> Steps {
    let of = Comparison { model, ledger, seen };
    Steps { stop: of.stop(), go: of.go() }
}

struct Comparison<'a> {
    model: &'a SecyModel,
    ledger: &'a Ledger,
    seen: &'a Secy,
}

impl<'a> Comparison<'a> {
    fn stop(&self) -> Vec<Step> {
        let mut steps = Vec::new();
        self.park(&mut steps);
        for sa in &self.seen.transmit {
            self.clear_sender(sa, &mut steps);
        }
        let flags = flags(self.model);
        if !self.seen.flags.show(&flags) {
            steps.push(Step::Set(flags));
        }
        for channel in &self.seen.receive {
            self.clear_channel(channel, &mut steps);
        }
        steps
    }

    fn go(&self) -> Vec<Step> {
        let mut steps = Vec::new();
        let (model, seen) = (self.model, self.seen);
        // The interface may have been made anew for a key of another suite, with older ones not gone.
        let fits = |sak: &&InstalledSak| seen.suite == Some(sak.key.suite);
        for sak in model.saks().filter(fits) {
            for member in sak.receivers.values() {
                self.receive(sak, member, &mut steps);
            }
        }
        for sak in model.saks().filter(fits) {
            if self.ledger.life(sak.key.ki) == Life::Fresh {
                let key = Keyed { key: sak.key.clone(), ssci: sak.ssci };
                steps.push(Step::AddSender { an: sak.an, key });
            }
        }
        self.send(&mut steps);
        steps
    }

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
        let window = self.model.settings().replay_window;
        match member.lowest_pn.0 {
            0 | 1 => 1,
            lowest => lowest.saturating_add(u64::from(window)),
        }
    }

    /// The SAK that frames are to go out with, port open or closed.
    fn sends_with(&self) -> Option<&'a InstalledSak> {
        self.model.transmitting().filter(|sak| self.is_usable(sak))
    }

    /// While the port is closed, frames go to an association without an SA, that is, nowhere.
    fn park(&self, steps: &mut Vec<Step>) {
        let closed = !self.model.controlled_port();
        if let Some(sak) = self.sends_with().filter(|sak| closed && sak.an == self.seen.encoding) {
            let an = self.unused_association(sak.an);
            steps.push(Step::SendWith { an, encrypt: encrypts(sak) });
        }
    }

    /// Sees to it that frames go out with the one SA that is wanted, or with none.
    fn send(&self, steps: &mut Vec<Step>) {
        if let Some(sak) = self.sends_with() {
            let (an, ki, encrypt) = (sak.an, sak.key.ki, encrypts(sak));
            let (mut encoding, mut encrypted) = (self.seen.encoding, self.seen.encrypt);
            let open = self.model.controlled_port();
            if encrypt && !encrypted {
                // Before anything goes out with it: the kernel changes the one before the other.
                let away = !open && encoding == an;
                encoding = if away { self.unused_association(an) } else { encoding };
                encrypted = true;
                steps.push(Step::SendWith { an: encoding, encrypt });
            }
            if !self.seen.sent_with(an).is_some_and(|sa| sa.active) {
                steps.push(Step::SwitchSender { an, ki, active: true });
            }
            if open && (encoding, encrypted) != (an, encrypt) {
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

fn encrypts(sak: &InstalledSak) -> bool {
    sak.key.offset != ConfidentialityOffset::IntegrityOnly
}

/// The lowest packet number that is not late, as the kernel reckons it.
pub(super) fn lowest(next: u64, settings: &SecySettings) -> u64 {
    next.saturating_sub(u64::from(settings.replay_window)).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dataplane::kernel::fixture::{OWN, PEER, an, install, ki, sa, seen};
    use crate::ident::KeyId;
    use crate::secy::SecyCommand;

    fn model(commands: &[SecyCommand]) -> SecyModel {
        let mut model = SecyModel::new(OWN);
        for command in commands {
            model.apply(command).unwrap();
        }
        model
    }

    fn ledger(lives: &[(KeyId, u8, Life)]) -> Ledger {
        let mut ledger = Ledger::default();
        for (ki, on, life) in lives {
            ledger.begin(*ki, an(*on));
            ledger.set_life(*ki, *life);
        }
        ledger
    }

    /// The steps in short.
    fn plan(model: &SecyModel, ledger: &Ledger, seen: &Secy) -> Vec<String> {
        let words = |step: &Step| match step {
            Step::Set(flags) => format!("set protect {}", flags.protect),
            Step::SendWith { an, .. } => format!("send {}", an.value()),
            Step::AddChannel(_) => "+channel".to_owned(),
            Step::RemoveChannel(_) => "-channel".to_owned(),
            Step::AddReceiver { an, pn, .. } => format!("+rx {} at {}", an.value(), pn.0),
            Step::SwitchReceiver { an, active, .. } => format!("rx {} {active}", an.value()),
            Step::RaiseReceiver { an, pn, .. } => format!("rx {} to {}", an.value(), pn.0),
            Step::RemoveReceiver { an, .. } => format!("-rx {}", an.value()),
            Step::AddSender { an, .. } => format!("+tx {}", an.value()),
            Step::SwitchSender { an, active, .. } => format!("tx {} {active}", an.value()),
            Step::RemoveSender { an } => format!("-tx {}", an.value()),
        };
        steps(model, ledger, seen).all().map(words).collect()
    }

    fn receiving(mut secy: Secy, sas: &[SeenSa]) -> Secy {
        secy.receive[0].sas = sas.to_vec();
        secy
    }

    #[test]
    fn a_new_key_receives_before_it_may_send() {
        let model = model(&[SecyCommand::SetControlledPort(true), install(1, 0)]);
        let mut bare = seen(vec![]);
        bare.receive.clear();
        let ledger = ledger(&[(ki(1), 0, Life::Fresh)]);
        assert_eq!(plan(&model, &ledger, &bare), ["+channel", "+rx 0 at 1", "+tx 0"]);
    }

    #[test]
    fn the_old_key_stops_only_when_the_new_one_sends() {
        let mut model = model(&[
            SecyCommand::SetControlledPort(true),
            install(1, 0),
            SecyCommand::EnableTx(ki(1)),
            install(2, 1),
        ]);
        model.apply(&SecyCommand::EnableTx(ki(2))).unwrap();
        let ledger = ledger(&[(ki(1), 0, Life::Active), (ki(2), 1, Life::Added)]);
        let rx = [sa(1, 0, 5, true), sa(2, 1, 1, true)];
        let seen = receiving(seen(vec![sa(1, 0, 9, true), sa(2, 1, 1, false)]), &rx);
        assert_eq!(plan(&model, &ledger, &seen), ["tx 1 true", "send 1", "tx 0 false"]);
    }

    #[test]
    fn a_closed_port_sends_with_an_association_that_has_no_sa() {
        let mut model = model(&[
            SecyCommand::SetControlledPort(true),
            install(1, 0),
            SecyCommand::EnableTx(ki(1)),
        ]);
        let ledger = ledger(&[(ki(1), 0, Life::Active)]);
        let mut seen = receiving(seen(vec![sa(1, 0, 9, true)]), &[sa(1, 0, 5, true)]);
        assert_eq!(plan(&model, &ledger, &seen), [""; 0]);
        model.apply(&SecyCommand::SetControlledPort(false)).unwrap();
        assert_eq!(plan(&model, &ledger, &seen), ["send 1"]);
        seen.encoding = an(1);
        assert_eq!(plan(&model, &ledger, &seen), [""; 0]);
        model.apply(&SecyCommand::SetControlledPort(true)).unwrap();
        assert_eq!(plan(&model, &ledger, &seen), ["send 0"]);
    }

    #[test]
    fn a_closed_port_protects_whatever_the_settings_say() {
        let clear = SecySettings {
            protect: false,
            validate: Validate::Check,
            replay_protect: false,
            replay_window: 0,
            include_sci: true,
        };
        let mut model = model(&[SecyCommand::Configure(clear)]);
        assert!(flags(&model).protect);
        assert_eq!(flags(&model).validate, VALIDATE_STRICT);
        model.apply(&SecyCommand::SetControlledPort(true)).unwrap();
        assert!(!flags(&model).protect);
        assert_eq!((flags(&model).validate, flags(&model).replay_protect), (VALIDATE_CHECK, false));
    }

    /// The kernel counts late frames by it, and does not show it.
    #[test]
    fn a_window_that_cannot_be_seen_is_not_set_again_and_again() {
        let off = SecySettings {
            replay_protect: false,
            replay_window: 64,
            ..*SecyModel::new(OWN).settings()
        };
        let model = model(&[SecyCommand::Configure(off)]);
        let mut seen = seen(vec![]);
        seen.receive.clear();
        assert_eq!(plan(&model, &ledger(&[]), &seen), ["set protect true"]);
        seen.flags.replay_protect = false;
        assert_eq!(plan(&model, &ledger(&[]), &seen), [""; 0]);
    }

    /// A sender that is over goes, and nothing brings it back.
    #[test]
    fn a_lost_sender_is_removed_and_never_added() {
        let model = model(&[
            SecyCommand::SetControlledPort(true),
            install(1, 0),
            SecyCommand::EnableTx(ki(1)),
        ]);
        let ledger = ledger(&[(ki(1), 0, Life::Over)]);
        let rx = [sa(1, 0, 5, true)];
        let back = receiving(seen(vec![sa(1, 0, 3, true)]), &rx);
        assert_eq!(plan(&model, &ledger, &back), ["tx 0 false", "-tx 0"]);
        assert_eq!(plan(&model, &ledger, &receiving(seen(vec![]), &rx)), [""; 0]);
    }

    #[test]
    fn what_another_process_left_goes_before_ours_comes() {
        let model = model(&[install(1, 0)]);
        let ledger = ledger(&[(ki(1), 0, Life::Fresh)]);
        let left =
            receiving(seen(vec![sa(9, 0, 77, true)]), &[sa(9, 0, 5, true), sa(9, 2, 5, false)]);
        let expected =
            ["tx 0 false", "-tx 0", "rx 0 false", "-rx 0", "-rx 2", "+rx 0 at 1", "+tx 0"];
        assert_eq!(plan(&model, &ledger, &left), expected);
    }

    /// How far it had come is looked at between.
    #[test]
    fn a_member_that_leaves_stops_first_and_goes_then() {
        let model = model(&[install(1, 0), SecyCommand::RemoveReceiver(PEER)]);
        let ledger = ledger(&[(ki(1), 0, Life::Added)]);
        let tx = vec![sa(1, 0, 1, false)];
        let running = receiving(seen(tx.clone()), &[sa(1, 0, 50, true)]);
        assert_eq!(plan(&model, &ledger, &running), ["rx 0 false"]);
        let stopped = receiving(seen(tx), &[sa(1, 0, 55, false)]);
        assert_eq!(plan(&model, &ledger, &stopped), ["-channel"]);
    }

    #[test]
    fn a_receiver_is_put_back_where_it_was_and_never_lower() {
        let model = model(&[install(1, 0)]);
        let mut ledger = ledger(&[(ki(1), 0, Life::Added)]);
        let tx = vec![sa(1, 0, 1, false)];
        ledger.note(&model, Some(&receiving(seen(tx.clone()), &[sa(1, 0, 900, true)])));
        assert_eq!(plan(&model, &ledger, &seen(tx.clone())), ["+rx 0 at 900"]);
        let back = receiving(seen(tx), &[sa(1, 0, 20, false)]);
        assert_eq!(plan(&model, &ledger, &back), ["rx 0 to 900", "rx 0 true"]);
    }

    #[test]
    fn the_lowest_packet_number_is_raised_only_where_nothing_above_has_come() {
        let mut model = model(&[install(1, 0)]);
        let settings = SecySettings { replay_window: 64, ..*model.settings() };
        model.apply(&SecyCommand::Configure(settings)).unwrap();
        let raise =
            SecyCommand::RaiseLowestPn { ki: ki(1), sci: PEER, lowest_pn: PacketNumber(500) };
        model.apply(&raise).unwrap();
        let ledger = ledger(&[(ki(1), 0, Life::Added)]);
        let at = |pn| {
            let mut seen = receiving(seen(vec![sa(1, 0, 1, false)]), &[sa(1, 0, pn, true)]);
            seen.flags.window = 64;
            seen
        };
        assert_eq!(plan(&model, &ledger, &at(499)), ["rx 0 to 564"]);
        assert_eq!(plan(&model, &ledger, &at(500)), [""; 0]);
    }
}
