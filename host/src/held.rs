//! A guest's context, and how it computes.

use crate::backend::{ExecutionContext, Steps};
use crate::guest::{Kind, Permit};
use crate::limits::QUEUE;
use crate::linker::GraphResource;
use crate::{Error, ErrorCode, Monitor, Registry, threads};
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::task::JoinHandle;
use tracing::{Instrument, Span};

type Boxed = Box<dyn ExecutionContext>;

const COMPUTATION: &str = "a computation";

/// A call that has more bytes to read than this takes long enough to be worth another thread.
pub(crate) const MOST_AT_ONCE: usize = 64 << 10;

/// A context in the table of a store.
pub(crate) struct Held {
    place: Place,
    /// What ends its computations.
    monitor: Option<Monitor>,
    /// The longest computation.
    limit: Option<Duration>,
    registry: Registry,
    /// The number of its graph.
    graph: u64,
    /// Goes when nothing computes with the context any more.
    permit: Arc<Permit>,
}

/// Where the context is.
enum Place {
    Here(Boxed),
    /// On another thread, where it computes on for nobody: its time was over.
    Away(JoinHandle<Boxed>),
    /// Its backend has panicked.
    Lost,
}

impl Held {
    /// Makes a context of a guest.
    pub(crate) fn open(registry: &Registry, graph: &GraphResource) -> Result<Self, Error> {
        let permit = registry.guest().hold(Kind::Contexts, 1)?;
        let context = graph.graph.init_execution_context()?;
        Ok(Self::new(registry, graph.number, context, permit))
    }

    /// The same; where it may block, on a thread of its own.
    pub(crate) async fn open_async(
        registry: &Registry,
        graph: &GraphResource,
    ) -> Result<Self, Error> {
        if !graph.graph.may_block() {
            return Self::open(registry, graph);
        }
        let permit = registry.guest().hold(Kind::Contexts, 1)?;
        let of = graph.graph.clone();
        // It counts as one as long as it is being made, whether or not anybody waits for it.
        let opening = blocking(move || Ok((of.init_execution_context()?, permit)));
        let limit = registry.guest().limits.compute_time;
        let Some(opened) = within(limit, opening).await else {
            return Err(timed_out(registry, "opening a context"));
        };
        let (context, permit) = opened?;
        Ok(Self::new(registry, graph.number, context, permit))
    }

    fn new(registry: &Registry, graph: u64, context: Boxed, permit: Permit) -> Self {
        Self {
            monitor: context.monitor(),
            place: Place::Here(context),
            graph,
            limit: registry.guest().limits.compute_time,
            registry: registry.clone(),
            permit: Arc::new(permit),
        }
    }

    pub(crate) fn get(&self) -> Result<&dyn ExecutionContext, Error> {
        match &self.place {
            Place::Here(context) => Ok(context.as_ref()),
            Place::Away(_) => Err(away()),
            Place::Lost => Err(lost()),
        }
    }

    pub(crate) fn get_mut(&mut self) -> Result<&mut (dyn ExecutionContext + 'static), Error> {
        match &mut self.place {
            Place::Here(context) => Ok(context.as_mut()),
            Place::Away(_) => Err(away()),
            Place::Lost => Err(lost()),
        }
    }

    /// Has the context compute while other guests run on this thread.
    pub(crate) async fn compute(&mut self, steps: Steps) -> Result<(), Error> {
        let guest = self.registry.guest().number;
        let span = tracing::debug_span!("compute", guest, graph = self.graph, ?steps);
        self.compute_here(steps).instrument(span).await
    }

    async fn compute_here(&mut self, steps: Steps) -> Result<(), Error> {
        self.begin().await;
        let limit = self.limit;
        let done = match self.get_mut()?.compute_async(steps) {
            Some(computing) => Some(within(limit, computing).await),
            None => None,
        };
        let result = match done {
            Some(Some(result)) => result,
            Some(None) => Err(timed_out(&self.registry, COMPUTATION)),
            None => {
                self.elsewhere(COMPUTATION, move |context| match steps {
                    Steps::All => context.compute(),
                    Steps::One => context.compute_step(),
                })
                .await
            }
        };
        if let Err(error) = &result
            && error.code == ErrorCode::Busy
        {
            self.registry.guest().note(QUEUE, &error.message);
        }
        if matches!(&result, Err(error) if error.code == ErrorCode::Timeout)
            && let Ok(context) = self.get_mut()
        {
            // What it has begun is over: its place is free for others.
            let _ = context.finish();
        }
        result
    }

    /// Calls `function`, which is quick as a rule: on another thread only if the context is one that may block, or if
    /// so many bytes have to be read that it takes long.
    pub(crate) async fn call<V: Send + 'static>(
        &mut self,
        bytes: usize,
        function: impl FnOnce(&mut dyn ExecutionContext) -> Result<V, Error> + Send + 'static,
    ) -> Result<V, Error> {
        self.begin().await;
        if bytes > MOST_AT_ONCE || self.get()?.may_block() {
            self.elsewhere("a call", function).await
        } else {
            function(self.get_mut()?)
        }
    }

    /// Calls `function` with the context on a thread where it may block.
    async fn elsewhere<V: Send + 'static>(
        &mut self,
        what: &str,
        function: impl FnOnce(&mut dyn ExecutionContext) -> Result<V, Error> + Send + 'static,
    ) -> Result<V, Error> {
        if Handle::try_current().is_err() {
            return function(self.get_mut()?);
        }
        let mut context = match std::mem::replace(&mut self.place, Place::Lost) {
            Place::Here(context) => context,
            place => {
                self.place = place;
                return Err(away());
            }
        };
        let (sender, result) = tokio::sync::oneshot::channel();
        let permit = self.permit.clone();
        let waiting = Waiting(self.monitor.clone());
        let span = Span::current();
        let thread = threads::spawn(move || {
            let _permit = permit;
            let result = span.in_scope(|| function(context.as_mut()));
            if sender.send(result).is_err() {
                // Nobody waits any more: its place is free for others.
                let _ = context.finish();
            }
            context
        });
        let mut thread = thread.map_err(|error| no_thread(&error))?;
        match within(self.limit, &mut thread).await {
            Some(Ok(context)) => {
                waiting.have_it();
                self.place = Place::Here(context);
                result.await.unwrap_or_else(|_| Err(lost()))
            }
            Some(Err(_)) => Err(lost()),
            None => {
                self.place = Place::Away(thread);
                Err(timed_out(&self.registry, what))
            }
        }
    }

    /// Calls `function`, which may block.
    pub(crate) async fn call_slow<V: Send + 'static>(
        &mut self,
        function: impl FnOnce(&mut dyn ExecutionContext) -> Result<V, Error> + Send + 'static,
    ) -> Result<V, Error> {
        self.begin().await;
        self.elsewhere("a call", function).await
    }

    /// Calls `function`, which sets inputs of so many bytes: with those of a language model it may be loaded.
    pub(crate) async fn set_inputs<V: Send + 'static>(
        &mut self,
        bytes: usize,
        function: impl FnOnce(&mut dyn ExecutionContext) -> Result<V, Error> + Send + 'static,
    ) -> Result<V, Error> {
        self.begin().await;
        if self.get_mut()?.language().is_some() {
            self.elsewhere("a call", function).await
        } else {
            self.call(bytes, function).await
        }
    }

    /// Begins a call.
    async fn begin(&mut self) {
        self.come_back().await;
        if let (Place::Here(_), Some(monitor)) = (&self.place, &self.monitor) {
            // What was meant for a call that has not heard of it.
            monitor.resume();
        }
    }

    /// Takes a context back that has computed for too long, if it is done by now.
    async fn come_back(&mut self) {
        if let Place::Away(thread) = &mut self.place
            && thread.is_finished()
        {
            self.place = match thread.await {
                Ok(context) => Place::Here(context),
                Err(_) => Place::Lost,
            };
        }
    }
}

/// Somebody waits for a context: when that ends too early, so does what it computes.
struct Waiting(Option<Monitor>);

impl Waiting {
    fn have_it(mut self) {
        self.0 = None;
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        if let Some(monitor) = &self.0 {
            monitor.interrupt();
        }
    }
}

/// The failure of `what`, which the log hears of, too.
fn timed_out(registry: &Registry, what: &str) -> Error {
    let guest = registry.guest();
    let limit = guest.limits.compute_time.unwrap_or_default();
    let message = format!("{what} took longer than {limit:?}");
    guest.note("compute-time", &message);
    Error::new(
        ErrorCode::Timeout,
        format!("{message}, which is limit `compute-time`: the host can set a larger one"),
    )
}

/// Waits no longer than the limit.
async fn within<V>(limit: Option<Duration>, computing: impl Future<Output = V>) -> Option<V> {
    let Some(limit) = limit else {
        return Some(computing.await);
    };
    match threads::timeout(limit, computing) {
        Ok(computing) => computing.await.ok(),
        Err(error) => {
            tracing::error!("{}", no_thread(&error).message);
            None
        }
    }
}

/// Calls `function` on a thread where it may block; on this one, if it runs without Tokio.
pub(crate) async fn blocking<V: Send + 'static>(
    function: impl FnOnce() -> Result<V, Error> + Send + 'static,
) -> Result<V, Error> {
    if Handle::try_current().is_err() {
        return function();
    }
    let span = Span::current();
    threads::spawn(move || span.in_scope(function))
        .map_err(|error| no_thread(&error))?
        .await
        .unwrap_or_else(|_| Err(lost()))
}

fn no_thread(error: &std::io::Error) -> Error {
    Error::new(
        ErrorCode::Busy,
        format!("expected a thread to compute on, got none: {error}. Try again later"),
    )
}

fn away() -> Error {
    Error::new(
        ErrorCode::Busy,
        "the context computes on, though its time is over: try again later, or make a new one",
    )
}

fn lost() -> Error {
    Error::new(
        ErrorCode::RuntimeError,
        "the backend has failed in an unexpected way: make a new context",
    )
}

#[cfg(all(test, feature = "test-support"))]
mod tests {
    use super::*;
    use crate::{Bytes, OutputDescription, Tensor};
    use std::sync::mpsc::{Receiver, channel};

    /// Waits, when its input is set, until it is told to go on.
    struct Remote {
        go_on: Receiver<()>,
        may_block: bool,
    }

    impl ExecutionContext for Remote {
        fn take_input(&mut self, _: u32) -> Option<Tensor> {
            None
        }

        fn set_input(&mut self, _: u32, _: Tensor) -> Result<(), Error> {
            self.go_on
                .recv_timeout(Duration::from_secs(10))
                .map_err(|error| Error::new(ErrorCode::Timeout, error.to_string()))
        }

        fn clear_inputs(&mut self) {}

        fn compute(&mut self) -> Result<(), Error> {
            Err(Error::new(ErrorCode::Busy, "many wait"))
        }

        fn outputs(&self) -> u32 {
            0
        }

        fn describe_output(&self, index: u32) -> Result<OutputDescription, Error> {
            Err(crate::backend::no_output_yet(index))
        }

        fn output(&self, index: u32) -> Result<Bytes, Error> {
            Err(crate::backend::no_output_yet(index))
        }

        fn may_block(&self) -> bool {
            self.may_block
        }
    }

    /// Sets an input while another task of the same thread is the one that lets that go on.
    async fn set_input(may_block: bool, bytes: usize) -> Result<(), Error> {
        let registry = Registry::builder().build();
        let (sender, go_on) = channel();
        let context = Remote { go_on, may_block };
        let permit = registry.guest().hold(Kind::Contexts, 1).unwrap();
        let mut held = Held::new(&registry, 0, Box::new(context), permit);
        let set = held.call(bytes, |context| context.set_input(0, Tensor::empty()));
        let other = async {
            // Not before the call has begun.
            tokio::task::yield_now().await;
            sender.send(()).unwrap();
        };
        tokio::join!(set, other).0
    }

    #[tokio::test]
    async fn a_computation_that_finds_no_place_is_counted() {
        let registry = Registry::builder().build();
        let context = Remote {
            go_on: channel().1,
            may_block: false,
        };
        let permit = registry.guest().hold(Kind::Contexts, 1).unwrap();
        let mut held = Held::new(&registry, 0, Box::new(context), permit);
        held.compute(Steps::All).await.unwrap_err();
        let figures = registry.metrics().encode();
        let counted = "llm_wasi_refused_total{limit=\"queue\"} 1";
        assert!(figures.lines().any(|line| line == counted), "{figures}");
    }

    /// A program's runtime may have no clock, and the only one of its threads that may block can be taken.
    #[test]
    fn the_runtime_of_the_program_is_spared() {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .max_blocking_threads(1)
            .build()
            .unwrap();
        let (end, ended) = channel::<()>();
        runtime.spawn_blocking(move || ended.recv());
        runtime.block_on(set_input(true, 0)).unwrap();
        let limits = crate::Limits {
            compute_time: Some(Duration::from_millis(1)),
            ..crate::Limits::default()
        };
        let registry = Registry::builder().limits(limits).build();
        let (_sender, go_on) = channel();
        let context = Remote {
            go_on,
            may_block: true,
        };
        let permit = registry.guest().hold(Kind::Contexts, 1).unwrap();
        let mut held = Held::new(&registry, 0, Box::new(context), permit);
        let set = held.call(0, |context| context.set_input(0, Tensor::empty()));
        let error = runtime.block_on(set).unwrap_err();
        assert!(error.message.contains("took longer than 1ms"), "{error}");
        drop(end);
    }

    #[test]
    fn calls_that_wait_leave_the_thread_to_others() {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build()
            .unwrap();
        runtime.block_on(set_input(true, 0)).unwrap();
        runtime
            .block_on(set_input(false, MOST_AT_ONCE + 1))
            .unwrap();
    }
}
