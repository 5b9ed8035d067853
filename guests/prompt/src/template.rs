//! Renders a conversation with the model's own chat template, as the model was trained to see it.
//!
//! 1. `source` prepares the template, `dialect` is the Jinja of chat templates, `bound` keeps its values small, and `json` is
//!    its filter `tojson`.
//! 2. `probe` finds out what a template supports, by rendering small conversations.
//! 3. `values` makes the template's variables of messages and tools, in the shape that it wants.

mod bound;
mod dialect;
mod json;
mod probe;
mod source;
mod values;

use crate::message::{Message, Role, Tool};
use minijinja::value::Value;
use minijinja::{Environment, Error};
use probe::Support;
use values::Shape;

/// What a model without a template gets: ChatML.
pub const CHATML: &str = "\
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
/// The same for one of the small conversations that show what a template supports.
const FUEL_TO_PROBE: u64 = 200_000;
/// An answer to look for in a rendered conversation.
const MARK: &str = "MARK-OF-AN-ANSWER";

/// A chat template with the texts of its special tokens.
#[derive(Debug)]
pub struct Template {
    environment: Environment<'static>,
    bos: String,
    eos: String,
    support: Support,
}

/// How a prompt is rendered.
#[derive(Clone, Debug)]
pub struct Options {
    /// Whether the prompt ends with the beginning of an answer.
    pub add_generation_prompt: bool,
    /// More variables for the template, such as `enable_thinking`; others are not defined.
    pub variables: serde_json::Map<String, serde_json::Value>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            add_generation_prompt: true,
            variables: serde_json::Map::new(),
        }
    }
}

impl Template {
    /// Reads a template.
    pub fn new(source: &str, bos: &str, eos: &str) -> Result<Self, String> {
        let mut environment = dialect::environment().map_err(|error| describe(&error))?;
        environment
            .add_template_owned(NAME, source::prepared(source)?)
            .map_err(|error| describe(&error))?;
        let mut template = Self {
            environment,
            bos: bos.to_owned(),
            eos: eos.to_owned(),
            support: Support::default(),
        };
        template.environment.set_fuel(Some(FUEL_TO_PROBE));
        template.support = Support::of(&template);
        template.environment.set_fuel(Some(FUEL));
        Ok(template)
    }

    /// The prompt that makes the model answer the last message.
    ///
    /// Some templates take no system prompt: then the first message of the user begins with it.
    pub fn prompt(
        &self,
        messages: &[Message],
        tools: &[Tool],
        options: &Options,
    ) -> Result<String, String> {
        match messages {
            [system, rest @ ..] if system.role == Role::System && !self.support.system => {
                let messages = merged(system, rest);
                self.render(&messages, tools, options, self.support.shape)
            }
            _ => self.render(messages, tools, options, self.support.shape),
        }
    }

    /// Whether the template shows a system prompt to the model as one.
    pub fn supports_system(&self) -> bool {
        self.support.system
    }

    /// Whether the template tells the model of tools.
    pub fn supports_tools(&self) -> bool {
        self.support.tools
    }

    /// Whether the template shows the model what it called.
    pub fn supports_tool_calls(&self) -> bool {
        self.support.tool_calls
    }

    /// Whether the template shows the model what tools answered.
    pub fn supports_tool_results(&self) -> bool {
        self.support.tool_results
    }

    /// Whether the template shows the model several calls of one answer.
    pub fn supports_parallel_calls(&self) -> bool {
        self.support.parallel_calls
    }

    /// The text that follows an answer, if the template has one: it ends the answer, whether or not
    /// the model's file says so of its token.
    pub fn end_of_answer(&self) -> Option<String> {
        let messages = [
            Message::new(Role::User, "Hello"),
            Message::new(Role::Assistant, MARK),
        ];
        let options = Options {
            add_generation_prompt: false,
            ..Options::default()
        };
        let text = self.prompt(&messages, &[], &options).ok()?;
        let (_, rest) = text.split_once(MARK)?;
        let line = rest.trim_start().lines().next()?.trim_end();
        (!line.is_empty()).then(|| line.to_owned())
    }

    fn render(
        &self,
        messages: &[Message],
        tools: &[Tool],
        options: &Options,
        shape: Shape,
    ) -> Result<String, String> {
        let mut variables: Vec<(&str, Value)> = Vec::new();
        for (name, value) in &options.variables {
            variables.push((name, values::of_json(value)));
        }
        // Templates compare tools and documents with `none`.
        let tools = match tools {
            [] => Value::from(()),
            tools => values::of_tools(tools)?,
        };
        variables.extend([
            ("messages", values::of_messages(messages, shape)?),
            ("tools", tools),
            (
                "add_generation_prompt",
                options.add_generation_prompt.into(),
            ),
            ("bos_token", Value::from(&*self.bos)),
            ("eos_token", Value::from(&*self.eos)),
        ]);
        if !options.variables.contains_key("documents") {
            variables.push(("documents", Value::from(())));
        }
        self.environment
            .get_template(NAME)
            .and_then(|template| template.render(Value::from_pairs(variables)))
            .map_err(|error| describe(&error))
    }
}

/// The messages without the system prompt, which the first message of the user begins with.
fn merged(system: &Message, rest: &[Message]) -> Vec<Message> {
    let mut messages = rest.to_vec();
    match messages.first_mut() {
        Some(first) if first.role == Role::User => {
            first.content = format!("{}\n\n{}", system.content, first.content);
        }
        _ => messages.insert(0, Message::new(Role::User, &*system.content)),
    }
    messages
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
