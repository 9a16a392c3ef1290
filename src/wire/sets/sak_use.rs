//! MACsec SAK Use: which SAKs the sender has and what it does with them (802.1X-2020 Figure 11-10).

use serde::{Deserialize, Serialize};

use super::{RawSet, SetFault, SetWriter, kind};
use crate::ident::{AssociationNumber, KeyId, KeyNumber, MemberId};
use crate::wire::MkpduTooLong;

/// The set in its two forms.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum SakUseSet {
    /// The sender has no MACsec. It always transmits and receives in plain text.
    Unsupported,
    /// The sender has MACsec.
    Keys(SakUse),
}

/// What a sender with MACsec says about its keys.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct SakUse {
    /// The SAK it accepted last.
    pub latest: Option<SakUseKey>,
    /// The one before, while it may still be in use. Many senders name the only SAK here once
    /// they have changed over to it.
    pub old: Option<SakUseKey>,
    /// It transmits in plain text: protectFrames is off.
    pub plain_tx: bool,
    /// It receives in plain text: validateFrames is not Strict.
    pub plain_rx: bool,
    /// It reports its packet numbers often enough to bound the delay of its frames by them.
    pub delay_protect: bool,
}

/// One SAK in use.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct SakUseKey {
    /// Which SAK.
    pub ki: KeyId,
    /// Under which association number.
    pub an: AssociationNumber,
    /// The sender transmits with it.
    pub tx: bool,
    /// The sender receives with it, from all its live peers.
    pub rx: bool,
    /// The low 32 bits of the lowest packet number that the receiver should still accept.
    pub llpn: u32,
}

/// The body that every version has.
const BODY_LEN: usize = 40;
/// One key's part of the body: MI, KN and LPN.
const KEY_LEN: usize = 20;

const PLAIN_TX: u8 = 0x80;
const PLAIN_RX: u8 = 0x40;
const DELAY_PROTECT: u8 = 0x10;
/// In the four bits of a key, below its association number.
const TX: u8 = 0x2;
const RX: u8 = 0x1;

impl SakUseSet {
    pub(in crate::wire) fn decode(set: &RawSet<'_>) -> Result<Self, SetFault> {
        if set.body.is_empty() {
            return Ok(Self::Unsupported);
        }
        let (body, _later) = set.body.split_first_chunk::<BODY_LEN>().ok_or(SetFault::Length)?;
        let ([latest, old], _) = body.as_chunks::<KEY_LEN>() else {
            return Err(SetFault::Length);
        };
        Ok(Self::Keys(SakUse {
            latest: SakUseKey::decode(set.octet2 >> 4, latest),
            old: SakUseKey::decode(set.octet2, old),
            plain_tx: set.octet3 & PLAIN_TX != 0,
            plain_rx: set.octet3 & PLAIN_RX != 0,
            delay_protect: set.octet3 & DELAY_PROTECT != 0,
        }))
    }

    pub(in crate::wire) fn encode(&self, out: &mut SetWriter) -> Result<(), MkpduTooLong> {
        match self {
            Self::Unsupported => out.put([kind::SAK_USE, 0, PLAIN_TX | PLAIN_RX], &[]),
            Self::Keys(keys) => keys.encode(out),
        }
    }
}

impl SakUse {
    fn encode(&self, out: &mut SetWriter) -> Result<(), MkpduTooLong> {
        let (latest_bits, latest) = SakUseKey::encode(self.latest.as_ref());
        let (old_bits, old) = SakUseKey::encode(self.old.as_ref());
        let bits = flag(self.plain_tx, PLAIN_TX)
            | flag(self.plain_rx, PLAIN_RX)
            | flag(self.delay_protect, DELAY_PROTECT);
        out.put([kind::SAK_USE, latest_bits << 4 | old_bits, bits], &[latest, old].concat())
    }
}

impl SakUseKey {
    /// Reads a key, its bits being the low four; `None` where MI and KN are zero.
    fn decode(bits: u8, &[mi @ .., a, b, c, d, e, f, g, h]: &[u8; KEY_LEN]) -> Option<Self> {
        let server = MemberId::from_octets(mi);
        let number = KeyNumber(u32::from_be_bytes([a, b, c, d]));
        if server == MemberId::from_octets([0; 12]) && number == KeyNumber(0) {
            return None;
        }
        Some(Self {
            ki: KeyId { server, number },
            an: AssociationNumber::from_low_bits(bits >> 2),
            tx: bits & TX != 0,
            rx: bits & RX != 0,
            llpn: u32::from_be_bytes([e, f, g, h]),
        })
    }

    /// Gives a key's four bits and its part of the body.
    ///
    /// An absent key has the packet number 1: wpa_supplicant discards an MKPDU with delay
    /// protection and a 0 even where there is no key to protect.
    fn encode(key: Option<&Self>) -> (u8, [u8; KEY_LEN]) {
        let (bits, ki, llpn) = match key {
            Some(key) => {
                let bits = key.an.value() << 2 | flag(key.tx, TX) | flag(key.rx, RX);
                (bits, key.ki.octets(), key.llpn)
            }
            None => (0, [0; 16], 1),
        };
        let mut part = [0; KEY_LEN];
        let (ki_part, llpn_part) = part.split_at_mut(ki.len());
        ki_part.copy_from_slice(&ki);
        llpn_part.copy_from_slice(&llpn.to_be_bytes());
        (bits, part)
    }
}

fn flag(set: bool, bit: u8) -> u8 {
    if set { bit } else { 0 }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{raw, written};
    use super::*;

    fn key(octet: u8, an: u8, tx: bool, rx: bool) -> SakUseKey {
        let ki = KeyId { server: MemberId::from_octets([octet; 12]), number: KeyNumber(1) };
        SakUseKey { ki, an: AssociationNumber::from_low_bits(an), tx, rx, llpn: 7 }
    }

    #[test]
    fn every_flag_has_its_bit() {
        let silent = SakUse { latest: Some(key(1, 0, false, false)), ..SakUse::default() };
        let old = Some(key(2, 2, false, false));
        let cases = [
            (silent, [0x00, 0x00]),
            (SakUse { latest: Some(key(1, 3, false, false)), ..silent }, [0xc0, 0x00]),
            (SakUse { latest: Some(key(1, 0, true, false)), ..silent }, [0x20, 0x00]),
            (SakUse { latest: Some(key(1, 0, false, true)), ..silent }, [0x10, 0x00]),
            (SakUse { old, ..silent }, [0x08, 0x00]),
            (SakUse { old: Some(key(2, 0, true, false)), ..silent }, [0x02, 0x00]),
            (SakUse { old: Some(key(2, 0, false, true)), ..silent }, [0x01, 0x00]),
            (SakUse { plain_tx: true, ..silent }, [0x00, 0x80]),
            (SakUse { plain_rx: true, ..silent }, [0x00, 0x40]),
            (SakUse { delay_protect: true, ..silent }, [0x00, 0x10]),
        ];
        for (keys, bits) in cases {
            let octets = written(|out| SakUseSet::Keys(keys).encode(out));
            assert_eq!(octets[..4], [3, bits[0], bits[1], 40], "{keys:?}");
            assert_eq!(SakUseSet::decode(&raw(&octets)), Ok(SakUseSet::Keys(keys)));
        }
    }

    #[test]
    fn an_absent_key_is_all_zero_but_for_a_packet_number_of_1() {
        let octets = written(|out| SakUseSet::Keys(SakUse::default()).encode(out));
        let mut expected = [0; 44];
        (expected[0], expected[3], expected[23], expected[43]) = (3, 40, 1, 1);
        assert_eq!(octets, expected);
        assert_eq!(SakUseSet::decode(&raw(&octets)), Ok(SakUseSet::Keys(SakUse::default())));
    }

    /// Only where both are zero is there no key.
    #[test]
    fn a_key_of_number_0_is_a_key() {
        let ki = KeyId { number: KeyNumber(0), ..key(1, 0, true, true).ki };
        let latest = Some(SakUseKey { ki, ..key(1, 0, true, true) });
        let keys = SakUseSet::Keys(SakUse { latest, ..SakUse::default() });
        assert_eq!(SakUseSet::decode(&raw(&written(|out| keys.encode(out)))), Ok(keys));
    }

    #[test]
    fn a_sender_without_macsec_sends_no_keys() {
        let octets = written(|out| SakUseSet::Unsupported.encode(out));
        assert_eq!(octets, [3, 0, 0xc0, 0]);
        assert_eq!(SakUseSet::decode(&raw(&octets)), Ok(SakUseSet::Unsupported));
    }

    #[test]
    fn a_short_body_is_refused_and_a_long_one_read_as_far_as_known() {
        for length in [1, 36, 39] {
            let octets = written(|out| out.put([3, 0, 0], &vec![0; length]));
            assert_eq!(SakUseSet::decode(&raw(&octets)), Err(SetFault::Length));
        }
        let octets = written(|out| out.put([3, 0xff, 0x20], &[7; 44]));
        let Ok(SakUseSet::Keys(keys)) = SakUseSet::decode(&raw(&octets)) else { panic!() };
        assert_eq!(keys.latest.unwrap().ki.server, MemberId::from_octets([7; 12]));
        assert!(!keys.plain_tx && !keys.plain_rx && !keys.delay_protect, "reserved bit");
    }
}
