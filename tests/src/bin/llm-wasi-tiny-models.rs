//! Writes tiny models into a folder, for tests in other languages: `tiny.gguf`, `tools.gguf` and `double.onnx`.

use anyhow::{Context, Result};
use llm_wasi_host::testing::{TinyModel, TinyOnnx, onnx_type};
use std::path::PathBuf;

fn main() -> Result<()> {
    let folder = std::env::args_os()
        .nth(1)
        .context("usage: llm-wasi-tiny-models FOLDER")?;
    let folder = PathBuf::from(folder);
    TinyModel::conformance().write(folder.join("tiny.gguf"))?;
    TinyModel::conformance_tools().write(folder.join("tools.gguf"))?;
    // y = x + x
    let double = TinyOnnx::new()
        .input("x", onnx_type::F32, &[-1, 3])
        .node("Add", &["x", "x"], &["y"])
        .output("y", onnx_type::F32, &[-1, 3])
        .to_bytes();
    std::fs::write(folder.join("double.onnx"), double)?;
    Ok(())
}
