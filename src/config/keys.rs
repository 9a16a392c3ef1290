//! The keys of the configuration file, and how to guess which one was meant.

use std::ops::Range;

use toml::de::DeTable;

use super::{
    diagnostic::{Code, Diagnostic, Findings, quoted},
    values::example,
};

/// A kind of table.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Place {
    /// The top of the file.
    Top,
    /// A `[[port]]`.
    Port,
    /// A `[[port.key]]`.
    PortKey,
}

impl Place {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Top, Self::Port, Self::PortKey];

    /// Every key that may stand there, in the order of the documentation.
    #[must_use]
    pub const fn keys(self) -> &'static [&'static str] {
        match self {
            Self::Top => &["control-socket", "control-group", "log-level", "port"],
            Self::Port => &[
                "interface",
                "profile",
                "secure-interface",
                "cipher-suites",
                "dataplane",
                "offload",
                "delete-on-stop",
                "include-sci",
                "key-server-priority",
                "policy",
                "replay-protect",
                "replay-window",
                "confidentiality",
                "confidentiality-offset",
                "port-id",
                "rekey-seconds",
                "rekey-gigabytes",
                "eapol-destination",
                "eapol-ethertype",
                "delay-protect",
                "announce-suites",
                "icv-indicator",
                "mka-version",
                "mka-hello-seconds",
                "mka-life-seconds",
                "lone-key-latest",
                "ssci-order",
                "cak-padding",
                "rotation",
                "pair",
                "key",
            ],
            Self::PortKey => &["ckn", "cak", "start"],
        }
    }

    const fn phrase(self) -> &'static str {
        match self {
            Self::Top => "at the top of the file, before the first `[[port]]`",
            Self::Port => "in a `[[port]]`",
            Self::PortKey => "in a `[[port.key]]`",
        }
    }
}

/// What other software calls the same.
const ALIASES: &[(&str, &str)] = &[
    ("mka-ckn", "ckn"),
    ("mka-cak", "cak"),
    ("mka-priority", "key-server-priority"),
    ("macsec-csindex", "cipher-suites"),
    ("macsec-port", "port-id"),
    ("macsec-offload", "offload"),
    ("macsec-replay-protect", "replay-protect"),
    ("macsec-replay-window", "replay-window"),
    ("macsec-cipher", "cipher-suites"),
    ("cipher", "cipher-suites"),
    ("send-sci", "include-sci"),
    ("sci-state", "include-sci"),
    ("sak-rekey-interval", "rekey-seconds"),
    ("window-size", "replay-window"),
    ("parent", "interface"),
    ("name", "ckn"),
    ("key", "cak"),
    ("cka", "cak"),
    ("start-time", "start"),
    ("sister", "pair"),
];

/// Refuses every key of `table` that may not stand there, and says `needed` ones that are missing,
/// unless another key seems to be a slip for one. `header` is where the table starts.
pub(crate) fn check_keys(
    table: &DeTable<'_>,
    place: Place,
    header: &Range<usize>,
    needed: &[&str],
    findings: &mut Findings,
) {
    let mut meant = Vec::new();
    for (key, _) in table {
        if !place.keys().contains(&&**key.get_ref()) {
            let guess = guess(key.get_ref(), place);
            findings.push(unknown_key(key.get_ref(), key.span(), place, guess));
            meant.extend(guess);
        }
    }
    for key in needed {
        if !table.contains_key(*key) && !meant.contains(key) {
            findings.push(missing(key, header.clone(), &example(key)));
        }
    }
}

/// Says that a table lacks a key; `span` is its header.
pub(crate) fn missing(key: &str, span: Range<usize>, example: &str) -> Diagnostic {
    Diagnostic::error(Code::MissingKey, format!("`{key}` is missing"))
        .at(span, "there is none here")
        .help(format!("add a line such as `{example}`"))
}

/// Guesses which key of a place was meant.
fn guess(key: &str, place: Place) -> Option<&'static str> {
    let name = normal(key);
    let is_alias = |(alias, known): &&(&str, &str)| *alias == name && place.keys().contains(known);
    let known = ALIASES.iter().find(is_alias).map(|(_, known)| *known);
    known.or_else(|| nearest(key, place.keys().iter().copied()))
}

fn unknown_key(key: &str, span: Range<usize>, place: Place, guess: Option<&str>) -> Diagnostic {
    let error = Diagnostic::error(Code::UnknownKey, format!("unknown key {}", quoted(key)));
    if let Some(meant) = guess {
        return error.at(span, format!("did you mean `{meant}`?")).help(format!("write `{meant}`"));
    }
    let name = normal(key);
    let label = format!("no such key {}", place.phrase());
    if let Some(elsewhere) = Place::ALL.into_iter().find(|place| place.keys().contains(&&*name)) {
        let help = format!("`{name}` belongs {}; move it there", elsewhere.phrase());
        return error.at(span, label).help(help);
    }
    let known = place.keys().join("`, `");
    error.at(span, label).help(format!("the keys here are `{known}`"))
}

fn normal(word: &str) -> String {
    word.to_ascii_lowercase().replace('_', "-")
}

/// Finds the known word that was probably meant.
pub(crate) fn nearest<'a>(word: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    // The comparison takes time in proportion to both lengths.
    const LONGEST: usize = 40;
    if word.len() > LONGEST {
        return None;
    }
    let word = normal(word);
    let distance = |known: &str| strsim::damerau_levenshtein(&word, known);
    let near = |known: &&str| {
        let begins = word.len().min(known.len()) >= 4
            && (known.starts_with(&*word) || word.starts_with(*known));
        begins || distance(known) <= known.len().max(word.len()) / 3
    };
    known.filter(near).min_by_key(|known| distance(known))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_finds_the_key_that_was_meant() {
        let meant = |word| nearest(word, Place::Port.keys().iter().copied());
        assert_eq!(meant("cipher-suite"), Some("cipher-suites"));
        assert_eq!(meant("replay_window"), Some("replay-window"));
        assert_eq!(meant("REPLAY-WINDW"), Some("replay-window"));
        assert_eq!(meant("conf"), Some("confidentiality"));
        assert_eq!(meant("mtu"), None);
        assert_eq!(meant(&"replay-window".repeat(1000)), None);
    }

    #[test]
    fn every_other_name_is_for_a_key_that_there_is() {
        for (alias, known) in ALIASES {
            assert!(Place::ALL.iter().any(|place| place.keys().contains(known)), "{alias}");
        }
    }
}
