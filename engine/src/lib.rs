//! The engine component: `llm-wasi:llm` over `wasi:nn` and `llm-wasi:nn`.
//!
//! A request for text:
//!
//! 1. [`request`] takes the configured defaults for what it leaves out, checks every field, and writes the
//!    backend's options.
//! 2. [`model`] renders the messages with the model's own template; [`rendered`] makes tokens of that, or text
//!    with an image in it.
//! 3. [`generation`] takes a context from the model's pool, sets the tokens and steps: each token's bytes go
//!    through [`prompt::Text`], which holds back halves of characters and what may be a stop text, and
//!    where there are tools through [`prompt::Parser`], which finds their calls.
//! 4. [`conversation`] keeps its own context, with the tokens of all that was said: the next turn evaluates
//!    only what is new.
//!
//! It needs no rights: no files, no network, no environment. [`nn`] is the only module that talks to the host.

mod bindings;
mod conversation;
mod failure;
mod generation;
mod literal;
mod model;
mod nn;
mod rendered;
mod request;
mod saved;

use bindings::exports::llm_wasi::llm::{generation as api, models};
use bindings::wasi::io::poll::Pollable;
use conversation::Conversation;
use failure::Failure;
use generation::{Generation, Source};
use model::Model;
use rendered::Prompt;
use request::Request;
use std::cell::RefCell;
use std::rc::Rc;

struct Engine;

#[allow(unsafe_code, reason = "the generated exports are unsafe functions")]
mod export {
    use super::{Engine, bindings};

    bindings::export!(Engine with_types_in bindings);
}

/// A `model` that an app holds.
struct ModelHandle(Rc<Model>);

/// An `answer-stream` that an app holds.
struct StreamHandle(RefCell<Generation>);

/// A `conversation` that an app holds.
struct ConversationHandle(Rc<RefCell<Conversation>>);

impl models::Guest for Engine {
    type Model = ModelHandle;

    fn list_names() -> Result<Vec<String>, Failure> {
        Ok(nn::names())
    }
}

impl models::GuestModel for ModelHandle {
    fn open(name: Option<String>, options: models::ModelOptions) -> Result<models::Model, Failure> {
        let model = Model::open(name, &options)?;
        Ok(models::Model::new(Self(Rc::new(model))))
    }

    fn info(&self) -> models::ModelInfo {
        self.0.info()
    }

    fn tokenize(&self, text: String, special: bool) -> Result<Vec<u32>, Failure> {
        self.0.tokenize(&text, special)
    }

    fn detokenize(&self, tokens: Vec<u32>) -> Result<Vec<u8>, Failure> {
        self.0.detokenize(&tokens)
    }

    fn count(&self, text: String) -> Result<u32, Failure> {
        let tokens = self.0.tokenize(&text, false)?;
        Ok(u32::try_from(tokens.len()).unwrap_or(u32::MAX))
    }

    fn embed(
        &self,
        texts: Vec<String>,
        options: models::EmbeddingOptions,
    ) -> Result<models::Embeddings, Failure> {
        self.0.embed(&texts, &options)
    }
}

/// The model behind a handle.
fn model(handle: &models::ModelBorrow<'_>) -> Rc<Model> {
    handle.get::<ModelHandle>().0.clone()
}

fn start_completion(
    handle: &models::ModelBorrow<'_>,
    prompt: &str,
    options: &api::Options,
) -> Result<Generation, Failure> {
    let model = model(handle);
    let request = Request::new(&model, options, false)?;
    let prompt = Prompt::Tokens(model.tokens_of_text(prompt)?);
    Generation::start(Source::pooled(model)?, &prompt, request, None)
}

fn start_chat(
    handle: &models::ModelBorrow<'_>,
    messages: &[api::Message],
    options: &api::Options,
) -> Result<Generation, Failure> {
    let model = model(handle);
    let request = Request::new(&model, options, true)?;
    let rendered = model.render(messages, &request)?;
    let prompt = rendered.prompt(&model)?;
    let parser = request.parser(&model, messages, &rendered.text);
    Generation::start(Source::pooled(model)?, &prompt, request, parser)
}

fn stream(generation: Generation) -> api::AnswerStream {
    api::AnswerStream::new(StreamHandle(RefCell::new(generation)))
}

impl api::Guest for Engine {
    type AnswerStream = StreamHandle;
    type Conversation = ConversationHandle;

    fn complete(
        model: models::ModelBorrow<'_>,
        prompt: String,
        options: api::Options,
    ) -> Result<api::Answer, Failure> {
        start_completion(&model, &prompt, &options)?.collect()
    }

    fn stream_completion(
        model: models::ModelBorrow<'_>,
        prompt: String,
        options: api::Options,
    ) -> Result<api::AnswerStream, Failure> {
        Ok(stream(start_completion(&model, &prompt, &options)?))
    }

    fn chat(
        model: models::ModelBorrow<'_>,
        messages: Vec<api::Message>,
        options: api::Options,
    ) -> Result<api::Answer, Failure> {
        start_chat(&model, &messages, &options)?.collect()
    }

    fn stream_chat(
        model: models::ModelBorrow<'_>,
        messages: Vec<api::Message>,
        options: api::Options,
    ) -> Result<api::AnswerStream, Failure> {
        Ok(stream(start_chat(&model, &messages, &options)?))
    }

    fn render(
        handle: models::ModelBorrow<'_>,
        messages: Vec<api::Message>,
        options: api::Options,
    ) -> Result<String, Failure> {
        let model = model(&handle);
        let request = Request::new(&model, &options, true)?;
        Ok(model.render(&messages, &request)?.text)
    }
}

impl api::GuestAnswerStream for StreamHandle {
    fn next(&self) -> Result<Option<api::Event>, Failure> {
        self.0.borrow_mut().next()
    }

    fn cancel(&self) {
        self.0.borrow_mut().cancel();
    }

    fn subscribe(&self) -> Pollable {
        bindings::wasi::clocks::monotonic_clock::subscribe_duration(0)
    }
}

impl api::GuestConversation for ConversationHandle {
    fn begin(
        handle: models::ModelBorrow<'_>,
        messages: Vec<api::Message>,
        options: api::Options,
    ) -> Result<api::Conversation, Failure> {
        let conversation = Conversation::begin(model(&handle), messages, options)?;
        Ok(api::Conversation::new(Self(Rc::new(RefCell::new(
            conversation,
        )))))
    }

    fn say(&self, message: api::Message) -> Result<api::Answer, Failure> {
        Conversation::say(&self.0, vec![message])?.collect()
    }

    fn stream_answer(&self, message: api::Message) -> Result<api::AnswerStream, Failure> {
        Ok(stream(Conversation::say(&self.0, vec![message])?))
    }

    fn say_all(&self, messages: Vec<api::Message>) -> Result<api::Answer, Failure> {
        Conversation::say(&self.0, messages)?.collect()
    }

    fn stream_answer_to_all(
        &self,
        messages: Vec<api::Message>,
    ) -> Result<api::AnswerStream, Failure> {
        Ok(stream(Conversation::say(&self.0, messages)?))
    }

    fn messages(&self) -> Vec<api::Message> {
        self.0.borrow().messages().to_vec()
    }

    fn save(&self) -> Vec<u8> {
        saved::save(&self.0.borrow())
    }

    fn restore(
        handle: models::ModelBorrow<'_>,
        state: Vec<u8>,
    ) -> Result<api::Conversation, Failure> {
        let conversation = saved::restore(model(&handle), &state)?;
        Ok(api::Conversation::new(Self(Rc::new(RefCell::new(
            conversation,
        )))))
    }
}
