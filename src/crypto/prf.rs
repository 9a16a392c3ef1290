//! AES-CMAC under one key, and the counter mode that makes a KDF of it.

use std::alloc::{Layout, handle_alloc_error};

use aws_lc_rs::cmac;
use zeroize::Zeroizing;

/// Octets that cannot be a CAK, nor a key made from one.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("a CAK, ICK or KEK has 16 or 32 octets, this one has {0}")]
pub struct KeyLengthError(pub usize);

/// AES-CMAC (NIST SP 800-38B) under one key of 16 or 32 octets.
///
/// The library holds the expanded key and wipes it when dropped.
pub(super) struct Prf(cmac::Key);

impl Prf {
    /// The octets of a tag.
    pub(super) const TAG_LEN: usize = 16;

    /// Expands a key.
    pub(super) fn new(key: &[u8]) -> Result<Self, KeyLengthError> {
        let algorithm = match key.len() {
            16 => cmac::AES_128,
            32 => cmac::AES_256,
            other => return Err(KeyLengthError(other)),
        };
        Ok(Self(or_out_of_memory(cmac::Key::new(algorithm, key).ok())))
    }

    /// Computes the tag of the parts, one after the other.
    pub(super) fn tag(&self, parts: &[&[u8]]) -> [u8; Self::TAG_LEN] {
        let mut context = cmac::Context::with_key(&self.0);
        let updated = parts.iter().try_for_each(|part| context.update(part));
        let tag = updated.and_then(|()| context.sign()).ok();
        *or_out_of_memory(tag.as_ref().and_then(|tag| tag.as_ref().first_chunk()))
    }

    /// Tells, in constant time, whether `tag` is the tag of `message`. A failure of the library
    /// counts as a wrong tag.
    pub(super) fn verify(&self, message: &[u8], tag: &[u8; Self::TAG_LEN]) -> bool {
        cmac::verify(&self.0, message, tag).is_ok()
    }

    /// Derives octets: the KDF of 802.1X-2020 6.2.1.
    ///
    /// The length enters in bits; no key of MKA ends inside an octet, or is longer than this can
    /// say.
    pub(super) fn derive(&self, label: &[u8], context: &[u8], octets: u8) -> Zeroizing<Vec<u8>> {
        let bits = (u16::from(octets) * 8).to_be_bytes();
        self.counter_mode(&[label, &[0], context, &bits], octets)
    }

    /// NIST SP 800-108 in counter mode, with a counter of one octet in front of the fixed input.
    fn counter_mode(&self, fixed_input: &[&[u8]], octets: u8) -> Zeroizing<Vec<u8>> {
        let wanted = usize::from(octets);
        // With room for whole blocks, so that growing never leaves a copy behind unwiped.
        let mut output = Zeroizing::new(Vec::with_capacity(wanted.next_multiple_of(Self::TAG_LEN)));
        // 255 octets are 16 blocks, so the counter never gets to its end.
        for counter in 1..=u8::MAX {
            if output.len() >= wanted {
                break;
            }
            let counter = [counter];
            let parts = [&[counter.as_slice()], fixed_input].concat();
            output.extend_from_slice(&*Zeroizing::new(self.tag(&parts)));
        }
        output.truncate(wanted);
        output
    }
}

/// Takes what the library made of a key of the right length.
///
/// It gives nothing only where it could get no memory, and then the process ends as it does for an
/// allocation of its own: there is no tag or key to go on with.
pub(super) fn or_out_of_memory<T>(made: Option<T>) -> T {
    made.unwrap_or_else(|| handle_alloc_error(Layout::new::<cmac::Key>()))
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    #[test]
    fn a_key_has_16_or_32_octets() {
        for len in [0, 15, 24, 33] {
            assert_eq!(Prf::new(&vec![0; len]).err(), Some(KeyLengthError(len)));
        }
    }

    #[test]
    fn a_tag_of_parts_is_the_tag_of_their_concatenation() {
        let prf = Prf::new(&[7; 32]).unwrap();
        assert_eq!(prf.tag(&[b"one", b"", b" and two"]), prf.tag(&[b"one and two"]));
    }

    /// The NIST CAVP vectors fix what follows the counter as a whole, which no caller can.
    #[test]
    fn the_counter_mode_gives_what_nist_says() {
        let file = include_str!("../../tests/vectors/kdf_sp800_108_cmac.json");
        let file: Value = serde_json::from_str(file).unwrap();
        let vectors = file["vectors"].as_array().unwrap();
        assert_eq!(vectors.len(), 40);
        for vector in vectors {
            let octets = |name: &str| hex::decode(vector[name].as_str().unwrap()).unwrap();
            let wanted = u8::try_from(vector["L_bits"].as_u64().unwrap() / 8).unwrap();

            let output =
                Prf::new(&octets("key")).unwrap().counter_mode(&[&octets("fixed_input")], wanted);

            assert_eq!(*output, octets("output"), "{}", vector["ref"]);
        }
    }
}
