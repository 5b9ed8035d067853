//! Makes one component of an app that imports `llm-wasi:llm`, the engine and a configuration.
//!
//! 1. [`Defaults::component`] writes a configuration component: no compiler, only data.
//! 2. [`compose`] gives the engine its configuration, and the app its engine. What is left to import is what
//!    the engine needs of its host, `wasi:nn`, `llm-wasi:nn` and WASI, and what else the app imports.
//!
//! [`ENGINE`] is the engine that this crate brings along.

mod configuration;
mod plug;

pub use configuration::{BadDefault, Defaults};
pub use plug::{Refusal, compose, configure};

/// The engine component.
pub const ENGINE: &[u8] = include_bytes!("../../engine/engine.wasm");
