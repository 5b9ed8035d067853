//! The way into a Wasmtime linker.

use crate::backend::Graph;
use crate::guest::{Kind, Permit};
use crate::{Error, Registry, asynchronous, extension, wasi_nn};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use wasmtime::component::{HasData, Linker, ResourceTable};

/// What the host's functions need of a store.
pub struct NnView<'a> {
    /// The backends and the named models.
    pub registry: &'a Registry,
    /// The table that holds the guest's resources; others may share it.
    pub table: &'a mut ResourceTable,
}

/// The graph of both packages.
#[allow(unreachable_pub, reason = "the generated bindings name it")]
pub struct GraphResource {
    pub(crate) graph: Arc<dyn Graph>,
    /// For the log: no other one has it.
    pub(crate) number: u64,
    _permit: Permit,
}

impl GraphResource {
    /// Has a guest load a graph, if it may hold another one.
    pub(crate) fn load(
        registry: &Registry,
        load: impl FnOnce(&Registry) -> Result<Arc<dyn Graph>, Error>,
    ) -> Result<Self, Error> {
        static LAST: AtomicU64 = AtomicU64::new(0);
        let permit = registry.guest().hold(Kind::Graphs, 1)?;
        let number = LAST.fetch_add(1, Ordering::Relaxed);
        let span = tracing::debug_span!("load", guest = registry.guest().number, graph = number);
        Ok(Self {
            graph: span.in_scope(|| load(registry))?,
            number,
            _permit: permit,
        })
    }
}

/// Tells the generated code what a store lends.
pub(crate) struct HasNn;

impl HasData for HasNn {
    type Data<'a> = NnView<'a>;
}

/// Defines `wasi:nn@0.2.0-rc-2024-10-28`, `wasi:nn@0.2.0-rc-2024-08-19` and `llm-wasi:nn@0.1.0`.
///
/// Every function is synchronous: `compute` blocks its thread until the model is done.
/// [`add_to_linker_async`] is for hosts of many guests.
pub fn add_to_linker<T: Send + 'static>(
    linker: &mut Linker<T>,
    get: fn(&mut T) -> NnView<'_>,
) -> wasmtime::Result<()> {
    wasi_nn::add_to_linker(linker, get)?;
    extension::add_to_linker(linker, get)
}

/// As [`add_to_linker`], for stores that run asynchronously: while a model is loaded, computes, or is asked in
/// another process, the thread is free for others. What is quick is done at once, on the guest's thread.
///
/// On Tokio; on other runtimes loading, and computing with anything but language models, blocks.
pub fn add_to_linker_async<T: Send + 'static>(
    linker: &mut Linker<T>,
    get: fn(&mut T) -> NnView<'_>,
) -> wasmtime::Result<()> {
    add_to_linker(linker, get)?;
    asynchronous::add_to_linker(linker, get)
}
