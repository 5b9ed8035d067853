//! This project's host serves both releases of `wasi:nn` and the extension: one legacy program becomes
//! three components, which write the same.

use super::fixtures::fixture;
use llm_wasi_componentize::{Options, Profile, Target, componentize};
use llm_wasi_host::runner::Runner;
use llm_wasi_host::testing::{NullBackend, TinyModel};
use llm_wasi_host::{Preload, Registry, RegistryBuilder};
use std::path::Path;
use wasmtime_wasi::p2::pipe::MemoryOutputPipe;

const WAYS: [(Profile, Target); 3] = [
    (Profile::Portable, Target::Rc20241028),
    (Profile::Portable, Target::Rc20240819),
    (Profile::Extended, Target::Rc20241028),
];

/// What a program writes, once for each way.
fn outputs(program: &str, arguments: &[&str], registry: &Registry) -> Vec<Vec<u8>> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let run = |(profile, target)| {
        let options = Options {
            profile: Some(profile),
            target,
            exit_codes: true,
            ..Options::default()
        };
        let component = componentize(&fixture(program), &options)
            .unwrap_or_else(|refusal| panic!("{program}: {refusal}"))
            .bytes;
        let output = MemoryOutputPipe::new(1 << 20);
        let runner = Runner::builder()
            .args(arguments.iter().copied())
            .shared_registry(registry.clone())
            .cache(false)
            .build()
            .unwrap();
        let code = runtime
            .block_on(runner.run_with(&component, |wasi| {
                wasi.stdout(output.clone()).inherit_stderr();
            }))
            .unwrap_or_else(|error| panic!("{program}, {profile:?}, {target:?}: {error:#}"));
        assert_eq!(code, 0, "{program}, {profile:?}, {target:?}");
        output.contents().to_vec()
    };
    WAYS.into_iter().map(run).collect()
}

fn preload(registry: RegistryBuilder, encoding: &str, file: &Path, options: &str) -> Registry {
    let mut preload: Preload = format!("default:{encoding}:CPU:{}", file.display())
        .parse()
        .unwrap();
    preload.configuration = Some(options.to_owned());
    registry.preload(preload).build()
}

#[test]
fn a_classifier() {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml");
    let registry = Registry::builder().backend(NullBackend);
    let registry = preload(registry, "ONNX", Path::new(file), "{}");
    // All of the backend's output.
    let arguments = ["classify", "default", "1,3,224,224", "1001"];
    let outputs = outputs("wasm/classify.wasm", &arguments, &registry);
    let lines = outputs[0].iter().filter(|byte| **byte == b'\n');
    assert_eq!(lines.count(), 1001);
    assert_eq!(outputs[0], outputs[1]);
    assert_eq!(outputs[0], outputs[2]);
}

#[test]
fn a_language_model() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("tiny.gguf");
    let model = TinyModel::new();
    model.write(&file).unwrap();
    let options = r#"{"ctx-size": 256, "temp": 0, "n-predict": 12, "threads": 1}"#;
    let registry = preload(Registry::with_default_backends(), "GGML", &file, options);
    let arguments = ["chat", "--no-stream", "default", "Hello"];
    let texts = outputs("wasm/chat.wasm", &arguments, &registry);
    let expected = [&model.continuation(b'o', 12)[..], b"\n"].concat();
    for text in &texts {
        assert_eq!(
            text.escape_ascii().to_string(),
            expected.escape_ascii().to_string()
        );
    }
    // An embedding needs its option before the prompt is computed: as input 1 it comes with it.
    let embeddings = outputs("wasm/embed.wasm", &["embed", "default", "Hello"], &registry);
    assert!(embeddings[0].starts_with(b"{\"n_embedding\": "));
    assert_eq!(embeddings[0], embeddings[1]);
    assert_eq!(embeddings[0], embeddings[2]);
}
