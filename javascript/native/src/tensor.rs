//! Tensors, their types named as in `wasi:nn`.

use llm_wasi_host as host;
use napi::bindgen_prelude::{Uint8Array, Uint32Array};
use napi_derive::napi;

/// `tensor-type` of `wasi:nn`.
#[napi(string_enum)]
#[derive(Clone, Copy)]
pub enum TensorType {
    FP16,
    FP32,
    FP64,
    BF16,
    U8,
    I32,
    I64,
}

impl From<TensorType> for host::TensorType {
    fn from(ty: TensorType) -> Self {
        match ty {
            TensorType::FP16 => Self::F16,
            TensorType::FP32 => Self::F32,
            TensorType::FP64 => Self::F64,
            TensorType::BF16 => Self::Bf16,
            TensorType::U8 => Self::U8,
            TensorType::I32 => Self::I32,
            TensorType::I64 => Self::I64,
        }
    }
}

impl From<host::TensorType> for TensorType {
    fn from(ty: host::TensorType) -> Self {
        match ty {
            host::TensorType::F16 => Self::FP16,
            host::TensorType::F32 => Self::FP32,
            host::TensorType::F64 => Self::FP64,
            host::TensorType::Bf16 => Self::BF16,
            host::TensorType::U8 => Self::U8,
            host::TensorType::I32 => Self::I32,
            host::TensorType::I64 => Self::I64,
        }
    }
}

/// A tensor and the name of the input or output that it is.
#[napi(object)]
pub struct NamedTensor {
    pub name: String,
    pub dimensions: Uint32Array,
    pub ty: TensorType,
    pub data: Uint8Array,
}

impl From<NamedTensor> for (String, host::Tensor) {
    fn from(tensor: NamedTensor) -> Self {
        let input = host::Tensor {
            dimensions: tensor.dimensions.to_vec(),
            ty: tensor.ty.into(),
            data: tensor.data.to_vec(),
        };
        (tensor.name, input)
    }
}

impl From<(String, host::SharedTensor)> for NamedTensor {
    fn from((name, tensor): (String, host::SharedTensor)) -> Self {
        Self {
            name,
            dimensions: tensor.dimensions.into(),
            ty: tensor.ty.into(),
            data: bytes(tensor.data),
        }
    }
}

/// `output-description` of `llm-wasi:nn/inference`.
#[napi(object, object_from_js = false)]
pub struct OutputDescription {
    pub dimensions: Uint32Array,
    pub ty: TensorType,
    pub size: u64,
}

impl From<host::OutputDescription> for OutputDescription {
    fn from(description: host::OutputDescription) -> Self {
        Self {
            dimensions: description.dimensions.into(),
            ty: description.ty.into(),
            size: description.size,
        }
    }
}

/// An output's bytes for JavaScript, which may write to them: a copy where the context keeps its own.
pub(crate) fn bytes(data: host::Bytes) -> Uint8Array {
    std::sync::Arc::unwrap_or_clone(data).into()
}
