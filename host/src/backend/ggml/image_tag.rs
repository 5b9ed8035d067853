//! The image that a prompt brings along, in WasmEdge's notation:
//! `<img src="data:image/png;base64,iVBORw0KGgo=">`.

#![cfg_attr(
    not(feature = "images"),
    allow(
        dead_code,
        reason = "without images all that matters is whether there is one"
    )
)]

#[cfg(feature = "images")]
use {
    super::images::{MAX_BYTES, too_large},
    crate::Error,
    base64::Engine,
    base64::engine::general_purpose::STANDARD,
};

/// Where an image belongs in a prompt.
pub(super) const MARKER: &str = "<image>";

const START: &str = "<img src=\"data:image/";
const ENCODING: &str = ";base64,";
const END: &str = "\">";

/// A prompt with an image of its own.
#[derive(Debug, PartialEq)]
pub(super) struct Tagged<'a> {
    /// The prompt, with the marker in place of the tag.
    pub(super) text: String,
    /// The image's bytes, in base64.
    pub(super) payload: &'a str,
}

/// Finds the first tag. One without an end or without base64 is ordinary text, and so are later ones.
pub(super) fn find(prompt: &str) -> Option<Tagged<'_>> {
    let (before, rest) = prompt.split_once(START)?;
    let (tag, after) = rest.split_once(END)?;
    // What kind of image it is, its bytes tell.
    let (_, payload) = tag.split_once(ENCODING)?;
    Some(Tagged {
        text: [before, MARKER, after].concat(),
        payload,
    })
}

/// The bytes of a tag's image.
#[cfg(feature = "images")]
pub(super) fn decode(payload: &str) -> Result<Vec<u8>, Error> {
    if payload.len() as u64 / 4 * 3 > MAX_BYTES {
        return Err(too_large(payload.len() as u64 / 4 * 3));
    }
    STANDARD.decode(payload).map_err(|error| {
        Error::invalid(format!(
            "expected standard base64 with padding and without line breaks in the prompt's image tag: \
             {error}"
        ))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_whole_tag_is_the_image() {
        let found = find("a <img src=\"data:image/png;base64,AAA=\"> b").unwrap();
        assert_eq!(found.text, "a <image> b");
        assert_eq!(found.payload, "AAA=");
        let two = "<img src=\"data:image/x;base64,Aw==\"><img src=\"data:image/x;base64,BA==\">";
        let found = find(two).unwrap();
        assert_eq!(found.text, "<image><img src=\"data:image/x;base64,BA==\">");
    }

    #[test]
    fn other_texts_have_none() {
        for text in [
            "",
            "<image>",
            "<img src=\"data:image/png;base64,AAA=",
            "<img src=\"data:image/png,AAA=\">",
            "<img src=\"a.png\">",
            "<img src=\"data:image/png\"> ;base64,AAA=\">",
        ] {
            assert_eq!(find(text), None, "{text}");
        }
    }

    #[cfg(feature = "images")]
    #[test]
    fn base64_is_decoded_or_refused() {
        assert_eq!(decode("Aw==").unwrap(), [3]);
        for payload in ["A", "AA", "====", "AA==x", "AA A", "ü"] {
            assert!(decode(payload).is_err(), "{payload}");
        }
    }
}
