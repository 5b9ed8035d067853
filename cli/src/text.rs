//! Text for people.

use anstyle::Style;
use std::io::{ErrorKind, Write};

use crate::failure::Failure;

/// A number with separators: `1,234,567`.
pub(crate) fn number(n: usize) -> String {
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
    let _ = writeln!(anstream::stderr().lock(), "{bold}{label}{bold:#} {text}");
}

#[cfg(test)]
mod tests {
    #[test]
    fn numbers() {
        assert_eq!(super::number(0), "0");
        assert_eq!(super::number(999), "999");
        assert_eq!(super::number(1_234_567), "1,234,567");
    }
}
