//! A llama.cpp context that keeps its model alive.
//!
//! `llama-cpp-2` ties a context to a borrow of its model. Contexts here outlive the call that makes
//! them and share their model, so this type holds both.

#![allow(
    unsafe_code,
    reason = "a context and the model it borrows, in one value"
)]

use super::weights::Weights;
use crate::Error;
use llama_cpp_2::LlamaContextLoadError;
use llama_cpp_2::context::LlamaContext;
use llama_cpp_2::context::params::LlamaContextParams;
use llama_cpp_2::llama_backend::LlamaBackend;
use llama_cpp_2::model::LlamaModel;
use std::sync::{Arc, Mutex, PoisonError};

/// A context together with the model that it uses.
pub(super) struct OwnedContext {
    /// Dropped first: fields are dropped in the order of their declaration.
    context: LlamaContext<'static>,
    weights: Arc<Weights>,
}

impl OwnedContext {
    pub(super) fn new(
        backend: &LlamaBackend,
        weights: Arc<Weights>,
        params: LlamaContextParams,
    ) -> Result<Self, LlamaContextLoadError> {
        /// llama.cpp changes the model while it makes a context.
        static MAKING: Mutex<()> = Mutex::new(());
        let _making = MAKING.lock().unwrap_or_else(PoisonError::into_inner);
        let model: *const LlamaModel = &raw const weights.model;
        // SAFETY: the model lies inside an `Arc`, so it does not move, and the `Arc` stored beside the
        // context keeps it alive until after the context is dropped. The reference leaves this module
        // only with the lifetime of a borrow of `self`.
        let model: &'static LlamaModel = unsafe { &*model };
        let context = model.new_context(backend, params)?;
        Ok(Self { context, weights })
    }

    /// The model and the context.
    pub(super) fn parts(&mut self) -> (&LlamaModel, &mut LlamaContext<'static>) {
        (&self.weights.model, &mut self.context)
    }

    /// Fails if a file from which the weights are mapped has changed.
    pub(super) fn check_files(&self) -> Result<(), Error> {
        self.weights.check_files()
    }

    pub(super) fn context(&self) -> &LlamaContext<'static> {
        &self.context
    }
}
