//! `compose` and `configure` as users see them, with the example app.

mod support;

use llm_wasi_host::testing::TinyModel;
use support::Folder;

/// Prints a model's answer as it comes, and counts tokens on standard error.
const ASK: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../examples/wasm/ask.wasm");

/// A folder with the tiny model, and the `--nn-preload` for it.
fn folder() -> (Folder, TinyModel, &'static str) {
    let folder = Folder::new();
    // ChatML's prompts end with a line end.
    let model = TinyModel::new().following(b'\n', b'a');
    folder.write("tiny.gguf", model.to_gguf());
    (folder, model, "default:GGML:CPU:tiny.gguf")
}

fn answer(folder: &Folder, component: &str, preload: &str) -> String {
    let (answer, told) = folder.succeed(&["run", "--nn-preload", preload, component, "Hello"]);
    assert!(told.contains(" tokens, "), "{told}");
    answer
}

/// What the model says to the end of ChatML's prompt.
fn expected(model: &TinyModel, tokens: usize) -> String {
    let text = model.continuation(b'\n', tokens);
    format!("{}\n", String::from_utf8_lossy(&text))
}

#[test]
fn an_app_becomes_one_component_that_runs() {
    let (folder, model, preload) = folder();
    let fields = [
        "--model",
        "default",
        "--temperature",
        "0",
        "--max-tokens",
        "12",
    ];
    let compose = [&["compose", ASK, "-o", "whole.wasm"][..], &fields].concat();
    let (_, told) = folder.succeed(&compose);
    assert!(told.starts_with("wrote whole.wasm ("), "{told}");
    assert_eq!(answer(&folder, "whole.wasm", preload), expected(&model, 12));
    let (json, _) = folder.succeed(&["inspect", "--json", "whole.wasm"]);
    assert!(!json.contains("llm-wasi:llm/"), "{json}");
    assert!(json.contains("llm-wasi:nn/language"), "{json}");
}

#[test]
fn an_app_without_its_engine_is_told_how_to_get_one() {
    let (folder, _, preload) = folder();
    let told = folder.fail(&["run", "--nn-preload", preload, ASK, "Hello"]);
    assert!(told.contains("imports instance `llm-wasi:llm/"), "{told}");
    assert!(told.contains("llm-wasi compose"), "{told}");
}

#[test]
fn another_configuration_changes_neither_engine_nor_app() {
    let (folder, model, preload) = folder();
    for tokens in [3, 20] {
        let count = tokens.to_string();
        folder.succeed(&[
            "configure",
            "--temperature",
            "0",
            "--max-tokens",
            &count,
            "-o",
            "config.wasm",
        ]);
        folder.succeed(&[
            "compose",
            ASK,
            "--configuration",
            "config.wasm",
            "-q",
            "-o",
            "whole.wasm",
        ]);
        assert_eq!(
            answer(&folder, "whole.wasm", preload),
            expected(&model, tokens)
        );
    }
}

#[test]
fn an_engine_with_its_configuration_needs_none() {
    let folder = Folder::new();
    folder.succeed(&["configure", "--seed", "1", "--with-engine", "-o", "."]);
    let (json, _) = folder.succeed(&["inspect", "--json", "engine.wasm"]);
    assert!(!json.contains("llm-wasi:llm/configuration"), "{json}");
    assert!(json.contains("llm-wasi:nn/language"), "{json}");
}

#[test]
fn a_configured_model_that_is_not_there_is_told_with_those_there_are() {
    let (folder, _, preload) = folder();
    folder.succeed(&["compose", ASK, "--model", "other", "-q", "-o", "whole.wasm"]);
    let told = folder.fail(&["run", "--nn-preload", preload, "whole.wasm", "Hello"]);
    assert!(
        told.contains("ModelNotFound") && told.contains("other") && told.contains("default"),
        "{told}"
    );
}

#[test]
fn what_does_not_go_together_is_refused_with_a_next_step() {
    let folder = Folder::new();
    folder.write("empty.wat", "(component)");
    folder.write("core.wat", "(module)");
    folder.write("garbage.wasm", "garbage");
    folder.succeed(&["configure", "-o", "config.wasm"]);
    for (args, expected) in [
        (
            &["compose", "empty.wat"][..],
            "expected the app to import llm-wasi:llm/models or llm-wasi:llm/generation, found that it imports \
             nothing",
        ),
        (
            &["compose", ASK, "--engine", "garbage.wasm"],
            "the engine is no component",
        ),
        (
            &["compose", ASK, "--engine", "config.wasm"],
            "expected the engine to import llm-wasi:llm/configuration",
        ),
        (
            &[
                "compose",
                ASK,
                "--configuration",
                "config.wasm",
                "--seed",
                "1",
            ],
            "--configuration FILE and fields of a configuration",
        ),
        (&["configure", "--temperature", "3"], "--temperature: 3"),
        (&["configure", "--stop", ""], "--stop"),
    ] {
        let told = folder.fail(&[args, &["-o", "never.wasm"]].concat());
        assert!(told.contains(expected), "{args:?}: {told}");
        assert!(told.contains("next step: "), "{args:?}: {told}");
        assert!(!folder.path("never.wasm").exists());
    }
}
