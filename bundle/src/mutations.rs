//! Changed indexes under a digest that fits: what an attacker would write, and no damage would.

use crate::layout::{PREAMBLE, head, lead};
use crate::{Bundle, Digest, Index, Model, ModelFile, Writer};
use std::io::{Cursor, Write};

/// Numbers that are the same every time.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % limit.max(1) as u64) as usize
    }
}

fn model(name: &str, size: u64) -> Model {
    Model {
        name: name.to_string(),
        encoding: "GGML".to_string(),
        target: "AUTO".to_string(),
        files: vec![ModelFile {
            name: format!("{name}.gguf"),
            size,
            sha256: Digest::of(b""),
            parts: Vec::new(),
        }],
    }
}

/// A bundle and its index.
fn bundle() -> (Vec<u8>, Index) {
    let component = wat::parse_str("(component (core module))").unwrap();
    let models = vec![model("a", 5), model("b", 3)];
    let target = Cursor::new(Vec::new());
    let mut writer = Writer::new(target, &component, models, 4, None).unwrap();
    writer.write_all(b"aaaaabbb").unwrap();
    let (target, index) = writer.finish().unwrap();
    (target.into_inner(), index)
}

/// The same bundle with another index in front.
fn with_index(bundle: &[u8], index: &Index, json: &[u8]) -> Vec<u8> {
    let old = head(&index.to_json().unwrap(), None).len() + PREAMBLE.len();
    let mut bytes = PREAMBLE.to_vec();
    bytes.extend(head(json, None));
    bytes.extend(&bundle[old..old + index.component.size as usize - PREAMBLE.len()]);
    // What stands before a part depends on where that is.
    for (content, blob) in [&b"aaaa"[..], b"a", b"bbb"].iter().zip(index.parts()) {
        bytes.extend(lead(bytes.len() as u64, blob.1));
        bytes.extend(*content);
    }
    bytes
}

#[test]
fn an_index_of_somebody_elses() {
    let (bundle, index) = bundle();
    let json = index.to_json().unwrap();
    let same = with_index(&bundle, &index, &json);
    assert_eq!(same, bundle);
    let words = [
        "0",
        "1",
        "18446744073709551615",
        "4294967295",
        "-1",
        "1e9",
        "\"\"",
        "\"../x\"",
        "null",
        "[]",
        "{}",
        "a",
        "b",
        "5",
    ];
    let mut random = Random(0x1234_5678);
    let (mut good, mut bad) = (0, 0);
    for _ in 0..20_000 {
        let mut changed = json.clone();
        for _ in 0..=random.below(3) {
            let at = random.below(changed.len());
            let end = changed.len().min(at + random.below(20));
            let word = words[random.below(words.len())].as_bytes();
            match random.below(5) {
                0 => drop(changed.drain(at..end)),
                1 => drop(changed.splice(at..at, word.iter().copied())),
                2 => {
                    // A whole number is more likely to be read.
                    let digits: Vec<usize> = (0..changed.len())
                        .filter(|at| changed[*at].is_ascii_digit())
                        .collect();
                    if let Some(at) = digits.get(random.below(digits.len())) {
                        drop(changed.splice(*at..at + 1, word.iter().copied()));
                    }
                }
                3 => {
                    let piece = changed[at..end].to_vec();
                    drop(changed.splice(at..at, piece));
                }
                _ => changed[at] ^= 1 << random.below(7),
            }
            if changed.is_empty() {
                changed.push(b'{');
            }
        }
        let bytes = with_index(&bundle, &index, &changed);
        let read = Bundle::read(Cursor::new(bytes)).and_then(|bundle| {
            let mut bundle = bundle.expect("the preamble is there");
            bundle.verify(&mut |_| {}).map(|()| bundle)
        });
        match read {
            // Names of models and the like may be others: that is what signatures are for.
            Ok(read) => {
                good += 1;
                assert_eq!(read.index().component, index.component);
            }
            Err(_) => bad += 1,
        }
    }
    assert!(good > 0 && bad > 10_000, "{good} good, {bad} bad");
}
