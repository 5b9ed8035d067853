//! The model over `llm-wasi:nn`.

use crate::bindings::llm_wasi::nn::errors::{Error, ErrorCode};
use crate::bindings::llm_wasi::nn::graph::load_by_name;
use crate::bindings::llm_wasi::nn::inference::{ExecutionContext, ReadError};
use crate::bindings::wasi::nn::tensor::TensorType;
use crate::model::{Model, Stop};
use serde_json::Value;

/// The prompt's index.
const PROMPT: u32 = 0;
/// The options' index.
const OPTIONS: u32 = 1;
/// The index of the text.
const TEXT: u32 = 0;
/// The index of the token counts.
const COUNTS: u32 = 1;
/// Room for an output: a token's text, or the counts.
const MAX_OUTPUT: u32 = 1 << 16;

/// A loaded model.
pub(crate) struct Nn {
    context: ExecutionContext,
}

impl Nn {
    /// Loads the model that the host knows by this name.
    pub(crate) fn load(name: &str, options: &str) -> Result<Self, String> {
        let graph = load_by_name(name, Some(options)).map_err(message)?;
        let context = ExecutionContext::open(&graph).map_err(message)?;
        Ok(Self { context })
    }

    fn set(&self, index: u32, text: &str) -> Result<(), String> {
        // The dimensions of text say nothing.
        self.context
            .set_input(index, &[1], TensorType::U8, text.as_bytes())
            .map_err(message)
    }

    /// What the last step gave.
    fn piece(&self) -> Result<Vec<u8>, Stop> {
        self.context
            .read_step_output(TEXT, MAX_OUTPUT)
            .map_err(|error| match error {
                ReadError::TooSmall(size) => {
                    Stop::Failed(format!("a token's text has {size} bytes"))
                }
                ReadError::Failed(error) => stop(error),
            })
    }
}

impl Model for Nn {
    fn configure(&mut self, options: &str) -> Result<(), String> {
        self.set(OPTIONS, options)
    }

    fn prompt(&mut self, text: &str) -> Result<Option<u64>, String> {
        self.set(PROMPT, text)?;
        let counts = self.context.read_output(COUNTS, MAX_OUTPUT).ok();
        let counts = counts.and_then(|json| serde_json::from_slice::<Value>(&json).ok());
        Ok(counts.and_then(|counts| counts.get("input_tokens")?.as_u64()))
    }

    fn step(&mut self) -> (Vec<u8>, Option<Stop>) {
        let stop = self.context.compute_step().err().map(stop);
        // The token that ends the text is no text, and where it was interrupted there is none.
        let piece = match stop {
            None | Some(Stop::ContextFull) => self.piece(),
            Some(_) => Ok(Vec::new()),
        };
        match piece {
            Ok(piece) => (piece, stop),
            Err(failure) => (Vec::new(), Some(failure)),
        }
    }

    fn finish(&mut self) {
        // It has ended already if this fails.
        let _ = self.context.finish();
    }
}

fn message(error: Error) -> String {
    error.message()
}

fn stop(error: Error) -> Stop {
    match error.code() {
        ErrorCode::EndOfSequence => Stop::Ended,
        ErrorCode::ContextFull => Stop::ContextFull,
        ErrorCode::PromptTooLong => Stop::PromptTooLong(error.message()),
        _ => Stop::Failed(error.message()),
    }
}
