//! A session that is being built up, afresh or where the daemon before has left it.
//!
//! The kernel takes its time over that, and the port has other things to do meanwhile.

use std::sync::Arc;

use tokio::task::{JoinHandle, spawn_blocking};
use tracing::info;

use super::alarm::now;
use super::entropy::SystemEntropy;
use super::plane::Plane;
use super::store::Store;
use super::{Home, LinkInfo, PortSetup};
use crate::dataplane::{Dataplane, DataplaneSettings, End};
use crate::ident::{MacAddress, Sci};
use crate::keyring::KeyRing;
use crate::mka::{Forgotten, Memory, Policy};
use crate::port::Driver;
use crate::secy::{SecyCommand, SecyError};
use crate::sys::PacketSocket;

/// What is being built up.
pub(super) struct Opening {
    /// The interface that it stands on.
    pub(super) link: LinkInfo,
    task: JoinHandle<Result<Box<Parts>, String>>,
}

/// What a session is built from.
pub(super) struct Parts {
    pub(super) socket: PacketSocket,
    pub(super) dataplane: Dataplane,
    /// Why the data plane is of the kind that it is.
    pub(super) reason: String,
    pub(super) driver: Driver,
    /// The keys of the driver.
    pub(super) keys: Arc<KeyRing>,
    pub(super) store: Store,
}

impl Opening {
    /// Begins. The error is for an operator to read.
    pub(super) fn begin(setup: &PortSetup, home: &Home, link: LinkInfo) -> Result<Self, String> {
        let LinkInfo { index, address, mtu, .. } = link;
        if address == MacAddress([0; 6]) || address.is_group() {
            return Err(format!("{} is not an Ethernet interface", setup.interface));
        }
        let policy = Policy { sci: Sci::new(address, setup.port_id), ..setup.policy.clone() };
        let settings = DataplaneSettings {
            choice: setup.dataplane,
            parent: setup.interface.clone(),
            parent_index: index,
            parent_mtu: mtu,
            name: setup.secure_interface.clone(),
            sci: policy.sci,
            suites: policy.cipher_suites.clone(),
            offset: policy.offset,
            settings: policy.secured(),
            offload: setup.offload,
            home: home.encryptors.clone(),
            life: policy.manners.life,
            expected: Vec::new(),
        };
        let store = Store::new(&home.records, &setup.interface);
        let keys = Arc::clone(&setup.keys);
        let task = spawn_blocking(move || build(settings, policy, keys, store));
        Ok(Self { link, task })
    }

    /// Waits until it is done, once. Dropping this future loses nothing.
    pub(super) async fn done(&mut self) -> Result<Box<Parts>, String> {
        (&mut self.task).await.map_err(|error| error.to_string())?
    }

    /// Takes down what has been built up so far.
    pub(super) async fn close(mut self, end: End) {
        if let Ok(mut parts) = self.done().await {
            Plane::new(parts.dataplane).close(end).await;
            if end != End::Leave {
                parts.store.keep(None);
            }
        }
    }
}

/// Builds everything up, and goes on with what is there wherever all of it fits together.
fn build(
    mut settings: DataplaneSettings,
    policy: Policy,
    keys: Arc<KeyRing>,
    mut store: Store,
) -> Result<Box<Parts>, String> {
    let interface = settings.parent.clone();
    let socket = PacketSocket::key_exchange(settings.parent_index, policy.ethertype.value());
    let socket = socket.map_err(|error| error.to_string())?;
    let record = store.read();
    let opened = record.map(|record| Memory::open(&record, now(), &policy, &keys));
    settings.expected = opened.iter().flatten().flat_map(Memory::saks).collect();
    let started = Dataplane::start(settings).map_err(|error| error.to_string());
    let (mut dataplane, reason) = started?;
    let resumed =
        opened.map(|memory| memory.and_then(|memory| resume(&policy, &keys, memory, &dataplane)));
    let driver = match resumed {
        Some(Ok(driver)) => {
            info!(iface = %interface, "goes on where the daemon before has left it");
            Ok(driver)
        }
        other => {
            if let Some(Err(why)) = other {
                info!(iface = %interface, %why, "begins afresh");
            }
            store.keep(None);
            clear(&mut dataplane).map_err(|error| error.to_string()).and_then(|()| {
                Driver::new(now(), policy, &keys, Box::new(SystemEntropy))
                    .map_err(|error| error.to_string())
            })
        }
    };
    match driver {
        Ok(mut driver) => {
            driver.keep_record();
            dataplane.forget_kept();
            Ok(Box::new(Parts { socket, dataplane, reason, driver, keys, store }))
        }
        Err(error) => {
            dataplane.close(End::Clear);
            Err(error)
        }
    }
}

fn resume(
    policy: &Policy,
    keys: &KeyRing,
    memory: Memory,
    dataplane: &Dataplane,
) -> Result<Driver, Forgotten> {
    let entropy = Box::new(SystemEntropy);
    if dataplane.unexpected().iter().any(|&ki| memory.is_older_than(ki)) {
        return Err(Forgotten::Keys);
    }
    Driver::resume(now(), policy.clone(), keys, entropy, memory, &dataplane.kept())
}

/// Takes away what the data plane has gone on with: nobody knows of it any more.
fn clear(dataplane: &mut Dataplane) -> Result<(), SecyError> {
    let kept = dataplane.kept();
    if kept.is_empty() {
        return Ok(());
    }
    dataplane.apply(&SecyCommand::SetControlledPort(false))?;
    kept.iter().try_for_each(|sak| dataplane.apply(&SecyCommand::RemoveSak(sak.key.ki)))
}
