//! Continuous batching: everything that a model computes with the same settings, on one thread and in one
//! llama.cpp context.
//!
//! | file | has |
//! |---|---|
//! | [`mod@self`] | what sessions send, and the thread's start and end |
//! | `worker` | the thread: which work goes on, what it waits for, the answers |
//! | `kv_cache` | the llama.cpp context: places for sequences, room for tokens, growth |
//! | `sequences` | which tokens are in it, and which can go |
//! | `prefixes` | which tokens were moved out of it, with what llama.cpp knows of them |
//! | `plan` | how much of each waiting prompt goes into the next batch |
//!
//! A batch has the next token of each computation that asks for one, and beside them pieces of prompts.
//! Those are cut so that nobody waits long for the prompt of somebody else. A computation counts as one from
//! its prompt to its end, and [`Scheduling::parallel`] of them run at once; further ones wait in a queue.
//!
//! Tokens stay in the KV cache when their computation is over, and are moved to other memory when their session has
//! gone or room is needed: whoever begins with the same ones does not evaluate them again. The context starts with room for one computation, and grows, by
//! doubling, when others run beside it.

mod kv_cache;
mod plan;
mod prefixes;
mod sequences;
mod worker;

use super::session::Settings;
use super::weights::Weights;
use crate::metrics::Metrics;
use crate::{Error, ErrorCode, Monitor, Scheduling};
use llama_cpp_2::token::LlamaToken;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use tokio::runtime::Handle;
use tokio::sync::oneshot;
use worker::Worker;

/// The number of a session.
pub(super) type Key = u64;

/// What a session gets to know.
type Answer<V> = oneshot::Sender<Result<V, Error>>;

/// Tokens were evaluated.
pub(super) struct Evaluated {
    /// The logits behind the last of them.
    pub(super) logits: Vec<f32>,
    /// How many tokens of the prompt were there already.
    pub(super) cached: usize,
    /// How many tokens the sequence has.
    pub(super) length: usize,
}

/// What sessions want.
enum Message {
    /// To know how many tokens a session may have; the thread makes the context for it.
    Open { answer: Answer<usize> },
    /// To evaluate a prompt, in place of what there was.
    Start {
        key: Key,
        /// Whose session it is: guests get equal shares.
        guest: u64,
        prompt: Vec<LlamaToken>,
        monitor: Monitor,
        /// An allocation for the logits.
        logits: Vec<f32>,
        answer: Answer<Evaluated>,
    },
    /// To evaluate one token more.
    Advance {
        key: Key,
        token: LlamaToken,
        logits: Vec<f32>,
        answer: Answer<Evaluated>,
    },
    /// To forget the older half of the tokens, but not the first one. The answer is how many are left.
    Shift { key: Key, answer: Answer<usize> },
    /// Nothing for now: the computation is over.
    Rest {
        key: Key,
        /// How many tokens there are without the one that nobody waits for any more: whether that was evaluated
        /// already is chance, and so it is forgotten.
        length: Option<usize>,
    },
    /// Nothing ever again.
    Close { key: Key },
}

/// The way to a scheduler's thread.
pub(super) struct Scheduler {
    /// Taken when the thread is to end.
    messages: Option<Sender<Message>>,
    thread: Option<JoinHandle<()>>,
}

impl Scheduler {
    fn new(
        weights: Arc<Weights>,
        settings: Settings,
        scheduling: Scheduling,
        metrics: Metrics,
    ) -> Result<Self, Error> {
        let (messages, received) = channel();
        let thread = std::thread::Builder::new()
            .name("llama.cpp".into())
            .spawn(move || Worker::new(weights, settings, scheduling, metrics, received).run())
            .map_err(|error| {
                Error::new(
                    ErrorCode::Busy,
                    format!("the system gives no thread for a model: {error}"),
                )
            })?;
        Ok(Self {
            messages: Some(messages),
            thread: Some(thread),
        })
    }

    fn send(&self, message: Message) {
        // If the thread has ended, so have the message and the sender of its answer: `ask` tells.
        if let Some(messages) = &self.messages {
            let _ = messages.send(message);
        }
    }

    /// Sends a message, and waits for its answer.
    async fn ask<V>(&self, message: impl FnOnce(Answer<V>) -> Message) -> Result<V, Error> {
        let (answer, answer_to_come) = oneshot::channel();
        self.send(message(answer));
        answered(answer_to_come).await
    }

    /// How many tokens a session may have.
    pub(super) async fn open(&self) -> Result<usize, Error> {
        self.ask(|answer| Message::Open { answer }).await
    }

    pub(super) async fn start(
        &self,
        key: Key,
        guest: u64,
        prompt: Vec<LlamaToken>,
        monitor: Monitor,
        logits: Vec<f32>,
    ) -> Result<Evaluated, Error> {
        self.ask(|answer| Message::Start {
            key,
            guest,
            prompt,
            monitor,
            logits,
            answer,
        })
        .await
    }

    /// Gives the answer to come, for [`answered`].
    pub(super) fn advance(
        &self,
        key: Key,
        token: LlamaToken,
        logits: Vec<f32>,
    ) -> oneshot::Receiver<Result<Evaluated, Error>> {
        let (answer, answer_to_come) = oneshot::channel();
        self.send(Message::Advance {
            key,
            token,
            logits,
            answer,
        });
        answer_to_come
    }

    pub(super) async fn shift(&self, key: Key) -> Result<usize, Error> {
        self.ask(|answer| Message::Shift { key, answer }).await
    }

    pub(super) fn rest(&self, key: Key, length: Option<usize>) {
        self.send(Message::Rest { key, length });
    }

    pub(super) fn close(&self, key: Key) {
        self.send(Message::Close { key });
    }
}

impl Drop for Scheduler {
    fn drop(&mut self) {
        drop(self.messages.take());
        // The model's memory is free when this returns. A thread that panicked has said so. But a batch takes its time, for
        // which a thread of Tokio's must not stand still: there the memory is free a little later.
        if let Some(thread) = self.thread.take()
            && Handle::try_current().is_err()
        {
            let _ = thread.join();
        }
    }
}

/// Waits for an answer.
pub(super) async fn answered<V>(answer: oneshot::Receiver<Result<V, Error>>) -> Result<V, Error> {
    answer.await.unwrap_or_else(|_| {
        Err(Error::new(
            ErrorCode::RuntimeError,
            "the model's thread has ended: load the model anew",
        ))
    })
}

/// A number for a session that no other one has.
pub(super) fn new_key() -> Key {
    static LAST: AtomicU64 = AtomicU64::new(0);
    LAST.fetch_add(1, Ordering::Relaxed)
}

/// The schedulers of one model, each for the sessions with the same settings.
#[derive(Default)]
pub(super) struct Schedulers {
    running: Mutex<Vec<(Settings, Arc<Scheduler>)>>,
}

impl Schedulers {
    /// The scheduler for these settings.
    pub(super) fn get(
        &self,
        weights: &Arc<Weights>,
        settings: Settings,
        scheduling: Scheduling,
        metrics: &Metrics,
    ) -> Result<Arc<Scheduler>, Error> {
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, found)) = running.iter().find(|(known, _)| *known == settings) {
            return Ok(found.clone());
        }
        // What nobody uses is kept for its prefixes, but not beside another one.
        let unused: Vec<_> = running
            .extract_if(.., |(_, scheduler)| Arc::strong_count(scheduler) == 1)
            .collect();
        let scheduler = Scheduler::new(weights.clone(), settings, scheduling, metrics.clone())?;
        let scheduler = Arc::new(scheduler);
        running.push((settings, scheduler.clone()));
        drop(running);
        // They may compute still, and others need not wait for that.
        drop(unused);
        Ok(scheduler)
    }

    /// Forgets a scheduler whose context could not be made.
    pub(super) fn forget(&self, failed: &Arc<Scheduler>) {
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        running.retain(|(_, scheduler)| !Arc::ptr_eq(scheduler, failed));
    }
}
