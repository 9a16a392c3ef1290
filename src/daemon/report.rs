//! From what a port shows to what the control socket says of it.

use std::collections::BTreeMap;
use std::time::Duration;

use super::plan::PortPlan;
use crate::config::OffloadChoice;
use crate::control::{self, Dataplane, Participant, Peer, PortState, PortStatus, Reason, Role};
use crate::dataplane::{Drops, KernelState, Kind, Offload, Snapshot};
use crate::diagnose::{self, Finding, InKernel, Kernel, Observed, Trend};
use crate::mka::{self, KeyServer, ParticipantStatus};
use crate::port::Link;
use crate::port::task::{Running, Stage, View};
use crate::time::Time;

/// What a port said when it was asked.
#[derive(Debug)]
pub(crate) enum Answer {
    /// How it stands.
    View(Box<View>),
    /// Nothing.
    None,
}

/// Puts together all that is known of a port, and keeps in `trend` what its counters do.
pub(crate) fn port_status(
    plan: &PortPlan,
    answer: &Answer,
    trend: &mut Trend,
    kernel: Option<&Kernel>,
) -> PortStatus {
    let blank = PortStatus {
        interface: plan.interface().to_owned(),
        secure_interface: plan.secure_interface().to_owned(),
        dataplane_configured: plan.dataplane().to_owned(),
        ..PortStatus::default()
    };
    let Answer::View(view) = answer else {
        let reason = Some(diagnose::unresponsive(plan.interface()).into());
        return PortStatus { state: PortState::Failed, reason, ..blank };
    };
    let View { now, carrier, stage } = &**view;
    let blank = PortStatus { carrier: *carrier, ..blank };
    match stage {
        Stage::Starting => PortStatus { reason: Some(diagnose::starting().into()), ..blank },
        Stage::Missing { since } => PortStatus {
            state: PortState::Down,
            state_seconds: seconds(*now, *since),
            reason: Some(diagnose::missing(plan.interface()).into()),
            ..blank
        },
        Stage::Blocked { since, reason } => PortStatus {
            state: PortState::Failed,
            state_seconds: seconds(*now, *since),
            reason: Some(diagnose::not_set_up(plan.interface(), reason).into()),
            ..blank
        },
        Stage::Running(running) => at_work(plan, *now, running, trend, kernel, blank),
    }
}

fn at_work(
    plan: &PortPlan,
    now: Time,
    running: &Running,
    trend: &mut Trend,
    kernel: Option<&Kernel>,
    blank: PortStatus,
) -> PortStatus {
    let Running { link, status, kind, reason, dataplane } = running;
    let observed = Observed {
        interface: plan.interface(),
        present: *link != Link::Missing,
        suites: plan.suites(),
        status,
    };
    let secured = status.state == mka::PortState::Secured;
    let for_seconds = seconds(now, status.since);
    let sak = status.sak.as_ref();
    trend.note(now, secured, &dataplane.counters);
    if let Some(state) = &dataplane.kernel {
        trend.note_interference(now, state.interference);
    }
    let findings = if secured { findings(plan, now, running, trend, kernel) } else { Vec::new() };
    PortStatus {
        state: state(status.state),
        state_seconds: for_seconds,
        reason: diagnose::reason(now, &observed).map(Reason::from),
        findings: findings.into_iter().map(Reason::from).collect(),
        dataplane: Some(match kind {
            Kind::Kernel => Dataplane::Kernel,
            Kind::Userspace => Dataplane::Userspace,
        }),
        dataplane_reason: Some(reason.clone()),
        kernel: dataplane.kernel.as_ref().map(|state| in_kernel(state, plan.offload())),
        cipher_suite: sak.map(|sak| sak.suite.name().to_owned()),
        key_server: match status.key_server {
            Some(KeyServer::Own) => control::KeyServer::Own,
            Some(KeyServer::Peer(_)) => control::KeyServer::Peer,
            None => control::KeyServer::None,
        },
        secured_for_seconds: secured.then_some(for_seconds),
        peers: status.participants.iter().flat_map(|of| peers(now, of)).collect(),
        participants: status.participants.iter().map(participant).collect(),
        sak: sak.map(|sak| control::Sak {
            key_number: sak.ki.number.0,
            an: sak.an.value(),
            age_seconds: seconds(now, sak.since),
            pn_used_ratio: sak.pn_used_ratio,
        }),
        rekeys: status.rekeys,
        last_switch_ms: status.last_switch.map(millis),
        counters: counters(dataplane),
        mka: agreement(status),
        ..blank
    }
}

/// What is wrong with a port that is secured.
fn findings(
    plan: &PortPlan,
    now: Time,
    running: &Running,
    trend: &Trend,
    kernel: Option<&Kernel>,
) -> Vec<Finding> {
    let Running { status, dataplane, .. } = running;
    let pn_used_ratio = status.sak.as_ref().map_or(0.0, |sak| sak.pn_used_ratio);
    let mut findings = diagnose::findings(now, trend, pn_used_ratio);
    if let Some(state) = &dataplane.kernel {
        let of = InKernel {
            interface: plan.interface(),
            secure_interface: plan.secure_interface(),
            offloaded: state.offload != Offload::Off,
            offload_refused: state.offload_refused.as_deref(),
            offload_auto: plan.offload() == OffloadChoice::Auto,
            last_interference: state.last_interference.as_deref(),
            neighbours: &state.neighbours,
            kernel,
        };
        findings.extend(diagnose::in_kernel(now, trend, status, &of));
    }
    findings.extend(diagnose::port_unsaid(status, plan.includes_sci()));
    findings
}

fn in_kernel(state: &KernelState, configured: OffloadChoice) -> control::Kernel {
    let KernelState { offload, offload_refused, interference, last_interference, neighbours } =
        state.clone();
    control::Kernel {
        offload: match offload {
            Offload::Off => control::Offload::Off,
            Offload::Phy => control::Offload::Phy,
            Offload::Mac => control::Offload::Mac,
            Offload::Auto => control::Offload::Auto,
        },
        offload_configured: match configured {
            OffloadChoice::Off => control::Offload::Off,
            OffloadChoice::Phy => control::Offload::Phy,
            OffloadChoice::Mac => control::Offload::Mac,
            OffloadChoice::Auto => control::Offload::Auto,
        },
        offload_refused,
        interference,
        last_interference,
        neighbours,
    }
}

fn agreement(status: &mka::Status) -> control::Mka {
    let participants = &status.participants;
    let speaks = participants.iter().find(|of| of.principal).or(participants.first());
    control::Mka {
        sci: status.sci.to_string(),
        mi: speaks.map(|of| of.mi.to_string()).unwrap_or_default(),
        mn: speaks.map_or(0, |of| of.mn.0),
        mkpdus_sent: status.sent,
        mkpdus_received: status.accepted,
        discards: status
            .discards
            .iter()
            .map(|(discard, count)| (discard.name().to_owned(), count))
            .collect(),
    }
}

fn peers(now: Time, of: &ParticipantStatus) -> impl Iterator<Item = Peer> {
    of.peers.iter().map(move |peer| Peer {
        sci: peer.sci.to_string(),
        mi: peer.mi.to_string(),
        live: peer.live,
        key_server_priority: peer.priority.0,
        mka_version: peer.mka_version,
        also_in_clear: peer.also_in_clear,
        last_heard_seconds: seconds(now, peer.last_heard),
    })
}

fn participant(of: &ParticipantStatus) -> Participant {
    Participant {
        ckn: of.ckn.to_string(),
        role: if of.principal { Role::Principal } else { Role::Standby },
        state: state(of.state),
        live_peers: u32::try_from(of.peers.iter().filter(|peer| peer.live).count())
            .unwrap_or(u32::MAX),
        in_use: of.in_use,
    }
}

/// All that is counted, the standard's names first; frames lost outside of the SecY go by names of
/// ours.
fn counters(snapshot: &Snapshot) -> BTreeMap<String, u64> {
    let Drops {
        out_port_closed,
        out_malformed,
        out_congested,
        out_refused,
        in_port_closed,
        in_too_long,
        in_undelivered,
    } = snapshot.drops;
    let drops = [
        ("out_drops_port_closed", out_port_closed),
        ("out_drops_malformed", out_malformed),
        ("out_drops_congested", out_congested),
        ("out_drops_refused", out_refused),
        ("in_drops_port_closed", in_port_closed),
        ("in_drops_too_long", in_too_long),
        ("in_drops_undelivered", in_undelivered),
    ];
    snapshot.counters.iter().chain(drops).map(|(name, count)| (name.to_owned(), count)).collect()
}

const fn state(state: mka::PortState) -> PortState {
    match state {
        mka::PortState::Down => PortState::Down,
        mka::PortState::Listening => PortState::Listening,
        mka::PortState::Pending => PortState::Pending,
        mka::PortState::Authenticated => PortState::Authenticated,
        mka::PortState::Secured => PortState::Secured,
        mka::PortState::Failed => PortState::Failed,
    }
}

/// The word for a state.
pub(crate) const fn word(state: PortState) -> &'static str {
    match state {
        PortState::Down => "down",
        PortState::Listening => "listening",
        PortState::Pending => "pending",
        PortState::Authenticated => "authenticated",
        PortState::Secured => "secured",
        PortState::Failed => "failed",
    }
}

/// The participant that speaks for the port.
pub(crate) fn principal(status: &PortStatus) -> Option<&Participant> {
    let participants = &status.participants;
    participants.iter().find(|of| of.role == Role::Principal).or(participants.first())
}

/// The last four octets of a CKN in hex: enough to tell one from the other.
pub(crate) fn tail(ckn: &str) -> &str {
    ckn.get(ckn.len().saturating_sub(8)..).unwrap_or(ckn)
}

fn seconds(now: Time, since: Time) -> f64 {
    // To the millisecond: what is finer is noise.
    let span = now.since(since);
    Duration::from_millis(u64::try_from(span.as_millis()).unwrap_or(u64::MAX)).as_secs_f64()
}

/// To the microsecond.
fn millis(span: Duration) -> f64 {
    let micros = u64::try_from(span.as_micros()).unwrap_or(u64::MAX);
    Duration::from_micros(micros).as_secs_f64() * 1000.0
}

impl From<Finding> for Reason {
    fn from(finding: Finding) -> Self {
        let Finding { code, title, advice } = finding;
        Self { code: code.to_owned(), title, advice, evidence: Vec::new() }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::sync::Arc;

    use super::*;
    use crate::crypto::{Entropy, NoEntropy};
    use crate::daemon::plan::Plan;
    use crate::dataplane::kernel::KernelStartError;
    use crate::ident::{CipherSuite, MacAddress, Sci};
    use crate::port::{Driver, PortInput};
    use crate::secy::Counters;
    use crate::sys::LinkState;

    struct Counting(u8);

    impl Entropy for Counting {
        fn fill(&mut self, out: &mut [u8]) -> Result<(), NoEntropy> {
            self.0 += 1;
            out.fill(self.0);
            Ok(())
        }
    }

    fn plan() -> PortPlan {
        let text = "[[port]]\ninterface = \"eth1\"\ncipher-suites = [\"gcm-aes-128\"]\n\
                    [[port.key]]\nckn = \"0badc0de01\"\ncak = \"000102030405060708090a0b0c0d0e0f\"";
        Plan::parse(text, Path::new("test.toml")).unwrap().ports.remove(0)
    }

    fn at(seconds: u64) -> Time {
        Time::ZERO.after(Duration::from_secs(seconds))
    }

    fn status(now: u64, stage: Stage) -> PortStatus {
        let view = View { now: at(now), carrier: true, stage };
        port_status(&plan(), &Answer::View(Box::new(view)), &mut Trend::default(), None)
    }

    fn running(inputs: &[(u64, Link)]) -> Stage {
        at_work_in(inputs, None)
    }

    fn at_work_in(inputs: &[(u64, Link)], kernel: Option<KernelState>) -> Stage {
        let setup = plan().setup(Duration::ZERO);
        let keys = Arc::clone(&setup.keys);
        let mut driver = Driver::new(at(0), setup.policy, &keys, Box::new(Counting(0))).unwrap();
        let mut now = at(0);
        for &(seconds, link) in inputs {
            now = at(seconds);
            driver.handle(now, PortInput::Link(link));
        }
        let dataplane = Snapshot {
            counters: Counters { in_pkts_ok: 7, ..Counters::default() },
            drops: Drops { out_port_closed: 3, ..Drops::default() },
            tx: None,
            rx: Vec::new(),
            parent: LinkState::Running,
            secure_interface: LinkState::NoCarrier,
            alive: true,
            kernel,
        };
        let (kind, reason) = match dataplane.kernel {
            Some(_) => (Kind::Kernel, "this kernel has MACsec"),
            None => (Kind::Userspace, "the kernel has no MACsec"),
        };
        Stage::Running(Box::new(Running {
            kind,
            reason: reason.to_owned(),
            link: driver.link(),
            status: driver.status(now),
            dataplane,
        }))
    }

    fn code(status: &PortStatus) -> &str {
        &status.reason.as_ref().unwrap().code
    }

    #[test]
    fn a_port_without_an_interface_is_down_and_says_since_when() {
        let status = status(10, Stage::Missing { since: at(4) });
        assert_eq!((status.state, code(&status)), (PortState::Down, "E009"));
        assert!((status.state_seconds - 6.0).abs() < 1e-9);
        assert_eq!(
            (status.interface.as_str(), status.secure_interface.as_str()),
            ("eth1", "macsec0")
        );
    }

    #[test]
    fn what_is_in_the_way_is_quoted() {
        let status = status(1, Stage::Blocked { since: at(0), reason: "no room".to_owned() });
        assert_eq!((status.state, code(&status)), (PortState::Failed, "E311"));
        assert!(status.reason.unwrap().title.contains("no room"));
    }

    /// The words are another module's, so they are asked of it.
    #[test]
    fn what_the_kernel_says_no_to_comes_with_what_to_do() {
        let (parent, name) = ("eth1".to_owned(), "macsec0".to_owned());
        let sci = Sci::new(MacAddress([2, 0, 0, 0, 0, 1]), 1);
        let (suite, why) = (CipherSuite::GcmAes128, "EINVAL".to_owned());
        for (error, advice) in [
            (KernelStartError::NoMacsec, "`modprobe macsec`"),
            (KernelStartError::NotPermitted, "systemd unit"),
            (
                KernelStartError::NameTaken { name: name.clone(), what: "a bridge".to_owned() },
                "another secure-interface",
            ),
            (KernelStartError::ParentBusy { parent: parent.clone() }, "eth1 nomaster"),
            (KernelStartError::SciTaken { parent, sci, by: String::new() }, "`ip macsec show`"),
            (
                KernelStartError::NoSuite { suite, why: why.clone() },
                "cipher suites that the kernel",
            ),
            (KernelStartError::Refused { name, why }, "Remove what is in the way"),
        ] {
            let why = error.to_string();
            let reason = status(1, Stage::Blocked { since: at(0), reason: why.clone() });
            let reason = reason.reason.unwrap();
            assert!(reason.title.ends_with(&why), "{}", reason.title);
            assert!(reason.advice.contains(advice), "{why}: {}", reason.advice);
            assert!(reason.advice.ends_with("tried again every few seconds."), "{}", reason.advice);
        }
    }

    #[test]
    fn a_port_that_gives_no_answer_is_failed() {
        let status = port_status(&plan(), &Answer::None, &mut Trend::default(), None);
        assert_eq!((status.state, code(&status)), (PortState::Failed, "E315"));
    }

    #[test]
    fn a_port_at_work_shows_its_key_its_counters_and_no_time_secured() {
        let status = status(12, running(&[(1, Link::Up), (9, Link::Down)]));
        assert_eq!((status.state, code(&status)), (PortState::Down, "E001"));
        assert!((status.state_seconds - 3.0).abs() < 1e-9);
        assert_eq!(
            (status.secured_for_seconds, status.sak, status.cipher_suite),
            (None, None, None)
        );
        assert_eq!(status.participants.first().unwrap().ckn, "0badc0de01");
        assert_eq!(status.mka.sci, "00:00:00:00:00:00/0001");
        assert_eq!(status.mka.mi, "01".repeat(12));
        assert_eq!(status.counters["in_pkts_ok"], 7);
        assert_eq!(status.counters["out_drops_port_closed"], 3);
        assert_eq!(status.dataplane, Some(Dataplane::Userspace));
        assert_eq!(status.dataplane_reason.as_deref(), Some("the kernel has no MACsec"));
        assert_eq!(status.kernel, None);
    }

    #[test]
    fn a_port_that_does_not_run_yet_shows_what_is_configured_and_no_data_plane() {
        let status = status(1, Stage::Starting);
        assert_eq!((status.dataplane, status.dataplane_reason), (None, None));
        assert_eq!(status.dataplane_configured, "auto");
    }

    #[test]
    fn what_only_the_kernel_tells_is_passed_on() {
        let state = KernelState {
            offload: Offload::Phy,
            offload_refused: Some("mac: no".to_owned()),
            interference: 2,
            last_interference: Some("encrypt is off".to_owned()),
            neighbours: vec!["macsec7".to_owned()],
        };
        let status = status(2, at_work_in(&[(1, Link::Up)], Some(state)));
        assert_eq!(status.dataplane, Some(Dataplane::Kernel));
        assert_eq!(status.dataplane_reason.as_deref(), Some("this kernel has MACsec"));
        let kernel = status.kernel.unwrap();
        assert_eq!(
            (kernel.offload, kernel.offload_configured),
            (control::Offload::Phy, control::Offload::Off)
        );
        assert_eq!(kernel.offload_refused.as_deref(), Some("mac: no"));
        assert_eq!(kernel.last_interference.as_deref(), Some("encrypt is off"));
        assert_eq!((kernel.interference, kernel.neighbours), (2, vec!["macsec7".to_owned()]));
    }

    #[test]
    fn the_tail_of_a_name_is_its_last_four_octets() {
        assert_eq!((tail("0badc0de01"), tail("01")), ("adc0de01", "01"));
    }
}
