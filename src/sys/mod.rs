//! The machine: packet sockets, the tap, the settings of interfaces, the clock.
//!
//! With `engine` the only place with `unsafe`. Each wrapper takes and gives safe types alone, says
//! beside each block why it holds, and knows nothing of MACsec beyond an EtherType.

#![allow(unsafe_code)]

mod batch;
mod clock;
mod error;
mod filter;
mod folder;
mod interface;
mod packet;
mod plain;
mod readiness;
mod ring;
mod tap;
mod vnet;
mod wakeup;

#[cfg(test)]
mod tests;

pub use batch::BATCH_MAX;
pub use clock::boottime;
pub use error::SysError;
pub use folder::{check_private_folder, make_private_folder};
pub use interface::{Interfaces, LinkState};
pub use packet::{PacketSocket, PacketStatistics};
pub use plain::{PlainFrame, VLAN_TAG_LEN};
pub use readiness::Readiness;
pub use ring::{PacketRing, RingFrame};
pub use tap::{JoinedDatagrams, Tap};
pub use vnet::{MissingChecksum, Offload, Segmentation, VNET_HEADER_LEN, VnetHeader};
pub use wakeup::Wakeup;
