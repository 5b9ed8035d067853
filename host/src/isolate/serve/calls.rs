//! The calls of a graph that run in the worker: who hears of progress, and of interrupts.

use super::super::frame;
use crate::{Error, Monitor, Progress};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// How many interrupts of calls that do not run are remembered.
const MOST_EARLY: usize = 64;

/// The writing side of a stream: answers, and progress between them.
#[derive(Clone)]
pub(super) struct Writer(Arc<Mutex<UnixStream>>);

impl Writer {
    pub(super) fn new(stream: UnixStream) -> Self {
        Self(Arc::new(Mutex::new(stream)))
    }

    /// Sends an answer; where it is too long for a frame, `instead` with the error that says so.
    pub(super) fn answer<M: Serialize>(
        &self,
        message: &M,
        blobs: &[&[u8]],
        instead: impl FnOnce(Error) -> M,
    ) -> io::Result<()> {
        match self.send(message, blobs) {
            Err(error) => match frame::too_long(&error) {
                Some(too_long) => self.send(&instead(too_long), &[]),
                None => Err(error),
            },
            sent => sent,
        }
    }

    pub(super) fn send(&self, message: &impl Serialize, blobs: &[&[u8]]) -> io::Result<()> {
        let mut stream = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        frame::write(&mut *stream, message, blobs)
    }
}

/// Tells one stream of progress.
type Tell = Box<dyn Fn(Progress) + Send>;

/// What runs.
#[derive(Default)]
pub(super) struct Calls(Mutex<Inner>);

#[derive(Default)]
struct Inner {
    running: BTreeMap<u64, Running>,
    /// Interrupts that came before their call.
    early: BTreeSet<u64>,
}

struct Running {
    /// What ends it.
    monitor: Monitor,
    tell: Tell,
    interrupted: bool,
}

impl Calls {
    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins a call, of which `interrupted` says whether it is to end at once.
    pub(super) fn begin(&self, number: u64, interrupted: bool, monitor: &Monitor, tell: Tell) {
        let mut inner = self.inner();
        let interrupted = inner.early.remove(&number) || interrupted;
        if interrupted {
            monitor.interrupt();
        } else {
            // One for the call before came too late.
            monitor.resume();
        }
        let monitor = monitor.clone();
        inner.running.insert(
            number,
            Running {
                monitor,
                tell,
                interrupted,
            },
        );
    }

    /// Ends a call. Whether an interrupt has ended it; one that came too late is taken back.
    pub(super) fn end(&self, number: u64) -> bool {
        let call = self.inner().running.remove(&number);
        call.is_some_and(|call| call.interrupted && call.monitor.check().is_ok())
    }

    pub(super) fn interrupt(&self, number: u64) {
        let mut inner = self.inner();
        match inner.running.get_mut(&number) {
            Some(call) => {
                call.interrupted = true;
                // Under the lock, so that the call does not end in between.
                call.monitor.interrupt();
            }
            None => {
                inner.early.insert(number);
                if inner.early.len() > MOST_EARLY {
                    inner.early.pop_first();
                }
            }
        }
    }

    /// Tells of progress by way of a call that runs: all of a graph's have the same listener.
    pub(super) fn report(&self, progress: Progress) {
        if let Some((_, call)) = self.inner().running.last_key_value() {
            (call.tell)(progress);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn interrupts_end_their_call_and_no_other() {
        let (calls, monitor) = (Calls::default(), Monitor::default());
        let begin = |number, interrupted| {
            calls.begin(number, interrupted, &monitor, Box::new(|_| {}));
        };
        // In time, and heard.
        begin(1, false);
        calls.interrupt(1);
        assert!(monitor.check().is_err());
        assert!(calls.end(1));
        // Not heard: gone for the next one.
        begin(2, true);
        assert!(!calls.end(2));
        begin(3, false);
        assert!(monitor.check().is_ok());
        assert!(!calls.end(3));
        // Too late, and too early.
        calls.interrupt(3);
        calls.interrupt(4);
        assert!(monitor.check().is_ok());
        begin(4, false);
        assert!(monitor.check().is_err());
        assert!(calls.end(4));
    }
}
