//! Announcement: what the sender can do, as TLVs (802.1X-2020 11.11.3, 11.12).

use super::{RawSet, SetFault, SetWriter, kind};
use crate::wire::{MacsecCapability, MkpduTooLong};

/// What the sender announces about itself.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Announcement {
    /// The cipher suites it has, by identifier, and how far it has each. Unknown ones are kept.
    pub suites: Vec<(MacsecCapability, [u8; 8])>,
    /// How many other TLVs there were. They are skipped on receipt and never sent.
    pub other_tlvs: usize,
}

/// The TLV of MACsec Cipher Suites (802.1X-2020 11.12).
const CIPHER_SUITES: u8 = 112;
/// Two octets of which the lowest bits are the capability, then the identifier of the suite.
const SUITE_LEN: usize = 10;
/// The most suites that a TLV can have, its length having nine bits.
const SUITES_MAX: usize = 51;

impl Announcement {
    pub(in crate::wire) fn decode(set: &RawSet<'_>) -> Result<Self, SetFault> {
        let mut suites = None;
        let mut other_tlvs = 0;
        let mut rest = set.body;
        while !rest.is_empty() {
            let (&[high, low], after) = rest.split_first_chunk().ok_or(SetFault::Tlv)?;
            let length = usize::from(u16::from_be_bytes([high & 1, low]));
            let (value, after) = after.split_at_checked(length).ok_or(SetFault::Tlv)?;
            if high >> 1 == CIPHER_SUITES && suites.is_none() {
                suites = Some(decode_suites(value)?);
            } else {
                other_tlvs += 1;
            }
            rest = after;
        }
        Ok(Self { suites: suites.unwrap_or_default(), other_tlvs })
    }

    pub(in crate::wire) fn encode(&self, out: &mut SetWriter) -> Result<(), MkpduTooLong> {
        if self.suites.len() > SUITES_MAX {
            return Err(MkpduTooLong);
        }
        let mut body = Vec::new();
        if !self.suites.is_empty() {
            let length = u16::try_from(self.suites.len() * SUITE_LEN).map_err(|_| MkpduTooLong)?;
            let tlv = u16::from(CIPHER_SUITES) << 9 | length;
            body.extend_from_slice(&tlv.to_be_bytes());
        }
        for (capability, id) in &self.suites {
            body.extend_from_slice(&[0, capability.code()]);
            body.extend_from_slice(id);
        }
        out.put([kind::ANNOUNCEMENT, 0, 0], &body)
    }
}

fn decode_suites(value: &[u8]) -> Result<Vec<(MacsecCapability, [u8; 8])>, SetFault> {
    let (entries, rest) = value.as_chunks::<SUITE_LEN>();
    if !rest.is_empty() {
        return Err(SetFault::Tlv);
    }
    let decode =
        |&[_, bits, id @ ..]: &[u8; SUITE_LEN]| (MacsecCapability::from_low_bits(bits), id);
    Ok(entries.iter().map(decode).collect())
}

#[cfg(test)]
mod tests {
    use super::super::tests::{raw, written};
    use super::*;
    use crate::ident::CipherSuite;

    #[test]
    fn suites_are_announced_with_how_far_the_sender_has_them() {
        let suites = vec![
            (MacsecCapability::AllOffsets, CipherSuite::GcmAes128.id()),
            (MacsecCapability::Offset0, [9; 8]),
        ];
        let announcement = Announcement { suites, other_tlvs: 0 };

        let octets = written(|out| announcement.encode(out));

        assert_eq!(octets[..4], [7, 0, 0, 22]);
        assert_eq!(octets[4..16], [0xe0, 20, 0, 3, 0, 0x80, 0xc2, 0, 1, 0, 0, 1]);
        assert_eq!(octets[16..], [0, 2, 9, 9, 9, 9, 9, 9, 9, 9, 0, 0]);
        assert_eq!(Announcement::decode(&raw(&octets)), Ok(announcement));
    }

    #[test]
    fn other_tlvs_are_skipped_and_a_second_list_of_suites_with_them() {
        let suite = [0xe0, 10, 0, 2, 9, 9, 9, 9, 9, 9, 9, 9];
        let body = [[0xc8, 3, 1, 2, 3].as_slice(), &suite, &[0xe0, 0], &[0xfe, 0]].concat();
        let octets = written(|out| out.put([7, 0, 0], &body));
        let expected =
            Announcement { suites: vec![(MacsecCapability::Offset0, [9; 8])], other_tlvs: 3 };
        assert_eq!(Announcement::decode(&raw(&octets)), Ok(expected));
    }

    #[test]
    fn a_tlv_past_the_end_or_with_part_of_a_suite_is_refused() {
        let bodies: [&[u8]; 4] = [&[0xc8], &[0xc8, 1], &[0xc9, 0, 1], &[0xe0, 1, 0]];
        for body in bodies {
            let octets = written(|out| out.put([7, 0, 0], body));
            assert_eq!(Announcement::decode(&raw(&octets)), Err(SetFault::Tlv), "{body:?}");
        }
    }

    #[test]
    fn more_suites_than_a_tlv_holds_cannot_be_sent() {
        let mut announcement =
            Announcement { suites: vec![(MacsecCapability::Offset0, [9; 8]); 51], other_tlvs: 0 };
        let octets = written(|out| announcement.encode(out));
        assert_eq!(Announcement::decode(&raw(&octets)), Ok(announcement.clone()));
        announcement.suites.push((MacsecCapability::Offset0, [9; 8]));
        assert_eq!(announcement.encode(&mut SetWriter::default()), Err(MkpduTooLong));
    }
}
