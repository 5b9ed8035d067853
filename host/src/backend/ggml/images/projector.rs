//! The second model: it turns images into embeddings for the first one.

use super::layout;
use crate::backend::ggml::weights::Weights;
use crate::backend::ggml::{loading, log, memory};
use crate::gguf::Gguf;
use crate::{Error, ErrorCode, Files};
use llama_cpp_2::mtmd::{
    MtmdBitmap, MtmdContext, MtmdContextParams, MtmdInputChunks, MtmdInputText, MtmdTokenizeError,
};
use std::ffi::CString;
use std::fs::File;
use std::io::{Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::SystemTime;

/// A projector in memory, for one model.
pub(in super::super) struct Projector {
    /// Dropped before the weights, which it points to. It computes for one context at a time.
    context: Mutex<MtmdContext>,
    weights: Arc<Weights>,
    identity: Identity,
}

/// What makes two projectors of a graph the same.
#[derive(PartialEq)]
struct Identity {
    path: String,
    size: u64,
    modified: Option<SystemTime>,
}

/// Where a graph's projectors and images come from.
#[derive(Clone)]
pub(in super::super) struct Source {
    pub(super) files: Files,
    /// The projector that the model was preloaded with, which counts where no option names another.
    preloaded: Option<PathBuf>,
    /// Those in use, for all contexts of the graph.
    loaded: Arc<Mutex<Vec<Weak<Projector>>>>,
}

impl Source {
    pub(in super::super) fn new(files: Files, preloaded: Option<PathBuf>) -> Self {
        Self {
            files,
            preloaded,
            loaded: Arc::default(),
        }
    }

    /// Whether there is a projector, where option `mmproj` is `path`.
    pub(in super::super) fn has_projector(&self, path: &str) -> bool {
        !path.is_empty() || self.preloaded.is_some()
    }

    /// The projector in the file that the guest calls `path`, or the preloaded one if that is empty, for
    /// a model. Loads it if it is not there.
    pub(super) fn projector(
        &self,
        path: &str,
        weights: &Arc<Weights>,
        threads: i32,
    ) -> Result<Arc<Projector>, Error> {
        self.find_or_load(path, weights, threads).map_err(|error| {
            error.context(if path.is_empty() {
                "the projector"
            } else {
                "option `mmproj`"
            })
        })
    }

    /// Opens it, and gives a path that is valid as long as it is open.
    fn open(&self, path: &str) -> Result<(File, PathBuf), Error> {
        match &self.preloaded {
            Some(preloaded) if path.is_empty() => {
                let file = File::open(preloaded).map_err(|error| {
                    Error::new(
                        ErrorCode::ModelNotFound,
                        format!("{}: {error}", preloaded.display()),
                    )
                })?;
                Ok((file, preloaded.clone()))
            }
            _ => {
                let file = self.files.open(path)?;
                let path = self.files.path_of(path, &file)?;
                Ok((file, path))
            }
        }
    }

    fn find_or_load(
        &self,
        path: &str,
        weights: &Arc<Weights>,
        threads: i32,
    ) -> Result<Arc<Projector>, Error> {
        let (file, open_path) = self.open(path)?;
        let metadata = file
            .metadata()
            .map_err(|error| Error::invalid(error.to_string()))?;
        let identity = Identity {
            path: path.to_owned(),
            size: metadata.len(),
            modified: metadata.modified().ok(),
        };
        // Held while loading: two contexts that ask for it at once load it once.
        let mut loaded = self.loaded.lock().unwrap_or_else(PoisonError::into_inner);
        loaded.retain(|projector| projector.strong_count() > 0);
        let same = loaded.iter().filter_map(Weak::upgrade).find(|projector| {
            projector.identity == identity && Arc::ptr_eq(&projector.weights, weights)
        });
        if let Some(projector) = same {
            return Ok(projector);
        }
        let projector = Arc::new(Projector {
            context: Mutex::new(load(&open_path, file, weights, threads)?),
            weights: weights.clone(),
            identity,
        });
        loaded.push(Arc::downgrade(&projector));
        Ok(projector)
    }
}

/// Loads it from an open file, to which the path leads.
fn load(
    path: &Path,
    mut file: File,
    weights: &Weights,
    threads: i32,
) -> Result<MtmdContext, Error> {
    let size = file
        .seek(SeekFrom::End(0))
        .and_then(|size| file.rewind().map(|()| size))
        .map_err(|error| Error::invalid(error.to_string()))?;
    let header = Gguf::read(&file, size).map_err(|error| Error::invalid(error.to_string()))?;
    layout::check(&header)?;
    if let Some(available) = memory::available()
        && size > available
    {
        return Err(Error::new(
            ErrorCode::TooLarge,
            format!(
                "the projector takes {} MiB, and {} MiB are free",
                size >> 20,
                available >> 20
            ),
        ));
    }
    let path = path
        .to_str()
        .ok_or_else(|| Error::invalid("expected a path that is UTF-8"))?;
    let params = MtmdContextParams {
        use_gpu: weights.on_gpu(),
        print_timings: false,
        n_threads: threads,
        media_marker: CString::new(super::MARKER)
            .map_err(|error| Error::new(ErrorCode::RuntimeError, error.to_string()))?,
        ..MtmdContextParams::default()
    };
    let _turn = loading(params.use_gpu);
    let (context, reason) =
        log::capture(|| MtmdContext::init_from_file(path, &weights.model, &params));
    let context = context.map_err(|error| {
        let reason = if reason.is_empty() {
            error.to_string()
        } else {
            reason
        };
        Error::invalid(format!(
            "llama.cpp cannot load the projector ({size} bytes): {reason}; name the one that \
                 belongs to the model"
        ))
    })?;
    if !context.support_vision() {
        return Err(Error::invalid("expected a projector for images"));
    }
    tracing::debug!(size, "loaded a projector");
    Ok(context)
}
impl Projector {
    /// The model that it is for.
    pub(super) fn weights(&self) -> &Arc<Weights> {
        &self.weights
    }

    /// The right to compute with it.
    pub(super) fn lock(&self) -> MutexGuard<'_, MtmdContext> {
        self.context.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Cuts a prompt with an image into pieces.
    pub(super) fn tokenize(
        &self,
        text: MtmdInputText,
        image: &MtmdBitmap,
    ) -> Result<MtmdInputChunks, Error> {
        let (chunks, reason) = log::capture(|| self.lock().tokenize(text, &[image]));
        chunks.map_err(|error| match error {
            MtmdTokenizeError::CStringError(_) => Error::invalid(
                "expected a prompt without null characters beside an image, found one",
            ),
            error => {
                let reason = if reason.is_empty() {
                    error.to_string()
                } else {
                    reason
                };
                Error::invalid(format!(
                    "llama.cpp cannot prepare the prompt with an image: {reason}"
                ))
            }
        })
    }
}
