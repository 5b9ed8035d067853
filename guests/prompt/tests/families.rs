//! The chat templates of well-known models, as they are spread, on what their authors document.
//!
//! `scripts/setup.sh templates` prints a value for `LLM_WASI_TEMPLATES`. What is expected is written
//! after the documents named with each family; their own wording in a prompt is left out.

use prompt::{Format, Message, Options, Role, Template, Tool, ToolCall};
use std::path::{Path, PathBuf};

/// The folder of the templates. Without it there is nothing to test, which may not be in CI.
fn folder() -> Option<PathBuf> {
    let Some(folder) = std::env::var_os("LLM_WASI_TEMPLATES") else {
        eprintln!(
            "SKIPPED: no chat templates: set LLM_WASI_TEMPLATES to what `scripts/setup.sh templates` prints"
        );
        assert!(
            std::env::var_os("CI").is_none(),
            "CI needs LLM_WASI_TEMPLATES"
        );
        return None;
    };
    Some(folder.into())
}

fn source(folder: &Path, name: &str) -> String {
    let file = folder.join(name).with_extension("jinja");
    std::fs::read_to_string(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()))
}

fn template(folder: &Path, name: &str) -> Template {
    Template::new(&source(folder, name), "<s>", "</s>")
        .unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// The options with the variables that some templates look at.
fn options() -> Options {
    let mut options = Options::default();
    options
        .variables
        .insert("date_string".to_owned(), "01 Jan 2025".into());
    options
        .variables
        .insert("enable_thinking".to_owned(), false.into());
    options
}

fn message(role: Role, content: &str) -> Message {
    Message::new(role, content)
}

/// A system prompt and two turns, the second without an answer.
fn conversation() -> [Message; 4] {
    [
        message(Role::System, "Be brief."),
        message(Role::User, "Hi"),
        message(Role::Assistant, "Hello."),
        message(Role::User, "Bye"),
    ]
}

/// A question, a call, and its result. The id is one of this crate's own.
fn call() -> [Message; 3] {
    let mut call = message(Role::Assistant, "");
    call.tool_calls.push(ToolCall {
        id: "call_0".to_owned(),
        name: "weather".to_owned(),
        arguments: r#"{"city": "Paris", "days": 2}"#.to_owned(),
    });
    let mut result = message(Role::Tool, "Sunny");
    result.tool_call_id = Some("call_0".to_owned());
    [message(Role::User, "Hi"), call, result]
}

fn tool() -> Tool {
    Tool {
        name: "weather".to_owned(),
        description: "<Über> & so".to_owned(),
        parameters: r#"{"type":"object","properties":{"city":{"type":"string"}}}"#.to_owned(),
    }
}

/// The tool as Python writes its JSON on a line.
const TOOL: &str = r#"{"type": "function", "function": {"name": "weather", "description": "<Über> & so", "parameters": {"type": "object", "properties": {"city": {"type": "string"}}}}}"#;

#[test]
fn conversations() {
    let Some(folder) = folder() else { return };
    let chatml = "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nHi<|im_end|>\n\
        <|im_start|>assistant\nHello.<|im_end|>\n<|im_start|>user\nBye<|im_end|>\n<|im_start|>assistant\n";
    let thoughtless = format!("{chatml}<think>\n\n</think>\n\n");
    let gemma = "<s><start_of_turn>user\nBe brief.\n\nHi<end_of_turn>\n<start_of_turn>model\nHello.<end_of_turn>\n\
        <start_of_turn>user\nBye<end_of_turn>\n<start_of_turn>model\n";
    for (name, expected) in [
        // OpenAI, "Chat Markup Language".
        ("chatml", chatml),
        // Qwen, "Key Concepts", section "Control Tokens & Chat Template".
        ("qwen_25", chatml),
        // Qwen, "Quickstart", section "Thinking & Non-Thinking Mode".
        ("qwen3", &thoughtless),
        // Meta, "Llama 3.1: Model Cards & Prompt formats".
        (
            "llama3",
            "<s><|start_header_id|>system<|end_header_id|>\n\nBe brief.<|eot_id|>\
             <|start_header_id|>user<|end_header_id|>\n\nHi<|eot_id|>\
             <|start_header_id|>assistant<|end_header_id|>\n\nHello.<|eot_id|>\
             <|start_header_id|>user<|end_header_id|>\n\nBye<|eot_id|>\
             <|start_header_id|>assistant<|end_header_id|>\n\n",
        ),
        // Meta, "Llama 3.2", which begins the system prompt with two dates.
        (
            "llama3_2_vision",
            "<s><|start_header_id|>system<|end_header_id|>\n\n\
             Cutting Knowledge Date: December 2023\nToday Date: 01 Jan 2025\n\nBe brief.<|eot_id|>\
             <|start_header_id|>user<|end_header_id|>\n\nHi<|eot_id|>\
             <|start_header_id|>assistant<|end_header_id|>\n\nHello.<|eot_id|>\
             <|start_header_id|>user<|end_header_id|>\n\nBye<|eot_id|>\
             <|start_header_id|>assistant<|end_header_id|>\n\n",
        ),
        // Meta, "Llama 4: Model Cards & Prompt formats".
        (
            "llama4",
            "<s><|header_start|>system<|header_end|>\n\nBe brief.<|eot|>\
             <|header_start|>user<|header_end|>\n\nHi<|eot|>\
             <|header_start|>assistant<|header_end|>\n\nHello.<|eot|>\
             <|header_start|>user<|header_end|>\n\nBye<|eot|>\
             <|header_start|>assistant<|header_end|>\n\n",
        ),
        // Mistral, "Cookbook: tokenization, templates", of version 1, 3, 3 of Tekken (Nemo), and 7 (Small).
        (
            "mistral_v1",
            "<s> [INST] Be brief.\n\nHi [/INST] Hello.</s> [INST] Bye [/INST]",
        ),
        (
            "mistral_v2v3",
            "<s>[INST] Hi[/INST] Hello.</s>[INST] Be brief.\n\nBye[/INST]",
        ),
        (
            "mistral_v3_tekken",
            "<s>[INST]Hi[/INST]Hello.</s>[INST]Be brief.\n\nBye[/INST]",
        ),
        (
            "mistral_v7_tekken",
            "<s>[SYSTEM_PROMPT]Be brief.[/SYSTEM_PROMPT][INST]Hi[/INST]Hello.</s>[INST]Bye[/INST]",
        ),
        // Google, "Gemma formatting and system instructions": the user begins with the system's text.
        ("gemma", gemma),
        ("gemma3", gemma),
        // Microsoft, the model card of Phi-3.5-mini-instruct, section "Input Formats".
        (
            "phi_35",
            "<|system|>\nBe brief.<|end|>\n<|user|>\nHi<|end|>\n<|assistant|>\nHello.<|end|>\n\
             <|user|>\nBye<|end|>\n<|assistant|>\n",
        ),
        // Microsoft, the model card of Phi-4, section "Input Formats".
        (
            "phi_4",
            "<|im_start|>system<|im_sep|>Be brief.<|im_end|><|im_start|>user<|im_sep|>Hi<|im_end|>\
             <|im_start|>assistant<|im_sep|>Hello.<|im_end|><|im_start|>user<|im_sep|>Bye<|im_end|>\
             <|im_start|>assistant<|im_sep|>",
        ),
        // DeepSeek, the model card of DeepSeek-V3.1, section "Chat Template", without its thoughts.
        (
            "deepseek_v3",
            "<s>Be brief.<｜User｜>Hi<｜Assistant｜>Hello.<｜end▁of▁sentence｜><｜User｜>Bye<｜Assistant｜>",
        ),
        // Cohere, "Prompting Command R".
        (
            "cohere",
            "<s><|START_OF_TURN_TOKEN|><|SYSTEM_TOKEN|>Be brief.<|END_OF_TURN_TOKEN|>\
             <|START_OF_TURN_TOKEN|><|USER_TOKEN|>Hi<|END_OF_TURN_TOKEN|>\
             <|START_OF_TURN_TOKEN|><|CHATBOT_TOKEN|>Hello.<|END_OF_TURN_TOKEN|>\
             <|START_OF_TURN_TOKEN|><|USER_TOKEN|>Bye<|END_OF_TURN_TOKEN|>\
             <|START_OF_TURN_TOKEN|><|CHATBOT_TOKEN|>",
        ),
        // TII, the model card of Falcon-H1: ChatML behind the first token.
        ("falcon_h1", &format!("<s>{chatml}")),
    ] {
        let prompt = template(&folder, name).prompt(&conversation(), &[], &options());
        assert_eq!(prompt.as_deref(), Ok(expected), "{name}");
    }
}

#[test]
fn tools_are_told_of() {
    let Some(folder) = folder() else { return };
    for (name, begins, contains, ends) in [
        // Qwen, "Function Calling".
        (
            "qwen_25",
            "<|im_start|>system\nBe brief.\n\n# Tools\n\n",
            format!("<tools>\n{TOOL}\n</tools>"),
            "<|im_end|>\n<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n",
        ),
        (
            "qwen3",
            "<|im_start|>system\nBe brief.\n\n# Tools\n\n",
            format!("<tools>\n{TOOL}\n</tools>"),
            "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n",
        ),
        // Meta, "Llama 3.2": the tools are in the first message of the user, JSON with an indent.
        (
            "llama3_2_vision",
            "<s><|start_header_id|>system<|end_header_id|>\n\nEnvironment: ipython\n",
            "{\n    \"type\": \"function\",\n    \"function\": {\n        \"name\": \"weather\",\n        \
             \"description\": \"<Über> & so\",\n"
                .to_owned(),
            "}\n\nHi<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\n",
        ),
        // Mistral, the cookbook, of version 3: before the last message of the user.
        (
            "mistral_v2v3",
            "<s>[AVAILABLE_TOOLS] [{",
            format!("[{TOOL}]"),
            "[/AVAILABLE_TOOLS][INST] Be brief.\n\nHi[/INST]",
        ),
        (
            "mistral_v3_tekken",
            "<s>[AVAILABLE_TOOLS][{",
            format!("[{TOOL}]"),
            "[/AVAILABLE_TOOLS][INST]Be brief.\n\nHi[/INST]",
        ),
        // Cohere, "Prompting Command R", section on tools.
        (
            "command_a_tool_use",
            "<s><|START_OF_TURN_TOKEN|><|SYSTEM_TOKEN|>",
            r#"{"name": "weather", "description": "<Über> & so", "parameters": {"type": "object", "properties": {"city": {"type": "string"}}}, "responses": null}"#.to_owned(),
            "Be brief.<|END_OF_TURN_TOKEN|><|START_OF_TURN_TOKEN|><|USER_TOKEN|>Hi<|END_OF_TURN_TOKEN|>\
             <|START_OF_TURN_TOKEN|><|CHATBOT_TOKEN|>",
        ),
        // LG AI Research, the model card of EXAONE 4.0, section "Agentic Use".
        (
            "exaone4",
            "[|system|]\nBe brief.\n\n# Available Tools",
            format!("<tool>{TOOL}</tool>\n"),
            "[|endofturn|]\n[|user|]\nHi[|endofturn|]\n[|assistant|]\n<think>\n\n</think>\n\n",
        ),
        // AI21, the model card of Jamba 1.5, section "Tool Use".
        (
            "jamba",
            "<|startoftext|><|bom|><|system|> Be brief.\n\n<tool_definitions>\n# Tools\n\n## Functions\n\n{",
            "{\n  \"name\": \"weather\",\n  \"description\": \"<Über> & so\",\n".to_owned(),
            "</tool_definitions><|eom|><|bom|><|user|> Hi<|eom|><|bom|><|assistant|>",
        ),
    ] {
        let template = template(&folder, name);
        assert!(template.supports_tools(), "{name}");
        let prompt = template.prompt(&conversation()[..2], &[tool()], &options()).unwrap();
        assert!(prompt.starts_with(begins), "{name}: {prompt}");
        assert!(prompt.contains(&contains), "{name}: {prompt}");
        assert!(prompt.ends_with(ends), "{name}: {prompt}");
    }
}

#[test]
fn calls_and_their_results() {
    let Some(folder) = folder() else { return };
    // After the same documents. An id that a template does not take becomes one that it does.
    for (name, format, ends) in [
        (
            "qwen_25",
            Format::Hermes,
            "<|im_start|>assistant\n<tool_call>\n{\"name\": \"weather\", \"arguments\": {\"city\": \"Paris\", \"days\": 2}}\n</tool_call><|im_end|>\n\
             <|im_start|>user\n<tool_response>\nSunny\n</tool_response><|im_end|>\n<|im_start|>assistant\n",
        ),
        (
            "qwen3",
            Format::Hermes,
            "<|im_start|>assistant\n<tool_call>\n{\"name\": \"weather\", \"arguments\": {\"city\": \"Paris\", \"days\": 2}}\n</tool_call><|im_end|>\n\
             <|im_start|>user\n<tool_response>\nSunny\n</tool_response><|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n",
        ),
        (
            "llama3_2_vision",
            Format::Llama,
            "<|start_header_id|>assistant<|end_header_id|>\n\n\
             {\"name\": \"weather\", \"parameters\": {\"city\": \"Paris\", \"days\": 2}}<|eot_id|>\
             <|start_header_id|>ipython<|end_header_id|>\n\n\"Sunny\"<|eot_id|>\
             <|start_header_id|>assistant<|end_header_id|>\n\n",
        ),
        (
            "mistral_v2v3",
            Format::Mistral,
            "[INST] Hi[/INST][TOOL_CALLS] [{\"name\": \"weather\", \"arguments\": {\"city\": \"Paris\", \"days\": 2}, \"id\": \"000000000\"}]</s>\
             [TOOL_RESULTS] {\"content\": Sunny, \"call_id\": \"000000000\"}[/TOOL_RESULTS]",
        ),
        (
            "mistral_v3_tekken",
            Format::Mistral,
            "[INST]Hi[/INST][TOOL_CALLS][{\"name\": \"weather\", \"arguments\": {\"city\": \"Paris\", \"days\": 2}, \"id\": \"000000000\"}]</s>\
             [TOOL_RESULTS]{\"content\": Sunny, \"call_id\": \"000000000\"}[/TOOL_RESULTS]",
        ),
        // The arguments are text here.
        (
            "deepseek_v3",
            Format::DeepSeek,
            "<｜User｜>Hi<｜Assistant｜><｜tool▁calls▁begin｜><｜tool▁call▁begin｜>function<｜tool▁sep｜>weather\n\
             ```json\n{\"city\": \"Paris\", \"days\": 2}\n```<｜tool▁call▁end｜><｜tool▁calls▁end｜><｜end▁of▁sentence｜>\
             <｜tool▁outputs▁begin｜><｜tool▁output▁begin｜>Sunny<｜tool▁output▁end｜><｜tool▁outputs▁end｜>",
        ),
        (
            "command_a_tool_use",
            Format::Command,
            "<|START_ACTION|>[\n    {\"tool_call_id\": \"0\", \"tool_name\": \"weather\", \"parameters\": {\"city\": \"Paris\", \"days\": 2}}\n]\
             <|END_ACTION|><|END_OF_TURN_TOKEN|><|START_OF_TURN_TOKEN|><|SYSTEM_TOKEN|><|START_TOOL_RESULT|>[\n    {\n        \
             \"tool_call_id\": \"0\",\n        \"results\": {\n            \"0\": \"Sunny\"\n        },\n        \"is_error\": null\n    }\n]\
             <|END_TOOL_RESULT|><|END_OF_TURN_TOKEN|><|START_OF_TURN_TOKEN|><|CHATBOT_TOKEN|>",
        ),
        (
            "exaone4",
            Format::Hermes,
            "<tool_call>{\"name\": \"weather\", \"arguments\": {\"city\": \"Paris\", \"days\": 2}}</tool_call>[|endofturn|]\n\
             [|tool|]\n<tool_result>{\"result\": \"Sunny\"}</tool_result>[|endofturn|]\n[|assistant|]\n<think>\n\n</think>\n\n",
        ),
        (
            "jamba",
            Format::Hermes,
            "<tool_calls>[\n    {\"name\": \"weather\", \"arguments\": {\"city\": \"Paris\", \"days\": 2}}\n]</tool_calls><|eom|>\
             <|bom|><|tool|> (weather)Sunny<|eom|><|bom|><|assistant|>",
        ),
    ] {
        let found = template(&folder, name);
        assert!(
            found.supports_tool_calls() && found.supports_tool_results(),
            "{name}"
        );
        let prompt = found.prompt(&call(), &[tool()], &options()).unwrap();
        assert!(prompt.ends_with(ends), "{name}: {prompt}");
        assert_eq!(
            Format::of_template(&source(&folder, name)),
            Some(format),
            "{name}"
        );
    }
}

#[test]
fn what_templates_do_not_support_is_told() {
    let Some(folder) = folder() else { return };
    assert!(!template(&folder, "gemma").supports_system());
    for name in [
        "gemma",
        "gemma3",
        "phi_35",
        "mistral_v1",
        "mistral_v7_tekken",
        "llama3",
    ] {
        let template = template(&folder, name);
        assert!(
            !template.supports_tools() && !template.supports_tool_calls(),
            "{name}"
        );
        assert_eq!(Format::of_template(&source(&folder, name)), None, "{name}");
    }
    for name in [
        "gemma",
        "gemma3",
        "phi_35",
        "mistral_v1",
        "mistral_v7_tekken",
    ] {
        assert!(!template(&folder, name).supports_tool_results(), "{name}");
    }
}

#[test]
fn every_template_renders_a_conversation() {
    let Some(folder) = folder() else { return };
    let mut count = 0;
    for entry in std::fs::read_dir(&folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_str().unwrap();
        if path
            .extension()
            .is_none_or(|extension| extension != "jinja")
        {
            continue;
        }
        let template = template(&folder, name);
        let prompt = template.prompt(&conversation(), &[], &Options::default());
        let prompt = prompt.unwrap_or_else(|error| panic!("{name}: {error}"));
        for text in ["Be brief.", "Hi", "Hello.", "Bye"] {
            assert!(prompt.contains(text), "{name}: {prompt}");
        }
        count += 1;
    }
    assert!(count > 30, "{count} templates in {}", folder.display());
}

/// Llama's templates of version 3 refuse an answer with two calls; most others take them.
#[test]
fn several_calls_of_one_answer() {
    let Some(folder) = folder() else { return };
    for (name, several) in [
        ("llama3_2_vision", false),
        ("qwen_25", true),
        ("qwen3", true),
        ("mistral_v3_tekken", true),
        ("command_a_tool_use", true),
    ] {
        let template = template(&folder, name);
        assert!(template.supports_tool_calls(), "{name}");
        assert_eq!(template.supports_parallel_calls(), several, "{name}");
    }
}
