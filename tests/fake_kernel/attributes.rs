//! Attributes and message frames, octet by octet: nothing of what the daemon reads and writes
//! with, so that a mistake is not made on both sides.

use std::collections::BTreeMap;

use super::numbers::{NLM_F_ACK_TLVS, NLM_F_CAPPED, NLMSG_ERROR, NLMSGERR_ATTR_MSG};
use super::state::Refusal;

/// The length of a message's header, and of an attribute's.
pub(crate) const HEADER_LEN: usize = 16;
const ATTRIBUTE_LEN: usize = 4;
const ALIGNMENT: usize = 4;
/// What is left of a type without NLA_F_NESTED and NLA_F_NET_BYTEORDER.
const TYPE_MASK: u16 = 0x3fff;

/// The attributes of a nest by number. Of several with one number the last counts, and whatever
/// does not fit is passed over, both as with the kernel's lenient parser.
#[derive(Clone, Debug, Default)]
pub(crate) struct Attributes<'a>(BTreeMap<u16, &'a [u8]>);

/// An attribute is shorter than its type.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Short;

impl<'a> Attributes<'a> {
    pub(crate) fn parse(octets: &'a [u8]) -> Self {
        Self(elements(octets).collect())
    }

    pub(crate) fn has(&self, kind: u16) -> bool {
        self.0.contains_key(&kind)
    }

    pub(crate) fn octets(&self, kind: u16) -> Option<&'a [u8]> {
        self.0.get(&kind).copied()
    }

    /// What is nested in an attribute.
    pub(crate) fn nest(&self, kind: u16) -> Option<Self> {
        self.octets(kind).map(Self::parse)
    }

    /// Text up to its zero octet.
    pub(crate) fn text(&self, kind: u16) -> Option<String> {
        let octets = self.octets(kind)?.split(|&octet| octet == 0).next()?;
        String::from_utf8(octets.to_vec()).ok()
    }

    /// The first octets of an attribute, which may be longer.
    pub(crate) fn array<const N: usize>(&self, kind: u16) -> Result<Option<[u8; N]>, Short> {
        self.octets(kind).map(|octets| octets.first_chunk().copied().ok_or(Short)).transpose()
    }

    pub(crate) fn u8(&self, kind: u16) -> Result<Option<u8>, Short> {
        Ok(self.array(kind)?.map(u8::from_ne_bytes))
    }

    pub(crate) fn u32(&self, kind: u16) -> Result<Option<u32>, Short> {
        Ok(self.array(kind)?.map(u32::from_ne_bytes))
    }

    pub(crate) fn u64(&self, kind: u16) -> Result<Option<u64>, Short> {
        Ok(self.array(kind)?.map(u64::from_ne_bytes))
    }
}

/// The attributes in order, each with its number.
pub(crate) fn elements(mut octets: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    std::iter::from_fn(move || {
        let &[a, b, c, d] = octets.first_chunk()?;
        let length = usize::from(u16::from_ne_bytes([a, b]));
        let payload = octets.get(ATTRIBUTE_LEN..length)?;
        octets = octets.get(length.next_multiple_of(ALIGNMENT)..).unwrap_or_default();
        Some((u16::from_ne_bytes([c, d]) & TYPE_MASK, payload))
    })
}

/// Writes attributes one after the other.
#[derive(Clone, Debug, Default)]
pub(crate) struct Writer(pub(crate) Vec<u8>);

impl Writer {
    pub(crate) fn put(&mut self, kind: u16, octets: &[u8]) -> &mut Self {
        let length = u16::try_from(ATTRIBUTE_LEN + octets.len()).expect("attributes are short");
        self.0.extend(length.to_ne_bytes());
        self.0.extend(kind.to_ne_bytes());
        self.0.extend(octets);
        self.0.resize(self.0.len().next_multiple_of(ALIGNMENT), 0);
        self
    }

    pub(crate) fn u8(&mut self, kind: u16, value: u8) -> &mut Self {
        self.put(kind, &[value])
    }

    pub(crate) fn u32(&mut self, kind: u16, value: u32) -> &mut Self {
        self.put(kind, &value.to_ne_bytes())
    }

    /// A number of 64 bits; machines that cannot read one at an odd place get it at an even one.
    pub(crate) fn u64(&mut self, kind: u16, value: u64, pad: Option<u16>) -> &mut Self {
        self.wide(kind, value.to_ne_bytes(), pad)
    }

    /// Eight octets, padded as a number of 64 bits is.
    pub(crate) fn wide(&mut self, kind: u16, octets: [u8; 8], pad: Option<u16>) -> &mut Self {
        if let Some(pad) = pad
            && self.0.len().is_multiple_of(8)
        {
            self.put(pad, &[]);
        }
        self.put(kind, &octets)
    }

    pub(crate) fn text(&mut self, kind: u16, text: &str) -> &mut Self {
        let mut octets = text.as_bytes().to_vec();
        octets.push(0);
        self.put(kind, &octets)
    }

    pub(crate) fn nest(&mut self, kind: u16, fill: impl FnOnce(&mut Self)) -> &mut Self {
        let mut inner = Self::default();
        fill(&mut inner);
        self.put(kind, &inner.0)
    }
}

/// The header of a message.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Header {
    pub(crate) kind: u16,
    pub(crate) flags: u16,
    pub(crate) sequence: u32,
    pub(crate) port: u32,
}

impl Header {
    /// Reads one message and returns it with what follows it.
    pub(crate) fn read(octets: &[u8]) -> Option<(Self, &[u8], &[u8])> {
        let length = usize::try_from(u32::from_ne_bytes(*octets.first_chunk()?)).ok()?;
        let body = octets.get(HEADER_LEN..length)?;
        let half = |at: usize| Some(u16::from_ne_bytes(*octets.get(at..)?.first_chunk()?));
        let word = |at: usize| Some(u32::from_ne_bytes(*octets.get(at..)?.first_chunk()?));
        let header = Self { kind: half(4)?, flags: half(6)?, sequence: word(8)?, port: word(12)? };
        let rest = octets.get(length.next_multiple_of(ALIGNMENT)..).unwrap_or_default();
        Some((header, body, rest))
    }

    pub(crate) fn write(self, body: &[u8]) -> Vec<u8> {
        let length = u32::try_from(HEADER_LEN + body.len()).expect("messages are short");
        let mut octets = length.to_ne_bytes().to_vec();
        octets.extend(self.kind.to_ne_bytes());
        octets.extend(self.flags.to_ne_bytes());
        octets.extend(self.sequence.to_ne_bytes());
        octets.extend(self.port.to_ne_bytes());
        octets.extend(body);
        octets.resize(octets.len().next_multiple_of(ALIGNMENT), 0);
        octets
    }
}

/// The answer to a request that was carried out, or was not: with the request's header and, as the
/// socket asks for it, the reason in words.
pub(crate) fn acknowledgement(request: &[u8], result: Result<(), Refusal>) -> Option<Vec<u8>> {
    let (header, ..) = Header::read(request)?;
    let refusal = result.err();
    let mut body = refusal.map_or(0, |refusal| -refusal.errno).to_ne_bytes().to_vec();
    body.extend(request.get(..HEADER_LEN)?);
    let mut flags = NLM_F_CAPPED;
    if let Some(text) = refusal.and_then(|refusal| refusal.text) {
        flags |= NLM_F_ACK_TLVS;
        let mut writer = Writer::default();
        writer.text(NLMSGERR_ATTR_MSG, text);
        body.extend(writer.0);
    }
    Some(Header { kind: NLMSG_ERROR, flags, ..header }.write(&body))
}
