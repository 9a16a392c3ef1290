//! Which SSCI each member of a CA has (802.1X-2020 9.10, 802.1AE-2018 10.7.13).

use std::collections::BTreeMap;

use crate::ident::{MemberId, Sci, Ssci};
use crate::wire::LivePeerList;

/// The SSCI of each member that an SAK is for.
pub(super) type Sscis = BTreeMap<MemberId, Ssci>;

/// Numbers the members from 1, the numerically greatest SCI first.
pub(super) fn by_sci(members: impl IntoIterator<Item = (MemberId, Sci)>) -> Sscis {
    let mut members: Vec<_> = members.into_iter().collect();
    members.sort_by_key(|&(_, sci)| std::cmp::Reverse(sci));
    number(members.into_iter().map(|(mi, _)| mi))
}

/// Reads the numbers off a version 3 key server's Live Peer List: its own stands in the list's
/// header, and the members are listed in ascending order, the server left out.
pub(super) fn by_list(server: MemberId, list: &LivePeerList) -> Option<Sscis> {
    let position = usize::from(list.key_server_ssci).checked_sub(1)?;
    if position > list.peers.len() {
        return None;
    }
    let mut order: Vec<_> = list.peers.iter().map(|peer| peer.mi).collect();
    order.insert(position, server);
    Some(number(order))
}

fn number(order: impl IntoIterator<Item = MemberId>) -> Sscis {
    (1..).map(Ssci).zip(order).map(|(ssci, mi)| (mi, ssci)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ident::{MacAddress, MessageNumber};
    use crate::wire::PeerEntry;

    fn mi(octet: u8) -> MemberId {
        MemberId::from_octets([octet; 12])
    }

    fn sci(last: u8) -> Sci {
        Sci::new(MacAddress([2, 0, 0, 0, 0, last]), 1)
    }

    #[test]
    fn the_greatest_sci_has_ssci_1() {
        let sscis = by_sci([(mi(1), sci(1)), (mi(3), sci(3)), (mi(2), sci(2))]);
        assert_eq!(
            sscis.into_iter().collect::<Vec<_>>(),
            [(mi(1), Ssci(3)), (mi(2), Ssci(2)), (mi(3), Ssci(1))]
        );
    }

    #[test]
    fn a_key_servers_list_says_all_numbers_whatever_the_scis() {
        let entry = |octet| PeerEntry { mi: mi(octet), mn: MessageNumber(1) };
        let list =
            |key_server_ssci| LivePeerList { key_server_ssci, peers: vec![entry(7), entry(8)] };

        let sscis = by_list(mi(1), &list(2)).unwrap();
        assert_eq!((sscis[&mi(7)], sscis[&mi(1)], sscis[&mi(8)]), (Ssci(1), Ssci(2), Ssci(3)));
        assert_eq!(by_list(mi(1), &list(0)), None);
        assert_eq!(by_list(mi(1), &list(4)), None);
    }
}
