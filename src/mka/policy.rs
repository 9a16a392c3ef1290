//! What the operator decides about a port's key agreement.

use std::time::Duration;

use super::manners::Manners;
use super::way::Way;
use crate::ident::{CipherSuite, ConfidentialityOffset, KeyServerPriority, MacAddress, Sci};
use crate::secy::{SecySettings, Validate};
use crate::wire::{Announcement, EapolEthertype, MacsecCapability};

/// How a port behaves in MKA. It does not change while the port lives.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Policy {
    /// Our secure channel.
    pub sci: Sci,
    /// Our rank in the election of the key server.
    pub priority: KeyServerPriority,
    /// The suites to use, best first; as key server the first, as another any of them. Not empty.
    pub cipher_suites: Vec<CipherSuite>,
    /// How much to encrypt as key server.
    pub offset: ConfidentialityOffset,
    /// What may pass while there is no MACsec.
    pub access: Access,
    /// Whether late frames are refused.
    pub replay_protect: bool,
    /// How late a frame may be, in packet numbers.
    pub replay_window: u32,
    /// Whether others are to refuse frames of ours that are some two seconds late (802.1X-2020
    /// 9.10, delay protection). We say often how far we have come then.
    pub delay_protect: bool,
    /// Whether the tag of our frames carries the SCI.
    pub include_sci: bool,
    /// The age at which we, as key server, replace an SAK; `None` for never.
    pub rekey_after: Option<Duration>,
    /// The octets of user data, in the busier direction, after which we replace one; `None` for as
    /// many as packet numbers allow.
    pub rekey_octets: Option<u64>,
    /// Where MKPDUs go, unless those of the only ones who answer come another way.
    pub destination: MacAddress,
    /// Under which EtherType they go. Only EAPOL's own is heard unless it is another.
    pub ethertype: EapolEthertype,
    /// How to speak with those whose ways differ.
    pub manners: Manners,
}

/// What may pass while there is no MACsec.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Access {
    /// Nothing.
    MustSecure,
    /// Frames in clear, where the key server decided that MACsec is not to be used.
    ShouldSecure,
}

impl Policy {
    /// Tells whether this end can ever be key server.
    #[must_use]
    pub fn may_serve(&self) -> bool {
        self.priority != KeyServerPriority::NEVER
    }

    /// What this end says it can do (802.1X-2020 Table 11-6). Offsets are claimed only where they
    /// are configured, because most data planes know none.
    #[must_use]
    pub fn capability(&self) -> MacsecCapability {
        match self.offset {
            ConfidentialityOffset::IntegrityOnly | ConfidentialityOffset::Offset0 => {
                MacsecCapability::Offset0
            }
            ConfidentialityOffset::Offset30 | ConfidentialityOffset::Offset50 => {
                MacsecCapability::AllOffsets
            }
        }
    }

    /// Whether frames under an EtherType are taken as MKPDUs.
    pub(super) fn hears(&self, ethertype: EapolEthertype) -> bool {
        ethertype == EapolEthertype::Eapol || ethertype == self.ethertype
    }

    /// How our MKPDUs travel.
    pub(super) fn way(&self) -> Way {
        Way { destination: self.destination, ethertype: self.ethertype, usual_icv: false }
    }

    /// What this end announces (802.1X-2020 11.12): its suites, and how far it has each.
    pub(super) fn announcement(&self) -> Option<Announcement> {
        let capability = |suite: &CipherSuite| {
            if suite.is_xpn() { MacsecCapability::Offset0 } else { self.capability() }
        };
        let suites = self.cipher_suites.iter().map(|suite| (capability(suite), suite.id()));
        self.manners.announce.then(|| Announcement { suites: suites.collect(), other_tlvs: 0 })
    }

    /// The SecY's settings while MACsec is in use.
    #[must_use]
    pub fn secured(&self) -> SecySettings {
        SecySettings {
            protect: true,
            validate: Validate::Strict,
            replay_protect: self.replay_protect,
            replay_window: self.replay_window,
            include_sci: self.include_sci,
        }
    }

    /// The SecY's settings while frames pass in clear.
    #[must_use]
    pub(crate) fn in_clear(&self) -> SecySettings {
        SecySettings {
            protect: false,
            validate: Validate::Check,
            replay_protect: false,
            ..self.secured()
        }
    }
}
