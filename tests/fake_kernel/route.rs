//! The slice of rtnetlink that MACsec interfaces need.

use super::attributes::{Attributes, Short};
use super::numbers::{
    GCM_AES_128, GCM_AES_128_LEGACY, GCM_AES_256, GCM_AES_XPN_128, GCM_AES_XPN_256, NLM_F_CREATE,
    NLM_F_EXCL, NLM_F_REPLACE, XPN_WINDOW_MAX, link as number, oper,
};
use super::state::{Kind, Link, Refusal, Secy, State, secure_mtu};

/// The length of `struct ifinfomsg`.
pub(super) const INFO_LEN: usize = 16;
const IFF_UP: u32 = 1;
/// IFLA_INFO_KIND and IFLA_INFO_DATA.
const INFO_KIND: u16 = 1;
const INFO_DATA: u16 = 2;
/// The largest MTU of any interface, and the least of an Ethernet one.
const MTU_MAX: u32 = 65535;
const MTU_MIN: u32 = 68;

/// A request about one interface.
struct Request<'a> {
    index: u32,
    flags: u32,
    change: u32,
    attributes: Attributes<'a>,
    name: Option<String>,
    kind: Option<String>,
    data: Option<Attributes<'a>>,
}

impl<'a> Request<'a> {
    fn read(body: &'a [u8]) -> Result<Self, Refusal> {
        let (info, attributes) = body.split_at_checked(INFO_LEN).ok_or(libc::EINVAL)?;
        let word = |at: usize| info.get(at..).and_then(|rest| rest.first_chunk().copied());
        let [index, flags, change] = [4, 8, 12].map(|at| word(at).map_or(0, u32::from_ne_bytes));
        let attributes = Attributes::parse(attributes);
        let name = attributes.text(libc::IFLA_IFNAME).filter(|name| !name.is_empty());
        let info = attributes.nest(libc::IFLA_LINKINFO).unwrap_or_default();
        let (kind, data) = (info.text(INFO_KIND), info.nest(INFO_DATA));
        Ok(Self { index, flags, change, attributes, name, kind, data })
    }

    /// The interface that it is about.
    fn find(&self, state: &State) -> Option<u32> {
        let by_name = || state.named(self.name.as_deref()?);
        let found = if self.index > 0 { state.at(self.index) } else { by_name() };
        found.map(|link| link.index)
    }

    fn names_any(&self) -> bool {
        self.index > 0 || self.name.is_some()
    }
}

const TOO_SHORT: Refusal = Refusal::saying(libc::ERANGE, "Attribute failed policy validation");

impl From<Short> for Refusal {
    fn from(_: Short) -> Self {
        TOO_SHORT
    }
}

/// RTM_GETLINK of one interface.
pub(super) fn get_link(state: &State, body: &[u8]) -> Result<u32, Refusal> {
    let request = Request::read(body)?;
    if !request.names_any() {
        return Err(libc::EINVAL.into());
    }
    request.find(state).ok_or_else(|| libc::ENODEV.into())
}

/// RTM_DELLINK.
pub(super) fn delete_link(state: &mut State, body: &[u8]) -> Result<(), Refusal> {
    let request = Request::read(body)?;
    if !state.quirks.permitted {
        return Err(libc::EPERM.into());
    }
    if !request.names_any() {
        return Err(libc::EINVAL.into());
    }
    let index = request.find(state).ok_or(libc::ENODEV)?;
    if state.at(index).and_then(Link::secy).is_none() {
        return Err(libc::EOPNOTSUPP.into());
    }
    state.remove(index);
    Ok(())
}

/// RTM_NEWLINK: makes an interface or changes one.
pub(super) fn new_link(state: &mut State, flags: u16, body: &[u8]) -> Result<(), Refusal> {
    let request = Request::read(body)?;
    if !state.quirks.permitted {
        return Err(libc::EPERM.into());
    }
    let macsec = state.quirks.has_macsec && request.kind.as_deref() == Some("macsec");
    if macsec && let Some(data) = &request.data {
        check(data)?;
    }
    if let Some(index) = request.find(state) {
        if flags & NLM_F_EXCL != 0 {
            return Err(libc::EEXIST.into());
        }
        if flags & NLM_F_REPLACE != 0 {
            return Err(libc::EOPNOTSUPP.into());
        }
        if request.kind.is_some() {
            change_kind(state, index, macsec, request.data.as_ref())?;
        }
        return set_link(state, index, &request);
    }
    if flags & NLM_F_CREATE == 0 {
        return Err(libc::ENODEV.into());
    }
    if !macsec {
        return Err(Refusal::saying(libc::EOPNOTSUPP, "Unknown device type"));
    }
    create(state, &request)
}

/// What the driver looks at before anything else.
fn check(data: &Attributes<'_>) -> Result<(), Refusal> {
    for octet in number::ENCODING_SA..=number::OFFLOAD {
        data.u8(octet).or_else(|short| if octet == number::PAD { Ok(None) } else { Err(short) })?;
    }
    data.array::<2>(number::PORT)?;
    data.u32(number::WINDOW)?;
    for wide in [number::SCI, number::CIPHER_SUITE] {
        data.u64(wide)?;
    }
    let flags = [number::ENCRYPT, number::PROTECT, number::INC_SCI, number::ES, number::SCB];
    let flags = flags.into_iter().chain([number::REPLAY_PROTECT]);
    for flag in flags {
        if data.u8(flag)?.is_some_and(|value| value > 1) {
            return Err(libc::EINVAL.into());
        }
    }
    let suite = data.u64(number::CIPHER_SUITE)?.unwrap_or(GCM_AES_128);
    if suite_of(suite).is_none() {
        return Err(libc::EINVAL.into());
    }
    if !(8..=16).contains(&data.u8(number::ICV_LEN)?.unwrap_or(16)) {
        return Err(libc::EINVAL.into());
    }
    let on = |flag| Ok::<_, Short>(data.u8(flag)? == Some(1));
    let (sci, es, scb) = (on(number::INC_SCI)?, on(number::ES)?, on(number::SCB)?);
    if (sci && (es || scb)) || (es && scb) {
        return Err(libc::EINVAL.into());
    }
    let too_high = |attribute, max| Ok::<_, Short>(data.u8(attribute)?.is_some_and(|is| is > max));
    if too_high(number::ENCODING_SA, 3)? || too_high(number::VALIDATION, 2)? {
        return Err(libc::EINVAL.into());
    }
    if on(number::REPLAY_PROTECT)? && data.u32(number::WINDOW)?.is_none() {
        return Err(libc::EINVAL.into());
    }
    Ok(())
}

fn suite_of(number: u64) -> Option<u64> {
    match number {
        GCM_AES_128 | GCM_AES_128_LEGACY => Some(GCM_AES_128),
        GCM_AES_256 | GCM_AES_XPN_128 | GCM_AES_XPN_256 => Some(number),
        _ => None,
    }
}

/// Changes what only the driver knows.
fn change_kind(
    state: &mut State,
    index: u32,
    macsec: bool,
    data: Option<&Attributes<'_>>,
) -> Result<(), Refusal> {
    let offload_by_link = state.quirks.offload_by_link;
    let link = state.at(index).ok_or(libc::ENODEV)?;
    let Some(secy) = link.secy().filter(|_| macsec) else {
        return Err(libc::EOPNOTSUPP.into());
    };
    let Some(data) = data else { return Ok(()) };
    let fixed = [number::SCI, number::PORT, number::ICV_LEN, number::CIPHER_SUITE];
    if fixed.into_iter().any(|attribute| data.has(attribute)) {
        return Err(libc::EINVAL.into());
    }
    let mut changed = secy.clone();
    set_common(&mut changed, data)?;
    if let Some(offload) = data.u8(number::OFFLOAD)?.filter(|_| offload_by_link) {
        check_offload(state, index, offload)?;
        changed.offload = offload;
    }
    if let Some(secy) = state.at_mut(index).and_then(Link::secy_mut) {
        *secy = changed;
    }
    Ok(())
}

/// What can be set at any time.
fn set_common(secy: &mut Secy, data: &Attributes<'_>) -> Result<(), Refusal> {
    let on = |attribute, old| Ok::<_, Short>(data.u8(attribute)?.map_or(old, |value| value == 1));
    if let Some(an) = data.u8(number::ENCODING_SA)? {
        secy.encode_with(an);
    }
    secy.window = data.u32(number::WINDOW)?.unwrap_or(secy.window);
    secy.encrypt = on(number::ENCRYPT, secy.encrypt)?;
    secy.protect = on(number::PROTECT, secy.protect)?;
    secy.include_sci = on(number::INC_SCI, secy.include_sci)?;
    secy.end_station = on(number::ES, secy.end_station)?;
    secy.scb = on(number::SCB, secy.scb)?;
    secy.replay_protect = on(number::REPLAY_PROTECT, secy.replay_protect)?;
    secy.validate = data.u8(number::VALIDATION)?.unwrap_or(secy.validate);
    if data.has(number::WINDOW) && secy.is_xpn() && secy.window > XPN_WINDOW_MAX {
        return Err(libc::EINVAL.into());
    }
    Ok(())
}

/// Whether somebody else can be given a SecY's work, now.
pub(super) fn check_offload(state: &State, index: u32, offload: u8) -> Result<(), Refusal> {
    let link = state.at(index).ok_or(libc::ENODEV)?;
    let secy = link.secy().ok_or(libc::ENODEV)?;
    if secy.offload == offload {
        return Ok(());
    }
    if offload != 0 && !can_offload(state, secy.parent, offload) {
        return Err(libc::EOPNOTSUPP.into());
    }
    if link.up || secy.is_configured() {
        return Err(libc::EBUSY.into());
    }
    Ok(())
}

fn can_offload(state: &State, parent: u32, offload: u8) -> bool {
    let Some(Kind::Parent(parent)) = state.links.get(&parent).map(|link| &link.kind) else {
        return false;
    };
    parent.offloads.contains(&offload)
}

fn create(state: &mut State, request: &Request<'_>) -> Result<(), Refusal> {
    let empty = Attributes::default();
    let data = request.data.as_ref().unwrap_or(&empty);
    let parent = request.attributes.u32(libc::IFLA_LINK)?.ok_or(libc::EINVAL)?;
    let below = state.at(parent).ok_or(libc::ENODEV)?;
    let occupied = match &below.kind {
        Kind::Parent(parent) => parent.occupied,
        // One on the other is as good.
        Kind::Macsec(_) => false,
        Kind::Other => return Err(libc::EINVAL.into()),
    };
    let offload = data.u8(number::OFFLOAD)?.unwrap_or(0);
    if offload != 0 && !can_offload(state, parent, offload) {
        return Err(libc::EOPNOTSUPP.into());
    }
    if occupied {
        return Err(libc::EBUSY.into());
    }
    let mac = request.attributes.array(libc::IFLA_ADDRESS)?.unwrap_or(below.mac);
    let sci = match (data.array(number::SCI)?, data.array::<2>(number::PORT)?) {
        (Some(sci), _) => sci,
        (None, port) => joined(mac, port.unwrap_or([0, 1])),
    };
    if data.has(number::SCI) && data.u8(number::INC_SCI)? == Some(0) {
        return Err(libc::EINVAL.into());
    }
    let name = request.name.as_deref().unwrap_or("macsec0");
    if state.named(name).is_some() {
        return Err(libc::EEXIST.into());
    }
    if state.secys_on(parent).any(|secy| secy.sci == sci) {
        return Err(libc::EBUSY.into());
    }
    let mut secy = Secy::new(parent, sci);
    secy.offload = offload;
    secy.icv_len = data.u8(number::ICV_LEN)?.unwrap_or(secy.icv_len);
    secy.suite = data.u64(number::CIPHER_SUITE)?.and_then(suite_of).unwrap_or(secy.suite);
    set_common(&mut secy, data)?;
    let link = Link {
        index: 0,
        name: name.to_owned(),
        mac,
        mtu: secure_mtu(below.mtu, secy.icv_len),
        up: false,
        carrier: below.carrier,
        link_mode: 0,
        operstate: oper::UNKNOWN,
        elsewhere: false,
        tx_dropped: 0,
        kind: Kind::Macsec(Box::new(secy)),
        stirred: true,
    };
    let index = state.add((request.index > 0).then_some(request.index), link);
    configure(state, index, request)
}

fn joined([a, b, c, d, e, f]: [u8; 6], [high, low]: [u8; 2]) -> [u8; 8] {
    [a, b, c, d, e, f, high, low]
}

/// What is in the message that makes an interface, and is not the driver's: as with a change, but
/// the interface is gone again where it is refused.
fn configure(state: &mut State, index: u32, request: &Request<'_>) -> Result<(), Refusal> {
    let done = set_link(state, index, request);
    if done.is_err() {
        state.remove(index);
    }
    done
}

/// Changes what every interface has, in the kernel's order; what was changed before a refusal
/// stays.
fn set_link(state: &mut State, index: u32, request: &Request<'_>) -> Result<(), Refusal> {
    let Request { attributes, name, flags, change, .. } = request;
    if let Some(mac) = attributes.array(libc::IFLA_ADDRESS)? {
        state.at_mut(index).ok_or(libc::ENODEV)?.mac = mac;
    }
    if let Some(mtu) = attributes.u32(libc::IFLA_MTU)? {
        set_mtu(state, index, mtu)?;
    }
    if let Some(name) = name.as_ref().filter(|_| request.index > 0) {
        rename(state, index, name)?;
    }
    // A mask of zero stands for all flags, unless there are no flags either.
    let mask = if *change == 0 && *flags != 0 { u32::MAX } else { *change };
    if mask & IFF_UP != 0 {
        state.set_up(index, flags & IFF_UP != 0);
    }
    let link = state.at_mut(index).ok_or(libc::ENODEV)?;
    if let Some(wanted) = attributes.u8(libc::IFLA_OPERSTATE)? {
        link.set_operstate(wanted);
    }
    link.link_mode = attributes.u8(libc::IFLA_LINKMODE)?.unwrap_or(link.link_mode);
    Ok(())
}

fn set_mtu(state: &mut State, index: u32, mtu: u32) -> Result<(), Refusal> {
    let link = state.at(index).ok_or(libc::ENODEV)?;
    let secy = link.secy();
    if mtu > MTU_MAX {
        return Err(Refusal::saying(libc::EINVAL, "mtu greater than device maximum"));
    }
    if secy.is_none() && mtu < MTU_MIN {
        return Err(Refusal::saying(libc::EINVAL, "mtu less than device minimum"));
    }
    let below = secy.and_then(|secy| Some((state.links.get(&secy.parent)?, secy.icv_len)));
    let max = below.map_or(MTU_MAX, |(below, icv_len)| secure_mtu(below.mtu, icv_len));
    if mtu > max {
        return Err(libc::ERANGE.into());
    }
    if let Some(link) = state.at_mut(index) {
        link.mtu = mtu;
    }
    state.follow(index);
    Ok(())
}

fn rename(state: &mut State, index: u32, name: &str) -> Result<(), Refusal> {
    if state.named(name).is_some_and(|other| other.index != index) {
        return Err(libc::EEXIST.into());
    }
    let link = state.at_mut(index).ok_or(libc::ENODEV)?;
    if link.name != name && link.up {
        return Err(libc::EBUSY.into());
    }
    name.clone_into(&mut link.name);
    Ok(())
}
