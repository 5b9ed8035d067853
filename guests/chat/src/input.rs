//! Prompts and commands from standard input.

use std::io::{BufRead, Read};

/// The most bytes of a prompt: an input without an end must not fill the memory.
const LIMIT: u64 = 1 << 20;

/// The next prompt or command: a line, and the next one as long as they end in `\`. `None` at the end
/// of the input. Bytes that are not UTF-8 are replaced.
pub(crate) fn next(input: &mut impl BufRead) -> Result<Option<String>, String> {
    let mut bytes = Vec::new();
    let mut any = false;
    loop {
        let room = LIMIT - bytes.len() as u64;
        let read = input
            .by_ref()
            .take(room)
            .read_until(b'\n', &mut bytes)
            .map_err(|error| format!("standard input: {error}"))?;
        any |= read > 0;
        if bytes.len() as u64 >= LIMIT {
            return Err(format!(
                "expected a prompt below {LIMIT} bytes, found a longer one"
            ));
        }
        let ended = bytes.pop_if(|byte| *byte == b'\n').is_none();
        bytes.pop_if(|byte| *byte == b'\r');
        if bytes.pop_if(|byte| *byte == b'\\').is_none() || ended {
            break;
        }
        bytes.push(b'\n');
    }
    Ok(any.then(|| String::from_utf8_lossy(&bytes).into_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(mut input: &[u8]) -> Vec<String> {
        std::iter::from_fn(|| next(&mut input).unwrap()).collect()
    }

    #[test]
    fn lines() {
        assert_eq!(all(b""), [""; 0]);
        assert_eq!(all(b"one\r\n\ntwo"), ["one", "", "two"]);
        assert_eq!(all(b"\xff"), ["\u{fffd}"]);
    }

    #[test]
    fn a_line_that_ends_in_a_backslash_goes_on() {
        assert_eq!(
            all(b"one\\\ntwo\\\r\nthree\nfour\n"),
            ["one\ntwo\nthree", "four"]
        );
        assert_eq!(all(b"one\\\n\ntwo\\"), ["one\n", "two"]);
    }

    #[test]
    fn a_line_without_an_end_is_refused() {
        let mut endless = std::io::BufReader::new(std::io::repeat(b'a'));
        assert!(next(&mut endless).unwrap_err().contains("1048576"));
        let going_on = b"\\\n".repeat(1 << 20);
        assert!(next(&mut going_on.as_slice()).is_err());
    }
}
