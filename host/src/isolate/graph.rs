//! A graph whose model is in a worker.

use super::context::IsolatedContext;
use super::message::{Answer, FromContext, FromGraph, Load, OfGraph, ToGraph};
use super::stream::Channel;
use super::supervisor::Supervisor;
use super::worker::Worker;
use crate::backend::language::LanguageDescription;
use crate::backend::{ExecutionContext, Graph, LanguageModel};
use crate::monitor::Watcher;
use crate::{Error, ErrorCode, Monitor};
use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::thread;
use std::time::Duration;

/// How long a computation may go on after it was interrupted. Libraries look between their operations, which can be
/// long, and some never look.
const GRACE: Duration = Duration::from_secs(5);

/// A graph for guests.
pub(super) struct IsolatedGraph {
    model: Arc<Model>,
    language: Option<Language>,
}

/// The same graph as a language model.
struct Language {
    model: Arc<Model>,
    description: LanguageDescription,
}

/// What the graph and its contexts share.
pub(super) struct Model {
    supervisor: Arc<Supervisor>,
    /// How it is loaded, to do so again.
    load: Load,
    /// Whether a call may not hear of an interrupt: that of a model that a program brought, or of one of tensors, some
    /// of which have loops that no library looks into.
    may_compute_for_ever: bool,
    /// Bytes of an output that the guest may have.
    most_output: u64,
    monitor: Monitor,
    loaded: Mutex<Loaded>,
    calls: Mutex<Calls>,
    /// Hears of interrupts.
    watcher: OnceLock<Arc<Watcher>>,
}

/// The graph in the worker.
struct Loaded {
    worker: Arc<Worker>,
    graph: u64,
    channel: Channel,
}

/// The calls that wait for their answers.
#[derive(Default)]
struct Calls {
    last: u64,
    running: BTreeMap<u64, Running>,
}

struct Running {
    worker: Arc<Worker>,
    graph: u64,
    /// Whether the interrupt of the monitor was given to it.
    interrupted: bool,
}

impl IsolatedGraph {
    /// Loads a model in a worker: from its files, or from `bytes`.
    pub(super) fn load(
        supervisor: Arc<Supervisor>,
        load: Load,
        bytes: Vec<Vec<u8>>,
        monitor: Monitor,
        most_output: u64,
    ) -> Result<Arc<dyn Graph>, Error> {
        let (loaded, description) = load_in_worker(&supervisor, &load, &bytes, &monitor)?;
        drop(bytes);
        let model = Arc::new(Model {
            supervisor,
            may_compute_for_ever: load.files.is_none() || description.is_none(),
            load,
            most_output,
            monitor,
            loaded: Mutex::new(loaded),
            calls: Mutex::default(),
            watcher: OnceLock::new(),
        });
        model.watch();
        let language = description.map(|description| Language {
            model: model.clone(),
            description,
        });
        Ok(Arc::new(Self { model, language }))
    }
}

impl Graph for IsolatedGraph {
    fn init_execution_context(&self) -> Result<Box<dyn ExecutionContext>, Error> {
        let context = IsolatedContext::open(self.model.clone(), self.language.is_some())?;
        Ok(Box::new(context))
    }

    fn language(&self) -> Option<&dyn LanguageModel> {
        let language = self.language.as_ref();
        language.map(|language| language as &dyn LanguageModel)
    }

    fn may_block(&self) -> bool {
        true
    }
}

impl LanguageModel for Language {
    fn describe(&self) -> LanguageDescription {
        self.description.clone()
    }

    fn tokenize(&self, text: &str, special: bool) -> Result<Vec<u32>, Error> {
        let text = text.to_owned();
        match self.model.ask(&ToGraph::Tokenize { text, special })? {
            OfGraph::Tokens(tokens) => Ok(tokens),
            _ => Err(self.model.wrong_answer()),
        }
    }

    fn detokenize(&self, tokens: &[u32]) -> Result<Vec<u8>, Error> {
        let tokens = tokens.to_vec();
        match self.model.ask(&ToGraph::Detokenize { tokens })? {
            OfGraph::Text(bytes) => Ok(bytes),
            _ => Err(self.model.wrong_answer()),
        }
    }
}

impl Model {
    pub(super) fn most_output(&self) -> u64 {
        self.most_output
    }

    /// A stream for a new context, which lives in this worker.
    pub(super) fn open_context(&self) -> Result<(Arc<Worker>, u64, Channel, Answer), Error> {
        let (worker, graph) = {
            let loaded = self.loaded()?;
            (loaded.worker.clone(), loaded.graph)
        };
        let mut channel = worker.context(graph)?;
        let answer = self
            .answer(&worker, &mut channel)
            .map_err(|error| worker.died(&error))?;
        Ok((worker, graph, channel, answer.0))
    }

    /// The answer to a call of a context, with the sizes of its blobs. Progress on the way is told.
    pub(super) fn answer(
        &self,
        worker: &Worker,
        channel: &mut Channel,
    ) -> io::Result<(Answer, Vec<u64>)> {
        loop {
            match channel.receive()? {
                (FromContext::Progress(progress), _) => {
                    self.monitor
                        .report(progress.activity, progress.done, progress.total);
                }
                (FromContext::Done(answer), blobs) => {
                    worker.count(&answer.figures);
                    worker.wait_for_output(answer.printed);
                    return Ok((answer, blobs));
                }
            }
        }
    }

    /// Asks the graph. A worker that has died before is replaced; one that dies of it is not.
    fn ask(&self, question: &ToGraph) -> Result<OfGraph, Error> {
        let mut loaded = self.loaded()?;
        let Loaded {
            worker, channel, ..
        } = &mut *loaded;
        ask(channel, question, &[], &self.monitor).map_err(|error| worker.died(&error))?
    }

    /// The graph in a worker that lives.
    fn loaded(&self) -> Result<MutexGuard<'_, Loaded>, Error> {
        let mut loaded = self.loaded.lock().unwrap_or_else(PoisonError::into_inner);
        if loaded.worker.is_dead() {
            if self.load.files.is_none() {
                return Err(Error::new(
                    ErrorCode::RuntimeError,
                    "the worker process of this model has died, and the host has not kept the bytes that it \
                     was made of: load it again",
                ));
            }
            *loaded = load_in_worker(&self.supervisor, &self.load, &[], &self.monitor)?.0;
        }
        Ok(loaded)
    }

    fn wrong_answer(&self) -> Error {
        let loaded = self.loaded.lock().unwrap_or_else(PoisonError::into_inner);
        loaded.worker.died(&io::ErrorKind::InvalidData.into())
    }

    /// Begins a call. Gives its number, and whether it is interrupted already.
    pub(super) fn begin(&self, worker: &Arc<Worker>, graph: u64, computes: bool) -> (u64, bool) {
        let mut calls = self.calls();
        calls.last += 1;
        let number = calls.last;
        if !computes {
            return (number, false);
        }
        let interrupted = self.monitor.check().is_err();
        let running = Running {
            worker: worker.clone(),
            graph,
            interrupted,
        };
        calls.running.insert(number, running);
        (number, interrupted)
    }

    /// Ends a call. An interrupt that it has not heard is one for the next.
    pub(super) fn end(&self, number: u64, heard: bool) {
        let ended = self.calls().running.remove(&number);
        if ended.is_some_and(|call| call.interrupted) && !heard {
            self.monitor.interrupt();
        }
    }

    /// Gives interrupts to the worker, if something computes.
    fn watch(self: &Arc<Self>) {
        let model: Weak<Self> = Arc::downgrade(self);
        let watcher: Arc<Watcher> = Arc::new(move || {
            if let Some(model) = model.upgrade() {
                model.interrupt();
            }
        });
        self.monitor.watch(&watcher);
        // Set once.
        let _ = self.watcher.set(watcher);
    }

    fn interrupt(self: &Arc<Self>) {
        let mut calls = self.calls();
        if let Some((number, call)) = calls.running.iter_mut().next_back()
            && self.monitor.check().is_err()
        {
            call.interrupted = true;
            call.worker.interrupt(call.graph, *number);
            if self.may_compute_for_ever {
                self.end_later(*number, &call.worker);
            }
        }
    }

    /// Ends the worker if a call has not ended after a while, which those who compute there, too, are told.
    fn end_later(self: &Arc<Self>, number: u64, worker: &Arc<Worker>) {
        let (model, worker) = (Arc::downgrade(self), Arc::downgrade(worker));
        let wait = move || {
            thread::sleep(GRACE);
            let (Some(model), Some(worker)) = (model.upgrade(), worker.upgrade()) else {
                return;
            };
            let runs = model.calls().running.contains_key(&number);
            if runs {
                worker.end("its computation went on after its time was over");
            }
        };
        let thread = thread::Builder::new().name("worker-ender".into());
        if let Err(error) = thread.spawn(wait) {
            tracing::debug!("nobody looks whether a computation has ended: {error}");
        }
    }

    fn calls(&self) -> MutexGuard<'_, Calls> {
        self.calls.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn load_in_worker(
    supervisor: &Supervisor,
    load: &Load,
    bytes: &[Vec<u8>],
    monitor: &Monitor,
) -> Result<(Loaded, Option<LanguageDescription>), Error> {
    let worker = supervisor.worker()?;
    // A model that a program brought may load for ever, and is nobody else's.
    let own = load.files.is_none();
    let _watcher = own.then(|| end_if_interrupted(&worker, monitor));
    let (graph, mut channel) = worker.graph()?;
    let blobs: Vec<&[u8]> = bytes.iter().map(Vec::as_slice).collect();
    let died = |error: io::Error| worker.died(&error);
    let answer = ask(&mut channel, &ToGraph::Load(load.clone()), &blobs, monitor).map_err(died)?;
    match answer? {
        OfGraph::Loaded(description) => {
            let loaded = Loaded {
                worker,
                graph,
                channel,
            };
            Ok((loaded, description))
        }
        _ => Err(died(io::ErrorKind::InvalidData.into())),
    }
}

/// Ends a worker at an interrupt, as long as somebody holds this.
fn end_if_interrupted(worker: &Arc<Worker>, monitor: &Monitor) -> Arc<Watcher> {
    let worker = Arc::downgrade(worker);
    let watcher: Arc<Watcher> = Arc::new(move || {
        if let Some(worker) = worker.upgrade() {
            worker.end("nobody waits for its model any more");
        }
    });
    monitor.watch(&watcher);
    watcher
}

fn ask(
    channel: &mut Channel,
    question: &ToGraph,
    blobs: &[&[u8]],
    monitor: &Monitor,
) -> io::Result<Result<OfGraph, Error>> {
    channel.send(question, blobs)?;
    loop {
        match channel.receive()? {
            (FromGraph::Progress(progress), _) => {
                monitor.report(progress.activity, progress.done, progress.total);
            }
            (FromGraph::Done(answer), _) => return Ok(answer),
        }
    }
}
