//! A graph in the worker.

use super::super::message::{Figures, FromGraph, Load, OfGraph, ToGraph};
use super::super::stream::Channel;
use super::ServedBackend;
use super::calls::{Calls, Writer};
use crate::backend::{Graph, LanguageModel, LoadRequest, Source};
use crate::figures::Untold;
use crate::{Error, ErrorCode, Files, Limits, Metrics, Monitor, Scheduling, calls};
use std::io;
use std::os::unix::net::UnixStream;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, OnceLock};

/// Why a guest's files do not open here.
const NO_FILES: &str = "expected options without the program's own files, since the model is isolated and its \
                        process opens no others: name a projector with the model (NAME:GGML:AUTO:MODEL:PROJECTOR), \
                        pass images in base64 in the prompt, or do without isolation (--isolate=no)";

/// The number of the call that loads.
const LOADING: u64 = 0;

/// A graph, and its calls.
pub(super) struct Served {
    graph: OnceLock<Arc<dyn Graph>>,
    metrics: Metrics,
    pub(super) calls: Arc<Calls>,
}

impl Served {
    pub(super) fn new(metrics: Metrics) -> Self {
        Self {
            graph: OnceLock::new(),
            metrics,
            calls: Arc::default(),
        }
    }

    pub(super) fn graph(&self) -> Result<&Arc<dyn Graph>, Error> {
        let graph = self.graph.get();
        graph.ok_or_else(|| Error::invalid("expected a model that is loaded, found none"))
    }

    /// What this process has counted since it was asked last.
    pub(super) fn figures(&self) -> Figures {
        self.metrics.untold().map(Untold::take).unwrap_or_default()
    }

    pub(super) fn interrupt(&self, call: u64) {
        self.calls.interrupt(call);
    }

    fn load(
        &self,
        load: Load,
        builders: Vec<Vec<u8>>,
        backend: &ServedBackend,
    ) -> Result<OfGraph, Error> {
        let monitor = if load.progress {
            let calls = self.calls.clone();
            Monitor::new(move |progress| calls.report(progress))
        } else {
            Monitor::default()
        };
        if load.timings {
            self.metrics.take_timings();
        }
        let configurations: Vec<&str> = load.configurations.iter().map(String::as_str).collect();
        let graph = backend.get()?.load(LoadRequest {
            source: match load.files {
                Some(files) => Source::Files(files.into_iter().map(Into::into).collect()),
                None => Source::Bytes(builders),
            },
            target: load.target,
            configurations: &configurations,
            monitor,
            files: Files::refused(NO_FILES),
            guest: load.guest,
            limits: &Limits {
                prompt_tokens: load.prompt_tokens,
                options: load.options,
                ..Limits::default()
            },
            scheduling: Scheduling {
                parallel: load.parallel,
                queue: load.queue,
                prefixes: load.prefixes,
                batch: load.batch,
            },
            metrics: self.metrics.clone(),
        })?;
        let graph = self.graph.get_or_init(|| graph);
        Ok(OfGraph::Loaded(
            graph.language().map(LanguageModel::describe),
        ))
    }

    fn language(&self) -> Result<&dyn LanguageModel, Error> {
        calls::language_model(self.graph()?.as_ref())
    }
}

/// Answers until the host ends the stream.
pub(super) fn serve(
    served: &Arc<Served>,
    backend: &ServedBackend,
    stream: UnixStream,
) -> io::Result<()> {
    let mut channel = Channel::new(stream);
    let writer = Writer::new(channel.writer()?);
    while let Some((question, sizes)) = channel.next::<ToGraph>()? {
        let mut builders = Vec::new();
        for size in sizes {
            let mut builder = Vec::new();
            channel.receive_blob(size, &mut builder)?;
            builders.push(builder);
        }
        let answer = guard(|| match question {
            ToGraph::Load(load) => {
                let tell = {
                    let writer = writer.clone();
                    // A host that does not listen any more is noticed when it is answered.
                    move |progress| drop(writer.send(&FromGraph::Progress(progress), &[]))
                };
                served
                    .calls
                    .begin(LOADING, false, &Monitor::default(), Box::new(tell));
                let loaded = guard(|| served.load(load, builders, backend));
                served.calls.end(LOADING);
                loaded
            }
            ToGraph::Tokenize { text, special } => served
                .language()?
                .tokenize(&text, special)
                .map(OfGraph::Tokens),
            ToGraph::Detokenize { tokens } => {
                served.language()?.detokenize(&tokens).map(OfGraph::Text)
            }
        });
        let instead = |error| FromGraph::Done(Err(error));
        writer.answer(&FromGraph::Done(answer), &[], instead)?;
    }
    Ok(())
}

/// What a graph without a thread is told.
pub(super) fn refusal(error: Error) -> FromGraph {
    FromGraph::Done(Err(error))
}

/// Calls a backend; its panic is an error of the call.
pub(super) fn guard<V>(function: impl FnOnce() -> Result<V, Error>) -> Result<V, Error> {
    catch_unwind(AssertUnwindSafe(function)).unwrap_or_else(|_| {
        Err(Error::new(
            ErrorCode::RuntimeError,
            "the backend failed in a way that it did not expect itself; the worker's log says how",
        ))
    })
}
