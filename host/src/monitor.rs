//! What long operations tell while they run, and how they are ended early.

use crate::{Error, ErrorCode};
use serde::{Deserialize, Serialize};
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
    parent: Option<Monitor>,
    watchers: Mutex<Vec<Weak<Watcher>>>,
}

/// Is called at each interrupt.
pub(crate) type Watcher = dyn Fn() + Send + Sync;

impl Monitor {
    /// A monitor that calls `listener` as things proceed, on the thread that does them.
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
            listener(Progress {
                activity,
                done,
                total,
            });
        }
        if let Some(parent) = &self.inner.parent {
            parent.report(activity, done, total);
        }
    }

    /// Asks the computation that runs to end, or else the next one: a language model stops before its
    /// next token, as if its text had ended, a model of tensors where its library can, with an error.
    pub fn interrupt(&self) {
        self.inner.interrupted.store(true, Ordering::Release);
        // A watcher may interrupt in its turn.
        let watchers: Vec<_> = self.watchers().iter().filter_map(Weak::upgrade).collect();
        for watcher in watchers {
            watcher();
        }
    }

    /// The same, unless others compute under this monitor, too.
    pub(crate) fn interrupt_own(&self) {
        if self.inner.parent.is_some() {
            self.interrupt();
        }
    }

    /// Takes back what [`interrupt_own`](Self::interrupt_own) has asked for.
    pub(crate) fn resume_own(&self) {
        if self.inner.parent.is_some() {
            self.resume();
        }
    }

    /// Calls `watcher` after each [`interrupt`](Self::interrupt), as long as somebody holds it: a
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

    /// Fails once after each [`interrupt`](Self::interrupt): backends ask between steps.
    pub fn check(&self) -> Result<(), Error> {
        if self.inner.interrupted.swap(false, Ordering::AcqRel) {
            return Err(Self::interrupted());
        }
        self.inner.parent.as_ref().map_or(Ok(()), Self::check)
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
