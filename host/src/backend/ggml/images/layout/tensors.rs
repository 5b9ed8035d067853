//! The tensors of each kind of projector.

use super::{Kind, Numbers};
use crate::Error;
use crate::gguf::{Gguf, TensorInfo, Value};
use std::collections::HashMap;

const F32: u32 = 0;
const F16: u32 = 1;
const BF16: u32 = 30;

/// The types that a matrix may have: these, q4_0, q4_1, q5_0, q5_1 and q8_0, q2_K to q6_K.
const TYPES: [u32; 13] = [F32, F16, BF16, 2, 3, 6, 7, 8, 10, 11, 12, 13, 14];

/// Those in which every element stands alone.
const FLOATS: [u32; 3] = [F32, F16, BF16];

/// What a block may have that only models of other kinds compute with.
const FOREIGN: [&str; 6] = [
    "attn_q_norm.weight",
    "attn_k_norm.weight",
    "attn_post_norm.weight",
    "ffn_post_norm.weight",
    "out_scale.weight",
    "ffn_gate_exps.weight",
];

/// A file's tensors, by name.
pub(super) struct Tensors<'a>(HashMap<&'a str, &'a TensorInfo>);

impl<'a> Tensors<'a> {
    /// Fails if one is not whole, or has elements that llama.cpp cannot compute with.
    pub(super) fn new(file: &'a Gguf) -> Result<Self, Error> {
        if file.layout.len() as u64 != file.tensors {
            return Err(Error::invalid(format!(
                "expected a projector with some hundred tensors, found {}",
                file.tensors
            )));
        }
        let alignment = match file.metadata.get("general.alignment") {
            None => 32,
            Some(Value::Integer(found)) => u64::try_from(*found).unwrap_or(0),
            Some(_) => 0,
        };
        let start = file
            .end
            .checked_next_multiple_of(alignment)
            .ok_or_else(|| super::wrong("general.alignment", &alignment))?;
        let mut tensors = HashMap::new();
        for tensor in &file.layout {
            // Others are of no use here, but llama.cpp may load them.
            if !TYPES.contains(&tensor.ty) {
                return Err(wrong(&tensor.name, "elements of another type", tensor));
            }
            let end = tensor
                .bytes()
                .and_then(|size| size.checked_add(start)?.checked_add(tensor.offset));
            let empty = tensor.dimensions.contains(&0);
            if empty || end.is_none_or(|end| end > file.size) {
                return Err(wrong(&tensor.name, "more than the file has", tensor));
            }
            tensors.insert(tensor.name.as_str(), tensor);
        }
        Ok(Self(tensors))
    }

    /// Fails unless every tensor that a kind computes with is as it must be.
    pub(super) fn check(&self, kind: Kind, numbers: &Numbers) -> Result<(), Error> {
        self.check_patches(kind, numbers)?;
        for part in ["pre_ln", "post_ln"] {
            self.norm(&format!("v.{part}"), numbers.width)?;
        }
        for layer in 0..numbers.layers {
            self.check_block(kind, numbers.width, &format!("v.blk.{layer}"))?;
        }
        self.check_projection(kind, numbers)
    }

    /// From pixels to embeddings of patches.
    fn check_patches(&self, kind: Kind, numbers: &Numbers) -> Result<(), Error> {
        let Numbers {
            width, patch, side, ..
        } = *numbers;
        let patches = side * side;
        let kernel = [patch, patch, 3, width];
        self.need("v.patch_embd.weight", &kernel, &[F32, F16])?;
        let (bias, class) = ("v.patch_embd.bias", "v.class_embd");
        let position = "v.position_embd.weight";
        match kind {
            Kind::Llava => {
                self.may_have(bias, &[width], &[F32])?;
                self.may_have(class, &[width], &[F32])?;
                let positions = patches + u64::from(self.has(class));
                // There may be more than are looked up.
                let rows = self.rows(position)?.max(positions);
                self.need(position, &[width, rows], &FLOATS)
            }
            Kind::Gemma3 | Kind::Idefics3 => {
                self.may_have(bias, &[width], &[F32])?;
                self.may_have(position, &[width, patches], &[F32])?;
                self.must_not_have(class)
            }
            Kind::Qwen2Vl | Kind::Qwen25Vl => {
                self.need("v.patch_embd.weight.1", &kernel, &[F32, F16])?;
                self.must_not_have(bias)?;
                self.must_not_have(class)
            }
        }
    }

    /// A block of attention and a feed-forward network.
    fn check_block(&self, kind: Kind, width: u64, block: &str) -> Result<(), Error> {
        let name = |part: &str| format!("{block}.{part}");
        for part in FOREIGN {
            self.must_not_have(&name(part))?;
        }
        let fused = name("attn_qkv");
        if matches!(kind, Kind::Gemma3 | Kind::Idefics3) && self.has(&format!("{fused}.weight")) {
            self.linear(&fused, width, 3 * width)?;
        } else {
            for part in ["attn_q", "attn_k", "attn_v"] {
                self.linear(&name(part), width, width)?;
                if kind.is_qwen() {
                    self.need(&name(&format!("{part}.bias")), &[width], &[F32])?;
                }
            }
        }
        self.linear(&name("attn_out"), width, width)?;
        for part in ["ln1", "ln2", "ls1", "ls2"] {
            self.norm(&name(part), width)?;
        }
        // Older converters have exchanged the two, and llama.cpp tells them apart like this.
        let down = self.find(&name("ffn_down.weight"))?;
        let exchanged = down.dimensions.first() == Some(&width);
        let (up, down) = match exchanged {
            true => ("ffn_down", "ffn_up"),
            false => ("ffn_up", "ffn_down"),
        };
        let hidden = self.rows(&name(&format!("{up}.weight")))?;
        self.linear(&name(up), width, hidden)?;
        self.linear(&name(down), hidden, width)?;
        let gate = name("ffn_gate");
        if self.has(&format!("{gate}.weight")) {
            self.linear(&gate, width, hidden)?;
        }
        Ok(())
    }

    /// From embeddings of patches to what the language model takes. llama.cpp checks their width.
    fn check_projection(&self, kind: Kind, numbers: &Numbers) -> Result<(), Error> {
        let Numbers { width, merge, .. } = *numbers;
        match kind {
            Kind::Llava => {
                // Projectors of other models with this name have these.
                for part in [1, 3, 4] {
                    self.must_not_have(&format!("mm.{part}.weight"))?;
                }
                self.perceptron(width)
            }
            Kind::Qwen2Vl | Kind::Qwen25Vl => self.perceptron(width * merge * merge),
            Kind::Gemma3 => {
                self.need("mm.soft_emb_norm.weight", &[width], &[F32])?;
                let projection = "mm.input_projection.weight";
                let columns = self.find(projection)?.dimensions.first();
                let columns = columns.copied().unwrap_or_default();
                self.need(projection, &[columns, width], &FLOATS)
            }
            Kind::Idefics3 => {
                let projection = "mm.model.fc.weight";
                let rows = self.rows(projection)?;
                self.matrix(projection, width * merge * merge, rows)
            }
        }
    }

    /// Two linear layers with biases.
    fn perceptron(&self, width: u64) -> Result<(), Error> {
        let hidden = self.rows("mm.0.weight")?;
        let output = self.rows("mm.2.weight")?;
        self.matrix("mm.0.weight", width, hidden)?;
        self.need("mm.0.bias", &[hidden], &[F32])?;
        self.matrix("mm.2.weight", hidden, output)?;
        self.need("mm.2.bias", &[output], &[F32])
    }

    /// A matrix with a bias, if there is one.
    fn linear(&self, name: &str, columns: u64, rows: u64) -> Result<(), Error> {
        self.matrix(&format!("{name}.weight"), columns, rows)?;
        self.may_have(&format!("{name}.bias"), &[rows], &[F32])
    }

    /// A factor and a summand, if there are any.
    fn norm(&self, name: &str, width: u64) -> Result<(), Error> {
        for part in ["weight", "bias"] {
            self.may_have(&format!("{name}.{part}"), &[width], &[F32])?;
        }
        Ok(())
    }

    fn matrix(&self, name: &str, columns: u64, rows: u64) -> Result<(), Error> {
        self.need(name, &[columns, rows], &TYPES)
    }

    fn need(&self, name: &str, dimensions: &[u64], types: &[u32]) -> Result<(), Error> {
        let tensor = self.find(name)?;
        // Those behind the last one are 1.
        let same = (0..4).all(|index| {
            let size = |sizes: &[u64]| sizes.get(index).copied().unwrap_or(1);
            size(&tensor.dimensions) == size(dimensions)
        });
        if !same || !types.contains(&tensor.ty) {
            let expected = format!("the size {dimensions:?}, in elements of the types {types:?}");
            return Err(wrong(name, &expected, tensor));
        }
        Ok(())
    }

    fn may_have(&self, name: &str, dimensions: &[u64], types: &[u32]) -> Result<(), Error> {
        match self.has(name) {
            true => self.need(name, dimensions, types),
            false => Ok(()),
        }
    }

    fn must_not_have(&self, name: &str) -> Result<(), Error> {
        match self.has(name) {
            true => Err(Error::invalid(format!(
                "found the tensor `{name}`, which projectors of this kind do not have: this host cannot \
                 check such a one"
            ))),
            false => Ok(()),
        }
    }

    fn has(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    fn find(&self, name: &str) -> Result<&'a TensorInfo, Error> {
        self.0.get(name).copied().ok_or_else(|| {
            Error::invalid(format!(
                "expected the tensor `{name}`, found none: fetch the projector again"
            ))
        })
    }

    /// How many rows a matrix has.
    pub(super) fn rows(&self, name: &str) -> Result<u64, Error> {
        Ok(self.find(name)?.dimensions.get(1).copied().unwrap_or(1))
    }
}

fn wrong(name: &str, expected: &str, found: &TensorInfo) -> Error {
    Error::invalid(format!(
        "the tensor `{}`: expected {expected}, found {:?} in elements of the type {}: fetch the projector \
         again, or convert it with a current llama.cpp",
        crate::backend::shorten(name),
        found.dimensions,
        found.ty
    ))
}
