//! One frame in a buffer that it never leaves, from the tap to the wire or back.

use crate::wire::ethernet::{ADDRESSES_LEN, HEADER_LEN};
use crate::wire::{ICV_LEN, SecTag};

/// What protection adds to a frame at most: SecTAG with SCI, and ICV. The MTU of the secure
/// interface is less by this than the link's.
pub const OVERHEAD_MAX: usize = HEADROOM + ICV_LEN;

pub(super) const ETHERTYPE_LEN: usize = HEADER_LEN - ADDRESSES_LEN;

/// Octets in front of a fresh frame: the SecTAG at its longest, its EtherType included.
const HEADROOM: usize = ETHERTYPE_LEN + SecTag::LEN_WITH_SCI;
/// Octets behind the longest frame, so that a cipher may store whole vectors past its end.
const TAILROOM: usize = 64;

/// One Ethernet frame without its FCS, in a buffer of fixed size.
///
/// The frame is always one slice. Protecting it moves the addresses left into the headroom, puts
/// the tag between them and the user data, and appends the ICV; validating does the reverse. The
/// user data stays where it was read. Buffers are meant to be made once, in batches, and used again
/// and again: nothing here allocates after [`FrameBuf::new`].
#[derive(Debug)]
pub struct FrameBuf {
    octets: Box<[u8]>,
    /// Where the frame begins and ends. Always `start <= end <= octets.len()`.
    start: usize,
    end: usize,
    frame_max: usize,
}

/// The frame does not fit the buffer.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("a frame of {len} octets where at most {max} fit")]
pub struct FrameTooLong {
    /// The octets of the frame.
    pub len: usize,
    /// The octets that fit.
    pub max: usize,
}

impl FrameBuf {
    /// Makes an empty buffer for frames of up to `frame_max` octets on the wire.
    ///
    /// That counts everything from the destination address to the ICV: 14 octets more than the
    /// MTU of the link, and what room for VLAN tags the link grants.
    #[must_use]
    pub fn new(frame_max: usize) -> Self {
        let octets = vec![0; HEADROOM + frame_max + TAILROOM].into_boxed_slice();
        Self { octets, start: HEADROOM, end: HEADROOM, frame_max }
    }

    /// The frame.
    #[must_use]
    pub fn octets(&self) -> &[u8] {
        self.octets.get(self.start..self.end).unwrap_or_default()
    }

    /// The frame, to be changed in place.
    #[must_use]
    pub fn octets_mut(&mut self) -> &mut [u8] {
        self.octets.get_mut(self.start..self.end).unwrap_or_default()
    }

    /// How many octets the frame has.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.end - self.start
    }

    /// Tells whether the buffer holds no frame, as it does when new, cleared or refused.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.start == self.end
    }

    /// The longest frame that fits, in octets.
    #[must_use]
    pub const fn frame_max(&self) -> usize {
        self.frame_max
    }

    /// Drops the frame.
    pub const fn clear(&mut self) {
        self.start = HEADROOM;
        self.end = HEADROOM;
    }

    /// Drops the frame and gives the place where the next one is to be read into.
    ///
    /// Say with [`FrameBuf::set_len`] how much was read.
    #[must_use]
    pub fn room(&mut self) -> &mut [u8] {
        self.clear();
        self.octets.get_mut(HEADROOM..HEADROOM + self.frame_max).unwrap_or_default()
    }

    /// Takes the first `len` octets of the room as the frame.
    ///
    /// # Errors
    ///
    /// [`FrameTooLong`] where the room is smaller; the buffer is then empty.
    pub const fn set_len(&mut self, len: usize) -> Result<(), FrameTooLong> {
        self.clear();
        if len > self.frame_max {
            return Err(FrameTooLong { len, max: self.frame_max });
        }
        self.end = HEADROOM + len;
        Ok(())
    }

    /// Copies a frame in.
    ///
    /// # Errors
    ///
    /// [`FrameTooLong`] where it does not fit; the buffer is then empty.
    pub fn fill(&mut self, frame: &[u8]) -> Result<(), FrameTooLong> {
        self.set_len(frame.len())?;
        self.octets_mut().copy_from_slice(frame);
        Ok(())
    }

    /// The EtherType behind the addresses; `None` where the frame is too short to have one.
    #[must_use]
    pub fn ethertype(&self) -> Option<u16> {
        let [.., high, low] = self.octets().first_chunk::<HEADER_LEN>()?;
        Some(u16::from_be_bytes([*high, *low]))
    }

    /// Tells whether a frame with a tag of this length still fits.
    pub(super) const fn fits(&self, tag_len: usize) -> bool {
        self.start >= tag_len && self.len() + tag_len + ICV_LEN <= self.frame_max
    }

    /// Inserts `tag` behind the addresses, and room for an ICV behind the data.
    ///
    /// `None`, and nothing changes, where the longer frame does not fit.
    #[inline(always)]
    pub(super) fn grow(&mut self, tag: &[u8]) -> Option<&mut [u8]> {
        let start = self.start.checked_sub(tag.len())?;
        let end = self.end + ICV_LEN;
        if !self.fits(tag.len()) {
            return None;
        }
        let addresses: [u8; ADDRESSES_LEN] = *self.octets().first_chunk()?;
        let frame = self.octets.get_mut(start..end)?;
        let (to, behind) = frame.split_first_chunk_mut()?;
        *to = addresses;
        // Of known length, so that nothing is called for so little.
        match <&[u8; HEADROOM]>::try_from(tag) {
            Ok(tag) => *behind.first_chunk_mut()? = *tag,
            Err(_) => behind.get_mut(..tag.len())?.copy_from_slice(tag),
        }
        (self.start, self.end) = (start, end);
        Some(frame)
    }

    /// Takes out the `tag_len` octets behind the addresses and all that follows `data_len` more.
    ///
    /// Empties the buffer where the frame is not that long.
    #[inline(always)]
    pub(super) fn shrink(&mut self, tag_len: usize, data_len: usize) {
        let start = self.start + tag_len;
        let end = start + ADDRESSES_LEN + data_len;
        let addresses: Option<[u8; ADDRESSES_LEN]> = self.octets().first_chunk().copied();
        let kept = self.octets.get_mut(start..end.min(self.end));
        match (addresses, kept.and_then(|kept| kept.first_chunk_mut())) {
            (Some(addresses), Some(to)) if end <= self.end => {
                *to = addresses;
                (self.start, self.end) = (start, end);
            }
            _ => self.clear(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FRAME: &[u8] = &[1, 1, 1, 1, 1, 1, 2, 2, 2, 2, 2, 2, 0x08, 0x00, 0x45];

    fn holding(frame: &[u8], frame_max: usize) -> FrameBuf {
        let mut buffer = FrameBuf::new(frame_max);
        buffer.fill(frame).unwrap();
        buffer
    }

    #[test]
    fn a_link_of_1500_octets_leaves_1468_to_the_secure_interface() {
        assert_eq!(1500 - OVERHEAD_MAX, 1468);
    }

    #[test]
    fn growing_puts_the_tag_behind_the_addresses_and_leaves_the_data_in_place() {
        let mut buffer = holding(FRAME, 64);
        let data_at = buffer.octets()[12..].as_ptr();

        buffer.grow(&[0x88, 0xe5, 9, 9, 9, 9, 9, 9]).unwrap();

        assert_eq!(buffer.len(), 15 + 8 + 16);
        assert_eq!(buffer.octets()[..12], FRAME[..12]);
        assert_eq!(buffer.octets()[12..20], [0x88, 0xe5, 9, 9, 9, 9, 9, 9]);
        assert_eq!(buffer.octets()[20..23], FRAME[12..]);
        assert_eq!(buffer.octets()[20..].as_ptr(), data_at);
    }

    #[test]
    fn shrinking_undoes_growing() {
        for tag in [&[7; 8][..], &[7; 16]] {
            let mut buffer = holding(FRAME, 64);
            buffer.grow(tag).unwrap();
            buffer.shrink(tag.len(), 3);
            assert_eq!(buffer.octets(), FRAME);
        }
    }

    #[test]
    fn shrinking_past_the_end_empties_the_buffer() {
        let mut buffer = holding(FRAME, 64);
        buffer.shrink(8, 3);
        assert!(buffer.is_empty());
        let mut buffer = holding(FRAME, 64);
        buffer.shrink(200, 3);
        assert!(buffer.is_empty());
        let mut buffer = holding(FRAME, 64);
        buffer.shrink(1, 3);
        assert!(buffer.is_empty(), "the addresses would fit, and what follows would not");
    }

    #[test]
    fn a_frame_that_would_not_fit_the_wire_does_not_grow() {
        let mut buffer = holding(FRAME, FRAME.len() + 31);
        assert!(buffer.grow(&[0; 16]).is_none());
        assert_eq!(buffer.octets(), FRAME);
        assert!(buffer.grow(&[0; 8]).is_some());
    }

    #[test]
    fn a_frame_grows_once_only_as_the_headroom_is_for_one_tag() {
        let mut buffer = holding(FRAME, 200);
        assert!(buffer.grow(&[0; 16]).is_some());
        assert!(buffer.grow(&[0; 16]).is_none());
    }

    #[test]
    fn a_buffer_is_used_again_from_its_full_room() {
        let mut buffer = holding(FRAME, 47);
        buffer.grow(&[0; 16]).unwrap();

        assert_eq!(buffer.room().len(), 47);
        assert!(buffer.is_empty());
        buffer.room()[..2].copy_from_slice(&[5, 6]);
        buffer.set_len(2).unwrap();
        assert_eq!(buffer.octets(), [5, 6]);

        assert_eq!((buffer.frame_max(), buffer.set_len(47)), (47, Ok(())));
        assert_eq!(buffer.len(), 47);
        assert_eq!(buffer.set_len(48), Err(FrameTooLong { len: 48, max: 47 }));
        assert!(buffer.is_empty());
    }

    #[test]
    fn the_ethertype_is_behind_the_addresses_if_anywhere() {
        assert_eq!(holding(FRAME, 64).ethertype(), Some(0x0800));
        assert_eq!(holding(&FRAME[..13], 64).ethertype(), None);
    }
}
