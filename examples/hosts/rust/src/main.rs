//! Talks with a model, and prints its answers as they come: `ask-host MODEL.gguf QUESTION...`.

use anyhow::{Context, Result, ensure};
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
    let usage = "expected a model and questions: ask-host MODEL.gguf QUESTION...";
    let mut arguments = std::env::args().skip(1);
    let path = arguments.next().context(usage)?;
    let questions: Vec<_> = arguments.collect();
    ensure!(!questions.is_empty(), usage);

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

    let conversation = llm.call(|host, store| {
        let options = ModelOptions {
            context_length: None,
        };
        let models = host.llm_wasi_llm_models();
        let model = models.model().call_open(&mut *store, None, options)??;
        let conversations = host.llm_wasi_llm_generation().conversation();
        Ok(conversations.call_begin(store, model, &[], &NO_OPTIONS)??)
    });
    let conversation = conversation.await?;
    for question in questions {
        println!("> {question}");
        let stream = llm.call(move |host, store| {
            let conversations = host.llm_wasi_llm_generation().conversation();
            Ok(conversations.call_stream_answer(store, conversation, &user(question))??)
        });
        let mut events = pin!(llm.events(stream.await?));
        while let Some(event) = events.try_next().await? {
            match event {
                Event::Text(piece) => print!("{}", piece.text),
                Event::ToolCall(call) => print!("{}({})", call.name, call.arguments),
                Event::Finish(finish) => {
                    let usage = finish.usage;
                    let new = usage.prompt_tokens - usage.cached_tokens;
                    println!("\n({new} + {} tokens)", usage.generated_tokens);
                }
            }
            std::io::stdout().flush()?;
        }
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
