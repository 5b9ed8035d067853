//! What docs/app.md shows: `guide converse`, `guide json TEXT`, `guide tools TEXT`, `guide embed TEXT...`.

use llm_wasi::llm::generation::{
    Answer, Conversation, Message, Options, Part, Role, Tool, ToolCall, chat,
};
use llm_wasi::llm::models::{EmbeddingOptions, Model, ModelOptions};
use llm_wasi::llm::types::{Error, Format};

wit_bindgen::generate!({
    path: ["../../wit/wasi-io.wit", "../../wit/llm.wit"],
    world: "llm-wasi:llm/app",
    generate_all,
});

const USAGE: &str = "usage: guide converse | json TEXT | tools TEXT | embed TEXT...";

fn main() {
    let words: Vec<String> = std::env::args().skip(1).collect();
    if let Err(message) = run(&words) {
        eprintln!("error: {message}");
        std::process::exit(1);
    }
}

fn run(words: &[String]) -> Result<(), String> {
    let Some((what, texts)) = words.split_first() else {
        return Err(USAGE.to_owned());
    };
    let text = texts.join(" ");
    let options = ModelOptions {
        context_length: Some(2048),
    };
    let model = Model::open(None, options).map_err(|error| advice(&error))?;
    let done = match what.as_str() {
        "converse" => converse(&model),
        "json" => json(&model, &text),
        "tools" => with_tools(&model, &text),
        "embed" => similarities(&model, texts),
        _ => return Err(USAGE.to_owned()),
    };
    done.map_err(|error| advice(&error))
}

/// What to do, for whoever runs the program.
fn advice(error: &Error) -> String {
    match error {
        Error::ModelNotFound(missing) => {
            format!(
                "no model `{}`; there are {:?}",
                missing.name, missing.available
            )
        }
        Error::PromptTooLong(long) => {
            format!(
                "{} tokens, at most {}: ask in fewer words",
                long.prompt_tokens, long.most
            )
        }
        Error::Busy => "the host is at a limit: try again later".to_owned(),
        Error::Unsupported(what) => format!("this model cannot do it: {what}"),
        other => other.to_string(),
    }
}

/// Every field left out: what is configured counts, else the default.
fn as_configured() -> Options {
    Options {
        sampling: None,
        limits: None,
        format: None,
        logprobs: None,
        tools: None,
        tool_choice: None,
    }
}

fn message(role: Role, text: &str) -> Message {
    Message {
        role,
        content: vec![Part::Text(text.to_owned())],
        tool_calls: Vec::new(),
        tool_call_id: None,
    }
}

/// Each line of standard input is a turn. What is saved at the end is enough to go on elsewhere.
fn converse(model: &Model) -> Result<(), Error> {
    let conversation = Conversation::begin(model, &[], &as_configured())?;
    for line in std::io::stdin().lines().map_while(Result::ok) {
        let answer = conversation.say(&message(Role::User, &line))?;
        let usage = answer.finish.usage;
        println!("{}", answer.text);
        println!(
            "({} of {} tokens were known)",
            usage.cached_tokens, usage.prompt_tokens
        );
    }
    let saved = conversation.save();
    let restored = Conversation::restore(model, &saved)?;
    println!("{} messages restored", restored.messages().len());
    Ok(())
}

const CITY: &str = r#"{
  "type": "object",
  "properties": { "city": { "type": "string" }, "country": { "type": "string" } },
  "required": ["city", "country"],
  "additionalProperties": false
}"#;

/// The answer is JSON that the schema describes, whatever the model would rather say.
fn json(model: &Model, question: &str) -> Result<(), Error> {
    let options = Options {
        format: Some(Format::JsonSchema(CITY.to_owned())),
        ..as_configured()
    };
    let answer = chat(model, &[message(Role::User, question)], &options)?;
    println!("{}", answer.text);
    Ok(())
}

/// The model may call a tool, and gets its result, until it answers; four times at most.
fn with_tools(model: &Model, question: &str) -> Result<(), Error> {
    let clock = Tool {
        name: "time".to_owned(),
        description: "The time now, in seconds since 1970.".to_owned(),
        parameters: r#"{"type": "object", "properties": {}}"#.to_owned(),
    };
    let options = Options {
        tools: Some(vec![clock]),
        ..as_configured()
    };
    let mut messages = vec![message(Role::User, question)];
    for _ in 0..4 {
        let Answer {
            text, tool_calls, ..
        } = chat(model, &messages, &options)?;
        if tool_calls.is_empty() {
            println!("{text}");
            break;
        }
        let results: Vec<_> = tool_calls.iter().map(result_of).collect();
        messages.push(Message {
            tool_calls,
            ..message(Role::Assistant, &text)
        });
        messages.extend(results);
    }
    Ok(())
}

fn result_of(call: &ToolCall) -> Message {
    let text = match (call.name.as_str(), std::time::UNIX_EPOCH.elapsed()) {
        ("time", Ok(time)) => time.as_secs().to_string(),
        _ => "there is no such tool".to_owned(),
    };
    Message {
        tool_call_id: Some(call.id.clone()),
        ..message(Role::Tool, &text)
    }
}

/// How near each text is to the first one: 1 is the same direction.
fn similarities(model: &Model, texts: &[String]) -> Result<(), Error> {
    let options = EmbeddingOptions {
        normalize: None,
        dimensions: None,
    };
    let found = model.embed(texts, options)?;
    for (text, vector) in texts.iter().zip(&found.vectors) {
        let product: f32 = vector
            .iter()
            .zip(&found.vectors[0])
            .map(|(a, b)| a * b)
            .sum();
        println!("{product:.2}  {text}");
    }
    Ok(())
}
