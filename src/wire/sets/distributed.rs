//! Distributed SAK and Distributed CAK: keys on their way, wrapped (802.1X-2020 11.11.3).

use super::{RawSet, SetFault, SetWriter, kind};
use crate::ident::{AssociationNumber, CipherSuite, Ckn, ConfidentialityOffset, KeyNumber};
use crate::wire::MkpduTooLong;

/// What the key server has decided.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum DistributedSak {
    /// MACsec is not to be used.
    PlainText,
    /// MACsec is to be used with this key.
    Key {
        /// The association number of its SAs.
        an: AssociationNumber,
        /// How much of each frame is to be encrypted.
        offset: ConfidentialityOffset,
        /// Its number among the sender's keys.
        kn: KeyNumber,
        /// The cipher suite, or the identifier of one that we do not know.
        suite: Result<CipherSuite, [u8; 8]>,
        /// The wrapped key. Only the unwrap can say whether its length is right.
        wrapped: Vec<u8>,
    },
}

/// The body in which GCM-AES-128, the Default Cipher Suite, is not named: KN and wrapped key.
const DEFAULT_SUITE_LEN: usize = 28;
/// A wrapped key of 16 octets.
const WRAPPED_16_LEN: usize = 24;

impl DistributedSak {
    pub(in crate::wire) fn decode(set: &RawSet<'_>) -> Result<Self, SetFault> {
        if set.body.is_empty() {
            return Ok(Self::PlainText);
        }
        let (kn, rest) = set.body.split_first_chunk().ok_or(SetFault::Length)?;
        let (suite, wrapped) = if set.body.len() == DEFAULT_SUITE_LEN {
            (Ok(CipherSuite::GcmAes128), rest)
        } else {
            let (id, wrapped) = rest.split_first_chunk().ok_or(SetFault::Length)?;
            (CipherSuite::from_id(*id).ok_or(*id), wrapped)
        };
        if wrapped.len() < WRAPPED_16_LEN {
            return Err(SetFault::Length);
        }
        Ok(Self::Key {
            an: AssociationNumber::from_low_bits(set.octet2 >> 6),
            offset: ConfidentialityOffset::from_low_bits(set.octet2 >> 4),
            kn: KeyNumber(u32::from_be_bytes(*kn)),
            suite,
            wrapped: wrapped.to_vec(),
        })
    }

    pub(in crate::wire) fn encode(&self, out: &mut SetWriter) -> Result<(), MkpduTooLong> {
        let Self::Key { an, offset, kn, suite, wrapped } = self else {
            return out.put([kind::DISTRIBUTED_SAK, 0, 0], &[]);
        };
        let id = match suite {
            // Never named: some receivers refuse that. It has to be where the key has not its
            // length, which would be taken for another form.
            Ok(CipherSuite::GcmAes128) if wrapped.len() == WRAPPED_16_LEN => None,
            Ok(suite) => Some(suite.id()),
            Err(id) => Some(*id),
        };
        let mut body = kn.0.to_be_bytes().to_vec();
        body.extend(id.into_iter().flatten());
        body.extend_from_slice(wrapped);
        out.put([kind::DISTRIBUTED_SAK, an.value() << 6 | offset.code() << 4, 0], &body)
    }
}

/// A CAK for a group, sent over a pairwise one.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct DistributedCak {
    /// The CAK, of 16 octets, wrapped.
    pub wrapped: [u8; WRAPPED_16_LEN],
    /// Its name.
    pub ckn: Ckn,
}

impl DistributedCak {
    pub(in crate::wire) fn decode(set: &RawSet<'_>) -> Result<Self, SetFault> {
        let (wrapped, ckn) = set.body.split_first_chunk().ok_or(SetFault::Length)?;
        let ckn = Ckn::new(ckn).map_err(|_| SetFault::Length)?;
        Ok(Self { wrapped: *wrapped, ckn })
    }

    pub(in crate::wire) fn encode(&self, out: &mut SetWriter) -> Result<(), MkpduTooLong> {
        let body = [self.wrapped.as_slice(), self.ckn.octets()].concat();
        out.put([kind::DISTRIBUTED_CAK, 0, 0], &body)
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{raw, written};
    use super::*;

    fn key(suite: Result<CipherSuite, [u8; 8]>, wrapped: Vec<u8>) -> DistributedSak {
        DistributedSak::Key {
            an: AssociationNumber::from_low_bits(2),
            offset: ConfidentialityOffset::Offset30,
            kn: KeyNumber(0x0102_0304),
            suite,
            wrapped,
        }
    }

    #[test]
    fn the_default_suite_is_not_named_and_every_other_is() {
        let default = key(Ok(CipherSuite::GcmAes128), vec![7; 24]);
        let octets = written(|out| default.encode(out));
        assert_eq!(octets[..8], [4, 0xa0, 0, 28, 1, 2, 3, 4]);
        assert_eq!(octets[8..], [7; 24]);
        assert_eq!(DistributedSak::decode(&raw(&octets)), Ok(default));

        let other = key(Ok(CipherSuite::GcmAesXpn256), vec![7; 40]);
        let octets = written(|out| other.encode(out));
        let head = [4, 0xa0, 0, 52, 1, 2, 3, 4, 0, 0x80, 0xc2, 0, 1, 0, 0, 4];
        assert_eq!(octets[..16], head);
        assert_eq!(octets[16..], [7; 40]);
        assert_eq!(DistributedSak::decode(&raw(&octets)), Ok(other));
    }

    #[test]
    fn the_default_suite_is_accepted_by_name_the_legacy_one_included() {
        for third in [0xc2, 0x02] {
            let mut body = vec![1, 2, 3, 4, 0, 0x80, third, 0, 1, 0, 0, 1];
            body.extend([7; 24]);
            let octets = written(|out| out.put([4, 0xa0, 0], &body));
            let read = DistributedSak::decode(&raw(&octets));
            assert_eq!(read, Ok(key(Ok(CipherSuite::GcmAes128), vec![7; 24])));
        }
    }

    #[test]
    fn an_unknown_suite_and_a_key_of_any_length_are_kept_for_the_unwrap_to_judge() {
        for wrapped in [24, 25, 40, 41] {
            for suite in [Err([9; 8]), Ok(CipherSuite::GcmAes128), Ok(CipherSuite::GcmAes256)] {
                let odd = key(suite, vec![7; wrapped]);
                let octets = written(|out| odd.encode(out));
                assert_eq!(DistributedSak::decode(&raw(&octets)), Ok(odd));
            }
        }
    }

    #[test]
    fn no_body_means_plain_text() {
        let octets = written(|out| DistributedSak::PlainText.encode(out));
        assert_eq!(octets, [4, 0, 0, 0]);
        assert_eq!(DistributedSak::decode(&raw(&octets)), Ok(DistributedSak::PlainText));
    }

    #[test]
    fn lengths_that_no_form_has_are_refused() {
        for length in (1..28).chain(29..36) {
            let octets = written(|out| out.put([4, 0, 0], &vec![0; length]));
            let read = DistributedSak::decode(&raw(&octets));
            assert_eq!(read, Err(SetFault::Length), "{length} octets");
        }
    }

    #[test]
    fn a_distributed_cak_comes_with_its_name() {
        let cak = DistributedCak { wrapped: [7; 24], ckn: Ckn::new(b"group").unwrap() };
        let octets = written(|out| cak.encode(out));
        assert_eq!(octets[..4], [5, 0, 0, 29]);
        assert_eq!(octets[28..], *b"group\0\0\0");
        assert_eq!(DistributedCak::decode(&raw(&octets)), Ok(cak));
        for length in [0, 23, 24, 57] {
            let octets = written(|out| out.put([5, 0, 0], &vec![0; length]));
            assert_eq!(DistributedCak::decode(&raw(&octets)), Err(SetFault::Length));
        }
    }
}
