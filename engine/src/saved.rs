//! Conversations as bytes: JSON, so that whoever keeps them can read them.

use crate::bindings::exports::llm_wasi::llm::generation::{
    Message, Options, Part, Role, Tool, ToolCall, ToolChoice,
};
use crate::bindings::exports::llm_wasi::llm::types::{Format, Limits, Sampling};
use crate::conversation::Conversation;
use crate::failure::{Failure, invalid};
use crate::model::Model;
use serde::{Deserialize, Serialize};
use std::rc::Rc;

/// Changes with the form.
const VERSION: u32 = 1;

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Saved {
    version: u32,
    /// The model's name and architecture, for whoever reads it.
    model: String,
    architecture: String,
    messages: Vec<SavedMessage>,
    sampling: Option<SavedSampling>,
    limits: Option<SavedLimits>,
    format: Option<SavedFormat>,
    logprobs: Option<u32>,
    tools: Option<Vec<SavedTool>>,
    tool_choice: Option<SavedChoice>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct SavedMessage {
    role: SavedRole,
    content: Vec<SavedPart>,
    #[serde(default)]
    tool_calls: Vec<SavedCall>,
    tool_call_id: Option<String>,
}

#[derive(Clone, Copy, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum SavedRole {
    System,
    User,
    Assistant,
    Tool,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum SavedPart {
    Text(String),
    Image(Vec<u8>),
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct SavedCall {
    id: String,
    name: String,
    arguments: String,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct SavedTool {
    name: String,
    description: String,
    parameters: String,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum SavedChoice {
    Auto,
    None,
    Required,
    Named(String),
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum SavedFormat {
    Text,
    Json,
    JsonSchema(String),
    Grammar(String),
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct SavedSampling {
    temperature: Option<f32>,
    top_p: Option<f32>,
    top_k: Option<u32>,
    min_p: Option<f32>,
    repeat_penalty: Option<f32>,
    presence_penalty: Option<f32>,
    frequency_penalty: Option<f32>,
    seed: Option<u32>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct SavedLimits {
    max_tokens: Option<u32>,
    stop: Option<Vec<String>>,
    time_limit: Option<u32>,
}

pub(crate) fn save(conversation: &Conversation) -> Vec<u8> {
    let Options {
        sampling,
        limits,
        format,
        logprobs,
        tools,
        tool_choice,
    } = conversation.options();
    let model = conversation.model();
    let saved = Saved {
        version: VERSION,
        model: model.name().to_owned(),
        architecture: model.description().architecture.clone(),
        messages: conversation.messages().iter().map(save_message).collect(),
        sampling: sampling.map(|sampling| SavedSampling {
            temperature: sampling.temperature,
            top_p: sampling.top_p,
            top_k: sampling.top_k,
            min_p: sampling.min_p,
            repeat_penalty: sampling.repeat_penalty,
            presence_penalty: sampling.presence_penalty,
            frequency_penalty: sampling.frequency_penalty,
            seed: sampling.seed,
        }),
        limits: limits.as_ref().map(|limits| SavedLimits {
            max_tokens: limits.max_tokens,
            stop: limits.stop.clone(),
            time_limit: limits.time_limit,
        }),
        format: format.as_ref().map(|format| match format {
            Format::Text => SavedFormat::Text,
            Format::Json => SavedFormat::Json,
            Format::JsonSchema(schema) => SavedFormat::JsonSchema(schema.clone()),
            Format::Grammar(grammar) => SavedFormat::Grammar(grammar.clone()),
        }),
        logprobs: *logprobs,
        tools: tools.as_ref().map(|tools| {
            let save = |tool: &Tool| SavedTool {
                name: tool.name.clone(),
                description: tool.description.clone(),
                parameters: tool.parameters.clone(),
            };
            tools.iter().map(save).collect()
        }),
        tool_choice: tool_choice.as_ref().map(|choice| match choice {
            ToolChoice::Auto => SavedChoice::Auto,
            ToolChoice::None => SavedChoice::None,
            ToolChoice::Required => SavedChoice::Required,
            ToolChoice::Named(name) => SavedChoice::Named(name.clone()),
        }),
    };
    // Texts and numbers only: it always can be written.
    serde_json::to_vec(&saved).unwrap_or_default()
}

pub(crate) fn restore(model: Rc<Model>, state: &[u8]) -> Result<Conversation, Failure> {
    let saved: Saved = serde_json::from_slice(state).map_err(|error| {
        invalid(
            "state",
            format!("expected the bytes that `save` gave: {error}"),
        )
    })?;
    if saved.version != VERSION {
        return Err(invalid(
            "state",
            format!("expected version {VERSION}, found {}", saved.version),
        ));
    }
    let architecture = &model.description().architecture;
    if saved.architecture != *architecture {
        return Err(invalid(
            "state",
            format!(
                "expected a conversation with a model of architecture {architecture}, found {} ({})",
                saved.architecture, saved.model
            ),
        ));
    }
    let options = Options {
        sampling: saved.sampling.map(|sampling| Sampling {
            temperature: sampling.temperature,
            top_p: sampling.top_p,
            top_k: sampling.top_k,
            min_p: sampling.min_p,
            repeat_penalty: sampling.repeat_penalty,
            presence_penalty: sampling.presence_penalty,
            frequency_penalty: sampling.frequency_penalty,
            seed: sampling.seed,
        }),
        limits: saved.limits.map(|limits| Limits {
            max_tokens: limits.max_tokens,
            stop: limits.stop,
            time_limit: limits.time_limit,
        }),
        format: saved.format.map(|format| match format {
            SavedFormat::Text => Format::Text,
            SavedFormat::Json => Format::Json,
            SavedFormat::JsonSchema(schema) => Format::JsonSchema(schema),
            SavedFormat::Grammar(grammar) => Format::Grammar(grammar),
        }),
        logprobs: saved.logprobs,
        tools: saved.tools.map(|tools| {
            let restore = |tool: SavedTool| Tool {
                name: tool.name,
                description: tool.description,
                parameters: tool.parameters,
            };
            tools.into_iter().map(restore).collect()
        }),
        tool_choice: saved.tool_choice.map(|choice| match choice {
            SavedChoice::Auto => ToolChoice::Auto,
            SavedChoice::None => ToolChoice::None,
            SavedChoice::Required => ToolChoice::Required,
            SavedChoice::Named(name) => ToolChoice::Named(name),
        }),
    };
    let messages = saved.messages.into_iter().map(restore_message).collect();
    Conversation::begin(model, messages, options)
}

fn save_message(message: &Message) -> SavedMessage {
    SavedMessage {
        role: match message.role {
            Role::System => SavedRole::System,
            Role::User => SavedRole::User,
            Role::Assistant => SavedRole::Assistant,
            Role::Tool => SavedRole::Tool,
        },
        content: message
            .content
            .iter()
            .map(|part| match part {
                Part::Text(text) => SavedPart::Text(text.clone()),
                Part::Image(bytes) => SavedPart::Image(bytes.clone()),
            })
            .collect(),
        tool_calls: message
            .tool_calls
            .iter()
            .map(|call| SavedCall {
                id: call.id.clone(),
                name: call.name.clone(),
                arguments: call.arguments.clone(),
            })
            .collect(),
        tool_call_id: message.tool_call_id.clone(),
    }
}

fn restore_message(message: SavedMessage) -> Message {
    Message {
        role: match message.role {
            SavedRole::System => Role::System,
            SavedRole::User => Role::User,
            SavedRole::Assistant => Role::Assistant,
            SavedRole::Tool => Role::Tool,
        },
        content: message
            .content
            .into_iter()
            .map(|part| match part {
                SavedPart::Text(text) => Part::Text(text),
                SavedPart::Image(bytes) => Part::Image(bytes),
            })
            .collect(),
        tool_calls: message
            .tool_calls
            .into_iter()
            .map(|call| ToolCall {
                id: call.id,
                name: call.name,
                arguments: call.arguments,
            })
            .collect(),
        tool_call_id: message.tool_call_id,
    }
}
