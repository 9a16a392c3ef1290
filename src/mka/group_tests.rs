//! Groups: more than two members of one CA.

use std::collections::BTreeSet;
use std::time::Duration;

use super::testing::{Group, policy};
use super::{Manners, Policy, PortState, SsciOrder, Status};
use crate::ident::{CipherSuite, KeyId, Sci, Ssci};
use crate::secy::SecyCommand;

/// The longest frame of an MTU of 1500.
const FRAME_MAX: usize = 1514;

fn statuses(group: &Group) -> Vec<Status> {
    group.stations.iter().map(|station| station.kay.status(group.now)).collect()
}

/// The SAKs that the members send with, of which there should be one.
fn saks(group: &Group) -> BTreeSet<Option<KeyId>> {
    statuses(group).iter().map(|status| status.sak.map(|sak| sak.ki)).collect()
}

/// As many as a SecY is made for: each has all others as live peers, and an SSCI of its own that all
/// others know, as the key server states them or by SCI. No MKPDU is longer than a frame.
#[test]
fn a_group_of_64_agrees_on_one_sak_and_on_the_next() {
    for (suite, ssci) in [
        (CipherSuite::GcmAesXpn256, SsciOrder::Stated),
        (CipherSuite::GcmAesXpn128, SsciOrder::BySci),
        (CipherSuite::GcmAes256, SsciOrder::Stated),
    ] {
        agrees(suite, ssci);
    }
}

fn agrees(suite: CipherSuite, ssci: SsciOrder) {
    let manners = Manners { ssci, announce: true, ..Manners::default() };
    let policies = (1..=64).map(|station| Policy {
        cipher_suites: vec![suite],
        manners,
        ..policy(station, 16)
    });
    let mut group = Group::of(policies, Duration::from_secs(5));
    for _ in 0..2 {
        assert!((600..=FRAME_MAX).contains(&group.longest), "{} octets", group.longest);
        assert_eq!(sscis(&group).len(), if suite.is_xpn() { 64 } else { 0 });
        let statuses = statuses(&group);
        assert!(statuses.iter().all(|status| status.state == PortState::Secured));
        let live =
            |status: &Status| status.participants[0].peers.iter().filter(|peer| peer.live).count();
        assert!(statuses.iter().all(|status| live(status) == 63));
        let saks = saks(&group);
        assert!(saks.len() == 1 && saks.iter().all(Option::is_some), "{saks:?}");
        group.stations[0].kay.rekey(group.now).unwrap();
        group.stations[0].handle(group.now, super::Input::Timeout);
        group.run(Duration::from_secs(5));
    }
}

/// The SSCI of each SCI under the SAK installed last, on which all have to agree: as its owner has
/// it and as the others do.
fn sscis(group: &Group) -> BTreeSet<(Sci, Ssci)> {
    let mut all = BTreeSet::new();
    for (status, station) in statuses(group).iter().zip(&group.stations) {
        let mut last = None;
        let mut received = Vec::new();
        for command in &station.commands {
            if let SecyCommand::InstallSak(install) = command {
                (last, received) = (install.ssci, install.receive.clone());
            } else if let SecyCommand::AddReceiver { member, .. } = command {
                received.push(*member);
            }
        }
        assert_eq!(received.len(), 63);
        all.extend(last.map(|ssci| (status.sci, ssci)));
        all.extend(received.iter().filter_map(|of| Some((of.sci, of.ssci?))));
    }
    all
}
