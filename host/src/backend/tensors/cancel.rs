//! How a computation of tensors is ended early, from another thread.
//!
//! Libraries compute in one call, in which nobody can ask whether to go on. So whoever computes or waits says how that
//! is stopped, and an interrupt of the [`Monitor`] does it.

use crate::monitor::Watcher;
use crate::{Error, Monitor};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

/// When what is stopped is told so again.
const REPEATS: [Duration; 6] = [
    Duration::from_millis(1),
    Duration::from_millis(5),
    Duration::from_millis(25),
    Duration::from_millis(125),
    Duration::from_millis(500),
    Duration::from_secs(2),
];

/// Stops what is being done.
type Stop = Box<dyn Fn() + Send + Sync>;

/// Ends computations of one context.
#[derive(Default)]
pub(in crate::backend) struct Cancel {
    monitor: Monitor,
    /// Whether a computation runs.
    runs: AtomicBool,
    /// Whether it is to end.
    cancelled: AtomicBool,
    stop: Mutex<Option<Stop>>,
}

impl Cancel {
    /// Ends computations when `monitor` is interrupted, as long as somebody holds what comes second.
    pub(super) fn new(monitor: Monitor) -> (Arc<Self>, Arc<Watcher>) {
        let cancel = Arc::new(Self {
            monitor,
            ..Self::default()
        });
        let watcher: Arc<Watcher> = Arc::new({
            let cancel = cancel.clone();
            move || {
                if cancel.cancel() {
                    cancel.repeat();
                }
            }
        });
        cancel.monitor.watch(&watcher);
        (cancel, watcher)
    }

    pub(super) fn monitor(&self) -> &Monitor {
        &self.monitor
    }

    /// Begins a computation. Fails if an interrupt came before.
    pub(super) fn begin(&self) -> Result<(), Error> {
        self.cancelled.store(false, Ordering::SeqCst);
        self.runs.store(true, Ordering::SeqCst);
        let begun = self.monitor.check();
        self.runs.store(begun.is_ok(), Ordering::SeqCst);
        begun
    }

    /// Ends it. If it was cancelled, that is why it has failed, in whatever way it did.
    pub(super) fn end<V>(&self, result: Result<V, Error>) -> Result<V, Error> {
        self.runs.store(false, Ordering::SeqCst);
        match result {
            Err(_) if self.is_cancelled() => Err(Monitor::interrupted()),
            result => result,
        }
    }

    pub(in crate::backend) fn is_cancelled(&self) -> bool {
        self.cancelled.load(Ordering::SeqCst)
    }

    /// Calls `function`, which ends early when `stop` is called: on another thread, during `function` only, and perhaps more
    /// than once.
    pub(in crate::backend) fn during<V>(
        &self,
        stop: impl Fn() + Send + Sync + 'static,
        function: impl FnOnce() -> Result<V, Error>,
    ) -> Result<V, Error> {
        {
            let mut place = self.stop();
            if self.is_cancelled() {
                return Err(Monitor::interrupted());
            }
            *place = Some(Box::new(stop));
        }
        // Nobody stops what is not there any more, even after a panic.
        let _end = End(self);
        function()
    }

    /// Whether there is something to stop.
    fn cancel(&self) -> bool {
        if !self.runs.load(Ordering::SeqCst) {
            // The next one ends at once.
            return false;
        }
        // In this order: whoever is about to begin sees the one or sets the other.
        self.cancelled.store(true, Ordering::SeqCst);
        let stops = self.stop_it();
        // It has been heard: the next one, of whatever context, may compute.
        let _ = self.monitor.check();
        stops
    }

    /// Whether there was something to stop.
    fn stop_it(&self) -> bool {
        let stop = self.stop();
        if let Some(stop) = &*stop
            && self.is_cancelled()
        {
            stop();
            return true;
        }
        false
    }

    /// Stops again what goes on, for a while: OpenVINO does not hear of it as long as it has not quite begun.
    fn repeat(self: &Arc<Self>) {
        let cancel = Arc::downgrade(self);
        let again = move || {
            for pause in REPEATS {
                thread::sleep(pause);
                if !cancel.upgrade().is_some_and(|cancel| cancel.stop_it()) {
                    break;
                }
            }
        };
        let thread = thread::Builder::new().name("canceller".into());
        if let Err(error) = thread.spawn(again) {
            tracing::debug!("a computation is told only once to stop: {error}");
        }
    }

    fn stop(&self) -> MutexGuard<'_, Option<Stop>> {
        self.stop.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Ends [`Cancel::during`].
struct End<'a>(&'a Cancel);

impl Drop for End<'_> {
    fn drop(&mut self) {
        *self.0.stop() = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc::channel;
    use std::thread;

    #[test]
    fn an_interrupt_stops_what_is_done_and_nothing_after_it() {
        let monitor = Monitor::default();
        let (cancel, _watcher) = Cancel::new(monitor.clone());
        cancel.begin().unwrap();
        let (stop, stopped) = channel();
        let result = cancel.during(
            move || stop.send(()).unwrap(),
            || {
                thread::scope(|scope| {
                    scope.spawn(|| monitor.interrupt());
                });
                stopped.recv().unwrap();
                Err::<(), _>(Error::invalid("stopped"))
            },
        );
        // Another context may begin before this one has ended.
        monitor.check().unwrap();
        let error = cancel.end(result).unwrap_err();
        assert_eq!(error, Monitor::interrupted());
        cancel.begin().unwrap();
        assert_eq!(cancel.during(|| panic!("nobody asks"), || Ok(1)), Ok(1));
        assert_eq!(cancel.end(Ok(1)), Ok(1));
        let own = Error::invalid("its own");
        assert_eq!(cancel.end::<()>(Err(own.clone())), Err(own));
    }

    #[test]
    fn an_interrupt_before_the_computation_ends_that() {
        let monitor = Monitor::default();
        let (cancel, watcher) = Cancel::new(monitor.clone());
        monitor.interrupt();
        assert!(cancel.begin().is_err());
        cancel.begin().unwrap();
        monitor.interrupt();
        let result = cancel.during(|| {}, || -> Result<(), _> { panic!("it must not begin") });
        assert!(cancel.end(result).is_err());
        // A context that is gone is no matter any more.
        drop(watcher);
        cancel.begin().unwrap();
        monitor.interrupt();
        assert!(!cancel.is_cancelled());
    }
}
