//! What can go wrong with bundles.

use std::io;

/// What was found, what was expected and the next step.
#[derive(Debug, thiserror::Error)]
#[error("{found}")]
pub struct Error {
    /// What was found.
    pub found: String,
    /// What was expected instead, if `found` does not say it.
    pub expected: Option<String>,
    /// What to do about it.
    pub next_step: Option<String>,
    /// What the system says of it.
    pub source: Option<io::Error>,
}

impl Error {
    pub(crate) fn new(found: impl Into<String>) -> Error {
        Error {
            found: found.into(),
            expected: None,
            next_step: None,
            source: None,
        }
    }

    /// The failure to do something.
    pub(crate) fn io(what: impl Into<String>, error: io::Error) -> Error {
        Error {
            source: Some(error),
            ..Error::new(what)
        }
    }

    /// A bundle that is not as it was written.
    pub(crate) fn damaged(found: impl Into<String>) -> Error {
        Error::new(found).next_step(
            "copy the file again from where it is whole, or make it again with `llm-wasi bundle`",
        )
    }

    pub(crate) fn expected(mut self, expected: impl Into<String>) -> Error {
        self.expected = Some(expected.into());
        self
    }

    pub(crate) fn next_step(mut self, next_step: impl Into<String>) -> Error {
        self.next_step = Some(next_step.into());
        self
    }
}
