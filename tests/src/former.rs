//! The tensor types whose tags stood for others before August 2023.

use wasmtime_wasi_nn::wit::TensorType;

/// What a tensor with this tag is if its size tells that its program is from before August 2023.
pub fn former_type(tag: u8, dimensions: &[u32], length: u64) -> Option<TensorType> {
    let elements = dimensions.iter().fold(1_u64, |size, dimension| {
        size.saturating_mul((*dimension).into())
    });
    match tag {
        2 if length > 0 && length == elements => Some(TensorType::U8),
        3 if elements > 1 && length == elements.saturating_mul(4) => Some(TensorType::I32),
        _ => None,
    }
}
