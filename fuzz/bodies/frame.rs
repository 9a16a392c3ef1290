//! Frames from the wire: nothing panics, and nothing altered is delivered as good.
#![allow(
    unreachable_pub,
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "in a fuzz target a failed assumption is a finding"
)]

use std::sync::{Arc, LazyLock};

use macsecd::crypto::{Sak, Salt};
use macsecd::ident::{
    AssociationNumber, CipherSuite, ConfidentialityOffset, KeyId, KeyNumber, MacAddress, MemberId,
    PacketNumber, Sci, Ssci,
};
use macsecd::secy::{
    Counters, FrameBuf, PreparedKey, RxMember, RxTable, SecyKey, SecySettings, TagStyle, TxSa,
    Validate, Verdict, protect, validate,
};
use macsecd::wire::SecTag;
use zeroize::Zeroizing;

const FRAME_MAX: usize = 2048;
const FIRST: Sci = Sci::new(MacAddress([2, 0, 0, 0, 0, 1]), 1);
const SECOND: Sci = Sci::new(MacAddress([2, 0, 0, 0, 0, 2]), 1);

/// One association that is received, and the frames that its sender has sent.
struct Sender {
    key: Arc<PreparedKey>,
    an: AssociationNumber,
    member: RxMember,
    sent: Vec<Sent>,
}

struct Sent {
    plain: Vec<u8>,
    secure: Vec<u8>,
}

static SENDERS: LazyLock<Vec<Sender>> = LazyLock::new(|| {
    use CipherSuite::{GcmAes128, GcmAes256, GcmAesXpn256};
    use ConfidentialityOffset::{IntegrityOnly, Offset0, Offset30};
    vec![
        sender(GcmAes128, Offset0, 0, FIRST),
        sender(GcmAes256, IntegrityOnly, 1, FIRST),
        sender(GcmAesXpn256, Offset0, 2, SECOND),
        sender(GcmAes128, Offset30, 3, SECOND),
    ]
});

fn sender(suite: CipherSuite, offset: ConfidentialityOffset, an: u8, sci: Sci) -> Sender {
    let ki = KeyId { server: MemberId::from_octets([7; 12]), number: KeyNumber(u32::from(an) + 1) };
    let sak = Sak::new(Zeroizing::new(vec![an; suite.sak_len()])).unwrap();
    let salt = suite.is_xpn().then(|| Salt::new(ki));
    let key = PreparedKey::new(Arc::new(SecyKey { ki, suite, offset, sak, salt })).unwrap();
    let an = AssociationNumber::from_low_bits(an);
    let ssci = suite.is_xpn().then_some(Ssci(1));
    let tx = TxSa::new(&key, an, sci, ssci).unwrap();
    let styles = [TagStyle::Sci, TagStyle::EndStation];
    // Around the short length, the offset, and a block of the cipher.
    let lengths = [2, 15, 30, 31, 46, 47, 48, 49, 64, 300];
    let shapes = lengths.into_iter().flat_map(|len| styles.map(|style| (len, style)));
    let sent = shapes.zip(tx.reserve(20).unwrap()).map(|((len, style), pn)| {
        let mut plain = vec![0x45; 12 + len];
        plain[..6].fill(0xff);
        plain[6..12].copy_from_slice(&sci.address().0);
        plain[12..14].copy_from_slice(&[0x08, 0x00]);
        let mut frame = FrameBuf::new(FRAME_MAX);
        frame.fill(&plain).unwrap();
        protect(pn, style, &mut frame, &mut Counters::default()).unwrap();
        Sent { plain, secure: frame.octets().to_vec() }
    });
    let sent = sent.collect();
    Sender { key, an, member: RxMember { sci, ssci, lowest_pn: PacketNumber::FIRST }, sent }
}

/// Takes `data` as a SecTAG, as a frame, and as changes to a frame that was really sent.
///
/// # Panics
///
/// Where a rule is broken.
pub fn frame(data: &[u8]) {
    sectag(data);
    let [settings, changes @ ..] = data else { return };
    let settings = SecySettings {
        protect: true,
        validate: match settings & 3 {
            0 => Validate::Disabled,
            1 => Validate::Check,
            _ => Validate::Strict,
        },
        replay_protect: settings & 4 != 0,
        replay_window: u32::from(settings >> 3) * 2,
        include_sci: true,
    };
    received(&settings, changes);
    let Some(altered) = alter(changes) else { return };
    received(&settings, &altered);
}

fn sectag(data: &[u8]) {
    let Ok((tag, rest)) = SecTag::decode(data) else { return };
    let (encoded, len) = tag.encode();
    assert_eq!(&encoded[..len], &data[..data.len() - rest.len()], "a tag reads as it is written");
    if let Ok(data_len) = tag.secure_data_len(rest.len()) {
        assert!(data_len + 16 <= rest.len());
    }
}

/// Picks a frame that was sent, and changes it: octets are flipped at places, and the end is cut or
/// padded.
fn alter(changes: &[u8]) -> Option<Vec<u8>> {
    let [which, longer, flips @ ..] = changes else { return None };
    let sent: Vec<&Sent> = SENDERS.iter().flat_map(|sender| &sender.sent).collect();
    let mut octets = sent[usize::from(*which) % sent.len()].secure.clone();
    let len = (octets.len() + usize::from(*longer)).saturating_sub(64);
    octets.resize(len, 0);
    for flip in flips.chunks_exact(3) {
        let at = usize::from(u16::from_be_bytes([flip[0], flip[1]]));
        if let Some(octet) = octets.get_mut(at) {
            *octet ^= flip[2];
        }
    }
    Some(octets)
}

fn received(settings: &SecySettings, octets: &[u8]) {
    let mut table = RxTable::default();
    for sender in SENDERS.iter() {
        table.add_receiver(&sender.key, sender.an, sender.member).unwrap();
    }
    let mut frame = FrameBuf::new(FRAME_MAX);
    if frame.fill(octets).is_err() {
        return;
    }
    let mut counters = Counters::default();
    let outcome = validate(&table, settings, &mut frame, &mut counters);

    let packets: u64 =
        counters.iter().filter(|(name, _)| name.contains("pkts")).map(|(_, count)| count).sum();
    assert_eq!(packets, 1, "each frame is counted once");
    assert_eq!(frame.is_empty(), outcome.is_err());
    // A frame that was really sent may have padding behind it, and is good all the same.
    let genuine = SENDERS.iter().flat_map(|sender| &sender.sent).find(|sent| {
        octets.starts_with(&sent.secure) && (sent.plain.len() < 60 || octets == sent.secure)
    });
    let checked = match outcome {
        Ok(Verdict::Ok) => true,
        Ok(Verdict::Delayed) => settings.validate != Validate::Disabled,
        Ok(
            Verdict::Unchecked
            | Verdict::Invalid
            | Verdict::Untagged
            | Verdict::UnknownSci
            | Verdict::UnusedSa,
        )
        | Err(_) => false,
    };
    match (checked, genuine) {
        (true, None) => panic!("a frame that nobody sent is good: {octets:02x?}"),
        (true, Some(sent)) => assert_eq!(frame.octets(), sent.plain),
        (false, _) => {
            let moved = table.sas().any(|sa| sa.replay().next_pn() != PacketNumber::FIRST);
            assert!(!moved, "a frame that is not good moved a replay window");
        }
    }
}
