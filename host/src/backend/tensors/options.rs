//! The options of models of tensors: a JSON object, like those of language models.

use crate::backend::shorten;
use crate::{Error, ErrorCode};
use serde_json::Value;
use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

/// The most threads that may be asked for.
const MAX_THREADS: u16 = 512;

/// How a model computes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(in crate::backend) struct Options {
    /// Threads that compute one inference; 0 is the library's own choice.
    pub(in crate::backend) threads: u16,
}

impl Options {
    /// Reads the objects; a later one overrides an earlier one.
    pub(in crate::backend) fn parse(configurations: &[&str]) -> Result<Self, Error> {
        let mut options = Self::default();
        for json in configurations {
            options.apply(json)?;
        }
        Ok(options)
    }

    fn apply(&mut self, json: &str) -> Result<(), Error> {
        let wrong = |code, reason: &dyn std::fmt::Display| {
            Error::new(
                code,
                format!(
                    "expected the options as a JSON object, such as {{\"threads\": 4}}: {reason}"
                ),
            )
        };
        let value: Value = serde_json::from_str(json)
            .map_err(|error| wrong(ErrorCode::InvalidEncoding, &error))?;
        let Value::Object(object) = value else {
            return Err(wrong(ErrorCode::InvalidArgument, &"found no object"));
        };
        for (name, value) in &object {
            if name == "threads" {
                // More would only be more copies of the model, and stacks.
                let most = std::thread::available_parallelism().map_or(1, usize::from);
                let most = u16::try_from(most).unwrap_or(MAX_THREADS);
                self.threads = threads(value)?.min(most);
            } else {
                log_unknown(name);
            }
        }
        Ok(())
    }
}

fn threads(value: &Value) -> Result<u16, Error> {
    value
        .as_u64()
        .and_then(|threads| u16::try_from(threads).ok())
        .filter(|threads| *threads <= MAX_THREADS)
        .ok_or_else(|| {
            let found = shorten(&value.to_string());
            Error::invalid(format!(
                "option `threads`: expected a whole number from 0 to {MAX_THREADS}, found {found}"
            ))
        })
}

/// Logs an option that changes nothing, each name once.
fn log_unknown(name: &str) {
    /// Guests choose the names: remember only so many.
    const LIMIT: usize = 1000;
    static LOGGED: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());
    let mut logged = LOGGED.lock().unwrap_or_else(PoisonError::into_inner);
    if name.len() <= 100 && logged.len() < LIMIT && logged.insert(name.to_owned()) {
        tracing::warn!(
            "option `{name}` is unknown and has no effect: is `threads` meant, the only one here?"
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn later_objects_override_and_unknown_names_pass() {
        let parse = |configurations: &[&str]| Options::parse(configurations).unwrap().threads;
        assert_eq!(parse(&[]), 0);
        assert_eq!(parse(&["{}", r#"{"threads": 2}"#, r#"{"thread": 7}"#]), 2);
        assert_eq!(parse(&[r#"{"threads": 2}"#, r#"{"threads": 0}"#]), 0);
    }

    #[test]
    fn wrong_values_are_errors() {
        for (json, code, text) in [
            (
                r#"{"threads": "2"}"#,
                ErrorCode::InvalidArgument,
                "found \"2\"",
            ),
            (
                r#"{"threads": -1}"#,
                ErrorCode::InvalidArgument,
                "0 to 512, found -1",
            ),
            (
                r#"{"threads": 513}"#,
                ErrorCode::InvalidArgument,
                "found 513",
            ),
            (
                r#"{"threads": 1.5}"#,
                ErrorCode::InvalidArgument,
                "found 1.5",
            ),
            ("[]", ErrorCode::InvalidArgument, "found no object"),
            (
                "{",
                ErrorCode::InvalidEncoding,
                "expected the options as a JSON object",
            ),
        ] {
            let error = Options::parse(&[json]).unwrap_err();
            assert_eq!(error.code, code, "{json}");
            assert!(error.message.contains(text), "{error}");
        }
    }
}
