//! The functions that may take long, for stores that run asynchronously: while a model is loaded, computes, or is
//! asked in another process, other guests run on the same thread. What a guest that is dropped meanwhile has begun
//! ends: a language model before its next token, one of tensors before its next operation.

mod extension;
mod wasi_nn;

use crate::backend::Graph;
use crate::held::blocking;
use crate::linker::GraphResource;
use crate::{Error, Monitor, NnView, Registry};
use std::sync::Arc;
use wasmtime::component::Linker;

type Get<T> = fn(&mut T) -> NnView<'_>;

/// Defines these functions in place of those that block.
pub(crate) fn add_to_linker<T: Send + 'static>(
    linker: &mut Linker<T>,
    get: Get<T>,
) -> wasmtime::Result<()> {
    linker.allow_shadowing(true);
    wasi_nn::add_to_linker(linker, get)?;
    extension::add_to_linker(linker, get)?;
    linker.allow_shadowing(false);
    Ok(())
}

/// Loads on a thread where that may block. What nobody waits for any more ends.
async fn load(
    registry: &Registry,
    load: impl FnOnce(&Registry) -> Result<Arc<dyn Graph>, Error> + Send + 'static,
) -> Result<GraphResource, Error> {
    let registry = registry.of_one_graph();
    let mut loading = Loading(Some(registry.monitor().clone()));
    let loaded = blocking(move || GraphResource::load(&registry, load)).await;
    loading.0 = None;
    loaded
}

/// Ends the loading of a graph that nobody gets.
struct Loading(Option<Monitor>);

impl Drop for Loading {
    fn drop(&mut self) {
        if let Some(monitor) = &self.0 {
            monitor.end();
        }
    }
}
