//! A tiny projector for [`TinyModel`](super::TinyModel), written as GGUF without any tool.
//!
//! A vision transformer of two blocks. Its weights are small and random, but in the kind of LLaVA: there
//! the first three elements of a patch's embedding are the patch's mean red, green and blue, and each
//! colour becomes the embedding of a letter. An attentive model then says what follows that letter.

use super::gguf_file::{Gguf, Random, Tensor};
use super::tiny_gguf::{WIDTH, embedding_of};
use std::io;
use std::path::Path;

/// Elements of a patch's embedding.
const EMBEDDING: usize = 16;
const HIDDEN: usize = 32;
const BLOCKS: usize = 2;
const HEADS: u32 = 2;
/// The side of an image and of a patch, in pixels.
const IMAGE: u32 = 56;
const PATCH: u32 = 14;
/// What red, green and blue become.
const LETTERS: [u8; 3] = [b'R', b'G', b'B'];

/// The kind of a projector, by its name in files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "they are names of models")]
pub enum ProjectorKind {
    Llava,
    Gemma3,
    Idefics3,
    Qwen2Vl,
    Qwen25Vl,
}

/// The projector.
#[derive(Clone, Copy, Debug)]
pub struct TinyProjector {
    kind: ProjectorKind,
}

impl TinyProjector {
    /// A projector of this kind.
    pub fn new(kind: ProjectorKind) -> Self {
        Self { kind }
    }

    /// Writes the projector to a file.
    pub fn write(&self, path: impl AsRef<Path>) -> io::Result<()> {
        std::fs::write(path, self.to_gguf())
    }

    /// How many tokens a small image takes in the model's context.
    pub fn tokens(&self) -> usize {
        let side = (IMAGE / PATCH) as usize;
        match self.kind {
            ProjectorKind::Llava => side * side,
            _ => side * side / 4,
        }
    }

    /// The letters that pure red, green and blue stand for.
    pub fn letters(&self) -> [u8; 3] {
        LETTERS
    }

    /// The projector's file: the same bytes every time.
    pub fn to_gguf(&self) -> Vec<u8> {
        let mut file = self.metadata();
        for tensor in self.tensors() {
            file.tensor(tensor);
        }
        file.finish()
    }

    fn metadata(&self) -> Gguf {
        let mut file = Gguf::default();
        file.text("general.architecture", "clip");
        file.text("general.name", "tiny projector");
        file.flag("clip.has_vision_encoder", true);
        let name = match self.kind {
            ProjectorKind::Llava => "mlp",
            ProjectorKind::Gemma3 => "gemma3",
            ProjectorKind::Idefics3 => "idefics3",
            ProjectorKind::Qwen2Vl => "qwen2vl_merger",
            ProjectorKind::Qwen25Vl => "qwen2.5vl_merger",
        };
        file.text("clip.projector_type", name);
        file.flag("clip.use_gelu", true);
        for (key, value) in [
            ("image_size", IMAGE),
            ("patch_size", PATCH),
            ("embedding_length", EMBEDDING as u32),
            ("feed_forward_length", HIDDEN as u32),
            ("projection_dim", WIDTH as u32),
            ("block_count", BLOCKS as u32),
            ("attention.head_count", HEADS),
        ] {
            file.number(&format!("clip.vision.{key}"), value);
        }
        match self.kind {
            ProjectorKind::Llava | ProjectorKind::Qwen2Vl => {}
            ProjectorKind::Gemma3 => file.number("clip.vision.projector.scale_factor", 2),
            ProjectorKind::Idefics3 => {
                file.number("clip.vision.projector.scale_factor", 2);
                file.number("clip.vision.preproc_image_size", 2 * IMAGE);
            }
            ProjectorKind::Qwen25Vl => file.number("clip.vision.n_wa_pattern", 2),
        }
        file.real("clip.vision.attention.layer_norm_epsilon", 1e-5);
        file.reals("clip.vision.image_mean", &[0.5; 3]);
        file.reals("clip.vision.image_std", &[0.5; 3]);
        file
    }

    fn tensors(&self) -> Vec<Tensor> {
        let mut tensors = Tensors {
            random: Random(99),
            list: Vec::new(),
        };
        let qwen = matches!(self.kind, ProjectorKind::Qwen2Vl | ProjectorKind::Qwen25Vl);
        let patch = PATCH as usize;
        let kernel = [patch, patch, 3, EMBEDDING];
        tensors.add("v.patch_embd.weight", &kernel, mean_colours());
        let patches = ((IMAGE / PATCH) * (IMAGE / PATCH)) as usize;
        if qwen {
            tensors.random("v.patch_embd.weight.1", &kernel);
        }
        match self.kind {
            ProjectorKind::Llava => {
                tensors.random("v.class_embd", &[EMBEDDING]);
                tensors.random("v.position_embd.weight", &[EMBEDDING, patches + 1]);
                tensors.norm("v.pre_ln");
            }
            ProjectorKind::Gemma3 | ProjectorKind::Idefics3 => {
                tensors.random("v.patch_embd.bias", &[EMBEDDING]);
                tensors.random("v.position_embd.weight", &[EMBEDDING, patches]);
            }
            ProjectorKind::Qwen2Vl | ProjectorKind::Qwen25Vl => {}
        }
        tensors.norm("v.post_ln");
        for block in 0..BLOCKS {
            let name = |part: &str| format!("v.blk.{block}.{part}");
            for part in ["attn_q", "attn_k", "attn_v", "attn_out"] {
                tensors.linear(&name(part), EMBEDDING, EMBEDDING);
            }
            tensors.norm(&name("ln1"));
            tensors.norm(&name("ln2"));
            tensors.linear(&name("ffn_up"), EMBEDDING, HIDDEN);
            tensors.linear(&name("ffn_down"), HIDDEN, EMBEDDING);
            if self.kind == ProjectorKind::Qwen25Vl {
                tensors.linear(&name("ffn_gate"), EMBEDDING, HIDDEN);
            }
        }
        match self.kind {
            ProjectorKind::Llava => tensors.colours_to_letters(),
            ProjectorKind::Gemma3 => {
                tensors.random("mm.soft_emb_norm.weight", &[EMBEDDING]);
                tensors.random("mm.input_projection.weight", &[WIDTH, EMBEDDING]);
            }
            ProjectorKind::Idefics3 => {
                tensors.random("mm.model.fc.weight", &[4 * EMBEDDING, WIDTH]);
            }
            ProjectorKind::Qwen2Vl | ProjectorKind::Qwen25Vl => {
                tensors.linear("mm.0", 4 * EMBEDDING, HIDDEN);
                tensors.linear("mm.2", HIDDEN, WIDTH);
            }
        }
        tensors.list
    }
}

/// A kernel that gives a patch's mean red, green and blue, and nothing else.
fn mean_colours() -> Vec<f32> {
    let pixels = (PATCH * PATCH) as usize;
    let mut kernel = vec![0.0; pixels * 3 * EMBEDDING];
    for colour in 0..3 {
        let start = (colour * 3 + colour) * pixels;
        kernel[start..start + pixels].fill(1.0 / pixels as f32);
    }
    kernel
}

/// Tensors that are being made.
struct Tensors {
    random: Random,
    list: Vec<Tensor>,
}

impl Tensors {
    fn add(&mut self, name: &str, dimensions: &[usize], values: Vec<f32>) {
        self.list.push(Tensor::new(name, dimensions, values));
    }

    fn random(&mut self, name: &str, dimensions: &[usize]) {
        let values = (0..dimensions.iter().product())
            .map(|_| self.random.normal() * 0.02)
            .collect();
        self.add(name, dimensions, values);
    }

    fn linear(&mut self, name: &str, columns: usize, rows: usize) {
        self.random(&format!("{name}.weight"), &[columns, rows]);
        self.random(&format!("{name}.bias"), &[rows]);
    }

    fn norm(&mut self, name: &str) {
        self.add(
            &format!("{name}.weight"),
            &[EMBEDDING],
            vec![1.0; EMBEDDING],
        );
        self.add(&format!("{name}.bias"), &[EMBEDDING], vec![0.0; EMBEDDING]);
    }

    /// The projection of LLaVA: only what a patch has much of passes, as its letter.
    fn colours_to_letters(&mut self) {
        let mut first = vec![0.0; EMBEDDING * EMBEDDING];
        let mut second = vec![0.0; EMBEDDING * WIDTH];
        for (colour, letter) in LETTERS.into_iter().enumerate() {
            first[colour * EMBEDDING + colour] = 8.0;
            for (row, value) in embedding_of(letter).into_iter().enumerate() {
                second[row * EMBEDDING + colour] = value;
            }
        }
        self.add("mm.0.weight", &[EMBEDDING, EMBEDDING], first);
        self.add("mm.0.bias", &[EMBEDDING], vec![0.0; EMBEDDING]);
        self.add("mm.2.weight", &[EMBEDDING, WIDTH], second);
        self.add("mm.2.bias", &[WIDTH], vec![0.0; WIDTH]);
    }
}
