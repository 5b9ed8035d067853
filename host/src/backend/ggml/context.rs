//! One conversation with a model: tokenizes the prompt, evaluates it, generates.
//!
//! 1. Input 0 is tokenized when it is set, so that output 1 can tell the counts at once. Input 1 changes
//!    the options; if they concern the model itself, it is loaded anew.
//! 2. The first step ([`Context::start`]) makes a [`Session`] if there is none for the options in force,
//!    checks that the prompt fits and evaluates what the session does not hold yet.
//! 3. Each step evaluates the token before, then chooses the next one. Its bytes are the step's
//!    output; all of them together are output 0.
//!
//! A computation goes on with the options that it started with; input 1 counts from the next one.

use super::embedding;
use super::language::{check_generates, check_length};
use super::options::Options;
use super::prompt::Prompt;
use super::sampler::Sampler;
use super::session::{Alone, Session, Settings, Shared, context_full};
use super::weights::{Loaded, Origin};
use crate::backend::large_text;
use crate::backend::{
    Computing, ExecutionContext, LanguageContext, Steps, no_output_yet, no_such_output,
};
use crate::figures::Figure;
use crate::{
    Bytes, Error, ErrorCode, Monitor, OutputDescription, Phase, Tensor, TensorType, stdout,
};
use llama_cpp_2::token::LlamaToken;
use pollster::block_on;
use std::sync::Arc;
use std::time::Instant;

/// Text or embedding as JSON, token counts, embedding as a tensor.
const OUTPUTS: u32 = 3;
/// Where llama.cpp comes from; its crate does not say more.
const LLAMA_COMMIT: &str = "llama-cpp-sys-2 0.1.161";

pub(super) struct Context {
    origin: Origin,
    /// Ends its computations.
    monitor: Monitor,
    pub(super) loaded: Arc<Loaded>,
    /// What the graph was loaded with.
    base: Options,
    /// The same, changed by input 1.
    options: Options,
    /// Input 0.
    pub(super) prompt: Option<Prompt>,
    pub(super) session: Option<Session>,
    running: Option<Running>,
    /// Output 0; empty before a computation, as in WasmEdge.
    text: Bytes,
    /// What the last step added.
    piece: Bytes,
    /// Output 2.
    embedding: Option<Bytes>,
    /// The token that the last step chose, as long as the session has the logits of its place.
    pub(super) chosen: Option<LlamaToken>,
    /// How many of the prompt's tokens the session held already.
    pub(super) cached: usize,
    /// The tokens of output 0.
    pub(super) generated: Vec<LlamaToken>,
}

/// A computation that has begun.
struct Running {
    sampler: Sampler,
    /// The token that was chosen and not yet evaluated.
    next: Option<LlamaToken>,
    ctx_shift: bool,
    began: Instant,
}

impl Context {
    pub(super) fn new(origin: Origin, loaded: Arc<Loaded>, options: Options) -> Self {
        Self {
            monitor: origin.monitor.child(),
            origin,
            loaded,
            base: options.clone(),
            options,
            prompt: None,
            session: None,
            running: None,
            text: Bytes::default(),
            piece: Bytes::default(),
            embedding: None,
            chosen: None,
            cached: 0,
            generated: Vec::new(),
        }
    }

    fn set_prompt(&mut self, data: &[u8]) -> Result<(), Error> {
        check_length(data.len())?;
        let text = String::from_utf8_lossy(data);
        if matches!(text, std::borrow::Cow::Owned(_)) {
            tracing::debug!("the prompt is not UTF-8: invalid bytes are replaced by U+FFFD");
        }
        self.end();
        // A prompt that is refused leaves none: not the one before either.
        self.prompt = None;
        let _turn = large_text::turn(data.len(), &self.monitor)?;
        let prompt = Prompt::read(&text, &self.options, &self.origin, &self.loaded.weights)?;
        self.replace_prompt(prompt);
        Ok(())
    }

    pub(super) fn most_prompt_tokens(&self) -> usize {
        self.origin.most_prompt_tokens
    }

    pub(super) fn replace_prompt(&mut self, prompt: Prompt) {
        self.end();
        self.prompt = Some(prompt);
    }

    /// Changes the options, and the model with them where they concern it.
    fn set_options(&mut self, options: Options) -> Result<(), Error> {
        if !options.load_alike(&self.options) {
            // Freed first, since both may not fit into memory.
            self.running = None;
            self.chosen = None;
            self.session = None;
            self.loaded = self.origin.load(&options)?;
        }
        self.options = options;
        Ok(())
    }

    /// The prompt and a session for the options in force.
    async fn prepare(&mut self) -> Result<(&Prompt, &mut Session), Error> {
        let Some(prompt) = &self.prompt else {
            return Err(Error::invalid("the prompt (input 0) is not set"));
        };
        prompt.check(&self.loaded.weights)?;
        self.loaded.weights.check_files()?;
        self.session().await?;
        match (&self.prompt, &mut self.session) {
            (Some(prompt), Some(session)) => Ok((prompt, session)),
            _ => Err(Error::invalid("the prompt (input 0) is not set")),
        }
    }

    /// Whether the computation shares batches with others.
    fn shares(&self) -> bool {
        Settings::new(&self.options).shares(&self.loaded.weights)
            && self.prompt.as_ref().is_none_or(Prompt::shares)
    }

    /// A session for the options in force.
    pub(super) async fn session(&mut self) -> Result<&mut Session, Error> {
        let settings = Settings::new(&self.options);
        let shares = self.shares();
        let session = match self.session.take() {
            Some(session)
                if *session.settings() == settings
                    && matches!(session, Session::Shared(_)) == shares =>
            {
                session
            }
            // The old one goes first: both together may not fit into memory.
            old => {
                self.running = None;
                self.chosen = None;
                drop(old);
                if shares {
                    let guest = self.origin.guest;
                    Session::Shared(Shared::new(&self.loaded, settings, guest).await?)
                } else {
                    Session::Alone(Box::new(Alone::new(&self.loaded.weights, settings)?))
                }
            }
        };
        Ok(self.session.insert(session))
    }

    /// Ends a computation.
    fn end(&mut self) {
        self.running = None;
        if let Some(session) = &mut self.session {
            session.rest();
        }
    }

    /// Ends a computation and empties the outputs.
    fn clear(&mut self) {
        self.end();
        self.text = Bytes::default();
        self.piece = Bytes::default();
        self.embedding = None;
        self.chosen = None;
        self.cached = 0;
        self.generated.clear();
    }

    /// Evaluates the prompt. The outputs of the computation before are gone even if that fails, as in
    /// WasmEdge.
    async fn start(&mut self) -> Result<(), Error> {
        self.clear();
        let model = &self.loaded.weights.model;
        check_generates(model)?;
        let sampler = Sampler::new(model, &self.options)?;
        let ctx_shift = self.options.ctx_shift;
        let monitor = self.monitor.clone();
        let began = Instant::now();
        let metrics = self.origin.metrics.clone();
        let most = self.origin.most_prompt_tokens;
        let _time = metrics.time(Phase::Prefill);
        let (prompt, session) = self.prepare().await?;
        let found = prompt.tokens();
        if found > most {
            self.origin.note_excess("prompt-tokens", most, found);
            return Err(Error::new(
                ErrorCode::PromptTooLong,
                format!(
                    "expected a prompt of at most {most} tokens, found {found}: the host can set a larger \
                     limit `prompt-tokens`"
                ),
            ));
        }
        let cached = prompt.evaluate(session, &monitor).await?;
        self.cached = cached;
        self.running = Some(Running {
            sampler,
            next: None,
            ctx_shift,
            began,
        });
        Ok(())
    }

    /// Generates one token. The computation is over if this fails.
    ///
    /// As in WasmEdge, a token that ends the text or fills the context is part of the output, and the
    /// failure comes with it.
    async fn step(&mut self) -> Result<(), Error> {
        let (piece, result) = self
            .next_token()
            .await
            .unwrap_or_else(|error| (Vec::new(), Err(error)));
        if result.is_err() {
            self.end();
        }
        if self.options.enable_debug_log {
            tracing::info!("step {}: `{}`", self.generated.len(), piece.escape_ascii());
        }
        Arc::make_mut(&mut self.text).extend_from_slice(&piece);
        self.piece = Arc::new(piece);
        result
    }

    /// Chooses a token. Gives its bytes, and whether the text may go on behind it.
    async fn next_token(&mut self) -> Result<(Vec<u8>, Result<(), Error>), Error> {
        let most = usize::try_from(self.options.n_predict).unwrap_or(usize::MAX);
        let (Some(running), Some(session)) = (&mut self.running, &mut self.session) else {
            return Err(Error::new(
                ErrorCode::RuntimeError,
                "no computation has begun",
            ));
        };
        let monitor = &self.monitor;
        monitor.check()?;
        self.loaded.weights.check_files()?;
        self.chosen = None;
        let _time = self.origin.metrics.time(Phase::Decode);
        if let Some(token) = running.next.take() {
            session.advance(token).await?;
        }
        let token = running.sampler.sample(session.logits())?;
        self.chosen = Some(token);
        let metrics = &self.origin.metrics;
        if self.generated.is_empty() {
            metrics.count(Figure::FirstToken(running.began.elapsed()));
        }
        metrics.count(Figure::Generated);
        self.generated.push(token);
        let vocab = self.loaded.weights.model.vocab();
        let piece = vocab.token_to_piece(token, true, None);
        let goes_on = if vocab.is_eog(token) {
            Err(Error::new(
                ErrorCode::EndOfSequence,
                "the model has ended its text",
            ))
        } else if session.len() >= session.size() && !(running.ctx_shift && session.shift().await) {
            Err(context_full(session.size()))
        } else {
            // The next step waits for it, so that this one's text need not, and it is evaluated while the program
            // does something with that text.
            running.next = Some(token);
            if self.generated.len() < most {
                session.begin_advance(token);
            }
            Ok(())
        };
        Ok((piece, goes_on))
    }

    /// Whether `n-predict` allows no further token. A negative one is no limit.
    fn is_long_enough(&self) -> bool {
        usize::try_from(self.options.n_predict).is_ok_and(|limit| self.generated.len() >= limit)
    }

    async fn generate(&mut self) -> Result<(), Error> {
        let started = Instant::now();
        self.start().await?;
        let result = loop {
            if self.is_long_enough() {
                break Ok(());
            }
            let step = self.step().await;
            if self.options.stream_stdout {
                self.stream();
            }
            if self.ends_at_reverse_prompt() {
                break Ok(());
            }
            match step {
                Ok(()) => {}
                Err(error) if error.code == ErrorCode::EndOfSequence => break Ok(()),
                Err(error) => break Err(error),
            }
        };
        self.end();
        let (count, seconds) = (self.generated.len(), started.elapsed().as_secs_f64());
        if self.options.enable_log {
            tracing::info!("generated {count} tokens in {seconds:.3} s");
        } else {
            tracing::debug!("generated {count} tokens in {seconds:.3} s");
        }
        result
    }

    /// Writes the last piece to standard output. A reader that went away does not end the computation.
    fn stream(&self) {
        if stdout::write(&self.piece).is_err() {
            tracing::debug!("standard output is closed");
        }
    }

    /// Whether the text now contains the reverse prompt; only what the last piece can have completed
    /// is searched.
    fn ends_at_reverse_prompt(&self) -> bool {
        let pattern = self.options.reverse_prompt.as_bytes();
        let window = self.piece.len() + pattern.len();
        let tail = &self.text[self.text.len().saturating_sub(window)..];
        !pattern.is_empty() && tail.windows(pattern.len()).any(|part| part == pattern)
    }

    async fn embed(&mut self) -> Result<(), Error> {
        self.clear();
        let normalize = self.options.embd_normalize;
        let monitor = self.monitor.clone();
        let metrics = self.origin.metrics.clone();
        let (prompt, session) = self.prepare().await?;
        let session = session.alone()?;
        let _time = metrics.time(Phase::Prefill);
        prompt.encode(session, &monitor)?;
        let values = embedding::of_context(session.context(), normalize)?;
        self.text = Arc::new(embedding::to_json(&values));
        self.embedding = Some(Arc::new(embedding::to_bytes(&values)));
        Ok(())
    }

    async fn compute_all(&mut self) -> Result<(), Error> {
        if self.options.embedding {
            self.embed().await
        } else {
            self.generate().await
        }
    }

    async fn compute_one(&mut self) -> Result<(), Error> {
        if self.running.is_none() {
            if self.options.embedding {
                return Err(Error::new(
                    ErrorCode::UnsupportedOperation,
                    "embeddings are not computed in steps: call `compute`",
                ));
            }
            self.start().await?;
        }
        self.step().await
    }

    /// The token counts, as WasmEdge writes them.
    fn metadata(&self) -> Vec<u8> {
        let input = self.prompt.as_ref().map_or(0, Prompt::text_tokens);
        let output = self.generated.len();
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
                let (most, found) = (self.origin.most_options, tensor.data.len());
                if found > most {
                    self.origin.note_excess("options", most, found);
                    return Err(Error::new(
                        ErrorCode::TooLarge,
                        format!(
                            "expected options (input 1) of at most {most} bytes, found {found}: the host can \
                             set a larger limit `options`"
                        ),
                    ));
                }
                let mut options = self.options.clone();
                options.apply(&tensor.data)?;
                self.set_options(options)
            }
            _ => Err(Error::invalid(format!(
                "expected input 0 (the prompt) or 1 (options as JSON), found input {index}"
            ))),
        }
    }

    fn clear_inputs(&mut self) {
        self.prompt = None;
        self.end();
        if let Err(error) = self.set_options(self.base.clone()) {
            // The model was loaded like this once; the next computation tells what is wrong now.
            tracing::debug!("{}", error.message);
        }
    }

    fn compute(&mut self) -> Result<(), Error> {
        block_on(self.compute_all())
    }

    fn compute_step(&mut self) -> Result<(), Error> {
        block_on(self.compute_one())
    }

    fn compute_async(&mut self, steps: Steps) -> Option<Computing<'_>> {
        // With a context of its own it computes on the thread that calls it.
        self.shares().then(|| -> Computing<'_> {
            match steps {
                Steps::All => Box::pin(self.compute_all()),
                Steps::One => Box::pin(self.compute_one()),
            }
        })
    }

    fn finish(&mut self) -> Result<(), Error> {
        self.clear();
        Ok(())
    }

    fn monitor(&self) -> Option<Monitor> {
        Some(self.monitor.clone())
    }

    fn language(&mut self) -> Option<&mut dyn LanguageContext> {
        Some(self)
    }

    fn outputs(&self) -> u32 {
        // Without an embedding the last one is not there, and a list of all must not fail for it.
        if self.embedding.is_some() {
            OUTPUTS
        } else {
            OUTPUTS - 1
        }
    }

    fn describe_output(&self, index: u32) -> Result<OutputDescription, Error> {
        let size = self.output(index)?.len();
        Ok(match index {
            2 => OutputDescription {
                dimensions: vec![
                    1,
                    u32::try_from(size / size_of::<f32>()).unwrap_or(u32::MAX),
                ],
                ty: TensorType::F32,
                size: size as u64,
            },
            _ => OutputDescription::bytes(size),
        })
    }

    fn output(&self, index: u32) -> Result<Bytes, Error> {
        match index {
            0 => Ok(self.text.clone()),
            1 => Ok(Arc::new(self.metadata())),
            2 => self.embedding.clone().ok_or_else(|| no_output_yet(2)),
            _ => Err(no_such_output(index, OUTPUTS)),
        }
    }

    fn step_output(&self, index: u32) -> Result<Bytes, Error> {
        match index {
            0 => Ok(self.piece.clone()),
            _ => self.output(index),
        }
    }
}
