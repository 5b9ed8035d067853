//! Names of stored models.

use llm_wasi_host::gguf::Part;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::path::Path;
use std::str::FromStr;

/// The most characters of a name.
const MOST: usize = 100;
/// What is taken off a file's name to have the model's.
const EXTENSIONS: [&str; 3] = ["gguf", "onnx", "xml"];

/// A name that is a folder's on every system, has no meaning to a shell, and no colon, which separates
/// the parts of `--nn-preload`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String")]
pub(crate) struct Name(String);

impl Name {
    /// The name for a model whose only or first file is called `file`.
    pub(crate) fn of_file(file: &str) -> Result<Name, String> {
        if let Some(part) = Part::parse(file) {
            return part.name.parse();
        }
        let path = Path::new(file);
        let known = path
            .extension()
            .and_then(|extension| extension.to_str())
            .is_some_and(|found| EXTENSIONS.iter().any(|e| e.eq_ignore_ascii_case(found)));
        match path.file_stem().and_then(|stem| stem.to_str()) {
            Some(stem) if known => stem.parse(),
            _ => file.parse(),
        }
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Name {
    type Err = String;

    fn from_str(text: &str) -> Result<Name, String> {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
        let good = text.len() <= MOST
            && text.bytes().all(plain)
            && text.starts_with(|first: char| first.is_ascii_alphanumeric())
            && !text.ends_with('.');
        if good {
            return Ok(Name(text.to_string()));
        }
        let found: String = text.chars().take(MOST).collect();
        Err(format!(
            "expected a name of letters, digits, `.`, `_` and `-`, at most {MOST}, that begins with a \
             letter or a digit and does not end with `.`; found `{}`",
            found.escape_debug()
        ))
    }
}

impl TryFrom<String> for Name {
    type Error = String;

    fn try_from(text: String) -> Result<Name, String> {
        text.parse()
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn good_and_bad_names() {
        let longest = "x".repeat(MOST);
        for good in ["a", "7", "SmolLM2-135M-Instruct.Q4_1", &longest] {
            assert_eq!(good.parse::<Name>().unwrap().as_str(), good);
        }
        let longer = "x".repeat(MOST + 1);
        for bad in [
            "", ".", "..", ".hidden", "-flag", "a/b", "a\\b", "a:b", "a b", "ä", "a.", "a\n",
            &longer,
        ] {
            assert!(bad.parse::<Name>().is_err(), "{bad}");
        }
    }

    #[test]
    fn names_of_files() {
        for (file, name) in [
            ("tiny.gguf", "tiny"),
            ("tiny.GGUF", "tiny"),
            ("m.Q4_1.gguf", "m.Q4_1"),
            ("m-00001-of-00003.gguf", "m"),
            ("model.onnx", "model"),
            ("model.xml", "model"),
            ("sha256-abc", "sha256-abc"),
            ("m.Q4_1", "m.Q4_1"),
        ] {
            assert_eq!(Name::of_file(file).unwrap().as_str(), name, "{file}");
        }
        assert!(Name::of_file("my model.gguf").is_err());
        assert!(Name::of_file(".gguf").is_err());
    }
}
