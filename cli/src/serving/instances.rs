//! Many instances of one program in one process.

use anyhow::{Context, Result};
use llm_wasi_host::runner::{LAST_WAIT, Program, Runner};
use std::collections::HashMap;
use std::io::Write;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context as TaskContext, Poll};
use tokio::io::AsyncWrite;
use tokio::task::JoinSet;
use wasmtime_wasi::cli::AsyncStdoutStream;

/// Under this name an instance finds its number.
const NUMBER: &str = "LLM_WASI_INSTANCE";
/// How much output may wait for its way out.
const BUFFER: usize = 64 << 10;
/// Lines that are longer come out in pieces.
const LONGEST_LINE: usize = 16 << 10;

/// Runs so many instances, so many of them at once. Gives the first exit code that is not 0, or the first
/// failure; the others go on whatever happens to one.
pub(crate) fn run(
    runner: &Arc<Runner>,
    component: &[u8],
    count: u32,
    parallel: u32,
) -> Result<i32> {
    let program = runner.prepare(component)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("the asynchronous runtime does not start")?;
    let places = parallel.min(count) as usize;
    let mut first: Option<(u32, Result<i32>)> = None;
    let mut running = JoinSet::new();
    let mut number_of = HashMap::new();
    let mut numbers = 0..count;
    loop {
        while running.len() < places
            && let Some(number) = numbers.next()
        {
            let (runner, program) = (runner.clone(), program.clone());
            let instance = async move { one(&runner, &program, number).await };
            let task = running.spawn_on(instance, runtime.handle());
            number_of.insert(task.id(), number);
        }
        let Some(ended) = runtime.block_on(running.join_next_with_id()) else {
            break;
        };
        // A panic is the failure of one as well.
        let (task, result) = match ended {
            Ok((task, result)) => (task, result),
            Err(error) => (error.id(), Err(error).context("the host has failed")),
        };
        let number = number_of.remove(&task).unwrap_or_default();
        if matches!(result, Ok(0)) {
            continue;
        }
        let result = result.with_context(|| format!("instance {number}"));
        let (other_number, other) = match &mut first {
            None => {
                first = Some((number, result));
                continue;
            }
            // What is given is that of the lowest number, whichever has ended first.
            Some((first, given)) if number < *first => (
                std::mem::replace(first, number),
                std::mem::replace(given, result),
            ),
            Some(_) => (number, result),
        };
        match other {
            Ok(code) => tracing::warn!("instance {other_number} has ended with {code}"),
            Err(error) => tracing::warn!("{error:#}"),
        }
    }
    runtime.shutdown_timeout(LAST_WAIT);
    first.map_or(Ok(0), |(_, result)| result)
}

async fn one(runner: &Runner, program: &Program, number: u32) -> Result<i32> {
    let stdout = Lines::new(number, std::io::stdout());
    let stderr = Lines::new(number, std::io::stderr());
    runner
        .run_prepared(program, |wasi| {
            wasi.env(NUMBER, number.to_string())
                .stdout(AsyncStdoutStream::new(BUFFER, stdout))
                .stderr(AsyncStdoutStream::new(BUFFER, stderr));
        })
        .await
}

/// Writes whole lines, each with the number of its instance, so that those of several do not mix.
struct Lines<W: Write> {
    number: u32,
    line: Vec<u8>,
    to: W,
}

impl<W: Write> Lines<W> {
    fn new(number: u32, to: W) -> Self {
        Self {
            number,
            line: Vec::new(),
            to,
        }
    }

    fn end_line(&mut self) -> std::io::Result<()> {
        let mut line = format!("[{}] ", self.number).into_bytes();
        line.append(&mut self.line);
        line.push(b'\n');
        // In one go: standard streams are locked for that long.
        self.to.write_all(&line)?;
        self.to.flush()
    }
}

impl<W: Write + Unpin> AsyncWrite for Lines<W> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        _: &mut TaskContext<'_>,
        bytes: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            let (text, ends) = match piece.strip_suffix(b"\n") {
                Some(text) => (text, true),
                None => (piece, false),
            };
            self.line.extend_from_slice(text);
            if (ends || self.line.len() >= LONGEST_LINE)
                && let Err(error) = self.end_line()
            {
                return Poll::Ready(Err(error));
            }
        }
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut TaskContext<'_>) -> Poll<std::io::Result<()>> {
        // A line that has not ended yet stays.
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut TaskContext<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

impl<W: Write> Drop for Lines<W> {
    fn drop(&mut self) {
        if !self.line.is_empty() {
            // Nobody is left to tell.
            let _ = self.end_line();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::{Arc, Mutex};
    use tokio::io::AsyncWriteExt;

    #[derive(Clone, Default)]
    struct Shared(Arc<Mutex<Vec<u8>>>);

    impl Write for Shared {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[tokio::test]
    async fn lines_come_out_whole_and_the_last_one_too() {
        let out = Shared::default();
        let mut one = Lines::new(1, out.clone());
        let mut two = Lines::new(2, out.clone());
        one.write_all(b"a").await.unwrap();
        two.write_all(b"x\ny").await.unwrap();
        one.write_all(b"b\n\nc").await.unwrap();
        drop((one, two));
        let text = String::from_utf8(out.0.lock().unwrap().clone()).unwrap();
        assert_eq!(text, "[2] x\n[1] ab\n[1] \n[1] c\n[2] y\n");
    }
}
