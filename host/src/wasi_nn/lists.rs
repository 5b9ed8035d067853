//! `wasi:nn@0.2.0-rc-2024-10-28`: tensors in by name and tensors out by name, in one call.
//!
//! `compute` takes all inputs at once: what an earlier call set is forgotten. Names of inputs are the
//! backend's own or decimal indexes; outputs come in the order of their indexes.

use super::{ContextResource, ErrorResource, shared_interfaces};
use crate::backend::{Encoding, Target};
use crate::bindings::lists::wasi::nn::{errors, graph, inference, tensor};
use crate::linker::{GraphResource, HasNn};
use crate::{ErrorCode, NnView, SharedTensor, TensorType, calls};
use wasmtime::component::{Linker, Resource};

pub(super) fn add_to_linker<T: Send + 'static>(
    linker: &mut Linker<T>,
    get: fn(&mut T) -> NnView<'_>,
) -> wasmtime::Result<()> {
    errors::add_to_linker::<T, HasNn>(linker, get)?;
    graph::add_to_linker::<T, HasNn>(linker, get)?;
    inference::add_to_linker::<T, HasNn>(linker, get)?;
    super::add_tensor::<T, tensor::TensorType>(linker, "wasi:nn/tensor@0.2.0-rc-2024-10-28", get)
}

shared_interfaces!();

impl inference::Host for NnView<'_> {}

type NamedResource = (String, Resource<SharedTensor>);

impl inference::HostGraphExecutionContext for NnView<'_> {
    fn compute(
        &mut self,
        context: Resource<ContextResource>,
        inputs: Vec<NamedResource>,
    ) -> wasmtime::Result<Result<Vec<NamedResource>, Resource<ErrorResource>>> {
        // The guest has given the tensors away: they leave the table whatever happens.
        let mut tensors = Vec::with_capacity(inputs.len());
        for (name, tensor) in inputs {
            tensors.push((name, self.table.delete(tensor)?.into_tensor()));
        }
        let context = self.table.get_mut(&context)?.context.as_mut();
        match calls::compute(context, tensors) {
            Ok(outputs) => {
                let mut resources = Vec::with_capacity(outputs.len());
                for (name, output) in outputs {
                    resources.push((name, self.table.push(output)?));
                }
                Ok(Ok(resources))
            }
            Err(error) => Ok(Err(self.wasi_error("compute", error)?)),
        }
    }

    fn drop(&mut self, context: Resource<ContextResource>) -> wasmtime::Result<()> {
        self.table.delete(context)?;
        Ok(())
    }
}
