//! The host as an addon of Node.js.
//!
//! The package beside this crate makes of it what transpiled components import. Nothing is decided here:
//! every function passes its arguments to `llm_wasi_host`. A failure is thrown as an `Error` whose
//! `code` is the case of `llm-wasi:nn/errors.error-code`.

#![allow(unsafe_code, reason = "the attributes of napi-derive write it")]

mod context;
mod failure;
mod graph;
mod registry;
mod tensor;
