//! Keys, members and frames that the tests of this module share.

use std::sync::Arc;

use zeroize::Zeroizing;

use crate::crypto::{Sak, Salt};
use crate::ident::{
    AssociationNumber, CipherSuite, ConfidentialityOffset, KeyId, KeyNumber, MacAddress, MemberId,
    PacketNumber, Sci, Ssci,
};
use crate::secy::{
    FrameBuf, PreparedKey, RxMember, SecyKey, SecySettings, TagStyle, TxSa, Validate,
};

pub(super) const OWN_ADDRESS: MacAddress = MacAddress([2, 0, 0, 0, 0, 0x0a]);
pub(super) const OWN: Sci = Sci::new(OWN_ADDRESS, 1);
pub(super) const PEER: Sci = Sci::new(MacAddress([2, 0, 0, 0, 0, 0x0b]), 1);
pub(super) const THIRD: Sci = Sci::new(MacAddress([2, 0, 0, 0, 0, 0x0c]), 1);

pub(super) const STRICT: SecySettings = SecySettings {
    protect: true,
    validate: Validate::Strict,
    replay_protect: true,
    replay_window: 0,
    include_sci: true,
};

/// From OWN to PEER, 64 octets of user data.
pub(super) const FRAME: [u8; 76] = {
    let mut frame = [0x45; 76];
    let header = [2, 0, 0, 0, 0, 0x0b, 2, 0, 0, 0, 0, 0x0a, 0x08, 0x00];
    let mut at = 0;
    while at < header.len() {
        frame[at] = header[at];
        at += 1;
    }
    frame
};

pub(super) fn an(number: u8) -> AssociationNumber {
    AssociationNumber::from_low_bits(number)
}

pub(super) fn ki(number: u32) -> KeyId {
    KeyId { server: MemberId::from_octets([7; 12]), number: KeyNumber(number) }
}

pub(super) fn secy_key(
    ki: KeyId,
    suite: CipherSuite,
    offset: ConfidentialityOffset,
) -> Arc<SecyKey> {
    let sak = Sak::new(Zeroizing::new(vec![0x5a; suite.sak_len()])).unwrap();
    let salt = suite.is_xpn().then(|| Salt::new(ki));
    Arc::new(SecyKey { ki, suite, offset, sak, salt })
}

pub(super) fn key(suite: CipherSuite, offset: ConfidentialityOffset) -> Arc<PreparedKey> {
    PreparedKey::new(secy_key(ki(1), suite, offset)).unwrap()
}

/// A key of the default suite, confidentiality from the first octet on.
pub(super) fn default_key() -> Arc<PreparedKey> {
    key(CipherSuite::GcmAes128, ConfidentialityOffset::Offset0)
}

pub(super) fn member(sci: Sci, ssci: Option<u32>) -> RxMember {
    RxMember { sci, ssci: ssci.map(Ssci), lowest_pn: PacketNumber::FIRST }
}

/// A transmit SA of our own; of a suite without XPN.
pub(super) fn tx_sa(key: &Arc<PreparedKey>) -> TxSa {
    TxSa::new(key, an(1), OWN, None).unwrap()
}

pub(super) fn buffer(frame: &[u8]) -> FrameBuf {
    let mut buffer = FrameBuf::new(1600);
    buffer.fill(frame).unwrap();
    buffer
}

/// Protects a frame with the next number of `sa`.
pub(super) fn protected(sa: &TxSa, style: TagStyle, frame: &[u8]) -> FrameBuf {
    let mut buffer = buffer(frame);
    let pn = sa.reserve(1).unwrap().next().unwrap();
    crate::secy::protect(pn, style, &mut buffer, &mut crate::secy::Counters::default()).unwrap();
    buffer
}
