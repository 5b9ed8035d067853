//! Bundles of a component and its models, as commands use them.
//!
//! [`open`] opens one and checks who has signed it. [`prepare`] unpacks its models for `run`, and [`source`] finds
//! the models that go into one.

pub(crate) mod prepare;
pub(crate) mod source;

use crate::failure::Failure;
use llm_wasi_bundle::sign::TrustedKey;
use llm_wasi_bundle::{Bundle, Error};
use std::fs::File;
use std::io::Read;
use std::path::Path;

/// Opens a bundle; nothing if the file is something else. With keys, one of them has to have signed it.
pub(crate) fn open(path: &Path, keys: &[TrustedKey]) -> Result<Option<Bundle<File>>, Failure> {
    // What cannot be read, and what is no file, is told where it is read as a program.
    if !path.is_file() || File::open(path).is_err() {
        return Ok(None);
    }
    let bundle = Bundle::open(path).map_err(|error| failure(path, error))?;
    if let Some(bundle) = &bundle
        && !keys.is_empty()
    {
        bundle
            .check_signature(keys)
            .map_err(|error| failure(path, error))?;
    }
    Ok(bundle)
}

/// An error about the bundle at `path`.
pub(crate) fn failure(path: &Path, error: Error) -> Failure {
    let mut failure = Failure::new(format!("{}: {}", path.display(), error.found));
    if let Some(source) = &error.source {
        failure = failure.cause(source);
    }
    if let Some(expected) = error.expected {
        failure = failure.expected(expected);
    }
    match error.next_step {
        Some(next_step) => failure.next_step(next_step),
        None => failure,
    }
}

/// More bytes than a file of a key has.
const LONGEST_KEY: u64 = 64 << 10;

/// A key of `--trusted-key`: a file, or the key itself.
pub(crate) fn trusted_key(text: &str) -> Result<TrustedKey, String> {
    let told = |error: Error| match error.expected {
        Some(expected) => format!("{}; expected {expected}", error.found),
        None => error.found,
    };
    let path = Path::new(text);
    if !path.exists() {
        return text
            .parse()
            .map_err(|error| format!("there is no file of this name, and {}", told(error)));
    }
    // A key has a line or two, and the file may be one without an end.
    let mut key = String::new();
    std::fs::File::open(path)
        .and_then(|file| file.take(LONGEST_KEY).read_to_string(&mut key))
        .map_err(|error| error.to_string())?;
    key.parse().map_err(told)
}
