//! One conversation with a model: tokenizes the prompt, evaluates it, generates.
//!
//! 1. Input 0 is tokenized when it is set, so that output 1 can tell the counts at once.
//! 2. The first step (`start`) makes a llama.cpp context if there is none for the options in force,
//!    checks that the prompt fits and evaluates it in pieces of at most `batch-size`.
//! 3. Each step evaluates the token before, then chooses the next one. Its bytes are the step's
//!    output; all of them together are output 0.
//!
//! A computation goes on with the options that it started with; input 1 counts from the next one.

use super::options::Options;
use super::owned::OwnedContext;
use super::sampler::Sampler;
use super::weights::{Origin, Weights};
use super::{llama_backend, log, memory};
use crate::backend::{ExecutionContext, no_output_yet, no_such_output};
use crate::{Bytes, Error, ErrorCode, OutputDescription, Tensor};
use llama_cpp_2::DecodeError;
use llama_cpp_2::context::params::LlamaContextParams;
use llama_cpp_2::llama_batch::LlamaBatch;
use llama_cpp_2::token::LlamaToken;
use std::io::Write;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Instant;

/// WasmEdge keeps this many tokens of the context free of the prompt.
const RESERVED: usize = 4;
const OUTPUTS: u32 = 2;
/// Where llama.cpp comes from; its crate does not say more.
const LLAMA_COMMIT: &str = "llama-cpp-sys-2 0.1.161";

pub(super) struct Context {
    origin: Origin,
    weights: Arc<Weights>,
    /// What the graph was loaded with.
    base: Options,
    /// The same, changed by input 1.
    options: Options,
    /// Input 0.
    prompt: Option<Vec<LlamaToken>>,
    session: Option<Session>,
    running: Option<Running>,
    /// Output 0.
    text: Option<Bytes>,
    /// What the last step added.
    piece: Option<Bytes>,
    generated: usize,
}

/// llama.cpp's side, made for these settings.
struct Session {
    settings: Settings,
    llama: OwnedContext,
    batch: LlamaBatch<'static>,
    /// How many tokens it holds.
    size: usize,
}

/// The options that a llama.cpp context is made with.
#[derive(Clone, Copy, PartialEq)]
struct Settings {
    ctx_size: u32,
    batch_size: u32,
    ubatch_size: u32,
    threads: i32,
    threads_batch: i32,
    embedding: bool,
}

/// A computation that has begun.
struct Running {
    sampler: Sampler,
    /// Tokens evaluated so far.
    past: usize,
    /// The token that was chosen and not yet evaluated.
    next: Option<LlamaToken>,
}

impl Context {
    pub(super) fn new(origin: Origin, weights: Arc<Weights>, options: Options) -> Self {
        Self {
            origin,
            weights,
            base: options.clone(),
            options,
            prompt: None,
            session: None,
            running: None,
            text: None,
            piece: None,
            generated: 0,
        }
    }

    fn set_prompt(&mut self, data: &[u8]) -> Result<(), Error> {
        // llama.cpp counts in `i32`.
        if i32::try_from(data.len()).is_err() {
            return Err(Error::new(
                ErrorCode::TooLarge,
                format!("expected a prompt below 2 GiB, found {} bytes", data.len()),
            ));
        }
        let text = String::from_utf8_lossy(data);
        if matches!(text, std::borrow::Cow::Owned(_)) {
            tracing::debug!("the prompt is not UTF-8: invalid bytes are replaced by U+FFFD");
        }
        let tokens = self
            .weights
            .model
            .vocab()
            .tokenize(text.as_bytes(), true, true);
        self.prompt = Some(tokens);
        self.running = None;
        self.text = None;
        self.piece = None;
        self.generated = 0;
        Ok(())
    }

    /// The prompt's tokens and a session for the options in force.
    fn prepare(&mut self) -> Result<(&[LlamaToken], &mut Session), Error> {
        let prompt = match &self.prompt {
            Some(prompt) if prompt.is_empty() => {
                return Err(Error::invalid(
                    "the prompt (input 0) is empty and gives the model no token to start from",
                ));
            }
            Some(prompt) => prompt.as_slice(),
            None => return Err(Error::invalid("the prompt (input 0) is not set")),
        };
        let settings = Settings::new(&self.options);
        let session = match self.session.take() {
            Some(session) if session.settings == settings => session,
            // The old one goes first: both together may not fit into memory.
            old => {
                drop(old);
                Session::new(&self.weights, settings)?
            }
        };
        Ok((prompt, self.session.insert(session)))
    }

    /// Evaluates the prompt.
    fn start(&mut self) -> Result<(), Error> {
        self.running = None;
        self.check_generates()?;
        let sampler = Sampler::new(&self.weights.model, &self.options)?;
        let (prompt, session) = self.prepare()?;
        if prompt.len() + RESERVED > session.size {
            return Err(prompt_too_long(
                prompt.len(),
                session.size.saturating_sub(RESERVED),
                "ctx-size",
            ));
        }
        let past = prompt.len();
        session.clear();
        session.evaluate(prompt, 0)?;
        self.text = Some(Bytes::default());
        self.piece = Some(Bytes::default());
        self.generated = 0;
        self.running = Some(Running {
            sampler,
            past,
            next: None,
        });
        Ok(())
    }

    /// Generates one token. The computation is over if this fails.
    fn step(&mut self) -> Result<(), Error> {
        let result = self.next_piece();
        if result.is_err() {
            self.running = None;
        }
        let piece = match &result {
            Ok(piece) => piece.clone(),
            Err(_) => Vec::new(),
        };
        if self.options.enable_debug_log {
            tracing::info!("step {}: `{}`", self.generated, piece.escape_ascii());
        }
        Arc::make_mut(self.text.get_or_insert_default()).extend_from_slice(&piece);
        self.piece = Some(Arc::new(piece));
        result.map(|_| ())
    }

    fn next_piece(&mut self) -> Result<Vec<u8>, Error> {
        let (Some(running), Some(session)) = (&mut self.running, &mut self.session) else {
            return Err(Error::new(
                ErrorCode::RuntimeError,
                "no computation has begun",
            ));
        };
        // A negative `n-predict` is no limit.
        if u64::try_from(self.options.n_predict).is_ok_and(|limit| self.generated as u64 >= limit) {
            return Err(Error::new(
                ErrorCode::EndOfSequence,
                "as many tokens as `n-predict` allows are generated",
            ));
        }
        if let Some(token) = running.next.take() {
            if running.past >= session.size {
                return Err(context_full(session.size));
            }
            session.evaluate(&[token], running.past)?;
            running.past += 1;
        }
        let token = running.sampler.sample(session.llama.context())?;
        let vocab = self.weights.model.vocab();
        if vocab.is_eog(token) {
            return Err(Error::new(
                ErrorCode::EndOfSequence,
                "the model has ended its text",
            ));
        }
        running.next = Some(token);
        self.generated += 1;
        Ok(vocab.token_to_piece(token, true, None))
    }

    fn generate(&mut self) -> Result<(), Error> {
        let started = Instant::now();
        self.start()?;
        let result = loop {
            match self.step() {
                Ok(()) => {}
                Err(error) if error.code == ErrorCode::EndOfSequence => break Ok(()),
                Err(error) => break Err(error),
            }
            if self.options.stream_stdout {
                self.stream();
            }
            if self.ends_at_reverse_prompt() {
                break Ok(());
            }
        };
        self.running = None;
        let (count, seconds) = (self.generated, started.elapsed().as_secs_f64());
        if self.options.enable_log {
            tracing::info!("generated {count} tokens in {seconds:.3} s");
        } else {
            tracing::debug!("generated {count} tokens in {seconds:.3} s");
        }
        result
    }

    /// Writes the last piece to standard output. A reader that went away does not end the computation.
    fn stream(&self) {
        if let Some(piece) = &self.piece {
            let mut stdout = std::io::stdout().lock();
            if stdout
                .write_all(piece)
                .and_then(|()| stdout.flush())
                .is_err()
            {
                tracing::debug!("standard output is closed");
            }
        }
    }

    /// Whether the text now contains the reverse prompt; only what the last piece can have completed
    /// is searched.
    fn ends_at_reverse_prompt(&self) -> bool {
        let pattern = self.options.reverse_prompt.as_bytes();
        let (Some(text), Some(piece)) = (&self.text, &self.piece) else {
            return false;
        };
        let window = piece.len() + pattern.len();
        let tail = &text[text.len().saturating_sub(window)..];
        !pattern.is_empty() && tail.windows(pattern.len()).any(|part| part == pattern)
    }

    fn embed(&mut self) -> Result<(), Error> {
        self.running = None;
        let (prompt, session) = self.prepare()?;
        // llama.cpp aborts if an encoder gets more at once than `ubatch-size`, which equals
        // `batch-size` here.
        let most = session.llama.context().n_ubatch() as usize;
        if prompt.len() > most {
            return Err(prompt_too_long(prompt.len(), most, "batch-size"));
        }
        session.clear();
        session.evaluate(prompt, 0)?;
        let context = session.llama.context();
        let embedding = match context.embeddings_seq_ith(0) {
            Ok(embedding) => embedding,
            // A model that does not pool gives one embedding for each token: the last one has seen all.
            Err(_) => context.embeddings_ith(-1).map_err(|error| {
                Error::new(
                    ErrorCode::RuntimeError,
                    format!("the model gives no embedding: {error}"),
                )
            })?,
        };
        let norm = embedding
            .iter()
            .map(|x| f64::from(*x).powi(2))
            .sum::<f64>()
            .sqrt();
        let scale = if norm > 0.0 { 1.0 / norm } else { 0.0 };
        let values: Vec<f32> = embedding
            .iter()
            .map(|x| (f64::from(*x) * scale) as f32)
            .collect();
        let json = serde_json::json!({ "n_embedding": values.len(), "embedding": values });
        self.generated = 0;
        self.text = Some(Arc::new(json.to_string().into_bytes()));
        self.piece = None;
        Ok(())
    }

    /// llama.cpp aborts when a model that only encodes is asked for a token.
    fn check_generates(&self) -> Result<(), Error> {
        let model = &self.weights.model;
        let architecture = model
            .meta_val_str("general.architecture")
            .unwrap_or_default();
        let causal = model
            .meta_val_str(&format!("{architecture}.attention.causal"))
            .map_or(true, |value| value != "false");
        if architecture.starts_with("t5") {
            return Err(Error::new(
                ErrorCode::UnsupportedOperation,
                format!(
                    "models of architecture {architecture}, with an encoder, are not supported"
                ),
            ));
        }
        if !causal || architecture.contains("bert") {
            return Err(Error::new(
                ErrorCode::UnsupportedOperation,
                format!(
                    "a model of architecture {architecture} generates no text: set option `embedding` \
                     to true"
                ),
            ));
        }
        Ok(())
    }

    /// The token counts, as WasmEdge writes them.
    fn metadata(&self) -> Vec<u8> {
        let input = self.prompt.as_ref().map_or(0, Vec::len);
        let output = self.generated;
        format!(
            "{{\"input_tokens\": {input}, \"output_tokens\": {output}, \
             \"llama_build_number\": 0, \"llama_commit\": \"{LLAMA_COMMIT}\"}}"
        )
        .into_bytes()
    }
}

impl ExecutionContext for Context {
    fn take_input(&mut self, _: u32) -> Option<Tensor> {
        None
    }

    fn set_input(&mut self, index: u32, tensor: Tensor) -> Result<(), Error> {
        match index {
            0 => self.set_prompt(&tensor.data),
            1 => {
                let mut options = self.base.clone();
                options.apply(&tensor.data)?;
                self.options = options;
                Ok(())
            }
            _ => Err(Error::invalid(format!(
                "expected input 0 (the prompt) or 1 (options as JSON), found input {index}"
            ))),
        }
    }

    fn clear_inputs(&mut self) {
        self.prompt = None;
        self.options = self.base.clone();
        self.running = None;
    }

    fn compute(&mut self) -> Result<(), Error> {
        if self.options.embedding {
            self.embed()
        } else {
            self.generate()
        }
    }

    fn compute_step(&mut self) -> Result<(), Error> {
        if self.running.is_none() {
            if self.options.embedding {
                return Err(Error::new(
                    ErrorCode::UnsupportedOperation,
                    "embeddings are not computed in steps: call `compute`",
                ));
            }
            self.start()?;
        }
        self.step()
    }

    fn finish(&mut self) -> Result<(), Error> {
        self.running = None;
        Ok(())
    }

    fn outputs(&self) -> u32 {
        OUTPUTS
    }

    fn describe_output(&self, index: u32) -> Result<OutputDescription, Error> {
        Ok(OutputDescription::bytes(self.output(index)?.len()))
    }

    fn output(&self, index: u32) -> Result<Bytes, Error> {
        match index {
            0 => self.text.clone().ok_or_else(|| no_output_yet(0)),
            1 => Ok(Arc::new(self.metadata())),
            _ => Err(no_such_output(index, OUTPUTS)),
        }
    }

    fn step_output(&self, index: u32) -> Result<Bytes, Error> {
        match index {
            0 => self.piece.clone().ok_or_else(|| no_output_yet(0)),
            _ => self.output(index),
        }
    }
}

impl Settings {
    fn new(options: &Options) -> Self {
        let batch_size = options.batch_size;
        let threads = match options.threads {
            ..=0 => default_threads(),
            threads => threads,
        };
        Self {
            ctx_size: options.ctx_size,
            batch_size,
            ubatch_size: if options.embedding {
                batch_size
            } else {
                options.ubatch_size.min(batch_size)
            },
            threads,
            threads_batch: match options.threads_batch {
                ..=0 => threads,
                threads_batch => threads_batch,
            },
            embedding: options.embedding,
        }
    }
}

/// Half of the logical processors: on most machines the number of physical ones, and more threads than
/// free processors make llama.cpp very slow.
fn default_threads() -> i32 {
    let logical = std::thread::available_parallelism().map_or(2, usize::from);
    i32::try_from((logical / 2).max(1)).unwrap_or(1)
}

impl Session {
    fn new(weights: &Arc<Weights>, settings: Settings) -> Result<Self, Error> {
        let tokens = match settings.ctx_size {
            0 => weights.model.n_ctx_train(),
            size => size,
        };
        let needed = memory::context_size(&weights.model, tokens);
        if let Some(available) = memory::available()
            && needed > available
        {
            return Err(Error::new(
                ErrorCode::TooLarge,
                format!(
                    "a context of {tokens} tokens takes about {} MiB, and {} MiB are free: set a \
                     smaller `ctx-size`",
                    needed >> 20,
                    available >> 20
                ),
            ));
        }
        let params = LlamaContextParams::default()
            .with_n_ctx(NonZeroU32::new(settings.ctx_size))
            .with_n_batch(settings.batch_size)
            .with_n_ubatch(settings.ubatch_size)
            .with_n_threads(settings.threads)
            .with_n_threads_batch(settings.threads_batch)
            .with_embeddings(settings.embedding);
        let backend = llama_backend()?;
        let (llama, reason) = log::capture(|| OwnedContext::new(backend, weights.clone(), params));
        let llama = llama.map_err(|error| {
            let reason = if reason.is_empty() { error.to_string() } else { reason };
            Error::new(
                ErrorCode::RuntimeError,
                format!(
                    "llama.cpp cannot make a context of {tokens} tokens: {reason}; a smaller `ctx-size` \
                     or `batch-size` takes less memory"
                ),
            )
        })?;
        let context = llama.context();
        Ok(Self {
            settings,
            batch: LlamaBatch::new(context.n_batch() as usize, 1),
            size: context.n_ctx() as usize,
            llama,
        })
    }

    fn clear(&mut self) {
        self.llama.parts().1.clear_kv_cache();
    }

    /// Evaluates tokens that follow `past` others, in pieces that fit into a batch. The logits of the
    /// last one are there afterwards.
    fn evaluate(&mut self, tokens: &[LlamaToken], past: usize) -> Result<(), Error> {
        // More than this at once and llama.cpp aborts.
        let most = (self.llama.context().n_batch() as usize).max(1);
        let end = past + tokens.len();
        let mut position = past;
        for piece in tokens.chunks(most) {
            self.batch.clear();
            for token in piece {
                let place = i32::try_from(position).map_err(|_| context_full(self.size))?;
                position += 1;
                let wanted = self.settings.embedding || position == end;
                self.batch
                    .add(*token, place, &[0], wanted)
                    .map_err(|error| failed(&error))?;
            }
            let (_, context) = self.llama.parts();
            match context.decode(&mut self.batch) {
                Ok(()) => {}
                Err(DecodeError::NoKvCacheSlot) => return Err(context_full(self.size)),
                Err(error) => return Err(failed(&error)),
            }
        }
        Ok(())
    }
}

fn failed(error: &dyn std::fmt::Display) -> Error {
    Error::new(
        ErrorCode::RuntimeError,
        format!("llama.cpp failed: {error}; RUST_LOG=llama_cpp=debug shows its log"),
    )
}

fn context_full(size: usize) -> Error {
    Error::new(
        ErrorCode::ContextFull,
        format!(
            "prompt and text have filled the context of {size} tokens: set a larger `ctx-size` or a \
             smaller `n-predict`"
        ),
    )
}

fn prompt_too_long(found: usize, most: usize, option: &str) -> Error {
    Error::new(
        ErrorCode::PromptTooLong,
        format!(
            "expected a prompt of at most {most} tokens, found {found}: shorten it or set a larger \
             `{option}`"
        ),
    )
}
