//! Short frames, four at a time, whose tags come of one reduction.
//!
//! The chains of AES are as long as the CPU looks ahead, so each frame's stands before what is
//! multiplied of it, and the next frame's AES runs while this one's is multiplied.

use std::arch::x86_64::*;

use super::vector::{
    BLOCK, Keys, LANES, Products, WIDTH, add_halves, counters, encrypt, gather_halves,
    highest_lanes, lengths, load_block, load_blocks, load_from, load_pair, load_tag, powers_from,
    powers_of_pair, store_from, store_tag, turn, with_lane,
};
use crate::engine::Job;
use crate::engine::schedule::Schedule;

/// The most additional data of a frame here: half a register.
pub(super) const AAD_MAX: usize = WIDTH / 2;

/// Seals or opens four jobs whose payloads take `N` registers each, a lane for J0 included.
///
/// Opening, it tells of each half of each tag whether it was right, a bit each.
#[target_feature(enable = "avx512bw,avx512dq,avx512vl,bmi2,vaes,vpclmulqdq")]
pub(super) fn quad<const ROUNDS: usize, const N: usize, const SEAL: bool>(
    schedule: &Schedule,
    jobs: [&mut Job<'_>; LANES],
) -> u8 {
    let keys = schedule.round_keys();
    let [a, b, c, d] = jobs;
    let (nonces, aads) = ([a.nonce, b.nonce, c.nonce, d.nonce], [a.aad, b.aad, c.aad, d.aad]);
    let (Some((a, a_tag)), Some((b, b_tag)), Some((c, c_tag)), Some((d, d_tag))) =
        (a.parts(), b.parts(), c.parts(), d.parts())
    else {
        return 0;
    };
    // From here on there is no branch.
    let (low, low_masks) =
        two::<ROUNDS, N, SEAL>(schedule, keys, [nonces[0], nonces[1]], [aads[0], aads[1]], [a, b]);
    let (high, high_masks) =
        two::<ROUNDS, N, SEAL>(schedule, keys, [nonces[2], nonces[3]], [aads[2], aads[3]], [c, d]);
    let sum = Products {
        low: gather_halves(low.low, high.low),
        middle: gather_halves(low.middle, high.middle),
        high: gather_halves(low.high, high.high),
    };
    let masks = highest_lanes([low_masks[0], low_masks[1], high_masks[0], high_masks[1]]);
    let tags = _mm512_xor_si512(turn(sum.reduce()), masks);
    if SEAL {
        store_tag(a_tag, _mm512_castsi512_si128(tags));
        store_tag(b_tag, _mm512_extracti32x4_epi32::<1>(tags));
        store_tag(c_tag, _mm512_extracti32x4_epi32::<2>(tags));
        store_tag(d_tag, _mm512_extracti32x4_epi32::<3>(tags));
        return u8::MAX;
    }
    let (ab, cd) = (pair(load_tag(a_tag), load_tag(b_tag)), pair(load_tag(c_tag), load_tag(d_tag)));
    _mm512_cmpeq_epi64_mask(tags, _mm512_inserti64x4::<1>(_mm512_castsi256_si512(ab), cd))
}

/// Goes over two payloads; gives the sums for their tags, one in each half, and the last keystream
/// of each.
#[inline]
#[target_feature(enable = "avx512bw,avx512dq,avx512vl,bmi2,vaes,vpclmulqdq")]
fn two<const ROUNDS: usize, const N: usize, const SEAL: bool>(
    schedule: &Schedule,
    keys: &Keys,
    nonces: [u128; 2],
    aads: [&[u8]; 2],
    [a, b]: [&mut [u8]; 2],
) -> (Products, [__m512i; 2]) {
    let highest_of_payload = [highest(a.len(), 1), highest(b.len(), 1)];
    let highest_of_aad = [
        highest(aads[0].len(), highest_of_payload[0]),
        highest(aads[1].len(), highest_of_payload[1]),
    ];
    // Before the payloads are written: a load that touches what was just stored, be it only with
    // octets that its mask leaves out, waits until that is in the cache.
    let aad = turn(load_pair(aads[0], aads[1]));
    let (one, one_mask) = one::<ROUNDS, N, SEAL>(schedule, keys, nonces[0], aads[0].len(), a);
    let (other, other_mask) =
        self::one::<ROUNDS, N, SEAL>(schedule, keys, nonces[1], aads[1].len(), b);
    let mut sum = Products {
        low: add_halves(one.low, other.low),
        middle: add_halves(one.middle, other.middle),
        high: add_halves(one.high, other.high),
    };
    sum.add(aad, powers_of_pair(schedule, highest_of_aad));
    (sum, [one_mask, other_mask])
}

/// Goes over one payload, where it lies.
#[inline]
#[target_feature(enable = "avx512bw,avx512dq,avx512vl,bmi2,vaes,vpclmulqdq")]
fn one<const ROUNDS: usize, const N: usize, const SEAL: bool>(
    schedule: &Schedule,
    keys: &Keys,
    nonce: u128,
    aad: usize,
    payload: &mut [u8],
) -> (Products, __m512i) {
    let mut stream = first_blocks::<N>(keys, nonce);
    encrypt::<ROUNDS, N>(keys, &mut stream);
    let (lengths, highest) = (lengths(aad, payload.len()), highest(payload.len(), 1));
    let mut sum = Products::none();
    for at in 0..N {
        let given = load_from(payload, at * WIDTH);
        let crypted = store_from(payload, at * WIDTH, _mm512_xor_si512(given, stream[at]));
        let mut numbers = turn(if SEAL { crypted } else { given });
        if at + 1 == N {
            numbers = with_lane(numbers, highest.wrapping_sub(1) % LANES, lengths);
        }
        sum.add(numbers, powers_from(schedule, highest.wrapping_sub(LANES * at)));
    }
    (sum, stream[N - 1])
}

/// The counter blocks of a frame, mixed with the first key; J0 in the last lane of all.
#[inline]
#[target_feature(enable = "avx512bw,avx512dq,avx512vl,bmi2,vaes,vpclmulqdq")]
fn first_blocks<const N: usize>(keys: &Keys, nonce: u128) -> [__m512i; N] {
    let [first, ..] = keys;
    let base = _mm512_xor_si512(load_block(&nonce), load_blocks(first));
    let mut out = [base; N];
    let mut number = 2;
    for (at, blocks) in out.iter_mut().enumerate() {
        let highest = if at + 1 == N { 1 } else { number + 3 };
        let counters = counters([number, number + 1, number + 2, highest]);
        *blocks = _mm512_xor_si512(*blocks, counters);
        number += 4;
    }
    out
}

/// The power of H that the first of some octets asks for, with so many blocks behind them.
#[inline]
const fn highest(octets: usize, behind: usize) -> usize {
    (octets.wrapping_add(BLOCK - 1) / BLOCK).wrapping_add(behind)
}

#[inline]
#[target_feature(enable = "avx512bw,avx512dq,avx512vl,bmi2,vaes,vpclmulqdq")]
fn pair(low: __m128i, high: __m128i) -> __m256i {
    _mm256_inserti128_si256::<1>(_mm256_castsi128_si256(low), high)
}
