//! A worker process, as the host sees it.

use super::log::Log;
use super::message::{Command, Figures, Hello, Welcome};
use super::stream::{Channel, send_with};
use super::{Isolation, environment, frame};
use crate::figures::Figure;
use crate::metrics::{ComputationGauges, CountedWorker};
use crate::scratch::ScratchFolder;
use crate::{Error, ErrorCode, Metrics};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{Child, Command as Program, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, Once, OnceLock, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// How long a worker may take until it is in its sandbox. Drivers of GPUs need seconds.
const START: Duration = Duration::from_secs(60);
/// How long it may not listen.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long a worker that has closed a stream may take to end.
const END: Duration = Duration::from_secs(2);

/// When the workers of a model have died, latest last.
pub(super) type Deaths = Arc<Mutex<Vec<Instant>>>;

/// A process. It ends when nobody holds it any more.
pub(super) struct Worker {
    /// The model, for messages.
    model: String,
    memory: Option<u64>,
    control: Mutex<UnixStream>,
    child: Mutex<Child>,
    log: Log,
    /// Why it has died; what everyone who computes there is told.
    death: OnceLock<Error>,
    deaths: Deaths,
    graphs: AtomicU64,
    /// Somebody waits for each computation that has one of these.
    wanted: Wanted,
    figures: Arc<Told>,
    _counted: CountedWorker,
    /// Goes after the process.
    _scratch: Option<ScratchFolder>,
}

/// A computation for which somebody waits, as long as this is held.
#[derive(Clone, Default)]
pub(super) struct Wanted(Arc<()>);

/// What a worker has told of its work.
struct Told {
    metrics: Metrics,
    /// Taken back when it is gone.
    gauges: Mutex<ComputationGauges>,
}

impl Told {
    fn count(&self, figures: &[Figure]) {
        for figure in figures {
            match figure {
                Figure::Computations(changes) => lock(&self.gauges).add(*changes),
                figure => self.metrics.count(*figure),
            }
        }
    }

    /// Counts what comes on the control stream until it ends, on a thread.
    fn listen(self: &Arc<Self>, control: &UnixStream) -> io::Result<()> {
        let mut control = control.try_clone()?;
        let told = Arc::downgrade(self);
        let listen = move || {
            while let Ok(Some((figures, _))) = frame::read::<Figures>(&mut control) {
                let Some(told) = told.upgrade() else { return };
                told.count(&figures);
            }
        };
        let thread = thread::Builder::new().name("worker-figures".into());
        thread.spawn(listen).map(|_| ())
    }
}

/// Is set for worker processes: one that does not serve would start another one, and so on.
const IS_WORKER: &str = "LLM_WASI_WORKER";

impl Worker {
    /// Starts a process, which enters its sandbox.
    pub(super) fn start(
        isolation: &Isolation,
        model: &str,
        hello: &Hello,
        scratch: Option<ScratchFolder>,
        deaths: Deaths,
    ) -> Result<Self, Error> {
        // That this system gives no more says nothing of the program.
        let failed = |error: io::Error| {
            Error::new(
                ErrorCode::RuntimeError,
                format!(
                    "model `{model}` is isolated, but its worker process {} did not start: {error}",
                    isolation.program.display()
                ),
            )
        };
        if std::env::var_os(IS_WORKER).is_some() {
            return Err(Error::new(
                ErrorCode::RuntimeError,
                format!(
                    "model `{model}` is isolated, and this process was itself started as the worker of a model: expected it to \
                     call `isolate::serve` at the beginning of `main`, where its arguments say so"
                ),
            ));
        }
        let (control, theirs) = UnixStream::pair().map_err(failed)?;
        let mut program = Program::new(&isolation.program);
        program
            .args(&isolation.arguments)
            .env_clear()
            // It forks a debugger otherwise, when it aborts.
            .env("GGML_NO_BACKTRACE", "1")
            .env(
                "RUST_LOG",
                tracing::level_filters::LevelFilter::current().to_string(),
            )
            .envs(environment::of_worker(std::env::vars_os()))
            .env(IS_WORKER, "1")
            .envs(environment::for_target(hello.target).copied())
            .envs(scratch.as_ref().map(|folder| ("TMPDIR", folder as &Path)))
            // Ctrl-C is for the host, which decides what it means.
            .process_group(0)
            .stdin(Stdio::from(OwnedFd::from(theirs)))
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = spawn(program).map_err(failed)?;
        let log = Log::follow(model, child.stdout.take(), child.stderr.take());
        let log = log.map_err(|error| {
            wait(&mut child, Duration::ZERO);
            failed(error)
        })?;
        let metrics = isolation.metrics.clone();
        let worker = Self {
            _counted: metrics.worker(child.id()),
            figures: Arc::new(Told {
                gauges: Mutex::new(metrics.computations()),
                metrics,
            }),
            model: model.to_owned(),
            memory: isolation.memory,
            control: Mutex::new(control),
            child: Mutex::new(child),
            log,
            death: OnceLock::new(),
            deaths,
            wanted: Wanted::default(),
            graphs: AtomicU64::new(0),
            _scratch: scratch,
        };
        let missing = match worker.greet(hello) {
            Ok(welcome) => {
                welcome.map_err(|error| error.context(format_args!("model `{model}`")))?
            }
            Err(error) => {
                return Err(no_worker(isolation, model, &worker.died(&error).message));
            }
        };
        warn(&missing);
        worker
            .figures
            .listen(&lock(&worker.control))
            .map_err(failed)?;
        tracing::debug!(
            pid = lock(&worker.child).id(),
            "model `{model}` has a process of its own"
        );
        Ok(worker)
    }

    fn greet(&self, hello: &Hello) -> io::Result<Welcome> {
        let mut control = lock(&self.control);
        control.set_read_timeout(Some(START))?;
        frame::write(&mut *control, hello, &[])?;
        let answer = frame::read(&mut *control)?;
        control.set_read_timeout(None)?;
        // One that listens no more must not hold those who tell it something.
        control.set_write_timeout(Some(PATIENCE))?;
        let (welcome, _) = answer.ok_or(io::ErrorKind::UnexpectedEof)?;
        Ok(welcome)
    }

    /// A stream for a new graph, and the graph's number.
    pub(super) fn graph(&self) -> Result<(u64, Channel), Error> {
        let graph = self.graphs.fetch_add(1, Ordering::Relaxed);
        Ok((graph, self.open(&Command::Graph { graph })?))
    }

    /// A stream for a new context.
    pub(super) fn context(&self, graph: u64) -> Result<Channel, Error> {
        self.open(&Command::Context { graph })
    }

    fn open(&self, command: &Command) -> Result<Channel, Error> {
        // That this process can have no more says nothing of the worker.
        let (ours, theirs) = UnixStream::pair().map_err(|error| {
            Error::new(
                ErrorCode::Busy,
                format!(
                    "expected a socket to the worker process of model `{}`, got none: {error}. Try again later",
                    self.model
                ),
            )
        })?;
        send_with(&lock(&self.control), command, theirs.as_fd())
            .map_err(|error| self.died(&error))?;
        Ok(Channel::new(ours))
    }

    /// Counts what has come with an answer.
    pub(super) fn count(&self, figures: &[Figure]) {
        self.figures.count(figures);
    }

    /// Waits until so much of what the worker has written to standard output is written here: what a program writes
    /// next comes behind it.
    pub(super) fn wait_for_output(&self, printed: u64) {
        self.log.wait_for_output(printed);
    }

    /// Passes an interrupt on.
    pub(super) fn interrupt(&self, graph: u64, call: u64) {
        let command = Command::Interrupt { graph, call };
        let written = frame::write(&mut *lock(&self.control), &command, &[]);
        if let Err(error) = written {
            // The call says so.
            self.died(&error);
        }
    }

    /// Whether the process has ended.
    pub(super) fn is_dead(&self) -> bool {
        self.death.get().is_some() || {
            let ended = lock(&self.child).try_wait();
            let ended = !matches!(ended, Ok(None));
            if ended {
                self.died(&io::ErrorKind::UnexpectedEof.into());
            }
            ended
        }
    }

    pub(super) fn wanted(&self) -> Wanted {
        self.wanted.clone()
    }

    /// Whether anybody waits for a computation.
    pub(super) fn is_wanted(&self) -> bool {
        Arc::strong_count(&self.wanted.0) > 1
    }

    /// Ends the process, since a call goes on for ever.
    pub(super) fn give_up(&self, reason: &str) {
        if self.end(reason) {
            tracing::warn!(
                "the worker process of model `{}` is ended, since {reason}",
                self.model
            );
            lock(&self.deaths).push(Instant::now());
        }
    }

    /// Ends the process, for this reason, which those are told who wait for it. Whether it had not ended before.
    pub(super) fn end(&self, reason: &str) -> bool {
        let message = format!(
            "the worker process of model `{}` was ended, since {reason}. Load the model again, which starts another one",
            self.model
        );
        let is_first = self.death.set(Error::new(ErrorCode::RuntimeError, message));
        // It may have ended by itself.
        let _ = lock(&self.child).kill();
        is_first.is_ok()
    }

    /// What to tell after a stream has failed with `error`. The process has ended, or is ended now: it is in
    /// nobody knows what state.
    pub(super) fn died(&self, error: &io::Error) -> Error {
        self.death
            .get_or_init(|| {
                // Who gives a wrong answer has not ended.
                let patience = match error.kind() {
                    io::ErrorKind::InvalidData => Duration::ZERO,
                    _ => END,
                };
                let status = wait(&mut lock(&self.child), patience);
                lock(&self.deaths).push(Instant::now());
                let how = match status {
                    Some(status) => self.describe(status),
                    None => format!("was ended, since it broke off or gave a wrong answer ({error})"),
                };
                let message = format!(
                    "the worker process of model `{}` {how}. Load the model or open a context again, which \
                     starts another one",
                    self.model
                );
                tracing::warn!("{message}");
                Error::new(ErrorCode::RuntimeError, message)
            })
            .clone()
    }

    fn describe(&self, status: ExitStatus) -> String {
        let words = self.log.last_words();
        let how = match (status.signal(), status.code()) {
            (Some(number), _) => format!("was ended by {}", signal(number)),
            (None, Some(code)) => format!("ended with status {code}"),
            (None, None) => "ended".to_owned(),
        };
        let advice = match status.signal() {
            Some(9) => {
                "perhaps the system had no memory left: see its log, and take a smaller model or context"
            }
            _ if self.memory.is_some() => {
                "the model's file may be damaged or hostile, or its memory limit too low for it"
            }
            _ => "the model's file may be damaged or hostile",
        };
        match words.as_str() {
            "" => format!("{how}: {advice}"),
            words => format!("{how} (`{words}`): {advice}"),
        }
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        let child = self.child.get_mut().unwrap_or_else(PoisonError::into_inner);
        // It may have ended by itself.
        let _ = child.kill();
        let _ = child.wait();
    }
}

/// How the process ended; `None` if it did not by itself.
fn wait(child: &mut Child, patience: Duration) -> Option<ExitStatus> {
    let started = Instant::now();
    loop {
        match child.try_wait() {
            Ok(Some(status)) => return Some(status),
            Ok(None) if started.elapsed() < patience => thread::sleep(Duration::from_millis(5)),
            Ok(None) | Err(_) => {
                let _ = child.kill();
                let _ = child.wait();
                return None;
            }
        }
    }
}

fn no_worker(isolation: &Isolation, model: &str, reason: &str) -> Error {
    Error::new(
        ErrorCode::RuntimeError,
        format!(
            "model `{model}` is isolated, but {} is no worker process: {reason}",
            isolation.program.display()
        ),
    )
}

/// Tells what the system cannot enforce, once.
fn warn(missing: &[String]) {
    static TOLD: Once = Once::new();
    if !missing.is_empty() {
        TOLD.call_once(|| {
            tracing::warn!(
                "models are in processes of their own, but this system cannot restrict all that these do: {}",
                missing.join("; ")
            );
        });
    }
}

fn signal(number: i32) -> String {
    let name = match number {
        4 => "SIGILL",
        6 => "SIGABRT",
        7 => "SIGBUS",
        8 => "SIGFPE",
        9 => "SIGKILL",
        11 => "SIGSEGV",
        15 => "SIGTERM",
        31 => "SIGSYS",
        _ => return format!("signal {number}"),
    };
    format!("{name}, signal {number}")
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Starts a program from a thread that lives as long as this process: workers ask to end with the thread that
/// has started them.
fn spawn(program: Program) -> io::Result<Child> {
    type Order = (Program, Sender<io::Result<Child>>);
    static ORDERS: OnceLock<Option<Mutex<Sender<Order>>>> = OnceLock::new();
    let orders = ORDERS.get_or_init(|| {
        let (send, orders) = channel::<Order>();
        let serve = move || {
            for (mut program, answer) in orders {
                // Nobody waits for it any more if this fails.
                let _ = answer.send(program.spawn());
            }
        };
        let thread = thread::Builder::new().name("worker-starter".into());
        thread.spawn(serve).ok().map(|_| Mutex::new(send))
    });
    let gone = || io::Error::other("the thread that starts workers is gone");
    let (send, answer) = channel();
    let orders = orders.as_ref().ok_or_else(gone)?;
    lock(orders).send((program, send)).map_err(|_| gone())?;
    answer.recv().map_err(|_| gone())?
}
