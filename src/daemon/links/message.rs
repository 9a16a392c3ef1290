//! What the kernel says of interfaces: just enough of rtnetlink(7) to follow them.
//!
//! Only what is needed is read, so that nothing a later kernel adds can hide an interface.

use crate::ident::MacAddress;
use crate::port::task::LinkInfo;

/// One message.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Message {
    /// An interface is like this.
    Link {
        name: String,
        info: LinkInfo,
        /// It is part of the answer to [`DUMP`].
        dumped: bool,
    },
    /// The interface of this index is gone.
    Gone(u32),
    /// The answer to [`DUMP`] is complete.
    Done {
        /// Interfaces changed while it was put together.
        torn: bool,
    },
    /// The kernel refused [`DUMP`].
    Refused,
}

/// Asks for all interfaces: a header of type RTM_GETLINK and an interface description of zeros.
pub(super) fn dump() -> [u8; 32] {
    let length: u32 = 32;
    let flags = number(libc::NLM_F_REQUEST | libc::NLM_F_DUMP);
    let mut message = [0; 32];
    let header = length.to_ne_bytes().into_iter();
    let header = header.chain(libc::RTM_GETLINK.to_ne_bytes()).chain(flags.to_ne_bytes());
    for (to, from) in message.iter_mut().zip(header) {
        *to = from;
    }
    message
}

/// Cuts what the socket gave into messages; of no use are those about anything else.
pub(super) fn messages(mut octets: &[u8]) -> impl Iterator<Item = Message> {
    std::iter::from_fn(move || {
        loop {
            let (kind, flags, payload, rest) = split(octets)?;
            octets = rest;
            if let Some(message) = read(kind, flags, payload) {
                return Some(message);
            }
        }
    })
}

/// Splits off the first message: its type, its flags and its payload.
fn split(octets: &[u8]) -> Option<(u16, u16, &[u8], &[u8])> {
    let (header, _) = octets.split_first_chunk::<16>()?;
    let [a, b, c, d, kind_a, kind_b, flags_a, flags_b, ..] = *header;
    let length = usize::try_from(u32::from_ne_bytes([a, b, c, d])).ok()?;
    let payload = octets.get(16..length)?;
    let rest = octets.get(length.next_multiple_of(ALIGNMENT)..).unwrap_or_default();
    let [kind, flags] = [[kind_a, kind_b], [flags_a, flags_b]].map(u16::from_ne_bytes);
    Some((kind, flags, payload, rest))
}

fn read(kind: u16, flags: u16, payload: &[u8]) -> Option<Message> {
    let has = |flag: i32| flags & number(flag) != 0;
    if kind == number(libc::NLMSG_DONE) {
        return Some(Message::Done { torn: has(libc::NLM_F_DUMP_INTR) });
    }
    if kind == number(libc::NLMSG_ERROR) {
        return Some(Message::Refused);
    }
    let (description, attributes) = payload.split_first_chunk::<16>()?;
    let [family, _, type_a, type_b, index @ .., f0, f1, f2, f3, _, _, _, _] = *description;
    // A bridge speaks of its ports in the same words, and of nothing that matters here.
    if family != ANY_FAMILY {
        return None;
    }
    let index = u32::from_ne_bytes(index);
    match kind {
        libc::RTM_DELLINK => Some(Message::Gone(index)),
        libc::RTM_NEWLINK => {
            let is_ethernet = u16::from_ne_bytes([type_a, type_b]) == libc::ARPHRD_ETHER;
            let interface_flags = u32::from_ne_bytes([f0, f1, f2, f3]);
            let carrier = (libc::IFF_UP | libc::IFF_LOWER_UP).cast_unsigned();
            let mut name = String::new();
            let mut info = LinkInfo {
                index,
                address: MacAddress([0; 6]),
                mtu: 0,
                carrier: interface_flags & carrier == carrier,
            };
            for (attribute, value) in Attributes(attributes) {
                match (attribute, value) {
                    (NAME, value) => {
                        let text = value.strip_suffix(&[0]).unwrap_or(value);
                        name = String::from_utf8_lossy(text).into_owned();
                    }
                    (MTU, &[a, b, c, d]) => info.mtu = u32::from_ne_bytes([a, b, c, d]),
                    (ADDRESS, &[a, b, c, d, e, f]) if is_ethernet => {
                        info.address = MacAddress([a, b, c, d, e, f]);
                    }
                    _ => {}
                }
            }
            Some(Message::Link { name, info, dumped: has(libc::NLM_F_MULTI) })
        }
        _ => None,
    }
}

/// Walks over attributes: length, type, value, each beginning at a multiple of four.
struct Attributes<'a>(&'a [u8]);

impl<'a> Iterator for Attributes<'a> {
    type Item = (u16, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let (&[length_a, length_b, kind_a, kind_b], _) = self.0.split_first_chunk::<4>()?;
        let length = usize::from(u16::from_ne_bytes([length_a, length_b]));
        let value = self.0.get(4..length)?;
        self.0 = self.0.get(length.next_multiple_of(ALIGNMENT)..).unwrap_or_default();
        Some((u16::from_ne_bytes([kind_a, kind_b]), value))
    }
}

/// NLMSG_ALIGNTO and RTA_ALIGNTO of the kernel's headers.
const ALIGNMENT: usize = 4;
/// AF_UNSPEC, as one octet.
const ANY_FAMILY: u8 = 0;
const ADDRESS: u16 = 1;
const NAME: u16 = 3;
const MTU: u16 = 4;

/// The headers declare types and flags wider than the 16 bits that they have in a message.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
const fn number(wide: i32) -> u16 {
    wide as u16
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An RTM_NEWLINK as a kernel sent it (shortened by its statistics and options): `eth1`, index
    /// 7, 02:00:00:00:00:07, MTU 9000.
    fn link(kind: u16, flags: u16, family: u8, interface_flags: u32) -> Vec<u8> {
        let mut octets = vec![0; 16];
        octets.extend([family, 0, 1, 0, 7, 0, 0, 0]);
        octets.extend(interface_flags.to_le_bytes());
        octets.extend([0; 4]);
        octets.extend([9, 0, 3, 0, b'e', b't', b'h', b'1', 0, 0, 0, 0]);
        octets.extend([8, 0, 4, 0, 0x28, 0x23, 0, 0]);
        octets.extend([10, 0, 1, 0, 2, 0, 0, 0, 0, 7, 0, 0]);
        // Of a kind that does not exist yet.
        octets.extend([5, 0, 0xff, 0x3f, 1, 0, 0, 0]);
        let length = u32::try_from(octets.len()).unwrap();
        octets[..4].copy_from_slice(&length.to_le_bytes());
        octets[4..6].copy_from_slice(&kind.to_le_bytes());
        octets[6..8].copy_from_slice(&flags.to_le_bytes());
        octets
    }

    fn info(carrier: bool) -> LinkInfo {
        LinkInfo { index: 7, address: MacAddress([2, 0, 0, 0, 0, 7]), mtu: 9000, carrier }
    }

    fn all(octets: &[u8]) -> Vec<Message> {
        messages(octets).collect()
    }

    #[test]
    fn a_link_is_read_with_its_name_address_and_mtu() {
        let expected = Message::Link { name: "eth1".to_owned(), info: info(true), dumped: false };
        assert_eq!(all(&link(16, 0, 0, 0x1_1043)), [expected]);
    }

    #[test]
    fn a_carrier_takes_a_link_that_is_up_and_enabled() {
        for (flags, carrier) in [(0x1_0001, true), (0x1_0000, false), (0x1, false), (0x1043, false)]
        {
            let expected =
                Message::Link { name: "eth1".to_owned(), info: info(carrier), dumped: true };
            assert_eq!(all(&link(16, 2, 0, flags)), [expected], "{flags:#x}");
        }
    }

    #[test]
    fn several_messages_come_in_one_piece() {
        let mut octets = link(17, 0, 0, 0);
        octets.extend([20, 0, 0, 0, 3, 0, 0x12, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(all(&octets), [Message::Gone(7), Message::Done { torn: true }]);
    }

    #[test]
    fn a_bridge_that_lets_a_port_go_does_not_make_it_vanish() {
        assert_eq!(all(&link(17, 0, 7, 0)), []);
    }

    #[test]
    fn what_is_cut_off_is_passed_over_without_a_panic() {
        let whole = link(16, 0, 0, 0x1_1043);
        for length in 0..whole.len() {
            assert!(all(&whole[..length]).is_empty(), "{length}");
        }
        // A length of zero would be an endless loop.
        assert_eq!(all(&[0; 64]), []);
        let mut bad = whole;
        bad[32..34].copy_from_slice(&[0, 0]);
        assert_eq!(all(&bad).len(), 1);
    }
}
