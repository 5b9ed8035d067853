//! A model in OpenVINO.

use super::runtime::{device, runtime};
use super::sys::{Core, Failure, Model, Request};
use crate::backend::Target;
use crate::backend::tensors::cancel::Cancel;
use crate::backend::tensors::context::{Done, Infer, Signature};
use crate::backend::tensors::guard;
use crate::backend::tensors::options::Options;
use crate::{Error, ErrorCode, Tensor};
use std::path::Path;
use std::sync::Arc;

/// A model in memory, compiled for a device.
pub(super) struct Compiled {
    pub(super) signature: Arc<Signature>,
    model: super::sys::Compiled,
}

/// What computes with a model. Several compute beside each other.
pub(super) struct Run {
    request: Request,
    model: Arc<Compiled>,
}

impl Compiled {
    pub(super) fn from_files(
        xml: &Path,
        weights: Option<&Path>,
        target: Target,
        options: Options,
    ) -> Result<Self, Error> {
        let read = |core: &Core| {
            core.read_files(xml, weights).map_err(|failure| {
                let missing = match weights {
                    Some(_) => String::new(),
                    None => format!(
                        "; it was read without weights, since there is no {}",
                        xml.with_extension("bin").display()
                    ),
                };
                Error::invalid(format!(
                    "OpenVINO cannot read {}: {failure}{missing}",
                    xml.display()
                ))
            })
        };
        Self::load(read, target, options)
    }

    pub(super) fn from_bytes(
        xml: &[u8],
        weights: &[u8],
        target: Target,
        options: Options,
    ) -> Result<Self, Error> {
        let read = |core: &Core| {
            core.read_bytes(xml, weights).map_err(|failure| {
                Error::invalid(format!(
                    "OpenVINO cannot read the model of {} bytes and {} bytes of weights: {failure}",
                    xml.len(),
                    weights.len()
                ))
            })
        };
        Self::load(read, target, options)
    }

    fn load(
        read: impl FnOnce(&Core) -> Result<Model, Error>,
        target: Target,
        options: Options,
    ) -> Result<Self, Error> {
        let compiled = runtime()?.with_core(options, |core| {
            let device = device(core, target)?;
            let model = read(core)?;
            core.compile(&model, &device).map_err(|failure| {
                Error::invalid(format!(
                    "OpenVINO cannot compile the model for {device}: {failure}"
                ))
            })
        })?;
        let signature = Signature::new(compiled.inputs()?, compiled.outputs()?)?;
        Ok(Self {
            signature: Arc::new(signature),
            model: compiled,
        })
    }
}

impl Run {
    pub(super) fn new(model: Arc<Compiled>) -> Result<Self, Error> {
        let request = model.model.request()?;
        Ok(Self { request, model })
    }
}

impl Infer for Run {
    fn input_alias(&self, name: &str) -> Option<String> {
        self.model.model.input_name(name)
    }

    fn output_alias(&self, name: &str) -> Option<String> {
        self.model.model.output_name(name)
    }

    fn infer(
        &mut self,
        inputs: &[&Tensor],
        cancel: &Cancel,
        done: &mut Done<'_>,
    ) -> Result<(), Error> {
        let Self { request, model } = self;
        guard(super::TITLE, || {
            let canceller = request.canceller();
            cancel.during(move || canceller.cancel(), || Ok(request.infer(inputs)?))?;
            let mut outputs = Vec::new();
            for (index, port) in model.signature.outputs.iter().enumerate() {
                outputs.push(match port.tensor_type() {
                    Some(ty) => Some(request.output(index, ty)?),
                    None => None,
                });
            }
            let views = outputs
                .iter()
                .map(|output| output.as_ref().map(super::sys::Output::view).transpose())
                .collect::<Result<Vec<_>, Failure>>()?;
            done(&views)
        })
    }
}

impl From<Failure> for Error {
    fn from(failure: Failure) -> Self {
        let code = if failure.is_argument() {
            ErrorCode::InvalidArgument
        } else {
            ErrorCode::RuntimeError
        };
        Self::new(code, format!("OpenVINO: {failure}"))
    }
}
