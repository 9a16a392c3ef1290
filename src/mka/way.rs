//! How MKPDUs travel: to which group, under which EtherType, with an ICV over which header.
//!
//! Ours go where they are configured to. Some equipment passes only others on; so while nobody
//! answers, every other pair goes the way that a stranger's came, and the one that it hears stays.

use serde::{Deserialize, Serialize};

use crate::ident::MacAddress;
use crate::wire::ethernet::ADDRESSES_LEN;
use crate::wire::{Eapol, EapolEthertype};

/// The way of an MKPDU.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub(super) struct Way {
    pub(super) destination: MacAddress,
    pub(super) ethertype: EapolEthertype,
    /// The ICV covers the usual header, whatever the frame's own is. Some send so.
    pub(super) usual_icv: bool,
}

/// The group address and the EtherType that an ICV may cover in place of the frame's own.
const USUAL: (MacAddress, EapolEthertype) = (MacAddress::PAE_GROUP, EapolEthertype::Eapol);

/// The other groups that MKPDUs are sent to on purpose (802.1X-2020 Table 11-1), and everybody. A
/// destination that is none of them has been damaged on the way.
const OTHERS: [MacAddress; 3] = [
    MacAddress([0x01, 0x80, 0xc2, 0x00, 0x00, 0x00]),
    MacAddress([0x01, 0x80, 0xc2, 0x00, 0x00, 0x0e]),
    MacAddress([0xff; 6]),
];

impl Way {
    /// The way that a frame came, should its ICV cover its own header.
    pub(super) fn of(eapol: &Eapol<'_>) -> Self {
        let Eapol { destination, ethertype, .. } = *eapol;
        Self { destination, ethertype, usual_icv: false }
    }

    /// The octets that an ICV covers where it covers the usual header and the frame has another;
    /// `None` where it has the usual one, or one that nobody sends.
    pub(super) fn usual(self, covered: &[u8]) -> Option<Vec<u8>> {
        let (destination, ethertype) = USUAL;
        let known = self.destination == destination || OTHERS.contains(&self.destination);
        if !known || (self.destination, self.ethertype) == USUAL {
            return None;
        }
        let mut octets = covered.to_vec();
        octets.get_mut(..6)?.copy_from_slice(&destination.0);
        set_ethertype(&mut octets, ethertype);
        Some(octets)
    }
}

/// Puts another EtherType into a frame.
pub(super) fn set_ethertype(frame: &mut [u8], ethertype: EapolEthertype) {
    if let Some(place) = frame.get_mut(ADDRESSES_LEN..ADDRESSES_LEN + 2) {
        place.copy_from_slice(&ethertype.value().to_be_bytes());
    }
}

/// Tells whether the MKPDU of this number goes another way while nobody answers. Pairs of them do,
/// so that of those with and without an ICV Indicator there is one on each way.
pub(super) const fn is_trial(mn: u32) -> bool {
    mn / 2 % 2 == 1
}
