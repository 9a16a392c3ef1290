//! What came of a case, and the table of all.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::frames::Count;

/// Who meets whom, and in what.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub(crate) struct Label {
    pub(crate) peer: String,
    pub(crate) plane: String,
    pub(crate) role: String,
    pub(crate) suite: String,
    pub(crate) what: String,
}

/// What a case that passed has measured.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Outcome {
    /// How long it took until frames passed both ways; where nothing was to pass, `None`.
    pub(crate) secured_ms: Option<f64>,
    pub(crate) sent: u64,
    pub(crate) lost: u64,
    /// What else there is to say.
    pub(crate) note: String,
}

/// A line of the table.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Row {
    pub(crate) label: Label,
    /// What was measured, or why it failed.
    pub(crate) result: Result<Outcome, String>,
    /// How long it all took.
    pub(crate) seconds: f64,
}

impl Outcome {
    /// Frames passed after `took`.
    pub(crate) fn secured(took: Duration) -> Self {
        Self { secured_ms: Some(millis(took)), ..Self::default() }
    }

    /// With these frames.
    pub(crate) fn with(mut self, count: Count) -> Self {
        self.sent += count.sent;
        self.lost += count.lost;
        self
    }

    /// With a note.
    pub(crate) fn noting(mut self, note: impl Into<String>) -> Self {
        self.note = note.into();
        self
    }
}

/// Several times of the same, of which the one in the middle counts.
pub(crate) struct Median {
    pub(crate) ms: f64,
    sorted: Vec<f64>,
}

impl Median {
    /// Of an odd number of times.
    pub(crate) fn of(mut times: Vec<f64>) -> Self {
        times.sort_by(f64::total_cmp);
        Self { ms: times[times.len() / 2], sorted: times }
    }
}

impl fmt::Display for Median {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let all: Vec<_> = self.sorted.iter().map(|ms| format!("{ms:.0}")).collect();
        write!(f, "{:.0} ms ({})", self.ms, all.join(" "))
    }
}

pub(crate) fn millis(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1000.0
}

impl Label {
    /// A name to ask for the case by.
    pub(crate) fn name(&self) -> String {
        let Self { peer, plane, role, suite, what } = self;
        format!("{peer}/{plane}/{role}/{suite}/{what}").replace(' ', "-")
    }
}

const HEADER: [&str; 8] =
    ["peer", "our dataplane", "role", "suite", "case", "secured", "sent", "lost"];
const WIDTHS: [usize; 8] = [14, 17, 10, 15, 31, 8, 6, 4];

/// The line above the table.
pub(crate) fn header() -> String {
    let titles = HEADER.iter().zip(WIDTHS).map(|(title, width)| format!("{title:<width$}"));
    titles.collect::<Vec<_>>().join("  ") + "  note"
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Label { peer, plane, role, suite, what } = &self.label;
        let [a, b, c, d, e, g, h, i] = WIDTHS;
        write!(f, "{peer:<a$}  {plane:<b$}  {role:<c$}  {suite:<d$}  {what:<e$}  ")?;
        match &self.result {
            Ok(Outcome { secured_ms, sent, lost, note }) => {
                let secured = secured_ms.map_or_else(|| "-".to_owned(), |ms| format!("{ms:.0} ms"));
                write!(f, "{secured:>g$}  {sent:>h$}  {lost:>i$}  {note}")
            }
            Err(why) => write!(f, "FAILED: {why}"),
        }
    }
}
