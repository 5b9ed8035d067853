//! A model in ONNX Runtime.

use super::TITLE;
use super::runtime::{Runtime, runtime};
use super::stoppable::Stoppable;
use crate::backend::tensors::cancel::Cancel;
use crate::backend::tensors::context::{Done, Infer, Signature, View};
use crate::backend::tensors::guard;
use crate::backend::tensors::options::Options;
use crate::backend::tensors::port::{Port, PortType, Size};
use crate::backend::{Target, brief};
use crate::{Error, ErrorCode, Tensor, TensorType};
use half::{bf16, f16};
use ort::environment::Environment;
use ort::ep::CUDA;
use ort::session::{Session, SessionInputValue};
use ort::value::{
    DynValue, Outlet, PrimitiveTensorElementType, TensorElementType, TensorRef, ValueType,
};
use std::fmt::Debug;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// A model in memory.
pub(super) struct Model {
    pub(super) signature: Arc<Signature>,
    /// One inference at a time: `ort` holds that the library's own promise to run several is not kept.
    /// Each uses all threads anyway.
    session: Mutex<Session>,
    /// Asks for the outputs that have a type in `wasi:nn`.
    run: Stoppable,
}

/// What computes with a model.
pub(super) struct Run(pub(super) Arc<Model>);

/// A model's bytes or its file.
#[derive(Clone, Copy)]
enum Origin<'a> {
    Bytes(&'a [u8]),
    File(&'a Path),
}

impl Model {
    pub(super) fn from_bytes(
        bytes: &[u8],
        target: Target,
        options: Options,
    ) -> Result<Self, Error> {
        Self::load(Origin::Bytes(bytes), target, options)
    }

    pub(super) fn from_file(path: &Path, target: Target, options: Options) -> Result<Self, Error> {
        Self::load(Origin::File(path), target, options)
    }

    fn load(origin: Origin<'_>, target: Target, options: Options) -> Result<Self, Error> {
        let session = open(runtime()?, origin, target, options)?;
        let signature = Signature::new(ports(session.inputs()), ports(session.outputs()))?;
        let readable = signature
            .outputs
            .iter()
            .filter(|port| port.tensor_type().is_some());
        let run = Stoppable::new(readable.map(|port| port.name.as_str())).map_err(failed)?;
        Ok(Self {
            signature: Arc::new(signature),
            session: Mutex::new(session),
            run,
        })
    }
}

/// A model that gives what it gets: a vector of one number.
const IDENTITY: &[u8] = b"\x08\x08\x42\x02\x10\x11\x3a\x37\
    \x0a\x10\x0a\x01x\x12\x01y\x22\x08Identity\x12\x01g\
    \x5a\x0f\x0a\x01x\x12\x0a\x0a\x08\x08\x01\x12\x04\x0a\x02\x08\x01\
    \x62\x0f\x0a\x01y\x12\x0a\x0a\x08\x08\x01\x12\x04\x0a\x02\x08\x01";

/// Starts CUDA for this process, which only a model does.
pub(super) fn start_cuda(runtime: &Runtime) -> Result<(), Error> {
    let environment = runtime.environment()?;
    let origin = Origin::Bytes(IDENTITY);
    guard(TITLE, || {
        let session = commit(environment, origin, true, Options::default());
        session.map_err(|error| unloadable(origin, &error))
    })?;
    Ok(())
}

/// Opens the model on the target's device.
fn open(
    runtime: &Runtime,
    origin: Origin<'_>,
    target: Target,
    options: Options,
) -> Result<Session, Error> {
    let environment = runtime.environment()?;
    let on_cpu =
        || commit(environment, origin, false, options).map_err(|error| unloadable(origin, &error));
    let on_cuda = || commit(environment, origin, true, options);
    let devices = runtime.device_names();
    match target {
        Target::Cpu => on_cpu(),
        Target::Gpu if runtime.has_cuda => on_cuda().map_err(|error| unloadable(origin, &error)),
        Target::Gpu => Err(Error::new(
            ErrorCode::UnsupportedOperation,
            format!(
                "expected {TITLE} with CUDA for target GPU, found one for {devices}: install it \
                 (pip install onnxruntime-gpu), or ask for target CPU or AUTO"
            ),
        )),
        Target::Auto if runtime.has_cuda => match on_cuda() {
            Ok(session) => {
                tracing::info!("target AUTO: CUDA");
                Ok(session)
            }
            Err(error) => {
                tracing::info!("target AUTO: the CPU, as CUDA fails: {}", message(&error));
                on_cpu()
            }
        },
        Target::Auto => {
            tracing::info!("target AUTO: the CPU, as this {TITLE} is for {devices}");
            on_cpu()
        }
        Target::Tpu => Err(Error::new(
            ErrorCode::UnsupportedOperation,
            format!("expected target CPU, GPU or AUTO, found TPU: {TITLE} here is for {devices}"),
        )),
    }
}

fn commit(
    environment: &Environment,
    origin: Origin<'_>,
    cuda: bool,
    options: Options,
) -> ort::Result<Session> {
    let mut builder = Session::builder(environment)?;
    if options.threads > 0 {
        builder = builder.with_intra_threads(options.threads.into())?;
    }
    if cuda {
        // Without this, a failure means the CPU in silence.
        let provider = CUDA::default().build().error_on_failure();
        builder = builder.with_execution_providers([provider])?;
    }
    match origin {
        // The library's own format is not looked through before.
        Origin::Bytes(bytes) => builder
            .with_config_entry("session.load_model_format", "ONNX")?
            .commit_from_memory(bytes),
        Origin::File(path) => builder.commit_from_file(path),
    }
}

fn unloadable(origin: Origin<'_>, error: &ort::Error) -> Error {
    let what = match origin {
        Origin::Bytes(bytes) => format!("the model of {} bytes", bytes.len()),
        Origin::File(path) => path.display().to_string(),
    };
    Error::invalid(format!("{TITLE} cannot load {what}: {}", message(error)))
}

fn message(error: &ort::Error) -> String {
    without_places(error.message())
}

/// What the library says, without the places in its sources.
fn without_places(text: &str) -> String {
    let Some((before, place)) = text.split_once("/onnxruntime_src/") else {
        return brief(text.lines());
    };
    // `FILE:LINE RESULT NAMESPACE::FUNCTION(TYPES) TEXT`, where types have parentheses of their own.
    let mut depth = 0;
    let end = place.char_indices().find(|(_, c)| {
        depth += match c {
            '(' => 1,
            ')' => -1,
            _ => return false,
        };
        depth == 0
    });
    let said = match end {
        Some((end, _)) if place.contains("onnxruntime::") => &place[end + 1..],
        _ => place,
    };
    brief(
        before
            .trim_end_matches([':', ' '])
            .lines()
            .chain(said.lines()),
    )
}

fn failed(error: ort::Error) -> Error {
    let code = match error.code() {
        ort::ErrorCode::InvalidArgument => ErrorCode::InvalidArgument,
        _ => ErrorCode::RuntimeError,
    };
    Error::new(code, format!("{TITLE}: {}", message(&error)))
}

fn ports(outlets: &[Outlet]) -> Vec<Port> {
    outlets.iter().map(port).collect()
}

fn port(outlet: &Outlet) -> Port {
    let name = outlet.name().to_owned();
    match outlet.dtype() {
        ValueType::Tensor { ty, shape, .. } => Port {
            name,
            ty: match tensor_type(*ty) {
                Some(ty) => PortType::Tensor(ty),
                None => PortType::Other(ty.to_string()),
            },
            // The library tells a scalar as it tells a shape it does not know.
            dimensions: (!shape.is_empty())
                .then(|| shape.iter().map(|size| Size::new(*size, *size)).collect()),
        },
        other => Port {
            name,
            ty: PortType::Other(other.to_string()),
            dimensions: None,
        },
    }
}

fn tensor_type(ty: TensorElementType) -> Option<TensorType> {
    match ty {
        TensorElementType::Float16 => Some(TensorType::F16),
        TensorElementType::Float32 => Some(TensorType::F32),
        TensorElementType::Float64 => Some(TensorType::F64),
        TensorElementType::Bfloat16 => Some(TensorType::Bf16),
        TensorElementType::Uint8 => Some(TensorType::U8),
        TensorElementType::Int32 => Some(TensorType::I32),
        TensorElementType::Int64 => Some(TensorType::I64),
        _ => None,
    }
}

impl Infer for Run {
    fn infer(
        &mut self,
        inputs: &[&Tensor],
        cancel: &Cancel,
        done: &mut Done<'_>,
    ) -> Result<(), Error> {
        let Model {
            signature,
            session,
            run,
        } = &*self.0;
        let values = inputs
            .iter()
            .zip(&signature.inputs)
            .map(|(tensor, port)| Ok((port.name.as_str(), value(tensor)?)))
            .collect::<ort::Result<Vec<_>>>()
            .map_err(failed)?;
        guard(TITLE, || {
            let mut session = session.lock().unwrap_or_else(PoisonError::into_inner);
            let model = self.0.clone();
            // For those who have the session next, even after a panic.
            let _stopped = Stopped { run, cancel };
            let outputs = cancel.during(
                move || model.run.stop(),
                || {
                    let outputs = session.run_with_options(values, run.options());
                    outputs.map_err(failed)
                },
            )?;
            // In the order of the ports that were asked for.
            let outputs: Vec<_> = outputs.values().collect();
            let mut outputs = outputs.iter();
            let views = signature.outputs.iter().map(|port| {
                let Some(ty) = port.tensor_type() else {
                    return Ok(None);
                };
                let output = outputs.next().ok_or_else(|| {
                    Error::new(
                        ErrorCode::RuntimeError,
                        format!("{TITLE} has not computed output `{}`", port.name),
                    )
                })?;
                view(output, ty).map(Some)
            });
            done(&views.collect::<Result<Vec<_>, Error>>()?)
        })
    }
}

/// Lets others compute after a computation that may have been stopped.
struct Stopped<'a> {
    run: &'a Stoppable,
    cancel: &'a Cancel,
}

impl Drop for Stopped<'_> {
    fn drop(&mut self) {
        if self.cancel.is_cancelled() {
            self.run.go_on();
        }
    }
}

/// A tensor as the library takes it: the same bytes, if they lie where such elements may lie.
fn value(tensor: &Tensor) -> ort::Result<SessionInputValue<'_>> {
    let dimensions = tensor
        .dimensions
        .iter()
        .map(|size| i64::from(*size))
        .collect();
    let bytes = tensor.data.as_slice();
    match tensor.ty {
        TensorType::F16 => elements::<f16>(dimensions, bytes),
        TensorType::F32 => elements::<f32>(dimensions, bytes),
        TensorType::F64 => elements::<f64>(dimensions, bytes),
        TensorType::Bf16 => elements::<bf16>(dimensions, bytes),
        TensorType::U8 => elements::<u8>(dimensions, bytes),
        TensorType::I32 => elements::<i32>(dimensions, bytes),
        TensorType::I64 => elements::<i64>(dimensions, bytes),
    }
}

/// The type of an element on both sides.
trait Element:
    PrimitiveTensorElementType
    + FromBytes
    + IntoBytes
    + Immutable
    + KnownLayout
    + Clone
    + Debug
    + 'static
{
}

impl Element for f16 {}
impl Element for f32 {}
impl Element for f64 {}
impl Element for bf16 {}
impl Element for u8 {}
impl Element for i32 {}
impl Element for i64 {}

fn elements<T: Element>(dimensions: Vec<i64>, bytes: &[u8]) -> ort::Result<SessionInputValue<'_>> {
    if let Ok(elements) = <[T]>::ref_from_bytes(bytes) {
        return Ok(TensorRef::from_array_view((dimensions, elements))?.into());
    }
    let mut elements = vec![T::new_zeroed(); bytes.len() / size_of::<T>()];
    elements.as_mut_bytes().copy_from_slice(bytes);
    Ok(ort::value::Tensor::from_array((dimensions, elements))?.into())
}

/// An output as it lies in the library's memory.
fn view(output: &DynValue, ty: TensorType) -> Result<View<'_>, Error> {
    if !output.is_tensor() {
        return Err(Error::new(
            ErrorCode::RuntimeError,
            format!("{TITLE}: expected an output of {ty}, found no tensor"),
        ));
    }
    match ty {
        TensorType::F16 => extract::<f16>(output),
        TensorType::F32 => extract::<f32>(output),
        TensorType::F64 => extract::<f64>(output),
        TensorType::Bf16 => extract::<bf16>(output),
        TensorType::U8 => extract::<u8>(output),
        TensorType::I32 => extract::<i32>(output),
        TensorType::I64 => extract::<i64>(output),
    }
}

fn extract<T: Element>(output: &DynValue) -> Result<View<'_>, Error> {
    let (shape, elements) = output.try_extract_tensor::<T>().map_err(failed)?;
    let dimensions = shape
        .iter()
        .map(|size| {
            u32::try_from(*size).map_err(|_| {
                Error::new(
                    ErrorCode::TooLarge,
                    format!("expected an output whose dimensions fit into 32 bits, found {size}"),
                )
            })
        })
        .collect::<Result<_, _>>()?;
    Ok(View {
        dimensions,
        bytes: elements.as_bytes(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_model_that_starts_cuda_is_one() {
        super::super::protobuf::check(IDENTITY).unwrap();
    }

    #[test]
    fn messages_do_not_tell_of_the_librarys_sources() {
        let said = without_places;
        assert_eq!(said("plain: (a)\n\n b\n"), "plain: (a): b");
        assert_eq!(
            said(
                "Load failed:/onnxruntime_src/core/a.h:46 void onnxruntime::f(const std::map<int (*)(), int>&, bool) \
                 Opset 99 is (still) in work."
            ),
            "Load failed: Opset 99 is (still) in work."
        );
        assert_eq!(said("a /onnxruntime_src/b"), "a: b");
        assert_eq!(said(&"x".repeat(5000)).chars().count(), 1001);
    }

    /// Bytes that a program passed may lie anywhere.
    #[test]
    fn bytes_at_any_address_become_elements() {
        if let Err(error) = runtime() {
            assert!(std::env::var_os("CI").is_none(), "{error}");
            eprintln!("skipped: {error}");
            return;
        }
        let numbers = [1.5_f64, -2.0];
        for start in 0..8 {
            let mut bytes = vec![0; start];
            bytes.extend(numbers.iter().flat_map(|number| number.to_le_bytes()));
            let value = elements::<f64>(vec![2, 1], &bytes[start..]).unwrap();
            let (shape, found) = value.try_extract_tensor::<f64>().unwrap();
            assert_eq!(**shape, [2, 1]);
            assert_eq!(found, numbers);
            let is_copy = !found.as_ptr().cast::<u8>().eq(&bytes[start..].as_ptr());
            assert_eq!(is_copy, bytes[start..].as_ptr().addr() % 8 != 0);
        }
    }
}
