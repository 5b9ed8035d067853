//! Both packages as a component sees them, and a component as the runner runs it.

use llm_wasi_host::backend::{
    Backend, Device, Encoding, ExecutionContext, Graph, LoadRequest, no_output_yet, no_such_output,
};
use llm_wasi_host::runner::Runner;
use llm_wasi_host::testing::{NULL_OUTPUT, NullBackend, TinyModel};
use llm_wasi_host::{
    Bytes, Error, NnView, OutputDescription, Registry, RegistryBuilder, Tensor, add_to_linker,
};
use std::sync::Arc;
use std::time::Instant;
use wasmtime::component::{Component, Instance, Linker, ResourceTable};
use wasmtime::{Engine, Store};

/// Gives back input 0 as output 0; input 1 asks for a failure.
struct EchoBackend;

#[derive(Default)]
struct EchoContext {
    input: Option<Tensor>,
    output: Option<Bytes>,
    fails: bool,
}

impl Backend for EchoBackend {
    fn name(&self) -> &str {
        "echo"
    }

    fn encodings(&self) -> &[Encoding] {
        &[Encoding::Onnx]
    }

    fn recognizes(&self, _: &[u8]) -> bool {
        false
    }

    fn devices(&self) -> Result<Vec<Device>, Error> {
        Ok(Vec::new())
    }

    fn load(&self, _: LoadRequest<'_>) -> Result<Arc<dyn Graph>, Error> {
        struct Echo;
        impl Graph for Echo {
            fn init_execution_context(&self) -> Result<Box<dyn ExecutionContext>, Error> {
                Ok(Box::new(EchoContext::default()))
            }
        }
        Ok(Arc::new(Echo))
    }
}

impl ExecutionContext for EchoContext {
    fn take_input(&mut self, _: u32) -> Option<Tensor> {
        self.input.take()
    }

    fn set_input(&mut self, index: u32, tensor: Tensor) -> Result<(), Error> {
        match index {
            0 => self.input = Some(tensor),
            _ => self.fails = true,
        }
        Ok(())
    }

    fn clear_inputs(&mut self) {
        self.input = None;
    }

    fn compute(&mut self) -> Result<(), Error> {
        match &self.input {
            Some(input) if !self.fails => {
                assert_eq!(input.dimensions, [1]);
                self.output = Some(Arc::new(input.data.clone()));
                Ok(())
            }
            _ => Err(Error::invalid("input 0 is not set")),
        }
    }

    fn outputs(&self) -> u32 {
        1
    }

    fn describe_output(&self, index: u32) -> Result<OutputDescription, Error> {
        Ok(OutputDescription::bytes(self.output(index)?.len()))
    }

    fn output(&self, index: u32) -> Result<Bytes, Error> {
        match index {
            0 => self.output.clone().ok_or_else(|| no_output_yet(0)),
            _ => Err(no_such_output(index, 1)),
        }
    }
}

struct State {
    registry: Registry,
    table: ResourceTable,
}

impl State {
    fn nn(&mut self) -> NnView<'_> {
        NnView {
            registry: &self.registry,
            table: &mut self.table,
        }
    }
}

/// A core module's memory and an allocator that forgets everything when a test's function begins.
const MEMORY: &str = r#"
    (core module $Memory
        (memory (export "memory") 64)
        (global $heap (export "heap") (mut i32) (i32.const 2097152))
        (func (export "realloc") (param i32 i32 i32 i32) (result i32)
            (local $at i32)
            (local.set $at (i32.and (i32.add (global.get $heap) (i32.const 7)) (i32.const -8)))
            (global.set $heap (i32.add (local.get $at) (local.get 3)))
            (local.get $at)))
    (core instance $memory (instantiate $Memory))
    (alias core export $memory "memory" (core memory $mem))
    (alias core export $memory "realloc" (core func $realloc))
"#;

/// A component that uses the extension. Its functions load the model `m` by name, once.
fn extension_guest() -> String {
    format!(
        r#"(component
    (import "wasi:nn/tensor@0.2.0-rc-2024-10-28" (instance $tensor
        (type $t (enum "FP16" "FP32" "FP64" "BF16" "U8" "I32" "I64"))
        (export "tensor-type" (type (eq $t)))))
    (alias export $tensor "tensor-type" (type $tensor-type))
    (import "wasi:nn/graph@0.2.0-rc-2024-10-28" (instance $wasi
        (export "graph" (type (sub resource)))))
    (alias export $wasi "graph" (type $graph))
    (import "llm-wasi:nn/errors@0.1.0" (instance $errors
        (export "error" (type $e (sub resource)))
        (export "[method]error.message" (func (param "self" (borrow $e)) (result string)))))
    (alias export $errors "error" (type $error))
    (import "llm-wasi:nn/graph@0.1.0" (instance $loading
        (alias outer 1 $graph (type $g0)) (export "graph" (type $g (eq $g0)))
        (alias outer 1 $error (type $e0)) (export "error" (type $e (eq $e0)))
        (export "load-by-name" (func (param "name" string) (param "configuration" (option string))
            (result (result (own $g) (error (own $e))))))))
    (import "llm-wasi:nn/inference@0.1.0" (instance $inference
        (alias outer 1 $graph (type $g0)) (export "graph" (type $g (eq $g0)))
        (alias outer 1 $error (type $e0)) (export "error" (type $e (eq $e0)))
        (alias outer 1 $tensor-type (type $t0)) (export "tensor-type" (type $t (eq $t0)))
        (type $d0 (list u32)) (export "tensor-dimensions" (type $d (eq $d0)))
        (type $b0 (list u8)) (export "tensor-data" (type $b (eq $b0)))
        (type $r0 (variant (case "too-small" u32) (case "failed" (own $e))))
        (export "read-error" (type $r (eq $r0)))
        (export "execution-context" (type $c (sub resource)))
        (export "[static]execution-context.open" (func (param "graph" (borrow $g))
            (result (result (own $c) (error (own $e))))))
        (export "[method]execution-context.set-input" (func (param "self" (borrow $c))
            (param "index" u32) (param "dimensions" $d) (param "ty" $t) (param "data" $b)
            (result (result (error (own $e))))))
        (export "[method]execution-context.compute" (func (param "self" (borrow $c))
            (result (result (error (own $e))))))
        (export "[method]execution-context.read-output" (func (param "self" (borrow $c))
            (param "index" u32) (param "max" u32) (result (result $b (error $r)))))))
    {MEMORY}
    (core func $load (canon lower (func $loading "load-by-name") (memory $mem) (realloc $realloc)))
    (core func $open (canon lower (func $inference "[static]execution-context.open") (memory $mem)))
    (core func $set (canon lower (func $inference "[method]execution-context.set-input") (memory $mem)))
    (core func $compute (canon lower (func $inference "[method]execution-context.compute") (memory $mem)))
    (core func $read (canon lower (func $inference "[method]execution-context.read-output")
        (memory $mem) (realloc $realloc)))
    (core func $message (canon lower (func $errors "[method]error.message")
        (memory $mem) (realloc $realloc)))
    (core module $Guest
        (import "env" "memory" (memory 1))
        (import "env" "heap" (global $heap (mut i32)))
        (import "env" "load" (func $load (param i32 i32 i32 i32 i32 i32)))
        (import "env" "open" (func $open (param i32 i32)))
        (import "env" "set" (func $set (param i32 i32 i32 i32 i32 i32 i32 i32)))
        (import "env" "compute" (func $compute (param i32 i32)))
        (import "env" "read" (func $read (param i32 i32 i32 i32)))
        (import "env" "message" (func $message (param i32 i32)))
        (data (i32.const 64) "m")
        (data (i32.const 96) "\01\00\00\00")
        (global $context (mut i32) (i32.const 0))
        ;; Makes the context if there is none. A failure's resource is at 4, its case at 0.
        (func $prepare (result i32)
            (if (global.get $context) (then (return (i32.const 0))))
            (call $load (i32.const 64) (i32.const 1) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0))
            (if (i32.load8_u (i32.const 0)) (then (return (i32.const 1))))
            (call $open (i32.load (i32.const 4)) (i32.const 0))
            (if (i32.load8_u (i32.const 0)) (then (return (i32.const 1))))
            (global.set $context (i32.load (i32.const 4)))
            (i32.const 0))
        ;; The text of the error with this handle, as the failure at 32.
        (func $fail (param $error i32) (result i32)
            (call $message (local.get $error) (i32.const 36))
            (i32.store8 (i32.const 32) (i32.const 1))
            (i32.const 32))
        (func (export "run") (param $index i32) (param $data i32) (param $len i32) (param $max i32)
            (result i32)
            (if (call $prepare) (then (return (call $fail (i32.load (i32.const 4))))))
            (call $set (global.get $context) (local.get $index) (i32.const 96) (i32.const 1)
                (i32.const 4) (local.get $data) (local.get $len) (i32.const 0))
            (if (i32.load8_u (i32.const 0)) (then (return (call $fail (i32.load (i32.const 4))))))
            (call $compute (global.get $context) (i32.const 0))
            (if (i32.load8_u (i32.const 0)) (then (return (call $fail (i32.load (i32.const 4))))))
            (call $read (global.get $context) (i32.const 0) (local.get $max) (i32.const 0))
            (if (i32.load8_u (i32.const 0)) (then
                (if (i32.load8_u (i32.const 4)) (then
                    (return (call $fail (i32.load (i32.const 8))))))
                ;; Too small: the size in decimal is more than this needs; its length will do.
                (i32.store8 (i32.const 32) (i32.const 1))
                (i32.store (i32.const 36) (i32.const 64))
                (i32.store (i32.const 40) (i32.load (i32.const 8)))
                (return (i32.const 32))))
            (i32.store8 (i32.const 32) (i32.const 0))
            (i64.store (i32.const 36) (i64.load (i32.const 4)))
            (i32.const 32))
        (func (export "cycle") (param $count i32) (param $len i32) (result i32)
            (drop (call $prepare))
            (block $done (loop $next
                (br_if $done (i32.eqz (local.get $count)))
                (local.set $count (i32.sub (local.get $count) (i32.const 1)))
                (global.set $heap (i32.const 2097152))
                (call $set (global.get $context) (i32.const 0) (i32.const 96) (i32.const 1)
                    (i32.const 4) (i32.const 1024) (local.get $len) (i32.const 0))
                (call $compute (global.get $context) (i32.const 0))
                (call $read (global.get $context) (i32.const 0) (i32.const 4004) (i32.const 0))
                (br $next)))
            (i32.load (i32.const 8))))
    (core instance $guest (instantiate $Guest (with "env" (instance
        (export "memory" (memory $mem))
        (export "heap" (global $memory "heap"))
        (export "load" (func $load))
        (export "open" (func $open))
        (export "set" (func $set))
        (export "compute" (func $compute))
        (export "read" (func $read))
        (export "message" (func $message))))))
    (func (export "run") (param "index" u32) (param "data" (list u8)) (param "max" u32)
        (result (result (list u8) (error string)))
        (canon lift (core func $guest "run") (memory $mem) (realloc $realloc)))
    (func (export "cycle") (param "count" u32) (param "len" u32) (result u32)
        (canon lift (core func $guest "cycle"))))"#
    )
}

/// A component that uses `wasi:nn` alone.
fn wasi_guest() -> String {
    format!(
        r#"(component
    (import "wasi:nn/tensor@0.2.0-rc-2024-10-28" (instance $tensors
        (type $t0 (enum "FP16" "FP32" "FP64" "BF16" "U8" "I32" "I64"))
        (export "tensor-type" (type $t (eq $t0)))
        (export "tensor" (type $tensor (sub resource)))
        (export "[constructor]tensor" (func (param "dimensions" (list u32)) (param "ty" $t)
            (param "data" (list u8)) (result (own $tensor))))
        (export "[method]tensor.data" (func (param "self" (borrow $tensor)) (result (list u8))))))
    (alias export $tensors "tensor" (type $tensor))
    (import "wasi:nn/errors@0.2.0-rc-2024-10-28" (instance $errors
        (export "error" (type $e (sub resource)))
        (export "[method]error.data" (func (param "self" (borrow $e)) (result string)))))
    (alias export $errors "error" (type $error))
    (import "wasi:nn/inference@0.2.0-rc-2024-10-28" (instance $inference
        (alias outer 1 $tensor (type $t0)) (export "tensor" (type $t (eq $t0)))
        (alias outer 1 $error (type $e0)) (export "error" (type $e (eq $e0)))
        (type $n0 (tuple string (own $t))) (export "named-tensor" (type $n (eq $n0)))
        (export "graph-execution-context" (type $c (sub resource)))
        (export "[method]graph-execution-context.compute" (func (param "self" (borrow $c))
            (param "inputs" (list $n)) (result (result (list $n) (error (own $e))))))))
    (alias export $inference "graph-execution-context" (type $context))
    (import "wasi:nn/graph@0.2.0-rc-2024-10-28" (instance $graphs
        (alias outer 1 $context (type $c0)) (export "graph-execution-context" (type $c (eq $c0)))
        (alias outer 1 $error (type $e0)) (export "error" (type $e (eq $e0)))
        (export "graph" (type $g (sub resource)))
        (export "[method]graph.init-execution-context" (func (param "self" (borrow $g))
            (result (result (own $c) (error (own $e))))))
        (export "load-by-name" (func (param "name" string)
            (result (result (own $g) (error (own $e))))))))
    {MEMORY}
    (core func $load (canon lower (func $graphs "load-by-name") (memory $mem) (realloc $realloc)))
    (core func $init (canon lower (func $graphs "[method]graph.init-execution-context") (memory $mem)))
    (core func $tensor (canon lower (func $tensors "[constructor]tensor") (memory $mem)))
    (core func $data (canon lower (func $tensors "[method]tensor.data") (memory $mem) (realloc $realloc)))
    (core func $compute (canon lower (func $inference "[method]graph-execution-context.compute")
        (memory $mem) (realloc $realloc)))
    (core func $text (canon lower (func $errors "[method]error.data") (memory $mem) (realloc $realloc)))
    (core module $Guest
        (import "env" "memory" (memory 1))
        (import "env" "load" (func $load (param i32 i32 i32)))
        (import "env" "init" (func $init (param i32 i32)))
        (import "env" "tensor" (func $tensor (param i32 i32 i32 i32 i32) (result i32)))
        (import "env" "data" (func $data (param i32 i32)))
        (import "env" "compute" (func $compute (param i32 i32 i32 i32)))
        (import "env" "text" (func $text (param i32 i32)))
        (data (i32.const 96) "\01\00\00\00")
        (func $fail (result i32)
            (call $text (i32.load (i32.const 4)) (i32.const 36))
            (i32.store8 (i32.const 32) (i32.const 1))
            (i32.const 32))
        (func (export "run") (param $model i32) (param $model-len i32) (param $name i32)
            (param $name-len i32) (param $data i32) (param $len i32) (result i32)
            (call $load (local.get $model) (local.get $model-len) (i32.const 0))
            (if (i32.load8_u (i32.const 0)) (then (return (call $fail))))
            (call $init (i32.load (i32.const 4)) (i32.const 0))
            (if (i32.load8_u (i32.const 0)) (then (return (call $fail))))
            (i32.store (i32.const 128) (local.get $name))
            (i32.store (i32.const 132) (local.get $name-len))
            (i32.store (i32.const 136) (call $tensor (i32.const 96) (i32.const 1) (i32.const 4)
                (local.get $data) (local.get $len)))
            (call $compute (i32.load (i32.const 4)) (i32.const 128) (i32.const 1) (i32.const 0))
            (if (i32.load8_u (i32.const 0)) (then (return (call $fail))))
            ;; The first output: name at 0 and 4, tensor at 8.
            (call $data (i32.load offset=8 (i32.load (i32.const 4))) (i32.const 36))
            (i32.store8 (i32.const 32) (i32.const 0))
            (i32.const 32)))
    (core instance $guest (instantiate $Guest (with "env" (instance
        (export "memory" (memory $mem))
        (export "load" (func $load))
        (export "init" (func $init))
        (export "tensor" (func $tensor))
        (export "data" (func $data))
        (export "compute" (func $compute))
        (export "text" (func $text))))))
    (func (export "run") (param "model" string) (param "name" string) (param "data" (list u8))
        (result (result (list u8) (error string)))
        (canon lift (core func $guest "run") (memory $mem) (realloc $realloc))))"#
    )
}

fn instantiate(guest: &str, registry: RegistryBuilder) -> (Store<State>, Instance) {
    let engine = Engine::default();
    let mut linker = Linker::new(&engine);
    add_to_linker(&mut linker, State::nn).unwrap();
    let component = Component::new(&engine, wat::parse_str(guest).unwrap()).unwrap();
    let mut store = Store::new(
        &engine,
        State {
            registry: registry.build(),
            table: ResourceTable::new(),
        },
    );
    let instance = linker.instantiate(&mut store, &component).unwrap();
    (store, instance)
}

/// A file that backends without a model may be preloaded with.
fn some_file() -> String {
    concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml").to_owned()
}

fn echo() -> RegistryBuilder {
    let preload = format!("m:ONNX:CPU:{}", some_file());
    Registry::builder()
        .backend(EchoBackend)
        .preload(preload.parse().unwrap())
}

type Answer = (Result<Vec<u8>, String>,);

#[test]
fn extension_moves_bytes_both_ways() {
    let (mut store, instance) = instantiate(&extension_guest(), echo());
    let run = instance
        .get_typed_func::<(u32, &[u8], u32), Answer>(&mut store, "run")
        .unwrap();
    for length in [0, 1, 7, 4096, 500_000] {
        let data: Vec<u8> = (0..length).map(|i| (i * 31 % 256) as u8).collect();
        let (answer,) = run.call(&mut store, (0, &data, u32::MAX)).unwrap();
        assert!(answer.unwrap() == data, "{length}");
        // Exactly large enough, and one byte too small: the guest gives the size as a length.
        let length = u32::try_from(length).unwrap();
        assert!(run.call(&mut store, (0, &data, length)).unwrap().0.is_ok());
        if (1..64).contains(&length) {
            let (answer,) = run.call(&mut store, (0, &data, length - 1)).unwrap();
            assert_eq!(answer.unwrap_err().len(), length as usize);
        }
    }
    let (answer,) = run.call(&mut store, (1, b"x", 10)).unwrap();
    assert_eq!(answer.unwrap_err(), "input 0 is not set");
}

#[test]
fn extension_reports_unknown_names() {
    let (mut store, instance) = instantiate(&extension_guest(), Registry::builder());
    let run = instance
        .get_typed_func::<(u32, &[u8], u32), Answer>(&mut store, "run")
        .unwrap();
    let (answer,) = run.call(&mut store, (0, b"x", 10)).unwrap();
    assert!(answer.unwrap_err().starts_with("no model is called `m`"));
}

#[test]
fn wasi_nn_computes_with_names_and_reports_errors() {
    let (mut store, instance) = instantiate(&wasi_guest(), echo());
    let run = instance
        .get_typed_func::<(&str, &str, &[u8]), Answer>(&mut store, "run")
        .unwrap();
    let (answer,) = run.call(&mut store, ("m", "0", b"some bytes")).unwrap();
    assert_eq!(answer.unwrap(), b"some bytes");
    let (answer,) = run.call(&mut store, ("m", "data", b"some bytes")).unwrap();
    assert!(answer.unwrap_err().contains("found `data`"));
    let (answer,) = run.call(&mut store, ("none", "0", b"x")).unwrap();
    assert_eq!(
        answer.unwrap_err(),
        "no model is called `none`: this host has `m`"
    );
}

#[test]
fn wasi_nn_runs_a_language_model() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tiny.gguf");
    let model = TinyModel::new();
    model.write(&path).unwrap();
    let mut preload: llm_wasi_host::Preload =
        format!("tiny:GGML:CPU:{}", path.display()).parse().unwrap();
    preload.configuration =
        Some(r#"{"temp": 0, "threads": 1, "ctx-size": 256, "n-predict": 12}"#.to_owned());
    let registry = Registry::with_default_backends().preload(preload);
    let (mut store, instance) = instantiate(&wasi_guest(), registry);
    let run = instance
        .get_typed_func::<(&str, &str, &[u8]), Answer>(&mut store, "run")
        .unwrap();
    let (answer,) = run.call(&mut store, ("tiny", "0", b"hi")).unwrap();
    assert_eq!(answer.unwrap(), model.continuation(b'i', 12));
}

/// What a cycle of set-input, compute and read-output costs over a backend that does nothing.
#[test]
#[ignore = "prints times; run with --ignored --nocapture on a quiet machine"]
fn cost_of_a_cycle() {
    let preload = format!("m:GGML:CPU:{}", some_file());
    let registry = Registry::builder()
        .backend(NullBackend)
        .preload(preload.parse().unwrap());
    let (mut store, instance) = instantiate(&extension_guest(), registry);
    let cycle = instance
        .get_typed_func::<(u32, u32), (u32,)>(&mut store, "cycle")
        .unwrap();
    for length in [16_u32, 602_112] {
        let count = 20_000;
        let mut best = f64::INFINITY;
        for _ in 0..5 {
            let started = Instant::now();
            let (size,) = cycle.call(&mut store, (count, length)).unwrap();
            best = best.min(started.elapsed().as_secs_f64() / f64::from(count));
            assert_eq!(size as usize, NULL_OUTPUT);
        }
        println!(
            "set-input of {length} bytes, compute, read-output of 4004: {:.3} µs",
            best * 1e6
        );
    }
    let from = vec![1_u8; 602_112];
    let mut to = vec![0_u8; 602_112];
    let started = Instant::now();
    for _ in 0..20_000 {
        std::hint::black_box(&mut to).copy_from_slice(std::hint::black_box(&from));
    }
    println!(
        "memcpy of 602112 bytes: {:.3} µs",
        started.elapsed().as_secs_f64() / 20_000.0 * 1e6
    );
}

/// A command whose `run` does this.
fn command(body: &str) -> String {
    format!(
        r#"(component
        (core module $M (func (export "run") (result i32) {body}))
        (core instance $m (instantiate $M))
        (func $run (result (result)) (canon lift (core func $m "run")))
        (instance $i (export "run" (func $run)))
        (export "wasi:cli/run@0.2.0" (instance $i)))"#
    )
}

#[test]
fn runner_gives_exit_codes_and_reasons() {
    let runner = Runner::builder()
        .arg("program")
        .cache(false)
        .build()
        .unwrap();
    let run = |wat: &str| runner.run_blocking(&wat::parse_str(wat).unwrap());
    assert_eq!(run(&command("i32.const 0")).unwrap(), 0);
    assert_eq!(run(&command("i32.const 1")).unwrap(), 1);
    let trap = format!("{:#}", run(&command("unreachable")).unwrap_err());
    assert!(trap.starts_with("the program trapped"), "{trap}");
    let module = wat::parse_str("(module)").unwrap();
    let empty = wat::parse_str("(component)").unwrap();
    for bad in [&module, &empty, &b""[..], b"\0asm", b"text"] {
        let error = format!("{:#}", runner.run_blocking(bad).unwrap_err());
        assert!(error.starts_with("expected a c"), "{error}");
    }
    let runner = Runner::builder()
        .dir(".", "/no/such/folder")
        .cache(false)
        .build()
        .unwrap();
    let error = format!(
        "{:#}",
        runner
            .run_blocking(&wat::parse_str(command("i32.const 0")).unwrap())
            .unwrap_err()
    );
    assert!(
        error.starts_with("expected a folder at /no/such/folder"),
        "{error}"
    );
}
