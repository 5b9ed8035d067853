//! How many computations of one model of tensors run at once.

use crate::{Error, ErrorCode, Scheduling};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// Counts the computations of a model.
#[derive(Default)]
pub(super) struct Places {
    counts: Mutex<Counts>,
    freed: Condvar,
}

#[derive(Default)]
struct Counts {
    running: usize,
    waiting: usize,
}

/// A computation that runs, until this is dropped.
pub(super) struct Place<'a>(&'a Places);

impl Places {
    /// Waits until one more may run; fails if too many wait already.
    pub(super) fn enter(&self, scheduling: Scheduling) -> Result<Place<'_>, Error> {
        let mut counts = self.counts();
        if counts.running >= scheduling.parallel.max(1) {
            if counts.waiting >= scheduling.queue {
                return Err(Error::new(
                    ErrorCode::Busy,
                    format!(
                        "{} computations run on this model and {} wait: try again later",
                        counts.running, counts.waiting
                    ),
                ));
            }
            counts.waiting += 1;
            while counts.running >= scheduling.parallel.max(1) {
                counts = self
                    .freed
                    .wait(counts)
                    .unwrap_or_else(PoisonError::into_inner);
            }
            counts.waiting -= 1;
        }
        counts.running += 1;
        Ok(Place(self))
    }

    fn counts(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.counts().running -= 1;
        self.0.freed.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::thread;

    #[test]
    fn so_many_run_the_next_ones_wait_and_more_are_refused() {
        let scheduling = Scheduling {
            parallel: 2,
            queue: 1,
            ..Scheduling::default()
        };
        let places = Places::default();
        let first = places.enter(scheduling).unwrap();
        let _second = places.enter(scheduling).unwrap();
        let entered = AtomicUsize::new(0);
        thread::scope(|scope| {
            scope.spawn(|| {
                let _third = places.enter(scheduling).unwrap();
                entered.fetch_add(1, Ordering::SeqCst);
            });
            while places.counts().waiting == 0 {
                thread::yield_now();
            }
            let refused = places.enter(scheduling).err().unwrap();
            assert_eq!(refused.code, ErrorCode::Busy);
            assert_eq!(entered.load(Ordering::SeqCst), 0);
            drop(first);
        });
        assert_eq!(entered.load(Ordering::SeqCst), 1);
    }
}
