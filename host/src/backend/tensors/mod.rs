//! What backends for models of tensors share.
//!
//! 1. [`library`] finds the library that computes, at run time.
//! 2. [`options`] reads the configuration; [`models`] loads each model once.
//! 3. [`port`] is what a model declares about an input or output.
//! 4. [`context`] keeps inputs and outputs, and checks them before the library sees them; [`places`] limits how
//!    many compute at once, and has each [`request`] that waits computed together with others like it; [`cancel`]
//!    ends what nobody waits for any more.

pub(super) mod cancel;
pub(super) mod context;
pub(super) mod library;
pub(super) mod models;
pub(super) mod options;
mod places;
pub(super) mod port;
mod request;

use crate::{Error, ErrorCode};
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Calls `function`, whose panic becomes an error: bindings of libraries take some surprises for
/// impossible, and models are hostile.
pub(super) fn guard<V>(
    library: &str,
    function: impl FnOnce() -> Result<V, Error>,
) -> Result<V, Error> {
    // What `function` changes is either dropped with its error or set anew by the next call.
    catch_unwind(AssertUnwindSafe(function)).unwrap_or_else(|_| {
        Err(Error::new(
            ErrorCode::RuntimeError,
            format!("the binding of {library} panicked: its message is on standard error"),
        ))
    })
}
