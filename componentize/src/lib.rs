//! Turns modules that import `wasi_ephemeral_nn` into components of `wasi:nn`.
//!
//! 1. [`read`] takes wasm or text and gives wasm, or says what it found instead.
//! 2. [`analyze`] validates the module and collects what matters here: imports, memory, exports and
//!    the traces of the toolchain that made it. From these it detects the dialect and the profile.
//! 3. [`plan`] decides which adapters the module needs, or why there is no way.
//! 4. [`componentize`] does all of it and encodes the component with `wit-component`.
//!
//! Whatever goes wrong is one [`Refusal`]: what was found, what was expected and the next step.
//!
//! `wit-component` panics on some broken modules. It only ever sees validated ones here, and a
//! panic that is left becomes a [`Refusal`] too. To keep such a panic quiet, the first call installs
//! a panic hook for the process that passes on every panic but those of a thread inside
//! `wit-component`.

mod analysis;
mod detect;
mod dialect;
mod encode;
mod evidence;
mod exit_code;
mod exports;
mod guard;
mod input;
mod leb128;
mod memory_size;
mod options;
mod plan;
mod preview1;
mod refusal;
mod report;
mod sections;
mod start;
mod validate;
mod world;

pub use analysis::{Analysis, Entry, Import, ImportKind, Kind, Memory, Nn, Signature, analyze};
pub use detect::Choice;
pub use encode::{Componentized, componentize};
pub use input::{LIMIT, read};
pub use llm_wasi_adapter::{Profile, Target};
pub use options::{Adapter, Options, adapter_bytes, profile_name, target_name};
pub use plan::{Adaptation, Plan, plan};
pub use refusal::{Reason, Refusal};
pub use report::{Report, Used};
pub use world::{World, world};
