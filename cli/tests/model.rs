//! `llm-wasi model`: the store, and names of stored models where paths are taken.

mod support;

use llm_wasi_host::testing::TinyModel;
use std::fs;
use std::process::Command;
use support::server::Server;
use support::{Folder, PAGE, other, parts, sha256, snapshot, text, tiny};

/// Talks to a model: `chat MODEL PROMPT`, with the options in its environment.
const CHAT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../fixtures/wasm/chat.wasm");
const IR: &str = "<?xml version=\"1.0\"?>\n<net name=\"small\" version=\"11\"></net>\n";
const ONNX: &[u8] = b"\x08\x0a\x12\x07pytorch";

#[test]
fn help() {
    let folder = Folder::new();
    snapshot(
        &folder,
        "help-model.txt",
        &[
            &["model", "--help"],
            &["model", "add", "--help"],
            &["model", "list", "--help"],
            &["model", "info", "--help"],
            &["model", "verify", "--help"],
            &["model", "remove", "--help"],
        ],
    );
}

#[test]
fn a_model_from_its_arrival_to_its_end() {
    let folder = Folder::new();
    folder.write("tiny.gguf", tiny());
    folder.write("other.gguf", other());
    folder.write("classifier.onnx", ONNX);
    folder.write("ir/model.xml", IR);
    folder.write("ir/model.bin", [7; 100]);
    for (index, part) in parts().iter().enumerate() {
        folder.write(&format!("parts/big-0000{}-of-00003.gguf", index + 1), part);
    }
    snapshot(
        &folder,
        "model.txt",
        &[
            &["model", "list"],
            &["model", "list", "--json"],
            &["model", "verify"],
            &["model", "add", "tiny.gguf"],
            &["model", "add", "tiny.gguf"],
            &["model", "add", "other.gguf", "--name", "tiny"],
            &["model", "add", "other.gguf"],
            &["model", "add", "classifier.onnx", "--name", "orientation"],
            &["model", "add", "ir/model.xml"],
            &["model", "add", "parts/big-00001-of-00003.gguf"],
            &["model", "list"],
            &["model", "list", "--json"],
            &["model", "info", "tiny"],
            &["model", "info", "tiny.gguf", "--ctx-size", "4096"],
            &["model", "info", "big", "--json"],
            &["model", "info", "parts/big-00001-of-00003.gguf"],
            &["model", "info", "orientation"],
            &["model", "info", "ir/model.xml"],
            &["model", "info", "tiny", "--template"],
            &["model", "verify"],
            &["model", "verify", "big", "tiny", "--json"],
            &["model", "remove", "tiny", "orientatoin"],
            &["model", "remove", "tiny", "orientation"],
            &["model", "list"],
        ],
    );
}

#[test]
fn what_is_stored_is_the_file() {
    let folder = Folder::new();
    folder.write("tiny.gguf", tiny());
    folder.succeed(&["model", "add", "tiny.gguf"]);
    assert_eq!(folder.read("models/tiny/tiny.gguf"), tiny());
    assert_eq!(
        folder.stored(),
        ["tiny", "tiny/manifest.json", "tiny/tiny.gguf"]
    );
    let manifest: serde_json::Value =
        serde_json::from_slice(&folder.read("models/tiny/manifest.json")).expect("JSON");
    let digest = sha256(&folder, "tiny.gguf");
    assert_eq!(manifest["files"][0]["sha256"], digest.as_str());
    // With the right digest it is there already, from wherever.
    let add = [
        "model",
        "add",
        "tiny.gguf",
        "--sha256",
        &digest.to_uppercase(),
    ];
    let (_, told) = folder.succeed(&add);
    assert!(told.starts_with("there already: tiny"), "{told}");
    // The copy does not depend on the source.
    folder.write("tiny.gguf", other());
    assert_eq!(folder.read("models/tiny/tiny.gguf"), tiny());
    let told = folder.fail(&["model", "add", "tiny.gguf"]);
    assert!(
        told.contains("a model called `tiny` is stored already"),
        "{told}"
    );
}

#[test]
fn a_digest_is_asked_of_what_is_stored() {
    let folder = Folder::new();
    folder.write("tiny.gguf", tiny());
    folder.succeed(&["model", "add", "tiny.gguf"]);
    let digest = sha256(&folder, "tiny.gguf");
    let mut rotten = tiny();
    *rotten.last_mut().expect("a byte") ^= 1;
    folder.write("models/tiny/tiny.gguf", rotten);
    let told = folder.fail(&["model", "add", "tiny.gguf", "--sha256", &digest]);
    assert!(
        told.contains(
            "the stored model `tiny` cannot be used: its file tiny.gguf should have the sha256"
        ),
        "{told}"
    );
    assert!(told.contains("llm-wasi model remove tiny"), "{told}");
}

#[test]
fn what_is_there_is_found_in_a_store_that_cannot_be_changed() {
    let folder = Folder::new();
    folder.write("tiny.gguf", tiny());
    folder.succeed(&["model", "add", "tiny.gguf"]);
    // Nobody can make a lock there.
    fs::remove_dir_all(folder.path("models/.locks")).expect("removed");
    folder.write("models/.locks", "");
    let (_, told) = folder.succeed(&["model", "add", "tiny.gguf"]);
    assert!(told.starts_with("there already: tiny"), "{told}");
    let told = folder.fail(&["model", "add", "tiny.gguf", "--name", "other"]);
    assert!(told.contains("cannot make models/.locks"), "{told}");
}

#[test]
fn what_an_interrupted_removal_left_is_deleted_by_the_next_change() {
    let folder = Folder::new();
    folder.write("tiny.gguf", tiny());
    for name in ["a", "b"] {
        folder.succeed(&["model", "add", "tiny.gguf", "--name", name]);
    }
    let interrupt = |name| {
        let removed = format!("models/.removed-{name}");
        fs::rename(
            folder.path(&format!("models/{name}")),
            folder.path(&removed),
        )
        .expect("moved");
    };
    interrupt("a");
    folder.succeed(&["model", "list"]);
    assert!(folder.path("models/.removed-a").exists());
    folder.succeed(&["model", "remove", "b"]);
    assert_eq!(folder.stored(), [""; 0]);

    folder.succeed(&["model", "add", "tiny.gguf", "--name", "a"]);
    interrupt("a");
    folder.succeed(&["model", "add", "tiny.gguf", "--name", "a"]);
    assert_eq!(folder.stored(), ["a", "a/a.gguf", "a/manifest.json"]);
}

#[cfg(unix)]
#[test]
fn what_links_lead_to_is_not_the_stores() {
    use std::os::unix::fs::symlink;
    let folder = Folder::new();
    folder.write("tiny.gguf", tiny());
    folder.write("mine/file", "precious");
    let link = |to: &str, at: &str| {
        let at = folder.path(at);
        fs::create_dir_all(at.parent().expect("a parent")).expect("a folder");
        symlink(folder.path(to), at).expect("a link");
    };
    let add = |name| ["model", "add", "tiny.gguf", "--name", name];

    link("mine", "models/.part/stage");
    let told = folder.fail(&add("stage"));
    assert!(told.contains("cannot clean models/.part/stage"), "{told}");

    link("mine/file", "models/.locks/lock");
    let told = folder.fail(&add("lock"));
    assert!(told.contains("cannot lock models/.locks/lock"), "{told}");

    for extension in ["part", "json", "copy"] {
        link(
            "mine/file",
            &format!("models/.part/files/files.gguf.{extension}"),
        );
    }
    link("mine", "models/.part/files/folder");
    let server = Server::new(&[("/tiny.gguf", &tiny())]);
    folder.succeed(&["model", "add", &server.url("/tiny.gguf"), "--name", "files"]);
    assert_eq!(folder.read("models/files/files.gguf"), tiny());

    link("mine", "models/.removed-files");
    folder.succeed(&["model", "remove", "files"]);
    assert_eq!(folder.tree("mine"), ["file"]);
    assert_eq!(folder.read("mine/file"), b"precious");
}

#[cfg(unix)]
#[test]
fn a_pipe_is_no_manifest() {
    let folder = Folder::new();
    folder.write("tiny.gguf", tiny());
    folder.succeed(&["model", "add", "tiny.gguf"]);
    let manifest = folder.path("models/tiny/manifest.json");
    fs::remove_file(&manifest).expect("removed");
    let made = Command::new("mkfifo").arg(&manifest).status();
    assert!(made.expect("mkfifo starts").success());
    // Else it would wait for somebody who writes.
    let (listed, _) = folder.succeed(&["model", "list"]);
    assert!(
        listed.contains("problem: its manifest.json is no file"),
        "{listed}"
    );
}

#[cfg(target_os = "linux")]
#[test]
fn without_the_variable_models_are_in_the_cache_folder() {
    let folder = Folder::new();
    folder.write("tiny.gguf", tiny());
    for variable in [None, Some("")] {
        let mut command = folder.command(&["model", "add", "tiny.gguf"]);
        match variable {
            None => command.env_remove("LLM_WASI_MODELS"),
            Some(value) => command.env("LLM_WASI_MODELS", value),
        };
        assert!(command.status().expect("the program starts").success());
        let name = "cache/llm-wasi/models/tiny/tiny.gguf";
        assert_eq!(folder.read(name), tiny());
    }
}

#[test]
fn bad_sources_and_names() {
    let folder = Folder::new();
    folder.write("tiny.gguf", tiny());
    folder.write("my model.gguf", tiny());
    folder.write("broken.gguf", "GGUF, but no more");
    folder.write("page.gguf", PAGE);
    folder.write("page.onnx", PAGE);
    folder.write("empty.onnx", "");
    folder.write("page.xml", PAGE);
    folder.write("page.bin", "");
    folder.write("alone.xml", IR);
    folder.write(
        "pointer.gguf",
        "version https://git-lfs.github.com/spec/v1\noid sha256:0\n",
    );
    folder.write("whole-00001-of-00002.gguf", tiny());
    folder.write("whole-00002-of-00002.gguf", tiny());
    folder.write("part.gguf", &parts()[0]);
    folder.write("big-00001-of-00003.gguf", &parts()[0]);
    folder.write("big-00003-of-00003.gguf", &parts()[2]);
    let zeros = "0".repeat(64);
    snapshot(
        &folder,
        "model-errors.txt",
        &[
            &["model"],
            &["model", "add", ""],
            &["model", "add", "ftp://host/tiny.gguf"],
            &["model", "add", "http://"],
            &["model", "add", "tiny.gguf", "--name", "../tiny"],
            &["model", "add", "tiny.gguf", "--sha256", "b179c952"],
            &["model", "add", "tiny.gguf", "--sha256", &zeros],
            &[
                "model",
                "add",
                "tiny.gguf",
                "--sha256",
                &zeros,
                "--sha256",
                &zeros,
            ],
            &["model", "add", "missing.gguf"],
            &["model", "add", "."],
            &["model", "add", ".."],
            &["model", "add", "http://host.invalid/"],
            &["model", "add", "my model.gguf"],
            &["model", "add", "broken.gguf"],
            &["model", "add", "page.gguf"],
            &["model", "add", "page.onnx"],
            &["model", "add", "empty.onnx"],
            &["model", "add", "page.xml"],
            &["model", "add", "alone.xml"],
            &["model", "add", "pointer.gguf"],
            &["model", "add", "whole-00001-of-00002.gguf"],
            &["model", "add", "part.gguf"],
            &["model", "add", "big-00001-of-00003.gguf"],
            &["model", "add", "big-00003-of-00003.gguf"],
            &["model", "info", "nobody"],
            &["model", "info", "missing.gguf"],
            &["model", "info", "page.gguf"],
            &["model", "info", "big-00001-of-00003.gguf"],
            &["model", "info", "tiny.gguf", "--ctx-size", "0"],
            &["model", "remove"],
            &["model", "remove", "nobody"],
            &["model", "verify", "nobody"],
            &["model", "list"],
        ],
    );
    assert_eq!(folder.stored(), [""; 0]);
}

#[test]
fn damaged_entries_do_not_hide_the_others() {
    let folder = Folder::new();
    folder.write("tiny.gguf", tiny());
    for name in [
        "good",
        "no-manifest",
        "bad-json",
        "short",
        "escapes",
        "renamed",
        "no-file",
        "rotten",
    ] {
        folder.succeed(&["model", "add", "tiny.gguf", "--name", name]);
    }
    let replace = |name: &str, from: &str, to: &str| {
        let path = format!("models/{name}/manifest.json");
        let manifest = text(&folder.read(&path));
        assert!(manifest.contains(from), "{manifest}");
        folder.write(&path, manifest.replace(from, to));
    };
    fs::remove_file(folder.path("models/no-manifest/manifest.json")).expect("removed");
    folder.write("models/bad-json/manifest.json", "{\"name\": ");
    folder.write("models/short/short.gguf", "GGUF");
    replace("escapes", "\"escapes.gguf\"", "\"../good/good.gguf\"");
    replace("renamed", "\"name\": \"renamed\"", "\"name\": \"good\"");
    fs::remove_file(folder.path("models/no-file/no-file.gguf")).expect("removed");
    let mut rotten = tiny();
    *rotten.last_mut().expect("a byte") ^= 1;
    folder.write("models/rotten/rotten.gguf", rotten);
    fs::copy(CHAT, folder.path(CHAT_HERE)).expect("the program");
    // Not ours.
    folder.write("models/notes.txt", "");
    folder.write("models/.git/config", "");
    snapshot(
        &folder,
        "model-damaged.txt",
        &[
            &["model", "list"],
            &["model", "list", "--json"],
            &["model", "verify"],
            &["model", "verify", "good", "rotten", "--json"],
            &["model", "info", "bad-json"],
            &["model", "add", "tiny.gguf", "--name", "short"],
            &["run", "--nn-preload", "default:GGML:CPU:no-file", CHAT_HERE],
        ],
    );
    for name in [
        "no-manifest",
        "bad-json",
        "short",
        "escapes",
        "renamed",
        "no-file",
        "rotten",
    ] {
        folder.succeed(&["model", "remove", name]);
    }
    let (listed, _) = folder.succeed(&["model", "list"]);
    assert_eq!(listed.lines().count(), 2, "{listed}");
}

/// Where commands find that program.
const CHAT_HERE: &str = "chat.wasm";

fn chat(folder: &Folder, preload: &str) -> std::process::Output {
    if !folder.path(CHAT_HERE).exists() {
        fs::copy(CHAT, folder.path(CHAT_HERE)).expect("the program");
    }
    let args = [
        "run",
        "--env",
        "n_predict=20",
        "--env",
        "temp=0",
        "--env",
        "threads=1",
        "--nn-preload",
        preload,
        CHAT_HERE,
        "default",
        "Hello",
    ];
    folder.run(&args)
}

#[test]
fn a_name_stands_where_a_path_can() {
    let folder = Folder::new();
    folder.write("tiny.gguf", tiny());
    for (index, part) in parts().iter().enumerate() {
        folder.write(&format!("big-0000{}-of-00003.gguf", index + 1), part);
    }
    folder.succeed(&["model", "add", "tiny.gguf"]);
    folder.succeed(&["model", "add", "big-00001-of-00003.gguf"]);
    let expected = TinyModel::new().continuation(b'o', 20);
    for path in ["tiny.gguf", "tiny", "big"] {
        let output = chat(&folder, &format!("default:GGML:CPU:{path}"));
        let told = text(&output.stderr);
        assert!(output.status.success(), "{told}");
        assert!(output.stdout.starts_with(&expected), "{told}");
    }

    // A folder is no model, and not in the way of one.
    folder.write("big/notes", "about the model");
    let output = chat(&folder, "default:GGML:CPU:big");
    assert!(output.status.success(), "{}", text(&output.stderr));

    // What is there is a path.
    folder.write("tiny", "no model");
    let output = chat(&folder, "default:GGML:CPU:tiny");
    assert!(!output.status.success());
    assert!(text(&output.stderr).contains("starts with `GGUF`"));
}

#[test]
fn a_name_that_nobody_has() {
    let folder = Folder::new();
    folder.write("tiny.gguf", tiny());
    folder.succeed(&["model", "add", "tiny.gguf"]);
    let output = chat(&folder, "default:GGML:CPU:tinny");
    let told = text(&output.stderr);
    assert!(!output.status.success());
    assert!(
        told.contains("stored are `tiny` (`llm-wasi model list`)"),
        "{told}"
    );
    assert!(told.contains("expected a file at tinny"), "{told}");
}

#[test]
fn a_store_that_cannot_be_made() {
    let folder = Folder::new();
    folder.write("tiny.gguf", tiny());
    folder.write("models", "a file");
    let told = folder.fail(&["model", "add", "tiny.gguf"]);
    assert!(told.contains("LLM_WASI_MODELS"), "{told}");
    let told = folder.fail(&["model", "list"]);
    assert!(told.contains("cannot read models"), "{told}");
}

#[cfg(target_os = "linux")]
#[test]
fn a_terminal_shows_no_bar_for_what_is_quick() {
    let folder = Folder::new();
    folder.write("tiny.gguf", tiny());
    fs::copy(CHAT, folder.path(CHAT_HERE)).expect("the program");
    let line = "run --env n_predict=5 --env temp=0 --env threads=1 \
                --nn-preload default:GGML:CPU:tiny.gguf chat.wasm default Hello";
    let Some(shown) = support::on_a_terminal(&folder, line) else {
        return;
    };
    let expected = text(&TinyModel::new().continuation(b'o', 5));
    assert!(shown.contains(&expected), "{shown:?}");
    assert!(!shown.contains('\x1b'), "{shown:?}");
}
