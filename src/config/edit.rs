//! Changes to the keys of a port, in the text of a configuration: comments and everything else stay.
//!
//! What the text says is not judged here; whoever changes it has it checked like any other.
//!
//! A CAK may stand in the text. The texts given and returned are wiped; the copy of the document that
//! the parser makes for itself is freed as it is (docs/threat-model.md).

use std::fmt::{self, Write as _};
use std::mem;

use toml_edit::{ArrayOfTables, DocumentMut, Table, value};
use zeroize::Zeroizing;

/// A key as the file is to name it. The CAK itself is never among it.
#[derive(Clone, Copy, Debug)]
pub struct NewKey<'a> {
    /// The name, in hexadecimal.
    pub ckn: &'a str,
    /// Where the CAK comes from: `file:PATH` or `credential:NAME`.
    pub cak: &'a str,
    /// When it is to be taken up.
    pub start: Option<&'a str>,
}

/// Why a text could not be changed.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum EditError {
    /// It is no TOML, which a check would have shown.
    #[error("the configuration is not TOML")]
    NotToml,
    /// There is no such port, or it is not written as a table of its own.
    #[error("the configuration has no `[[port]]` with the interface {0}")]
    NoPort(String),
    /// The keys are written as a list of inline tables.
    #[error("the keys of {0} are not written as `[[port.key]]`: this file is changed by hand")]
    Inline(String),
}

/// Puts a key in front of those of a port.
///
/// # Errors
///
/// The first reason of [`EditError`]; the message holds nothing of the text.
pub fn add_key(
    text: &str,
    interface: &str,
    key: &NewKey<'_>,
) -> Result<Zeroizing<String>, EditError> {
    change(text, interface, |keys| {
        let mut first = Table::new();
        first.insert("ckn", value(key.ckn));
        first.insert("cak", value(key.cak));
        if let Some(start) = key.start {
            first.insert("start", value(start));
        }
        let mut rest: Vec<Table> = mem::take(keys).into_iter().collect();
        if let Some(before) = rest.first_mut() {
            // What stands above the first key is about all of them, mostly.
            *first.decor_mut() = before.decor().clone();
            before.decor_mut().set_prefix("\n");
        }
        [first].into_iter().chain(rest).for_each(|key| keys.push(key));
    })
}

/// Takes keys of a port out: those whose name, as it is written, `goes`. What stands above one of
/// them stands above the next one then.
///
/// # Errors
///
/// The first reason of [`EditError`]; the message holds nothing of the text.
pub fn remove_keys(
    text: &str,
    interface: &str,
    goes: impl Fn(&str) -> bool,
) -> Result<Zeroizing<String>, EditError> {
    change(text, interface, |keys| {
        let mut above = String::new();
        for mut key in mem::take(keys) {
            let prefix = key.decor().prefix().and_then(|prefix| prefix.as_str());
            let prefix = prefix.unwrap_or_default().to_owned();
            if key.get("ckn").and_then(|ckn| ckn.as_str()).is_some_and(&goes) {
                if prefix.contains('#') {
                    above.push_str(&prefix);
                }
                continue;
            }
            if !above.is_empty() {
                let both = mem::take(&mut above) + prefix.trim_start_matches('\n');
                key.decor_mut().set_prefix(both);
            }
            keys.push(key);
        }
    })
}

fn change(
    text: &str,
    interface: &str,
    edit: impl FnOnce(&mut ArrayOfTables),
) -> Result<Zeroizing<String>, EditError> {
    // The parser's message could quote a key.
    let mut document: DocumentMut = text.parse().map_err(|_| EditError::NotToml)?;
    let no_port = || EditError::NoPort(interface.to_owned());
    let ports = document.get_mut("port").and_then(|ports| ports.as_array_of_tables_mut());
    let is_it = |port: &&mut Table| {
        port.get("interface").and_then(|named| named.as_str()) == Some(interface)
    };
    let port = ports.ok_or_else(no_port)?.iter_mut().find(is_it).ok_or_else(no_port)?;
    let keys = port.get_mut("key").and_then(|keys| keys.as_array_of_tables_mut());
    edit(keys.ok_or_else(|| EditError::Inline(interface.to_owned()))?);
    Ok(written(&document))
}

/// The document as text, in a buffer of the right size from the beginning: one that grows leaves
/// copies of keys behind.
fn written(document: &DocumentMut) -> Zeroizing<String> {
    let mut length = Length(0);
    // Neither of them refuses to be written to.
    let _ = write!(length, "{document}");
    let mut text = Zeroizing::new(String::with_capacity(length.0));
    let _ = write!(*text, "{document}");
    text
}

/// How long something is in octets, once it has been written there.
struct Length(usize);

impl fmt::Write for Length {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.0 = self.0.saturating_add(text.len());
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "\
# The routers of site 7.
log-level = \"info\" # quiet

[[port]]
interface = \"eth1\"
secure-interface = \"macsec0\"

# Its keys, newest first.

[[port.key]]
ckn = \"01\" # of last year
cak = 'file:/keys/a'

[[port]]
interface = \"eth2\"
secure-interface = \"macsec1\"
# The other one's.
[[port.key]]
ckn = \"02\"
cak = \"file:/keys/b\"
# The end.
";

    const KEY: NewKey<'_> = NewKey { ckn: "0a0b", cak: "file:/keys/new", start: None };

    #[test]
    fn a_new_key_stands_first_and_nothing_else_changes() {
        let changed = add_key(TEXT, "eth1", &KEY).unwrap();
        let new =
            "[[port.key]]\nckn = \"0a0b\"\ncak = \"file:/keys/new\"\n\n[[port.key]]\nckn = \"01\"";
        assert_eq!(*changed, TEXT.replacen("[[port.key]]\nckn = \"01\"", new, 1));
        let other = add_key(TEXT, "eth2", &NewKey { start: Some("2026-12-01T00:00:00Z"), ..KEY });
        let new = "[[port.key]]\nckn = \"0a0b\"\ncak = \"file:/keys/new\"\n\
                   start = \"2026-12-01T00:00:00Z\"\n\n[[port.key]]\nckn = \"02\"";
        assert_eq!(*other.unwrap(), TEXT.replacen("[[port.key]]\nckn = \"02\"", new, 1));
    }

    #[test]
    fn a_key_that_is_added_and_taken_out_leaves_the_file_as_it_was() {
        for interface in ["eth1", "eth2"] {
            let added = add_key(TEXT, interface, &KEY).unwrap();
            let removed = remove_keys(&added, interface, |ckn| ckn == "0a0b").unwrap();
            assert_eq!(*removed, TEXT, "{interface}");
        }
    }

    #[test]
    fn the_old_key_goes_and_what_stood_above_the_keys_stays() {
        let added = add_key(TEXT, "eth1", &KEY).unwrap();
        let removed = remove_keys(&added, "eth1", |ckn| ckn == "01").unwrap();
        let old = "ckn = \"01\" # of last year\ncak = 'file:/keys/a'\n";
        let new = "ckn = \"0a0b\"\ncak = \"file:/keys/new\"\n";
        assert_eq!(*removed, TEXT.replacen(old, new, 1));
    }

    /// A buffer that had grown would be longer than what is in it.
    #[test]
    fn the_buffer_of_the_new_text_never_grows() {
        let key = NewKey { cak: "file:/a \"quoted\" 'name'/\u{e4}", ..KEY };
        let added = add_key(TEXT, "eth2", &key).unwrap();
        assert_eq!(added.capacity(), added.len());
        let removed = remove_keys(&added, "eth2", |ckn| ckn == "02").unwrap();
        assert_eq!(removed.capacity(), removed.len());
    }

    #[test]
    fn what_cannot_be_changed_is_said_without_a_word_of_it() {
        let fail = |text| add_key(text, "eth1", &KEY).unwrap_err();
        assert_eq!(fail("port = [[["), EditError::NotToml);
        assert_eq!(fail("[[port]]\ninterface = \"eth7\""), EditError::NoPort("eth1".to_owned()));
        let inline = "[[port]]\ninterface = \"eth1\"\nkey = [{ ckn = \"01\", cak = \"aa\" }]";
        assert_eq!(fail(inline), EditError::Inline("eth1".to_owned()));
    }
}
