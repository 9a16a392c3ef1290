//! Both ends can agree, and do.

use std::path::Path;
use std::time::Duration;

use anyhow::{Result, ensure};

use super::{Case, with_supplicant};
use crate::frames::Count;
use crate::member::{Terms, cak};
use crate::ours::Plane;
use crate::rig::{Invitation, Meeting, Role};
use crate::row::{Median, Outcome, millis};

/// One tick of `wpa_supplicant`, which acts every 2 s on what it has heard, and what both may take
/// to carry the rest out.
const ONE_TICK: Duration = Duration::from_millis(2300);

pub(super) fn cases(plane: Plane) -> Vec<Case> {
    let mut cases = Vec::new();
    for role in [Role::Server, Role::Client] {
        cases.push(with_supplicant(plane, role, "psk, median of five", 30, move |folder| {
            median_of_five(folder, plane, role)
        }));
        cases.push(equal_priorities(plane, role));
        let mut both = |what: &str, change: &dyn Fn(&mut Terms)| {
            cases.push(agree(what, role, Invitation::new(plane, role).both(change)));
        };
        both("CAK of 256 bits", &|terms| terms.cak = cak(1, 32));
        both("integrity only", &|terms| terms.confidential = false);
        let lengths = match role {
            Role::Server => [1, 16],
            Role::Client => [3, 32],
        };
        for octets in lengths {
            both(&format!("CKN of {octets} octets"), &|terms| terms.ckn = cak(2, octets));
        }
        both("SCI port 65534 at both ends", &|terms| terms.port = 65534);
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
    let mut invitation = Invitation::new(plane, role).both(&|terms| terms.priority = 128);
    invitation.seat = match role {
        Role::Server => 0,
        Role::Client => 1,
    };
    agree("psk, equal priorities", role, invitation)
}

/// Five meetings. Once the peer has heard what it needs, it takes one of its ticks: where we make
/// the key, that is our first word; where the peer does, it is our first answer, to which it takes
/// another tick to say something.
fn median_of_five(folder: &Path, plane: Plane, role: Role) -> Result<Outcome> {
    let (mut traffic, mut all, mut last) = (Count::default(), Vec::new(), Vec::new());
    for _ in 0..5 {
        let meeting = Meeting::start(folder, &Invitation::new(plane, role))?;
        let (_, secured) = meeting.until_secured()?;
        all.push(millis(secured - meeting.first_word()?));
        last.push(millis(match role {
            Role::Server => secured - meeting.first_word()?,
            Role::Client => secured.saturating_duration_since(meeting.first_answer()?),
        }));
        traffic += meeting.exchange_and_finish(role)?;
    }
    let (total, tick) = (Median::of(all), Median::of(last));
    ensure!(tick.ms <= millis(ONE_TICK), "its median of {tick} is more than a tick's {ONE_TICK:?}");
    let note = format!("after the word that counts {tick}");
    Ok(Outcome { secured_ms: Some(total.ms), note, ..Outcome::default() }.with(traffic))
}
