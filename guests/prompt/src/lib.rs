//! Prompts of chat models, for the guests that talk with them.
//!
//! 1. `message`: what was said, and the tools that a model may call.
//! 2. `template`: the model's own chat template makes a prompt of that.
//! 3. `text`: the answer arrives in pieces, and ends where a stop text begins.
//! 4. `tools`: the calls of tools in the answer are told from its text.
//!
//! `clock` writes the dates that templates ask for.

mod clock;
mod message;
mod template;
mod text;
mod tools;

pub use message::{Message, Role, Tool, ToolCall};
pub use template::{CHATML, Options, Template};
pub use text::Text;
pub use tools::{Format, Parser, Piece};
