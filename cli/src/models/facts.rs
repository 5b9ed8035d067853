//! What a model's files say of it.

use crate::failure::Failure;
use crate::models::Located;
use crate::models::copy::open;
use crate::models::format::{Format, Wrong};
use llm_wasi_host::backend::Encoding;
use llm_wasi_host::gguf::Gguf;
use serde::Serialize;
use std::path::PathBuf;

/// What is known of every model, and what GGUF files say.
pub(crate) struct Facts {
    pub(crate) encoding: Encoding,
    /// Bytes of all files.
    pub(crate) size: u64,
    pub(crate) gguf: Option<GgufFacts>,
}

/// What GGUF files say.
#[derive(Serialize)]
pub(crate) struct GgufFacts {
    pub(crate) title: Option<String>,
    pub(crate) license: Option<String>,
    pub(crate) architecture: Option<String>,
    pub(crate) quantization: Option<String>,
    pub(crate) parameters: u64,
    pub(crate) context_length: Option<u64>,
    pub(crate) layers: Option<u64>,
    pub(crate) embedding_length: Option<u64>,
    pub(crate) vocabulary: Option<u64>,
    pub(crate) chat_template: Option<String>,
    /// Nothing if neither the user nor the model says how large a context is.
    pub(crate) memory: Option<Memory>,
}

/// An estimate, in bytes.
#[derive(Serialize)]
pub(crate) struct Memory {
    /// Tokens.
    pub(crate) context: u64,
    pub(crate) weights: u64,
    pub(crate) kv_cache: Option<u64>,
    pub(crate) compute_buffer: Option<u64>,
    pub(crate) total: Option<u64>,
}

impl Facts {
    /// Reads them, with the memory for a context of so many tokens.
    pub(crate) fn read(located: &Located, context: Option<u64>) -> Result<Facts, Failure> {
        let gguf = match located.format {
            Format::Gguf => Some(gguf(&located.files, context)?),
            format => {
                format.check(&located.files)?;
                None
            }
        };
        let mut size = 0_u64;
        for file in &located.files {
            size = size.saturating_add(open(file)?.1);
        }
        Ok(Facts {
            encoding: located.format.encoding(),
            size,
            gguf,
        })
    }
}

fn gguf(files: &[PathBuf], context: Option<u64>) -> Result<GgufFacts, Failure> {
    let mut headers = Vec::new();
    for file in files {
        let header = Gguf::open(file);
        headers.push(header.map_err(|error| Wrong::new(&error).of(&file.display()))?);
    }
    Ok(GgufFacts::new(&headers, context))
}

impl GgufFacts {
    /// From the headers of all files of a model, of which there is at least one.
    fn new(headers: &[Gguf], context: Option<u64>) -> GgufFacts {
        let first = &headers[0];
        let sum = |of: fn(&Gguf) -> u64| {
            headers
                .iter()
                .fold(0_u64, |sum, header| sum.saturating_add(of(header)))
        };
        let text = |key| first.text(key).map(str::to_string);
        let file_type = first.number("general.file_type");
        let context_length = first.architecture_number("context_length");
        GgufFacts {
            title: text("general.name"),
            license: text("general.license"),
            architecture: first.architecture().map(str::to_string),
            quantization: match first.quantization() {
                Some(name) => Some(name.to_string()),
                None => file_type.map(|number| format!("unknown, file type {number}")),
            },
            parameters: sum(|header| header.parameters),
            context_length,
            layers: first.architecture_number("block_count"),
            embedding_length: first.architecture_number("embedding_length"),
            vocabulary: first.vocabulary(),
            chat_template: text("tokenizer.chat_template"),
            memory: context
                .or(context_length)
                .map(|context| Memory::estimate(first, sum(|header| header.size), context)),
        }
    }
}

impl Memory {
    fn estimate(header: &Gguf, weights: u64, context: u64) -> Memory {
        let kv_cache = header.kv_cache_size(context);
        let compute_buffer = header.compute_buffer_size(context);
        let total = kv_cache.zip(compute_buffer).map(|(kv_cache, computing)| {
            weights.saturating_add(kv_cache).saturating_add(computing)
        });
        Memory {
            context,
            weights,
            kv_cache,
            compute_buffer,
            total,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use llm_wasi_host::gguf::Value;

    fn header(size: u64, parameters: u64) -> Gguf {
        Gguf {
            size,
            parameters,
            ..Gguf::default()
        }
    }

    #[test]
    fn parts_count_together_and_the_first_describes_all() {
        let mut first = header(100, 10);
        for (key, value) in [
            ("general.architecture", Value::Text("any".to_string())),
            ("general.file_type", Value::Integer(15)),
            (
                "tokenizer.chat_template",
                Value::Text("{{ x }}".to_string()),
            ),
            ("any.block_count", Value::Integer(2)),
            ("any.embedding_length", Value::Integer(8)),
            ("any.attention.head_count", Value::Integer(2)),
            ("any.vocab_size", Value::Integer(92)),
        ] {
            first.metadata.insert(key.to_string(), value);
        }
        let facts = GgufFacts::new(&[first, header(50, 5)], Some(10));
        assert_eq!(facts.parameters, 15);
        assert_eq!(facts.quantization.as_deref(), Some("Q4_K_M"));
        assert_eq!(facts.chat_template.as_deref(), Some("{{ x }}"));
        let memory = facts.memory.unwrap();
        assert_eq!(memory.weights, 150);
        assert_eq!(memory.kv_cache, Some(2 * 2 * 8 * 2 * 10));
        assert_eq!(memory.compute_buffer, Some((100 * 4 + 10 * 2) * 512));
        assert_eq!(memory.total, Some(150 + 640 + 215_040));
    }

    #[test]
    fn what_is_unknown_stays_unknown() {
        let mut first = header(100, 10);
        let facts = GgufFacts::new(&[first.clone()], None);
        assert!(facts.memory.is_none());
        first
            .metadata
            .insert("general.file_type".to_string(), Value::Integer(99));
        let facts = GgufFacts::new(&[first], Some(1));
        assert_eq!(facts.quantization.as_deref(), Some("unknown, file type 99"));
        assert_eq!(facts.memory.unwrap().total, None);
    }
}
