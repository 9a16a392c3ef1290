//! Rekeys in a row, under traffic that never stops.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::config::Config;
use crate::rig::{CABLE, Pair, Router};
use crate::traffic::Traffic;

/// How many, where `REKEYS` does not say; a multiple of 4.
const REKEYS: u64 = 40;
/// A rekey that takes longer does not come. None is timed: machines differ.
const PATIENCE: Duration = Duration::from_secs(60);

/// Waits until a router has gone over to its next key so often, and gives the association of that.
fn wait_for_rekeys(router: &Router, wanted: u64) -> Value {
    let begin = Instant::now();
    loop {
        let port = router.port();
        assert_eq!(port["state"], "secured", "the port never closes");
        if port["rekeys"].as_u64().unwrap() >= wanted {
            return port["sak"].clone();
        }
        assert!(begin.elapsed() < PATIENCE, "no rekey {wanted}: {port:#}\n{}", router.log());
    }
}

/// Every association is used as often as every other, and no datagram is lost over all of them.
#[test]
fn rekeys_in_a_row_lose_no_datagram() {
    let rekeys = std::env::var("REKEYS").map_or(REKEYS, |text| text.parse().unwrap());
    let with = |priority| {
        Config::new("gcm-aes-xpn-256").with(&format!("key-server-priority = {priority}"))
    };
    let pair = Pair::start(&with(10), &with(20));
    pair.wait_until_secured();
    let mut traffic = Traffic::new(&pair);
    let used = traffic.during(|| {
        let mut used = BTreeMap::new();
        for rekey in 1..=rekeys {
            let (code, _, complaint) = pair.a.macsecctl(&["rekey", CABLE]);
            assert_eq!((code, complaint.as_str()), (0, ""));
            let ours = wait_for_rekeys(&pair.a, rekey);
            let theirs = wait_for_rekeys(&pair.b, rekey);
            assert_eq!(ours["key_number"], theirs["key_number"]);
            *used.entry(ours["an"].as_u64().unwrap()).or_insert(0) += 1;
        }
        used
    });
    println!("daemon: rekeys={rekeys} datagrams={} lost={}", traffic.sent, traffic.lost);
    assert_eq!(traffic.lost, 0, "of {} datagrams", traffic.sent);
    assert_eq!(used, (0..4).map(|an| (an, rekeys / 4)).collect());
}
