//! Packet sockets: whole frames from and to one interface.

use std::io;
use std::mem;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::sync::atomic::{AtomicU64, Ordering};

use nix::errno::Errno;
use nix::sys::socket::{MsgFlags, recv, setsockopt, sockopt};
use socket2::{Domain, Protocol, SockFilter, Socket, Type};

use super::error::{NET_RAW, SysError};
use super::filter;

/// A non-blocking socket for whole frames of one interface, Ethernet header first, FCS left out.
///
/// It is open to nothing until it is bound, and is bound last: no frame from before its filter, or
/// from another interface, is ever in it.
#[derive(Debug)]
pub struct PacketSocket {
    pub(super) socket: Socket,
    received: AtomicU64,
    dropped: AtomicU64,
}

/// What a socket has taken since it was opened.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct PacketStatistics {
    /// Frames that passed the filter, those dropped included.
    pub received: u64,
    /// Frames lost because the socket's buffer was full.
    pub dropped: u64,
}

/// The group addresses an MKPDU may be sent to (802.1X-2020 Table 11-1): the nearest bridges of
/// three kinds.
const EAPOL_GROUPS: [[u8; 6]; 3] = [
    [0x01, 0x80, 0xc2, 0x00, 0x00, 0x03],
    [0x01, 0x80, 0xc2, 0x00, 0x00, 0x00],
    [0x01, 0x80, 0xc2, 0x00, 0x00, 0x0e],
];

pub(super) const ETHERTYPE_EAPOL: u16 = 0x888e;
pub(super) const ETHERTYPE_MACSEC: u16 = 0x88e5;
pub(super) const ETHERTYPE_ALL: u16 = 0x0003;
/// Bound with it a socket sends only.
const ETHERTYPE_NONE: u16 = 0;

/// The queueing disciplines' band for control traffic (TC_PRIO_CONTROL).
const PRIORITY_CONTROL: u32 = 7;
/// What data sockets may hold: some 5 ms of 10 Gb/s. The kernel counts a full-size frame as 2 kB
/// or more.
const DATA_BUFFER: usize = 16 << 20;
/// What the socket for EAPOL may hold: some thousand MKPDUs. The usual size holds two hundred, which
/// anybody can fill in between two hellos of a peer.
const EAPOL_BUFFER: usize = 2 << 20;

impl PacketSocket {
    /// Opens a socket for EAPOL: it receives what is for the PAE of this interface, and what it
    /// sends goes ahead of data.
    ///
    /// # Errors
    ///
    /// [`SysError::NotPermitted`] without `CAP_NET_RAW`, [`SysError::NoInterface`] where there is
    /// none of this index, [`SysError::Os`] else.
    pub fn eapol(interface_index: u32) -> Result<Self, SysError> {
        Self::key_exchange(interface_index, ETHERTYPE_EAPOL)
    }

    /// Opens the same socket where frames of another EtherType are EAPOL, too. The kernel shows it
    /// every frame then, for its filter to look at.
    ///
    /// # Errors
    ///
    /// As for [`PacketSocket::eapol`].
    pub fn key_exchange(interface_index: u32, ethertype: u16) -> Result<Self, SysError> {
        let socket = Self::open(interface_index)?;
        socket.filter(&filter::eapol(ethertype))?;
        socket.ignore_outgoing()?;
        socket.buffers(EAPOL_BUFFER)?;
        socket.socket.set_priority(PRIORITY_CONTROL).map_err(os("setting a socket's priority"))?;
        for group in EAPOL_GROUPS {
            socket.join(interface_index, libc::PACKET_MR_MULTICAST, group)?;
        }
        let alone = ethertype == ETHERTYPE_EAPOL;
        socket.bind(interface_index, if alone { ETHERTYPE_EAPOL } else { ETHERTYPE_ALL })?;
        Ok(socket)
    }

    /// Opens a socket that sends any frame and receives none.
    ///
    /// # Errors
    ///
    /// As for [`PacketSocket::eapol`].
    pub fn sender(interface_index: u32) -> Result<Self, SysError> {
        let socket = Self::open(interface_index)?;
        socket.buffers(DATA_BUFFER)?;
        socket.bind(interface_index, ETHERTYPE_NONE)?;
        Ok(socket)
    }

    /// Opens a socket that receives a copy of every frame, in both directions.
    ///
    /// # Errors
    ///
    /// As for [`PacketSocket::eapol`].
    pub fn observer(interface_index: u32) -> Result<Self, SysError> {
        let socket = Self::open(interface_index)?;
        socket.buffers(DATA_BUFFER)?;
        socket.bind(interface_index, ETHERTYPE_ALL)?;
        Ok(socket)
    }

    /// Receives one frame into `buffer` and returns its length, which is more than that of
    /// `buffer` where it did not fit.
    ///
    /// # Errors
    ///
    /// [`io::ErrorKind::WouldBlock`] where there is none, [`io::ErrorKind::NetworkDown`] once
    /// after the interface went down or away.
    pub fn recv(&self, buffer: &mut [u8]) -> io::Result<usize> {
        Ok(recv(self.as_raw_fd(), buffer, MsgFlags::MSG_TRUNC)?)
    }

    /// Sends one frame whole, or not at all.
    ///
    /// # Errors
    ///
    /// [`io::ErrorKind::WouldBlock`] or `ENOBUFS` where the interface cannot keep up,
    /// [`io::ErrorKind::NetworkDown`] where it is down, `ENXIO` where it is gone, `EMSGSIZE` where
    /// the frame is longer than it takes.
    pub fn send(&self, frame: &[u8]) -> io::Result<()> {
        self.socket.send(frame).map(|_| ())
    }

    /// Tells how many frames were received and lost since the socket was opened.
    ///
    /// # Errors
    ///
    /// None that a socket of this type has.
    pub fn statistics(&self) -> io::Result<PacketStatistics> {
        let mut fresh = libc::tpacket_stats { tp_packets: 0, tp_drops: 0 };
        let mut length = size_of_option(&fresh);
        // SAFETY: `fresh` outlives the call and has the `length` octets the kernel may write.
        let result = unsafe {
            libc::getsockopt(
                self.as_raw_fd(),
                libc::SOL_PACKET,
                libc::PACKET_STATISTICS,
                (&raw mut fresh).cast(),
                &raw mut length,
            )
        };
        Errno::result(result)?;
        // The kernel starts again from zero at each reading.
        let total = |sum: &AtomicU64, fresh: libc::c_uint| {
            sum.fetch_add(fresh.into(), Ordering::Relaxed) + u64::from(fresh)
        };
        Ok(PacketStatistics {
            received: total(&self.received, fresh.tp_packets),
            dropped: total(&self.dropped, fresh.tp_drops),
        })
    }

    pub(super) fn open(interface_index: u32) -> Result<Self, SysError> {
        if interface_index == 0 {
            // To the kernel it would mean every interface.
            return Err(SysError::NoInterface(interface_index.to_string()));
        }
        let unbound = Protocol::from(i32::from(ETHERTYPE_NONE));
        let socket = Socket::new(Domain::PACKET, Type::RAW, Some(unbound))
            .and_then(|socket| socket.set_nonblocking(true).map(|()| socket))
            .map_err(os("opening a packet socket"))?;
        Ok(Self { socket, received: AtomicU64::new(0), dropped: AtomicU64::new(0) })
    }

    pub(super) fn filter(&self, program: &[SockFilter]) -> Result<(), SysError> {
        self.socket.attach_filter(program).map_err(os("attaching a socket filter"))
    }

    pub(super) fn ignore_outgoing(&self) -> Result<(), SysError> {
        self.switch_on(libc::PACKET_IGNORE_OUTGOING)
    }

    pub(super) fn switch_on(&self, option: libc::c_int) -> Result<(), SysError> {
        self.set_option(option, &libc::c_int::from(true)).map_err(os("setting a socket option"))
    }

    /// Asks for buffers past the system's limit, and takes what the limit gives where that is not
    /// permitted.
    fn buffers(&self, octets: usize) -> Result<(), SysError> {
        setsockopt(&self.socket, sockopt::RcvBufForce, &octets)
            .or_else(|_| setsockopt(&self.socket, sockopt::RcvBuf, &octets))
            .map_err(|errno| os("sizing a socket's receive buffer")(errno.into()))?;
        setsockopt(&self.socket, sockopt::SndBufForce, &octets)
            .or_else(|_| setsockopt(&self.socket, sockopt::SndBuf, &octets))
            .map_err(|errno| os("sizing a socket's send buffer")(errno.into()))
    }

    pub(super) fn join(
        &self,
        interface_index: u32,
        kind: libc::c_int,
        address: [u8; 6],
    ) -> Result<(), SysError> {
        let [a, b, c, d, e, f] = address;
        let request = libc::packet_mreq {
            mr_ifindex: interface_index.cast_signed(),
            mr_type: libc::c_ushort::try_from(kind).unwrap_or_default(),
            mr_alen: 6,
            mr_address: [a, b, c, d, e, f, 0, 0],
        };
        self.set_option(libc::PACKET_ADD_MEMBERSHIP, &request).map_err(|error| {
            if error.raw_os_error() == Some(libc::ENODEV) {
                return SysError::NoInterface(interface_index.to_string());
            }
            os("joining an address")(error)
        })
    }

    pub(super) fn set_option<T: Copy>(&self, name: libc::c_int, value: &T) -> io::Result<()> {
        // SAFETY: `value` outlives the call, and its size is passed with it; the kernel only reads.
        let result = unsafe {
            libc::setsockopt(
                self.as_raw_fd(),
                libc::SOL_PACKET,
                name,
                std::ptr::from_ref(value).cast(),
                size_of_option(value),
            )
        };
        Errno::result(result).map(|_| ()).map_err(io::Error::from)
    }

    pub(super) fn bind(&self, interface_index: u32, ethertype: u16) -> Result<(), SysError> {
        // SAFETY: all octets zero is a value of this type, which is integers alone.
        let mut address: libc::sockaddr_ll = unsafe { mem::zeroed() };
        address.sll_family = libc::sa_family_t::try_from(libc::AF_PACKET).unwrap_or_default();
        address.sll_protocol = ethertype.to_be();
        address.sll_ifindex = interface_index.cast_signed();
        // SAFETY: `address` outlives the call and its own size is passed; the kernel only reads it.
        let result = unsafe {
            libc::bind(self.as_raw_fd(), (&raw const address).cast(), size_of_option(&address))
        };
        Errno::result(result).map(|_| ()).map_err(|errno| {
            if errno == Errno::ENODEV {
                return SysError::NoInterface(interface_index.to_string());
            }
            os("binding a packet socket")(errno.into())
        })
    }
}

impl AsFd for PacketSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl AsRawFd for PacketSocket {
    fn as_raw_fd(&self) -> RawFd {
        self.socket.as_raw_fd()
    }
}

/// A further address of the interface (linux/if_packet.h).
pub(super) const PACKET_MR_UNICAST: libc::c_int = 3;

fn size_of_option<T>(_: &T) -> libc::socklen_t {
    libc::socklen_t::try_from(size_of::<T>()).unwrap_or_default()
}

pub(super) fn os(doing: &'static str) -> impl FnOnce(io::Error) -> SysError {
    move |error| SysError::new(doing, NET_RAW, error)
}
