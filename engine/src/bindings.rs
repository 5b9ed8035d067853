//! The bindings of what the engine imports and exports, generated from WIT.

#![allow(unsafe_code, reason = "the canonical ABI is raw pointers")]
#![allow(unreachable_pub, reason = "generated")]
#![allow(clippy::allow_attributes_without_reason, reason = "generated")]

wit_bindgen::generate!({
    path: [
        "../wit/wasi-nn-2024-10-28.wit",
        "../wit/llm-wasi-nn.wit",
        "../wit/wasi-io.wit",
        "../wit/llm.wit",
        "wit",
    ],
    world: "llm-wasi:engine/guest",
    generate_all,
});
