//! A conversation in a pipe: whoever has read enough of it ends it quietly.

use anyhow::Context;
use llm_wasi_host::runner::{LAST_WAIT, Runner};
use std::io::{ErrorKind, Write};
use std::pin::Pin;
use std::process::exit;
use std::task::{Context as TaskContext, Poll};
use tokio::io::AsyncWrite;
use wasmtime_wasi::cli::AsyncStdoutStream;

/// Bytes that wait to be written.
const BUFFER: usize = 4096;

/// Runs the conversation. Gives its exit code.
pub(super) fn converse(runner: &Runner, component: &[u8]) -> anyhow::Result<i32> {
    let stdout = AsyncStdoutStream::new(BUFFER, Stdout);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .context("the asynchronous runtime does not start")?;
    let stdin = wasmtime_wasi::cli::stdin();
    let ended = runtime.block_on(runner.run_with_streams(component, stdin, stdout));
    runtime.shutdown_timeout(LAST_WAIT);
    ended
}

/// Standard output, on the runtime's own thread: there is nothing else to do while it is written.
struct Stdout;

impl AsyncWrite for Stdout {
    fn poll_write(
        self: Pin<&mut Self>,
        _: &mut TaskContext<'_>,
        bytes: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        Poll::Ready(quiet(std::io::stdout().write(bytes)))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut TaskContext<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(quiet(std::io::stdout().flush()))
    }

    fn poll_shutdown(
        self: Pin<&mut Self>,
        context: &mut TaskContext<'_>,
    ) -> Poll<std::io::Result<()>> {
        self.poll_flush(context)
    }
}

fn quiet<T>(result: std::io::Result<T>) -> std::io::Result<T> {
    if let Err(error) = &result
        && error.kind() == ErrorKind::BrokenPipe
    {
        exit(1);
    }
    result
}
