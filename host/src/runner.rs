//! Runs a command component with WASI and the host's models.
//!
//! ```no_run
//! # async fn run(component: Vec<u8>) -> anyhow::Result<()> {
//! let runner = llm_wasi_host::runner::Runner::builder()
//!     .arg("program")
//!     .arg("Hello")
//!     .dir(".", "/tmp/models")
//!     .preload("default:GGML:AUTO:/tmp/models/model.gguf".parse()?)
//!     .build()?;
//! let exit_code = runner.run(&component).await?;
//! # Ok(())
//! # }
//! ```
//!
//! A program that runs many times, or many times at once, is [prepared](Runner::prepare) once.

mod limiter;
mod ticker;

use crate::metrics::{Counted, Outcome};
use crate::{
    Files, Limits, Monitor, NnView, Phase, Preload, Registry, RegistryBuilder, Scheduling,
    add_to_linker_async, threads,
};
use anyhow::Context;
use limiter::Limiter;
use std::path::PathBuf;
use std::time::{Duration, Instant};
use ticker::Ticker;
use tracing::Instrument;
use wasmtime::component::{Component, Linker, ResourceTable, ResourceTableError};
use wasmtime::{
    Cache, CacheConfig, Config, Engine, InstanceAllocationStrategy, PoolingAllocationConfig, Store,
    Trap, UpdateDeadline,
};
use wasmtime_wasi::cli::{StdinStream, StdoutStream};
use wasmtime_wasi::p2::bindings::{Command, CommandPre};
use wasmtime_wasi::{FsPerms, I32Exit, WasiCtx, WasiCtxBuilder, WasiCtxView, WasiView};

/// Size of the stack that a program and the host's functions below it share. Backends may recurse
/// deeper than Wasmtime's default allows; only what is used takes memory.
const STACK_SIZE: usize = 16 << 20;

/// What one program of many may consist of; adapters and the standard library are some of it.
const CORE_INSTANCES: u32 = 64;
const MEMORIES: u32 = 4;
const TABLES: u32 = 32;
/// What a memory with addresses of 32 bits can have.
const MOST_MEMORY: usize = 4 << 30;
/// What a table may begin with, by WebAssembly's own rules; more than that is reserved for none.
const MOST_ELEMENTS: usize = 10_000_000;
/// How many bytes a call of a program may bring besides a tensor: names, dimensions, options.
const CALL: usize = 128 << 20;
/// How long a host should wait, when its programs have ended, for computations that they have left behind: these were
/// interrupted, and may not hear of it soon.
pub const LAST_WAIT: Duration = Duration::from_secs(1);
/// How Wasmtime's error begins for more instances, memories or tables than a store may have; it has no type.
const TOO_MANY_INSTANCES: &str = "resource limit exceeded";
/// How much of a memory stays in place for the next program that gets it: this much is cleared, the rest is
/// given back to the system.
const KEPT_MEMORY: usize = 64 << 10;

/// A store's data: WASI, the models, and one table for both.
pub struct State {
    wasi: WasiCtx,
    table: ResourceTable,
    registry: Registry,
    limiter: Limiter,
    _counted: Counted,
}

impl Drop for State {
    fn drop(&mut self) {
        // A computation of this guest may be under way on another thread.
        self.registry.monitor().end();
    }
}

impl State {
    /// Lends what [`add_to_linker`](crate::add_to_linker) needs.
    pub fn nn(&mut self) -> NnView<'_> {
        NnView {
            registry: &self.registry,
            table: &mut self.table,
        }
    }
}

impl WasiView for State {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView {
            ctx: &mut self.wasi,
            table: &mut self.table,
        }
    }
}

/// Why a program ended without an exit code: the cause of an error of [`Runner::run`] that is the
/// program's own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Ended {
    /// It trapped, as a panic in Rust does.
    #[error("the program trapped")]
    Trapped,
    /// It took longer than [`RunnerBuilder::time_limit`].
    #[error("the program has not ended within {} ms", .0.as_millis())]
    TimedOut(Duration),
    /// It has executed more than [`Limits::fuel`].
    #[error("the program has used up its {0} units of fuel")]
    OutOfFuel(u64),
}

/// Collects what a program gets to see.
pub struct RunnerBuilder {
    args: Vec<String>,
    env: Vec<(String, String)>,
    dirs: Vec<(String, PathBuf, FsPerms)>,
    registry: RegistryBuilder,
    shared: Option<Registry>,
    cache: bool,
    limits: Limits,
    scheduling: Scheduling,
    instances: u32,
    keep_models: bool,
}

impl RunnerBuilder {
    /// Adds an argument; the first one is the program's name.
    #[must_use]
    pub fn arg(mut self, arg: impl Into<String>) -> Self {
        self.args.push(arg.into());
        self
    }

    /// Adds arguments.
    #[must_use]
    pub fn args<S: Into<String>>(mut self, args: impl IntoIterator<Item = S>) -> Self {
        self.args.extend(args.into_iter().map(Into::into));
        self
    }

    /// Sets an environment variable.
    #[must_use]
    pub fn env(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.env.push((name.into(), value.into()));
        self
    }

    /// Lets the program use the host's folder `host` as `guest`.
    #[must_use]
    pub fn dir(mut self, guest: impl Into<String>, host: impl Into<PathBuf>) -> Self {
        self.dirs
            .push((guest.into(), host.into(), FsPerms::ReadWrite));
        self
    }

    /// Lets the program read the host's folder `host` as `guest`.
    #[must_use]
    pub fn read_only_dir(mut self, guest: impl Into<String>, host: impl Into<PathBuf>) -> Self {
        self.dirs
            .push((guest.into(), host.into(), FsPerms::ReadOnly));
        self
    }

    /// Names a model.
    #[must_use]
    pub fn preload(mut self, preload: Preload) -> Self {
        self.registry = self.registry.preload(preload);
        self
    }

    /// Hears of everything that takes long, and can end it.
    #[must_use]
    pub fn monitor(mut self, monitor: Monitor) -> Self {
        self.registry = self.registry.monitor(monitor);
        self
    }

    /// Loads models in processes of their own.
    #[cfg(target_os = "linux")]
    #[must_use]
    pub fn isolate(mut self, isolation: crate::isolate::Isolation) -> Self {
        self.registry = self.registry.isolate(isolation);
        self
    }

    /// Replaces backends, named models and monitor; later calls of [`preload`](Self::preload) and
    /// [`monitor`](Self::monitor) add to it.
    #[must_use]
    pub fn registry(mut self, registry: RegistryBuilder) -> Self {
        self.registry = registry;
        self
    }

    /// Uses a registry that others use as well, in place of one of its own.
    #[must_use]
    pub fn shared_registry(mut self, registry: Registry) -> Self {
        self.shared = Some(registry);
        self
    }

    /// Whether compiled programs are kept in the user's cache folder. They are by default.
    #[must_use]
    pub fn cache(mut self, cache: bool) -> Self {
        self.cache = cache;
        self
    }

    /// Ends a program that takes longer: at its next loop or call, and a language model that computes
    /// for it at its next token. Programs run a little slower then. A stream that blocks its thread until somebody reads, as
    /// the process's own do, holds the end up: where that counts, wait for the program on another thread.
    #[must_use]
    pub fn time_limit(mut self, limit: Duration) -> Self {
        self.limits.time = Some(limit);
        self
    }

    /// What each program may take. With a registry that others use as well, the limits of models are that
    /// registry's.
    #[must_use]
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// How programs share a model, unless the registry is one that others use as well.
    #[must_use]
    pub fn scheduling(mut self, scheduling: Scheduling) -> Self {
        self.scheduling = scheduling;
        self
    }

    /// How many programs may run at once. With more than one their memory is reserved in advance, so that each
    /// starts fast, and one that computes without an end leaves the thread to others again and again.
    #[must_use]
    pub fn instances(mut self, instances: u32) -> Self {
        self.instances = instances.max(1);
        self
    }

    /// Whether named models stay in memory when no program has them any more, with what their KV caches hold. They do where
    /// [several programs run at once](Self::instances); with this, for programs that run one after the other as well.
    #[must_use]
    pub fn keep_models(mut self, keep: bool) -> Self {
        self.keep_models = keep;
        self
    }

    /// The runner.
    pub fn build(mut self) -> anyhow::Result<Runner> {
        let mut config = Config::new();
        config.async_stack_size(STACK_SIZE);
        let interrupts = self.limits.time.is_some() || self.instances > 1;
        config.epoch_interruption(interrupts);
        config.consume_fuel(self.limits.fuel.is_some());
        if self.cache {
            match Cache::new(CacheConfig::new()) {
                Ok(cache) => {
                    config.cache(Some(cache));
                }
                // A read-only or missing home folder costs time, not the run.
                Err(error) => tracing::debug!("compiled programs are not cached: {error:#}"),
            }
        }
        if self.instances > 1 {
            self.limits.memory = self.limits.memory.min(MOST_MEMORY);
            self.limits.table_elements = self.limits.table_elements.min(MOST_ELEMENTS);
            config.allocation_strategy(pool(self.instances, &self.limits));
        }
        let engine = Engine::new(&config)?;
        let mut linker = Linker::new(&engine);
        wasmtime_wasi::p2::add_to_linker_async(&mut linker)?;
        add_to_linker_async(&mut linker, State::nn)?;
        let files = self.dirs.iter().fold(Files::default(), |files, dir| {
            let (guest, host, _) = dir;
            files.dir(guest, host)
        });
        let registry = self.shared.unwrap_or_else(|| {
            self.registry
                .limits(self.limits.clone())
                .scheduling(self.scheduling)
                .keep_models(self.keep_models || self.instances > 1)
                .build()
        });
        let ticker = interrupts.then(|| Ticker::start(&engine)).transpose()?;
        Ok(Runner {
            engine,
            linker,
            args: self.args,
            env: self.env,
            dirs: self.dirs,
            registry: registry.with_files(files),
            limits: self.limits,
            ticker,
        })
    }
}

/// Memory for so many programs at once.
fn pool(instances: u32, limits: &Limits) -> InstanceAllocationStrategy {
    let mut pool = PoolingAllocationConfig::new();
    // A program that begins with more than its limits would not even compile with less reserved: the limiter refuses it, in
    // words that are the same however many run.
    let elements = limits.table_elements.max(Limits::default().table_elements);
    pool.total_component_instances(instances)
        .total_core_instances(instances.saturating_mul(CORE_INSTANCES))
        .total_memories(instances.saturating_mul(MEMORIES))
        .total_tables(instances.saturating_mul(TABLES))
        .total_stacks(instances)
        .max_memory_size(MOST_MEMORY)
        .table_elements(elements)
        .linear_memory_keep_resident(KEPT_MEMORY)
        .table_keep_resident(KEPT_MEMORY);
    InstanceAllocationStrategy::Pooling(pool)
}

/// A program that is compiled and linked.
#[derive(Clone)]
pub struct Program {
    command: CommandPre<State>,
}

/// A program with memory of its own, that has not begun. When it is dropped, or the future that runs it, the
/// program ends, and what a model computes for it.
pub struct Instance {
    store: Store<State>,
    command: Command,
    fuel: Option<u64>,
    resources: usize,
}

impl Instance {
    /// Runs the program to its end. Gives its exit code.
    pub async fn run(mut self) -> anyhow::Result<i32> {
        let command = self.command.wasi_cli_run();
        let code = match command.call_run(&mut self.store).await {
            Ok(Ok(())) => 0,
            Ok(Err(())) => 1,
            Err(error) => match error.downcast_ref::<I32Exit>() {
                Some(exit) => exit.0,
                None => return Err(self.failed(error)),
            },
        };
        let outcome = if code == 0 {
            Outcome::Success
        } else {
            Outcome::Failure
        };
        count(&self.store.data().registry, outcome);
        Ok(code)
    }

    /// Why the program has ended without an exit code.
    fn failed(&self, error: wasmtime::Error) -> anyhow::Error {
        let registry = &self.store.data().registry;
        if let Some(ResourceTableError::Full) = error.downcast_ref() {
            let found = format!("at most {}, found one more", self.resources);
            registry.guest().note("resources", &found);
        }
        let ended = limit_of(&error, self.fuel).unwrap_or(Ended::Trapped);
        count(registry, ended.into());
        match ended {
            Ended::TimedOut(_) => ended.into(),
            _ => anyhow::Error::from(error).context(ended),
        }
    }
}

impl From<Ended> for Outcome {
    fn from(ended: Ended) -> Self {
        match ended {
            Ended::Trapped => Self::Trapped,
            Ended::TimedOut(_) => Self::TimedOut,
            Ended::OutOfFuel(_) => Self::OutOfFuel,
        }
    }
}

/// Counts how a program has ended, and the limit that has ended it.
fn count(registry: &Registry, outcome: Outcome) {
    match outcome {
        Outcome::TimedOut => registry.guest().count("time"),
        Outcome::OutOfFuel => registry.guest().count("fuel"),
        _ => {}
    }
    registry.metrics().ended(outcome);
}

/// The limit that has ended a program, if it was one.
fn limit_of(error: &wasmtime::Error, fuel: Option<u64>) -> Option<Ended> {
    if let Some(ended) = error.downcast_ref::<Ended>() {
        return Some(*ended);
    }
    match (error.downcast_ref::<Trap>(), fuel) {
        (Some(Trap::OutOfFuel), Some(fuel)) => Some(Ended::OutOfFuel(fuel)),
        _ => None,
    }
}

/// Runs components. One runner may run many.
pub struct Runner {
    engine: Engine,
    linker: Linker<State>,
    args: Vec<String>,
    env: Vec<(String, String)>,
    dirs: Vec<(String, PathBuf, FsPerms)>,
    registry: Registry,
    limits: Limits,
    ticker: Option<Ticker>,
}

impl Runner {
    /// A builder with the default backends, no models, no folders, no environment.
    pub fn builder() -> RunnerBuilder {
        RunnerBuilder {
            args: Vec::new(),
            env: Vec::new(),
            dirs: Vec::new(),
            registry: Registry::with_default_backends(),
            shared: None,
            cache: true,
            limits: Limits::default(),
            scheduling: Scheduling::default(),
            instances: 1,
            keep_models: false,
        }
    }

    /// The engine, to compile components for.
    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    /// The backends and the named models.
    pub fn registry(&self) -> &Registry {
        &self.registry
    }

    /// Runs a component in the binary format with the process's standard streams. Gives its exit code.
    pub async fn run(&self, component: &[u8]) -> anyhow::Result<i32> {
        self.run_with(component, |wasi| {
            wasi.inherit_stdio();
        })
        .await
    }

    /// As [`run`](Self::run), with these standard streams; standard error is the process's.
    pub async fn run_with_streams(
        &self,
        component: &[u8],
        stdin: impl StdinStream + 'static,
        stdout: impl StdoutStream + 'static,
    ) -> anyhow::Result<i32> {
        self.run_with(component, |wasi| {
            wasi.stdin(stdin).stdout(stdout).inherit_stderr();
        })
        .await
    }

    /// As [`run`](Self::run), for programs that have no asynchronous runtime.
    pub fn run_blocking(&self, component: &[u8]) -> anyhow::Result<i32> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .context("the asynchronous runtime does not start")?;
        let ended = runtime.block_on(self.run(component));
        runtime.shutdown_timeout(LAST_WAIT);
        ended
    }

    /// As [`run`](Self::run), with standard streams as `streams` sets them; arguments, environment and
    /// folders are set already.
    pub async fn run_with(
        &self,
        component: &[u8],
        streams: impl FnOnce(&mut WasiCtxBuilder),
    ) -> anyhow::Result<i32> {
        self.run_prepared(&self.prepare(component)?, streams).await
    }

    /// Compiles and links a component in the binary format, to run it many times.
    pub fn prepare(&self, component: &[u8]) -> anyhow::Result<Program> {
        let _time = self.registry.metrics().time(Phase::Compile);
        let component = Component::new(&self.engine, component)
            .map_err(anyhow::Error::from)
            .context("expected a component that this host can compile")?;
        let command = self
            .linker
            .instantiate_pre(&component)
            .and_then(CommandPre::new)
            .map_err(anyhow::Error::from)
            .context(
                "expected a command component that imports WASI 0.2, wasi:nn and llm-wasi:nn only",
            )?;
        Ok(Program { command })
    }

    /// As [`run_with`](Self::run_with), with a program that was prepared.
    pub async fn run_prepared(
        &self,
        program: &Program,
        streams: impl FnOnce(&mut WasiCtxBuilder),
    ) -> anyhow::Result<i32> {
        let store = self.store(streams)?;
        let registry = store.data().registry.clone();
        let running = async {
            let instance = self.begin(program, store).await?;
            let span = tracing::debug_span!("guest", number = registry.guest().number);
            instance.run().instrument(span).await
        };
        let Some(limit) = self.limits.time else {
            return running.await;
        };
        threads::timeout(limit, running)
            .context("the host's clock does not start")?
            .await
            .unwrap_or_else(|_| {
                count(&registry, Outcome::TimedOut);
                Err(Ended::TimedOut(limit).into())
            })
    }

    /// An instance of a program that was prepared.
    pub async fn instantiate(
        &self,
        program: &Program,
        streams: impl FnOnce(&mut WasiCtxBuilder),
    ) -> anyhow::Result<Instance> {
        self.begin(program, self.store(streams)?).await
    }

    async fn begin(&self, program: &Program, mut store: Store<State>) -> anyhow::Result<Instance> {
        let begun = program.command.instantiate_async(&mut store).await;
        let command = begun.map_err(|error| {
            let registry = &store.data().registry;
            let (error, outcome) = self.no_instance(registry, error);
            count(registry, outcome);
            error
        })?;
        Ok(Instance {
            store,
            command,
            fuel: self.limits.fuel,
            resources: self.limits.resources,
        })
    }

    /// Why a program has not begun.
    fn no_instance(&self, registry: &Registry, error: wasmtime::Error) -> (anyhow::Error, Outcome) {
        if let Some(ended) = limit_of(&error, self.limits.fuel) {
            return (ended.into(), ended.into());
        }
        if error.to_string().starts_with(TOO_MANY_INSTANCES) {
            let found = format!("at most {}, found more", self.limits.instances);
            registry.guest().note("instances", &found);
        }
        let error = anyhow::Error::from(error).context("the program cannot be instantiated");
        (error, Outcome::NotStarted)
    }

    /// A store for one program.
    fn store(&self, streams: impl FnOnce(&mut WasiCtxBuilder)) -> anyhow::Result<Store<State>> {
        let registry = self.registry.another_guest();
        let mut table = ResourceTable::new();
        table.set_max_capacity(self.limits.resources);
        let state = State {
            wasi: self.wasi(streams)?,
            table,
            limiter: Limiter::new(&registry, &self.limits),
            _counted: registry.metrics().instance(),
            registry,
        };
        let mut store = Store::new(&self.engine, state);
        store.limiter(|state| &mut state.limiter);
        // What a call may bring: by default less than a tensor may have.
        store.set_hostcall_fuel(self.limits.tensor.saturating_add(CALL));
        if let Some(fuel) = self.limits.fuel {
            store.set_fuel(fuel)?;
        }
        if self.ticker.is_some() {
            let limit = self.limits.time;
            let deadline = limit.and_then(|limit| Instant::now().checked_add(limit));
            store.set_epoch_deadline(1);
            store.epoch_deadline_callback(move |_| {
                if let (Some(limit), Some(deadline)) = (limit, deadline)
                    && Instant::now() >= deadline
                {
                    return Err(Ended::TimedOut(limit).into());
                }
                // To other programs on this thread.
                Ok(UpdateDeadline::Yield(1))
            });
        }
        Ok(store)
    }

    fn wasi(&self, streams: impl FnOnce(&mut WasiCtxBuilder)) -> anyhow::Result<WasiCtx> {
        let mut wasi = WasiCtxBuilder::new();
        wasi.args(&self.args).envs(&self.env);
        streams(&mut wasi);
        for (guest, host, permissions) in &self.dirs {
            wasi.preopened_dir(host, guest, *permissions)
                .map_err(anyhow::Error::from)
                .with_context(|| {
                    format!(
                        "expected a folder at {} to show the program as {guest}",
                        host.display()
                    )
                })?;
        }
        Ok(wasi.build())
    }
}
