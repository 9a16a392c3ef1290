//! What is said of a change of key: how it stands, what comes next, and what it would cost.

use std::fmt::Write as _;

use super::view::{KeyView, Stage, View};
use crate::config::RotationChoice;
use crate::profile::Word as _;

/// The end of a name, which is what differs.
pub(super) fn tail(ckn: &str) -> String {
    const DIGITS: usize = 8;
    let cut = ckn.len().saturating_sub(DIGITS);
    let shown = ckn.get(cut..).unwrap_or(ckn);
    format!("{}{shown}", if cut > 0 { "…" } else { "" })
}

/// How the keys of a port stand.
pub(super) fn standing(view: &View) -> String {
    let secured = if view.secured { "secured" } else { "NOT SECURED" };
    let mut text = format!("{}: {secured}, rotation {}\n", view.interface, view.rotation.name());
    for (index, key) in view.keys.iter().enumerate() {
        let _ = writeln!(text, "  {}  {}", tail(&key.ckn), key_words(view, index, key));
    }
    if let Some(took) = view.last_switch_ms {
        let _ = writeln!(text, "  the last change of key took {took:.1} ms");
    }
    if let Some((sister, secured)) = &view.sister {
        let word = if *secured { "secured" } else { "NOT SECURED" };
        let _ = writeln!(text, "  the other port of the pair, {sister}, is {word}");
    }
    text
}

fn key_words(view: &View, index: usize, key: &KeyView) -> String {
    let mut words = Vec::new();
    if key.in_use {
        words.push("in use".to_owned());
    } else if let Some(start) = key.to_come {
        words.push(format!("starts {start}"));
    } else if index == 0 && view.keys.len() > 1 {
        words.push("staged".to_owned());
    } else {
        words.push("standing by".to_owned());
    }
    words.push(match (key.armed, key.live_peers) {
        (false, _) => "not known to the daemon".to_owned(),
        (true, 0) => "the far end does not speak it".to_owned(),
        (true, _) => "the far end speaks it".to_owned(),
    });
    words.join(", ")
}

/// What comes next, in order.
pub(super) fn next(view: &View) -> Vec<String> {
    let port = &view.interface;
    let stage_it = format!(
        "`macsecctl keygen FILE` makes a key; `macsecctl rotate stage {port} --ckn HEX --cak \
         file:FILE` has this end listen to it beside the old one."
    );
    let commit = format!("`macsecctl rotate commit {port}` takes the old key out of this end.");
    let mut steps = Vec::new();
    if let Some((sister, false)) = &view.sister {
        steps.push(format!(
            "Wait until {sister} is secured: with both ports dark all traffic stops."
        ));
    }
    match view.stage() {
        Stage::Dark => {
            steps.push(format!(
                "{port} is not secured: `macsecctl status {port}` says why. A key that the far end \
                 speaks, and that is staged here, is taken up at once."
            ));
        }
        Stage::Idle => {
            steps.extend([stage_it, far_end(view), commit]);
        }
        Stage::Staged => {
            let ckn = view.newest().map(|key| tail(&key.ckn)).unwrap_or_default();
            steps.push(far_end(view));
            steps.push(format!(
                "This end changes to {ckn} by itself; `macsecctl rotate plan {port}` shows when it has."
            ));
            steps.push(commit);
            steps.push(format!("Or `macsecctl rotate abort {port}` takes the new key out again."));
        }
        Stage::Switched => steps.push(commit),
    }
    if let Some((sister, true)) = &view.sister
        && view.stage() != Stage::Dark
    {
        steps.push(format!("Then the same for {sister}, which carries the traffic meanwhile."));
    }
    steps
}

/// What is to be done at the far end.
pub(super) fn far_end(view: &View) -> String {
    match view.profile {
        Some("azure-expressroute-direct") => {
            "Far end: put CKN and CAK into Key Vault as new versions, and set both on this link of \
             the port (`az network express-route port link update` with \
             --macsec-ckn-secret-identifier and --macsec-cak-secret-identifier)."
        }
        Some("aws-direct-connect") => {
            "Far end: `aws directconnect associate-mac-sec-key` with the same CKN and CAK."
        }
        Some("gcp-interconnect") => {
            "Far end: Google makes the key and gives its start; stage that key with --start."
        }
        Some(_) | None => {
            "Far end: add the same CKN and CAK; there, too, beside the old key if it can."
        }
    }
    .to_owned()
}

/// What a change costs.
pub(super) const fn cost(rotation: RotationChoice) -> &'static str {
    match rotation {
        RotationChoice::FollowPeer => {
            "Lost: what the far end cannot send or receive while it changes its only key, and \
             nothing more; nothing at all where it holds both keys for a while."
        }
        RotationChoice::NewestWithFallback
        | RotationChoice::StartTime
        | RotationChoice::PrimaryFallback => {
            "Lost: nothing, as long as both ends have one key in common at any time."
        }
    }
}

/// Steps as text.
pub(super) fn numbered(steps: &[String]) -> String {
    let mut text = String::new();
    for (index, step) in steps.iter().enumerate() {
        let _ = writeln!(text, "  {}. {step}", index + 1);
    }
    text
}
