//! What a backend is: three small traits, from format to model to computation.
//!
//! A [`Backend`] knows a model format. It loads a [`Graph`], which many threads may share. A graph
//! makes any number of [`ExecutionContext`]s, each used by one thread at a time. A further backend is
//! one file that implements these three and is registered with
//! [`RegistryBuilder::backend`](crate::RegistryBuilder::backend).
//!
//! Calls may take as long as they need: `load`, `compute` and `compute_step` are allowed to block.
//! The others are expected to be quick; the host calls them on the guest's own thread.

use crate::{Bytes, Error, ErrorCode, OutputDescription, Tensor};
use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;

pub mod ggml;

/// The format of a model's bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Encoding {
    /// OpenVINO IR.
    OpenVino,
    /// ONNX.
    Onnx,
    /// TensorFlow.
    TensorFlow,
    /// PyTorch.
    PyTorch,
    /// TensorFlow Lite.
    TensorFlowLite,
    /// GGUF, by llama.cpp.
    Ggml,
    /// Whatever the bytes say.
    Autodetect,
}

impl Encoding {
    /// Every encoding with the name that command lines use.
    pub const NAMES: [(Self, &'static str); 7] = [
        (Self::OpenVino, "OpenVINO"),
        (Self::Onnx, "ONNX"),
        (Self::TensorFlow, "TensorFlow"),
        (Self::PyTorch, "PyTorch"),
        (Self::TensorFlowLite, "TensorFlowLite"),
        (Self::Ggml, "GGML"),
        (Self::Autodetect, "AutoDetect"),
    ];

    /// The name that command lines use.
    pub fn name(self) -> &'static str {
        name_of(&Self::NAMES, self)
    }
}

/// The kind of device that should compute.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Target {
    /// The processor.
    Cpu,
    /// A graphics card.
    Gpu,
    /// A tensor processing unit.
    Tpu,
    /// What there is.
    Auto,
}

impl Target {
    /// Every target with the name that command lines use.
    pub const NAMES: [(Self, &'static str); 4] = [
        (Self::Cpu, "CPU"),
        (Self::Gpu, "GPU"),
        (Self::Tpu, "TPU"),
        (Self::Auto, "AUTO"),
    ];

    /// The name that command lines use.
    pub fn name(self) -> &'static str {
        name_of(&Self::NAMES, self)
    }
}

fn name_of<T: Copy + PartialEq>(names: &[(T, &'static str)], value: T) -> &'static str {
    names
        .iter()
        .find(|(candidate, _)| *candidate == value)
        .map_or("?", |(_, name)| name)
}

/// A name that is none of those allowed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected one of {allowed}, found `{found}`")]
pub struct UnknownName {
    /// The name.
    pub found: String,
    /// The names there are, separated by commas.
    pub allowed: String,
}

fn parse_name<T: Copy>(names: &[(T, &'static str)], text: &str) -> Result<T, UnknownName> {
    names
        .iter()
        .find(|(_, name)| name.eq_ignore_ascii_case(text))
        .map(|(value, _)| *value)
        .ok_or_else(|| UnknownName {
            found: text.to_owned(),
            allowed: names
                .iter()
                .map(|(_, name)| *name)
                .collect::<Vec<_>>()
                .join(", "),
        })
}

macro_rules! named {
    ($($ty:ty)*) => ($(
        impl fmt::Display for $ty {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.name())
            }
        }

        impl FromStr for $ty {
            type Err = UnknownName;

            /// Case does not matter.
            fn from_str(text: &str) -> Result<Self, UnknownName> {
                parse_name(&Self::NAMES, text)
            }
        }
    )*)
}

named! { Encoding Target }

/// Where a model comes from.
#[derive(Clone, Debug)]
pub enum Source {
    /// Bytes that a guest passed, one element for each file of the model.
    Bytes(Vec<Vec<u8>>),
    /// Files of the host.
    Files(Vec<PathBuf>),
}

/// A model format and the means to load it.
pub trait Backend: Send + Sync {
    /// A short name for people, such as `llama.cpp`.
    fn name(&self) -> &str;

    /// The formats that this backend loads.
    fn encodings(&self) -> &[Encoding];

    /// Whether a model that starts with these bytes is for this backend: answers
    /// [`Encoding::Autodetect`].
    fn recognizes(&self, start: &[u8]) -> bool;

    /// Loads a model. `configurations` are JSON objects; a later one overrides an earlier one.
    fn load(
        &self,
        source: Source,
        target: Target,
        configurations: &[&str],
    ) -> Result<Arc<dyn Graph>, Error>;
}

/// A loaded model.
pub trait Graph: Send + Sync {
    /// Makes a context in which this model can compute. The context keeps what it needs of the graph.
    fn init_execution_context(&self) -> Result<Box<dyn ExecutionContext>, Error>;
}

/// A place to compute with one graph. Inputs stay until they are set again, outputs until the next
/// computation succeeds.
pub trait ExecutionContext: Send {
    /// Takes the tensor that input `index` holds, so that the caller fills its allocation anew and
    /// passes it to [`set_input`](Self::set_input). Until then the input counts as not set. A backend
    /// that keeps inputs in another form returns `None`.
    fn take_input(&mut self, index: u32) -> Option<Tensor>;

    /// Sets input `index`, in place of an earlier one.
    fn set_input(&mut self, index: u32, tensor: Tensor) -> Result<(), Error>;

    /// Sets the input with this name: by default a decimal index.
    fn set_input_by_name(&mut self, name: &str, tensor: Tensor) -> Result<(), Error> {
        match name.parse() {
            Ok(index) => self.set_input(index, tensor),
            Err(_) => Err(Error::invalid(format!(
                "expected the decimal index of an input as its name, such as `0`, found `{name}`"
            ))),
        }
    }

    /// Forgets every input.
    fn clear_inputs(&mut self);

    /// Computes with the inputs set so far, to the end.
    fn compute(&mut self) -> Result<(), Error>;

    /// Computes one step, for a language model one token; the first step evaluates the prompt.
    fn compute_step(&mut self) -> Result<(), Error> {
        Err(Error::new(
            ErrorCode::UnsupportedOperation,
            "this model does not compute in steps: call `compute` instead",
        ))
    }

    /// Ends a computation made in steps, so that the next step begins anew.
    fn finish(&mut self) -> Result<(), Error> {
        Ok(())
    }

    /// How many outputs there are; their indexes count from 0.
    fn outputs(&self) -> u32;

    /// The name of output `index` in `wasi:nn`'s list of outputs.
    fn output_name(&self, index: u32) -> String {
        index.to_string()
    }

    /// What output `index` is.
    fn describe_output(&self, index: u32) -> Result<OutputDescription, Error>;

    /// The elements of output `index`.
    fn output(&self, index: u32) -> Result<Bytes, Error>;

    /// What the last step added to output `index`.
    fn step_output(&self, index: u32) -> Result<Bytes, Error> {
        self.output(index)
    }
}

/// The failure for an output that is not there, for backends to share.
pub fn no_such_output(index: u32, outputs: u32) -> Error {
    Error::invalid(format!(
        "expected an output index below {outputs}, found {index}"
    ))
}

/// The failure for an output that is read before the model computed, for backends to share.
pub fn no_output_yet(index: u32) -> Error {
    Error::new(
        ErrorCode::RuntimeError,
        format!("output {index} is not there yet: call `compute` first"),
    )
}
