//! What a model's template made of messages, and what the host is given of it.
//!
//! Without an image that is tokens, and nothing in a message is a special one (`literal`). A prompt with
//! an image is text: the host knows it by a tag, as WasmEdge does.

use crate::failure::{Failure, invalid};
use crate::model::Model;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

/// Where the image belongs, in prompts and in what `render` gives.
pub(crate) const MARKER: &str = "<image>";
/// What the host takes for the beginning of an image.
const TAG: &str = "<img src=\"data:image/";

const ZERO_WIDTH_SPACE: char = '\u{200b}';

/// A prompt in words, with its image.
pub(crate) struct Rendered {
    pub(crate) text: String,
    /// Where a message has the words of a special token: in the midst of them.
    pub(crate) cuts: Vec<usize>,
    pub(crate) image: Option<Image>,
}

/// An image in a message.
pub(crate) struct Image {
    /// The part that it is, such as `messages[0].content[1]`.
    pub(crate) field: String,
    pub(crate) file: Vec<u8>,
}

/// What the host is given.
pub(crate) enum Prompt {
    Tokens(Vec<u32>),
    WithImage(WithImage),
}

/// A prompt in which an image is.
pub(crate) struct WithImage {
    pub(crate) text: String,
    /// The image's part.
    pub(crate) field: String,
}

impl Rendered {
    /// What the host is given for it.
    pub(crate) fn prompt(&self, model: &Model) -> Result<Prompt, Failure> {
        let Some(image) = &self.image else {
            let tokens = model.tokens_of_prompt(&self.text, &self.cuts)?;
            return Ok(Prompt::Tokens(tokens));
        };
        if self.text.matches(MARKER).count() != 1 || self.text.contains(TAG) {
            return Err(invalid(
                "messages",
                format!("expected texts without `{MARKER}` and `{TAG}` beside an image"),
            ));
        }
        let marker = self.text.find(MARKER).unwrap_or_default();
        let marker = marker..marker + MARKER.len();
        let mut text = self.text.clone();
        for cut in self.cuts.iter().rev().filter(|cut| !marker.contains(cut)) {
            // The host reads it as a whole, in which something that shows nothing parts them.
            text.insert(*cut, ZERO_WIDTH_SPACE);
        }
        let file = STANDARD.encode(&image.file);
        let tag = format!("{TAG}png;base64,{file}\">");
        Ok(Prompt::WithImage(WithImage {
            // The host adds the token that begins texts, as the template may have done.
            text: model.without_begin(&text).replace(MARKER, &tag),
            field: image.field.clone(),
        }))
    }
}
