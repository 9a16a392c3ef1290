//! Numbers, spans and paragraphs as people read them, on 80 columns.

use std::time::Duration;

/// The columns of a terminal that nobody has widened.
pub(crate) const WIDTH: usize = 80;

/// The column at which the values of a block begin.
pub(crate) const VALUE_AT: usize = 11;

/// Takes out what a terminal would obey instead of show.
///
/// Much of what is shown came over the wire once, from nobody knows whom.
pub(crate) fn clean(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c }).collect()
}

/// Sets items in a row beside a label, two blanks between them, and breaks between two of them
/// where the row would get too wide.
pub(crate) fn row(label: &str, items: &[String]) -> String {
    beside(label, &flow(VALUE_AT, items.iter().map(String::as_str), "  "))
}

/// Sets a sentence beside a label, and breaks between words.
pub(crate) fn paragraph(label: &str, text: &str) -> String {
    beside(label, &flow(VALUE_AT, text.split_whitespace(), " "))
}

fn beside(label: &str, text: &str) -> String {
    if text.trim().is_empty() {
        return format!("  {label}").trim_end().to_owned() + "\n";
    }
    format!("  {label:<width$}{text}", width = VALUE_AT - 2)
}

/// Sets pieces one after another from a column on, and starts a new line, in the column of values,
/// where one does not fit any more. A piece that is too wide by itself, a command perhaps, stays
/// whole. Ends the line.
pub(crate) fn flow<'a>(
    from: usize,
    pieces: impl Iterator<Item = &'a str>,
    between: &str,
) -> String {
    let (mut out, mut column) = (String::new(), from);
    for piece in pieces {
        let piece = clean(piece);
        let length = piece.chars().count();
        if out.is_empty() {
            column += length;
        } else if column + between.len() + length > WIDTH {
            out.push('\n');
            out.push_str(&" ".repeat(VALUE_AT));
            column = VALUE_AT + length;
        } else {
            out.push_str(between);
            column += between.len() + length;
        }
        out.push_str(&piece);
    }
    out.push('\n');
    out
}

/// A span, in the two largest units that it fills.
pub(crate) fn span(seconds: f64) -> String {
    let span = Duration::try_from_secs_f64(seconds).unwrap_or_default();
    let whole = span.as_secs();
    match whole {
        0..10 => format!("{whole}.{} s", span.subsec_millis() / 100),
        10..60 => format!("{whole} s"),
        60..3600 => format!("{}m {:02}s", whole / 60, whole % 60),
        3600..86_400 => format!("{}h {:02}m", whole / 3600, whole / 60 % 60),
        _ => format!("{}d {:02}h", whole / 86_400, whole / 3600 % 24),
    }
}

/// A span as a clock that runs shows it; in days where it is longer than one.
pub(crate) fn clock(seconds: f64) -> String {
    let whole = Duration::try_from_secs_f64(seconds).unwrap_or_default().as_secs();
    if whole >= 86_400 {
        return span(seconds);
    }
    format!("{:02}:{:02}:{:02}", whole / 3600, whole / 60 % 60, whole % 60)
}

/// A number; from 10000 on with one decimal and the letter of its thousands, never rounded up.
pub(crate) fn count(number: u64) -> String {
    const UNITS: [(u64, &str); 6] = [
        (1_000_000_000_000_000_000, "E"),
        (1_000_000_000_000_000, "P"),
        (1_000_000_000_000, "T"),
        (1_000_000_000, "G"),
        (1_000_000, "M"),
        (1_000, "k"),
    ];
    let unit = UNITS.into_iter().find(|(unit, _)| number >= *unit);
    match unit {
        Some((unit, letter)) if number >= 10_000 => {
            format!("{}.{} {letter}", number / unit, number % unit / (unit / 10))
        }
        _ => number.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_span_shows_its_two_largest_units() {
        for (seconds, text) in [
            (-1.0, "0.0 s"),
            (f64::NAN, "0.0 s"),
            (0.74, "0.7 s"),
            (9.99, "9.9 s"),
            (41.9, "41 s"),
            (309.0, "5m 09s"),
            (7_900.0, "2h 11m"),
            (273_700.0, "3d 04h"),
        ] {
            assert_eq!(span(seconds), text, "{seconds}");
        }
    }

    #[test]
    fn a_clock_runs_for_a_day() {
        assert_eq!(clock(41.0), "00:00:41");
        assert_eq!(clock(86_399.9), "23:59:59");
        assert_eq!(clock(86_400.0), "1d 00h");
    }

    #[test]
    fn a_large_number_keeps_three_or_four_digits() {
        for (number, text) in [
            (0, "0"),
            (9_999, "9999"),
            (10_000, "10.0 k"),
            (999_999, "999.9 k"),
            (1_000_000, "1.0 M"),
            (8_123_456_789, "8.1 G"),
            (u64::MAX, "18.4 E"),
        ] {
            assert_eq!(count(number), text);
        }
    }

    #[test]
    fn a_row_breaks_between_items_and_a_paragraph_between_words() {
        let items: Vec<String> = (0..12).map(|n| format!("item {n:02}")).collect();
        assert_eq!(
            row("many", &items),
            "  many     item 00  item 01  item 02  item 03  item 04  item 05  item 06\n           \
             item 07  item 08  item 09  item 10  item 11\n"
        );
        let text = "word ".repeat(16);
        assert_eq!(
            paragraph("advice", &text),
            format!("  advice   {}\n           word word\n", "word ".repeat(14).trim_end())
        );
        assert_eq!(paragraph("", ""), "\n");
    }

    #[test]
    fn what_a_terminal_would_obey_is_not_passed_on() {
        assert_eq!(clean("a\x1b[2Jb\r\nc\u{9b}"), "a\u{fffd}[2Jb\u{fffd}\u{fffd}c\u{fffd}");
    }
}
