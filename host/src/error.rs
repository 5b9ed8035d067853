//! What can go wrong, as a backend or the registry reports it.

use serde::{Deserialize, Serialize};
use std::fmt;

/// The kind of failure: the cases of `llm-wasi:nn/errors.error-code`.
///
/// `wasi:nn` has fewer of them; there [the nearest one](Self::in_wasi_nn) is reported.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum ErrorCode {
    /// The guest passed something that makes no sense.
    InvalidArgument,
    /// The host has no backend for this encoding.
    InvalidEncoding,
    /// The host is at a limit now and may not be later.
    Busy,
    /// The operation took too long.
    Timeout,
    /// The backend failed.
    RuntimeError,
    /// The host or the backend cannot do this.
    UnsupportedOperation,
    /// A model or tensor exceeds what the host takes.
    TooLarge,
    /// No model has this name.
    NotFound,
    /// The host does not allow this.
    Security,
    /// Anything else.
    Unknown,
    /// The model has ended its text: there is no further piece.
    EndOfSequence,
    /// Prompt and text together have filled the model's context.
    ContextFull,
    /// The prompt alone does not fit into the model's context.
    PromptTooLong,
    /// The host knows the name, but the model's file is not there.
    ModelNotFound,
}

impl ErrorCode {
    /// Every code.
    pub const ALL: [Self; 14] = [
        Self::InvalidArgument,
        Self::InvalidEncoding,
        Self::Busy,
        Self::Timeout,
        Self::RuntimeError,
        Self::UnsupportedOperation,
        Self::TooLarge,
        Self::NotFound,
        Self::Security,
        Self::Unknown,
        Self::EndOfSequence,
        Self::ContextFull,
        Self::PromptTooLong,
        Self::ModelNotFound,
    ];

    /// The nearest code of `wasi:nn`: that package knows nothing of language models or of limits that pass.
    #[must_use]
    pub fn in_wasi_nn(self) -> Self {
        match self {
            Self::Busy | Self::EndOfSequence => Self::RuntimeError,
            Self::ContextFull | Self::PromptTooLong => Self::TooLarge,
            Self::ModelNotFound => Self::NotFound,
            code => code,
        }
    }

    /// The name of the case in the extension's WIT.
    pub fn name(self) -> &'static str {
        match self {
            Self::InvalidArgument => "invalid-argument",
            Self::InvalidEncoding => "invalid-encoding",
            Self::Busy => "busy",
            Self::Timeout => "timeout",
            Self::RuntimeError => "runtime-error",
            Self::UnsupportedOperation => "unsupported-operation",
            Self::TooLarge => "too-large",
            Self::NotFound => "not-found",
            Self::Security => "security",
            Self::Unknown => "unknown",
            Self::EndOfSequence => "end-of-sequence",
            Self::ContextFull => "context-full",
            Self::PromptTooLong => "prompt-too-long",
            Self::ModelNotFound => "model-not-found",
        }
    }
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A failure, with a text a person can act on: what was expected, what was found, what may help.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{message} ({code})")]
pub struct Error {
    /// The kind of failure.
    pub code: ErrorCode,
    /// The text.
    pub message: String,
}

impl Error {
    /// A failure of this kind with this text.
    pub fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
        }
    }

    /// Shorthand for the commonest kind, [`ErrorCode::InvalidArgument`].
    pub fn invalid(message: impl Into<String>) -> Self {
        Self::new(ErrorCode::InvalidArgument, message)
    }

    /// The same failure with `context` before its text.
    #[must_use]
    pub fn context(mut self, context: impl fmt::Display) -> Self {
        self.message = format!("{context}: {}", self.message);
        self
    }
}
