//! The engine component in a Rust program: typed calls, and answers as asynchronous streams.
//!
//! [`Llm`] has a thread on which the component lives and computes; [`Llm::call`] runs a closure there, with the
//! typed functions that `bindgen!` makes of `wit/llm.wit`. The program's own tasks never wait for a token
//! without letting others go on. There is no logic of language models here: all of it is in the component.

use anyhow::{Context, Result};
use futures_util::stream::{Stream, try_unfold};
use llm_wasi_host::{NnView, Registry, add_to_linker};
use std::sync::mpsc;
use tokio::sync::oneshot;
use wasmtime::Store;
use wasmtime::component::{Component, Linker, ResourceAny, ResourceTable};
use wasmtime_wasi::{WasiCtx, WasiCtxView, WasiView};

/// The interface's types and functions.
#[expect(missing_docs, reason = "the WIT is their documentation")]
pub mod bindings {
    wasmtime::component::bindgen!({
        path: ["../../../wit/wasi-io.wit", "../../../wit/llm.wit"],
        inline: "
            package example:engine;
            world language-models {
                export llm-wasi:llm/types@0.1.0;
                export llm-wasi:llm/models@0.1.0;
                export llm-wasi:llm/generation@0.1.0;
            }
        ",
        world: "example:engine/language-models",
        with: { "wasi:io/poll": wasmtime_wasi::p2::bindings::sync::io::poll },
    });
}

pub use bindings::LanguageModels;
pub use bindings::exports::llm_wasi::llm::{generation, models, types};

/// What the component's store holds: WASI, which it hardly needs, the models, and its resources.
pub struct State {
    wasi: WasiCtx,
    models: Registry,
    table: ResourceTable,
}

impl WasiView for State {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView {
            ctx: &mut self.wasi,
            table: &mut self.table,
        }
    }
}

impl State {
    fn nn(&mut self) -> NnView<'_> {
        NnView {
            registry: &self.models,
            table: &mut self.table,
        }
    }
}

type Call = Box<dyn FnOnce(&LanguageModels, &mut Store<State>) + Send>;

/// The engine. Clones share it; its thread ends with the last of them.
#[derive(Clone)]
pub struct Llm {
    calls: mpsc::Sender<Call>,
}

impl Llm {
    /// Starts an engine: an instance of a component that exports `llm-wasi:llm`.
    pub fn start(component: &Component, models: Registry) -> Result<Self> {
        let mut linker = Linker::new(component.engine());
        wasmtime_wasi::p2::add_to_linker_sync(&mut linker)?;
        add_to_linker(&mut linker, State::nn)?;
        let state = State {
            wasi: WasiCtx::builder().build(),
            models,
            table: ResourceTable::new(),
        };
        let mut store = Store::new(component.engine(), state);
        let host = LanguageModels::instantiate(&mut store, component, &linker)?;
        let (calls, queue) = mpsc::channel::<Call>();
        std::thread::Builder::new()
            .name("engine".to_owned())
            .spawn(move || queue.into_iter().for_each(|call| call(&host, &mut store)))?;
        Ok(Self { calls })
    }

    /// Runs `call` on the engine's thread, after those before it.
    pub async fn call<T, F>(&self, call: F) -> Result<T>
    where
        T: Send + 'static,
        F: FnOnce(&LanguageModels, &mut Store<State>) -> Result<T> + Send + 'static,
    {
        let (sender, result) = oneshot::channel();
        self.post(move |host, store| {
            // Whoever asked may have gone.
            let _: Result<(), _> = sender.send(call(host, store));
        });
        result.await.context("the engine has ended")?
    }

    /// The events of an `answer-stream`. Each is computed when it is asked for; dropping the stream ends the
    /// generation.
    pub fn events(
        &self,
        stream: ResourceAny,
    ) -> impl Stream<Item = Result<generation::Event>> + use<> {
        let open = OpenStream {
            llm: self.clone(),
            stream,
        };
        try_unfold(open, async |open| {
            let stream = open.stream;
            let next = open.llm.call(move |host, store| {
                let streams = host.llm_wasi_llm_generation().answer_stream();
                Ok(streams.call_next(store, stream)??)
            });
            Ok(next.await?.map(|event| (event, open)))
        })
    }

    fn post(&self, call: impl FnOnce(&LanguageModels, &mut Store<State>) + Send + 'static) {
        // Without a thread the call is dropped, and with it whatever waits for its result.
        let _: Result<(), _> = self.calls.send(Box::new(call));
    }
}

/// A resource of the component, dropped with this.
struct OpenStream {
    llm: Llm,
    stream: ResourceAny,
}

impl Drop for OpenStream {
    fn drop(&mut self) {
        let stream = self.stream;
        self.llm.post(move |_, store| {
            // Fails only in a component that has trapped, which has nothing to drop any more.
            let _: wasmtime::Result<()> = stream.resource_drop(store);
        });
    }
}
