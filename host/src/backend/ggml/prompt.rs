//! Input 0: what a computation starts from.

#[cfg(feature = "images")]
use super::images::ImagePrompt;
use super::options::Options;
use super::session::{Alone, Session};
use super::tokenize::tokenize;
use super::weights::{Origin, Weights};
use crate::backend::large_text::check_size;
use crate::{Error, ErrorCode, Monitor};
use llama_cpp_2::token::LlamaToken;
use std::sync::Arc;

/// WasmEdge keeps this many tokens of the context free of the prompt.
const RESERVED: usize = 4;

pub(super) enum Prompt {
    Text(Vec<LlamaToken>),
    #[cfg(feature = "images")]
    Image(ImagePrompt),
}

impl Prompt {
    /// Tokenizes a text, and the image in it if there is one.
    #[cfg_attr(
        not(feature = "images"),
        allow(unused_variables, reason = "only images have options")
    )]
    pub(super) fn read(
        text: &str,
        options: &Options,
        origin: &Origin,
        weights: &Arc<Weights>,
    ) -> Result<Self, Error> {
        #[cfg(feature = "images")]
        if let Some(prompt) = ImagePrompt::read(text, options, &origin.images, weights)? {
            return Ok(Self::Image(prompt));
        }
        // Its base64 would be a text without sense.
        #[cfg(not(feature = "images"))]
        if super::image_tag::find(text).is_some() {
            return Err(Error::new(
                ErrorCode::UnsupportedOperation,
                "expected a prompt without an image, found one in its <img> tag, which this build does not take: build \
                 with `--features images`",
            ));
        }
        check_size(text.len(), origin.most_prompt_tokens)?;
        tokenize(&weights.model, text, true, true).map(Self::Text)
    }

    /// How many tokens of text there are, which is what WasmEdge counts.
    pub(super) fn text_tokens(&self) -> usize {
        match self {
            Self::Text(tokens) => tokens.len(),
            #[cfg(feature = "images")]
            Self::Image(prompt) => prompt.text_tokens(),
        }
    }

    /// How many tokens of a context it takes.
    pub(super) fn tokens(&self) -> usize {
        match self {
            Self::Text(tokens) => tokens.len(),
            #[cfg(feature = "images")]
            Self::Image(prompt) => prompt.tokens(),
        }
    }

    /// Fails if a model with these weights has nothing to start from.
    #[cfg_attr(
        not(feature = "images"),
        allow(
            unused_variables,
            reason = "tokens are those of any weights of one file"
        )
    )]
    pub(super) fn check(&self, weights: &Arc<Weights>) -> Result<(), Error> {
        match self {
            Self::Text(tokens) if tokens.is_empty() => Err(Error::invalid(
                "the prompt (input 0) is empty and gives the model no token to start from",
            )),
            Self::Text(_) => Ok(()),
            #[cfg(feature = "images")]
            Self::Image(prompt) => prompt.check(weights),
        }
    }

    /// Evaluates the prompt, but for what the session holds already. Gives how many tokens that are.
    pub(super) async fn evaluate(
        &self,
        session: &mut Session,
        monitor: &Monitor,
    ) -> Result<usize, Error> {
        match self {
            Self::Text(tokens) => {
                check_fits(tokens.len(), session.size())?;
                session.start(tokens, monitor).await
            }
            #[cfg(feature = "images")]
            Self::Image(prompt) => {
                check_fits(prompt.tokens(), session.size())?;
                prompt.evaluate(session.alone()?, monitor)?;
                Ok(0)
            }
        }
    }

    /// Whether it can be evaluated in one batch with others.
    pub(super) fn shares(&self) -> bool {
        matches!(self, Self::Text(_))
    }

    /// Evaluates the whole prompt at once, for an embedding of it.
    pub(super) fn encode(&self, session: &mut Alone, monitor: &Monitor) -> Result<(), Error> {
        match self {
            Self::Text(tokens) => {
                // llama.cpp aborts if an encoder gets more at once than `ubatch-size`, which equals
                // `batch-size` here.
                let most = session.context().n_ubatch() as usize;
                check_fits(tokens.len(), session.size())?;
                if tokens.len() > most {
                    return Err(prompt_too_long(tokens.len(), most, "batch-size"));
                }
                session.clear();
                session.evaluate(tokens, monitor)
            }
            #[cfg(feature = "images")]
            Self::Image(_) => Err(Error::new(
                ErrorCode::UnsupportedOperation,
                "expected a prompt without an image for an embedding: set option `image` to \"\", or \
                 `embedding` to false",
            )),
        }
    }
}

/// Fails if the context has no room for a prompt of so many tokens.
fn check_fits(tokens: usize, size: usize) -> Result<(), Error> {
    let most = size.saturating_sub(RESERVED);
    if tokens > most {
        return Err(prompt_too_long(tokens, most, "ctx-size"));
    }
    Ok(())
}

pub(super) fn prompt_too_long(found: usize, most: usize, option: &str) -> Error {
    Error::new(
        ErrorCode::PromptTooLong,
        format!(
            "expected a prompt of at most {most} tokens, found {found}: shorten it or set a larger \
             `{option}`"
        ),
    )
}
