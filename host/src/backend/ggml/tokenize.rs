//! Texts become tokens.
//!
//! For many vocabularies llama.cpp splits a text with the standard library's regular expressions, which recurse once
//! for each character of a word. Long words get a thread whose stack has room for that.

use crate::{Error, ErrorCode};
use llama_cpp_2::model::LlamaModel;
use llama_cpp_2::token::LlamaToken;
use std::thread::{Builder, scope};

/// The longest word that every thread has the stack for.
const SHORT: usize = 1 << 10;
/// The longest one that is split at all. What is longer is no text.
const LONGEST: usize = 1 << 18;
/// How much stack a byte of a word takes; 300 to 420 bytes were seen.
const STACK: usize = 1 << 10;

/// The tokens of a text.
pub(super) fn tokenize(
    model: &LlamaModel,
    text: &str,
    add_special: bool,
    parse_special: bool,
) -> Result<Vec<LlamaToken>, Error> {
    with_stack(text, || {
        model
            .vocab()
            .tokenize(text.as_bytes(), add_special, parse_special)
    })
}

/// Calls what splits a text, with the stack that it takes.
pub(super) fn with_stack<V: Send>(
    text: &str,
    function: impl FnOnce() -> V + Send,
) -> Result<V, Error> {
    let longest = longest_word(text.as_bytes());
    if longest <= SHORT {
        return Ok(function());
    }
    if longest > LONGEST {
        return Err(Error::new(
            ErrorCode::TooLarge,
            format!(
                "expected a text whose words have at most {LONGEST} bytes, found one of {longest} without a blank"
            ),
        ));
    }
    let no_thread = |error: &dyn std::fmt::Display| {
        Error::new(
            ErrorCode::Busy,
            format!(
                "expected a thread to split a word of {longest} bytes, got none: {error}. Try again later"
            ),
        )
    };
    scope(|scope| {
        Builder::new()
            .name("tokenize".into())
            .stack_size((1 << 20) + longest * STACK)
            .spawn_scoped(scope, function)
            .map_err(|error| no_thread(&error))?
            .join()
            .map_err(|_| no_thread(&"it has panicked"))
    })
}

/// Fails for a text with a word that is long for the stack of the thread that is there: what splits texts with images
/// cannot be given to another one.
#[cfg(feature = "images")]
pub(super) fn check_words(text: &str) -> Result<(), Error> {
    const MOST: usize = 8 * SHORT;
    match longest_word(text.as_bytes()) {
        ..=MOST => Ok(()),
        longest => Err(Error::new(
            ErrorCode::TooLarge,
            format!(
                "expected a prompt with an image whose words have at most {MOST} bytes, found one of {longest} without a \
                 blank"
            ),
        )),
    }
}

/// The longest part of a text that is all blank, or not blank at all: no expression matches more at once.
fn longest_word(text: &[u8]) -> usize {
    let parts = text.chunk_by(|a, b| a.is_ascii_whitespace() == b.is_ascii_whitespace());
    parts.map(<[u8]>::len).max().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_measured() {
        assert_eq!(longest_word(b""), 0);
        assert_eq!(longest_word(b"a bcd  \n ef"), 4);
        assert_eq!(longest_word("äöü a".as_bytes()), 6);
    }

    /// Recurses for each byte, as the expressions do.
    fn recurse(depth: usize) -> usize {
        let room = [depth as u8; 400];
        if depth == 0 {
            0
        } else {
            recurse(depth - 1) + usize::from(std::hint::black_box(&room)[0] == depth as u8)
        }
    }

    #[test]
    fn long_words_have_the_stack_that_they_take() {
        for length in [10, SHORT, SHORT + 1, LONGEST] {
            let text = "a".repeat(length);
            assert_eq!(with_stack(&text, || recurse(length)), Ok(length));
        }
        let error = with_stack(&"a".repeat(LONGEST + 1), || ()).unwrap_err();
        assert_eq!(error.code, ErrorCode::TooLarge);
        assert!(error.message.contains("found one of 262145"), "{error}");
    }
}
