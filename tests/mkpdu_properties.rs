//! What holds for every MKPDU, and for octets that are none.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

use aes_kw::{KeyInit, KwAes128, KwAes256};
use macsecd::{
    crypto::{Cak, Ick, Kek, Sak},
    ident::{
        AssociationNumber, CipherSuite, Ckn, ConfidentialityOffset, KeyId, KeyNumber,
        KeyServerPriority, MacAddress, MemberId, MessageNumber, Sci,
    },
    wire::{
        Announcement, Basic, DistributedCak, DistributedSak, Eapol, LivePeerList, MacsecCapability,
        Mkpdu, PeerEntry, RawMkpdu, SakUse, SakUseKey, SakUseSet, Xpn,
    },
};
use proptest::{array::uniform, collection::vec, option, prelude::*};
use zeroize::Zeroizing;

#[expect(unreachable_pub, reason = "the fuzz targets use it from another crate")]
#[path = "../fuzz/bodies/mkpdu.rs"]
mod fuzz_body;

const SOURCE: MacAddress = MacAddress([2, 0, 0, 0, 0, 1]);

fn ckn() -> impl Strategy<Value = Ckn> {
    vec(any::<u8>(), 1..=Ckn::MAX_LEN).prop_map(|octets| Ckn::new(&octets).unwrap())
}

fn mi() -> impl Strategy<Value = MemberId> {
    uniform::<_, 12>(any::<u8>()).prop_map(MemberId::from_octets)
}

fn capability() -> impl Strategy<Value = MacsecCapability> {
    any::<u8>().prop_map(MacsecCapability::from_low_bits)
}

fn peers() -> impl Strategy<Value = Vec<PeerEntry>> {
    let peer = (mi(), any::<u32>()).prop_map(|(mi, mn)| PeerEntry { mi, mn: MessageNumber(mn) });
    vec(peer, 0..8)
}

prop_compose! {
    fn basic()(
        version in 1..=u8::MAX,
        priority in any::<u8>(),
        (key_server, macsec_desired) in any::<(bool, bool)>(),
        macsec_capability in capability(),
        sci in any::<[u8; 8]>(),
        mi in mi(),
        mn in any::<u32>(),
        ckn in ckn(),
    ) -> Basic {
        let (key_server_priority, sci) = (KeyServerPriority(priority), Sci::from_octets(sci));
        let mn = MessageNumber(mn);
        Basic {
            version, key_server_priority, key_server, macsec_desired, macsec_capability, sci, mi,
            mn, ckn,
        }
    }
}

prop_compose! {
    // A key number of 0 with an MI of zeros would be no key.
    fn sak_use_key()(
        server in mi(),
        number in 1..=u32::MAX,
        an in any::<u8>(),
        (tx, rx) in any::<(bool, bool)>(),
        llpn in any::<u32>(),
    ) -> SakUseKey {
        let ki = KeyId { server, number: KeyNumber(number) };
        SakUseKey { ki, an: AssociationNumber::from_low_bits(an), tx, rx, llpn }
    }
}

prop_compose! {
    fn sak_use()(
        latest in option::of(sak_use_key()),
        old in option::of(sak_use_key()),
        (plain_tx, plain_rx, delay_protect) in any::<(bool, bool, bool)>(),
    ) -> SakUse {
        SakUse { latest, old, plain_tx, plain_rx, delay_protect }
    }
}

fn suite() -> impl Strategy<Value = Result<CipherSuite, [u8; 8]>> {
    any::<[u8; 8]>().prop_map(|id| {
        let known = usize::from(id[0]) % 8;
        CipherSuite::ALL.get(known).copied().ok_or(id)
    })
}

prop_compose! {
    fn distributed_key()(
        an in any::<u8>(),
        offset in any::<u8>(),
        kn in any::<u32>(),
        suite in suite(),
        wrapped in vec(any::<u8>(), 24..=48),
    ) -> DistributedSak {
        let an = AssociationNumber::from_low_bits(an);
        let offset = ConfidentialityOffset::from_low_bits(offset);
        DistributedSak::Key { an, offset, kn: KeyNumber(kn), suite, wrapped }
    }
}

prop_compose! {
    fn distributed_cak()(wrapped in uniform::<_, 24>(any::<u8>()), ckn in ckn()) -> DistributedCak {
        DistributedCak { wrapped, ckn }
    }
}

prop_compose! {
    fn xpn()(
        suspension_time in any::<u8>(),
        latest_lpn_high in any::<u32>(),
        old_lpn_high in any::<u32>(),
    ) -> Xpn {
        Xpn { suspension_time, latest_lpn_high, old_lpn_high }
    }
}

fn live_peers() -> impl Strategy<Value = LivePeerList> {
    (any::<u8>(), peers())
        .prop_map(|(key_server_ssci, peers)| LivePeerList { key_server_ssci, peers })
}

fn announcement() -> impl Strategy<Value = Announcement> {
    vec((capability(), any::<[u8; 8]>()), 0..=5)
        .prop_map(|suites| Announcement { suites, other_tlvs: 0 })
}

prop_compose! {
    fn any_mkpdu()(
        basic in basic(),
        live_peers in option::of(live_peers()),
        potential_peers in option::of(peers()),
        sak_use in option::of(prop_oneof![
            Just(SakUseSet::Unsupported),
            sak_use().prop_map(SakUseSet::Keys),
        ]),
        distributed_sak in option::of(prop_oneof![
            Just(DistributedSak::PlainText),
            distributed_key(),
        ]),
        distributed_cak in option::of(distributed_cak()),
        kmd in option::of(vec(any::<u8>(), 0..=253)),
        announcement in option::of(announcement()),
        xpn in option::of(xpn()),
        icv_indicator in any::<bool>(),
    ) -> Mkpdu {
        Mkpdu {
            basic, live_peers, potential_peers, sak_use, distributed_sak, distributed_cak, kmd,
            announcement, xpn, icv_indicator,
        }
    }
}

fn ick() -> Ick {
    Ick::new(&[0x5a; 16]).unwrap()
}

/// The whole frame, ICV included.
fn frame(mkpdu: &Mkpdu) -> Vec<u8> {
    let mut frame = mkpdu.encode(MacAddress::PAE_GROUP, SOURCE).unwrap();
    frame.extend_from_slice(&ick().icv(&frame));
    frame
}

/// Whether a participant would believe a frame.
fn believed(frame: &[u8]) -> bool {
    Eapol::decode(frame)
        .ok()
        .and_then(|eapol| RawMkpdu::decode(&eapol).ok())
        .is_some_and(|raw| ick().verify(raw.covered(), raw.icv(), ()).is_some())
}

/// A set with a header that mostly fits its body.
fn some_set() -> impl Strategy<Value = Vec<u8>> {
    let kind = prop_oneof![8 => 0..=9_u8, 1 => Just(255), 1 => any::<u8>()];
    let fudge = prop_oneof![8 => Just(0), 1 => 0..=8_u8];
    let length = prop_oneof![Just(0), Just(8), Just(16), Just(28), Just(36), Just(40), 0..60_usize];
    let body = length.prop_flat_map(|length| vec(any::<u8>(), length));
    (kind, any::<u8>(), any::<u8>(), fudge, body).prop_map(
        |(kind, octet2, octet3, fudge, mut body)| {
            let length = u8::try_from(body.len()).unwrap().wrapping_add(fudge);
            body.resize(body.len().next_multiple_of(4), 0);
            [[kind, octet2, octet3 & 0xf0, length].as_slice(), &body].concat()
        },
    )
}

proptest! {
    #[test]
    fn what_is_written_is_read_as_it_was(mkpdu in any_mkpdu()) {
        let frame = frame(&mkpdu);
        let eapol = Eapol::decode(&frame).unwrap();
        let raw = RawMkpdu::decode(&eapol).unwrap();

        let verified = ick().verify(raw.covered(), raw.icv(), &raw).unwrap();
        let read = verified.try_map(RawMkpdu::parse).unwrap().into_inner();

        prop_assert_eq!(read, mkpdu);
        fuzz_body::mkpdu(&frame);
    }

    #[test]
    fn an_mkpdu_with_one_bit_flipped_is_not_believed(
        mkpdu in any_mkpdu(),
        bit in any::<prop::sample::Index>(),
    ) {
        let mut frame = frame(&mkpdu);
        prop_assert!(believed(&frame));
        let bit = bit.index(frame.len() * 8);
        frame[bit / 8] ^= 1 << (bit % 8);
        prop_assert!(!believed(&frame));
    }

    #[test]
    fn ethernet_padding_changes_nothing(mkpdu in any_mkpdu(), pad in vec(any::<u8>(), 0..64)) {
        prop_assert!(believed(&[frame(&mkpdu), pad].concat()));
    }

    #[test]
    fn a_damaged_mkpdu_never_panics(
        mkpdu in any_mkpdu(),
        damage in vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
    ) {
        let mut frame = frame(&mkpdu);
        for (at, octet) in damage {
            let at = 18 + at.index(frame.len() - 18);
            frame[at] = octet;
        }
        fuzz_body::mkpdu(&frame);
    }

    #[test]
    fn arbitrary_sets_never_panic(basic in basic(), sets in vec(some_set(), 0..8)) {
        let mut frame = Mkpdu::new(basic).encode(MacAddress::PAE_GROUP, SOURCE).unwrap();
        frame.extend(sets.concat());
        frame.extend([0; 16]);
        let length = u16::try_from(frame.len() - 18).unwrap();
        frame[16..18].copy_from_slice(&length.to_be_bytes());
        fuzz_body::mkpdu(&frame);
    }

    #[test]
    fn arbitrary_octets_never_panic(body in vec(any::<u8>(), 0..200), cut in 0..20_usize) {
        let header = [1, 0x80, 0xc2, 0, 0, 3, 2, 0, 0, 0, 0, 1, 0x88, 0x8e, 3, 5, 0, 64];
        fuzz_body::mkpdu(&[&header, body.as_slice()].concat());
        fuzz_body::mkpdu(&header[..cut.min(18)]);
        fuzz_body::mkpdu(&body);
    }

    #[test]
    fn a_wrapped_sak_is_what_another_library_makes_of_it(
        wide_kek in any::<bool>(),
        wide_sak in any::<bool>(),
        octets in any::<[u8; 32]>(),
        key in any::<[u8; 32]>(),
    ) {
        let key = &key[..if wide_kek { 32 } else { 16 }];
        let octets = &octets[..if wide_sak { 32 } else { 16 }];
        let mut theirs = vec![0; octets.len() + 8];
        if wide_kek {
            KwAes256::new_from_slice(key).unwrap().wrap_key(octets, &mut theirs).unwrap();
        } else {
            KwAes128::new_from_slice(key).unwrap().wrap_key(octets, &mut theirs).unwrap();
        }

        let kek = Kek::new(Zeroizing::new(key.to_vec())).unwrap();
        let sak = Sak::new(Zeroizing::new(octets.to_vec())).unwrap();

        let suite = if wide_sak { CipherSuite::GcmAes256 } else { CipherSuite::GcmAes128 };
        prop_assert_eq!(kek.wrap(&sak).into_octets(), theirs.clone());
        prop_assert!(kek.unwrap(&theirs, suite).unwrap().same_as(&sak));
    }
}

/// One MKPDU, every bit of it.
#[test]
fn every_bit_of_an_mkpdu_is_covered() {
    let cak = Cak::new(Zeroizing::new(vec![0x33; 32])).unwrap();
    let ckn = Ckn::new(b"a name of odd length!").unwrap();
    let ick = cak.ick(&ckn);
    let mut mkpdu = Mkpdu::new(Basic {
        version: 3,
        key_server_priority: KeyServerPriority(16),
        key_server: true,
        macsec_desired: true,
        macsec_capability: MacsecCapability::Offset0,
        sci: Sci::new(SOURCE, 1),
        mi: MemberId::from_octets([0xa1; 12]),
        mn: MessageNumber(5),
        ckn,
    });
    mkpdu.sak_use = Some(SakUseSet::Keys(SakUse::default()));
    let mut frame = mkpdu.encode(MacAddress::PAE_GROUP, SOURCE).unwrap();
    frame.extend_from_slice(&ick.icv(&frame));

    for bit in 0..frame.len() * 8 {
        let mut damaged = frame.clone();
        damaged[bit / 8] ^= 1 << (bit % 8);
        let good = Eapol::decode(&damaged)
            .ok()
            .and_then(|eapol| RawMkpdu::decode(&eapol).ok())
            .is_some_and(|raw| ick.verify(raw.covered(), raw.icv(), ()).is_some());
        assert!(!good, "bit {bit}");
    }
}
