//! Our witx and WIT have the structure of the published ones, which are inside the crates of Wasmtime.
//!
//! The crates come through `cargo info`, which unpacks one crate without its dependencies. Where that
//! fails, as without a network, a comparison is left out, but not in CI.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use wit_parser::Resolve;

/// Folder of the sources of a release of `wasmtime-wasi-nn`.
fn published(version: &str) -> Option<PathBuf> {
    let name = format!("wasmtime-wasi-nn-{version}");
    if let Some(folder) = unpacked(&name) {
        return Some(folder);
    }
    let crate_name = format!("wasmtime-wasi-nn@{version}");
    let status = Command::new(env!("CARGO"))
        .args(["info", "--registry", "crates-io", &crate_name])
        // Outside of the workspace, whose own release would be preferred.
        .current_dir(std::env::temp_dir())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    let found = unpacked(&name);
    if found.is_none() {
        let text = format!("{name} cannot be had: `cargo info` ended with {status:?}");
        assert!(std::env::var_os("CI").is_none(), "{text}");
        println!("left out: {text}");
    }
    found
}

fn unpacked(name: &str) -> Option<PathBuf> {
    let home = std::env::var_os("CARGO_HOME")
        .map(PathBuf::from)
        .or_else(|| std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".cargo")))?;
    let registries = std::fs::read_dir(home.join("registry/src")).ok()?;
    registries
        .flatten()
        .map(|registry| registry.path().join(name))
        .find(|folder| folder.is_dir())
}

/// Types and functions of a witx file by name, without its words.
fn structure(path: &Path) -> BTreeMap<String, String> {
    let document = witx::load(&[path]).unwrap_or_else(|error| panic!("{path:?}: {error}"));
    let mut found = BTreeMap::new();
    for named in document.typenames() {
        found.insert(named.name.as_str().to_string(), reference(&named.tref));
    }
    for constant in document.constants() {
        let name = format!("{} {}", constant.ty.as_str(), constant.name.as_str());
        found.insert(name, constant.value.to_string());
    }
    for module in document.modules() {
        let module_name = module.name.as_str();
        for function in module.funcs() {
            let list = |params: &[witx::InterfaceFuncParam]| {
                let params = params
                    .iter()
                    .map(|param| format!("{}: {}", param.name.as_str(), reference(&param.tref)));
                params.collect::<Vec<_>>().join(", ")
            };
            found.insert(
                format!("{module_name}.{}", function.name.as_str()),
                format!(
                    "({}) -> ({})",
                    list(&function.params),
                    list(&function.results)
                ),
            );
        }
        for import in module.imports() {
            found.insert(
                format!("{module_name} imports"),
                import.name.as_str().to_string(),
            );
        }
    }
    found
}

fn reference(tref: &witx::TypeRef) -> String {
    match tref {
        witx::TypeRef::Name(named) => named.name.as_str().to_string(),
        witx::TypeRef::Value(ty) => match &**ty {
            witx::Type::Record(record) => {
                let members = record
                    .members
                    .iter()
                    .map(|member| format!("{}: {}", member.name.as_str(), reference(&member.tref)));
                format!("{{{}}}", members.collect::<Vec<_>>().join(", "))
            }
            witx::Type::Variant(variant) => {
                let cases = variant.cases.iter().map(|case| {
                    let payload = case.tref.as_ref().map(reference).unwrap_or_default();
                    format!("{}({payload})", case.name.as_str())
                });
                let cases = cases.collect::<Vec<_>>().join(" | ");
                format!("{:?} {cases}", variant.tag_repr)
            }
            witx::Type::Handle(_) => "handle".to_string(),
            witx::Type::List(element) => format!("[{}]", reference(element)),
            witx::Type::Pointer(inner) => format!("*{}", reference(inner)),
            witx::Type::ConstPointer(inner) => format!("const *{}", reference(inner)),
            witx::Type::Builtin(builtin) => format!("{builtin:?}"),
        },
    }
}

fn ours(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(name)
}

#[test]
fn witx_of_today() {
    // A dependency of these tests, so it is always there.
    let theirs = published("48.0.8").expect("the crate is unpacked");
    let theirs = structure(&theirs.join("witx/wasi-nn.witx"));
    assert!(theirs.len() > 15, "{theirs:?}");
    assert_eq!(structure(&ours("witx/wasi-nn.witx")), theirs);
}

#[test]
fn witx_of_august_2023() {
    let Some(theirs) = published("14.0.4") else {
        return;
    };
    let theirs = structure(&theirs.join("spec/wasi-nn.witx"));
    assert_eq!(structure(&ours("witx/wasi-nn-2023-08-09.witx")), theirs);
}

/// Wasmtime 10 has an edition from before October 2022: its errnos and encodings are fewer and its errnos
/// have other numbers. All else is the same.
#[test]
fn witx_of_2022() {
    let Some(theirs) = published("10.0.2") else {
        return;
    };
    let file = "spec/phases/ephemeral/witx/wasi_ephemeral_nn.witx";
    let mut theirs = structure(&theirs.join(file));
    let mut ours = structure(&ours("witx/wasi-nn-2022-10.witx"));
    let errno = |found: &mut BTreeMap<String, String>, name: &str| {
        found
            .remove(name)
            .unwrap_or_else(|| panic!("there is no {name}"))
    };
    let (their_errno, our_errno) = (errno(&mut theirs, "nn_errno"), errno(&mut ours, "nn_errno"));
    assert_ne!(their_errno, our_errno);
    assert_eq!(
        our_errno
            .replace("invalid_encoding() | ", "")
            .replace(" | runtime_error()", ""),
        their_errno
    );
    let (theirs_coded, ours_coded) = (
        errno(&mut theirs, "graph_encoding"),
        errno(&mut ours, "graph_encoding"),
    );
    assert!(
        ours_coded.starts_with(&theirs_coded),
        "{ours_coded} {theirs_coded}"
    );
    assert_eq!(ours, theirs);
}

/// A package without its words.
fn package(path: &Path) -> String {
    let text = std::fs::read_to_string(path).unwrap_or_else(|e| panic!("{path:?}: {e}"));
    let mut resolve = Resolve::default();
    let id = resolve
        .push_str(path, &text)
        .unwrap_or_else(|error| panic!("{path:?}: {error:#}"));
    let mut printer = wit_component::WitPrinter::default();
    printer.emit_docs(false);
    printer
        .print(&resolve, id, &[])
        .unwrap_or_else(|error| panic!("{path:?}: {error:#}"));
    printer.output.to_string()
}

#[test]
fn wit_of_october_2024() {
    let theirs = published("48.0.8").expect("the crate is unpacked");
    let theirs = package(&theirs.join("wit/wasi-nn.wit"));
    assert!(theirs.contains("named-tensor"), "{theirs}");
    assert_eq!(package(&ours("wit/wasi-nn-2024-10-28.wit")), theirs);
}

#[test]
fn wit_of_august_2024() {
    let Some(theirs) = published("30.0.2") else {
        return;
    };
    let theirs = package(&theirs.join("wit/wasi-nn.wit"));
    assert!(theirs.contains("set-input"), "{theirs}");
    assert_eq!(package(&ours("wit/wasi-nn-2024-08-19.wit")), theirs);
}
