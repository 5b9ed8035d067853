//! An opened model: its template, its tokens, its embeddings, and contexts to use again.

use crate::bindings::exports::llm_wasi::llm::generation::{
    Message as ApiMessage, Part, Role as ApiRole,
};
use crate::bindings::exports::llm_wasi::llm::models::{
    Capabilities, EmbeddingOptions, Embeddings, ModelInfo, ModelOptions,
};
use crate::bindings::exports::llm_wasi::llm::types::ModelNotFound;
use crate::bindings::llm_wasi::llm::configuration;
use crate::failure::{Failure, invalid};
use crate::literal::{Literal, more_of, untold};
use crate::nn::{self, Context, Description, Loaded};
use crate::rendered::{Image, MARKER, Rendered};
use crate::request::Request;
use prompt::{CHATML, Format, Message, Options, Role, Template, ToolCall};
use serde_json::json;
use std::cell::{OnceCell, RefCell};
use std::collections::{BTreeSet, HashSet};
use std::hash::{BuildHasher, RandomState};

/// The context's length unless something else is asked for.
const CONTEXT_LENGTH: u32 = 4096;
/// The longest context that can be asked for.
const MAX_CONTEXT_LENGTH: u32 = 1 << 24;
/// What a context's length is a multiple of.
const CONTEXT_STEP: u32 = 256;
/// How many texts are known to have nothing special in them.
const PLAIN: usize = 100_000;
/// How many contexts wait for the next request. Each holds a KV cache.
const POOL: usize = 1;

pub(crate) struct Model {
    name: String,
    loaded: Loaded,
    chat: Chat,
    /// For chats with tools, where the model has a template of its own for them.
    chat_with_tools: Option<Chat>,
    context_length: u32,
    pool: RefCell<Vec<Context>>,
    /// The context for embeddings.
    embedder: RefCell<Option<Context>>,
    end_of_answer: OnceCell<EndOfAnswer>,
    /// The hashes of texts that have no special tokens in them: those of a conversation come again each time.
    plain: RefCell<HashSet<u64>>,
    hashes: RandomState,
}

/// How messages become a prompt.
struct Chat {
    template: Template,
    /// How calls of tools are written.
    format: Option<Format>,
}

impl Chat {
    fn new(source: &str, description: &Description) -> Result<Self, String> {
        let template = Template::new(source, &description.begin_of_text, &description.end_of_text)?;
        let format = template
            .supports_tools()
            .then(|| Format::of_template(source))
            .flatten();
        Ok(Self { template, format })
    }
}

/// What ends an answer, beside the model's own token for that.
#[derive(Clone, Default)]
pub(crate) struct EndOfAnswer {
    /// The bytes of a special token. The same bytes in other tokens are text.
    pub(crate) token: Option<Vec<u8>>,
    /// A text of other tokens.
    pub(crate) text: Option<String>,
}

impl Model {
    pub(crate) fn open(name: Option<String>, options: &ModelOptions) -> Result<Self, Failure> {
        let defaults = configuration::get();
        let name = match name.or(defaults.model) {
            Some(name) => name,
            None => nn::names().into_iter().next().ok_or_else(|| {
                Failure::ModelNotFound(ModelNotFound {
                    name: String::new(),
                    available: Vec::new(),
                })
            })?,
        };
        let asked = options.context_length.or(defaults.context_length);
        if let Some(found) = asked
            && !(1..=MAX_CONTEXT_LENGTH).contains(&found)
        {
            return Err(invalid(
                "options.context-length",
                format!("expected a number from 1 to {MAX_CONTEXT_LENGTH}, found {found}"),
            ));
        }
        // The trained length is known only when the model is loaded; contexts take the option.
        let loaded = Loaded::new(&name, "{}")?;
        let trained = loaded.description.context_length;
        // Contexts are as long as llama.cpp makes them.
        let context_length = asked
            .unwrap_or(CONTEXT_LENGTH.min(trained.max(1)))
            .next_multiple_of(CONTEXT_STEP);
        let description = &loaded.description;
        let source = description.chat_template.as_deref().unwrap_or(CHATML);
        let chat = Chat::new(source, description).map_err(|error| {
            Failure::Unsupported(format!(
                "the chat template of model `{name}` cannot be read: {error}"
            ))
        })?;
        // One that is of no use leaves what the model can do without it.
        let tool_template = description.tool_template.as_deref();
        let chat_with_tools = tool_template
            .and_then(|source| Chat::new(source, description).ok())
            .filter(|chat| chat.format.is_some());
        Ok(Self {
            name,
            chat,
            chat_with_tools,
            context_length,
            loaded,
            pool: RefCell::default(),
            embedder: RefCell::default(),
            end_of_answer: OnceCell::new(),
            plain: RefCell::default(),
            hashes: RandomState::new(),
        })
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn description(&self) -> &Description {
        &self.loaded.description
    }

    pub(crate) fn info(&self) -> ModelInfo {
        let description = self.description();
        let mut capabilities = Capabilities::EMBED;
        for (has, capability) in [
            (description.generates, Capabilities::GENERATE),
            (
                self.chat.template.supports_system(),
                Capabilities::SYSTEM_PROMPT,
            ),
            (self.takes_tools(), Capabilities::TOOLS),
            (description.takes_images, Capabilities::IMAGES),
        ] {
            if has {
                capabilities = capabilities | capability;
            }
        }
        ModelInfo {
            name: self.name.clone(),
            architecture: description.architecture.clone(),
            parameters: description.parameters,
            context_length: self.context_length,
            trained_context_length: description.context_length,
            embedding_length: description.embedding_length,
            vocabulary_size: description.vocabulary_size,
            chat_template: description.chat_template.clone(),
            capabilities,
        }
    }

    fn with_tools(&self) -> &Chat {
        self.chat_with_tools.as_ref().unwrap_or(&self.chat)
    }

    /// Whether it can be given tools, and its calls be read.
    pub(crate) fn takes_tools(&self) -> bool {
        self.call_format().is_some()
    }

    pub(crate) fn call_format(&self) -> Option<Format> {
        self.with_tools().format
    }

    /// What a call of a tool begins with, and the name of its arguments, where it is a JSON object.
    pub(crate) fn start_of_call(&self) -> Option<(&'static str, &'static str)> {
        match self.call_format()? {
            Format::Hermes => Some(("<tool_call>\n", "arguments")),
            Format::Llama => Some(("", "parameters")),
            _ => None,
        }
    }

    /// Whether its template shows one call of each answer at most.
    pub(crate) fn calls_one_tool(&self) -> bool {
        let template = &self.with_tools().template;
        template.supports_tool_calls() && !template.supports_parallel_calls()
    }

    /// What ends an answer in the template.
    pub(crate) fn end_of_answer(&self) -> Result<&EndOfAnswer, Failure> {
        if let Some(end) = self.end_of_answer.get() {
            return Ok(end);
        }
        let end = match self.chat.template.end_of_answer() {
            None => EndOfAnswer::default(),
            Some(text) => {
                // Behind the first special token is what the template writes before the next message.
                let first = self.tokenize(&text, true)?.into_iter().take(1);
                let first = self.detokenize(&first.collect::<Vec<_>>())?;
                let is_special = match str::from_utf8(&first) {
                    Ok(word) => text.starts_with(word) && !self.is_plain(word)?,
                    Err(_) => false,
                };
                match is_special {
                    true => EndOfAnswer {
                        token: Some(first),
                        text: None,
                    },
                    false => EndOfAnswer {
                        token: None,
                        text: Some(text),
                    },
                }
            }
        };
        Ok(self.end_of_answer.get_or_init(|| end))
    }

    /// Whether a text has no special tokens in it.
    pub(crate) fn is_plain(&self, text: &str) -> Result<bool, Failure> {
        self.are_plain(&[text])
    }

    /// Whether none of the texts has special tokens in it.
    pub(crate) fn are_plain(&self, texts: &[&str]) -> Result<bool, Failure> {
        let hashed = texts.iter().map(|text| (self.hashes.hash_one(text), *text));
        let plain = self.plain.borrow();
        let (hashes, unknown): (Vec<u64>, Vec<&str>) =
            hashed.filter(|(hash, _)| !plain.contains(hash)).unzip();
        drop(plain);
        if unknown.is_empty() {
            return Ok(true);
        }
        let all = unknown.join("\n");
        for chunk in chunks(&all) {
            if self.tokenize(chunk, true)? != self.tokenize(chunk, false)? {
                return Ok(false);
            }
        }
        let mut plain = self.plain.borrow_mut();
        if plain.len() + hashes.len() > PLAIN {
            plain.clear();
        }
        plain.extend(hashes);
        Ok(true)
    }

    /// The words of special tokens in texts.
    pub(crate) fn special_in(&self, texts: &[String]) -> Result<BTreeSet<String>, Failure> {
        let mut words = BTreeSet::new();
        let each: Vec<&str> = texts.iter().map(String::as_str).collect();
        if self.are_plain(&each)? {
            return Ok(words);
        }
        for chunk in texts.iter().flat_map(|text| chunks(text)) {
            let with = self.tokenize(chunk, true)?;
            let without = self.tokenize(chunk, false)?;
            if with == without {
                continue;
            }
            let before = words.len();
            for token in more_of(&with, &without) {
                let word = self.detokenize(&[token])?;
                if let Ok(word) = String::from_utf8(word)
                    && word.chars().count() > 1
                    && chunk.contains(&word)
                    && (words.contains(&word) || !self.is_plain(&word)?)
                {
                    words.insert(word);
                }
            }
            if words.len() == before && !words.iter().any(|word| chunk.contains(word)) {
                return Err(untold());
            }
        }
        Ok(words)
    }

    pub(crate) fn tokenize(&self, text: &str, special: bool) -> Result<Vec<u32>, Failure> {
        self.loaded.tokenize(text, special)
    }

    pub(crate) fn detokenize(&self, tokens: &[u32]) -> Result<Vec<u8>, Failure> {
        let size = self.description().vocabulary_size;
        if let Some(index) = tokens.iter().position(|token| *token >= size) {
            return Err(invalid(
                format!("tokens[{index}]"),
                format!("expected a number below {size}, found {}", tokens[index]),
            ));
        }
        self.loaded.detokenize(tokens)
    }

    /// The tokens of a text to continue: with the one that begins texts, and special ones read as text.
    pub(crate) fn tokens_of_text(&self, text: &str) -> Result<Vec<u32>, Failure> {
        self.begun(self.tokenize(text, false)?, "prompt")
    }

    /// The tokens of what a template gave, which may begin with the one that begins texts.
    pub(crate) fn tokens_of_prompt(&self, text: &str, cuts: &[usize]) -> Result<Vec<u32>, Failure> {
        self.begun(self.tokens_from(text, cuts, 0)?, "messages")
    }

    /// The tokens of the prompt from a place on; over none of the cuts goes a special one.
    pub(crate) fn tokens_from(
        &self,
        text: &str,
        cuts: &[usize],
        mut from: usize,
    ) -> Result<Vec<u32>, Failure> {
        let mut tokens = Vec::new();
        for cut in cuts.iter().copied().chain([text.len()]) {
            if let Some(part) = text.get(from..cut)
                && !part.is_empty()
            {
                tokens.extend(self.tokenize(part, true)?);
                from = cut;
            }
        }
        Ok(tokens)
    }

    fn begun(&self, tokens: Vec<u32>, field: &str) -> Result<Vec<u32>, Failure> {
        let tokens = match self.description().added_begin_of_text {
            Some(begin) if tokens.first() != Some(&begin) => {
                [begin].into_iter().chain(tokens).collect()
            }
            _ => tokens,
        };
        if tokens.is_empty() {
            return Err(invalid(field, "expected a text, found none to start from"));
        }
        Ok(tokens)
    }

    /// A prompt without what the tokenizer puts before every text.
    pub(crate) fn without_begin<'a>(&self, prompt: &'a str) -> &'a str {
        let description = self.description();
        match description.added_begin_of_text {
            Some(_) => prompt
                .strip_prefix(&description.begin_of_text)
                .unwrap_or(prompt),
            None => prompt,
        }
    }

    /// The prompt for messages.
    pub(crate) fn render(
        &self,
        messages: &[ApiMessage],
        request: &Request,
    ) -> Result<Rendered, Failure> {
        if messages.is_empty() {
            return Err(invalid("messages", "expected at least one, found none"));
        }
        let (mut read, mut images) = (Vec::new(), Vec::new());
        let brings_one = |message: &ApiMessage| message.role == ApiRole::System;
        if let Some(system) = &request.system_prompt
            && !messages.iter().any(brings_one)
        {
            read.push(Message::new(Role::System, system.clone()));
        }
        for (index, message) in messages.iter().enumerate() {
            read.push(self.read(message, &format!("messages[{index}]"), &mut images)?);
        }
        if images.len() > 1 {
            return Err(Failure::Unsupported(format!(
                "expected at most one image in all messages, found {}",
                images.len()
            )));
        }
        let mut tools = request.tools.clone();
        let mut literal = Literal::new(self, &read, &tools)?;
        read.iter_mut()
            .try_for_each(|message| literal.message(message))?;
        tools.iter_mut().try_for_each(|tool| literal.tool(tool))?;
        let chat = match tools.is_empty() {
            true => &self.chat,
            false => self.with_tools(),
        };
        let mut prompt = chat
            .template
            .prompt(&read, &tools, &Options::default())
            .map_err(|error| {
                invalid(
                    "messages",
                    format!("the model's chat template does not take them: {error}"),
                )
            })?;
        if let Some(forced) = &request.forced {
            prompt.push_str(forced);
        }
        let (text, cuts) = literal.cut(&prompt);
        Ok(Rendered {
            text,
            cuts,
            image: images.pop(),
        })
    }

    /// A message for the template, with marks where its images are.
    fn read(
        &self,
        message: &ApiMessage,
        field: &str,
        images: &mut Vec<Image>,
    ) -> Result<Message, Failure> {
        let role = match message.role {
            ApiRole::System => Role::System,
            ApiRole::User => Role::User,
            ApiRole::Assistant => Role::Assistant,
            ApiRole::Tool => Role::Tool,
        };
        if role != Role::Assistant && !message.tool_calls.is_empty() {
            return Err(invalid(
                format!("{field}.tool-calls"),
                "expected none in a message that is not the assistant's",
            ));
        }
        let mut content = String::new();
        for (index, part) in message.content.iter().enumerate() {
            match part {
                Part::Text(text) => content.push_str(text),
                Part::Image(file) if self.description().takes_images => {
                    content.push_str(MARKER);
                    images.push(Image {
                        field: format!("{field}.content[{index}]"),
                        file: file.clone(),
                    });
                }
                Part::Image(_) => {
                    return Err(Failure::Unsupported(format!(
                        "{field}.content[{index}]: model `{}` takes no images here",
                        self.name
                    )));
                }
            }
        }
        Ok(Message {
            tool_calls: message
                .tool_calls
                .iter()
                .map(|call| ToolCall {
                    id: call.id.clone(),
                    name: call.name.clone(),
                    arguments: call.arguments.clone(),
                })
                .collect(),
            tool_call_id: message.tool_call_id.clone(),
            ..Message::new(role, content)
        })
    }

    /// A context for text, from the pool or a new one.
    pub(crate) fn context(&self) -> Result<Context, Failure> {
        if let Some(context) = self.pool.borrow_mut().pop() {
            return Ok(context);
        }
        self.new_context(json!({"ctx-size": self.context_length, "embedding": false}))
    }

    fn new_context(&self, options: serde_json::Value) -> Result<Context, Failure> {
        let context = self.loaded.open()?;
        context.configure(&options.to_string())?;
        Ok(context)
    }

    /// Gives a context back for the next request, which may begin with the same tokens.
    pub(crate) fn give_back(&self, context: Context) {
        let mut pool = self.pool.borrow_mut();
        if pool.len() < POOL {
            pool.push(context);
        }
    }

    pub(crate) fn embed(
        &self,
        texts: &[String],
        options: &EmbeddingOptions,
    ) -> Result<Embeddings, Failure> {
        let whole = self.description().embedding_length;
        let dimensions = options.dimensions.unwrap_or(whole);
        if !(1..=whole).contains(&dimensions) {
            return Err(invalid(
                "options.dimensions",
                format!("expected a number from 1 to {whole}, found {dimensions}"),
            ));
        }
        let mut embedder = self.embedder.borrow_mut();
        let context = match embedder.take() {
            Some(context) => context,
            None => self.new_context(json!({
                "ctx-size": self.context_length,
                "batch-size": self.context_length,
                "embedding": true,
                "embd-normalize": -1,
            }))?,
        };
        let context = embedder.insert(context);
        let (mut vectors, mut tokens) = (Vec::new(), 0_u32);
        for (index, text) in texts.iter().enumerate() {
            if text.is_empty() {
                return Err(invalid(
                    format!("texts[{index}]"),
                    "expected a text, found an empty one",
                ));
            }
            let (mut vector, count) = context.embed(text)?;
            vector.truncate(dimensions as usize);
            if options.normalize.unwrap_or(true) {
                normalize(&mut vector);
            }
            tokens = tokens.saturating_add(count);
            vectors.push(vector);
        }
        Ok(Embeddings { vectors, tokens })
    }
}

/// A text in parts that overlap by more than any special token has: llama.cpp takes time by the square of how many there are.
fn chunks(text: &str) -> impl Iterator<Item = &str> {
    const SIZE: usize = 8 << 10;
    const OVERLAP: usize = 256;
    let starts = (0..text.len().max(1)).step_by(SIZE);
    starts.map(move |start| {
        let start = text.floor_char_boundary(start);
        let end = text.floor_char_boundary((start + SIZE + OVERLAP).min(text.len()));
        &text[start..end]
    })
}

/// Scales a vector to length 1; one of zeros stays.
fn normalize(vector: &mut [f32]) {
    let length = vector
        .iter()
        .map(|value| f64::from(*value).powi(2))
        .sum::<f64>()
        .sqrt();
    if length > 0.0 {
        for value in vector {
            *value = (f64::from(*value) / length) as f32;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::normalize;

    #[test]
    fn vectors_get_length_1() {
        let mut vector = [3.0, -4.0];
        normalize(&mut vector);
        assert_eq!(vector, [0.6, -0.8]);
        let mut zeros = [0.0; 3];
        normalize(&mut zeros);
        assert_eq!(zeros, [0.0; 3]);
    }
}
