//! The thread of a scheduler.
//!
//! It takes messages, gives places to computations that wait for one, and computes batch after batch. After a
//! batch it waits a moment for those who have their token and are about to ask for the next one: a batch
//! without them would take as long. Whoever is slower than that is not waited for again until it is quick.

use super::kv_cache::{KvCache, Piece};
use super::{Evaluated, Key, Message, plan};
use crate::backend::ggml::session::Settings;
use crate::backend::ggml::weights::Weights;
use crate::figures::Figure;
use crate::metrics::{ComputationGauges, Metrics};
use crate::{Activity, Error, ErrorCode, Monitor, Scheduling};
use llama_cpp_2::token::LlamaToken;
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};
use tokio::sync::oneshot;

/// The part of a batch's time for which the next one waits for those who were in it.
const GRACE: f64 = 0.1;
const SHORTEST_GRACE: Duration = Duration::from_micros(200);
const LONGEST_GRACE: Duration = Duration::from_millis(50);
/// How long a computation that asks for nothing keeps its place while others wait for one.
const PATIENCE: Duration = Duration::from_millis(100);
/// Who has got a token within this time is about to ask for the next one, though perhaps not at once.
const SOON: Duration = Duration::from_secs(1);
/// How long one that asks for more and more keeps it.
const TURN: Duration = Duration::from_secs(5);

pub(super) struct Worker {
    weights: Arc<Weights>,
    settings: Settings,
    scheduling: Scheduling,
    metrics: Metrics,
    gauges: ComputationGauges,
    messages: Receiver<Message>,
    /// Made when it is needed first.
    cache: Option<KvCache>,
    sessions: HashMap<Key, Session>,
    /// Sessions with work and no place, in the order in which they came.
    waiting: VecDeque<Key>,
    /// How many tokens of prompts are evaluated in a second.
    prefill_rate: f64,
    /// How long the last batch took, and when it was answered.
    last: Duration,
    answered: Instant,
}

/// What is known of a session.
struct Session {
    guest: u64,
    /// Its sequence, as long as that is in the KV cache.
    place: Option<usize>,
    /// The tokens of its computation's sequence, if it has lost that.
    evicted: Vec<LlamaToken>,
    /// Whether its computation is one of those that may run; since when.
    admitted: Option<Instant>,
    /// What it has asked for.
    work: Option<Work>,
    /// Whether it is not waited for.
    late: bool,
    /// Since when it has been asking for nothing.
    idle: Instant,
}

/// An evaluation that was asked for.
struct Work {
    /// The tokens that are not yet evaluated; all of the prompt until there is a place.
    tokens: Vec<LlamaToken>,
    /// How many of them the next batch has.
    planned: usize,
    /// How many tokens of the prompt were there already.
    cached: usize,
    /// How many there are.
    total: usize,
    /// Whether the session waits for a place and a sequence that begins with the tokens.
    unseated: bool,
    monitor: Monitor,
    logits: Vec<f32>,
    answer: oneshot::Sender<Result<Evaluated, Error>>,
    since: Instant,
}

impl Work {
    fn is_prompt(&self) -> bool {
        self.total > 1
    }
}

impl Worker {
    pub(super) fn new(
        weights: Arc<Weights>,
        settings: Settings,
        scheduling: Scheduling,
        metrics: Metrics,
        messages: Receiver<Message>,
    ) -> Self {
        Self {
            weights,
            settings,
            scheduling,
            gauges: metrics.computations(),
            metrics,
            messages,
            cache: None,
            sessions: HashMap::new(),
            waiting: VecDeque::new(),
            prefill_rate: 0.0,
            last: Duration::ZERO,
            answered: Instant::now(),
        }
    }

    /// Works until nobody can send messages any more.
    pub(super) fn run(mut self) {
        while self.receive() {
            self.forget_cancelled();
            self.preempt();
            self.admit();
            self.compute();
        }
    }

    /// Takes messages: all that are there, and if there is nothing to compute, waits for one. Whether there
    /// can be more.
    fn receive(&mut self) -> bool {
        loop {
            match self.messages.try_recv() {
                Ok(message) => self.take(message),
                Err(std::sync::mpsc::TryRecvError::Empty) => break,
                Err(std::sync::mpsc::TryRecvError::Disconnected) => return false,
            }
        }
        loop {
            let message = match self.patience() {
                Some(patience) if patience.is_zero() => return true,
                Some(patience) => self.messages.recv_timeout(patience),
                None => self
                    .messages
                    .recv()
                    .map_err(|_| RecvTimeoutError::Disconnected),
            };
            match message {
                Ok(message) => self.take(message),
                Err(RecvTimeoutError::Disconnected) => return false,
                Err(RecvTimeoutError::Timeout) => {
                    // Who has not come by now is late.
                    for session in self.sessions.values_mut() {
                        session.late |= session.admitted.is_some() && session.work.is_none();
                    }
                    return true;
                }
            }
        }
    }

    /// For how long to wait for messages: for ever, if there is nothing to compute.
    fn patience(&self) -> Option<Duration> {
        let ready = |session: &Session| session.admitted.is_some() && session.work.is_some();
        if self.sessions.values().any(ready) {
            let expected = |session: &Session| {
                session.admitted.is_some() && session.work.is_none() && !session.late
            };
            if self.sessions.values().any(expected) {
                return Some(self.grace().saturating_sub(self.answered.elapsed()));
            }
            return Some(Duration::ZERO);
        }
        if self.waiting.is_empty() {
            return None;
        }
        if self.running() < self.most() {
            return Some(Duration::ZERO);
        }
        Some(PATIENCE)
    }

    /// How many computations run.
    fn running(&self) -> usize {
        let admitted = |session: &&Session| session.admitted.is_some();
        self.sessions.values().filter(admitted).count()
    }

    /// How many computations may run at once: fewer than there may, if there is no memory for them.
    fn most(&self) -> usize {
        let cache = self.cache.as_ref().map(KvCache::most);
        self.scheduling
            .parallel
            .min(cache.unwrap_or(usize::MAX))
            .max(1)
    }

    fn grace(&self) -> Duration {
        self.last
            .mul_f64(GRACE)
            .clamp(SHORTEST_GRACE, LONGEST_GRACE)
    }

    fn take(&mut self, message: Message) {
        match message {
            Message::Open { answer } => {
                let size = self.open().map(|cache| cache.size());
                let _ = answer.send(size);
            }
            Message::Start {
                key,
                guest,
                prompt,
                monitor,
                logits,
                answer,
            } => {
                let (running, waiting) = (self.running(), self.waiting.len());
                if running + waiting >= self.most().saturating_add(self.scheduling.queue) {
                    let _ = answer.send(Err(busy(running, waiting)));
                    return;
                }
                // Whatever it has computed before.
                self.rest(key);
                let session = self.session(key, guest);
                session.work = Some(Work {
                    total: prompt.len(),
                    tokens: prompt,
                    planned: 0,
                    cached: 0,
                    unseated: true,
                    monitor,
                    logits,
                    answer,
                    since: Instant::now(),
                });
                self.enqueue(key);
            }
            Message::Advance {
                key,
                token,
                logits,
                answer,
            } => {
                let grace = self.grace();
                let Some(session) = self.sessions.get_mut(&key) else {
                    let _ = answer.send(Err(gone()));
                    return;
                };
                session.late = session.idle.elapsed() > grace;
                let unseated = session.place.is_none();
                let mut tokens = std::mem::take(&mut session.evicted);
                tokens.push(token);
                session.work = Some(Work {
                    total: tokens.len(),
                    tokens,
                    planned: 0,
                    cached: 0,
                    unseated,
                    monitor: Monitor::default(),
                    logits,
                    answer,
                    since: Instant::now(),
                });
                self.enqueue(key);
            }
            Message::Shift { key, answer } => {
                let place = self.sessions.get(&key).and_then(|session| session.place);
                let left = match (&mut self.cache, place) {
                    (Some(cache), Some(place)) => cache.shift(place),
                    _ => None,
                };
                self.note_lost();
                let _ = answer.send(left.ok_or_else(cannot_shift));
            }
            Message::Rest { key, length } => {
                self.rest(key);
                let place = self.sessions.get(&key).and_then(|session| session.place);
                if let (Some(place), Some(length), Some(cache)) = (place, length, &mut self.cache) {
                    cache.keep(place, length);
                }
            }
            Message::Close { key } => {
                self.rest(key);
                if let (
                    Some(Session {
                        place: Some(place), ..
                    }),
                    Some(cache),
                ) = (self.sessions.remove(&key), &mut self.cache)
                {
                    cache.disown(place);
                }
                // What is left is moved together then, and may find no room.
                self.note_lost();
            }
        }
        self.gauge();
    }

    fn session(&mut self, key: Key, guest: u64) -> &mut Session {
        self.sessions.entry(key).or_insert_with(|| Session {
            guest,
            place: None,
            evicted: Vec::new(),
            admitted: None,
            work: None,
            late: false,
            idle: Instant::now(),
        })
    }

    /// Has a session with work wait for a place, if it needs one.
    fn enqueue(&mut self, key: Key) {
        let admitted = self
            .sessions
            .get(&key)
            .is_some_and(|s| s.admitted.is_some());
        if !admitted && !self.waiting.contains(&key) {
            self.waiting.push_back(key);
        }
    }

    /// A session's computation is over, or not continued for now.
    fn rest(&mut self, key: Key) {
        self.waiting.retain(|waiting| *waiting != key);
        if let Some(session) = self.sessions.get_mut(&key) {
            session.admitted = None;
            session.work = None;
            session.evicted = Vec::new();
            if let (Some(place), Some(cache)) = (session.place, &mut self.cache) {
                cache.set_running(place, false);
            }
        }
    }

    /// The cache, made now if there is none.
    fn open(&mut self) -> Result<&mut KvCache, Error> {
        let cache = match self.cache.take() {
            Some(cache) => cache,
            None => KvCache::new(
                self.weights.clone(),
                self.settings,
                self.scheduling,
                self.metrics.clone(),
            )?,
        };
        Ok(self.cache.insert(cache))
    }

    /// Forgets work that nobody waits for any more.
    fn forget_cancelled(&mut self) {
        let cancelled: Vec<_> = self
            .sessions
            .iter()
            .filter(|(_, session)| {
                session
                    .work
                    .as_ref()
                    .is_some_and(|work| work.answer.is_closed())
            })
            .map(|(key, _)| *key)
            .collect();
        for key in cancelled {
            self.rest(key);
        }
        // In a process of its own, who waits for a prompt's turn cannot go away, and only hears that nobody else does.
        for key in self.waiting.clone() {
            let ended = |work: &mut Work| work.unseated && work.monitor.check().is_err();
            let session = self.sessions.get_mut(&key);
            if let Some(work) = session.and_then(|session| session.work.take_if(ended)) {
                self.rest(key);
                let _ = work.answer.send(Err(Monitor::interrupted()));
            }
        }
    }

    /// Takes the place of a computation that does not use it, or has had it for long, if others wait.
    fn preempt(&mut self) {
        let Some(oldest) = self.waiting.front().and_then(|key| self.sessions.get(key)) else {
            return;
        };
        if self.running() < self.most() {
            return;
        }
        let waited = oldest
            .work
            .as_ref()
            .map_or(Duration::ZERO, |work| work.since.elapsed());
        let idle = self
            .sessions
            .iter()
            .filter(|(_, s)| {
                s.admitted.is_some() && s.work.is_none() && s.idle.elapsed() >= PATIENCE
            })
            .min_by_key(|(_, session)| session.idle)
            .map(|(key, _)| *key);
        let long = || {
            self.sessions
                .iter()
                .filter(|(_, session)| {
                    let decodes = session.work.as_ref().is_none_or(|work| !work.is_prompt());
                    let since = session
                        .admitted
                        .map_or(Duration::ZERO, |since| since.elapsed());
                    decodes && since >= TURN && waited >= PATIENCE
                })
                .min_by_key(|(_, session)| session.admitted)
                .map(|(key, _)| *key)
        };
        let Some(key) = idle.or_else(long) else {
            return;
        };
        if let Some(session) = self.sessions.get_mut(&key) {
            session.admitted = None;
            if let (Some(place), Some(cache)) = (session.place, &mut self.cache) {
                cache.set_running(place, false);
            }
            if session.work.is_some() {
                self.waiting.push_back(key);
            }
        }
    }

    /// Gives places to those who wait: to the guests with the fewest first.
    fn admit(&mut self) {
        while !self.waiting.is_empty() {
            let mut running: HashMap<u64, usize> = HashMap::new();
            for session in self.sessions.values().filter(|s| s.admitted.is_some()) {
                *running.entry(session.guest).or_default() += 1;
            }
            let admitted: usize = running.values().sum();
            if admitted >= self.most() {
                return;
            }
            if let Err(error) = self.open() {
                self.fail_waiting(&error);
                return;
            }
            let has_room = match &mut self.cache {
                Some(cache) => cache.has_room_for(admitted + 1),
                None => false,
            };
            self.note_lost();
            if !has_room {
                return;
            }
            let shares = |key: &Key| {
                let guest = self.sessions.get(key).map_or(0, |session| session.guest);
                running.get(&guest).copied().unwrap_or(0)
            };
            // The first of those with the fewest.
            let next = (0..self.waiting.len()).min_by_key(|index| shares(&self.waiting[*index]));
            let Some(key) = next.and_then(|index| self.waiting.remove(index)) else {
                return;
            };
            if let Some(session) = self.sessions.get_mut(&key) {
                session.admitted = Some(Instant::now());
                if let (Some(place), Some(cache)) = (session.place, &mut self.cache) {
                    cache.set_running(place, true);
                }
            }
            if let Err(error) = self.seat(key) {
                self.fail(key, error);
            }
        }
    }

    /// Gives an admitted session a sequence that begins with its tokens.
    fn seat(&mut self, key: Key) -> Result<(), Error> {
        let Some(session) = self.sessions.get_mut(&key) else {
            return Ok(());
        };
        let Some(work) = session.work.as_mut().filter(|work| work.unseated) else {
            return Ok(());
        };
        let Some(cache) = &mut self.cache else {
            return Ok(());
        };
        // One that finds none has none any more: others may get its number.
        let own = session.place.take();
        let seated = cache.seat(key, own, &work.tokens);
        if seated.is_err()
            && let Some(own) = own
        {
            cache.give_up(key, own);
        }
        let (place, kept) = seated?;
        session.place = Some(place);
        work.tokens.drain(..kept);
        work.cached = kept;
        work.unseated = false;
        if work.is_prompt() {
            self.metrics.count(Figure::Prompt {
                tokens: work.total as u64,
                cached: kept as u64,
            });
        }
        self.note_lost();
        Ok(())
    }

    /// Marks sessions whose sequence the cache has given up.
    fn note_lost(&mut self) {
        let Some(cache) = &mut self.cache else {
            return;
        };
        for (key, tokens) in cache.take_lost() {
            let Some(session) = self.sessions.get_mut(&key) else {
                continue;
            };
            session.place = None;
            let was_admitted = session.admitted.take().is_some();
            match &mut session.work {
                // It asks for more already: all of it has to be evaluated anew.
                Some(work) if !work.unseated => {
                    let mut all = tokens;
                    all.append(&mut work.tokens);
                    work.total = all.len();
                    work.tokens = all;
                    work.unseated = true;
                    if was_admitted {
                        self.waiting.push_front(key);
                    }
                }
                Some(_) => {}
                None => session.evicted = tokens,
            }
        }
    }

    /// Computes one batch, if there is something to compute.
    fn compute(&mut self) {
        let Some(cache) = &mut self.cache else {
            return;
        };
        let most = cache.batch_size();
        // Those who want their next token now, or soon.
        let decoding = self
            .sessions
            .values()
            .filter(|session| match &session.work {
                Some(work) => session.admitted.is_some() && !work.is_prompt(),
                None => session.admitted.is_some() && session.idle.elapsed() < SOON,
            })
            .count();
        // In the order in which they were asked for, so that nobody is left out for ever.
        let mut ready: Vec<_> = self
            .sessions
            .iter_mut()
            .filter_map(|(key, session)| {
                let place = session.place.filter(|_| session.admitted.is_some())?;
                let work = session.work.as_mut().filter(|work| !work.unseated)?;
                Some((work.since, *key, place, work))
            })
            .collect();
        ready.sort_unstable_by_key(|(since, key, ..)| (*since, *key));
        let left: Vec<_> = ready
            .iter()
            .filter(|(.., work)| work.is_prompt())
            .map(|(.., work)| work.tokens.len())
            .collect();
        let budget = plan::budget(most, decoding.min(most), self.prefill_rate, self.last);
        let mut shares = plan::shares(&left, budget).into_iter();
        let mut room = most;
        let mut cancelled = Vec::new();
        for (_, key, _, work) in &mut ready {
            work.planned = if work.is_prompt() {
                shares.next().unwrap_or(0).min(work.tokens.len())
            } else {
                work.tokens.len().min(room)
            };
            room = room.saturating_sub(work.planned);
            if work.planned > 0 && work.is_prompt() {
                let done = work.total - work.tokens.len();
                work.monitor
                    .report(Activity::Prefill, done as u64, work.total as u64);
                if let Err(error) = work.monitor.check() {
                    work.planned = 0;
                    cancelled.push((*key, error));
                }
            }
        }
        ready.retain(|(.., work)| work.planned > 0);
        let pieces: Vec<_> = ready
            .iter()
            .map(|(_, _, place, work)| Piece {
                place: *place,
                tokens: &work.tokens[..work.planned],
                wanted: work.planned == work.tokens.len(),
            })
            .collect();
        if !pieces.is_empty() {
            let started = Instant::now();
            let result = cache.decode(&pieces);
            let prompts: usize = ready
                .iter()
                .filter(|(.., work)| work.is_prompt())
                .map(|(.., work)| work.planned)
                .sum();
            let tokens = ready.iter().map(|(.., work)| work.planned).sum();
            let keys: Vec<_> = ready.iter().map(|(_, key, ..)| *key).collect();
            drop(pieces);
            match result {
                Ok(()) => {
                    let mut index = 0;
                    let mut finished = Vec::new();
                    for (_, key, place, work) in &mut ready {
                        index += work.planned;
                        work.tokens.drain(..work.planned);
                        if work.tokens.is_empty() {
                            cache.read_logits(index - 1, &mut work.logits);
                            finished.push((*key, *place));
                        }
                    }
                    self.last = started.elapsed();
                    self.measure(prompts, tokens);
                    for (key, place) in finished {
                        self.answer(key, place);
                    }
                }
                Err(error) => {
                    for key in keys {
                        self.fail(key, error.clone());
                    }
                }
            }
            self.note_lost();
            self.answered = Instant::now();
        }
        for (key, error) in cancelled {
            self.fail(key, error);
        }
        self.gauge();
    }

    /// Notes how a batch went.
    fn measure(&mut self, prompts: usize, tokens: usize) {
        self.metrics.count(Figure::Batch {
            tokens: tokens as u64,
            took: self.last,
        });
        // Small pieces beside others' tokens say little about it.
        if prompts >= plan::FEWEST {
            let rate = prompts as f64 / self.last.as_secs_f64().max(1e-6);
            self.prefill_rate = match self.prefill_rate {
                0.0 => rate,
                old => 0.75 * old + 0.25 * rate,
            };
        }
    }

    fn answer(&mut self, key: Key, place: usize) {
        let length = self
            .cache
            .as_ref()
            .and_then(|cache| cache.sequence(place))
            .map_or(0, |sequence| sequence.tokens.len());
        let Some(session) = self.sessions.get_mut(&key) else {
            return;
        };
        let Some(work) = session.work.take() else {
            return;
        };
        session.idle = Instant::now();
        if work.is_prompt() {
            session.late = false;
            let total = work.total as u64;
            work.monitor.report(Activity::Prefill, total, total);
        }
        let _ = work.answer.send(Ok(Evaluated {
            logits: work.logits,
            cached: work.cached,
            length,
        }));
    }

    /// Ends a computation that cannot go on.
    fn fail(&mut self, key: Key, error: Error) {
        let work = self
            .sessions
            .get_mut(&key)
            .and_then(|session| session.work.take());
        self.rest(key);
        if let Some(work) = work {
            let _ = work.answer.send(Err(error));
        }
    }

    fn fail_waiting(&mut self, error: &Error) {
        for key in std::mem::take(&mut self.waiting) {
            self.fail(key, error.clone());
        }
    }

    /// Tells how many run and wait.
    fn gauge(&mut self) {
        let running = self.running();
        let cached = self.cache.as_ref().map_or(0, KvCache::cached_tokens);
        self.gauges.set(running, self.waiting.len(), cached);
    }
}

fn busy(running: usize, waiting: usize) -> Error {
    Error::new(
        ErrorCode::Busy,
        format!("{running} computations run on this model and {waiting} wait: try again later"),
    )
}

fn gone() -> Error {
    Error::new(ErrorCode::RuntimeError, "no computation has begun")
}

fn cannot_shift() -> Error {
    Error::new(
        ErrorCode::UnsupportedOperation,
        "the tokens of this context cannot be moved",
    )
}
