//! What models of the families write, after the formats that their authors document.

use super::*;
use crate::message::Tool;

mod arbitrary;
mod text;

/// A call, as `id name arguments`, or a text.
#[derive(Clone, Copy)]
enum Is<'a> {
    Text(&'a str),
    Call(&'a str, &'a str, &'a str),
}
use Is::{Call, Text};

fn pieces(expected: &[Is<'_>]) -> Vec<Piece> {
    let piece = |is: &Is<'_>| match *is {
        Text(text) => Piece::Text(text.to_owned()),
        Call(id, name, arguments) => Piece::Call(ToolCall {
            id: id.to_owned(),
            name: name.to_owned(),
            arguments: arguments.to_owned(),
        }),
    };
    expected.iter().map(piece).collect()
}

fn tools() -> Vec<Tool> {
    vec![Tool {
        name: "find".to_owned(),
        description: String::new(),
        parameters: r#"{"type": "object", "properties": {"text": {"type": "string"}, "limit": {"type": "integer"}}}"#.to_owned(),
    }]
}

/// What comes out, texts that follow each other as one.
fn parse<'a>(format: Format, parts: impl IntoIterator<Item = &'a str>) -> Vec<Piece> {
    let mut parser = Parser::new(format, &tools());
    let mut all: Vec<Piece> = Vec::new();
    let mut add = |pieces: Vec<Piece>| {
        for piece in pieces {
            match (all.last_mut(), piece) {
                (Some(Piece::Text(last)), Piece::Text(text)) => last.push_str(&text),
                (_, piece) => all.push(piece),
            }
        }
    };
    for part in parts {
        add(parser.push(part));
    }
    add(parser.end());
    all
}

/// Numbers that look random, the same each time.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        ((self.0 >> 33) as usize) % limit
    }
}

/// The text in parts of up to so many characters.
fn parts<'a>(text: &'a str, random: &mut Random, longest: usize) -> Vec<&'a str> {
    let mut parts = Vec::new();
    let mut rest = text;
    while !rest.is_empty() {
        let count = 1 + random.below(longest);
        let at = rest
            .char_indices()
            .nth(count)
            .map_or(rest.len(), |(at, _)| at);
        let (part, after) = rest.split_at(at);
        parts.push(part);
        rest = after;
    }
    parts
}

#[track_caller]
fn check(format: Format, text: &str, expected: &[Is<'_>]) {
    let expected = pieces(expected);
    assert_eq!(parse(format, [text]), expected, "{format:?} {text:?}");
    let mut random = Random(text.len() as u64);
    for longest in [1, 3, 10, 40] {
        let parts = parts(text, &mut random, longest);
        assert_eq!(
            parse(format, parts.iter().copied()),
            expected,
            "{format:?} {parts:?}"
        );
    }
}

const PARIS: &str = r#"{"city":"Paris"}"#;

#[test]
fn hermes() {
    let one =
        "<tool_call>\n{\"name\": \"weather\", \"arguments\": {\"city\": \"Paris\"}}\n</tool_call>";
    check(Format::Hermes, one, &[Call("call_0", "weather", PARIS)]);
    check(
        Format::Hermes,
        &format!("I look.\n{one}\n{one}\n"),
        &[
            Text("I look.\n"),
            Call("call_0", "weather", PARIS),
            Call("call_1", "weather", PARIS),
        ],
    );
    // What follows a call is text again, with the white space between.
    check(
        Format::Hermes,
        &format!("{one}\n\nDone."),
        &[Call("call_0", "weather", PARIS), Text("\n\nDone.")],
    );
    // The closing may be missing, be part of a string, or follow a brace too many.
    check(
        Format::Hermes,
        r#"<tool_call>{"name": "f", "arguments": {"a": "</tool_call>\" }"}}"#,
        &[Call("call_0", "f", r#"{"a":"</tool_call>\" }"}"#)],
    );
    check(
        Format::Hermes,
        "<tool_call>{\"name\": \"f\"}}\n</tool_call>",
        &[Call("call_0", "f", "{}"), Text("}\n</tool_call>")],
    );
    // Arguments as text, OpenAI's shape, and an id.
    check(
        Format::Hermes,
        r#"<tool_call>{"id": "a1", "function": {"name": "f", "arguments": "{\"b\": 1.0}"}}</tool_call>"#,
        &[Call("a1", "f", r#"{"b":1.0}"#)],
    );
    check(
        Format::Hermes,
        r#"<tool_calls>[{"name": "f"}, {"name": "g", "arguments": {}}]</tool_calls>"#,
        &[Call("call_0", "f", "{}"), Call("call_1", "g", "{}")],
    );
}

#[test]
fn llama() {
    let one = r#"{"name": "weather", "parameters": {"city": "Paris"}}"#;
    let call = Call("call_0", "weather", PARIS);
    let next = Call("call_1", "weather", PARIS);
    check(Format::Llama, one, &[call]);
    check(Format::Llama, &format!("\n\n{one}"), &[call]);
    check(Format::Llama, &format!("{one}; {one}"), &[call, next]);
    check(
        Format::Llama,
        &format!("{one}\n{one}{one}"),
        &[call, next, Call("call_2", "weather", PARIS)],
    );
    check(Format::Llama, &format!("<|python_tag|>{one}"), &[call]);
    check(
        Format::Llama,
        &format!("<|python_tag|>{one}; {one}"),
        &[call, next],
    );
    check(
        Format::Llama,
        &format!("<|python_start|>{one}<|python_end|>"),
        &[call],
    );
    check(
        Format::Llama,
        "<function=weather>{\"city\": \"Paris\"}</function>",
        &[call],
    );
    // JSON that is an answer, code, and JSON further on.
    for text in [
        r#"{"city": "Paris"}"#,
        r#"{"name": "Paris"}"#,
        r#"{"name": "Paris", "parameters": 3}"#,
        "<|python_tag|>search.call(query=\"a\")",
        r#"Like {"name": "f", "parameters": {}}"#,
        "{ not JSON",
    ] {
        check(Format::Llama, text, &[Text(text)]);
    }
}

#[test]
fn mistral() {
    check(
        Format::Mistral,
        r#"[TOOL_CALLS][{"name": "f", "arguments": {"a": [1]}, "id": "abcdef123"}, {"name": "g", "arguments": {}}]"#,
        &[
            Call("abcdef123", "f", r#"{"a":[1]}"#),
            Call("call_1", "g", "{}"),
        ],
    );
    check(
        Format::Mistral,
        r#"[TOOL_CALLS] [{"name": "f"}]"#,
        &[Call("call_0", "f", "{}")],
    );
    check(
        Format::Mistral,
        r#"I look.[TOOL_CALLS]f[ARGS]{"a": "[TOOL_CALLS]"}[TOOL_CALLS]g{"b": {}}"#,
        &[
            Text("I look."),
            Call("call_0", "f", r#"{"a":"[TOOL_CALLS]"}"#),
            Call("call_1", "g", r#"{"b":{}}"#),
        ],
    );
    check(
        Format::Mistral,
        r#"[TOOL_CALLS]a_b[CALL_ID]abcdef123[ARGS]{"a": 1}"#,
        &[Call("abcdef123", "a_b", r#"{"a":1}"#)],
    );
    for text in [
        "[TOOL_CALLS]",
        "[TOOL_CALLS]f[ARG",
        "[TOOL_CALLS] say it",
        "[TOOL_CALLS]f[ARGS]{1}",
        "[TOOL_CALLS][ARGS]{}",
        "[TOOL_",
    ] {
        check(Format::Mistral, text, &[Text(text)]);
    }
}

#[test]
fn deepseek() {
    let r1 = "<｜tool▁call▁begin｜>function<｜tool▁sep｜>weather\n```json\n{\"city\": \"Paris\"}\n```<｜tool▁call▁end｜>";
    let v31 = "<｜tool▁call▁begin｜>weather<｜tool▁sep｜>{\"city\": \"Paris\"}<｜tool▁call▁end｜>";
    for one in [r1, v31] {
        check(
            Format::DeepSeek,
            &format!("Well.<｜tool▁calls▁begin｜>{one}\n{one}<｜tool▁calls▁end｜>"),
            &[
                Text("Well."),
                Call("call_0", "weather", PARIS),
                Call("call_1", "weather", PARIS),
            ],
        );
        check(Format::DeepSeek, one, &[Call("call_0", "weather", PARIS)]);
    }
    for text in [
        "<｜tool▁calls▁begin｜>",
        "<｜tool▁calls▁begin｜> nothing {}",
        "<｜tool▁call▁begin｜>function<｜tool▁sep｜>a b\n```json\n{}",
        "<｜tool▁call▁begin｜>f<｜tool▁sep｜>{]<｜tool▁call▁end｜>",
    ] {
        check(Format::DeepSeek, text, &[Text(text)]);
    }
}

#[test]
fn granite_and_phi() {
    let list = r#"[{"name": "weather", "arguments": {"city": "Paris"}}]"#;
    let call = [Call("call_0", "weather", PARIS)];
    check(Format::Granite, &format!("<|tool_call|>{list}"), &call);
    check(
        Format::Granite,
        &format!("<|tool_call|> {list}<|/tool_call|>"),
        &call,
    );
    check(Format::Granite, &format!("<tool_call>{list}"), &call);
    check(
        Format::Granite,
        &format!("<tool_call>{list}</tool_call>"),
        &call,
    );
    check(Format::Granite, &format!("functools{list}"), &call);
    check(
        Format::Granite,
        "functools [1] is",
        &[Text("functools [1] is")],
    );
}

#[test]
fn command() {
    let list = r#"[
    {
        "tool_name": "weather",
        "parameters": {"city": "Paris"}
    }
]"#;
    check(
        Format::Command,
        &format!("Plan: I look.\nAction: ```json\n{list}\n```"),
        &[Text("Plan: I look.\n"), Call("call_0", "weather", PARIS)],
    );
    check(
        Format::Command,
        r#"<|START_ACTION|>[{"tool_call_id": "0", "tool_name": "f", "parameters": {}}]<|END_ACTION|>"#,
        &[Call("0", "f", "{}")],
    );
    for text in ["Action: none", "Action: ```python\n```"] {
        check(Format::Command, text, &[Text(text)]);
    }
}

#[test]
fn functionary() {
    let weather = "weather\n{\"city\": \"Paris\"}";
    check(
        Format::Functionary,
        weather,
        &[Call("call_0", "weather", PARIS)],
    );
    check(
        Format::Functionary,
        &format!("all\nI look.\n>>>{weather}>>>{weather}"),
        &[
            Text("I look.\n"),
            Call("call_0", "weather", PARIS),
            Call("call_1", "weather", PARIS),
        ],
    );
    check(
        Format::Functionary,
        "<function=weather>{\"city\": \"Paris\"}</function>",
        &[Call("call_0", "weather", PARIS)],
    );
    for text in ["Hello\nyou", "Hello you", "a >> b >>>> c", "weather\n{"] {
        check(Format::Functionary, text, &[Text(text)]);
    }
}

#[test]
fn qwen_coder() {
    let parameters = "<parameter=text>\n12\n</parameter>\n<parameter=limit>\n3\n</parameter>\n<parameter=other>\n[1]\n</parameter>\n";
    let expected = [Call(
        "call_0",
        "find",
        r#"{"text":"12","limit":3,"other":[1]}"#,
    )];
    let inner = format!("<function=find>\n{parameters}</function>");
    check(
        Format::QwenCoder,
        &format!("<tool_call>\n{inner}\n</tool_call>"),
        &expected,
    );
    check(Format::QwenCoder, &inner, &expected);
    // A text of several lines keeps its own.
    check(
        Format::QwenCoder,
        "<tool_call><function=find><parameter=text>\na\n b <c>\n\n</parameter></function></tool_call>",
        &[Call("call_0", "find", r#"{"text":"a\n b <c>\n"}"#)],
    );
    check(
        Format::QwenCoder,
        "<tool_call><function=f>\n</function>\n</tool_call>",
        &[Call("call_0", "f", "{}")],
    );
    check(
        Format::QwenCoder,
        "<tool_call>{\"name\": \"f\"}</tool_call>",
        &[Call("call_0", "f", "{}")],
    );
    for text in [
        "<function=f><parameter=a></function>",
        "<function=f>hello</function>",
        "<function=f><b></function>",
    ] {
        check(Format::QwenCoder, text, &[Text(text)]);
    }
}

#[test]
fn formats_of_templates() {
    for (source, format) in [
        ("{{ '<tool_call>' }}", Some(Format::Hermes)),
        (
            "{{ '<tool_call>\n<function=' + name + '>\n<parameter=' }}",
            Some(Format::QwenCoder),
        ),
        (
            "{{ '<|python_tag|>' }}{{ '<function=' }}",
            Some(Format::Llama),
        ),
        ("{{ '<|start_header_id|>ipython' }}", Some(Format::Llama)),
        (
            "{{ '[AVAILABLE_TOOLS]' }}{{ '[TOOL_CALLS]' }}",
            Some(Format::Mistral),
        ),
        ("{{ '<｜tool▁call▁begin｜>' }}", Some(Format::DeepSeek)),
        ("{{ '<|tool_call|>' }}", Some(Format::Granite)),
        ("{{ 'functools[' }}", Some(Format::Granite)),
        (
            "{{ 'Action: ```json' }}{{ 'tool_name' }}",
            Some(Format::Command),
        ),
        ("{{ '<|START_ACTION|>' }}", Some(Format::Command)),
        ("{{ '>>>' + recipient }}", Some(Format::Functionary)),
        ("{{ '<function=' }}", Some(Format::Functionary)),
        (crate::CHATML, None),
        ("", None),
    ] {
        assert_eq!(Format::of_template(source), format, "{source}");
    }
}

/// What a model considers is no call, wherever the thought begins.
#[test]
fn thoughts_have_no_calls() {
    let call = r#"<tool_call>{"name": "f", "arguments": {}}</tool_call>"#;
    let thought = format!("<think>\nI could {call}, [THINK] or not.\n</think>");
    let text = format!("{thought}\nNo.");
    check(Format::Hermes, &text, &[Text(&text)]);
    let text = format!("{thought}{call}");
    check(
        Format::Hermes,
        &text,
        &[Text(&thought), Call("call_0", "f", "{}")],
    );
    let mistral = r#"[THINK][TOOL_CALLS]f{}[/THINK][TOOL_CALLS]g{}"#;
    check(
        Format::Mistral,
        mistral,
        &[
            Text("[THINK][TOOL_CALLS]f{}[/THINK]"),
            Call("call_0", "g", "{}"),
        ],
    );
    // Behind it the answer begins.
    check(
        Format::Llama,
        r#"<think>x</think>{"name": "f", "parameters": {}}"#,
        &[Text("<think>x</think>"), Call("call_0", "f", "{}")],
    );
    // The prompt has opened it.
    let answer = format!("maybe {call}</think>{call}");
    for (prompt, calls) in [("…<think>\n", 1), ("…<think></think>", 2), ("", 2)] {
        let mut parser = Parser::new(Format::Hermes, &tools()).behind_prompt(prompt);
        let mut pieces = parser.push(&answer);
        pieces.extend(parser.end());
        let found = pieces
            .iter()
            .filter(|piece| matches!(piece, Piece::Call(_)));
        assert_eq!(found.count(), calls, "{prompt}");
    }
}

#[test]
fn ids_go_on_behind_the_calls_before() {
    let call = r#"<tool_call>{"name": "f", "arguments": {}}</tool_call>"#;
    let ids = |before: &[&str]| {
        let mut parser = Parser::new(Format::Hermes, &tools()).behind(before.iter().copied());
        let pieces = parser.push(&format!("{call}{call}"));
        let ids = pieces.into_iter().map(|piece| match piece {
            Piece::Call(call) => call.id,
            Piece::Text(text) => panic!("{text}"),
        });
        ids.collect::<Vec<_>>()
    };
    assert_eq!(ids(&[]), ["call_0", "call_1"]);
    assert_eq!(
        ids(&["call_4", "call_1", "abc", "call_x"]),
        ["call_5", "call_6"]
    );
}
