//! Which dialect and profile is detected, and what comes out.

use llm_wasi_componentize::{
    Choice, Entry, Kind, Memory, Options, Profile, Target, analyze, componentize, world,
};

const MEMORY: &str = r#"(memory (export "memory") 1)"#;

fn module(nn: &str, functions: &[(&str, usize)], rest: &str) -> String {
    use std::fmt::Write;
    let mut wat = String::from("(module ");
    for (name, params) in functions {
        let params = " i32".repeat(*params);
        write!(
            wat,
            r#"(import "{nn}" "{name}" (func (param{params}) (result i32)))"#
        )
        .expect("a string takes everything");
    }
    write!(wat, "{MEMORY} {rest})").expect("a string takes everything");
    wat
}

fn spec(rest: &str) -> String {
    module("wasi_ephemeral_nn", &[("load", 5), ("compute", 1)], rest)
}

fn detect(wat: &str) -> Choice {
    let analysis = analyze(wat.as_bytes()).expect("a good module");
    analysis.detected.expect("wasi-nn is used")
}

fn is(wat: &str, dialect: &str, profile: Profile, because: &str) {
    let choice = detect(wat);
    assert_eq!(
        (choice.dialect.as_str(), choice.profile),
        (dialect, profile)
    );
    assert!(choice.reason.contains(because), "{}", choice.reason);
    assert!(choice.reason.ends_with('.'), "{}", choice.reason);
    let done = componentize(wat.as_bytes(), &Options::default()).expect("it can be adapted");
    assert_eq!(done.report.choice, Some(choice));
}

#[test]
fn the_current_dialect_is_the_default() {
    is(&spec(""), "wasi-nn", Profile::Portable, "specification");
}

#[test]
fn wamrs_old_module() {
    let wat = module("wasi_nn", &[("load", 4), ("compute", 1)], "");
    is(&wat, "wamr-legacy", Profile::Portable, "`wasi_nn`");
}

#[test]
fn functions_of_wasmedge() {
    for (name, params) in [
        ("load_by_name_with_config", 5),
        ("compute_single", 1),
        ("get_output_single", 5),
        ("fini_single", 1),
        ("unload", 1),
        ("finalize_execution_context", 1),
    ] {
        let wat = module("wasi_ephemeral_nn", &[("load", 5), (name, params)], "");
        is(&wat, "wasmedge", Profile::Extended, name);
    }
}

#[test]
fn crates_in_the_data() {
    for (path, dialect) in [
        ("wasi-nn-0.1.0/src", "wasi-nn-2022-10"),
        ("wasi-nn-0.4.0/src", "wasi-nn-2022-10"),
        ("wasi-nn-0.5.0/src", "wasi-nn-2023-08-09"),
        ("wasi-nn-0.6.0/src", "wasi-nn"),
        ("wasmedge-wasi-nn-0.8.0/src", "wasmedge"),
    ] {
        let wat = spec(&format!(r#"(data (i32.const 0) "registry/{path}/lib.rs")"#));
        is(&wat, dialect, Profile::Portable, "the Rust crate");
    }
}

#[test]
fn assemblyscript() {
    let wat = spec(r#"(data (i32.const 0) "~\00l\00i\00b\00/\00r\00t\00")"#);
    is(&wat, "wasi-nn-2022-10", Profile::Portable, "AssemblyScript");
}

#[test]
fn traces_that_do_not_decide() {
    let two = spec(r#"(data (i32.const 0) "/wasi-nn-0.4.0/ /wasi-nn-0.6.0/")"#);
    is(&two, "wasi-nn", Profile::Portable, "different dialects");
    let newer = module(
        "wasi_ephemeral_nn",
        &[("load", 5), ("load_by_name", 3)],
        r#"(data (i32.const 0) "/wasi-nn-0.1.0/src")"#,
    );
    is(&newer, "wasi-nn", Profile::Portable, "load_by_name");
}

#[test]
fn what_is_asked_for_wins() {
    let options = Options {
        dialect: Some("wasmedge".to_string()),
        profile: Some(Profile::Extended),
        ..Options::default()
    };
    let done = componentize(spec("").as_bytes(), &options).expect("it can be adapted");
    let choice = done.report.choice.expect("wasi-nn is used");
    assert_eq!(choice.dialect, "wasmedge");
    assert_eq!(choice.profile, Profile::Extended);
    assert!(choice.reason.contains("asked for"), "{}", choice.reason);
    let imports = world(&done.bytes).expect("a component").imports;
    assert!(
        imports.iter().any(|i| i.starts_with("llm-wasi:nn/")),
        "{imports:?}"
    );
}

#[test]
fn portable_imports_nothing_but_wasi_nn() {
    for (target, version) in [
        (Target::Rc20241028, "@0.2.0-rc-2024-10-28"),
        (Target::Rc20240819, "@0.2.0-rc-2024-08-19"),
    ] {
        let options = Options {
            target,
            ..Options::default()
        };
        let done = componentize(spec("").as_bytes(), &options).expect("it can be adapted");
        let imports = world(&done.bytes).expect("a component").imports;
        assert!(!imports.is_empty());
        for import in imports {
            assert!(
                import.starts_with("wasi:nn/") && import.ends_with(version),
                "{import}"
            );
        }
    }
}

#[test]
fn commands_reactors_and_libraries() {
    let import = r#"(import "wasi_snapshot_preview1" "sched_yield" (func (result i32)))"#;
    for (export, entry, adapter, run) in [
        (
            r#"(func (export "_start"))"#,
            Entry::Command,
            "command",
            true,
        ),
        (
            r#"(func (export "_initialize"))"#,
            Entry::Reactor,
            "reactor",
            false,
        ),
        ("", Entry::Library, "reactor", false),
    ] {
        let wat = format!("(module {import} {MEMORY} {export})");
        let done = componentize(wat.as_bytes(), &Options::default()).expect("plain WASI");
        assert_eq!(done.report.input.entry, entry);
        assert!(done.report.input.preview1);
        assert_eq!(done.report.choice, None);
        assert_eq!(done.report.adapters[0].what, adapter);
        let exports = world(&done.bytes).expect("a component").exports;
        assert_eq!(exports.iter().any(|e| e.starts_with("wasi:cli/run@")), run);
    }
}

/// Without an import of preview 1, a command still needs the export that hosts call.
#[test]
fn a_command_that_imports_only_wasi_nn_can_be_run() {
    let wat = spec(r#"(func (export "_start"))"#);
    let done = componentize(wat.as_bytes(), &Options::default()).expect("it can be adapted");
    let exports = world(&done.bytes).expect("a component").exports;
    assert!(
        exports.iter().any(|e| e.starts_with("wasi:cli/run@")),
        "{exports:?}"
    );
}

#[test]
fn both_adapters_at_once_with_and_without_realloc() {
    let import = r#"(import "wasi_snapshot_preview1" "sched_yield" (func (result i32)))"#;
    for realloc in [
        "",
        r#"(func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) unreachable)"#,
    ] {
        let wat = spec(&format!(r#"(func (export "_start")) {realloc}"#))
            .replace("(module", &format!("(module {import}"));
        let done = componentize(wat.as_bytes(), &Options::default()).expect("it can be adapted");
        assert_eq!(done.report.adapters.len(), 2);
        assert_eq!(done.report.input.realloc.is_some(), !realloc.is_empty());
    }
}

#[test]
fn a_component_passes_through() {
    let first = componentize(spec("").as_bytes(), &Options::default()).expect("it can be adapted");
    let second = componentize(&first.bytes, &Options::default()).expect("a component");
    assert!(second.report.passed_through);
    assert_eq!(second.report.input.kind, Kind::Component);
    assert_eq!(second.bytes, first.bytes);
}

#[test]
fn the_same_module_gives_the_same_component() {
    let wat = spec(r#"(func (export "_start"))"#);
    let one = componentize(wat.as_bytes(), &Options::default()).expect("it can be adapted");
    let two = componentize(wat.as_bytes(), &Options::default()).expect("it can be adapted");
    assert_eq!(one.bytes, two.bytes);
}

#[test]
fn what_an_analysis_holds() {
    let analysis = analyze(spec(r#"(func (export "f"))"#).as_bytes()).expect("a good module");
    assert_eq!(analysis.kind, Kind::Module);
    assert_eq!(analysis.memory, Memory::Exported);
    assert_eq!(analysis.exports, ["f"]);
    let nn = analysis.nn.expect("wasi-nn is used");
    assert_eq!(nn.functions, ["load", "compute"]);
}

#[test]
fn an_empty_module_is_an_empty_component() {
    let done = componentize(b"(module)", &Options::default()).expect("nothing to adapt");
    assert!(done.report.adapters.is_empty());
    assert_eq!(world(&done.bytes).expect("a component").imports.len(), 0);
}
