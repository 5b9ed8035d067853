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

use crate::engine::host::{smollm2, tiny};
use anyhow::Result;
use cases::{Case, Cases, Subject};
use llm_wasi_compose::{Defaults, ENGINE, configure};
use llm_wasi_host::Registry;
use llm_wasi_host::testing::TinyModel;
use serde_json::{Map, Value};
use wasmtime::Engine;
use wasmtime::component::Component;

/// What a case's `model` names, with the folder that it is in.
fn models(case: &Case) -> Option<(Option<tempfile::TempDir>, Registry)> {
    let made = |model| {
        let (folder, models) = tiny(&model);
        Some((Some(folder), models))
    };
    match case.model.as_str() {
        "tiny" => made(TinyModel::conformance()),
        "tools" => made(TinyModel::conformance_tools()),
        "smollm2" => smollm2().map(|models| (None, models)),
        other => panic!(
            "{}: expected the model tiny, tools or smollm2, found {other}",
            case.name
        ),
    }
}

/// The engine with the suite's configuration.
fn engine(cases: &Cases) -> Component {
    let defaults: Map<String, Value> = cases
        .configuration
        .chunks_exact(2)
        .map(|option| {
            let name = option[0].trim_start_matches("--").to_owned();
            (name, serde_json::from_str(&option[1]).unwrap())
        })
        .collect();
    let defaults: Defaults = serde_json::from_value(defaults.into()).unwrap();
    let bytes = configure(ENGINE, &defaults.component().unwrap()).unwrap();
    Component::new(&Engine::default(), bytes).unwrap()
}

fn run<S: Subject>(start: impl Fn(&Component, Registry) -> Result<S>, bless: bool) {
    let mut cases = Cases::read();
    let engine = engine(&cases);
    let mut wrong = Vec::new();
    let mut ran = 0;
    for case in &mut cases.cases {
        let Some((_folder, models)) = models(case) else {
            continue;
        };
        ran += 1;
        let mut subject = start(&engine, models).unwrap();
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
    run(raw::Raw::start, std::env::var_os("BLESS").is_some());
}

#[test]
fn the_rust_host() {
    run(typed::Typed::start, false);
}
