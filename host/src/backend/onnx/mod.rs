//! ONNX models, computed by ONNX Runtime, whose library is loaded at run time.
//!
//! 1. `runtime` loads the library, with the first model or question about devices.
//! 2. `protobuf` looks through a model that a guest passed, before the library sees it.
//! 3. `session` loads a model for its device, and computes, with options that make it `stoppable`.

mod protobuf;
mod runtime;
mod session;
mod stoppable;

use super::tensors::context::TensorContext;
use super::tensors::guard;
use super::tensors::models::Models;
use super::tensors::options::Options;
use super::{Backend, Device, Encoding, ExecutionContext, Graph, LoadRequest, Source, Target};
use crate::external_data::external_data;
use crate::{Activity, Error, Metrics, Monitor, Scheduling};
use session::{Model, Run};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The library's name, for messages.
const TITLE: &str = "ONNX Runtime";

/// The model's file in a folder that was named instead.
const MODEL_FILE: &str = "model.onnx";

/// The backend for [`Encoding::Onnx`].
#[derive(Default)]
pub struct Onnx {
    models: Models<Model>,
}

struct OnnxGraph {
    model: Arc<Model>,
    scheduling: Scheduling,
    monitor: Monitor,
    metrics: Metrics,
}

impl Onnx {
    /// The backend. The library is looked for when the first model is loaded.
    pub fn new() -> Self {
        Self::default()
    }
}

impl Backend for Onnx {
    fn name(&self) -> &str {
        TITLE
    }

    fn encodings(&self) -> &[Encoding] {
        &[Encoding::Onnx]
    }

    fn recognizes(&self, start: &[u8]) -> bool {
        protobuf::starts_like_onnx(start)
    }

    fn devices(&self) -> Result<Vec<Device>, Error> {
        Ok(runtime::runtime()?.devices())
    }

    fn prepare(&self, target: Target) -> Result<bool, Error> {
        let runtime = runtime::runtime()?;
        let gpu = matches!(target, Target::Gpu | Target::Auto) && runtime.has_cuda;
        if gpu && let Err(error) = session::start_cuda(runtime) {
            // Loading a model says the same, or takes the processor.
            tracing::debug!("CUDA does not start: {error}");
        }
        Ok(gpu)
    }

    fn load(&self, request: LoadRequest<'_>) -> Result<Arc<dyn Graph>, Error> {
        let LoadRequest {
            source,
            target,
            configurations,
            monitor,
            metrics,
            scheduling,
            ..
        } = request;
        let options = Options::parse(configurations)?;
        monitor.report(Activity::Load, 0, 1);
        let model = match source {
            Source::Files(paths) => {
                let path = only_file(paths)?;
                let data = external_data(&path);
                let files: Vec<_> = [path.as_path()]
                    .into_iter()
                    .chain(data.iter().map(PathBuf::as_path))
                    .collect();
                self.models.get_or_load(&files, target, options, || {
                    guard(TITLE, || Model::from_file(&path, target, options))
                })?
            }
            Source::Bytes(builders) => {
                let bytes = only_builder(builders)?;
                protobuf::check(&bytes)?;
                Arc::new(guard(TITLE, || Model::from_bytes(&bytes, target, options))?)
            }
        };
        monitor.report(Activity::Load, 1, 1);
        // Those that wait for their turn hear of interrupts, which those that wait for the session do not.
        let scheduling = Scheduling {
            parallel: 1,
            ..scheduling
        };
        Ok(Arc::new(OnnxGraph {
            model,
            scheduling,
            monitor,
            metrics,
        }))
    }
}

impl Graph for OnnxGraph {
    fn init_execution_context(&self) -> Result<Box<dyn ExecutionContext>, Error> {
        let context = TensorContext::new(
            self.model.signature.clone(),
            self.scheduling,
            self.monitor.clone(),
            self.metrics.clone(),
            Run(self.model.clone()),
        );
        Ok(Box::new(context))
    }
}

/// The model's file; what it refers to is found beside it.
fn only_file(paths: Vec<PathBuf>) -> Result<PathBuf, Error> {
    let [path] = <[PathBuf; 1]>::try_from(paths).map_err(|paths| {
        Error::invalid(format!(
            "expected the path of one ONNX file, found {}: data outside of it are found by themselves",
            paths.len()
        ))
    })?;
    let path = if path.is_dir() {
        path.join(MODEL_FILE)
    } else {
        path
    };
    if !Path::is_file(&path) {
        return Err(Error::invalid(format!(
            "expected an ONNX file at {}, found none",
            path.display()
        )));
    }
    Ok(path)
}

fn only_builder(builders: Vec<Vec<u8>>) -> Result<Vec<u8>, Error> {
    let [bytes] = <[Vec<u8>; 1]>::try_from(builders).map_err(|builders| {
        Error::invalid(format!(
            "expected one builder with the bytes of an ONNX model, found {}",
            builders.len()
        ))
    })?;
    Ok(bytes)
}
