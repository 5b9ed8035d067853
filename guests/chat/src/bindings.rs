//! The bindings of what the guest imports, generated from WIT.

#![allow(unsafe_code, reason = "the canonical ABI is raw pointers")]
#![allow(unreachable_pub, reason = "generated")]

wit_bindgen::generate!({
    path: ["../../wit/wasi-nn-2024-10-28.wit", "../../wit/llm-wasi-nn.wit", "wit"],
    world: "llm-wasi:chat/guest",
    generate_all,
});
