//! What is measured is also right: inputs of every size reach the backend whole, again at the second
//! computation, when the guest has overwritten its own.

use anyhow::{Result, ensure};
use llm_wasi_adapter::{Profile, Target};
use llm_wasi_componentize::{Options, componentize};
use std::sync::{Arc, Mutex};
use wasmtime::component::{Component, Linker, ResourceTable};
use wasmtime::{Engine, Store};
use wasmtime_wasi_nn::backend::{
    BackendError, BackendExecutionContext, BackendGraph, Id, NamedTensor,
};
use wasmtime_wasi_nn::wit::{Tensor, WasiNnCtx, WasiNnView, add_to_linker};
use wasmtime_wasi_nn::{ExecutionContext, Graph, GraphRegistry, Registry};
use wit_component::{StringEncoding, embed_component_metadata};

/// Fills its input with a pattern, sets it, zeroes it, and computes twice. Dimensions and elements lie
/// at odd addresses.
const GUEST: &str = r#"(module
  (import "wasi_ephemeral_nn" "load_by_name" (func $load_by_name (param i32 i32 i32) (result i32)))
  (import "wasi_ephemeral_nn" "init_execution_context" (func $init (param i32 i32) (result i32)))
  (import "wasi_ephemeral_nn" "set_input" (func $set_input (param i32 i32 i32) (result i32)))
  (import "wasi_ephemeral_nn" "compute" (func $compute (param i32) (result i32)))
  (memory (export "memory") 16)
  (data (i32.const 16) "g")
  (data (i32.const 33) "\01\00\00\00\02\03\00\00\ff\ff\ff\ff")
  (func (export "setup") (result i32)
    (drop (call $load_by_name (i32.const 16) (i32.const 1) (i32.const 64)))
    (call $init (i32.load (i32.const 64)) (i32.const 68)))
  (func (export "run") (param $length i32) (result i32)
    (local $at i32)
    (loop $fill
      (i32.store8 offset=1001 (local.get $at)
        (i32.add (i32.mul (local.get $at) (i32.const 31)) (i32.shr_u (local.get $at) (i32.const 7))))
      (local.set $at (i32.add (local.get $at) (i32.const 1)))
      (br_if $fill (i32.lt_u (local.get $at) (local.get $length))))
    (i32.store (i32.const 100) (i32.const 33))
    (i32.store (i32.const 104) (i32.const 3))
    (i32.store8 (i32.const 108) (i32.const 2))
    (i32.store (i32.const 112) (i32.const 1001))
    (i32.store (i32.const 116) (local.get $length))
    (drop (call $set_input (i32.load (i32.const 68)) (i32.const 0) (i32.const 100)))
    (memory.fill (i32.const 1001) (i32.const 0) (local.get $length))
    (drop (call $compute (i32.load (i32.const 68))))
    (call $compute (i32.load (i32.const 68)))))"#;

const WORLD: &str = "package a:b; world w {
    export setup: func() -> u32; export run: func(length: u32) -> u32; }";

type Seen = Arc<Mutex<Vec<Tensor>>>;

struct Recorder(Seen);

impl BackendGraph for Recorder {
    fn init_execution_context(&self) -> Result<ExecutionContext, BackendError> {
        let context: Box<dyn BackendExecutionContext> = Box::new(Recorder(self.0.clone()));
        Ok(context.into())
    }
}

impl BackendExecutionContext for Recorder {
    fn set_input(&mut self, _: Id, _: &Tensor) -> Result<(), BackendError> {
        Ok(())
    }

    fn get_output(&mut self, _: Id) -> Result<Tensor, BackendError> {
        Err(BackendError::NotEnoughMemory(0))
    }

    fn compute(
        &mut self,
        inputs: Option<Vec<NamedTensor>>,
    ) -> Result<Option<Vec<NamedTensor>>, BackendError> {
        let tensors = inputs.unwrap_or_default().into_iter().map(|i| i.tensor);
        self.0.lock().expect("no test panics").extend(tensors);
        Ok(None)
    }
}

struct One(Graph);

impl GraphRegistry for One {
    fn get(&self, _: &str) -> Option<&Graph> {
        Some(&self.0)
    }

    fn get_mut(&mut self, _: &str) -> Option<&mut Graph> {
        Some(&mut self.0)
    }
}

struct State {
    nn: WasiNnCtx,
    table: ResourceTable,
}

fn pattern(length: u32) -> Vec<u8> {
    (0..length)
        .map(|at| (at.wrapping_mul(31).wrapping_add(at >> 7) & 0xff) as u8)
        .collect()
}

#[test]
fn inputs_arrive_whole() -> Result<()> {
    let mut module = wat::parse_str(GUEST)?;
    let mut resolve = wit_parser::Resolve::default();
    let package = resolve.push_str("guest.wit", WORLD)?;
    let world = resolve.select_world(&[package], None)?;
    embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8, false)?;
    let options = Options {
        profile: Some(Profile::Portable),
        target: Target::Rc20241028,
        ..Options::default()
    };
    let component = componentize(&module, &options)?.bytes;

    let engine = Engine::default();
    let component = Component::new(&engine, component)?;
    let mut linker = Linker::new(&engine);
    add_to_linker(&mut linker, |state: &mut State| {
        WasiNnView::new(&mut state.table, &mut state.nn)
    })?;
    let seen = Seen::default();
    let graph: Box<dyn BackendGraph> = Box::new(Recorder(seen.clone()));
    let state = State {
        nn: WasiNnCtx::new([], Registry::from(One(graph.into()))),
        table: ResourceTable::new(),
    };
    let mut store = Store::new(&engine, state);
    let instance = linker.instantiate(&mut store, &component)?;
    let setup = instance.get_typed_func::<(), (u32,)>(&mut store, "setup")?;
    ensure!(setup.call(&mut store, ())?.0 == 0);
    let run = instance.get_typed_func::<(u32,), (u32,)>(&mut store, "run")?;
    // Around the alignment of elements, the step in which they are copied, and several such steps;
    // larger ones first, so that allocations are used again for less, then the other way.
    let lengths = [
        1, 4, 60, 63, 64, 65, 65_535, 65_536, 65_537, 131_071, 131_072, 131_073, 300_001,
    ];
    for length in lengths.into_iter().rev().chain(lengths) {
        let errno = run.call(&mut store, (length,))?.0;
        ensure!(errno == 0, "{length} bytes: errno {errno}");
        let tensors = std::mem::take(&mut *seen.lock().expect("no test panics"));
        ensure!(tensors.len() == 2, "{length} bytes: two computations");
        for tensor in tensors {
            ensure!(tensor.dimensions == [1, 0x302, u32::MAX]);
            ensure!(tensor.data == pattern(length), "{length} bytes differ");
        }
    }
    Ok(())
}
