//! `llm-wasi:nn@0.1.0` over the backends.
//!
//! `inference` is defined by hand. `set-input` copies from the guest's memory straight into the
//! allocation of the input that it replaces, and the `read` functions lower the backend's own bytes:
//! one copy each way.

use crate::backend::ExecutionContext;
use crate::bindings::lists::llm_wasi::nn::{errors, graph, inference, language};
use crate::bindings::lists::wasi::nn::{graph as wasi_graph, tensor};
use crate::held::Held;
use crate::linker::{GraphResource, HasNn};
use crate::{Bytes, Error, ErrorCode, NnView, Phase, Tensor, calls};
use wasmtime::StoreContextMut;
use wasmtime::component::{Linker, Resource, ResourceType, WasmList};

pub(crate) const INFERENCE: &str = "llm-wasi:nn/inference@0.1.0";

/// A context of this package.
#[allow(unreachable_pub, reason = "the generated bindings name it")]
pub struct Context {
    pub(crate) context: Held,
}

/// A failure that a guest holds.
#[allow(unreachable_pub, reason = "the generated bindings name it")]
pub struct ExtensionError(Error);

pub(crate) fn add_to_linker<T: Send + 'static>(
    linker: &mut Linker<T>,
    get: fn(&mut T) -> NnView<'_>,
) -> wasmtime::Result<()> {
    errors::add_to_linker::<T, HasNn>(linker, get)?;
    graph::add_to_linker::<T, HasNn>(linker, get)?;
    language::add_to_linker::<T, HasNn>(linker, get)?;
    add_inference(linker, get)
}

type Borrowed = Resource<Context>;

fn add_inference<T: 'static>(
    linker: &mut Linker<T>,
    get: fn(&mut T) -> NnView<'_>,
) -> wasmtime::Result<()> {
    let mut inference = linker.instance(INFERENCE)?;
    inference.resource(
        "execution-context",
        ResourceType::host::<Context>(),
        move |mut store, rep| {
            let resource = Resource::<Context>::new_own(rep);
            get(store.data_mut()).table.delete(resource)?;
            Ok(())
        },
    )?;
    inference.func_wrap(
        "[static]execution-context.open",
        move |mut store: StoreContextMut<'_, T>, (graph,): (Resource<GraphResource>,)| {
            let mut view = get(store.data_mut());
            let held = Held::open(view.registry, view.table.get(&graph)?);
            let result = match held {
                Ok(context) => Ok(view.table.push(Context { context })?),
                Err(error) => Err(view.extension_error("open", error)?),
            };
            Ok((result,))
        },
    )?;
    inference.func_wrap(
        "[method]execution-context.set-input",
        move |mut store: StoreContextMut<'_, T>,
              (context, index, dimensions, ty, data): (
            Borrowed,
            u32,
            WasmList<u32>,
            tensor::TensorType,
            WasmList<u8>,
        )| {
            let _time = get(store.data_mut()).registry.metrics().time(Phase::Copy);
            let input = fill_input(&mut store, get, &context, index, &dimensions, ty, &data)?;
            let mut view = get(store.data_mut());
            let result = view.run("set-input", &context, |context| {
                context.set_input(index, input?)
            })?;
            Ok((result,))
        },
    )?;
    inference.func_wrap(
        "[method]execution-context.compute",
        move |mut store: StoreContextMut<'_, T>, (context,): (Borrowed,)| {
            let mut view = get(store.data_mut());
            Ok((view.run("compute", &context, |context| context.compute())?,))
        },
    )?;
    inference.func_wrap(
        "[method]execution-context.compute-step",
        move |mut store: StoreContextMut<'_, T>, (context,): (Borrowed,)| {
            let mut view = get(store.data_mut());
            Ok((view.run("compute-step", &context, |context| context.compute_step())?,))
        },
    )?;
    inference.func_wrap(
        "[method]execution-context.finish",
        move |mut store: StoreContextMut<'_, T>, (context,): (Borrowed,)| {
            let mut view = get(store.data_mut());
            Ok((view.run("finish", &context, |context| context.finish())?,))
        },
    )?;
    inference.func_wrap(
        "[method]execution-context.describe-output",
        move |mut store: StoreContextMut<'_, T>, (context, index): (Borrowed, u32)| {
            let mut view = get(store.data_mut());
            let result = view.run("describe-output", &context, |context| {
                describe_output(context, index)
            })?;
            Ok((result,))
        },
    )?;
    inference.func_wrap(
        "[method]execution-context.read-output",
        move |mut store: StoreContextMut<'_, T>, (context, index, max): (Borrowed, u32, u32)| {
            let mut view = get(store.data_mut());
            let held = &view.table.get(&context)?.context;
            let output = held.get().and_then(|context| context.output(index));
            Ok((view.read("read-output", output, max)?,))
        },
    )?;
    inference.func_wrap(
        "[method]execution-context.read-step-output",
        move |mut store: StoreContextMut<'_, T>, (context, index, max): (Borrowed, u32, u32)| {
            let mut view = get(store.data_mut());
            let held = &view.table.get(&context)?.context;
            let output = held.get().and_then(|context| context.step_output(index));
            Ok((view.read("read-step-output", output, max)?,))
        },
    )
}

/// Copies the guest's list into the allocation of the input that it replaces.
pub(crate) fn fill_input<T: 'static>(
    store: &mut StoreContextMut<'_, T>,
    get: fn(&mut T) -> NnView<'_>,
    context: &Borrowed,
    index: u32,
    dimensions: &WasmList<u32>,
    ty: tensor::TensorType,
    data: &WasmList<u8>,
) -> wasmtime::Result<Result<Tensor, Error>> {
    // The guest's memory and the store's data cannot be borrowed together, so the old input is taken
    // out, filled, and put back.
    let view = get(store.data_mut());
    let guest = view.registry.guest();
    if let Err(error) = guest.check("tensor", guest.limits.tensor, data.len()) {
        return Ok(Err(error));
    }
    let held = &mut view.table.get_mut(context)?.context;
    let old = held
        .get_mut()
        .ok()
        .and_then(|context| context.take_input(index));
    let sizes = dimensions.as_le_slice(&*store).iter();
    Ok(calls::fill_input(
        old,
        index,
        sizes.map(|size| u32::from_le(*size)),
        ty.into(),
        data.as_le_slice(&*store),
    ))
}

/// `describe-output`, in the types of the bindings.
pub(crate) fn describe_output(
    context: &mut dyn ExecutionContext,
    index: u32,
) -> Result<inference::OutputDescription, Error> {
    let description = context.describe_output(index)?;
    Ok(inference::OutputDescription {
        dimensions: description.dimensions,
        ty: description.ty.into(),
        size: description.size,
    })
}

impl NnView<'_> {
    pub(crate) fn extension_error(
        &mut self,
        operation: &str,
        error: Error,
    ) -> wasmtime::Result<Resource<ExtensionError>> {
        tracing::debug!(operation, code = error.code.name(), "{}", error.message);
        Ok(self.table.push(ExtensionError(error))?)
    }

    /// The same result, whose failure is a resource of the guest.
    pub(crate) fn extension_result<V>(
        &mut self,
        operation: &str,
        result: Result<V, Error>,
    ) -> wasmtime::Result<Result<V, Resource<ExtensionError>>> {
        Ok(match result {
            Ok(value) => Ok(value),
            Err(error) => Err(self.extension_error(operation, error)?),
        })
    }

    pub(crate) fn extension_graph(
        &mut self,
        operation: &str,
        result: Result<GraphResource, Error>,
    ) -> wasmtime::Result<Result<Resource<GraphResource>, Resource<ExtensionError>>> {
        Ok(match result {
            Ok(graph) => Ok(self.table.push(graph)?),
            Err(error) => Err(self.extension_error(operation, error)?),
        })
    }

    /// Calls `function` with the context and turns its failure into a resource.
    pub(crate) fn run<V>(
        &mut self,
        operation: &str,
        context: &Borrowed,
        function: impl FnOnce(&mut dyn ExecutionContext) -> Result<V, Error>,
    ) -> wasmtime::Result<Result<V, Resource<ExtensionError>>> {
        let held = &mut self.table.get_mut(context)?.context;
        let result = match held.get_mut() {
            Ok(context) => function(context),
            Err(error) => Err(error),
        };
        self.extension_result(operation, result)
    }

    pub(crate) fn read(
        &mut self,
        operation: &str,
        output: Result<Bytes, Error>,
        max: u32,
    ) -> wasmtime::Result<Result<Bytes, inference::ReadError>> {
        Ok(match calls::read(output, max) {
            Ok(bytes) => Ok(bytes),
            Err(calls::ReadError::TooSmall(size)) => {
                tracing::debug!(operation, size, max, "the guest's buffer is too small");
                Err(inference::ReadError::TooSmall(size))
            }
            Err(calls::ReadError::Failed(error)) => Err(inference::ReadError::Failed(
                self.extension_error(operation, error)?,
            )),
        })
    }
}

impl errors::Host for NnView<'_> {}

impl errors::HostError for NnView<'_> {
    fn code(&mut self, error: Resource<ExtensionError>) -> wasmtime::Result<errors::ErrorCode> {
        Ok(self.table.get(&error)?.0.code.into())
    }

    fn message(&mut self, error: Resource<ExtensionError>) -> wasmtime::Result<String> {
        Ok(self.table.get(&error)?.0.message.clone())
    }

    fn drop(&mut self, error: Resource<ExtensionError>) -> wasmtime::Result<()> {
        self.table.delete(error)?;
        Ok(())
    }
}

impl graph::Host for NnView<'_> {
    fn load(
        &mut self,
        builders: Vec<Vec<u8>>,
        encoding: wasi_graph::GraphEncoding,
        target: wasi_graph::ExecutionTarget,
        configuration: Option<String>,
    ) -> wasmtime::Result<Result<Resource<GraphResource>, Resource<ExtensionError>>> {
        let (encoding, target) = (encoding.into(), target.into());
        let result = GraphResource::load(self.registry, |registry| {
            registry.load(builders, encoding, target, configuration.as_deref())
        });
        self.extension_graph("load", result)
    }

    fn load_by_name(
        &mut self,
        name: String,
        configuration: Option<String>,
    ) -> wasmtime::Result<Result<Resource<GraphResource>, Resource<ExtensionError>>> {
        let result = GraphResource::load(self.registry, |registry| {
            registry.load_by_name(&name, configuration.as_deref())
        });
        self.extension_graph("load-by-name", result)
    }
}

impl From<ErrorCode> for errors::ErrorCode {
    fn from(code: ErrorCode) -> Self {
        match code {
            ErrorCode::InvalidArgument => Self::InvalidArgument,
            ErrorCode::InvalidEncoding => Self::InvalidEncoding,
            ErrorCode::Busy => Self::Busy,
            ErrorCode::Timeout => Self::Timeout,
            ErrorCode::RuntimeError => Self::RuntimeError,
            ErrorCode::UnsupportedOperation => Self::UnsupportedOperation,
            ErrorCode::TooLarge => Self::TooLarge,
            ErrorCode::NotFound => Self::NotFound,
            ErrorCode::Security => Self::Security,
            ErrorCode::Unknown => Self::Unknown,
            ErrorCode::EndOfSequence => Self::EndOfSequence,
            ErrorCode::ContextFull => Self::ContextFull,
            ErrorCode::PromptTooLong => Self::PromptTooLong,
            ErrorCode::ModelNotFound => Self::ModelNotFound,
        }
    }
}
