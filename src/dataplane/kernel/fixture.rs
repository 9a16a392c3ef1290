//! Keys, and what a kernel may show, for the tests of this module.

use std::sync::Arc;

use zeroize::Zeroizing;

use super::seen::{Flags, Secy, SeenChannel, SeenSa};
use super::uapi::VALIDATE_STRICT;
use crate::crypto::Sak;
use crate::ident::{
    AssociationNumber, CipherSuite, ConfidentialityOffset, KeyId, KeyNumber, MacAddress, MemberId,
    PacketNumber, Sci,
};
use crate::secy::{Counters, InstallSak, RxMember, SecyCommand, SecyKey};

pub(super) const OWN: Sci = Sci::new(MacAddress([2, 0, 0, 0, 0, 1]), 1);
pub(super) const PEER: Sci = Sci::new(MacAddress([2, 0, 0, 0, 0, 2]), 1);

pub(super) fn ki(number: u32) -> KeyId {
    KeyId { server: MemberId::from_octets([7; 12]), number: KeyNumber(number) }
}

pub(super) fn an(value: u8) -> AssociationNumber {
    AssociationNumber::from_low_bits(value)
}

/// Installs a key of GCM-AES-128, to receive [`PEER`] with.
pub(super) fn install(number: u32, on: u8) -> SecyCommand {
    let key = SecyKey {
        ki: ki(number),
        suite: CipherSuite::GcmAes128,
        offset: ConfidentialityOffset::Offset0,
        sak: Sak::new(Zeroizing::new(vec![1; 16])).unwrap(),
        salt: None,
    };
    let member = RxMember { sci: PEER, ssci: None, lowest_pn: PacketNumber::FIRST };
    SecyCommand::InstallSak(InstallSak {
        key: Arc::new(key),
        an: an(on),
        ssci: None,
        receive: vec![member],
    })
}

/// An SA of a key.
pub(super) fn sa(number: u32, on: u8, pn: u64, active: bool) -> SeenSa {
    SeenSa { an: an(on), ki: ki(number), ssci: None, pn, active, sent: 0 }
}

/// A SecY set up as a new model wants it, with these transmit SAs and a channel without an SA.
pub(super) fn seen(transmit: Vec<SeenSa>) -> Secy {
    let channel = SeenChannel { sci: PEER, sas: Vec::new(), counters: Counters::default() };
    Secy {
        index: 9,
        sci: OWN,
        suite: Some(CipherSuite::GcmAes128),
        icv_len: 16,
        flags: Flags {
            protect: true,
            validate: VALIDATE_STRICT,
            replay_protect: true,
            window: 0,
            include_sci: true,
            end_station: false,
            single_copy: false,
        },
        encoding: an(0),
        encrypt: true,
        offload: 0,
        transmit,
        receive: vec![channel],
        counters: Counters::default(),
    }
}
