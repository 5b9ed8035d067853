//! The old interface, as a witx file describes it.
//!
//! The `witx` crate is seen by this module alone: its last release is old, and some of its helpers
//! panic on shapes they do not expect. Types are translated into the few kinds that an adapter can
//! deal with, together with their flat signature and their layout in memory; anything else is an
//! error that names it.

use anyhow::{Context, Result, bail};
use std::collections::BTreeMap;
use std::rc::Rc;

/// How many levels of parentheses a witx file may nest: its parser recurses.
const MAX_NESTING: usize = 64;

/// A module of a witx file: its enums and its functions.
#[derive(Clone, Debug)]
pub struct Interface {
    /// Name of the module that guests import.
    pub module: String,
    /// Enums by name.
    pub enums: BTreeMap<String, Enum>,
    /// Functions in the file's order.
    pub functions: Vec<Function>,
}

/// An enum: named tags.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Enum {
    /// Width of a tag in memory.
    pub width: Width,
    /// Cases in the file's order.
    pub cases: Vec<Case>,
}

/// A case of an [`Enum`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Case {
    /// Its name.
    pub name: String,
    /// The number that stands for it.
    pub tag: u32,
}

impl Enum {
    /// The tag of the case with this name.
    pub fn tag(&self, name: &str) -> Option<u32> {
        self.cases
            .iter()
            .find(|case| case.name == name)
            .map(|case| case.tag)
    }
}

/// A function with its parameters; every one gives an errno.
#[derive(Clone, Debug)]
pub struct Function {
    /// Its name.
    pub name: String,
    /// Parameters in order, without the one for the result.
    pub params: Vec<Param>,
    /// What it gives beside the errno, through a pointer that is its last flat parameter.
    pub result: Option<Type>,
}

/// A parameter.
#[derive(Clone, Debug)]
pub struct Param {
    /// Its name.
    pub name: String,
    /// Its type.
    pub ty: Type,
}

/// A type, reduced to what matters for its representation.
#[derive(Clone, Debug, PartialEq)]
pub enum Type {
    /// An integer of at most 32 bits.
    Integer(Width),
    /// A tag of the enum with this name.
    Enum(String, Width),
    /// A handle to a thing of this kind.
    Handle(String),
    /// Pointer and length of a sequence of elements of this size in bytes.
    List {
        /// Size of an element in bytes.
        element: u32,
        /// Whether the elements are the bytes of a string.
        text: bool,
    },
    /// A pointer to a value of this type.
    Pointer(Box<Type>),
    /// Fields in memory.
    Record(Rc<Record>),
}

/// Fields at fixed offsets.
#[derive(Debug, PartialEq)]
pub struct Record {
    /// The fields in order.
    pub fields: Vec<Field>,
}

/// A field of a [`Record`].
#[derive(Debug, PartialEq)]
pub struct Field {
    /// Its name.
    pub name: String,
    /// Its distance from the start of the record, in bytes.
    pub offset: u32,
    /// Its type.
    pub ty: Type,
}

/// How many bytes of memory a number takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Width {
    /// One byte.
    One,
    /// Two bytes.
    Two,
    /// Four bytes.
    Four,
}

impl Width {
    /// The number of bytes.
    pub fn bytes(self) -> u32 {
        match self {
            Width::One => 1,
            Width::Two => 2,
            Width::Four => 4,
        }
    }
}

impl Function {
    /// How many `i32` parameters the core function has.
    pub fn flat_params(&self) -> usize {
        let params: usize = self.params.iter().map(|param| param.ty.flat_len()).sum();
        params + usize::from(self.result.is_some())
    }

    /// A name for each flat parameter.
    pub fn flat_names(&self) -> Vec<String> {
        let mut names = Vec::with_capacity(self.flat_params());
        for param in &self.params {
            match param.ty {
                Type::List { .. } => {
                    names.push(format!("{}.pointer", param.name));
                    names.push(format!("{}.length", param.name));
                }
                _ => names.push(param.name.clone()),
            }
        }
        if self.result.is_some() {
            names.push("result".to_string());
        }
        names
    }
}

impl Type {
    /// How many `i32` a parameter of this type is passed as.
    pub fn flat_len(&self) -> usize {
        match self {
            Type::List { .. } => 2,
            _ => 1,
        }
    }

    /// For people.
    pub fn describe(&self) -> String {
        match self {
            Type::Integer(width) => format!("u{}", width.bytes() * 8),
            Type::Enum(name, _) => format!("enum {name}"),
            Type::Handle(name) => format!("handle {name}"),
            Type::List { text: true, .. } => "string".to_string(),
            Type::List { element, .. } => format!("list of {element}-byte elements"),
            Type::Pointer(inner) => format!("pointer to {}", inner.describe()),
            Type::Record(record) => {
                let names: Vec<&str> = record.fields.iter().map(|f| f.name.as_str()).collect();
                format!("record {{ {} }}", names.join(", "))
            }
        }
    }
}

impl Interface {
    /// Reads the one module of a witx file. `file` names it in errors.
    pub fn parse(file: &str, source: &str) -> Result<Interface> {
        check_nesting(source).with_context(|| format!("{file} cannot be read"))?;
        let document = witx::parse(source).map_err(|error| {
            let text = error.report_with(&witx::MockFs::new(&[("-", source)]));
            // The parser was given no file's name.
            let text = text.replace("in \"-\":", "").replace("--> -:", "--> ");
            let space = if text.starts_with('\n') { "" } else { " " };
            anyhow::anyhow!("{file} is not valid witx:{space}{}", text.trim_end())
        })?;
        Self::from_document(&document).with_context(|| format!("{file} cannot be adapted"))
    }

    fn from_document(document: &witx::Document) -> Result<Interface> {
        let mut modules = document.modules();
        let (Some(module), None) = (modules.next(), modules.next()) else {
            bail!(
                "expected one (module …), found {}",
                document.modules().count()
            );
        };
        let mut enums = BTreeMap::new();
        for named in document.typenames() {
            let witx::Type::Variant(variant) = &**named.type_() else {
                continue;
            };
            if variant.cases.iter().all(|case| case.tref.is_none()) {
                let name = named.name.as_str();
                let found = read_enum(document, name, variant)
                    .with_context(|| format!("enum ${name} cannot be adapted"))?;
                enums.insert(name.to_string(), found);
            }
        }
        check_tag_constants(document, &enums)?;
        let functions = module
            .funcs()
            .map(|function| {
                read_function(&function).with_context(|| {
                    format!("function {:?} cannot be adapted", function.name.as_str())
                })
            })
            .collect::<Result<_>>()?;
        Ok(Interface {
            module: module.name.as_str().to_string(),
            enums,
            functions,
        })
    }
}

/// The parser recurses, so a file that nests without end would overflow the stack.
fn check_nesting(source: &str) -> Result<()> {
    let mut depth = 0usize;
    let mut comments = 0usize;
    let mut bytes = source.bytes().peekable();
    while let Some(byte) = bytes.next() {
        let next = bytes.peek().copied();
        match (byte, next) {
            (b'(', Some(b';')) => {
                bytes.next();
                comments += 1;
            }
            (b';', Some(b')')) if comments > 0 => {
                bytes.next();
                comments -= 1;
            }
            _ if comments > 0 => {}
            (b';', Some(b';')) => {
                bytes.by_ref().find(|byte| *byte == b'\n');
            }
            (b'"', _) => {
                while let Some(byte) = bytes.next() {
                    match byte {
                        b'"' => break,
                        b'\\' => drop(bytes.next()),
                        _ => {}
                    }
                }
            }
            (b'(', _) => depth += 1,
            (b')', _) => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth > MAX_NESTING || comments > MAX_NESTING {
            bail!("it nests deeper than {MAX_NESTING} parentheses");
        }
    }
    Ok(())
}

/// The name of the type whose constants give tags of the enum `name`.
fn tag_constants(name: &str) -> String {
    format!("{name}_tag")
}

fn read_enum(document: &witx::Document, name: &str, variant: &witx::Variant) -> Result<Enum> {
    let width = match variant.tag_repr {
        witx::IntRepr::U8 => Width::One,
        witx::IntRepr::U16 => Width::Two,
        witx::IntRepr::U32 => Width::Four,
        witx::IntRepr::U64 => bail!("expected a tag of at most 32 bits, found u64"),
    };
    let constants = tag_constants(name);
    let mut cases = Vec::with_capacity(variant.cases.len());
    for (position, case) in variant.cases.iter().enumerate() {
        let constant = document.constants().find(|constant| {
            constant.ty.as_str() == constants && constant.name.as_str() == case.name.as_str()
        });
        let tag = match constant {
            Some(constant) => u32::try_from(constant.value)
                .with_context(|| format!("the tag of ${} exceeds u32", case.name.as_str()))?,
            None => u32::try_from(position)?,
        };
        cases.push(Case {
            name: case.name.as_str().to_string(),
            tag,
        });
    }
    Ok(Enum { width, cases })
}

/// A constant that gives no tag would silently be without effect.
fn check_tag_constants(document: &witx::Document, enums: &BTreeMap<String, Enum>) -> Result<()> {
    for constant in document.constants() {
        let gives_tag = constant
            .ty
            .as_str()
            .strip_suffix("_tag")
            .and_then(|name| enums.get(name))
            .is_some_and(|found| found.tag(constant.name.as_str()).is_some());
        if !gives_tag {
            bail!(
                "constant ${} of type ${} names no case of an enum: expected the type to be an \
                 enum's name followed by `_tag`",
                constant.name.as_str(),
                constant.ty.as_str()
            );
        }
    }
    Ok(())
}

fn read_function(function: &witx::InterfaceFunc) -> Result<Function> {
    let params = function
        .params
        .iter()
        .map(|param| {
            let name = param.name.as_str().to_string();
            let ty = read_type(&param.tref)
                .with_context(|| format!("parameter ${name} cannot be adapted"))?;
            Ok(Param { name, ty })
        })
        .collect::<Result<_>>()?;
    Ok(Function {
        name: function.name.as_str().to_string(),
        params,
        result: read_result(function)?,
    })
}

/// A function gives `(expected $value (error $errno))` or `(expected (error $errno))`.
fn read_result(function: &witx::InterfaceFunc) -> Result<Option<Type>> {
    let expected = "expected one result of the form (expected … (error $errno))";
    let [result] = function.results.as_slice() else {
        bail!("{expected}, found {} results", function.results.len());
    };
    let witx::Type::Variant(variant) = &**result.tref.type_() else {
        bail!("{expected}, found a {}", result.tref.type_().kind());
    };
    let Some((ok, Some(_errno))) = variant.as_expected() else {
        bail!("{expected}, found another variant");
    };
    ok.map(read_type).transpose()
}

fn read_type(tref: &witx::TypeRef) -> Result<Type> {
    use witx::{BuiltinType, Layout};
    let name = match tref {
        witx::TypeRef::Name(named) => named.name.as_str().to_string(),
        witx::TypeRef::Value(_) => String::new(),
    };
    Ok(match &**tref.type_() {
        witx::Type::Builtin(BuiltinType::U8 { .. }) => Type::Integer(Width::One),
        witx::Type::Builtin(BuiltinType::U16) => Type::Integer(Width::Two),
        witx::Type::Builtin(BuiltinType::U32 { .. }) => Type::Integer(Width::Four),
        witx::Type::Builtin(other) => {
            bail!("expected an unsigned integer of at most 32 bits, found {other:?}")
        }
        witx::Type::Handle(_) => Type::Handle(name),
        witx::Type::List(element) => Type::List {
            element: u32::try_from(element.mem_size())?,
            text: matches!(&**element.type_(), witx::Type::Builtin(BuiltinType::Char)),
        },
        witx::Type::Pointer(inner) | witx::Type::ConstPointer(inner) => {
            Type::Pointer(Box::new(read_type(inner)?))
        }
        witx::Type::Variant(variant) => {
            if variant.cases.iter().any(|case| case.tref.is_some()) {
                bail!("expected an enum, found a variant with payloads");
            }
            if name.is_empty() {
                bail!("expected a named enum, found an anonymous one");
            }
            let width = match variant.tag_repr {
                witx::IntRepr::U8 => Width::One,
                witx::IntRepr::U16 => Width::Two,
                witx::IntRepr::U32 => Width::Four,
                witx::IntRepr::U64 => bail!("expected a tag of at most 32 bits, found u64"),
            };
            Type::Enum(name, width)
        }
        witx::Type::Record(record) => {
            if record.bitflags_repr().is_some() {
                bail!("expected a record of fields, found flags");
            }
            let fields = record
                .member_layout()
                .iter()
                .map(|member| {
                    let name = member.member.name.as_str().to_string();
                    let ty = read_type(&member.member.tref)
                        .with_context(|| format!("field ${name} cannot be adapted"))?;
                    Ok(Field {
                        name,
                        offset: u32::try_from(member.offset)?,
                        ty,
                    })
                })
                .collect::<Result<_>>()?;
            Type::Record(Rc::new(Record { fields }))
        }
    })
}
