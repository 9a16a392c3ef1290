//! Vectors of four blocks: loads, stores, and the few steps that both kernels share.

use std::arch::x86_64::*;

use crate::engine::schedule::{REDUCTION, ROUND_KEYS, Schedule};

/// The octets of a vector.
pub(super) const WIDTH: usize = 64;
/// Blocks of a vector.
pub(super) const LANES: usize = 4;
pub(super) const BLOCK: usize = 16;

/// The round keys, each once for every lane.
pub(super) type Keys = [[u128; LANES]; ROUND_KEYS];

/// The lowest `len` octets of a vector, all of it from [`WIDTH`] on.
#[inline]
#[target_feature(enable = "avx512bw,avx512dq,avx512vl,bmi2,vaes,vpclmulqdq")]
fn mask(len: usize) -> u64 {
    // From 64 on the instruction changes nothing, and 64 is where it is cut, so nothing is lost.
    #[allow(clippy::cast_possible_truncation)]
    _bzhi_u64(u64::MAX, len.min(WIDTH) as u32)
}

#[inline]
#[target_feature(enable = "avx512bw,avx512dq,avx512vl,bmi2,vaes,vpclmulqdq")]
pub(super) fn load(octets: &[u8; WIDTH]) -> __m512i {
    // SAFETY: it reads the 64 octets of the array, at any alignment.
    unsafe { _mm512_loadu_si512(octets.as_ptr().cast()) }
}

#[inline]
#[target_feature(enable = "avx512bw,avx512dq,avx512vl,bmi2,vaes,vpclmulqdq")]
pub(super) fn store(octets: &mut [u8; WIDTH], value: __m512i) {
    // SAFETY: it writes the 64 octets of the array, at any alignment.
    unsafe { _mm512_storeu_si512(octets.as_mut_ptr().cast(), value) }
}

/// Loads the octets from `from` on, as far as there are any, up to a whole vector; the rest is 0.
///
/// Without a branch. Where there is nothing to load, the CPU takes hundreds of cycles if the slice's
/// end is not in memory: so never call it on `&[]`, for speed alone.
#[inline]
#[target_feature(enable = "avx512bw,avx512dq,avx512vl,bmi2,vaes,vpclmulqdq")]
pub(super) fn load_from(octets: &[u8], from: usize) -> __m512i {
    let from = from.min(octets.len());
    // SAFETY: `from` is inside of the slice or at its end; what is behind that the mask leaves out,
    // and it is not read.
    unsafe { _mm512_maskz_loadu_epi8(mask(octets.len() - from), octets.as_ptr().add(from).cast()) }
}

/// Stores where [`load_from`] loads, and sets all else in the vector to 0.
#[inline]
#[target_feature(enable = "avx512bw,avx512dq,avx512vl,bmi2,vaes,vpclmulqdq")]
pub(super) fn store_from(octets: &mut [u8], from: usize, value: __m512i) -> __m512i {
    let from = from.min(octets.len());
    let mask = mask(octets.len() - from);
    // SAFETY: as in `load_from`, and the slice is borrowed mutably.
    unsafe { _mm512_mask_storeu_epi8(octets.as_mut_ptr().add(from).cast(), mask, value) }
    _mm512_maskz_mov_epi8(mask, value)
}

/// Loads up to half a vector of each; the rest is 0. The same is to be said as of [`load_from`].
#[inline]
#[target_feature(enable = "avx512bw,avx512dq,avx512vl,bmi2,vaes,vpclmulqdq")]
pub(super) fn load_pair(a: &[u8], b: &[u8]) -> __m512i {
    _mm512_inserti64x4::<1>(_mm512_castsi256_si512(load_half(a)), load_half(b))
}

#[inline]
#[target_feature(enable = "avx512bw,avx512dq,avx512vl,bmi2,vaes,vpclmulqdq")]
fn load_half(octets: &[u8]) -> __m256i {
    // The upper half of the mask is not looked at.
    #[allow(clippy::cast_possible_truncation)]
    let mask = mask(octets.len()) as u32;
    // SAFETY: the mask leaves out what is behind the slice, and that is not read.
    unsafe { _mm256_maskz_loadu_epi8(mask, octets.as_ptr().cast()) }
}

/// Two powers from each `H^highest` on, for two blocks each of two frames.
#[inline]
#[target_feature(enable = "avx512bw,avx512dq,avx512vl,bmi2,vaes,vpclmulqdq")]
pub(super) fn powers_of_pair(schedule: &Schedule, highest: [usize; 2]) -> __m512i {
    let [a, b] = highest;
    let (a, b) = (powers_from(schedule, a), powers_from(schedule, b));
    _mm512_inserti64x4::<1>(a, _mm512_castsi512_si256(b))
}

/// The powers of H from `H^highest` on, four of them, for four blocks.
#[inline]
#[target_feature(enable = "avx512bw,avx512dq,avx512vl,bmi2,vaes,vpclmulqdq")]
pub(super) fn powers_from(schedule: &Schedule, highest: usize) -> __m512i {
    load_blocks(schedule.four_powers(highest))
}

#[inline]
#[target_feature(enable = "avx512bw,avx512dq,avx512vl,bmi2,vaes,vpclmulqdq")]
pub(super) fn load_blocks(powers: &[u128; LANES]) -> __m512i {
    // SAFETY: it reads the 64 octets of the array.
    unsafe { _mm512_loadu_si512(powers.as_ptr().cast()) }
}

#[inline]
#[target_feature(enable = "avx512bw,avx512dq,avx512vl,bmi2,vaes,vpclmulqdq")]
pub(super) fn load_block(block: &u128) -> __m512i {
    // SAFETY: it reads the 16 octets of the number.
    _mm512_broadcast_i32x4(unsafe { _mm_loadu_si128(std::ptr::from_ref(block).cast()) })
}

#[inline]
#[target_feature(enable = "avx512bw,avx512dq,avx512vl,bmi2,vaes,vpclmulqdq")]
pub(super) fn load_tag(tag: &[u8; BLOCK]) -> __m128i {
    // SAFETY: it reads the 16 octets of the array.
    unsafe { _mm_loadu_si128(tag.as_ptr().cast()) }
}

#[inline]
#[target_feature(enable = "avx512bw,avx512dq,avx512vl,bmi2,vaes,vpclmulqdq")]
pub(super) fn store_tag(tag: &mut [u8; BLOCK], value: __m128i) {
    // SAFETY: it writes the 16 octets of the array.
    unsafe { _mm_storeu_si128(tag.as_mut_ptr().cast(), value) }
}

/// Turns each block round, octet by octet: from memory to GHASH's numbers and back.
#[inline]
#[target_feature(enable = "avx512bw,avx512dq,avx512vl,bmi2,vaes,vpclmulqdq")]
pub(super) fn turn(value: __m512i) -> __m512i {
    let order =
        _mm512_broadcast_i32x4(_mm_set_epi64x(0x0001_0203_0405_0607, 0x0809_0a0b_0c0d_0e0f));
    _mm512_shuffle_epi8(value, order)
}

/// Blocks whose last four octets are a counter each, from the lowest lane on, and all else 0.
#[inline]
#[target_feature(enable = "avx512bw,avx512dq,avx512vl,bmi2,vaes,vpclmulqdq")]
pub(super) fn counters(numbers: [u32; LANES]) -> __m512i {
    let [a, b, c, d] = numbers;
    _mm512_set_epi32(
        big_endian(d),
        0,
        0,
        0,
        big_endian(c),
        0,
        0,
        0,
        big_endian(b),
        0,
        0,
        0,
        big_endian(a),
        0,
        0,
        0,
    )
}

/// Sums of products of four blocks at a time, not yet reduced.
#[derive(Clone, Copy)]
pub(super) struct Products {
    pub(super) low: __m512i,
    pub(super) middle: __m512i,
    pub(super) high: __m512i,
}

impl Products {
    #[inline]
    #[target_feature(enable = "avx512bw,avx512dq,avx512vl,bmi2,vaes,vpclmulqdq")]
    pub(super) fn none() -> Self {
        let zero = _mm512_setzero_si512();
        Self { low: zero, middle: zero, high: zero }
    }

    /// Adds the products of four blocks, as numbers, with four powers.
    #[inline]
    #[target_feature(enable = "avx512bw,avx512dq,avx512vl,bmi2,vaes,vpclmulqdq")]
    pub(super) fn add(&mut self, blocks: __m512i, powers: __m512i) {
        const ALL: i32 = 0x96;
        let low = _mm512_clmulepi64_epi128::<0x00>(blocks, powers);
        let high = _mm512_clmulepi64_epi128::<0x11>(blocks, powers);
        let one = _mm512_clmulepi64_epi128::<0x10>(blocks, powers);
        let other = _mm512_clmulepi64_epi128::<0x01>(blocks, powers);
        self.low = _mm512_xor_si512(self.low, low);
        self.high = _mm512_xor_si512(self.high, high);
        self.middle = _mm512_ternarylogic_epi64::<ALL>(self.middle, one, other);
    }

    /// Reduces the sum in each lane.
    #[inline]
    #[target_feature(enable = "avx512bw,avx512dq,avx512vl,bmi2,vaes,vpclmulqdq")]
    pub(super) fn reduce(self) -> __m512i {
        let low = _mm512_xor_si512(self.low, _mm512_bslli_epi128::<8>(self.middle));
        let high = _mm512_xor_si512(self.high, _mm512_bsrli_epi128::<8>(self.middle));
        _mm512_xor_si512(high, fold(fold(low)))
    }
}

/// Folds the lower half of each lane into what is above it; see `schedule::multiply`.
#[inline]
#[target_feature(enable = "avx512bw,avx512dq,avx512vl,bmi2,vaes,vpclmulqdq")]
fn fold(value: __m512i) -> __m512i {
    let reduction = _mm512_set1_epi64(REDUCTION.cast_signed());
    let folded = _mm512_clmulepi64_epi128::<0x10>(value, reduction);
    _mm512_xor_si512(_mm512_shuffle_epi32::<0x4e>(value), folded)
}

/// Adds the upper half of each vector to its lower: the first one's sum in the lower half.
#[inline]
#[target_feature(enable = "avx512bw,avx512dq,avx512vl,bmi2,vaes,vpclmulqdq")]
pub(super) fn add_halves(a: __m512i, b: __m512i) -> __m512i {
    _mm512_xor_si512(_mm512_shuffle_i64x2::<0x44>(a, b), _mm512_shuffle_i64x2::<0xee>(a, b))
}

/// Adds up the lanes of each half of each vector, in order.
#[inline]
#[target_feature(enable = "avx512bw,avx512dq,avx512vl,bmi2,vaes,vpclmulqdq")]
pub(super) fn gather_halves(ab: __m512i, cd: __m512i) -> __m512i {
    _mm512_xor_si512(_mm512_shuffle_i64x2::<0x88>(ab, cd), _mm512_shuffle_i64x2::<0xdd>(ab, cd))
}

/// Adds up the lanes.
#[inline]
#[target_feature(enable = "avx512bw,avx512dq,avx512vl,bmi2,vaes,vpclmulqdq")]
pub(super) fn sum_of_lanes(value: __m512i) -> __m128i {
    let half =
        _mm256_xor_si256(_mm512_castsi512_si256(value), _mm512_extracti64x4_epi64::<1>(value));
    _mm_xor_si128(_mm256_castsi256_si128(half), _mm256_extracti128_si256::<1>(half))
}

/// Takes the highest lane of each vector, in order.
#[inline]
#[target_feature(enable = "avx512bw,avx512dq,avx512vl,bmi2,vaes,vpclmulqdq")]
pub(super) fn highest_lanes([a, b, c, d]: [__m512i; LANES]) -> __m512i {
    let (ab, cd) = (_mm512_shuffle_i64x2::<0xff>(a, b), _mm512_shuffle_i64x2::<0xff>(c, d));
    _mm512_shuffle_i64x2::<0x88>(ab, cd)
}

/// Puts `block` into one lane.
#[inline]
#[target_feature(enable = "avx512bw,avx512dq,avx512vl,bmi2,vaes,vpclmulqdq")]
pub(super) fn with_lane(value: __m512i, lane: usize, block: __m128i) -> __m512i {
    // Of two bits, below the eight that there are.
    #[allow(clippy::cast_possible_truncation)]
    let mask = (0b11_u32 << (2 * (lane % LANES))) as u8;
    _mm512_mask_mov_epi64(value, mask, _mm512_broadcast_i32x4(block))
}

/// Takes all vectors through AES, side by side. They are mixed with the first key already.
#[inline]
#[target_feature(enable = "avx512bw,avx512dq,avx512vl,bmi2,vaes,vpclmulqdq")]
pub(super) fn encrypt<const ROUNDS: usize, const N: usize>(keys: &Keys, blocks: &mut [__m512i; N]) {
    for round in 1..ROUNDS {
        for block in &mut *blocks {
            *block = _mm512_aesenc_epi128(*block, load_blocks(&keys[round]));
        }
    }
    for block in blocks {
        *block = _mm512_aesenclast_epi128(*block, load_blocks(&keys[ROUNDS]));
    }
}

/// The block with the lengths of both, in bits, as GHASH's number.
#[inline]
#[target_feature(enable = "avx512bw,avx512dq,avx512vl,bmi2,vaes,vpclmulqdq")]
pub(super) fn lengths(aad: usize, payload: usize) -> __m128i {
    _mm_set_epi64x((aad as i64) << 3, (payload as i64) << 3)
}

#[inline]
#[target_feature(enable = "avx512bw,avx512dq,avx512vl,bmi2,vaes,vpclmulqdq")]
pub(super) fn highest_lane(value: __m512i) -> __m128i {
    _mm512_extracti32x4_epi32::<3>(value)
}

/// [`turn`] of one block.
#[inline]
#[target_feature(enable = "avx512bw,avx512dq,avx512vl,bmi2,vaes,vpclmulqdq")]
pub(super) fn turn_block(value: __m128i) -> __m128i {
    let order = _mm_set_epi64x(0x0001_0203_0405_0607, 0x0809_0a0b_0c0d_0e0f);
    _mm_shuffle_epi8(value, order)
}

#[inline]
const fn big_endian(number: u32) -> i32 {
    number.swap_bytes().cast_signed()
}
