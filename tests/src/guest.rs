//! Guests made on the spot: modules that import nn functions and export each again.
//!
//! Every export has the import's own parameters, so that a test makes any call it likes. As the module
//! carries component types, `wit-component` lifts the exports and the same calls work on a component.

use llm_wasi_adapter::Dialect;
use std::fmt::Write;
use wit_component::StringEncoding;

/// What a guest is made of.
#[derive(Clone, Debug)]
pub struct Guest {
    /// The module that it imports from.
    pub module: String,
    /// Functions with the numbers of their parameters.
    pub functions: Vec<(String, usize)>,
    /// Initial pages of memory.
    pub pages: u32,
    /// Pages that its memory may have.
    pub max: Option<u32>,
    /// Whether it imports preview 1, and exports `random`, which needs it.
    pub preview1: bool,
    /// Whether it exports `cabi_realloc`.
    pub realloc: bool,
}

/// Bytes at the end of the initial memory that the guest's own exports use.
pub const RESERVED: u32 = 16;

/// A page of memory.
pub const PAGE: u32 = 65536;

impl Guest {
    /// A guest that imports these functions of a dialect, with two pages of memory.
    pub fn new<'a>(dialect: &Dialect, names: impl IntoIterator<Item = &'a str>) -> Guest {
        let functions = names
            .into_iter()
            .map(|name| {
                let function = dialect.functions.iter().find(|f| f.name == name);
                let function = function.unwrap_or_else(|| panic!("{} lacks {name}", dialect.name));
                (function.name.clone(), function.params)
            })
            .collect();
        Guest {
            module: dialect.module.clone(),
            functions,
            pages: 2,
            max: None,
            preview1: false,
            realloc: false,
        }
    }

    /// A guest that imports all functions of a dialect.
    pub fn all(dialect: &Dialect) -> Guest {
        Guest::new(dialect, dialect.functions.iter().map(|f| f.name.as_str()))
    }

    /// Size of its initial memory in bytes.
    pub fn size(&self) -> u32 {
        self.pages * PAGE
    }

    /// The module as text.
    pub fn wat(&self) -> String {
        let mut wat = String::from("(module\n");
        let params = |count: usize| match count {
            0 => String::new(),
            count => format!("(param{})", " i32".repeat(count)),
        };
        for (name, count) in &self.functions {
            let _ = writeln!(
                wat,
                "(import \"{}\" \"{name}\" (func ${name} {} (result i32)))",
                self.module,
                params(*count)
            );
        }
        if self.preview1 {
            wat.push_str(
                "(import \"wasi_snapshot_preview1\" \"random_get\" \
                 (func $random_get (param i32 i32) (result i32)))\n",
            );
        }
        let max = self.max.map_or(String::new(), |max| max.to_string());
        let _ = writeln!(wat, "(memory (export \"memory\") {} {max})", self.pages);
        for (name, count) in &self.functions {
            let arguments: String = (0..*count).map(|i| format!("local.get {i} ")).collect();
            let _ = writeln!(
                wat,
                "(func (export \"{}\") {} (result i32) {arguments} call ${name})",
                kebab(name),
                params(*count)
            );
        }
        if self.preview1 {
            wat.push_str(
                "(func (export \"random\") (param i32 i32) (result i32)
                   local.get 0 local.get 1 call $random_get)\n",
            );
        }
        // Where `peek` keeps what it gives.
        let area = (self.pages * PAGE).saturating_sub(RESERVED);
        let _ = write!(
            wat,
            "(func (export \"poke\") (param i32 i64)
               local.get 0 local.get 1 i64.store align=1)
             (func (export \"poke-byte\") (param i32 i32)
               local.get 0 local.get 1 i32.store8)
             (func (export \"peek\") (param i32 i32) (result i32)
               i32.const {area} local.get 0 i32.store
               i32.const {area} local.get 1 i32.store offset=4
               i32.const {area})
             (func (export \"pages\") (result i32) memory.size)
             (func (export \"grow\") (param i32) (result i32) local.get 0 memory.grow)\n"
        );
        if self.realloc {
            wat.push_str(
                "(func (export \"cabi_realloc\") (param i32 i32 i32 i32) (result i32)
                   local.get 0 if unreachable end
                   local.get 3 i32.const 65535 i32.add i32.const 16 i32.shr_u
                   memory.grow local.tee 0 i32.const -1 i32.eq if unreachable end
                   local.get 0 i32.const 16 i32.shl)\n",
            );
        }
        wat.push(')');
        wat
    }

    /// The world whose exports the module has.
    pub fn wit(&self) -> String {
        let mut wit = String::from("package test:guest;\nworld trampoline {\n");
        let mut export = |name: &str, count: usize| {
            let parameters: Vec<String> = (0..count).map(|i| format!("p{i}: u32")).collect();
            let _ = writeln!(
                wit,
                "export {}: func({}) -> u32;",
                kebab(name),
                parameters.join(", ")
            );
        };
        for (name, count) in &self.functions {
            export(name, *count);
        }
        if self.preview1 {
            export("random", 2);
        }
        export("pages", 0);
        export("grow", 1);
        wit.push_str(
            "export poke: func(at: u32, value: u64);
             export poke-byte: func(at: u32, value: u32);
             export peek: func(at: u32, length: u32) -> list<u8>;
             }\n",
        );
        wit
    }

    /// The module with its component types.
    pub fn wasm(&self) -> Vec<u8> {
        let mut module = wat::parse_str(self.wat()).expect("the guest's text is valid");
        let mut resolve = wit_parser::Resolve::default();
        let package = resolve
            .push_str("guest.wit", &self.wit())
            .expect("the guest's WIT is valid");
        let world = resolve
            .select_world(&[package], None)
            .expect("the guest has one world");
        wit_component::embed_component_metadata(
            &mut module,
            &resolve,
            world,
            StringEncoding::UTF8,
            false,
        )
        .expect("component types can be embedded");
        module
    }
}

/// The export that calls an import.
pub fn kebab(name: &str) -> String {
    name.replace('_', "-")
}

/// A dialect by name.
pub fn dialect(name: &str) -> &'static Dialect {
    llm_wasi_adapter::dialects()
        .iter()
        .find(|dialect| dialect.name == name)
        .unwrap_or_else(|| panic!("there is no dialect {name}"))
}
