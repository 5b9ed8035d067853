//! `wasi:nn@0.2.0-rc-2024-10-28` over the backends.
//!
//! `compute` takes all inputs at once: what an earlier call set is forgotten. Names of inputs are the
//! backend's own or decimal indexes; outputs come in the order of their indexes.

use crate::backend::{Encoding, ExecutionContext, Target};
use crate::bindings::wasi::nn::{errors, graph, inference, tensor};
use crate::linker::{GraphResource, HasNn};
use crate::{Bytes, Error, ErrorCode, NnView, Tensor, TensorType};
use std::sync::Arc;
use wasmtime::StoreContextMut;
use wasmtime::component::{Linker, Resource, ResourceType};

const TENSOR: &str = "wasi:nn/tensor@0.2.0-rc-2024-10-28";

/// A tensor that a guest holds.
#[allow(unreachable_pub, reason = "the generated bindings name it")]
pub struct TensorResource {
    dimensions: Vec<u32>,
    ty: TensorType,
    data: Bytes,
}

/// A context of this package.
#[allow(unreachable_pub, reason = "the generated bindings name it")]
pub struct ComputeContext {
    context: Box<dyn ExecutionContext>,
}

/// A failure that a guest holds.
#[allow(unreachable_pub, reason = "the generated bindings name it")]
pub struct WasiError(Error);

pub(crate) fn add_to_linker<T: Send + 'static>(
    linker: &mut Linker<T>,
    get: fn(&mut T) -> NnView<'_>,
) -> wasmtime::Result<()> {
    errors::add_to_linker::<T, HasNn>(linker, get)?;
    graph::add_to_linker::<T, HasNn>(linker, get)?;
    inference::add_to_linker::<T, HasNn>(linker, get)?;
    add_tensor(linker, get)
}

/// `wasi:nn/tensor`, by hand: `data` lowers shared bytes, which the generated trait would copy first.
fn add_tensor<T: 'static>(
    linker: &mut Linker<T>,
    get: fn(&mut T) -> NnView<'_>,
) -> wasmtime::Result<()> {
    let mut tensor = linker.instance(TENSOR)?;
    tensor.resource(
        "tensor",
        ResourceType::host::<TensorResource>(),
        move |mut store, rep| {
            let resource = Resource::<TensorResource>::new_own(rep);
            get(store.data_mut()).table.delete(resource)?;
            Ok(())
        },
    )?;
    tensor.func_wrap(
        "[constructor]tensor",
        move |mut store: StoreContextMut<'_, T>,
              (dimensions, ty, data): (Vec<u32>, tensor::TensorType, Vec<u8>)| {
            let resource = get(store.data_mut()).table.push(TensorResource {
                dimensions,
                ty: ty.into(),
                data: Arc::new(data),
            })?;
            Ok((resource,))
        },
    )?;
    tensor.func_wrap(
        "[method]tensor.dimensions",
        move |mut store: StoreContextMut<'_, T>, (tensor,): (Resource<TensorResource>,)| {
            let view = get(store.data_mut());
            Ok((view.table.get(&tensor)?.dimensions.clone(),))
        },
    )?;
    tensor.func_wrap(
        "[method]tensor.ty",
        move |mut store: StoreContextMut<'_, T>, (tensor,): (Resource<TensorResource>,)| {
            let view = get(store.data_mut());
            Ok((tensor::TensorType::from(view.table.get(&tensor)?.ty),))
        },
    )?;
    tensor.func_wrap(
        "[method]tensor.data",
        move |mut store: StoreContextMut<'_, T>, (tensor,): (Resource<TensorResource>,)| {
            let view = get(store.data_mut());
            Ok((view.table.get(&tensor)?.data.clone(),))
        },
    )
}

impl NnView<'_> {
    fn wasi_result<V: Send + 'static>(
        &mut self,
        operation: &str,
        result: Result<V, Error>,
    ) -> wasmtime::Result<Result<Resource<V>, Resource<WasiError>>> {
        Ok(match result {
            Ok(value) => Ok(self.table.push(value)?),
            Err(error) => Err(self.wasi_error(operation, error)?),
        })
    }

    fn wasi_error(
        &mut self,
        operation: &str,
        error: Error,
    ) -> wasmtime::Result<Resource<WasiError>> {
        tracing::debug!(operation, code = error.code.name(), "{}", error.message);
        Ok(self.table.push(WasiError(error))?)
    }
}

impl errors::Host for NnView<'_> {}

impl errors::HostError for NnView<'_> {
    fn code(&mut self, error: Resource<WasiError>) -> wasmtime::Result<errors::ErrorCode> {
        Ok(self.table.get(&error)?.0.code.into())
    }

    fn data(&mut self, error: Resource<WasiError>) -> wasmtime::Result<String> {
        Ok(self.table.get(&error)?.0.message.clone())
    }

    fn drop(&mut self, error: Resource<WasiError>) -> wasmtime::Result<()> {
        self.table.delete(error)?;
        Ok(())
    }
}

impl graph::Host for NnView<'_> {
    fn load(
        &mut self,
        builders: Vec<Vec<u8>>,
        encoding: graph::GraphEncoding,
        target: graph::ExecutionTarget,
    ) -> wasmtime::Result<Result<Resource<GraphResource>, Resource<WasiError>>> {
        let result = self
            .registry
            .load(builders, encoding.into(), target.into(), None)
            .map(|graph| GraphResource { graph });
        self.wasi_result("load", result)
    }

    fn load_by_name(
        &mut self,
        name: String,
    ) -> wasmtime::Result<Result<Resource<GraphResource>, Resource<WasiError>>> {
        let result = self
            .registry
            .load_by_name(&name, None)
            .map(|graph| GraphResource { graph });
        self.wasi_result("load-by-name", result)
    }
}

impl graph::HostGraph for NnView<'_> {
    fn init_execution_context(
        &mut self,
        graph: Resource<GraphResource>,
    ) -> wasmtime::Result<Result<Resource<ComputeContext>, Resource<WasiError>>> {
        let graph = self.table.get(&graph)?.graph.clone();
        let result = graph
            .init_execution_context()
            .map(|context| ComputeContext { context });
        self.wasi_result("init-execution-context", result)
    }

    fn drop(&mut self, graph: Resource<GraphResource>) -> wasmtime::Result<()> {
        self.table.delete(graph)?;
        Ok(())
    }
}

impl inference::Host for NnView<'_> {}

type NamedResource = (String, Resource<TensorResource>);

impl inference::HostGraphExecutionContext for NnView<'_> {
    fn compute(
        &mut self,
        context: Resource<ComputeContext>,
        inputs: Vec<NamedResource>,
    ) -> wasmtime::Result<Result<Vec<NamedResource>, Resource<WasiError>>> {
        // The guest has given the tensors away: they leave the table whatever happens.
        let mut tensors = Vec::with_capacity(inputs.len());
        for (name, tensor) in inputs {
            let TensorResource {
                dimensions,
                ty,
                data,
            } = self.table.delete(tensor)?;
            let data = Arc::unwrap_or_clone(data);
            tensors.push((
                name,
                Tensor {
                    dimensions,
                    ty,
                    data,
                },
            ));
        }
        let context = self.table.get_mut(&context)?.context.as_mut();
        match compute(context, tensors) {
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

    fn drop(&mut self, context: Resource<ComputeContext>) -> wasmtime::Result<()> {
        self.table.delete(context)?;
        Ok(())
    }
}

fn compute(
    context: &mut dyn ExecutionContext,
    inputs: Vec<(String, Tensor)>,
) -> Result<Vec<(String, TensorResource)>, Error> {
    context.clear_inputs();
    for (name, tensor) in inputs {
        context.set_input_by_name(&name, tensor)?;
    }
    context.compute()?;
    (0..context.outputs())
        .map(|index| {
            let description = context.describe_output(index)?;
            let tensor = TensorResource {
                dimensions: description.dimensions,
                ty: description.ty,
                data: context.output(index)?,
            };
            Ok((context.output_name(index), tensor))
        })
        .collect()
}

impl From<graph::GraphEncoding> for Encoding {
    fn from(encoding: graph::GraphEncoding) -> Self {
        match encoding {
            graph::GraphEncoding::Openvino => Self::OpenVino,
            graph::GraphEncoding::Onnx => Self::Onnx,
            graph::GraphEncoding::Tensorflow => Self::TensorFlow,
            graph::GraphEncoding::Pytorch => Self::PyTorch,
            graph::GraphEncoding::Tensorflowlite => Self::TensorFlowLite,
            graph::GraphEncoding::Ggml => Self::Ggml,
            graph::GraphEncoding::Autodetect => Self::Autodetect,
        }
    }
}

impl From<graph::ExecutionTarget> for Target {
    fn from(target: graph::ExecutionTarget) -> Self {
        match target {
            graph::ExecutionTarget::Cpu => Self::Cpu,
            graph::ExecutionTarget::Gpu => Self::Gpu,
            graph::ExecutionTarget::Tpu => Self::Tpu,
        }
    }
}

impl From<tensor::TensorType> for TensorType {
    fn from(ty: tensor::TensorType) -> Self {
        match ty {
            tensor::TensorType::Fp16 => Self::F16,
            tensor::TensorType::Fp32 => Self::F32,
            tensor::TensorType::Fp64 => Self::F64,
            tensor::TensorType::Bf16 => Self::Bf16,
            tensor::TensorType::U8 => Self::U8,
            tensor::TensorType::I32 => Self::I32,
            tensor::TensorType::I64 => Self::I64,
        }
    }
}

impl From<TensorType> for tensor::TensorType {
    fn from(ty: TensorType) -> Self {
        match ty {
            TensorType::F16 => Self::Fp16,
            TensorType::F32 => Self::Fp32,
            TensorType::F64 => Self::Fp64,
            TensorType::Bf16 => Self::Bf16,
            TensorType::U8 => Self::U8,
            TensorType::I32 => Self::I32,
            TensorType::I64 => Self::I64,
        }
    }
}

/// The nearest code: this package knows nothing of language models or of limits that pass.
impl From<ErrorCode> for errors::ErrorCode {
    fn from(code: ErrorCode) -> Self {
        match code {
            ErrorCode::InvalidArgument => Self::InvalidArgument,
            ErrorCode::InvalidEncoding => Self::InvalidEncoding,
            ErrorCode::Timeout => Self::Timeout,
            ErrorCode::RuntimeError | ErrorCode::Busy | ErrorCode::EndOfSequence => {
                Self::RuntimeError
            }
            ErrorCode::UnsupportedOperation => Self::UnsupportedOperation,
            ErrorCode::TooLarge | ErrorCode::ContextFull | ErrorCode::PromptTooLong => {
                Self::TooLarge
            }
            ErrorCode::NotFound | ErrorCode::ModelNotFound => Self::NotFound,
            ErrorCode::Security => Self::Security,
            ErrorCode::Unknown => Self::Unknown,
        }
    }
}
