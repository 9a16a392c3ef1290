//! What the threads work by, and how commands change it.

use std::sync::Arc;

use crate::ident::{KeyId, Sci};
use crate::secy::{
    InstallSak, PreparedKey, RxMember, RxTable, SecyCommand, SecyError, SecyModel, SecySettings,
    TxSa, Validate,
};
use crate::sys::{PacketRing, PacketSocket};

/// What the threads work by. Published whole and never changed; only the associations inside move
/// on, each by itself.
#[derive(Clone, Debug)]
pub(super) struct Table {
    /// Whether frames pass at all.
    pub open: bool,
    /// What holds for all frames.
    pub settings: SecySettings,
    /// The MTU of the interface that carries protected frames.
    pub parent_mtu: u32,
    /// What frames go out with.
    pub transmit: Option<Arc<TxSa>>,
    /// What frames come in with.
    pub receive: RxTable,
    /// Where protected frames come in; `None` only until the data plane has started.
    pub wire: Option<Arc<PacketRing>>,
    /// Where frames come in without protection; `None` where they are not let through.
    pub plain: Option<Arc<PacketSocket>>,
}

/// The control side: the rules of the SecY, the keys, and the table that follows from both.
///
/// A command is applied to a clone, which replaces the original where it went well. Keys and
/// associations are shared between both, so that none exists twice.
#[derive(Clone, Debug)]
pub(super) struct Associations {
    model: SecyModel,
    /// At most one for each association number, as the model sees to.
    keys: Vec<Installed>,
    table: Table,
}

#[derive(Clone, Debug)]
struct Installed {
    key: Arc<PreparedKey>,
    transmit: Arc<TxSa>,
}

impl Table {
    /// With the Controlled Port closed, no key, and no way in.
    pub(super) fn closed(settings: SecySettings, parent_mtu: u32) -> Self {
        let receive = RxTable::default();
        Self { open: false, settings, parent_mtu, transmit: None, receive, wire: None, plain: None }
    }
}

impl Installed {
    fn ki(&self) -> KeyId {
        self.key.key().ki
    }
}

impl Associations {
    /// Starts with the Controlled Port closed and no key.
    pub(super) fn new(
        own: Sci,
        settings: SecySettings,
        parent_mtu: u32,
    ) -> Result<Self, SecyError> {
        let mut model = SecyModel::new(own);
        model.apply(&SecyCommand::Configure(settings))?;
        Ok(Self { model, keys: Vec::new(), table: Table::closed(settings, parent_mtu) })
    }

    /// The table that follows from all commands so far.
    pub(super) const fn table(&self) -> &Table {
        &self.table
    }

    /// What all commands so far come to.
    pub(super) const fn model(&self) -> &SecyModel {
        &self.model
    }

    /// Tells whether frames without protection are let through.
    pub(super) fn wants_plain(&self) -> bool {
        self.table.settings.validate != Validate::Strict
    }

    /// Takes the socket for protected frames.
    pub(super) fn set_wire(&mut self, wire: Arc<PacketRing>) {
        self.table.wire = Some(wire);
    }

    /// Takes the socket for frames without protection, or `None` where they are not wanted.
    pub(super) fn set_plain(&mut self, socket: Option<Arc<PacketSocket>>) {
        self.table.plain = socket;
    }

    /// Takes the parent's new MTU.
    pub(super) const fn set_parent_mtu(&mut self, mtu: u32) {
        self.table.parent_mtu = mtu;
    }

    /// Changes the table as told.
    ///
    /// After an error this value is of no more use.
    pub(super) fn apply(&mut self, command: &SecyCommand) -> Result<(), SecyError> {
        self.model.apply(command)?;
        match command {
            SecyCommand::Configure(settings) => self.table.settings = *settings,
            SecyCommand::SetControlledPort(open) => self.table.open = *open,
            SecyCommand::InstallSak(install) => self.install(install)?,
            SecyCommand::AddReceiver { ki, member } => self.add_receiver(*ki, *member)?,
            SecyCommand::RemoveReceiver(sci) => self.table.receive.remove_channel(*sci),
            SecyCommand::EnableTx(ki) => {
                self.table.transmit = Some(Arc::clone(&self.installed(*ki)?.transmit));
            }
            SecyCommand::RemoveSak(ki) => self.remove(*ki),
            SecyCommand::RaiseLowestPn { ki, sci, lowest_pn } => {
                if let Some(sa) = self.table.receive.sa(*ki, *sci) {
                    sa.replay().raise(*lowest_pn);
                }
            }
        }
        Ok(())
    }

    fn install(&mut self, install: &InstallSak) -> Result<(), SecyError> {
        let InstallSak { key, an, ssci, receive } = install;
        let key = PreparedKey::new(Arc::clone(key))?;
        let transmit = Arc::new(TxSa::new(&key, *an, self.model.own_sci(), *ssci)?);
        for member in receive {
            self.table.receive.add_receiver(&key, *an, *member)?;
        }
        self.keys.push(Installed { key, transmit });
        Ok(())
    }

    fn add_receiver(&mut self, ki: KeyId, member: RxMember) -> Result<(), SecyError> {
        let Installed { key, transmit } = self.installed(ki)?.clone();
        self.table.receive.add_receiver(&key, transmit.an(), member)
    }

    fn remove(&mut self, ki: KeyId) {
        self.keys.retain(|installed| installed.ki() != ki);
        self.table.receive.remove_key(ki);
        self.table.transmit.take_if(|sa| sa.key().key().ki == ki);
    }

    fn installed(&self, ki: KeyId) -> Result<&Installed, SecyError> {
        self.keys.iter().find(|installed| installed.ki() == ki).ok_or(SecyError::NoSuchKey(ki))
    }
}

#[cfg(test)]
mod tests {
    use zeroize::Zeroizing;

    use super::*;
    use crate::crypto::Sak;
    use crate::ident::{
        AssociationNumber, CipherSuite, ConfidentialityOffset, KeyNumber, MacAddress, MemberId,
        PacketNumber,
    };
    use crate::secy::SecyKey;

    const OWN: Sci = Sci::new(MacAddress([2, 0, 0, 0, 0, 1]), 1);
    const PEER: Sci = Sci::new(MacAddress([2, 0, 0, 0, 0, 2]), 1);
    const THIRD: Sci = Sci::new(MacAddress([2, 0, 0, 0, 0, 3]), 1);
    const STRICT: SecySettings = SecySettings {
        protect: true,
        validate: Validate::Strict,
        replay_protect: true,
        replay_window: 0,
        include_sci: true,
    };

    fn ki(number: u32) -> KeyId {
        KeyId { server: MemberId::from_octets([7; 12]), number: KeyNumber(number) }
    }

    fn member(sci: Sci) -> RxMember {
        RxMember { sci, ssci: None, lowest_pn: PacketNumber::FIRST }
    }

    fn install(number: u32, an: u8, receive: &[Sci]) -> SecyCommand {
        let key = Arc::new(SecyKey {
            ki: ki(number),
            suite: CipherSuite::GcmAes128,
            offset: ConfidentialityOffset::Offset0,
            sak: Sak::new(Zeroizing::new(vec![1; 16])).unwrap(),
            salt: None,
        });
        SecyCommand::InstallSak(InstallSak {
            key,
            an: AssociationNumber::from_low_bits(an),
            ssci: None,
            receive: receive.iter().map(|sci| member(*sci)).collect(),
        })
    }

    fn after(commands: &[SecyCommand]) -> Associations {
        let mut associations = Associations::new(OWN, STRICT, 1500).unwrap();
        for command in commands {
            associations.apply(command).unwrap();
        }
        associations
    }

    fn transmits(associations: &Associations) -> Option<KeyId> {
        associations.table().transmit.as_ref().map(|sa| sa.progress().ki)
    }

    #[test]
    fn an_installed_key_receives_at_once_and_sends_when_enabled() {
        let mut associations = after(&[install(1, 0, &[PEER])]);
        assert!(associations.table().receive.sa(ki(1), PEER).is_some());
        assert_eq!(transmits(&associations), None);
        associations.apply(&SecyCommand::EnableTx(ki(1))).unwrap();
        assert_eq!(transmits(&associations), Some(ki(1)));
    }

    #[test]
    fn another_key_takes_over_and_the_first_can_go() {
        let mut associations = after(&[
            install(1, 0, &[PEER]),
            SecyCommand::EnableTx(ki(1)),
            install(2, 1, &[PEER]),
            SecyCommand::EnableTx(ki(2)),
        ]);
        assert_eq!(transmits(&associations), Some(ki(2)));
        associations.apply(&SecyCommand::RemoveSak(ki(1))).unwrap();
        assert_eq!(transmits(&associations), Some(ki(2)));
        assert!(associations.table().receive.sa(ki(1), PEER).is_none());
        associations.apply(&SecyCommand::RemoveSak(ki(2))).unwrap();
        assert_eq!(transmits(&associations), None);
    }

    /// A second transmit SA would start again from packet number 1 under the same key.
    #[test]
    fn enabling_again_keeps_the_packet_numbers() {
        let mut associations = after(&[install(1, 0, &[PEER]), SecyCommand::EnableTx(ki(1))]);
        let sa = Arc::clone(associations.table().transmit.as_ref().unwrap());
        drop(sa.reserve(10));
        associations.apply(&SecyCommand::EnableTx(ki(1))).unwrap();
        let progress = associations.table().transmit.as_ref().unwrap().progress();
        assert_eq!(progress.next_pn, PacketNumber(11));
    }

    #[test]
    fn members_come_and_go_on_the_association_of_their_key() {
        let mut associations = after(&[
            install(1, 3, &[PEER]),
            SecyCommand::AddReceiver { ki: ki(1), member: member(THIRD) },
        ]);
        let sa = Arc::clone(associations.table().receive.sa(ki(1), THIRD).unwrap());
        assert_eq!(sa.an().value(), 3);
        associations.apply(&SecyCommand::RemoveReceiver(PEER)).unwrap();
        assert!(associations.table().receive.sa(ki(1), PEER).is_none());
        assert_eq!(associations.table().receive.channel_count(), 1);
    }

    #[test]
    fn the_lowest_packet_number_is_raised_in_the_association_that_threads_have() {
        let mut associations = after(&[install(1, 0, &[PEER])]);
        let sa = Arc::clone(associations.table().receive.sa(ki(1), PEER).unwrap());
        let (ki, lowest_pn) = (ki(1), PacketNumber(500));
        associations.apply(&SecyCommand::RaiseLowestPn { ki, sci: PEER, lowest_pn }).unwrap();
        assert_eq!(sa.replay().lowest_pn(), PacketNumber(500));
    }

    #[test]
    fn what_breaks_a_rule_is_refused_before_it_reaches_the_table() {
        let mut associations = after(&[install(1, 0, &[PEER])]);
        let busy = associations.clone().apply(&install(2, 0, &[PEER])).unwrap_err();
        assert!(matches!(busy, SecyError::AssociationBusy { .. }));
        let again = associations.clone().apply(&install(1, 1, &[PEER])).unwrap_err();
        assert_eq!(again, SecyError::KeyUsedBefore(ki(1)));
        let unknown = associations.apply(&SecyCommand::EnableTx(ki(9))).unwrap_err();
        assert_eq!(unknown, SecyError::NoSuchKey(ki(9)));
        assert_eq!(associations.table().receive.sas().count(), 1);
    }

    #[test]
    fn only_strict_validation_wants_no_frames_in_clear() {
        let mut associations = after(&[]);
        assert!(!associations.wants_plain());
        for validate in [Validate::Check, Validate::Disabled] {
            let settings = SecySettings { validate, ..STRICT };
            associations.apply(&SecyCommand::Configure(settings)).unwrap();
            assert!(associations.wants_plain());
        }
    }
}
