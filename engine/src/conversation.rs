//! A chat that remembers, in a context of its own.

use crate::bindings::exports::llm_wasi::llm::generation::{Message, Options, Part, Role};
use crate::failure::{Failure, invalid};
use crate::generation::{Generated, Generation, Source};
use crate::model::Model;
use crate::nn::Context;
use crate::rendered::Prompt;
use crate::request::Request;
use std::cell::RefCell;
use std::rc::Rc;

pub(crate) struct Conversation {
    model: Rc<Model>,
    options: Options,
    messages: Vec<Message>,
    /// None before the first turn, and while one has it.
    context: Option<Context>,
    /// Whether an answer is on its way.
    answering: bool,
    /// What the context holds, and the text of it.
    tokens: Vec<u32>,
    text: Vec<u8>,
}

/// An answer that a conversation waits for.
pub(crate) struct Turn {
    conversation: Rc<RefCell<Conversation>>,
    model: Rc<Model>,
    context: Option<Context>,
    said: Vec<Message>,
    /// The prompt's tokens; none if it has an image, which is evaluated anew each time.
    tokens: Vec<u32>,
    /// The prompt in words.
    text: String,
}

impl Conversation {
    pub(crate) fn begin(
        model: Rc<Model>,
        messages: Vec<Message>,
        options: Options,
    ) -> Result<Self, Failure> {
        let request = Request::new(&model, &options, true)?;
        if let Some(last) = messages.last() {
            // What the template does not take is said now. Some take no tools before the user has said something.
            let mut all = messages.clone();
            if last.role == Role::System {
                all.push(Message {
                    role: Role::User,
                    content: vec![Part::Text("Hello".to_owned())],
                    tool_calls: Vec::new(),
                    tool_call_id: None,
                });
            }
            model.render(&all, &request)?;
        }
        Ok(Self {
            model,
            options,
            messages,
            context: None,
            answering: false,
            tokens: Vec::new(),
            text: Vec::new(),
        })
    }

    pub(crate) fn messages(&self) -> &[Message] {
        &self.messages
    }

    pub(crate) fn options(&self) -> &Options {
        &self.options
    }

    pub(crate) fn model(&self) -> &Model {
        &self.model
    }

    /// Says something: the answer begins.
    pub(crate) fn say(this: &Rc<RefCell<Self>>, said: Vec<Message>) -> Result<Generation, Failure> {
        let mut conversation = this.borrow_mut();
        let Self {
            model,
            options,
            messages,
            context,
            answering,
            tokens,
            text,
        } = &mut *conversation;
        if *answering {
            return Err(invalid(
                "message",
                "expected the stream of the answer before to end or be dropped first",
            ));
        }
        if said.is_empty() {
            return Err(invalid("messages", "expected at least one, found none"));
        }
        let request = Request::new(model, options, true)?;
        let mut all = messages.clone();
        all.extend(said.iter().cloned());
        let rendered = model.render(&all, &request)?;
        // What the context holds need not be read again, and must not: the tokens that a model writes are
        // not always those that its text is read as.
        let known = !tokens.is_empty()
            && rendered.image.is_none()
            && rendered.text.as_bytes().starts_with(text);
        let prompt = match known && rendered.text.is_char_boundary(text.len()) {
            true => {
                let mut prompt = tokens.clone();
                prompt.extend(model.tokens_from(&rendered.text, &rendered.cuts, text.len())?);
                Prompt::Tokens(prompt)
            }
            false => rendered.prompt(model)?,
        };
        let parser = request.parser(model, &all, &rendered.text);
        let context = match context.take() {
            Some(context) => context,
            None => model.context()?,
        };
        *answering = true;
        let turn = Turn {
            conversation: this.clone(),
            model: model.clone(),
            context: Some(context),
            said,
            tokens: match &prompt {
                Prompt::Tokens(tokens) => tokens.clone(),
                Prompt::WithImage(_) => Vec::new(),
            },
            text: rendered.text,
        };
        // A turn that cannot start gives its context back, and borrows the conversation for that.
        drop(conversation);
        Generation::start(Source::Turn(Box::new(turn)), &prompt, request, parser)
    }
}

impl Turn {
    pub(crate) fn model(&self) -> &Model {
        &self.model
    }

    pub(crate) fn context(&self) -> Option<&Context> {
        self.context.as_ref()
    }

    /// Gives the context back to the conversation, and with it what was said.
    pub(crate) fn close(&mut self, generated: Option<Generated>) {
        let Some(context) = self.context.take() else {
            return;
        };
        let written = context.generated();
        context.finish();
        let mut conversation = self.conversation.borrow_mut();
        conversation.context = Some(context);
        conversation.answering = false;
        let Some(generated) = generated else {
            return;
        };
        conversation.messages.append(&mut self.said);
        conversation.messages.push(Message {
            role: Role::Assistant,
            content: vec![Part::Text(generated.text)],
            tool_calls: generated.calls,
            tool_call_id: None,
        });
        conversation.tokens.clear();
        conversation.text.clear();
        // A worker that has ended meanwhile gives none.
        let all = generated.tokens + u32::from(generated.ended);
        if let Ok(mut written) = written
            && !self.tokens.is_empty()
            && u32::try_from(written.len()) == Ok(all)
        {
            if generated.ended {
                // The token that ended the text: the next prompt has its text again.
                written.pop();
            }
            conversation.tokens.append(&mut self.tokens);
            conversation.tokens.extend(written);
            conversation.text.extend_from_slice(self.text.as_bytes());
            conversation.text.extend_from_slice(&generated.bytes);
        }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        // Only a turn that could not start still has it.
        self.close(None);
    }
}
