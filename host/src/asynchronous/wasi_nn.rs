//! Those of `wasi:nn`, in both of its releases.

use super::{Get, load};
use crate::backend::Steps;
use crate::bindings::{lists, slots};
use crate::held::Held;
use crate::linker::GraphResource;
use crate::wasi_nn::{ContextResource, ErrorResource, Named, TensorResource};
use crate::{Error, SharedTensor, calls};
use wasmtime::StoreContextMut;
use wasmtime::component::{ComponentType, Lift, Linker, Resource};

type Outcome<V> = Result<V, Resource<ErrorResource>>;

pub(super) fn add_to_linker<T: Send + 'static>(
    linker: &mut Linker<T>,
    get: Get<T>,
) -> wasmtime::Result<()> {
    add_graph::<T, lists::wasi::nn::graph::GraphEncoding, lists::wasi::nn::graph::ExecutionTarget>(
        linker,
        "wasi:nn/graph@0.2.0-rc-2024-10-28",
        get,
    )?;
    add_graph::<T, slots::wasi::nn::graph::GraphEncoding, slots::wasi::nn::graph::ExecutionTarget>(
        linker,
        "wasi:nn/graph@0.2.0-rc-2024-08-19",
        get,
    )?;
    add_lists(linker, get)?;
    add_slots(linker, get)
}

fn add_graph<T, E, G>(linker: &mut Linker<T>, interface: &str, get: Get<T>) -> wasmtime::Result<()>
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
                let loaded: Outcome<Resource<GraphResource>> = view.wasi_result("load", graph)?;
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
                let loaded: Outcome<Resource<GraphResource>> =
                    view.wasi_result("load-by-name", graph)?;
                Ok((loaded,))
            })
        },
    )?;
    graph.func_wrap_async(
        "[method]graph.init-execution-context",
        move |mut store: StoreContextMut<'_, T>, (graph,): (Resource<GraphResource>,)| {
            Box::new(async move {
                let mut view = get(store.data_mut());
                let held = Held::open_async(view.registry, view.table.get(&graph)?).await;
                let context = held.map(|context| ContextResource { context });
                let opened: Outcome<Resource<ContextResource>> =
                    view.wasi_result("init-execution-context", context)?;
                Ok((opened,))
            })
        },
    )
}

fn add_lists<T: Send + 'static>(linker: &mut Linker<T>, get: Get<T>) -> wasmtime::Result<()> {
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
                        compute(held, inputs).await
                    }
                    Err(error) => Err(error),
                };
                let outputs: Outcome<Vec<Named>> = view.give_outputs(outputs)?;
                Ok((outputs,))
            })
        },
    )
}

async fn compute(
    held: &mut Held,
    inputs: Vec<(String, crate::Tensor)>,
) -> Result<Vec<(String, SharedTensor)>, Error> {
    let bytes = inputs.iter().map(|(_, tensor)| tensor.data.len()).sum();
    held.set_inputs(bytes, |context| calls::set_inputs(context, inputs))
        .await?;
    held.compute(Steps::All).await?;
    held.call(0, |context| calls::outputs(context)).await
}

fn add_slots<T: Send + 'static>(linker: &mut Linker<T>, get: Get<T>) -> wasmtime::Result<()> {
    type Context = Resource<ContextResource>;
    type Tensor = Resource<TensorResource>;
    let mut inference = linker.instance("wasi:nn/inference@0.2.0-rc-2024-08-19")?;
    inference.func_wrap_async(
        "[method]graph-execution-context.set-input",
        move |mut store: StoreContextMut<'_, T>,
              (context, name, tensor): (Context, String, Tensor)| {
            Box::new(async move {
                let mut view = get(store.data_mut());
                let input = view.take_input(name, tensor)?;
                let held = &mut view.table.get_mut(&context)?.context;
                let set = match input {
                    Ok((name, tensor)) => {
                        let bytes = tensor.data.len();
                        held.set_inputs(bytes, move |context| {
                            calls::set_input(context, &name, tensor)
                        })
                        .await
                    }
                    Err(error) => Err(error),
                };
                let set: Outcome<()> = view.wasi_outcome("set-input", set)?;
                Ok((set,))
            })
        },
    )?;
    inference.func_wrap_async(
        "[method]graph-execution-context.compute",
        move |mut store: StoreContextMut<'_, T>, (context,): (Context,)| {
            Box::new(async move {
                let mut view = get(store.data_mut());
                let held = &mut view.table.get_mut(&context)?.context;
                let computed = held.compute(Steps::All).await;
                let computed: Outcome<()> = view.wasi_outcome("compute", computed)?;
                Ok((computed,))
            })
        },
    )?;
    inference.func_wrap_async(
        "[method]graph-execution-context.get-output",
        move |mut store: StoreContextMut<'_, T>, (context, name): (Context, String)| {
            Box::new(async move {
                let mut view = get(store.data_mut());
                let output = match view.registry.check_name(&name) {
                    Ok(()) => {
                        let held = &mut view.table.get_mut(&context)?.context;
                        held.call(0, move |context| calls::output(context, &name))
                            .await
                    }
                    Err(error) => Err(error),
                };
                let output: Outcome<Tensor> = match output {
                    Ok(output) => view.give_output("get-output", output)?,
                    Err(error) => Err(view.wasi_error("get-output", error)?),
                };
                Ok((output,))
            })
        },
    )
}
