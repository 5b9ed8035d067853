//! Many instances of a program, their limits, and figures for whoever watches them.

mod support;

use llm_wasi_host::testing::TinyModel;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, ExitStatus, Stdio};
use std::time::{Duration, Instant};
use support::{Folder, text};

const CHAT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../fixtures/wasm/chat.wasm");

fn folder() -> Folder {
    let folder = Folder::new();
    folder.write("model.gguf", TinyModel::new().to_gguf());
    folder
}

/// Writes this, with the number of its stream, and goes on with `then`.
fn writes(pieces: &[(u32, &str)], then: &str) -> String {
    let mut data = String::new();
    let mut calls = String::new();
    for (index, (stream, text)) in pieces.iter().enumerate() {
        let (at, length) = (64 + 64 * index, text.len());
        data.push_str(&format!(
            "(data (i32.const {at}) \"\\{:02x}\\{:02x}\\00\\00\\{length:02x}\\00\\00\\00\" {text:?})",
            (at + 8) & 0xff,
            (at + 8) >> 8
        ));
        calls.push_str(&format!(
            "(drop (call $write (i32.const {stream}) (i32.const {at}) (i32.const 1) (i32.const 0)))"
        ));
    }
    format!(
        r#"(module
            (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
            (import "wasi_snapshot_preview1" "environ_get" (func $get (param i32 i32) (result i32)))
            (import "wasi_snapshot_preview1" "environ_sizes_get" (func $sizes (param i32 i32) (result i32)))
            (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
            (memory (export "memory") 1)
            {data}
            (func $writes {calls})
            (func $environment (result i32)
                (drop (call $sizes (i32.const 0) (i32.const 4)))
                (drop (call $get (i32.const 8) (i32.const 1024)))
                (i32.load (i32.const 4)))
            (func (export "_start") {then}))"#
    )
}

/// Writes and writes to standard output.
fn flood() -> String {
    writes(
        &[(1, "................................\n")],
        "(loop (call $writes) (br 0))",
    )
}

/// Waits for the end of what could go on for ever.
fn wait(child: &mut Child) -> ExitStatus {
    let started = Instant::now();
    while started.elapsed() < Duration::from_secs(120) {
        if let Some(status) = child.try_wait().unwrap() {
            return status;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    child.kill().unwrap();
    panic!("it has not ended");
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

#[test]
fn a_limit_of_time_holds_where_nobody_reads_what_is_written() {
    let folder = Folder::new();
    folder.write("flood.wat", flood());
    for flags in [&[][..], &["--instances", "3"]] {
        let args = [&["run", "--time-limit", "300"], flags, &["flood.wat"]].concat();
        let mut command = folder.command(&args);
        let mut child = command
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        assert_eq!(wait(&mut child).code(), Some(1), "{flags:?}");
        let mut told = String::new();
        let mut stderr = child.stderr.take().unwrap();
        stderr.read_to_string(&mut told).unwrap();
        assert!(told.contains("has not ended within 300 ms"), "{told}");
    }
}

#[test]
fn whoever_writes_to_a_reader_that_stalls_does_not_hold_up_others() {
    let folder = Folder::new();
    // More than there are processors. The last one, whose number ends with 63, sleeps until the others can write no more,
    // and then writes to standard error alone.
    let then = "(if (i32.eq (i32.load16_u (i32.add (i32.const 1021) (call $environment))) (i32.const 0x3336))
        (then
            (i32.store (i32.const 656) (i32.const 1))
            (i64.store (i32.const 664) (i64.const 500000000))
            (drop (call $poll (i32.const 640) (i32.const 704) (i32.const 1) (i32.const 768)))
            (call $writes))
        (else (loop (call $flood) (br 0))))";
    let program = writes(&[(2, "here\n")], then)
        .replace(
            "(memory",
            "(import \"wasi_snapshot_preview1\" \"poll_oneoff\" (func $poll (param i32 i32 i32 i32) (result i32)))
            (memory",
        )
        .replace(
            "(func $writes",
            "(data (i32.const 512) \"\\08\\02\\00\\00\\20\\00\\00\\00...............................\\n\")
            (func $flood (drop (call $write (i32.const 1) (i32.const 512) (i32.const 1) (i32.const 0))))
            (func $writes",
        );
    folder.write("flood.wat", program);
    let args = ["run", "--instances", "64", "--parallel", "64", "flood.wat"];
    let mut command = folder.command(&args);
    let mut child = command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stderr = BufReader::new(child.stderr.take().unwrap());
    let reader = std::thread::spawn(move || {
        let mut line = String::new();
        stderr.read_line(&mut line).map(|_| line)
    });
    let started = Instant::now();
    while !reader.is_finished() && started.elapsed() < Duration::from_secs(120) {
        std::thread::sleep(Duration::from_millis(10));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(reader.join().unwrap().unwrap(), "[63] here\n");
}

#[test]
fn a_reader_that_has_gone_ends_all_instances_quietly() {
    let folder = Folder::new();
    folder.write("flood.wat", flood());
    let mut command = folder.command(&["run", "--instances", "8", "flood.wat"]);
    let mut child = command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    let mut stdout = BufReader::new(child.stdout.take().unwrap());
    stdout.read_line(&mut line).unwrap();
    drop(stdout);
    assert_eq!(wait(&mut child).code(), Some(1));
    let mut told = String::new();
    let mut stderr = child.stderr.take().unwrap();
    stderr.read_to_string(&mut told).unwrap();
    assert_eq!(told, "");
}

#[cfg(target_os = "linux")]
#[test]
fn the_end_of_an_output_that_is_not_written_is_a_failure() {
    let folder = Folder::new();
    folder.write(
        "partial.wat",
        writes(&[(1, "no newline")], "(call $writes)"),
    );
    let full = std::fs::File::create("/dev/full").unwrap();
    let mut command = folder.command(&["run", "--instances", "3", "partial.wat"]);
    let output = command.stdout(full).output().unwrap();
    let told = text(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{told}");
    assert!(told.contains("instance 0"), "{told}");
    assert!(told.contains("No space left on device"), "{told}");
}

#[cfg(unix)]
#[test]
fn a_signal_ends_the_lines_that_have_begun() {
    use nix::sys::signal::{Signal, kill};
    use nix::unistd::Pid;
    use std::os::unix::process::ExitStatusExt;
    let folder = Folder::new();
    let program = writes(
        &[(1, "begun"), (2, "now\n")],
        "(call $writes) (loop (br 0))",
    );
    folder.write("spin.wat", program);
    let args = ["run", "--instances", "2", "--parallel", "1", "spin.wat"];
    for signal in [Signal::SIGTERM, Signal::SIGINT] {
        let mut command = folder.command(&args);
        let mut child = command
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        let mut stderr = BufReader::new(child.stderr.take().unwrap());
        stderr.read_line(&mut line).unwrap();
        assert_eq!(line, "[0] now\n");
        let id = i32::try_from(child.id()).unwrap();
        kill(Pid::from_raw(id), signal).unwrap();
        assert_eq!(wait(&mut child).signal(), Some(signal as i32));
        let mut written = String::new();
        let mut stdout = child.stdout.take().unwrap();
        stdout.read_to_string(&mut written).unwrap();
        assert_eq!(written, "[0] begun\n");
    }
}

#[test]
fn one_instance_is_an_instance_and_its_number_is_there_once() {
    let folder = Folder::new();
    let then = "(i32.store (i32.const 64) (i32.const 1024))
        (i32.store (i32.const 68) (call $environment)) (call $writes)";
    folder.write("env.wat", writes(&[(1, "")], then));
    let variable = ["--env", "LLM_WASI_INSTANCE=x"];
    let run = |flags: &[&str]| {
        let args = [&["run"], flags, &variable, &["env.wat"]].concat();
        folder.succeed(&args).0
    };
    assert_eq!(run(&[]), "LLM_WASI_INSTANCE=x\0");
    assert_eq!(run(&["--instances", "1"]), "[0] LLM_WASI_INSTANCE=0\0\n");
}

#[test]
fn many_failures_are_told_of_a_few_instances() {
    let folder = Folder::new();
    folder.write("fails.wat", writes(&[], "(call $exit (i32.const 3))"));
    let output = folder.run(&["run", "--instances", "100", "fails.wat"]);
    assert_eq!(output.status.code(), Some(3));
    let told = text(&output.stderr);
    let one = told
        .lines()
        .filter(|line| line.contains("has ended with 3"));
    assert_eq!(one.count(), 8, "{told}");
    assert!(
        told.contains("91 more instances have not ended well"),
        "{told}"
    );
}

#[test]
fn a_limit_that_is_too_small_is_told_alike_of_one_and_of_many() {
    let folder = Folder::new();
    let program = writes(&[], "").replace("(memory", "(table 20 funcref) (memory");
    folder.write("program.wat", program);
    for (limit, expected) in [
        ("memory=1KiB", "exceeds memory limits"),
        ("table-elements=1", "exceeds table limits"),
        ("instances=1", "instance count too high"),
    ] {
        for instances in ["1", "2"] {
            let told = folder.fail(&[
                "run",
                "--instances",
                instances,
                "--limit",
                limit,
                "program.wat",
            ]);
            assert!(told.contains(expected), "{told}");
            let (name, _) = limit.split_once('=').unwrap();
            let line = format!("limit `{name}`: ");
            assert_eq!(told.matches(&line).count().to_string(), instances, "{told}");
        }
    }
    for limit in ["memory=99GiB", "table-elements=18446744073709551615"] {
        folder.succeed(&["run", "--instances", "2", "--limit", limit, "program.wat"]);
    }
}

#[test]
fn instances_that_run_one_after_the_other_load_a_model_once() {
    let folder = folder();
    let flags = [
        "--instances",
        "3",
        "--parallel",
        "1",
        "--isolate=all",
        "-vv",
    ];
    let (_, told) = folder.succeed(&run(&flags));
    let started = told.matches("has a process of its own").count();
    assert_eq!(started, 1, "{told}");
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
        ("resources=1", "resources"),
    ] {
        let output = folder.run(&run(&["--limit", limit]));
        let told = text(&output.stderr);
        assert_ne!(output.status.code(), Some(0), "{limit}: {told}");
        assert_eq!(
            output.status.code() == Some(134),
            name == "resources",
            "{limit}: {told}"
        );
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
        "--metrics",
        "localhost:0",
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
    let ask = |method: &str, path: &str, header: &str| {
        let mut stream = TcpStream::connect(&address).unwrap();
        write!(
            stream,
            "{method} {path} HTTP/1.1\r\nHost: x\r\n{header}\r\n"
        )
        .unwrap();
        let mut answer = String::new();
        // The connection ends with the answer.
        stream.read_to_string(&mut answer).unwrap();
        answer
    };
    let get = |path: &str| ask("GET", path, "");
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
    let answer = ask("GET", "/metrics", "Accept: text/plain\r\n");
    assert!(answer.contains("text/plain; version=0.0.4"), "{answer}");
    assert!(!answer.contains("# EOF"), "{answer}");
    let answer = ask("POST", "/metrics", "");
    assert!(answer.starts_with("HTTP/1.1 405"), "{answer}");
    assert!(answer.contains("allow: GET, HEAD\r\n"), "{answer}");
    #[cfg(target_os = "linux")]
    {
        let open = || {
            let files = std::fs::read_dir(format!("/proc/{}/fd", child.id()));
            files.unwrap().count()
        };
        let before = open();
        let _silent: Vec<_> = (0..20)
            .map(|_| TcpStream::connect(&address).unwrap())
            .collect();
        // It comes behind them.
        assert!(get("/metrics").starts_with("HTTP/1.1 200"));
        let after = open();
        assert!(after < before + 20, "{before} and then {after}");
    }
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
