//! Both ends cannot agree, and we say why.

use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use macsecd::control::PortState;

use super::{Case, with_supplicant};
use crate::frames::Traffic;
use crate::member::{Member as _, cak};
use crate::ours::Plane;
use crate::rig::{Invitation, Meeting, Role};
use crate::row::Outcome;

/// How long nothing may come about.
const DARK: Duration = Duration::from_secs(7);

pub(super) fn cases(plane: Plane) -> Vec<Case> {
    let invitation = |role| Invitation::new(plane, role);
    let mut other_name = invitation(Role::Server);
    other_name.theirs.ckn = "6c696e6b2d32".to_owned();
    let mut other_key = invitation(Role::Server);
    other_key.theirs.cak = cak(3, 16);
    let mut longer_key = invitation(Role::Client);
    longer_key.ours.cak = cak(1, 32);
    let mut other_suite = invitation(Role::Client);
    other_suite.ours.suite = "gcm-aes-256";
    let mut unknown_suite = invitation(Role::Server);
    unknown_suite.ours.suite = "gcm-aes-xpn-256";
    vec![
        refuse("CKN mismatch", "E101", true, Role::Server, other_name),
        refuse("CAK mismatch", "E102", true, Role::Server, other_key),
        refuse("CAK of other length", "E102", true, Role::Client, longer_key),
        refuse("suite mismatch", "E203", false, Role::Client, other_suite),
        refuse("suite unknown to the peer", "E204", false, Role::Server, unknown_suite),
    ]
}

/// A case in which we name this reason. `both` says whether the peer knows, too.
fn refuse(what: &str, code: &'static str, both: bool, role: Role, terms: Invitation) -> Case {
    with_supplicant(terms.plane, role, what, 10, move |folder| dark(folder, &terms, code, both))
}

fn dark(folder: &Path, invitation: &Invitation, code: &str, both: bool) -> Result<Outcome> {
    let meeting = Meeting::start(folder, invitation)?;
    let mut traffic = Traffic::open(&meeting.place.machines)?;
    let end = Instant::now() + DARK;
    while Instant::now() < end {
        ensure!(!meeting.ours.is_secured()?, "macsecd says that it is secured");
        ensure!(!(both && meeting.peer.is_secured()?), "wpa_supplicant says that it is secured");
        thread::sleep(Duration::from_millis(200));
    }
    let arrived = traffic.trickle(Duration::from_millis(500))?;
    ensure!(arrived == 0, "{arrived} frames came through");
    let port = meeting.ours.settled_port()?;
    ensure!(port.state != PortState::Secured, "macsecd says that it is secured");
    let reason = port.reason.unwrap_or_default();
    ensure!(reason.code == code, "the reason is {}: {}", reason.code, reason.title);
    meeting.place.finish()?;
    Ok(Outcome::default().noting(format!("{}: {}", reason.code, reason.title)))
}
