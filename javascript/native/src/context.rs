//! Places to compute.

use crate::failure::{Result, disposed, exception};
use crate::tensor::{NamedTensor, OutputDescription, TensorType, bytes};
use llm_wasi_host::backend::language;
use llm_wasi_host::backend::{ExecutionContext, LanguageContext};
use llm_wasi_host::calls::ReadError;
use llm_wasi_host::{Bytes, Error, calls};
use napi::bindgen_prelude::{Either, Uint8Array, Uint32Array};
use napi_derive::napi;

/// A place to compute with one graph, for `graph-execution-context` of `wasi:nn` and
/// `execution-context` of `llm-wasi:nn`.
#[napi]
pub struct Context {
    context: Option<Box<dyn ExecutionContext>>,
}

/// `candidate` of `llm-wasi:nn/language`.
#[napi(object, object_from_js = false)]
pub struct Candidate {
    pub token: u32,
    pub bytes: Uint8Array,
    pub logprob: f64,
}

/// `token-usage` of `llm-wasi:nn/language`.
#[napi(object, object_from_js = false)]
pub struct TokenUsage {
    pub prompt_tokens: u32,
    pub cached_tokens: u32,
    pub generated_tokens: u32,
}

impl Context {
    pub(crate) fn new(context: Box<dyn ExecutionContext>) -> Self {
        Self {
            context: Some(context),
        }
    }

    fn call<T>(
        &mut self,
        function: impl FnOnce(&mut dyn ExecutionContext) -> std::result::Result<T, Error>,
    ) -> Result<T> {
        match &mut self.context {
            Some(context) => function(context.as_mut()),
            None => Err(disposed("context")),
        }
        .map_err(exception)
    }

    fn language<T>(
        &mut self,
        function: impl FnOnce(&mut dyn LanguageContext) -> std::result::Result<T, Error>,
    ) -> Result<T> {
        self.call(|context| function(calls::language_context(context)?))
    }

    /// The bytes, or their number if there are more than `max`.
    fn read(
        &mut self,
        max: u32,
        output: impl FnOnce(&mut dyn ExecutionContext) -> std::result::Result<Bytes, Error>,
    ) -> Result<Either<Uint8Array, u32>> {
        self.call(|context| match calls::read(output(context), max) {
            Ok(data) => Ok(Either::A(bytes(data))),
            Err(ReadError::TooSmall(size)) => Ok(Either::B(size)),
            Err(ReadError::Failed(error)) => Err(error),
        })
    }
}

#[napi]
impl Context {
    /// Frees what the context holds.
    #[napi(catch_unwind)]
    pub fn dispose(&mut self) {
        self.context = None;
    }

    /// Computes with these inputs and gives all outputs.
    #[napi(catch_unwind)]
    pub fn compute_named(&mut self, inputs: Vec<NamedTensor>) -> Result<Vec<NamedTensor>> {
        self.call(|context| calls::compute(context, inputs.into_iter().map(Into::into)))
            .map(|outputs| outputs.into_iter().map(Into::into).collect())
    }

    /// Sets an input.
    #[napi(catch_unwind)]
    pub fn set_input(
        &mut self,
        index: u32,
        dimensions: Uint32Array,
        ty: TensorType,
        data: Uint8Array,
    ) -> Result<()> {
        self.call(|context| {
            let old = context.take_input(index);
            let sizes = dimensions.iter().copied();
            let input = calls::fill_input(old, index, sizes, ty.into(), &data)?;
            context.set_input(index, input)
        })
    }

    /// Computes with the inputs set so far.
    #[napi(catch_unwind)]
    pub fn compute(&mut self) -> Result<()> {
        self.call(|context| context.compute())
    }

    /// Computes one step.
    #[napi(catch_unwind)]
    pub fn compute_step(&mut self) -> Result<()> {
        self.call(|context| context.compute_step())
    }

    /// Ends a computation made in steps.
    #[napi(catch_unwind)]
    pub fn finish(&mut self) -> Result<()> {
        self.call(|context| context.finish())
    }

    /// What an output is.
    #[napi(catch_unwind)]
    pub fn describe_output(&mut self, index: u32) -> Result<OutputDescription> {
        self.call(|context| context.describe_output(index))
            .map(Into::into)
    }

    /// An output's bytes, or their number if there are more than `max`.
    #[napi(catch_unwind)]
    pub fn read_output(&mut self, index: u32, max: u32) -> Result<Either<Uint8Array, u32>> {
        self.read(max, |context| context.output(index))
    }

    /// What the last step added to an output, or its number of bytes if there are more than `max`.
    #[napi(catch_unwind)]
    pub fn read_step_output(&mut self, index: u32, max: u32) -> Result<Either<Uint8Array, u32>> {
        self.read(max, |context| context.step_output(index))
    }

    /// Sets the prompt by its tokens.
    #[napi(catch_unwind)]
    pub fn set_prompt(&mut self, tokens: Uint32Array) -> Result<()> {
        self.language(|context| context.set_prompt(&tokens))
    }

    /// How many tokens the context holds.
    #[napi(catch_unwind)]
    pub fn context_length(&mut self) -> Result<u32> {
        self.language(|context| context.context_length())
    }

    /// The token that the last step has chosen, and the likeliest at its place.
    #[napi(catch_unwind)]
    pub fn candidates(&mut self, most: u32) -> Result<(Candidate, Vec<Candidate>)> {
        let (chosen, top) = self.call(|context| calls::candidates(context, most))?;
        Ok((chosen.into(), top.into_iter().map(Into::into).collect()))
    }

    /// The tokens that the last computation has generated so far.
    #[napi(catch_unwind)]
    pub fn generated(&mut self) -> Result<Uint32Array> {
        self.language(|context| Ok(context.generated()))
            .map(Into::into)
    }

    /// What the last computation has cost so far.
    #[napi(catch_unwind)]
    pub fn usage(&mut self) -> Result<TokenUsage> {
        let usage = self.language(|context| Ok(context.usage()))?;
        Ok(TokenUsage {
            prompt_tokens: usage.prompt,
            cached_tokens: usage.cached,
            generated_tokens: usage.generated,
        })
    }
}

impl From<language::Candidate> for Candidate {
    fn from(candidate: language::Candidate) -> Self {
        Self {
            token: candidate.token,
            bytes: candidate.bytes.into(),
            logprob: candidate.logprob.into(),
        }
    }
}
