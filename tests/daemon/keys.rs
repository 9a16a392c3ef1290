//! Fresh SAKs while traffic flows.

use std::time::{Duration, Instant};

use macsecd::sys::PacketSocket;

use crate::config::Config;
use crate::rig::{CABLE, Pair};
use crate::traffic::Traffic;

#[test]
fn a_rekey_under_traffic_loses_nothing() {
    let config = Config::new("gcm-aes-xpn-256");
    let mut pair = Pair::new();
    pair.a.start(&config.clone().with("key-server-priority = 1"));
    pair.b.start(&config.with("key-server-priority = 2"));
    pair.wait_until_secured();
    let mut traffic = Traffic::new(&pair);
    let (code, _, complaint) = pair.b.macsecctl(&["rekey", CABLE]);
    assert_eq!(code, 1, "only the key server can: {complaint}");

    for round in 1..=3_u64 {
        let before = pair.a.port()["sak"]["key_number"].clone();
        let (code, out, complaint) = pair.a.macsecctl(&["rekey", CABLE]);
        assert_eq!(code, 0, "{out}{complaint}");
        let deadline = Instant::now() + Duration::from_secs(10);
        loop {
            traffic.round();
            let port = pair.b.port();
            if port["rekeys"] == round && pair.a.port()["rekeys"] == round {
                assert_ne!(port["sak"]["key_number"], before);
                assert_eq!(port["sak"], {
                    let mut sak = pair.a.port()["sak"].clone();
                    for of in ["age_seconds", "pn_used_ratio"] {
                        sak[of] = port["sak"][of].clone();
                    }
                    sak
                });
                break;
            }
            assert!(Instant::now() < deadline, "no rekey: {port:#}");
        }
    }
    for _ in 0..50 {
        traffic.round();
    }
    assert_eq!(traffic.lost, 0, "of {} datagrams", traffic.sent);
    for router in [&pair.a, &pair.b] {
        assert_eq!(router.port()["state"], "secured");
        assert_eq!(router.port()["counters"]["in_pkts_not_valid"], 0);
    }
}

#[test]
fn an_age_that_is_configured_renews_the_key() {
    let pair = Pair::secured(&Config::new("gcm-aes-128").with("rekey-seconds = 6"));
    for router in [&pair.a, &pair.b] {
        router.wait_until("a rekey", |port| port["rekeys"] == 1);
    }
}

/// What strangers send costs time and must cost nothing else: no hello may be late for it. The flood
/// has a rate, 2,000 frames a second, that a slow machine keeps up with; a slower one sends it slower.
#[test]
fn a_flood_of_key_exchange_frames_from_a_stranger_does_not_disturb_a_link() {
    const BURSTS: u32 = 800;
    const BURST: u32 = 20;
    const GAP: Duration = Duration::from_millis(10);
    let pair = Pair::secured(&Config::new("gcm-aes-xpn-128"));
    let index = pair.b.namespace.index(CABLE);
    let stranger = pair.b.namespace.run(|| PacketSocket::sender(index)).unwrap();
    let before = pair.a.port();
    let frame = stranger_hello();
    let begin = Instant::now();
    for _ in 0..BURSTS {
        for _ in 0..BURST {
            stranger.send(&frame).unwrap();
        }
        std::thread::sleep(GAP);
    }
    let seconds = usize::try_from(begin.elapsed().as_secs()).unwrap();
    let sent = u64::from(BURSTS * BURST);
    let after = pair.a.wait_until("all that was sent has been refused", |port| {
        port["mka"]["discards"]["unknown_ckn"] == sent
    });
    assert_eq!(after["state"], "secured", "{}", pair.a.log());
    assert_eq!(after["sak"]["key_number"], before["sak"]["key_number"]);
    assert!(after["secured_for_seconds"].as_f64() > before["secured_for_seconds"].as_f64());
    let heard = pair.a.log().matches("MKPDUs refused").count();
    assert!((1..=seconds + 4).contains(&heard), "{heard} lines in {seconds} s");
}

/// A hello of MKA version 3 from 02:00:00:00:00:99 under a key name that nobody has.
fn stranger_hello() -> Vec<u8> {
    let mut frame = vec![0x01, 0x80, 0xc2, 0, 0, 3, 2, 0, 0, 0, 0, 0x99, 0x88, 0x8e, 3, 5, 0, 52];
    // Basic Parameter Set: version, priority, flags and length, SCI, MI, MN, agility, CKN.
    frame.extend([3, 100, 0x70, 32, 2, 0, 0, 0, 0, 0x99, 0, 1]);
    frame.extend([0x55; 12]);
    frame.extend([0, 0, 0, 1, 0, 0x80, 0xc2, 1]);
    frame.extend(*b"none");
    frame.extend([0xaa; 16]);
    frame
}
