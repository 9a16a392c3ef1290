//! Two of ours: all suites, and both data planes with each other.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

use super::{Case, PLANES};
use crate::member::{DEFAULT_SUITE, Terms, cak};
use crate::ours::{Ours, Plane};
use crate::place::Place;
use crate::rig::{PATIENCE, ROUNDS, until, until_secured};
use crate::row::{Label, Median, Outcome, millis};

const SUITES: [&str; 4] = [DEFAULT_SUITE, "gcm-aes-256", "gcm-aes-xpn-128", "gcm-aes-xpn-256"];
/// What two of ours may take.
const PROMPT: Duration = Duration::from_millis(150);

pub(super) fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for suite in SUITES {
        for &near in PLANES {
            for &far in PLANES {
                cases.push(pair(suite, near, far));
            }
        }
    }
    cases
}

fn pair(suite: &'static str, near: Plane, far: Plane) -> Case {
    let label = Label {
        peer: format!("macsecd {far}"),
        plane: near.to_string(),
        role: "server".to_owned(),
        suite: suite.to_owned(),
        what: "plugged in, median of five".to_owned(),
    };
    let run = move |folder: &Path| five(folder, suite, near, far);
    Case { label, seconds: 8, run: Box::new(run) }
}

fn five(folder: &Path, suite: &'static str, near: Plane, far: Plane) -> Result<Outcome> {
    let (mut outcome, mut times) = (Outcome::default(), Vec::new());
    for _ in 0..5 {
        let one = plug_in(folder, suite, near, far)?;
        times.extend(one.secured_ms);
        (outcome.sent, outcome.lost) = (outcome.sent + one.sent, outcome.lost + one.lost);
    }
    let median = Median::of(times);
    ensure!(median.ms <= millis(PROMPT), "the median of {median} is more than {PROMPT:?}");
    outcome.secured_ms = Some(median.ms);
    Ok(outcome.noting(median.to_string()))
}

/// Both run already when the cable is plugged in.
fn plug_in(folder: &Path, suite: &'static str, near: Plane, far: Plane) -> Result<Outcome> {
    let place = Place::unplugged()?;
    let octets = if suite.ends_with("256") { 32 } else { 16 };
    let terms = |priority| Terms { priority, suite, cak: cak(1, octets), ..Terms::default() };
    place.machines[1].set_up(true)?;
    let one = Ours::start(&place.machines[0], folder, "near", &terms(16), near)?;
    let other = Ours::start(&place.machines[1], folder, "far", &terms(200), far)?;
    until("both have made their interfaces", PATIENCE, || {
        let ports = [one.port()?, other.port()?];
        Ok(ports.iter().flatten().filter(|port| port.dataplane.is_some()).count() == 2)
    })?;
    let plugged = Instant::now();
    place.machines[0].set_up(true)?;
    let (mut traffic, secured) = until_secured(&place.machines, &[&one, &other])?;
    let count = traffic.exchange(ROUNDS)?;
    place.finish()?;
    Ok(Outcome::secured(secured - plugged).with(count))
}
