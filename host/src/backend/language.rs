//! What language models can do beyond inputs and outputs: [`Graph::language`](super::Graph::language) and
//! [`ExecutionContext::language`](super::ExecutionContext::language) give it.

use crate::Error;
use serde::{Deserialize, Serialize};

/// What is known of a language model.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LanguageDescription {
    /// Its architecture, such as `llama`.
    pub architecture: String,
    /// How many parameters it has.
    pub parameters: u64,
    /// How many tokens it was trained with.
    pub context_length: u32,
    /// How many numbers an embedding has.
    pub embedding_length: u32,
    /// How many tokens there are.
    pub vocabulary_size: u32,
    /// Its chat template in Jinja, if it has one.
    pub chat_template: Option<String>,
    /// The template for chats with tools, if it has one of its own for them.
    pub tool_template: Option<String>,
    /// The text of the token that begins texts; empty if there is none.
    pub begin_of_text: String,
    /// That token, if the tokenizer puts it before every text.
    pub added_begin_of_text: Option<u32>,
    /// The text of the token that ends texts; empty if there is none.
    pub end_of_text: String,
    /// Whether it generates text.
    pub generates: bool,
    /// Whether images can be given to it.
    pub takes_images: bool,
}

/// A token that could have been chosen.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Candidate {
    /// The token.
    pub token: u32,
    /// Its bytes, which may end inside a character.
    pub bytes: Vec<u8>,
    /// The natural logarithm of its probability, before sampling changes anything.
    pub logprob: f32,
}

/// What a computation has cost so far, in tokens.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenUsage {
    /// How many the prompt has.
    pub prompt: u32,
    /// How many of them were in the KV cache and were not evaluated again.
    pub cached: u32,
    /// How many were generated.
    pub generated: u32,
}

/// A graph that is a language model.
pub trait LanguageModel {
    /// What is known of it.
    fn describe(&self) -> LanguageDescription;

    /// The tokens of a text, without one that begins it. Texts of special tokens become those if
    /// `special`.
    fn tokenize(&self, text: &str, special: bool) -> Result<Vec<u32>, Error>;

    /// The bytes of tokens.
    fn detokenize(&self, tokens: &[u32]) -> Result<Vec<u8>, Error>;
}

/// A context of a language model.
pub trait LanguageContext {
    /// Sets the prompt by its tokens, in place of input 0.
    fn set_prompt(&mut self, tokens: &[u32]) -> Result<(), Error>;

    /// How many tokens the context holds.
    fn context_length(&mut self) -> Result<u32, Error>;

    /// The token that the last step has chosen, and the `most` likeliest at its place, most likely first.
    fn candidates(&self, most: usize) -> Result<(Candidate, Vec<Candidate>), Error>;

    /// The tokens that the last computation has generated so far, with the one that ended the text.
    fn generated(&self) -> Vec<u32>;

    /// What the last computation has cost so far.
    fn usage(&self) -> TokenUsage;
}
