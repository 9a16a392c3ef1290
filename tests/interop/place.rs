//! Machines, each a network namespace with one interface, and what is between them.

use anyhow::{Context, Result};
use macsecd::cli::lab::{Ledger, Namespace};
use rtnetlink::packet_route::link::InfoBridge;
use rtnetlink::{LinkBridge, LinkUnspec};

use crate::watcher::{Seen, Watcher};

/// The interface that faces the others, on every machine.
pub(crate) const CABLE: &str = "eth1";
/// The interface that carries protected traffic, on every machine.
pub(crate) const SECURE: &str = "macsec0";

/// A MAC address.
pub(crate) type Mac = [u8; 6];

/// A machine. Its address ends in its number, from 1, so that an earlier one has the lower SCI.
pub(crate) struct Machine {
    pub(crate) namespace: Namespace,
    pub(crate) mac: Mac,
}

/// Machines that reach each other, and a watcher on each one's interface.
pub(crate) struct Place {
    pub(crate) machines: Vec<Machine>,
    watchers: Vec<Watcher>,
    bridge: Option<Bridge>,
}

impl Machine {
    fn new(number: u8) -> Result<Self> {
        Ok(Self { namespace: Namespace::new()?, mac: [2, 0, 0, 0, 0, number] })
    }

    /// Takes the interface down, or brings it up.
    pub(crate) fn set_up(&self, up: bool) -> Result<()> {
        let link = LinkUnspec::new_with_name(CABLE);
        self.namespace.change(if up { link.up() } else { link.down() }.build())
    }
}

impl Place {
    /// Two machines and a cable, both ends up.
    pub(crate) fn cable() -> Result<Self> {
        let place = Self::unplugged()?;
        place.machines.iter().try_for_each(|machine| machine.set_up(true))?;
        Ok(place)
    }

    /// Two machines and a cable, both ends down.
    pub(crate) fn unplugged() -> Result<Self> {
        let (first, second) = (Machine::new(1)?, Machine::new(2)?);
        first.namespace.cable(CABLE, &second.namespace, CABLE)?;
        Self::watched(vec![first, second], None)
    }

    /// Machines on a bridge that passes key-exchange frames on.
    pub(crate) fn bridged(count: u8) -> Result<Self> {
        let bridge = Bridge::new()?;
        let machines = (1..=count).map(Machine::new).collect::<Result<Vec<_>>>()?;
        for (index, machine) in machines.iter().enumerate() {
            machine.namespace.cable(CABLE, &bridge.namespace, &Bridge::port(index))?;
        }
        let place = Self::watched(machines, Some(bridge))?;
        for (index, machine) in place.machines.iter().enumerate() {
            place.plug(index, true)?;
            machine.set_up(true)?;
        }
        Ok(place)
    }

    fn watched(machines: Vec<Machine>, bridge: Option<Bridge>) -> Result<Self> {
        for machine in &machines {
            machine.namespace.set_address(CABLE, machine.mac)?;
        }
        let watchers = machines.iter().map(Watcher::new).collect::<Result<_>>()?;
        Ok(Self { machines, watchers, bridge })
    }

    /// Plugs a machine into the bridge, or out. Unplugged, it keeps its carrier and is cut off.
    pub(crate) fn plug(&self, index: usize, connected: bool) -> Result<()> {
        let bridge = self.bridge.as_ref().context("this place has no bridge")?;
        bridge.connect(index, connected)
    }

    /// What has crossed the interface of the first machine.
    pub(crate) fn seen(&self) -> Seen {
        self.watchers.first().map(Watcher::seen).unwrap_or_default()
    }

    /// The numbers that have crossed the interface of the first machine so far.
    pub(crate) fn ledger(&self) -> Ledger {
        self.watchers.first().map(Watcher::ledger).unwrap_or_default()
    }

    /// Ends, and tells what crossed the interfaces of all machines.
    ///
    /// # Errors
    ///
    /// Where any of it was neither a key-exchange frame nor protected, or a watcher missed some.
    pub(crate) fn finish(self) -> Result<()> {
        self.watchers.into_iter().try_for_each(|watcher| watcher.finish()?.is_closed())
    }
}

/// A switch: a namespace with a bridge in it.
struct Bridge {
    namespace: Namespace,
}

impl Bridge {
    const NAME: &str = "bridge";
    /// The bit of 01:80:c2:00:00:03, which a bridge swallows unless it is told otherwise.
    const FORWARD_PAE: u16 = 1 << 3;

    fn new() -> Result<Self> {
        let namespace = Namespace::new()?;
        let link = LinkBridge::new(Self::NAME)
            .append_info_data(InfoBridge::GroupFwdMask(Self::FORWARD_PAE))
            .append_info_data(InfoBridge::MulticastSnooping(false))
            .build();
        namespace
            .netlink(|handle| async move { handle.link().add(link).execute().await })
            .context("making a bridge")?;
        Ok(Self { namespace })
    }

    fn port(index: usize) -> String {
        format!("port{index}")
    }

    fn connect(&self, index: usize, connected: bool) -> Result<()> {
        let link = LinkUnspec::new_with_name(&Self::port(index)).up();
        let link = if connected {
            link.controller(self.namespace.index(Self::NAME)?)
        } else {
            link.nocontroller()
        };
        self.namespace.change(link.build())
    }
}
