//! Has a module's start function wait until its imports are there.
//!
//! In a component the module is instantiated before what its adapters lower has its place in the table that leads
//! to it. A start function that calls an import would trap there. So the module loses its start section, and the function is
//! called first thing by `_start` in a program, and by `_initialize` otherwise, which `wit-component` calls
//! when everything is there. Either comes before anything else that the module does.
//!
//! At most one function is appended, so that no index changes, and bodies stay where they are in the code section, so that
//! debug information stays true.

use crate::sections;
use std::borrow::Cow;
use wasm_encoder::reencode::{Reencode, RoundtripReencoder};
use wasm_encoder::{ExportKind, ExportSection, Function, FunctionSection, RawSection, SectionId};
use wasmparser::{BinaryReaderError, ExternalKind, Parser, Payload, TypeRef};

/// The module, changed if it has a start function.
///
/// A module that cannot be read comes back as it is: whoever encodes it next says what is wrong.
pub(crate) fn defer(module: &[u8]) -> Cow<'_, [u8]> {
    match Found::read(module) {
        Ok(Some(found)) => found
            .encode(module)
            .map_or(Cow::Borrowed(module), Cow::Owned),
        Ok(None) | Err(_) => Cow::Borrowed(module),
    }
}

/// What has to be known about a module.
struct Found {
    /// The start function.
    start: u32,
    /// Its type, which is that of the two others as well: it takes nothing and gives nothing.
    ty: u32,
    functions: u32,
    /// The function that is called when everything is there, by its name.
    entry: Option<(&'static str, u32)>,
}

impl Found {
    /// `None` if nothing has to change.
    fn read(module: &[u8]) -> Result<Option<Self>, BinaryReaderError> {
        let (mut types, mut start) = (Vec::new(), None);
        let (mut command, mut reactor) = (None, None);
        for payload in Parser::new(0).parse_all(module) {
            match payload? {
                Payload::ImportSection(section) => {
                    for import in section.into_imports() {
                        if let TypeRef::Func(ty) | TypeRef::FuncExact(ty) = import?.ty {
                            types.push(ty);
                        }
                    }
                }
                Payload::FunctionSection(section) => {
                    for ty in section {
                        types.push(ty?);
                    }
                }
                Payload::ExportSection(section) => {
                    for export in section {
                        let export = export?;
                        match (export.name, export.kind) {
                            ("_start", ExternalKind::Func) => command = Some(export.index),
                            ("_initialize", ExternalKind::Func) => reactor = Some(export.index),
                            _ => {}
                        }
                    }
                }
                Payload::StartSection { func, .. } => start = Some(func),
                _ => {}
            }
        }
        let Some(start) = start else { return Ok(None) };
        let ty = usize::try_from(start)
            .ok()
            .and_then(|start| types.get(start));
        let entry = command.map(|index| ("_start", index));
        Ok(ty.map(|ty| Self {
            start,
            ty: *ty,
            functions: u32::try_from(types.len()).unwrap_or(u32::MAX),
            entry: entry.or(reactor.map(|index| ("_initialize", index))),
        }))
    }

    /// `None` if some part cannot be read, or has no place for the function.
    fn encode(&self, module: &[u8]) -> Option<Vec<u8>> {
        let mut output = wasm_encoder::Module::new();
        // Without an entry the start function becomes one, and there is nothing to append.
        let mut appended = self.entry.is_none();
        let mut exported = false;
        for payload in Parser::new(0).parse_all(module) {
            match payload.ok()? {
                Payload::FunctionSection(section) if self.entry.is_some() => {
                    let mut functions = FunctionSection::new();
                    for ty in section {
                        functions.function(ty.ok()?);
                    }
                    functions.function(self.ty);
                    output.section(&functions);
                }
                Payload::ExportSection(section) => {
                    output.section(&self.exports(section)?);
                    exported = true;
                }
                // Exports come before it.
                Payload::StartSection { .. } => {
                    if !exported {
                        output.section(&self.exports_alone());
                        exported = true;
                    }
                }
                Payload::CodeSectionStart {
                    unchecked_range: range,
                    count,
                    ..
                } if self.entry.is_some() => {
                    let start = usize::try_from(range.start).ok()?;
                    let end = usize::try_from(range.end).ok()?;
                    let bodies = module.get(start..end)?;
                    output.section(&RawSection {
                        id: SectionId::Code.into(),
                        data: &self.code(bodies, count)?,
                    });
                    appended = true;
                }
                Payload::CodeSectionEntry(_) => {}
                other => sections::copy(&mut output, module, &other)?,
            }
        }
        (appended && exported).then(|| output.finish())
    }

    /// The exports, with the function in the place of the entry, or beside the others.
    fn exports(&self, section: wasmparser::ExportSectionReader<'_>) -> Option<ExportSection> {
        let mut exports = ExportSection::new();
        for export in section {
            let export = export.ok()?;
            let kind = RoundtripReencoder.export_kind(export.kind).ok()?;
            let index = match self.entry {
                Some((name, _)) if export.name == name => self.functions,
                _ => export.index,
            };
            exports.export(export.name, kind, index);
        }
        if self.entry.is_none() {
            exports.export("_initialize", ExportKind::Func, self.start);
        }
        Some(exports)
    }

    fn exports_alone(&self) -> ExportSection {
        let mut exports = ExportSection::new();
        exports.export("_initialize", ExportKind::Func, self.start);
        exports
    }

    /// The code section's content with one body more.
    fn code(&self, section: &[u8], count: u32) -> Option<Vec<u8>> {
        let (mut content, from) = sections::more_bodies(section, count, 1)?;
        content.extend_from_slice(&section[from..]);
        let mut function = Function::new([]);
        let (_, entry) = self.entry?;
        function.instructions().call(self.start).call(entry).end();
        sections::append(&mut content, function)?;
        Some(content)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sections::bodies;
    use wasmparser::Validator;

    fn changed(text: &str) -> Option<String> {
        let module = wat::parse_str(text).expect("the test's module is valid");
        match defer(&module) {
            Cow::Borrowed(_) => None,
            Cow::Owned(bytes) => {
                Validator::new()
                    .validate_all(&bytes)
                    .expect("the changed module is valid");
                assert_eq!(bodies(&module), bodies(&bytes)[..bodies(&module).len()]);
                Some(exports(&bytes))
            }
        }
    }

    fn exports(module: &[u8]) -> String {
        let mut found = Vec::new();
        for payload in Parser::new(0).parse_all(module) {
            match payload.expect("it parses") {
                Payload::ExportSection(section) => {
                    for export in section {
                        let export = export.expect("it parses");
                        found.push(format!("{} {}", export.name, export.index));
                    }
                }
                Payload::StartSection { .. } => found.push("start".to_owned()),
                _ => {}
            }
        }
        found.join(", ")
    }

    #[test]
    fn programs_call_it_first() {
        let text = r#"(module (import "a" "b" (func $b)) (memory (export "memory") 1)
            (func $start call $b) (start $start) (func (export "_start")) (func (export "other")))"#;
        let expected = "memory 0, _start 4, other 3";
        assert_eq!(changed(text).as_deref(), Some(expected));
    }

    #[test]
    fn reactors_call_it_first_and_libraries_become_reactors() {
        let text = r#"(module (func $start) (start $start) (func (export "_initialize")))"#;
        assert_eq!(changed(text).as_deref(), Some("_initialize 2"));
        let text = r#"(module (func $start) (start $start) (func (export "f")))"#;
        assert_eq!(changed(text).as_deref(), Some("f 1, _initialize 0"));
        let text = r#"(module (import "a" "b" (func $b)) (start $b))"#;
        assert_eq!(changed(text).as_deref(), Some("_initialize 0"));
    }

    #[test]
    fn others_are_left_alone() {
        assert_eq!(changed(r#"(module (func (export "_start")))"#), None);
    }

    #[test]
    fn survives_broken_modules() {
        let text = r#"(module (func $start) (start $start) (func (export "_start")))"#;
        let module = wat::parse_str(text).expect("the test's module is valid");
        for length in 0..module.len() {
            defer(&module[..length]);
        }
    }
}
