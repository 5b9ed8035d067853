//! What WasmEdge's functions do, as a state machine over a copy of the guest's memory.
//!
//! This is the specification that adapted modules are compared with where no host of core modules is at
//! hand. It is written from the ABI's description, not from the generator.

use crate::backend::{MODELS, Model, model_of, position, seed};
use crate::former::former_type;
use crate::machine::Host;
use crate::steps::{Steps, piece};
use std::collections::BTreeMap;
use wasmtime_wasi_nn::Tensor;
use wasmtime_wasi_nn::backend::NamedTensor;
use wasmtime_wasi_nn::wit::TensorType;

/// Errnos of WasmEdge's dialect.
pub mod errno {
    /// It worked.
    pub const SUCCESS: u32 = 0;
    /// An argument makes no sense.
    pub const INVALID_ARGUMENT: u32 = 1;
    /// No backend has this encoding.
    pub const INVALID_ENCODING: u32 = 2;
    /// The backend failed.
    pub const RUNTIME_ERROR: u32 = 5;
    /// The backend cannot do that.
    pub const UNSUPPORTED_OPERATION: u32 = 6;
    /// The buffer is too small.
    pub const TOO_LARGE: u32 = 7;
    /// No model has this name.
    pub const NOT_FOUND: u32 = 8;
    /// The computation in steps is over.
    pub const END_OF_SEQUENCE: u32 = 100;
}

use errno::*;

/// A legacy host.
pub struct Legacy {
    /// Where the adapted module runs: profiles and targets differ a little.
    host: Host,
    graphs: Vec<Option<Graph>>,
    contexts: Vec<Option<Context>>,
    /// The guest's memory.
    pub memory: Vec<u8>,
}

#[derive(Clone)]
struct Graph {
    model: Model,
    seed: u64,
    configuration: Vec<u8>,
}

struct Context {
    model: Model,
    seed: u64,
    inputs: BTreeMap<u32, Tensor>,
    outputs: Vec<NamedTensor>,
    steps: Steps,
}

/// A pointer reaches beyond memory: anything may follow.
pub struct Beyond;

type Result<T> = std::result::Result<T, Beyond>;

/// Gives an errno from a function that may also find a pointer beyond memory.
macro_rules! expect {
    ($option:expr, $errno:expr) => {
        match $option {
            Some(value) => value,
            None => return Ok($errno),
        }
    };
}

impl Legacy {
    /// A host without graphs.
    pub fn new(host: Host, size: u32) -> Legacy {
        Legacy {
            host,
            graphs: Vec::new(),
            contexts: Vec::new(),
            memory: vec![0; size as usize],
        }
    }

    /// Makes a call; gives the errno.
    ///
    /// # Errors
    /// [`Beyond`], after which nothing is known.
    pub fn call(&mut self, function: &str, arguments: &[u32]) -> Result<u32> {
        match (function, arguments) {
            ("load", [list, count, encoding, target, out]) => {
                self.load(*list, *count, *encoding, *target, *out)
            }
            ("load_by_name", [name, length, out]) => {
                self.load_by_name((*name, *length), (0, 0), *out)
            }
            ("load_by_name_with_config", [name, length, config, config_length, out]) => {
                self.load_by_name((*name, *length), (*config, *config_length), *out)
            }
            ("init_execution_context", [graph, out]) => self.init(*graph, *out),
            ("set_input", [context, index, record]) => self.set_input(*context, *index, *record),
            ("compute", [context]) => {
                let context = expect!(live(&mut self.contexts, *context), INVALID_ARGUMENT);
                Ok(context.compute(self.host))
            }
            ("compute_single", [context]) => {
                let context = expect!(live(&mut self.contexts, *context), INVALID_ARGUMENT);
                Ok(context.compute_single(self.host))
            }
            ("fini_single", [context]) => {
                let context = expect!(live(&mut self.contexts, *context), INVALID_ARGUMENT);
                context.steps = Steps::default();
                Ok(SUCCESS)
            }
            ("get_output" | "get_output_single", [context, index, buffer, max, out]) => {
                let single = function == "get_output_single";
                self.get_output(single, *context, *index, (*buffer, *max), *out)
            }
            ("unload", [graph]) => {
                expect!(live(&mut self.graphs, *graph), INVALID_ARGUMENT);
                self.graphs[*graph as usize] = None;
                Ok(SUCCESS)
            }
            ("finalize_execution_context", [context]) => {
                expect!(live(&mut self.contexts, *context), INVALID_ARGUMENT);
                self.contexts[*context as usize] = None;
                Ok(SUCCESS)
            }
            _ => panic!("there is no function {function}{arguments:?}"),
        }
    }

    fn load(&mut self, list: u32, count: u32, encoding: u32, target: u32, out: u32) -> Result<u32> {
        // `ggml` is 6; higher ones exist, but no WIT has them.
        if encoding > 6 {
            return Ok(INVALID_ENCODING);
        }
        // So does `auto`.
        if target > 2 {
            return Ok(INVALID_ARGUMENT);
        }
        let mut builders = Vec::new();
        self.bytes(list, u64::from(count) * 8)?;
        for index in 0..count {
            let at = self.word(list + 8 * index)?;
            let length = self.word(list + 8 * index + 4)?;
            builders.push(self.bytes(at, length.into())?);
        }
        let known = matches!(encoding, 0..=2 | 5 | 6);
        let failure = match self.host {
            // The registry looks for a file before it looks for a backend.
            Host::Ours if builders.is_empty() => Some(INVALID_ARGUMENT),
            _ if !known => Some(INVALID_ENCODING),
            _ if model_of(&builders).is_none() => Some(RUNTIME_ERROR),
            _ if target == 2 => Some(RUNTIME_ERROR),
            _ => None,
        };
        if let Some(errno) = failure {
            return Ok(errno);
        }
        let graph = Graph {
            model: expect!(model_of(&builders), RUNTIME_ERROR),
            seed: seed(target, builders.iter().copied()),
            configuration: Vec::new(),
        };
        self.graphs.push(Some(graph));
        self.put(out, &(self.graphs.len() as u32 - 1).to_le_bytes())?;
        Ok(SUCCESS)
    }

    fn load_by_name(&mut self, name: (u32, u32), config: (u32, u32), out: u32) -> Result<u32> {
        let name = self.bytes(name.0, name.1.into())?;
        let name = expect!(std::str::from_utf8(name).ok(), INVALID_ARGUMENT);
        let configuration = self.bytes(config.0, config.1.into())?.to_vec();
        if self.host == Host::Ours {
            expect!(std::str::from_utf8(&configuration).ok(), INVALID_ARGUMENT);
        }
        let model = MODELS.iter().find(|(known, _)| *known == name);
        let (_, model) = expect!(model, NOT_FOUND);
        self.graphs.push(Some(Graph {
            model: *model,
            seed: 0,
            configuration,
        }));
        self.put(out, &(self.graphs.len() as u32 - 1).to_le_bytes())?;
        Ok(SUCCESS)
    }

    fn init(&mut self, graph: u32, out: u32) -> Result<u32> {
        let graph = expect!(live(&mut self.graphs, graph), INVALID_ARGUMENT).clone();
        if graph.model == Model::NoContext {
            return Ok(RUNTIME_ERROR);
        }
        let mut context = Context {
            model: graph.model,
            seed: graph.seed,
            inputs: BTreeMap::new(),
            outputs: Vec::new(),
            steps: Steps::default(),
        };
        if !graph.configuration.is_empty() {
            match self.host {
                // It travels as input 1.
                Host::Wasmtime | Host::Slots => {
                    let tensor = Tensor {
                        dimensions: vec![graph.configuration.len() as u32],
                        ty: TensorType::U8,
                        data: graph.configuration,
                    };
                    context.inputs.insert(1, tensor);
                }
                Host::Ours => {
                    context.seed = seed(0, [graph.configuration.as_slice()].into_iter());
                }
            }
        }
        self.contexts.push(Some(context));
        self.put(out, &(self.contexts.len() as u32 - 1).to_le_bytes())?;
        Ok(SUCCESS)
    }

    fn set_input(&mut self, context: u32, index: u32, record: u32) -> Result<u32> {
        expect!(live(&mut self.contexts, context), INVALID_ARGUMENT);
        let tag = self.bytes(record, 9)?[8];
        let mut ty = match tag {
            0 => TensorType::Fp16,
            1 => TensorType::Fp32,
            2 => TensorType::Fp64,
            3 => TensorType::U8,
            4 => TensorType::I32,
            5 => TensorType::I64,
            _ => return Ok(INVALID_ARGUMENT),
        };
        let field = |offset| self.word(record.checked_add(offset).ok_or(Beyond)?);
        let (dims, rank, data, length) = (field(0)?, field(4)?, field(12)?, field(16)?);
        let dims = self.bytes(dims, u64::from(rank) * 4)?;
        let dimensions: Vec<u32> = dims
            .as_chunks::<4>()
            .0
            .iter()
            .map(|word| u32::from_le_bytes(*word))
            .collect();
        if let Some(former) = former_type(tag, &dimensions, length.into()) {
            ty = former;
        }
        let tensor = Tensor {
            dimensions,
            ty,
            data: self.bytes(data, length.into())?.to_vec(),
        };
        let host = self.host;
        let context = expect!(live(&mut self.contexts, context), INVALID_ARGUMENT);
        if host != Host::Wasmtime && context.model.refuses(index, ty) {
            return Ok(RUNTIME_ERROR);
        }
        context.inputs.insert(index, tensor);
        // A new input begins a new computation.
        context.steps = Steps::default();
        Ok(SUCCESS)
    }

    fn get_output(
        &mut self,
        single: bool,
        context: u32,
        index: u32,
        (buffer, max): (u32, u32),
        out: u32,
    ) -> Result<u32> {
        let host = self.host;
        let context = expect!(live(&mut self.contexts, context), INVALID_ARGUMENT);
        let bytes = match context.steps.piece(index) {
            Some(piece) if single && host == Host::Ours => piece.to_vec(),
            _ => {
                let mut names = context.outputs.iter().map(|output| output.name.as_str());
                let (position, errno) = match host {
                    Host::Wasmtime => (position(names, index), INVALID_ARGUMENT),
                    // By index alone.
                    Host::Ours => {
                        let there = Some(index as usize).filter(|i| *i < names.count());
                        (there, INVALID_ARGUMENT)
                    }
                    // By name alone; what is wrong only the host knows.
                    Host::Slots => {
                        let name = index.to_string();
                        (names.position(|known| *known == name), RUNTIME_ERROR)
                    }
                };
                let position = expect!(position, errno);
                context.outputs[position].tensor.data.clone()
            }
        };
        if bytes.len() > max as usize {
            // This dialect says how much is needed.
            self.put(out, &(bytes.len() as u32).to_le_bytes())?;
            return Ok(TOO_LARGE);
        }
        if buffer as usize > self.memory.len() {
            return Err(Beyond);
        }
        self.put(buffer, &bytes)?;
        self.put(out, &(bytes.len() as u32).to_le_bytes())?;
        Ok(SUCCESS)
    }

    fn bytes(&self, at: u32, length: u64) -> Result<&[u8]> {
        let at = at as usize;
        let length = usize::try_from(length).map_err(|_| Beyond)?;
        self.memory
            .get(at..)
            .and_then(|rest| rest.get(..length))
            .ok_or(Beyond)
    }

    fn word(&self, at: u32) -> Result<u32> {
        let bytes = self.bytes(at, 4)?;
        Ok(u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]))
    }

    fn put(&mut self, at: u32, bytes: &[u8]) -> Result<()> {
        self.bytes(at, bytes.len() as u64)?;
        self.memory[at as usize..][..bytes.len()].copy_from_slice(bytes);
        Ok(())
    }

    /// Live graphs and contexts.
    pub fn alive(&self) -> (usize, usize) {
        (
            self.graphs.iter().flatten().count(),
            self.contexts.iter().flatten().count(),
        )
    }
}

fn live<T>(table: &mut [Option<T>], handle: u32) -> Option<&mut T> {
    table.get_mut(handle as usize)?.as_mut()
}

impl Context {
    fn run(&self) -> Option<Vec<NamedTensor>> {
        let refused = self
            .inputs
            .iter()
            .any(|(i, t)| self.model.refuses(*i, t.ty));
        if refused {
            return None;
        }
        self.model.run(self.seed, &self.inputs).ok()
    }

    fn compute(&mut self, host: Host) -> u32 {
        let Some(outputs) = self.run() else {
            return RUNTIME_ERROR;
        };
        self.outputs = outputs;
        if host == Host::Ours {
            self.steps = Steps::default();
        }
        SUCCESS
    }

    fn compute_single(&mut self, host: Host) -> u32 {
        match host {
            // Everything is one step.
            Host::Wasmtime | Host::Slots if self.steps.made() > 0 => END_OF_SEQUENCE,
            Host::Wasmtime | Host::Slots => {
                let errno = self.compute(host);
                if errno == SUCCESS {
                    self.steps.next(Vec::new());
                }
                errno
            }
            Host::Ours => {
                if self.steps.over() {
                    return END_OF_SEQUENCE;
                }
                let Some(outputs) = self.run() else {
                    return RUNTIME_ERROR;
                };
                self.steps.next(piece(&outputs, self.steps.made()));
                self.outputs = outputs;
                SUCCESS
            }
        }
    }
}
