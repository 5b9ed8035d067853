//! OpenVINO's IR by its lines and attributes.

use super::values::{below, damage, one_of, whole};
use llm_wasi_host::testing::TinyIr;
use proptest::prelude::Rng;

/// Operators that make much of little, that have bodies of their own, or that go by numbers from a tensor.
const OPERATORS: [&str; 18] = [
    "Add",
    "Multiply",
    "Reshape",
    "Tile",
    "Broadcast",
    "Range",
    "Pad",
    "Gather",
    "ScatterUpdate",
    "Split",
    "Concat",
    "If",
    "Loop",
    "TensorIterator",
    "Parameter",
    "Result",
    "Const",
    "NoSuchOperator",
];
const WORDS: [&str; 10] = [
    "",
    "-1",
    "?",
    "f32",
    "i64",
    "string",
    "FP32",
    "1..3",
    "x",
    "9223372036854775807",
];

fn model() -> TinyIr {
    let ones: Vec<u8> = [1.0_f32, 1.0]
        .iter()
        .flat_map(|v| v.to_le_bytes())
        .collect();
    TinyIr::new()
        .parameter("a", "f32", &[-1])
        .parameter("b", "i64", &[-1])
        .operator("Convert", "c", "f32", &[-1], &["b"])
        .operator("Add", "sum", "f32", &[-1], &["a", "c"])
        .constant("w", "f32", &[2], &ones)
        .operator("Multiply", "scaled", "f32", &[-1], &["sum", "w"])
        .result("sum")
        .result("scaled")
}

/// The weights that go with each file.
pub(super) fn weights() -> Vec<u8> {
    model().weights()
}

/// File `index` of a campaign.
pub(super) fn file(index: u64, rng: &mut impl Rng) -> Vec<u8> {
    let good = model().to_xml();
    if index == 0 {
        return good.into_bytes();
    }
    // Cut off behind each token.
    let ends = good.match_indices([' ', '>', '"', '=', '\n']);
    let ends: Vec<usize> = ends.map(|(at, _)| at).collect();
    if let Some(end) = ends.get(index as usize - 1) {
        return good.as_bytes()[..*end].to_vec();
    }
    let mut text = good;
    for _ in 0..=below(rng, 4) {
        text = changed(&text, rng);
    }
    let mut bytes = text.into_bytes();
    if below(rng, 8) == 0 {
        damage(rng, &mut bytes, usize::MAX);
    }
    bytes
}

fn changed(text: &str, rng: &mut impl Rng) -> String {
    match below(rng, 8) {
        0..=1 => {
            // Layers and edges are lines.
            let mut lines: Vec<&str> = text.lines().collect();
            if lines.is_empty() {
                return String::new();
            }
            let (at, other) = (below(rng, lines.len()), below(rng, lines.len()));
            match below(rng, 3) {
                0 => drop(lines.remove(at)),
                1 => lines.insert(at, lines[other]),
                _ => lines.swap(at, other),
            }
            lines.join("\n")
        }
        2 => {
            // A dimension.
            let Some((start, end)) = between(text, "<dim>", "</dim>", rng) else {
                return text.to_owned();
            };
            let old = text[start..end].parse().unwrap_or(1);
            let new = match below(rng, 3) {
                0 => (*one_of(rng, &WORDS)).to_owned(),
                _ => whole(rng, old).to_string(),
            };
            [&text[..start], &new, &text[end..]].concat()
        }
        3 => {
            // Elements in each other, many times.
            let Some((start, _)) = between(text, "<", ">", rng) else {
                return text.to_owned();
            };
            let depth = 1 << below(rng, 14);
            [
                &text[..start - 1],
                &"<layer>".repeat(depth),
                &text[start - 1..],
            ]
            .concat()
        }
        _ => {
            // An attribute.
            let Some((start, end)) = between(text, "=\"", "\"", rng) else {
                return text.to_owned();
            };
            let old = &text[start..end];
            let new = if old.starts_with(|first: char| first.is_ascii_uppercase()) {
                (*one_of(rng, &OPERATORS)).to_owned()
            } else if let Ok(number) = old.parse() {
                match below(rng, 3) {
                    // Edges from and to others make cycles.
                    0 => below(rng, 10).to_string(),
                    _ => whole(rng, number).to_string(),
                }
            } else {
                match below(rng, 3) {
                    0 => whole(rng, 2).to_string(),
                    1 => "x,".repeat(1 << below(rng, 12)),
                    _ => (*one_of(rng, &WORDS)).to_owned(),
                }
            };
            [&text[..start], &new, &text[end..]].concat()
        }
    }
}

/// A place between two marks.
fn between(text: &str, before: &str, behind: &str, rng: &mut impl Rng) -> Option<(usize, usize)> {
    let starts: Vec<usize> = text
        .match_indices(before)
        .map(|(at, _)| at + before.len())
        .collect();
    let start = *starts.get(below(rng, starts.len()))?;
    let length = text[start..].find(behind)?;
    Some((start, start + length))
}
