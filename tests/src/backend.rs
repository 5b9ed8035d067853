//! One deterministic backend for both of Wasmtime's wasi-nn hosts.
//!
//! It keeps inputs by index, as real backends do. Outputs depend on every byte of every input, on
//! dimensions, types and the bytes that the model was loaded from, so that nothing that gets lost or
//! mixed up on the way goes unnoticed. Which [`Model`] computes decides how it misbehaves.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use wasmtime_wasi_nn::backend::{
    BackendError, BackendExecutionContext, BackendFromDir, BackendGraph, BackendInner, Id,
    NamedTensor,
};
use wasmtime_wasi_nn::wit::{ExecutionTarget, GraphEncoding, TensorType};
use wasmtime_wasi_nn::{Backend, ExecutionContext, Graph, GraphRegistry, Registry, Tensor};

/// What a graph does with its inputs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Model {
    /// Output 0: every input's description and the bytes of the first; output 1: nothing; output 2: a
    /// digest.
    Echo,
    /// As `Echo`, but fails unless inputs 0 and 1 are set.
    NeedsTwo,
    /// Outputs whose names are decimals in another order, beside other names.
    Renamed,
    /// Output 0 has more than 65,536 bytes.
    Big,
    /// As `Echo`, but refuses elements of type f64 and indexes from 8 on.
    Picky,
    /// As `Echo`, but fails when the first input starts with a byte from 128 on.
    Moody,
    /// Makes no contexts.
    NoContext,
    /// Computes without an output.
    Silent,
    /// One output of 4,004 bytes that depends on all inputs.
    Bench,
    /// As `Echo`, but its inputs have the names `alpha` and `beta` in the WIT world.
    Named,
}

/// Every model with the name that the registry has it under.
pub const MODELS: [(&str, Model); 12] = [
    ("echo", Model::Echo),
    ("needs-two", Model::NeedsTwo),
    ("renamed", Model::Renamed),
    ("big", Model::Big),
    ("picky", Model::Picky),
    ("moody", Model::Moody),
    ("no-context", Model::NoContext),
    ("silent", Model::Silent),
    ("bench", Model::Bench),
    ("named", Model::Named),
    // Names are any text.
    ("", Model::Echo),
    ("größe 🦀", Model::Echo),
];

/// The encodings that there is a backend for.
pub const ENCODINGS: [GraphEncoding; 5] = [
    GraphEncoding::Openvino,
    GraphEncoding::Onnx,
    GraphEncoding::Tensorflow,
    GraphEncoding::Autodetect,
    GraphEncoding::Ggml,
];

/// How many things of the backend are alive.
#[derive(Debug, Default)]
pub struct Counters {
    graphs: AtomicI64,
    contexts: AtomicI64,
}

impl Counters {
    /// Graphs alive, those of the registry included.
    pub fn graphs(&self) -> i64 {
        self.graphs.load(Ordering::SeqCst)
    }

    /// Execution contexts alive.
    pub fn contexts(&self) -> i64 {
        self.contexts.load(Ordering::SeqCst)
    }

    pub(crate) fn add_graph(&self) {
        self.graphs.fetch_add(1, Ordering::SeqCst);
    }

    pub(crate) fn remove_graph(&self) {
        self.graphs.fetch_sub(1, Ordering::SeqCst);
    }

    pub(crate) fn add_context(&self) {
        self.contexts.fetch_add(1, Ordering::SeqCst);
    }

    pub(crate) fn remove_context(&self) {
        self.contexts.fetch_sub(1, Ordering::SeqCst);
    }
}

/// Backends for all of [`ENCODINGS`] and a registry with [`MODELS`].
pub fn backends() -> (Vec<Backend>, Registry, Arc<Counters>) {
    let counters = Arc::new(Counters::default());
    let backends = ENCODINGS
        .iter()
        .map(|encoding| {
            Backend::from(TestBackend {
                encoding: *encoding,
                counters: counters.clone(),
            })
        })
        .collect();
    let graphs = MODELS
        .iter()
        .map(|(name, model)| ((*name).to_string(), graph(*model, 0, &counters)))
        .collect();
    (backends, Registry::from(Names(graphs)), counters)
}

/// The model that these bytes stand for: their first byte says which.
pub fn model_of(builders: &[&[u8]]) -> Option<Model> {
    let first = builders.first()?.first()?;
    Some(MODELS[usize::from(*first) % MODELS.len()].1)
}

/// What makes the outputs of a graph differ from those of another with the same [`Model`].
pub fn seed<'a>(target: u32, parts: impl Iterator<Item = &'a [u8]>) -> u64 {
    let mut digest = Digest::new(target.into());
    for part in parts {
        digest.bytes(part);
    }
    digest.0
}

struct Names(BTreeMap<String, Graph>);

impl GraphRegistry for Names {
    fn get(&self, name: &str) -> Option<&Graph> {
        self.0.get(name)
    }

    fn get_mut(&mut self, name: &str) -> Option<&mut Graph> {
        self.0.get_mut(name)
    }
}

struct TestBackend {
    encoding: GraphEncoding,
    counters: Arc<Counters>,
}

impl BackendInner for TestBackend {
    fn encoding(&self) -> GraphEncoding {
        self.encoding
    }

    fn load(&mut self, builders: &[&[u8]], target: ExecutionTarget) -> Result<Graph, BackendError> {
        let Some(model) = model_of(builders) else {
            return Err(BackendError::InvalidNumberOfBuilders(1, builders.len()));
        };
        if target == ExecutionTarget::Tpu {
            return Err(BackendError::UnsupportedTensorType("no TPU here".into()));
        }
        let seed = seed(target as u32, builders.iter().copied());
        Ok(graph(model, seed, &self.counters))
    }

    fn as_dir_loadable(&mut self) -> Option<&mut dyn BackendFromDir> {
        None
    }
}

fn graph(model: Model, seed: u64, counters: &Arc<Counters>) -> Graph {
    counters.add_graph();
    let graph: Box<dyn BackendGraph> = Box::new(TestGraph {
        model,
        seed,
        counters: counters.clone(),
    });
    Graph::from(graph)
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

impl BackendGraph for TestGraph {
    fn init_execution_context(&self) -> Result<ExecutionContext, BackendError> {
        if self.model == Model::NoContext {
            return Err(BackendError::NotEnoughMemory(0));
        }
        self.counters.add_context();
        let context: Box<dyn BackendExecutionContext> = Box::new(TestContext {
            model: self.model,
            seed: self.seed,
            inputs: BTreeMap::new(),
            outputs: Vec::new(),
            counters: self.counters.clone(),
        });
        Ok(ExecutionContext::from(context))
    }
}

struct TestContext {
    model: Model,
    seed: u64,
    inputs: BTreeMap<u32, Tensor>,
    outputs: Vec<NamedTensor>,
    counters: Arc<Counters>,
}

impl Drop for TestContext {
    fn drop(&mut self) {
        self.counters.remove_context();
    }
}

impl BackendExecutionContext for TestContext {
    fn set_input(&mut self, id: Id, tensor: &Tensor) -> Result<(), BackendError> {
        let index = self.model.index(&id)?;
        self.model.accept(index, tensor)?;
        self.inputs.insert(index, tensor.clone());
        Ok(())
    }

    fn get_output(&mut self, id: Id) -> Result<Tensor, BackendError> {
        let index = id.index().ok_or_else(|| missing("an index"))?;
        position(
            self.outputs.iter().map(|output| output.name.as_str()),
            index,
        )
        .map(|position| self.outputs[position].tensor.clone())
        .ok_or_else(|| missing("this output"))
    }

    fn compute(
        &mut self,
        inputs: Option<Vec<NamedTensor>>,
    ) -> Result<Option<Vec<NamedTensor>>, BackendError> {
        let Some(named) = inputs else {
            self.outputs = self.model.run(self.seed, &self.inputs)?;
            return Ok(None);
        };
        // As Wasmtime's own backends: a list stands for itself, earlier inputs do not count.
        let mut inputs = BTreeMap::new();
        for NamedTensor { name, tensor } in named {
            let index = self.model.index(&Id::Name(name))?;
            self.model.accept(index, &tensor)?;
            inputs.insert(index, tensor);
        }
        Ok(Some(self.model.run(self.seed, &inputs)?))
    }
}

/// Which of the outputs the old ABI's index stands for: the one that it names, else the one there.
pub fn position<'a>(names: impl Iterator<Item = &'a str> + Clone, index: u32) -> Option<usize> {
    let decimal = index.to_string();
    let count = names.clone().count();
    names
        .into_iter()
        .position(|name| name == decimal)
        .or_else(|| usize::try_from(index).ok().filter(|index| *index < count))
}

fn missing(what: &str) -> BackendError {
    BackendError::UnsupportedTensorType(format!("{what} is missing"))
}

impl Model {
    fn index(self, id: &Id) -> Result<u32, BackendError> {
        match (self, id) {
            (_, Id::Index(index)) => Ok(*index),
            (Model::Named, Id::Name(name)) if name == "alpha" => Ok(0),
            (Model::Named, Id::Name(name)) if name == "beta" => Ok(1),
            (_, Id::Name(name)) => match name.parse::<u32>() {
                Ok(index) if index.to_string() == *name => Ok(index),
                _ => Err(missing(name)),
            },
        }
    }

    /// Whether an input is refused, which the old ABI says at once.
    pub fn refuses(self, index: u32, ty: TensorType) -> bool {
        self == Model::Picky && (index >= 8 || ty == TensorType::Fp64)
    }

    fn accept(self, index: u32, tensor: &Tensor) -> Result<(), BackendError> {
        if self.refuses(index, tensor.ty) {
            return Err(BackendError::UnsupportedTensorType("too picky".into()));
        }
        Ok(())
    }

    /// The outputs for these inputs.
    pub fn run(
        self,
        seed: u64,
        inputs: &BTreeMap<u32, Tensor>,
    ) -> Result<Vec<NamedTensor>, BackendError> {
        if self == Model::NeedsTwo && !(inputs.contains_key(&0) && inputs.contains_key(&1)) {
            return Err(missing("an input"));
        }
        let first = inputs.values().next().map(|tensor| tensor.data.as_slice());
        let first = first.unwrap_or_default();
        if self == Model::Moody && first.first().is_some_and(|byte| *byte >= 128) {
            return Err(missing("goodwill"));
        }
        let mut digest = Digest::new(seed);
        let mut echo = Vec::new();
        for (index, tensor) in inputs {
            digest.number((*index).into());
            digest.number(tensor.ty as u64);
            for dimension in &tensor.dimensions {
                digest.number((*dimension).into());
            }
            digest.bytes(&tensor.data);
            echo.extend(index.to_le_bytes());
            echo.extend((tensor.dimensions.len() as u32).to_le_bytes());
            echo.extend((tensor.data.len() as u32).to_le_bytes());
            echo.push(tensor.ty as u8);
        }
        echo.extend(first);
        let digest = digest.0.to_le_bytes().to_vec();
        Ok(match self {
            Model::Renamed => vec![
                output("2", b"second".to_vec()),
                output("0", echo),
                output("other", digest),
                output("07", vec![7; 7]),
                output("4294967295", vec![1; 3]),
                output("5", Vec::new()),
            ],
            Model::Big => {
                let mut big: Vec<u8> = (0..70_000u32).map(|i| (i % 251) as u8).collect();
                big[..8].copy_from_slice(&digest);
                vec![output("0", big), output("1", echo)]
            }
            Model::Silent => Vec::new(),
            Model::Bench => {
                let mut out: Vec<u8> = digest.iter().copied().cycle().take(4004).collect();
                out[8..16].copy_from_slice(&(first.len() as u64).to_le_bytes());
                vec![output("0", out)]
            }
            _ => vec![
                output("0", echo),
                output("empty", Vec::new()),
                output("2", digest),
            ],
        })
    }
}

fn output(name: &str, data: Vec<u8>) -> NamedTensor {
    NamedTensor {
        name: name.to_string(),
        tensor: Tensor {
            dimensions: vec![data.len() as u32],
            ty: TensorType::U8,
            data,
        },
    }
}

/// FNV-1a.
struct Digest(u64);

impl Digest {
    fn new(seed: u64) -> Digest {
        let mut digest = Digest(0xcbf2_9ce4_8422_2325);
        digest.number(seed);
        digest
    }

    fn bytes(&mut self, bytes: &[u8]) {
        self.number(bytes.len() as u64);
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
    }

    fn number(&mut self, number: u64) {
        for byte in number.to_le_bytes() {
            self.0 = (self.0 ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
    }
}
