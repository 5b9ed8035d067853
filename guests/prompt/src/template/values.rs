//! The variables `messages` and `tools` of a template, in OpenAI's shape where the template does not
//! want another.

use crate::message::{Message, Role, Tool, ToolCall};
use minijinja::value::Value;
use serde_json::Value as Json;
use std::collections::BTreeMap;

/// Where templates differ.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Shape {
    /// Contents are lists of parts.
    pub(super) parts: bool,
    /// Arguments of calls are JSON as text; else they are maps.
    pub(super) arguments_as_text: bool,
    /// A message with calls has no content, which is `none`; else it is a text, perhaps an empty one.
    pub(super) calls_without_content: bool,
    /// Calls have ids of nine letters and digits, as Mistral's templates demand.
    pub(super) nine_characters: bool,
}

/// The variable `messages`.
pub(super) fn of_messages(messages: &[Message], shape: Shape) -> Result<Value, String> {
    let calls: BTreeMap<&str, &str> = messages
        .iter()
        .flat_map(|message| &message.tool_calls)
        .map(|call| (&*call.id, &*call.name))
        .collect();
    let mut ids = Ids::default();
    let mut values = Vec::new();
    for message in messages {
        let mut pairs = vec![
            ("role", Value::from(message.role.name())),
            ("content", content(message, shape)),
        ];
        let mut called = None;
        if !message.tool_calls.is_empty() {
            let calls = message.tool_calls.iter();
            let calls = calls.map(|call| of_call(call, shape, &mut ids));
            pairs.push(("tool_calls", calls.collect::<Result<Value, _>>()?));
        }
        if let Some(id) = &message.tool_call_id {
            pairs.push(("tool_call_id", ids.id(id, shape).into()));
            called = calls.get(&**id).copied();
        }
        if let Some(name) = message.name.as_deref().or(called) {
            pairs.push(("name", Value::from(name)));
        }
        values.push(Value::from_pairs(pairs));
    }
    Ok(Value::from(values))
}

fn content(message: &Message, shape: Shape) -> Value {
    if shape.calls_without_content && !message.tool_calls.is_empty() {
        return Value::from(());
    }
    let text = Value::from(&*message.content);
    // Results of tools are texts everywhere.
    if shape.parts && message.role != Role::Tool {
        let part = Value::from_pairs([("type", Value::from("text")), ("text", text)]);
        return Value::from(vec![part]);
    }
    text
}

fn of_call(call: &ToolCall, shape: Shape, ids: &mut Ids) -> Result<Value, String> {
    let arguments = object(&call.arguments).map_err(|found| {
        format!(
            "expected the arguments of a call of `{}` to be a JSON object, found {found}",
            call.name
        )
    })?;
    let arguments = match shape.arguments_as_text {
        true => Value::from(&*call.arguments),
        false => of_json(&arguments),
    };
    let function = [("name", Value::from(&*call.name)), ("arguments", arguments)];
    Ok(Value::from_pairs([
        ("id", Value::from(ids.id(&call.id, shape))),
        ("type", Value::from("function")),
        ("function", Value::from_pairs(function)),
    ]))
}

/// The variable `tools`.
pub(super) fn of_tools(tools: &[Tool]) -> Result<Value, String> {
    tools
        .iter()
        .map(|tool| {
            let parameters = object(&tool.parameters)
                .map_err(|found| format!("expected the parameters of the tool `{}` to be a JSON schema, which is an object, found {found}", tool.name))?;
            let function = [
                ("name", Value::from(&*tool.name)),
                ("description", Value::from(&*tool.description)),
                ("parameters", of_json(&parameters)),
            ];
            Ok(Value::from_pairs([
                ("type", Value::from("function")),
                ("function", Value::from_pairs(function)),
            ]))
        })
        .collect()
}

/// Reads a JSON object, or says what is there instead.
fn object(text: &str) -> Result<Json, String> {
    match serde_json::from_str(text) {
        Ok(value @ Json::Object(_)) => Ok(value),
        Ok(Json::Array(_)) => Err("a list".to_owned()),
        Ok(value) => Err(format!("`{value}`")),
        Err(error) => Err(format!("no JSON: {error}")),
    }
}

/// A value of JSON. Its reader goes no deeper than 128 lists and maps, and so does this.
pub(super) fn of_json(json: &Json) -> Value {
    match json {
        Json::Null => Value::from(()),
        Json::Bool(value) => Value::from(*value),
        Json::Number(number) => match (number.as_i64(), number.as_u64()) {
            (Some(integer), _) => Value::from(integer),
            (None, Some(integer)) => Value::from(integer),
            (None, None) => Value::from(number.as_f64()),
        },
        Json::String(text) => Value::from(&**text),
        Json::Array(items) => items.iter().map(of_json).collect(),
        Json::Object(pairs) => {
            Value::from_pairs(pairs.iter().map(|(key, value)| (&**key, of_json(value))))
        }
    }
}

/// The ids of calls that have other ids in the template.
#[derive(Default)]
struct Ids(BTreeMap<String, usize>);

impl Ids {
    fn id(&mut self, id: &str, shape: Shape) -> String {
        let fits = id.len() == 9 && id.bytes().all(|byte| byte.is_ascii_alphanumeric());
        if fits || !shape.nine_characters {
            return id.to_owned();
        }
        let next = self.0.len();
        let number = self.0.entry(id.to_owned()).or_insert(next);
        format!("{number:09}")
    }
}
