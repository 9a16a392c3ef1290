//! The other end, the link or we ourselves go away, and come back.

use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

use super::{Case, with_supplicant};
use crate::member::Member as _;
use crate::ours::Plane;
use crate::place::Place;
use crate::rig::{Invitation, Meeting, PATIENCE, ROUNDS, Role, until};
use crate::row::{Outcome, millis};

/// How long a silent peer counts (802.1X-2020 Table 9-3, MKA Life Time).
const LIFE: Duration = Duration::from_secs(6);
/// A station speaks at least so often (MKA Hello Time): what it said last may be that old.
const HELLO: Duration = Duration::from_secs(2);
/// What a busy machine may take on top.
const SLACK: Duration = Duration::from_millis(700);

pub(super) fn cases(plane: Plane) -> Vec<Case> {
    let mut cases = Vec::new();
    for role in [Role::Server, Role::Client] {
        let invitation = Invitation::new(plane, role);
        let mut add = |what: &str, seconds, run: fn(&Path, &Invitation) -> Result<Outcome>| {
            let invitation = invitation.clone();
            let run = move |folder: &Path| run(folder, &invitation);
            cases.push(with_supplicant(plane, role, what, seconds, run));
        };
        add("peer cut off: life time", 16, life_time);
        add("peer killed and restarted", 10, peer_restart);
        add("macsecd killed and restarted", 10, |folder, of| our_restart(folder, of, true));
        if role == Role::Server {
            add("macsecd stopped and started", 10, |folder, of| our_restart(folder, of, false));
        }
        add("link down for 1 s", 8, |folder, of| flap(folder, of, Duration::from_secs(1)));
        add("link down for 8 s", 18, |folder, of| flap(folder, of, Duration::from_secs(8)));
    }
    cases
}

/// Cut off without losing the carrier, a peer is presumed gone 6 s after its last word, and no
/// sooner; reconnected, it is there again.
fn life_time(folder: &Path, invitation: &Invitation) -> Result<Outcome> {
    let meeting = Meeting::start_at(Place::bridged(2)?, folder, invitation)?;
    let (mut traffic, _) = meeting.until_secured()?;
    let before = traffic.exchange(ROUNDS)?;
    let peer = 1 - invitation.seat;
    meeting.place.plug(peer, false)?;
    let cut = Instant::now();
    let left = until("macsecd has left the secured state", LIFE + SLACK, || {
        Ok(!meeting.ours.is_secured()?)
    })?;
    let left = left - cut;
    ensure!(left >= LIFE - HELLO - SLACK, "macsecd left the secured state after {left:?}");
    let arrived = traffic.trickle(Duration::from_millis(300))?;
    ensure!(arrived == 0, "{arrived} frames came through a cut");
    meeting.place.plug(peer, true)?;
    let back = Instant::now();
    let (mut traffic, secured) = meeting.until_secured()?;
    let after = traffic.exchange(ROUNDS)?;
    meeting.place.finish()?;
    let note = format!("no longer secured after {:.0} ms", millis(left));
    Ok(Outcome::secured(secured - back).with(before).with(after).noting(note))
}

fn peer_restart(folder: &Path, invitation: &Invitation) -> Result<Outcome> {
    let mut meeting = Meeting::start(folder, invitation)?;
    let (mut traffic, _) = meeting.until_secured()?;
    let before = traffic.exchange(ROUNDS)?;
    meeting.restart_peer()?;
    come_back(meeting, Instant::now(), PATIENCE).map(|outcome| outcome.with(before))
}

fn our_restart(folder: &Path, invitation: &Invitation, crash: bool) -> Result<Outcome> {
    let mut meeting = Meeting::start(folder, invitation)?;
    let (mut traffic, _) = meeting.until_secured()?;
    let before = traffic.exchange(ROUNDS)?;
    drop(traffic);
    meeting.restart_ours(crash)?;
    come_back(meeting, Instant::now(), PATIENCE).map(|outcome| outcome.with(before))
}

/// Our interface goes down and up again.
fn flap(folder: &Path, invitation: &Invitation, time: Duration) -> Result<Outcome> {
    let meeting = Meeting::start(folder, invitation)?;
    let (mut traffic, _) = meeting.until_secured()?;
    let before = traffic.exchange(ROUNDS)?;
    meeting.our_machine().set_up(false)?;
    until("macsecd has noticed", Duration::from_secs(1), || Ok(!meeting.ours.is_secured()?))?;
    thread::sleep(time);
    meeting.our_machine().set_up(true)?;
    come_back(meeting, Instant::now(), PATIENCE).map(|outcome| outcome.with(before))
}

/// What follows every absence.
fn come_back(meeting: Meeting, since: Instant, limit: Duration) -> Result<Outcome> {
    let (mut traffic, secured) = meeting.until_secured()?;
    ensure!(secured - since <= limit, "secured after {:?}", secured - since);
    let after = traffic.exchange(ROUNDS)?;
    meeting.place.finish()?;
    Ok(Outcome::secured(secured - since).with(after))
}
