//! Calls of tools in what a model writes.
//!
//! 1. `Format` tells from the model's chat template how the model writes calls, and which texts open
//!    and close one.
//! 2. `Parser` takes the answer in pieces and holds back what may become a call: first in `parser`
//!    what may be an opening, then in `block` what is between opening and end.
//! 3. `scan` finds the end of the JSON in a block, and `calls` reads it, or the parameters in tags.
//!
//! What turns out to be no call is text, unchanged, and so is what a model thinks before it answers. All of it takes time in proportion to the text,
//! and nothing recurses as deep as the text says.

mod block;
mod calls;
mod parser;
mod scan;

use crate::message::ToolCall;
use block::Kind;
pub use parser::Parser;

/// A part of an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Piece {
    /// What the model says.
    Text(String),
    /// What it calls; without an id of the model's own it is `call_0`, `call_1` and so on, behind the calls before.
    Call(ToolCall),
}

/// How a family of models writes calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Hermes, Qwen, SmolLM3 and others: `<tool_call>{…}</tool_call>`.
    Hermes,
    /// Qwen3-Coder: `<tool_call><function=name><parameter=key>value</parameter></function></tool_call>`.
    QwenCoder,
    /// Llama 3 and 4: JSON with `name` and `parameters` for an answer, or behind `<|python_tag|>`.
    Llama,
    /// Mistral: `[TOOL_CALLS][{…}]`, `[TOOL_CALLS]name[ARGS]{…}` and `[TOOL_CALLS]name{…}`.
    Mistral,
    /// DeepSeek: `<｜tool▁call▁begin｜>` and `<｜tool▁sep｜>`, with and without the type of the tool.
    DeepSeek,
    /// Granite and Phi-4-mini: `<|tool_call|>[…]` and `functools[…]`.
    Granite,
    /// Command R: `Action:` and a block of JSON, or `<|START_ACTION|>[…]<|END_ACTION|>`.
    Command,
    /// Functionary: `>>>name` and a line of JSON, or `<function=name>{…}</function>`.
    Functionary,
}

/// A text that opens a call.
#[derive(Debug)]
struct Opening {
    text: &'static str,
    kind: Kind,
    /// What may follow the call, in this order, and belongs to it.
    closings: &'static [&'static str],
}

impl Opening {
    const fn new(text: &'static str, kind: Kind, closings: &'static [&'static str]) -> Self {
        Self {
            text,
            kind,
            closings,
        }
    }
}

const TOOL_CALL: Opening =
    Opening::new("<tool_call>", Kind::Json, &["</function>", "</tool_call>"]);
const FUNCTION: Opening = Opening::new(
    "<function=",
    Kind::Function,
    &["</function>", "</tool_call>"],
);
const DEEPSEEK: &[&str] = &["```", "<｜tool▁call▁end｜>", "<｜tool▁calls▁end｜>"];

impl Format {
    /// The format of the models with this chat template. `None`: the template knows of no calls, or
    /// of calls in a way that is not known here.
    pub fn of_template(source: &str) -> Option<Self> {
        let has = |text: &str| source.contains(text);
        // From what only one family writes to what others mention as well.
        let formats = [
            (Format::DeepSeek, has("<｜tool▁call▁begin｜>")),
            (Format::Command, has("<|START_ACTION|>")),
            (Format::Command, has("Action:") && has("tool_name")),
            (Format::Mistral, has("[TOOL_CALLS]")),
            (Format::QwenCoder, has("<function=") && has("<parameter=")),
            (Format::Granite, has("<|tool_call|>") || has("functools[")),
            (Format::Hermes, has("<tool_call>") || has("<tool_calls>")),
            (Format::Functionary, has(">>>") && has("recipient")),
            (Format::Functionary, has("<function=") && !has("python_tag")),
            (Format::Llama, has("<|python_tag|>") || has("ipython")),
        ];
        formats
            .into_iter()
            .find_map(|(format, found)| found.then_some(format))
    }

    fn openings(self) -> &'static [Opening] {
        match self {
            Format::Hermes => {
                const {
                    &[
                        TOOL_CALL,
                        Opening::new("<tool_calls>", Kind::Json, &["</tool_calls>"]),
                    ]
                }
            }
            Format::QwenCoder => const { &[TOOL_CALL, FUNCTION] },
            Format::Llama => {
                const {
                    &[
                        Opening::new("{", Kind::Bare, &[";"]),
                        Opening::new("<|python_tag|>", Kind::Json, &[";"]),
                        Opening::new("<|python_start|>", Kind::Json, &["<|python_end|>"]),
                        FUNCTION,
                    ]
                }
            }
            Format::Mistral => const { &[Opening::new("[TOOL_CALLS]", Kind::Mistral, &[])] },
            Format::DeepSeek => {
                const {
                    &[
                        Opening::new("<｜tool▁calls▁begin｜>", Kind::DeepSeek, DEEPSEEK),
                        Opening::new("<｜tool▁call▁begin｜>", Kind::DeepSeek, DEEPSEEK),
                    ]
                }
            }
            Format::Granite => {
                const {
                    &[
                        Opening::new("<|tool_call|>", Kind::Json, &["<|/tool_call|>"]),
                        Opening::new("functools", Kind::Json, &[]),
                        TOOL_CALL,
                    ]
                }
            }
            Format::Command => {
                const {
                    &[
                        Opening::new("<|START_ACTION|>", Kind::Json, &["<|END_ACTION|>"]),
                        Opening::new("Action:", Kind::Fenced, &["```"]),
                    ]
                }
            }
            Format::Functionary => const { &[Opening::new(">>>", Kind::Line, &[]), FUNCTION] },
        }
    }

    /// What an answer begins in, where the prompt has opened it already.
    fn opened(self) -> Option<&'static Opening> {
        match self {
            Format::Functionary => const { Some(&Opening::new("", Kind::Line, &[])) },
            _ => None,
        }
    }
}

#[cfg(test)]
mod hostile;
#[cfg(test)]
mod tests;
