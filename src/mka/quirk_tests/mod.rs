//! The quirks of other implementations, numbered as in `docs/interop.md`.
//!
//! Each row of its table has a test here whose name says the row: what we do with it, in a form
//! that can be false.

use std::time::Duration;

use super::testing::{Pair, policy, read};
use super::{Manners, Policy, PortState};
use crate::ident::CipherSuite;
use crate::secy::{InstallSak, SecyCommand};
use crate::wire::Mkpdu;

mod frames;
mod keys;
mod links;
mod peers;

const MILLIS: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);

/// A usual policy for one suite.
fn with_suite(station: u8, priority: u8, suite: CipherSuite) -> Policy {
    Policy { cipher_suites: vec![suite], ..policy(station, priority) }
}

/// A usual policy with these manners.
fn mannered(station: u8, priority: u8, manners: Manners) -> Policy {
    Policy { manners, ..policy(station, priority) }
}

/// What `a` has said since the link had carried `before` MKPDUs.
fn said(pair: &Pair, before: usize) -> Vec<Mkpdu> {
    let said = pair.wire[before..].iter().map(|frame| read(frame));
    said.filter(|mkpdu| mkpdu.basic.sci == policy(1, 0).sci).collect()
}

/// Two stations, `a` the key server.
fn led() -> Pair {
    Pair::new(policy(1, 16), policy(2, 200))
}

/// Two stations, `b` the key server.
fn following() -> Pair {
    Pair::new(policy(1, 200), policy(2, 16))
}

fn started(mut pair: Pair) -> Pair {
    pair.start(SECOND);
    assert!(is_secured(&pair), "{:?} {:?}", pair.a.state(), pair.b.state());
    pair
}

fn is_secured(pair: &Pair) -> bool {
    (pair.a.state(), pair.b.state()) == (PortState::Secured, PortState::Secured)
}

/// The number of the SAK that `a` sends with.
fn number(pair: &Pair) -> u32 {
    pair.a.kay.status(pair.now).sak.expect("a sends").ki.number.0
}

/// The SAKs that `a` has had installed.
fn installs(pair: &Pair) -> Vec<&InstallSak> {
    let commands = pair.a.commands.iter();
    let install = commands.filter_map(|command| {
        let SecyCommand::InstallSak(install) = command else { return None };
        Some(install)
    });
    install.collect()
}

/// How often `a` closed its port.
fn closes(pair: &Pair) -> usize {
    let closes = |command: &&SecyCommand| matches!(command, SecyCommand::SetControlledPort(false));
    pair.a.commands.iter().filter(closes).count()
}

/// Has `a` or `b`, whichever is key server, make a fresh SAK, and sees it taken up.
fn rekey(pair: &mut Pair) {
    let now = pair.now;
    for station in [&mut pair.a, &mut pair.b] {
        if station.kay.rekey(now).is_ok() {
            station.handle(now, super::Input::Timeout);
        }
    }
    pair.run(SECOND);
}

/// The parameter sets between the first and the ICV: type, the two octets after it, body.
fn sets(frame: &[u8]) -> Vec<(u8, [u8; 2], Vec<u8>)> {
    let mut rest = &frame[18..frame.len() - 16];
    let mut sets = Vec::new();
    while let [kind, octet2, octet3, octet4, after @ ..] = rest {
        if *kind == 255 {
            break;
        }
        let length = usize::from(octet3 & 15) << 8 | usize::from(*octet4);
        sets.push((*kind, [*octet2, *octet3], after[..length].to_vec()));
        rest = &after[length.next_multiple_of(4)..];
    }
    sets.remove(0);
    sets
}
