//! GGUF files by their fields.

use super::values::{below, damage, one_of, real, whole};
use llm_wasi_host::testing::TinyModel;
use proptest::prelude::Rng;

const ALIGNMENT: usize = 32;
const STRING: u32 = 8;
const ARRAY: u32 = 9;

/// Architectures and tokenizers that llama.cpp knows, which ask for other keys and tensors.
const ARCHITECTURES: [&str; 18] = [
    "llama",
    "llama4",
    "falcon",
    "gpt2",
    "gptneox",
    "bert",
    "nomic-bert",
    "mamba",
    "rwkv6",
    "t5",
    "qwen2",
    "qwen2moe",
    "gemma2",
    "phi3",
    "deepseek2",
    "jamba",
    "clip",
    "",
];
const TOKENIZERS: [&str; 7] = ["gpt2", "llama", "bert", "t5", "rwkv", "plamo2", "none"];
const PRE_TOKENIZERS: [&str; 5] = ["gpt-2", "llama-bpe", "default", "qwen2", "no-such"];
/// Keys that models of the architecture may have beside those that the tiny one has.
const OTHER_KEYS: [&str; 22] = [
    "llama.expert_count",
    "llama.expert_used_count",
    "llama.expert_group_count",
    "llama.rope.scaling.factor",
    "llama.rope.scaling.original_context_length",
    "llama.rope.freq_base",
    "llama.rope.dimension_count_swa",
    "llama.attention.sliding_window",
    "llama.attention.key_length",
    "llama.attention.value_length",
    "llama.attention.causal",
    "llama.attention.clamp_kqv",
    "llama.attention.layer_norm_epsilon",
    "llama.pooling_type",
    "llama.leading_dense_block_count",
    "llama.nextn_predict_layers",
    "llama.logit_scale",
    "general.file_type",
    "split.count",
    "tokenizer.ggml.eot_token_id",
    "tokenizer.ggml.add_space_prefix",
    "tokenizer.ggml.token_type_count",
];

#[derive(Clone)]
struct Entry {
    key: Vec<u8>,
    ty: u32,
    value: Value,
}

#[derive(Clone)]
enum Value {
    /// A number of this size, or a truth value.
    Scalar(Vec<u8>),
    Text(Vec<u8>),
    Array {
        element: u32,
        /// What the file says, whatever there is.
        count: u64,
        elements: Vec<u8>,
    },
}

#[derive(Clone)]
struct Tensor {
    name: Vec<u8>,
    dimensions: Vec<u64>,
    ty: u32,
    offset: u64,
}

#[derive(Clone)]
struct Gguf {
    version: u32,
    /// What the file says of its entries and tensors beside how many there are.
    more_entries: u64,
    more_tensors: u64,
    entries: Vec<Entry>,
    tensors: Vec<Tensor>,
    data: Vec<u8>,
}

/// File `index` of a campaign.
pub(super) fn file(index: u64, rng: &mut impl Rng) -> Vec<u8> {
    let good = good();
    let (bytes, boundaries) = good.write();
    // The good file itself, then cut off behind each field.
    if index == 0 {
        return bytes;
    }
    if let Some(end) = boundaries.get(index as usize - 1) {
        return bytes[..*end].to_vec();
    }
    let mut gguf = good;
    let mut bytes = match below(rng, 5) {
        // Not by fields.
        0 => bytes,
        _ => {
            for _ in 0..=below(rng, 3) {
                gguf.change(rng);
            }
            gguf.write().0
        }
    };
    if below(rng, 4) == 0 {
        let header = boundaries.last().copied().unwrap_or_default();
        damage(rng, &mut bytes, header + 64);
    }
    bytes
}

fn good() -> Gguf {
    Reader {
        rest: &TinyModel::conformance().to_gguf(),
        length: 0,
    }
    .gguf()
}

/// Reads a good file.
struct Reader<'a> {
    rest: &'a [u8],
    length: usize,
}

impl<'a> Reader<'a> {
    fn take(&mut self, length: usize) -> &'a [u8] {
        let (bytes, rest) = self.rest.split_at(length);
        self.rest = rest;
        self.length += length;
        bytes
    }

    fn u32(&mut self) -> u32 {
        u32::from_le_bytes(*self.take(4).first_chunk().expect("four bytes"))
    }

    fn u64(&mut self) -> u64 {
        u64::from_le_bytes(*self.take(8).first_chunk().expect("eight bytes"))
    }

    fn text(&mut self) -> Vec<u8> {
        let length = self.u64() as usize;
        self.take(length).to_vec()
    }

    fn gguf(mut self) -> Gguf {
        assert_eq!(self.take(4), b"GGUF");
        let version = self.u32();
        let (tensors, entries) = (self.u64(), self.u64());
        let entries = (0..entries).map(|_| self.entry()).collect();
        let tensors = (0..tensors)
            .map(|_| {
                let name = self.text();
                let dimensions = (0..self.u32()).map(|_| self.u64()).collect();
                let ty = self.u32();
                let offset = self.u64();
                Tensor {
                    name,
                    dimensions,
                    ty,
                    offset,
                }
            })
            .collect();
        self.take(self.length.next_multiple_of(ALIGNMENT) - self.length);
        Gguf {
            version,
            more_entries: 0,
            more_tensors: 0,
            entries,
            tensors,
            data: self.rest.to_vec(),
        }
    }

    fn entry(&mut self) -> Entry {
        let key = self.text();
        let ty = self.u32();
        let value = match ty {
            STRING => Value::Text(self.text()),
            ARRAY => {
                let element = self.u32();
                let count = self.u64();
                let mut elements = Vec::new();
                for _ in 0..count {
                    if element == STRING {
                        let text = self.text();
                        put_text(&mut elements, &text);
                    } else {
                        elements.extend(self.take(size_of(element)));
                    }
                }
                Value::Array {
                    element,
                    count,
                    elements,
                }
            }
            _ => Value::Scalar(self.take(size_of(ty)).to_vec()),
        };
        Entry { key, ty, value }
    }
}

fn size_of(ty: u32) -> usize {
    match ty {
        0 | 1 | 7 => 1,
        2 | 3 => 2,
        4..=6 => 4,
        _ => 8,
    }
}

fn put_text(to: &mut Vec<u8>, text: &[u8]) {
    to.extend((text.len() as u64).to_le_bytes());
    to.extend(text);
}

impl Gguf {
    /// The file, and where its fields end.
    fn write(&self) -> (Vec<u8>, Vec<usize>) {
        let mut bytes = b"GGUF".to_vec();
        let mut ends = vec![0, 4];
        bytes.extend(self.version.to_le_bytes());
        ends.push(bytes.len());
        let tensors = self.more_tensors.wrapping_add(self.tensors.len() as u64);
        bytes.extend(tensors.to_le_bytes());
        ends.push(bytes.len());
        let entries = self.more_entries.wrapping_add(self.entries.len() as u64);
        bytes.extend(entries.to_le_bytes());
        ends.push(bytes.len());
        for entry in &self.entries {
            put_text(&mut bytes, &entry.key);
            ends.push(bytes.len());
            bytes.extend(entry.ty.to_le_bytes());
            ends.push(bytes.len());
            match &entry.value {
                Value::Scalar(value) => bytes.extend(value),
                Value::Text(text) => put_text(&mut bytes, text),
                Value::Array {
                    element,
                    count,
                    elements,
                } => {
                    bytes.extend(element.to_le_bytes());
                    ends.push(bytes.len());
                    bytes.extend(count.to_le_bytes());
                    ends.push(bytes.len());
                    bytes.extend(elements);
                }
            }
            ends.push(bytes.len());
        }
        for tensor in &self.tensors {
            put_text(&mut bytes, &tensor.name);
            ends.push(bytes.len());
            bytes.extend((tensor.dimensions.len() as u32).to_le_bytes());
            ends.push(bytes.len());
            for dimension in &tensor.dimensions {
                bytes.extend(dimension.to_le_bytes());
                ends.push(bytes.len());
            }
            bytes.extend(tensor.ty.to_le_bytes());
            ends.push(bytes.len());
            bytes.extend(tensor.offset.to_le_bytes());
            ends.push(bytes.len());
        }
        bytes.resize(bytes.len().next_multiple_of(ALIGNMENT), 0);
        bytes.extend(&self.data);
        (bytes, ends)
    }

    fn change(&mut self, rng: &mut impl Rng) {
        if self.entries.is_empty() || self.tensors.is_empty() {
            return;
        }
        let entry = below(rng, self.entries.len());
        let tensor = below(rng, self.tensors.len());
        match below(rng, 20) {
            0 => {
                let one = below(rng, 4) as u64;
                let many = whole(rng, one);
                match below(rng, 3) {
                    0 => self.version = many as u32,
                    1 => self.more_entries = many,
                    _ => self.more_tensors = many,
                }
            }
            1 => drop(self.entries.remove(entry)),
            2 => {
                let other = self.entries[entry].clone();
                self.entries.push(other);
            }
            3 => drop(self.tensors.remove(tensor)),
            4 => {
                let other = self.tensors[tensor].clone();
                self.tensors.push(other);
            }
            5 => {
                // Two tensors change their names, shapes stay.
                let other = below(rng, self.tensors.len());
                let name = self.tensors[other].name.clone();
                let old = std::mem::replace(&mut self.tensors[tensor].name, name);
                self.tensors[other].name = old;
            }
            6 => {
                let architecture = one_of(rng, &ARCHITECTURES);
                self.set_text("general.architecture", architecture);
                if below(rng, 2) == 0 {
                    // With its keys.
                    for entry in &mut self.entries {
                        if let Some(rest) = entry.key.strip_prefix(b"llama") {
                            entry.key = [architecture.as_bytes(), rest].concat();
                        }
                    }
                }
            }
            7 => {
                let tokenizer = one_of(rng, &TOKENIZERS);
                self.set_text("tokenizer.ggml.model", tokenizer);
            }
            8 => {
                let tokenizer = one_of(rng, &PRE_TOKENIZERS);
                self.set_text("tokenizer.ggml.pre", tokenizer);
            }
            9 => {
                let key = one_of(rng, &OTHER_KEYS).as_bytes().to_vec();
                let small = below(rng, 9) as u64;
                let ty = *one_of(rng, &[4, 4, 4, 5, 6, 7, 10]);
                let number = if below(rng, 2) == 0 {
                    small
                } else {
                    whole(rng, small)
                };
                let mut value = number.to_le_bytes().to_vec();
                if ty == 6 {
                    value = real(rng, 1.0).to_le_bytes().to_vec();
                }
                value.truncate(size_of(ty));
                let value = Value::Scalar(value);
                self.entries.push(Entry { key, ty, value });
            }
            10..=11 => {
                let tensor = &mut self.tensors[tensor];
                let at = below(rng, tensor.dimensions.len());
                if let Some(dimension) = tensor.dimensions.get_mut(at) {
                    *dimension = whole(rng, *dimension);
                }
            }
            12 => {
                let dimension = below(rng, 3) as u64;
                let tensor = &mut self.tensors[tensor];
                match below(rng, 2) {
                    0 => drop(tensor.dimensions.pop()),
                    _ => tensor.dimensions.push(dimension),
                }
            }
            13 => {
                // Elements of other types take other space.
                self.tensors[tensor].ty = below(rng, 45) as u32;
            }
            14 => {
                let tensor = &mut self.tensors[tensor];
                tensor.offset = whole(rng, tensor.offset);
            }
            15 => {
                let at = below(rng, self.data.len());
                self.data.truncate(at);
            }
            _ => self.entries[entry].change(rng),
        }
    }

    fn set_text(&mut self, key: &str, text: &str) {
        for entry in &mut self.entries {
            if entry.key == key.as_bytes() {
                entry.value = Value::Text(text.as_bytes().to_vec());
            }
        }
    }
}

impl Entry {
    fn change(&mut self, rng: &mut impl Rng) {
        if below(rng, 8) == 0 {
            self.ty = below(rng, 14) as u32;
            return;
        }
        if below(rng, 8) == 0 {
            damage(rng, &mut self.key, usize::MAX);
            return;
        }
        match &mut self.value {
            Value::Scalar(bytes) if self.ty == 6 => {
                let old = f32::from_le_bytes(*bytes.first_chunk().unwrap_or(&[0; 4]));
                *bytes = real(rng, old).to_le_bytes().to_vec();
            }
            Value::Scalar(bytes) => {
                let mut number = [0; 8];
                number[..bytes.len()].copy_from_slice(bytes);
                let number = whole(rng, u64::from_le_bytes(number));
                let size = bytes.len();
                *bytes = number.to_le_bytes()[..size].to_vec();
            }
            Value::Text(text) => damage(rng, text, usize::MAX),
            Value::Array {
                element,
                count,
                elements,
            } => match below(rng, 5) {
                0 => *count = whole(rng, *count),
                1 => *element = below(rng, 14) as u32,
                2 => {
                    *count = 0;
                    elements.clear();
                }
                _ => damage(rng, elements, usize::MAX),
            },
        }
    }
}
