//! What Wasmtime generates from the WIT files: types and the traits that `wasi_nn` and `extension`
//! implement.
//!
//! `wasi:nn/tensor` and `llm-wasi:nn/inference` move the large data; those modules define their
//! functions by hand, so that the bytes are copied once, and use the generated types only.

#![allow(
    missing_docs,
    unreachable_pub,
    clippy::allow_attributes_without_reason,
    reason = "generated code"
)]

/// `wasi:nn@0.2.0-rc-2024-10-28` and `llm-wasi:nn@0.1.0`.
pub mod lists {
    wasmtime::component::bindgen!({
        path: ["../wit/wasi-nn-2024-10-28.wit", "../wit/llm-wasi-nn.wit"],
        inline: "
            package llm-wasi:host;
            world host {
                include wasi:nn/ml@0.2.0-rc-2024-10-28;
                include llm-wasi:nn/language-models@0.1.0;
            }
        ",
        world: "llm-wasi:host/host",
        with: {
            "wasi:nn/tensor.tensor": crate::wasi_nn::TensorResource,
            "wasi:nn/graph.graph": crate::linker::GraphResource,
            "wasi:nn/inference.graph-execution-context": crate::wasi_nn::ContextResource,
            "wasi:nn/errors.error": crate::wasi_nn::ErrorResource,
            "llm-wasi:nn/inference.execution-context": crate::extension::Context,
            "llm-wasi:nn/errors.error": crate::extension::ExtensionError,
        },
        imports: { default: trappable },
    });
}

/// `wasi:nn@0.2.0-rc-2024-08-19`.
pub mod slots {
    wasmtime::component::bindgen!({
        path: "../wit/wasi-nn-2024-08-19.wit",
        world: "wasi:nn/ml",
        with: {
            "wasi:nn/tensor.tensor": crate::wasi_nn::TensorResource,
            "wasi:nn/graph.graph": crate::linker::GraphResource,
            "wasi:nn/inference.graph-execution-context": crate::wasi_nn::ContextResource,
            "wasi:nn/errors.error": crate::wasi_nn::ErrorResource,
        },
        imports: { default: trappable },
    });
}
