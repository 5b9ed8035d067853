//! Tensors as backends see them.

use crate::Error;
use crate::backend::ExecutionContext;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::sync::Arc;

/// Bytes of an output. Shared, so that the host lowers them into the guest's memory without a copy of
/// its own, and mutable in place again ([`Arc::get_mut`]) once nobody else holds them.
pub type Bytes = Arc<Vec<u8>>;

/// Type of one element.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum TensorType {
    /// IEEE 754 half precision.
    F16,
    /// IEEE 754 single precision.
    F32,
    /// IEEE 754 double precision.
    F64,
    /// The upper half of a single-precision number.
    Bf16,
    /// Unsigned byte.
    U8,
    /// Signed 32-bit integer.
    I32,
    /// Signed 64-bit integer.
    I64,
}

impl TensorType {
    /// A short name for people, such as `f32`.
    pub fn name(self) -> &'static str {
        match self {
            Self::F16 => "f16",
            Self::F32 => "f32",
            Self::F64 => "f64",
            Self::Bf16 => "bf16",
            Self::U8 => "u8",
            Self::I32 => "i32",
            Self::I64 => "i64",
        }
    }

    /// Size of one element in bytes.
    pub fn size(self) -> usize {
        match self {
            Self::U8 => 1,
            Self::F16 | Self::Bf16 => 2,
            Self::F32 | Self::I32 => 4,
            Self::F64 | Self::I64 => 8,
        }
    }
}

impl fmt::Display for TensorType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A tensor that goes into a model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tensor {
    /// Size of each dimension, outermost first. Need not multiply to the length of `data`: guests of
    /// language models pass `[1]` with longer data.
    pub dimensions: Vec<u32>,
    /// Type of one element.
    pub ty: TensorType,
    /// The elements in row-major order, little-endian, without padding.
    pub data: Vec<u8>,
}

impl Tensor {
    /// A tensor without elements, whose allocations a caller fills.
    pub fn empty() -> Self {
        Self {
            dimensions: Vec::new(),
            ty: TensorType::U8,
            data: Vec::new(),
        }
    }

    /// A tensor of bytes with one dimension.
    pub fn bytes(data: impl Into<Vec<u8>>) -> Self {
        let data = data.into();
        Self {
            dimensions: vec![u32::try_from(data.len()).unwrap_or(u32::MAX)],
            ty: TensorType::U8,
            data,
        }
    }
}

/// A tensor that a guest holds: one that it made, or an output.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SharedTensor {
    /// Size of each dimension, outermost first.
    pub dimensions: Vec<u32>,
    /// Type of one element.
    pub ty: TensorType,
    /// The elements, as in [`Tensor::data`].
    pub data: Bytes,
}

impl SharedTensor {
    /// Output `index` of a context.
    pub fn of_output(context: &dyn ExecutionContext, index: u32) -> Result<Self, Error> {
        let description = context.describe_output(index)?;
        Ok(Self {
            dimensions: description.dimensions,
            ty: description.ty,
            data: context.output(index)?,
        })
    }

    /// As an input; copies the elements only if somebody else holds them.
    pub fn into_tensor(self) -> Tensor {
        Tensor {
            dimensions: self.dimensions,
            ty: self.ty,
            data: Arc::unwrap_or_clone(self.data),
        }
    }
}

/// What an output is, without its elements.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OutputDescription {
    /// Size of each dimension, outermost first.
    pub dimensions: Vec<u32>,
    /// Type of one element.
    pub ty: TensorType,
    /// Size of the elements in bytes.
    pub size: u64,
}

impl OutputDescription {
    /// An output of `size` bytes with one dimension.
    pub fn bytes(size: usize) -> Self {
        Self {
            dimensions: vec![u32::try_from(size).unwrap_or(u32::MAX)],
            ty: TensorType::U8,
            size: size as u64,
        }
    }
}
