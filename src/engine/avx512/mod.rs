//! x86-64 with AVX-512: four blocks in a register.

#![allow(
    clippy::indexing_slicing,
    clippy::needless_range_loop,
    reason = "of arrays, with constants, so that loops unroll"
)]

mod frame;
mod quad;
mod vector;

use super::schedule::Schedule;
use super::scratch;
use super::{BATCH_MAX, Job};
use vector::{BLOCK, LANES};

/// Seals each job.
#[target_feature(enable = "avx512bw,avx512dq,avx512vl,bmi2,vaes,vpclmulqdq")]
pub(super) fn seal(schedule: &Schedule, jobs: &mut [Job<'_>]) {
    match schedule.rounds() {
        10 => batch::<10, true>(schedule, jobs),
        _ => batch::<14, true>(schedule, jobs),
    };
    scratch::clear_registers();
}

/// Opens each job, 64 at most, and gives a bit for each whose tag was right.
#[target_feature(enable = "avx512bw,avx512dq,avx512vl,bmi2,vaes,vpclmulqdq")]
pub(super) fn open(schedule: &Schedule, jobs: &mut [Job<'_>]) -> u64 {
    let right = match schedule.rounds() {
        10 => batch::<10, false>(schedule, jobs),
        _ => batch::<14, false>(schedule, jobs),
    };
    scratch::clear_registers();
    right
}

#[target_feature(enable = "avx512bw,avx512dq,avx512vl,bmi2,vaes,vpclmulqdq")]
fn batch<const ROUNDS: usize, const SEAL: bool>(schedule: &Schedule, jobs: &mut [Job<'_>]) -> u64 {
    let mut right = 0;
    for (at, jobs) in jobs.chunks_mut(BATCH_MAX).enumerate() {
        let (mut one, mut two) = (Short::default(), Short::default());
        for (at, job) in jobs.iter_mut().enumerate() {
            let Some((payload, _)) = job.parts() else { continue };
            // The lane for J0 is always there, so a register takes three blocks at most.
            let registers = payload.len().div_ceil(BLOCK) / LANES;
            match registers {
                0 if (1..=quad::AAD_MAX).contains(&job.aad.len()) => one.push(at),
                1 if (1..=quad::AAD_MAX).contains(&job.aad.len()) => two.push(at),
                _ => right |= u64::from(frame::frame::<ROUNDS, SEAL>(schedule, job)) << at,
            }
        }
        right |= short::<ROUNDS, 1, SEAL>(schedule, &one, jobs);
        right |= short::<ROUNDS, 2, SEAL>(schedule, &two, jobs);
        debug_assert!(SEAL || at == 0, "there is a bit for each job that is opened");
    }
    right
}

/// Places of short jobs.
struct Short {
    at: [u8; BATCH_MAX],
    count: usize,
}

impl Default for Short {
    fn default() -> Self {
        Self { at: [0; BATCH_MAX], count: 0 }
    }
}

impl Short {
    #[allow(clippy::cast_possible_truncation, reason = "a place is below `BATCH_MAX`")]
    fn push(&mut self, at: usize) {
        if let Some(slot) = self.at.get_mut(self.count) {
            *slot = at as u8;
            self.count += 1;
        }
    }
}

/// Does the jobs at these places, four at a time, and those that are left one at a time.
#[inline(never)]
#[target_feature(enable = "avx512bw,avx512dq,avx512vl,bmi2,vaes,vpclmulqdq")]
fn short<const ROUNDS: usize, const N: usize, const SEAL: bool>(
    schedule: &Schedule,
    short: &Short,
    jobs: &mut [Job<'_>],
) -> u64 {
    let mut right = 0;
    let (fours, left) = short.at.get(..short.count).unwrap_or_default().as_chunks::<LANES>();
    for places in fours {
        let Ok(four) = jobs.get_disjoint_mut(places.map(usize::from)) else { continue };
        right |= spread(quad::quad::<ROUNDS, N, SEAL>(schedule, four), *places);
    }
    for at in left {
        if let Some(job) = jobs.get_mut(usize::from(*at)) {
            right |= u64::from(frame::frame::<ROUNDS, SEAL>(schedule, job)) << at;
        }
    }
    right
}

/// Puts the answer for each of four, of two bits, to its place.
fn spread(halves: u8, places: [u8; LANES]) -> u64 {
    let both = halves & halves >> 1;
    let [a, b, c, d] = places;
    u64::from(both & 1) << a
        | u64::from(both >> 2 & 1) << b
        | u64::from(both >> 4 & 1) << c
        | u64::from(both >> 6 & 1) << d
}
