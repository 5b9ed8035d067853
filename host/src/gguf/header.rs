//! The walk over a header: every length is checked against the file's size before it is used.

use super::{BadGguf, Gguf, TensorInfo, Value, hyperparameters, vocabulary};
use std::collections::HashMap;
use std::io::{self, BufReader, Read, Seek};

/// The versions that llama.cpp reads.
const VERSIONS: std::ops::RangeInclusive<u32> = 2..=3;
/// The longest key of a metadata entry that the format allows.
const MAX_KEY: u64 = 65_535;
/// The longest name of a tensor that llama.cpp takes.
const MAX_TENSOR_NAME: u64 = 64;
/// The most dimensions that llama.cpp takes.
const MAX_DIMENSIONS: u32 = 4;
/// What keys that end like this may be, at least and at most: llama.cpp ends the process otherwise.
const LIMITS: [(&str, u32, u32); 9] = [
    ("general.alignment", 32, 1 << 16),
    (".block_count", 1, 512),
    (".context_length", 1, 1 << 30),
    (".embedding_length", 1, 1 << 20),
    (".feed_forward_length", 0, 1 << 24),
    // Models without attention have none.
    (".attention.head_count", 0, 1 << 16),
    (".attention.head_count_kv", 0, 1 << 16),
    (".attention.key_length", 1, 1 << 16),
    (".attention.value_length", 1, 1 << 16),
];
/// Of the tensors' data, unless the file says otherwise.
const ALIGNMENT: u64 = 32;
/// The type of a tensor of 32-bit floating point numbers.
const TENSOR_F32: u32 = 0;
/// The type of an unsigned 32-bit number.
const U32: u32 = 4;
/// The type of a signed one.
const I32: u32 = 5;
/// The type of a string.
const STRING: u32 = 8;
/// The type of an array.
const ARRAY: u32 = 9;
/// How deep arrays may nest; real files do not nest them at all.
const MAX_DEPTH: u32 = 2;

/// How many metadata entries [`Gguf::metadata`] keeps; real files have some dozens.
const MAX_ENTRIES: usize = 10_000;
/// How many bytes of a text it keeps; the longest in real files are chat templates.
const MAX_TEXT: u64 = 1 << 20;
/// How many bytes of all texts together.
const MAX_TEXTS: u64 = 16 << 20;
/// How many lists of numbers it keeps; real files have a handful.
const MAX_LISTS: usize = 100;
/// The longest of them: one number for each layer.
const MAX_LIST: u64 = 512;
/// How many tensors [`Gguf::layout`] keeps; the largest models have some thousands.
const MAX_TENSORS: usize = 10_000;
/// The numbers of the tokens that [`Gguf::special_tokens`] keeps.
const SPECIAL_TOKENS: [&str; 2] = ["tokenizer.ggml.bos_token_id", "tokenizer.ggml.eos_token_id"];
/// How many bytes of such a token.
const MAX_SPECIAL_TOKEN: usize = 1 << 10;

/// A file's header while it is read.
pub(super) struct Header<R> {
    input: BufReader<R>,
    at: u64,
    size: u64,
    gguf: Gguf,
    /// How many bytes of data the tensors need.
    data: u64,
    /// Bytes of the texts that are kept.
    texts: u64,
    /// The vocabulary, with the tokens' numbers.
    tokens: HashMap<Vec<u8>, u64>,
}

impl<R: Read + Seek> Header<R> {
    /// That of a file of `size` bytes.
    pub(super) fn new(file: R, size: u64) -> Self {
        Self {
            input: BufReader::new(file),
            at: 0,
            size,
            gguf: Gguf {
                size,
                ..Gguf::default()
            },
            data: 0,
            texts: 0,
            tokens: HashMap::new(),
        }
    }

    pub(super) fn read(mut self) -> Result<Gguf, BadGguf> {
        let magic: [u8; 4] = self.bytes("the magic")?;
        if &magic != b"GGUF" {
            return Err(BadGguf(format!(
                "expected a GGUF model, which starts with `GGUF`, found `{}`: pass a .gguf file, or \
                 another encoding",
                magic.escape_ascii()
            )));
        }
        let version = self.u32("the version")?;
        if !VERSIONS.contains(&version) {
            return Err(BadGguf(format!(
                "expected GGUF version 2 or 3 in little-endian order, found {version}: convert the \
                 model with a current llama.cpp"
            )));
        }
        let tensors = self.u64("the number of tensors")?;
        let entries = self.u64("the number of metadata entries")?;
        // The smallest tensor takes 24 bytes, the smallest entry 13.
        for (count, least, what) in [(tensors, 24, "tensors"), (entries, 13, "metadata entries")] {
            if count > self.size / least {
                return Err(BadGguf(format!(
                    "the header announces {count} {what}, more than a file of {} bytes can hold: \
                     the file is corrupt",
                    self.size
                )));
            }
        }
        self.gguf.version = version;
        self.gguf.tensors = tensors;
        for _ in 0..entries {
            self.entry()?;
        }
        for _ in 0..tensors {
            self.tensor()?;
        }
        self.check_data()?;
        self.keep_special_tokens();
        hyperparameters::check(&self.gguf)?;
        vocabulary::check(&self.gguf, &self.tokens)?;
        self.gguf.end = self.at;
        Ok(self.gguf)
    }

    /// Fails if the file ends before the tensors' data do.
    fn check_data(&self) -> Result<(), BadGguf> {
        if self.data == 0 {
            return Ok(());
        }
        let alignment = self.gguf.number("general.alignment").unwrap_or(ALIGNMENT);
        let end = self
            .at
            .checked_next_multiple_of(alignment)
            .and_then(|start| start.checked_add(self.data));
        match end {
            Some(end) if end <= self.size => Ok(()),
            Some(end) => Err(BadGguf(format!(
                "the file ends inside the tensors' data: it has {} bytes of {end}; fetch it again",
                self.size
            ))),
            None => Err(self.truncated("the tensors' data")),
        }
    }

    /// Here at last, since the numbers may come before the vocabulary or after it.
    fn keep_special_tokens(&mut self) {
        for key in SPECIAL_TOKENS {
            let Some(number) = self.gguf.number(key) else {
                continue;
            };
            let token = self.tokens.iter().find(|(_, found)| **found == number);
            if let Some((token, _)) = token
                && token.len() <= MAX_SPECIAL_TOKEN
            {
                let text = String::from_utf8_lossy(token).into_owned();
                self.gguf.special_tokens.insert(key.to_owned(), text);
            }
        }
    }

    fn entry(&mut self) -> Result<(), BadGguf> {
        let length = self.u64("the length of a key")?;
        if length > MAX_KEY {
            return Err(self.corrupt(format_args!("a key of {length} bytes")));
        }
        let key = self.string(length, "a key")?;
        let ty = self.u32("the type of a value")?;
        if key == b"tokenizer.ggml.tokens" {
            let count = self.tokens(ty)?;
            self.gguf
                .arrays
                .insert("tokenizer.ggml.tokens".to_owned(), count);
            return Ok(());
        }
        let key = String::from_utf8_lossy(&key).into_owned();
        if self.gguf.types.len() < MAX_ENTRIES {
            self.gguf.types.insert(key.clone(), ty);
        }
        let value = match ty {
            STRING => {
                let length = self.u64("the length of a string")?;
                if length > MAX_TEXT || self.texts + length > MAX_TEXTS {
                    return self.skip(length, "a string");
                }
                self.texts += length;
                let text = self.string(length, "a string")?;
                Value::Text(String::from_utf8_lossy(&text).into_owned())
            }
            ARRAY => {
                let (count, list) = self.array(0)?;
                if let Some(list) = list
                    && self.gguf.lists.len() < MAX_LISTS
                {
                    self.gguf.lists.insert(key.clone(), list);
                }
                if self.gguf.arrays.len() < MAX_ENTRIES {
                    self.gguf.arrays.insert(key, count);
                }
                return Ok(());
            }
            _ => self.scalar(ty)?,
        };
        let limit = LIMITS.iter().find(|(name, ..)| key.ends_with(name));
        if let (Some((_, least, most)), Value::Integer(number)) = (limit, &value)
            && ty == U32
            && !(i128::from(*least)..=i128::from(*most)).contains(number)
        {
            return Err(self.corrupt(format_args!(
                "{number} as {key}, which is from {least} to {most} in models that llama.cpp runs"
            )));
        }
        // What divides by the root of it plus a square; llama.cpp ends the process for a negative one.
        if let Value::Number(number) = value
            && key.ends_with("_epsilon")
            && !(0.0..).contains(&number)
        {
            return Err(self.corrupt(format_args!("{number} as {key}, which is not negative")));
        }
        if self.gguf.metadata.len() < MAX_ENTRIES {
            self.gguf.metadata.insert(key, value);
        }
        Ok(())
    }

    fn scalar(&mut self, ty: u32) -> Result<Value, BadGguf> {
        let what = "a value";
        Ok(match ty {
            0 => Value::Integer(u8::from_le_bytes(self.bytes(what)?).into()),
            1 => Value::Integer(i8::from_le_bytes(self.bytes(what)?).into()),
            2 => Value::Integer(u16::from_le_bytes(self.bytes(what)?).into()),
            3 => Value::Integer(i16::from_le_bytes(self.bytes(what)?).into()),
            U32 => Value::Integer(self.u32(what)?.into()),
            I32 => Value::Integer(i32::from_le_bytes(self.bytes(what)?).into()),
            6 => Value::Number(f32::from_le_bytes(self.bytes(what)?).into()),
            7 => Value::Flag(u8::from_le_bytes(self.bytes(what)?) != 0),
            10 => Value::Integer(self.u64(what)?.into()),
            11 => Value::Integer(i64::from_le_bytes(self.bytes(what)?).into()),
            12 => Value::Number(f64::from_le_bytes(self.bytes(what)?)),
            _ => return Err(self.corrupt(format_args!("a value of type {ty}"))),
        })
    }

    /// The vocabulary. llama.cpp ends the process if a token occurs twice.
    fn tokens(&mut self, ty: u32) -> Result<u64, BadGguf> {
        let element = self.u32("the type of an array's elements")?;
        if ty != ARRAY || element != STRING {
            return Err(self.corrupt(format_args!("tokens that are not a list of strings")));
        }
        let count = self.u64("the length of an array")?;
        self.tokens.clear();
        for number in 0..count {
            let length = self.u64("the length of a token")?;
            let mut token = self.string(length, "a token")?;
            // llama.cpp reads them as C strings.
            token.truncate(token.iter().position(|b| *b == 0).unwrap_or(token.len()));
            // llama.cpp gives empty ones names of their own.
            if !token.is_empty() && self.tokens.insert(token, number).is_some() {
                return Err(self.corrupt(format_args!("a token that occurs twice")));
            }
        }
        Ok(count)
    }

    /// Walks over an array; gives its length, and what is in it if that is a short list of numbers.
    fn array(&mut self, depth: u32) -> Result<(u64, Option<Vec<u64>>), BadGguf> {
        let element = self.u32("the type of an array's elements")?;
        let count = self.u64("the length of an array")?;
        if matches!(element, U32 | I32) && count <= MAX_LIST {
            let mut list = Vec::new();
            for _ in 0..count {
                if let Value::Integer(number) = self.scalar(element)? {
                    list.extend(u64::try_from(number));
                }
            }
            let whole = list.len() as u64 == count;
            return Ok((count, whole.then_some(list)));
        }
        if let Some(size) = scalar_size(element) {
            let bytes = count
                .checked_mul(size)
                .ok_or_else(|| self.corrupt(format_args!("an array of {count} elements")))?;
            self.skip(bytes, "an array")?;
            return Ok((count, None));
        }
        // The smallest element, an empty string, takes 8 bytes.
        self.ensure(count.saturating_mul(8), "an array")?;
        for _ in 0..count {
            match element {
                STRING => {
                    let length = self.u64("the length of a string")?;
                    self.skip(length, "a string")?;
                }
                ARRAY if depth + 1 < MAX_DEPTH => {
                    self.array(depth + 1)?;
                }
                _ => return Err(self.corrupt(format_args!("a value of type {element}"))),
            }
        }
        Ok((count, None))
    }

    fn tensor(&mut self) -> Result<(), BadGguf> {
        let length = self.u64("the length of a tensor's name")?;
        if length > MAX_TENSOR_NAME {
            return Err(self.corrupt(format_args!("a tensor's name of {length} bytes")));
        }
        let name = self.string(length, "a tensor's name")?;
        let count = self.u32("a tensor's number of dimensions")?;
        if count > MAX_DIMENSIONS {
            return Err(self.corrupt(format_args!("a tensor of {count} dimensions")));
        }
        let mut dimensions = Vec::new();
        for _ in 0..count {
            dimensions.push(self.u64("a tensor's dimensions")?);
        }
        let elements = dimensions.iter().fold(1, |a: u64, b| a.saturating_mul(*b));
        self.gguf.parameters = self.gguf.parameters.saturating_add(elements);
        let ty = self.u32("a tensor's type")?;
        if hyperparameters::is_no_weight(&name, ty) {
            return Err(self.corrupt(format_args!(
                "tensor `{}` of type {ty}, which weights do not have",
                name.escape_ascii()
            )));
        }
        // Norms and biases; llama.cpp ends the process when it computes with others.
        if ty != TENSOR_F32 && (count == 1 || name.ends_with(b"_norm.weight")) {
            return Err(self.corrupt(format_args!(
                "tensor `{}` of type {ty} where models have 32-bit floating point numbers",
                name.escape_ascii()
            )));
        }
        let offset = self.u64("a tensor's offset")?;
        if offset >= self.size {
            return Err(self.truncated("a tensor"));
        }
        let tensor = TensorInfo {
            name: String::from_utf8_lossy(&name).into_owned(),
            dimensions,
            ty,
            offset,
        };
        // What is not known here has one byte at least.
        let end = offset.saturating_add(tensor.bytes().unwrap_or(1));
        self.data = self.data.max(end);
        if self.gguf.layout.len() < MAX_TENSORS {
            self.gguf.layout.push(tensor);
        }
        Ok(())
    }

    fn u32(&mut self, what: &str) -> Result<u32, BadGguf> {
        Ok(u32::from_le_bytes(self.bytes(what)?))
    }

    fn u64(&mut self, what: &str) -> Result<u64, BadGguf> {
        Ok(u64::from_le_bytes(self.bytes(what)?))
    }

    fn bytes<const N: usize>(&mut self, what: &str) -> Result<[u8; N], BadGguf> {
        let mut bytes = [0; N];
        self.ensure(N as u64, what)?;
        self.input.read_exact(&mut bytes).map_err(unreadable)?;
        self.at += N as u64;
        Ok(bytes)
    }

    fn string(&mut self, length: u64, what: &str) -> Result<Vec<u8>, BadGguf> {
        self.ensure(length, what)?;
        let mut bytes = Vec::new();
        (&mut self.input)
            .take(length)
            .read_to_end(&mut bytes)
            .map_err(unreadable)?;
        if bytes.len() as u64 != length {
            return Err(self.truncated(what));
        }
        self.at += length;
        Ok(bytes)
    }

    fn skip(&mut self, length: u64, what: &str) -> Result<(), BadGguf> {
        self.ensure(length, what)?;
        let offset = i64::try_from(length).map_err(|_| self.truncated(what))?;
        self.input.seek_relative(offset).map_err(unreadable)?;
        self.at += length;
        Ok(())
    }

    fn ensure(&self, length: u64, what: &str) -> Result<(), BadGguf> {
        match self.at.checked_add(length) {
            Some(end) if end <= self.size => Ok(()),
            _ => Err(self.truncated(what)),
        }
    }

    fn truncated(&self, what: &str) -> BadGguf {
        BadGguf(format!(
            "the file ends inside {what}: it has {} bytes and more were announced; fetch it again",
            self.size
        ))
    }

    fn corrupt(&self, found: std::fmt::Arguments<'_>) -> BadGguf {
        BadGguf(format!(
            "found {found} at byte {} of the header: the file is corrupt; fetch it again",
            self.at
        ))
    }
}

pub(super) fn unreadable(error: io::Error) -> BadGguf {
    BadGguf(format!("the file cannot be read: {error}"))
}

fn scalar_size(ty: u32) -> Option<u64> {
    match ty {
        0 | 1 | 7 => Some(1),
        2 | 3 => Some(2),
        4..=6 => Some(4),
        10..=12 => Some(8),
        _ => None,
    }
}
