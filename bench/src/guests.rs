//! The benchmark guests on their hosts.

use crate::null;
use anyhow::{Context, Result, anyhow, ensure};
use llm_wasi_adapter::{Profile, Target};
use llm_wasi_componentize::Options;
use llm_wasi_host::backend::{Encoding, Target as Device};
use llm_wasi_host::testing::NullBackend;
use llm_wasi_host::{NnView, Preload, Registry};
use wasmtime::component::{Component, Linker, ResourceTable, TypedFunc};
use wasmtime::{Engine, Module, Store};
use wasmtime_wasi_nn::{wit, witx};
use wit_component::{ComponentEncoder, StringEncoding};

const CYCLE: &str = include_str!("../../fixtures/wat/cycle.wat");
const BINDGEN: &[u8] = include_bytes!("../../fixtures/wasm/bindgen.wasm");

/// What the exports of `cycle.wat` are in WIT.
const WORLD: &str = "
    package bench:cycle;
    world cycle {
        export setup: func(input-bytes: u32) -> u32;
        export run: func(cycles: u32) -> u32;
        export run-kept: func(cycles: u32) -> u32;
        export open-contexts: func(count: u32) -> u32;
    }
";

/// Which guest, on which host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Variant {
    /// The core module on Wasmtime's host for core modules.
    Core,
    /// The same, adapted, on Wasmtime's host for components.
    Portable,
    /// Written by hand with `wit-bindgen`, on that host.
    Bindgen,
    /// The core module adapted in the extended profile, on this project's host.
    Extended,
}

impl Variant {
    pub(crate) const ALL: [Variant; 4] = [
        Variant::Core,
        Variant::Portable,
        Variant::Bindgen,
        Variant::Extended,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Variant::Core => "(a) core module, Wasmtime's core host",
            Variant::Portable => "(b) adapted, Wasmtime's component host",
            Variant::Bindgen => "(c) by hand, Wasmtime's component host",
            Variant::Extended => "(d) adapted, extended, own host",
        }
    }
}

/// A guest that is ready to run.
pub(crate) enum Guest {
    Core {
        store: Store<CoreState>,
        run: wasmtime::TypedFunc<u32, u32>,
        open: wasmtime::TypedFunc<u32, u32>,
    },
    Adapted(Adapted<WasmtimeState>),
    ByHand {
        store: Store<WasmtimeState>,
        run: TypedFunc<(u32,), ()>,
    },
    Extended(Adapted<OwnState>),
}

/// An adapted `cycle.wat`.
pub(crate) struct Adapted<T: 'static> {
    store: Store<T>,
    run: TypedFunc<(u32,), (u32,)>,
    open: TypedFunc<(u32,), (u32,)>,
}

/// What core modules need of a store.
pub(crate) struct CoreState {
    nn: witx::WasiNnCtx,
}

/// What components need of a store on Wasmtime's host.
pub(crate) struct WasmtimeState {
    nn: wit::WasiNnCtx,
    table: ResourceTable,
}

/// What components need of a store on this project's host.
pub(crate) struct OwnState {
    registry: Registry,
    table: ResourceTable,
}

/// Compiled guests, to be instantiated any number of times.
pub(crate) struct Guests {
    engine: Engine,
    core: Module,
    portable: Component,
    bindgen: Component,
    extended: Component,
}

impl Guests {
    pub(crate) fn compile() -> Result<Guests> {
        let engine = Engine::default();
        let component = |bytes: &[u8]| Component::new(&engine, bytes).map_err(anyhow::Error::from);
        Ok(Guests {
            core: Module::new(&engine, wat::parse_str(CYCLE)?)?,
            portable: component(&adapted(Profile::Portable)?)?,
            bindgen: component(&by_hand()?)?,
            extended: component(&adapted(Profile::Extended)?)?,
            engine,
        })
    }

    /// A guest with an input of this size and one context.
    pub(crate) fn start(&self, variant: Variant, input_bytes: u32) -> Result<Guest> {
        let started = match variant {
            Variant::Core => self.start_core(input_bytes),
            Variant::Portable => self.start_portable(input_bytes),
            Variant::Bindgen => self.start_bindgen(input_bytes),
            Variant::Extended => self.start_extended(input_bytes),
        };
        started.with_context(|| format!("{} does not start", variant.name()))
    }

    fn start_core(&self, input_bytes: u32) -> Result<Guest> {
        let mut linker = wasmtime::Linker::new(&self.engine);
        witx::add_to_linker(&mut linker, |state: &mut CoreState| &mut state.nn)?;
        let (backends, registry) = null::parts();
        let nn = witx::WasiNnCtx::new(backends, registry);
        let mut store = Store::new(&self.engine, CoreState { nn });
        let instance = linker.instantiate(&mut store, &self.core)?;
        let setup = instance.get_typed_func::<u32, u32>(&mut store, "setup")?;
        success(setup.call(&mut store, input_bytes)?)?;
        Ok(Guest::Core {
            run: instance.get_typed_func(&mut store, "run")?,
            open: instance.get_typed_func(&mut store, "open-contexts")?,
            store,
        })
    }

    fn start_portable(&self, input_bytes: u32) -> Result<Guest> {
        let (linker, store) = self.wasmtime_host()?;
        let adapted = Adapted::start(&linker, store, &self.portable, input_bytes)?;
        Ok(Guest::Adapted(adapted))
    }

    fn start_bindgen(&self, input_bytes: u32) -> Result<Guest> {
        let (linker, mut store) = self.wasmtime_host()?;
        let instance = linker.instantiate(&mut store, &self.bindgen)?;
        let setup = instance.get_typed_func::<(String, u32), ()>(&mut store, "setup")?;
        setup.call(&mut store, (null::GRAPH.into(), input_bytes))?;
        let run = instance.get_typed_func(&mut store, "run")?;
        Ok(Guest::ByHand { store, run })
    }

    fn start_extended(&self, input_bytes: u32) -> Result<Guest> {
        let mut linker = Linker::new(&self.engine);
        llm_wasi_host::add_to_linker(&mut linker, |state: &mut OwnState| NnView {
            registry: &state.registry,
            table: &mut state.table,
        })?;
        let preload = Preload {
            name: null::GRAPH.into(),
            encoding: Encoding::OpenVino,
            target: Device::Cpu,
            // The registry wants a file; the backend does not read it.
            paths: vec![std::env::current_exe()?],
            configuration: None,
        };
        let registry = Registry::builder().backend(NullBackend).preload(preload);
        let state = OwnState {
            registry: registry.build(),
            table: ResourceTable::new(),
        };
        let store = Store::new(&self.engine, state);
        let adapted = Adapted::start(&linker, store, &self.extended, input_bytes)?;
        Ok(Guest::Extended(adapted))
    }

    fn wasmtime_host(&self) -> Result<(Linker<WasmtimeState>, Store<WasmtimeState>)> {
        let mut linker = Linker::new(&self.engine);
        wit::add_to_linker(&mut linker, |state: &mut WasmtimeState| {
            wit::WasiNnView::new(&mut state.table, &mut state.nn)
        })?;
        let (backends, registry) = null::parts();
        let state = WasmtimeState {
            nn: wit::WasiNnCtx::new(backends, registry),
            table: ResourceTable::new(),
        };
        Ok((linker, Store::new(&self.engine, state)))
    }
}

impl<T: Send + 'static> Adapted<T> {
    fn start(
        linker: &Linker<T>,
        mut store: Store<T>,
        component: &Component,
        input_bytes: u32,
    ) -> Result<Adapted<T>> {
        let instance = linker.instantiate(&mut store, component)?;
        let setup = instance.get_typed_func::<(u32,), (u32,)>(&mut store, "setup")?;
        success(setup.call(&mut store, (input_bytes,))?.0)?;
        Ok(Adapted {
            run: instance.get_typed_func(&mut store, "run")?,
            open: instance.get_typed_func(&mut store, "open-contexts")?,
            store,
        })
    }

    fn run(&mut self, cycles: u32) -> Result<()> {
        success(self.run.call(&mut self.store, (cycles,))?.0)
    }

    fn open(&mut self, count: u32) -> Result<()> {
        success(self.open.call(&mut self.store, (count,))?.0)
    }
}

impl Guest {
    /// Runs so many cycles.
    pub(crate) fn run(&mut self, cycles: u32) -> Result<()> {
        match self {
            Guest::Core { store, run, .. } => success(run.call(store, cycles)?),
            Guest::Adapted(adapted) => adapted.run(cycles),
            Guest::ByHand { store, run } => Ok(run.call(store, (cycles,))?),
            Guest::Extended(adapted) => adapted.run(cycles),
        }
    }

    /// Opens further contexts, which stay idle.
    pub(crate) fn open(&mut self, count: u32) -> Result<()> {
        match self {
            Guest::Core { store, open, .. } => success(open.call(store, count)?),
            Guest::Adapted(adapted) => adapted.open(count),
            Guest::ByHand { .. } => Err(anyhow!("the guest by hand has one context")),
            Guest::Extended(adapted) => adapted.open(count),
        }
    }
}

fn success(errno: u32) -> Result<()> {
    ensure!(errno == 0, "the guest got errno {errno}");
    Ok(())
}

/// The component of `cycle.wat`.
fn adapted(profile: Profile) -> Result<Vec<u8>> {
    component(CYCLE, WORLD, profile)
}

/// The component of a module in text, whose exports are those of a world.
pub(crate) fn component(text: &str, world: &str, profile: Profile) -> Result<Vec<u8>> {
    let mut module = wat::parse_str(text)?;
    let mut resolve = wit_parser::Resolve::default();
    let package = resolve.push_str("guest.wit", world)?;
    let world = resolve.select_world(&[package], None)?;
    wit_component::embed_component_metadata(
        &mut module,
        &resolve,
        world,
        StringEncoding::UTF8,
        false,
    )?;
    let options = Options {
        dialect: Some("wasmedge".into()),
        profile: Some(profile),
        target: Target::Rc20241028,
        ..Options::default()
    };
    Ok(llm_wasi_componentize::componentize(&module, &options)?.bytes)
}

/// The component written by hand.
fn by_hand() -> Result<Vec<u8>> {
    ComponentEncoder::default().module(BINDGEN)?.encode()
}
