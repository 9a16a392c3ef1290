//! One frame: four registers go through AES side by side, while those before them are multiplied.

use std::arch::x86_64::*;

use super::vector::{
    BLOCK, Keys, LANES, Products, WIDTH, counters, encrypt, highest_lane, lengths, load,
    load_block, load_blocks, load_from, load_tag, store, store_from, store_tag, sum_of_lanes, turn,
    turn_block, with_lane,
};
use crate::engine::Job;
use crate::engine::schedule::{POWERS, Schedule};

/// Registers side by side: as many as an AES round takes cycles.
const DEPTH: usize = 4;
const GROUP: usize = DEPTH * WIDTH;
const GROUP_BLOCKS: usize = DEPTH * LANES;

type Group = [__m512i; DEPTH];

/// Seals or opens one job. Opening, it tells whether the tag was right.
#[target_feature(enable = "avx512bw,avx512dq,avx512vl,bmi2,vaes,vpclmulqdq")]
pub(super) fn frame<const ROUNDS: usize, const SEAL: bool>(
    schedule: &Schedule,
    job: &mut Job<'_>,
) -> bool {
    let (nonce, aad) = (job.nonce, job.aad);
    let Some((payload, tag)) = job.parts() else { return false };
    let lengths = lengths(aad.len(), payload.len());
    let blocks = aad.len().div_ceil(BLOCK) + payload.len().div_ceil(BLOCK) + 1;
    let mut hash = Hash::new(schedule, blocks);
    hash.add_aad(aad);
    let mut cipher = Cipher::<ROUNDS>::new(schedule.round_keys(), nonce);

    let (mut groups, rest) = payload.as_chunks_mut::<GROUP>();
    while hash.is_long()
        && let Some((group, others)) = std::mem::take(&mut groups).split_first_mut()
    {
        cipher.long_group::<SEAL>(group, &mut hash);
        groups = others;
    }
    cipher.groups::<SEAL>(groups, &mut hash);

    let mask = match rest.len().div_ceil(BLOCK) / LANES {
        0 => cipher.tail::<SEAL, 1>(rest, &mut hash, lengths),
        1 => cipher.tail::<SEAL, 2>(rest, &mut hash, lengths),
        2 => cipher.tail::<SEAL, 3>(rest, &mut hash, lengths),
        3 => cipher.tail::<SEAL, 4>(rest, &mut hash, lengths),
        _ => cipher.tail::<SEAL, 5>(rest, &mut hash, lengths),
    };
    let computed = _mm_xor_si128(turn_block(sum_of_lanes(hash.sum.reduce())), mask);
    if SEAL {
        store_tag(tag, computed);
        return true;
    }
    let difference = _mm_xor_si128(computed, load_tag(tag));
    _mm_testz_si128(difference, difference) == 1
}

/// The keystream of one frame, and how far it has come.
struct Cipher<'k, const ROUNDS: usize> {
    keys: &'k Keys,
    /// The nonce in each lane, mixed with the first key.
    base: __m512i,
    /// The next counters, as 32-bit numbers where their octets are to be.
    next: __m512i,
}

impl<'k, const ROUNDS: usize> Cipher<'k, ROUNDS> {
    #[inline]
    #[target_feature(enable = "avx512bw,avx512dq,avx512vl,bmi2,vaes,vpclmulqdq")]
    fn new(keys: &'k Keys, nonce: u128) -> Self {
        let [first, ..] = keys;
        let base = _mm512_xor_si512(load_block(&nonce), load_blocks(first));
        let next = _mm512_set_epi32(5, 0, 0, 0, 4, 0, 0, 0, 3, 0, 0, 0, 2, 0, 0, 0);
        Self { keys, base, next }
    }

    /// The next four blocks to encrypt, mixed with the first key.
    #[inline]
    #[target_feature(enable = "avx512bw,avx512dq,avx512vl,bmi2,vaes,vpclmulqdq")]
    fn take(&mut self) -> __m512i {
        // From a number to its octets, highest first.
        let order = _mm512_broadcast_i32x4(_mm_set_epi64x(
            0x0c0d_0e0f_8080_8080_u64.cast_signed(),
            0x8080_8080_8080_8080_u64.cast_signed(),
        ));
        let counters = _mm512_shuffle_epi8(self.next, order);
        let step = _mm512_broadcast_i32x4(_mm_set_epi32(4, 0, 0, 0));
        self.next = _mm512_add_epi32(self.next, step);
        _mm512_xor_si512(self.base, counters)
    }

    /// Goes over whole groups. What is multiplied while one goes through AES is, sealing, the
    /// ciphertext of the one before.
    #[inline]
    #[target_feature(enable = "avx512bw,avx512dq,avx512vl,bmi2,vaes,vpclmulqdq")]
    fn groups<const SEAL: bool>(&mut self, groups: &mut [[u8; GROUP]], hash: &mut Hash<'_>) {
        let mut groups = groups.iter_mut();
        let mut before = [_mm512_setzero_si512(); DEPTH];
        if SEAL {
            let Some(first) = groups.next() else { return };
            let mut blocks = self.take_group();
            for round in 1..ROUNDS {
                aes(&mut blocks, load_blocks(&self.keys[round]));
            }
            before = turn_all(self.finish(blocks, first));
        }
        let mut sum = hash.sum;
        for group in groups {
            let mut blocks = self.take_group();
            if !SEAL {
                before = load_group(group);
            }
            let powers = load_group_of_powers(hash.next_group());
            aes(&mut blocks, load_blocks(&self.keys[1]));
            for at in 0..DEPTH {
                aes(&mut blocks, load_blocks(&self.keys[2 + at]));
                sum.add(before[at], powers[at]);
            }
            for round in 2 + DEPTH..ROUNDS {
                aes(&mut blocks, load_blocks(&self.keys[round]));
            }
            let crypted = self.finish(blocks, group);
            if SEAL {
                before = turn_all(crypted);
            }
        }
        hash.sum = sum;
        if SEAL {
            hash.add_group(before);
        }
    }

    /// One group of a frame that has more blocks than there are powers.
    #[inline(never)]
    #[target_feature(enable = "avx512bw,avx512dq,avx512vl,bmi2,vaes,vpclmulqdq")]
    fn long_group<const SEAL: bool>(&mut self, group: &mut [u8; GROUP], hash: &mut Hash<'_>) {
        let mut blocks = self.take_group();
        if !SEAL {
            hash.reduce(load_group(group), GROUP_BLOCKS);
        }
        for round in 1..ROUNDS {
            aes(&mut blocks, load_blocks(&self.keys[round]));
        }
        let crypted = self.finish(blocks, group);
        if SEAL {
            hash.reduce(turn_all(crypted), GROUP_BLOCKS);
        }
    }

    #[inline]
    #[target_feature(enable = "avx512bw,avx512dq,avx512vl,bmi2,vaes,vpclmulqdq")]
    fn take_group(&mut self) -> Group {
        [self.take(), self.take(), self.take(), self.take()]
    }

    /// The last round, whose key takes the octets along.
    #[inline]
    #[target_feature(enable = "avx512bw,avx512dq,avx512vl,bmi2,vaes,vpclmulqdq")]
    fn finish(&self, mut blocks: Group, group: &mut [u8; GROUP]) -> Group {
        let (parts, _) = group.as_chunks_mut::<WIDTH>();
        for at in 0..DEPTH {
            let last = _mm512_xor_si512(load_blocks(&self.keys[ROUNDS]), load(&parts[at]));
            blocks[at] = _mm512_aesenclast_epi128(blocks[at], last);
            store(&mut parts[at], blocks[at]);
        }
        blocks
    }

    /// Goes over the last octets, less than 256, adds the lengths, and gives the tag's mask.
    #[inline]
    #[target_feature(enable = "avx512bw,avx512dq,avx512vl,bmi2,vaes,vpclmulqdq")]
    fn tail<const SEAL: bool, const N: usize>(
        &mut self,
        rest: &mut [u8],
        hash: &mut Hash<'_>,
        lengths: __m128i,
    ) -> __m128i {
        let mut blocks = [_mm512_setzero_si512(); N];
        for blocks in &mut blocks {
            *blocks = self.take();
        }
        let blocks_left = rest.len().div_ceil(BLOCK) % LANES;
        // J0 takes the lane that is always free.
        let j0 = _mm512_xor_si512(self.base, counters([1; LANES]));
        blocks[N - 1] = _mm512_mask_mov_epi64(blocks[N - 1], 0b1100_0000, j0);
        encrypt::<ROUNDS, N>(self.keys, &mut blocks);
        let mask = highest_lane(blocks[N - 1]);
        for at in 0..N {
            let given = load_from(rest, at * WIDTH);
            let crypted = store_from(rest, at * WIDTH, _mm512_xor_si512(given, blocks[at]));
            let ciphertext = turn(if SEAL { crypted } else { given });
            if at + 1 == N {
                hash.add(with_lane(ciphertext, blocks_left, lengths), blocks_left + 1);
            } else {
                hash.add(ciphertext, LANES);
            }
        }
        mask
    }
}

#[inline]
#[target_feature(enable = "avx512bw,avx512dq,avx512vl,bmi2,vaes,vpclmulqdq")]
fn aes<const N: usize>(blocks: &mut [__m512i; N], key: __m512i) {
    for block in blocks {
        *block = _mm512_aesenc_epi128(*block, key);
    }
}

#[inline]
#[target_feature(enable = "avx512bw,avx512dq,avx512vl,bmi2,vaes,vpclmulqdq")]
fn turn_all([a, b, c, d]: Group) -> Group {
    [turn(a), turn(b), turn(c), turn(d)]
}

#[inline]
#[target_feature(enable = "avx512bw,avx512dq,avx512vl,bmi2,vaes,vpclmulqdq")]
fn load_group_of_powers(powers: &[u128; GROUP_BLOCKS]) -> Group {
    let (four, _) = powers.as_chunks();
    [load_blocks(&four[0]), load_blocks(&four[1]), load_blocks(&four[2]), load_blocks(&four[3])]
}

#[inline]
#[target_feature(enable = "avx512bw,avx512dq,avx512vl,bmi2,vaes,vpclmulqdq")]
fn load_group(group: &[u8; GROUP]) -> Group {
    let (parts, _) = group.as_chunks();
    turn_all([load(&parts[0]), load(&parts[1]), load(&parts[2]), load(&parts[3])])
}

/// GHASH of one frame, and how far it has come.
///
/// Each block is multiplied with the power of H that its place from the end asks for, and all of it
/// reduced once at the end. Of a frame that has more blocks than there are powers, the first ones
/// are reduced group by group.
struct Hash<'s> {
    sum: Products,
    schedule: &'s Schedule,
    /// The powers from the next block's on.
    powers: &'s [u128],
    /// How many blocks there are more than powers.
    more: usize,
    /// What the blocks that were reduced already come to.
    before: __m512i,
}

impl<'s> Hash<'s> {
    #[inline]
    #[target_feature(enable = "avx512bw,avx512dq,avx512vl,bmi2,vaes,vpclmulqdq")]
    fn new(schedule: &'s Schedule, blocks: usize) -> Self {
        Self {
            sum: Products::none(),
            schedule,
            powers: schedule.powers(blocks),
            more: blocks.saturating_sub(POWERS),
            before: _mm512_setzero_si512(),
        }
    }

    #[inline]
    fn is_long(&self) -> bool {
        self.more > 0
    }

    #[inline]
    #[target_feature(enable = "avx512bw,avx512dq,avx512vl,bmi2,vaes,vpclmulqdq")]
    fn add_aad(&mut self, aad: &[u8]) {
        let (whole, rest) = aad.as_chunks();
        for octets in whole {
            let blocks = turn(load(octets));
            if self.is_long() {
                self.reduce([blocks], LANES);
            } else {
                self.add(blocks, LANES);
            }
        }
        if !rest.is_empty() {
            let (blocks, count) = (turn(load_from(rest, 0)), rest.len().div_ceil(BLOCK));
            if self.is_long() {
                self.reduce([blocks], count);
            } else {
                self.add(blocks, count);
            }
        }
    }

    /// Adds `count` blocks; the lanes behind them are 0.
    #[inline]
    #[target_feature(enable = "avx512bw,avx512dq,avx512vl,bmi2,vaes,vpclmulqdq")]
    fn add(&mut self, blocks: __m512i, count: usize) {
        if let Some(powers) = self.powers.first_chunk() {
            self.sum.add(blocks, load_blocks(powers));
        }
        self.powers = self.powers.get(count..).unwrap_or_default();
    }

    #[inline]
    #[target_feature(enable = "avx512bw,avx512dq,avx512vl,bmi2,vaes,vpclmulqdq")]
    fn add_group(&mut self, blocks: Group) {
        for blocks in blocks {
            self.add(blocks, LANES);
        }
    }

    /// The powers for four registers, which are to be added.
    #[inline]
    fn next_group(&mut self) -> &'s [u128; GROUP_BLOCKS] {
        const NONE: &[u128; GROUP_BLOCKS] = &[0; GROUP_BLOCKS];
        let Some((powers, rest)) = self.powers.split_first_chunk() else { return NONE };
        self.powers = rest;
        powers
    }

    /// Takes `count` blocks in while there are more blocks than powers.
    #[inline]
    #[target_feature(enable = "avx512bw,avx512dq,avx512vl,bmi2,vaes,vpclmulqdq")]
    fn reduce<const N: usize>(&mut self, mut blocks: [__m512i; N], count: usize) {
        if let Some(first) = blocks.first_mut() {
            *first = _mm512_xor_si512(*first, self.before);
        }
        let mut sum = Products::none();
        let mut powers = self.schedule.powers(count);
        for blocks in blocks {
            if let Some(four) = powers.first_chunk() {
                sum.add(blocks, load_blocks(four));
            }
            powers = powers.get(LANES..).unwrap_or_default();
        }
        self.before = _mm512_zextsi128_si512(sum_of_lanes(sum.reduce()));
        // `powers` still holds all of them, and is cut to what is left when that fits.
        let left = POWERS + self.more - count;
        self.more = left.saturating_sub(POWERS);
        if self.more == 0 {
            self.powers = self.schedule.powers(left);
            if let Some(powers) = self.powers.first_chunk() {
                self.sum.add(self.before, load_blocks(powers));
            }
        }
    }
}
