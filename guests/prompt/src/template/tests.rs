//! Templates of well-known models, written after the formats that their authors document.

use super::*;
use crate::clock::strftime_now;

mod dialect;
mod hostile;
mod source;
mod tools;

fn user(text: &str) -> Message {
    Message::new(Role::User, text)
}

fn assistant(text: &str) -> Message {
    Message::new(Role::Assistant, text)
}

fn system(text: &str) -> Message {
    Message::new(Role::System, text)
}

/// A conversation of two turns with a system prompt.
fn conversation() -> Vec<Message> {
    vec![
        system("Be brief."),
        user("Hi"),
        assistant("Hello."),
        user("Bye"),
    ]
}

fn prompt(source: &str, messages: &[Message]) -> String {
    render(&template(source), messages).unwrap()
}

fn render(template: &Template, messages: &[Message]) -> Result<String, String> {
    template.prompt(messages, &[], &Options::default())
}

fn template(source: &str) -> Template {
    Template::new(source, "<s>", "</s>").unwrap()
}

#[test]
fn chatml() {
    let expected = "<|im_start|>system\nBe brief.<|im_end|>\n\
        <|im_start|>user\nHi<|im_end|>\n\
        <|im_start|>assistant\nHello.<|im_end|>\n\
        <|im_start|>user\nBye<|im_end|>\n\
        <|im_start|>assistant\n";
    assert_eq!(prompt(CHATML, &conversation()), expected);
    assert_eq!(template(CHATML).end_of_answer().unwrap(), "<|im_end|>");
}

/// Headers between special tokens; the content is trimmed, and the date comes from the host.
const LLAMA_3: &str = r#"{{- bos_token }}
{%- if not date_string is defined %}
    {%- set date_string = strftime_now("%d %b %Y") if strftime_now is defined else "26 Jul 2024" %}
{%- endif %}
{%- if messages[0]['role'] == 'system' %}
    {%- set system_message = messages[0]['content'] | trim %}
    {%- set messages = messages[1:] %}
{%- else %}
    {%- set system_message = "" %}
{%- endif %}
{{- "<|start_header_id|>system<|end_header_id|>\n\n" }}
{%- if tools is not none %}
    {{- "Environment: ipython\n" }}
{%- endif %}
{{- "Today: " + date_string[-4:] + "\n\n" }}
{{- system_message }}
{{- "<|eot_id|>" }}
{%- for message in messages %}
    {%- if not (message.role == 'ipython' or message.role == 'tool' or 'tool_calls' in message) %}
        {{- '<|start_header_id|>' + message['role'] + '<|end_header_id|>\n\n' + message['content'] | trim + '<|eot_id|>' }}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|start_header_id|>assistant<|end_header_id|>\n\n' }}
{%- endif %}
"#;

#[test]
fn llama_3() {
    let year = strftime_now("%Y");
    let expected = format!(
        "<s><|start_header_id|>system<|end_header_id|>\n\nToday: {year}\n\nBe brief.<|eot_id|>\
         <|start_header_id|>user<|end_header_id|>\n\nHi<|eot_id|>\
         <|start_header_id|>assistant<|end_header_id|>\n\nHello.<|eot_id|>\
         <|start_header_id|>user<|end_header_id|>\n\nBye<|eot_id|>\
         <|start_header_id|>assistant<|end_header_id|>\n\n"
    );
    assert_eq!(prompt(LLAMA_3, &conversation()), expected);
    assert_eq!(template(LLAMA_3).end_of_answer().unwrap(), "<|eot_id|>");
}

/// `[INST]` around the user's messages, the system prompt inside the first; roles must alternate.
const LLAMA_2: &str = r#"
{%- if messages[0]['role'] == 'system' %}
    {%- set loop_messages = messages[1:] %}
    {%- set system_message = '<<SYS>>\n' + messages[0]['content'].strip() + '\n<</SYS>>\n\n' %}
{%- else %}
    {%- set loop_messages = messages %}
    {%- set system_message = '' %}
{%- endif %}
{%- for message in loop_messages %}
    {%- if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}
        {{- raise_exception('Roles must alternate: user, assistant, user, …') }}
    {%- endif %}
    {%- if message['role'] == 'user' %}
        {{- bos_token + '[INST] ' + (system_message if loop.first else '') + message['content'].strip() + ' [/INST]' }}
    {%- else %}
        {{- ' ' + message['content'].strip() + ' ' + eos_token }}
    {%- endif %}
{%- endfor %}"#;

#[test]
fn llama_2() {
    let expected =
        "<s>[INST] <<SYS>>\nBe brief.\n<</SYS>>\n\nHi [/INST] Hello. </s><s>[INST] Bye [/INST]";
    assert_eq!(prompt(LLAMA_2, &conversation()), expected);
    assert_eq!(template(LLAMA_2).end_of_answer().unwrap(), "</s>");
    let error = render(&template(LLAMA_2), &[assistant("Hello.")]).unwrap_err();
    assert!(error.starts_with("Roles must alternate"), "{error}");
    assert!(error.contains("line 11"), "{error}");
}

/// As Llama 2 but for the spaces, and the system prompt belongs to the last message. A namespace
/// carries a value out of a loop.
const MISTRAL: &str = r#"
{%- set ns = namespace(system='', last=0) %}
{%- for message in messages %}
    {%- if message.role == 'system' %}
        {%- set ns.system = message.content + '\n\n' %}
        {%- continue %}
    {%- endif %}
    {%- if message.role == 'user' %}{% set ns.last = loop.index0 %}{% endif %}
{%- endfor %}
{{- bos_token }}
{%- for message in messages if message.role != 'system' %}
    {%- if message.role == 'user' %}
        {{- '[INST] ' }}
        {%- if loop.last %}{{ ns.system }}{% endif %}
        {{- message.content ~ '[/INST]' }}
    {%- else %}
        {{- ' ' ~ message.content ~ eos_token }}
    {%- endif %}
{%- endfor %}"#;

#[test]
fn mistral() {
    let expected = "<s>[INST] Hi[/INST] Hello.</s>[INST] Be brief.\n\nBye[/INST]";
    assert_eq!(prompt(MISTRAL, &conversation()), expected);
    assert_eq!(template(MISTRAL).end_of_answer().unwrap(), "</s>");
}

/// The assistant is called `model`, and there is no system role.
const GEMMA: &str = r#"{{ bos_token }}{% if messages[0]['role'] == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}
{%- for message in messages %}
    {%- if message['role'] == 'assistant' %}
        {%- set role = 'model' %}
    {%- else %}
        {%- set role = message['role'] %}
    {%- endif %}
    {{- '<start_of_turn>' + role + '\n' + message['content'] | trim + '<end_of_turn>\n' }}
{%- endfor %}
{%- if add_generation_prompt %}{{ '<start_of_turn>model\n' }}{% endif %}"#;

#[test]
fn gemma_has_no_system_role() {
    let expected = "<s><start_of_turn>user\nBe brief.\n\nHi<end_of_turn>\n\
        <start_of_turn>model\nHello.<end_of_turn>\n\
        <start_of_turn>user\nBye<end_of_turn>\n\
        <start_of_turn>model\n";
    assert_eq!(prompt(GEMMA, &conversation()), expected);
    assert_eq!(template(GEMMA).end_of_answer().unwrap(), "<end_of_turn>");
}

/// One line for each role; without a prompt to generate the text ends with a token of its own.
const PHI_3: &str = r#"{% for message in messages %}{% if message['role'] == 'system' %}{{ '<|system|>\n' + message['content'] + '<|end|>\n' }}{% elif message['role'] == 'user' %}{{ '<|user|>\n' + message['content'] + '<|end|>\n' }}{% elif message['role'] == 'assistant' %}{{ '<|assistant|>\n' + message['content'] + '<|end|>\n' }}{% endif %}{% endfor %}{% if add_generation_prompt %}{{ '<|assistant|>\n' }}{% else %}{{ eos_token }}{% endif %}"#;

#[test]
fn phi_3() {
    let expected = "<|system|>\nBe brief.<|end|>\n<|user|>\nHi<|end|>\n\
        <|assistant|>\nHello.<|end|>\n<|user|>\nBye<|end|>\n<|assistant|>\n";
    assert_eq!(prompt(PHI_3, &conversation()), expected);
    assert_eq!(template(PHI_3).end_of_answer().unwrap(), "<|end|>");
}

/// A model that thinks: earlier thoughts are left out of the conversation.
const THINKING: &str = r#"
{%- for message in messages[::-1] %}
    {%- if loop.first and message.content is string and not message.content.startswith('<tool>') %}
        {%- set last = (messages|length - 1) - loop.index0 %}
    {%- endif %}
{%- endfor %}
{%- for message in messages %}
    {%- set content = message.content %}
    {%- if message.role == 'assistant' and '</think>' in content %}
        {%- set content = content.split('</think>')[-1].lstrip('\n') %}
    {%- endif %}
    {%- if message.role == 'assistant' %}{% generation %}{{ content }}{%- endgeneration -%}
    {%- else %}{{ message.role.upper() + ': ' + content + '\n' }}{% endif %}
    {%- if loop.previtem is defined and message.get('name') is none %}{{ '.' }}{% endif %}
{%- endfor %}
{%- if enable_thinking is defined and enable_thinking is false %}{{ '<think>\n\n</think>' }}{% endif %}"#;

#[test]
fn pythons_methods_slices_and_generation_blocks() {
    let messages = [
        user("Hi"),
        assistant("<think>\nHm.\n</think>\n\nHello."),
        user("Bye"),
    ];
    assert_eq!(prompt(THINKING, &messages), "USER: Hi\nHello..USER: Bye\n.");
}

#[test]
fn json_is_pythons() {
    let source =
        "{{ messages[0].content | tojson }} {{ {'a': [1, none, true]} | tojson(indent=4) }}";
    let expected = "\"<a & 'b'>\\n\\\"ä\\\"\" {\n    \"a\": [\n        1,\n        null,\n        true\n    ]\n}";
    assert_eq!(prompt(source, &[user("<a & 'b'>\n\"ä\"")]), expected);
}

#[test]
fn blocks_are_trimmed() {
    let source = "a\n  {% if true %}\nb\n  {% endif %}\nc\n";
    assert_eq!(prompt(source, &[user("")]), "a\nb\nc");
}

#[test]
fn a_template_without_an_end_of_answers() {
    let source = "{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}";
    assert_eq!(template(source).end_of_answer(), None);
    assert_eq!(template("nothing").end_of_answer(), None);
}

#[test]
fn broken_templates_are_told() {
    let error = Template::new("a\n{% if %}", "", "").err().unwrap();
    assert!(error.contains("line 2"), "{error}");
    let error = render(&template("{{ messages.x.y }}"), &[user("")]).unwrap_err();
    assert!(error.contains("undefined"), "{error}");
}

#[test]
fn endless_templates_end() {
    let endless = "{% for a in range(10000) %}{% for b in range(10000) %}{% for c in range(10000) %}\
        {% endfor %}{% endfor %}{% endfor %}";
    let error = render(&template(endless), &[user("")]).unwrap_err();
    assert!(error.contains("fuel"), "{error}");
    let recursive = template("{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}");
    assert!(render(&recursive, &[user("")]).is_err());
}
