//! `llm-wasi model info`

use crate::commands::inspect::json;
use crate::failure::Failure;
use crate::models::facts::{Facts, Memory};
use crate::models::{Located, locate};
use crate::text::{number, plain, print, size, tame, tame_line};
use clap::Args;
use serde_json::{Value, json};
use std::fmt::Write;
use std::process::ExitCode;

/// Say what a model is, and about how much memory it will take.
///
/// What GGUF files say is shown; of ONNX and OpenVINO IR the encoding and the size. The memory is an
/// estimate: the weights, the KV cache of the context in f16, and a rough compute buffer.
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Opts {
    /// Name of a stored model, or path of a model's file.
    #[arg(value_name = "MODEL")]
    model: String,

    /// Tokens of the context whose memory is estimated [default: what the model was trained with].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=1 << 24))]
    ctx_size: Option<u64>,

    /// Print the chat template, and nothing else.
    #[arg(long, conflicts_with = "json")]
    template: bool,

    /// Print JSON.
    #[arg(long)]
    json: bool,
}

const EXAMPLES: &str = "\
Examples:

    # Does it fit into memory with a context of 8192 tokens?
    $ llm-wasi model info --ctx-size 8192 smollm2

    # How does it want to be talked to?
    $ llm-wasi model info --template model.gguf

    # The estimate in bytes, for a script.
    $ llm-wasi model info --json model.gguf | jq .gguf.memory.total";

impl Opts {
    pub(crate) fn run(self) -> Result<ExitCode, Failure> {
        let located = locate(&self.model)?;
        let facts = Facts::read(&located, self.ctx_size)?;
        let text = if self.template {
            template(&self.model, &facts)?
        } else if self.json {
            json(&to_json(&located, &facts))?
        } else {
            to_text(&located, &facts)
        };
        print(&text)?;
        Ok(ExitCode::SUCCESS)
    }
}

fn template(model: &str, facts: &Facts) -> Result<String, Failure> {
    let template = facts.gguf.as_ref().and_then(|g| g.chat_template.as_ref());
    let Some(template) = template else {
        return Err(Failure::new(format!("{model} has no chat template"))
            .expected("a GGUF model with `tokenizer.chat_template`")
            .next_step("use a model that is made for chats, often called `instruct` or `chat`"));
    };
    // The terminal need not obey what a file says.
    let mut text = tame(template).into_owned();
    text.push('\n');
    Ok(text)
}

fn to_json(located: &Located, facts: &Facts) -> Value {
    let files: Vec<_> = located.files.iter().map(|f| f.to_string_lossy()).collect();
    json!({
        "name": located.manifest.as_ref().map(|manifest| &manifest.name),
        "source": located.manifest.as_ref().map(|manifest| &manifest.source),
        "files": files,
        "encoding": facts.encoding.name(),
        "size": facts.size,
        "gguf": facts.gguf,
    })
}

fn to_text(located: &Located, facts: &Facts) -> String {
    let mut rows = Rows::default();
    if let Some(manifest) = &located.manifest {
        rows.row("name", manifest.name.as_str());
        rows.row("source", &plain(&manifest.source));
    }
    for file in &located.files {
        rows.row("file", &plain(&file.to_string_lossy()));
    }
    rows.row("encoding", facts.encoding.name());
    rows.row("size", &size(facts.size));
    let Some(gguf) = &facts.gguf else {
        return rows.0;
    };
    rows.text("title", &gguf.title);
    rows.text("licence", &gguf.license);
    rows.text("architecture", &gguf.architecture);
    rows.text("quantization", &gguf.quantization);
    rows.number("parameters", Some(gguf.parameters));
    rows.number("context length", gguf.context_length);
    rows.number("layers", gguf.layers);
    rows.number("embedding length", gguf.embedding_length);
    rows.number("vocabulary", gguf.vocabulary);
    match &gguf.chat_template {
        Some(template) => rows.row(
            "chat template",
            &format!(
                "{} characters; --template prints it",
                template.chars().count()
            ),
        ),
        None => rows.row("chat template", "none"),
    }
    if let Some(memory) = &gguf.memory {
        memory_rows(&mut rows, memory);
    }
    rows.0
}

fn memory_rows(rows: &mut Rows, memory: &Memory) {
    let about = |bytes: Option<u64>| bytes.map_or("unknown".to_string(), size);
    let context = number(memory.context);
    rows.row(
        "memory",
        &format!("an estimate, for a context of {context} tokens"),
    );
    rows.row("  weights", &size(memory.weights));
    rows.row("  KV cache (f16)", &about(memory.kv_cache));
    rows.row(
        "  compute buffer",
        &format!("{}, roughly", about(memory.compute_buffer)),
    );
    rows.row("  together", &about(memory.total));
}

/// Lines of a label and a text.
#[derive(Default)]
struct Rows(String);

impl Rows {
    fn row(&mut self, label: &str, text: &str) {
        // Writing to a string cannot fail.
        let _ = writeln!(self.0, "{label:<17} {}", tame_line(text));
    }

    fn text(&mut self, label: &str, text: &Option<String>) {
        if let Some(text) = text {
            self.row(label, &plain(text));
        }
    }

    fn number(&mut self, label: &str, found: Option<u64>) {
        if let Some(found) = found {
            self.row(label, &number(found));
        }
    }
}
