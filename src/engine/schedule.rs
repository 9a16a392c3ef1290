//! What follows from an AES key alone: round keys, and powers of H.

use std::arch::x86_64::{
    __m128i, _mm_aesenc_si128, _mm_aesenclast_si128, _mm_clmulepi64_si128, _mm_cvtsi128_si32,
    _mm_cvtsi128_si64, _mm_set_epi64x, _mm_set1_epi32, _mm_set1_epi64x, _mm_setzero_si128,
    _mm_shuffle_epi32, _mm_unpackhi_epi64, _mm_xor_si128,
};

use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

/// How many powers of H are kept: enough for a frame of 10,000 octets, all of it in one sum.
pub(super) const POWERS: usize = 640;
/// Entries behind H^1 that are loaded with it, and multiplied with zeros.
const BEHIND: usize = 3;
/// The most rounds that AES has, and one: there are as many round keys.
pub(super) const ROUND_KEYS: usize = 15;

/// The polynomial of GHASH as RFC 8452 turns it, less its highest term.
const POLYNOMIAL: u128 = 0xc200_0000_0000_0000_0000_0000_0000_0001;
/// Its upper half, which is all that a reduction multiplies with; the lower half is 1.
pub(super) const REDUCTION: u64 = (POLYNOMIAL >> 64) as u64;

/// An expanded key. All in one allocation that never moves and is wiped at the end.
#[derive(Zeroize, ZeroizeOnDrop)]
#[repr(C, align(64))]
pub(super) struct Schedule {
    /// Each four times in a row, as a vector of four blocks takes it.
    round_keys: [[u128; 4]; ROUND_KEYS],
    /// H^[`POWERS`] first, H^1 almost last, so that four of them in a row fit four blocks in a row.
    powers: [u128; POWERS + BEHIND],
    rounds: usize,
}

impl Schedule {
    /// Expands 16 or 32 octets.
    #[target_feature(enable = "aes,pclmulqdq")]
    pub(super) fn new(key: &[u8]) -> Box<Self> {
        let mut schedule = Box::new(Self {
            round_keys: [[0; 4]; ROUND_KEYS],
            powers: [0; POWERS + BEHIND],
            rounds: key.len() / 4 + 6,
        });
        schedule.expand(key);
        let h = Zeroizing::new(double(schedule.encrypt_zeros().swap_bytes()));
        let mut power = Zeroizing::new(*h);
        for entry in schedule.powers.iter_mut().rev().skip(BEHIND) {
            *entry = *power;
            *power = multiply(*power, *h);
        }
        schedule
    }

    /// How many rounds a block goes through: 10 or 14.
    pub(super) const fn rounds(&self) -> usize {
        self.rounds
    }

    /// The round keys, from the one that a block is mixed with at the start.
    pub(super) const fn round_keys(&self) -> &[[u128; 4]; ROUND_KEYS] {
        &self.round_keys
    }

    /// The powers of H from `H^highest` down to H^1, and some entries behind.
    ///
    /// All of them where there are not that many.
    pub(super) fn powers(&self, highest: usize) -> &[u128] {
        self.powers.get(POWERS.saturating_sub(highest)..).unwrap_or_default()
    }

    /// The powers from `H^highest` on, four of them; those behind H^1 are no powers.
    pub(super) fn four_powers(&self, highest: usize) -> &[u128; 4] {
        const NONE: &[u128; 4] = &[0; 4];
        let from = POWERS - highest.clamp(1, POWERS);
        // There is always as much, and the compiler sees that.
        self.powers.get(from..from + 4).and_then(|powers| powers.first_chunk()).unwrap_or(NONE)
    }

    /// FIPS 197 5.2, with the S-box that is in the AES instruction.
    #[target_feature(enable = "aes")]
    fn expand(&mut self, key: &[u8]) {
        let mut words = Zeroizing::new([0_u32; 4 * ROUND_KEYS]);
        let in_key = key.len() / 4;
        for (word, octets) in words.iter_mut().zip(key.as_chunks().0) {
            *word = u32::from_le_bytes(*octets);
        }
        let mut constant = 1_u32;
        for at in in_key..words.len() {
            let (Some(before), Some(far)) = (words.get(at - 1), words.get(at - in_key)) else {
                continue;
            };
            let mixed = if at % in_key == 0 {
                let mixed = substitute(before.rotate_right(8)) ^ constant;
                // Doubled in AES's field; a key of 128 bits gets past 0x80.
                constant = constant << 1 ^ if constant & 0x80 == 0 { 0 } else { 0x11b };
                mixed
            } else if in_key == 8 && at % in_key == 4 {
                substitute(*before)
            } else {
                *before
            };
            let word = far ^ mixed;
            if let Some(entry) = words.get_mut(at) {
                *entry = word;
            }
        }
        for (round_key, words) in self.round_keys.iter_mut().zip(words.as_chunks().0) {
            let [a, b, c, d] = words.map(u128::from);
            *round_key = [d << 96 | c << 64 | b << 32 | a; 4];
        }
    }

    /// H, as octets in memory order.
    #[target_feature(enable = "aes")]
    fn encrypt_zeros(&self) -> u128 {
        let mut keys = self.round_keys.iter().map(|[key, ..]| vector(*key)).take(self.rounds + 1);
        let mut block = keys.next().unwrap_or_else(|| vector(0));
        for (at, key) in keys.enumerate() {
            block = if at + 1 == self.rounds {
                _mm_aesenclast_si128(block, key)
            } else {
                _mm_aesenc_si128(block, key)
            };
        }
        number(block)
    }
}

/// Replaces each octet by what AES's S-box has for it.
#[target_feature(enable = "aes")]
fn substitute(word: u32) -> u32 {
    // The last round moves octets between words, replaces each, and mixes in a key. With four words
    // alike and a key of zeros it only replaces.
    let words = _mm_set1_epi32(word.cast_signed());
    _mm_cvtsi128_si32(_mm_aesenclast_si128(words, _mm_setzero_si128())).cast_unsigned()
}

/// Multiplies by x.
fn double(value: u128) -> u128 {
    // All ones where the highest bit is set, without a branch.
    let carried = (value >> 127).wrapping_neg();
    value << 1 ^ carried & POLYNOMIAL
}

/// The product of GHASH, of an operand and a power of H.
///
/// GHASH counts its bits from the wrong end: octet 0 first, and in it the highest bit. Turned round
/// octet by octet, a block is a number whose bit 127 is the lowest power of x, and the product of
/// two such comes out one bit too low. Where H is doubled beforehand all is as it should be (RFC
/// 8452, appendix A, says so with proof). The product of 255 bits is folded from its low end, 64
/// bits at a time.
#[target_feature(enable = "pclmulqdq")]
fn multiply(left: u128, right: u128) -> u128 {
    let (left, right) = (vector(left), vector(right));
    let low = _mm_clmulepi64_si128::<0x00>(left, right);
    let high = _mm_clmulepi64_si128::<0x11>(left, right);
    let middle = _mm_xor_si128(
        _mm_clmulepi64_si128::<0x10>(left, right),
        _mm_clmulepi64_si128::<0x01>(left, right),
    );
    let middle = number(middle);
    let low = vector(number(low) ^ middle << 64);
    let high = number(high) ^ middle >> 64;
    high ^ number(fold(fold(low)))
}

/// Folds the lower 64 bits into what is above them.
#[target_feature(enable = "pclmulqdq")]
fn fold(value: __m128i) -> __m128i {
    let folded = _mm_clmulepi64_si128::<0x10>(value, _mm_set1_epi64x(REDUCTION.cast_signed()));
    _mm_xor_si128(_mm_shuffle_epi32::<0x4e>(value), folded)
}

#[target_feature(enable = "sse2")]
#[allow(clippy::cast_possible_truncation, reason = "each half of the number is taken")]
fn vector(value: u128) -> __m128i {
    _mm_set_epi64x((value >> 64) as i64, value as i64)
}

#[target_feature(enable = "sse2")]
fn number(vector: __m128i) -> u128 {
    let half = |half: __m128i| u128::from(_mm_cvtsi128_si64(half).cast_unsigned());
    half(_mm_unpackhi_epi64(vector, vector)) << 64 | half(vector)
}
