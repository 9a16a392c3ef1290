//! What a SecY is meant to be: the state that commands have asked for, and the rules they obey.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::ident::{KeyId, PacketNumber, Sci, Ssci};
use crate::secy::{
    InstallSak, InstalledSak, RxMember, SecyCommand, SecyError, SecyKey, SecySettings,
    TransmitState, UsedKeys, Validate, XPN_WINDOW_MAX,
};

/// The most receive channels. MKA admits fewer members; this bounds a mistake.
pub const CHANNELS_MAX: usize = 256;

/// The wanted state of a SecY as plain data, changed by [`SecyCommand`]s and nothing else.
///
/// Stands in front of every data plane, so that a command against the rules never reaches one:
///
/// - a key identifier is installed at most once ever, as a second time would start its packet
///   numbers again from 1 (802.1AE-2018 10.5.2; 802.1X-2020 9.8);
/// - an association number has one SAK at a time (802.1AE-2018 7.1.3);
/// - a transmit SA that another has taken over from never transmits again;
/// - no two members of an SAK share an SSCI, and none has our own SCI or SSCI;
/// - the lowest acceptable packet number never goes down.
///
/// A command that is refused changes nothing.
#[derive(Clone, Debug)]
pub struct SecyModel {
    own: Sci,
    settings: SecySettings,
    controlled_port: bool,
    channels: BTreeSet<Sci>,
    /// By association number.
    installed: [Option<InstalledSak>; 4],
    used: UsedKeys,
}

impl SecyModel {
    /// Starts with the Controlled Port closed, no SA, and the strictest settings.
    #[must_use]
    pub fn new(own: Sci) -> Self {
        let settings = SecySettings {
            protect: true,
            validate: Validate::Strict,
            replay_protect: true,
            replay_window: 0,
            include_sci: true,
        };
        Self {
            own,
            settings,
            controlled_port: false,
            channels: BTreeSet::new(),
            installed: [const { None }; 4],
            used: UsedKeys::default(),
        }
    }

    /// Goes on with what is there already: these SAKs, installed before by a process that has ended.
    /// Each counts as used.
    ///
    /// # Errors
    ///
    /// The rule that one of them breaks by itself or beside the others: [`SecyError::KeyUsedBefore`]
    /// where a key is there twice, [`SecyError::AssociationBusy`] where two have one association
    /// number, [`SecyError::Invalid`] for the rest, that frames go out with one SAK at most among
    /// it.
    pub fn resumed(
        own: Sci,
        settings: SecySettings,
        controlled_port: bool,
        saks: impl IntoIterator<Item = InstalledSak>,
    ) -> Result<Self, SecyError> {
        let mut model = Self { settings, controlled_port, ..Self::new(own) };
        for sak in saks {
            model.take_up(sak)?;
        }
        Ok(model)
    }

    fn take_up(&mut self, sak: InstalledSak) -> Result<(), SecyError> {
        let InstalledSak { key, an, ssci, receivers, transmit } = sak;
        if self.sak(key.ki).is_some() {
            return Err(SecyError::KeyUsedBefore(key.ki));
        }
        if transmit == TransmitState::Transmitting && self.transmitting().is_some() {
            return Err(SecyError::Invalid("frames go out with one SAK, not with two"));
        }
        let receive = receivers.into_values().collect();
        let ki = key.ki;
        self.put(&InstallSak { key, an, ssci, receive })?;
        self.sak_mut(ki)?.transmit = transmit;
        Ok(())
    }

    /// Writes a key down as used, so that it is never installed.
    pub fn spend(&mut self, ki: KeyId) {
        self.used.spend(ki);
    }

    /// Changes the wanted state as told.
    ///
    /// # Errors
    ///
    /// The rule that the command breaks; nothing changes then.
    pub fn apply(&mut self, command: &SecyCommand) -> Result<(), SecyError> {
        match command {
            SecyCommand::Configure(settings) => self.configure(*settings),
            SecyCommand::SetControlledPort(open) => {
                self.controlled_port = *open;
                Ok(())
            }
            SecyCommand::InstallSak(install) => self.install(install),
            SecyCommand::AddReceiver { ki, member } => self.add_receiver(*ki, *member),
            SecyCommand::RemoveReceiver(sci) => {
                self.channels.remove(sci);
                for sak in self.installed.iter_mut().flatten() {
                    sak.receivers.remove(sci);
                }
                Ok(())
            }
            SecyCommand::EnableTx(ki) => self.enable_tx(*ki),
            SecyCommand::RemoveSak(ki) => {
                let slot = self.slot_of(*ki).ok_or(SecyError::NoSuchKey(*ki))?;
                *slot = None;
                let received = self.installed.iter().flatten().flat_map(|sak| sak.receivers.keys());
                self.channels = received.copied().collect();
                Ok(())
            }
            SecyCommand::RaiseLowestPn { ki, sci, lowest_pn } => {
                self.raise_lowest_pn(*ki, *sci, *lowest_pn)
            }
        }
    }

    fn configure(&mut self, settings: SecySettings) -> Result<(), SecyError> {
        let xpn = self.saks().any(|sak| sak.key.suite.is_xpn());
        check_window(xpn, settings.replay_window)?;
        self.settings = settings;
        Ok(())
    }

    fn install(&mut self, install: &InstallSak) -> Result<(), SecyError> {
        if !self.used.is_fresh(install.key.ki) {
            return Err(SecyError::KeyUsedBefore(install.key.ki));
        }
        self.put(install)
    }

    fn put(&mut self, install: &InstallSak) -> Result<(), SecyError> {
        let InstallSak { key, an, ssci, receive } = install;
        key.check()?;
        check_window(key.suite.is_xpn(), self.settings.replay_window)?;
        let Some(slot) = self.installed.get_mut(an.index()) else {
            return Err(SecyError::Invalid("no such association number"));
        };
        if let Some(other) = slot {
            return Err(SecyError::AssociationBusy { an: *an, by: other.key.ki });
        }
        let mut sak = InstalledSak {
            key: Arc::clone(key),
            an: *an,
            ssci: *ssci,
            receivers: BTreeMap::new(),
            transmit: TransmitState::Waiting,
        };
        check_ssci(key, *ssci)?;
        for member in receive {
            sak.admit(self.own, *member)?;
        }
        check_channels(&self.channels, sak.receivers.keys())?;
        self.channels.extend(sak.receivers.keys());
        *slot = Some(sak);
        self.used.spend(key.ki);
        Ok(())
    }

    fn add_receiver(&mut self, ki: KeyId, member: RxMember) -> Result<(), SecyError> {
        let own = self.own;
        check_channels(&self.channels, [&member.sci])?;
        self.sak_mut(ki)?.admit(own, member)?;
        self.channels.insert(member.sci);
        Ok(())
    }

    fn enable_tx(&mut self, ki: KeyId) -> Result<(), SecyError> {
        match self.sak_mut(ki)?.transmit {
            TransmitState::Transmitting => return Ok(()),
            TransmitState::Superseded => {
                return Err(SecyError::Invalid("a superseded transmit SA is never used again"));
            }
            TransmitState::Waiting => {}
        }
        for sak in self.installed.iter_mut().flatten() {
            if sak.transmit == TransmitState::Transmitting {
                sak.transmit = TransmitState::Superseded;
            }
        }
        self.sak_mut(ki)?.transmit = TransmitState::Transmitting;
        Ok(())
    }

    fn raise_lowest_pn(&mut self, ki: KeyId, sci: Sci, pn: PacketNumber) -> Result<(), SecyError> {
        let member = self.sak_mut(ki)?.receivers.get_mut(&sci);
        let member =
            member.ok_or(SecyError::Invalid("the member is not received with this key"))?;
        member.lowest_pn = member.lowest_pn.max(pn);
        Ok(())
    }

    fn slot_of(&mut self, ki: KeyId) -> Option<&mut Option<InstalledSak>> {
        self.installed.iter_mut().find(|slot| slot.as_ref().is_some_and(|sak| sak.key.ki == ki))
    }

    fn sak_mut(&mut self, ki: KeyId) -> Result<&mut InstalledSak, SecyError> {
        self.slot_of(ki).and_then(Option::as_mut).ok_or(SecyError::NoSuchKey(ki))
    }

    /// Our own SCI.
    #[must_use]
    pub const fn own_sci(&self) -> Sci {
        self.own
    }

    /// What holds for all frames.
    #[must_use]
    pub const fn settings(&self) -> &SecySettings {
        &self.settings
    }

    /// Whether the Controlled Port is open.
    #[must_use]
    pub const fn controlled_port(&self) -> bool {
        self.controlled_port
    }

    /// The receive SCs, those without an SA included.
    #[must_use]
    pub const fn channels(&self) -> &BTreeSet<Sci> {
        &self.channels
    }

    /// The installed SAKs, by association number.
    pub fn saks(&self) -> impl Iterator<Item = &InstalledSak> {
        self.installed.iter().flatten()
    }

    /// The SAK of that name, while it is installed.
    #[must_use]
    pub fn sak(&self, ki: KeyId) -> Option<&InstalledSak> {
        self.saks().find(|sak| sak.key.ki == ki)
    }

    /// The SAK that frames go out with.
    #[must_use]
    pub fn transmitting(&self) -> Option<&InstalledSak> {
        self.saks().find(|sak| sak.transmit == TransmitState::Transmitting)
    }

    /// The name of the SAK that frames go out with.
    #[must_use]
    pub fn transmitting_ki(&self) -> Option<KeyId> {
        self.transmitting().map(|sak| sak.key.ki)
    }
}

impl InstalledSak {
    /// Takes a member in, unless it is there or takes the place of another.
    fn admit(&mut self, own: Sci, member: RxMember) -> Result<(), SecyError> {
        let RxMember { sci, ssci, .. } = member;
        check_ssci(&self.key, ssci)?;
        if sci == own {
            return Err(SecyError::Invalid("a member to receive has our own SCI"));
        }
        if self.receivers.contains_key(&sci) {
            return Err(SecyError::Invalid("the member is received with this key already"));
        }
        let taken = |other: &Option<Ssci>| ssci.is_some() && *other == ssci;
        if taken(&self.ssci) || self.receivers.values().any(|other| taken(&other.ssci)) {
            return Err(SecyError::Invalid("two members have one SSCI"));
        }
        self.receivers.insert(sci, member);
        Ok(())
    }
}

fn check_ssci(key: &SecyKey, ssci: Option<Ssci>) -> Result<(), SecyError> {
    if key.suite.is_xpn() == ssci.is_some() {
        Ok(())
    } else {
        Err(SecyError::Invalid("an SSCI is for XPN suites, and needed there"))
    }
}

fn check_channels<'a>(
    channels: &BTreeSet<Sci>,
    more: impl IntoIterator<Item = &'a Sci>,
) -> Result<(), SecyError> {
    let new = more.into_iter().filter(|sci| !channels.contains(sci)).count();
    if channels.len() + new > CHANNELS_MAX {
        return Err(SecyError::Invalid("too many members to receive"));
    }
    Ok(())
}

fn check_window(xpn: bool, window: u32) -> Result<(), SecyError> {
    if xpn && window > XPN_WINDOW_MAX {
        return Err(SecyError::Invalid("the replay window of an XPN suite is at most 2^30 - 1"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ident::{KeyNumber, MemberId};

    use proptest::prelude::*;

    use crate::ident::{CipherSuite, ConfidentialityOffset, MacAddress};
    use crate::secy::fixture::{OWN, PEER, THIRD, an, ki, member, secy_key};

    fn install_of(ki: KeyId, an_of: u8, receive: &[RxMember]) -> SecyCommand {
        let key = secy_key(ki, CipherSuite::GcmAes128, ConfidentialityOffset::Offset0);
        SecyCommand::InstallSak(InstallSak {
            key,
            an: an(an_of),
            ssci: None,
            receive: receive.to_vec(),
        })
    }

    fn install(number: u32, an: u8) -> SecyCommand {
        install_of(ki(number), an, &[member(PEER, None)])
    }

    fn install_xpn(number: u32, an_of: u8, own: Option<u32>, receive: &[RxMember]) -> SecyCommand {
        let key = secy_key(ki(number), CipherSuite::GcmAesXpn256, ConfidentialityOffset::Offset0);
        SecyCommand::InstallSak(InstallSak {
            key,
            an: an(an_of),
            ssci: own.map(Ssci),
            receive: receive.to_vec(),
        })
    }

    fn applied(commands: &[SecyCommand]) -> SecyModel {
        let mut model = SecyModel::new(OWN);
        for command in commands {
            model.apply(command).unwrap();
        }
        model
    }

    fn refusal(model: &mut SecyModel, command: &SecyCommand) -> SecyError {
        let before = format!("{model:?}");
        let error = model.apply(command).unwrap_err();
        assert_eq!(format!("{model:?}"), before, "a refused command changed something");
        error
    }

    #[test]
    fn a_new_secy_is_closed_and_strict() {
        let model = SecyModel::new(OWN);
        assert!(!model.controlled_port());
        assert_eq!(model.settings().validate, Validate::Strict);
        assert!(model.settings().protect && model.settings().replay_protect);
        assert_eq!((model.saks().count(), model.channels().len()), (0, 0));
        assert_eq!(model.transmitting_ki(), None);
    }

    #[test]
    fn a_rekey_ends_with_the_new_key_transmitting_and_the_old_one_gone() {
        let model = applied(&[
            install(1, 0),
            SecyCommand::EnableTx(ki(1)),
            SecyCommand::SetControlledPort(true),
            install(2, 1),
            SecyCommand::EnableTx(ki(2)),
            SecyCommand::RemoveSak(ki(1)),
        ]);
        assert_eq!(model.transmitting_ki(), Some(ki(2)));
        assert!(model.sak(ki(1)).is_none());
        assert_eq!(model.sak(ki(2)).unwrap().an, an(1));
        assert_eq!(model.channels(), &BTreeSet::from([PEER]));
        assert!(model.controlled_port());
    }

    #[test]
    fn a_key_is_installed_once_ever() {
        let mut model = applied(&[install(3, 0)]);
        assert_eq!(refusal(&mut model, &install(3, 1)), SecyError::KeyUsedBefore(ki(3)));
        model.apply(&SecyCommand::RemoveSak(ki(3))).unwrap();
        assert_eq!(refusal(&mut model, &install(3, 0)), SecyError::KeyUsedBefore(ki(3)));
        // A server numbers upwards, so a lower number is an old one.
        assert_eq!(refusal(&mut model, &install(2, 0)), SecyError::KeyUsedBefore(ki(2)));
        assert_eq!(model.apply(&install(4, 0)), Ok(()));
    }

    #[test]
    fn each_key_server_numbers_its_keys_for_itself() {
        let mut model = applied(&[install(9, 0)]);
        let other = KeyId { server: MemberId::from_octets([8; 12]), number: KeyNumber(1) };
        assert_eq!(model.apply(&install_of(other, 1, &[])), Ok(()));
    }

    #[test]
    fn an_association_number_is_not_taken_twice() {
        let mut model = applied(&[install(1, 2)]);
        let busy = SecyError::AssociationBusy { an: an(2), by: ki(1) };
        assert_eq!(refusal(&mut model, &install(2, 2)), busy);
    }

    #[test]
    fn only_an_installed_key_transmits() {
        let mut model = applied(&[install(1, 0)]);
        let refused = refusal(&mut model, &SecyCommand::EnableTx(ki(2)));
        assert_eq!(refused, SecyError::NoSuchKey(ki(2)));
    }

    #[test]
    fn a_superseded_transmit_sa_never_comes_back() {
        let mut model = applied(&[
            install(1, 0),
            install(2, 1),
            SecyCommand::EnableTx(ki(1)),
            SecyCommand::EnableTx(ki(1)),
            SecyCommand::EnableTx(ki(2)),
        ]);
        let refused = refusal(&mut model, &SecyCommand::EnableTx(ki(1)));
        assert!(matches!(refused, SecyError::Invalid(_)));
        // Nor once the one that took over is gone.
        model.apply(&SecyCommand::RemoveSak(ki(2))).unwrap();
        refusal(&mut model, &SecyCommand::EnableTx(ki(1)));
        assert_eq!(model.transmitting_ki(), None);
    }

    #[test]
    fn a_member_that_leaves_takes_its_channel_and_sas_along() {
        let both = [member(PEER, None), member(THIRD, None)];
        let model = applied(&[install_of(ki(1), 0, &both), SecyCommand::RemoveReceiver(PEER)]);
        assert_eq!(model.channels(), &BTreeSet::from([THIRD]));
        let received: Vec<_> = model.sak(ki(1)).unwrap().receivers.keys().collect();
        assert_eq!(received, [&THIRD]);
    }

    #[test]
    fn a_member_joins_late_but_not_twice_nor_as_ourselves() {
        let mut model = applied(&[install(1, 0)]);
        let add = |sci| SecyCommand::AddReceiver { ki: ki(1), member: member(sci, None) };
        assert_eq!(model.apply(&add(THIRD)), Ok(()));
        assert!(model.channels().contains(&THIRD));
        assert!(matches!(refusal(&mut model, &add(THIRD)), SecyError::Invalid(_)));
        assert!(matches!(refusal(&mut model, &add(OWN)), SecyError::Invalid(_)));
        let unknown = SecyCommand::AddReceiver { ki: ki(2), member: member(THIRD, None) };
        assert_eq!(refusal(&mut model, &unknown), SecyError::NoSuchKey(ki(2)));
    }

    #[test]
    fn one_channel_too_many_is_refused() {
        let mut model = applied(&[install_of(ki(1), 0, &[])]);
        let add = |port| SecyCommand::AddReceiver {
            ki: ki(1),
            member: member(Sci::new(MacAddress([2, 0, 0, 0, 0, 0x0d]), port), None),
        };
        for port in 0..256 {
            model.apply(&add(port)).unwrap();
        }
        assert!(matches!(refusal(&mut model, &add(256)), SecyError::Invalid(_)));
    }

    #[test]
    fn no_two_members_of_an_xpn_key_share_an_ssci() {
        let mut model = SecyModel::new(OWN);
        let twice = [member(PEER, Some(2)), member(THIRD, Some(2))];
        for command in [
            install_xpn(1, 0, Some(1), &twice),
            install_xpn(1, 0, Some(2), &[member(PEER, Some(2))]),
            install_xpn(1, 0, None, &[]),
            install_xpn(1, 0, Some(1), &[member(PEER, None)]),
        ] {
            assert!(matches!(refusal(&mut model, &command), SecyError::Invalid(_)));
        }
        model.apply(&install_xpn(1, 0, Some(1), &[member(PEER, Some(2))])).unwrap();
        let clash = SecyCommand::AddReceiver { ki: ki(1), member: member(THIRD, Some(1)) };
        assert!(matches!(refusal(&mut model, &clash), SecyError::Invalid(_)));
    }

    #[test]
    fn the_replay_window_of_an_xpn_suite_is_below_2_to_the_30() {
        let wide = SecySettings { replay_window: 1 << 30, ..*SecyModel::new(OWN).settings() };
        let mut model = applied(&[SecyCommand::Configure(wide), install(1, 0)]);
        let xpn = install_xpn(2, 1, Some(1), &[]);
        assert!(matches!(refusal(&mut model, &xpn), SecyError::Invalid(_)));

        let fits = SecySettings { replay_window: (1 << 30) - 1, ..wide };
        model.apply(&SecyCommand::Configure(fits)).unwrap();
        model.apply(&xpn).unwrap();
        let too_wide = SecyCommand::Configure(wide);
        assert!(matches!(refusal(&mut model, &too_wide), SecyError::Invalid(_)));
    }

    #[test]
    fn the_lowest_number_of_a_member_is_raised_and_never_lowered() {
        let mut model = applied(&[install(1, 0)]);
        let raise =
            |sci, pn| SecyCommand::RaiseLowestPn { ki: ki(1), sci, lowest_pn: PacketNumber(pn) };
        for (pn, expected) in [(50, 50), (40, 50), (51, 51)] {
            model.apply(&raise(PEER, pn)).unwrap();
            let lowest = model.sak(ki(1)).unwrap().receivers[&PEER].lowest_pn;
            assert_eq!(lowest, PacketNumber(expected));
        }
        assert!(matches!(refusal(&mut model, &raise(THIRD, 60)), SecyError::Invalid(_)));
    }

    #[derive(Clone, Debug)]
    enum Step {
        Install(u32, u8),
        Enable(u32),
        Remove(u32),
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let number = 1..12_u32;
        let step = prop_oneof![
            (number.clone(), 0..4_u8).prop_map(|(number, an)| Step::Install(number, an)),
            number.clone().prop_map(Step::Enable),
            number.prop_map(Step::Remove),
        ];
        prop::collection::vec(step, 1..60)
    }

    proptest! {
        #[test]
        fn no_order_of_commands_uses_a_key_twice(steps in steps()) {
            let mut model = SecyModel::new(OWN);
            let mut installed = BTreeSet::new();
            let mut transmitted = Vec::new();
            for step in steps {
                match step {
                    Step::Install(number, an) => {
                        if model.apply(&install(number, an)).is_ok() {
                            prop_assert!(installed.insert(number), "{number} was there before");
                        }
                    }
                    Step::Enable(number) => {
                        let _ = model.apply(&SecyCommand::EnableTx(ki(number)));
                    }
                    Step::Remove(number) => {
                        let _ = model.apply(&SecyCommand::RemoveSak(ki(number)));
                    }
                }
                let now = model.transmitting_ki();
                if now.is_some() && transmitted.last() != Some(&now) {
                    prop_assert!(!transmitted.contains(&now), "{now:?} transmits again");
                    transmitted.push(now);
                }
            }
        }
    }
}
