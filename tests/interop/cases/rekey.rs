//! One key after the other, and no frame lost.

use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::{Case, with_supplicant};
use crate::ours::Plane;
use crate::place::SECURE;
use crate::rig::{Invitation, Meeting, PATIENCE, ROUNDS, Role, until};
use crate::row::Outcome;

/// More than twice around the four association numbers.
const REKEYS: u32 = 9;
/// From this packet number on a key is to be replaced (802.1X-2020 9.8).
const PENDING_EXHAUSTION: u64 = 0xc000_0000;
/// How long the key before is received (802.1X-2020 Table 9-3, SAK Retire Time), and some.
const RETIRE: Duration = Duration::from_millis(3500);

pub(super) fn cases(plane: Plane) -> Vec<Case> {
    vec![
        with_supplicant(plane, Role::Server, "nine rekeys under traffic", 60, move |folder| {
            many(folder, plane)
        }),
        with_supplicant(plane, Role::Client, "peer's packet numbers run out", 15, move |folder| {
            peer_exhausted(folder, plane)
        }),
    ]
}

/// We replace the key again and again.
fn many(folder: &Path, plane: Plane) -> Result<Outcome> {
    let meeting = Meeting::start(folder, &Invitation::new(plane, Role::Server))?;
    let (traffic, secured) = meeting.until_secured()?;
    let outcome = Outcome::secured(secured - meeting.first_word()?);
    let traffic = traffic.keep_going();
    for _ in 0..REKEYS {
        let before = meeting.ours.key_number()?;
        meeting.ours.rekey()?;
        until("the next key is in use", PATIENCE, || Ok(meeting.ours.key_number()? > before))?;
    }
    thread::sleep(RETIRE);
    let count = traffic.stop()?;
    let rekeys = meeting.ours.settled_port()?.rekeys;
    ensure!(rekeys == u64::from(REKEYS), "{rekeys} rekeys");
    meeting.place.finish()?;
    Ok(outcome.with(count).noting(format!("{rekeys} rekeys")))
}

/// The peer replaces the key, as its packet numbers are three quarters through.
fn peer_exhausted(folder: &Path, plane: Plane) -> Result<Outcome> {
    let meeting = Meeting::start(folder, &Invitation::new(plane, Role::Client))?;
    let (mut traffic, secured) = meeting.until_secured()?;
    let outcome = Outcome::secured(secured - meeting.first_word()?);
    let before = traffic.exchange(ROUNDS)?;
    let sak = meeting.ours.settled_port()?.sak.context("there is an SAK")?;
    meeting.peer_machine().namespace.run(|| {
        let mut command = Command::new("ip");
        command.args(["macsec", "set", SECURE, "tx", "sa", &sak.an.to_string()]);
        let status = command.args(["pn", &PENDING_EXHAUSTION.to_string()]).status()?;
        ensure!(status.success(), "ip macsec set: {status}");
        Ok(())
    })?;
    let traffic = traffic.keep_going();
    until("the peer has replaced the key", PATIENCE, || {
        Ok(meeting.ours.key_number()? > Some(sak.key_number))
    })?;
    thread::sleep(RETIRE);
    let after = traffic.stop()?;
    meeting.place.finish()?;
    Ok(outcome.with(before).with(after))
}
