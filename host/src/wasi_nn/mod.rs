//! `wasi:nn` over the backends, in both of its releases.
//!
//! Here is what they have in common: tensors, errors, and how models are loaded. [`lists`] and [`slots`]
//! have what differs, how a model computes.

mod lists;
mod slots;

use crate::guest::{Kind, Permit};
use crate::held::Held;
use crate::{Error, NnView, Registry, SharedTensor, Tensor, TensorType};
use std::sync::Arc;
use wasmtime::StoreContextMut;
use wasmtime::component::{ComponentType, Lift, Linker, Lower, Resource, ResourceType};

/// A context of this package.
#[allow(unreachable_pub, reason = "the generated bindings name it")]
pub struct ContextResource {
    pub(crate) context: Held,
}

/// A tensor of this package.
#[allow(unreachable_pub, reason = "the generated bindings name it")]
pub struct TensorResource {
    /// Or why there is none: a constructor cannot fail, so whoever uses the tensor is told.
    content: Result<SharedTensor, Error>,
    _permit: Option<Permit>,
}

impl TensorResource {
    fn new(registry: &Registry, tensor: SharedTensor) -> Self {
        let guest = registry.guest();
        let bytes = tensor.data.len() + size_of_val(&tensor.dimensions[..]);
        let permit = guest
            .check("tensor", guest.limits.tensor, bytes)
            .and_then(|()| guest.hold(Kind::Tensors, bytes));
        match permit {
            Ok(permit) => Self {
                content: Ok(tensor),
                _permit: Some(permit),
            },
            Err(error) => Self {
                content: Err(error),
                _permit: None,
            },
        }
    }
}

/// A failure that a guest holds.
#[allow(unreachable_pub, reason = "the generated bindings name it")]
pub struct ErrorResource(Error);

pub(crate) fn add_to_linker<T: Send + 'static>(
    linker: &mut Linker<T>,
    get: fn(&mut T) -> NnView<'_>,
) -> wasmtime::Result<()> {
    lists::add_to_linker(linker, get)?;
    slots::add_to_linker(linker, get)
}

/// `wasi:nn/tensor`, by hand: `data` lowers shared bytes, which the generated trait would copy first.
/// `E` is the release's own type of `tensor-type`.
fn add_tensor<T, E>(
    linker: &mut Linker<T>,
    interface: &str,
    get: fn(&mut T) -> NnView<'_>,
) -> wasmtime::Result<()>
where
    T: 'static,
    E: ComponentType + Lift + Lower + Into<TensorType> + From<TensorType> + Send + Sync + 'static,
{
    let mut tensor = linker.instance(interface)?;
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
        move |mut store: StoreContextMut<'_, T>, (dimensions, ty, data): (Vec<u32>, E, Vec<u8>)| {
            let mut view = get(store.data_mut());
            let resource = view.give_tensor(SharedTensor {
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
            let content = view.table.get(&tensor)?.content.as_ref();
            Ok((content.map_or_else(|_| Vec::new(), |tensor| tensor.dimensions.clone()),))
        },
    )?;
    tensor.func_wrap(
        "[method]tensor.ty",
        move |mut store: StoreContextMut<'_, T>, (tensor,): (Resource<TensorResource>,)| {
            let view = get(store.data_mut());
            let content = view.table.get(&tensor)?.content.as_ref();
            Ok((E::from(content.map_or(TensorType::U8, |tensor| tensor.ty)),))
        },
    )?;
    tensor.func_wrap(
        "[method]tensor.data",
        move |mut store: StoreContextMut<'_, T>, (tensor,): (Resource<TensorResource>,)| {
            let view = get(store.data_mut());
            let content = view.table.get(&tensor)?.content.as_ref();
            Ok((content.map_or_else(|_| Arc::default(), |tensor| tensor.data.clone()),))
        },
    )
}

impl NnView<'_> {
    pub(crate) fn wasi_result<V: Send + 'static>(
        &mut self,
        operation: &str,
        result: Result<V, Error>,
    ) -> wasmtime::Result<Result<Resource<V>, Resource<ErrorResource>>> {
        Ok(match result {
            Ok(value) => Ok(self.table.push(value)?),
            Err(error) => Err(self.wasi_error(operation, error)?),
        })
    }

    /// The same result, whose failure is a resource of the guest.
    pub(crate) fn wasi_outcome<V>(
        &mut self,
        operation: &str,
        result: Result<V, Error>,
    ) -> wasmtime::Result<Result<V, Resource<ErrorResource>>> {
        Ok(match result {
            Ok(value) => Ok(value),
            Err(error) => Err(self.wasi_error(operation, error)?),
        })
    }

    pub(crate) fn wasi_error(
        &mut self,
        operation: &str,
        error: Error,
    ) -> wasmtime::Result<Resource<ErrorResource>> {
        tracing::debug!(operation, code = error.code.name(), "{}", error.message);
        Ok(self.table.push(ErrorResource(error))?)
    }
}

/// A tensor with its name, as a guest has it.
pub(crate) type Named = (String, Resource<TensorResource>);

impl NnView<'_> {
    /// A tensor that a guest has given away: it leaves the table whatever happens.
    pub(crate) fn take_input(
        &mut self,
        name: String,
        tensor: Resource<TensorResource>,
    ) -> wasmtime::Result<Result<(String, Tensor), Error>> {
        Ok(self
            .take_inputs(vec![(name, tensor)])?
            .map(|mut inputs| inputs.swap_remove(0)))
    }

    /// The tensors that a guest has given away: they leave the table whatever happens.
    pub(crate) fn take_inputs(
        &mut self,
        inputs: Vec<Named>,
    ) -> wasmtime::Result<Result<Vec<(String, Tensor)>, Error>> {
        let mut tensors = Vec::with_capacity(inputs.len());
        for (name, tensor) in inputs {
            tensors.push((name, self.table.delete(tensor)?));
        }
        let tensor = |(name, tensor): (String, TensorResource)| {
            self.registry.check_name(&name)?;
            Ok((name, tensor.content?.into_tensor()))
        };
        Ok(tensors.into_iter().map(tensor).collect())
    }

    /// A tensor that a guest makes; a limit that it exceeds comes up when it is used.
    fn give_tensor(&mut self, tensor: SharedTensor) -> wasmtime::Result<Resource<TensorResource>> {
        Ok(self
            .table
            .push(TensorResource::new(self.registry, tensor))?)
    }

    /// An output as a resource of the guest, or the limit that it exceeds.
    pub(crate) fn give_output(
        &mut self,
        operation: &str,
        output: SharedTensor,
    ) -> wasmtime::Result<Result<Resource<TensorResource>, Resource<ErrorResource>>> {
        let tensor = TensorResource::new(self.registry, output);
        if let Err(error) = &tensor.content {
            return Ok(Err(self.wasi_error(operation, error.clone())?));
        }
        Ok(Ok(self.table.push(tensor)?))
    }

    /// Outputs as resources of the guest.
    pub(crate) fn give_outputs(
        &mut self,
        outputs: Result<Vec<(String, SharedTensor)>, Error>,
    ) -> wasmtime::Result<Result<Vec<Named>, Resource<ErrorResource>>> {
        match outputs {
            Ok(outputs) => {
                let mut resources = Vec::with_capacity(outputs.len());
                for (name, output) in outputs {
                    match self.give_output("compute", output)? {
                        Ok(output) => resources.push((name, output)),
                        Err(error) => {
                            for (_, output) in resources {
                                self.table.delete(output)?;
                            }
                            return Ok(Err(error));
                        }
                    }
                }
                Ok(Ok(resources))
            }
            Err(error) => Ok(Err(self.wasi_error("compute", error)?)),
        }
    }
}

/// Implements what the releases share on the generated traits of one of them. The module that uses it
/// has `errors`, `graph` and `tensor` in scope.
macro_rules! shared_interfaces {
    () => {
        impl errors::Host for NnView<'_> {}

        impl errors::HostError for NnView<'_> {
            fn code(
                &mut self,
                error: Resource<ErrorResource>,
            ) -> wasmtime::Result<errors::ErrorCode> {
                Ok(self.table.get(&error)?.0.code.into())
            }

            fn data(&mut self, error: Resource<ErrorResource>) -> wasmtime::Result<String> {
                Ok(self.table.get(&error)?.0.message.clone())
            }

            fn drop(&mut self, error: Resource<ErrorResource>) -> wasmtime::Result<()> {
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
            ) -> wasmtime::Result<Result<Resource<GraphResource>, Resource<ErrorResource>>> {
                let (encoding, target) = (encoding.into(), target.into());
                let result = GraphResource::load(self.registry, |registry| {
                    registry.load(builders, encoding, target, None)
                });
                self.wasi_result("load", result)
            }

            fn load_by_name(
                &mut self,
                name: String,
            ) -> wasmtime::Result<Result<Resource<GraphResource>, Resource<ErrorResource>>> {
                let result = GraphResource::load(self.registry, |registry| {
                    registry.load_by_name(&name, None)
                });
                self.wasi_result("load-by-name", result)
            }
        }

        impl graph::HostGraph for NnView<'_> {
            fn init_execution_context(
                &mut self,
                graph: Resource<GraphResource>,
            ) -> wasmtime::Result<Result<Resource<ContextResource>, Resource<ErrorResource>>> {
                let held = Held::open(self.registry, self.table.get(&graph)?);
                let result = held.map(|context| ContextResource { context });
                self.wasi_result("init-execution-context", result)
            }

            fn drop(&mut self, graph: Resource<GraphResource>) -> wasmtime::Result<()> {
                self.table.delete(graph)?;
                Ok(())
            }
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

        impl From<ErrorCode> for errors::ErrorCode {
            fn from(code: ErrorCode) -> Self {
                match code.in_wasi_nn() {
                    ErrorCode::InvalidArgument => Self::InvalidArgument,
                    ErrorCode::InvalidEncoding => Self::InvalidEncoding,
                    ErrorCode::Timeout => Self::Timeout,
                    ErrorCode::RuntimeError => Self::RuntimeError,
                    ErrorCode::UnsupportedOperation => Self::UnsupportedOperation,
                    ErrorCode::TooLarge => Self::TooLarge,
                    ErrorCode::NotFound => Self::NotFound,
                    ErrorCode::Security => Self::Security,
                    _ => Self::Unknown,
                }
            }
        }
    };
}
use shared_interfaces;
