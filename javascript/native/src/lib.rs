//! The host as an addon of Node.js.
//!
//! The package beside this crate makes of it what transpiled components import. Nothing is decided here:
//! every function passes its arguments to `llm_wasi_host`. A failure is thrown as an `Error` whose
//! `code` is the case of `llm-wasi:nn/errors.error-code`.

#![allow(unsafe_code, reason = "the attributes of napi-derive write it")]

mod context;
mod failure;
mod graph;
mod log;
mod monitor;
mod registry;
mod tensor;

use llm_wasi_host::ErrorCode;
use napi_derive::napi;

/// The code of `wasi:nn` for an exception's code; nothing if the exception is none of the host's.
#[napi(catch_unwind)]
pub fn code_in_wasi_nn(code: String) -> Option<&'static str> {
    ErrorCode::ALL
        .into_iter()
        .find(|known| known.name() == code)
        .map(|known| known.in_wasi_nn().name())
}
