//! The sections of a component, by their headers alone: contents may be larger than memory.

use crate::layout::{INDEX, PADDING, PART, PREAMBLE, SIGNATURE};
use std::io::{self, Read, Seek, SeekFrom};

/// How much of a section is looked at: its id and size, and a name as long as ours.
const LOOK: u64 = 128;
/// After so many sections a component is not looked through any further.
const MOST: usize = 10_000;

/// A section's place.
pub(crate) struct Section {
    /// The name of a custom section, if it is one of ours.
    pub(crate) name: Option<String>,
    /// Where the content begins, behind such a name.
    pub(crate) content: u64,
    pub(crate) end: u64,
}

/// The section at this offset; nothing if there is none that can be read.
pub(crate) fn section_at(
    source: &mut (impl Read + Seek),
    offset: u64,
) -> io::Result<Option<Section>> {
    let mut bytes = Vec::new();
    source.seek(SeekFrom::Start(offset))?;
    source.take(LOOK).read_to_end(&mut bytes)?;
    Ok(parse(&bytes, offset))
}

fn parse(bytes: &[u8], offset: u64) -> Option<Section> {
    let mut rest = bytes;
    let (id, after) = rest.split_first()?;
    rest = after;
    let size = number(&mut rest)?;
    let body = offset + (bytes.len() - rest.len()) as u64;
    let mut section = Section {
        name: None,
        content: body,
        end: body + size,
    };
    if *id == 0 {
        let length = usize::try_from(number(&mut rest)?).ok()?;
        let name = rest.get(..length).and_then(|n| std::str::from_utf8(n).ok());
        if let Some(name) = name.filter(|name| is_ours(name)) {
            section.name = Some(name.to_string());
            section.content = offset + (bytes.len() - rest.len() + length) as u64;
        }
    }
    Some(section)
}

/// An unsigned LEB128 of 32 bits.
fn number(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for shift in [0, 7, 14, 21, 28] {
        let (byte, rest) = bytes.split_first()?;
        *bytes = rest;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

fn is_ours(name: &str) -> bool {
    name.starts_with(PART) || [INDEX, SIGNATURE, PADDING].contains(&name)
}

/// A section of a bundle among those of a component. Nothing if `source` is something else.
pub(crate) fn stray(source: &mut (impl Read + Seek)) -> io::Result<Option<String>> {
    let mut offset = PREAMBLE.len() as u64;
    for _ in 0..MOST {
        match section_at(source, offset)? {
            Some(Section {
                name: Some(name), ..
            }) => return Ok(Some(name)),
            Some(section) => offset = section.end,
            None => break,
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Cursor;

    #[test]
    fn sections_are_found_by_their_headers() {
        let mut wasm = PREAMBLE.to_vec();
        wasm.extend([0, 5, 4, b'n', b'a', b'm', b'e']);
        // A size of two bytes, and content that is not there.
        wasm.extend([1, 0x80, 0x01]);
        let first = section_at(&mut Cursor::new(&wasm), 8).unwrap().unwrap();
        assert_eq!((first.name, first.content, first.end), (None, 10, 15));
        let second = section_at(&mut Cursor::new(&wasm), 15).unwrap().unwrap();
        assert_eq!((second.content, second.end), (18, 18 + 128));
        // The middle of one, where no size is left.
        assert!(section_at(&mut Cursor::new(&wasm), 17).unwrap().is_none());
        assert!(section_at(&mut Cursor::new(&wasm), 18).unwrap().is_none());
        assert_eq!(stray(&mut Cursor::new(&wasm)).unwrap(), None);
        wasm.truncate(15);
        wasm.extend(crate::layout::header(PADDING, 0));
        let found = stray(&mut Cursor::new(&wasm)).unwrap();
        assert_eq!(found.as_deref(), Some(PADDING));
    }

    #[test]
    fn sizes_beyond_32_bits_are_none() {
        let bytes = [0, 0x80, 0x80, 0x80, 0x80, 0x80, 0x01];
        assert!(parse(&bytes, 0).is_none());
    }
}
