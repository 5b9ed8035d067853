//! The same models on a host of `wasi:nn@0.2.0-rc-2024-08-19`, as Wasmtime 25 to 34 served it: inputs
//! are set and outputs read by name.

use crate::backend::{Counters, MODELS, Model, model_of, seed};
use std::collections::BTreeMap;
use std::sync::Arc;
use wasmtime::component::{HasData, Linker, Resource, ResourceTable};
use wasmtime_wasi_nn::backend::NamedTensor;
use wasmtime_wasi_nn::wit as later;

mod bindings {
    #![allow(
        missing_docs,
        unreachable_pub,
        reason = "the macro writes no documentation"
    )]
    wasmtime::component::bindgen!({
        path: "../wit/wasi-nn-2024-08-19.wit",
        world: "ml",
        with: {
            "wasi:nn/tensor.tensor": super::Tensor,
            "wasi:nn/graph.graph": super::Graph,
            "wasi:nn/inference.graph-execution-context": super::Context,
            "wasi:nn/errors.error": super::Error,
        },
        imports: { default: trappable },
    });
}

use bindings::wasi::nn::{errors, graph, inference, tensor};

/// A tensor that the guest holds.
pub struct Tensor {
    dimensions: Vec<u32>,
    ty: tensor::TensorType,
    data: Vec<u8>,
}

/// A graph that the guest holds.
pub struct Graph {
    model: Model,
    seed: u64,
    counters: Arc<Counters>,
}

/// A context that the guest holds.
pub struct Context {
    model: Model,
    seed: u64,
    inputs: BTreeMap<u32, wasmtime_wasi_nn::Tensor>,
    outputs: Vec<NamedTensor>,
    counters: Arc<Counters>,
}

impl Drop for Graph {
    fn drop(&mut self) {
        self.counters.remove_graph();
    }
}

impl Drop for Context {
    fn drop(&mut self) {
        self.counters.remove_context();
    }
}

/// A failure that the guest holds.
pub struct Error(errors::ErrorCode);

/// What the host's functions need.
pub struct View<'a> {
    /// The guest's resources.
    pub table: &'a mut ResourceTable,
    /// What of the backend is alive.
    pub counters: &'a Arc<Counters>,
}

struct HasView;

impl HasData for HasView {
    type Data<'a> = View<'a>;
}

/// Defines the package.
pub fn add_to_linker<T: 'static>(
    linker: &mut Linker<T>,
    get: fn(&mut T) -> View<'_>,
) -> wasmtime::Result<()> {
    errors::add_to_linker::<T, HasView>(linker, get)?;
    tensor::add_to_linker::<T, HasView>(linker, get)?;
    graph::add_to_linker::<T, HasView>(linker, get)?;
    inference::add_to_linker::<T, HasView>(linker, get)
}

type Answer<T> = wasmtime::Result<Result<T, Resource<Error>>>;

impl View<'_> {
    fn fail<T>(&mut self, code: errors::ErrorCode) -> Answer<T> {
        Ok(Err(self.table.push(Error(code))?))
    }

    fn graph(&mut self, model: Model, seed: u64) -> Answer<Resource<Graph>> {
        self.counters.add_graph();
        let graph = Graph {
            model,
            seed,
            counters: self.counters.clone(),
        };
        Ok(Ok(self.table.push(graph)?))
    }
}

impl errors::Host for View<'_> {}

impl errors::HostError for View<'_> {
    fn code(&mut self, error: Resource<Error>) -> wasmtime::Result<errors::ErrorCode> {
        Ok(self.table.get(&error)?.0)
    }

    fn data(&mut self, _: Resource<Error>) -> wasmtime::Result<String> {
        Ok(String::from("this model does that"))
    }

    fn drop(&mut self, error: Resource<Error>) -> wasmtime::Result<()> {
        self.table.delete(error)?;
        Ok(())
    }
}

impl tensor::Host for View<'_> {}

impl tensor::HostTensor for View<'_> {
    fn new(
        &mut self,
        dimensions: Vec<u32>,
        ty: tensor::TensorType,
        data: Vec<u8>,
    ) -> wasmtime::Result<Resource<Tensor>> {
        Ok(self.table.push(Tensor {
            dimensions,
            ty,
            data,
        })?)
    }

    fn dimensions(&mut self, tensor: Resource<Tensor>) -> wasmtime::Result<Vec<u32>> {
        Ok(self.table.get(&tensor)?.dimensions.clone())
    }

    fn ty(&mut self, tensor: Resource<Tensor>) -> wasmtime::Result<tensor::TensorType> {
        Ok(self.table.get(&tensor)?.ty)
    }

    fn data(&mut self, tensor: Resource<Tensor>) -> wasmtime::Result<Vec<u8>> {
        Ok(self.table.get(&tensor)?.data.clone())
    }

    fn drop(&mut self, tensor: Resource<Tensor>) -> wasmtime::Result<()> {
        self.table.delete(tensor)?;
        Ok(())
    }
}

impl graph::Host for View<'_> {
    fn load(
        &mut self,
        builders: Vec<Vec<u8>>,
        encoding: graph::GraphEncoding,
        target: graph::ExecutionTarget,
    ) -> Answer<Resource<Graph>> {
        if matches!(
            encoding,
            graph::GraphEncoding::Pytorch | graph::GraphEncoding::Tensorflowlite
        ) {
            return self.fail(errors::ErrorCode::InvalidEncoding);
        }
        let builders: Vec<&[u8]> = builders.iter().map(Vec::as_slice).collect();
        match model_of(&builders) {
            Some(model) if target != graph::ExecutionTarget::Tpu => {
                self.graph(model, seed(target as u32, builders.iter().copied()))
            }
            _ => self.fail(errors::ErrorCode::RuntimeError),
        }
    }

    fn load_by_name(&mut self, name: String) -> Answer<Resource<Graph>> {
        match MODELS.iter().find(|(known, _)| *known == name) {
            Some((_, model)) => self.graph(*model, 0),
            None => self.fail(errors::ErrorCode::NotFound),
        }
    }
}

impl graph::HostGraph for View<'_> {
    fn init_execution_context(&mut self, graph: Resource<Graph>) -> Answer<Resource<Context>> {
        let Graph { model, seed, .. } = *self.table.get(&graph)?;
        if model == Model::NoContext {
            return self.fail(errors::ErrorCode::RuntimeError);
        }
        self.counters.add_context();
        let context = Context {
            model,
            seed,
            inputs: BTreeMap::new(),
            outputs: Vec::new(),
            counters: self.counters.clone(),
        };
        Ok(Ok(self.table.push(context)?))
    }

    fn drop(&mut self, graph: Resource<Graph>) -> wasmtime::Result<()> {
        self.table.delete(graph)?;
        Ok(())
    }
}

impl inference::Host for View<'_> {}

impl inference::HostGraphExecutionContext for View<'_> {
    fn set_input(
        &mut self,
        context: Resource<Context>,
        name: String,
        tensor: Resource<Tensor>,
    ) -> Answer<()> {
        let tensor = self.table.delete(tensor)?;
        let ty = match tensor.ty {
            tensor::TensorType::Fp16 => later::TensorType::Fp16,
            tensor::TensorType::Fp32 => later::TensorType::Fp32,
            tensor::TensorType::Fp64 => later::TensorType::Fp64,
            tensor::TensorType::Bf16 => later::TensorType::Bf16,
            tensor::TensorType::U8 => later::TensorType::U8,
            tensor::TensorType::I32 => later::TensorType::I32,
            tensor::TensorType::I64 => later::TensorType::I64,
        };
        let context = self.table.get_mut(&context)?;
        match name.parse::<u32>() {
            Ok(index) if !context.model.refuses(index, ty) && index.to_string() == name => {
                let tensor = wasmtime_wasi_nn::Tensor::new(tensor.dimensions, ty, tensor.data);
                context.inputs.insert(index, tensor);
                Ok(Ok(()))
            }
            _ => self.fail(errors::ErrorCode::RuntimeError),
        }
    }

    fn compute(&mut self, context: Resource<Context>) -> Answer<()> {
        let context = self.table.get_mut(&context)?;
        match context.model.run(context.seed, &context.inputs) {
            Ok(outputs) => {
                context.outputs = outputs;
                Ok(Ok(()))
            }
            Err(_) => self.fail(errors::ErrorCode::RuntimeError),
        }
    }

    fn get_output(&mut self, context: Resource<Context>, name: String) -> Answer<Resource<Tensor>> {
        let outputs = &self.table.get(&context)?.outputs;
        let found = outputs.iter().find(|output| output.name == name);
        match found.map(|output| output.tensor.data.clone()) {
            Some(data) => Ok(Ok(self.table.push(Tensor {
                dimensions: vec![data.len() as u32],
                ty: tensor::TensorType::U8,
                data,
            })?)),
            None => self.fail(errors::ErrorCode::RuntimeError),
        }
    }

    fn drop(&mut self, context: Resource<Context>) -> wasmtime::Result<()> {
        self.table.delete(context)?;
        Ok(())
    }
}
