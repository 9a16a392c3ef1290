//! Profiles as text, for `macsecctl profile`.

use std::fmt::Write as _;

use super::{Basis, CakRule, DEFAULTS, LinkSettings, PROFILES, Profile, ProfileValue};

/// Lists the profiles, a line each.
#[must_use]
pub fn list() -> String {
    let width = PROFILES.iter().map(|profile| profile.name.len()).max().unwrap_or(0);
    let line = |profile: &Profile| format!("{:width$}  {}\n", profile.name, profile.summary);
    PROFILES.iter().map(line).collect()
}

/// Shows every setting that a profile amounts to, with where it comes from.
///
/// The text is TOML and may be pasted below a `[[port]]`. Without a profile it shows the defaults.
#[must_use]
pub fn show(profile: Option<&Profile>) -> String {
    let mut text = String::new();
    let title = profile.map_or_else(
        || "The settings of a port that names no profile.".to_owned(),
        |profile| format!("{}: {}.", profile.name, profile.summary),
    );
    comment(&mut text, &title);
    if let Some(profile) = profile {
        for note in rules(profile).iter().map(String::as_str).chain(profile.notes.iter().copied()) {
            text.push_str("#\n");
            comment(&mut text, note);
        }
        let _ = writeln!(text, "\nprofile = \"{}\"", profile.name);
    }
    for setting in LinkSettings::with_profile(profile).to_settings() {
        text.push('\n');
        let own = profile.and_then(|profile| profile.value(setting.key()));
        let default = DEFAULTS.iter().find(|value| value.setting.key() == setting.key());
        match (own, default) {
            (Some(value), _) => basis(&mut text, value, "chosen"),
            (None, Some(value)) => basis(&mut text, value, "default"),
            (None, None) => {}
        }
        let _ = writeln!(text, "{} = {setting}", setting.key());
    }
    text
}

/// What a profile says about keys, as sentences.
fn rules(profile: &Profile) -> Vec<String> {
    let cak = match profile.cak {
        CakRule::Any => None,
        CakRule::AsSuite => Some("A CAK is as long as the cipher suite's key.".to_owned()),
        CakRule::Octets(octets) => Some(format!("A CAK has {octets} octets.")),
    };
    let ckn = profile.ckn_octets.map(|octets| format!("A CKN has {octets} octets."));
    cak.into_iter().chain(ckn).collect()
}

fn basis(text: &mut String, value: &ProfileValue, ours: &str) {
    match value.basis {
        Basis::Published { says, url } => {
            comment(text, &format!("published: {says}"));
            let _ = writeln!(text, "# {url}");
        }
        Basis::Chosen { because } => comment(text, &format!("{ours}: {because}")),
    }
}

/// Writes a comment, broken into lines of at most 80 columns where its words allow it.
fn comment(text: &mut String, words: &str) {
    const WIDTH: usize = 80;
    let mut line = "#".to_owned();
    for word in words.split_whitespace() {
        if line.len() + 1 + word.len() > WIDTH {
            let _ = writeln!(text, "{line}");
            "#".clone_into(&mut line);
        }
        let _ = write!(line, " {word}");
    }
    let _ = writeln!(text, "{line}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_profile_is_in_the_list() {
        assert_eq!(list().lines().count(), PROFILES.len());
        assert!(list().contains("\nazure-expressroute-direct  the customer's end of"));
    }

    #[test]
    fn no_comment_is_too_wide_unless_it_is_an_address() {
        for profile in PROFILES.iter().map(Some).chain([None]) {
            for line in show(profile).lines().filter(|line| line.starts_with('#')) {
                assert!(line.len() <= 80 || line.starts_with("# https:"), "{line}");
            }
        }
    }

    #[test]
    fn a_value_is_shown_below_what_it_rests_on() {
        let text = show(Profile::find("gcp-interconnect"));
        assert!(text.contains(
            "\n# published: 15 for the customer's router\n# https://cloud.google.com/network-\
             connectivity/docs/interconnect/how-to/macsec/set-up\nkey-server-priority = 15\n"
        ));
        assert!(text.contains("\n# default: what a receiver assumes where a frame carries no SCI"));
    }
}
