//! A host for components that import `wasi:nn` or the extension `llm-wasi:nn`, with real models.
//!
//! How a call travels:
//!
//! 1. [`add_to_linker`] defines both packages in a Wasmtime [`Linker`](wasmtime::component::Linker).
//!    The store's data lends a [`NnView`]: the [`Registry`] and a resource table.
//! 2. The interface modules turn WIT calls into calls of the traits in [`backend`]. What there is to
//!    decide on the way is in [`calls`], for bindings of other runtimes as well. Failures become
//!    error resources, and are logged at `debug` (`RUST_LOG=llm_wasi_host=debug`) so that the text
//!    reaches whoever debugs a program that sees only a number.
//! 3. The [`Registry`] finds the model's files by name ([`Preload`]) and the [`backend::Backend`] by
//!    encoding.
//! 4. A backend loads the model and computes. [`backend::ggml`] runs GGUF models with llama.cpp.
//!
//! [`isolate`] puts models into processes of their own. [`runner`] puts this together with WASI to run a command component from start to exit code.
//!
//! A guest may be wrong or hostile: nothing it passes panics, and at worst its own instance traps.

mod asynchronous;
pub mod backend;
mod bindings;
pub mod calls;
mod error;
mod extension;
#[cfg(any(feature = "onnx", target_os = "linux"))]
mod external_data;
mod figures;
mod files;
pub mod gguf;
mod guest;
mod held;
#[cfg(target_os = "linux")]
pub mod isolate;
mod language;
mod limits;
mod linker;
mod metrics;
mod monitor;
mod preload;
mod registry;
pub mod runner;
mod scheduling;
#[cfg(any(feature = "ggml", target_os = "linux"))]
mod scratch;
mod stdout;
mod tensor;
#[cfg(feature = "test-support")]
pub mod testing;
mod threads;
mod units;
mod wasi_nn;

/// The release that this host is for: a program that uses another one has other types.
pub use wasmtime;

pub use error::{Error, ErrorCode};
pub use files::Files;
pub use limits::Limits;
pub use linker::{NnView, add_to_linker, add_to_linker_async};
pub use metrics::{Metrics, Phase};
pub use monitor::{Activity, Monitor, Progress};
pub use preload::{Preload, PreloadError};
pub use registry::{Registry, RegistryBuilder};
pub use scheduling::Scheduling;
pub use stdout::allow as allow_stream_stdout;
pub use tensor::{Bytes, OutputDescription, SharedTensor, Tensor, TensorType};
pub use units::parse_bytes;
