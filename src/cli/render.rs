//! The status document as text: one block for a port, on 80 columns.
//!
//! The first line alone must do for somebody in a hurry: how the port stands and, where it is not
//! secured, why. The text is for people and may change; what scripts read is the document.

use std::{collections::BTreeMap, fmt::Write as _, time::Duration};

use super::{
    status::is_degraded,
    words::{clean, clock, count, flow, paragraph, row, span},
};
use crate::control::{
    Dataplane, Kernel, KeyServer, Offload, Participant, Peer, PortState, PortStatus, Reason, Role,
    Status,
};

/// Shows all ports, a blank line between them.
#[must_use]
pub fn status(status: &Status, colour: bool) -> String {
    if status.ports.is_empty() {
        return "No port is configured.\n".to_owned();
    }
    let blocks: Vec<String> = status.ports.iter().map(|one| port(one, colour)).collect();
    blocks.join("\n")
}

/// Says in a line that the ports are secured, for `wait`.
#[must_use]
pub fn secured(status: &Status) -> String {
    let ports: Vec<String> = status
        .ports
        .iter()
        .map(|port| {
            let suite = port.cipher_suite.as_deref().unwrap_or("cipher suite not known");
            clean(&format!("{} secured, {suite}", port.interface))
        })
        .collect();
    format!("{}\n", ports.join("; "))
}

/// Says of each port that is not secured how it stands and why, for `wait`.
#[must_use]
pub fn not_secured(status: &Status, waited: Duration) -> String {
    if status.ports.is_empty() {
        return "no port is configured\n".to_owned();
    }
    let mut out = String::new();
    for port in status.ports.iter().filter(|port| port.state != PortState::Secured) {
        let why = port.reason.as_ref().map_or_else(
            || "for no reason that is known".to_owned(),
            |reason| format!("{} {}", reason.code, reason.title),
        );
        let line = format!(
            "{} not secured after {}, {}: {why}",
            port.interface,
            span(waited.as_secs_f64()),
            state_word(port.state),
        );
        let _ = writeln!(out, "{}", clean(&line));
    }
    out
}

fn port(port: &PortStatus, colour: bool) -> String {
    let mut out = headline(port, colour);
    if let Some(reason) = &port.reason {
        explain(&mut out, reason);
    }
    if port.state != PortState::Secured {
        let link = if port.carrier { "link up" } else { "no link" };
        out.push_str(&row("state", &[state_word(port.state).to_owned(), link.to_owned()]));
    }
    for peer in &port.peers {
        out.push_str(&row("peer", &peer_items(peer)));
    }
    out.push_str(&keys(port));
    if port.counters.values().any(|counter| *counter > 0) {
        out.push_str(&row("packets", &packet_items(port)));
    }
    if port.state != PortState::Secured || port.mka.discards.values().any(|number| *number > 0) {
        out.push_str(&row("mka", &mka_items(port)));
    }
    out.push_str(&paragraph("path", &path(port)));
    let kernel = port.kernel.as_ref().map(kernel_words).unwrap_or_default();
    if !kernel.is_empty() {
        out.push_str(&paragraph("kernel", &kernel));
    }
    out.push_str(&health(port));
    out
}

/// The line for somebody in a hurry.
fn headline(port: &PortStatus, colour: bool) -> String {
    let name = clean(&port.interface);
    let (verdict, paint) = match (port.state, is_degraded(port)) {
        (PortState::Secured, false) => ("SECURED", GREEN),
        (PortState::Secured, true) => ("SECURED, DEGRADED", YELLOW),
        (
            PortState::Down
            | PortState::Listening
            | PortState::Pending
            | PortState::Authenticated
            | PortState::Failed,
            _,
        ) => ("NOT SECURED", RED),
    };
    let column = name.chars().count() + 2 + verdict.len();
    let rest = if port.state == PortState::Secured {
        let suite = port.cipher_suite.as_deref().unwrap_or("cipher suite not known");
        let up = port.secured_for_seconds.map(|seconds| format!("up {}", span(seconds)));
        let (key_server, up) = (key_server(port), up.as_deref());
        let items = [suite, &key_server].into_iter().chain(up);
        format!("  {}", flow(column + 2, items, "  "))
    } else {
        let since = format!(" for {}  ", clock(port.state_seconds));
        let why = port.reason.as_ref().map_or_else(
            || "[no reason is known]".to_owned(),
            |reason| format!("[{} {}]", reason.code, reason.title),
        );
        let words = flow(column + since.len(), why.split_whitespace(), " ");
        format!("{since}{words}")
    };
    let (paint, reset) = if colour { (paint, RESET) } else { ("", "") };
    format!("{name}  {paint}{verdict}{reset}{rest}")
}

/// What to do about a reason, and what led to it.
fn explain(out: &mut String, reason: &Reason) {
    if !reason.advice.is_empty() {
        out.push_str(&paragraph("advice", &reason.advice));
    }
    for (index, seen) in reason.evidence.iter().enumerate() {
        out.push_str(&paragraph(if index == 0 { "seen" } else { "" }, seen));
    }
}

fn key_server(port: &PortStatus) -> String {
    let live = port.peers.iter().filter(|peer| peer.live);
    let priority = live.map(|peer| peer.key_server_priority).min();
    match (port.key_server, priority) {
        (KeyServer::Own, _) => "key-server: self".to_owned(),
        (KeyServer::Peer, Some(priority)) => format!("key-server: peer (prio {priority})"),
        (KeyServer::Peer, None) => "key-server: peer".to_owned(),
        (KeyServer::None, _) => "key-server: none".to_owned(),
    }
}

fn peer_items(peer: &Peer) -> Vec<String> {
    let mut items = vec![
        peer.sci.clone(),
        if peer.live { "live" } else { "potential" }.to_owned(),
        format!("prio {}", peer.key_server_priority),
        format!("MKA v{}", peer.mka_version),
        format!("last heard {}", span(peer.last_heard_seconds)),
    ];
    if peer.also_in_clear {
        items.push("also in clear".to_owned());
    }
    items
}

/// A row for each key, the one in use first and with its SAK.
fn keys(port: &PortStatus) -> String {
    let of = |role| port.participants.iter().filter(move |one| one.role == role);
    let mut out = String::new();
    for (index, participant) in of(Role::Principal).chain(of(Role::Standby)).enumerate() {
        let mut items = vec![key_name(participant)];
        if index == 0
            && let Some(sak) = &port.sak
        {
            let age = span(sak.age_seconds);
            items.push(format!("SAK AN {} KN {}, age {age}", sak.an, sak.key_number));
            items.push(format!("rekeys {}", count(port.rekeys)));
            items.extend(port.last_switch_ms.map(|took| format!("last switch {took:.1} ms")));
        }
        out.push_str(&row(if index == 0 { "key" } else { "" }, &items));
    }
    out
}

/// The end of the name of a key, which is what differs, and what the key is doing.
fn key_name(participant: &Participant) -> String {
    let ckn = &participant.ckn;
    let digits = ckn.chars().count();
    let tail: String = ckn.chars().skip(digits.saturating_sub(CKN_DIGITS)).collect();
    let cut = if digits > CKN_DIGITS { "…" } else { "" };
    let role = match participant.role {
        Role::Principal => "principal",
        Role::Standby => "standby",
    };
    if participant.state == PortState::Secured && participant.role == Role::Principal {
        return format!("CKN {cut}{tail} ({role})");
    }
    format!("CKN {cut}{tail} ({role}, {})", state_word(participant.state))
}

fn packet_items(port: &PortStatus) -> Vec<String> {
    let sum = |names: &[&str]| -> String {
        let counters = names.iter().filter_map(|name| port.counters.get(*name));
        count(counters.fold(0, |sum: u64, counter| sum.saturating_add(*counter)))
    };
    let mut items = vec![
        format!("tx {}", sum(&["out_pkts_encrypted", "out_pkts_protected"])),
        format!("rx {}", sum(&["in_pkts_ok", "in_pkts_delayed", "in_pkts_unchecked"])),
        format!("bad {}", sum(&["in_pkts_not_valid", "in_pkts_invalid", "in_pkts_bad_tag"])),
        format!("late {}", sum(&["in_pkts_late"])),
        format!("no-SA {}", sum(&NO_SA)),
        format!("clear {}", sum(&["in_pkts_no_tag", "in_pkts_untagged"])),
    ];
    items.extend(port.sak.as_ref().map(|sak| format!("PN {:.4} %", sak.pn_used_ratio * 100.0)));
    items
}

fn mka_items(port: &PortStatus) -> Vec<String> {
    let mka = &port.mka;
    let mut items = vec![
        format!("sent {}", count(mka.mkpdus_sent)),
        format!("received {}", count(mka.mkpdus_received)),
    ];
    items.extend(discards(&mka.discards));
    items
}

fn discards(discards: &BTreeMap<String, u64>) -> impl Iterator<Item = String> {
    let all = discards.values().fold(0, |sum: u64, number| sum.saturating_add(*number));
    let each = discards.iter().filter(|(_, number)| **number > 0);
    let each = each.map(|(name, number)| format!("{name} {}", count(*number)));
    std::iter::once(format!("discarded {}", count(all))).chain(each)
}

/// What encrypts, why that, and as which interface.
fn path(port: &PortStatus) -> String {
    let what = match port.dataplane {
        Some(Dataplane::Kernel) => "kernel".to_owned(),
        Some(Dataplane::Userspace) => "userspace".to_owned(),
        None if port.dataplane_configured.is_empty() => "not chosen yet".to_owned(),
        None => format!("not chosen yet ({})", port.dataplane_configured),
    };
    let reason = port.dataplane_reason.as_ref().map(|reason| format!(" ({reason})"));
    let reason = reason.unwrap_or_default();
    format!("dataplane {what}{reason}, as {}", port.secure_interface)
}

/// What is out of the ordinary about the kernel's part; empty where nothing is.
fn kernel_words(kernel: &Kernel) -> String {
    let offload = offload_word(kernel.offload);
    let offload = match &kernel.offload_refused {
        None if kernel.offload == Offload::Off => None,
        None => Some(format!("offload {offload}")),
        Some(why) => Some(format!("offload {offload} ({why})")),
    };
    let times = match kernel.interference {
        0 => None,
        1 => Some("once".to_owned()),
        more => Some(format!("{} times", count(more))),
    };
    let last = kernel.last_interference.as_ref().map(|last| format!(", last: {last}"));
    let last = last.unwrap_or_default();
    let interference = times.map(|times| format!("changed by others {times}{last}"));
    let neighbours = kernel.neighbours.join(", ");
    let neighbours = (!neighbours.is_empty())
        .then(|| format!("other MACsec interfaces beside it: {neighbours}"));
    let words: Vec<_> = [offload, interference, neighbours].into_iter().flatten().collect();
    words.join("; ")
}

const fn offload_word(offload: Offload) -> &'static str {
    match offload {
        Offload::Off => "off",
        Offload::Phy => "phy",
        Offload::Mac => "mac",
        Offload::Auto => "auto",
    }
}

/// What is amiss though frames are protected.
fn health(port: &PortStatus) -> String {
    if port.findings.is_empty() && port.state == PortState::Secured {
        return row("health", &["good".to_owned()]);
    }
    let mut out = String::new();
    for finding in &port.findings {
        out.push_str(&paragraph("health", &format!("{} {}", finding.code, finding.title)));
        out.push_str(&paragraph("", &finding.advice));
    }
    out
}

const fn state_word(state: PortState) -> &'static str {
    match state {
        PortState::Down => "down",
        PortState::Listening => "listening",
        PortState::Pending => "pending",
        PortState::Authenticated => "authenticated",
        PortState::Secured => "secured",
        PortState::Failed => "failed",
    }
}

/// How much of a CKN tells it from another.
const CKN_DIGITS: usize = 8;

/// Frames that no SA was there for, by the names of both editions of 802.1AE.
const NO_SA: [&str; 6] = [
    "in_pkts_no_sa",
    "in_pkts_no_sa_error",
    "in_pkts_no_sci",
    "in_pkts_unknown_sci",
    "in_pkts_not_using_sa",
    "in_pkts_unused_sa",
];

// ECMA-48, bold with a colour.
const GREEN: &str = "\x1b[1;32m";
const YELLOW: &str = "\x1b[1;33m";
const RED: &str = "\x1b[1;31m";
const RESET: &str = "\x1b[0m";
