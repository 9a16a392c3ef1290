//! Randomness from the kernel.

use crate::crypto::{Entropy, NoEntropy};

/// The system's source of random octets.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct SystemEntropy;

impl Entropy for SystemEntropy {
    fn fill(&mut self, out: &mut [u8]) -> Result<(), NoEntropy> {
        aws_lc_rs::rand::fill(out).map_err(|_| NoEntropy)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_draws_differ() {
        let (mut first, mut second) = ([0; 32], [0; 32]);
        SystemEntropy.fill(&mut first).unwrap();
        SystemEntropy.fill(&mut second).unwrap();
        assert_ne!(first, second);
    }
}
