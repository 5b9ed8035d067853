//! Which adapters a module needs, or why there is no way.
//!
//! 1. Dialect and profile: as asked for, else as detected.
//! 2. Each import belongs to an adapter, or to the module's own component types.
//! 3. The memory is one that adapters can share.
//! 4. Each function is one that its adapter exports, with the signature that it has there.

use crate::analysis::{Analysis, Entry, Import, ImportKind, Kind, Memory, PREVIEW1, Signature};
use crate::detect::Choice;
use crate::dialect::{WASMEDGE, is_allocator, is_nn};
use crate::options::{Options, adapter_bytes, known_dialect, profile_name, target_name};
use crate::refusal::{Reason, Refusal, list};
use crate::{exit_code, exports, preview1};
use llm_wasi_adapter::{Dialect, Profile, dialects};
use std::borrow::Cow;
use std::collections::BTreeMap;

/// What [`componentize`](crate::componentize) will do to a module.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Dialect and profile, and why.
    pub choice: Option<Choice>,
    /// The adapters, in the order in which they are added.
    pub adapters: Vec<Adaptation>,
}

/// An adapter for a module.
#[derive(Clone, Debug)]
pub struct Adaptation {
    /// The import module that it implements.
    pub module: String,
    /// Which of its kind it is, for people.
    pub what: String,
    /// The adapter.
    pub bytes: Cow<'static, [u8]>,
}

/// Decides how a module becomes a component; a component needs nothing.
///
/// # Errors
/// The first reason why it cannot.
pub fn plan(analysis: &Analysis, options: &Options) -> Result<Plan, Refusal> {
    let mut plan = Plan {
        choice: None,
        adapters: Vec::new(),
    };
    if let Some(name) = &options.dialect {
        known_dialect(name)?;
    }
    if analysis.kind == Kind::Component {
        return Ok(plan);
    }
    one_nn_module(analysis)?;
    threads_and_width(analysis)?;
    for adapter in &options.adapters {
        plan.adapters.push(Adaptation {
            module: adapter.name.clone(),
            what: "given".to_string(),
            bytes: given(&adapter.name, &adapter.bytes)?,
        });
    }
    plan.add_nn(analysis, options)?;
    plan.add_preview1(analysis, options);
    known_modules(analysis, &plan)?;
    if analysis.imports.iter().any(|i| plan.has(&i.module)) {
        shareable_memory(analysis)?;
        room_for_state(analysis, &plan)?;
    }
    signatures(analysis, &plan)?;
    if !plan.adapters.is_empty() {
        started(analysis)?;
    }
    Ok(plan)
}

impl Plan {
    fn has(&self, module: &str) -> bool {
        self.adapters.iter().any(|adapter| adapter.module == module)
    }

    fn add_nn(&mut self, analysis: &Analysis, options: &Options) -> Result<(), Refusal> {
        let (Some(nn), Some(detected)) = (&analysis.nn, &analysis.detected) else {
            return Ok(());
        };
        if self.has(&nn.module) {
            return Ok(());
        }
        let choice = choose(&nn.module, detected, options)?;
        let bytes = adapter_bytes(&choice.dialect, choice.profile, options)?;
        self.adapters.push(Adaptation {
            module: nn.module.clone(),
            what: format!(
                "{}, {}, {}",
                choice.dialect,
                profile_name(choice.profile),
                target_name(options.target)
            ),
            bytes,
        });
        self.choice = Some(choice);
        Ok(())
    }

    /// A command needs its adapter even if it imports nothing of preview 1: the adapter exports the
    /// `wasi:cli/run` that hosts call.
    fn add_preview1(&mut self, analysis: &Analysis, options: &Options) {
        let runnable = analysis.entry == Entry::Command && analysis.memory == Memory::Exported;
        if self.has(PREVIEW1) || !(analysis.preview1 || runnable) {
            return;
        }
        let (bytes, what) = preview1::adapter(analysis.entry);
        let exact = options
            .exit_codes
            .then(|| exit_code::exact(bytes))
            .flatten();
        self.adapters.push(Adaptation {
            module: PREVIEW1.to_string(),
            what: match exact {
                Some(_) => format!("{what} with exit codes"),
                None => what.to_string(),
            },
            bytes: exact.map_or(Cow::Borrowed(bytes), Cow::Owned),
        });
    }
}

/// What was asked for, else what was detected.
fn choose(module: &str, detected: &Choice, options: &Options) -> Result<Choice, Refusal> {
    let mut choice = detected.clone();
    if let Some(name) = &options.dialect {
        let dialect = known_dialect(name)?;
        if dialect.module != module {
            let fitting: Vec<&str> = dialects()
                .iter()
                .filter(|d| d.module == module)
                .map(|d| d.name)
                .collect();
            return Err(Refusal::new(
                Reason::DialectMismatch,
                format!(
                    "it imports `{module}`, and dialect {name} is for `{}`",
                    dialect.module
                ),
                format!("one of {}", list(&fitting)),
                "choose one of these, or leave out --dialect to have it detected",
            ));
        }
        if *name != choice.dialect {
            choice.dialect.clone_from(name);
            choice.reason = "It was asked for.".to_string();
        }
    }
    if options.prefer_extended && choice.dialect == WASMEDGE {
        choice.profile = Profile::Extended;
    }
    if let Some(profile) = options.profile
        && profile != choice.profile
    {
        choice.profile = profile;
        choice.reason.push_str(" The profile was asked for.");
    } else if options.profile.is_none()
        && llm_wasi_adapter::find(&choice.dialect, choice.profile, options.target).is_none()
    {
        // A detected profile is a preference; only one that was asked for must be met.
        choice.profile = Profile::Portable;
    }
    Ok(choice)
}

fn one_nn_module(analysis: &Analysis) -> Result<(), Refusal> {
    let mut modules: Vec<&str> = Vec::new();
    for import in &analysis.imports {
        if is_nn(&import.module) && !modules.contains(&import.module.as_str()) {
            modules.push(&import.module);
        }
    }
    if modules.len() < 2 {
        return Ok(());
    }
    Err(Refusal::new(
        Reason::TwoNnModules,
        format!("imports both {}", list(&modules)),
        "functions of one wasi-nn module",
        "build every part of the program against the same wasi-nn bindings",
    ))
}

/// Memories that no adapter can share, whatever else the module imports.
fn threads_and_width(analysis: &Analysis) -> Result<(), Refusal> {
    match analysis.memory {
        Memory::Shared => Err(Refusal::new(
            Reason::SharedMemory,
            "the memory is shared between threads",
            "a memory of its own, without threads",
            "build for wasm32-wasip1 without threads (no `-pthread`, no wasm32-wasip1-threads)",
        )),
        Memory::Memory64 => Err(Refusal::new(
            Reason::Memory64,
            "the memory has 64-bit addresses (memory64)",
            "a 32-bit memory",
            "build for a wasm32 target",
        )),
        _ => Ok(()),
    }
}

fn known_modules(analysis: &Analysis, plan: &Plan) -> Result<(), Refusal> {
    let unknown: Vec<&Import> = analysis
        .imports
        .iter()
        .filter(|import| !plan.has(&import.module))
        // Memories have reasons of their own. With component types, wit-component knows the rest.
        .filter(|import| import.kind != ImportKind::Memory && !analysis.component_types)
        .collect();
    let Some(first) = unknown.first() else {
        return Ok(());
    };
    if first.module == "wasi_unstable" {
        return Err(Refusal::new(
            Reason::OldWasi,
            format!(
                "imports wasi_unstable.{}, which is WASI of before preview 1",
                first.name
            ),
            format!("WASI preview 1 (`{PREVIEW1}`)"),
            "build it again with a toolchain of 2020 or later",
        ));
    }
    if !matches!(first.kind, ImportKind::Function(_)) {
        return Err(not_a_function(first));
    }
    let more = match unknown.len() - 1 {
        0 => String::new(),
        n => format!(" (and {n} more like it)"),
    };
    Err(Refusal::new(
        Reason::UnknownImport,
        format!(
            "imports {}.{}, which is not wasi-nn{more}",
            first.module, first.name
        ),
        "imports of wasi-nn and WASI preview 1 only",
        advice(first),
    ))
}

/// What helps against an import that nothing here implements.
fn advice(import: &Import) -> String {
    let module = import.module.as_str();
    let fixed = match module {
        "env" if import.name == "abort" => {
            "build with `@assemblyscript/wasi-shim`, which replaces env.abort"
        }
        "env" => "define or link that symbol: the linker left it open",
        "wasi" if import.name == "thread-spawn" => "build without threads",
        "gojs" | "go" => "build with GOOS=wasip1 instead of GOOS=js",
        "wbg" | "__wbindgen_placeholder__" => {
            "build for wasm32-wasip1, without wasm-bindgen, which is for browsers"
        }
        _ if module.starts_with("wasmedge") => {
            "build without that WasmEdge plugin: no component host has it"
        }
        _ if module.contains(':') => {
            "embed the WIT that describes it (`wasm-tools component embed`) and try again"
        }
        _ => "",
    };
    if fixed.is_empty() {
        format!("build without it, or give an adapter for it: --adapt {module}=FILE")
    } else {
        fixed.to_string()
    }
}

/// What is called when the component starts takes nothing and gives nothing.
fn started(analysis: &Analysis) -> Result<(), Refusal> {
    let wrong = analysis
        .started
        .iter()
        .find(|(_, ty)| !ty.params.is_empty() || !ty.results.is_empty());
    match wrong {
        None => Ok(()),
        Some((name, found)) => Err(Refusal::new(
            Reason::WrongSignature,
            format!("{name} takes nothing and gives nothing; this module exports it as {found}"),
            "no parameters and no results",
            "export it with that signature, or under another name",
        )),
    }
}

fn not_a_function(import: &Import) -> Refusal {
    Refusal::new(
        Reason::ImportKind,
        format!(
            "imports {}.{} as a {}",
            import.module,
            import.name,
            import.kind.word()
        ),
        "imports of functions only",
        "link it as a whole program, not as a shared library (no `-shared`, no `--import-table`)",
    )
}

fn shareable_memory(analysis: &Analysis) -> Result<(), Refusal> {
    let (reason, found, next_step) = match analysis.memory {
        Memory::Exported => return Ok(()),
        Memory::None => (
            Reason::NoMemory,
            "the module has no memory",
            "add `(memory (export \"memory\") 1)`, or link it as a program",
        ),
        Memory::Imported => (
            Reason::ImportedMemory,
            "the module imports its memory",
            "link without `--import-memory`",
        ),
        Memory::Hidden => (
            Reason::HiddenMemory,
            "the module does not export its memory",
            "export the memory under the name `memory`",
        ),
        Memory::Many => (
            Reason::ManyMemories,
            "the module has more than one memory",
            "build without the multi-memory feature",
        ),
        // Refused before; said again here so that no path gets through.
        Memory::Shared | Memory::Memory64 => return threads_and_width(analysis),
    };
    Err(Refusal::new(
        reason,
        found,
        "one 32-bit memory of its own, exported as `memory`, for the adapter to read and write",
        next_step,
    ))
}

/// The adapter of preview 1 takes a page as the program starts, and traps if it gets none. One that the module exports an
/// allocator to takes it there.
fn room_for_state(analysis: &Analysis, plan: &Plan) -> Result<(), Refusal> {
    let needs_page = analysis.preview1 && plan.has(PREVIEW1) && analysis.realloc.is_none();
    match analysis.full.filter(|_| needs_page) {
        Some(pages) => Err(Refusal::new(
            Reason::FullMemory,
            format!("the module's memory starts at its maximum of {pages} × 64 KiB"),
            "room for three pages at least, in which the adapters keep their state",
            "link with a larger maximum (`--max-memory`), or with none",
        )),
        None => Ok(()),
    }
}

/// Checks each import against what its adapter exports.
fn signatures(analysis: &Analysis, plan: &Plan) -> Result<(), Refusal> {
    let mut exported = BTreeMap::new();
    for adapter in &plan.adapters {
        let functions = exports::functions(&adapter.bytes)
            .map_err(|error| bad_adapter(&adapter.module, &error.to_string()))?;
        exported.insert(adapter.module.as_str(), functions);
    }
    for import in &analysis.imports {
        let Some(functions) = exported.get(import.module.as_str()) else {
            continue;
        };
        let ImportKind::Function(signature) = &import.kind else {
            return Err(not_a_function(import));
        };
        let choice = plan.choice.as_ref().filter(|_| is_nn(&import.module));
        match functions.get(&import.name) {
            None => return Err(missing(import, choice, functions.keys())),
            Some(expected) if expected != signature => {
                return Err(wrong_signature(import, signature, expected, choice));
            }
            Some(_) => {}
        }
    }
    Ok(())
}

fn missing<'a>(
    import: &Import,
    choice: Option<&Choice>,
    there: impl Iterator<Item = &'a String>,
) -> Refusal {
    let Import { module, name, .. } = import;
    let Some(choice) = choice else {
        let next_step = if module == PREVIEW1 && name.starts_with("sock_") {
            "build without WasmEdge's sockets"
        } else {
            "build without it, or give an adapter that has it: --adapt NAME=FILE"
        };
        return Refusal::new(
            Reason::UnknownFunction,
            format!("imports {module}.{name}, which the adapter of {module} does not have"),
            format!("functions of {module}"),
            next_step,
        );
    };
    let elsewhere: Vec<&str> = dialects()
        .iter()
        .filter(|d| d.module == *module && arity(d, name).is_some())
        .map(|d| d.name)
        .collect();
    if elsewhere.is_empty() {
        let known: Vec<&String> = there.filter(|name| !is_allocator(name)).collect();
        return Refusal::new(
            Reason::UnknownFunction,
            format!("imports {module}.{name}, which is no function of wasi-nn"),
            format!("one of {}", list(&known)),
            "build against bindings of wasi-nn, or give an adapter that has it: --adapt NAME=FILE",
        );
    }
    Refusal::new(
        Reason::UnknownFunction,
        format!(
            "imports {module}.{name}, which dialect {} does not have",
            choice.dialect
        ),
        format!("a dialect that has it: {}", list(&elsewhere)),
        "choose one of these with --dialect, or leave it out to have it detected",
    )
}

fn wrong_signature(
    import: &Import,
    found: &Signature,
    exported: &Signature,
    choice: Option<&Choice>,
) -> Refusal {
    let Import { module, name, .. } = import;
    // The witx file is the authority; the adapter is made from it.
    let (expected, place) = match choice {
        Some(choice) => {
            let of_dialect = dialects()
                .iter()
                .find(|d| d.name == choice.dialect)
                .and_then(|d| arity(d, name));
            let expected = of_dialect.map_or_else(|| exported.clone(), Signature::i32s);
            (expected, format!(" in dialect {}", choice.dialect))
        }
        None => (exported.clone(), String::new()),
    };
    Refusal::new(
        Reason::WrongSignature,
        format!(
            "{module}.{name} takes {}{place}; this module imports it as {found}",
            expected.words()
        ),
        expected.to_string(),
        "correct the declaration of this import, or choose the dialect that has it so with --dialect",
    )
}

fn arity(dialect: &Dialect, function: &str) -> Option<usize> {
    dialect
        .functions
        .iter()
        .find(|f| f.name == function)
        .map(|f| f.params)
}

/// Reads and validates an adapter that the caller gave.
fn given(name: &str, bytes: &[u8]) -> Result<Cow<'static, [u8]>, Refusal> {
    let wasm = crate::input::read(bytes).map_err(|e| bad_adapter(name, &e.found))?;
    if wasmparser::Parser::is_component(&wasm) {
        return Err(bad_adapter(name, "it is a component"));
    }
    wasmparser::Validator::new_with_features(crate::validate::FEATURES)
        .validate_all(&wasm)
        .map_err(|e| bad_adapter(name, &e.to_string()))?;
    Ok(Cow::Owned(wasm.into_owned()))
}

fn bad_adapter(name: &str, why: &str) -> Refusal {
    Refusal::new(
        Reason::BadAdapter,
        format!("the adapter for {name} cannot be used: {why}"),
        "a core module made as an adapter",
        "check the file given with --adapt",
    )
}
