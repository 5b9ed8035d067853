//! The worker of one model: started when it is needed, and again when it has died, but not for ever.

use super::Isolation;
use super::message::{BUILD, Hello};
use super::worker::{Deaths, Worker};
use crate::backend::Target;
use crate::scratch::ScratchFolder;
use crate::{Error, ErrorCode, stdout};
use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

/// So many deaths within [`PERIOD`] are too many.
const MOST_DEATHS: usize = 5;
const PERIOD: Duration = Duration::from_secs(60);

/// What starts the workers of a model.
pub(super) struct Supervisor {
    pub(super) isolation: Isolation,
    /// The model, for messages.
    pub(super) model: String,
    pub(super) backend: String,
    pub(super) target: Target,
    /// What a worker may read.
    pub(super) readable: Vec<PathBuf>,
    /// Whether it gets a folder for files of its own.
    pub(super) scratch: bool,
    deaths: Deaths,
    worker: Mutex<Started>,
}

#[derive(Default)]
struct Started {
    worker: Weak<Worker>,
    /// How many had died before it.
    deaths: usize,
}

impl Supervisor {
    pub(super) fn new(
        isolation: Isolation,
        model: String,
        backend: String,
        target: Target,
        readable: Vec<PathBuf>,
        scratch: bool,
    ) -> Self {
        Self {
            isolation,
            model,
            backend,
            target,
            readable,
            scratch,
            deaths: Deaths::default(),
            worker: Mutex::default(),
        }
    }

    /// The worker that lives, or a new one.
    pub(super) fn worker(&self) -> Result<Arc<Worker>, Error> {
        // Held while it starts: two that ask at once get one.
        let mut started = self.worker.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(worker) = started.worker.upgrade().filter(|worker| !worker.is_dead()) {
            return Ok(worker);
        }
        let deaths = self.check_deaths()?;
        let worker = Arc::new(self.start()?);
        if deaths > started.deaths {
            self.isolation.restarts.fetch_add(1, Ordering::Relaxed);
            self.isolation.metrics.worker_restarted();
            tracing::info!("model `{}` has a new worker process", self.model);
        }
        *started = Started {
            worker: Arc::downgrade(&worker),
            deaths,
        };
        Ok(worker)
    }

    /// How many workers have died; fails if it were too many in a short time.
    fn check_deaths(&self) -> Result<usize, Error> {
        let deaths = self.deaths.lock().unwrap_or_else(PoisonError::into_inner);
        let age = |death: &Instant| death.elapsed();
        let Some(first) = deaths.iter().rev().nth(MOST_DEATHS - 1).map(age) else {
            return Ok(deaths.len());
        };
        let Some(rest) = PERIOD.checked_sub(first) else {
            return Ok(deaths.len());
        };
        Err(Error::new(
            ErrorCode::RuntimeError,
            format!(
                "the worker process of model `{}` has died {MOST_DEATHS} times within {} seconds: it is not \
                 started again for {} seconds. The model's file may be damaged or hostile: take another one",
                self.model,
                PERIOD.as_secs(),
                rest.as_secs() + 1
            ),
        ))
    }

    /// Whether nothing is lost if this is forgotten.
    pub(super) fn is_idle(&self) -> bool {
        // One that starts is held.
        let Ok(started) = self.worker.try_lock() else {
            return false;
        };
        let deaths = self.deaths.lock().unwrap_or_else(PoisonError::into_inner);
        started.worker.strong_count() == 0
            && deaths.last().is_none_or(|death| death.elapsed() > PERIOD)
    }

    fn start(&self) -> Result<Worker, Error> {
        let scratch = if self.scratch {
            Some(ScratchFolder::new().map_err(|error| {
                Error::new(
                    ErrorCode::RuntimeError,
                    format!(
                        "expected a temporary folder in {} for the model's bytes, got none: {error}",
                        std::env::temp_dir().display()
                    ),
                )
            })?)
        } else {
            None
        };
        let hello = Hello {
            build: BUILD.to_owned(),
            backend: self.backend.clone(),
            target: self.target,
            readable: self
                .readable
                .iter()
                .map(|path| path.as_path().into())
                .collect(),
            scratch: scratch.as_deref().map(Into::into),
            memory: self.isolation.memory,
            strict: self.isolation.strict,
            writes: stdout::is_allowed(),
        };
        Worker::start(
            &self.isolation,
            &self.model,
            &hello,
            scratch,
            self.deaths.clone(),
        )
    }
}
