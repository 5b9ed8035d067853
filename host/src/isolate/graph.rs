//! A graph whose model is in a worker.

use super::calling::Calling;
use super::context::IsolatedContext;
use super::frame;
use super::message::{Answer, FromContext, FromGraph, Load, OfGraph, ToGraph};
use super::stream::Channel;
use super::supervisor::Supervisor;
use super::worker::Worker;
use crate::backend::language::LanguageDescription;
use crate::backend::large_text::{check_size, check_tokens, turn};
use crate::backend::{ExecutionContext, Graph, LanguageModel};
use crate::monitor::Watcher;
use crate::{Error, ErrorCode, Monitor};
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

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
    /// As in [`Calling`].
    may_be_endless: bool,
    /// Bytes of an output that the guest may have.
    most_output: u64,
    monitor: Monitor,
    loaded: Mutex<Loaded>,
    /// The number of the last call.
    calls: AtomicU64,
    /// Ends the worker with the guest, if that has brought the model.
    _watcher: Option<Arc<Watcher>>,
}

/// The graph in the worker.
struct Loaded {
    worker: Arc<Worker>,
    graph: u64,
    channel: Channel,
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
        let worker = supervisor.worker()?;
        // It is nobody else's, and may load or answer for ever.
        let own = load.files.is_none();
        let watcher = own.then(|| end_with(&monitor, &worker));
        let (loaded, description) = load_in(worker, &load, &bytes, &monitor)?;
        drop(bytes);
        let model = Arc::new(Model {
            supervisor,
            may_be_endless: own || description.is_none(),
            load,
            most_output,
            monitor,
            loaded: Mutex::new(loaded),
            calls: AtomicU64::new(0),
            _watcher: watcher,
        });
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
        check_size(text.len(), self.model.load.prompt_tokens)?;
        let _turn = turn(text.len(), &self.model.monitor)?;
        let text = text.to_owned();
        match self.model.ask(&ToGraph::Tokenize { text, special })? {
            OfGraph::Tokens(tokens) => Ok(tokens),
            _ => Err(self.model.wrong_answer()),
        }
    }

    fn detokenize(&self, tokens: &[u32]) -> Result<Vec<u8>, Error> {
        check_tokens(tokens.len(), self.model.load.prompt_tokens)?;
        let tokens = tokens.to_vec();
        match self.model.ask(&ToGraph::Detokenize { tokens })? {
            OfGraph::Text(bytes) => Ok(bytes),
            _ => Err(self.model.wrong_answer()),
        }
    }
}

impl Model {
    /// The calls of a new context.
    pub(super) fn calling(&self) -> (Arc<Calling>, Arc<Watcher>) {
        let may_be_for_others = self.load.files.is_some() && self.load.batch > 1;
        Calling::new(self.monitor.child(), self.may_be_endless, may_be_for_others)
    }

    /// The most tokens of a prompt.
    pub(super) fn most_prompt_tokens(&self) -> usize {
        self.load.prompt_tokens
    }

    /// A number for a call.
    pub(super) fn next_call(&self) -> u64 {
        self.calls.fetch_add(1, Ordering::Relaxed)
    }

    pub(super) fn most_output(&self) -> u64 {
        self.most_output
    }

    /// A stream for a new context, which lives in this worker.
    pub(super) fn open_context(
        &self,
        calling: &Arc<Calling>,
    ) -> Result<(Arc<Worker>, u64, Channel, Answer), Error> {
        let (worker, graph) = {
            let loaded = self.loaded()?;
            (loaded.worker.clone(), loaded.graph)
        };
        let mut channel = worker.context(graph)?;
        calling.begin(self.next_call(), &worker, graph, false);
        let answer = self.answer(&worker, &mut channel);
        calling.end(false);
        let (answer, _) = answer.map_err(|error| worker.died(&error))?;
        Ok((worker, graph, channel, answer))
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
            let worker = self.supervisor.worker()?;
            *loaded = load_in(worker, &self.load, &[], &self.monitor)?.0;
        }
        Ok(loaded)
    }

    fn wrong_answer(&self) -> Error {
        let loaded = self.loaded.lock().unwrap_or_else(PoisonError::into_inner);
        loaded.worker.died(&io::ErrorKind::InvalidData.into())
    }
}

fn load_in(
    worker: Arc<Worker>,
    load: &Load,
    bytes: &[Vec<u8>],
    monitor: &Monitor,
) -> Result<(Loaded, Option<LanguageDescription>), Error> {
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

/// Ends a worker when a monitor is ended, as long as somebody holds this.
fn end_with(monitor: &Monitor, worker: &Arc<Worker>) -> Arc<Watcher> {
    let worker = Arc::downgrade(worker);
    let of_monitor = monitor.clone();
    let watcher: Arc<Watcher> = Arc::new(move || {
        if let Some(worker) = worker.upgrade().filter(|_| of_monitor.is_ended()) {
            worker.end("nobody waits for its model any more");
        }
    });
    monitor.watch(&watcher);
    // It may have been ended before anybody watched.
    watcher();
    watcher
}

fn ask(
    channel: &mut Channel,
    question: &ToGraph,
    blobs: &[&[u8]],
    monitor: &Monitor,
) -> io::Result<Result<OfGraph, Error>> {
    match channel.send(question, blobs) {
        Ok(()) => {}
        Err(error) => return frame::too_long(&error).map_or(Err(error), |error| Ok(Err(error))),
    }
    loop {
        match channel.receive()? {
            (FromGraph::Progress(progress), _) => {
                monitor.report(progress.activity, progress.done, progress.total);
            }
            (FromGraph::Done(answer), _) => return Ok(answer),
        }
    }
}
