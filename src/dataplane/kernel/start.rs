//! How a kernel data plane begins: the family, the secure interface, who does the work.

use std::io;

use nix::errno::Errno;
use rtnetlink::sys::protocols::{NETLINK_GENERIC, NETLINK_ROUTE};

use super::link::{self, ICV_LEN, Link, Plan, Which};
use super::message::{Attributes, GENERIC_HEADER_LEN, Message, Request};
use super::netlink::{Conversation, Failure, KernelSocket, Netlink};
use super::seen::Secy;
use super::uapi::*;
use crate::dataplane::Offload;
use crate::ident::{CipherSuite, Sci};
use crate::secy::{InstalledSak, SecyError, SecySettings};

/// What a kernel data plane is made from.
#[derive(Clone, Debug)]
pub struct KernelSettings {
    /// The interface that carries protected frames.
    pub parent: String,
    /// Its index.
    pub parent_index: u32,
    /// The secure interface, to be made or taken up.
    pub name: String,
    /// Our secure channel.
    pub sci: Sci,
    /// The suites that may come, the likeliest first. Not empty.
    pub suites: Vec<CipherSuite>,
    /// What holds for all frames.
    pub settings: SecySettings,
    /// Who is to do the work.
    pub offload: Offload,
    /// The SAKs that a process before us may have left, in the order in which it had them: each was
    /// written down before it was installed. With nothing here whatever is found is removed.
    ///
    /// The receivers of each are all that it was ever to receive, whether they have left or not:
    /// one that is not among them was never received with it. What its transmit SA does need not
    /// be the last word.
    pub expected: Vec<InstalledSak>,
}

/// Why a kernel data plane did not start. Each says what to do.
#[derive(Debug, thiserror::Error)]
pub enum KernelStartError {
    /// The kernel has no MACsec, or its module is not there.
    #[error("this kernel has no MACsec (module `macsec`)")]
    NoMacsec,
    /// The kernel could not be asked.
    #[error("asking the kernel about MACsec: {0}")]
    Ask(String),
    /// Making or changing the secure interface needs a capability.
    #[error("making a MACsec interface needs CAP_NET_ADMIN, outside of a user namespace")]
    NotPermitted,
    /// The name of the secure interface is taken.
    #[error("{name} is there already, and is {what}; delete it, or name another secure-interface")]
    NameTaken {
        /// The name.
        name: String,
        /// What has it.
        what: String,
    },
    /// The parent is not free to carry MACsec.
    #[error(
        "{parent} has another receiver of frames: it is a port of a bridge, bond or team, has a \
         macvlan, or carries MACsec of our SCI in another network namespace; MACsec must be the \
         only thing on it, and the bridge on the secure interface"
    )]
    ParentBusy {
        /// The parent.
        parent: String,
    },
    /// Another MACsec interface has the SCI.
    #[error(
        "another MACsec interface on {parent} has the SCI {sci}{by}; delete it, or set another \
         port-id"
    )]
    SciTaken {
        /// The parent.
        parent: String,
        /// The SCI.
        sci: Sci,
        /// Which, where it can be seen.
        by: String,
    },
    /// The kernel knows no such suite.
    #[error("this kernel's MACsec has no {suite}: {why}")]
    NoSuite {
        /// The suite.
        suite: CipherSuite,
        /// The kernel's words.
        why: String,
    },
    /// The kernel refused something else.
    #[error("making the MACsec interface {name}: {why}")]
    Refused {
        /// The secure interface.
        name: String,
        /// The kernel's words.
        why: String,
    },
    /// The SecY refuses its settings.
    #[error(transparent)]
    Settings(#[from] SecyError),
}

impl From<Failure> for KernelStartError {
    fn from(failure: Failure) -> Self {
        match failure.errno() {
            Some(Errno::EPERM) => Self::NotPermitted,
            _ => Self::Ask(failure.to_string()),
        }
    }
}

impl From<io::Error> for KernelStartError {
    fn from(error: io::Error) -> Self {
        Self::Ask(error.to_string())
    }
}

/// Tells whether the running kernel has MACsec; asking loads its module where that is there.
///
/// # Errors
///
/// [`KernelStartError::NoMacsec`] where it has none, or why it could not be asked.
pub fn available() -> Result<(), KernelStartError> {
    let socket = KernelSocket::open(NETLINK_GENERIC)?;
    family(&mut Conversation::new(Box::new(socket))).map(|_| ())
}

/// Opens both sockets, in the network namespace of this thread.
pub(super) fn sockets() -> io::Result<(Box<dyn Netlink>, Box<dyn Netlink>)> {
    let open = |protocol| KernelSocket::open(protocol).map(|socket| Box::new(socket) as _);
    Ok((open(NETLINK_ROUTE)?, open(NETLINK_GENERIC)?))
}

/// Finds the number of the generic netlink family.
pub(super) fn family(generic: &mut Conversation) -> Result<u16, KernelStartError> {
    let mut family = None;
    let request = || {
        Request::generic(GENL_ID_CTRL, CTRL_CMD_GETFAMILY, 1, 0)
            .text(CTRL_ATTR_FAMILY_NAME, FAMILY_NAME)
    };
    let result = generic.ask(request, |message| {
        let attributes = Attributes::after(message.payload, GENERIC_HEADER_LEN);
        family = family.or(attributes.array(CTRL_ATTR_FAMILY_ID).map(u16::from_ne_bytes));
    });
    match result {
        Ok(()) => family.ok_or(KernelStartError::NoMacsec),
        Err(failure) if failure.errno() == Some(Errno::ENOENT) => Err(KernelStartError::NoMacsec),
        Err(failure) => Err(failure.into()),
    }
}

/// Lists the SecYs of this network namespace.
pub(super) fn secys(generic: &mut Conversation, family: u16) -> Result<Vec<Secy>, Failure> {
    let request = |flags| Request::generic(family, MACSEC_CMD_GET_TXSC, FAMILY_VERSION, flags);
    let read = |message: &Message<'_>| Some(Secy::read(message));
    // One that cannot be read might be ours, and is not to be taken for gone.
    let all: Option<Vec<_>> = generic.list(request, read)?.into_iter().collect();
    all.ok_or_else(|| Failure::Unanswered(io::Error::other("a SecY that cannot be read")))
}

/// A secure interface, and whether we have made it just now.
pub(super) struct Taken {
    pub(super) secy: Secy,
    pub(super) link: Link,
    pub(super) made: bool,
}

/// Takes up the secure interface that is there, or makes it. One of our name on our parent that
/// cannot serve is made anew, because neither SCI nor suite of a MACsec interface can change.
pub(super) fn take(
    route: &mut Conversation,
    generic: &mut Conversation,
    family: u16,
    plan: &Plan<'_>,
    parent: &str,
    suites: &[CipherSuite],
) -> Result<Taken, KernelStartError> {
    let Plan { name, parent: parent_index, sci, .. } = *plan;
    if let Some(link) = link::find(route, Which::Name(name))? {
        check_name(route, &link, parent_index)?;
        let seen = secys(generic, family)?;
        let serves = |secy: &Secy| {
            secy.sci == sci
                && secy.icv_len == ICV_LEN
                && secy.suite.is_some_and(|suite| suites.contains(&suite))
        };
        match seen.into_iter().find(|secy| secy.index == link.index) {
            Some(secy) if serves(&secy) => return Ok(Taken { secy, link, made: false }),
            _ => link::delete(route, link.index)?,
        }
    }
    let made = match link::create(route, plan) {
        Ok(()) => made(route, generic, family, name),
        Err(failure @ Failure::Unanswered(_)) => {
            let why = failure.to_string();
            Err(KernelStartError::Refused { name: name.to_owned(), why })
        }
        Err(failure) => return Err(refusal(route, generic, family, plan, parent, &failure)),
    };
    if made.is_err()
        && let Ok(Some(link)) = link::find(route, Which::Name(name))
        && link.kind == FAMILY_NAME
        && link.parent == Some(parent_index)
    {
        // Where that fails too, the next start takes it up.
        let _ = link::delete(route, link.index);
    }
    made
}

/// Finds the secure interface that was just made.
fn made(
    route: &mut Conversation,
    generic: &mut Conversation,
    family: u16,
    name: &str,
) -> Result<Taken, KernelStartError> {
    let link = link::find(route, Which::Name(name))?;
    let secys = secys(generic, family)?;
    let secy = |link: &Link| secys.into_iter().find(|secy| secy.index == link.index);
    link.and_then(|link| Some(Taken { secy: secy(&link)?, link, made: true })).ok_or_else(|| {
        let why = "it was gone as soon as it was made".to_owned();
        KernelStartError::Refused { name: name.to_owned(), why }
    })
}

fn check_name(
    route: &mut Conversation,
    link: &Link,
    parent_index: u32,
) -> Result<(), KernelStartError> {
    let taken = |what| Err(KernelStartError::NameTaken { name: link.name.clone(), what });
    if link.kind != FAMILY_NAME {
        return taken(match link.kind.as_str() {
            "" => "no MACsec interface".to_owned(),
            kind => format!("an interface of kind {kind}"),
        });
    }
    match link.parent {
        Some(index) if index == parent_index => Ok(()),
        Some(index) => {
            let other = link::find(route, Which::Index(index))?;
            let other = other.map_or_else(|| format!("interface {index}"), |other| other.name);
            taken(format!("a MACsec interface on {other}"))
        }
        None => taken("a MACsec interface on one in another network namespace".to_owned()),
    }
}

/// Finds the words for why the kernel would not make a secure interface.
fn refusal(
    route: &mut Conversation,
    generic: &mut Conversation,
    family: u16,
    plan: &Plan<'_>,
    parent: &str,
    failure: &Failure,
) -> KernelStartError {
    let (parent, name) = (parent.to_owned(), plan.name.to_owned());
    match failure.errno() {
        Some(Errno::EPERM) => KernelStartError::NotPermitted,
        Some(Errno::EBUSY) => {
            let seen = secys(generic, family).unwrap_or_default();
            let same: Vec<_> = seen.iter().filter(|secy| secy.sci == plan.sci).collect();
            let on_parent = same.iter().find_map(|secy| {
                let link = link::find(route, Which::Index(secy.index)).ok().flatten()?;
                (link.parent == Some(plan.parent)).then_some(link.name)
            });
            let sci = plan.sci;
            match on_parent {
                Some(other) => KernelStartError::SciTaken { parent, sci, by: format!(": {other}") },
                None if has_secys(route, &seen, plan.parent) => {
                    let by = ", perhaps in another network namespace".to_owned();
                    KernelStartError::SciTaken { parent, sci, by }
                }
                None => KernelStartError::ParentBusy { parent },
            }
        }
        // The default suite is in every kernel's MACsec.
        Some(Errno::EINVAL) if plan.suite != CipherSuite::GcmAes128 => {
            KernelStartError::NoSuite { suite: plan.suite, why: failure.to_string() }
        }
        Some(Errno::EOPNOTSUPP) => KernelStartError::NoMacsec,
        _ => KernelStartError::Refused { name, why: failure.to_string() },
    }
}

/// Tells whether any MACsec interface stands on the parent: then it is theirs, and not a bridge's.
fn has_secys(route: &mut Conversation, seen: &[Secy], parent: u32) -> bool {
    let mut links =
        seen.iter().filter_map(|secy| link::find(route, Which::Index(secy.index)).ok().flatten());
    links.any(|link| link.parent == Some(parent))
}

/// Has the work done where it is wanted, as far as the machine can, and says where it is done now
/// and why not elsewhere.
pub(super) fn offload(
    route: &mut Conversation,
    generic: &mut Conversation,
    family: u16,
    link: &Link,
    now: u8,
    wanted: Offload,
) -> (Offload, Option<String>) {
    let now = placed(now);
    let order: &[Offload] = match wanted {
        Offload::Off => &[Offload::Off],
        Offload::Phy => &[Offload::Phy, Offload::Off],
        Offload::Mac => &[Offload::Mac, Offload::Off],
        Offload::Auto => &[Offload::Mac, Offload::Phy, Offload::Off],
    };
    if order.first() == Some(&now) {
        return (now, None);
    }
    let index = link.index;
    // The kernel changes it on an interface that is down, and in no other state.
    if link.up
        && let Err(failure) = link::set_up(route, index, false)
    {
        return (now, Some(failure.to_string()));
    }
    let mut why: Option<String> = None;
    for place in order {
        let kind = match place {
            Offload::Phy => OFFLOAD_PHY,
            Offload::Mac => OFFLOAD_MAC,
            Offload::Off | Offload::Auto => OFFLOAD_OFF,
        };
        let request = Request::generic(family, MACSEC_CMD_UPD_OFFLOAD, FAMILY_VERSION, 0)
            .u32(MACSEC_ATTR_IFINDEX, index)
            .nest(MACSEC_ATTR_OFFLOAD, |of| of.u8(MACSEC_OFFLOAD_ATTR_TYPE, kind));
        match generic.tell(request) {
            Ok(()) => break,
            Err(failure) => why = why.or(Some(format!("{place}: {failure}"))),
        }
    }
    if link.up {
        // Where that fails it shows: the interface is down.
        let _ = link::set_up(route, index, true);
    }
    let seen = secys(generic, family).unwrap_or_default();
    let secy = seen.iter().find(|secy| secy.index == index);
    let now = secy.map_or(now, |secy| placed(secy.offload));
    if wanted != Offload::Auto && now != wanted && why.is_none() {
        why = Some(format!("{wanted}: accepted by the kernel, and not done"));
    }
    (now, why.filter(|_| now != *order.first().unwrap_or(&Offload::Off)))
}

/// Who does the work by the kernel's number.
pub(super) fn placed(kind: u8) -> Offload {
    match kind {
        OFFLOAD_PHY => Offload::Phy,
        OFFLOAD_MAC => Offload::Mac,
        _ => Offload::Off,
    }
}
