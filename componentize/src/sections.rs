//! What is left as it is when a module is written anew.

use crate::leb128::{leb128, width};
use wasm_encoder::{Function, Module, RawSection};
use wasmparser::Payload;

/// Copies the section that a payload is, if it is one. `None` if it is not whole.
pub(crate) fn copy(output: &mut Module, module: &[u8], payload: &Payload<'_>) -> Option<()> {
    if let Some((id, range)) = payload.as_section() {
        let range = usize::try_from(range.start).ok()?..usize::try_from(range.end).ok()?;
        let data = module.get(range)?;
        output.section(&RawSection { id, data });
    }
    Some(())
}

/// The beginning of a code section of so many more bodies, and how many bytes it takes the place of. Bodies stay where
/// they are, but where their number takes a byte more than before.
pub(crate) fn more_bodies(section: &[u8], count: u32, more: u32) -> Option<(Vec<u8>, usize)> {
    let width = width(section)?;
    Some((leb128(count.checked_add(more)?, width), width))
}

/// Adds a body to the content of a code section.
pub(crate) fn append(code: &mut Vec<u8>, function: Function) -> Option<()> {
    let body = function.into_raw_body();
    code.extend(leb128(u32::try_from(body.len()).ok()?, 1));
    code.extend(body);
    Some(())
}

/// Where each body is, from the start of the code section, and how large.
#[cfg(test)]
pub(crate) fn bodies(module: &[u8]) -> Vec<(u64, u64)> {
    let mut start = 0;
    let mut found = Vec::new();
    for payload in wasmparser::Parser::new(0).parse_all(module) {
        match payload.expect("it parses") {
            Payload::CodeSectionStart {
                unchecked_range: range,
                ..
            } => start = range.start,
            Payload::CodeSectionEntry(body) => {
                let range = body.range();
                found.push((range.start - start, range.end - range.start));
            }
            _ => {}
        }
    }
    found
}
