//! The options as a document for people.

use super::{TABLE, WITHOUT_EFFECT};
use std::fmt::Write;

const INTRODUCTION: &str = "\
# Options of language models

A program passes them as a JSON object: as input 1 of a context, as the configuration of
`load_by_name_with_config`, or as the second builder of `load`. Names and defaults are those of WasmEdge's GGML
plugin. What a later object does not name stays as it was.

A wrong type or a value out of range is errno 1, and the host's log names the option, the value and what is allowed. A
name that is not in this document is logged once, with the nearest one, and changes nothing.

This file is written by `BLESS=1 cargo test -p llm-wasi-host options` from
`host/src/backend/ggml/options/table.rs`.

| option | value | default | meaning |
|---|---|---|---|
";

const ACCEPTED: &str = "
## Accepted without effect

WasmEdge knows these. Most have no meaning here: they belong to llama.cpp's server, its benchmarks and other tools, or
name files and addresses, which a guest may not choose. These have one in llama.cpp that this host does not give
them: `attention-type`, `check-tensors`, `cpu-moe`, `load-mode`, `n-cpu-moe`, `numa`, `tensor-split`. The first use of
each is logged.

";

/// Every option with meaning, default and state, as Markdown.
pub fn markdown() -> String {
    let mut text = INTRODUCTION.to_owned();
    for spec in TABLE {
        // Writing to a string does not fail. A bar would end the cell.
        let _ = writeln!(
            text,
            "| `{}` | {} | `{}` | {} |",
            spec.name,
            spec.allowed(),
            spec.default,
            spec.meaning.replace('|', "\\|")
        );
    }
    text.push_str(ACCEPTED);
    let names: Vec<_> = WITHOUT_EFFECT
        .iter()
        .map(|name| format!("`{name}`"))
        .collect();
    text.push_str(&names.join(", "));
    text.push_str(".\n");
    text
}
