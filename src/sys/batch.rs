//! Many frames in one system call.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem;
use std::os::fd::AsRawFd;
use std::ptr;

use nix::errno::Errno;

use super::PacketSocket;

/// The most frames that one call takes.
pub const BATCH_MAX: usize = 64;

impl PacketSocket {
    /// Receives the frames that are there, one into each buffer, and returns how many.
    ///
    /// Writes the length of each to `lengths`; one above the buffer's means that the frame did not
    /// fit. Takes no more than the shorter of the two slices and [`BATCH_MAX`] have room for.
    ///
    /// # Errors
    ///
    /// As for [`PacketSocket::recv`].
    pub fn recv_batch(
        &self,
        buffers: &mut [IoSliceMut<'_>],
        lengths: &mut [usize],
    ) -> io::Result<usize> {
        let mut headers = no_headers();
        let mut count: libc::c_uint = 0;
        for ((header, buffer), _) in headers.iter_mut().zip(&mut *buffers).zip(&*lengths) {
            // `IoSliceMut` has the layout of an iovec, by its documentation.
            header.msg_hdr.msg_iov = ptr::from_mut(buffer).cast();
            header.msg_hdr.msg_iovlen = 1;
            count += 1;
        }
        // SAFETY: the first `count` headers each point to one buffer of `buffers`, exclusively
        // borrowed until after the call, and to no name or control data; `headers` outlives it too.
        let received = unsafe {
            libc::recvmmsg(
                self.as_raw_fd(),
                headers.as_mut_ptr(),
                count,
                libc::MSG_DONTWAIT | libc::MSG_TRUNC,
                ptr::null_mut(),
            )
        };
        let received = usize::try_from(Errno::result(received)?).unwrap_or_default();
        for (length, header) in lengths.iter_mut().zip(&headers).take(received) {
            *length = header.msg_len as usize;
        }
        Ok(received)
    }

    /// Sends frames from the first on, and returns how many the interface has taken; the rest can
    /// be tried again. Takes no more than [`BATCH_MAX`].
    ///
    /// # Errors
    ///
    /// As for [`PacketSocket::send`], where already the first frame was refused.
    pub fn send_batch(&self, frames: &[IoSlice<'_>]) -> io::Result<usize> {
        let mut headers = no_headers();
        let mut count: libc::c_uint = 0;
        for (header, frame) in headers.iter_mut().zip(frames) {
            // `IoSlice` has the layout of an iovec, by its documentation; it is only read.
            header.msg_hdr.msg_iov = ptr::from_ref(frame).cast_mut().cast();
            header.msg_hdr.msg_iovlen = 1;
            count += 1;
        }
        // SAFETY: the first `count` headers each point to one frame of `frames`, borrowed until
        // after the call, and to no name or control data; the kernel writes to `headers` alone,
        // which outlives the call.
        let sent = unsafe {
            libc::sendmmsg(self.as_raw_fd(), headers.as_mut_ptr(), count, libc::MSG_DONTWAIT)
        };
        Ok(usize::try_from(Errno::result(sent)?).unwrap_or_default())
    }
}

fn no_headers() -> [libc::mmsghdr; BATCH_MAX] {
    // SAFETY: all octets zero is a value of this type: integers, and pointers that may be null.
    unsafe { mem::zeroed() }
}
