//! Keys, and the frames of the other members.

use std::sync::Arc;

use macsecd::crypto::{Sak, Salt, nonce};
use macsecd::ident::{
    AssociationNumber, CipherSuite, ConfidentialityOffset, KeyId, KeyNumber, MemberId, PacketNumber,
};
use macsecd::secy::{
    Counters, FrameBuf, InstallSak, PreparedKey, RxMember, SecyCommand, SecyKey, TagStyle, TxSa,
    protect,
};
use zeroize::Zeroizing;

use crate::secy::{Frame, OWN, PEER, Station};

/// The EtherType for experiments: no protocol of the system takes it.
pub(crate) const ETHERTYPE_DATA: [u8; 2] = [0x88, 0xb5];
pub(crate) const ETHERTYPE_MACSEC: [u8; 2] = [0x88, 0xe5];
pub(crate) const ETHERTYPE_EAPOL: [u8; 2] = [0x88, 0x8e];

const ADDRESSES_LEN: usize = 12;
/// The octets in front of the Secure Data where the tag carries the SCI.
const TAGGED_HEADER_LEN: usize = ADDRESSES_LEN + 16;

/// An SAK.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Key {
    number: u32,
    pub(crate) suite: CipherSuite,
    offset: ConfidentialityOffset,
    an: u8,
}

impl Key {
    /// Key number `number`, which encrypts. Successive keys take successive associations.
    pub(crate) const fn new(number: u32, suite: CipherSuite) -> Self {
        let an = number.to_le_bytes()[0] % 4;
        Self { number, suite, offset: ConfidentialityOffset::Offset0, an }
    }

    /// The same, for integrity only.
    pub(crate) const fn in_clear(self) -> Self {
        Self { offset: ConfidentialityOffset::IntegrityOnly, ..self }
    }

    /// The same, with another confidentiality offset.
    pub(crate) const fn with_offset(self, offset: ConfidentialityOffset) -> Self {
        Self { offset, ..self }
    }

    /// The same on this association.
    pub(crate) const fn on(self, an: u8) -> Self {
        Self { an, ..self }
    }

    pub(crate) const fn ki(&self) -> KeyId {
        ki(self.number)
    }

    pub(crate) fn an(&self) -> AssociationNumber {
        AssociationNumber::from_low_bits(self.an)
    }

    pub(crate) fn secy_key(&self) -> Arc<SecyKey> {
        let Self { number, suite, offset, .. } = *self;
        let octets = vec![number.to_le_bytes()[0]; suite.sak_len()];
        let sak = Sak::new(Zeroizing::new(octets)).unwrap();
        let salt = suite.is_xpn().then(|| Salt::new(self.ki()));
        Arc::new(SecyKey { ki: self.ki(), suite, offset, sak, salt })
    }

    /// A station to receive with it, from this packet number on.
    pub(crate) fn member(&self, of: Station, lowest: u64) -> RxMember {
        let ssci = self.suite.is_xpn().then_some(of.ssci);
        RxMember { sci: of.sci, ssci, lowest_pn: PacketNumber(lowest) }
    }

    /// The command that installs it in the SecY under test, to receive these stations.
    pub(crate) fn install(&self, from: &[Station]) -> SecyCommand {
        self.install_for(OWN, from)
    }

    /// The command that installs it in a station.
    pub(crate) fn install_for(&self, own: Station, from: &[Station]) -> SecyCommand {
        self.command(own, from.iter().map(|of| self.member(*of, 1)).collect())
    }

    /// The command that installs it in the SecY under test, to receive these members.
    pub(crate) fn install_members(&self, receive: Vec<RxMember>) -> SecyCommand {
        self.command(OWN, receive)
    }

    fn command(&self, own: Station, receive: Vec<RxMember>) -> SecyCommand {
        let ssci = self.suite.is_xpn().then_some(own.ssci);
        SecyCommand::InstallSak(InstallSak { key: self.secy_key(), an: self.an(), ssci, receive })
    }
}

pub(crate) const fn ki(number: u32) -> KeyId {
    KeyId { server: MemberId::from_octets([7; 12]), number: KeyNumber(number) }
}

/// What a station sends with a key: frames of the model.
pub(crate) struct Sender {
    sa: TxSa,
    style: TagStyle,
}

impl Sender {
    pub(crate) fn new(of: Station, key: &Key) -> Self {
        let prepared = PreparedKey::new(key.secy_key()).unwrap();
        let ssci = key.suite.is_xpn().then_some(of.ssci);
        let sa = TxSa::new(&prepared, key.an(), of.sci, ssci).unwrap();
        Self { sa, style: TagStyle::Sci }
    }

    /// The same with another form of tag.
    pub(crate) fn with_style(self, style: TagStyle) -> Self {
        Self { style, ..self }
    }

    /// Takes this packet number next.
    pub(crate) fn skip_to(&self, pn: u64) {
        let ahead = pn - self.sa.progress().next_pn.0;
        drop(self.sa.reserve(ahead));
    }

    /// Protects a frame with the next packet number.
    pub(crate) fn protect(&self, plain: &[u8]) -> Frame {
        let mut buffer = FrameBuf::new(2048);
        buffer.fill(plain).unwrap();
        let pn = self.sa.reserve(1).unwrap().next().unwrap();
        protect(pn, self.style, &mut buffer, &mut Counters::default()).unwrap();
        buffer.octets().to_vec()
    }

    /// Protects EAPOL with the next packet number, which the model never does.
    pub(crate) fn protect_eapol(&self, plain: &[u8]) -> Frame {
        // The same with another EtherType: its addresses and tag are right.
        let mut frame = self.protect(&with_ethertype(plain.to_vec(), ETHERTYPE_DATA));
        let (head, sealed) = frame.split_at_mut(TAGGED_HEADER_LEN);
        let data = &plain[ADDRESSES_LEN..];
        sealed[..data.len()].copy_from_slice(data);
        let pn = PacketNumber(self.sa.progress().next_pn.0 - 1);
        self.sa.key().gcm().seal_in_place(nonce(self.sa.sci(), pn), head, sealed);
        frame
    }

    /// So many frames of 100 octets.
    pub(crate) fn frames(&self, count: usize) -> Vec<Frame> {
        (0..count).map(|_| self.protect(&data(PEER, 100))).collect()
    }
}

/// A frame from a station to the SecY under test, of so many octets with its addresses.
pub(crate) fn data(from: Station, len: usize) -> Frame {
    between(from.sci.address().0, OWN.sci.address().0, len)
}

/// A frame from the SecY under test.
pub(crate) fn ours(len: usize) -> Frame {
    between(OWN.sci.address().0, PEER.sci.address().0, len)
}

pub(crate) fn between(from: [u8; 6], to: [u8; 6], len: usize) -> Frame {
    let mut frame = [&to[..], &from, &ETHERTYPE_DATA].concat();
    frame.extend((frame.len()..len).map(|at| at.to_le_bytes()[0].wrapping_mul(7)));
    assert_eq!(frame.len(), len);
    frame
}

/// The same frame with another EtherType.
pub(crate) fn with_ethertype(mut frame: Frame, ethertype: [u8; 2]) -> Frame {
    frame[12..14].copy_from_slice(&ethertype);
    frame
}

/// The EtherType of a frame.
pub(crate) fn ethertype(frame: &[u8]) -> [u8; 2] {
    [frame[12], frame[13]]
}

/// A frame that is the KaY's, by its tag: no data plane delivers it.
pub(crate) fn marker() -> Frame {
    let mut frame = with_ethertype(data(PEER, 60), ETHERTYPE_MACSEC);
    // Encrypted yet unchanged, and not zero anywhere, so that it is no test's.
    frame[14..20].copy_from_slice(&[0x28, 0, 0xff, 0xff, 0xff, 0xff]);
    frame
}
