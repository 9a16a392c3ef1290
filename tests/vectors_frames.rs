//! Frames that others made: the standard's, the Linux kernel's, wpa_supplicant's, a model's.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a helper of a test may fail as the test does"
)]

use std::collections::BTreeSet;
use std::sync::Arc;

use macsecd::crypto::{Sak, Salt, xpn_nonce};
use macsecd::ident::{
    AssociationNumber, CipherSuite, ConfidentialityOffset, KeyId, KeyNumber, MemberId,
    PacketNumber, Sci, Ssci,
};
use macsecd::secy::{
    Counters, FrameBuf, FrameDiscard, PreparedKey, ReplayWindow, RxMember, RxTable, SecyKey,
    SecySettings, TagStyle, TxSa, Validate, Verdict, protect, validate,
};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use zeroize::Zeroizing;

/// Longer than any frame of the vectors.
const FRAME_MAX: usize = 2048;

const STRICT: SecySettings = SecySettings {
    protect: true,
    validate: Validate::Strict,
    replay_protect: true,
    replay_window: 0,
    include_sci: true,
};

fn read<T: DeserializeOwned>(name: &str) -> T {
    let path = format!("{}/tests/vectors/{name}", env!("CARGO_MANIFEST_DIR"));
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

fn octets<const N: usize>(hex: &str) -> [u8; N] {
    hex::decode(hex).unwrap().try_into().unwrap()
}

fn sci(hex: &str) -> Sci {
    Sci::from_octets(octets(hex))
}

fn an(number: u8) -> AssociationNumber {
    AssociationNumber::ALL[usize::from(number)]
}

fn ki(number: u32) -> KeyId {
    KeyId { server: MemberId::from_octets([9; 12]), number: KeyNumber(number) }
}

fn offset(confidentiality: bool, octets: usize) -> ConfidentialityOffset {
    match (confidentiality, octets) {
        (false, _) => ConfidentialityOffset::IntegrityOnly,
        (true, 0) => ConfidentialityOffset::Offset0,
        (true, 30) => ConfidentialityOffset::Offset30,
        (true, 50) => ConfidentialityOffset::Offset50,
        (true, other) => panic!("no such offset: {other}"),
    }
}

fn key(
    ki: KeyId,
    suite: CipherSuite,
    offset: ConfidentialityOffset,
    sak: &str,
    salt: Option<&str>,
) -> Arc<PreparedKey> {
    let sak = Sak::new(Zeroizing::new(hex::decode(sak).unwrap())).unwrap();
    let salt = salt.map(|salt| Salt::from_octets(octets(salt)));
    PreparedKey::new(Arc::new(SecyKey { ki, suite, offset, sak, salt })).unwrap()
}

fn buffer(frame: &str) -> FrameBuf {
    let mut buffer = FrameBuf::new(FRAME_MAX);
    buffer.fill(&hex::decode(frame).unwrap()).unwrap();
    buffer
}

/// Protects one frame with the packet number that the vector asks for.
fn protected(sa: &TxSa, pn: u64, style: TagStyle, plain: &str) -> String {
    let behind = sa.progress().next_pn.0;
    if pn > behind {
        assert_eq!(sa.reserve(pn - behind).unwrap().next().unwrap().value().0, behind);
    }
    let spent = sa.reserve(1).unwrap().next().unwrap();
    assert_eq!(spent.value(), PacketNumber(pn));
    let (mut frame, mut counters) = (buffer(plain), Counters::default());
    protect(spent, style, &mut frame, &mut counters).unwrap();
    hex::encode(frame.octets())
}

#[derive(Deserialize)]
struct FrameVectors {
    vectors: Vec<FrameVector>,
}

#[derive(Deserialize)]
struct FrameVector {
    id: String,
    suite: String,
    confidentiality: bool,
    confidentiality_offset: usize,
    sak: String,
    sci: String,
    sci_in_tag: bool,
    es: bool,
    scb: bool,
    an: u8,
    pn: u64,
    ssci: Option<u32>,
    salt: Option<String>,
    plain: String,
    secure: String,
}

impl FrameVector {
    fn key(&self) -> Arc<PreparedKey> {
        let offset = offset(self.confidentiality, self.confidentiality_offset);
        key(ki(1), self.suite.parse().unwrap(), offset, &self.sak, self.salt.as_deref())
    }

    fn style(&self) -> TagStyle {
        match (self.sci_in_tag, self.es, self.scb) {
            (true, false, false) => TagStyle::Sci,
            (false, false, false) => TagStyle::PointToPoint,
            (false, true, false) => TagStyle::EndStation,
            (false, false, true) => TagStyle::SingleCopy,
            other => panic!("{}: {other:?}", self.id),
        }
    }
}

/// 802.1AE-2018 Annex C among them.
#[test]
fn each_published_frame_comes_out_of_protecting_its_plain_form() {
    let FrameVectors { vectors } = read("macsec_frames.json");
    assert_eq!(vectors.len(), 163);
    for vector in vectors {
        let sa = TxSa::new(&vector.key(), an(vector.an), sci(&vector.sci), vector.ssci.map(Ssci));
        let secure = protected(&sa.unwrap(), vector.pn, vector.style(), &vector.plain);
        assert_eq!(secure, vector.secure, "{}", vector.id);
    }
}

#[test]
fn each_published_frame_validates_to_its_plain_form() {
    let FrameVectors { vectors } = read("macsec_frames.json");
    for vector in vectors {
        let mut table = RxTable::default();
        let lowest_pn = PacketNumber(vector.pn);
        let member = RxMember { sci: sci(&vector.sci), ssci: vector.ssci.map(Ssci), lowest_pn };
        table.add_receiver(&vector.key(), an(vector.an), member).unwrap();
        let (mut frame, mut counters) = (buffer(&vector.secure), Counters::default());

        let verdict = validate(&table, &STRICT, &mut frame, &mut counters);

        assert_eq!(verdict, Ok(Verdict::Ok), "{}", vector.id);
        assert_eq!(hex::encode(frame.octets()), vector.plain, "{}", vector.id);
        let user_data = (vector.plain.len() / 2 - 12) as u64;
        let (decrypted, checked) =
            if vector.confidentiality { (user_data, 0) } else { (0, user_data) };
        assert_eq!(
            (counters.in_octets_decrypted, counters.in_octets_validated),
            (decrypted, checked)
        );
    }
}

#[test]
fn no_published_frame_validates_with_any_octet_changed() {
    let FrameVectors { vectors } = read("macsec_frames.json");
    // Each octet of each frame takes a while; one frame in ten has every shape.
    for vector in vectors.iter().step_by(10) {
        let mut table = RxTable::default();
        let member = RxMember {
            sci: sci(&vector.sci),
            ssci: vector.ssci.map(Ssci),
            lowest_pn: PacketNumber(1),
        };
        table.add_receiver(&vector.key(), an(vector.an), member).unwrap();
        for at in 0..vector.secure.len() / 2 {
            let (mut frame, mut counters) = (buffer(&vector.secure), Counters::default());
            frame.octets_mut()[at] ^= 0x10;
            let verdict = validate(&table, &STRICT, &mut frame, &mut counters);
            assert!(verdict.is_err(), "{}, octet {at}", vector.id);
            assert!(frame.is_empty());
        }
    }
}

#[derive(Deserialize)]
struct KernelCases {
    cases: Vec<KernelCase>,
}

#[derive(Deserialize)]
struct KernelCase {
    cipher_suite: String,
    encrypt: bool,
    send_sci: bool,
    sak: String,
    an: u8,
    salt: Option<String>,
    frames: Vec<KernelFrame>,
}

#[derive(Deserialize)]
struct KernelFrame {
    frame: String,
    sci: String,
    pn: u64,
    ssci: Option<u32>,
    user_frame: String,
}

impl KernelCase {
    fn key(&self) -> Arc<PreparedKey> {
        let suite = self.cipher_suite.parse().unwrap();
        key(ki(1), suite, offset(self.encrypt, 0), &self.sak, self.salt.as_deref())
    }

    /// The frames of each sender, in order.
    fn by_sender(&self) -> impl Iterator<Item = (Sci, Vec<&KernelFrame>)> {
        let senders: BTreeSet<&str> = self.frames.iter().map(|frame| &*frame.sci).collect();
        senders.into_iter().map(|sender| {
            (sci(sender), self.frames.iter().filter(|frame| frame.sci == sender).collect())
        })
    }
}

#[test]
fn frames_of_the_linux_kernel_validate_across_two_to_the_32() {
    let KernelCases { cases } = read("kernel_frames.json");
    assert_eq!(cases.len(), 12);
    for case in cases {
        for (sender, frames) in case.by_sender() {
            let mut table = RxTable::default();
            let ssci = frames[0].ssci.map(Ssci);
            let member = RxMember { sci: sender, ssci, lowest_pn: PacketNumber(frames[0].pn) };
            table.add_receiver(&case.key(), an(case.an), member).unwrap();
            for expected in frames {
                let (mut frame, mut counters) = (buffer(&expected.frame), Counters::default());
                let verdict = validate(&table, &STRICT, &mut frame, &mut counters);
                assert_eq!(verdict, Ok(Verdict::Ok));
                assert_eq!(hex::encode(frame.octets()), expected.user_frame);
                let sa = table.sas().next().unwrap();
                assert_eq!(sa.replay().next_pn(), PacketNumber(expected.pn + 1));
            }
        }
    }
}

#[test]
fn our_frames_are_those_that_the_linux_kernel_sends() {
    let KernelCases { cases } = read("kernel_frames.json");
    for case in cases {
        let style = if case.send_sci { TagStyle::Sci } else { TagStyle::PointToPoint };
        for (sender, frames) in case.by_sender() {
            let ssci = frames[0].ssci.map(Ssci);
            let sa = TxSa::new(&case.key(), an(case.an), sender, ssci).unwrap();
            for expected in frames {
                let frame = protected(&sa, expected.pn, style, &expected.user_frame);
                assert_eq!(frame, expected.frame);
            }
        }
    }
}

#[derive(Deserialize)]
struct RxCases {
    cases: Vec<RxCase>,
}

#[derive(Deserialize)]
struct RxCase {
    name: String,
    secy: RxSecy,
    receive_sas: Vec<RxCaseSa>,
    steps: Vec<RxStep>,
}

#[derive(Deserialize)]
struct RxSecy {
    validate: String,
    replay_protect: bool,
    replay_window: u32,
    xpn: bool,
    offset: usize,
}

#[derive(Deserialize)]
struct RxCaseSa {
    sci: String,
    an: u8,
    sak: String,
    next_pn: u64,
    lowest_pn: u64,
    ssci: Option<u32>,
    salt: Option<String>,
    in_use: Option<bool>,
}

#[derive(Deserialize)]
struct RxStep {
    frame: String,
    delivered: Option<String>,
    counter: Option<String>,
    after: RxAfter,
}

#[derive(Deserialize)]
struct RxAfter {
    next_pn: Option<u64>,
    lowest_pn: Option<u64>,
}

impl RxCase {
    fn settings(&self) -> SecySettings {
        let validate = match self.secy.validate.as_str() {
            "disabled" => Validate::Disabled,
            "check" => Validate::Check,
            "strict" => Validate::Strict,
            other => panic!("{other}"),
        };
        let RxSecy { replay_protect, replay_window, .. } = self.secy;
        SecySettings { validate, replay_protect, replay_window, ..STRICT }
    }

    fn table(&self) -> RxTable {
        let suite = |sak: &str| match (sak.len(), self.secy.xpn) {
            (32, false) => CipherSuite::GcmAes128,
            (64, false) => CipherSuite::GcmAes256,
            (32, true) => CipherSuite::GcmAesXpn128,
            _ => CipherSuite::GcmAesXpn256,
        };
        let mut table = RxTable::default();
        for (number, sa) in (1..).zip(&self.receive_sas) {
            if sa.in_use == Some(false) {
                table.add_channel(sci(&sa.sci));
                continue;
            }
            let offset = offset(true, self.secy.offset);
            let key = key(ki(number), suite(&sa.sak), offset, &sa.sak, sa.salt.as_deref());
            let member = RxMember {
                sci: sci(&sa.sci),
                ssci: sa.ssci.map(Ssci),
                lowest_pn: PacketNumber(sa.lowest_pn),
            };
            table.add_receiver(&key, an(sa.an), member).unwrap();
            if sa.next_pn > sa.lowest_pn {
                let window = u32::try_from(sa.next_pn - sa.lowest_pn).unwrap();
                let replay = table.sa(ki(number), sci(&sa.sci)).unwrap().replay();
                replay.commit(PacketNumber(sa.next_pn - 1), window);
            }
        }
        table
    }

    fn run(&self) {
        let (table, settings) = (self.table(), self.settings());
        for (number, step) in self.steps.iter().enumerate() {
            let at = format!("{}, step {number}", self.name);
            let (mut frame, mut counters) = (buffer(&step.frame), Counters::default());

            let outcome = validate(&table, &settings, &mut frame, &mut counters);

            let delivered = outcome.is_ok().then(|| hex::encode(frame.octets()));
            assert_eq!(delivered, step.delivered, "{at}");
            assert_eq!(counted(&counters), step.counter, "{at}");
            assert_eq!(frame.is_empty(), outcome.is_err(), "{at}");
            if step.counter.is_none() {
                assert_eq!(outcome, Err(FrameDiscard::ForKay), "{at}");
            }
            if let Some(sa) = table.sas().next() {
                assert_eq!(Some(sa.replay().next_pn().0), step.after.next_pn, "{at}");
                assert_eq!(Some(sa.replay().lowest_pn().0), step.after.lowest_pn, "{at}");
            }
        }
    }
}

/// The one counter of packets that went up, in the spelling of the standard's 2006 edition.
fn counted(counters: &Counters) -> Option<String> {
    let own = ["in_pkts_runt", "in_pkts_eapol", "in_pkts_for_kay"];
    let mut up = counters
        .iter()
        .filter(|(name, count)| name.starts_with("in_pkts") && !own.contains(name) && *count != 0);
    let (name, count) = up.next()?;
    assert_eq!((count, up.next()), (1, None));
    let capitals = name.split('_').map(|word| match word {
        "ok" | "sci" | "sa" => word.to_uppercase(),
        _ => word[..1].to_uppercase() + &word[1..],
    });
    Some(capitals.collect())
}

/// 802.1AE-2018 10.6.
#[test]
fn each_receive_case_ends_as_the_model_says() {
    let RxCases { cases } = read("rx_cases.json");
    assert_eq!(cases.len(), 83);
    cases.iter().for_each(RxCase::run);
}

#[derive(Deserialize)]
struct XpnVectors {
    salt: Vec<SaltVector>,
    pn_recovery: Vec<RecoveryVector>,
    nonce: Vec<NonceVector>,
}

#[derive(Deserialize)]
struct SaltVector {
    ks_mi: String,
    kn: u32,
    salt: String,
}

#[derive(Deserialize)]
struct RecoveryVector {
    lowest_pn: u64,
    pn32: u32,
    pn: u64,
}

#[derive(Deserialize)]
struct NonceVector {
    ssci: u32,
    pn: u64,
    salt: String,
    nonce: String,
}

#[test]
fn salts_and_nonces_and_recovered_numbers_are_those_of_the_xpn_vectors() {
    let XpnVectors { salt, pn_recovery, nonce } = read("xpn.json");
    assert_eq!((salt.len(), pn_recovery.len(), nonce.len()), (6, 14, 3));
    for vector in salt {
        let server = MemberId::from_octets(octets(&vector.ks_mi));
        let salt = Salt::new(KeyId { server, number: KeyNumber(vector.kn) });
        assert_eq!(hex::encode(salt.octets()), vector.salt);
    }
    for vector in pn_recovery {
        let window = ReplayWindow::new(PacketNumber(vector.lowest_pn));
        assert_eq!(window.recover(vector.pn32), PacketNumber(vector.pn));
    }
    for vector in nonce {
        let salt = Salt::from_octets(octets(&vector.salt));
        let nonce = xpn_nonce(Ssci(vector.ssci), PacketNumber(vector.pn), &salt);
        assert_eq!(hex::encode(nonce), vector.nonce);
    }
}

#[derive(Deserialize)]
struct Exchange {
    frames: Vec<ExchangeFrame>,
}

#[derive(Deserialize)]
struct ExchangeFrame {
    frame: String,
    /// Of an MKPDU: the server's MI.
    mi: Option<String>,
    distributed_sak: Option<ExchangeSak>,
    /// Of a protected frame: its user data behind the addresses.
    plain: Option<String>,
}

#[derive(Deserialize)]
struct ExchangeSak {
    an: u8,
    kn: u32,
    sak: String,
}

/// Two ends on kernel MACsec, keyed by wpa_supplicant, one of them restarted.
#[test]
fn the_frames_of_a_recorded_exchange_validate_with_the_saks_distributed_in_it() {
    let Exchange { frames } = read("wpa_supplicant_exchange.json");
    let mut table = RxTable::default();
    let mut installed: Vec<(u8, KeyId)> = Vec::new();
    let mut validated = 0;
    for recorded in frames {
        if let Some(sak) = recorded.distributed_sak {
            let server = MemberId::from_octets(octets(&recorded.mi.unwrap()));
            let ki = KeyId { server, number: KeyNumber(sak.kn) };
            if installed.contains(&(sak.an, ki)) {
                continue;
            }
            installed
                .iter()
                .filter(|(an, _)| *an == sak.an)
                .for_each(|(_, old)| table.remove_key(*old));
            installed.push((sak.an, ki));
            let key =
                key(ki, CipherSuite::GcmAes128, ConfidentialityOffset::Offset0, &sak.sak, None);
            for member in ["0200000000010001", "0200000000020001"] {
                let member =
                    RxMember { sci: sci(member), ssci: None, lowest_pn: PacketNumber::FIRST };
                table.add_receiver(&key, an(sak.an), member).unwrap();
            }
        } else if let Some(plain) = recorded.plain {
            let (mut frame, mut counters) = (buffer(&recorded.frame), Counters::default());
            let verdict = validate(&table, &STRICT, &mut frame, &mut counters);
            assert_eq!(verdict, Ok(Verdict::Ok));
            assert_eq!(hex::encode(frame.octets()), plain);
            validated += 1;
        }
    }
    assert_eq!((installed.len(), validated), (2, 46));
}
