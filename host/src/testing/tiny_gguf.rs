//! A tiny language model, written as GGUF without any tool.
//!
//! A Llama of two layers with one token for each byte. Embeddings are random unit vectors, and the
//! output row of each token's successor is twice that token's embedding: the successor wins by a wide
//! margin whatever the layers add, on any backend and in any precision. The successors of the printable
//! ASCII characters form one cycle, so greedy text is known beforehand and never ends.

use super::gguf_file::{ALIGNMENT, Gguf, Random, Tensor};
use std::io;
use std::path::Path;

/// Elements of an embedding.
pub(super) const WIDTH: usize = 64;
const HIDDEN: usize = 128;
const LAYERS: usize = 2;
const HEADS: usize = 4;
const KV_HEADS: usize = 2;
const BOS: u32 = 256;
const EOS: u32 = 257;
const VOCABULARY: usize = 258;
/// What the weights come from.
const SEED: u64 = 1234;
/// The printable characters, space left out because tokenizers treat it specially.
const PRINTABLE: std::ops::RangeInclusive<u8> = b'!'..=b'~';

/// ChatML with tools as Hermes takes them.
const TOOLS_TEMPLATE: &str = "\
    {%- if tools %}<|im_start|>system\nTools: {{ tools | tojson }}. Write <tool_call> and JSON.<|im_end|>\n{% endif %}\
    {%- for message in messages %}<|im_start|>{{ message.role }}\n{{ message.content }}\
    {%- for call in message.tool_calls %}<tool_call>\n{{ call.function | tojson }}\n</tool_call>{% endfor %}<|im_end|>\n\
    {%- endfor %}\
    {%- if add_generation_prompt %}<|im_start|>assistant\n{% endif %}";

/// The model, and what it will say.
#[derive(Clone, Debug)]
pub struct TinyModel {
    /// Each token's successor.
    successors: Vec<u32>,
    context: u32,
    /// Whether the first layer's attention outweighs the last token.
    attentive: bool,
    /// How many tokens some layers look back.
    window: Option<u32>,
    template: Option<&'static str>,
    tool_template: Option<&'static str>,
    /// A token that the model says is none of a text.
    suppressed: Option<u8>,
}

impl Default for TinyModel {
    fn default() -> Self {
        Self::new()
    }
}

impl TinyModel {
    /// A model that never ends its text, trained for 512 tokens.
    pub fn new() -> Self {
        let mut cycle: Vec<u8> = PRINTABLE.collect();
        let mut random = Random(7);
        for i in (1..cycle.len()).rev() {
            cycle.swap(i, (random.next() % (i as u64 + 1)) as usize);
        }
        let first = u32::from(cycle[0]);
        let mut successors = vec![first; VOCABULARY];
        for (i, byte) in cycle.iter().enumerate() {
            successors[usize::from(*byte)] = u32::from(cycle[(i + 1) % cycle.len()]);
        }
        Self {
            successors,
            context: 512,
            attentive: false,
            window: None,
            template: None,
            tool_template: None,
            suppressed: None,
        }
    }

    /// The one of the conformance suite. It chats as well, since prompts of ChatML end with a line end; and
    /// after a tabulator it writes `é`, in two tokens.
    pub fn conformance() -> Self {
        Self::new()
            .following(b'\n', b'a')
            .following(b'\t', 0xc3)
            .following(0xc3, 0xa9)
    }

    /// The same, but with a chat template that has a place for tools.
    pub fn conformance_tools() -> Self {
        Self::conformance().with_template(TOOLS_TEMPLATE)
    }

    /// The same, but with a chat template.
    #[must_use]
    pub fn with_template(mut self, template: &'static str) -> Self {
        self.template = Some(template);
        self
    }

    /// The same, but with a template of its own for chats with tools.
    #[must_use]
    pub fn with_tool_template(mut self, template: &'static str) -> Self {
        self.tool_template = Some(template);
        self
    }

    /// The same, but what most tokens and embeddings before it are, and not the last token, decides what
    /// comes next.
    #[must_use]
    pub fn attentive(mut self) -> Self {
        self.attentive = true;
        self
    }

    /// The same weights as a model of the architecture `cohere2`, in which some layers look back so many tokens. Its
    /// text is another one: a token is followed by what resembles it.
    #[must_use]
    pub fn sliding(mut self, window: u32) -> Self {
        self.window = Some(window);
        self
    }

    /// The same, but the text ends after `byte`.
    #[must_use]
    pub fn ending_after(mut self, byte: u8) -> Self {
        self.successors[usize::from(byte)] = EOS;
        self
    }

    /// The same, but the model says that `byte` is none of a text.
    #[must_use]
    pub fn suppressing(mut self, byte: u8) -> Self {
        self.suppressed = Some(byte);
        self
    }

    /// The same, but each token of `from` is followed by `to`: any byte, also half a character.
    #[must_use]
    pub fn following(mut self, from: u8, to: u8) -> Self {
        self.successors[usize::from(from)] = u32::from(to);
        self
    }

    /// What the model says after a prompt that ends with `byte`, at most `count` tokens (bytes).
    pub fn continuation(&self, byte: u8, count: usize) -> Vec<u8> {
        let mut token = u32::from(byte);
        let mut text = Vec::new();
        while text.len() < count {
            token = self.successors[token as usize];
            match u8::try_from(token) {
                Ok(byte) => text.push(byte),
                Err(_) => break,
            }
        }
        text
    }

    /// Writes the model to a file.
    pub fn write(&self, path: impl AsRef<Path>) -> io::Result<()> {
        std::fs::write(path, self.to_gguf())
    }

    /// The model's file: the same bytes every time.
    pub fn to_gguf(&self) -> Vec<u8> {
        let mut file = self.metadata();
        for tensor in self.tensors() {
            file.tensor(tensor);
        }
        file.finish()
    }

    /// The same model in `count` files, split as llama.cpp's tools do it.
    pub fn to_split_gguf(&self, count: u16) -> Vec<Vec<u8>> {
        let tensors = self.tensors();
        let all = tensors.len();
        let mut tensors = tensors.into_iter();
        let mut files = Vec::new();
        for number in 0..count {
            let mut file = match number {
                0 => self.metadata(),
                _ => Gguf::default(),
            };
            file.short("split.no", number);
            file.short("split.count", count);
            file.signed("split.tensors.count", all as i32);
            for tensor in tensors.by_ref().take(all.div_ceil(usize::from(count))) {
                file.tensor(tensor);
            }
            files.push(file.finish());
        }
        files
    }

    fn metadata(&self) -> Gguf {
        let mut file = Gguf::default();
        let architecture = match self.window {
            Some(_) => "cohere2",
            None => "llama",
        };
        let key = |name: &str| format!("{architecture}.{name}");
        file.text("general.architecture", architecture);
        file.text("general.name", "tiny cycle");
        file.number("general.alignment", ALIGNMENT as u32);
        file.number("general.file_type", 0);
        file.number(&key("context_length"), self.context);
        file.number(&key("embedding_length"), WIDTH as u32);
        file.number(&key("block_count"), LAYERS as u32);
        file.number(&key("feed_forward_length"), HIDDEN as u32);
        file.number(&key("attention.head_count"), HEADS as u32);
        file.number(&key("attention.head_count_kv"), KV_HEADS as u32);
        file.number(&key("rope.dimension_count"), (WIDTH / HEADS) as u32);
        match self.window {
            Some(window) => {
                file.number(&key("attention.sliding_window"), window);
                file.real(&key("attention.layer_norm_epsilon"), 1e-5);
                file.real(&key("logit_scale"), 1.0);
            }
            None => file.real(&key("attention.layer_norm_rms_epsilon"), 1e-5),
        }
        file.number(&key("vocab_size"), VOCABULARY as u32);
        file.text("tokenizer.ggml.model", "gpt2");
        file.text("tokenizer.ggml.pre", "gpt-2");
        let mut tokens: Vec<String> = byte_alphabet().iter().map(char::to_string).collect();
        tokens.extend(["<|bos|>".to_owned(), "<|eos|>".to_owned()]);
        file.texts("tokenizer.ggml.tokens", &tokens);
        // 1 is an ordinary token, 3 a control token.
        let types: Vec<i32> = (0..VOCABULARY as u32)
            .map(|token| if token < BOS { 1 } else { 3 })
            .collect();
        file.numbers("tokenizer.ggml.token_type", &types);
        file.texts("tokenizer.ggml.merges", &["~ ~".to_owned()][..0]);
        file.number("tokenizer.ggml.bos_token_id", BOS);
        file.number("tokenizer.ggml.eos_token_id", EOS);
        file.flag("tokenizer.ggml.add_bos_token", true);
        if let Some(token) = self.suppressed {
            file.numbers("tokenizer.ggml.suppress_tokens", &[i32::from(token)]);
        }
        if let Some(template) = self.template {
            file.text("tokenizer.chat_template", template);
        }
        if let Some(template) = self.tool_template {
            file.text("tokenizer.chat_template.tool_use", template);
        }
        file
    }

    fn tensors(&self) -> Vec<Tensor> {
        let mut random = Random(SEED);
        let embedding = embedding(&mut random);
        let mut output = vec![0.0_f32; VOCABULARY * WIDTH];
        for (token, successor) in self.successors.iter().enumerate() {
            // Tokens outside the cycle all lead to its start: with full weight they would add up.
            let in_cycle = u8::try_from(token)
                .is_ok_and(|byte| PRINTABLE.contains(&byte) || self.is_followed(byte));
            let weight = if in_cycle { 2.0 } else { 0.3 };
            for i in 0..WIDTH {
                output[*successor as usize * WIDTH + i] += weight * embedding[token * WIDTH + i];
            }
        }
        let ones = vec![1.0; WIDTH];
        let kv_width = WIDTH / HEADS * KV_HEADS;
        let mut tensors = vec![
            Tensor::new("token_embd.weight", &[WIDTH, VOCABULARY], embedding),
            Tensor::new("output_norm.weight", &[WIDTH], ones.clone()),
            Tensor::new("output.weight", &[WIDTH, VOCABULARY], output),
        ];
        for layer in 0..LAYERS {
            let mut matrix = |name: &str, columns: usize, rows: usize| {
                let values = (0..rows * columns)
                    .map(|_| random.normal() * 0.02)
                    .collect();
                let name = format!("blk.{layer}.{name}.weight");
                tensors.push(Tensor::new(&name, &[columns, rows], values));
            };
            matrix("attn_q", WIDTH, WIDTH);
            matrix("attn_k", WIDTH, kv_width);
            matrix("attn_v", WIDTH, kv_width);
            matrix("attn_output", WIDTH, WIDTH);
            matrix("ffn_gate", WIDTH, HIDDEN);
            matrix("ffn_up", WIDTH, HIDDEN);
            matrix("ffn_down", HIDDEN, WIDTH);
            for name in ["attn_norm", "ffn_norm"] {
                let name = format!("blk.{layer}.{name}.weight");
                tensors.push(Tensor::new(&name, &[WIDTH], ones.clone()));
            }
        }
        if self.attentive {
            attend(&mut tensors);
        }
        if self.window.is_some() {
            // That architecture has neither.
            tensors.retain(|tensor| {
                tensor.name != "output.weight" && !tensor.name.ends_with("ffn_norm.weight")
            });
        }
        tensors
    }

    /// Whether a byte outside the cycle has a successor of its own.
    fn is_followed(&self, byte: u8) -> bool {
        self.successors[usize::from(byte)] != self.successors[BOS as usize]
    }
}

/// The embeddings of all tokens, one after the other: unit vectors.
fn embedding(random: &mut Random) -> Vec<f32> {
    let mut embedding = Vec::with_capacity(VOCABULARY * WIDTH);
    for _ in 0..VOCABULARY {
        let row: Vec<f32> = (0..WIDTH).map(|_| random.normal()).collect();
        let norm = row.iter().map(|x| x * x).sum::<f32>().sqrt();
        embedding.extend(row.iter().map(|x| x / norm));
    }
    embedding
}

/// The embedding of one token.
pub(super) fn embedding_of(byte: u8) -> Vec<f32> {
    let start = usize::from(byte) * WIDTH;
    embedding(&mut Random(SEED))[start..start + WIDTH].to_vec()
}

/// Makes the first layer add the mean of all embeddings up to a token, as far as its keys and values are
/// wide enough: no query prefers a key, and values are what they are made of.
fn attend(tensors: &mut [Tensor]) {
    let kv_width = WIDTH / HEADS * KV_HEADS;
    let head = WIDTH / HEADS;
    for tensor in tensors {
        match tensor.name.as_str() {
            "blk.0.attn_q.weight" => tensor.values.fill(0.0),
            "blk.0.attn_v.weight" => {
                tensor.values.fill(0.0);
                for row in 0..kv_width {
                    tensor.values[row * WIDTH + row] = 1.0;
                }
            }
            "blk.0.attn_output.weight" => {
                tensor.values.fill(0.0);
                for row in 0..kv_width {
                    // The first of the heads that share a head of values has it.
                    let column = row / head * (HEADS / KV_HEADS) * head + row % head;
                    tensor.values[row * WIDTH + column] = 1.0;
                }
            }
            _ => {}
        }
    }
}

/// The characters that byte-level BPE uses for the 256 bytes, in the order of the bytes.
fn byte_alphabet() -> Vec<char> {
    let mut extra = 256_u32;
    (0..=255_u8)
        .map(|byte| {
            if matches!(byte, 33..=126 | 161..=172 | 174..=255) {
                char::from(byte)
            } else {
                let stand_in = char::from_u32(extra).unwrap_or(char::REPLACEMENT_CHARACTER);
                extra += 1;
                stand_in
            }
        })
        .collect()
}
