//! Models in memory, each once however often it is loaded.

use super::mapped::Mapped;
use super::options::{Options, SplitMode};
use super::placement::Placement;
use super::{llama_backend, log};
use crate::backend::Target;
use crate::gguf::{Gguf, Part};
use crate::{Activity, Error, Monitor};
use llama_cpp_2::model::LlamaModel;
use llama_cpp_2::model::params::LlamaModelParams;
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::SystemTime;
use tempfile::TempPath;

/// What [`Activity::Load`] counts to.
const THOUSANDTHS: u64 = 1000;

/// A model in memory.
pub(super) struct Weights {
    pub(super) model: LlamaModel,
    file: FileIdentity,
    placement: Placement,
    /// The mapped files.
    mapped: Mapped,
    /// The file, if it is ours: it must outlive the mapping on platforms that lock mapped files.
    _temporary: Option<Arc<TempPath>>,
}

/// The weights in use, by what was asked for.
#[derive(Default)]
pub(super) struct Loader {
    loaded: Mutex<HashMap<Request, Weak<Weights>>>,
}

/// What makes two files the same.
#[derive(Clone, PartialEq, Eq, Hash)]
struct FileIdentity {
    path: PathBuf,
    size: u64,
    modified: Option<SystemTime>,
    use_mmap: bool,
    use_mlock: bool,
}

/// What makes two loads the same, without a look into the file.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Request {
    file: FileIdentity,
    target: Target,
    n_gpu_layers: i32,
    main_gpu: i32,
    split_mode: SplitMode,
}

/// Where a graph's weights come from, to load them with other options as well.
#[derive(Clone)]
pub(super) struct Origin {
    pub(super) loader: Arc<Loader>,
    /// The model's only or first file.
    pub(super) path: PathBuf,
    /// The same, if it is ours.
    pub(super) temporary: Option<Arc<TempPath>>,
    pub(super) target: Target,
    pub(super) monitor: Monitor,
    #[cfg(feature = "images")]
    pub(super) images: super::images::Source,
}

impl Weights {
    /// Fails if a file from which the weights are mapped has changed.
    pub(super) fn check_files(&self) -> Result<(), Error> {
        self.mapped.check()
    }

    /// Whether a GPU computes with them.
    #[cfg(feature = "images")]
    pub(super) fn on_gpu(&self) -> bool {
        self.placement.gpu
    }
}

impl Origin {
    /// The weights for these options; shared with everyone who has the same.
    pub(super) fn weights(&self, options: &Options) -> Result<Arc<Weights>, Error> {
        let request = Request {
            file: FileIdentity::new(&self.path, options)?,
            target: self.target,
            n_gpu_layers: options.n_gpu_layers,
            main_gpu: options.main_gpu,
            split_mode: options.split_mode,
        };
        // Held while loading: two guests that ask for one model at once load it once.
        let mut loaded = self
            .loader
            .loaded
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(weights) = loaded.get(&request).and_then(Weak::upgrade) {
            return Ok(weights);
        }
        loaded.retain(|_, weights| weights.strong_count() > 0);
        let (header, size, files) = headers(&self.path)?;
        let placement = Placement::choose(options, self.target, &header, size)?;
        // Another request may have led to the same place.
        let same = loaded
            .values()
            .filter_map(Weak::upgrade)
            .find(|weights| weights.file == request.file && weights.placement == placement);
        let weights = match same {
            Some(weights) => weights,
            None => Arc::new(Weights {
                // Before llama.cpp reads them.
                mapped: Mapped::open(&files, options.use_mmap)?,
                model: self.load(&request.file, &placement, size)?,
                file: request.file.clone(),
                placement,
                _temporary: self.temporary.clone(),
            }),
        };
        loaded.insert(request, Arc::downgrade(&weights));
        Ok(weights)
    }

    fn load(
        &self,
        file: &FileIdentity,
        placement: &Placement,
        size: u64,
    ) -> Result<LlamaModel, Error> {
        let backend = llama_backend()?;
        let monitor = self.monitor.clone();
        let params = LlamaModelParams::default()
            .with_use_mmap(file.use_mmap)
            .with_use_mlock(file.use_mlock)
            .with_progress_callback(move |part| {
                let done = f64::from(part.clamp(0.0, 1.0)) * THOUSANDTHS as f64;
                monitor.report(Activity::Load, done as u64, THOUSANDTHS);
                true
            });
        let params = placement.apply(params)?;
        let (model, reason) =
            log::capture(|| LlamaModel::load_from_file(backend, &self.path, &params));
        let model = model.map_err(|error| {
            let reason = if reason.is_empty() {
                error.to_string()
            } else {
                reason
            };
            Error::invalid(format!(
                "llama.cpp cannot load {} ({size} bytes): {reason}",
                self.path.display()
            ))
        })?;
        tracing::debug!(
            path = %self.path.display(),
            parameters = model.n_params(),
            context = model.n_ctx_train(),
            ?placement,
            "loaded"
        );
        Ok(model)
    }
}

impl FileIdentity {
    fn new(path: &Path, options: &Options) -> Result<Self, Error> {
        let describe =
            |error: std::io::Error| Error::invalid(format!("{}: {error}", path.display()));
        let metadata = path.metadata().map_err(describe)?;
        Ok(Self {
            path: path.canonicalize().map_err(describe)?,
            size: metadata.len(),
            modified: metadata.modified().ok(),
            use_mmap: options.use_mmap,
            use_mlock: options.use_mlock,
        })
    }
}

/// Checks the headers of all files of a model. Gives the first one, the files' size together, and the files.
fn headers(path: &Path) -> Result<(Gguf, u64, Vec<PathBuf>), Error> {
    let open = |path: &Path| {
        Gguf::open(path).map_err(|error| Error::invalid(format!("{}: {error}", path.display())))
    };
    let first = open(path)?;
    let mut size = first.size;
    let mut files = vec![path.to_owned()];
    // llama.cpp finds the other parts by their names.
    let name = path.file_name().and_then(|name| name.to_str());
    if let Some(part) = name.and_then(Part::parse) {
        for number in 2..=part.count {
            let path = path.with_file_name(part.file(number));
            size += open(&path)?.size;
            files.push(path);
        }
    }
    Ok((first, size, files))
}
