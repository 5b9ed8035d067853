//! The values of the Rust host's typed functions from and as JSON, in the shape that `values.rs` describes.

use anyhow::{Context, Result, bail};
use llm_wasi_example_host::generation::{
    Answer, Event, Finish, Message, Options, Part, Piece, Role, Tool, ToolCall, ToolChoice,
};
use llm_wasi_example_host::models::{Capabilities, Embeddings, ModelInfo};
use llm_wasi_example_host::types::{
    Candidate, Error, FinishReason, Format, Limits, Sampling, TokenLogprobs,
};
use serde_json::{Map, Value, json};

pub(super) fn narrow(number: u64) -> Result<u32> {
    Ok(u32::try_from(number)?)
}

pub(super) fn text(value: &Value) -> Result<String> {
    let text = value
        .as_str()
        .with_context(|| format!("expected a text, found {value}"))?;
    Ok(text.to_owned())
}

/// A list, or none.
fn list<T>(value: &Value, read: impl Fn(&Value) -> Result<T>) -> Result<Option<Vec<T>>> {
    value
        .as_array()
        .map(|items| items.iter().map(read).collect())
        .transpose()
}

pub(super) fn options(value: &Value) -> Result<Options> {
    let sampling = &value["sampling"];
    let limits = &value["limits"];
    let number = |name: &str| sampling[name].as_f64().map(|number| number as f32);
    let whole = |value: &Value| value.as_u64().map(narrow).transpose();
    Ok(Options {
        sampling: if sampling.is_null() {
            None
        } else {
            Some(Sampling {
                temperature: number("temperature"),
                top_p: number("topP"),
                top_k: whole(&sampling["topK"])?,
                min_p: number("minP"),
                repeat_penalty: number("repeatPenalty"),
                presence_penalty: number("presencePenalty"),
                frequency_penalty: number("frequencyPenalty"),
                seed: whole(&sampling["seed"])?,
            })
        },
        limits: if limits.is_null() {
            None
        } else {
            Some(Limits {
                max_tokens: whole(&limits["maxTokens"])?,
                stop: list(&limits["stop"], text)?,
                time_limit: whole(&limits["timeLimit"])?,
            })
        },
        format: match value["format"]["tag"].as_str() {
            None => None,
            Some("text") => Some(Format::Text),
            Some("json") => Some(Format::Json),
            Some("json-schema") => Some(Format::JsonSchema(text(&value["format"]["val"])?)),
            Some("grammar") => Some(Format::Grammar(text(&value["format"]["val"])?)),
            Some(other) => bail!("no format {other}"),
        },
        logprobs: whole(&value["logprobs"])?,
        tools: list(&value["tools"], |tool| {
            Ok(Tool {
                name: text(&tool["name"])?,
                description: text(&tool["description"])?,
                parameters: text(&tool["parameters"])?,
            })
        })?,
        tool_choice: match value["toolChoice"]["tag"].as_str() {
            None => None,
            Some("auto") => Some(ToolChoice::Auto),
            Some("none") => Some(ToolChoice::None),
            Some("required") => Some(ToolChoice::Required),
            Some("named") => Some(ToolChoice::Named(text(&value["toolChoice"]["val"])?)),
            Some(other) => bail!("no tool choice {other}"),
        },
    })
}

pub(super) fn messages(value: &Value) -> Result<Vec<Message>> {
    list(value, message)?.context("expected messages")
}

pub(super) fn message(value: &Value) -> Result<Message> {
    Ok(Message {
        role: match value["role"].as_str() {
            Some("system") => Role::System,
            Some("user") => Role::User,
            Some("assistant") => Role::Assistant,
            Some("tool") => Role::Tool,
            _ => bail!("no role in {value}"),
        },
        content: list(&value["content"], |part| {
            Ok(match part["tag"].as_str() {
                Some("text") => Part::Text(text(&part["val"])?),
                Some("image") => Part::Image(serde_json::from_value(part["val"].clone())?),
                _ => bail!("no part {part}"),
            })
        })?
        .context("expected parts")?,
        tool_calls: list(&value["toolCalls"], |call| {
            Ok(ToolCall {
                id: text(&call["id"])?,
                name: text(&call["name"])?,
                arguments: text(&call["arguments"])?,
            })
        })?
        .context("expected calls of tools")?,
        tool_call_id: value["toolCallId"].as_str().map(str::to_owned),
    })
}

/// A record, without the fields that are none.
fn record<const N: usize>(fields: [(&str, Value); N]) -> Value {
    let fields = fields.into_iter().filter(|(_, value)| !value.is_null());
    Value::Object(Map::from_iter(
        fields.map(|(name, value)| (name.to_owned(), value)),
    ))
}

pub(super) fn error(error: Error) -> Value {
    let tagged = |tag: &str, val: Value| json!({"tag": tag, "val": val});
    match error {
        Error::ModelNotFound(it) => tagged(
            "model-not-found",
            json!({"name": it.name, "available": it.available}),
        ),
        Error::ContextFull(it) => tagged(
            "context-full",
            json!({
                "contextLength": it.context_length,
                "promptTokens": it.prompt_tokens,
                "generatedTokens": it.generated_tokens,
            }),
        ),
        Error::PromptTooLong(it) => tagged(
            "prompt-too-long",
            json!({"promptTokens": it.prompt_tokens, "most": it.most}),
        ),
        Error::InvalidRequest(it) => tagged(
            "invalid-request",
            json!({"field": it.field, "reason": it.reason}),
        ),
        Error::Unsupported(text) => tagged("unsupported", json!(text)),
        Error::Busy => json!({"tag": "busy"}),
        Error::Cancelled => json!({"tag": "cancelled"}),
        Error::Timeout => json!({"tag": "timeout"}),
        Error::Backend(text) => tagged("backend", json!(text)),
    }
}

pub(super) fn model_info(info: ModelInfo) -> Value {
    let can = |capability| info.capabilities.contains(capability);
    record([
        ("name", json!(info.name)),
        ("architecture", json!(info.architecture)),
        ("parameters", json!(info.parameters)),
        ("contextLength", json!(info.context_length)),
        ("trainedContextLength", json!(info.trained_context_length)),
        ("embeddingLength", json!(info.embedding_length)),
        ("vocabularySize", json!(info.vocabulary_size)),
        ("chatTemplate", json!(info.chat_template)),
        (
            "capabilities",
            json!({
                "generate": can(Capabilities::GENERATE),
                "embed": can(Capabilities::EMBED),
                "systemPrompt": can(Capabilities::SYSTEM_PROMPT),
                "tools": can(Capabilities::TOOLS),
                "images": can(Capabilities::IMAGES),
            }),
        ),
    ])
}

pub(super) fn embeddings(embeddings: Embeddings) -> Value {
    json!({"vectors": embeddings.vectors, "tokens": embeddings.tokens})
}

pub(super) fn answer(answer: Answer) -> Value {
    json!({
        "text": answer.text,
        "toolCalls": answer.tool_calls.into_iter().map(tool_call).collect::<Vec<_>>(),
        "logprobs": answer.logprobs.into_iter().map(token_logprobs).collect::<Vec<_>>(),
        "finish": finish(answer.finish),
    })
}

pub(super) fn event(event: Event) -> Value {
    match event {
        Event::Text(Piece { text, logprobs }) => json!({"tag": "text", "val": {
            "text": text,
            "logprobs": logprobs.into_iter().map(token_logprobs).collect::<Vec<_>>(),
        }}),
        Event::ToolCall(call) => json!({"tag": "tool-call", "val": tool_call(call)}),
        Event::Finish(end) => json!({"tag": "finish", "val": finish(end)}),
    }
}

fn tool_call(call: ToolCall) -> Value {
    json!({"id": call.id, "name": call.name, "arguments": call.arguments})
}

fn token_logprobs(token: TokenLogprobs) -> Value {
    let candidate = |candidate: Candidate| json!({"token": candidate.token, "bytes": candidate.bytes, "logprob": candidate.logprob});
    json!({
        "chosen": candidate(token.chosen),
        "top": token.top.into_iter().map(candidate).collect::<Vec<_>>(),
    })
}

/// Without the times, which no two runs have in common.
fn finish(finish: Finish) -> Value {
    let reason = match finish.reason {
        FinishReason::End => "end",
        FinishReason::Stop => "stop",
        FinishReason::Length => "length",
        FinishReason::ContextFull => "context-full",
        FinishReason::ToolCalls => "tool-calls",
        FinishReason::Cancelled => "cancelled",
    };
    json!({"reason": reason, "usage": {
        "promptTokens": finish.usage.prompt_tokens,
        "cachedTokens": finish.usage.cached_tokens,
        "generatedTokens": finish.usage.generated_tokens,
    }})
}

pub(super) fn message_said(message: Message) -> Value {
    let role = match message.role {
        Role::System => "system",
        Role::User => "user",
        Role::Assistant => "assistant",
        Role::Tool => "tool",
    };
    let content: Vec<Value> = message
        .content
        .into_iter()
        .map(|part| match part {
            Part::Text(text) => json!({"tag": "text", "val": text}),
            Part::Image(bytes) => json!({"tag": "image", "val": bytes}),
        })
        .collect();
    record([
        ("role", json!(role)),
        ("content", json!(content)),
        (
            "toolCalls",
            json!(
                message
                    .tool_calls
                    .into_iter()
                    .map(tool_call)
                    .collect::<Vec<_>>()
            ),
        ),
        ("toolCallId", json!(message.tool_call_id)),
    ])
}
