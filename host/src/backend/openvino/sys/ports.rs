//! What a model declares about its inputs and outputs.

use super::failure::{Failure, check};
use super::{ConstPort, take_text};
use crate::TensorType;
use crate::backend::tensors::port::{Port, PortType, Size};
use openvino_sys::*;
use std::ptr::null_mut;

impl ConstPort {
    pub(super) fn describe(&self, index: usize) -> Result<Port, Failure> {
        Ok(Port {
            name: self.name().unwrap_or_else(|| index.to_string()),
            ty: self.ty()?,
            dimensions: self.dimensions()?,
        })
    }

    /// Its name, of several always the same one.
    pub(super) fn name(&self) -> Option<String> {
        let mut name = null_mut();
        // SAFETY: the port lives, and `name` is a place for the pointer.
        let status = unsafe { ov_port_get_any_name(self.as_ptr(), &raw mut name) };
        match check(status) {
            // SAFETY: the library has allocated the name for its caller.
            Ok(()) => unsafe { take_text(name) },
            // It has none.
            Err(_) => None,
        }
    }

    fn ty(&self) -> Result<PortType, Failure> {
        // A later library may have types that this enum has not, so it is taken as a number.
        let mut ty = 0_u32;
        // SAFETY: the port lives, and the enum is such a number.
        check(unsafe { ov_port_get_element_type(self.as_ptr(), (&raw mut ty).cast()) })?;
        Ok(port_type(ty))
    }

    /// `None` if even their number is open.
    fn dimensions(&self) -> Result<Option<Vec<Size>>, Failure> {
        let mut shape = ov_partial_shape_t {
            rank: ov_rank_t { min: 0, max: 0 },
            dims: null_mut(),
        };
        // SAFETY: the port lives, and `shape` is a place for the shape.
        check(unsafe { ov_port_get_partial_shape(self.as_ptr(), &raw mut shape) })?;
        let sizes = match usize::try_from(shape.rank.max) {
            Ok(0) if shape.rank.min == 0 => Some(Vec::new()),
            Ok(rank) if shape.rank.min == shape.rank.max && !shape.dims.is_null() => {
                // SAFETY: a shape of this rank has as many dimensions.
                let dimensions = unsafe { std::slice::from_raw_parts(shape.dims, rank) };
                Some(dimensions.iter().map(|d| Size::new(d.min, d.max)).collect())
            }
            _ => None,
        };
        // SAFETY: the shape is the library's, and its dimensions have been copied.
        unsafe { ov_partial_shape_free(&raw mut shape) };
        Ok(sizes)
    }
}

/// The types that `wasi:nn` has, and the names of the others.
pub(super) fn port_type(ty: u32) -> PortType {
    let types = [
        TensorType::F16,
        TensorType::F32,
        TensorType::F64,
        TensorType::Bf16,
        TensorType::U8,
        TensorType::I32,
        TensorType::I64,
    ];
    if let Some(known) = types
        .into_iter()
        .find(|known| element_type(*known) as u32 == ty)
    {
        return PortType::Tensor(known);
    }
    let others = [
        (ov_element_type_e::DYNAMIC, "a type that is open"),
        (ov_element_type_e::OV_BOOLEAN, "bool"),
        (ov_element_type_e::I4, "i4"),
        (ov_element_type_e::I8, "i8"),
        (ov_element_type_e::I16, "i16"),
        (ov_element_type_e::U1, "u1"),
        (ov_element_type_e::U4, "u4"),
        (ov_element_type_e::U16, "u16"),
        (ov_element_type_e::U32, "u32"),
        (ov_element_type_e::U64, "u64"),
        (ov_element_type_e::F8E4M3, "f8e4m3"),
        (ov_element_type_e::F8E5M3, "f8e5m2"),
        (ov_element_type_e::STRING, "string"),
    ];
    let name = others.iter().find(|(other, _)| *other as u32 == ty);
    PortType::Other(match name {
        Some((_, name)) => (*name).to_owned(),
        None => format!("OpenVINO's type {ty}"),
    })
}

pub(super) fn element_type(ty: TensorType) -> ov_element_type_e {
    match ty {
        TensorType::F16 => ov_element_type_e::F16,
        TensorType::F32 => ov_element_type_e::F32,
        TensorType::F64 => ov_element_type_e::F64,
        TensorType::Bf16 => ov_element_type_e::BF16,
        TensorType::U8 => ov_element_type_e::U8,
        TensorType::I32 => ov_element_type_e::I32,
        TensorType::I64 => ov_element_type_e::I64,
    }
}
