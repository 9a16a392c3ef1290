//! A data plane in the kernel: its MACsec, told over netlink.

mod netlink;

pub use netlink::Netlink;
