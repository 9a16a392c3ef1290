//! The generic netlink controller, and the commands of the family `macsec`.

use super::attributes::{Attributes, Short, Writer};
use super::numbers::{OFFLOAD_TYPE, command, control, rxsc, sa, top};
use super::route;
use super::state::{Link, Refusal, RxSc, Sa, Secy, State};

/// The length of `struct genlmsghdr`.
pub(super) const GENERIC_LEN: usize = 4;
/// The number that the family happens to have.
pub(crate) const FAMILY: u16 = 0x1d;
const FAMILY_NAME: &str = "macsec";
/// The lengths of attributes: the least of a packet number, the most of a key.
const PN_MIN: usize = 4;
const KEY_MAX: usize = 128;
const KEY_ID_LEN: usize = 16;
const SALT_LEN: usize = 12;

const INVALID: Refusal = Refusal { errno: libc::EINVAL, text: None };
const NO_SUCH: Refusal = Refusal { errno: libc::ENODEV, text: None };
const BUSY: Refusal = Refusal { errno: libc::EBUSY, text: None };

/// A command with its attributes.
pub(super) fn split(body: &[u8]) -> Result<(u8, Attributes<'_>), Refusal> {
    let (header, attributes) = body.split_at_checked(GENERIC_LEN).ok_or(INVALID)?;
    Ok((*header.first().ok_or(INVALID)?, Attributes::parse(attributes)))
}

/// Answers the controller's CTRL_CMD_GETFAMILY.
pub(super) fn family(state: &State, body: &[u8]) -> Result<Vec<u8>, Refusal> {
    let (command, attributes) = split(body)?;
    if command != control::GETFAMILY {
        return Err(libc::EOPNOTSUPP.into());
    }
    let name = attributes.text(control::FAMILY_NAME).ok_or(INVALID)?;
    if name != FAMILY_NAME || !state.quirks.has_macsec {
        return Err(libc::ENOENT.into());
    }
    let mut writer = Writer(vec![control::NEWFAMILY, 2, 0, 0]);
    writer.text(control::FAMILY_NAME, FAMILY_NAME);
    writer.put(control::FAMILY_ID, &FAMILY.to_ne_bytes());
    writer.u32(control::VERSION, 1).u32(control::HDRSIZE, 0).u32(control::MAXATTR, 9);
    Ok(writer.0)
}

/// Carries out a command of the family, other than the dump.
pub(super) fn execute(state: &mut State, body: &[u8]) -> Result<(), Refusal> {
    let (command, attributes) = split(body)?;
    if !(command::ADD_RXSC..=command::UPD_OFFLOAD).contains(&command) {
        return Err(libc::EOPNOTSUPP.into());
    }
    if !state.quirks.permitted {
        return Err(libc::EPERM.into());
    }
    let index = attributes.u32(top::IFINDEX)?.ok_or(INVALID)?;
    match command {
        command::ADD_RXSC => add_channel(state, index, &attributes),
        command::DEL_RXSC => delete_channel(state, index, &attributes),
        command::UPD_RXSC => update_channel(state, index, &attributes),
        command::ADD_TXSA => add_tx(state, index, &attributes),
        command::DEL_TXSA => delete_tx(state, index, &attributes),
        command::UPD_TXSA => update_tx(state, index, &attributes),
        command::ADD_RXSA => add_rx(state, index, &attributes),
        command::DEL_RXSA => delete_rx(state, index, &attributes),
        command::UPD_RXSA => update_rx(state, index, &attributes),
        _ => update_offload(state, index, &attributes),
    }
}

fn secy(state: &mut State, index: u32) -> Result<&mut Secy, Refusal> {
    state.at_mut(index).and_then(Link::secy_mut).ok_or(NO_SUCH)
}

/// The receive channel that a command is about, and whether it is to be active.
struct ChannelConfig {
    sci: Option<[u8; 8]>,
    active: Option<bool>,
}

impl ChannelConfig {
    fn read(attributes: &Attributes<'_>) -> Result<Self, Refusal> {
        let nest = attributes.nest(top::RXSC_CONFIG).ok_or(INVALID)?;
        let sci = nest.array(rxsc::SCI).map_err(invalid)?;
        Ok(Self { sci, active: switch(&nest, rxsc::ACTIVE)? })
    }
}

/// All that is looked at where a channel, or something in it, is deleted.
fn channel_name(of: &Attributes<'_>) -> Result<Option<[u8; 8]>, Refusal> {
    of.nest(top::RXSC_CONFIG).ok_or(INVALID)?.array(rxsc::SCI).map_err(invalid)
}

fn invalid(_: Short) -> Refusal {
    INVALID
}

/// 0 or 1.
fn switch(nest: &Attributes<'_>, kind: u16) -> Result<Option<bool>, Refusal> {
    match nest.u8(kind).map_err(invalid)? {
        None => Ok(None),
        Some(value @ 0..=1) => Ok(Some(value == 1)),
        Some(_) => Err(INVALID),
    }
}

fn add_channel(state: &mut State, index: u32, of: &Attributes<'_>) -> Result<(), Refusal> {
    let config = ChannelConfig::read(of)?;
    let sci = config.sci.ok_or(INVALID)?;
    let parent = secy(state, index)?.parent;
    if state.secys_on(parent).any(|secy| secy.channel(sci).is_some()) {
        return Err(libc::EEXIST.into());
    }
    let active = config.active.unwrap_or(true);
    let channel = RxSc { sci, active, sas: [const { None }; 4], received: 0 };
    secy(state, index)?.rx.insert(0, channel);
    Ok(())
}

fn delete_channel(state: &mut State, index: u32, of: &Attributes<'_>) -> Result<(), Refusal> {
    let sci = channel_name(of)?.ok_or(INVALID)?;
    let secy = secy(state, index)?;
    let at = secy.rx.iter().position(|channel| channel.sci == sci).ok_or(NO_SUCH)?;
    secy.rx.remove(at);
    Ok(())
}

fn update_channel(state: &mut State, index: u32, of: &Attributes<'_>) -> Result<(), Refusal> {
    let config = ChannelConfig::read(of)?;
    let sci = config.sci.ok_or(INVALID)?;
    let channel = secy(state, index)?.channel_mut(sci).ok_or(NO_SUCH)?;
    channel.active = config.active.unwrap_or(channel.active);
    Ok(())
}

/// What a command says of an association.
struct SaConfig<'a> {
    an: Option<u8>,
    active: Option<u8>,
    pn: Option<&'a [u8]>,
    key: Option<&'a [u8]>,
    key_id: Option<&'a [u8]>,
    ssci: Option<[u8; 4]>,
    salt: Option<&'a [u8]>,
}

impl<'a> SaConfig<'a> {
    /// Reads what is of a length that can be.
    fn read(attributes: &Attributes<'a>) -> Result<Self, Refusal> {
        let nest = attributes.nest(top::SA_CONFIG).ok_or(INVALID)?;
        let within = |kind, lengths: std::ops::RangeInclusive<usize>| match nest.octets(kind) {
            Some(octets) if !lengths.contains(&octets.len()) => Err(INVALID),
            octets => Ok(octets),
        };
        Ok(Self {
            an: nest.u8(sa::AN).map_err(invalid)?,
            active: nest.u8(sa::ACTIVE).map_err(invalid)?,
            pn: within(sa::PN, PN_MIN..=usize::MAX)?,
            key: within(sa::KEY, 0..=KEY_MAX)?,
            key_id: within(sa::KEYID, 0..=KEY_ID_LEN)?,
            ssci: nest.array(sa::SSCI).map_err(invalid)?,
            salt: within(sa::SALT, 0..=SALT_LEN)?,
        })
    }

    /// Reads what can be added or changed to, for a SecY not yet known.
    fn read_values(attributes: &Attributes<'a>) -> Result<Self, Refusal> {
        let config = Self::read(attributes)?;
        let bad_an = config.an.is_some_and(|an| an > 3);
        let bad_pn = config.pn.is_some_and(|pn| pn.iter().all(|octet| *octet == 0));
        if bad_an || bad_pn || config.active.is_some_and(|active| active > 1) {
            return Err(INVALID);
        }
        Ok(config)
    }

    /// What is needed to add one, for a SecY not yet known.
    fn is_whole(&self) -> bool {
        let id = self.key_id.is_some_and(|id| id.len() == KEY_ID_LEN);
        self.an.is_some() && self.key.is_some() && id
    }

    /// A change must not touch the key and what belongs to it.
    fn check_update(&self) -> Result<u8, Refusal> {
        let touches = self.key.is_some() || self.key_id.is_some();
        if touches || self.ssci.is_some() || self.salt.is_some() {
            return Err(INVALID);
        }
        self.an.ok_or(INVALID)
    }

    /// The packet number, where it is as wide as the suite's.
    fn number(&self, secy: &Secy) -> Result<Option<u64>, Refusal> {
        let Some(octets) = self.pn else { return Ok(None) };
        if octets.len() != secy.pn_len() {
            return Err(INVALID);
        }
        let wide = octets.first_chunk().map(|octets| u64::from_ne_bytes(*octets));
        let narrow = octets.first_chunk().map(|octets| u64::from(u32::from_ne_bytes(*octets)));
        Ok(wide.or(narrow))
    }

    /// A new association, where all fits the suite.
    fn build(&self, secy: &Secy) -> Result<Sa, Refusal> {
        let key = self.key.filter(|key| key.len() == secy.key_len()).ok_or(INVALID)?;
        let next_pn = self.number(secy)?.unwrap_or(1);
        let salt = self.salt.and_then(|salt| salt.try_into().ok());
        if secy.is_xpn() && (self.ssci.is_none() || salt.is_none()) {
            return Err(INVALID);
        }
        let key_id = self.key_id.and_then(|id| id.try_into().ok()).ok_or(INVALID)?;
        let (ssci, salt) = if secy.is_xpn() { (self.ssci, salt) } else { (None, None) };
        Ok(Sa {
            active: self.active == Some(1),
            next_pn,
            key: key.to_vec(),
            key_id,
            ssci: ssci.unwrap_or_default(),
            salt: salt.unwrap_or_default(),
            received: 0,
            sent: [0; 2],
        })
    }
}

fn add_tx(state: &mut State, index: u32, of: &Attributes<'_>) -> Result<(), Refusal> {
    let config = SaConfig::read_values(of)?;
    let an = config.an.filter(|_| config.is_whole() && config.pn.is_some()).ok_or(INVALID)?;
    let secy = secy(state, index)?;
    let sa = config.build(secy)?;
    if secy.tx_sa(an).is_some() {
        return Err(BUSY);
    }
    let slot = secy.tx.get_mut(usize::from(an)).ok_or(INVALID)?;
    *slot = Some(sa.clone());
    if sa.active && an == secy.encoding_sa {
        secy.operational = true;
    }
    state.oracle.added(&sa);
    if sa.active {
        state.oracle.switched_on(&sa);
    }
    Ok(())
}

fn delete_tx(state: &mut State, index: u32, of: &Attributes<'_>) -> Result<(), Refusal> {
    let an = SaConfig::read(of)?.an.ok_or(INVALID)?;
    let slot = secy(state, index)?.tx.get_mut(usize::from(an)).ok_or(INVALID)?;
    match slot {
        None => Err(NO_SUCH),
        Some(sa) if sa.active => Err(BUSY),
        Some(_) => {
            *slot = None;
            Ok(())
        }
    }
}

fn update_tx(state: &mut State, index: u32, of: &Attributes<'_>) -> Result<(), Refusal> {
    let config = SaConfig::read_values(of)?;
    let an = config.check_update()?;
    let secy = secy(state, index)?;
    if secy.tx_sa(an).is_none() {
        return Err(NO_SUCH);
    }
    let number = config.number(secy)?;
    if let Some(sa) = secy.tx_sa_mut(an)
        && let Some(number) = number
    {
        sa.next_pn = number;
    }
    let before = secy.tx_sa(an).is_some_and(|sa| sa.active);
    if let Some(active) = config.active {
        secy.activate(an, active == 1);
    }
    let sa = secy.tx_sa(an).ok_or(NO_SUCH)?.clone();
    if number.is_some() {
        state.oracle.tx_number_set(&sa);
    }
    match (before, sa.active) {
        (false, true) => state.oracle.switched_on(&sa),
        (true, false) => state.oracle.switched_off(&sa),
        (false, false) | (true, true) => {}
    }
    Ok(())
}

fn add_rx(state: &mut State, index: u32, of: &Attributes<'_>) -> Result<(), Refusal> {
    let config = SaConfig::read_values(of)?;
    let channel = ChannelConfig::read(of)?;
    let an = config.an.filter(|_| config.is_whole()).ok_or(INVALID)?;
    let secy = secy(state, index)?;
    let sci = channel.sci.ok_or(INVALID)?;
    if secy.channel(sci).is_none() {
        return Err(NO_SUCH);
    }
    let sa = config.build(secy)?;
    let channel = secy.channel_mut(sci).ok_or(NO_SUCH)?;
    let slot = channel.sas.get_mut(usize::from(an)).ok_or(INVALID)?;
    if slot.is_some() {
        return Err(BUSY);
    }
    *slot = Some(sa);
    Ok(())
}

/// The place of the association that a command names.
fn rx_slot<'a>(
    secy: &'a mut Secy,
    channel: &ChannelConfig,
    an: u8,
) -> Result<&'a mut Option<Sa>, Refusal> {
    let channel = secy.channel_mut(channel.sci.ok_or(INVALID)?).ok_or(NO_SUCH)?;
    let slot = channel.sas.get_mut(usize::from(an)).ok_or(INVALID)?;
    if slot.is_none() {
        return Err(NO_SUCH);
    }
    Ok(slot)
}

fn delete_rx(state: &mut State, index: u32, of: &Attributes<'_>) -> Result<(), Refusal> {
    let an = SaConfig::read(of)?.an.ok_or(INVALID)?;
    let channel = ChannelConfig { sci: channel_name(of)?, active: None };
    if an > 3 {
        return Err(INVALID);
    }
    let slot = rx_slot(secy(state, index)?, &channel, an)?;
    if slot.as_ref().is_some_and(|sa| sa.active) {
        return Err(BUSY);
    }
    *slot = None;
    Ok(())
}

fn update_rx(state: &mut State, index: u32, of: &Attributes<'_>) -> Result<(), Refusal> {
    let channel = ChannelConfig::read(of)?;
    let config = SaConfig::read_values(of)?;
    let an = config.check_update()?;
    let secy = secy(state, index)?;
    rx_slot(secy, &channel, an)?;
    let number = config.number(secy)?;
    let slot = rx_slot(secy, &channel, an)?;
    let Some(sa) = slot else { return Err(NO_SUCH) };
    let before = sa.clone();
    sa.active = config.active.map_or(sa.active, |active| active == 1);
    sa.next_pn = number.unwrap_or(sa.next_pn);
    if let Some(number) = number {
        state.oracle.rx_number_set(&before, number);
    }
    Ok(())
}

fn update_offload(state: &mut State, index: u32, of: &Attributes<'_>) -> Result<(), Refusal> {
    let nest = of.nest(top::OFFLOAD).ok_or(INVALID)?;
    secy(state, index)?;
    let offload = nest.u8(OFFLOAD_TYPE).map_err(invalid)?.ok_or(INVALID)?;
    route::check_offload(state, index, offload)?;
    secy(state, index)?.offload = offload;
    Ok(())
}
