//! Tensors of a computation, and the computation itself.

use super::failure::{Failure, check};
use super::ports::{element_type, port_type};
use super::{Buffer, Canceller, Request};
use crate::backend::tensors::context::View;
use crate::backend::tensors::port::PortType;
use crate::{Tensor, TensorType};
use openvino_sys::*;
use std::ffi::c_void;
use std::ptr::{NonNull, null_mut};

/// A shape for the library to read.
fn shape(dimensions: &mut [i64]) -> Result<ov_shape_t, Failure> {
    Ok(ov_shape_t {
        rank: i64::try_from(dimensions.len()).map_err(|_| Failure::new("too many dimensions"))?,
        dims: if dimensions.is_empty() {
            null_mut()
        } else {
            dimensions.as_mut_ptr()
        },
    })
}

impl Buffer {
    /// A tensor of its own with these bytes, which are those of the shape.
    pub(super) fn copy_of(
        ty: ov_element_type_e,
        dimensions: &mut [i64],
        bytes: &[u8],
    ) -> Result<Self, Failure> {
        let shape = shape(dimensions)?;
        // SAFETY: the shape has as many dimensions as it says, and `buffer` is a place for the pointer.
        let buffer = Self::create(|buffer| unsafe { ov_tensor_create(ty, shape, buffer) })?;
        if buffer.byte_size()? != bytes.len() {
            return Err(Failure::new("a tensor has another size than expected"));
        }
        if !bytes.is_empty() {
            let data = buffer.data()?;
            // SAFETY: the tensor was made just now, and has this many bytes.
            unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), data.as_ptr(), bytes.len()) };
        }
        Ok(buffer)
    }

    /// A tensor over the bytes of another one, if they lie where such elements may lie, else a copy.
    ///
    /// # Safety
    /// The tensor outlives every computation that uses the buffer.
    unsafe fn over(tensor: &Tensor) -> Result<Self, Failure> {
        let ty = element_type(tensor.ty);
        let mut dimensions: Vec<i64> = tensor.dimensions.iter().map(|d| i64::from(*d)).collect();
        let start = tensor.data.as_ptr();
        if tensor.data.is_empty() || !start.addr().is_multiple_of(tensor.ty.size()) {
            return Self::copy_of(ty, &mut dimensions, &tensor.data);
        }
        let shape = shape(&mut dimensions)?;
        // SAFETY: the shape has as many dimensions as it says, and the port has been asked whether it takes as
        // many bytes as there are. The library does not write to inputs.
        Self::create(|buffer| unsafe {
            ov_tensor_create_from_host_ptr(ty, shape, start.cast_mut().cast::<c_void>(), buffer)
        })
    }

    fn byte_size(&self) -> Result<usize, Failure> {
        let mut size = 0;
        // SAFETY: the tensor lives, and `size` is a place for the number.
        check(unsafe { ov_tensor_get_byte_size(self.as_ptr(), &raw mut size) })?;
        Ok(size)
    }

    fn data(&self) -> Result<NonNull<u8>, Failure> {
        let mut data = null_mut();
        // SAFETY: the tensor lives, and `data` is a place for the pointer.
        check(unsafe { ov_tensor_data(self.as_ptr(), &raw mut data) })?;
        NonNull::new(data.cast()).ok_or_else(|| Failure::new("a tensor has no data"))
    }

    fn ty(&self) -> Result<PortType, Failure> {
        let mut ty = 0_u32;
        // SAFETY: the tensor lives, and the enum is such a number.
        check(unsafe { ov_tensor_get_element_type(self.as_ptr(), (&raw mut ty).cast()) })?;
        Ok(port_type(ty))
    }

    fn dimensions(&self) -> Result<Vec<u32>, Failure> {
        let mut shape = ov_shape_t {
            rank: 0,
            dims: null_mut(),
        };
        // SAFETY: the tensor lives, and `shape` is a place for the shape.
        check(unsafe { ov_tensor_get_shape(self.as_ptr(), &raw mut shape) })?;
        let rank = usize::try_from(shape.rank).unwrap_or(0);
        let dimensions = if shape.dims.is_null() {
            Ok(Vec::new())
        } else {
            // SAFETY: a shape of this rank has as many dimensions.
            let dimensions = unsafe { std::slice::from_raw_parts(shape.dims, rank) };
            dimensions.iter().map(|size| u32::try_from(*size)).collect()
        };
        // SAFETY: the shape is the library's, and its dimensions have been copied.
        let freed = unsafe { ov_shape_free(&raw mut shape) };
        check(freed)?;
        dimensions.map_err(|_| Failure::new("a dimension of an output does not fit into 32 bits"))
    }
}

impl Request {
    /// Computes with one tensor for each input. Each fits its port.
    pub(in crate::backend::openvino) fn infer(
        &mut self,
        inputs: &[&Tensor],
    ) -> Result<(), Failure> {
        for (index, tensor) in inputs.iter().enumerate() {
            // SAFETY: the tensors live until this function ends, and so does the computation.
            let buffer = unsafe { Buffer::over(tensor)? };
            // SAFETY: the request lives, and so does the buffer, which the request counts references to.
            check(unsafe {
                ov_infer_request_set_input_tensor_by_index(self.0.as_ptr(), index, buffer.as_ptr())
            })?;
        }
        // SAFETY: the request lives, and every input is set to a tensor that does.
        check(unsafe { ov_infer_request_infer(self.0.as_ptr()) })
    }

    /// What ends the computation, from another thread.
    pub(in crate::backend::openvino) fn canceller(&self) -> Canceller {
        Canceller(self.0.clone())
    }

    /// Output `index` of the last computation, which borrows the request so that there is no further one.
    pub(in crate::backend::openvino) fn output(
        &self,
        index: usize,
        ty: TensorType,
    ) -> Result<Output<'_>, Failure> {
        // SAFETY: the request lives, and `buffer` is a place for the pointer.
        let buffer = Buffer::create(|buffer| unsafe {
            ov_infer_request_get_output_tensor_by_index(self.0.as_ptr(), index, buffer)
        })?;
        if buffer.ty()? != PortType::Tensor(ty) {
            return Err(Failure::new(format!(
                "output {index} has another type than {ty}, which the model declares"
            )));
        }
        Ok(Output {
            buffer,
            ty,
            _request: self,
        })
    }
}

impl Canceller {
    /// Ends it before its next operation, if one is running.
    pub(in crate::backend::openvino) fn cancel(&self) {
        // SAFETY: the request lives, and the library expects this during a computation.
        let status = unsafe { ov_infer_request_cancel(self.0.as_ptr()) };
        if let Err(failure) = check(status) {
            tracing::debug!("a computation could not be ended: {failure}");
        }
    }
}

/// An output of the last computation of a request.
pub(in crate::backend::openvino) struct Output<'a> {
    buffer: Buffer,
    ty: TensorType,
    _request: &'a Request,
}

impl Output<'_> {
    pub(in crate::backend::openvino) fn view(&self) -> Result<View<'_>, Failure> {
        let size = self.buffer.byte_size()?;
        let dimensions = match self.buffer.dimensions() {
            Ok(dimensions) => dimensions,
            // The library takes the shape of a scalar for a wrong argument.
            Err(failure)
                if failure.status == ov_status_e::INVALID_C_PARAM && size == self.ty.size() =>
            {
                Vec::new()
            }
            Err(failure) => return Err(failure),
        };
        let bytes = match size {
            0 => &[][..],
            // SAFETY: the tensor has this many bytes, which change with the next computation of the request, and
            // that is borrowed.
            _ => unsafe { std::slice::from_raw_parts(self.buffer.data()?.as_ptr(), size) },
        };
        Ok(View { dimensions, bytes })
    }
}
