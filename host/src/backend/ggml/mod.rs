//! GGUF language models, run by llama.cpp.
//!
//! A context has two inputs, 0 the prompt and 1 a JSON object of [`options`], and three outputs, 0 the
//! text (or an embedding as JSON), 1 the token counts as JSON, 2 an embedding as a tensor. Graphs of the
//! same file and the same load options share one copy of the weights.
//!
//! With the cargo feature `images` a prompt may have an image, which a second model, the projector, turns
//! into what this one understands.

mod context;
mod embedding;
mod exit;
mod image_tag;
#[cfg(feature = "images")]
mod images;
mod language;
mod log;
mod mapped;
mod memory;
pub mod options;
mod owned;
mod placement;
mod prompt;
mod sampler;
mod scheduler;
mod session;
mod tokenize;
#[cfg(feature = "vulkan")]
mod vulkan;
mod weights;

use super::{
    Backend, Device, Encoding, ExecutionContext, Graph, LanguageModel, LoadRequest, Source, Target,
};
use crate::gguf::{Gguf, Part};
use crate::scratch::ScratchFile;
use crate::{Error, ErrorCode};
use context::Context;
use llama_cpp_2::llama_backend::LlamaBackend;
use options::Options;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use weights::{Loaded, Loader, Origin};

/// The one llama.cpp of the process; its first use starts it.
///
/// A program that also uses `llama-cpp-2` itself takes it from here, since there can be one only.
pub fn llama_backend() -> Result<&'static LlamaBackend, Error> {
    let started = STARTED.get_or_init(|| {
        log::install();
        let (backend, said) = log::capture(|| {
            let backend = LlamaBackend::init().map_err(|error| error.to_string())?;
            // It looks for GPUs with this question.
            backend.supports_gpu_offload();
            Ok(backend)
        });
        Started { backend, said }
    });
    started.backend.as_ref().map_err(|error: &String| {
        Error::new(
            ErrorCode::RuntimeError,
            format!("llama.cpp does not start: {error}"),
        )
    })
}

/// llama.cpp, or why there is none.
struct Started {
    backend: Result<LlamaBackend, String>,
    /// Its warnings and errors meanwhile.
    said: String,
}

static STARTED: OnceLock<Started> = OnceLock::new();

/// Held while something is loaded for a GPU: llama.cpp makes a device ready as it is first used, and two threads would both
/// do that, which ends the process.
static GPU_LOADING: Mutex<()> = Mutex::new(());

/// The turn of what is loaded, if it is for a GPU.
fn loading(gpu: bool) -> Option<MutexGuard<'static, ()>> {
    gpu.then(|| GPU_LOADING.lock().unwrap_or_else(PoisonError::into_inner))
}

/// What llama.cpp warned of as it started and looked for GPUs.
fn said_at_start() -> &'static str {
    STARTED.get().map_or("", |started| &started.said)
}

/// The backend for [`Encoding::Ggml`].
#[derive(Default)]
pub struct Ggml {
    loader: Arc<Loader>,
}

/// A model with the options it was loaded with.
struct GgmlGraph {
    origin: Origin,
    loaded: Arc<Loaded>,
    options: Options,
}

impl Ggml {
    /// The backend. llama.cpp itself starts with the first model.
    pub fn new() -> Self {
        Self::default()
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

    fn devices(&self) -> Result<Vec<Device>, Error> {
        placement::devices()
    }

    fn prepare(&self, target: Target) -> Result<bool, Error> {
        if target == Target::Cpu {
            llama_backend()?;
            return Ok(false);
        }
        // A GPU that is asked about its memory starts.
        Ok(self.devices()?.iter().any(|device| device.kind.is_gpu()))
    }

    fn load(&self, request: LoadRequest<'_>) -> Result<Arc<dyn Graph>, Error> {
        let mut options = Options::default();
        let (path, projector, temporary) = match request.source {
            Source::Files(mut paths) => {
                let projector = take_projector(&mut paths);
                (first_part(paths)?, projector, None)
            }
            Source::Bytes(builders) => {
                let file = write_model(builders, &mut options)?;
                (file.to_path_buf(), None, Some(Arc::new(file)))
            }
        };
        #[cfg(not(feature = "images"))]
        if let Some(projector) = projector {
            return Err(Error::new(
                ErrorCode::UnsupportedOperation,
                format!(
                    "{} is a projector for images, which this build does not take: build with \
                     `--features images`, or leave it out",
                    projector.display()
                ),
            ));
        }
        for configuration in request.configurations {
            // An empty one is none, as in WasmEdge.
            if !configuration.is_empty() {
                options.apply(configuration.as_bytes())?;
            }
        }
        let origin = Origin {
            loader: self.loader.clone(),
            path,
            temporary,
            target: request.target,
            monitor: request.monitor,
            guest: request.guest,
            most_prompt_tokens: request.limits.prompt_tokens,
            most_options: request.limits.options,
            is_excess_told: Arc::default(),
            scheduling: request.scheduling,
            metrics: request.metrics,
            #[cfg(feature = "images")]
            images: images::Source::new(request.files, projector),
        };
        let loaded = origin.load(&options)?;
        Ok(Arc::new(GgmlGraph {
            origin,
            loaded,
            options,
        }))
    }
}

impl Graph for GgmlGraph {
    fn init_execution_context(&self) -> Result<Box<dyn ExecutionContext>, Error> {
        Ok(Box::new(Context::new(
            self.origin.clone(),
            self.loaded.clone(),
            self.options.clone(),
        )))
    }

    fn language(&self) -> Option<&dyn LanguageModel> {
        Some(self)
    }
}

impl GgmlGraph {
    #[cfg(feature = "images")]
    fn takes_images(&self) -> bool {
        self.origin.images.has_projector(&self.options.mmproj)
    }

    #[cfg(not(feature = "images"))]
    fn takes_images(&self) -> bool {
        false
    }
}

/// Takes the projector from a model's files, if the last of several is one.
fn take_projector(paths: &mut Vec<PathBuf>) -> Option<PathBuf> {
    let last = match paths.as_slice() {
        [_, .., last] => last,
        _ => return None,
    };
    // What is wrong with a model's own file is told when that is loaded.
    let is_projector = Gguf::open(last).is_ok_and(|header| header.architecture() == Some("clip"));
    is_projector.then(|| paths.pop()).flatten()
}

/// The file to name to llama.cpp, which finds the other parts of a split model itself.
fn first_part(paths: Vec<PathBuf>) -> Result<PathBuf, Error> {
    let parts = paths.len();
    let first = paths
        .into_iter()
        .next()
        .ok_or_else(|| Error::invalid("expected the path of a GGUF file, found none"))?;
    let name = first.file_name().unwrap_or_default().to_string_lossy();
    let split = Part::parse(&name);
    if parts > 1 && split.is_none_or(|part| part.number != 1 || part.count as usize != parts) {
        return Err(Error::invalid(format!(
            "expected the {parts} parts of a split model, the first called \
             NAME-00001-of-{parts:05}.gguf, found `{name}`: name one model at a time, parts in order"
        )));
    }
    Ok(first)
}

/// Writes the model that a guest passed to a file, since llama.cpp loads files only. A second builder
/// holds options.
fn write_model(builders: Vec<Vec<u8>>, options: &mut Options) -> Result<ScratchFile, Error> {
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
    Gguf::read(std::io::Cursor::new(&model), model.len() as u64)
        .map_err(|error| Error::invalid(error.to_string()))?;
    ScratchFile::new(".gguf", &model).map_err(|error| {
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
