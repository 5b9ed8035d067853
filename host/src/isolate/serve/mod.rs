//! The worker process: the real backends, behind sockets.
//!
//! 1. It gets ready: ends with the host, has its limits, loads the backend's library, enters the sandbox.
//! 2. Each graph and each context gets a thread of its own ([`graph`], [`context`]), which reads its socket.
//! 3. The first thread hears of new ones and of interrupts, and ends the process when the host is gone.

mod calls;
mod context;
mod graph;

use super::frame;
use super::message::{BUILD, Command, Figures, Hello, Welcome};
use super::sandbox::{self, Needs};
use super::stream::Receiver;
use crate::backend::Backend;
use crate::{Error, ErrorCode, Metrics, Registry, stdout};
use graph::Served;
use rustix::process::{
    Resource, Rlimit, Signal, getpid, getrlimit, kill_process, set_parent_process_death_signal,
    setrlimit,
};
use serde::Serialize;
use std::collections::HashMap;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Weak};
use std::thread::{self, Builder};
use std::time::Duration;

/// What a thread that computes has for its stack, as in the host. Only what is used takes memory.
const STACK: usize = 16 << 20;
/// How many files are open that are no streams: libraries, models, devices.
const OTHER_FILES: usize = 64;
/// How many streams are served even so.
const FEWEST: usize = 4;
/// How long the host may not know what is counted.
const UNTOLD: Duration = Duration::from_millis(100);

/// Serves a host as a worker with these backends: what a program does that an
/// [`Isolation`](super::Isolation) starts. It comes back only where no host has started it.
///
/// It uses standard input, which is a socket here, and ends the process. No other thread may have been started before, so it is
/// called at the beginning of `main`, and not below `#[tokio::main]`: kernels that have Landlock before its version 8 restrict
/// only this one. Backends must not be isolated in
/// their turn; named models do not count.
pub fn serve(registry: &Registry) -> Result<(), Error> {
    serve_beside(sandbox::threads().saturating_sub(1), registry)
}

/// The same, with so many threads that were started before, of which kernels may restrict none.
pub(crate) fn serve_beside(own_threads: usize, registry: &Registry) -> Result<(), Error> {
    let wrong = |error: io::Error| {
        Error::invalid(format!(
            "expected a host that has started this process as the worker of a model, found something else \
             ({error}): this is nothing to be started by hand"
        ))
    };
    let control = control().map_err(wrong)?;
    let mut control = Receiver::new(control);
    let hello = frame::read::<Hello>(&mut control).map_err(wrong)?;
    let Some((hello, _)) = hello else { end() };
    if hello.writes {
        stdout::allow();
    }
    let welcome = prepare(&hello, registry, own_threads);
    let is_ready = welcome.is_ok();
    let sent = frame::write::<Welcome>(control.stream(), &welcome, &[]);
    if sent.is_ok() && is_ready {
        let backend = Arc::new(ServedBackend {
            registry: registry.clone(),
            name: hello.backend,
            metrics: Metrics::of_worker(),
        });
        // The host can do without figures.
        let _ = tell(control.stream(), backend.metrics.clone());
        // Whatever it is, there is no host any more that could be told.
        let _ = listen(&mut control, &backend);
    }
    end()
}

/// The backend of this worker.
struct ServedBackend {
    registry: Registry,
    name: String,
    /// Of all its graphs.
    metrics: Metrics,
}

impl ServedBackend {
    fn get(&self) -> Result<&dyn Backend, Error> {
        find(&self.registry, &self.name)
    }
}

fn find<'r>(registry: &'r Registry, name: &str) -> Result<&'r dyn Backend, Error> {
    let found = registry.backends().find(|backend| backend.name() == name);
    found.ok_or_else(|| {
        Error::new(
            ErrorCode::RuntimeError,
            format!("expected a worker process with the backend {name}, found one without"),
        )
    })
}

/// The socket to the host.
fn control() -> io::Result<UnixStream> {
    let input = io::stdin().as_fd().try_clone_to_owned()?;
    rustix::net::sockopt::socket_type(&input)?;
    Ok(input.into())
}

/// Gets ready for a model that may do anything.
fn prepare(hello: &Hello, registry: &Registry, own_threads: usize) -> Welcome {
    let failed = |what: &str, error: &dyn std::fmt::Display| {
        Error::new(ErrorCode::RuntimeError, format!("{what}: {error}"))
    };
    if hello.build != BUILD {
        return Err(failed(
            "expected a worker process of the host's version",
            &format!("the host has {}, the worker {BUILD}", hello.build),
        ));
    }
    // The socket ends with the host as well, but only who listens hears of that.
    if let Err(error) = set_parent_process_death_signal(Some(Signal::KILL)) {
        tracing::debug!("{error}");
    }
    let limit = |resource, bytes| {
        let limit = Rlimit {
            current: Some(bytes),
            maximum: Some(bytes),
        };
        setrlimit(resource, limit)
    };
    // A model that ends its worker should not fill the disk with each attempt.
    limit(Resource::Core, 0).map_err(|error| failed("core files", &error))?;
    // Each context takes some.
    let files = getrlimit(Resource::Nofile).maximum;
    if let Some(files) = files
        && let Err(error) = limit(Resource::Nofile, files)
    {
        tracing::debug!("{error}");
    }
    if let Some(bytes) = hello.memory {
        limit(Resource::As, bytes).map_err(|error| failed("the memory limit", &error))?;
    }
    let threads = sandbox::threads();
    // If there is no library, loading the model says so.
    let gpu = find(registry, &hello.backend)?
        .prepare(hello.target)
        .unwrap_or_default();
    let needs = Needs {
        model: hello.readable.iter().cloned().map(Into::into).collect(),
        scratch: hello.scratch.clone().map(Into::into),
        gpu,
        own_threads,
        threads,
    };
    sandbox::enter(&needs, hello.strict)
}

fn listen(control: &mut Receiver, backend: &Arc<ServedBackend>) -> io::Result<()> {
    let mut graphs: HashMap<u64, Weak<Served>> = HashMap::new();
    let streams = Streams::new();
    while let Some((command, _)) = frame::read::<Command>(control)? {
        match command {
            Command::Graph { graph } => {
                let stream = control.passed()?;
                let served = Arc::new(Served::new(backend.metrics.clone()));
                graphs.retain(|_, served| served.strong_count() > 0);
                graphs.insert(graph, Arc::downgrade(&served));
                let backend = backend.clone();
                streams.serve("graph", stream, graph::refusal, move |stream| {
                    graph::serve(&served, &backend, stream)
                });
            }
            Command::Context { graph } => {
                let stream = control.passed()?;
                // Without a graph, the stream that ends here says so.
                if let Some(served) = graphs.get(&graph).and_then(Weak::upgrade) {
                    streams.serve("context", stream, context::refusal, move |stream| {
                        context::serve(&served, stream)
                    });
                }
            }
            Command::Interrupt { graph, call } => {
                if let Some(served) = graphs.get(&graph).and_then(Weak::upgrade) {
                    served.interrupt(call);
                }
            }
        }
    }
    Ok(())
}

/// The streams that are served, each by a thread, as many as the system gives.
struct Streams {
    /// Each of them has a clone.
    served: Arc<()>,
    most: usize,
}

impl Streams {
    fn new() -> Self {
        let files = getrlimit(Resource::Nofile).current;
        let files = files.map_or(usize::MAX, |files| files.try_into().unwrap_or(usize::MAX));
        Self {
            served: Arc::default(),
            // One to read and one to write.
            most: (files.saturating_sub(OTHER_FILES) / 2).max(FEWEST),
        }
    }

    /// Serves one more, or says there that it cannot: those that are served must not suffer for it.
    fn serve<M: Serialize>(
        &self,
        name: &str,
        stream: UnixStream,
        refusal: impl FnOnce(Error) -> M,
        serve: impl FnOnce(UnixStream) -> io::Result<()> + Send + 'static,
    ) {
        let again = stream.try_clone();
        let served = self.served.clone();
        let started = if Arc::strong_count(&served) <= self.most {
            run(name, move || {
                let _served = served;
                serve(stream)
            })
        } else {
            Err(io::Error::other("too many are served"))
        };
        if let (Err(error), Ok(mut stream)) = (started, again) {
            let limit = getrlimit(Resource::As).current;
            let advice = match limit {
                Some(bytes) => format!(
                    "Try again later, or set a larger --worker-memory: it is {} MiB",
                    bytes >> 20
                ),
                None => "Try again later".to_owned(),
            };
            let refused = Error::new(
                ErrorCode::Busy,
                format!("the worker process can serve no further {name}: {error}. {advice}"),
            );
            // A host that does not listen any more needs no answer.
            let _ = frame::write(&mut stream, &refusal(refused), &[]);
        }
    }
}

/// Tells the host what is counted and comes with no answer, on a thread.
fn tell(control: &UnixStream, metrics: Metrics) -> io::Result<()> {
    let mut control = control.try_clone()?;
    run("figures", move || {
        while let Some(untold) = metrics.untold() {
            untold.wait();
            thread::sleep(UNTOLD);
            frame::write::<Figures>(&mut control, &untold.take(), &[])?;
        }
        Ok(())
    })
}

/// Runs `serve` on a thread. A stream that fails has lost its host.
fn run(name: &str, serve: impl FnOnce() -> io::Result<()> + Send + 'static) -> io::Result<()> {
    let thread = Builder::new().name(name.to_owned()).stack_size(STACK);
    thread.spawn(|| {
        if let Err(error) = serve() {
            tracing::debug!("the host is gone: {error}");
        }
    })?;
    Ok(())
}

/// Ends the process at once: other threads may be in the midst of a computation, where what runs at the end of
/// a program does not expect them.
fn end() -> ! {
    let _ = kill_process(getpid(), Signal::KILL);
    // A sandbox may forbid signals.
    std::process::abort()
}
