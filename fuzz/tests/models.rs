//! Damaged and made-up files of models, and options of language models: each is an error or a model, and none ends the process.

use llm_wasi_fuzz::models::{Format, campaign};

#[test]
fn gguf_files() {
    campaign("gguf_files", Format::Gguf, 700);
}

#[test]
fn onnx_files() {
    if Format::Onnx.is_here() {
        campaign("onnx_files", Format::Onnx, 1_000);
    }
}

#[test]
fn ir_files() {
    if Format::Ir.is_here() {
        campaign("ir_files", Format::Ir, 700);
    }
}

#[test]
fn options() {
    campaign("options", Format::Options, 500);
}
