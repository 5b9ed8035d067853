//! What is known of the dialects without parsing their witx files.
//!
//! [`llm_wasi_adapter::dialects`] parses them all on first use, which takes longer than to make a
//! component of a small module. An adapter exports exactly its dialect's functions, and reading that
//! takes microseconds. A test holds the two together.

use crate::analysis::Signature;
use crate::exports;
use llm_wasi_adapter::{Profile, Target};
use std::collections::BTreeMap;

pub(crate) const CURRENT: &str = "wasi-nn";
pub(crate) const WASMEDGE: &str = "wasmedge";
pub(crate) const WAMR_LEGACY: &str = "wamr-legacy";
pub(crate) const OF_2022: &str = "wasi-nn-2022-10";
pub(crate) const OF_2023: &str = "wasi-nn-2023-08-09";

/// WAMR's old import module, which [`WAMR_LEGACY`] alone is for.
pub(crate) const LEGACY_MODULE: &str = "wasi_nn";

/// Whether an import module is wasi-nn in some dialect.
pub(crate) fn is_nn(module: &str) -> bool {
    matches!(module, "wasi_ephemeral_nn" | LEGACY_MODULE)
}

/// The functions of a dialect; none if there is no such dialect.
pub(crate) fn functions(dialect: &str) -> BTreeMap<String, Signature> {
    llm_wasi_adapter::find(dialect, Profile::Portable, Target::Rc20241028)
        .and_then(|adapter| exports::functions(adapter).ok())
        .map(|mut functions| {
            functions.retain(|name, _| !is_allocator(name));
            functions
        })
        .unwrap_or_default()
}

/// Whether an adapter exports this for `wit-component` and not for the module.
pub(crate) fn is_allocator(export: &str) -> bool {
    export.starts_with("cabi_")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn adapters_export_what_the_dialects_say() {
        for dialect in llm_wasi_adapter::dialects() {
            assert!(is_nn(dialect.module.as_str()), "{}", dialect.module);
            assert_eq!(dialect.module == LEGACY_MODULE, dialect.name == WAMR_LEGACY);
            let expected: BTreeMap<String, Signature> = dialect
                .functions
                .iter()
                .map(|f| (f.name.clone(), Signature::i32s(f.params)))
                .collect();
            assert_eq!(functions(dialect.name), expected, "{}", dialect.name);
        }
        for name in [CURRENT, WASMEDGE, WAMR_LEGACY, OF_2022, OF_2023] {
            assert!(!functions(name).is_empty(), "{name}");
        }
    }
}
