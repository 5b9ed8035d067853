//! What tests and benchmarks need instead of real models. Behind the feature `test-support`.

mod null;
mod tiny_gguf;

pub use null::{NULL_OUTPUT, NullBackend};
pub use tiny_gguf::TinyModel;
