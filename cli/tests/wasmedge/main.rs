//! Command lines of WasmEdge's GGML documentation with `llm-wasi run` in the place of `wasmedge`.
//!
//! The programs are copies of the fixture `wasmedge_examples` under the names of the documentation. The
//! models are tiny ones whose text is known beforehand, under the documentation's names too; what needs
//! a model that knows something is in `smollm2`.

mod command_line;
mod conversations;
mod documented;
mod flags;
mod options;
mod smollm2;
