//! Configurations, as an operator would write them.

use std::fmt::Write as _;

use crate::rig::{CABLE, SECURE};

/// A configuration with one port, unless more is said.
#[derive(Clone, Debug)]
pub(crate) struct Config {
    suites: String,
    /// The lines of the port, before its keys.
    lines: String,
    /// Name and key, both in hex; newest first.
    keys: Vec<(String, String)>,
    /// What follows.
    more: String,
}

/// A key of either length, different for each seed.
pub(crate) fn cak(seed: u8, octets: usize) -> String {
    (0..octets).map(|index| format!("{:02x}", index ^ usize::from(seed))).collect()
}

impl Config {
    /// One port, one suite, one key of the suite's length.
    pub(crate) fn new(suite: &str) -> Self {
        let octets = if suite.ends_with("256") { 32 } else { 16 };
        Self {
            suites: suite.to_owned(),
            lines: String::new(),
            keys: vec![("0badc0de".to_owned(), cak(1, octets))],
            more: String::new(),
        }
    }

    /// Adds a line to the port.
    pub(crate) fn with(mut self, line: &str) -> Self {
        writeln!(self.lines, "{line}").unwrap();
        self
    }

    /// Replaces the keys.
    pub(crate) fn with_keys(mut self, keys: &[(&str, &str)]) -> Self {
        let owned = |&(ckn, cak): &(&str, &str)| (ckn.to_owned(), cak.to_owned());
        self.keys = keys.iter().map(owned).collect();
        self
    }

    /// Adds text at the end.
    pub(crate) fn followed_by(mut self, text: &str) -> Self {
        self.more.push_str(text);
        self
    }

    /// The file. Frames are protected in userspace, which every machine can do, unless a line of the
    /// port says otherwise.
    pub(crate) fn text(&self) -> String {
        let Self { suites, lines, keys, more } = self;
        let dataplane =
            if lines.contains("dataplane") { "" } else { "dataplane = \"userspace\"\n" };
        let mut text = format!(
            "[[port]]\ninterface = \"{CABLE}\"\nsecure-interface = \"{SECURE}\"\n\
             cipher-suites = [\"{suites}\"]\n{lines}{dataplane}"
        );
        for (ckn, cak) in keys {
            write!(text, "\n[[port.key]]\nckn = \"{ckn}\"\ncak = \"{cak}\"\n").unwrap();
        }
        text + more
    }
}
