//! What comes in without protection, where that is let through.

use super::counts::{Counts, Tally};
use super::inbound::check;
use super::publish::Reader;
use super::{JOINED_MAX, Stalled, is_for_now};
use crate::secy::{FrameBuf, FrameTooLong};
use crate::sys::{BATCH_MAX, PacketSocket, PlainFrame, Tap, VLAN_TAG_LEN};
use crate::wire::ethernet::ADDRESSES_LEN;

/// The buffer for frames without protection; made when there is one.
#[derive(Default)]
pub(super) struct Plain(Option<FrameBuf>);

impl Plain {
    /// Hands on what is there, one frame after the other. Nothing here is fast: it is the way
    /// around protection, not through it.
    pub(super) fn batch(
        &mut self,
        wire: &PacketSocket,
        reader: &mut Reader,
        tap: &Tap,
        counts: &Counts,
    ) -> Result<(), Stalled> {
        let frame = self.0.get_or_insert_with(|| FrameBuf::new(JOINED_MAX));
        let mut tally = Tally::default();
        for _ in 0..BATCH_MAX {
            let PlainFrame { mut header, len, tag } = match wire.recv_plain(frame.room()) {
                Ok(arrived) => arrived,
                Err(error) if is_for_now(&error) => return Ok(()),
                Err(_) => return Err(Stalled),
            };
            if tag.is_some() {
                header = header.behind_vlan_tag();
            }
            if take(frame, len, tag).is_err() {
                tally.drops.in_too_long += 1;
            } else {
                check(reader.table(), [&mut *frame], &mut tally);
            }
            counts.settle(&mut tally);
            if !frame.is_empty() && tap.write(&header, frame.octets()).is_err() {
                tally.drops.in_undelivered += 1;
            }
            counts.settle(&mut tally);
        }
        Ok(())
    }
}

/// Takes the first `len` octets of the room as the frame, and puts a VLAN tag back behind its
/// addresses.
fn take(
    frame: &mut FrameBuf,
    len: usize,
    tag: Option<[u8; VLAN_TAG_LEN]>,
) -> Result<(), FrameTooLong> {
    frame.set_len(len)?;
    let Some(tag) = tag.filter(|_| len >= ADDRESSES_LEN) else { return Ok(()) };
    frame.set_len(len + VLAN_TAG_LEN)?;
    frame.octets_mut().copy_within(ADDRESSES_LEN..len, ADDRESSES_LEN + VLAN_TAG_LEN);
    let place = frame.octets_mut().get_mut(ADDRESSES_LEN..ADDRESSES_LEN + VLAN_TAG_LEN);
    place.unwrap_or_default().copy_from_slice(&tag);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_is_put_back_behind_the_addresses() {
        let mut frame = FrameBuf::new(20);
        frame.room()[..15].copy_from_slice(&[1, 1, 1, 1, 1, 1, 2, 2, 2, 2, 2, 2, 8, 0, 7]);
        take(&mut frame, 15, Some([0x81, 0, 0, 5])).unwrap();
        assert_eq!(frame.octets()[10..], [2, 2, 0x81, 0, 0, 5, 8, 0, 7]);
        assert!(take(&mut frame, 17, Some([0x81, 0, 0, 5])).is_err());
        take(&mut frame, 17, None).unwrap();
        assert_eq!(frame.len(), 17);
    }
}
