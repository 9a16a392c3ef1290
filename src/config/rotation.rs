//! What the file says of changing keys: when one starts, and which port can do another's work.

use std::cmp::Reverse;
use std::fmt;

use toml::de::DeValue;
use toml::value::{Datetime, Offset};

use super::{
    diagnostic::{Code, Diagnostic, Findings, quoted},
    port::PortDraft,
    values::{Value, wrong_type},
};
use crate::profile::{LinkSettings, RotationChoice, Word as _};

/// When a key is to be taken up, in seconds since 1970, UTC. It is a hint: clocks differ.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Ord, PartialOrd)]
pub struct StartTime(pub u64);

impl StartTime {
    /// Tells whether this is later than `now`, in seconds since 1970.
    #[must_use]
    pub const fn is_to_come(self, now: u64) -> bool {
        self.0 > now
    }

    /// Where a key stands by its start, the least first: those that have started, the last one
    /// first and any without a start behind them; then those that are to come, the next one first.
    /// All of them are listened to, and where the far end speaks one alone that is to come, it is
    /// taken.
    #[must_use]
    pub fn place(start: Option<Self>, now: u64) -> impl Ord + use<> {
        if start.is_some_and(|start| start.is_to_come(now)) {
            (true, Reverse(None), start)
        } else {
            (false, Reverse(start), None)
        }
    }
}

/// As the file would have it.
impl fmt::Display for StartTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (days, rest) = (self.0 / DAY, self.0 % DAY);
        let (year, month, day) = civil(days);
        let (hour, minute, second) = (rest / 3600, rest / 60 % 60, rest % 60);
        write!(f, "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
    }
}

/// Reads the value of `start`: RFC 3339, as a string or as TOML's own kind.
pub(crate) fn read_start(value: &Value<'_>) -> Result<StartTime, Diagnostic> {
    let time = match value.get_ref() {
        DeValue::Datetime(time) => Some(*time),
        DeValue::String(text) => text.parse::<Datetime>().ok(),
        DeValue::Integer(_)
        | DeValue::Float(_)
        | DeValue::Boolean(_)
        | DeValue::Array(_)
        | DeValue::Table(_) => return Err(wrong_type("start", "a date and time", value)),
    };
    time.and_then(unix).map(StartTime).ok_or_else(|| {
        Diagnostic::error(Code::OutOfRange, "`start` is no moment")
            .at(value.span(), "it wants a date, a time and an offset")
            .help("write it in UTC, as in `start = \"2026-12-01T00:00:00Z\"`")
    })
}

/// Warns where a port does not go by the start of its keys.
pub(crate) fn heeds_start(link: &LinkSettings, value: &Value<'_>, findings: &mut Findings) {
    if link.rotation == RotationChoice::StartTime {
        return;
    }
    let title = format!("`start` means nothing with `rotation = \"{}\"`", link.rotation.name());
    findings.push(
        Diagnostic::warning(Code::StartUnheeded, title)
            .at(value.span(), "not looked at")
            .help("write `rotation = \"start-time\"` in the `[[port]]`, or remove the line"),
    );
}

/// Refuses a port that is to stand in for another and is none, or the same.
pub(crate) fn check_pairs(ports: &[PortDraft], findings: &mut Findings) {
    for port in ports {
        let (Some(pair), Some(interface)) = (&port.pair, &port.interface) else { continue };
        let mut others = ports.iter().filter_map(|other| other.interface.as_ref());
        let is_port = others.any(|other| other.name == pair.name);
        if is_port && pair.name != interface.name {
            continue;
        }
        let label = if is_port { "that is this port itself" } else { "no port has that interface" };
        findings.push(
            Diagnostic::error(
                Code::UnknownValue,
                format!("`pair` cannot be {}", quoted(&pair.name)),
            )
            .at(pair.span.clone(), label)
            .help("name the `interface` of the other port of the pair, or remove the line"),
        );
    }
}

const DAY: u64 = 86_400;

/// Seconds since 1970, UTC; `None` where the time is not a whole one, or before that.
fn unix(time: Datetime) -> Option<u64> {
    let (date, clock) = (time.date?, time.time?);
    let minutes = match time.offset? {
        Offset::Z => 0,
        Offset::Custom { minutes } => i64::from(minutes),
    };
    let days = days(i64::from(date.year), i64::from(date.month), i64::from(date.day));
    let second = i64::from(clock.second.unwrap_or(0));
    let of_day = i64::from(clock.hour) * 3600 + i64::from(clock.minute) * 60 + second;
    u64::try_from(days * DAY.cast_signed() + of_day - minutes * 60).ok()
}

/// Days from 1970-01-01 to a date of the Gregorian calendar. Years are counted from March, so that
/// the odd day is the last, and in eras of 400, which have 146097 days each.
fn days(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let (era, of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

/// The other way round: year, month and day.
fn civil(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468;
    let (era, of_era) = (days / 146_097, days % 146_097);
    let year = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let from_march = (5 * of_year + 2) / 153;
    let month = if from_march < 10 { from_march + 3 } else { from_march - 9 };
    let year = era * 400 + year + u64::from(month <= 2);
    (year, month, of_year - (153 * from_march + 2) / 5 + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Option<u64> {
        text.parse().ok().and_then(unix)
    }

    /// From `date -u -d ... +%s`.
    #[test]
    fn a_moment_is_counted_as_date_counts_it() {
        for (text, seconds) in [
            ("1970-01-01T00:00:00Z", 0),
            ("2000-02-29T12:00:00Z", 951_825_600),
            ("2026-12-01T00:00:00Z", 1_796_083_200),
            ("2100-03-01T00:00:01Z", 4_107_542_401),
        ] {
            assert_eq!(read(text), Some(seconds), "{text}");
            assert_eq!(StartTime(seconds).to_string(), text);
        }
        assert_eq!(read("2026-12-01T02:30:00+02:30"), Some(1_796_083_200));
        assert_eq!(read("2026-11-30T19:00:00-05:00"), Some(1_796_083_200));
    }

    #[test]
    fn what_leaves_something_open_is_no_moment() {
        for text in ["2026-12-01", "2026-12-01T00:00:00", "00:00:00", "1969-12-31T23:59:59Z"] {
            assert_eq!(read(text), None, "{text}");
        }
    }
}
