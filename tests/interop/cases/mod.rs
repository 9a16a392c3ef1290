//! The cases, in the order of the table.

mod agree;
mod group;
mod lapse;
mod own;
mod refuse;
mod rekey;
mod restarts;

use std::path::Path;

use anyhow::Result;

use crate::member::DEFAULT_SUITE;
use crate::ours::Plane;
use crate::rig::Role;
use crate::row::{Label, Outcome};

pub(crate) use restarts::RESTARTS;

/// Something to try.
pub(crate) struct Case {
    pub(crate) label: Label,
    /// About how long it takes, so that guests can share the work evenly.
    pub(crate) seconds: u64,
    /// Whether its times count only on a machine that does nothing else.
    pub(crate) quiet: bool,
    /// Given a folder for files.
    pub(crate) run: Box<Run>,
}

type Run = dyn Fn(&Path) -> Result<Outcome> + Send + Sync;

/// Our data planes, each of which has all cases that make sense on it.
const PLANES: &[Plane] = &[Plane::Userspace, Plane::Kernel];

/// The peer of most cases.
const SUPPLICANT: &str = "wpa_supplicant";

/// All of them.
pub(crate) fn all() -> Vec<Case> {
    let with_a_peer = PLANES.iter().flat_map(|&plane| {
        [
            agree::cases(plane),
            refuse::cases(plane),
            lapse::cases(plane),
            rekey::cases(plane),
            group::cases(plane),
        ]
    });
    with_a_peer.flatten().chain(own::cases()).chain(restarts::cases()).collect()
}

/// A case with `wpa_supplicant` at the far end.
fn with_supplicant(
    plane: Plane,
    role: Role,
    what: &str,
    seconds: u64,
    run: impl Fn(&Path) -> Result<Outcome> + Send + Sync + 'static,
) -> Case {
    let label = Label {
        peer: SUPPLICANT.to_owned(),
        plane: plane.to_string(),
        role: role.name().to_owned(),
        suite: DEFAULT_SUITE.to_owned(),
        what: what.to_owned(),
    };
    Case { label, seconds, quiet: false, run: Box::new(run) }
}
