//! A backend without a model for the hosts of `wasmtime-wasi-nn`.
//!
//! It does the least that a backend can honestly do: it keeps the input, because a computation that
//! comes later needs it, and it has an output. What that costs is the interface's doing:
//!
//! - The interface for core modules lends the tensor (`set_input(&Tensor)`), so it is copied, into
//!   the allocation of the input before. It asks for outputs by value, so that is copied as well.
//! - The interface for components gives tensors away with the computation that they are for, so
//!   nothing is copied, and they are let go when it is done. It wants outputs by value too.

use wasmtime_wasi_nn::backend::{
    BackendError, BackendExecutionContext, BackendFromDir, BackendGraph, BackendInner, Id,
    NamedTensor,
};
use wasmtime_wasi_nn::wit::{ExecutionTarget, GraphEncoding, Tensor, TensorType};
use wasmtime_wasi_nn::{Backend, ExecutionContext, Graph, GraphRegistry, Registry};

/// The graph's name in the guests.
pub(crate) const GRAPH: &str = "bench";

/// Size of the output in bytes: 1,001 classes of `f32`.
const OUTPUT: usize = 4_004;

/// What the hosts of `wasmtime-wasi-nn` are made with.
pub(crate) fn parts() -> ([Backend; 1], Registry) {
    let graph: Box<dyn BackendGraph> = Box::new(NullGraph);
    ([Backend::from(Null)], Registry::from(One(graph.into())))
}

/// A registry of one graph.
struct One(Graph);

impl GraphRegistry for One {
    fn get(&self, name: &str) -> Option<&Graph> {
        (name == GRAPH).then_some(&self.0)
    }

    fn get_mut(&mut self, name: &str) -> Option<&mut Graph> {
        (name == GRAPH).then_some(&mut self.0)
    }
}

struct Null;

impl BackendInner for Null {
    fn encoding(&self) -> GraphEncoding {
        GraphEncoding::Openvino
    }

    fn load(&mut self, _: &[&[u8]], _: ExecutionTarget) -> Result<Graph, BackendError> {
        let graph: Box<dyn BackendGraph> = Box::new(NullGraph);
        Ok(graph.into())
    }

    fn as_dir_loadable(&mut self) -> Option<&mut dyn BackendFromDir> {
        None
    }
}

struct NullGraph;

impl BackendGraph for NullGraph {
    fn init_execution_context(&self) -> Result<ExecutionContext, BackendError> {
        let context: Box<dyn BackendExecutionContext> = Box::new(NullContext {
            lent: None,
            output: vec![0; OUTPUT],
        });
        Ok(context.into())
    }
}

struct NullContext {
    lent: Option<Tensor>,
    output: Vec<u8>,
}

impl NullContext {
    fn tensor(&self) -> Tensor {
        Tensor::new(
            vec![1, (OUTPUT / 4) as u32],
            TensorType::Fp32,
            self.output.clone(),
        )
    }
}

impl BackendExecutionContext for NullContext {
    fn set_input(&mut self, _: Id, tensor: &Tensor) -> Result<(), BackendError> {
        match &mut self.lent {
            // `Tensor` has no `clone_from` that would keep the allocations.
            Some(lent) => {
                lent.dimensions.clone_from(&tensor.dimensions);
                lent.ty = tensor.ty;
                lent.data.clone_from(&tensor.data);
            }
            None => self.lent = Some(tensor.clone()),
        }
        Ok(())
    }

    fn get_output(&mut self, _: Id) -> Result<Tensor, BackendError> {
        Ok(self.tensor())
    }

    fn compute(
        &mut self,
        inputs: Option<Vec<NamedTensor>>,
    ) -> Result<Option<Vec<NamedTensor>>, BackendError> {
        // One byte tells the computations apart.
        self.output[0] = self.output[0].wrapping_add(1);
        let Some(inputs) = inputs else {
            return Ok(None);
        };
        std::hint::black_box(&inputs);
        Ok(Some(vec![NamedTensor {
            name: "0".into(),
            tensor: self.tensor(),
        }]))
    }
}
