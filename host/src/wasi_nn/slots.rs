//! `wasi:nn@0.2.0-rc-2024-08-19`: inputs are set and outputs read one by one, by name.
//!
//! Inputs stay set, and outputs stay until the next computation that succeeds. Names are the backend's
//! own or decimal indexes.

use super::{ContextResource, ErrorResource, TensorResource, shared_interfaces};
use crate::backend::{Encoding, ExecutionContext, Target};
use crate::bindings::slots::wasi::nn::{errors, graph, inference, tensor};
use crate::held::Held;
use crate::linker::{GraphResource, HasNn};
use crate::{Error, ErrorCode, NnView, TensorType, calls};
use wasmtime::component::{Linker, Resource};

pub(super) fn add_to_linker<T: Send + 'static>(
    linker: &mut Linker<T>,
    get: fn(&mut T) -> NnView<'_>,
) -> wasmtime::Result<()> {
    errors::add_to_linker::<T, HasNn>(linker, get)?;
    graph::add_to_linker::<T, HasNn>(linker, get)?;
    inference::add_to_linker::<T, HasNn>(linker, get)?;
    super::add_tensor::<T, tensor::TensorType>(linker, "wasi:nn/tensor@0.2.0-rc-2024-08-19", get)
}

shared_interfaces!();

impl inference::Host for NnView<'_> {}

impl NnView<'_> {
    /// Calls `function` with the context and turns its failure into a resource.
    fn with_context<V>(
        &mut self,
        operation: &str,
        context: &Resource<ContextResource>,
        function: impl FnOnce(&mut dyn ExecutionContext) -> Result<V, Error>,
    ) -> wasmtime::Result<Result<V, Resource<ErrorResource>>> {
        let held = &mut self.table.get_mut(context)?.context;
        let result = match held.get_mut() {
            Ok(context) => function(context),
            Err(error) => Err(error),
        };
        self.wasi_outcome(operation, result)
    }
}

impl inference::HostGraphExecutionContext for NnView<'_> {
    fn set_input(
        &mut self,
        context: Resource<ContextResource>,
        name: String,
        tensor: Resource<TensorResource>,
    ) -> wasmtime::Result<Result<(), Resource<ErrorResource>>> {
        let input = self.take_input(name, tensor)?;
        self.with_context("set-input", &context, |context| {
            let (name, tensor) = input?;
            calls::set_input(context, &name, tensor)
        })
    }

    fn compute(
        &mut self,
        context: Resource<ContextResource>,
    ) -> wasmtime::Result<Result<(), Resource<ErrorResource>>> {
        self.with_context("compute", &context, |context| context.compute())
    }

    fn get_output(
        &mut self,
        context: Resource<ContextResource>,
        name: String,
    ) -> wasmtime::Result<Result<Resource<TensorResource>, Resource<ErrorResource>>> {
        let registry = self.registry;
        let output = self.with_context("get-output", &context, |context| {
            registry.check_name(&name)?;
            calls::output(context, &name)
        })?;
        Ok(match output {
            Ok(output) => self.give_output("get-output", output)?,
            Err(error) => Err(error),
        })
    }

    fn drop(&mut self, context: Resource<ContextResource>) -> wasmtime::Result<()> {
        self.table.delete(context)?;
        Ok(())
    }
}
