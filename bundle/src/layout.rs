//! Where everything stands: headers of custom sections, and padding.

use crate::digest::Digest;
use crate::index::Blob;

/// What a component begins with: the magic number, the version and the layer.
pub(crate) const PREAMBLE: [u8; 8] = *b"\0asm\x0d\0\x01\0";
/// What every part's offset in the file is a multiple of: no system has larger pages in use.
pub(crate) const ALIGNMENT: u64 = 1 << 16;

pub(crate) const INDEX: &str = "llm-wasi:index";
pub(crate) const SIGNATURE: &str = "llm-wasi:signature";
pub(crate) const PADDING: &str = "llm-wasi:padding";
pub(crate) const PART: &str = "llm-wasi:part:";

/// Bytes of a section's id and size, which is always written with all bytes that it may have.
const FRAME: u64 = 6;
/// The most bytes of a part: with its section's name they fit into 32 bits, and it stays a round number.
pub(crate) const LARGEST_PART: u64 = (1 << 32) - ALIGNMENT;

/// The beginning of a custom section, up to its content.
pub(crate) fn header(name: &str, content: u64) -> Vec<u8> {
    let mut bytes = vec![0];
    bytes.extend(leb128(1 + name.len() as u64 + content));
    // All names here are short enough for one byte.
    bytes.push(name.len() as u8);
    bytes.extend_from_slice(name.as_bytes());
    bytes
}

fn header_length(name: &str) -> u64 {
    FRAME + 1 + name.len() as u64
}

/// A number of 32 bits in five bytes.
fn leb128(value: u64) -> [u8; 5] {
    let byte = |at: u32| (value >> (7 * at) & 0x7f) as u8;
    [
        byte(0) | 0x80,
        byte(1) | 0x80,
        byte(2) | 0x80,
        byte(3) | 0x80,
        byte(4),
    ]
}

/// What stands between `offset` and the content of a part: padding and the header of its section.
pub(crate) fn lead(offset: u64, part: &Blob) -> Vec<u8> {
    let name = part_name(&part.sha256);
    let least = header_length(PADDING) + header_length(&name);
    let content = (offset + least).next_multiple_of(ALIGNMENT);
    let zeros = content - offset - least;
    let mut bytes = header(PADDING, zeros);
    bytes.resize(bytes.len() + zeros as usize, 0);
    bytes.extend(header(&name, part.size));
    bytes
}

fn part_name(digest: &Digest) -> String {
    format!("{PART}{digest}")
}

/// The content of the section with the index.
pub(crate) fn index_content(json: &[u8]) -> Vec<u8> {
    let mut content = Digest::of(json).to_string().into_bytes();
    content.push(b'\n');
    content.extend_from_slice(json);
    content
}

/// The sections before the component's own: index and signature.
pub(crate) fn head(json: &[u8], signature: Option<&str>) -> Vec<u8> {
    let content = index_content(json);
    let mut bytes = header(INDEX, content.len() as u64);
    bytes.extend(content);
    if let Some(signature) = signature {
        bytes.extend(header(SIGNATURE, signature.len() as u64));
        bytes.extend_from_slice(signature.as_bytes());
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;
    use wasmparser::{Parser, Payload};

    #[test]
    fn every_part_is_aligned() {
        let part = Blob {
            size: LARGEST_PART,
            sha256: Digest::of(b""),
        };
        for offset in [8, 1000, ALIGNMENT - 120, ALIGNMENT - 1, ALIGNMENT, 5 << 32] {
            let lead = lead(offset, &part);
            assert!((offset + lead.len() as u64).is_multiple_of(ALIGNMENT));
            assert!(lead.len() as u64 <= ALIGNMENT + 200);
        }
    }

    #[test]
    fn headers_are_those_of_custom_sections() {
        let mut wasm = PREAMBLE.to_vec();
        wasm.extend(header("name", 3));
        wasm.extend(b"abc");
        let found =
            Parser::new(0)
                .parse_all(&wasm)
                .find_map(|payload| match payload.expect("it parses") {
                    Payload::CustomSection(section) => Some((section.name(), section.data())),
                    _ => None,
                });
        assert_eq!(found, Some(("name", &b"abc"[..])));
    }

    #[test]
    fn the_largest_part_fits() {
        let name = part_name(&Digest::of(b""));
        assert!(1 + name.len() as u64 + LARGEST_PART <= u64::from(u32::MAX));
        let mut header = header(&name, LARGEST_PART);
        let size = header.drain(1..6).enumerate();
        let size = size.fold(0, |sum, (at, byte)| {
            sum | u64::from(byte & 0x7f) << (7 * at)
        });
        assert_eq!(size, 1 + name.len() as u64 + LARGEST_PART);
    }
}
