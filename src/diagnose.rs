//! Why there is no security, or less than there should be: observations in, findings out, the
//! likeliest cause first.
//!
//! A finding has a code that never changes its meaning, a sentence for the operator and what to do
//! about it. Where one cause explains another, the consequence is not reported: without carrier
//! nothing else is worth saying.

#![forbid(unsafe_code)]

mod floors;
mod kernel;

use std::mem;
use std::time::Duration;

use crate::ident::{CipherSuite, Ckn, KeyId};
use crate::mka::timers::LIFE;
use crate::mka::{KeyServer, ParticipantStatus, PeerStatus, PortState, Status};
use crate::secy::Counters;
use crate::time::Time;
use crate::wire::MacsecCapability;

pub use floors::{Kernel, KernelVersion};
pub use kernel::{InKernel, in_kernel, port_unsaid};

/// How long the ordinary course of a handshake may take before something is wrong: two hellos.
const PATIENCE: Duration = Duration::from_secs(4);

/// What is known of a port.
#[derive(Clone, Copy, Debug)]
pub struct Observed<'a> {
    /// The interface's name.
    pub interface: &'a str,
    /// Whether there is such an interface.
    pub present: bool,
    /// The suites that the configuration allows.
    pub suites: &'a [CipherSuite],
    /// What the key agreement shows.
    pub status: &'a Status,
}

/// One cause, with what to do.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Finding {
    /// Stable name: `E` is an error, `W` a warning, `N` a note.
    pub code: &'static str,
    /// The cause in one sentence.
    pub title: String,
    /// What to do.
    pub advice: String,
}

impl Finding {
    fn new(code: &'static str, title: impl Into<String>, advice: impl Into<String>) -> Self {
        Self { code, title: title.into(), advice: advice.into() }
    }
}

/// Finds the reason why a port is not secured; `None` where it is.
#[must_use]
pub fn reason(now: Time, observed: &Observed<'_>) -> Option<Finding> {
    let status = observed.status;
    if !observed.present {
        return Some(missing(observed.interface));
    }
    match status.state {
        PortState::Secured => None,
        PortState::Down => Some(no_carrier(observed.interface)),
        PortState::Authenticated => Some(in_clear()),
        PortState::Listening | PortState::Pending | PortState::Failed => {
            let principal = status.participants.iter().find(|of| has_live(of));
            Some(match principal {
                Some(participant) => with_live_peer(now, observed, participant),
                None => without_live_peer(now, observed),
            })
        }
    }
}

fn has_live(participant: &ParticipantStatus) -> bool {
    participant.peers.iter().any(|peer| peer.live)
}

/// Tells whether something was seen within the last MKA Life Time, that is, goes on.
fn recent(now: Time, at: Time) -> bool {
    now.since(at) < LIFE
}

/// The peer holds the CAK and hears us: what remains are the suite, the server and the data plane.
fn with_live_peer(now: Time, observed: &Observed<'_>, of: &ParticipantStatus) -> Finding {
    let (status, evidence) = (observed.status, &observed.status.evidence);
    if !of.has_key_server {
        return no_key_server(status);
    }
    let capable = |peer: &PeerStatus| peer.capability != MacsecCapability::NotImplemented;
    if !of.peers.iter().any(|peer| peer.live && capable(peer)) {
        return Finding::new(
            "E210",
            "the peer says that it cannot do MACsec",
            "Enable MACsec on the peer's port, or replace hardware that lacks it.",
        );
    }
    if let Some((id, _)) = evidence.suite_refused.filter(|&(_, at)| recent(now, at)) {
        return suite_refused(id, observed.suites);
    }
    if let Some((offset, _)) = evidence.offset_refused.filter(|&(_, at)| recent(now, at)) {
        let octets = offset.octets();
        return Finding::new(
            "E206",
            format!(
                "the key server wants a confidentiality offset of {octets}, which this end does not do"
            ),
            "Set the offset to 0 at the peer, or configure it here with a cipher suite that is not XPN.",
        );
    }
    if evidence.unwrap_failed.is_some_and(|at| recent(now, at)) {
        return Finding::new(
            "E205",
            "the peer's key does not unwrap although its messages are authentic",
            "Compare the length of the CAK at both ends: one of them may treat it as 128 and the other as 256 bits.",
        );
    }
    if evidence.plain_text_refused.is_some_and(|at| recent(now, at)) {
        return Finding::new(
            "E209",
            "the key server decided that MACsec is not to be used",
            "Enable MACsec at the peer. This end is set to must-secure and stays closed.",
        );
    }
    if let Some((error, _)) = &evidence.refused_by_secy {
        return Finding::new(
            "E313",
            format!("the data plane refused the key: {error}"),
            "A new key is asked for every few seconds. See the log for what the system said.",
        );
    }
    if evidence.no_entropy.is_some_and(|at| recent(now, at)) {
        return Finding::new(
            "E314",
            "the system gives no random numbers, so no key can be made",
            "Wait for the kernel's random number generator, or give the machine a source of entropy.",
        );
    }
    let stuck = status.distributing.filter(|of| now.since(of.since) >= PATIENCE);
    if let (Some(KeyServer::Own), Some(distributing)) = (status.key_server, stuck) {
        return Finding::new(
            "E204",
            format!("the peer does not take the key that we made for {}", distributing.suite),
            format!(
                "It may not allow {}. Configure the same cipher suite at both ends.",
                distributing.suite
            ),
        );
    }
    if let Some((ki, _)) = evidence.sak_lost {
        return sak_lost(ki);
    }
    agreeing("the peer is there and keys are being agreed")
}

/// Nobody has proved to hear us: what remains are the path, the key name and the key.
fn without_live_peer(now: Time, observed: &Observed<'_>) -> Finding {
    let (status, evidence) = (observed.status, &observed.status.evidence);
    // Whoever lost its key is new to its peers, and has not met them again yet.
    if let Some((ki, _)) = evidence.sak_lost.filter(|&(_, at)| recent(now, at)) {
        return sak_lost(ki);
    }
    if let Some(seen) = evidence.bad_icv.as_ref().filter(|seen| recent(now, seen.at)) {
        return Finding::new(
            "E102",
            format!("{} uses the key name {} with a different key (CAK)", seen.sci, seen.ckn),
            "Enter the same CAK at both ends. Where one end pads a short CAK, enter all digits at both.",
        );
    }
    let heard = status.participants.iter().flat_map(|of| &of.peers);
    let patient =
        heard.filter(|peer| recent(now, peer.last_heard)).min_by_key(|peer| peer.first_heard);
    if let Some(peer) = patient {
        if now.since(peer.first_heard) < PATIENCE {
            return agreeing("the peer is heard and has not answered yet");
        }
        return Finding::new(
            "E005",
            format!("{} is heard, but it does not hear us", peer.sci),
            "Something drops our key-exchange frames on the way out: a switch that eats 01:80:c2:00:00:03, or a fibre that works in one direction.",
        );
    }
    if let Some(seen) = evidence.unknown_ckn.as_ref().filter(|seen| recent(now, seen.at)) {
        let ours: Vec<_> = status.participants.iter().map(|of| &of.ckn).collect();
        return unknown_ckn(seen, &ours);
    }
    if evidence.own_address.is_some_and(|at| recent(now, at)) {
        return Finding::new(
            "E006",
            "our own key-exchange frames come back to us",
            "There is a loop: an optical loopback or a mirrored port. A second system with our MAC address looks the same.",
        );
    }
    // A peer that has spoken on this link before and is lost is not waited for again.
    let waits = |up: Time| evidence.mkpdu.is_none_or(|at| at < up || recent(now, at));
    if status.carrier_since.is_some_and(|up| recent(now, up) && waits(up)) {
        return agreeing("the link is up and the peer has not spoken yet");
    }
    silent(now, evidence.mkpdu)
}

/// What has happened lately to frames of a port that is secured, by what its counters did.
#[derive(Clone, Debug, Default)]
pub struct Trend {
    /// What the growth is reckoned from; `None` before anything was seen.
    last: Option<Counters>,
    not_valid: Option<Time>,
    late: Option<Time>,
    too_long: Option<Time>,
    /// When frames of no known channel came last.
    no_sci: Option<Time>,
    /// When a good frame came last, and when one was sent last.
    received: Option<Time>,
    sent: Option<Time>,
    /// How often somebody else had changed something, and when that was seen last.
    interference: (u64, Option<Time>),
}

impl Trend {
    /// Takes in what has been counted by now. What happened while the port was not secured is not
    /// of interest: then there is a [`reason`].
    pub fn note(&mut self, now: Time, secured: bool, counters: &Counters) {
        // The kernel goes on counting where an earlier daemon left off: that is no growth.
        let before = self.last.replace(*counters).unwrap_or(*counters);
        let grown = |before: u64, after: u64, known| {
            // Fewer than before: they have begun again.
            if secured && after > before { Some(now) } else { known }
        };
        self.not_valid =
            grown(before.in_pkts_not_valid, counters.in_pkts_not_valid, self.not_valid);
        self.late = grown(before.in_pkts_late, counters.in_pkts_late, self.late);
        self.too_long = grown(before.out_pkts_too_long, counters.out_pkts_too_long, self.too_long);
        self.no_sci = grown(before.in_pkts_no_sci, counters.in_pkts_no_sci, self.no_sci);
        self.received = grown(received(&before), received(counters), self.received);
        self.sent = grown(sent(&before), sent(counters), self.sent);
    }

    /// Takes in how often somebody else was found to have changed something.
    pub fn note_interference(&mut self, now: Time, count: u64) {
        let before = mem::replace(&mut self.interference.0, count);
        if count > before {
            self.interference.1 = Some(now);
        }
    }

    /// Tells whether somebody else has changed something lately.
    fn interfered(&self, now: Time) -> bool {
        self.interference.1.is_some_and(|at| now.since(at) < INTERFERENCE)
    }
}

const fn received(counters: &Counters) -> u64 {
    counters.in_pkts_ok + counters.in_pkts_delayed + counters.in_pkts_unchecked
}

const fn sent(counters: &Counters) -> u64 {
    counters.out_pkts_protected + counters.out_pkts_encrypted
}

/// Finds what is wrong with a port although it is secured.
#[must_use]
pub fn findings(now: Time, trend: &Trend, pn_used_ratio: f64) -> Vec<Finding> {
    let lately = |at: Option<Time>| at.is_some_and(|at| now.since(at) < LATELY);
    let found = [
        lately(trend.not_valid).then(|| not_valid(lately(trend.received))),
        lately(trend.late).then(|| {
            Finding::new(
                "W306",
                "frames arrive too late and are dropped (in_pkts_late grows)",
                "The path changes their order, or somebody repeats old ones. Where it is the path, set replay-window to the reordering that it makes.",
            )
        }),
        lately(trend.too_long).then(|| {
            Finding::new(
                "W307",
                "frames are too long to be protected and are dropped (out_pkts_too_long grows)",
                "An interface stacked on the secure one with a VLAN tag needs an MTU 4 less than it; or raise the MTU of the interface that faces the peer, on both ends and all between.",
            )
        }),
        (pn_used_ratio > PN_USED_MAX).then(|| {
            Finding::new(
                "W308",
                format!("{:.0} % of the key's packet numbers are used", pn_used_ratio * 100.0),
                "The key server should have made a fresh key at 75 %. Ask it for one (`macsecctl rekey` there): when none are left, no frame is sent. With an XPN cipher suite they last practically for ever.",
            )
        }),
    ];
    found.into_iter().flatten().collect()
}

/// Frames do not validate: some of them, or all.
fn not_valid(others_do: bool) -> Finding {
    if others_do {
        return Finding::new(
            "W304",
            "frames arrive that do not validate (in_pkts_not_valid grows)",
            "Something on the path changes frames, or somebody forges them; both are dropped. Compare the counters at both ends and look for a faulty line.",
        );
    }
    Finding::new(
        "W304",
        "no frame validates although a key is agreed (in_pkts_not_valid grows, in_pkts_ok does not)",
        "With an XPN cipher suite the ends may number themselves differently (SSCI): try the other `ssci-order`, or a suite that is not XPN. Else the peer's hardware uses another key: take its port down and up.",
    )
}

/// How long something is worth a finding after it happened.
const LATELY: Duration = Duration::from_secs(60);
/// The same for what somebody else has changed, which comes one at a time.
const INTERFERENCE: Duration = Duration::from_secs(600);
/// A fresh key is made at 0.75 (802.1X-2020 9.8, PendingPNExhaustion) and takes a moment to come.
const PN_USED_MAX: f64 = 0.76;

/// The finding for a port that is about to be set up.
#[must_use]
pub fn starting() -> Finding {
    agreeing("the port is being set up")
}

/// The finding for a port whose interface is not there.
#[must_use]
pub fn missing(interface: &str) -> Finding {
    Finding::new(
        "E009",
        format!("there is no interface {interface}"),
        "Waiting for it to appear. Check the name with `ip link`.",
    )
}

/// The finding for a port whose sockets or data plane could not be set up.
#[must_use]
pub fn not_set_up(interface: &str, why: &str) -> Finding {
    Finding::new(
        "E311",
        format!("the port on {interface} cannot be set up: {why}"),
        format!("{} It is tried again every few seconds.", kernel::remedy(interface, why)),
    )
}

/// The finding for a port whose own part of the daemon gives no answer.
#[must_use]
pub fn unresponsive(interface: &str) -> Finding {
    Finding::new(
        "E315",
        format!("the daemon's own task for {interface} does not answer"),
        "This is a fault of macsecd. It is started again by itself; please report what the log says.",
    )
}

fn no_carrier(interface: &str) -> Finding {
    Finding::new(
        "E001",
        format!("no carrier on {interface}"),
        format!(
            "Check cable, optic and patch panel, that the far end is enabled, and that {interface} is up (`ip link set {interface} up`)."
        ),
    )
}

fn in_clear() -> Finding {
    Finding::new(
        "N002",
        "frames pass in clear: the key server decided so and the policy is should-secure",
        "Enable MACsec at the peer, or set the policy to must-secure to keep the port closed until then.",
    )
}

fn agreeing(title: &str) -> Finding {
    Finding::new("N001", title, "Nothing to do yet.")
}

fn silent(now: Time, last: Option<Time>) -> Finding {
    let title = match last {
        Some(at) => format!("no key-exchange frame for {} s", now.since(at).as_secs()),
        None => "no key-exchange frame has ever been received on this link".to_owned(),
    };
    Finding::new(
        "E002",
        title,
        "The peer is silent: MKA is not enabled there, it is down, this is the wrong port, or a device in between drops 01:80:c2:00:00:03.",
    )
}

fn no_key_server(status: &Status) -> Finding {
    Finding::new(
        "E201",
        format!("no end is willing to be key server (our priority is {})", status.priority.0),
        "Priority 255 means never. Set key-server-priority to 16 at one end.",
    )
}

fn sak_lost(ki: KeyId) -> Finding {
    Finding::new(
        "E316",
        format!("the system has lost the key {ki} that frames were sent with"),
        "A fresh key is being agreed. Look for who deletes or changes the MACsec device (`ip monitor link`, another MACsec daemon), or whether its packet numbers ran out.",
    )
}

fn suite_refused(id: [u8; 8], allowed: &[CipherSuite]) -> Finding {
    let theirs = CipherSuite::from_id(id).map_or_else(
        || id.map(|octet| format!("{octet:02x}")).join("-"),
        |suite| suite.to_string(),
    );
    let ours: Vec<_> = allowed.iter().map(|suite| suite.name()).collect();
    Finding::new(
        "E203",
        format!("the peer chose {theirs}, and this end allows {} only", ours.join(", ")),
        format!("Change one of the two: cipher-suites here, or the suite at the peer ({theirs})."),
    )
}

fn unknown_ckn(seen: &crate::mka::Sighting, ours: &[&Ckn]) -> Finding {
    let names: Vec<_> = ours.iter().map(ToString::to_string).collect();
    let advice = match ours.iter().find_map(|own| alike(&seen.ckn, own)) {
        Some(hint) => hint.to_owned(),
        None => "Enter the same CKN at both ends.".to_owned(),
    };
    Finding::new(
        "E101",
        format!("{} uses the key name {}; ours: {}", seen.sci, seen.ckn, names.join(", ")),
        advice,
    )
}

/// The ways in which one name is commonly entered as two.
fn alike(theirs: &Ckn, ours: &Ckn) -> Option<&'static str> {
    let (theirs, ours) = (theirs.octets(), ours.octets());
    let trimmed =
        |octets: &[u8]| octets.iter().rposition(|&octet| octet != 0).map_or(0, |at| at + 1);
    let hex_text = |octets: &[u8]| {
        octets.iter().map(|octet| format!("{octet:02x}")).collect::<String>().into_bytes()
    };
    if theirs.get(..trimmed(theirs)) == ours.get(..trimmed(ours)) {
        return Some(
            "The names differ only in zeros at the end: one end pads the CKN. Enter all 64 digits at both ends.",
        );
    }
    if hex_text(ours).eq_ignore_ascii_case(theirs) || hex_text(theirs).eq_ignore_ascii_case(ours) {
        return Some(
            "One end took the hexadecimal digits of the CKN as text. Enter it as hexadecimal at both ends.",
        );
    }
    None
}

#[cfg(test)]
#[path = "diagnose_tests.rs"]
mod tests;
