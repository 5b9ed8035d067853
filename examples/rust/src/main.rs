//! Asks a model, and prints its answer as it comes.

use llm_wasi::llm::generation::{Event, Message, Options, Part, Role, stream_chat};
use llm_wasi::llm::models::{Model, ModelOptions};
use llm_wasi::llm::types::Error;
use std::io::Write;

wit_bindgen::generate!({
    path: ["../../wit/wasi-io.wit", "../../wit/llm.wit"],
    world: "llm-wasi:llm/app",
    generate_all,
});

fn main() {
    let question = std::env::args().skip(1).collect::<Vec<_>>().join(" ");
    if let Err(error) = ask(question) {
        eprintln!("error: {error}");
        std::process::exit(1);
    }
}

fn ask(question: String) -> Result<(), Error> {
    let model = Model::open(
        None,
        ModelOptions {
            context_length: None,
        },
    )?;
    let message = Message {
        role: Role::User,
        content: vec![Part::Text(question)],
        tool_calls: Vec::new(),
        tool_call_id: None,
    };
    let options = Options {
        sampling: None,
        limits: None,
        format: None,
        logprobs: None,
        tools: None,
        tool_choice: None,
    };
    let stream = stream_chat(&model, &[message], &options)?;
    while let Some(event) = stream.next()? {
        match event {
            Event::Text(piece) => print!("{}", piece.text),
            Event::ToolCall(call) => print!("{}({})", call.name, call.arguments),
            Event::Finish(finish) => {
                let usage = finish.usage;
                println!();
                let seconds = (usage.total_time - usage.first_token_time) as f64 / 1e6;
                let rate = f64::from(usage.generated_tokens.saturating_sub(1)) / seconds;
                eprintln!("{} tokens, {rate:.1} per second", usage.generated_tokens);
            }
        }
        let _ = std::io::stdout().flush();
    }
    Ok(())
}
