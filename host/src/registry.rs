//! Finds backends by encoding and models by name.

use crate::backend::{Backend, Encoding, Graph, LoadRequest, Source, Target, shorten};
use crate::guest::Guest;
use crate::{Error, ErrorCode, Files, Limits, Metrics, Monitor, Phase, Preload, Scheduling};
use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

/// How many of a model's first bytes [`Backend::recognizes`] gets to see.
const START: u64 = 4096;

/// The backends and the named models of a host. Cheap to clone; many stores may share one.
#[derive(Clone)]
pub struct Registry {
    inner: Arc<Inner>,
    /// Not shared: each guest has its own.
    files: Files,
    guest: Arc<Guest>,
    monitor: Monitor,
}

struct Inner {
    backends: Vec<Arc<dyn Backend>>,
    preloads: BTreeMap<String, Preload>,
    monitor: Monitor,
    scheduling: Scheduling,
    limits: Limits,
    metrics: Metrics,
    /// The graph of each name that was loaded last, if models are to stay in memory.
    kept: Option<Mutex<BTreeMap<String, Arc<dyn Graph>>>>,
    /// Names of models whose failure to load has been logged.
    told: Mutex<BTreeSet<String>>,
}

/// Collects what a [`Registry`] holds.
#[derive(Default)]
pub struct RegistryBuilder {
    backends: Vec<Arc<dyn Backend>>,
    preloads: BTreeMap<String, Preload>,
    monitor: Monitor,
    scheduling: Scheduling,
    limits: Limits,
    keep_models: bool,
    #[cfg(target_os = "linux")]
    isolation: Option<crate::isolate::Isolation>,
}

impl RegistryBuilder {
    /// Adds a backend. Of two for the same encoding the one added first serves it.
    #[must_use]
    pub fn backend(mut self, backend: impl Backend + 'static) -> Self {
        self.backends.push(Arc::new(backend));
        self
    }

    /// Names a model. A file that is missing is logged here, and an error where a guest loads it: a
    /// guest that never asks for the model can run. Of two with the same name the first one counts, as in
    /// WasmEdge, and the other is logged.
    #[must_use]
    pub fn preload(mut self, preload: Preload) -> Self {
        if let Err(error) = check_files(&preload) {
            tracing::warn!("{}", error.message);
        }
        if self.preloads.contains_key(&preload.name) {
            tracing::warn!(
                "model `{}` is named twice: the first one counts",
                preload.name
            );
        } else {
            self.preloads.insert(preload.name.clone(), preload);
        }
        self
    }

    /// Hears of everything that takes long, and can end computations.
    #[must_use]
    pub fn monitor(mut self, monitor: Monitor) -> Self {
        self.monitor = monitor;
        self
    }

    /// How guests share a model.
    #[must_use]
    pub fn scheduling(mut self, scheduling: Scheduling) -> Self {
        self.scheduling = scheduling;
        self
    }

    /// What each guest may take. The limits of a program's own memory and time are for
    /// [`runner`](crate::runner), or whoever makes stores.
    #[must_use]
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// Whether named models stay in memory, with what their KV caches hold, when the last guest has left
    /// them. They do not by default.
    #[must_use]
    pub fn keep_models(mut self, keep: bool) -> Self {
        self.keep_models = keep;
        self
    }

    /// Loads models in processes of their own.
    #[cfg(target_os = "linux")]
    #[must_use]
    pub fn isolate(mut self, isolation: crate::isolate::Isolation) -> Self {
        self.isolation = Some(isolation);
        self
    }

    /// The registry.
    #[must_use]
    #[cfg_attr(
        not(target_os = "linux"),
        expect(unused_mut, reason = "nothing isolates there")
    )]
    pub fn build(mut self) -> Registry {
        let metrics = Metrics::default();
        #[cfg(target_os = "linux")]
        if let Some(mut isolation) = self.isolation.take() {
            isolation.metrics = metrics.clone();
            let isolate = |backend| -> Arc<dyn Backend> {
                Arc::new(crate::isolate::Isolated::new(backend, isolation.clone()))
            };
            self.backends = self.backends.into_iter().map(isolate).collect();
        }
        Registry {
            guest: Arc::new(Guest::new(self.limits.clone(), metrics.clone())),
            monitor: self.monitor.clone(),
            inner: Arc::new(Inner {
                backends: self.backends,
                preloads: self.preloads,
                monitor: self.monitor,
                scheduling: self.scheduling,
                limits: self.limits,
                metrics,
                kept: self.keep_models.then(Mutex::default),
                told: Mutex::default(),
            }),
            files: Files::default(),
        }
    }
}

impl Registry {
    /// An empty builder.
    pub fn builder() -> RegistryBuilder {
        RegistryBuilder::default()
    }

    /// A builder with every backend that this crate has.
    pub fn with_default_backends() -> RegistryBuilder {
        let builder = Self::builder();
        #[cfg(feature = "ggml")]
        let builder = builder.backend(crate::backend::ggml::Ggml::new());
        #[cfg(feature = "onnx")]
        let builder = builder.backend(crate::backend::onnx::Onnx::new());
        #[cfg(feature = "openvino")]
        let builder = builder.backend(crate::backend::openvino::OpenVino::new());
        builder
    }

    /// The backends, in the order in which they were added.
    pub fn backends(&self) -> impl Iterator<Item = &dyn Backend> {
        self.inner.backends.iter().map(AsRef::as_ref)
    }

    /// The same registry for one guest, that may name these files in options of its models. Without this it
    /// may name none, and counts as one guest with all others.
    #[must_use]
    pub fn with_files(mut self, files: Files) -> Self {
        let (limits, metrics) = (self.inner.limits.clone(), self.inner.metrics.clone());
        self.guest = Arc::new(Guest::new(limits, metrics));
        self.files = files;
        self.monitor = self.inner.monitor.child();
        self
    }

    /// The same registry for another guest, with the same files.
    pub(crate) fn another_guest(&self) -> Self {
        self.clone().with_files(self.files.clone())
    }

    /// The same registry, with a monitor for one graph alone.
    pub(crate) fn of_one_graph(&self) -> Self {
        let mut registry = self.clone();
        registry.monitor = self.monitor.child();
        registry
    }

    /// Whose registry it is.
    pub(crate) fn guest(&self) -> &Arc<Guest> {
        &self.guest
    }

    /// Fails if a name is longer than the guest's names may be.
    pub(crate) fn check_name(&self, name: &str) -> Result<(), Error> {
        self.guest.check("name", self.guest.limits.name, name.len())
    }

    fn check_options(&self, options: Option<&str>) -> Result<(), Error> {
        let length = options.map_or(0, str::len);
        self.guest
            .check("options", self.guest.limits.options, length)
    }

    /// What ends computations of this guest, and of no other one where the registry is one [`with_files`](Self::with_files):
    /// [`Monitor::interrupt`] the one that runs, [`Monitor::end`] all.
    pub fn monitor(&self) -> &Monitor {
        &self.monitor
    }

    /// Figures of what happens with the models.
    pub fn metrics(&self) -> &Metrics {
        &self.inner.metrics
    }

    /// The names that guests may load.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.inner.preloads.keys().map(String::as_str)
    }

    /// Loads a model from the bytes of its files.
    pub fn load(
        &self,
        builders: Vec<Vec<u8>>,
        encoding: Encoding,
        target: Target,
        configuration: Option<&str>,
    ) -> Result<Arc<dyn Graph>, Error> {
        self.check_options(configuration)?;
        let Some(first) = builders.first() else {
            return Err(Error::invalid(
                "expected the bytes of at least one file of the model, found none",
            ));
        };
        let start = &first[..first.len().min(START as usize)];
        let backend = self.backend(encoding, |backend| backend.recognizes(start))?;
        let configurations: Vec<_> = configuration.into_iter().collect();
        let _time = self.inner.metrics.time(Phase::Load);
        backend.load(self.request(Source::Bytes(builders), target, &configurations))
    }

    /// What a backend gets to know for a model of this guest.
    fn request<'a>(
        &'a self,
        source: Source,
        target: Target,
        configurations: &'a [&'a str],
    ) -> LoadRequest<'a> {
        LoadRequest {
            source,
            target,
            configurations,
            monitor: self.monitor.clone(),
            files: self.files.clone(),
            guest: self.guest.number,
            limits: &self.guest.limits,
            scheduling: self.inner.scheduling,
            metrics: self.inner.metrics.clone(),
        }
    }

    /// Loads a model that the host knows by name.
    pub fn load_by_name(
        &self,
        name: &str,
        configuration: Option<&str>,
    ) -> Result<Arc<dyn Graph>, Error> {
        self.check_name(name)?;
        self.check_options(configuration)?;
        let Some(preload) = self.inner.preloads.get(name) else {
            return Err(self.unknown_name(name));
        };
        check_files(preload)?;
        let backend = self.backend(preload.encoding, |backend| {
            read_start(&preload.paths[0]).is_ok_and(|start| backend.recognizes(&start))
        });
        let backend = backend.inspect_err(|error| self.tell(name, error))?;
        let configurations: Vec<_> = preload
            .configuration
            .as_deref()
            .into_iter()
            .chain(configuration)
            .collect();
        let _time = self.inner.metrics.time(Phase::Load);
        backend
            .load(self.request(
                Source::Files(preload.paths.clone()),
                preload.target,
                &configurations,
            ))
            .map_err(|error| error.context(format_args!("model `{name}`")))
            .inspect_err(|error| self.tell(name, error))
            .inspect(|graph| self.keep(name, graph))
    }

    fn keep(&self, name: &str, graph: &Arc<dyn Graph>) {
        if let Some(kept) = &self.inner.kept {
            let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
            kept.insert(name.to_owned(), graph.clone());
        }
    }

    /// Whoever started the host named this model, so its failure is for them too; once, since a guest
    /// may try as often as it likes.
    fn tell(&self, name: &str, error: &Error) {
        let mut told = self
            .inner
            .told
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if told.insert(name.to_owned()) {
            tracing::warn!("{}", error.message);
        }
    }

    fn backend(
        &self,
        encoding: Encoding,
        recognizes: impl Fn(&dyn Backend) -> bool,
    ) -> Result<&dyn Backend, Error> {
        let mut backends = self.backends();
        let found = match encoding {
            Encoding::Autodetect => backends.find(|backend| recognizes(*backend)),
            _ => backends.find(|backend| backend.encodings().contains(&encoding)),
        };
        found.ok_or_else(|| {
            let known: Vec<_> = self
                .backends()
                .flat_map(|backend| backend.encodings())
                .map(|encoding| encoding.name())
                .collect();
            let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
            let message = match encoding {
                Encoding::Autodetect => format!(
                    "expected a model whose first bytes tell its format, as those of GGUF, ONNX and IR do: found \
                     none of these. Name the encoding; this host has {known}"
                ),
                _ => format!("expected an encoding that this host has ({known}), found {encoding}"),
            };
            Error::new(ErrorCode::InvalidEncoding, message)
        })
    }

    fn unknown_name(&self, name: &str) -> Error {
        let names: Vec<_> = self.names().map(|name| format!("`{name}`")).collect();
        let found = if names.is_empty() {
            "this host was started without any; start it with \
             --nn-preload NAME:ENCODING:TARGET:PATH"
                .to_owned()
        } else {
            format!("this host has {}", names.join(", "))
        };
        Error::new(
            ErrorCode::NotFound,
            format!("no model is called `{}`: {found}", shorten(name)),
        )
    }
}

/// The first bytes of a model's file, or of the one that a folder stands for.
fn read_start(path: &Path) -> std::io::Result<Vec<u8>> {
    let in_folder = ["model.onnx", "model.xml"].map(|file| path.join(file));
    let file = in_folder.iter().find(|file| file.is_file());
    let path = file.map_or(path, PathBuf::as_path);
    let mut start = Vec::new();
    File::open(path)?.take(START).read_to_end(&mut start)?;
    Ok(start)
}

/// Fails if a file of the model is missing.
fn check_files(preload: &Preload) -> Result<(), Error> {
    let Preload { name, paths, .. } = preload;
    if paths.is_empty() {
        return Err(Error::new(
            ErrorCode::ModelNotFound,
            format!("model `{name}` was named without a file"),
        ));
    }
    for path in paths {
        let found = match std::fs::metadata(path) {
            Ok(found) if found.is_file() || found.is_dir() => continue,
            // To open a pipe is to wait for who writes to it.
            Ok(_) => "a pipe or a device".to_owned(),
            Err(error) => format!("none to read ({error})"),
        };
        return Err(Error::new(
            ErrorCode::ModelNotFound,
            format!(
                "model `{name}`: expected a file at {}, found {found}: check the path given to \
                 --nn-preload",
                path.display()
            ),
        ));
    }
    Ok(())
}
