//! The interfaces of a machine, and how they hang together.

use std::collections::BTreeMap;

use super::numbers::{GCM_AES_128, GCM_AES_256, GCM_AES_XPN_128, GCM_AES_XPN_256};
use super::numbers::{LINK_MODE_DORMANT, oper};
use super::oracle::Oracle;

/// Why the kernel refuses, as a number and sometimes in words.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Refusal {
    pub(crate) errno: i32,
    pub(crate) text: Option<&'static str>,
}

impl From<i32> for Refusal {
    fn from(errno: i32) -> Self {
        Self { errno, text: None }
    }
}

impl Refusal {
    pub(crate) const fn saying(errno: i32, text: &'static str) -> Self {
        Self { errno, text: Some(text) }
    }
}

/// In what kernels differ.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Quirks {
    /// GCM-AES-128 is reported by the number of the 2006 edition. All kernels so far do.
    pub(crate) legacy_id: bool,
    /// Numbers of 64 bits are put at even places, as on machines that need it.
    pub(crate) pads: bool,
    /// IFLA_MACSEC_OFFLOAD can be changed and is reported (from 6.3 on).
    pub(crate) offload_by_link: bool,
    /// The module is there.
    pub(crate) has_macsec: bool,
    /// Whoever asks may change something.
    pub(crate) permitted: bool,
    /// How many interfaces one datagram of a dump tells of.
    pub(crate) per_datagram: usize,
}

impl Default for Quirks {
    fn default() -> Self {
        Self {
            legacy_id: true,
            pads: false,
            offload_by_link: false,
            has_macsec: true,
            permitted: true,
            per_datagram: 1,
        }
    }
}

/// An interface.
#[derive(Clone, Debug)]
pub(crate) struct Link {
    pub(crate) index: u32,
    pub(crate) name: String,
    pub(crate) mac: [u8; 6],
    pub(crate) mtu: u32,
    pub(crate) up: bool,
    pub(crate) carrier: bool,
    pub(crate) link_mode: u8,
    pub(crate) operstate: u8,
    /// Not in the network namespace of the sockets.
    pub(crate) elsewhere: bool,
    pub(crate) tx_dropped: u64,
    pub(crate) kind: Kind,
    /// The carrier has come or gone, and the operational state is to follow.
    pub(super) stirred: bool,
}

/// What an interface is.
#[derive(Clone, Debug)]
pub(crate) enum Kind {
    /// Something to put a MACsec interface on.
    Parent(Parent),
    Macsec(Box<Secy>),
    /// Neither Ethernet nor MACsec.
    Other,
}

/// What matters of the interface below.
#[derive(Clone, Debug, Default)]
pub(crate) struct Parent {
    /// A bridge, a bond or the like has the frames that it receives.
    pub(crate) occupied: bool,
    /// Who of it can do the work of MACsec: 1 the PHY, 2 the card.
    pub(crate) offloads: Vec<u8>,
}

/// A MACsec interface.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Secy {
    pub(crate) parent: u32,
    pub(crate) sci: [u8; 8],
    pub(crate) suite: u64,
    pub(crate) icv_len: u8,
    pub(crate) window: u32,
    pub(crate) encoding_sa: u8,
    pub(crate) operational: bool,
    pub(crate) encrypt: bool,
    pub(crate) protect: bool,
    pub(crate) include_sci: bool,
    pub(crate) end_station: bool,
    pub(crate) scb: bool,
    pub(crate) replay_protect: bool,
    pub(crate) validate: u8,
    pub(crate) offload: u8,
    pub(crate) tx: [Option<Sa>; 4],
    /// The order is that of the dump: the newest first.
    pub(crate) rx: Vec<RxSc>,
    pub(crate) sent: [u64; 4],
    pub(crate) untagged: u64,
}

/// A receive channel.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct RxSc {
    pub(crate) sci: [u8; 8],
    pub(crate) active: bool,
    pub(crate) sas: [Option<Sa>; 4],
    pub(crate) received: u64,
}

/// An association, of either direction.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Sa {
    pub(crate) active: bool,
    /// 0 where the numbers have run out.
    pub(crate) next_pn: u64,
    pub(crate) key: Vec<u8>,
    pub(crate) key_id: [u8; 16],
    /// As the attribute has it: the number in network order.
    pub(crate) ssci: [u8; 4],
    pub(crate) salt: [u8; 12],
    /// Frames received.
    pub(crate) received: u32,
    /// Frames sent: protected only, and encrypted, too.
    pub(crate) sent: [u32; 2],
}

impl Secy {
    /// What an interface is like before anything is asked for.
    pub(super) fn new(parent: u32, sci: [u8; 8]) -> Self {
        Self {
            parent,
            sci,
            suite: GCM_AES_128,
            icv_len: 16,
            window: 0,
            encoding_sa: 0,
            // Until the first frame is to go out, or somebody chooses the association.
            operational: true,
            encrypt: false,
            protect: true,
            include_sci: true,
            end_station: false,
            scb: false,
            replay_protect: false,
            validate: 2,
            offload: 0,
            tx: [const { None }; 4],
            rx: Vec::new(),
            sent: [0; 4],
            untagged: 0,
        }
    }

    pub(crate) fn is_xpn(&self) -> bool {
        matches!(self.suite, GCM_AES_XPN_128 | GCM_AES_XPN_256)
    }

    pub(super) fn key_len(&self) -> usize {
        if matches!(self.suite, GCM_AES_256 | GCM_AES_XPN_256) { 32 } else { 16 }
    }

    pub(crate) fn pn_len(&self) -> usize {
        if self.is_xpn() { 8 } else { 4 }
    }

    pub(crate) fn tx_sa(&self, an: u8) -> Option<&Sa> {
        self.tx.get(usize::from(an))?.as_ref()
    }

    pub(crate) fn tx_sa_mut(&mut self, an: u8) -> Option<&mut Sa> {
        self.tx.get_mut(usize::from(an))?.as_mut()
    }

    pub(crate) fn channel(&self, sci: [u8; 8]) -> Option<&RxSc> {
        self.rx.iter().find(|channel| channel.sci == sci)
    }

    pub(crate) fn channel_mut(&mut self, sci: [u8; 8]) -> Option<&mut RxSc> {
        self.rx.iter_mut().find(|channel| channel.sci == sci)
    }

    /// Has frames go out with another association, whether there is one or not.
    pub(crate) fn encode_with(&mut self, an: u8) {
        self.encoding_sa = an;
        self.operational = self.tx_sa(an).is_some_and(|sa| sa.active);
    }

    /// Switches a transmit association on or off.
    pub(crate) fn activate(&mut self, an: u8, active: bool) {
        if let Some(sa) = self.tx_sa_mut(an) {
            sa.active = active;
        }
        if an == self.encoding_sa {
            self.operational = active;
        }
    }

    pub(super) fn is_configured(&self) -> bool {
        !self.rx.is_empty() || self.tx.iter().flatten().next().is_some()
    }
}

impl Link {
    /// The state after the carrier has come or gone, for whoever does not set it himself (RFC 2863).
    fn settle(&mut self) {
        self.stirred = false;
        if self.carrier && self.operstate == oper::UP {
            return;
        }
        self.operstate = match (self.carrier, &self.kind) {
            (false, Kind::Macsec(_)) => oper::LOWER_LAYER_DOWN,
            (false, Kind::Parent(_) | Kind::Other) => oper::DOWN,
            (true, _) if self.link_mode == LINK_MODE_DORMANT => oper::DORMANT,
            (true, _) => oper::UP,
        };
    }

    /// What the user wants the state to be, where that follows from what it is.
    pub(super) fn set_operstate(&mut self, wanted: u8) {
        let from_here: &[u8] = match wanted {
            oper::UP => &[oper::DORMANT, oper::UNKNOWN],
            oper::DORMANT => &[oper::UP, oper::UNKNOWN],
            _ => &[],
        };
        if from_here.contains(&self.operstate) {
            self.operstate = wanted;
        }
    }

    pub(super) fn set_carrier(&mut self, carrier: bool) {
        self.stirred |= carrier != self.carrier;
        self.carrier = carrier;
    }

    pub(crate) fn secy(&self) -> Option<&Secy> {
        match &self.kind {
            Kind::Macsec(secy) => Some(secy),
            Kind::Parent(_) | Kind::Other => None,
        }
    }

    pub(crate) fn secy_mut(&mut self) -> Option<&mut Secy> {
        match &mut self.kind {
            Kind::Macsec(secy) => Some(secy),
            Kind::Parent(_) | Kind::Other => None,
        }
    }

    pub(crate) fn parent_mut(&mut self) -> Option<&mut Parent> {
        match &mut self.kind {
            Kind::Parent(parent) => Some(parent),
            Kind::Macsec(_) | Kind::Other => None,
        }
    }
}

/// All that the kernel knows.
#[derive(Debug, Default)]
pub(crate) struct State {
    pub(crate) links: BTreeMap<u32, Link>,
    pub(crate) quirks: Quirks,
    /// Counts interfaces that came or went: a dump says when this changed under it.
    pub(super) generation: u32,
    /// The highest index there ever was: the kernel gives none twice.
    last_index: u32,
    pub(super) oracle: Oracle,
}

impl State {
    pub(crate) fn named(&self, name: &str) -> Option<&Link> {
        self.links.values().find(|link| link.name == name && !link.elsewhere)
    }

    pub(crate) fn named_mut(&mut self, name: &str) -> Option<&mut Link> {
        self.links.values_mut().find(|link| link.name == name && !link.elsewhere)
    }

    /// The interface of an index, where the sockets can see it.
    pub(super) fn at(&self, index: u32) -> Option<&Link> {
        self.links.get(&index).filter(|link| !link.elsewhere)
    }

    pub(super) fn at_mut(&mut self, index: u32) -> Option<&mut Link> {
        self.links.get_mut(&index).filter(|link| !link.elsewhere)
    }

    /// The SecYs on an interface, wherever they have been moved to.
    pub(super) fn secys_on(&self, parent: u32) -> impl Iterator<Item = &Secy> {
        self.links.values().filter_map(Link::secy).filter(move |secy| secy.parent == parent)
    }

    /// The MACsec interfaces on an interface.
    fn above(&self, index: u32) -> Vec<u32> {
        let on = |link: &&Link| link.secy().is_some_and(|secy| secy.parent == index);
        self.links.values().filter(on).map(|link| link.index).collect()
    }

    /// Adds an interface and returns its index: the given one, or the next that is free.
    pub(crate) fn add(&mut self, index: Option<u32>, link: Link) -> u32 {
        let index = index.unwrap_or(self.last_index + 1);
        self.last_index = self.last_index.max(index);
        let before = self.links.insert(index, Link { index, ..link });
        assert!(before.is_none(), "the test uses index {index} twice");
        self.generation += 1;
        index
    }

    /// Removes an interface and the MACsec interfaces on it.
    pub(crate) fn remove(&mut self, index: u32) {
        self.links.remove(&index);
        self.generation += 1;
        self.above(index).into_iter().for_each(|above| self.remove(above));
    }

    /// Has the MACsec interfaces follow their parent's MTU downwards, and its carrier.
    pub(crate) fn follow(&mut self, parent: u32) {
        let Some(below) = self.links.get(&parent) else { return };
        let (mtu, carrier) = (below.mtu, below.carrier);
        for index in self.above(parent) {
            if let Some(link) = self.links.get_mut(&index) {
                let icv_len = link.secy().map_or(16, |secy| secy.icv_len);
                link.mtu = link.mtu.min(secure_mtu(mtu, icv_len));
                link.set_carrier(carrier);
            }
            self.follow(index);
        }
    }

    /// What the kernel does a moment after each change of a carrier.
    pub(super) fn settle(&mut self) {
        self.links.values_mut().filter(|link| link.stirred).for_each(Link::settle);
    }

    /// From now on nobody minds what keys are used for.
    pub(crate) fn oblivious(&mut self) {
        self.oracle.off = true;
    }

    /// Takes an interface up or down.
    pub(super) fn set_up(&mut self, index: u32, up: bool) {
        let Some(link) = self.links.get(&index) else { return };
        if link.up == up {
            return;
        }
        let below = link.secy().map(|secy| secy.parent);
        let has_carrier =
            below.and_then(|below| self.links.get(&below)).is_none_or(|of| of.carrier);
        if let Some(link) = self.links.get_mut(&index) {
            link.up = up;
            link.set_carrier(up && has_carrier);
        }
        self.follow(index);
    }
}

/// The MTU that fits into the parent's: a tag with SCI and an ICV more.
pub(super) fn secure_mtu(parent: u32, icv_len: u8) -> u32 {
    parent.saturating_sub(u32::from(icv_len) + 16)
}
