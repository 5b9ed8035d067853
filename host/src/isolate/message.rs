//! What host and worker say to each other. Both are of one build, so that nothing here has versions.
//!
//! | stream | what |
//! |---|---|
//! | the worker's standard input | [`Hello`] and its answer; then [`Command`], each [`Command::Graph`] and [`Command::Context`] with a stream of its own, and against them [`Figures`] |
//! | one for each graph | [`ToGraph`], each with a [`FromGraph::Done`], and progress before it |
//! | one for each context | [`ToContext`], each with a [`FromContext::Done`], and progress before it |

use crate::backend::Target;
use crate::backend::language::{Candidate, LanguageDescription, TokenUsage};
use crate::figures::Figure;
use crate::{Error, OutputDescription, Progress, TensorType};
use serde::{Deserialize, Serialize};
use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

/// What both sides must have in common.
pub(super) const BUILD: &str = env!("CARGO_PKG_VERSION");

/// How many bytes of outputs come with an answer: what a guest does not read costs little then.
pub(super) const MOST_AHEAD: usize = 1 << 20;

/// A path, which need not be UTF-8.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Bytes(Vec<u8>);

impl From<&Path> for Bytes {
    fn from(path: &Path) -> Self {
        Self(path.as_os_str().as_bytes().to_vec())
    }
}

impl From<Bytes> for PathBuf {
    fn from(path: Bytes) -> Self {
        OsString::from_vec(path.0).into()
    }
}

/// What a worker is for.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Hello {
    pub(super) build: String,
    /// The name of the backend.
    pub(super) backend: String,
    pub(super) target: Target,
    /// The files of the model, to be read.
    pub(super) readable: Vec<Bytes>,
    /// A folder for files of its own, if it gets one.
    pub(super) scratch: Option<Bytes>,
    /// How many bytes its address space may have.
    pub(super) memory: Option<u64>,
    /// Whether to end if the system lacks a part of the sandbox.
    pub(super) strict: bool,
    /// Whether models may write to standard output.
    pub(super) writes: bool,
}

/// What the system cannot enforce.
pub(super) type Welcome = Result<Vec<String>, Error>;

/// What the worker has counted since the last time, here or in an answer.
pub(super) type Figures = Vec<Figure>;

/// From the host, without an answer on this stream.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Command {
    /// A stream for a graph; the first message there loads it.
    Graph { graph: u64 },
    /// A stream for a context of this graph; its first answer comes unasked.
    Context { graph: u64 },
    /// The host's monitor wants this call to end.
    Interrupt { graph: u64, call: u64 },
}

/// A model to load. Those of bytes have them in blobs.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Load {
    /// Its files; none if it is made of bytes.
    pub(super) files: Option<Vec<Bytes>>,
    pub(super) target: Target,
    pub(super) configurations: Vec<String>,
    /// Whether somebody hears of progress.
    pub(super) progress: bool,
    /// Whose graph it is, how guests share the model, and what they may pass to it.
    pub(super) guest: u64,
    pub(super) parallel: usize,
    pub(super) queue: usize,
    pub(super) prefixes: usize,
    pub(super) batch: usize,
    pub(super) prompt_tokens: usize,
    pub(super) options: usize,
    /// Whether the time of phases is taken.
    pub(super) timings: bool,
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) enum ToGraph {
    Load(Load),
    Tokenize { text: String, special: bool },
    Detokenize { tokens: Vec<u32> },
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) enum FromGraph {
    Progress(Progress),
    Done(Result<OfGraph, Error>),
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) enum OfGraph {
    /// Loaded; with a description if it is a language model.
    Loaded(Option<LanguageDescription>),
    Tokens(Vec<u32>),
    Text(Vec<u8>),
}

/// A call of a context's function, and what happened to the context since the last one.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct ToContext {
    /// The call's number among those of the graph.
    pub(super) call: u64,
    /// Whether inputs are cleared before.
    pub(super) clear: bool,
    /// Inputs that were taken, and not set again.
    pub(super) taken: Vec<u32>,
    /// Whether the host's monitor wants the call to end, before it has begun.
    pub(super) interrupted: bool,
    pub(super) function: Function,
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Function {
    /// With the elements in a blob.
    SetInput {
        index: u32,
        dimensions: Vec<u32>,
        ty: TensorType,
    },
    InputIndex(String),
    Compute,
    ComputeStep,
    Finish,
    Outputs,
    OutputName(u32),
    OutputIndex(String),
    DescribeOutput(u32),
    Output(u32),
    StepOutput(u32),
    SetPrompt(Vec<u32>),
    ContextLength,
    Candidates(u64),
    Generated,
    Usage,
}

impl Function {
    /// Whether outputs may be others behind it.
    pub(super) fn changes(&self) -> bool {
        matches!(
            self,
            Self::SetInput { .. }
                | Self::Compute
                | Self::ComputeStep
                | Self::Finish
                | Self::SetPrompt(_)
                | Self::ContextLength
        )
    }

    /// Whether an interrupt is meant for it.
    pub(super) fn computes(&self) -> bool {
        matches!(self, Self::Compute | Self::ComputeStep)
    }
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) enum FromContext {
    Progress(Progress),
    Done(Answer),
}

/// What a call gives.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Answer {
    pub(super) result: Result<Value, Error>,
    /// Whether an interrupt was heard.
    pub(super) interrupted: bool,
    /// What the guest is likely to ask for next.
    pub(super) ahead: Ahead,
    pub(super) figures: Figures,
    /// How many bytes the worker has written to standard output so far.
    pub(super) printed: u64,
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Value {
    Nothing,
    Number(u32),
    Name(String),
    Description(OutputDescription),
    /// The first blob.
    Elements,
    Tokens(Vec<u32>),
    Candidates(Candidate, Vec<Candidate>),
    Usage(TokenUsage),
}

/// What is known of a context without a further question.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Ahead {
    /// How many outputs there are.
    pub(super) outputs: Option<u32>,
    pub(super) descriptions: Vec<(u32, OutputDescription)>,
    /// Outputs whose elements are in the blobs, the last ones of them in this order.
    pub(super) elements: Vec<Output>,
    pub(super) usage: Option<TokenUsage>,
}

/// An output, as a whole or what the last step added.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(super) enum Output {
    Whole(u32),
    Step(u32),
}
