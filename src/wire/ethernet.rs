//! What of Ethernet the rest needs: where things stand in a frame without a VLAN tag.

/// The EtherType of EAPOL (802.1X-2020 11.1).
pub const ETHERTYPE_EAPOL: u16 = 0x888e;
/// An EtherType under which MKPDUs get through where EAPOL's is kept back.
pub const ETHERTYPE_CARRIED: u16 = 0x876f;
/// The EtherType of MACsec (802.1AE-2018 9.8).
pub const ETHERTYPE_MACSEC: u16 = 0x88e5;
/// The octets of both addresses.
pub const ADDRESSES_LEN: usize = 12;
/// The octets of both addresses and the EtherType.
pub const HEADER_LEN: usize = 14;
