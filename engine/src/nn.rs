//! The host: models and contexts over `llm-wasi:nn`.

use crate::bindings::llm_wasi::nn::errors::{Error, ErrorCode};
use crate::bindings::llm_wasi::nn::graph::load_by_name;
use crate::bindings::llm_wasi::nn::inference::{ExecutionContext, ReadError};
use crate::bindings::llm_wasi::nn::language;
use crate::bindings::wasi::nn::graph::Graph;
use crate::bindings::wasi::nn::tensor::TensorType;
use crate::failure::{Failure, invalid, of_host};

pub(crate) use language::{Candidate, Description, TokenUsage};

/// The host keeps this many tokens of a context free of the prompt.
pub(crate) const RESERVED: u32 = 4;
/// The prompt's index.
const PROMPT: u32 = 0;
/// The options' index.
const OPTIONS: u32 = 1;
/// The index of the text.
const TEXT: u32 = 0;
/// The index of an embedding.
const EMBEDDING: u32 = 2;
/// Room for an output: a token's bytes, or an embedding.
const MAX_OUTPUT: u32 = 1 << 24;

/// The names of the host's models.
pub(crate) fn names() -> Vec<String> {
    language::names()
}

/// A loaded model.
pub(crate) struct Loaded {
    graph: Graph,
    pub(crate) description: Description,
}

impl Loaded {
    pub(crate) fn new(name: &str, options: &str) -> Result<Self, Failure> {
        let graph = load_by_name(name, Some(options)).map_err(|error| match error.code() {
            // A known name whose file is not there has the host's own text.
            ErrorCode::NotFound => Failure::ModelNotFound(
                crate::bindings::exports::llm_wasi::llm::types::ModelNotFound {
                    name: name.to_owned(),
                    available: names(),
                },
            ),
            _ => of_host(error),
        })?;
        let description = language::describe(&graph).map_err(of_host)?;
        Ok(Self { graph, description })
    }

    pub(crate) fn tokenize(&self, text: &str, special: bool) -> Result<Vec<u32>, Failure> {
        language::tokenize(&self.graph, text, special).map_err(of_host)
    }

    pub(crate) fn detokenize(&self, tokens: &[u32]) -> Result<Vec<u8>, Failure> {
        language::detokenize(&self.graph, tokens).map_err(of_host)
    }

    pub(crate) fn open(&self) -> Result<Context, Failure> {
        Ok(Context(
            ExecutionContext::open(&self.graph).map_err(of_host)?,
        ))
    }
}

/// What a step gave.
pub(crate) enum Step {
    /// A token's bytes; more may follow.
    Token(Vec<u8>),
    /// A token's bytes, and the context is full now.
    Last(Vec<u8>),
    /// The model has ended its text.
    End,
}

/// Why there is no step.
pub(crate) enum NoStep {
    /// The prompt does not fit.
    PromptTooLong,
    /// An option makes no sense.
    Invalid(String),
    /// Anything else.
    Failed(Failure),
}

/// A place to compute.
pub(crate) struct Context(ExecutionContext);

impl Context {
    /// Changes options, a JSON object.
    pub(crate) fn configure(&self, options: &str) -> Result<(), Failure> {
        // The dimensions of text say nothing.
        self.0
            .set_input(OPTIONS, &[1], TensorType::U8, options.as_bytes())
            .map_err(of_host)
    }

    pub(crate) fn set_prompt(&self, tokens: &[u32]) -> Result<(), Failure> {
        language::set_prompt(&self.0, tokens).map_err(of_host)
    }

    /// Sets a prompt in words, with an image in it; `field` is where that comes from.
    pub(crate) fn set_text(&self, text: &str, field: &str) -> Result<(), Failure> {
        self.0
            .set_input(PROMPT, &[1], TensorType::U8, text.as_bytes())
            .map_err(|error| match error.code() {
                ErrorCode::InvalidArgument => invalid(field, error.message()),
                _ => of_host(error),
            })
    }

    /// How many tokens fit.
    pub(crate) fn length(&self) -> Result<u32, Failure> {
        language::context_length(&self.0).map_err(of_host)
    }

    pub(crate) fn usage(&self) -> Result<TokenUsage, Failure> {
        language::usage(&self.0).map_err(of_host)
    }

    /// The tokens that were generated, with the one that ended the text.
    pub(crate) fn generated(&self) -> Result<Vec<u32>, Failure> {
        language::generated(&self.0).map_err(of_host)
    }

    /// The next token.
    pub(crate) fn step(&self) -> Result<Step, NoStep> {
        match self.0.compute_step() {
            Ok(()) => Ok(Step::Token(self.piece()?)),
            Err(error) => match error.code() {
                ErrorCode::EndOfSequence => Ok(Step::End),
                ErrorCode::ContextFull => Ok(Step::Last(self.piece()?)),
                ErrorCode::PromptTooLong => Err(NoStep::PromptTooLong),
                ErrorCode::InvalidArgument => Err(NoStep::Invalid(error.message())),
                _ => Err(NoStep::Failed(of_host(error))),
            },
        }
    }

    fn piece(&self) -> Result<Vec<u8>, NoStep> {
        self.0
            .read_step_output(TEXT, MAX_OUTPUT)
            .map_err(|error| NoStep::Failed(unread(error)))
    }

    /// The token that the last step chose, and the likeliest ones.
    pub(crate) fn candidates(&self, most: u32) -> Result<(Candidate, Vec<Candidate>), Failure> {
        language::candidates(&self.0, most).map_err(of_host)
    }

    /// Ends a computation that could go on.
    pub(crate) fn finish(&self) {
        // It has ended already if this fails.
        let _: Result<(), Error> = self.0.finish();
    }

    /// The embedding of a text, for a context with option `embedding`. Gives the text's number of tokens
    /// as well.
    pub(crate) fn embed(&self, text: &str) -> Result<(Vec<f32>, u32), Failure> {
        self.0
            .set_input(PROMPT, &[1], TensorType::U8, text.as_bytes())
            .map_err(of_host)?;
        let tokens = self.usage()?.prompt_tokens;
        self.0.compute().map_err(|error| match error.code() {
            ErrorCode::PromptTooLong => Failure::PromptTooLong(
                crate::bindings::exports::llm_wasi::llm::types::PromptTooLong {
                    prompt_tokens: tokens,
                    most: self.length().unwrap_or(0).saturating_sub(RESERVED),
                },
            ),
            _ => of_host(error),
        })?;
        let bytes = self.0.read_output(EMBEDDING, MAX_OUTPUT).map_err(unread)?;
        let (numbers, _) = bytes.as_chunks();
        Ok((
            numbers
                .iter()
                .map(|bytes| f32::from_le_bytes(*bytes))
                .collect(),
            tokens,
        ))
    }
}

fn unread(error: ReadError) -> Failure {
    match error {
        ReadError::TooSmall(size) => Failure::Backend(format!(
            "expected an output of at most {MAX_OUTPUT} bytes, found {size}"
        )),
        ReadError::Failed(error) => of_host(error),
    }
}
