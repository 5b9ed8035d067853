//! Asks a model, and prints its answer as it comes: `ask-host MODEL.gguf QUESTION`.

use anyhow::{Context, Result};
use futures_util::TryStreamExt;
use llm_wasi_compose::{Defaults, ENGINE, configure};
use llm_wasi_example_host::Llm;
use llm_wasi_example_host::generation::{Event, Message, Options, Part, Role};
use llm_wasi_example_host::models::ModelOptions;
use llm_wasi_host::{Preload, Registry};
use std::io::Write;
use std::pin::pin;
use wasmtime::Engine;
use wasmtime::component::Component;

#[tokio::main]
async fn main() -> Result<()> {
    let usage = "expected a model and a question: ask-host MODEL.gguf QUESTION";
    let mut arguments = std::env::args().skip(1);
    let path = arguments.next().context(usage)?;
    let question = arguments.next().context(usage)?;

    let preload: Preload = format!("default:GGML:AUTO:{path}").parse()?;
    let models = Registry::with_default_backends().preload(preload).build();
    let defaults = Defaults {
        system_prompt: Some("You answer in one short sentence.".to_owned()),
        temperature: Some(0.0),
        max_tokens: Some(128),
        ..Defaults::default()
    };
    let engine = configure(ENGINE, &defaults.component()?)?;
    let llm = Llm::start(&Component::new(&Engine::default(), engine)?, models)?;

    let stream = llm.call(move |host, store| {
        let options = ModelOptions {
            context_length: None,
        };
        let models = host.llm_wasi_llm_models();
        let model = models.model().call_open(&mut *store, None, options)??;
        let generation = host.llm_wasi_llm_generation();
        Ok(generation.call_stream_chat(store, model, &[user(question)], &NO_OPTIONS)??)
    });
    let mut events = pin!(llm.events(stream.await?));
    while let Some(event) = events.try_next().await? {
        match event {
            Event::Text(piece) => print!("{}", piece.text),
            Event::ToolCall(call) => print!("{}({})", call.name, call.arguments),
            Event::Finish(finish) => println!("\n{} tokens", finish.usage.generated_tokens),
        }
        std::io::stdout().flush()?;
    }
    Ok(())
}

fn user(text: String) -> Message {
    Message {
        role: Role::User,
        content: vec![Part::Text(text)],
        tool_calls: Vec::new(),
        tool_call_id: None,
    }
}

const NO_OPTIONS: Options = Options {
    sampling: None,
    limits: None,
    format: None,
    logprobs: None,
    tools: None,
    tool_choice: None,
};
