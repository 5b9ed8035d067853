//! What there is to know about a module before it is adapted.
//!
//! 1. The validator sees each part before anything is read from it.
//! 2. Imports, memories and exports are collected; data and custom sections are searched for traces
//!    of the toolchain.
//! 3. The dialect and the profile are detected from these.

use crate::detect::{Choice, detect};
use crate::dialect::is_nn;
use crate::evidence::Evidence;
use crate::input::truncated;
use crate::refusal::Refusal;
use crate::validate::{FEATURES, component, invalid};
use serde::Serialize;
use std::collections::BTreeSet;
use std::fmt;
use wasmparser::{
    Chunk, Encoding, ExternalKind, FuncType, FuncValidatorAllocations, MemoryType, Parser, Payload,
    TypeRef, ValidPayload, Validator,
};

/// The import module of WASI preview 1.
pub(crate) const PREVIEW1: &str = "wasi_snapshot_preview1";

/// What [`analyze`] finds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Analysis {
    /// Module or component.
    pub kind: Kind,
    /// Size of the binary in bytes.
    pub bytes: usize,
    /// Everything a module imports, in its order. Empty for a component: see [`world`](crate::world).
    pub imports: Vec<Import>,
    /// The memory that an adapter would share.
    pub memory: Memory,
    /// How a host starts it.
    pub entry: Entry,
    /// The names of exported functions.
    pub exports: Vec<String>,
    /// The export through which adapters can allocate, if there is one.
    pub realloc: Option<String>,
    /// It imports WASI preview 1.
    pub preview1: bool,
    /// Its use of wasi-nn.
    pub nn: Option<Nn>,
    /// It describes component-model imports and exports of its own.
    pub component_types: bool,
    /// Dialect and profile, and why, if it uses wasi-nn.
    pub detected: Option<Choice>,
    /// Its memory has so many pages at the start and can have no more.
    #[serde(skip)]
    pub(crate) full: Option<u64>,
    /// What the functions take and give that are called when it starts, by their names.
    #[serde(skip)]
    pub(crate) started: Vec<(String, Signature)>,
}

/// How many pages a memory can have.
const MOST_PAGES: u64 = 1 << 16;

/// Whether the input needs any work.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// A core module.
    Module,
    /// A component, which stays as it is.
    Component,
}

/// One import of a module.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Import {
    /// Module part of its name.
    pub module: String,
    /// Field part of its name.
    pub name: String,
    /// What is imported.
    #[serde(flatten)]
    pub kind: ImportKind,
}

/// What is imported.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case", tag = "kind", content = "type")]
pub enum ImportKind {
    /// A function.
    Function(Signature),
    /// A memory.
    Memory,
    /// A table.
    Table,
    /// A global.
    Global,
    /// A tag of exceptions.
    Tag,
}

impl ImportKind {
    /// The word for it.
    pub fn word(&self) -> &'static str {
        match self {
            ImportKind::Function(_) => "function",
            ImportKind::Memory => "memory",
            ImportKind::Table => "table",
            ImportKind::Global => "global",
            ImportKind::Tag => "tag",
        }
    }
}

/// Parameters and results of a core function.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Signature {
    /// Types of the parameters, as in the text format.
    pub params: Vec<String>,
    /// Types of the results.
    pub results: Vec<String>,
}

impl Signature {
    pub(crate) fn of(ty: &FuncType) -> Signature {
        Signature {
            params: ty.params().iter().map(ToString::to_string).collect(),
            results: ty.results().iter().map(ToString::to_string).collect(),
        }
    }

    /// The shape of every wasi-nn function.
    pub(crate) fn i32s(params: usize) -> Signature {
        Signature {
            params: vec!["i32".to_string(); params],
            results: vec!["i32".to_string()],
        }
    }

    /// In words, shorter where every parameter has one type: `5 i32 and gives i32`.
    pub(crate) fn words(&self) -> String {
        let params = match self.params.as_slice() {
            [] => "nothing".to_string(),
            [first, rest @ ..] if rest.iter().all(|p| p == first) => {
                format!("{} {first}", self.params.len())
            }
            params => format!("({})", params.join(", ")),
        };
        match self.results.as_slice() {
            [] => format!("{params} and gives nothing"),
            results => format!("{params} and gives {}", results.join(", ")),
        }
    }
}

impl fmt::Display for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "({})", self.params.join(", "))?;
        match self.results.as_slice() {
            [] => Ok(()),
            [one] => write!(f, " -> {one}"),
            many => write!(f, " -> ({})", many.join(", ")),
        }
    }
}

/// The memory of a module.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Memory {
    /// There is none.
    None,
    /// One of its own, exported as `memory`: what adapters need.
    Exported,
    /// One of its own, not exported as `memory`.
    Hidden,
    /// One that it imports.
    Imported,
    /// One that threads share, its own or imported.
    Shared,
    /// One with 64-bit addresses, its own or imported.
    Memory64,
    /// More than one.
    Many,
}

/// How a host starts a module.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Entry {
    /// It exports `_start` and runs once.
    Command,
    /// It exports `_initialize`, called before its other exports.
    Reactor,
    /// It exports neither.
    Library,
}

/// The use a module makes of wasi-nn.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Nn {
    /// `wasi_ephemeral_nn` or `wasi_nn`; the first that is imported, if both are.
    pub module: String,
    /// The functions that it imports, each once.
    pub functions: Vec<String>,
    /// The same, to be found quickly: a hostile module imports very many.
    #[serde(skip)]
    known: BTreeSet<String>,
}

/// Validates a module or a component, binary or text, and collects what matters here.
///
/// # Errors
/// Whatever [`read`](crate::read) refuses, and wasm that is not valid.
pub fn analyze(bytes: &[u8]) -> Result<Analysis, Refusal> {
    analyze_binary(&crate::input::read(bytes)?, Code::Validate)
}

/// Whether code, elements and data are validated now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Code {
    /// Yes.
    Validate,
    /// No: it will be, as part of the component. It is the most expensive part of all, and
    /// `wit-component` only copies the code of the main module.
    Later,
}

pub(crate) fn analyze_binary(wasm: &[u8], code: Code) -> Result<Analysis, Refusal> {
    if Parser::is_component(wasm) {
        component(wasm)?;
        return Ok(Analysis::new(Kind::Component, wasm.len()));
    }
    let collected = collect(wasm, code)?;
    let mut analysis = collected.analysis;
    analysis.memory = memory(&collected.memories, collected.memory_exported);
    if let [(memory, _)] = collected.memories.as_slice() {
        let most = memory.maximum.unwrap_or(MOST_PAGES);
        analysis.full = (memory.initial >= most).then_some(memory.initial);
    }
    if let Some(nn) = &analysis.nn {
        analysis.detected = Some(detect(nn, &collected.evidence));
    }
    Ok(analysis)
}

impl Analysis {
    fn new(kind: Kind, bytes: usize) -> Analysis {
        Analysis {
            kind,
            bytes,
            imports: Vec::new(),
            memory: Memory::None,
            entry: Entry::Library,
            exports: Vec::new(),
            realloc: None,
            preview1: false,
            nn: None,
            component_types: false,
            detected: None,
            full: None,
            started: Vec::new(),
        }
    }

    fn import(&mut self, import: Import) {
        self.preview1 |= import.module == PREVIEW1;
        if is_nn(&import.module) {
            let nn = self.nn.get_or_insert_with(|| Nn {
                module: import.module.clone(),
                functions: Vec::new(),
                known: BTreeSet::new(),
            });
            if nn.module == import.module && nn.known.insert(import.name.clone()) {
                nn.functions.push(import.name.clone());
            }
        }
        self.imports.push(import);
    }

    fn export(&mut self, name: &str) {
        match name {
            "_start" => self.entry = Entry::Command,
            "_initialize" if self.entry == Entry::Library => self.entry = Entry::Reactor,
            // In the order in which wit-component looks for them.
            "cabi_realloc_adapter" => self.realloc = Some(name.to_string()),
            "cabi_realloc" if self.realloc.as_deref() != Some("cabi_realloc_adapter") => {
                self.realloc = Some(name.to_string());
            }
            "canonical_abi_realloc" if self.realloc.is_none() => {
                self.realloc = Some(name.to_string());
            }
            _ => {}
        }
        self.exports.push(name.to_string());
    }
}

struct Collected {
    analysis: Analysis,
    evidence: Evidence,
    /// Every memory, imported or not.
    memories: Vec<(MemoryType, Own)>,
    memory_exported: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Own {
    Yes,
    No,
}

fn collect(wasm: &[u8], code: Code) -> Result<Collected, Refusal> {
    let bad = |error| invalid(&error, wasm.len(), "module");
    let mut collected = Collected {
        analysis: Analysis::new(Kind::Module, wasm.len()),
        evidence: Evidence::default(),
        memories: Vec::new(),
        memory_exported: false,
    };
    let mut validator = Validator::new_with_features(FEATURES);
    let mut allocations = FuncValidatorAllocations::default();
    let mut parser = Parser::new(0);
    // What it reads and hosts do not have is told as that.
    parser.set_features(FEATURES);
    let mut rest = wasm;
    loop {
        let Chunk::Parsed { consumed, payload } = parser.parse(rest, true).map_err(bad)? else {
            return Err(truncated(wasm.len()));
        };
        rest = rest.get(consumed..).unwrap_or_default();
        if let Payload::CodeSectionStart { size, .. } = &payload
            && code == Code::Later
        {
            parser.skip_section();
            match usize::try_from(*size)
                .ok()
                .and_then(|size| rest.get(size..))
            {
                Some(after) => rest = after,
                None => return Err(truncated(wasm.len())),
            }
            continue;
        }
        if code == Code::Later && matches!(payload, Payload::End(_)) {
            // The validator would miss the bodies.
            return Ok(collected);
        }
        let later = code == Code::Later
            && matches!(
                payload,
                Payload::ElementSection(_) | Payload::DataSection(_)
            );
        if !later {
            match validator.payload(&payload).map_err(bad)? {
                ValidPayload::Func(function, body) => {
                    let mut function = function.into_validator(allocations);
                    function.validate(&body).map_err(bad)?;
                    allocations = function.into_allocations();
                }
                ValidPayload::End(_) => return Ok(collected),
                _ => {}
            }
        }
        collected.payload(&payload, &validator, wasm).map_err(bad)?;
    }
}

impl Collected {
    fn payload(
        &mut self,
        payload: &Payload<'_>,
        validator: &Validator,
        wasm: &[u8],
    ) -> wasmparser::Result<()> {
        match payload {
            Payload::Version { encoding, .. } => debug_assert_eq!(*encoding, Encoding::Module),
            Payload::ImportSection(section) => {
                for import in section.clone().into_imports() {
                    let import = import?;
                    self.analysis.import(Import {
                        module: import.module.to_string(),
                        name: import.name.to_string(),
                        kind: import_kind(import.ty, validator),
                    });
                    if let TypeRef::Memory(ty) = import.ty {
                        self.memories.push((ty, Own::No));
                    }
                }
            }
            Payload::MemorySection(section) => {
                for ty in section.clone() {
                    self.memories.push((ty?, Own::Yes));
                }
            }
            Payload::ExportSection(section) => {
                for export in section.clone() {
                    let export = export?;
                    match export.kind {
                        ExternalKind::Func => {
                            self.analysis.export(export.name);
                            if matches!(export.name, "_start" | "_initialize") {
                                let signature = exported(export.index, validator);
                                let name = export.name.to_string();
                                self.analysis.started.extend(signature.map(|ty| (name, ty)));
                            }
                        }
                        ExternalKind::Memory => self.memory_exported |= export.name == "memory",
                        _ => {}
                    }
                }
            }
            Payload::DataSection(section) => {
                let range = section.range();
                self.evidence.scan_data(slice(wasm, &range));
            }
            Payload::CustomSection(section) => {
                self.analysis.component_types |= section.name().starts_with("component-type");
                self.evidence.scan_custom(section.name(), section.data());
            }
            _ => {}
        }
        Ok(())
    }
}

fn slice<'a>(wasm: &'a [u8], range: &std::ops::Range<u64>) -> &'a [u8] {
    let at = |offset: u64| usize::try_from(offset).unwrap_or(usize::MAX);
    wasm.get(at(range.start)..at(range.end)).unwrap_or_default()
}

/// What an exported function takes and gives.
fn exported(function: u32, validator: &Validator) -> Option<Signature> {
    let types = validator.types(0)?;
    match &types[types.core_function_at(function)].composite_type.inner {
        wasmparser::CompositeInnerType::Func(ty) => Some(Signature::of(ty)),
        _ => None,
    }
}

fn import_kind(ty: TypeRef, validator: &Validator) -> ImportKind {
    match ty {
        TypeRef::Func(index) | TypeRef::FuncExact(index) => {
            // The validator has accepted the import, so the type is there and is a function's.
            let signature = validator.types(0).and_then(|types| {
                let id = types.core_type_at_in_module(index);
                match &types[id].composite_type.inner {
                    wasmparser::CompositeInnerType::Func(ty) => Some(Signature::of(ty)),
                    _ => None,
                }
            });
            ImportKind::Function(signature.unwrap_or(Signature {
                params: Vec::new(),
                results: Vec::new(),
            }))
        }
        TypeRef::Memory(_) => ImportKind::Memory,
        TypeRef::Table(_) => ImportKind::Table,
        TypeRef::Global(_) => ImportKind::Global,
        TypeRef::Tag(_) => ImportKind::Tag,
    }
}

fn memory(memories: &[(MemoryType, Own)], exported: bool) -> Memory {
    match memories {
        [] => Memory::None,
        all if all.iter().any(|(ty, _)| ty.shared) => Memory::Shared,
        all if all.iter().any(|(ty, _)| ty.memory64) => Memory::Memory64,
        [(_, Own::No)] => Memory::Imported,
        [(_, Own::Yes)] if exported => Memory::Exported,
        [(_, Own::Yes)] => Memory::Hidden,
        _ => Memory::Many,
    }
}
