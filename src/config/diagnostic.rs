//! What is wrong with a configuration, shown where it is.

use std::{fmt, ops::Range, sync::Arc};

use annotate_snippets::{
    Annotation, AnnotationKind, Group, Level, Origin, Renderer, Snippet, normalize_untrusted_str,
};

use super::redact::hide;

/// How bad it is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Severity {
    /// The configuration is refused.
    Error,
    /// It is taken, and an operator should know something about it.
    Warning,
}

macro_rules! codes {
    ($($(#[$doc:meta])+ $code:ident = $name:literal,)+) => {
        /// The rule that a configuration breaks. Its name stands in brackets in the message and
        /// does not change.
        #[derive(Clone, Copy, Debug, Eq, PartialEq, Ord, PartialOrd)]
        pub enum Code { $($(#[$doc])+ $code,)+ }

        impl Code {
            /// Every rule.
            pub const ALL: &'static [Self] = &[$(Self::$code,)+];

            /// The name of the rule.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$code => $name,)+ }
            }
        }
    };
}

codes! {
    /// The file cannot be read.
    Unreadable = "unreadable",
    /// Somebody may change the file who is neither root nor the user that reads it.
    Unprotected = "unprotected",
    /// The file is not UTF-8.
    NotText = "not-text",
    /// The text is not TOML.
    Syntax = "syntax",
    /// A key stands twice in one table.
    DuplicateKey = "duplicate-key",
    /// No key is called that here.
    UnknownKey = "unknown-key",
    /// A key that has no default is not there.
    MissingKey = "missing-key",
    /// A value has another type than its key wants.
    WrongType = "wrong-type",
    /// A word is none of those its key knows.
    UnknownValue = "unknown-value",
    /// A number is too small or too large.
    OutOfRange = "out-of-range",
    /// There are more of something than the daemon takes on.
    TooMany = "too-many",
    /// Text cannot be the name of an interface or a group, or the path of a socket.
    BadName = "bad-name",
    /// An interface is named twice.
    DuplicateInterface = "duplicate-interface",
    /// A cipher suite is named twice.
    DuplicateSuite = "duplicate-suite",
    /// Two settings exclude each other.
    Contradiction = "contradiction",
    /// Text is not hexadecimal.
    BadHex = "bad-hex",
    /// A CKN is too long.
    CknLength = "ckn-length",
    /// Two keys of a port have one name.
    DuplicateCkn = "duplicate-ckn",
    /// Two names of one CAK would give the same keys.
    CknTooAlike = "ckn-too-alike",
    /// A CAK is shorter than a key and is not to be padded.
    ShortCak = "short-cak",
    /// A CAK has a length that no key has.
    CakLength = "cak-length",
    /// A CAK is one of the names, which anybody on the link can read.
    CakInClear = "cak-in-clear",
    /// A CAK stands in a file that others can read.
    InlineCak = "inline-cak",
    /// A CAK comes from nowhere that is known.
    KeySource = "key-source",
    /// Something that a later version may do and this one cannot.
    NotInThisVersion = "not-in-this-version",
    /// The file of a key cannot be read, or should not be.
    KeyFile = "key-file",
    /// Warning: a CAK has been padded.
    PaddedCak = "padded-cak",
    /// Warning: a key is not as long as the far end wants it.
    UnusualLength = "unusual-length",
    /// Warning: a CAK is easy to guess.
    WeakCak = "weak-cak",
    /// Warning: this end never becomes key server.
    NeverServes = "never-serves",
    /// Warning: traffic passes in clear while there is no key.
    ClearAllowed = "clear-allowed",
    /// Warning: a receiver has to guess the SCI of our frames, and will guess wrong.
    PortUnsaid = "port-unsaid",
    /// Warning: packet numbers are in the hands of a network card.
    Offloaded = "offloaded",
    /// Warning: a key has a start that the port does not go by.
    StartUnheeded = "start-unheeded",
}

/// Where a configuration came from, and its text without its secrets.
#[derive(Clone, Eq, PartialEq)]
pub(crate) struct Source {
    pub(crate) path: Arc<str>,
    pub(crate) text: Arc<str>,
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Source({})", self.path)
    }
}

/// One thing that is wrong with a configuration, or that an operator should know about it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Diagnostic(Box<Parts>);

#[derive(Clone, Debug, Eq, PartialEq)]
struct Parts {
    severity: Severity,
    code: Code,
    title: String,
    span: Option<Range<usize>>,
    label: String,
    related: Option<(Range<usize>, String)>,
    notes: Vec<String>,
    help: String,
    source: Source,
}

impl Diagnostic {
    /// Starts an error. What it is made of never holds an octet of a key.
    pub(crate) fn error(code: Code, title: impl Into<String>) -> Self {
        Self::new(Severity::Error, code, title.into())
    }

    pub(crate) fn warning(code: Code, title: impl Into<String>) -> Self {
        Self::new(Severity::Warning, code, title.into())
    }

    fn new(severity: Severity, code: Code, title: String) -> Self {
        Self(Box::new(Parts {
            severity,
            code,
            title,
            span: None,
            label: String::new(),
            related: None,
            notes: Vec::new(),
            help: String::new(),
            source: Source { path: "".into(), text: "".into() },
        }))
    }

    /// Says what is underlined, and why.
    pub(crate) fn at(mut self, span: Range<usize>, label: impl Into<String>) -> Self {
        self.0.span = Some(span);
        self.0.label = label.into();
        self
    }

    /// Points at a second place.
    pub(crate) fn and(mut self, span: Range<usize>, label: impl Into<String>) -> Self {
        self.0.related = Some((span, label.into()));
        self
    }

    pub(crate) fn note(mut self, note: impl Into<String>) -> Self {
        self.0.notes.push(note.into());
        self
    }

    pub(crate) fn help(mut self, help: impl Into<String>) -> Self {
        self.0.help = help.into();
        self
    }

    fn within(mut self, source: Source) -> Self {
        self.0.source = source;
        self
    }

    /// Where it is, for sorting: what is about the whole file comes first.
    pub(crate) fn offset(&self) -> usize {
        self.0.span.as_ref().map_or(0, |span| span.start)
    }

    /// How bad it is.
    #[must_use]
    pub fn severity(&self) -> Severity {
        self.0.severity
    }

    /// The rule.
    #[must_use]
    pub fn code(&self) -> Code {
        self.0.code
    }

    /// What is wrong, in one line.
    #[must_use]
    pub fn title(&self) -> &str {
        &self.0.title
    }

    /// What to do about it.
    #[must_use]
    pub fn advice(&self) -> &str {
        &self.0.help
    }

    /// Line and column, both from 1; `None` where it is about the file as a whole.
    #[must_use]
    pub fn position(&self) -> Option<(usize, usize)> {
        let span = self.0.span.as_ref()?;
        let start = self.0.source.text.floor_char_boundary(span.start);
        let before = self.0.source.text.get(..start)?;
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        let column = before.get(line_start..)?.chars().count() + 1;
        Some((before.matches('\n').count() + 1, column))
    }

    /// Draws it with the lines it is about, in colour where wished.
    #[must_use]
    pub fn render(&self, color: bool) -> String {
        let level = match self.0.severity {
            Severity::Error => Level::ERROR,
            Severity::Warning => Level::WARNING,
        };
        let title =
            level.primary_title(normalize_untrusted_str(&self.0.title)).id(self.0.code.name());
        let mut group = Group::with_title(title);
        group = match &self.0.span {
            Some(span) => group.element(self.snippet(span)),
            None => group.element(Origin::path(normalize_untrusted_str(&self.0.source.path))),
        };
        for note in &self.0.notes {
            group = group.element(Level::NOTE.message(normalize_untrusted_str(note)));
        }
        if !self.0.help.is_empty() {
            group = group.element(Level::HELP.message(normalize_untrusted_str(&self.0.help)));
        }
        let renderer = if color { Renderer::styled() } else { Renderer::plain() };
        renderer.render(&[group]) + "\n"
    }

    /// Cuts out the lines it is about, so that the work does not grow with the file.
    fn snippet(&self, span: &Range<usize>) -> Snippet<'_, Annotation<'_>> {
        let text = &*self.0.source.text;
        let primary = on_one_line(text, span);
        let related = self.0.related.as_ref().map(|(span, label)| (on_one_line(text, span), label));
        let (first, last) = match &related {
            Some((other, _)) => (primary.start.min(other.start), primary.end.max(other.end)),
            None => (primary.start, primary.end),
        };
        let start = text.get(..first).and_then(|before| before.rfind('\n')).map_or(0, |at| at + 1);
        let end =
            text.get(last..).and_then(|after| after.find('\n')).map_or(text.len(), |n| last + n);
        let line = text.get(..start).map_or(1, |before| before.matches('\n').count() + 1);
        let local = |range: Range<usize>| range.start - start..range.end - start;
        let mark = |kind: AnnotationKind, span, label: &str| {
            let mark = kind.span(local(span));
            if label.is_empty() { mark } else { mark.label(normalize_untrusted_str(label)) }
        };
        // A carriage return would be drawn as a sign of its own.
        let lines = text.get(start..end).unwrap_or_default().replace('\r', " ");
        let mut snippet = Snippet::source(lines)
            .path(normalize_untrusted_str(&self.0.source.path))
            .line_start(line)
            .annotation(mark(AnnotationKind::Primary, primary, &self.0.label));
        if let Some((span, label)) = related {
            snippet = snippet.annotation(mark(AnnotationKind::Context, span, label));
        }
        snippet
    }
}

/// The part of a span that is on its first line, on character boundaries.
fn on_one_line(text: &str, span: &Range<usize>) -> Range<usize> {
    let start = text.floor_char_boundary(span.start);
    let end = text.floor_char_boundary(span.end).max(start);
    let inside = text.get(start..end).unwrap_or_default();
    let line = inside.split_once('\n').map_or(inside, |(first, _)| first);
    start..start + line.trim_end_matches('\r').len()
}

/// Quotes a piece of the configuration in a message, cut where it is long. A key that was put into
/// the wrong place is struck out.
pub(crate) fn quoted(text: &str) -> String {
    const MOST: usize = 40;
    let text = hide(text);
    let mut short: String = text.chars().take(MOST).collect();
    if short.len() < text.len() {
        short.push_str("...");
    }
    format!("`{}`", short.escape_debug())
}

/// Collects what is wrong, up to a limit.
pub(crate) struct Findings {
    source: Source,
    /// Where the lines end.
    newlines: Vec<usize>,
    found: Vec<Diagnostic>,
    left_out: usize,
}

impl Findings {
    /// The most that are kept: past that, the first ones are to be mended first.
    const MOST: usize = 100;

    pub(crate) fn new(source: Source) -> Self {
        let newlines = source.text.match_indices('\n').map(|(at, _)| at).collect();
        Self { source, newlines, found: Vec::new(), left_out: 0 }
    }

    pub(crate) fn push(&mut self, diagnostic: Diagnostic) {
        if self.found.len() >= Self::MOST && diagnostic.severity() == Severity::Error {
            self.left_out += 1;
            return;
        }
        self.found.push(diagnostic.within(self.source.clone()));
    }

    /// The line that an offset is on, from 1.
    pub(crate) fn line(&self, offset: usize) -> usize {
        self.newlines.partition_point(|newline| *newline < offset) + 1
    }

    /// How many errors there are so far.
    pub(crate) fn errors(&self) -> usize {
        let is_error = |found: &&Diagnostic| found.severity() == Severity::Error;
        self.found.iter().filter(is_error).count() + self.left_out
    }

    /// Ends the collection: the warnings where there is no error, else everything.
    pub(crate) fn finish(mut self) -> Result<Vec<Diagnostic>, ConfigError> {
        self.found.sort_by_key(Diagnostic::offset);
        if self.found.iter().any(|found| found.severity() == Severity::Error) {
            Err(ConfigError { diagnostics: self.found, left_out: self.left_out })
        } else {
            Ok(self.found)
        }
    }
}

/// A configuration that is refused, with everything that is wrong with it, in the file's order.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ConfigError {
    diagnostics: Vec<Diagnostic>,
    left_out: usize,
}

impl ConfigError {
    pub(crate) fn single(diagnostic: Diagnostic, source: Source) -> Self {
        Self { diagnostics: vec![diagnostic.within(source)], left_out: 0 }
    }

    /// Everything that is wrong, and every warning; there is at least one error.
    #[must_use]
    pub fn diagnostics(&self) -> &[Diagnostic] {
        &self.diagnostics
    }

    /// Draws everything, in colour where wished.
    #[must_use]
    pub fn render(&self, color: bool) -> String {
        let mut text = render(&self.diagnostics, color);
        if self.left_out > 0 {
            text.push_str(&format!("\nand {} more errors\n", self.left_out));
        }
        text
    }
}

/// Says the first thing that is wrong, in a line.
impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let is_error = |found: &&Diagnostic| found.severity() == Severity::Error;
        let Some(first) = self.diagnostics.iter().find(is_error) else {
            return f.write_str("the configuration is refused");
        };
        let path = &first.0.source.path;
        match first.position() {
            Some((line, column)) => write!(f, "{path}:{line}:{column}: {}", first.title()),
            None => write!(f, "{path}: {}", first.title()),
        }
    }
}

impl std::error::Error for ConfigError {}

/// Draws several, an empty line between them.
#[must_use]
pub fn render(diagnostics: &[Diagnostic], color: bool) -> String {
    let drawn: Vec<_> = diagnostics.iter().map(|found| found.render(color)).collect();
    drawn.join("\n")
}
