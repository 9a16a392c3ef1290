//! What can be wrong with a secured port whose frames the kernel protects.

use std::time::Duration;

use super::{Finding, LATELY, Trend};
use crate::mka::{PeerStatus, Status};
use crate::time::Time;

use super::floors::Kernel;

/// What is known of a data plane in the kernel.
#[derive(Clone, Copy, Debug)]
pub struct InKernel<'a> {
    /// The interface that faces the peer.
    pub interface: &'a str,
    /// The kernel's MACsec interface.
    pub secure_interface: &'a str,
    /// Whether anything but the processor does the work.
    pub offloaded: bool,
    /// Why the work is not done where the configuration asks for it.
    pub offload_refused: Option<&'a str>,
    /// Whether the configuration asks for offload only where there is any.
    pub offload_auto: bool,
    /// What somebody else was last found to have changed.
    pub last_interference: Option<&'a str>,
    /// The other MACsec interfaces on the same parent.
    pub neighbours: &'a [String],
    /// The kernel itself, where it could be recognised.
    pub kernel: Option<&'a Kernel>,
}

/// Finds what is wrong with a port that the kernel protects although it is secured.
///
/// Linux drops a frame whose secure channel it does not know, and counts it in `InPktsNoSCI`. A
/// frame without SCI belongs to port 1 of its source address there, or, in kernels from 2025 on
/// (commit d9816ec74e6d), to the only channel of the parent interface, and is dropped without a count
/// where there are several.
#[must_use]
pub fn in_kernel(now: Time, trend: &Trend, status: &Status, of: &InKernel<'_>) -> Vec<Finding> {
    let live: Vec<&PeerStatus> =
        status.participants.iter().flat_map(|of| &of.peers).filter(|peer| peer.live).collect();
    let xpn = status.sak.as_ref().is_some_and(|sak| sak.suite.is_xpn());
    let unknown = unknown_channel(now, trend, &live);
    let found = [
        unknown.clone().or_else(|| undeliverable(now, trend, status, &live, of)),
        trend.interfered(now).then(|| interference(of)),
        of.offload_refused.map(|why| offload_refused(why, of)),
        of.kernel.and_then(|kernel| kernel.finding(xpn, of.offloaded)),
        neighbours(of),
    ];
    found.into_iter().flatten().collect()
}

/// Frames arrive, and the kernel does not know whose they are.
fn unknown_channel(now: Time, trend: &Trend, live: &[&PeerStatus]) -> Option<Finding> {
    let lately = |at: Option<Time>| at.is_some_and(|at| now.since(at) < LATELY);
    if !lately(trend.no_sci) {
        return None;
    }
    let turn_on = "Turn the SCI on at the peer (Azure: `az network express-route port link update … --macsec-sci-state Enabled`), or write `dataplane = \"userspace\"`, which knows the frames of an only peer by themselves.";
    if let [peer] = live
        && peer.sci.port() != 1
    {
        return Some(Finding::new(
            "E301",
            format!(
                "frames of no known channel arrive (in_pkts_no_sci grows): the peer seems to send no SCI and its port is {}, and this kernel takes such frames as port 1 of their source address",
                peer.sci.port()
            ),
            turn_on,
        ));
    }
    if lately(trend.received) {
        return Some(Finding::new(
            "W301",
            "some frames of no known channel arrive (in_pkts_no_sci grows)",
            "Another station sends MACsec frames on this link, or the peer sends some from another source address without SCI. On a link between two, look for what else is connected.",
        ));
    }
    Some(Finding::new(
        "E301",
        "only frames of no known channel arrive (in_pkts_no_sci grows): the peer seems to send no SCI, from a source address that is not its own",
        turn_on,
    ))
}

/// Nothing arrives, and the kernel may be dropping it without counting.
fn undeliverable(
    now: Time,
    trend: &Trend,
    status: &Status,
    live: &[&PeerStatus],
    of: &InKernel<'_>,
) -> Option<Finding> {
    let nothing = trend.received.is_none_or(|at| at < status.since);
    let long = now.since(status.since) >= SILENCE && trend.sent.is_some_and(|at| at > status.since);
    let why = match (of.neighbours, live) {
        ([], [_, _, ..]) => "the kernel has channels of several peers".to_owned(),
        ([], _) => return None,
        (others, _) => format!("{} is on {} too", others.join(", "), of.interface),
    };
    (nothing && long).then(|| {
        Finding::new(
            "E302",
            format!(
                "not one frame of the peer has been received since the port was secured, and {why}: then the kernel drops frames without SCI, and counts none"
            ),
            format!(
                "Turn the SCI on at the peer, or delete the other MACsec interfaces on {}. Where the peer sends nothing, this is no fault.",
                of.interface
            ),
        )
    })
}

fn interference(of: &InKernel<'_>) -> Finding {
    Finding::new(
        "W603",
        format!(
            "somebody else changes {}: {}",
            of.secure_interface,
            of.last_interference.unwrap_or("it was not as it should be")
        ),
        "It was put right, with a fresh key where the old one could not be trusted any more. Look for another MACsec daemon (wpa_supplicant, NetworkManager), systemd-networkd, or a script with `ip macsec` or `ip link`: only one may look after a link.",
    )
}

fn offload_refused(why: &str, of: &InKernel<'_>) -> Finding {
    let title = format!("MACsec on {} is not offloaded: {why}", of.interface);
    if of.offload_auto {
        return Finding::new("N601", title, "Nothing to do: the processor does the work.");
    }
    Finding::new(
        "W601",
        title,
        format!(
            "The processor does the work. See whether card, driver and firmware have it (`ethtool -k {} | grep macsec`), or remove `offload`.",
            of.interface
        ),
    )
}

fn neighbours(of: &InKernel<'_>) -> Option<Finding> {
    let others = of.neighbours.join(", ");
    (!others.is_empty()).then(|| {
        Finding::new(
            "N302",
            format!("other MACsec interfaces are on {}: {others}", of.interface),
            "They do no harm as long as every peer sends its SCI.",
        )
    })
}

/// What to do about a data plane that does not start, by the words in which it says why.
pub(super) fn remedy(interface: &str, why: &str) -> String {
    let of = |words| why.contains(words);
    if of("another receiver of frames") {
        format!(
            "`ip -d link show {interface}` names its master: take it out there (`ip link set {interface} nomaster`) and put the secure interface in its place. A macvlan goes onto the secure interface too."
        )
    } else if of("has the SCI") {
        "`ip macsec show` lists the MACsec interfaces. Delete the one that is left over (`ip link delete NAME`), or set another port-id.".to_owned()
    } else if of("is there already") {
        "`ip -d link show` tells what it is. Delete it if it is left over, or give this port another secure-interface.".to_owned()
    } else if of("CAP_NET_ADMIN") {
        "Start the daemon by its systemd unit, which has the capability; in a container, write `dataplane = \"userspace\"`.".to_owned()
    } else if of("MACsec has no") {
        "Name cipher suites that the kernel has, or write `dataplane = \"userspace\"`.".to_owned()
    } else if of("has no MACsec") {
        "See what `modprobe macsec` says, or write `dataplane = \"auto\"`, which does without."
            .to_owned()
    } else {
        "Remove what is in the way.".to_owned()
    }
}

/// The finding for frames of ours that many receivers cannot attribute; of either data plane.
#[must_use]
pub fn port_unsaid(status: &Status, include_sci: bool) -> Option<Finding> {
    let port = status.sci.port();
    (!include_sci && port != 1).then(|| {
        Finding::new(
            "N303",
            format!("our frames carry no SCI and our port is {port}: a peer may drop them"),
            "Linux takes a frame without SCI as port 1 of its source address. Where the peer receives nothing, write `include-sci = true` or `port-id = 1`.",
        )
    })
}

/// How long nothing may arrive on a port that sends before it is odd.
const SILENCE: Duration = Duration::from_secs(30);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ident::{CipherSuite, MacAddress, Sci};
    use crate::mka::Policy;
    use crate::mka::testing::{Pair, policy};
    use crate::secy::Counters;

    const ALONE: InKernel<'static> = InKernel {
        interface: "eth1",
        secure_interface: "macsec0",
        offloaded: false,
        offload_refused: None,
        offload_auto: false,
        last_interference: None,
        neighbours: &[],
        kernel: None,
    };

    fn secured(port: u16, suite: CipherSuite) -> (Time, Status) {
        let ours = Policy { cipher_suites: vec![suite], ..policy(1, 16) };
        let sci = Sci::new(MacAddress([2, 0, 0, 0, 0, 2]), port);
        let theirs = Policy { sci, cipher_suites: vec![suite], ..policy(2, 200) };
        let mut pair = Pair::new(ours, theirs);
        pair.start(Duration::from_secs(1));
        let status = pair.a.kay.status(pair.now);
        assert_eq!(status.state, crate::mka::PortState::Secured);
        (pair.now, status)
    }

    fn found(
        of: &InKernel<'_>,
        status: &Status,
        now: Time,
        trend: &Trend,
    ) -> Vec<(&'static str, String)> {
        let found = in_kernel(now, trend, status, of);
        found.into_iter().map(|of| (of.code, format!("{} | {}", of.title, of.advice))).collect()
    }

    /// What one second and these counters make of it.
    fn counted(now: Time, counters: Counters) -> (Time, Trend) {
        let mut trend = Trend::default();
        trend.note(now, true, &Counters::default());
        let now = now.after(Duration::from_secs(1));
        trend.note(now, true, &counters);
        (now, trend)
    }

    #[test]
    fn a_port_on_which_all_is_well_has_no_finding() {
        let (now, status) = secured(1, CipherSuite::GcmAes128);
        let (now, trend) = counted(now, Counters { in_pkts_ok: 9, ..Counters::default() });
        assert_eq!(found(&ALONE, &status, now, &trend), []);
    }

    #[test]
    fn a_peer_without_sci_whose_port_is_not_1_is_named_with_its_port() {
        let (now, status) = secured(5, CipherSuite::GcmAes128);
        let (now, trend) = counted(now, Counters { in_pkts_no_sci: 9, ..Counters::default() });
        let [(code, text)] = &found(&ALONE, &status, now, &trend)[..] else { panic!() };
        assert_eq!(*code, "E301");
        assert!(text.contains("its port is 5") && text.contains("--macsec-sci-state"), "{text}");
        // A minute without another one, and it is over.
        let later = now.after(Duration::from_secs(60));
        assert_eq!(found(&ALONE, &status, later, &trend), []);
    }

    #[test]
    fn a_peer_on_port_1_that_gets_nothing_through_is_told_from_a_strangers_frames() {
        let (now, status) = secured(1, CipherSuite::GcmAes128);
        let (at, trend) = counted(now, Counters { in_pkts_no_sci: 9, ..Counters::default() });
        let [(code, text)] = &found(&ALONE, &status, at, &trend)[..] else { panic!() };
        assert_eq!(*code, "E301");
        assert!(text.contains("a source address that is not its own"), "{text}");

        let counters = Counters { in_pkts_no_sci: 9, in_pkts_ok: 9, ..Counters::default() };
        let (at, trend) = counted(now, counters);
        assert_eq!(found(&ALONE, &status, at, &trend)[0].0, "W301");
    }

    #[test]
    fn a_neighbour_is_a_note_and_is_blamed_where_nothing_arrives_though_we_send() {
        let neighbours = ["macsec7".to_owned()];
        let of = InKernel { neighbours: &neighbours, ..ALONE };
        let (now, status) = secured(1, CipherSuite::GcmAes128);
        let codes = |at: Time, trend: &Trend| {
            found(&of, &status, at, trend).into_iter().map(|(code, _)| code).collect::<Vec<_>>()
        };
        let since = status.since;
        let (_, sends) = counted(now, Counters { out_pkts_encrypted: 3, ..Counters::default() });
        assert_eq!(codes(since.after(Duration::from_secs(29)), &sends), ["N302"]);
        let at = since.after(Duration::from_secs(30));
        assert_eq!(codes(at, &sends), ["E302", "N302"]);
        let text = &found(&of, &status, at, &sends)[0].1;
        assert!(text.contains("macsec7 is on eth1 too"), "{text}");
        // Who is alone, sends nothing, or has received something has no such trouble.
        assert_eq!(found(&ALONE, &status, at, &sends), []);
        assert_eq!(codes(at, &Trend::default()), ["N302"]);
        let both = Counters { out_pkts_encrypted: 3, in_pkts_ok: 1, ..Counters::default() };
        let (_, receives) = counted(now, both);
        assert_eq!(codes(at, &receives), ["N302"]);
    }

    #[test]
    fn interference_is_told_for_ten_minutes_with_what_was_changed() {
        let last = "encrypt is off";
        let of = InKernel { last_interference: Some(last), ..ALONE };
        let (now, status) = secured(1, CipherSuite::GcmAes128);
        let mut trend = Trend::default();
        trend.note_interference(now, 0);
        assert_eq!(found(&of, &status, now, &trend), []);
        trend.note_interference(now, 1);
        let [(code, text)] = &found(&of, &status, now, &trend)[..] else { panic!() };
        assert_eq!(*code, "W603");
        assert!(text.starts_with("somebody else changes macsec0: encrypt is off"), "{text}");
        let at = |seconds| now.after(Duration::from_secs(seconds));
        trend.note_interference(at(100), 1);
        assert_eq!(found(&of, &status, at(599), &trend).len(), 1);
        assert_eq!(found(&of, &status, at(600), &trend), []);
    }

    #[test]
    fn offload_that_was_asked_for_and_refused_is_a_warning_and_a_note_where_it_was_optional() {
        let of = InKernel { offload_refused: Some("mac: Not supported"), ..ALONE };
        let (now, status) = secured(1, CipherSuite::GcmAes128);
        let trend = Trend::default();
        let [(code, text)] = &found(&of, &status, now, &trend)[..] else { panic!() };
        assert_eq!(*code, "W601");
        assert!(text.contains("mac: Not supported") && text.contains("ethtool -k eth1"), "{text}");
        let of = InKernel { offload_auto: true, ..of };
        assert_eq!(found(&of, &status, now, &trend)[0].0, "N601");
    }

    #[test]
    fn a_fault_of_the_kernel_in_xpn_is_told_where_xpn_is_in_use() {
        let kernel = Kernel::read("6.6.142", "").unwrap();
        let of = InKernel { kernel: Some(&kernel), ..ALONE };
        for (suite, told) in [(CipherSuite::GcmAes128, false), (CipherSuite::GcmAesXpn128, true)] {
            let (now, status) = secured(1, suite);
            let [(code, text)] = &found(&of, &status, now, &Trend::default())[..] else { panic!() };
            assert_eq!((*code, text.contains("CVE-2026-63925")), ("W604", told), "{text}");
        }
    }

    #[test]
    fn our_own_missing_sci_is_noted_unless_our_port_is_the_one_that_is_guessed() {
        let (_, status) = secured(1, CipherSuite::GcmAes128);
        assert_eq!(port_unsaid(&status, false), None);
        let sci = Sci::new(MacAddress([2, 0, 0, 0, 0, 1]), 2);
        let status = Status { sci, ..status };
        assert_eq!(port_unsaid(&status, true), None);
        let found = port_unsaid(&status, false).unwrap();
        assert_eq!(found.code, "N303");
        assert!(found.title.contains("our port is 2"), "{}", found.title);
    }
}
