//! The program as its users see it: help, results, errors and exit status.
//!
//! Each case is compared with a file in `snapshots`; `BLESS=1` writes them anew.

use snapbox::assert::Action;
use snapbox::{Assert, Data};
use std::fs;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use tempfile::TempDir;

/// Uses only the specification's functions.
const SPEC: &str = r#"(module
    (import "wasi_ephemeral_nn" "compute" (func (param i32) (result i32)))
    (memory (export "memory") 1)
    (func (export "_start")))"#;

/// Uses one of WasmEdge's, and WASI.
const WASMEDGE: &str = r#"(module
    (import "wasi_ephemeral_nn" "compute" (func (param i32) (result i32)))
    (import "wasi_ephemeral_nn" "compute_single" (func (param i32) (result i32)))
    (import "wasi_snapshot_preview1" "proc_exit" (func (param i32)))
    (memory (export "memory") 1)
    (func (export "_start")))"#;

const REACTOR: &str = r#"(module
    (import "wasi_nn" "compute" (func (param i32) (result i32)))
    (import "wasi_snapshot_preview1" "sched_yield" (func (result i32)))
    (memory (export "memory") 1)
    (func (export "_initialize"))
    (func (export "infer") (result i32) i32.const 0))"#;

const FOREIGN: &str = r#"(module
    (import "wasi_ephemeral_nn" "compute" (func (param i32) (result i32)))
    (import "wasmedge_tensorflow" "create_session" (func (param i32)))
    (memory (export "memory") 1))"#;

/// Prints its first argument and ends with status 42.
const ECHO: &str = r#"(module
    (import "wasi_snapshot_preview1" "args_sizes_get" (func $sizes (param i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "args_get" (func $args (param i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
    (memory (export "memory") 1)
    (func (export "_start")
        (drop (call $sizes (i32.const 0) (i32.const 4)))
        (drop (call $args (i32.const 16) (i32.const 256)))
        ;; From the second argument to the end of all arguments.
        (i32.store (i32.const 8) (i32.load (i32.const 20)))
        (i32.store (i32.const 12)
            (i32.sub (i32.add (i32.const 256) (i32.load (i32.const 4))) (i32.load (i32.const 20))))
        (drop (call $write (i32.const 1) (i32.const 8) (i32.const 1) (i32.const 0)))
        (call $exit (i32.const 42))))"#;

/// Asks for a model that nobody has named, and ends with the errno as its status.
const UNKNOWN_MODEL: &str = r#"(module
    (import "wasi_ephemeral_nn" "load_by_name" (func $load (param i32 i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
    (memory (export "memory") 1)
    (data (i32.const 0) "nobody")
    (func (export "_start")
        (call $exit (call $load (i32.const 0) (i32.const 6) (i32.const 8)))))"#;

/// A folder with programs, to run in.
struct Folder(TempDir);

impl Folder {
    fn new() -> Folder {
        let folder = Folder(TempDir::new().expect("a temporary folder"));
        for (name, text) in [
            ("spec.wat", SPEC),
            ("wasmedge.wat", WASMEDGE),
            ("reactor.wat", REACTOR),
            ("foreign.wat", FOREIGN),
            ("echo.wat", ECHO),
            ("unknown_model.wat", UNKNOWN_MODEL),
            ("empty.wasm", ""),
            ("truncated.wasm", "\0asm\x01"),
            ("readme.md", "# Not wasm"),
            ("syntax.wat", "(module\n  (func $f (parm i32)))"),
        ] {
            fs::write(folder.path(name), text).expect("a file");
        }
        folder
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.0.path().join(name)
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_llm-wasi"));
        command
            .args(args)
            .current_dir(self.0.path())
            .env_remove("RUST_LOG")
            .env_remove("COLUMNS")
            .env_remove("CLICOLOR_FORCE")
            .env("HOME", self.0.path())
            .env("XDG_CACHE_HOME", self.path("cache"))
            .stdin(Stdio::null());
        command
    }

    fn run(&self, args: &[&str]) -> Output {
        self.command(args).output().expect("the program starts")
    }

    /// Runs it successfully and gives its standard output.
    fn stdout(&self, args: &[&str]) -> Vec<u8> {
        let output = self.run(args);
        assert!(
            output.status.success(),
            "{args:?}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        output.stdout
    }

    fn files(&self) -> Vec<String> {
        let mut names: Vec<String> = fs::read_dir(self.0.path())
            .expect("the folder")
            .map(|entry| {
                entry
                    .expect("an entry")
                    .file_name()
                    .into_string()
                    .expect("a name")
            })
            .collect();
        names.sort();
        names
    }
}

/// Compares command lines, status and output with a file.
fn snapshot(name: &str, cases: &[&[&str]]) {
    let folder = Folder::new();
    let mut text = String::new();
    for args in cases {
        let output = folder.run(args);
        let line = args.join(" ");
        text.push_str(&format!("$ llm-wasi {line}\n"));
        text.push_str(&String::from_utf8_lossy(&output.stdout));
        for line in String::from_utf8_lossy(&output.stderr).lines() {
            text.push_str(format!("stderr: {line}").trim_end());
            text.push('\n');
        }
        let code = output.status.code().expect("no signal");
        text.push_str(&format!("status: {code}\n\n"));
    }
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/snapshots")
        .join(name);
    let action = match std::env::var_os("BLESS") {
        Some(_) => Action::Overwrite,
        None => Action::Verify,
    };
    let expected = Data::read_from(&path, None).raw();
    Assert::new().action(action).eq(text, expected);
}

#[test]
fn help() {
    snapshot("help.txt", &[&["--help"], &["-h"], &[]]);
    for command in [
        "adapter",
        "componentize",
        "compose",
        "configure",
        "inspect",
        "check",
        "run",
        "chat",
    ] {
        snapshot(&format!("help-{command}.txt"), &[&[command, "--help"]]);
    }
}

/// Nothing that a file says commands the terminal, or looks like a line of the program's own.
#[test]
fn foreign_names_command_no_terminal() {
    const EVIL: &str = r"\1b]0;title\07\c2\9b2J\0aerror: forged\e2\80\ae";
    let folder = Folder::new();
    let import = format!(r#"(import "{EVIL}" "{EVIL}" (func (param i32)))"#);
    let nn = r#"(import "wasi_ephemeral_nn" "compute" (func (param i32) (result i32)))"#;
    let memory = r#"(memory (export "memory") 1)"#;
    let imports = format!("(module {nn} {import} {memory})");
    fs::write(folder.path("imports.wat"), imports).expect("a file");
    let traps = format!(
        r#"(module {memory} (func $f (@name "{EVIL}") unreachable) (func (export "_start") call $f))"#
    );
    fs::write(folder.path("traps.wat"), traps).expect("a file");
    for args in [
        &["inspect", "imports.wat"][..],
        &["inspect", "--json", "imports.wat"],
        &["check", "imports.wat"],
        &["check", "--json", "imports.wat"],
        &["componentize", "imports.wat"],
        &["run", "traps.wat"],
        &["inspect", "\u{1b}[31m\n\u{9b}.wasm"],
    ] {
        let output = folder.run(args);
        let text = [output.stdout, output.stderr].concat();
        let text = String::from_utf8(text).expect("text");
        let commands = |c: char| c != '\n' && (c.is_control() || c == '\u{202e}');
        assert!(!text.contains(commands), "{args:?}: {text:?}");
        assert!(!text.contains("\nerror: forged"), "{args:?}: {text}");
        // It is shown, and not left out.
        assert!(
            text.contains("title") || text.contains("[31m"),
            "{args:?}: {text}"
        );
    }
}

#[test]
fn usage() {
    snapshot(
        "usage.txt",
        &[
            &["componetize"],
            &["check"],
            &["componentize", "spec.wat", "--profile", "large"],
            &["componentize", "spec.wat", "--wit", "2024-06-25"],
            &["componentize", "spec.wat", "--input-name", "data"],
            &["componentize", "spec.wat", "--input-name", "x=data"],
            &["componentize", "spec.wat", "--adapt", "=file"],
            &["run", "--dir", "a:", "echo.wat"],
            &["run", "--env", "=b", "echo.wat"],
            &["run", "--nn-preload", "default:GGML:AUTO", "echo.wat"],
            &["run", "--nn-preload", "default:GMML:AUTO:x", "echo.wat"],
        ],
    );
}

#[test]
fn errors() {
    snapshot(
        "errors.txt",
        &[
            &["componentize", "missing.wasm"],
            &["componentize", "."],
            &["componentize", "empty.wasm"],
            &["componentize", "truncated.wasm"],
            &["componentize", "readme.md"],
            &["componentize", "syntax.wat"],
            &["componentize", "foreign.wat"],
            &["componentize", "spec.wat", "--dialect", "wasmegde"],
            &["componentize", "spec.wat", "--dialect", "wamr-legacy"],
            &[
                "componentize",
                "spec.wat",
                "--profile",
                "extended",
                "--wit",
                "2024-08-19",
            ],
            &[
                "componentize",
                "spec.wat",
                "--input-name",
                "0=a",
                "--input-name",
                "0=b",
            ],
            &["componentize", "spec.wat", "--adapt", "extra=readme.md"],
            &["componentize", "spec.wat", "--adapt", "missing.wasm"],
            &["componentize", "spec.wat", "-o", "missing/out.wasm"],
            &["componentize", "spec.wat", "-o", "readme.md/out.wasm"],
            &["adapter", "--dialect", "wasmegde"],
            &["inspect", "readme.md"],
            &["run", "reactor.wat"],
            &["run", "foreign.wat"],
            &["run", "--dir", "here:missing", "echo.wat"],
            &["run", "--reactor", "reactor.wat", "infer"],
            &["run", "--nn-rpc-uri", "unix:///tmp/nn.sock", "echo.wat"],
            &["run", "--module", "other:other.wasm", "echo.wat"],
        ],
    );
}

#[test]
fn check() {
    snapshot(
        "check.txt",
        &[
            &[
                "check",
                "spec.wat",
                "wasmedge.wat",
                "reactor.wat",
                "echo.wat",
            ],
            &[
                "check",
                "spec.wat",
                "foreign.wat",
                "syntax.wat",
                "missing.wasm",
                "empty.wasm",
            ],
            &[
                "check",
                "--json",
                "wasmedge.wat",
                "foreign.wat",
                "missing.wasm",
            ],
        ],
    );
}

#[test]
fn inspect() {
    snapshot(
        "inspect.txt",
        &[
            &["inspect", "wasmedge.wat"],
            &["inspect", "wasmedge.wat", "--profile", "portable"],
            &["inspect", "foreign.wat"],
            &["inspect", "--json", "spec.wat"],
        ],
    );
}

#[test]
fn adapters() {
    snapshot("adapters.txt", &[&["adapter", "--list"]]);
    let folder = Folder::new();
    let explained = folder.stdout(&["adapter", "--explain"]);
    assert!(String::from_utf8_lossy(&explained).contains("set_input"));
    let text = folder.stdout(&["adapter", "-t"]);
    assert!(text.starts_with(b"(module"));
    // In a folder, the name says which it is.
    for (args, name) in [
        (&[][..], "wasi_ephemeral_nn.wasi-nn.wasm"),
        (
            &["--dialect", "wasmedge", "--profile", "extended"],
            "wasi_ephemeral_nn.wasmedge.extended.wasm",
        ),
        (
            &["--dialect", "wamr-legacy", "-t"],
            "wasi_nn.wamr-legacy.wat",
        ),
        (
            &["--wit", "wasi:nn@0.2.0-rc-2024-08-19"],
            "wasi_ephemeral_nn.wasi-nn.2024-08-19.wasm",
        ),
    ] {
        folder.stdout(&[&["adapter", "-o", "."], args].concat());
        assert!(folder.path(name).exists(), "{name}: {:?}", folder.files());
    }
    let stock = fs::read(folder.path("wasi_ephemeral_nn.wasi-nn.wasm")).expect("an adapter");
    assert_eq!(stock, folder.stdout(&["adapter", "-o", "-"]));
    let named = folder.stdout(&["adapter", "--input-name", "0=data"]);
    assert_ne!(stock, named);
}

#[test]
fn componentize() {
    let folder = Folder::new();
    let output = folder.run(&["componentize", "wasmedge.wat", "-o", "out.wasm"]);
    assert!(output.status.success());
    assert!(output.stdout.is_empty());
    let told = String::from_utf8_lossy(&output.stderr);
    for part in [
        "dialect wasmedge, profile extended: It imports compute_single, which is WasmEdge's.",
        "adapter wasi_ephemeral_nn: wasmedge, extended, wasi:nn@0.2.0-rc-2024-10-28",
        "adapter wasi_snapshot_preview1: command",
        "wrote out.wasm",
    ] {
        assert!(told.contains(part), "{told}");
    }
    let component = fs::read(folder.path("out.wasm")).expect("a component");
    assert_eq!(component[..8], *b"\0asm\x0d\0\x01\0");

    // A component is a fixed point, and `-` is the standard streams.
    assert_eq!(folder.stdout(&["componentize", "out.wasm"]), component);
    let mut child = folder
        .command(&["componentize", "-", "-o", "-", "--quiet"])
        .stdin(fs::File::open(folder.path("wasmedge.wat")).expect("a file"))
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program starts");
    let status = child.wait().expect("it ends");
    assert!(status.success());
    let output = child.wait_with_output().expect("its output");
    assert_eq!(output.stdout, component);
    assert!(output.stderr.is_empty());

    let text = folder.stdout(&["componentize", "wasmedge.wat", "-t"]);
    assert!(text.starts_with(b"(component"));
    folder.stdout(&["componentize", "wasmedge.wat", "-o", "."]);
    assert!(folder.path("wasmedge.component.wasm").exists());
}

#[test]
fn what_cannot_be_called_is_told() {
    let folder = Folder::new();
    let output = folder.run(&["componentize", "reactor.wat", "-o", "out.wasm"]);
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(told.contains("infer cannot be called"), "{told}");
    assert!(
        told.contains("adapter wasi_snapshot_preview1: reactor"),
        "{told}"
    );
}

#[test]
fn a_given_adapter_takes_the_place_of_the_stock_one() {
    let folder = Folder::new();
    folder.stdout(&["adapter", "--dialect", "wasmedge", "-o", "."]);
    let ours = folder.stdout(&["componentize", "spec.wat", "--dialect", "wasmedge"]);
    let given = folder.stdout(&[
        "componentize",
        "spec.wat",
        "--adapt",
        "wasi_ephemeral_nn.wasmedge.wasm",
    ]);
    assert_eq!(ours, given);
}

#[test]
fn a_failure_leaves_everything_as_it_was() {
    let folder = Folder::new();
    fs::write(folder.path("out.wasm"), "precious").expect("a file");
    let before = folder.files();
    for args in [
        &["componentize", "foreign.wat", "-o", "out.wasm"][..],
        &["componentize", "truncated.wasm", "-o", "out.wasm"],
        &["componentize", "spec.wat", "-o", "readme.md/out.wasm"],
        &["adapter", "--dialect", "none", "-o", "out.wasm"],
    ] {
        let output = folder.run(args);
        assert!(!output.status.success(), "{args:?}");
        assert_eq!(
            fs::read(folder.path("out.wasm")).expect("a file"),
            b"precious"
        );
        assert_eq!(folder.files(), before, "{args:?}");
    }
}

#[cfg(unix)]
#[test]
fn files_keep_their_permissions_links_and_devices() {
    use std::os::unix::fs::{FileTypeExt, PermissionsExt, symlink};
    let folder = Folder::new();
    let mode = |name: &str| {
        let metadata = fs::metadata(folder.path(name)).expect("a file");
        metadata.permissions().mode() & 0o777
    };
    fs::write(folder.path("out.wasm"), "old").expect("a file");
    fs::set_permissions(folder.path("out.wasm"), fs::Permissions::from_mode(0o640)).expect("mode");
    symlink("out.wasm", folder.path("link.wasm")).expect("a link");
    folder.stdout(&["componentize", "spec.wat", "-o", "link.wasm"]);
    assert_eq!(mode("out.wasm"), 0o640);
    let link = fs::symlink_metadata(folder.path("link.wasm")).expect("a link");
    assert!(link.is_symlink());
    assert_ne!(fs::read(folder.path("out.wasm")).expect("a file"), b"old");

    // A new file is not as private as a temporary one.
    fs::write(folder.path("usual"), "").expect("a file");
    folder.stdout(&["componentize", "spec.wat", "-o", "new.wasm"]);
    assert_eq!(mode("new.wasm"), mode("usual"));

    folder.stdout(&["componentize", "spec.wat", "-o", "/dev/null"]);
    let device = fs::metadata("/dev/null").expect("a device");
    assert!(device.file_type().is_char_device());
}

#[test]
fn run() {
    let folder = Folder::new();
    let output = folder.run(&["run", "echo.wat", "--dir", "-x"]);
    let told = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(42), "{told}");
    assert_eq!(output.stdout, b"--dir\0-x\0", "{told}");
    assert!(told.is_empty(), "{told}");

    // A component runs as well as a module; stock adapters know two exit codes only.
    for (flag, code) in [("--exit-codes", 42), ("--quiet", 1)] {
        folder.stdout(&["componentize", "echo.wat", "-o", "echo.wasm", flag]);
        let output = folder.run(&["run", "echo.wasm", "x"]);
        assert_eq!(output.status.code(), Some(code));
        assert_eq!(output.stdout, b"x\0");
    }
}

/// As AssemblyScript makes them: the start function runs what is outside of functions, before `_start`.
#[test]
fn a_start_function_calls_what_is_imported() {
    let folder = Folder::new();
    let program = r#"(module
        (import "wasi_snapshot_preview1" "fd_write" (func $fd_write (param i32 i32 i32 i32) (result i32)))
        (import "wasi_ephemeral_nn" "load_by_name" (func $load_by_name (param i32 i32 i32) (result i32)))
        (memory (export "memory") 1)
        (data (i32.const 4) "\06\00\00\00")
        (data (i32.const 16) "start\nmain!\n")
        (func $print (param i32)
            (i32.store (i32.const 0) (local.get 0))
            (drop (call $fd_write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8))))
        (func $start
            (call $print (i32.const 16))
            ;; No model has a name of no bytes.
            (if (i32.eqz (call $load_by_name (i32.const 16) (i32.const 0) (i32.const 8))) (then unreachable)))
        (start $start)
        (func (export "_start") (call $print (i32.const 22))))"#;
    fs::write(folder.path("start.wat"), program).expect("a file");
    assert_eq!(folder.stdout(&["run", "start.wat"]), b"start\nmain!\n");
}

#[test]
fn run_with_a_model_that_is_not_there() {
    let folder = Folder::new();
    let output = folder.run(&["run", "unknown_model.wat"]);
    let told = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(8), "not_found: {told}");
    let output = folder.run(&[
        "run",
        "--nn-preload",
        "nobody:GGML:CPU:missing.gguf",
        "unknown_model.wat",
    ]);
    let told = String::from_utf8_lossy(&output.stderr);
    // Once is enough.
    assert_eq!(told.matches("missing.gguf").count(), 1, "{told}");
    assert!(
        told.contains("check the path given to --nn-preload"),
        "{told}"
    );
    assert_ne!(output.status.code(), Some(0), "{told}");
}

/// A program that chats; it can load a model itself.
const CHAT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../fixtures/wasm/chat.wasm");

#[cfg(target_os = "linux")]
#[test]
fn run_with_models_in_processes_of_their_own() {
    use llm_wasi_host::testing::TinyModel;
    let folder = Folder::new();
    let model = TinyModel::new();
    model.write(folder.path("tiny.gguf")).expect("a model");
    let expected = model.continuation(b'o', 8);
    let preload = "default:GGML:CPU:tiny.gguf";
    // Those of which the program has the bytes are in host/tests/isolate.rs.
    for (flags, isolated) in [
        (&[][..], true),
        (&["--isolate=no"], false),
        (&["--isolate=program"], false),
        (&["--isolate"], true),
        (&["--isolate=all", "--worker-memory", "8192"], true),
    ] {
        let settings = ["run", "--env", "temp=0", "--env", "n_predict=8"];
        let rest = ["--nn-preload", preload, CHAT, "default", "Hello"];
        let mut command = folder.command(&[&settings, flags, &rest].concat());
        command.env("RUST_LOG", "llm_wasi_host=debug");
        let output = command.output().expect("the program starts");
        let told = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{told}");
        assert!(output.stdout.starts_with(&expected), "{told}");
        let found = told.contains("has a process of its own");
        assert_eq!(found, isolated, "{flags:?}: {told}");
    }
    let chat = [
        "chat",
        "tiny.gguf",
        "--temp",
        "0",
        "--n-predict",
        "8",
        "--prompt",
        "o",
    ];
    let here = folder.stdout(&[&chat[..], &["--isolate=no"]].concat());
    assert_eq!(folder.stdout(&chat), here);
    let output = folder.run(&["worker"]);
    assert_eq!(output.status.code(), Some(1));
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(told.contains("nothing to be started by hand"), "{told}");
}

#[cfg(target_os = "linux")]
#[test]
fn run_with_a_model_that_ends_its_process() {
    let folder = Folder::new();
    let model = llm_wasi_host::testing::TinyModel::new();
    model.write(folder.path("tiny.gguf")).expect("a model");
    // Less than the program itself takes.
    let output = folder.run(&[
        "run",
        "--isolate",
        "--worker-memory",
        "1",
        "--nn-preload",
        "default:GGML:CPU:tiny.gguf",
        CHAT,
        "default",
        "Hello",
    ]);
    let told = String::from_utf8_lossy(&output.stderr);
    // The program's own status, for an errno that it got.
    assert_eq!(output.status.code(), Some(1), "{told}");
    assert!(told.contains("model `default`"), "{told}");
    assert!(told.contains("worker process"), "{told}");
}

#[test]
fn run_with_a_model_that_is_broken() {
    let folder = Folder::new();
    fs::write(folder.path("broken.gguf"), "GGUF, but no more").expect("a file");
    let output = folder.run(&[
        "run",
        "--nn-preload",
        "nobody:GGML:CPU:broken.gguf",
        "unknown_model.wat",
    ]);
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(told.contains("model `nobody`: "), "{told}");
    assert!(
        told.contains("broken.gguf: expected GGUF version"),
        "{told}"
    );
    assert_ne!(output.status.code(), Some(0), "{told}");
}
