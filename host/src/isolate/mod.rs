//! Models in processes of their own: what breaks a library there breaks nothing here.
//!
//! 1. [`Isolated`] stands in for a backend. Its `load` finds or starts the worker process of the model's files
//!    (`supervisor`, `worker`); all graphs and contexts of these files live there, where the backend itself
//!    keeps the model in memory once and computes for several contexts at once.
//! 2. `graph` and `context` pass calls on. Each context has a socket of its own (`stream`, `frame`,
//!    `message`), so that none waits for another. A step is one question and one answer, which brings what
//!    guests read next.
//! 3. [`serve`] is the other side: the worker enters its `sandbox` before it sees the model's first byte.
//!
//! A worker that dies is an error for those who compute there, and a new one for whoever comes next.

mod backend;
mod calling;
mod context;
mod environment;
mod frame;
mod graph;
mod log;
mod message;
mod sandbox;
mod serve;
mod stream;
mod supervisor;
mod syscalls;
mod worker;

pub use backend::Isolated;
pub use serve::serve;
#[cfg(feature = "test-support")]
pub(crate) use serve::serve_beside;

use crate::Metrics;
use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Which models that whoever runs the host has named are isolated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NamedModels {
    /// None.
    None,
    /// Language models that compute on the processor, which costs them less than two in a hundred of their speed.
    Language,
    /// All.
    All,
}

/// How models are isolated. Clones count their restarts together.
///
/// ```
/// use llm_wasi_host::isolate::Isolation;
///
/// // This program, which calls `serve` when its first argument is `worker`.
/// let isolation = Isolation::new(["worker"]).memory(8 << 30);
/// ```
#[derive(Clone, Debug)]
pub struct Isolation {
    program: PathBuf,
    arguments: Vec<OsString>,
    memory: Option<u64>,
    strict: bool,
    named_models: NamedModels,
    restarts: Arc<AtomicU64>,
    /// The host's, which count them as well.
    pub(crate) metrics: Metrics,
}

impl Isolation {
    /// Workers are this program with other arguments, for which it must call [`serve`].
    pub fn new<A: Into<OsString>>(arguments: impl IntoIterator<Item = A>) -> Self {
        Self {
            // Of this process, even if another file has its name by now.
            program: "/proc/self/exe".into(),
            arguments: arguments.into_iter().map(Into::into).collect(),
            memory: None,
            strict: false,
            named_models: NamedModels::All,
            restarts: Arc::default(),
            metrics: Metrics::default(),
        }
    }

    /// Workers are this program. It must have been built with this version of this crate, and call [`serve`].
    #[must_use]
    pub fn program(mut self, program: impl Into<PathBuf>) -> Self {
        self.program = program.into();
        self
    }

    /// The most bytes that a worker's address space may have. The files that are mapped into memory count as
    /// well.
    #[must_use]
    pub fn memory(mut self, bytes: u64) -> Self {
        self.memory = Some(bytes);
        self
    }

    /// Whether nothing is loaded where the system lacks a part of the sandbox. Otherwise a warning says what
    /// is missing.
    #[must_use]
    pub fn strict(mut self, strict: bool) -> Self {
        self.strict = strict;
        self
    }

    /// Which models that whoever runs the host has named are isolated as well. All are by default; those of which a
    /// guest has the bytes always are.
    #[must_use]
    pub fn named_models(mut self, isolated: NamedModels) -> Self {
        self.named_models = isolated;
        self
    }

    /// How often a worker was started in the place of one that died.
    pub fn restarts(&self) -> u64 {
        self.restarts.load(Ordering::Relaxed)
    }
}
