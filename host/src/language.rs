//! `llm-wasi:nn/language@0.1.0` over the backends.

use crate::backend::ExecutionContext;
use crate::backend::language::{Candidate, LanguageContext, LanguageModel};
use crate::bindings::lists::llm_wasi::nn::language;
use crate::extension::{Context, ExtensionError};
use crate::linker::GraphResource;
use crate::{Error, NnView, calls};
use wasmtime::component::Resource;

type Failed = Resource<ExtensionError>;

impl NnView<'_> {
    fn of_model<V>(
        &mut self,
        operation: &str,
        graph: &Resource<GraphResource>,
        function: impl FnOnce(&dyn LanguageModel) -> Result<V, Error>,
    ) -> wasmtime::Result<Result<V, Failed>> {
        let graph = self.table.get(graph)?.graph.clone();
        Ok(
            match calls::language_model(graph.as_ref()).and_then(function) {
                Ok(value) => Ok(value),
                Err(error) => Err(self.extension_error(operation, error)?),
            },
        )
    }

    fn in_context<V>(
        &mut self,
        operation: &str,
        context: &Resource<Context>,
        function: impl FnOnce(&mut dyn LanguageContext) -> Result<V, Error>,
    ) -> wasmtime::Result<Result<V, Failed>> {
        self.run(operation, context, |context| {
            function(calls::language_context(context)?)
        })
    }
}

impl From<Candidate> for language::Candidate {
    fn from(candidate: Candidate) -> Self {
        Self {
            token: candidate.token,
            bytes: candidate.bytes,
            logprob: candidate.logprob,
        }
    }
}

/// `candidates`, in the types of the bindings.
pub(crate) fn candidates(
    context: &mut dyn ExecutionContext,
    most: u32,
) -> Result<(language::Candidate, Vec<language::Candidate>), Error> {
    let (chosen, top) = calls::candidates(context, most)?;
    Ok((chosen.into(), top.into_iter().map(Into::into).collect()))
}

/// `usage`, in the types of the bindings.
pub(crate) fn usage(context: &mut dyn ExecutionContext) -> Result<language::TokenUsage, Error> {
    let usage = calls::language_context(context)?.usage();
    Ok(language::TokenUsage {
        prompt_tokens: usage.prompt,
        cached_tokens: usage.cached,
        generated_tokens: usage.generated,
    })
}

impl language::Host for NnView<'_> {
    fn names(&mut self) -> wasmtime::Result<Vec<String>> {
        Ok(self.registry.names().map(str::to_owned).collect())
    }

    fn describe(
        &mut self,
        graph: Resource<GraphResource>,
    ) -> wasmtime::Result<Result<language::Description, Failed>> {
        self.of_model("describe", &graph, |model| {
            let description = model.describe();
            Ok(language::Description {
                architecture: description.architecture,
                parameters: description.parameters,
                context_length: description.context_length,
                embedding_length: description.embedding_length,
                vocabulary_size: description.vocabulary_size,
                chat_template: description.chat_template,
                tool_template: description.tool_template,
                begin_of_text: description.begin_of_text,
                added_begin_of_text: description.added_begin_of_text,
                end_of_text: description.end_of_text,
                generates: description.generates,
                takes_images: description.takes_images,
            })
        })
    }

    fn tokenize(
        &mut self,
        graph: Resource<GraphResource>,
        text: String,
        special: bool,
    ) -> wasmtime::Result<Result<Vec<u32>, Failed>> {
        self.of_model("tokenize", &graph, |model| model.tokenize(&text, special))
    }

    fn detokenize(
        &mut self,
        graph: Resource<GraphResource>,
        tokens: Vec<u32>,
    ) -> wasmtime::Result<Result<Vec<u8>, Failed>> {
        self.of_model("detokenize", &graph, |model| model.detokenize(&tokens))
    }

    fn set_prompt(
        &mut self,
        context: Resource<Context>,
        tokens: Vec<u32>,
    ) -> wasmtime::Result<Result<(), Failed>> {
        self.in_context("set-prompt", &context, |context| {
            context.set_prompt(&tokens)
        })
    }

    fn context_length(
        &mut self,
        context: Resource<Context>,
    ) -> wasmtime::Result<Result<u32, Failed>> {
        self.in_context("context-length", &context, |context| {
            context.context_length()
        })
    }

    fn candidates(
        &mut self,
        context: Resource<Context>,
        most: u32,
    ) -> wasmtime::Result<Result<(language::Candidate, Vec<language::Candidate>), Failed>> {
        self.run("candidates", &context, |context| candidates(context, most))
    }

    fn generated(
        &mut self,
        context: Resource<Context>,
    ) -> wasmtime::Result<Result<Vec<u32>, Failed>> {
        self.in_context("generated", &context, |context| Ok(context.generated()))
    }

    fn usage(
        &mut self,
        context: Resource<Context>,
    ) -> wasmtime::Result<Result<language::TokenUsage, Failed>> {
        self.run("usage", &context, usage)
    }
}
