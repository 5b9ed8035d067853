//! Renders a conversation with the model's own chat template, as the model was trained to see it.
//!
//! Chat templates are Jinja in the dialect of Hugging Face's transformers: blocks trimmed, loop
//! controls, methods of Python's strings, and the functions `raise_exception` and `strftime_now`.

use crate::clock::strftime_now;
use crate::history::{Message, Role};
use minijinja::syntax::SyntaxConfig;
use minijinja::value::{Kwargs, Value, ValueKind};
use minijinja::{Environment, Error, ErrorKind, context};
use minijinja_contrib::pycompat::unknown_method_callback;

/// What a model without a template gets: ChatML.
pub(crate) const CHATML: &str = "\
{%- for message in messages -%}
<|im_start|>{{ message.role }}
{{ message.content }}<|im_end|>
{% endfor -%}
{%- if add_generation_prompt -%}
<|im_start|>assistant
{% endif -%}";

const NAME: &str = "chat template";
/// How many steps of the template, and 64 bytes of its texts, a conversation may take.
const FUEL: u64 = 10_000_000;
/// An answer to look for in a rendered conversation.
const MARK: &str = "MARK-OF-AN-ANSWER";

/// A chat template with the texts of its special tokens.
pub(crate) struct Template {
    environment: Environment<'static>,
    bos: String,
    eos: String,
}

impl Template {
    /// Reads a template.
    pub(crate) fn new(source: &str, bos: &str, eos: &str) -> Result<Self, String> {
        let syntax = SyntaxConfig::builder()
            .trim_blocks(true)
            .lstrip_blocks(true)
            .build()
            .map_err(|error| describe(&error))?;
        let mut environment = Environment::new();
        environment.set_syntax(syntax);
        environment.set_fuel(Some(FUEL));
        environment.set_unknown_method_callback(unknown_method_callback);
        environment.add_function("raise_exception", raise_exception);
        environment.add_function("strftime_now", |format: String| strftime_now(&format));
        environment.add_filter("tojson", tojson);
        environment
            .add_template_owned(NAME, without_generation_blocks(source))
            .map_err(|error| describe(&error))?;
        Ok(Self {
            environment,
            bos: bos.to_owned(),
            eos: eos.to_owned(),
        })
    }

    /// The prompt that makes the model answer the last message.
    ///
    /// Some templates refuse a system prompt: then the first message of the user begins with it.
    pub(crate) fn prompt(&self, messages: &[Message]) -> Result<String, String> {
        let error = match self.render(messages, true) {
            Ok(prompt) => return Ok(prompt),
            Err(error) => error,
        };
        match messages {
            [system, user, rest @ ..] if system.role == Role::System => {
                let content = format!("{}\n\n{}", system.content, user.content);
                let mut messages = vec![Message::new(user.role, content)];
                messages.extend_from_slice(rest);
                self.render(&messages, true)
            }
            _ => Err(error),
        }
    }

    /// The text that follows an answer, if the template has one: it ends the answer, whether or not
    /// the model's file says so of its token.
    pub(crate) fn end_of_answer(&self) -> Option<String> {
        let messages = [
            Message::new(Role::User, "Hello"),
            Message::new(Role::Assistant, MARK),
        ];
        let text = self.render(&messages, false).ok()?;
        let (_, rest) = text.split_once(MARK)?;
        let line = rest.trim_start().lines().next()?.trim_end();
        (!line.is_empty()).then(|| line.to_owned())
    }

    fn render(&self, messages: &[Message], add_generation_prompt: bool) -> Result<String, String> {
        let messages: Vec<Value> = messages
            .iter()
            .map(|message| context! { role => message.role.name(), content => &*message.content })
            .collect();
        self.environment
            .get_template(NAME)
            .and_then(|template| {
                template.render(context! {
                    messages,
                    add_generation_prompt,
                    bos_token => &*self.bos,
                    eos_token => &*self.eos,
                    // Templates compare these with `none`.
                    tools => (),
                    documents => (),
                })
            })
            .map_err(|error| describe(&error))
    }
}

/// Transformers marks what a model is trained on with `generation` blocks, which render as they are.
fn without_generation_blocks(source: &str) -> String {
    let mut text = String::new();
    let mut rest = source;
    while let Some((before, after)) = rest.split_once("{%") {
        text.push_str(before);
        text.push_str("{%");
        let Some((tag, following)) = after.split_once("%}") else {
            rest = after;
            break;
        };
        match tag.trim_matches(['-', '+']).trim() {
            "generation" => text.push_str(&tag.replace("generation", "if true")),
            "endgeneration" => text.push_str(&tag.replace("endgeneration", "endif")),
            _ => text.push_str(tag),
        }
        text.push_str("%}");
        rest = following;
    }
    text.push_str(rest);
    text
}

fn raise_exception(message: String) -> Result<Value, Error> {
    Err(Error::new(ErrorKind::InvalidOperation, message))
}

/// JSON as Python writes it; the filter of the same name in minijinja escapes for HTML.
fn tojson(value: &Value, _: Kwargs) -> Result<String, Error> {
    let mut text = String::new();
    write_json(value, &mut text)?;
    Ok(text)
}

fn write_json(value: &Value, text: &mut String) -> Result<(), Error> {
    match value.kind() {
        ValueKind::None | ValueKind::Undefined => text.push_str("null"),
        ValueKind::Bool => text.push_str(if value.is_true() { "true" } else { "false" }),
        ValueKind::Number => text.push_str(&value.to_string()),
        ValueKind::Map => {
            text.push('{');
            for (i, key) in value.try_iter()?.enumerate() {
                text.push_str(if i > 0 { ", " } else { "" });
                text.push_str(&quoted(&key.to_string()));
                text.push_str(": ");
                write_json(&value.get_item(&key)?, text)?;
            }
            text.push('}');
        }
        ValueKind::Seq | ValueKind::Iterable => {
            text.push('[');
            for (i, item) in value.try_iter()?.enumerate() {
                text.push_str(if i > 0 { ", " } else { "" });
                write_json(&item, text)?;
            }
            text.push(']');
        }
        _ => text.push_str(&quoted(&value.to_string())),
    }
    Ok(())
}

fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// The error and its place, without the template around it.
fn describe(error: &Error) -> String {
    let what = error
        .detail()
        .map_or_else(|| error.kind().to_string(), str::to_owned);
    match error.line() {
        Some(line) => format!("{what} (line {line} of the template)"),
        None => what,
    }
}

#[cfg(test)]
mod tests;
