//! The steps by which the kernel's SAs change, and how each is asked for.
//!
//! What could make the kernel repeat a nonce cannot be said here: a transmit SA is added inactive
//! and at packet number 1, and [`Step::SwitchSender`] has no packet number to set.

use std::sync::Arc;

use super::message::Request;
use super::seen::{Flags, Secy, on};
use super::uapi::*;
use crate::ident::{AssociationNumber, KeyId, PacketNumber, Sci, Ssci};
use crate::secy::SecyKey;

/// One change, acknowledged by itself.
#[derive(Clone, Debug)]
pub(super) enum Step {
    /// Sets what holds for all frames.
    Set(Flags),
    /// Chooses the association to send with, and whether its frames are encrypted.
    SendWith { an: AssociationNumber, encrypt: bool },
    /// Creates a receive SC.
    AddChannel(Sci),
    /// Deletes a receive SC with all its SAs.
    RemoveChannel(Sci),
    /// Creates a receive SA, in use at once.
    AddReceiver { sci: Sci, an: AssociationNumber, key: Keyed, pn: PacketNumber },
    /// Takes a receive SA into use, or out of it.
    SwitchReceiver { sci: Sci, an: AssociationNumber, active: bool },
    /// Sets the next packet number that a receive SA expects. Never lower than it was.
    RaiseReceiver { sci: Sci, an: AssociationNumber, xpn: bool, pn: PacketNumber },
    /// Deletes a receive SA that is not in use.
    RemoveReceiver { sci: Sci, an: AssociationNumber },
    /// Creates a transmit SA, not in use and at packet number 1. Once ever for a key.
    AddSender { an: AssociationNumber, key: Keyed },
    /// Takes a transmit SA into use for the first time, or out of it for good.
    SwitchSender { an: AssociationNumber, ki: KeyId, active: bool },
    /// Deletes a transmit SA that is not in use.
    RemoveSender { an: AssociationNumber },
}

/// A key with the SSCI of whoever sends with it.
#[derive(Clone, Debug)]
pub(super) struct Keyed {
    pub(super) key: Arc<SecyKey>,
    pub(super) ssci: Option<Ssci>,
}

impl Step {
    /// Words what it puts right, for the log.
    pub(super) fn describe(&self, seen: &Secy) -> String {
        match self {
            Self::Set(wanted) => seen.flags.differ(wanted),
            Self::SendWith { encrypt, .. } if seen.encrypt != *encrypt => {
                format!("encrypt was {}, not {}", on(seen.encrypt), on(*encrypt))
            }
            Self::SendWith { an, .. } => {
                format!(
                    "the transmit association was {}, not {}",
                    seen.encoding.value(),
                    an.value()
                )
            }
            Self::AddChannel(sci) => format!("the receive channel {sci}, which was missing"),
            Self::RemoveChannel(sci) => format!("the receive channel {sci}, which is not ours"),
            Self::AddReceiver { sci, an, .. } => {
                format!("the receive SA {} of {sci}, which was missing", an.value())
            }
            Self::SwitchReceiver { sci, an, .. } | Self::RemoveReceiver { sci, an } => {
                format!("the receive SA {} of {sci}", an.value())
            }
            Self::RaiseReceiver { sci, an, .. } => {
                format!("the packet number of the receive SA {} of {sci}", an.value())
            }
            Self::AddSender { an, .. }
            | Self::SwitchSender { an, .. }
            | Self::RemoveSender { an } => format!("the transmit SA {}", an.value()),
        }
    }

    /// The generic netlink request of it; `None` for those that go by the other socket.
    pub(super) fn request(&self, family: u16, index: u32) -> Option<Request> {
        let begin = |command| {
            Request::generic(family, command, FAMILY_VERSION, 0).u32(MACSEC_ATTR_IFINDEX, index)
        };
        let channel = |request: Request, sci: &Sci| {
            let octets = sci.octets();
            request.nest(MACSEC_ATTR_RXSC_CONFIG, |of| of.octets(MACSEC_RXSC_ATTR_SCI, &octets))
        };
        let sa = |request: Request, an: &AssociationNumber, active: Option<bool>| {
            request.nest(MACSEC_ATTR_SA_CONFIG, |of| {
                let of = of.u8(MACSEC_SA_ATTR_AN, an.value());
                match active {
                    Some(active) => of.bool(MACSEC_SA_ATTR_ACTIVE, active),
                    None => of,
                }
            })
        };
        Some(match self {
            Self::Set(_) | Self::SendWith { .. } => return None,
            Self::AddChannel(sci) => {
                begin(MACSEC_CMD_ADD_RXSC).nest(MACSEC_ATTR_RXSC_CONFIG, |of| {
                    of.octets(MACSEC_RXSC_ATTR_SCI, &sci.octets())
                        .bool(MACSEC_RXSC_ATTR_ACTIVE, true)
                })
            }
            Self::RemoveChannel(sci) => channel(begin(MACSEC_CMD_DEL_RXSC), sci),
            Self::AddReceiver { sci, an, key, pn } => {
                key.put(channel(begin(MACSEC_CMD_ADD_RXSA), sci), *an, *pn, true)
            }
            Self::SwitchReceiver { sci, an, active } => {
                sa(channel(begin(MACSEC_CMD_UPD_RXSA), sci), an, Some(*active))
            }
            Self::RaiseReceiver { sci, an, xpn, pn } => channel(begin(MACSEC_CMD_UPD_RXSA), sci)
                .nest(MACSEC_ATTR_SA_CONFIG, |of| {
                    put_pn(of.u8(MACSEC_SA_ATTR_AN, an.value()), *xpn, *pn)
                }),
            Self::RemoveReceiver { sci, an } => {
                sa(channel(begin(MACSEC_CMD_DEL_RXSA), sci), an, None)
            }
            Self::AddSender { an, key } => {
                key.put(begin(MACSEC_CMD_ADD_TXSA), *an, PacketNumber::FIRST, false)
            }
            Self::SwitchSender { an, active, .. } => {
                sa(begin(MACSEC_CMD_UPD_TXSA), an, Some(*active))
            }
            Self::RemoveSender { an } => sa(begin(MACSEC_CMD_DEL_TXSA), an, None),
        })
    }
}

impl Keyed {
    fn put(&self, to: Request, an: AssociationNumber, pn: PacketNumber, active: bool) -> Request {
        let SecyKey { ki, suite, sak, salt, .. } = &*self.key;
        to.nest(MACSEC_ATTR_SA_CONFIG, |of| {
            let of = of.u8(MACSEC_SA_ATTR_AN, an.value()).bool(MACSEC_SA_ATTR_ACTIVE, active);
            let of = put_pn(of, suite.is_xpn(), pn)
                .octets(MACSEC_SA_ATTR_KEY, sak.expose())
                .octets(MACSEC_SA_ATTR_KEYID, &ki.octets());
            match (self.ssci, salt) {
                // The SSCI stands in network order, as the kernel puts it into the nonce.
                (Some(ssci), Some(salt)) => of
                    .octets(MACSEC_SA_ATTR_SSCI, &ssci.0.to_be_bytes())
                    .octets(MACSEC_SA_ATTR_SALT, &salt.octets()),
                _ => of,
            }
        })
    }
}

/// Puts a packet number, as wide as the suite has it.
fn put_pn(to: Request, xpn: bool, pn: PacketNumber) -> Request {
    if xpn {
        to.u64(MACSEC_SA_ATTR_PN, pn.0)
    } else {
        to.u32(MACSEC_SA_ATTR_PN, u32::try_from(pn.0).unwrap_or(u32::MAX))
    }
}
