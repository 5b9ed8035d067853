//! Streams that break or are none: standard error that is full, readers that have gone, pipes in the place of files.

#![cfg(target_os = "linux")]

mod support;

use llm_wasi_host::testing::TinyModel;
use std::fs::File;
use std::io::Read;
use std::process::{Command, Stdio};
use support::{Folder, text};

/// Says "hello" and does nothing else.
const HELLO: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../fixtures/wasm/chat.wasm");

fn folder() -> Folder {
    let folder = Folder::new();
    folder.write("tiny.gguf", TinyModel::new().to_gguf());
    folder
}

/// A text from the tiny model.
const RUN: [&str; 7] = [
    "run",
    "--env",
    "n_predict=5",
    "--nn-preload",
    "default:GGML:CPU:tiny.gguf",
    HELLO,
    "default",
];

#[test]
fn a_log_that_cannot_be_written_is_lost_and_nothing_else() {
    let folder = folder();
    for args in [
        &["-vvv", "devices"][..],
        &["run", "--timings", "--enable-all", "end.wat"],
    ] {
        folder.write(
            "end.wat",
            r#"(module (memory (export "memory") 1) (func (export "_start")))"#,
        );
        let status = folder
            .command(args)
            .stdout(Stdio::null())
            .stderr(File::create("/dev/full").unwrap())
            .status()
            .unwrap();
        assert!(status.success(), "{args:?}: {status}");
    }
    // llama.cpp's own log comes from its threads, and from a worker.
    for isolate in ["--isolate=no", "--isolate=all"] {
        let args = [&["-vvv"], &RUN[..1], &[isolate], &RUN[1..], &["Hello"]].concat();
        let mut program = folder
            .command(&args)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        // A reader that has seen enough.
        drop(program.stderr.take());
        let output = program.wait_with_output().unwrap();
        // The program's own note on standard error fails, which is its own affair; the host neither panics nor aborts.
        assert!(
            output.status.code().is_some_and(|code| code != 101),
            "{}",
            output.status
        );
    }
}

#[test]
fn a_wrong_filter_of_the_log_is_told_and_an_empty_one_is_none() {
    let folder = folder();
    let told = |filter: &str| {
        let args = [
            &RUN[..4],
            &["default:GGML:CPU:none.gguf"],
            &RUN[5..],
            &["Hello"],
        ]
        .concat();
        let output = folder
            .command(&args)
            .env("RUST_LOG", filter)
            .output()
            .unwrap();
        text(&output.stderr)
    };
    assert!(
        told("").contains("expected a file at none.gguf"),
        "{}",
        told("")
    );
    assert!(
        told("a==b").contains("RUST_LOG: expected"),
        "{}",
        told("a==b")
    );
}

#[test]
fn a_reader_that_has_gone_ends_a_conversation_quietly() {
    let folder = folder();
    folder.write("prompts", "a\n".repeat(50));
    let mut chat = folder
        .command(&["chat", "tiny.gguf", "--temp", "0", "--n-predict", "200"])
        .stdin(File::open(folder.path("prompts")).unwrap())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut start = [0; 5];
    let mut stdout = chat.stdout.take().unwrap();
    stdout.read_exact(&mut start).unwrap();
    drop(stdout);
    let output = chat.wait_with_output().unwrap();
    let told = text(&output.stderr);
    assert!(!told.contains("error"), "{told}");
    assert_eq!(output.status.code(), Some(1));
}

#[test]
fn a_pipe_is_no_model() {
    let folder = folder();
    let made = Command::new("mkfifo")
        .arg(folder.path("pipe.gguf"))
        .status();
    assert!(made.unwrap().success());
    let args = [
        &RUN[..4],
        &["default:GGML:AUTO:pipe.gguf"],
        &RUN[5..],
        &["Hello"],
    ]
    .concat();
    let output = folder.run(&args);
    let told = text(&output.stderr);
    assert!(
        told.contains("expected a file at pipe.gguf, found a pipe"),
        "{told}"
    );
    assert!(!output.status.success());
}

/// Its models are read in its file.
#[test]
fn a_bundle_does_not_come_through_a_pipe() {
    let folder = folder();
    folder.succeed(&["bundle", HELLO, "--model", "tiny.gguf", "-o", "bundle.wasm"]);
    let output = folder
        .command(&["run", "/dev/stdin", "default", "Hello"])
        .stdin({
            let mut cat = Command::new("cat");
            let cat = cat.arg(folder.path("bundle.wasm")).stdout(Stdio::piped());
            Stdio::from(cat.spawn().unwrap().stdout.unwrap())
        })
        .output()
        .unwrap();
    let told = text(&output.stderr);
    assert!(
        told.contains("is a bundle that comes through a pipe"),
        "{told}"
    );
    assert_eq!(output.status.code(), Some(1));
}
