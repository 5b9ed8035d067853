//! Options of language models: JSON with values that none of them has.

use super::values::{below, damage, one_of, real, whole};
use llm_wasi_host::backend::ggml::options::{TABLE, WITHOUT_EFFECT};
use proptest::prelude::Rng;

/// Texts that mean something to a grammar, a schema, a template or a path.
const TEXTS: [&str; 22] = [
    "\"\"",
    "\"0\"",
    "\"root ::= \\\"a\\\"\"",
    "\"root ::= root\"",
    "\"root ::= [\"",
    "\"root ::= [a-\\\\uFFFF]{0,4294967295}\"",
    "\"root ::= (\\\"a\\\" | (\\\"b\\\" | (\\\"c\\\")))*\"",
    "\"root ::= ((((((((((a*)*)*)*)*)*)*)*)*)*\"",
    "{\"type\":\"object\"}",
    "{\"$ref\":\"#\"}",
    "{\"type\":\"array\",\"minItems\":1000000000}",
    "{\"type\":\"string\",\"pattern\":\"^(a+)+$\"}",
    "{\"anyOf\":[]}",
    "\"{\\\"type\\\":\\\"string\\\",\\\"maxLength\\\":100000}\"",
    "\"/etc/passwd\"",
    "\"../../../model.gguf\"",
    "\"a\\u0000b\"",
    "\"\\ud83e\\udd80\"",
    "null",
    "true",
    "false",
    "\"f16\"",
];

/// Set `index` of a campaign.
pub(super) fn file(index: u64, rng: &mut impl Rng) -> Vec<u8> {
    const USUAL: [(&str, &str); 4] = [
        ("temp", "0"),
        ("threads", "1"),
        ("ctx-size", "64"),
        ("n-predict", "4"),
    ];
    let mut options: Vec<(String, String)> = USUAL
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect();
    // Each option once by itself, whatever the numbers say.
    let first = TABLE.get(index as usize).map(|option| option.name);
    for at in 0..=below(rng, 4) {
        let name = match (at, first, below(rng, 12)) {
            (0, Some(name), _) => name,
            (_, _, 0) => *one_of(rng, WITHOUT_EFFECT),
            (_, _, 1) => "no-such-option",
            _ => one_of(rng, TABLE).name,
        };
        let value = value(rng, 0);
        options.push((name.to_owned(), value));
    }
    let fields: Vec<String> = options
        .iter()
        .map(|(name, value)| format!("\"{name}\":{value}"))
        .collect();
    let mut json = format!("{{{}}}", fields.join(",")).into_bytes();
    if below(rng, 6) == 0 {
        damage(rng, &mut json, usize::MAX);
    }
    json
}

fn value(rng: &mut impl Rng, depth: u32) -> String {
    match below(rng, 14) {
        0 => below(rng, 6).to_string(),
        1 | 2 => below(rng, 100).to_string(),
        3 => whole(rng, 1).to_string(),
        4 => format!("-{}", whole(rng, 1)),
        5 => format!("{:e}", real(rng, 1.0)),
        6 => format!("1e{}", below(rng, 1000)),
        7 => format!("{}", below(rng, 300) as f64 / 100.0),
        8 if depth < 3 => format!("[{},{}]", value(rng, depth + 1), value(rng, depth + 1)),
        9 if depth < 3 => format!("{{\"a\":{}}}", value(rng, depth + 1)),
        10 => {
            let deep = 1 << below(rng, 14);
            format!("{}{}", "[".repeat(deep), "]".repeat(deep))
        }
        11 => format!("\"{}\"", "ab ".repeat(1 << below(rng, 16))),
        _ => (*one_of(rng, &TEXTS)).to_owned(),
    }
}
