//! Models in processes of their own: the same results, and what happens when a worker dies.
//!
//! Workers are this test program again: the test [`worker`] serves if a host has started it. Besides the real
//! backends it has `Probe`, which does what a hostile model could do and tells how far it came.

#![cfg(target_os = "linux")]

use llm_wasi_host::backend::{
    Backend, Device, Encoding, ExecutionContext, Graph, LoadRequest, Target, no_output_yet,
};
use llm_wasi_host::isolate::{Isolation, NamedModels};
use llm_wasi_host::testing::{TinyModel, serve_from_a_test};
use llm_wasi_host::{
    Activity, Bytes, Error, ErrorCode, Files, Limits, Monitor, OutputDescription, Phase, Preload,
    Progress, Registry, RegistryBuilder, Tensor,
};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

/// Not a test, but what workers run. By hand there is no host, and it ends.
#[test]
#[ignore = "the worker process of the other tests"]
fn worker() {
    let registry = Registry::with_default_backends().backend(Probe).build();
    eprintln!("{}", serve_from_a_test(&registry).unwrap_err());
}

/// Another one, which can have few files open.
#[test]
#[ignore = "the worker process of another test"]
fn narrow_worker() {
    use rustix::process::{Resource, Rlimit, setrlimit};
    let few = Rlimit {
        current: Some(100),
        maximum: Some(100),
    };
    setrlimit(Resource::Nofile, few).unwrap();
    worker();
}

/// What the host of [`host`] computes, until it is killed; it writes its worker's number to this file.
const HOST_FILE: &str = "LLM_WASI_TEST_HOST_FILE";

/// Not a test either, but the host that another test kills.
#[test]
#[ignore = "the host process of another test"]
fn host() {
    let Some(file) = std::env::var_os(HOST_FILE) else {
        return;
    };
    let probed = Probed::new(isolation());
    let mut context = probed.open("a");
    std::fs::write(file, pid(&mut *context).to_string()).unwrap();
    let _ = ask(&mut *context, "sleep 60000");
}

#[test]
fn a_worker_ends_when_its_host_is_killed() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("pid");
    let mut host = Command::new(std::env::current_exe().unwrap())
        .args(["host", "--exact", "--ignored", "--nocapture"])
        .env(HOST_FILE, &file)
        .stdout(std::process::Stdio::null())
        .spawn()
        .unwrap();
    let worker = || std::fs::read_to_string(&file).ok()?.parse::<i32>().ok();
    wait_until(|| worker().is_some());
    let worker = worker().unwrap();
    assert!(is_alive(worker));
    host.kill().unwrap();
    host.wait().unwrap();
    wait_until(|| !is_alive(worker));
}

fn isolation() -> Isolation {
    isolation_in("worker")
}

fn isolation_in(test: &str) -> Isolation {
    Isolation::new([
        test,
        "--exact",
        "--ignored",
        "--nocapture",
        "--test-threads=1",
    ])
}

fn builder(isolation: &Isolation) -> RegistryBuilder {
    Registry::with_default_backends()
        .backend(Probe)
        .isolate(isolation.clone())
}

/// Does what its input says, and tells how that went.
struct Probe;

struct ProbeGraph;

#[derive(Default)]
struct ProbeContext {
    order: String,
    output: Option<Bytes>,
    monitor: Monitor,
}

impl Backend for Probe {
    fn name(&self) -> &str {
        "probe"
    }

    fn encodings(&self) -> &[Encoding] {
        &[Encoding::PyTorch]
    }

    fn recognizes(&self, _: &[u8]) -> bool {
        false
    }

    fn devices(&self) -> Result<Vec<Device>, Error> {
        Ok(Vec::new())
    }

    fn load(&self, request: LoadRequest<'_>) -> Result<Arc<dyn Graph>, Error> {
        for order in request.configurations {
            perform(order, &request.monitor)?;
        }
        Ok(Arc::new(ProbeGraph))
    }
}

impl Graph for ProbeGraph {
    fn init_execution_context(&self) -> Result<Box<dyn ExecutionContext>, Error> {
        Ok(Box::new(ProbeContext::default()))
    }
}

impl ExecutionContext for ProbeContext {
    fn take_input(&mut self, _: u32) -> Option<Tensor> {
        None
    }

    fn set_input(&mut self, _: u32, tensor: Tensor) -> Result<(), Error> {
        self.order = String::from_utf8(tensor.data).unwrap();
        Ok(())
    }

    fn clear_inputs(&mut self) {
        self.order.clear();
    }

    fn compute(&mut self) -> Result<(), Error> {
        self.output = Some(Arc::new(perform(&self.order, &self.monitor)?.into_bytes()));
        Ok(())
    }

    fn outputs(&self) -> u32 {
        1
    }

    fn describe_output(&self, index: u32) -> Result<OutputDescription, Error> {
        Ok(OutputDescription::bytes(self.output(index)?.len()))
    }

    fn output(&self, index: u32) -> Result<Bytes, Error> {
        self.output.clone().ok_or_else(|| no_output_yet(index))
    }
}

fn perform(order: &str, monitor: &Monitor) -> Result<String, Error> {
    let (verb, object) = order.split_once(' ').unwrap_or((order, ""));
    let failed = |error: std::io::Error| Error::new(ErrorCode::Security, error.to_string());
    let number = || object.parse::<usize>().unwrap();
    Ok(match verb {
        "pid" => std::process::id().to_string(),
        "sleep" => {
            thread::sleep(Duration::from_millis(number() as u64));
            "slept".to_owned()
        }
        "fill" => "x".repeat(number()),
        "abort" => {
            eprintln!("probe.cpp:7: ASSERT(a == b) failed");
            std::process::abort()
        }
        "exit" => std::process::exit(3),
        "panic" => panic!("told to"),
        "allocate" => {
            let mut all = Vec::new();
            while all.len() < number() {
                all.push(vec![1_u8; 1 << 20]);
            }
            all.len().to_string()
        }
        "read" => std::fs::read_to_string(object).map_err(failed)?,
        "list" => std::fs::read_dir(object)
            .map_err(failed)?
            .count()
            .to_string(),
        "write" => {
            std::fs::write(object, "x").map_err(failed)?;
            "written".to_owned()
        }
        "remove" => {
            std::fs::remove_file(object).map_err(failed)?;
            "removed".to_owned()
        }
        "tcp" => {
            std::net::TcpStream::connect(object).map_err(failed)?;
            "connected".to_owned()
        }
        "udp" => {
            std::net::UdpSocket::bind("127.0.0.1:0").map_err(failed)?;
            "bound".to_owned()
        }
        "unix" => {
            std::os::unix::net::UnixDatagram::unbound().map_err(failed)?;
            "made".to_owned()
        }
        "run" => {
            Command::new(object).spawn().map_err(failed)?;
            "started".to_owned()
        }
        "nice" => {
            rustix::process::setpriority_process(None, 5).map_err(|error| failed(error.into()))?;
            "nice".to_owned()
        }
        "kill" => {
            let pid = rustix::process::Pid::from_raw(number() as i32).unwrap();
            rustix::process::test_kill_process(pid).map_err(|error| failed(error.into()))?;
            "could".to_owned()
        }
        "environment" => format!("{:?}", std::env::vars().collect::<Vec<_>>()),
        "report" => {
            for done in 0..=10 {
                monitor.report(Activity::Load, done, 10);
            }
            String::new()
        }
        "" => String::new(),
        _ => panic!("{order}"),
    })
}

/// A file for `Probe`, and a registry with it.
struct Probed {
    folder: tempfile::TempDir,
    isolation: Isolation,
    registry: Registry,
}

impl Probed {
    fn new(isolation: Isolation) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut builder = builder(&isolation);
        for name in ["a", "b"] {
            let path = folder.path().join(name);
            std::fs::write(&path, name).unwrap();
            builder = builder.preload(preload(name, "PyTorch", &path));
        }
        let registry = builder.build();
        Self {
            folder,
            isolation,
            registry,
        }
    }

    fn path(&self, name: &str) -> String {
        self.folder.path().join(name).display().to_string()
    }

    fn load(&self, name: &str) -> Arc<dyn Graph> {
        self.registry.load_by_name(name, None).unwrap()
    }

    fn open(&self, name: &str) -> Box<dyn ExecutionContext> {
        self.load(name).init_execution_context().unwrap()
    }
}

fn preload(name: &str, encoding: &str, path: &Path) -> Preload {
    format!("{name}:{encoding}:CPU:{}", path.display())
        .parse()
        .unwrap()
}

fn ask(context: &mut dyn ExecutionContext, order: &str) -> Result<String, Error> {
    context.set_input(0, Tensor::bytes(order))?;
    context.compute()?;
    Ok(String::from_utf8(context.output(0)?.to_vec()).unwrap())
}

fn pid(context: &mut dyn ExecutionContext) -> i32 {
    ask(context, "pid").unwrap().parse().unwrap()
}

fn kill(pid: i32) {
    let pid = rustix::process::Pid::from_raw(pid).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
}

fn is_alive(pid: i32) -> bool {
    // One that has ended and was not asked for counts as gone.
    std::fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| !stat.contains(") Z "))
}

#[test]
fn a_model_computes_in_another_process_which_ends_with_it() {
    let probed = Probed::new(isolation());
    let graph = probed.load("a");
    let mut contexts = [(); 2].map(|()| graph.init_execution_context().unwrap());
    let mut other = probed.open("b");
    let first = pid(&mut *contexts[0]);
    assert_ne!(first, std::process::id() as i32);
    // One model is in one worker, whoever loads it.
    assert_eq!(pid(&mut *contexts[1]), first);
    assert_eq!(pid(&mut *probed.open("a")), first);
    assert_ne!(pid(&mut *other), first);
    drop((contexts, graph));
    assert!(!is_alive(first));
    assert_ne!(pid(&mut *probed.open("a")), first);
    assert_eq!(probed.isolation.restarts(), 0);
}

#[test]
fn what_a_worker_counts_its_host_counts() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.gguf");
    TinyModel::new().write(&path).unwrap();
    let registry = builder(&isolation())
        .preload(preload("m", "GGML", &path))
        .build();
    let metrics = registry.metrics();
    metrics.take_timings();
    let options = r#"{"temp": 0, "threads": 1, "ctx-size": 256, "n-predict": 20}"#;
    let graph = registry.load_by_name("m", Some(options)).unwrap();
    let mut context = graph.init_execution_context().unwrap();
    context.set_input(0, Tensor::bytes("Hello")).unwrap();
    for step in 1..=5 {
        context.compute_step().unwrap();
        // It came with the answer.
        assert_eq!(metrics.generated_tokens(), step);
    }
    assert_eq!(metrics.prompt_tokens(), (6, 0));
    for phase in [Phase::Prefill, Phase::Decode] {
        assert!(metrics.spent(phase) > Duration::ZERO, "{phase:?}");
    }
    let wait_for = |line: &str| wait_until(|| metrics.encode().lines().any(|found| found == line));
    wait_for("llm_wasi_running 1");
    assert!(!metrics.encode().contains("llm_wasi_worker_memory_bytes 0"));
    // It comes by itself.
    context.finish().unwrap();
    wait_for("llm_wasi_running 0");
    drop((context, graph));
    wait_for("llm_wasi_kept_tokens 0");
    wait_for("llm_wasi_worker_memory_bytes 0");
}

#[test]
fn who_opens_too_many_contexts_is_refused_and_the_others_go_on() {
    let probed = Probed::new(isolation_in("narrow_worker"));
    let mut other = probed.open("a");
    let worker = pid(&mut *other);
    let graph = probed.load("a");
    for _ in 0..2 {
        let mut contexts = Vec::new();
        let error = loop {
            match graph.init_execution_context() {
                Ok(context) => contexts.push(context),
                Err(error) => break error,
            }
        };
        assert_eq!(error.code, ErrorCode::Busy, "{error}");
        assert!(error.message.contains("no further context"), "{error}");
        assert!(contexts.len() >= 10, "{}", contexts.len());
        assert_eq!(pid(&mut *other), worker);
        assert_eq!(pid(&mut *contexts[9]), worker);
        // There is room again when they are gone.
        drop(contexts);
        wait_until(|| graph.init_execution_context().is_ok());
    }
    assert_eq!(probed.isolation.restarts(), 0);
}

fn wait_until(mut done: impl FnMut() -> bool) {
    let started = Instant::now();
    while !done() {
        assert!(started.elapsed() < Duration::from_secs(20));
        thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn contexts_of_one_model_compute_at_the_same_time() {
    let probed = Probed::new(isolation());
    let graph = probed.load("a");
    let started = Instant::now();
    thread::scope(|scope| {
        for _ in 0..4 {
            let mut context = graph.init_execution_context().unwrap();
            scope.spawn(move || assert_eq!(ask(&mut *context, "sleep 500").unwrap(), "slept"));
        }
    });
    let took = started.elapsed();
    assert!(took < Duration::from_millis(1500), "{took:?}");
}

/// As libraries do that never ask whether to go on: loading and computing end with their worker.
#[test]
fn what_does_not_hear_of_an_interrupt_is_ended() {
    let registry = |monitor: &Monitor| {
        let builder = builder(&isolation()).monitor(monitor.clone());
        let registry = builder.build();
        move |order: &str| {
            let bytes = vec![b"any".to_vec()];
            registry.load(bytes, Encoding::PyTorch, Target::Cpu, Some(order))
        }
    };
    let later = |monitor: &Monitor, act: fn(&Monitor)| {
        let monitor = monitor.clone();
        thread::spawn(move || {
            thread::sleep(Duration::from_secs(1));
            act(&monitor);
        })
    };
    let monitor = Monitor::default();
    let end = later(&monitor, Monitor::end);
    let error = registry(&monitor)("sleep 60000").err().unwrap();
    assert!(error.message.contains("nobody waits"), "{error}");
    end.join().unwrap();

    let monitor = Monitor::default();
    let graph = registry(&monitor)("pid").unwrap();
    let mut context = graph.init_execution_context().unwrap();
    let worker = pid(&mut *context);
    let interrupt = later(&monitor, Monitor::interrupt);
    let error = ask(&mut *context, "sleep 60000").unwrap_err();
    let expected = "its computation went on after its time was over";
    assert!(error.message.contains(expected), "{error}");
    interrupt.join().unwrap();
    wait_until(|| !is_alive(worker));
}

/// Whoever wanted a model may be gone before its worker is there.
#[test]
fn a_model_that_nobody_waits_for_is_not_loaded() {
    let monitor = Monitor::default();
    monitor.end();
    let registry = builder(&isolation()).monitor(monitor).build();
    let bytes = vec![b"any".to_vec()];
    let started = Instant::now();
    let loaded = registry.load(bytes, Encoding::PyTorch, Target::Cpu, Some("sleep 60000"));
    let error = loaded.err().unwrap();
    assert!(error.message.contains("nobody waits"), "{error}");
    assert!(started.elapsed() < Duration::from_secs(30));
}

/// A computation may be one for several calls: the end of one's time does not take it from the others.
#[test]
fn what_others_wait_for_as_well_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model");
    std::fs::write(&path, "any").unwrap();
    let preload = format!("probe:PyTorch:CPU:{}", path.display());
    let scheduling = llm_wasi_host::Scheduling {
        batch: 8,
        ..llm_wasi_host::Scheduling::default()
    };
    let registry = builder(&isolation().named_models(NamedModels::All))
        .preload(preload.parse().unwrap())
        .scheduling(scheduling)
        .build();
    let graph = registry.load_by_name("probe", None).unwrap();
    let mut one = graph.init_execution_context().unwrap();
    let mut other = graph.init_execution_context().unwrap();
    let monitor = one.monitor().unwrap();
    thread::scope(|scope| {
        let other = scope.spawn(move || ask(&mut *other, "sleep 9000"));
        let one = scope.spawn(move || ask(&mut *one, "sleep 60000"));
        thread::sleep(Duration::from_secs(1));
        monitor.interrupt();
        // Longer than what does not listen is given.
        assert_eq!(other.join().unwrap().unwrap(), "slept");
        let error = one.join().unwrap().unwrap_err();
        assert!(error.message.contains("its time was over"), "{error}");
    });
}

#[test]
fn a_worker_killed_in_a_computation_is_an_error_and_nothing_else() {
    let probed = Probed::new(isolation());
    let graph = probed.load("a");
    let mut other = probed.open("b");
    let other_pid = pid(&mut *other);
    let mut idle = graph.init_execution_context().unwrap();
    let mut context = graph.init_execution_context().unwrap();
    let first = pid(&mut *context);
    assert!(ask(&mut *idle, "read /proc/self/comm").is_ok());
    let killer = thread::spawn(move || {
        thread::sleep(Duration::from_millis(300));
        kill(first);
    });
    let started = Instant::now();
    let error = ask(&mut *context, "sleep 30000").unwrap_err();
    killer.join().unwrap();
    assert!(started.elapsed() < Duration::from_secs(5));
    assert_eq!(error.code, ErrorCode::RuntimeError);
    for text in [
        "model `a`",
        "SIGKILL, signal 9",
        "memory",
        "This context is empty",
    ] {
        assert!(error.message.contains(text), "{error}");
    }
    // Its contexts go on with a new worker: this one as it has heard of it, the other one when it begins anew.
    let second = pid(&mut *context);
    assert_ne!(second, first);
    let error = ask(&mut *idle, "pid").unwrap_err();
    assert_eq!(error.code, ErrorCode::RuntimeError);
    assert_eq!(pid(&mut *idle), second);
    assert_eq!(pid(&mut *graph.init_execution_context().unwrap()), second);
    assert_eq!(pid(&mut *probed.open("a")), second);
    assert_eq!(probed.isolation.restarts(), 1);
    assert_eq!(pid(&mut *other), other_pid);
}

#[test]
fn a_context_without_inputs_does_not_notice_a_death() {
    let probed = Probed::new(isolation());
    let mut context = probed.open("a");
    let first = pid(&mut *context);
    kill(first);
    while is_alive(first) {
        thread::sleep(Duration::from_millis(5));
    }
    // The host hears of it a moment later.
    thread::sleep(Duration::from_millis(200));
    // What `compute` of `wasi:nn` does.
    let inputs = [("0".to_owned(), Tensor::bytes("pid"))];
    let outputs = llm_wasi_host::calls::compute(&mut *context, inputs).unwrap();
    assert_ne!(*outputs[0].1.data, first.to_string().into_bytes());
    assert_eq!(probed.isolation.restarts(), 1);
}

#[test]
fn a_library_that_aborts_is_quoted() {
    let probed = Probed::new(isolation());
    for (order, texts) in [
        (
            "abort",
            ["SIGABRT, signal 6", "probe.cpp:7: ASSERT(a == b) failed"],
        ),
        ("exit", ["status 3", "damaged or hostile"]),
    ] {
        let error = ask(&mut *probed.open("a"), order).unwrap_err();
        assert_eq!(error.code, ErrorCode::RuntimeError);
        for text in texts {
            assert!(error.message.contains(text), "{error}");
        }
    }
    // One that dies while it loads.
    let error = probed.registry.load_by_name("a", Some("abort")).err();
    let error = error.unwrap();
    assert_eq!(error.code, ErrorCode::RuntimeError);
    assert!(error.message.contains("SIGABRT"), "{error}");
    assert_eq!(ask(&mut *probed.open("a"), "sleep 1").unwrap(), "slept");
    // A panic of a backend ends the call only.
    let mut context = probed.open("a");
    let before = pid(&mut *context);
    let error = ask(&mut *context, "panic").unwrap_err();
    assert_eq!(error.code, ErrorCode::RuntimeError);
    assert_eq!(pid(&mut *context), before);
}

#[test]
fn memory_that_runs_out_ends_the_worker_alone() {
    let probed = Probed::new(isolation().memory(2 << 30));
    let mut context = probed.open("a");
    assert_eq!(ask(&mut *context, "allocate 10").unwrap(), "10");
    let error = ask(&mut *context, "allocate 4000").unwrap_err();
    assert_eq!(error.code, ErrorCode::RuntimeError);
    for text in [
        "SIGABRT",
        "memory allocation of",
        "its memory limit too low",
    ] {
        assert!(error.message.contains(text), "{error}");
    }
    assert_eq!(ask(&mut *context, "allocate 10").unwrap(), "10");
    assert_eq!(probed.isolation.restarts(), 1);
}

#[test]
fn a_model_that_always_dies_is_given_up_for_a_while() {
    let probed = Probed::new(isolation());
    let mut context = probed.open("a");
    for _ in 0..5 {
        assert!(
            ask(&mut *context, "abort")
                .unwrap_err()
                .message
                .contains("SIGABRT")
        );
    }
    for _ in 0..3 {
        let error = ask(&mut *context, "pid").unwrap_err();
        assert!(
            error.message.contains("has died 5 times within 60 seconds"),
            "{error}"
        );
        let error = probed.registry.load_by_name("a", None).err().unwrap();
        assert!(error.message.contains("has died 5 times"), "{error}");
    }
    assert_eq!(probed.isolation.restarts(), 4);
    // That is no verdict on another one.
    assert_eq!(ask(&mut *probed.open("b"), "sleep 0").unwrap(), "slept");
}

#[test]
fn the_sandbox_holds() {
    let strict = Probed::new(isolation().strict(true));
    let graph = match strict.registry.load_by_name("a", None) {
        Ok(graph) => graph,
        Err(error) => {
            assert_eq!(error.code, ErrorCode::Security, "{error}");
            assert!(std::env::var_os("CI").is_none(), "NOT TESTED: {error}");
            eprintln!("NOT TESTED, as this kernel cannot: the sandbox ({error})");
            return;
        }
    };
    let mut context = graph.init_execution_context().unwrap();
    let mut ask = |order: &str| ask(&mut *context, order);
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    // It reads its model and what every library reads.
    assert_eq!(ask(&format!("read {}", strict.path("a"))).unwrap(), "a");
    assert!(ask("read /proc/cpuinfo").is_ok());
    assert!(ask("read /proc/meminfo").is_ok());
    let secret = strict.path("b");
    for order in [
        format!("read {secret}"),
        format!("list {}", strict.folder.path().display()),
        format!("write {}", strict.path("a")),
        format!("write {}", strict.path("new")),
        format!("remove {}", strict.path("a")),
        "read /etc/passwd".to_owned(),
        format!("read /proc/{}/environ", std::process::id()),
        "write /tmp/llm-wasi-was-here".to_owned(),
        "write /dev/shm/llm-wasi-was-here".to_owned(),
        "list /".to_owned(),
        format!("tcp {}", listener.local_addr().unwrap()),
        "udp".to_owned(),
        "unix".to_owned(),
        "run /bin/true".to_owned(),
        "run /proc/self/exe".to_owned(),
        "nice".to_owned(),
        format!("kill {}", std::process::id()),
    ] {
        let error = ask(&order).unwrap_err();
        assert_eq!(error.code, ErrorCode::Security, "{order}: {error}");
        assert!(
            error.message.contains("denied") || error.message.contains("not permitted"),
            "{order}: {error}"
        );
    }
    assert_eq!(std::fs::read_to_string(secret).unwrap(), "b");
    // Threads are made as ever.
    assert_eq!(ask("sleep 1").unwrap(), "slept");
}

#[test]
fn named_models_can_be_left_where_they_are() {
    let probed = Probed::new(isolation().named_models(NamedModels::None));
    let own = std::process::id() as i32;
    assert_eq!(pid(&mut *probed.open("a")), own);
    let registry = &probed.registry;
    let of_bytes = || {
        let graph = registry.load(vec![vec![0]], Encoding::PyTorch, Target::Cpu, None);
        graph.unwrap().init_execution_context().unwrap()
    };
    let (mut one, mut other) = (of_bytes(), of_bytes());
    assert_ne!(pid(&mut *one), own);
    // Whose bytes are the same is not known.
    assert_ne!(pid(&mut *one), pid(&mut *other));
}

#[test]
fn of_named_models_language_models_can_be_isolated_alone() {
    let isolation = isolation().named_models(NamedModels::Language);
    let probed = Probed::new(isolation.clone());
    assert_eq!(pid(&mut *probed.open("a")), std::process::id() as i32);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.gguf");
    TinyModel::new().write(&path).unwrap();
    let registry = builder(&isolation)
        .preload(preload("m", "GGML", &path))
        .build();
    let workers = || {
        let text = registry.metrics().encode();
        !text.contains("llm_wasi_worker_memory_bytes 0")
    };
    let graph = registry.load_by_name("m", None).unwrap();
    assert!(workers());
    drop(graph);
    assert!(!workers());
}

#[test]
fn the_environment_is_not_the_hosts() {
    let probed = Probed::new(isolation());
    let environment = ask(&mut *probed.open("a"), "environment").unwrap();
    assert!(!environment.contains("\"HOME\""), "{environment}");
    assert!(!environment.contains("\"PATH\""), "{environment}");
    assert!(environment.contains("GGML_NO_BACKTRACE"), "{environment}");
}

#[test]
fn what_is_no_worker_is_an_error() {
    let write = |bytes: &str| ["-c".to_owned(), format!("{bytes} >&0; exec sleep 5")];
    for (program, arguments, text) in [
        (
            "/bin/sh",
            write("head -c 100000 /dev/urandom"),
            "is no worker process",
        ),
        (
            "/bin/sh",
            write("head -c 64 /dev/zero"),
            "is no worker process",
        ),
        (
            "/bin/sh",
            write("printf '\\003\\000\\000\\000abc'"),
            "is no worker process",
        ),
        ("/bin/sh", ["-c".into(), "exit 3".into()], "status 3"),
        (
            "/nowhere",
            ["".into(), "".into()],
            "its worker process /nowhere did not start: No such file",
        ),
    ] {
        let isolation = Isolation::new(arguments).program(program);
        let probed = Probed::new(isolation);
        let error = probed.registry.load_by_name("a", None).err().unwrap();
        assert_eq!(error.code, ErrorCode::RuntimeError);
        assert!(error.message.contains(text), "{error}");
        assert!(error.message.contains(program), "{error}");
    }
}

/// Else each would start the next one.
#[test]
fn a_worker_that_does_not_serve_starts_no_other() {
    const TEST: &str = "a_worker_that_does_not_serve_starts_no_other";
    const WORKER: &str = "LLM_WASI_WORKER";
    if std::env::var_os(WORKER).is_some() {
        let error = Probed::new(isolation()).registry.load_by_name("a", None);
        let error = error.err().unwrap().message;
        assert!(error.contains("call `isolate::serve`"), "{error}");
        return;
    }
    let output = Command::new(std::env::current_exe().unwrap())
        .args([TEST, "--exact"])
        .env(WORKER, "1")
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
}

/// A worker may send what it likes, and the host has no more memory for it than its guest may have.
#[test]
fn an_output_larger_than_a_tensor_may_be_is_an_error() {
    let limits = Limits {
        tensor: 5000,
        ..Limits::default()
    };
    let registry = builder(&isolation()).limits(limits).build();
    let bytes = vec![b"any".to_vec()];
    let graph = registry.load(bytes, Encoding::PyTorch, Target::Cpu, None);
    let mut context = graph.unwrap().init_execution_context().unwrap();
    assert_eq!(ask(&mut *context, "fill 5000").unwrap().len(), 5000);
    // Whether it comes with the answer of the computation or is asked for.
    for size in [5001, 4 << 20] {
        let error = ask(&mut *context, &format!("fill {size}")).unwrap_err();
        assert_eq!(error.code, ErrorCode::TooLarge, "{error}");
        assert!(error.message.contains("at most 5000 bytes"), "{error}");
    }
    assert_eq!(ask(&mut *context, "fill 1").unwrap(), "x");
}

#[test]
fn progress_comes_before_the_answer() {
    let seen: Arc<Mutex<Vec<Progress>>> = Arc::default();
    let monitor = Monitor::new({
        let seen = seen.clone();
        move |progress| seen.lock().unwrap().push(progress)
    });
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("m");
    std::fs::write(&path, "").unwrap();
    let registry = builder(&isolation())
        .preload(preload("m", "PyTorch", &path))
        .monitor(monitor)
        .build();
    registry.load_by_name("m", Some("report")).unwrap();
    let seen = seen.lock().unwrap();
    assert_eq!(seen.len(), 11);
    assert!(
        seen.iter()
            .enumerate()
            .all(|(done, progress)| progress.done == done as u64)
    );
}

/// The tiny model, isolated and not.
#[cfg(feature = "ggml")]
mod ggml {
    use super::*;

    const GREEDY: &str = r#"{"temp": 0, "threads": 1, "ctx-size": 256, "n-predict": 20}"#;

    fn load(isolated: bool, bytes: Vec<u8>, options: &str) -> Result<Arc<dyn Graph>, Error> {
        let registry = if isolated {
            builder(&isolation()).build()
        } else {
            Registry::with_default_backends().build()
        };
        let builders = vec![bytes, options.as_bytes().to_vec()];
        registry.load(builders, Encoding::Ggml, Target::Cpu, None)
    }

    fn set(context: &mut dyn ExecutionContext, index: u32, text: &str) {
        context.set_input(index, Tensor::bytes(text)).unwrap();
    }

    /// Everything that a guest can ask of a context, in text.
    fn seen(context: &mut dyn ExecutionContext) -> String {
        let mut text = format!("outputs: {}\n", context.outputs());
        for index in 0..4 {
            text += &format!("{index}: {}\n", context.output_name(index));
            text += &format!("{:?}\n", context.describe_output(index));
            text += &format!("{:?}\n", context.output(index));
            text += &format!("{:?}\n", context.step_output(index));
        }
        for name in ["0", "1", "x"] {
            text += &format!(
                "{:?} {:?}\n",
                context.input_index(name),
                context.output_index(name)
            );
        }
        let context = context.language().unwrap();
        text += &format!("{:?} {:?}\n", context.usage(), context.generated());
        text += &format!("{:?}\n", context.candidates(3));
        text
    }

    #[test]
    fn all_that_a_guest_sees_is_the_same() {
        let transcript = |isolated: bool| {
            let model = TinyModel::new().ending_after(b'x');
            let graph = load(isolated, model.to_gguf(), GREEDY).unwrap();
            let language = graph.language().unwrap();
            let mut text = format!("{:?}\n", language.describe());
            text += &format!("{:?}\n", language.tokenize("abc", true));
            text += &format!("{:?}\n", language.detokenize(&[97, 98]));
            text += &format!("{:?}\n", language.detokenize(&[100_000]));
            let mut context = graph.init_execution_context().unwrap();
            text += &seen(&mut *context);
            text += &format!("{:?}\n", context.compute());
            text += &format!("{:?}\n", context.set_input(7, Tensor::bytes("")));
            text += &format!(
                "{:?}\n",
                context.set_input(1, Tensor::bytes("{\"temp\": []}"))
            );
            set(&mut *context, 0, "Hello");
            text += &seen(&mut *context);
            for _ in 0..30 {
                text += &format!("{:?}\n", context.compute_step());
                text += &seen(&mut *context);
            }
            text += &format!("{:?}\n", context.finish());
            text += &seen(&mut *context);
            text += &format!("{:?}\n", context.compute());
            text += &seen(&mut *context);
            set(&mut *context, 1, r#"{"n-predict": 3, "ctx-size": 128}"#);
            let language = context.language().unwrap();
            text += &format!("{:?}\n", language.set_prompt(&[72, 101]));
            text += &format!("{:?}\n", language.context_length());
            text += &format!("{:?}\n", context.compute());
            text += &seen(&mut *context);
            drop(context.take_input(0));
            context.clear_inputs();
            text += &seen(&mut *context);
            text += &format!("{:?}\n", context.compute());
            text
        };
        let (here, there) = (transcript(false), transcript(true));
        for (here, there) in here.lines().zip(there.lines()) {
            assert_eq!(there, here);
        }
        assert_eq!(here.len(), there.len());
        assert!(here.contains("prompt: 6, cached"), "{here}");
    }

    #[test]
    fn a_file_that_is_no_model_fails_as_ever() {
        for bytes in [
            b"no model".to_vec(),
            TinyModel::new().to_gguf()[..4000].to_vec(),
        ] {
            let error = |isolated| load(isolated, bytes.clone(), GREEDY).err().unwrap();
            assert_eq!(error(true), error(false));
        }
    }

    /// A model whose header is in order, but whose tokenizer llama.cpp leaves with an exception that nothing
    /// catches: its vocabulary says that it has a token for each byte, and has none.
    fn aborting() -> Vec<u8> {
        let text = |text: &str| [&(text.len() as u64).to_le_bytes(), text.as_bytes()].concat();
        let mut bytes = TinyModel::new().to_gguf();
        // As long together as what they replace, so that tensors stay where they are.
        for (old, new) in [("gpt2", "llama"), ("gpt-2", "gpt2")] {
            let old = text(old);
            let at = bytes
                .windows(old.len())
                .position(|part| part == old)
                .unwrap();
            bytes.splice(at..at + old.len(), text(new));
        }
        bytes
    }

    /// Deaths of workers are those of the probe, above: on nothing that is known does llama.cpp still end one.
    #[test]
    fn a_model_on_which_llama_cpp_would_abort_is_refused_as_ever() {
        let error = |isolated| load(isolated, aborting(), GREEDY).err().unwrap();
        assert_eq!(error(true), error(false));
        assert!(
            error(true).message.contains("vocabulary"),
            "{}",
            error(true)
        );
    }

    #[test]
    fn an_interrupt_ends_a_text_within_a_token() {
        let monitor = Monitor::default();
        let endless =
            r#"{"temp": 0, "threads": 1, "ctx-size": 256, "n-predict": -1, "ctx-shift": true}"#;
        let registry = builder(&isolation()).monitor(monitor.clone()).build();
        let builders = vec![TinyModel::new().to_gguf(), endless.into()];
        let graph = registry
            .load(builders, Encoding::Ggml, Target::Cpu, None)
            .unwrap();
        let mut context = graph.init_execution_context().unwrap();
        for round in 0..3 {
            set(&mut *context, 0, "Hello");
            let interrupt = thread::spawn({
                let monitor = monitor.clone();
                move || {
                    thread::sleep(Duration::from_millis(200));
                    let at = Instant::now();
                    monitor.interrupt();
                    at
                }
            });
            context.compute().unwrap();
            let took = interrupt.join().unwrap().elapsed();
            assert!(took < Duration::from_millis(100), "round {round}: {took:?}");
            let text = context.output(0).unwrap();
            assert!(text.len() > 10, "{}", text.len());
            // It was heard, so that the next one is not ended as well.
            monitor.check().unwrap();
        }
        // One that comes before ends the next one; and one that is taken back, none.
        set(&mut *context, 0, "Hello");
        monitor.interrupt();
        let error = context.compute_step().unwrap_err();
        assert_eq!(error.code, ErrorCode::EndOfSequence);
        monitor.interrupt();
        monitor.resume();
        context.compute_step().unwrap();
    }

    #[test]
    fn a_guests_files_are_refused_with_a_reason() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("p.gguf"), "").unwrap();
        let registry = builder(&isolation())
            .build()
            .with_files(Files::default().dir(".", folder.path()));
        let options = r#"{"mmproj": "p.gguf", "image": "p.gguf"}"#;
        let builders = vec![TinyModel::new().to_gguf(), options.into()];
        let graph = registry.load(builders, Encoding::Ggml, Target::Cpu, None);
        let result = graph.and_then(|graph| {
            let mut context = graph.init_execution_context()?;
            context.set_input(0, Tensor::bytes("a"))?;
            context.compute()
        });
        if cfg!(feature = "images") {
            let error = result.unwrap_err();
            assert!(error.message.contains("the model is isolated"), "{error}");
        }
    }

    #[test]
    fn a_model_of_bytes_leaves_no_file() {
        let before = leftovers();
        let model = TinyModel::new();
        let graph = load(true, model.to_gguf(), GREEDY).unwrap();
        let mut context = graph.init_execution_context().unwrap();
        set(&mut *context, 0, "o");
        context.compute().unwrap();
        assert_eq!(*context.output(0).unwrap(), model.continuation(b'o', 20));
        let during = leftovers();
        drop((context, graph));
        let mine = during.iter().filter(|path| !before.contains(path));
        assert!(mine.clone().count() > 0);
        // Those of other tests come and go.
        assert!(mine.into_iter().any(|path| !path.exists()));
    }

    fn leftovers() -> Vec<PathBuf> {
        let files = std::env::temp_dir().read_dir().unwrap().flatten();
        files
            .map(|file| file.path())
            .filter(|path| path.to_string_lossy().contains("llm-wasi-worker-"))
            .collect()
    }

    #[test]
    fn smollm2_writes_the_same_tokens() {
        let Some(path) = std::env::var_os("LLM_WASI_SMOLLM2").map(PathBuf::from) else {
            assert!(std::env::var_os("CI").is_none(), "set LLM_WASI_SMOLLM2");
            eprintln!("skipped: LLM_WASI_SMOLLM2 does not name the SmolLM2 model");
            return;
        };
        let tokens = |isolated: bool| {
            let builder = Registry::with_default_backends().preload(preload("m", "GGML", &path));
            let builder = if isolated {
                builder.isolate(isolation().strict(true))
            } else {
                builder
            };
            let options = r#"{"temp": 0, "threads": 1, "ctx-size": 512, "n-predict": 40}"#;
            let graph = builder.build().load_by_name("m", Some(options)).unwrap();
            let mut context = graph.init_execution_context().unwrap();
            set(&mut *context, 0, "The capital of France is");
            let mut pieces = Vec::new();
            for _ in 0..20 {
                context.compute_step().unwrap();
                pieces.push(context.step_output(0).unwrap().to_vec());
            }
            context.finish().unwrap();
            context.compute().unwrap();
            let whole = context.output(0).unwrap().to_vec();
            (pieces, whole, context.language().unwrap().generated())
        };
        let isolated = tokens(true);
        assert_eq!(isolated, tokens(false));
        assert!(isolated.1.starts_with(b" Paris."));
    }
}

/// A model of tensors, isolated and not.
#[cfg(feature = "onnx")]
#[test]
fn tensors_are_the_same() {
    use llm_wasi_host::TensorType;
    use llm_wasi_host::backend::onnx::Onnx;
    use llm_wasi_host::testing::{TinyOnnx, onnx_type};
    if let Err(error) = Onnx::new().devices() {
        assert!(std::env::var_os("CI").is_none(), "{error}");
        eprintln!("skipped: {error}");
        return;
    }
    let model = TinyOnnx::new()
        .input("x", onnx_type::F32, &[-1, 3])
        .node("Add", &["x", "x"], &["y"])
        .output("y", onnx_type::F32, &[-1, 3]);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.onnx");
    std::fs::write(&path, model.to_bytes()).unwrap();
    let transcript = |isolated: bool, named: bool| {
        let builder = Registry::with_default_backends().preload(preload("m", "ONNX", &path));
        let builder = if isolated {
            builder.isolate(isolation().strict(true))
        } else {
            builder
        };
        let registry = builder.build();
        let graph = if named {
            registry.load_by_name("m", None)
        } else {
            registry.load(vec![model.to_bytes()], Encoding::Onnx, Target::Cpu, None)
        };
        let mut context = graph.unwrap().init_execution_context().unwrap();
        let mut text = String::new();
        // Small, and larger than what comes with an answer.
        for rows in [2_u32, 0, 200_000, 3] {
            let mut input = context.take_input(0).unwrap_or_else(Tensor::empty);
            input.dimensions = vec![rows, 3];
            input.ty = TensorType::F32;
            input.data.clear();
            input
                .data
                .extend((0..rows * 3).flat_map(|i| (i as f32).to_le_bytes()));
            text += &format!("{:?}\n", context.set_input(0, input));
            text += &format!("{:?}\n", context.compute());
            text += &format!("{:?}\n", context.describe_output(0));
            text += &format!("{:?}\n", context.output(0));
        }
        drop(context.take_input(0));
        text += &format!("{:?}\n", context.compute());
        text += &format!("{:?}\n", context.input_index("nothing"));
        text
    };
    for named in [true, false] {
        assert!(transcript(true, named) == transcript(false, named));
    }
}

/// The library of OpenVINO loads further ones when it has read the model.
#[cfg(feature = "openvino")]
#[test]
fn a_library_finds_its_plugins_in_the_sandbox() {
    use llm_wasi_host::backend::openvino::OpenVino;
    use llm_wasi_host::testing::TinyIr;
    if let Err(error) = OpenVino::new().devices() {
        assert!(std::env::var_os("CI").is_none(), "{error}");
        eprintln!("skipped: {error}");
        return;
    }
    let model = TinyIr::new()
        .parameter("x", "f32", &[-1, 3])
        .operator("Add", "y", "f32", &[-1, 3], &["x", "x"])
        .result("y");
    let transcript = |isolated: bool| {
        let builder = Registry::with_default_backends();
        let builder = if isolated {
            builder.isolate(isolation().strict(true))
        } else {
            builder
        };
        let builders = vec![model.to_xml().into_bytes(), model.weights()];
        let graph = builder
            .build()
            .load(builders, Encoding::OpenVino, Target::Cpu, None);
        let mut context = graph.unwrap().init_execution_context().unwrap();
        let input = Tensor {
            dimensions: vec![2, 3],
            ty: llm_wasi_host::TensorType::F32,
            data: [1.0_f32, 2.0, 3.0, -1.0, -2.0, -3.0]
                .iter()
                .flat_map(|x| x.to_le_bytes())
                .collect(),
        };
        context.set_input(0, input).unwrap();
        context.compute().unwrap();
        (
            context.describe_output(0).unwrap(),
            context.output(0).unwrap(),
        )
    };
    assert_eq!(transcript(true), transcript(false));
}
