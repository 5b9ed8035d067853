//! Many instances of one program in one process.

use super::streams::{Lines, Writer};
use anyhow::{Context, Result};
use llm_wasi_host::runner::{Ended, LAST_WAIT, Program, Runner};
use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use wasmtime_wasi::cli::AsyncStdoutStream;

/// Under this name an instance finds its number.
pub(crate) const NUMBER: &str = "LLM_WASI_INSTANCE";
/// How much output may wait for its way out.
const BUFFER: usize = 64 << 10;
/// How many failures are told one by one.
const MOST_TOLD: u32 = 8;
/// The exit status when nobody reads standard output any more, as of other commands.
const NO_READER: i32 = 1;

/// An instance whose output did not come out.
#[derive(Debug)]
pub(crate) struct Unwritten;

impl fmt::Display for Unwritten {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the end of its output was not written")
    }
}

/// How many there are of what.
pub(crate) struct Counts {
    pub(crate) instances: u32,
    pub(crate) parallel: u32,
    /// The time of each of them.
    pub(crate) time_limit: Option<Duration>,
}

/// Runs so many instances, so many of them at once. Gives the first exit code that is not 0, or the first
/// failure; the others go on whatever happens to one. When standard output has no reader any more, all end.
pub(crate) fn run(runner: &Arc<Runner>, component: &[u8], counts: &Counts) -> Result<i32> {
    let program = runner.prepare(component)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("the asynchronous runtime does not start")?;
    let (streams, mut reader_gone) =
        Streams::open().context("a thread for output does not start")?;
    #[cfg(unix)]
    {
        let streams = streams.clone();
        crate::signals::before_end(async move || streams.finish_all().await)
            .context("signals are not heard")?;
    }
    let places = counts.parallel.min(counts.instances) as usize;
    let mut failures = Failures::default();
    let mut running = JoinSet::new();
    let mut number_of = HashMap::new();
    let mut numbers = 0..counts.instances;
    loop {
        while running.len() < places
            && let Some(number) = numbers.next()
        {
            let (runner, program) = (runner.clone(), program.clone());
            let (streams, time_limit) = (streams.clone(), counts.time_limit);
            let instance =
                async move { one(&runner, &program, &streams, number, time_limit).await };
            let task = running.spawn_on(instance, runtime.handle());
            number_of.insert(task.id(), number);
        }
        let ended = runtime.block_on(async {
            tokio::select! {
                biased;
                Ok(()) = &mut reader_gone => Err(NO_READER),
                ended = running.join_next_with_id() => Ok(ended),
            }
        });
        let ended = match ended {
            Ok(Some(ended)) => ended,
            Ok(None) => break,
            Err(status) => {
                running.abort_all();
                runtime.shutdown_timeout(LAST_WAIT);
                return Ok(status);
            }
        };
        // A panic is the failure of one as well.
        let (task, result) = match ended {
            Ok((task, result)) => (task, result),
            Err(error) => (error.id(), Err(error).context("the host has failed")),
        };
        let number = number_of.remove(&task).unwrap_or_default();
        if !matches!(result, Ok(0)) {
            failures.add(number, result);
        }
    }
    runtime.shutdown_timeout(LAST_WAIT);
    failures.result()
}

/// What did not end well.
#[derive(Default)]
struct Failures {
    /// That of the lowest number, whichever has ended first.
    first: Option<(u32, Result<i32>)>,
    /// How many there are besides.
    others: u32,
}

impl Failures {
    fn add(&mut self, number: u32, result: Result<i32>) {
        let result = result.with_context(|| format!("instance {number}"));
        let (other_number, other) = match &mut self.first {
            None => {
                self.first = Some((number, result));
                return;
            }
            Some((first, given)) if number < *first => (
                std::mem::replace(first, number),
                std::mem::replace(given, result),
            ),
            Some(_) => (number, result),
        };
        self.others += 1;
        let text = match other {
            Ok(code) => format!("instance {other_number} has ended with {code}"),
            Err(error) => format!("{error:#}"),
        };
        if self.others <= MOST_TOLD {
            tracing::warn!("{text}");
        } else {
            tracing::debug!("{text}");
        }
    }

    fn result(self) -> Result<i32> {
        if let Some(more @ 1..) = self.others.checked_sub(MOST_TOLD) {
            tracing::warn!(
                "{more} more instances have not ended well: RUST_LOG=llm_wasi=debug tells of each"
            );
        }
        self.first.map_or(Ok(0), |(_, result)| result)
    }
}

/// Standard output and standard error, and what instances have of them.
#[derive(Clone)]
struct Streams {
    stdout: Writer,
    stderr: Writer,
    /// Of the instances that run.
    open: Arc<Mutex<BTreeMap<u32, [Lines; 2]>>>,
}

impl Streams {
    /// With who is told when nobody reads standard output any more.
    fn open() -> std::io::Result<(Self, oneshot::Receiver<()>)> {
        let (gone, reader_gone) = oneshot::channel();
        let streams = Self {
            stdout: Writer::start("stdout", std::io::stdout(), Some(gone))?,
            stderr: Writer::start("stderr", std::io::stderr(), None)?,
            open: Arc::default(),
        };
        Ok((streams, reader_gone))
    }

    fn of(&self, number: u32) -> [Lines; 2] {
        let lines = [&self.stdout, &self.stderr].map(|writer| Lines::new(number, writer));
        self.running().insert(number, lines.clone());
        lines
    }

    /// Writes what instances have begun to write, as far as it is read soon.
    #[cfg(unix)]
    async fn finish_all(&self) {
        let running = std::mem::take(&mut *self.running());
        let deadline = tokio::time::Instant::now() + LAST_WAIT;
        for lines in running.into_values().flatten() {
            // The process ends anyway.
            let _ = tokio::time::timeout_at(deadline, lines.finish()).await;
        }
    }

    fn running(&self) -> MutexGuard<'_, BTreeMap<u32, [Lines; 2]>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn one(
    runner: &Runner,
    program: &Program,
    streams: &Streams,
    number: u32,
    time_limit: Option<Duration>,
) -> Result<i32> {
    let started = Instant::now();
    let [stdout, stderr] = streams.of(number);
    let ended = runner
        .run_prepared(program, |wasi| {
            wasi.env(NUMBER, number.to_string())
                .stdout(AsyncStdoutStream::new(BUFFER, stdout.clone()))
                .stderr(AsyncStdoutStream::new(BUFFER, stderr.clone()));
        })
        .await;
    let finish = async {
        stdout.finish().await?;
        stderr.finish().await
    };
    let written = match time_limit {
        None => Ok(finish.await),
        Some(limit) => {
            let left = limit.saturating_sub(started.elapsed()).max(LAST_WAIT);
            let in_time = tokio::time::timeout(left, finish).await;
            in_time.map_err(|_| Ended::TimedOut(limit))
        }
    };
    streams.running().remove(&number);
    match (ended, written) {
        (Ok(0), Ok(written)) => written.context(Unwritten).map(|()| 0),
        (Ok(0), Err(timed_out)) => Err(timed_out.into()),
        // It had its reasons before.
        (ended, _) => ended,
    }
}
