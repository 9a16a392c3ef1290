//! The tap: an Ethernet interface whose other end is this process.

use std::fs::{File, OpenOptions};
use std::io::{self, IoSlice, IoSliceMut};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::os::unix::fs::OpenOptionsExt;

use nix::errno::Errno;
use nix::sys::uio::{readv, writev};

use super::error::NET_ADMIN;
use super::interface::{empty_request, name_in, request};
use super::{Interfaces, SysError, VNET_HEADER_LEN, VnetHeader};

/// Whether the system joins and takes apart datagrams, as it does segments of streams.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum JoinedDatagrams {
    /// It does (USO).
    Known,
    /// It is older than that.
    Unknown,
}

/// An Ethernet interface whose frames this process reads and writes. It vanishes with this value.
#[derive(Debug)]
pub struct Tap {
    device: File,
    interfaces: Interfaces,
}

impl Tap {
    /// Makes an interface called `name`, down and without a carrier.
    ///
    /// No offload is on: frames come whole and with their checksums, until
    /// [`Tap::take_joined_frames`].
    ///
    /// # Errors
    ///
    /// [`SysError::NameTaken`] where there is an interface called so, [`SysError::BadName`],
    /// [`SysError::NoTun`], [`SysError::NotPermitted`] without `CAP_NET_ADMIN`, [`SysError::Os`]
    /// else.
    pub fn create(name: &str) -> Result<Self, SysError> {
        let mut request = request(name)?;
        // One queue for now; more can be opened later. An interface that is there already, even a
        // tap, is another's: it is left alone.
        let flags = libc::IFF_TAP
            | libc::IFF_NO_PI
            | libc::IFF_VNET_HDR
            | libc::IFF_MULTI_QUEUE
            | libc::IFF_TUN_EXCL;
        request.ifr_ifru.ifru_flags = libc::c_short::from_ne_bytes(low_half(flags));
        let device = open_device()?;
        // SAFETY: the descriptor is open, and TUNSETIFF reads and writes one `ifreq`, which outlives
        // the call and is exclusively borrowed.
        let attached = unsafe { ioctls::set_interface(device.as_raw_fd(), &raw mut request) };
        attached.map_err(|errno| {
            if errno == Errno::EBUSY {
                return SysError::NameTaken(name.to_owned());
            }
            refused("making the tap")(errno)
        })?;
        let tap = Self { device, interfaces: Interfaces::open()? };
        tap.set_carrier(false)?;
        let length = libc::c_int::try_from(VNET_HEADER_LEN).unwrap_or_default();
        // SAFETY: the descriptor is a tap's, and TUNSETVNETHDRSZ reads one int.
        unsafe { ioctls::set_header_length(tap.as_raw_fd(), &raw const length) }
            .map_err(refused("sizing the tap's header"))?;
        // SAFETY: the descriptor is a tap's, and TUNSETOFFLOAD takes a number.
        unsafe { ioctls::set_offload(tap.as_raw_fd(), 0) }
            .map_err(refused("setting the tap's offloads"))?;
        Ok(tap)
    }

    /// Lets the system send frames joined and without checksums, as to a card that cuts them up
    /// itself, and tells whether datagrams are among them. It then also takes such frames itself.
    ///
    /// # Errors
    ///
    /// [`SysError::Os`] where the interface is gone.
    pub fn take_joined_frames(&self) -> Result<JoinedDatagrams, SysError> {
        const STREAMS: libc::c_uint =
            libc::TUN_F_CSUM | libc::TUN_F_TSO4 | libc::TUN_F_TSO6 | libc::TUN_F_TSO_ECN;
        const DATAGRAMS: libc::c_uint = libc::TUN_F_USO4 | libc::TUN_F_USO6;
        // SAFETY: the descriptor is a tap's, and TUNSETOFFLOAD takes a number.
        let set = |offloads: libc::c_uint| unsafe {
            ioctls::set_offload(self.as_raw_fd(), offloads.cast_signed())
        };
        if set(STREAMS | DATAGRAMS).is_ok() {
            return Ok(JoinedDatagrams::Known);
        }
        // Before Linux 6.2.
        set(STREAMS).map_err(refused("setting the tap's offloads"))?;
        Ok(JoinedDatagrams::Unknown)
    }

    /// Tells what the interface is called now.
    ///
    /// # Errors
    ///
    /// [`SysError::Os`] where the interface is gone.
    pub fn name(&self) -> Result<String, SysError> {
        let mut request = empty_request();
        // SAFETY: the descriptor is a tap's, and TUNGETIFF writes one `ifreq`, exclusively borrowed.
        unsafe { ioctls::get_interface(self.as_raw_fd(), &raw mut request) }
            .map_err(refused("asking for the tap's name"))?;
        Ok(name_in(&request))
    }

    /// Turns the carrier on or off. Without it the system sends nothing to the interface.
    ///
    /// # Errors
    ///
    /// [`SysError::Os`] where the interface is gone.
    pub fn set_carrier(&self, on: bool) -> Result<(), SysError> {
        let on = libc::c_int::from(on);
        // SAFETY: the descriptor is a tap's, and TUNSETCARRIER reads one int.
        unsafe { ioctls::set_carrier(self.as_raw_fd(), &raw const on) }
            .map(|_| ())
            .map_err(refused("setting the tap's carrier"))
    }

    /// Sets the MTU: the longest frame is 14 octets longer, 18 with a VLAN tag.
    ///
    /// # Errors
    ///
    /// As for [`Interfaces::set_mtu`].
    pub fn set_mtu(&self, mtu: u32) -> Result<(), SysError> {
        self.interfaces.set_mtu(&self.name()?, mtu)
    }

    /// Sets the MAC address.
    ///
    /// # Errors
    ///
    /// As for [`Interfaces::set_address`].
    pub fn set_address(&self, address: [u8; 6]) -> Result<(), SysError> {
        self.interfaces.set_address(&self.name()?, address)
    }

    /// Brings the interface up.
    ///
    /// # Errors
    ///
    /// As for [`Interfaces::set_up`].
    pub fn set_up(&self) -> Result<(), SysError> {
        self.interfaces.set_up(&self.name()?)
    }

    /// Reads the next frame that the system sends, and returns its length and what came with it.
    /// A frame that does not fit is cut to the length of `frame`.
    ///
    /// # Errors
    ///
    /// [`io::ErrorKind::WouldBlock`] where there is none, `EBADFD` where the interface is gone.
    pub fn read(&self, frame: &mut [u8]) -> io::Result<(VnetHeader, usize)> {
        let mut header = VnetHeader::WHOLE;
        let mut parts = [IoSliceMut::new(&mut header.0), IoSliceMut::new(frame)];
        let length = readv(&self.device, &mut parts)?;
        Ok((header, length.saturating_sub(VNET_HEADER_LEN)))
    }

    /// Hands a frame to the system, as received on the interface.
    ///
    /// # Errors
    ///
    /// `EIO` where the interface is down, `EBADFD` where it is gone, `EINVAL` where it is no frame.
    pub fn write(&self, header: &VnetHeader, frame: &[u8]) -> io::Result<()> {
        writev(&self.device, &[IoSlice::new(&header.0), IoSlice::new(frame)])?;
        Ok(())
    }

    /// Hands over a frame in pieces. The first of them is its header: [`VnetHeader`].
    ///
    /// # Errors
    ///
    /// As for [`Tap::write`].
    pub fn write_pieces(&self, pieces: &[IoSlice<'_>]) -> io::Result<()> {
        writev(&self.device, pieces)?;
        Ok(())
    }
}

impl AsFd for Tap {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.device.as_fd()
    }
}

impl AsRawFd for Tap {
    fn as_raw_fd(&self) -> RawFd {
        self.device.as_raw_fd()
    }
}

/// From linux/if_tun.h. TUNSETIFF and TUNGETIFF are declared there with an int, and take an `ifreq`.
mod ioctls {
    use libc::{c_int, c_uint, ifreq};
    use nix::{request_code_read, request_code_write};

    nix::ioctl_readwrite_bad!(
        set_interface,
        request_code_write!(b'T', 202, size_of::<c_int>()),
        ifreq
    );
    nix::ioctl_write_int_bad!(set_offload, request_code_write!(b'T', 208, size_of::<c_uint>()));
    nix::ioctl_read_bad!(get_interface, request_code_read!(b'T', 210, size_of::<c_uint>()), ifreq);
    nix::ioctl_write_ptr!(set_header_length, b'T', 216, c_int);
    nix::ioctl_write_ptr!(set_carrier, b'T', 226, c_int);
}

fn open_device() -> Result<File, SysError> {
    OpenOptions::new()
        .read(true)
        .write(true)
        .custom_flags(libc::O_NONBLOCK)
        .open("/dev/net/tun")
        .map_err(|error| match error.raw_os_error() {
            Some(libc::ENOENT | libc::ENODEV | libc::ENXIO) => SysError::NoTun,
            _ => SysError::new("opening /dev/net/tun", NET_ADMIN, error),
        })
}

fn refused(doing: &'static str) -> impl FnOnce(Errno) -> SysError {
    move |errno| SysError::new(doing, NET_ADMIN, errno)
}

/// The field for the flags has 16 bits, and they fill it up to its sign.
fn low_half(flags: libc::c_int) -> [u8; 2] {
    let [a, b, ..] = flags.to_le_bytes();
    u16::from_le_bytes([a, b]).to_ne_bytes()
}
