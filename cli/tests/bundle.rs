//! `llm-wasi bundle`, and `llm-wasi run` of what it makes.

mod support;

use llm_wasi_host::testing::TinyModel;
use std::fs;
use std::path::Path;
use std::process::{Child, Output, Stdio};
use std::time::Duration;
use support::{Folder, PAGE, other, parts, snapshot, text, tiny};

/// Talks to a model: `chat MODEL PROMPT`, with the options in its environment.
const CHAT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../fixtures/wasm/chat.wasm");

/// A folder with a program and two models.
fn folder() -> Folder {
    let folder = Folder::new();
    fs::copy(CHAT, folder.path("chat.wasm")).expect("the program");
    folder.write("tiny.gguf", tiny());
    folder.write("other.gguf", other());
    folder
}

fn bundle(folder: &Folder, args: &[&str]) {
    folder.succeed(&[&["bundle"], args].concat());
}

/// The usual one: two models, in parts of 10,000 bytes.
fn usual(folder: &Folder) {
    let models = ["--model", "tiny.gguf", "--model", "other=other.gguf"];
    bundle(
        folder,
        &[
            &["chat.wasm", "-o", "app.wasm", "--part-size", "10000"],
            &models[..],
        ]
        .concat(),
    );
}

fn run(folder: &Folder, flags: &[&str], program: &str, model: &str) -> Output {
    let options = ["n_predict=20", "temp=0", "threads=1"];
    let mut args = vec!["run"];
    for option in &options {
        args.extend(["--env", option]);
    }
    args.extend(flags);
    args.extend([program, model, "Hello"]);
    folder.run(&args)
}

fn assert_says(output: &Output, model: &TinyModel) {
    let expected = model.continuation(b'o', 20);
    let told = text(&output.stderr);
    assert!(output.status.success(), "{told}");
    assert!(output.stdout.starts_with(&expected), "{told}");
}

fn refused(output: &Output) -> String {
    let told = text(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{told}");
    assert!(output.stdout.is_empty(), "{}", text(&output.stdout));
    told
}

/// The unpacked files of the models.
fn unpacked(folder: &Folder) -> Vec<String> {
    let mut names = folder.tree("cache/llm-wasi/bundles");
    names.retain(|name| name.ends_with(".gguf"));
    names
}

/// Writes a file at another time than before, as far as the system's clock can tell.
fn overwrite(folder: &Folder, name: &str, content: &[u8]) {
    std::thread::sleep(Duration::from_millis(30));
    folder.write(name, content);
}

#[test]
fn help() {
    snapshot(&Folder::new(), "help-bundle.txt", &[&["bundle", "--help"]]);
}

#[test]
fn a_bundle_from_beginning_to_end() {
    let folder = folder();
    for (index, part) in parts().iter().enumerate() {
        folder.write(&format!("big-0000{}-of-00003.gguf", index + 1), part);
    }
    fs::create_dir(folder.path("out")).expect("a folder");
    snapshot(
        &folder,
        "bundle.txt",
        &[
            &[
                "bundle",
                "chat.wasm",
                "--model",
                "tiny.gguf",
                "-o",
                "app.wasm",
            ],
            &["bundle", "app.wasm", "--list"],
            &[
                "bundle",
                "app.wasm",
                "--model",
                "other=other.gguf",
                "-o",
                "app.wasm",
            ],
            &[
                "bundle",
                "app.wasm",
                "--model",
                "big:GGML:CPU:big-00001-of-00003.gguf",
                "-o",
                "app.wasm",
            ],
            &["bundle", "app.wasm", "--list"],
            &["bundle", "app.wasm", "--list", "--json"],
            &["bundle", "app.wasm", "--verify"],
            &[
                "bundle",
                "app.wasm",
                "--extract",
                "default",
                "-o",
                "default.gguf",
            ],
            &[
                "bundle",
                "app.wasm",
                "--extract",
                "big",
                "--extract",
                "other",
                "-o",
                "out",
            ],
            &["bundle", "app.wasm", "--remove", "big", "-o", "app.wasm"],
            &["bundle", "app.wasm", "--list"],
            &[
                "bundle",
                "app.wasm",
                "--remove",
                "default",
                "--remove",
                "other",
                "-o",
                "plain.wasm",
            ],
            &["bundle", "plain.wasm", "--list"],
        ],
    );
    assert_eq!(folder.read("default.gguf"), tiny());
    assert_eq!(folder.read("out/other.gguf"), other());
    for (index, part) in parts().iter().enumerate() {
        assert_eq!(
            folder.read(&format!("out/big-0000{}-of-00003.gguf", index + 1)),
            *part
        );
    }
    // The component is the one that `run` makes of the program.
    folder.succeed(&[
        "componentize",
        "chat.wasm",
        "--exit-codes",
        "-o",
        "direct.wasm",
    ]);
    assert_eq!(folder.read("plain.wasm"), folder.read("direct.wasm"));
}

#[test]
fn a_bundle_is_a_valid_component() {
    let folder = folder();
    usual(&folder);
    let bytes = folder.read("app.wasm");
    wasmparser::Validator::new_with_features(wasmparser::WasmFeatures::all())
        .validate_all(&bytes)
        .expect("a valid component");
    let (listed, _) = folder.succeed(&["bundle", "app.wasm", "--list", "--json"]);
    let listed: serde_json::Value = serde_json::from_str(&listed).expect("JSON");
    let file = &listed["models"][0]["files"][0];
    assert_eq!(file["size"], tiny().len());
    assert_eq!(
        file["parts"].as_array().expect("parts").len(),
        tiny().len().div_ceil(10_000)
    );
}

#[test]
fn it_says_what_it_says_with_the_models_beside_it() {
    let folder = folder();
    usual(&folder);
    let beside = ["--nn-preload", "default:GGML:AUTO:tiny.gguf"];
    let expected = run(&folder, &beside, "chat.wasm", "default");
    let found = run(&folder, &[], "app.wasm", "default");
    assert_says(&found, &TinyModel::new());
    assert_eq!(found.stdout, expected.stdout);
    let second = run(&folder, &[], "app.wasm", "other");
    assert_says(&second, &TinyModel::new().following(b'a', b'b'));
    // Who names a model wins.
    let own = ["--nn-preload", "default:GGML:AUTO:tiny.gguf"];
    let own = run(&folder, &own, "app.wasm", "default");
    assert_says(&own, &TinyModel::new());
    assert!(
        !text(&own.stderr).contains("named twice"),
        "{}",
        text(&own.stderr)
    );
    let own = run(
        &folder,
        &["--nn-preload", "default:GGML:AUTO:missing.gguf"],
        "app.wasm",
        "default",
    );
    assert!(
        text(&own.stderr).contains("missing.gguf"),
        "{}",
        text(&own.stderr)
    );
}

#[test]
fn a_stored_model_and_a_split_one() {
    let folder = folder();
    folder.succeed(&["model", "add", "tiny.gguf", "--name", "stored"]);
    for (index, part) in parts().iter().enumerate() {
        folder.write(&format!("big-0000{}-of-00003.gguf", index + 1), part);
    }
    let models = [
        "--model",
        "stored",
        "--model",
        "big=big-00001-of-00003.gguf",
    ];
    bundle(
        &folder,
        &[&["chat.wasm", "-o", "app.wasm"], &models[..]].concat(),
    );
    assert_says(&run(&folder, &[], "app.wasm", "default"), &TinyModel::new());
    assert_says(&run(&folder, &[], "app.wasm", "big"), &TinyModel::new());
}

#[test]
fn models_are_unpacked_once_and_checked_when_something_changes() {
    let folder = folder();
    usual(&folder);
    let cached = |folder: &Folder| {
        let names = unpacked(folder);
        assert_eq!(names.len(), 2, "{names:?}");
        let name = names
            .into_iter()
            .find(|name| name.ends_with("default.gguf"));
        format!("cache/llm-wasi/bundles/{}", name.expect("the model"))
    };
    assert_says(&run(&folder, &[], "app.wasm", "default"), &TinyModel::new());
    let path = cached(&folder);
    let written = || {
        fs::metadata(folder.path(&path))
            .and_then(|found| found.modified())
            .expect("a time")
    };
    let first = written();
    assert_says(&run(&folder, &[], "app.wasm", "default"), &TinyModel::new());
    assert_says(
        &run(&folder, &["--verify"], "app.wasm", "default"),
        &TinyModel::new(),
    );
    assert_eq!(written(), first);

    // Another content is noticed, told and put right.
    let mut bad = tiny();
    let last = bad.len() - 1;
    bad[last] ^= 1;
    overwrite(&folder, &path, &bad);
    let output = run(&folder, &[], "app.wasm", "default");
    assert_says(&output, &TinyModel::new());
    assert!(
        text(&output.stderr).contains("unpacked again"),
        "{}",
        text(&output.stderr)
    );
    assert_eq!(folder.read(&path), tiny());
    assert_eq!(cached(&folder), path);

    // The bundle is checked again when it has changed, though all models are there.
    let mut bytes = folder.read("app.wasm");
    *bytes.last_mut().expect("bytes") ^= 1;
    overwrite(&folder, "app.wasm", &bytes);
    let told = refused(&run(&folder, &[], "app.wasm", "default"));
    assert!(
        told.contains("of the file other.gguf of the model `other` is damaged"),
        "{told}"
    );
}

#[test]
fn several_first_runs_at_once() {
    let folder = folder();
    usual(&folder);
    let start = || -> Child {
        let args = [
            "run",
            "--env",
            "n_predict=20",
            "--env",
            "temp=0",
            "--env",
            "threads=1",
        ];
        let mut command = folder.command(&[&args[..], &["app.wasm", "default", "Hello"]].concat());
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        command.spawn().expect("the program starts")
    };
    let children: Vec<Child> = (0..4).map(|_| start()).collect();
    for child in children {
        let output = child.wait_with_output().expect("it ends");
        assert_says(&output, &TinyModel::new());
    }
    assert_eq!(unpacked(&folder).len(), 2);
}

#[test]
fn what_is_not_whole_does_not_run() {
    let folder = folder();
    usual(&folder);
    let bytes = folder.read("app.wasm");
    let tell = |bytes: &[u8]| {
        folder.write("bad.wasm", bytes);
        let told = refused(&run(&folder, &[], "bad.wasm", "default"));
        // `bundle` says the same.
        let also = folder.fail(&["bundle", "bad.wasm", "--verify"]);
        assert_eq!(told.lines().next(), also.lines().next());
        told
    };
    assert!(tell(&bytes[..bytes.len() - 1]).contains("truncated: it ends in part "));
    assert!(tell(&bytes[..bytes.len() / 2]).contains("truncated: it ends in part "));
    assert!(tell(&bytes[..1000]).contains("truncated: it ends in "));
    for (at, what) in [
        (200, "the bundle's index is damaged"),
        (
            bytes.len() - 3,
            "of the file other.gguf of the model `other` is damaged",
        ),
    ] {
        let mut bad = bytes.clone();
        bad[at] ^= 1;
        let told = tell(&bad);
        assert!(told.contains(what), "{told}");
    }
    let component = bytes
        .windows(8)
        .position(|window| window == b"\0asm\x01\0\0\0");
    let mut bad = bytes.clone();
    bad[component.expect("the module") + 100] ^= 1;
    assert!(tell(&bad).contains("the component is damaged"));
}

#[test]
fn signatures() {
    let folder = folder();
    let mut lines = Vec::new();
    for name in ["ours", "theirs"] {
        let pair = minisign::KeyPair::generate_unencrypted_keypair().expect("a key");
        folder.write(
            &format!("{name}.key"),
            pair.sk.to_box(None).expect("text").to_string(),
        );
        let public = pair.pk.to_box().expect("text").to_string();
        lines.push(public.lines().nth(1).expect("the key").to_string());
        folder.write(&format!("{name}.pub"), public);
    }
    usual(&folder);
    bundle(
        &folder,
        &["app.wasm", "--sign", "ours.key", "-o", "signed.wasm"],
    );
    for keys in [
        &["--trusted-key", "ours.pub"][..],
        &["--trusted-key", &lines[0]],
        &["--trusted-key", "theirs.pub", "--trusted-key", "ours.pub"],
        &[],
    ] {
        assert_says(
            &run(&folder, keys, "signed.wasm", "default"),
            &TinyModel::new(),
        );
    }
    let (listed, _) = folder.succeed(&["bundle", "signed.wasm", "--list"]);
    assert!(listed.contains("signature: by the key "), "{listed}");
    let (_, told) = folder.succeed(&[
        "bundle",
        "signed.wasm",
        "--verify",
        "--trusted-key",
        "ours.pub",
    ]);
    assert!(told.contains("signed by a trusted key"), "{told}");

    let ours = ["--trusted-key", "ours.pub"];
    let told = refused(&run(
        &folder,
        &["--trusted-key", "theirs.pub"],
        "signed.wasm",
        "default",
    ));
    assert!(told.contains("signed with another key"), "{told}");
    // Without a signature, and no bundle at all.
    let told = refused(&run(&folder, &ours, "app.wasm", "default"));
    assert!(told.contains("the bundle has no signature"), "{told}");
    let told = refused(&run(&folder, &ours, "chat.wasm", "default"));
    assert!(told.contains("is no bundle"), "{told}");
    // A change takes the signature away, and says so.
    let (_, told) = folder.succeed(&[
        "bundle",
        "signed.wasm",
        "--remove",
        "other",
        "-o",
        "less.wasm",
    ]);
    assert!(told.contains("the signature is gone"), "{told}");
    let told = refused(&run(&folder, &ours, "less.wasm", "default"));
    assert!(told.contains("the bundle has no signature"), "{told}");
    // One by another index.
    bundle(
        &folder,
        &["less.wasm", "--sign", "ours.key", "-o", "less.wasm"],
    );
    let bytes = folder.read("signed.wasm");
    let text_of = |bytes: &[u8]| {
        let start = bytes
            .windows(18)
            .position(|w| w == b"untrusted comment:")
            .expect("a signature");
        start..start + 262
    };
    let (from, to) = (folder.read("less.wasm"), bytes.clone());
    let mut forged = to.clone();
    forged[text_of(&to)].copy_from_slice(&from[text_of(&from)]);
    folder.write("forged.wasm", forged);
    let told = refused(&run(&folder, &ours, "forged.wasm", "default"));
    assert!(told.contains("signature is wrong"), "{told}");
    // A key that is none.
    let output = run(
        &folder,
        &["--trusted-key", "chat.pub"],
        "signed.wasm",
        "default",
    );
    assert_eq!(output.status.code(), Some(2));
    let told = folder.fail(&["bundle", "app.wasm", "--sign", "ours.pub", "-o", "x.wasm"]);
    assert!(told.contains("the key cannot be used"), "{told}");
}

#[test]
fn a_key_with_a_password() {
    let folder = folder();
    let pair =
        minisign::KeyPair::generate_encrypted_keypair(Some("open".to_string())).expect("a key");
    folder.write("our.key", pair.sk.to_box(None).expect("text").to_string());
    folder.write("our.pub", pair.pk.to_box().expect("text").to_string());
    let args = [
        "bundle",
        "chat.wasm",
        "--model",
        "tiny.gguf",
        "--sign",
        "our.key",
        "-o",
        "app.wasm",
    ];
    let mut command = folder.command(&args);
    let output = command
        .env("LLM_WASI_KEY_PASSWORD", "wrong")
        .output()
        .expect("it starts");
    let told = text(&output.stderr);
    assert!(told.contains("Wrong password"), "{told}");
    assert!(!folder.path("app.wasm").exists());
    let mut command = folder.command(&args);
    let output = command
        .env("LLM_WASI_KEY_PASSWORD", "open")
        .output()
        .expect("it starts");
    assert!(output.status.success(), "{}", text(&output.stderr));
    let output = run(
        &folder,
        &["--trusted-key", "our.pub"],
        "app.wasm",
        "default",
    );
    assert_says(&output, &TinyModel::new());
}

#[test]
fn errors() {
    let folder = folder();
    folder.write("page.gguf", PAGE);
    folder.write("precious.wasm", "precious");
    usual(&folder);
    snapshot(
        &folder,
        "bundle-errors.txt",
        &[
            &["bundle"],
            &["bundle", "chat.wasm"],
            &["bundle", "chat.wasm", "--model", "tiny.gguf"],
            &["bundle", "chat.wasm", "--list", "--model", "tiny.gguf"],
            &["bundle", "chat.wasm", "--list"],
            &["bundle", "missing.wasm", "--list"],
            &[
                "bundle",
                "missing.wasm",
                "--model",
                "tiny.gguf",
                "-o",
                "precious.wasm",
            ],
            &[
                "bundle",
                "tiny.gguf",
                "--model",
                "tiny.gguf",
                "-o",
                "precious.wasm",
            ],
            &[
                "bundle",
                "chat.wasm",
                "--model",
                "missing.gguf",
                "-o",
                "precious.wasm",
            ],
            &[
                "bundle",
                "chat.wasm",
                "--model",
                "m=page.gguf",
                "-o",
                "precious.wasm",
            ],
            &[
                "bundle",
                "chat.wasm",
                "--model",
                "a b=tiny.gguf",
                "-o",
                "precious.wasm",
            ],
            &[
                "bundle",
                "chat.wasm",
                "--model",
                "m:GMML:AUTO:tiny.gguf",
                "-o",
                "precious.wasm",
            ],
            &[
                "bundle",
                "chat.wasm",
                "--model",
                "tiny.gguf",
                "--model",
                "other.gguf",
                "-o",
                "precious.wasm",
            ],
            &[
                "bundle",
                "app.wasm",
                "--model",
                "tiny.gguf",
                "-o",
                "precious.wasm",
            ],
            &[
                "bundle",
                "app.wasm",
                "--remove",
                "nobody",
                "-o",
                "precious.wasm",
            ],
            &[
                "bundle",
                "chat.wasm",
                "--remove",
                "default",
                "-o",
                "precious.wasm",
            ],
            &[
                "bundle",
                "app.wasm",
                "--extract",
                "nobody",
                "-o",
                "precious.wasm",
            ],
            &[
                "bundle",
                "app.wasm",
                "--extract",
                "default",
                "--extract",
                "other",
                "-o",
                "precious.wasm",
            ],
            &[
                "bundle",
                "app.wasm",
                "--extract",
                "default",
                "-o",
                "missing/out.gguf",
            ],
            &[
                "bundle",
                "chat.wasm",
                "--model",
                "tiny.gguf",
                "-o",
                "missing/out.wasm",
            ],
            &["bundle", "chat.wasm", "--model", "tiny.gguf", "-o", "-"],
            &[
                "bundle",
                "app.wasm",
                "--sign",
                "missing.key",
                "-o",
                "precious.wasm",
            ],
            &[
                "bundle",
                "app.wasm",
                "--verify",
                "--trusted-key",
                "missing.pub",
            ],
        ],
    );
    assert_eq!(folder.read("precious.wasm"), b"precious");
    let left: Vec<_> = folder
        .tree("")
        .into_iter()
        .filter(|name| name.starts_with(".llm-wasi-"))
        .collect();
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn a_bundle_on_standard_input() {
    let folder = folder();
    usual(&folder);
    let mut command = folder.command(&["run", "-", "default", "Hello"]);
    let file = fs::File::open(folder.path("app.wasm")).expect("the bundle");
    let output = command.stdin(file).output().expect("the program starts");
    assert!(refused(&output).contains("standard input is a bundle"));
}

#[test]
fn a_folder_for_models_that_cannot_be_made() {
    let folder = folder();
    usual(&folder);
    folder.write("a-file", "");
    let mut command = folder.command(&["run", "app.wasm", "default", "Hello"]);
    let output = command
        .env("LLM_WASI_BUNDLES", "a-file")
        .output()
        .expect("the program starts");
    let told = refused(&output);
    assert!(told.contains("LLM_WASI_BUNDLES"), "{told}");
    let mut command = folder.command(&[
        "run",
        "--env",
        "n_predict=3",
        "app.wasm",
        "default",
        "Hello",
    ]);
    let output = command
        .env("LLM_WASI_BUNDLES", "elsewhere")
        .output()
        .expect("the program starts");
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert!(Path::exists(&folder.path("elsewhere")));
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_leaves_no_half_file() {
    let folder = folder();
    usual(&folder);
    // The shell counts in units of 1024 bytes: the program's output is larger than that, the cache is too.
    let limited = |line: &str| {
        let line = format!("trap '' XFSZ; ulimit -f 100; exec {line}");
        let mut command = std::process::Command::new("bash");
        command.args(["-c", &line]);
        folder.prepare(command).output().expect("the shell starts")
    };
    let program = env!("CARGO_BIN_EXE_llm-wasi");
    let output = limited(&format!("{program} run app.wasm default Hello"));
    let told = refused(&output);
    assert!(told.contains("LLM_WASI_BUNDLES"), "{told}");
    assert_eq!(unpacked(&folder), [""; 0]);
    let output = limited(&format!(
        "{program} bundle app.wasm --model third=tiny.gguf -o more.wasm"
    ));
    let told = refused(&output);
    assert!(told.contains("more.wasm"), "{told}");
    assert!(!folder.path("more.wasm").exists());
}
