//! Spans of time as people write them: `30s`, `500ms`, `2m`, `1h`.

use std::time::Duration;

/// The longest span that is taken: a year. Past it, something else was meant.
const LONGEST: Duration = Duration::from_secs(366 * 24 * 60 * 60);

/// Reads a span; a number alone counts seconds.
///
/// # Errors
///
/// A sentence about what is wrong with it.
pub(crate) fn parse(text: &str) -> Result<Duration, String> {
    let unit_at = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(unit_at);
    let number: u64 = number
        .parse()
        .map_err(|_| "it is a whole number with s, ms, m or h, as in 30s".to_owned())?;
    let span = match unit {
        "ms" => Duration::from_millis(number),
        "" | "s" => Duration::from_secs(number),
        "m" => Duration::from_secs(number.saturating_mul(60)),
        "h" => Duration::from_secs(number.saturating_mul(60 * 60)),
        _ => return Err(format!("`{unit}` is no unit of time; there are s, ms, m and h")),
    };
    if span > LONGEST {
        return Err("it is longer than a year".to_owned());
    }
    Ok(span)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_span_is_a_number_and_a_unit() {
        for (text, span) in [
            ("0", Duration::ZERO),
            ("30", Duration::from_secs(30)),
            ("30s", Duration::from_secs(30)),
            ("500ms", Duration::from_millis(500)),
            ("2m", Duration::from_secs(120)),
            ("1h", Duration::from_secs(3600)),
        ] {
            assert_eq!(parse(text), Ok(span), "{text}");
        }
    }

    #[test]
    fn what_is_no_span_is_refused() {
        for text in ["", "s", "-1s", "1.5s", "30 s", "3d", "99999999h", "99999999999999999999s"] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
