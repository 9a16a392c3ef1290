//! Netlink messages in octets: made from a header and attributes, and taken apart again.
//!
//! A message is built in memory of a fixed size that is wiped with it, because it may carry an SAK;
//! what grows would leave copies behind. Integers are in host order, as netlink has them.

use std::fmt;

use zeroize::Zeroizing;

use super::uapi::{NLM_F_ACK, NLM_F_REQUEST};

/// The size of `struct nlmsghdr`.
pub(super) const HEADER_LEN: usize = 16;
/// The size of `struct genlmsghdr`.
pub(super) const GENERIC_HEADER_LEN: usize = 4;
/// The size of `struct ifinfomsg`.
pub(super) const LINK_HEADER_LEN: usize = 16;
/// The size of an attribute's header.
const ATTRIBUTE_HEADER_LEN: usize = 4;
/// What messages and attributes are padded to.
const ALIGNMENT: usize = 4;
/// The longest request has some 200 octets: an SA with key, salt and names.
const CAPACITY: usize = 512;
/// The bits of an attribute's type that are flags.
const ATTRIBUTE_FLAGS: u16 = 0xc000;
/// `NLA_F_NESTED`.
const NESTED: u16 = 0x8000;

/// A request in the making.
pub(super) struct Request(Zeroizing<Vec<u8>>);

/// Without the octets: there may be a key among them.
impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Request").field(&self.0.len()).finish()
    }
}

impl Request {
    /// Starts a request that the kernel is to acknowledge.
    pub(super) fn new(kind: u16, flags: u16) -> Self {
        let mut request = Self(Zeroizing::new(Vec::with_capacity(CAPACITY)));
        request.put(&[0; 4]);
        request.put(&kind.to_ne_bytes());
        request.put(&(flags | NLM_F_REQUEST | NLM_F_ACK).to_ne_bytes());
        // The sequence number follows with `finish`; the kernel fills in our address.
        request.put(&[0; 8]);
        request
    }

    /// Starts one for a generic netlink family.
    pub(super) fn generic(family: u16, command: u16, version: u8, flags: u16) -> Self {
        let mut request = Self::new(family, flags);
        let [command, ..] = command.to_le_bytes();
        request.put(&[command, version, 0, 0]);
        request
    }

    /// Starts one about an interface; index 0 stands for none.
    pub(super) fn link(kind: u16, flags: u16, index: u32, up: Option<bool>) -> Self {
        let mut request = Self::new(kind, flags);
        let (value, mask) = match up {
            Some(up) => (u32::from(up) * super::uapi::IFF_UP, super::uapi::IFF_UP),
            None => (0, 0),
        };
        request.put(&[0; 4]);
        request.put(&index.to_ne_bytes());
        request.put(&value.to_ne_bytes());
        request.put(&mask.to_ne_bytes());
        request
    }

    fn put(&mut self, octets: &[u8]) {
        debug_assert!(self.0.len() + octets.len() <= CAPACITY, "the buffer would be moved");
        self.0.extend_from_slice(octets);
    }

    /// Adds an attribute.
    pub(super) fn octets(mut self, kind: u16, value: &[u8]) -> Self {
        let length = u16::try_from(ATTRIBUTE_HEADER_LEN + value.len()).unwrap_or(u16::MAX);
        self.put(&length.to_ne_bytes());
        self.put(&kind.to_ne_bytes());
        self.put(value);
        self.pad();
        self
    }

    pub(super) fn u8(self, kind: u16, value: u8) -> Self {
        self.octets(kind, &[value])
    }

    pub(super) fn bool(self, kind: u16, value: bool) -> Self {
        self.octets(kind, &[u8::from(value)])
    }

    pub(super) fn u32(self, kind: u16, value: u32) -> Self {
        self.octets(kind, &value.to_ne_bytes())
    }

    pub(super) fn u64(self, kind: u16, value: u64) -> Self {
        self.octets(kind, &value.to_ne_bytes())
    }

    /// Adds text, with the zero at its end that the kernel wants.
    pub(super) fn text(mut self, kind: u16, value: &str) -> Self {
        let length = u16::try_from(ATTRIBUTE_HEADER_LEN + value.len() + 1).unwrap_or(u16::MAX);
        self.put(&length.to_ne_bytes());
        self.put(&kind.to_ne_bytes());
        self.put(value.as_bytes());
        self.put(&[0]);
        self.pad();
        self
    }

    /// Adds an attribute made of attributes.
    pub(super) fn nest(mut self, kind: u16, inside: impl FnOnce(Self) -> Self) -> Self {
        let start = self.0.len();
        self.put(&[0; 2]);
        self.put(&(kind | NESTED).to_ne_bytes());
        let mut whole = inside(self);
        let length = u16::try_from(whole.0.len() - start).unwrap_or(u16::MAX);
        whole.write(start, &length.to_ne_bytes());
        whole
    }

    fn pad(&mut self) {
        let missing = self.0.len().next_multiple_of(ALIGNMENT) - self.0.len();
        self.put([0; ALIGNMENT].get(..missing).unwrap_or_default());
    }

    fn write(&mut self, at: usize, octets: &[u8]) {
        if let Some(place) = self.0.get_mut(at..at + octets.len()) {
            place.copy_from_slice(octets);
        }
    }

    /// Completes it under this sequence number.
    pub(super) fn finish(mut self, sequence: u32) -> Zeroizing<Vec<u8>> {
        let length = u32::try_from(self.0.len()).unwrap_or(u32::MAX);
        self.write(0, &length.to_ne_bytes());
        self.write(8, &sequence.to_ne_bytes());
        self.0
    }
}

/// A message as received.
#[derive(Clone, Copy, Debug)]
pub(super) struct Message<'a> {
    pub(super) kind: u16,
    pub(super) flags: u16,
    pub(super) sequence: u32,
    pub(super) payload: &'a [u8],
}

/// Cuts a datagram into its messages; stops at what cannot be one.
pub(super) fn messages(mut octets: &[u8]) -> impl Iterator<Item = Message<'_>> {
    std::iter::from_fn(move || {
        let length = usize::try_from(u32::from_ne_bytes(take(octets, 0)?)).ok()?;
        let message = Message {
            kind: u16::from_ne_bytes(take(octets, 4)?),
            flags: u16::from_ne_bytes(take(octets, 6)?),
            sequence: u32::from_ne_bytes(take(octets, 8)?),
            payload: octets.get(HEADER_LEN..length)?,
        };
        octets = octets.get(length.next_multiple_of(ALIGNMENT)..).unwrap_or_default();
        Some(message)
    })
}

fn take<const N: usize>(octets: &[u8], at: usize) -> Option<[u8; N]> {
    octets.get(at..at + N)?.try_into().ok()
}

/// The attributes of a message or of an attribute.
#[derive(Clone, Copy, Debug)]
pub(super) struct Attributes<'a>(pub(super) &'a [u8]);

impl<'a> Attributes<'a> {
    /// Reads the attributes behind a header of this length.
    pub(super) fn after(payload: &'a [u8], header: usize) -> Self {
        Self(payload.get(header..).unwrap_or_default())
    }

    /// Each with its type; stops at what cannot be one.
    pub(super) fn iter(self) -> impl Iterator<Item = (u16, &'a [u8])> {
        let mut octets = self.0;
        std::iter::from_fn(move || {
            let length = usize::from(u16::from_ne_bytes(take(octets, 0)?));
            let kind = u16::from_ne_bytes(take(octets, 2)?) & !ATTRIBUTE_FLAGS;
            let value = octets.get(ATTRIBUTE_HEADER_LEN..length)?;
            octets = octets.get(length.next_multiple_of(ALIGNMENT)..).unwrap_or_default();
            Some((kind, value))
        })
    }

    pub(super) fn get(self, kind: u16) -> Option<&'a [u8]> {
        self.iter().find(|(of, _)| *of == kind).map(|(_, value)| value)
    }

    pub(super) fn nest(self, kind: u16) -> Self {
        Self(self.get(kind).unwrap_or_default())
    }

    /// The attributes inside each element of a list.
    pub(super) fn list(self, kind: u16) -> impl Iterator<Item = Self> {
        self.nest(kind).iter().map(|(_, element)| Self(element))
    }

    pub(super) fn array<const N: usize>(self, kind: u16) -> Option<[u8; N]> {
        self.get(kind)?.try_into().ok()
    }

    pub(super) fn u8(self, kind: u16) -> Option<u8> {
        self.array(kind).map(u8::from_ne_bytes)
    }

    pub(super) fn bool(self, kind: u16) -> Option<bool> {
        self.u8(kind).map(|value| value != 0)
    }

    pub(super) fn u32(self, kind: u16) -> Option<u32> {
        self.array(kind).map(u32::from_ne_bytes)
    }

    pub(super) fn u64(self, kind: u16) -> Option<u64> {
        self.array(kind).map(u64::from_ne_bytes)
    }

    /// A number of 4 or 8 octets.
    pub(super) fn u32_or_u64(self, kind: u16) -> Option<u64> {
        self.u64(kind).or_else(|| self.u32(kind).map(u64::from))
    }

    pub(super) fn text(self, kind: u16) -> Option<String> {
        let octets = self.get(kind)?;
        let end = octets.iter().position(|octet| *octet == 0).unwrap_or(octets.len());
        Some(String::from_utf8_lossy(octets.get(..end).unwrap_or_default()).into_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_reads_as_the_kernel_reads_it() {
        let octets = Request::generic(0x1c, 4, 1, 0)
            .u32(1, 7)
            .nest(3, |sa| sa.u8(1, 2).octets(4, &[9; 5]))
            .finish(0x0a0b_0c0d);
        let expected = [
            &[48, 0, 0, 0, 0x1c, 0, 5, 0, 0x0d, 0x0c, 0x0b, 0x0a, 0, 0, 0, 0][..],
            &[4, 1, 0, 0],
            &[8, 0, 1, 0, 7, 0, 0, 0],
            &[20, 0, 3, 0x80, 5, 0, 1, 0, 2, 0, 0, 0, 9, 0, 4, 0, 9, 9, 9, 9, 9, 0, 0, 0],
        ];
        // The lengths count no padding behind the last attribute of a nest, but that inside.
        let mut expected = expected.concat();
        expected[0] = u8::try_from(expected.len()).unwrap();
        expected[28] = 24;
        assert_eq!(octets.as_slice(), expected);
    }

    #[test]
    fn what_is_cut_short_or_lies_about_its_length_is_not_read() {
        assert_eq!(messages(&[1, 2, 3]).count(), 0);
        let mut octets = Request::new(16, 0).u32(1, 7).finish(1).to_vec();
        let whole: Vec<_> = messages(&octets).collect();
        assert_eq!((whole.len(), whole[0].kind, whole[0].sequence), (1, 16, 1));
        assert_eq!(Attributes(whole[0].payload).u32(1), Some(7));
        octets[0] = 200;
        assert_eq!(messages(&octets).count(), 0);
        octets[0] = 3;
        assert_eq!(messages(&octets).count(), 0);
        assert_eq!(Attributes(&[2, 0, 1, 0]).iter().count(), 0);
        assert_eq!(Attributes(&[9, 0, 1, 0, 1]).iter().count(), 0);
    }

    #[test]
    fn numbers_of_another_width_are_not_taken() {
        let octets = Request::new(16, 0).u32(1, 7).u64(2, 8).text(3, "eth1").finish(1);
        let attributes = Attributes::after(&octets, HEADER_LEN);
        assert_eq!((attributes.u8(1), attributes.u64(1), attributes.u32(2)), (None, None, None));
        assert_eq!((attributes.u32_or_u64(1), attributes.u32_or_u64(2)), (Some(7), Some(8)));
        assert_eq!(attributes.text(3).as_deref(), Some("eth1"));
        assert_eq!(attributes.get(4), None);
    }
}
