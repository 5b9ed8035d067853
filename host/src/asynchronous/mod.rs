//! The functions that may take long, for stores that run asynchronously: while a model is loaded, computes, or is
//! asked in another process, other guests run on the same thread. A guest that is dropped meanwhile ends within a
//! step.

mod extension;
mod wasi_nn;

use crate::backend::Graph;
use crate::held::blocking;
use crate::linker::GraphResource;
use crate::{Error, NnView, Registry};
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

/// Loads on a thread where that may block.
async fn load(
    registry: &Registry,
    load: impl FnOnce(&Registry) -> Result<Arc<dyn Graph>, Error> + Send + 'static,
) -> Result<GraphResource, Error> {
    let registry = registry.clone();
    blocking(move || GraphResource::load(&registry, load)).await
}
