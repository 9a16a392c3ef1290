//! The kernel's numbers that `libc` does not have, from its `if_macsec.h`, `if_link.h` and
//! `genetlink.h`. Written down apart from the daemon's, so that a wrong one there shows.

/// `enum macsec_nl_commands`.
pub(crate) mod command {
    pub(crate) const GET_TXSC: u8 = 0;
    pub(crate) const ADD_RXSC: u8 = 1;
    pub(crate) const DEL_RXSC: u8 = 2;
    pub(crate) const UPD_RXSC: u8 = 3;
    pub(crate) const ADD_TXSA: u8 = 4;
    pub(crate) const DEL_TXSA: u8 = 5;
    pub(crate) const UPD_TXSA: u8 = 6;
    pub(crate) const ADD_RXSA: u8 = 7;
    pub(crate) const DEL_RXSA: u8 = 8;
    pub(crate) const UPD_RXSA: u8 = 9;
    pub(crate) const UPD_OFFLOAD: u8 = 10;
}

/// `enum macsec_attrs`.
pub(crate) mod top {
    pub(crate) const IFINDEX: u16 = 1;
    pub(crate) const RXSC_CONFIG: u16 = 2;
    pub(crate) const SA_CONFIG: u16 = 3;
    pub(crate) const SECY: u16 = 4;
    pub(crate) const TXSA_LIST: u16 = 5;
    pub(crate) const RXSC_LIST: u16 = 6;
    pub(crate) const TXSC_STATS: u16 = 7;
    pub(crate) const SECY_STATS: u16 = 8;
    pub(crate) const OFFLOAD: u16 = 9;
}

/// `enum macsec_rxsc_attrs`.
pub(crate) mod rxsc {
    pub(crate) const SCI: u16 = 1;
    pub(crate) const ACTIVE: u16 = 2;
    pub(crate) const SA_LIST: u16 = 3;
    pub(crate) const STATS: u16 = 4;
    pub(crate) const PAD: u16 = 5;
}

/// `enum macsec_sa_attrs`.
pub(crate) mod sa {
    pub(crate) const AN: u16 = 1;
    pub(crate) const ACTIVE: u16 = 2;
    pub(crate) const PN: u16 = 3;
    pub(crate) const KEY: u16 = 4;
    pub(crate) const KEYID: u16 = 5;
    pub(crate) const STATS: u16 = 6;
    pub(crate) const SSCI: u16 = 8;
    pub(crate) const SALT: u16 = 9;
}

/// `enum macsec_secy_attrs`.
pub(crate) mod secy {
    pub(crate) const SCI: u16 = 1;
    pub(crate) const ENCODING_SA: u16 = 2;
    pub(crate) const WINDOW: u16 = 3;
    pub(crate) const CIPHER_SUITE: u16 = 4;
    pub(crate) const ICV_LEN: u16 = 5;
    pub(crate) const PROTECT: u16 = 6;
    pub(crate) const REPLAY: u16 = 7;
    pub(crate) const OPER: u16 = 8;
    pub(crate) const VALIDATE: u16 = 9;
    pub(crate) const ENCRYPT: u16 = 10;
    pub(crate) const INC_SCI: u16 = 11;
    pub(crate) const ES: u16 = 12;
    pub(crate) const SCB: u16 = 13;
    pub(crate) const PAD: u16 = 14;
}

/// IFLA_MACSEC_*.
pub(crate) mod link {
    pub(crate) const SCI: u16 = 1;
    pub(crate) const PORT: u16 = 2;
    pub(crate) const ICV_LEN: u16 = 3;
    pub(crate) const CIPHER_SUITE: u16 = 4;
    pub(crate) const WINDOW: u16 = 5;
    pub(crate) const ENCODING_SA: u16 = 6;
    pub(crate) const ENCRYPT: u16 = 7;
    pub(crate) const PROTECT: u16 = 8;
    pub(crate) const INC_SCI: u16 = 9;
    pub(crate) const ES: u16 = 10;
    pub(crate) const SCB: u16 = 11;
    pub(crate) const REPLAY_PROTECT: u16 = 12;
    pub(crate) const VALIDATION: u16 = 13;
    pub(crate) const PAD: u16 = 14;
    pub(crate) const OFFLOAD: u16 = 15;
}

/// The generic netlink controller.
pub(crate) mod control {
    pub(crate) const ID: u16 = 0x10;
    pub(crate) const GETFAMILY: u8 = 3;
    pub(crate) const NEWFAMILY: u8 = 1;
    pub(crate) const FAMILY_ID: u16 = 1;
    pub(crate) const FAMILY_NAME: u16 = 2;
    pub(crate) const VERSION: u16 = 3;
    pub(crate) const HDRSIZE: u16 = 4;
    pub(crate) const MAXATTR: u16 = 5;
}

/// The one attribute of MACSEC_ATTR_OFFLOAD.
pub(crate) const OFFLOAD_TYPE: u16 = 1;
/// The 2006 edition's number of GCM-AES-128.
pub(crate) const GCM_AES_128_LEGACY: u64 = 0x0080_0200_0100_0001;
pub(crate) const GCM_AES_128: u64 = 0x0080_c200_0100_0001;
pub(crate) const GCM_AES_256: u64 = 0x0080_c200_0100_0002;
pub(crate) const GCM_AES_XPN_128: u64 = 0x0080_c200_0100_0003;
pub(crate) const GCM_AES_XPN_256: u64 = 0x0080_c200_0100_0004;
/// The largest replay window of an XPN suite.
pub(crate) const XPN_WINDOW_MAX: u32 = (1 << 30) - 1;

/// IF_OPER_*.
pub(crate) mod oper {
    pub(crate) const UNKNOWN: u8 = 0;
    pub(crate) const DOWN: u8 = 2;
    pub(crate) const LOWER_LAYER_DOWN: u8 = 3;
    pub(crate) const DORMANT: u8 = 5;
    pub(crate) const UP: u8 = 6;
}

/// IF_LINK_MODE_DORMANT.
pub(crate) const LINK_MODE_DORMANT: u8 = 1;

pub(crate) const NLMSG_ERROR: u16 = 2;
pub(crate) const NLMSG_DONE: u16 = 3;
pub(crate) const NLM_F_REQUEST: u16 = 1;
pub(crate) const NLM_F_MULTI: u16 = 2;
pub(crate) const NLM_F_ACK: u16 = 4;
pub(crate) const NLM_F_DUMP_INTR: u16 = 0x10;
pub(crate) const NLM_F_REPLACE: u16 = 0x100;
pub(crate) const NLM_F_EXCL: u16 = 0x200;
pub(crate) const NLM_F_DUMP: u16 = 0x300;
pub(crate) const NLM_F_CREATE: u16 = 0x400;
/// In an error: the request is not repeated in full.
pub(crate) const NLM_F_CAPPED: u16 = 0x100;
/// In an error: attributes follow.
pub(crate) const NLM_F_ACK_TLVS: u16 = 0x200;
/// The text among those attributes.
pub(crate) const NLMSGERR_ATTR_MSG: u16 = 1;
