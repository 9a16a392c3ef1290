//! Values of the file to values of the program, or an error that says where and why not.

use std::ops::{Range, RangeInclusive};

use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use super::{
    DEFAULT_GROUP, DEFAULT_SOCKET,
    diagnostic::{Code, Diagnostic, Findings, quoted},
    keys::nearest,
};
use crate::ident::{CipherSuite, ConfidentialityOffset, KeyServerPriority};
use crate::profile::{DEFAULTS, Setting, Word, suite_key};

/// A value of the file.
pub(crate) type Value<'i> = Spanned<DeValue<'i>>;

/// The most suites a list can have.
const SUITES_MAX: usize = CipherSuite::ALL.len();

/// The shortest time between two SAKs: 802.1X-2020 9.8 wants an MKA Life Time between them.
const REKEY_MIN: u32 = 6;

/// Reads the value of a setting; `None` where no setting has that name.
pub(crate) fn setting(key: &str, value: &Value<'_>) -> Option<Result<Setting, Diagnostic>> {
    Some(match key {
        "cipher-suites" => suites(value).map(|suites| Setting::CipherSuites(suites.into())),
        "dataplane" => word(key, value).map(Setting::Dataplane),
        "offload" => word(key, value).map(Setting::Offload),
        "delete-on-stop" => boolean(key, value).map(Setting::DeleteOnStop),
        "include-sci" => boolean(key, value).map(Setting::IncludeSci),
        "key-server-priority" => number(key, value, 0..=u8::MAX, "the lowest number serves")
            .map(|number| Setting::KeyServerPriority(KeyServerPriority(number))),
        "policy" => word(key, value).map(Setting::Policy),
        "replay-protect" => boolean(key, value).map(Setting::ReplayProtect),
        "replay-window" => {
            number(key, value, 0..=u32::MAX, "it counts packet numbers").map(Setting::ReplayWindow)
        }
        "confidentiality" => boolean(key, value).map(Setting::Confidentiality),
        "confidentiality-offset" => offset(key, value).map(Setting::ConfidentialityOffset),
        "port-id" => {
            number(key, value, 1..=u16::MAX - 1, "0 and 65535 name no port").map(Setting::PortId)
        }
        "rekey-seconds" => rekey(key, value).map(Setting::RekeySeconds),
        "rekey-gigabytes" => {
            number(key, value, 0..=u32::MAX, "0 is never").map(Setting::RekeyGigabytes)
        }
        "eapol-destination" => word(key, value).map(Setting::EapolDestination),
        "eapol-ethertype" => word(key, value).map(Setting::EapolEthertype),
        "delay-protect" => boolean(key, value).map(Setting::DelayProtect),
        "announce-suites" => boolean(key, value).map(Setting::AnnounceSuites),
        "icv-indicator" => word(key, value).map(Setting::IcvIndicator),
        "mka-version" => {
            number(key, value, 1..=3, "3 is that of 802.1X-2020").map(Setting::MkaVersion)
        }
        "mka-hello-seconds" => {
            number(key, value, 1..=20, "2 is the standard's").map(Setting::MkaHelloSeconds)
        }
        "mka-life-seconds" => {
            number(key, value, 3..=60, "6 is the standard's").map(Setting::MkaLifeSeconds)
        }
        "lone-key-latest" => boolean(key, value).map(Setting::LoneKeyLatest),
        "ssci-order" => word(key, value).map(Setting::SsciOrder),
        "cak-padding" => word(key, value).map(Setting::CakPadding),
        "rotation" => word(key, value).map(Setting::Rotation),
        _ => return None,
    })
}

/// What a key of the file looks like with a value, for an example.
pub(crate) fn example(key: &str) -> String {
    let default = DEFAULTS.iter().find(|value| value.setting.key() == key);
    let value = match (key, default) {
        ("cipher-suites", _) => "[\"gcm-aes-xpn-256\"]".to_owned(),
        (_, Some(value)) => value.setting.to_string(),
        ("interface", None) => "\"eth1\"".to_owned(),
        ("secure-interface", None) => "\"macsec0\"".to_owned(),
        ("profile", None) => "\"azure-expressroute-direct\"".to_owned(),
        ("control-socket", None) => format!("\"{DEFAULT_SOCKET}\""),
        ("control-group", None) => format!("\"{DEFAULT_GROUP}\""),
        ("log-level", None) => "\"info\"".to_owned(),
        ("port" | "key", None) => return format!("[[{key}]]").replace("[key]", "[port.key]"),
        ("ckn", None) => "\"0123456789abcdef\"".to_owned(),
        ("cak", None) => "\"file:/etc/macsecd/keys/link1.cak\"".to_owned(),
        ("start", None) => "\"2026-12-01T00:00:00Z\"".to_owned(),
        ("pair", None) => "\"eth2\"".to_owned(),
        (_, None) => "...".to_owned(),
    };
    format!("{key} = {value}")
}

/// Reads a string.
pub(crate) fn text<'t>(key: &str, value: &'t Value<'_>) -> Result<&'t str, Diagnostic> {
    value.get_ref().as_str().ok_or_else(|| wrong_type(key, "a string", value))
}

/// Reads one of a few words.
pub(crate) fn word<W: Word>(key: &str, value: &Value<'_>) -> Result<W, Diagnostic> {
    let text = text(key, value)?;
    let names = || W::ALL.iter().map(|known| known.name());
    W::from_name(text).ok_or_else(|| unknown_value(key, text, value.span(), names))
}

/// Says that a word is none of those known, and which was probably meant.
pub(crate) fn unknown_value<'a, I: Iterator<Item = &'a str>>(
    key: &str,
    text: &str,
    span: Range<usize>,
    known: impl Fn() -> I,
) -> Diagnostic {
    let label = match nearest(text, known()) {
        Some(meant) => format!("did you mean `{meant}`?"),
        None => "not one of the known ones".to_owned(),
    };
    let list: Vec<_> = known().map(|known| format!("`{known}`")).collect();
    Diagnostic::error(Code::UnknownValue, format!("`{key}` cannot be {}", quoted(text)))
        .at(span, label)
        .help(format!("it is one of {}", list.join(", ")))
}

/// A list of tables that a key of the file stands for.
pub(crate) struct Tables {
    /// The key.
    pub(crate) key: &'static str,
    /// The header of one of them.
    pub(crate) header: &'static str,
    /// How many there may be.
    pub(crate) most: usize,
    /// What to do where there are more.
    pub(crate) advice: &'static str,
}

impl Tables {
    /// Reads the list; an array of inline tables will do as well. What is no table is reported and
    /// left out.
    pub(crate) fn read<'t>(
        &self,
        value: &'t Value<'t>,
        findings: &mut Findings,
    ) -> Vec<(Range<usize>, &'t DeTable<'t>)> {
        let Self { key, header, most, advice } = self;
        let Some(items) = value.get_ref().as_array() else {
            let error = wrong_type(key, &format!("a list of tables, `{header}`"), value);
            let help = format!("write `{header}`, with two brackets on each side");
            findings.push(error.help(help));
            return Vec::new();
        };
        if items.is_empty() {
            findings.push(
                Diagnostic::error(Code::MissingKey, format!("there is no `{header}`"))
                    .at(value.span(), "an empty list")
                    .help(format!("add a `{header}`")),
            );
        }
        if let Some(beyond) = items.get(*most) {
            let title = format!("`{header}` stands {} times, {most} is the most", items.len());
            let error = Diagnostic::error(Code::TooMany, title);
            findings.push(error.at(beyond.span(), "one too many").help(*advice));
            return Vec::new();
        }
        let mut tables = Vec::with_capacity(items.len());
        for item in items.iter() {
            match item.get_ref().as_table() {
                Some(table) => tables.push((item.span(), table)),
                None => findings.push(wrong_type(key, "tables in its list", item)),
            }
        }
        tables
    }
}

fn boolean(key: &str, value: &Value<'_>) -> Result<bool, Diagnostic> {
    if let Some(on) = value.get_ref().as_bool() {
        return Ok(on);
    }
    let error = wrong_type(key, "true or false", value);
    Err(match value.get_ref().as_str().filter(|text| matches!(*text, "true" | "false")) {
        Some(text) => error.help(format!("write it without quotes: `{key} = {text}`")),
        None => error,
    })
}

fn number<N>(
    key: &str,
    value: &Value<'_>,
    range: RangeInclusive<N>,
    reason: &str,
) -> Result<N, Diagnostic>
where
    N: TryFrom<i128> + Copy + Into<i128> + std::fmt::Display,
{
    let Some(integer) = value.get_ref().as_integer() else {
        let error = wrong_type(key, "a whole number", value);
        // A key may have no letter among its digits, and has more of them than any number here.
        let text = value.get_ref().as_str().filter(|text| text.parse::<u32>().is_ok());
        return Err(match text {
            Some(text) => error.help(format!("write it without quotes: `{key} = {text}`")),
            None => error,
        });
    };
    let (low, high) = (*range.start(), *range.end());
    let number = i128::from_str_radix(integer.as_str(), integer.radix()).unwrap_or(i128::MAX);
    if number < low.into() {
        return Err(out_of_range(key, value.span(), low, high, "too small", reason));
    }
    match N::try_from(number) {
        Ok(fits) if number <= high.into() => Ok(fits),
        Ok(_) | Err(_) => Err(out_of_range(key, value.span(), low, high, "too large", reason)),
    }
}

fn out_of_range(
    key: &str,
    span: Range<usize>,
    low: impl std::fmt::Display,
    high: impl std::fmt::Display,
    label: &str,
    reason: &str,
) -> Diagnostic {
    Diagnostic::error(Code::OutOfRange, format!("`{key}` is {low} to {high}"))
        .at(span, label)
        .help(format!("give a number from {low} to {high}; {reason}"))
}

fn rekey(key: &str, value: &Value<'_>) -> Result<u32, Diagnostic> {
    let seconds = number(key, value, 0..=u32::MAX, "0 is never")?;
    if (1..REKEY_MIN).contains(&seconds) {
        let title = format!("`{key}` is 0 or at least {REKEY_MIN}");
        return Err(Diagnostic::error(Code::OutOfRange, title)
            .at(value.span(), "too small")
            .note("a key server leaves an MKA Life Time, 6 seconds, between two keys")
            .help("write 0 to change the key only when its packet numbers run out"));
    }
    Ok(seconds)
}

fn offset(key: &str, value: &Value<'_>) -> Result<ConfidentialityOffset, Diagnostic> {
    match number(key, value, 0..=u32::MAX, "it counts octets")? {
        0 => Ok(ConfidentialityOffset::Offset0),
        30 => Ok(ConfidentialityOffset::Offset30),
        50 => Ok(ConfidentialityOffset::Offset50),
        _ => Err(Diagnostic::error(Code::OutOfRange, format!("`{key}` is 0, 30 or 50"))
            .at(value.span(), "none of these")
            .help("write 0 to encrypt all of a frame")),
    }
}

fn suites(value: &Value<'_>) -> Result<Vec<CipherSuite>, Diagnostic> {
    let key = "cipher-suites";
    let Some(items) = value.get_ref().as_array() else {
        let error = wrong_type(key, "a list of names", value);
        return Err(if value.get_ref().is_str() {
            error.help("put it in brackets: `cipher-suites = [\"...\"]`")
        } else {
            error
        });
    };
    let mut known: Vec<(CipherSuite, Range<usize>)> = Vec::with_capacity(SUITES_MAX);
    for item in items.iter() {
        let name = text(key, item)?;
        let suite = name.parse().map_err(|_| unknown_suite(key, name, item.span()))?;
        if let Some((_, first)) = known.iter().find(|(other, _)| *other == suite) {
            return Err(Diagnostic::error(Code::DuplicateSuite, format!("{suite} stands twice"))
                .at(item.span(), "again")
                .and(first.clone(), "first here")
                .help("leave one of them; the first in the list is preferred"));
        }
        known.push((suite, item.span()));
    }
    if known.is_empty() {
        return Err(Diagnostic::error(Code::MissingKey, format!("`{key}` is empty"))
            .at(value.span(), "no suite, no link")
            .help("name at least one, or remove the line to take the default"));
    }
    Ok(known.into_iter().map(|(suite, _)| suite).collect())
}

fn unknown_suite(key: &str, name: &str, span: Range<usize>) -> Diagnostic {
    unknown_value(key, name, span, || CipherSuite::ALL.into_iter().map(suite_key))
}

pub(crate) fn wrong_type(key: &str, wants: &str, value: &Value<'_>) -> Diagnostic {
    let found = match value.get_ref() {
        DeValue::String(_) => "a string",
        DeValue::Integer(_) => "a whole number",
        DeValue::Float(_) => "a number with a point",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a date or time",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    };
    Diagnostic::error(Code::WrongType, format!("`{key}` wants {wants}"))
        .at(value.span(), format!("this is {found}"))
        .help(format!("write it as in `{}`", example(key)))
}
