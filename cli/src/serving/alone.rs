//! One program, with the standard streams of this process.

use anyhow::{Context, Result};
use llm_wasi_host::runner::{Ended, LAST_WAIT, Runner};
use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::Duration;

/// Runs a component. Gives its exit code.
///
/// A program that writes to a reader that stalls does not hear that its time is over, nor does the thread on which it
/// runs: this one waits for it no longer than a moment more.
pub(crate) fn run(
    runner: &Arc<Runner>,
    component: &[u8],
    time_limit: Option<Duration>,
) -> Result<i32> {
    let program = runner.prepare(component)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .context("the asynchronous runtime does not start")?;
    let (sender, ended) = channel();
    let runner = runner.clone();
    runtime.spawn(async move {
        let streams = |wasi: &mut wasmtime_wasi::WasiCtxBuilder| {
            wasi.inherit_stdio();
        };
        // Nobody waits for it any more if this fails.
        let _ = sender.send(runner.run_prepared(&program, streams).await);
    });
    let ended = match time_limit {
        None => ended.recv().map_err(RecvTimeoutError::from),
        Some(limit) => ended.recv_timeout(limit.saturating_add(LAST_WAIT)),
    };
    runtime.shutdown_timeout(LAST_WAIT);
    match (ended, time_limit) {
        (Ok(ended), _) => ended,
        (Err(RecvTimeoutError::Timeout), Some(limit)) => Err(Ended::TimedOut(limit).into()),
        (Err(_), _) => Err(anyhow::anyhow!("the host has failed")),
    }
}
