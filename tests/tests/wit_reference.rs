//! `docs/llm-reference.md` is what `wit/llm.wit` says: `BLESS=1` writes it.

use std::fmt::Write;
use wit_parser::{
    Docs, Function, FunctionKind, Handle, Resolve, Type, TypeDef, TypeDefKind, TypeId,
};

const HEAD: &str = "# Reference of the LLM interface

The package `llm-wasi:llm`, written from [wit/llm.wit](../wit/llm.wit) by a test (`BLESS=1`). [llm.md](llm.md) is the guide.
";

fn text(docs: &Docs) -> String {
    docs.contents
        .as_deref()
        .unwrap_or_default()
        .lines()
        .map(str::trim)
        .collect::<Vec<_>>()
        .join(" ")
        .trim()
        .to_owned()
}

fn name_of(resolve: &Resolve, id: TypeId) -> String {
    let def = &resolve.types[id];
    if let Some(name) = &def.name {
        return name.clone();
    }
    let ty = |ty: &Type| type_name(resolve, ty);
    match &def.kind {
        TypeDefKind::List(element) => format!("list<{}>", ty(element)),
        TypeDefKind::Option(some) => format!("option<{}>", ty(some)),
        TypeDefKind::Result(result) => match (&result.ok, &result.err) {
            (Some(ok), Some(err)) => format!("result<{}, {}>", ty(ok), ty(err)),
            (None, Some(err)) => format!("result<_, {}>", ty(err)),
            (Some(ok), None) => format!("result<{}>", ty(ok)),
            (None, None) => "result".to_owned(),
        },
        TypeDefKind::Handle(Handle::Own(id)) => name_of(resolve, *id),
        TypeDefKind::Handle(Handle::Borrow(id)) => format!("borrow<{}>", name_of(resolve, *id)),
        TypeDefKind::Tuple(tuple) => {
            let types: Vec<_> = tuple.types.iter().map(ty).collect();
            format!("tuple<{}>", types.join(", "))
        }
        other => panic!("{} has no name here", other.as_str()),
    }
}

fn type_name(resolve: &Resolve, ty: &Type) -> String {
    match ty {
        Type::Id(id) => name_of(resolve, *id),
        Type::Bool => "bool".to_owned(),
        Type::U8 => "u8".to_owned(),
        Type::U32 => "u32".to_owned(),
        Type::U64 => "u64".to_owned(),
        Type::F32 => "f32".to_owned(),
        Type::String => "string".to_owned(),
        other => panic!("{other:?} has no name here"),
    }
}

fn signature(resolve: &Resolve, function: &Function) -> String {
    let params: Vec<_> = function
        .params
        .iter()
        .filter(|param| param.name != "self")
        .map(|param| format!("{}: {}", param.name, type_name(resolve, &param.ty)))
        .collect();
    let result = match &function.result {
        Some(ty) => format!(" -> {}", type_name(resolve, ty)),
        None => String::new(),
    };
    let kind = match function.kind {
        FunctionKind::Static(_) => "static ",
        _ => "",
    };
    format!(
        "{kind}{}({}){result}",
        function.item_name(),
        params.join(", ")
    )
}

/// What a type consists of: name, type and meaning of each part.
fn parts(resolve: &Resolve, def: &TypeDef) -> (&'static str, Vec<(String, String, String)>) {
    let ty = |ty: &Type| type_name(resolve, ty);
    match &def.kind {
        TypeDefKind::Record(record) => (
            "record",
            record
                .fields
                .iter()
                .map(|field| (field.name.clone(), ty(&field.ty), text(&field.docs)))
                .collect(),
        ),
        TypeDefKind::Variant(variant) => (
            "variant",
            variant
                .cases
                .iter()
                .map(|case| {
                    let payload = case.ty.as_ref().map(ty).unwrap_or_default();
                    (case.name.clone(), payload, text(&case.docs))
                })
                .collect(),
        ),
        TypeDefKind::Enum(cases) => (
            "enum",
            cases
                .cases
                .iter()
                .map(|case| (case.name.clone(), String::new(), text(&case.docs)))
                .collect(),
        ),
        TypeDefKind::Flags(flags) => (
            "flags",
            flags
                .flags
                .iter()
                .map(|flag| (flag.name.clone(), String::new(), text(&flag.docs)))
                .collect(),
        ),
        TypeDefKind::Resource => ("resource", Vec::new()),
        _ => ("type", Vec::new()),
    }
}

fn reference() -> String {
    let mut resolve = Resolve::default();
    for (name, source) in [
        ("wasi-io.wit", include_str!("../../wit/wasi-io.wit")),
        ("llm.wit", include_str!("../../wit/llm.wit")),
    ] {
        resolve.push_source(name, source).unwrap();
    }
    let (_, package) = resolve
        .packages
        .iter()
        .find(|(_, package)| package.name.name == "llm")
        .unwrap();
    let mut page = HEAD.to_owned();
    for (name, id) in &package.interfaces {
        let interface = &resolve.interfaces[*id];
        let docs = text(&interface.docs);
        assert!(!docs.is_empty(), "{name} has no words");
        write!(page, "\n## {name}\n\n{docs}\n").unwrap();
        for (name, id) in &interface.types {
            let def = &resolve.types[*id];
            if matches!(def.kind, TypeDefKind::Type(Type::Id(_))) {
                // Used from another interface.
                continue;
            }
            let docs = text(&def.docs);
            assert!(!docs.is_empty(), "{name} has no words");
            let (kind, parts) = parts(&resolve, def);
            write!(page, "\n### {kind} `{name}`\n\n{docs}\n").unwrap();
            if !parts.is_empty() {
                page.push_str("\n| name | type | meaning |\n|---|---|---|\n");
            }
            for (part, ty, docs) in parts {
                assert!(!docs.is_empty(), "{name}.{part} has no words");
                let ty = match ty.as_str() {
                    "" => String::new(),
                    ty => format!("`{ty}`"),
                };
                writeln!(page, "| `{part}` | {ty} | {docs} |").unwrap();
            }
            for function in interface.functions.values() {
                if function.kind.resource() == Some(*id) {
                    function_docs(&resolve, function, &mut page);
                }
            }
        }
        for function in interface.functions.values() {
            if function.kind.resource().is_none() {
                function_docs(&resolve, function, &mut page);
            }
        }
    }
    page
}

fn function_docs(resolve: &Resolve, function: &Function, page: &mut String) {
    let docs = text(&function.docs);
    assert!(!docs.is_empty(), "{} has no words", function.name);
    write!(page, "\n`{}`\n\n{docs}\n", signature(resolve, function)).unwrap();
}

#[test]
fn every_item_has_words_and_the_reference_has_them() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/llm-reference.md");
    let page = reference();
    if std::env::var_os("BLESS").is_some() {
        std::fs::write(path, &page).unwrap();
    }
    let written = std::fs::read_to_string(path).unwrap_or_default();
    assert!(
        written == page,
        "docs/llm-reference.md is not what wit/llm.wit says: BLESS=1 writes it"
    );
}
