//! What a request asks for, checked and completed by the configured defaults.

use crate::bindings::exports::llm_wasi::llm::generation::{
    Message, Options, Tool as ApiTool, ToolChoice,
};
use crate::bindings::exports::llm_wasi::llm::types::{Format, Limits, Sampling};
use crate::bindings::llm_wasi::llm::configuration::{self, Defaults};
use crate::failure::{Failure, invalid};
use crate::model::Model;
use prompt::{Parser, Tool};
use serde_json::{Map, Value, json};
use std::fmt::Display;
use std::ops::RangeInclusive;
use std::time::Duration;

/// The backend's seed for a random one.
const RANDOM: u32 = u32::MAX;
const MAX_STOPS: usize = 16;
const MAX_LOGPROBS: u32 = 20;
/// The longest name of a tool.
const MAX_TOOL_NAME: usize = 64;

/// A checked request.
pub(crate) struct Request {
    /// The backend's options, a JSON object.
    pub(crate) backend: String,
    pub(crate) max_tokens: Option<u32>,
    pub(crate) stops: Vec<String>,
    pub(crate) time_limit: Option<Duration>,
    /// How many candidates each token comes with.
    pub(crate) logprobs: Option<u32>,
    /// Whether messages are answered; else a text is continued.
    pub(crate) chat: bool,
    /// Whether the text is of use only as a whole.
    pub(crate) formatted: bool,
    pub(crate) tools: Vec<Tool>,
    /// What the answer begins with, so that it is the call of a tool.
    pub(crate) forced: Option<String>,
    pub(crate) system_prompt: Option<String>,
}

impl Request {
    /// Checks a request. `chat` tells that there are messages: tools go with them only.
    pub(crate) fn new(model: &Model, options: &Options, chat: bool) -> Result<Self, Failure> {
        if !model.description().generates {
            return Err(Failure::Unsupported(format!(
                "model `{}` of architecture {} generates no text",
                model.name(),
                model.description().architecture
            )));
        }
        let defaults = configuration::get();
        let mut backend = sampling(options.sampling.as_ref(), &defaults)?;
        let limits = Limits {
            max_tokens: None,
            stop: None,
            time_limit: None,
        };
        let limits = options.limits.as_ref().unwrap_or(&limits);
        let stops = limits.stop.clone().unwrap_or(defaults.stop);
        if stops.len() > MAX_STOPS {
            return Err(invalid(
                "limits.stop",
                format!("expected at most {MAX_STOPS} texts, found {}", stops.len()),
            ));
        }
        if let Some(index) = stops.iter().position(String::is_empty) {
            return Err(invalid(
                format!("limits.stop[{index}]"),
                "expected a text, found an empty one",
            ));
        }
        let logprobs = options.logprobs;
        check("logprobs", logprobs, 0..=MAX_LOGPROBS)?;
        let mut formatted = format(options.format.as_ref(), &mut backend)?;
        let tools = match options.tools.as_deref().unwrap_or_default() {
            [] => Vec::new(),
            _ if !chat => {
                return Err(invalid(
                    "tools",
                    "expected none for a completion: use `chat`",
                ));
            }
            tools => read_tools(model, tools)?,
        };
        let (tools, forced) = match &options.tool_choice {
            None | Some(ToolChoice::Auto) => (tools, None),
            Some(ToolChoice::None) => (Vec::new(), None),
            Some(ToolChoice::Required) => {
                let forced = force(model, &tools, &mut backend, formatted)?;
                (tools, Some(forced))
            }
            Some(ToolChoice::Named(name)) => {
                let tools: Vec<_> = tools
                    .into_iter()
                    .filter(|tool| tool.name == *name)
                    .collect();
                if tools.is_empty() {
                    return Err(invalid(
                        "tool-choice",
                        format!("expected the name of a tool in `tools`, found `{name}`"),
                    ));
                }
                let forced = force(model, &tools, &mut backend, formatted)?;
                (tools, Some(forced))
            }
        };
        formatted |= forced.is_some();
        Ok(Self {
            backend: Value::Object(backend).to_string(),
            max_tokens: limits.max_tokens.or(defaults.max_tokens),
            stops,
            time_limit: limits
                .time_limit
                .or(defaults.time_limit)
                .map(|limit| Duration::from_millis(limit.into())),
            logprobs,
            chat,
            formatted,
            tools,
            forced,
            system_prompt: defaults.system_prompt,
        })
    }

    /// What reads the calls in an answer to these messages, whose prompt this is.
    pub(crate) fn parser(
        &self,
        model: &Model,
        messages: &[Message],
        prompt: &str,
    ) -> Option<Parser> {
        let format = model.call_format().filter(|_| !self.tools.is_empty())?;
        let calls = messages.iter().flat_map(|message| &message.tool_calls);
        let parser = Parser::new(format, &self.tools)
            .behind(calls.map(|call| call.id.as_str()))
            .behind_prompt(prompt);
        Some(parser)
    }

    /// The field that says what the text must look like, if one does.
    pub(crate) fn constraint(&self) -> Option<&'static str> {
        match (&self.forced, self.formatted) {
            (Some(_), _) => Some("tools"),
            (None, true) => Some("format"),
            (None, false) => None,
        }
    }
}

/// Fails if there is a value outside of the range.
fn check<T: PartialOrd + Display + Copy>(
    field: &str,
    value: Option<T>,
    range: RangeInclusive<T>,
) -> Result<Option<T>, Failure> {
    match value {
        Some(found) if !range.contains(&found) => Err(invalid(
            field,
            format!(
                "expected a number from {} to {}, found {found}",
                range.start(),
                range.end()
            ),
        )),
        _ => Ok(value),
    }
}

/// The backend's options for sampling; every one, since a context may have served another request.
fn sampling(
    sampling: Option<&Sampling>,
    defaults: &Defaults,
) -> Result<Map<String, Value>, Failure> {
    let asked = sampling.copied().unwrap_or(Sampling {
        temperature: None,
        top_p: None,
        top_k: None,
        min_p: None,
        repeat_penalty: None,
        presence_penalty: None,
        frequency_penalty: None,
        seed: None,
    });
    let mut options = Map::new();
    let mut number = |field: &str,
                      name: &str,
                      asked: Option<f32>,
                      configured: Option<f32>,
                      otherwise: f32,
                      range: RangeInclusive<f32>| {
        let value = check(field, asked.or(configured), range)?;
        options.insert(name.to_owned(), json!(value.unwrap_or(otherwise)));
        Ok::<(), Failure>(())
    };
    number(
        "sampling.temperature",
        "temp",
        asked.temperature,
        defaults.temperature,
        0.8,
        0.0..=2.0,
    )?;
    number(
        "sampling.top-p",
        "top-p",
        asked.top_p,
        defaults.top_p,
        0.95,
        0.0..=1.0,
    )?;
    number(
        "sampling.min-p",
        "min-p",
        asked.min_p,
        defaults.min_p,
        0.05,
        0.0..=1.0,
    )?;
    number(
        "sampling.repeat-penalty",
        "repeat-penalty",
        asked.repeat_penalty,
        defaults.repeat_penalty,
        1.0,
        0.01..=10.0,
    )?;
    number(
        "sampling.presence-penalty",
        "presence-penalty",
        asked.presence_penalty,
        defaults.presence_penalty,
        0.0,
        -2.0..=2.0,
    )?;
    number(
        "sampling.frequency-penalty",
        "frequency-penalty",
        asked.frequency_penalty,
        defaults.frequency_penalty,
        0.0,
        -2.0..=2.0,
    )?;
    let top_k = check(
        "sampling.top-k",
        asked.top_k.or(defaults.top_k),
        0..=1_000_000,
    )?;
    options.insert("top-k".into(), json!(top_k.unwrap_or(40)));
    // The backend takes the largest for a random one, which nobody means who names a seed.
    let seed = asked.seed.or(defaults.seed);
    let seed = seed.map_or(RANDOM, |seed| seed.min(RANDOM - 1));
    options.insert("seed".into(), json!(seed));
    options.insert("n-predict".into(), json!(-1));
    Ok(options)
}

/// Adds what the text must look like. Whether it must look like anything.
fn format(format: Option<&Format>, backend: &mut Map<String, Value>) -> Result<bool, Failure> {
    let (grammar, schema) = match format {
        None | Some(Format::Text) => ("", String::new()),
        Some(Format::Json) => ("", "{}".to_owned()),
        Some(Format::JsonSchema(schema)) => {
            object("format", schema)?;
            ("", schema.clone())
        }
        Some(Format::Grammar(grammar)) if grammar.trim().is_empty() => {
            return Err(invalid("format", "expected a grammar, found an empty text"));
        }
        Some(Format::Grammar(grammar)) => (grammar.as_str(), String::new()),
    };
    backend.insert("grammar".into(), json!(grammar));
    if !schema.is_empty() || grammar.is_empty() {
        backend.insert("json-schema".into(), json!(schema));
    }
    Ok(!matches!(format, None | Some(Format::Text)))
}

/// A JSON object.
fn object(field: &str, text: &str) -> Result<Value, Failure> {
    match serde_json::from_str(text) {
        Ok(value @ Value::Object(_)) => Ok(value),
        Ok(_) => Err(invalid(field, "expected a JSON object, found other JSON")),
        Err(error) => Err(invalid(field, format!("expected a JSON object: {error}"))),
    }
}

fn read_tools(model: &Model, tools: &[ApiTool]) -> Result<Vec<Tool>, Failure> {
    if !model.takes_tools() {
        return Err(Failure::Unsupported(format!(
            "the chat template of model `{}` has no place for tools, or their calls cannot be read",
            model.name()
        )));
    }
    let mut read: Vec<Tool> = Vec::new();
    for (index, tool) in tools.iter().enumerate() {
        let name_fits = (1..=MAX_TOOL_NAME).contains(&tool.name.len())
            && tool
                .name
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'));
        if !name_fits {
            return Err(invalid(
                format!("tools[{index}].name"),
                format!(
                    "expected at most {MAX_TOOL_NAME} letters, digits, `_` and `-`, found `{}`",
                    tool.name
                ),
            ));
        }
        if read.iter().any(|other| other.name == tool.name) {
            return Err(invalid(
                format!("tools[{index}].name"),
                format!("expected each name once, found `{}` again", tool.name),
            ));
        }
        object(&format!("tools[{index}].parameters"), &tool.parameters)?;
        read.push(Tool {
            name: tool.name.clone(),
            description: tool.description.clone(),
            parameters: tool.parameters.clone(),
        });
    }
    Ok(read)
}

/// Makes the answer the call of one of the tools: it begins as such calls do, and goes on with JSON that
/// describes one.
fn force(
    model: &Model,
    tools: &[Tool],
    backend: &mut Map<String, Value>,
    formatted: bool,
) -> Result<String, Failure> {
    if tools.is_empty() {
        return Err(invalid(
            "tool-choice",
            "expected `tools` to choose from, found none",
        ));
    }
    if formatted {
        return Err(invalid(
            "format",
            "expected `text` where `tool-choice` demands a call, which is JSON by itself",
        ));
    }
    let Some((start, arguments)) = model.start_of_call() else {
        return Err(Failure::Unsupported(format!(
            "model `{}` does not write the calls of its tools as JSON objects, so none can be demanded",
            model.name()
        )));
    };
    let mut calls = Vec::new();
    for (index, tool) in tools.iter().enumerate() {
        let mut parameters: Value = serde_json::from_str(&tool.parameters).unwrap_or(json!({}));
        let place = match tools.len() {
            1 => format!("/properties/{arguments}"),
            _ => format!("/anyOf/{index}/properties/{arguments}"),
        };
        move_references(&mut parameters, &place);
        only_objects(&mut parameters);
        calls.push(json!({
            "type": "object",
            "properties": {"name": {"const": tool.name}, arguments: parameters},
            "required": ["name", arguments],
            "additionalProperties": false,
        }));
    }
    let schema = match <[Value; 1]>::try_from(calls) {
        Ok([call]) => call,
        Err(calls) => json!({ "anyOf": calls }),
    };
    backend.insert("json-schema".into(), json!(schema.to_string()));
    Ok(start.to_owned())
}

/// Arguments are an object, also where a schema does not say so.
fn only_objects(schema: &mut Value) {
    const SAYING: [&str; 7] = ["type", "$ref", "anyOf", "oneOf", "allOf", "enum", "const"];
    if let Value::Object(pairs) = schema
        && !SAYING.iter().any(|key| pairs.contains_key(*key))
    {
        pairs.insert("type".to_owned(), json!("object"));
    }
}

/// Has the references within a schema go where it is moved to, a place of another one.
fn move_references(schema: &mut Value, place: &str) {
    match schema {
        Value::Array(schemas) => schemas
            .iter_mut()
            .for_each(|schema| move_references(schema, place)),
        Value::Object(pairs) => {
            for (key, value) in pairs {
                match (key.as_str(), value) {
                    ("$ref", Value::String(target)) => {
                        if let Some(path) = target.strip_prefix('#')
                            && (path.is_empty() || path.starts_with('/'))
                        {
                            *target = format!("#{place}{path}");
                        }
                    }
                    // Values, no schemas.
                    ("const" | "enum" | "default" | "examples", _) => {}
                    // Names with schemas.
                    (
                        "properties" | "patternProperties" | "dependentSchemas" | "$defs"
                        | "definitions",
                        Value::Object(named),
                    ) => named
                        .values_mut()
                        .for_each(|schema| move_references(schema, place)),
                    (_, value) => move_references(value, place),
                }
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::{move_references, only_objects};
    use serde_json::json;

    #[test]
    fn references_move_with_their_schema() {
        let mut schema = json!({
            "$defs": {"$ref": {"$ref": "#/$defs/a"}, "default": {"$ref": "#"}},
            "properties": {"const": {"$ref": "#/$defs/b"}, "x": {"anyOf": [{"$ref": "#/$defs/c"}]}},
            "default": {"$ref": "#/$defs/d"},
            "items": {"$ref": "https://example.com/e"},
            "not": {"$ref": "#anchor"},
        });
        move_references(&mut schema, "/properties/arguments");
        assert_eq!(
            schema,
            json!({
                "$defs": {
                    "$ref": {"$ref": "#/properties/arguments/$defs/a"},
                    "default": {"$ref": "#/properties/arguments"},
                },
                "properties": {
                    "const": {"$ref": "#/properties/arguments/$defs/b"},
                    "x": {"anyOf": [{"$ref": "#/properties/arguments/$defs/c"}]},
                },
                "default": {"$ref": "#/$defs/d"},
                "items": {"$ref": "https://example.com/e"},
                "not": {"$ref": "#anchor"},
            })
        );
    }

    #[test]
    fn arguments_are_objects() {
        for (mut schema, expected) in [
            (json!({}), json!({"type": "object"})),
            (json!({"type": "null"}), json!({"type": "null"})),
            (json!({"$ref": "#/$defs/a"}), json!({"$ref": "#/$defs/a"})),
        ] {
            only_objects(&mut schema);
            assert_eq!(schema, expected);
        }
    }
}
