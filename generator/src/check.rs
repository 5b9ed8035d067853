//! The finished adapter, checked against what wit-component demands of one.
//!
//! Whoever breaks one of these rules learns it late and obscurely otherwise: when somebody else's
//! module does not become a component.

use crate::emit::REALLOC;
use crate::world::World;
use anyhow::{Context, Result, bail, ensure};
use std::collections::BTreeSet;
use wasmparser::{ExternalKind, Parser, Payload, TypeRef, Validator, WasmFeatures};

/// Validates the module and checks its sections, imports and exports.
pub(crate) fn check(module: &[u8], world: &World, functions: &[String]) -> Result<()> {
    Validator::new_with_features(WasmFeatures::WASM2)
        .validate_all(module)
        .context("the adapter is not valid WebAssembly")?;
    let allowed: BTreeSet<(String, String)> = world.imports().into_iter().collect();
    let mut expected: BTreeSet<&str> = functions.iter().map(String::as_str).collect();
    expected.insert(REALLOC);
    for payload in Parser::new(0).parse_all(module) {
        match payload? {
            Payload::ImportSection(section) => {
                for import in section.into_imports() {
                    let import = import?;
                    check_import(&import, &allowed)?;
                }
            }
            Payload::ExportSection(section) => {
                for export in section {
                    let export = export?;
                    ensure!(
                        export.kind == ExternalKind::Func && expected.remove(export.name),
                        "the adapter exports {:?}, which nobody asked for",
                        export.name
                    );
                }
            }
            Payload::StartSection { .. }
            | Payload::TableSection(_)
            | Payload::MemorySection(_)
            | Payload::ElementSection(_)
            | Payload::DataCountSection { .. }
            | Payload::DataSection(_)
            | Payload::TagSection(_) => {
                bail!("the adapter has a section that wit-component rejects")
            }
            _ => {}
        }
    }
    ensure!(
        expected.is_empty(),
        "the adapter lacks exports: {}",
        expected.into_iter().collect::<Vec<_>>().join(", ")
    );
    Ok(())
}

fn check_import(
    import: &wasmparser::Import<'_>,
    allowed: &BTreeSet<(String, String)>,
) -> Result<()> {
    match import.ty {
        TypeRef::Func(_) => ensure!(
            allowed.contains(&(import.module.to_string(), import.name.to_string())),
            "the adapter imports {} {}, which no WIT package has",
            import.module,
            import.name
        ),
        TypeRef::Memory(memory) => ensure!(
            (import.module, import.name) == ("env", "memory")
                && memory.initial == 0
                && memory.maximum.is_none(),
            "the adapter's memory must be env memory, without limits"
        ),
        _ => bail!(
            "the adapter imports {} {}, which is no function",
            import.module,
            import.name
        ),
    }
    Ok(())
}
