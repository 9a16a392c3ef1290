//! Where randomness comes from: outside.

/// A source of random octets fit for keys. The daemon passes the kernel's; tests pass a seed.
pub trait Entropy {
    /// Fills `out` with random octets.
    ///
    /// # Errors
    ///
    /// [`NoEntropy`] where there are none to be had; `out` is then not to be used.
    fn fill(&mut self, out: &mut [u8]) -> Result<(), NoEntropy>;
}

/// The source of randomness failed.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("the system gives no random numbers")]
pub struct NoEntropy;
