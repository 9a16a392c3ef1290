//! More than two, or two with something in between.

use std::path::Path;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use macsecd::control::KeyServer;

use super::{Case, with_supplicant};
use crate::frames::{Count, Traffic};
use crate::member::{Member, Terms};
use crate::ours::{Ours, Plane};
use crate::place::Place;
use crate::rig::{PATIENCE, ROUNDS, Role, tell};
use crate::row::Outcome;
use crate::supplicant::Supplicant;

/// Who sits on a machine.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Kind {
    Ours,
    Theirs,
}

use Kind::{Ours as O, Theirs as T};

pub(super) fn cases(plane: Plane) -> Vec<Case> {
    let group = |what: &str, kinds: &'static [Kind], role| group(what, plane, kinds, role);
    let mut cases = Vec::new();
    for role in [Role::Server, Role::Client] {
        cases.push(group("two on a bridge", &[O, T], role));
        cases.push(group("three on a bridge, one ours", &[O, T, T], role));
        cases.push(group("three on a bridge, two ours", &[O, O, T], role));
    }
    cases
}

fn group(what: &str, plane: Plane, kinds: &'static [Kind], role: Role) -> Case {
    with_supplicant(plane, role, what, 8, move |folder| gather(folder, plane, kinds, role))
}

/// Frames between one of ours and anybody are counted. Those of the peers among themselves are
/// looked at apart: hostap has a receive SA for a member only from the first SAK on that it is given
/// when it knows that member, and does without until then, whoever serves.
///
/// All of them start at the same time. The first of the side that is to serve has the best priority.
fn gather(folder: &Path, plane: Plane, kinds: &[Kind], role: Role) -> Result<Outcome> {
    let place = Place::bridged(u8::try_from(kinds.len())?)?;
    let serving = match role {
        Role::Server => Kind::Ours,
        Role::Client => Kind::Theirs,
    };
    let server = kinds.iter().position(|kind| *kind == serving);
    let (mut members, mut ours): (Vec<Box<dyn Member>>, Vec<_>) = Default::default();
    let began = Instant::now();
    for (index, (kind, machine)) in kinds.iter().zip(&place.machines).enumerate() {
        let priority = if Some(index) == server { 16 } else { 100 };
        let terms = Terms { priority, ..Terms::default() };
        let name = format!("member{index}");
        members.push(match kind {
            Kind::Ours => Box::new(Ours::start(machine, folder, &name, &terms, plane)?),
            Kind::Theirs => Box::new(Supplicant::start(machine, folder, &name, &terms)?),
        });
        if *kind == Kind::Ours {
            ours.push((index, folder.join(format!("{name}.sock"))));
        }
    }
    let members: Vec<&dyn Member> = members.iter().map(Box::as_ref).collect();
    let deadline = began + PATIENCE;
    members
        .iter()
        .try_for_each(|member| member.until_secured(deadline))
        .with_context(|| tell(&members))?;
    let is_ours = |place: usize| kinds[place] == Kind::Ours;
    let mut traffic = Traffic::between(&place.machines, |from, to| is_ours(from) || is_ours(to))?;
    let secured = traffic.until_through(deadline).with_context(|| tell(&members))?;
    let count = traffic.exchange(ROUNDS)?;
    let mut others = Traffic::between(&place.machines, |from, to| !is_ours(from) && !is_ours(to))?;
    let among_them = others.exchange(ROUNDS)?;
    for (index, socket) in ours {
        let mut client = macsecd::control::Client::connect(&socket)?;
        let port = &client.status(None)?.status.ports[0];
        let own = port.key_server == KeyServer::Own;
        ensure!(own == (Some(index) == server), "member {index} sees {:?} serve", port.key_server);
        ensure!(port.peers.len() == kinds.len() - 1, "member {index}: {:?}", port.peers);
    }
    place.finish()?;
    let mut outcome = Outcome::secured(secured - began).with(count);
    if among_them.sent > 0 {
        let Count { sent, lost } = among_them;
        outcome.note = format!("the peers among themselves lost {lost} of {sent}");
    }
    Ok(outcome)
}
