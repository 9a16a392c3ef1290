//! The seal of what is kept over a restart.

use std::fmt;

use super::prf::Prf;

/// The key that a record is sealed with: AES-CMAC under a key that only holders of the CAK have.
pub struct Seal(Prf);

impl Seal {
    pub(super) const fn new(prf: Prf) -> Self {
        Self(prf)
    }

    /// Computes the seal of a record.
    #[must_use]
    pub fn tag(&self, record: &[u8]) -> [u8; 16] {
        self.0.tag(&[record])
    }

    /// Tells, in constant time, whether the record was sealed with this key and not altered since.
    #[must_use]
    pub fn verify(&self, record: &[u8], tag: &[u8; 16]) -> bool {
        self.0.verify(record, tag)
    }
}

impl fmt::Debug for Seal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Seal(..)")
    }
}
