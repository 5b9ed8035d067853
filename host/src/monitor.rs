//! What long operations tell while they run, and how they are ended early.

use crate::{Error, ErrorCode};
use serde::{Deserialize, Serialize};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};

/// What takes its time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Activity {
    /// A model is being loaded; counted in thousandths.
    Load,
    /// A language model evaluates a prompt; counted in tokens.
    Prefill,
}

/// How far something is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    /// What.
    pub activity: Activity,
    /// How much is done; equals `total` at the end.
    pub done: u64,
    /// How much there is to do.
    pub total: u64,
}

/// Passes on progress, and the wish to end. Clones are one and the same.
#[derive(Clone, Default)]
pub struct Monitor {
    inner: Arc<Inner>,
}

#[derive(Default)]
struct Inner {
    listener: Option<Box<dyn Fn(Progress) + Send + Sync>>,
    interrupted: AtomicBool,
    ended: AtomicBool,
    parent: Option<Monitor>,
    watchers: Mutex<Vec<Weak<Watcher>>>,
}

/// Is called at each interrupt, and at the end.
pub(crate) type Watcher = dyn Fn() + Send + Sync;

impl Monitor {
    /// A monitor that calls `listener` as things proceed, on the thread that does them, which may compute for other guests too: it
    /// should not take long.
    pub fn new(listener: impl Fn(Progress) + Send + Sync + 'static) -> Self {
        Self {
            inner: Arc::new(Inner {
                listener: Some(Box::new(listener)),
                ..Inner::default()
            }),
        }
    }

    /// A monitor of some of what this one hears of: it tells this one, and is interrupted by itself or with it.
    #[must_use]
    pub fn child(&self) -> Self {
        Self {
            inner: Arc::new(Inner {
                parent: Some(self.clone()),
                ..Inner::default()
            }),
        }
    }

    /// Tells how far something is.
    pub fn report(&self, activity: Activity, done: u64, total: u64) {
        if let Some(listener) = &self.inner.listener {
            let progress = Progress {
                activity,
                done,
                total,
            };
            // It is called from within libraries, and on threads that compute for others as well.
            if catch_unwind(AssertUnwindSafe(|| listener(progress))).is_err() {
                tracing::error!("the listener of a monitor panicked at {progress:?}");
            }
        }
        if let Some(parent) = &self.inner.parent {
            parent.report(activity, done, total);
        }
    }

    /// Asks the computation that runs to end, or else the next one: a language model stops before its
    /// next token, as if its text had ended, a model of tensors where its library can, with an error.
    pub fn interrupt(&self) {
        self.inner.interrupted.store(true, Ordering::Release);
        self.call_watchers();
    }

    fn call_watchers(&self) {
        // A watcher may interrupt in its turn.
        let watchers: Vec<_> = self.watchers().iter().filter_map(Weak::upgrade).collect();
        for watcher in watchers {
            watcher();
        }
    }

    /// Ends what computes under this monitor, and all that follows: nobody is left to want it.
    pub fn end(&self) {
        self.inner.ended.store(true, Ordering::Release);
        self.call_watchers();
    }

    /// Whether it, or one that it is a child of, was ended.
    pub(crate) fn is_ended(&self) -> bool {
        let parent = self.inner.parent.as_ref();
        self.inner.ended.load(Ordering::Acquire) || parent.is_some_and(Self::is_ended)
    }

    /// Whether an interrupt of this monitor itself waits to be heard.
    pub(crate) fn is_interrupted_itself(&self) -> bool {
        self.inner.interrupted.load(Ordering::Acquire)
    }

    /// Whether both are one and the same.
    #[cfg(target_os = "linux")]
    pub(crate) fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.inner, &other.inner)
    }

    /// Calls `watcher` after each [`interrupt`](Self::interrupt) and [`end`](Self::end), as long as somebody holds it: a
    /// computation elsewhere cannot ask between steps.
    pub(crate) fn watch(&self, watcher: &Arc<Watcher>) {
        let mut watchers = self.watchers();
        watchers.retain(|watcher| watcher.strong_count() > 0);
        watchers.push(Arc::downgrade(watcher));
        drop(watchers);
        if let Some(parent) = &self.inner.parent {
            parent.watch(watcher);
        }
    }

    fn watchers(&self) -> std::sync::MutexGuard<'_, Vec<Weak<Watcher>>> {
        let watchers = self.inner.watchers.lock();
        watchers.unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether anybody hears of progress.
    pub(crate) fn has_listener(&self) -> bool {
        let parent = self.inner.parent.as_ref();
        self.inner.listener.is_some() || parent.is_some_and(Self::has_listener)
    }

    /// Takes an earlier [`interrupt`](Self::interrupt) back if nothing has followed it yet.
    pub fn resume(&self) {
        self.inner.interrupted.store(false, Ordering::Release);
    }

    /// What a computation fails with that was ended early.
    pub(crate) fn interrupted() -> Error {
        Error::new(ErrorCode::EndOfSequence, "the computation was interrupted")
    }

    /// Fails once after each [`interrupt`](Self::interrupt), and always after [`end`](Self::end): backends ask between
    /// steps.
    pub fn check(&self) -> Result<(), Error> {
        match self.take_interrupt() {
            Some(_) => Err(Self::interrupted()),
            None => Ok(()),
        }
    }

    /// The monitor with an interrupt that nothing has heard yet, which has heard it now: this one, or one that it is a
    /// child of.
    pub(crate) fn take_interrupt(&self) -> Option<Self> {
        if self.inner.interrupted.swap(false, Ordering::AcqRel)
            || self.inner.ended.load(Ordering::Acquire)
        {
            return Some(self.clone());
        }
        self.inner.parent.as_ref()?.take_interrupt()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Mutex;

    #[test]
    fn an_interrupt_ends_one_computation_and_clones_share_it() {
        let monitor = Monitor::default();
        monitor.check().unwrap();
        monitor.clone().interrupt();
        assert_eq!(monitor.check().unwrap_err().code, ErrorCode::EndOfSequence);
        monitor.check().unwrap();
        monitor.interrupt();
        monitor.resume();
        monitor.check().unwrap();
    }

    #[test]
    fn a_listener_that_panics_ends_nothing() {
        let monitor = Monitor::new(|_| panic!("as a test wants it"));
        monitor.report(Activity::Load, 1, 2);
        monitor.check().unwrap();
    }

    #[test]
    fn who_hears_of_an_interrupt_and_of_the_end() {
        let parent = Monitor::default();
        let (one, other) = (parent.child(), parent.child());
        one.interrupt();
        other.check().unwrap();
        assert!(one.check().is_err());
        // What is for all is for whoever asks first.
        parent.interrupt();
        assert!(other.check().is_err());
        one.check().unwrap();
        one.end();
        assert!(one.is_ended() && !other.is_ended());
        assert!(one.check().is_err() && one.check().is_err());
        other.check().unwrap();
        parent.end();
        assert!(other.is_ended() && other.check().is_err());
    }

    #[test]
    fn progress_reaches_the_listener() {
        let seen: Arc<Mutex<Vec<Progress>>> = Arc::default();
        let monitor = Monitor::new({
            let seen = seen.clone();
            move |progress| seen.lock().unwrap().push(progress)
        });
        monitor.report(Activity::Prefill, 3, 7);
        let expected = Progress {
            activity: Activity::Prefill,
            done: 3,
            total: 7,
        };
        assert_eq!(*seen.lock().unwrap(), [expected]);
    }
}
