//! The same models as backend of this project's host, for components in the extended profile.

use crate::backend::{Counters, MODELS, Model, model_of, seed};
use crate::steps::{Steps, piece};
use llm_wasi_host::backend::{
    Backend, Device, Encoding, ExecutionContext, Graph, LoadRequest, Source, Target,
};
use llm_wasi_host::{
    Bytes, Error, ErrorCode, OutputDescription, Preload, Registry, Tensor, TensorType,
};
use std::collections::BTreeMap;
use std::sync::Arc;
use wasmtime_wasi_nn::backend::NamedTensor;
use wasmtime_wasi_nn::wit;

/// A registry with [`MODELS`].
pub fn registry() -> (Registry, Arc<Counters>) {
    let counters = Arc::new(Counters::default());
    let backend = TestBackend {
        counters: counters.clone(),
    };
    let mut builder = Registry::builder().backend(backend);
    for (name, _) in MODELS {
        builder = builder.preload(Preload {
            name: name.to_string(),
            encoding: Encoding::Ggml,
            target: Target::Cpu,
            // A model needs a file, which nobody reads here.
            paths: vec![concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml").into()],
            configuration: Some(name.to_string()),
        });
    }
    (builder.build(), counters)
}

struct TestBackend {
    counters: Arc<Counters>,
}

impl Backend for TestBackend {
    fn name(&self) -> &str {
        "test"
    }

    fn encodings(&self) -> &[Encoding] {
        &[
            Encoding::OpenVino,
            Encoding::Onnx,
            Encoding::TensorFlow,
            Encoding::Ggml,
        ]
    }

    fn recognizes(&self, _: &[u8]) -> bool {
        true
    }

    fn devices(&self) -> Result<Vec<Device>, Error> {
        Ok(Vec::new())
    }

    fn load(&self, request: LoadRequest<'_>) -> Result<Arc<dyn Graph>, Error> {
        let LoadRequest {
            source,
            target,
            configurations,
            ..
        } = request;
        let (model, seed) = match source {
            Source::Files(_) => {
                let (name, rest) = configurations.split_first().unwrap_or((&"", &[]));
                let model = MODELS.iter().find(|(known, _)| known == name);
                let given = rest.iter().find(|text| !text.is_empty());
                let seed = given.map_or(0, |text| seed(0, [text.as_bytes()].into_iter()));
                (model.map(|(_, model)| *model), seed)
            }
            Source::Bytes(builders) => {
                let builders: Vec<&[u8]> = builders.iter().map(Vec::as_slice).collect();
                let seed = seed(target as u32, builders.iter().copied());
                (model_of(&builders).filter(|_| target != Target::Tpu), seed)
            }
        };
        let model = model.ok_or_else(failed)?;
        self.counters.add_graph();
        Ok(Arc::new(TestGraph {
            model,
            seed,
            counters: self.counters.clone(),
        }))
    }
}

fn failed() -> Error {
    Error::new(ErrorCode::RuntimeError, "this model does that")
}

struct TestGraph {
    model: Model,
    seed: u64,
    counters: Arc<Counters>,
}

impl Drop for TestGraph {
    fn drop(&mut self) {
        self.counters.remove_graph();
    }
}

impl Graph for TestGraph {
    fn init_execution_context(&self) -> Result<Box<dyn ExecutionContext>, Error> {
        if self.model == Model::NoContext {
            return Err(failed());
        }
        self.counters.add_context();
        Ok(Box::new(TestContext {
            model: self.model,
            seed: self.seed,
            inputs: BTreeMap::new(),
            outputs: Vec::new(),
            steps: Steps::default(),
            counters: self.counters.clone(),
        }))
    }
}

struct TestContext {
    model: Model,
    seed: u64,
    inputs: BTreeMap<u32, wasmtime_wasi_nn::Tensor>,
    outputs: Vec<NamedTensor>,
    steps: Steps,
    counters: Arc<Counters>,
}

impl Drop for TestContext {
    fn drop(&mut self) {
        self.counters.remove_context();
    }
}

impl ExecutionContext for TestContext {
    fn take_input(&mut self, _: u32) -> Option<Tensor> {
        None
    }

    fn set_input(&mut self, index: u32, tensor: Tensor) -> Result<(), Error> {
        let ty = match tensor.ty {
            TensorType::F16 => wit::TensorType::Fp16,
            TensorType::F32 => wit::TensorType::Fp32,
            TensorType::F64 => wit::TensorType::Fp64,
            TensorType::Bf16 => wit::TensorType::Bf16,
            TensorType::U8 => wit::TensorType::U8,
            TensorType::I32 => wit::TensorType::I32,
            TensorType::I64 => wit::TensorType::I64,
        };
        if self.model.refuses(index, ty) {
            return Err(failed());
        }
        let tensor = wasmtime_wasi_nn::Tensor::new(tensor.dimensions, ty, tensor.data);
        self.inputs.insert(index, tensor);
        self.steps = Steps::default();
        Ok(())
    }

    fn clear_inputs(&mut self) {
        self.inputs.clear();
    }

    fn compute(&mut self) -> Result<(), Error> {
        self.outputs = self
            .model
            .run(self.seed, &self.inputs)
            .map_err(|_| failed())?;
        self.steps = Steps::default();
        Ok(())
    }

    fn compute_step(&mut self) -> Result<(), Error> {
        if self.steps.over() {
            return Err(Error::new(ErrorCode::EndOfSequence, "that was all"));
        }
        self.outputs = self
            .model
            .run(self.seed, &self.inputs)
            .map_err(|_| failed())?;
        let piece = piece(&self.outputs, self.steps.made());
        self.steps.next(piece);
        Ok(())
    }

    fn finish(&mut self) -> Result<(), Error> {
        self.steps = Steps::default();
        Ok(())
    }

    fn outputs(&self) -> u32 {
        self.outputs.len() as u32
    }

    fn output_name(&self, index: u32) -> String {
        self.outputs[index as usize].name.clone()
    }

    fn describe_output(&self, index: u32) -> Result<OutputDescription, Error> {
        Ok(OutputDescription::bytes(self.output(index)?.len()))
    }

    fn output(&self, index: u32) -> Result<Bytes, Error> {
        let output = self.outputs.get(index as usize);
        let output = output.ok_or_else(|| Error::invalid("there is no such output"))?;
        Ok(Arc::new(output.tensor.data.clone()))
    }

    fn step_output(&self, index: u32) -> Result<Bytes, Error> {
        match self.steps.piece(index) {
            Some(piece) => Ok(Arc::new(piece.to_vec())),
            None => self.output(index),
        }
    }
}
