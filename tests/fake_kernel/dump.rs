//! What the kernel says of interfaces and of their associations.

use super::attributes::Writer;
use super::generic::FAMILY;
use super::numbers::{
    GCM_AES_128, GCM_AES_128_LEGACY, NLM_F_DUMP_INTR, NLM_F_MULTI, NLMSG_DONE, OFFLOAD_TYPE,
    command, link as number, oper, rxsc, sa, secy as attribute, top,
};
use super::state::{Kind, Link, Quirks, RxSc, Sa, Secy, State};

const IFF_UP: u32 = 1;
const IFF_RUNNING: u32 = 0x40;
const IFF_LOWER_UP: u32 = 0x1_0000;
/// IFF_BROADCAST and IFF_MULTICAST.
const IFF_ALWAYS: u32 = 0x1002;
const ARPHRD_ETHER: u16 = 1;
const ARPHRD_NONE: u16 = 0xfffe;
/// IFLA_STATS64 has 25 counters; the eighth is of frames to send that were dropped.
const STATS64: usize = 25;
const TX_DROPPED: usize = 7;

/// What is being told of.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Subject {
    Links,
    Associations,
}

/// An answer in many pieces, put together while they are fetched.
#[derive(Clone, Debug)]
pub(super) struct Dump {
    pub(super) subject: Subject,
    pub(super) sequence: u32,
    pub(super) port: u32,
    /// How many interfaces have been looked at: where some go meanwhile, others are missed.
    position: usize,
    /// What the generation was when the last message was made.
    generation: Option<u32>,
    /// How many pieces have been made.
    pub(super) pieces: usize,
}

impl Dump {
    pub(super) const fn new(subject: Subject, sequence: u32, port: u32) -> Self {
        Self { subject, sequence, port, position: 0, generation: None, pieces: 0 }
    }

    /// The next datagram, and whether it is the last.
    pub(super) fn next(&mut self, state: &State) -> (Vec<u8>, bool) {
        self.pieces += 1;
        let visible: Vec<_> = state.links.values().filter(|link| !link.elsewhere).collect();
        let mut datagram = Vec::new();
        let mut told = 0;
        for link in visible.into_iter().skip(self.position) {
            let body = match (self.subject, link.secy()) {
                (Subject::Links, _) => Some(link_message(link, state.quirks)),
                (Subject::Associations, Some(secy)) => {
                    Some(secy_message(link.index, secy, state.quirks))
                }
                (Subject::Associations, None) => None,
            };
            if body.is_some() && told == state.quirks.per_datagram {
                break;
            }
            self.position += 1;
            if let Some(body) = body {
                told += 1;
                datagram.extend(self.message(state, self.kind(), &body));
            }
        }
        if told > 0 {
            return (datagram, false);
        }
        (self.message(state, NLMSG_DONE, &[0; 4]), true)
    }

    const fn kind(&self) -> u16 {
        match self.subject {
            Subject::Links => libc::RTM_NEWLINK,
            Subject::Associations => FAMILY,
        }
    }

    /// A message that says whether interfaces came or went since the last one.
    fn message(&mut self, state: &State, kind: u16, body: &[u8]) -> Vec<u8> {
        let before = self.generation.replace(state.generation);
        let torn = before.is_some_and(|before| before != state.generation);
        let flags = NLM_F_MULTI | if torn { NLM_F_DUMP_INTR } else { 0 };
        let Self { sequence, port, .. } = *self;
        super::attributes::Header { kind, flags, sequence, port }.write(body)
    }
}

/// RTM_NEWLINK, as far as it matters here.
pub(super) fn link_message(link: &Link, quirks: Quirks) -> Vec<u8> {
    let hardware = if matches!(link.kind, Kind::Other) { ARPHRD_NONE } else { ARPHRD_ETHER };
    let operstate = if link.up { link.operstate } else { oper::DOWN };
    let flags = IFF_ALWAYS
        | if link.up { IFF_UP } else { 0 }
        | if matches!(operstate, oper::UP | oper::UNKNOWN) { IFF_RUNNING } else { 0 }
        | if link.up && link.carrier { IFF_LOWER_UP } else { 0 };
    let mut body = vec![0, 0];
    body.extend(hardware.to_ne_bytes());
    body.extend(link.index.to_ne_bytes());
    body.extend(flags.to_ne_bytes());
    body.extend([0; 4]);
    let mut writer = Writer(body);
    writer.text(libc::IFLA_IFNAME, &link.name);
    writer.u32(libc::IFLA_TXQLEN, 1000);
    writer.u8(libc::IFLA_OPERSTATE, operstate).u8(libc::IFLA_LINKMODE, link.link_mode);
    writer.u32(libc::IFLA_MTU, link.mtu).u8(libc::IFLA_CARRIER, u8::from(link.carrier));
    writer.put(libc::IFLA_ADDRESS, &link.mac).put(libc::IFLA_BROADCAST, &[0xff; 6]);
    let mut stats = [0_u8; STATS64 * 8];
    if let Some(place) = stats.get_mut(TX_DROPPED * 8..TX_DROPPED * 8 + 8) {
        place.copy_from_slice(&link.tx_dropped.to_ne_bytes());
    }
    writer.put(libc::IFLA_STATS64, &stats);
    if let Kind::Macsec(secy) = &link.kind {
        writer.u32(libc::IFLA_LINK, secy.parent);
        writer.nest(libc::IFLA_LINKINFO, |info| {
            info.text(1, "macsec").nest(2, |data| link_data(data, secy, quirks));
        });
    }
    writer.0
}

fn suite_id(secy: &Secy, quirks: Quirks) -> u64 {
    if secy.suite == GCM_AES_128 && quirks.legacy_id { GCM_AES_128_LEGACY } else { secy.suite }
}

fn link_data(writer: &mut Writer, secy: &Secy, quirks: Quirks) {
    let pad = quirks.pads.then_some(number::PAD);
    writer.wide(number::SCI, secy.sci, pad).u8(number::ICV_LEN, secy.icv_len);
    writer.u64(number::CIPHER_SUITE, suite_id(secy, quirks), pad);
    writer.u8(number::ENCODING_SA, secy.encoding_sa);
    for (kind, on) in [
        (number::ENCRYPT, secy.encrypt),
        (number::PROTECT, secy.protect),
        (number::INC_SCI, secy.include_sci),
        (number::ES, secy.end_station),
        (number::SCB, secy.scb),
        (number::REPLAY_PROTECT, secy.replay_protect),
    ] {
        writer.u8(kind, u8::from(on));
    }
    writer.u8(number::VALIDATION, secy.validate);
    if quirks.offload_by_link {
        writer.u8(number::OFFLOAD, secy.offload);
    }
    if secy.replay_protect {
        writer.u32(number::WINDOW, secy.window);
    }
}

/// A message of MACSEC_CMD_GET_TXSC.
fn secy_message(index: u32, secy: &Secy, quirks: Quirks) -> Vec<u8> {
    let mut writer = Writer(vec![command::GET_TXSC, 1, 0, 0]);
    writer.u32(top::IFINDEX, index);
    writer.nest(top::OFFLOAD, |nest| {
        nest.u8(OFFLOAD_TYPE, secy.offload);
    });
    writer.nest(top::SECY, |nest| secy_nest(nest, secy, quirks));
    writer.nest(top::TXSC_STATS, |nest| counters(nest, &secy.sent, quirks));
    let of_secy = [secy.untagged, 0, 0, 0, 0, 0, 0, 0];
    writer.nest(top::SECY_STATS, |nest| counters(nest, &of_secy, quirks));
    writer.nest(top::TXSA_LIST, |list| {
        for (number, (an, sa)) in (1..).zip(present(&secy.tx)) {
            list.nest(number, |nest| {
                let [protected, encrypted] = sa.sent;
                nest.nest(sa::STATS, |stats| {
                    stats.u32(6, protected).u32(7, encrypted);
                });
                sa_nest(nest, secy, an, sa);
            });
        }
    });
    writer.nest(top::RXSC_LIST, |list| {
        for (number, channel) in (1..).zip(&secy.rx) {
            list.nest(number, |nest| channel_nest(nest, secy, channel, quirks));
        }
    });
    writer.0
}

/// The associations of a channel, with their numbers.
fn present(sas: &[Option<Sa>; 4]) -> impl Iterator<Item = (u8, &Sa)> {
    (0..).zip(sas).filter_map(|(an, sa)| Some((an, sa.as_ref()?)))
}

fn secy_nest(writer: &mut Writer, secy: &Secy, quirks: Quirks) {
    let pad = quirks.pads.then_some(attribute::PAD);
    writer.wide(attribute::SCI, secy.sci, pad);
    writer.u64(attribute::CIPHER_SUITE, suite_id(secy, quirks), pad);
    writer.u8(attribute::ICV_LEN, secy.icv_len).u8(attribute::VALIDATE, secy.validate);
    writer.u8(attribute::ENCODING_SA, secy.encoding_sa);
    for (kind, on) in [
        (attribute::OPER, secy.operational),
        (attribute::PROTECT, secy.protect),
        (attribute::REPLAY, secy.replay_protect),
        (attribute::ENCRYPT, secy.encrypt),
        (attribute::INC_SCI, secy.include_sci),
        (attribute::ES, secy.end_station),
        (attribute::SCB, secy.scb),
    ] {
        writer.u8(kind, u8::from(on));
    }
    if secy.replay_protect {
        writer.u32(attribute::WINDOW, secy.window);
    }
}

fn counters(writer: &mut Writer, values: &[u64], quirks: Quirks) {
    let last = u16::try_from(values.len()).expect("there are few counters");
    for (kind, value) in (1..).zip(values) {
        writer.u64(kind, *value, quirks.pads.then_some(last + 1));
    }
}

fn sa_nest(writer: &mut Writer, secy: &Secy, an: u8, sa: &Sa) {
    writer.u8(sa::AN, an);
    let octets = sa.next_pn.to_le_bytes();
    writer.put(sa::PN, octets.get(..secy.pn_len()).unwrap_or_default());
    writer.put(sa::KEYID, &sa.key_id);
    if secy.is_xpn() {
        writer.put(sa::SSCI, &sa.ssci);
    }
    writer.u8(sa::ACTIVE, u8::from(sa.active));
}

fn channel_nest(writer: &mut Writer, secy: &Secy, channel: &RxSc, quirks: Quirks) {
    let pad = quirks.pads.then_some(rxsc::PAD);
    writer.u8(rxsc::ACTIVE, u8::from(channel.active)).wide(rxsc::SCI, channel.sci, pad);
    let stats = [0, 0, 0, 0, channel.received, 0, 0, 0, 0, 0];
    writer.nest(rxsc::STATS, |nest| counters(nest, &stats, quirks));
    writer.nest(rxsc::SA_LIST, |list| {
        for (number, (an, sa)) in (1..).zip(present(&channel.sas)) {
            list.nest(number, |nest| {
                nest.nest(sa::STATS, |stats| {
                    for kind in 1..=5 {
                        stats.u32(kind, if kind == 1 { sa.received } else { 0 });
                    }
                });
                sa_nest(nest, secy, an, sa);
            });
        }
    });
}
