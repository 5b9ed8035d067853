//! What the tests of the whole share.
//!
//! 1. [`guest`] makes modules that import nn functions and export each again.
//! 2. [`machine`] runs one as a core module on Wasmtime's host for core modules, or adapted on its WIT
//!    host, and makes the same calls on either.
//! 3. [`backend`] is the one deterministic backend below both.
//! 4. [`differences`] is the one table of what is deliberately not the same.

pub mod backend;
pub mod differences;
pub mod guest;
pub mod machine;
