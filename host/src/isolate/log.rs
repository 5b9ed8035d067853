//! What a worker writes to its standard streams.
//!
//! Standard error goes to `tracing`, target `worker`, with the model's name. Lines that begin with a level come
//! from the worker's own `tracing` and keep theirs. All others are what a library says by itself: the last ones are
//! kept, since a library that aborts says why there. Standard output is the host's, but a terminal gets no control
//! characters, which could command it.

use std::collections::VecDeque;
use std::io::{self, BufRead, BufReader, IsTerminal, Read, Write};
use std::process::{ChildStderr, ChildStdout};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::Builder;
use std::time::Duration;

/// The longest line.
const LINE: u64 = 8 << 10;
/// How many lines are kept.
const KEPT: usize = 3;
/// How many characters of them are quoted.
const QUOTED: usize = 500;

/// How long an answer waits for what the worker has written before.
const PATIENCE: Duration = Duration::from_secs(1);

/// The end of a worker's log.
pub(super) struct Log {
    output: Arc<Output>,
    last: Arc<Mutex<VecDeque<String>>>,
    ended: Mutex<Receiver<()>>,
}

impl Log {
    /// Follows a worker's streams.
    pub(super) fn follow(
        model: &str,
        stdout: Option<ChildStdout>,
        stderr: Option<ChildStderr>,
    ) -> io::Result<Self> {
        let output: Arc<Output> = Arc::default();
        if let Some(stdout) = stdout {
            let output = output.clone();
            let plain = io::stdout().is_terminal();
            let copy = move || output.copy(stdout, plain);
            Builder::new().name("worker-output".into()).spawn(copy)?;
        }
        let last: Arc<Mutex<VecDeque<String>>> = Arc::default();
        let (end, ended) = channel();
        if let Some(stderr) = stderr {
            let (last, model) = (last.clone(), model.to_owned());
            Builder::new().name("worker-log".into()).spawn(move || {
                let _end = end;
                lines(stderr, |line| {
                    if !tell(&model, line) {
                        let mut last = lock(&last);
                        last.push_back(line.to_owned());
                        let surplus = last.len().saturating_sub(KEPT);
                        last.drain(..surplus);
                    }
                });
            })?;
        }
        Ok(Self {
            output,
            last,
            ended: Mutex::new(ended),
        })
    }

    /// Waits until so many bytes of standard output are copied, but not for ever.
    pub(super) fn wait_for_output(&self, count: u64) {
        let copied = lock(&self.output.copied);
        let missing = |copied: &mut u64| *copied < count;
        drop(
            self.output
                .more
                .wait_timeout_while(copied, PATIENCE, missing),
        );
    }

    /// The last words of a worker that has ended; empty if there are none.
    pub(super) fn last_words(&self) -> String {
        // Until all is read, or something else has the other end of the pipe.
        let _ = lock(&self.ended).recv_timeout(Duration::from_millis(500));
        let lines: Vec<_> = lock(&self.last).iter().cloned().collect();
        lines.join("; ").chars().take(QUOTED).collect()
    }
}

/// A worker's standard output.
#[derive(Default)]
struct Output {
    /// How many bytes were copied to the host's.
    copied: Mutex<u64>,
    more: Condvar,
}

impl Output {
    fn copy(&self, mut from: impl Read, plain: bool) {
        let mut bytes = [0; 4096];
        let mut text = Plain::default();
        while let Ok(count @ 1..) = from.read(&mut bytes) {
            let bytes = &bytes[..count];
            let bytes = if plain { &text.of(bytes) } else { bytes };
            let mut stdout = io::stdout().lock();
            // A reader that went away ends no computation.
            let _ = stdout.write_all(bytes).and_then(|()| stdout.flush());
            *lock(&self.copied) += count as u64;
            self.more.notify_all();
        }
        // Nobody waits for more.
        *lock(&self.copied) = u64::MAX;
        self.more.notify_all();
    }
}

/// Takes control characters out of UTF-8 that comes in pieces, but for line ends and tabs.
#[derive(Default)]
struct Plain {
    /// Whether the last piece ended with [`C1`], which waits for what follows.
    pending: bool,
}

/// What the upper control characters begin with, of two bytes each.
const C1: u8 = 0xc2;

impl Plain {
    fn of(&mut self, bytes: &[u8]) -> Vec<u8> {
        let mut plain = Vec::with_capacity(bytes.len() + 1);
        for byte in bytes.iter().copied() {
            let follows = std::mem::take(&mut self.pending);
            match byte {
                0x80..=0x9f if follows => continue,
                _ if follows => plain.push(C1),
                _ => {}
            }
            match byte {
                C1 => self.pending = true,
                b'\n' | b'\r' | b'\t' | 0x20..=0x7e | 0x80.. => plain.push(byte),
                _ => {}
            }
        }
        plain
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Calls `each` with every line that is not empty, without control characters.
fn lines(stream: impl Read, mut each: impl FnMut(&str)) {
    let mut reader = BufReader::new(stream);
    let mut line = Vec::new();
    loop {
        line.clear();
        match (&mut reader).take(LINE).read_until(b'\n', &mut line) {
            Ok(0) | Err(_) => return,
            Ok(_) => {}
        }
        let text = String::from_utf8_lossy(&line);
        let text: String = text.chars().filter(|c| !c.is_control()).collect();
        if !text.trim().is_empty() {
            each(text.trim());
        }
    }
}

/// Passes a line on. Whether it was one of the worker's own.
fn tell(model: &str, line: &str) -> bool {
    let (level, rest) = line.split_once(' ').unwrap_or((line, ""));
    match level {
        "ERROR" => tracing::error!(target: "worker", model, "{rest}"),
        "WARN" => tracing::warn!(target: "worker", model, "{rest}"),
        "INFO" => tracing::info!(target: "worker", model, "{rest}"),
        "DEBUG" => tracing::debug!(target: "worker", model, "{rest}"),
        "TRACE" => tracing::trace!(target: "worker", model, "{rest}"),
        _ => {
            tracing::warn!(target: "worker", model, "{line}");
            return false;
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn terminals_get_no_control_characters() {
        let text = "a\tb\r\n\u{1b}[31mc\u{9b}31m \u{a0}é€\u{7f}";
        let expected = "a\tb\r\n[31mc31m \u{a0}é€";
        for size in 1..=text.len() {
            let mut plain = Plain::default();
            let pieces = text.as_bytes().chunks(size);
            let found: Vec<u8> = pieces.flat_map(|piece| plain.of(piece)).collect();
            assert_eq!(String::from_utf8_lossy(&found), expected, "{size}");
        }
    }

    #[test]
    fn lines_are_bounded_and_without_control_characters() {
        let mut found = Vec::new();
        let text = [b"a\x1b[31mb\r\n\n \nc\xff".as_slice(), &[b'd'; 10_000]].concat();
        lines(text.as_slice(), |line| found.push(line.to_owned()));
        assert_eq!(found[0], "a[31mb");
        assert!(found[1].starts_with("c\u{fffd}dd"), "{}", found[1]);
        assert_eq!(found.len(), 3);
        assert!(found.iter().all(|line| line.len() as u64 <= LINE + 2));
    }
}
