//! `llm-wasi chat`
//!
//! The conversation is a guest, `guests/chat`: it renders prompts, keeps the history and obeys commands.
//! What is left here:
//!
//! 1. The model's header gives the chat template and its special tokens.
//! 2. The guest becomes a component and gets these, and the options, as JSON in an environment variable.
//! 3. It runs with the standard streams, or behind a line editor ([`terminal`]) where people type.

mod pipe;
mod terminal;
#[cfg(unix)]
mod tidy;

use crate::failure::Failure;
use crate::isolation::IsolationArgs;
use crate::{models, progress};
use clap::Args;
use llm_wasi_componentize::{Options, componentize};
use llm_wasi_host::Preload;
use llm_wasi_host::backend::ggml::options::TABLE;
use llm_wasi_host::backend::{Encoding, Target};
use llm_wasi_host::gguf::Gguf;
use llm_wasi_host::runner::Runner;
use serde_json::{Map, Value, json};
use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Talk with a language model.
///
/// On a terminal it asks for one prompt after the other; `/help` lists the commands, Ctrl-C stops an
/// answer. In a pipe each line is a prompt, and standard output gets the answers alone.
///
/// The conversation is a WebAssembly component in a sandbox: it has the model, but no files and no
/// network.
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Opts {
    /// A language model: a GGUF file, or the name of a stored one (`llm-wasi model list`).
    model: String,

    /// What the model is told before the conversation.
    #[arg(long, value_name = "TEXT")]
    system: Option<String>,

    /// Answer this and end.
    #[arg(long, short, value_name = "TEXT")]
    prompt: Option<String>,

    /// Temperature of sampling; 0 always takes the likeliest token.
    #[arg(long, value_name = "X", allow_negative_numbers = true, value_parser = finite)]
    temp: Option<f64>,

    /// Sample from the likeliest tokens that make up this probability.
    #[arg(long, value_name = "X", value_parser = finite)]
    top_p: Option<f64>,

    /// Seed of sampling, for answers that come again; -1 is another one each time.
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    #[arg(value_parser = clap::value_parser!(i64).range(-1..=u32::MAX.into()))]
    seed: Option<i64>,

    /// Tokens of prompt and answer together.
    ///
    /// Without it, as many as the model was trained with, but at most 8192.
    #[arg(long, value_name = "N")]
    ctx_size: Option<u32>,

    /// The most tokens of an answer.
    #[arg(long, value_name = "N")]
    n_predict: Option<u32>,

    /// Set another option of the backend; may be repeated. docs/options.md has them all; the
    /// command `/set` lists those that can change in a conversation.
    #[arg(long, value_name = "OPTION=VALUE", value_parser = option)]
    set: Vec<(String, Value)>,

    /// The device that computes: CPU, GPU or AUTO.
    #[arg(long, value_name = "DEVICE", default_value = "AUTO")]
    target: Target,

    /// Use the chat template in this file, not the model's own.
    #[arg(long, value_name = "FILE")]
    chat_template: Option<PathBuf>,

    #[command(flatten)]
    isolation: IsolationArgs,
}

const EXAMPLES: &str = "\
Examples:

    # Talk.
    $ llm-wasi chat model.gguf

    # One answer, the same each time.
    $ llm-wasi chat model.gguf --temp 0 --prompt \"What is the capital of France?\"

    # A conversation from a file: each line is a prompt.
    $ llm-wasi chat model.gguf --system \"Answer in one word.\" < prompts.txt > answers.txt";

/// The conversation, a core module over `llm-wasi:nn`; guests/build.sh makes it.
const GUEST: &[u8] = include_bytes!("../../../guests/wasm/chat.wasm");
/// Where the guest looks for its settings.
const SETTINGS: &str = "LLM_WASI_CHAT";
/// The model's name between host and guest.
const MODEL: &str = "chat";
/// The most tokens of a context that nobody asked for.
const USUAL_CONTEXT: u64 = 8192;
/// Tokens of a prompt in one call: as many as llama.cpp computes at once. Ctrl-C is heard between them.
const BATCH: u64 = 512;
/// Options of the backend that a conversation does not need, or that count only when the model is
/// loaded.
const NOT_FOR_CHAT: [&str; 13] = [
    "ctx-shift",
    "embd-normalize",
    "embedding",
    "enable-debug-log",
    "enable-log",
    "main-gpu",
    "n-gpu-layers",
    "pooling-type",
    "split-mode",
    "stream-stdout",
    "typical",
    "use-mlock",
    "use-mmap",
];
/// Options that the guest obeys, with what they mean there.
const IN_CHAT: [(&str, &str); 2] = [
    (
        "n-predict",
        "the most tokens of an answer; negative is no limit",
    ),
    ("reverse-prompt", "an answer ends before this"),
];

/// JSON has no other numbers.
fn finite(text: &str) -> Result<f64, &'static str> {
    let number = text.parse().ok().filter(|number: &f64| number.is_finite());
    number.ok_or("expected a number")
}

fn option(text: &str) -> Result<(String, Value), String> {
    let (name, value) = text
        .split_once('=')
        .filter(|(name, _)| !name.is_empty())
        .ok_or("expected OPTION=VALUE")?;
    if !TABLE.iter().any(|spec| spec.name == name) {
        let names: Vec<_> = TABLE.iter().map(|spec| spec.name).collect();
        return Err(format!("expected one of {}", names.join(", ")));
    }
    let value = match serde_json::from_str(value) {
        Ok(value @ (Value::Bool(_) | Value::Number(_) | Value::String(_))) => value,
        _ => Value::from(value),
    };
    Ok((name.to_owned(), value))
}

impl Opts {
    pub(crate) fn run(self) -> Result<ExitCode, Failure> {
        let paths = models::locate(&self.model)?.files;
        let gguf = header(&paths[0])?;
        let on_terminal = self.prompt.is_none()
            && std::io::stdin().is_terminal()
            && std::io::stdout().is_terminal();
        let settings = self.settings(&gguf, on_terminal)?;
        let component = component()?;
        let monitor = progress::monitor();
        let preload = Preload {
            name: MODEL.to_owned(),
            encoding: Encoding::Ggml,
            target: self.target,
            paths,
            configuration: None,
        };
        let runner = Runner::builder()
            .arg(MODEL)
            .env(SETTINGS, settings.to_string())
            .preload(preload)
            .monitor(monitor.clone());
        let ended = self
            .isolation
            .apply(runner)?
            .build()
            .and_then(|runner| match on_terminal {
                true => {
                    let name = gguf.text("general.name").unwrap_or(&self.model);
                    terminal::converse(&runner, &component, monitor, name)
                }
                false => pipe::converse(&runner, &component),
            });
        progress::clear();
        let code = ended.map_err(|error| {
            Failure::new("the conversation broke off")
                .causes(&error)
                .next_step("RUST_LOG=debug shows what the host told the conversation")
        })?;
        Ok(ExitCode::from(u8::try_from(code).unwrap_or(1)))
    }

    /// What the guest gets to know.
    fn settings(&self, gguf: &Gguf, framed: bool) -> Result<Value, Failure> {
        let template = match &self.chat_template {
            Some(path) => Some(read_template(path)?),
            None => gguf.text("tokenizer.chat_template").map(str::to_owned),
        };
        let special = |key| gguf.special_tokens.get(key).map_or("", String::as_str);
        let known: Vec<Value> = TABLE
            .iter()
            .filter(|spec| !NOT_FOR_CHAT.contains(&spec.name))
            .map(|spec| {
                let here = IN_CHAT.iter().find(|(name, _)| *name == spec.name);
                let meaning = here.map_or(spec.meaning, |(_, meaning)| meaning);
                json!({ "name": spec.name, "default": spec.default, "meaning": meaning })
            })
            .collect();
        Ok(json!({
            "model": MODEL,
            "template": template,
            "bos": special("tokenizer.ggml.bos_token_id"),
            "eos": special("tokenizer.ggml.eos_token_id"),
            "system": self.system,
            "options": self.options(gguf),
            "known-options": known,
            "prompt": self.prompt,
            "framed": framed,
            "plain": std::io::stdout().is_terminal(),
        }))
    }

    /// The backend's options. The backend checks their values.
    fn options(&self, gguf: &Gguf) -> Map<String, Value> {
        let trained = gguf.architecture_number("context_length");
        let context = match self.ctx_size {
            Some(size) => size.into(),
            None => trained.map_or(USUAL_CONTEXT, |size| size.min(USUAL_CONTEXT)),
        };
        let named = [
            ("temp", self.temp.map(Value::from)),
            ("top-p", self.top_p.map(Value::from)),
            ("seed", self.seed.map(Value::from)),
            ("n-predict", self.n_predict.map(Value::from)),
            ("ctx-size", Some(context.into())),
            ("batch-size", Some(BATCH.into())),
        ];
        let mut options: Map<String, Value> = named
            .into_iter()
            .filter_map(|(name, value)| Some((name.to_owned(), value?)))
            .collect();
        options.extend(self.set.iter().cloned());
        options
    }
}

fn header(path: &Path) -> Result<Gguf, Failure> {
    Gguf::open(path).map_err(|error| {
        Failure::new(format!("{} is no model to talk with", path.display()))
            .cause(&error)
            .expected("a language model as a GGUF file")
            .next_step("check the path")
    })
}

fn read_template(path: &Path) -> Result<String, Failure> {
    std::fs::read_to_string(path).map_err(|error| {
        Failure::new(format!("cannot read {}", path.display()))
            .cause(&error)
            .expected("a chat template, in Jinja")
            .next_step("check the path given to --chat-template")
    })
}

fn component() -> Result<Vec<u8>, Failure> {
    let done = componentize(GUEST, &Options::default())
        .map_err(|refusal| Failure::refusal(Some(&"guests/wasm/chat.wasm"), refusal))?;
    Ok(done.bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_that_chat_knows_of_are_there() {
        let there = |name: &&str| TABLE.iter().any(|spec| spec.name == *name);
        assert!(NOT_FOR_CHAT.iter().all(there));
        assert!(IN_CHAT.iter().map(|(name, _)| name).all(there));
    }

    #[test]
    fn options_have_names_and_values() {
        let pair = |name: &str, value: Value| Ok((name.to_owned(), value));
        assert_eq!(option("top-k=5"), pair("top-k", 5.into()));
        assert_eq!(option("min-p=0.5"), pair("min-p", 0.5.into()));
        assert_eq!(
            option("grammar=root ::= \"a\""),
            pair("grammar", "root ::= \"a\"".into())
        );
        for wrong in ["top-k", "=5", "top_k=5"] {
            assert!(option(wrong).is_err(), "{wrong}");
        }
    }
}
