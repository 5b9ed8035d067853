//! The program of docs/embedding.md, run. The document shows what is between the two lines of dashes.

use super::fixtures::fixture;
use llm_wasi_componentize::{Options, componentize};
use llm_wasi_host::testing::TinyModel;

// ----------------------------------------------------------------------------------------------------
use anyhow::Result;
use llm_wasi_host::{NnView, Preload, Registry, add_to_linker};
use std::path::Path;
use wasmtime::component::{Component, Linker, ResourceTable};
use wasmtime::{Engine, Store};
use wasmtime_wasi::p2::bindings::sync::Command;
use wasmtime_wasi::p2::pipe::MemoryOutputPipe;
use wasmtime_wasi::{WasiCtx, WasiCtxBuilder, WasiCtxView, WasiView};

/// What a store holds: WASI, the models, which many stores may share, and the guest's resources.
struct State {
    wasi: WasiCtx,
    registry: Registry,
    table: ResourceTable,
}

impl State {
    fn nn(&mut self) -> NnView<'_> {
        NnView {
            registry: &self.registry,
            table: &mut self.table,
        }
    }
}

impl WasiView for State {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView {
            ctx: &mut self.wasi,
            table: &mut self.table,
        }
    }
}

/// The models that guests can load by name.
fn models(file: &Path) -> Result<Registry> {
    let preload: Preload = format!("default:GGML:AUTO:{}", file.display()).parse()?;
    Ok(Registry::with_default_backends().preload(preload).build())
}

/// Runs a command component and gives what it wrote to its standard output.
fn run(component: &[u8], arguments: &[&str], models: &Registry) -> Result<Vec<u8>> {
    let engine = Engine::default();
    let mut linker = Linker::new(&engine);
    wasmtime_wasi::p2::add_to_linker_sync(&mut linker)?;
    add_to_linker(&mut linker, State::nn)?;

    let output = MemoryOutputPipe::new(1 << 20);
    let state = State {
        wasi: WasiCtxBuilder::new()
            .args(arguments)
            .stdout(output.clone())
            .build(),
        registry: models.clone(),
        table: ResourceTable::new(),
    };
    let mut store = Store::new(&engine, state);
    let component = Component::new(&engine, component)?;
    let command = Command::instantiate(&mut store, &component, &linker)?;
    if command.wasi_cli_run().call_run(&mut store)?.is_err() {
        anyhow::bail!("the program failed");
    }
    Ok(output.contents().to_vec())
}
// ----------------------------------------------------------------------------------------------------

#[test]
fn the_program_of_the_guide_runs() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("tiny.gguf");
    let model = TinyModel::new();
    model.write(&file).unwrap();
    let component = componentize(&fixture("wasm/embed.wasm"), &Options::default())
        .unwrap()
        .bytes;
    let output = run(
        &component,
        &["embed", "default", "Hello"],
        &models(&file).unwrap(),
    )
    .unwrap();
    assert!(
        output.starts_with(b"{\"n_embedding\": "),
        "{}",
        output.escape_ascii()
    );
}

/// The document has the same text, so what it shows has run.
#[test]
fn the_guide_shows_this_program() {
    let here = include_str!("embedding_guide.rs");
    let program = here
        .split("// ----")
        .nth(1)
        .and_then(|text| text.split_once('\n'))
        .map(|(_, text)| text.trim())
        .unwrap();
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/embedding.md");
    let guide = std::fs::read_to_string(path).unwrap();
    let shown = guide
        .split_once("```rust\n")
        .and_then(|(_, rest)| rest.split_once("\n```\n"))
        .map(|(text, _)| text)
        .unwrap();
    if shown != program && std::env::var_os("BLESS").is_some() {
        std::fs::write(path, guide.replace(shown, program)).unwrap();
        return;
    }
    assert!(
        shown == program,
        "docs/embedding.md shows another program: BLESS=1 writes it"
    );
}
