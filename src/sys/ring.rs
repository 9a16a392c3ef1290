//! Received frames in memory that the kernel and this process share (PACKET_MMAP, TPACKET_V2).
//!
//! The kernel puts each frame into the next slot and this process looks at it there: no system call
//! for a frame or a batch, only for a wait. Of the versions of such rings this is the one that hands
//! over frame by frame. Version 3 does it by the block, or when a block has been open for a
//! millisecond, which is how long a lone frame would lie there.

use std::io;
use std::num::NonZeroUsize;
use std::os::fd::{AsFd, BorrowedFd};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, PoisonError};

use nix::sys::mman::{MapFlags, ProtFlags, mmap, munmap};

use super::error::SysError;
use super::packet::{ETHERTYPE_MACSEC, PACKET_MR_UNICAST, os};
use super::{PacketSocket, PacketStatistics, filter};

/// What the kernel takes at once, which is of no importance: a slot does not cross a block's end.
const BLOCK_LEN: usize = 1 << 16;
/// The octets of a ring, as far as that is enough slots: some 6 ms of 10 Gb/s in full-size frames,
/// which is how long a thread may not be given a processor that others want, too.
const RING_LEN: usize = 8 << 20;
/// The least number of slots, where frames are long.
const SLOTS_MIN: usize = 512;
/// In front of a frame in its slot: what the kernel says of it, its address and its alignment.
const SLOT_HEADER_LEN: usize = 80;
/// What slots are aligned to: a line of the processor's cache.
const SLOT_ALIGN: usize = 64;

/// A socket whose frames lie in shared memory.
#[derive(Debug)]
pub struct PacketRing {
    socket: PacketSocket,
    memory: Memory,
    slots: Slots,
    /// The slot that the kernel fills next, or has filled. Held while frames are looked at, so that
    /// no two threads have the same slot.
    position: Mutex<usize>,
}

/// How a ring is divided.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
struct Slots {
    len: usize,
    in_block: usize,
    count: usize,
}

/// Mapped memory; unmapped when it is dropped.
#[derive(Debug)]
struct Memory {
    start: NonNull<u8>,
    len: usize,
}

/// A frame in the ring.
#[derive(Clone, Copy, Debug)]
pub struct RingFrame<'a> {
    /// Its octets, as far as there was room for them.
    pub octets: &'a [u8],
    /// How many it has.
    pub len: usize,
}

// SAFETY: the memory is this value's alone in this process until it is dropped, whichever thread
// that is in. `PacketRing` lets one thread at a time at it.
unsafe impl Send for Memory {}
// SAFETY: as above: a shared reference to it lets nobody at the memory but by `PacketRing`'s lock.
unsafe impl Sync for Memory {}

impl Slots {
    fn of(frame_max: usize) -> Self {
        let len = (SLOT_HEADER_LEN + frame_max).next_multiple_of(SLOT_ALIGN).min(BLOCK_LEN);
        let in_block = BLOCK_LEN / len;
        let blocks = (RING_LEN / BLOCK_LEN).max(SLOTS_MIN.div_ceil(in_block));
        Self { len, in_block, count: in_block * blocks }
    }

    const fn blocks(self) -> usize {
        self.count / self.in_block
    }

    /// Where a slot begins.
    const fn place(self, number: usize) -> usize {
        number / self.in_block * BLOCK_LEN + number % self.in_block * self.len
    }
}

impl PacketRing {
    /// Opens a socket that receives protected frames of up to `frame_max` octets.
    ///
    /// Those to any group are among them, because the interface cannot know which groups the
    /// stations above the protection have joined; so are those to `further_address`, for a SecY
    /// with an address other than the interface's.
    ///
    /// # Errors
    ///
    /// As for [`PacketSocket::eapol`], [`SysError::Os`] where there is no memory.
    pub fn macsec(
        interface_index: u32,
        further_address: Option<[u8; 6]>,
        frame_max: usize,
    ) -> Result<Self, SysError> {
        let slots = Slots::of(frame_max);
        let socket = PacketSocket::open(interface_index)?;
        socket.filter(&filter::macsec())?;
        socket.ignore_outgoing()?;
        socket.join(interface_index, libc::PACKET_MR_ALLMULTI, [0; 6])?;
        if let Some(address) = further_address {
            socket.join(interface_index, PACKET_MR_UNICAST, address)?;
        }
        let version = libc::c_int::try_from(libc::tpacket_versions::TPACKET_V2 as u32);
        socket
            .set_option(libc::PACKET_VERSION, &version.unwrap_or_default())
            .map_err(os("choosing a version of packet rings"))?;
        let number = |number: usize| libc::c_uint::try_from(number).unwrap_or_default();
        let request = libc::tpacket_req {
            tp_block_size: number(BLOCK_LEN),
            tp_block_nr: number(slots.blocks()),
            tp_frame_size: number(slots.len),
            tp_frame_nr: number(slots.count),
        };
        socket
            .set_option(libc::PACKET_RX_RING, &request)
            .map_err(os("making a ring for received frames"))?;
        let memory = Memory::of(&socket, slots.blocks() * BLOCK_LEN)
            .map_err(os("mapping a ring for received frames"))?;
        socket.bind(interface_index, ETHERTYPE_MACSEC)?;
        Ok(Self { socket, memory, slots, position: Mutex::new(0) })
    }

    /// The longest frame that fits.
    #[must_use]
    pub const fn frame_max(&self) -> usize {
        self.slots.len - SLOT_HEADER_LEN
    }

    /// Shows the frames that are there to `look`, in order, at most `max`, and returns how many.
    ///
    /// # Errors
    ///
    /// [`io::ErrorKind::NetworkDown`] once after the interface went down or away, where there is no
    /// frame left.
    pub fn receive(&self, max: usize, mut look: impl FnMut(RingFrame<'_>)) -> io::Result<usize> {
        let mut position = self.position.lock().unwrap_or_else(PoisonError::into_inner);
        for count in 0..max {
            if !self.look_at(*position, &mut look) {
                if count == 0
                    && let Some(error) = self.socket.socket.take_error()?
                {
                    return Err(error);
                }
                return Ok(count);
            }
            *position = (*position + 1) % self.slots.count;
        }
        Ok(max)
    }

    /// Shows the frame in a slot and gives the slot back; `false` where there is none in it. The
    /// caller holds `position`, and the slot is the one that it names.
    fn look_at(&self, slot: usize, look: &mut impl FnMut(RingFrame<'_>)) -> bool {
        let place = self.slots.place(slot);
        debug_assert!(place + self.slots.len <= self.memory.len);
        // SAFETY: every slot lies in the memory, by `Slots` and as it was mapped in that size, and
        // so the place is within it.
        let start = unsafe { self.memory.start.add(place) };
        let header = start.cast::<libc::tpacket2_hdr>();
        // SAFETY: `tp_status` is the first field of the header that each slot begins with; slots
        // are aligned to 64 octets from the start of a page. Kernel and process both use it with
        // atomic loads and stores alone, as long as the memory is mapped.
        let status = unsafe { AtomicU32::from_ptr(header.cast::<u32>().as_ptr()) };
        if status.load(Ordering::Acquire) & libc::TP_STATUS_USER == 0 {
            return false;
        }
        // SAFETY: the status says that the slot is ours until we say otherwise, which is below. The
        // kernel has written the header before the status.
        let (len, held, offset) = unsafe {
            let header = header.as_ptr();
            ((*header).tp_len, (*header).tp_snaplen, (*header).tp_mac)
        };
        let (held, offset) = (held as usize, usize::from(offset));
        // As the kernel does it. A slot that said otherwise is passed over as an empty frame.
        let held = if offset + held <= self.slots.len { held } else { 0 };
        // SAFETY: these octets lie in the slot, as was just looked at, and it is ours until the
        // status is stored. `position` is locked, so nobody else has it, and the slice does not
        // outlive the call: `look` takes a frame of any lifetime.
        let octets = unsafe {
            let offset = if held == 0 { 0 } else { offset };
            std::slice::from_raw_parts(start.add(offset).as_ptr(), held)
        };
        look(RingFrame { octets, len: len as usize });
        status.store(libc::TP_STATUS_KERNEL, Ordering::Release);
        true
    }

    /// Tells how many frames were received and lost since the socket was opened.
    ///
    /// # Errors
    ///
    /// None that a socket of this type has.
    pub fn statistics(&self) -> io::Result<PacketStatistics> {
        self.socket.statistics()
    }
}

impl AsFd for PacketRing {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl Memory {
    fn of(socket: &PacketSocket, len: usize) -> io::Result<Self> {
        let size = NonZeroUsize::new(len).ok_or(io::ErrorKind::InvalidInput)?;
        let protection = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
        // SAFETY: the address is the kernel's to choose, so nothing that is mapped is replaced; the
        // ring was made in this size, so all of it is there.
        let start =
            unsafe { mmap(None, size, protection, MapFlags::MAP_SHARED, socket.as_fd(), 0) }?;
        Ok(Self { start: start.cast(), len })
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        // SAFETY: it was mapped with this address and length, and nobody refers to it any more, as
        // what `PacketRing` gives of it does not outlive a call.
        let _ = unsafe { munmap(self.start.cast(), self.len) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_lie_in_their_blocks_whole_and_hold_the_longest_frame() {
        for frame_max in [82, 1522, 9022, 65000, 1 << 20] {
            let slots = Slots::of(frame_max);
            assert!(slots.count >= SLOTS_MIN);
            assert!(slots.len - SLOT_HEADER_LEN >= frame_max.min(BLOCK_LEN - SLOT_HEADER_LEN));
            let mut end = 0;
            for number in 0..slots.count {
                let place = slots.place(number);
                assert!(place >= end && place.is_multiple_of(SLOT_ALIGN));
                end = place + slots.len;
                assert_eq!(place / BLOCK_LEN, (end - 1) / BLOCK_LEN);
            }
            assert!(end <= slots.blocks() * BLOCK_LEN);
        }
    }
}
