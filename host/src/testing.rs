//! What tests and benchmarks need instead of real models. Behind the feature `test-support`.

mod null;
mod tiny_gguf;
mod tiny_ir;
mod tiny_onnx;

pub use null::{NULL_OUTPUT, NullBackend};
pub use tiny_gguf::TinyModel;
pub use tiny_ir::TinyIr;
pub use tiny_onnx::{TinyOnnx, onnx_type};
