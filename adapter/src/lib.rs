//! The adapters from `wasi_ephemeral_nn` to WIT `wasi:nn`, generated when this crate is built.
//!
//! [`find`] gives the bytes of a stock adapter; [`generate`] makes one with other options, such as
//! the names of a model's inputs.

use anyhow::Result;

/// What an adapted component imports besides WASI.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Profile {
    /// Only `wasi:nn`: runs on every host of it.
    Portable,
    /// Also `llm-wasi:nn`: what WasmEdge's guests rely on and `wasi:nn` cannot say.
    Extended,
}

/// Which release of `wasi:nn` an adapter targets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Target {
    /// `wasi:nn@0.2.0-rc-2024-10-28`: Wasmtime 35 and later.
    Rc20241028,
    /// `wasi:nn@0.2.0-rc-2024-08-19`: Wasmtime 25 to 34.
    Rc20240819,
}

/// One dialect of the old interface, as its witx file describes it.
#[derive(Clone, Debug)]
pub struct Dialect {
    /// Name, as in `--dialect`: the stem of the witx file.
    pub name: &'static str,
    /// The module that guests import: `wasi_ephemeral_nn` or `wasi_nn`.
    pub module: &'static str,
    /// One line for people.
    pub summary: String,
    /// Every function, in the witx file's order.
    pub functions: Vec<Function>,
}

/// A function of a dialect with its core signature: every parameter and the result is an `i32`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Function {
    /// Name of the import.
    pub name: String,
    /// How many `i32` parameters it takes. It always gives one `i32`, the errno.
    pub params: usize,
}

/// What [`generate`] makes.
#[derive(Clone, Debug)]
pub struct Options {
    /// Name of a dialect of [`dialects`].
    pub dialect: String,
    /// What the component will import.
    pub profile: Profile,
    /// Which `wasi:nn` it will import.
    pub target: Target,
    /// Names of model inputs by index; the others are named by their decimal index.
    pub input_names: Vec<(u32, String)>,
    /// Treat a `get_output` whose maximum is 0 as one without a maximum, for guests that pass the
    /// length of an empty vector instead of its capacity.
    pub zero_max_is_unlimited: bool,
}

/// Every dialect, oldest first.
pub fn dialects() -> &'static [Dialect] {
    todo!()
}

/// The stock adapter for a dialect: no input names, no quirks. `None` if the combination does not exist.
pub fn find(_dialect: &str, _profile: Profile, _target: Target) -> Option<&'static [u8]> {
    todo!()
}

/// Generates an adapter; the same options give the same bytes.
pub fn generate(_options: &Options) -> Result<Vec<u8>> {
    todo!()
}

/// What each function of an adapter does, for people: what it reads, which WIT functions it calls,
/// which errno each failure gives.
pub fn explain(_options: &Options) -> Result<String> {
    todo!()
}
