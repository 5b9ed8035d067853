//! `llm-wasi chat` as people and scripts see it.

mod piped;
mod real;
#[cfg(unix)]
mod terminal;

use llm_wasi_host::testing::TinyModel;
use std::fs;
use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use tempfile::TempDir;

/// The whole prompt is what was said last.
const LAST: &str = "{{ messages[-1].content }}";
/// The whole prompt is everything that was said.
const ALL: &str = "{% for m in messages %}{{ m.content }}{% endfor %}";

/// A folder with a model to talk with.
struct Folder(TempDir);

impl Folder {
    /// With a tiny model and a chat template.
    fn new(model: &TinyModel, template: &str) -> Folder {
        let folder = Folder(TempDir::new().expect("a temporary folder"));
        model.write(folder.path("model.gguf")).expect("a model");
        fs::write(folder.path("template.jinja"), template).expect("a template");
        folder
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// The program in this folder. Compiled guests are kept from one test to the next.
    fn command(&self, args: &[&str]) -> Command {
        let home = env!("CARGO_TARGET_TMPDIR");
        let mut command = Command::new(env!("CARGO_BIN_EXE_llm-wasi"));
        command
            .arg("chat")
            .args(args)
            .current_dir(self.0.path())
            .env_remove("RUST_LOG")
            .env("HOME", home)
            .env("XDG_CACHE_HOME", home)
            .env("LLM_WASI_MODELS", self.path("models"))
            .env("TERM", "xterm");
        command
    }

    /// Greedy, on one thread, with this folder's model and template.
    fn greedy(&self, args: &[&str]) -> Command {
        const ARGS: [&str; 7] = [
            "model.gguf",
            "--temp",
            "0",
            "--set",
            "threads=1",
            "--chat-template",
            "template.jinja",
        ];
        self.command(&[&ARGS[..], args].concat())
    }
}

/// Runs it with this standard input.
fn pipe(command: &mut Command, input: &str) -> Output {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program starts");
    let mut stdin = child.stdin.take().expect("a pipe");
    // A program that has ended reads no more.
    let _ = stdin.write_all(input.as_bytes());
    drop(stdin);
    child.wait_with_output().expect("its output")
}

/// Standard output and standard error of a success.
#[track_caller]
fn success(output: &Output) -> (String, String) {
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(0), "{told}");
    let text = String::from_utf8(output.stdout.clone()).expect("UTF-8");
    (text, told)
}

/// Standard error of a failure.
#[track_caller]
fn failure(output: &Output) -> String {
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{told}");
    told
}

/// What the model says after a prompt that ends with `byte`.
fn continuation(model: &TinyModel, byte: u8, count: usize) -> String {
    String::from_utf8(model.continuation(byte, count)).expect("ASCII")
}
