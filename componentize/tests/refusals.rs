//! Each way in which a module can be unfit, and what is said about it.

use llm_wasi_componentize::{Adapter, Options, Profile, Reason, Refusal, analyze, componentize};

const MEMORY: &str = r#"(memory (export "memory") 1)"#;

fn refuse_with(wat: &str, options: &Options) -> Refusal {
    match componentize(wat.as_bytes(), options) {
        Err(refusal) => {
            assert!(!refusal.expected.is_empty(), "{refusal}");
            assert!(!refusal.next_step.is_empty(), "{refusal}");
            refusal
        }
        Ok(_) => panic!("should be refused: {wat}"),
    }
}

fn refuse(wat: &str) -> Refusal {
    refuse_with(wat, &Options::default())
}

/// A module with one import of `compute`, which is fit, and something else.
fn with(rest: &str) -> String {
    format!(
        r#"(module (import "wasi_ephemeral_nn" "compute" (func (param i32) (result i32))) {rest})"#
    )
}

#[test]
fn foreign_import() {
    let wat = format!(
        r#"(module
            (import "wasi_ephemeral_nn" "compute" (func (param i32) (result i32)))
            (import "wasmedge_tensorflow" "create_session" (func (param i32)))
            (import "wasmedge_tensorflow" "delete_session" (func (param i32)))
            {MEMORY})"#
    );
    let refusal = refuse(&wat);
    assert_eq!(refusal.reason, Reason::UnknownImport);
    assert_eq!(
        refusal.found,
        "imports wasmedge_tensorflow.create_session, which is not wasi-nn (and 1 more like it)"
    );
}

#[test]
fn foreign_imports_get_the_advice_that_fits() {
    for (module, name, advice) in [
        ("env", "abort", "wasi-shim"),
        ("env", "helper", "link that symbol"),
        ("wasi", "thread-spawn", "without threads"),
        ("gojs", "runtime.wasmExit", "GOOS=wasip1"),
        ("wbg", "x", "wasm-bindgen"),
        ("a:b/c@1.0.0", "x", "component embed"),
        ("extra", "x", "--adapt extra=FILE"),
    ] {
        let refusal = refuse(&format!(
            r#"(module (import "{module}" "{name}" (func)) {MEMORY})"#
        ));
        assert_eq!(refusal.reason, Reason::UnknownImport);
        assert!(refusal.next_step.contains(advice), "{refusal}");
    }
}

#[test]
fn wasi_of_before_preview1() {
    let refusal = refuse(&format!(
        r#"(module (import "wasi_unstable" "fd_write" (func)) {MEMORY})"#
    ));
    assert_eq!(refusal.reason, Reason::OldWasi);
    assert!(
        refusal.found.contains("wasi_unstable.fd_write"),
        "{refusal}"
    );
}

#[test]
fn sockets_of_wasmedge() {
    let refusal = refuse(&format!(
        r#"(module (import "wasi_snapshot_preview1" "sock_open"
            (func (param i32 i32 i32) (result i32))) {MEMORY})"#
    ));
    assert_eq!(refusal.reason, Reason::UnknownFunction);
    assert!(refusal.next_step.contains("sockets"), "{refusal}");
}

#[test]
fn wrong_signature_of_preview1() {
    let refusal = refuse(&format!(
        r#"(module (import "wasi_snapshot_preview1" "sched_yield" (func (result i64))) {MEMORY})"#
    ));
    assert_eq!(refusal.reason, Reason::WrongSignature);
    assert_eq!(
        refusal.found,
        "wasi_snapshot_preview1.sched_yield takes nothing and gives i32; this module imports it as () -> i64"
    );
}

#[test]
fn memories_that_cannot_grow() {
    let module = |memory: &str, more: &str| {
        format!(
            r#"(module (import "wasi_snapshot_preview1" "sched_yield" (func (result i32)))
                (memory (export "memory") {memory}) {more})"#
        )
    };
    for memory in ["11 11", "65536"] {
        let refusal = refuse(&module(memory, ""));
        assert_eq!(refusal.reason, Reason::FullMemory, "{memory}");
    }
    let realloc =
        r#"(func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) unreachable)"#;
    for (memory, more) in [("11 12", ""), ("11", ""), ("11 11", realloc)] {
        let made = componentize(module(memory, more).as_bytes(), &Options::default());
        assert!(made.is_ok(), "{memory} {more}");
    }
}

#[test]
fn memories() {
    for (memory, reason) in [
        ("", Reason::NoMemory),
        ("(memory 1)", Reason::HiddenMemory),
        (
            r#"(memory (export "memory") 1) (memory 1)"#,
            Reason::ManyMemories,
        ),
        (
            r#"(memory (export "memory") 1 2 shared)"#,
            Reason::SharedMemory,
        ),
        (r#"(memory (export "memory") i64 1)"#, Reason::Memory64),
    ] {
        assert_eq!(refuse(&with(memory)).reason, reason, "{memory}");
    }
    let imported = with("").replace("(module", r#"(module (import "env" "memory" (memory 1))"#);
    assert_eq!(refuse(&imported).reason, Reason::ImportedMemory);
    let threads = imported.replace("(memory 1)", "(memory 1 2 shared)");
    assert_eq!(refuse(&threads).reason, Reason::SharedMemory);
}

#[test]
fn other_things_than_functions() {
    for import in [
        r#"(import "wasi_ephemeral_nn" "load" (global i32))"#,
        r#"(import "env" "table" (table 1 funcref))"#,
    ] {
        let refusal = refuse(&format!("(module {import} {MEMORY})"));
        assert_eq!(refusal.reason, Reason::ImportKind, "{refusal}");
    }
}

#[test]
fn two_modules_of_wasi_nn() {
    let refusal = refuse(&format!(
        r#"(module
            (import "wasi_ephemeral_nn" "compute" (func (param i32) (result i32)))
            (import "wasi_nn" "compute" (func (param i32) (result i32)))
            {MEMORY})"#
    ));
    assert_eq!(refusal.reason, Reason::TwoNnModules);
    assert_eq!(refusal.found, "imports both wasi_ephemeral_nn and wasi_nn");
}

#[test]
fn unknown_function() {
    let refusal = refuse(&format!(
        r#"(module (import "wasi_ephemeral_nn" "train" (func (result i32))) {MEMORY})"#
    ));
    assert_eq!(refusal.reason, Reason::UnknownFunction);
    assert_eq!(
        refusal.found,
        "imports wasi_ephemeral_nn.train, which is no function of wasi-nn"
    );
    assert!(refusal.expected.contains("get_output"), "{refusal}");
    assert!(!refusal.expected.contains("cabi"), "{refusal}");
}

#[test]
fn wrong_signature() {
    let refusal = refuse(&format!(
        r#"(module
            (import "wasi_ephemeral_nn" "compute_single" (func (param i32) (result i32)))
            (import "wasi_ephemeral_nn" "load" (func (param i32 i64) (result i32)))
            {MEMORY})"#
    ));
    assert_eq!(refusal.reason, Reason::WrongSignature);
    assert_eq!(
        refusal.found,
        "wasi_ephemeral_nn.load takes 5 i32 and gives i32 in dialect wasmedge; \
         this module imports it as (i32, i64) -> i32"
    );
}

#[test]
fn options_that_cannot_be_met() {
    let fit = with(MEMORY);
    let dialect = |name: &str| Options {
        dialect: Some(name.to_string()),
        ..Options::default()
    };
    let refusal = refuse_with(&fit, &dialect("wasmegde"));
    assert_eq!(refusal.reason, Reason::UnknownDialect);
    assert!(refusal.expected.contains("wasmedge"), "{refusal}");
    let refusal = refuse_with(&fit, &dialect("wamr-legacy"));
    assert_eq!(refusal.reason, Reason::DialectMismatch);

    let options = Options {
        adapters: vec![Adapter {
            name: "extra".to_string(),
            bytes: b"nonsense".to_vec(),
        }],
        ..Options::default()
    };
    assert_eq!(refuse_with(&fit, &options).reason, Reason::BadAdapter);
}

#[test]
fn a_profile_that_was_asked_for_is_met_or_refused() {
    let options = Options {
        dialect: Some("wasi-nn-2022-10".to_string()),
        profile: Some(Profile::Extended),
        ..Options::default()
    };
    match componentize(with(MEMORY).as_bytes(), &options) {
        Ok(done) => assert_eq!(
            done.report.choice.map(|c| c.profile),
            Some(Profile::Extended)
        ),
        Err(refusal) => assert_eq!(refusal.reason, Reason::NoSuchAdapter),
    }
}

#[test]
fn broken_modules_are_explained() {
    let fit = wat::parse_str(with(MEMORY)).expect("the text is right");
    for end in 8..fit.len() {
        if let Err(refusal) = componentize(&fit[..end], &Options::default()) {
            assert!(
                matches!(
                    refusal.reason,
                    Reason::Truncated | Reason::NoMemory | Reason::HiddenMemory
                ),
                "{end}: {refusal}"
            );
        }
    }
    let mut version = fit.clone();
    version[4] = 9;
    assert_eq!(
        analyze(&version).expect_err("a version to come").reason,
        Reason::Invalid
    );
}

/// Function bodies are not looked at before the component is made, and yet the module is blamed.
#[test]
fn a_wrong_body_is_the_modules_fault() {
    let refusal = refuse(&with(&format!("{MEMORY} (func (result i32) i64.const 0)")));
    assert_eq!(refusal.reason, Reason::Invalid);
    assert!(
        refusal.found.starts_with("the module is not valid: "),
        "{refusal}"
    );
}

#[test]
fn broken_component_types() {
    let refusal = refuse(&with(&format!(
        r#"{MEMORY} (@custom "component-type:x" "\00asm\0d\00\01\00\07\ff")"#
    )));
    assert!(
        matches!(refusal.reason, Reason::Encoder | Reason::EncoderPanicked),
        "{refusal}"
    );
}

/// Flips each bit of a module: never a panic, and what is accepted is valid.
#[test]
fn mutations_never_panic() {
    let fit = wat::parse_str(with(&format!(
        r#"{MEMORY} (func (export "_start") (drop (call 0 (i32.const 1)))) (data (i32.const 8) "x")"#
    )))
    .expect("the text is right");
    for bit in 0..fit.len() * 8 {
        let mut bytes = fit.clone();
        bytes[bit / 8] ^= 1 << (bit % 8);
        if let Ok(done) = componentize(&bytes, &Options::default()) {
            llm_wasi_componentize::world(&done.bytes).expect("a component that can be read");
        }
    }
}
