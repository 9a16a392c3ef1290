//! The keys and the MKPDUs, against vectors that come from elsewhere (`tests/vectors/README.md`).

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

use macsecd::{
    crypto::{Cak, Ick, Kek, KeyLengthError, Sak, Salt, UnwrapError, eap_cak, eap_ckn, kdf},
    ident::{CipherSuite, Ckn, KeyId, KeyNumber, MacAddress, MemberId},
    wire::{
        Announcement, DistributedSak, Eapol, EapolError, Mkpdu, MkpduError, PeerEntry, RawMkpdu,
        SakUse, SakUseKey, SakUseSet, SetFault,
    },
};
use serde_json::{Value, json};
use zeroize::Zeroizing;

/// Reads a file of vectors.
fn load(name: &str) -> Value {
    let path = format!("{}/tests/vectors/{name}.json", env!("CARGO_MANIFEST_DIR"));
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

/// The entries of a list, of which there have to be so many.
fn list<'a>(value: &'a Value, name: &str, count: usize) -> &'a [Value] {
    let list = value[name].as_array().unwrap();
    assert_eq!(list.len(), count, "{name}");
    list
}

/// The octets of a member in hex.
fn octets(value: &Value, name: &str) -> Vec<u8> {
    hex::decode(value[name].as_str().unwrap_or_else(|| panic!("no {name} in {value}"))).unwrap()
}

fn array<const N: usize>(value: &Value, name: &str) -> [u8; N] {
    octets(value, name).try_into().unwrap()
}

fn number<T: TryFrom<u64, Error: std::fmt::Debug>>(value: &Value, name: &str) -> T {
    value[name].as_u64().unwrap().try_into().unwrap()
}

fn cak(value: &Value) -> Cak {
    Cak::new(Zeroizing::new(octets(value, "cak"))).unwrap()
}

fn ckn(value: &Value) -> Ckn {
    Ckn::new(&octets(value, "ckn")).unwrap()
}

fn kek(value: &Value, name: &str) -> Kek {
    Kek::new(Zeroizing::new(octets(value, name))).unwrap()
}

fn sak(octets: Vec<u8>) -> Sak {
    Sak::new(Zeroizing::new(octets)).unwrap()
}

fn members(value: &Value) -> Vec<MemberId> {
    let member = |mi: &Value| hex::decode(mi.as_str().unwrap()).unwrap().try_into().unwrap();
    value.as_array().unwrap().iter().map(|mi| MemberId::from_octets(member(mi))).collect()
}

/// A suite whose SAKs have so many octets.
fn suite_of(sak_len: usize) -> CipherSuite {
    if sak_len == 16 { CipherSuite::GcmAes128 } else { CipherSuite::GcmAes256 }
}

// The primitives.

/// AES-CMAC as the `cmac` crate has it.
fn other_cmac(key: &[u8], message: &[u8]) -> Vec<u8> {
    use cmac::{Cmac, KeyInit, Mac};
    match key.len() {
        16 => Cmac::<aes::Aes128>::new_from_slice(key)
            .unwrap()
            .chain_update(message)
            .finalize()
            .into_bytes()
            .to_vec(),
        _ => Cmac::<aes::Aes256>::new_from_slice(key)
            .unwrap()
            .chain_update(message)
            .finalize()
            .into_bytes()
            .to_vec(),
    }
}

#[test]
fn an_icv_is_aes_cmac() {
    for vector in list(&load("aes_cmac"), "vectors", 10) {
        let (key, message) = (octets(vector, "key"), octets(vector, "msg"));
        let ick = Ick::new(&key).unwrap();
        assert_eq!(ick.icv(&message), array(vector, "mac"), "{vector}");
        assert!(ick.verify(&message, &array(vector, "mac"), ()).is_some(), "{vector}");
        assert_eq!(other_cmac(&key, &message), octets(vector, "mac"), "{vector}");
    }
}

/// AES Key Wrap as the `aes-kw` crate has it.
fn other_wrap(kek: &[u8], key: &[u8]) -> Vec<u8> {
    use aes_kw::{KeyInit, KwAes128, KwAes192, KwAes256};
    let mut wrapped = vec![0; key.len() + 8];
    match kek.len() {
        16 => KwAes128::new_from_slice(kek).unwrap().wrap_key(key, &mut wrapped).map(drop),
        24 => KwAes192::new_from_slice(kek).unwrap().wrap_key(key, &mut wrapped).map(drop),
        _ => KwAes256::new_from_slice(kek).unwrap().wrap_key(key, &mut wrapped).map(drop),
    }
    .unwrap();
    wrapped
}

#[test]
fn an_sak_is_wrapped_by_aes_key_wrap() {
    let mut of_our_lengths = 0;
    for vector in list(&load("aes_keywrap"), "vectors", 8) {
        let (key, wrapped) = (octets(vector, "key"), octets(vector, "wrapped"));
        assert_eq!(other_wrap(&octets(vector, "kek"), &key), wrapped, "{vector}");
        if octets(vector, "kek").len() == 24 {
            let refused = Kek::new(Zeroizing::new(octets(vector, "kek"))).err();
            assert_eq!(refused, Some(KeyLengthError(24)));
            continue;
        }
        let kek = kek(vector, "kek");
        let Ok(sak) = Sak::new(Zeroizing::new(key.clone())) else {
            assert!(!matches!(key.len(), 16 | 32));
            let refused = kek.unwrap(&wrapped, CipherSuite::GcmAes256).unwrap_err();
            assert_eq!(refused, UnwrapError::Length, "{vector}");
            continue;
        };
        assert_eq!(kek.wrap(&sak).octets(), wrapped, "{vector}");
        assert!(kek.unwrap(&wrapped, suite_of(key.len())).unwrap().same_as(&sak), "{vector}");
        of_our_lengths += 1;
    }
    assert_eq!(of_our_lengths, 4);
}

#[test]
fn an_altered_wrap_is_refused() {
    for vector in list(&load("aes_keywrap"), "must_fail", 9) {
        let wrapped = octets(vector, "wrapped");
        let refused = kek(vector, "kek").unwrap(&wrapped, suite_of(wrapped.len() - 8));
        assert_eq!(refused.unwrap_err(), UnwrapError::Integrity, "{vector}");
    }
}

#[test]
fn keys_are_derived_as_annex_g_has_it() {
    let probe = sak(vec![0x5a; 32]);
    for vector in list(&load("kdf_8021x"), "vectors", 40) {
        let output = octets(vector, "output");
        let address = |name| MacAddress(array(vector, name));
        match vector["kind"].as_str().unwrap() {
            "kdf" => {
                let (label, context) = (octets(vector, "label"), octets(vector, "context"));
                let length = u8::try_from(number::<u16>(vector, "bits") / 8).unwrap();
                let derived = kdf(&octets(vector, "key"), &label, &context, length).unwrap();
                assert_eq!(*derived, output, "{vector}");
            }
            "eap_cak" => {
                let msk = octets(vector, "msk");
                let derived = eap_cak(&msk, address("mac1"), address("mac2")).unwrap();
                let expected = Cak::new(Zeroizing::new(output)).unwrap();
                assert!(derived.same_as(&expected), "{vector}");
            }
            "eap_ckn" => {
                let (msk, session) = (octets(vector, "msk"), octets(vector, "session_id"));
                let derived = eap_ckn(&msk, &session, address("mac1"), address("mac2"));
                assert_eq!(derived, Ok(Ckn::new(&output).unwrap()), "{vector}");
            }
            // Keys do not show themselves; they are the same if they do the same.
            "kek" => {
                let derived = cak(vector).kek(&ckn(vector));
                assert_eq!(derived.wrap(&probe), kek(vector, "output").wrap(&probe), "{vector}");
            }
            "ick" => {
                let derived = cak(vector).ick(&ckn(vector));
                let expected = Ick::new(&output).unwrap();
                assert_eq!(derived.icv(b"probe"), expected.icv(b"probe"), "{vector}");
            }
            "sak" => {
                let (nonce, members) = (octets(vector, "ks_nonce"), members(&vector["mi_list"]));
                let kn = KeyNumber(number(vector, "kn"));
                let derived = cak(vector).derive_sak(&nonce, &members, kn, suite_of(output.len()));
                assert!(derived.same_as(&sak(output)), "{vector}");
            }
            other => panic!("unknown kind {other}"),
        }
    }
}

#[test]
fn a_salt_mixes_the_key_number_into_the_key_servers_name() {
    for vector in list(&load("xpn"), "salt", 6) {
        let server = MemberId::from_octets(array(vector, "ks_mi"));
        let ki = KeyId { server, number: KeyNumber(number(vector, "kn")) };
        assert_eq!(Salt::new(ki).octets(), array(vector, "salt"), "{vector}");
    }
}

// The MKPDUs.

/// Shows a frame as the vectors do, so that no member of theirs goes without comparison.
fn shown(frame: &[u8], kek: &Kek) -> Value {
    let eapol = Eapol::decode(frame).unwrap();
    let raw = RawMkpdu::decode(&eapol).unwrap();
    let mkpdu = raw.parse().unwrap();
    let basic = &mkpdu.basic;
    assert_eq!(raw.ckn_octets(), basic.ckn.octets());
    json!({
        "eapol_version": eapol.version,
        "mka_version": basic.version,
        "key_server_priority": basic.key_server_priority.0,
        "key_server": basic.key_server,
        "macsec_desired": basic.macsec_desired,
        "macsec_capability": basic.macsec_capability.code(),
        "sci": hex::encode(basic.sci.octets()),
        "mi": basic.mi.to_string(),
        "mn": basic.mn.0,
        "ckn": basic.ckn.to_string(),
        "parameter_sets": shown_sets(&mkpdu, kek),
        "icv_indicator": mkpdu.icv_indicator,
        "icv": hex::encode(raw.icv()),
    })
}

/// Shows the sets in the order of their types.
fn shown_sets(mkpdu: &Mkpdu, kek: &Kek) -> Vec<Value> {
    let mut sets = Vec::new();
    if let Some(list) = &mkpdu.live_peers {
        let peers = shown_peers(&list.peers);
        let ssci = list.key_server_ssci;
        sets.push(json!({"type": 1, "peers": peers, "key_server_ssci_octet": ssci}));
    }
    if let Some(peers) = &mkpdu.potential_peers {
        sets.push(json!({"type": 2, "peers": shown_peers(peers)}));
    }
    sets.extend(mkpdu.sak_use.as_ref().map(shown_sak_use));
    sets.extend(mkpdu.distributed_sak.as_ref().map(|set| shown_distributed_sak(set, kek)));
    if let Some(cak) = &mkpdu.distributed_cak {
        let wrapped = hex::encode(cak.wrapped);
        let body = format!("{wrapped}{}", cak.ckn);
        sets.push(json!({"type": 5, "wrapped_cak": wrapped, "body": body}));
    }
    if let Some(domain) = &mkpdu.kmd {
        sets.push(json!({"type": 6, "octet2": 0, "body": hex::encode(domain)}));
    }
    sets.extend(mkpdu.announcement.as_ref().map(shown_announcement));
    if let Some(xpn) = mkpdu.xpn {
        let (llpn, olpn) = (xpn.latest_lpn_high, xpn.old_lpn_high);
        let time = xpn.suspension_time;
        sets.push(
            json!({"type": 8, "suspension_time": time, "llpn_high": llpn, "olpn_high": olpn}),
        );
    }
    sets
}

fn shown_peers(peers: &[PeerEntry]) -> Vec<Value> {
    peers.iter().map(|peer| json!({"mi": peer.mi.to_string(), "mn": peer.mn.0})).collect()
}

fn shown_sak_use(set: &SakUseSet) -> Value {
    let keys = match set {
        SakUseSet::Unsupported => {
            return json!({
                "type": 3, "empty": true, "ptx": 1, "prx": 1, "dp": 0,
                "lan": 0, "ltx": 0, "lrx": 0, "oan": 0, "otx": 0, "orx": 0,
            });
        }
        SakUseSet::Keys(keys) => keys,
    };
    let SakUse { latest, old, plain_tx, plain_rx, delay_protect } = *keys;
    let mut shown = json!({
        "type": 3, "ptx": u8::from(plain_tx), "prx": u8::from(plain_rx),
        "dp": u8::from(delay_protect),
    });
    for (key, prefix) in [(latest, 'l'), (old, 'o')] {
        let (mi, kn, [an, tx, rx], lpn) = match key {
            Some(SakUseKey { ki, an, tx, rx, llpn }) => {
                (ki.server, ki.number.0, [an.value(), tx.into(), rx.into()], llpn)
            }
            None => (MemberId::from_octets([0; 12]), 0, [0, 0, 0], 1),
        };
        shown[format!("{prefix}mi")] = json!(mi.to_string());
        shown[format!("{prefix}kn")] = json!(kn);
        shown[format!("{prefix}lpn")] = json!(lpn);
        shown[format!("{prefix}an")] = json!(an);
        shown[format!("{prefix}tx")] = json!(tx);
        shown[format!("{prefix}rx")] = json!(rx);
    }
    shown
}

fn shown_distributed_sak(set: &DistributedSak, kek: &Kek) -> Value {
    let DistributedSak::Key { an, offset, kn, suite, wrapped } = set else {
        return json!({"type": 4, "plain": true});
    };
    let suite = suite.unwrap();
    let sak = kek.unwrap(wrapped, suite).unwrap();
    json!({
        "type": 4, "plain": false, "an": an.value(), "offset": offset.code(), "kn": kn.0,
        "suite": hex::encode(suite.id()), "wrapped": hex::encode(wrapped),
        "sak": hex::encode(sak.expose()),
    })
}

fn shown_announcement(set: &Announcement) -> Value {
    let suites: Vec<_> =
        set.suites.iter().map(|(capability, id)| (capability.code(), hex::encode(id))).collect();
    json!({"type": 7, "suites": suites, "other_tlvs": set.other_tlvs})
}

/// The fields of a vector, its sets sorted, with what we keep of those that we do not keep whole.
fn expected(fields: &Value) -> Value {
    let mut fields = fields.clone();
    let sets = fields["parameter_sets"].as_array_mut().unwrap();
    sets.sort_by_key(|set| set["type"].as_u64());
    sets.retain(|set| set["type"] != 99);
    for set in sets {
        if set["type"] == 7 {
            *set = match set["body"].as_str().unwrap() {
                "c803616263e00a00020080c20001000004" => {
                    json!({"type": 7, "suites": [[2, "0080c20001000004"]], "other_tlvs": 1})
                }
                body => {
                    assert_eq!(&body[..4], "e028");
                    json!({"type": 7, "other_tlvs": 0, "suites": [
                        [3, "0080c20001000001"], [3, "0080c20001000002"],
                        [2, "0080c20001000003"], [2, "0080c20001000004"],
                    ]})
                }
            };
        }
    }
    fields
}

/// Frames that we read and would not write so: their notes.
const WRITTEN_OTHERWISE: [&str; 6] = [
    "Announcement set with an unknown TLV before the Cipher Suites TLV",
    "unknown parameter set type 99 with odd length, to be skipped",
    "parameter set repeated: the first Potential Peer List counts, the second is ignored",
    "future MKA version 7 with extra octets at the end of SAK Use: decode as the highest known version",
    "EAPOL version 4 (greater than known): accepted",
    "explicit default suite",
];

#[test]
fn every_mkpdu_says_what_its_vector_says_and_has_the_icv_of_its_key() {
    let mut frames = 0;
    for exchange in list(&load("mkpdu"), "exchanges", 29) {
        let (cak, ckn) = (cak(exchange), ckn(exchange));
        let (kek, ick) = (cak.kek(&ckn), cak.ick(&ckn));
        for vector in exchange["frames"].as_array().unwrap() {
            let frame = octets(vector, "frame");
            let eapol = Eapol::decode(&frame).unwrap();
            let raw = RawMkpdu::decode(&eapol).unwrap();

            let context = format!("{}: {}", exchange["name"], vector["note"]);
            assert_eq!(raw.check_algorithm_agility(), Ok(()), "{context}");
            assert_eq!(raw.ckn(), ckn, "{context}");
            assert!(ick.verify(raw.covered(), raw.icv(), ()).is_some(), "{context}");
            assert_eq!(shown(&frame, &kek), expected(&vector["fields"]), "{context}");
            frames += 1;
        }
    }
    assert_eq!(frames, 208);
}

#[test]
fn what_we_write_is_what_others_write_icv_included() {
    let mut written_otherwise = 0;
    for exchange in list(&load("mkpdu"), "exchanges", 29) {
        if exchange["set_order"] == "ascending" {
            continue;
        }
        let ick = cak(exchange).ick(&ckn(exchange));
        for vector in exchange["frames"].as_array().unwrap() {
            let frame = octets(vector, "frame");
            let eapol = Eapol::decode(&frame).unwrap();
            let mkpdu = RawMkpdu::decode(&eapol).unwrap().parse().unwrap();

            let mut ours = mkpdu.encode(eapol.destination, eapol.source).unwrap();
            ours.extend_from_slice(&ick.icv(&ours));

            if WRITTEN_OTHERWISE.contains(&vector["note"].as_str().unwrap()) {
                assert_ne!(ours, frame, "{}: {}", exchange["name"], vector["note"]);
                written_otherwise += 1;
            } else {
                assert_eq!(ours, frame, "{}: {}", exchange["name"], vector["note"]);
            }
        }
    }
    assert_eq!(written_otherwise, WRITTEN_OTHERWISE.len());
}

#[test]
fn a_key_server_derives_wraps_and_salts_as_the_exchanges_have_it() {
    let mut saks = 0;
    for exchange in list(&load("mkpdu"), "exchanges", 29) {
        if exchange["mi_list"].is_null() {
            continue;
        }
        let (cak, ckn) = (cak(exchange), ckn(exchange));
        let members = members(&exchange["mi_list"]);
        let suite: CipherSuite = exchange["suite"].as_str().unwrap().parse().unwrap();
        for round in [exchange, &exchange["rekey"]] {
            if round.is_null() {
                continue;
            }
            let kn = KeyNumber(number(round, "kn"));
            let derived = cak.derive_sak(&octets(round, "ks_nonce"), &members, kn, suite);
            assert!(derived.same_as(&sak(octets(round, "sak"))), "{}", exchange["name"]);
            assert_eq!(cak.kek(&ckn).wrap(&derived).octets(), octets(round, "wrapped_sak"));
            if suite.is_xpn() {
                let ki = KeyId { server: members[0], number: kn };
                assert_eq!(Salt::new(ki).octets(), array(round, "salt"), "{}", exchange["name"]);
            }
            saks += 1;
        }
    }
    assert_eq!(saks, 33);
}

/// What a participant with these keys would refuse a frame for, by the vectors' names.
fn refusal(frame: &[u8], ckn: &Ckn, ick: &Ick, kek: &Kek) -> &'static str {
    let eapol = match Eapol::decode(frame) {
        Ok(eapol) => eapol,
        Err(EapolError::Truncated) => return "truncated",
        Err(EapolError::EtherType) => return "ethertype",
        Err(EapolError::Version) => return "eapol-version",
        Err(EapolError::PacketType) => return "eapol-type",
        Err(EapolError::Length) => return "eapol-length",
        Err(EapolError::Destination) => return "destination",
    };
    let mkpdu = RawMkpdu::decode(&eapol).and_then(|raw| {
        if raw.ckn() != *ckn {
            return Ok(Err("ckn-unknown"));
        }
        raw.check_algorithm_agility()?;
        let Some(verified) = ick.verify(raw.covered(), raw.icv(), &raw) else {
            return Ok(Err("icv"));
        };
        verified.try_map(RawMkpdu::parse).map(Ok)
    });
    let verified = match mkpdu {
        Ok(Ok(verified)) => verified,
        Ok(Err(refusal)) => return refusal,
        Err(MkpduError::TooShort) => return "min-length",
        Err(MkpduError::NotMultipleOf4) => return "multiple-of-4",
        Err(MkpduError::BasicLength) => return "basic-length",
        Err(MkpduError::CknLength) => return "ckn-length",
        Err(MkpduError::AlgorithmAgility) => return "algorithm-agility",
        Err(MkpduError::ParameterSet { .. }) => return "parameter-set",
        Err(MkpduError::Version0) => return "version-0",
    };
    match verified.into_inner().distributed_sak {
        None | Some(DistributedSak::PlainText) => "none",
        Some(DistributedSak::Key { suite: Err(_), .. }) => "suite-unknown",
        Some(DistributedSak::Key { suite: Ok(suite), wrapped, .. }) => {
            kek.unwrap(&wrapped, suite).map_or("key-unwrap", |_| "none")
        }
    }
}

#[test]
fn every_bad_mkpdu_is_refused_for_its_own_reason() {
    let file = load("mkpdu_negative");
    let (cak, ckn) = (cak(&file), ckn(&file));
    let (kek, ick) = (cak.kek(&ckn), cak.ick(&ckn));
    let mut faults = Vec::new();
    for vector in list(&file, "frames", 33) {
        let frame = octets(vector, "frame");
        assert_eq!(refusal(&frame, &ckn, &ick, &kek), vector["check"], "{}", vector["note"]);
        let eapol = Eapol::decode(&frame).ok();
        let raw = eapol.and_then(|eapol| RawMkpdu::decode(&eapol).ok());
        if let Some(Err(MkpduError::ParameterSet { set, fault })) = raw.map(|raw| raw.parse()) {
            faults.push((set, fault));
        }
    }
    let lengths = [1, 4, 4, 3].map(|set| (set, SetFault::Length));
    assert_eq!(faults, [&lengths[..1], &[(1, SetFault::Overrun)], &lengths[1..]].concat());
}

#[test]
fn two_wpa_supplicants_are_understood_from_start_to_restart() {
    let file = load("wpa_supplicant_exchange");
    let (cak, ckn) = (cak(&file), ckn(&file));
    let (kek, ick) = (cak.kek(&ckn), cak.ick(&ckn));
    let (mut mkpdus, mut saks) = (0, 0);
    for vector in list(&file, "frames", 73) {
        if vector["ethertype"] != "888e" {
            continue;
        }
        let frame = octets(vector, "frame");
        assert_eq!(refusal(&frame, &ckn, &ick, &kek), "none", "{vector}");
        let shown = shown(&frame, &kek);
        for name in ["mi", "mn", "sci", "key_server"] {
            assert_eq!(shown[name], vector[name], "{vector}");
        }
        let sets = shown["parameter_sets"].as_array().unwrap();
        let types: Vec<&Value> = sets.iter().map(|set| &set["type"]).collect();
        assert_eq!(json!(types), vector["parameter_sets"], "{vector}");
        for set in sets {
            let told = match set["type"].as_u64() {
                Some(3) => &vector["sak_use"],
                Some(4) => &vector["distributed_sak"],
                _ => continue,
            };
            for (name, value) in told.as_object().unwrap() {
                assert_eq!(set[name], *value, "{name} in {vector}");
            }
            saks += usize::from(set["type"] == 4);
        }
        mkpdus += 1;
    }
    assert_eq!((mkpdus, saks), (27, 4));
}
