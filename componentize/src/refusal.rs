//! The one error of this crate.

use serde::Serialize;

/// Why an input cannot become a component, or an option cannot be met.
///
/// Printed, it is one line: what was found, what was expected and the next step.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, thiserror::Error)]
#[error("{found}; expected {expected}; {next_step}")]
pub struct Refusal {
    /// The kind of refusal, for programs.
    pub reason: Reason,
    /// What was found.
    pub found: String,
    /// What was expected in its place.
    pub expected: String,
    /// What to do next.
    pub next_step: String,
}

/// The kinds of [`Refusal`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Reason {
    /// There are no bytes at all.
    Empty,
    /// The wasm ends too early.
    Truncated,
    /// More bytes than [`LIMIT`](crate::LIMIT).
    TooLarge,
    /// Neither wasm nor WebAssembly text.
    NotWasm,
    /// WebAssembly text with an error in it.
    TextSyntax,
    /// Wasm that breaks the rules, or uses what hosts of WASI do not have.
    Invalid,
    /// A component where only a module will do.
    IsComponent,
    /// The module has no memory.
    NoMemory,
    /// The module imports its memory.
    ImportedMemory,
    /// The module has a memory and does not export it as `memory`.
    HiddenMemory,
    /// The memory is shared between threads.
    SharedMemory,
    /// The memory has 64-bit addresses.
    Memory64,
    /// The module has more than one memory.
    ManyMemories,
    /// The module's memory cannot grow, and the adapter of WASI needs a page of it.
    FullMemory,
    /// An import that is neither wasi-nn nor WASI.
    UnknownImport,
    /// Something other than a function is imported.
    ImportKind,
    /// WASI of before preview 1.
    OldWasi,
    /// `wasi_nn` and `wasi_ephemeral_nn` in one module.
    TwoNnModules,
    /// A function that no dialect of wasi-nn has.
    UnknownFunction,
    /// A function is imported with other parameters or results than it has.
    WrongSignature,
    /// A dialect that does not exist.
    UnknownDialect,
    /// A dialect for another import module than the one that is used.
    DialectMismatch,
    /// There is no adapter with these options.
    NoSuchAdapter,
    /// An adapter that was given cannot be used.
    BadAdapter,
    /// `wit-component` gave an error.
    Encoder,
    /// `wit-component` panicked.
    EncoderPanicked,
    /// The component that was made, or one that was given, cannot be read.
    Unreadable,
}

impl Refusal {
    pub(crate) fn new(
        reason: Reason,
        found: impl Into<String>,
        expected: impl Into<String>,
        next_step: impl Into<String>,
    ) -> Refusal {
        Refusal {
            reason,
            found: found.into(),
            expected: expected.into(),
            next_step: next_step.into(),
        }
    }
}

/// For the end of a sentence: `a`, `a and b`, `a, b and c`.
pub(crate) fn list(words: &[impl AsRef<str>]) -> String {
    let words: Vec<&str> = words.iter().map(AsRef::as_ref).collect();
    match words.as_slice() {
        [] => String::new(),
        [one] => (*one).to_string(),
        [init @ .., last] => format!("{} and {last}", init.join(", ")),
    }
}
