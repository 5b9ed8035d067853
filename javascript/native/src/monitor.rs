//! How computations are ended from another thread of the process.
//!
//! The thread that computes hears of nothing until it is done. So the thread that waits has a monitor of its own, and names
//! it to the other one by a number.

use llm_wasi_host as host;
use napi_derive::napi;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Ends what is computed under it.
#[napi]
pub struct Monitor {
    number: u32,
    shared: Arc<Shared>,
    /// Whether this is the one that was made, and not one of those that other threads have of it.
    first: bool,
}

struct Shared {
    monitor: host::Monitor,
    calls: Mutex<Calls>,
}

#[derive(Default)]
struct Calls {
    /// The one that the component is in.
    current: Option<u32>,
    /// Those that are to end as soon as they begin.
    left: BTreeSet<u32>,
}

/// Those that were made, by number, and the last number.
static MADE: Mutex<(BTreeMap<u32, Arc<Shared>>, u32)> = Mutex::new((BTreeMap::new(), 0));

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[napi]
impl Monitor {
    /// A new one.
    #[napi(constructor, catch_unwind)]
    pub fn new() -> Self {
        let shared = Arc::new(Shared {
            monitor: host::Monitor::default(),
            calls: Mutex::default(),
        });
        let mut made = lock(&MADE);
        made.1 = made.1.wrapping_add(1);
        let number = made.1;
        made.0.insert(number, shared.clone());
        Self {
            number,
            shared,
            first: true,
        }
    }

    /// The one that another thread has made, unless it was forgotten.
    #[napi(catch_unwind)]
    pub fn of(number: u32) -> Option<Monitor> {
        let shared = lock(&MADE).0.get(&number)?.clone();
        Some(Monitor {
            number,
            shared,
            first: false,
        })
    }

    /// What other threads call it.
    #[napi(getter, catch_unwind)]
    pub fn number(&self) -> u32 {
        self.number
    }

    /// Says which call the component is in.
    #[napi(catch_unwind)]
    pub fn begin(&self, call: u32) {
        let mut calls = lock(&self.shared.calls);
        calls.current = Some(call);
        if calls.left.remove(&call) {
            self.shared.monitor.interrupt();
        }
    }

    /// Says that the call has returned, or is not made at all. An interrupt that it did not hear of is not for the next one.
    #[napi(catch_unwind)]
    pub fn done(&self, call: u32) {
        let mut calls = lock(&self.shared.calls);
        calls.left.remove(&call);
        calls.current = None;
        self.shared.monitor.resume();
    }

    /// Ends what the component computes in this call, now or when it begins.
    #[napi(catch_unwind)]
    pub fn interrupt(&self, call: u32) {
        let mut calls = lock(&self.shared.calls);
        if calls.current == Some(call) {
            self.shared.monitor.interrupt();
        } else {
            calls.left.insert(call);
        }
    }

    /// Ends what is computed and all that follows, and forgets the number.
    #[napi(catch_unwind)]
    pub fn end(&self) {
        self.shared.monitor.end();
        lock(&MADE).0.remove(&self.number);
    }

    /// Ends all that is computed in the process.
    #[napi(catch_unwind)]
    pub fn end_all() {
        let made = std::mem::take(&mut lock(&MADE).0);
        made.values().for_each(|shared| shared.monitor.end());
    }
}

/// Where the thread that waits has gone, nobody is left to want it.
impl Drop for Monitor {
    fn drop(&mut self) {
        if self.first {
            self.end();
        }
    }
}

impl Monitor {
    /// For a registry.
    pub(crate) fn monitor(&self) -> host::Monitor {
        self.shared.monitor.clone()
    }
}
