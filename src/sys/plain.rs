//! Frames without protection, as the system itself would get them.

use std::io::{self, IoSliceMut};
use std::os::fd::AsRawFd;

use nix::sys::socket::{ControlMessageOwned, MsgFlags, SockaddrStorage, recvmsg};

use super::error::SysError;
use super::packet::ETHERTYPE_ALL;
use super::{PacketSocket, VNET_HEADER_LEN, VnetHeader, filter};

/// One frame from an interface, and what its driver has done to it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct PlainFrame {
    /// How complete it is: it may be many frames of one flow, joined, and lack a checksum.
    pub header: VnetHeader,
    /// Its octets without `tag`; more than there was room for where it did not fit.
    pub len: usize,
    /// The VLAN tag that was behind the addresses, its EtherType included.
    pub tag: Option<[u8; VLAN_TAG_LEN]>,
}

/// The octets of a VLAN tag.
pub const VLAN_TAG_LEN: usize = 4;

impl PacketSocket {
    /// Opens a socket that receives every frame but EAPOL and protected ones.
    ///
    /// # Errors
    ///
    /// As for [`PacketSocket::eapol`].
    pub fn plain(interface_index: u32) -> Result<Self, SysError> {
        let socket = Self::open(interface_index)?;
        socket.filter(&filter::plain())?;
        socket.ignore_outgoing()?;
        socket.switch_on(libc::PACKET_VNET_HDR)?;
        socket.switch_on(libc::PACKET_AUXDATA)?;
        socket.bind(interface_index, ETHERTYPE_ALL)?;
        Ok(socket)
    }

    /// Receives one frame of a socket opened with [`PacketSocket::plain`] into `buffer`.
    ///
    /// # Errors
    ///
    /// As for [`PacketSocket::recv`].
    pub fn recv_plain(&self, buffer: &mut [u8]) -> io::Result<PlainFrame> {
        let mut header = VnetHeader::WHOLE;
        let mut parts = [IoSliceMut::new(&mut header.0), IoSliceMut::new(buffer)];
        let mut control = nix::cmsg_space!(libc::tpacket_auxdata);
        let flags = MsgFlags::MSG_TRUNC;
        let message =
            recvmsg::<SockaddrStorage>(self.as_raw_fd(), &mut parts, Some(&mut control), flags)?;
        let tag = message.cmsgs()?.find_map(|message| {
            let ControlMessageOwned::Unknown(auxdata) = message else { return None };
            vlan_tag(&auxdata.data_bytes)
        });
        let len = message.bytes.saturating_sub(VNET_HEADER_LEN);
        Ok(PlainFrame { header, len, tag })
    }
}

/// Reads a `struct tpacket_auxdata`.
fn vlan_tag(auxdata: &[u8]) -> Option<[u8; VLAN_TAG_LEN]> {
    const ETHERTYPE_VLAN: u16 = 0x8100;
    let (status, rest) = auxdata.split_first_chunk()?;
    let (tci, ethertype) = rest.get(12..)?.split_first_chunk()?;
    let ethertype = ethertype.first_chunk()?;
    let status = u32::from_ne_bytes(*status);
    if status & libc::TP_STATUS_VLAN_VALID == 0 {
        return None;
    }
    let known = status & libc::TP_STATUS_VLAN_TPID_VALID != 0;
    let ethertype = if known { u16::from_ne_bytes(*ethertype) } else { ETHERTYPE_VLAN };
    let ([a, b], [c, d]) = (ethertype.to_be_bytes(), u16::from_ne_bytes(*tci).to_be_bytes());
    Some([a, b, c, d])
}
