//! Runs command lines, and says what their output should be.

use llm_wasi_host::testing::TinyModel;
use std::fs;
use std::io::Write;
use std::path::PathBuf;
use std::process::{ChildStdin, Command, Stdio};
use tempfile::TempDir;

/// The text that ends every complete text of a tiny model, as in WasmEdge.
pub(crate) const END: &str = "<|eos|>";

/// A folder to run in.
pub(crate) struct Folder(TempDir);

impl Folder {
    pub(crate) fn new() -> Self {
        Self(TempDir::new().expect("a temporary folder"))
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Writes a model of this name.
    pub(crate) fn with(self, name: &str, model: &TinyModel) -> Self {
        model.write(self.path(name)).expect("a model");
        self
    }

    /// A command line for WasmEdge, in the notation of a shell, with single quotes. The program that it
    /// names is put into the folder.
    pub(crate) fn wasmedge(&self, line: &str) -> CommandLine {
        let mut words = words(line).into_iter();
        assert_eq!(words.next().as_deref(), Some("wasmedge"), "{line}");
        let words: Vec<String> = words.collect();
        for word in words.iter().filter(|word| word.ends_with(".wasm")) {
            let fixture = concat!(
                env!("CARGO_MANIFEST_DIR"),
                "/../fixtures/wasm/wasmedge_examples.wasm"
            );
            fs::copy(fixture, self.path(word)).expect("a copy of the program");
        }
        let mut command = Command::new(env!("CARGO_BIN_EXE_llm-wasi"));
        command
            .arg("run")
            .args(&words)
            .current_dir(self.0.path())
            .env_remove("RUST_LOG")
            .env_remove("CLICOLOR_FORCE")
            .env("HOME", self.0.path())
            .env("LLM_WASI_MODELS", self.path("models"))
            // Every test runs the same program: it is compiled once.
            .env("XDG_CACHE_HOME", env!("CARGO_TARGET_TMPDIR"));
        CommandLine {
            command,
            input: String::new(),
        }
    }
}

/// The words of a command line.
fn words(line: &str) -> Vec<String> {
    let mut words = vec![];
    let mut word = None;
    let mut quoted = false;
    for letter in line.chars() {
        match letter {
            '\'' => {
                quoted = !quoted;
                word.get_or_insert_with(String::new);
            }
            ' ' if !quoted => words.extend(word.take()),
            letter => word.get_or_insert_with(String::new).push(letter),
        }
    }
    words.extend(word);
    words
}

/// A command line that is about to run.
pub(crate) struct CommandLine {
    command: Command,
    input: String,
}

impl CommandLine {
    /// One more argument.
    pub(crate) fn arg(mut self, arg: &str) -> Self {
        self.command.arg(arg);
        self
    }

    /// What the log is to show.
    pub(crate) fn log(mut self, filter: &str) -> Self {
        self.command.env("RUST_LOG", filter);
        self
    }

    /// What is typed.
    pub(crate) fn input(mut self, input: &str) -> Self {
        self.input = input.to_owned();
        self
    }

    pub(crate) fn run(self) -> Ended {
        let input = self.input.clone();
        self.run_with(|mut stdin| {
            // A program that ends without reading it is fine.
            let _ = stdin.write_all(input.as_bytes());
            None
        })
    }

    /// Runs it with nothing typed, and its standard input left open.
    pub(crate) fn run_without_input(self) -> Ended {
        self.run_with(Some)
    }

    /// Runs it with what `type_in` leaves of its standard input.
    fn run_with(mut self, type_in: impl FnOnce(ChildStdin) -> Option<ChildStdin>) -> Ended {
        let mut child = self
            .command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the program starts");
        let kept = child.stdin.take().and_then(type_in);
        let output = child.wait_with_output().expect("its output");
        drop(kept);
        Ended {
            stdout: String::from_utf8(output.stdout).expect("text"),
            stderr: String::from_utf8(output.stderr).expect("text"),
            code: output.status.code().expect("no signal"),
        }
    }
}

/// What a program left behind.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) stdout: String,
    pub(crate) stderr: String,
    pub(crate) code: i32,
}

impl Ended {
    /// Fails unless it ended well with this on its standard output. `VERSION` stands for where llama.cpp
    /// comes from, a string, and `NUMBER` for its number.
    #[track_caller]
    pub(crate) fn is(&self, expected: &str) {
        assert_eq!(self.code, 0, "{self:?}");
        let mut lines = String::new();
        for line in self.stdout.split_inclusive('\n') {
            match line.trim_end().split_once(": ") {
                Some((name @ "[INFO] llama_commit", version)) => {
                    let text = version
                        .strip_prefix('"')
                        .and_then(|text| text.strip_suffix('"'));
                    assert!(text.is_some_and(|text| !text.is_empty()), "{line}");
                    lines.push_str(&format!("{name}: VERSION\n"));
                }
                Some((name @ "[INFO] llama_build_number", number)) => {
                    assert!(number.parse::<u32>().is_ok(), "{line}");
                    lines.push_str(&format!("{name}: NUMBER\n"));
                }
                _ => lines.push_str(line),
            }
        }
        assert_eq!(lines, expected, "{}", self.stderr);
    }

    /// The text between a program's lines of metadata.
    #[track_caller]
    pub(crate) fn text(&self) -> &str {
        let length = "[INFO] Number of input tokens: ";
        let text = || {
            let (_, behind) = self.stdout.split_once(length)?;
            let (_, text) = behind.split_once('\n')?;
            Some(text.rsplit_once(&format!("\n{length}"))?.0)
        };
        text().unwrap_or_else(|| panic!("no text between metadata: {self:?}"))
    }

    /// Fails unless it trapped and said this on its standard error.
    #[track_caller]
    pub(crate) fn panicked_with(&self, text: &str) {
        assert_eq!(self.code, 134, "{self:?}");
        assert!(self.stderr.contains(text), "{}", self.stderr);
    }
}

/// A model that says this many letters after a prompt and then ends, and what it says until then.
pub(crate) fn speaker(prompt: &str, letters: usize) -> (TinyModel, String) {
    let model = TinyModel::new();
    let text = says(&model, prompt, letters);
    let last = text.bytes().last().expect("letters");
    (model.ending_after(last), text)
}

/// What a model says after a prompt.
pub(crate) fn says(model: &TinyModel, prompt: &str, letters: usize) -> String {
    let last = prompt.bytes().last().expect("a prompt");
    String::from_utf8(model.continuation(last, letters)).expect("it says ASCII")
}

/// How many tokens a prompt is to a tiny model: one for each byte and one that begins every text.
pub(crate) fn tokens(prompt: &str) -> usize {
    prompt.len() + 1
}

/// What programs with metadata print for one prompt.
pub(crate) fn with_metadata(prompt: &str, text: &str, generated: usize) -> String {
    let tokens = tokens(prompt);
    format!(
        "Prompt:\n{prompt}\nResponse:\n[INFO] llama_commit: VERSION\n[INFO] llama_build_number: NUMBER\n\
         [INFO] Number of input tokens: {tokens}\n{text}\n[INFO] Number of input tokens: {tokens}\n\
         [INFO] Number of output tokens: {generated}\n"
    )
}
