//! GGUF language models, run by llama.cpp.
//!
//! A context has two inputs, 0 the prompt and 1 a JSON object of [`options`], and two outputs, 0 the
//! text (or an embedding as JSON) and 1 the token counts as JSON. Graphs of the same file and the same
//! load options share one copy of the weights.

mod context;
mod gguf;
mod log;
mod memory;
pub mod options;
mod owned;
mod sampler;

use super::{Backend, Encoding, ExecutionContext, Graph, Source, Target};
use crate::{Error, ErrorCode};
use context::Context;
use llama_cpp_2::llama_backend::LlamaBackend;
use llama_cpp_2::model::LlamaModel;
use llama_cpp_2::model::params::LlamaModelParams;
use llama_cpp_2::{LlamaBackendDevice, LlamaBackendDeviceType, list_llama_ggml_backend_devices};
use options::Options;
use std::collections::HashMap;
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};
use std::time::SystemTime;
use tempfile::TempPath;

/// The one llama.cpp of the process; its first use starts it.
///
/// A program that also uses `llama-cpp-2` itself takes it from here, since there can be one only.
pub fn llama_backend() -> Result<&'static LlamaBackend, Error> {
    static BACKEND: OnceLock<Result<LlamaBackend, String>> = OnceLock::new();
    let backend = BACKEND.get_or_init(|| {
        log::install();
        LlamaBackend::init().map_err(|error| error.to_string())
    });
    backend.as_ref().map_err(|error| {
        Error::new(
            ErrorCode::RuntimeError,
            format!("llama.cpp does not start: {error}"),
        )
    })
}

/// The backend for [`Encoding::Ggml`].
#[derive(Default)]
pub struct Ggml {
    /// The weights in use, by what they were loaded from.
    loaded: Mutex<HashMap<WeightsKey, Weak<Weights>>>,
}

/// What makes two loads the same.
#[derive(Clone, PartialEq, Eq, Hash)]
struct WeightsKey {
    path: PathBuf,
    size: u64,
    modified: Option<SystemTime>,
    n_gpu_layers: i32,
    use_mmap: bool,
    use_mlock: bool,
}

/// A model in memory.
struct Weights {
    model: LlamaModel,
    /// The file, if it is ours: it must outlive the mapping on platforms that lock mapped files.
    _file: Option<TempPath>,
}

/// A model with the options it was loaded with.
struct GgmlGraph {
    weights: Arc<Weights>,
    options: Options,
}

impl Ggml {
    /// The backend. llama.cpp itself starts with the first model.
    pub fn new() -> Self {
        Self::default()
    }

    fn load_shared(
        &self,
        path: &Path,
        temporary: Option<TempPath>,
        options: &Options,
        target: Target,
    ) -> Result<Arc<Weights>, Error> {
        let describe =
            |error: &dyn std::fmt::Display| Error::invalid(format!("{}: {error}", path.display()));
        let metadata = path.metadata().map_err(|error| describe(&error))?;
        let key = WeightsKey {
            path: path.canonicalize().map_err(|error| describe(&error))?,
            size: metadata.len(),
            modified: metadata.modified().ok(),
            n_gpu_layers: layers(options, target)?,
            use_mmap: options.use_mmap,
            use_mlock: options.use_mlock,
        };
        // Held while loading: two guests that ask for one model at once load it once.
        let mut loaded = self.loaded.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(weights) = loaded.get(&key).and_then(Weak::upgrade) {
            return Ok(weights);
        }
        loaded.retain(|_, weights| weights.strong_count() > 0);
        let weights = Arc::new(Weights {
            model: load_model(path, &key)?,
            _file: temporary,
        });
        loaded.insert(key, Arc::downgrade(&weights));
        Ok(weights)
    }
}

impl Backend for Ggml {
    fn name(&self) -> &str {
        "llama.cpp"
    }

    fn encodings(&self) -> &[Encoding] {
        &[Encoding::Ggml]
    }

    fn recognizes(&self, start: &[u8]) -> bool {
        start.starts_with(b"GGUF")
    }

    fn load(
        &self,
        source: Source,
        target: Target,
        configurations: &[&str],
    ) -> Result<Arc<dyn Graph>, Error> {
        let mut options = Options::default();
        let (path, temporary) = match source {
            Source::Files(paths) => (first_part(paths)?, None),
            Source::Bytes(builders) => {
                let file = write_model(builders, &mut options)?;
                (file.to_path_buf(), Some(file))
            }
        };
        for configuration in configurations {
            options.apply(configuration.as_bytes())?;
        }
        let weights = self.load_shared(&path, temporary, &options, target)?;
        Ok(Arc::new(GgmlGraph { weights, options }))
    }
}

impl Graph for GgmlGraph {
    fn init_execution_context(&self) -> Result<Box<dyn ExecutionContext>, Error> {
        Ok(Box::new(Context::new(
            self.weights.clone(),
            self.options.clone(),
        )))
    }
}

/// The file to name to llama.cpp, which finds the other parts of a split model itself.
fn first_part(paths: Vec<PathBuf>) -> Result<PathBuf, Error> {
    let parts = paths.len();
    let first = paths
        .into_iter()
        .next()
        .ok_or_else(|| Error::invalid("expected the path of a GGUF file, found none"))?;
    let name = first.file_name().unwrap_or_default().to_string_lossy();
    if parts > 1 && !name.ends_with(&format!("-00001-of-{parts:05}.gguf")) {
        return Err(Error::invalid(format!(
            "expected the {parts} parts of a split model, the first called \
             NAME-00001-of-{parts:05}.gguf, found `{name}`: name one model at a time, parts in order"
        )));
    }
    Ok(first)
}

/// Writes the model that a guest passed to a file, since llama.cpp loads files only. A second builder
/// holds options.
fn write_model(builders: Vec<Vec<u8>>, options: &mut Options) -> Result<TempPath, Error> {
    let mut builders = builders.into_iter();
    let model = builders.next().unwrap_or_default();
    if let Some(json) = builders.next() {
        options
            .apply(&json)
            .map_err(|error| error.context("the second builder"))?;
    }
    if builders.next().is_some() {
        return Err(Error::invalid(
            "expected one builder with the model's bytes and at most one with options, found more: \
             split models are loaded by name",
        ));
    }
    gguf::check(std::io::Cursor::new(&model), model.len() as u64)
        .map_err(|error| Error::invalid(error.to_string()))?;
    let write = || {
        let mut file = tempfile::Builder::new()
            .prefix("llm-wasi-")
            .suffix(".gguf")
            .tempfile()?;
        file.write_all(&model)?;
        Ok(file.into_temp_path())
    };
    write().map_err(|error: std::io::Error| {
        Error::new(
            ErrorCode::RuntimeError,
            format!(
                "the model's {} bytes could not be written to a temporary file in {}: {error}",
                model.len(),
                std::env::temp_dir().display()
            ),
        )
    })
}

fn load_model(path: &Path, key: &WeightsKey) -> Result<LlamaModel, Error> {
    let describe =
        |error: &dyn std::fmt::Display| Error::invalid(format!("{}: {error}", path.display()));
    let mut file = File::open(path).map_err(|error| describe(&error))?;
    let size = gguf::size_of(&mut file).map_err(|error| describe(&error))?;
    gguf::check(file, size).map_err(|error| describe(&error))?;

    let backend = llama_backend()?;
    let mut params = LlamaModelParams::default()
        .with_use_mmap(key.use_mmap)
        .with_use_mlock(key.use_mlock);
    if let Ok(layers) = u32::try_from(key.n_gpu_layers) {
        params = params.with_n_gpu_layers(layers);
    }
    let (model, reason) = log::capture(|| LlamaModel::load_from_file(backend, path, &params));
    let model = model.map_err(|error| {
        let reason = if reason.is_empty() {
            error.to_string()
        } else {
            reason
        };
        Error::invalid(format!(
            "llama.cpp cannot load {} ({size} bytes): {reason}",
            path.display()
        ))
    })?;
    tracing::debug!(
        path = %path.display(),
        parameters = model.n_params(),
        context = model.n_ctx_train(),
        "loaded"
    );
    Ok(model)
}

/// The GPUs that this build of llama.cpp sees.
fn gpus() -> Vec<LlamaBackendDevice> {
    let mut devices = list_llama_ggml_backend_devices();
    devices.retain(|device| {
        matches!(
            device.device_type,
            LlamaBackendDeviceType::Gpu | LlamaBackendDeviceType::IntegratedGpu
        )
    });
    devices
}

/// How many layers go to a GPU; negative leaves it to llama.cpp.
fn layers(options: &Options, target: Target) -> Result<i32, Error> {
    match target {
        Target::Cpu => Ok(0),
        Target::Auto => Ok(options.n_gpu_layers),
        Target::Gpu => {
            llama_backend()?;
            if gpus().is_empty() {
                return Err(Error::new(
                    ErrorCode::UnsupportedOperation,
                    "expected a GPU for target GPU, found only the CPU in this build of the host: \
                     ask for target CPU or AUTO",
                ));
            }
            Ok(match options.n_gpu_layers {
                ..0 => i32::MAX,
                layers => layers,
            })
        }
        Target::Tpu => Err(Error::new(
            ErrorCode::UnsupportedOperation,
            "llama.cpp has no TPU: ask for target CPU, GPU or AUTO",
        )),
    }
}
