//! Reads the calls in the body of a block.

use crate::message::Tool;
use serde_json::{Map, Value};

/// A call as the model wrote it, perhaps without an id.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Call {
    pub(super) id: Option<String>,
    pub(super) name: String,
    /// A JSON object as text.
    pub(super) arguments: String,
}

/// One call, or a list of them. `strict`: JSON that nothing marks as a call has to have arguments.
pub(super) fn of_json(json: &str, strict: bool) -> Option<Vec<Call>> {
    match serde_json::from_str(json).ok()? {
        Value::Array(calls) if !calls.is_empty() => calls
            .into_iter()
            .map(|value| of_value(value, strict))
            .collect(),
        value => Some(vec![of_value(value, strict)?]),
    }
}

/// The call of a tool with these arguments.
pub(super) fn of_arguments(name: &str, id: Option<&str>, json: &str) -> Option<Vec<Call>> {
    let arguments = arguments(serde_json::from_str(json).ok()?)?;
    Some(vec![Call {
        id: id.map(str::to_owned),
        name: name.to_owned(),
        arguments,
    }])
}

/// The call of a tool with parameters in tags. Their values are texts: of which type they are, the
/// tool says; else what reads as JSON is JSON.
pub(super) fn of_tags(name: &str, body: &str, tools: &[Tool]) -> Option<Vec<Call>> {
    let tool = tools.iter().find(|tool| tool.name == name);
    let schema: Value = tool
        .and_then(|tool| serde_json::from_str(&tool.parameters).ok())
        .unwrap_or_default();
    let mut arguments = Map::new();
    let mut rest = body.strip_suffix("</function>")?.trim();
    while !rest.is_empty() {
        let (key, after) = rest.strip_prefix("<parameter=")?.split_once('>')?;
        let (value, after) = after.split_once("</parameter>")?;
        let value = value.strip_prefix('\n').unwrap_or(value);
        let value = value.strip_suffix('\n').unwrap_or(value);
        let key = key.trim();
        arguments.insert(
            key.to_owned(),
            typed(value, &schema["properties"][key]["type"]),
        );
        rest = after.trim_start();
    }
    Some(vec![Call {
        id: None,
        name: name.to_owned(),
        arguments: Value::Object(arguments).to_string(),
    }])
}

fn typed(text: &str, kind: &Value) -> Value {
    if kind != "string"
        && let Ok(value) = serde_json::from_str(text)
    {
        return value;
    }
    Value::from(text)
}

fn of_value(value: Value, strict: bool) -> Option<Call> {
    let Value::Object(mut fields) = value else {
        return None;
    };
    let id = ["id", "tool_call_id"]
        .into_iter()
        .find_map(|key| fields.remove(key));
    // OpenAI's own shape has the rest one level deeper.
    if let Some(Value::Object(function)) = fields.remove("function") {
        fields = function;
    }
    let name = ["name", "tool_name"]
        .into_iter()
        .find_map(|key| fields.remove(key));
    let given = ["arguments", "parameters"]
        .into_iter()
        .find_map(|key| fields.remove(key));
    if strict && given.is_none() {
        return None;
    }
    Some(Call {
        id: id.and_then(text),
        name: name.and_then(text).filter(|name| !name.is_empty())?,
        arguments: arguments(given.unwrap_or_default())?,
    })
}

fn text(value: Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text),
        _ => None,
    }
}

/// An object, nothing, or the text of an object.
fn arguments(value: Value) -> Option<String> {
    match value {
        Value::Null => Some("{}".to_owned()),
        Value::Object(_) => Some(value.to_string()),
        Value::String(text) => match serde_json::from_str(&text) {
            Ok(value @ Value::Object(_)) => Some(value.to_string()),
            _ => None,
        },
        _ => None,
    }
}
