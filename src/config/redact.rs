//! A copy of a configuration's text that may be shown: the same, with every key struck out.
//!
//! An error shows the line it is about, and a CAK may stand on that line, also where the text is
//! not TOML at all. So what is struck out is decided by looks as well as by structure, and rather
//! too much than too little. The copy has the length of the original, so that positions hold.

use std::ops::Range;

use toml::de::{DeTable, DeValue};

use super::{key::is_reference, keys::Place};

/// Digits in a row from which on they may be a key: half of a short one, or less where a string
/// or a line starts with them.
const RUN: usize = 16;
const RUN_SHORT: usize = 8;

/// Copies `text` with every key struck out; `table` is what could be parsed of it.
pub(crate) fn redact(text: &str, table: &DeTable<'_>) -> String {
    let mut secret = Vec::new();
    let (mut start, mut goes_on) = (0, false);
    for line in text.split_inclusive('\n') {
        if goes_on && !stands_alone(line) {
            secret.push(start..start + line.len());
        } else {
            let (found, is_key) = secrets_of_line(line);
            secret.extend(found.into_iter().map(|at| start + at.start..start + at.end));
            goes_on = is_key;
        }
        start += line.len();
    }
    secrets_of_table(table, false, &mut secret);
    secret.sort_by_key(|range| range.start);
    strike(text, &secret)
}

/// Tells whether a line makes sense by itself, and so is not the rest of a key on the one before: it
/// is a header or starts with a key that there is.
fn stands_alone(line: &str) -> bool {
    let line = line.trim();
    let first = line.split(['=', ' ', '\t']).next().unwrap_or_default();
    (line.starts_with('[') && line.ends_with(']'))
        || Place::ALL.iter().any(|place| place.keys().contains(&first))
}

/// Strikes out what looks like a key in a piece of a configuration that a message is to hold.
pub(crate) fn hide(text: &str) -> String {
    let hide_line = |line: &str| strike(line, &runs(line));
    text.split_inclusive('\n').map(hide_line).collect()
}

/// Replaces each character in the ranges, which are in order, by as many stars as it has octets.
fn strike(text: &str, secret: &[Range<usize>]) -> String {
    let keeps = |c: char| c.is_whitespace() || matches!(c, '"' | '\'' | ',' | ']' | '}');
    let mut shown = String::with_capacity(text.len());
    let (mut ranges, mut until) = (secret.iter().peekable(), 0);
    for (at, character) in text.char_indices() {
        while let Some(range) = ranges.next_if(|range| range.start <= at) {
            until = until.max(range.end);
        }
        if at < until && !keeps(character) {
            shown.extend(std::iter::repeat_n('*', character.len_utf8()));
        } else {
            shown.push(character);
        }
    }
    shown
}

/// Finds what looks like a key on a line, and tells whether one goes by its name.
fn secrets_of_line(line: &str) -> (Vec<Range<usize>>, bool) {
    let (mut secret, mut clear) = (Vec::new(), Vec::new());
    for (word, end) in words(line) {
        let is_ckn = word.eq_ignore_ascii_case("ckn");
        if !is_ckn && !is_name_of_secret(word) {
            continue;
        }
        let Some(start) = value_after(line, end) else { continue };
        let value = line.get(start..).unwrap_or_default();
        let inside = value.trim_start_matches(['"', '\'']);
        let inside_start = line.len() - inside.len();
        if is_ckn || is_reference(inside) {
            let len = inside.find(['"', '\'']).unwrap_or(inside.len());
            clear.push(inside_start..inside_start + len);
        } else if !(word == "key" && value.starts_with(['[', '{'])) {
            secret.push(start..line.len());
        }
    }
    let is_clear = |run: &Range<usize>| {
        clear.iter().any(|clear| clear.start <= run.start && run.end <= clear.end)
    };
    let is_key = !secret.is_empty();
    secret.extend(runs(line).into_iter().filter(|run| !is_clear(run)));
    (secret, is_key)
}

/// The bare words of a line, and where each ends.
fn words(line: &str) -> impl Iterator<Item = (&str, usize)> {
    let is_part = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    let mut rest = line;
    std::iter::from_fn(move || {
        let start = rest.find(is_part)?;
        let word = rest.get(start..)?;
        let len = word.find(|c| !is_part(c)).unwrap_or(word.len());
        rest = word.get(len..)?;
        Some((word.get(..len)?, line.len() - rest.len()))
    })
}

/// Where the value starts that belongs to the name ending at `end`, if one seems to.
fn value_after(line: &str, end: usize) -> Option<usize> {
    let after = line.get(end..)?;
    let after = after.strip_prefix(['"', '\'']).unwrap_or(after).trim_start();
    let value = after.trim_start_matches(['=', ':']).trim_start();
    let assigned = value.len() < after.len();
    let starts_one = value.starts_with(|c: char| c == '"' || c == '\'' || c.is_ascii_hexdigit());
    (assigned || starts_one).then_some(line.len() - value.len())
}

/// Tells whether what goes by this name may be a CAK, rightly or by a slip.
fn is_name_of_secret(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    if matches!(&*name, "cak-padding" | "ckn") {
        return false;
    }
    let hints = ["cak", "psk", "secret", "passw", "passphrase"];
    name == "key"
        || hints.iter().any(|hint| name.contains(hint))
        || (name.len() < 8 && strsim::damerau_levenshtein(&name, "cak") == 1)
}

/// The long runs of hexadecimal digits, single separators within them allowed.
fn runs(line: &str) -> Vec<Range<usize>> {
    let mut found = Vec::new();
    let (mut run, mut digits) = (0..0, 0);
    // The line break at the end ends the last run.
    for (at, octet) in line.bytes().chain([b'\n']).enumerate() {
        if octet.is_ascii_hexdigit() {
            run = if digits == 0 { at..at + 1 } else { run.start..at + 1 };
            digits += 1;
        } else if !(matches!(octet, b':' | b'-' | b'_' | b' ') && run.end == at) {
            let before = line.get(..run.start).unwrap_or_default();
            let starts = before.trim_start().is_empty() || before.ends_with(['"', '\'']);
            let least = if starts { RUN_SHORT } else { RUN };
            if digits >= least {
                found.push(run.clone());
            }
            digits = 0;
        }
    }
    found
}

/// Finds the values that are keys by where they stand: all of a `[[port.key]]` but its name and
/// references to elsewhere, and what goes by the name of a secret anywhere.
fn secrets_of_table(table: &DeTable<'_>, is_key: bool, secret: &mut Vec<Range<usize>>) {
    for (name, value) in table {
        let name = name.get_ref();
        let is_secret = is_name_of_secret(name) || (is_key && !name.eq_ignore_ascii_case("ckn"));
        let mut rest = vec![value];
        while let Some(value) = rest.pop() {
            match value.get_ref() {
                DeValue::Table(inner) => secrets_of_table(inner, is_key || name == "key", secret),
                DeValue::Array(items) => rest.extend(items.iter()),
                DeValue::String(text) if is_reference(text) => {}
                DeValue::String(_)
                | DeValue::Integer(_)
                | DeValue::Float(_)
                | DeValue::Boolean(_)
                | DeValue::Datetime(_) => {
                    if is_secret {
                        secret.push(value.span());
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str) -> String {
        let (table, _) = DeTable::parse_recoverable(text);
        let shown = redact(text, table.get_ref());
        assert_eq!(shown.len(), text.len());
        shown
    }

    #[test]
    fn a_key_is_struck_out_and_its_name_is_not() {
        let text = "[[port.key]]\nckn = \"00112233445566778899\"\ncak = \"0011\"\n";
        assert_eq!(shown(text), "[[port.key]]\nckn = \"00112233445566778899\"\ncak = \"****\"\n");
    }

    #[test]
    fn a_reference_is_shown_unless_it_is_nothing_but_digits() {
        for kept in [
            "cak = \"file:/etc/macsecd/keys/0011223344556677.cak\"\n",
            "cak = \"file:/keys/cak/link1\"\n",
            "cak-padding = \"zeros-right\"\n",
            "key-server-priority = 200\n",
        ] {
            assert_eq!(shown(kept), kept);
        }
        assert_eq!(shown("cak = \"file:0011\"\n"), "cak = \"*********\"\n");
        assert_eq!(shown("cak = \"file:/0011\"\n"), "cak = \"**********\"\n");
    }

    #[test]
    fn a_key_is_struck_out_in_text_that_is_not_toml() {
        assert_eq!(shown("cak \"00 11\n"), "cak \"** **\n");
        assert_eq!(shown("cak: 0011\n"), "cak: ****\n");
        assert_eq!(shown("cak = 'secret words\n"), "cak = '****** *****\n");
        assert_eq!(shown("CAK=[\"0011\"\n"), "CAK=*\"****\"\n");
        assert_eq!(shown("cak = \"\"\"\n0011\n22\"\"\" x\n"), "cak = \"\"\"\n****\n**\"\"\" *\n");
        assert_eq!(shown("x = [{ckn=\"0a\", cak=\"0b\"}\n"), "x = [{ckn=\"0a\", cak=\"**\"}\n");
    }

    #[test]
    fn a_key_whose_line_was_broken_is_struck_out_to_its_end() {
        assert_eq!(shown("cak = \"00\n11\"\nckn = \"aa\"\n"), "cak = \"**\n**\"\nckn = \"aa\"\n");
        assert_eq!(shown("cak = \"00\n\n11\"\n[port]\n"), "cak = \"**\n\n**\"\n[port]\n");
    }

    #[test]
    fn a_message_holds_no_key_and_keeps_the_rest() {
        assert_eq!(hide("0011223344556677"), "****************");
        assert_eq!(hide("eth1\n00112233"), "eth1\n********");
        assert_eq!(hide("link.0011223344556677 x"), "link.**************** x");
        assert_eq!(hide("azure-expressroute 0011"), "azure-expressroute 0011");
    }

    #[test]
    fn a_key_under_a_wrong_name_is_struck_out() {
        assert_eq!(shown("cka = \"0011\"\n"), "cka = \"****\"\n");
        assert_eq!(shown("mka_cak=0011\n"), "mka_cak=****\n");
        assert_eq!(shown("[[port.key]]\nmaterial = \"0011\""), "[[port.key]]\nmaterial = \"****\"");
    }

    #[test]
    fn a_long_run_of_digits_is_struck_out_wherever_it_stands() {
        assert_eq!(shown("# 0011223344556677 it is"), "# **************** it is");
        assert_eq!(shown("x = '00:11:22:33:44:55:66:77'"), "x = '***********************'");
        assert_eq!(shown("# 02:00:00:00:00:02 of 2026-11-24"), "# 02:00:00:00:00:02 of 2026-11-24");
    }
}
