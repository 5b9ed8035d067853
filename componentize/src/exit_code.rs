//! Lets a program's exit code through.
//!
//! The preview 1 adapter ends a program with `wasi:cli/exit.exit`, which knows success and failure
//! only: every code but 0 becomes 1. Since WASI 0.2.12 there is also `exit-with-code`, but the adapter
//! does not use it, since older hosts lack it. So the import is exchanged here where it is asked for.
//! Both functions take one `i32`; before the call, the adapter compares the code with 0, and that
//! comparison becomes no operation. (As an `u8`, the code is cut to its lowest 8 bits, as on Unix.)

use crate::sections;
use std::collections::BTreeSet;
use wasm_encoder::{
    EntityType, ImportSection, RawSection, SectionId,
    reencode::{Reencode, RoundtripReencoder},
};
use wasmparser::{ExternalKind, Operator, Parser, Payload, TypeRef};

/// The instruction that does nothing.
const NOP: u8 = 0x01;

/// An adapter whose `proc_exit` calls `exit-with-code`; `None` if it does not look as expected.
pub(crate) fn exact(adapter: &[u8]) -> Option<Vec<u8>> {
    let comparison = find_comparison(adapter)?;
    let mut output = wasm_encoder::Module::new();
    for payload in Parser::new(0).parse_all(adapter) {
        match payload.ok()? {
            Payload::ImportSection(section) => {
                let mut imports = ImportSection::new();
                for import in section.into_imports() {
                    let import = import.ok()?;
                    let name = match is_exit(&import) {
                        true => "exit-with-code",
                        false => import.name,
                    };
                    let ty: EntityType = RoundtripReencoder.entity_type(import.ty).ok()?;
                    imports.import(import.module, name, ty);
                }
                output.section(&imports);
            }
            Payload::CodeSectionStart {
                unchecked_range: range,
                ..
            } => {
                let start = usize::try_from(range.start).ok()?;
                let end = usize::try_from(range.end).ok()?;
                let mut code = adapter.get(start..end)?.to_vec();
                let from = comparison.start.checked_sub(start)?;
                let to = comparison.end.checked_sub(start)?;
                code.get_mut(from..to)?.fill(NOP);
                output.section(&RawSection {
                    id: SectionId::Code.into(),
                    data: &code,
                });
            }
            other => sections::copy(&mut output, adapter, &other)?,
        }
    }
    Some(output.finish())
}

/// Where `proc_exit` compares the code with 0, as bytes of the adapter.
///
/// The only place where its parameter is compared, and then handed to a function of one parameter.
fn find_comparison(adapter: &[u8]) -> Option<std::ops::Range<usize>> {
    let mut imported = 0;
    let mut has_exit = false;
    let mut exports = BTreeSet::new();
    let mut bodies = 0;
    for payload in Parser::new(0).parse_all(adapter) {
        match payload.ok()? {
            Payload::ImportSection(section) => {
                for import in section.into_imports() {
                    let import = import.ok()?;
                    has_exit |= is_exit(&import);
                    if matches!(import.ty, TypeRef::Func(_)) {
                        imported += 1;
                    }
                }
            }
            Payload::ExportSection(section) => {
                for export in section {
                    let export = export.ok()?;
                    if export.kind == ExternalKind::Func && export.name == "proc_exit" {
                        exports.insert(export.index);
                    }
                }
            }
            Payload::CodeSectionEntry(body) => {
                let index = imported + bodies;
                bodies += 1;
                if has_exit && exports.contains(&index) {
                    return comparison_in(&body);
                }
            }
            _ => {}
        }
    }
    None
}

fn comparison_in(body: &wasmparser::FunctionBody<'_>) -> Option<std::ops::Range<usize>> {
    let mut operators = Vec::new();
    for operator in body.get_operators_reader().ok()?.into_iter_with_offsets() {
        operators.push(operator.ok()?);
    }
    operators.windows(4).find_map(|window| match window {
        [
            (Operator::LocalGet { local_index: 0 }, _),
            (Operator::I32Const { value: 0 }, start),
            (Operator::I32Ne, _),
            (Operator::Call { .. }, end),
        ] => Some(usize::try_from(*start).ok()?..usize::try_from(*end).ok()?),
        _ => None,
    })
}

fn is_exit(import: &wasmparser::Import<'_>) -> bool {
    import.name == "exit" && import.module.starts_with("wasi:cli/exit@")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::analysis::Entry;

    #[test]
    fn both_adapters_look_as_expected() {
        for entry in [Entry::Command, Entry::Reactor] {
            let (stock, _) = crate::preview1::adapter(entry);
            let exact = exact(stock).expect("it looks as expected");
            wasmparser::Validator::new()
                .validate_all(&exact)
                .expect("the changed adapter is valid");
        }
    }

    #[test]
    fn other_modules_are_left_alone() {
        assert_eq!(exact(b"\0asm\x01\0\0\0"), None);
        assert_eq!(exact(b"nonsense"), None);
    }
}
