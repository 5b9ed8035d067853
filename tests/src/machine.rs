//! A guest on a host: as core module or as component, with the same interface.

use crate::backend::{Counters, backends};
use crate::guest::{Guest, kebab};
use crate::{extended, slots};
use llm_wasi_componentize::{Options, Profile, Target};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, OnceLock};
use wasmtime::component::{Component, ResourceTable, Val as ComponentVal};
use wasmtime::{Config, Engine, Linker, Module, Store, Val};
use wasmtime_wasi::{WasiCtx, WasiCtxView, WasiView};
use wasmtime_wasi_nn::{wit, witx};

/// How a call ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It gave an errno.
    Errno(u32),
    /// The guest trapped.
    Trap(String),
    /// The host panicked.
    Panic,
}

/// Somewhere a guest runs.
pub trait Machine {
    /// Calls an export by its import's name.
    fn call(&mut self, function: &str, arguments: &[u32]) -> Outcome;
    /// Writes into the guest's memory.
    fn write(&mut self, at: u32, bytes: &[u8]);
    /// Reads the guest's memory.
    fn read(&mut self, at: u32, length: u32) -> Vec<u8>;

    /// Reads a number.
    fn word(&mut self, at: u32) -> u32 {
        let bytes = self.read(at, 4);
        u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]])
    }

    /// Calls an export whose number is no errno.
    fn number(&mut self, function: &str, arguments: &[u32]) -> u32 {
        match self.call(function, arguments) {
            Outcome::Errno(number) => number,
            other => panic!("{function}{arguments:?}: {other:?}"),
        }
    }
}

/// The engine of all tests.
pub fn engine() -> &'static Engine {
    static ENGINE: OnceLock<Engine> = OnceLock::new();
    ENGINE.get_or_init(|| Engine::new(&Config::new()).expect("the engine can be made"))
}

/// A core module on Wasmtime's host for core modules.
pub struct Core {
    store: Store<witx::WasiNnCtx>,
    instance: wasmtime::Instance,
    /// What of the backend is alive.
    pub counters: Arc<Counters>,
}

/// A module compiled once.
pub struct CoreProgram(wasmtime::InstancePre<witx::WasiNnCtx>);

impl CoreProgram {
    /// Compiles a module.
    pub fn new(wasm: &[u8]) -> CoreProgram {
        let module = Module::new(engine(), wasm).expect("the module is valid");
        let mut linker = Linker::new(engine());
        witx::add_to_linker(&mut linker, |state| state)
            .expect("the host's functions can be linked");
        CoreProgram(
            linker
                .instantiate_pre(&module)
                .expect("all imports are there"),
        )
    }

    /// A fresh instance.
    pub fn start(&self) -> Core {
        let (backends, registry, counters) = backends();
        let mut store = Store::new(engine(), witx::WasiNnCtx::new(backends, registry));
        let instance = self.0.instantiate(&mut store).expect("the module starts");
        Core {
            store,
            instance,
            counters,
        }
    }
}

impl Core {
    fn memory(&mut self) -> wasmtime::Memory {
        self.instance
            .get_memory(&mut self.store, "memory")
            .expect("the guest exports its memory")
    }
}

impl Machine for Core {
    fn call(&mut self, function: &str, arguments: &[u32]) -> Outcome {
        let name = kebab(function);
        let export = self.instance.get_func(&mut self.store, &name);
        let export = export.unwrap_or_else(|| panic!("there is no export {name}"));
        let arguments: Vec<Val> = arguments.iter().map(|a| Val::I32(*a as i32)).collect();
        let mut results = [Val::I32(0)];
        let called = quietly(|| export.call(&mut self.store, &arguments, &mut results));
        match called {
            None => Outcome::Panic,
            Some(Err(error)) => Outcome::Trap(format!("{error:#}")),
            Some(Ok(())) => Outcome::Errno(results[0].unwrap_i32() as u32),
        }
    }

    fn write(&mut self, at: u32, bytes: &[u8]) {
        let memory = self.memory();
        memory
            .write(&mut self.store, at as usize, bytes)
            .expect("the test writes inside memory");
    }

    fn read(&mut self, at: u32, length: u32) -> Vec<u8> {
        // The same writes as on a component, where there is no other way.
        self.number("peek", &[at, length]);
        let mut bytes = vec![0; length as usize];
        let memory = self.memory();
        memory
            .read(&self.store, at as usize, &mut bytes)
            .expect("the test reads inside memory");
        bytes
    }
}

/// Runs what may panic, without a word about it on standard error. `None` if it did.
fn quietly<T>(f: impl FnOnce() -> T) -> Option<T> {
    use std::cell::Cell;
    use std::sync::Once;
    thread_local!(static QUIET: Cell<bool> = const { Cell::new(false) });
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let hook = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            if !QUIET.with(Cell::get) {
                hook(info);
            }
        }));
    });
    QUIET.with(|quiet| quiet.set(true));
    let result = catch_unwind(AssertUnwindSafe(f));
    QUIET.with(|quiet| quiet.set(false));
    result.ok()
}

/// Which host a component runs on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Host {
    /// Wasmtime's WIT host.
    Wasmtime,
    /// This project's host.
    Ours,
    /// A host of the WIT of 2024-08-19.
    Slots,
}

/// State of every host of WIT.
pub struct WitState {
    table: ResourceTable,
    nn: wit::WasiNnCtx,
    registry: llm_wasi_host::Registry,
    slots: Arc<Counters>,
    wasi: WasiCtx,
}

impl WasiView for WitState {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView {
            ctx: &mut self.wasi,
            table: &mut self.table,
        }
    }
}

/// A component on a host.
pub struct Adapted {
    store: Store<WitState>,
    instance: wasmtime::component::Instance,
    /// What of the backend is alive.
    pub counters: Arc<Counters>,
}

/// A component compiled once.
pub struct AdaptedProgram {
    pre: wasmtime::component::InstancePre<WitState>,
    host: Host,
}

impl AdaptedProgram {
    /// Compiles a component for Wasmtime's WIT host.
    pub fn new(component: &[u8]) -> AdaptedProgram {
        Self::on(Host::Wasmtime, component)
    }

    /// Compiles a component for a host.
    pub fn on(host: Host, component: &[u8]) -> AdaptedProgram {
        let component = Component::new(engine(), component).expect("the component is valid");
        let mut linker = wasmtime::component::Linker::new(engine());
        match host {
            Host::Wasmtime => wit::add_to_linker(&mut linker, |state: &mut WitState| {
                wit::WasiNnView::new(&mut state.table, &mut state.nn)
            }),
            Host::Ours => llm_wasi_host::add_to_linker(&mut linker, |state: &mut WitState| {
                llm_wasi_host::NnView {
                    registry: &state.registry,
                    table: &mut state.table,
                }
            }),
            Host::Slots => slots::add_to_linker(&mut linker, |state: &mut WitState| slots::View {
                table: &mut state.table,
                counters: &state.slots,
            }),
        }
        .expect("the host's functions can be linked");
        wasmtime_wasi::p2::add_to_linker_sync(&mut linker).expect("WASI can be linked");
        let pre = linker
            .instantiate_pre(&component)
            .expect("all imports are there");
        AdaptedProgram { pre, host }
    }

    /// A fresh instance.
    pub fn start(&self) -> Adapted {
        self.start_with(WasiCtx::builder().build())
    }

    /// A fresh instance with arguments, output and the like.
    pub fn start_with(&self, wasi: WasiCtx) -> Adapted {
        let (registry, ours) = extended::registry();
        self.start_on(registry, ours, wasi)
    }

    /// A fresh instance with these models on this project's host; `ours` counts what of them is alive.
    pub fn start_on(
        &self,
        own_registry: llm_wasi_host::Registry,
        ours: Arc<Counters>,
        wasi: WasiCtx,
    ) -> Adapted {
        let (backends, registry, theirs) = backends();
        let slots = Arc::new(Counters::default());
        let counters = match self.host {
            Host::Wasmtime => theirs,
            Host::Ours => ours,
            Host::Slots => slots.clone(),
        };
        let mut store = Store::new(
            engine(),
            WitState {
                table: ResourceTable::new(),
                nn: wit::WasiNnCtx::new(backends, registry),
                registry: own_registry,
                slots,
                wasi,
            },
        );
        let instance = self
            .pre
            .instantiate(&mut store)
            .expect("the component starts");
        Adapted {
            store,
            instance,
            counters,
        }
    }
}

impl Adapted {
    /// How many resources the host keeps for the guest.
    pub fn resources(&mut self) -> usize {
        self.store.data_mut().table.iter_mut().count()
    }

    /// Runs a command.
    pub fn run(&mut self) -> wasmtime::Result<Result<(), ()>> {
        let interface = self
            .instance
            .get_export_index(&mut self.store, None, "wasi:cli/run@0.2.12")
            .or_else(|| {
                (0..=12).rev().find_map(|patch| {
                    self.instance.get_export_index(
                        &mut self.store,
                        None,
                        &format!("wasi:cli/run@0.2.{patch}"),
                    )
                })
            })
            .expect("the component is a command");
        let run = self
            .instance
            .get_export_index(&mut self.store, Some(&interface), "run")
            .expect("a command has `run`");
        let run = self
            .instance
            .get_typed_func::<(), (Result<(), ()>,)>(&mut self.store, &run)?;
        Ok(run.call(&mut self.store, ())?.0)
    }

    fn func(&mut self, name: &str) -> wasmtime::component::Func {
        self.instance
            .get_func(&mut self.store, name)
            .unwrap_or_else(|| panic!("there is no export {name}"))
    }
}

impl Machine for Adapted {
    fn call(&mut self, function: &str, arguments: &[u32]) -> Outcome {
        let export = self.func(&kebab(function));
        let arguments: Vec<ComponentVal> =
            arguments.iter().map(|a| ComponentVal::U32(*a)).collect();
        let mut results = [ComponentVal::U32(0)];
        match quietly(|| export.call(&mut self.store, &arguments, &mut results)) {
            None => Outcome::Panic,
            Some(Err(error)) => Outcome::Trap(format!("{error:#}")),
            Some(Ok(())) => match &results[0] {
                ComponentVal::U32(errno) => Outcome::Errno(*errno),
                other => panic!("{function} gave {other:?}"),
            },
        }
    }

    fn write(&mut self, at: u32, bytes: &[u8]) {
        let poke = self.func("poke");
        let poke = poke
            .typed::<(u32, u64), ()>(&self.store)
            .expect("`poke` has this type");
        let (words, rest) = bytes.as_chunks::<8>();
        let mut at = at;
        for word in words {
            poke.call(&mut self.store, (at, u64::from_le_bytes(*word)))
                .expect("the test writes inside memory");
            at += 8;
        }
        let poke = self.func("poke-byte");
        let poke = poke
            .typed::<(u32, u32), ()>(&self.store)
            .expect("`poke-byte` has this type");
        for byte in rest {
            poke.call(&mut self.store, (at, u32::from(*byte)))
                .expect("the test writes inside memory");
            at += 1;
        }
    }

    fn read(&mut self, at: u32, length: u32) -> Vec<u8> {
        let peek = self.func("peek");
        let peek = peek
            .typed::<(u32, u32), (Vec<u8>,)>(&self.store)
            .expect("`peek` has this type");
        peek.call(&mut self.store, (at, length))
            .expect("the test reads inside memory")
            .0
    }
}

/// How a guest becomes a component.
#[derive(Clone, Debug)]
pub struct Way {
    /// Name of the dialect.
    pub dialect: &'static str,
    /// The profile.
    pub profile: Profile,
    /// The WIT that it imports.
    pub target: Target,
    /// Names of inputs.
    pub input_names: Vec<(u32, String)>,
    /// The quirk of a maximum of 0.
    pub zero_max_is_unlimited: bool,
}

impl Way {
    /// The portable profile for Wasmtime 48.
    pub fn portable(dialect: &'static str) -> Way {
        Way {
            dialect,
            profile: Profile::Portable,
            target: Target::Rc20241028,
            input_names: Vec::new(),
            zero_max_is_unlimited: false,
        }
    }

    /// The host that has what its components import.
    pub fn host(&self) -> Host {
        match (self.profile, self.target) {
            (Profile::Extended, _) => Host::Ours,
            (Profile::Portable, Target::Rc20241028) => Host::Wasmtime,
            (Profile::Portable, Target::Rc20240819) => Host::Slots,
        }
    }

    /// A guest as component on the host for it.
    pub fn program(&self, guest: &Guest) -> AdaptedProgram {
        AdaptedProgram::on(self.host(), &self.componentize(guest))
    }

    /// The options for the library.
    pub fn options(&self) -> Options {
        Options {
            dialect: Some(self.dialect.to_string()),
            profile: Some(self.profile),
            target: self.target,
            input_names: self.input_names.clone(),
            zero_max_is_unlimited: self.zero_max_is_unlimited,
            ..Options::default()
        }
    }

    /// Makes a component of a guest.
    pub fn componentize(&self, guest: &Guest) -> Vec<u8> {
        llm_wasi_componentize::componentize(&guest.wasm(), &self.options())
            .unwrap_or_else(|refusal| panic!("{self:?}: {refusal}\n{}", guest.wat()))
            .bytes
    }
}
