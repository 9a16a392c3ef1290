//! What the kernel says of interfaces, as far as it matters here.
//!
//! The frame of a message, its header and its attributes are read by `rtnetlink`'s types. A message
//! as a whole is not: the library refuses all of it where one attribute is not of the shape that it
//! knows, and whatever a later kernel changes in some statistics would hide the interface. So each
//! attribute is read for itself, and only those that are needed.

use rtnetlink::packet_core::{
    NLM_F_DUMP, NLM_F_DUMP_INTR, NLM_F_MULTIPART, NLM_F_REQUEST, NLMSG_DONE, NLMSG_ERROR,
    NetlinkBuffer, NetlinkMessage, NlasIterator, ParseableParametrized as _,
};
use rtnetlink::packet_route::link::{
    LinkAttribute, LinkFlags, LinkHeader, LinkLayerType, LinkMessage,
};
use rtnetlink::packet_route::{AddressFamily, RouteNetlinkMessage};

use crate::ident::MacAddress;
use crate::port::task::LinkInfo;

/// One piece of news.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Message {
    /// An interface is like this.
    Link {
        name: String,
        info: LinkInfo,
        /// It is part of the answer to [`dump`].
        dumped: bool,
    },
    /// The interface of this index is gone.
    Gone(u32),
    /// Interfaces changed while the answer to [`dump`] was put together. Whichever message of the
    /// answer follows the change says so, and no other.
    Torn,
    /// The answer to [`dump`] is complete.
    Done,
    /// The kernel refused [`dump`].
    Refused,
}

/// Asks for all interfaces.
pub(super) fn dump() -> Vec<u8> {
    let mut message = NetlinkMessage::from(RouteNetlinkMessage::GetLink(LinkMessage::default()));
    message.header.flags = NLM_F_REQUEST | NLM_F_DUMP;
    message.finalize();
    let mut octets = vec![0; message.buffer_len()];
    message.serialize(&mut octets);
    octets
}

/// Cuts what the socket gave into messages; of no use are those about anything else.
pub(super) fn messages(mut octets: &[u8]) -> impl Iterator<Item = Message> {
    let whole = std::iter::from_fn(move || {
        let message = NetlinkBuffer::new_checked(octets).ok()?;
        let length = usize::try_from(message.length()).ok()?;
        octets = octets.get(length.next_multiple_of(ALIGNMENT)..).unwrap_or_default();
        Some(message)
    });
    whole.flat_map(|message| {
        let torn = (message.flags() & NLM_F_DUMP_INTR != 0).then_some(Message::Torn);
        torn.into_iter().chain(read(&message))
    })
}

fn read(message: &NetlinkBuffer<&[u8]>) -> Option<Message> {
    match message.message_type() {
        NLMSG_DONE => return Some(Message::Done),
        NLMSG_ERROR => return Some(Message::Refused),
        _ => {}
    }
    let header = LinkHeader::parse(message.payload()).ok()?;
    // A bridge speaks of its ports in the same words, and of nothing that matters here.
    if header.interface_family != AddressFamily::Unspec {
        return None;
    }
    match message.message_type() {
        libc::RTM_DELLINK => Some(Message::Gone(header.index)),
        libc::RTM_NEWLINK => {
            let attributes = message.payload().get(HEADER_LEN..).unwrap_or_default();
            let dumped = message.flags() & NLM_F_MULTIPART != 0;
            let (name, info) = link(&header, attributes);
            Some(Message::Link { name, info, dumped })
        }
        _ => None,
    }
}

fn link(header: &LinkHeader, attributes: &[u8]) -> (String, LinkInfo) {
    let mut name = String::new();
    let mut info = LinkInfo {
        index: header.index,
        address: MacAddress([0; 6]),
        mtu: 0,
        carrier: header.flags.contains(LinkFlags::Up | LinkFlags::LowerUp),
    };
    let needed = [libc::IFLA_ADDRESS, libc::IFLA_IFNAME, libc::IFLA_MTU];
    for attribute in NlasIterator::new(attributes).filter_map(Result::ok) {
        if !needed.contains(&attribute.kind()) {
            continue;
        }
        match LinkAttribute::parse_with_param(&attribute, header.interface_family) {
            Ok(LinkAttribute::IfName(text)) => name = text,
            Ok(LinkAttribute::Mtu(mtu)) => info.mtu = mtu,
            Ok(LinkAttribute::Address(octets)) => {
                if let (LinkLayerType::Ether, Ok(octets)) =
                    (header.link_layer_type, octets.try_into())
                {
                    info.address = MacAddress(octets);
                }
            }
            // What cannot be read is as good as not there.
            _ => {}
        }
    }
    (name, info)
}

/// NLMSG_ALIGNTO of the kernel's headers.
const ALIGNMENT: usize = 4;
/// The size of the kernel's `struct ifinfomsg`.
const HEADER_LEN: usize = 16;

#[cfg(test)]
mod tests {
    use rtnetlink::packet_core::Parseable as _;

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
        octets.extend([20, 0, 0, 0, 3, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(all(&octets), [Message::Gone(7), Message::Done]);
    }

    #[test]
    fn a_torn_answer_shows_in_whichever_message_says_so() {
        let torn = all(&link(16, 0x12, 0, 0));
        assert!(
            matches!(torn[..], [Message::Torn, Message::Link { dumped: true, .. }]),
            "{torn:?}"
        );
        let done = [20, 0, 0, 0, 3, 0, 0x12, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        assert_eq!(all(&done), [Message::Torn, Message::Done]);
    }

    /// A header of type 18 with the flags 0x301, and an `ifinfomsg` of zeros (rtnetlink(7)).
    #[test]
    fn the_question_is_for_all_interfaces() {
        let mut expected = [0; 32];
        expected[..8].copy_from_slice(&[32, 0, 0, 0, 18, 0, 1, 3]);
        assert_eq!(dump(), expected);
    }

    /// The library alone would lose the interface: IFLA_LINK has four octets, and IFLA_MTU too.
    #[test]
    fn an_attribute_of_another_shape_costs_no_more_than_itself() {
        let mut octets = link(16, 0, 0, 0x1_1043);
        octets.extend([5, 0, 5, 0, 1, 0, 0, 0, 5, 0, 4, 0, 1, 0, 0, 0]);
        octets[0] += 16;
        let expected = Message::Link { name: "eth1".to_owned(), info: info(true), dumped: false };
        assert_eq!(all(&octets), [expected]);
        let whole = NetlinkBuffer::new_checked(&octets[..]).unwrap();
        let parsed = LinkMessage::parse(whole.payload());
        assert!(parsed.is_err(), "{parsed:?}");
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
