//! What tests and benchmarks need instead of real models. Behind the feature `test-support`.

mod gguf_file;
mod null;
mod picture;
mod tiny_gguf;
mod tiny_ir;
mod tiny_onnx;
mod tiny_projector;
#[cfg(target_os = "linux")]
mod worker;

pub use null::{NULL_OUTPUT, NullBackend};
pub use picture::Picture;
pub use tiny_gguf::TinyModel;
pub use tiny_ir::TinyIr;
pub use tiny_onnx::{TinyOnnx, onnx_type};
pub use tiny_projector::{ProjectorKind, TinyProjector};
#[cfg(target_os = "linux")]
pub use worker::serve_from_a_test;
