//! Arguments that nobody means: each run ends by itself with status 0, 1 or 2, and says why.

use llm_wasi_host::testing::TinyModel;
use std::ffi::OsString;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// How many runs there are, unless `LLM_WASI_FUZZ_CASES` says.
const RUNS: u64 = 250;
/// How long one may take.
const LIMIT: Duration = Duration::from_secs(60);

const COMMANDS: [&[&str]; 16] = [
    &["adapter"],
    &["componentize"],
    &["compose"],
    &["configure"],
    &["inspect"],
    &["check"],
    &["run"],
    &["bundle"],
    &["chat"],
    &["model", "list"],
    &["model", "info"],
    &["model", "add"],
    &["model", "remove"],
    &["devices"],
    &["help"],
    &[],
];

const OPTIONS: [&str; 46] = [
    "--dir",
    "--env",
    "--nn-preload",
    "--time-limit",
    "--trusted-key",
    "--verify",
    "--dialect",
    "--profile",
    "--wit",
    "--input-name",
    "--zero-max-is-unlimited",
    "-v",
    "--color",
    "--system",
    "-p",
    "--temp",
    "--top-p",
    "--seed",
    "--ctx-size",
    "--n-predict",
    "--set",
    "--target",
    "--chat-template",
    "-o",
    "-t",
    "--exit-codes",
    "-q",
    "--model",
    "--remove",
    "--sign",
    "--list",
    "--json",
    "--extract",
    "--engine",
    "--configuration",
    "--context-length",
    "--temperature",
    "--max-tokens",
    "--stop",
    "--sha256",
    "--explain",
    "--help",
    "--version",
    "--",
    "-",
    "--no-such",
];

const VALUES: [&str; 38] = [
    "",
    "0",
    "-1",
    "1",
    "4",
    "18446744073709551615",
    "18446744073709551616",
    "-9223372036854775809",
    "1e400",
    "NaN",
    "inf",
    "0x10",
    "auto",
    "never",
    "wasmedge",
    "portable",
    "extended",
    "2024-08-19",
    "0.2.0-rc-2024-10-28",
    "a=b",
    "=",
    "0=x",
    "4294967296=x",
    "m:GGML:CPU:tiny.gguf",
    "m:GGML:GPU:tiny.gguf",
    ":::",
    "m:ONNX:CPU:app.wat",
    "m:NONE:TPU:/",
    "tiny.gguf",
    "app.wat",
    "broken.wasm",
    ".",
    "..",
    "/dev/null",
    "no/such/file",
    ".:.",
    "file:///etc/passwd",
    "a\nb\u{1b}[31m",
];

/// SplitMix64.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) as usize % limit
    }

    fn of<T: Copy>(&mut self, things: &[T]) -> T {
        things[self.below(things.len())]
    }

    fn value(&mut self) -> OsString {
        match self.below(20) {
            0 => not_text(),
            1 => "9".repeat(1 << self.below(16)).into(),
            2 => "ä=".repeat(1 << self.below(12)).into(),
            _ => self.of(&VALUES).into(),
        }
    }

    fn arguments(&mut self) -> Vec<OsString> {
        let command = self.of(&COMMANDS);
        let mut arguments: Vec<OsString> = command.iter().map(OsString::from).collect();
        // As a rule with what the command works on, so that it gets past the parser.
        if self.below(3) > 0 {
            arguments.push(self.of(&["app.wat", "tiny.gguf", "broken.wasm"]).into());
        }
        for _ in 0..self.below(5) {
            match self.below(4) {
                0 => {
                    let value = self.value();
                    arguments.push(value);
                }
                1 => {
                    let mut option = OsString::from(self.of(&OPTIONS));
                    option.push("=");
                    option.push(self.value());
                    arguments.push(option);
                }
                _ => {
                    arguments.push(self.of(&OPTIONS).into());
                    let value = self.value();
                    arguments.push(value);
                }
            }
        }
        arguments
    }
}

#[cfg(unix)]
fn not_text() -> OsString {
    use std::os::unix::ffi::OsStringExt;
    OsString::from_vec(vec![b'a', 0xff, 0xfe, b'='])
}

#[cfg(not(unix))]
fn not_text() -> OsString {
    "\u{fffd}".into()
}

fn number(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    Some(
        text.parse()
            .unwrap_or_else(|_| panic!("{variable}={text} is no number")),
    )
}

#[test]
fn any_arguments_end_with_a_status_and_a_word() {
    let runs = number("LLM_WASI_FUZZ_CASES").unwrap_or(RUNS);
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let seed =
        number("LLM_WASI_SEED").unwrap_or_else(|| now.map_or(1, |now| now.subsec_nanos().into()));
    println!("arguments: LLM_WASI_FUZZ_CASES={runs} LLM_WASI_SEED={seed}");
    let mut random = Random(seed);
    let mut statuses = [0; 3];
    for _ in 0..runs {
        // A folder of its own: some commands write.
        let folder = tempfile::tempdir().expect("a temporary folder");
        let write = |name: &str, bytes: &[u8]| {
            std::fs::write(folder.path().join(name), bytes).expect("a file");
        };
        write(
            "app.wat",
            br#"(module (import "wasi_ephemeral_nn" "compute" (func (param i32) (result i32)))
                (memory (export "memory") 1) (func (export "_start")))"#,
        );
        write("broken.wasm", b"\0asm\x01\0\0\0\x05");
        write("tiny.gguf", &TinyModel::new().to_gguf());
        let arguments = random.arguments();
        let log = folder.path().join("log");
        let output = std::fs::File::create(&log).expect("a file for what the program says");
        let mut child = Command::new(env!("CARGO_BIN_EXE_llm-wasi"))
            .args(&arguments)
            .current_dir(folder.path())
            .env("HOME", folder.path())
            .env("XDG_CACHE_HOME", folder.path().join("cache"))
            .env("LLM_WASI_MODELS", folder.path().join("models"))
            .env_remove("RUST_LOG")
            .stdin(Stdio::null())
            .stdout(output.try_clone().expect("the same file"))
            .stderr(output)
            .spawn()
            .expect("the program starts");
        let started = Instant::now();
        let status = loop {
            if let Some(status) = child.try_wait().expect("the program can be waited for") {
                break status;
            }
            if started.elapsed() > LIMIT {
                child.kill().expect("the program can be killed");
                panic!("{arguments:?}: no end within {LIMIT:?}");
            }
            std::thread::sleep(Duration::from_millis(1));
        };
        let said = std::fs::read(&log).unwrap_or_default();
        let said = String::from_utf8_lossy(&said);
        let code = status.code().filter(|code| (0..=2).contains(code));
        let code = code.unwrap_or_else(|| panic!("{arguments:?}: {status}: {said}"));
        assert!(!said.contains("panicked"), "{arguments:?}: {said}");
        // `check` and `help` report with their status; everything else that fails says why.
        assert!(
            code == 0 || !said.trim().is_empty(),
            "{arguments:?}: {status} without a word"
        );
        statuses[code as usize] += 1;
    }
    println!("arguments: {runs} runs, status 0, 1 and 2: {statuses:?}");
    // Runs that all end in the parser would pass as well.
    assert!(statuses[0] > 0 && statuses[1] > 0, "{statuses:?}");
}

/// A cache that cannot be written costs time, not the run.
#[cfg(unix)]
#[test]
fn a_full_disk_below_the_compilation_cache() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    std::fs::write(
        folder.path().join("app.wat"),
        r#"(module (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
            (memory (export "memory") 1) (func (export "_start") (call $exit (i32.const 7))))"#,
    )
    .expect("a file");
    let run = |limit: &str| {
        let script = format!(
            "trap '' XFSZ; {limit} exec '{}' run app.wat",
            env!("CARGO_BIN_EXE_llm-wasi")
        );
        Command::new("sh")
            .args(["-c", &script])
            .current_dir(folder.path())
            .env("HOME", folder.path())
            .env("XDG_CACHE_HOME", folder.path().join("cache"))
            .output()
            .expect("a shell")
    };
    for _ in 0..2 {
        // No file gets longer than nothing.
        let output = run("ulimit -f 0;");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(7), "{said}");
    }
    assert_eq!(run("").status.code(), Some(7));
    // Nor does what is half there get in the way.
    assert_eq!(run("ulimit -f 0;").status.code(), Some(7));
}
