//! The functions that an adapter exports.

use crate::analysis::Signature;
use std::collections::BTreeMap;
use wasmparser::{ExternalKind, Parser, Payload, TypeRef};

/// Reads names and signatures of the exported functions of a core module.
pub(crate) fn functions(wasm: &[u8]) -> wasmparser::Result<BTreeMap<String, Signature>> {
    let mut types = Vec::new();
    // Index space of functions: type indices, imports first.
    let mut functions = Vec::new();
    let mut found = BTreeMap::new();
    for payload in Parser::new(0).parse_all(wasm) {
        match payload? {
            Payload::TypeSection(section) => {
                for ty in section.into_iter_err_on_gc_types() {
                    types.push(Signature::of(&ty?));
                }
            }
            Payload::ImportSection(section) => {
                for import in section.into_imports() {
                    if let TypeRef::Func(ty) = import?.ty {
                        functions.push(ty);
                    }
                }
            }
            Payload::FunctionSection(section) => {
                for ty in section {
                    functions.push(ty?);
                }
            }
            Payload::ExportSection(section) => {
                for export in section {
                    let export = export?;
                    if export.kind != ExternalKind::Func {
                        continue;
                    }
                    let signature = functions
                        .get(export.index as usize)
                        .and_then(|ty| types.get(*ty as usize));
                    if let Some(signature) = signature {
                        found.insert(export.name.to_string(), Signature::clone(signature));
                    }
                }
            }
            // Nothing of interest comes after the exports.
            Payload::CodeSectionStart { .. } => break,
            _ => {}
        }
    }
    Ok(found)
}
