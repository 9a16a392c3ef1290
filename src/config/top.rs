//! The whole file.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Range,
    path::{Path, PathBuf},
    sync::Arc,
};

use toml::de::{DeTable, Error};

use super::{
    DEFAULT_GROUP, DEFAULT_SOCKET, FILE_MAX, PORTS_MAX,
    diagnostic::{Code, ConfigError, Diagnostic, Findings, Source, quoted},
    keys::{Place, check_keys},
    port::{Context, Named, PortConfig, PortDraft, read_port},
    reader::KeyReader,
    redact::redact,
    rotation::check_pairs,
    values::{self, Tables, Value, example},
};
use crate::profile::Word;

/// A configuration without a fault.
#[derive(Debug)]
#[non_exhaustive]
pub struct Config {
    /// The ports, in the file's order; at least one.
    pub ports: Vec<PortConfig>,
    /// The control socket.
    pub control: ControlConfig,
    /// How much is logged.
    pub log_level: LogLevel,
}

/// The control socket.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ControlConfig {
    /// Where it is.
    pub socket: PathBuf,
    /// The group that may ask for the status; only root changes anything.
    pub group: String,
}

impl Default for ControlConfig {
    fn default() -> Self {
        Self { socket: DEFAULT_SOCKET.into(), group: DEFAULT_GROUP.to_owned() }
    }
}

/// How much is logged.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum LogLevel {
    /// What ends the daemon.
    Error,
    /// What wants a human.
    Warn,
    /// A port's change of state.
    #[default]
    Info,
    /// Every refusal.
    Debug,
    /// Every packet.
    Trace,
}

impl Word for LogLevel {
    const ALL: &'static [Self] = &[Self::Error, Self::Warn, Self::Info, Self::Debug, Self::Trace];

    fn name(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warn => "warn",
            Self::Info => "info",
            Self::Debug => "debug",
            Self::Trace => "trace",
        }
    }
}

impl Config {
    /// The interface of the port that carries the same traffic as another, whichever of the two
    /// names the other.
    #[must_use]
    pub fn sister(&self, interface: &str) -> Option<&str> {
        let named = self.port(interface)?.pair.as_deref();
        let naming = self.ports.iter().find(|port| port.pair.as_deref() == Some(interface));
        named.or_else(|| naming.map(|port| port.interface.as_str()))
    }

    /// The port on an interface.
    #[must_use]
    pub fn port(&self, interface: &str) -> Option<&PortConfig> {
        self.ports.iter().find(|port| port.interface == interface)
    }
}

/// Reads a configuration from its text.
///
/// `path` is for messages only; `mode` are the permission bits of the file, since a CAK may stand
/// in a file only if nobody else can read it.
///
/// # Errors
///
/// Everything that is wrong with it. No octet of a key is in there.
pub fn parse(
    text: &str,
    path: &Path,
    mode: u32,
    reader: &dyn KeyReader,
) -> Result<(Config, Vec<Diagnostic>), ConfigError> {
    let draft = examine(text, path, mode, Some(reader));
    let warnings = draft.findings.finish()?;
    let ports = draft.ports.into_iter().filter_map(PortDraft::finish).collect();
    Ok((Config { ports, control: draft.control, log_level: draft.log_level }, warnings))
}

/// A configuration as far as it could be read, with what is wrong with it.
pub(crate) struct ConfigDraft {
    pub(crate) ports: Vec<PortDraft>,
    pub(crate) control: ControlConfig,
    pub(crate) log_level: LogLevel,
    pub(crate) findings: Findings,
}

/// Reads as much as can be read; without a `reader`, keys outside the text are left alone.
pub(crate) fn examine(
    text: &str,
    path: &Path,
    mode: u32,
    reader: Option<&dyn KeyReader>,
) -> ConfigDraft {
    let path: Arc<str> = path.display().to_string().into();
    let (ports, control, log_level) = (Vec::new(), ControlConfig::default(), LogLevel::default());
    if text.len() > FILE_MAX {
        let mut findings = Findings::new(Source { path, text: "".into() });
        let title = format!("the file is larger than {FILE_MAX} octets");
        findings.push(
            Diagnostic::error(Code::TooMany, title).help("name the configuration of this daemon"),
        );
        return ConfigDraft { ports, control, log_level, findings };
    }
    let (table, errors) = DeTable::parse_recoverable(text);
    let shown = redact(text, table.get_ref());
    let mut draft = ConfigDraft {
        ports,
        control,
        log_level,
        findings: Findings::new(Source { path, text: shown.into() }),
    };
    if syntax(&errors, &mut draft.findings) {
        let context = Context { is_open: mode & 0o077 != 0, reader, text };
        read_top(table.get_ref(), &context, &mut draft);
    }
    draft
}

/// Reports what is not TOML; tells whether the rest means what it says all the same.
fn syntax(errors: &[Error], findings: &mut Findings) -> bool {
    let mut sound = true;
    let mut lines = BTreeSet::new();
    for error in errors {
        let span = error.span().unwrap_or(0..0);
        // What follows on the line of an error is mostly its consequence.
        let line = findings.line(span.start);
        if !lines.insert(line) {
            continue;
        }
        if error.message() == "duplicate key" {
            findings.push(
                Diagnostic::error(Code::DuplicateKey, "this key stands twice in one table")
                    .at(span, "again")
                    .help("remove one of the two; a further port starts with `[[port]]`"),
            );
            continue;
        }
        sound = false;
        findings.push(
            Diagnostic::error(Code::Syntax, "this is not TOML")
                .at(span, error.message())
                .help(syntax_help(error.message())),
        );
    }
    sound
}

fn syntax_help(message: &str) -> &'static str {
    if message.contains("must be quoted") {
        "put the value in double quotes"
    } else if message.starts_with("unclosed") {
        "a header has as many closing brackets as opening ones"
    } else if message.contains("string") {
        "a string ends on its line, with the quote it started with"
    } else {
        "see https://toml.io for what can stand here"
    }
}

fn read_top(table: &DeTable<'_>, context: &Context<'_>, draft: &mut ConfigDraft) {
    check_keys(table, Place::Top, &(0..0), &[], &mut draft.findings);
    for (key, value) in table {
        let result = match &**key.get_ref() {
            "control-socket" => socket(value).map(|socket| draft.control.socket = socket),
            "control-group" => group(value).map(|group| draft.control.group = group),
            "log-level" => values::word("log-level", value).map(|level| draft.log_level = level),
            _ => Ok(()),
        };
        result.unwrap_or_else(|error| draft.findings.push(error));
    }
    let Some(value) = table.get("port") else {
        let help = "add `[[port]]` with `interface`, and `[[port.key]]` with `ckn` and `cak`";
        let error = Diagnostic::error(Code::MissingKey, "there is no `[[port]]`").help(help);
        return draft.findings.push(error);
    };
    let ports = Tables {
        key: "port",
        header: "[[port]]",
        most: PORTS_MAX,
        advice: "spread them over several daemons",
    };
    for (header, table) in ports.read(value, &mut draft.findings) {
        draft.ports.push(read_port(table, header, context, &mut draft.findings));
    }
    name_secure_interfaces(draft);
    duplicate_interfaces(draft);
    check_pairs(&draft.ports, &mut draft.findings);
}

fn socket(value: &Value<'_>) -> Result<PathBuf, Diagnostic> {
    /// What fits into the address of a Unix socket, without the zero at the end.
    const LONGEST: usize = 107;
    let text = values::text("control-socket", value)?;
    let reason = if !text.starts_with('/') {
        "it does not start with `/`"
    } else if text.len() > LONGEST {
        "it has more than 107 octets"
    } else if text.contains(char::is_control) {
        "it has a control character"
    } else {
        return Ok(text.into());
    };
    Err(Diagnostic::error(Code::BadName, "this cannot be the path of a socket")
        .at(value.span(), reason)
        .help(format!("write an absolute path, as in `{}`", example("control-socket"))))
}

fn group(value: &Value<'_>) -> Result<String, Diagnostic> {
    /// What `groupadd` takes.
    const LONGEST: usize = 32;
    let text = values::text("control-group", value)?;
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
    if !text.is_empty()
        && text.len() <= LONGEST
        && !text.starts_with('-')
        && text.chars().all(is_plain)
    {
        return Ok(text.to_owned());
    }
    Err(Diagnostic::error(Code::BadName, format!("{} cannot be the name of a group", quoted(text)))
        .at(value.span(), "1 to 32 letters, digits and `_`, `-`, `.`")
        .help("`getent group` lists the groups there are"))
}

/// Gives the secure interface of an only port its usual name. With several ports each has to say
/// its own: a name counted up from the order would move to another link with the next edit.
fn name_secure_interfaces(draft: &mut ConfigDraft) {
    if let [port] = draft.ports.as_mut_slice() {
        let named = |named: &Named| Named { name: "macsec0".to_owned(), span: named.span.clone() };
        let default = port.interface.as_ref().map(named);
        port.secure_interface = port.secure_interface.take().or(default);
        return;
    }
    let taken: BTreeSet<_> = draft
        .ports
        .iter()
        .flat_map(|port| [&port.interface, &port.secure_interface])
        .filter_map(|named| named.as_ref().map(|named| named.name.as_str()))
        .collect();
    let mut free =
        (0..).map(|number| format!("macsec{number}")).filter(|name| !taken.contains(&**name));
    for port in draft.ports.iter().filter(|port| !port.names_secure_interface) {
        let name = free.next().unwrap_or_default();
        draft.findings.push(
            Diagnostic::error(Code::MissingKey, "`secure-interface` is missing")
                .at(port.header.clone(), "with several ports, each one needs its own")
                .note("routes and addresses hang on this name, so it is not made up from the order")
                .help(format!(
                    "add a line such as `secure-interface = \"{name}\"`; the only port of a file \
                     has `macsec0`"
                )),
        );
    }
}

/// Refuses an interface that has two jobs.
fn duplicate_interfaces(draft: &mut ConfigDraft) {
    let mut seen: BTreeMap<&str, (&Range<usize>, &str)> = BTreeMap::new();
    for port in &draft.ports {
        let names = [(&port.interface, "interface"), (&port.secure_interface, "secure-interface")];
        for (named, job) in names {
            let Some(Named { name, span }) = named else { continue };
            let Some((first, its_job)) = seen.get(name.as_str()) else {
                seen.insert(name, (span, job));
                continue;
            };
            draft.findings.push(
                Diagnostic::error(
                    Code::DuplicateInterface,
                    format!("{} is named twice", quoted(name)),
                )
                .at(span.clone(), format!("here it is `{job}`"))
                .and((*first).clone(), format!("here it is `{its_job}`"))
                .help("each port has an interface of its own, and makes another one"),
            );
        }
    }
}
