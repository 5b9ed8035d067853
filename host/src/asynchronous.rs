//! The functions that take long, for stores that run asynchronously: while a model is loaded or computes, other
//! guests run on the same thread. A guest that is dropped meanwhile ends within a step.

use crate::backend::{Graph, Steps};
use crate::bindings::{lists, slots};
use crate::extension::{self, Context, ExtensionError};
use crate::held::{Held, blocking};
use crate::linker::GraphResource;
use crate::wasi_nn::{ContextResource, ErrorResource, Named};
use crate::{Error, NnView, Registry, calls};
use std::sync::Arc;
use wasmtime::StoreContextMut;
use wasmtime::component::{ComponentType, Lift, Linker, Resource};

type Get<T> = fn(&mut T) -> NnView<'_>;
type Loaded = Result<Resource<GraphResource>, Resource<ErrorResource>>;
type Extended<V> = Result<V, Resource<ExtensionError>>;

/// Defines these functions in place of those that block.
pub(crate) fn add_to_linker<T: Send + 'static>(
    linker: &mut Linker<T>,
    get: Get<T>,
) -> wasmtime::Result<()> {
    linker.allow_shadowing(true);
    add_wasi_graph::<
        T,
        lists::wasi::nn::graph::GraphEncoding,
        lists::wasi::nn::graph::ExecutionTarget,
    >(linker, "wasi:nn/graph@0.2.0-rc-2024-10-28", get)?;
    add_wasi_graph::<
        T,
        slots::wasi::nn::graph::GraphEncoding,
        slots::wasi::nn::graph::ExecutionTarget,
    >(linker, "wasi:nn/graph@0.2.0-rc-2024-08-19", get)?;
    add_compute_of_lists(linker, get)?;
    add_compute_of_slots(linker, get)?;
    add_graph(linker, get)?;
    add_steps(linker, get)?;
    linker.allow_shadowing(false);
    Ok(())
}

/// Loads on a thread where that may block.
async fn load(
    registry: &Registry,
    load: impl FnOnce(&Registry) -> Result<Arc<dyn Graph>, Error> + Send + 'static,
) -> Result<GraphResource, Error> {
    let registry = registry.clone();
    blocking(move || GraphResource::load(&registry, load)).await
}

fn add_wasi_graph<T, E, G>(
    linker: &mut Linker<T>,
    interface: &str,
    get: Get<T>,
) -> wasmtime::Result<()>
where
    T: Send + 'static,
    E: ComponentType + Lift + Into<crate::backend::Encoding> + Send + 'static,
    G: ComponentType + Lift + Into<crate::backend::Target> + Send + 'static,
{
    let mut graph = linker.instance(interface)?;
    graph.func_wrap_async(
        "load",
        move |mut store: StoreContextMut<'_, T>,
              (builders, encoding, target): (Vec<Vec<u8>>, E, G)| {
            Box::new(async move {
                let mut view = get(store.data_mut());
                let (encoding, target) = (encoding.into(), target.into());
                let graph = load(view.registry, move |registry| {
                    registry.load(builders, encoding, target, None)
                })
                .await;
                let loaded: Loaded = view.wasi_result("load", graph)?;
                Ok((loaded,))
            })
        },
    )?;
    graph.func_wrap_async(
        "load-by-name",
        move |mut store: StoreContextMut<'_, T>, (name,): (String,)| {
            Box::new(async move {
                let mut view = get(store.data_mut());
                let graph = load(view.registry, move |registry| {
                    registry.load_by_name(&name, None)
                })
                .await;
                let loaded: Loaded = view.wasi_result("load-by-name", graph)?;
                Ok((loaded,))
            })
        },
    )
}

fn add_compute_of_lists<T: Send + 'static>(
    linker: &mut Linker<T>,
    get: Get<T>,
) -> wasmtime::Result<()> {
    let mut inference = linker.instance("wasi:nn/inference@0.2.0-rc-2024-10-28")?;
    inference.func_wrap_async(
        "[method]graph-execution-context.compute",
        move |mut store: StoreContextMut<'_, T>,
              (context, inputs): (Resource<ContextResource>, Vec<Named>)| {
            Box::new(async move {
                let mut view = get(store.data_mut());
                let outputs = match view.take_inputs(inputs)? {
                    Ok(inputs) => {
                        let held = &mut view.table.get_mut(&context)?.context;
                        compute_lists(held, inputs).await
                    }
                    Err(error) => Err(error),
                };
                let outputs: Result<Vec<Named>, Resource<ErrorResource>> =
                    view.give_outputs(outputs)?;
                Ok((outputs,))
            })
        },
    )
}

async fn compute_lists(
    held: &mut Held,
    inputs: Vec<(String, crate::Tensor)>,
) -> Result<Vec<(String, crate::SharedTensor)>, Error> {
    calls::set_inputs(held.get_mut()?, inputs)?;
    held.compute(Steps::All).await?;
    calls::outputs(held.get()?)
}

fn add_compute_of_slots<T: Send + 'static>(
    linker: &mut Linker<T>,
    get: Get<T>,
) -> wasmtime::Result<()> {
    let mut inference = linker.instance("wasi:nn/inference@0.2.0-rc-2024-08-19")?;
    inference.func_wrap_async(
        "[method]graph-execution-context.compute",
        move |mut store: StoreContextMut<'_, T>, (context,): (Resource<ContextResource>,)| {
            Box::new(async move {
                let mut view = get(store.data_mut());
                let held = &mut view.table.get_mut(&context)?.context;
                let result: Result<(), Resource<ErrorResource>> =
                    match held.compute(Steps::All).await {
                        Ok(()) => Ok(()),
                        Err(error) => Err(view.wasi_error("compute", error)?),
                    };
                Ok((result,))
            })
        },
    )
}

fn add_graph<T: Send + 'static>(linker: &mut Linker<T>, get: Get<T>) -> wasmtime::Result<()> {
    use lists::wasi::nn::graph::{ExecutionTarget, GraphEncoding};
    let mut graph = linker.instance("llm-wasi:nn/graph@0.1.0")?;
    graph.func_wrap_async(
        "load",
        move |mut store: StoreContextMut<'_, T>,
              (builders, encoding, target, configuration): (
            Vec<Vec<u8>>,
            GraphEncoding,
            ExecutionTarget,
            Option<String>,
        )| {
            Box::new(async move {
                let mut view = get(store.data_mut());
                let (encoding, target) = (encoding.into(), target.into());
                let graph = load(view.registry, move |registry| {
                    registry.load(builders, encoding, target, configuration.as_deref())
                })
                .await;
                let loaded: Extended<_> = view.extension_graph("load", graph)?;
                Ok((loaded,))
            })
        },
    )?;
    graph.func_wrap_async(
        "load-by-name",
        move |mut store: StoreContextMut<'_, T>,
              (name, configuration): (String, Option<String>)| {
            Box::new(async move {
                let mut view = get(store.data_mut());
                let graph = load(view.registry, move |registry| {
                    registry.load_by_name(&name, configuration.as_deref())
                })
                .await;
                let loaded: Extended<_> = view.extension_graph("load-by-name", graph)?;
                Ok((loaded,))
            })
        },
    )
}

fn add_steps<T: Send + 'static>(linker: &mut Linker<T>, get: Get<T>) -> wasmtime::Result<()> {
    let mut inference = linker.instance(extension::INFERENCE)?;
    for (function, operation, steps) in [
        ("[method]execution-context.compute", "compute", Steps::All),
        (
            "[method]execution-context.compute-step",
            "compute-step",
            Steps::One,
        ),
    ] {
        inference.func_wrap_async(
            function,
            move |mut store: StoreContextMut<'_, T>, (context,): (Resource<Context>,)| {
                Box::new(async move {
                    let mut view = get(store.data_mut());
                    let held = &mut view.table.get_mut(&context)?.context;
                    let result: Extended<()> = match held.compute(steps).await {
                        Ok(()) => Ok(()),
                        Err(error) => Err(view.extension_error(operation, error)?),
                    };
                    Ok((result,))
                })
            },
        )?;
    }
    let mut language = linker.instance("llm-wasi:nn/language@0.1.0")?;
    language.func_wrap_async(
        "context-length",
        move |mut store: StoreContextMut<'_, T>, (context,): (Resource<Context>,)| {
            Box::new(async move {
                let mut view = get(store.data_mut());
                let held = &mut view.table.get_mut(&context)?.context;
                // It makes the context, if there is none yet.
                let length =
                    held.elsewhere(|context| calls::language_context(context)?.context_length());
                let result: Extended<u32> = match length.await {
                    Ok(length) => Ok(length),
                    Err(error) => Err(view.extension_error("context-length", error)?),
                };
                Ok((result,))
            })
        },
    )
}
