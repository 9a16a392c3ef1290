//! Both ends can agree, and do.

use std::path::Path;
use std::time::Duration;

use anyhow::{Result, ensure};

use super::{Case, with_supplicant};
use crate::member::{Terms, cak};
use crate::ours::Plane;
use crate::rig::{Invitation, Meeting, Role};
use crate::row::{Outcome, millis};

/// One tick of `wpa_supplicant`, which acts on what it has heard every 2 s, and what it may take to
/// carry the rest out.
const ONE_TICK: Duration = Duration::from_millis(2300);

pub(super) fn cases(plane: Plane) -> Vec<Case> {
    let mut cases = Vec::new();
    for role in [Role::Server, Role::Client] {
        cases.push(with_supplicant(plane, role, "psk, median of five", 30, move |folder| {
            median_of_five(folder, plane, role)
        }));
        cases.push(equal_priorities(plane, role));
        let mut both = |what: &str, change: fn(&mut Terms)| {
            let invitation = Invitation::new(plane, role).both(change);
            cases.push(agree(what, role, invitation));
        };
        both("CAK of 256 bits", |terms| terms.cak = cak(1, 32));
        both("integrity only", |terms| terms.confidential = false);
        both("SCI port 65534 at both ends", |terms| terms.port = 65534);
        for octets in [1, 3, 16, 32] {
            let invitation = Invitation::new(plane, role).both(|terms| terms.ckn = cak(2, octets));
            cases.push(agree(&format!("CKN of {octets} octets"), role, invitation));
        }
        let mut invitation = Invitation::new(plane, role);
        (invitation.ours.port, invitation.theirs.port) = (2, 3);
        cases.push(agree("SCI ports 2 and 3", role, invitation));
    }
    cases
}

fn agree(what: &str, role: Role, invitation: Invitation) -> Case {
    with_supplicant(invitation.plane, role, what, 4, move |folder| {
        Meeting::start(folder, &invitation)?.conclude(role)
    })
}

/// The lower SCI serves.
fn equal_priorities(plane: Plane, role: Role) -> Case {
    let mut invitation = Invitation::new(plane, role).both(|terms| terms.priority = 128);
    invitation.seat = match role {
        Role::Server => 0,
        Role::Client => 1,
    };
    agree("psk, equal priorities", role, invitation)
}

/// Five meetings, each of which depends on where in its 2 s the peer is when we come.
fn median_of_five(folder: &Path, plane: Plane, role: Role) -> Result<Outcome> {
    let mut outcome = Outcome::default();
    let mut times = Vec::new();
    for _ in 0..5 {
        let meeting = Meeting::start(folder, &Invitation::new(plane, role))?;
        let one = meeting.conclude(role)?;
        times.extend(one.secured_ms);
        (outcome.sent, outcome.lost) = (outcome.sent + one.sent, outcome.lost + one.lost);
    }
    let (median, note) = median(&mut times);
    ensure!(
        median <= millis(ONE_TICK),
        "the median is {median:.0} ms, and {ONE_TICK:?} are allowed: {note}"
    );
    outcome.secured_ms = Some(median);
    Ok(outcome.noting(note))
}

/// The one in the middle, and all of them in words.
pub(super) fn median(times: &mut [f64]) -> (f64, String) {
    times.sort_by(f64::total_cmp);
    let all: Vec<_> = times.iter().map(|time| format!("{time:.0}")).collect();
    (times[times.len() / 2], format!("each: {} ms", all.join(", ")))
}
