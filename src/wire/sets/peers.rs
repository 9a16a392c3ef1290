//! The Live Peer List and the Potential Peer List (802.1X-2020 11.11.3).

use super::{RawSet, SetFault, SetWriter, kind};
use crate::ident::{MemberId, MessageNumber};
use crate::wire::MkpduTooLong;

/// A member that the sender has heard.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct PeerEntry {
    /// The member's identifier.
    pub mi: MemberId,
    /// The most recent message number that the sender has from it.
    pub mn: MessageNumber,
}

/// The members of which the sender knows that they are alive.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct LivePeerList {
    /// The low octet of the key server's SSCI where it distributes an SAK for an XPN suite, and
    /// then `peers` is in the order of the SSCIs; else 0. Versions 1 and 2 do not know it.
    pub key_server_ssci: u8,
    /// The members.
    pub peers: Vec<PeerEntry>,
}

impl LivePeerList {
    pub(in crate::wire) fn decode(set: &RawSet<'_>) -> Result<Self, SetFault> {
        Ok(Self { key_server_ssci: set.octet2, peers: decode_entries(set.body)? })
    }

    pub(in crate::wire) fn encode(&self, out: &mut SetWriter) -> Result<(), MkpduTooLong> {
        let head = [kind::LIVE_PEER_LIST, self.key_server_ssci, 0];
        out.put(head, &encode_entries(&self.peers))
    }
}

/// Reads the members that the sender has heard but not found alive.
pub(in crate::wire) fn decode_potential(set: &RawSet<'_>) -> Result<Vec<PeerEntry>, SetFault> {
    decode_entries(set.body)
}

/// Writes the members that we have heard but not found alive.
pub(in crate::wire) fn encode_potential(
    peers: &[PeerEntry],
    out: &mut SetWriter,
) -> Result<(), MkpduTooLong> {
    out.put([kind::POTENTIAL_PEER_LIST, 0, 0], &encode_entries(peers))
}

fn decode_entries(body: &[u8]) -> Result<Vec<PeerEntry>, SetFault> {
    let (entries, rest) = body.as_chunks::<16>();
    if !rest.is_empty() {
        return Err(SetFault::Length);
    }
    let decode = |&[mi @ .., a, b, c, d]: &[u8; 16]| PeerEntry {
        mi: MemberId::from_octets(mi),
        mn: MessageNumber(u32::from_be_bytes([a, b, c, d])),
    };
    Ok(entries.iter().map(decode).collect())
}

fn encode_entries(peers: &[PeerEntry]) -> Vec<u8> {
    let mut body = Vec::with_capacity(peers.len() * 16);
    for peer in peers {
        body.extend_from_slice(&peer.mi.octets());
        body.extend_from_slice(&peer.mn.0.to_be_bytes());
    }
    body
}

#[cfg(test)]
mod tests {
    use super::super::tests::{raw, written};
    use super::*;

    const PEER: PeerEntry =
        PeerEntry { mi: MemberId::from_octets([0xab; 12]), mn: MessageNumber(0x0102_0304) };

    #[test]
    fn a_live_list_carries_the_key_servers_ssci_and_its_members_in_order() {
        let other = PeerEntry { mi: MemberId::from_octets([0xcd; 12]), ..PEER };
        let list = LivePeerList { key_server_ssci: 3, peers: vec![PEER, other] };

        let octets = written(|out| list.encode(out));

        assert_eq!(octets[..4], [1, 3, 0, 32]);
        assert_eq!(
            octets[4..20],
            *b"\xab\xab\xab\xab\xab\xab\xab\xab\xab\xab\xab\xab\x01\x02\x03\x04"
        );
        assert_eq!(LivePeerList::decode(&raw(&octets)), Ok(list));
    }

    #[test]
    fn an_empty_list_is_a_list() {
        let octets = written(|out| encode_potential(&[], out));
        assert_eq!(octets, [2, 0, 0, 0]);
        assert_eq!(decode_potential(&raw(&octets)), Ok(vec![]));
    }

    #[test]
    fn a_part_of_an_entry_is_refused() {
        let octets = written(|out| out.put([2, 0, 0], &[0; 17]));
        assert_eq!(decode_potential(&raw(&octets)), Err(SetFault::Length));
        assert_eq!(LivePeerList::decode(&raw(&octets)), Err(SetFault::Length));
    }
}
