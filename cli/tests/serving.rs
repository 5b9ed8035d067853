//! Many instances of a program, their limits, and figures for whoever watches them.

mod support;

use llm_wasi_host::testing::TinyModel;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::Stdio;
use std::time::{Duration, Instant};
use support::{Folder, text};

const CHAT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../fixtures/wasm/chat.wasm");

fn folder() -> Folder {
    let folder = Folder::new();
    folder.write("model.gguf", TinyModel::new().to_gguf());
    folder
}

/// A run of the program with twelve tokens, and these flags.
fn run<'a>(flags: &[&'a str]) -> Vec<&'a str> {
    let mut args = vec![
        "run",
        "--env",
        "temp=0",
        "--env",
        "n_predict=12",
        "--env",
        "ctx_size=256",
        "--nn-preload",
        "default:GGML:CPU:model.gguf",
    ];
    args.extend(flags);
    args.extend([CHAT, "default", "Hello"]);
    args
}

#[test]
fn instances_give_the_same_text_each_with_its_number() {
    let folder = folder();
    let (alone, _) = folder.succeed(&run(&[]));
    let (many, _) = folder.succeed(&run(&["--instances", "9", "--parallel", "3"]));
    let mut lines: Vec<_> = many.lines().map(str::to_owned).collect();
    lines.sort();
    let expected: Vec<_> = (0..9)
        .map(|number| format!("[{number}] {}", alone.trim_end()))
        .collect();
    assert_eq!(lines, expected);
}

#[test]
fn an_instance_knows_its_number_and_its_failure_is_told() {
    let folder = Folder::new();
    // Fails if its first variable is the number 1 (the last byte of its value).
    folder.write(
        "one.wat",
        r#"(module
            (import "wasi_snapshot_preview1" "environ_get" (func $get (param i32 i32) (result i32)))
            (import "wasi_snapshot_preview1" "environ_sizes_get" (func $sizes (param i32 i32) (result i32)))
            (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
            (memory (export "memory") 1)
            (func (export "_start")
                (drop (call $sizes (i32.const 0) (i32.const 4)))
                (drop (call $get (i32.const 8) (i32.const 1024)))
                (if (i32.eq (i32.load8_u (i32.add (i32.const 1024)
                        (i32.sub (i32.load (i32.const 4)) (i32.const 2)))) (i32.const 49))
                    (then (call $exit (i32.const 7))))))"#,
    );
    let output = folder.run(&["run", "--instances", "4", "one.wat"]);
    assert_eq!(output.status.code(), Some(7), "{}", text(&output.stderr));
}

#[test]
fn an_instance_that_never_ends_does_not_hold_up_the_others() {
    let folder = Folder::new();
    folder.write(
        "spin.wat",
        r#"(module (memory (export "memory") 1) (func (export "_start") (loop (br 0))))"#,
    );
    let told = folder.fail(&[
        "run",
        "--instances",
        "6",
        "--parallel",
        "6",
        "--limit",
        "time=300ms",
        "spin.wat",
    ]);
    assert!(told.contains("instance 0"), "{told}");
    assert!(told.contains("has not ended within 300 ms"), "{told}");
}

/// `wasi:nn` has a text as a tensor of bytes.
#[test]
fn an_output_beyond_a_limit_is_an_error_and_no_empty_text() {
    let folder = folder();
    let flags = ["--profile", "portable", "--limit", "tensor=8"];
    let mut args = run(&flags);
    args.insert(args.len() - 2, "--no-stream");
    let output = folder.run(&args);
    assert!(!output.status.success());
    let told = text(&output.stderr);
    assert!(told.contains("limit `tensor`: at most 8, found"), "{told}");
}

/// Instances execute something before they are programs.
#[test]
fn fuel_that_is_used_up_at_once_is_told_as_that() {
    let folder = folder();
    let told = folder.fail(&run(&["--limit", "fuel=1"]));
    assert!(told.contains("has used up its 1 units of fuel"), "{told}");
    assert!(told.contains("set a larger --limit fuel=N"), "{told}");
}

#[test]
fn a_program_without_a_memory_that_is_exported_is_told_so() {
    let folder = folder();
    for memory in ["", "(memory 1)"] {
        folder.write(
            "start.wat",
            format!("(module {memory} (func (export \"_start\")))"),
        );
        let told = folder.fail(&["run", "start.wat"]);
        assert!(told.contains("there is nothing to run"), "{told}");
        assert!(told.contains("exports `_start` and its memory"), "{told}");
    }
}

#[test]
fn a_start_that_takes_or_gives_something_is_refused() {
    let folder = folder();
    for signature in ["(param i32)", "(result i32) i32.const 0"] {
        folder.write(
            "start.wat",
            format!(
                r#"(module (memory (export "memory") 1) (func (export "_start") {signature}))"#
            ),
        );
        let output = folder.run(&["check", "start.wat"]);
        let told = text(&output.stdout);
        assert_eq!(output.status.code(), Some(1), "{told}");
        assert!(
            told.contains("_start takes nothing and gives nothing"),
            "{told}"
        );
    }
}

#[test]
fn limits_are_listed_and_wrong_ones_named() {
    let folder = folder();
    let told = |limit: &str| {
        let output = folder.run(&run(&["--limit", limit]));
        assert_eq!(output.status.code(), Some(2), "{limit}");
        text(&output.stderr)
    };
    // As `--help` does, without a program.
    let help = folder.run(&["run", "--limit", "help"]);
    assert!(help.status.success());
    let help = text(&help.stdout);
    assert!(help.starts_with("The limits"), "{help}");
    assert!(
        help.contains("compute-time") && help.contains("4GiB"),
        "{help}"
    );
    assert!(told("speed=1").contains("expected one of memory"));
    assert!(told("contexts=x").contains("contexts: expected a number, found `x`"));
    assert!(told("contexts").contains("NAME=VALUE"));
}

#[test]
fn what_models_share_has_sizes_and_numbers() {
    let folder = folder();
    folder.succeed(&run(&["--queue", "0", "--prefix-cache", "0"]));
    for (flag, value, expected) in [
        ("--queue", "-1", "invalid digit"),
        (
            "--prefix-cache",
            "1.5GiB",
            "a size in bytes, KiB, MiB or GiB",
        ),
    ] {
        let output = folder.run(&run(&[&format!("{flag}={value}")]));
        assert_eq!(output.status.code(), Some(2), "{flag}");
        let told = text(&output.stderr);
        assert!(told.contains(value) && told.contains(expected), "{told}");
    }
}

#[test]
fn a_limit_is_an_error_of_the_program_and_one_line_of_the_log() {
    let folder = folder();
    for (limit, name) in [
        ("graphs=0", "graphs"),
        ("contexts=0", "contexts"),
        ("name=3", "name"),
        ("prompt-tokens=3", "prompt"),
        ("tensor=2", "tensor"),
    ] {
        let output = folder.run(&run(&["--limit", limit]));
        let told = text(&output.stderr);
        assert_ne!(output.status.code(), Some(0), "{limit}: {told}");
        assert_ne!(output.status.code(), Some(134), "{limit}: {told}");
        if name != "prompt" {
            let lines = told
                .lines()
                .filter(|line| line.contains(&format!("limit `{name}`")));
            assert_eq!(lines.count(), 1, "{limit}: {told}");
        }
    }
}

#[test]
fn timings_have_every_phase() {
    let (_, told) = folder().succeed(&run(&["--timings"]));
    for phase in [
        "compiling",
        "loading",
        "prefill",
        "decode",
        "copying",
        "in all",
    ] {
        assert!(told.contains(phase), "{phase}: {told}");
    }
}

#[test]
fn figures_are_served_while_a_program_runs() {
    let folder = folder();
    // The program waits for its questions on standard input.
    let mut command = folder.command(&[
        "run",
        "-v",
        "--metrics",
        "127.0.0.1:0",
        "--env",
        "n_predict=5",
        "--env",
        "ctx_size=256",
        "--nn-preload",
        "default:GGML:CPU:model.gguf",
        CHAT,
        "-i",
        "default",
    ]);
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut told = BufReader::new(child.stderr.take().unwrap()).lines();
    let address = told
        .find_map(|line| {
            let line = line.unwrap();
            let (_, address) = line.split_once("http://")?;
            Some(address.trim_end_matches("/metrics").to_owned())
        })
        .expect("the address");
    let get = |path: &str| {
        let mut stream = TcpStream::connect(&address).unwrap();
        write!(
            stream,
            "GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
        )
        .unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    };
    // The program starts behind the server.
    let started = Instant::now();
    let mut answer = get("/metrics");
    while !answer.contains("llm_wasi_instances 1") && started.elapsed().as_secs() < 60 {
        std::thread::sleep(Duration::from_millis(10));
        answer = get("/metrics");
    }
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert!(answer.contains("application/openmetrics-text"), "{answer}");
    assert!(answer.contains("llm_wasi_instances 1"), "{answer}");
    assert!(answer.ends_with("# EOF\n"), "{answer}");
    assert!(get("/").starts_with("HTTP/1.1 404"));
    drop(child.stdin.take());
    assert!(child.wait().unwrap().success());
}

#[test]
fn an_address_that_cannot_be_had_is_an_error() {
    let folder = folder();
    let told = folder.fail(&run(&["--metrics", "192.0.2.1:1"]));
    assert!(
        told.contains("cannot serve figures at 192.0.2.1:1"),
        "{told}"
    );
}
