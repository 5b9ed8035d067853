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

use crate::{Files, Monitor, NnView, Preload, Registry, RegistryBuilder, add_to_linker};
use anyhow::Context;
use std::path::PathBuf;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::{Duration, Instant};
use wasmtime::component::{Component, Linker, ResourceTable};
use wasmtime::{Cache, CacheConfig, Config, Engine, Store, UpdateDeadline};
use wasmtime_wasi::cli::{StdinStream, StdoutStream};
use wasmtime_wasi::p2::bindings::Command;
use wasmtime_wasi::{FsPerms, I32Exit, WasiCtx, WasiCtxBuilder, WasiCtxView, WasiView};

/// Size of the stack that a program and the host's functions below it share. Backends may recurse
/// deeper than Wasmtime's default allows; only what is used takes memory.
const STACK_SIZE: usize = 16 << 20;

/// A store's data: WASI, the models, and one table for both.
pub struct State {
    wasi: WasiCtx,
    table: ResourceTable,
    registry: Registry,
}

impl State {
    /// Lends what [`add_to_linker`] needs.
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
}

/// Collects what a program gets to see.
pub struct RunnerBuilder {
    args: Vec<String>,
    env: Vec<(String, String)>,
    dirs: Vec<(String, PathBuf, FsPerms)>,
    registry: RegistryBuilder,
    shared: Option<Registry>,
    cache: bool,
    time_limit: Option<Duration>,
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
    /// for it, or for others of the same registry, at its next token. Programs run a little slower then.
    #[must_use]
    pub fn time_limit(mut self, limit: Duration) -> Self {
        self.time_limit = Some(limit);
        self
    }

    /// The runner.
    pub fn build(self) -> anyhow::Result<Runner> {
        let mut config = Config::new();
        config.async_stack_size(STACK_SIZE);
        config.epoch_interruption(self.time_limit.is_some());
        if self.cache {
            match Cache::new(CacheConfig::new()) {
                Ok(cache) => {
                    config.cache(Some(cache));
                }
                // A read-only or missing home folder costs time, not the run.
                Err(error) => tracing::debug!("compiled programs are not cached: {error:#}"),
            }
        }
        let engine = Engine::new(&config)?;
        let mut linker = Linker::new(&engine);
        wasmtime_wasi::p2::add_to_linker_async(&mut linker)?;
        add_to_linker(&mut linker, State::nn)?;
        let files = self.dirs.iter().fold(Files::default(), |files, dir| {
            let (guest, host, _) = dir;
            files.dir(guest, host)
        });
        let registry = self.shared.unwrap_or_else(|| self.registry.build());
        Ok(Runner {
            engine,
            linker,
            args: self.args,
            env: self.env,
            dirs: self.dirs,
            registry: registry.with_files(files),
            time_limit: self.time_limit,
        })
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
    time_limit: Option<Duration>,
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
            time_limit: None,
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
        tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .context("the asynchronous runtime does not start")?
            .block_on(self.run(component))
    }

    /// As [`run`](Self::run), with standard streams as `streams` sets them; arguments, environment and
    /// folders are set already.
    pub async fn run_with(
        &self,
        component: &[u8],
        streams: impl FnOnce(&mut WasiCtxBuilder),
    ) -> anyhow::Result<i32> {
        let component = Component::new(&self.engine, component)
            .map_err(anyhow::Error::from)
            .context("expected a component that this host can compile")?;
        let state = State {
            wasi: self.wasi(streams)?,
            table: ResourceTable::new(),
            registry: self.registry.clone(),
        };
        let mut store = Store::new(&self.engine, state);
        if let Some(limit) = self.time_limit {
            let deadline = Instant::now().checked_add(limit);
            store.set_epoch_deadline(1);
            // The epoch is the engine's: it is counted for other programs' limits, too.
            store.epoch_deadline_callback(move |_| {
                if deadline.is_some_and(|deadline| Instant::now() >= deadline) {
                    return Err(Ended::TimedOut(limit).into());
                }
                Ok(UpdateDeadline::Continue(1))
            });
        }
        let running = async {
            let command = Command::instantiate_async(&mut store, &component, &self.linker)
                .await
                .map_err(anyhow::Error::from)
                .context(
                    "expected a command component that imports WASI 0.2, wasi:nn and llm-wasi:nn only",
                )?;
            anyhow::Ok(command.wasi_cli_run().call_run(&mut store).await)
        };
        let result = match self.time_limit {
            Some(limit) => self.within(limit, running).await??,
            None => running.await?,
        };
        match result {
            Ok(Ok(())) => Ok(0),
            Ok(Err(())) => Ok(1),
            Err(error) => match (
                error.downcast_ref::<I32Exit>(),
                error.downcast_ref::<Ended>(),
            ) {
                (Some(exit), _) => Ok(exit.0),
                (None, Some(ended)) => Err((*ended).into()),
                (None, None) => Err(anyhow::Error::from(error).context(Ended::Trapped)),
            },
        }
    }

    /// Ends what takes longer. A program may compute, or a model for it, or it may wait: each is ended
    /// in a way of its own.
    async fn within<V>(
        &self,
        limit: Duration,
        running: impl Future<Output = V>,
    ) -> Result<V, Ended> {
        let (engine, monitor) = (self.engine.clone(), self.registry.monitor().clone());
        let (ended, end) = channel::<()>();
        let watch = std::thread::spawn(move || {
            if end.recv_timeout(limit) == Err(RecvTimeoutError::Timeout) {
                // In this order, so that the program does not compute again.
                engine.increment_epoch();
                monitor.interrupt();
            }
        });
        let result = tokio::time::timeout(limit, running).await;
        drop(ended);
        // It does not panic, and what it has set must not outlive this run.
        let _ = watch.join();
        self.registry.monitor().resume();
        result.map_err(|_| Ended::TimedOut(limit))
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
