//! Two of ours: all suites, and both data planes with each other.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

use super::{Case, PLANES};
use crate::frames::Traffic;
use crate::member::{DEFAULT_SUITE, Member as _, Terms, cak};
use crate::ours::{Ours, Plane};
use crate::place::Place;
use crate::rig::{PATIENCE, ROUNDS, Role, until};
use crate::row::{Label, Median, Outcome, millis};

const SUITES: [&str; 4] = [DEFAULT_SUITE, "gcm-aes-256", "gcm-aes-xpn-128", "gcm-aes-xpn-256"];
/// The suite that the median is taken with.
const SHOWN: &str = "gcm-aes-xpn-256";
/// What two of ours may take.
const PROMPT: Duration = Duration::from_millis(150);

pub(super) fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for &plane in PLANES {
        let run = move |folder: &Path| five(folder, plane);
        let case = pair("plugged in, median of five", SHOWN, plane, plane, run);
        cases.push(Case { quiet: true, seconds: 8, ..case });
    }
    for suite in SUITES {
        for &near in PLANES {
            for &far in PLANES {
                let run = move |folder: &Path| plug_in(folder, suite, near, far);
                cases.push(pair("plugged in", suite, near, far, run));
            }
        }
    }
    cases
}

pub(super) fn pair(
    what: &str,
    suite: &str,
    near: Plane,
    far: Plane,
    run: impl Fn(&Path) -> Result<Outcome> + Send + Sync + 'static,
) -> Case {
    let label = Label {
        peer: format!("macsecd {far}"),
        plane: near.to_string(),
        role: Role::Server.name().to_owned(),
        suite: suite.to_owned(),
        what: what.to_owned(),
    };
    Case { label, seconds: 2, quiet: false, run: Box::new(run) }
}

fn five(folder: &Path, plane: Plane) -> Result<Outcome> {
    let (mut outcome, mut times) = (Outcome::default(), Vec::new());
    for _ in 0..5 {
        let one = plug_in(folder, SHOWN, plane, plane)?;
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
    let mut traffic = Traffic::open(&place.machines)?;
    let plugged = Instant::now();
    place.machines[0].set_up(true)?;
    // Frames are sent all the time: none of them may pass in clear before.
    let secured = traffic.until_through(plugged + PATIENCE)?;
    ensure!(one.is_secured()? && other.is_secured()?, "frames pass and not both are secured");
    let count = traffic.exchange(ROUNDS)?;
    place.finish()?;
    Ok(Outcome::secured(secured - plugged).with(count))
}
