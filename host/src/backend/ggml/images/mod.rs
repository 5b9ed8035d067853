//! Images in prompts.
//!
//! 1. [`image_tag`] finds the image that a prompt brings along; else option `image` names a file.
//! 2. [`format`] tells what the bytes are, and decodes them.
//! 3. [`projector`] has the second model, from the file that option `mmproj` names: it turns the image into
//!    embeddings, which the language model takes in the place of tokens. [`layout`] checks that file.
//!
//! Whatever can be wrong is found when the prompt is set: computing it only asks for room in the context.

mod format;
mod layout;
mod projector;

pub(super) use format::{MAX_BYTES, too_large};
pub(super) use projector::Source;

use super::exit;
use super::image_tag::{self, MARKER};
use super::options::Options;
use super::session::{Alone, Settings};
use super::tokenize::check_words;
use super::weights::Weights;
use crate::{Activity, Error, ErrorCode, Monitor};
use llama_cpp_2::mtmd::{MtmdInputChunkType, MtmdInputChunks, MtmdInputText};
use projector::Projector;
use std::borrow::Cow;
use std::sync::Arc;

/// A prompt with an image, tokenized.
pub(super) struct ImagePrompt {
    /// Pieces of text and of the image.
    chunks: MtmdInputChunks,
    projector: Arc<Projector>,
    /// How many tokens the pieces of text have.
    text_tokens: usize,
    /// The most tokens of a piece of the image.
    largest: usize,
}

impl ImagePrompt {
    /// Tokenizes a prompt, if there is an image for it.
    pub(super) fn read(
        prompt: &str,
        options: &Options,
        source: &Source,
        weights: &Arc<Weights>,
    ) -> Result<Option<Self>, Error> {
        let tagged = image_tag::find(prompt);
        if tagged.is_none() && options.image.is_empty() {
            return Ok(None);
        }
        if !source.has_projector(&options.mmproj) {
            return Err(Error::invalid(
                "expected option `mmproj` for a prompt with an image, found none: name the GGUF file of \
                 the projector that belongs to the model, or preload it behind the model",
            ));
        }
        let (text, image) = match tagged {
            Some(tagged) => (Cow::Owned(tagged.text), image_tag::decode(tagged.payload)?),
            None => (
                Cow::Borrowed(prompt),
                format::read(&source.files, &options.image)?,
            ),
        };
        let markers = text.matches(MARKER).count();
        if markers != 1 {
            return Err(Error::invalid(format!(
                "expected `{MARKER}` once in a prompt with an image, found it {markers} times: write it \
                 where the image belongs, or set option `image` to \"\""
            )));
        }
        check_words(&text)?;
        let image = format::decode(&image)?;
        let threads = Settings::new(options).threads_batch;
        let projector = source.projector(&options.mmproj, weights, threads)?;
        let text = MtmdInputText {
            text: text.into_owned(),
            add_special: true,
            parse_special: true,
        };
        let chunks = projector.tokenize(text, &image)?;
        Self::new(chunks, projector).map(Some)
    }

    /// Checks what llama.cpp would only find while it computes.
    fn new(chunks: MtmdInputChunks, projector: Arc<Projector>) -> Result<Self, Error> {
        let vocabulary = projector.weights().model.n_vocab();
        let (mut text_tokens, mut largest, mut ends_in_text) = (0, 0, false);
        for chunk in (0..chunks.len()).filter_map(|index| chunks.get(index)) {
            ends_in_text = chunk.chunk_type() == MtmdInputChunkType::Text;
            if ends_in_text {
                text_tokens += chunk.n_tokens();
            } else {
                largest = largest.max(chunk.n_tokens());
            }
            let tokens = chunk.text_tokens().unwrap_or_default();
            if tokens
                .iter()
                .any(|token| !(0..vocabulary).contains(&token.0))
            {
                return Err(Error::invalid(
                    "expected a model with the tokens that option `mmproj`'s projector surrounds an \
                     image with, found one without them: name the projector that belongs to the model",
                ));
            }
        }
        if !ends_in_text {
            return Err(Error::invalid(format!(
                "expected text behind `{MARKER}`, found the prompt's end: a model goes on from text"
            )));
        }
        Ok(Self {
            chunks,
            projector,
            text_tokens,
            largest,
        })
    }

    pub(super) fn text_tokens(&self) -> usize {
        self.text_tokens
    }

    /// How many tokens of a context the text and the image take.
    pub(super) fn tokens(&self) -> usize {
        self.chunks.total_tokens()
    }

    /// Fails if the prompt was tokenized for other weights.
    pub(super) fn check(&self, weights: &Arc<Weights>) -> Result<(), Error> {
        if Arc::ptr_eq(self.projector.weights(), weights) {
            return Ok(());
        }
        Err(Error::invalid(
            "the model was loaded anew since the prompt with an image (input 0) was set: set it again",
        ))
    }

    /// Evaluates the prompt in place of whatever the session holds, which has room for it.
    pub(super) fn evaluate(&self, session: &mut Alone, monitor: &Monitor) -> Result<(), Error> {
        let total = self.tokens() as u64;
        monitor.report(Activity::Prefill, 0, total);
        monitor.check()?;
        session.fill(|context| {
            let mut projector = self.projector.lock();
            // llama.cpp aborts otherwise.
            let most = context.n_ubatch() as usize;
            if projector.decode_use_non_causal() && self.largest > most {
                return Err(Error::invalid(format!(
                    "expected an image of at most {most} tokens, which this model has to compute at \
                     once, found {}: set a larger `ubatch-size`, and `batch-size` where that is smaller",
                    self.largest
                )));
            }
            // What the host limits it to, so it is small, and positive.
            let batch = i32::try_from(context.n_batch()).unwrap_or(1).max(1);
            let _computing = exit::computing();
            let end = self
                .chunks
                .eval_chunks(&mut projector, context, 0, 0, batch, true)
                .map_err(|error| {
                    Error::new(
                        ErrorCode::RuntimeError,
                        format!(
                            "llama.cpp failed to evaluate the prompt with an image: {error}; \
                             RUST_LOG=llama_cpp=debug shows its log"
                        ),
                    )
                })?;
            let positions = usize::try_from(end).unwrap_or_default();
            Ok((self.chunks.total_tokens(), positions))
        })?;
        monitor.report(Activity::Prefill, total, total);
        Ok(())
    }
}
