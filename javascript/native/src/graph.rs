//! Loaded models.

use crate::context::Context;
use crate::failure::{Result, disposed, exception};
use llm_wasi_host::backend::{self, LanguageModel};
use llm_wasi_host::{Error, calls};
use napi::bindgen_prelude::{Uint8Array, Uint32Array};
use napi_derive::napi;
use std::sync::Arc;

/// A loaded model.
#[napi]
pub struct Graph {
    graph: Option<Arc<dyn backend::Graph>>,
}

/// `description` of `llm-wasi:nn/language`.
#[napi(object, object_from_js = false)]
pub struct Description {
    pub architecture: String,
    pub parameters: u64,
    pub context_length: u32,
    pub embedding_length: u32,
    pub vocabulary_size: u32,
    pub chat_template: Option<String>,
    pub tool_template: Option<String>,
    pub begin_of_text: String,
    pub added_begin_of_text: Option<u32>,
    pub end_of_text: String,
    pub generates: bool,
    pub takes_images: bool,
}

impl Graph {
    pub(crate) fn new(graph: Arc<dyn backend::Graph>) -> Self {
        Self { graph: Some(graph) }
    }

    fn graph(&self) -> std::result::Result<&dyn backend::Graph, Error> {
        self.graph.as_deref().ok_or_else(|| disposed("graph"))
    }

    fn language<T>(
        &self,
        function: impl FnOnce(&dyn LanguageModel) -> std::result::Result<T, Error>,
    ) -> Result<T> {
        self.graph()
            .and_then(calls::language_model)
            .and_then(function)
            .map_err(exception)
    }
}

#[napi]
impl Graph {
    /// Lets go of the model.
    #[napi(catch_unwind)]
    pub fn dispose(&mut self) {
        self.graph = None;
    }

    /// Makes a place to compute.
    #[napi(catch_unwind)]
    pub fn open_context(&self) -> Result<Context> {
        self.graph()
            .and_then(|graph| graph.init_execution_context())
            .map(Context::new)
            .map_err(exception)
    }

    /// What is known of it as a language model.
    #[napi(catch_unwind)]
    pub fn describe(&self) -> Result<Description> {
        let known = self.language(|model| Ok(model.describe()))?;
        Ok(Description {
            architecture: known.architecture,
            parameters: known.parameters,
            context_length: known.context_length,
            embedding_length: known.embedding_length,
            vocabulary_size: known.vocabulary_size,
            chat_template: known.chat_template,
            tool_template: known.tool_template,
            begin_of_text: known.begin_of_text,
            added_begin_of_text: known.added_begin_of_text,
            end_of_text: known.end_of_text,
            generates: known.generates,
            takes_images: known.takes_images,
        })
    }

    /// The tokens of a text.
    #[napi(catch_unwind)]
    pub fn tokenize(&self, text: String, special: bool) -> Result<Uint32Array> {
        self.language(|model| model.tokenize(&text, special))
            .map(Into::into)
    }

    /// The bytes of tokens.
    #[napi(catch_unwind)]
    pub fn detokenize(&self, tokens: Uint32Array) -> Result<Uint8Array> {
        self.language(|model| model.detokenize(&tokens))
            .map(Into::into)
    }
}
