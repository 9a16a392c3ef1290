//! Numbers that look random and all follow from one seed.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use macsecd::crypto::{Entropy, NoEntropy};

/// `SplitMix64`: small, fast, and good enough to choose faults with.
#[derive(Clone, Debug)]
pub(crate) struct Rng(u64);

impl Rng {
    pub(crate) fn new(seed: u64) -> Self {
        let mut rng = Self(seed);
        // Seeds that differ by one give streams that have nothing in common.
        Self(rng.draw() ^ 0x6d61_6373_6563_6421)
    }

    pub(crate) fn draw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number from 0 up to, and not including, `limit`.
    pub(crate) fn below(&mut self, limit: usize) -> usize {
        let wide = u128::from(self.draw()) * (limit as u128);
        usize::try_from(wide >> 64).unwrap()
    }

    /// True in `per_mille` of a thousand cases.
    pub(crate) fn chance(&mut self, per_mille: u16) -> bool {
        per_mille > 0 && self.below(1000) < usize::from(per_mille)
    }

    /// One of several.
    pub(crate) fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())]
    }

    /// A span between two.
    pub(crate) fn span(&mut self, low: Duration, high: Duration) -> Duration {
        let nanos = usize::try_from(high.saturating_sub(low).as_nanos()).unwrap();
        low + Duration::from_nanos(self.below(nanos.max(1)) as u64)
    }

    /// Puts things into another order.
    pub(crate) fn shuffle<T>(&mut self, things: &mut [T]) {
        for last in (1..things.len()).rev() {
            things.swap(last, self.below(last + 1));
        }
    }

    /// A generator of its own, so that what one part draws does not shift another's numbers.
    pub(crate) fn fork(&mut self) -> Self {
        Self(self.draw())
    }
}

/// A member's source of randomness: octets forced by a test first, then the seed's.
pub(crate) struct Source {
    pub(crate) rng: Rng,
    pub(crate) forced: Vec<[u8; 12]>,
    /// While set there is nothing to be had.
    pub(crate) dry: Arc<AtomicBool>,
}

impl Entropy for Source {
    fn fill(&mut self, out: &mut [u8]) -> Result<(), NoEntropy> {
        if self.dry.load(Ordering::Relaxed) {
            return Err(NoEntropy);
        }
        if out.len() == 12 && !self.forced.is_empty() {
            out.copy_from_slice(&self.forced.remove(0));
            return Ok(());
        }
        for chunk in out.chunks_mut(8) {
            let octets = self.rng.draw().to_le_bytes();
            chunk.copy_from_slice(&octets[..chunk.len()]);
        }
        Ok(())
    }
}

#[test]
fn a_seed_gives_the_same_numbers_each_time_and_another_seed_others() {
    let draws = |seed| {
        let mut rng = Rng::new(seed);
        [rng.draw(), rng.draw(), rng.draw()]
    };
    assert_eq!(draws(1), draws(1));
    assert_ne!(draws(1), draws(2));
}

#[test]
fn chances_and_spans_are_what_they_say() {
    let mut rng = Rng::new(7);
    let hits = (0..10_000).filter(|_| rng.chance(300)).count();
    assert!((2800..3200).contains(&hits), "{hits} of 3000");
    assert!((0..1000).all(|_| !rng.chance(0)));
    let (low, high) = (Duration::from_millis(3), Duration::from_millis(5));
    assert!((0..1000).all(|_| (low..high).contains(&rng.span(low, high))));
}
