//! Options of every kind of wrong, and what is logged.

use crate::command_line::{Folder, speaker};
use llm_wasi_host::testing::TinyModel;

const LINE: &str = "--nn-preload default:GGML:AUTO:model.gguf wasmedge-ggml-";

#[test]
fn values_that_are_not_json_are_the_programs_own_affair() {
    Folder::new()
        .with("model.gguf", &TinyModel::new())
        .wasmedge(&format!(
            "wasmedge --env enable_log=yes {LINE}llama.wasm default Hello"
        ))
        .run()
        .panicked_with("invalid value for enable-log option");
}

/// A configuration and input 1: an invalid argument to the program, the reason in the log.
#[test]
fn a_wrong_type_is_an_invalid_argument() {
    let folder = Folder::new().with("model.gguf", &TinyModel::new());
    let reason = "option `enable-log`: expected true or false, found \"many\"";
    for (example, doing) in [("llama", "build graph"), ("nnrpc", "set input")] {
        let ended = folder
            .wasmedge(&format!(
                "wasmedge --env 'enable_log=\"many\"' {LINE}{example}.wasm default Hello"
            ))
            .log("llm_wasi_host=debug")
            .run();
        ended.panicked_with(&format!("Failed to {doing}: BackendError(InvalidArgument)"));
        assert!(ended.stderr.contains(reason), "{ended:?}");
    }
}

#[test]
fn text_that_is_not_json_is_an_invalid_encoding() {
    let folder = Folder::new().with("model.gguf", &TinyModel::new());
    for (example, doing) in [("basic", "build graph"), ("nnrpc", "set input")] {
        let ended = folder
            .wasmedge(&format!(
                "wasmedge --env 'options={{not json' {LINE}{example}.wasm default Hello"
            ))
            .log("llm_wasi_host=debug")
            .run();
        ended.panicked_with(&format!("Failed to {doing}: BackendError(InvalidEncoding)"));
        assert!(
            ended
                .stderr
                .contains("expected the options as a JSON object"),
            "{ended:?}"
        );
    }
}

/// An empty configuration is none; an empty input 1 is no JSON.
#[test]
fn empty_text_is_no_configuration() {
    let (model, text) = speaker("Hello", 12);
    let folder = Folder::new().with("model.gguf", &model);
    let run = |example| {
        folder
            .wasmedge(&format!(
                "wasmedge --env options= {LINE}{example}.wasm default Hello"
            ))
            .run()
    };
    let ended = run("phi-3");
    assert!(ended.stdout.contains(&text), "{ended:?}");
    run("nnrpc").panicked_with("Failed to set input: BackendError(InvalidEncoding)");
}

#[test]
fn unknown_names_are_not_found() {
    let ended = Folder::new()
        .with("model.gguf", &TinyModel::new())
        .wasmedge(&format!("wasmedge {LINE}llama.wasm other Hello"))
        .log("llm_wasi_host=debug")
        .run();
    ended.panicked_with("Failed to build graph: BackendError(NotFound)");
    assert!(
        ended.stderr.contains("this host has `default`"),
        "{ended:?}"
    );
}

/// Logs are on standard error and need `-v`: standard output is the program's.
#[test]
fn enable_log_and_enable_debug_log() {
    let (model, _) = speaker("Hello", 12);
    let folder = Folder::new().with("model.gguf", &model);
    let log = |flags: &str, variables: &str| {
        let ended = folder
            .wasmedge(&format!(
                "wasmedge {flags} {variables} {LINE}llama.wasm default Hello"
            ))
            .run();
        assert_eq!(ended.code, 0, "{ended:?}");
        assert!(!ended.stdout.contains("generated 13 tokens"), "{ended:?}");
        (
            ended.stderr.contains("generated 13 tokens"),
            ended.stderr.contains("step 1: "),
        )
    };
    let (logs, debugs) = ("--env enable_log=true", "--env enable_debug_log=true");
    assert_eq!(log("", logs), (false, false));
    assert_eq!(log("-v", ""), (false, false));
    assert_eq!(log("-v", logs), (true, false));
    assert_eq!(log("-v", debugs), (false, true));
}
