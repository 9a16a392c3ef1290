//! Socket filters: classic BPF programs that the kernel runs on each frame.

use socket2::SockFilter;

use super::packet::{ETHERTYPE_EAPOL, ETHERTYPE_MACSEC};

/// EAPOL for us: neither of another station nor with a VLAN tag in front.
///
/// The kernel mostly takes a tag off before a socket that is bound to one EtherType sees the frame.
/// What tells then that there was one is the frame's type: a frame of a VLAN that no interface
/// serves counts as another station's. Only behind a switch chip the tag itself can still be seen.
///
/// It goes by its own EtherType, and by another where that is given.
pub(super) fn eapol(other: u16) -> [SockFilter; 9] {
    [
        load_octet(ancillary(libc::SKF_AD_VLAN_TAG_PRESENT)),
        jump_equal(0, 0, 6),
        load_octet(ancillary(libc::SKF_AD_PKTTYPE)),
        jump_equal(libc::PACKET_OTHERHOST.into(), 4, 0),
        load_half(ETHERTYPE_OFFSET),
        jump_equal(ETHERTYPE_EAPOL.into(), 1, 0),
        jump_equal(other.into(), 0, 1),
        accept(),
        refuse(),
    ]
}

/// Protected frames.
pub(super) fn macsec() -> [SockFilter; 4] {
    [load_half(ETHERTYPE_OFFSET), jump_equal(ETHERTYPE_MACSEC.into(), 0, 1), accept(), refuse()]
}

/// All but EAPOL and protected frames.
pub(super) fn plain() -> [SockFilter; 5] {
    [
        load_half(ETHERTYPE_OFFSET),
        jump_equal(ETHERTYPE_EAPOL.into(), 2, 0),
        jump_equal(ETHERTYPE_MACSEC.into(), 1, 0),
        accept(),
        refuse(),
    ]
}

/// Where the EtherType stands, the kernel having taken a VLAN tag off.
const ETHERTYPE_OFFSET: u32 = 12;

/// The offset from which the kernel serves what is not in the frame's octets.
const fn ancillary(item: libc::c_int) -> u32 {
    (libc::SKF_AD_OFF + item).cast_unsigned()
}

const fn load_half(offset: u32) -> SockFilter {
    SockFilter::new(code(libc::BPF_LD | libc::BPF_H | libc::BPF_ABS), 0, 0, offset)
}

const fn load_octet(offset: u32) -> SockFilter {
    SockFilter::new(code(libc::BPF_LD | libc::BPF_B | libc::BPF_ABS), 0, 0, offset)
}

/// Skips `yes` instructions where what was loaded is `value`, else `no`.
const fn jump_equal(value: u32, yes: u8, no: u8) -> SockFilter {
    SockFilter::new(code(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K), yes, no, value)
}

const fn accept() -> SockFilter {
    SockFilter::new(code(libc::BPF_RET | libc::BPF_K), 0, 0, u32::MAX)
}

const fn refuse() -> SockFilter {
    SockFilter::new(code(libc::BPF_RET | libc::BPF_K), 0, 0, 0)
}

/// The opcodes are all below 256; the header declares them wider.
#[allow(clippy::cast_possible_truncation)]
const fn code(opcode: u32) -> u16 {
    opcode as u16
}
