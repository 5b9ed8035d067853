//! How many computations of one model of tensors run at once, and which of those that wait are computed together.

use super::request::{Outputs, Request};
use crate::{Error, ErrorCode, Monitor, Scheduling};
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Counts the computations of a model.
#[derive(Default)]
pub(super) struct Places {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    running: usize,
    waiting: VecDeque<Arc<Request>>,
}

/// What a request has to do.
pub(super) enum Turn<'a> {
    /// To compute these, of which it is the first.
    Compute(Place<'a>),
    /// Nothing: another one has computed it.
    Done,
}

/// A computation that runs, until this is dropped. Those who wait for its results have them then, or an error.
pub(super) struct Place<'a> {
    places: &'a Places,
    pub(super) requests: Vec<Arc<Request>>,
    /// Of all but the first one, as far as there are any.
    pub(super) results: Vec<Result<Outputs, Error>>,
}

impl Places {
    /// Waits until the request may run, or another one has computed it; fails if too many wait already.
    pub(super) fn enter(
        &self,
        scheduling: Scheduling,
        request: &Arc<Request>,
    ) -> Result<Turn<'_>, Error> {
        // Those that wait can be computed together, and a library that is busy does not compute more the sooner.
        let most = match scheduling.batch {
            ..2 => scheduling.parallel.max(1),
            _ => 1,
        };
        let mut state = self.state();
        if state.running >= most || !state.waiting.is_empty() {
            if state.waiting.len() >= scheduling.queue {
                return Err(Error::new(
                    ErrorCode::Busy,
                    format!(
                        "{} computations run on this model and {} wait: try again later",
                        state.running,
                        state.waiting.len()
                    ),
                ));
            }
            state.waiting.push_back(request.clone());
            let is_first = |state: &State| {
                let first = state.waiting.front();
                first.is_some_and(|first| Arc::ptr_eq(first, request))
            };
            while state.running >= most || !is_first(&state) {
                if request.cancel.is_cancelled() {
                    let before = state.waiting.len();
                    state
                        .waiting
                        .retain(|waiting| !Arc::ptr_eq(waiting, request));
                    if state.waiting.len() < before {
                        state.wake_next();
                        return Err(Monitor::interrupted());
                    }
                    // Another one is computing it, and has its inputs until then.
                }
                state = request
                    .woken
                    .wait(state)
                    .unwrap_or_else(PoisonError::into_inner);
                if request.is_done() {
                    return Ok(Turn::Done);
                }
            }
            state.waiting.pop_front();
        }
        state.running += 1;
        let mut requests = vec![request.clone()];
        state.take_like(&mut requests, scheduling.batch);
        if state.running < most {
            state.wake_next();
        }
        Ok(Turn::Compute(Place {
            places: self,
            requests,
            results: Vec::new(),
        }))
    }

    /// Has a request that waits see that it is not wanted any more.
    pub(super) fn wake(&self, request: &Request) {
        // It may be about to wait.
        let _state = self.state();
        request.woken.notify_one();
    }

    /// How many wait.
    #[cfg(test)]
    pub(super) fn waiting(&self) -> usize {
        self.state().waiting.len()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Takes those that wait and can be computed together with the first one, of so many rows in all.
    fn take_like(&mut self, requests: &mut Vec<Arc<Request>>, most: usize) {
        let rows = |request: &Request| request.rows.map_or(usize::MAX, |rows| rows as usize);
        let first = requests[0].clone();
        let mut left = most.saturating_sub(rows(&first));
        self.waiting.retain(|request| {
            let taken = rows(request) <= left && request.is_like(&first);
            if taken {
                left -= rows(request);
                requests.push(request.clone());
            }
            !taken
        });
    }

    fn wake_next(&self) {
        if let Some(next) = self.waiting.front() {
            next.woken.notify_one();
        }
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let mut state = self.places.state();
        state.running -= 1;
        let failed = || {
            Err(Error::new(
                ErrorCode::RuntimeError,
                "the computation of several requests at once failed",
            ))
        };
        let mut results = std::mem::take(&mut self.results).into_iter();
        for request in self.requests.drain(1..) {
            request.finish(results.next().unwrap_or_else(failed));
            request.woken.notify_one();
        }
        state.wake_next();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Tensor, TensorType};
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::thread;

    fn request(dimensions: &[u32], by_rows: bool) -> Arc<Request> {
        let tensor = Tensor {
            dimensions: dimensions.to_vec(),
            ty: TensorType::U8,
            data: vec![0; dimensions.iter().product::<u32>() as usize],
        };
        Request::new(vec![tensor], by_rows, Arc::default())
    }

    fn compute<'a>(
        places: &'a Places,
        scheduling: Scheduling,
        request: &Arc<Request>,
    ) -> Result<Place<'a>, Error> {
        match places.enter(scheduling, request)? {
            Turn::Compute(place) => Ok(place),
            Turn::Done => panic!("nobody else computes it"),
        }
    }

    #[test]
    fn so_many_run_the_next_ones_wait_and_more_are_refused() {
        let scheduling = Scheduling {
            parallel: 2,
            queue: 1,
            ..Scheduling::default()
        };
        let places = Places::default();
        let request = || request(&[1], true);
        let first = compute(&places, scheduling, &request()).unwrap();
        let _second = compute(&places, scheduling, &request()).unwrap();
        let entered = AtomicUsize::new(0);
        thread::scope(|scope| {
            scope.spawn(|| {
                let _third = compute(&places, scheduling, &request()).unwrap();
                entered.fetch_add(1, Ordering::SeqCst);
            });
            while places.state().waiting.is_empty() {
                thread::yield_now();
            }
            let refused = places.enter(scheduling, &request()).err().unwrap();
            assert_eq!(refused.code, ErrorCode::Busy);
            assert_eq!(entered.load(Ordering::SeqCst), 0);
            drop(first);
        });
        assert_eq!(entered.load(Ordering::SeqCst), 1);
    }

    #[test]
    fn what_waits_and_is_alike_is_computed_together() {
        let scheduling = Scheduling {
            parallel: 1,
            batch: 6,
            ..Scheduling::default()
        };
        let places = Places::default();
        let running = compute(&places, scheduling, &request(&[1, 2], true)).unwrap();
        let batches = Mutex::new(Vec::new());
        thread::scope(|scope| {
            for (dimensions, by_rows) in [
                (&[2, 3][..], true),
                (&[1, 4], true),
                (&[3, 3], true),
                // Too many rows for the first batch.
                (&[2, 3], true),
                (&[1, 3], true),
                (&[1, 3], false),
            ] {
                let before = places.state().waiting.len();
                let (places, batches) = (&places, &batches);
                scope.spawn(move || {
                    let request = request(dimensions, by_rows);
                    match places.enter(scheduling, &request).unwrap() {
                        Turn::Compute(mut place) => {
                            let shapes = place.requests.iter();
                            let shapes =
                                shapes.map(|request| request.inputs()[0].dimensions.clone());
                            batches.lock().unwrap().push(shapes.collect::<Vec<_>>());
                            let others = place.requests.len() - 1;
                            place
                                .results
                                .extend((0..others).map(|_| Ok(Outputs::new())));
                        }
                        Turn::Done => assert!(request.take_result().unwrap().is_ok()),
                    }
                });
                while places.state().waiting.len() == before {
                    thread::yield_now();
                }
            }
            drop(running);
        });
        assert_eq!(
            *batches.lock().unwrap(),
            [
                vec![vec![2, 3], vec![3, 3], vec![1, 3]],
                vec![vec![1, 4]],
                vec![vec![2, 3]],
                vec![vec![1, 3]]
            ]
        );
    }

    #[test]
    fn who_waits_for_a_computation_that_panics_has_an_error() {
        let scheduling = Scheduling {
            parallel: 1,
            batch: 8,
            ..Scheduling::default()
        };
        let places = Places::default();
        let running = compute(&places, scheduling, &request(&[1], true)).unwrap();
        thread::scope(|scope| {
            let enter = || {
                let before = places.state().waiting.len();
                let thread = scope.spawn(|| {
                    let request = request(&[1], true);
                    match places.enter(scheduling, &request).unwrap() {
                        Turn::Compute(place) => {
                            assert_eq!(place.requests.len(), 2);
                            None
                        }
                        Turn::Done => request.take_result(),
                    }
                });
                while places.state().waiting.len() == before {
                    thread::yield_now();
                }
                thread
            };
            let (first, second) = (enter(), enter());
            drop(running);
            assert!(first.join().unwrap().is_none());
            let error = second.join().unwrap().unwrap().err().unwrap();
            assert_eq!(error.code, ErrorCode::RuntimeError);
        });
    }
}
