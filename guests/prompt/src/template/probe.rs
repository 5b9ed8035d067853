//! What a template supports: it renders small conversations with marks, and the marks are looked for.

use super::values::Shape;
use super::{Options, Template};
use crate::message::{Message, Role, Tool, ToolCall};
use std::slice;

/// What a template supports, and the shape of the messages that it takes.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Support {
    pub(super) system: bool,
    pub(super) tools: bool,
    pub(super) tool_calls: bool,
    pub(super) tool_results: bool,
    /// Whether one answer may have several calls.
    pub(super) parallel_calls: bool,
    pub(super) shape: Shape,
}

const SYSTEM: &str = "MARK-OF-A-SYSTEM";
const USER: &str = "MARK-OF-A-USER";
const NAME: &str = "mark_of_a_name";
const KEY: &str = "mark_of_a_key";
const VALUE: &str = "mark_of_a_value";
const OTHER_VALUE: &str = "mark_of_another";
const RESULT: &str = "MARK-OF-A-RESULT";

impl Support {
    pub(super) fn of(template: &Template) -> Self {
        let render = |messages: &[Message], tools: &[Tool], shape| {
            let options = Options::default();
            template
                .render(messages, tools, &options, shape)
                .unwrap_or_default()
        };
        let user = Message::new(Role::User, USER);
        let system = Message::new(Role::System, SYSTEM);

        let mut shape = Shape::default();
        if !render(slice::from_ref(&user), &[], shape).contains(USER) {
            shape.parts = true;
            shape.parts = render(slice::from_ref(&user), &[], shape).contains(USER);
        }
        let has_system = render(&[system, user.clone()], &[], shape).contains(SYSTEM);
        let has_tools = render(slice::from_ref(&user), &[tool()], shape).contains(NAME);

        let with_calls = [user.clone(), calls(), result(0), result(1)];
        let with_call = [user, call()];
        let with_result = [with_call.as_slice(), &[result(0)]].concat();
        for shape in shapes(shape) {
            // Some templates want a call to be answered.
            let answered = render(&with_result, &[tool()], shape);
            if shows_call(&answered, shape)
                || shows_call(&render(&with_call, &[tool()], shape), shape)
            {
                let both = render(&with_calls, &[tool()], shape);
                return Self {
                    system: has_system,
                    tools: has_tools,
                    tool_calls: true,
                    tool_results: answered.contains(RESULT),
                    parallel_calls: both.contains(VALUE) && both.contains(OTHER_VALUE),
                    shape,
                };
            }
        }
        Self {
            system: has_system,
            tools: has_tools,
            tool_calls: false,
            parallel_calls: false,
            tool_results: render(&with_result, &[tool()], shape).contains(RESULT),
            shape,
        }
    }
}

/// The shapes to try, the one of OpenAI first.
fn shapes(shape: Shape) -> impl Iterator<Item = Shape> {
    (0..8).map(move |bits| Shape {
        nine_characters: bits & 4 != 0,
        arguments_as_text: bits & 2 != 0,
        calls_without_content: bits & 1 != 0,
        ..shape
    })
}

/// Whether a call is there, and its arguments are: neither as Python prints a map, nor as JSON in a
/// text of JSON.
fn shows_call(text: &str, shape: Shape) -> bool {
    // The tool's description has the name and the key as well, and no value.
    let has_value = text.contains(VALUE);
    let printed = !shape.arguments_as_text && text.contains(&format!("'{KEY}': "));
    let escaped = text.contains(&format!("{KEY}\\\""));
    has_value && !printed && !escaped
}

fn tool() -> Tool {
    Tool {
        name: NAME.to_owned(),
        description: "-".to_owned(),
        parameters: format!(
            r#"{{"type": "object", "properties": {{"{KEY}": {{"type": "string", "description": "-"}}}}, "required": ["{KEY}"]}}"#
        ),
    }
}

fn call() -> Message {
    calling(&[VALUE])
}

fn calls() -> Message {
    calling(&[VALUE, OTHER_VALUE])
}

fn calling(values: &[&str]) -> Message {
    let call = |(number, value): (usize, &&str)| ToolCall {
        id: format!("call_{number}"),
        name: NAME.to_owned(),
        arguments: format!(r#"{{"{KEY}": "{value}"}}"#),
    };
    Message {
        tool_calls: values.iter().enumerate().map(call).collect(),
        ..Message::new(Role::Assistant, "")
    }
}

fn result(number: usize) -> Message {
    Message {
        tool_call_id: Some(format!("call_{number}")),
        ..Message::new(Role::Tool, RESULT)
    }
}
