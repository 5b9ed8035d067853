//! Keeps a module's memory together, and the adapters' pages out of it.
//!
//! An adapter keeps its state in pages that it adds to the module's memory. Some allocators take those for their own: the
//! malloc of wasi-libc before 2023 takes everything up to `memory.size` when it is first called, and the heaps of Go,
//! AssemblyScript and others are one piece that ends where the memory does, wherever `memory.grow` says that new pages are.
//!
//! So the memory of such a module starts with more pages than it asks for ([`HEADROOM`]), which nobody touches until they are
//! used, and the adapters' lie behind those. `memory.size` and `memory.grow` give what they would without an adapter and
//! take from these pages, as long as they last. From then on both are those of the memory itself.
//!
//! Two functions, their types and two globals are appended, so no index changes. A function that holds one of the two
//! instructions is appended once more, changed, and in its place is one of the same size that calls that: whatever else
//! is in the code section stays where it is, and debug information stays true of it. A module that never asks for the size, by
//! `memory.size` or by growth by no pages, stays as it is: its allocator goes by what `memory.grow` gives.

use crate::leb128::leb128;
use crate::sections;
use memchr::memmem;
use std::borrow::Cow;
use std::ops::Range;
use wasm_encoder::reencode::{Reencode, RoundtripReencoder};
use wasm_encoder::{
    BlockType, ConstExpr, Function, FunctionSection, GlobalSection, GlobalType, MemorySection,
    RawSection, SectionId, TypeSection, ValType,
};
use wasmparser::{
    BinaryReaderError, CompositeInnerType, FunctionBody, Operator, Parser, Payload, TypeRef,
};

/// `memory.size` and `memory.grow` of memory 0.
const MEMORY_SIZE: &[u8] = &[0x3f, 0x00];
const MEMORY_GROW: &[u8] = &[0x40, 0x00];

/// How many pages a memory starts with beyond those that its module asks for: 128 MiB.
const HEADROOM: u32 = 2048;
/// How many pages a memory can have.
const MOST_PAGES: u32 = 1 << 16;
/// How many pages are left for adapters and what hosts give.
const LEFT: u32 = 1024;

/// The module, changed if it has to be. Its memory has `most_pages` where it runs, as far as that is known.
///
/// A module that cannot be read comes back as it is: whoever encodes it next says what is wrong.
pub(crate) fn keep_together(module: &[u8], most_pages: Option<u32>) -> Cow<'_, [u8]> {
    match Sections::read(module) {
        Ok(Some(sections)) => sections
            .encode(module, most_pages.unwrap_or(MOST_PAGES))
            .map_or(Cow::Borrowed(module), Cow::Owned),
        Ok(None) | Err(_) => Cow::Borrowed(module),
    }
}

/// What has to be known about a module to append to it.
#[derive(Default)]
struct Sections<'a> {
    types: u32,
    /// How many parameters functions of each type have.
    parameters: Vec<u32>,
    functions: u32,
    /// The types of the module's own.
    own: Vec<u32>,
    globals: u32,
    pages: Option<u32>,
    /// Whether the memory has a largest size of its own.
    has_maximum: bool,
    bodies: Vec<FunctionBody<'a>>,
    reads_size: bool,
}

impl<'a> Sections<'a> {
    /// `None` if nothing has to change.
    fn read(module: &'a [u8]) -> Result<Option<Sections<'a>>, BinaryReaderError> {
        let mut found = Sections::default();
        for payload in Parser::new(0).parse_all(module) {
            match payload? {
                Payload::TypeSection(section) => {
                    for group in section {
                        for ty in group?.types() {
                            found.parameters.push(match &ty.composite_type.inner {
                                CompositeInnerType::Func(ty) => {
                                    u32::try_from(ty.params().len()).unwrap_or(u32::MAX)
                                }
                                _ => 0,
                            });
                            found.types += 1;
                        }
                    }
                }
                Payload::ImportSection(section) => {
                    for import in section.into_imports() {
                        match import?.ty {
                            TypeRef::Func(_) | TypeRef::FuncExact(_) => found.functions += 1,
                            TypeRef::Global(_) => found.globals += 1,
                            // Its size at the start is not known here.
                            TypeRef::Memory(_) => return Ok(None),
                            _ => {}
                        }
                    }
                }
                Payload::FunctionSection(section) => {
                    for ty in section {
                        found.own.push(ty?);
                        found.functions += 1;
                    }
                }
                Payload::GlobalSection(section) => found.globals += section.count(),
                Payload::MemorySection(section) => {
                    for memory in section {
                        let memory = memory?;
                        let Ok(pages) = u32::try_from(memory.initial) else {
                            return Ok(None);
                        };
                        found.has_maximum |= memory.maximum.is_some();
                        if memory.memory64 || found.pages.replace(pages).is_some() {
                            return Ok(None);
                        }
                    }
                }
                Payload::CodeSectionEntry(body) => {
                    found.reads_size |= (holds(&body, MEMORY_SIZE) || holds(&body, MEMORY_GROW))
                        && asks_for_size(&instructions(&body)?);
                    found.bodies.push(body);
                }
                _ => {}
            }
        }
        Ok((found.reads_size && found.pages.is_some()).then_some(found))
    }

    /// The module with the functions appended and the instructions replaced; `None` if some part of it
    /// cannot be read.
    fn encode(&self, module: &[u8], most_pages: u32) -> Option<Vec<u8>> {
        let pages = self.pages?;
        let end = pages + self.headroom(pages, most_pages);
        let size = self.functions;
        let grow = self.functions + 1;
        let state = State {
            size: self.globals,
            beyond: self.globals + 1,
        };
        let changed = self.changed().ok()?;
        let mut output = wasm_encoder::Module::new();
        let mut has_globals = false;
        for payload in Parser::new(0).parse_all(module) {
            let payload = payload.ok()?;
            // Globals come before all of these.
            let after_globals = matches!(
                payload,
                Payload::ExportSection(_)
                    | Payload::StartSection { .. }
                    | Payload::ElementSection(_)
                    | Payload::DataCountSection { .. }
                    | Payload::CodeSectionStart { .. }
            );
            if after_globals && !has_globals {
                output.section(&state.globals(GlobalSection::new(), pages));
                has_globals = true;
            }
            match payload {
                Payload::TypeSection(section) => {
                    let mut types = TypeSection::new();
                    RoundtripReencoder
                        .parse_type_section(&mut types, section)
                        .ok()?;
                    types.ty().function([], [ValType::I32]);
                    types.ty().function([ValType::I32], [ValType::I32]);
                    output.section(&types);
                }
                Payload::FunctionSection(section) => {
                    let mut functions = FunctionSection::new();
                    for ty in section {
                        functions.function(ty.ok()?);
                    }
                    functions.function(self.types);
                    functions.function(self.types + 1);
                    for index in &changed {
                        functions.function(*self.own.get(*index)?);
                    }
                    output.section(&functions);
                }
                Payload::GlobalSection(section) => {
                    let mut globals = GlobalSection::new();
                    RoundtripReencoder
                        .parse_global_section(&mut globals, section)
                        .ok()?;
                    output.section(&state.globals(globals, pages));
                    has_globals = true;
                }
                Payload::CodeSectionStart {
                    unchecked_range: range,
                    count,
                    ..
                } => {
                    let mut code = self.code(module, &range, count, &changed)?;
                    sections::append(&mut code, state.size_function())?;
                    sections::append(&mut code, state.grow_function(size, end))?;
                    for index in &changed {
                        sections::append(
                            &mut code,
                            Self::redirect(&self.bodies[*index], size, grow)?,
                        )?;
                    }
                    output.section(&RawSection {
                        id: SectionId::Code.into(),
                        data: &code,
                    });
                }
                Payload::CodeSectionEntry(_) => {}
                Payload::MemorySection(section) => {
                    let mut memories = MemorySection::new();
                    for memory in section {
                        let mut memory = RoundtripReencoder.memory_type(memory.ok()?).ok()?;
                        memory.minimum = end.into();
                        memories.memory(memory);
                    }
                    output.section(&memories);
                }
                other => sections::copy(&mut output, module, &other)?,
            }
        }
        Some(output.finish())
    }

    /// With how many pages more than it asks for the memory starts. One with a largest size gets none: the program counts on
    /// that.
    fn headroom(&self, pages: u32, most_pages: u32) -> u32 {
        let room = most_pages
            .min(MOST_PAGES)
            .saturating_sub(pages)
            .saturating_sub(LEFT);
        match self.has_maximum {
            true => 0,
            false => room.min(HEADROOM),
        }
    }

    /// The bodies that hold one of the instructions.
    fn changed(&self) -> Result<Vec<usize>, BinaryReaderError> {
        let mut changed = Vec::new();
        for (index, body) in self.bodies.iter().enumerate() {
            let holds = (holds(body, MEMORY_SIZE) || holds(body, MEMORY_GROW))
                && instructions(body)?.iter().any(|operator| {
                    matches!(
                        operator,
                        Operator::MemorySize { mem: 0 } | Operator::MemoryGrow { mem: 0 }
                    )
                });
            if holds {
                changed.push(index);
            }
        }
        Ok(changed)
    }

    /// The code section's content with the bodies that there are, and the number of those that there will be.
    fn code(
        &self,
        module: &[u8],
        range: &Range<u64>,
        count: u32,
        changed: &[usize],
    ) -> Option<Vec<u8>> {
        let at = |offset: u64| usize::try_from(offset).ok();
        let start = at(range.start)?;
        let section = module.get(start..at(range.end)?)?;
        let appended = u32::try_from(changed.len()).ok()?.checked_add(2)?;
        let (mut code, from) = sections::more_bodies(section, count, appended)?;
        let mut end = start + from;
        let mut copies = (self.functions + 2)..;
        for (index, body) in self.bodies.iter().enumerate() {
            let range = body.range();
            let size = module.get(end..at(range.start)?)?;
            end = at(range.end)?;
            if changed.binary_search(&index).is_err() {
                code.extend_from_slice(size);
                code.extend_from_slice(body.as_bytes());
                continue;
            }
            let parameters = self.own.get(index).and_then(|ty| {
                let ty = usize::try_from(*ty).ok()?;
                self.parameters.get(ty).copied()
            })?;
            let forward = forward(parameters, copies.next()?, body.as_bytes().len());
            if forward.len() == body.as_bytes().len() {
                code.extend_from_slice(size);
            } else {
                // It is too small for that: what follows moves by some bytes.
                code.extend(leb128(u32::try_from(forward.len()).ok()?, size.len()));
            }
            code.extend(forward);
        }
        Some(code)
    }

    /// A body whose instructions call the appended functions.
    fn redirect(body: &FunctionBody<'_>, size: u32, grow: u32) -> Option<Function> {
        let mut locals = Vec::new();
        for local in body.get_locals_reader().ok()? {
            let (count, ty) = local.ok()?;
            locals.push((count, RoundtripReencoder.val_type(ty).ok()?));
        }
        let mut function = Function::new(locals);
        for operator in instructions(body).ok()? {
            match operator {
                Operator::MemorySize { mem: 0 } => {
                    function.instructions().call(size);
                }
                Operator::MemoryGrow { mem: 0 } => {
                    function.instructions().call(grow);
                }
                other => {
                    function.instruction(&RoundtripReencoder.instruction(other).ok()?);
                }
            }
        }
        Some(function)
    }
}

/// Whether there is `memory.size`, or the growth by no pages that some allocators ask with.
fn asks_for_size(operators: &[Operator<'_>]) -> bool {
    let is_size = |operator: &Operator<'_>| matches!(operator, Operator::MemorySize { .. });
    operators.iter().any(is_size)
        || operators.windows(2).any(|pair| {
            matches!(
                pair,
                [Operator::I32Const { value: 0 }, Operator::MemoryGrow { .. }]
            )
        })
}

/// A body that calls a function with its own parameters and gives what that gives, of at least so many bytes.
fn forward(parameters: u32, function: u32, size: usize) -> Vec<u8> {
    const LOCAL_GET: u8 = 0x20;
    const CALL: u8 = 0x10;
    const NOP: u8 = 0x01;
    const END: u8 = 0x0b;
    // No locals.
    let mut body = vec![0];
    for parameter in 0..parameters {
        body.push(LOCAL_GET);
        body.extend(leb128(parameter, 1));
    }
    body.push(CALL);
    body.extend(leb128(function, 1));
    let length = size.saturating_sub(1).max(body.len());
    body.resize(length, NOP);
    body.push(END);
    body
}

/// Whether these bytes are anywhere in a body: reading its instructions is slower.
fn holds(body: &FunctionBody<'_>, bytes: &[u8]) -> bool {
    memmem::find(body.as_bytes(), bytes).is_some()
}

fn instructions<'a>(body: &FunctionBody<'a>) -> Result<Vec<Operator<'a>>, BinaryReaderError> {
    body.get_operators_reader()?.into_iter().collect()
}

/// The appended globals.
#[derive(Clone, Copy)]
struct State {
    /// The pages that the module has, in its own eyes.
    size: u32,
    /// Whether the memory itself has been grown, so that it tells what there is.
    beyond: u32,
}

impl State {
    fn globals(self, mut globals: GlobalSection, pages: u32) -> GlobalSection {
        for value in [pages, 0] {
            globals.global(
                GlobalType {
                    val_type: ValType::I32,
                    mutable: true,
                    shared: false,
                },
                &ConstExpr::i32_const(value.cast_signed()),
            );
        }
        globals
    }

    /// `() -> pages`.
    fn size_function(self) -> Function {
        let mut function = Function::new([]);
        function
            .instructions()
            .memory_size(0)
            .global_get(self.size)
            .global_get(self.beyond)
            .select()
            .end();
        function
    }

    /// `(pages) -> earlier pages, or -1`. The pages up to `end` are there already.
    fn grow_function(self, size: u32, end: u32) -> Function {
        const PAGES: u32 = 0;
        let mut function = Function::new([]);
        function
            .instructions()
            // Asking for no pages is how some allocators ask for the size.
            .local_get(PAGES)
            .i32_eqz()
            .if_(BlockType::Empty)
            .call(size)
            .return_()
            .end()
            .global_get(self.beyond)
            .i32_eqz()
            .if_(BlockType::Empty)
            .local_get(PAGES)
            .i32_const(end.cast_signed())
            .global_get(self.size)
            .i32_sub()
            .i32_le_u()
            .if_(BlockType::Empty)
            // The size before is the result.
            .global_get(self.size)
            .global_get(self.size)
            .local_get(PAGES)
            .i32_add()
            .global_set(self.size)
            .return_()
            .end()
            .end()
            .local_get(PAGES)
            .memory_grow(0)
            .local_tee(PAGES)
            .i32_const(-1)
            .i32_ne()
            .if_(BlockType::Empty)
            .i32_const(1)
            .global_set(self.beyond)
            .end()
            .local_get(PAGES)
            .end();
        function
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sections::bodies;
    use wasmparser::Validator;

    fn changed(text: &str) -> Option<Vec<u8>> {
        let module = wat::parse_str(text).expect("the test's module is valid");
        match keep_together(&module, None) {
            Cow::Borrowed(_) => None,
            Cow::Owned(bytes) => {
                Validator::new()
                    .validate_all(&bytes)
                    .expect("the changed module is valid");
                Some(bytes)
            }
        }
    }

    fn count(module: &[u8], wanted: fn(&Operator<'_>) -> bool) -> usize {
        Parser::new(0)
            .parse_all(module)
            .filter_map(|payload| match payload.expect("it parses") {
                Payload::CodeSectionEntry(body) => Some(body),
                _ => None,
            })
            .flat_map(|body| instructions(&body).expect("it reads"))
            .filter(|operator| wanted(operator))
            .count()
    }

    #[test]
    fn redirects_every_instruction() {
        let bytes = changed(
            r#"(module
                (import "a" "b" (func (param i32)))
                (memory (export "memory") 3)
                (func (export "size") (result i32) memory.size)
                (func (export "grow") (param i32) (result i32)
                    (local f64) local.get 0 memory.grow drop memory.size)
                (func (export "neither") (result i32) i32.const 63))"#,
        )
        .expect("it reads the size");
        // Only the appended functions hold them now.
        assert_eq!(
            count(&bytes, |o| matches!(o, Operator::MemorySize { .. })),
            1
        );
        assert_eq!(
            count(&bytes, |o| matches!(o, Operator::MemoryGrow { .. })),
            1
        );
    }

    #[test]
    fn bodies_stay_where_they_are() {
        let text = r#"(module
            (memory (export "memory") 3)
            (func (export "first") (result i32) i32.const 1)
            (func (export "size") (param i32 i64) (result i32 i64)
                (local f64) nop nop nop nop nop nop nop local.get 0 memory.grow drop memory.size local.get 1)
            (func (export "last") (result i32) i32.const 0x4000))"#;
        let before = wat::parse_str(text).expect("the test's module is valid");
        let after = changed(text).expect("it reads the size");
        assert_eq!(bodies(&after)[..3], bodies(&before));
        // The two functions, and the changed one.
        assert_eq!(bodies(&after).len(), 6);
        // One that is too small for a call moves what follows, and works all the same.
        let text = r#"(module (memory 1)
            (func (param i32 i32 i32 i32) (result i32) memory.size) (func (result i32) i32.const 5))"#;
        assert_eq!(bodies(&changed(text).expect("it reads the size")).len(), 5);
    }

    #[test]
    fn keeps_globals_and_sections() {
        let bytes = changed(
            r#"(module
                (import "a" "g" (global i32))
                (memory 1)
                (global $mine (mut i64) (i64.const 7))
                (func $f (result i32) memory.size)
                (table 1 funcref)
                (elem (i32.const 0) $f)
                (data (i32.const 0) "text")
                (export "g" (global $mine)))"#,
        );
        assert!(bytes.is_some());
    }

    #[test]
    fn leaves_alone_what_does_not_ask() {
        assert!(
            changed("(module (memory 1) (func (param i32) (result i32) local.get 0 memory.grow))")
                .is_none()
        );
        assert!(changed("(module (memory 1) (func (result i32) i32.const 63))").is_none());
        assert!(
            changed("(module (memory 1) (func (result i32) i32.const 0 memory.grow))").is_some()
        );
        assert!(
            changed(r#"(module (import "a" "m" (memory 1)) (func (result i32) memory.size))"#)
                .is_none()
        );
    }

    #[test]
    fn survives_broken_modules() {
        let module = wat::parse_str("(module (memory 1) (func (result i32) memory.size))")
            .expect("the test's module is valid");
        for length in 0..module.len() {
            keep_together(&module[..length], None);
        }
    }
}
