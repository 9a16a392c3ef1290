//! The Internet checksum (RFC 1071).

/// A sum of 16-bit words as they lie in memory. The order of their octets makes no difference to a
/// one's complement sum until it is written, which happens in the same order.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Sum(u64);

impl Sum {
    /// Adds octets that begin at an even place. An odd one at the end counts as the first of a word.
    #[must_use]
    pub(super) fn octets(self, octets: &[u8]) -> Self {
        let (words, rest) = octets.as_chunks::<4>();
        // Wrapping, so that the loop becomes one of vectors. It cannot: 2^32 words would be needed.
        let sum = words
            .iter()
            .fold(self.0, |sum, word| sum.wrapping_add(u64::from(u32::from_ne_bytes(*word))));
        let mut last = [0; 4];
        for (to, from) in last.iter_mut().zip(rest) {
            *to = *from;
        }
        Self(sum.wrapping_add(u64::from(u32::from_ne_bytes(last))))
    }

    /// Adds a number, as a word.
    #[must_use]
    pub(super) const fn word(self, word: u16) -> Self {
        Self(self.0.wrapping_add(u16::from_ne_bytes(word.to_be_bytes()) as u64))
    }

    /// The sum in one word, as it stands in a frame.
    #[must_use]
    pub(super) const fn folded(self) -> [u8; 2] {
        let mut sum = self.0;
        while sum > 0xffff {
            sum = (sum >> 16) + (sum & 0xffff);
        }
        let [a, b, ..] = sum.to_le_bytes();
        u16::from_le_bytes([a, b]).to_ne_bytes()
    }

    /// The checksum that makes everything come to [`Sum::is_right`].
    #[must_use]
    pub(super) const fn checksum(self) -> [u8; 2] {
        let [a, b] = self.folded();
        [!a, !b]
    }

    /// Tells whether the words with their checksum among them add up.
    #[must_use]
    pub(super) const fn is_right(self) -> bool {
        matches!(self.folded(), [0xff, 0xff])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of RFC 1071, section 3.
    #[test]
    fn the_sum_is_that_of_the_rfc() {
        let octets = [0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7];
        assert_eq!(Sum::default().octets(&octets).folded(), [0xdd, 0xf2]);
        assert_eq!(Sum::default().octets(&octets).checksum(), [0x22, 0x0d]);
        let with = [&octets[..], &[0x22, 0x0d]].concat();
        assert!(Sum::default().octets(&with).is_right());
        assert!(!Sum::default().octets(&octets).is_right());
    }

    #[test]
    fn an_odd_octet_is_the_first_of_its_word_and_numbers_are_words() {
        let sum = Sum::default();
        assert_eq!(sum.octets(&[1, 2, 3]).folded(), sum.octets(&[1, 2, 3, 0]).folded());
        assert_eq!(
            sum.octets(&[1, 2, 3, 4, 5]).folded(),
            sum.word(0x0102 + 0x0304).word(0x0500).folded()
        );
    }
}
