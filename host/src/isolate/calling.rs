//! The call of a context that waits for its worker, and how it is ended early.
//!
//! An interrupt of the context's monitor is passed on to the worker. Libraries look for one between their operations,
//! and some never do: if a call may be endless, and goes on even so, its worker is ended. Not as long as it may be a
//! computation for others as well, that somebody wants.

use super::worker::{Wanted, Worker};
use crate::Monitor;
use crate::monitor::Watcher;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

/// How long a call may go on after it was interrupted.
const GRACE: Duration = Duration::from_secs(5);

/// What a context asks its worker at the moment.
pub(super) struct Calling {
    monitor: Monitor,
    /// Whether a call may never end by itself: that of a model that a program brought, or of one of tensors, some of
    /// which have loops that no library looks into.
    may_be_endless: bool,
    /// Whether several calls of the worker may be one computation.
    may_be_for_others: bool,
    running: Mutex<Option<Running>>,
}

struct Running {
    number: u64,
    worker: Arc<Worker>,
    graph: u64,
    /// Whether interrupts of others than its context are for it.
    computes: bool,
    /// The monitor whose interrupt it has got.
    interrupted: Option<Monitor>,
    /// As long as it has got none.
    wanted: Option<Wanted>,
}

impl Calling {
    /// The calls of a context with this monitor. They hear of interrupts as long as somebody holds what comes second.
    pub(super) fn new(
        monitor: Monitor,
        may_be_endless: bool,
        may_be_for_others: bool,
    ) -> (Arc<Self>, Arc<Watcher>) {
        let calling = Arc::new(Self {
            monitor,
            may_be_endless,
            may_be_for_others,
            running: Mutex::default(),
        });
        let watcher: Arc<Watcher> = Arc::new({
            let calling = Arc::downgrade(&calling);
            move || {
                if let Some(calling) = calling.upgrade() {
                    calling.interrupt();
                }
            }
        });
        calling.monitor.watch(&watcher);
        (calling, watcher)
    }

    pub(super) fn monitor(&self) -> &Monitor {
        &self.monitor
    }

    /// Begins a call. Whether it is interrupted already.
    pub(super) fn begin(
        self: &Arc<Self>,
        number: u64,
        worker: &Arc<Worker>,
        graph: u64,
        computes: bool,
    ) -> bool {
        let mut running = self.running();
        let begun = running.insert(Running {
            number,
            worker: worker.clone(),
            graph,
            computes,
            interrupted: None,
            wanted: None,
        });
        if !computes {
            if self.monitor.is_interrupted_itself() {
                begun.interrupted = Some(self.monitor.clone());
                self.end_later(begun, true);
            }
            return false;
        }
        begun.interrupted = self.monitor.take_interrupt();
        let interrupted = begun.interrupted.is_some();
        if interrupted {
            // The worker hears of it with the call.
            self.end_later(begun, false);
        } else {
            begun.wanted = Some(worker.wanted());
        }
        interrupted
    }

    /// Ends a call. An interrupt from elsewhere that it has not heard is one for the next.
    pub(super) fn end(&self, heard: bool) {
        let ended = self.running().take();
        if let Some(giver) = ended.and_then(|call| call.interrupted)
            && !heard
            && !giver.is(&self.monitor)
        {
            giver.interrupt();
        }
    }

    fn interrupt(self: &Arc<Self>) {
        let mut running = self.running();
        let Some(call) = running.as_mut().filter(|call| call.interrupted.is_none()) else {
            return;
        };
        if call.computes {
            call.interrupted = self.monitor.take_interrupt();
        } else if self.monitor.is_interrupted_itself() {
            call.interrupted = Some(self.monitor.clone());
        }
        if call.interrupted.is_some() {
            call.wanted = None;
            self.end_later(call, true);
        }
    }

    /// Tells the worker, unless it knows, and ends it later if need be: on a thread, since a worker may not listen.
    fn end_later(self: &Arc<Self>, call: &Running, tell: bool) {
        let (calling, worker) = (Arc::downgrade(self), Arc::downgrade(&call.worker));
        let (number, graph) = (call.number, call.graph);
        let end = move || {
            if let Some(worker) = worker.upgrade().filter(|_| tell) {
                worker.interrupt(graph, number);
            }
            let may_be_endless = calling
                .upgrade()
                .is_some_and(|calling| calling.may_be_endless);
            if !may_be_endless {
                return;
            }
            loop {
                thread::sleep(GRACE);
                let (Some(calling), Some(worker)) = (calling.upgrade(), worker.upgrade()) else {
                    return;
                };
                let running = calling.running();
                let runs = running.as_ref().is_some_and(|call| call.number == number);
                drop(running);
                if !runs {
                    return;
                }
                if !(calling.may_be_for_others && worker.is_wanted()) {
                    worker.give_up("its computation went on after its time was over");
                    return;
                }
            }
        };
        let thread = thread::Builder::new().name("worker-ender".into());
        if let Err(error) = thread.spawn(end) {
            tracing::debug!("a computation in another process is not ended: {error}");
        }
    }

    fn running(&self) -> MutexGuard<'_, Option<Running>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
