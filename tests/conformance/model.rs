//! The SecY that the data planes are held against: the pure code of `secy`, and nothing else.

use std::sync::Arc;

use macsecd::dataplane::RxProgress;
use macsecd::ident::KeyId;
use macsecd::secy::{
    Counters, FrameBuf, InstallSak, PreparedKey, RxTable, SecyCommand, SecyError, SecyModel,
    SecySettings, TxSa, transmit, validate,
};

use crate::secy::{Counts, Frame, IN_PORT_CLOSED, OWN, Secy, State, Traffic};

/// The longest frame of a link with an MTU of 1500.
const SENT_MAX: usize = 1514;
/// As long, and room for two VLAN tags.
const RECEIVED_MAX: usize = SENT_MAX + 8;

/// The model of one port.
pub(crate) struct Model {
    model: SecyModel,
    keys: Vec<(Arc<PreparedKey>, Arc<TxSa>)>,
    transmit: Option<Arc<TxSa>>,
    receive: RxTable,
    counters: Counters,
    in_port_closed: u64,
}

impl Model {
    pub(crate) fn new(settings: SecySettings) -> Self {
        let mut model = SecyModel::new(OWN.sci);
        model.apply(&SecyCommand::Configure(settings)).unwrap();
        Self {
            model,
            keys: Vec::new(),
            transmit: None,
            receive: RxTable::default(),
            counters: Counters::default(),
            in_port_closed: 0,
        }
    }

    fn key(&self, ki: KeyId) -> (Arc<PreparedKey>, Arc<TxSa>) {
        let key = self.keys.iter().find(|(key, _)| key.key().ki == ki);
        key.expect("the model knows which keys there are").clone()
    }

    fn install(&mut self, install: &InstallSak) -> Result<(), SecyError> {
        let key = PreparedKey::new(Arc::clone(&install.key))?;
        let sa = Arc::new(TxSa::new(&key, install.an, OWN.sci, install.ssci)?);
        for member in &install.receive {
            self.receive.add_receiver(&key, install.an, *member)?;
        }
        self.keys.push((key, sa));
        Ok(())
    }

    fn remove(&mut self, ki: KeyId) {
        self.keys.retain(|(key, _)| key.key().ki != ki);
        self.receive.remove_key(ki);
        self.transmit.take_if(|sa| sa.key().key().ki == ki);
    }
}

impl Secy for Model {
    fn apply(&mut self, command: &SecyCommand) -> Result<(), SecyError> {
        self.model.apply(command)?;
        match command {
            SecyCommand::Configure(_) | SecyCommand::SetControlledPort(_) => {}
            SecyCommand::InstallSak(install) => self.install(install)?,
            SecyCommand::AddReceiver { ki, member } => {
                let (key, sa) = self.key(*ki);
                self.receive.add_receiver(&key, sa.an(), *member)?;
            }
            SecyCommand::RemoveReceiver(sci) => self.receive.remove_channel(*sci),
            SecyCommand::EnableTx(ki) => self.transmit = Some(self.key(*ki).1),
            SecyCommand::RemoveSak(ki) => self.remove(*ki),
            SecyCommand::RaiseLowestPn { ki, sci, lowest_pn } => {
                if let Some(sa) = self.receive.sa(*ki, *sci) {
                    sa.replay().raise(*lowest_pn);
                }
            }
        }
        Ok(())
    }

    fn send(&mut self, frames: &[Frame]) -> Traffic {
        let mut traffic = Traffic::default();
        let mut buffer = FrameBuf::new(SENT_MAX);
        // The system hands nothing to a closed port.
        for frame in frames.iter().filter(|_| self.model.controlled_port()) {
            buffer.fill(frame).unwrap();
            let (sa, channels) = (self.transmit.as_deref(), self.receive.channel_count());
            let settings = self.model.settings();
            if transmit(settings, sa, channels, &mut buffer, &mut self.counters).is_ok() {
                traffic.wire.push(buffer.octets().to_vec());
            }
        }
        traffic
    }

    fn inject(&mut self, frames: &[Frame]) -> Traffic {
        let mut traffic = Traffic::default();
        let mut buffer = FrameBuf::new(RECEIVED_MAX);
        for frame in frames {
            if !self.model.controlled_port() {
                self.in_port_closed += 1;
                continue;
            }
            buffer.fill(frame).unwrap();
            let settings = self.model.settings();
            if validate(&self.receive, settings, &mut buffer, &mut self.counters).is_ok() {
                traffic.delivered.push(buffer.octets().to_vec());
            }
        }
        traffic
    }

    fn counts(&mut self) -> Counts {
        self.counters.iter().chain([(IN_PORT_CLOSED, self.in_port_closed)]).collect()
    }

    fn state(&mut self) -> State {
        let rx = self.receive.sas().map(|sa| RxProgress {
            ki: sa.ki(),
            sci: sa.sci(),
            next_pn: sa.replay().next_pn(),
            lowest_pn: sa.replay().lowest_pn(),
        });
        State { tx: self.transmit.as_ref().map(|sa| sa.progress()), rx: rx.collect() }
    }
}
