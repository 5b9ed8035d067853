//! Text for people.

use anstyle::Style;
use std::borrow::Cow;
use std::fmt::Display;
use std::io::{ErrorKind, Write};

use crate::failure::Failure;

/// A whole number with separators: `1,234,567`.
pub(crate) fn number(n: impl Display) -> String {
    let digits = n.to_string();
    let mut text = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A number of bytes for people: `98.3 MiB`.
pub(crate) fn size(bytes: u64) -> String {
    const UNITS: [&str; 4] = ["KiB", "MiB", "GiB", "TiB"];
    if bytes < 1024 {
        return format!("{bytes} bytes");
    }
    let mut value = bytes as f64 / 1024.0;
    let mut unit = UNITS[0];
    for larger in &UNITS[1..] {
        // What would round to 1024.0 is one of the next.
        if value < 1023.95 {
            break;
        }
        value /= 1024.0;
        unit = larger;
    }
    format!("{value:.1} {unit}")
}

/// Rows of cells in columns; the first is the header.
pub(crate) fn table(rows: &[Vec<String>]) -> String {
    let columns = rows.first().map_or(0, Vec::len);
    // The last cell of a row may be as wide as it is.
    let width = |column: usize| {
        rows.iter()
            .filter(|row| row.len() > column + 1)
            .map(|row| tame_line(&row[column]).chars().count())
            .max()
            .unwrap_or(0)
    };
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let mut text = String::new();
    for row in rows {
        let cells: Vec<String> = row
            .iter()
            .zip(&widths)
            .map(|(cell, width)| format!("{:width$}", tame_line(cell)))
            .collect();
        text.push_str(cells.join("  ").trim_end());
        text.push('\n');
    }
    text
}

/// Foreign text on one line, not too long, without what could command a terminal.
pub(crate) fn plain(text: &str) -> String {
    const MOST: usize = 300;
    let mut plain: String = one_line(text)
        .chars()
        .filter(|c| !c.is_control())
        .take(MOST + 1)
        .collect();
    if let Some((at, _)) = plain.char_indices().nth(MOST) {
        plain.truncate(at);
        plain.push('…');
    }
    plain
}

/// Whether a character could command a terminal, or change the order of those around it.
fn commands(c: char) -> bool {
    let reorders = matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    reorders || (c.is_control() && !matches!(c, '\t' | '\n'))
}

/// The text with such characters written as `escape` says.
fn escaped(text: &str, escape: impl Fn(char) -> String) -> Cow<'_, str> {
    if !text.contains(commands) {
        return Cow::Borrowed(text);
    }
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match commands(c) {
            true => escaped.push_str(&escape(c)),
            false => escaped.push(c),
        }
    }
    Cow::Owned(escaped)
}

/// Foreign text with such characters written as escapes.
pub(crate) fn tame(text: &str) -> Cow<'_, str> {
    escaped(text, |c| c.escape_unicode().to_string())
}

/// The same on one line.
pub(crate) fn tame_line(text: &str) -> Cow<'_, str> {
    match text.contains(['\t', '\n']) {
        true => Cow::Owned(tame(&text.replace(['\t', '\n'], " ")).into_owned()),
        false => tame(text),
    }
}

/// The same, where each line after the first one belongs to it visibly. What is very long is cut.
pub(crate) fn tame_lines(text: &str) -> String {
    const MOST: usize = 16 << 10;
    let text = text.trim_end_matches('\n');
    let (told, left) = text.split_at(text.floor_char_boundary(MOST));
    let mut lines = tame(told).replace('\n', "\n    ");
    if !left.is_empty() {
        lines.push_str(&format!("… ({} more bytes)", number(left.len())));
    }
    lines
}

/// A JSON document in which such characters, which only its strings may have, are escapes.
pub(crate) fn tame_json(text: &str) -> Cow<'_, str> {
    escaped(text, |c| format!("\\u{:04x}", u32::from(c)))
}

/// The same words without line breaks.
pub(crate) fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Prints to standard output. A reader that has gone away ends the program quietly.
pub(crate) fn print(text: &str) -> Result<(), Failure> {
    let mut out = anstream::stdout().lock();
    write_out(out.write_all(text.as_bytes()).and_then(|()| out.flush()))
}

/// The outcome of writing to standard output.
pub(crate) fn write_out(result: std::io::Result<()>) -> Result<(), Failure> {
    match result {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Err(Failure::silent()),
        Err(error) => Err(Failure::new("cannot write to standard output")
            .cause(&error)
            .next_step("write to a file with -o")),
    }
}

/// Tells something on standard error, where it is not in the way of results.
pub(crate) fn note(label: &str, text: &str) {
    let bold = Style::new().bold();
    // What is told here is not worth failing for.
    let _ = writeln!(
        anstream::stderr().lock(),
        "{bold}{label}{bold:#} {}",
        tame_lines(text)
    );
}

#[cfg(test)]
mod tests {
    #[test]
    fn numbers() {
        assert_eq!(super::number(0), "0");
        assert_eq!(super::number(999), "999");
        assert_eq!(super::number(1_234_567), "1,234,567");
    }

    #[test]
    fn sizes() {
        for (bytes, text) in [
            (0, "0 bytes"),
            (1023, "1023 bytes"),
            (1024, "1.0 KiB"),
            ((1 << 20) - 1, "1.0 MiB"),
            (98 << 20, "98.0 MiB"),
            (5_u64 << 30, "5.0 GiB"),
            (u64::MAX, "16777216.0 TiB"),
        ] {
            assert_eq!(super::size(bytes), text);
        }
    }

    #[test]
    fn what_commands_a_terminal() {
        use super::{tame, tame_json, tame_line, tame_lines};
        let evil = "a\x1b]0;b\x07\tc\u{9b}2J\u{202e}\nerror: d\r";
        let safe = "a\\u{1b}]0;b\\u{7}\tc\\u{9b}2J\\u{202e}\nerror: d\\u{d}";
        assert_eq!(tame(evil), safe);
        assert_eq!(tame_line(evil), safe.replace(['\t', '\n'], " "));
        assert_eq!(
            tame_lines(&format!("{evil}\n")),
            safe.replace('\n', "\n    ")
        );
        assert_eq!(tame("größe 🦀"), "größe 🦀");
        let long = tame_lines(&"ä".repeat(10_000));
        assert!(
            long.ends_with("ä… (3,616 more bytes)"),
            "{}",
            &long[16_300..]
        );
        let json = serde_json::to_string(evil).unwrap();
        let tamed = tame_json(&json);
        assert!(!tamed.contains(super::commands), "{tamed}");
        assert_eq!(serde_json::from_str::<String>(&tamed).unwrap(), evil);
    }

    #[test]
    fn foreign_text() {
        assert_eq!(super::plain("a\n b\x1b[31m"), "a b[31m");
        assert_eq!(super::plain(&"x".repeat(300)).chars().count(), 300);
        let cut = super::plain(&"ä".repeat(400));
        assert_eq!(cut.chars().count(), 301);
        assert!(cut.ends_with('…'));
    }
}
