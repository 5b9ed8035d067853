//! Models in memory, each once however often it is loaded.

use super::mapped::Mapped;
use super::options::{Options, SplitMode};
use super::placement::Placement;
use super::scheduler::{Scheduler, Schedulers};
use super::session::Settings;
use super::{exit, llama_backend, loading, log};
use crate::backend::Target;
use crate::backend::file_identity::FileIdentity;
use crate::backend::in_use::InUse;
use crate::figures::Figure;
use crate::gguf::{CachedElements, Gguf, Part};
use crate::limits::position;
use crate::metrics::Metrics;
use crate::scratch::ScratchFile;
use crate::{Activity, Error, Monitor, Scheduling};
use llama_cpp_2::model::LlamaModel;
use llama_cpp_2::model::params::LlamaModelParams;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Once};

/// What [`Activity::Load`] counts to.
const THOUSANDTHS: u64 = 1000;

/// A model in memory.
pub(super) struct Weights {
    pub(super) model: LlamaModel,
    /// What it keeps of each token.
    pub(super) cached: CachedElements,
    file: ModelFile,
    placement: Placement,
    /// The mapped files.
    mapped: Mapped,
    /// The file, if it is ours: it must outlive the mapping on platforms that lock mapped files.
    _temporary: Option<Arc<ScratchFile>>,
}

/// A model in memory, and what computes with it.
pub(super) struct Loaded {
    pub(super) weights: Arc<Weights>,
    schedulers: Schedulers,
    scheduling: Scheduling,
    metrics: Metrics,
}

/// The models in use, by what was asked for.
#[derive(Default)]
pub(super) struct Loader(InUse<Request, Loaded>);

/// A model's file, and how it is held in memory.
#[derive(Clone, PartialEq, Eq, Hash)]
struct ModelFile {
    identity: FileIdentity,
    use_mmap: bool,
    use_mlock: bool,
}

/// What makes two loads the same, without a look into the file.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Request {
    file: ModelFile,
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
    pub(super) temporary: Option<Arc<ScratchFile>>,
    pub(super) target: Target,
    pub(super) monitor: Monitor,
    /// Whose graph it is.
    pub(super) guest: u64,
    /// Limits of that guest, as in [`Limits`](crate::Limits).
    pub(super) most_prompt_tokens: usize,
    pub(super) most_options: usize,
    /// Whether the log knows that one was exceeded.
    pub(super) is_excess_told: Arc<AtomicBool>,
    pub(super) scheduling: Scheduling,
    pub(super) metrics: Metrics,
    #[cfg(feature = "images")]
    pub(super) images: super::images::Source,
}

impl Origin {
    /// Counts that the guest exceeded a limit, and logs the first time for each graph.
    pub(super) fn note_excess(&self, limit: &str, most: usize, found: usize) {
        if let Some(limit) = position(limit) {
            self.metrics.count(Figure::Refused(limit));
        }
        if !self.is_excess_told.swap(true, Ordering::Relaxed) {
            tracing::warn!(
                guest = self.guest,
                "limit `{limit}`: at most {most}, found {found}"
            );
        }
    }
}

impl Loaded {
    /// The scheduler of the sessions with these settings.
    pub(super) fn scheduler(&self, settings: Settings) -> Result<Arc<Scheduler>, Error> {
        self.schedulers
            .get(&self.weights, settings, self.scheduling, &self.metrics)
    }

    /// Forgets a scheduler whose context could not be made.
    pub(super) fn forget(&self, scheduler: &Arc<Scheduler>) {
        self.schedulers.forget(scheduler);
    }
}

impl Weights {
    /// Fails if a file from which the weights are mapped has changed.
    pub(super) fn check_files(&self) -> Result<(), Error> {
        self.mapped.check()
    }

    /// Those of a file, for tests.
    #[cfg(all(test, feature = "test-support"))]
    pub(super) fn of_file(path: &Path, options: &Options) -> Result<Arc<Self>, Error> {
        let origin = Origin {
            loader: Arc::default(),
            path: path.to_owned(),
            temporary: None,
            target: Target::Cpu,
            monitor: Monitor::default(),
            guest: 0,
            most_prompt_tokens: usize::MAX,
            most_options: usize::MAX,
            is_excess_told: Arc::default(),
            scheduling: Scheduling::default(),
            metrics: Metrics::default(),
            #[cfg(feature = "images")]
            images: super::images::Source::new(crate::Files::default(), None),
        };
        Ok(origin.load(options)?.weights.clone())
    }

    /// Whether a GPU computes with them.
    #[cfg(feature = "images")]
    pub(super) fn on_gpu(&self) -> bool {
        self.placement.gpu
    }

    /// Of how many of their layers the keys and values are in the system's memory.
    pub(super) fn layers_in_system_memory(&self) -> u32 {
        self.placement.layers_in_system_memory(self.model.n_layer())
    }
}

impl Origin {
    /// The model for these options; shared with everyone who has the same.
    pub(super) fn load(&self, options: &Options) -> Result<Arc<Loaded>, Error> {
        let request = Request {
            file: ModelFile {
                identity: FileIdentity::of(&self.path)?,
                use_mmap: options.use_mmap,
                use_mlock: options.use_mlock,
            },
            target: self.target,
            n_gpu_layers: options.n_gpu_layers,
            main_gpu: options.main_gpu,
            split_mode: options.split_mode,
        };
        self.loader
            .0
            .get_or_load(request.clone(), || self.load_or_find(request, options))
    }

    /// The same, if nobody has asked for it in the same way: another way may have led to it.
    fn load_or_find(&self, request: Request, options: &Options) -> Result<Arc<Loaded>, Error> {
        let (header, size, files) = headers(&self.path)?;
        let wanted = Placement::choose(options, self.target, &header, size)?;
        let find = |placement: &Placement| {
            self.loader.0.find(|loaded| {
                loaded.weights.file == request.file && loaded.weights.placement == *placement
            })
        };
        if let Some(found) = find(&wanted) {
            return Ok(found);
        }
        // Before llama.cpp reads them.
        let mapped = Mapped::open(&files, options.use_mmap)?;
        let (model, placement) = match self.read(&request.file, &wanted, size) {
            Ok(model) => (model, wanted),
            Err(error) if self.target == Target::Auto && wanted.gpu && !self.monitor.is_ended() => {
                tracing::warn!("target AUTO: the CPU, as it fails on the GPU: {error}");
                let placement = Placement::on_cpu();
                if let Some(found) = find(&placement) {
                    return Ok(found);
                }
                (self.read(&request.file, &placement, size)?, placement)
            }
            Err(error) => return Err(error),
        };
        Ok(Arc::new(Loaded {
            weights: Arc::new(Weights {
                model,
                // No more is known of models without attention, which keep nothing.
                cached: header.cached_elements().unwrap_or_default(),
                file: request.file,
                placement,
                mapped,
                _temporary: self.temporary.clone(),
            }),
            schedulers: Schedulers::default(),
            scheduling: self.scheduling,
            metrics: self.metrics.clone(),
        }))
    }

    fn read(
        &self,
        file: &ModelFile,
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
                !monitor.is_ended()
            });
        let params = placement.apply(params)?;
        let _turn = loading(placement.gpu);
        let (model, reason) =
            log::capture(|| LlamaModel::load_from_file(backend, &self.path, &params));
        static LOADED: Once = Once::new();
        exit::wait_at(&LOADED);
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
