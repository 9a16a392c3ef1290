//! Groups: more than two members of one CA.

use std::collections::BTreeSet;
use std::time::Duration;

use super::testing::Group;
use super::{PortState, Status};
use crate::ident::KeyId;

fn statuses(group: &Group) -> Vec<Status> {
    group.stations.iter().map(|station| station.kay.status(group.now)).collect()
}

/// The SAKs that the members send with, of which there should be one.
fn saks(group: &Group) -> BTreeSet<Option<KeyId>> {
    statuses(group).iter().map(|status| status.sak.map(|sak| sak.ki)).collect()
}

/// As many as a SecY is made for: each has all others as live peers.
#[test]
fn a_group_of_64_agrees_on_one_sak_and_on_the_next() {
    let mut group = Group::started(&[16; 64], Duration::from_secs(5));
    for _ in 0..2 {
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
