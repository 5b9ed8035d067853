//! Figures of a running host, for monitoring: what [`Registry::metrics`](crate::Registry::metrics) gives.

use crate::figures::{Figure, Untold};
use crate::limits::names;
use prometheus_client::encoding::{prometheus_text, text};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Registry, Unit};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

/// Counters that differ in one label.
type Labelled = Family<[(&'static str, &'static str); 1], Counter>;

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
    refused: Labelled,
    worker_restarts: Counter,
    instances: Gauge,
    ended: Labelled,
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

/// How a program has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// With the exit code 0.
    Success,
    /// With another one.
    Failure,
    Trapped,
    TimedOut,
    OutOfFuel,
    /// It was not even instantiated.
    NotStarted,
}

impl Outcome {
    const ALL: [Self; 6] = [
        Self::Success,
        Self::Failure,
        Self::Trapped,
        Self::TimedOut,
        Self::OutOfFuel,
        Self::NotStarted,
    ];

    fn name(self) -> &'static str {
        match self {
            Self::Success => "success",
            Self::Failure => "failure",
            Self::Trapped => "trap",
            Self::TimedOut => "time",
            Self::OutOfFuel => "fuel",
            Self::NotStarted => "not-started",
        }
    }
}

/// The labels of counters.
const LIMIT: &str = "limit";
const OUTCOME: &str = "outcome";

/// What the time of a run goes into.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Phase {
    /// Compiling programs.
    Compile,
    /// Loading models.
    Load,
    /// Evaluating the prompts of language models, and waiting for a place.
    Prefill,
    /// Generating their texts, token by token.
    Decode,
    /// Computing with models of ONNX Runtime and OpenVINO, without waiting for a place.
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
            refused: Labelled::default(),
            worker_restarts: Counter::default(),
            instances: Gauge::default(),
            ended: Labelled::default(),
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
                "worker_restarts",
                "Worker processes that ended and were started again",
                &inner.worker_restarts,
            ),
        ];
        for (name, help, counter) in counters {
            registry.register(name, help, counter.clone());
        }
        let refused = ("refused", "What exceeded a limit of its guest");
        let ended = ("ended", "Programs that have ended");
        let outcomes = Outcome::ALL.map(Outcome::name);
        for ((name, help), label, values, counters) in [
            (
                refused,
                LIMIT,
                &mut names() as &mut dyn Iterator<Item = _>,
                &inner.refused,
            ),
            (ended, OUTCOME, &mut outcomes.into_iter(), &inner.ended),
        ] {
            // All are there from the beginning, so that the first one is an increase.
            for value in values {
                drop(counters.get_or_create(&[(label, value)]));
            }
            registry.register(name, help, counters.clone());
        }
        let version = [("version", env!("CARGO_PKG_VERSION"))];
        registry.register("build", "What was built", Info::new(version));
        let start = Gauge::<f64, AtomicU64>::default();
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        start.set(since.unwrap_or_default().as_secs_f64());
        registry.register_with_unit(
            "start_time",
            "When this host began, since the year 1970",
            Unit::Seconds,
            start,
        );
        let gauges = [
            (
                "running",
                "Computations that run; those of language models share batches",
                &inner.running,
            ),
            (
                "waiting",
                "Computations that wait for a place",
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
        self.measure();
        let mut text = String::new();
        // A string takes everything.
        let _ = text::encode(&mut text, &self.0.registry);
        text
    }

    /// The figures in Prometheus's own, older text format (0.0.4).
    pub fn encode_prometheus(&self) -> String {
        self.measure();
        let mut text = String::new();
        // A string takes everything.
        let _ = prometheus_text::encode(&mut text, &self.0.registry);
        text
    }

    /// Sets what is not counted.
    fn measure(&self) {
        if let Some(memory) = resident_memory("self") {
            self.0.memory.set(memory);
        }
        let workers = self.workers().clone();
        let memory = workers
            .iter()
            .filter_map(|number| resident_memory(&number.to_string()));
        self.0.worker_memory.set(memory.sum());
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

    /// Counts a program that has ended.
    pub(crate) fn ended(&self, outcome: Outcome) {
        let label = [(OUTCOME, outcome.name())];
        self.0.ended.get_or_create(&label).inc();
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
            Figure::Refused(limit) => {
                // A worker process may tell anything.
                if let Some(name) = names().nth(limit) {
                    refused.get_or_create(&[(LIMIT, name)]).inc();
                }
            }
            Figure::FirstToken(took) => first_token_seconds.observe(took.as_secs_f64()),
            Figure::Spent(phase, time) => {
                let time = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
                phases[phase as usize].fetch_add(time, Ordering::Relaxed);
            }
            Figure::Computations(changes) => {
                for (gauge, change) in [running, waiting, kept_tokens].into_iter().zip(changes) {
                    gauge.inc_by(change);
                }
            }
        }
    }

    /// A part of the gauges of computations.
    pub(crate) fn computations(&self) -> ComputationGauges {
        ComputationGauges {
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

/// What a scheduler, a context of tensors, or a worker process adds to gauges that are the sum of all; nothing once it is
/// gone.
pub(crate) struct ComputationGauges {
    metrics: Metrics,
    told: [i64; 3],
}

impl ComputationGauges {
    /// How many computations run and wait, and how many tokens are kept.
    #[cfg(any(feature = "ggml", feature = "onnx", feature = "openvino"))]
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
        self.metrics.count(Figure::Computations(changes));
    }
}

impl Drop for ComputationGauges {
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
        metrics.count(Figure::Refused(1));
        metrics.ended(Outcome::TimedOut);
        let text = metrics.encode();
        for line in [
            "llm_wasi_refused_total{limit=\"table-elements\"} 1",
            "llm_wasi_refused_total{limit=\"queue\"} 0",
            "llm_wasi_ended_total{outcome=\"time\"} 1",
            "llm_wasi_ended_total{outcome=\"success\"} 0",
            concat!(
                "llm_wasi_build_info{version=\"",
                env!("CARGO_PKG_VERSION"),
                "\"} 1"
            ),
            "llm_wasi_instances 1",
            "llm_wasi_worker_restarts_total 0",
            "# EOF",
        ] {
            assert!(text.lines().any(|found| found == line), "{line} in {text}");
        }
        assert!(text.contains("llm_wasi_start_time_seconds 1"), "{text}");
        drop(running);
        let text = metrics.encode_prometheus();
        assert!(text.contains("llm_wasi_instances 0"), "{text}");
        assert!(
            text.contains("# TYPE llm_wasi_prompt_tokens_total counter"),
            "{text}"
        );
        assert!(!text.contains("# EOF"), "{text}");
    }

    #[test]
    fn a_worker_that_tells_of_no_limit_counts_nothing() {
        let metrics = Metrics::default();
        metrics.count(Figure::Refused(usize::MAX));
        let text = metrics.encode();
        let mut refused = text
            .lines()
            .filter(|line| line.starts_with("llm_wasi_refused_total"));
        assert!(refused.all(|line| line.ends_with(" 0")), "{text}");
    }

    #[cfg(feature = "ggml")]
    #[test]
    fn gauges_are_sums_and_a_scheduler_takes_its_part_along() {
        let metrics = Metrics::default();
        let (mut one, mut two) = (metrics.computations(), metrics.computations());
        one.set(1, 2, 3);
        two.set(10, 20, 30);
        one.set(2, 0, 3);
        assert!(metrics.encode().contains("llm_wasi_running 12"));
        drop(two);
        let text = metrics.encode();
        assert!(text.contains("llm_wasi_running 2") && text.contains("llm_wasi_kept_tokens 3"));
    }
}
