//! Large tensors in and out of this project's host: one copy each.
//!
//! The backend gives its input back as its output and copies nothing. What is left is what the host does:
//! from the program's memory to the backend, and from there to the program's memory. Beside it is the
//! same with two copies of memory alone, through two allocations that change places, as there.

use crate::guests::component;
use crate::measure::{Effort, Repeat, in_turns};
use crate::table::{Table, Target};
use anyhow::{Context as _, Result};
use llm_wasi_componentize::Profile;
use llm_wasi_host::backend::{
    Backend, Device, Encoding, ExecutionContext, Graph, LoadRequest, Target as Hardware,
    no_output_yet,
};
use llm_wasi_host::{
    Bytes, Error, NnView, OutputDescription, Preload, Registry, Tensor, add_to_linker,
};
use std::hint::black_box;
use std::sync::Arc;
use wasmtime::component::{Component, Linker, ResourceTable, TypedFunc};
use wasmtime::{Engine, Store};

/// 16 MiB.
const SIZE: usize = 16 << 20;
/// How much longer than the copies it may take.
const LIMIT: f64 = 1.15;

/// Sets an input of 16 MiB, computes, and reads an output of 16 MiB.
const PROGRAM: &str = r#"(module
    (import "wasi_ephemeral_nn" "load_by_name" (func $load (param i32 i32 i32) (result i32)))
    (import "wasi_ephemeral_nn" "init_execution_context" (func $init (param i32 i32) (result i32)))
    (import "wasi_ephemeral_nn" "set_input" (func $set (param i32 i32 i32) (result i32)))
    (import "wasi_ephemeral_nn" "compute" (func $compute (param i32) (result i32)))
    (import "wasi_ephemeral_nn" "get_output" (func $get (param i32 i32 i32 i32 i32) (result i32)))
    (memory (export "memory") 520)
    (data (i32.const 64) "m")
    ;; A tensor: dimensions at 128, type U8, its elements from the second page on.
    (data (i32.const 96) "\80\00\00\00\01\00\00\00\03\00\00\00\00\00\01\00\00\00\00\01")
    (data (i32.const 128) "\00\00\00\01")
    (func (export "setup") (result i32)
        (i32.or
            (call $load (i32.const 64) (i32.const 1) (i32.const 0))
            (call $init (i32.const 0) (i32.const 4))))
    (func (export "run") (param $count i32) (result i32)
        (local $wrong i32)
        (loop $again
            (local.set $wrong (i32.or (local.get $wrong)
                (call $set (i32.const 0) (i32.const 0) (i32.const 96))))
            (local.set $wrong (i32.or (local.get $wrong) (call $compute (i32.const 0))))
            (local.set $wrong (i32.or (local.get $wrong)
                (call $get (i32.const 0) (i32.const 0) (i32.const 0x1010000) (i32.const 0x1000000)
                    (i32.const 32))))
            (local.set $wrong (i32.or (local.get $wrong)
                (i32.ne (i32.load (i32.const 32)) (i32.const 0x1000000))))
            (br_if $again
                (local.tee $count (i32.sub (local.get $count) (i32.const 1)))))
        (local.get $wrong)))"#;

/// What its exports are in WIT.
const WORLD: &str = "
    package bench:tensors;
    world tensors {
        export setup: func() -> u32;
        export run: func(count: u32) -> u32;
    }
";

struct Echo;

/// Two allocations change places: one is filled while the other is read.
#[derive(Default)]
struct EchoContext {
    input: Option<Tensor>,
    output: Option<Bytes>,
}

impl Backend for Echo {
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
        Ok(Arc::new(Echo))
    }
}

impl Graph for Echo {
    fn init_execution_context(&self) -> Result<Box<dyn ExecutionContext>, Error> {
        Ok(Box::new(EchoContext::default()))
    }
}

impl ExecutionContext for EchoContext {
    fn take_input(&mut self, _: u32) -> Option<Tensor> {
        self.input.take()
    }

    fn set_input(&mut self, _: u32, tensor: Tensor) -> Result<(), Error> {
        self.input = Some(tensor);
        Ok(())
    }

    fn clear_inputs(&mut self) {
        self.input = None;
    }

    fn compute(&mut self) -> Result<(), Error> {
        let input = self
            .input
            .as_mut()
            .ok_or_else(|| Error::invalid("the input is not set"))?;
        let output = self.output.take().map(Arc::unwrap_or_clone);
        let computed = std::mem::replace(&mut input.data, output.unwrap_or_default());
        self.output = Some(Arc::new(computed));
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

pub(crate) fn table(effort: &Effort) -> Result<Table> {
    let bytes = component(PROGRAM, WORLD, Profile::Extended)?;
    let engine = Engine::default();
    let mut linker = Linker::new(&engine);
    add_to_linker(&mut linker, State::nn)?;
    let registry = Registry::builder()
        .backend(Echo)
        .preload(Preload {
            name: "m".into(),
            encoding: Encoding::Onnx,
            target: Hardware::Cpu,
            // Nobody reads it.
            paths: vec![concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml").into()],
            configuration: None,
        })
        .build();
    let mut store = Store::new(
        &engine,
        State {
            registry,
            table: ResourceTable::new(),
        },
    );
    let component = Component::new(&engine, bytes)?;
    let instance = linker.instantiate(&mut store, &component)?;
    let setup: TypedFunc<(), (u32,)> = instance.get_typed_func(&mut store, "setup")?;
    anyhow::ensure!(setup.call(&mut store, ())? == (0,), "setup failed");
    let cycle: TypedFunc<(u32,), (u32,)> = instance.get_typed_func(&mut store, "run")?;

    let source = vec![1_u8; SIZE];
    let (mut filled, mut idle) = (vec![2_u8; SIZE], vec![3_u8; SIZE]);
    let mut last = vec![4_u8; SIZE];
    let mut things: Vec<Repeat<'_>> = vec![
        Box::new(|count| {
            for _ in 0..count {
                filled.copy_from_slice(black_box(&source));
                last.copy_from_slice(black_box(&filled));
                std::mem::swap(&mut filled, &mut idle);
                black_box(&mut last);
            }
            Ok(())
        }),
        Box::new(|count| {
            let (wrong,) = cycle.call(&mut store, (count,))?;
            anyhow::ensure!(wrong == 0, "errno {wrong}");
            Ok(())
        }),
    ];
    let times = in_turns(effort, &mut things)?;
    let plain = times.first().context("no time")?;
    let rows = [
        ("two copies in memory", times[0]),
        ("in and out of the host", times[1]),
    ]
    .map(|(name, time)| {
        vec![
            name.to_owned(),
            format!("{:.2} ms", time.best / 1e3),
            format!("{:.2} ms", time.median / 1e3),
            format!("{:.2}", time.best / plain.best),
        ]
    })
    .into();
    Ok(Table {
        title: format!("a tensor of {} MiB in, and one out", SIZE >> 20),
        columns: vec!["", "best", "median", "ratio"],
        rows,
        targets: vec![Target {
            what: "in and out / two copies".into(),
            limit: LIMIT,
            found: times[1].best / plain.best,
            unit: "×",
        }],
    })
}
