//! Calls of tools, and the shapes that templates want them in.

use super::*;
use crate::message::ToolCall;

fn tool() -> Tool {
    Tool {
        name: "add".to_owned(),
        description: "Adds".to_owned(),
        parameters: r#"{"type":"object","properties":{"b":{},"a":{}}}"#.to_owned(),
    }
}

fn call(id: &str) -> Message {
    let call = ToolCall {
        id: id.to_owned(),
        name: "add".to_owned(),
        arguments: r#"{"b": 1.5, "a": [18446744073709551615, -1, null, true, "ä"]}"#.to_owned(),
    };
    Message {
        tool_calls: vec![call],
        ..assistant("")
    }
}

fn result(id: &str) -> Message {
    Message {
        tool_call_id: Some(id.to_owned()),
        ..Message::new(Role::Tool, "3")
    }
}

const ARGUMENTS: &str = r#"{"b": 1.5, "a": [18446744073709551615, -1, null, true, "ä"]}"#;

#[test]
fn openais_shape() {
    let source = "{% for tool in tools %}{{ tool.type }} {{ tool.function | tojson }}\n{% endfor %}\
        {% for m in messages %}{% for call in m.tool_calls or [] %}\
        {{ call.id }} {{ call.type }} {{ call.function.name }} {{ call.function.arguments | tojson }}\n{% endfor %}\
        {% if m.role == 'tool' %}{{ m.tool_call_id }} {{ m.name }} {{ m.content }}{% endif %}{% endfor %}";
    let template = template(source);
    assert!(
        template.supports_tools()
            && template.supports_tool_calls()
            && template.supports_tool_results()
    );
    assert!(!template.supports_system());
    let messages = [call("x1"), result("x1")];
    let prompt = template.prompt(&messages, &[tool()], &Options::default());
    let expected = format!(
        "function {{\"name\": \"add\", \"description\": \"Adds\", \"parameters\": {{\"type\": \"object\", \"properties\": {{\"b\": {{}}, \"a\": {{}}}}}}}}\n\
         x1 function add {ARGUMENTS}\nx1 add 3"
    );
    assert_eq!(prompt, Ok(expected));
}

/// Templates of calls: text for arguments, no content beside calls, ids of nine characters.
#[test]
fn other_shapes() {
    for source in [
        "{% for m in messages %}{% for c in m.tool_calls or [] %}{{ '>' + c.function.arguments }}{% endfor %}{% endfor %}",
        "{% for m in messages %}{% for c in m.tool_calls or [] %}{{ '>' }}{{ c.function.arguments }}{% endfor %}{% endfor %}",
        "{% for m in messages %}{% if m.role == 'assistant' and m.content is none %}\
         {{ '>' ~ m.tool_calls[0].function.arguments | tojson }}{% endif %}{% endfor %}",
        "{% for m in messages %}{% for c in m.tool_calls or [] %}\
         {% if c.id | length != 9 %}{{ raise_exception('nine') }}{% endif %}{{ '>' ~ c.function.arguments | tojson }}{% endfor %}{% endfor %}",
    ] {
        let template = template(source);
        assert!(template.supports_tool_calls(), "{source}");
        assert!(
            !template.supports_tool_results() && !template.supports_tools(),
            "{source}"
        );
        let prompt = render(&template, &[user("?"), call("call_0"), result("call_0")]);
        assert_eq!(prompt, Ok(format!(">{ARGUMENTS}")), "{source}");
    }
}

#[test]
fn ids_of_nine_characters_stay_different_and_the_same() {
    let source = "{% for m in messages %}{% for c in m.tool_calls or [] %}\
        {% if c.id | length != 9 %}{{ raise_exception('nine') }}{% endif %}{{ c.id }}{{ c.function.arguments.mark_of_a_key }} {% endfor %}\
        {% if m.tool_call_id %}{{ m.tool_call_id }} {% endif %}{% endfor %}";
    let messages = [
        call("call_7"),
        call("abcdef123"),
        call("x"),
        result("x"),
        result("call_7"),
        result("abcdef123"),
    ];
    let prompt = render(&template(source), &messages);
    let expected = "000000000 abcdef123 000000001 000000001 000000000 abcdef123 ";
    assert_eq!(prompt.as_deref(), Ok(expected));
}

#[test]
fn contents_in_parts() {
    let source = "{% for m in messages %}{% for part in m.content | selectattr('type', 'equalto', 'text') %}{{ part.text }}|{% endfor %}{% endfor %}";
    let template = template(source);
    assert!(template.supports_system());
    assert_eq!(
        render(&template, &conversation()).as_deref(),
        Ok("Be brief.|Hi|Hello.|Bye|")
    );
}

#[test]
fn malformed_json_is_told() {
    let template = template(CHATML);
    let mut message = call("a");
    for (text, found) in [
        ("[1]", "a list"),
        ("3", "`3`"),
        ("{", "no JSON"),
        ("", "no JSON"),
    ] {
        message.tool_calls[0].arguments = text.to_owned();
        let error = render(&template, &[message.clone()]).unwrap_err();
        assert!(
            error.starts_with("expected the arguments of a call of `add` to be a JSON object"),
            "{error}"
        );
        assert!(error.contains(found), "{error}");
        let parameters = Tool {
            parameters: text.to_owned(),
            ..tool()
        };
        let error = template
            .prompt(&[user("?")], &[parameters], &Options::default())
            .unwrap_err();
        assert!(
            error.starts_with("expected the parameters of the tool `add` to be a JSON schema"),
            "{error}"
        );
    }
}

#[test]
fn a_system_prompt_alone_is_the_users() {
    let source =
        "{% for m in messages if m.role != 'system' %}{{ m.role }}: {{ m.content }}\n{% endfor %}";
    let template = template(source);
    assert!(!template.supports_system());
    assert_eq!(
        render(&template, &conversation()[..1]).as_deref(),
        Ok("user: Be brief.\n")
    );
    let messages = [system("a"), assistant("b"), user("c")];
    assert_eq!(
        render(&template, &messages).as_deref(),
        Ok("user: a\nassistant: b\nuser: c\n")
    );
    assert_eq!(render(&template, &[]).as_deref(), Ok(""));
}

#[test]
fn variables_are_not_defined_unless_they_are_given() {
    let source = "{% if thinking is defined %}{{ thinking }} {{ levels | tojson }}{% else %}-{% endif %}\
        {{ messages[0].content }}{{ documents | length if documents is not none }}{% if add_generation_prompt %}!{% endif %}";
    let template = template(source);
    assert_eq!(render(&template, &[user("a")]).as_deref(), Ok("-a!"));
    let mut options = Options {
        add_generation_prompt: false,
        ..Options::default()
    };
    options.variables.insert("thinking".to_owned(), true.into());
    options
        .variables
        .insert("levels".to_owned(), serde_json::json!([1, "b"]));
    options
        .variables
        .insert("documents".to_owned(), serde_json::json!([{}]));
    // What is the conversation's own cannot be replaced.
    options
        .variables
        .insert("messages".to_owned(), serde_json::json!([]));
    let prompt = template.prompt(&[user("a")], &[], &options);
    assert_eq!(prompt.as_deref(), Ok("True [1, \"b\"]a1"));
}
