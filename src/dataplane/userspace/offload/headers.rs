//! Where the headers of a frame lie.

use crate::wire::ethernet::{ADDRESSES_LEN, HEADER_LEN};

/// A version of IP.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Ip {
    V4,
    V6,
}

/// What IP carries.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Transport {
    Tcp,
    Udp,
}

pub(super) const IPV4_LEN: usize = 20;
pub(super) const IPV6_LEN: usize = 40;
pub(super) const TCP_LEN: usize = 20;
pub(super) const UDP_LEN: usize = 8;

/// In an IPv4 header: where its fields stand.
pub(super) mod ipv4 {
    pub(in super::super) const LENGTH: usize = 2;
    pub(in super::super) const ID: usize = 4;
    pub(in super::super) const FRAGMENT: usize = 6;
    pub(in super::super) const PROTOCOL: usize = 9;
    pub(in super::super) const CHECKSUM: usize = 10;
    pub(in super::super) const ADDRESSES: usize = 12;
}

/// In an IPv6 header.
pub(super) mod ipv6 {
    pub(in super::super) const LENGTH: usize = 4;
    pub(in super::super) const NEXT: usize = 6;
    pub(in super::super) const ADDRESSES: usize = 8;
}

/// In a TCP header.
pub(super) mod tcp {
    pub(in super::super) const SEQUENCE: usize = 4;
    pub(in super::super) const ACKNOWLEDGED: usize = 8;
    pub(in super::super) const OFFSET: usize = 12;
    pub(in super::super) const FLAGS: usize = 13;
    pub(in super::super) const WINDOW: usize = 14;
    pub(in super::super) const CHECKSUM: usize = 16;
    pub(in super::super) const URGENT: usize = 18;

    pub(in super::super) const FIN: u8 = 0x01;
    pub(in super::super) const PSH: u8 = 0x08;
    pub(in super::super) const ACK: u8 = 0x10;
    pub(in super::super) const ECE: u8 = 0x40;
    pub(in super::super) const CWR: u8 = 0x80;
}

/// In a UDP header.
pub(super) mod udp {
    pub(in super::super) const LENGTH: usize = 4;
    pub(in super::super) const CHECKSUM: usize = 6;
}

impl Transport {
    pub(super) const fn protocol(self) -> u8 {
        match self {
            Self::Tcp => 6,
            Self::Udp => 17,
        }
    }

    pub(super) const fn of(protocol: u8) -> Option<Self> {
        match protocol {
            6 => Some(Self::Tcp),
            17 => Some(Self::Udp),
            _ => None,
        }
    }

    /// Where the checksum stands in the header.
    pub(super) const fn checksum(self) -> usize {
        match self {
            Self::Tcp => tcp::CHECKSUM,
            Self::Udp => udp::CHECKSUM,
        }
    }
}

/// Finds the IP header, behind VLAN tags if there are any.
pub(super) fn ip(frame: &[u8]) -> Option<(Ip, usize)> {
    /// A tag of the provider's, one of the customer's, and one more for whoever nests them.
    const TAGS_MAX: usize = 3;
    const TAG_LEN: usize = 4;
    let mut at = ADDRESSES_LEN;
    for _ in 0..=TAGS_MAX {
        match word(frame, at)? {
            0x8100 | 0x88a8 => at += TAG_LEN,
            0x0800 => return Some((Ip::V4, at + HEADER_LEN - ADDRESSES_LEN)),
            0x86dd => return Some((Ip::V6, at + HEADER_LEN - ADDRESSES_LEN)),
            _ => return None,
        }
    }
    None
}

/// The octets of an IPv4 header, its options included, as it says itself; `None` where it is none.
pub(super) fn ipv4_len(frame: &[u8], l3: usize) -> Option<usize> {
    let first = octet(frame, l3)?;
    let len = usize::from(first & 0x0f) * 4;
    (first >> 4 == 4 && len >= IPV4_LEN).then_some(len)
}

/// The octets of a TCP header, its options included, as it says itself; `None` where it is none.
pub(super) fn tcp_len(frame: &[u8], l4: usize) -> Option<usize> {
    let len = usize::from(octet(frame, l4 + tcp::OFFSET)? >> 4) * 4;
    (len >= TCP_LEN).then_some(len)
}

pub(super) fn octet(frame: &[u8], at: usize) -> Option<u8> {
    frame.get(at).copied()
}

pub(super) fn word(frame: &[u8], at: usize) -> Option<u16> {
    frame.get(at..)?.first_chunk().map(|octets| u16::from_be_bytes(*octets))
}

pub(super) fn long(frame: &[u8], at: usize) -> Option<u32> {
    frame.get(at..)?.first_chunk().map(|octets| u32::from_be_bytes(*octets))
}

/// Writes octets at a place of a frame; `None`, and nothing is written, where it ends before.
pub(super) fn put<const N: usize>(frame: &mut [u8], at: usize, octets: [u8; N]) -> Option<()> {
    *frame.get_mut(at..)?.first_chunk_mut()? = octets;
    Some(())
}
