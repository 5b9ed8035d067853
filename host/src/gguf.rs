//! The header of GGUF files: read before llama.cpp sees the file, and for people who ask about a model.
//!
//! llama.cpp says only "null result" of a bad file, and was not made for hostile ones. This walks the
//! header with every length checked against the file's size, and says what is wrong and where.

mod blocks;
mod header;
mod hyperparameters;
mod memory;
mod quantization;
mod split;
mod vocabulary;

pub use memory::CachedElements;
pub use split::Part;

use header::{Header, unreadable};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;

/// What is wrong with a file: what was expected, what was found and where.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct BadGguf(String);

/// What the header of a GGUF file says.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Gguf {
    /// The format's version.
    pub version: u32,
    /// The file's size in bytes.
    pub size: u64,
    /// How many tensors the file has.
    pub tensors: u64,
    /// How many parameters they have together.
    pub parameters: u64,
    /// The metadata without arrays, by key.
    pub metadata: BTreeMap<String, Value>,
    /// Lengths of the metadata's arrays, by key.
    pub arrays: BTreeMap<String, u64>,
    /// Those of the arrays that hold a few 32-bit numbers, none negative, such as one for each layer.
    pub lists: BTreeMap<String, Vec<u64>>,
    /// Texts of the tokens that begin and end a text, by the keys of their numbers.
    pub special_tokens: BTreeMap<String, String>,
    /// The metadata's types, by key, in the format's own numbers.
    pub types: BTreeMap<String, u32>,
    /// The tensors in the order of the file; only the first ones where there are very many.
    pub layout: Vec<TensorInfo>,
    /// Where the header ends.
    pub end: u64,
}

/// What the header says of a tensor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TensorInfo {
    /// Its name. Bytes that are not UTF-8 are replaced.
    pub name: String,
    /// Its size in each dimension, the rows' length first.
    pub dimensions: Vec<u64>,
    /// The type of its elements, in the format's own numbers.
    pub ty: u32,
    /// Where it begins behind the start of the data.
    pub offset: u64,
}

#[cfg(test)]
impl Gguf {
    /// The header of an architecture `any` with these numbers.
    fn of_numbers(numbers: &[(&str, i128)]) -> Self {
        let mut gguf = Self::default();
        let architecture = Value::Text("any".to_owned());
        gguf.metadata
            .insert("general.architecture".to_owned(), architecture);
        for (key, number) in numbers {
            gguf.metadata
                .insert(format!("any.{key}"), Value::Integer(*number));
        }
        gguf
    }
}

/// A value of the metadata.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// A whole number.
    Integer(i128),
    /// A number.
    Number(f64),
    /// A truth value.
    Flag(bool),
    /// A text. Bytes that are not UTF-8 are replaced.
    Text(String),
}

impl Gguf {
    /// Reads the header of the file at `path`.
    pub fn open(path: &Path) -> Result<Self, BadGguf> {
        let mut file = File::open(path).map_err(unreadable)?;
        let size = file.seek(SeekFrom::End(0)).map_err(unreadable)?;
        file.rewind().map_err(unreadable)?;
        Self::read(file, size)
    }

    /// Reads the header of a file of `size` bytes.
    pub fn read(file: impl Read + Seek, size: u64) -> Result<Self, BadGguf> {
        Header::new(file, size).read()
    }

    /// The model's architecture, such as `llama`.
    pub fn architecture(&self) -> Option<&str> {
        self.text("general.architecture")
    }

    /// The text under `key`.
    pub fn text(&self, key: &str) -> Option<&str> {
        match self.metadata.get(key)? {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }

    /// The number under `key`, if it is not negative.
    pub fn number(&self, key: &str) -> Option<u64> {
        match self.metadata.get(key)? {
            Value::Integer(number) => u64::try_from(*number).ok(),
            _ => None,
        }
    }

    /// The number under `key` behind the name of the architecture: `context_length` is
    /// `llama.context_length` in a model of that architecture.
    pub fn architecture_number(&self, key: &str) -> Option<u64> {
        self.number(&format!("{}.{key}", self.architecture()?))
    }

    /// The truth value under `key` behind the name of the architecture.
    pub fn architecture_flag(&self, key: &str) -> Option<bool> {
        match self
            .metadata
            .get(&format!("{}.{key}", self.architecture()?))?
        {
            Value::Flag(flag) => Some(*flag),
            _ => None,
        }
    }
}
