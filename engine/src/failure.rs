//! The interface's error, and how the host's become it.

use crate::bindings::exports::llm_wasi::llm::types;
use crate::bindings::llm_wasi::nn::errors::{Error, ErrorCode};

pub(crate) type Failure = types::Error;

/// A request whose field makes no sense.
pub(crate) fn invalid(field: impl Into<String>, reason: impl Into<String>) -> Failure {
    Failure::InvalidRequest(types::InvalidRequest {
        field: field.into(),
        reason: reason.into(),
    })
}

/// What the host said. Failures that tell counts are made where the counts are known.
pub(crate) fn of_host(error: Error) -> Failure {
    let message = error.message();
    match error.code() {
        ErrorCode::UnsupportedOperation | ErrorCode::InvalidEncoding => {
            Failure::Unsupported(message)
        }
        ErrorCode::Busy => Failure::Busy,
        ErrorCode::Timeout => Failure::Timeout,
        _ => Failure::Backend(message),
    }
}
