//! WasmEdge's flags besides models, folders and variables.

use crate::command_line::{Ended, Folder, speaker};
use llm_wasi_host::testing::TinyModel;
use std::fs;
use std::time::Instant;

/// Makes a file, and ends with the errno of that.
const WRITER: &str = r#"(module
    (import "wasi_snapshot_preview1" "path_open"
        (func $open (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
    (memory (export "memory") 1)
    (data (i32.const 0) "new")
    (func (export "_start")
        ;; Right 64 is to write, flag 1 is to create.
        (call $exit (call $open (i32.const 3) (i32.const 0) (i32.const 0) (i32.const 3) (i32.const 1)
            (i64.const 64) (i64.const 0) (i32.const 0) (i32.const 16)))))"#;

const ENDLESS: &str = r#"(module (memory (export "memory") 1)
    (func (export "_start") (loop (br 0))))"#;

const ENDLESS_START: &str = r#"(module (memory (export "memory") 1)
    (func $start (loop (br 0))) (start $start)
    (func (export "_start")))"#;

/// Reads standard input.
const WAITING: &str = r#"(module
    (import "wasi_snapshot_preview1" "fd_read" (func $read (param i32 i32 i32 i32) (result i32)))
    (memory (export "memory") 1)
    (func (export "_start")
        (i32.store (i32.const 0) (i32.const 16))
        (i32.store (i32.const 4) (i32.const 16))
        (drop (call $read (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 8)))))"#;

#[test]
fn folders_may_be_read_only() {
    let folder = Folder::new();
    fs::write(folder.path("writer.wat"), WRITER).expect("a program");
    let ended = folder
        .wasmedge("wasmedge --dir .:.:readonly writer.wat")
        .run();
    assert_ne!(ended.code, 0, "{ended:?}");
    assert!(ended.stderr.is_empty(), "{ended:?}");
    assert!(!folder.path("new").exists());
    let ended = folder.wasmedge("wasmedge --dir .:. writer.wat").run();
    assert_eq!(ended.code, 0, "{ended:?}");
    assert!(folder.path("new").exists());
}

#[test]
fn flags_without_a_meaning_are_warnings() {
    let (model, text) = speaker("Hello", 12);
    let ended = Folder::new()
        .with("model.gguf", &model)
        .wasmedge(
            "wasmedge --enable-all --enable-jit --run-mode=jit --log-level info --enable-all \
             --memory-page-limit 1000 --gas-limit 1000000000 --nn-preload default:GGML:AUTO:model.gguf \
             wasmedge-ggml-basic.wasm default Hello",
        )
        .run();
    assert!(ended.stdout.contains(&text), "{ended:?}");
    let warnings: Vec<_> = ended.stderr.lines().collect();
    let told = |flag: &str| {
        let sign = format!("{flag} has no effect: ");
        warnings.iter().filter(|line| line.contains(&sign)).count()
    };
    for flag in ["--enable-all", "--enable-jit", "--run-mode", "--log-level"] {
        assert_eq!(told(flag), 1, "{flag}: {warnings:?}");
    }
    assert_eq!(warnings.len(), 4, "{warnings:?}");
}

#[test]
fn limits_of_memory_and_gas_are_kept() {
    let (model, _) = speaker("Hello", 12);
    let folder = Folder::new().with("model.gguf", &model);
    let run = |limit: &str| {
        folder
            .wasmedge(&format!(
                "wasmedge {limit} --nn-preload default:GGML:AUTO:model.gguf wasmedge-ggml-basic.wasm \
                 default Hello"
            ))
            .run()
    };
    let ended = run("--memory-page-limit 2");
    assert_ne!(ended.code, 0, "{ended:?}");
    assert!(ended.stderr.contains("limit `memory`"), "{ended:?}");
    let ended = run("--gas-limit 1000");
    assert_eq!(ended.code, 1, "{ended:?}");
    assert!(
        ended.stderr.contains("has used up its 1000 units of fuel"),
        "{ended:?}"
    );
}

/// Behind the program's name flags are the program's.
#[test]
fn flags_of_the_program_are_left_alone() {
    let (model, _) = speaker("-jit", 12);
    let ended = Folder::new()
        .with("model.gguf", &model)
        .wasmedge(
            "wasmedge --nn-preload default:GGML:AUTO:model.gguf wasmedge-ggml-phi-3.wasm default \
             --enable-jit --reactor",
        )
        .run();
    assert!(
        ended.stdout.contains("Prompt:\n--enable-jit\n"),
        "{ended:?}"
    );
    assert_eq!(ended.stderr, "");
}

#[track_caller]
fn timed_out(ended: &Ended, started: Instant) {
    assert_eq!(ended.code, 1, "{ended:?}");
    assert!(
        ended.stderr.contains("has not ended within 500 ms"),
        "{ended:?}"
    );
    assert!(ended.stderr.contains("--time-limit"), "{ended:?}");
    // It is a limit: nothing of this would end by itself.
    assert!(started.elapsed().as_secs() < 60);
}

#[test]
fn a_time_limit_ends_loops_and_waits() {
    let folder = Folder::new();
    for (name, text) in [
        ("endless.wat", ENDLESS),
        ("start.wat", ENDLESS_START),
        ("waiting.wat", WAITING),
    ] {
        fs::write(folder.path(name), text).expect("a program");
        let started = Instant::now();
        let line = format!("wasmedge --time-limit 500 {name}");
        timed_out(&folder.wasmedge(&line).run_without_input(), started);
    }
}

#[test]
fn a_time_limit_ends_computations() {
    let folder = Folder::new().with("model.gguf", &TinyModel::new());
    let started = Instant::now();
    let options = r#"{"temp": 0, "ctx-size": 256, "ctx-shift": true, "stream-stdout": true}"#;
    let line = format!(
        "wasmedge --time-limit 500 --env 'options={options}' \
         --nn-preload default:GGML:AUTO:model.gguf wasmedge-ggml-basic.wasm default Hello"
    );
    timed_out(&folder.wasmedge(&line).run(), started);
}

#[test]
fn a_time_limit_leaves_the_quick_alone() {
    let (model, text) = speaker("Hello", 12);
    let folder = Folder::new().with("model.gguf", &model);
    for limit in ["0", "60000", "18446744073709551615"] {
        let line = format!(
            "wasmedge --time-limit {limit} --nn-preload default:GGML:AUTO:model.gguf \
             wasmedge-ggml-basic.wasm default Hello"
        );
        let ended = folder.wasmedge(&line).run();
        assert_eq!(ended.code, 0, "{ended:?}");
        assert!(ended.stdout.contains(&text), "{ended:?}");
    }
}
