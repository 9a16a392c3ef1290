//! Requests as `ip macsec` would write them, and what comes back: for whoever is not the daemon.

use std::collections::BTreeMap;
use std::io;

use macsecd::dataplane::kernel::Netlink;

use super::attributes::{Attributes, Header, Writer, elements};
use super::numbers::{
    NLM_F_ACK, NLM_F_CREATE, NLM_F_DUMP, NLM_F_DUMP_INTR, NLM_F_EXCL, NLM_F_REQUEST, NLMSG_DONE,
    NLMSG_ERROR, NLMSGERR_ATTR_MSG, command, control, link, rxsc, sa, top,
};

/// Somebody who speaks to a kernel, this one or a real one.
#[derive(Debug)]
pub(crate) struct Client {
    pub(crate) route: Box<dyn Netlink>,
    pub(crate) generic: Box<dyn Netlink>,
    pub(crate) family: u16,
    /// Whether interfaces came or went during some dump.
    pub(crate) torn: bool,
    sequence: u32,
}

/// What an association is to be.
#[derive(Clone, Debug, Default)]
pub(crate) struct SaRequest {
    pub(crate) an: Option<u8>,
    pub(crate) active: Option<u8>,
    pub(crate) pn: Option<Vec<u8>>,
    pub(crate) key: Option<Vec<u8>>,
    pub(crate) key_id: Option<Vec<u8>>,
    pub(crate) ssci: Option<u32>,
    pub(crate) salt: Option<Vec<u8>>,
}

/// An error number with the kernel's words, where it has any.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Refused {
    pub(crate) errno: i32,
    pub(crate) text: Option<String>,
}

type Answer = Result<Vec<Vec<u8>>, Refused>;

impl Client {
    /// Speaks over two sockets. Without the module there is no family.
    pub(crate) fn new(route: Box<dyn Netlink>, generic: Box<dyn Netlink>) -> Self {
        let mut client = Self { route, generic, family: 0, torn: false, sequence: 0 };
        client.family = client.find_family().unwrap_or_default();
        client
    }

    fn find_family(&mut self) -> Option<u16> {
        let mut writer = Writer(vec![control::GETFAMILY, 1, 0, 0]);
        writer.text(control::FAMILY_NAME, "macsec");
        let answer = self.ask_generic(control::ID, NLM_F_ACK, &writer.0).ok()?;
        let family = answer.first()?.get(4..)?;
        let id = Attributes::parse(family).array(control::FAMILY_ID).ok()??;
        Some(u16::from_ne_bytes(id))
    }

    fn ask_generic(&mut self, kind: u16, flags: u16, body: &[u8]) -> Answer {
        self.sequence += 1;
        let header =
            Header { kind, flags: NLM_F_REQUEST | flags, sequence: self.sequence, port: 0 };
        ask(self.generic.as_mut(), header, body, &mut self.torn)
    }

    /// Sends a message about interfaces.
    pub(crate) fn ask_route(&mut self, kind: u16, flags: u16, body: &[u8]) -> Answer {
        self.sequence += 1;
        let header =
            Header { kind, flags: NLM_F_REQUEST | flags, sequence: self.sequence, port: 0 };
        ask(self.route.as_mut(), header, body, &mut self.torn)
    }

    /// Sends a command of the family.
    pub(crate) fn command(&mut self, command: u8, attributes: &Writer) -> Result<(), Refused> {
        let mut body = vec![command, 1, 0, 0];
        body.extend(&attributes.0);
        self.ask_generic(self.family, NLM_F_ACK, &body).map(drop)
    }

    /// `ip macsec add DEV tx sa …`, and the others about a transmit association.
    pub(crate) fn tx(&mut self, command: u8, index: u32, sa: &SaRequest) -> Result<(), Refused> {
        let mut writer = Writer::default();
        writer.u32(top::IFINDEX, index).nest(top::SA_CONFIG, |nest| sa.write(nest));
        self.command(command, &writer)
    }

    /// `ip macsec add DEV rx … sa …`, and the others about a receive association.
    pub(crate) fn rx(
        &mut self,
        command: u8,
        index: u32,
        sci: [u8; 8],
        sa: &SaRequest,
    ) -> Result<(), Refused> {
        let mut writer = Writer::default();
        writer.u32(top::IFINDEX, index).nest(top::SA_CONFIG, |nest| sa.write(nest));
        writer.nest(top::RXSC_CONFIG, |nest| {
            nest.put(rxsc::SCI, &sci);
        });
        self.command(command, &writer)
    }

    /// `ip macsec add DEV rx …`, and the others about a receive channel.
    pub(crate) fn channel(
        &mut self,
        command: u8,
        index: u32,
        sci: [u8; 8],
        active: Option<u8>,
    ) -> Result<(), Refused> {
        let mut writer = Writer::default();
        writer.u32(top::IFINDEX, index).nest(top::RXSC_CONFIG, |nest| {
            nest.put(rxsc::SCI, &sci);
            if let Some(active) = active {
                nest.u8(rxsc::ACTIVE, active);
            }
        });
        self.command(command, &writer)
    }

    /// `ip link add link PARENT NAME type macsec …`.
    pub(crate) fn create(
        &mut self,
        parent: u32,
        name: &str,
        data: impl FnOnce(&mut Writer),
    ) -> Result<u32, Refused> {
        let mut writer = info(0, 0, 0);
        writer.text(libc::IFLA_IFNAME, name).u32(libc::IFLA_LINK, parent);
        kind(&mut writer, data);
        let flags = NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL;
        self.ask_route(libc::RTM_NEWLINK, flags, &writer.0)?;
        self.index(name)
    }

    /// `ip link set NAME type macsec …`.
    pub(crate) fn set(
        &mut self,
        index: u32,
        data: impl FnOnce(&mut Writer),
    ) -> Result<(), Refused> {
        let mut writer = info(index, 0, 0);
        kind(&mut writer, data);
        self.ask_route(libc::RTM_NEWLINK, NLM_F_ACK, &writer.0).map(drop)
    }

    /// `ip link set NAME …`, with flags of the interface and attributes of its own.
    pub(crate) fn set_link(
        &mut self,
        index: u32,
        up: Option<bool>,
        fill: impl FnOnce(&mut Writer),
    ) -> Result<(), Refused> {
        let mut writer = info(index, u32::from(up == Some(true)), u32::from(up.is_some()));
        fill(&mut writer);
        self.ask_route(libc::RTM_NEWLINK, NLM_F_ACK, &writer.0).map(drop)
    }

    /// `ip link del`.
    pub(crate) fn delete(&mut self, index: u32) -> Result<(), Refused> {
        self.ask_route(libc::RTM_DELLINK, NLM_F_ACK, &info(index, 0, 0).0).map(drop)
    }

    /// The index of an interface.
    pub(crate) fn index(&mut self, name: &str) -> Result<u32, Refused> {
        let mut writer = info(0, 0, 0);
        writer.text(libc::IFLA_IFNAME, name);
        let answer = self.ask_route(libc::RTM_GETLINK, NLM_F_ACK, &writer.0)?;
        let index = answer.first().and_then(|body| body.get(4..)?.first_chunk().copied());
        Ok(index.map(u32::from_ne_bytes).expect("an interface has an index"))
    }

    /// What RTM_GETLINK says of an interface: its message without the header.
    pub(crate) fn link(&mut self, index: u32) -> Result<Vec<u8>, Refused> {
        let answer = self.ask_route(libc::RTM_GETLINK, NLM_F_ACK, &info(index, 0, 0).0)?;
        Ok(answer.into_iter().next().expect("an interface is told of"))
    }

    /// What MACSEC_CMD_GET_TXSC says of each MACsec interface: its attributes, by index.
    pub(crate) fn associations(&mut self) -> Result<BTreeMap<u32, Vec<u8>>, Refused> {
        let body = [command::GET_TXSC, 1, 0, 0];
        let answer = self.ask_generic(self.family, NLM_F_DUMP, &body)?;
        let told = answer.into_iter().map(|message| {
            let attributes = message.get(4..).unwrap_or_default().to_vec();
            let index = Attributes::parse(&attributes).u32(top::IFINDEX).ok().flatten();
            (index.expect("each message names an interface"), attributes)
        });
        Ok(told.collect())
    }
}

/// A `struct ifinfomsg`, for attributes to follow.
pub(crate) fn info(index: u32, flags: u32, change: u32) -> Writer {
    let mut body = vec![0; 4];
    for word in [index, flags, change] {
        body.extend(word.to_ne_bytes());
    }
    Writer(body)
}

fn kind(writer: &mut Writer, data: impl FnOnce(&mut Writer)) {
    writer.nest(libc::IFLA_LINKINFO, |info| {
        info.text(1, "macsec").nest(2, data);
    });
}

impl SaRequest {
    fn write(&self, nest: &mut Writer) {
        let octets = [(sa::PN, &self.pn), (sa::KEY, &self.key), (sa::KEYID, &self.key_id)];
        for (kind, value) in [(sa::AN, self.an), (sa::ACTIVE, self.active)] {
            if let Some(value) = value {
                nest.u8(kind, value);
            }
        }
        for (kind, octets) in octets.into_iter().chain([(sa::SALT, &self.salt)]) {
            if let Some(octets) = octets {
                nest.put(kind, octets);
            }
        }
        if let Some(ssci) = self.ssci {
            nest.put(sa::SSCI, &ssci.to_be_bytes());
        }
    }
}

/// Sends one request and waits for all that belongs to it.
fn ask(socket: &mut dyn Netlink, request: Header, body: &[u8], torn: &mut bool) -> Answer {
    let failed = |error: io::Error| Refused {
        errno: error.raw_os_error().unwrap_or(libc::EAGAIN),
        text: None,
    };
    socket.send(&request.write(body)).map_err(failed)?;
    let mut buffer = vec![0; 1 << 16];
    let mut answers = Vec::new();
    loop {
        let length = socket.receive(&mut buffer).map_err(failed)?;
        let mut rest = buffer.get(..length).unwrap_or_default();
        while let Some((header, body, after)) = Header::read(rest) {
            rest = after;
            if header.sequence != request.sequence {
                continue;
            }
            *torn |= header.kind != NLMSG_ERROR && header.flags & NLM_F_DUMP_INTR != 0;
            match header.kind {
                NLMSG_DONE => return Ok(answers),
                NLMSG_ERROR => return error(body).map_or(Ok(answers), Err),
                _ => answers.push(body.to_vec()),
            }
        }
    }
}

/// The refusal in an NLMSG_ERROR, unless it is an acknowledgement.
fn error(body: &[u8]) -> Option<Refused> {
    let errno = -i32::from_ne_bytes(*body.first_chunk().expect("an error has its number"));
    let attributes = body.get(20..).unwrap_or_default();
    let text = elements(attributes).find(|(kind, _)| *kind == NLMSGERR_ATTR_MSG);
    let text = text.map(|(_, text)| String::from_utf8_lossy(text).trim_end_matches('\0').into());
    (errno != 0).then_some(Refused { errno, text })
}

/// The attribute of a MACsec interface's cipher suite.
pub(crate) fn suite(writer: &mut Writer, suite: u64) {
    writer.u64(link::CIPHER_SUITE, suite, None);
}

/// One attribute of an octet.
pub(crate) fn octet(kind: u16, value: u8) -> impl FnOnce(&mut Writer) {
    move |writer| {
        writer.u8(kind, value);
    }
}

/// One attribute of 32 bits.
pub(crate) fn word(kind: u16, value: u32) -> impl FnOnce(&mut Writer) {
    move |writer| {
        writer.u32(kind, value);
    }
}
