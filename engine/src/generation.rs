//! A text that is being generated: from tokens to events.

use crate::bindings::exports::llm_wasi::llm::generation::{Answer, Event, Finish, Piece, ToolCall};
use crate::bindings::exports::llm_wasi::llm::types::{
    Candidate, ContextFull, FinishReason, PromptTooLong, TokenLogprobs, Usage,
};
use crate::conversation::Turn;
use crate::failure::{Failure, invalid};
use crate::model::{EndOfAnswer, Model};
use crate::nn::{self, Context, NoStep, RESERVED, Step};
use crate::rendered::Prompt;
use crate::request::Request;
use prompt::{Parser, Piece as Parsed, Text};
use std::collections::VecDeque;
use std::rc::Rc;
use std::time::{Duration, Instant};

/// Where a context comes from, and where it goes when the text has ended.
pub(crate) enum Source {
    /// A model's pool.
    Pool(Rc<Model>, Option<Context>),
    /// A conversation.
    Turn(Box<Turn>),
}

impl Source {
    pub(crate) fn pooled(model: Rc<Model>) -> Result<Self, Failure> {
        let context = model.context()?;
        Ok(Self::Pool(model, Some(context)))
    }

    fn model(&self) -> &Model {
        match self {
            Self::Pool(model, _) => model,
            Self::Turn(turn) => turn.model(),
        }
    }

    fn context(&self) -> Result<&Context, Failure> {
        let context = match self {
            Self::Pool(_, context) => context.as_ref(),
            Self::Turn(turn) => turn.context(),
        };
        context.ok_or_else(|| Failure::Backend("the text has ended".to_owned()))
    }
}

/// What has been generated, for whoever keeps it.
#[derive(Default)]
pub(crate) struct Generated {
    /// The text that was given out.
    pub(crate) text: String,
    pub(crate) calls: Vec<ToolCall>,
    /// The bytes of all tokens.
    pub(crate) bytes: Vec<u8>,
    /// How many tokens these are of.
    pub(crate) tokens: u32,
    /// Whether the context has one more, without bytes: it ended the text.
    pub(crate) ended: bool,
}

pub(crate) struct Generation {
    source: Source,
    request: Request,
    prompt_tokens: u32,
    text: Text,
    /// A token that ends the answer.
    end_token: Option<Vec<u8>>,
    parser: Option<Parser>,
    /// Whether the answer ends with its first call.
    one_call: bool,
    generated: Generated,
    events: VecDeque<Event>,
    /// The tokens since the last event with text.
    logprobs: Vec<TokenLogprobs>,
    started: Instant,
    first_token: Option<Duration>,
    cancelled: bool,
    done: bool,
}

impl Generation {
    /// Begins: nothing is computed yet, so that even the prompt can be cancelled.
    pub(crate) fn start(
        source: Source,
        prompt: &Prompt,
        request: Request,
        parser: Option<Parser>,
    ) -> Result<Self, Failure> {
        let started = Instant::now();
        let context = source.context()?;
        context.configure(&request.backend)?;
        let prompt_tokens = match prompt {
            Prompt::Tokens(tokens) => {
                context.set_prompt(tokens)?;
                u32::try_from(tokens.len()).unwrap_or(u32::MAX)
            }
            Prompt::WithImage(prompt) => {
                context.set_text(&prompt.text, &prompt.field)?;
                context.usage()?.prompt_tokens
            }
        };
        let model = source.model();
        let end = match request.chat {
            true => model.end_of_answer()?.clone(),
            false => EndOfAnswer::default(),
        };
        let stops: Vec<&str> = request
            .stops
            .iter()
            .chain(&end.text)
            .map(String::as_str)
            .collect();
        let mut generation = Self {
            text: Text::new(&stops),
            end_token: end.token,
            parser,
            one_call: model.calls_one_tool(),
            source,
            request,
            prompt_tokens,
            generated: Generated::default(),
            events: VecDeque::new(),
            logprobs: Vec::new(),
            started,
            first_token: None,
            cancelled: false,
            done: false,
        };
        if let Some(forced) = generation.request.forced.clone() {
            generation.parse(&forced);
        }
        Ok(generation)
    }

    pub(crate) fn cancel(&mut self) {
        self.cancelled = true;
    }

    /// The next event; none behind the last one, and none after a failure.
    pub(crate) fn next(&mut self) -> Result<Option<Event>, Failure> {
        while self.events.is_empty() && !self.done {
            if let Err(failure) = self.advance() {
                self.done = true;
                self.close(false);
                return Err(failure);
            }
        }
        Ok(self.events.pop_front())
    }

    /// All of it.
    pub(crate) fn collect(mut self) -> Result<Answer, Failure> {
        let mut answer = (String::new(), Vec::new(), Vec::new());
        while let Some(event) = self.next()? {
            match event {
                Event::Text(piece) => {
                    answer.0.push_str(&piece.text);
                    answer.2.extend(piece.logprobs);
                }
                Event::ToolCall(call) => answer.1.push(call),
                Event::Finish(finish) => {
                    let (text, tool_calls, logprobs) = answer;
                    return Ok(Answer {
                        text,
                        tool_calls,
                        logprobs,
                        finish,
                    });
                }
            }
        }
        Err(Failure::Backend("the text has no end".to_owned()))
    }

    fn advance(&mut self) -> Result<(), Failure> {
        if self.cancelled {
            return self.end(FinishReason::Cancelled);
        }
        if self
            .request
            .time_limit
            .is_some_and(|limit| self.started.elapsed() >= limit)
        {
            return Err(Failure::Timeout);
        }
        if self
            .request
            .max_tokens
            .is_some_and(|most| self.generated.tokens >= most)
        {
            return self.end(FinishReason::Length);
        }
        let (bytes, last) = match self.source.context()?.step() {
            Ok(Step::Token(bytes)) => (bytes, false),
            Ok(Step::Last(bytes)) => (bytes, true),
            Ok(Step::End) => {
                // The model ends a text with a token; without one somebody has interrupted the host.
                let generated = self.source.context()?.generated()?.len();
                self.generated.ended =
                    u32::try_from(generated).is_ok_and(|all| all > self.generated.tokens);
                return self.end(match self.generated.ended {
                    true => FinishReason::End,
                    false => FinishReason::Cancelled,
                });
            }
            Err(NoStep::PromptTooLong) => {
                return Err(Failure::PromptTooLong(PromptTooLong {
                    prompt_tokens: self.prompt_tokens,
                    most: self.source.context()?.length()?.saturating_sub(RESERVED),
                }));
            }
            // The other options were checked before.
            Err(NoStep::Invalid(reason)) => {
                return Err(match self.request.constraint() {
                    Some(field) => invalid(field, reason),
                    None => Failure::Backend(reason),
                });
            }
            Err(NoStep::Failed(failure)) => return Err(failure),
        };
        self.token(&bytes)?;
        if self.end_token.as_deref() == Some(&bytes) {
            return self.end(FinishReason::End);
        }
        if self.text.stopped() {
            let reason = self.stop_reason();
            return self.end(reason);
        }
        if self.one_call && !self.generated.calls.is_empty() {
            return self.end(FinishReason::ToolCalls);
        }
        if !last {
            return Ok(());
        }
        if self.request.formatted {
            return Err(Failure::ContextFull(ContextFull {
                context_length: self.source.context()?.length()?,
                prompt_tokens: self.prompt_tokens,
                generated_tokens: self.generated.tokens,
            }));
        }
        self.end(FinishReason::ContextFull)
    }

    /// The text that ends an answer is the model's own end; others were asked for.
    fn stop_reason(&self) -> FinishReason {
        let bytes = &self.generated.bytes;
        let asked = self.request.stops.iter().any(|stop| {
            bytes
                .windows(stop.len())
                .any(|window| window == stop.as_bytes())
        });
        if asked {
            FinishReason::Stop
        } else {
            FinishReason::End
        }
    }

    /// A token's bytes.
    fn token(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        self.first_token
            .get_or_insert_with(|| self.started.elapsed());
        if let Some(most) = self.request.logprobs {
            let (chosen, top) = self.source.context()?.candidates(most)?;
            self.logprobs.push(TokenLogprobs {
                chosen: candidate(chosen),
                top: top.into_iter().map(candidate).collect(),
            });
        }
        self.generated.bytes.extend_from_slice(bytes);
        self.generated.tokens += 1;
        if self.end_token.as_deref() != Some(bytes) {
            let text = self.text.push(bytes).to_owned();
            self.parse(&text);
        }
        if self.events.is_empty() {
            // So that whoever waits can cancel.
            self.say(String::new());
        }
        Ok(())
    }

    /// Text from the model, in which calls of tools may be.
    fn parse(&mut self, text: &str) {
        let pieces = match &mut self.parser {
            Some(parser) => parser.push(text),
            None => vec![Parsed::Text(text.to_owned())],
        };
        self.give(pieces);
    }

    fn give(&mut self, pieces: Vec<Parsed>) {
        for piece in pieces {
            if self.one_call && !self.generated.calls.is_empty() {
                return;
            }
            match piece {
                Parsed::Text(text) if text.is_empty() => {}
                Parsed::Text(text) => self.say(text),
                Parsed::Call(call) => {
                    let call = ToolCall {
                        id: call.id,
                        name: call.name,
                        arguments: call.arguments,
                    };
                    self.generated.calls.push(call.clone());
                    self.events.push_back(Event::ToolCall(call));
                }
            }
        }
    }

    fn say(&mut self, text: String) {
        self.generated.text.push_str(&text);
        self.events.push_back(Event::Text(Piece {
            text,
            logprobs: std::mem::take(&mut self.logprobs),
        }));
    }

    /// The last events.
    fn end(&mut self, reason: FinishReason) -> Result<(), Failure> {
        let text = self.text.end().to_owned();
        self.parse(&text);
        if let Some(mut parser) = self.parser.take() {
            let pieces = parser.end();
            self.give(pieces);
        }
        if !self.logprobs.is_empty() {
            self.say(String::new());
        }
        let reason = match reason {
            FinishReason::End | FinishReason::Stop if !self.generated.calls.is_empty() => {
                FinishReason::ToolCalls
            }
            reason => reason,
        };
        let cached_tokens = self.source.context()?.usage()?.cached_tokens;
        let total = self.started.elapsed();
        let micros = |time: Duration| u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        self.events.push_back(Event::Finish(Finish {
            reason,
            usage: Usage {
                prompt_tokens: self.prompt_tokens,
                cached_tokens,
                generated_tokens: self.generated.tokens,
                first_token_time: micros(self.first_token.unwrap_or(total)),
                total_time: micros(total),
            },
        }));
        self.done = true;
        // What was cancelled before its first token was not said.
        self.close(self.generated.tokens > 0 || reason != FinishReason::Cancelled);
        Ok(())
    }

    /// Gives the context back; a conversation keeps what there is if `keep`.
    fn close(&mut self, keep: bool) {
        match &mut self.source {
            Source::Pool(model, context) => {
                if let Some(context) = context.take() {
                    context.finish();
                    model.give_back(context);
                }
            }
            Source::Turn(turn) => turn.close(keep.then(|| std::mem::take(&mut self.generated))),
        }
    }
}

impl Drop for Generation {
    fn drop(&mut self) {
        if !self.done {
            self.close(self.generated.tokens > 0);
        }
    }
}

fn candidate(candidate: nn::Candidate) -> Candidate {
    Candidate {
        token: candidate.token,
        bytes: candidate.bytes,
        logprob: candidate.logprob,
    }
}
