//! What a backend is: three small traits, from format to model to computation.
//!
//! A [`Backend`] knows a model format. It loads a [`Graph`], which many threads may share. A graph
//! makes any number of [`ExecutionContext`]s, each used by one thread at a time. A further backend is
//! one file that implements these three and is registered with
//! [`RegistryBuilder::backend`](crate::RegistryBuilder::backend).
//!
//! Calls may take as long as they need: `load`, `compute` and `compute_step` are allowed to block, and
//! tell a [`Monitor`] how far they are. The others are expected to be quick, unless `may_block` says
//! otherwise; the host calls them on the guest's own thread.

use crate::metrics::Metrics;
use crate::{
    Bytes, Error, ErrorCode, Files, Limits, Monitor, OutputDescription, Scheduling, Tensor,
};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::path::PathBuf;
use std::pin::Pin;
use std::str::FromStr;
use std::sync::Arc;

pub mod device;
#[cfg(any(
    feature = "ggml",
    feature = "onnx",
    feature = "openvino",
    target_os = "linux"
))]
pub(crate) mod file_identity;
#[cfg(feature = "ggml")]
pub mod ggml;
#[cfg(any(feature = "ggml", feature = "onnx", feature = "openvino"))]
mod in_use;
pub mod language;
pub(crate) mod large_text;
#[cfg(feature = "onnx")]
pub mod onnx;
#[cfg(feature = "openvino")]
pub mod openvino;
#[cfg(any(feature = "onnx", feature = "openvino"))]
mod tensors;

pub use device::{Device, DeviceKind, DeviceMemory};
pub use language::{LanguageContext, LanguageModel};

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
}

/// The kind of device that should compute.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
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
        impl $ty {
            /// The name that command lines use.
            pub fn name(self) -> &'static str {
                name_of(&Self::NAMES, self)
            }
        }

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

named! { Encoding Target DeviceKind }

/// Where a model comes from.
#[derive(Clone, Debug)]
pub enum Source {
    /// Bytes that a guest passed, one element for each file of the model.
    Bytes(Vec<Vec<u8>>),
    /// Files of the host.
    Files(Vec<PathBuf>),
}

/// A model to load.
#[derive(Clone)]
pub struct LoadRequest<'a> {
    /// Where it comes from.
    pub source: Source,
    /// The device that should compute.
    pub target: Target,
    /// JSON objects of the backend's options; a later one overrides an earlier one.
    pub configurations: &'a [&'a str],
    /// Hears of the loading's progress, and of that of what the model computes.
    pub monitor: Monitor,
    /// The files that options may name: those that the guest sees.
    pub files: Files,
    /// The number of the guest that loads it: guests get equal shares of a model.
    pub guest: u64,
    /// What this guest may take.
    pub limits: &'a Limits,
    /// How guests share it.
    pub scheduling: Scheduling,
    /// Counts what is computed.
    pub metrics: Metrics,
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

    /// The devices that this backend can compute on. Fails if the backend's library is not there; the
    /// error says how to install it.
    fn devices(&self) -> Result<Vec<Device>, Error>;

    /// Loads the backend's library, and starts what of its devices a target takes, as far as that can be done before
    /// there is a model. Gives whether a GPU may compute. A worker process calls it before it shuts itself in, since
    /// drivers want more of the system as they start than later.
    fn prepare(&self, target: Target) -> Result<bool, Error> {
        let devices = self.devices()?;
        Ok(target != Target::Cpu && devices.iter().any(|device| device.kind.is_gpu()))
    }

    /// Loads a model.
    fn load(&self, request: LoadRequest<'_>) -> Result<Arc<dyn Graph>, Error>;
}

/// One backend of several registries, which share the weights that it has loaded.
impl<B: Backend + ?Sized> Backend for Arc<B> {
    fn name(&self) -> &str {
        (**self).name()
    }

    fn encodings(&self) -> &[Encoding] {
        (**self).encodings()
    }

    fn recognizes(&self, start: &[u8]) -> bool {
        (**self).recognizes(start)
    }

    fn devices(&self) -> Result<Vec<Device>, Error> {
        (**self).devices()
    }

    fn prepare(&self, target: Target) -> Result<bool, Error> {
        (**self).prepare(target)
    }

    fn load(&self, request: LoadRequest<'_>) -> Result<Arc<dyn Graph>, Error> {
        (**self).load(request)
    }
}

/// How far to compute.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Steps {
    /// To the end.
    All,
    /// One step.
    One,
}

/// A computation that is under way.
pub type Computing<'a> = Pin<Box<dyn Future<Output = Result<(), Error>> + Send + 'a>>;

/// A loaded model.
pub trait Graph: Send + Sync {
    /// Makes a context in which this model can compute. The context keeps what it needs of the graph.
    fn init_execution_context(&self) -> Result<Box<dyn ExecutionContext>, Error>;

    /// The same model as a language model, if it is one.
    fn language(&self) -> Option<&dyn LanguageModel> {
        None
    }

    /// Whether its functions may block, for an answer of another process or for what computes: a host of many guests
    /// calls them on a thread where they may.
    fn may_block(&self) -> bool {
        false
    }
}

/// A place to compute with one graph. Inputs stay until they are set again, outputs until the next
/// computation succeeds; those of a language model until the next one begins.
pub trait ExecutionContext: Send {
    /// Takes the tensor that input `index` holds, so that the caller fills its allocation anew and
    /// passes it to [`set_input`](Self::set_input). Until then the input counts as not set. A backend
    /// that keeps inputs in another form returns `None`.
    fn take_input(&mut self, index: u32) -> Option<Tensor>;

    /// Sets input `index`, in place of an earlier one.
    fn set_input(&mut self, index: u32, tensor: Tensor) -> Result<(), Error>;

    /// The index of the input with this name: by default the decimal number that it is.
    fn input_index(&self, name: &str) -> Result<u32, Error> {
        find_by_name("input", name, &[])
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

    /// As [`compute`](Self::compute) or [`compute_step`](Self::compute_step), for a context whose computations
    /// wait for another thread: nobody's thread has to wait with it. What is dropped before its end ends
    /// within a step. Others return `None`; a host calls those on a thread where they may block.
    fn compute_async(&mut self, steps: Steps) -> Option<Computing<'_>> {
        let _ = steps;
        None
    }

    /// Ends a computation made in steps and empties its outputs: the next step begins anew.
    fn finish(&mut self) -> Result<(), Error> {
        Ok(())
    }

    /// How many outputs there are; their indexes count from 0.
    fn outputs(&self) -> u32;

    /// The name of output `index` in `wasi:nn`'s list of outputs.
    fn output_name(&self, index: u32) -> String {
        index.to_string()
    }

    /// The index of the output with this name: by default the decimal number that it is.
    fn output_index(&self, name: &str) -> Result<u32, Error> {
        find_by_name("output", name, &[])
    }

    /// What output `index` is.
    fn describe_output(&self, index: u32) -> Result<OutputDescription, Error>;

    /// The elements of output `index`.
    fn output(&self, index: u32) -> Result<Bytes, Error>;

    /// What the last step added to output `index`.
    fn step_output(&self, index: u32) -> Result<Bytes, Error> {
        self.output(index)
    }

    /// Whether functions may block that are quick as a rule, since the model is in another process: a host of many
    /// guests calls them on a thread where they may.
    fn may_block(&self) -> bool {
        false
    }

    /// What ends a computation of this context alone, from another thread: a child of the request's monitor. `None` if
    /// nothing can.
    fn monitor(&self) -> Option<Monitor> {
        None
    }

    /// The same context as one of a language model, if it is one.
    fn language(&mut self) -> Option<&mut dyn LanguageContext> {
        None
    }
}

/// Finds an input or output for backends: by one of the model's own `names`, else by the decimal index
/// that the name is. `what` is for the error.
pub fn find_by_name(what: &str, name: &str, names: &[String]) -> Result<u32, Error> {
    let position = names.iter().position(|known| known == name);
    let found = match position {
        Some(position) => u32::try_from(position).ok(),
        // Without a sign, which numbers in programs may have.
        None if !name.bytes().all(|byte| byte.is_ascii_digit()) => None,
        None => name.parse().ok().filter(|index| {
            // An unknown number of them is checked by whoever uses the index.
            names.is_empty() || usize::try_from(*index).is_ok_and(|index| index < names.len())
        }),
    };
    found.ok_or_else(|| {
        let known = match names {
            [] => format!("the decimal index of an {what}, such as `0`"),
            _ => format!(
                "one of the model's {what}s ({}) or an index below {}",
                list(names),
                names.len()
            ),
        };
        Error::new(
            ErrorCode::NotFound,
            format!("expected {known}, found `{}`", shorten(name)),
        )
    })
}

/// Names in backquotes, separated by commas; of many only the first.
pub(crate) fn list(names: &[String]) -> String {
    const LIMIT: usize = 20;
    let mut text: Vec<_> = names
        .iter()
        .take(LIMIT)
        .map(|name| format!("`{}`", shorten(name)))
        .collect();
    if names.len() > LIMIT {
        text.push(format!("and {} more", names.len() - LIMIT));
    }
    text.join(", ")
}

/// A foreign text of several lines in a message: on one line, and bounded.
#[cfg(any(feature = "onnx", feature = "openvino"))]
pub(crate) fn brief<'t>(lines: impl Iterator<Item = &'t str>) -> String {
    let lines: Vec<_> = lines
        .map(str::trim)
        .filter(|line| !line.is_empty())
        .take(8)
        .collect();
    shorten_to(1000, &lines.join(": "))
}

/// A foreign text in a message, bounded.
pub(crate) fn shorten(text: &str) -> String {
    shorten_to(200, text)
}

fn shorten_to(limit: usize, text: &str) -> String {
    if text.chars().nth(limit).is_none() {
        text.to_owned()
    } else {
        text.chars().take(limit).chain(['…']).collect()
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
