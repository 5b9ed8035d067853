//! What several tests of the program share.

#![allow(dead_code, reason = "each test uses a part of it")]

pub(crate) mod server;

use llm_wasi_host::testing::TinyModel;
use sha2::{Digest, Sha256};
use snapbox::assert::Action;
use snapbox::{Assert, Data};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use tempfile::TempDir;

/// What servers send instead of a file.
pub(crate) const PAGE: &str = "<!DOCTYPE html><html><body>Please sign in.</body></html>";

/// A folder to run the program in, with a store of its own.
pub(crate) struct Folder(TempDir);

impl Folder {
    pub(crate) fn new() -> Folder {
        Folder(TempDir::new().expect("a temporary folder"))
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub(crate) fn write(&self, name: &str, content: impl AsRef<[u8]>) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().expect("a parent")).expect("a folder");
        fs::write(path, content).expect("a file");
    }

    pub(crate) fn read(&self, name: &str) -> Vec<u8> {
        fs::read(self.path(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
    }

    /// Gives a command this folder, and nothing of the user's.
    pub(crate) fn prepare(&self, mut command: Command) -> Command {
        command.current_dir(self.0.path()).stdin(Stdio::null());
        for name in ["RUST_LOG", "COLUMNS", "CLICOLOR_FORCE", "NO_COLOR"] {
            command.env_remove(name);
        }
        for name in ["ALL_PROXY", "HTTPS_PROXY", "HTTP_PROXY", "NO_PROXY"] {
            command.env_remove(name).env_remove(name.to_lowercase());
        }
        command
            .env("HOME", self.0.path())
            .env("XDG_CACHE_HOME", self.path("cache"))
            .env("LLM_WASI_MODELS", "models");
        command
    }

    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_llm-wasi"));
        command.args(args);
        self.prepare(command)
    }

    pub(crate) fn run(&self, args: &[&str]) -> Output {
        self.command(args).output().expect("the program starts")
    }

    /// Runs it successfully; gives its standard output and error.
    pub(crate) fn succeed(&self, args: &[&str]) -> (String, String) {
        let output = self.run(args);
        let told = text(&output.stderr);
        assert!(output.status.success(), "{args:?}: {told}");
        (text(&output.stdout), told)
    }

    /// Runs it into an error; gives what it says of it.
    pub(crate) fn fail(&self, args: &[&str]) -> String {
        let output = self.run(args);
        let told = text(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{args:?}: {told}");
        assert!(told.contains("error: "), "{args:?}: {told}");
        told
    }

    /// The files and folders below `name`, sorted; none if it is not there.
    pub(crate) fn tree(&self, name: &str) -> Vec<String> {
        fn walk(folder: &Path, prefix: &str, names: &mut Vec<String>) {
            let Ok(entries) = fs::read_dir(folder) else {
                return;
            };
            for entry in entries {
                let entry = entry.expect("an entry");
                let name = format!("{prefix}{}", entry.file_name().to_string_lossy());
                walk(&entry.path(), &format!("{name}/"), names);
                names.push(name);
            }
        }
        let mut names = Vec::new();
        walk(&self.path(name), "", &mut names);
        names.sort();
        names
    }

    /// What the store holds beside its locks and empty folders for unfinished models.
    pub(crate) fn stored(&self) -> Vec<String> {
        let mut names = self.tree("models");
        names.retain(|name| !name.starts_with(".locks") && name != ".part");
        names
    }
}

pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Compares command lines, status and output with a file; the commands run one after the other.
pub(crate) fn snapshot(folder: &Folder, name: &str, cases: &[&[&str]]) {
    let mut found = String::new();
    for args in cases {
        let output = folder.run(args);
        found.push_str(&format!("$ llm-wasi {}\n", args.join(" ")));
        found.push_str(&text(&output.stdout));
        for line in text(&output.stderr).lines() {
            found.push_str(format!("stderr: {line}").trim_end());
            found.push('\n');
        }
        let code = output.status.code().expect("no signal");
        found.push_str(&format!("status: {code}\n\n"));
    }
    let here = folder.path("").to_string_lossy().into_owned();
    let found = found.replace(&here, "/folder/");
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/snapshots")
        .join(name);
    let action = match std::env::var_os("BLESS") {
        Some(_) => Action::Overwrite,
        None => Action::Verify,
    };
    Assert::new()
        .action(action)
        .eq(found, Data::read_from(&path, None).raw());
}

pub(crate) fn tiny() -> Vec<u8> {
    TinyModel::new().to_gguf()
}

/// Another model of the same size.
pub(crate) fn other() -> Vec<u8> {
    TinyModel::new().following(b'a', b'b').to_gguf()
}

pub(crate) fn parts() -> Vec<Vec<u8>> {
    TinyModel::new().to_split_gguf(3)
}

pub(crate) fn sha256(folder: &Folder, file: &str) -> String {
    let digest = Sha256::digest(folder.read(file));
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

pub(crate) fn size_of(model: &[u8]) -> String {
    format!("{:.1} KiB", model.len() as f64 / 1024.0)
}

/// Runs a command on a terminal of its own; gives what that shows.
#[cfg(target_os = "linux")]
pub(crate) fn on_a_terminal(folder: &Folder, command_line: &str) -> Option<String> {
    let found = Command::new("script").arg("--version").output();
    if found.is_err() {
        assert!(
            std::env::var_os("CI").is_none(),
            "the tool `script` is missing"
        );
        eprintln!("skipped: the tool `script` is missing");
        return None;
    }
    let line = format!("'{}' {command_line}", env!("CARGO_BIN_EXE_llm-wasi"));
    let mut command = Command::new("script");
    command.args(["--quiet", "--return", "--command", &line, "/dev/null"]);
    command.env("TERM", "xterm");
    let output = folder.prepare(command).output().expect("script starts");
    let shown = text(&output.stdout);
    assert!(output.status.success(), "{shown}");
    Some(shown)
}
