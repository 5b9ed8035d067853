//! Changes to bytes that are likely to get past a parser's first look.

use proptest::prelude::Rng;

/// Bytes that mean something to one of the parsers.
const WORDS: [&[u8]; 20] = [
    b"(",
    b")",
    b"\"",
    b"$",
    b";;",
    b"(;",
    b"[",
    b"]",
    b"=",
    b".*",
    b"(@witx",
    b"u64",
    b"handle",
    b"record",
    b"\0asm\x01\0\0\0",
    &[0xff, 0xff, 0xff, 0xff, 0x0f],
    &[0x80, 0x80, 0x80, 0x80, 0x00],
    &[0x7f],
    &[0x00],
    &[0xff],
];

/// A text or module with a few changes; `others` lends pieces.
pub fn mutate(original: &[u8], others: &[Vec<u8>], rng: &mut impl Rng) -> Vec<u8> {
    let mut bytes = original.to_vec();
    for _ in 0..=below(rng, 4) {
        change(&mut bytes, others, rng);
    }
    bytes
}

fn change(bytes: &mut Vec<u8>, others: &[Vec<u8>], rng: &mut impl Rng) {
    let at = below(rng, bytes.len() + 1);
    let length = 1 + below(rng, 40);
    let end = bytes.len().min(at + length);
    match below(rng, 9) {
        0 => bytes.truncate(at),
        1 => drop(bytes.drain(at..end)),
        2 => {
            let word = WORDS[below(rng, WORDS.len())];
            bytes.splice(at..at, word.iter().copied());
        }
        3 => {
            let word = WORDS[below(rng, WORDS.len())];
            bytes.splice(at..end.min(at + word.len()), word.iter().copied());
        }
        4 => {
            // A piece twice.
            let piece = bytes[at..end].to_vec();
            bytes.splice(at..at, piece);
        }
        5 => {
            // A piece of another one.
            let other = &others[below(rng, others.len())];
            let from = below(rng, other.len() + 1);
            let piece = other[from..other.len().min(from + length)].to_vec();
            bytes.splice(at..end, piece);
        }
        6 => {
            // Two words change places, for texts.
            let text = String::from_utf8_lossy(bytes).into_owned();
            let mut words: Vec<&str> = text.split_inclusive([' ', '\n']).collect();
            if !words.is_empty() {
                let (a, b) = (below(rng, words.len()), below(rng, words.len()));
                words.swap(a, b);
            }
            *bytes = words.concat().into_bytes();
        }
        _ => {
            if let Some(byte) = bytes.get_mut(at) {
                *byte = match below(rng, 3) {
                    0 => *byte ^ (1 << below(rng, 8)),
                    1 => byte.wrapping_add(1),
                    _ => rng.next_u32() as u8,
                };
            }
        }
    }
}

fn below(rng: &mut impl Rng, limit: usize) -> usize {
    rng.next_u32() as usize % limit.max(1)
}
