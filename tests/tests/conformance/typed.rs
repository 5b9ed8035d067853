//! The Rust host in `examples/hosts/rust`: its typed functions, and its streams.

use super::cases::{Argument, Outcome, Subject};
use super::typed_values::{
    answer, embeddings, error, event, message, message_said, messages, model_info, narrow, options,
    text,
};
use anyhow::{Context, Result, bail};
use futures_util::{Stream, StreamExt};
use llm_wasi_example_host::generation::Event;
use llm_wasi_example_host::models::{EmbeddingOptions, ModelOptions};
use llm_wasi_example_host::types::Error;
use llm_wasi_example_host::{LanguageModels, Llm, State};
use llm_wasi_host::Registry;
use serde_json::{Value, json};
use std::pin::Pin;
use tokio::runtime::Runtime;
use wasmtime::Store;
use wasmtime::component::{Component, ResourceAny};

type Events = Pin<Box<dyn Stream<Item = Result<Event>>>>;

pub(super) struct Typed {
    runtime: Runtime,
    llm: Llm,
    /// Streams that were asked for events.
    streams: Vec<(ResourceAny, Events)>,
}

impl Typed {
    pub(super) fn start(component: &Component, registry: Registry) -> Result<Self> {
        Ok(Self {
            runtime: tokio::runtime::Builder::new_current_thread().build()?,
            llm: Llm::start(component, registry)?,
            streams: Vec::new(),
        })
    }

    fn on_host<T: Send + 'static>(
        &self,
        call: impl FnOnce(&LanguageModels, &mut Store<State>) -> wasmtime::Result<T> + Send + 'static,
    ) -> Result<T> {
        self.runtime
            .block_on(self.llm.call(|host, store| Ok(call(host, store)?)))
    }

    /// Through the host's own stream.
    fn next(&mut self, stream: ResourceAny) -> Result<Value> {
        let known = self.streams.iter().position(|(other, _)| *other == stream);
        let index = known.unwrap_or_else(|| {
            self.streams
                .push((stream, Box::pin(self.llm.events(stream))));
            self.streams.len() - 1
        });
        match self.runtime.block_on(self.streams[index].1.next()) {
            None => Ok(json!({"tag": "ok"})),
            Some(Ok(next)) => Ok(json!({"tag": "ok", "val": event(next)})),
            Some(Err(failure)) => Ok(json!({"tag": "err", "val": error(failure.downcast()?)})),
        }
    }
}

impl Subject for Typed {
    fn call(&mut self, function: &str, arguments: &[Argument]) -> Result<Outcome> {
        let given = Given(arguments);
        let result = match function {
            "models.list-names" => self
                .on_host(|host, store| host.llm_wasi_llm_models().call_list_names(store))?
                .map(|names| json!(names)),
            "models.[static]model.open" => {
                let name = given.value(0)?.as_str().map(str::to_owned);
                let options = ModelOptions {
                    context_length: given.value(1)?["contextLength"]
                        .as_u64()
                        .map(narrow)
                        .transpose()?,
                };
                let opened = self.on_host(move |host, store| {
                    let models = host.llm_wasi_llm_models().model();
                    models.call_open(store, name.as_deref(), options)
                })?;
                return outcome(opened);
            }
            "models.[method]model.info" => {
                let model = given.resource(0)?;
                let info = self.on_host(move |host, store| {
                    host.llm_wasi_llm_models().model().call_info(store, model)
                })?;
                return Ok(Outcome::Value(model_info(info)));
            }
            "models.[method]model.tokenize" => {
                let (model, text) = (given.resource(0)?, given.text(1)?);
                let special = given.value(2)?.as_bool().context("expected a boolean")?;
                self.on_host(move |host, store| {
                    let models = host.llm_wasi_llm_models().model();
                    models.call_tokenize(store, model, &text, special)
                })?
                .map(|tokens| json!(tokens))
            }
            "models.[method]model.detokenize" => {
                let model = given.resource(0)?;
                let tokens: Vec<u32> = serde_json::from_value(given.value(1)?.clone())?;
                self.on_host(move |host, store| {
                    let models = host.llm_wasi_llm_models().model();
                    models.call_detokenize(store, model, &tokens)
                })?
                .map(|bytes| json!(bytes))
            }
            "models.[method]model.count" => {
                let (model, text) = (given.resource(0)?, given.text(1)?);
                self.on_host(move |host, store| {
                    let models = host.llm_wasi_llm_models().model();
                    models.call_count(store, model, &text)
                })?
                .map(|count| json!(count))
            }
            "models.[method]model.embed" => {
                let model = given.resource(0)?;
                let texts: Vec<String> = serde_json::from_value(given.value(1)?.clone())?;
                let asked = given.value(2)?;
                let options = EmbeddingOptions {
                    normalize: asked["normalize"].as_bool(),
                    dimensions: asked["dimensions"].as_u64().map(narrow).transpose()?,
                };
                self.on_host(move |host, store| {
                    let models = host.llm_wasi_llm_models().model();
                    models.call_embed(store, model, &texts, options)
                })?
                .map(embeddings)
            }
            "generation.complete" => {
                let (model, prompt) = (given.resource(0)?, given.text(1)?);
                let options = options(given.value(2)?)?;
                self.on_host(move |host, store| {
                    let generation = host.llm_wasi_llm_generation();
                    generation.call_complete(store, model, &prompt, &options)
                })?
                .map(answer)
            }
            "generation.stream-completion" => {
                let (model, prompt) = (given.resource(0)?, given.text(1)?);
                let options = options(given.value(2)?)?;
                return outcome(self.on_host(move |host, store| {
                    let generation = host.llm_wasi_llm_generation();
                    generation.call_stream_completion(store, model, &prompt, &options)
                })?);
            }
            "generation.chat" => {
                let (model, messages) = (given.resource(0)?, messages(given.value(1)?)?);
                let options = options(given.value(2)?)?;
                self.on_host(move |host, store| {
                    let generation = host.llm_wasi_llm_generation();
                    generation.call_chat(store, model, &messages, &options)
                })?
                .map(answer)
            }
            "generation.stream-chat" => {
                let (model, messages) = (given.resource(0)?, messages(given.value(1)?)?);
                let options = options(given.value(2)?)?;
                return outcome(self.on_host(move |host, store| {
                    let generation = host.llm_wasi_llm_generation();
                    generation.call_stream_chat(store, model, &messages, &options)
                })?);
            }
            "generation.render" => {
                let (model, messages) = (given.resource(0)?, messages(given.value(1)?)?);
                let options = options(given.value(2)?)?;
                self.on_host(move |host, store| {
                    let generation = host.llm_wasi_llm_generation();
                    generation.call_render(store, model, &messages, &options)
                })?
                .map(|prompt| json!(prompt))
            }
            "generation.[method]answer-stream.next" => {
                return Ok(Outcome::Value(self.next(given.resource(0)?)?));
            }
            "generation.[method]answer-stream.cancel" => {
                let stream = given.resource(0)?;
                self.on_host(move |host, store| {
                    let streams = host.llm_wasi_llm_generation().answer_stream();
                    streams.call_cancel(store, stream)
                })?;
                return Ok(Outcome::Value(Value::Null));
            }
            "generation.[static]conversation.begin" => {
                let (model, messages) = (given.resource(0)?, messages(given.value(1)?)?);
                let options = options(given.value(2)?)?;
                return outcome(self.on_host(move |host, store| {
                    let conversations = host.llm_wasi_llm_generation().conversation();
                    conversations.call_begin(store, model, &messages, &options)
                })?);
            }
            "generation.[method]conversation.say" => {
                let (conversation, message) = (given.resource(0)?, message(given.value(1)?)?);
                self.on_host(move |host, store| {
                    let conversations = host.llm_wasi_llm_generation().conversation();
                    conversations.call_say(store, conversation, &message)
                })?
                .map(answer)
            }
            "generation.[method]conversation.stream-answer" => {
                let (conversation, message) = (given.resource(0)?, message(given.value(1)?)?);
                return outcome(self.on_host(move |host, store| {
                    let conversations = host.llm_wasi_llm_generation().conversation();
                    conversations.call_stream_answer(store, conversation, &message)
                })?);
            }
            "generation.[method]conversation.messages" => {
                let conversation = given.resource(0)?;
                let said = self.on_host(move |host, store| {
                    let conversations = host.llm_wasi_llm_generation().conversation();
                    conversations.call_messages(store, conversation)
                })?;
                let said: Vec<Value> = said.into_iter().map(message_said).collect();
                return Ok(Outcome::Value(json!(said)));
            }
            "generation.[method]conversation.save" => {
                let conversation = given.resource(0)?;
                let state = self.on_host(move |host, store| {
                    let conversations = host.llm_wasi_llm_generation().conversation();
                    conversations.call_save(store, conversation)
                })?;
                return Ok(Outcome::Value(json!(state)));
            }
            "generation.[static]conversation.restore" => {
                let model = given.resource(0)?;
                let state: Vec<u8> = serde_json::from_value(given.value(1)?.clone())?;
                return outcome(self.on_host(move |host, store| {
                    let conversations = host.llm_wasi_llm_generation().conversation();
                    conversations.call_restore(store, model, &state)
                })?);
            }
            other => bail!("no function {other}"),
        };
        Ok(Outcome::Value(match result {
            Ok(value) => json!({"tag": "ok", "val": value}),
            Err(failure) => json!({"tag": "err", "val": error(failure)}),
        }))
    }

    fn drop(&mut self, resource: ResourceAny) -> Result<()> {
        // A stream's resource goes with it.
        if let Some(index) = self
            .streams
            .iter()
            .position(|(other, _)| *other == resource)
        {
            drop(self.streams.remove(index));
            return Ok(());
        }
        self.on_host(move |_, store| resource.resource_drop(store))
    }
}

fn outcome(result: Result<ResourceAny, Error>) -> Result<Outcome> {
    Ok(match result {
        Ok(resource) => Outcome::Resource(resource),
        Err(failure) => Outcome::Value(json!({"tag": "err", "val": error(failure)})),
    })
}

/// The arguments of a call.
struct Given<'a>(&'a [Argument]);

impl Given<'_> {
    fn value(&self, index: usize) -> Result<&Value> {
        match self.0.get(index) {
            Some(Argument::Value(value)) => Ok(value),
            _ => bail!("expected a value as argument {index}"),
        }
    }

    fn text(&self, index: usize) -> Result<String> {
        text(self.value(index)?)
    }

    fn resource(&self, index: usize) -> Result<ResourceAny> {
        match self.0.get(index) {
            Some(Argument::Resource(resource)) => Ok(*resource),
            _ => bail!("expected a resource as argument {index}"),
        }
    }
}
