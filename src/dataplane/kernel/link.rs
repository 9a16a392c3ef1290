//! The interfaces themselves, by way of rtnetlink: the secure one made, changed and looked at.

use nix::errno::Errno;

use super::message::{Attributes, LINK_HEADER_LEN, Message, Request};
use super::netlink::{Conversation, Failure};
use super::seen::Flags;
use super::uapi::*;
use crate::ident::{AssociationNumber, CipherSuite, Sci};
use crate::sys::LinkState;

/// An interface.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Link {
    pub(super) index: u32,
    pub(super) name: String,
    /// What kind of virtual interface it is, if any.
    pub(super) kind: String,
    /// The interface that it stands on; `None` where that is in another network namespace.
    pub(super) parent: Option<u32>,
    pub(super) mtu: u32,
    pub(super) up: bool,
    pub(super) carrier: bool,
    pub(super) oper_state: u8,
    pub(super) link_mode: u8,
    /// Frames to send that were dropped.
    pub(super) tx_dropped: u64,
}

impl Link {
    fn read(message: &Message<'_>) -> Option<Self> {
        if message.kind != RTM_NEWLINK {
            return None;
        }
        let header = message.payload.get(4..12)?;
        let (index, flags) = header.split_first_chunk::<4>()?;
        let flags = u32::from_ne_bytes(flags.try_into().ok()?);
        let of = Attributes::after(message.payload, LINK_HEADER_LEN);
        let abroad = of.get(IFLA_LINK_NETNSID).is_some();
        Some(Self {
            index: u32::from_ne_bytes(*index),
            name: of.text(IFLA_IFNAME)?,
            kind: of.nest(IFLA_LINKINFO).text(IFLA_INFO_KIND).unwrap_or_default(),
            parent: of.u32(IFLA_LINK).filter(|_| !abroad),
            mtu: of.u32(IFLA_MTU)?,
            up: flags & IFF_UP != 0,
            carrier: flags & IFF_LOWER_UP != 0,
            oper_state: of.u8(IFLA_OPERSTATE).unwrap_or_default(),
            link_mode: of.u8(IFLA_LINKMODE).unwrap_or_default(),
            // The eighth of the 64-bit counters.
            tx_dropped: of
                .get(IFLA_STATS64)
                .and_then(|stats| stats.get(56..64)?.try_into().ok())
                .map_or(0, u64::from_ne_bytes),
        })
    }

    /// How it stands, in the words of a data plane. A dormant interface has a carrier that it is
    /// not to use yet.
    pub(super) const fn state(&self) -> LinkState {
        match (self.up, self.carrier) {
            (false, _) => LinkState::Down,
            (true, true) if self.oper_state != OPER_DORMANT => LinkState::Running,
            (true, _) => LinkState::NoCarrier,
        }
    }
}

/// Which interface is meant.
#[derive(Clone, Copy, Debug)]
pub(super) enum Which<'a> {
    Name(&'a str),
    Index(u32),
}

/// What a secure interface is made from.
#[derive(Clone, Copy, Debug)]
pub(super) struct Plan<'a> {
    pub(super) name: &'a str,
    pub(super) parent: u32,
    pub(super) sci: Sci,
    pub(super) suite: CipherSuite,
    pub(super) flags: Flags,
}

/// The length of an ICV, in octets: the same for all suites (802.1AE-2018 14.5 to 14.8).
pub(super) const ICV_LEN: u8 = 16;

/// Looks an interface up; `None` where there is none.
pub(super) fn find(route: &mut Conversation, which: Which<'_>) -> Result<Option<Link>, Failure> {
    let request = || match which {
        Which::Name(name) => Request::link(RTM_GETLINK, 0, 0, None).text(IFLA_IFNAME, name),
        Which::Index(index) => Request::link(RTM_GETLINK, 0, index, None),
    };
    let mut found = None;
    match route.ask(request, |message| found = found.take().or_else(|| Link::read(message))) {
        Ok(()) => Ok(found),
        Err(failure) if failure.errno() == Some(Errno::ENODEV) => Ok(None),
        Err(failure) => Err(failure),
    }
}

/// Makes a MACsec interface, down.
pub(super) fn create(route: &mut Conversation, plan: &Plan<'_>) -> Result<(), Failure> {
    let Plan { name, parent, sci, suite, flags } = plan;
    // A SCI of our own goes with frames that carry it, or the kernel refuses; the rest follows.
    let flags = Flags { include_sci: true, end_station: false, single_copy: false, ..*flags };
    let request = Request::link(RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, 0, None)
        .text(IFLA_IFNAME, name)
        .u32(IFLA_LINK, *parent)
        .u8(IFLA_LINKMODE, LINK_MODE_DORMANT)
        .nest(IFLA_LINKINFO, |info| {
            info.octets(IFLA_INFO_KIND, FAMILY_NAME.as_bytes()).nest(IFLA_INFO_DATA, |data| {
                let data = data
                    .octets(IFLA_MACSEC_SCI, &sci.octets())
                    .u64(IFLA_MACSEC_CIPHER_SUITE, u64::from_be_bytes(suite.id()))
                    .u8(IFLA_MACSEC_ICV_LEN, ICV_LEN)
                    .bool(IFLA_MACSEC_ENCRYPT, true);
                put_flags(data, &flags)
            })
        });
    route.tell(request)
}

/// Sets what holds for all frames.
pub(super) fn set_flags(
    route: &mut Conversation,
    index: u32,
    flags: &Flags,
) -> Result<(), Failure> {
    route.tell(change(index, |data| put_flags(data, flags)))
}

/// Chooses the association to send with.
pub(super) fn send_with(
    route: &mut Conversation,
    index: u32,
    an: AssociationNumber,
    encrypt: bool,
) -> Result<(), Failure> {
    route.tell(change(index, |data| {
        data.bool(IFLA_MACSEC_ENCRYPT, encrypt).u8(IFLA_MACSEC_ENCODING_SA, an.value())
    }))
}

fn change(index: u32, data: impl FnOnce(Request) -> Request) -> Request {
    Request::link(RTM_NEWLINK, 0, index, None).nest(IFLA_LINKINFO, |info| {
        info.octets(IFLA_INFO_KIND, FAMILY_NAME.as_bytes()).nest(IFLA_INFO_DATA, data)
    })
}

fn put_flags(data: Request, flags: &Flags) -> Request {
    let Flags { protect, validate, replay_protect, window, include_sci, end_station, single_copy } =
        *flags;
    data.bool(IFLA_MACSEC_PROTECT, protect)
        .bool(IFLA_MACSEC_INC_SCI, include_sci)
        .bool(IFLA_MACSEC_ES, end_station)
        .bool(IFLA_MACSEC_SCB, single_copy)
        .u8(IFLA_MACSEC_VALIDATION, validate)
        // The kernel wants both in the same message.
        .bool(IFLA_MACSEC_REPLAY_PROTECT, replay_protect)
        .u32(IFLA_MACSEC_WINDOW, window)
}

/// Enables an interface, or disables it.
pub(super) fn set_up(route: &mut Conversation, index: u32, up: bool) -> Result<(), Failure> {
    route.tell(Request::link(RTM_NEWLINK, 0, index, Some(up)))
}

/// Says whether an interface with a carrier may be used yet: with `open` it is up, without it
/// dormant, which routing daemons take as not running (RFC 2863).
pub(super) fn set_open(route: &mut Conversation, index: u32, open: bool) -> Result<(), Failure> {
    let state = if open { OPER_UP } else { OPER_DORMANT };
    let request = Request::link(RTM_NEWLINK, 0, index, None)
        .u8(IFLA_LINKMODE, LINK_MODE_DORMANT)
        .u8(IFLA_OPERSTATE, state);
    route.tell(request)
}

pub(super) fn set_mtu(route: &mut Conversation, index: u32, mtu: u32) -> Result<(), Failure> {
    route.tell(Request::link(RTM_NEWLINK, 0, index, None).u32(IFLA_MTU, mtu))
}

/// Deletes an interface; one that is not there is as good as deleted.
pub(super) fn delete(route: &mut Conversation, index: u32) -> Result<(), Failure> {
    match route.tell(Request::link(RTM_DELLINK, 0, index, None)) {
        Err(failure) if failure.errno() == Some(Errno::ENODEV) => Ok(()),
        result => result,
    }
}
