//! What the functions of both WIT packages do, whatever carries their values.
//!
//! The host's own functions on Wasmtime are made of these, and so are bindings for other WebAssembly
//! runtimes. Everything else is a method of [`Registry`](crate::Registry) and of the traits in
//! [`backend`](crate::backend).

use crate::backend::language::Candidate;
use crate::backend::{ExecutionContext, Graph, LanguageContext, LanguageModel};
use crate::{Bytes, Error, ErrorCode, SharedTensor, Tensor, TensorType};

/// The most candidates at one place that a guest gets.
const MAX_CANDIDATES: u32 = 1000;

/// `compute` of `wasi:nn`: all inputs by name, then all outputs by name. What an earlier call set is
/// forgotten.
pub fn compute(
    context: &mut dyn ExecutionContext,
    inputs: impl IntoIterator<Item = (String, Tensor)>,
) -> Result<Vec<(String, SharedTensor)>, Error> {
    set_inputs(context, inputs)?;
    context.compute()?;
    outputs(context)
}

/// The first part of [`compute`]: all inputs by name.
pub fn set_inputs(
    context: &mut dyn ExecutionContext,
    inputs: impl IntoIterator<Item = (String, Tensor)>,
) -> Result<(), Error> {
    context.clear_inputs();
    for (name, tensor) in inputs {
        set_input(context, &name, tensor)?;
    }
    Ok(())
}

/// `set-input` of `wasi:nn`: one by name.
pub fn set_input(
    context: &mut dyn ExecutionContext,
    name: &str,
    tensor: Tensor,
) -> Result<(), Error> {
    let index = context.input_index(name)?;
    context.set_input(index, tensor)
}

/// `get-output` of `wasi:nn`: one by name.
pub fn output(context: &dyn ExecutionContext, name: &str) -> Result<SharedTensor, Error> {
    let index = context.output_index(name)?;
    SharedTensor::of_output(context, index)
}

/// The last part of [`compute`]: all outputs by name. One whose type `wasi:nn` does not have is an empty tensor, so that
/// the others can be read, and have their places.
pub fn outputs(context: &dyn ExecutionContext) -> Result<Vec<(String, SharedTensor)>, Error> {
    (0..context.outputs())
        .map(|index| {
            let tensor = match SharedTensor::of_output(context, index) {
                Err(error) if error.code == ErrorCode::UnsupportedOperation => SharedTensor {
                    dimensions: vec![0],
                    ty: TensorType::U8,
                    data: Bytes::default(),
                },
                tensor => tensor?,
            };
            Ok((context.output_name(index), tensor))
        })
        .collect()
}

/// The tensor for `set-input` to fill, with the allocation of the input that it replaces.
pub fn fill_input(
    old: Option<Tensor>,
    index: u32,
    dimensions: impl ExactSizeIterator<Item = u32>,
    ty: TensorType,
    data: &[u8],
) -> Result<Tensor, Error> {
    let mut input = old.unwrap_or_else(Tensor::empty);
    input.ty = ty;
    input.dimensions.clear();
    input.data.clear();
    if input.data.try_reserve_exact(data.len()).is_err()
        || input
            .dimensions
            .try_reserve_exact(dimensions.len())
            .is_err()
    {
        return Err(Error::new(
            ErrorCode::TooLarge,
            format!(
                "input {index} has {} bytes, and the host has no memory for them",
                data.len()
            ),
        ));
    }
    input.dimensions.extend(dimensions);
    input.data.extend_from_slice(data);
    Ok(input)
}

/// Why an output could not be read: `read-error` of `llm-wasi:nn/inference`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReadError {
    /// It has this many bytes, more than the guest takes; `u32::MAX` stands for more than that.
    TooSmall(u32),
    /// There is no such output, or none yet.
    Failed(Error),
}

/// `read-output` and `read-step-output` of an output that the context gave.
pub fn read(output: Result<Bytes, Error>, max: u32) -> Result<Bytes, ReadError> {
    match output {
        Ok(bytes) if bytes.len() <= max as usize => Ok(bytes),
        Ok(bytes) => Err(ReadError::TooSmall(
            u32::try_from(bytes.len()).unwrap_or(u32::MAX),
        )),
        Err(error) => Err(ReadError::Failed(error)),
    }
}

/// The graph as a language model.
pub fn language_model(graph: &dyn Graph) -> Result<&dyn LanguageModel, Error> {
    graph.language().ok_or_else(no_language_model)
}

/// The context as one of a language model.
pub fn language_context(
    context: &mut dyn ExecutionContext,
) -> Result<&mut dyn LanguageContext, Error> {
    context.language().ok_or_else(no_language_model)
}

/// `candidates` of `llm-wasi:nn/language`.
pub fn candidates(
    context: &mut dyn ExecutionContext,
    most: u32,
) -> Result<(Candidate, Vec<Candidate>), Error> {
    language_context(context)?.candidates(most.min(MAX_CANDIDATES) as usize)
}

fn no_language_model() -> Error {
    Error::new(
        ErrorCode::UnsupportedOperation,
        "expected a language model in GGUF, found another kind of model",
    )
}
