//! What an engine is given to do.

use zeroize::Zeroize;

/// The octets of a tag: MACsec's ICV.
pub const TAG_LEN: usize = 16;

/// The most jobs of one batch: as many as there are bits in the answer.
pub const BATCH_MAX: usize = 64;

/// One frame: its nonce, what is only authenticated, and what is encrypted, with room for the tag.
///
/// The default has no room for a tag and stands for no frame: nothing is done with it, and it is
/// not right.
#[derive(Debug, Default)]
pub struct Job<'a> {
    /// The block of SP 800-38D's J0, but with a counter of 0: the nonce, and four octets of 0.
    pub(super) nonce: u128,
    pub(super) aad: &'a [u8],
    payload_and_tag: &'a mut [u8],
}

impl<'a> Job<'a> {
    /// Takes the octets of a frame: `aad`, and the payload with the tag, or room for it, behind.
    #[must_use]
    pub const fn new(nonce: [u8; 12], aad: &'a [u8], payload_and_tag: &'a mut [u8]) -> Self {
        let [a, b, c, d, e, f, g, h, i, j, k, l] = nonce;
        let nonce = u128::from_le_bytes([a, b, c, d, e, f, g, h, i, j, k, l, 0, 0, 0, 0]);
        Self { nonce, aad, payload_and_tag }
    }

    /// The payload and the tag; `None` where there is less than a tag.
    pub(super) const fn parts(&mut self) -> Option<(&mut [u8], &mut [u8; TAG_LEN])> {
        self.payload_and_tag.split_last_chunk_mut()
    }

    /// The payload, and the tag as it stands in the frame.
    pub(super) const fn payload_and_tag(&mut self) -> &mut [u8] {
        self.payload_and_tag
    }

    pub(super) fn nonce(&self) -> [u8; 12] {
        let [nonce @ .., _, _, _, _] = self.nonce.to_le_bytes();
        nonce
    }

    /// Takes away what must not be seen, as the tag was wrong.
    pub(super) fn wipe(&mut self) {
        if let Some((payload, _)) = self.parts() {
            payload.zeroize();
        }
    }
}
