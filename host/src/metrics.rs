//! Figures of a running host, for monitoring: what [`Registry::metrics`](crate::Registry::metrics) gives.

use crate::figures::{Figure, Untold};
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Registry, Unit};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// The figures of one host. Clones are one and the same.
#[derive(Clone, Default)]
pub struct Metrics(Arc<Inner>);

struct Inner {
    registry: Registry,
    prompt_tokens: Counter,
    cached_tokens: Counter,
    generated_tokens: Counter,
    evicted_tokens: Counter,
    running: Gauge,
    waiting: Gauge,
    kept_tokens: Gauge,
    batch_tokens: Histogram,
    batch_seconds: Histogram,
    first_token_seconds: Histogram,
    refused: Counter,
    worker_restarts: Counter,
    instances: Gauge,
    memory: Gauge,
    worker_memory: Gauge,
    /// The worker processes, by their numbers.
    workers: Mutex<BTreeSet<u32>>,
    /// In a worker process: what the host counts instead.
    untold: Option<Untold>,
    /// Whether the time of phases is taken.
    timings: AtomicBool,
    /// Nanoseconds of each phase.
    phases: [AtomicU64; Phase::ALL.len()],
}

/// What the time of a run goes into.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Phase {
    /// Compiling programs.
    Compile,
    /// Loading models.
    Load,
    /// Evaluating the prompts of language models.
    Prefill,
    /// Generating their texts, token by token.
    Decode,
    /// Computing with other models.
    Compute,
    /// Copying inputs from a guest, through the extension.
    Copy,
}

impl Phase {
    /// Every phase.
    pub const ALL: [Self; 6] = [
        Self::Compile,
        Self::Load,
        Self::Prefill,
        Self::Decode,
        Self::Compute,
        Self::Copy,
    ];
}

/// Takes the time of a phase until it is dropped.
pub(crate) struct Stopwatch {
    metrics: Metrics,
    phase: Phase,
    started: Instant,
}

impl Drop for Stopwatch {
    fn drop(&mut self) {
        let time = self.started.elapsed();
        self.metrics.count(Figure::Spent(self.phase, time));
    }
}

impl Default for Inner {
    fn default() -> Self {
        let mut registry = Registry::with_prefix("llm_wasi");
        let tokens = || Histogram::new(exponential_buckets(1.0, 2.0, 12));
        let seconds = || Histogram::new(exponential_buckets(0.001, 2.0, 16));
        let inner = Self {
            registry: Registry::default(),
            prompt_tokens: Counter::default(),
            cached_tokens: Counter::default(),
            generated_tokens: Counter::default(),
            evicted_tokens: Counter::default(),
            running: Gauge::default(),
            waiting: Gauge::default(),
            kept_tokens: Gauge::default(),
            batch_tokens: tokens(),
            batch_seconds: seconds(),
            first_token_seconds: seconds(),
            refused: Counter::default(),
            worker_restarts: Counter::default(),
            instances: Gauge::default(),
            memory: Gauge::default(),
            worker_memory: Gauge::default(),
            workers: Mutex::default(),
            untold: None,
            timings: AtomicBool::new(false),
            phases: Default::default(),
        };
        let counters = [
            ("prompt_tokens", "Tokens of prompts", &inner.prompt_tokens),
            (
                "cached_tokens",
                "Tokens of prompts that were in the KV cache and were not evaluated again",
                &inner.cached_tokens,
            ),
            (
                "generated_tokens",
                "Tokens that language models generated",
                &inner.generated_tokens,
            ),
            (
                "evicted_tokens",
                "Tokens that left the KV cache for others",
                &inner.evicted_tokens,
            ),
            (
                "refused",
                "Calls of guests that exceeded a limit",
                &inner.refused,
            ),
            (
                "worker_restarts",
                "Worker processes that ended and were started again",
                &inner.worker_restarts,
            ),
        ];
        for (name, help, counter) in counters {
            registry.register(name, help, counter.clone());
        }
        let gauges = [
            (
                "running",
                "Computations of language models that share batches",
                &inner.running,
            ),
            (
                "waiting",
                "Computations of language models that wait for a place",
                &inner.waiting,
            ),
            (
                "kept_tokens",
                "Tokens in KV caches that no computation needs at the moment",
                &inner.kept_tokens,
            ),
            ("instances", "Programs that run", &inner.instances),
        ];
        for (name, help, gauge) in gauges {
            registry.register(name, help, gauge.clone());
        }
        registry.register_with_unit(
            "memory",
            "Memory of the process",
            Unit::Bytes,
            inner.memory.clone(),
        );
        registry.register_with_unit(
            "worker_memory",
            "Memory of its worker processes",
            Unit::Bytes,
            inner.worker_memory.clone(),
        );
        registry.register(
            "batch_tokens",
            "Tokens that were evaluated together",
            inner.batch_tokens.clone(),
        );
        registry.register_with_unit(
            "batch",
            "How long they took",
            Unit::Seconds,
            inner.batch_seconds.clone(),
        );
        registry.register_with_unit(
            "first_token",
            "How long the first token of a text took",
            Unit::Seconds,
            inner.first_token_seconds.clone(),
        );
        Self { registry, ..inner }
    }
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Metrics")
    }
}

impl Metrics {
    /// The figures in the text format of OpenMetrics, which Prometheus reads.
    pub fn encode(&self) -> String {
        if let Some(memory) = resident_memory("self") {
            self.0.memory.set(memory);
        }
        let workers = self.workers().clone();
        let memory = workers
            .iter()
            .filter_map(|number| resident_memory(&number.to_string()));
        self.0.worker_memory.set(memory.sum());
        let mut text = String::new();
        // A string takes everything.
        let _ = encode(&mut text, &self.0.registry);
        text
    }

    /// Tokens of prompts so far, and how many of them were in the KV cache.
    pub fn prompt_tokens(&self) -> (u64, u64) {
        (self.0.prompt_tokens.get(), self.0.cached_tokens.get())
    }

    /// Tokens that were generated so far.
    pub fn generated_tokens(&self) -> u64 {
        self.0.generated_tokens.get()
    }

    /// How often a worker process was started again.
    pub fn worker_restarts(&self) -> u64 {
        self.0.worker_restarts.get()
    }

    /// Takes the time of phases from now on.
    pub fn take_timings(&self) {
        self.0.timings.store(true, Ordering::Relaxed);
    }

    /// How long a phase has taken so far; of computations at once the sum.
    pub fn spent(&self, phase: Phase) -> Duration {
        Duration::from_nanos(self.0.phases[phase as usize].load(Ordering::Relaxed))
    }

    /// Takes the time of a phase, if that is wanted.
    pub(crate) fn time(&self, phase: Phase) -> Option<Stopwatch> {
        self.0.timings.load(Ordering::Relaxed).then(|| Stopwatch {
            metrics: self.clone(),
            phase,
            started: Instant::now(),
        })
    }

    /// Counts a call that exceeded a limit.
    pub(crate) fn refused(&self) {
        self.0.refused.inc();
    }

    #[cfg(target_os = "linux")]
    pub(crate) fn worker_restarted(&self) {
        self.0.worker_restarts.inc();
    }

    /// Counts a program until what it gives is dropped.
    pub(crate) fn instance(&self) -> Counted {
        Counted::new(&self.0.instances)
    }

    /// For a worker process: nothing is counted here, [`Metrics::untold`] has it.
    #[cfg(target_os = "linux")]
    pub(crate) fn of_worker() -> Self {
        Self(Arc::new(Inner {
            untold: Some(Untold::default()),
            ..Inner::default()
        }))
    }

    /// In a worker process, what is to be told.
    #[cfg(target_os = "linux")]
    pub(crate) fn untold(&self) -> Option<&Untold> {
        self.0.untold.as_ref()
    }

    /// Whether the time of phases is taken.
    #[cfg(target_os = "linux")]
    pub(crate) fn takes_timings(&self) -> bool {
        self.0.timings.load(Ordering::Relaxed)
    }

    /// Counts a worker process until what it gives is dropped.
    #[cfg(target_os = "linux")]
    pub(crate) fn worker(&self, number: u32) -> CountedWorker {
        self.workers().insert(number);
        CountedWorker {
            metrics: self.clone(),
            number,
        }
    }

    fn workers(&self) -> MutexGuard<'_, BTreeSet<u32>> {
        let workers = self.0.workers.lock();
        workers.unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts something.
    pub(crate) fn count(&self, figure: Figure) {
        let Inner {
            untold: None,
            prompt_tokens,
            cached_tokens,
            generated_tokens,
            evicted_tokens,
            refused,
            running,
            waiting,
            kept_tokens,
            batch_tokens,
            batch_seconds,
            first_token_seconds,
            phases,
            ..
        } = &*self.0
        else {
            if let Some(untold) = &self.0.untold {
                untold.add(figure);
            }
            return;
        };
        match figure {
            Figure::Prompt { tokens, cached } => {
                prompt_tokens.inc_by(tokens);
                cached_tokens.inc_by(cached);
            }
            Figure::Evicted(tokens) => drop(evicted_tokens.inc_by(tokens)),
            Figure::Batch { tokens, took } => {
                batch_tokens.observe(tokens as f64);
                batch_seconds.observe(took.as_secs_f64());
            }
            Figure::Generated => drop(generated_tokens.inc()),
            Figure::Refused => drop(refused.inc()),
            Figure::FirstToken(took) => first_token_seconds.observe(took.as_secs_f64()),
            Figure::Spent(phase, time) => {
                let time = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
                phases[phase as usize].fetch_add(time, Ordering::Relaxed);
            }
            Figure::Scheduler(changes) => {
                for (gauge, change) in [running, waiting, kept_tokens].into_iter().zip(changes) {
                    gauge.inc_by(change);
                }
            }
        }
    }

    /// A part of the gauges of schedulers.
    pub(crate) fn scheduler(&self) -> SchedulerGauges {
        SchedulerGauges {
            metrics: self.clone(),
            told: [0; 3],
        }
    }
}

/// One of the worker processes.
#[cfg(target_os = "linux")]
pub(crate) struct CountedWorker {
    metrics: Metrics,
    number: u32,
}

#[cfg(target_os = "linux")]
impl Drop for CountedWorker {
    fn drop(&mut self) {
        self.metrics.workers().remove(&self.number);
    }
}

/// One of what a gauge counts.
pub(crate) struct Counted(Gauge);

impl Counted {
    fn new(gauge: &Gauge) -> Self {
        gauge.inc();
        Self(gauge.clone())
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.dec();
    }
}

/// What one scheduler, or all of a worker process, add to gauges that are the sum of all; nothing once it is gone.
pub(crate) struct SchedulerGauges {
    metrics: Metrics,
    told: [i64; 3],
}

impl SchedulerGauges {
    /// How many computations run and wait, and how many tokens are kept.
    #[cfg(feature = "ggml")]
    pub(crate) fn set(&mut self, running: usize, waiting: usize, kept: usize) {
        let now = [running, waiting, kept].map(|count| i64::try_from(count).unwrap_or(i64::MAX));
        let told = self.told;
        self.add([0, 1, 2].map(|index| now[index] - told[index]));
    }

    /// By how many they have changed.
    pub(crate) fn add(&mut self, changes: [i64; 3]) {
        if changes == [0; 3] {
            return;
        }
        // A worker process may tell anything.
        for (told, change) in self.told.iter_mut().zip(changes) {
            *told = told.wrapping_add(change);
        }
        self.metrics.count(Figure::Scheduler(changes));
    }
}

impl Drop for SchedulerGauges {
    fn drop(&mut self) {
        self.add(self.told.map(i64::wrapping_neg));
    }
}

/// How much memory a process has, in bytes, if the system says.
fn resident_memory(process: &str) -> Option<i64> {
    let text = std::fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kilobytes: i64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kilobytes.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_has_what_was_counted() {
        let metrics = Metrics::default();
        let running = metrics.instance();
        metrics.refused();
        let text = metrics.encode();
        for line in [
            "llm_wasi_refused_total 1",
            "llm_wasi_instances 1",
            "llm_wasi_worker_restarts_total 0",
            "# EOF",
        ] {
            assert!(text.lines().any(|found| found == line), "{line} in {text}");
        }
        drop(running);
        assert!(metrics.encode().contains("llm_wasi_instances 0"));
    }

    #[cfg(feature = "ggml")]
    #[test]
    fn gauges_are_sums_and_a_scheduler_takes_its_part_along() {
        let metrics = Metrics::default();
        let (mut one, mut two) = (metrics.scheduler(), metrics.scheduler());
        one.set(1, 2, 3);
        two.set(10, 20, 30);
        one.set(2, 0, 3);
        assert!(metrics.encode().contains("llm_wasi_running 12"));
        drop(two);
        let text = metrics.encode();
        assert!(text.contains("llm_wasi_running 2") && text.contains("llm_wasi_kept_tokens 3"));
    }
}
