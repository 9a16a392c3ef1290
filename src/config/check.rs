//! `macsecctl check`: says offline whether the daemon would take a configuration, and as what.

use std::{fmt::Write as _, path::Path};

use super::{
    Origin, Severity, SystemKeys,
    diagnostic::{Diagnostic, render},
    file,
    key::is_reference,
    port::{PortDraft, explain},
    port_key::KeyDraft,
    reader::KeyReader,
    redact::hide,
    top::{ConfigDraft, examine},
};
use crate::profile::{OffloadChoice, Word as _};

/// The exit code of a configuration that the daemon would take.
pub const EXIT_GOOD: u8 = 0;

/// The exit code of one that it would refuse: `EX_CONFIG` of sysexits(3), the daemon's own.
pub const EXIT_REFUSED: u8 = 78;

/// How a configuration is looked at.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct CheckOptions {
    /// Whether the keys are read too; without, a file can be checked on another machine.
    pub read_keys: bool,
    /// Whether every setting is shown with where it comes from.
    pub explain: bool,
    /// Whether to colour.
    pub color: bool,
}

/// What came of it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct CheckReport {
    /// For people. No octet of a key is in there.
    pub text: String,
    /// [`EXIT_GOOD`] or [`EXIT_REFUSED`].
    pub exit_code: u8,
}

/// Looks at a configuration file.
#[must_use]
pub fn check(path: &Path, options: CheckOptions) -> CheckReport {
    match file::read(path) {
        Ok(file) => {
            let keys = options.read_keys.then(SystemKeys::from_env);
            let reader = keys.as_ref().map(|keys| keys as &dyn KeyReader);
            check_text(&file.text, path, file.mode, reader, options)
        }
        Err(error) => {
            let text = refused(&error.render(options.color), error.diagnostics(), path);
            CheckReport { text, exit_code: EXIT_REFUSED }
        }
    }
}

/// Looks at the text of a configuration; without a `reader`, keys outside of it are left alone.
#[must_use]
pub fn check_text(
    text: &str,
    path: &Path,
    mode: u32,
    reader: Option<&dyn KeyReader>,
    options: CheckOptions,
) -> CheckReport {
    let ConfigDraft { ports, findings, .. } = examine(text, path, mode, reader);
    let warnings = match findings.finish() {
        Ok(warnings) => warnings,
        Err(error) => {
            let text = refused(&error.render(options.color), error.diagnostics(), path);
            return CheckReport { text, exit_code: EXIT_REFUSED };
        }
    };
    let mut text = render(&warnings, options.color);
    if !warnings.is_empty() {
        text.push('\n');
    }
    let counted = match warnings.len() {
        0 => String::new(),
        warnings => format!(", {}", count(warnings, "warning")),
    };
    let keys = ports.iter().map(|port| port.keys.len()).sum();
    let (ports_counted, keys) = (count(ports.len(), "port"), count(keys, "key"));
    let _ = writeln!(text, "{}: good, {ports_counted}, {keys}{counted}", path.display());
    for port in &ports {
        describe(&mut text, port, options.explain);
    }
    CheckReport { text, exit_code: EXIT_GOOD }
}

fn refused(rendered: &str, diagnostics: &[Diagnostic], path: &Path) -> String {
    let of = |severity| diagnostics.iter().filter(|one| one.severity() == severity).count();
    let errors = count(of(Severity::Error), "error");
    let warnings = match of(Severity::Warning) {
        0 => String::new(),
        warnings => format!(", {}", count(warnings, "warning")),
    };
    format!("{rendered}\n{}: refused, {errors}{warnings}\n", path.display())
}

fn count(number: usize, what: &str) -> String {
    format!("{number} {what}{}", if number == 1 { "" } else { "s" })
}

fn describe(text: &mut String, port: &PortDraft, with_origins: bool) {
    let (Some(interface), Some(secure)) = (&port.interface, &port.secure_interface) else { return };
    let profile = port.profile.map_or("no profile", |profile| profile.name);
    let link = &port.link;
    let suites: Vec<_> = link.cipher_suites.iter().map(ToString::to_string).collect();
    let offload = if link.offload == OffloadChoice::Off {
        String::new()
    } else {
        format!(", offload {}", link.offload.name())
    };
    let _ = writeln!(text, "\n{} secured as {} ({profile})", interface.name, secure.name);
    let _ = writeln!(
        text,
        "  {}, {}, key server priority {}, dataplane {}{offload}",
        suites.join(" or "),
        link.policy.name(),
        link.key_server_priority.0,
        link.dataplane.name(),
    );
    for (index, key) in port.keys.iter().enumerate() {
        describe_key(text, index + 1, key);
    }
    if with_origins {
        for effective in explain(link, &port.origins) {
            let origin = match effective.origin {
                Origin::File { line } => format!("line {line}"),
                Origin::Profile(name) => format!("profile {name}"),
                Origin::Default => "default".to_owned(),
            };
            let _ = writeln!(text, "  {} = {}  # {origin}", effective.key, effective.value);
        }
    }
}

fn describe_key(text: &mut String, number: usize, key: &KeyDraft) {
    let (Some((ckn, _)), Some((source, _))) = (&key.ckn, &key.source) else { return };
    let cak = match (&key.cak, key.padded_from) {
        (Some(cak), None) => format!("CAK of {} octets", cak.len()),
        (Some(cak), Some(given)) => {
            format!("CAK of {} octets, {} of them zeros put after it", cak.len(), cak.len() - given)
        }
        (None, _) => "CAK not read".to_owned(),
    };
    let source = source.to_string();
    let source = if is_reference(&source) { source } else { hide(&source) };
    let _ = writeln!(text, "  key {number}: CKN {ckn}, {cak}, from {source}");
}
