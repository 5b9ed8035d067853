//! `wasi:nn@0.2.0-rc-2024-10-28`: tensors in by name and tensors out by name, in one call.
//!
//! `compute` takes all inputs at once: what an earlier call set is forgotten. Names of inputs are the
//! backend's own or decimal indexes; outputs come in the order of their indexes.

use super::{ContextResource, ErrorResource, Named, shared_interfaces};
use crate::backend::{Encoding, Target};
use crate::bindings::lists::wasi::nn::{errors, graph, inference, tensor};
use crate::held::Held;
use crate::linker::{GraphResource, HasNn};
use crate::{ErrorCode, NnView, TensorType, calls};
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

impl inference::HostGraphExecutionContext for NnView<'_> {
    fn compute(
        &mut self,
        context: Resource<ContextResource>,
        inputs: Vec<Named>,
    ) -> wasmtime::Result<Result<Vec<Named>, Resource<ErrorResource>>> {
        let inputs = self.take_inputs(inputs)?;
        let held = &mut self.table.get_mut(&context)?.context;
        let outputs = inputs.and_then(|inputs| calls::compute(held.get_mut()?, inputs));
        self.give_outputs(outputs)
    }

    fn drop(&mut self, context: Resource<ContextResource>) -> wasmtime::Result<()> {
        self.table.delete(context)?;
        Ok(())
    }
}
