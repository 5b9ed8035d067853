//! Those of `llm-wasi:nn`.

use super::{Get, load};
use crate::backend::{ExecutionContext, Graph, LanguageModel, Steps};
use crate::bindings::lists::llm_wasi::nn::inference::ReadError;
use crate::bindings::lists::wasi::nn::{graph::ExecutionTarget, graph::GraphEncoding, tensor};
use crate::extension::{self, Context, ExtensionError};
use crate::held::{self, Held};
use crate::linker::GraphResource;
use crate::{Bytes, Error, Phase, calls, language};
use std::sync::Arc;
use wasmtime::StoreContextMut;
use wasmtime::component::{
    ComponentNamedList, ComponentType, Lift, Linker, LinkerInstance, Lower, Resource, WasmList,
};

type Outcome<V> = Result<V, Resource<ExtensionError>>;

pub(super) fn add_to_linker<T: Send + 'static>(
    linker: &mut Linker<T>,
    get: Get<T>,
) -> wasmtime::Result<()> {
    add_graph(&mut linker.instance("llm-wasi:nn/graph@0.1.0")?, get)?;
    let mut inference = linker.instance(extension::INFERENCE)?;
    add_open(&mut inference, get)?;
    add_set_input(&mut inference, get)?;
    add_compute(&mut inference, get)?;
    add_outputs(&mut inference, get)?;
    let mut language = linker.instance("llm-wasi:nn/language@0.1.0")?;
    add_language_model(&mut language, get)?;
    add_language_context(&mut language, get)
}

fn add_graph<T: Send + 'static>(
    graph: &mut LinkerInstance<'_, T>,
    get: Get<T>,
) -> wasmtime::Result<()> {
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
                let loaded: Outcome<_> = view.extension_graph("load", graph)?;
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
                let loaded: Outcome<_> = view.extension_graph("load-by-name", graph)?;
                Ok((loaded,))
            })
        },
    )
}

fn add_open<T: Send + 'static>(
    inference: &mut LinkerInstance<'_, T>,
    get: Get<T>,
) -> wasmtime::Result<()> {
    inference.func_wrap_async(
        "[static]execution-context.open",
        move |mut store: StoreContextMut<'_, T>, (graph,): (Resource<GraphResource>,)| {
            Box::new(async move {
                let mut view = get(store.data_mut());
                let held = Held::open_async(view.registry, view.table.get(&graph)?).await;
                let opened: Outcome<Resource<Context>> = match held {
                    Ok(context) => Ok(view.table.push(Context { context })?),
                    Err(error) => Err(view.extension_error("open", error)?),
                };
                Ok((opened,))
            })
        },
    )
}

fn add_set_input<T: Send + 'static>(
    inference: &mut LinkerInstance<'_, T>,
    get: Get<T>,
) -> wasmtime::Result<()> {
    inference.func_wrap_async(
        "[method]execution-context.set-input",
        move |mut store: StoreContextMut<'_, T>,
              (context, index, dimensions, ty, data): (
            Resource<Context>,
            u32,
            WasmList<u32>,
            tensor::TensorType,
            WasmList<u8>,
        )| {
            Box::new(async move {
                let _time = get(store.data_mut()).registry.metrics().time(Phase::Copy);
                let input = extension::fill_input(
                    &mut store,
                    get,
                    &context,
                    index,
                    &dimensions,
                    ty,
                    &data,
                )?;
                let mut view = get(store.data_mut());
                let held = &mut view.table.get_mut(&context)?.context;
                let set = match input {
                    Ok(input) => {
                        held.set_inputs(input.data.len(), move |context| {
                            context.set_input(index, input)
                        })
                        .await
                    }
                    Err(error) => Err(error),
                };
                let set: Outcome<()> = view.extension_result("set-input", set)?;
                Ok((set,))
            })
        },
    )
}

fn add_compute<T: Send + 'static>(
    inference: &mut LinkerInstance<'_, T>,
    get: Get<T>,
) -> wasmtime::Result<()> {
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
                    let computed = held.compute(steps).await;
                    let computed: Outcome<()> = view.extension_result(operation, computed)?;
                    Ok((computed,))
                })
            },
        )?;
    }
    add_call(
        inference,
        get,
        "[method]execution-context.finish",
        "finish",
        |(context,): (Resource<Context>,)| Call::new(context, 0, |context| context.finish()),
    )
}

fn add_outputs<T: Send + 'static>(
    inference: &mut LinkerInstance<'_, T>,
    get: Get<T>,
) -> wasmtime::Result<()> {
    add_call(
        inference,
        get,
        "[method]execution-context.describe-output",
        "describe-output",
        |(context, index): (Resource<Context>, u32)| {
            Call::new(context, 0, move |context| {
                extension::describe_output(context, index)
            })
        },
    )?;
    type Read = fn(&dyn ExecutionContext, u32) -> Result<Bytes, Error>;
    let whole: Read = |context, index| context.output(index);
    let step: Read = |context, index| context.step_output(index);
    for (function, operation, read) in [
        (
            "[method]execution-context.read-output",
            "read-output",
            whole,
        ),
        (
            "[method]execution-context.read-step-output",
            "read-step-output",
            step,
        ),
    ] {
        inference.func_wrap_async(
            function,
            move |mut store: StoreContextMut<'_, T>,
                  (context, index, max): (Resource<Context>, u32, u32)| {
                Box::new(async move {
                    let mut view = get(store.data_mut());
                    let held = &mut view.table.get_mut(&context)?.context;
                    let output = held.call(0, move |context| read(context, index)).await;
                    let output: Result<Bytes, ReadError> = view.read(operation, output, max)?;
                    Ok((output,))
                })
            },
        )?;
    }
    Ok(())
}

fn add_language_model<T: Send + 'static>(
    language: &mut LinkerInstance<'_, T>,
    get: Get<T>,
) -> wasmtime::Result<()> {
    language.func_wrap_async(
        "tokenize",
        move |mut store: StoreContextMut<'_, T>,
              (graph, text, special): (Resource<GraphResource>, String, bool)| {
            Box::new(async move {
                let mut view = get(store.data_mut());
                let graph = view.table.get(&graph)?.graph.clone();
                let tokens = of_model(graph, text.len(), move |model| {
                    model.tokenize(&text, special)
                });
                let tokens = tokens.await;
                let tokens: Outcome<Vec<u32>> = view.extension_result("tokenize", tokens)?;
                Ok((tokens,))
            })
        },
    )?;
    language.func_wrap_async(
        "detokenize",
        move |mut store: StoreContextMut<'_, T>,
              (graph, tokens): (Resource<GraphResource>, Vec<u32>)| {
            Box::new(async move {
                let mut view = get(store.data_mut());
                let graph = view.table.get(&graph)?.graph.clone();
                let bytes = size_of_val(&tokens[..]);
                let text = of_model(graph, bytes, move |model| model.detokenize(&tokens));
                let text = text.await;
                let text: Outcome<Vec<u8>> = view.extension_result("detokenize", text)?;
                Ok((text,))
            })
        },
    )
}

/// Asks a language model that has to read so many bytes for it.
async fn of_model<V: Send + 'static>(
    graph: Arc<dyn Graph>,
    bytes: usize,
    function: impl FnOnce(&dyn LanguageModel) -> Result<V, Error> + Send + 'static,
) -> Result<V, Error> {
    let is_slow = graph.may_block() || bytes > held::MOST_AT_ONCE;
    let ask = move || calls::language_model(graph.as_ref()).and_then(function);
    if is_slow {
        held::blocking(ask).await
    } else {
        ask()
    }
}

fn add_language_context<T: Send + 'static>(
    language: &mut LinkerInstance<'_, T>,
    get: Get<T>,
) -> wasmtime::Result<()> {
    type Of = (Resource<Context>,);
    add_call(
        language,
        get,
        "set-prompt",
        "set-prompt",
        |(context, tokens): (Resource<Context>, Vec<u32>)| {
            Call::new(context, size_of_val(&tokens[..]), move |context| {
                calls::language_context(context)?.set_prompt(&tokens)
            })
        },
    )?;
    // It makes the context, if there is none yet.
    language.func_wrap_async(
        "context-length",
        move |mut store: StoreContextMut<'_, T>, (context,): Of| {
            Box::new(async move {
                let mut view = get(store.data_mut());
                let held = &mut view.table.get_mut(&context)?.context;
                let length =
                    held.call_slow(|context| calls::language_context(context)?.context_length());
                let length = length.await;
                let length: Outcome<u32> = view.extension_result("context-length", length)?;
                Ok((length,))
            })
        },
    )?;
    add_call(
        language,
        get,
        "candidates",
        "candidates",
        |(context, most): (Resource<Context>, u32)| {
            Call::new(context, 0, move |context| {
                language::candidates(context, most)
            })
        },
    )?;
    add_call(language, get, "generated", "generated", |(context,): Of| {
        Call::new(context, 0, |context| {
            Ok(calls::language_context(context)?.generated())
        })
    })?;
    add_call(language, get, "usage", "usage", |(context,): Of| {
        Call::new(context, 0, language::usage)
    })
}

type Function<V> = Box<dyn FnOnce(&mut dyn ExecutionContext) -> Result<V, Error> + Send>;

/// What a function of a context is to do.
struct Call<V> {
    context: Resource<Context>,
    /// How many bytes it has to read.
    bytes: usize,
    function: Function<V>,
}

impl<V> Call<V> {
    fn new(
        context: Resource<Context>,
        bytes: usize,
        function: impl FnOnce(&mut dyn ExecutionContext) -> Result<V, Error> + Send + 'static,
    ) -> Self {
        Self {
            context,
            bytes,
            function: Box::new(function),
        }
    }
}

/// Defines a function of a context by what its parameters ask for.
fn add_call<T, P, V>(
    interface: &mut LinkerInstance<'_, T>,
    get: Get<T>,
    function: &str,
    operation: &'static str,
    call: fn(P) -> Call<V>,
) -> wasmtime::Result<()>
where
    T: Send + 'static,
    P: ComponentNamedList + Lift + Send + 'static,
    V: ComponentType + Lower + Send + Sync + 'static,
{
    interface.func_wrap_async(
        function,
        move |mut store: StoreContextMut<'_, T>, parameters: P| {
            Box::new(async move {
                let mut view = get(store.data_mut());
                let Call {
                    context,
                    bytes,
                    function,
                } = call(parameters);
                let held = &mut view.table.get_mut(&context)?.context;
                let result = held.call(bytes, function).await;
                let result: Outcome<V> = view.extension_result(operation, result)?;
                Ok((result,))
            })
        },
    )
}
