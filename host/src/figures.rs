//! What is counted, one event at a time, so that a worker process can tell its host.

use crate::Phase;
use serde::{Deserialize, Serialize};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// One event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Figure {
    /// A prompt, of which so many tokens were in the KV cache.
    Prompt { tokens: u64, cached: u64 },
    /// Tokens that nobody can have back.
    Evicted(u64),
    /// Tokens that were evaluated together.
    Batch { tokens: u64, took: Duration },
    /// One token of a text.
    Generated,
    /// The first one.
    FirstToken(Duration),
    /// Time that a phase took.
    Spent(Phase, Duration),
    /// Something that exceeded a limit of its guest: the limit's place among [`names`](crate::limits::names).
    Refused(usize),
    /// By how many more computations run and wait, and tokens are kept.
    Computations([i64; 3]),
}

/// Events that the host has not been told.
#[derive(Default)]
pub(crate) struct Untold {
    figures: Mutex<Vec<Figure>>,
    added: Condvar,
}

impl Untold {
    pub(crate) fn add(&self, figure: Figure) {
        let mut figures = self.figures();
        // What begins and ends between two answers is no change.
        if let (Some(Figure::Computations(before)), Figure::Computations(changes)) =
            (figures.last_mut(), figure)
        {
            for (before, change) in before.iter_mut().zip(changes) {
                *before = before.wrapping_add(change);
            }
            return;
        }
        figures.push(figure);
        if figures.len() == 1 {
            self.added.notify_one();
        }
    }

    pub(crate) fn take(&self) -> Vec<Figure> {
        std::mem::take(&mut *self.figures())
    }

    /// Waits until there are some.
    #[cfg(target_os = "linux")]
    pub(crate) fn wait(&self) {
        let none = |figures: &mut Vec<Figure>| figures.is_empty();
        drop(self.added.wait_while(self.figures(), none));
    }

    fn figures(&self) -> MutexGuard<'_, Vec<Figure>> {
        self.figures.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
